//! The machine: hands each command to its file.

use super::command::Command;
use super::durable::Transactions;
use super::record::{Record, Transaction, TransactionState};
use super::reply::Reply;
use super::settings::Settings;
use super::turn::{Turn, Waiting};
use crate::{Machine, RequestId, Step};

/// The transactional ids of one partition of `__transaction_state`. Never parks a request.
#[derive(Debug, Clone)]
pub struct TransactionMachine {
    settings: Settings,
    pub(super) transactions: Transactions,
    waiting: Waiting,
}

impl TransactionMachine {
    /// A machine that has seen no records.
    pub fn new(settings: Settings) -> TransactionMachine {
        let transactions = Transactions::new(settings.id_expiry_ms);
        TransactionMachine { settings, transactions, waiting: Waiting::default() }
    }

    /// How many transactions are open, and since when the oldest one is, in ms since the epoch.
    pub fn open(&self) -> (usize, Option<i64>) {
        let open = |transaction: &&Transaction| transaction.state == TransactionState::Ongoing;
        let started = || self.transactions.iter().map(|(_, transaction)| transaction).filter(open);
        (started().count(), started().map(|transaction| transaction.started).min())
    }

    fn turn(&mut self, now: i64) -> Turn<'_> {
        Turn {
            now,
            settings: &self.settings,
            transactions: &self.transactions,
            waiting: &mut self.waiting,
            step: Step::nothing(),
        }
    }
}

impl Machine for TransactionMachine {
    type Command = Command;
    type Record = Record;
    type Reply = Reply;

    fn handle(&mut self, now: i64, request: RequestId, command: Command) -> Step<Record, Reply> {
        let mut turn = self.turn(now);
        match &command {
            Command::InitProducer(init) => turn.init_producer(request, init),
            Command::AddPartitions(add) => turn.add_partitions(request, add),
            Command::AddOffsets(add) => turn.add_offsets(request, add),
            Command::EndTransaction(end) => turn.end_transaction(request, end),
            Command::Describe(describe) => turn.describe(request, describe),
            Command::List(list) => turn.list(request, list),
        }
        turn.step
    }

    fn apply(&mut self, record: &Record) {
        self.transactions.apply(record);
    }

    /// Nothing at once: transactions an imported log has left in a `Prepare*` state are due now, one per
    /// call of [`Machine::on_deadline`].
    fn loaded(&mut self, _now: i64) -> Step<Record, Reply> {
        self.waiting = Waiting::default();
        Step::nothing()
    }

    fn next_deadline(&self) -> Option<i64> {
        self.transactions.next_due()
    }

    fn on_deadline(&mut self, now: i64) -> Step<Record, Reply> {
        let mut turn = self.turn(now);
        turn.expire();
        turn.step
    }
}
