//! Sending records.
//!
//! ```text
//! send ─► partitioner ─► queue of the partition ─► sender (one task) ─► connection to the leader
//!                                                                  ◄─ answers, in order
//! ```
//!
//! - [`partitioner`]: which partition. Pure.
//! - [`queue`]: batches, sequences, retries of one partition. Pure.
//! - [`engine`]: fills the queues, and waits for what came of it.
//! - [`sender`]: the task that sends what the queues give it and tells them what came of it.

mod engine;
pub(crate) mod partitioner;
mod queue;
mod queues;
mod record;
mod sender;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use logmill_record::Codec;
use logmill_wire::messages::init_producer_id::InitProducerIdRequest;

pub(crate) use engine::Engine;
pub(crate) use queue::ProducerIdentity;
pub use record::{ProducerRecord, RecordPlace};

use crate::cluster::{Ask, Cluster, To};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;
use queue::OutcomeHandle;

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// When it is durable: on the device with Logmill's default durability, on all in-sync replicas with Kafka.
    #[default]
    All,
    /// When the leader has taken it, which with Logmill means the same. Not idempotent: a retry may write it twice.
    Leader,
    /// At once; nobody knows whether it was written. Not idempotent.
    None,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// How a producer sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerSettings {
    pub(crate) acks: Acks,
    pub(crate) codec: Codec,
    pub(crate) linger: Duration,
    pub(crate) batch_bytes: usize,
    pub(crate) max_request: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) delivery_timeout: Duration,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes: 128 << 10,
            max_request: 8 << 20,
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

/// Settings shared by the builders of both kinds of producer.
macro_rules! producer_settings {
    () => {
        /// How batches are compressed. Default: not.
        pub fn compression(mut self, codec: logmill_record::Codec) -> Self {
            self.settings.codec = codec;
            self
        }

        /// How long a batch that is not full waits for more records while earlier requests are under way. When
        /// none are, it goes at once. Default: 5 ms.
        pub fn linger(mut self, linger: std::time::Duration) -> Self {
            self.settings.linger = linger;
            self
        }

        /// When a batch is full, in bytes before compression. A larger record has a batch of its own.
        /// Default: 128 KiB.
        pub fn batch_bytes(mut self, bytes: usize) -> Self {
            self.settings.batch_bytes = bytes.max(1);
            self
        }

        /// The largest request, and so the largest record, in bytes. Default: 8 MiB.
        pub fn max_request(mut self, bytes: usize) -> Self {
            self.settings.max_request = bytes.max(1);
            self
        }

        /// Room for records not yet acknowledged, in bytes; beyond it sending waits. Default: 32 MiB.
        pub fn buffer_bytes(mut self, bytes: usize) -> Self {
            self.settings.buffer_bytes = bytes.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
            self
        }

        /// How long a record is tried before it fails. Default: 2 minutes.
        pub fn delivery_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.delivery_timeout = timeout;
            self
        }
    };
}
pub(crate) use producer_settings;

/// Builds a [`Producer`].
#[derive(Debug)]
#[must_use]
pub struct ProducerBuilder {
    cluster: Arc<Cluster>,
    settings: ProducerSettings,
}

impl ProducerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, settings: ProducerSettings::default() }
    }

    producer_settings!();

    /// When a record counts as written. Default: [`Acks::All`].
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// Starts the producer.
    ///
    /// # Errors
    /// When the cluster gives no producer id within a minute (idempotent producers need one), or settings
    /// contradict each other.
    pub async fn build(self) -> Result<Producer> {
        check(&self.settings)?;
        let identity = if self.settings.acks == Acks::All {
            let mut deadline = Deadline::new("getting a producer id", Duration::from_secs(60));
            Some(init_producer_id(&self.cluster, &mut deadline).await?)
        } else {
            None
        };
        Ok(Producer { engine: Engine::start(self.cluster, self.settings, None, identity) })
    }
}

pub(crate) fn check(settings: &ProducerSettings) -> Result<()> {
    if settings.batch_bytes > settings.max_request {
        return Err(Error::InvalidArgument(format!(
            "batch_bytes ({}) is more than max_request ({})",
            settings.batch_bytes, settings.max_request
        )));
    }
    if settings.max_request > settings.buffer_bytes {
        return Err(Error::InvalidArgument(format!(
            "max_request ({}) is more than buffer_bytes ({})",
            settings.max_request, settings.buffer_bytes
        )));
    }
    Ok(())
}

async fn init_producer_id(cluster: &Cluster, deadline: &mut Deadline) -> Result<ProducerIdentity> {
    let request = |_| InitProducerIdRequest {
        transactional_id: None,
        // Kafka's own clients send the largest value for a producer without transactions.
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
    };
    // Version 6 is not stable (KIP-939).
    let ask = Ask::new(To::Any).at_most(5);
    cluster
        .ask(&ask, deadline, request, |response, _| {
            Error::check(response.error_code, None, || "getting a producer id".to_owned())?;
            Ok(ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch })
        })
        .await
}

/// Sends records, each exactly once per partition in the order of the calls, however often it has to try
/// (KIP-98). Cheap to clone; clones share buffers and connections.
///
/// A producer that is dropped without [`close`](Self::close) does not wait: what was not sent is lost.
#[derive(Debug, Clone)]
pub struct Producer {
    engine: Arc<Engine>,
}

impl Producer {
    /// Sends a record and waits until it is acknowledged.
    ///
    /// To keep many under way use [`enqueue`](Self::enqueue).
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); and what came of the record.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not keep the record from being sent.
    pub async fn send(&self, record: ProducerRecord) -> Result<RecordPlace> {
        self.enqueue(record).await?.await
    }

    /// Puts a record into the buffer and gives the acknowledgement to wait for. Waits for room in the buffer and,
    /// the first time, for the topic. Records go out in the order of the calls, also when nobody waits for
    /// the acknowledgements.
    ///
    /// # Errors
    /// When the topic or partition does not exist, the record is too large, there is no room before the delivery
    /// timeout, or the producer is closed.
    ///
    /// # Cancel safety
    /// The record is in the buffer if the call returned, and is not if the future was dropped before.
    pub async fn enqueue(&self, record: ProducerRecord) -> Result<Ack> {
        self.engine.enqueue(record).await
    }

    /// Waits until every record enqueued before this call is acknowledged or has failed.
    ///
    /// # Errors
    /// The first failure among them, unless an earlier call has told of it; also of a record that had failed before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn flush(&self) -> Result<()> {
        self.engine.flush().await
    }

    /// Flushes and ends the producer for all its clones.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(self) -> Result<()> {
        let flushed = self.engine.flush().await;
        self.engine.close();
        flushed
    }
}

/// The acknowledgement of a record: a future of where it is. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "nobody learns what came of the record unless the acknowledgement is awaited"]
pub struct Ack {
    pub(crate) outcome: OutcomeHandle,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) place: i32,
}

impl Future for Ack {
    type Output = Result<RecordPlace>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.outcome.poll(context));
        Poll::Ready(match outcome {
            Ok(base) => Ok(RecordPlace {
                topic: self.topic.to_string(),
                partition: self.partition,
                offset: (base >= 0).then_some(base + i64::from(self.place)),
            }),
            Err(error) => Err((*error).clone()),
        })
    }
}
