//! The next snapshot, and which of those there are can be used.

use std::path::PathBuf;
use std::sync::Arc;

use logmill_stream::{
    Plan, Progress, SNAPSHOT_VERSION, SnapshotError, SnapshotHeader, SnapshotOperator, SnapshotSize,
    StateChanges, merge_stretches, write_stretch,
};

use super::files::{FileError, MERGING, SnapshotFiles, Stop};
use super::own_logs::{Cut, OwnLogs, for_each_batch};

/// Changes go to a file of their own when they take this much memory.
pub(in crate::pipelines) const CHANGES_BYTES: usize = 128 << 20;

/// So many files are made one, before there are more: each has a part of it in memory while they are merged.
const MOST_FILES: usize = 64;

/// What a snapshot is made of, and where it is written.
pub(in crate::pipelines) struct Source<'s> {
    pub(in crate::pipelines) files: &'s SnapshotFiles,
    pub(in crate::pipelines) logs: &'s OwnLogs,
    pub(in crate::pipelines) plan: &'s Plan,
    pub(in crate::pipelines) script: &'s str,
    pub(in crate::pipelines) now_ms: i64,
    /// How many bytes of changes are taken into memory at a time; see [`CHANGES_BYTES`].
    pub(in crate::pipelines) changes_bytes: usize,
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

/// Merges the changelog behind `base` into it, at once: what does not fit into memory waits in files.
fn merge(
    source: &Source<'_>,
    header: &SnapshotHeader,
    base: Option<(String, i64)>,
    file: &str,
) -> Result<SnapshotSize, FileError> {
    let mut waiting = Vec::new();
    let result = merge_by(source, header, base, file, &mut waiting);
    for file in waiting {
        if let Err(error) = source.files.remove(&file) {
            tracing::warn!(%error, "a file of a snapshot in the making stays");
        }
    }
    result
}

/// The same; `waiting` are the names of the files that are not needed any more behind it.
fn merge_by(
    source: &Source<'_>,
    header: &SnapshotHeader,
    base: Option<(String, i64)>,
    file: &str,
    waiting: &mut Vec<String>,
) -> Result<SnapshotSize, FileError> {
    let Source { files, stop, .. } = source;
    let (base, mut from) = base.map_or((None, 0), |(file, end)| (Some(file), end));
    let open = |file: &String| files.open(file, stop).map(|(reader, _)| reader);
    let mut made = 0;
    loop {
        let mut changes = StateChanges::default();
        let is_last = take_in(source, &mut changes, &mut from, header.changelog_end).map_err(|reason| {
            FileError::Snapshot { path: PathBuf::from(file), error: SnapshotError::Misfit { reason } }
        })?;
        if is_last {
            let mut base = base.as_ref().map(open).transpose()?;
            let mut stretches: Vec<_> = waiting.iter().map(open).collect::<Result<_, _>>()?;
            return files.write(file, stop, |out| {
                merge_stretches(header, base.as_mut(), &mut stretches, &changes, out)
            });
        }
        let before = if waiting.len() < MOST_FILES { waiting.len() } else { 0 };
        let mut older: Vec<_> = waiting[before..].iter().map(open).collect::<Result<_, _>>()?;
        let to = format!("{MERGING}{made}-{file}");
        made += 1;
        files.write(&to, stop, |out| write_stretch(header, &mut older, &changes, out))?;
        let superfluous: Vec<String> = waiting.drain(before..).collect();
        waiting.push(to);
        superfluous.iter().try_for_each(|file| files.remove(file))?;
    }
}

/// Takes in changes from an offset on, and moves it behind them; tells whether these are all before `end`.
fn take_in(
    source: &Source<'_>,
    changes: &mut StateChanges,
    from: &mut i64,
    end: i64,
) -> Result<bool, String> {
    let taken = for_each_batch(&source.logs.changelog, *from, end, |batch| {
        if (source.stop)() {
            return Err("it was stopped".to_owned());
        }
        changes.apply(batch).map_err(|error| error.to_string())?;
        *from = batch.header().next_offset();
        match changes.bytes() > source.changes_bytes {
            true => Err(ENOUGH.to_owned()),
            false => Ok(()),
        }
    });
    match taken {
        Ok(_) => Ok(true),
        Err(reason) if reason == ENOUGH => Ok(false),
        Err(reason) => Err(reason),
    }
}

/// Not an error: there are enough changes for a file.
const ENOUGH: &str = "enough";
