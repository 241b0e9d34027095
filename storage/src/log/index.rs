//! Sparse indexes: offset to position, and timestamp to offset.
//!
//! Entries of a file `n` bytes behind the last one are found by binary search. An index keeps in memory what is not yet in
//! its file, and the whole of a small one; of a large one it keeps every 512th entry and reads the rest by need.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenOptions, read_file};

/// Entries between two that stay in memory.
const SAMPLE_EVERY: usize = 512;
/// Up to so many entries an index stays in memory as a whole.
const RESIDENT_MAX: usize = 16 * SAMPLE_EVERY;

/// An entry of an index file: fixed length, big-endian, in growing order.
pub(crate) trait Entry: Copy + Debug + PartialEq {
    const LEN: usize;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, out: &mut Vec<u8>);
    /// Whether it may come after `previous`.
    fn grows_from(self, previous: Self) -> bool;
}

/// The last offset of a batch, relative to the segment's base, and the batch's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

impl Entry for OffsetEntry {
    const LEN: usize = 8;

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry { relative_offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn grows_from(self, previous: OffsetEntry) -> bool {
        self.relative_offset > previous.relative_offset && self.position > previous.position
    }
}

/// The largest timestamp of the segment so far, and the last offset of the batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: u32,
}

impl Entry for TimeEntry {
    const LEN: usize = 12;

    fn decode(bytes: &[u8]) -> TimeEntry {
        TimeEntry {
            timestamp: i64::from_be_bytes(std::array::from_fn(|i| bytes[i])),
            relative_offset: u32_at(bytes, 8),
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn grows_from(self, previous: TimeEntry) -> bool {
        self.timestamp > previous.timestamp && self.relative_offset > previous.relative_offset
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// One index.
#[derive(Debug)]
pub(crate) struct SparseIndex<E> {
    path: PathBuf,
    /// Entries that are only in the file; a multiple of [`SAMPLE_EVERY`].
    sampled: usize,
    /// Every [`SAMPLE_EVERY`]th of those, from the first.
    samples: Vec<E>,
    /// The entries behind those.
    resident: Vec<E>,
    /// Entries that are in the file.
    written: usize,
}

/// How much of a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    All,
    /// What follows is not for this segment, or not to be trusted; or there is no file.
    Part,
    /// Two entries contradict each other.
    Disordered,
}

/// Where a look-up has to go on.
pub(crate) enum Found<E> {
    /// This is the answer.
    Entry(Option<E>),
    /// The answer is among these entries of the file; the lock on the index is not needed for reading them.
    InFile { path: PathBuf, first: usize, count: usize },
}

impl<E: Entry> SparseIndex<E> {
    /// An empty index.
    pub(crate) fn new(path: PathBuf) -> SparseIndex<E> {
        SparseIndex { path, sampled: 0, samples: Vec::new(), resident: Vec::new(), written: 0 }
    }

    /// Reads the file as far as its entries grow and `valid` agrees; what follows (Kafka preallocates with zeros) is left
    /// out. A missing file is an empty index. Also says whether that is all of the file.
    pub(crate) fn load(
        disk: &dyn Disk,
        path: PathBuf,
        valid: impl Fn(E) -> bool,
    ) -> io::Result<(SparseIndex<E>, Read)> {
        let bytes = match read_file(disk, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((SparseIndex::new(path), Read::Part));
            }
            Err(error) => return Err(error),
        };
        let mut resident: Vec<E> = Vec::with_capacity(bytes.len() / E::LEN);
        let mut read = if bytes.len().is_multiple_of(E::LEN) { Read::All } else { Read::Part };
        for entry in bytes.chunks_exact(E::LEN).map(E::decode) {
            if !valid(entry) {
                read = Read::Part;
                break;
            }
            if resident.last().is_some_and(|last| !entry.grows_from(*last)) {
                read = Read::Disordered;
                break;
            }
            resident.push(entry);
        }
        let written = resident.len();
        Ok((SparseIndex { resident, written, ..SparseIndex::new(path) }, read))
    }

    pub(crate) fn len(&self) -> usize {
        self.sampled + self.resident.len()
    }

    /// Bytes of the file with everything written.
    pub(crate) fn byte_len(&self) -> usize {
        self.len() * E::LEN
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.resident.last().copied()
    }

    pub(crate) fn push(&mut self, entry: E) {
        debug_assert!(self.last().is_none_or(|last| entry.grows_from(last)));
        self.resident.push(entry);
    }

    /// Leaves only the entries for which `keep` holds, which must be a prefix. Only for an index just loaded.
    pub(crate) fn truncate(&mut self, keep: impl Fn(&E) -> bool) {
        debug_assert_eq!(self.sampled, 0);
        self.resident.truncate(self.resident.partition_point(keep));
        self.written = self.written.min(self.resident.len());
    }

    /// The entry `back` entries before the last, if there are so many. Only for an index just loaded.
    pub(crate) fn nth_last(&self, back: usize) -> Option<E> {
        self.resident.iter().rev().nth(back).copied()
    }

    /// Finds the last entry for which `before` holds; it must hold for a prefix of the entries.
    pub(crate) fn floor(&self, before: impl Fn(&E) -> bool) -> Found<E> {
        if self.sampled > 0 && !self.resident.first().is_some_and(&before) {
            let samples = self.samples.partition_point(&before);
            if let Some(sample) = samples.checked_sub(1) {
                return Found::InFile {
                    path: self.path.clone(),
                    first: sample * SAMPLE_EVERY,
                    count: SAMPLE_EVERY,
                };
            }
            return Found::Entry(None);
        }
        let at = self.resident.partition_point(before);
        Found::Entry(at.checked_sub(1).map(|at| self.resident[at]))
    }

    /// Writes what is not yet in the file. Returns the file when something was written, to be flushed with that handle.
    pub(crate) fn write_out(&mut self, disk: &dyn Disk) -> io::Result<Option<Arc<dyn DiskFile>>> {
        if self.written == self.len() {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity((self.len() - self.written) * E::LEN);
        for entry in &self.resident[self.written - self.sampled..] {
            entry.encode(&mut bytes);
        }
        let file = disk.open(&self.path, OpenOptions::CREATE)?;
        file.write_at(&bytes, (self.written * E::LEN) as u64)?;
        self.written = self.len();
        Ok(Some(file))
    }

    /// Writes what is not yet in the file, makes the file if need be, and cuts off anything behind the last entry. Returns
    /// the file unless it was exactly so already.
    pub(crate) fn finish(&mut self, disk: &dyn Disk) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let written = self.write_out(disk)?;
        let length = self.byte_len() as u64;
        match disk.file_len(&self.path) {
            Ok(found) if found == length => return Ok(written),
            Err(error) if error.kind() == io::ErrorKind::NotFound && length == 0 => {
                // Nothing is lost with it, should its name not reach the device.
                disk.open(&self.path, OpenOptions::CREATE)?;
                return Ok(None);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = match written {
            Some(file) => file,
            None => disk.open(&self.path, OpenOptions::CREATE)?,
        };
        file.set_len(length)?;
        Ok(Some(file))
    }

    /// Writes the whole file again. Only for an index just loaded or built.
    pub(crate) fn rewrite(&mut self, disk: &dyn Disk) -> io::Result<Option<Arc<dyn DiskFile>>> {
        debug_assert_eq!(self.sampled, 0);
        self.written = 0;
        self.finish(disk)
    }

    /// Lets go of memory that the file can stand in for. Entries not yet written stay.
    pub(crate) fn shrink(&mut self) {
        let in_file = (self.written - self.sampled) / SAMPLE_EVERY * SAMPLE_EVERY;
        if self.resident.len() <= RESIDENT_MAX || in_file == 0 {
            self.resident.shrink_to_fit();
            return;
        }
        // The last entry stays resident: it is what appends and checks ask for.
        let moved = in_file.min((self.resident.len() - 1) / SAMPLE_EVERY * SAMPLE_EVERY);
        self.samples.extend(self.resident[..moved].iter().step_by(SAMPLE_EVERY));
        self.resident = self.resident.split_off(moved);
        self.sampled += moved;
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl<E: Entry> Found<E> {
    /// Reads from the file if need be, and gives the entry.
    pub(crate) fn resolve(self, disk: &dyn Disk, before: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        match self {
            Found::Entry(entry) => Ok(entry),
            Found::InFile { path, first, count } => {
                let file = disk.open(&path, OpenOptions::READ)?;
                let mut bytes = vec![0; count * E::LEN];
                file.read_exact_at(&mut bytes, (first * E::LEN) as u64)?;
                let entries: Vec<E> = bytes.chunks_exact(E::LEN).map(E::decode).collect();
                let at = entries.partition_point(before);
                Ok(at.checked_sub(1).map(|at| entries[at]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    const PATH: &str = "/index";

    fn entry(i: u32) -> OffsetEntry {
        OffsetEntry { relative_offset: i * 10 + 5, position: i * 100 }
    }

    fn floor(disk: &SimDisk, index: &SparseIndex<OffsetEntry>, offset: u32) -> Option<OffsetEntry> {
        let before = |e: &OffsetEntry| e.relative_offset <= offset;
        index.floor(before).resolve(disk, before).unwrap()
    }

    #[test]
    fn entry_bytes() {
        let mut out = Vec::new();
        OffsetEntry { relative_offset: 1, position: 0x0203 }.encode(&mut out);
        TimeEntry { timestamp: 4, relative_offset: 5 }.encode(&mut out);
        assert_eq!(out, [0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5]);
    }

    #[test]
    fn looking_up_in_memory_and_in_the_file_is_the_same() {
        let disk = SimDisk::new(1);
        let mut large = SparseIndex::new(PATH.into());
        let count = RESIDENT_MAX as u32 + 3 * SAMPLE_EVERY as u32 + 7;
        for i in 0..count {
            large.push(entry(i));
            if i == count / 2 {
                large.write_out(&disk).unwrap();
                large.shrink();
            }
        }
        assert!(large.write_out(&disk).unwrap().is_some());
        assert!(large.write_out(&disk).unwrap().is_none(), "nothing is new");
        large.shrink();
        assert!(large.sampled > 0 && large.resident.len() <= RESIDENT_MAX);
        assert_eq!(large.len(), count as usize);
        large.push(entry(count));

        assert_eq!(floor(&disk, &large, 4), None);
        for i in 0..=count {
            assert_eq!(floor(&disk, &large, i * 10 + 5), Some(entry(i)), "entry {i} itself");
            assert_eq!(floor(&disk, &large, i * 10 + 14), Some(entry(i)), "behind entry {i}");
        }
        large.write_out(&disk).unwrap();
        assert_eq!(disk.file_len(Path::new(PATH)).unwrap(), large.byte_len() as u64);
        let (again, exact) = SparseIndex::load(&disk, PATH.into(), |_: OffsetEntry| true).unwrap();
        assert_eq!(exact, Read::All);
        assert_eq!(again.resident, (0..=count).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn loading_stops_where_entries_do_not_grow() {
        let disk = SimDisk::new(1);
        let mut index = SparseIndex::new(PATH.into());
        (0..5).for_each(|i| index.push(entry(i)));
        let file = index.write_out(&disk).unwrap().unwrap();
        // As Kafka leaves an active index: zeros to the full size.
        file.set_len(4096).unwrap();
        let (mut loaded, exact) = SparseIndex::load(&disk, PATH.into(), |_: OffsetEntry| true).unwrap();
        assert_eq!((loaded.len(), exact), (5, Read::Disordered));
        loaded.rewrite(&disk).unwrap();
        assert_eq!(disk.file_len(Path::new(PATH)).unwrap(), 40);
        let (short, exact) =
            SparseIndex::load(&disk, PATH.into(), |e: OffsetEntry| e.position < 300).unwrap();
        assert_eq!((short.len(), exact), (3, Read::Part));
        let (none, exact) = SparseIndex::<OffsetEntry>::load(&disk, "/missing".into(), |_| true).unwrap();
        assert_eq!((none.len(), exact), (0, Read::Part));
    }
}
