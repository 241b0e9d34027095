//! How much state the tasks of a worker hold together, and that it is no more than they may.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_stream::OperatorSize;
use parking_lot::Mutex;

use crate::error::TaskError;

/// What the tasks of one worker may hold.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: u64,
    held: Mutex<BTreeMap<i32, u64>>,
}

/// A task's part of it, which is let go with this.
#[derive(Debug)]
pub(crate) struct Part {
    memory: Arc<Memory>,
    task: i32,
}

impl Memory {
    /// For so many bytes of state.
    pub(crate) fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self { budget, held: Mutex::default() })
    }

    /// For a task that begins. A worker runs each once.
    pub(crate) fn part_of(self: &Arc<Self>, task: i32) -> Part {
        Part { memory: Arc::clone(self), task }
    }
}

impl Part {
    /// The task holds so many bytes now; `sizes` says in which operators.
    ///
    /// # Errors
    /// [`TaskError::OverBudget`] when the tasks hold more than they may together.
    pub(crate) fn hold(
        &self,
        bytes: u64,
        sizes: impl FnOnce() -> Vec<OperatorSize>,
    ) -> Result<(), TaskError> {
        let (all, tasks) = {
            let mut held = self.memory.held.lock();
            held.insert(self.task, bytes);
            (held.values().fold(0, |all: u64, bytes| all.saturating_add(*bytes)), held.len())
        };
        let budget = self.memory.budget;
        if all <= budget {
            return Ok(());
        }
        let operator = match sizes().into_iter().max_by_key(|size| size.memory_bytes) {
            None => "no operator".to_owned(),
            Some(size) => format!(
                "{} {:08x} ({} bytes, {} entries)",
                size.operator, size.identity, size.memory_bytes, size.entries
            ),
        };
        Err(TaskError::OverBudget { tasks, bytes: all, budget, operator })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.memory.held.lock().remove(&self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tasks_hold_together_is_bounded_and_goes_with_them() {
        let memory = Memory::new(100);
        let (first, second) = (memory.part_of(0), memory.part_of(1));
        let nothing = || Vec::new();
        assert!(first.hold(60, nothing).is_ok());
        assert!(second.hold(40, nothing).is_ok(), "as much as it may");
        let over = second.hold(41, nothing).expect_err("one more");
        assert!(matches!(over, TaskError::OverBudget { tasks: 2, bytes: 101, budget: 100, .. }), "{over}");
        assert!(over.to_string().contains("run more workers"), "{over}");
        drop(first);
        assert!(second.hold(100, nothing).is_ok(), "the other one has let go");
        let over = second.hold(101, nothing).expect_err("alone");
        assert!(!over.to_string().contains("run more workers"), "{over}");
    }
}
