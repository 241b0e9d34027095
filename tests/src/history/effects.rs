//! Which transactions are there, by what their clients were told and by what was read of them.

use std::collections::BTreeMap;

use super::event::{Place, Transaction};
use super::fates::{Fate, Fates, Writer};
use super::reading::Reading;

/// What was read of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    /// A record of it.
    pub(super) place: Place,
    /// When that was read for the first time.
    pub(super) moment: u64,
}

/// What is known of transactions.
#[derive(Debug)]
pub(super) struct Effects<'a> {
    fates: &'a Fates<'a>,
    witnesses: BTreeMap<Transaction, Witness>,
}

impl<'a> Effects<'a> {
    pub(super) fn of(fates: &'a Fates<'a>, reading: &Reading<'_>) -> Effects<'a> {
        let mut witnesses: BTreeMap<Transaction, Witness> = BTreeMap::new();
        for read in &reading.reads {
            let Writer::One(index) = fates.writer(read.place, read.value) else { continue };
            let Some(transaction) = fates.sent[index].sending.transaction else { continue };
            let witness = Witness { place: read.place.clone(), moment: read.moment };
            let first = witnesses.entry(transaction).or_insert_with(|| witness.clone());
            if witness.moment < first.moment {
                *first = witness;
            }
        }
        Effects { fates, witnesses }
    }

    /// The first that was read of a transaction.
    pub(super) fn witness(&self, transaction: Transaction) -> Option<&Witness> {
        self.witnesses.get(&transaction)
    }

    /// What is sure of a transaction: one of which something was read is there, whatever its client was told.
    pub(super) fn transaction(&self, transaction: Transaction) -> Fate {
        match self.fates.transaction(transaction) {
            Fate::Unknown if self.witnesses.contains_key(&transaction) => Fate::There,
            fate => fate,
        }
    }

    /// When a transaction was there for sure.
    pub(super) fn there_since(&self, transaction: Transaction) -> Option<u64> {
        let read = match self.fates.transaction(transaction) {
            Fate::Never => None,
            _ => self.witnesses.get(&transaction).map(|witness| witness.moment),
        };
        match (self.fates.known_committed(transaction), read) {
            (Some(told), Some(read)) => Some(told.min(read)),
            (told, read) => told.or(read),
        }
    }

    /// What is sure of a record.
    pub(super) fn record(&self, index: usize) -> Fate {
        let sent = &self.fates.sent[index];
        match (sent.told, sent.sending.transaction.map(|transaction| self.transaction(transaction))) {
            (Fate::There, None | Some(Fate::There)) => Fate::There,
            _ => self.fates.record(index),
        }
    }
}
