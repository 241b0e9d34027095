//! A broker that does everything right, in memory: logs, markers, the last stable offset, compaction, a group's offsets.

use std::collections::BTreeMap;

use crate::history::{Partition, Place, Polled, Transaction, Value};
use crate::process::Chance;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Committed,
    Open(Transaction),
    Aborted,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    key: Option<u64>,
    value: Value,
    state: State,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    end: i64,
}

impl Log {
    fn last_stable(&self) -> i64 {
        let open = self.entries.iter().find(|entry| matches!(entry.state, State::Open(_)));
        open.map_or(self.end, |entry| entry.offset)
    }
}

/// The broker.
#[derive(Debug, Default)]
pub(super) struct Model {
    logs: BTreeMap<Partition, Log>,
    offsets: BTreeMap<Partition, i64>,
    staged: BTreeMap<Transaction, Vec<(Partition, i64)>>,
}

impl Model {
    pub(super) fn append(
        &mut self,
        partition: &Partition,
        key: Option<u64>,
        value: Value,
        transaction: Option<Transaction>,
    ) -> i64 {
        let log = self.logs.entry(partition.clone()).or_default();
        let (offset, state) = (log.end, transaction.map_or(State::Committed, State::Open));
        log.entries.push(Entry { offset, key, value, state });
        log.end += 1;
        offset
    }

    pub(super) fn stage(&mut self, transaction: Transaction, offsets: Vec<(Partition, i64)>) {
        self.staged.entry(transaction).or_default().extend(offsets);
    }

    pub(super) fn end(&mut self, transaction: Transaction, committed: bool) {
        for log in self.logs.values_mut() {
            let mut part =
                log.entries.iter_mut().filter(|entry| entry.state == State::Open(transaction)).peekable();
            if part.peek().is_none() {
                continue;
            }
            part.for_each(|entry| entry.state = if committed { State::Committed } else { State::Aborted });
            // Its marker.
            log.end += 1;
        }
        let staged = self.staged.remove(&transaction).unwrap_or_default();
        if committed {
            self.offsets.extend(staged);
        }
    }

    /// Ends what nobody ends.
    pub(super) fn time_out(&mut self) {
        let entries = self.logs.values().flat_map(|log| &log.entries);
        let open = entries.filter_map(|entry| match entry.state {
            State::Open(transaction) => Some(transaction),
            _ => None,
        });
        let mut open: Vec<Transaction> = open.chain(self.staged.keys().copied()).collect();
        open.sort_unstable();
        open.dedup();
        for transaction in open {
            self.end(transaction, false);
        }
    }

    pub(super) fn offset(&self, partition: &Partition) -> Option<i64> {
        self.offsets.get(partition).copied()
    }

    /// Reads on from a position, `most` records at most.
    pub(super) fn read(&self, partition: &Partition, position: &mut i64, most: usize, polled: &mut Polled) {
        let Some(log) = self.logs.get(partition) else { return };
        let stable = log.last_stable();
        let visible = log.entries.iter().filter(|entry| (*position..stable).contains(&entry.offset));
        let committed = visible.filter(|entry| entry.state == State::Committed).take(most);
        let records: Vec<(Place, Value)> =
            committed.map(|entry| (partition.at(entry.offset), entry.value)).collect();
        *position = match records.last() {
            Some((place, _)) if records.len() == most => place.offset + 1,
            _ => stable.max(*position),
        };
        polled.records.extend(records);
        polled.positions.push((partition.clone(), *position));
    }

    /// The last offset that can be read.
    pub(super) fn last_stable(&self, partition: &Partition) -> i64 {
        self.logs.get(partition).map_or(0, Log::last_stable)
    }

    /// Takes some of the records away that have a later one with their key.
    pub(super) fn compact(&mut self, partition: &Partition, chance: &mut Chance) {
        let Some(log) = self.logs.get_mut(partition) else { return };
        let stable = log.last_stable();
        let mut last: BTreeMap<Option<u64>, i64> = BTreeMap::new();
        for entry in &log.entries {
            if entry.state == State::Committed && entry.offset < stable {
                last.insert(entry.key, entry.offset);
            }
        }
        log.entries.retain(|entry| {
            let later = last.get(&entry.key).is_some_and(|last| *last > entry.offset);
            !(later && entry.offset < stable && chance.below(2) == 0)
        });
    }
}
