//! Which partitions wait for others, because they are far ahead in event time: so that what joins and windows hold while a
//! pipeline reads history is bounded by a time, and not by how the history lies in the partitions.

use std::collections::BTreeMap;

use super::shedding::Unread;
use crate::pipeline::{AheadStop, Newest, Pipeline, TopicPartition};

/// Of a partition of which no event time is known yet an epoch takes one record, then two, and at most so many.
const MOST_UNKNOWN: u64 = 256;

/// Keeps track of the event time that comes next.
#[derive(Debug)]
pub(super) struct Alignment {
    /// The sources that wait, with their topics and by how much they may be ahead, in milliseconds.
    sources: Vec<(usize, String, i64)>,
    /// Of partitions that wait: the offset of the next record, and its event time.
    next: BTreeMap<TopicPartition, AheadStop>,
    /// Of partitions of which no event time is known: how many offsets the next epoch may take.
    first: BTreeMap<TopicPartition, u64>,
}

/// What the next epoch may read.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    /// The newest event time of each source.
    pub(super) newest: Newest,
    /// Partitions that wait for others.
    pub(super) waiting: Vec<TopicPartition>,
    /// Of partitions of which no event time is known: how many offsets it may take.
    pub(super) unknown: BTreeMap<TopicPartition, u64>,
}

impl Alignment {
    pub(super) fn new(pipeline: &Pipeline) -> Alignment {
        let sources = pipeline.plan().sources.iter().enumerate();
        let waits =
            sources.filter_map(|(index, source)| Some((index, source.topic.clone(), source.max_ahead_ms?)));
        Alignment { sources: waits.collect(), next: BTreeMap::new(), first: BTreeMap::new() }
    }

    /// Whether any source waits.
    pub(super) fn is_asked_for(&self) -> bool {
        !self.sources.is_empty()
    }

    /// The next record of a partition is too far ahead for now.
    pub(super) fn note(&mut self, partition: TopicPartition, stop: AheadStop) {
        self.next.insert(partition, stop);
    }

    /// How far the next epoch may go. `unread` are partitions that are not at their end: those that are hold nobody up.
    pub(super) fn decide(
        &mut self,
        pipeline: &Pipeline,
        unread: &BTreeMap<TopicPartition, Unread>,
    ) -> Aligned {
        let mut aligned = Aligned::default();
        if !self.is_asked_for() {
            return aligned;
        }
        self.next.retain(|partition, stop| {
            unread.get(partition).is_some_and(|unread| unread.position == stop.offset)
        });
        let is_waiting =
            |partition: &TopicPartition| self.sources.iter().any(|(_, topic, _)| *topic == partition.topic);
        let mut times: Vec<(&TopicPartition, i64)> = Vec::new();
        for partition in unread.keys().filter(|partition| is_waiting(partition)) {
            let next = self.next.get(partition).map(|stop| stop.time);
            match next.or_else(|| pipeline.newest_time(partition)) {
                Some(time) => times.push((partition, time)),
                None => {
                    let records = self.first.entry(partition.clone()).or_insert(1);
                    aligned.unknown.insert(partition.clone(), *records);
                    *records = (*records * 2).min(MOST_UNKNOWN);
                }
            }
        }
        let Some(slowest) = times.iter().map(|(_, time)| *time).min() else { return aligned };
        for (source, topic, ahead) in &self.sources {
            let newest = slowest.saturating_add(*ahead);
            aligned.newest.insert(*source, newest);
            let waits = times.iter().filter(|(partition, _)| partition.topic == *topic);
            // What came last may be far ahead of what comes next: only the next one itself says that it must wait.
            let waits =
                waits.filter(|(partition, time)| self.next.contains_key(*partition) && *time > newest);
            aligned.waiting.extend(waits.map(|(partition, _)| (*partition).clone()));
        }
        aligned
    }
}
