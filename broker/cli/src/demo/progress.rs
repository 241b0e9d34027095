//! Progress on standard error: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::output::note;

/// Shows how far the work is.
pub(crate) struct Progress {
    terminal: bool,
    interval: Duration,
    last: Instant,
    open: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let interval = if terminal { Duration::from_millis(200) } else { Duration::from_secs(1) };
        Self { terminal, interval, last: Instant::now(), open: false }
    }

    /// Whether it is time to show how far the work is.
    pub(crate) fn is_due(&self) -> bool {
        self.last.elapsed() >= self.interval
    }

    /// Shows a state that will change.
    pub(crate) fn show(&mut self, text: &str) {
        self.last = Instant::now();
        if self.terminal {
            self.open = true;
            let mut err = io::stderr().lock();
            // There is nobody to tell that standard error is closed.
            let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
        } else {
            note(text);
        }
    }

    /// Shows something that stays.
    pub(crate) fn say(&mut self, text: &str) {
        if std::mem::take(&mut self.open) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        note(text);
    }
}
