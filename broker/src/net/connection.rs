//! One connection: requests in, responses out, both in arrival order.
//!
//! ```text
//! socket ─► FrameReader ─► Service::serve ─► in flight (oldest first) ─► Outgoing ─► socket
//! ```
//!
//! - Requests are begun in arrival order and answered in arrival order.
//! - Overlapping requests (produce) are begun while earlier ones still wait for the disk, up to
//!   [`MAX_IN_FLIGHT`]; every other request waits until all before it are answered.
//! - The connection is one task: nothing is spawned for a request, and a request that parks delays
//!   nobody else.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::frame_reader::{FrameReader, Incoming, ReadEnd, Received};
use super::memory::{RequestHolds, RequestMemory};
use super::outgoing::Outgoing;
use super::service::{CloseReason, Later, Peer, Reply, Served, Service, Turn};
use super::settings::{MAX_IN_FLIGHT, NetSettings};

/// When a time limit that is suspended by work in flight is looked at again.
const LATER: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error(transparent)]
    Read(#[from] ReadEnd),
    #[error("cannot write: {0}")]
    Write(io::Error),
    #[error(transparent)]
    Refused(#[from] CloseReason),
    #[error("idle")]
    Idle,
    #[error("no valid request in time")]
    NeverIntroduced,
    #[error("a request that does not arrive completely")]
    TooSlow,
    #[error("the broker stops")]
    Stopping,
}

impl Ending {
    /// Whether the peer did something that an operator may want to know.
    pub(super) fn is_remarkable(&self) -> bool {
        match self {
            Self::Read(ReadEnd::Closed | ReadEnd::Truncated | ReadEnd::Io(_)) => false,
            // It held memory that others wanted.
            Self::Write(error) => error.kind() == io::ErrorKind::TimedOut,
            Self::Idle | Self::NeverIntroduced | Self::Stopping => false,
            Self::Read(_) | Self::Refused(_) | Self::TooSlow => true,
        }
    }
}

/// How a connection's Kafka life ended.
pub(super) enum Outcome<I> {
    Ended(Ending),
    /// The peer speaks HTTP/2; these bytes were read from it.
    Http2 {
        read: Bytes,
        io: I,
    },
}

/// Serves Kafka's protocol over a stream that its owner has opened, until the connection ends.
pub async fn serve_stream<S: Service, I: AsyncRead + AsyncWrite + Unpin + Send>(
    service: Arc<S>,
    peer: Peer,
    io: I,
    settings: Arc<NetSettings>,
    memory: &RequestMemory,
    stop: &CancellationToken,
) {
    match Connection::new(service, peer, io, settings, memory, stop).run().await {
        Outcome::Ended(ending) => tracing::debug!(address = %peer.address, "connection closed: {ending}"),
        Outcome::Http2 { .. } => {
            tracing::debug!(address = %peer.address, "connection closed: gRPC is not served")
        }
    }
}

/// A connection and everything it holds.
pub(super) struct Connection<S: Service, I> {
    service: Arc<S>,
    session: S::Session,
    wire: Wire<I>,
}

/// The part that moves bytes, apart from the session so that both can be borrowed at once.
struct Wire<I> {
    io: I,
    reader: FrameReader,
    in_flight: VecDeque<InFlight>,
    outgoing: Outgoing,
    settings: Arc<NetSettings>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
    opened: Instant,
    active: Instant,
    /// One request was valid: the peer speaks our protocol.
    introduced: bool,
}

struct InFlight {
    reply: Waiting,
    /// Given back when the request is answered.
    _memory: RequestHolds,
}

enum Waiting {
    For(Later),
    Known(Reply),
}

enum Event {
    Begin(Received),
    Http2,
    Write,
    Ended(Ending),
}

impl<S: Service, I: AsyncRead + AsyncWrite + Unpin + Send> Connection<S, I> {
    pub(super) fn new(
        service: Arc<S>,
        peer: Peer,
        io: I,
        settings: Arc<NetSettings>,
        memory: &RequestMemory,
        stop: &CancellationToken,
    ) -> Self {
        let session = service.open(peer);
        let now = Instant::now();
        let wire = Wire {
            io,
            reader: FrameReader::new(memory, settings.max_request_bytes),
            in_flight: VecDeque::new(),
            outgoing: Outgoing::default(),
            timer: Box::pin(sleep_until(now + settings.first_request_timeout)),
            settings,
            stop: Box::pin(stop.clone().cancelled_owned()),
            opened: now,
            active: now,
            introduced: false,
        };
        Self { service, session, wire }
    }

    /// Serves until the connection ends.
    pub(super) async fn run(mut self) -> Outcome<I> {
        loop {
            let ended = match self.wire.event().await {
                Event::Begin(received) => self.begin(received).await,
                Event::Write => self.wire.write().await,
                Event::Http2 => {
                    return Outcome::Http2 { read: self.wire.reader.into_read(), io: self.wire.io };
                }
                Event::Ended(ending) => Err(ending),
            };
            if let Err(ending) = ended {
                return Outcome::Ended(self.wire.end(ending).await);
            }
        }
    }

    async fn begin(&mut self, received: Received) -> Result<(), Ending> {
        let Self { service, session, wire } = self;
        let turn = service.turn(&received.bytes);
        if turn != Turn::Overlaps {
            wire.answer_all().await?;
        }
        let Received { bytes, memory } = received;
        let served = wire.while_serving(turn, pin!(service.serve(session, bytes))).await?;
        wire.active = Instant::now();
        let reply = match served {
            Served::Now(reply) => Waiting::Known(reply),
            Served::Later(later) => Waiting::For(later),
        };
        wire.in_flight.push_back(InFlight { reply, _memory: memory });
        Ok(())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Wire<I> {
    async fn event(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Err(ending) = self.collect(context) {
            return Poll::Ready(Event::Ended(ending));
        }
        if !self.outgoing.is_empty() {
            return Poll::Ready(Event::Write);
        }
        if self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Ended(Ending::Stopping));
        }
        if self.in_flight.len() < MAX_IN_FLIGHT {
            match self.reader.poll_next(&mut self.io, context) {
                Poll::Ready(Ok(Incoming::Request(received))) => return Poll::Ready(Event::Begin(received)),
                Poll::Ready(Ok(Incoming::Http2)) => return Poll::Ready(Event::Http2),
                Poll::Ready(Err(end)) => return Poll::Ready(Event::Ended(end.into())),
                Poll::Pending => {}
            }
        }
        self.poll_time(context).map(Event::Ended)
    }

    /// Moves the answers that are there, oldest first, to the outgoing side.
    fn collect(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        while let Some(oldest) = self.in_flight.front_mut() {
            let reply = match &mut oldest.reply {
                Waiting::Known(reply) => std::mem::replace(reply, Reply::Silence),
                Waiting::For(later) => match later.as_mut().poll(context) {
                    Poll::Ready(reply) => reply,
                    Poll::Pending => break,
                },
            };
            self.in_flight.pop_front();
            match reply {
                Reply::Answer(answer) => self.outgoing.push(answer),
                Reply::Silence => {}
                Reply::Close(reason) => return Err(reason.into()),
            }
            self.introduced = true;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Ending> {
        let written = self.outgoing.write_all(&mut self.io, self.settings.write_timeout).await;
        self.active = Instant::now();
        written.map_err(Ending::Write)
    }

    /// Waits until nothing is in flight and everything is written.
    async fn answer_all(&mut self) -> Result<(), Ending> {
        loop {
            poll_fn(|cx| match self.collect(cx) {
                Ok(()) if self.in_flight.is_empty() || !self.outgoing.is_empty() => Poll::Ready(Ok(())),
                Ok(()) => Poll::Pending,
                Err(ending) => Poll::Ready(Err(ending)),
            })
            .await?;
            if self.outgoing.is_empty() {
                return Ok(());
            }
            self.write().await?;
        }
    }

    /// Drives `serving` while earlier requests are answered and, where it may be given up, while the peer
    /// and the broker are there.
    async fn while_serving<F: Future<Output = Served>>(
        &mut self,
        turn: Turn,
        mut serving: Pin<&mut F>,
    ) -> Result<Served, Ending> {
        loop {
            let served = poll_fn(|cx| {
                if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                    return Poll::Ready(Ok(Some(served)));
                }
                self.collect(cx)?;
                if !self.outgoing.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                if turn == Turn::Parks {
                    if self.stop.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(Ending::Stopping));
                    }
                    if let Poll::Ready(end) = self.reader.poll_closed(&mut self.io, cx) {
                        return Poll::Ready(Err(end.into()));
                    }
                }
                Poll::Pending
            })
            .await?;
            match served {
                Some(served) => return Ok(served),
                None => self.write().await?,
            }
        }
    }

    /// Ready when a time limit has passed.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let next = self.next_deadline();
            if self.timer.deadline() > next {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if let Some(ending) = self.overdue(now) {
                return Poll::Ready(ending);
            }
            let next = self.next_deadline().max(now + LATER);
            self.timer.as_mut().reset(next);
        }
    }

    fn next_deadline(&self) -> Instant {
        let idle = self.active + self.settings.idle_timeout;
        [self.reader.deadline(), self.introduction()].into_iter().flatten().fold(idle, Instant::min)
    }

    /// When the peer must have said something valid. A large request has its own time to arrive in.
    fn introduction(&self) -> Option<Instant> {
        let awaited = !self.introduced && !self.reader.is_receiving_large();
        awaited.then(|| self.opened + self.settings.first_request_timeout)
    }

    fn overdue(&self, now: Instant) -> Option<Ending> {
        if !self.in_flight.is_empty() {
            return None;
        }
        if self.introduction().is_some_and(|deadline| now >= deadline) {
            return Some(Ending::NeverIntroduced);
        }
        if self.reader.deadline().is_some_and(|deadline| now >= deadline) {
            return Some(Ending::TooSlow);
        }
        (now >= self.active + self.settings.idle_timeout).then_some(Ending::Idle)
    }

    /// What was begun is answered before the connection closes, unless the peer can no longer be written to.
    async fn end(&mut self, ending: Ending) -> Ending {
        if matches!(ending, Ending::Write(_) | Ending::Read(ReadEnd::Io(_))) {
            return ending;
        }
        // The time for this is the listener's: it ends the task when the drain has lasted too long.
        match self.answer_all().await {
            Ok(()) => ending,
            Err(later) if ending.is_remarkable() => {
                tracing::debug!(%later, "a closing connection could not be answered");
                ending
            }
            Err(later) => later,
        }
    }
}
