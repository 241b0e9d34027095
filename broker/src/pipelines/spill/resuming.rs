//! A run whose state is on disk: the store it goes on with, or a new one.

use std::io;
use std::sync::Arc;

use logmill_stream::{
    COLD_VERSION, ColdError, ColdMark, ColdPosition, ColdStore, EpochError, FillError, Pipeline, Restoring,
    SnapshotLogs as _, TurnError,
};

use super::super::events::EventKind;
use super::super::failure::{RunError, failure};
use super::super::restoring::own_log;
use super::super::runner::Runner;
use super::super::snapshots::{Cut, OwnLogs};
use super::super::status::PipelineState;
use super::room::{MORE_ROOM, Waiting};
use super::{SpillDirectory, share_of};

/// What a store takes for itself of a budget, beside the state in memory.
const fn own_memory(budget: u64) -> u64 {
    budget / 8
}

/// A state that has become so much smaller than what may be in memory goes back there.
const SMALL: u64 = 4;

/// A change of state is about so many bytes, where nothing is known of it.
const CHANGE_BYTES: u64 = 128;

/// A store, and how far it goes.
type Found = (Arc<dyn ColdStore>, ColdMark);

/// What a run knows of its pipeline's store.
pub(in crate::pipelines) struct Spill {
    pub(in crate::pipelines) directory: SpillDirectory,
    /// The state has grown beyond what may be in memory.
    is_due: bool,
    /// Why the store must not be gone on with.
    unusable: Option<String>,
    /// How it has failed since it last worked.
    waiting: Waiting,
}

impl Spill {
    pub(in crate::pipelines) fn new(directory: SpillDirectory) -> Spill {
        Spill { directory, is_due: false, unusable: None, waiting: Waiting::default() }
    }

    /// An epoch went into the store.
    pub(in crate::pipelines) fn worked(&mut self) {
        self.waiting = Waiting::default();
    }

    /// That a state in memory is not so large that it should be on disk.
    pub(in crate::pipelines) fn check_share(
        &self,
        budget: u64,
        bytes: u64,
        can_spill: bool,
    ) -> Result<(), RunError> {
        let share = share_of(budget);
        match self.directory.is_on() && can_spill && bytes > share {
            true => Err(RunError::Spills { bytes, share }),
            false => Ok(()),
        }
    }
}

/// What is told of a store's error. Where no room is left it is for want of room, whatever the store has to say: of what its
/// own thread meets it knows no more than that it failed.
fn told(of_store: &ColdError, free: Option<u64>) -> RunError {
    let is_full = free.is_some_and(|free| free < MORE_ROOM);
    RunError::Spill(match of_store {
        ColdError::Failed { what } if is_full => {
            ColdError::Full { what: format!("less than {} MiB are free; {what}", MORE_ROOM >> 20) }
        }
        other => other.clone(),
    })
}

/// The error of a store, if it is one.
pub(in crate::pipelines) fn store_error(error: &RunError) -> Option<&ColdError> {
    match error {
        RunError::Spill(error) | RunError::Turn(TurnError::Epoch { error: EpochError::Cold(error), .. }) => {
            Some(error)
        }
        RunError::Restore(logmill_stream::RestoreError::Cold(error)) => Some(error),
        _ => None,
    }
}

impl Runner {
    /// The state is to leave memory from here on.
    pub(in crate::pipelines) fn begin_to_spill(&mut self, bytes: u64) {
        self.spill.is_due = true;
        self.say(
            EventKind::Changed,
            format!(
                "its state has {bytes} bytes, more than half of its budget: what is not used goes to {}",
                self.spill.directory.path().display()
            ),
        );
    }

    /// What to do when the store fails: `None` to go on with it or another one.
    pub(in crate::pipelines) fn recover_store(&mut self, error: &RunError) -> Option<PipelineState> {
        let of_store = store_error(error)?;
        let free = self.spill.directory.free();
        self.spill.waiting.failed(free);
        if matches!(of_store, ColdError::Damaged { .. }) {
            self.spill.unusable = Some(of_store.to_string());
        }
        // One that is not there, or is damaged, is made anew at once; what fails again is waited for.
        if self.spill.waiting.failures() > 1 || !matches!(of_store, ColdError::Damaged { .. }) {
            self.shown.block(failure(&self.name, &told(of_store, free), self.now()), &self.events);
            self.wait_for_store();
        }
        self.control.is_stopping().then_some(PipelineState::Stopped)
    }

    /// Waits until the store is tried again, an order to stop comes, or other memory is given.
    fn wait_for_store(&self) {
        let (since, memory) = (self.clock.steady(), self.control.memory());
        loop {
            self.pause();
            let waited = self.clock.steady().saturating_sub(since);
            let is_over = self.spill.waiting.is_over(waited, self.spill.directory.free());
            if is_over || self.control.is_stopping() || self.control.memory() != memory {
                return;
            }
        }
    }

    /// The pipeline of which a part is on disk, if it is large enough; `None` when all of it is to be in memory.
    pub(in crate::pipelines) fn restored_spilt(
        &mut self,
        cut: Option<&Cut>,
        changelog_end: i64,
        shards: u32,
    ) -> Result<Option<Pipeline>, RunError> {
        let keep = share_of(self.control.memory());
        let Some(cut) = cut.filter(|_| self.spill.directory.is_on()) else {
            self.remove_store()?;
            return Ok(None);
        };
        if !self.begin(Some(cut), shards)?.can_spill() {
            self.remove_store()?;
            return Ok(None);
        }
        let newest = self.bases(cut)?.into_iter().next();
        if let Some((store, mark)) =
            self.found_store(cut, keep, newest.as_ref().map_or(0, |base| base.bytes))?
        {
            let (at, sizes) = (mark.at.clone(), mark.sizes.clone());
            let restoring = self.begin(Some(cut), shards)?.go_on_with(store, mark, keep)?;
            let (restoring, _) = self.replayed(restoring, at.changelog_end, changelog_end)?;
            let entries: u64 = sizes.values().map(|size| size.entries).sum();
            let bytes: u64 = sizes.values().map(|size| size.bytes).sum();
            let each = bytes.checked_div(entries).unwrap_or(CHANGE_BYTES);
            let (snapshot, from) = newest.map_or((0, 0), |base| (base.bytes, base.header.changelog_end));
            let since = u64::try_from(changelog_end - from).unwrap_or(0).saturating_mul(each);
            self.note_restored(snapshot, since);
            return self.finish_spilt(restoring, cut).map(Some);
        }
        if !self.spill.is_due && newest.is_none_or(|base| base.bytes <= keep) {
            return Ok(None);
        }
        let filled = self.filled(cut, changelog_end, keep, shards);
        if let Err(error) = &filled
            && matches!(store_error(error), Some(ColdError::Full { .. } | ColdError::Failed { .. }))
        {
            // Half of one is of no use, and others need the room.
            self.remove_store()?;
        }
        filled.map(Some)
    }

    /// The store there is, if it can be gone on with. The newest snapshot of the whole state has so many bytes.
    fn found_store(&mut self, cut: &Cut, keep: u64, snapshot: u64) -> Result<Option<Found>, RunError> {
        let directory = self.spill.directory.clone();
        if !directory.exists().map_err(|error| io_failed(&directory, &error))? {
            self.spill.unusable = None;
            return Ok(None);
        }
        let mut unusable = self.spill.unusable.take();
        if unusable.is_none() {
            let opened = directory.open(own_memory(self.control.memory()));
            match opened.and_then(|store| Ok((store.mark()?, store))) {
                Ok((Some(mark), store)) => match misfit(self.keeper.logs(), cut, &mark) {
                    None => {
                        // The mark knows only of operators that leave entries in the store.
                        let bytes: u64 = mark.sizes.values().map(|size| size.bytes).sum();
                        if self.spill.is_due || bytes.max(snapshot) > keep / SMALL {
                            return Ok(Some((store, mark)));
                        }
                        drop(store);
                        self.remove_store()?;
                        return Ok(None);
                    }
                    Some(reason) => unusable = Some(reason.to_owned()),
                },
                Ok((None, _)) => unusable = Some("it was not filled to its end".to_owned()),
                Err(ColdError::Damaged { what }) => unusable = Some(what),
                Err(error) => return Err(error.into()),
            }
        }
        let reason = unusable.unwrap_or_default();
        self.say(
            EventKind::Changed,
            format!("what was on disk of its state is thrown away and made anew: {reason}"),
        );
        self.remove_store()?;
        self.spill.is_due = true;
        Ok(None)
    }

    fn remove_store(&self) -> Result<(), RunError> {
        let directory = &self.spill.directory;
        directory.remove().map_err(|error| io_failed(directory, &error))
    }

    fn fresh_store(&self) -> Result<Arc<dyn ColdStore>, RunError> {
        self.remove_store()?;
        Ok(self.spill.directory.open(own_memory(self.control.memory()))?)
    }

    /// Fills a new store: with the newest snapshot that is whole, and the changelog behind it.
    fn filled(
        &mut self,
        cut: &Cut,
        changelog_end: i64,
        keep: u64,
        shards: u32,
    ) -> Result<Pipeline, RunError> {
        let stop = self.stop();
        for base in self.bases(cut)? {
            let restoring = self.begin(Some(cut), shards)?;
            let store = self.fresh_store()?;
            let header = &base.header;
            let at = ColdPosition::of(
                &header.progress,
                header.progress_offset,
                &header.changelog,
                header.changelog_end,
            );
            let files = self.keeper.snapshots().files().clone();
            let filled = match files.open(&base.file, &stop) {
                Ok((mut reader, _)) => restoring.fill(store, Some(&mut reader), at, keep),
                Err(error) => {
                    self.say_unusable(&base.file, &error.to_string());
                    continue;
                }
            };
            match filled {
                Ok(restoring) => {
                    let from = base.header.changelog_end;
                    return self.caught_up(restoring, cut, from, changelog_end, base.bytes);
                }
                Err(FillError::Cold(error)) => return Err(error.into()),
                Err(FillError::Snapshot(_)) if self.control.is_stopping() => return Err(RunError::Stopped),
                Err(FillError::Snapshot(error)) => self.say_unusable(&base.file, &error.to_string()),
            }
        }
        if !self.keeper.logs().is_whole(&cut.progress) {
            return Err(self.no_base(cut));
        }
        let mut nothing = cut.progress.clone();
        (nothing.epoch, nothing.digest, nothing.generation) = (0, 0, 0);
        let at = ColdPosition::of(&nothing, 0, &self.keeper.logs().id(), 0);
        let restoring = self.begin(Some(cut), shards)?;
        let filled = restoring.fill::<io::Empty>(self.fresh_store()?, None, at, keep);
        let restoring = filled.map_err(|error| match error {
            FillError::Cold(error) => RunError::Spill(error),
            FillError::Snapshot(error) => own_log(error.to_string()),
        })?;
        self.caught_up(restoring, cut, 0, changelog_end, 0)
    }

    fn caught_up(
        &mut self,
        restoring: Restoring,
        cut: &Cut,
        from: i64,
        changelog_end: i64,
        snapshot_bytes: u64,
    ) -> Result<Pipeline, RunError> {
        let (restoring, bytes) = self.replayed(restoring, from, changelog_end)?;
        self.note_restored(snapshot_bytes, bytes);
        self.finish_spilt(restoring, cut)
    }

    fn finish_spilt(&mut self, restoring: Restoring, cut: &Cut) -> Result<Pipeline, RunError> {
        let mut failed = None;
        let at = position(self.keeper.logs(), cut);
        let finished = restoring.finish_spilt(at, &mut self.watch(&mut failed));
        let pipeline = finished.map_err(|error| failed.unwrap_or_else(|| error.into()))?;
        self.spill.is_due = false;
        Ok(pipeline)
    }
}

/// An epoch's place, for the store's mark.
pub(in crate::pipelines) fn position(logs: &OwnLogs, cut: &Cut) -> ColdPosition {
    ColdPosition::of(&cut.progress, cut.progress_offset, &logs.id(), cut.changelog_end)
}

/// Why a store cannot be gone on with to come to a cut.
fn misfit(logs: &OwnLogs, cut: &Cut, mark: &ColdMark) -> Option<&'static str> {
    let at = &mark.at;
    let first = logs.changelog.published().log_start_offset.max(cut.progress.state_from.unwrap_or(0));
    if mark.version != COLD_VERSION {
        Some("another release wrote it")
    } else if at.pipeline != cut.progress.pipeline || at.changelog != logs.id() {
        Some("it is of another pipeline of this name")
    } else if at.state_from != cut.progress.state_from {
        Some("the pipeline was taken up elsewhere")
    } else if at.plan != cut.progress.plan {
        Some("it is of another query")
    } else if !(first..=cut.changelog_end).contains(&at.changelog_end) {
        Some("the changelog behind it is not there any more")
    } else if at.epoch > cut.progress.epoch || (at.epoch > 0 && !logs.vouches_for(at)) {
        Some("it is of an epoch that is not one of the pipeline's")
    } else {
        None
    }
}

fn io_failed(directory: &SpillDirectory, error: &io::Error) -> RunError {
    RunError::Spill(ColdError::Failed { what: format!("{}: {error}", directory.path().display()) })
}
