//! The next snapshot, and which of those there are can be used.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use logmill_record::Batch;

use super::files::{SnapshotFileError, SnapshotFiles, SnapshotStop};
use super::{
    SNAPSHOT_VERSION, SNAPSHOTS_KEPT, SnapshotError, SnapshotHeader, SnapshotOperator, SnapshotSize,
    StateChanges, merge_stretches, write_stretch,
};
use crate::pipeline::Progress;
use crate::plan::Plan;

/// Changes go to a file of their own when they take this much memory.
const CHANGES_BYTES: usize = 128 << 20;

/// So many files are made one, before there are more: each has a part of it in memory while they are merged.
const MOST_FILES: usize = 64;

/// Where a committed epoch has left a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotCut {
    /// Its record.
    pub progress: Progress,
    /// The record's offset in the progress log.
    pub progress_offset: i64,
    /// The offset behind the last record of the changelog that belongs to it.
    pub changelog_end: i64,
}

/// A pipeline's own logs, as far as snapshots are made of them and held against them. Calls may block. What failed is said as
/// a text.
pub trait SnapshotLogs {
    /// What tells the changelog from another one of the same name.
    fn id(&self) -> String;
    /// Where the changelog begins.
    fn changelog_start(&self) -> i64;
    /// Why the changelog has not all any more that came behind a snapshot; `None`: it has.
    fn lacks(&self, header: &SnapshotHeader) -> Option<String>;
    /// Whether the changelog alone is the state.
    fn is_whole(&self, progress: &Progress) -> bool;
    /// Whether a record is where it is said to be in the progress log.
    fn vouches(&self, progress: &Progress, offset: i64) -> Result<bool, String>;
    /// Hands over the committed batches of the changelog from an offset on and before another one, oldest first, until it is
    /// told an error, which it gives back.
    fn each_batch(
        &self,
        from: i64,
        to: i64,
        take: &mut dyn FnMut(&Batch) -> Result<(), String>,
    ) -> Result<(), String>;
}

/// What a snapshot is made of, and where it is written.
pub struct SnapshotSource<'s> {
    /// Where it is written, and the snapshots before are.
    pub files: &'s SnapshotFiles,
    /// The pipeline's own logs.
    pub logs: &'s dyn SnapshotLogs,
    /// The pipeline's plan.
    pub plan: &'s Plan,
    /// Its script.
    pub script: &'s str,
    /// The wall clock at the cut, in milliseconds.
    pub now_ms: i64,
    /// Asked on the way: whether to give up.
    pub stop: &'s SnapshotStop,
    /// Told why a snapshot is not gone on from.
    pub told: &'s dyn Fn(&str),
}

/// A snapshot that belongs to what the progress log says.
#[derive(Debug)]
pub struct UsableSnapshot {
    /// Its file.
    pub file: String,
    /// What it is of.
    pub header: SnapshotHeader,
    /// Its size.
    pub bytes: u64,
}

/// A snapshot that is not used.
#[derive(Debug)]
pub struct RefusedSnapshot {
    /// Its file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// The snapshots there are, sorted by whether they can be gone on from to come to a cut.
#[derive(Debug, Default)]
pub struct FoundSnapshots {
    /// Those that can, newest first. Whether they are whole is known only when they are read.
    pub usable: Vec<UsableSnapshot>,
    /// Those of another log, another plan, or a state that is let go.
    pub foreign: Vec<RefusedSnapshot>,
    /// Those of which that could not be learned. They may be all there is of the state.
    pub unread: Vec<RefusedSnapshot>,
}

impl FoundSnapshots {
    /// Looks at the headers of all snapshots. It is quick, and heeds no wish to stop: half an answer would look like fewer
    /// snapshots.
    pub fn of(
        files: &SnapshotFiles,
        logs: &dyn SnapshotLogs,
        cut: &SnapshotCut,
    ) -> Result<FoundSnapshots, SnapshotFileError> {
        let never: SnapshotStop = Arc::new(|| false);
        let mut found = FoundSnapshots::default();
        for file in files.snapshots()? {
            let (header, bytes) = match files.open(&file, &never) {
                Ok((reader, bytes)) => (reader.header().clone(), bytes),
                Err(error) => {
                    found.unread.push(RefusedSnapshot { file, reason: error.to_string() });
                    continue;
                }
            };
            match misfit(&header, logs, cut) {
                Ok(None) => found.usable.push(UsableSnapshot { file, header, bytes }),
                Ok(Some(reason)) => found.foreign.push(RefusedSnapshot { file, reason }),
                Err(reason) => found.unread.push(RefusedSnapshot { file, reason }),
            }
        }
        Ok(found)
    }

    /// Takes out the files that are not needed any more: all but the newest [`SNAPSHOTS_KEPT`]. While
    /// it is not certain that there are so many, only what certainly belongs to something else, and none if there are none.
    pub fn take_superfluous(&mut self) -> Vec<String> {
        if self.usable.is_empty() {
            return Vec::new();
        }
        let mut refused: Vec<RefusedSnapshot> = self.foreign.drain(..).collect();
        let mut more = Vec::new();
        if self.usable.len() >= SNAPSHOTS_KEPT {
            refused.append(&mut self.unread);
            more.extend(self.usable.drain(SNAPSHOTS_KEPT..).map(|more| more.file));
        }
        refused.into_iter().map(|refused| refused.file).chain(more).collect()
    }
}

/// Why a snapshot cannot be gone on from to come to a cut; `None` if it can, an error if that cannot be learned.
fn misfit(
    header: &SnapshotHeader,
    logs: &dyn SnapshotLogs,
    cut: &SnapshotCut,
) -> Result<Option<String>, String> {
    let (of, now) = (&header.progress, &cut.progress);
    let misfit = |reason: String| Ok(Some(reason));
    if header.changelog != logs.id() {
        let (found, expected) = (&header.changelog, logs.id());
        return misfit(format!("it goes with the changelog {found}, and there is {expected} now"));
    }
    if of.pipeline != now.pipeline {
        return misfit(format!("it is of pipeline {}", of.pipeline));
    }
    if of.plan != now.plan {
        return misfit(format!(
            "it is of plan {:08x}, and what is committed is of {:08x}",
            of.plan, now.plan
        ));
    }
    if of.epoch > now.epoch {
        return misfit(format!("it is of epoch {}, and the last committed one is {}", of.epoch, now.epoch));
    }
    // One of the state before it may end where this one begins.
    if of.state_from != now.state_from {
        return misfit("it is of a state that was replaced by another one".to_owned());
    }
    if header.changelog_end > cut.changelog_end {
        let (end, log_end) = (header.changelog_end, cut.changelog_end);
        return misfit(format!("it has the changelog up to offset {end}, which ends at {log_end}"));
    }
    if let Some(reason) = logs.lacks(header) {
        return misfit(reason);
    }
    let is_vouched = logs.vouches(of, header.progress_offset)?;
    Ok((!is_vouched).then(|| {
        let at = header.progress_offset;
        format!("the progress log does not have the record of its epoch {} at offset {at}", of.epoch)
    }))
}

/// Makes a file of the state at a cut: of the newest snapshot that is whole and what came behind it, or of the changelog
/// alone where that is the state.
pub fn make_snapshot(
    source: &SnapshotSource<'_>,
    cut: &SnapshotCut,
    file: &str,
) -> Result<(SnapshotHeader, SnapshotSize), SnapshotFileError> {
    make_within(source, cut, file, CHANGES_BYTES)
}

/// The same with so many bytes of changes in memory at a time.
fn make_within(
    source: &SnapshotSource<'_>,
    cut: &SnapshotCut,
    file: &str,
    changes_bytes: usize,
) -> Result<(SnapshotHeader, SnapshotSize), SnapshotFileError> {
    let header = SnapshotHeader {
        version: SNAPSHOT_VERSION,
        progress: cut.progress.clone(),
        progress_offset: cut.progress_offset,
        changelog: source.logs.id(),
        changelog_end: cut.changelog_end,
        script: source.script.to_owned(),
        operators: SnapshotOperator::of(source.plan),
        created_ms: source.now_ms,
    };
    let mut failed = None;
    let found = FoundSnapshots::of(source.files, source.logs, cut)?;
    for RefusedSnapshot { file, reason } in found.unread {
        (source.told)(&format!("{file}: {reason}"));
    }
    for base in found.usable {
        let behind = Some((base.file.clone(), base.header.changelog_end));
        match merge(source, &header, behind, file, changes_bytes) {
            Ok(size) => return Ok((header, size)),
            Err(error) if (source.stop)() || error.is_for_want_of_room() => return Err(error),
            Err(error) => {
                (source.told)(&format!("{}: {error}", base.file));
                failed = Some(error);
            }
        }
    }
    if source.logs.is_whole(&cut.progress) {
        return merge(source, &header, None, file, changes_bytes).map(|size| (header, size));
    }
    Err(failed.unwrap_or_else(|| SnapshotFileError::Snapshot {
        path: PathBuf::from(file),
        error: SnapshotError::Misfit {
            reason: "no snapshot is left that goes with the changelog".to_owned(),
        },
    }))
}

/// Merges the changelog behind `base` into it, at once: what does not fit into memory waits in files.
fn merge(
    source: &SnapshotSource<'_>,
    header: &SnapshotHeader,
    base: Option<(String, i64)>,
    file: &str,
    changes_bytes: usize,
) -> Result<SnapshotSize, SnapshotFileError> {
    let mut waiting = Vec::new();
    let result = merge_by(source, header, base, file, changes_bytes, &mut waiting);
    for file in waiting {
        if let Err(error) = source.files.remove(&file) {
            (source.told)(&format!("a file of a snapshot in the making stays: {error}"));
        }
    }
    result
}

/// The same; `waiting` are the files that are not needed any more behind it.
fn merge_by(
    source: &SnapshotSource<'_>,
    header: &SnapshotHeader,
    base: Option<(String, i64)>,
    file: &str,
    changes_bytes: usize,
    waiting: &mut Vec<String>,
) -> Result<SnapshotSize, SnapshotFileError> {
    let SnapshotSource { files, logs, stop, .. } = source;
    let (base, mut from) =
        base.map_or_else(|| (None, logs.changelog_start()), |(file, end)| (Some(file), end));
    let open = |file: &String| files.open(file, stop).map(|(reader, _)| reader);
    let mut made = 0;
    loop {
        let mut changes = StateChanges::default();
        let mut enough = false;
        let taken = logs.each_batch(from, header.changelog_end, &mut |batch| {
            if stop() {
                return Err("it was stopped".to_owned());
            }
            changes.apply(batch).map_err(|error| error.to_string())?;
            from = batch.header().next_offset();
            enough = changes.bytes() > changes_bytes;
            match enough {
                true => Err("there are enough changes for a file".to_owned()),
                false => Ok(()),
            }
        });
        match taken {
            Ok(()) => {
                let mut base = base.as_ref().map(open).transpose()?;
                let mut stretches: Vec<_> = waiting.iter().map(open).collect::<Result<_, _>>()?;
                return files.write(file, stop, |out| {
                    merge_stretches(header, base.as_mut(), &mut stretches, &changes, out)
                });
            }
            Err(_) if enough => {}
            Err(reason) => {
                let error = SnapshotError::Misfit { reason };
                return Err(SnapshotFileError::Snapshot { path: PathBuf::from(file), error });
            }
        }
        let before = if waiting.len() < MOST_FILES { waiting.len() } else { 0 };
        let mut older: Vec<_> = waiting[before..].iter().map(open).collect::<Result<_, _>>()?;
        let to = SnapshotFiles::on_the_way(&format!("{made}-{file}"));
        made += 1;
        files.write(&to, stop, |out| write_stretch(header, &mut older, &changes, out))?;
        let superfluous: Vec<String> = waiting.drain(before..).collect();
        waiting.push(to);
        superfluous.iter().try_for_each(|file| files.remove(file))?;
    }
}
