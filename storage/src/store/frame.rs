//! What is committed, and the answer.

use logmill_record::Batch;

use super::sequencer::UNSEQUENCED;
use crate::PartitionId;
use crate::log::producers::Reject;

/// Called once, without any lock held, when a frame is durable and published (a frame that skips the journal: written and
/// published); for a duplicate, when the original is. Dropped uncalled only if the store dies first. Keep it short: it
/// runs on the thread of the journal or of an applier.
pub type Done = Option<Box<dyn FnOnce() + Send>>;

/// A set of appends, to any partitions, that happen together or not at all. It may also trim partitions.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// In this order; one partition may occur several times.
    pub appends: Vec<Append>,
    /// What else the frame was decided on: everything before these offsets is durable before the frame is. Only matters
    /// for partitions in page-cache mode, for instance the inputs of a pipeline's epoch. Partitions that the frame
    /// appends to need not be named.
    pub requires: Vec<(PartitionId, i64)>,
    /// Partitions and the first offsets to keep: records before are gone for readers when the frame is durable, and their
    /// segments are removed later. Not above the high watermark; an offset below the start changes nothing.
    pub trims: Vec<(PartitionId, i64)>,
}

impl From<Vec<Append>> for Frame {
    fn from(appends: Vec<Append>) -> Frame {
        Frame { appends, ..Frame::default() }
    }
}

/// One batch for one partition, and when it may be appended.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub partition: PartitionId,
    /// Gets its offset and leader epoch from the sequencer; in place when nobody else holds the bytes.
    pub batch: Batch,
    /// Precondition.
    pub check: Check,
}

impl Append {
    /// With bytes that nobody else holds: sequencing them copies nothing. It does not either where whoever commits has let go
    /// of them; one who keeps them does this before he takes a lock that others wait for.
    #[must_use]
    pub fn alone(self) -> Append {
        Append { batch: self.batch.stamped(UNSEQUENCED, 0), ..self }
    }
}

/// The precondition of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A client's produce. With a producer id: the rules of epochs and sequences of KIP-98, with the last five batches
    /// remembered. A transactional batch needs an open transaction of its producer's epoch in the partition.
    Client {
        /// The frame also holds the state record that adds the partition to the producer's transaction.
        begins: bool,
        /// The producer speaks transaction version 2: a producer unknown here begins at sequence 0 (KIP-890).
        transaction_v2: bool,
    },
    /// Coordinators, metadata, pipelines. May be transactional, and then opens the transaction in the partition.
    Internal {
        /// The sequenced end of the partition that the append was decided on (compare and append). In a frame with
        /// several appends to the partition this is its end before the first.
        expected_end: Option<i64>,
    },
    /// The control batch that ends a transaction.
    Marker {
        /// Epoch of the coordinator that decided.
        coordinator_epoch: i32,
        /// Transaction version 2: the marker's epoch is above the data's.
        transaction_v2: bool,
    },
}

/// A frame is sequenced: it has its place, and will be durable unless the machine goes down first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Grows with every frame that is sequenced while the store is open; for a duplicate, that of the newest frame. After
    /// a restart it goes on above every frame that went through the journal.
    pub sequence: u64,
    /// One for each append, in order.
    pub appends: Vec<Appended>,
}

/// Where an append has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// First offset of the partition that may be read.
    pub log_start_offset: i64,
    /// The batch had been appended before; these are its offsets from then.
    pub duplicate: bool,
}

/// A frame was not sequenced. This is definite: nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such partition, or it is being deleted.
    #[error("partition {0} does not exist")]
    UnknownPartition(PartitionId),
    /// The sequence does not follow the producer's last one in the partition.
    #[error("partition {partition}: {reason}")]
    OutOfOrderSequence {
        /// Where.
        partition: PartitionId,
        /// Producer, epoch and sequences.
        reason: Reject,
    },
    /// The batch was appended before, and the frame has other appends, which are new.
    #[error(
        "partition {partition}: producer {producer_id} epoch {producer_epoch}: sequence {first_sequence} was appended before"
    )]
    DuplicateSequence {
        /// Where.
        partition: PartitionId,
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
        /// First sequence of the batch.
        first_sequence: i32,
    },
    /// The producer's epoch is not the one in force in the partition.
    #[error("partition {partition}: {reason}")]
    InvalidProducerEpoch {
        /// Where.
        partition: PartitionId,
        /// Producer and epochs.
        reason: Reject,
    },
    /// A transactional batch without an open transaction of its producer's epoch.
    #[error("partition {partition}: {reason}")]
    TransactionNotOpen {
        /// Where.
        partition: PartitionId,
        /// Producer and epoch.
        reason: Reject,
    },
    /// A transaction of the producer is open in the partition, and the batch is not part of it.
    #[error("partition {partition}: {reason}")]
    OutsideOpenTransaction {
        /// Where.
        partition: PartitionId,
        /// Producer, epochs, and where the transaction began.
        reason: Reject,
    },
    /// The partition went on since the append was decided on.
    #[error("partition {partition}: decided on end offset {expected}, which is now {actual}")]
    ExpectedEnd {
        /// Where.
        partition: PartitionId,
        /// End that was expected.
        expected: i64,
        /// End that was found.
        actual: i64,
    },
    /// A marker of a coordinator that has been replaced.
    #[error("partition {partition}: {reason}")]
    CoordinatorFenced {
        /// Where.
        partition: PartitionId,
        /// Producer and coordinator epochs.
        reason: Reject,
    },
    /// The batch is not one that this check is for: a control batch from a client, a marker that is none, offsets that
    /// cannot be. A mistake of the caller, who has checked the batch.
    #[error("partition {partition}: {reason}")]
    InvalidBatch {
        /// Where.
        partition: PartitionId,
        /// What is wrong.
        reason: &'static str,
    },
    /// A partition cannot be trimmed beyond its high watermark.
    #[error(
        "partition {partition}: cannot delete records before offset {offset}, it ends at {high_watermark}"
    )]
    TrimOutOfRange {
        /// Where.
        partition: PartitionId,
        /// First offset that was to be kept.
        offset: i64,
        /// Offset after the last published record.
        high_watermark: i64,
    },
    /// A frame without appends and trims.
    #[error("the frame has no appends")]
    Empty,
    /// The frame is larger than a frame may be. Split it by partition if it may be split.
    #[error("the frame has {bytes} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes it would take in the journal.
        bytes: u64,
        /// Bytes it may take.
        limit: u64,
    },
    /// The disk is full. Accepted frames are safe; new ones are taken again when there is space.
    #[error("the disk is full; free space or delete data, and writing resumes by itself")]
    StorageFull,
    /// The store is closed or closing.
    #[error("the store is closed")]
    Closed,
    /// The store failed: the process must end.
    #[error("the store has failed and takes no more frames")]
    Failed,
}

impl Rejection {
    /// The partition that the rejection is about; none when it is about the frame or the store.
    pub fn partition(&self) -> Option<PartitionId> {
        match self {
            Rejection::UnknownPartition(partition)
            | Rejection::OutOfOrderSequence { partition, .. }
            | Rejection::DuplicateSequence { partition, .. }
            | Rejection::InvalidProducerEpoch { partition, .. }
            | Rejection::TransactionNotOpen { partition, .. }
            | Rejection::OutsideOpenTransaction { partition, .. }
            | Rejection::ExpectedEnd { partition, .. }
            | Rejection::CoordinatorFenced { partition, .. }
            | Rejection::TrimOutOfRange { partition, .. }
            | Rejection::InvalidBatch { partition, .. } => Some(*partition),
            Rejection::Empty
            | Rejection::FrameTooLarge { .. }
            | Rejection::StorageFull
            | Rejection::Closed
            | Rejection::Failed => None,
        }
    }

    pub(crate) fn from_reject(partition: PartitionId, reason: Reject) -> Rejection {
        match reason {
            Reject::OutOfOrderSequence { .. } => Rejection::OutOfOrderSequence { partition, reason },
            Reject::InvalidEpoch { .. } => Rejection::InvalidProducerEpoch { partition, reason },
            Reject::TransactionNotOpen { .. } => Rejection::TransactionNotOpen { partition, reason },
            Reject::OutsideOpenTransaction { .. } => Rejection::OutsideOpenTransaction { partition, reason },
            Reject::CoordinatorFenced { .. } => Rejection::CoordinatorFenced { partition, reason },
        }
    }
}
