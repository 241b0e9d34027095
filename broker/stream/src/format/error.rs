//! Why a table's format cannot be used.

use thiserror::Error;

/// A format does not fit its columns, or is not well described. It is found when the table is declared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub struct FormatError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl FormatError {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}
