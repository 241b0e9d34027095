//! Logmill's own language over gRPC, for what Kafka's protocol has no words for: pipelines and the node.
//!
//! The description is in `proto/logmill/v1/`; [`v1`] is generated from it and committed, so that a build needs
//! neither a build script nor `protoc`. A test proves the committed code fresh; `cargo test -p logmill-rpc`
//! says how to write it anew.
//!
//! gRPC shares the broker's port with Kafka's protocol: a connection that begins with HTTP/2's preface
//! ([`HTTP2_PREFACE`]) speaks gRPC. As the length of a Kafka request the preface would mean 1.3 GB, which is
//! above every limit, so the two cannot be confused.
//!
//! This crate knows no other crate of the workspace.

#![forbid(unsafe_code)]

/// Version 1 of the language. Fields and methods are only ever added to it.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
#[path = "generated/logmill.v1.rs"]
pub mod v1;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
pub const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
