//! The broker's clock: the one place that reads the time.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in milliseconds since the Unix epoch.
///
/// Time labels records and drives deadlines; it never decides safety.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

/// The beginning of the time that only goes forward.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds on the clock that nobody sets, for who cannot have a [`Clock`].
pub(crate) fn steady_ns() -> u64 {
    u64::try_from(STARTED.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock for tests, which stands still until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start_ms))))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Milliseconds on a clock that nobody sets: by it a jump of the other one is seen.
    #[must_use]
    pub fn steady_ms(&self) -> i64 {
        match &self.0 {
            Source::System => i64::try_from(STARTED.elapsed().as_millis()).unwrap_or(i64::MAX),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Time on the clock that nobody sets, for measuring.
    #[must_use]
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Source::System => STARTED.elapsed(),
            Source::Manual(now) => {
                Duration::from_millis(u64::try_from(now.load(Ordering::Relaxed)).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock on; the system's clock does not obey.
    pub fn advance(&self, by_ms: i64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}
