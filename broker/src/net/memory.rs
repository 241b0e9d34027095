//! The memory that requests may hold, shared by all connections.
//!
//! Bytes are taken when a request's length is known and before its body is read, and given back when
//! the request is answered. A connection that finds none left waits and reads nothing meanwhile, so the
//! pressure reaches its peer through TCP.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    free: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from the budget; dropping the value gives them back.
#[derive(Debug)]
pub struct HeldMemory {
    _permit: OwnedSemaphorePermit,
}

/// One connection's place in the queue for memory. Kept while a wait is interrupted by other work.
#[derive(Debug)]
pub(super) struct MemoryQueue(PollSemaphore);

impl RequestMemory {
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

    pub(super) fn queue(&self) -> MemoryQueue {
        MemoryQueue(PollSemaphore::new(Arc::clone(&self.free)))
    }
}

impl MemoryQueue {
    /// Ready once `bytes` could be taken. Calls for one request must repeat the same number.
    pub(super) fn poll_take(&mut self, context: &mut Context<'_>, bytes: u32) -> Poll<HeldMemory> {
        self.0
            .poll_acquire_many(context, bytes)
            .map(|permit| HeldMemory { _permit: permit.expect("the budget is never closed") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_given_back_and_waiters_go_on() {
        let memory = RequestMemory::new(100);
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
}
