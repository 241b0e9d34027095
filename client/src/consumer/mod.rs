//! Reading records.
//!
//! ```text
//! membership (a task, in a group) ─► assigned partitions ◄─ fetcher (a task) ◄─ leaders
//!                                          │
//!                                          └─► next(), records(), commit(), seek()
//! ```
//!
//! - [`assigned`]: where the consumer is in each partition, and what was fetched ahead. Pure.
//! - [`decode`]: from fetched bytes to records, without those of aborted transactions. Pure.
//! - [`assignor`]: who reads what. Pure.
//! - [`taken`]: a batch on its way through `process`.
//! - [`fetcher`], [`membership`]: the tasks.
//! - [`batches`]: whole batches of named partitions, for who takes them apart himself.

mod assigned;
pub(crate) mod assignor;
mod batches;
mod decode;
mod fetcher;
mod membership;
mod offsets;
pub(crate) mod protocol;
mod start;
mod taken;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use logmill_record::{Record, RecordHeader};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use assignor::{Assignments, Assignor, GroupMember};
pub use batches::{AbortedTransaction, BatchReader, BatchReaderBuilder, FetchedBatches, ToldEnd};
pub use membership::GroupMembership;
pub use start::{Reset, StartAt};

use crate::admin::Isolation;
use crate::cluster::{Cluster, Lane};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;
use assigned::{AssignedPartitions, Key, Start};
use fetcher::Fetcher;
use membership::{GroupSettings, Membership};
use offsets::Committer;
pub(crate) use taken::{Fate, TakenBatch};

/// A record that was read. Key, value and headers share the memory of the batch they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Milliseconds since the epoch: the producer's, or the broker's if the topic is so configured.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers in their order; keys may repeat.
    pub headers: Vec<RecordHeader>,
}

impl ConsumerRecord {
    fn new(topic: Arc<str>, partition: i32, record: Record) -> Self {
        let Record { offset, timestamp, key, value, headers } = record;
        Self { topic, partition, offset, timestamp, key, value, headers }
    }
}

/// How a consumer fetches.
#[derive(Debug, Clone, Copy)]
struct FetchSettings {
    isolation: Isolation,
    reset: Reset,
    max_wait: Duration,
    partition_bytes: usize,
    buffer_bytes: usize,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            isolation: Isolation::Committed,
            reset: Reset::Earliest,
            max_wait: Duration::from_millis(500),
            partition_bytes: 1 << 20,
            buffer_bytes: 32 << 20,
        }
    }
}

/// What the handle and the tasks of a consumer share.
#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    settings: FetchSettings,
    assigned: Mutex<AssignedPartitions>,
    /// Something for the program.
    ready: Notify,
    /// Something for the fetcher.
    work: Notify,
    /// Set while the member is in a generation.
    member: Mutex<Option<GroupMembership>>,
    /// The last offsets committed.
    committed: Mutex<BTreeMap<Key, i64>>,
}

macro_rules! fetch_settings {
    () => {
        /// Which records are seen. Default: [`Isolation::Committed`].
        pub fn isolation(mut self, isolation: Isolation) -> Self {
            self.fetch.isolation = isolation;
            self
        }

        /// What to do where there is no valid offset. Default: [`Reset::Earliest`].
        pub fn reset(mut self, reset: Reset) -> Self {
            self.fetch.reset = reset;
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

        /// Bytes to hold of all partitions. Default: 32 MiB.
        pub fn buffer_bytes(mut self, bytes: usize) -> Self {
            self.fetch.buffer_bytes = bytes.max(1);
            self
        }
    };
}

/// Builds a [`Consumer`] that is a member of a group.
#[derive(Debug)]
#[must_use]
pub struct ConsumerBuilder {
    cluster: Arc<Cluster>,
    fetch: FetchSettings,
    group: GroupSettings,
}

impl ConsumerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>, group: String) -> Self {
        let group = GroupSettings {
            group,
            topics: BTreeSet::new(),
            instance_id: None,
            assignors: vec![Assignor::Range, Assignor::RoundRobin],
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: Some(Duration::from_secs(5)),
            reads: true,
        };
        Self { cluster, fetch: FetchSettings::default(), group }
    }

    fetch_settings!();

    /// A topic to read. May be called more than once.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.group.topics.insert(topic.into());
        self
    }

    /// A name that lets the member come back to its partitions without a rebalance (KIP-345).
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.group.instance_id = Some(id.into());
        self
    }

    /// How partitions are shared out, best first. All members must have one in common.
    /// Default: range, then round robin.
    pub fn assignors(mut self, assignors: impl Into<Vec<Assignor>>) -> Self {
        self.group.assignors = assignors.into();
        self
    }

    /// Without a heartbeat for this long the member is out. Default: 45 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.group.session_timeout = timeout;
        self
    }

    /// How long members have to come to a rebalance. Default: 60 s.
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.group.rebalance_timeout = timeout;
        self
    }

    /// How often the member says that it lives, and learns of a rebalance. Default: 3 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.group.heartbeat_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Commits by itself this often, at a rebalance and at the close: every record before the last one given, and the
    /// last one too once the program has asked for more. So each record is processed at least once.
    /// Default: every 5 s.
    pub fn auto_commit(mut self, interval: Duration) -> Self {
        self.group.auto_commit = Some(interval);
        self
    }

    /// Leaves committing to [`Consumer::commit`] or to a transaction.
    pub fn manual_commit(mut self) -> Self {
        self.group.auto_commit = None;
        self
    }

    /// Takes its share of the partitions and reads none of them: for programs that read in another way, such as with a
    /// [`BatchReader`], and keep their offsets themselves. [`Consumer::assignment_changed`] tells of changes; committed
    /// offsets are not looked at, and there is nothing to commit.
    pub fn assignment_only(mut self) -> Self {
        self.group.reads = false;
        self.group.auto_commit = None;
        self
    }

    /// Starts the consumer. It joins its group in the background; [`Consumer::next`] waits for that.
    ///
    /// # Errors
    /// When no topic was given or settings contradict each other.
    pub fn build(self) -> Result<Consumer> {
        let group = self.group;
        if group.topics.is_empty() {
            return Err(Error::InvalidArgument("a consumer in a group needs at least one topic".to_owned()));
        }
        if group.assignors.is_empty() {
            return Err(Error::InvalidArgument(
                "a consumer in a group needs at least one assignor".to_owned(),
            ));
        }
        if group.heartbeat_interval >= group.session_timeout {
            return Err(Error::InvalidArgument(
                "the heartbeat interval must be below the session timeout".to_owned(),
            ));
        }
        Ok(Consumer::start(self.cluster, self.fetch, Some(group)))
    }
}

/// Builds a [`Consumer`] of named partitions, outside any group.
#[derive(Debug)]
#[must_use]
pub struct ReaderBuilder {
    cluster: Arc<Cluster>,
    fetch: FetchSettings,
    partitions: Vec<(String, i32, StartAt)>,
    topics: Vec<(String, StartAt)>,
}

impl ReaderBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, fetch: FetchSettings::default(), partitions: Vec::new(), topics: Vec::new() }
    }

    fetch_settings!();

    /// All partitions a topic has now.
    pub fn topic(mut self, topic: impl Into<String>, start: StartAt) -> Self {
        self.topics.push((topic.into(), start));
        self
    }

    /// One partition.
    pub fn partition(mut self, topic: impl Into<String>, partition: i32, start: StartAt) -> Self {
        self.partitions.push((topic.into(), partition, start));
        self
    }

    /// Starts the reader.
    ///
    /// # Errors
    /// When a topic or partition does not exist, or the cluster cannot be reached within 30 s.
    pub async fn build(self) -> Result<Consumer> {
        let mut starts: BTreeMap<Key, Start> = BTreeMap::new();
        let mut deadline = Deadline::new("finding the partitions to read", Duration::from_secs(30));
        for (topic, start) in self.topics {
            let found = self.cluster.topic(&topic, false, &mut deadline).await?;
            let name: Arc<str> = Arc::from(topic);
            starts.extend(found.partitions.keys().map(|p| ((Arc::clone(&name), *p), start.into())));
        }
        for (topic, partition, start) in self.partitions {
            self.cluster.topic(&topic, false, &mut deadline).await?.partition(partition)?;
            starts.insert((Arc::from(topic), partition), start.into());
        }
        let consumer = Consumer::start(self.cluster, self.fetch, None);
        consumer.shared.assigned.lock().assign(starts);
        consumer.shared.work.notify_one();
        Ok(consumer)
    }
}

/// Reads records.
///
/// A consumer that is dropped without [`close`](Self::close) stops at once: it commits nothing more, and its
/// group waits for its session to time out.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    group: Option<String>,
    lanes: [Lane; 2],
    closing: watch::Sender<bool>,
    fetcher: Option<JoinHandle<()>>,
    membership: Option<JoinHandle<()>>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(fetcher) = &self.fetcher {
            fetcher.abort();
        }
        if let Some(membership) = &self.membership {
            membership.abort();
        }
        self.lanes.iter().for_each(|lane| self.shared.cluster.drop_lane(*lane));
    }
}

impl Consumer {
    fn start(cluster: Arc<Cluster>, settings: FetchSettings, group: Option<GroupSettings>) -> Self {
        // A long poll must not hold up a heartbeat.
        let lanes = [cluster.new_lane(), cluster.new_lane()];
        let shared = Arc::new(Shared {
            cluster,
            settings,
            assigned: Mutex::default(),
            ready: Notify::new(),
            work: Notify::new(),
            member: Mutex::default(),
            committed: Mutex::default(),
        });
        let reads = group.as_ref().is_none_or(|group| group.reads);
        let fetcher = reads.then(|| tokio::spawn(Fetcher::new(Arc::clone(&shared), lanes[0]).run()));
        let (closing, closed) = watch::channel(false);
        let name = group.as_ref().map(|group| group.group.clone());
        let membership = group.map(|group| {
            let membership = Membership::new(Arc::clone(&shared), Arc::new(group), lanes[1], closed);
            tokio::spawn(membership.run())
        });
        Self { shared, group: name, lanes, closing, fetcher, membership }
    }

    /// The next record. Waits for one, while there is anything to wait for.
    ///
    /// An error about one partition does not end the others: calling again goes on. What a broker refuses for good is told once
    /// for all partitions that it stops: [`Error::Unreadable`].
    ///
    /// # Errors
    /// What went wrong in a partition or in the group. [`Error::is_fatal`] says whether going on makes sense. When all
    /// partitions have stopped, [`Error::AllStopped`], each time: in a group until partitions are assigned anew. When the
    /// consumer is out of its group for good, what keeps it out, each time.
    ///
    /// # Cancel safety
    /// Safe: a record is given or it is not.
    pub async fn next(&mut self) -> Result<ConsumerRecord> {
        loop {
            let (next, freed) = {
                let mut assigned = self.shared.assigned.lock();
                assigned.finish_given();
                assigned.next()
            };
            if freed {
                self.shared.work.notify_one();
            }
            match next {
                Some(record) => return record,
                None => self.shared.ready.notified().await,
            }
        }
    }

    /// The next records, at least one and at most `max`: what has been fetched already, without waiting for more.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<ConsumerRecord>> {
        let mut taken = self.take_batch(max).await?;
        taken.fate = Fate::Done;
        Ok(std::mem::take(&mut taken.records))
    }

    /// As [`next_batch`](Self::next_batch), with who the member was when it was given these records.
    pub(crate) async fn take_batch(&mut self, max: usize) -> Result<TakenBatch> {
        loop {
            let mut records = Vec::new();
            let mut failed = None;
            let mut any_freed = false;
            let (membership, marks) = {
                let mut assigned = self.shared.assigned.lock();
                assigned.finish_given();
                while records.len() < max.max(1) && (records.is_empty() || !assigned.has_error()) {
                    let (next, freed) = assigned.next();
                    any_freed |= freed;
                    match next {
                        Some(Ok(record)) => records.push(record),
                        Some(Err(error)) => {
                            failed = Some(error);
                            break;
                        }
                        None => break,
                    }
                }
                // A membership ends before its partitions are given back and begins before new ones are taken.
                (self.membership(), assigned.mark(&records))
            };
            if any_freed {
                self.shared.work.notify_one();
            }
            if let Some(error) = failed {
                // Only before the first record: an error behind it waits for the next call.
                return Err(error);
            }
            if !records.is_empty() {
                let shared = Arc::clone(&self.shared);
                return Ok(TakenBatch { records, membership, fate: Fate::Open, marks, shared });
            }
            self.shared.ready.notified().await;
        }
    }

    /// The records as a stream, which does not end: where [`next`](Self::next) fails each time, so does it.
    pub fn records(&mut self) -> impl Stream<Item = Result<ConsumerRecord>> + '_ {
        futures::stream::unfold(self, |consumer| async move {
            let record = consumer.next().await;
            Some((record, consumer))
        })
    }

    /// The partitions this consumer reads now, sorted. In a group they change.
    pub fn assignment(&self) -> Vec<(Arc<str>, i32)> {
        self.shared.assigned.lock().keys()
    }

    /// Waits until the [`assignment`](Self::assignment) or the [`membership`](Self::membership) may have changed; it may
    /// also come back without. For consumers that take [only assignments](ConsumerBuilder::assignment_only): of others it
    /// takes the wake-ups of [`next`](Self::next).
    ///
    /// # Errors
    /// What keeps the member out of its group for good.
    ///
    /// # Cancel safety
    /// Safe: the next call comes back at once for what this one would have.
    pub async fn assignment_changed(&mut self) -> Result<()> {
        if self.shared.assigned.lock().ended().is_none() {
            self.shared.ready.notified().await;
        }
        match self.shared.assigned.lock().next().0 {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The offset after the last record given (or passed over) in a partition; `None` when it is not assigned or
    /// its start is not known yet.
    pub fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.shared.assigned.lock().position(&(Arc::from(topic), partition))
    }

    /// Where the consumer is in each of its partitions: what [`commit`](Self::commit) would commit.
    pub fn positions(&self) -> Vec<(Arc<str>, i32, i64)> {
        let positions = self.shared.assigned.lock().positions();
        positions.into_iter().map(|((topic, partition), offset)| (topic, partition, offset)).collect()
    }

    /// Goes on from another place in a partition.
    ///
    /// # Errors
    /// When the partition is not assigned to this consumer.
    pub fn seek(&mut self, topic: &str, partition: i32, to: StartAt) -> Result<()> {
        let key: Key = (Arc::from(topic), partition);
        let assigned = self.shared.assigned.lock().seek(&key, to.into());
        self.shared.work.notify_one();
        if assigned {
            return Ok(());
        }
        let reason = format!("{topic}-{partition} is not assigned to this consumer");
        Err(Error::InvalidState { operation: "seek", reason })
    }

    /// Commits the [`positions`](Self::positions): every record given so far counts as processed.
    ///
    /// # Errors
    /// When the member has lost its place in the group (another has the partitions now), or the coordinator does
    /// not answer within 30 s.
    ///
    /// # Cancel safety
    /// The offsets may be committed although the future was dropped.
    pub async fn commit(&mut self) -> Result<()> {
        let positions = self.shared.assigned.lock().positions();
        self.committer("commit")?.commit_new(&positions).await
    }

    /// Commits the given offsets (topic, partition, next offset to read).
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    ///
    /// # Cancel safety
    /// As [`commit`](Self::commit).
    pub async fn commit_offsets(&mut self, offsets: &[(&str, i32, i64)]) -> Result<()> {
        let offsets: Vec<(Key, i64)> = offsets
            .iter()
            .map(|(topic, partition, offset)| ((Arc::from(*topic), *partition), *offset))
            .collect();
        self.committer("commit_offsets")?.commit(&offsets).await
    }

    fn committer(&self, operation: &'static str) -> Result<Committer<'_>> {
        let Some(group) = &self.group else {
            let reason = "a reader has no group; use Client::consumer".to_owned();
            return Err(Error::InvalidState { operation, reason });
        };
        Ok(Committer { shared: &self.shared, group, lane: self.lanes[1] })
    }

    /// Who this consumer is in its group, for
    /// [`Transaction::send_offsets`](crate::Transaction::send_offsets). Outside a group, or
    /// between generations, its generation is -1.
    pub fn membership(&self) -> GroupMembership {
        let member = self.shared.member.lock().clone();
        member.unwrap_or_else(|| GroupMembership {
            group: self.group.clone().unwrap_or_default(),
            generation: -1,
            member_id: String::new(),
            instance_id: None,
        })
    }

    /// Commits (if the consumer commits by itself), leaves the group and ends.
    ///
    /// # Errors
    /// None that the program could do anything about; the group notices a member that left without a word.
    pub async fn close(mut self) {
        // Every record given counts as processed: the program is done with them.
        self.shared.assigned.lock().finish_given();
        self.closing.send_replace(true);
        if let Some(membership) = self.membership.take() {
            // A task that panicked has left nothing to wait for.
            let _ = membership.await;
        }
    }
}

/// Partitions by topic.
pub(crate) fn by_topic(partitions: &[(String, i32)]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}
