//! Records that were deleted before a pipeline read them, and what lets it go on without them.
//!
//! ```text
//! overtaken: it has failed ─► told to accept the gap ─► one frame: the record of an epoch that stands behind the gap ─► it is run
//! ```
//!
//! What is gone is in no epoch: the progress record names it, and all that follow do.

use std::collections::BTreeSet;

use logmill_stream::{EpochOutput, InputProgress, Progress, TopicPartition};

use super::error::PipelineError;
use super::events::EventKind;
use super::manager::Pipelines;
use super::shown::Durable;

/// Records that a pipeline goes on without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) partition: TopicPartition,
    /// The first offset of them.
    pub(super) from: i64,
    /// The offset behind them: where the log begins.
    pub(super) to: i64,
}

impl Skipped {
    /// What is skipped of a partition behind a record; `None`: nothing.
    fn between(before: &Progress, after: &InputProgress) -> Option<Skipped> {
        let is_it =
            |input: &&InputProgress| (&input.topic, input.partition) == (&after.topic, after.partition);
        let from = before.inputs.iter().find(is_it).map_or(0, |input| input.to);
        let partition = TopicPartition::new(&*after.topic, after.partition);
        (from != after.to).then_some(Skipped { partition, from, to: after.to })
    }
}

impl Pipelines {
    /// Lets a pipeline that does not run, and that nobody else changes meanwhile, stand at the beginning of every log whose
    /// records it has not read up to there. Durable when this returns. One that was not overtaken stays where it is.
    pub(super) async fn accept_gaps(&self, name: &str) -> Result<(), PipelineError> {
        let Some(cut) = self.stood(name).await? else { return Ok(()) };
        let (generation, ends) = {
            let known = self.0.known.lock();
            let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            (known.record.generation.max(cut.progress.generation), known.record.input_ends.clone())
        };
        let before = cut.progress;
        let log_start = |input: &InputProgress| {
            let topic = self.0.topics.get(&input.topic)?;
            // What another topic of the name has lost is no gap of this one.
            let is_another = |read: &String| *read != topic.id.to_string();
            if before.topic_ids.get(&input.topic).is_some_and(is_another) {
                return None;
            }
            Some(topic.partition(input.partition)?.published().log_start_offset)
        };
        let mut added = Vec::new();
        for topic in before.inputs.iter().map(|input| &input.topic).collect::<BTreeSet<_>>() {
            // Those that came behind a declared end are not read.
            let partitions = match &ends {
                Some(ends) => ends.get(topic).map_or(0, Vec::len),
                None => self.0.topics.get(topic).map_or(0, |topic| topic.partitions.len()),
            };
            let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
            added.extend((0..partitions).map(|partition| TopicPartition::new(&**topic, partition)));
        }
        let Some(over) = before.over_gaps(generation, &added, log_start) else { return Ok(()) };
        let skipped: Vec<Skipped> =
            over.inputs.iter().filter_map(|after| Skipped::between(&before, after)).collect();
        self.0.coordinators.loaded().await;
        let mut logs = self.broker_logs(name)?;
        let epoch = EpochOutput::standing(over);
        let state = |reason: String| PipelineError::State { name: name.to_owned(), reason };
        let durable = logs.stand(&epoch).map_err(|reason| state(format!("does not go on: {reason}")))?;
        durable.await.map_err(|_| PipelineError::Stopping)?;
        self.forget_output_ends(name);
        self.update(name, |known| {
            // Whoever told it to sees at once what is missing.
            let durable = Durable { progress: epoch.progress, open_windows: 0, sizes: None };
            known.shown.set_durable(durable, None);
            for Skipped { partition, from, to } in &skipped {
                let text = format!(
                    "it goes on without the records of {partition} from offset {from} up to {to} ({} offsets): they were deleted \
                     before it read them, and the gap was accepted",
                    to - from
                );
                known.events.say(self.0.clock.now_ms(), EventKind::Gap, text);
            }
        });
        Ok(())
    }
}
