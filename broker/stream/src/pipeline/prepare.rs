//! Batches to evaluated chunks: everything an epoch does that needs no state.
//!
//! It runs before the state is touched, so that a record that fails under `'on-error' = 'fail'` leaves the pipeline
//! as it was.

use std::collections::BTreeMap;

use arrow_array::{Array, TimestampMillisecondArray};
use arrow_buffer::BooleanBuffer;
use logmill_record::{Batch, OpenBatch, Record, RecordView};

use super::cut::{AbortedRange, Input, OffsetRange, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::progress::Counters;
use super::sinks::DeadLetter;
use crate::column::Column;
use crate::eval::Evaluator;
use crate::format::{RecordPlace, RowDecoder};
use crate::plan::{Body, ErrorPolicy, Plan};
use crate::time;

/// Rows evaluated at once.
const CHUNK_ROWS: usize = 4096;
/// A batch that decompresses to more is refused.
const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// Rows of one partition with everything evaluated that needs no state.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The partition's index among the pipeline's inputs.
    pub(super) partition: usize,
    /// Where each row was.
    pub(super) positions: Vec<Position>,
    /// Event times, if the source has them.
    pub(super) times: Option<TimestampMillisecondArray>,
    /// Rows without a fault.
    pub(super) sound: BooleanBuffer,
    /// Of those, the rows the filter lets through.
    pub(super) kept: BooleanBuffer,
    /// What the body needs.
    pub(super) body: ChunkBody,
}

/// The body's expressions, evaluated.
#[derive(Debug)]
pub(super) enum ChunkBody {
    /// The output columns.
    Project(Vec<Column>),
    /// The group key and the aggregates' arguments.
    Window { keys: Vec<Column>, aggregates: Vec<AggregateInput> },
}

/// What one aggregate takes from the rows.
#[derive(Debug)]
pub(super) struct AggregateInput {
    /// The argument; `None` is `COUNT(*)`.
    pub(super) argument: Option<Column>,
    /// Rows that count; `None` is all.
    pub(super) filter: Option<BooleanBuffer>,
}

/// Where a record was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
}

/// Everything an epoch does that needs no state.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) chunks: Vec<Chunk>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) counters: Counters,
}

/// Prepares the input of one partition after the other.
#[derive(Debug)]
pub(super) struct Preparation<'p> {
    plan: &'p Plan,
    decoder: RowDecoder,
    positions: Vec<Position>,
    /// The rows' records, kept only where they may become dead letters.
    records: Vec<Record>,
    /// Dead letters of the chunk being collected.
    letters: Vec<DeadLetter>,
    prepared: Prepared,
}

impl<'p> Preparation<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            decoder: RowDecoder::new(&plan.source.format, &plan.source.columns, CHUNK_ROWS)
                .expect("the pipeline was built with the same decoder"),
            positions: Vec::new(),
            records: Vec::new(),
            letters: Vec::new(),
            prepared: Prepared::default(),
        }
    }

    pub(super) fn finish(self) -> Prepared {
        self.prepared
    }

    /// Takes the records of one partition that lie in `range`.
    pub(super) fn add(
        &mut self,
        partition: usize,
        input: &Input,
        range: OffsetRange,
    ) -> Result<(), EpochError> {
        for batch in &input.batches {
            let header = batch.header();
            let beside = header.next_offset() <= range.from || header.base_offset >= range.to;
            if beside || header.is_control() || is_aborted(batch, &input.aborted) {
                continue;
            }
            let damaged = |error| EpochError::DamagedBatch {
                partition: input.partition.clone(),
                base_offset: header.base_offset,
                error,
            };
            let open = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(damaged)?;
            for view in open.records() {
                let view = view.map_err(damaged)?;
                if range.contains(view.offset) {
                    self.add_record(partition, &input.partition, &open, &view)?;
                }
            }
        }
        self.flush(partition, &input.partition)
    }

    fn add_record(
        &mut self,
        partition: usize,
        source: &TopicPartition,
        open: &OpenBatch,
        view: &RecordView<'_>,
    ) -> Result<(), EpochError> {
        self.prepared.counters.read += 1;
        if view.value.is_none() {
            self.prepared.counters.skipped += 1;
            self.prepared.counters.without_value += 1;
            return Ok(());
        }
        let own = || {
            open.own(view).map_err(|error| EpochError::DamagedBatch {
                partition: source.clone(),
                base_offset: open.header().base_offset,
                error,
            })
        };
        let dead_letters = matches!(self.plan.source.on_error, ErrorPolicy::DeadLetter { .. });
        let place = RecordPlace {
            topic: &source.topic,
            partition: source.partition,
            timestamp_type: open.header().attributes.timestamp_type(),
        };
        match self.decoder.decode(place, view) {
            Ok(_) => {
                self.positions.push(Position { offset: view.offset, timestamp: view.timestamp });
                if dead_letters {
                    self.records.push(own()?);
                }
                if self.positions.len() == CHUNK_ROWS {
                    self.flush(partition, source)?;
                }
            }
            Err(reason) => {
                if self.plan.source.on_error == ErrorPolicy::Fail {
                    // A row before this one may fail too, and is then the first to be named.
                    self.flush(partition, source)?;
                }
                let record = if dead_letters { Some(own()?) } else { None };
                self.refuse(source, view.offset, record, RecordError::Decode { reason })?;
            }
        }
        Ok(())
    }

    /// Applies the source's policy to one record.
    fn refuse(
        &mut self,
        source: &TopicPartition,
        offset: i64,
        record: Option<Record>,
        error: RecordError,
    ) -> Result<(), EpochError> {
        match (&self.plan.source.on_error, record) {
            (ErrorPolicy::DeadLetter { .. }, Some(record)) => {
                self.prepared.counters.dead_lettered += 1;
                self.letters.push(DeadLetter { source: source.clone(), record, error });
                Ok(())
            }
            (ErrorPolicy::Skip, _) => {
                self.prepared.counters.skipped += 1;
                Ok(())
            }
            _ => Err(EpochError::Poison { partition: source.clone(), offset, error }),
        }
    }

    /// Evaluates the rows collected so far.
    fn flush(&mut self, partition: usize, source: &TopicPartition) -> Result<(), EpochError> {
        let positions = std::mem::take(&mut self.positions);
        let records = std::mem::take(&mut self.records);
        if !positions.is_empty() {
            let columns = self.decoder.finish();
            let (chunk, refused) = evaluate(self.plan, partition, positions, &columns);
            let mut records: Vec<Option<Record>> = records.into_iter().map(Some).collect();
            for (row, error) in refused {
                let record = records.get_mut(row).and_then(Option::take);
                self.refuse(source, chunk.positions[row].offset, record, error)?;
            }
            self.prepared.chunks.push(chunk);
        }
        self.letters.sort_by_key(|letter| letter.record.offset);
        self.prepared.dead_letters.append(&mut self.letters);
        Ok(())
    }
}

fn is_aborted(batch: &Batch, aborted: &[AbortedRange]) -> bool {
    let header = batch.header();
    header.is_transactional()
        && aborted.iter().any(|range| {
            range.producer_id == header.producer_id
                && (range.first_offset..=range.last_offset).contains(&header.base_offset)
        })
}

/// Evaluates a chunk; returns it with the rows that failed, in order.
fn evaluate(
    plan: &Plan,
    partition: usize,
    positions: Vec<Position>,
    columns: &[Column],
) -> (Chunk, BTreeMap<usize, RecordError>) {
    let mut refused = BTreeMap::new();
    let mut evaluator = Evaluator::new(columns, positions.len());
    let mut active = evaluator.all_rows();
    let mut times = None;
    if let Some(event_time) = plan.source.event_time {
        let array = columns[event_time.column].timestamp().clone();
        if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
            active = nulls.inner().clone();
            let column = &plan.source.columns[event_time.column].name;
            let missing = (0..array.len()).filter(|row| array.is_null(*row));
            refused.extend(missing.map(|row| (row, RecordError::NoEventTime { column: column.clone() })));
        }
        if let Body::Window(window) = &plan.body {
            refused.extend(outside_of_time(&array, window.size_ms));
        }
        times = Some(array);
    }
    let kept = match &plan.filter {
        Some(filter) => evaluator.evaluate_mask(filter, &active),
        None => active.clone(),
    };
    let body = match &plan.body {
        Body::Project { outputs } => {
            ChunkBody::Project(outputs.iter().map(|output| evaluator.evaluate(output, &kept)).collect())
        }
        Body::Window(window) => ChunkBody::Window {
            keys: window.keys.iter().map(|key| evaluator.evaluate(&key.expression, &kept)).collect(),
            aggregates: window
                .aggregates
                .iter()
                .map(|aggregate| {
                    let filter =
                        aggregate.filter.as_ref().map(|filter| evaluator.evaluate_mask(filter, &kept));
                    let counted = filter.as_ref().unwrap_or(&kept);
                    let argument =
                        aggregate.argument.as_ref().map(|argument| evaluator.evaluate(argument, counted));
                    AggregateInput { argument, filter }
                })
                .collect(),
        },
    };
    for (row, fault) in evaluator.into_faults() {
        refused.insert(row, RecordError::Evaluate { expression: fault.expression, reason: fault.reason });
    }
    let (sound, kept) = match refused.is_empty() {
        true => (active, kept),
        false => {
            let sound = BooleanBuffer::collect_bool(positions.len(), |row| !refused.contains_key(&row));
            let kept = &kept & &sound;
            (sound, kept)
        }
    };
    (Chunk { partition, positions, times, sound, kept, body }, refused)
}

/// The rows whose window does not lie within the years a `TIMESTAMP` can hold.
fn outside_of_time(times: &TimestampMillisecondArray, size_ms: i64) -> Vec<(usize, RecordError)> {
    let outside = |time: i64| {
        let start = time.div_euclid(size_ms) * size_ms;
        !time::in_range(start) || !time::in_range(start + size_ms)
    };
    let rows = times.iter().enumerate().filter_map(|(row, time)| Some((row, time?)));
    rows.filter(|(_, time)| outside(*time))
        .map(|(row, time)| {
            let reason = format!("the window of {} is not within the years 1 to 9999", time::Iso(time));
            (row, RecordError::Evaluate { expression: "TUMBLE".to_owned(), reason })
        })
        .collect()
}
