//! What fills a producer's queues, waits for what came of it, and starts the task that empties them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, Ordering};

use logmill_record::Batch;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::partitioner::{Sticky, partition_of_key};
use super::queue::{BatchSettings, PartitionQueue, ProducerIdentity};
use super::queues::{Failed, Queues};
use super::sender::Sender;
use super::{Ack, ProducerRecord, ProducerSettings};
use crate::cluster::{Cluster, Lane, Topic};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;

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

/// What the handle of a producer and its task have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) lane: Lane,
    pub(super) settings: ProducerSettings,
    pub(super) transactional_id: Option<String>,
    /// The highest Produce version: lower than ours in transactions of the older protocol.
    pub(super) highest: AtomicI16,
    pub(super) queues: Mutex<Queues>,
    pub(super) wake: Notify,
    pub(super) room: Semaphore,
    pub(super) closed: AtomicBool,
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
                failed: Failed::default(),
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
        let untold = self.shared.queues.lock().failed.untold.take();
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
        self.shared.queues.lock().failed.first.clone()
    }

    /// From now on batches carry this identity, with sequences from zero. Nothing may be queued.
    pub(crate) fn set_identity(&self, identity: ProducerIdentity) {
        let mut queues = self.shared.queues.lock();
        queues.identity = Some(identity);
        queues.failed = Failed::default();
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
