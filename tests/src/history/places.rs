//! One value at a place, and one place for a value.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly::Anomaly;
use super::event::{Place, Value};
use super::fates::{Fates, Writer};
use super::reading::Reading;

/// Inconsistent offsets, duplicates, and values that nobody sent.
pub(super) fn check(fates: &Fates<'_>, reading: &Reading<'_>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut values: BTreeMap<Place, BTreeSet<Value>> = BTreeMap::new();
    for (place, read) in &reading.values {
        values.entry((*place).clone()).or_default().extend(read);
    }
    // What was acknowledged has its offset, whatever becomes of its transaction.
    for sent in &fates.sent {
        if let Some(place) = sent.place() {
            values.entry(place).or_default().insert(sent.sending.value);
        }
    }
    for (place, values) in values.into_iter().filter(|(_, values)| values.len() > 1) {
        found.push(Anomaly::InconsistentOffsets { place, values: values.into_iter().collect() });
    }
    for ((partition, value), places) in &reading.places {
        let unwritten = |place: &Place| fates.writer(place, *value) == Writer::Nobody;
        let allowed = fates.allowed(partition, *value);
        // What cannot be there at all is an aborted read, or unwritten.
        if allowed > 0 && places.len() > allowed {
            let places = places.iter().map(|place| (*place).clone()).collect();
            found.push(Anomaly::Duplicate { value: *value, places, allowed });
        } else if let Some(place) = places.iter().find(|place| unwritten(place)) {
            found.push(Anomaly::Unwritten { place: (*place).clone(), value: *value });
        }
    }
    found
}
