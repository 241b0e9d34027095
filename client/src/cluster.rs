//! The brokers of one cluster: who leads what, who coordinates what, and the connections to them.

mod refreshing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use logmill_wire::messages::find_coordinator::FindCoordinatorRequest;
use logmill_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use logmill_wire::{ErrorCode, Request, Str};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

pub(crate) use self::refreshing::{Refresh, Refreshing, obstacles};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;
use crate::transport::connection::{Connection, Identity};
use crate::transport::environment::Environment;

/// Version 13 only adds an error for clients that reach the wrong cluster (KIP-1102).
const METADATA_HIGHEST: i16 = 12;

/// A topic as its brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    pub(crate) partitions: BTreeMap<i32, Partition>,
}

impl Topic {
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn partition(&self, index: i32) -> Result<&Partition> {
        self.partitions.get(&index).ok_or_else(|| Error::UnknownPartition {
            topic: self.name.clone(),
            partition: index,
            partitions: self.count(),
        })
    }
}

/// A partition as its brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// -1 while nobody leads it.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
}

/// Connections are separate for what must not wait for one another: answers come in order, and some are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u64);

impl Lane {
    /// For short questions, shared by everybody.
    pub(crate) const GENERAL: Self = Self(0);
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coordinated {
    Group(String),
    Transaction(String),
}

impl Coordinated {
    fn key(&self) -> &str {
        match self {
            Self::Group(key) | Self::Transaction(key) => key,
        }
    }

    fn key_type(&self) -> i8 {
        match self {
            Self::Group(_) => 0,
            Self::Transaction(_) => 1,
        }
    }
}

/// Which broker a request is for.
#[derive(Debug, Clone)]
pub(crate) enum To {
    /// Whichever can be reached.
    Any,
    /// The one that creates and deletes topics.
    Controller,
    /// The leader of a partition.
    Leader(String, i32),
    /// The coordinator of a group or transaction.
    Coordinator(Coordinated),
    /// This one.
    Broker(i32),
}

/// A request to be made until it is answered or the time is over.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) to: To,
    pub(crate) lane: Lane,
    /// The highest version to use.
    pub(crate) highest: i16,
    /// How long the broker itself may hold the answer back.
    pub(crate) beyond: Duration,
}

impl Ask {
    pub(crate) fn new(to: To) -> Self {
        Self { to, lane: Lane::GENERAL, highest: i16::MAX, beyond: Duration::ZERO }
    }

    pub(crate) fn on(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    pub(crate) fn at_most(self, highest: i16) -> Self {
        Self { highest, ..self }
    }

    pub(crate) fn waiting(self, beyond: Duration) -> Self {
        Self { beyond, ..self }
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The shared state behind every handle of a client.
#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap: Vec<String>,
    identity: Identity,
    environment: Arc<dyn Environment>,
    next_bootstrap: AtomicUsize,
    next_lane: AtomicU64,
    slots: Mutex<BTreeMap<(i32, Lane), Slot>>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    cluster_id: Option<String>,
    controller: i32,
    brokers: BTreeMap<i32, String>,
    topics: BTreeMap<String, Arc<Topic>>,
    coordinators: BTreeMap<Coordinated, i32>,
}

/// The slot of a connection to whichever broker could be reached.
const ANY: i32 = i32::MIN;

impl Cluster {
    pub(crate) fn new(bootstrap: Vec<String>, identity: Identity, environment: Arc<dyn Environment>) -> Self {
        Self {
            bootstrap,
            identity,
            environment,
            next_bootstrap: AtomicUsize::new(0),
            next_lane: AtomicU64::new(1),
            slots: Mutex::default(),
            known: RwLock::new(Known { controller: -1, ..Known::default() }),
        }
    }

    /// The machine this is on.
    pub(crate) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    /// A number for [`pause`](crate::transport::backoff::pause).
    pub(crate) fn chance(&self) -> u32 {
        self.environment.chance()
    }

    async fn open(&self, address: &str) -> Result<Connection> {
        Connection::open(self.environment(), address, &self.identity).await
    }

    /// Connections that nobody else uses.
    pub(crate) fn new_lane(&self) -> Lane {
        Lane(self.next_lane.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets go of the connections of a lane.
    pub(crate) fn drop_lane(&self, lane: Lane) {
        self.slots.lock().retain(|(_, of), _| *of != lane);
    }

    /// Asks until there is an answer that `read` accepts, an error that is not worth another attempt, or the
    /// deadline. What an error says about leaders and coordinators is forgotten before the next attempt.
    ///
    /// Cancel safe as far as the request itself is: it may have taken effect.
    pub(crate) async fn ask<R: Request, T>(
        &self,
        ask: &Ask,
        deadline: &mut Deadline,
        request: impl Fn(i16) -> R,
        read: impl Fn(R::Response, i16) -> Result<T>,
    ) -> Result<T> {
        loop {
            let attempt = async {
                let connection = self.locate(&ask.to, ask.lane).await?;
                let version = connection.version::<R>(ask.highest)?;
                let response = connection.send(&request(version), version, ask.beyond)?.await?;
                read(response, version)
            };
            match tokio::time::timeout_at(deadline.end() + ask.beyond, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    self.learn_from(&error, &ask.to);
                    deadline.retry(error, self.chance()).await?;
                }
                Err(_) => return Err(deadline.timed_out()),
            }
        }
    }

    fn learn_from(&self, error: &Error, to: &To) {
        match to {
            To::Leader(topic, _) if error.wants_metadata() => self.forget_topic(topic),
            To::Controller if error.wants_metadata() => self.known.write().controller = -1,
            To::Coordinator(what) if error.wants_coordinator() => self.forget_coordinator(what),
            _ => {}
        }
    }

    /// A connection to the broker a request is for.
    pub(crate) async fn locate(&self, to: &To, lane: Lane) -> Result<Connection> {
        match to {
            To::Any => self.any(lane).await,
            To::Broker(node) => self.connection(*node, lane).await,
            To::Controller => {
                if self.known.read().controller < 0 {
                    self.refresh(Some(&[]), false).await?;
                }
                let controller = self.known.read().controller;
                if controller < 0 { self.any(lane).await } else { self.connection(controller, lane).await }
            }
            To::Leader(topic, partition) => {
                let leader = self.topic_now(topic, false).await?.partition(*partition)?.leader;
                if leader < 0 {
                    let operation = format!("finding the leader of {topic}-{partition}");
                    return Err(Error::Broker {
                        operation,
                        code: ErrorCode::LEADER_NOT_AVAILABLE,
                        message: None,
                    });
                }
                self.connection(leader, lane).await
            }
            To::Coordinator(what) => {
                let node = self.coordinator(what).await?;
                self.connection(node, lane).await
            }
        }
    }

    /// The connection of a lane to a broker, opened if need be. One caller opens, the others wait for it.
    pub(crate) async fn connection(&self, node: i32, lane: Lane) -> Result<Connection> {
        let slot = self.slot(node, lane);
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        let address = self.known.read().brokers.get(&node).cloned();
        let Some(address) = address else {
            self.forget_all();
            let address = format!("broker {node}");
            return Err(Error::Connect { address, reason: "its address is not known".to_owned() });
        };
        let connection = self.open(&address).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection to any broker: one that is known, else one of those given at the start. Of what keeps it from all of them
    /// the first that no further attempt helps is given, so that none is made; of a client that was connected only if none is
    /// left that another attempt may help with.
    async fn any(&self, lane: Lane) -> Result<Connection> {
        let slot = self.slot(ANY, lane);
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        let known: Vec<String> = self.known.read().brokers.values().cloned().collect();
        let was_connected = !known.is_empty();
        let first = self.next_bootstrap.fetch_add(1, Ordering::Relaxed);
        let count = self.bootstrap.len();
        let given = (0..count).map(|i| self.bootstrap[(first + i) % count].clone());
        let mut met = Error::InvalidArgument("no bootstrap address was given".to_owned());
        let mut is_final = false;
        let mut passes = None;
        for address in known.into_iter().chain(given) {
            match self.open(&address).await {
                Ok(connection) => {
                    *slot = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) if error.is_retriable() => passes = Some(error),
                Err(error) if !is_final => {
                    is_final = true;
                    met = error;
                }
                Err(_) => {}
            }
        }
        // Who begins hears of a refusal at once. Who was connected has a broker behind one of the other addresses, and one with an
        // expired certificate must not end what waits for that.
        match passes {
            Some(error) if was_connected || !is_final => Err(error),
            _ => Err(met),
        }
    }

    fn slot(&self, node: i32, lane: Lane) -> Slot {
        Arc::clone(self.slots.lock().entry((node, lane)).or_default())
    }

    /// The topic, from memory if it is known. Asks, and waits for a topic that is being created, until the
    /// deadline.
    pub(crate) async fn topic(
        &self,
        name: &str,
        create: bool,
        deadline: &mut Deadline,
    ) -> Result<Arc<Topic>> {
        loop {
            match tokio::time::timeout_at(deadline.end(), self.topic_now(name, create)).await {
                Ok(Ok(topic)) => return Ok(topic),
                Ok(Err(error)) => deadline.retry(error, self.chance()).await?,
                Err(_) => return Err(deadline.timed_out()),
            }
        }
    }

    /// Waits until a topic that was created is known to the brokers, with a leader for each partition.
    pub(crate) async fn await_topic(&self, name: &str, deadline: &mut Deadline) -> Result<Arc<Topic>> {
        loop {
            self.forget_topic(name);
            let error = match tokio::time::timeout_at(deadline.end(), self.topic_now(name, false)).await {
                Ok(Ok(topic)) if topic.partitions.values().all(|partition| partition.leader >= 0) => {
                    return Ok(topic);
                }
                Ok(Ok(_)) | Ok(Err(Error::UnknownTopic { .. })) => Error::Broker {
                    operation: format!("waiting for topic {name}"),
                    code: ErrorCode::LEADER_NOT_AVAILABLE,
                    message: None,
                },
                Ok(Err(error)) => error,
                Err(_) => return Err(deadline.timed_out()),
            };
            deadline.retry(error, self.chance()).await?;
        }
    }

    async fn topic_now(&self, name: &str, create: bool) -> Result<Arc<Topic>> {
        if let Some(topic) = self.cached_topic(name) {
            return Ok(topic);
        }
        let response = self.refresh(Some(&[name]), create).await?;
        let found = response.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
        let code = found.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error_code);
        if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION && !create {
            return Err(Error::UnknownTopic { topic: name.to_owned() });
        }
        Error::check(code, None, || format!("describing topic {name}"))?;
        self.cached_topic(name).ok_or_else(|| Error::UnknownTopic { topic: name.to_owned() })
    }

    /// The topic as it was last described, if it ever was.
    pub(crate) fn cached_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.known.read().topics.get(name).cloned()
    }

    /// Asks for brokers and topics (`None`: all topics) and remembers the answer.
    pub(crate) async fn refresh(&self, topics: Option<&[&str]>, create: bool) -> Result<MetadataResponse> {
        let connection = self.any(Lane::GENERAL).await?;
        let version = connection.version::<MetadataRequest>(METADATA_HIGHEST)?;
        let topics = topics.map(|names| {
            let wanted = |name: &&str| MetadataRequestTopic {
                name: Some(Str::from(*name)),
                ..MetadataRequestTopic::default()
            };
            names.iter().map(wanted).collect()
        });
        let request = MetadataRequest {
            topics,
            // Before version 4 a broker creates topics as it is configured to.
            allow_auto_topic_creation: create || version < 4,
            ..MetadataRequest::default()
        };
        let response = connection.send(&request, version, Duration::ZERO)?.await?;
        let mut known = self.known.write();
        known.cluster_id = response.cluster_id.as_deref().map(str::to_owned);
        known.controller = response.controller_id;
        known.brokers = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, address(&broker.host, broker.port)))
            .collect();
        for described in &response.topics {
            let Some(name) = described.name.as_deref() else { continue };
            if described.error_code.is_ok() {
                known.topics.insert(name.to_owned(), Arc::new(topic_of(name, described)));
            } else {
                known.topics.remove(name);
            }
        }
        drop(known);
        Ok(response)
    }

    /// Topics are asked for again when they are next needed.
    pub(crate) fn forget_topic(&self, name: &str) {
        self.known.write().topics.remove(name);
    }

    fn forget_all(&self) {
        let mut known = self.known.write();
        known.topics.clear();
        known.coordinators.clear();
        known.controller = -1;
    }

    /// The coordinator is looked for again when it is next needed.
    pub(crate) fn forget_coordinator(&self, what: &Coordinated) {
        self.known.write().coordinators.remove(what);
    }

    /// The cluster's id, when it is known.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        self.known.read().cluster_id.clone()
    }

    async fn coordinator(&self, what: &Coordinated) -> Result<i32> {
        if let Some(node) = self.known.read().coordinators.get(what) {
            return Ok(*node);
        }
        let connection = self.any(Lane::GENERAL).await?;
        let version = connection.version::<FindCoordinatorRequest>(5)?;
        let key = Str::from(what.key());
        let mut request =
            FindCoordinatorRequest { key_type: what.key_type(), ..FindCoordinatorRequest::default() };
        if version >= 4 {
            request.coordinator_keys = vec![key];
        } else {
            request.key = key;
        }
        let response = connection.send(&request, version, Duration::ZERO)?.await?;
        let (code, message, node, host, port) = if version >= 4 {
            let found = response.coordinators.into_iter().next().unwrap_or_default();
            (found.error_code, found.error_message, found.node_id, found.host, found.port)
        } else {
            (response.error_code, response.error_message, response.node_id, response.host, response.port)
        };
        Error::check(code, message.as_deref(), || format!("finding the coordinator of {}", what.key()))?;
        let mut known = self.known.write();
        known.brokers.insert(node, address(&host, port));
        known.coordinators.insert(what.clone(), node);
        Ok(node)
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn topic_of(name: &str, described: &MetadataResponseTopic) -> Topic {
    let partitions = described.partitions.iter().map(|partition| {
        let info = Partition {
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.clone(),
            in_sync: partition.isr_nodes.clone(),
        };
        (partition.partition_index, info)
    });
    Topic {
        name: name.to_owned(),
        id: described.topic_id,
        internal: described.is_internal,
        partitions: partitions.collect(),
    }
}
