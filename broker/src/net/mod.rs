//! The network side: everything between a socket and a request, in both directions.
//!
//! ```text
//! Listener ─► Connection ─► FrameReader ─► Service (dispatch)
//!                 ▲                            │
//!                 └───────── Outgoing ◄────────┘
//! ```
//!
//! Knows no Kafka request: it moves frames of bytes. One port serves Kafka and gRPC; an HTTP/2 preface
//! could never be a legal Kafka length, so the first four bytes tell them apart.

mod connection;
mod frame_reader;
mod handover;
mod listener;
mod memory;
mod metrics_page;
mod opening;
mod outgoing;
mod service;
mod settings;

pub use connection::serve_stream;
pub use handover::HandedOver;
pub use listener::{Listener, OpenConnections};
pub use memory::{HeldMemory, MemoryBudget, RequestMemory};
pub(crate) use metrics_page::{MetricsPage, Readiness, Told};
pub use service::{Answer, CloseReason, Later, Peer, Reply, Served, Service, Turn};
pub use settings::NetSettings;

#[cfg(test)]
mod tests;
