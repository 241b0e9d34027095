//! Whether the broker lives, and whether it is ready: what orchestrators and load balancers ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::Scraper;
use crate::net::{Readiness, Told};

/// What the page over HTTP tells. Who answers lives; it is ready once clients are served as always.
#[derive(Clone)]
pub(crate) struct Health(Arc<Shared>);

struct Shared {
    /// Set when the log is open and everything is put together.
    scraper: OnceLock<Scraper>,
    listening: AtomicBool,
    /// Cancelled when no new connections are taken any more.
    stop: CancellationToken,
}

impl Health {
    /// Of a broker that is about to start, and stops by `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let (scraper, listening) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Shared { scraper, listening, stop }))
    }

    /// The log is open, and the numbers of the broker can be had here.
    pub(crate) fn is_open(&self, scraper: Scraper) {
        // Only the first one counts, and there is one.
        let _ = self.0.scraper.set(scraper);
    }

    /// The port is open, and served.
    pub(crate) fn is_listening(&self) {
        self.0.listening.store(true, Ordering::Release);
    }
}

impl Told for Health {
    async fn metrics(&self) -> Option<String> {
        match self.0.scraper.get().cloned() {
            Some(scraper) => Some(scraper.text().await),
            None => None,
        }
    }

    /// A journal that has failed ends the process, so whoever is answered has one that has not. A full disk is told and is
    /// no reason not to be ready: reads go on, and deleting makes room.
    fn readiness(&self) -> Readiness {
        let stopping = self.0.stop.is_cancelled();
        let listening = self.0.listening.load(Ordering::Acquire);
        let (open, full, loading) = match self.0.scraper.get() {
            None => (false, false, 0),
            Some(scraper) => (true, scraper.store.congestion().storage_full, scraper.coordinators.loading()),
        };
        let journal = match (open, full) {
            (false, _) => "is being read".to_owned(),
            (true, true) => "ok, but the disk is full and produces are refused".to_owned(),
            (true, false) => "ok".to_owned(),
        };
        let port = match (stopping, listening) {
            (true, _) => "is closed, the broker stops",
            (false, true) => "ok",
            (false, false) => "is not open yet",
        };
        let coordinators = match (open, loading) {
            (false, _) => "wait for the journal".to_owned(),
            (true, 0) => "ok".to_owned(),
            (true, loading) => format!("{loading} logs are still to be read"),
        };
        Readiness {
            ready: open && listening && !stopping && loading == 0,
            text: format!("journal: {journal}\nport: {port}\ncoordinators: {coordinators}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_told_apart_from_a_stop() {
        let stop = CancellationToken::new();
        let health = Health::new(stop.clone());
        let starting = health.readiness();
        assert!(!starting.ready && starting.text.contains("journal: is being read"), "{starting:?}");
        health.is_listening();
        assert!(!health.readiness().ready, "without a log");
        stop.cancel();
        let stopping = health.readiness();
        assert!(!stopping.ready && stopping.text.contains("the broker stops"), "{stopping:?}");
    }
}
