//! What stands before a broker that has neither TLS nor SASL, and gives it both: clients see a broker that wants them.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use logmill_tests::proxy::read_frame;
use logmill_wire::frame::{self, RequestHeader};
use logmill_wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use logmill_wire::messages::metadata::MetadataResponse;
use logmill_wire::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use logmill_wire::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use logmill_wire::{ApiKey, Decoder, ErrorCode, Response, Str};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::certificates::{Authority, Signed};
use crate::scram::Exchange;

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "a \"secret\", = and more";

/// What clients must do.
#[derive(Default)]
pub(crate) struct Wants<'a> {
    /// TLS, with this certificate.
    pub(crate) tls: Option<&'a Signed>,
    /// A certificate of the client's, signed by this one.
    pub(crate) client: Option<&'a Authority>,
    /// SASL, one of these mechanisms, as [`USER`].
    pub(crate) mechanisms: &'static [&'static str],
    /// Authenticate again after so long.
    pub(crate) session: Option<Duration>,
}

/// Runs, on a thread of its own, until it is dropped.
pub(crate) struct Front {
    runtime: Option<Runtime>,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    broker: String,
    tls: Option<TlsAcceptor>,
    mechanisms: &'static [&'static str],
    session: Option<Duration>,
    password: Mutex<String>,
    /// A topic that nobody may see.
    denied: Mutex<Option<String>>,
    hang_up: Notify,
    authenticated: AtomicU64,
    refused: AtomicU64,
    outlived: AtomicU64,
}

impl Front {
    /// Before the broker at an address, which need not be there yet and must advertise the front's.
    pub(crate) fn start(broker: &str, wants: &Wants<'_>) -> Self {
        let tls = wants.tls.map(|signed| {
            let provider = Arc::new(crypto::ring::default_provider());
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder.with_safe_default_protocol_versions().expect("versions");
            let builder = match wants.client {
                None => builder.with_no_client_auth(),
                Some(authority) => {
                    let mut roots = RootCertStore::empty();
                    roots.add(authority.der()).expect("a certificate");
                    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                    builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
                }
            };
            let (chain, key) = signed.der();
            let config = builder.with_single_cert(vec![chain], key).expect("a certificate with its key");
            TlsAcceptor::from(Arc::new(config))
        });
        let shared = Arc::new(Shared {
            broker: broker.to_owned(),
            tls,
            mechanisms: wants.mechanisms,
            session: wants.session,
            password: Mutex::new(PASSWORD.to_owned()),
            denied: Mutex::default(),
            hang_up: Notify::new(),
            authenticated: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            outlived: AtomicU64::new(0),
        });
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a thread");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::clone(&shared);
        runtime.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let shared = Arc::clone(&connections);
                tokio::spawn(async move {
                    // Whoever does not do what is wanted has his connection closed.
                    let _ = match &shared.tls {
                        None => shared.carry(client).await,
                        Some(tls) => match tls.accept(client).await {
                            Ok(client) => shared.carry(client).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { runtime: Some(runtime), address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections have authenticated.
    pub(crate) fn authenticated(&self) -> u64 {
        self.shared.authenticated.load(Ordering::Relaxed)
    }

    /// How many have said who they are and were not known.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Another password from here on. Whoever is connected is not.
    pub(crate) fn change_password(&self, password: &str) {
        password.clone_into(&mut self.shared.password.lock().unwrap());
        self.shared.hang_up.notify_waiters();
    }

    /// Nobody may see a topic from here on. Whoever is connected is not.
    pub(crate) fn deny(&self, topic: &str) {
        *self.shared.denied.lock().unwrap() = Some(topic.to_owned());
        self.shared.hang_up.notify_waiters();
    }

    /// How many connections were used longer than they could be.
    pub(crate) fn outlived(&self) -> u64 {
        self.shared.outlived.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a client has shown so far.
enum State {
    Nothing,
    Chosen(&'static str),
    Challenged(Box<Exchange>),
    Known,
}

impl Shared {
    async fn carry(&self, client: impl AsyncRead + AsyncWrite + Unpin + Send) -> io::Result<()> {
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let mut broker = TcpStream::connect(&self.broker).await?;
        broker.set_nodelay(true)?;
        let mut state = if self.mechanisms.is_empty() { State::Known } else { State::Nothing };
        while !matches!(state, State::Known) {
            let request = read_frame(&mut from_client).await?;
            let mut decoder = Decoder::new(Bytes::copy_from_slice(&request[4..]));
            let header = RequestHeader::decode(&mut decoder).map_err(io::Error::other)?;
            let answer = match ApiKey::from_code(header.api_key) {
                Some(ApiKey::ApiVersions) => {
                    broker.write_all(&request).await?;
                    with_sasl(read_frame(&mut broker).await?, &header)?
                }
                Some(ApiKey::SaslHandshake) => {
                    let request: SaslHandshakeRequest =
                        frame::decode_request(decoder, header.api_version).map_err(io::Error::other)?;
                    let chosen = self.mechanisms.iter().find(|name| **name == &*request.mechanism);
                    let error_code =
                        chosen.map_or(ErrorCode::UNSUPPORTED_SASL_MECHANISM, |_| ErrorCode::NONE);
                    state = chosen.map_or(State::Nothing, |name| State::Chosen(name));
                    let mechanisms = self.mechanisms.iter().map(|name| Str::from(*name)).collect();
                    answer(&SaslHandshakeResponse { error_code, mechanisms }, &header)?
                }
                Some(ApiKey::SaslAuthenticate) => {
                    let request: SaslAuthenticateRequest =
                        frame::decode_request(decoder, header.api_version).map_err(io::Error::other)?;
                    let text = std::str::from_utf8(&request.auth_bytes).map_err(io::Error::other)?;
                    let (next, said) = self.step(state, text);
                    state = next;
                    answer(&said, &header)?
                }
                // As Apache Kafka: without a word.
                _ => return Ok(()),
            };
            to_client.write_all(&answer).await?;
            to_client.flush().await?;
            if matches!(state, State::Nothing) && header.api_key == ApiKey::SaslAuthenticate.code() {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        self.authenticated.fetch_add(u64::from(!self.mechanisms.is_empty()), Ordering::Relaxed);
        let until = self.session.map(|session| Instant::now() + session);
        let (mut from_broker, mut to_broker) = broker.split();
        // Questions about topics, by their number.
        let asked: Mutex<HashMap<i32, RequestHeader>> = Mutex::default();
        let requests = async {
            loop {
                let request = read_frame(&mut from_client).await?;
                if until.is_some_and(|until| Instant::now() > until) {
                    self.outlived.fetch_add(1, Ordering::Relaxed);
                    return io::Result::Ok(());
                }
                let mut decoder = Decoder::new(Bytes::copy_from_slice(&request[4..]));
                let header = RequestHeader::decode(&mut decoder).map_err(io::Error::other)?;
                if header.api_key == ApiKey::Metadata.code() {
                    asked.lock().unwrap().insert(header.correlation_id, header);
                }
                to_broker.write_all(&request).await?;
            }
        };
        let answers = async {
            loop {
                let mut answer = read_frame(&mut from_broker).await?;
                let number = i32::from_be_bytes(answer[4..8].try_into().expect("four bytes"));
                let (asked, denied) =
                    (asked.lock().unwrap().remove(&number), self.denied.lock().unwrap().clone());
                if let Some((header, denied)) = asked.zip(denied) {
                    answer = without(answer, &header, &denied)?;
                }
                to_client.write_all(&answer).await?;
                to_client.flush().await?;
            }
        };
        tokio::select! {
            ended = requests => ended,
            ended = answers => ended,
            () = self.hang_up.notified() => Ok(()),
        }
    }

    /// One step of the mechanism.
    fn step(&self, state: State, text: &str) -> (State, SaslAuthenticateResponse) {
        let refused = || {
            let error_message = Some(Str::from("Authentication failed: the test does not know you"));
            let error_code = ErrorCode::SASL_AUTHENTICATION_FAILED;
            (State::Nothing, SaslAuthenticateResponse { error_code, error_message, ..Default::default() })
        };
        let said = |state: State, text: String| {
            let session = self.session.filter(|_| matches!(state, State::Known)).unwrap_or_default();
            let session_lifetime_ms = i64::try_from(session.as_millis()).expect("short");
            let auth_bytes = Bytes::from(text);
            (state, SaslAuthenticateResponse { auth_bytes, session_lifetime_ms, ..Default::default() })
        };
        let password = self.password.lock().unwrap().clone();
        match state {
            State::Chosen("PLAIN") if text == format!("\0{USER}\0{password}") => {
                said(State::Known, String::new())
            }
            State::Chosen(mechanism @ ("SCRAM-SHA-256" | "SCRAM-SHA-512"))
                if Exchange::name(text) == Some(USER) =>
            {
                match Exchange::begin(mechanism == "SCRAM-SHA-512", text, &password) {
                    Some(exchange) => {
                        let challenge = exchange.challenge.clone();
                        said(State::Challenged(Box::new(exchange)), challenge)
                    }
                    None => refused(),
                }
            }
            State::Challenged(exchange) => match exchange.end(text) {
                Some(verdict) => said(State::Known, verdict),
                None => refused(),
            },
            _ => refused(),
        }
    }
}

fn answer<R: Response>(response: &R, header: &RequestHeader) -> io::Result<Vec<u8>> {
    let segments = frame::encode_response(header.correlation_id, response, header.api_version);
    Ok(segments.map_err(io::Error::other)?.into_bytes().to_vec())
}

/// The broker's answer with what the front has more.
fn with_sasl(given: Vec<u8>, header: &RequestHeader) -> io::Result<Vec<u8>> {
    let body = Bytes::from(given).slice(4..);
    let decoded = frame::decode_response::<ApiVersionsResponse>(body, header.api_version);
    let (_, mut response) = decoded.map_err(io::Error::other)?;
    for (api, max_version) in [(ApiKey::SaslHandshake, 1), (ApiKey::SaslAuthenticate, 2)] {
        response.api_keys.push(ApiVersion { api_key: api.code(), min_version: 0, max_version });
    }
    answer(&response, header)
}

/// The broker's answer with a topic that nobody may see.
fn without(given: Vec<u8>, header: &RequestHeader, denied: &str) -> io::Result<Vec<u8>> {
    let body = Bytes::from(given).slice(4..);
    let decoded = frame::decode_response::<MetadataResponse>(body, header.api_version);
    let (_, mut response) = decoded.map_err(io::Error::other)?;
    for topic in response.topics.iter_mut().filter(|topic| topic.name.as_deref() == Some(denied)) {
        topic.error_code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        topic.partitions.clear();
    }
    answer(&response, header)
}
