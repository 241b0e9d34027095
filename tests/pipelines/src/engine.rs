//! What the engine is told about a pipeline.

use std::collections::BTreeMap;

use logmill_stream::{InputPartition, KeyGroups, PipelineSpec, Plan};

use crate::input::Input;

/// Partitions of each topic that a pipeline writes.
pub const OUTPUT_PARTITIONS: i32 = 3;

/// The topics a plan writes: those of its rows, and those of records that do not become rows.
pub fn outputs(plan: &Plan) -> Vec<&str> {
    plan.sink_topics().into_iter().chain(plan.side_topics()).collect()
}

/// The pipeline as one of its generations is told.
pub fn spec(plan: &Plan, input: &Input, generation: u32, shards: usize) -> PipelineSpec {
    let topics = plan.source_topics();
    let inputs = input.ends.keys().filter(|partition| topics.contains(&partition.topic.as_str()));
    PipelineSpec {
        name: "pipeline".to_owned(),
        generation,
        inputs: inputs.map(|partition| InputPartition { partition: partition.clone(), start: 0 }).collect(),
        topic_ids: BTreeMap::new(),
        outputs: outputs(plan).into_iter().map(|topic| (topic.to_owned(), OUTPUT_PARTITIONS)).collect(),
        key_groups: KeyGroups::DEFAULT,
        shards,
    }
}
