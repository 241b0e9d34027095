//! A history as text, to be looked at.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::event::History;

impl History {
    /// Writes it to a new file among the system's temporary ones, an operation a line: from when to when, whose, what, and how
    /// it ended.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self) -> io::Result<PathBuf> {
        static KEPT: AtomicU32 = AtomicU32::new(0);
        let number = KEPT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("logmill-history-{}-{number}", std::process::id()));
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "compacted: {:?}", self.compacted)?;
        for operation in &self.operations {
            let ended = operation.answer.as_ref().map(|(moment, _)| *moment);
            let (asked, process, action) = (operation.asked, operation.process, &operation.action);
            writeln!(file, "{asked}..{ended:?} {process}: {action:?} -> {:?}", operation.outcome())?;
        }
        file.flush()?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use crate::history::{Action, Outcome, Process, Recorder, Transaction};

    #[test]
    fn a_kept_history_has_a_line_for_each_operation() {
        let recorder = Recorder::new(&["latest"]);
        let asked = recorder.ask(Process(7), Action::Commit(Transaction(3)));
        let _never_answered = recorder.ask(Process(8), Action::Abort(Transaction(4)));
        recorder.answer(&asked, Outcome::Done);
        let path = recorder.history().keep().expect("a file");
        let kept = std::fs::read_to_string(&path).expect("it is there");
        std::fs::remove_file(&path).expect("nobody else has it");
        let lines: Vec<&str> = kept.lines().collect();
        assert_eq!(
            lines,
            [
                "compacted: [\"latest\"]",
                "1..Some(3) process 7: Commit(Transaction(3)) -> Done",
                "2..None process 8: Abort(Transaction(4)) -> Unknown",
            ]
        );
    }
}
