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
    Runtime { began: tokio::time::Instant, at_ms: i64 },
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

    /// A clock that goes with the time of tokio's runtime, which a simulation pauses; now it is `start_ms`.
    #[must_use]
    pub fn of_runtime(start_ms: i64) -> Self {
        Self(Source::Runtime { began: tokio::time::Instant::now(), at_ms: start_ms })
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, as_ms),
            Source::Manual(now) => now.load(Ordering::Relaxed),
            Source::Runtime { began, at_ms } => at_ms + as_ms(began.elapsed()),
        }
    }

    /// Milliseconds on a clock that nobody sets: by it a jump of the other one is seen.
    #[must_use]
    pub fn steady_ms(&self) -> i64 {
        match &self.0 {
            Source::System => as_ms(STARTED.elapsed()),
            Source::Manual(now) => now.load(Ordering::Relaxed),
            Source::Runtime { began, .. } => as_ms(began.elapsed()),
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
            Source::Runtime { began, .. } => began.elapsed(),
        }
    }

    /// Moves a manual clock on; the others do not obey.
    pub fn advance(&self, by_ms: i64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

fn as_ms(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
