//! The server: the only room with sockets, threads and a clock.

#![forbid(unsafe_code)]

pub mod clock;
pub mod context;
pub mod coordinators;
pub mod partitions;
pub mod producer_ids;
pub mod topics;
