//! What must not be in a history.

use std::fmt;
use std::sync::Arc;

use super::event::{Partition, Place, Process, Transaction, Value};

/// One thing that cannot be explained by any correct broker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Two values at one place.
    InconsistentOffsets {
        /// Where.
        place: Place,
        /// All that was seen or acknowledged there.
        values: Vec<Value>,
    },
    /// A value at more places than it can have been written to.
    Duplicate {
        /// Which.
        value: Value,
        /// Where it was read.
        places: Vec<Place>,
        /// To how many places it may have been written.
        allowed: usize,
    },
    /// A value that nobody sent to that partition.
    Unwritten {
        /// Where it was read.
        place: Place,
        /// Which.
        value: Value,
    },
    /// An acknowledged record that is not there: readers passed it by.
    LostWrite {
        /// Where it was acknowledged.
        place: Place,
        /// Which.
        value: Value,
        /// The transaction it was part of.
        transaction: Option<Transaction>,
    },
    /// An acknowledged record that no reader came to.
    Unseen {
        /// In which partition.
        partition: Partition,
        /// Where it was acknowledged, if that was said.
        offset: Option<i64>,
        /// Which.
        value: Value,
        /// The transaction it was part of.
        transaction: Option<Transaction>,
    },
    /// A record was read whose write failed, or whose transaction never was asked to commit or failed to.
    AbortedRead {
        /// Who read it.
        process: Process,
        /// Where.
        place: Place,
        /// Which.
        value: Value,
        /// The transaction it was part of.
        transaction: Option<Transaction>,
    },
    /// A record was read before the commit of its transaction was asked for.
    PrecommittedRead {
        /// Who read it.
        process: Process,
        /// Where.
        place: Place,
        /// The transaction it was part of.
        transaction: Transaction,
    },
    /// A reader passed by a record that others read.
    PollSkip {
        /// Who.
        process: Process,
        /// What it passed by.
        place: Place,
        /// Which.
        value: Value,
    },
    /// A reader came back to where it had been before.
    NonMonotonicPoll {
        /// Who.
        process: Process,
        /// What it was given.
        place: Place,
        /// Where it was already.
        position: i64,
    },
    /// Records of one producer in another order than it sent them.
    NonMonotonicSend {
        /// Who.
        process: Process,
        /// Sent later, written before.
        place: Place,
        /// Sent before, written later.
        before: Place,
    },
    /// Transactions each of which read what the next one wrote, around a circle (G1c).
    CircularReads {
        /// All of them.
        transactions: Vec<Transaction>,
    },
    /// A transaction that is there in one partition and not in another.
    TornTransaction {
        /// Which.
        transaction: Transaction,
        /// What is there of it.
        there: Place,
        /// What is not.
        missing: Vec<Place>,
    },
    /// A group's offset is that of a transaction whose outputs are not there.
    OffsetsWithoutOutputs {
        /// Which; nothing where the offset passed an input by that no transaction copied.
        transaction: Option<Transaction>,
        /// The group.
        group: Arc<str>,
        /// Where it says it has come to; or the input that was passed by.
        place: Place,
    },
    /// A transaction's outputs are there, and its group's offset is not.
    OutputsWithoutOffsets {
        /// Which.
        transaction: Transaction,
        /// The group.
        group: Arc<str>,
        /// Where the transaction said it had come to.
        place: Place,
        /// Where the group says it has come to.
        found: Option<i64>,
    },
    /// A group's offset that was committed outside of transactions is not there.
    LostOffsets {
        /// The group.
        group: Arc<str>,
        /// Where it had come to.
        place: Place,
        /// Where the group says it has come to.
        found: Option<i64>,
    },
    /// A group's offset that nobody committed.
    UnwrittenOffsets {
        /// The group.
        group: Arc<str>,
        /// Where it says it has come to.
        place: Place,
    },
}

impl Anomaly {
    /// Its kind alone.
    pub fn kind(&self) -> &'static str {
        match self {
            Anomaly::InconsistentOffsets { .. } => "inconsistent offsets",
            Anomaly::Duplicate { .. } => "duplicate",
            Anomaly::Unwritten { .. } => "unwritten",
            Anomaly::LostWrite { .. } => "lost write",
            Anomaly::Unseen { .. } => "unseen",
            Anomaly::AbortedRead { .. } => "aborted read",
            Anomaly::PrecommittedRead { .. } => "precommitted read",
            Anomaly::PollSkip { .. } => "poll skip",
            Anomaly::NonMonotonicPoll { .. } => "non-monotonic poll",
            Anomaly::NonMonotonicSend { .. } => "non-monotonic send",
            Anomaly::CircularReads { .. } => "circular reads",
            Anomaly::TornTransaction { .. } => "torn transaction",
            Anomaly::OffsetsWithoutOutputs { .. } => "offsets without outputs",
            Anomaly::OutputsWithoutOffsets { .. } => "outputs without offsets",
            Anomaly::LostOffsets { .. } => "lost offsets",
            Anomaly::UnwrittenOffsets { .. } => "unwritten offsets",
        }
    }
}

/// Whose record it was, for a sentence's end.
fn of(transaction: &Option<Transaction>) -> String {
    transaction.map_or("of no transaction".to_owned(), |transaction| format!("of {transaction}"))
}

fn list<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Anomaly::InconsistentOffsets { place, values } => write!(f, "{place} has {}", list(values)),
            Anomaly::Duplicate { value, places, allowed } => {
                write!(f, "{value} is at {}, written {allowed} times at most", list(places))
            }
            Anomaly::Unwritten { place, value } => write!(f, "{place} has {value}, which nobody sent there"),
            Anomaly::LostWrite { place, value, transaction } => {
                write!(f, "{value} {}, acknowledged at {place}, is not there", of(transaction))
            }
            Anomaly::Unseen { partition, offset, value, transaction } => {
                write!(f, "nobody read {value} {}, in {partition} at {offset:?}", of(transaction))
            }
            Anomaly::AbortedRead { process, place, value, transaction } => {
                write!(f, "{process} read {value} {} at {place}", of(transaction))
            }
            Anomaly::PrecommittedRead { process, place, transaction } => {
                write!(f, "{process} read {place} before {transaction} was asked to commit")
            }
            Anomaly::PollSkip { process, place, value } => {
                write!(f, "{process} passed by {value} at {place}")
            }
            Anomaly::NonMonotonicPoll { process, place, position } => {
                write!(f, "{process} was given {place} when it was at {position}")
            }
            Anomaly::NonMonotonicSend { process, place, before } => {
                write!(f, "{process} sent what is at {before} before what is at {place}")
            }
            Anomaly::CircularReads { transactions } => write!(f, "{}", list(transactions)),
            Anomaly::TornTransaction { transaction, there, missing } => {
                write!(f, "{transaction} is at {there} and not at {}", list(missing))
            }
            Anomaly::OffsetsWithoutOutputs { transaction, group, place } => {
                write!(f, "group {group} at {place} {}", of(transaction))
            }
            Anomaly::OutputsWithoutOffsets { transaction, group, place, found } => {
                write!(f, "{transaction} brought group {group} to {place}, which is at {found:?}")
            }
            Anomaly::LostOffsets { group, place, found } => {
                write!(f, "group {group} had come to {place} and is at {found:?}")
            }
            Anomaly::UnwrittenOffsets { group, place } => {
                write!(f, "group {group} is at {place}, which nobody committed")
            }
        }
    }
}
