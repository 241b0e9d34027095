//! Snapshots of a task's state on the worker's disk, which bound what of the changelog the next start here reads.
//!
//! One is made as in a broker: on a thread of its own, of the one before and of the changelog since, while the task goes on.
//! The changelog is read from the cluster again for that: what an epoch writes is nowhere held until then.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use logmill_stream::{
    FoundSnapshots, Plan, Progress, SnapshotCut, SnapshotFileError, SnapshotFiles, SnapshotPolicy,
    SnapshotSource, SnapshotStop, UsableSnapshot, make_snapshot,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::commits::Written;
use crate::own_logs::{OwnLogs, longest_life};
use crate::state_dir::TaskDirectory;
use crate::task::is_told_to_stop;

/// Where snapshots are kept, and how often they are made.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The state directory. Every pipeline has a directory in it, and in that every task.
    pub directory: PathBuf,
    /// A snapshot is made when the changelog since the last one has come to so many bytes, or to the size of the last one,
    /// whichever is more.
    pub interval_bytes: u64,
    /// The pipeline's script, which snapshots say they are of.
    pub script: String,
}

/// The snapshots of all tasks of a worker.
#[derive(Debug)]
pub(crate) struct Snapshots {
    options: SnapshotOptions,
    /// Whether one is being made: one at a time in the worker.
    busy: Arc<AtomicBool>,
}

impl Snapshots {
    pub(crate) fn new(options: SnapshotOptions) -> Self {
        Self { options, busy: Arc::default() }
    }

    /// Those of a task.
    pub(crate) fn of_task(&self, pipeline: &str, task: i32) -> SnapshotFiles {
        SnapshotFiles::new(Arc::new(TaskDirectory::new(&self.options.directory, pipeline, task)))
    }
}

/// What a task was restored from.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// The snapshot, if there was one.
    pub(crate) snapshot: Option<UsableSnapshot>,
    /// The offset behind the changelog that was read.
    pub(crate) changelog_end: i64,
    /// How many bytes of it were read.
    pub(crate) changelog_bytes: u64,
}

/// Makes snapshots while a task runs. Dropped with its run, which waits until the one in the making is given up.
pub(crate) struct Keeper {
    files: SnapshotFiles,
    /// They stop when the keeper says so.
    logs: OwnLogs,
    plan: Arc<Plan>,
    script: Arc<str>,
    policy: Arc<Mutex<SnapshotPolicy>>,
    busy: Arc<AtomicBool>,
    /// The offset behind the changelog of the last committed epoch, where it is known.
    changelog_end: Option<i64>,
    /// When the last one was begun, in milliseconds, if there is one.
    begun_ms: Option<i64>,
    stop: watch::Sender<bool>,
    job: Option<JoinHandle<()>>,
}

/// The worker's turn to make one.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(busy: &Arc<AtomicBool>) -> Option<Turn> {
        (!busy.swap(true, Ordering::Acquire)).then(|| Turn(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Keeper {
    pub(crate) fn new(
        snapshots: &Snapshots,
        files: SnapshotFiles,
        logs: &OwnLogs,
        plan: Arc<Plan>,
        restored: &Restored,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut policy = SnapshotPolicy::new(snapshots.options.interval_bytes);
        let base = restored.snapshot.as_ref();
        policy.restored(base.map_or(0, |base| base.bytes), restored.changelog_bytes);
        Self {
            files,
            logs: OwnLogs { stop: stopped, ..logs.clone() },
            plan,
            script: Arc::from(&*snapshots.options.script),
            policy: Arc::new(Mutex::new(policy)),
            busy: Arc::clone(&snapshots.busy),
            changelog_end: Some(restored.changelog_end),
            begun_ms: base.map(|base| base.header.created_ms),
            stop,
            job: None,
        }
    }

    /// An epoch is committed.
    pub(crate) fn committed(&mut self, progress: &Progress, written: &Written, now_ms: i64) {
        if written.changelog_bytes > 0 {
            self.changelog_end = written.changelog_end;
        }
        let is_due = {
            let mut policy = self.policy.lock();
            policy.grown(written.changelog_bytes);
            policy.is_due() || policy.has_grown() && self.is_old(now_ms)
        };
        // Of what was written twice, as an answer was lost, the place is not known; it is of the next epoch.
        let (Some(progress_offset), Some(changelog_end)) = (written.progress_offset, self.changelog_end)
        else {
            return;
        };
        if is_due
            && self.job.as_ref().is_none_or(JoinHandle::is_finished)
            && let Some(turn) = Turn::take(&self.busy)
        {
            self.policy.lock().begun();
            self.begun_ms = Some(now_ms);
            self.begin(SnapshotCut { progress: progress.clone(), progress_offset, changelog_end }, turn);
        }
    }

    /// Whether the last one will soon be too old to be gone on from.
    fn is_old(&self, now_ms: i64) -> bool {
        let half = longest_life(self.logs.deletions_stay).as_millis() / 2;
        self.begun_ms
            .is_some_and(|begun| u128::from(now_ms.saturating_sub(begun).max(0).unsigned_abs()) >= half)
    }

    fn begin(&mut self, cut: SnapshotCut, turn: Turn) {
        let (task, epoch) = (self.logs.task, cut.progress.epoch);
        let (policy, now_ms) = (Arc::clone(&self.policy), self.begun_ms.unwrap_or_default());
        let (files, logs) = (self.files.clone(), self.logs.clone());
        let (plan, script) = (Arc::clone(&self.plan), Arc::clone(&self.script));
        let work = move || {
            let _turn = turn;
            let stopped = logs.stop.clone();
            let stop: SnapshotStop = Arc::new(move || is_told_to_stop(&stopped));
            let told = |what: &str| tracing::warn!(task, "a snapshot cannot be gone on from: {what}");
            let source = SnapshotSource {
                files: &files,
                logs: &logs,
                plan: &plan,
                script: &script,
                now_ms,
                stop: &stop,
                told: &told,
            };
            match make(&source, &cut) {
                Ok(bytes) => {
                    policy.lock().made(bytes);
                    tracing::info!(task, epoch, bytes, "a snapshot was made");
                }
                Err(_) if stop() => {}
                Err(error) => {
                    tracing::warn!(task, epoch, %error, "no snapshot; the task goes on, and it is tried again later");
                }
            }
        };
        match std::thread::Builder::new().name(format!("snapshot-{task}")).spawn(work) {
            Ok(job) => self.job = Some(job),
            Err(error) => tracing::warn!(task, %error, "no thread for a snapshot"),
        }
    }
}

/// Makes the snapshot of a cut, and removes those that are superfluous then. Gives its size.
fn make(source: &SnapshotSource<'_>, cut: &SnapshotCut) -> Result<u64, SnapshotFileError> {
    let (_, size) = make_snapshot(source, cut, &SnapshotFiles::of_epoch(cut.progress.epoch))?;
    let mut found = FoundSnapshots::of(source.files, source.logs, cut)?;
    found.take_superfluous().iter().try_for_each(|file| source.files.remove(file))?;
    Ok(size.bytes)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(job) = self.job.take()
            && job.join().is_err()
        {
            tracing::error!(task = self.logs.task, "the thread of a snapshot ended with a panic");
        }
    }
}
