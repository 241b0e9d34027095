//! The task that sends what the queues give it and tells them what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use logmill_record::Batch;
use logmill_wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use logmill_wire::{ErrorCode, Str};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::partitioner::{Sticky, partition_of_key};
use super::queue::{Answer, BatchSettings, Freed, Lost, MAX_IN_FLIGHT, PartitionQueue, ProducerIdentity};
use super::queues::Queues;
use super::{Ack, Acks, ProducerRecord, ProducerSettings};
use crate::cluster::{Cluster, Lane, Topic};
use crate::error::{Error, Result};
use crate::transport::backoff::{Deadline, pause};
use crate::transport::connection::Connection;

/// Produce addresses topics by name up to this version; it is also the one with implicit transaction
/// partitions (KIP-890).
const PRODUCE_HIGHEST: i16 = 12;

/// The sending half of a producer. Ends when it is closed or nobody holds it.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let unsent = !self.shared.queues.lock().is_idle();
        if unsent && !self.shared.closed.load(Ordering::Acquire) {
            tracing::warn!(
                "a producer was dropped with records not yet acknowledged; call close() to wait for them"
            );
        }
        self.close();
    }
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    lane: Lane,
    settings: ProducerSettings,
    transactional_id: Option<String>,
    /// The highest Produce version: lower than ours in transactions of the older protocol.
    highest: AtomicI16,
    queues: Mutex<Queues>,
    wake: Notify,
    room: Semaphore,
    closed: AtomicBool,
}

impl Engine {
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        settings: ProducerSettings,
        transactional_id: Option<String>,
        identity: Option<ProducerIdentity>,
    ) -> Arc<Self> {
        let batches = BatchSettings {
            codec: settings.codec,
            batch_bytes: settings.batch_bytes,
            transactional: transactional_id.is_some(),
        };
        let lane = cluster.new_lane();
        let shared = Arc::new(Shared {
            cluster,
            lane,
            settings,
            transactional_id,
            highest: AtomicI16::new(PRODUCE_HIGHEST),
            queues: Mutex::new(Queues {
                batches,
                identity,
                topics: BTreeMap::new(),
                sticky: Sticky::default(),
                failure: None,
                untold: None,
            }),
            wake: Notify::new(),
            room: Semaphore::new(settings.buffer_bytes),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(Sender::new(Arc::clone(&shared)).run());
        Arc::new(Self { shared })
    }

    /// The topic a record is for and the partition it goes to.
    pub(crate) async fn place(&self, record: &ProducerRecord) -> Result<(Arc<Topic>, i32)> {
        let shared = &*self.shared;
        let topic = match shared.cluster.cached_topic(&record.topic) {
            Some(topic) => topic,
            None => {
                let operation = format!("sending to topic {}", record.topic);
                let mut deadline = Deadline::new(operation, shared.settings.delivery_timeout);
                shared.cluster.topic(&record.topic, true, &mut deadline).await?
            }
        };
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => {
                topic.partition(partition)?;
                partition
            }
            (None, Some(key)) => partition_of_key(key, topic.count().max(1)),
            (None, None) => {
                let (count, batch) = (topic.count().max(1), shared.settings.batch_bytes);
                shared.queues.lock().sticky.next(
                    &record.topic,
                    count,
                    record.size(),
                    batch,
                    shared.cluster.chance(),
                )
            }
        };
        Ok((topic, partition))
    }

    pub(crate) async fn enqueue(&self, record: ProducerRecord) -> Result<Ack> {
        let (_, partition) = self.place(&record).await?;
        self.enqueue_at(record, partition).await
    }

    /// As [`enqueue`](Self::enqueue), to a partition that was chosen before.
    pub(crate) async fn enqueue_at(&self, record: ProducerRecord, partition: i32) -> Result<Ack> {
        let shared = &*self.shared;
        let size = record.size();
        if size > shared.settings.max_request {
            return Err(Error::RecordTooLarge { size, limit: shared.settings.max_request });
        }
        self.take_room(size, &record.topic).await?;
        let timestamp = record.timestamp.unwrap_or_else(|| shared.cluster.environment().now_ms());
        let mut queues = shared.queues.lock();
        let (topic, queue) = queues.of(&record.topic, partition);
        let (outcome, place) = queue.push(&record, timestamp, Instant::now());
        drop(queues);
        shared.wake.notify_one();
        Ok(Ack { outcome, topic, partition, place })
    }

    /// Adds a batch made elsewhere.
    pub(crate) async fn enqueue_batch(&self, topic: &str, partition: i32, batch: Batch) -> Result<Ack> {
        let shared = &*self.shared;
        let size = batch.size();
        if size > shared.settings.max_request {
            return Err(Error::RecordTooLarge { size, limit: shared.settings.max_request });
        }
        let mut deadline =
            Deadline::new(format!("sending to topic {topic}"), shared.settings.delivery_timeout);
        shared.cluster.topic(topic, false, &mut deadline).await?.partition(partition)?;
        self.take_room(size, topic).await?;
        let mut queues = shared.queues.lock();
        let (topic, queue) = queues.of(topic, partition);
        let outcome = queue.push_batch(batch, Instant::now());
        drop(queues);
        shared.wake.notify_one();
        Ok(Ack { outcome, topic, partition, place: 0 })
    }

    /// Waits for room in the buffer. It is given back when the batch is done with.
    async fn take_room(&self, size: usize, topic: &str) -> Result<()> {
        let shared = &*self.shared;
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let permit = match shared.room.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let timeout = shared.settings.delivery_timeout;
                let waited = tokio::time::timeout(timeout, shared.room.acquire_many(permits)).await;
                let timed_out = || Error::Timeout {
                    operation: format!("waiting for room to send to topic {topic}"),
                    after: timeout,
                    last: None,
                };
                waited.map_err(|_| timed_out())?.map_err(|_| Error::Closed)?
            }
        };
        if shared.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        permit.forget();
        Ok(())
    }

    /// Waits for everything enqueued so far. Gives the first failure since the last call, also of what had failed before
    /// this one.
    pub(crate) async fn flush(&self) -> Result<()> {
        let outcomes: Vec<_> = {
            let mut queues = self.shared.queues.lock();
            queues.all_mut().flat_map(PartitionQueue::flush).collect()
        };
        self.shared.wake.notify_one();
        let mut first = None;
        for outcome in outcomes {
            if let Err(error) = outcome.known().await {
                first.get_or_insert(error);
            }
        }
        let untold = self.shared.queues.lock().untold.take();
        untold.or(first).map_or(Ok(()), |error| Err((*error).clone()))
    }

    /// Drops what is not in flight and waits for the rest.
    pub(crate) async fn discard(&self, reason: &str) {
        let error = Arc::new(Error::NotSent { reason: reason.to_owned() });
        let freed: usize = {
            let mut queues = self.shared.queues.lock();
            queues.all_mut().map(|queue| queue.drop_waiting(&error).0).sum()
        };
        self.shared.room.add_permits(freed);
        // What comes back to be sent again is dropped as well.
        while self.flush().await.is_err() {
            if self.shared.queues.lock().is_idle() {
                break;
            }
        }
    }

    /// The first batch that failed for good since the last new identity.
    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.shared.queues.lock().failure.clone()
    }

    /// From now on batches carry this identity, with sequences from zero. Nothing may be queued.
    pub(crate) fn set_identity(&self, identity: ProducerIdentity) {
        let mut queues = self.shared.queues.lock();
        queues.identity = Some(identity);
        (queues.failure, queues.untold) = (None, None);
        queues.all_mut().for_each(|queue| queue.set_identity(identity));
    }

    /// The highest Produce version to use.
    pub(crate) fn limit_version(&self, highest: i16) {
        self.shared.highest.store(highest.min(PRODUCE_HIGHEST), Ordering::Release);
    }

    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.room.close();
        self.shared.wake.notify_one();
    }
}

/// A leader, as far as this producer is concerned.
#[derive(Debug, Default)]
struct Leader {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
    failures: u32,
    not_before: Option<Instant>,
}

/// A batch in a request, to find its queue again.
#[derive(Debug)]
struct Piece {
    topic: Arc<str>,
    partition: i32,
    number: u64,
}

enum Event {
    Connected(i32, Result<Connection>),
    Answered(i32, Vec<Piece>, Result<ProduceResponse>),
    Refreshed,
}

struct Sender {
    shared: Arc<Shared>,
    leaders: BTreeMap<i32, Leader>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    refreshing: bool,
}

/// What a look at the queues has found.
#[derive(Default)]
struct Plan {
    requests: BTreeMap<i32, Request>,
    connect: BTreeSet<i32>,
    leaderless: BTreeSet<Arc<str>>,
    next: Option<Instant>,
}

#[derive(Default)]
struct Request {
    pieces: Vec<Piece>,
    topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>>,
    bytes: usize,
}

impl Sender {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leaders: BTreeMap::new(), under_way: FuturesUnordered::new(), refreshing: false }
    }

    async fn run(mut self) {
        while !self.shared.closed.load(Ordering::Acquire) {
            let plan = self.plan(Instant::now());
            let sent = !plan.requests.is_empty();
            let next = plan.next;
            self.act(plan);
            if sent {
                continue;
            }
            let timer = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(event) = self.under_way.next(), if !self.under_way.is_empty() => self.handle(event),
                () = self.shared.wake.notified() => {}
                () = timer => {}
            }
        }
        self.shared.cluster.drop_lane(self.shared.lane);
        let error = Arc::new(Error::Closed);
        self.shared.queues.lock().all_mut().for_each(|queue| {
            queue.drop_waiting(&error);
        });
        // Those in flight learn it when their promises are dropped.
        self.shared.queues.lock().topics.clear();
    }

    /// Takes what is due, one batch of each partition for each leader.
    fn plan(&self, now: Instant) -> Plan {
        let shared = &*self.shared;
        let settings = &shared.settings;
        let mut plan = Plan::default();
        let mut freed = 0;
        let mut wake_at = |at: Instant| plan.next = Some(plan.next.map_or(at, |next| next.min(at)));
        let mut queues = shared.queues.lock();
        let Queues { topics, failure, untold, .. } = &mut *queues;
        // What is given up unsent has failed for good.
        let mut take_note = |lost: Lost| {
            if let Some(error) = lost.error {
                untold.get_or_insert_with(|| Arc::clone(&error));
                failure.get_or_insert(error);
            }
            lost.freed.0
        };
        for (topic, partitions) in topics {
            let mut described = None;
            for (partition, queue) in partitions {
                if queue.is_idle() {
                    continue;
                }
                let timed_out = || Error::Timeout {
                    operation: format!("sending to {topic}-{partition}"),
                    after: settings.delivery_timeout,
                    last: None,
                };
                freed += take_note(queue.expire(now, settings.delivery_timeout, timed_out));
                if let Some(at) = queue.gives_up(settings.delivery_timeout) {
                    wake_at(at);
                }
                let described = described.get_or_insert_with(|| shared.cluster.cached_topic(topic));
                let leader = described.as_ref().and_then(|topic| topic.partitions.get(partition));
                let Some(node) = leader.map(|partition| partition.leader).filter(|node| *node >= 0) else {
                    plan.leaderless.insert(Arc::clone(topic));
                    continue;
                };
                let leader = self.leaders.get(&node);
                let in_flight = leader.map_or(0, |leader| leader.in_flight);
                let Some(due) = queue.due(in_flight > 0, settings.linger) else { continue };
                let due = leader.and_then(|leader| leader.not_before).map_or(due, |at| at.max(due));
                if due > now {
                    wake_at(due);
                    continue;
                }
                let connection = leader.and_then(|leader| leader.connection.as_ref());
                if connection.is_none_or(|connection| !connection.is_usable()) {
                    // Nothing overtakes what is under way on one whose session ends.
                    let drained = in_flight == 0 || connection.is_none_or(Connection::is_closed);
                    if drained && !leader.is_some_and(|leader| leader.connecting) {
                        plan.connect.insert(node);
                    }
                    continue;
                }
                let request = plan.requests.entry(node).or_default();
                if in_flight >= MAX_IN_FLIGHT || request.bytes >= settings.max_request {
                    continue;
                }
                let (outgoing, lost) = queue.take();
                freed += take_note(lost);
                let Some(outgoing) = outgoing else { continue };
                request.bytes += outgoing.bytes.len();
                request.pieces.push(Piece {
                    topic: Arc::clone(topic),
                    partition: *partition,
                    number: outgoing.number,
                });
                request
                    .topics
                    .entry(Arc::clone(topic))
                    .or_default()
                    .push(PartitionProduceData { index: *partition, records: Some(outgoing.bytes) });
            }
        }
        drop(queues);
        shared.room.add_permits(freed);
        plan.requests.retain(|_, request| !request.pieces.is_empty());
        plan
    }

    fn act(&mut self, plan: Plan) {
        for node in plan.connect {
            self.leaders.entry(node).or_default().connecting = true;
            let (cluster, lane) = (Arc::clone(&self.shared.cluster), self.shared.lane);
            self.under_way
                .push(Box::pin(async move { Event::Connected(node, cluster.connection(node, lane).await) }));
        }
        if !plan.leaderless.is_empty() && !self.refreshing {
            self.refreshing = true;
            let cluster = Arc::clone(&self.shared.cluster);
            self.under_way.push(Box::pin(async move {
                let names: Vec<&str> = plan.leaderless.iter().map(|topic| &**topic).collect();
                if let Err(error) = cluster.refresh(Some(&names), true).await {
                    tracing::debug!(%error, "leaders cannot be asked for now");
                }
                let leaderless = |name: &&str| {
                    cluster.cached_topic(name).is_none_or(|t| t.partitions.values().any(|p| p.leader < 0))
                };
                if names.iter().any(leaderless) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Event::Refreshed
            }));
        }
        for (node, request) in plan.requests {
            self.send(node, request);
        }
    }

    fn send(&mut self, node: i32, request: Request) {
        let shared = Arc::clone(&self.shared);
        let leader = self.leaders.entry(node).or_default();
        let Some(connection) = leader.connection.clone() else { return };
        let acks = shared.settings.acks;
        let topics = request.topics.into_iter().map(|(topic, partition_data)| TopicProduceData {
            name: Str::from(&*topic),
            partition_data,
            ..TopicProduceData::default()
        });
        let message = ProduceRequest {
            transactional_id: shared.transactional_id.as_deref().map(Str::from),
            acks: acks.code(),
            timeout_ms: i32::try_from(shared.settings.delivery_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics.collect(),
        };
        let pieces = request.pieces;
        let version = connection.version::<ProduceRequest>(shared.highest.load(Ordering::Acquire));
        leader.in_flight += 1;
        if acks == Acks::None {
            let told = version.and_then(|version| connection.tell(&message, version));
            self.handle(Event::Answered(node, pieces, told.map(|()| ProduceResponse::default())));
            return;
        }
        // In the connection's queue before anything else is sent.
        match version.and_then(|version| connection.send(&message, version, Duration::ZERO)) {
            Ok(answer) => {
                self.under_way.push(Box::pin(async move { Event::Answered(node, pieces, answer.await) }))
            }
            Err(error) => self.handle(Event::Answered(node, pieces, Err(error))),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Refreshed => self.refreshing = false,
            Event::Connected(node, connected) => {
                let leader = self.leaders.entry(node).or_default();
                leader.connecting = false;
                match connected {
                    Ok(connection) => *leader = Leader { connection: Some(connection), ..Leader::default() },
                    Err(error) => {
                        leader.failures += 1;
                        leader.not_before =
                            Some(Instant::now() + pause(leader.failures, self.shared.cluster.chance()));
                        tracing::debug!(node, %error, "a leader cannot be reached");
                        self.forget_led_by(node);
                    }
                }
            }
            Event::Answered(node, pieces, answer) => {
                let leader = self.leaders.entry(node).or_default();
                leader.in_flight = leader.in_flight.saturating_sub(1);
                if leader.connection.as_ref().is_some_and(Connection::is_closed) {
                    leader.connection = None;
                }
                self.answered(&pieces, answer);
            }
        }
    }

    fn forget_led_by(&self, node: i32) {
        let queues = self.shared.queues.lock();
        for topic in queues.topics.keys() {
            let led = self.shared.cluster.cached_topic(topic);
            if led.is_some_and(|topic| topic.partitions.values().any(|p| p.leader == node)) {
                self.shared.cluster.forget_topic(topic);
            }
        }
    }

    fn answered(&self, pieces: &[Piece], answer: Result<ProduceResponse>) {
        let now = Instant::now();
        let shared = &*self.shared;
        let mut freed = Freed::default();
        let mut queues = shared.queues.lock();
        for piece in pieces {
            let answer = match &answer {
                Ok(_) if shared.settings.acks == Acks::None => Answer::Written(-1),
                Ok(response) => answer_for(piece, response),
                Err(error) => Answer::Failed(error.clone()),
            };
            if let Answer::Failed(error) = &answer
                && error.wants_metadata()
            {
                shared.cluster.forget_topic(&piece.topic);
            }
            let partitions = queues.topics.get_mut(&piece.topic);
            let Some(queue) = partitions.and_then(|partitions| partitions.get_mut(&piece.partition)) else {
                continue;
            };
            let timeout = shared.settings.delivery_timeout;
            let (room, failed) = queue.answered(piece.number, answer, now, timeout, |attempt| {
                pause(attempt, shared.cluster.chance())
            });
            freed.0 += room.0;
            if let Some(error) = failed {
                queues.untold.get_or_insert_with(|| Arc::clone(&error));
                queues.failure.get_or_insert(error);
            }
        }
        drop(queues);
        shared.room.add_permits(freed.0);
    }
}

fn answer_for(piece: &Piece, response: &ProduceResponse) -> Answer {
    let operation = || format!("sending to {}-{}", piece.topic, piece.partition);
    let found = response
        .responses
        .iter()
        .filter(|topic| *topic.name == *piece.topic)
        .flat_map(|topic| &topic.partition_responses)
        .find(|partition| partition.index == piece.partition);
    match found {
        Some(partition) if partition.error_code.is_ok() => Answer::Written(partition.base_offset),
        Some(partition) => {
            let record = partition.record_errors.first().and_then(|r| r.batch_index_error_message.as_deref());
            let message = partition.error_message.as_deref().or(record).map(str::to_owned);
            Answer::Failed(Error::Broker { operation: operation(), code: partition.error_code, message })
        }
        None => Answer::Failed(Error::Broker {
            operation: operation(),
            code: ErrorCode::UNKNOWN_SERVER_ERROR,
            message: Some("the answer does not mention the partition".to_owned()),
        }),
    }
}
