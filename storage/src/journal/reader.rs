//! Reading frames back after a start, and deciding whether the end is torn or damaged.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use logmill_record::Batch;
use uuid::Uuid;

use super::error::JournalError;
use super::format::{
    APPEND_HEADER_BYTES, AppendHeader, FILE_HEADER_BYTES, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FRAME_MAGIC,
    FileHeader, FileHeaderRead, FrameHeader, FrameKind, JOURNAL_VERSION, TRIM_BYTES, TrimEntry,
    checksum_holds,
};
use super::ring::{FoundFile, slot_of};
use super::writer::{FrameBody, FrameEntry};
use crate::PartitionId;
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, OpenOptions};

/// Bytes read with one call while walking.
const WINDOW_BYTES: usize = 1 << 20;

/// Where replay begins: what the checkpoint says about the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplayStart {
    pub(crate) directory: Uuid,
    pub(crate) incarnation: u64,
    /// Number of the first file.
    pub(crate) file_number: u64,
    /// Everything up to this sequence is in the segments.
    pub(crate) covered: u64,
    /// Everything up to this sequence was durable when the checkpoint was written.
    pub(crate) durable: u64,
    /// The journal was closed with this checkpoint: nothing comes behind `durable`, and nothing is read.
    pub(crate) closed: bool,
}

/// A torn end: frames that were being written when the machine went down, and that nobody was told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: PathBuf,
    /// Where the frame began.
    pub position: u64,
    /// Number of the frame.
    pub sequence: u64,
}

/// What reading found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Sequence of the last valid frame.
    pub(crate) last_sequence: u64,
    /// Largest commit number seen in a frame.
    pub(crate) last_commit: u64,
    /// Frames given to the visitor.
    pub(crate) frames: u64,
    /// Bytes walked.
    pub(crate) bytes: u64,
    pub(crate) cut: Option<Cut>,
    /// Largest incarnation of any file.
    pub(crate) last_incarnation: u64,
    /// Largest file number of the incarnation that was read.
    pub(crate) last_file_number: u64,
    /// All files of the journal.
    pub(crate) files: Vec<FoundFile>,
}

/// One file as found.
struct Candidate {
    path: PathBuf,
    bytes: u64,
    header: Option<FileHeader>,
}

/// Lists the journal's files without reading frames: for a directory that has no checkpoint yet. The flag says whether
/// there is a valid frame in any of them.
pub(crate) fn inspect(disk: &dyn Disk, directory: &Path) -> Result<(Vec<FoundFile>, bool), JournalError> {
    let mut found = Vec::new();
    let mut has_frames = false;
    for candidate in candidates(disk, directory)? {
        let mut file = Reader::open(disk, &candidate.path)?;
        has_frames |= file.frame_at(BLOCK_BYTES as u64)?.is_some();
        found.push(FoundFile { path: candidate.path, bytes: candidate.bytes, live: None });
    }
    Ok((found, has_frames))
}

/// Walks the frames from `start` on, giving those above `start.covered` to `visit` in order.
///
/// A frame is given only when it is durable: the last ones, of which nothing says so, are written over themselves and
/// flushed before. After a flush that failed they may be in the page cache alone, and what follows from a frame must not
/// reach the device before the frame. Nothing else is changed.
pub(crate) fn recover<E: From<JournalError>>(
    disk: &dyn Disk,
    directory: &Path,
    start: &ReplayStart,
    mut visit: impl FnMut(FrameBody) -> Result<(), E>,
) -> Result<Scanned, E> {
    let candidates = candidates(disk, directory)?;
    refuse_stale(disk, &candidates, start)?;
    let files = live_files(&candidates, directory, start)?;
    let mut scan = Scan {
        start,
        // Whatever came before a file was durable when its header was written.
        durable: files.iter().map(|(_, header)| header.first_sequence - 1).fold(start.durable, u64::max),
        next: files[0].1.first_sequence,
        last_commit: 0,
        frames: 0,
        bytes: 0,
        unsure: VecDeque::new(),
    };
    let mut cut = None;
    // A closed journal has nothing behind its checkpoint.
    let to_walk = if start.closed { &[][..] } else { &files[..] };
    if start.closed {
        scan.next = start.durable + 1;
    }
    for (place, &(candidate, header)) in to_walk.iter().enumerate() {
        let mut reader = Reader::open(disk, &candidate.path)?;
        let mut bodies = Reader::open(disk, &candidate.path)?;
        let position = scan.walk(&mut reader, &mut bodies, &header, &mut visit)?;
        match files.get(place + 1) {
            Some((_, next)) if next.first_sequence == scan.next => {}
            Some((_, next)) => {
                let reason = format!("the next file begins with frame {}", next.first_sequence);
                return Err(scan.corrupt(&candidate.path, position, reason).into());
            }
            None => {
                cut = scan.decide_end(disk, &candidates, candidate, reader, &header, position)?;
                scan.make_durable(disk, &mut bodies)?;
                scan.visit_durable(&mut bodies, &mut visit)?;
            }
        }
    }
    let last_file_number = files[files.len() - 1].1.number;
    let is_live = |path: &Path| {
        files
            .iter()
            .find(|(live, _)| live.path == path)
            .map(|(_, header)| (header.number, header.first_sequence))
    };
    Ok(Scanned {
        last_sequence: scan.next - 1,
        last_commit: scan.last_commit,
        frames: scan.frames,
        bytes: scan.bytes,
        cut,
        last_incarnation: candidates
            .iter()
            .filter_map(|candidate| candidate.header)
            .map(|header| header.incarnation)
            .fold(start.incarnation, u64::max),
        last_file_number,
        files: candidates
            .iter()
            .map(|candidate| FoundFile {
                path: candidate.path.clone(),
                bytes: candidate.bytes,
                live: is_live(&candidate.path),
            })
            .collect(),
    })
}

fn candidates(disk: &dyn Disk, directory: &Path) -> Result<Vec<Candidate>, JournalError> {
    let mut candidates = Vec::new();
    for entry in disk.read_dir(directory).map_err(JournalError::io("list", directory))? {
        if entry.is_dir || slot_of(&entry.name).is_none() {
            continue;
        }
        let path = directory.join(&entry.name);
        let file = disk.open(&path, OpenOptions::READ).map_err(JournalError::io("open", &path))?;
        let bytes = file.len().map_err(JournalError::io("measure", &path))?;
        let mut head = [0; FILE_HEADER_BYTES];
        let read = file.read_full_at(&mut head, 0).map_err(JournalError::io("read", &path))?;
        let header = match FileHeader::decode(&head[..read]) {
            FileHeaderRead::Valid(header) => Some(header),
            FileHeaderRead::Invalid => None,
            FileHeaderRead::Newer(found) => {
                return Err(JournalError::NewerFormat { file: path, found, known: JOURNAL_VERSION });
            }
        };
        candidates.push(Candidate { path, bytes, header });
    }
    Ok(candidates)
}

/// An incarnation writes its first frame when its checkpoint is durable. A frame of a later incarnation than the
/// checkpoint's, whole or not, means that a later checkpoint was there and is lost.
fn refuse_stale(disk: &dyn Disk, candidates: &[Candidate], start: &ReplayStart) -> Result<(), JournalError> {
    for candidate in candidates {
        let Some(header) = candidate.header else { continue };
        if header.directory != start.directory || header.incarnation <= start.incarnation {
            continue;
        }
        let mut reader = Reader::open(disk, &candidate.path)?;
        if reader.looks_like_frame(BLOCK_BYTES as u64, &header)? {
            return Err(JournalError::StaleCheckpoint {
                file: candidate.path.clone(),
                expected: start.incarnation,
                found: header.incarnation,
            });
        }
    }
    Ok(())
}

/// The files of the incarnation, from the checkpoint's on, without a gap.
fn live_files<'a>(
    candidates: &'a [Candidate],
    directory: &Path,
    start: &ReplayStart,
) -> Result<Vec<(&'a Candidate, FileHeader)>, JournalError> {
    let mut files = Vec::new();
    for candidate in candidates {
        let Some(header) = candidate.header else { continue };
        if header.directory != start.directory {
            return Err(JournalError::Foreign {
                file: candidate.path.clone(),
                expected: start.directory,
                found: header.directory,
            });
        }
        if header.incarnation == start.incarnation && header.number >= start.file_number {
            files.push((candidate, header));
        }
    }
    files.sort_by_key(|(_, header)| header.number);
    for (place, (_, header)) in files.iter().enumerate() {
        let number = start.file_number + place as u64;
        if header.number != number {
            return Err(missing(directory, number, start));
        }
    }
    if files.is_empty() {
        return Err(missing(directory, start.file_number, start));
    }
    Ok(files)
}

fn missing(directory: &Path, number: u64, start: &ReplayStart) -> JournalError {
    JournalError::Missing { directory: directory.to_owned(), number, incarnation: start.incarnation }
}

struct Scan<'a> {
    start: &'a ReplayStart,
    /// Largest sequence known to have been durable.
    durable: u64,
    /// Sequence of the frame that comes next.
    next: u64,
    last_commit: u64,
    frames: u64,
    bytes: u64,
    /// Frames of the last file for the visitor that are not known to be durable.
    unsure: VecDeque<FrameHeader>,
}

impl Scan<'_> {
    /// Walks one file up to the first position where the next frame is not. Returns that position.
    fn walk<E: From<JournalError>>(
        &mut self,
        reader: &mut Reader,
        bodies: &mut Reader,
        file: &FileHeader,
        visit: &mut impl FnMut(FrameBody) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut position = BLOCK_BYTES as u64;
        loop {
            let mut frame = reader.frame_at(position)?.filter(|header| self.is_next(file, header, position));
            if frame.is_none() && !position.is_multiple_of(BLOCK_BYTES as u64) {
                // A write ends with zeros; the next one begins with a block.
                let aligned = position.next_multiple_of(BLOCK_BYTES as u64);
                frame = reader.frame_at(aligned)?.filter(|header| self.is_next(file, header, aligned));
                if frame.is_some() {
                    position = aligned;
                }
            }
            let Some(header) = frame else { return Ok(reader.after_padding(position)?) };
            if header.kind == FrameKind::Appends && header.sequence > self.start.covered {
                self.unsure.push_back(header);
            }
            self.durable = self.durable.max(header.durable);
            self.visit_durable(bodies, visit)?;
            self.last_commit = self.last_commit.max(header.commit);
            self.next += 1;
            self.bytes += header.frame_bytes();
            position += header.frame_bytes();
        }
    }

    /// Gives away what is known to be durable by now.
    fn visit_durable<E: From<JournalError>>(
        &mut self,
        bodies: &mut Reader,
        visit: &mut impl FnMut(FrameBody) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(header) = self.unsure.pop_front_if(|header| header.sequence <= self.durable) {
            visit(self.read_body(bodies, &header)?)?;
            self.frames += 1;
        }
        Ok(())
    }

    /// Writes the frames that may not be durable over themselves, and flushes them: the last write, as a rule.
    fn make_durable(&mut self, disk: &dyn Disk, bodies: &mut Reader) -> Result<(), JournalError> {
        let (Some(first), Some(last)) = (self.unsure.front(), self.unsure.back()) else { return Ok(()) };
        let (mut position, end) = (first.position, last.position + last.frame_bytes());
        let path = bodies.path.clone();
        let file = disk.open(&path, OpenOptions::WRITE).map_err(JournalError::io("open", &path))?;
        while position < end {
            let bytes = bodies.bytes(position, (end - position).min(WINDOW_BYTES as u64))?;
            file.write_at(bytes, position).map_err(JournalError::io("write", &path))?;
            position += bytes.len() as u64;
        }
        file.sync_data().map_err(JournalError::io("flush", &path))?;
        self.durable = self.durable.max(self.next - 1);
        Ok(())
    }

    fn is_next(&self, file: &FileHeader, header: &FrameHeader, position: u64) -> bool {
        header.incarnation == file.incarnation
            && header.file_number == file.number
            && header.position == position
            && header.sequence == self.next
    }

    fn read_body(&self, reader: &mut Reader, header: &FrameHeader) -> Result<FrameBody, JournalError> {
        let body = Bytes::copy_from_slice(reader.body(header)?);
        parse_body(body, header).ok_or_else(|| {
            let reason = "its checksum holds, but its appends do not parse".to_owned();
            self.corrupt(&reader.path, header.position, reason)
        })
    }

    /// At the end of the last file: is what lies there torn, or damaged, or nothing at all?
    fn decide_end(
        &mut self,
        disk: &dyn Disk,
        candidates: &[Candidate],
        last: &Candidate,
        mut reader: Reader,
        file: &FileHeader,
        position: u64,
    ) -> Result<Option<Cut>, JournalError> {
        let behind = reader.search(position, |header| {
            header.incarnation == file.incarnation && header.file_number == file.number
        })?;
        let mut torn = behind.is_some() || reader.looks_like_frame(position, file)?;
        self.durable = self.durable.max(behind.unwrap_or(0));
        if self.durable >= self.next {
            let reason = format!("frames up to {} were durable", self.durable);
            return Err(self.corrupt(&last.path, position, reason));
        }
        // A frame in a file without a readable header: the header was durable before it.
        for candidate in candidates.iter().filter(|candidate| candidate.header.is_none()) {
            let mut reader = Reader::open(disk, &candidate.path)?;
            let found = reader.search(0, |header| {
                header.incarnation == file.incarnation && header.file_number > file.number
            })?;
            if found.is_some() {
                return Err(self.corrupt(
                    &candidate.path,
                    0,
                    "the file header does not check out".to_owned(),
                ));
            }
            torn |= candidate.bytes > 0 && reader.begins_with_something()?;
        }
        Ok(torn.then(|| Cut { file: last.path.clone(), position, sequence: self.next }))
    }

    fn corrupt(&self, file: &Path, position: u64, reason: String) -> JournalError {
        JournalError::Corrupt { file: file.to_owned(), position, sequence: self.next, reason }
    }
}

fn parse_body(mut body: Bytes, header: &FrameHeader) -> Option<FrameBody> {
    let trim_bytes = (header.trims as usize).checked_mul(TRIM_BYTES)?;
    let trimmed = body.split_off(body.len().checked_sub(trim_bytes)?);
    let trims = trimmed.as_chunks::<TRIM_BYTES>().0.iter().map(TrimEntry::decode).collect();
    let mut entries = Vec::new();
    while !body.is_empty() {
        let append = AppendHeader::decode(body.first_chunk::<APPEND_HEADER_BYTES>()?);
        let end = APPEND_HEADER_BYTES.checked_add(append.length as usize)?;
        if end > body.len() {
            return None;
        }
        let bytes = body.split_to(end).slice(APPEND_HEADER_BYTES..);
        let partition = PartitionId { topic: append.topic, partition: append.partition };
        entries.push(FrameEntry { partition, batch: Batch::trusted(bytes).ok()? });
    }
    (entries.len() == header.appends as usize).then_some(FrameBody { commit: header.commit, entries, trims })
}

/// Reads a file through a window.
struct Reader {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u64,
    window: Vec<u8>,
    window_position: u64,
}

impl Reader {
    fn open(disk: &dyn Disk, path: &Path) -> Result<Reader, JournalError> {
        let file = disk.open(path, OpenOptions::READ).map_err(JournalError::io("open", path))?;
        let length = file.len().map_err(JournalError::io("measure", path))?;
        Ok(Reader { path: path.to_owned(), file, length, window: Vec::new(), window_position: 0 })
    }

    /// The bytes at a position, fewer at the end of the file. Memory is bounded by the file's length.
    fn bytes(&mut self, position: u64, length: u64) -> Result<&[u8], JournalError> {
        let end = position.saturating_add(length).min(self.length);
        let position = position.min(end);
        let window_end = self.window_position + self.window.len() as u64;
        if position < self.window_position || end > window_end {
            let wanted = (end - position).max((WINDOW_BYTES as u64).min(self.length - position));
            self.window.resize(wanted as usize, 0);
            let read = self.file.read_full_at(&mut self.window, position);
            let read = read.map_err(JournalError::io("read", &self.path))?;
            self.window.truncate(read);
            self.window_position = position;
        }
        let from = (position - self.window_position) as usize;
        let to = ((end - self.window_position) as usize).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }

    /// The header of a whole and valid frame at a position.
    fn frame_at(&mut self, position: u64) -> Result<Option<FrameHeader>, JournalError> {
        let Some(header) = FrameHeader::decode(self.bytes(position, FRAME_HEADER_BYTES as u64)?) else {
            return Ok(None);
        };
        // The length is compared with the file before anything is read.
        if position.saturating_add(header.frame_bytes()) > self.length {
            return Ok(None);
        }
        let bytes = self.bytes(position, header.frame_bytes())?;
        Ok(checksum_holds(bytes, &header).then_some(header))
    }

    fn body(&mut self, header: &FrameHeader) -> Result<&[u8], JournalError> {
        self.bytes(header.position + FRAME_HEADER_BYTES as u64, u64::from(header.body_bytes))
    }

    /// Looks for valid frames that belong to `this` from a position on, at every place where a frame may begin. Returns
    /// the largest durable sequence that one of them carries.
    fn search(
        &mut self,
        mut position: u64,
        this: impl Fn(&FrameHeader) -> bool,
    ) -> Result<Option<u64>, JournalError> {
        let mut durable = None;
        while position + (FRAME_HEADER_BYTES as u64) <= self.length {
            let window = self.bytes(position, WINDOW_BYTES as u64)?;
            let whole = (window.len() + 1).saturating_sub(FRAME_HEADER_BYTES);
            let found = (0..whole)
                .step_by(FRAME_ALIGNMENT)
                .find(|&at| window[at..at + FRAME_MAGIC.len()] == FRAME_MAGIC);
            let Some(found) = found else {
                position += whole.next_multiple_of(FRAME_ALIGNMENT).max(FRAME_ALIGNMENT) as u64;
                continue;
            };
            position += found as u64;
            let frame = self.frame_at(position)?;
            if let Some(header) = frame.filter(|header| header.position == position && this(header)) {
                durable = durable.max(Some(header.durable));
            }
            position += FRAME_ALIGNMENT as u64;
        }
        Ok(durable)
    }

    /// A header of this use of the file lies there, whatever became of its body.
    fn looks_like_frame(&mut self, position: u64, file: &FileHeader) -> Result<bool, JournalError> {
        let header = FrameHeader::decode(self.bytes(position, FRAME_HEADER_BYTES as u64)?);
        Ok(header.is_some_and(|header| {
            (header.incarnation, header.file_number, header.position)
                == (file.incarnation, file.number, position)
        }))
    }

    /// The beginning of the next write, when only padding lies before it.
    fn after_padding(&mut self, position: u64) -> Result<u64, JournalError> {
        let aligned = position.next_multiple_of(BLOCK_BYTES as u64);
        let padding = self.bytes(position, aligned - position)?;
        Ok(if padding.iter().all(|&byte| byte == 0) { aligned } else { position })
    }

    fn begins_with_something(&mut self) -> Result<bool, JournalError> {
        Ok(self.bytes(0, FILE_HEADER_BYTES as u64)?.iter().any(|&byte| byte != 0))
    }
}
