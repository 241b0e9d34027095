//! Buffers for reads, used again: the first touch of fresh memory costs more than the read itself.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Smaller buffers are not worth keeping.
const SMALLEST_KEPT: usize = 16 << 10;
/// Larger ones would sit there for a rare reader.
const LARGEST_KEPT: usize = 8 << 20;

/// A pool of read buffers, shared by all partitions of a store.
///
/// A buffer comes back when the last slice of it is dropped, that is when a response has gone out.
#[derive(Debug)]
pub struct ReadBuffers {
    free: Mutex<Free>,
    max_kept_bytes: usize,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl ReadBuffers {
    /// A pool that keeps at most so many bytes that nobody uses.
    pub fn new(max_kept_bytes: usize) -> Arc<ReadBuffers> {
        Arc::new(ReadBuffers { free: Mutex::default(), max_kept_bytes })
    }

    /// A buffer of at least `length` initialised bytes; their content is left over from earlier use.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> ReadBuffer {
        let mut free = self.free.lock();
        // The last that fits and is not wasteful: most recently used, so most likely still in the cache.
        let found =
            free.buffers.iter().rposition(|b| b.len() >= length && b.len() / 4 <= length.max(SMALLEST_KEPT));
        let buffer = match found {
            Some(at) => {
                let buffer = free.buffers.remove(at);
                free.bytes -= buffer.len();
                buffer
            }
            None => {
                drop(free);
                // Whole powers of two, so that buffers of similar readers fit each other.
                let capacity = if (SMALLEST_KEPT..=LARGEST_KEPT).contains(&length) {
                    length.next_power_of_two()
                } else {
                    length
                };
                vec![0; capacity]
            }
        };
        ReadBuffer { buffer, pool: Arc::clone(self) }
    }
}

/// A buffer that goes back to its pool when dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    buffer: Vec<u8>,
    pool: Arc<ReadBuffers>,
}

impl ReadBuffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// The first `length` bytes, to be sliced and shared.
    pub(crate) fn into_bytes(self, length: usize) -> Bytes {
        Bytes::from_owner(self).slice(..length)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let length = self.buffer.len();
        if !(SMALLEST_KEPT..=LARGEST_KEPT).contains(&length) {
            return;
        }
        let mut free = self.pool.free.lock();
        if free.bytes + length <= self.pool.max_kept_bytes {
            free.bytes += length;
            free.buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let pool = ReadBuffers::new(1 << 20);
        let mut buffer = pool.take(100_000);
        buffer.as_mut()[0] = 7;
        let address = buffer.as_ref().as_ptr();
        let bytes = buffer.into_bytes(50);
        let slice = bytes.slice(..1);
        drop(bytes);
        assert_eq!(pool.free.lock().buffers.len(), 0, "somebody still holds a slice");
        assert_eq!(slice[0], 7);
        drop(slice);
        assert_eq!(pool.take(90_000).as_ref().as_ptr(), address);
    }

    #[test]
    fn the_pool_keeps_no_more_than_it_may() {
        let pool = ReadBuffers::new(1 << 20);
        let held: Vec<_> = (0..40).map(|_| pool.take(64 << 10)).collect();
        drop(held);
        drop(pool.take(100));
        drop(pool.take(LARGEST_KEPT + 1));
        assert_eq!(pool.free.lock().bytes, 1 << 20);
        assert_eq!(pool.free.lock().buffers.len(), 16);
        assert_eq!(pool.take(10).as_ref().len(), 64 << 10, "the waste is bounded");
        assert_eq!(pool.take(200 << 10).as_ref().len(), 256 << 10, "too small ones are left");
    }
}
