//! The machine itself: state, and one epoch's step.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_record::{Batch, BatchBuilder, BatchOptions};

use super::clock::EventClock;
use super::cut::{Cut, Input, OffsetRange, TopicPartition};
use super::emit::{SinkWriter, digest};
use super::errors::{EpochError, RestoreError};
use super::output::EpochOutput;
use super::prepare::{Chunk, ChunkBody, Preparation, Prepared};
use super::progress::{Counters, EmitCursor, InputProgress, PROGRESS_VERSION, Progress};
use super::restore::Restoring;
use super::sinks::TopicWriter;
use super::spec::PipelineSpec;
use crate::plan::{Body, ErrorPolicy, Plan, WindowAggregate};
use crate::window::{Accumulator, Windows, encode_dropped, encode_group, encode_key_part};

/// A changelog batch is closed when it has grown to this many bytes.
const CHANGELOG_BATCH_BYTES: usize = 512 * 1024;

/// A running pipeline.
///
/// `step` computes one epoch and moves the pipeline's own state on at once, before the epoch is committed; so the next
/// epoch may be computed while the last one commits. If a commit fails, throw the pipeline away and build it again
/// with [`Pipeline::restore`].
#[derive(Debug)]
pub struct Pipeline {
    pub(super) plan: Arc<Plan>,
    pub(super) spec: PipelineSpec,
    /// The last epoch computed; 0 before the first.
    pub(super) epoch: u64,
    /// Where the next epoch begins, for each input.
    pub(super) positions: Vec<i64>,
    /// The declared ends, for each input.
    pub(super) ends: Option<Vec<i64>>,
    pub(super) clock: EventClock,
    pub(super) windows: Windows,
    pub(super) totals: Counters,
    pub(super) finished: bool,
    pub(super) spoilt: bool,
}

impl Pipeline {
    /// A pipeline at its beginning.
    pub fn new(plan: Plan, spec: PipelineSpec) -> Result<Pipeline, RestoreError> {
        Ok(Pipeline::restore(plan, spec, None)?.finish())
    }

    /// Begins to build a pipeline from its last progress record; its changelog comes next.
    pub fn restore(
        plan: Plan,
        spec: PipelineSpec,
        progress: Option<Progress>,
    ) -> Result<Restoring, RestoreError> {
        Restoring::new(plan, spec, progress)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The pipeline's name, generation and partitions.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// The last epoch computed; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where the next epoch begins in each input partition.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, i64)> + '_ {
        self.spec.inputs.iter().map(|input| &input.partition).zip(self.positions.iter().copied())
    }

    /// The end offsets the input is declared to have, once an epoch has recorded them.
    pub fn declared_ends(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        let ends = self.ends.as_ref()?;
        let partitions = self.spec.inputs.iter().map(|input| input.partition.clone());
        Some(partitions.zip(ends.iter().copied()).collect())
    }

    /// What all epochs so far did.
    pub fn totals(&self) -> &Counters {
        &self.totals
    }

    /// The pipeline's watermark; see [`Progress::watermark`].
    pub fn watermark(&self) -> Option<i64> {
        self.clock.watermark()
    }

    /// How many windows hold state: open ones, and closed ones that are not wholly written.
    pub fn open_windows(&self) -> u64 {
        self.windows.len() as u64
    }

    /// Whether closed windows wait to be written. The next cut must then cover no input.
    pub fn emission_pending(&self) -> bool {
        self.clock.watermark().is_some_and(|watermark| self.windows.emission_pending(watermark))
    }

    /// Whether the bounded run is over.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Computes one epoch.
    ///
    /// `input` holds, for every range of the cut that is not empty, the batches that cover it. After an error for
    /// which [`EpochError::needs_restore`] is false the pipeline is as before.
    pub fn step(&mut self, cut: &Cut, input: &[Input]) -> Result<EpochOutput, EpochError> {
        if self.spoilt {
            return Err(EpochError::NeedsRestore);
        }
        let ranges = self.check_cut(cut)?;
        let ends = self.check_ends(cut, &ranges)?;
        let prepared = self.prepare(&ranges, input)?;
        // From here on the state changes: an error leaves it half-way.
        self.spoilt = true;
        let output = self.run(cut, &ranges, ends, prepared)?;
        self.spoilt = false;
        Ok(output)
    }

    fn wrong_cut(&self, reason: String) -> EpochError {
        EpochError::WrongCut { epoch: self.epoch + 1, reason }
    }

    /// The cut's range of every input, in the inputs' order.
    fn check_cut(&self, cut: &Cut) -> Result<Vec<OffsetRange>, EpochError> {
        if self.finished {
            return Err(EpochError::Finished { epoch: self.epoch });
        }
        if cut.emit_rows == 0 {
            return Err(self.wrong_cut("emit_rows is 0: no window could ever be written".to_owned()));
        }
        let partitions: Vec<&TopicPartition> =
            self.spec.inputs.iter().map(|input| &input.partition).collect();
        if let Some(other) = cut.ranges.keys().find(|partition| partitions.binary_search(partition).is_err())
        {
            return Err(self.wrong_cut(format!("{other} is none of the pipeline's inputs")));
        }
        let pending = self.emission_pending();
        let mut ranges = Vec::with_capacity(partitions.len());
        for (partition, position) in self.positions() {
            let range =
                cut.ranges.get(partition).copied().unwrap_or(OffsetRange { from: position, to: position });
            if range.from != position || range.to < range.from {
                return Err(self.wrong_cut(format!(
                    "{partition}: {}..{} does not continue at {position}",
                    range.from, range.to
                )));
            }
            if pending && !range.is_empty() {
                return Err(self.wrong_cut(format!("{partition}: closed windows must be written first")));
            }
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// The declared ends after the cut, in the inputs' order.
    fn check_ends(&self, cut: &Cut, ranges: &[OffsetRange]) -> Result<Option<Vec<i64>>, EpochError> {
        let Some(declared) = &cut.ends else {
            return match &self.ends {
                None => Ok(None),
                Some(_) => {
                    Err(self.wrong_cut("the input's ends are declared, the cut must repeat them".to_owned()))
                }
            };
        };
        let mut ends = Vec::with_capacity(ranges.len());
        for (input, range) in self.spec.inputs.iter().zip(ranges) {
            let partition = &input.partition;
            let Some(end) = declared.get(partition).copied() else {
                return Err(self.wrong_cut(format!("{partition}: the declared input has no end here")));
            };
            if end < range.to {
                return Err(
                    self.wrong_cut(format!("{partition}: the cut reaches {} beyond the end {end}", range.to))
                );
            }
            ends.push(end);
        }
        if declared.len() != ends.len() {
            return Err(self.wrong_cut("ends are declared for partitions that are no inputs".to_owned()));
        }
        if self.ends.as_ref().is_some_and(|before| *before != ends) {
            return Err(self.wrong_cut("the declared ends are not those of an earlier epoch".to_owned()));
        }
        Ok(Some(ends))
    }

    fn prepare(&self, ranges: &[OffsetRange], inputs: &[Input]) -> Result<Prepared, EpochError> {
        let mut preparation = Preparation::new(&self.plan);
        for (index, (input, range)) in self.spec.inputs.iter().zip(ranges).enumerate() {
            if range.is_empty() {
                continue;
            }
            let Some(given) = inputs.iter().find(|given| given.partition == input.partition) else {
                return Err(self.wrong_cut(format!("{}: no batches are given", input.partition)));
            };
            preparation.add(index, given, *range)?;
        }
        Ok(preparation.finish())
    }

    fn run(
        &mut self,
        cut: &Cut,
        ranges: &[OffsetRange],
        ends: Option<Vec<i64>>,
        prepared: Prepared,
    ) -> Result<EpochOutput, EpochError> {
        let plan = Arc::clone(&self.plan);
        let Prepared { chunks, dead_letters, mut counters } = prepared;
        let mut sink = SinkWriter::new(&plan, self.spec.sink_partitions);
        for chunk in &chunks {
            self.apply(&plan, chunk, &mut sink, &mut counters)?;
        }
        self.positions = ranges.iter().map(|range| range.to).collect();
        self.ends = ends;
        for (index, end) in self.ends.iter().flatten().enumerate() {
            if self.positions[index] == *end {
                self.clock.end(index);
            }
        }
        let mut changelog = ChangelogWriter::new(cut.now);
        if let Body::Window(window) = &plan.body {
            self.close_windows(window, cut.emit_rows, &mut sink, &mut changelog, &mut counters)?;
        }
        let mut outputs = sink.finish();
        if let ErrorPolicy::DeadLetter { topic } = &plan.source.on_error {
            let mut writer = TopicWriter::new(topic, logmill_record::Codec::None);
            dead_letters
                .iter()
                .for_each(|letter| letter.write(self.spec.dead_letter_partitions, &mut writer));
            outputs.extend(writer.finish());
        }
        let changelog = changelog.finish();
        assert!(counters.is_conserved(), "every record is accounted for: {counters:?}");
        self.epoch += 1;
        self.totals.add(&counters);
        let at_end = self.ends.as_ref().is_some_and(|ends| *ends == self.positions);
        self.finished = at_end && !self.emission_pending();
        let digest = digest(outputs.iter().map(|output| &output.batch).chain(&changelog));
        let progress = self.progress(cut, ranges, counters, digest);
        let progress_batch = single_record(cut.now, &progress.key(), &progress.encode());
        Ok(EpochOutput { outputs, changelog, progress, progress_batch })
    }

    /// Applies a chunk's rows in order: event time, then the body.
    fn apply(
        &mut self,
        plan: &Plan,
        chunk: &Chunk,
        sink: &mut SinkWriter<'_>,
        counters: &mut Counters,
    ) -> Result<(), EpochError> {
        let others = self.clock.others(chunk.partition);
        let source_partition = self.spec.inputs[chunk.partition].partition.partition;
        let mut key = Vec::new();
        for row in chunk.sound.set_indices() {
            let time = chunk.times.as_ref().map(|times| times.value(row));
            let watermark = time.map(|time| self.clock.advance(chunk.partition, time, others));
            if !chunk.kept.value(row) {
                counters.processed += 1;
                counters.filtered += 1;
                continue;
            }
            match (&plan.body, &chunk.body) {
                (Body::Window(window), ChunkBody::Window { keys, aggregates }) => {
                    let time = time.expect("a window's source has event time");
                    let window_end = (time.div_euclid(window.size_ms) + 1) * window.size_ms;
                    if watermark.is_some_and(|watermark| window_end <= watermark) {
                        counters.late += 1;
                        continue;
                    }
                    key.clear();
                    keys.iter().for_each(|column| encode_key_part(column, row, &mut key));
                    let empty = || window.aggregates.iter().map(Accumulator::new).collect();
                    let accumulators = self.windows.group(window_end, &key, empty);
                    for (accumulator, input) in accumulators.iter_mut().zip(aggregates) {
                        if input.filter.as_ref().is_none_or(|filter| filter.value(row)) {
                            accumulator.add(input.argument.as_ref(), row);
                        }
                    }
                }
                (Body::Project { .. }, ChunkBody::Project(columns)) => {
                    let position = chunk.positions[row];
                    sink.write_projected(columns, row, time, position, source_partition, counters)?;
                }
                _ => unreachable!("the chunk was made for this body"),
            }
            counters.processed += 1;
        }
        Ok(())
    }

    fn close_windows(
        &mut self,
        window: &WindowAggregate,
        emit_rows: u32,
        sink: &mut SinkWriter<'_>,
        changelog: &mut ChangelogWriter,
        counters: &mut Counters,
    ) -> Result<(), EpochError> {
        if let Some(watermark) = self.clock.watermark() {
            let closed = self.windows.take_closed(watermark, emit_rows as usize);
            sink.write_groups(window, &closed.groups, counters)?;
            counters.windows_closed += closed.windows;
            if let Some(through) = closed.dropped_through {
                let (key, value) = encode_dropped(through);
                changelog.push(&key, &value);
            }
        }
        self.windows.take_changes(|window_end, key, accumulators| {
            let (key, value) = encode_group(window_end, key, accumulators);
            changelog.push(&key, &value);
        });
        Ok(())
    }

    fn progress(&self, cut: &Cut, ranges: &[OffsetRange], counters: Counters, digest: u32) -> Progress {
        let input = |(index, range): (usize, &OffsetRange)| {
            let partition = &self.spec.inputs[index].partition;
            InputProgress {
                topic: partition.topic.clone(),
                partition: partition.partition,
                from: range.from,
                to: range.to,
                end: self.ends.as_ref().map(|ends| ends[index]),
                watermark: self.clock.partition_watermark(index),
            }
        };
        Progress {
            version: PROGRESS_VERSION,
            pipeline: self.spec.name.clone(),
            generation: self.spec.generation,
            epoch: self.epoch,
            plan: self.plan.fingerprint(),
            now: cut.now,
            seed: cut.seed,
            emit_rows: cut.emit_rows,
            inputs: ranges.iter().enumerate().map(input).collect(),
            watermark: self.clock.watermark(),
            cursor: self.windows.cursor().map(|(window_end, key)| EmitCursor::new(window_end, key)),
            counters,
            totals: self.totals,
            digest,
            finished: self.finished,
        }
    }
}

/// Collects the changelog's records.
#[derive(Debug)]
struct ChangelogWriter {
    now: i64,
    builder: BatchBuilder,
    batches: Vec<Batch>,
}

impl ChangelogWriter {
    fn new(now: i64) -> Self {
        Self { now, builder: BatchBuilder::new(BatchOptions::default()), batches: Vec::new() }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.builder.push(self.now, Some(key), Some(value), &[]);
        if self.builder.size_estimate() >= CHANGELOG_BATCH_BYTES {
            self.batches.push(self.builder.build());
        }
    }

    fn finish(mut self) -> Vec<Batch> {
        if !self.builder.is_empty() {
            self.batches.push(self.builder.build());
        }
        self.batches
    }
}

fn single_record(timestamp: i64, key: &[u8], value: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(timestamp, Some(key), Some(value), &[]);
    builder.build()
}
