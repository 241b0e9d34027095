//! What the transaction coordinator answers.

use super::{TopicPartition, TransactionState};
use crate::{ErrorCode, Str};

/// The answer to the command of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `InitProducer`.
    Initialised(ProducerGrant),
    /// To `AddPartitions`, in the order asked. When one may not be added none is: the others get
    /// OPERATION_NOT_ATTEMPTED only where the caller refuses some itself.
    PartitionsAdded(Vec<(TopicPartition, ErrorCode)>),
    /// To `AddOffsets`.
    OffsetsAdded(ErrorCode),
    /// To `EndTransaction`: with which producer id and epoch to go on (sent from version 5).
    Ended(ProducerGrant),
    /// To `Describe`, in the order asked.
    Described(Vec<Description>),
    /// To `List`, sorted by transactional id.
    Listed(Listed),
}

/// A producer id and epoch, or an error and -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerGrant {
    /// Error or `None`.
    pub error: ErrorCode,
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
}

/// One transactional id in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// TRANSACTIONAL_ID_NOT_FOUND when unknown, and the rest is empty.
    pub error: ErrorCode,
    /// The transactional id.
    pub transactional_id: Str,
    /// Its state.
    pub state: TransactionState,
    /// How long its transactions may take, in ms.
    pub timeout_ms: i32,
    /// When the open transaction began, in ms; -1 when none is open.
    pub started: i64,
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Partitions in the open transaction, sorted.
    pub partitions: Vec<TopicPartition>,
}

/// ListTransactions' answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Names of states asked for that do not exist.
    pub unknown_states: Vec<Str>,
    /// The transactional ids.
    pub transactions: Vec<Listing>,
}

/// One transactional id in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The transactional id.
    pub transactional_id: Str,
    /// Producer id.
    pub producer_id: i64,
    /// Its state.
    pub state: TransactionState,
}
