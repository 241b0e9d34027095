//! One file of the simulated disk.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::tree::Node;
use super::{Call, Failing, Random, SimDisk, State, crash, matches};
use crate::disk::{BLOCK_BYTES, DiskFile};

/// A write that fails ends at such a boundary.
const SECTOR_BYTES: usize = 512;

/// What a crash leaves of pending writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Survival {
    Nothing,
    Everything,
    /// All before one point, and a part of the write at that point.
    Beginning {
        block: usize,
    },
    /// Any blocks of any writes.
    AnyBlocks {
        block: usize,
    },
}

impl Survival {
    pub(super) fn choose(random: &mut Random) -> Survival {
        let block = if random.one_in(2) { 512 } else { BLOCK_BYTES };
        match random.below(8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2..=4 => Survival::Beginning { block },
            _ => Survival::AnyBlocks { block },
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Flushes that lost something. Each handle that was open then is told once.
    failures: u64,
}

#[derive(Debug)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.current.len() as u64
    }

    pub(super) fn rot(&mut self, position: u64, mask: u8) -> io::Result<()> {
        let position = position as usize;
        let byte = self.current.get_mut(position).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= mask;
        if let Some(byte) = self.durable.get_mut(position) {
            *byte ^= mask;
        }
        Ok(())
    }

    pub(super) fn plant(&mut self, bytes: &[u8]) {
        self.pending.clear();
        self.current = bytes.to_vec();
        self.durable = bytes.to_vec();
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let position = usize::try_from(position).unwrap_or(usize::MAX).min(self.current.len());
        let length = buffer.len().min(self.current.len() - position);
        buffer[..length].copy_from_slice(&self.current[position..position + length]);
        length
    }

    fn write(&mut self, position: usize, bytes: Vec<u8>) {
        put(&mut self.current, position, &bytes);
        self.pending.push(Change::Write { position, bytes });
    }

    fn set_len(&mut self, length: usize) {
        self.current.resize(length, 0);
        self.pending.push(Change::Length(length));
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { position, bytes } => put(&mut self.durable, position, &bytes),
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// What a failed flush leaves: the pages count as clean, and nothing reached the device.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
        self.failures += 1;
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn crash(&mut self, survival: Survival, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let turning_point = random.below(pending.len() as u64 + 1) as usize;
        for (number, change) in pending.into_iter().enumerate() {
            let (keep, block) = match survival {
                Survival::Nothing => break,
                Survival::Everything => (Keep::All, BLOCK_BYTES),
                Survival::Beginning { .. } if number < turning_point => (Keep::All, BLOCK_BYTES),
                Survival::Beginning { block } if number == turning_point => (Keep::Some, block),
                Survival::Beginning { .. } => break,
                Survival::AnyBlocks { block } => (Keep::Some, block),
            };
            match change {
                Change::Write { position, bytes } => match keep {
                    Keep::All => put(&mut self.durable, position, &bytes),
                    Keep::Some => put_some_blocks(&mut self.durable, position, &bytes, block, random),
                },
                Change::Length(length) => {
                    if matches!(keep, Keep::All) || random.one_in(2) {
                        self.durable.resize(length, 0);
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[derive(Debug, Clone, Copy)]
enum Keep {
    All,
    Some,
}

fn put(file: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    let end = position + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[position..end].copy_from_slice(bytes);
}

fn put_some_blocks(file: &mut Vec<u8>, position: usize, bytes: &[u8], block: usize, random: &mut Random) {
    let mut done = 0;
    while done < bytes.len() {
        let room = block - (position + done) % block;
        let end = (done + room).min(bytes.len());
        if random.one_in(2) {
            put(file, position + done, &bytes[done..end]);
        }
        done = end;
    }
}

/// A handle.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) node: Node,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
    pub(super) direct: bool,
    pub(super) generation: u64,
    /// So many failures of the file's flushes are this handle's past.
    pub(super) told: AtomicU64,
}

impl SimFile {
    fn check(&self, state: &State) -> io::Result<()> {
        state.alive()?;
        if state.generation == self.generation { Ok(()) } else { Err(crash()) }
    }

    fn check_aligned(&self, address: usize, length: usize, position: u64) -> io::Result<()> {
        let aligned = |value: usize| value.is_multiple_of(BLOCK_BYTES);
        if !self.direct || (aligned(address) && aligned(length) && aligned(position as usize)) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "direct access that is not aligned to the block"))
    }

    /// A flush of this file, with the faults it may have. The error, if any, is the caller's answer.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        if matches(state.faults.failing_flushes.as_ref(), &self.path)
            || state.fails(Failing::Flush, &self.path)
        {
            state.tree.file_mut(self.node)?.forget();
        }
        let failures = state.tree.file_mut(self.node)?.failures();
        if self.told.swap(failures, Ordering::Relaxed) < failures {
            return Err(state.flush_failure());
        }
        if !matches(state.faults.lying_flushes.as_ref(), &self.path) {
            state.tree.file_mut(self.node)?.sync();
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = &mut *self.disk.state.lock();
        self.check(state)?;
        self.check_aligned(buffer.as_ptr() as usize, buffer.len(), position)?;
        if matches(state.faults.failing_reads.as_ref(), &self.path) {
            return Err(io::Error::other("simulated read failure"));
        }
        let mut length = buffer.len();
        if state.faults.short_reads && !self.direct && length > 1 && state.random.one_in(4) {
            length = 1 + state.random.below(length as u64 - 1) as usize;
        }
        Ok(state.tree.file_mut(self.node)?.read(&mut buffer[..length], position))
    }

    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        {
            let state = self.disk.state.lock();
            self.check(&state)?;
        }
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut aligned_at = position;
        for slice in slices {
            self.check_aligned(slice.as_ptr() as usize, slice.len(), aligned_at)?;
            aligned_at += slice.len() as u64;
        }
        let mut bytes = slices.iter().fold(Vec::new(), |mut all, slice| {
            all.extend_from_slice(slice);
            all
        });
        let (mut state, crashing) = self.disk.begin(Call::Write, &self.path, position)?;
        let state = &mut *state;
        state.note(&bytes);
        let end = position + bytes.len() as u64;
        let mut full = false;
        if let Some(capacity) = state.faults.capacity_bytes {
            let length = state.tree.file_mut(self.node)?.len();
            let room = capacity.saturating_sub(state.tree.used_bytes());
            let writable_to = length.saturating_add(room);
            if end > writable_to {
                full = true;
                bytes.truncate(writable_to.saturating_sub(position) as usize);
            }
        }
        let failing = state.fails(Failing::Write, &self.path);
        if failing {
            let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
            bytes.truncate(state.random.below(sectors + 1) as usize * SECTOR_BYTES);
        }
        if !bytes.is_empty() {
            state.tree.file_mut(self.node)?.write(position as usize, bytes);
        }
        if crashing {
            return Err(crash());
        }
        if failing {
            return Err(state.failure("simulated write failure"));
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.direct { self.flush(state) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        {
            let state = self.disk.state.lock();
            self.check(&state)?;
        }
        let (mut state, crashing) = self.disk.begin(Call::SyncData, &self.path, 0)?;
        if crashing { Err(crash()) } else { self.flush(&mut state) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        {
            let state = self.disk.state.lock();
            self.check(&state)?;
        }
        let (mut state, crashing) = self.disk.begin(Call::SetLen, &self.path, length)?;
        state.tree.file_mut(self.node)?.set_len(length as usize);
        if crashing { Err(crash()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let state = &mut *self.disk.state.lock();
        self.check(state)?;
        Ok(state.tree.file_mut(self.node)?.len())
    }

    fn durable_writes(&self) -> bool {
        self.direct
    }
}
