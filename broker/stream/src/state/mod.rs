//! The state of operators: tables keyed by bytes.
//!
//! ```text
//! operator ─► Table (hash) or TimeTable (ordered by time, then key) ─► changes of the epoch ─► changelog records
//!                                                                  ◄─ restore ◄───────────────┘
//! ```
//!
//! A table remembers which of its entries an epoch has changed; at the epoch's end each becomes one changelog record,
//! an entry that is gone a record without a value, so that the compacted changelog is the state. Every key holds the
//! *key group* it belongs to, one of 256 slices of the key space ([`KeyGroups`]): shards own whole key groups, so that state can move
//! between shards without a key being rewritten.
//!
//! Rows that never change and go by their time are kept in a [`RowLog`] instead: an epoch's are one record, of all shards.
//!
//! Where a pipeline has a cold store, operators that keep rows and groups by key hold only a part of their entries in
//! memory (`spilt.rs`); what an epoch touches is read back before it is computed, so that nothing depends on what is
//! where.

mod away;
mod blocks;
mod changelog;
mod cold;
mod cold_memory;
mod hashed;
mod key;
mod row;
mod row_log;
mod row_table;
mod spilt;
mod table;
mod table_key;

pub(crate) use away::{Away, DueKeys};
pub(crate) use blocks::{AppendedRows, Blocks, block_rows};
pub(crate) use changelog::{
    Appended, ChangelogKey, ChangelogSink, RECORD_HEADER, decode_changelog_key, operator_prefix,
};
pub use cold::{
    COLD_VERSION, ColdError, ColdFill, ColdMark, ColdPosition, ColdSize, ColdStore, TakeEntry, TakeSome,
};
pub(crate) use cold::{Growth, entry_size, resize};
pub use cold_memory::MemoryColdStore;
pub(crate) use hashed::HashMap;
pub use key::KeyGroups;
pub(crate) use key::{Keys, decode_key, decode_key_into, encode_key_part, encode_sort_part, key_length};
pub(crate) use row::{decode_row, decode_row_into, encode_row, encode_values};
pub(crate) use row_log::RowLog;
pub(crate) use row_table::{RowId, RowTable};
pub(crate) use spilt::{ColdTables, Spilt};
pub(crate) use table::{Bucket, TIME_BYTES, Table, TimeTable, time_bytes, time_of};
pub(crate) use table_key::TableKey;
