//! Holds replies back until what they tell of is durable.

use std::sync::Arc;

use parking_lot::Mutex;

type Held = Box<dyn FnOnce() + Send>;

/// Closed until its frame is durable; what is told to it meanwhile happens then, in order.
#[derive(Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

enum State {
    Closed(Vec<Held>),
    Open,
}

impl Gate {
    /// A gate in front of a frame that is about to be sequenced.
    pub(super) fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed(Vec::new()))))
    }

    /// A gate with nothing to wait for.
    pub(super) fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// Does it when the gate is open: now, or at the moment it opens.
    pub(super) fn after(&self, held: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        match &mut *state {
            State::Closed(waiting) => waiting.push(Box::new(held)),
            State::Open => {
                drop(state);
                held();
            }
        }
    }

    /// What opens the gate; given to the store with the frame.
    pub(super) fn opener(&self) -> Box<dyn FnOnce() + Send> {
        let gate = self.clone();
        Box::new(move || {
            let before = std::mem::replace(&mut *gate.0.lock(), State::Open);
            if let State::Closed(waiting) = before {
                waiting.into_iter().for_each(|held| held());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_happens_once_in_order_when_the_gate_opens() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::closed();
        for n in 0..3 {
            let seen = Arc::clone(&seen);
            gate.after(move || seen.lock().push(n));
        }
        assert!(seen.lock().is_empty());
        gate.opener()();
        assert_eq!(*seen.lock(), [0, 1, 2]);
        let late = Arc::clone(&seen);
        gate.after(move || late.lock().push(3));
        assert_eq!(*seen.lock(), [0, 1, 2, 3]);
    }
}
