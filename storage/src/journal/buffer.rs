//! The one buffer that everything goes through on its way to the journal.

use crate::disk::BLOCK_BYTES;

/// Reusable memory whose start is aligned to the block, as direct writes want it.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    /// Never grows after it was made, so that `start` stays aligned.
    memory: Vec<u8>,
    start: usize,
    capacity: usize,
    filled: usize,
}

impl AlignedBuffer {
    /// `capacity` is a multiple of the block.
    pub(crate) fn new(capacity: usize) -> AlignedBuffer {
        assert!(capacity > 0 && capacity.is_multiple_of(BLOCK_BYTES), "capacity is whole blocks");
        let memory = vec![0; capacity + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "a byte pointer can always be aligned");
        AlignedBuffer { memory, start, capacity, filled: 0 }
    }

    /// Takes as much of `bytes` as fits; returns what did not.
    pub(crate) fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let taken = bytes.len().min(self.capacity - self.filled);
        let at = self.start + self.filled;
        self.memory[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        &bytes[taken..]
    }

    /// Fills up with zeros to the next block.
    pub(crate) fn pad(&mut self) {
        let padded = self.filled.next_multiple_of(BLOCK_BYTES);
        self.memory[self.start + self.filled..self.start + padded].fill(0);
        self.filled = padded;
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_pads_and_stays_aligned() {
        let mut buffer = AlignedBuffer::new(2 * BLOCK_BYTES);
        assert_eq!(buffer.push(&[1; 5000]), &[] as &[u8]);
        buffer.pad();
        assert_eq!(buffer.filled().len(), 2 * BLOCK_BYTES);
        assert_eq!(buffer.filled().as_ptr().align_offset(BLOCK_BYTES), 0);
        assert!(buffer.filled()[5000..].iter().all(|&byte| byte == 0));
        assert_eq!(buffer.push(&[2; 10]).len(), 10);
        buffer.clear();
        assert_eq!(buffer.push(&[3; 3 * BLOCK_BYTES]).len(), BLOCK_BYTES);
    }
}
