//! The journal's bytes. All numbers little-endian.
//!
//! ```text
//! file    block 0: file header, zeros │ from block 1: writes, each padded to the block
//! write   frame │ frame │ … │ zeros up to the block
//! frame   header (72) │ appends │ trims │ zeros up to 8 bytes
//! append  topic id (16) │ partition i32 │ length u32 │ one batch, stamped
//! trim    topic id (16) │ partition i32 │ first offset to keep i64
//!
//! file header   magic "LMJOURNL" │ version u16 │ 0 u16 │ CRC u32 │ directory id (16) │ incarnation u64
//!               │ file number u64 │ first sequence u64                                             = 56 bytes
//! frame header  magic "LMFR" │ version u16 │ kind u8 │ 0 u8 │ CRC u32 │ appends u32 │ body bytes u32 │ trims u32
//!               │ incarnation u64 │ file number u64 │ position u64 │ sequence u64 │ durable u64 │ commit u64 = 72 bytes
//! ```
//!
//! A CRC is CRC-32 (IEEE) over the header, with zeros in its own place, and the body.

use uuid::Uuid;

use crate::PartitionId;
use crate::disk::BLOCK_BYTES;

/// Version of the journal's format, in every file and every frame.
pub const JOURNAL_VERSION: u16 = 1;

pub(crate) const FILE_HEADER_BYTES: usize = 56;
pub(crate) const FRAME_HEADER_BYTES: usize = 72;
pub(crate) const APPEND_HEADER_BYTES: usize = 24;
pub(crate) const TRIM_BYTES: usize = 28;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGNMENT: usize = 8;

const FILE_MAGIC: [u8; 8] = *b"LMJOURNL";
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"LMFR";
const CRC_IN_FILE_HEADER: usize = 12;
const CRC_IN_FRAME_HEADER: usize = 8;

const _: () = assert!(FILE_HEADER_BYTES <= BLOCK_BYTES);
const _: () = assert!(BLOCK_BYTES.is_multiple_of(FRAME_ALIGNMENT));
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGNMENT));

/// The first block of a journal file: which use of the file this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The data directory that the file belongs to.
    pub(crate) directory: Uuid,
    /// Grows with each opening of the directory.
    pub(crate) incarnation: u64,
    /// Grows with each use of a file, so that what an earlier use left behind is not mistaken for ours.
    pub(crate) number: u64,
    /// Sequence of the first frame. All frames before it were durable when the header was written.
    pub(crate) first_sequence: u64,
}

/// What the first block of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileHeaderRead {
    Valid(FileHeader),
    /// Never used, torn or damaged.
    Invalid,
    /// Of a newer format version.
    Newer(u16),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        put(&mut bytes, 0, FILE_MAGIC);
        put(&mut bytes, 8, JOURNAL_VERSION.to_le_bytes());
        put(&mut bytes, 16, *self.directory.as_bytes());
        put(&mut bytes, 32, self.incarnation.to_le_bytes());
        put(&mut bytes, 40, self.number.to_le_bytes());
        put(&mut bytes, 48, self.first_sequence.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        put(&mut bytes, CRC_IN_FILE_HEADER, crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> FileHeaderRead {
        let Some(&head) = bytes.first_chunk::<FILE_HEADER_BYTES>() else { return FileHeaderRead::Invalid };
        if get::<8>(&head, 0) != FILE_MAGIC {
            return FileHeaderRead::Invalid;
        }
        let version = u16::from_le_bytes(get(&head, 8));
        if version > JOURNAL_VERSION {
            return FileHeaderRead::Newer(version);
        }
        let stored = u32::from_le_bytes(get(&head, CRC_IN_FILE_HEADER));
        let mut without = head;
        put(&mut without, CRC_IN_FILE_HEADER, [0; 4]);
        if version != JOURNAL_VERSION || crc32fast::hash(&without) != stored {
            return FileHeaderRead::Invalid;
        }
        FileHeaderRead::Valid(FileHeader {
            directory: Uuid::from_bytes(get(&head, 16)),
            incarnation: u64::from_le_bytes(get(&head, 32)),
            number: u64::from_le_bytes(get(&head, 40)),
            first_sequence: u64::from_le_bytes(get(&head, 48)),
        })
    }
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Appends.
    Appends,
    /// Nothing: it only says up to where frames are durable.
    Idle,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) incarnation: u64,
    pub(crate) file_number: u64,
    pub(crate) position: u64,
    /// Number of the frame, without gaps.
    pub(crate) sequence: u64,
    /// Last sequence that was durable when the write of this frame began.
    pub(crate) durable: u64,
    /// The sequencer's number; grows, with gaps for what did not go through the journal.
    pub(crate) commit: u64,
    pub(crate) appends: u32,
    /// Behind the appends.
    pub(crate) trims: u32,
    pub(crate) body_bytes: u32,
}

impl FrameHeader {
    /// The header's bytes; `body` are the pieces of the body, in order, for the CRC.
    pub(crate) fn encode<'a>(&self, body: impl Iterator<Item = &'a [u8]>) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        put(&mut bytes, 0, FRAME_MAGIC);
        put(&mut bytes, 4, JOURNAL_VERSION.to_le_bytes());
        bytes[6] = match self.kind {
            FrameKind::Appends => 0,
            FrameKind::Idle => 1,
        };
        put(&mut bytes, 12, self.appends.to_le_bytes());
        put(&mut bytes, 16, self.body_bytes.to_le_bytes());
        put(&mut bytes, 20, self.trims.to_le_bytes());
        put(&mut bytes, 24, self.incarnation.to_le_bytes());
        put(&mut bytes, 32, self.file_number.to_le_bytes());
        put(&mut bytes, 40, self.position.to_le_bytes());
        put(&mut bytes, 48, self.sequence.to_le_bytes());
        put(&mut bytes, 56, self.durable.to_le_bytes());
        put(&mut bytes, 64, self.commit.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes);
        body.for_each(|piece| hasher.update(piece));
        put(&mut bytes, CRC_IN_FRAME_HEADER, hasher.finalize().to_le_bytes());
        bytes
    }

    /// Reads the fields. `None` when they cannot be those of a frame; the CRC is checked by [`checksum_holds`].
    pub(crate) fn decode(bytes: &[u8]) -> Option<FrameHeader> {
        let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        if get::<4>(head, 0) != FRAME_MAGIC || u16::from_le_bytes(get(head, 4)) != JOURNAL_VERSION {
            return None;
        }
        let kind = match head[6] {
            0 => FrameKind::Appends,
            1 => FrameKind::Idle,
            _ => return None,
        };
        Some(FrameHeader {
            kind,
            appends: u32::from_le_bytes(get(head, 12)),
            body_bytes: u32::from_le_bytes(get(head, 16)),
            trims: u32::from_le_bytes(get(head, 20)),
            incarnation: u64::from_le_bytes(get(head, 24)),
            file_number: u64::from_le_bytes(get(head, 32)),
            position: u64::from_le_bytes(get(head, 40)),
            sequence: u64::from_le_bytes(get(head, 48)),
            durable: u64::from_le_bytes(get(head, 56)),
            commit: u64::from_le_bytes(get(head, 64)),
        })
    }

    /// Bytes of the whole frame with its padding.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.body_bytes))
    }
}

/// Bytes of a frame whose body has this size.
pub(crate) fn frame_bytes(body_bytes: u64) -> u64 {
    (FRAME_HEADER_BYTES as u64 + body_bytes).next_multiple_of(FRAME_ALIGNMENT as u64)
}

/// Whether a header and its body are what was written. `bytes` begins with the header and holds the body.
pub(crate) fn checksum_holds(bytes: &[u8], header: &FrameHeader) -> bool {
    let Some(&head) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else { return false };
    let body = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.body_bytes as usize;
    let Some(body) = bytes.get(body) else { return false };
    let stored = u32::from_le_bytes(get(&head, CRC_IN_FRAME_HEADER));
    let mut without = head;
    put(&mut without, CRC_IN_FRAME_HEADER, [0; 4]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&without);
    hasher.update(body);
    hasher.finalize() == stored
}

/// The header in front of each batch of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendHeader {
    pub(crate) topic: Uuid,
    pub(crate) partition: i32,
    pub(crate) length: u32,
}

impl AppendHeader {
    pub(crate) fn encode(&self) -> [u8; APPEND_HEADER_BYTES] {
        let mut bytes = [0; APPEND_HEADER_BYTES];
        put(&mut bytes, 0, *self.topic.as_bytes());
        put(&mut bytes, 16, self.partition.to_le_bytes());
        put(&mut bytes, 20, self.length.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; APPEND_HEADER_BYTES]) -> AppendHeader {
        AppendHeader {
            topic: Uuid::from_bytes(get(bytes, 0)),
            partition: i32::from_le_bytes(get(bytes, 16)),
            length: u32::from_le_bytes(get(bytes, 20)),
        }
    }
}

/// A partition's new first offset, behind the batches of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrimEntry {
    pub(crate) partition: PartitionId,
    /// First offset to keep.
    pub(crate) offset: i64,
}

impl TrimEntry {
    pub(crate) fn encode(&self) -> [u8; TRIM_BYTES] {
        let mut bytes = [0; TRIM_BYTES];
        put(&mut bytes, 0, *self.partition.topic.as_bytes());
        put(&mut bytes, 16, self.partition.partition.to_le_bytes());
        put(&mut bytes, 20, self.offset.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; TRIM_BYTES]) -> TrimEntry {
        TrimEntry {
            partition: PartitionId {
                topic: Uuid::from_bytes(get(bytes, 0)),
                partition: i32::from_le_bytes(get(bytes, 16)),
            },
            offset: i64::from_le_bytes(get(bytes, 20)),
        }
    }
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_header_round_trips_and_refuses() {
        let header =
            FileHeader { directory: Uuid::from_u128(7), incarnation: 3, number: 9, first_sequence: 100 };
        let bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), FileHeaderRead::Valid(header));
        for at in 0..FILE_HEADER_BYTES {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_ne!(FileHeader::decode(&bad), FileHeaderRead::Valid(header), "byte {at}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        assert_eq!(FileHeader::decode(&newer), FileHeaderRead::Newer(2));
        assert_eq!(FileHeader::decode(&[0; 4096]), FileHeaderRead::Invalid);
    }

    #[test]
    fn frame_header_round_trips_and_its_checksum_covers_everything() {
        let header = FrameHeader {
            kind: FrameKind::Appends,
            incarnation: 1,
            file_number: 2,
            position: 4096,
            sequence: 4,
            durable: 3,
            commit: 6,
            appends: 1,
            trims: 2,
            body_bytes: 10,
        };
        let body = [5; 10];
        let mut bytes = header.encode([&body[..4], &body[4..]].into_iter()).to_vec();
        bytes.extend(body);
        assert_eq!(FrameHeader::decode(&bytes), Some(header));
        assert!(checksum_holds(&bytes, &header));
        assert_eq!(header.frame_bytes(), 88);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            let read = FrameHeader::decode(&bad);
            assert!(read.is_none_or(|header| !checksum_holds(&bad, &header)), "byte {at}");
        }
    }
}
