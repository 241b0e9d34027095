//! On whose behalf a request is made.

use std::fmt;

/// A user, as Kafka writes it: `User:name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    name: String,
}

impl Principal {
    /// Who a client is that did not say.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { name: "ANONYMOUS".to_owned() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User:{}", self.name)
    }
}
