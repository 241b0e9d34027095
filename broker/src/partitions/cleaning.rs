//! The cleaner's thread: now and then it removes what need not be kept.
//!
//! What goes is the store's to decide; here are the thread, and the clock that it may believe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use logmill_storage::{Fatal, KeyMap, Store};
use parking_lot::{Condvar, Mutex};

use super::threads::{OnFatal, measured_checkpoint};
use super::trusted_clock::TrustedClock;
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// How the cleaner works.
#[derive(Clone, Copy, Debug)]
pub struct CleaningSettings {
    /// Time between two rounds.
    pub interval: Duration,
    /// A jump of the clock beyond this stops what is deleted by age.
    pub max_clock_jump: Duration,
    /// Memory for the keys of a log that is being compacted.
    pub compaction_memory_bytes: usize,
    /// A producer without an open transaction is forgotten after this time, in ms.
    pub producer_expiry_ms: i64,
}

impl CleaningSettings {
    /// Producers that are forgotten soon want to be looked at as often.
    fn interval(&self) -> Duration {
        let expiry = Duration::from_millis(u64::try_from(self.producer_expiry_ms).unwrap_or(u64::MAX));
        self.interval.min(expiry.max(Duration::from_secs(1)))
    }
}

/// The running thread.
pub(super) struct CleanerThread {
    rest: Arc<Rest>,
    thread: JoinHandle<()>,
}

impl CleanerThread {
    pub(super) fn start(
        store: Arc<Store>,
        settings: CleaningSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        on_fatal: OnFatal,
    ) -> std::io::Result<Self> {
        let rest = Arc::new(Rest::default());
        let resting = Arc::clone(&rest);
        let mut cleaner =
            Cleaner { rest: Arc::clone(&rest), ..Cleaner::new(store, settings, clock, telemetry) };
        let thread = Builder::new().name("cleaner".into()).spawn(move || {
            let interval = settings.interval();
            while resting.for_a_while(interval) {
                if let Err(fatal) = cleaner.round() {
                    on_fatal(&fatal);
                    break;
                }
            }
        })?;
        Ok(Self { rest, thread })
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(self) {
        self.rest.stopping.store(true, Ordering::Relaxed);
        *self.rest.over.lock() = true;
        self.rest.ended.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the cleaner's thread ended with a panic");
        }
    }
}

/// The time between two rounds.
#[derive(Default)]
struct Rest {
    over: Mutex<bool>,
    /// What takes long ends early.
    stopping: AtomicBool,
    ended: Condvar,
}

impl Rest {
    /// `false` when there is no next round.
    fn for_a_while(&self, interval: Duration) -> bool {
        let mut over = self.over.lock();
        if !*over {
            self.ended.wait_for(&mut over, interval);
        }
        !*over
    }
}

/// What the thread does.
pub(crate) struct Cleaner {
    store: Arc<Store>,
    settings: CleaningSettings,
    clock: Clock,
    trusted: TrustedClock,
    map: KeyMap,
    rest: Arc<Rest>,
    telemetry: Arc<Telemetry>,
}

impl Cleaner {
    pub(crate) fn new(
        store: Arc<Store>,
        settings: CleaningSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let trusted = TrustedClock::new(settings.max_clock_jump, clock.now_ms(), clock.steady_ms());
        let map = KeyMap::new(settings.compaction_memory_bytes);
        Self { store, settings, clock, trusted, map, rest: Arc::default(), telemetry }
    }

    /// Removes what need not be kept.
    pub(crate) fn round(&mut self) -> Result<(), Fatal> {
        let now = self.now();
        self.telemetry.cleaning.rounds.add(1);
        if let Some(now) = now {
            let expired = self.store.expire_producers(now, self.settings.producer_expiry_ms);
            self.telemetry.cleaning.expired_producers.add(expired as u64);
            if expired > 0 {
                tracing::debug!(expired, "producers that were silent for long are forgotten");
            }
        }
        let retained = self.store.retain(now)?;
        self.telemetry.cleaning.trimmed_partitions.add(retained.trimmed.len() as u64);
        self.telemetry.cleaning.failures.add(retained.failed.len() as u64);
        for (partition, error) in &retained.failed {
            tracing::error!(%partition, %error, "retention cannot look at a partition, which keeps everything");
        }
        let mut removed = self.store.remove_trimmed()?;
        if removed.waiting > 0 {
            // Nothing else may ask for a checkpoint for a long time, and the space is wanted.
            measured_checkpoint(&self.store, &self.clock, &self.telemetry)?;
            removed.bytes += self.store.remove_trimmed()?.bytes;
        }
        self.telemetry.cleaning.removed_bytes.add(removed.bytes);
        if removed.bytes > 0 {
            tracing::info!(bytes = removed.bytes, "old segments are removed");
        }
        now.map_or(Ok(()), |now| self.compact(now))
    }

    /// A clock that is not believed compacts nothing: by it tombstones would go too early.
    fn compact(&mut self, now: i64) -> Result<(), Fatal> {
        let round = self.store.compact(now, &mut self.map, &self.rest.stopping)?;
        if round.waiting > 0 {
            // For the next round.
            measured_checkpoint(&self.store, &self.clock, &self.telemetry)?;
        }
        let counts = &self.telemetry.cleaning;
        counts.failures.add(round.failed.len() as u64);
        for (partition, done) in &round.compacted {
            counts.compactions.add(1);
            counts.compaction_read_bytes.add(done.bytes_before);
            counts.compaction_written_bytes.add(done.bytes_after);
            counts.compacted_records.add(done.records_dropped);
            tracing::debug!(
                %partition,
                bytes_before = done.bytes_before,
                bytes_after = done.bytes_after,
                records_dropped = done.records_dropped,
                "compacted"
            );
        }
        for (partition, error) in &round.failed {
            tracing::error!(%partition, %error, "a partition cannot be compacted, and keeps everything");
        }
        Ok(())
    }

    /// The time, if it is to be believed.
    fn now(&mut self) -> Option<i64> {
        let now = self.clock.now_ms();
        let trusted = self.trusted.observe(now, self.clock.steady_ms());
        if trusted.changed {
            match trusted.now {
                Some(_) => tracing::info!("the clock is believed again; retention by age goes on"),
                None => tracing::warn!(
                    now,
                    "the clock jumped; nothing is deleted by age until it is set back, the broker restarts, or a day has \
                     passed"
                ),
            }
        }
        trusted.now
    }
}
