//! Responses on their way to the socket, written as the segments they were built from.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::memory::HeldMemory;
use super::service::Answer;
use super::settings::{SEGMENTS_PER_WRITE, SLOWEST_RESPONSE_BYTES_PER_SECOND};

/// The segments that are not yet written, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    segments: VecDeque<Bytes>,
    /// Given back when everything is written.
    held: Vec<HeldMemory>,
}

impl Outgoing {
    pub(super) fn push(&mut self, answer: Answer) {
        self.segments.extend(answer.segments.into_iter().filter(|segment| !segment.is_empty()));
        self.held.extend(answer.held);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Writes everything; fails when the peer takes it slower than [`SLOWEST_RESPONSE_BYTES_PER_SECOND`] after a
    /// grace of `patience`.
    pub(super) async fn write_all<W: AsyncWrite + Unpin>(
        &mut self,
        sink: &mut W,
        patience: Duration,
    ) -> io::Result<()> {
        let total: usize = self.segments.iter().map(Bytes::len).sum();
        let slowest = Duration::from_secs((total / SLOWEST_RESPONSE_BYTES_PER_SECOND) as u64);
        tokio::time::timeout(patience + slowest, self.write(sink)).await.unwrap_or_else(|_elapsed| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not take its response"))
        })
    }

    async fn write<W: AsyncWrite + Unpin>(&mut self, sink: &mut W) -> io::Result<()> {
        while !self.segments.is_empty() {
            let written = std::future::poll_fn(|cx| {
                let mut slices = [IoSlice::new(&[]); SEGMENTS_PER_WRITE];
                let mut count = 0;
                for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                    *slice = IoSlice::new(segment);
                    count += 1;
                }
                Pin::new(&mut *sink).poll_write_vectored(cx, &slices[..count])
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        self.held.clear();
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.segments.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn segments_are_written_in_order_through_any_window() {
        let mut outgoing = Outgoing::default();
        let mut expected = Vec::new();
        for index in 0_u8..200 {
            let segment = vec![index; usize::from(index % 7) * 13];
            expected.extend_from_slice(&segment);
            outgoing.push(vec![Bytes::from(segment)].into());
        }
        let (mut near, mut far) = tokio::io::duplex(50);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        });
        outgoing.write_all(&mut near, Duration::from_secs(5)).await.unwrap();
        drop(near);
        assert!(outgoing.is_empty());
        assert_eq!(reader.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![Bytes::from_static(&[1; 100])].into());
        let (mut near, _far) = tokio::io::duplex(10);
        let error = outgoing.write_all(&mut near, Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
