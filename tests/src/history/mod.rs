//! A checker of histories: whether what clients saw can be explained by a broker that loses, repeats, tears and leaks
//! nothing.
//!
//! Clients write down what they ask for and what they are answered ([`Recorder`]); [`check`] gives every [`Anomaly`] in it.
//! The rules are those of Jepsen's tests of Kafka, with groups' offsets added. An operation of unknown outcome may have
//! happened or not, until something that was read tells. A history is checked whole: without readers that went to the end
//! after all faults were off, what they did not come to is reported as unseen.

mod anomaly;
mod circles;
mod compaction;
mod early;
mod effects;
mod event;
mod fates;
mod file;
mod missing;
mod offsets;
mod places;
mod reading;
mod recorder;
mod sending;
#[cfg(test)]
mod tests;

pub use anomaly::Anomaly;
pub use event::{
    Action, History, Operation, Outcome, Partition, Place, Polled, Process, Sending, Start, Transaction,
    Value,
};
pub use recorder::{Asked, Recorder};

use compaction::Compaction;
use effects::Effects;
use fates::Fates;
use offsets::Known;
use reading::Reading;

/// Everything in a history that a correct broker cannot have done, in a stable order.
pub fn check(history: &History) -> Vec<Anomaly> {
    let fates = Fates::of(history);
    let reading = Reading::of(history);
    let effects = Effects::of(&fates, &reading);
    let compaction = Compaction::of(&history.compacted, &fates, &reading);
    let known = Known { fates: &fates, reading: &reading, effects: &effects, compaction: &compaction };
    let circles = circles::check(&fates, &reading);
    let mut found = places::check(&fates, &reading);
    found.extend(missing::check(&compaction, &fates, &reading, &effects));
    found.extend(early::check(&fates, &reading, &circles));
    found.extend(sending::check(&fates, &reading));
    found.extend(offsets::check(history, &known));
    found.extend(circles);
    found.extend(reading.anomalies.iter().cloned());
    found.sort();
    found.dedup();
    found
}
