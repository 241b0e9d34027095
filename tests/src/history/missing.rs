//! What was acknowledged and is not there: lost, torn, unseen, or passed by.

use std::collections::BTreeMap;

use super::anomaly::Anomaly;
use super::compaction::Compaction;
use super::effects::Effects;
use super::event::{Partition, Place, Transaction, Value};
use super::fates::{Fate, Fates, Writer};
use super::reading::Reading;

/// A record that is there for sure and that nobody read.
struct Missing {
    place: Place,
    value: Value,
}

/// Lost writes, torn transactions, unseen records, and what some readers skipped.
pub(super) fn check(
    compaction: &Compaction<'_>,
    fates: &Fates<'_>,
    reading: &Reading<'_>,
    effects: &Effects<'_>,
) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut missing: BTreeMap<(Option<Transaction>, &Partition), Vec<Missing>> = BTreeMap::new();
    for (index, sent) in fates.sent.iter().enumerate() {
        if effects.record(index) != Fate::There {
            continue;
        }
        let (partition, value) = (&sent.sending.partition, sent.sending.value);
        let transaction = sent.sending.transaction;
        let Some(place) = sent.place() else {
            if !reading.places.contains_key(&(partition, value)) && !compaction.is_on(sent) {
                found.push(Anomaly::Unseen {
                    partition: partition.clone(),
                    offset: None,
                    value,
                    transaction,
                });
            }
            continue;
        };
        // Another value at its place is told of as such.
        if reading.is_read(&place) || compaction.may_take(sent, &place) {
            continue;
        }
        if reading.passed_by(&place).is_some() {
            missing.entry((transaction, partition)).or_default().push(Missing { place, value });
        } else {
            let offset = Some(place.offset);
            found.push(Anomaly::Unseen { partition: partition.clone(), offset, value, transaction });
        }
    }
    for ((transaction, partition), missing) in missing {
        let here = |place: &&Place| place.partition == *partition;
        let torn = transaction.and_then(|transaction| {
            let elsewhere = effects.witness(transaction)?;
            let parts = parts_read(fates, reading, transaction);
            (!parts.iter().any(here)).then(|| (transaction, elsewhere.place.clone()))
        });
        if let Some((transaction, there)) = torn {
            let missing = missing.into_iter().map(|missing| missing.place).collect();
            found.push(Anomaly::TornTransaction { transaction, there, missing });
        } else {
            let lost = missing.into_iter().map(|Missing { place, value }| Anomaly::LostWrite {
                place,
                value,
                transaction,
            });
            found.extend(lost);
        }
    }
    found.extend(skipped(compaction, fates, reading));
    found
}

/// What was read of a transaction.
fn parts_read<'a>(fates: &Fates<'_>, reading: &Reading<'a>, transaction: Transaction) -> Vec<&'a Place> {
    let of_it = |place: &Place, value: Value| {
        let Writer::One(index) = fates.writer(place, value) else { return false };
        fates.sent[index].sending.transaction == Some(transaction)
    };
    let reads =
        reading.values.iter().filter(|(place, values)| values.iter().any(|value| of_it(place, *value)));
    reads.map(|(place, _)| *place).collect()
}

/// Records that somebody read, and that another reader passed by.
fn skipped(compaction: &Compaction<'_>, fates: &Fates<'_>, reading: &Reading<'_>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for place in reading.values.keys() {
        let Some(value) = compaction.stays(fates, reading, place) else { continue };
        if let Some(process) = reading.passed_by(place) {
            found.push(Anomaly::PollSkip { process, place: (*place).clone(), value });
        }
    }
    found
}
