//! Transactions: records in several partitions, and consumed offsets, that become visible together.
//!
//! Two protocols, chosen by what the broker has finalised (`transaction.version`):
//! - version 2 (KIP-890): partitions join a transaction with their first records, and every end of a transaction
//!   gives the producer a new epoch, so that nothing late can reach the next one;
//! - before: partitions and groups are announced first, and only an abort is followed by a new epoch.

mod coordinator;
mod process;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use logmill_record::Batch;
use logmill_wire::ErrorCode;

use crate::cluster::Cluster;
use crate::consumer::GroupMembership;
use crate::error::{Error, Result};
use crate::producer::{
    Ack, Engine, ProducerIdentity, ProducerRecord, ProducerSettings, RecordPlace, check, producer_settings,
};
use coordinator::Coordinator;

/// Builds a [`TransactionalProducer`].
#[derive(Debug)]
#[must_use]
pub struct TransactionalBuilder {
    cluster: Arc<Cluster>,
    id: String,
    settings: ProducerSettings,
    timeout: Duration,
    patience: Duration,
}

impl TransactionalBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>, id: String) -> Self {
        Self {
            cluster,
            id,
            settings: ProducerSettings::default(),
            timeout: Duration::from_secs(60),
            patience: Duration::from_secs(60),
        }
    }

    producer_settings!();

    /// After so long the broker aborts an open transaction by itself. Default: 1 minute.
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long beginning, ending and sending offsets may take. Default: 1 minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the producer: an older one with the same id is fenced, its open transaction aborted. When this returns,
    /// whatever that one did is decided.
    ///
    /// # Errors
    /// When the transaction coordinator cannot be reached in time, or refuses.
    ///
    /// # Cancel safety
    /// The older producer may be fenced although the future was dropped.
    pub async fn build(self) -> Result<TransactionalProducer> {
        check(&self.settings)?;
        let coordinator = Coordinator::new(Arc::clone(&self.cluster), self.id, self.timeout, self.patience);
        let identity = coordinator.init(None).await?;
        let protocol2 = coordinator.protocol2().await?;
        let id = Some(coordinator.id().to_owned());
        let engine = Engine::start(self.cluster, self.settings, id, Some(identity));
        let mut producer = TransactionalProducer {
            engine,
            coordinator,
            identity,
            protocol2: false,
            standing: Standing::Clear,
        };
        producer.use_protocol(protocol2);
        Ok(producer)
    }
}

/// Sends records in transactions.
///
/// ```no_run
/// # async fn example(client: logmill_client::Client) -> logmill_client::Result<()> {
/// use logmill_client::ProducerRecord;
///
/// let mut producer = client.transactional("mover-1").build().await?;
/// let mut transaction = producer.begin().await?;
/// transaction.enqueue(ProducerRecord::to("debits").key("a").value("10")).await?;
/// transaction.enqueue(ProducerRecord::to("credits").key("b").value("10")).await?;
/// transaction.commit().await?;
/// producer.close().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TransactionalProducer {
    engine: Arc<Engine>,
    coordinator: Coordinator,
    identity: ProducerIdentity,
    protocol2: bool,
    standing: Standing,
}

/// What must happen before the next transaction.
#[derive(Debug, Clone)]
enum Standing {
    Clear,
    /// A transaction is open, or was left without an end. `touched`: the coordinator may know of it.
    Open {
        touched: bool,
    },
    /// Nobody knows whether the last end took effect.
    Unknown,
    /// A newer producer has taken over, or the id is not ours.
    Fatal(Error),
}

impl TransactionalProducer {
    /// Begins a transaction. One that was left open (dropped without commit or abort) is aborted first.
    ///
    /// # Errors
    /// [`Error::Fenced`] when a newer producer has taken over; what kept the left-over transaction from being
    /// aborted.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        self.settle().await?;
        self.standing = Standing::Open { touched: false };
        Ok(Transaction { producer: self, partitions: BTreeSet::new(), groups: BTreeSet::new() })
    }

    /// Decides what was left open or unknown.
    async fn settle(&mut self) -> Result<()> {
        match &self.standing {
            Standing::Clear => Ok(()),
            Standing::Open { touched } => {
                let touched = *touched;
                self.roll_back(touched).await
            }
            Standing::Unknown => self.take_new_epoch().await,
            Standing::Fatal(error) => Err(error.clone()),
        }
    }

    /// The transactional id.
    pub fn id(&self) -> &str {
        self.coordinator.id()
    }

    /// Aborts what is open and ends the producer.
    pub async fn close(mut self) {
        if let Standing::Open { touched } = self.standing
            && let Err(error) = self.roll_back(touched).await
        {
            tracing::warn!(id = self.id(), %error, "a transaction was left for the broker to time out");
        }
        self.engine.close();
    }

    fn use_protocol(&mut self, protocol2: bool) {
        self.protocol2 = protocol2;
        // Produce 12 means implicit partitions.
        self.engine.limit_version(if protocol2 { 12 } else { 11 });
    }

    fn remember(&mut self, error: Error) -> Error {
        if error.is_fatal() {
            self.standing = Standing::Fatal(error.clone());
        }
        error
    }

    async fn end(&mut self, commit: bool) -> Result<()> {
        let ended = self.coordinator.end(self.identity, commit, self.protocol2).await;
        match ended {
            Ok(next) => {
                if let Some(next) = next {
                    self.identity = next;
                    self.engine.set_identity(next);
                }
                self.standing = Standing::Clear;
                Ok(())
            }
            Err(error) => {
                self.standing = Standing::Unknown;
                Err(self.remember(error))
            }
        }
    }

    async fn roll_back(&mut self, touched: bool) -> Result<()> {
        self.engine.discard("its transaction was aborted").await;
        if touched {
            self.end(false).await?;
            if self.protocol2 {
                return Ok(());
            }
        } else if self.engine.failure().is_none() {
            self.standing = Standing::Clear;
            return Ok(());
        }
        // Sequences may have gaps: a new epoch begins at zero.
        self.take_new_epoch().await
    }

    async fn take_new_epoch(&mut self) -> Result<()> {
        self.engine.discard("its transaction was given up").await;
        match self.coordinator.init(Some(self.identity)).await {
            Ok(identity) => {
                self.identity = identity;
                self.engine.set_identity(identity);
                let protocol2 = self.coordinator.protocol2().await?;
                self.use_protocol(protocol2);
                self.standing = Standing::Clear;
                Ok(())
            }
            Err(error) => Err(self.remember(error)),
        }
    }
}

/// An open transaction. Dropped without [`commit`](Self::commit) it will be aborted: at once by
/// [`abort`](Self::abort), else by the next [`begin`](TransactionalProducer::begin) or by the broker when its
/// time is over.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    producer: &'a mut TransactionalProducer,
    /// Announced, in the older protocol.
    partitions: BTreeSet<(String, i32)>,
    groups: BTreeSet<String>,
}

impl Transaction<'_> {
    /// Sends a record and waits until the broker has it. It becomes visible with the commit.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue), and what came of the record.
    ///
    /// # Cancel safety
    /// The record may or may not be part of the transaction.
    pub async fn send(&mut self, record: ProducerRecord) -> Result<RecordPlace> {
        self.enqueue(record).await?.await
    }

    /// Puts a record into the buffer and gives the acknowledgement, which need not be awaited:
    /// [`commit`](Self::commit) waits for all of them.
    ///
    /// # Errors
    /// [`Error::AbortRequired`] when an earlier record of the transaction has failed; else as
    /// [`Producer::enqueue`](crate::Producer::enqueue).
    ///
    /// # Cancel safety
    /// The record is part of the transaction if the call returned, and is not if the future was dropped before.
    pub async fn enqueue(&mut self, record: ProducerRecord) -> Result<Ack> {
        self.check_failure()?;
        let (_, partition) = self.producer.engine.place(&record).await?;
        self.announce(&record.topic, partition).await?;
        self.producer.engine.enqueue_at(record, partition).await
    }

    /// As [`enqueue`](Self::enqueue), of a whole batch that was made elsewhere: only who produces it is written into it.
    /// Its records are those of the acknowledgement, which gives the place of the first. Offsets in it must be dense.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    ///
    /// # Cancel safety
    /// As [`enqueue`](Self::enqueue).
    pub async fn enqueue_batch(&mut self, topic: &str, partition: i32, batch: Batch) -> Result<Ack> {
        self.check_failure()?;
        self.announce(topic, partition).await?;
        self.producer.engine.enqueue_batch(topic, partition, batch).await
    }

    /// Makes a partition part of the transaction, where that is not done by writing to it.
    async fn announce(&mut self, topic: &str, partition: i32) -> Result<()> {
        if !self.producer.protocol2 {
            let place = (topic.to_owned(), partition);
            if !self.partitions.contains(&place) {
                self.producer.standing = Standing::Open { touched: true };
                let identity = self.producer.identity;
                let added = self.producer.coordinator.add_partition(identity, topic, partition).await;
                added.map_err(|error| self.failed(error))?;
                self.partitions.insert(place);
            }
        }
        self.producer.standing = Standing::Open { touched: true };
        Ok(())
    }

    /// Makes offsets of a group (topic, partition, next offset to read) part of the transaction: they are committed
    /// with it or not at all. `membership` fences a member that has lost its partitions (KIP-447).
    ///
    /// # Errors
    /// [`Error::AbortRequired`] when the member is no longer in that generation, or an earlier record has failed.
    ///
    /// # Cancel safety
    /// The offsets may or may not be part of the transaction.
    pub async fn send_offsets(
        &mut self,
        membership: &GroupMembership,
        offsets: &[(&str, i32, i64)],
    ) -> Result<()> {
        self.check_failure()?;
        if offsets.is_empty() {
            return Ok(());
        }
        self.producer.standing = Standing::Open { touched: true };
        let producer = &mut *self.producer;
        let (coordinator, identity) = (&producer.coordinator, producer.identity);
        if !producer.protocol2 && !self.groups.contains(&membership.group) {
            let added = coordinator.add_offsets(identity, &membership.group).await;
            if let Err(error) = added {
                return Err(self.failed(error));
            }
            self.groups.insert(membership.group.clone());
        }
        let producer = &*self.producer;
        let sent =
            producer.coordinator.commit_offsets(identity, membership, offsets, producer.protocol2).await;
        sent.map_err(|error| self.failed(error))
    }

    /// Waits for every record and commits: all of it becomes visible, and the offsets count as committed.
    ///
    /// # Errors
    /// [`Error::AbortRequired`] when a record has failed, or the transaction's time was over: nothing becomes visible, and
    /// the next [`begin`](TransactionalProducer::begin) aborts. A retriable error means that nobody knows whether the commit
    /// took effect; read what was written to find out.
    ///
    /// # Cancel safety
    /// Not known, then, whether it was committed; the next [`begin`](TransactionalProducer::begin) settles it.
    pub async fn commit(self) -> Result<()> {
        self.flush().await?;
        match self.producer.standing {
            Standing::Open { touched: true } => {
                self.producer.standing = Standing::Unknown;
                match self.producer.end(true).await {
                    // The broker has aborted it, because its time was over: an end of ours that is answered so has done
                    // nothing, and the abort gives the epoch to go on with.
                    Err(error)
                        if self.producer.protocol2 && error.code() == Some(ErrorCode::INVALID_TXN_STATE) =>
                    {
                        self.producer.standing = Standing::Open { touched: true };
                        Err(abort_required(error))
                    }
                    ended => ended,
                }
            }
            _ => {
                self.producer.standing = Standing::Clear;
                Ok(())
            }
        }
    }

    /// Aborts: nothing of it is ever visible to readers of committed records.
    ///
    /// # Errors
    /// When the coordinator cannot be reached in time; the broker aborts when the transaction's time is over.
    ///
    /// # Cancel safety
    /// The next [`begin`](TransactionalProducer::begin) aborts what is left.
    pub async fn abort(self) -> Result<()> {
        match self.producer.standing {
            Standing::Open { touched } => self.producer.roll_back(touched).await,
            _ => Ok(()),
        }
    }

    /// Waits for every record, and commits nothing.
    pub(crate) async fn flush(&self) -> Result<()> {
        let flushed = self.producer.engine.flush().await;
        let failed = self.producer.engine.failure().map(|error| (*error).clone());
        failed.or(flushed.err()).map_or(Ok(()), |error| Err(abort_required(error)))
    }

    fn check_failure(&self) -> Result<()> {
        match self.producer.engine.failure() {
            Some(error) => Err(abort_required((*error).clone())),
            None => Ok(()),
        }
    }

    fn failed(&mut self, error: Error) -> Error {
        // The consumer's place in its group is lost, not the producer's.
        let is_the_members = error.code() == Some(ErrorCode::FENCED_INSTANCE_ID);
        if error.is_fatal() && !is_the_members {
            self.producer.remember(error)
        } else {
            abort_required(error)
        }
    }
}

fn abort_required(error: Error) -> Error {
    if error.requires_abort() && matches!(error, Error::AbortRequired { .. }) {
        return error;
    }
    Error::AbortRequired { source: Box::new(error) }
}
