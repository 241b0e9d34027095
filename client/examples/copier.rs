//! Copies a topic in transactions, of which it gives up a third on purpose: what is committed is the input, each record once.
//! It is killed and started again by a check of the whole (`.ci/clients/transactions`), on this broker and on Apache Kafka.
//!
//! usage: copier BOOTSTRAP SOURCE TARGET GROUP ID process|by-hand
//!
//! As a member of the group, under the transactional id; either with the loop of the library, or with its parts. Goes on until
//! it is ended.

#![expect(clippy::print_stderr, reason = "what it says is shown when a check fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_client::{
    Client, Consumer, ConsumerRecord, Error, ProducerRecord, Reset, Result, StartAt, Transaction,
    TransactionalProducer,
};
use uuid::Uuid;

/// So few that who is killed is mostly in the middle of a transaction.
const BATCH: usize = 20;
/// What a killed process leaves open holds up readers for so long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest that Apache Kafka allows.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, source, target, group, id, how] = &*arguments else {
        eprintln!("usage: copier BOOTSTRAP SOURCE TARGET GROUP ID process|by-hand");
        std::process::exit(2);
    };
    loop {
        let ended = copy(bootstrap, source, target, group, id, how == "process").await;
        // What nobody knows the outcome of is known to the next producer of the id, and to the next member of the group.
        eprintln!("begins again: {ended:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn copy(
    bootstrap: &str,
    source: &str,
    target: &str,
    group: &str,
    id: &str,
    with_loop: bool,
) -> Result<()> {
    let client = Client::connect(bootstrap).await?;
    let builder = client.transactional(id).transaction_timeout(TRANSACTION_TIMEOUT);
    let mut producer = builder.build().await?;
    let member = client.consumer(group).topic(source).manual_commit().reset(Reset::Earliest);
    let mut consumer = member.session_timeout(SESSION_TIMEOUT).build()?;
    let ended = if with_loop {
        let work = async |records: &[ConsumerRecord], transaction: &mut Transaction<'_>| {
            write(target, records, transaction).await?;
            if gives_up() {
                let source = Box::new(Error::InvalidArgument("on purpose".to_owned()));
                return Err(Error::AbortRequired { source });
            }
            Ok(())
        };
        producer.process(&mut consumer, BATCH, work).await
    } else {
        by_hand(&mut producer, &mut consumer, target).await
    };
    // A member that leaves is not waited for.
    consumer.close().await;
    producer.close().await;
    ended
}

async fn by_hand(producer: &mut TransactionalProducer, consumer: &mut Consumer, target: &str) -> Result<()> {
    loop {
        // From before the records: whoever lost them meanwhile does not commit them.
        let membership = consumer.membership();
        let records = consumer.next_batch(BATCH).await?;
        let (mut begins, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for record in &records {
            let partition = (&*record.topic, record.partition);
            begins.entry(partition).or_insert(record.offset);
            ends.insert(partition, record.offset + 1);
        }
        let offsets: Vec<(&str, i32, i64)> =
            ends.iter().map(|((topic, partition), end)| (*topic, *partition, *end)).collect();
        // Who is no member yet would not be fenced.
        if membership.generation >= 0 {
            let mut transaction = producer.begin().await?;
            write(target, &records, &mut transaction).await?;
            transaction.send_offsets(&membership, &offsets).await?;
            if !gives_up() {
                transaction.commit().await?;
                continue;
            }
            transaction.abort().await?;
        }
        for ((topic, partition), begin) in begins {
            consumer.seek(topic, partition, StartAt::Offset(begin))?;
        }
    }
}

/// Each record to where it was in the source, acknowledged: what is given up then has been written.
async fn write(target: &str, records: &[ConsumerRecord], transaction: &mut Transaction<'_>) -> Result<()> {
    let mut written = Vec::with_capacity(records.len());
    for record in records {
        let mut copy = ProducerRecord::to(target).partition(record.partition);
        if let Some(key) = record.key.clone() {
            copy = copy.key(key);
        }
        if let Some(value) = record.value.clone() {
            copy = copy.value(value);
        }
        written.push(transaction.enqueue(copy).await?);
    }
    for ack in written {
        ack.await?;
    }
    Ok(())
}

/// By chance, one time in three.
fn gives_up() -> bool {
    Uuid::new_v4().as_u128().is_multiple_of(3)
}
