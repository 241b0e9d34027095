//! Offsets of groups: there with the outputs of their transaction, and not without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::anomaly::Anomaly;
use super::compaction::Compaction;
use super::effects::Effects;
use super::event::{Action, History, Outcome, Partition, Place, Transaction};
use super::fates::{Fate, Fates, Sent};
use super::reading::Reading;

/// One offset that was committed.
struct Write {
    transaction: Option<Transaction>,
    offset: i64,
    /// It took effect after this.
    start: u64,
    /// And before this, if it did.
    end: Option<u64>,
    fate: Fate,
}

/// One answer to how far a group has come.
struct Answer {
    asked: u64,
    moment: u64,
    offset: Option<i64>,
}

type Register<'a> = (&'a Arc<str>, &'a Partition);

/// Offsets without their outputs, outputs without their offsets, and offsets of others that went missing.
pub(super) fn check(history: &History, known: &Known<'_>) -> Vec<Anomaly> {
    let effects = known.effects;
    let mut writes: BTreeMap<Register<'_>, Vec<Write>> = BTreeMap::new();
    let mut answers: BTreeMap<Register<'_>, Vec<Answer>> = BTreeMap::new();
    for operation in &history.operations {
        match (&operation.action, operation.outcome()) {
            (Action::CommitOffsets { group, transaction, offsets }, outcome) => {
                let of_it = transaction.map_or(Fate::There, |transaction| effects.transaction(transaction));
                let fate = match (outcome, of_it) {
                    (Outcome::Failed, _) | (_, Fate::Never) => Fate::Never,
                    (Outcome::Done, Fate::There) => Fate::There,
                    _ => Fate::Unknown,
                };
                let end = match transaction {
                    None => operation.ended(),
                    Some(transaction) => effects.there_since(*transaction),
                };
                for (partition, offset) in offsets {
                    let write = Write {
                        transaction: *transaction,
                        offset: *offset,
                        start: operation.asked,
                        end,
                        fate,
                    };
                    writes.entry((group, partition)).or_default().push(write);
                }
            }
            (Action::FetchOffsets { group }, Outcome::Fetched(fetched)) => {
                let moment = operation.ended().expect("it was answered");
                for (partition, offset) in fetched {
                    let answer = Answer { asked: operation.asked, moment, offset: *offset };
                    answers.entry((group, partition)).or_default().push(answer);
                }
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let copied = Copied::of(known);
    for ((group, partition), answers) in &answers {
        let writes = writes.get(&(*group, *partition)).map_or(&[][..], Vec::as_slice);
        for answer in answers {
            found.extend(judge(group, partition, writes, answer));
            let source = answer.offset.and_then(|offset| only_source(writes, offset));
            if let Some((transaction, offset)) = source
                && let Some(anomaly) = known.without_outputs(transaction)
            {
                found.extend(anomaly.then(|| Anomaly::OffsetsWithoutOutputs {
                    transaction: Some(transaction),
                    group: (*group).clone(),
                    place: partition.at(offset),
                }));
            }
        }
        if writes.iter().any(|write| write.transaction.is_some()) {
            let furthest = answers.iter().filter_map(|answer| answer.offset).max().unwrap_or(0);
            let skipped = copied.not_copied(known, partition, furthest);
            found.extend(skipped.into_iter().map(|place| Anomaly::OffsetsWithoutOutputs {
                transaction: None,
                group: (*group).clone(),
                place,
            }));
        }
    }
    found.into_iter().collect()
}

/// Whether an answer can be explained by what was committed.
fn judge(group: &Arc<str>, partition: &Partition, writes: &[Write], answer: &Answer) -> Option<Anomaly> {
    let sure: Vec<&Write> = writes
        .iter()
        .filter(|write| write.fate == Fate::There && write.end.is_some_and(|end| end < answer.asked))
        .collect();
    let hidden = |write: &Write| sure.iter().any(|later| write.end.is_some_and(|end| later.start > end));
    let Some(offset) = answer.offset else {
        // It never said, and somebody did.
        return sure.last().map(|write| gone(group, partition, write, None));
    };
    let here: Vec<&Write> =
        writes.iter().filter(|write| write.offset == offset && write.start < answer.moment).collect();
    let possible = |write: &&Write| write.fate != Fate::Never && !hidden(write);
    if here.iter().any(possible) {
        return None;
    }
    let place = partition.at(offset);
    if let Some(hidden_by) = here
        .iter()
        .filter(|write| write.fate != Fate::Never)
        .find_map(|write| sure.iter().rfind(|later| write.end.is_some_and(|end| later.start > end)))
    {
        return Some(gone(group, partition, hidden_by, answer.offset));
    }
    match here.iter().find_map(|write| write.transaction) {
        Some(transaction) => Some(Anomaly::OffsetsWithoutOutputs {
            transaction: Some(transaction),
            group: group.clone(),
            place,
        }),
        None => Some(Anomaly::UnwrittenOffsets { group: group.clone(), place }),
    }
}

fn gone(group: &Arc<str>, partition: &Partition, write: &Write, found: Option<i64>) -> Anomaly {
    let (group, place) = (group.clone(), partition.at(write.offset));
    match write.transaction {
        Some(transaction) => Anomaly::OutputsWithoutOffsets { transaction, group, place, found },
        None => Anomaly::LostOffsets { group, place, found },
    }
}

/// The transaction that alone can have brought a group to an offset.
fn only_source(writes: &[Write], offset: i64) -> Option<(Transaction, i64)> {
    let mut here = writes.iter().filter(|write| write.offset == offset && write.fate != Fate::Never);
    let (first, more) = (here.next()?, here.next());
    if more.is_some() { None } else { first.transaction.map(|transaction| (transaction, offset)) }
}

/// What the other rules found out.
pub(super) struct Known<'a> {
    pub(super) fates: &'a Fates<'a>,
    pub(super) reading: &'a Reading<'a>,
    pub(super) effects: &'a Effects<'a>,
    pub(super) compaction: &'a Compaction<'a>,
}

impl Known<'_> {
    /// Whether a record was acknowledged at a place where it is not.
    fn is_not_there(&self, sent: &Sent<'_>) -> bool {
        sent.place().is_some_and(|place| {
            let gone = !self.reading.is_read(&place) && self.reading.passed_by(&place).is_some();
            gone && !self.compaction.may_take(sent, &place)
        })
    }

    /// Whether the outputs of a transaction of unknown end, whose offsets are there, are not; nothing if that cannot be
    /// told. Of one that is known to be committed, what is missing is lost or torn.
    fn without_outputs(&self, transaction: Transaction) -> Option<bool> {
        if self.effects.transaction(transaction) != Fate::Unknown {
            return None;
        }
        let mut sent = self.fates.sent.iter();
        Some(sent.any(|sent| sent.sending.transaction == Some(transaction) && self.is_not_there(sent)))
    }
}

/// The inputs that loops copied. A loop copies every record of its input, from the first on.
struct Copied<'a> {
    /// Those that have a copy, or may have one that nobody read yet.
    perhaps: BTreeSet<&'a Place>,
    /// The partitions that were copied from at all.
    from: BTreeSet<&'a Partition>,
}

impl<'a> Copied<'a> {
    fn of(known: &Known<'a>) -> Copied<'a> {
        let mut copied = Copied { perhaps: BTreeSet::new(), from: BTreeSet::new() };
        for (index, sent) in known.fates.sent.iter().enumerate() {
            let Some(input) = &sent.sending.copy_of else { continue };
            copied.from.insert(&input.partition);
            let perhaps = match known.effects.record(index) {
                // If it is not there, it is told of as lost.
                Fate::There => true,
                Fate::Unknown => !known.is_not_there(sent),
                Fate::Never => false,
            };
            if perhaps {
                copied.perhaps.insert(input);
            }
        }
        copied
    }

    /// What was read of a partition before an offset, and has no copy.
    fn not_copied(&self, known: &Known<'_>, partition: &Partition, before: i64) -> Vec<Place> {
        if !self.from.contains(partition) {
            return Vec::new();
        }
        let inputs = known.reading.values.keys().filter(|place| place.partition == *partition);
        let passed = inputs.filter(|place| place.offset < before && !self.perhaps.contains(*place));
        passed
            .filter(|place| known.compaction.stays(known.fates, known.reading, place).is_some())
            .map(|place| (*place).clone())
            .collect()
    }
}
