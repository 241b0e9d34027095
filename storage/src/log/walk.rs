//! Walking the batches of a file, for recovery and for making indexes again.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use logmill_record::{BATCH_HEADER_LEN, Batch, BatchError, BatchHeader, EndTxnMarker};

use crate::disk::DiskFile;

/// What is read at once. Bodies that reach beyond are skipped without being read, unless they are to be checked.
const CHUNK_BYTES: usize = 64 << 10;

/// Where a batch has its format's version, and which it is.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

/// One batch on the way.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    /// For a control batch that ends a transaction.
    pub(crate) marker: Option<EndTxnMarker>,
}

/// Why the walk stops before the end.
#[derive(Debug)]
pub(crate) enum Stop {
    Io(io::Error),
    /// The bytes at `position` are no batch.
    Bad {
        position: u64,
        reason: String,
    },
}

/// Reads batch after batch from a position to an end.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    check_bodies: bool,
    buffer: Vec<u8>,
    buffered_from: u64,
    /// Where the last step was.
    last: Option<u64>,
}

impl Walk {
    /// Reads headers only, and the bodies of markers.
    pub(crate) fn headers(file: Arc<dyn DiskFile>, position: u64, end: u64) -> Walk {
        Walk {
            file,
            position,
            end,
            check_bodies: false,
            buffer: Vec::new(),
            buffered_from: position,
            last: None,
        }
    }

    /// Checks each batch as a whole ([`BatchHeader::verify`]).
    pub(crate) fn checked(file: Arc<dyn DiskFile>, position: u64, end: u64) -> Walk {
        Walk { check_bodies: true, ..Walk::headers(file, position, end) }
    }

    /// Where the next batch begins; after [`Stop::Bad`], where the bad bytes begin.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Walks no further.
    pub(crate) fn stop(&mut self) {
        self.position = self.end;
    }

    /// The next batch, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, Stop> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let head = self.window(BATCH_HEADER_LEN)?;
        let header = BatchHeader::parse(head)
            .and_then(|header| header.check_bounds().map(|()| header))
            .map_err(|error| bad(position, &error))?;
        let size = header.size();
        if size as u64 > self.end - position {
            let available = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            return Err(bad(position, &BatchError::Truncated { needed: size, available }));
        }
        let mut marker = None;
        if self.check_bodies || header.is_control() {
            let check = self.check_bodies;
            let bytes = self.window(size)?;
            if check {
                BatchHeader::verify(bytes).map_err(|error| bad(position, &error))?;
            }
            if header.is_control() {
                let batch = Batch::trusted(bytes.to_vec().into()).map_err(|error| bad(position, &error))?;
                marker = EndTxnMarker::from_batch(&batch).ok();
            }
        }
        self.position += size as u64;
        self.last = Some(position);
        Ok(Some(Step { position, header, marker }))
    }

    /// After [`Stop::Bad`]: goes to the next batch that checks out as a whole and has its offsets in that range, if there is
    /// one. Returns where that is; the next step is that batch.
    ///
    /// When the batch of the last step does not check out, it may be its length that is wrong: then the search begins there.
    pub(crate) fn skip_damage(&mut self, offsets: Range<i64>) -> Result<Option<u64>, Stop> {
        let bad = self.position;
        let mut from = bad;
        if let Some(last) = self.last.filter(|_| !self.check_bodies)
            && !self.is_whole_at(last)?
        {
            from = last;
        }
        for position in from + 1..self.end.saturating_sub(BATCH_HEADER_LEN as u64 - 1) {
            self.position = position;
            let head = self.window(BATCH_HEADER_LEN)?;
            if head.get(MAGIC_AT) != Some(&MAGIC) {
                continue;
            }
            let Ok(header) = BatchHeader::parse(head) else { continue };
            let belongs = header.base_offset >= offsets.start && header.next_offset() <= offsets.end;
            if !belongs || header.size() as u64 > self.end - position {
                continue;
            }
            if BatchHeader::verify(self.window(header.size())?).is_ok() {
                return Ok(Some(position));
            }
        }
        self.position = bad;
        Ok(None)
    }

    /// The base offset of whatever comes next, if it is long enough for one.
    pub(crate) fn next_offset(&mut self) -> Result<Option<i64>, Stop> {
        if self.position >= self.end {
            return Ok(None);
        }
        let bytes = self.window(BATCH_HEADER_LEN)?;
        Ok(bytes.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes)))
    }

    /// After a step: the next batch begins before that one ends, and it is that one which is wrong, where offsets from
    /// `least_offset` on belong. Its length, which it shares with what lies behind, is right then.
    pub(crate) fn contradicts(&mut self, step: &Step, least_offset: i64) -> Result<bool, Stop> {
        match self.next_offset()? {
            Some(next) if next > least_offset && next < step.header.next_offset() => {
                // No checksum covers its offset. With a gap before it, that is what rotted; without, it is the next batch's.
                Ok(step.header.base_offset > least_offset || !self.is_whole_at(step.position)?)
            }
            _ => Ok(false),
        }
    }

    /// A batch at that position checks out as a whole.
    pub(crate) fn is_whole_at(&mut self, position: u64) -> Result<bool, Stop> {
        let before = std::mem::replace(&mut self.position, position);
        let header = BatchHeader::parse(self.window(BATCH_HEADER_LEN)?);
        let whole = match header {
            Ok(header) if header.size() as u64 <= self.end - position => {
                BatchHeader::verify(self.window(header.size())?).is_ok()
            }
            _ => false,
        };
        self.position = before;
        Ok(whole)
    }

    /// Up to `wanted` bytes at the position: fewer when the end is nearer.
    fn window(&mut self, wanted: usize) -> Result<&[u8], Stop> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let buffered_end = self.buffered_from + self.buffer.len() as u64;
        if self.position < self.buffered_from || self.position + wanted as u64 > buffered_end {
            let length = wanted.max(CHUNK_BYTES).min(left);
            self.buffer.resize(length, 0);
            self.buffered_from = self.position;
            let read = self.file.read_full_at(&mut self.buffer, self.position).map_err(Stop::Io)?;
            self.buffer.truncate(read);
        }
        let start = (self.position - self.buffered_from) as usize;
        let end = self.buffer.len().min(start + wanted);
        Ok(&self.buffer[start..end])
    }
}

fn bad(position: u64, error: &BatchError) -> Stop {
    Stop::Bad { position, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use logmill_record::control::marker_batch;
    use logmill_record::{BatchBuilder, BatchOptions};

    use super::*;
    use crate::disk::{Disk, OpenOptions, SimDisk};

    fn batch(offset: i64, value_bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(7, None, Some(&vec![b'v'; value_bytes]), &[]);
        builder.build().stamped(offset, 0)
    }

    #[test]
    fn batches_larger_and_smaller_than_a_chunk() {
        let disk = SimDisk::new(1);
        let file = disk.open(Path::new("/x"), OpenOptions::CREATE).unwrap();
        let sizes = [10, 3 * CHUNK_BYTES, CHUNK_BYTES - 100, 0, 200_000, 5];
        let mut bytes: Vec<u8> = Vec::new();
        for (offset, size) in sizes.into_iter().enumerate() {
            bytes.extend_from_slice(batch(offset as i64, size).bytes());
        }
        let marker = EndTxnMarker { commit: true, coordinator_epoch: 9 };
        bytes.extend_from_slice(marker_batch(1, 2, marker, 7).stamped(6, 0).bytes());
        file.write_at(&bytes, 0).unwrap();
        for mut walk in [
            Walk::headers(Arc::clone(&file), 0, bytes.len() as u64),
            Walk::checked(Arc::clone(&file), 0, bytes.len() as u64),
        ] {
            for offset in 0..6 {
                let step = walk.next().unwrap().unwrap();
                assert_eq!((step.header.base_offset, step.marker), (offset, None));
            }
            assert_eq!(walk.next().unwrap().unwrap().marker, Some(marker));
            assert!(walk.next().unwrap().is_none());
        }

        // A flipped bit in the body of the second batch is seen only when bodies are checked.
        let position = batch(0, 10).size() + CHUNK_BYTES;
        file.write_at(b"w", position as u64).unwrap();
        let mut walk = Walk::headers(Arc::clone(&file), 0, bytes.len() as u64);
        assert!((0..7).all(|_| walk.next().unwrap().is_some()));
        let mut walk = Walk::checked(Arc::clone(&file), 0, bytes.len() as u64);
        assert!(walk.next().unwrap().is_some());
        assert!(
            matches!(walk.next(), Err(Stop::Bad { position, .. }) if position == batch(0, 10).size() as u64)
        );
    }
}
