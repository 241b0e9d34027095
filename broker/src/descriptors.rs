//! How many files and sockets the process may have open.
//!
//! Shells and service managers often give 1,024; the hard limit is what the machine's owner decided on.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is reckoned with where there is no limit.
const UNLIMITED: u64 = 1 << 20;

/// Raises the limit as far as the process may, and returns it.
pub(crate) fn raise_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    usize::try_from(limit.unwrap_or(UNLIMITED)).unwrap_or(usize::MAX)
}

/// The part of a limit that segment files may have: connections have the larger one.
pub(crate) fn for_segments(limit: usize) -> usize {
    (limit / 4).clamp(64, 8192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_shared() {
        let limit = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit as u64, now.current.unwrap_or(UNLIMITED));
        assert_eq!([1024, 20_000, 1 << 20].map(for_segments), [256, 5000, 8192]);
    }
}
