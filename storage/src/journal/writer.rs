//! Writing frames.

use std::path::PathBuf;
use std::sync::Arc;

use logmill_record::Batch;
use uuid::Uuid;

use super::JournalOptions;
use super::buffer::AlignedBuffer;
use super::error::JournalError;
use super::format::{
    APPEND_HEADER_BYTES, AppendHeader, FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, TRIM_BYTES,
    TrimEntry, frame_bytes,
};
use super::ring::{FoundFile, LiveFile, Ring, RingFile};
use super::spare::Spare;
use crate::PartitionId;
use crate::disk::{BLOCK_BYTES, Disk};

/// The buffer, as large as a group of frames: a large frame with its headers is one write and not two. A single frame
/// that is longer goes in several calls. Only what was used of it takes memory.
const BUFFER_BYTES: usize = MAX_WRITE_BYTES as usize;
/// A write takes no further frame beyond this, so that the first of many need not wait for the last.
const MAX_WRITE_BYTES: u64 = 4 << 20;

/// The appends of one frame, stamped, and what it trims.
#[derive(Debug)]
pub(crate) struct FrameBody {
    /// The sequencer's number.
    pub(crate) commit: u64,
    pub(crate) entries: Vec<FrameEntry>,
    pub(crate) trims: Vec<TrimEntry>,
}

/// One append of a frame.
#[derive(Debug, Clone)]
pub(crate) struct FrameEntry {
    pub(crate) partition: PartitionId,
    pub(crate) batch: Batch,
}

impl FrameBody {
    fn body_bytes(&self) -> u64 {
        let batches = self.entries.iter().map(|entry| entry.batch.size());
        FrameBody::body_bytes_of(batches, self.trims.len())
    }

    /// Bytes of the frame in the journal.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.body_bytes())
    }

    /// Bytes in the journal of a frame whose batches have these sizes, and with so many trims.
    pub(crate) fn bytes_of(batches: impl Iterator<Item = usize>, trims: usize) -> u64 {
        frame_bytes(FrameBody::body_bytes_of(batches, trims))
    }

    fn body_bytes_of(batches: impl Iterator<Item = usize>, trims: usize) -> u64 {
        batches.map(|size| (APPEND_HEADER_BYTES + size) as u64).sum::<u64>() + (trims * TRIM_BYTES) as u64
    }
}

/// Which journal this is from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewIncarnation {
    pub(crate) directory: Uuid,
    pub(crate) incarnation: u64,
    /// Number of the first file.
    pub(crate) file_number: u64,
    /// Sequence of the first frame.
    pub(crate) sequence: u64,
}

/// The number of the incarnation after `last`: a counter in its upper half, chance in its lower half. A record that imitates
/// a frame cannot know it, and so counts for nothing in the search behind a torn end.
pub(crate) fn next_incarnation(last: u64, chance: Uuid) -> u64 {
    let (high, low) = chance.as_u64_pair();
    let mixed = high ^ low;
    ((last >> 32) + 1) << 32 | u64::from((mixed >> 32) as u32 ^ mixed as u32)
}

/// What one call of [`Journal::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// Frames of the front that are durable now.
    pub(crate) frames: usize,
    /// The rest cannot be written before a checkpoint frees space.
    pub(crate) full: bool,
    /// Device writes, flushes not counted.
    pub(crate) writes: u64,
    /// Bytes written, padding included.
    pub(crate) bytes: u64,
}

/// The writing end of the journal. One owner; whoever holds it is the only writer.
#[derive(Debug)]
pub(crate) struct Journal {
    ring: Ring,
    identity: NewIncarnation,
    buffer: AlignedBuffer,
    /// Where the next write of the current file begins; whole blocks.
    position: u64,
    /// Where the buffer's first byte goes.
    buffer_position: u64,
    next_sequence: u64,
    /// Last durable sequence.
    durable: u64,
    /// Last sequence that a frame on disk says is durable.
    recorded: u64,
    next_file_number: u64,
}

impl Journal {
    /// Begins an incarnation in a file that replay did not read. The files that it did read stay until [`Journal::recycle`].
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        options: JournalOptions,
        identity: NewIncarnation,
        found: Vec<FoundFile>,
    ) -> Result<Option<Journal>, JournalError> {
        let ring = Ring::new(disk, directory, options, found)?;
        let last = identity.sequence - 1;
        let mut journal = Journal {
            ring,
            identity,
            buffer: AlignedBuffer::new(BUFFER_BYTES),
            position: 0,
            buffer_position: 0,
            next_sequence: identity.sequence,
            durable: last,
            recorded: last,
            next_file_number: identity.file_number,
        };
        Ok(journal.roll(0)?.then_some(journal))
    }

    /// Number of the file with which replay has to begin when everything up to `covered` is in the segments.
    pub(crate) fn file_after(&self, covered: u64) -> u64 {
        self.ring.file_with(covered + 1).unwrap_or(self.identity.file_number)
    }

    /// Sequence of the last durable frame.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Bytes in use: what replay would read.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.ring.full_bytes() + self.position
    }

    /// Bytes of all files.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.ring.total_bytes()
    }

    /// The last attempt to make a file found the disk full.
    pub(crate) fn disk_is_full(&self) -> bool {
        self.ring.disk_is_full()
    }

    /// A frame on disk does not yet say that the last frames are durable.
    pub(crate) fn wants_idle_frame(&self) -> bool {
        self.recorded < self.durable
    }

    /// Writes as many frames of the front as fit one write; they are durable on return. The first gets the sequence after
    /// [`Journal::durable`], and so on.
    pub(crate) fn write<F>(
        &mut self,
        frames: &[F],
        body: impl Fn(&F) -> &FrameBody,
    ) -> Result<Written, JournalError> {
        let mut written = Written::default();
        while written.frames < frames.len() && written.bytes < MAX_WRITE_BYTES {
            let needed = body(&frames[written.frames]).frame_bytes();
            if needed > self.room() && !self.roll(needed)? {
                written.full = true;
                break;
            }
            let mut end = self.position;
            while let Some(frame) = frames.get(written.frames) {
                let frame = body(frame);
                let bytes = frame.frame_bytes();
                let more = end - self.position;
                if bytes > self.file_bytes() - end || (more > 0 && more + bytes > MAX_WRITE_BYTES) {
                    break;
                }
                written.writes += self.push_frame(frame, end)?;
                end += bytes;
                written.frames += 1;
            }
            written.writes += self.finish_write()?;
            assert_eq!(
                self.buffer_position,
                end.next_multiple_of(BLOCK_BYTES as u64),
                "frames have the size computed"
            );
            written.bytes += self.buffer_position - self.position;
            self.wrote();
        }
        Ok(written)
    }

    /// Works towards having the next file ready in time, in proportion to the bytes just written. To be called after each
    /// [`Journal::write`], when those who waited for it have been told. True when there is something to do for
    /// [`Spare::write_due`].
    pub(crate) fn prepare(&mut self, written_bytes: u64) -> Result<bool, JournalError> {
        // A small file may be the last for long.
        let (bytes, room) = (self.file_bytes(), self.room());
        let begins_at = if self.ring.is_of_full_size(bytes) { bytes - bytes / 8 } else { bytes / 2 };
        if room < begins_at { self.ring.prepare(written_bytes, room) } else { Ok(false) }
    }

    /// The file that is being got ready.
    pub(crate) fn spare(&self) -> Option<&Arc<Spare>> {
        self.ring.spare()
    }

    /// Writes the small frame that says up to where frames are durable. Nothing happens when that is on disk already, or
    /// when there is no room.
    pub(crate) fn write_idle(&mut self) -> Result<Written, JournalError> {
        let needed = frame_bytes(0);
        if !self.wants_idle_frame() || (needed > self.room() && !self.roll(needed)?) {
            return Ok(Written::default());
        }
        // Rolling may have recorded it already, in the header of the new file.
        if !self.wants_idle_frame() {
            return Ok(Written::default());
        }
        let header = self.header(FrameKind::Idle, self.position, 0, 0, 0);
        let bytes = header.encode(std::iter::empty());
        let mut writes = self.push(&bytes)?;
        self.next_sequence += 1;
        writes += self.finish_write()?;
        self.wrote();
        // What comes after the idle frame is nothing that anybody waits for.
        self.recorded = self.durable;
        Ok(Written { frames: 0, full: false, writes, bytes: BLOCK_BYTES as u64 })
    }

    /// Everything before the file of this number is in the segments, durably: its files may be written over.
    pub(crate) fn recycle(&mut self, first_needed_file: u64) -> Result<usize, JournalError> {
        self.ring.recycle(first_needed_file)
    }

    fn file_bytes(&self) -> u64 {
        self.current().bytes
    }

    fn room(&self) -> u64 {
        self.file_bytes() - self.position
    }

    /// Goes on in another file with room for a frame of this size. False when there is none.
    fn roll(&mut self, frame_bytes: u64) -> Result<bool, JournalError> {
        let Some(file) = self.ring.take(frame_bytes + BLOCK_BYTES as u64)? else { return Ok(false) };
        let header = FileHeader {
            directory: self.identity.directory,
            incarnation: self.identity.incarnation,
            number: self.next_file_number,
            first_sequence: self.next_sequence,
        };
        self.next_file_number += 1;
        self.ring.push_current(LiveFile {
            file,
            number: header.number,
            first_sequence: header.first_sequence,
        });
        self.position = 0;
        self.buffer_position = 0;
        self.push(&header.encode())?;
        self.finish_write()?;
        self.position = BLOCK_BYTES as u64;
        self.recorded = self.durable;
        Ok(true)
    }

    fn header(
        &self,
        kind: FrameKind,
        position: u64,
        commit: u64,
        appends: u32,
        body_bytes: u32,
    ) -> FrameHeader {
        FrameHeader {
            kind,
            incarnation: self.identity.incarnation,
            file_number: self.next_file_number - 1,
            position,
            sequence: self.next_sequence,
            durable: self.durable,
            commit,
            appends,
            trims: 0,
            body_bytes,
        }
    }

    /// Puts one frame into the buffer, writing whenever that is full. Returns the writes.
    fn push_frame(&mut self, frame: &FrameBody, position: u64) -> Result<u64, JournalError> {
        let body_bytes = u32::try_from(frame.body_bytes()).unwrap_or(u32::MAX);
        let header = FrameHeader {
            trims: frame.trims.len() as u32,
            ..self.header(FrameKind::Appends, position, frame.commit, frame.entries.len() as u32, body_bytes)
        };
        let trims: Vec<_> = frame.trims.iter().map(TrimEntry::encode).collect();
        let append_headers: Vec<_> = frame.entries.iter().map(append_header).collect();
        let pieces = || {
            append_headers
                .iter()
                .zip(&frame.entries)
                .flat_map(|(header, entry)| [&header[..], entry.batch.bytes()])
                .chain(trims.iter().map(|trim| &trim[..]))
        };
        let mut writes = self.push(&header.encode(pieces()))?;
        for piece in pieces() {
            writes += self.push(piece)?;
        }
        let unpadded = FRAME_HEADER_BYTES as u64 + u64::from(body_bytes);
        writes += self.push(&[0; 8][..(frame_bytes(u64::from(body_bytes)) - unpadded) as usize])?;
        self.next_sequence += 1;
        Ok(writes)
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<u64, JournalError> {
        let mut writes = 0;
        loop {
            bytes = self.buffer.push(bytes);
            if bytes.is_empty() {
                return Ok(writes);
            }
            self.write_buffer()?;
            writes += 1;
        }
    }

    fn finish_write(&mut self) -> Result<u64, JournalError> {
        self.buffer.pad();
        let mut writes = 0;
        if !self.buffer.filled().is_empty() {
            self.write_buffer()?;
            writes = 1;
        }
        let current = self.current();
        if !current.file.durable_writes() {
            current.file.sync_data().map_err(JournalError::io("flush", &current.path))?;
        }
        Ok(writes)
    }

    fn write_buffer(&mut self) -> Result<(), JournalError> {
        let current = self.current();
        let bytes = self.buffer.filled();
        current
            .file
            .write_at(bytes, self.buffer_position)
            .map_err(JournalError::io("write", &current.path))?;
        self.buffer_position += bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// A write is done and durable.
    fn wrote(&mut self) {
        self.position = self.buffer_position;
        self.durable = self.next_sequence - 1;
    }

    fn current(&self) -> &RingFile {
        // `start` gives out no journal without one, and files are only ever added behind it.
        &self.ring.current().expect("a journal has a current file").file
    }
}

fn append_header(entry: &FrameEntry) -> [u8; APPEND_HEADER_BYTES] {
    AppendHeader {
        topic: entry.partition.topic,
        partition: entry.partition.partition,
        length: entry.batch.size() as u32,
    }
    .encode()
}
