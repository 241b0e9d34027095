//! WriteTxnMarkers: an administrator aborts a transaction that hangs in a partition.
//!
//! Between brokers it ends transactions. Here these end in one frame, and there is no other broker: nobody but the
//! coordinators of this one has a commit to tell of.

use std::sync::Arc;

use logmill_coordinator::transactions::{Marker, TopicPartition};
use logmill_storage::ProducerView;
use logmill_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
};
use logmill_wire::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::context::Context;
use crate::topics::{OFFSETS_TOPIC, Topic};

/// From this transaction version on a marker has an epoch of its own.
const TRANSACTION_V2: i8 = 2;

pub(crate) async fn handle(call: Call<'_>, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        markers.push(abort(call.context, marker).await);
    }
    WriteTxnMarkersResponse { markers }
}

async fn abort(context: &Context, asked: WritableTxnMarker) -> WritableTxnMarkerResult {
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in &asked.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for &partition_index in &topic.partition_indexes {
            let written = abort_one(context, &asked, &topic.name, partition_index).await;
            let error_code = written.err().unwrap_or(ErrorCode::NONE);
            partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
        }
        topics.push(WritableTxnMarkerTopicResult { name: topic.name.clone(), partitions });
    }
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics }
}

async fn abort_one(
    context: &Context,
    asked: &WritableTxnMarker,
    topic: &Str,
    partition: i32,
) -> Result<(), ErrorCode> {
    let found = context.topics.get(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let log = found.partition(partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if asked.transaction_result {
        return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    if !may_have_transactions(&found) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let known = log.producer(asked.producer_id);
    verdict(asked, known.as_ref(), context.coordinators.transaction_epoch())?;
    let marker = Marker {
        partition: TopicPartition { topic: topic.detached(), partition },
        producer_id: asked.producer_id,
        producer_epoch: asked.producer_epoch,
        coordinator_epoch: asked.coordinator_epoch,
        commit: false,
        transaction_v2: asked.transaction_version >= TRANSACTION_V2,
    };
    context.coordinators.write_marker(marker).await?;
    tracing::info!(
        topic = &**topic,
        partition,
        producer_id = asked.producer_id,
        producer_epoch = asked.producer_epoch,
        "a transaction was aborted in a partition by an administrator"
    );
    Ok(())
}

/// Whether the marker is one that a coordinator could write now. The partition itself says no to epochs that are too
/// low. Ones that are too high would be believed, and shut the producer, or our own coordinator, out for ever.
fn verdict(asked: &WritableTxnMarker, known: Option<&ProducerView>, ours: i32) -> Result<(), ErrorCode> {
    // Who has never written here has nothing that hangs.
    let known = known.ok_or(ErrorCode::UNKNOWN_PRODUCER_ID)?;
    if asked.coordinator_epoch > ours.max(known.coordinator_epoch) {
        return Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED);
    }
    // A transaction ends in its own epoch, or in the next one. Where none is open, another step would lead past what the
    // coordinator is going to write.
    let is_open = known.transaction_first_offset.is_some();
    if asked.producer_epoch > known.producer_epoch.saturating_add(i16::from(is_open)) {
        return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    Ok(())
}

/// Whether clients' transactions write there: to their topics, and offsets.
fn may_have_transactions(topic: &Arc<Topic>) -> bool {
    topic.owner.is_none() && (!topic.internal || &*topic.name == OFFSETS_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_from_the_future_are_refused() {
        let known = |coordinator_epoch| ProducerView {
            producer_id: 7,
            producer_epoch: 3,
            last_sequence: 0,
            last_timestamp: 0,
            coordinator_epoch,
            transaction_first_offset: Some(5),
        };
        let asked = |producer_epoch, coordinator_epoch| WritableTxnMarker {
            producer_id: 7,
            producer_epoch,
            coordinator_epoch,
            ..WritableTxnMarker::default()
        };
        let view = known(-1);
        for (producer_epoch, coordinator_epoch, expected) in [
            (3, 0, Ok(())),
            (4, 0, Ok(())),
            (5, 0, Err(ErrorCode::INVALID_PRODUCER_EPOCH)),
            (i16::MAX, 0, Err(ErrorCode::INVALID_PRODUCER_EPOCH)),
            (3, 1, Err(ErrorCode::TRANSACTION_COORDINATOR_FENCED)),
        ] {
            assert_eq!(verdict(&asked(producer_epoch, coordinator_epoch), Some(&view), 0), expected);
        }
        let ended = ProducerView { transaction_first_offset: None, ..known(-1) };
        assert_eq!(verdict(&asked(3, 0), Some(&ended), 0), Ok(()));
        assert_eq!(verdict(&asked(4, 0), Some(&ended), 0), Err(ErrorCode::INVALID_PRODUCER_EPOCH));
        // Files that another cluster has written may have seen higher ones.
        assert_eq!(verdict(&asked(3, 9), Some(&known(9)), 0), Ok(()));
        assert_eq!(verdict(&asked(3, 0), None, 0), Err(ErrorCode::UNKNOWN_PRODUCER_ID));
    }
}
