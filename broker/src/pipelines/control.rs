//! What a running pipeline is told from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::read_bound::ReadBound;

/// Where the input was declared to end: for each source topic, the end offset of each partition.
pub type InputEnds = BTreeMap<String, Vec<i64>>;

/// Orders for one runner; cheap to clone.
#[derive(Clone)]
pub(super) struct Control(Arc<Shared>);

struct Shared {
    orders: Mutex<Orders>,
    bound: ReadBound,
    changed: Notify,
}

/// How far somebody runs on who is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    /// To the end of the epoch he is in.
    Now,
    /// And on until windows that are given in part are given to their end.
    Whole,
}

#[derive(Clone)]
struct Orders {
    stop: Option<Stopping>,
    ends: Option<InputEnds>,
    memory: u64,
    shards: u32,
}

impl Control {
    pub(super) fn new(ends: Option<InputEnds>, memory: u64, shards: u32) -> Self {
        let orders = Mutex::new(Orders { stop: None, ends, memory, shards });
        Self(Arc::new(Shared { orders, bound: ReadBound::default(), changed: Notify::new() }))
    }

    /// Asks the runner to stop after the epoch it is in. Windows that are given in part go on when it is run again.
    pub(super) fn stop(&self) {
        self.0.orders.lock().stop = Some(Stopping::Now);
        self.0.changed.notify_one();
    }

    /// Asks the runner to stop with whole windows, so that another script finds none that it would not give to the end.
    pub(super) fn pause(&self) {
        self.0.orders.lock().stop.get_or_insert(Stopping::Whole);
        self.0.changed.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.orders.lock().stop.is_some()
    }

    /// Whether a runner is to stop before its next epoch, which gives the rest of windows or does not.
    pub(super) fn stops_before(&self, gives_the_rest: bool) -> bool {
        match self.0.orders.lock().stop {
            None => false,
            Some(Stopping::Now) => true,
            Some(Stopping::Whole) => !gives_the_rest,
        }
    }

    /// Declares where the input ends.
    pub(super) fn finish_at(&self, ends: InputEnds) {
        self.0.orders.lock().ends = Some(ends);
        self.0.changed.notify_one();
    }

    pub(super) fn ends(&self) -> Option<InputEnds> {
        self.0.orders.lock().ends.clone()
    }

    /// How far it may read while its end is being declared. Behind that it stays as it is: at the end.
    pub(super) fn bound(&self) -> &ReadBound {
        &self.0.bound
    }

    /// No end is declared after all: it reads on.
    pub(super) fn lift_bound(&self) {
        self.0.bound.lift();
        self.0.changed.notify_one();
    }

    /// Says how many bytes its state may have.
    pub(super) fn set_memory(&self, memory: u64) {
        self.0.orders.lock().memory = memory;
        self.0.changed.notify_one();
    }

    pub(super) fn memory(&self) -> u64 {
        self.0.orders.lock().memory
    }

    /// Says into how many shards its work is split, from the next epoch on.
    pub(super) fn set_shards(&self, shards: u32) {
        self.0.orders.lock().shards = shards;
        self.0.changed.notify_one();
    }

    pub(super) fn shards(&self) -> u32 {
        self.0.orders.lock().shards
    }

    /// Resolves when there is a new order. One that came before is remembered.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
