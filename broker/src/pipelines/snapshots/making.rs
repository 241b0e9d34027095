//! The next snapshot, and which of those there are can be used.

use std::path::PathBuf;

use logmill_stream::{
    Plan, Progress, SNAPSHOT_VERSION, SnapshotError, SnapshotHeader, SnapshotOperator, SnapshotSize,
    StateChanges, merge_snapshot,
};

use super::files::{FileError, MERGING, SnapshotFiles, Stop};
use super::own_logs::{Cut, OwnLogs, for_each_batch};

/// Changes are merged into a file when they take this much memory.
const CHANGES_BYTES: usize = 128 << 20;

/// What a snapshot is made of, and where it is written.
pub(in crate::pipelines) struct Source<'s> {
    pub(in crate::pipelines) files: &'s SnapshotFiles,
    pub(in crate::pipelines) logs: &'s OwnLogs,
    pub(in crate::pipelines) plan: &'s Plan,
    pub(in crate::pipelines) script: &'s str,
    pub(in crate::pipelines) now_ms: i64,
    pub(in crate::pipelines) stop: &'s Stop,
}

/// A snapshot that belongs to what the progress log says.
#[derive(Debug)]
pub(in crate::pipelines) struct Usable {
    pub(in crate::pipelines) file: String,
    pub(in crate::pipelines) header: SnapshotHeader,
    pub(in crate::pipelines) bytes: u64,
}

/// The snapshots that can be gone on from to come to a cut, newest first. Whether they are whole is known only when they
/// are read.
pub(in crate::pipelines) fn usable(
    files: &SnapshotFiles,
    logs: &OwnLogs,
    cut: &Cut,
    stop: &Stop,
) -> Result<Vec<Usable>, FileError> {
    let log_start = logs.changelog.published().log_start_offset;
    let first = log_start.max(cut.progress.state_from.unwrap_or(0));
    let mut usable = Vec::new();
    for file in files.snapshots()? {
        let (header, bytes) = match files.open(&file, stop) {
            Ok((reader, bytes)) => (reader.header().clone(), bytes),
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be used");
                continue;
            }
        };
        let belongs = header.changelog == logs.id()
            && header.progress.epoch <= cut.progress.epoch
            && header.progress.plan == cut.progress.plan
            && (first..=cut.changelog_end).contains(&header.changelog_end)
            && logs.vouches(&header.progress, header.progress_offset);
        if belongs {
            usable.push(Usable { file, header, bytes });
        }
    }
    Ok(usable)
}

/// Whether the changelog alone is the state.
pub(in crate::pipelines) fn is_whole(logs: &OwnLogs, progress: &Progress) -> bool {
    progress.state_from.is_none() && logs.changelog.published().log_start_offset == 0
}

/// Makes a file of the state at a cut: of the newest snapshot that is whole and what came behind it, or of the changelog
/// alone where that is the state.
pub(in crate::pipelines) fn make(
    source: &Source<'_>,
    cut: &Cut,
    file: &str,
) -> Result<(SnapshotHeader, SnapshotSize), FileError> {
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
    for base in usable(source.files, source.logs, cut, source.stop)? {
        match merge(source, &header, Some((base.file.clone(), base.header.changelog_end)), file) {
            Ok(size) => return Ok((header, size)),
            Err(error) if (source.stop)() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, base = base.file, "a snapshot cannot be gone on from");
                failed = Some(error);
            }
        }
    }
    if is_whole(source.logs, &cut.progress) {
        return merge(source, &header, None, file).map(|size| (header, size));
    }
    Err(failed.unwrap_or_else(|| FileError::Snapshot {
        path: PathBuf::from(file),
        error: SnapshotError::Misfit {
            reason: "no snapshot is left that goes with the changelog".to_owned(),
        },
    }))
}

/// Merges the changelog behind `base` into it, a stretch at a time.
fn merge(
    source: &Source<'_>,
    header: &SnapshotHeader,
    base: Option<(String, i64)>,
    file: &str,
) -> Result<SnapshotSize, FileError> {
    let Source { files, logs, stop, .. } = source;
    let misfit = |reason: String| FileError::Snapshot {
        path: PathBuf::from(file),
        error: SnapshotError::Misfit { reason },
    };
    let (mut base, mut from) = base.map_or((None, 0), |(file, end)| (Some(file), end));
    let mut made: Vec<String> = Vec::new();
    let result = loop {
        let mut changes = StateChanges::default();
        let end = for_each_batch(&logs.changelog, from, header.changelog_end, |batch| {
            if stop() {
                return Err("it was stopped".to_owned());
            }
            changes.apply(batch).map_err(|error| error.to_string())?;
            from = batch.header().next_offset();
            match changes.bytes() > CHANGES_BYTES {
                true => Err(ENOUGH.to_owned()),
                false => Ok(()),
            }
        });
        let is_last = match end {
            Ok(_) => true,
            Err(reason) if reason == ENOUGH => false,
            Err(reason) => break Err(misfit(reason)),
        };
        let to = if is_last { file.to_owned() } else { format!("{MERGING}{}-{file}", made.len()) };
        let mut opened = match base.as_deref().map(|base| files.open(base, stop)).transpose() {
            Ok(opened) => opened.map(|(reader, _)| reader),
            Err(error) => break Err(error),
        };
        let written =
            files.write(&to, stop, |out| merge_snapshot(header, opened.as_mut(), &changes, |_| true, out));
        match written {
            Ok(size) if is_last => break Ok(size),
            Ok(_) => {
                made.push(to.clone());
                base = Some(to);
            }
            Err(error) => break Err(error),
        }
    };
    for file in made {
        if let Err(error) = files.remove(&file) {
            tracing::warn!(%error, "a file of a snapshot in the making stays");
        }
    }
    result
}

/// Not an error: there are enough changes for a round.
const ENOUGH: &str = "enough";
