//! How far groups are behind in time: the age of the first record that a group has not committed.
//!
//! The record has to be looked up in the log. What was found is remembered as long as the group stands there, and one
//! scrape looks up so many at most: beyond that the nearest record before it that is known counts, which is older.

use std::collections::{BTreeMap, HashMap};

use logmill_record::batch::batches;
use logmill_storage::{Isolation, ReadRequest};
use uuid::Uuid;

use crate::partitions::Partition;

/// Records that one scrape looks up. Each costs a read of one batch, mostly from memory.
const LOOK_UPS: usize = 256;

/// Ends of transactions that are passed over on the way to a record.
const PASSED_OVER: usize = 8;

/// The times of records that groups stand at.
#[derive(Debug, Default)]
pub(crate) struct UnreadTimes {
    /// By topic and partition: when the record at an offset was written.
    known: HashMap<(Uuid, i32), BTreeMap<i64, Known>>,
    /// Number of the scrape.
    scrape: u64,
    /// Records that this scrape may still look up.
    left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// In ms since the epoch.
    written: i64,
    /// The last scrape that asked.
    asked: u64,
}

impl UnreadTimes {
    /// A scrape begins.
    pub(super) fn begin(&mut self) {
        self.scrape += 1;
        self.left = LOOK_UPS;
    }

    /// A scrape ends: what nobody asked for is forgotten.
    pub(super) fn end(&mut self) {
        let scrape = self.scrape;
        self.known.retain(|_, offsets| {
            offsets.retain(|_, known| known.asked == scrape);
            !offsets.is_empty()
        });
    }

    /// How long ago the first record from `offset` on was written, in ms; `None` when that cannot be told. A record
    /// without a time, or with one to come, is as old as nothing.
    pub(super) fn age(&mut self, topic: Uuid, partition: &Partition, offset: i64, now: i64) -> Option<i64> {
        let published = partition.published();
        // What was deleted is read by nobody.
        let offset = offset.max(published.log_start_offset);
        if offset >= published.high_watermark {
            return Some(0);
        }
        let offsets = self.known.entry((topic, partition.index())).or_default();
        if !offsets.contains_key(&offset) && self.left > 0 {
            self.left -= 1;
            match written(partition, offset, published.high_watermark)? {
                Some(written) => drop(offsets.insert(offset, Known { written, asked: self.scrape })),
                None => return Some(0),
            }
        }
        let (_, nearest) = offsets.range_mut(..=offset).next_back()?;
        nearest.asked = self.scrape;
        Some(if nearest.written < 0 { 0 } else { now.saturating_sub(nearest.written).max(0) })
    }
}

/// When the first record from `offset` on was written, by its batch; inside `None` when there are only ends of
/// transactions. A log that cannot be read says so to who fetches from it.
fn written(partition: &Partition, mut offset: i64, end: i64) -> Option<Option<i64>> {
    for _ in 0..PASSED_OVER {
        if offset >= end {
            break;
        }
        let isolation = Isolation::Uncommitted;
        let read =
            partition.read(ReadRequest { offset, max_bytes: 1, isolation, min_one_batch: true }).ok()?;
        let batch = batches(read.chunks.into_iter().next()?).next()?.ok()?;
        let header = batch.header();
        if !header.is_control() {
            return Some(Some(header.base_timestamp));
        }
        offset = header.next_offset();
    }
    Some(None)
}
