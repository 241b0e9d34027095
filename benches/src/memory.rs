//! Touching memory before a write run.
//!
//! On virtual machines the host takes freed memory back; the first touch of a page is then a fault into the host, which
//! makes appending to a new file several times as dear. Touched beforehand, every run finds the same.

use crate::procfs;

const PAGE: usize = 4096;

/// Touches this many bytes, but at most half of what is free, and gives them back.
pub(crate) fn touch(bytes: u64) {
    let bytes = bytes.min(procfs::available_memory() / 2);
    let mut block = vec![0_u8; usize::try_from(bytes).unwrap_or(0)];
    for page in block.chunks_mut(PAGE) {
        page[0] = 1;
    }
    std::hint::black_box(&block);
}
