//! DescribeTransactions: state of transactional ids.

use crate::schema::schema;
use crate::{ErrorCode, Str};

schema! {
    /// Transactional ids asked for.
    request DescribeTransactionsRequest(DescribeTransactions, 0..=0, flexible 0)
        -> DescribeTransactionsResponse {
        transactional_ids: Vec<Str>;
    }

    /// Their states.
    response DescribeTransactionsResponse(DescribeTransactions, 0..=0, flexible 0) {
        throttle_time_ms: i32;
        transaction_states: Vec<TransactionState>;
    }

    /// One transactional id.
    struct TransactionState {
        error_code: ErrorCode;
        transactional_id: Str;
        transaction_state: Str;
        transaction_timeout_ms: i32;
        transaction_start_time_ms: i64;
        producer_id: i64;
        producer_epoch: i16;
        topics: Vec<TopicData>;
    }

    /// Partitions of one topic that are part of the open transaction.
    struct TopicData {
        topic: Str;
        partitions: Vec<i32>;
    }
}
