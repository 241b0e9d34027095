//! How long the journal's device takes for a write, by the writes of lately: for any, and for each byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Writes of fewer bytes say what a write takes, those of more what bytes do.
const LARGE_BYTES: u64 = 16 << 10;
/// Until there was one: 100 MB/s.
const NS_PER_MIB_AT_FIRST: u64 = 10_000_000;
/// One write counts for so much, those before for the rest.
const WEIGHT: u64 = 8;
/// A write that took longer than so many times what was expected counts as such a one: the device stood still.
const OUTLIER: u64 = 8;
const LEAST_NS: u64 = 100_000;

/// What writes take, smoothed. Only the journal's thread notes; anybody asks.
#[derive(Debug)]
pub(super) struct WriteTime {
    ns: AtomicU64,
    ns_per_mib: AtomicU64,
}

fn per_mib(ns: u64, bytes: u64) -> u64 {
    u64::try_from((u128::from(ns) << 20) / u128::from(bytes.max(1))).unwrap_or(u64::MAX)
}

/// Moves towards what came.
fn smooth(of: &AtomicU64, came: u64, least: u64) {
    let before = of.load(Ordering::Relaxed);
    let came = came.min(before.max(least).saturating_mul(OUTLIER));
    of.store(before - before / WEIGHT + came / WEIGHT, Ordering::Relaxed);
}

impl WriteTime {
    pub(super) fn new() -> WriteTime {
        WriteTime { ns: AtomicU64::new(0), ns_per_mib: AtomicU64::new(NS_PER_MIB_AT_FIRST) }
    }

    /// Takes note of a write that was durable after a time.
    pub(super) fn note(&self, bytes: u64, ns: u64) {
        if bytes >= LARGE_BYTES {
            let of_bytes = ns.saturating_sub(self.ns.load(Ordering::Relaxed));
            smooth(&self.ns_per_mib, per_mib(of_bytes, bytes), LEAST_NS);
        } else if bytes > 0 {
            smooth(&self.ns, ns, LEAST_NS);
            // Its bytes took no more than all of it did.
            if per_mib(ns, bytes) < self.ns_per_mib.load(Ordering::Relaxed) {
                smooth(&self.ns_per_mib, per_mib(ns, bytes), LEAST_NS);
            }
        }
    }

    /// How long a write of that many bytes takes, about.
    pub(super) fn of(&self, bytes: u64) -> Duration {
        let of_bytes = (u128::from(self.ns_per_mib.load(Ordering::Relaxed)) * u128::from(bytes)) >> 20;
        let of_bytes = u64::try_from(of_bytes).unwrap_or(u64::MAX);
        Duration::from_nanos(of_bytes.saturating_add(self.ns.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn is_about(found: Duration, us: u64) {
        let wanted = Duration::from_micros(us);
        assert!(found.abs_diff(wanted) <= wanted / 100, "{found:?}, not {wanted:?}");
    }

    #[test]
    fn a_write_takes_time_and_each_of_its_bytes() {
        let time = WriteTime::new();
        assert_eq!(time.of(2 * MIB), Duration::from_millis(20));
        for _ in 0..100 {
            time.note(MIB, 2_500_000);
            time.note(4096, 500_000);
            time.note(0, 1);
        }
        is_about(time.of(0), 500);
        is_about(time.of(MIB), 2_500);
        is_about(time.of(2 * MIB), 4_500);
    }

    #[test]
    fn one_write_for_which_the_device_stood_still_does_not_count_for_all() {
        let time = WriteTime::new();
        for _ in 0..100 {
            time.note(MIB, 2_000_000);
        }
        time.note(MIB, u64::MAX);
        time.note(LARGE_BYTES, 5_000_000_000);
        time.note(1, 5_000_000_000);
        assert!(time.of(MIB) < Duration::from_millis(9), "{:?}", time.of(MIB));
    }

    #[test]
    fn small_writes_say_that_bytes_take_less() {
        let time = WriteTime::new();
        for _ in 0..100 {
            time.note(MIB, 80_000_000_000);
        }
        let slow = time.of(MIB);
        for _ in 0..400 {
            time.note(4096, 200_000);
        }
        assert!(slow > Duration::from_secs(10), "{slow:?}");
        assert!(time.of(MIB) < Duration::from_millis(60), "{:?}", time.of(MIB));
    }
}
