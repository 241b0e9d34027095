//! Sockets, the clock, chance, and the files with certificates: the only files of this crate that touch them.

pub(crate) mod backoff;
pub(crate) mod connection;
pub(crate) mod environment;
pub(crate) mod security;
pub(crate) mod versions;
