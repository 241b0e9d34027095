//! The order of one producer's records.

use std::collections::BTreeMap;

use super::anomaly::Anomaly;
use super::event::{Partition, Place, Process};
use super::fates::{Fate, Fates};
use super::reading::Reading;

/// Records of one producer in one partition, sent in one order and written in another.
pub(super) fn check(fates: &Fates<'_>, reading: &Reading<'_>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut last: BTreeMap<(Process, &Partition), i64> = BTreeMap::new();
    for (index, sent) in fates.sent.iter().enumerate() {
        let partition = &sent.sending.partition;
        let Some(offset) = sent.offset.or_else(|| read_at(fates, reading, index)) else { continue };
        let highest = last.entry((sent.process, partition)).or_insert(offset);
        if offset < *highest {
            let before = partition.at(*highest);
            found.push(Anomaly::NonMonotonicSend {
                process: sent.process,
                place: partition.at(offset),
                before,
            });
        } else {
            *highest = offset;
        }
    }
    found
}

/// Where a record of unknown outcome was found, when it can be no other's.
fn read_at(fates: &Fates<'_>, reading: &Reading<'_>, index: usize) -> Option<i64> {
    let sending = fates.sent[index].sending;
    let alone = fates.senders(&sending.partition, sending.value).len() == 1;
    if !alone || fates.record(index) == Fate::Never {
        return None;
    }
    let places = reading.places.get(&(&sending.partition, sending.value))?;
    let places: Vec<&&Place> = places.iter().collect();
    (places.len() == 1).then(|| places[0].offset)
}
