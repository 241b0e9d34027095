//! What a client needs of the machine that it is on: connections, the time, chance. Deadlines use tokio's clock.

use std::fmt;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What comes from a broker.
pub type Incoming = Box<dyn AsyncRead + Send + Unpin>;
/// What goes to a broker.
pub type Outgoing = Box<dyn AsyncWrite + Send + Unpin>;

/// The machine a client is on. Simulations put one of their own in its place, where the same seed gives the same run.
pub trait Environment: fmt::Debug + Send + Sync {
    /// Opens a connection to `HOST:PORT`. The time this may take is for the caller to bound.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<(Incoming, Outgoing)>>;

    /// Milliseconds since the epoch, for timestamps of records.
    fn now_ms(&self) -> i64;

    /// A number nobody can foresee: by it clients that failed together do not come back together. Not for secrets.
    fn chance(&self) -> u32;
}

/// What nobody has used before: for SASL, where a broker that saw it again could replay an exchange.
pub(crate) fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// This machine: TCP, its clock, its chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl Environment for System {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<(Incoming, Outgoing)>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (incoming, outgoing) = stream.into_split();
            Ok((Box::new(incoming) as Incoming, Box::new(outgoing) as Outgoing))
        })
    }

    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn chance(&self) -> u32 {
        uuid::Uuid::new_v4().as_fields().0
    }
}
