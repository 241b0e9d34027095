//! The broker's machine: a disk, a power switch, and the threads of a broker as tasks of one thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use logmill_broker::clock::Clock;
use logmill_broker::driven::Driven;
use logmill_broker::entropy::Entropy;
use logmill_config::{ByteSize, Config};
use logmill_storage::{Fatal, JournalOptions, LogOptions, SimDisk, Store, StoreOptions};
use logmill_tests::process::Chance;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::counts::Counts;
use crate::network::{ADDRESS, Broker, Network};
use crate::trace::Trace;

/// Where the broker keeps everything.
const DATA_DIR: &str = "/data";

/// How a machine is built and how quick it is.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) journal: JournalOptions,
    pub(crate) tail_bytes: usize,
    pub(crate) shards: usize,
    pub(crate) segment_bytes: u32,
    /// The longest until the journal's next round, and until the next one of the appliers, ms.
    pub(crate) journal_ms: u64,
    pub(crate) applier_ms: u64,
}

/// A machine that may be on or off.
pub(crate) struct Machine {
    pub(crate) disk: SimDisk,
    pub(crate) network: Arc<Network>,
    build: Build,
    config: Config,
    clock: Clock,
    entropy: Entropy,
    trace: Trace,
    chance: Mutex<Chance>,
    /// The disk is slow until then.
    slow_until: Mutex<Instant>,
    life: Mutex<Option<Life>>,
    counts: Mutex<Counts>,
}

/// A broker that runs.
struct Life {
    tasks: Arc<Mutex<JoinSet<()>>>,
    down: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it was held")
}

impl Machine {
    pub(crate) fn new(
        build: Build,
        disk: SimDisk,
        network: Arc<Network>,
        clock: Clock,
        seed: u64,
        trace: Trace,
    ) -> Arc<Machine> {
        let mut config = Config { data_dir: PathBuf::from(DATA_DIR), ..Config::default() };
        // Members of a group that is new are not waited for as long as people need.
        config.groups.initial_rebalance_delay = Duration::from_millis(100);
        config.topics.segment = ByteSize::bytes(u64::from(build.segment_bytes));
        Arc::new(Machine {
            disk,
            network,
            build,
            config,
            clock,
            entropy: Entropy::seeded(seed),
            trace,
            chance: Mutex::new(Chance::of(seed ^ 0xa076_1d64_78bd_642f)),
            slow_until: Mutex::new(Instant::now()),
            life: Mutex::new(None),
            counts: Mutex::default(),
        })
    }

    /// Adds what befell it.
    pub(crate) fn count(&self, counts: &mut Counts) {
        counts.add(&lock(&self.counts));
    }

    /// The disk takes its time.
    pub(crate) fn slow_down(&self, time: Duration) {
        *lock(&self.slow_until) = Instant::now() + time;
    }

    fn below(&self, number: u64) -> u64 {
        lock(&self.chance).below(number)
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            journal: self.build.journal,
            tail_bytes: self.build.tail_bytes,
            applier_shards: self.build.shards,
            log: LogOptions { segment_bytes: self.build.segment_bytes, ..LogOptions::default() },
            ..StoreOptions::new(PathBuf::from(DATA_DIR), self.entropy.uuid())
        }
    }

    /// Starts a broker and lets it serve. `false` when the machine went down before it did.
    ///
    /// # Panics
    /// When it does not start though the machine is well.
    pub(crate) async fn start(self: &Arc<Self>) -> bool {
        self.trace.note("starts", self.disk.calls(), &[]);
        let opened = Store::open(Arc::new(self.disk.clone()), self.options());
        let (store, recovery) = match opened {
            Ok(opened) => opened,
            Err(_) if self.disk.crashed() => return false,
            Err(error) => panic!("the store does not open: {error}"),
        };
        self.trace.note("recovered", recovery.replayed_frames, format!("{recovery:?}").as_bytes());
        {
            let mut counts = lock(&self.counts);
            counts.starts += 1;
            counts.replayed_frames += recovery.replayed_frames;
        }
        let progress = Arc::new(Notify::new());
        let (tasks, down) = (Arc::new(Mutex::new(JoinSet::new())), Arc::new(Notify::new()));
        *lock(&self.life) = Some(Life { tasks: Arc::clone(&tasks), down: Arc::clone(&down) });
        self.run_log(&store, &progress, &tasks, &down);
        let advertised = (ADDRESS.0.to_owned(), ADDRESS.1);
        let opening = Driven::open(&store, progress, &self.config, advertised, &self.clock, &self.entropy);
        let opened = tokio::select! {
            biased;
            () = down.notified() => {
                down.notify_one();
                return false;
            }
            opened = opening => opened,
        };
        let mut driven = match opened {
            Ok(driven) => driven,
            Err(_) if self.disk.crashed() => return false,
            Err(error) => panic!("the broker does not start: {error}"),
        };
        let loading = driven.loading();
        let mut cleaner = driven.cleaner();
        let deadlines = driven.deadlines();
        let (machine, ended) = (Arc::clone(self), Arc::clone(&down));
        {
            let mut tasks = lock(&tasks);
            tasks.spawn(deadlines);
            tasks.spawn(async move {
                sleep(Duration::from_millis(machine.below(50))).await;
                if let Some(loading) = loading {
                    loading();
                }
                loop {
                    sleep(Duration::from_millis(300 + machine.below(1_000))).await;
                    let Some(cleaner) = &mut cleaner else { return };
                    if machine.is_over(cleaner(), &ended) {
                        return;
                    }
                }
            });
        }
        self.network.attach(Some(Broker { driven: Arc::new(driven), tasks }));
        self.trace.note("serves", self.disk.calls(), &[]);
        true
    }

    /// The log's threads.
    fn run_log(
        self: &Arc<Self>,
        store: &Arc<Store>,
        progress: &Arc<Notify>,
        tasks: &Arc<Mutex<JoinSet<()>>>,
        down: &Arc<Notify>,
    ) {
        let mut tasks = lock(tasks);
        let checkpoint = Arc::new(Notify::new());
        let parts = || (Arc::clone(self), Arc::clone(store), Arc::clone(progress), Arc::clone(down));
        let (machine, store, progress, down) = parts();
        let bell = Arc::clone(&checkpoint);
        tasks.spawn(async move {
            loop {
                machine.rest(machine.build.journal_ms).await;
                if machine.is_over(store.journal_round(), &down) {
                    return;
                }
                for _ in 0..machine.below(4) {
                    if machine.is_over(store.prepare_round(), &down) {
                        return;
                    }
                }
                if store.checkpoint_due() {
                    bell.notify_one();
                }
                progress.notify_waiters();
            }
        });
        for shard in 0..self.build.shards {
            let (machine, store, progress, down) = parts();
            let bell = Arc::clone(&checkpoint);
            tasks.spawn(async move {
                loop {
                    machine.rest(machine.build.applier_ms).await;
                    let round = store.apply_round(shard);
                    if round.as_ref().is_ok_and(|round| round.checkpoint_due) {
                        bell.notify_one();
                    }
                    if machine.is_over(round, &down) {
                        return;
                    }
                    progress.notify_waiters();
                }
            });
        }
        let (machine, store, progress, down) = parts();
        tasks.spawn(async move {
            loop {
                checkpoint.notified().await;
                machine.rest(machine.build.journal_ms).await;
                if machine.is_over(store.checkpoint(), &down) {
                    return;
                }
                lock(&machine.counts).checkpoints += 1;
                progress.notify_waiters();
            }
        });
    }

    /// Time passes until something is done next; longer while the disk is slow.
    async fn rest(&self, longest_ms: u64) {
        let slow_until = *lock(&self.slow_until);
        sleep(Duration::from_millis(1 + self.below(longest_ms))).await;
        if Instant::now() < slow_until {
            sleep_until(slow_until).await;
        }
    }

    /// Whether the broker's life has ended with this.
    fn is_over<T>(&self, done: Result<T, Fatal>, down: &Notify) -> bool {
        let over = done.is_err() || self.disk.crashed();
        if over {
            down.notify_one();
        }
        over
    }

    /// Until the broker goes down by itself, at most so long; whether it did.
    pub(crate) async fn goes_down(&self, within: Duration) -> bool {
        let down = lock(&self.life).as_ref().map(|life| Arc::clone(&life.down));
        let Some(down) = down else { return true };
        let is_down = tokio::time::timeout(within, down.notified()).await.is_ok();
        if is_down {
            down.notify_one();
        }
        is_down
    }

    /// The broker's process ends, here and now.
    async fn end(&self) {
        self.network.attach(None);
        let life = lock(&self.life).take();
        let Some(life) = life else { return };
        let mut tasks = std::mem::take(&mut *lock(&life.tasks));
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            if let Err(ended) = ended
                && ended.is_panic()
            {
                std::panic::resume_unwind(ended.into_panic());
            }
        }
    }

    /// The power goes, and comes back.
    pub(crate) async fn power_cut(&self) {
        self.trace.note("power cut", self.disk.calls(), &[]);
        self.disk.crash();
        self.end().await;
        self.disk.restart();
    }

    /// The process is killed; what it has written stays.
    pub(crate) async fn kill(&self) {
        self.trace.note("killed", self.disk.calls(), &[]);
        self.end().await;
        self.disk.end_process();
    }

    /// All files, for the trace.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, u64> {
        self.disk.files().into_iter().collect()
    }
}
