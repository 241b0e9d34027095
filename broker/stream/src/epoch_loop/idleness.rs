//! Which partitions are idle: read to their end, which the log knows, for the time their table states. Where the log is not at
//! hand, that time is known to have passed without a record, or it has not passed: a leader that is slow or gone makes nobody
//! idle.

use std::collections::{BTreeMap, BTreeSet};

use crate::logs::Heard;
use crate::pipeline::{Pipeline, TopicPartition};

/// A partition that is due, and of which nothing was heard since, is looked at again after this long, in milliseconds.
const LOOK_AGAIN_MS: i64 = 100;

/// A partition that is at its end.
#[derive(Debug, Clone, Copy)]
struct AtEnd {
    since: i64,
    /// When this was last known.
    until: i64,
}

/// Since when partitions are at their end.
#[derive(Debug)]
pub(super) struct Idleness {
    /// For each topic of a table with an `'idle-timeout'` how long that is; of several tables the longest.
    timeouts: BTreeMap<String, i64>,
    /// Partitions of these that are at their end.
    at_end: BTreeMap<TopicPartition, AtEnd>,
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
        let before = AtEnd { since: i64::MIN, until: i64::MIN };
        let at_end = pipeline.idle().map(|partition| (partition.clone(), before)).collect();
        Idleness { timeouts, at_end, looked_at: i64::MIN }
    }

    /// Takes note of whether a partition is at its end, and of what is heard of that where the log is not at hand.
    pub(super) fn note(&mut self, partition: &TopicPartition, at_end: bool, heard: Option<Heard>, now: i64) {
        self.looked_at = now;
        if !self.timeouts.contains_key(&partition.topic) {
            return;
        }
        if !at_end {
            self.at_end.remove(partition);
            return;
        }
        let here = self.at_end.entry(partition.clone()).or_insert(AtEnd { since: now, until: now });
        match heard {
            Some(heard) => *here = AtEnd { since: here.since.max(heard.since), until: heard.until },
            None => here.until = now,
        }
    }

    /// The partitions that are idle.
    pub(super) fn idle(&self) -> BTreeSet<TopicPartition> {
        self.due()
            .filter(|(_, at, here)| *at <= here.until)
            .map(|(partition, ..)| partition.clone())
            .collect()
    }

    /// When the next one is, or may be known to be; those that are already say nothing.
    pub(super) fn wake_at(&self) -> Option<i64> {
        let waiting = self.due().filter(|(_, at, here)| *at > here.until);
        let look = |(_, at, _): (&TopicPartition, i64, AtEnd)| match at > self.looked_at {
            true => at,
            false => self.looked_at.saturating_add(LOOK_AGAIN_MS),
        };
        waiting.map(look).min()
    }

    /// Those at their end: when each is idle, if nothing comes.
    fn due(&self) -> impl Iterator<Item = (&TopicPartition, i64, AtEnd)> {
        let timeout = |partition: &TopicPartition| self.timeouts.get(&partition.topic).copied();
        self.at_end.iter().filter_map(move |(partition, here)| {
            Some((partition, here.since.saturating_add(timeout(partition)?), *here))
        })
    }
}
