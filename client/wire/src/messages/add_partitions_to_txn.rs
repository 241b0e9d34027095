//! AddPartitionsToTxn: partitions a transaction is about to write to (before KIP-890), or their verification.

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Up to version 3 from a client, for one transaction; from version 4 from a broker, for several.
    request AddPartitionsToTxnRequest(AddPartitionsToTxn, 0..=5, flexible 3) -> AddPartitionsToTxnResponse {
        transactions: Vec<AddPartitionsToTxnTransaction>,  since(4);
        v3_and_below_transactional_id: Str,                until(3);
        v3_and_below_producer_id: i64,                     until(3);
        v3_and_below_producer_epoch: i16,                  until(3);
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, until(3);
    }

    /// One transaction, from version 4 on.
    struct AddPartitionsToTxnTransaction {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        verify_only: bool;
        topics: Vec<AddPartitionsToTxnTopic>;
    }

    /// Partitions of one topic.
    struct AddPartitionsToTxnTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    /// What became of each partition.
    response AddPartitionsToTxnResponse(AddPartitionsToTxn, 0..=5, flexible 3) {
        throttle_time_ms: i32;
        error_code: ErrorCode,                                             since(4).ignorable();
        results_by_transaction: Vec<AddPartitionsToTxnResult>,             since(4);
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, until(3);
    }

    /// One transaction, from version 4 on.
    struct AddPartitionsToTxnResult {
        transactional_id: Str;
        topic_results: Vec<AddPartitionsToTxnTopicResult>;
    }

    /// Partitions of one topic.
    struct AddPartitionsToTxnTopicResult {
        name: Str;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>;
    }

    /// One partition.
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32;
        partition_error_code: ErrorCode;
    }
}
