//! The progress record: what an epoch covered and where it left the pipeline.
//!
//! It is committed in the same frame as the epoch's outputs and state changes, and it is the truth about how far the
//! pipeline is. Its value is JSON, so that any Kafka client can read it.

use std::collections::BTreeMap;

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cut::{Cut, OffsetRange, Shedding, TopicPartition};
use super::errors::Rejected;
use super::graph::{Reached, is_pending};
use crate::operators::{self, Place};
use crate::plan::{Plan, Source};
use crate::rows::{END_OF_TIME, NO_TIME};
use crate::state::KeyGroups;

/// The version of the progress record this release writes, and the newest it reads.
pub const PROGRESS_VERSION: u16 = 2;

/// The state of a pipeline after one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The record's format version.
    pub version: u16,
    /// The pipeline's name.
    pub pipeline: String,
    /// The generation that ran the epoch.
    pub generation: u32,
    /// The epoch's number; the first is 1.
    pub epoch: u64,
    /// The fingerprint of the plan.
    pub plan: u32,
    /// Into how many groups the keys of the state are cut. Not written where it is the usual number.
    #[serde(default, skip_serializing_if = "KeyGroups::is_default")]
    pub key_groups: KeyGroups,
    /// Frozen processing time, in milliseconds.
    pub now: i64,
    /// The epoch's seed.
    pub seed: u64,
    /// The bound on rows written from closed windows.
    pub emit_rows: u32,
    /// Each input partition, in (topic, partition) order.
    pub inputs: Vec<InputProgress>,
    /// The pipeline's watermark: every window that ends here or before is closed. `None` before every partition has
    /// shown a record; `i64::MAX` when event time has ended.
    pub watermark: Option<i64>,
    /// Each source's watermark, in the plan's order; `None` before it has one.
    pub sources: Vec<Option<i64>>,
    /// How far each operator has given what time made due, in the plan's order.
    pub operators: Vec<OperatorProgress>,
    /// The sources that shed records in this epoch, in the plan's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shedding: Vec<SourceShedding>,
    /// What this epoch did.
    pub counters: Counters,
    /// What all epochs up to this one did.
    pub totals: Counters,
    /// CRC-32 over the epoch's output and changelog batches, in commit order.
    pub digest: u32,
    /// The input is declared finished, all of it is processed, and every window is closed. Nothing comes after.
    pub finished: bool,
    /// Where in the changelog the changes begin that count: what was before is in a snapshot only, after a savepoint was
    /// restored or the plan was replaced. `None`: the changelog from its beginning is the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_from: Option<i64>,
    /// The last record that was skipped or put aside for an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rejected: Option<LastRejected>,
    /// What tells each source topic from another one of its name, where that is known: the offsets are those of this
    /// topic, and of none that is made when it is gone. Also of other topics without which it cannot go on, as that of its
    /// state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topic_ids: BTreeMap<String, String>,
}

/// A record that was skipped or put aside for an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRejected {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What is wrong with it; of a long text the beginning.
    pub error: String,
    /// Where it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<String>,
}

impl LastRejected {
    /// Each progress record has it.
    const ERROR_BYTES: usize = 500;

    pub(super) fn of(rejected: &Rejected) -> LastRejected {
        let Rejected { partition, offset, error, dead_letter } = rejected;
        let mut error = error.to_string();
        if error.len() > Self::ERROR_BYTES {
            let end = (0..=Self::ERROR_BYTES).rev().find(|end| error.is_char_boundary(*end)).unwrap_or(0);
            error.truncate(end);
            error.push('…');
        }
        LastRejected {
            topic: partition.topic.clone(),
            partition: partition.partition,
            offset: *offset,
            error,
            dead_letter: dead_letter.clone(),
        }
    }
}

/// What one source sheds in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceShedding {
    /// Its place in the plan.
    pub source: usize,
    /// Its table.
    pub table: String,
    /// See [`Shedding::levels`].
    pub level: u32,
}

/// One input partition after an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputProgress {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset the epoch covered.
    pub from: i64,
    /// The offset after the last one covered: where the next epoch begins.
    pub to: i64,
    /// The first offset that was read, where those before it were shed unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<i64>,
    /// The end the input is declared to have.
    pub end: Option<i64>,
    /// The end that the input had before it was gone on behind a gap: it is declared again before anything else is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_end: Option<i64>,
    /// It holds no watermark back: it has had no record for long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// The partition's watermark for each source that reads it, in the plan's order: its newest event time less the
    /// allowed delay. `None` before its first record.
    pub watermarks: Vec<Option<i64>>,
    /// What of it is not and will not be read, as the pipeline was told to go on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

impl InputProgress {
    /// A partition that nothing was read of.
    fn unread(partition: &TopicPartition) -> InputProgress {
        InputProgress {
            topic: partition.topic.clone(),
            partition: partition.partition,
            from: 0,
            to: 0,
            passed_over: None,
            end: None,
            pending_end: None,
            idle: false,
            watermarks: Vec::new(),
            gap: None,
        }
    }
}

/// Records that were deleted before the pipeline read them, and were gone on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first offset of the last gap.
    pub from: i64,
    /// The offset behind it: where the log began.
    pub to: i64,
    /// How many offsets all gaps of the partition have had.
    pub total: u64,
}

/// How far an operator has given what time made due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorProgress {
    /// Every window that ends here or before is given; `None` before there is a watermark.
    pub watermark: Option<i64>,
    /// The window behind it that is given in part, for want of room in the epoch.
    pub partial: Option<PartialWindow>,
}

/// A window that is given in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialWindow {
    /// The end of the window.
    pub end: i64,
    /// The last key that is given, as the engine orders keys, in hexadecimal.
    pub key: String,
}

impl OperatorProgress {
    pub(super) fn of(place: &Place) -> OperatorProgress {
        let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect();
        OperatorProgress {
            watermark: (place.watermark != NO_TIME).then_some(place.watermark),
            partial: place.partial.as_ref().map(|(end, key)| PartialWindow { end: *end, key: hex(key) }),
        }
    }

    pub(super) fn place(&self) -> Result<Place, ProgressError> {
        let partial = match &self.partial {
            None => None,
            Some(PartialWindow { end, key }) => {
                let bytes = key.as_bytes().chunks(2).map(|pair| {
                    let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
                    u8::from_str_radix(pair, 16).ok()
                });
                let bytes: Option<Vec<u8>> = bytes.collect();
                let damaged = || ProgressError::Damaged { reason: format!("key {key:?} is not hexadecimal") };
                Some((*end, bytes.ok_or_else(damaged)?.into()))
            }
        };
        Ok(Place { watermark: self.watermark.unwrap_or(NO_TIME), partial })
    }
}

/// What happened to every record of the input, and what was written. Exact:
/// `read = processed + late + shed + skipped + dead_lettered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Committed records the cut covered. Of what is shed unread these are offsets, some of which may have no record.
    pub read: u64,
    /// Records that were computed, those that a filter then left out included.
    pub processed: u64,
    /// Records whose window was closed already.
    pub late: u64,
    /// Records left out because the pipeline was behind, as `SHED` declares; see `read`. Not written where there are none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub shed: u64,
    /// Records left out under `'on-error' = 'skip'`, and records without a value.
    pub skipped: u64,
    /// Of the skipped, records without a value (tombstones).
    pub without_value: u64,
    /// Records put aside under `'on-error' = 'dlq'`.
    pub dead_lettered: u64,
    /// Of the processed, records the filter left out.
    pub filtered: u64,
    /// Rows written to the sink.
    pub written: u64,
    /// Rows left out under the sink's `'on-error' = 'skip'`.
    pub unwritten: u64,
    /// Rows made by operators that came too late for an operator behind them.
    #[serde(default)]
    pub late_rows: u64,
    /// Windows closed and wholly written.
    pub windows_closed: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Counters {
    /// Whether every record read is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.read == self.processed + self.late + self.shed + self.skipped + self.dead_lettered
    }

    /// Adds what another epoch did.
    pub fn add(&mut self, other: &Counters) {
        self.read += other.read;
        self.processed += other.processed;
        self.late += other.late;
        self.shed += other.shed;
        self.skipped += other.skipped;
        self.without_value += other.without_value;
        self.dead_lettered += other.dead_lettered;
        self.filtered += other.filtered;
        self.written += other.written;
        self.unwritten += other.unwritten;
        self.late_rows += other.late_rows;
        self.windows_closed += other.windows_closed;
    }
}

/// A progress record that cannot be read.
#[derive(Debug, Error)]
pub enum ProgressError {
    /// A newer release wrote it.
    #[error(
        "progress record of format version {found}, but this release reads up to {PROGRESS_VERSION}; \
         run the release that wrote it, or a newer one"
    )]
    NewerVersion {
        /// The version found.
        found: u16,
    },
    /// A release wrote it whose state this one does not read.
    #[error(
        "progress record of format version {found}, but this release reads {PROGRESS_VERSION}: the state was written \
         by an early release; start the pipeline again under another name"
    )]
    OlderVersion {
        /// The version found.
        found: u16,
    },
    /// It is not a progress record.
    #[error("damaged progress record: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl Progress {
    /// The cut of the epoch: running it again over the same input gives the same bytes.
    pub fn cut(&self) -> Cut {
        let partition = |input: &InputProgress| TopicPartition::new(&*input.topic, input.partition);
        let range = |input: &InputProgress| OffsetRange { from: input.from, to: input.to };
        let end = |input: &InputProgress| Some((partition(input), input.end?));
        Cut {
            ranges: self.inputs.iter().map(|input| (partition(input), range(input))).collect(),
            now: self.now,
            seed: self.seed,
            emit_rows: self.emit_rows,
            ends: self.inputs.iter().map(end).collect(),
            idle: self.inputs.iter().filter(|input| input.idle).map(partition).collect(),
            shedding: Shedding {
                levels: self.shedding.iter().map(|source| (source.source, source.level)).collect(),
                passed_over: self
                    .inputs
                    .iter()
                    .filter_map(|input| Some((partition(input), input.passed_over?)))
                    .collect(),
            },
        }
    }

    /// Whether rows that time made due are left for the next epoch. `plan` is the one whose record this is.
    pub fn emission_pending(&self, plan: &Plan) -> Result<bool, ProgressError> {
        let places: Vec<Place> =
            self.operators.iter().map(OperatorProgress::place).collect::<Result<_, _>>()?;
        if places.len() != plan.nodes.len() || self.sources.len() != plan.sources.len() {
            return Err(ProgressError::Damaged { reason: "it is of another plan".to_owned() });
        }
        let sources: Vec<Reached> = plan
            .sources
            .iter()
            .zip(&self.sources)
            .map(|(source, time)| self.reached(source, *time))
            .collect();
        Ok(is_pending(plan, &|index| &places[index], &sources))
    }

    /// Whether time has ended, as it does where the input is declared to, for something that goes by it. `plan` is the
    /// one whose record this is.
    pub fn time_has_ended(&self, plan: &Plan) -> bool {
        let has_ended = |index: usize| {
            let place = self.operators.get(index).and_then(|place| place.watermark);
            place == Some(END_OF_TIME) && operators::goes_by_time(&plan.nodes[index].operator)
        };
        (0..plan.nodes.len()).any(has_ended)
    }

    /// What time it is for a source with this watermark.
    pub(crate) fn reached(&self, source: &Source, watermark: Option<i64>) -> Reached {
        let own = self.inputs.iter().filter(|input| input.topic == source.topic);
        let mut open = own.filter(|input| input.end != Some(input.to)).peekable();
        let idle = source.idle_ms.is_some() && open.peek().is_some() && open.all(|input| input.idle);
        Reached { watermark: watermark.unwrap_or(NO_TIME), idle }
    }

    /// The record of an epoch that reads and writes nothing, and leaves the pipeline `name` where this record's epoch left
    /// it, with this state: how a pipeline goes back to a savepoint. Its state comes from a snapshot, and the changes
    /// behind `state_from` in its changelog.
    pub fn taken_up(&self, name: &str, generation: u32, epoch: u64, state_from: i64) -> Progress {
        let standing =
            |input: &InputProgress| InputProgress { from: input.to, passed_over: None, ..input.clone() };
        Progress {
            version: PROGRESS_VERSION,
            pipeline: name.to_owned(),
            generation,
            epoch,
            inputs: self.inputs.iter().map(standing).collect(),
            shedding: Vec::new(),
            counters: Counters::default(),
            digest: 0,
            state_from: Some(state_from),
            ..self.clone()
        }
    }

    /// The record of an epoch that reads and writes nothing, and goes on at the beginning of every partition whose records
    /// are deleted up to there. `log_start` says where a partition begins, `None` for one that is not to be looked at;
    /// `added` are partitions that topics of the record have got since. `None`: there is no gap. The ends of the input, if
    /// any are declared, are to be declared again: see [`Progress::pending_ends`].
    pub fn over_gaps(
        &self,
        generation: u32,
        added: &[TopicPartition],
        log_start: impl Fn(&InputProgress) -> Option<i64>,
    ) -> Option<Progress> {
        let is_bounded = |input: &InputProgress| input.end.or(input.pending_end).is_some();
        let is_known = |partition: &TopicPartition| {
            let mut known = self.inputs.iter();
            known.any(|input| (&input.topic, input.partition) == (&partition.topic, partition.partition))
        };
        let added: Vec<InputProgress> = match self.inputs.iter().any(is_bounded) {
            // They are beyond the end.
            true => Vec::new(),
            false => {
                added.iter().filter(|partition| !is_known(partition)).map(InputProgress::unread).collect()
            }
        };
        let mut has_gap = false;
        let mut over = |input: &InputProgress| {
            let pending_end = input.end.or(input.pending_end);
            let standing =
                InputProgress { from: input.to, passed_over: None, end: None, pending_end, ..input.clone() };
            let start = log_start(input).map(|start| start.min(pending_end.unwrap_or(i64::MAX)));
            let Some(start) = start.filter(|start| *start > input.to) else { return standing };
            has_gap = true;
            let before = input.gap.map_or(0, |gap| gap.total);
            let total = before + start.abs_diff(input.to);
            InputProgress { to: start, gap: Some(Gap { from: input.to, to: start, total }), ..standing }
        };
        let inputs = self.inputs.iter().chain(&added).map(&mut over).collect();
        has_gap.then(|| Progress {
            generation,
            epoch: self.epoch + 1,
            inputs,
            shedding: Vec::new(),
            counters: Counters::default(),
            digest: 0,
            ..self.clone()
        })
    }

    /// Where the input ends that is to be declared before anything is read; `None` if there is nothing to be declared.
    pub fn pending_ends(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        let pending = |input: &InputProgress| {
            Some((TopicPartition::new(&*input.topic, input.partition), input.pending_end?))
        };
        // Ends are declared of all partitions or of none.
        self.inputs.iter().map(pending).collect::<Option<BTreeMap<_, _>>>().filter(|ends| !ends.is_empty())
    }

    /// The record as a batch of one.
    pub fn batch(&self) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(self.now, Some(&self.key()), Some(&self.encode()), &[]);
        builder.build()
    }

    /// The record's key: `<pipeline>@<epoch>`.
    pub fn key(&self) -> Vec<u8> {
        format!("{}@{}", self.pipeline, self.epoch).into_bytes()
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a progress record is plain data with string keys")
    }

    /// Reads a record's value. A record of a newer format is refused, never guessed at.
    pub fn decode(value: &[u8]) -> Result<Progress, ProgressError> {
        #[derive(Deserialize)]
        struct Version {
            version: u16,
        }
        let damaged = |error: serde_json::Error| ProgressError::Damaged { reason: error.to_string() };
        let Version { version } = serde_json::from_slice(value).map_err(damaged)?;
        if version > PROGRESS_VERSION {
            return Err(ProgressError::NewerVersion { found: version });
        }
        if version < PROGRESS_VERSION {
            return Err(ProgressError::OlderVersion { found: version });
        }
        serde_json::from_slice(value).map_err(damaged)
    }
}
