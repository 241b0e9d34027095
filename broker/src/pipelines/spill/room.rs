//! Waiting for a store to work again: longer each time, but not beyond there being room on its disk.
//!
//! A store that has failed is opened again, or filled again, to find out; on a disk that is full that writes all there is room
//! for, and takes it away from everybody else. So what is free is asked for in between.

use std::path::Path;
use std::time::Duration;

/// The first wait, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));

/// So much more must be free than was when the store failed for it to be tried early.
pub(super) const MORE_ROOM: u64 = 16 << 20;

/// How a store has failed since it last worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// How often.
    failures: u32,
    /// What was free on its disk the last time, in bytes; `None` where that is not known.
    free: Option<u64>,
}

impl Waiting {
    /// It has failed, and so much is free.
    pub(super) fn failed(&mut self, free: Option<u64>) {
        self.failures = self.failures.saturating_add(1);
        self.free = free;
    }

    /// How often it has failed since it last worked.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long it is waited for, where no room comes.
    pub(super) fn longest(&self) -> Duration {
        let doubled = WAITS.0.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        doubled.min(WAITS.1)
    }

    /// Whether to try again, having waited so long, with so much free.
    pub(super) fn is_over(&self, waited: Duration, free: Option<u64>) -> bool {
        let has_room = self.free.zip(free).is_some_and(|(then, now)| now >= then.saturating_add(MORE_ROOM));
        has_room || waited >= self.longest()
    }
}

/// What is free on the disk of a path that may not be there yet, in bytes.
pub(super) fn free_on_disk(path: &Path) -> Option<u64> {
    let of = |path: &Path| rustix::fs::statvfs(path).ok();
    let space = path.ancestors().filter(|path| !path.as_os_str().is_empty()).find_map(of)?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_waited_for_longer_each_time_up_to_a_bound() {
        let mut waiting = Waiting::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                waiting.failed(Some(0));
                waiting.longest().as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        (0..100).for_each(|_| waiting.failed(None));
        assert_eq!(waiting.longest(), seconds(64));
        assert!(!waiting.is_over(seconds(63), None) && waiting.is_over(seconds(64), None));
    }

    #[test]
    fn room_ends_a_wait_early() {
        let mut waiting = Waiting::default();
        (0..5).for_each(|_| waiting.failed(Some(1_000)));
        assert!(!waiting.is_over(seconds(1), Some(1_000)));
        assert!(!waiting.is_over(seconds(1), Some(999 + MORE_ROOM)));
        assert!(waiting.is_over(seconds(1), Some(1_000 + MORE_ROOM)));
        // What is not known ends nothing.
        assert!(!waiting.is_over(seconds(15), None));
        waiting.failed(None);
        assert!(!waiting.is_over(seconds(15), Some(u64::MAX)));
    }

    #[test]
    fn the_disk_of_what_is_not_there_yet_is_that_of_what_is_above() {
        let directory = tempfile::tempdir().unwrap();
        let free = free_on_disk(&directory.path().join("not").join("there")).unwrap();
        assert!(free > 0);
    }
}
