//! Batches to rows: everything an epoch does that needs no state.
//!
//! It runs before the state is touched, so that a record that fails under `'on-error' = 'fail'` leaves the pipeline
//! as it was. Each source is decoded, its computed columns and the stateless nodes right behind it are evaluated, and
//! each of its rows gets the watermark it is judged by.

use std::collections::BTreeMap;

use arrow_array::{Array, TimestampMillisecondArray};
use arrow_buffer::BooleanBuffer;
use logmill_record::{OpenBatch, RecordView};

use super::clock::EventClock;
use super::cut::{Input, OffsetRange, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::progress::Counters;
use super::spec::PipelineSpec;
use crate::column::Column;
use crate::eval::{Evaluator, too_much_text};
use crate::format::{FormatError, Landed, RecordPlace, RowDecoder};
use crate::plan::{ErrorPolicy, Operator, Plan, Source};
use crate::rows::{Mark, NO_TIME, Rows};
use crate::time;

/// Rows evaluated at once.
const CHUNK_ROWS: usize = 4096;
/// A batch that decompresses to more is refused.
pub(crate) const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// What a record costs beside its own bytes: its mark, its offset, its place in each column.
const ROW_BYTES: usize = 64;

/// A record that did not become a row, and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) source: usize,
    /// The input's index.
    pub(super) input: usize,
    pub(super) offset: i64,
    pub(super) error: RecordError,
}

/// Where the rows of one chunk came from.
#[derive(Debug)]
struct ChunkOrigin {
    first_order: u64,
    source: usize,
    input: usize,
    offsets: Vec<i64>,
}

/// Everything an epoch does that needs no state.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The rows of each stateless node that something with state, or a sink, reads.
    pub(super) rows: BTreeMap<usize, Vec<Rows>>,
    /// Records that become dead letters, in serial order; and the last of those that are skipped.
    pub(super) refused: Vec<Refused>,
    pub(super) skipped: Option<Refused>,
    pub(super) counters: Counters,
    /// The sources' clocks behind the epoch's records.
    pub(super) clocks: Vec<EventClock>,
    /// About how many bytes the records unpacked to, with the texts that were made of them.
    pub(super) unpacked: usize,
    origins: Vec<ChunkOrigin>,
}

impl Prepared {
    /// The records whose rows have these origins, each once, in serial order: the source, the input and the offset.
    pub(super) fn records(&self, mut origins: Vec<u64>) -> Vec<(usize, usize, i64)> {
        origins.sort_unstable();
        let mut records: Vec<_> = origins.into_iter().filter_map(|origin| self.origin(origin)).collect();
        // A record may be several rows, and a row may be late for several operators.
        records.dedup();
        records
    }

    /// The source, the input and the offset of a row.
    pub(super) fn origin(&self, order: u64) -> Option<(usize, usize, i64)> {
        let chunk = self.origins.partition_point(|chunk| chunk.first_order <= order).checked_sub(1)?;
        let chunk = &self.origins[chunk];
        let row = usize::try_from(order - chunk.first_order).ok()?;
        Some((chunk.source, chunk.input, *chunk.offsets.get(row)?))
    }
}

/// The plan as preparation needs it.
#[derive(Debug)]
pub(super) struct Early {
    /// For each source the stateless nodes behind it, inputs first.
    nodes: Vec<Vec<usize>>,
    /// Whether a node's rows are wanted outside.
    wanted: Vec<bool>,
    /// For each source a decoder without rows.
    decoders: Vec<RowDecoder>,
    longest_window_ms: i64,
}

impl Early {
    pub(super) fn new(plan: &Plan) -> Result<Early, FormatError> {
        let decoder = |source: &Source| {
            let decoder = RowDecoder::new(&source.format, &source.columns, CHUNK_ROWS)?;
            Ok(decoder.with_primary_key(&source.upsert_key))
        };
        let decoders = plan.sources.iter().map(decoder).collect::<Result<_, _>>()?;
        let early = super::graph::early_nodes(plan);
        let mut wanted = vec![false; plan.nodes.len()];
        for (node, _) in plan.nodes.iter().zip(&early).filter(|(_, early)| !**early) {
            node.inputs.iter().for_each(|input| wanted[*input] |= early[*input]);
        }
        plan.sinks.iter().for_each(|sink| wanted[sink.input] |= early[sink.input]);
        let mut source_of = vec![None; plan.nodes.len()];
        let mut nodes = vec![Vec::new(); plan.sources.len()];
        for (index, node) in plan.nodes.iter().enumerate().filter(|(index, _)| early[*index]) {
            source_of[index] = match &node.operator {
                Operator::Source { source } => Some(*source),
                _ => node.inputs.first().and_then(|input| source_of[*input]),
            };
            if let Some(source) = source_of[index] {
                nodes[source].push(index);
            }
        }
        Ok(Early { nodes, wanted, decoders, longest_window_ms: plan.longest_window_ms() })
    }
}

/// Prepares one partition of one source after the other.
#[derive(Debug)]
pub(super) struct Preparation<'p> {
    plan: &'p Plan,
    early: &'p Early,
    now: i64,
    /// The records may unpack to so many bytes.
    budget: usize,
    next_order: u64,
    prepared: Prepared,
}

/// The records of one source that are being collected.
#[derive(Debug)]
struct Collecting {
    source: usize,
    input: usize,
    /// The partition's place among those of its source.
    slot: usize,
    partition: TopicPartition,
    decoder: RowDecoder,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    landings: Vec<Landing>,
}

/// What a row of a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landing {
    Given,
    /// A row that was given before is taken back.
    Back,
    /// The row of this key is deleted; there is nothing but the key.
    Deleted,
    /// The row behind it, of the same record, is in its place.
    Replaced,
}

impl Landing {
    /// The rows of a record, of a source with a primary key or without.
    fn of(landed: Landed, keyed: bool) -> &'static [Landing] {
        match (landed, keyed) {
            (Landed::Row, _) => &[Landing::Given],
            (Landed::TakenBack, false) => &[Landing::Back],
            (Landed::Replaced, false) => &[Landing::Back, Landing::Given],
            (Landed::TakenBack, true) | (Landed::Tombstone, _) => &[Landing::Deleted],
            (Landed::Replaced, true) => &[Landing::Replaced, Landing::Given],
            (Landed::Nothing, _) => &[],
        }
    }

    fn is_back(self) -> bool {
        matches!(self, Landing::Back | Landing::Deleted)
    }
}

impl<'p> Preparation<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        early: &'p Early,
        clocks: Vec<EventClock>,
        now: i64,
        budget: usize,
    ) -> Self {
        let prepared = Prepared {
            rows: BTreeMap::new(),
            refused: Vec::new(),
            skipped: None,
            counters: Counters::default(),
            clocks,
            unpacked: 0,
            origins: Vec::new(),
        };
        Self { plan, early, now, budget, next_order: 0, prepared }
    }

    pub(super) fn finish(self) -> Prepared {
        self.prepared
    }

    /// Takes the records of a source that lie in the ranges of its partitions.
    pub(super) fn add_source(
        &mut self,
        source: usize,
        spec: &PipelineSpec,
        ranges: &[OffsetRange],
        given: &[Option<&Input>],
    ) -> Result<(), EpochError> {
        let topic = &self.plan.sources[source].topic;
        let inputs = spec.inputs.iter().enumerate().filter(|(_, input)| input.partition.topic == *topic);
        for (slot, (input, partition)) in inputs.enumerate() {
            if let Some(batches) = given[input] {
                let mut collecting = Collecting {
                    source,
                    input,
                    slot,
                    partition: partition.partition.clone(),
                    decoder: self.early.decoders[source].fresh(),
                    offsets: Vec::new(),
                    timestamps: Vec::new(),
                    landings: Vec::new(),
                };
                self.add(&mut collecting, batches, ranges[input]).map_err(|mut error| {
                    if let EpochError::OverBudget { rest, .. } = &mut error {
                        *rest = self.behind(source, input, spec);
                    }
                    error
                })?;
            }
        }
        Ok(())
    }

    /// The partitions whose turn comes after that of a source's input.
    fn behind(&self, source: usize, input: usize, spec: &PipelineSpec) -> Vec<TopicPartition> {
        let topics: Vec<&str> = self.plan.sources[source..].iter().map(|source| &*source.topic).collect();
        let is_behind = |index: usize, topic: &str| {
            index != input && (topics[1..].contains(&topic) || topics[0] == topic && index > input)
        };
        let inputs = spec.inputs.iter().enumerate();
        let behind = inputs.filter(|(index, other)| is_behind(*index, &other.partition.topic));
        behind.map(|(_, other)| other.partition.clone()).collect()
    }

    fn add(
        &mut self,
        collecting: &mut Collecting,
        input: &Input,
        range: OffsetRange,
    ) -> Result<(), EpochError> {
        for batch in &input.batches {
            let header = batch.header();
            let beside = header.next_offset() <= range.from || header.base_offset >= range.to;
            if beside || header.is_control() || input.is_aborted(batch) {
                continue;
            }
            let damaged = |error| EpochError::DamagedBatch {
                partition: input.partition.clone(),
                base_offset: header.base_offset,
                error,
            };
            let open: OpenBatch = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(damaged)?;
            for view in open.records() {
                let view = view.map_err(damaged)?;
                if range.contains(view.offset) {
                    let place = RecordPlace {
                        topic: &input.partition.topic,
                        partition: input.partition.partition,
                        timestamp_type: header.attributes.timestamp_type(),
                    };
                    self.add_record(collecting, place, &view)?;
                }
            }
        }
        self.flush(collecting)
    }

    fn add_record<'r>(
        &mut self,
        collecting: &mut Collecting,
        place: RecordPlace<'r>,
        view: &RecordView<'r>,
    ) -> Result<(), EpochError> {
        let bytes = view.data_len() + ROW_BYTES;
        // One record is always taken.
        if self.prepared.counters.read > 0 && bytes > self.budget.saturating_sub(self.prepared.unpacked) {
            return Err(over_budget(collecting, view.offset));
        }
        self.prepared.unpacked += bytes;
        self.prepared.counters.read += 1;
        let keyed = !self.plan.sources[collecting.source].upsert_key.is_empty();
        if view.value.is_none() && !keyed {
            self.prepared.counters.skipped += 1;
            self.prepared.counters.without_value += 1;
            return Ok(());
        }
        match collecting.decoder.decode(place, view) {
            Ok(Landed::Nothing) => {
                self.prepared.counters.skipped += 1;
                self.prepared.counters.without_value += 1;
            }
            Ok(landed) => {
                for landing in Landing::of(landed, keyed) {
                    collecting.offsets.push(view.offset);
                    collecting.timestamps.push(view.timestamp);
                    collecting.landings.push(*landing);
                }
                if collecting.decoder.is_full() {
                    self.flush(collecting)?;
                }
            }
            Err(reason) => {
                if self.plan.sources[collecting.source].on_error == ErrorPolicy::Fail {
                    // A row before this one may fail too, and is then the first to be named.
                    self.flush(collecting)?;
                }
                self.refuse(collecting, view.offset, RecordError::Decode { reason })?;
            }
        }
        Ok(())
    }

    /// Applies the source's policy to one record.
    fn refuse(&mut self, collecting: &Collecting, offset: i64, error: RecordError) -> Result<(), EpochError> {
        let Collecting { source, input, .. } = *collecting;
        match &self.plan.sources[source].on_error {
            ErrorPolicy::DeadLetter { .. } => {
                self.prepared.counters.dead_lettered += 1;
                self.prepared.refused.push(Refused { source, input, offset, error });
            }
            ErrorPolicy::Skip => {
                self.prepared.counters.skipped += 1;
                self.prepared.skipped = Some(Refused { source, input, offset, error });
            }
            ErrorPolicy::Fail => {
                return Err(EpochError::Poison { partition: collecting.partition.clone(), offset, error });
            }
        }
        Ok(())
    }

    /// Evaluates the rows collected so far.
    fn flush(&mut self, collecting: &mut Collecting) -> Result<(), EpochError> {
        if collecting.offsets.is_empty() {
            return Ok(());
        }
        let chunk = Chunk {
            columns: collecting.decoder.finish(),
            offsets: std::mem::take(&mut collecting.offsets),
            timestamps: std::mem::take(&mut collecting.timestamps),
            landings: std::mem::take(&mut collecting.landings),
        };
        self.take_chunk(collecting, chunk)
    }

    /// Evaluates a chunk, in parts where it is too much at once.
    fn take_chunk(&mut self, collecting: &Collecting, chunk: Chunk) -> Result<(), EpochError> {
        let source = &self.plan.sources[collecting.source];
        let rows = chunk.offsets.len();
        let has_value = |row: usize| matches!(chunk.landings[row], Landing::Given | Landing::Back);
        let there = BooleanBuffer::collect_bool(rows, has_value);
        let evaluated = match self.evaluate(collecting.source, source, chunk.columns.clone(), &there) {
            Some(evaluated) => evaluated,
            None => match chunk.halves() {
                Some([first, second]) => {
                    self.take_chunk(collecting, first)?;
                    if self.prepared.unpacked > self.budget {
                        return Err(over_budget(collecting, second.offsets[0]));
                    }
                    return self.take_chunk(collecting, second);
                }
                None => Evaluated::of_too_much(rows),
            },
        };
        let Chunk { offsets, timestamps, landings, .. } = chunk;
        let Evaluated { times, mut refused, outputs, made } = evaluated;
        self.prepared.unpacked += made;
        // The rows of one record are taken together or not at all.
        for row in (1..rows).filter(|row| offsets[row - 1] == offsets[*row]) {
            let error = refused.get(&(row - 1)).or(refused.get(&row)).cloned();
            refused.extend(error.into_iter().flat_map(|error| [(row - 1, error.clone()), (row, error)]));
        }
        let is_sound = |row: usize| !refused.contains_key(&row) && landings[row] != Landing::Replaced;
        let sound = BooleanBuffer::collect_bool(rows, is_sound);
        let marks = self.marks(collecting, &(&sound & &there), times.as_ref(), &timestamps, &landings);
        let mut passed = BooleanBuffer::new_unset(rows);
        for (node, columns, kept) in outputs {
            let kept = &kept & &sound;
            passed = &passed | &kept;
            let rows = Rows { columns, marks: marks.clone() }.filter(&kept);
            if !rows.is_empty() {
                self.prepared.rows.entry(node).or_default().push(rows);
            }
        }
        let is_first = |row: usize| row == 0 || offsets[row - 1] != offsets[row];
        let taken = (0..rows).filter(|row| is_first(*row) && !refused.contains_key(row));
        self.prepared.counters.processed += taken.count() as u64;
        self.prepared.counters.filtered += (sound.count_set_bits() - passed.count_set_bits()) as u64;
        for (row, error) in refused {
            if is_first(row) {
                self.refuse(collecting, offsets[row], error)?;
            }
        }
        self.prepared.origins.push(ChunkOrigin {
            first_order: self.next_order,
            source: collecting.source,
            input: collecting.input,
            offsets,
        });
        self.next_order += rows as u64;
        // Records refused while they were decoded lie between the rows.
        let from = self.prepared.refused.partition_point(|refused| {
            (refused.source, refused.input) != (collecting.source, collecting.input)
        });
        self.prepared.refused[from..].sort_by_key(|refused| refused.offset);
        Ok(())
    }

    /// Lets event time go on, row by row.
    fn marks(
        &mut self,
        collecting: &Collecting,
        has_time: &BooleanBuffer,
        times: Option<&TimestampMillisecondArray>,
        timestamps: &[i64],
        landings: &[Landing],
    ) -> Vec<Mark> {
        let clock = &mut self.prepared.clocks[collecting.source];
        let others = clock.others(collecting.slot);
        let first = self.next_order;
        let mut mark = |row: usize, timestamp: i64| {
            let time = times.filter(|_| has_time.value(row)).map(|times| times.value(row));
            let watermark = match time {
                Some(time) => clock.advance(collecting.slot, time, others),
                None => NO_TIME,
            };
            Mark {
                order: first + row as u64,
                origin: first + row as u64,
                timestamp: time.unwrap_or(timestamp),
                watermark,
                partition: collecting.partition.partition,
                back: landings[row].is_back(),
            }
        };
        timestamps.iter().enumerate().map(|(row, timestamp)| mark(row, *timestamp)).collect()
    }

    /// Evaluates a chunk of a source: its computed columns, and every stateless node behind it. Rows that are not
    /// there have nothing to compute and no time. Gives nothing when the texts made of it would be too much.
    fn evaluate(
        &self,
        index: usize,
        source: &Source,
        decoded: Vec<Column>,
        there: &BooleanBuffer,
    ) -> Option<Evaluated> {
        let rows = there.len();
        let mut made = 0;
        let mut refused: BTreeMap<usize, RecordError> = BTreeMap::new();
        let mut columns = decoded;
        let mut active = there.clone();
        let keep_faults = |refused: &mut BTreeMap<usize, RecordError>, evaluator: Evaluator<'_>| {
            for (row, fault) in evaluator.into_faults() {
                refused
                    .entry(row)
                    .or_insert(RecordError::Evaluate { expression: fault.expression, reason: fault.reason });
            }
        };
        for computed in &source.computed {
            let mut evaluator = Evaluator::new(&columns, rows).with_now(self.now).with_made(made);
            let column = evaluator.evaluate(&computed.expression, &active);
            made = evaluator.made_within_bounds()?;
            keep_faults(&mut refused, evaluator);
            columns.push(column);
        }
        let mut times = None;
        if let Some(event_time) = source.event_time {
            let array = columns[event_time.column].timestamp().clone();
            if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
                active = nulls.inner() & there;
                let column = &source.row()[event_time.column].name;
                for row in (0..array.len()).filter(|row| array.is_null(*row) && there.value(*row)) {
                    refused.entry(row).or_insert(RecordError::NoEventTime { column: column.clone() });
                }
            }
            for (row, error) in outside_of_time(&array, self.early.longest_window_ms) {
                refused.entry(row).or_insert(error);
            }
            times = Some(array);
        }
        let mut nodes: BTreeMap<usize, (Vec<Column>, BooleanBuffer)> = BTreeMap::new();
        for node in &self.early.nodes[index] {
            let evaluated = match &self.plan.nodes[*node].operator {
                Operator::Map { filter, outputs } => {
                    let (columns, active) = &nodes[&self.plan.nodes[*node].inputs[0]];
                    let mut evaluator = Evaluator::new(columns, rows).with_now(self.now).with_made(made);
                    let kept = match filter {
                        Some(filter) => evaluator.evaluate_mask(filter, active),
                        None => active.clone(),
                    };
                    let outputs = outputs.iter().map(|output| evaluator.evaluate(output, &kept)).collect();
                    made = evaluator.made_within_bounds()?;
                    keep_faults(&mut refused, evaluator);
                    (outputs, kept)
                }
                _ => (columns.clone(), &active | &!there),
            };
            nodes.insert(*node, evaluated);
        }
        let wanted = nodes.into_iter().filter(|(node, _)| self.early.wanted[*node]);
        let outputs = wanted.map(|(node, (columns, kept))| (node, columns, kept)).collect();
        Some(Evaluated { times, refused, outputs, made })
    }
}

/// Rows of one source that are evaluated together.
struct Chunk {
    columns: Vec<Column>,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    landings: Vec<Landing>,
}

impl Chunk {
    /// The chunk in two parts; `None` where it is one record, whose rows stay together.
    fn halves(&self) -> Option<[Chunk; 2]> {
        let middle = self.offsets.len() / 2;
        let of_record = |row: usize| self.offsets[row] == self.offsets[middle];
        let start = (0..middle).rev().take_while(|row| of_record(*row)).last().unwrap_or(middle);
        let end = (middle..self.offsets.len()).find(|row| !of_record(*row)).unwrap_or(self.offsets.len());
        let cut = if start > 0 { start } else { end };
        let part = |rows: std::ops::Range<usize>| {
            let places: Vec<u32> = rows.clone().map(|row| row as u32).collect();
            Chunk {
                columns: self.columns.iter().map(|column| column.take(&places)).collect(),
                offsets: self.offsets[rows.clone()].to_vec(),
                timestamps: self.timestamps[rows.clone()].to_vec(),
                landings: self.landings[rows].to_vec(),
            }
        };
        (cut < self.offsets.len()).then(|| [part(0..cut), part(cut..self.offsets.len())])
    }
}

/// A chunk of a source, evaluated.
struct Evaluated {
    times: Option<TimestampMillisecondArray>,
    refused: BTreeMap<usize, RecordError>,
    /// The nodes whose rows are wanted, with their columns and the rows that pass.
    outputs: Vec<(usize, Vec<Column>, BooleanBuffer)>,
    /// Bytes of the texts that were made of it.
    made: usize,
}

impl Evaluated {
    /// Of the rows of one record that alone is too much.
    fn of_too_much(rows: usize) -> Self {
        let error =
            || RecordError::Evaluate { expression: "the record's row".to_owned(), reason: too_much_text() };
        let refused = (0..rows).map(|row| (row, error())).collect();
        Evaluated { times: None, refused, outputs: Vec::new(), made: 0 }
    }
}

fn over_budget(collecting: &Collecting, offset: i64) -> EpochError {
    EpochError::OverBudget { partition: collecting.partition.clone(), offset, rest: Vec::new() }
}

/// The rows whose windows may not lie within the years a `TIMESTAMP` can hold.
fn outside_of_time(times: &TimestampMillisecondArray, longest_window_ms: i64) -> Vec<(usize, RecordError)> {
    if longest_window_ms == 0 {
        return Vec::new();
    }
    let outside = |time: i64| {
        !time::in_range(time.saturating_sub(longest_window_ms))
            || !time::in_range(time.saturating_add(longest_window_ms))
    };
    let rows = times.iter().enumerate().filter_map(|(row, time)| Some((row, time?)));
    rows.filter(|(_, time)| outside(*time))
        .map(|(row, time)| {
            let reason = format!("the window of {} is not within the years 1 to 9999", time::Iso(time));
            (row, RecordError::Evaluate { expression: "window".to_owned(), reason })
        })
        .collect()
}
