//! Levels of log lines, as Kafka's broker loggers: read and changed while the broker runs, gone when it
//! stops.
//!
//! The names are those of the crates and modules that write log lines, and `root` for all others. What
//! really filters is the subscriber of whoever started the broker; it hands in a function that takes the
//! new directives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use logmill_wire::ErrorCode;
use parking_lot::Mutex;

use crate::configs::Change;

/// The logger of everything that has none of its own.
const ROOT: &str = "root";

/// The crates that write log lines. A module of theirs is a logger too.
const CRATES: [&str; 6] = [
    "logmill",
    "logmill_broker",
    "logmill_client",
    "logmill_coordinator",
    "logmill_storage",
    "logmill_stream",
];

/// The levels there are, with the words Kafka has for them.
const LEVELS: [(&str, &str); 6] = [
    ("TRACE", "trace"),
    ("DEBUG", "debug"),
    ("INFO", "info"),
    ("WARN", "warn"),
    ("ERROR", "error"),
    ("FATAL", "error"),
];

/// What takes new directives, such as `info,logmill_broker=debug`.
type Apply = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Why a level was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoggerError {
    /// No such logger.
    #[error("Logger {0} does not exist!")]
    Unknown(String),
    /// No such level.
    #[error(
        "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are TRACE, DEBUG, INFO, WARN, ERROR, FATAL"
    )]
    Level {
        /// The logger.
        logger: String,
        /// The level given.
        level: String,
    },
    /// There must be a level for everything else.
    #[error("Removing the log level of the root logger is not allowed")]
    Root,
    /// A level is no list.
    #[error("APPEND and SUBTRACT operations are not allowed for the BROKER_LOGGER resource")]
    NotAList,
    /// Whoever started the broker keeps the levels.
    #[error("the levels of this process's log lines cannot be changed: {0}")]
    Fixed(String),
}

impl LoggerError {
    /// Kafka's code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) | Self::Level { .. } => ErrorCode::INVALID_CONFIG,
            Self::Root | Self::NotAList | Self::Fixed(_) => ErrorCode::INVALID_REQUEST,
        }
    }
}

/// The loggers of this process; cheap to clone.
#[derive(Clone)]
pub struct Loggers(Arc<Shared>);

struct Shared {
    /// The level of each logger that has one, in small letters.
    levels: Mutex<BTreeMap<String, String>>,
    apply: Option<Box<Apply>>,
}

impl Loggers {
    /// Loggers with the levels of these directives, which nobody can change.
    #[must_use]
    pub fn fixed(directives: &str) -> Self {
        Self(Arc::new(Shared { levels: Mutex::new(parse(directives)), apply: None }))
    }

    /// Loggers with the levels of these directives; a change is handed to `apply` as new ones.
    #[must_use]
    pub fn new(directives: &str, apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { levels: Mutex::new(parse(directives)), apply: Some(Box::new(apply)) }))
    }

    /// Every logger with its level, `root` first.
    #[must_use]
    pub fn levels(&self) -> Vec<(String, String)> {
        let levels = self.0.levels.lock();
        let root = level_of(&levels, ROOT);
        let mut shown = BTreeMap::new();
        for name in CRATES.into_iter().chain(levels.keys().map(String::as_str)) {
            shown.insert(name.to_owned(), level_of(&levels, name).to_uppercase());
        }
        shown.remove(ROOT);
        std::iter::once((ROOT.to_owned(), root.to_uppercase())).chain(shown).collect()
    }

    /// Changes levels, all or none, or only checks whether they could be changed.
    ///
    /// # Errors
    /// [`LoggerError`]; nothing was changed.
    pub fn change(&self, changes: &[(String, Change)], validate_only: bool) -> Result<(), LoggerError> {
        let mut levels = self.0.levels.lock();
        let mut after = levels.clone();
        for (name, change) in changes {
            if !exists(name) {
                return Err(LoggerError::Unknown(name.clone()));
            }
            match change {
                Change::Set(level) => {
                    let level = LEVELS.iter().find(|(word, _)| level.eq_ignore_ascii_case(word));
                    let Some((_, level)) = level else {
                        let Change::Set(level) = change.clone() else { return Err(LoggerError::NotAList) };
                        return Err(LoggerError::Level { logger: name.clone(), level });
                    };
                    after.insert(name.clone(), (*level).to_owned());
                }
                Change::Delete if name == ROOT => return Err(LoggerError::Root),
                Change::Delete => drop(after.remove(name)),
                Change::Append(_) | Change::Subtract(_) => return Err(LoggerError::NotAList),
            }
        }
        let Some(apply) = &self.0.apply else {
            return Err(LoggerError::Fixed("it was started without that".to_owned()));
        };
        if !validate_only {
            apply(&directives(&after)).map_err(LoggerError::Fixed)?;
            *levels = after;
        }
        Ok(())
    }
}

fn exists(name: &str) -> bool {
    let is_module = |within: &str| {
        name.strip_prefix(within).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    name == ROOT || CRATES.into_iter().any(is_module)
}

/// The level of a logger: its own, else that of the module around it, else that of the root.
fn level_of(levels: &BTreeMap<String, String>, name: &str) -> String {
    let mut name = name;
    loop {
        if let Some(level) = levels.get(name) {
            return level.clone();
        }
        match name.rsplit_once("::") {
            Some((around, _)) => name = around,
            None if name == ROOT => return "error".to_owned(),
            None => name = ROOT,
        }
    }
}

fn parse(directives: &str) -> BTreeMap<String, String> {
    let words = directives.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| match word.split_once('=') {
            Some((name, level)) => (name.to_owned(), level.to_lowercase()),
            None if LEVELS.iter().any(|(_, level)| word.eq_ignore_ascii_case(level)) => {
                (ROOT.to_owned(), word.to_lowercase())
            }
            // A name alone is everything of it.
            None => (word.to_owned(), "trace".to_owned()),
        })
        .collect()
}

fn directives(levels: &BTreeMap<String, String>) -> String {
    let mut text = level_of(levels, ROOT);
    for (name, level) in levels.iter().filter(|(name, _)| *name != ROOT) {
        // Writing to a String cannot fail.
        let _ = write!(text, ",{name}={level}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, level: &str) -> Vec<(String, Change)> {
        vec![(name.to_owned(), Change::Set(level.to_owned()))]
    }

    #[test]
    fn a_change_becomes_the_subscribers_directives() {
        let seen = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&seen);
        let loggers = Loggers::new("info,logmill_broker=debug", move |directives| {
            *sink.lock() = directives.to_owned();
            Ok(())
        });
        let level = |loggers: &Loggers, name: &str| {
            loggers.levels().into_iter().find(|(known, _)| known == name).map(|(_, level)| level)
        };
        assert_eq!(level(&loggers, "root").as_deref(), Some("INFO"));
        assert_eq!(level(&loggers, "logmill_storage").as_deref(), Some("INFO"));
        loggers.change(&set("logmill_storage", "WARN"), true).unwrap();
        assert_eq!(*seen.lock(), "", "only checked");
        loggers.change(&set("logmill_broker::net", "trace"), false).unwrap();
        assert_eq!(*seen.lock(), "info,logmill_broker=debug,logmill_broker::net=trace");
        assert_eq!(level(&loggers, "logmill_broker::net").as_deref(), Some("TRACE"));
        loggers.change(&[("logmill_broker".to_owned(), Change::Delete)], false).unwrap();
        assert_eq!(*seen.lock(), "info,logmill_broker::net=trace");
        assert_eq!(level(&loggers, "logmill_broker").as_deref(), Some("INFO"));
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        let loggers = Loggers::new("warn", |_| Ok(()));
        let unknown = |name: &str| Err(LoggerError::Unknown(name.to_owned()));
        for name in ["ROOT", "nope", "kafka.server", "logmill_brokers"] {
            assert_eq!(loggers.change(&set(name, "DEBUG"), false), unknown(name));
        }
        let level = LoggerError::Level { logger: "root".to_owned(), level: "LOUD".to_owned() };
        assert_eq!(loggers.change(&set("root", "LOUD"), false), Err(level));
        let delete = [("root".to_owned(), Change::Delete)];
        assert_eq!(loggers.change(&delete, false), Err(LoggerError::Root));
        let append = [("root".to_owned(), Change::Append("x".to_owned()))];
        assert_eq!(loggers.change(&append, false), Err(LoggerError::NotAList));
        assert!(matches!(
            Loggers::fixed("info").change(&set("root", "WARN"), false),
            Err(LoggerError::Fixed(_))
        ));
    }
}
