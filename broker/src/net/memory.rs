//! Budgets of memory, shared by all connections: one for requests, one for what responses read from files.
//!
//! For a request bytes are taken when a request's length is known and before its body is read, and given back when
//! the request is answered. A connection that finds none left waits and reads nothing meanwhile, so the
//! pressure reaches its peer through TCP.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// A budget. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from the budget; dropping the value gives them back.
#[derive(Debug)]
pub struct HeldMemory(OwnedSemaphorePermit);

impl HeldMemory {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Joins what was taken from the same budget, to be given back together.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        drop(self.0.split(self.bytes().saturating_sub(bytes)));
    }
}

/// One connection's place in the queue for memory. Kept while a wait is interrupted by other work.
#[derive(Debug)]
pub(super) struct MemoryQueue(PollSemaphore);

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// Bytes that are free now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Bytes held by requests now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.total - self.free().min(self.total)
    }

    /// Takes `wanted` bytes, or as many as are free, at once; perhaps none.
    #[must_use]
    pub fn take_up_to(&self, wanted: usize) -> Option<HeldMemory> {
        loop {
            let bytes = u32::try_from(wanted.min(self.free())).unwrap_or(u32::MAX);
            if bytes == 0 {
                return None;
            }
            // Another connection may have been quicker: look again.
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(bytes) {
                return Some(HeldMemory(permit));
            }
        }
    }

    pub(super) fn queue(&self) -> MemoryQueue {
        MemoryQueue(PollSemaphore::new(Arc::clone(&self.free)))
    }
}

impl MemoryQueue {
    /// Ready once `bytes` could be taken. Calls for one request must repeat the same number.
    pub(super) fn poll_take(&mut self, context: &mut Context<'_>, bytes: u32) -> Poll<HeldMemory> {
        self.0
            .poll_acquire_many(context, bytes)
            .map(|permit| HeldMemory(permit.expect("the budget is never closed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_given_back_and_waiters_go_on() {
        let memory = MemoryBudget::new(100);
        let mut first = memory.queue();
        let mut second = memory.queue();
        let held = std::future::poll_fn(|cx| first.poll_take(cx, 80)).await;
        assert_eq!(memory.held(), 80);
        let waiting = tokio::spawn(async move { std::future::poll_fn(|cx| second.poll_take(cx, 60)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        let held = waiting.await.unwrap();
        assert_eq!(memory.held(), 60);
        drop(held);
        assert_eq!(memory.free(), 100);
    }

    #[test]
    fn what_is_free_is_taken_at_once_and_shrinks() {
        let memory = MemoryBudget::new(100);
        let mut first = memory.take_up_to(70).unwrap();
        let second = memory.take_up_to(70).unwrap();
        assert_eq!((first.bytes(), second.bytes()), (70, 30));
        assert!(memory.take_up_to(1).is_none());
        assert!(memory.take_up_to(0).is_none());
        first.shrink_to(10);
        first.shrink_to(50);
        assert_eq!((first.bytes(), memory.free()), (10, 60));
        drop((first, second));
        assert_eq!(memory.held(), 0);
    }
}
