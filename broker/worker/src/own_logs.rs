//! A task's own logs, as snapshots of its state are made of them and held against them.

use std::future::Future;
use std::time::Duration;

use logmill_client::{Client, Error};
use logmill_stream::{Batch, Progress, SnapshotHeader, SnapshotLogs};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::names::Names;
use crate::restore;
use crate::task::{now_ms, unless_stopped};

/// By how much a clock may have been put back.
const CLOCK_STEPS_MS: i64 = 60_000;

/// The changelog and the progress log of one task.
#[derive(Clone)]
pub(crate) struct OwnLogs {
    pub(crate) client: Client,
    pub(crate) runtime: Handle,
    pub(crate) names: Names,
    pub(crate) task: i32,
    /// What tells the changelog's topic from another one of the name.
    pub(crate) id: String,
    /// Where the changelog begins.
    pub(crate) start: i64,
    /// For how long a deletion stays in the changelog at least.
    pub(crate) deletions_stay: Duration,
    /// Turns true when nothing is to be read any more.
    pub(crate) stop: watch::Receiver<bool>,
}

/// What went wrong, as snapshots want to know it.
struct Said(String);

impl From<Error> for Said {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl OwnLogs {
    fn wait<T>(&self, read: impl Future<Output = T>) -> Result<T, String> {
        unless_stopped(&self.runtime, &self.stop, read).ok_or_else(|| "it was stopped".to_owned())
    }
}

impl SnapshotLogs for OwnLogs {
    fn id(&self) -> String {
        format!("{}-{}", self.id, self.task)
    }

    fn changelog_start(&self) -> i64 {
        self.start
    }

    fn lacks(&self, header: &SnapshotHeader) -> Option<String> {
        let (end, start) = (header.changelog_end, self.start);
        if end < start {
            return Some(format!("it ends at offset {end} of the changelog, which begins at {start}"));
        }
        lost_deletions(header.created_ms, now_ms(), self.deletions_stay)
    }

    /// It is compacted: of each key the last change is there.
    fn is_whole(&self, progress: &Progress) -> bool {
        progress.state_from.is_none()
    }

    fn vouches(&self, progress: &Progress, offset: i64) -> Result<bool, String> {
        let found = restore::progress_at(&self.client, &self.names.progress, self.task, offset);
        let found = self.wait(found)?.map_err(|error| error.to_string())?;
        Ok(found.is_some_and(|found| found == *progress))
    }

    fn each_batch(
        &self,
        from: i64,
        to: i64,
        take: &mut dyn FnMut(&Batch) -> Result<(), String>,
    ) -> Result<(), String> {
        let take = |batch: &Batch| take(batch).map_err(Said);
        let read = restore::each_batch(&self.client, &self.names.changelog, self.task, (from, to), take);
        self.wait(read)?.map_err(|Said(reason)| reason)
    }
}

/// How long after it was made a snapshot is gone on from. Behind that compaction may have removed a deletion that came after
/// the snapshot, which has the entry still. Half of the time is for clocks that differ, and for reading.
pub(crate) fn longest_life(deletions_stay: Duration) -> Duration {
    deletions_stay / 2
}

/// Why deletions behind a snapshot of this time may be gone.
fn lost_deletions(made_ms: i64, now_ms: i64, deletions_stay: Duration) -> Option<String> {
    let age = now_ms.saturating_sub(made_ms);
    if age < -CLOCK_STEPS_MS {
        return Some(format!("it was made {} s from now: the clock was put back", -age / 1000));
    }
    let life = longest_life(deletions_stay);
    (u128::from(age.max(0).unsigned_abs()) > life.as_millis()).then(|| {
        format!(
            "it is {} s old, and used for {} s: the changelog keeps deletions for {} s (delete.retention.ms), and what \
             was deleted since would be back",
            age / 1000,
            life.as_secs(),
            deletions_stay.as_secs()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_used_for_half_as_long_as_deletions_stay() {
        let stay = Duration::from_secs(1_000);
        let at = |age_ms: i64| lost_deletions(1_000_000, 1_000_000 + age_ms, stay);
        assert_eq!(at(0), None);
        assert_eq!(at(500_000), None);
        let old = at(500_001).expect("too old");
        assert!(old.contains("delete.retention.ms"), "{old}");
        // A clock that is set by the network.
        assert_eq!(at(-1_000), None);
        let ahead = at(-60_001).expect("of another time");
        assert!(ahead.contains("put back"), "{ahead}");
        assert!(lost_deletions(0, 1, Duration::ZERO).is_some(), "nothing stays");
        assert!(lost_deletions(i64::MIN, i64::MAX, stay).is_some());
    }
}
