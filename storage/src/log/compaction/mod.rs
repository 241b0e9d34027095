//! Compaction: of the records with one key only the last is kept.
//!
//! ```text
//!   clean: no key twice        dirty: not compacted yet     not to be touched: active segment, open transactions,
//! ├──────────────────────────┼────────────────────────────┼─ not flushed, too young ─────────────────────────────►
//! start                 first dirty                      upper
//!
//! 1  the newest offset of each key in the dirty part goes into a map, as far as the map holds
//! 2  every segment from the start to where the map ends is written again without what the map says is old,
//!    small ones together
//! 3  each new segment takes the place of its old ones ([`swap`]); what was in the map is clean now
//! ```
//!
//! What is kept of a batch is decided in `filter`; offsets never change. Only sealed, flushed segments below the last
//! checkpoint are touched, by one pass at a time, without a lock: appends and reads go on. A segment with damaged bytes
//! ends the pass: nothing of it is thrown away, and its log stays as it is.

mod filter;
pub mod key_map;
mod output;
pub(crate) mod swap;
mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use logmill_record::{BATCH_HEADER_LEN, Batch, BatchHeader};

use self::filter::{DECOMPRESSION_BUDGET_BYTES, Filter, Kept};
use self::key_map::KeyMap;
use self::output::Output;
use self::swap::{MANIFEST_CLEANED, Swap, cleaned_path};
use self::transactions::TransactionsSeen;
use super::error::{LogError, ReadError};
use super::names::FileKind;
use super::options::LogOptions;
use super::partition_log::{PartitionLog, SEGMENT_MAX, View};
use super::segment::Segment;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// How much of a log waits for compaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dirty {
    /// First offset that was not compacted.
    pub first: i64,
    /// Offset after the last that may be compacted now.
    pub upper: i64,
    /// Part of the compactable bytes that was not compacted, from 0 to 1.
    pub ratio: f64,
    /// Whether compaction is due.
    pub is_due: bool,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// First offset that was not compacted, now.
    pub first_dirty: i64,
    /// Bytes of the segments that were looked at.
    pub bytes_before: u64,
    /// Bytes of those that are there instead.
    pub bytes_after: u64,
    /// Records that went.
    pub records_dropped: u64,
    /// From this time on, ms, another pass finds tombstones or markers that may go.
    pub next_horizon: Option<i64>,
    /// There was more than the map holds: another pass has to follow.
    pub more: bool,
    /// It was told to stop; what was done so far is done.
    pub stopped: bool,
}

/// What a pass works with.
pub struct Pass<'a> {
    /// What of the log is compacted.
    pub dirty: Dirty,
    /// The time, ms.
    pub now: i64,
    /// Settings of the log.
    pub options: LogOptions,
    /// Memory.
    pub map: &'a mut KeyMap,
    /// Set when there is no time any more.
    pub stop: &'a AtomicBool,
    /// Set when the log is of no use to anybody any more.
    pub given_up: &'a AtomicBool,
}

impl PartitionLog {
    /// How much waits for compaction, of what lies before `upper`, when everything before `first_dirty` was compacted.
    /// `next_horizon` is what the last pass said. `now` in ms.
    pub fn dirty(
        &self,
        first_dirty: i64,
        upper: i64,
        next_horizon: Option<i64>,
        options: &LogOptions,
        now: i64,
    ) -> Result<Dirty, ReadError> {
        let (_swapping, view) = self.reading();
        let start = self.log_start_offset();
        // Wherever compaction got, it was not beyond the end, nor is anything left before the start.
        let first = if first_dirty > self.end_offset() { start } else { first_dirty.max(start) };
        let rules = &options.compaction;
        let (mut clean_bytes, mut dirty_bytes, mut end) = (0, 0, start);
        let mut oldest = None;
        for segment in sealed(&view, start, upper) {
            if segment.end_offset() > first {
                if rules.min_lag_ms > 0 && segment.youngest()? > now.saturating_sub(rules.min_lag_ms) {
                    break;
                }
                if oldest.is_none() && rules.max_lag_ms < i64::MAX {
                    oldest = segment.first_timestamp()?;
                }
                dirty_bytes += segment.size();
            } else {
                clean_bytes += segment.size();
            }
            end = segment.end_offset();
        }
        let all = clean_bytes + dirty_bytes;
        let ratio = if all == 0 { 0.0 } else { dirty_bytes as f64 / all as f64 };
        let too_old = oldest.is_some_and(|oldest| oldest < now.saturating_sub(rules.max_lag_ms));
        let horizon_passed = next_horizon.is_some_and(|horizon| horizon <= now);
        let is_due =
            (dirty_bytes > 0 && (ratio > rules.min_dirty_ratio || too_old)) || (all > 0 && horizon_passed);
        Ok(Dirty { first, upper: end, ratio, is_due })
    }

    /// One pass. Nobody else may remove or compact segments of the log meanwhile. On an error the log is what it was, or
    /// what it is after a part of the pass; but after an error that is neither damage nor a full disk ([`LogError::is_full`])
    /// what is on the device is not known, and the log must not be used any more.
    pub fn compact(&self, pass: &mut Pass<'_>) -> Result<Compacted, LogError> {
        let Dirty { first, upper, .. } = pass.dirty;
        let start = self.log_start_offset();
        let view = self.view();
        let mut done = Compacted { first_dirty: first, ..Compacted::default() };
        pass.map.clear();
        let segments: Vec<_> = sealed(&view, start, upper).cloned().collect();
        let aborted = self.aborted_transactions(start, upper)?;
        let Some(map_end) = self.fill_map(pass, &segments, aborted.clone())? else {
            done.stopped = true;
            return Ok(done);
        };
        done.more = map_end < upper;
        let groups = groups(&segments, map_end, &pass.options);
        let (stop, given_up) = (pass.stop, pass.given_up);
        let stops = move || stop.load(Ordering::Relaxed) || given_up.load(Ordering::Relaxed);
        let last = groups.last().and_then(|group| group.last());
        let mut filter = Filter {
            newest: pass.map,
            map_end,
            upper: last.map_or(upper, |segment| segment.end_offset()),
            producers: &self.last_appends(),
            // All that overlap what is walked, whatever the map holds.
            seen: TransactionsSeen::new(aborted),
            now: pass.now,
            delete_retention_ms: pass.options.compaction.delete_retention_ms,
        };
        for group in groups {
            match self.rewrite(group, &mut filter, &pass.options, &stops, &mut done)? {
                Rewritten::Done => {}
                Rewritten::Stopped => {
                    done.stopped = true;
                    return Ok(done);
                }
            }
        }
        done.first_dirty = map_end;
        Ok(done)
    }

    /// Notes the newest offset of each key of the dirty part. Returns where that ends, or nothing when told to stop.
    fn fill_map(
        &self,
        pass: &mut Pass<'_>,
        segments: &[Arc<Segment>],
        aborted: Vec<super::AbortedTransaction>,
    ) -> Result<Option<i64>, LogError> {
        let first = pass.dirty.first;
        let mut seen = TransactionsSeen::new(aborted);
        for segment in segments.iter().filter(|segment| segment.end_offset() > first) {
            let mut batches = Batches::new(segment);
            while let Some(batch) = batches.next()? {
                if pass.stop.load(Ordering::Relaxed) || pass.given_up.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let header = batch.header();
                if header.is_control() || seen.data(header) || header.next_offset() <= first {
                    continue;
                }
                // A batch that does not decode is kept as it is, and so are older records of its keys.
                let Ok(open) = batch.open(DECOMPRESSION_BUDGET_BYTES) else { continue };
                for record in open.records() {
                    let Ok(record) = record else { break };
                    let Some(key) = record.key else { continue };
                    if record.offset >= first && !pass.map.insert(key, record.offset) {
                        return Ok(Some(record.offset));
                    }
                }
            }
        }
        Ok(Some(pass.dirty.upper))
    }

    /// Writes a group of segments again as one, and puts that in their place, if anything changes by it.
    fn rewrite(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        options: &LogOptions,
        stops: &dyn Fn() -> bool,
        done: &mut Compacted,
    ) -> Result<Rewritten, LogError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(Rewritten::Done) };
        let base = first.base_offset();
        let interval = options.index_interval_bytes;
        let mut output = Output::create(&self.environment, &self.directory, base, interval)?;
        match self.write_group(group, filter, stops, done, &mut output) {
            Ok(Some(changed)) if changed || group.len() > 1 => {}
            Ok(Some(_)) => {
                done.bytes_after += first.size();
                output.discard()?;
                return Ok(Rewritten::Done);
            }
            Ok(None) => {
                output.discard()?;
                return Ok(Rewritten::Stopped);
            }
            Err(error) => {
                // The error that is there already says more than one of removing files.
                let _ = output.discard();
                return Err(error);
            }
        }
        if let Err(error) = output.finish() {
            if error.is_full() {
                let _ = output.discard();
            }
            return Err(error);
        }
        self.keep_age(group, last)?;
        let aborted = output.aborted_sum();
        let swap = Swap {
            replaced: group.iter().map(|segment| segment.base_offset()).collect(),
            has_aborted: aborted.entries > 0,
        };
        let size = output.size();
        done.bytes_after += size;
        let new =
            Segment::sealed(&self.environment, &self.directory, base, last.end_offset(), size, interval);
        new.expect_aborted(aborted);
        self.swap_in(&swap, Arc::new(new))?;
        Ok(Rewritten::Done)
    }

    /// Where no record has a timestamp, the age of what is kept is that of the file: rewriting it must not make it young.
    fn keep_age(&self, group: &[Arc<Segment>], last: &Segment) -> Result<(), LogError> {
        for segment in group {
            if segment.largest()?.is_some() {
                return Ok(());
            }
        }
        let disk = &*self.environment.disk;
        let (old, new) =
            (last.path(FileKind::Log), cleaned_path(FileKind::Log, &self.directory, group[0].base_offset()));
        let modified = disk.modified(&old).map_err(LogError::io("look at", &old))?;
        // Some file systems do not let it be set: the segment then counts as young.
        let _ = disk.set_modified(&new, modified);
        Ok(())
    }

    /// Writes what is kept of a group. Returns whether that is anything else than what was there; nothing when told to
    /// stop.
    fn write_group(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        stops: &dyn Fn() -> bool,
        done: &mut Compacted,
        output: &mut Output<'_>,
    ) -> Result<Option<bool>, LogError> {
        let mut changed = false;
        for segment in group {
            done.bytes_before += segment.size();
            let mut batches = Batches::new(segment);
            while let Some(batch) = batches.next()? {
                if stops() {
                    return Ok(None);
                }
                let (kept, noted) = filter.apply(&batch);
                done.records_dropped += noted.dropped;
                if let Some(horizon) = noted.delete_horizon {
                    done.next_horizon = Some(done.next_horizon.map_or(horizon, |next| next.min(horizon)));
                }
                if let Some(aborted) = noted.aborted {
                    output.push_aborted(aborted);
                }
                match kept {
                    Kept::AsIs => output.push(&batch)?,
                    Kept::Changed(batch) => {
                        changed = true;
                        output.push(&batch)?;
                    }
                    Kept::Nothing => changed = true,
                }
                if output.size() > SEGMENT_MAX {
                    let reason = format!("compacted, it would be larger than {SEGMENT_MAX} bytes");
                    return Err(segment.corruption(FileKind::Log, 0, segment.base_offset(), reason).into());
                }
            }
        }
        Ok(Some(changed))
    }

    /// From here on the new segment counts.
    fn swap_in(&self, swap: &Swap, new: Arc<Segment>) -> Result<(), LogError> {
        let disk = &*self.environment.disk;
        let mut manifest = self.flushing.lock();
        let mut next = manifest.clone();
        next.swap(&swap.replaced, new.size(), new.aborted_sum());
        next.write_as(disk, &self.directory, MANIFEST_CLEANED)?;
        swap.note(disk, &self.directory)?;
        // The note counts: whatever fails now, the log must not be used before a start has finished it.
        self.finish_swap(swap, new).map_err(LogError::not_full)?;
        *manifest = next;
        Ok(())
    }

    fn finish_swap(&self, swap: &Swap, new: Arc<Segment>) -> Result<(), LogError> {
        let disk = &*self.environment.disk;
        {
            // The files and the view of them change together for every reader.
            let _swapping = self.swapping.write();
            swap.rename(disk, &self.directory)?;
            let _writer = self.writer.lock();
            let view = self.view();
            let first = view.segments.partition_point(|segment| segment.base_offset() < new.base_offset());
            let mut segments = view.segments.clone();
            segments.splice(first..first + swap.replaced.len(), [new]);
            *self.view.write() = Arc::new(View { segments });
        }
        swap.finish(disk, &self.directory)
    }
}

enum Rewritten {
    Done,
    Stopped,
}

/// The segments, from the one with the start, that are sealed and lie before `upper`.
fn sealed(view: &View, start: i64, upper: i64) -> impl Iterator<Item = &Arc<Segment>> {
    let (_active, sealed) = view.segments.split_last().expect("a log has a segment");
    let first = sealed.partition_point(|segment| segment.end_offset() <= start);
    sealed[first..].iter().take_while(move |segment| segment.end_offset() <= upper)
}

/// Divides the segments before `end` into groups that each fit into one.
fn groups<'a>(segments: &'a [Arc<Segment>], end: i64, options: &LogOptions) -> Vec<&'a [Arc<Segment>]> {
    let count = segments.partition_point(|segment| segment.base_offset() < end);
    let mut rest = &segments[..count];
    let mut groups = Vec::new();
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let fits = |segment: &Arc<Segment>| {
            bytes += segment.size();
            bytes <= u64::from(options.segment_bytes)
                && segment.end_offset() - 1 - first.base_offset() <= SEGMENT_MAX as i64
        };
        let length = rest.iter().take_while(scan(fits)).count().max(1);
        let (group, others) = rest.split_at(length);
        groups.push(group);
        rest = others;
    }
    groups
}

fn scan<'a>(mut fits: impl FnMut(&Arc<Segment>) -> bool + 'a) -> impl FnMut(&&Arc<Segment>) -> bool + 'a {
    move |segment| fits(segment)
}

/// Whole, checked batches of a sealed segment, one after another.
struct Batches<'a> {
    segment: &'a Segment,
    position: u64,
    window: Bytes,
    next_offset: i64,
}

impl<'a> Batches<'a> {
    fn new(segment: &'a Segment) -> Batches<'a> {
        Batches { segment, position: 0, window: Bytes::new(), next_offset: segment.base_offset() }
    }

    fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        let left = self.segment.size().saturating_sub(self.position);
        if left == 0 {
            return Ok(None);
        }
        let corrupt =
            |reason: String| self.segment.corruption(FileKind::Log, self.position, self.next_offset, reason);
        if self.window.len() < BATCH_HEADER_LEN {
            self.window = self.segment.load(self.position, (READ_BYTES as u64).min(left) as usize)?;
        }
        let header = BatchHeader::parse(&self.window).map_err(|error| corrupt(error.to_string()))?;
        if header.size() as u64 > left {
            return Err(corrupt(format!("a batch of {} bytes, and {left} are left", header.size())).into());
        }
        if self.window.len() < header.size() {
            let length = header.size().max((READ_BYTES as u64).min(left) as usize);
            self.window = self.segment.load(self.position, length)?;
            if self.window.len() < header.size() {
                return Err(corrupt("the file ends here, the segment does not".to_owned()).into());
            }
        }
        let batch =
            Batch::verify(self.window.slice(..header.size())).map_err(|error| corrupt(error.to_string()))?;
        if header.base_offset < self.next_offset {
            return Err(corrupt("offsets go backwards".to_owned()).into());
        }
        self.window = self.window.slice(header.size()..);
        self.position += header.size() as u64;
        self.next_offset = header.next_offset();
        Ok(Some(batch))
    }
}
