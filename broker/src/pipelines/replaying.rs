//! State made of what was read already: on a thread of its own, within the pipeline's budget, until somebody gives it up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logmill_stream::Shadow;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::failure::RunError;
use super::logs::BrokerLogs;
use super::manager::Pipelines;
use super::restoring::check_budget;
use super::runner::work_in_background;

/// A shadow on its way, and what it reads.
pub(super) struct Running {
    pub(super) shadow: Shadow,
    pub(super) logs: BrokerLogs,
}

/// Why a replay that was given up has ended.
const GIVEN_UP: &str =
    "it was given up, for the pipeline is to be stopped, deleted, finished or taken back to a savepoint";

/// The upgrades that are under way, each with whether it is given up, by pipeline.
#[derive(Default)]
pub(super) struct Replays(Mutex<BTreeMap<String, Arc<AtomicBool>>>);

impl Replays {
    /// An upgrade of a pipeline begins; `None` while there is one.
    pub(super) fn begin(&self, name: &str) -> Option<Replay<'_>> {
        let given_up = Arc::new(AtomicBool::new(false));
        match self.0.lock().entry(name.to_owned()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(entry) => entry.insert(Arc::clone(&given_up)),
        };
        Some(Replay { replays: self, name: name.to_owned(), given_up })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Ends the upgrade of a pipeline, if there is one: it is to be changed in another way.
    pub(super) fn give_up(&self, name: &str) {
        if let Some(given_up) = self.0.lock().get(name) {
            given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// One of them, until it is dropped: then it is given up.
pub(super) struct Replay<'r> {
    replays: &'r Replays,
    name: String,
    given_up: Arc<AtomicBool>,
}

impl Replay<'_> {
    /// That it is not given up.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.given_up.load(Ordering::Relaxed) {
            true => Err(GIVEN_UP.to_owned()),
            false => Ok(()),
        }
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        // A thread that still makes state makes it for nobody.
        self.given_up.store(true, Ordering::Relaxed);
        self.replays.0.lock().remove(&self.name);
    }
}

/// Whether a replay may go on.
struct Rules {
    /// How many bytes it may hold: what the pipeline may have now.
    budget: Box<dyn Fn() -> u64 + Send>,
    closing: Box<dyn Fn() -> bool + Send>,
    given_up: Arc<AtomicBool>,
}

impl Rules {
    fn check(&self, shadow: &Shadow) -> Result<(), String> {
        if (self.closing)() {
            return Err("the broker is stopping".to_owned());
        }
        if self.given_up.load(Ordering::Relaxed) {
            return Err(GIVEN_UP.to_owned());
        }
        let bytes = shadow.bytes();
        match check_budget((self.budget)(), bytes, || shadow.operator_sizes()) {
            Err(RunError::OverBudget { bytes, budget, operator }) => Err(format!(
                "making its state takes {bytes} bytes, twice what there is of it, and the pipeline may have {budget}; most of \
                 it is in {operator}. Give it more (`logmill pipeline resume NAME --memory {}MiB`), or keep less: a state \
                 time-to-live, a smaller window",
                bytes.saturating_mul(2).div_ceil(1 << 20)
            )),
            Err(error) => Err(error.to_string()),
            Ok(()) => Ok(()),
        }
    }
}

impl Pipelines {
    /// Runs a shadow to its targets, with a pipeline's priority.
    pub(super) async fn catch_up(
        &self,
        replay: &Replay<'_>,
        mut running: Running,
    ) -> Result<Running, String> {
        let (clock, closing) = (self.0.clock.clone(), self.closing());
        let (pipelines, name) = (self.clone(), replay.name.clone());
        let budget = move || {
            let known = pipelines.0.known.lock();
            known.get(&name).map_or(0, |known| known.control.memory())
        };
        let rules = Rules {
            budget: Box::new(budget),
            closing: Box::new(move || closing()),
            given_up: Arc::clone(&replay.given_up),
        };
        let (done, ended) = oneshot::channel();
        let work = move || {
            work_in_background();
            let mut run = || loop {
                rules.check(&running.shadow)?;
                let now = clock.now_ms();
                match running.shadow.turn(&mut running.logs, now, now.unsigned_abs()) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            };
            let result = run();
            // The upgrade has ended if nobody waits for it.
            let _ = done.send(result.map(|()| running));
        };
        let thread = std::thread::Builder::new().name(format!("upgrade-{}", replay.name));
        thread.spawn(work).map_err(|error| format!("no thread to make its state: {error}"))?;
        ended.await.map_err(|_| "making its state met a defect of the broker: see its log".to_owned())?
    }
}
