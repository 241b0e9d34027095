//! Which pipeline runs, and over which partitions.

use super::cut::TopicPartition;
use super::errors::RestoreError;
use crate::plan::{ErrorPolicy, Plan};

/// What a pipeline is told about itself and its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineSpec {
    /// The pipeline's name.
    pub name: String,
    /// Its generation: one more each time it is started anywhere, so that an older copy is fenced.
    pub generation: u32,
    /// Every partition of the source topic.
    pub inputs: Vec<InputPartition>,
    /// How many partitions the sink topic has.
    pub sink_partitions: i32,
    /// How many partitions the dead-letter topic has; anything when there is none.
    pub dead_letter_partitions: i32,
}

/// A partition of the source topic.
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
        let topic = &plan.source.topic;
        if self.inputs.is_empty() {
            return wrong(format!("no partition of `{topic}` is given"));
        }
        if let Some(other) = self.inputs.iter().find(|input| input.partition.topic != *topic) {
            return wrong(format!("it reads `{topic}`, {} is none of its partitions", other.partition));
        }
        if let Some(pair) = self.inputs.windows(2).find(|pair| pair[0].partition == pair[1].partition) {
            return wrong(format!("{} is given twice", pair[0].partition));
        }
        if self.sink_partitions < 1 {
            return wrong(format!("the sink `{}` has {} partitions", plan.sink.topic, self.sink_partitions));
        }
        if let ErrorPolicy::DeadLetter { topic } = &plan.source.on_error
            && self.dead_letter_partitions < 1
        {
            return wrong(format!(
                "dead-letter topic `{topic}` has {} partitions",
                self.dead_letter_partitions
            ));
        }
        Ok(self)
    }
}
