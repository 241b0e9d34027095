//! One connection to one broker: requests go out in the order they are given, answers come back in that order.
//!
//! ```text
//! send() ─► queue ─► writer task ─► socket ─► broker
//!             └─► waiting (correlation id, oneshot) ◄─ reader task ◄─┘
//! ```
//!
//! A request is in the queue when [`Connection::send`] returns, before anything is awaited: whoever calls twice
//! has ordered his requests. When anything goes wrong with the socket, every request that waits fails with
//! [`Error::ConnectionLost`] and the connection is of no more use; whoever holds it opens another.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use logmill_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use logmill_wire::{ErrorCode, Message as _, Request, Segments, Str, frame};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::environment::{Environment, Incoming, Outgoing};
use super::security::{self, Prepared};
use super::versions::Versions;
use crate::error::{Error, Result};

/// The largest answer that is read: above what a consumer or producer may ask for, below what would hurt.
const MAX_RESPONSE: usize = 512 << 20;

/// A connection over which TLS fails hears why from what it reads, which may come behind a write that fails.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Small answers are read several at a time; the body of a large one goes past this buffer.
const READ_AHEAD: usize = 16 << 10;

/// How a connection introduces itself.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) client_id: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) security: Prepared,
}

/// A handle to an open connection. Clones share it; it closes when the last one goes.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: String,
    identity: Identity,
    /// Set once, before anybody but [`Connection::open`] has the handle.
    versions: OnceLock<Versions>,
    /// How long the broker lets it be used, from when.
    session: OnceLock<(Instant, Duration)>,
    queue: mpsc::UnboundedSender<Segments>,
    waiting: Arc<Waiting>,
    next_correlation: AtomicI32,
    writer: tokio::task::AbortHandle,
    reader: tokio::task::AbortHandle,
}

impl Drop for Inner {
    /// The writer ends by itself when it has written what is in the queue.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Requests that wait for their answer, oldest first.
#[derive(Debug, Default)]
struct Waiting {
    requests: Mutex<VecDeque<(i32, oneshot::Sender<Result<Bytes>>)>>,
    /// Why the connection is of no more use.
    failure: OnceLock<Error>,
}

impl Waiting {
    fn fail(&self, error: &Error) {
        self.failure.get_or_init(|| error.clone());
        for (_, waiter) in self.requests.lock().drain(..) {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

impl Connection {
    /// Connects, protects the connection, learns what the broker speaks, and says who we are: all within the connect timeout.
    pub(crate) async fn open(
        environment: &dyn Environment,
        address: &str,
        identity: &Identity,
    ) -> Result<Self> {
        let connect_error = |reason: String| Error::Connect { address: address.to_owned(), reason };
        let opened = async {
            let connected = environment.connect(address).await;
            let mut stream = connected.map_err(|error| connect_error(error.to_string()))?;
            let security = &identity.security;
            if let Some(tls) = &security.tls {
                stream = security::secure(tls, address, stream).await?;
            }
            let connection = Self::over(stream.0, stream.1, address, identity);
            let versions = connection.negotiate().await?;
            connection.inner.versions.get_or_init(|| versions);
            if let Some(sasl) = &security.sasl {
                let began = Instant::now();
                if let Some(lifetime) = security::authenticate(&connection, sasl).await? {
                    connection.inner.session.get_or_init(|| (began, lifetime));
                }
            }
            Ok(connection)
        };
        tokio::time::timeout(identity.connect_timeout, opened)
            .await
            .map_err(|_| connect_error(format!("no answer within {:?}", identity.connect_timeout)))?
    }

    fn over(read: Incoming, write: Outgoing, address: &str, identity: &Identity) -> Self {
        let (queue, outgoing) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        let (has_tls, has_sasl) = (identity.security.tls.is_some(), identity.security.sasl.is_some());
        let ends = Ends { address: address.to_owned(), has_tls, has_sasl };
        let writer = tokio::spawn(write_all(write, outgoing, Arc::clone(&waiting), ends.clone()));
        let reader = tokio::spawn(read_all(read, Arc::clone(&waiting), ends));
        let inner = Inner {
            address: address.to_owned(),
            identity: identity.clone(),
            versions: OnceLock::new(),
            session: OnceLock::new(),
            queue,
            waiting,
            next_correlation: AtomicI32::new(0),
            writer: writer.abort_handle(),
            reader: reader.abort_handle(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Asks for the versions, with the newest ApiVersions we have. A broker that does not know it answers in
    /// version 0 and says which it has (KIP-511).
    async fn negotiate(&self) -> Result<Versions> {
        // Version 5 asks for the identity of the broker we mean to reach, which is of no use here.
        let mut version = (*ApiVersionsRequest::VERSIONS.end()).min(4);
        loop {
            let request = ApiVersionsRequest {
                client_software_name: Str::from("logmill"),
                client_software_version: Str::from(env!("CARGO_PKG_VERSION")),
                ..ApiVersionsRequest::default()
            };
            let body = self.exchange(&request, version)?.await?;
            let refused = body.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
            let response: ApiVersionsResponse = self.decode(body, if refused { 0 } else { version })?;
            if !refused {
                Error::check(response.error_code, None, || {
                    format!("asking {} for its versions", self.address())
                })?;
                return Ok(Versions::new(&response));
            }
            let theirs = Versions::new(&response);
            let older = theirs.choose::<ApiVersionsRequest>(version - 1).unwrap_or(0);
            if older >= version {
                return Err(self.unsupported::<ApiVersionsRequest>(version));
            }
            version = older;
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.inner.address
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.waiting.failure.get().is_some()
    }

    /// Whether something new may be asked over it. One whose session ends soon is left to what is under way: at four fifths of
    /// its time if nothing is, and shortly before the end in any case.
    pub(crate) fn is_usable(&self) -> bool {
        let ends_soon = self.inner.session.get().is_some_and(|(began, lifetime)| {
            let age = began.elapsed();
            age >= *lifetime / 20 * 19
                || (age >= *lifetime / 5 * 4 && self.inner.waiting.requests.lock().is_empty())
        });
        !self.is_closed() && !ends_soon
    }

    pub(crate) fn versions(&self) -> &Versions {
        self.inner.versions.get_or_init(Versions::default)
    }

    /// The newest version of an API that both speak, at most `highest`.
    pub(crate) fn version<R: Request>(&self, highest: i16) -> Result<i16> {
        self.versions().choose::<R>(highest).ok_or_else(|| self.unsupported::<R>(highest))
    }

    fn unsupported<R: Request>(&self, highest: i16) -> Error {
        let ours = format!("{}..={}", R::VERSIONS.start(), (*R::VERSIONS.end()).min(highest));
        let theirs = self.versions().offered(R::KEY);
        let theirs = theirs.map_or("it has none".to_owned(), |range| format!("it has {range:?}"));
        let needed = format!("{} in version {ours} ({theirs})", R::KEY);
        Error::Unsupported { address: self.address().to_owned(), needed }
    }

    /// Puts a request into the queue and gives a future of its answer. `beyond` is the time that the broker may
    /// itself wait, on top of the request timeout.
    pub(crate) fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        beyond: Duration,
    ) -> Result<impl Future<Output = Result<R::Response>> + Send + use<R>> {
        let connection = self.clone();
        let answer = self.exchange(request, version)?;
        let allowed = self.inner.identity.request_timeout + beyond;
        Ok(async move {
            let body = match tokio::time::timeout(allowed, answer).await {
                Ok(body) => body?,
                Err(_) => {
                    // Answers come in order: with this one missing none can follow.
                    let reason = format!("no answer to {} within {allowed:?}", R::KEY);
                    connection.close(&reason);
                    let address = connection.address().to_owned();
                    return Err(Error::ConnectionLost { address, reason });
                }
            };
            connection.decode(body, version)
        })
    }

    /// Sends a request that is not answered (produce with acks=0).
    pub(crate) fn tell<R: Request>(&self, request: &R, version: i16) -> Result<()> {
        self.enqueue(request, version, None).map(|_| ())
    }

    fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<impl Future<Output = Result<Bytes>> + Send + use<R>> {
        let (waiter, answer) = oneshot::channel();
        self.enqueue(request, version, Some(waiter))?;
        let address = self.address().to_owned();
        Ok(async move {
            let lost = || Error::ConnectionLost { address, reason: "closed".to_owned() };
            answer.await.map_err(|_| lost())?
        })
    }

    fn enqueue<R: Request>(
        &self,
        request: &R,
        version: i16,
        waiter: Option<oneshot::Sender<Result<Bytes>>>,
    ) -> Result<()> {
        let lost = || {
            let closed = || Error::ConnectionLost {
                address: self.address().to_owned(),
                reason: "already closed".to_owned(),
            };
            self.inner.waiting.failure.get().cloned().unwrap_or_else(closed)
        };
        let correlation = self.inner.next_correlation.fetch_add(1, Ordering::Relaxed);
        let client_id = Some(self.inner.identity.client_id.as_str());
        let segments = frame::encode_request(correlation, client_id, request, version).map_err(|error| {
            Error::InvalidArgument(format!("{} version {version} cannot be written: {error}", R::KEY))
        })?;
        // The order in the queue and among the waiting must be the same.
        let mut waiting = self.inner.waiting.requests.lock();
        if self.is_closed() {
            return Err(lost());
        }
        self.inner.queue.send(segments).map_err(|_| lost())?;
        if let Some(waiter) = waiter {
            waiting.push_back((correlation, waiter));
        }
        Ok(())
    }

    fn decode<R: logmill_wire::Response>(&self, body: Bytes, version: i16) -> Result<R> {
        let decoded = frame::decode_response::<R>(body, version);
        decoded.map(|(_, response)| response).map_err(|error| {
            let reason = format!("{} version {version}: {error}", R::KEY);
            self.close(&reason);
            Error::Protocol { address: self.address().to_owned(), reason }
        })
    }

    fn close(&self, reason: &str) {
        let lost = Error::ConnectionLost { address: self.address().to_owned(), reason: reason.to_owned() };
        self.inner.waiting.fail(&lost);
        self.inner.writer.abort();
        self.inner.reader.abort();
    }
}

/// What the two ends of a connection know, to say what went wrong.
#[derive(Debug, Clone)]
struct Ends {
    address: String,
    has_tls: bool,
    has_sasl: bool,
}

impl Ends {
    /// What it means that the connection broke behind so many answers.
    fn lost(&self, error: &std::io::Error, answers: u64) -> Error {
        let address = self.address.clone();
        if let Some(reason) = security::describe_tls(error, answers) {
            return Error::Security { address, reason };
        }
        let mut reason = error.to_string();
        if error.get_ref().is_some_and(|inner| inner.is::<SpeaksTls>()) {
            return Error::Security { address, reason };
        }
        if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) {
            // Brokers close without a word when they want TLS, and behind their versions when they want SASL.
            reason += match answers {
                0 if !self.has_tls => {
                    " before its first answer; if that port speaks TLS, set security.protocol to SSL or SASL_SSL"
                }
                1 if !self.has_sasl => {
                    " at the first request; if that port wants SASL, set security.protocol to SASL_SSL or SASL_PLAINTEXT"
                }
                _ => "",
            };
        }
        Error::ConnectionLost { address, reason }
    }
}

async fn write_all(
    mut socket: Outgoing,
    mut outgoing: mpsc::UnboundedReceiver<Segments>,
    waiting: Arc<Waiting>,
    ends: Ends,
) {
    let mut pieces: VecDeque<Bytes> = VecDeque::new();
    while let Some(segments) = outgoing.recv().await {
        pieces.extend(segments);
        // What has come meanwhile goes out in the same write.
        while let Ok(more) = outgoing.try_recv() {
            pieces.extend(more);
        }
        if let Err(error) = write_pieces(&mut socket, &mut pieces).await {
            if ends.has_tls {
                tokio::time::sleep(LAST_WORDS).await;
            }
            waiting.fail(&ends.lost(&error, u64::MAX));
            return;
        }
    }
}

async fn write_pieces(socket: &mut Outgoing, pieces: &mut VecDeque<Bytes>) -> std::io::Result<()> {
    while !pieces.is_empty() {
        let mut written = {
            let mut slices = [IoSlice::new(&[]); 64];
            let mut count = 0;
            for (slot, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slot = IoSlice::new(piece);
                count += 1;
            }
            socket.write_vectored(&slices[..count]).await?
        };
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        while let Some(front) = pieces.front_mut() {
            if written < front.len() {
                front.advance(written);
                break;
            }
            written -= front.len();
            pieces.pop_front();
        }
    }
    // TLS may hold some of it back.
    socket.flush().await
}

async fn read_all(socket: Incoming, waiting: Arc<Waiting>, ends: Ends) {
    let mut socket = BufReader::with_capacity(READ_AHEAD, socket);
    let mut answers = 0_u64;
    let lost = |reason: String| Error::ConnectionLost { address: ends.address.clone(), reason };
    let error = loop {
        match read_frame(&mut socket, answers).await {
            Ok(body) => {
                let next = waiting.requests.lock().pop_front();
                let Some((expected, waiter)) = next else {
                    break lost("an answer nobody asked for".to_owned());
                };
                answers += 1;
                match frame::response_correlation_id(&body) {
                    Ok(correlation) if correlation == expected => {
                        let _ = waiter.send(Ok(body));
                    }
                    other => {
                        let reason = format!("answer {other:?} where {expected} was expected");
                        let error = Error::Protocol { address: ends.address.clone(), reason: reason.clone() };
                        let _ = waiter.send(Err(error));
                        break lost(reason);
                    }
                }
            }
            Err(error) => break ends.lost(&error, answers),
        }
    };
    waiting.fail(&error);
}

/// How a TLS record with an alert begins: no first answer is a third of a GiB long.
const ALERT: i32 = 0x1503;

/// Plain text went to a port for TLS.
#[derive(Debug, thiserror::Error)]
#[error("it answers in TLS; set security.protocol to SSL or SASL_SSL")]
struct SpeaksTls;

async fn read_frame(socket: &mut BufReader<Incoming>, answers: u64) -> std::io::Result<Bytes> {
    let length = match socket.read_i32().await {
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(std::io::Error::new(error.kind(), "closed by the broker"));
        }
        Err(error) => return Err(error),
    };
    if answers == 0 && length >> 16 == ALERT {
        return Err(std::io::Error::new(ErrorKind::InvalidData, SpeaksTls));
    }
    let length = usize::try_from(length).ok().filter(|length| (4..=MAX_RESPONSE).contains(length));
    let Some(length) = length else {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "an answer of impossible length"));
    };
    let mut body = BytesMut::with_capacity(length.min(1 << 20));
    while body.len() < length {
        let missing = length - body.len();
        let read = (&mut *socket).take(missing as u64).read_buf(&mut body).await?;
        if read == 0 {
            return Err(std::io::Error::new(
                ErrorKind::UnexpectedEof,
                "closed by the broker inside an answer",
            ));
        }
    }
    Ok(body.freeze())
}
