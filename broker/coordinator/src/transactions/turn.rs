//! One input being worked on: what may be read, what may be changed, and what follows.

use std::collections::BTreeMap;

use super::durable::Transactions;
use super::record::{Marker, Record, Transaction};
use super::reply::{ProducerGrant, Reply};
use super::settings::Settings;
use crate::{ErrorCode, RequestId, Step, Str};

/// What is remembered and need not be durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Waiting {
    /// By transactional id: the (producer id, epoch) its producer had before it was given the current one
    /// in answer to that. It may ask again: the answer was lost. As in Kafka this is forgotten with the
    /// machine, and the retry fenced.
    pub(super) superseded: BTreeMap<Str, (i64, i16)>,
}

/// The commands are methods of this, one file each. Durable state can only be read here.
pub(super) struct Turn<'a> {
    pub(super) now: i64,
    pub(super) settings: &'a Settings,
    pub(super) transactions: &'a Transactions,
    pub(super) waiting: &'a mut Waiting,
    pub(super) step: Step<Record, Reply>,
}

impl Turn<'_> {
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.step.replies.push((request, reply));
    }

    pub(super) fn record(&mut self, transactional_id: &Str, value: Option<Transaction>) {
        self.step.records.push(Record::State { transactional_id: transactional_id.detached(), value });
    }

    pub(super) fn mark(&mut self, markers: Vec<Marker>) {
        self.step.records.extend(markers.into_iter().map(Record::Marker));
    }
}

impl ProducerGrant {
    pub(super) fn refused(error: ErrorCode) -> ProducerGrant {
        ProducerGrant { error, producer_id: -1, producer_epoch: -1 }
    }

    pub(super) fn of(transaction: &Transaction) -> ProducerGrant {
        ProducerGrant {
            error: ErrorCode::NONE,
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
        }
    }
}

/// What a producer with an old epoch is told: clients of requests below `known_from` do not know
/// PRODUCER_FENCED.
pub(super) fn fenced(version: i16, known_from: i16) -> ErrorCode {
    if version < known_from { ErrorCode::INVALID_PRODUCER_EPOCH } else { ErrorCode::PRODUCER_FENCED }
}
