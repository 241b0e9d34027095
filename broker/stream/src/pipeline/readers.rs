//! Which sources read which inputs: found once, for there may be thousands of inputs in every epoch.

use std::sync::Arc;

use super::spec::PipelineSpec;
use crate::plan::Plan;

/// Who reads an input.
#[derive(Debug)]
pub(super) struct Readers {
    /// Its place among the inputs of its topic, and so in the clock of each source that reads it.
    pub(super) slot: usize,
    /// The sources that read it, by their index in the plan, ascending.
    pub(super) sources: Arc<[usize]>,
}

impl PipelineSpec {
    /// Who reads each input, in their order. The inputs are sorted.
    pub(super) fn readers(&self, plan: &Plan) -> Vec<Readers> {
        let topics = self.inputs.chunk_by(|one, other| one.partition.topic == other.partition.topic);
        let of_topic = |inputs: &[super::InputPartition]| {
            let sources = plan.sources.iter().enumerate();
            let own = sources.filter(|(_, source)| source.topic == inputs[0].partition.topic);
            let sources: Arc<[usize]> = own.map(|(index, _)| index).collect();
            (0..inputs.len()).map(move |slot| Readers { slot, sources: Arc::clone(&sources) })
        };
        topics.flat_map(of_topic).collect()
    }

    /// Where a partition is among the inputs, which are sorted.
    pub(super) fn index_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let at = |input: &super::InputPartition| {
            let of = &input.partition;
            of.topic.as_str().cmp(topic).then(of.partition.cmp(&partition))
        };
        self.inputs.binary_search_by(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{InputPartition, TopicPartition};
    use crate::state::KeyGroups;

    #[test]
    fn inputs_are_known_by_their_place_in_their_topic_and_by_all_sources_that_read_it() {
        let script = "CREATE TABLE one (k STRING) WITH ('topic' = 'b', 'format' = 'json');
            CREATE TABLE two (k STRING) WITH ('topic' = 'a', 'format' = 'json');
            CREATE TABLE three (k STRING) WITH ('topic' = 'b', 'format' = 'json', 'on-error' = 'skip');
            CREATE TABLE o (k STRING) WITH ('topic' = 'out', 'format' = 'json');
            INSERT INTO o SELECT k FROM one UNION ALL SELECT k FROM two UNION ALL SELECT k FROM three";
        let plan = crate::compile(script).unwrap();
        let order: Vec<&str> = plan.sources.iter().map(|source| &*source.table).collect();
        let inputs = [("b", 2), ("a", 1), ("b", 0), ("a", 10), ("b", 1)];
        let input = |(topic, partition): (&str, i32)| InputPartition {
            partition: TopicPartition::new(topic, partition),
            start: 0,
        };
        let spec = PipelineSpec {
            name: "p".to_owned(),
            generation: 1,
            inputs: inputs.map(input).into(),
            topic_ids: Default::default(),
            outputs: [("out".to_owned(), 1)].into(),
            key_groups: KeyGroups::DEFAULT,
            shards: 1,
        };
        let spec = spec.checked(&plan).unwrap();
        let shown: Vec<(String, usize, Vec<&str>)> = spec
            .inputs
            .iter()
            .zip(spec.readers(&plan))
            .map(|(input, readers)| {
                let tables = readers.sources.iter().map(|source| order[*source]).collect();
                (input.partition.to_string(), readers.slot, tables)
            })
            .collect();
        let b = vec!["one", "three"];
        assert_eq!(
            shown,
            [
                ("a-1".to_owned(), 0, vec!["two"]),
                ("a-10".to_owned(), 1, vec!["two"]),
                ("b-0".to_owned(), 0, b.clone()),
                ("b-1".to_owned(), 1, b.clone()),
                ("b-2".to_owned(), 2, b),
            ]
        );
        for (topic, partition) in inputs {
            let found = spec.index_of(topic, partition).unwrap();
            assert_eq!(spec.inputs[found].partition, TopicPartition::new(topic, partition));
        }
        assert_eq!((spec.index_of("a", 0), spec.index_of("c", 0)), (None, None));
    }
}
