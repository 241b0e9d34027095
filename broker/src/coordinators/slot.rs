//! One machine with its log: loading it, asking it, and taking in what was sequenced.

use std::collections::BTreeMap;

use bytes::Bytes;
use logmill_coordinator::SchemaError;
use logmill_coordinator::groups::GroupMachine;
use logmill_coordinator::transactions::TransactionMachine;
use logmill_coordinator::{Machine, RequestId, Step};
use logmill_record::Batch;
use logmill_record::control::EndTxnMarker;
use logmill_storage::{Isolation, ReadError, ReadRequest};
use tokio::sync::oneshot;

use super::commit::CommitError;
use super::gate::Gate;
use super::log_records;
use crate::partitions::Partition;

/// How much of a coordinator's log is read at a time, and the most a batch of it may unpack to.
const READ_BYTES: usize = 1 << 20;

/// A machine that is loaded, and who waits for its answers.
pub(super) struct Slot<M: Machine> {
    pub(super) machine: M,
    pub(super) log: Partition,
    /// Where the log ends in the machine's eyes: it has applied everything before.
    pub(super) end: i64,
    /// The gate of the last frame that touched the machine.
    pub(super) gate: Gate,
    /// Who waits for which answer; dropped with the slot, which tells them to ask again.
    waiting: BTreeMap<RequestId, oneshot::Sender<M::Reply>>,
}

/// Why a machine cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// It is being loaded, or frames are on their way to its log; ask again in a moment.
    #[error("the coordinator is being loaded, or frames of it are not durable yet")]
    InProgress,
    #[error("the internal topic has no such partition")]
    NoSuchPartition,
    /// It was tried a moment ago.
    #[error("the coordinator is not available and will be loaded again")]
    Resting,
    #[error("what was left half done could not be completed: {0}")]
    Commit(CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Record(#[from] SchemaError),
    #[error("a batch of the coordinator's log at offset {offset} cannot be read: {detail}")]
    Batch { offset: i64, detail: String },
}

/// A machine that can be loaded from its log.
pub(super) trait Loadable: Machine {
    fn take_in(&mut self, batch: &Batch) -> Result<(), LoadError>;
}

impl Loadable for GroupMachine {
    fn take_in(&mut self, batch: &Batch) -> Result<(), LoadError> {
        let header = batch.header();
        if header.is_control() {
            if let Ok(marker) = EndTxnMarker::from_batch(batch) {
                self.apply_marker(header.producer_id, header.producer_epoch, marker.commit);
            }
            return Ok(());
        }
        let producer = header.is_transactional().then_some((header.producer_id, header.producer_epoch));
        for_each_record(batch, |key, value| {
            if let Some(record) = log_records::decode_group(key, value, producer)? {
                self.apply(&record);
            }
            Ok(())
        })
    }
}

impl Loadable for TransactionMachine {
    fn take_in(&mut self, batch: &Batch) -> Result<(), LoadError> {
        if batch.header().is_control() {
            return Ok(());
        }
        for_each_record(batch, |key, value| {
            if let Some(record) = log_records::decode_transaction(key, value)? {
                self.apply(&record);
            }
            Ok(())
        })
    }
}

fn for_each_record(
    batch: &Batch,
    mut take: impl FnMut(Option<Bytes>, Option<Bytes>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let unreadable = |detail: String| LoadError::Batch { offset: batch.header().base_offset, detail };
    for record in batch.records(READ_BYTES).map_err(|error| unreadable(error.to_string()))? {
        take(record.key, record.value)?;
    }
    Ok(())
}

impl<M: Loadable> Slot<M> {
    /// Reads the log to its end.
    pub(super) fn load(mut machine: M, log: Partition) -> Result<Self, LoadError> {
        let end = log.sequenced_end();
        if log.published().high_watermark != end {
            return Err(LoadError::InProgress);
        }
        let mut offset = log.published().log_start_offset;
        while offset < end {
            let read = log.read(ReadRequest {
                offset,
                max_bytes: READ_BYTES,
                isolation: Isolation::Uncommitted,
                min_one_batch: true,
            })?;
            let before = offset;
            for chunk in read.chunks {
                for batch in logmill_record::batch::batches(chunk) {
                    let batch =
                        batch.map_err(|error| LoadError::Batch { offset, detail: error.to_string() })?;
                    machine.take_in(&batch)?;
                    offset = batch.header().next_offset();
                }
            }
            if offset == before {
                return Err(LoadError::Batch { offset, detail: "the log has a gap".into() });
            }
        }
        Ok(Self { machine, log, end, gate: Gate::open(), waiting: BTreeMap::new() })
    }

    /// Whether nothing was written to the log that the machine has not applied.
    pub(super) fn is_at_end(&self) -> bool {
        self.log.sequenced_end() == self.end
    }
}

impl<M: Machine> Slot<M>
where
    M::Reply: Send + 'static,
{
    /// Registers a request whose answer will be released.
    pub(super) fn wait_for(&mut self, request: RequestId) -> oneshot::Receiver<M::Reply> {
        let (answer, waiter) = oneshot::channel();
        self.waiting.insert(request, answer);
        waiter
    }

    /// Takes in a step whose frame was sequenced (or that had no records): applies, and releases the
    /// answers when everything before them is durable.
    pub(super) fn finish(&mut self, step: Step<M::Record, M::Reply>, frame: Option<(&Gate, i64)>) {
        for record in &step.records {
            self.machine.apply(record);
        }
        if let Some((gate, end)) = frame {
            self.gate = gate.clone();
            self.end = end;
        }
        for (request, reply) in step.replies {
            if let Some(answer) = self.waiting.remove(&request) {
                self.gate.after(move || {
                    // A client that went away needs no answer.
                    let _ = answer.send(reply);
                });
            }
        }
    }
}
