//! What is shown of a runner; shared with the manager.

use std::sync::Arc;
use std::time::Duration;

use logmill_stream::{OperatorSize, Progress};
use parking_lot::Mutex;

use super::events::{EventKind, Events};
use super::failure::Failure;
use super::held_back::Moves;
use super::meter::{EpochTimes, Meter, Phase, Shares};
use super::status::PipelineState;

#[derive(Clone)]
pub(super) struct Shown(Arc<Mutex<Showing>>);

struct Showing {
    state: PipelineState,
    progress: Option<Progress>,
    /// When the watermarks of its inputs moved last.
    moves: Moves,
    open_windows: u64,
    sizes: Vec<OperatorSize>,
    shards: u32,
    meter: Meter,
    last_failure: Option<Failure>,
}

/// All of it at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) state: PipelineState,
    pub(super) progress: Option<Progress>,
    /// When the watermark of each of its inputs moved last.
    pub(super) moved: Vec<i64>,
    pub(super) open_windows: u64,
    pub(super) sizes: Vec<OperatorSize>,
    pub(super) running_shards: u32,
    pub(super) epochs: EpochTimes,
    pub(super) shares: Shares,
    pub(super) limiting: Phase,
    pub(super) last_failure: Option<Failure>,
}

/// What a durable epoch left behind.
pub(super) struct Durable {
    pub(super) progress: Progress,
    pub(super) open_windows: u64,
    /// Not with every epoch: counting costs.
    pub(super) sizes: Option<Vec<OperatorSize>>,
}

impl Shown {
    pub(super) fn new(state: PipelineState, now: Duration) -> Self {
        Self(Arc::new(Mutex::new(Showing {
            state,
            progress: None,
            moves: Moves::default(),
            open_windows: 0,
            sizes: Vec::new(),
            shards: 0,
            meter: Meter::new(now),
            last_failure: None,
        })))
    }

    pub(super) fn state(&self) -> PipelineState {
        self.0.lock().state.clone()
    }

    pub(super) fn set_state(&self, state: PipelineState) {
        let mut shown = self.0.lock();
        if let PipelineState::Failed(failure) | PipelineState::Blocked(failure) = &state {
            shown.last_failure = Some(failure.clone());
        }
        shown.state = state;
    }

    /// One without a thread is not started any more by the broker, which has just started and has not come to it.
    pub(super) fn pass_over(&self) {
        let mut shown = self.0.lock();
        if shown.state == PipelineState::Starting {
            shown.state = PipelineState::Stopped;
        }
    }

    /// Shows why it cannot go on, and says so once.
    pub(super) fn block(&self, why: Failure, events: &Events) {
        let known = match self.state() {
            PipelineState::Blocked(before) => before.what == why.what,
            _ => false,
        };
        if !known {
            events.say(why.at_ms, EventKind::Blocked, why.to_string());
            self.set_state(PipelineState::Blocked(why));
        }
    }

    /// The last durable epoch; `None` where there was none yet.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.0.lock().progress.as_ref().map(|progress| progress.epoch)
    }

    pub(super) fn get(&self, now: Duration) -> Snapshot {
        let shown = self.0.lock();
        Snapshot {
            state: shown.state.clone(),
            progress: shown.progress.clone(),
            moved: shown.moves.since(),
            open_windows: shown.open_windows,
            sizes: shown.sizes.clone(),
            running_shards: if shown.state.is_live() { shown.shards } else { 0 },
            epochs: shown.meter.epoch_times(),
            shares: shown.meter.shares(now),
            limiting: shown.meter.limiting(now),
            last_failure: shown.last_failure.clone(),
        }
    }

    /// A run begins: what is measured is measured anew.
    pub(super) fn begin(&self, now: Duration) {
        let mut shown = self.0.lock();
        shown.meter = Meter::new(now);
        shown.shards = 0;
    }

    /// Its work is split into so many shards.
    pub(super) fn set_shards(&self, shards: u32) {
        self.0.lock().shards = shards;
    }

    pub(super) fn enter(&self, phase: Phase, now: Duration) {
        self.0.lock().meter.enter(phase, now);
    }

    pub(super) fn set_sizes(&self, sizes: Vec<OperatorSize>) {
        self.0.lock().sizes = sizes;
    }

    /// An epoch is durable; `took` is what it took, unless it is an earlier run's.
    pub(super) fn set_durable(&self, durable: Durable, took: Option<Duration>) {
        let mut shown = self.0.lock();
        shown.moves.note(&durable.progress);
        shown.progress = Some(durable.progress);
        shown.open_windows = durable.open_windows;
        if let Some(sizes) = durable.sizes {
            shown.sizes = sizes;
        }
        if let Some(took) = took {
            shown.meter.epoch(took);
        }
    }
}
