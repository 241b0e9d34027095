//! Putting a compacted segment in the place of those it was made from, so that a crash leaves one or the other.
//!
//! ```text
//! 1  <base>.log.cleaned, .index.cleaned, …   written and flushed, their names too; likewise segment-manifest.cleaned,
//!                                            which says what the new segment holds
//! 2  compaction-swap                         says what they replace: from here on the new segment counts
//! 3  the names are changed, the other old files removed
//! 4  compaction-swap is removed
//! ```
//!
//! Everything that needs space is done before the note. A start that finds it does step 3 again, whatever part of it was
//! done, before it looks at any segment. Without the note the `.cleaned` files are leftovers.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, read_file, replace_file};
use crate::log::error::LogError;
use crate::log::manifest::SEGMENT_MANIFEST;
use crate::log::names::FileKind;
use crate::log::segment::{remove_if_there, remove_segment_files};

/// Name of the note in a partition's directory.
pub(crate) const SWAP_NOTE: &str = "compaction-swap";
/// Suffix of files of a segment that does not count yet.
pub(crate) const CLEANED: &str = ".cleaned";
/// Name of the manifest that goes with the new segment.
pub(super) const MANIFEST_CLEANED: &str = "segment-manifest.cleaned";
const VERSION: &str = "0";

/// A segment, and those that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    /// Base offsets of the segments that go; the first is that of the new one, too.
    pub(crate) replaced: Vec<i64>,
    /// The new segment has aborted transactions.
    pub(crate) has_aborted: bool,
}

/// Where a file of a new segment is before it counts.
pub(crate) fn cleaned_path(kind: FileKind, directory: &Path, base_offset: i64) -> PathBuf {
    let mut path = kind.path(directory, base_offset).into_os_string();
    path.push(CLEANED);
    path.into()
}

fn rename_if_there(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), LogError> {
    match disk.rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(LogError::io("rename", from)),
    }
}

impl Swap {
    /// From here on the new segment counts, and is in its place when this returns or when the log is opened again. When the
    /// disk is full for that, the note is not there; after another error it may be.
    pub(crate) fn note(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let path = directory.join(SWAP_NOTE);
        let written =
            replace_file(disk, &path, self.encode().as_bytes()).map_err(LogError::io("write", &path));
        if let Err(error) = &written
            && error.is_full()
        {
            let removed = remove_if_there(disk, &path)
                .and_then(|()| disk.sync_dir(directory).map_err(LogError::io("flush", directory)));
            removed.map_err(LogError::not_full)?;
        }
        written
    }

    /// Changes the names, as far as that is not done yet.
    pub(crate) fn rename(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let Some((&base, others)) = self.replaced.split_first() else { return Ok(()) };
        for kind in FileKind::SEGMENT {
            let (from, to) = (cleaned_path(kind, directory, base), kind.path(directory, base));
            if kind == FileKind::TransactionIndex && !self.has_aborted {
                remove_if_there(disk, &to)?;
                continue;
            }
            rename_if_there(disk, &from, &to)?;
        }
        rename_if_there(disk, &directory.join(MANIFEST_CLEANED), &directory.join(SEGMENT_MANIFEST))?;
        others.iter().try_for_each(|base| remove_segment_files(disk, directory, *base))
    }

    /// The names are durable; the note is not needed any more.
    pub(crate) fn finish(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let sync = || disk.sync_dir(directory).map_err(LogError::io("flush", directory));
        sync()?;
        remove_if_there(disk, &directory.join(SWAP_NOTE))?;
        sync()
    }

    /// Finishes a swap that a crash, or an error, has interrupted. True when there was one.
    pub(crate) fn resume(disk: &dyn Disk, directory: &Path) -> Result<bool, LogError> {
        let path = directory.join(SWAP_NOTE);
        let bytes = match read_file(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            read => read.map_err(LogError::io("read", &path))?,
        };
        let swap = Swap::decode(&String::from_utf8_lossy(&bytes)).ok_or_else(|| LogError::Metadata {
            file: path,
            reason: "it does not say what a compacted segment replaces; restore the file from a backup"
                .to_owned(),
        })?;
        swap.rename(disk, directory)?;
        swap.finish(disk, directory)?;
        Ok(true)
    }

    /// `version`, `1` when the segment has aborted transactions and `0` when not, the base offsets: one line each.
    fn encode(&self) -> String {
        let bases: Vec<String> = self.replaced.iter().map(i64::to_string).collect();
        format!("{VERSION}\n{}\n{}\n", u8::from(self.has_aborted), bases.join(" "))
    }

    pub(crate) fn decode(text: &str) -> Option<Swap> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return None;
        }
        let has_aborted = match lines.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let bases = lines.next()?.split(' ').map(|base| base.parse().ok().filter(|base| *base >= 0));
        let replaced = bases.collect::<Option<Vec<i64>>>()?;
        let grows = replaced.windows(2).all(|pair| pair[0] < pair[1]);
        (grows && !replaced.is_empty() && lines.next().is_none()).then_some(Swap { replaced, has_aborted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_comes_back_as_written_and_nothing_else_is_taken_for_one() {
        for (replaced, has_aborted) in [(vec![0], false), (vec![7, 12, 4711], true)] {
            let swap = Swap { replaced, has_aborted };
            assert_eq!(Swap::decode(&swap.encode()), Some(swap));
        }
        for bad in
            ["", "0\n", "1\n0\n5\n", "0\n2\n5\n", "0\n0\n\n", "0\n0\n5 4\n", "0\n0\n-1\n", "0\n0\n5\nx\n"]
        {
            assert_eq!(Swap::decode(bad), None, "{bad:?}");
        }
    }
}
