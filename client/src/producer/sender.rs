//! The task that sends what the queues give it and tells them what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use logmill_wire::messages::metadata::MetadataResponse;
use logmill_wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use logmill_wire::{ErrorCode, Str};
use tokio::time::Instant;

use super::Acks;
use super::engine::Shared;
use super::queue::{Answer, Freed, Lost, MAX_IN_FLIGHT};
use super::queues::Queues;
use crate::cluster::{Refresh, Refreshing, obstacles};
use crate::error::{Error, Result};
use crate::transport::backoff::pause;
use crate::transport::connection::Connection;

/// A leader, as far as this producer is concerned.
#[derive(Debug, Default)]
struct Leader {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
    failures: u32,
    not_before: Option<Instant>,
    /// Why there is no connection.
    last: Option<Error>,
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
    Refreshed(BTreeSet<Arc<str>>, Result<MetadataResponse>),
}

/// See the module.
pub(super) struct Sender {
    shared: Arc<Shared>,
    leaders: BTreeMap<i32, Leader>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    refreshing: Refreshing,
    /// Why leaders of a topic are not known.
    unknown: BTreeMap<Arc<str>, Error>,
}

/// What a look at the queues has found.
#[derive(Default)]
struct Plan {
    requests: BTreeMap<i32, Request>,
    connect: BTreeSet<i32>,
    leaderless: BTreeSet<Arc<str>>,
    /// Their leaders are asked for now.
    refreshes: bool,
    next: Option<Instant>,
}

#[derive(Default)]
struct Request {
    pieces: Vec<Piece>,
    topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>>,
    bytes: usize,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            leaders: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            refreshing: Refreshing::default(),
            unknown: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
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
    fn plan(&mut self, now: Instant) -> Plan {
        let shared = &*self.shared;
        let settings = &shared.settings;
        let mut plan = Plan::default();
        let mut freed = 0;
        let mut wake_at = |at: Instant| plan.next = Some(plan.next.map_or(at, |next| next.min(at)));
        let mut queues = shared.queues.lock();
        let Queues { topics, failed, .. } = &mut *queues;
        for (topic, partitions) in topics {
            let mut described = None;
            for (partition, queue) in partitions {
                if queue.is_idle() {
                    continue;
                }
                let described = described.get_or_insert_with(|| shared.cluster.cached_topic(topic));
                let node = described.as_ref().and_then(|topic| topic.partitions.get(partition));
                let node = node.map(|partition| partition.leader).filter(|node| *node >= 0);
                let leader = node.and_then(|node| self.leaders.get(&node));
                let timed_out = || {
                    let last = leader.and_then(|leader| leader.last.as_ref());
                    let last = last.or_else(|| self.unknown.get(topic).filter(|_| node.is_none()));
                    Error::Timeout {
                        operation: format!("sending to {topic}-{partition}"),
                        after: settings.delivery_timeout,
                        last: last.cloned().map(Box::new),
                    }
                };
                freed += failed.note(queue.expire(now, settings.delivery_timeout, timed_out)).0;
                if let Some(at) = queue.gives_up(settings.delivery_timeout) {
                    wake_at(at);
                }
                if queue.is_idle() {
                    continue;
                }
                let Some(node) = node else {
                    plan.leaderless.insert(Arc::clone(topic));
                    continue;
                };
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
                freed += failed.note(lost).0;
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
        match self.refreshing.look(!plan.leaderless.is_empty(), now) {
            Refresh::Now => plan.refreshes = true,
            Refresh::At(at) => wake_at(at),
            Refresh::Nothing => {}
        }
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
        if plan.refreshes {
            let (cluster, topics) = (Arc::clone(&self.shared.cluster), plan.leaderless);
            self.under_way.push(Box::pin(async move {
                let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
                let answer = cluster.refresh(Some(&names), true).await;
                Event::Refreshed(topics, answer)
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
            Event::Refreshed(topics, answer) => self.refreshed(topics, &answer),
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
                        leader.last = Some(error.clone());
                        if error.is_fatal() {
                            self.fail_waiting(error, |_, leader| leader == Some(node));
                        }
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

    /// Leaders were asked for.
    fn refreshed(&mut self, topics: BTreeSet<Arc<str>>, answer: &Result<MetadataResponse>) {
        self.refreshing.answered(Instant::now(), self.shared.cluster.chance());
        for (topic, error) in obstacles(topics, answer) {
            let Some(error) = error else {
                self.unknown.remove(&topic);
                continue;
            };
            tracing::debug!(%error, "a leader is not known now");
            self.unknown.insert(Arc::clone(&topic), error.clone());
            if error.is_refusal() {
                self.fail_waiting(error, |of, leader| *of == *topic && leader.is_none());
            }
        }
    }

    /// No attempt will help: what waits for partitions, of this topic and with this leader, fails.
    fn fail_waiting(&self, error: Error, concerns: impl Fn(&str, Option<i32>) -> bool) {
        let error = Arc::new(error);
        let mut freed = 0;
        let mut queues = self.shared.queues.lock();
        let Queues { topics, failed, .. } = &mut *queues;
        for (topic, partitions) in topics {
            let described = self.shared.cluster.cached_topic(topic);
            for (partition, queue) in partitions {
                let leader = described.as_ref().and_then(|topic| topic.partitions.get(partition));
                if concerns(topic, leader.map(|partition| partition.leader).filter(|node| *node >= 0)) {
                    freed += failed.note(queue.fail_waiting(&error)).0;
                }
            }
        }
        drop(queues);
        self.shared.room.add_permits(freed);
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
            freed.0 += queues.failed.note(Lost { freed: Freed::default(), error: failed }).0;
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
