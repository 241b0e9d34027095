//! TxnOffsetCommit: offsets that become true when the transaction commits.

use logmill_coordinator::groups::{CommitTransactionalOffsets, PartitionOffset};
use logmill_wire::ErrorCode;
use logmill_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use logmill_wire::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::Call;
use super::committed_topics::{AskedTopic, CommittedTopics, TopicAnswer};
use crate::coordinators::OffsetsInTransaction;

/// From this version on topics are named by id (KIP-1319).
const IDS_FROM: i16 = 6;
/// From this version on the broker adds the group's partition to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 5;
/// The first version that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 4;

pub(crate) async fn handle(call: Call<'_>, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let asked = request.topics.into_iter().map(|topic| AskedTopic {
        name: topic.name.detached(),
        id: topic.topic_id,
        partitions: topic.partitions.into_iter().map(partition_offset).collect(),
    });
    let (topics, offsets) = CommittedTopics::look_up(&call.context.topics, call.version >= IDS_FROM, asked);
    let commit = CommitTransactionalOffsets {
        version: call.version,
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
        .await
        .map_err(|code| seen(code, call.version));
    TxnOffsetCommitResponse {
        topics: topics.answered(committed).into_iter().map(respond).collect(),
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

fn partition_offset(partition: TxnOffsetCommitRequestPartition) -> PartitionOffset {
    PartitionOffset {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map(|metadata| metadata.detached()),
        refused: None,
    }
}

fn respond(answer: TopicAnswer) -> TxnOffsetCommitResponseTopic {
    let partition =
        |(partition_index, error_code)| TxnOffsetCommitResponsePartition { partition_index, error_code };
    TxnOffsetCommitResponseTopic {
        name: answer.name,
        topic_id: answer.id,
        partitions: answer.partitions.into_iter().map(partition).collect(),
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
