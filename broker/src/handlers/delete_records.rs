//! DeleteRecords: lets partitions begin later.

use std::collections::BTreeMap;

use logmill_storage::Rejection;
use logmill_wire::ErrorCode;
use logmill_wire::messages::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use logmill_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::sync::oneshot;

use super::Call;
use crate::partitions::Partition;
use crate::topics::Topic;

/// Instead of an offset: everything that is there.
const HIGH_WATERMARK: i64 = -1;
/// In a response: the partition has not been touched.
const NO_LOW_WATERMARK: i64 = -1;

pub(crate) async fn handle(call: Call<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    // First all are sequenced, then all are waited for: one write of the journal does for them.
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let topic = call.context.topics.get(&asked.name);
        let mut wanted: BTreeMap<i32, Option<i64>> = BTreeMap::new();
        for partition in &asked.partitions {
            // Named twice, a partition has no one answer.
            let offset = (!wanted.contains_key(&partition.partition_index)).then_some(partition.offset);
            wanted.insert(partition.partition_index, offset);
        }
        let begun: Vec<_> = wanted
            .into_iter()
            .map(|(index, offset)| (index, begin(&call, topic.as_deref(), index, offset)))
            .collect();
        topics.push((asked.name.clone(), begun));
    }
    let mut results = Vec::with_capacity(topics.len());
    for (name, begun) in topics {
        let mut partitions = Vec::with_capacity(begun.len());
        for (partition_index, deletion) in begun {
            let (error_code, low_watermark) = match finish(deletion).await {
                Ok(start) => (ErrorCode::NONE, start),
                Err(code) => (code, NO_LOW_WATERMARK),
            };
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        results.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse { topics: results, ..DeleteRecordsResponse::default() }
}

/// A deletion that is not durable yet.
type Deletion = (Partition, oneshot::Receiver<()>);

fn begin(
    call: &Call<'_>,
    topic: Option<&Topic>,
    index: i32,
    offset: Option<i64>,
) -> Result<Deletion, ErrorCode> {
    let offset = offset.ok_or(ErrorCode::INVALID_REQUEST)?;
    let topic = topic.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let partition = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if topic.internal {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let configs = call.context.topics.broker_configs();
    let policy = configs.topic_value(&topic.configs, "cleanup.policy").unwrap_or_default();
    if !policy.split(',').any(|word| word.trim() == "delete") {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let offset = match offset {
        HIGH_WATERMARK => partition.published().high_watermark,
        offset if offset < 0 => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        offset => offset,
    };
    match call.context.partitions.delete_records(partition, offset) {
        Ok(durable) => Ok((partition.clone(), durable)),
        Err(Rejection::TrimOutOfRange { .. }) => Err(ErrorCode::OFFSET_OUT_OF_RANGE),
        Err(Rejection::UnknownPartition(_)) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        Err(Rejection::Closed | Rejection::Failed) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Err(other) => {
            tracing::error!(?partition, error = %other, "records cannot be deleted");
            Err(ErrorCode::UNKNOWN_SERVER_ERROR)
        }
    }
}

/// Waits until the deletion is durable, and says where the partition begins now.
async fn finish(deletion: Result<Deletion, ErrorCode>) -> Result<i64, ErrorCode> {
    let (partition, durable) = deletion?;
    durable.await.map_err(|_| ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    Ok(partition.published().log_start_offset)
}
