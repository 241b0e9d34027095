//! The broker in numbers.
//!
//! ```text
//! connections, handlers, threads ──count──► Telemetry, Traffic, StoreStats    relaxed atomics, once a request or batch
//!                                                  │ asked
//! Prometheus ──GET /metrics──► net ───────┐        ▼                                   (/livez, /readyz: `health`)
//! logmill broker metrics ──gRPC───────────┴──► Scraper ──► families: name, help, labels, values
//! ```
//!
//! [`scraper`] and the files below it are the only place that knows the metrics' names. Nothing is counted for a
//! single record, and no metric has more than [`family::MAX_SERIES`] values.

mod family;
mod health;
mod histogram;
mod requests;
mod scraper;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use family::{Family, Labels, Value};
pub(crate) use health::Health;
pub(crate) use histogram::Histogram;
pub(crate) use requests::RequestCounts;
pub(crate) use scraper::{Limits, Scraper, UnreadTimes};

use self::histogram::{COUNTS, TIMES};

/// What is counted where it happens and kept nowhere else.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// Kafka's requests.
    pub(crate) requests: RequestCounts,
    /// How long a write of the journal took to be durable.
    pub(crate) journal_writes: Histogram,
    /// How many frames it carried: who waited for it.
    pub(crate) journal_frames: Histogram,
    /// How long checkpoints took.
    pub(crate) checkpoints: Histogram,
    /// What the cleaner did.
    pub(crate) cleaning: CleaningCounts,
}

/// What the cleaner did since the start.
#[derive(Debug, Default)]
pub(crate) struct CleaningCounts {
    pub(crate) rounds: Tally,
    pub(crate) trimmed_partitions: Tally,
    pub(crate) removed_bytes: Tally,
    pub(crate) compactions: Tally,
    pub(crate) compaction_read_bytes: Tally,
    pub(crate) compaction_written_bytes: Tally,
    pub(crate) compacted_records: Tally,
    pub(crate) failures: Tally,
    pub(crate) expired_producers: Tally,
}

/// A counter that any thread may add to.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            requests: RequestCounts::default(),
            journal_writes: Histogram::new(TIMES),
            journal_frames: Histogram::new(COUNTS),
            checkpoints: Histogram::new(TIMES),
            cleaning: CleaningCounts::default(),
        }
    }
}
