//! The offset index and the time index of one segment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_record::{BatchHeader, NO_TIMESTAMP};

use crate::disk::{Disk, DiskFile};
use crate::log::error::{LogError, ReadError};
use crate::log::index::{Found, OffsetEntry, Read, SparseIndex, TimeEntry};
use crate::log::names::FileKind;
use crate::log::walk::{Step, Stop, Walk};

use super::Segment;

/// The largest timestamp of a segment, and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Largest {
    pub(crate) timestamp: i64,
    pub(crate) last_offset: i64,
}

/// Both indexes, and what is needed to go on with them.
#[derive(Debug)]
pub(crate) struct Indexes {
    offsets: SparseIndex<OffsetEntry>,
    times: SparseIndex<TimeEntry>,
    largest: Option<TimeEntry>,
    bytes_since_entry: u64,
}

impl Indexes {
    /// Of an empty segment.
    pub(crate) fn new(directory: &Path, base_offset: i64) -> Indexes {
        let path = |kind: FileKind| kind.path(directory, base_offset);
        Indexes::in_files(path(FileKind::OffsetIndex), path(FileKind::TimeIndex))
    }

    /// Of an empty segment, in files of these names.
    pub(crate) fn in_files(offsets: PathBuf, times: PathBuf) -> Indexes {
        Indexes {
            offsets: SparseIndex::new(offsets),
            times: SparseIndex::new(times),
            largest: None,
            bytes_since_entry: 0,
        }
    }

    /// One batch more. Kafka's rule: an entry for the first batch that begins more than an interval behind the last.
    pub(crate) fn observe(&mut self, header: &BatchHeader, position: u64, base_offset: i64, interval: u64) {
        // Offsets and positions of a segment fit 32 bits: rolling sees to it.
        let relative_offset = (header.last_offset() - base_offset) as u32;
        if header.max_timestamp > self.largest.map_or(NO_TIMESTAMP, |largest| largest.timestamp) {
            self.largest = Some(TimeEntry { timestamp: header.max_timestamp, relative_offset });
        }
        if self.bytes_since_entry > interval {
            self.offsets.push(OffsetEntry { relative_offset, position: position as u32 });
            self.push_largest();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size() as u64;
    }

    /// The segment will not grow any more: the last entry of a time index is the largest timestamp of its segment.
    pub(crate) fn seal(&mut self) {
        self.push_largest();
    }

    /// Brings the files to exactly what is in memory.
    pub(crate) fn trim_files(
        &mut self,
        disk: &dyn Disk,
        files: &mut Vec<Arc<dyn DiskFile>>,
    ) -> Result<(), LogError> {
        files.extend(self.offsets.finish(disk).map_err(LogError::io("write", self.offsets.path()))?);
        files.extend(self.times.finish(disk).map_err(LogError::io("write", self.times.path()))?);
        Ok(())
    }

    fn push_largest(&mut self) {
        if let Some(largest) = self.largest
            && self.times.last().is_none_or(|last| largest.timestamp > last.timestamp)
        {
            self.times.push(largest);
        }
    }

    /// Bytes of the larger of the two files.
    pub(crate) fn byte_len(&self) -> usize {
        self.offsets.byte_len().max(self.times.byte_len())
    }

    pub(crate) fn write_out(
        &mut self,
        disk: &dyn Disk,
        files: &mut Vec<Arc<dyn DiskFile>>,
    ) -> Result<(), LogError> {
        files.extend(self.offsets.write_out(disk).map_err(LogError::io("write", self.offsets.path()))?);
        files.extend(self.times.write_out(disk).map_err(LogError::io("write", self.times.path()))?);
        self.shrink();
        Ok(())
    }

    /// Writes the files again. Not being able to is no obstacle to reading: they are made again the next time.
    fn rewrite(&mut self, disk: &dyn Disk) {
        let _ = self.offsets.rewrite(disk).and_then(|_| self.times.rewrite(disk));
    }

    /// Lets go of memory that the files can stand in for.
    pub(crate) fn shrink(&mut self) {
        self.offsets.shrink();
        self.times.shrink();
    }
}

/// How many of a segment's batches its index files may be trusted for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust {
    /// All of them: the segment is sealed, and was flushed.
    All,
    /// Those before this offset: what follows may not have been flushed, and is walked anyway.
    Before(i64),
}

/// What the index files of a segment hold.
pub(crate) struct ReadIndexes {
    pub(crate) indexes: Indexes,
    /// Batches from here on have to be observed.
    pub(crate) position: u64,
    /// Entries in the two files, when they hold nothing but good entries.
    in_files: Option<(usize, usize)>,
}

/// Where to look for the batch of a time index's entry.
fn nearest(offsets: &SparseIndex<OffsetEntry>, entry: TimeEntry) -> Found<OffsetEntry> {
    offsets.floor(|other| other.relative_offset <= entry.relative_offset)
}

impl Segment {
    /// Loads the indexes if nobody has: reads the files, checks them against the batches, adds what is missing.
    /// True when the files were not what they should be and have been made again.
    pub(crate) fn load_indexes(&self) -> Result<bool, ReadError> {
        if self.indexes.read().is_some() {
            return Ok(false);
        }
        let _loading = self.loading.lock();
        if self.indexes.read().is_some() {
            return Ok(false);
        }
        let read = self.read_index_files(Trust::All)?;
        let in_files = read.in_files;
        let mut indexes = self.observe_from(read)?;
        let exact = in_files == Some((indexes.offsets.len(), indexes.times.len()));
        if !exact {
            indexes.rewrite(self.disk());
        }
        indexes.shrink();
        self.set_indexes(indexes);
        Ok(!exact)
    }

    /// Makes the indexes again from the batches, for entries that turned out wrong.
    pub(crate) fn rebuild_indexes(&self) -> Result<(), ReadError> {
        // The lock is held all the time: the writer, if this is its segment, must not add a batch meanwhile.
        let mut current = self.indexes.write();
        let nothing = ReadIndexes {
            indexes: Indexes::new(&self.directory, self.base_offset),
            position: 0,
            in_files: None,
        };
        let mut indexes = self.observe_from(nothing)?;
        indexes.rewrite(self.disk());
        indexes.shrink();
        *current = Some(indexes);
        Ok(())
    }

    /// Adds the batches that the files do not know of, and the last entry.
    fn observe_from(&self, read: ReadIndexes) -> Result<Indexes, ReadError> {
        let mut indexes = read.indexes;
        let mut walk = Walk::headers(self.reading_file()?, read.position, self.size());
        let mut observe = |step: &Step| {
            indexes.observe(&step.header, step.position, self.base_offset, self.index_interval_bytes);
        };
        // An entry for a batch whose offset rotted would send readers past good ones: a batch counts when the one before
        // and the one behind it agree. Who reads the damage is told.
        let mut least_offset = self.base_offset;
        let mut last: Option<Step> = None;
        loop {
            let step = match walk.next() {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(Stop::Io(error)) => return Err(ReadError::io("read", &self.path(FileKind::Log))(error)),
                Err(Stop::Bad { .. }) => {
                    let least = last.as_ref().map_or(least_offset, |last| last.header.next_offset());
                    match walk.skip_damage(least..self.end_offset()) {
                        Ok(Some(_)) => continue,
                        Ok(None) | Err(Stop::Bad { .. }) => break,
                        Err(Stop::Io(error)) => {
                            return Err(ReadError::io("read", &self.path(FileKind::Log))(error));
                        }
                    }
                }
            };
            let base_offset = step.header.base_offset;
            if base_offset < least_offset || step.header.next_offset() > self.end_offset() {
                continue;
            }
            match last.take() {
                None => last = Some(step),
                Some(before) if before.header.next_offset() <= base_offset => {
                    observe(&before);
                    least_offset = before.header.next_offset();
                    last = Some(step);
                }
                // One of the two is wrong, and it cannot be seen which.
                Some(_) => {}
            }
        }
        if let Some(last) = &last {
            observe(last);
        }
        indexes.seal();
        Ok(indexes)
    }

    /// Reads the index files as far as they may be trusted.
    pub(crate) fn read_index_files(&self, trust: Trust) -> Result<ReadIndexes, ReadError> {
        let size = self.size();
        let range = (self.end_offset() - self.base_offset).max(0) as u64;
        let trusted = match trust {
            Trust::All => range,
            Trust::Before(offset) => range.min((offset - self.base_offset).max(0) as u64),
        };
        let offset_path = self.path(FileKind::OffsetIndex);
        let time_path = self.path(FileKind::TimeIndex);
        let (offsets, offsets_read) =
            SparseIndex::load(self.disk(), offset_path.clone(), |e: OffsetEntry| {
                e.position > 0 && u64::from(e.position) < size && u64::from(e.relative_offset) < trusted
            })
            .map_err(ReadError::io("read", &offset_path))?;
        let (mut times, times_read) = SparseIndex::load(self.disk(), time_path.clone(), |e: TimeEntry| {
            // Zeros are what Kafka fills the rest of an active file with.
            (e.timestamp, e.relative_offset) != (0, 0) && u64::from(e.relative_offset) < trusted
        })
        .map_err(ReadError::io("read", &time_path))?;
        let exact = offsets_read == Read::All && times_read == Read::All;
        let in_files = exact.then_some((offsets.len(), times.len()));
        // Without an entry that was there before, what it said of the batches up to the next one is not known.
        let complete = match trust {
            Trust::All => times_read == Read::All,
            Trust::Before(_) => times_read != Read::Disordered,
        };
        // Go on from the batch of the last entry, if it is there; else from the beginning.
        if let Some(last) = offsets.last()
            && times.len() > 0
            && complete
            && self.has_batch(u64::from(last.position), self.base_offset + i64::from(last.relative_offset))?
        {
            // Timestamps of batches behind the last offset entry are observed again.
            times.truncate(|entry| entry.relative_offset <= last.relative_offset);
            let largest = times.last();
            let is_right = match largest {
                Some(entry) => self.is_time_of_batch(nearest(&offsets, entry), entry)?,
                None => false,
            };
            if !is_right {
                let nothing = Indexes::new(&self.directory, self.base_offset);
                return Ok(ReadIndexes { indexes: nothing, position: 0, in_files: None });
            }
            // The batch of the entry is observed again too, and makes no entry, being nearer than an interval to itself.
            let indexes = Indexes { offsets, times, largest, bytes_since_entry: 0 };
            return Ok(ReadIndexes { indexes, position: u64::from(last.position), in_files });
        }
        Ok(ReadIndexes { indexes: Indexes::new(&self.directory, self.base_offset), position: 0, in_files })
    }

    /// Whether the batch of a time index's entry says the same. An entry that rotted would let retention delete what is
    /// young, and send who asks for a time past what it looks for; it has no checksum.
    fn is_time_of_batch(&self, nearest: Found<OffsetEntry>, entry: TimeEntry) -> Result<bool, ReadError> {
        let found = nearest.resolve(self.disk(), |other| other.relative_offset <= entry.relative_offset);
        let nearest = found.map_err(ReadError::io("read", &self.path(FileKind::OffsetIndex)))?;
        let position = nearest.map_or(0, |nearest| u64::from(nearest.position));
        let indexed = nearest.map(|nearest| self.base_offset + i64::from(nearest.relative_offset));
        let last_offset = self.base_offset + i64::from(entry.relative_offset);
        let failed = |error| ReadError::io("read", &self.path(FileKind::Log))(error);
        let mut walk = Walk::headers(self.reading_file()?, position, self.size());
        let mut least_offset = self.base_offset;
        // Damage on the way is passed over, as it was when the entry was made: it does not make the entry wrong.
        loop {
            let stepped = match walk.next() {
                Ok(Some(step)) => {
                    if step.position == position && indexed == Some(step.header.last_offset()) {
                        // The index agrees with its offsets.
                        least_offset = step.header.base_offset;
                    }
                    walk.contradicts(&step, least_offset).map(|wrong| Some((step, wrong)))
                }
                Ok(None) => Ok(None),
                Err(stop) => Err(stop),
            };
            match stepped {
                Ok(Some((_, true))) => {}
                Ok(Some((step, false))) if step.header.last_offset() < last_offset => {
                    least_offset = step.header.next_offset();
                }
                Ok(Some((step, false))) => {
                    return Ok(step.header.last_offset() == last_offset
                        && step.header.max_timestamp == entry.timestamp);
                }
                Ok(None) => return Ok(false),
                Err(Stop::Io(error)) => return Err(failed(error)),
                Err(Stop::Bad { .. }) => match walk.skip_damage(least_offset..self.end_offset()) {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(Stop::Bad { .. }) => return Ok(false),
                    Err(Stop::Io(error)) => return Err(failed(error)),
                },
            }
        }
    }

    /// Whether a batch with that last offset begins at the position.
    fn has_batch(&self, position: u64, last_offset: i64) -> Result<bool, ReadError> {
        match Walk::headers(self.reading_file()?, position, self.size()).next() {
            Ok(step) => Ok(step.is_some_and(|step| step.header.last_offset() == last_offset)),
            Err(Stop::Bad { .. }) => Ok(false),
            Err(Stop::Io(error)) => Err(ReadError::io("read", &self.path(FileKind::Log))(error)),
        }
    }

    /// A position at or before the batch with that offset, and the last offset of the batch there, from the index; the
    /// beginning, and `None`, when it knows of nothing nearer.
    pub(crate) fn position_before(&self, offset: i64) -> Result<(u64, Option<i64>), ReadError> {
        self.load_indexes()?;
        let relative = (offset - self.base_offset).clamp(0, i64::from(u32::MAX)) as u32;
        let before = |entry: &OffsetEntry| entry.relative_offset <= relative;
        let found = self.indexes.read().as_ref().map_or(Found::Entry(None), |i| i.offsets.floor(before));
        let entry = found
            .resolve(self.disk(), before)
            .map_err(ReadError::io("read", &self.path(FileKind::OffsetIndex)))?;
        Ok(entry.map_or((0, None), |entry| {
            (u64::from(entry.position), Some(self.base_offset + i64::from(entry.relative_offset)))
        }))
    }

    /// An offset before which no batch of the segment reaches that timestamp.
    pub(crate) fn offset_before_timestamp(&self, timestamp: i64) -> Result<i64, ReadError> {
        self.load_indexes()?;
        let mut entry = self.entry_before_timestamp(timestamp)?;
        if let Some(found) = entry {
            let place = self.indexes.read().as_ref().map(|indexes| nearest(&indexes.offsets, found));
            if !self.is_time_of_batch(place.unwrap_or(Found::Entry(None)), found)? {
                self.rebuild_indexes()?;
                entry = self.entry_before_timestamp(timestamp)?;
            }
        }
        Ok(entry.map_or(self.base_offset, |entry| self.base_offset + i64::from(entry.relative_offset)))
    }

    fn entry_before_timestamp(&self, timestamp: i64) -> Result<Option<TimeEntry>, ReadError> {
        let before = |entry: &TimeEntry| entry.timestamp < timestamp;
        let found = self.indexes.read().as_ref().map_or(Found::Entry(None), |i| i.times.floor(before));
        found.resolve(self.disk(), before).map_err(ReadError::io("read", &self.path(FileKind::TimeIndex)))
    }

    /// The largest timestamp, if any batch has one.
    pub(crate) fn largest(&self) -> Result<Option<Largest>, ReadError> {
        self.load_indexes()?;
        let largest = self.indexes.read().as_ref().and_then(|indexes| indexes.largest);
        Ok(largest.map(|entry| Largest {
            timestamp: entry.timestamp,
            last_offset: self.base_offset + i64::from(entry.relative_offset),
        }))
    }

    /// How young the segment is, in ms since the epoch: as young as its youngest record, or, where no record says when it
    /// was made, as its file.
    pub(crate) fn youngest(&self) -> Result<i64, ReadError> {
        if let Some(largest) = self.largest()? {
            return Ok(largest.timestamp);
        }
        let path = self.path(FileKind::Log);
        self.disk().modified(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.corruption(FileKind::Log, 0, self.base_offset, "the file is not there").into()
            }
            _ => ReadError::io("look at", &path)(error),
        })
    }

    /// The largest timestamp of the first batch, if it has one.
    pub(crate) fn first_timestamp(&self) -> Result<Option<i64>, ReadError> {
        match Walk::headers(self.reading_file()?, 0, self.size()).next() {
            Ok(step) => Ok(step.map(|step| step.header.max_timestamp).filter(|time| *time >= 0)),
            Err(Stop::Bad { position, reason }) => {
                Err(self.corruption(FileKind::Log, position, self.base_offset, reason).into())
            }
            Err(Stop::Io(error)) => Err(ReadError::io("read", &self.path(FileKind::Log))(error)),
        }
    }

    /// A position some entries before the end of the index: a little of the log's end, cheaply found.
    pub(crate) fn position_near(&self, offset: i64, entries_back: usize) -> Result<u64, ReadError> {
        let read = self.read_index_files(Trust::Before(offset))?;
        Ok(read.indexes.offsets.nth_last(entries_back).map_or(0, |entry| u64::from(entry.position)))
    }
}
