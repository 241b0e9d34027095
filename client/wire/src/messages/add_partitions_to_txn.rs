//! AddPartitionsToTxn: partitions a transaction is about to write to (before KIP-890 part 2), or their verification by a broker.

use crate::schema::{schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    request AddPartitionsToTxnRequest(AddPartitionsToTxn, 0..=5, flexible 3) -> AddPartitionsToTxnResponse {
        transactions: Vec<AddPartitionsToTxnTransaction>,  since(4);
        v3_and_below_transactional_id: Str,                until(3);
        v3_and_below_producer_id: i64,                     until(3);
        v3_and_below_producer_epoch: i16,                  until(3);
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, until(3);
    }

    struct AddPartitionsToTxnTransaction {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        verify_only: bool;
        topics: Vec<AddPartitionsToTxnTopic>;
    }

    struct AddPartitionsToTxnTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    response AddPartitionsToTxnResponse(AddPartitionsToTxn, 0..=5, flexible 3) {
        throttle_time_ms: i32;
        error_code: ErrorCode,                                             since(4).ignorable();
        results_by_transaction: Vec<AddPartitionsToTxnResult>,             since(4);
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, until(3);
    }

    struct AddPartitionsToTxnResult {
        transactional_id: Str;
        topic_results: Vec<AddPartitionsToTxnTopicResult>;
    }

    struct AddPartitionsToTxnTopicResult {
        name: Str;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>;
    }

    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32;
        partition_error_code: ErrorCode;
    }
}
