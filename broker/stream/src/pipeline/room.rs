//! How much an operator may give in an epoch.

use super::cut::Cut;
use super::errors::EpochError;
use crate::operators::Output;
use crate::rows::{GIVEN_BYTES, MOST_BYTES};

const READ_BACK_BYTES: u64 = 16 << 20;

/// How many bytes of rows an operator may give in an epoch of so many records. What gives more is done in parts, as far as
/// there are some.
pub(super) fn room(cut: &Cut, records: u64) -> usize {
    match records == 1 || records == 0 && cut.emit_rows == 1 {
        true => MOST_BYTES,
        false => GIVEN_BYTES,
    }
}

/// How many bytes of state an epoch may read back for one operator in any case, given its room: with little memory, too, many
/// records are to be taken at a time, and one alone cannot be parted.
pub(super) fn read_back_room(room: usize) -> u64 {
    match room < MOST_BYTES {
        true => READ_BACK_BYTES,
        false => room as u64,
    }
}

/// That the shards of one operator do not give more than it may, on account of rows or of time.
pub(super) fn check_room(outputs: &[Output], room: usize, by_time: bool) -> Result<(), EpochError> {
    let bytes: usize = outputs.iter().map(Output::bytes).fold(0, usize::saturating_add);
    if bytes <= room && outputs.iter().all(Output::has_room) {
        return Ok(());
    }
    let timed = || outputs.iter().flat_map(|given| &given.timed);
    // Where rows that rows caused are most of it, fewer that are due would not help.
    let timed_bytes: usize = timed().map(|timed| timed.rows.bytes()).sum();
    let rows = match by_time && timed_bytes > bytes / 3 {
        true => timed().map(|timed| timed.rows.len() as u64).sum(),
        false => 0,
    };
    Err(EpochError::TooMuch { bytes: bytes as u64, limit: room as u64, rows })
}
