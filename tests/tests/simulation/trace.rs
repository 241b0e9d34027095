//! What happened, as one number: two runs of a seed must agree in it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// A digest over every event, with the moment at which it happened. Clones write the same one.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    began: Instant,
    digest: DefaultHasher,
    events: u64,
    /// The events in words, where somebody wants to see where two runs part.
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Of a run that begins now.
    pub(crate) fn new(in_words: bool) -> Trace {
        let lines = in_words.then(Vec::new);
        let state = State { began: Instant::now(), digest: DefaultHasher::new(), events: 0, lines };
        Trace(Arc::new(Mutex::new(state)))
    }

    /// Something happened; `number` and `bytes` say what exactly.
    pub(crate) fn note(&self, kind: &str, number: u64, bytes: &[u8]) {
        let state = &mut *self.0.lock().expect("no panic while it was held");
        let moment = state.began.elapsed().as_micros() as u64;
        (moment, kind, number, bytes).hash(&mut state.digest);
        state.events += 1;
        if let Some(lines) = &mut state.lines {
            let mut content = DefaultHasher::new();
            bytes.hash(&mut content);
            let (length, content) = (bytes.len(), content.finish());
            lines.push(format!("{moment} us: {kind} {number}: {length} bytes, {content:016x}"));
        }
    }

    /// How many events there were, and their digest.
    pub(crate) fn sum(&self) -> (u64, u64) {
        let state = self.0.lock().expect("no panic while it was held");
        (state.events, state.digest.finish())
    }

    /// The events in words, if they were to be kept.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic while it was held").lines.clone().unwrap_or_default()
    }
}
