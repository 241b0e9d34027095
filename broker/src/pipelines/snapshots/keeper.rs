//! When snapshots are made, and what may go once they are.

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use logmill_storage::Disk;
use logmill_stream::{
    FoundSnapshots, Plan, SNAPSHOTS_KEPT, SnapshotHeader, SnapshotPolicy, SnapshotSource, UsableSnapshot,
    make_snapshot,
};
use parking_lot::{Mutex, MutexGuard};

use super::files::SnapshotFiles;
use super::own_logs::OwnLogs;
use super::{Cut, FileError, Stop, told};
use crate::clock::Clock;
use crate::partitions::{Partition, Partitions};

/// How often somebody whose turn it is not asks whether to wait on.
const LOOK: Duration = Duration::from_millis(50);

/// Where snapshots of all pipelines are kept, and how often they are made.
#[derive(Clone, Debug)]
pub struct SnapshotSettings {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The broker's data directory.
    pub data_dir: PathBuf,
    /// A snapshot is made when an epoch has brought the bytes of changelog and progress log since the last one to this,
    /// or to the size of the last one, whichever is more.
    pub interval_bytes: u64,
}

/// The snapshots of one pipeline; cheap to clone.
#[derive(Clone)]
pub(in crate::pipelines) struct Snapshots(Arc<Shared>);

struct Shared {
    files: SnapshotFiles,
    interval_bytes: u64,
    partitions: Partitions,
    clock: Clock,
    /// The last durable epoch of whoever runs the pipeline.
    durable: Mutex<Option<Cut>>,
    /// Held by whoever makes or removes files, or lets go of what is in them.
    working: Mutex<()>,
    /// Held while a snapshot is made: one at a time in the whole broker.
    turn: Arc<Mutex<()>>,
    /// The bug, for the test that must find it: nothing of the logs is ever let go.
    #[cfg(test)]
    keeps_logs: AtomicBool,
}

impl Snapshots {
    pub(in crate::pipelines) fn new(
        settings: &SnapshotSettings,
        pipeline: &str,
        partitions: Partitions,
        clock: Clock,
        turn: Arc<Mutex<()>>,
    ) -> Self {
        Self(Arc::new(Shared {
            files: SnapshotFiles::new(Arc::clone(&settings.disk), &settings.data_dir, pipeline),
            interval_bytes: settings.interval_bytes,
            partitions,
            clock,
            durable: Mutex::new(None),
            working: Mutex::new(()),
            turn,
            #[cfg(test)]
            keeps_logs: AtomicBool::new(false),
        }))
    }

    pub(in crate::pipelines) fn files(&self) -> &SnapshotFiles {
        &self.0.files
    }

    /// The last durable epoch, if it is run or was since the broker started.
    pub(in crate::pipelines) fn durable(&self) -> Option<Cut> {
        self.0.durable.lock().clone()
    }

    pub(in crate::pipelines) fn set_durable(&self, cut: Option<Cut>) {
        *self.0.durable.lock() = cut;
    }

    /// Does something with the files that nothing else must happen beside.
    pub(in crate::pipelines) fn alone<T>(&self, work: impl FnOnce(&SnapshotFiles) -> T) -> T {
        let _working = self.0.working.lock();
        work(&self.0.files)
    }

    /// Makes the snapshot of a cut, and lets go of what the older of those that are left makes superfluous.
    fn make(
        &self,
        logs: &OwnLogs,
        cut: &Cut,
        plan: &Plan,
        script: &str,
        stop: &Stop,
    ) -> Result<u64, FileError> {
        let _both = self.both_unless_stopped(stop)?;
        let now_ms = self.0.clock.now_ms();
        let source = SnapshotSource { files: &self.0.files, logs, plan, script, now_ms, stop, told: &told };
        let (_, size) = make_snapshot(&source, cut, &SnapshotFiles::of_epoch(cut.progress.epoch))?;
        self.let_go(logs, cut)?;
        Ok(size.bytes)
    }

    /// Takes the turn, and this pipeline's own lock with it, or gives up when it is said to stop. Whoever has one of them may be
    /// at it for minutes: the turn is not kept from other pipelines while it is of no use.
    fn both_unless_stopped(&self, stop: &Stop) -> Result<[MutexGuard<'_, ()>; 2], FileError> {
        loop {
            if stop() {
                let path = self.0.files.directory().to_owned();
                return Err(FileError::Io { path, error: io::Error::other("it was stopped") });
            }
            let Some(turn) = self.0.turn.try_lock_for(LOOK) else { continue };
            if let Some(working) = self.0.working.try_lock() {
                return Ok([turn, working]);
            }
            drop(turn);
            std::thread::sleep(LOOK);
        }
    }

    /// Removes snapshots but for the two newest, and lets go of the logs before the older one of these. While it is not
    /// certain that there are two, only what certainly belongs to something else is removed, and none if there are none.
    pub(in crate::pipelines) fn let_go(&self, logs: &OwnLogs, cut: &Cut) -> Result<(), FileError> {
        let files = &self.0.files;
        let mut found = FoundSnapshots::of(files, logs, cut)?;
        for file in found.take_superfluous() {
            files.remove(&file)?;
        }
        if found.usable.len() == SNAPSHOTS_KEPT
            && let Some(UsableSnapshot { header, .. }) = found.usable.last()
        {
            self.trim(logs, header);
        }
        Ok(())
    }

    /// From here on nothing of the logs is let go, whatever snapshots there are.
    #[cfg(test)]
    pub(in crate::pipelines) fn keep_logs(&self) {
        self.0.keeps_logs.store(true, Ordering::Relaxed);
    }

    /// Lets go of the logs before a snapshot. Its own record of progress stays: it vouches for the snapshot.
    pub(in crate::pipelines) fn trim(&self, logs: &OwnLogs, header: &SnapshotHeader) {
        let to = [(&logs.changelog, header.changelog_end), (&logs.progress, header.progress_offset)];
        for (log, offset) in to {
            self.delete_before(log, offset);
        }
    }

    fn delete_before(&self, log: &Partition, offset: i64) {
        #[cfg(test)]
        if self.0.keeps_logs.load(Ordering::Relaxed) {
            return;
        }
        if offset <= log.published().log_start_offset {
            return;
        }
        // Nobody waits: what is not let go of now is the next time.
        if let Err(error) = self.0.partitions.delete_records(log, offset) {
            tracing::warn!(?log, offset, %error, "the log of a pipeline keeps what a snapshot has");
        }
    }
}

/// Makes snapshots while a pipeline runs. Dropped with its run, which waits until the one in the making is given up.
pub(in crate::pipelines) struct Keeper {
    snapshots: Snapshots,
    logs: OwnLogs,
    plan: Arc<Plan>,
    script: Arc<str>,
    name: String,
    /// By the bytes of changelog and progress log. A pipeline that keeps no state has progress only.
    policy: Arc<Mutex<SnapshotPolicy>>,
    stopping: Arc<AtomicBool>,
    job: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(in crate::pipelines) fn new(
        snapshots: Snapshots,
        logs: OwnLogs,
        plan: Arc<Plan>,
        script: &str,
        name: &str,
    ) -> Self {
        let policy = SnapshotPolicy::new(snapshots.0.interval_bytes);
        Self {
            snapshots,
            logs,
            plan,
            script: Arc::from(script),
            name: name.to_owned(),
            policy: Arc::new(Mutex::new(policy)),
            stopping: Arc::default(),
            job: None,
        }
    }

    pub(in crate::pipelines) fn logs(&self) -> &OwnLogs {
        &self.logs
    }

    pub(in crate::pipelines) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The pipeline was restored from a snapshot of so many bytes, and so many of its logs.
    pub(in crate::pipelines) fn restored(&mut self, snapshot_bytes: u64, log_bytes: u64) {
        self.policy.lock().restored(snapshot_bytes, log_bytes);
    }

    /// An epoch is durable that has added so many bytes to the pipeline's own logs.
    pub(in crate::pipelines) fn committed(&mut self, cut: Cut, log_bytes: u64) {
        let is_due = {
            let mut policy = self.policy.lock();
            policy.grown(log_bytes);
            policy.is_due()
        };
        if is_due && self.job.as_ref().is_none_or(JoinHandle::is_finished) {
            self.policy.lock().begun();
            self.begin(cut.clone());
        }
        self.snapshots.set_durable(Some(cut));
    }

    /// Gives up the snapshot that is in the making: from here on nobody removes one, or lets go of what is in it, until the
    /// next one is made.
    pub(in crate::pipelines) fn give_up(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(job) = self.job.take()
            && job.join().is_err()
        {
            tracing::error!(pipeline = self.name, "the thread of a snapshot ended with a panic");
        }
        self.stopping = Arc::default();
    }

    fn begin(&mut self, cut: Cut) {
        let (snapshots, logs, plan) = (self.snapshots.clone(), self.logs.clone(), Arc::clone(&self.plan));
        let (script, policy, name) = (Arc::clone(&self.script), Arc::clone(&self.policy), self.name.clone());
        let stopping = Arc::clone(&self.stopping);
        let stop: Stop = Arc::new(move || stopping.load(Ordering::Relaxed));
        let work = move || match snapshots.make(&logs, &cut, &plan, &script, &stop) {
            Ok(bytes) => {
                policy.lock().made(bytes);
                tracing::debug!(pipeline = name, epoch = cut.progress.epoch, bytes, "a snapshot was made");
            }
            Err(_) if stop() => {}
            Err(error) => tracing::warn!(pipeline = name, %error, "no snapshot; it is tried again later"),
        };
        match std::thread::Builder::new().name(format!("snapshot-{}", self.name)).spawn(work) {
            Ok(job) => self.job = Some(job),
            Err(error) => tracing::warn!(pipeline = self.name, %error, "no thread for a snapshot"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.give_up();
    }
}
