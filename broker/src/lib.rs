//! The server: the only room with sockets, threads and a clock.
//!
//! ```text
//! net ─► dispatch (security) ─► handlers ─► partitions, coordinators, topics ─► logmill-storage
//!                                                     ▲
//!                               pipelines ────────────┘        services (gRPC) ─► pipelines
//! ```
//!
//! [`node`] puts everything together. The deciding is done elsewhere: `logmill-coordinator` and
//! `logmill-stream` are pure, `logmill-storage` checks and sequences; here is what they cannot have: sockets, threads,
//! a clock.

#![forbid(unsafe_code)]

mod assembly;
mod blocking;
pub mod clock;
pub mod configs;
pub mod context;
pub mod coordinators;
mod descriptors;
pub mod dispatch;
pub mod driven;
pub mod entropy;
pub mod features;
mod handlers;
pub mod loggers;
pub mod net;
pub mod node;
pub mod offline;
pub mod partitions;
pub mod pipelines;
pub mod producer_ids;
pub mod security;
mod services;
mod telemetry;
pub mod topics;
