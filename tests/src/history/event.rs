//! What clients saw: operations with the moment they were asked for, the moment they were answered, and the answer.

use std::fmt;
use std::sync::Arc;

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub number: i32,
}

impl Partition {
    /// Partition `number` of `topic`.
    pub fn new(topic: &str, number: i32) -> Partition {
        Partition { topic: topic.into(), number }
    }

    /// An offset in it.
    pub fn at(&self, offset: i64) -> Place {
        Place { partition: self.clone(), offset }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.number)
    }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In which partition.
    pub partition: Partition,
    /// At which offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset {}", self.partition, self.offset)
    }
}

/// What a record says. A workload gives each record a value of its own; one that is sent again has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value {}", self.0)
    }
}

/// One transaction, from its begin to its end: no two of a history have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction(pub u64);

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transaction {}", self.0)
    }
}

/// One client: a producer, a consumer, or the two of a loop that copies. Who makes a new producer is a new process, because
/// nothing orders what the two send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.0)
    }
}

/// Where a reader begins in a partition that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(i64),
    /// Somewhere that its client alone knows.
    Anywhere,
    /// Where it was: the partition was its own before.
    Kept,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The transaction it is part of.
    pub transaction: Option<Transaction>,
    /// Where to.
    pub partition: Partition,
    /// Its key, by which a compacted topic keeps records.
    pub key: Option<u64>,
    /// What it says.
    pub value: Value,
    /// The record it was made from, by a loop that reads and writes exactly once.
    pub copy_of: Option<Place>,
}

/// What a client asks for. Readers read committed records only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes one record.
    Send(Sending),
    /// Ends a transaction.
    Commit(Transaction),
    /// Ends a transaction, so that nothing of it was there.
    Abort(Transaction),
    /// The partitions of a reader from now on; those not named are its own no more. A seek is one, too.
    Assign(Vec<(Partition, Start)>),
    /// The reader is given partitions by its group from now on, unseen by the history: what it reads goes on from one poll
    /// to the next only by chance.
    Subscribe,
    /// Reads on; for a transaction if what is read is its input.
    Poll(Option<Transaction>),
    /// Says how far a group has come.
    CommitOffsets {
        /// The group.
        group: Arc<str>,
        /// The transaction it is part of.
        transaction: Option<Transaction>,
        /// The next offset to read, by partition.
        offsets: Vec<(Partition, i64)>,
    },
    /// Asks how far a group has come; stable offsets only.
    FetchOffsets {
        /// The group.
        group: Arc<str>,
    },
}

/// What a poll gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Polled {
    /// The records, in the order the client gave them.
    pub records: Vec<(Place, Value)>,
    /// Where the reader is afterwards: the next offset it will ask for. What is not named is behind its last record.
    pub positions: Vec<(Partition, i64)>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// A record was written, at an offset if the answer tells one.
    Written(Option<i64>),
    /// What a poll gave.
    Polled(Polled),
    /// How far a group has come, by partition; nothing where it never said.
    Fetched(Vec<(Partition, Option<i64>)>),
    /// It definitely did not happen and never will.
    Failed,
    /// It may have happened, and may yet.
    Unknown,
}

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Whose.
    pub process: Process,
    /// When it was asked for.
    pub asked: u64,
    /// What.
    pub action: Action,
    /// When it was answered, and how; without, its outcome is unknown.
    pub answer: Option<(u64, Outcome)>,
}

impl Operation {
    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        self.answer.as_ref().map_or(&Outcome::Unknown, |(_, outcome)| outcome)
    }

    /// When it had ended for sure: never, if that is not known.
    pub fn ended(&self) -> Option<u64> {
        match &self.answer {
            None | Some((_, Outcome::Unknown)) => None,
            Some((moment, _)) => Some(*moment),
        }
    }
}

/// Everything that all clients saw, in the order in which it was asked for. Moments are numbers of one order over all
/// clients: an answer before a question came before it in fact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The operations, by `asked`.
    pub operations: Vec<Operation>,
    /// Topics of which only the last record of each key need stay.
    pub compacted: Vec<Arc<str>>,
}
