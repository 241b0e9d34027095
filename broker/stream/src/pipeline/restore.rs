//! From the changelog back to a running pipeline.

use std::sync::Arc;

use logmill_record::Batch;

use super::clock::EventClock;
use super::errors::RestoreError;
use super::machine::Pipeline;
use super::progress::{EmitCursor, Progress, ProgressError};
use super::spec::PipelineSpec;
use crate::format::{FormatError, RecordEncoder, RowDecoder};
use crate::plan::{Body, Plan};
use crate::window::{Change, Windows, decode_change};

/// Changelog batches decompress to at most this.
const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// A pipeline on its way back: its progress is known, its changelog is being read.
///
/// Give it every batch of the changelog in order, then [`Restoring::finish`] it.
#[derive(Debug)]
pub struct Restoring {
    pipeline: Pipeline,
    cursor: Option<(i64, Vec<u8>)>,
    records: u64,
}

/// That every epoch can make the decoder of its source and the encoder of its sink.
fn check_formats(plan: &Plan) -> Result<(), FormatError> {
    RowDecoder::new(&plan.source.format, &plan.source.columns, 0)?;
    RecordEncoder::new(&plan.sink.format, &plan.sink.columns)?;
    Ok(())
}

impl Restoring {
    pub(super) fn new(
        plan: Plan,
        spec: PipelineSpec,
        progress: Option<Progress>,
    ) -> Result<Restoring, RestoreError> {
        let spec = spec.checked(&plan)?;
        check_formats(&plan).map_err(|error| RestoreError::WrongSpec {
            pipeline: spec.name.clone(),
            reason: error.to_string(),
        })?;
        let delay_ms = plan.source.event_time.map_or(0, |time| time.delay_ms);
        let inputs = spec.inputs.len();
        let pipeline = Pipeline {
            positions: spec.inputs.iter().map(|input| input.start).collect(),
            plan: Arc::new(plan),
            spec,
            epoch: 0,
            ends: None,
            clock: EventClock::new(delay_ms, inputs),
            windows: Windows::default(),
            totals: Default::default(),
            finished: false,
            spoilt: false,
        };
        let mut restoring = Restoring { pipeline, cursor: None, records: 0 };
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
        let expected = pipeline.plan.fingerprint();
        if progress.plan != expected {
            return Err(RestoreError::OtherPlan {
                pipeline: progress.pipeline,
                found: progress.plan,
                expected,
            });
        }
        let mut ends = Vec::new();
        for input in &progress.inputs {
            let same = |other: &super::InputPartition| {
                other.partition.topic == input.topic && other.partition.partition == input.partition
            };
            let Some(index) = spec.inputs.iter().position(same) else {
                return Err(wrong(format!(
                    "it has read {}-{}, which is not among the partitions given",
                    input.topic, input.partition
                )));
            };
            pipeline.positions[index] = input.to;
            pipeline.clock.restore_partition(index, input.watermark);
            if let Some(end) = input.end {
                ends.push((index, end));
            }
        }
        pipeline.clock.restore(progress.watermark);
        if !ends.is_empty() {
            if ends.len() != spec.inputs.len() {
                return Err(wrong("partitions were added after the input was declared finished".to_owned()));
            }
            ends.sort_unstable();
            for (index, end) in &ends {
                if pipeline.positions[*index] == *end {
                    pipeline.clock.end(*index);
                }
            }
            pipeline.ends = Some(ends.into_iter().map(|(_, end)| end).collect());
        }
        pipeline.epoch = progress.epoch;
        pipeline.totals = progress.totals;
        pipeline.finished = progress.finished;
        self.cursor = match &progress.cursor {
            None => None,
            Some(cursor) => Some((
                cursor.window_end,
                cursor.decode_key().ok_or_else(|| ProgressError::Damaged {
                    reason: format!("cursor key {:?} is not hexadecimal", cursor.key),
                })?,
            )),
        };
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
            let (Some(key), Some(value)) = (view.key, view.value) else {
                return Err(damaged(index, "no key or no value".to_owned()));
            };
            self.apply_change(key, value).map_err(|reason| damaged(index, reason))?;
        }
        Ok(())
    }

    fn apply_change(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let Pipeline { plan, windows, epoch, .. } = &mut self.pipeline;
        let Body::Window(window) = &plan.body else {
            return Err("the plan keeps no state".to_owned());
        };
        if *epoch == 0 {
            return Err("there is state, but no progress record".to_owned());
        }
        match decode_change(key, value, window)? {
            Change::Group { window_end, key, accumulators } => {
                windows.restore_group(window_end, &key, accumulators);
            }
            Change::DroppedThrough(through) => windows.restore_dropped(through),
        }
        Ok(())
    }

    /// The pipeline, where its last committed epoch left it.
    pub fn finish(mut self) -> Pipeline {
        if let Some((window_end, key)) = &self.cursor {
            self.pipeline.windows.restore_cursor(*window_end, key);
        }
        self.pipeline
    }
}

impl EmitCursor {
    pub(super) fn new(window_end: i64, key: &[u8]) -> EmitCursor {
        EmitCursor { window_end, key: key.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    fn decode_key(&self) -> Option<Vec<u8>> {
        let digits = self.key.as_bytes();
        if digits.len() % 2 == 1 {
            return None;
        }
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.chunks(2).map(byte).collect()
    }
}
