//! Checkpoints: what is in the segments is flushed and written down, and the journal's files are used again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Store;
use super::checkpoint_file::{CheckpointFile, CheckpointedPartition};
use super::error::Fatal;
use super::publish::PartitionState;
use super::sequencer::Listed;
use crate::journal::{NewIncarnation, ReplayStart};
use crate::log::{Durability, LogError, PartitionLog};

/// Rounds of all shards that a checkpoint waits for what was durable when it began.
const MAX_SETTLING_ROUNDS: usize = 64;
/// Rounds that closing takes at most while nothing gets further.
const MAX_IDLE_CLOSING_ROUNDS: usize = 8;

/// What belongs to checkpoints.
#[derive(Debug)]
pub(crate) struct CheckpointStage {
    pub(crate) identity: NewIncarnation,
    /// Directories of deleted partitions: removed when no checkpoint knows the partition any more.
    pub(crate) dying: Vec<PathBuf>,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpointed {
    /// Partitions that were flushed.
    pub flushed_partitions: usize,
    /// Journal files that can be written over.
    pub recycled_files: usize,
    /// The disk is full: the checkpoint was not written, or does not cover all that was durable when it began.
    pub full: bool,
}

impl Store {
    /// A checkpoint is due: half of the journal is in use, or as many bytes went to segments past it, or something waits
    /// for one.
    pub fn checkpoint_due(&self) -> bool {
        self.unflushed_bytes.load(Ordering::Relaxed) >= self.options.journal.max_bytes / 2
            || self.environment.files.unflushed() > self.environment.files.limit() / 2
            || self.checkpoint_requested.load(Ordering::Acquire)
            || self.ring_wants_checkpoint.load(Ordering::Acquire)
    }

    /// Writes a checkpoint: flushes what was applied, writes down how far, and lets the journal use its files again.
    /// Blocks on files. Commits and rounds go on meanwhile.
    pub fn checkpoint(&self) -> Result<Checkpointed, Fatal> {
        let mut stage = self.checkpointing.lock();
        let done = self.checkpoint_locked(&mut stage, false)?;
        self.counts.full_disk.add(u64::from(done.full));
        Ok(done)
    }

    /// Ends the store: takes no more frames, finishes what was accepted, writes a checkpoint with the mark of a clean
    /// stop. The owner's loops end.
    pub fn close(&self) -> Result<(), Fatal> {
        self.sequencer.close();
        self.appliers.end();
        let mut stage = self.checkpointing.lock();
        let mut idle_rounds = 0;
        while idle_rounds < MAX_IDLE_CLOSING_ROUNDS {
            let round = self.journal_round()?;
            let mut progress = round.frames > 0;
            // Threads that still work here may have made frames durable, or accepted, and not passed them on yet.
            for listed in self.sequencer.partitions() {
                listed.state.publish(&self.tail);
                self.appliers.ready(&listed.state);
            }
            for shard in 0..self.appliers.count() {
                progress |= self.apply_round(shard)?.frames > 0;
            }
            if round.full {
                self.checkpoint_locked(&mut stage, false)?;
            }
            let done = self.sequencer.queued_bytes() == 0 && !self.has_unapplied();
            if done {
                return self.checkpoint_locked(&mut stage, true).map(|_| ());
            }
            // A round of another thread may be between making frames durable and handing them on.
            let others = self.rounds_under_way.load(Ordering::SeqCst) > 0;
            idle_rounds = if progress || others { 0 } else { idle_rounds + 1 };
        }
        // What was acknowledged is in the journal: the next start replays it.
        Err(self.poison(Fatal::NotApplied))
    }

    fn has_unapplied(&self) -> bool {
        self.sequencer.partitions().iter().any(|listed| !listed.state.view.lock().in_flight.is_empty())
    }

    fn checkpoint_locked(&self, stage: &mut CheckpointStage, closing: bool) -> Result<Checkpointed, Fatal> {
        self.check_alive()?;
        self.checkpoint_requested.store(false, Ordering::Release);
        let mut result = Checkpointed { full: !self.settle()?, ..Checkpointed::default() };
        let covered = self.appliers.applied_through();
        let flushing = self.unflushed_bytes.load(Ordering::Relaxed);

        // From here on the list has every partition of the frames covered, except those being deleted.
        let dying = std::mem::take(&mut stage.dying);
        let listed = self.sequencer.partitions();
        match self.flush(&listed) {
            Ok(flushed) => result.flushed_partitions = flushed,
            Err(Fatal::Log { source, .. }) if source.is_full() => {
                stage.dying = dying;
                return Ok(Checkpointed { full: true, ..result });
            }
            Err(fatal) => return Err(self.poison(fatal)),
        }
        // A checkpoint that waited for the closing one must not take its mark away.
        let (file_number, durable, closed) = {
            let mut journal = self.journal.lock();
            journal.closed |= closing;
            if journal.closed
                && let Some(spare) = journal.journal.spare()
            {
                spare.leave();
            }
            (journal.journal.file_after(covered), journal.journal.durable(), journal.closed)
        };
        let file = CheckpointFile {
            start: ReplayStart {
                directory: stage.identity.directory,
                incarnation: stage.identity.incarnation,
                file_number,
                covered,
                durable,
                closed,
            },
            last_commit: self.sequencer.last_commit(),
            partitions: listed.iter().map(checkpointed).collect(),
        };
        // A flush of another thread may have failed meanwhile.
        self.check_alive()?;
        let data_dir = &self.options.data_dir;
        match file.write(&*self.environment.disk, data_dir) {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                stage.dying = dying;
                return Ok(Checkpointed { full: true, ..result });
            }
            Err(error) => return Err(self.poison(Fatal::io("write the checkpoint in", data_dir)(error))),
        }
        for (listed, written) in listed.iter().zip(&file.partitions) {
            let before = listed.state.checkpointed_end.swap(written.recovery_point, Ordering::AcqRel);
            if before != written.recovery_point {
                let told = listed.state.log.checkpointed(written.recovery_point);
                told.map_err(in_log(&listed.state)).map_err(|fatal| self.poison(fatal))?;
            }
            let page_cache = listed.options.durability == Durability::PageCache;
            listed.state.page_cache.store(page_cache, Ordering::Release);
        }
        {
            let journal = &mut self.journal.lock().journal;
            let recycled = journal.recycle(file_number);
            result.recycled_files = recycled.map_err(|error| self.poison(error.into()))?;
            self.measure_ring(journal, false);
        }
        // What cannot be removed now is tried again with the next checkpoint.
        stage.dying.extend(dying.into_iter().filter(|directory| {
            let removed = self.environment.disk.remove_dir_all(directory);
            removed.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
        }));
        self.unflushed_bytes.fetch_sub(flushing, Ordering::Relaxed);
        self.counts.checkpoints.add(1);
        self.counts.flushed_partitions.add(result.flushed_partitions as u64);
        self.counts.recycled_files.add(result.recycled_files as u64);
        self.sequencer.nudge();
        Ok(result)
    }

    /// Applies what was durable at the beginning. False when a full disk does not let it.
    fn settle(&self) -> Result<bool, Fatal> {
        let target = self.journal.lock().journal.durable();
        for _ in 0..MAX_SETTLING_ROUNDS {
            if self.appliers.applied_through() >= target {
                return Ok(true);
            }
            let mut progress = false;
            for shard in 0..self.appliers.count() {
                let round = self.apply_round(shard)?;
                if round.full {
                    return Ok(false);
                }
                progress |= round.frames > 0;
            }
            // Idle frames have sequences too, and are never applied.
            if !progress {
                break;
            }
        }
        Ok(true)
    }

    /// Flushes the partitions that were written to since their last flush.
    fn flush(&self, listed: &[Listed]) -> Result<usize, Fatal> {
        let dirty: Vec<&Arc<PartitionState>> = listed
            .iter()
            .map(|listed| &listed.state)
            .filter(|state| {
                let view = state.view.lock();
                view.applied_end > view.flushed_end
            })
            .collect();
        let logs: Vec<&PartitionLog> = dirty.iter().map(|state| &state.log).collect();
        let flushes = self.group_flush.flush(&logs).map_err(|(at, error)| in_log(dirty[at])(error))?;
        let mut flushed = 0;
        let mut full = Ok(());
        for (state, result) in dirty.into_iter().zip(flushes) {
            match result {
                Ok(done) => {
                    let mut view = state.view.lock();
                    view.flushed_end = view.flushed_end.max(done.end_offset);
                    flushed += 1;
                }
                Err(error) => full = Err(in_log(state)(error)),
            }
        }
        full?;
        Ok(flushed)
    }
}

fn checkpointed(listed: &Listed) -> CheckpointedPartition {
    let state = &listed.state;
    let recovery_point = state.view.lock().flushed_end;
    // As long as there may be unflushed bytes that skipped the journal, or soon will be, replay keeps what it finds.
    let page_cache = state.page_cache.load(Ordering::Acquire)
        || listed.options.durability == Durability::PageCache
        || listed.plain_end > recovery_point;
    CheckpointedPartition {
        id: state.id,
        topic_name: state.topic_name.clone(),
        recovery_point,
        log_start_offset: state.log.log_start_offset(),
        leader_epoch: state.leader_epoch,
        page_cache,
    }
}

fn in_log(state: &PartitionState) -> impl FnOnce(LogError) -> Fatal {
    let partition = state.id;
    move |source| Fatal::Log { partition, source }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}
