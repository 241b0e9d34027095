//! The machine's log, and what compaction leaves of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::KeyValue;

/// One entry, as bytes.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Record(KeyValue, Option<(i64, i16)>),
    Marker { producer: i64, commit: bool },
}

/// The places of the entries that compaction keeps, markers aside: below the first open transaction the last of each key
/// that was not aborted, behind it everything.
pub(super) fn compacted<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> BTreeSet<usize> {
    let mut open = BTreeMap::<i64, Vec<(usize, &KeyValue)>>::new();
    let mut decided = Vec::new();
    for (at, entry) in entries.clone().enumerate() {
        match entry {
            Entry::Record(record, None) => decided.push((at, record)),
            Entry::Record(record, Some((producer, _))) => {
                open.entry(*producer).or_default().push((at, record));
            }
            Entry::Marker { producer, commit } => {
                let ended = open.remove(producer).unwrap_or_default();
                decided.extend(ended.into_iter().filter(|_| *commit));
            }
        }
    }
    let stable = open.values().flatten().map(|(at, _)| *at).min().unwrap_or(usize::MAX);
    let mut last = BTreeMap::<&[u8], usize>::new();
    for &(at, record) in decided.iter().filter(|(at, _)| *at < stable) {
        let newest = last.entry(&record.key).or_insert(at);
        *newest = at.max(*newest);
    }
    let behind = (0..entries.count()).filter(|at| *at >= stable);
    last.into_values().chain(behind).collect()
}
