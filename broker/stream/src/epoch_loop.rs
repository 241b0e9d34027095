//! The loop of a pipeline, without a thread of its own: cut, read, step, commit.
//!
//! ```text
//! loop {
//!     match epochs.turn(&mut logs, now, seed)? {
//!         Turn::Committed { ticket, .. } => wait for the ticket of the turn before, keep this one
//!         Turn::Idle                     => wait until an input grows, or it is time to wake
//!         Turn::Finished                 => done
//!     }
//! }
//! ```

mod alignment;
mod begun;
mod followed;
mod idleness;
mod limits;
mod pace;
mod shedding;

use std::collections::{BTreeMap, BTreeSet};

use logmill_record::Batch;
use thiserror::Error;

use self::alignment::{Aligned, Alignment};
use self::begun::Begun;
pub use self::followed::Followed;
use self::idleness::Idleness;
pub use self::limits::EpochLimits;
use self::pace::Load;
pub use self::pace::Pace;
pub use self::shedding::ShedControl;
use self::shedding::{Shedder, Unread};

use crate::logs::{CommitError, Logs, LogsError};
use crate::pipeline::{
    Cut, EpochError, EpochOutput, Input, Newest, OffsetRange, Pipeline, Progress, RecordError, Shedding,
    TopicPartition,
};
use crate::rows::GIVEN_BYTES;
use crate::state::{ColdError, ColdPosition};

/// What one turn did.
#[derive(Debug)]
pub enum Turn<T> {
    /// An epoch was committed. Only two may be on their way: wait for the ticket of the one before.
    Committed {
        /// What the epoch did.
        progress: Box<Progress>,
        /// What to wait for until it is durable.
        ticket: T,
    },
    /// There is nothing to do until an input grows, or it is [`EpochLoop::wake_at`].
    Idle,
    /// The bounded run is over; nothing comes after.
    Finished,
}

/// Why a turn failed. The loop must not be turned again: restore the pipeline and make a new one.
#[derive(Debug, Error)]
pub enum TurnError {
    /// A record fails under `'on-error' = 'fail'`. Everything before it is committed.
    #[error(
        "pipeline {pipeline} stopped at {partition}, offset {offset}: {error}. Everything before it is committed. \
         Set 'on-error' = 'skip' or 'dlq' on the table to go on without such records"
    )]
    Poison {
        /// The pipeline.
        pipeline: String,
        /// Where the record is.
        partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// An epoch cannot be computed.
    #[error("pipeline {pipeline}: {error}")]
    Epoch {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: EpochError,
    },
    /// A log cannot be read.
    #[error("pipeline {pipeline}: {error}")]
    Logs {
        /// The pipeline.
        pipeline: String,
        /// Why.
        error: LogsError,
    },
    /// An epoch was not committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl TurnError {
    /// Of an epoch that was too large: how many bytes it had, and how many it may have. It was not committed; see
    /// [`EpochLoop::shrink`].
    pub fn too_large(&self) -> Option<(u64, u64)> {
        match self {
            TurnError::Commit(CommitError::TooLarge { bytes, limit, .. })
            | TurnError::Epoch {
                error: EpochError::TooMuch { bytes, limit, .. } | EpochError::ReadsBack { bytes, limit, .. },
                ..
            } => Some((*bytes, *limit)),
            _ => None,
        }
    }
}

/// An end of the input that cannot be declared.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeclareEndError {
    /// A partition is missing, or is none of the pipeline's.
    #[error("{partition}: ends are declared for every input partition and for no other")]
    OtherPartitions {
        /// The partition.
        partition: TopicPartition,
    },
    /// Other ends are declared already.
    #[error("{partition}: the end {declared} is declared already, not {end}")]
    Declared {
        /// The partition.
        partition: TopicPartition,
        /// The end declared before.
        declared: i64,
        /// The end declared now.
        end: i64,
    },
}

/// Records of which windows make more copies than this are taken in smaller epochs.
const COPIES: u64 = 16;

/// Turns a pipeline from cut to cut.
#[derive(Debug)]
pub struct EpochLoop {
    pipeline: Pipeline,
    limits: EpochLimits,
    /// Whether the limit of records holds within a batch, too.
    cuts_batches: bool,
    pace: Pace,
    /// What the last epoch was.
    load: Load,
    ends: Option<BTreeMap<TopicPartition, i64>>,
    idleness: Idleness,
    shedder: Shedder,
    alignment: Alignment,
    /// How far another run is over the same records, if this one follows it.
    followed: Option<Followed>,
    /// Partitions the last epoch had no room for: their turn is next.
    left_out: BTreeSet<TopicPartition>,
    /// There was more to read when the last epoch began than it took.
    is_behind: bool,
    begun: Begun,
}

impl EpochLoop {
    /// A loop over a pipeline that is at its beginning or restored.
    pub fn new(pipeline: Pipeline, limits: EpochLimits) -> EpochLoop {
        // Some copies of each record are allowed for, more are known of beforehand.
        let copies = (pipeline.plan().rows_of_record() / COPIES).max(1);
        let rows = usize::try_from(pipeline.plan().rows_of_record()).unwrap_or(usize::MAX);
        let limits = EpochLimits {
            input_records: (limits.input_records / copies).max(1),
            unpacked_bytes: limits.unpacked_bytes.min(GIVEN_BYTES / rows.max(1)),
            ..limits
        };
        EpochLoop {
            ends: pipeline.declared_ends(),
            idleness: Idleness::new(&pipeline),
            shedder: Shedder::new(&pipeline),
            alignment: Alignment::new(&pipeline),
            pipeline,
            limits,
            cuts_batches: copies > 1,
            pace: Pace::default(),
            load: Load::default(),
            followed: None,
            left_out: BTreeSet::new(),
            is_behind: false,
            begun: Begun::default(),
        }
    }

    /// Follows another run over the same records, to where that one is, until it is said to be further: then it is idle.
    /// Unlike an end that is declared, this is no end of time.
    pub(crate) fn follow(&mut self, followed: Followed) {
        let are_read = |partition: &TopicPartition, position: i64| followed.has_read(partition, position);
        self.pipeline.follow(&followed.times, are_read);
        self.followed = Some(followed);
    }

    /// Where a partition is not read beyond, if anywhere.
    fn bound(&self, partition: &TopicPartition) -> Option<i64> {
        let end = self.ends.as_ref().and_then(|ends| ends.get(partition)).copied();
        let followed = self.followed.as_ref().and_then(|followed| followed.offsets.get(partition));
        end.into_iter().chain(followed.copied()).min()
    }

    /// The partitions that hold no time back now. Where another run is followed, those that are read as far as that one has
    /// read: nothing comes of them that it has not seen in its own time, however long it took.
    fn idle(&self) -> BTreeSet<TopicPartition> {
        let Some(followed) = &self.followed else { return self.idleness.idle() };
        let positions = self.pipeline.positions();
        let read = positions.filter(|(partition, position)| followed.has_read(partition, *position));
        read.map(|(partition, _)| partition.clone()).collect()
    }

    /// Epochs begin at this pace: that of the loop before, whose last epoch could not be committed.
    pub fn with_pace(self, pace: Pace) -> EpochLoop {
        EpochLoop { pace, ..self }
    }

    /// It is decided in this way what is shed.
    pub fn with_shedding(mut self, control: ShedControl) -> EpochLoop {
        self.shedder.set_control(control);
        self
    }

    /// How large epochs are at the moment.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Sets [`EpochLimits::steady_bytes`] for the epochs that come.
    pub fn set_steady_bytes(&mut self, bytes: usize) {
        self.limits.steady_bytes = bytes;
    }

    /// Whether records were readable already when the last epoch began that it did not take: it works off a backlog.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether it sheds records where it is too far behind.
    pub fn may_shed(&self) -> bool {
        self.shedder.watches()
    }

    /// Makes the epochs that come half as large as the last one, until they are small for long enough. False when that
    /// makes none smaller: it was one record, and as few rows as time can make due at once.
    ///
    /// It is for an epoch that was too large ([`TurnError::too_large`]), so that the same input is parted among more of
    /// them. The pipeline has gone on meanwhile; so restore it and go on with a new loop at this one's [`EpochLoop::pace`].
    pub fn shrink(&mut self) -> bool {
        self.pace.shrink(&self.limits, &self.load)
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Where the input is declared to end; nothing while it is not.
    pub fn ends(&self) -> impl Iterator<Item = (&TopicPartition, i64)> + '_ {
        self.ends.iter().flatten().map(|(partition, end)| (partition, *end))
    }

    /// See [`Pipeline::committed`].
    pub fn committed(&mut self, epoch: u64, at: ColdPosition) -> Result<(), ColdError> {
        self.pipeline.committed(epoch, at)
    }

    /// See [`Pipeline::keep_in_memory`].
    pub fn keep_in_memory(&mut self, keep: u64) {
        self.pipeline.keep_in_memory(keep);
    }

    /// Declares the input finished: each partition ends at this offset, later records are not read; one that was read beyond
    /// it ends where the pipeline is. The next epoch records it. Declaring the same ends again changes nothing.
    pub fn declare_ends(&mut self, mut ends: BTreeMap<TopicPartition, i64>) -> Result<(), DeclareEndError> {
        let positions: BTreeMap<&TopicPartition, i64> = self.pipeline.positions().collect();
        if let Some(partition) = ends.keys().find(|partition| !positions.contains_key(partition)) {
            return Err(DeclareEndError::OtherPartitions { partition: partition.clone() });
        }
        for (partition, position) in positions {
            let partition = partition.clone();
            let Some(end) = ends.get_mut(&partition) else {
                return Err(DeclareEndError::OtherPartitions { partition });
            };
            *end = position.max(*end);
            let end = *end;
            let declared = self.ends.as_ref().and_then(|declared| declared.get(&partition).copied());
            if let Some(declared) = declared.filter(|declared| *declared != end) {
                return Err(DeclareEndError::Declared { partition, declared, end });
            }
        }
        self.ends = Some(ends);
        Ok(())
    }

    /// When turning is worth while although no input has grown, by the wall clock in milliseconds: a window of
    /// processing time ends, or a partition has been idle for long enough.
    pub fn wake_at(&self) -> Option<i64> {
        self.pipeline.wake_at().into_iter().chain(self.idleness.wake_at()).min()
    }

    /// Computes and commits one epoch, if there is anything to do. `now` is the wall clock in milliseconds, `seed`
    /// anything random; both are frozen into the epoch. A clock that was put back stands still until it is there again.
    pub fn turn<L: Logs>(&mut self, logs: &mut L, now: i64, seed: u64) -> Result<Turn<L::Ticket>, TurnError> {
        if self.pipeline.is_finished() {
            return Ok(Turn::Finished);
        }
        let now = now.max(self.pipeline.last_now());
        let limits = self.pace.of(&self.limits);
        let Found { input, ends, others_wait, shedding, aligned } = match self.pipeline.emission_pending() {
            true => Found::default(),
            false => self
                .read(logs, &limits, now)
                .map_err(|error| TurnError::Logs { pipeline: self.name(), error })?,
        };
        let idle = match self.pipeline.emission_pending() {
            true => self.pipeline.idle().cloned().collect(),
            false => self.idle(),
        };
        let mut cut = Cut {
            idle,
            ranges: self.ranges(&input, &ends, (&shedding, &aligned), &limits),
            now,
            seed,
            emit_rows: limits.emit_rows,
            ends: self.ends.clone(),
            shedding,
        };
        let news = self.pipeline.emission_pending() || self.ends != self.pipeline.declared_ends();
        let news = news || !cut.idle.iter().eq(self.pipeline.idle());
        let due = || self.pipeline.wake_at().is_some_and(|at| at <= now);
        if !news && cut.ranges.values().all(OffsetRange::is_empty) && !due() {
            return Ok(Turn::Idle);
        }
        let output = self.step_over_less(&mut cut, &input, &aligned.newest)?;
        self.load = self.load(&cut, &input, &output);
        if !input.is_empty() {
            let not_all = |(partition, range): (_, &OffsetRange)| ends.get(partition) > Some(&range.to);
            self.is_behind = others_wait || !self.left_out.is_empty() || cut.ranges.iter().any(not_all);
        }
        self.begun.note(&cut.ranges, &input, self.limits.unpacked_bytes);
        let progress = Box::new(output.progress.clone());
        let ticket = logs.commit(output)?;
        // Behind the commit: whoever shrinks one that was refused compares with what it was allowed.
        self.pace.note(&self.limits, &self.load);
        Ok(Turn::Committed { progress, ticket })
    }

    /// Steps over the cut, or over what comes before the records in it that fail or have no room. Once nothing does in
    /// the partition of the first record that fails, this is the end: no other partition runs on without it. Records of one
    /// partition may be found in any order: each of the tables that read it has its own, and rows that may be shed are
    /// evaluated when all are decoded.
    fn step_over_less(
        &mut self,
        cut: &mut Cut,
        input: &[Input],
        newest: &Newest,
    ) -> Result<EpochOutput, TurnError> {
        let mut budget = self.limits.unpacked_bytes;
        let mut had_no_room = false;
        let mut failing: Option<TopicPartition> = None;
        loop {
            match self.pipeline.step_within(cut, input, budget, newest) {
                Ok(output) => {
                    if had_no_room {
                        self.pace.hold(&self.limits, &self.load(cut, input, &output));
                    }
                    return Ok(output);
                }
                Err(EpochError::Poison { partition, offset, error }) => {
                    let range = cut.ranges.get_mut(&partition).expect("the record lies in the cut");
                    range.to = offset;
                    let nothing_before = range.is_empty();
                    let first = failing.get_or_insert_with(|| partition.clone());
                    if nothing_before && *first == partition {
                        return Err(TurnError::Poison { pipeline: self.name(), partition, offset, error });
                    }
                }
                // An epoch of nothing is one, too: the next one knows what comes.
                Err(EpochError::Ahead { stops }) => {
                    for (partition, stop) in stops {
                        let range = cut.ranges.get_mut(&partition).expect("the record lies in the cut");
                        range.to = stop.offset;
                        self.alignment.note(partition, stop);
                    }
                }
                Err(EpochError::OverBudget { partition, offset, rest }) => {
                    had_no_room = true;
                    for partition in rest {
                        if let Some(range) = cut.ranges.get_mut(&partition).filter(|range| !range.is_empty())
                        {
                            range.to = range.from;
                            cut.shedding.passed_over.remove(&partition);
                            self.left_out.insert(partition);
                        }
                    }
                    let range = cut.ranges.get_mut(&partition).expect("the record lies in the cut");
                    range.to = offset;
                    if cut.ranges.values().all(OffsetRange::is_empty) {
                        let range = cut.ranges.get_mut(&partition).expect("it did before");
                        // Its second reader has no room for the only record there is.
                        range.to = offset + 1;
                        budget = usize::MAX;
                    }
                }
                Err(error) => {
                    if let EpochError::TooMuch { rows, .. } | EpochError::ReadsBack { rows, .. } = error {
                        self.load = self.load_of_failed(cut, input, rows);
                    }
                    return Err(TurnError::Epoch { pipeline: self.name(), error });
                }
            }
        }
    }

    /// What an epoch was that gave too much; `rows` are those that time made due, if these were it.
    fn load_of_failed(&self, cut: &Cut, input: &[Input], rows: u64) -> Load {
        let records = self.pipeline.records();
        let (rows, by_time) = match (rows, records) {
            // Nothing but such rows can have led to what was too much further on.
            (0, 0) => (u64::from(self.limits.emit_rows), true),
            (rows, _) => (rows, rows > 0),
        };
        Load { bytes: covered_bytes(cut, input), records, unpacked: 0, rows, by_time, output: 0, full: true }
    }

    /// What the pipeline's last epoch was.
    fn load(&self, cut: &Cut, input: &[Input], output: &EpochOutput) -> Load {
        let mut full = self.pipeline.emission_pending() || !self.left_out.is_empty();
        for Input { partition, batches, .. } in input {
            let to = cut.ranges.get(partition).map_or(i64::MAX, |range| range.to);
            full |= batches.last().is_some_and(|batch| batch.header().next_offset() > to);
        }
        let (records, rows) = (self.pipeline.records(), self.pipeline.timed_rows());
        Load {
            bytes: covered_bytes(cut, input),
            records,
            unpacked: self.pipeline.unpacked_bytes(),
            rows,
            by_time: rows > records,
            output: output.size_bytes(),
            full,
        }
    }

    /// Whether the limit of records holds within a batch, too.
    fn bounds_records(&self) -> bool {
        self.cuts_batches || self.pace.bounds_records()
    }

    fn name(&self) -> String {
        self.pipeline.spec().name.clone()
    }

    /// Batches from where the pipeline is, or from behind what is passed over, of every partition that has some; of those
    /// alone that the last epoch left out, if there are any. And what the epoch sheds.
    fn read<L: Logs>(&mut self, logs: &mut L, limits: &EpochLimits, now: i64) -> Result<Found, LogsError> {
        let mut readable = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for (partition, position) in self.pipeline.positions() {
            let mut end = logs.readable_end(partition)?;
            let log_end = logs.log_end(partition)?;
            // Less may be readable than was, where an end is being declared: then the log does not end before.
            if position > end && (position > log_end || log_end == i64::MAX) {
                let partition = partition.clone();
                return Err(LogsError::BeyondEnd { partition, offset: position, log_end: end });
            }
            let at_end = position >= log_end;
            let heard = if at_end { logs.heard(partition, now)? } else { None };
            self.idleness.note(partition, at_end, heard, now);
            let bound = self.bound(partition).unwrap_or(i64::MAX);
            end = end.min(bound);
            if self.alignment.is_asked_for() {
                let end = logs.committed_end(partition)?.min(bound);
                if position < end {
                    unread.insert(partition.clone(), Unread { position, end });
                }
            }
            if position < end {
                readable.insert(partition.clone(), Unread { position, end });
            }
        }
        let left_out = std::mem::take(&mut self.left_out);
        let mut shedding = self.shedder.decide(&readable, logs, now)?;
        let aligned = self.alignment.decide(&self.pipeline, &unread);
        readable.retain(|partition, _| !aligned.waiting.contains(partition));
        let mut others_wait = false;
        if readable.keys().any(|partition| left_out.contains(partition)) {
            others_wait = readable.keys().any(|partition| !left_out.contains(partition));
            readable.retain(|partition, _| left_out.contains(partition));
        }
        let share = limits.input_bytes / readable.len().max(1);
        let records = if self.bounds_records() { limits.input_records } else { u64::MAX };
        let mut bytes = 0;
        let mut inputs = Vec::with_capacity(readable.len());
        let mut ends = BTreeMap::new();
        for (partition, Unread { position, end }) in readable {
            // A batch of each of very many partitions may be more than an epoch should hold.
            if bytes > limits.unpacked_bytes {
                self.left_out.insert(partition);
                continue;
            }
            let from = shedding.passed_over.get(&partition).copied().unwrap_or(position);
            let read = match self.begun.rest(&partition, from, records) {
                Some(rest) => rest,
                None => {
                    let mut read = logs.read(&partition, from, share)?;
                    self.begun.exchange(&partition, &mut read.batches);
                    read
                }
            };
            bytes += read.batches.iter().map(Batch::size).sum::<usize>();
            ends.insert(partition.clone(), end);
            inputs.push(Input { partition, batches: read.batches, aborted: read.aborted });
        }
        let is_read = |partition: &TopicPartition| inputs.iter().any(|input| input.partition == *partition);
        shedding.passed_over.retain(|partition, _| is_read(partition));
        Ok(Found { input: inputs, ends, others_wait, shedding, aligned })
    }

    /// The ranges that the batches read cover, as far as the limit of records allows, and no further than the end that was
    /// found: a log may have grown since. Where the last of the batches before it are gone the one that reaches it reaches
    /// beyond it.
    fn ranges(
        &mut self,
        input: &[Input],
        ends: &BTreeMap<TopicPartition, i64>,
        (shedding, aligned): (&Shedding, &Aligned),
        limits: &EpochLimits,
    ) -> BTreeMap<TopicPartition, OffsetRange> {
        let positions: BTreeMap<&TopicPartition, i64> = self.pipeline.positions().collect();
        let share = limits.input_records / input.len().max(1) as u64;
        // The first batch of each is taken whole, unless epochs were too large: then no more than the limit.
        let mut left = match self.bounds_records() {
            true => limits.input_records,
            false => u64::MAX,
        };
        let mut ranges = BTreeMap::new();
        for Input { partition, batches, .. } in input {
            let from = positions[partition];
            let begin = shedding.passed_over.get(partition).copied().unwrap_or(from);
            let mut to = begin;
            let mut records = 0;
            for header in batches.iter().map(Batch::header) {
                let first = header.base_offset.max(to);
                let offsets = u64::try_from(header.next_offset() - first).unwrap_or(0);
                let count = offsets.min(u64::try_from(header.count).unwrap_or(0));
                if records + count > share && to > begin {
                    break;
                }
                if count > left {
                    // There may be fewer records than offsets.
                    to = if left > 0 { first.saturating_add_unsigned(left) } else { to };
                    left = 0;
                    break;
                }
                records += count;
                left -= count;
                to = to.max(header.next_offset());
            }
            to = to.min(ends[partition]);
            if let Some(offsets) = aligned.unknown.get(partition) {
                to = to.min(begin.saturating_add_unsigned(*offsets));
            }
            if to == begin && !batches.is_empty() {
                self.left_out.insert(partition.clone());
            }
            ranges.insert(partition.clone(), OffsetRange { from, to });
        }
        ranges
    }
}

/// What was found to be read.
#[derive(Debug, Default)]
struct Found {
    input: Vec<Input>,
    /// Where each partition of the input ends for now.
    ends: BTreeMap<TopicPartition, i64>,
    /// There is something to read in others, which is not their turn.
    others_wait: bool,
    shedding: Shedding,
    aligned: Aligned,
}

/// The size of the batches a cut covers.
fn covered_bytes(cut: &Cut, input: &[Input]) -> usize {
    let covered = input.iter().flat_map(|Input { partition, batches, .. }| {
        let to = cut.ranges.get(partition).map_or(i64::MAX, |range| range.to);
        batches.iter().filter(move |batch| batch.header().base_offset < to)
    });
    covered.map(Batch::size).sum()
}
