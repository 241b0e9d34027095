//! Reading batches of a log, and the aborted transactions among them.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLockReadGuard;

use super::error::ReadError;
use super::partition_log::{PartitionLog, View};
use super::transactions::AbortedTransaction;

impl PartitionLog {
    /// Reads whole batches from the one that holds `offset`, or the first behind it, to `upper_offset` (exclusive; never
    /// beyond the end of the log), back to back in each chunk.
    ///
    /// At most `max_bytes`, except that the first batch is given whole when `min_one_batch` is set. Empty when there is
    /// nothing to read yet. Every batch is checked; damage behind good batches is reported by the next read.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        upper_offset: i64,
        min_one_batch: bool,
    ) -> Result<Vec<Bytes>, ReadError> {
        // The end first: the view taken after it has every segment before the end.
        let end_offset = self.end_offset();
        let (_swapping, view) = self.reading();
        self.read_in(&view, end_offset, offset, max_bytes, upper_offset, min_one_batch)
    }

    /// The same, and the aborted transactions from `offset` up to `upper_aborted` with it, both of one state of the log.
    pub fn read_committed(
        &self,
        offset: i64,
        max_bytes: usize,
        upper_offset: i64,
        min_one_batch: bool,
        upper_aborted: i64,
    ) -> Result<(Vec<Bytes>, Vec<AbortedTransaction>), ReadError> {
        let end_offset = self.end_offset();
        let (_swapping, view) = self.reading();
        let chunks = self.read_in(&view, end_offset, offset, max_bytes, upper_offset, min_one_batch)?;
        let aborted =
            if chunks.is_empty() { Vec::new() } else { self.aborted_in(&view, offset, upper_aborted)? };
        Ok((chunks, aborted))
    }

    fn read_in(
        &self,
        view: &View,
        end_offset: i64,
        offset: i64,
        max_bytes: usize,
        upper_offset: i64,
        min_one_batch: bool,
    ) -> Result<Vec<Bytes>, ReadError> {
        let log_start_offset = self.log_start_offset();
        if offset < log_start_offset || offset > end_offset {
            return Err(ReadError::OutOfRange { offset, log_start_offset, end_offset });
        }
        let upper = upper_offset.min(end_offset);
        let mut chunks = Vec::new();
        let mut at = offset;
        let mut left = max_bytes;
        for segment in view.holding(offset) {
            // A segment's bytes may be read in more than one piece.
            while at < upper.min(segment.end_offset()) {
                match segment.read(at, left, upper, min_one_batch && chunks.is_empty()) {
                    Ok(chunk) if chunk.bytes.is_empty() => {
                        if chunk.next_offset <= at {
                            return Ok(chunks);
                        }
                        at = chunk.next_offset;
                    }
                    Ok(chunk) => {
                        left = left.saturating_sub(chunk.bytes.len());
                        at = chunk.next_offset;
                        chunks.push(chunk.bytes);
                    }
                    Err(_) if !chunks.is_empty() => return Ok(chunks),
                    Err(error) => return Err(self.gone_meanwhile(offset, error)),
                }
                // Of a segment that compaction has emptied nothing was read yet.
                if left == 0 && !(chunks.is_empty() && min_one_batch) {
                    return Ok(chunks);
                }
            }
            at = at.max(segment.end_offset());
        }
        Ok(chunks)
    }

    /// A segment that was removed while somebody still read from an older view is not an error of the disk.
    pub(super) fn gone_meanwhile(&self, offset: i64, error: ReadError) -> ReadError {
        let log_start_offset = self.log_start_offset();
        if offset < log_start_offset {
            return ReadError::OutOfRange { offset, log_start_offset, end_offset: self.end_offset() };
        }
        error
    }

    /// Aborted transactions that a reader of the offsets `from..upper` of committed data has to leave out, in the order of
    /// their markers.
    pub fn aborted_transactions(&self, from: i64, upper: i64) -> Result<Vec<AbortedTransaction>, ReadError> {
        let (_swapping, view) = self.reading();
        self.aborted_in(&view, from, upper)
    }

    fn aborted_in(&self, view: &View, from: i64, upper: i64) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found: Vec<AbortedTransaction> = Vec::new();
        for segment in view.holding(from) {
            let complete = self.with_aborted(view, segment, |entries| {
                let first = entries.partition_point(|entry| entry.last_offset < from);
                // Once the last stable offset of an entry has reached `upper`, later ones began behind it.
                let last = entries[first..].iter().position(|entry| entry.last_stable_offset >= upper);
                let end = last.map_or(entries.len(), |last| first + last + 1);
                let mine = entries[first..end].iter().filter(|entry| entry.overlaps(from, upper)).copied();
                (mine.collect::<Vec<_>>(), last.is_some())
            });
            let (mine, complete) = complete.map_err(|error| self.gone_meanwhile(from, error))?;
            found.extend(mine);
            if complete {
                break;
            }
        }
        Ok(found)
    }

    /// The segments, whose files are what the view says for as long as the guard lives.
    pub(super) fn reading(&self) -> (RwLockReadGuard<'_, ()>, Arc<View>) {
        let swapping = self.swapping.read();
        (swapping, self.view())
    }
}
