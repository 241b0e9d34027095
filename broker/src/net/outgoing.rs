//! Responses on their way to the socket, written as the segments they were built from.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

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

    /// Writes everything; fails when the peer takes no byte for as long as `patience`, or takes it all slower than
    /// [`SLOWEST_RESPONSE_BYTES_PER_SECOND`] after a grace of that.
    pub(super) async fn write_all<W: AsyncWrite + Unpin>(
        &mut self,
        sink: &mut W,
        patience: Duration,
    ) -> io::Result<()> {
        let total: usize = self.segments.iter().map(Bytes::len).sum();
        let slowest = Duration::from_secs((total / SLOWEST_RESPONSE_BYTES_PER_SECOND) as u64);
        let end = Instant::now() + patience + slowest;
        while !self.segments.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let writing = std::future::poll_fn(|cx| {
                let mut slices = [IoSlice::new(&[]); SEGMENTS_PER_WRITE];
                let mut count = 0;
                for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                    *slice = IoSlice::new(segment);
                    count += 1;
                }
                Pin::new(&mut *sink).poll_write_vectored(cx, &slices[..count])
            });
            let timed_out = |_elapsed| {
                let what = if left < patience {
                    "takes its response too slowly"
                } else {
                    "takes nothing of its response"
                };
                io::Error::new(io::ErrorKind::TimedOut, format!("the peer {what}"))
            };
            let written = tokio::time::timeout(left.min(patience), writing).await.map_err(timed_out)??;
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

    /// The more there is to write the more time it has, but not to take nothing.
    #[tokio::test]
    async fn a_large_response_gives_no_leave_to_stall() {
        let patience = Duration::from_millis(100);
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![Bytes::from(vec![1; 100 * SLOWEST_RESPONSE_BYTES_PER_SECOND])].into());
        let (mut near, _far) = tokio::io::duplex(1000);
        let began = Instant::now();
        let error = outgoing.write_all(&mut near, patience).await.unwrap_err();
        assert!(error.to_string().contains("takes nothing"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(50), "a hundred seconds are for who takes something");
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_at_a_time_is_given_up_in_the_end() {
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![Bytes::from(vec![1; SLOWEST_RESPONSE_BYTES_PER_SECOND])].into());
        let (mut near, mut far) = tokio::io::duplex(10);
        tokio::spawn(async move {
            let mut buffer = [0; 10];
            while far.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let patience = Duration::from_millis(500);
        let began = Instant::now();
        let error = outgoing.write_all(&mut near, patience).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() > Duration::from_secs(1), "it had a second for what it is, and the patience");
    }
}
