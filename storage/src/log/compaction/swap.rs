//! Putting a compacted segment in the place of those it was made from, so that a crash leaves one or the other.
//!
//! ```text
//! 1  <base>.log.cleaned, .index.cleaned, …   written and flushed, their names too
//! 2  compaction-swap                         says what they replace: from here on the new segment counts
//! 3  the names are changed, the other old files removed
//! 4  segment-manifest                        says what the new segment holds
//! 5  compaction-swap is removed
//! ```
//!
//! A start that finds the note does steps 3 and 4 again, whatever part of it was done, before it looks at any segment. Without
//! the note the `.cleaned` files are leftovers.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, read_file, replace_file};
use crate::log::error::LogError;
use crate::log::manifest::{AbortedSum, SegmentManifest};
use crate::log::names::FileKind;
use crate::log::segment::{remove_if_there, remove_segment_files};

/// Name of the note in a partition's directory.
pub(crate) const SWAP_NOTE: &str = "compaction-swap";
/// Suffix of files of a segment that does not count yet.
pub(crate) const CLEANED: &str = ".cleaned";
const VERSION: &str = "1";

/// A segment, and those that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    /// Base offsets of the segments that go; the first is that of the new one, too.
    pub(crate) replaced: Vec<i64>,
    /// Bytes of batches of the new segment.
    pub(crate) size: u64,
    /// Its aborted transactions.
    pub(crate) aborted: AbortedSum,
}

/// Where a file of a new segment is before it counts.
pub(crate) fn cleaned_path(kind: FileKind, directory: &Path, base_offset: i64) -> PathBuf {
    let mut path = kind.path(directory, base_offset).into_os_string();
    path.push(CLEANED);
    path.into()
}

impl Swap {
    /// From here on the new segment counts, and is in its place when this returns or when the log is opened again.
    pub(crate) fn note(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let path = directory.join(SWAP_NOTE);
        replace_file(disk, &path, self.encode().as_bytes()).map_err(LogError::io("write", &path))
    }

    /// Changes the names, as far as that is not done yet.
    pub(crate) fn rename(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        let Some((&base, others)) = self.replaced.split_first() else { return Ok(()) };
        for kind in FileKind::SEGMENT {
            let (from, to) = (cleaned_path(kind, directory, base), kind.path(directory, base));
            if kind == FileKind::TransactionIndex && self.aborted.entries == 0 {
                remove_if_there(disk, &to)?;
                continue;
            }
            match disk.rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(LogError::io("rename", &from))?,
            }
        }
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
        // One that is damaged, or from before there was one, is not made right by one line.
        if let Ok(Some(mut manifest)) = SegmentManifest::read(disk, directory)? {
            manifest.swap(&swap.replaced, swap.size, swap.aborted);
            manifest.write(disk, directory)?;
        }
        swap.finish(disk, directory)?;
        Ok(true)
    }

    /// The version; bytes, aborted transactions and their checksum; the base offsets: one line each.
    fn encode(&self) -> String {
        let bases: Vec<String> = self.replaced.iter().map(i64::to_string).collect();
        let AbortedSum { entries, crc } = self.aborted;
        format!("{VERSION}\n{} {entries} {crc:08x}\n{}\n", self.size, bases.join(" "))
    }

    fn decode(text: &str) -> Option<Swap> {
        let mut lines = text.lines();
        if lines.next() != Some(VERSION) {
            return None;
        }
        let [size, entries, crc] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let crc = u32::from_str_radix(crc, 16).ok()?;
        let (size, aborted) = (size.parse().ok()?, AbortedSum { entries: entries.parse().ok()?, crc });
        let bases = lines.next()?.split(' ').map(|base| base.parse().ok().filter(|base| *base >= 0));
        let replaced = bases.collect::<Option<Vec<i64>>>()?;
        let grows = replaced.windows(2).all(|pair| pair[0] < pair[1]);
        (grows && !replaced.is_empty() && lines.next().is_none()).then_some(Swap { replaced, size, aborted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_comes_back_as_written_and_nothing_else_is_taken_for_one() {
        for (replaced, entries) in [(vec![0], 0), (vec![7, 12, 4711], 3)] {
            let swap = Swap { replaced, size: 815, aborted: AbortedSum { entries, crc: 0xd00f } };
            assert_eq!(Swap::decode(&swap.encode()), Some(swap));
        }
        for bad in [
            "",
            "1\n",
            "2\n9 0 0\n5\n",
            "1\n9 0\n5\n",
            "1\n9 0 0 0\n5\n",
            "1\n9 0 0\n\n",
            "1\n9 0 0\n5 4\n",
            "1\n9 0 0\n-1\n",
            "1\n9 0 0\n5\nx\n",
        ] {
            assert_eq!(Swap::decode(bad), None, "{bad:?}");
        }
    }
}
