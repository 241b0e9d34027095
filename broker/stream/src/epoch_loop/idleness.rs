//! Which partitions are idle: read to their end, which the log knows, for the time their table states.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::{Pipeline, TopicPartition};

/// Since when partitions are at their end.
#[derive(Debug)]
pub(super) struct Idleness {
    /// For each topic of a table with an `'idle-timeout'` how long that is; of several tables the longest.
    timeouts: BTreeMap<String, i64>,
    /// Of partitions of these that are at their end: since when.
    since: BTreeMap<TopicPartition, i64>,
    /// When they were last looked at.
    looked_at: i64,
}

impl Idleness {
    /// Goes on where a pipeline is: what was idle stays so until it has a record.
    pub(super) fn new(pipeline: &Pipeline) -> Idleness {
        let mut timeouts: BTreeMap<String, i64> = BTreeMap::new();
        for source in &pipeline.plan().sources {
            if let Some(ms) = source.idle_ms {
                let known = timeouts.entry(source.topic.clone()).or_insert(ms);
                *known = ms.max(*known);
            }
        }
        let since = pipeline.idle().map(|partition| (partition.clone(), i64::MIN)).collect();
        Idleness { timeouts, since, looked_at: i64::MIN }
    }

    /// Takes note of whether a partition is at its end.
    pub(super) fn note(&mut self, partition: &TopicPartition, at_end: bool, now: i64) {
        self.looked_at = now;
        if !self.timeouts.contains_key(&partition.topic) {
            return;
        }
        match at_end {
            true => _ = self.since.entry(partition.clone()).or_insert(now),
            false => _ = self.since.remove(partition),
        }
    }

    /// The partitions that are idle.
    pub(super) fn idle(&self, now: i64) -> BTreeSet<TopicPartition> {
        self.due().filter(|(_, at)| *at <= now).map(|(partition, _)| partition.clone()).collect()
    }

    /// When the next one is; those that are already say nothing.
    pub(super) fn wake_at(&self) -> Option<i64> {
        self.due().map(|(_, at)| at).filter(|at| *at > self.looked_at).min()
    }

    fn due(&self) -> impl Iterator<Item = (&TopicPartition, i64)> {
        let timeout = |partition: &TopicPartition| self.timeouts.get(&partition.topic).copied();
        self.since.iter().filter_map(move |(partition, since)| {
            Some((partition, since.saturating_add(timeout(partition)?)))
        })
    }
}
