//! A pipeline that does not run, taken up elsewhere: at the cut of a savepoint, or by another script. It may be new.
//!
//! ```text
//! 1. snapshot of the new state, durable ─► 2. one frame: progress record, mirrored offsets, pipeline and sinks ─► 3. old state let go
//! ```
//!
//! Before the frame nothing has happened: the snapshot names a progress record that there is not, and is passed over.
//! Behind it everything has: script, generation, positions and state are those of the frame.

#[cfg(test)]
pub(in crate::pipelines) mod tests;

use std::sync::Arc;
use std::time::Duration;

use logmill_stream::{
    EpochOutput, Plan, Progress, SNAPSHOT_VERSION, SnapshotHeader, SnapshotLogs as _, SnapshotOperator,
};

use super::error::PipelineError;
use super::logs::{BrokerLogs, is_settled};
use super::manager::{Pipelines, group_of, join, sinks};
use super::shown::Durable;
use super::snapshots::{Cut, FileError, OwnLogs, SnapshotFiles, Snapshots, Stop};
use super::starting::unclaimed;
use super::status::PipelineState;
use crate::blocking::beside;
use crate::topics::{CHANGELOG_PREFIX, MetadataRecord, PROGRESS_PREFIX, PipelineRecord};

/// How long an epoch that was accepted is waited for, and how often it is looked for.
const SETTLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

/// Where a pipeline is to go on.
pub(super) struct TakenUp {
    /// What is stored of it from here on.
    pub(super) record: PipelineRecord,
    pub(super) plan: Arc<Plan>,
    /// Its progress record, but for where its state begins.
    pub(super) progress: Progress,
}

/// See [`Pipelines::for_savepoints`].
type ForSavepoints = (PipelineRecord, Result<Arc<Plan>, String>, Snapshots, bool);

/// Writes the file of a snapshot.
pub(super) type Fill =
    Box<dyn FnOnce(&SnapshotFiles, &SnapshotHeader, &str, &Stop) -> Result<(), FileError> + Send>;

pub(super) fn files_error(error: &FileError) -> PipelineError {
    PipelineError::Files(error.to_string())
}

impl Pipelines {
    /// Asked while something long is done: whether the broker goes down.
    pub(super) fn closing(&self) -> Stop {
        let manager = Arc::clone(&self.0);
        Arc::new(move || manager.closing.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// What is needed to make, find and delete savepoints: record, plan, files, and whether it runs.
    pub(super) fn for_savepoints(&self, name: &str) -> Result<ForSavepoints, PipelineError> {
        let known = self.0.known.lock();
        let known = known.get(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
        let is_live = known.shown.state().is_live();
        Ok((known.record.clone(), known.plan.clone(), known.snapshots.clone(), is_live))
    }

    /// Ends a pipeline's run for something that starts it again, with whole windows; it is meant to run on, also when the
    /// broker goes down meanwhile.
    pub(super) async fn pause(&self, name: &str) {
        let found =
            self.0.known.lock().get_mut(name).map(|known| (known.control.clone(), known.thread.take()));
        let Some((control, thread)) = found else { return };
        control.pause();
        match thread {
            Some(thread) => join(Some(thread)).await,
            None => self.update(name, |known| known.shown.pass_over()),
        }
    }

    /// The logs of a pipeline's own.
    pub(super) fn own_logs(&self, name: &str) -> Result<OwnLogs, PipelineError> {
        let log = |prefix: &str| {
            let topic = self.0.topics.get(&format!("{prefix}{name}"));
            topic.and_then(|topic| topic.partition(0).cloned()).ok_or_else(|| PipelineError::State {
                name: name.to_owned(),
                reason: format!("has lost its topic {prefix}{name}"),
            })
        };
        Ok(OwnLogs { changelog: log(CHANGELOG_PREFIX)?, progress: log(PROGRESS_PREFIX)? })
    }

    /// Where a pipeline that does not run stands. Waits for its thread.
    pub(super) async fn standing(&self, name: &str) -> Result<Cut, PipelineError> {
        self.stood(name).await?.ok_or_else(|| PipelineError::State {
            name: name.to_owned(),
            reason: "has committed nothing yet".to_owned(),
        })
    }

    /// The same; `None` when it has committed nothing. An epoch that was accepted is waited for: what is not durable yet is
    /// part of where the pipeline stands.
    pub(super) async fn stood(&self, name: &str) -> Result<Option<Cut>, PipelineError> {
        let thread = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            if known.shown.state().is_live() {
                return Err(PipelineError::runs(name));
            }
            known.thread.take()
        };
        join(thread).await;
        let state = |reason: String| PipelineError::State { name: name.to_owned(), reason };
        let logs = self.own_logs(name)?;
        let settled = async {
            while !is_settled(&logs) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(SETTLING, settled).await.is_err() {
            return Err(state(
                "has an epoch that is accepted and not durable yet; try again when the disk has room"
                    .to_owned(),
            ));
        }
        logs.standing().map_err(state)
    }

    /// That a script goes with the state of a pipeline whose own script cannot be planned any more.
    pub(super) async fn check_same_plan(&self, name: &str, plan: &Plan) -> Result<(), PipelineError> {
        // Without logs of its own it has no state.
        if self.own_logs(name).is_err() {
            return Ok(());
        }
        match self.stood(name).await? {
            Some(cut) if cut.progress.plan != plan.fingerprint() => Err(PipelineError::State {
                name: name.to_owned(),
                reason: format!(
                    "keeps its script: its state is of plan {:08x}, and the script given has plan {:08x}. Correct only what \
                     leaves the plan as it was, bring back the functions it calls, or delete the pipeline",
                    cut.progress.plan,
                    plan.fingerprint()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Shows where pipelines stand that the broker finds at its start, until they run; one that has finished does not any
    /// more. One whose log cannot be read says why when it is run.
    pub(super) fn show_standing(&self) {
        let names: Vec<String> = self.0.known.lock().keys().cloned().collect();
        for name in names {
            let standing = self.own_logs(&name).ok().and_then(|logs| logs.standing().ok().flatten());
            if let Some(Cut { progress, .. }) = standing {
                let finished = progress.finished;
                let durable = Durable { progress, open_windows: 0, sizes: None };
                self.update(&name, |known| {
                    known.shown.set_durable(durable, None);
                    if finished && known.plan.is_ok() {
                        known.shown.set_state(PipelineState::Finished);
                    }
                });
            }
        }
    }

    /// Reads the logs of sources for a pipeline, and commits for it where nothing else does.
    pub(super) fn broker_logs(&self, name: &str) -> Result<BrokerLogs, PipelineError> {
        Ok(BrokerLogs::new(
            self.0.topics.clone(),
            self.0.coordinators.clone(),
            group_of(name),
            self.own_logs(name)?,
            Box::new(|_| false),
            self.output_ends(name),
            self.0.runtime.clone(),
        ))
    }

    /// Takes a pipeline up that does not run, or that is not there yet, and that nobody else changes meanwhile. What its
    /// plan writes is its own from here on, and nothing else is.
    pub(super) async fn take_up(
        &self,
        name: &str,
        taken_up: TakenUp,
        fill: Fill,
    ) -> Result<(), PipelineError> {
        let TakenUp { record, plan, mut progress } = taken_up;
        self.0.coordinators.loaded().await;
        // The frame has the offsets of its group, which a new pipeline does not have yet.
        self.own_group(name, &self.sources(&plan)?).await?;
        let snapshots = self.0.known.lock().get(name).map(|known| known.snapshots.clone());
        let snapshots = snapshots.unwrap_or_else(|| self.0.snapshots(name));
        let logs = self.own_logs(name)?;
        let mut broker_logs = self.broker_logs(name)?;
        let changelog_end = logs.changelog.sequenced_end();
        progress.state_from = Some(changelog_end);
        let header = SnapshotHeader {
            version: SNAPSHOT_VERSION,
            progress: progress.clone(),
            progress_offset: logs.progress.sequenced_end(),
            changelog: logs.id(),
            changelog_end,
            script: record.script.clone(),
            operators: SnapshotOperator::of(&plan),
            created_ms: self.0.clock.now_ms(),
        };
        let file = SnapshotFiles::of_epoch(progress.epoch);
        let (writing, for_file, stop) = (snapshots.clone(), header.clone(), self.closing());
        let filled = beside(move || writing.alone(|files| fill(files, &for_file, &file, &stop))).await;
        filled.map_err(|_| PipelineError::Stopping)?.map_err(|error| files_error(&error))?;
        // What is on disk of the state is that of where the pipeline stood.
        let spill = self.0.spill_directory(name);
        let removed = beside(move || spill.remove().map_err(|error| spill.failed(error))).await;
        removed.map_err(|_| PipelineError::Stopping)?.map_err(|error| files_error(&error))?;
        {
            let sinks = sinks(&plan);
            let handover = self.0.topics.hand_over(&sinks, name, true).await.map_err(unclaimed)?;
            let append = handover.append(self.0.clock.now_ms(), MetadataRecord::Pipeline(record.clone()));
            let epoch = EpochOutput::standing(progress.clone());
            let durable = broker_logs.take_up(&epoch, append).map_err(|reason| PipelineError::State {
                name: name.to_owned(),
                reason: format!("was not changed: {reason}"),
            })?;
            durable.await.map_err(|_| PipelineError::Stopping)?;
            self.0.topics.handed_over(handover);
        }
        let cut = Cut { progress, progress_offset: header.progress_offset, changelog_end };
        snapshots.set_durable(Some(cut.clone()));
        self.forget_output_ends(name);
        {
            let mut known = self.0.known.lock();
            let new = || self.0.known(record.clone(), Ok(Arc::clone(&plan)));
            let known = known.entry(name.to_owned()).or_insert_with(new);
            known.snapshots = snapshots.clone();
            // What is shown until it runs is that of the record.
            known.control = self.0.control(&record);
            known.record = record;
            known.plan = Ok(plan);
            let progress = cut.progress.clone();
            let durable = Durable { progress, open_windows: 0, sizes: None };
            known.shown.set_durable(durable, None);
            // One that had finished has not any more.
            known.shown.set_state(PipelineState::Stopped);
        }
        let let_go = beside(move || {
            snapshots.alone(|_| {
                snapshots.let_go(&logs, &cut)?;
                // What the changelog has from before is the state of nothing any more.
                snapshots.trim(&logs, &header);
                Ok::<_, FileError>(())
            })
        });
        if let Ok(Err(error)) = let_go.await {
            tracing::warn!(pipeline = name, %error, "old snapshots stay until the next one is made");
        }
        Ok(())
    }
}
