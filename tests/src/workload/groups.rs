//! Clients whose partitions a group chooses: readers that subscribe, and members of the library's exactly-once loop. They come
//! and go, and are cut off with everybody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::history::{Action, Outcome, Partition, Polled, Process, Sending, Transaction, Value};
use crate::process::Chance;
use logmill_client::{
    Client, Consumer, ConsumerRecord, Error, Isolation, ProducerRecord, Reset, Result, Transaction as Open,
};

use super::{World, encode, patience, value};

/// Whose offsets are committed outside of transactions.
pub(crate) const READERS: &str = "readers";
/// Whose loop moves `output` on to `moved`.
pub(crate) const MOVERS: &str = "movers";
/// What moved records say is this, the input's partition and its offset.
const MOVES: u64 = 2_000_000_000;
/// The shortest a broker allows: a member that was cut off holds up the others for so long.
const SESSION: Duration = Duration::from_secs(6);
/// Records of one transaction of the loop, or of one poll.
const BATCH: usize = 20;

/// A member of a group that reads committed records from the beginning.
fn member(client: &Client, group: &str, topics: &[&str]) -> Option<Consumer> {
    let mut builder = client.consumer(group).manual_commit().session_timeout(SESSION);
    for topic in topics {
        builder = builder.topic(*topic);
    }
    builder.reset(Reset::Earliest).isolation(Isolation::Committed).build().ok()
}

/// What a poll gave to a member: where it goes on from is its group's to say.
fn polled(records: &[ConsumerRecord]) -> Outcome {
    let place = |record: &ConsumerRecord| Partition::new(&record.topic, record.partition).at(record.offset);
    let records = records.iter().map(|record| (place(record), value(record))).collect();
    Outcome::Polled(Polled { records, positions: Vec::new() })
}

/// Where a reader of records is behind them.
fn behind(records: &[ConsumerRecord]) -> BTreeMap<(&str, i32), i64> {
    records.iter().map(|record| ((&*record.topic, record.partition), record.offset + 1)).collect()
}

/// Until it is over, for a moment between half a second and four.
async fn a_stay(world: &World, chance: &mut Chance) {
    let stay = tokio::time::Instant::now() + Duration::from_millis(500 + chance.below(3_500));
    while !world.is_over() && tokio::time::Instant::now() < stay {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads as one of a group, and commits how far it has come.
pub async fn subscriber(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        let process = world.recorder.process();
        let Some(client) = world.client().await else { continue };
        let Some(mut consumer) = member(&client, READERS, &["orders", "output"]) else { continue };
        let asked = world.ask(process, Action::Subscribe);
        world.recorder.answer(&asked, Outcome::Done);
        tokio::select! {
            biased;
            () = read(&world, process, &mut consumer) => {}
            () = a_stay(&world, &mut chance) => {}
        }
        consumer.close().await;
    }
}

/// Until something goes wrong. Dropped anywhere, what was asked for and not answered has no known outcome.
async fn read(world: &World, process: Process, consumer: &mut Consumer) {
    loop {
        let asked = world.ask(process, Action::Poll(None));
        let Ok(records) = consumer.next_batch(BATCH).await else { return };
        world.recorder.answer(&asked, polled(&records));
        let ends = behind(&records);
        let offsets = ends.iter().map(|((topic, number), end)| (Partition::new(topic, *number), *end));
        let (group, offsets) = (READERS.into(), offsets.collect());
        let asked = world.ask(process, Action::CommitOffsets { group, transaction: None, offsets });
        let offsets: Vec<_> = ends.iter().map(|((topic, number), end)| (*topic, *number, *end)).collect();
        if !world.done(&asked, &consumer.commit_offsets(&offsets).await) {
            return;
        }
        world.subscribed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Moves `output` on to `moved` with the library's loop, which commits by itself: what came of a commit is known only by
/// what is read, here and by everybody else.
pub async fn mover(world: Arc<World>, id: String, mut chance: Chance) {
    while !world.is_over() {
        let process = world.recorder.process();
        let Some(client) = world.client().await else { continue };
        let patience = patience(&mut chance);
        let builder = client.transactional(&*id).patience(patience).delivery_timeout(patience);
        let builder = builder.transaction_timeout(world.settings.transaction_timeout);
        let Ok(mut producer) = builder.build().await else { continue };
        let Some(mut consumer) = member(&client, MOVERS, &["output"]) else { continue };
        let asked = world.ask(process, Action::Subscribe);
        world.recorder.answer(&asked, Outcome::Done);
        let mut by_chance = Chance::of(chance.below(1 << 40));
        let work = {
            let world = Arc::clone(&world);
            async move |records: &[ConsumerRecord], open: &mut Open<'_>| {
                let transaction = world.begin();
                let asked = world.ask(process, Action::Poll(Some(transaction)));
                world.recorder.answer(&asked, polled(records));
                move_on(&world, process, transaction, records, open).await?;
                if world.is_over() || by_chance.below(6) == 0 {
                    // Its answer is the library's to see.
                    let _unanswered = world.ask(process, Action::Abort(transaction));
                    let source = Box::new(Error::InvalidArgument("by chance".to_owned()));
                    return Err(Error::AbortRequired { source });
                }
                let ends = behind(records);
                let offsets =
                    ends.iter().map(|((topic, number), end)| (Partition::new(topic, *number), *end));
                let (group, offsets) = (MOVERS.into(), offsets.collect());
                let action = Action::CommitOffsets { group, transaction: Some(transaction), offsets };
                let _unanswered = world.ask(process, action);
                let _unanswered = world.ask(process, Action::Commit(transaction));
                world.moved.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        };
        // Dropped anywhere, also while it commits.
        tokio::select! {
            biased;
            _ended = producer.process(&mut consumer, BATCH, work) => {}
            () = a_stay(&world, &mut chance) => {}
        }
        consumer.close().await;
        producer.close().await;
    }
}

/// A copy of each record, acknowledged.
async fn move_on(
    world: &World,
    process: Process,
    transaction: Transaction,
    records: &[ConsumerRecord],
    open: &mut Open<'_>,
) -> Result<()> {
    let mut waiting = Vec::new();
    for record in records {
        let copy_of = Partition::new("output", record.partition).at(record.offset);
        let value = Value(MOVES + record.partition as u64 * MOVES / 10 + record.offset as u64);
        let partition = Partition::new("moved", record.partition);
        let sending =
            Sending { transaction: Some(transaction), partition, key: None, value, copy_of: Some(copy_of) };
        let asked = world.ask(process, Action::Send(sending.clone()));
        let record: ProducerRecord = encode(&sending);
        waiting.push((asked, open.enqueue(record).await?));
    }
    // The loop waits for them as well, and aborts when one of them has failed.
    world.acknowledge(waiting).await;
    Ok(())
}
