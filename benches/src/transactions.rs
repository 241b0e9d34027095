//! W8: transactions, one after the other: a record to each of some partitions in one request, then the commit.
//!
//! The newest protocol (KIP-890): partitions join with their first batch, and the end gives the next epoch. What a server
//! says to try again is tried again after a moment that is shorter than any client's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use logmill_record::{BatchBuilder, BatchOptions, ProducerStamp};
use logmill_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use logmill_wire::messages::{EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest};
use logmill_wire::{ErrorCode, Str};

use crate::histogram::Histogram;
use crate::link::{Link, TOPIC};
use crate::schedule::Schedule;

/// Adds partitions to transactions by itself.
const PRODUCE_VERSION: i16 = 12;
const INIT_VERSION: i16 = 4;
const END_VERSION: i16 = 5;
const FIND_VERSION: i16 = 4;
/// The key of a transactional id, not of a group.
const TRANSACTIONAL: i8 = 1;
const RECORD_BYTES: usize = 100;
/// The producer's time of all records.
const TIMESTAMP: i64 = 1_700_000_000_000;
const RETRY: Duration = Duration::from_micros(500);
/// Nothing is said to be tried again for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What some producers got through together.
#[derive(Clone, Debug)]
pub(crate) struct Commits {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// From the first byte of a transaction to the answer to its commit.
    pub(crate) took: Histogram,
}

/// Each producer commits one transaction after the other for so long, with one batch of one record for each of
/// `partitions` partitions; as far as there are enough of `all` partitions, they share none.
pub(crate) fn run(
    address: SocketAddr,
    producers: u32,
    partitions: i32,
    all: i32,
    time: Duration,
) -> anyhow::Result<Commits> {
    let own = |number: i32| (0..partitions).map(|at| (number * partitions + at) % all).collect();
    let ready = (0..producers.cast_signed())
        .map(|number| Producer::start(address, number, own(number)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let start = Instant::now();
    let commit = |mut producer: Producer| -> anyhow::Result<Histogram> {
        let mut took = Histogram::new();
        while start.elapsed() < time {
            let began = Instant::now();
            producer.transaction()?;
            took.add(began.elapsed());
        }
        Ok(took)
    };
    let mut took = Histogram::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            ready.into_iter().map(|producer| scope.spawn(move || commit(producer))).collect();
        for thread in threads {
            took.merge(&thread.join().map_err(|_panic| anyhow::anyhow!("a producer panicked"))??);
        }
        anyhow::Ok(())
    })?;
    Ok(Commits { count: took.count(), elapsed: start.elapsed(), took })
}

/// How long a produce takes, and a transaction with the same batches.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) produces: Histogram,
    pub(crate) transactions: Histogram,
}

/// A plain produce with `acks=all` and a transaction in turn, `per_second` of both a second, from when each is sent. The
/// first tenth is left out.
pub(crate) fn added(
    address: SocketAddr,
    partitions: i32,
    per_second: u32,
    count: u32,
) -> anyhow::Result<Added> {
    let mut producer = Producer::start(address, 0, (0..partitions).collect())?;
    let mut added = Added { produces: Histogram::new(), transactions: Histogram::new() };
    let schedule = Schedule::new(Instant::now(), per_second);
    for index in 0..count {
        schedule.wait(index);
        let began = Instant::now();
        let is_transaction = index % 2 == 1;
        if is_transaction {
            producer.transaction()?;
        } else {
            producer.produce()?;
        }
        if index >= count / 10 {
            let histogram = if is_transaction { &mut added.transactions } else { &mut added.produces };
            histogram.add(began.elapsed());
        }
    }
    Ok(added)
}

/// A transactional producer.
struct Producer {
    link: Link,
    id: Str,
    producer_id: i64,
    epoch: i16,
    partitions: Vec<i32>,
    plain: Bytes,
}

impl Producer {
    /// Takes over the transactional id of that number.
    fn start(address: SocketAddr, number: i32, partitions: Vec<i32>) -> anyhow::Result<Self> {
        let mut link = Link::open(address)?;
        link.introduce()?;
        let id = Str::from(format!("bench-{number}"));
        let find = FindCoordinatorRequest {
            key_type: TRANSACTIONAL,
            coordinator_keys: vec![id.clone()],
            ..FindCoordinatorRequest::default()
        };
        // Apache Kafka makes the topic of the transactions now.
        again_until("FindCoordinator", || {
            let response = link.ask(&find, FIND_VERSION)?;
            let coordinator = response.coordinators.first().context("no coordinator in the answer")?;
            Ok((coordinator.error_code, ()))
        })?;
        let init = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let (producer_id, epoch) = again_until("InitProducerId", || {
            let response = link.ask(&init, INIT_VERSION)?;
            Ok((response.error_code, (response.producer_id, response.producer_epoch)))
        })?;
        Ok(Self { link, id, producer_id, epoch, partitions, plain: batch(None) })
    }

    fn transaction(&mut self) -> anyhow::Result<()> {
        let stamp = ProducerStamp { id: self.producer_id, epoch: self.epoch, sequence: 0 };
        self.write(&batch(Some(stamp)), Some(self.id.clone()))?;
        let end = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed: true,
        };
        let link = &mut self.link;
        (self.producer_id, self.epoch) = again_until("EndTxn", || {
            let response = link.ask(&end, END_VERSION)?;
            Ok((response.error_code, (response.producer_id, response.producer_epoch)))
        })?;
        Ok(())
    }

    fn produce(&mut self) -> anyhow::Result<()> {
        self.write(&self.plain.clone(), None)
    }

    /// The batch to every partition, in one request.
    fn write(&mut self, batch: &Bytes, transactional_id: Option<Str>) -> anyhow::Result<()> {
        let mut left = self.partitions.clone();
        let link = &mut self.link;
        again_until("Produce", || {
            let data = |&index: &i32| PartitionProduceData { index, records: Some(batch.clone()) };
            let partition_data = left.iter().map(data).collect();
            let topic =
                TopicProduceData { name: TOPIC.into(), partition_data, ..TopicProduceData::default() };
            let request = ProduceRequest {
                transactional_id: transactional_id.clone(),
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![topic],
            };
            let response = link.ask(&request, PRODUCE_VERSION)?;
            let answers = response.responses.first().map_or(&[][..], |topic| &topic.partition_responses);
            ensure!(answers.len() == left.len(), "{} answers for {} partitions", answers.len(), left.len());
            left.clear();
            let mut told = ErrorCode::NONE;
            for answer in answers.iter().filter(|answer| answer.error_code != ErrorCode::NONE) {
                left.push(answer.index);
                // One that does not pass is the one to tell of.
                if told == ErrorCode::NONE || !passes(answer.error_code) {
                    told = answer.error_code;
                }
            }
            Ok((told, ()))
        })
    }
}

/// One record, of a transaction or of nobody.
fn batch(producer: Option<ProducerStamp>) -> Bytes {
    let transactional = producer.is_some();
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
    builder.push(TIMESTAMP, None, Some(&[b'x'; RECORD_BYTES]), &[]);
    builder.build().into_bytes()
}

/// Asks until the server has time for it.
fn again_until<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<(ErrorCode, T)>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match ask()? {
            (ErrorCode::NONE, answer) => return Ok(answer),
            (code, _) if passes(code) && began.elapsed() < PATIENCE => std::thread::sleep(RETRY),
            (code, _) => bail!("{what}: {code:?}"),
        }
    }
}

/// What a client tries again by itself: the transaction before is being ended, or the broker has just started.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
    )
}

#[cfg(test)]
mod tests {
    use logmill_record::Batch;

    use super::*;

    #[test]
    fn a_transactions_batch_names_its_producer() {
        let stamp = ProducerStamp { id: 7, epoch: 3, sequence: 0 };
        let batch = Batch::validate(batch(Some(stamp))).unwrap();
        let header = batch.header();
        assert_eq!((header.producer_id, header.producer_epoch, header.count), (7, 3, 1));
        assert!(header.is_transactional());
        assert!(!Batch::validate(super::batch(None)).unwrap().header().is_transactional());
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let mut codes = [ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::NONE].into_iter();
        let mut next = || Ok((codes.next().context("no more")?, 5));
        assert_eq!(again_until("x", &mut next).unwrap(), 5);
        let error = again_until("x", || Ok((ErrorCode::PRODUCER_FENCED, ()))).unwrap_err();
        assert_eq!(error.to_string(), "x: PRODUCER_FENCED");
    }
}
