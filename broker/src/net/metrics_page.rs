//! Where Prometheus reads the metrics, and orchestrators the health: the little of HTTP/1.1 that it takes.
//!
//! `GET /metrics`, `/livez` and `/readyz` are all there is. A peer has one short request and some seconds for it; everything else costs it the
//! connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The longest request head.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// How long a peer has to say what it wants, and again to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Peers served together; others wait. Many more than may read metrics: who says nothing, or waits for metrics, must not keep
/// those who ask for the health waiting.
const MAX_PEERS: usize = 256;
/// Of them, those for whom metrics are put together.
const MAX_SCRAPES: usize = 4;
/// Accepting pauses when the process has no descriptor left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// What the page tells.
pub(crate) trait Told: Clone + Send + Sync + 'static {
    /// Every metric as Prometheus' text; `None` before there are any.
    fn metrics(&self) -> impl Future<Output = Option<String>> + Send;

    /// Whether requests are served as always.
    fn readiness(&self) -> Readiness;
}

/// Whether requests are served as always, and why not: a line for each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether.
    pub(crate) ready: bool,
    /// Why, or why not.
    pub(crate) text: String,
}

/// The bound address.
pub(crate) struct MetricsPage {
    socket: TcpListener,
}

impl MetricsPage {
    /// Binds the address.
    ///
    /// # Errors
    /// When it is taken or not ours; the error names it.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address} for metrics: {error}"))
        };
        Ok(Self { socket: TcpListener::bind(address).await.map_err(failed)? })
    }

    /// The address with its real port.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers with what there is to tell, until `stop`.
    pub(crate) async fn serve(self, told: impl Told, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_PEERS));
        let scrapes = Arc::new(Semaphore::new(MAX_SCRAPES));
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a reader of metrics could not be accepted");
                    tokio::time::sleep(DESCRIPTOR_PAUSE).await;
                    continue;
                }
            };
            let place = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await;
            let Some(Ok(place)) = place else { return };
            let (told, stop, scrapes) = (told.clone(), stop.clone(), Arc::clone(&scrapes));
            tokio::spawn(async move {
                let served = stop.run_until_cancelled(serve(stream, &told, &scrapes)).await;
                if let Some(Err(error)) = served {
                    tracing::debug!(%error, "a reader of metrics was not answered");
                }
                drop(place);
            });
        }
    }
}

async fn serve(mut stream: TcpStream, told: &impl Told, scrapes: &Semaphore) -> io::Result<()> {
    let head = timeout(PATIENCE, head(&mut stream)).await??;
    let answer = match wanted(&head) {
        Wanted::Page { page: Page::Metrics, body } => {
            let metrics = async {
                let _scrape = scrapes.acquire().await;
                told.metrics().await
            };
            match timeout(PATIENCE, metrics).await {
                Ok(Some(text)) => response(OK, "text/plain; version=0.0.4; charset=utf-8", &text, body),
                Ok(None) => response(UNAVAILABLE, TEXT, "The broker is starting.\n", body),
                Err(_) => response(UNAVAILABLE, TEXT, "The metrics take too long.\n", body),
            }
        }
        Wanted::Page { page: Page::Live, body } => response(OK, TEXT, "ok\n", body),
        Wanted::Page { page: Page::Ready, body } => {
            let Readiness { ready, text } = told.readiness();
            response(if ready { OK } else { UNAVAILABLE }, TEXT, &text, body)
        }
        Wanted::Nothing(status) => {
            response(status, TEXT, "GET /metrics, /livez and /readyz are all there is here.\n", true)
        }
    };
    timeout(PATIENCE, stream.write_all(answer.as_bytes())).await??;
    stream.shutdown().await
}

/// Reads up to the empty line that ends a request's head.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let room = MAX_HEAD_BYTES - head.len();
        if room == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
        }
        let read = (&mut *stream).take(room as u64).read_buf(&mut head).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(head);
        }
    }
}

const OK: &str = "200 OK";
const UNAVAILABLE: &str = "503 Service Unavailable";
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Metrics,
    Live,
    Ready,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Page {
        page: Page,
        /// Not only the head.
        body: bool,
    },
    Nothing(&'static str),
}

fn wanted(head: &[u8]) -> Wanted {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Wanted::Nothing("400 Bad Request");
    };
    if !version.starts_with(b"HTTP/1.") {
        return Wanted::Nothing("400 Bad Request");
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let page = match path {
        b"/metrics" => Page::Metrics,
        b"/livez" => Page::Live,
        b"/readyz" => Page::Ready,
        _ => return Wanted::Nothing("404 Not Found"),
    };
    match method {
        b"GET" => Wanted::Page { page, body: true },
        b"HEAD" => Wanted::Page { page, body: false },
        _ => Wanted::Nothing("405 Method Not Allowed"),
    }
}

fn response(status: &str, kind: &str, body: &str, with_body: bool) -> String {
    let length = body.len();
    let body = if with_body { body } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_and_health_are_to_be_had() {
        let whole = |page| Wanted::Page { page, body: true };
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", whole(Page::Metrics)),
            ("GET /livez HTTP/1.1\r\n\r\n", whole(Page::Live)),
            ("GET /readyz?verbose HTTP/1.1\r\n\r\n", whole(Page::Ready)),
            ("PUT /readyz HTTP/1.1\r\n\r\n", Wanted::Nothing("405 Method Not Allowed")),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", whole(Page::Metrics)),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Wanted::Page { page: Page::Metrics, body: false }),
            ("POST /metrics HTTP/1.1\r\n\r\n", Wanted::Nothing("405 Method Not Allowed")),
            ("GET /metrics/x HTTP/1.1\r\n\r\n", Wanted::Nothing("404 Not Found")),
            ("GET / HTTP/1.1\r\n\r\n", Wanted::Nothing("404 Not Found")),
            ("GET /metrics\r\n\r\n", Wanted::Nothing("400 Bad Request")),
            ("PRI * HTTP/2.0\r\n\r\n", Wanted::Nothing("400 Bad Request")),
            ("\r\n\r\n", Wanted::Nothing("400 Bad Request")),
        ] {
            assert_eq!(wanted(head.as_bytes()), expected, "{head:?}");
        }
    }
}
