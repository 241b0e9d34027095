//! The limits of the network side. They stand together so that their relations can be seen.

use std::net::SocketAddr;
use std::time::Duration;

/// What the listener and its connections may use.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Connections served at the same time; one more is closed at once.
    pub max_connections: usize,
    /// The largest request, in bytes without its length field (Kafka's `socket.request.max.bytes`).
    pub max_request_bytes: usize,
    /// What all requests of all connections may hold together, from the moment their length is known
    /// until they are answered. An eighth is left to small ones, a quarter to ordinary ones; where the rest is below
    /// `max_request_bytes`, that counts instead.
    pub request_memory_bytes: usize,
    /// A connection with no request for this long is closed (Kafka's `connections.max.idle.ms`).
    pub idle_timeout: Duration,
    /// A connection that has not sent one valid request after this long is closed, unless a large one is arriving: not
    /// every client begins with a small one.
    pub first_request_timeout: Duration,
    /// A peer that takes no byte of a response for this long is closed.
    pub write_timeout: Duration,
    /// How long a stopping broker waits for the requests it has begun.
    pub drain_timeout: Duration,
}

/// Produces of one connection that may wait for the disk together. Kafka's clients send at most 5.
pub(super) const MAX_IN_FLIGHT: usize = 16;

/// Connections the kernel keeps for us until they are accepted.
pub(super) const ACCEPT_BACKLOG: i32 = 1024;

/// What a connection reads ahead; requests up to this size are parsed where they were received.
pub(super) const READ_AHEAD_BYTES: usize = 8 * 1024;

/// Requests up to this size have a part of the memory that larger ones cannot take.
pub(super) const SMALL_REQUEST_BYTES: usize = 16 * 1024;

/// The same for what producers send that are not set up otherwise: 1 MiB, and what is around it.
pub(super) const ORDINARY_REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// The slowest a large request may arrive, after a grace of [`FRAME_GRACE`]: its memory is taken all the while.
pub(super) const SLOWEST_REQUEST_BYTES_PER_SECOND: usize = 512 * 1024;

/// The slowest a large response may be taken, after a grace of the write timeout.
pub(super) const SLOWEST_RESPONSE_BYTES_PER_SECOND: usize = 64 * 1024;

/// The time every request has to arrive completely, whatever its size.
pub(super) const FRAME_GRACE: Duration = Duration::from_secs(30);

/// Segments handed to one vectored write.
pub(super) const SEGMENTS_PER_WRITE: usize = 64;

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            max_connections: 10_000,
            max_request_bytes: 100 * 1024 * 1024,
            request_memory_bytes: 256 * 1024 * 1024,
            idle_timeout: Duration::from_secs(600),
            first_request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
