//! Why a config cannot be set.

/// A config that cannot be set so. The words are Kafka's where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such name.
    #[error("Unknown {resource} config name: {name}")]
    Unknown {
        /// What was to be configured: `topic` or `broker`.
        resource: &'static str,
        /// The name given.
        name: String,
    },
    /// Not a value of its type, or out of its bounds.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The config's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// Outside the bounds that the broker sets, or in contradiction to another config of the same resource.
    #[error("{name} must be {must}")]
    OutOfBounds {
        /// The config's name.
        name: &'static str,
        /// What it must be.
        must: String,
    },
    /// Values that contradict each other.
    #[error("conflict topic config setting {0}")]
    Conflict(String),
    /// There is no tiered storage.
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )]
    TieredStorage,
    /// Appending to what is no list, or subtracting from it.
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The config's name.
        name: String,
    },
    /// A change without the value it needs.
    #[error("Null value not supported for : {name}")]
    NoValue {
        /// The config's name.
        name: String,
    },
    /// The broker's configuration file alone says what it is.
    #[error("Cannot update these configs dynamically: [{name}]")]
    NotDynamic {
        /// The config's name.
        name: &'static str,
    },
}
