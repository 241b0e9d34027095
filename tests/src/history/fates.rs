//! What became of records and transactions, as far as their senders were told.

use std::collections::BTreeMap;

use super::event::{Action, History, Outcome, Partition, Place, Process, Sending, Transaction, Value};

/// What is sure of a record or a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there.
    There,
    /// It may be there.
    Unknown,
    /// It is not there and never will be.
    Never,
}

/// One record that was sent.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    pub(super) process: Process,
    pub(super) sending: &'a Sending,
    /// What its sender was told of this record alone.
    pub(super) told: Fate,
    /// At which offset it was acknowledged.
    pub(super) offset: Option<i64>,
}

impl Sent<'_> {
    /// Where it was acknowledged.
    pub(super) fn place(&self) -> Option<Place> {
        self.offset.map(|offset| self.sending.partition.at(offset))
    }
}

/// The end of a transaction.
#[derive(Debug, Default)]
struct End {
    /// When its commit was first asked for.
    asked: Option<u64>,
    /// When it was first known to be committed.
    committed: Option<u64>,
    /// Whether an outcome of its commit is not known.
    unknown: bool,
}

/// All records and transactions of a history.
#[derive(Debug)]
pub(super) struct Fates<'a> {
    /// In the order in which they were sent.
    pub(super) sent: Vec<Sent<'a>>,
    by_value: BTreeMap<&'a Partition, BTreeMap<Value, Vec<usize>>>,
    ends: BTreeMap<Transaction, End>,
}

/// Whose a record is that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// This one's of `Fates::sent`.
    One(usize),
    /// One of several, all of which may be there.
    Several,
    /// This one's, which cannot be there.
    Refused(usize),
    /// Nobody's.
    Nobody,
}

impl<'a> Fates<'a> {
    pub(super) fn of(history: &'a History) -> Fates<'a> {
        let mut fates = Fates { sent: Vec::new(), by_value: BTreeMap::new(), ends: BTreeMap::new() };
        for operation in &history.operations {
            match &operation.action {
                Action::Send(sending) => {
                    let (told, offset) = match operation.outcome() {
                        Outcome::Written(offset) => (Fate::There, *offset),
                        Outcome::Failed => (Fate::Never, None),
                        _ => (Fate::Unknown, None),
                    };
                    let index = fates.sent.len();
                    fates.sent.push(Sent { process: operation.process, sending, told, offset });
                    let by_value = fates.by_value.entry(&sending.partition).or_default();
                    by_value.entry(sending.value).or_default().push(index);
                }
                Action::Commit(transaction) => {
                    let end = fates.ends.entry(*transaction).or_default();
                    end.asked = Some(end.asked.map_or(operation.asked, |asked| asked.min(operation.asked)));
                    match (operation.outcome(), operation.ended()) {
                        (Outcome::Done, Some(moment)) => {
                            end.committed = Some(end.committed.map_or(moment, |first| first.min(moment)));
                        }
                        (Outcome::Failed, _) => {}
                        _ => end.unknown = true,
                    }
                }
                _ => {}
            }
        }
        fates
    }

    /// What is sure of a transaction. One that was never asked to commit cannot be there.
    pub(super) fn transaction(&self, transaction: Transaction) -> Fate {
        match self.ends.get(&transaction) {
            Some(End { committed: Some(_), .. }) => Fate::There,
            Some(End { unknown: true, .. }) => Fate::Unknown,
            _ => Fate::Never,
        }
    }

    /// When the commit of a transaction was asked for.
    pub(super) fn asked_to_commit(&self, transaction: Transaction) -> Option<u64> {
        self.ends.get(&transaction).and_then(|end| end.asked)
    }

    /// When a transaction was known to be committed.
    pub(super) fn known_committed(&self, transaction: Transaction) -> Option<u64> {
        self.ends.get(&transaction).and_then(|end| end.committed)
    }

    /// What is sure of a record, with its transaction.
    pub(super) fn record(&self, index: usize) -> Fate {
        let sent = &self.sent[index];
        match (sent.told, sent.sending.transaction.map(|transaction| self.transaction(transaction))) {
            (Fate::Never, _) | (_, Some(Fate::Never)) => Fate::Never,
            (Fate::There, None | Some(Fate::There)) => Fate::There,
            _ => Fate::Unknown,
        }
    }

    /// Everything that sent a value to a partition.
    pub(super) fn senders(&self, partition: &Partition, value: Value) -> &[usize] {
        let senders = self.by_value.get(partition).and_then(|by_value| by_value.get(&value));
        senders.map_or(&[], Vec::as_slice)
    }

    /// Whose a record is that was read at a place.
    pub(super) fn writer(&self, place: &Place, value: Value) -> Writer {
        let senders = self.senders(&place.partition, value);
        let verdict = |index: usize| match self.record(index) {
            Fate::Never => Writer::Refused(index),
            _ => Writer::One(index),
        };
        if let Some(exact) = senders.iter().find(|index| self.sent[**index].offset == Some(place.offset)) {
            return verdict(*exact);
        }
        let possible: Vec<usize> =
            senders.iter().copied().filter(|index| self.record(*index) != Fate::Never).collect();
        let unplaced: Vec<usize> =
            possible.iter().copied().filter(|index| self.sent[*index].offset.is_none()).collect();
        match (unplaced.as_slice(), possible.as_slice(), senders) {
            ([one], ..) | ([], [one], _) => Writer::One(*one),
            ([], [], [first, ..]) => Writer::Refused(*first),
            ([], [], []) => Writer::Nobody,
            _ => Writer::Several,
        }
    }

    /// At how many places of a partition a value may be. A copy is made once, however often it was tried.
    pub(super) fn allowed(&self, partition: &Partition, value: Value) -> usize {
        let senders = self.senders(partition, value);
        let possible = senders.iter().filter(|index| self.record(**index) != Fate::Never).count();
        let copy = senders.iter().any(|index| self.sent[*index].sending.copy_of.is_some());
        if copy { possible.min(1) } else { possible }
    }
}
