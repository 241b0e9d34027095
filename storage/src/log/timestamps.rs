//! Finding offsets by time (ListOffsets).

use std::sync::Arc;

use super::error::ReadError;
use super::names::FileKind;
use super::partition_log::PartitionLog;
use super::segment::{Located, Segment};

/// What decompressing one batch may take while looking for a record in it.
const DECOMPRESSION_BUDGET_BYTES: usize = 64 << 20;

/// A record found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, ms.
    pub timestamp: i64,
}

impl PartitionLog {
    /// The first record whose timestamp is at or behind `timestamp`, among the offsets before `upper_offset`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upper_offset: i64,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let upper = upper_offset.min(self.end_offset());
        let (_swapping, view) = self.reading();
        let log_start_offset = self.log_start_offset();
        for segment in view.holding(log_start_offset) {
            if segment.base_offset() >= upper {
                break;
            }
            let reaches = match segment.largest() {
                // Its file was lost: what lies behind is found all the same.
                Err(ReadError::Corrupt(_)) => continue,
                found => found.map_err(|error| self.gone_meanwhile(segment.base_offset(), error))?,
            };
            if reaches.is_none_or(|largest| largest.timestamp < timestamp) {
                continue;
            }
            let start = segment.offset_before_timestamp(timestamp)?.max(log_start_offset);
            let found = first_record(segment, start, upper, log_start_offset, timestamp)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first of the records with the largest timestamp, among the offsets before `upper_offset` (KIP-734). `None`
    /// when no record has a timestamp.
    pub fn max_timestamp(&self, upper_offset: i64) -> Result<Option<TimestampOffset>, ReadError> {
        let upper = upper_offset.min(self.end_offset());
        let (_swapping, view) = self.reading();
        let mut best: Option<(i64, &Arc<Segment>, i64)> = None;
        let log_start_offset = self.log_start_offset();
        for segment in view.holding(log_start_offset) {
            if segment.base_offset() >= upper {
                break;
            }
            let largest = match segment.largest() {
                Ok(Some(largest)) => largest,
                Ok(None) | Err(ReadError::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            if best.is_some_and(|(timestamp, ..)| timestamp >= largest.timestamp) {
                continue;
            }
            // What lies behind `upper` does not count, nor what lies before the start: then batch by batch.
            let visible = (log_start_offset..upper).contains(&largest.last_offset);
            let candidate = if visible {
                Some((largest.timestamp, largest.last_offset))
            } else {
                largest_between(segment, log_start_offset, upper)?
            };
            if let Some((timestamp, last_offset)) = candidate
                && best.is_none_or(|(best, ..)| timestamp > best)
            {
                best = Some((timestamp, segment, last_offset));
            }
        }
        let Some((timestamp, segment, last_offset)) = best else { return Ok(None) };
        let found = first_record(segment, last_offset, upper, log_start_offset, timestamp)?;
        // A batch may promise a larger maximum than its records have; then its last record stands for it.
        Ok(Some(found.unwrap_or(TimestampOffset { offset: last_offset, timestamp })))
    }
}

/// The first record at or behind `timestamp`, from the batch of `start` on. Only batches whose maximum reaches it are
/// opened.
fn first_record(
    segment: &Segment,
    start: i64,
    upper: i64,
    log_start_offset: i64,
    timestamp: i64,
) -> Result<Option<TimestampOffset>, ReadError> {
    for step in segment.headers_from(start)? {
        let step = step?;
        if step.header.next_offset() > upper {
            break;
        }
        let located = Located { position: step.position, header: step.header };
        if step.header.max_timestamp >= timestamp
            && let Some(found) = record_in_batch(segment, &located, log_start_offset, timestamp)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn record_in_batch(
    segment: &Segment,
    located: &Located,
    log_start_offset: i64,
    timestamp: i64,
) -> Result<Option<TimestampOffset>, ReadError> {
    let batch = segment.read_located(located)?;
    let corrupt = |error: logmill_record::BatchError| {
        segment.corruption(FileKind::Log, located.position, located.header.base_offset, error.to_string())
    };
    let open = batch.open(DECOMPRESSION_BUDGET_BYTES).map_err(corrupt)?;
    for record in open.records() {
        let record = record.map_err(corrupt)?;
        if record.offset >= log_start_offset && record.timestamp >= timestamp {
            return Ok(Some(TimestampOffset { offset: record.offset, timestamp: record.timestamp }));
        }
    }
    Ok(None)
}

/// Largest timestamp, with the last offset of the first batch that has it, among whole batches before `upper`.
fn largest_between(segment: &Segment, from: i64, upper: i64) -> Result<Option<(i64, i64)>, ReadError> {
    let mut largest: Option<(i64, i64)> = None;
    for step in segment.headers_from(from.max(segment.base_offset()))? {
        let header = step?.header;
        if header.next_offset() > upper {
            break;
        }
        let timestamp = header.max_timestamp;
        if timestamp >= 0 && largest.is_none_or(|(most, _)| timestamp > most) {
            largest = Some((timestamp, header.last_offset()));
        }
    }
    Ok(largest)
}
