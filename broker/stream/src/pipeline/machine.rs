//! The machine itself: state, and one epoch's step.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_record::{Batch, BatchBuilder, BatchOptions};

use super::clock::EventClock;
use super::cut::{Cut, Input, Newest, OffsetRange, Shedding, TopicPartition};
use super::emit::{SinkWriter, digest};
use super::errors::{EpochError, Rejected, RestoreError};
use super::graph::{Graph, GraphEpoch, Times};
use super::output::EpochOutput;
use super::prepare::{Early, Preparation, Prepared};
use super::progress::{
    Counters, Gap, InputProgress, LastRejected, OperatorProgress, PROGRESS_VERSION, Progress, SourceShedding,
};
use super::readers::Readers;
use super::restore::Restoring;
use super::room::room;
use super::side;
use super::sinks::{BATCH_BYTES, MOST_BATCH_BYTES};
use super::size::OperatorSize;
use super::spec::PipelineSpec;
use super::stretch::Workshop;
use crate::executor::Executor;
use crate::plan::{ErrorPolicy, Plan};
use crate::rows::{END_OF_TIME, NO_TIME};

/// A running pipeline.
///
/// `step` computes one epoch and moves the pipeline's own state on at once, before the epoch is committed; so the next
/// epoch may be computed while the last one commits. If a commit fails, throw the pipeline away and build it again
/// with [`Pipeline::restore`].
#[derive(Debug)]
pub struct Pipeline {
    pub(super) plan: Arc<Plan>,
    /// The plan's, which is made of its whole text.
    pub(super) fingerprint: u32,
    pub(super) spec: PipelineSpec,
    /// Who reads each input.
    pub(super) readers: Vec<Readers>,
    /// The last epoch computed; 0 before the first.
    pub(super) epoch: u64,
    /// The processing time of the last epoch computed.
    pub(super) now: i64,
    /// Where the next epoch begins, for each input.
    pub(super) positions: Vec<i64>,
    /// The declared ends, for each input.
    pub(super) ends: Option<Vec<i64>>,
    /// Whether each input is idle.
    pub(super) idle: Vec<bool>,
    /// What of each input was gone on without.
    pub(super) gaps: Vec<Option<Gap>>,
    /// What the last epoch shed.
    pub(super) shedding: Shedding,
    /// Event time, for each source.
    pub(super) clocks: Vec<EventClock>,
    /// Whether it follows another run; see `Pipeline::follow`.
    pub(super) follows: bool,
    pub(super) early: Arc<Early>,
    pub(super) graph: Graph,
    /// Rows that time made due are left for the next epoch.
    pub(super) pending: bool,
    pub(super) totals: Counters,
    pub(super) finished: bool,
    /// See [`Progress::state_from`].
    pub(super) state_from: Option<i64>,
    pub(super) spoilt: bool,
    /// How many records the last epoch took in; see [`Pipeline::records`].
    pub(super) records: u64,
    /// About how many bytes the records of the last epoch unpacked to.
    pub(super) unpacked: usize,
    /// How many rows time made due in the last epoch, counted at each operator that gave them.
    pub(super) timed_rows: u64,
    /// The last record of the last epoch that was passed over for an error.
    pub(super) rejected: Option<Rejected>,
    /// The last one of all epochs.
    pub(super) last_rejected: Option<LastRejected>,
    /// Who computes.
    pub(super) executor: Arc<dyn Executor>,
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

    /// The pieces of its epochs are run by this executor, from the next one on. It changes nothing of what they write.
    pub fn with_executor(self, executor: Arc<dyn Executor>) -> Pipeline {
        Pipeline { executor, ..self }
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

    /// The newest event time that was seen in a partition; of several sources that read it, that which is furthest back.
    pub(crate) fn newest_time(&self, partition: &TopicPartition) -> Option<i64> {
        let Readers { slot, sources } =
            &self.readers[self.spec.index_of(&partition.topic, partition.partition)?];
        let newest = |source: &usize| {
            let watermark = self.clocks[*source].partition_watermark(*slot)?;
            Some(watermark.saturating_add(self.plan.sources[*source].event_time?.delay_ms))
        };
        sources.iter().filter_map(newest).min()
    }

    /// The input partitions that hold no watermark back, because they have had no record for long.
    pub fn idle(&self) -> impl Iterator<Item = &TopicPartition> + '_ {
        let inputs = self.spec.inputs.iter().zip(&self.idle);
        inputs.filter(|(_, idle)| **idle).map(|(input, _)| &input.partition)
    }

    /// What the last epoch shed.
    pub fn shedding(&self) -> &Shedding {
        &self.shedding
    }

    /// When an epoch is due although no input has grown, in milliseconds: the first window of processing time ends.
    pub fn wake_at(&self) -> Option<i64> {
        self.graph.wake_at(&self.plan)
    }

    /// The frozen processing time of the last epoch; no later epoch's may be before it.
    pub fn last_now(&self) -> i64 {
        self.now
    }

    /// What all epochs so far did.
    pub fn totals(&self) -> &Counters {
        &self.totals
    }

    /// The pipeline's watermark; see [`Progress::watermark`].
    pub fn watermark(&self) -> Option<i64> {
        self.clocks
            .iter()
            .map(|clock| clock.watermark().unwrap_or(NO_TIME))
            .min()
            .filter(|least| *least != NO_TIME)
    }

    /// How many windows hold state: open ones, and closed ones that are not wholly written.
    pub fn open_windows(&self) -> u64 {
        self.graph.open_windows()
    }

    /// How many entries the state has.
    pub fn state_entries(&self) -> u64 {
        self.graph.entries()
    }

    /// Bytes of the whole state; see [`OperatorSize::bytes`]. Cheap.
    pub fn state_bytes(&self) -> u64 {
        self.graph.bytes()
    }

    /// How much each operator keeps that keeps state, in the plan's order.
    pub fn operator_sizes(&self) -> Vec<OperatorSize> {
        self.graph.sizes()
    }

    /// The last record that the last epoch passed over for an error, if it did.
    pub fn last_rejected(&self) -> Option<&Rejected> {
        self.rejected.as_ref()
    }

    /// Whether rows that time made due wait to be written. The next cut must then cover no input.
    pub fn emission_pending(&self) -> bool {
        self.pending
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
        self.step_within(cut, input, usize::MAX, &Newest::new())
    }

    /// Computes one epoch whose records unpack to at most `budget` bytes, or which is one record, and are no newer than
    /// `newest` says.
    pub(crate) fn step_within(
        &mut self,
        cut: &Cut,
        input: &[Input],
        budget: usize,
        newest: &Newest,
    ) -> Result<EpochOutput, EpochError> {
        if self.spoilt {
            return Err(EpochError::NeedsRestore);
        }
        let ranges = self.check_cut(cut)?;
        let ends = self.check_ends(cut, &ranges)?;
        let idle = self.check_idle(cut, &ranges)?;
        let read = self.check_shedding(cut, &ranges)?;
        let given = self.given(&read, input)?;
        let mut prepared = self.prepare(cut, &read, &idle, &given, budget, newest)?;
        let offsets: i64 = read.iter().map(|range| range.to - range.from).sum();
        self.records = prepared.counters.read.min(u64::try_from(offsets).unwrap_or(0));
        self.count_passed_over(&ranges, &read, &mut prepared.counters);
        // From here on the state changes: an error leaves it half-way.
        self.spoilt = true;
        self.idle = idle;
        self.shedding = cut.shedding.clone();
        let output = self.run(cut, &ranges, ends, &given, prepared)?;
        self.spoilt = false;
        Ok(output)
    }

    /// How many records the last epoch took in, each once however many sources read it. Where several read it and offsets
    /// have no records, it may be more.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// About how many bytes the records of the last epoch unpacked to.
    pub(crate) fn unpacked_bytes(&self) -> usize {
        self.unpacked
    }

    /// How many rows time made due in the last epoch.
    pub(crate) fn timed_rows(&self) -> u64 {
        self.timed_rows
    }

    pub(super) fn wrong_cut(&self, reason: String) -> EpochError {
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
        if cut.now < self.now {
            return Err(self.wrong_cut(format!("processing time {} is before {}", cut.now, self.now)));
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

    /// Whether each input is idle in the cut.
    fn check_idle(&self, cut: &Cut, ranges: &[OffsetRange]) -> Result<Vec<bool>, EpochError> {
        let inputs = self.spec.inputs.iter();
        let idle: Vec<bool> = inputs.map(|input| cut.idle.contains(&input.partition)).collect();
        if idle.iter().filter(|idle| **idle).count() != cut.idle.len() {
            return Err(self.wrong_cut("a partition is idle that is no input".to_owned()));
        }
        match idle.iter().zip(ranges).position(|(idle, range)| *idle && !range.is_empty()) {
            Some(index) => {
                let partition = &self.spec.inputs[index].partition;
                Err(self.wrong_cut(format!("{partition}: it is idle, and the cut covers records of it")))
            }
            None => Ok(idle),
        }
    }

    /// The batches of each input whose range is not empty.
    fn given<'i>(
        &self,
        ranges: &[OffsetRange],
        inputs: &'i [Input],
    ) -> Result<Vec<Option<&'i Input>>, EpochError> {
        let given: BTreeMap<&TopicPartition, &Input> =
            inputs.iter().map(|given| (&given.partition, given)).collect();
        let find = |(input, range): (&super::InputPartition, &OffsetRange)| {
            if range.is_empty() {
                return Ok(None);
            }
            match given.get(&input.partition) {
                Some(given) => Ok(Some(*given)),
                None => Err(self.wrong_cut(format!("{}: no batches are given", input.partition))),
            }
        };
        self.spec.inputs.iter().zip(ranges).map(find).collect()
    }

    fn prepare(
        &self,
        cut: &Cut,
        ranges: &[OffsetRange],
        idle: &[bool],
        given: &[Option<&Input>],
        budget: usize,
        newest: &Newest,
    ) -> Result<Prepared, EpochError> {
        let mut clocks = self.clocks.clone();
        self.set_idle(&mut clocks, idle);
        let (plan, early) = (Arc::clone(&self.plan), Arc::clone(&self.early));
        let workshop = Workshop {
            plan,
            early,
            now: cut.now,
            seed: cut.seed,
            levels: cut.shedding.levels.clone(),
            newest: newest.clone(),
        };
        let workshop = Arc::new(workshop);
        let preparation = Preparation { workshop, spec: &self.spec, budget, executor: &*self.executor };
        preparation.run(ranges, given, clocks)
    }

    fn run(
        &mut self,
        cut: &Cut,
        ranges: &[OffsetRange],
        ends: Option<Vec<i64>>,
        given: &[Option<&Input>],
        mut prepared: Prepared,
    ) -> Result<EpochOutput, EpochError> {
        let plan = Arc::clone(&self.plan);
        self.positions = ranges.iter().map(|range| range.to).collect();
        self.ends = ends;
        self.unpacked = prepared.unpacked;
        let mut clocks = std::mem::take(&mut prepared.clocks);
        // What the idle ones would have held back is behind them now.
        self.set_idle(&mut clocks, &self.idle);
        self.clocks = clocks;
        self.end_clocks();
        let sources = self.source_times();
        let mut counters = prepared.counters;
        self.now = self.now.max(cut.now);
        let processing = if self.is_at_end() { END_OF_TIME } else { self.now };
        let times = Times { sources: &sources, processing };
        let executor = Arc::clone(&self.executor);
        let epoch = GraphEpoch {
            plan: &plan,
            now: cut.now,
            number: self.epoch + 1,
            emit_rows: cut.emit_rows,
            room: room(cut, self.records),
            times,
            executor: &*executor,
        };
        let rows = std::mem::take(&mut prepared.rows);
        let graph = self.graph.run(&epoch, rows, &mut counters)?;
        self.timed_rows = graph.timed_rows;
        let mut outputs = Vec::new();
        for sink in &plan.sinks {
            let rows = graph.rows.get(&sink.input).map_or(&[][..], Vec::as_slice);
            let origin = |origin: u64| {
                let (_, input, offset) = prepared.origin(origin)?;
                Some(format!("{}, offset {offset}", self.spec.inputs[input].partition))
            };
            let writer = SinkWriter::new(sink, self.spec.partitions(&sink.topic));
            outputs.extend(writer.write(rows, self.epoch + 1, &mut counters, origin)?);
        }
        self.rejected = prepared.last_rejected().map(|refused| Rejected {
            partition: self.spec.inputs[refused.input].partition.clone(),
            offset: refused.offset,
            error: refused.error.clone(),
            dead_letter: match &plan.sources[refused.source].on_error {
                ErrorPolicy::DeadLetter { topic } => Some(topic.clone()),
                _ => None,
            },
        });
        if let Some(rejected) = &self.rejected {
            self.last_rejected = Some(LastRejected::of(rejected));
        }
        let late = prepared.records(graph.late);
        outputs.extend(side::write(&plan, &self.spec, given, &prepared, &late)?);
        counters.late = late.len() as u64;
        counters.processed -= counters.late;
        let mut changelog = ChangelogWriter::new(cut.now);
        self.graph.drain_changes(|key, value| changelog.push(key, value));
        let changelog = changelog.finish();
        assert!(counters.is_conserved(), "every record is accounted for: {counters:?}");
        self.pending = self.graph.is_pending(&plan, &sources);
        self.epoch += 1;
        self.graph.end_epoch(self.epoch);
        self.totals.add(&counters);
        self.finished = self.is_at_end() && !self.pending;
        let digest = digest(outputs.iter().map(|output| &output.batch).chain(&changelog));
        let progress = self.progress(cut, ranges, counters, digest);
        let progress_batch = progress.batch();
        Ok(EpochOutput { outputs, changelog, progress, progress_batch })
    }

    /// Whether all of a declared input is processed.
    fn is_at_end(&self) -> bool {
        self.ends.as_ref().is_some_and(|ends| *ends == self.positions)
    }

    /// Ends the time of every partition whose declared end is reached.
    pub(super) fn end_clocks(&mut self) {
        let Some(ends) = &self.ends else { return };
        for (source, clock) in self.plan.sources.iter().zip(&mut self.clocks) {
            let inputs = self.spec.inputs.iter().enumerate();
            let partitions = inputs.filter(|(_, input)| input.partition.topic == source.topic);
            for (slot, (input, _)) in partitions.enumerate() {
                if self.positions[input] == ends[input] {
                    clock.end(slot);
                }
            }
        }
    }

    fn progress(&self, cut: &Cut, ranges: &[OffsetRange], counters: Counters, digest: u32) -> Progress {
        let input = |(index, range): (usize, &OffsetRange)| {
            let partition = &self.spec.inputs[index].partition;
            InputProgress {
                topic: partition.topic.clone(),
                partition: partition.partition,
                from: range.from,
                to: range.to,
                passed_over: cut.shedding.passed_over.get(partition).copied(),
                end: self.ends.as_ref().map(|ends| ends[index]),
                pending_end: None,
                idle: self.idle[index],
                watermarks: self.partition_watermarks(index),
                gap: self.gaps[index],
            }
        };
        let shedding = |(source, level): (&usize, &u32)| SourceShedding {
            source: *source,
            table: self.plan.sources[*source].table.clone(),
            level: *level,
        };
        Progress {
            version: PROGRESS_VERSION,
            pipeline: self.spec.name.clone(),
            generation: self.spec.generation,
            epoch: self.epoch,
            plan: self.fingerprint,
            key_groups: self.spec.key_groups,
            now: cut.now,
            seed: cut.seed,
            emit_rows: cut.emit_rows,
            inputs: ranges.iter().enumerate().map(input).collect(),
            watermark: self.watermark(),
            sources: self.clocks.iter().map(EventClock::watermark).collect(),
            operators: self.graph.places().iter().map(OperatorProgress::of).collect(),
            shedding: cut.shedding.levels.iter().map(shedding).collect(),
            counters,
            totals: self.totals,
            digest,
            finished: self.finished,
            state_from: self.state_from,
            last_rejected: self.last_rejected.clone(),
            topic_ids: self.spec.topic_ids.clone(),
        }
    }
}

impl Pipeline {
    /// The watermark of an input for each source that reads it.
    fn partition_watermarks(&self, input: usize) -> Vec<Option<i64>> {
        let Readers { slot, sources } = &self.readers[input];
        sources.iter().map(|source| self.clocks[*source].partition_watermark(*slot)).collect()
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

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        if !self.builder.is_empty() && self.builder.size_with(Some(key), value, &[]) > MOST_BATCH_BYTES {
            self.batches.push(self.builder.build());
        }
        self.builder.push(self.now, Some(key), value, &[]);
        if self.builder.size_estimate() >= BATCH_BYTES {
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
