//! What can be wrong with a configuration, always with the place where it is wrong.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it: the default built in.
    Default,
    /// A line of the configuration file (counted from one).
    File {
        /// The file as it was given.
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its whole name.
        variable: String,
    },
    /// A flag of the command.
    Flag {
        /// The flag as the user writes it, for example `--listen`.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// A configuration that cannot be used. The text says where and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}:{line}: not valid TOML: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// A key, section or variable that does not exist.
    #[error("{origin}: there is no setting `{key}`{hint}", hint = Hint(suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The existing key that is most like it, in the form to write there.
        suggestion: Option<String>,
    },
    /// A value that its key cannot take.
    #[error("{origin}: `{key}` cannot be {value}; write {expected}")]
    InvalidValue {
        /// Where it stands.
        origin: Origin,
        /// The key, with its section.
        key: String,
        /// The value as written.
        value: String,
        /// What to write, with an example.
        expected: String,
    },
    /// Two values that contradict each other.
    #[error("{origin}: `{key}` = {value} {problem}")]
    Contradiction {
        /// Where the first of the two comes from.
        origin: Origin,
        /// Its key, with its section.
        key: String,
        /// Its value.
        value: String,
        /// What it contradicts and how to put it right.
        problem: String,
    },
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => f.write_str("; every key is listed in config/logmill.toml"),
        }
    }
}
