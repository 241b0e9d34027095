//! The server.

pub mod net;
