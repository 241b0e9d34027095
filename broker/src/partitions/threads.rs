//! The threads behind the log: one writes the journal, one gets its next file ready, some apply, one makes checkpoints, one
//! cleans up.
//!
//! The code they run is the store's; the broker owns the threads and decides what a fatal error means:
//! the process ends, because after a failed flush nobody knows what the device holds.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use logmill_storage::{Fatal, Store, Work};
use tokio::sync::Notify;

use super::cleaning::{CleanerThread, CleaningSettings};
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// The running threads. They end when the store is closed.
pub struct LogThreads {
    store: Arc<Store>,
    progress: Arc<Notify>,
    threads: Vec<JoinHandle<()>>,
    cleaner: CleanerThread,
}

/// What happens when the log can no longer be trusted. Production ends the process.
pub(crate) type OnFatal = Arc<dyn Fn(&Fatal) + Send + Sync>;

impl LogThreads {
    /// Starts the journal's, the appliers', the checkpoint's and the cleaner's threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(crate) fn start(
        store: Arc<Store>,
        shards: usize,
        cleaning: CleaningSettings,
        clock: Clock,
        telemetry: &Arc<Telemetry>,
        on_fatal: OnFatal,
    ) -> std::io::Result<Self> {
        let progress = Arc::new(Notify::new());
        let (checkpoint, files) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let mut threads = Vec::with_capacity(shards + 3);
        {
            let (store, progress, bell) =
                (Arc::clone(&store), Arc::clone(&progress), Arc::clone(&checkpoint));
            let (on_fatal, files) = (Arc::clone(&on_fatal), Arc::clone(&files));
            let telemetry = Arc::clone(telemetry);
            threads.push(Builder::new().name("journal".into()).spawn(move || {
                while store.journal_wait() != Work::Ended {
                    match store.journal_round() {
                        Ok(round) if round.frames > 0 => {
                            telemetry.journal_writes.add(round.write_ns);
                            telemetry.journal_frames.add(round.frames);
                            if round.prepare_due {
                                files.ring();
                            }
                        }
                        Ok(_) => {}
                        Err(fatal) => {
                            on_fatal(&fatal);
                            break;
                        }
                    }
                    if store.checkpoint_due() {
                        bell.ring();
                    }
                    progress.notify_waiters();
                }
                bell.close();
                files.close();
            })?);
        }
        {
            let (store, on_fatal) = (Arc::clone(&store), Arc::clone(&on_fatal));
            threads.push(Builder::new().name("journal-files".into()).spawn(move || {
                while files.wait() {
                    let prepared = loop {
                        match store.prepare_round() {
                            Ok(true) => {}
                            done => break done,
                        }
                    };
                    if let Err(fatal) = prepared {
                        on_fatal(&fatal);
                        break;
                    }
                }
            })?);
        }
        for shard in 0..shards {
            let (store, progress, bell) =
                (Arc::clone(&store), Arc::clone(&progress), Arc::clone(&checkpoint));
            let on_fatal = Arc::clone(&on_fatal);
            threads.push(Builder::new().name(format!("applier-{shard}")).spawn(move || {
                while store.apply_wait(shard) != Work::Ended {
                    match store.apply_round(shard) {
                        // Page-cache produce never comes by the journal's thread.
                        Ok(round) if round.checkpoint_due => bell.ring(),
                        Ok(_) => {}
                        Err(fatal) => {
                            on_fatal(&fatal);
                            break;
                        }
                    }
                    progress.notify_waiters();
                }
            })?);
        }
        {
            let (store, progress, bell) = (Arc::clone(&store), Arc::clone(&progress), checkpoint);
            let on_fatal = Arc::clone(&on_fatal);
            let (telemetry, clock) = (Arc::clone(telemetry), clock.clone());
            threads.push(Builder::new().name("checkpoint".into()).spawn(move || {
                while bell.wait() {
                    match measured_checkpoint(&store, &clock, &telemetry) {
                        Ok(()) => progress.notify_waiters(),
                        Err(fatal) => {
                            on_fatal(&fatal);
                            break;
                        }
                    }
                }
            })?);
        }
        let cleaner =
            CleanerThread::start(Arc::clone(&store), cleaning, clock, Arc::clone(telemetry), on_fatal)?;
        Ok(Self { store, progress, threads, cleaner })
    }

    /// Notified after every round: room in the journal, or bytes applied.
    #[must_use]
    pub fn progress(&self) -> Arc<Notify> {
        Arc::clone(&self.progress)
    }

    /// Drains the journal, applies everything, writes a checkpoint and the clean mark, ends the threads.
    ///
    /// # Errors
    /// [`Fatal`] when the last checkpoint could not be made durable; the next start replays the journal.
    pub fn close(self) -> Result<(), Fatal> {
        // A checkpoint after the last one would take the clean mark away.
        self.cleaner.stop();
        let closed = self.store.close();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a log thread ended with a panic");
            }
        }
        closed
    }
}

/// Writes a checkpoint, and notes how long it took.
pub(super) fn measured_checkpoint(store: &Store, clock: &Clock, telemetry: &Telemetry) -> Result<(), Fatal> {
    let began = clock.steady();
    store.checkpoint()?;
    telemetry.checkpoints.add_time(clock.steady().saturating_sub(began));
    Ok(())
}

/// Wakes a thread; several rings before it wakes count as one.
#[derive(Default)]
struct Bell {
    state: parking_lot::Mutex<BellState>,
    rung: parking_lot::Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    closed: bool,
}

impl Bell {
    fn ring(&self) {
        self.state.lock().rung = true;
        self.rung.notify_one();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.rung.notify_one();
    }

    /// `true` when rung, `false` when closed.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.rung && !state.closed {
            self.rung.wait(&mut state);
        }
        let go = !state.closed;
        state.rung = false;
        go
    }
}
