//! Joins.
//!
//! ```text
//! rows of one side ─► stored rows of the other with the same key ─► condition ─► joined rows
//!        └─► stored, for the rows of the other side that are still to come
//! ```
//!
//! | file | what bounds its state |
//! |---|---|
//! | `timed`, `noted` | both rows lie in one window, or their times are near: event time |
//! | `regular` | nothing but the script's word |
//! | `temporal`, `waiting` | a table's versions, each row at its time: event time |
//! | `lookup` | a table's newest rows |
//!
//! An epoch's rows of the left side are taken before those of the right one (a table's before those that look it up).
//! All rows of a chunk are looked up first, and the condition is evaluated over all pairs at once: the rows of one
//! side cannot change what is stored of the other.

mod joined;
mod lookup;
mod noted;
mod regular;
mod temporal;
mod timed;
mod waiting;

#[cfg(test)]
mod tests;

pub(super) use lookup::LookupJoin;
pub(super) use regular::RegularJoin;
pub(super) use temporal::{TemporalJoin, WAITING};
pub(super) use timed::{PLAIN_ROWS, TimedJoin};
