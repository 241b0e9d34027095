//! OffsetCommit: how far a group has read.

use logmill_coordinator::groups::{Command, CommitOffsets, PartitionOffset, Reply};
use logmill_wire::messages::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use logmill_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::Call;
use super::committed_topics::{AskedTopic, CommittedTopics, TopicAnswer};
use super::groups::ask;

/// From this version on topics are named by id.
const IDS_FROM: i16 = 10;

pub(crate) async fn handle(call: Call<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = request.group_id.detached();
    let asked = request.topics.into_iter().map(|topic| AskedTopic {
        name: topic.name,
        id: topic.topic_id,
        partitions: topic.partitions.into_iter().map(partition_offset).collect(),
    });
    let (topics, offsets) = CommittedTopics::look_up(&call.context.topics, call.version >= IDS_FROM, asked);
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
    let topics = topics.answered(committed).into_iter().map(respond).collect();
    OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }
}

fn partition_offset(partition: OffsetCommitRequestPartition) -> PartitionOffset {
    PartitionOffset {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map(|metadata| metadata.detached()),
        refused: None,
    }
}

fn respond(answer: TopicAnswer) -> OffsetCommitResponseTopic {
    let partition =
        |(partition_index, error_code)| OffsetCommitResponsePartition { partition_index, error_code };
    OffsetCommitResponseTopic {
        name: answer.name,
        topic_id: answer.id,
        partitions: answer.partitions.into_iter().map(partition).collect(),
    }
}
