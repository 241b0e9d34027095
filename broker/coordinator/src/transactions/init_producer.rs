//! InitProducerId: a new incarnation of a producer takes over its transactional id, or a living one asks
//! for the next epoch (KIP-360). Whatever transaction is open is aborted in the same step.

use super::command::InitProducer;
use super::record::{Transaction, TransactionState};
use super::reply::{ProducerGrant, Reply};
use super::turn::{Turn, fenced};
use crate::limits::MAX_NAME_BYTES;
use crate::{ErrorCode, RequestId};

/// From this version clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 4;

impl Turn<'_> {
    pub(super) fn init_producer(&mut self, request: RequestId, init: &InitProducer) {
        let grant = match self.check_init(init) {
            Ok(Standing::Unknown) => self.begin_producer(init),
            Ok(Standing::Retry(current)) => current,
            Ok(Standing::TakesOver(transaction)) => self.take_over(init, &transaction),
            Err(error) => ProducerGrant::refused(error),
        };
        self.reply(request, Reply::Initialised(grant));
    }

    fn check_init(&self, init: &InitProducer) -> Result<Standing, ErrorCode> {
        if init.transactional_id.is_empty() || init.transactional_id.len() > MAX_NAME_BYTES {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if init.timeout_ms <= 0 || init.timeout_ms > self.settings.max_timeout_ms {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        let Some(transaction) = self.transactions.get(&init.transactional_id) else {
            return Ok(Standing::Unknown);
        };
        if transaction.state.is_ending() {
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        match init.current {
            None => {}
            // Imported: the id was made and never given to anybody.
            Some(_) if transaction.producer_epoch < 0 => {}
            Some(current) if current == (transaction.producer_id, transaction.producer_epoch) => {}
            Some(current) if self.waiting.superseded.get(&init.transactional_id) == Some(&current) => {
                return Ok(Standing::Retry(ProducerGrant::of(transaction)));
            }
            Some(_) => return Err(fenced(init.version, FENCED_FROM)),
        }
        Ok(Standing::TakesOver(Box::new(transaction.clone())))
    }

    /// The transactional id's first producer. A client that comes with a producer id of its own outlived
    /// the expiry of its transactional id.
    fn begin_producer(&mut self, init: &InitProducer) -> ProducerGrant {
        let transaction = Transaction {
            producer_id: init.fresh_producer_id,
            previous_producer_id: -1,
            next_producer_id: -1,
            producer_epoch: 0,
            next_producer_epoch: -1,
            timeout_ms: init.timeout_ms,
            state: TransactionState::Empty,
            partitions: Default::default(),
            started: -1,
            updated: self.now,
            client_version: 0,
        };
        let grant = ProducerGrant::of(&transaction);
        self.waiting.superseded.remove(&init.transactional_id);
        self.record(&init.transactional_id, Some(transaction));
        grant
    }

    /// The next epoch fences the producer before, in its markers too: one bump does for both.
    fn take_over(&mut self, init: &InitProducer, before: &Transaction) -> ProducerGrant {
        match init.current {
            Some(current) => self.waiting.superseded.insert(init.transactional_id.detached(), current),
            None => self.waiting.superseded.remove(&init.transactional_id),
        };
        let markers = before.markers(false, before.fenced().producer_epoch, self.settings.coordinator_epoch);
        let bumped = before.bumped(init.fresh_producer_id).closed(TransactionState::Empty, self.now);
        let after = Transaction { timeout_ms: init.timeout_ms, ..bumped };
        let grant = ProducerGrant::of(&after);
        self.record(&init.transactional_id, Some(after));
        self.mark(markers);
        grant
    }
}

enum Standing {
    /// Nobody had the transactional id.
    Unknown,
    /// It has what it asks for already.
    Retry(ProducerGrant),
    /// It fences who was there before.
    TakesOver(Box<Transaction>),
}
