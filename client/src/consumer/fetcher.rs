//! The task that keeps a consumer's buffers full: one long poll at a time to each leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use logmill_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use logmill_wire::messages::metadata::MetadataResponse;
use logmill_wire::{ErrorCode, Str};
use tokio::time::Instant;

use super::assigned::{Key, Wanted};
use super::decode::{Aborted, decode};
use super::{FetchSettings, Shared};
use crate::admin::{Isolation, offsets::find_offset};
use crate::cluster::{Cluster, Lane, Refresh, Refreshing, obstacles};
use crate::error::{Error, Result};
use crate::transport::backoff::{Deadline, pause};

/// Fetch addresses topics by name up to this version.
const FETCH_HIGHEST: i16 = 12;

#[derive(Debug, Default)]
struct Leader {
    busy: bool,
    failures: u32,
    not_before: Option<Instant>,
}

enum Event {
    Fetched(i32, Vec<Wanted>, Result<FetchResponse>),
    Resolved(Key, u64, Result<Option<i64>>),
    Refreshed(BTreeSet<Arc<str>>, Result<MetadataResponse>),
}

pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    lane: Lane,
    leaders: BTreeMap<i32, Leader>,
    asking: BTreeSet<(Key, u64)>,
    refreshing: Refreshing,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Fetcher {
    pub(crate) fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self {
            shared,
            lane,
            leaders: BTreeMap::new(),
            asking: BTreeSet::new(),
            refreshing: Refreshing::default(),
            under_way: FuturesUnordered::new(),
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            self.resolve_starts();
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

    fn resolve_starts(&mut self) {
        let unresolved = self.shared.assigned.lock().unresolved();
        for (key, epoch, spec) in unresolved {
            if !self.asking.insert((key.clone(), epoch)) {
                continue;
            }
            let (shared, lane) = (Arc::clone(&self.shared), self.lane);
            self.under_way.push(Box::pin(async move {
                let (topic, partition) = &key;
                let operation = format!("finding where to start in {topic}-{partition}");
                let mut deadline = Deadline::new(operation, Duration::from_secs(60));
                let isolation = shared.settings.isolation;
                let found =
                    find_offset(&shared.cluster, lane, topic, *partition, spec, isolation, &mut deadline)
                        .await;
                Event::Resolved(key, epoch, found)
            }));
        }
    }

    /// Sends a fetch to every leader that has none. Gives when to look again if nothing happens before.
    fn fetch_wanted(&mut self, now: Instant) -> Option<Instant> {
        let settings = &self.shared.settings;
        let wanted = self.shared.assigned.lock().wanted(settings.buffer_bytes, settings.partition_bytes);
        let mut by_leader: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        let mut leaderless: BTreeSet<Arc<str>> = BTreeSet::new();
        for wanted in wanted {
            let topic = self.shared.cluster.cached_topic(&wanted.key.0);
            let leader = topic.as_ref().and_then(|topic| topic.partitions.get(&wanted.key.1));
            match leader.map(|partition| partition.leader).filter(|leader| *leader >= 0) {
                Some(leader) => by_leader.entry(leader).or_default().push(wanted),
                None => {
                    leaderless.insert(Arc::clone(&wanted.key.0));
                }
            }
        }
        let mut next: Option<Instant> = None;
        match self.refreshing.look(!leaderless.is_empty(), now) {
            Refresh::Now => self.refresh(leaderless),
            Refresh::At(at) => next = Some(at),
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
            let (shared, lane) = (Arc::clone(&self.shared), self.lane);
            self.under_way.push(Box::pin(async move {
                let response = fetch(&shared.cluster, &shared.settings, lane, node, &wanted).await;
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
        let mut assigned = self.shared.assigned.lock();
        if let Err(error) = answer
            && !error.is_retriable()
            && !error.is_refusal()
        {
            assigned.fail_again(error.clone());
        } else {
            for (topic, error) in obstacles(topics, answer) {
                match error {
                    Some(error) if error.is_refusal() => assigned.stop_topic(&topic, &error),
                    Some(error) => tracing::debug!(%error, "a leader is not known now"),
                    None => {}
                }
            }
        }
        drop(assigned);
        self.shared.ready.notify_one();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Refreshed(topics, answer) => self.refreshed(topics, &answer),
            Event::Resolved(key, epoch, found) => {
                self.asking.remove(&(key.clone(), epoch));
                let mut assigned = self.shared.assigned.lock();
                match found {
                    Ok(Some(offset)) => assigned.resolved(&key, epoch, offset),
                    // No record is that late: the end it is.
                    Ok(None) => assigned.start_at_end(&key, epoch),
                    Err(error) if error.is_retriable() => {
                        tracing::debug!(%error, "asking again where to start");
                    }
                    Err(error) => assigned.stop(&key, epoch, error),
                }
                drop(assigned);
                self.shared.ready.notify_one();
            }
            Event::Fetched(node, wanted, response) => {
                let outcome = response.and_then(|response| {
                    Error::check(response.error_code, None, || format!("fetching from broker {node}"))?;
                    Ok(self.take(&wanted, response))
                });
                let failed = match outcome {
                    Ok(failed) => failed,
                    Err(error) => {
                        tracing::debug!(node, %error, "a fetch failed");
                        if error.wants_metadata() {
                            wanted.iter().for_each(|w| self.shared.cluster.forget_topic(&w.key.0));
                        }
                        if !error.is_retriable() {
                            let mut assigned = self.shared.assigned.lock();
                            match error.is_fatal() {
                                true => {
                                    wanted.iter().for_each(|w| assigned.stop(&w.key, w.epoch, error.clone()))
                                }
                                false => assigned.fail_again(error),
                            }
                            drop(assigned);
                            self.shared.ready.notify_one();
                        }
                        true
                    }
                };
                let leader = self.leaders.entry(node).or_default();
                leader.busy = false;
                leader.failures = if failed { leader.failures + 1 } else { 0 };
                leader.not_before =
                    failed.then(|| Instant::now() + pause(leader.failures, self.shared.cluster.chance()));
            }
        }
    }

    /// Gives whether some partition could not be read.
    fn take(&self, wanted: &[Wanted], response: FetchResponse) -> bool {
        let mut failed = false;
        for topic in response.responses {
            for data in topic.partitions {
                let of = |w: &&Wanted| *w.key.0 == *topic.topic && w.key.1 == data.partition_index;
                if let Some(wanted) = wanted.iter().find(of) {
                    failed |= self.take_partition(wanted, data);
                }
            }
        }
        failed
    }

    fn take_partition(&self, wanted: &Wanted, data: PartitionData) -> bool {
        let shared = &*self.shared;
        let (topic, partition) = &wanted.key;
        if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE {
            let offset = Some(wanted.offset);
            let error = || Error::NoOffset { topic: topic.to_string(), partition: *partition, offset };
            shared.assigned.lock().out_of_range(wanted, shared.settings.reset.spec(), error);
            shared.ready.notify_one();
            return false;
        }
        let checked = Error::check(data.error_code, None, || format!("fetching {topic}-{partition}"));
        if let Err(error) = checked {
            if error.wants_metadata() {
                shared.cluster.forget_topic(topic);
            }
            // What a producer may send again when it was damaged on its way stays damaged in a log.
            if !error.is_retriable() || data.error_code == ErrorCode::CORRUPT_MESSAGE {
                shared.assigned.lock().stop(&wanted.key, wanted.epoch, error);
                shared.ready.notify_one();
            }
            return true;
        }
        let Some(records) = data.records.map(logmill_wire::Chunks::into_bytes).filter(|r| !r.is_empty())
        else {
            return false;
        };
        let aborted = (shared.settings.isolation == Isolation::Committed).then(|| {
            let listed = data.aborted_transactions.unwrap_or_default();
            let aborted = |a: &logmill_wire::messages::fetch::AbortedTransaction| Aborted {
                producer_id: a.producer_id,
                first_offset: a.first_offset,
            };
            listed.iter().map(aborted).collect()
        });
        let bytes = records.len();
        let decoded = decode(records, wanted.offset, aborted);
        let mut assigned = shared.assigned.lock();
        match decoded {
            Ok(decoded) => {
                assigned.fetched(wanted, decoded, bytes);
            }
            Err(source) => {
                let (topic, partition, offset) = (topic.to_string(), *partition, wanted.offset);
                let error = Error::CorruptBatch { topic, partition, offset, source };
                assigned.stop(&wanted.key, wanted.epoch, error);
            }
        }
        drop(assigned);
        shared.ready.notify_one();
        false
    }
}

/// One fetch of these partitions, which the broker leads.
pub(super) async fn fetch(
    cluster: &Cluster,
    settings: &FetchSettings,
    lane: Lane,
    node: i32,
    wanted: &[Wanted],
) -> Result<FetchResponse> {
    let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
    for wanted in wanted {
        topics.entry(&wanted.key.0).or_default().push(FetchPartition {
            partition: wanted.key.1,
            fetch_offset: wanted.offset,
            partition_max_bytes: i32::try_from(settings.partition_bytes).unwrap_or(i32::MAX),
            ..FetchPartition::default()
        });
    }
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: i32::try_from(settings.buffer_bytes).unwrap_or(i32::MAX),
        isolation_level: settings.isolation.code(),
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| FetchTopic {
                topic: Str::from(topic),
                partitions,
                ..FetchTopic::default()
            })
            .collect(),
        ..FetchRequest::default()
    };
    let connection = cluster.connection(node, lane).await?;
    let version = connection.version::<FetchRequest>(FETCH_HIGHEST)?;
    connection.send(&request, version, settings.max_wait)?.await
}
