//! Sockets and the clock: the only files of this crate that touch either.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod connection;
pub(crate) mod versions;
