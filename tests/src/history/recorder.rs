//! Writes a history down while clients make it.

use std::sync::{Arc, Mutex};

use super::event::{Action, History, Operation, Outcome, Process};

/// Takes down operations from all clients, in one order.
#[derive(Debug, Default)]
pub struct Recorder {
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    history: History,
    moment: u64,
    processes: u32,
}

/// An operation that was asked for, to be answered.
#[derive(Debug)]
#[must_use = "without an answer its outcome is unknown"]
pub struct Asked(usize);

impl Recorder {
    /// Of topics some of which are compacted.
    pub fn new(compacted: &[&str]) -> Recorder {
        let history = History {
            compacted: compacted.iter().map(|topic| Arc::from(*topic)).collect(),
            ..History::default()
        };
        Recorder { written: Mutex::new(Written { history, ..Written::default() }) }
    }

    /// A new client.
    pub fn process(&self) -> Process {
        let mut written = self.written.lock().expect("no panic while it was held");
        written.processes += 1;
        Process(written.processes)
    }

    /// To be called before the operation begins.
    pub fn ask(&self, process: Process, action: Action) -> Asked {
        let mut written = self.written.lock().expect("no panic while it was held");
        let asked = written.next();
        written.history.operations.push(Operation { process, asked, action, answer: None });
        Asked(written.history.operations.len() - 1)
    }

    /// To be called when it has ended.
    pub fn answer(&self, asked: &Asked, outcome: Outcome) {
        let mut written = self.written.lock().expect("no panic while it was held");
        let moment = written.next();
        written.history.operations[asked.0].answer = Some((moment, outcome));
    }

    /// What was written down so far.
    pub fn history(&self) -> History {
        self.written.lock().expect("no panic while it was held").history.clone()
    }
}

impl Written {
    fn next(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}
