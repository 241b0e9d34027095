//! The next snapshot, and which of those there are can be used.

use std::path::PathBuf;
use std::sync::Arc;

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

/// The snapshots there are, sorted by whether they can be gone on from to come to a cut.
#[derive(Debug, Default)]
pub(in crate::pipelines) struct Found {
    /// Those that can, newest first. Whether they are whole is known only when they are read.
    pub(in crate::pipelines) usable: Vec<Usable>,
    /// Those of another log, another plan, or a state that is let go.
    pub(in crate::pipelines) foreign: Vec<String>,
    /// Those of which that could not be learned. They may be all there is of the state.
    pub(in crate::pipelines) unread: Vec<String>,
}

/// Looks at the headers of all snapshots. It is quick, and heeds no wish to stop: half an answer would look like fewer
/// snapshots.
pub(in crate::pipelines) fn find(
    files: &SnapshotFiles,
    logs: &OwnLogs,
    cut: &Cut,
) -> Result<Found, FileError> {
    let log_start = logs.changelog.published().log_start_offset;
    let never: Stop = Arc::new(|| false);
    let mut found = Found::default();
    for file in files.snapshots()? {
        let (header, bytes) = match files.open(&file, &never) {
            Ok((reader, bytes)) => (reader.header().clone(), bytes),
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be used");
                found.unread.push(file);
                continue;
            }
        };
        let is_of_this_state = header.changelog == logs.id()
            && header.progress.epoch <= cut.progress.epoch
            && header.progress.plan == cut.progress.plan
            // One of the state before it may end where this one begins.
            && header.progress.state_from == cut.progress.state_from
            && (log_start..=cut.changelog_end).contains(&header.changelog_end);
        match is_of_this_state.then(|| logs.vouches(&header.progress, header.progress_offset)) {
            Some(Ok(true)) => found.usable.push(Usable { file, header, bytes }),
            Some(Ok(false)) | None => found.foreign.push(file),
            Some(Err(error)) => {
                tracing::warn!(error, file, "whether a snapshot can be used is not known");
                found.unread.push(file);
            }
        }
    }
    Ok(found)
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
    for base in find(source.files, source.logs, cut)?.usable {
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
