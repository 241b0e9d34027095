//! From the changelog back to a running pipeline.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use logmill_record::Batch;

use super::clock::EventClock;
use super::errors::RestoreError;
use super::graph::Graph;
use super::machine::Pipeline;
use super::prepare::{DECOMPRESSED_BATCH_BYTES, Early};
use super::progress::{OperatorProgress, Progress};
use super::readers::Readers;
use super::size::OperatorSize;
use super::spec::PipelineSpec;
use super::spill::Gap;
use crate::executor::Serial;
use crate::format::{FormatError, RecordEncoder};
use crate::plan::Plan;
use crate::rows::NO_TIME;
use crate::snapshot::{SnapshotError, SnapshotHeader, SnapshotReader, StateChanges};
use crate::state::decode_changelog_key;

/// State that is read until somebody is asked whether to go on, in bytes.
pub const LOOK_BYTES: usize = 1 << 20;

/// Whether to go on with what is restored: asked while much of it is still to be read.
pub type GoOn<'g> = dyn FnMut(&Restoring) -> bool + 'g;

/// A pipeline on its way back: its progress is known, its changelog is being read.
///
/// Give it a snapshot, if there is one, and every batch of the changelog behind it in order, then [`Restoring::finish`]
/// it.
#[derive(Debug)]
pub struct Restoring {
    pub(super) pipeline: Pipeline,
    pub(super) records: u64,
    /// What was read of the changelog, where there is a cold store.
    pub(super) gap: Option<Gap>,
}

/// That every epoch can make the encoders of its sinks.
fn check_sinks(plan: &Plan) -> Result<(), FormatError> {
    for sink in &plan.sinks {
        RecordEncoder::new(&sink.format, &sink.columns)?;
    }
    Ok(())
}

impl Restoring {
    pub(super) fn new(
        plan: Plan,
        spec: PipelineSpec,
        progress: Option<Progress>,
    ) -> Result<Restoring, RestoreError> {
        let spec = spec.checked(&plan)?;
        let wrong_format = |error: FormatError| RestoreError::WrongSpec {
            pipeline: spec.name.clone(),
            reason: error.to_string(),
        };
        check_sinks(&plan).map_err(wrong_format)?;
        let early = Early::new(&plan).map_err(wrong_format)?;
        let clock = |source: &crate::plan::Source| {
            let partitions = spec.inputs.iter().filter(|input| input.partition.topic == source.topic).count();
            EventClock::new(source.event_time.map_or(0, |time| time.delay_ms), partitions)
        };
        let clocks = plan.sources.iter().map(clock).collect();
        let pipeline = Pipeline {
            idle: vec![false; spec.inputs.len()],
            gaps: vec![None; spec.inputs.len()],
            positions: spec.inputs.iter().map(|input| input.start).collect(),
            clocks,
            follows: false,
            early: Arc::new(early),
            graph: Graph::new(&plan, spec.shards, spec.key_groups),
            fingerprint: plan.fingerprint(),
            readers: spec.readers(&plan),
            plan: Arc::new(plan),
            spec,
            epoch: 0,
            now: NO_TIME,
            ends: None,
            shedding: Default::default(),
            pending: false,
            totals: Default::default(),
            finished: false,
            state_from: None,
            spoilt: false,
            records: 0,
            unpacked: 0,
            timed_rows: 0,
            rejected: None,
            last_rejected: None,
            executor: Arc::new(Serial),
        };
        let mut restoring = Restoring { pipeline, records: 0, gap: None };
        if let Some(progress) = progress {
            restoring.apply_progress(progress)?;
        }
        Ok(restoring)
    }

    fn apply_progress(&mut self, progress: Progress) -> Result<(), RestoreError> {
        let pipeline = &mut self.pipeline;
        let spec = &pipeline.spec;
        let wrong = |reason: String| RestoreError::WrongSpec { pipeline: spec.name.clone(), reason };
        if progress.pipeline != spec.name {
            return Err(wrong(format!("the progress record is of pipeline {}", progress.pipeline)));
        }
        if progress.generation > spec.generation {
            return Err(wrong(format!(
                "generation {} has run already, this is {}; a newer copy is running",
                progress.generation, spec.generation
            )));
        }
        let expected = pipeline.fingerprint;
        if progress.plan != expected {
            return Err(RestoreError::OtherPlan {
                pipeline: progress.pipeline,
                found: progress.plan,
                expected,
            });
        }
        if progress.key_groups != spec.key_groups {
            let (found, expected) = (progress.key_groups.count(), spec.key_groups.count());
            return Err(RestoreError::OtherKeyGroups { found, expected });
        }
        for (topic, read) in &progress.topic_ids {
            if let Some(found) = spec.topic_ids.get(topic).filter(|found| *found != read) {
                let (topic, read, found) = (topic.clone(), read.clone(), found.clone());
                return Err(RestoreError::OtherTopic { topic, read, found });
            }
        }
        let mut ends = Vec::new();
        let mut known = vec![false; spec.inputs.len()];
        for input in &progress.inputs {
            let Some(index) = spec.index_of(&input.topic, input.partition) else {
                return Err(wrong(format!(
                    "it has read {}-{}, which is not among the partitions given",
                    input.topic, input.partition
                )));
            };
            known[index] = true;
            pipeline.positions[index] = input.to;
            pipeline.idle[index] = input.idle;
            pipeline.gaps[index] = input.gap;
            let Readers { slot, sources } = &pipeline.readers[index];
            for (source, watermark) in sources.iter().zip(&input.watermarks) {
                pipeline.clocks[*source].restore_partition(*slot, *watermark);
            }
            if let Some(end) = input.end {
                ends.push((index, end));
            }
        }
        // A partition that its topic has got since begins with its first record, whatever of it is deleted by now.
        let read: BTreeSet<&str> = progress.inputs.iter().map(|input| &*input.topic).collect();
        for (index, input) in spec.inputs.iter().enumerate() {
            if !known[index] && read.contains(&*input.partition.topic) {
                pipeline.positions[index] = 0;
            }
        }
        let sources = pipeline.clocks.iter_mut().zip(&progress.sources);
        sources.for_each(|(clock, watermark)| clock.restore(*watermark));
        if !ends.is_empty() {
            if ends.len() != spec.inputs.len() {
                return Err(wrong("partitions were added after the input was declared finished".to_owned()));
            }
            ends.sort_unstable();
            pipeline.ends = Some(ends.into_iter().map(|(_, end)| end).collect());
            pipeline.end_clocks();
        }
        pipeline.epoch = progress.epoch;
        pipeline.shedding = progress.cut().shedding;
        pipeline.now = progress.now;
        pipeline.totals = progress.totals;
        pipeline.finished = progress.finished;
        pipeline.state_from = progress.state_from;
        pipeline.last_rejected = progress.last_rejected;
        let places: Result<Vec<_>, _> = progress.operators.iter().map(OperatorProgress::place).collect();
        pipeline.graph.restore_places(places?);
        pipeline.restore_idle();
        Ok(())
    }

    /// Takes the state of a snapshot, before any of the changelog: go on with the batches of the changelog from
    /// [`SnapshotHeader::changelog_end`](crate::SnapshotHeader::changelog_end) on. Every [`LOOK_BYTES`] `go_on` is asked
    /// whether to. After an error this is of no use any more; begin again.
    pub fn apply_snapshot<R: Read>(
        mut self,
        snapshot: &mut SnapshotReader<R>,
        go_on: &mut GoOn<'_>,
    ) -> Result<Restoring, SnapshotError> {
        self.check_snapshot(snapshot.header())?;
        let mut unseen = 0;
        while let Some((key, value)) = snapshot.next_entry()? {
            self.apply_change(key, Some(value)).map_err(|reason| SnapshotError::Misfit { reason })?;
            unseen += key.len() + value.len();
            if unseen >= LOOK_BYTES {
                unseen = 0;
                if !go_on(&self) {
                    return Err(SnapshotError::GivenUp);
                }
            }
        }
        Ok(self)
    }

    /// Takes the state that all changes from the beginning on have come to.
    pub(crate) fn apply_changes(mut self, changes: &StateChanges) -> Result<Restoring, RestoreError> {
        for (index, (key, value)) in (0..).zip(changes.state()) {
            let damaged = |reason: String| RestoreError::DamagedChangelog { index, reason };
            self.apply_change(key, Some(value)).map_err(damaged)?;
        }
        Ok(self)
    }

    /// That a snapshot is one of this pipeline, and not of a later epoch.
    pub(super) fn check_snapshot(&self, header: &SnapshotHeader) -> Result<(), SnapshotError> {
        let Pipeline { fingerprint, spec, epoch, .. } = &self.pipeline;
        let of = &header.progress;
        let misfit = |reason: String| Err(SnapshotError::Misfit { reason });
        if of.pipeline != spec.name {
            return misfit(format!("it is of pipeline {}", of.pipeline));
        }
        if of.plan != *fingerprint {
            return misfit(format!("it is of plan {:08x}, this is {fingerprint:08x}", of.plan));
        }
        if of.key_groups != spec.key_groups {
            let (found, expected) = (of.key_groups.count(), spec.key_groups.count());
            return misfit(format!("its keys are in {found} groups, those here in {expected}"));
        }
        if of.epoch > *epoch {
            return misfit(format!("it is of epoch {}, the last committed one is {epoch}", of.epoch));
        }
        Ok(())
    }

    /// Applies one batch of the changelog.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), RestoreError> {
        let damaged = |index: u64, reason: String| RestoreError::DamagedChangelog { index, reason };
        if batch.header().is_control() {
            return Ok(());
        }
        let open =
            batch.open(DECOMPRESSED_BATCH_BYTES).map_err(|error| damaged(self.records, error.to_string()))?;
        for view in open.records() {
            let index = self.records;
            let view = view.map_err(|error| damaged(index, error.to_string()))?;
            self.records += 1;
            let Some(key) = view.key else {
                return Err(damaged(index, "it has no key".to_owned()));
            };
            match self.gap {
                Some(_) => self.put_cold(key, view.value)?,
                None => self.apply_change(key, view.value).map_err(|reason| damaged(index, reason))?,
            }
        }
        Ok(())
    }

    pub(super) fn apply_change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Pipeline { plan, graph, epoch, .. } = &mut self.pipeline;
        if *epoch == 0 {
            return Err("there is state, but no progress record".to_owned());
        }
        graph.restore(plan, decode_changelog_key(key)?, value)
    }

    /// Bytes of the state so far; see [`OperatorSize::bytes`].
    pub fn state_bytes(&self) -> u64 {
        self.pipeline.state_bytes()
    }

    /// Bytes of it that are in memory; see [`OperatorSize::memory_bytes`].
    pub fn memory_bytes(&self) -> u64 {
        self.pipeline.memory_bytes()
    }

    /// Whether there is something in its state that need not be in memory.
    pub fn can_spill(&self) -> bool {
        self.pipeline.can_spill()
    }

    /// Whether its state is in a cold store.
    pub fn is_spilt(&self) -> bool {
        self.pipeline.is_spilt()
    }

    /// How much each operator has so far.
    pub fn operator_sizes(&self) -> Vec<OperatorSize> {
        self.pipeline.operator_sizes()
    }

    /// The pipeline, where its last committed epoch left it.
    pub fn finish(mut self) -> Pipeline {
        let sources = self.pipeline.source_times();
        self.pipeline.pending = self.pipeline.graph.is_pending(&self.pipeline.plan, &sources);
        self.pipeline
    }
}
