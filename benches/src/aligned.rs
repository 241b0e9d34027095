//! Memory that direct writes accept.

/// Alignment of direct reads and writes in memory, length and position.
pub(crate) const BLOCK: usize = 4096;

/// Zeroed memory whose start is aligned to [`BLOCK`].
pub(crate) struct Aligned {
    /// Never grows, so that `start` stays aligned.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    pub(crate) fn new(length: usize) -> Self {
        let memory = vec![0; length + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        Self { memory, start, length }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_block() {
        let mut aligned = Aligned::new(3 * BLOCK);
        assert_eq!(aligned.bytes_mut().as_ptr().align_offset(BLOCK), 0);
        assert_eq!(aligned.bytes_mut().len(), 3 * BLOCK);
    }
}
