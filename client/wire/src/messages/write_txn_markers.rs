//! WriteTxnMarkers: ends transactions in partitions. For coordinators, and for the administrator who aborts a
//! transaction that hangs.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// The markers to be written.
    request WriteTxnMarkersRequest(WriteTxnMarkers, 1..=2, flexible 1) -> WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarker>;
    }

    /// The end of one producer's transaction.
    struct WritableTxnMarker {
        producer_id: i64;
        producer_epoch: i16;
        /// False aborts, true commits.
        transaction_result: bool;
        topics: Vec<WritableTxnMarkerTopic>;
        coordinator_epoch: i32;
        /// From 2 on the epoch has to be a new one (KIP-1228).
        transaction_version: i8, since(2).ignorable();
    }

    /// Partitions of one topic.
    struct WritableTxnMarkerTopic {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// What became of the markers.
    response WriteTxnMarkersResponse(WriteTxnMarkers, 1..=2, flexible 1) {
        markers: Vec<WritableTxnMarkerResult>;
    }

    /// What became of one producer's.
    struct WritableTxnMarkerResult {
        producer_id: i64;
        topics: Vec<WritableTxnMarkerTopicResult>;
    }

    /// In the partitions of one topic.
    struct WritableTxnMarkerTopicResult {
        name: Str;
        partitions: Vec<WritableTxnMarkerPartitionResult>;
    }

    /// In one partition.
    struct WritableTxnMarkerPartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
