//! One file of tests per command, and what they share.

mod add;
mod end;
mod expire;
mod init;
mod schema;
mod show;

use super::*;
use crate::testing::Driven;
use crate::{ErrorCode, Machine};

pub(super) type Broker = Driven<TransactionMachine>;

pub(super) const TIMEOUT: i32 = 60_000;
/// A producer id no test uses otherwise.
pub(super) const FRESH: i64 = 777;

pub(super) fn broker() -> Broker {
    Driven::new(TransactionMachine::new(Settings { coordinator_epoch: 5, ..Settings::default() }))
}

pub(super) fn partition(index: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: index }
}

pub(super) fn init(current: Option<(i64, i16)>, fresh: i64) -> InitProducer {
    InitProducer {
        version: 5,
        transactional_id: "x".into(),
        timeout_ms: TIMEOUT,
        current,
        fresh_producer_id: fresh,
    }
}

pub(super) fn stored(producer_id: i64, epoch: i16, state: TransactionState) -> Transaction {
    let open = state == TransactionState::Ongoing || state.is_ending();
    Transaction {
        producer_id,
        previous_producer_id: -1,
        next_producer_id: -1,
        producer_epoch: epoch,
        next_producer_epoch: -1,
        timeout_ms: TIMEOUT,
        state,
        partitions: if open { [partition(0), partition(1)].into() } else { Default::default() },
        started: if open { 1_000_000 } else { -1 },
        updated: 1_000_000,
        client_version: 2,
    }
}

pub(super) fn granted(producer_id: i64, producer_epoch: i16) -> ProducerGrant {
    ProducerGrant { error: ErrorCode::NONE, producer_id, producer_epoch }
}

impl Broker {
    /// A machine whose log says this about the transactional id `x`.
    pub(super) fn with(value: Transaction) -> Broker {
        let mut broker = broker();
        broker.log.push(Record::State { transactional_id: "x".into(), value: Some(value) });
        let machine = broker.machine.clone();
        broker.reload(machine);
        broker
    }

    pub(super) fn init(&mut self, init: InitProducer) -> ProducerGrant {
        match self.ask(Command::InitProducer(init)) {
            Reply::Initialised(grant) => grant,
            other => panic!("not a grant: {other:?}"),
        }
    }

    /// Adds partitions to the transaction of `x`, in the way of a version 2 client.
    pub(super) fn add(&mut self, producer: (i64, i16), partitions: &[i32]) -> ErrorCode {
        self.add_as(producer, partitions, AddMode::Implicit, 5)
    }

    pub(super) fn add_as(
        &mut self,
        (producer_id, producer_epoch): (i64, i16),
        partitions: &[i32],
        mode: AddMode,
        version: i16,
    ) -> ErrorCode {
        let add = AddPartitions {
            version,
            transactional_id: "x".into(),
            producer_id,
            producer_epoch,
            partitions: partitions.iter().map(|index| partition(*index)).collect(),
            mode,
        };
        match self.ask(Command::AddPartitions(add)) {
            Reply::PartitionsAdded(answers) => {
                assert!(answers.iter().map(|(one, _)| one.partition).eq(partitions.iter().copied()));
                answers.iter().map(|(_, error)| *error).find(|e| *e != ErrorCode::NONE).unwrap_or_default()
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// Ends the transaction of `x`: version 5 and above by the rules of transaction version 2.
    pub(super) fn end(&mut self, version: i16, producer: (i64, i16), commit: bool) -> ProducerGrant {
        let end = EndTransaction {
            version,
            transactional_id: "x".into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            commit,
            fresh_producer_id: FRESH,
        };
        match self.ask(Command::EndTransaction(end)) {
            Reply::Ended(grant) => grant,
            other => panic!("not a grant: {other:?}"),
        }
    }

    /// The last state on record.
    pub(super) fn last(&self) -> &Transaction {
        let last = self.log.iter().rev().find_map(|record| match record {
            Record::State { value: Some(value), .. } => Some(value),
            _ => None,
        });
        last.expect("a state")
    }

    pub(super) fn markers(&self) -> Vec<&Marker> {
        let markers = self.log.iter().filter_map(|record| match record {
            Record::Marker(marker) => Some(marker),
            Record::State { .. } => None,
        });
        markers.collect()
    }

    pub(super) fn restart(&mut self) {
        self.reload(broker().machine);
    }
}
