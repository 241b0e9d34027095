//! Producers of one partition: epochs, sequences, open transactions (KIP-98, KIP-890).
//!
//! `check_*` decides what would happen to a batch and changes nothing; [`Producers::apply`] lets it happen and cannot
//! fail. The sequencer checks and then applies; recovery only applies.
//!
//! ```text
//! known producer   same epoch    first sequence = last + 1 (0 after i32::MAX)    one of the last 5: duplicate
//!                  newer epoch   first sequence = 0
//!                  older epoch   InvalidEpoch
//! unknown          any sequence; 0 when the client speaks transaction version 2
//! ```
//!
//! A batch that lies before the remembered ones is out of order, never a duplicate: where an unknown producer began with
//! another sequence than 0 it may be one that was refused, and its client would take "duplicate" for "written".

pub mod snapshot;

use std::collections::BTreeMap;

use logmill_record::{BatchHeader, EndTxnMarker, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP};

use super::transactions::{EndedTransaction, OpenTransactions, TransactionEvent};

/// Batches remembered per producer, to recognise duplicates: what a client may have in flight.
pub const REMEMBERED_BATCHES: usize = 5;
/// Coordinator epoch of a producer that no marker has ended a transaction of.
pub const NO_COORDINATOR_EPOCH: i32 = -1;

/// What would happen to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be appended.
    Accept,
    /// It was appended before, at these offsets.
    Duplicate(Remembered),
    /// It may not be appended.
    Reject(Reject),
}

/// Why a batch may not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The sequence does not follow the last one.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: sequence {first_sequence} does not follow {last_sequence}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the batch.
        producer_epoch: i16,
        /// First sequence of the batch.
        first_sequence: i32,
        /// Last sequence appended, -1 when there is none in this epoch.
        last_sequence: i32,
    },
    /// The epoch is below the one known: another instance of the producer has taken over.
    #[error("producer {producer_id}: epoch {producer_epoch} is not valid, {current_epoch} is current")]
    InvalidEpoch {
        /// The producer.
        producer_id: i64,
        /// Epoch of the batch or marker.
        producer_epoch: i16,
        /// Epoch known here.
        current_epoch: i16,
    },
    /// A transactional batch, and this producer epoch has no open transaction here.
    #[error("producer {producer_id} epoch {producer_epoch} has no open transaction in the partition")]
    TransactionNotOpen {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the batch.
        producer_epoch: i16,
    },
    /// A transaction of the producer is open here, and the batch is not part of it: not transactional, or of a newer
    /// epoch, whose coordinator should have ended it first.
    #[error(
        "producer {producer_id} epoch {producer_epoch}: a transaction of epoch {open_epoch} is open in the partition \
         since offset {first_offset} and the batch is not part of it"
    )]
    OutsideOpenTransaction {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the batch.
        producer_epoch: i16,
        /// Epoch of the open transaction.
        open_epoch: i16,
        /// Where it began.
        first_offset: i64,
    },
    /// A marker of a coordinator that has been replaced.
    #[error("producer {producer_id}: coordinator epoch {found} is not valid, {current} is current")]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// Epoch of the marker.
        found: i32,
        /// Epoch known here.
        current: i32,
    },
}

/// A batch that a producer appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its first sequence, -1 without.
    pub first_sequence: i32,
    /// Its last sequence, -1 without.
    pub last_sequence: i32,
    /// Its base offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// Its maximum timestamp, ms.
    pub timestamp: i64,
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    transaction_first_offset: Option<i64>,
    /// When expiry first found it silent, by the clock of whoever asked; not in snapshots.
    idle_since: Option<i64>,
    /// Oldest first; `remembered` of them count.
    batches: [Remembered; REMEMBERED_BATCHES],
    remembered: u8,
}

/// A producer, for whoever asks (DescribeProducers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerView {
    /// Producer id.
    pub producer_id: i64,
    /// Newest epoch seen.
    pub producer_epoch: i16,
    /// Last sequence appended, -1 without.
    pub last_sequence: i32,
    /// Timestamp of its last batch or marker, ms, -1 without.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, -1 without.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_first_offset: Option<i64>,
}

/// A producer as it was, to put back ([`Producers::save`]).
#[derive(Debug, Clone)]
#[must_use = "to be given to `restore` when the frame is rejected"]
pub struct SavedProducer {
    producer_id: i64,
    producer: Option<Producer>,
}

/// Where each producer appended last. Compaction keeps what these batches say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastAppends {
    /// Epoch, and last offset of the newest batch of that epoch; none when there was only a marker.
    by_id: BTreeMap<i64, (i16, Option<i64>)>,
}

impl LastAppends {
    /// The batch is the newest of its producer.
    pub fn is_last(&self, header: &BatchHeader) -> bool {
        if !header.has_producer() {
            return false;
        }
        self.by_id.get(&header.producer_id).is_some_and(|(epoch, last_offset)| match last_offset {
            Some(last_offset) => *last_offset == header.last_offset(),
            None => header.is_control() && header.producer_epoch == *epoch,
        })
    }
}

/// The producers of one partition, and its open transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<i64, Producer>,
    open: OpenTransactions,
}

impl Producers {
    /// What would happen to a client's batch. `begins`: the same frame adds the partition to the producer's transaction.
    ///
    /// Batches without a producer id are always accepted.
    pub fn check_client(&self, header: &BatchHeader, begins: bool, transaction_v2: bool) -> Verdict {
        if !header.has_producer() {
            return Verdict::Accept;
        }
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        let known = self.by_id.get(&producer_id);
        if let Some(duplicate) = known.and_then(|producer| producer.duplicate_of(header)) {
            return Verdict::Duplicate(duplicate);
        }
        let checked = Self::check_epoch(known, header).and_then(|()| {
            let open = known.is_some_and(|p| p.transaction_first_offset.is_some());
            if header.is_transactional() && !open && !begins {
                return Err(Reject::TransactionNotOpen { producer_id, producer_epoch });
            }
            Self::check_inside_transaction(known, header)?;
            Self::check_sequence(known, header, transaction_v2)
        });
        checked.map_or_else(Verdict::Reject, |()| Verdict::Accept)
    }

    /// What would happen to a batch of the broker's own (coordinators, pipelines): epochs count, sequences do not.
    pub fn check_internal(&self, header: &BatchHeader) -> Verdict {
        if !header.has_producer() {
            return Verdict::Accept;
        }
        let known = self.by_id.get(&header.producer_id);
        let checked =
            Self::check_epoch(known, header).and_then(|()| Self::check_inside_transaction(known, header));
        checked.map_or_else(Verdict::Reject, |()| Verdict::Accept)
    }

    /// What would happen to the marker that ends the producer's transaction.
    ///
    /// Under transaction version 2 the marker's epoch is above that of the data; the same epoch with no open transaction
    /// is a coordinator trying again, and is accepted.
    pub fn check_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        transaction_v2: bool,
    ) -> Verdict {
        let Some(known) = self.by_id.get(&producer_id) else { return Verdict::Accept };
        let retried = producer_epoch == known.epoch && known.transaction_first_offset.is_none();
        let valid = if transaction_v2 {
            producer_epoch > known.epoch || retried
        } else {
            producer_epoch >= known.epoch
        };
        if !valid {
            let current_epoch = known.epoch;
            return Verdict::Reject(Reject::InvalidEpoch { producer_id, producer_epoch, current_epoch });
        }
        if coordinator_epoch < known.coordinator_epoch {
            return Verdict::Reject(Reject::CoordinatorFenced {
                producer_id,
                found: coordinator_epoch,
                current: known.coordinator_epoch,
            });
        }
        Verdict::Accept
    }

    /// A batch is appended; its header carries its offset. `marker` for a control batch that ends a transaction.
    /// To be called in the order of offsets, with every batch of the partition.
    pub fn apply(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) -> Option<TransactionEvent> {
        if !header.has_producer() {
            return None;
        }
        let producer_id = header.producer_id;
        if header.is_control() {
            return self.apply_marker(header, marker?);
        }
        let producer = self.by_id.entry(producer_id).or_insert_with(Producer::unknown);
        producer.idle_since = None;
        producer.move_to_epoch(header.producer_epoch);
        producer.remember(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        });
        producer.last_timestamp = header.max_timestamp;
        if !header.is_transactional() || producer.transaction_first_offset.is_some() {
            return None;
        }
        let first_offset = header.base_offset;
        producer.transaction_first_offset = Some(first_offset);
        self.open.begin(first_offset, producer_id);
        Some(TransactionEvent::Began { producer_id, first_offset })
    }

    fn apply_marker(&mut self, header: &BatchHeader, marker: EndTxnMarker) -> Option<TransactionEvent> {
        let producer_id = header.producer_id;
        let producer = self.by_id.entry(producer_id).or_insert_with(Producer::unknown);
        producer.idle_since = None;
        producer.move_to_epoch(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = header.max_timestamp;
        let first_offset = producer.transaction_first_offset.take()?;
        self.open.end(first_offset);
        let last_offset = header.last_offset();
        Some(TransactionEvent::Ended(EndedTransaction {
            producer_id,
            first_offset,
            last_offset,
            committed: marker.commit,
            last_stable_offset: self.open.first_offset().unwrap_or(last_offset + 1),
        }))
    }

    /// The producer as it is now, to take back what `apply` does to it. Producers are independent of each other, so a
    /// frame saves each producer it touches before it applies, and restores them in the opposite order.
    pub fn save(&self, producer_id: i64) -> SavedProducer {
        SavedProducer { producer_id, producer: self.by_id.get(&producer_id).cloned() }
    }

    /// Puts a producer back as it was.
    pub fn restore(&mut self, saved: SavedProducer) {
        let SavedProducer { producer_id, producer } = saved;
        self.remove(producer_id);
        if let Some(producer) = producer {
            self.insert(producer_id, producer);
        }
    }

    /// Forgets producers that have appended nothing for `after_ms`, except those with an open transaction: counted by
    /// the caller's clock, from the call that first finds nothing new. The times of records do not matter; they are
    /// those of events, which may be of any year. Returns how many.
    pub fn expire(&mut self, now: i64, after_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, producer| {
            let since = producer.idle_since.get_or_insert(now);
            // A clock that was set back must not make it wait until then.
            *since = (*since).min(now);
            let since = *since;
            producer.transaction_first_offset.is_some() || now.saturating_sub(since) < after_ms
        });
        before - self.by_id.len()
    }

    /// The open transactions.
    pub fn open_transactions(&self) -> &OpenTransactions {
        &self.open
    }

    /// Every producer, by id.
    pub fn views(&self) -> impl Iterator<Item = ProducerView> + '_ {
        self.by_id.iter().map(|(producer_id, producer)| producer.view(*producer_id))
    }

    /// One producer, if it is known.
    pub fn view(&self, producer_id: i64) -> Option<ProducerView> {
        self.by_id.get(&producer_id).map(|producer| producer.view(producer_id))
    }

    /// Where each producer appended last.
    pub fn last_appends(&self) -> LastAppends {
        let last =
            |producer: &Producer| (producer.epoch, producer.batches().last().map(|batch| batch.last_offset));
        LastAppends { by_id: self.by_id.iter().map(|(id, producer)| (*id, last(producer))).collect() }
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// No producer is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn insert(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.transaction_first_offset {
            self.open.begin(first_offset, producer_id);
        }
        self.by_id.insert(producer_id, producer);
    }

    fn remove(&mut self, producer_id: i64) {
        let removed = self.by_id.remove(&producer_id);
        if let Some(first_offset) = removed.and_then(|producer| producer.transaction_first_offset) {
            self.open.end(first_offset);
        }
    }

    fn check_epoch(known: Option<&Producer>, header: &BatchHeader) -> Result<(), Reject> {
        match known {
            Some(known) if header.producer_epoch < known.epoch => Err(Reject::InvalidEpoch {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                current_epoch: known.epoch,
            }),
            _ => Ok(()),
        }
    }

    /// While a transaction is open, every batch of its producer is part of it.
    fn check_inside_transaction(known: Option<&Producer>, header: &BatchHeader) -> Result<(), Reject> {
        let Some((known, first_offset)) = known.and_then(|p| Some((p, p.transaction_first_offset?))) else {
            return Ok(());
        };
        if header.is_transactional() && header.producer_epoch == known.epoch {
            return Ok(());
        }
        Err(Reject::OutsideOpenTransaction {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            open_epoch: known.epoch,
            first_offset,
        })
    }

    fn check_sequence(
        known: Option<&Producer>,
        header: &BatchHeader,
        transaction_v2: bool,
    ) -> Result<(), Reject> {
        let first_sequence = header.base_sequence;
        let out_of_order = |last_sequence| Reject::OutOfOrderSequence {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            first_sequence,
            last_sequence,
        };
        let Some(known) = known else {
            // Nothing is known any more, as after retention; transaction version 2 begins each transaction at 0.
            let possible = !transaction_v2 || first_sequence == 0;
            return if possible { Ok(()) } else { Err(out_of_order(NO_SEQUENCE)) };
        };
        if known.epoch == NO_PRODUCER_EPOCH {
            return Ok(());
        }
        if header.producer_epoch != known.epoch {
            return if first_sequence == 0 { Ok(()) } else { Err(out_of_order(NO_SEQUENCE)) };
        }
        let last_sequence = known.last_sequence();
        if first_sequence == next_sequence(last_sequence) {
            return Ok(());
        }
        Err(out_of_order(last_sequence))
    }
}

impl Producer {
    fn unknown() -> Producer {
        const NOTHING: Remembered = Remembered {
            first_sequence: NO_SEQUENCE,
            last_sequence: NO_SEQUENCE,
            base_offset: -1,
            last_offset: -1,
            timestamp: NO_TIMESTAMP,
        };
        Producer {
            epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            last_timestamp: NO_TIMESTAMP,
            transaction_first_offset: None,
            idle_since: None,
            batches: [NOTHING; REMEMBERED_BATCHES],
            remembered: 0,
        }
    }

    fn view(&self, producer_id: i64) -> ProducerView {
        ProducerView {
            producer_id,
            producer_epoch: self.epoch,
            last_sequence: self.last_sequence(),
            last_timestamp: self.last_timestamp,
            coordinator_epoch: self.coordinator_epoch,
            transaction_first_offset: self.transaction_first_offset,
        }
    }

    fn batches(&self) -> &[Remembered] {
        &self.batches[..usize::from(self.remembered)]
    }

    fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Sequences start again with each epoch.
    fn move_to_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.remembered = 0;
        }
    }

    fn remember(&mut self, batch: Remembered) {
        if usize::from(self.remembered) == REMEMBERED_BATCHES {
            self.batches.rotate_left(1);
            self.remembered -= 1;
        }
        self.batches[usize::from(self.remembered)] = batch;
        self.remembered += 1;
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<Remembered> {
        if header.producer_epoch != self.epoch || header.base_sequence == NO_SEQUENCE {
            return None;
        }
        let last_sequence = header.last_sequence();
        self.batches()
            .iter()
            .find(|b| b.first_sequence == header.base_sequence && b.last_sequence == last_sequence)
            .copied()
    }
}

fn next_sequence(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

#[cfg(test)]
mod tests;
