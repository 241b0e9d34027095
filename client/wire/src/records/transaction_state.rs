//! `__transaction_state`: one record per transactional id, the newest holds.

use crate::Str;
use crate::schema::{NEVER, schema, since};

schema! {
    /// Whose transactions.
    record TransactionLogKey(0..=0, flexible NEVER) {
        transactional_id: Str;
    }

    /// Where the transactional id stands. Version 1 is written once `transaction.version` is at least 1.
    record TransactionLogValue(0..=1, flexible 1) {
        producer_id: i64;
        /// The producer id before the last rotation; -1 if there was none.
        previous_producer_id: i64 = -1,  since(1).tag(0);
        /// The producer id handed out for after this transaction; -1 if it stays.
        next_producer_id: i64 = -1,      since(1).tag(1);
        producer_epoch: i16;
        transaction_timeout_ms: i32;
        /// 0 empty, 1 ongoing, 2 prepare commit, 3 prepare abort, 4 complete commit, 5 complete abort,
        /// 6 dead, 7 prepare epoch fence.
        transaction_status: i8;
        /// `None` when the state is empty.
        transaction_partitions: Option<Vec<PartitionsSchema>> = Some(Vec::new());
        transaction_last_update_timestamp_ms: i64;
        transaction_start_timestamp_ms: i64;
        /// The `transaction.version` that the client's requests spoke.
        client_transaction_version: i16, since(1).tag(2);
        /// The epoch handed out for after this transaction; -1 if it stays.
        next_producer_epoch: i16 = -1,   since(1).tag(3);
    }

    /// Partitions of one topic that are part of a transaction.
    struct PartitionsSchema {
        topic: Str;
        partition_ids: Vec<i32>;
    }
}
