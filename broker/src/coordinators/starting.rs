//! Loading every machine that has a log, when the broker starts: several at a time, beside the requests that are served
//! already. Who asks for one that is not there yet waits for it, and after a while is told to ask again.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use logmill_coordinator::groups::GroupMachine;
use logmill_coordinator::transactions::TransactionMachine;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::driver::{Coordinators, Shared};
use super::loading::MachineName;
use super::slot::{LoadError, Loadable, Slot};
use crate::partitions::Partition;
use crate::topics::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

/// How long a request waits for machines that are being loaded before it is answered with COORDINATOR_LOAD_IN_PROGRESS.
const LOAD_PATIENCE: Duration = Duration::from_millis(500);

/// One request's patience with machines that are being loaded: begun with the first it has to wait for, and the same for all
/// others, however many keys it names.
#[derive(Debug, Default)]
pub struct Patience(OnceLock<Instant>);

impl Patience {
    fn ends(&self) -> Instant {
        *self.0.get_or_init(|| Instant::now() + LOAD_PATIENCE)
    }
}

/// A marker that is written while the log is read makes it be read again: how often, and after which pause.
const READ_AGAIN: (u32, Duration) = (10, Duration::from_millis(10));

/// How far the loading at the start has come.
#[derive(Debug, Default)]
pub(super) struct Starting {
    /// Machines still to be loaded; the set of them is behind the lock.
    left: AtomicUsize,
    /// Wakes who waits for one of them.
    news: Notify,
    /// How long it took, in ms.
    took_ms: AtomicU64,
}

/// The machines that have a log, to be loaded. Until [`Loading::run`] has come to them nobody else loads them.
#[must_use = "requests to these machines wait for it"]
pub(crate) struct Loading {
    coordinators: Coordinators,
    logs: Vec<(&'static str, Partition)>,
}

impl Coordinators {
    /// Notes which machines have a log. Call it before the first request is taken.
    pub(crate) fn begin_loading(&self) -> Loading {
        let mut logs = Vec::new();
        for name in [OFFSETS_TOPIC, TRANSACTIONS_TOPIC] {
            let partitions = self.0.topics.get(name).map(|topic| topic.partitions.clone());
            logs.extend(partitions.into_iter().flatten().map(|log| (name, log)));
        }
        let machines: BTreeSet<MachineName> = logs.iter().map(|(topic, log)| (*topic, log.index())).collect();
        self.0.starting.left.store(machines.len(), Ordering::SeqCst);
        self.lock().loading = machines;
        Loading { coordinators: self.clone(), logs }
    }

    /// How many machines are still to be loaded.
    pub(crate) fn loading(&self) -> usize {
        self.0.starting.left.load(Ordering::SeqCst)
    }

    /// How long the loading at the start took; nothing before it is done.
    pub(crate) fn load_time(&self) -> Duration {
        Duration::from_millis(self.0.starting.took_ms.load(Ordering::Relaxed))
    }

    /// Until every machine that has a log was loaded.
    pub(crate) async fn loaded(&self) {
        self.wait_until(|| self.loading() == 0).await;
    }

    /// Waits for a machine that is being loaded, if it does not take too long.
    pub(super) async fn await_machine(&self, machine: MachineName, patience: &Patience) {
        self.patiently(patience, || !self.lock().loading.contains(&machine)).await;
    }

    /// Waits for all machines of a topic in the same way.
    pub(super) async fn await_machines(&self, topic: &'static str) {
        let patience = Patience::default();
        self.patiently(&patience, || {
            self.lock().loading.range((topic, i32::MIN)..=(topic, i32::MAX)).next().is_none()
        })
        .await;
    }

    async fn patiently(&self, patience: &Patience, is_done: impl Fn() -> bool) {
        // All the time but for the first moments.
        if self.loading() > 0 {
            // Whoever asks the machine sees that it is not there.
            let _ = timeout_at(patience.ends(), self.wait_until(is_done)).await;
        }
    }

    async fn wait_until(&self, is_done: impl Fn() -> bool) {
        loop {
            let news = self.0.starting.news.notified();
            if is_done() {
                return;
            }
            news.await;
        }
    }
}

impl Loading {
    /// Loads them, `workers` at a time, of which this thread is one. Blocking; `stop` ends it between two machines.
    ///
    /// A coordinator whose log cannot be read does not answer; it is said in the log, and tried again. The others do.
    pub(crate) fn run(self, stop: &CancellationToken, workers: usize) {
        let Self { coordinators, logs } = &self;
        let began = coordinators.0.clock.steady();
        let next = AtomicUsize::new(0);
        let work = || {
            while !stop.is_cancelled()
                && let Some((topic, log)) = logs.get(next.fetch_add(1, Ordering::Relaxed))
            {
                coordinators.load_ahead(topic, log);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..workers.min(logs.len()) {
                scope.spawn(work);
            }
            work();
        });
        coordinators.0.deadlines.notify_one();
        if logs.is_empty() || coordinators.loading() > 0 {
            return;
        }
        let took = coordinators.0.clock.steady().saturating_sub(began);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        coordinators.0.starting.took_ms.store(took_ms, Ordering::Relaxed);
        let unavailable = coordinators.lock().resting.len();
        tracing::info!(machines = logs.len(), unavailable, took_ms, "the coordinators are loaded");
    }
}

impl Drop for Loading {
    /// What was not come to, because the broker stops, is loaded by whoever asks for it: nobody waits for it for ever.
    fn drop(&mut self) {
        let Shared { starting, .. } = &*self.coordinators.0;
        self.coordinators.lock().loading.clear();
        starting.left.store(0, Ordering::SeqCst);
        starting.news.notify_waiters();
    }
}

/// A machine that is being loaded; it is no more when this goes, however that comes.
struct Begun<'a> {
    coordinators: &'a Coordinators,
    machine: MachineName,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let Shared { starting, .. } = &*self.coordinators.0;
        if self.coordinators.lock().loading.remove(&self.machine) {
            starting.left.fetch_sub(1, Ordering::SeqCst);
        }
        starting.news.notify_waiters();
    }
}

impl Coordinators {
    /// Reads a machine's log without the lock; what follows is for the lock.
    fn load_ahead(&self, topic: &'static str, log: &Partition) {
        let partition = log.index();
        let _begun = Begun { coordinators: self, machine: (topic, partition) };
        let Shared { settings, .. } = &*self.0;
        if topic == OFFSETS_TOPIC {
            let slot = read(|| GroupMachine::new(settings.groups.clone()), log);
            let mut state = self.lock();
            let loaded = slot.and_then(|slot| match slot.is_at_end() {
                true => self.take_group(&mut state, partition, slot),
                false => Err(LoadError::InProgress),
            });
            // Whoever failed rests, and has said why.
            let _ = self.rested(&mut state, (topic, partition), loaded);
        } else {
            let slot = read(|| TransactionMachine::new(settings.transactions.clone()), log);
            let mut state = self.lock();
            let loaded = slot.and_then(|slot| match slot.is_at_end() {
                true => self.take_transaction(&mut state, partition, slot),
                false => Err(LoadError::InProgress),
            });
            let _ = self.rested(&mut state, (topic, partition), loaded);
        }
    }
}

/// Reads the log until nothing was written to it meanwhile, as far as that can be seen without the lock.
fn read<M: Loadable>(machine: impl Fn() -> M, log: &Partition) -> Result<Slot<M>, LoadError> {
    let (times, pause) = READ_AGAIN;
    for _ in 1..times {
        match Slot::load(machine(), log.clone()) {
            Ok(slot) if slot.is_at_end() => return Ok(slot),
            Ok(_) | Err(LoadError::InProgress) => std::thread::sleep(pause),
            Err(error) => return Err(error),
        }
    }
    Slot::load(machine(), log.clone())
}
