//! What happened, in text.

use std::fmt;

/// The story of a case: kept when somebody wants to read or compare it, free of charge when not.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

/// Lines of a failure that are worth showing.
const SHOWN_LINES: usize = 60;

impl Trace {
    pub(crate) fn silent() -> Trace {
        Trace { lines: None }
    }

    pub(crate) fn kept() -> Trace {
        Trace { lines: Some(Vec::new()) }
    }

    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(line.to_string());
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// The last lines.
    pub(crate) fn end(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::trace::Violation(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// The same for functions that return a [`crate::machine::Stop`].
macro_rules! ensure_stop {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::machine::Stop::Violation($crate::trace::Violation(format!($($message)+))));
        }
    };
}
pub(crate) use ensure_stop;
