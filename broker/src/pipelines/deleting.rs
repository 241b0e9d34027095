//! A pipeline that goes, with its state.

use logmill_coordinator::groups::{Command, Delete, Disown};
use logmill_wire::Str;

use super::error::PipelineError;
use super::manager::{Known, Manager, Pipelines, group_of, join};
use super::snapshots::{FileError, SnapshotFiles};
use super::spill::remove_left_over;
use super::status::PipelineState;
use super::taking_up::files_error;
use crate::blocking::beside;
use crate::coordinators::Patience;
use crate::topics::{CHANGELOG_PREFIX, MetadataRecord, PROGRESS_PREFIX};

/// A pipeline that is being deleted, until it is gone or the delete is given up.
struct Going<'a> {
    pipelines: &'a Pipelines,
    name: &'a str,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.pipelines.0.known.lock().get_mut(self.name) {
            known.is_going = false;
        }
    }
}

/// That no savepoint would go with a pipeline without being meant to.
fn check_savepoints(
    name: &str,
    savepoints: Result<Vec<String>, FileError>,
    with_savepoints: bool,
) -> Result<(), PipelineError> {
    let savepoints = savepoints.map_err(|error| files_error(&error))?;
    if !savepoints.is_empty() && !with_savepoints {
        return Err(PipelineError::HasSavepoints { name: name.to_owned(), savepoints });
    }
    Ok(())
}

impl Pipelines {
    /// Deletes a pipeline that does not run, with its state: its sinks are free, and keep their records. Savepoints are
    /// kept until they are deleted: one that has some is deleted only `with_savepoints`.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn delete(&self, name: &str, with_savepoints: bool) -> Result<(), PipelineError> {
        self.give_way(name, with_savepoints).await?;
        let _changing = self.hold(name).await;
        let (thread, snapshots) = {
            let mut known = self.0.known.lock();
            let known = known.get_mut(name).ok_or_else(|| PipelineError::Unknown(name.to_owned()))?;
            if known.shown.state().is_live() {
                return Err(PipelineError::runs(name));
            }
            known.is_going = true;
            (known.thread.take(), known.snapshots.clone())
        };
        let _going = Going { pipelines: self, name };
        join(thread).await;
        // One in the making is waited for: it is one, then. None is begun from here on.
        let files = snapshots.clone();
        let savepoints = beside(move || files.alone(SnapshotFiles::savepoints)).await;
        check_savepoints(name, savepoints.map_err(|_| PipelineError::Stopping)?, with_savepoints)?;
        // One that was begun since it gave way.
        self.0.replays.give_up(name);
        // Nothing is lost with it, and behind the record nobody would know whose it was.
        let spill = self.0.spill_directory(name);
        let removed = beside(move || spill.remove().map_err(|error| spill.failed(error))).await;
        removed.map_err(|_| PipelineError::Stopping)?.map_err(|error| files_error(&error))?;
        self.0.coordinators.loaded().await;
        // Before the record goes: nobody could give the group back behind it. One that was never owned is no matter.
        self.disown_group(name).await?;
        let own = [CHANGELOG_PREFIX, PROGRESS_PREFIX].map(|prefix| format!("{prefix}{name}"));
        self.0.topics.release(name, &own, MetadataRecord::PipelineDeleted(name.to_owned())).await?;
        self.0.known.lock().remove(name);
        self.forget_output_ends(name);
        self.0.event_log.remove(name).await;
        match beside(move || snapshots.alone(SnapshotFiles::remove_all)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(pipeline = name, %error, "snapshots of a deleted pipeline stay"),
        }
        let group = group_of(name);
        let delete = Command::Delete(Delete { groups: vec![Str::from(group.as_str())] });
        if let Err(error) = self.0.coordinators.group(&group, &Patience::default(), delete).await {
            tracing::warn!(group, ?error, "the group of a deleted pipeline stays, empty");
        }
        tracing::info!(pipeline = name, "deleted");
        Ok(())
    }

    /// Gives the upgrade up of a pipeline that can be deleted: that of one which does not run holds its name while it makes
    /// state, and would be waited for.
    async fn give_way(&self, name: &str, with_savepoints: bool) -> Result<(), PipelineError> {
        let can_go = |known: &Known| {
            let state = known.shown.state();
            // One that is meant to run stands for its new script only.
            let is_paused = known.record.running && state == PipelineState::Stopped;
            !state.is_live() && !is_paused
        };
        let (_, _, snapshots, is_live) = self.for_savepoints(name)?;
        if is_live {
            return Ok(());
        }
        let savepoints = beside(move || snapshots.files().savepoints()).await;
        check_savepoints(name, savepoints.map_err(|_| PipelineError::Stopping)?, with_savepoints)?;
        if self.0.known.lock().get(name).is_some_and(can_go) {
            self.0.replays.give_up(name);
        }
        Ok(())
    }

    /// Gives the consumer group back that mirrors a pipeline's input offsets.
    pub(super) async fn disown_group(&self, name: &str) -> Result<(), PipelineError> {
        let group = group_of(name);
        let disown = Command::Disown(Disown { group: group.as_str().into(), owner: name.into() });
        let disowned = self.0.coordinators.group(&group, &Patience::default(), disown).await;
        disowned.map(drop).map_err(PipelineError::Group)
    }
}

impl Manager {
    /// Removes the files of pipelines that are gone: the process ended between a pipeline's record and its files, or
    /// before a pipeline that was to begin at a savepoint was there.
    pub(super) fn remove_left_over(&self) {
        let known = self.known.lock();
        self.event_log.remove_unknown(|name| known.contains_key(name));
        remove_left_over(&self.spill, |name| known.contains_key(name));
        let found = SnapshotFiles::pipelines(&*self.snapshots.disk, &self.snapshots.data_dir);
        let names = match found {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "files of pipelines that are gone may stay");
                return;
            }
        };
        for name in names.into_iter().filter(|name| !known.contains_key(name)) {
            match self.snapshots(&name).files().remove_all() {
                Ok(()) => tracing::info!(pipeline = name, "removed the files of a pipeline that is gone"),
                Err(error) => {
                    tracing::warn!(pipeline = name, %error, "files of a pipeline that is gone stay")
                }
            }
        }
    }
}
