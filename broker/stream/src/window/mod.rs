//! Aggregates over tumbling windows: their state, how it is kept in the changelog, and how it is closed.
//!
//! ```text
//! row ─► window end ─► bucket ─► group ─► accumulators        BTreeMap<window end, HashMap<key, accumulators>>
//! ```
//!
//! Windows close in order of their end and, within a window, in order of the key. A closed bucket is dropped as a
//! whole, which one changelog record says for all of them.

mod accumulator;
mod changelog;
mod key;
mod state;

pub(crate) use accumulator::Accumulator;
pub(crate) use changelog::{Change, decode_change, encode_dropped, encode_group};
pub(crate) use key::{decode_key, encode_key_part};
pub(crate) use state::{ClosedGroup, Windows};
