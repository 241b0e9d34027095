//! A pipeline as it is shown.

use std::collections::{BTreeMap, BTreeSet};

use logmill_stream::{InputProgress, Plan};

use super::control::InputEnds;
use super::error::PipelineError;
use super::held_back::held_back;
use super::manager::{Pipelines, sinks};
use super::shown::Snapshot;
use super::status::{PipelineView, ShedView, SourceView};
use crate::partitions::Partition;

/// Where an input was declared to end.
fn declared_end(ends: Option<&InputEnds>, topic: &str, partition: i32) -> Option<i64> {
    ends?.get(topic)?.get(usize::try_from(partition).ok()?).copied()
}

impl Pipelines {
    /// One pipeline.
    ///
    /// # Errors
    /// [`PipelineError::Unknown`].
    pub fn view(&self, name: &str) -> Result<PipelineView, PipelineError> {
        // All of one moment. What takes long for many partitions is done when others may go on.
        let (record, plan, shown, control) = {
            let known = self.0.known.lock();
            let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            let shown = known.shown.get(self.0.clock.steady());
            (known.record.clone(), known.plan.clone(), shown, known.control.clone())
        };
        let sources = match &plan {
            Ok(plan) => self.source_views(plan, &shown, control.ends().as_ref()),
            Err(_) => Vec::new(),
        };
        let now_ms = self.0.clock.now_ms();
        let held_back = match (&plan, &shown.progress) {
            (Ok(plan), Some(progress)) => {
                let unread: BTreeMap<(&str, i32), u64> =
                    sources.iter().map(|source| ((&*source.topic, source.partition), source.lag())).collect();
                let unread = |input: &InputProgress| {
                    unread.get(&(&*input.topic, input.partition)).copied().unwrap_or(0)
                };
                held_back(name, plan, progress, &shown.moved, unread, now_ms)
            }
            _ => Vec::new(),
        };
        let last_rejected = shown.progress.as_ref().and_then(|progress| progress.last_rejected.clone());
        Ok(PipelineView {
            name: name.to_owned(),
            state: shown.state,
            generation: record.generation,
            shedding: plan
                .as_ref()
                .map_or_else(|_| Vec::new(), |plan| ShedView::of(plan, shown.progress.as_ref())),
            progress: shown.progress,
            open_windows: shown.open_windows,
            script: record.script,
            plan: plan.as_ref().map_or_else(|_| String::new(), |plan| plan.outline(false)),
            sources,
            sinks: match &plan {
                Ok(plan) => sinks(plan),
                Err(_) => self.0.topics.owned_by(name),
            },
            operators: shown.sizes,
            memory: control.memory(),
            shards: control.shards(),
            running_shards: shown.running_shards,
            epochs: shown.epochs,
            shares: shown.shares,
            limiting: shown.limiting,
            last_failure: shown.last_failure,
            last_rejected,
            now_ms,
            held_back,
        })
    }

    /// Where a pipeline is in each partition that it reads.
    fn source_views(&self, plan: &Plan, shown: &Snapshot, ends: Option<&InputEnds>) -> Vec<SourceView> {
        let inputs = shown.progress.iter().flat_map(|progress| &progress.inputs);
        let inputs: BTreeMap<(&str, i32), &InputProgress> =
            inputs.map(|input| ((&*input.topic, input.partition), input)).collect();
        let read: BTreeSet<&str> = inputs.keys().map(|(topic, _)| *topic).collect();
        let topics = plan.source_topics().into_iter().filter_map(|topic| self.0.topics.get(topic));
        let view = |partition: &Partition| {
            let (topic, index) = (partition.topic_name(), partition.index());
            let input = inputs.get(&(topic, index));
            let published = partition.published();
            SourceView {
                topic: topic.to_owned(),
                partition: index,
                position: match input {
                    Some(input) => input.to,
                    // It came when the pipeline read its topic already.
                    None if read.contains(topic) => 0,
                    None => published.log_start_offset,
                },
                end: published.last_stable_offset,
                finish_at: declared_end(ends, topic, index),
                watermark: input.and_then(|input| input.watermarks.iter().min().copied().flatten()),
                gap: input.and_then(|input| input.gap),
            }
        };
        topics.flat_map(|topic| topic.partitions.iter().map(view).collect::<Vec<_>>()).collect()
    }
}
