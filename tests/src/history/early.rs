//! What was read and should not have been, or not yet.

use std::collections::BTreeSet;

use super::anomaly::Anomaly;
use super::event::Transaction;
use super::fates::{Fates, Writer};
use super::reading::Reading;

/// Aborted and precommitted reads. What two transactions of `circles` read of each other is told of there.
pub(super) fn check(fates: &Fates<'_>, reading: &Reading<'_>, circles: &[Anomaly]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for read in &reading.reads {
        let (process, place, value) = (read.process, read.place.clone(), read.value);
        match fates.writer(read.place, value) {
            Writer::Refused(index) => {
                let transaction = fates.sent[index].sending.transaction;
                if told.insert((process, read.place)) {
                    found.push(Anomaly::AbortedRead { process, place, value, transaction });
                }
            }
            Writer::One(index) => {
                let Some(transaction) = fates.sent[index].sending.transaction else { continue };
                let asked = fates.asked_to_commit(transaction);
                let early = asked.is_some_and(|asked| read.moment < asked);
                if early && !in_circle(circles, transaction, read.transaction) {
                    found.push(Anomaly::PrecommittedRead { process, place, transaction });
                }
            }
            Writer::Several | Writer::Nobody => {}
        }
    }
    found
}

fn in_circle(circles: &[Anomaly], writer: Transaction, reader: Option<Transaction>) -> bool {
    let Some(reader) = reader else { return false };
    circles.iter().any(|circle| match circle {
        Anomaly::CircularReads { transactions } => {
            transactions.contains(&writer) && transactions.contains(&reader)
        }
        _ => false,
    })
}
