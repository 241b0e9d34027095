//! The checkpoint file: up to where everything is in the segments, and flushed.
//!
//! ```text
//! magic "LMCHKPNT" │ version u16 │ flags u16 (1: closed) │ CRC u32 │ directory id (16) │ incarnation u64
//! │ file number u64 │ covered u64 │ durable u64 │ last commit u64 │ partitions u32
//! │ per partition: topic id (16) │ partition i32 │ flags u32 (1: page cache) │ recovery point i64
//! │                │ log start offset i64 │ leader epoch i32 │ name length u32 │ topic name
//! ```
//!
//! All numbers little-endian; the CRC is CRC-32 (IEEE) of the whole file with zeros in its own place. The file is replaced
//! in one step, and then its copy in the same way, before anything relies on it: one of the two may rot. A start reads both
//! and takes the one that is intact, or the newer of two. What belongs to a partition as a whole (producers, open transactions) is in the snapshot in its own
//! directory, as of the recovery point.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::StoreError;
use crate::PartitionId;
use crate::disk::{Disk, read_file, replace_file};
use crate::journal::ReplayStart;

/// Name of the file in the data directory.
pub(crate) const CHECKPOINT_NAME: &str = "logmill.checkpoint";
/// Name of its copy.
pub(crate) const COPY_NAME: &str = "logmill.checkpoint.copy";
/// Version of its format.
pub const CHECKPOINT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"LMCHKPNT";
const CRC_AT: usize = 12;
const CLOSED: u16 = 1;
const PAGE_CACHE: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointFile {
    pub(crate) start: ReplayStart,
    pub(crate) last_commit: u64,
    pub(crate) partitions: Vec<CheckpointedPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointedPartition {
    pub(crate) id: PartitionId,
    pub(crate) topic_name: String,
    /// Everything before is on the device.
    pub(crate) recovery_point: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) leader_epoch: i32,
    /// What lies behind the last frame may be data that skipped the journal.
    pub(crate) page_cache: bool,
}

impl CheckpointFile {
    /// Both files are durable on return.
    pub(crate) fn write(&self, disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
        let bytes = self.encode();
        replace_file(disk, &data_dir.join(CHECKPOINT_NAME), &bytes)?;
        replace_file(disk, &data_dir.join(COPY_NAME), &bytes)
    }

    /// The checkpoint, and which of its files could not be used while the other one could.
    pub(crate) fn read(
        disk: &dyn Disk,
        data_dir: &Path,
    ) -> Result<Option<(CheckpointFile, Option<PathBuf>)>, StoreError> {
        let [first, copy] = [CHECKPOINT_NAME, COPY_NAME].map(|name| data_dir.join(name));
        match (CheckpointFile::read_one(disk, &first), CheckpointFile::read_one(disk, &copy)) {
            (Err(newer @ StoreError::NewerCheckpoint { .. }), _)
            | (_, Err(newer @ StoreError::NewerCheckpoint { .. })) => Err(newer),
            (Ok(Some(one)), Ok(Some(other))) => {
                let age =
                    |file: &CheckpointFile| (file.start.incarnation, file.start.covered, file.start.durable);
                // The copy is written last: it is newer only when an old file was put back over the first.
                if age(&other) > age(&one) { Ok(Some((other, Some(first)))) } else { Ok(Some((one, None))) }
            }
            // A crash before the first copy was written, or a directory from before there were any.
            (Ok(Some(one)), Ok(None)) => Ok(Some((one, None))),
            (Ok(Some(one)), Err(_)) => Ok(Some((one, Some(copy)))),
            (Ok(None) | Err(_), Ok(Some(other))) => Ok(Some((other, Some(first)))),
            (Err(error), _) | (Ok(None), Err(error)) => Err(error),
            (Ok(None), Ok(None)) => Ok(None),
        }
    }

    fn read_one(disk: &dyn Disk, path: &Path) -> Result<Option<CheckpointFile>, StoreError> {
        let bytes = match read_file(disk, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(StoreError::io("read", path))?,
        };
        CheckpointFile::decode(&bytes).map(Some).map_err(|problem| match problem {
            Problem::Newer(found) => {
                StoreError::NewerCheckpoint { file: path.to_owned(), found, known: CHECKPOINT_VERSION }
            }
            Problem::Corrupt(reason) => StoreError::CorruptCheckpoint { file: path.to_owned(), reason },
        })
    }

    fn encode(&self) -> Vec<u8> {
        let start = &self.start;
        let mut out = Vec::with_capacity(128 + 64 * self.partitions.len());
        out.extend(MAGIC);
        out.extend(CHECKPOINT_VERSION.to_le_bytes());
        out.extend(if start.closed { CLOSED } else { 0 }.to_le_bytes());
        out.extend([0; 4]);
        out.extend(start.directory.as_bytes());
        let numbers = [start.incarnation, start.file_number, start.covered, start.durable, self.last_commit];
        numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.extend((self.partitions.len() as u32).to_le_bytes());
        for partition in &self.partitions {
            out.extend(partition.id.topic.as_bytes());
            out.extend(partition.id.partition.to_le_bytes());
            out.extend(if partition.page_cache { PAGE_CACHE } else { 0 }.to_le_bytes());
            out.extend(partition.recovery_point.to_le_bytes());
            out.extend(partition.log_start_offset.to_le_bytes());
            out.extend(partition.leader_epoch.to_le_bytes());
            out.extend((partition.topic_name.len() as u32).to_le_bytes());
            out.extend(partition.topic_name.as_bytes());
        }
        let crc = crc32fast::hash(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<CheckpointFile, Problem> {
        let mut reader = Reader(bytes);
        if reader.array::<8>()? != MAGIC {
            return Err(Problem::Corrupt("it does not begin like a checkpoint"));
        }
        let version = u16::from_le_bytes(reader.array()?);
        let flags = u16::from_le_bytes(reader.array()?);
        let stored = u32::from_le_bytes(reader.array()?);
        let mut without = bytes.to_vec();
        without[CRC_AT..CRC_AT + 4].fill(0);
        if version > CHECKPOINT_VERSION {
            // One of this version whose version has rotted has the checksum of what it was.
            without[MAGIC.len()..MAGIC.len() + 2].copy_from_slice(&CHECKPOINT_VERSION.to_le_bytes());
            if crc32fast::hash(&without) == stored {
                return Err(Problem::Corrupt("its version is not the one that its checksum covers"));
            }
            return Err(Problem::Newer(version));
        }
        if version != CHECKPOINT_VERSION || crc32fast::hash(&without) != stored {
            return Err(Problem::Corrupt("its checksum does not match"));
        }
        let start = ReplayStart {
            directory: Uuid::from_bytes(reader.array()?),
            incarnation: u64::from_le_bytes(reader.array()?),
            file_number: u64::from_le_bytes(reader.array()?),
            covered: u64::from_le_bytes(reader.array()?),
            durable: u64::from_le_bytes(reader.array()?),
            closed: flags & CLOSED != 0,
        };
        let last_commit = u64::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?);
        // The checksum holds, but memory still follows the bytes and not the count.
        let mut partitions = Vec::new();
        for _ in 0..count {
            let id = PartitionId {
                topic: Uuid::from_bytes(reader.array()?),
                partition: i32::from_le_bytes(reader.array()?),
            };
            let flags = u32::from_le_bytes(reader.array()?);
            let recovery_point = i64::from_le_bytes(reader.array()?);
            let log_start_offset = i64::from_le_bytes(reader.array()?);
            let leader_epoch = i32::from_le_bytes(reader.array()?);
            let name_length = u32::from_le_bytes(reader.array()?) as usize;
            let name = reader.take(name_length)?.to_vec();
            let topic_name =
                String::from_utf8(name).map_err(|_| Problem::Corrupt("a topic name is not UTF-8"))?;
            partitions.push(CheckpointedPartition {
                id,
                topic_name,
                recovery_point,
                log_start_offset,
                leader_epoch,
                page_cache: flags & PAGE_CACHE != 0,
            });
        }
        if !reader.0.is_empty() {
            return Err(Problem::Corrupt("bytes behind its end"));
        }
        Ok(CheckpointFile { start, last_commit, partitions })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Newer(u16),
    Corrupt(&'static str),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Problem::Corrupt("it is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Problem::Corrupt("it is too short"))?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn example() -> CheckpointFile {
        let partition = |index| CheckpointedPartition {
            id: PartitionId { topic: Uuid::from_u128(5), partition: index },
            topic_name: "flights".to_owned(),
            recovery_point: 70,
            log_start_offset: 3,
            leader_epoch: 2,
            page_cache: index == 1,
        };
        CheckpointFile {
            start: ReplayStart {
                directory: Uuid::from_u128(1),
                incarnation: 2,
                file_number: 3,
                covered: 4,
                durable: 5,
                closed: true,
            },
            last_commit: 6,
            partitions: vec![partition(0), partition(1)],
        }
    }

    #[test]
    fn comes_back_as_written() {
        let disk = SimDisk::new(1);
        let root = Path::new("/");
        assert!(CheckpointFile::read(&disk, root).unwrap().is_none());
        example().write(&disk, root).unwrap();
        assert_eq!(CheckpointFile::read(&disk, root).unwrap(), Some((example(), None)));
    }

    #[test]
    fn one_of_the_two_files_is_enough_and_the_newer_counts() {
        let root = Path::new("/");
        let [first, copy] = [CHECKPOINT_NAME, COPY_NAME].map(|name| root.join(name));
        for (spoiled, other) in [(&first, &copy), (&copy, &first)] {
            let disk = SimDisk::new(1);
            example().write(&disk, root).unwrap();
            disk.rot(spoiled, 20, 1).unwrap();
            assert_eq!(CheckpointFile::read(&disk, root).unwrap(), Some((example(), Some(spoiled.clone()))));
            disk.rot(other, 20, 1).unwrap();
            let error = CheckpointFile::read(&disk, root).unwrap_err();
            assert!(matches!(error, StoreError::CorruptCheckpoint { .. }), "{error}");
        }
        let disk = SimDisk::new(1);
        example().write(&disk, root).unwrap();
        disk.remove_file(&copy).unwrap();
        assert_eq!(CheckpointFile::read(&disk, root).unwrap(), Some((example(), None)));
        let mut older = example();
        older.start.covered -= 1;
        disk.plant(&copy, &older.encode()).unwrap();
        assert_eq!(
            CheckpointFile::read(&disk, root).unwrap(),
            Some((example(), None)),
            "a crash between the two"
        );
        disk.plant(&first, &older.encode()).unwrap();
        disk.plant(&copy, &example().encode()).unwrap();
        assert_eq!(CheckpointFile::read(&disk, root).unwrap(), Some((example(), Some(first.clone()))));
        disk.remove_file(&first).unwrap();
        assert_eq!(CheckpointFile::read(&disk, root).unwrap(), Some((example(), Some(first))));
    }

    #[test]
    fn damage_at_any_byte_is_found_and_a_newer_version_is_named() {
        let bytes = example().encode();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(CheckpointFile::decode(&bad).is_err(), "byte {at}");
            assert!(CheckpointFile::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let mut newer = bytes;
        newer[8] = 9;
        assert!(matches!(CheckpointFile::decode(&newer), Err(Problem::Corrupt(_))), "a version that rotted");
        newer[CRC_AT] ^= 1;
        assert_eq!(CheckpointFile::decode(&newer), Err(Problem::Newer(9)));
    }
}
