//! Appending: one frame for each batch of a produce, answered when its promise holds.

use std::sync::Arc;

use logmill_record::Batch;
use logmill_storage::{Append, Appended, Check, Committed, Congestion, Frame, Rejection, Store};
use tokio::sync::{Notify, oneshot};

use super::Partition;
use crate::telemetry::Tally;

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// `acks=all` and `acks=1` (and our own appends): after the bytes are durable and visible.
    Durable,
    /// `acks=0`: after the offsets are assigned. Nobody waits for an answer.
    Sequenced,
}

/// Why an append was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Definite: nothing was appended.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Indefinite: the broker stopped before the frame's fate was known.
    #[error("the broker is stopping; whether the append happened is unknown, so retry it idempotently")]
    Stopping,
}

/// The door through which everything is appended.
#[derive(Clone)]
pub struct Partitions {
    store: Arc<Store>,
    progress: Arc<Notify>,
    /// How often somebody had to wait for room.
    waits: Arc<Tally>,
    /// Batches that came from clients, accepted or not.
    produced: Arc<Tally>,
}

/// An append that has its offsets and waits for its promise.
#[must_use = "an append is acknowledged only when its wait has ended"]
pub struct Pending {
    appended: Appended,
    durable: Option<oneshot::Receiver<()>>,
}

impl Pending {
    /// An append that is promised when `durable` says so.
    pub(crate) fn new(appended: Appended, durable: oneshot::Receiver<()>) -> Self {
        Self { appended, durable: Some(durable) }
    }

    /// The offsets, known since sequencing. Not a promise yet.
    #[must_use]
    pub fn appended(&self) -> &Appended {
        &self.appended
    }

    /// Resolves when the promise that was asked for holds.
    ///
    /// # Errors
    /// [`AppendError::Stopping`] when the log ended first.
    pub async fn wait(self) -> Result<Appended, AppendError> {
        if let Some(durable) = self.durable {
            durable.await.map_err(|_| AppendError::Stopping)?;
        }
        Ok(self.appended)
    }
}

impl Partitions {
    pub(crate) fn new(store: Arc<Store>, progress: Arc<Notify>) -> Self {
        Self { store, progress, waits: Arc::default(), produced: Arc::default() }
    }

    /// The store behind the door, for those who build frames of several appends.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Sequences one batch: checks, assigns offsets, queues it for the journal. Never waits for IO.
    ///
    /// # Errors
    /// A definite [`Rejection`]; nothing happened.
    pub fn submit(
        &self,
        partition: &Partition,
        batch: Batch,
        check: Check,
        acknowledge: Acknowledge,
    ) -> Result<Pending, AppendError> {
        self.produced.add(1);
        let frame = Frame::from(vec![Append { partition: partition.id(), batch, check }]);
        let (mut committed, durable) = self.commit(frame, acknowledge)?;
        let appended = committed.appends.swap_remove(0);
        Ok(Pending { appended, durable })
    }

    /// Deletes the records of a partition before an offset; the receiver resolves when that is durable and visible.
    ///
    /// # Errors
    /// A definite [`Rejection`]; nothing happened.
    pub fn delete_records(
        &self,
        partition: &Partition,
        offset: i64,
    ) -> Result<oneshot::Receiver<()>, Rejection> {
        let (done, durable) = oneshot::channel();
        let done = Box::new(move || {
            // A caller that went away does not need the answer.
            let _ = done.send(());
        });
        self.store.delete_records(partition.id(), offset, Some(done))?;
        Ok(durable)
    }

    /// Sequences a frame of any number of appends; the receiver resolves when it is durable and visible.
    ///
    /// # Errors
    /// A definite [`Rejection`]; nothing happened.
    pub fn commit(
        &self,
        frame: Frame,
        acknowledge: Acknowledge,
    ) -> Result<(Committed, Option<oneshot::Receiver<()>>), Rejection> {
        match acknowledge {
            Acknowledge::Sequenced => Ok((self.store.commit(frame, None)?, None)),
            Acknowledge::Durable => {
                let (done, durable) = oneshot::channel();
                let done = Box::new(move || {
                    // A caller that went away does not need the answer.
                    let _ = done.send(());
                });
                Ok((self.store.commit(frame, Some(done))?, Some(durable)))
            }
        }
    }

    /// Waits while journal or segments are too far behind to take more bytes: produce is slowed, not failed. With a full
    /// disk it goes on, to be refused.
    pub async fn room(&self) {
        self.wait_while(Congestion::is_full, || self.waits.add(1)).await;
    }

    /// Whether pipelines should wait, which they do earlier than producers: one that works off what has gathered fills
    /// whatever room there is, and who produces to other topics would be slowed by it.
    pub(crate) fn is_busy(&self) -> bool {
        self.store.congestion().is_busy()
    }

    /// Waits while pipelines should.
    pub(crate) async fn room_for_pipelines(&self) {
        self.wait_while(Congestion::is_busy, || ()).await;
    }

    async fn wait_while(&self, holds: impl Fn(&Congestion) -> bool, begins: impl Fn()) {
        let mut waits = false;
        loop {
            let progress = self.progress.notified();
            if !holds(&self.store.congestion()) {
                return;
            }
            if !waits {
                waits = true;
                begins();
            }
            progress.await;
        }
    }

    /// How many batches came by [`Partitions::submit`], from clients: the pipelines of this broker commit frames.
    pub(crate) fn produced(&self) -> u64 {
        self.produced.get()
    }

    /// How often [`Partitions::room`] had to wait.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logmill_record::{BatchBuilder, BatchOptions};
    use logmill_storage::{LogOptions, PartitionId, PartitionSpec, RealDisk, StoreOptions};
    use tempfile::TempDir;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    fn one_partition() -> (TempDir, Arc<Store>, Partition) {
        let directory = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(directory.path().to_owned(), Uuid::from_u128(1));
        options.applier_shards = 1;
        let (store, _) = Store::open(Arc::new(RealDisk), options).unwrap();
        let id = PartitionId { topic: Uuid::from_u128(2), partition: 0 };
        let spec = PartitionSpec { id, topic_name: "t".to_owned(), options: LogOptions::default() };
        let partition = Partition::new(store.create_partition(spec).unwrap());
        (directory, store, partition)
    }

    fn batch(value_bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, Some(&vec![7; value_bytes]), &[]);
        builder.build()
    }

    #[tokio::test]
    async fn a_promise_waits_for_the_journal() {
        let (_directory, store, partition) = one_partition();
        let partitions = Partitions::new(Arc::clone(&store), Arc::default());
        let check = Check::Client { begins: false, transaction_v2: false };
        let submit = |acknowledge| partitions.submit(&partition, batch(1), check, acknowledge).unwrap();
        let sequenced = submit(Acknowledge::Sequenced);
        let promised = submit(Acknowledge::Durable);
        assert_eq!([sequenced.appended().base_offset, promised.appended().base_offset], [0, 1]);
        let soon = Duration::from_millis(20);
        timeout(soon, sequenced.wait()).await.expect("nobody waits for it").unwrap();
        let mut promised = Box::pin(promised.wait());
        assert!(timeout(soon, &mut promised).await.is_err(), "the journal has not written it");
        store.journal_round().unwrap();
        assert_eq!(timeout(soon, promised).await.unwrap().unwrap().base_offset, 1);
    }

    #[tokio::test]
    async fn produce_waits_while_the_segments_are_behind() {
        let (_directory, store, partition) = one_partition();
        let progress = Arc::new(Notify::new());
        let partitions = Partitions::new(Arc::clone(&store), Arc::clone(&progress));
        let batch = batch(1 << 20);
        let check = Check::Client { begins: false, transaction_v2: false };
        // The journal keeps up, the appliers do not.
        let mut accepted = 0;
        let mut before_pipelines_wait = 0;
        while timeout(Duration::from_millis(20), partitions.room()).await.is_ok() {
            if !partitions.is_busy() {
                before_pipelines_wait = accepted;
            }
            let pending = partitions.submit(&partition, batch.clone(), check, Acknowledge::Sequenced);
            let _sequenced = pending.unwrap();
            store.journal_round().unwrap();
            accepted += 1;
            assert!(accepted < 80, "memory is bounded");
        }
        assert_eq!(partitions.waits(), 1, "the wait that was given up");
        // Pipelines leave half of the room to producers.
        assert!(
            (20..=35).contains(&before_pipelines_wait) && accepted > 60,
            "{before_pipelines_wait}, {accepted}"
        );
        let pipeline = timeout(Duration::from_millis(20), partitions.room_for_pipelines());
        pipeline.await.expect_err("there is no room");
        let waiting = tokio::spawn(async move { partitions.room().await });
        while store.congestion().is_full() {
            store.apply_round(0).unwrap();
        }
        progress.notify_waiters();
        // Whoever began to wait only now sees the room itself.
        timeout(Duration::from_secs(10), waiting).await.expect("there is room again").unwrap();
    }
}
