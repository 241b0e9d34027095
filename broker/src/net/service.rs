//! What a connection asks of those who answer its requests.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;

use super::memory::HeldMemory;

/// A response that is not known yet.
pub type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// How a request stands among its neighbours on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// May be begun while earlier overlapping requests are unanswered (produce).
    Overlaps,
    /// Begins when everything before it is answered.
    Alone,
    /// As `Alone`, and may wait long for something to happen (long poll, join): given up without harm
    /// when the peer goes away or the broker stops.
    Parks,
}

/// A request whose effect on the order of things has happened.
pub enum Served {
    /// Answered.
    Now(Reply),
    /// Took its place in the order; the answer follows. The future makes progress on its own: the
    /// connection polls only the oldest one.
    Later(Later),
}

/// What the connection does about a request.
#[derive(Debug)]
pub enum Reply {
    /// A whole response frame.
    Answer(Answer),
    /// No response (`acks=0`).
    Silence,
    /// The connection is closed: the reason goes to the log.
    Close(CloseReason),
}

/// A response frame on its way out.
#[derive(Debug)]
pub struct Answer {
    /// Its bytes, in order.
    pub segments: Vec<Bytes>,
    /// What is given back once it is written.
    pub held: Option<HeldMemory>,
}

impl From<Vec<Bytes>> for Answer {
    fn from(segments: Vec<Bytes>) -> Self {
        Self { segments, held: None }
    }
}

/// Why a request costs its sender the connection.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The request is not one of this protocol.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// The request is of a kind or version that is not advertised.
    #[error("unsupported request: api key {api_key} version {api_version}")]
    Unsupported {
        /// Kafka's api key.
        api_key: i16,
        /// The version asked for.
        api_version: i16,
    },
    /// The caller may not use this API at all.
    #[error("not allowed: api key {api_key}")]
    Forbidden {
        /// Kafka's api key.
        api_key: i16,
    },
    /// A produce with `acks=0` failed; closing is the only way to tell.
    #[error("a produce with acks=0 failed: {0}")]
    UnacknowledgedFailure(String),
    /// A response could not be written in the version that was asked for: a defect of ours.
    #[error("cannot encode a response: {0}")]
    Unanswerable(String),
}

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address and port.
    pub address: SocketAddr,
}

/// Answers requests. One value serves all connections.
pub trait Service: Send + Sync + 'static {
    /// What is remembered from one request of a connection to the next.
    type Session: Send;

    /// A connection begins.
    fn open(&self, peer: Peer) -> Self::Session;

    /// Tells the request's turn from its first bytes; must cost nothing.
    fn turn(&self, request: &[u8]) -> Turn;

    /// Serves one request. When this future ends, the request has taken its place in the order; the
    /// connection then begins the next one.
    fn serve<'a>(
        &'a self,
        session: &'a mut Self::Session,
        request: Bytes,
    ) -> impl Future<Output = Served> + Send + 'a;
}
