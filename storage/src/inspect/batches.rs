//! The batches of one segment file, with what lies between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use logmill_record::{BATCH_HEADER_LEN, Batch, BatchHeader, EndTxnMarker};

use super::directory::PartitionDirectory;
use crate::disk::{DiskFile, OpenOptions};
use crate::log::LogError;
use crate::log::names::FileKind;
use crate::log::walk::{Step, Stop, Walk};

/// Bytes read at once while looking for the next batch behind damage.
const SEARCH_BYTES: usize = 1 << 20;
/// Where the magic byte lies in a batch, and what it is.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

/// A batch that checks out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// Where it begins in its file, in bytes.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// For a control batch that ends a transaction: how.
    pub marker: Option<EndTxnMarker>,
}

/// Bytes that are no batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin.
    pub position: u64,
    /// How many there are: up to the next batch that checks out, or to the end of the file.
    pub bytes: u64,
    /// The batch that follows, if there is one: damage in the middle, not a torn end.
    pub followed_by: Option<i64>,
    /// Why they are none.
    pub reason: String,
}

/// What comes next in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A batch.
    Batch(StoredBatch),
    /// Something else.
    Damage(Damage),
}

/// One segment file, open for reading.
#[derive(Debug)]
pub struct SegmentFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    base_offset: i64,
    length: u64,
}

/// Walks a segment file.
#[derive(Debug)]
pub struct SegmentBatches<'a> {
    segment: &'a SegmentFile,
    walk: Walk,
    /// Smallest offset that the next batch may have.
    next_offset: i64,
}

impl PartitionDirectory {
    /// Opens a segment by its base offset.
    ///
    /// # Errors
    /// [`LogError::Io`] when the file cannot be opened.
    pub fn segment(&self, base_offset: i64) -> Result<SegmentFile, LogError> {
        let path = FileKind::Log.path(self.path(), base_offset);
        let file = self.disk.open(&path, OpenOptions::READ).map_err(LogError::io("open", &path))?;
        let length = file.len().map_err(LogError::io("look at", &path))?;
        Ok(SegmentFile { file, path, base_offset, length })
    }
}

impl SegmentFile {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes, when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Its batches, from the beginning.
    #[must_use]
    pub fn batches(&self) -> SegmentBatches<'_> {
        let walk = Walk::checked(Arc::clone(&self.file), 0, self.length);
        SegmentBatches { segment: self, walk, next_offset: self.base_offset }
    }

    /// The batch with its bytes, for whoever wants its records.
    ///
    /// # Errors
    /// [`LogError::Io`], or [`LogError::Metadata`] when it changed since it was found.
    pub fn read(&self, batch: &StoredBatch) -> Result<Batch, LogError> {
        let mut bytes = vec![0; batch.header.size()];
        self.file.read_exact_at(&mut bytes, batch.position).map_err(LogError::io("read", &self.path))?;
        Batch::verify(Bytes::from(bytes)).map_err(|error| LogError::Metadata {
            file: self.path.clone(),
            reason: format!("the batch at position {} changed while it was read: {error}", batch.position),
        })
    }

    /// Where, from `from` on, a batch of at least this offset lies.
    fn search(&self, from: u64, next_offset: i64) -> Result<Option<(u64, i64)>, LogError> {
        let mut window = Vec::new();
        let mut start = from;
        while start + BATCH_HEADER_LEN as u64 <= self.length {
            let wanted = SEARCH_BYTES.min((self.length - start) as usize);
            window.resize(wanted, 0);
            let read =
                self.file.read_full_at(&mut window, start).map_err(LogError::io("read", &self.path))?;
            if read < BATCH_HEADER_LEN {
                break;
            }
            let last = read - BATCH_HEADER_LEN;
            for at in (0..=last).filter(|at| window[at + MAGIC_AT] == MAGIC) {
                let Ok(header) = BatchHeader::parse(&window[at..read]) else { continue };
                let position = start + at as u64;
                if header.base_offset >= next_offset && self.checks_out(&header, position)? {
                    return Ok(Some((position, header.base_offset)));
                }
            }
            start += last as u64 + 1;
        }
        Ok(None)
    }

    fn checks_out(&self, header: &BatchHeader, position: u64) -> Result<bool, LogError> {
        if header.size() as u64 > self.length - position {
            return Ok(false);
        }
        let mut bytes = vec![0; header.size()];
        self.file.read_exact_at(&mut bytes, position).map_err(LogError::io("read", &self.path))?;
        Ok(BatchHeader::verify(&bytes).is_ok())
    }
}

impl SegmentBatches<'_> {
    /// The next batch, or what is in its place; `None` at the end of the file.
    ///
    /// # Errors
    /// [`LogError::Io`] when the file cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would go on after a failed read"
    )]
    pub fn next(&mut self) -> Result<Option<Found>, LogError> {
        let position = self.walk.position();
        let reason = match self.walk.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Step { position, header, marker })) if header.base_offset >= self.next_offset => {
                self.next_offset = header.next_offset();
                return Ok(Some(Found::Batch(StoredBatch { position, header, marker })));
            }
            Ok(Some(Step { header, .. })) => {
                format!("a batch of offset {} where {} or more belongs", header.base_offset, self.next_offset)
            }
            Err(Stop::Io(error)) => return Err(LogError::io("read", &self.segment.path)(error)),
            Err(Stop::Bad { reason, .. }) => reason,
        };
        let next = self.segment.search(position + 1, self.next_offset)?;
        let end = next.map_or(self.segment.length, |(position, _)| position);
        self.walk = Walk::checked(Arc::clone(&self.segment.file), end, self.segment.length);
        let followed_by = next.map(|(_, offset)| offset);
        Ok(Some(Found::Damage(Damage { position, bytes: end - position, followed_by, reason })))
    }
}
