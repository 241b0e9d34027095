//! Which pipeline runs, and over which partitions.

use std::collections::BTreeMap;

use super::cut::TopicPartition;
use super::errors::RestoreError;
use crate::plan::Plan;
use crate::state::KeyGroups;

/// What a pipeline is told about itself and its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSpec {
    /// The pipeline's name.
    pub name: String,
    /// Its generation: one more each time it is started anywhere, so that an older copy is fenced.
    pub generation: u32,
    /// Every partition of every source topic.
    pub inputs: Vec<InputPartition>,
    /// What tells each source topic from another one of its name; none for those of which it is not known. A pipeline
    /// never goes on in a topic that took the place of the one it has read. It is compared in the same way for every other
    /// topic that is given here.
    pub topic_ids: BTreeMap<String, String>,
    /// How many partitions each topic has that it writes: sinks, dead letters, late records.
    pub outputs: BTreeMap<String, i32>,
    /// Into how many groups keys are cut: [`KeyGroups::DEFAULT`] for every pipeline of a broker. State is only ever restored
    /// with as many as it was written with.
    pub key_groups: KeyGroups,
    /// Into how many parts the work on keys is split, one for each group at most. It changes nothing of what is written.
    pub shards: usize,
}

/// A partition of a source topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Where a pipeline that has not read the partition yet begins.
    pub start: i64,
}

impl PipelineSpec {
    /// Sorts the inputs, and checks them against the plan.
    pub(super) fn checked(mut self, plan: &Plan) -> Result<PipelineSpec, RestoreError> {
        self.inputs.sort_by(|left, right| left.partition.cmp(&right.partition));
        let wrong = |reason: String| Err(RestoreError::WrongSpec { pipeline: self.name.clone(), reason });
        let topics = plan.source_topics();
        for topic in &topics {
            if !self.inputs.iter().any(|input| input.partition.topic == **topic) {
                return wrong(format!("no partition of `{topic}` is given"));
            }
        }
        if let Some(other) =
            self.inputs.iter().find(|input| !topics.contains(&input.partition.topic.as_str()))
        {
            let names = topics.join("`, `");
            return wrong(format!("it reads `{names}`, {} is none of its partitions", other.partition));
        }
        if let Some(pair) = self.inputs.windows(2).find(|pair| pair[0].partition == pair[1].partition) {
            return wrong(format!("{} is given twice", pair[0].partition));
        }
        for topic in plan.sink_topics().into_iter().chain(plan.side_topics()) {
            let partitions = self.outputs.get(topic).copied().unwrap_or(0);
            if partitions < 1 {
                return wrong(format!("topic `{topic}`, which it writes, has {partitions} partitions"));
            }
        }
        let most = usize::from(self.key_groups.count());
        if !(1..=most).contains(&self.shards) {
            return wrong(format!("{} shards; there are 1 to {most}", self.shards));
        }
        Ok(self)
    }

    /// How many partitions a topic has that the pipeline writes.
    pub(super) fn partitions(&self, topic: &str) -> i32 {
        self.outputs.get(topic).copied().unwrap_or(1)
    }
}
