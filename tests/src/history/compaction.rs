//! What compaction may take away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Partition, Place, Value};
use super::fates::{Fate, Fates, Sent, Writer};
use super::reading::Reading;

/// Which records a compacted topic may have let go.
#[derive(Debug)]
pub(super) struct Compaction<'a> {
    topics: BTreeSet<&'a str>,
    /// The last offset at which a record with a key may be.
    last: BTreeMap<(&'a Partition, u64), i64>,
}

impl<'a> Compaction<'a> {
    pub(super) fn of(topics: &'a [Arc<str>], fates: &'a Fates<'a>, reading: &Reading<'_>) -> Compaction<'a> {
        let topics = topics.iter().map(|topic| topic.as_ref()).collect();
        let mut last = BTreeMap::new();
        for (index, sent) in fates.sent.iter().enumerate() {
            let Some(key) = sent.sending.key else { continue };
            if fates.record(index) == Fate::Never {
                continue;
            }
            let read = reading.places.get(&(&sent.sending.partition, sent.sending.value));
            let read = read.and_then(|places| places.last()).map(|place| place.offset);
            // What has no offset may have been written at any, and compacted before it was read.
            let offset = sent.offset.max(read).unwrap_or(i64::MAX);
            let highest = last.entry((&sent.sending.partition, key)).or_insert(offset);
            *highest = offset.max(*highest);
        }
        Compaction { topics, last }
    }

    /// Whether a record may be gone from a place because a later one has its key.
    pub(super) fn may_take(&self, sent: &Sent<'_>, place: &Place) -> bool {
        let last = sent.sending.key.and_then(|key| self.last.get(&(&sent.sending.partition, key)));
        self.is_on(sent) && last.is_some_and(|last| *last > place.offset)
    }

    /// Whether records of its key may go at all.
    pub(super) fn is_on(&self, sent: &Sent<'_>) -> bool {
        sent.sending.key.is_some() && self.topics.contains(sent.sending.partition.topic.as_ref())
    }

    /// The value of a place that every reader has to be given, because one was. Of what should not be there, nobody need
    /// have seen it.
    pub(super) fn stays(&self, fates: &Fates<'_>, reading: &Reading<'_>, place: &Place) -> Option<Value> {
        let values = reading.values.get(place)?;
        let value = *values.first().filter(|_| values.len() == 1)?;
        let places = &reading.places[&(&place.partition, value)];
        if places.len() > fates.allowed(&place.partition, value) {
            return None;
        }
        let writer = fates.writer(place, value);
        let writers = match &writer {
            Writer::One(index) => std::slice::from_ref(index),
            Writer::Several => fates.senders(&place.partition, value),
            Writer::Refused(_) | Writer::Nobody => return None,
        };
        let goes = writers.iter().any(|index| self.may_take(&fates.sent[*index], place));
        (!goes).then_some(value)
    }
}
