//! Sockets, the clock and chance: the only files of this crate that touch them.

pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod environment;
pub(crate) mod versions;
