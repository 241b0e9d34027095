//! The state as records of the changelog topic.
//!
//! ```text
//! group           key: 1 │ 'g' │ operator u16 │ key group u8 │ window end i64 │ group key…    value: accumulators
//! dropped         key: 1 │ 'd' │ operator u16                                                value: i64
//! ```
//!
//! The key group is a fixed hash of the group key into 256 slices, so that slices can move between shards without
//! rewriting a key. A *dropped* record says that the bucket of every window that ends there or before is gone.

use super::accumulator::Accumulator;
use crate::plan::WindowAggregate;

const VERSION: u8 = 1;
const GROUP: u8 = b'g';
const DROPPED: u8 = b'd';
/// The pipeline's one stateful operator.
const OPERATOR: u16 = 1;

/// What one changelog record says.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Group { window_end: i64, key: Vec<u8>, accumulators: Vec<Accumulator> },
    DroppedThrough(i64),
}

/// The key group of a group key.
fn key_group(key: &[u8]) -> u8 {
    (crc32fast::hash(key) >> 24) as u8
}

/// The changelog record of a group: key and value.
pub(crate) fn encode_group(window_end: i64, key: &[u8], accumulators: &[Accumulator]) -> (Vec<u8>, Vec<u8>) {
    let mut record_key = header(GROUP);
    record_key.push(key_group(key));
    record_key.extend_from_slice(&window_end.to_be_bytes());
    record_key.extend_from_slice(key);
    let mut value = Vec::new();
    accumulators.iter().for_each(|accumulator| accumulator.encode(&mut value));
    (record_key, value)
}

/// The changelog record of all buckets dropped: key and value.
pub(crate) fn encode_dropped(through: i64) -> (Vec<u8>, Vec<u8>) {
    (header(DROPPED), through.to_be_bytes().to_vec())
}

fn header(kind: u8) -> Vec<u8> {
    let mut key = vec![VERSION, kind];
    key.extend_from_slice(&OPERATOR.to_be_bytes());
    key
}

/// Reads a changelog record of this plan's operator.
pub(crate) fn decode_change(key: &[u8], value: &[u8], window: &WindowAggregate) -> Result<Change, String> {
    let Some(([version, kind, operator @ ..], rest)) = key.split_first_chunk::<4>() else {
        return Err("the key is too short".to_owned());
    };
    if *version != VERSION {
        return Err(format!("format version {version}, this release reads {VERSION}; run a newer one"));
    }
    if u16::from_be_bytes(*operator) != OPERATOR {
        return Err(format!("operator {} is not in the plan", u16::from_be_bytes(*operator)));
    }
    match *kind {
        GROUP => decode_group(rest, value, window).ok_or_else(|| "a damaged group".to_owned()),
        DROPPED if rest.is_empty() => match value.try_into() {
            Ok(through) => Ok(Change::DroppedThrough(i64::from_be_bytes(through))),
            Err(_) => Err("a damaged end of dropped windows".to_owned()),
        },
        other => Err(format!("records of kind {other} are not known")),
    }
}

fn decode_group(key: &[u8], mut value: &[u8], window: &WindowAggregate) -> Option<Change> {
    let (slice, key) = key.split_first()?;
    let (window_end, key) = key.split_first_chunk()?;
    if *slice != key_group(key) {
        return None;
    }
    let accumulators = window
        .aggregates
        .iter()
        .map(|aggregate| Accumulator::new(aggregate).decode(&mut value))
        .collect::<Option<Vec<_>>>()?;
    value.is_empty().then(|| Change::Group {
        window_end: i64::from_be_bytes(*window_end),
        key: key.to_vec(),
        accumulators,
    })
}
