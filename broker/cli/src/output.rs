//! How commands end: what failed, and with which exit status.

use std::process::ExitCode;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong: exit status 2.
    Usage(anyhow::Error),
    /// Something failed: exit status 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    /// Says on standard error what went wrong.
    #[expect(clippy::print_stderr, reason = "errors of a command belong on standard error")]
    pub(crate) fn report(&self) -> ExitCode {
        let (error, status) = match self {
            Self::Usage(error) => (error, 2),
            Self::Failed(error) => (error, 1),
        };
        eprintln!("logmill: {error:#}");
        ExitCode::from(status)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
