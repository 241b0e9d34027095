//! The client's exactly-once loop against the built binary: dropped at any moment, and with its partitions moving from
//! one member to another, each record takes effect once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use logmill_client::{
    Client, Consumer, ConsumerRecord, Error, NewTopic, ProducerRecord, Reset, StartAt, Transaction,
};
use logmill_tests::process::{Broker, Chance, PATIENCE, Process, Scratch};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const PARTITIONS: u32 = 4;
/// Consumers come and go here all the time.
const FLAGS: [&str; 2] = ["--set", "groups.initial_rebalance_delay=10ms"];
/// Records given to `process` at a time.
const BATCH: usize = 40;

/// Numbers in `source`, spread over its partitions; and an empty `target`.
async fn fill(client: &Client, records: usize) {
    for topic in ["source", "target"] {
        let topic = NewTopic::new(topic).partitions(PARTITIONS).replication(1);
        client.admin().create_topic(&topic).await.expect("a topic");
    }
    write(client, 0..records).await;
}

async fn write(client: &Client, numbers: Range<usize>) {
    let producer = client.producer().build().await.expect("a producer");
    let mut acks = Vec::new();
    for number in numbers {
        let record = ProducerRecord::to("source").key(number.to_string()).value(number.to_string());
        acks.push(producer.enqueue(record).await.expect("room"));
    }
    for ack in acks {
        ack.await.expect("it is written");
    }
}

async fn copy(records: &[ConsumerRecord], transaction: &mut Transaction<'_>) -> Result<(), Error> {
    for record in records {
        let value = record.value.clone().expect("a number");
        drop(transaction.enqueue(ProducerRecord::to("target").value(value)).await?);
    }
    Ok(())
}

/// How often each number is in `target`, for who reads what is committed.
fn copies(broker: &Broker) -> BTreeMap<usize, usize> {
    let mut copies = BTreeMap::new();
    for line in broker.run(&["consume", "target", "--exit"]).lines() {
        *copies.entry(line.parse().expect("a number")).or_default() += 1;
    }
    copies
}

fn assert_once(broker: &Broker, records: usize) {
    let copies = copies(broker);
    let repeated: Vec<_> = copies.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "number and how often: {repeated:?}");
    let missing: Vec<usize> = (0..records).filter(|number| !copies.contains_key(number)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing");
}

/// Counts the numbers that readers of committed records have seen, without repetitions.
async fn watch(client: &Client) -> Arc<AtomicUsize> {
    let mut reader = client.reader().topic("target", StartAt::Earliest).build().await.expect("a reader");
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        let mut numbers = BTreeSet::new();
        while let Ok(record) = reader.next().await {
            numbers.insert(record.value);
            seen.store(numbers.len(), Ordering::Relaxed);
        }
    });
    count
}

fn copier(client: &Client) -> Consumer {
    let copier = client.consumer("copiers").topic("source").manual_commit();
    copier.reset(Reset::Earliest).build().expect("a consumer")
}

/// The loop is dropped again and again, also while its commit is on the way; the same consumer goes on, until it
/// gives nothing more.
#[test]
fn a_loop_that_is_dropped_anywhere_repeats_nothing() {
    const RECORDS: usize = 4_000;
    let scratch = Scratch::new();
    let broker = Process::serve_with(&scratch, "broker", "data", &FLAGS, &[]);
    let runtime = Runtime::new().expect("threads");
    let mut chance = Chance::seeded();
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        fill(&client, RECORDS).await;
        let mut producer = client.transactional("copier").build().await.expect("a producer");
        let mut consumer = copier(&client);
        let (copied, begun) = (watch(&client).await, Instant::now());
        let (mut before, mut calls) = (0, 0);
        loop {
            let now = copied.load(Ordering::Relaxed);
            assert!(begun.elapsed() < 3 * PATIENCE, "{now} of {RECORDS} are copied after {calls} calls");
            let pause = Duration::from_micros((chance.fraction() * 20_000.0) as u64 + 500);
            let ended = timeout(pause, producer.process(&mut consumer, BATCH, copy)).await;
            assert!(ended.is_err(), "it ends with an error only: {ended:?}");
            calls += 1;
            if now == RECORDS {
                break;
            }
            if calls % 50 == 0 {
                if now == before {
                    // Nobody knows what became of the partitions that are left: another consumer is told.
                    consumer.close().await;
                    consumer = copier(&client);
                }
                before = now;
            }
        }
        consumer.close().await;
        producer.close().await;
    });
    assert_once(&broker, RECORDS);
    assert!(broker.stop().status.success());
}

/// Copies until the whole input is done, or it is told to go.
async fn member(client: Client, id: &str, go: Arc<AtomicBool>) {
    let mut producer = client.transactional(id).build().await.expect("a producer");
    let mut consumer = copier(&client);
    // Longer each time: on a slow machine two members that leave too soon would only ever hand partitions to each other.
    let mut stint = Duration::from_millis(200);
    while !go.load(Ordering::Relaxed) {
        // The work looks whether to go, so that no commit is left in doubt.
        let told = Arc::clone(&go);
        let worked = producer.process(&mut consumer, BATCH, async move |records, transaction| {
            copy(records, transaction).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
            if told.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
        });
        match timeout(stint, worked).await {
            Ok(Err(Error::Closed)) => {}
            Ok(ended) => panic!("{id}: {ended:?}"),
            Err(_elapsed) => {
                // It waited for records; or lost its partitions with a commit on the way.
                consumer.close().await;
                consumer = copier(&client);
                stint = (stint * 2).min(Duration::from_secs(5));
            }
        }
    }
    consumer.close().await;
    producer.close().await;
}

/// One member stays, others come and go: each time partitions change hands, with transactions under way.
#[test]
fn a_loop_whose_partitions_change_hands_repeats_nothing() {
    const RECORDS: usize = 6_000;
    let scratch = Scratch::new();
    let broker = Process::serve_with(&scratch, "broker", "data", &FLAGS, &[]);
    let runtime = Runtime::new().expect("threads");
    let written = runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        fill(&client, RECORDS).await;
        let (copied, begun) = (watch(&client).await, Instant::now());
        let stay = Arc::new(AtomicBool::new(false));
        let staying = tokio::spawn(member(client.clone(), "stays", Arc::clone(&stay)));
        let (mut guests, mut written) = (0, RECORDS);
        while copied.load(Ordering::Relaxed) < written || guests < 2 {
            assert!(begun.elapsed() < 3 * PATIENCE, "{copied:?} of {written} after {guests} guests");
            if copied.load(Ordering::Relaxed) == written {
                // The first guest took so long to go that the work was done meanwhile.
                write(&client, written..written + RECORDS).await;
                written += RECORDS;
            }
            let go = Arc::new(AtomicBool::new(false));
            let guest = tokio::spawn(member(client.clone(), "comes", Arc::clone(&go)));
            // Until something was copied with it there, be the machine slow or fast.
            let (came, before) = (Instant::now(), copied.load(Ordering::Relaxed));
            while copied.load(Ordering::Relaxed) < (before + RECORDS / 10).min(written)
                && came.elapsed() < Duration::from_secs(10)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            go.store(true, Ordering::Relaxed);
            guest.await.expect("no panic");
            guests += 1;
        }
        stay.store(true, Ordering::Relaxed);
        staying.await.expect("no panic");
        written
    });
    assert_once(&broker, written);
    assert!(broker.stop().status.success());
}

/// A transaction that takes too long is aborted by the broker. That fences nobody: its producer aborts, and goes on.
#[test]
fn a_transaction_that_took_too_long_is_done_again() {
    const RECORDS: usize = 50;
    let scratch = Scratch::new();
    let broker = Process::serve_with(&scratch, "broker", "data", &FLAGS, &[]);
    let runtime = Runtime::new().expect("threads");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        fill(&client, RECORDS).await;
        let impatient = client.transactional("copier").transaction_timeout(Duration::from_millis(400));
        let mut producer = impatient.build().await.expect("a producer");
        let too_long = Duration::from_millis(1_500);

        let mut transaction = producer.begin().await.expect("a transaction");
        transaction.send(ProducerRecord::to("target").value("0")).await.expect("it is written");
        tokio::time::sleep(too_long).await;
        let ended = transaction.commit().await;
        assert!(matches!(ended, Err(Error::AbortRequired { .. })), "{ended:?}");

        let mut consumer = copier(&client);
        let (copied, mut delays) = (watch(&client).await, 2);
        let working = producer.process(&mut consumer, BATCH, async |records, transaction| {
            if delays == 2 {
                delays -= 1;
                copy(records, transaction).await?;
                transaction.send(ProducerRecord::to("target").value("0")).await?;
                // Its offsets come too late.
                tokio::time::sleep(too_long).await;
                return Ok(());
            }
            if delays == 1 {
                delays -= 1;
                transaction.send(ProducerRecord::to("target").value("0")).await?;
                // Its records come too late.
                tokio::time::sleep(too_long).await;
            }
            copy(records, transaction).await
        });
        let all = async {
            while copied.load(Ordering::Relaxed) < RECORDS {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = working => panic!("{ended:?}"),
            () = all => {}
            () = tokio::time::sleep(3 * PATIENCE) => panic!("{copied:?} of {RECORDS}"),
        }
    });
    assert_once(&broker, RECORDS);
    assert!(broker.stop().status.success());
}
