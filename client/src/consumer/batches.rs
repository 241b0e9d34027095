//! Whole batches, read ahead: for programs that take batches apart themselves and remember themselves where they are.
//!
//! ```text
//! read(from) ◄─ batches fetched ahead, each partition's its own ◄─ one long poll at a time to each leader (a task)
//! ```
//!
//! A [`BatchReader`] gives batches without taking them out: who has processed less than it was given asks again from where
//! it is. What lies before that is let go.

mod ahead;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use logmill_record::Batch;
use logmill_wire::ErrorCode;
use logmill_wire::messages::fetch::{FetchResponse, PartitionData};
use logmill_wire::messages::metadata::MetadataResponse;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

pub use self::ahead::ToldEnd;
use self::ahead::{Ahead, ToFetch, held, to_fetch};
use super::assigned::{Key, Wanted};
use super::fetcher::fetch;
use super::{FetchSettings, Reset};
use crate::admin::Isolation;
use crate::cluster::{Cluster, Lane, Refresh, Refreshing, obstacles};
use crate::error::{Error, Result};
use crate::transport::backoff::pause;

/// An aborted transaction in a partition: the batches of its producer in this range count for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
    /// The offset of its abort marker; `i64::MAX` while that has not been fetched.
    pub last_offset: i64,
}

/// Batches of one partition.
#[derive(Debug, Clone, Default)]
pub struct FetchedBatches {
    /// Whole batches in the order of their offsets, markers and those of aborted transactions among them.
    pub batches: Vec<Batch>,
    /// The aborted transactions of which there may be batches; for readers of committed records only.
    pub aborted: Vec<AbortedTransaction>,
}

impl FetchedBatches {
    /// Those that are not aborted and no markers. Batches that lie before where the reader began may be among them.
    pub fn committed(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter().filter(|batch| {
            let header = batch.header();
            let aborted = |aborted: &AbortedTransaction| {
                aborted.producer_id == header.producer_id
                    && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
            };
            !(header.is_control() || header.is_transactional() && self.aborted.iter().any(aborted))
        })
    }
}

/// Builds a [`BatchReader`].
#[derive(Debug)]
#[must_use]
pub struct BatchReaderBuilder {
    cluster: Arc<Cluster>,
    fetch: FetchSettings,
    partitions: BTreeMap<Key, Ahead>,
    ids: BTreeMap<Arc<str>, Uuid>,
}

impl BatchReaderBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        let fetch = FetchSettings { reset: Reset::Fail, ..FetchSettings::default() };
        Self { cluster, fetch, partitions: BTreeMap::new(), ids: BTreeMap::new() }
    }

    /// Which records are asked for. Default: [`Isolation::Committed`].
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.fetch.isolation = isolation;
        self
    }

    /// How long a broker may wait for records before it answers a fetch. Default: 500 ms.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.fetch.max_wait = wait;
        self
    }

    /// Bytes to ask for, and to hold, of one partition. Default: 1 MiB.
    pub fn partition_bytes(mut self, bytes: usize) -> Self {
        self.fetch.partition_bytes = bytes.max(1);
        self
    }

    /// Bytes to hold of all partitions. Default: 32 MiB. Once they are held, of partitions of which nothing is held a part of
    /// it each is fetched still.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.fetch.buffer_bytes = bytes.max(1);
        self
    }

    /// A partition to read from this offset on.
    pub fn partition(mut self, topic: &str, partition: i32, offset: i64) -> Self {
        self.partitions.insert((Arc::from(topic), partition), Ahead::new(offset));
        self
    }

    /// Reads a topic only while it has this id: another one that takes its place when it is deleted fails with
    /// [`Error::OtherTopic`], instead of being gone on with in the middle.
    pub fn topic_id(mut self, topic: &str, id: Uuid) -> Self {
        self.ids.insert(Arc::from(topic), id);
        self
    }

    /// Starts reading. A partition that cannot be read tells so when it is asked for.
    pub fn start(self) -> BatchReader {
        let lane = self.cluster.new_lane();
        let shared = Arc::new(Shared {
            cluster: self.cluster,
            settings: self.fetch,
            lane,
            ahead: Mutex::new(self.partitions),
            ids: self.ids,
            ready: Notify::new(),
            work: Notify::new(),
        });
        let fetcher = Fetcher {
            shared: Arc::clone(&shared),
            leaders: BTreeMap::new(),
            refreshing: Refreshing::default(),
            under_way: FuturesUnordered::new(),
        };
        BatchReader { shared, task: tokio::spawn(fetcher.run()) }
    }
}

/// Reads whole batches of named partitions ahead. Dropping it ends that.
#[derive(Debug)]
pub struct BatchReader {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for BatchReader {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.cluster.drop_lane(self.shared.lane);
    }
}

impl BatchReader {
    /// The offset behind the last batch fetched of a partition; the one it was to begin with before there is any.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition that is not read.
    pub fn fetched_to(&self, topic: &str, partition: i32) -> Result<i64> {
        let ahead = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        ahead.get(&key).map(|ahead| ahead.fetch).ok_or_else(|| not_read(&key))
    }

    /// The end of the partition's records that may be read, as far as the last fetch told; at least
    /// [`BatchReader::fetched_to`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition that is not read.
    pub fn end(&self, topic: &str, partition: i32) -> Result<i64> {
        let ahead = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        ahead.get(&key).map(Ahead::readable).ok_or_else(|| not_read(&key))
    }

    /// What the answers to fetches have told of a partition's end; `None` before there is one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition that is not read.
    pub fn told(&self, topic: &str, partition: i32) -> Result<Option<ToldEnd>> {
        let ahead = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        let ahead = ahead.get(&key).ok_or_else(|| not_read(&key))?;
        Ok(ahead.told(self.shared.settings.max_wait, Instant::now()))
    }

    /// Of what has been fetched the first record at or behind `from` whose timestamp is at least `time`, or one shortly
    /// before it; `None` where all are earlier. Lets nothing go.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition that is not read.
    pub fn fetched_at(&self, topic: &str, partition: i32, from: i64, time: i64) -> Result<Option<i64>> {
        let ahead = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        ahead.get(&key).map(|ahead| ahead.at_time(from, time)).ok_or_else(|| not_read(&key))
    }

    /// Bytes that are held of all partitions but those that are fetched up to their end ([`BatchReader::read_to`]).
    pub fn buffered(&self) -> usize {
        held(&self.shared.ahead.lock())
    }

    /// Says where a partition's part ends: nothing is fetched any more once that is reached, and what lies behind the
    /// first batch that reaches it is let go.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a partition that is not read.
    pub fn read_to(&self, topic: &str, partition: i32, end: i64) -> Result<()> {
        let mut all = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        let ahead = all.get_mut(&key).ok_or_else(|| not_read(&key))?;
        ahead.read_to(end);
        drop(all);
        // What is not held any more is room for others.
        self.shared.work.notify_one();
        Ok(())
    }

    /// What has been fetched from `from` on: whole batches, about `max_bytes` of them and at least one if there is any.
    /// Never waits. They stay until a later call begins behind them; batches that lie before `from` are let go, and fetched
    /// anew for who goes back. Where `from` is behind all that was fetched, what is between is not fetched any more.
    ///
    /// # Errors
    /// What keeps the partition from being read, once what was fetched before it is behind `from`:
    /// [`Error::NoOffset`] when the offset does not exist, [`Error::CorruptBatch`], refusals of the broker.
    pub fn read(&self, topic: &str, partition: i32, from: i64, max_bytes: usize) -> Result<FetchedBatches> {
        let mut all = self.shared.ahead.lock();
        let key: Key = (Arc::from(topic), partition);
        let ahead = all.get_mut(&key).ok_or_else(|| not_read(&key))?;
        let found = ahead.read(from, max_bytes);
        drop(all);
        self.shared.work.notify_one();
        found
    }

    /// Waits until something has been fetched, or a partition has failed, since the last call.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn fetched(&self) {
        self.shared.ready.notified().await;
    }
}

fn not_read((topic, partition): &Key) -> Error {
    Error::InvalidArgument(format!("{topic}-{partition} is none of the reader's partitions"))
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    settings: FetchSettings,
    lane: Lane,
    ahead: Mutex<BTreeMap<Key, Ahead>>,
    /// The ids of topics, where they matter.
    ids: BTreeMap<Arc<str>, Uuid>,
    /// Something was fetched.
    ready: Notify,
    /// There is room again.
    work: Notify,
}

impl Shared {
    /// That a topic which was found is not the one to be read. Brokers older than ids name none.
    fn other_topic(&self, topic: &str, found: Uuid) -> Option<Error> {
        let read = *self.ids.get(topic)?;
        let is_other = !read.is_nil() && !found.is_nil() && read != found;
        is_other.then(|| Error::OtherTopic { topic: topic.to_owned(), read, found })
    }

    fn fail(&self, key: &Key, error: Error) {
        if let Some(ahead) = self.ahead.lock().get_mut(key) {
            ahead.failed = Some(error);
        }
        self.ready.notify_one();
    }

    fn fail_topic(&self, topic: &str, error: &Error) {
        let mut all = self.ahead.lock();
        let of = all.iter_mut().filter(|(key, ahead)| *key.0 == *topic && ahead.failed.is_none());
        of.for_each(|(_, ahead)| ahead.failed = Some(error.clone()));
        drop(all);
        self.ready.notify_one();
    }

    /// Gives whether the partition could not be read.
    fn take(&self, wanted: &Wanted, data: PartitionData) -> bool {
        let (topic, partition) = (&wanted.key.0, wanted.key.1);
        if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE {
            let (topic, offset) = (topic.to_string(), Some(wanted.offset));
            self.fail(&wanted.key, Error::NoOffset { topic, partition, offset });
            return false;
        }
        let checked = Error::check(data.error_code, None, || format!("fetching {topic}-{partition}"));
        if let Err(error) = checked {
            if error.wants_metadata() {
                self.cluster.forget_topic(topic);
            }
            // What a producer may send again when it was damaged on its way stays damaged in a log.
            if !error.is_retriable() || data.error_code == ErrorCode::CORRUPT_MESSAGE {
                self.fail(&wanted.key, error);
            }
            return true;
        }
        let records = data.records.map(logmill_wire::Chunks::into_bytes).filter(|bytes| !bytes.is_empty());
        let readable = match self.settings.isolation {
            Isolation::Committed => data.last_stable_offset,
            Isolation::Uncommitted => data.high_watermark,
        };
        if let Some(ahead) = self.ahead.lock().get_mut(&wanted.key) {
            let (ends, max_wait) = ((readable, data.high_watermark), self.settings.max_wait);
            ahead.answered(ends, records.is_none(), max_wait, Instant::now());
        }
        let Some(records) = records else { return false };
        let listed = match self.settings.isolation {
            Isolation::Committed => data.aborted_transactions.unwrap_or_default(),
            Isolation::Uncommitted => Vec::new(),
        };
        let listed = listed.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect();
        let taken = match self.ahead.lock().get_mut(&wanted.key) {
            Some(ahead) => ahead.take(wanted.offset, records, listed),
            None => Ok(false),
        };
        match taken {
            Ok(true) => self.ready.notify_one(),
            Ok(false) => {}
            Err(source) => {
                let (topic, offset) = (topic.to_string(), wanted.offset);
                self.fail(&wanted.key, Error::CorruptBatch { topic, partition, offset, source });
            }
        }
        false
    }
}

#[derive(Debug, Default)]
struct Leader {
    busy: bool,
    failures: u32,
    not_before: Option<Instant>,
}

enum Event {
    Fetched(i32, Vec<Wanted>, Result<FetchResponse>),
    Refreshed(BTreeSet<Arc<str>>, Result<MetadataResponse>),
}

struct Fetcher {
    shared: Arc<Shared>,
    leaders: BTreeMap<i32, Leader>,
    refreshing: Refreshing,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Fetcher {
    /// Runs until it is aborted.
    async fn run(mut self) {
        loop {
            let next = self.fetch_wanted(Instant::now());
            let timer = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.handle(event),
                () = self.shared.work.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Sends a fetch to every leader that has none. Gives when to look again if nothing happens before.
    fn fetch_wanted(&mut self, now: Instant) -> Option<Instant> {
        let mut by_leader: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        let mut leaderless: BTreeSet<Arc<str>> = BTreeSet::new();
        let ToFetch { partitions, settings, look_at } =
            to_fetch(&self.shared.ahead.lock(), self.shared.settings, now);
        for wanted in partitions {
            let topic = self.shared.cluster.cached_topic(&wanted.key.0);
            if let Some(error) =
                topic.as_ref().and_then(|topic| self.shared.other_topic(&wanted.key.0, topic.id))
            {
                self.shared.fail(&wanted.key, error);
                continue;
            }
            let leader = topic.as_ref().and_then(|topic| topic.partitions.get(&wanted.key.1));
            match leader.map(|partition| partition.leader).filter(|leader| *leader >= 0) {
                Some(leader) => by_leader.entry(leader).or_default().push(wanted),
                None => drop(leaderless.insert(Arc::clone(&wanted.key.0))),
            }
        }
        let mut next = look_at;
        match self.refreshing.look(!leaderless.is_empty(), now) {
            Refresh::Now => self.refresh(leaderless),
            Refresh::At(at) => next = Some(next.map_or(at, |next| next.min(at))),
            Refresh::Nothing => {}
        }
        for (node, wanted) in by_leader {
            let leader = self.leaders.entry(node).or_default();
            if leader.busy {
                continue;
            }
            if let Some(at) = leader.not_before.filter(|at| *at > now) {
                next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            leader.busy = true;
            let shared = Arc::clone(&self.shared);
            self.under_way.push(Box::pin(async move {
                let response = fetch(&shared.cluster, &settings, shared.lane, node, &wanted).await;
                Event::Fetched(node, wanted, response)
            }));
        }
        next
    }

    fn refresh(&mut self, topics: BTreeSet<Arc<str>>) {
        let cluster = Arc::clone(&self.shared.cluster);
        self.under_way.push(Box::pin(async move {
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            let answer = cluster.refresh(Some(&names), false).await;
            Event::Refreshed(topics, answer)
        }));
    }

    fn refreshed(&mut self, topics: BTreeSet<Arc<str>>, answer: &Result<MetadataResponse>) {
        self.refreshing.answered(Instant::now(), self.shared.cluster.chance());
        for (topic, error) in obstacles(topics, answer) {
            match error {
                Some(error) if error.is_refusal() => self.shared.fail_topic(&topic, &error),
                Some(error) => tracing::debug!(%error, "a leader is not known now"),
                None => {}
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let (node, wanted, response) = match event {
            Event::Refreshed(topics, answer) => return self.refreshed(topics, &answer),
            Event::Fetched(node, wanted, response) => (node, wanted, response),
        };
        let outcome = response.and_then(|response| {
            Error::check(response.error_code, None, || format!("fetching from broker {node}"))?;
            Ok(response)
        });
        let mut failed = false;
        match outcome {
            Ok(response) => {
                for topic in response.responses {
                    for data in topic.partitions {
                        let of = |w: &&Wanted| *w.key.0 == *topic.topic && w.key.1 == data.partition_index;
                        if let Some(wanted) = wanted.iter().find(of) {
                            failed |= self.shared.take(wanted, data);
                        }
                    }
                }
            }
            Err(error) => {
                tracing::debug!(node, %error, "a fetch failed");
                failed = true;
                for wanted in &wanted {
                    if error.wants_metadata() {
                        self.shared.cluster.forget_topic(&wanted.key.0);
                    }
                    if !error.is_retriable() {
                        self.shared.fail(&wanted.key, error.clone());
                    }
                }
            }
        }
        let leader = self.leaders.entry(node).or_default();
        leader.busy = false;
        leader.failures = if failed { leader.failures + 1 } else { 0 };
        let pause = || Instant::now() + pause(leader.failures, self.shared.cluster.chance());
        leader.not_before = failed.then(pause);
    }
}

#[cfg(test)]
mod tests;
