//! A stretch of one partition's records to rows: decoded and evaluated, by itself.
//!
//! ```text
//! batches of the cut ─► stretches ─┬─► decode ─► evaluate, a chunk at a time ─► Stretched ─┬─► Prepared
//!                                  └─► …            (any of them at a time)               ─┘   (in serial order)
//! ```
//!
//! What a stretch gives hangs on nothing but its records: its rows are numbered from its own beginning, and instead of a
//! watermark they have the newest event time so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::TimestampMillisecondArray;
use arrow_buffer::BooleanBuffer;
use logmill_record::{Batch, OpenBatch, RecordView};

use super::chunk::{Chunk, Evaluated};
use super::cut::{AheadStop, Input, Newest, OffsetRange, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::prepare::{DECOMPRESSED_BATCH_BYTES, Early, Refused};
use super::progress::Counters;
use super::shed::Sieve;
use crate::format::{Landed, RecordPlace, RowDecoder};
use crate::plan::{ErrorPolicy, Plan, Source};
use crate::rows::{Mark, NO_TIME, Rows};

/// Rows evaluated at once, and about how many records a stretch has: as many whole batches as have no more, or one batch.
pub(super) const CHUNK_ROWS: usize = 4096;

/// What a record costs beside its own bytes: its mark, its offset, its place in each column.
const ROW_BYTES: usize = 64;

/// Stretches that are computed at the same time tell one another of what they took after so many bytes.
const TELL_BYTES: usize = 64 * 1024;

/// Records of one partition that one source reads.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) source: usize,
    /// The input's index.
    pub(super) input: usize,
    /// The partition's place among those of its source.
    pub(super) slot: usize,
    partition: TopicPartition,
    range: OffsetRange,
    batches: Vec<Batch>,
    /// About how many.
    pub(super) records: usize,
}

impl Stretch {
    /// Cuts what an epoch takes of a partition into stretches.
    pub(super) fn cut(
        (source, input, slot): (usize, usize, usize),
        given: &Input,
        range: OffsetRange,
    ) -> Vec<Stretch> {
        let begin = || Stretch {
            source,
            input,
            slot,
            partition: given.partition.clone(),
            range,
            batches: Vec::new(),
            records: 0,
        };
        let mut stretches: Vec<Stretch> = Vec::new();
        for batch in &given.batches {
            let header = batch.header();
            let beside = header.next_offset() <= range.from || header.base_offset >= range.to;
            if beside || header.is_control() || given.is_aborted(batch) {
                continue;
            }
            let covered = header.next_offset().min(range.to) - header.base_offset.max(range.from);
            let records =
                usize::try_from(covered).unwrap_or(0).min(usize::try_from(header.count).unwrap_or(0));
            let is_full = |last: &Stretch| last.records + records > CHUNK_ROWS;
            if stretches.last().is_none_or(is_full) {
                stretches.push(begin());
            }
            if let Some(last) = stretches.last_mut() {
                last.batches.push(batch.clone());
                last.records += records;
            }
        }
        stretches
    }
}

/// How much the records of an epoch may unpack to, as one of its stretches sees it.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Bytes of all stretches together.
    pub(super) budget: usize,
    /// What the stretches before have taken; 0 where they are computed at the same time.
    pub(super) before: usize,
    /// What those that are computed at the same time have taken, about.
    pub(super) together: Option<Arc<AtomicUsize>>,
}

impl Room {
    /// What one batch may decompress to.
    fn batch_bytes(&self) -> usize {
        match self.together {
            // Whatever is larger has no room, or is looked at when it is alone.
            Some(_) => DECOMPRESSED_BATCH_BYTES.min(self.budget),
            None => DECOMPRESSED_BATCH_BYTES,
        }
    }
}

/// What a stretch gives.
#[derive(Debug, Default)]
pub(super) struct Stretched {
    pub(super) chunks: Vec<StretchedChunk>,
    /// Records that become dead letters, by their offsets; and the last of those that are skipped.
    pub(super) refused: Vec<Refused>,
    pub(super) skipped: Option<Refused>,
    /// The offsets of records that are shed and written to a topic.
    pub(super) shed: Vec<i64>,
    /// Chunks that wait until it is known which of their rows are shed.
    pub(super) held: Vec<Chunk>,
    /// The first record that is beyond the event time the epoch may take.
    pub(super) ahead: Option<AheadStop>,
    pub(super) counters: Counters,
    /// About how many bytes the records unpacked to, with the texts that were made of them.
    pub(super) unpacked: usize,
}

/// Rows that were evaluated together.
#[derive(Debug)]
pub(super) struct StretchedChunk {
    /// The offset of each row that was decoded.
    pub(super) offsets: Vec<i64>,
    /// The rows of the nodes that are wanted. Their marks are numbered from 0, in place of a watermark is the newest event
    /// time of the chunk up to the row, or [`NO_TIME`] where it has none of its own.
    pub(super) rows: Vec<(usize, Rows)>,
    /// The newest event time of the chunk.
    pub(super) reached: Option<i64>,
}

/// What is needed to compute stretches.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) plan: Arc<Plan>,
    pub(super) early: Arc<Early>,
    /// Frozen processing time, in milliseconds.
    pub(super) now: i64,
    /// The epoch's seed.
    pub(super) seed: u64,
    /// What of the sources is shed; see [`Shedding::levels`](super::Shedding::levels).
    pub(super) levels: BTreeMap<usize, u32>,
    /// The newest event time there is room for.
    pub(super) newest: Newest,
}

impl Workshop {
    /// What is shed of a source in this epoch.
    pub(super) fn sieve(&self, source: usize) -> Option<Sieve<'_>> {
        Sieve::of(&self.plan.sources[source], *self.levels.get(&source)?, self.seed)
    }

    /// Evaluates chunks of a stretch that have waited, as far as there is room for what is made of them.
    pub(super) fn go_on(
        &self,
        stretch: &Stretch,
        room: Room,
        begun: Stretched,
        chunks: Vec<Chunk>,
    ) -> Result<Stretched, EpochError> {
        let mut collecting = Collecting { stretched: begun, ..self.collecting(stretch, room) };
        for chunk in chunks {
            let is_first = collecting.room.before == 0 && collecting.stretched.chunks.is_empty();
            if !is_first && collecting.is_over() {
                return Err(collecting.over_budget(chunk.offsets[0]));
            }
            collecting.take_chunk(chunk)?;
        }
        Ok(collecting.finish())
    }

    fn collecting<'s>(&'s self, stretch: &'s Stretch, room: Room) -> Collecting<'s> {
        let sieve = self.sieve(stretch.source);
        let fraction = sieve.as_ref().map_or(0.0, Sieve::fraction);
        Collecting {
            workshop: self,
            stretch,
            room,
            told: 0,
            decoder: self.early.decoder(stretch.source).with_shed_fraction(fraction),
            sieve,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            landings: Vec::new(),
            stretched: Stretched::default(),
        }
    }

    /// Computes a stretch. An error is that of its first record which has one.
    pub(super) fn compute(&self, stretch: &Stretch, room: Room) -> Result<Stretched, EpochError> {
        self.collecting(stretch, room).run()
    }
}

/// The records of a stretch that are being collected.
struct Collecting<'s> {
    workshop: &'s Workshop,
    stretch: &'s Stretch,
    room: Room,
    /// The bytes that the others know of.
    told: usize,
    decoder: RowDecoder,
    sieve: Option<Sieve<'s>>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    landings: Vec<Landing>,
    stretched: Stretched,
}

/// What a row of a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    Given,
    /// A row that was given before is taken back.
    Back,
    /// The row of this key is deleted; there is nothing but the key.
    Deleted,
    /// The row behind it, of the same record, is in its place.
    Replaced,
    /// It is left out, and moves event time only.
    Shed,
}

impl Landing {
    /// The rows of a record, of a source with a primary key or without.
    fn of(landed: Landed, keyed: bool) -> &'static [Landing] {
        match (landed, keyed) {
            (Landed::Row, _) => &[Landing::Given],
            (Landed::TakenBack, false) => &[Landing::Back],
            (Landed::Replaced | Landed::Moved, false) => &[Landing::Back, Landing::Given],
            (Landed::TakenBack, true) | (Landed::Tombstone, _) => &[Landing::Deleted],
            (Landed::Replaced, true) => &[Landing::Replaced, Landing::Given],
            (Landed::Moved, true) => &[Landing::Deleted, Landing::Given],
            (Landed::Nothing, _) => &[],
        }
    }

    fn is_back(self) -> bool {
        matches!(self, Landing::Back | Landing::Deleted)
    }
}

impl Collecting<'_> {
    fn source(&self) -> &Source {
        &self.workshop.plan.sources[self.stretch.source]
    }

    fn run(mut self) -> Result<Stretched, EpochError> {
        let stretch = self.stretch;
        let partition = &stretch.partition;
        for batch in &stretch.batches {
            if self.stretched.ahead.is_some() {
                break;
            }
            let header = batch.header();
            let damaged = |error| EpochError::DamagedBatch {
                partition: partition.clone(),
                base_offset: header.base_offset,
                error,
            };
            let open: OpenBatch = batch.open(self.room.batch_bytes()).map_err(damaged)?;
            for view in open.records_from(stretch.range.from) {
                let view = view.map_err(damaged)?;
                // The rest is another epoch's.
                if view.offset >= stretch.range.to {
                    break;
                }
                if stretch.range.contains(view.offset) {
                    let place = RecordPlace {
                        topic: &partition.topic,
                        partition: partition.partition,
                        timestamp_type: header.attributes.timestamp_type(),
                    };
                    self.add_record(place, &view)?;
                }
            }
        }
        self.flush()?;
        Ok(self.finish())
    }

    fn finish(mut self) -> Stretched {
        // Records refused while they were decoded lie between the rows.
        self.stretched.refused.sort_by_key(|refused| refused.offset);
        self.stretched
    }

    /// Leaves one record out.
    fn shed(&mut self, offset: i64) {
        self.stretched.counters.shed += 1;
        if self.sieve.as_ref().is_some_and(Sieve::writes) {
            self.stretched.shed.push(offset);
        }
    }

    fn add_record<'r>(&mut self, place: RecordPlace<'r>, view: &RecordView<'r>) -> Result<(), EpochError> {
        let dropped = self.sieve.as_ref().filter(|sieve| sieve.drops(place.partition, view.offset));
        let (is_dropped, is_written) = (dropped.is_some(), dropped.is_some_and(Sieve::writes));
        if is_dropped && !is_written {
            self.stretched.counters.read += 1;
            self.shed(view.offset);
            return Ok(());
        }
        // What goes to a topic is copied whole.
        let bytes = view.data_len() + ROW_BYTES;
        let taken = self.room.before + self.stretched.unpacked;
        // One record is always taken.
        if taken > 0 && bytes > self.room.budget.saturating_sub(taken) {
            return Err(self.over_budget(view.offset));
        }
        self.stretched.unpacked += bytes;
        if !self.tell() {
            return Err(self.over_budget(view.offset));
        }
        self.stretched.counters.read += 1;
        if is_dropped {
            self.shed(view.offset);
            return Ok(());
        }
        let counters = &mut self.stretched.counters;
        let keyed = !self.workshop.plan.sources[self.stretch.source].upsert_key.is_empty();
        if view.value.is_none() && !keyed {
            counters.skipped += 1;
            counters.without_value += 1;
            return Ok(());
        }
        match self.decoder.decode(place, view) {
            Ok(Landed::Nothing) => {
                counters.skipped += 1;
                counters.without_value += 1;
            }
            Ok(landed) => {
                for landing in Landing::of(landed, keyed) {
                    self.offsets.push(view.offset);
                    self.timestamps.push(view.timestamp);
                    self.landings.push(*landing);
                }
                if self.decoder.is_full() {
                    self.flush()?;
                }
            }
            Err(reason) => {
                if self.source().on_error == ErrorPolicy::Fail {
                    // A row before this one may fail too, and is then the first to be named.
                    self.flush()?;
                }
                self.refuse(view.offset, RecordError::Decode { reason })?;
            }
        }
        Ok(())
    }

    /// Tells the stretches that are computed at the same time what this one has taken; false where it is too much.
    fn tell(&mut self) -> bool {
        let Some(together) = &self.room.together else { return true };
        let untold = self.stretched.unpacked - self.told;
        if untold < TELL_BYTES {
            return true;
        }
        self.told = self.stretched.unpacked;
        together.fetch_add(untold, Ordering::Relaxed) <= self.room.budget.saturating_sub(untold)
    }

    fn is_over(&self) -> bool {
        self.room.before + self.stretched.unpacked > self.room.budget
    }

    fn over_budget(&self, offset: i64) -> EpochError {
        EpochError::OverBudget { partition: self.stretch.partition.clone(), offset, rest: Vec::new() }
    }

    /// Applies the source's policy to one record.
    fn refuse(&mut self, offset: i64, error: RecordError) -> Result<(), EpochError> {
        let Stretch { source, input, .. } = *self.stretch;
        match &self.workshop.plan.sources[source].on_error {
            ErrorPolicy::DeadLetter { .. } => {
                self.stretched.counters.dead_lettered += 1;
                self.stretched.refused.push(Refused { source, input, offset, error });
            }
            ErrorPolicy::Skip => {
                self.stretched.counters.skipped += 1;
                // Rows are evaluated behind records that came after them and could not be decoded.
                if self.stretched.skipped.as_ref().is_none_or(|last| last.offset < offset) {
                    self.stretched.skipped = Some(Refused { source, input, offset, error });
                }
            }
            ErrorPolicy::Fail => {
                return Err(EpochError::Poison { partition: self.stretch.partition.clone(), offset, error });
            }
        }
        Ok(())
    }

    /// Evaluates the rows collected so far.
    fn flush(&mut self) -> Result<(), EpochError> {
        if self.offsets.is_empty() {
            return Ok(());
        }
        let chunk = Chunk {
            columns: self.decoder.finish(),
            offsets: std::mem::take(&mut self.offsets),
            timestamps: std::mem::take(&mut self.timestamps),
            landings: std::mem::take(&mut self.landings),
        };
        match self.sieve.as_ref().is_some_and(Sieve::holds) {
            true => self.stretched.held.push(chunk),
            false => self.take_chunk(chunk)?,
        }
        Ok(())
    }

    /// Evaluates a chunk, in parts where it is too much at once.
    fn take_chunk(&mut self, chunk: Chunk) -> Result<(), EpochError> {
        let rows = chunk.offsets.len();
        let has_value = |row: usize| matches!(chunk.landings[row], Landing::Given | Landing::Back);
        let there = BooleanBuffer::collect_bool(rows, has_value);
        let shed = BooleanBuffer::collect_bool(rows, |row| chunk.landings[row] == Landing::Shed);
        let source = self.stretch.source;
        let evaluated = match self.workshop.evaluate(source, chunk.columns.clone(), &there, &shed) {
            Some(evaluated) => evaluated,
            None => match chunk.halves() {
                Some([first, second]) => {
                    self.take_chunk(first)?;
                    if self.is_over() {
                        return Err(self.over_budget(second.offsets[0]));
                    }
                    return self.take_chunk(second);
                }
                None => Evaluated::of_too_much(rows),
            },
        };
        let Chunk { offsets, timestamps, landings, .. } = chunk;
        let Evaluated { times, mut refused, outputs, made } = evaluated;
        self.stretched.unpacked += made;
        // The rows of one record are taken together or not at all.
        for row in (1..rows).filter(|row| offsets[row - 1] == offsets[*row]) {
            let error = refused.get(&(row - 1)).or(refused.get(&row)).cloned();
            refused.extend(error.into_iter().flat_map(|error| [(row - 1, error.clone()), (row, error)]));
        }
        let is_sound = |row: usize| !refused.contains_key(&row) && landings[row] != Landing::Replaced;
        let sound = BooleanBuffer::collect_bool(rows, is_sound);
        let has_time = &sound & &(&there | &shed);
        if let (Some(times), Some(newest)) = (&times, self.workshop.newest.get(&source)) {
            let beyond = has_time.set_indices().find(|row| times.value(*row) > *newest);
            let stop = beyond.map(|row| AheadStop { offset: offsets[row], time: times.value(row) });
            self.stretched.ahead = self.stretched.ahead.or(stop);
        }
        let (marks, reached) = self.marks(&has_time, times.as_ref(), &timestamps, &landings);
        let sound = &sound & &!&shed;
        let mut passed = BooleanBuffer::new_unset(rows);
        let mut given = Vec::with_capacity(outputs.len());
        for (node, columns, kept) in outputs {
            let kept = &kept & &sound;
            passed = &passed | &kept;
            let rows = Rows { columns, marks: marks.clone() }.filter(&kept);
            if !rows.is_empty() {
                given.push((node, rows));
            }
        }
        let is_first = |row: usize| row == 0 || offsets[row - 1] != offsets[row];
        for row in (0..rows).filter(|row| is_first(*row) && !refused.contains_key(row)) {
            match landings[row] {
                Landing::Shed => self.shed(offsets[row]),
                _ => self.stretched.counters.processed += 1,
            }
        }
        let left_out = &sound & &!&passed;
        // One row stands for a record of which none passed: the first that is sound.
        let stands_for_record = |row: &usize| {
            let of_record = |other: &usize| offsets[*other] == offsets[*row];
            !(0..*row).rev().take_while(of_record).any(|before| sound.value(before))
                && !(*row..rows).take_while(of_record).any(|behind| passed.value(behind))
        };
        self.stretched.counters.filtered += left_out.set_indices().filter(stands_for_record).count() as u64;
        for (row, error) in refused {
            if is_first(row) {
                self.refuse(offsets[row], error)?;
            }
        }
        self.stretched.chunks.push(StretchedChunk { offsets, rows: given, reached });
        Ok(())
    }

    /// The marks of a chunk's rows, and the newest event time among them.
    fn marks(
        &self,
        has_time: &BooleanBuffer,
        times: Option<&TimestampMillisecondArray>,
        timestamps: &[i64],
        landings: &[Landing],
    ) -> (Vec<Mark>, Option<i64>) {
        let mut reached = NO_TIME;
        let mut mark = |row: usize, timestamp: i64| {
            let time = times.filter(|_| has_time.value(row)).map(|times| times.value(row));
            reached = reached.max(time.unwrap_or(NO_TIME));
            Mark {
                order: row as u64,
                origin: row as u64,
                timestamp: time.unwrap_or(timestamp),
                watermark: time.map_or(NO_TIME, |_| reached),
                partition: self.stretch.partition.partition,
                back: landings[row].is_back(),
            }
        };
        let marks = timestamps.iter().enumerate().map(|(row, timestamp)| mark(row, *timestamp)).collect();
        (marks, (reached != NO_TIME).then_some(reached))
    }
}
