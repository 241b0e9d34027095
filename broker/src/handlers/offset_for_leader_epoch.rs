//! OffsetForLeaderEpoch: where an epoch ends, so that a client notices when its log was cut (KIP-320).

use logmill_wire::ErrorCode;
use logmill_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use logmill_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::Call;
use super::fetch::check_epoch;
use crate::partitions::Partition;

pub(crate) async fn handle(
    call: Call<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let indexes: Vec<i32> = asked.partitions.iter().map(|wanted| wanted.partition).collect();
        call.context.topics.open_for_reading(&asked.topic, &indexes).await;
        let topic = call.context.topics.get(&asked.topic);
        let partitions = asked
            .partitions
            .iter()
            .map(|wanted| {
                let found = topic.as_ref().and_then(|topic| topic.partition(wanted.partition));
                let end = found
                    .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                    .and_then(|partition| end_of_epoch(partition, wanted));
                let (error_code, (leader_epoch, end_offset)) = match end {
                    Ok(end) => (ErrorCode::NONE, end),
                    Err(code) => (code, (-1, -1)),
                };
                EpochEndOffset { error_code, partition: wanted.partition, leader_epoch, end_offset }
            })
            .collect();
        topics.push(OffsetForLeaderTopicResult { topic: asked.topic, partitions });
    }
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
}

/// The largest epoch up to the one asked for, and the offset behind its last record; -1 for both when
/// there is none.
fn end_of_epoch(partition: &Partition, wanted: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    check_epoch(wanted.current_leader_epoch, partition.leader_epoch())?;
    Ok(partition.leader_epoch_for(wanted.leader_epoch).unwrap_or((-1, -1)))
}
