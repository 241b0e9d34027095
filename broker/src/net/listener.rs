//! The port: accepts connections and gives each one a task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Outcome};
use super::handover::HandedOver;
use super::memory::RequestMemory;
use super::service::{Peer, Service};
use super::settings::{ACCEPT_BACKLOG, NetSettings};

/// How long accepting pauses when the process has no descriptor left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// When an idle peer is first asked whether it is still there, so that half-open connections end.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The bound port. Clients can connect as soon as it exists; they are served once [`Listener::serve`] runs.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Arc<NetSettings>,
    memory: RequestMemory,
    places: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// What came of connections that were asked for.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Counts a listener's connections, Kafka's and gRPC's together.
#[derive(Clone, Debug)]
pub struct OpenConnections {
    places: Arc<Semaphore>,
    limit: usize,
    counts: Arc<Counts>,
}

impl OpenConnections {
    /// Connections open now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.limit.saturating_sub(self.places.available_permits())
    }

    /// Connections that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were closed at once, because there were as many as there may be.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }
}

impl Listener {
    /// Binds the port. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address is taken or not ours; the error names it.
    pub fn bind(settings: NetSettings) -> io::Result<Self> {
        let socket = listen(settings.listen).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", settings.listen))
        })?;
        let memory = RequestMemory::new(settings.request_memory_bytes, settings.max_request_bytes);
        let places = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { socket, settings: Arc::new(settings), memory, places, counts: Arc::default() })
    }

    /// The address that was bound, with the port the system chose when port 0 was asked for.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The budget that all requests share.
    #[must_use]
    pub fn memory(&self) -> RequestMemory {
        self.memory.clone()
    }

    /// How many connections there are, for whoever wants to know while they are served.
    #[must_use]
    pub fn open_connections(&self) -> OpenConnections {
        OpenConnections {
            places: Arc::clone(&self.places),
            limit: self.places.available_permits(),
            counts: Arc::clone(&self.counts),
        }
    }

    /// Serves connections until `stop`; then finishes what was begun, within the drain time, and returns.
    ///
    /// HTTP/2 connections go to `grpc` as soon as they are recognised.
    pub async fn serve<S: Service>(
        self,
        service: Arc<S>,
        grpc: mpsc::Sender<HandedOver>,
        stop: CancellationToken,
    ) {
        let connections = TaskTracker::new();
        let abandon = CancellationToken::new();
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    accept_failed(&error).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                let refused = self.counts.refused.fetch_add(1, Ordering::Relaxed) + 1;
                if refused.is_power_of_two() {
                    let limit = self.settings.max_connections;
                    tracing::warn!(limit, refused, "connections refused: the limit is reached");
                }
                continue;
            };
            self.counts.accepted.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = prepare(&stream) {
                tracing::debug!(%address, %error, "a connection ended before it began");
                continue;
            }
            let connection = Connection::new(
                Arc::clone(&service),
                Peer { address },
                stream,
                Arc::clone(&self.settings),
                &self.memory,
                &stop,
            );
            let life = live(connection, address, grpc.clone(), place);
            let abandon = abandon.clone();
            connections.spawn(async move {
                if abandon.run_until_cancelled(life).await.is_none() {
                    tracing::info!(%address, "connection abandoned: its requests outlasted the drain time");
                }
            });
        }
        drop(self.socket);
        connections.close();
        if tokio::time::timeout(self.settings.drain_timeout, connections.wait()).await.is_err() {
            abandon.cancel();
            connections.wait().await;
        }
    }
}

async fn live<S: Service>(
    connection: Connection<S, TcpStream>,
    address: SocketAddr,
    grpc: mpsc::Sender<HandedOver>,
    place: OwnedSemaphorePermit,
) {
    match connection.run().await {
        Outcome::Ended(ending) if ending.is_remarkable() => {
            tracing::info!(%address, "connection closed: {ending}");
        }
        Outcome::Ended(ending) => tracing::debug!(%address, "connection closed: {ending}"),
        Outcome::Http2 { read, io } => {
            if grpc.send(HandedOver::new(read, io, place)).await.is_err() {
                tracing::debug!(%address, "connection closed: gRPC is not served");
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

async fn accept_failed(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        // That one client went away; the next one is not affected.
        tracing::debug!(%error, "a connection ended before it was accepted");
    } else {
        tracing::warn!(%error, "cannot accept connections for the moment");
        tokio::time::sleep(DESCRIPTOR_PAUSE).await;
    }
}
