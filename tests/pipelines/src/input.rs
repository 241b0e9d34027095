//! What a pipeline reads: events in the order they happen, and the batches they become.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use logmill_stream::TopicPartition;

/// The producer's timestamp of the first event; each later one is a millisecond on.
const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// One record to be written to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The topic.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// The record's key.
    pub key: Option<String>,
    /// The record's value, a JSON object; none deletes the key of a compacted topic.
    pub value: Option<String>,
}

/// Events of some topics, in the order they happen, and how many partitions each topic has.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
    /// Every topic and the number of its partitions.
    pub partitions: BTreeMap<&'static str, i32>,
}

impl Events {
    /// Writes each topic's values to `<topic>.jsonl`, an object a line, in order. A record of a table keeps what the
    /// value does not say: `number`, its place, `record_key`, and whether it is `deleted`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut files = BTreeMap::new();
        for topic in self.partitions.keys() {
            files.insert(*topic, BufWriter::new(File::create(folder.join(format!("{topic}.jsonl")))?));
        }
        for (number, event) in self.events.iter().enumerate() {
            let file = files.get_mut(event.topic).expect("every topic has a number of partitions");
            match (&event.key, &event.value) {
                (None, Some(value)) => writeln!(file, "{value}")?,
                (key, value) => {
                    let mut line = match value {
                        Some(value) => serde_json::from_str(value)?,
                        None => serde_json::Map::new(),
                    };
                    line.insert("number".to_owned(), number.into());
                    line.insert("record_key".to_owned(), key.clone().into());
                    line.insert("deleted".to_owned(), value.is_none().into());
                    writeln!(file, "{}", serde_json::Value::Object(line))?;
                }
            }
        }
        files.into_values().try_for_each(|mut file| file.flush())
    }

    /// Writes each topic's records to `<topic>.records`, as `logmill produce --json` takes them.
    pub fn write_records(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut files = BTreeMap::new();
        for topic in self.partitions.keys() {
            files.insert(*topic, BufWriter::new(File::create(folder.join(format!("{topic}.records")))?));
        }
        for event in &self.events {
            let file = files.get_mut(event.topic).expect("every topic has a number of partitions");
            // The value is JSON already.
            let key = serde_json::Value::from(event.key.clone());
            let value = event.value.as_deref().unwrap_or("null");
            writeln!(file, "{{\"partition\":{},\"key\":{key},\"value\":{value}}}", event.partition)?;
        }
        files.into_values().try_for_each(|mut file| file.flush())
    }

    /// The events of these topics as batches of up to so many records, each of one partition; in the order of the
    /// last event of each batch.
    pub fn batches(&self, topics: &[&str], records: usize) -> Input {
        let mut input = Input::default();
        let mut batches = Vec::new();
        let mut builders: BTreeMap<(&str, i32), BatchBuilder> = BTreeMap::new();
        let mut newest: BTreeMap<(&str, i32), usize> = BTreeMap::new();
        for topic in topics {
            for partition in 0..self.partitions.get(topic).copied().unwrap_or(0) {
                builders.insert((topic, partition), BatchBuilder::new(BatchOptions::default()));
                input.ends.insert(TopicPartition::new(*topic, partition), 0);
            }
        }
        for (number, event) in self.events.iter().enumerate() {
            let Some(builder) = builders.get_mut(&(event.topic, event.partition)) else { continue };
            let timestamp = FIRST_TIMESTAMP + number as i64;
            let (key, value) = (event.key.as_deref(), event.value.as_deref());
            builder.push(timestamp, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
            newest.insert((event.topic, event.partition), number);
            if builder.count() >= records {
                batches.push((number, input.stamped(event.topic, event.partition, builder.build())));
            }
        }
        for ((topic, partition), mut builder) in builders {
            if !builder.is_empty() {
                let number = newest[&(topic, partition)];
                batches.push((number, input.stamped(topic, partition, builder.build())));
            }
        }
        // The last batch of each partition, which is not full, has its place too.
        batches.sort_by_key(|(number, _)| *number);
        input.batches = batches.into_iter().map(|(_, batch)| batch).collect();
        input
    }
}

/// Batches as they arrive, offsets given.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// The batches, across all partitions.
    pub batches: Vec<(TopicPartition, Batch)>,
    /// The end of each partition, those without a batch included.
    pub ends: BTreeMap<TopicPartition, i64>,
}

impl Input {
    /// The batch at the end of its partition.
    fn stamped(&mut self, topic: &str, partition: i32, batch: Batch) -> (TopicPartition, Batch) {
        let partition = TopicPartition::new(topic, partition);
        let end = self.ends.get_mut(&partition).expect("every partition has an end");
        let batch = batch.stamped(*end, 0);
        *end = batch.header().next_offset();
        (partition, batch)
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.ends.values().map(|end| end.unsigned_abs()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven events of one topic, then many of another: the first one's last batch, which is not full, is not the last.
    #[test]
    fn batches_are_in_the_order_of_their_last_events() {
        let event = |topic, number: usize| Event {
            topic,
            partition: 0,
            key: None,
            value: Some(format!("{{\"n\":{number}}}")),
        };
        let events = (0..7).map(|number| event("a", number)).chain((7..27).map(|number| event("b", number)));
        let events =
            Events { events: events.collect(), partitions: [("a", 1), ("b", 1)].into_iter().collect() };
        let input = events.batches(&["a", "b"], 5);
        let found: Vec<(&str, i64)> = input
            .batches
            .iter()
            .map(|(partition, batch)| (partition.topic.as_str(), batch.header().next_offset()))
            .collect();
        assert_eq!(found, [("a", 5), ("a", 7), ("b", 5), ("b", 10), ("b", 15), ("b", 20)]);
        assert_eq!(input.records(), 27);
        assert_eq!(events.batches(&["b"], 100).batches.len(), 1);
    }
}
