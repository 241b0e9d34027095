//! The one writer of `__logmill_metadata`.

use logmill_record::builder::{BatchBuilder, BatchOptions};
use logmill_storage::{Append, Check, Frame, Isolation, ReadError, ReadRequest, Rejection};

use super::schema::{MetadataRecord, SchemaError};
use crate::partitions::{Acknowledge, Partition, Partitions};

/// How much of the log is read at a time, and the most a batch of it may unpack to.
const READ_BYTES: usize = 1 << 20;

/// Why the metadata could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The log refused the change; nothing happened.
    #[error("the metadata log refused the change: {0}")]
    Rejected(#[from] Rejection),
    /// The broker stopped before the change was durable.
    #[error("the broker is stopping; whether the change was made is unknown")]
    Stopping,
    /// The log could not be read.
    #[error("the metadata log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A batch of the log could not be read.
    #[error("the metadata log has an unreadable batch at offset {offset}: {detail}")]
    Batch {
        /// The batch's base offset.
        offset: i64,
        /// What is wrong.
        detail: String,
    },
    /// A record of the log could not be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// How far the metadata log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataState {
    /// The epoch of its leader, this node.
    pub leader_epoch: i32,
    /// The offset behind its last durable record.
    pub high_watermark: i64,
}

/// The metadata log, open for writing. There is one, and whoever changes metadata holds it.
pub struct MetadataLog {
    partitions: Partitions,
    log: Partition,
}

impl MetadataLog {
    /// Takes the log; nobody else may write it.
    #[must_use]
    pub fn new(partitions: Partitions, log: Partition) -> Self {
        Self { partitions, log }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> MetadataState {
        let high_watermark = self.log.published().high_watermark;
        MetadataState { leader_epoch: self.log.leader_epoch(), high_watermark }
    }

    /// Reads every record, oldest first.
    ///
    /// # Errors
    /// [`MetadataError`]: a broker that cannot read its metadata must not start.
    pub fn load(&self) -> Result<Vec<MetadataRecord>, MetadataError> {
        let mut records = Vec::new();
        let mut offset = self.log.published().log_start_offset;
        while offset < self.log.published().high_watermark {
            let read = self.log.read(ReadRequest {
                offset,
                max_bytes: READ_BYTES,
                isolation: Isolation::Uncommitted,
                min_one_batch: true,
            })?;
            for chunk in read.chunks {
                for batch in logmill_record::batch::batches(chunk) {
                    let unreadable = |detail: String| MetadataError::Batch { offset, detail };
                    let batch = batch.map_err(|error| unreadable(error.to_string()))?;
                    for record in batch.records(READ_BYTES).map_err(|error| unreadable(error.to_string()))? {
                        let key = record.key.unwrap_or_default();
                        records.push(MetadataRecord::decode(&key, record.value.as_deref())?);
                    }
                    offset = batch.header().next_offset();
                }
            }
        }
        Ok(records)
    }

    /// The append of the records as one batch, for a frame of more. The log must stay held until the frame is sequenced.
    pub(crate) fn append_of(&self, now_ms: i64, records: &[MetadataRecord]) -> Append {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            let (key, value) = record.encode();
            builder.push(now_ms, Some(&key), value.as_deref(), &[]);
        }
        let check = Check::Internal { expected_end: Some(self.log.sequenced_end()) };
        Append { partition: self.log.id(), batch: builder.build(), check }
    }

    /// Appends the records as one batch and waits until they are durable.
    ///
    /// # Errors
    /// [`MetadataError::Rejected`] is definite, [`MetadataError::Stopping`] is not.
    pub async fn append(&mut self, now_ms: i64, records: &[MetadataRecord]) -> Result<(), MetadataError> {
        let append = self.append_of(now_ms, records);
        let (_, durable) = self.partitions.commit(Frame::from(vec![append]), Acknowledge::Durable)?;
        match durable {
            Some(durable) => durable.await.map_err(|_| MetadataError::Stopping),
            None => Ok(()),
        }
    }
}
