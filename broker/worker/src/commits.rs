//! Commits a task's epochs, each as one transaction, one after the other.

use std::sync::Arc;

use logmill_client::{Error, GroupMembership, ProducerRecord, Result, TransactionalProducer};
use logmill_stream::EpochOutput;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::names::Names;

/// The epoch under way, and the one behind it.
const WAITING: usize = 1;

/// An epoch to be committed, and who waits for that.
struct Commit {
    epoch: EpochOutput,
    committed: oneshot::Sender<Result<Written>>,
}

/// What to wait for until an epoch is committed.
pub(crate) type Committed = oneshot::Receiver<Result<Written>>;

/// Where a committed epoch is in the task's own partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The offset of its progress record; `None` where the cluster did not say.
    pub(crate) progress_offset: Option<i64>,
    /// The offset behind its changes of state; `None` where the cluster did not say, or there are none.
    pub(crate) changelog_end: Option<i64>,
    /// How many bytes its changes have.
    pub(crate) changelog_bytes: u64,
}

/// The way to the task that commits.
#[derive(Debug, Clone)]
pub(crate) struct Commits {
    waiting: mpsc::Sender<Commit>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Commits {
    /// Starts committing with this producer, until an epoch fails or nobody holds the way any more.
    pub(crate) fn start(producer: TransactionalProducer, names: Names, task: i32) -> Self {
        let (waiting, commits) = mpsc::channel(WAITING);
        let failure = Arc::new(Mutex::new(None));
        let committer = Committer { producer, names, task, failure: Arc::clone(&failure) };
        tokio::spawn(committer.run(commits));
        Self { waiting, failure }
    }

    /// Hands over an epoch. Only for threads that may wait. An error says that an epoch before has failed.
    pub(crate) fn commit(&self, epoch: EpochOutput) -> std::result::Result<Committed, Error> {
        let (committed, ticket) = oneshot::channel();
        match self.waiting.blocking_send(Commit { epoch, committed }) {
            Ok(()) => Ok(ticket),
            Err(_) => Err(self.failure.lock().clone().unwrap_or(Error::Closed)),
        }
    }
}

struct Committer {
    producer: TransactionalProducer,
    names: Names,
    task: i32,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Committer {
    async fn run(mut self, mut commits: mpsc::Receiver<Commit>) {
        while let Some(Commit { epoch, committed }) = commits.recv().await {
            let done = commit(&mut self.producer, &self.names, self.task, epoch).await;
            if let Err(error) = &done {
                *self.failure.lock() = Some(error.clone());
            }
            let failed = done.is_err();
            // The task may have ended meanwhile.
            let _ = committed.send(done);
            if failed {
                // Whatever comes behind was computed from what is not committed.
                break;
            }
        }
        drop(commits);
        self.producer.close().await;
    }
}

/// One epoch, one transaction. That it follows the epoch before is the transactional id's doing: this producer has
/// written all of them since the task was restored, or it is fenced.
pub(crate) async fn commit(
    producer: &mut TransactionalProducer,
    names: &Names,
    task: i32,
    epoch: EpochOutput,
) -> Result<Written> {
    let offsets: Vec<_> = epoch.offsets().collect();
    let value = epoch.progress.encode();
    let now = epoch.progress.now;
    let mut transaction = producer.begin().await?;
    for output in epoch.outputs {
        // The commit waits for all of them.
        drop(transaction.enqueue_batch(&output.topic, output.partition, output.batch).await?);
    }
    let mut changelog_bytes = 0;
    let mut last = None;
    for batch in epoch.changelog {
        changelog_bytes += batch.size() as u64;
        let records = i64::from(batch.header().count);
        last = Some((transaction.enqueue_batch(&names.changelog, task, batch).await?, records));
    }
    // One key a task: compaction leaves the last one.
    let progress = ProducerRecord::to(&names.progress).partition(task).key(names.pipeline.clone());
    let progress = transaction.enqueue(progress.value(value).timestamp(now)).await?;
    // The transactional id is the fence. As a member it would be fenced by every rebalance too, also by those that
    // leave it its tasks.
    let nobody = GroupMembership {
        group: names.group.clone(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
    };
    let offsets: Vec<(&str, i32, i64)> =
        offsets.iter().map(|(source, offset)| (&*source.topic, source.partition, *offset)).collect();
    // All of them, moved or not: nobody owns the group there, and what is not said again expires.
    transaction.send_offsets(&nobody, &offsets).await?;
    transaction.commit().await?;
    let changelog_end = match last {
        Some((last, records)) => last.await?.offset.map(|first| first + records),
        None => None,
    };
    Ok(Written { progress_offset: progress.await?.offset, changelog_end, changelog_bytes })
}
