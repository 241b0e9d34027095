//! Frames off a socket: a 4-byte length, then that many bytes.
//!
//! ```text
//! length ──checked──► memory taken from the budget ──► body read ──► one Bytes
//! ```
//!
//! Nothing is allocated for a request before its length was checked and its memory granted. Small
//! requests are cut out of the read-ahead block they arrived in; a large one is read straight into a
//! buffer of its own, so that its record batches stay where the socket put them.
//! Every step can be interrupted and goes on where it was.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::memory::{MemoryQueue, RequestHolds, RequestMemory};
use super::opening::Opening;
use super::settings::{FRAME_GRACE, READ_AHEAD_BYTES, SLOWEST_REQUEST_BYTES_PER_SECOND};

/// A complete request and the memory that is charged for it.
#[derive(Debug)]
pub(super) struct Received {
    /// Header and body, without the length field.
    pub(super) bytes: Bytes,
    pub(super) memory: RequestHolds,
}

/// What came off the socket.
#[derive(Debug)]
pub(super) enum Incoming {
    Request(Received),
    /// An HTTP/2 client: [`FrameReader::into_read`] has the bytes that belong to it.
    Http2,
}

/// Why nothing more comes off the socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadEnd {
    #[error("closed by the peer")]
    Closed,
    #[error("closed by the peer in the middle of a request")]
    Truncated,
    #[error("a request of {length} bytes, the limit is {limit}")]
    Length { length: i32, limit: usize },
    #[error("not a client of ours: {0}")]
    Stranger(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads requests from one connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    block: BytesMut,
    stage: Stage,
    limit: usize,
    opened: bool,
    /// When the request that has begun must be complete.
    deadline: Option<Instant>,
    memory: MemoryQueue,
}

#[derive(Debug)]
enum Stage {
    Length,
    Memory {
        length: u32,
    },
    /// Arrives in the read-ahead block.
    Small {
        length: usize,
        memory: RequestHolds,
    },
    /// Arrives in a buffer of its own.
    Large {
        length: usize,
        body: BytesMut,
        memory: RequestHolds,
    },
}

impl FrameReader {
    pub(super) fn new(memory: &RequestMemory, limit: usize) -> Self {
        Self {
            block: BytesMut::new(),
            stage: Stage::Length,
            limit,
            opened: false,
            deadline: None,
            memory: memory.queue(),
        }
    }

    /// A large request is on its way: its length was checked, its memory was granted or is waited for.
    pub(super) fn is_receiving_large(&self) -> bool {
        match self.stage {
            Stage::Memory { length } => length as usize > READ_AHEAD_BYTES,
            Stage::Large { .. } => true,
            Stage::Length | Stage::Small { .. } => false,
        }
    }

    /// When the request that has begun must be complete; `None` between requests.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What was read and belongs to no request.
    pub(super) fn into_read(self) -> Bytes {
        self.block.freeze()
    }

    /// The next request.
    pub(super) fn poll_next<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
        context: &mut Context<'_>,
    ) -> Poll<Result<Incoming, ReadEnd>> {
        loop {
            match &mut self.stage {
                Stage::Length => {
                    if self.block.len() < 4 {
                        let begun = !self.block.is_empty();
                        if begun && self.deadline.is_none() {
                            self.deadline = Some(Instant::now() + FRAME_GRACE);
                        }
                        ready!(self.poll_fill(4, source, context))?;
                        continue;
                    }
                    let first = [self.block[0], self.block[1], self.block[2], self.block[3]];
                    if !self.opened {
                        match Opening::of(first, self.limit) {
                            Opening::Kafka => self.opened = true,
                            Opening::Http2 => return Poll::Ready(Ok(Incoming::Http2)),
                            Opening::Stranger(what) => return Poll::Ready(Err(ReadEnd::Stranger(what))),
                        }
                    }
                    let length = i32::from_be_bytes(first);
                    let Some(checked) = u32::try_from(length).ok().filter(|&l| l as usize <= self.limit)
                    else {
                        return Poll::Ready(Err(ReadEnd::Length { length, limit: self.limit }));
                    };
                    let _length_field = self.block.split_to(4);
                    self.stage = Stage::Memory { length: checked };
                }
                Stage::Memory { length } => {
                    let memory = ready!(self.memory.poll_take(context, *length));
                    let length = *length as usize;
                    // The clock of the transfer starts when there is room for it, not while it queues.
                    let slowest = Duration::from_secs((length / SLOWEST_REQUEST_BYTES_PER_SECOND) as u64);
                    self.deadline = Some(Instant::now() + FRAME_GRACE + slowest);
                    self.stage = if length <= READ_AHEAD_BYTES {
                        Stage::Small { length, memory }
                    } else {
                        let mut body = BytesMut::with_capacity(length);
                        let arrived = self.block.len().min(length);
                        body.extend_from_slice(&self.block.split_to(arrived));
                        Stage::Large { length, body, memory }
                    };
                }
                Stage::Small { length, .. } => {
                    let length = *length;
                    if self.block.len() < length {
                        ready!(self.poll_fill(length, source, context))?;
                        continue;
                    }
                    let bytes = self.block.split_to(length).freeze();
                    return Poll::Ready(Ok(self.complete(bytes)));
                }
                Stage::Large { length, body, .. } => {
                    let missing = *length - body.len();
                    if missing == 0 {
                        let bytes = std::mem::take(body).freeze();
                        return Poll::Ready(Ok(self.complete(bytes)));
                    }
                    let mut rest = body.limit(missing);
                    if ready!(poll_read_buf(Pin::new(source), context, &mut rest))? == 0 {
                        return Poll::Ready(Err(ReadEnd::Truncated));
                    }
                }
            }
        }
    }

    /// Ready when the peer has closed. What it sends meanwhile is kept as read-ahead, as far as that goes.
    pub(super) fn poll_closed<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut R,
        context: &mut Context<'_>,
    ) -> Poll<ReadEnd> {
        while self.block.len() < READ_AHEAD_BYTES {
            let wanted = self.block.len() + 1;
            if let Err(end) = ready!(self.poll_fill(wanted, source, context)) {
                return Poll::Ready(end);
            }
        }
        // More than a block is waiting: the peer is there.
        Poll::Pending
    }

    /// One read into the block, which has room for at least `wanted` bytes in all.
    fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        wanted: usize,
        source: &mut R,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ReadEnd>> {
        debug_assert!(self.block.len() < wanted && wanted <= READ_AHEAD_BYTES);
        if self.block.capacity() < wanted {
            self.block.reserve(READ_AHEAD_BYTES - self.block.len());
        }
        let mut rest = (&mut self.block).limit(READ_AHEAD_BYTES);
        if ready!(poll_read_buf(Pin::new(source), context, &mut rest))? == 0 {
            let between = self.block.is_empty() && matches!(self.stage, Stage::Length);
            return Poll::Ready(Err(if between { ReadEnd::Closed } else { ReadEnd::Truncated }));
        }
        Poll::Ready(Ok(()))
    }

    fn complete(&mut self, bytes: Bytes) -> Incoming {
        self.deadline = None;
        match std::mem::replace(&mut self.stage, Stage::Length) {
            Stage::Small { memory, .. } | Stage::Large { memory, .. } => {
                Incoming::Request(Received { bytes, memory })
            }
            Stage::Length | Stage::Memory { .. } => unreachable!("a request is complete only with its body"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn next<R: AsyncRead + Unpin>(reader: &mut FrameReader, source: &mut R) -> Result<Bytes, ReadEnd> {
        match poll_fn(|cx| reader.poll_next(source, cx)).await? {
            Incoming::Request(received) => Ok(received.bytes),
            Incoming::Http2 => panic!("not an HTTP/2 preface"),
        }
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[tokio::test]
    async fn frames_of_all_sizes_arrive_whole_however_they_are_cut() {
        let sizes = [0, 1, 3, 100, READ_AHEAD_BYTES - 1, READ_AHEAD_BYTES, READ_AHEAD_BYTES + 1, 200_000, 7];
        for chunk in [1, 7, 1000, 8192, 1 << 20] {
            let memory = RequestMemory::new(1 << 20, 1 << 20);
            let (mut near, mut far) = tokio::io::duplex(16 * 1024);
            let writer = tokio::spawn(async move {
                let mut all = Vec::new();
                for (index, size) in sizes.into_iter().enumerate() {
                    all.extend(frame(&vec![u8::try_from(index).unwrap(); size]));
                }
                for piece in all.chunks(chunk) {
                    near.write_all(piece).await.unwrap();
                }
            });
            let mut reader = FrameReader::new(&memory, 1 << 20);
            for (index, size) in sizes.into_iter().enumerate() {
                let bytes = next(&mut reader, &mut far).await.unwrap();
                assert_eq!(bytes.len(), size);
                assert!(bytes.iter().all(|&byte| usize::from(byte) == index));
            }
            writer.await.unwrap();
            assert!(matches!(next(&mut reader, &mut far).await, Err(ReadEnd::Closed)));
            assert_eq!(memory.held(), 0);
        }
    }

    #[tokio::test]
    async fn a_large_body_is_not_shared_with_anything() {
        let memory = RequestMemory::new(1 << 20, 1 << 20);
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        near.write_all(&frame(&[9; 100_000])).await.unwrap();
        let mut reader = FrameReader::new(&memory, 1 << 20);
        let bytes = next(&mut reader, &mut far).await.unwrap();
        let slice = bytes.slice(50..99_000);
        drop(bytes);
        assert!(slice.try_into_mut().is_ok(), "the batch of a large request can be stamped in place");
    }

    #[tokio::test]
    async fn hostile_lengths_cost_nothing() {
        for length in [-1, i32::MIN, i32::MAX, 1001] {
            let memory = RequestMemory::new(1 << 20, 1 << 20);
            let (mut near, mut far) = tokio::io::duplex(64);
            near.write_all(&frame(b"first")).await.unwrap();
            near.write_all(&length.to_be_bytes()).await.unwrap();
            let mut reader = FrameReader::new(&memory, 1000);
            next(&mut reader, &mut far).await.unwrap();
            let end = next(&mut reader, &mut far).await.unwrap_err();
            assert!(matches!(end, ReadEnd::Length { length: l, limit: 1000 } if l == length), "{end}");
            assert_eq!(memory.held(), 0);
            assert!(reader.block.capacity() <= 2 * READ_AHEAD_BYTES);
        }
    }

    #[tokio::test]
    async fn a_body_waits_for_memory_before_it_is_read() {
        let memory = RequestMemory::new(100_000, 80_000);
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        near.write_all(&frame(&[1; 60_000])).await.unwrap();
        near.write_all(&frame(&[2; 60_000])).await.unwrap();
        let mut reader = FrameReader::new(&memory, 1 << 20);
        let first = match poll_fn(|cx| reader.poll_next(&mut far, cx)).await.unwrap() {
            Incoming::Request(received) => received,
            Incoming::Http2 => panic!(),
        };
        let waiting = futures::poll!(poll_fn(|cx| reader.poll_next(&mut far, cx)));
        assert!(waiting.is_pending());
        assert!(matches!(reader.stage, Stage::Memory { .. }), "nothing is allocated while waiting");
        drop(first);
        assert_eq!(next(&mut reader, &mut far).await.unwrap().len(), 60_000);
    }

    #[tokio::test]
    async fn a_request_that_stops_short_is_told_from_a_clean_end() {
        let memory = RequestMemory::new(1 << 20, 1 << 20);
        for cut in [1, 4, 7] {
            let (mut near, mut far) = tokio::io::duplex(64);
            near.write_all(&frame(b"abcdef")[..cut]).await.unwrap();
            drop(near);
            let mut reader = FrameReader::new(&memory, 1000);
            assert!(matches!(next(&mut reader, &mut far).await, Err(ReadEnd::Truncated)));
        }
    }

    #[tokio::test]
    async fn http2_is_recognised_and_its_bytes_are_kept() {
        let memory = RequestMemory::new(1 << 20, 1 << 20);
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut reader = FrameReader::new(&memory, 1000);
        assert!(matches!(poll_fn(|cx| reader.poll_next(&mut far, cx)).await, Ok(Incoming::Http2)));
        assert!(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".starts_with(&reader.into_read()));
    }
}
