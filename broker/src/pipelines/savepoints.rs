//! Savepoints: cuts of a pipeline that stay, with its state, and can be gone back to.

use std::collections::BTreeSet;
use std::sync::Arc;

use logmill_stream::{
    Progress, SnapshotError, SnapshotHeader, SnapshotSource, StateChanges, make_snapshot, merge_snapshot,
};

use super::error::PipelineError;
use super::events::EventKind;
use super::manager::{MAX_NAME, Pipelines};
use super::snapshots::{Cut, FileError, SnapshotFiles, told};
use super::status::PipelineView;
use super::taking_up::{Fill, TakenUp, files_error};
use super::upgrades::changed_settings;
use crate::blocking::beside;
use crate::topics::{PipelineRecord, check_name};

/// A savepoint.
#[derive(Clone, Debug)]
pub struct SavepointView {
    /// Its name.
    pub name: String,
    /// What it is of: the progress record, and the script.
    pub header: SnapshotHeader,
    /// The size of its file.
    pub bytes: u64,
}

/// What becomes of a savepoint's file that cannot be found.
fn no_savepoint(name: &str, savepoint: &str) -> PipelineError {
    PipelineError::NoSavepoint { name: name.to_owned(), savepoint: savepoint.to_owned() }
}

impl Pipelines {
    /// Makes a savepoint of the last durable epoch. Neither the pipeline nor whoever changes it waits for it. Without a name it
    /// is called by the epoch.
    ///
    /// # Errors
    /// [`PipelineError`]: one of the name is there already, nothing is committed yet, or the pipeline has another script or is
    /// gone before it is begun.
    pub async fn make_savepoint(
        &self,
        name: &str,
        savepoint: Option<&str>,
    ) -> Result<SavepointView, PipelineError> {
        let changing = self.hold(name).await;
        let (record, plan, snapshots, is_live) = self.for_savepoints(name)?;
        let plan = plan.map_err(|error| super::manager::unplanned(name, &error))?;
        let cut = match snapshots.durable().filter(|_| is_live) {
            Some(cut) => cut,
            None if is_live => {
                return Err(PipelineError::State {
                    name: name.to_owned(),
                    reason: "has committed nothing since it was started; try again".to_owned(),
                });
            }
            None => self.standing(name).await?,
        };
        if let Some(savepoint) = savepoint
            && (savepoint.len() > MAX_NAME || check_name(savepoint).is_err())
        {
            return Err(PipelineError::Name(savepoint.to_owned()));
        }
        let (logs, stop, now_ms) = (self.own_logs(name)?, self.closing(), self.0.clock.now_ms());
        // It takes as long as the state is large: the name is free meanwhile.
        drop(changing);
        let (pipelines, name, savepoint) = (self.clone(), name.to_owned(), savepoint.map(str::to_owned));
        let made = beside(move || {
            snapshots.alone(|files| {
                let cut = pipelines.newest_of(&record, cut)?;
                let savepoint = savepoint.unwrap_or_else(|| format!("epoch-{}", cut.progress.epoch));
                let file = SnapshotFiles::of_savepoint(&savepoint);
                if files.has(&file).map_err(|error| files_error(&error))? {
                    return Err(PipelineError::SavepointExists { name, savepoint });
                }
                let script = &record.script;
                let (plan, stop) = (&*plan, &stop);
                let source = SnapshotSource { files, logs: &logs, plan, script, now_ms, stop, told: &told };
                let made = make_snapshot(&source, &cut, &file);
                let (header, size) = made.map_err(|error| files_error(&error))?;
                Ok(SavepointView { name: savepoint, header, bytes: size.bytes })
            })
        });
        made.await.map_err(|_| PipelineError::Stopping)?
    }

    /// The newest durable cut of a pipeline that was at `cut`: the snapshots that lead there may have been replaced since.
    /// Nothing of it is removed or replaced meanwhile.
    pub(super) fn newest_of(&self, before: &PipelineRecord, cut: Cut) -> Result<Cut, PipelineError> {
        let (record, _, snapshots, _) = self.for_savepoints(&before.name)?;
        if (&record.script, record.created_ms) != (&before.script, before.created_ms) {
            return Err(PipelineError::State {
                name: before.name.clone(),
                reason: "was changed meanwhile; make the savepoint once more".to_owned(),
            });
        }
        // The delete has looked for savepoints, or does so behind this one: what it did not see would go with the rest.
        if self.0.known.lock().get(&before.name).is_none_or(|known| known.is_going) {
            return Err(PipelineError::State {
                name: before.name.clone(),
                reason: "is being deleted".to_owned(),
            });
        }
        let is_newer = |newer: &Cut| newer.progress.epoch > cut.progress.epoch;
        Ok(snapshots.durable().filter(is_newer).unwrap_or(cut))
    }

    /// The savepoints of a pipeline, by name.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn savepoints(&self, name: &str) -> Result<Vec<SavepointView>, PipelineError> {
        let (_, _, snapshots, _) = self.for_savepoints(name)?;
        let stop = self.closing();
        let read = beside(move || {
            let files = snapshots.files();
            let mut found = Vec::new();
            for name in files.savepoints().map_err(|error| files_error(&error))? {
                match files.open(&SnapshotFiles::of_savepoint(&name), &stop) {
                    Ok((reader, bytes)) => {
                        found.push(SavepointView { name, header: reader.header().clone(), bytes });
                    }
                    Err(error) => tracing::warn!(%error, "a savepoint cannot be read"),
                }
            }
            Ok(found)
        });
        read.await.map_err(|_| PipelineError::Stopping)?
    }

    /// Deletes a savepoint.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn delete_savepoint(&self, name: &str, savepoint: &str) -> Result<(), PipelineError> {
        let _changing = self.hold(name).await;
        let (_, _, snapshots, _) = self.for_savepoints(name)?;
        let file = SnapshotFiles::of_savepoint(savepoint);
        let missing = no_savepoint(name, savepoint);
        let deleted = beside(move || {
            snapshots.alone(|files| match files.has(&file) {
                Ok(true) => files.remove(&file).map_err(|error| files_error(&error)),
                Ok(false) => Err(missing),
                Err(error) => Err(files_error(&error)),
            })
        });
        deleted.await.map_err(|_| PipelineError::Stopping)?
    }

    /// Takes a pipeline that does not run back to a savepoint: its script, its positions and its state are those of that
    /// cut. With another name, `to`, a new pipeline begins there, with `script` if one is given: its operators must be
    /// those of the savepoint, and its sinks belong to nobody. What the script sets otherwise than that of the pipeline which
    /// the savepoint is of holds from here on. It does not run yet.
    ///
    /// What was written behind the cut is written again by the pipeline that goes back.
    ///
    /// # Errors
    /// [`PipelineError`]; nothing is changed then, but topics that the new pipeline was to write may have been made.
    pub async fn restore_savepoint(
        &self,
        name: &str,
        savepoint: &str,
        to: Option<&str>,
        script: Option<&str>,
    ) -> Result<PipelineView, PipelineError> {
        let to = to.unwrap_or(name);
        // The savepoint stays what it is until its state is taken over.
        let _changing = self.hold_both(name, to).await;
        let (record, _, snapshots, _) = self.for_savepoints(name)?;
        let file = SnapshotFiles::of_savepoint(savepoint);
        let (files, opened, stop) = (snapshots.files().clone(), file.clone(), self.closing());
        let missing = no_savepoint(name, savepoint);
        let header = beside(move || match files.has(&opened) {
            Ok(true) => match files.open(&opened, &stop) {
                Ok((reader, _)) => Ok(reader.header().clone()),
                Err(error) => Err(files_error(&error)),
            },
            Ok(false) => Err(missing),
            Err(error) => Err(files_error(&error)),
        });
        let header = header.await.map_err(|_| PipelineError::Stopping)??;
        let script = script.unwrap_or(&header.script).to_owned();
        let plan = self.plan_of(&script).await?;
        let misfit = |reason: String| PipelineError::State { name: to.to_owned(), reason };
        let saved = self.plan_of(&header.script).await?;
        if saved.fingerprint() != header.progress.plan {
            return Err(misfit(format!(
                "cannot begin at the savepoint: its state is of plan {:08x}, and its script is planned as {:08x} by this \
                 release and with these functions; restore it with those that it was made with",
                header.progress.plan,
                saved.fingerprint()
            )));
        }
        // The windows that an end closes are given, and cannot be given again with more.
        if header.progress.time_has_ended(&saved) {
            return Err(misfit(
                "cannot begin at the savepoint: its input was declared finished and event time has ended there, so that \
                 whatever comes would be late; restore a savepoint from before the end, or run the script as a new pipeline"
                    .to_owned(),
            ));
        }
        if plan.identities() != saved.identities() {
            return Err(misfit(
                "cannot begin at the savepoint: the script's operators are others; restore it with the script it is of, \
                 then upgrade"
                    .to_owned(),
            ));
        }
        let plan = Arc::new(plan);
        self.check_positions(&header.progress)?;
        let (memory, shards) = changed_settings(&record, &self.settings_of(&script).await?);
        let is_new = to != name;
        let (known, generation, epoch) = if is_new {
            if to.len() > MAX_NAME || check_name(to).is_err() {
                return Err(PipelineError::Name(to.to_owned()));
            }
            if self.0.known.lock().contains_key(to) {
                return Err(misfit("exists already; use another name".to_owned()));
            }
            // It is there only with its state: without it, it would begin anew, in the same sinks.
            let new = PipelineRecord {
                name: to.to_owned(),
                script: script.clone(),
                generation: 0,
                running: false,
                input_ends: None,
                memory,
                shards,
                created_ms: self.0.clock.now_ms(),
            };
            (new, 0, 0)
        } else {
            let standing = self.standing(name).await?;
            // What an upgrade has read goes beyond the savepoint.
            self.0.replays.give_up(name);
            (record, standing.progress.generation, standing.progress.epoch)
        };
        self.prepare(to, &plan, is_new).await?;
        let generation = known.generation.max(generation) + 1;
        let mut progress = header.progress.taken_up(to, generation, epoch + 1, 0);
        progress.plan = plan.fingerprint();
        progress.inputs.iter_mut().for_each(|input| (input.end, input.pending_end) = (None, None));
        progress.finished = false;
        let record =
            PipelineRecord { script, generation, running: false, input_ends: None, memory, shards, ..known };
        let (from, planned) = (snapshots.files().clone(), header);
        let fill: Fill = Box::new(move |files, header, to, stop| {
            let (mut reader, _) = from.open(&file, stop)?;
            if *reader.header() != planned {
                let reason = "it was replaced meanwhile".to_owned();
                return Err(FileError::Snapshot {
                    path: file.into(),
                    error: SnapshotError::Misfit { reason },
                });
            }
            let none = StateChanges::default();
            files.write(to, stop, |out| merge_snapshot(header, Some(&mut reader), &none, |_| true, out))?;
            Ok(())
        });
        let taken_up = self.take_up(to, TakenUp { record, plan, progress }, fill).await;
        if let Err(error) = taken_up {
            if is_new {
                // Nobody else could give it back.
                let _ = self.disown_group(to).await;
            }
            return Err(error);
        }
        self.update(to, |known| {
            let text = format!("it stands at savepoint {savepoint} of {name}");
            known.events.say(self.0.clock.now_ms(), EventKind::Changed, text);
        });
        self.view(to)
    }

    /// That the topics of a cut are those that were read, and that the records behind it are still there.
    pub(super) fn check_positions(&self, progress: &Progress) -> Result<(), PipelineError> {
        for input in &progress.inputs {
            let topic = self.0.topics.get(&input.topic);
            let topic = topic.ok_or_else(|| PipelineError::NoSource(input.topic.clone()))?;
            let read = progress.topic_ids.get(&input.topic);
            if let Some(read) = read.filter(|read| **read != topic.id.to_string()) {
                return Err(PipelineError::OtherSource {
                    topic: input.topic.clone(),
                    read: read.clone(),
                    found: topic.id.to_string(),
                });
            }
            let partition = topic.partition(input.partition);
            let partition = partition.ok_or_else(|| PipelineError::NoSource(input.topic.clone()))?;
            let published = partition.published();
            let (start, end) = (published.log_start_offset, published.last_stable_offset);
            if input.to < start {
                return Err(PipelineError::Gone {
                    topic: input.topic.clone(),
                    partition: input.partition,
                    needed: input.to,
                    start,
                });
            }
            if input.to > end {
                return Err(PipelineError::Beyond {
                    topic: input.topic.clone(),
                    partition: input.partition,
                    read: input.to,
                    end,
                });
            }
        }
        // Partitions that the topics have got since are read from their first record on.
        for name in progress.inputs.iter().map(|input| &input.topic).collect::<BTreeSet<_>>() {
            let is_read = |index: i32| {
                progress.inputs.iter().any(|input| (&input.topic, input.partition) == (name, index))
            };
            let topic = self.0.topics.get(name);
            let added =
                topic.iter().flat_map(|topic| &topic.partitions).filter(|added| !is_read(added.index()));
            for partition in added {
                let start = partition.published().log_start_offset;
                if start > 0 {
                    let (topic, partition) = (name.clone(), partition.index());
                    return Err(PipelineError::Gone { topic, partition, needed: 0, start });
                }
            }
        }
        Ok(())
    }
}
