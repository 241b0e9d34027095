//! What readers were given, and what they passed by.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly::Anomaly;
use super::event::{Action, History, Outcome, Partition, Place, Polled, Process, Start, Transaction, Value};

/// One record that was read.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) process: Process,
    /// The transaction it was the input of.
    pub(super) transaction: Option<Transaction>,
    pub(super) place: &'a Place,
    pub(super) value: Value,
    /// When it was there for sure.
    pub(super) moment: u64,
}

/// An unbroken piece of reading: everything visible from the first offset to the one before the last was given.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: i64,
    to: i64,
}

/// All reading of a history.
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    pub(super) reads: Vec<Read<'a>>,
    stretches: BTreeMap<&'a Partition, BTreeMap<Process, Vec<Stretch>>>,
    /// Every value read at a place.
    pub(super) values: BTreeMap<&'a Place, BTreeSet<Value>>,
    /// Every place a value was read at, by partition.
    pub(super) places: BTreeMap<(&'a Partition, Value), BTreeSet<&'a Place>>,
    by: BTreeSet<(Process, &'a Place)>,
    /// What was not in order.
    pub(super) anomalies: Vec<Anomaly>,
}

/// Where a process is in its partitions; nothing where that is not known.
#[derive(Debug, Default)]
struct Reader<'a> {
    at: BTreeMap<&'a Partition, i64>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(history: &'a History) -> Reading<'a> {
        let mut reading = Reading::default();
        let mut readers: BTreeMap<Process, Reader<'a>> = BTreeMap::new();
        let mut by_group: BTreeSet<Process> = BTreeSet::new();
        // A process asks for one thing of its reader at a time, so the order of asking is that of the answers.
        for operation in &history.operations {
            let process = operation.process;
            let reader = readers.entry(process).or_default();
            match (&operation.action, operation.outcome(), &operation.answer) {
                (Action::Subscribe, ..) => {
                    by_group.insert(process);
                    reader.at.clear();
                }
                (Action::Assign(partitions), outcome, _) => {
                    by_group.remove(&process);
                    let kept = std::mem::take(&mut reader.at);
                    for (partition, start) in partitions.iter().filter(|_| *outcome == Outcome::Done) {
                        let at = match start {
                            Start::At(offset) => Some(*offset),
                            Start::Anywhere => None,
                            Start::Kept => kept.get(partition).copied(),
                        };
                        reader.at.extend(at.map(|at| (partition, at)));
                    }
                }
                (Action::Poll(transaction), Outcome::Polled(polled), Some((moment, _))) => {
                    if by_group.contains(&process) {
                        reader.at.clear();
                    }
                    let poll = Poll { process, transaction: *transaction, moment: *moment };
                    reading.poll(poll, reader, polled);
                }
                (Action::Poll(_), Outcome::Failed, _) => {}
                // The client may have taken records and not given them.
                (Action::Poll(_), ..) => reader.at.clear(),
                _ => {}
            }
        }
        reading
    }

    fn poll(&mut self, poll: Poll, reader: &mut Reader<'a>, polled: &'a Polled) {
        let mut from: BTreeMap<&'a Partition, i64> = BTreeMap::new();
        for (place, value) in &polled.records {
            let partition = &place.partition;
            let at = *reader.at.entry(partition).or_insert(place.offset);
            from.entry(partition).or_insert(at);
            if place.offset < at {
                let process = poll.process;
                self.anomalies.push(Anomaly::NonMonotonicPoll {
                    process,
                    place: place.clone(),
                    position: at,
                });
            } else {
                reader.at.insert(partition, place.offset + 1);
            }
            self.values.entry(place).or_default().insert(*value);
            self.places.entry((partition, *value)).or_default().insert(place);
            self.by.insert((poll.process, place));
            let Poll { process, transaction, moment } = poll;
            self.reads.push(Read { process, transaction, place, value: *value, moment });
        }
        for (partition, position) in &polled.positions {
            let at = *reader.at.entry(partition).or_insert(*position);
            from.entry(partition).or_insert(at);
            if *position < at {
                let (process, place) = (poll.process, partition.at(*position));
                self.anomalies.push(Anomaly::NonMonotonicPoll { process, place, position: at });
            } else {
                reader.at.insert(partition, *position);
            }
        }
        for (partition, from) in from {
            let stretches = self.stretches.entry(partition).or_default().entry(poll.process).or_default();
            let to = reader.at[partition];
            match stretches.last_mut() {
                Some(last) if last.to == from => last.to = to,
                _ => stretches.push(Stretch { from, to }),
            }
        }
    }

    /// Who had to be given what is at a place, if it was visible, and was not.
    pub(super) fn passed_by(&self, place: &Place) -> Option<Process> {
        let stretches = self.stretches.get(&place.partition)?;
        let over = |stretch: &Stretch| (stretch.from..stretch.to).contains(&place.offset);
        let over = stretches.iter().filter(|(_, stretches)| stretches.iter().any(over));
        over.map(|(process, _)| *process).find(|process| !self.by.contains(&(*process, place)))
    }

    /// Whether somebody read a place.
    pub(super) fn is_read(&self, place: &Place) -> bool {
        self.values.contains_key(place)
    }
}

/// The poll a record came from.
#[derive(Debug, Clone, Copy)]
struct Poll {
    process: Process,
    transaction: Option<Transaction>,
    moment: u64,
}
