//! One partition as the broker sees it: the log's handle plus those who wait for its data.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::traffic::{Traffic, TrafficCounts};

/// A cheap handle to a partition's log. Reading goes to [`logmill_storage::Partition`] through `Deref`.
#[derive(Clone)]
pub struct Partition {
    log: logmill_storage::Partition,
    waiting: Arc<Waiting>,
    traffic: Arc<TrafficCounts>,
}

/// Fetches that wait for this partition to grow.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    fetches: Mutex<Vec<Arc<Notify>>>,
}

impl Partition {
    /// Takes the log's one observer slot; call once for each partition.
    #[must_use]
    pub fn new(log: logmill_storage::Partition) -> Self {
        let waiting = Arc::new(Waiting::default());
        let observed = Arc::clone(&waiting);
        log.observe(Box::new(move |_published| observed.wake()));
        Self { log, waiting, traffic: Arc::default() }
    }

    /// The partition's index in its topic.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.log.id().partition
    }

    /// Counts a batch that a client produced.
    pub(crate) fn count_produced(&self, bytes: u64, records: u64) {
        self.traffic.produced(bytes, records);
    }

    /// Counts batches that are sent to a client.
    pub(crate) fn count_fetched<'a>(&self, chunks: impl Iterator<Item = &'a Bytes>) {
        self.traffic.fetched(chunks);
    }

    /// What went in and out so far.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.now()
    }

    /// Asks that `fetch` be notified after each publication until [`Partition::forget`].
    pub(super) fn remember(&self, fetch: &Arc<Notify>) {
        let mut fetches = self.waiting.fetches.lock();
        fetches.push(Arc::clone(fetch));
        self.waiting.count.store(fetches.len(), Ordering::SeqCst);
    }

    /// Takes back one [`Partition::remember`].
    pub(super) fn forget(&self, fetch: &Arc<Notify>) {
        let mut fetches = self.waiting.fetches.lock();
        if let Some(at) = fetches.iter().position(|known| Arc::ptr_eq(known, fetch)) {
            fetches.swap_remove(at);
        }
        self.waiting.count.store(fetches.len(), Ordering::SeqCst);
    }
}

impl Waiting {
    /// Runs on the journal's or an applier's thread after each publication: one load when nobody waits.
    fn wake(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for fetch in self.fetches.lock().iter() {
            fetch.notify_one();
        }
    }
}

impl Deref for Partition {
    type Target = logmill_storage::Partition;

    fn deref(&self) -> &Self::Target {
        &self.log
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.log.topic_name(), self.index())
    }
}
