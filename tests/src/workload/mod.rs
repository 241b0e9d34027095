//! Clients that do something of everything, all the time, and write down what they see. The same ones run against the real
//! binary and in simulation.

pub mod groups;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::history::{
    Action, Asked, Outcome, Partition, Polled, Process, Recorder, Sending, Start, Transaction, Value,
};
use crate::process::Chance;
use groups::{MOVERS, READERS};
use logmill_client::{
    Client, ClientBuilder, Consumer, ConsumerRecord, GroupMembership, Isolation, NewTopic, ProducerRecord,
    StartAt,
};

/// How long one call of a client may take while nobody serves it.
const CALL: Duration = Duration::from_secs(20);
/// What copies say is this, the input's partition and its offset.
const COPIES: u64 = 1_000_000_000;
/// The group of the loop that copies.
const COPIERS: &str = "copiers";

/// How the clients behave. By default as is good for a broker in real time.
#[derive(Debug, Clone)]
pub struct Settings {
    /// After so long the broker aborts an open transaction.
    pub transaction_timeout: Duration,
    /// The most bytes that a record carries besides what it says.
    pub padding_bytes: u64,
    /// Whether the topic with keys is compacted.
    pub compacts: bool,
    /// The longest that a writer pauses between two steps, ms.
    pub pause_ms: u64,
    /// Configs of all topics.
    pub configs: Vec<(&'static str, String)>,
}

impl Default for Settings {
    fn default() -> Settings {
        let transaction_timeout = Duration::from_secs(60);
        Settings { transaction_timeout, padding_bytes: 0, compacts: true, pause_ms: 10, configs: Vec::new() }
    }
}

/// What all clients share.
#[derive(Debug)]
pub struct World {
    client: ClientBuilder,
    settings: Settings,
    /// What they see.
    pub recorder: Recorder,
    values: AtomicU64,
    transactions: AtomicU64,
    /// Records acknowledged, transactions committed, and those of the loop that copies.
    acknowledged: AtomicU64,
    committed: AtomicU64,
    copied: AtomicU64,
    /// Polls of subscribers, and transactions of the library's loop.
    subscribed: AtomicU64,
    moved: AtomicU64,
    /// No new work is begun.
    pub stop: AtomicBool,
    /// Where readers may stop.
    ends: OnceLock<BTreeMap<Partition, i64>>,
}

fn partitions() -> Vec<Partition> {
    let of = |topic, count| (0..count).map(move |number| Partition::new(topic, number));
    of("orders", 2).chain(of("output", 2)).chain(of("moved", 2)).chain(of("latest", 1)).collect()
}

impl World {
    /// Nothing was done yet. Each client is made by `client`.
    pub fn new(client: ClientBuilder, settings: Settings) -> Arc<World> {
        let compacted: &[&str] = if settings.compacts { &["latest"] } else { &[] };
        Arc::new(World {
            client,
            recorder: Recorder::new(compacted),
            settings,
            values: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            subscribed: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            ends: OnceLock::new(),
        })
    }

    /// Makes the topics.
    pub async fn create_topics(&self, client: &Client) {
        let mut latest = NewTopic::new("latest").config("segment.ms", "1000");
        if self.settings.compacts {
            latest = latest.config("cleanup.policy", "compact").config("min.cleanable.dirty.ratio", "0.01");
        }
        let others = ["orders", "output", "moved"].map(|name| NewTopic::new(name).partitions(2));
        for mut topic in others.into_iter().chain([latest]) {
            for (name, value) in &self.settings.configs {
                topic = topic.config(*name, value.clone());
            }
            client.admin().create_topic(&topic).await.expect("a topic");
        }
    }

    /// A record as a client sends it, with something that is only there to be large.
    fn padded(&self, sending: &Sending, chance: &mut Chance) -> ProducerRecord {
        let record = encode(sending);
        match chance.below(self.settings.padding_bytes + 1) {
            0 => record,
            bytes => record.header("padding", vec![b'.'; bytes as usize]),
        }
    }

    async fn pause(&self, chance: &mut Chance) {
        tokio::time::sleep(Duration::from_millis(1 + chance.below(self.settings.pause_ms))).await;
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A transaction that is about to begin.
    pub fn begin(&self) -> Transaction {
        Transaction(self.transactions.fetch_add(1, Ordering::Relaxed))
    }

    /// A client, if it can connect in time.
    pub async fn client(&self) -> Option<Client> {
        self.client.clone().connect_within(CALL).await.ok()
    }

    /// A record of a writer: to a partition of the input, or with a key to the compacted topic.
    fn record(&self, transaction: Option<Transaction>, chance: &mut Chance) -> Sending {
        let value = Value(self.values.fetch_add(1, Ordering::Relaxed));
        let (partition, key) = match chance.below(3) as i32 {
            0 => (Partition::new("latest", 0), Some(chance.below(8))),
            number => (Partition::new("orders", number - 1), None),
        };
        Sending { transaction, partition, key, value, copy_of: None }
    }

    /// How much of each kind was done so far.
    pub fn progress(&self) -> [u64; 5] {
        let counters = [&self.acknowledged, &self.committed, &self.copied, &self.subscribed, &self.moved];
        counters.map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Writes down what is asked for.
    pub fn ask(&self, process: Process, action: Action) -> Asked {
        self.recorder.ask(process, action)
    }

    /// Writes down how something ended; whether it went well. What fails may still have happened.
    pub fn done<T, E>(&self, asked: &Asked, result: &Result<T, E>) -> bool {
        self.recorder.answer(asked, if result.is_ok() { Outcome::Done } else { Outcome::Unknown });
        result.is_ok()
    }

    /// Waits for acknowledgements; whether all came.
    pub async fn acknowledge(&self, waiting: Vec<(Asked, logmill_client::Ack)>) -> bool {
        let mut all = true;
        for (asked, ack) in waiting {
            match ack.await {
                Ok(place) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    self.recorder.answer(&asked, Outcome::Written(place.offset));
                }
                Err(_) => {
                    self.recorder.answer(&asked, Outcome::Unknown);
                    all = false;
                }
            }
        }
        all
    }
}

/// A record as a client sends it.
pub fn encode(sending: &Sending) -> ProducerRecord {
    let record = ProducerRecord::to(&*sending.partition.topic).partition(sending.partition.number);
    let record = record.value(sending.value.0.to_string());
    match sending.key {
        Some(key) => record.key(key.to_string()),
        None => record,
    }
}

/// Writes records of no transaction.
pub async fn plain(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        let process = world.recorder.process();
        let Some(client) = world.client().await else { continue };
        let Ok(producer) = client.producer().delivery_timeout(patience(&mut chance)).build().await else {
            continue;
        };
        let mut goes_on = true;
        while goes_on && !world.is_over() {
            let mut waiting = Vec::new();
            for _ in 0..4 {
                let sending = world.record(None, &mut chance);
                let asked = world.ask(process, Action::Send(sending.clone()));
                match producer.enqueue(world.padded(&sending, &mut chance)).await {
                    Ok(ack) => waiting.push((asked, ack)),
                    Err(_) => goes_on = false,
                }
            }
            goes_on &= world.acknowledge(waiting).await;
            world.pause(&mut chance).await;
        }
    }
}

/// Writes transactions over one to four records, some of which it aborts.
pub async fn transactional(world: Arc<World>, id: String, mut chance: Chance) {
    while !world.is_over() {
        let process = world.recorder.process();
        let Some(client) = world.client().await else { continue };
        let patience = patience(&mut chance);
        let builder = client.transactional(&*id).patience(patience).delivery_timeout(patience);
        let builder = builder.transaction_timeout(world.settings.transaction_timeout);
        let Ok(mut producer) = builder.build().await else { continue };
        while !world.is_over() {
            let Ok(mut open) = producer.begin().await else { break };
            let transaction = world.begin();
            let (mut waiting, mut whole) = (Vec::new(), true);
            for _ in 0..=chance.below(4) {
                let sending = world.record(Some(transaction), &mut chance);
                let asked = world.ask(process, Action::Send(sending.clone()));
                match open.enqueue(world.padded(&sending, &mut chance)).await {
                    Ok(ack) => waiting.push((asked, ack)),
                    Err(_) => whole = false,
                }
            }
            whole &= world.acknowledge(waiting).await;
            let ended = if whole && chance.below(4) > 0 {
                let asked = world.ask(process, Action::Commit(transaction));
                let committed = world.done(&asked, &open.commit().await);
                world.committed.fetch_add(u64::from(committed), Ordering::Relaxed);
                committed
            } else {
                let asked = world.ask(process, Action::Abort(transaction));
                world.done(&asked, &open.abort().await)
            };
            if !ended {
                break;
            }
            world.pause(&mut chance).await;
        }
    }
}

/// Most clients wait until the broker is back. Some give up before, and never learn what came of what they asked for.
pub fn patience(chance: &mut Chance) -> Duration {
    if chance.below(3) > 0 { CALL } else { Duration::from_millis(50 + chance.below(300)) }
}

/// Asks how far a group has come that reads some topics, and writes it down.
async fn group_offsets(
    world: &World,
    process: Process,
    client: &Client,
    (group, topics): (&str, &[&str]),
) -> Option<BTreeMap<Partition, i64>> {
    let asked = world.ask(process, Action::FetchOffsets { group: group.into() });
    let offsets = client.admin().group_offsets(group).await.ok()?;
    let known: BTreeMap<Partition, i64> = offsets
        .iter()
        .map(|offset| (Partition::new(&offset.topic, offset.partition), offset.offset))
        .collect();
    let inputs = partitions().into_iter().filter(|partition| topics.contains(&&*partition.topic));
    let fetched = inputs.map(|partition| (partition.clone(), known.get(&partition).copied())).collect();
    world.recorder.answer(&asked, Outcome::Fetched(fetched));
    Some(known)
}

/// A reader of partitions from where each is to begin, written down.
pub async fn reader(
    world: &World,
    process: Process,
    client: &Client,
    starts: Vec<(Partition, i64)>,
) -> Option<Consumer> {
    let mut builder = client.reader().isolation(Isolation::Committed);
    for (partition, offset) in &starts {
        builder = builder.partition(&*partition.topic, partition.number, StartAt::Offset(*offset));
    }
    let reader = builder.build().await.ok()?;
    let starts = starts.into_iter().map(|(partition, offset)| (partition, Start::At(offset))).collect();
    let asked = world.ask(process, Action::Assign(starts));
    world.recorder.answer(&asked, Outcome::Done);
    Some(reader)
}

/// What a record says.
pub fn value(record: &ConsumerRecord) -> Value {
    let text = std::str::from_utf8(record.value.as_ref().expect("a value")).expect("digits");
    Value(text.parse().expect("a number"))
}

/// One poll, written down.
pub async fn poll(
    world: &World,
    process: Process,
    transaction: Option<Transaction>,
    reader: &mut Consumer,
    most: usize,
) -> Vec<ConsumerRecord> {
    let asked = world.ask(process, Action::Poll(transaction));
    let records = match tokio::time::timeout(Duration::from_millis(300), reader.next_batch(most)).await {
        Ok(Ok(records)) => records,
        // An error comes before the first record only, and so does the end of patience.
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let place = |record: &ConsumerRecord| Partition::new(&record.topic, record.partition).at(record.offset);
    let positions = reader.positions().into_iter();
    let polled = Polled {
        records: records.iter().map(|record| (place(record), value(record))).collect(),
        positions: positions
            .map(|(topic, number, offset)| (Partition::new(&topic, number), offset))
            .collect(),
    };
    world.recorder.answer(&asked, Outcome::Polled(polled));
    records
}

/// Copies `orders` to `output`: reads, writes, and says how far it has come, all in one transaction.
pub async fn copier(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        let process = world.recorder.process();
        let Some(client) = world.client().await else { continue };
        // What an earlier one left is decided when this returns, so the offsets are the last ones.
        let patience = patience(&mut chance);
        let builder = client.transactional("copier").patience(patience).delivery_timeout(patience);
        let builder = builder.transaction_timeout(world.settings.transaction_timeout);
        let Ok(mut producer) = builder.build().await else { continue };
        let group = (COPIERS, &["orders"][..]);
        let Some(known) = group_offsets(&world, process, &client, group).await else { continue };
        let inputs = partitions().into_iter().filter(|partition| &*partition.topic == "orders");
        let starts = inputs.map(|partition| (partition.clone(), known.get(&partition).copied().unwrap_or(0)));
        let Some(mut input) = reader(&world, process, &client, starts.collect()).await else { continue };
        let mut goes_on = true;
        while goes_on && !world.is_over() {
            let transaction = world.begin();
            let records = poll(&world, process, Some(transaction), &mut input, 20).await;
            if records.is_empty() {
                continue;
            }
            let Ok(mut open) = producer.begin().await else { break };
            let (mut waiting, mut whole) = (Vec::new(), true);
            let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
            for record in &records {
                let copy_of = Partition::new("orders", record.partition).at(record.offset);
                let value = COPIES + record.partition as u64 * COPIES / 10 + record.offset as u64;
                let partition = Partition::new("output", chance.below(2) as i32);
                let (key, value, copy_of) = (None, Value(value), Some(copy_of));
                let sending = Sending { transaction: Some(transaction), partition, key, value, copy_of };
                let asked = world.ask(process, Action::Send(sending.clone()));
                match open.enqueue(world.padded(&sending, &mut chance)).await {
                    Ok(ack) => waiting.push((asked, ack)),
                    Err(_) => whole = false,
                }
                ends.insert(record.partition, record.offset + 1);
            }
            whole &= world.acknowledge(waiting).await;
            if whole {
                let offsets =
                    ends.iter().map(|(number, offset)| (Partition::new("orders", *number), *offset));
                let action = Action::CommitOffsets {
                    group: COPIERS.into(),
                    transaction: Some(transaction),
                    offsets: offsets.collect(),
                };
                let asked = world.ask(process, action);
                let offsets: Vec<_> =
                    ends.iter().map(|(number, offset)| ("orders", *number, *offset)).collect();
                let nobody = GroupMembership {
                    group: COPIERS.to_owned(),
                    generation: -1,
                    member_id: String::new(),
                    instance_id: None,
                };
                whole = world.done(&asked, &open.send_offsets(&nobody, &offsets).await);
            }
            goes_on = if whole && chance.below(6) > 0 {
                let asked = world.ask(process, Action::Commit(transaction));
                let committed = world.done(&asked, &open.commit().await);
                world.copied.fetch_add(u64::from(committed), Ordering::Relaxed);
                committed
            } else {
                let asked = world.ask(process, Action::Abort(transaction));
                world.done(&asked, &open.abort().await);
                // The input is read again.
                false
            };
        }
    }
}

/// Reads everything, to the end when there is one. Who that was.
pub async fn everything(world: Arc<World>) -> Process {
    let process = world.recorder.process();
    let mut input = from_the_beginning(&world, process).await;
    loop {
        poll(&world, process, None, &mut input, 100).await;
        if world.ends.get().is_some_and(|ends| is_behind(&input, ends)) {
            return process;
        }
    }
}

/// Reads what is there by now, from the beginnings, of a broker that serves.
pub async fn up_to_now(world: &World) -> Process {
    let process = world.recorder.process();
    let ends = ends(&world.client().await.expect("the broker serves")).await;
    let mut input = from_the_beginning(world, process).await;
    while !is_behind(&input, &ends) {
        poll(world, process, None, &mut input, 100).await;
    }
    process
}

/// A reader of all partitions, as soon as the broker gives one.
async fn from_the_beginning(world: &World, process: Process) -> Consumer {
    let starts = || partitions().into_iter().map(|partition| (partition, 0)).collect();
    loop {
        let Some(client) = world.client().await else { continue };
        if let Some(reader) = reader(world, process, &client, starts()).await {
            return reader;
        }
    }
}

/// Whether a reader has come to all of these ends.
fn is_behind(input: &Consumer, ends: &BTreeMap<Partition, i64>) -> bool {
    let at = |partition: &Partition| input.position(&partition.topic, partition.number);
    ends.iter().all(|(partition, end)| at(partition) >= Some(*end))
}

/// Where all partitions end, for readers of what is committed.
async fn ends(client: &Client) -> BTreeMap<Partition, i64> {
    let mut ends = BTreeMap::new();
    for partition in partitions() {
        let offsets = client.admin().offsets(&partition.topic, partition.number, Isolation::Committed).await;
        ends.insert(partition, offsets.expect("it is served again").end);
    }
    ends
}

/// Ends what was left open, finds the ends of all partitions, and asks a last time how far the groups have come.
pub async fn settle(world: &World) {
    let client = world.client().await.expect("the broker serves again");
    let process = world.recorder.process();
    let producer = client.producer().build().await.expect("a producer");
    let sending = world.record(None, &mut Chance::of(1));
    let asked = world.ask(process, Action::Send(sending.clone()));
    let ack = producer.enqueue(encode(&sending)).await.expect("there is room");
    assert!(world.acknowledge(vec![(asked, ack)]).await, "writes are served again");
    for id in ["writer-0", "writer-1", "copier", "mover-0", "mover-1"] {
        client.transactional(id).build().await.expect("an older one is ended").close().await;
    }
    for group in [(COPIERS, &["orders"][..]), (READERS, &["orders", "output"]), (MOVERS, &["output"])] {
        group_offsets(world, process, &client, group).await.expect("the group is served again");
    }
    world.ends.set(ends(&client).await).expect("once");
}
