//! Reading batches of a segment.

use bytes::Bytes;
use logmill_record::{BATCH_HEADER_LEN, Batch, BatchHeader};

use crate::log::error::ReadError;
use crate::log::names::FileKind;
use crate::log::walk::{Step, Stop, Walk};

use super::{Located, Segment};

/// Read beyond what was asked for, because the index points at a batch before it.
const EXTRA_BYTES: usize = 8 << 10;
/// At most so many bytes at once, however much is asked for; a larger batch is read as a whole.
const WINDOW_MAX_BYTES: usize = 4 << 20;

/// What a read of one segment gave.
pub(crate) struct Chunk {
    /// Whole batches, possibly none.
    pub(crate) bytes: Bytes,
    /// Offset after the last of them; where to go on.
    pub(crate) next_offset: i64,
}

impl Segment {
    /// Reads whole, checked batches from the one that holds `offset`, or the first behind it, up to `upper`.
    ///
    /// At most `max_bytes`, or one batch if `one_at_least`. Damage behind good batches is left for the next read.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        upper: i64,
        one_at_least: bool,
    ) -> Result<Chunk, ReadError> {
        let size = self.size();
        let (mut position, mut from_index) = self.position_before(offset)?;
        let ordinary = max_bytes.min(WINDOW_MAX_BYTES) + EXTRA_BYTES;
        let mut length = ordinary;
        let mut least_offset = self.base_offset;
        // The last batch that was passed over unread.
        let mut passed = None;
        loop {
            let mut available = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = length.min(available);
            let window = self.load(position, wanted)?;
            let cut_off = window.len() < wanted;
            if cut_off {
                available = window.len();
            }
            let scan = Scan {
                segment: self,
                window: &window,
                window_at: position,
                available,
                cut_off,
                offset,
                from_index,
                least_offset,
                end_offset: self.end_offset(),
            };
            match scan.run(max_bytes, upper, one_at_least)? {
                Scanned::Found { start, end, next_offset, base_offset, passed: last } => {
                    passed = last.map(|last| position + last as u64).or(passed);
                    if base_offset > offset {
                        self.check_passed(passed, offset)?;
                    }
                    return Ok(Chunk { bytes: window.slice(start..end), next_offset });
                }
                Scanned::Nothing => return Ok(Chunk { bytes: Bytes::new(), next_offset: offset }),
                Scanned::EndOfSegment { passed: last } => {
                    passed = last.map(|last| position + last as u64).or(passed);
                    if offset < self.end_offset() {
                        self.check_passed(passed, offset)?;
                    }
                    return Ok(Chunk { bytes: Bytes::new(), next_offset: self.end_offset().max(offset) });
                }
                Scanned::ReadOn { at, wanted, least_offset: least, passed: last } => {
                    passed = last.map(|last| position + last as u64).or(passed);
                    position += at as u64;
                    length = wanted.max(ordinary);
                    from_index = from_index.filter(|_| at == 0);
                    least_offset = least;
                }
                // Who wants what lies behind damage can have it.
                Scanned::Damaged { at, least_offset: least, reason, passed: last } => {
                    passed = last.map(|last| position + last as u64).or(passed);
                    let damaged = self.damaged_from(passed, position + at as u64, offset)?;
                    match self.behind_damage(damaged, least, offset)? {
                        Some(behind) => {
                            (position, least_offset) = (behind, least);
                            (length, from_index, passed) = (ordinary, None, None);
                        }
                        None => return Err(self.corruption(FileKind::Log, damaged, offset, reason).into()),
                    }
                }
                Scanned::WrongIndex => {
                    self.rebuild_indexes()?;
                    (position, _) = self.position_before(offset)?;
                    // If it is wrong again, then it is the batches.
                    from_index = None;
                }
            }
        }
    }

    /// A batch that was passed over, and behind which the wanted offset is not, did not rot: else it may be what holds it,
    /// and says that it ends before.
    fn check_passed(&self, passed: Option<u64>, offset: i64) -> Result<(), ReadError> {
        let Some(passed) = passed else { return Ok(()) };
        let mut walk = Walk::headers(self.reading_file()?, passed, self.size());
        if walk.is_whole_at(passed).map_err(|stop| self.stopped(stop, offset))? {
            return Ok(());
        }
        Err(self.corruption(FileKind::Log, passed, offset, "a batch that is not whole").into())
    }

    /// Where damage begins that was met at a position: with the batch before, when that does not check out. Its length may be
    /// what is wrong.
    fn damaged_from(&self, passed: Option<u64>, met: u64, offset: i64) -> Result<u64, ReadError> {
        let Some(passed) = passed.filter(|passed| *passed < met) else { return Ok(met) };
        let mut walk = Walk::headers(self.reading_file()?, passed, self.size());
        let whole = walk.is_whole_at(passed).map_err(|stop| self.stopped(stop, offset))?;
        Ok(if whole { met } else { passed })
    }

    /// Where the first good batch behind damaged bytes lies, if it does not begin behind `offset`: then that offset is not
    /// among those that the damage took.
    fn behind_damage(&self, damaged: u64, least_offset: i64, offset: i64) -> Result<Option<u64>, ReadError> {
        let failed = |stop| self.stopped(stop, offset);
        let mut walk = Walk::headers(self.reading_file()?, damaged, self.size());
        let Some(position) = walk.skip_damage(least_offset..self.end_offset()).map_err(failed)? else {
            return Ok(None);
        };
        let step = walk.next().map_err(failed)?;
        Ok(step.filter(|step| step.header.base_offset <= offset).map(|_| position))
    }

    fn stopped(&self, stop: Stop, offset: i64) -> ReadError {
        match stop {
            Stop::Io(error) => ReadError::io("read", &self.path(FileKind::Log))(error),
            Stop::Bad { position, reason } => self.corruption(FileKind::Log, position, offset, reason).into(),
        }
    }

    /// The batch that holds `offset`, or the first behind it. `None` at the end of the segment. Damage before it is passed
    /// over; damage that may hold it is the answer.
    pub(crate) fn locate(&self, offset: i64) -> Result<Option<Located>, ReadError> {
        let (mut position, entry) = self.position_before(offset)?;
        for from_index in [entry.is_some(), false] {
            let mut walk = Walk::headers(self.reading_file()?, position, self.size());
            // What comes next is the batch of the index's entry.
            let mut at_entry = from_index;
            let mut least_offset = self.base_offset;
            // What is wrong before the place where the walk goes on.
            let mut damage = None;
            // The last batch that was passed over unread.
            let mut passed = None;
            loop {
                let by_entry = std::mem::take(&mut at_entry);
                let stepped = walk.next();
                if let Ok(Some(step)) = &stepped
                    && by_entry
                    && entry == Some(step.header.last_offset())
                {
                    // The index agrees with its offsets.
                    least_offset = step.header.base_offset;
                }
                match stepped {
                    Ok(Some(step)) if by_entry && step.header.last_offset() > offset => break,
                    Ok(Some(step)) if step.header.last_offset() >= offset => {
                        // Its header may be what has rotted.
                        let whole =
                            walk.is_whole_at(step.position).map_err(|stop| self.stopped(stop, offset))?;
                        // No checksum covers its offset: the batch behind it tells, and the segment's end.
                        let next = walk.next_offset().map_err(|stop| self.stopped(stop, offset))?;
                        let contradicts = |next: i64| {
                            next < step.header.next_offset()
                                && next > step.header.base_offset.min(least_offset)
                        };
                        let fits = step.header.base_offset >= least_offset
                            && step.header.next_offset() <= self.end_offset()
                            && !next.is_some_and(contradicts);
                        if whole && !fits {
                            let reason = "a batch whose offset is not the next".to_owned();
                            damage = Some((step.position, reason));
                            continue;
                        }
                        if !whole {
                            let reason = "a batch that is not whole".to_owned();
                            let behind = walk.skip_damage(least_offset..self.end_offset());
                            match behind.map_err(|stop| self.stopped(stop, offset))? {
                                Some(_) => {
                                    damage = Some((step.position, reason));
                                    continue;
                                }
                                None => {
                                    let position = step.position;
                                    return Err(self
                                        .corruption(FileKind::Log, position, offset, reason)
                                        .into());
                                }
                            }
                        }
                        if step.header.base_offset > offset {
                            if let Some((position, reason)) = damage {
                                return Err(self.corruption(FileKind::Log, position, offset, reason).into());
                            }
                            self.check_passed(passed, offset)?;
                        }
                        return Ok(Some(Located { position: step.position, header: step.header }));
                    }
                    Ok(Some(step)) => {
                        // What lies before a good batch does not hold what is wanted behind it.
                        damage = (step.header.base_offset < least_offset)
                            .then(|| (step.position, "a batch whose offset is not the next".to_owned()));
                        passed = Some(step.position);
                        least_offset = least_offset.max(step.header.next_offset());
                    }
                    Ok(None) => return Ok(None),
                    Err(Stop::Bad { .. }) if by_entry => break,
                    Err(Stop::Bad { position, reason }) => {
                        let behind = walk.skip_damage(least_offset..self.end_offset());
                        match behind.map_err(|stop| self.stopped(stop, offset))? {
                            Some(_) => damage = Some((position, reason)),
                            None => {
                                return Err(self.corruption(FileKind::Log, position, offset, reason).into());
                            }
                        }
                    }
                    Err(Stop::Io(error)) => {
                        return Err(ReadError::io("read", &self.path(FileKind::Log))(error));
                    }
                }
            }
            self.rebuild_indexes()?;
            (position, _) = self.position_before(offset)?;
        }
        Ok(None)
    }

    /// The headers of the batches from the one that holds `offset`, or the first behind it, to the end of the segment. Each
    /// is checked as a whole: who passes over a batch by what its header says believes it.
    pub(crate) fn headers_from(&self, offset: i64) -> Result<Headers<'_>, ReadError> {
        let (position, least_offset) = match self.locate(offset)? {
            Some(located) => (located.position, located.header.base_offset),
            None => (self.size(), offset),
        };
        Ok(Headers {
            segment: self,
            walk: Walk::checked(self.reading_file()?, position, self.size()),
            least_offset,
        })
    }

    /// A batch that was located, read and checked.
    pub(crate) fn read_located(&self, located: &Located) -> Result<Batch, ReadError> {
        let bytes = self.load(located.position, located.header.size())?;
        Batch::verify(bytes).map_err(|error| {
            let offset = located.header.base_offset;
            self.corruption(FileKind::Log, located.position, offset, error.to_string()).into()
        })
    }

    /// How many of these batches, from the first on, are what lies in the file from a position on.
    pub(crate) fn count_same(&self, position: u64, batches: &[Batch]) -> Result<usize, ReadError> {
        let length = batches.iter().map(Batch::size).sum::<usize>();
        let length = length.min(self.size().saturating_sub(position) as usize);
        let bytes = self.load(position, length)?;
        let mut rest = &bytes[..];
        Ok(batches
            .iter()
            .take_while(|batch| {
                let same = rest.starts_with(batch.bytes());
                rest = rest.get(batch.size()..).unwrap_or_default();
                same
            })
            .count())
    }

    /// Bytes of the file; fewer than `length` only at the end of the file.
    pub(in crate::log) fn load(&self, position: u64, length: usize) -> Result<Bytes, ReadError> {
        let file = self.reading_file()?;
        let mut buffer = self.environment.buffers.take(length);
        let read = file
            .read_full_at(&mut buffer.as_mut()[..length], position)
            .map_err(|error| ReadError::io("read", &self.path(FileKind::Log))(error))?;
        Ok(buffer.into_bytes(read))
    }
}

/// Iterator of [`Segment::headers_from`]. Ends after an error.
pub(crate) struct Headers<'a> {
    segment: &'a Segment,
    walk: Walk,
    /// No batch that comes has a smaller one.
    least_offset: i64,
}

impl Headers<'_> {
    /// No checksum covers a batch's offset: the batches around it tell, and the segment's end.
    fn step(&mut self) -> Result<Option<Step>, Stop> {
        let Some(step) = self.walk.next()? else { return Ok(None) };
        let header = &step.header;
        let fits =
            header.base_offset >= self.least_offset && header.next_offset() <= self.segment.end_offset();
        if !fits || self.walk.contradicts(&step, self.least_offset)? {
            let reason = "a batch whose offset is not the next".to_owned();
            return Err(Stop::Bad { position: step.position, reason });
        }
        self.least_offset = header.next_offset();
        Ok(Some(step))
    }
}

impl Iterator for Headers<'_> {
    type Item = Result<Step, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map_err(|stop| self.segment.stopped(stop, self.least_offset)).transpose().inspect(
            |step| {
                if step.is_err() {
                    self.walk.stop();
                }
            },
        )
    }
}

/// A look through bytes that were read.
struct Scan<'a> {
    segment: &'a Segment,
    window: &'a Bytes,
    window_at: u64,
    /// Bytes of the segment from the window's position on.
    available: usize,
    /// The file ends there, although the segment does not.
    cut_off: bool,
    offset: i64,
    /// The window begins where an index entry points: at the batch with this last offset.
    from_index: Option<i64>,
    /// No batch of the window has a smaller offset. A batch's own checksum does not cover its offset: what does is that
    /// offsets grow.
    least_offset: i64,
    /// No batch of the segment has an offset from here on.
    end_offset: i64,
}

enum Scanned {
    Found {
        start: usize,
        end: usize,
        next_offset: i64,
        /// Of the first.
        base_offset: i64,
        /// The last batch that was passed over unread.
        passed: Option<usize>,
    },
    /// The next batch is too large, or not to be read yet.
    Nothing,
    EndOfSegment {
        /// The last batch that was passed over unread.
        passed: Option<usize>,
    },
    /// The next batch of interest begins here and needs so many bytes.
    ReadOn {
        at: usize,
        wanted: usize,
        least_offset: i64,
        /// The last batch that was passed over unread.
        passed: Option<usize>,
    },
    /// What lies here is no batch of the segment, and nothing wanted lies before it.
    Damaged {
        at: usize,
        least_offset: i64,
        reason: String,
        /// The last batch that was passed over unread.
        passed: Option<usize>,
    },
    WrongIndex,
}

impl Scan<'_> {
    fn run(&self, max_bytes: usize, upper: i64, one_at_least: bool) -> Result<Scanned, ReadError> {
        let mut at = 0;
        let mut start = None;
        let mut next_offset = self.offset;
        let mut least_offset = self.least_offset;
        let mut passed = None;
        let mut base_offset = self.offset;
        while at < self.available {
            let taken =
                start.map(|start| Scanned::Found { start, end: at, next_offset, base_offset, passed });
            let header = match self.header(at) {
                Ok(Some(header)) => header,
                // The window ends inside a header.
                Ok(None) => {
                    let wanted = BATCH_HEADER_LEN;
                    return Ok(taken.unwrap_or(Scanned::ReadOn { at, wanted, least_offset, passed }));
                }
                Err(_) if at == 0 && self.from_index.is_some() => return Ok(Scanned::WrongIndex),
                Err(reason) => {
                    return Ok(taken.unwrap_or(Scanned::Damaged { at, least_offset, reason, passed }));
                }
            };
            let size = header.size();
            if at == 0 && self.from_index.is_some_and(|last_offset| last_offset != header.last_offset()) {
                return Ok(Scanned::WrongIndex);
            }
            if at == 0 && self.from_index.is_some() {
                // The index agrees with its offsets.
                least_offset = header.base_offset;
            }
            if let Err(reason) = self.check_offsets(at, &header, least_offset) {
                return Ok(taken.unwrap_or(Scanned::Damaged { at, least_offset, reason, passed }));
            }
            if start.is_none() && header.last_offset() < self.offset {
                passed = Some(at);
                at += size;
                least_offset = header.next_offset();
                if at > self.window.len() {
                    return Ok(Scanned::ReadOn { at, wanted: BATCH_HEADER_LEN, least_offset, passed });
                }
                continue;
            }
            if header.next_offset() > upper {
                return Ok(taken.unwrap_or(Scanned::Nothing));
            }
            let first = start.is_none();
            if at + size - start.unwrap_or(at) > max_bytes && !(first && one_at_least) {
                return Ok(taken.unwrap_or(Scanned::Nothing));
            }
            let Some(batch) = self.window.get(at..at + size) else {
                return Ok(taken.unwrap_or(Scanned::ReadOn { at, wanted: size, least_offset, passed }));
            };
            if let Err(error) = BatchHeader::verify(batch) {
                let reason = error.to_string();
                return Ok(taken.unwrap_or(Scanned::Damaged { at, least_offset, reason, passed }));
            }
            if start.is_none() {
                (start, base_offset) = (Some(at), header.base_offset);
            }
            next_offset = header.next_offset();
            least_offset = next_offset;
            at += size;
        }
        match start {
            Some(start) => Ok(Scanned::Found { start, end: at, next_offset, base_offset, passed }),
            None if self.cut_off => {
                Err(self.corrupt(at, "the file ends here, the segment does not".to_owned()))
            }
            None => Ok(Scanned::EndOfSegment { passed }),
        }
    }

    /// Whether a batch's offsets can be right where it lies.
    fn check_offsets(&self, at: usize, header: &BatchHeader, least_offset: i64) -> Result<(), String> {
        if header.base_offset < least_offset {
            return Err(format!("offset {}, where {least_offset} or more belongs", header.base_offset));
        }
        if header.next_offset() > self.end_offset {
            return Err(format!("offset {}, the segment ends at {}", header.last_offset(), self.end_offset));
        }
        // With a gap before it, which compaction may have left, it is the next batch that tells.
        if header.base_offset > least_offset
            && let Some(next) = self.window.get(at + header.size()..)
            && let Some(next) = next.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes))
            && at + header.size() < self.available
            && next < header.next_offset()
            && next > least_offset
        {
            return Err(format!("offset {}, and the next batch begins at {next}", header.base_offset));
        }
        Ok(())
    }

    /// The header at a place of the window; `None` if the window ends before it does but the segment does not.
    fn header(&self, at: usize) -> Result<Option<BatchHeader>, String> {
        let bytes = &self.window[at..];
        let left = self.available - at;
        if bytes.len() < BATCH_HEADER_LEN && left >= BATCH_HEADER_LEN {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        header.check_bounds().map_err(|error| error.to_string())?;
        if header.size() > left {
            return Err(format!("a batch of {} bytes, and {left} are left", header.size()));
        }
        Ok(Some(header))
    }

    fn corrupt(&self, at: usize, reason: String) -> ReadError {
        self.segment.corruption(FileKind::Log, self.window_at + at as u64, self.offset, reason).into()
    }
}
