//! Why a batch is not appended, in Kafka's words: the one place where Produce's error codes are chosen.

use std::borrow::Cow;
use std::fmt;

use logmill_record::BatchError;
use logmill_storage::Rejection;
use logmill_wire::ErrorCode;
use logmill_wire::messages::produce::{BatchIndexAndErrorMessage, PartitionProduceResponse};

use crate::coordinators::FirstProduceError;
use crate::handlers::told;
use crate::partitions::AppendError;

/// The first version that knows TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;
/// The first version whose clients wait and try again on CONCURRENT_TRANSACTIONS.
const CONCURRENT_FROM: i16 = 12;

/// The answer for one partition whose batch was not appended.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    code: ErrorCode,
    message: Option<String>,
    /// Positions in the batch of the records that are to blame, with the reason.
    records: Vec<(i32, Cow<'static, str>)>,
}

impl Refusal {
    pub(super) fn code(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }

    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), records: Vec::new() }
    }

    /// The topic is written by a pipeline alone.
    pub(super) fn owned(owner: &str) -> Self {
        Self::new(
            ErrorCode::POLICY_VIOLATION,
            format!("the topic belongs to pipeline {owner:?}, which alone writes to it"),
        )
    }

    /// Some records of the batch are not acceptable.
    pub(super) fn records(code: ErrorCode, records: Vec<(i32, Cow<'static, str>)>) -> Self {
        let message = "One or more records have been rejected".to_owned();
        Self { code, message: Some(message), records }
    }

    /// The bytes are not one good batch.
    pub(super) fn batch(error: &BatchError) -> Self {
        let code = match error {
            BatchError::Truncated { .. } | BatchError::InvalidLength { .. } | BatchError::Checksum { .. } => {
                ErrorCode::CORRUPT_MESSAGE
            }
            BatchError::UnknownCodec { .. } => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            BatchError::OverBudget { .. } | BatchError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
            // TrailingBytes: Produce has exactly one batch for each partition.
            _ => ErrorCode::INVALID_RECORD,
        };
        Self::new(code, error.to_string())
    }

    /// The log said no, or stopped.
    pub(super) fn append(error: AppendError) -> Self {
        let code = match &error {
            AppendError::Rejected(rejection) => rejection_code(rejection),
            // Indefinite: the client asks again, and an idempotent one is recognised.
            AppendError::Stopping => ErrorCode::REQUEST_TIMED_OUT,
        };
        Self::new(code, error.to_string())
    }

    /// The transaction coordinator or the log said no to a transaction's first batch in a partition.
    pub(super) fn first(error: FirstProduceError, version: i16) -> Self {
        match error {
            FirstProduceError::Coordinator(code) => Self::transaction(code, version),
            FirstProduceError::Append(error) => Self::append(error),
        }
    }

    /// A coordinator's code, as a produce of this version may see it.
    pub(super) fn transaction(code: ErrorCode, version: i16) -> Self {
        let seen = match code {
            // Produce keeps the error from which a client can go on by aborting (KIP-588).
            ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
            ErrorCode::TRANSACTION_ABORTABLE if version < ABORTABLE_FROM => ErrorCode::INVALID_TXN_STATE,
            ErrorCode::CONCURRENT_TRANSACTIONS if version >= CONCURRENT_FROM => code,
            // To a producer that does not know of coordinators: try again.
            ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
            other => other,
        };
        Self::code(seen)
    }

    pub(super) fn respond(self, index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.code,
            base_offset: -1,
            record_errors: self
                .records
                .into_iter()
                .map(|(batch_index, why)| BatchIndexAndErrorMessage {
                    batch_index,
                    batch_index_error_message: Some(told(&why)),
                })
                .collect(),
            error_message: self.message.as_deref().map(told),
            ..PartitionProduceResponse::default()
        }
    }
}

fn rejection_code(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::UnknownPartition { .. } => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        // An old sequence is not said to be a duplicate: producers take that for success, and whether these are the
        // records that were appended under it nobody knows any more.
        Rejection::OutOfOrderSequence { .. } | Rejection::DuplicateSequence { .. } => {
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        }
        Rejection::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        Rejection::TransactionNotOpen { .. } | Rejection::OutsideOpenTransaction { .. } => {
            ErrorCode::INVALID_TXN_STATE
        }
        Rejection::FrameTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        Rejection::InvalidBatch { .. } => ErrorCode::INVALID_RECORD,
        Rejection::StorageFull | Rejection::Failed => ErrorCode::KAFKA_STORAGE_ERROR,
        Rejection::Closed => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        // The coordinator's log, whose record goes into the same frame, has moved on: it is loaded again, and the batch may
        // come again.
        Rejection::ExpectedEnd { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.code)?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_refused_as_kafka_does() {
        let code = |error: BatchError| Refusal::batch(&error).code;
        assert_eq!(code(BatchError::Checksum { stored: 1, computed: 2 }), ErrorCode::CORRUPT_MESSAGE);
        assert_eq!(code(BatchError::TrailingBytes { extra: 61 }), ErrorCode::INVALID_RECORD);
        assert_eq!(code(BatchError::UnsupportedMagic { magic: 1 }), ErrorCode::INVALID_RECORD);
        assert_eq!(code(BatchError::ControlFromProducer), ErrorCode::INVALID_RECORD);
        assert_eq!(code(BatchError::UnknownCodec { id: 7 }), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }

    #[test]
    fn coordinators_words_depend_on_the_version() {
        let code = |code, version| Refusal::transaction(code, version).code;
        assert_eq!(code(ErrorCode::PRODUCER_FENCED, 13), ErrorCode::INVALID_PRODUCER_EPOCH);
        assert_eq!(code(ErrorCode::TRANSACTION_ABORTABLE, 10), ErrorCode::INVALID_TXN_STATE);
        assert_eq!(code(ErrorCode::TRANSACTION_ABORTABLE, 11), ErrorCode::TRANSACTION_ABORTABLE);
        assert_eq!(code(ErrorCode::CONCURRENT_TRANSACTIONS, 11), ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(code(ErrorCode::CONCURRENT_TRANSACTIONS, 12), ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(code(ErrorCode::NOT_COORDINATOR, 12), ErrorCode::NOT_ENOUGH_REPLICAS);
        // What a client of any version tries again.
        let partition = logmill_storage::PartitionId { topic: uuid::Uuid::nil(), partition: 0 };
        let moved_on = Rejection::ExpectedEnd { partition, expected: 4, actual: 5 };
        assert_eq!(rejection_code(&moved_on), ErrorCode::NOT_ENOUGH_REPLICAS);
    }
}
