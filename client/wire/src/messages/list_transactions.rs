//! ListTransactions: all transactional ids of a broker.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Asks for all, or those in some states, of some producers, open for some time, or matching a pattern.
    request ListTransactionsRequest(ListTransactions, 0..=2, flexible 0) -> ListTransactionsResponse {
        state_filters: Vec<Str>;
        producer_id_filters: Vec<i64>;
        duration_filter: i64 = -1,             since(1);
        transactional_id_pattern: Option<Str>, since(2);
    }

    /// The transactional ids.
    response ListTransactionsResponse(ListTransactions, 0..=2, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        unknown_state_filters: Vec<Str>;
        transaction_states: Vec<TransactionState>;
    }

    /// One transactional id.
    struct TransactionState {
        transactional_id: Str;
        producer_id: i64;
        transaction_state: Str;
    }
}
