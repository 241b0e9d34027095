//! How long the journal's device takes for bytes, by the writes of lately.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Writes of fewer bytes say what a write takes, not what bytes do.
const SMALLEST_BYTES: u64 = 32 << 10;
/// Until there was one: 100 MB/s.
const NS_PER_MIB_AT_FIRST: u64 = 10_000_000;
/// One write counts for so much, those before for the rest.
const WEIGHT: u64 = 8;

/// The time that a MiB takes, smoothed. Only the journal's thread notes; anybody asks.
#[derive(Debug)]
pub(super) struct WriteTime {
    ns_per_mib: AtomicU64,
}

impl WriteTime {
    pub(super) fn new() -> WriteTime {
        WriteTime { ns_per_mib: AtomicU64::new(NS_PER_MIB_AT_FIRST) }
    }

    /// Takes note of a write that was durable after a time.
    pub(super) fn note(&self, bytes: u64, ns: u64) {
        if bytes < SMALLEST_BYTES {
            return;
        }
        let this = u64::try_from((u128::from(ns) << 20) / u128::from(bytes)).unwrap_or(u64::MAX);
        let before = self.ns_per_mib.load(Ordering::Relaxed);
        let smoothed = before - before / WEIGHT + this / WEIGHT;
        self.ns_per_mib.store(smoothed, Ordering::Relaxed);
    }

    /// How long that many bytes take, about.
    pub(super) fn of(&self, bytes: u64) -> Duration {
        let ns = (u128::from(self.ns_per_mib.load(Ordering::Relaxed)) * u128::from(bytes)) >> 20;
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_writes_of_lately_and_no_small_ones() {
        let time = WriteTime::new();
        assert_eq!(time.of(2 << 20), Duration::from_millis(20));
        for _ in 0..100 {
            time.note(1 << 20, 2_000_000);
            time.note(4096, 5_000_000);
        }
        let now = time.of(1 << 20);
        assert!((Duration::from_micros(1_999)..Duration::from_micros(2_001)).contains(&now), "{now:?}");
        // One that stood still does not count for all.
        time.note(1 << 20, 802_000_000);
        assert!(time.of(1 << 20) < Duration::from_millis(103), "{:?}", time.of(1 << 20));
        time.note(1 << 20, u64::MAX);
        assert!(time.of(u64::MAX) > Duration::from_secs(1));
    }
}
