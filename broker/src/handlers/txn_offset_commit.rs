//! TxnOffsetCommit: offsets that become true when the transaction commits.

use logmill_coordinator::groups::{CommitTransactionalOffsets, Committed, PartitionOffset, TopicOffsets};
use logmill_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequestTopic, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use logmill_wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::coordinators::OffsetsInTransaction;
use crate::topics::Topics;

/// From this version on the broker adds the group's partition to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 5;
/// The first version that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;

pub(crate) async fn handle(call: Call<'_>, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let offsets: Vec<TopicOffsets> =
        request.topics.into_iter().map(|topic| topic_offsets(&call.context.topics, topic)).collect();
    let asked: Vec<(Str, Vec<i32>)> = offsets
        .iter()
        .map(|topic| (topic.topic.clone(), topic.partitions.iter().map(|offset| offset.partition).collect()))
        .collect();
    let commit = CommitTransactionalOffsets {
        group: request.group_id.detached(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        generation: request.generation_id,
        member_id: request.member_id.detached(),
        instance_id: request.group_instance_id.map(|id| id.detached()),
        offsets,
    };
    let committed = call
        .context
        .coordinators
        .commit_offsets_in_transaction(
            OffsetsInTransaction {
                transactional_id: request.transactional_id.detached(),
                commit,
                implicit: call.version >= IMPLICIT_FROM,
            },
            &call.patience,
        )
        .await;
    let Committed { topics } = committed.unwrap_or_else(|code| {
        let code = seen(code, call.version);
        let failed = |(topic, partitions): (Str, Vec<i32>)| {
            (topic, partitions.into_iter().map(|partition| (partition, code)).collect())
        };
        Committed { topics: asked.into_iter().map(failed).collect() }
    });
    TxnOffsetCommitResponse {
        topics: topics.into_iter().map(respond).collect(),
        ..TxnOffsetCommitResponse::default()
    }
}

/// A code as a client of this version may see it.
fn seen(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::TRANSACTION_ABORTABLE if version < ABORTABLE_FROM => ErrorCode::INVALID_TXN_STATE,
        // As for produce: the client may abort and go on (KIP-588).
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        other => other,
    }
}

fn topic_offsets(topics: &Topics, asked: TxnOffsetCommitRequestTopic) -> TopicOffsets {
    let topic = topics.get(&asked.name);
    TopicOffsets {
        topic: asked.name.detached(),
        topic_id: topic.as_ref().map(|topic| topic.id),
        partitions: asked
            .partitions
            .into_iter()
            .map(|offset| {
                let exists =
                    topic.as_ref().is_some_and(|topic| topic.partition(offset.partition_index).is_some());
                PartitionOffset {
                    partition: offset.partition_index,
                    offset: offset.committed_offset,
                    leader_epoch: offset.committed_leader_epoch,
                    metadata: offset.committed_metadata.map(|metadata| metadata.detached()),
                    refused: (!exists).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                }
            })
            .collect(),
    }
}

fn respond((name, partitions): (Str, Vec<(i32, ErrorCode)>)) -> TxnOffsetCommitResponseTopic {
    TxnOffsetCommitResponseTopic {
        name,
        partitions: partitions
            .into_iter()
            .map(|(partition_index, error_code)| TxnOffsetCommitResponsePartition {
                partition_index,
                error_code,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_depend_on_the_version() {
        assert_eq!(seen(ErrorCode::TRANSACTION_ABORTABLE, 3), ErrorCode::INVALID_TXN_STATE);
        assert_eq!(seen(ErrorCode::TRANSACTION_ABORTABLE, 4), ErrorCode::TRANSACTION_ABORTABLE);
        assert_eq!(seen(ErrorCode::PRODUCER_FENCED, 5), ErrorCode::INVALID_PRODUCER_EPOCH);
    }
}
