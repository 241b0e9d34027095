//! What can go wrong between a program and its broker.

use std::sync::Arc;
use std::time::Duration;

use logmill_record::BatchError;
use logmill_wire::ErrorCode;

/// Shorthand for the results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. The three questions a caller has are answered by [`is_retriable`](Error::is_retriable),
/// [`requires_abort`](Error::requires_abort) and [`is_fatal`](Error::is_fatal).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection could be opened.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// `HOST:PORT`.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// A connection cannot be protected as it was asked for, or the broker cannot be trusted with what would go over it. Trying
    /// again changes nothing.
    #[error("{address}: {reason}")]
    Security {
        /// `HOST:PORT`.
        address: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A connection broke; whether a request under way took effect is not known.
    #[error("connection to {address} lost: {reason}")]
    ConnectionLost {
        /// `HOST:PORT`.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The time for an operation is over. `last` is what stood in the way.
    #[error("{operation}: not done within {after:?}{last}", last = Because(last.as_deref()))]
    Timeout {
        /// What was being done.
        operation: String,
        /// The time it had.
        after: Duration,
        /// The last retriable error met.
        last: Option<Box<Error>>,
    },
    /// A broker answered with an error code.
    #[error("{operation}: {code}{detail}", detail = Detail(message.as_deref()))]
    Broker {
        /// What was asked, with topic and partition, group or transactional id.
        operation: String,
        /// Kafka's error code.
        code: ErrorCode,
        /// What the broker says about it.
        message: Option<String>,
    },
    /// A broker does not speak an API, or no version of it that we speak.
    #[error("{address} does not support {needed}")]
    Unsupported {
        /// `HOST:PORT`.
        address: String,
        /// API and versions.
        needed: String,
    },
    /// A broker sent what cannot be understood. Its connection is closed.
    #[error("{address} sent an answer that cannot be read: {reason}")]
    Protocol {
        /// `HOST:PORT`.
        address: String,
        /// What was wrong.
        reason: String,
    },
    /// A topic does not exist.
    #[error("topic {topic} does not exist")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// A partition does not exist.
    #[error("topic {topic} has no partition {partition}, only {partitions}")]
    UnknownPartition {
        /// The topic's name.
        topic: String,
        /// The index asked for.
        partition: i32,
        /// How many partitions there are.
        partitions: u32,
    },
    /// A record batch in a response is damaged.
    #[error("{topic}-{partition} at offset {offset}: {source}")]
    CorruptBatch {
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
        /// The offset that was being read.
        offset: i64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// No committed offset, or one that no longer exists, and the consumer was told not to choose another.
    #[error("{topic}-{partition} has no usable offset{at}; seek, commit one, or set what to start from",
        at = At(*offset))]
    NoOffset {
        /// The topic's name.
        topic: String,
        /// The partition's index.
        partition: i32,
        /// The offset that does not exist, if there was one.
        offset: Option<i64>,
    },
    /// Partitions are not read any more: a broker refuses that for good. Told once for all that stop at a time.
    #[error("{partitions} cannot be read: {source}", partitions = Partitions(partitions))]
    Unreadable {
        /// Topics and indexes, sorted.
        partitions: Vec<(Arc<str>, i32)>,
        /// Why.
        source: Box<Error>,
    },
    /// The consumer reads nothing any more, because all its partitions have stopped, each with an error that it told before.
    #[error("all partitions have stopped: {partitions}; last: {source}", partitions = Partitions(partitions))]
    AllStopped {
        /// Topics and indexes, sorted.
        partitions: Vec<(Arc<str>, i32)>,
        /// The last error.
        source: Box<Error>,
    },
    /// The topic that was to be read is gone, and another one has its name.
    #[error(
        "topic {topic} is another one than the one that was read: that had the id {read}, this has {found}"
    )]
    OtherTopic {
        /// The topic's name.
        topic: String,
        /// The id of the one that was to be read.
        read: uuid::Uuid,
        /// The id of the one that there is.
        found: uuid::Uuid,
    },
    /// A record that cannot be sent.
    #[error(
        "a record of {size} bytes is over the producer's limit of {limit}; raise max_request or send less"
    )]
    RecordTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The record was not sent because its transaction was aborted or its producer closed.
    #[error("the record was not sent: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// A record was sent, and it cannot be known whether it was written: who could say cannot be asked any more.
    #[error("the record may have been written or not, and the broker cannot be asked again: {source}")]
    OutcomeUnknown {
        /// What is in the way.
        source: Box<Error>,
    },
    /// An operation that the present state of the transaction does not allow.
    #[error("{operation} is not possible now: {reason}")]
    InvalidState {
        /// What was asked.
        operation: &'static str,
        /// What is in the way and what to do.
        reason: String,
    },
    /// A transaction cannot be committed any more and must be aborted.
    #[error("the transaction must be aborted: {source}")]
    AbortRequired {
        /// What happened to it.
        source: Box<Error>,
    },
    /// A newer producer with the same transactional id took over. This one must stop.
    #[error("{operation}: a newer producer with this transactional id has taken over; close this one")]
    Fenced {
        /// What was being done.
        operation: String,
    },
    /// An argument that makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// The client, producer or consumer was closed.
    #[error("closed")]
    Closed,
    /// A pipeline call failed; the text is the broker's.
    #[error("{operation}: {message}")]
    Rpc {
        /// What was asked.
        operation: &'static str,
        /// The kind of failure.
        code: RpcCode,
        /// What the broker says, with line and column for a script.
        message: String,
    },
}

/// The kinds of failure of a pipeline call that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RpcCode {
    /// The script or an argument is wrong.
    InvalidArgument,
    /// There is no pipeline of that name.
    NotFound,
    /// The name runs another script.
    AlreadyExists,
    /// The pipeline is not in a state that allows it.
    FailedPrecondition,
    /// The broker cannot be reached, or not now.
    Unavailable,
    /// It asks for more than one call may.
    ResourceExhausted,
    /// The broker does not have this call (it may not be Logmill).
    Unimplemented,
    /// Anything else.
    Other,
}

impl Error {
    /// The broker's error code, if it is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::AbortRequired { source }
            | Self::OutcomeUnknown { source }
            | Self::Unreadable { source, .. }
            | Self::AllStopped { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Whether trying the same again may succeed. Operations of this crate do so themselves until their time
    /// is over; what comes out of them is retriable only after a longer pause.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectionLost { .. } | Self::Timeout { .. } => true,
            Self::Broker { code, .. } => code.is_retriable() || *code == ErrorCode::CONCURRENT_TRANSACTIONS,
            Self::Rpc { code, .. } => *code == RpcCode::Unavailable,
            _ => false,
        }
    }

    /// Whether the running transaction can only be aborted. After that the producer goes on.
    pub fn requires_abort(&self) -> bool {
        match self {
            Self::AbortRequired { .. } => true,
            Self::Broker { code, .. } => *code == ErrorCode::TRANSACTION_ABORTABLE,
            _ => false,
        }
    }

    /// Whether the producer or consumer that gave the error is of no more use and must be closed.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Fenced { .. }
            | Self::Closed
            | Self::Unsupported { .. }
            | Self::Security { .. }
            | Self::AllStopped { .. } => true,
            Self::OutcomeUnknown { source } | Self::Unreadable { source, .. } => source.is_fatal(),
            Self::Broker { code, .. } => matches!(
                *code,
                ErrorCode::PRODUCER_FENCED
                    | ErrorCode::TRANSACTION_COORDINATOR_FENCED
                    | ErrorCode::INVALID_PRODUCER_ID_MAPPING
                    | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                    | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
                    | ErrorCode::SASL_AUTHENTICATION_FAILED
                    | ErrorCode::FENCED_INSTANCE_ID
                    | ErrorCode::UNSUPPORTED_VERSION
            ),
            _ => false,
        }
    }

    /// Whether a broker that was asked for leaders, or for one topic's, refuses for good. Anything else may be another answer
    /// the next time: one that cannot be read, or a broker's own trouble.
    pub(crate) fn is_refusal(&self) -> bool {
        let of_topic = match self {
            Self::Broker { code, .. } => {
                matches!(*code, ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::INVALID_TOPIC_EXCEPTION)
            }
            _ => false,
        };
        of_topic || self.is_fatal()
    }

    /// Whether both say the same, of whatever they were met at.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Security { reason, .. }, Self::Security { reason: other, .. }) => reason == other,
            (Self::Unsupported { needed, .. }, Self::Unsupported { needed: other, .. }) => needed == other,
            (Self::Broker { code, message, .. }, Self::Broker { code: other, message: said, .. }) => {
                code == other && message == said
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Whether what is known about topics and leaders may be out of date.
    pub(crate) fn wants_metadata(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectionLost { .. } => true,
            Self::Broker { code, .. } => matches!(
                *code,
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                    | ErrorCode::LEADER_NOT_AVAILABLE
                    | ErrorCode::NOT_LEADER_OR_FOLLOWER
                    | ErrorCode::NOT_CONTROLLER
                    | ErrorCode::REPLICA_NOT_AVAILABLE
                    | ErrorCode::KAFKA_STORAGE_ERROR
                    | ErrorCode::FENCED_LEADER_EPOCH
                    | ErrorCode::UNKNOWN_LEADER_EPOCH
                    | ErrorCode::UNKNOWN_TOPIC_ID
            ),
            _ => false,
        }
    }

    /// Whether the coordinator may have moved.
    pub(crate) fn wants_coordinator(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectionLost { .. } => true,
            Self::Broker { code, .. } => {
                matches!(*code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
            _ => false,
        }
    }

    /// An error code as a result. `operation` is only made when there is an error.
    pub(crate) fn check(
        code: ErrorCode,
        message: Option<&str>,
        operation: impl FnOnce() -> String,
    ) -> Result<()> {
        if code.is_ok() {
            return Ok(());
        }
        Err(Self::Broker { operation: operation(), code, message: message.map(str::to_owned) })
    }
}

struct Because<'a>(Option<&'a Error>);

impl std::fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(error) => write!(f, "; last: {error}"),
            None => Ok(()),
        }
    }
}

/// Names partitions, of very many the first.
struct Partitions<'a>(&'a [(Arc<str>, i32)]);

impl std::fmt::Display for Partitions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMED: usize = 32;
        for (place, (topic, partition)) in self.0.iter().take(NAMED).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{topic}-{partition}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

struct Detail<'a>(Option<&'a str>);

impl std::fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(message) if !message.is_empty() => write!(f, " ({message})"),
            _ => Ok(()),
        }
    }
}

struct At(Option<i64>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " (offset {offset} does not exist)"),
            None => Ok(()),
        }
    }
}
