//! OffsetCommit: how far a group has read.

use logmill_coordinator::groups::{Command, CommitOffsets, PartitionOffset, Reply, TopicOffsets};
use logmill_wire::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use logmill_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::Call;
use super::groups::ask;

/// From this version on topics are named by id.
const IDS_FROM: i16 = 10;

pub(crate) async fn handle(call: Call<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let by_id = call.version >= IDS_FROM;
    let group = request.group_id.detached();
    let topics = &call.context.topics;
    // What is not there is answered here, in its place; the rest is asked of the group.
    let mut answered: Vec<Answered> = Vec::with_capacity(request.topics.len());
    let mut offsets = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let (found, unknown) = if by_id {
            (topics.by_id(asked.topic_id), ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            (topics.get(&asked.name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let Some(topic) = found else {
            let failed =
                asked.partitions.iter().map(|partition| (partition.partition_index, unknown)).collect();
            answered.push(Answered { name: asked.name, id: asked.topic_id, partitions: Some(failed) });
            continue;
        };
        answered.push(Answered { name: asked.name, id: asked.topic_id, partitions: None });
        offsets.push(TopicOffsets {
            topic: Str::from(&*topic.name),
            topic_id: Some(topic.id),
            partitions: asked
                .partitions
                .into_iter()
                .map(|partition| {
                    let exists = topic.partition(partition.partition_index).is_some();
                    partition_offset(partition, exists)
                })
                .collect(),
        });
    }
    let indexes: Vec<Vec<i32>> = offsets
        .iter()
        .map(|topic: &TopicOffsets| topic.partitions.iter().map(|offset| offset.partition).collect())
        .collect();
    let commit = CommitOffsets {
        version: call.version,
        group: group.clone(),
        generation: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        retention_ms: request.retention_time_ms,
        offsets,
    };
    let committed = ask(&call, &group, Command::CommitOffsets(commit), |reply| match reply {
        Reply::Committed(committed) => Some(committed),
        _ => None,
    })
    .await;
    let mut rest = match committed {
        Ok(committed) => committed.topics.into_iter().map(|(_, partitions)| partitions).collect::<Vec<_>>(),
        Err(code) => {
            indexes.into_iter().map(|topic| topic.into_iter().map(|index| (index, code)).collect()).collect()
        }
    }
    .into_iter();
    let topics =
        answered.into_iter().map(|topic| topic.respond(|| rest.next().unwrap_or_default())).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

/// One topic of the request: already refused, or to be answered by the group.
struct Answered {
    name: Str,
    id: Uuid,
    partitions: Option<Vec<(i32, ErrorCode)>>,
}

impl Answered {
    fn respond(self, committed: impl FnOnce() -> Vec<(i32, ErrorCode)>) -> OffsetCommitResponseTopic {
        let partition =
            |(partition_index, error_code)| OffsetCommitResponsePartition { partition_index, error_code };
        OffsetCommitResponseTopic {
            name: self.name,
            topic_id: self.id,
            partitions: self.partitions.unwrap_or_else(committed).into_iter().map(partition).collect(),
        }
    }
}

fn partition_offset(partition: OffsetCommitRequestPartition, exists: bool) -> PartitionOffset {
    PartitionOffset {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map(|metadata| metadata.detached()),
        refused: (!exists).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}
