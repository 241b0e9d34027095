//! What the derived files hold, as it stands there.

use crate::disk::read_file;
use crate::log::index::{Entry, OffsetEntry, TimeEntry};
use crate::log::manifest::SegmentManifest;
use crate::log::{AbortedTransaction, LeaderEpochs, LogError, Producers};

use super::directory::{DirectoryFile, FileRole, PartitionDirectory};

/// An entry of a `.index` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetIndexEntry {
    /// Last offset of the batch.
    pub offset: i64,
    /// Where the batch begins in the segment, in bytes.
    pub position: u64,
}

/// An entry of a `.timeindex` file: from `offset` back, nothing has a larger timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// An offset of the batch that has it.
    pub offset: i64,
}

/// One producer of a `.snapshot` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub producer_epoch: i16,
    /// Last sequence appended, -1 without.
    pub last_sequence: i32,
    /// Time of its last batch, milliseconds since the epoch.
    pub last_timestamp: i64,
    /// Coordinator epoch of the last marker, -1 without.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_first_offset: Option<i64>,
}

/// A line of `segment-manifest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestEntry {
    /// First offset the segment may hold.
    pub base_offset: i64,
    /// Bytes of its batches; none for the segment that was written to.
    pub bytes: Option<u64>,
    /// Aborted transactions in its index.
    pub aborted: u64,
}

/// The entries of one derived file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// Of a `.index`.
    Offsets(Vec<OffsetIndexEntry>),
    /// Of a `.timeindex`.
    Times(Vec<TimeIndexEntry>),
    /// Of a `.txnindex`.
    Aborted(Vec<AbortedTransaction>),
    /// Of a `.snapshot`.
    Producers(Vec<SnapshotEntry>),
    /// Of `leader-epoch-checkpoint`: epoch, first offset.
    LeaderEpochs(Vec<(i32, i64)>),
    /// Of `segment-manifest`.
    Manifest(Vec<ManifestEntry>),
    /// Of `partition.metadata`: the topic's id.
    Topic(uuid::Uuid),
}

impl PartitionDirectory {
    /// Reads a derived file. Zeros behind the last entry of an index (Apache Kafka preallocates) are left out.
    ///
    /// # Errors
    /// [`LogError::Metadata`] says what does not parse; [`LogError::Io`] when it cannot be read, or holds no entries
    /// at all because of its kind.
    pub fn entries(&self, file: &DirectoryFile) -> Result<Entries, LogError> {
        let bad = |reason: String| LogError::Metadata { file: file.path.clone(), reason };
        let read = || read_file(&*self.disk, &file.path).map_err(LogError::io("read", &file.path));
        let base = file.offset.unwrap_or(0);
        match file.role {
            FileRole::OffsetIndex => {
                let entries: Vec<OffsetEntry> = index_entries(&read()?).map_err(bad)?;
                let entries = entries.into_iter().map(|entry| OffsetIndexEntry {
                    offset: base + i64::from(entry.relative_offset),
                    position: u64::from(entry.position),
                });
                Ok(Entries::Offsets(entries.collect()))
            }
            FileRole::TimeIndex => {
                let entries: Vec<TimeEntry> = index_entries(&read()?).map_err(bad)?;
                let entries = entries.into_iter().map(|entry| TimeIndexEntry {
                    timestamp: entry.timestamp,
                    offset: base + i64::from(entry.relative_offset),
                });
                Ok(Entries::Times(entries.collect()))
            }
            FileRole::TransactionIndex => {
                let bytes = read()?;
                let (entries, rest) = bytes.as_chunks::<{ AbortedTransaction::ENCODED_LEN }>();
                if !rest.is_empty() {
                    return Err(bad(format!("{} bytes behind the last whole entry", rest.len())));
                }
                let decode = |(at, entry)| {
                    AbortedTransaction::decode(entry)
                        .ok_or_else(|| bad(format!("entry {at} is not possible")))
                };
                entries.iter().enumerate().map(decode).collect::<Result<_, _>>().map(Entries::Aborted)
            }
            FileRole::ProducerSnapshot => {
                let producers = Producers::decode_snapshot(&read()?).map_err(|what| bad(what.to_owned()))?;
                let entries = producers.views().map(|view| SnapshotEntry {
                    producer_id: view.producer_id,
                    producer_epoch: view.producer_epoch,
                    last_sequence: view.last_sequence,
                    last_timestamp: view.last_timestamp,
                    coordinator_epoch: view.coordinator_epoch,
                    transaction_first_offset: view.transaction_first_offset,
                });
                Ok(Entries::Producers(entries.collect()))
            }
            FileRole::LeaderEpochs => {
                let bytes = read()?;
                let text = String::from_utf8_lossy(&bytes);
                let epochs = LeaderEpochs::decode(&text).map_err(|what| bad(what.to_owned()))?;
                Ok(Entries::LeaderEpochs(epochs.entries().to_vec()))
            }
            FileRole::SegmentManifest => {
                let manifest = SegmentManifest::decode(&read()?).map_err(|what| bad(what.to_owned()))?;
                let entries = manifest.lines().iter().map(|line| ManifestEntry {
                    base_offset: line.base_offset,
                    bytes: line.size,
                    aborted: line.aborted.entries,
                });
                Ok(Entries::Manifest(entries.collect()))
            }
            FileRole::Metadata => self.topic_id().map(Entries::Topic),
            FileRole::Log | FileRole::SwapNote | FileRole::Leftover | FileRole::Unknown => {
                Err(bad("a file of this kind has no entries".to_owned()))
            }
        }
    }
}

/// The entries up to the zeros of a preallocated file.
fn index_entries<E: Entry>(bytes: &[u8]) -> Result<Vec<E>, String> {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // An entry may itself end in zeros: the first one of a segment is (0, 0).
    let used = used.next_multiple_of(E::LEN).min(bytes.len());
    let whole = &bytes[..used];
    if !bytes.len().is_multiple_of(E::LEN) {
        return Err(format!("its length {} is not a multiple of {}", bytes.len(), E::LEN));
    }
    let mut entries: Vec<E> = Vec::with_capacity(whole.len() / E::LEN);
    for (at, entry) in whole.chunks_exact(E::LEN).map(E::decode).enumerate() {
        if let Some(last) = entries.last()
            && !entry.grows_from(*last)
        {
            return Err(format!("entry {at} does not grow from the one before"));
        }
        entries.push(entry);
    }
    Ok(entries)
}
