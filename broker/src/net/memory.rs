//! Budgets of memory, shared by all connections: one for requests, one for the records in responses.
//!
//! For a request bytes are taken when a request's length is known and before its body is read, and given back when
//! the request is answered. A connection that finds none left waits and reads nothing meanwhile, so the
//! pressure reaches its peer through TCP.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::settings::{ORDINARY_REQUEST_BYTES, SMALL_REQUEST_BYTES};

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

/// What all requests may hold together. Larger ones leave a part of it to those that are not, whatever they wait for: a
/// heartbeat never queues behind produces that fill the memory, and an ordinary produce never behind huge ones whose bytes
/// come slowly.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    all: MemoryBudget,
    large: MemoryBudget,
    huge: MemoryBudget,
}

/// One connection's place in the queue for memory. Kept while a wait is interrupted by other work.
#[derive(Debug)]
pub(super) struct MemoryQueue {
    all: PollSemaphore,
    large: PollSemaphore,
    huge: PollSemaphore,
    /// A large request's leave to join the small ones.
    as_large: Option<OwnedSemaphorePermit>,
    /// A huge one's to join the large ones.
    as_huge: Option<OwnedSemaphorePermit>,
}

/// What a request holds until it is answered.
#[derive(Debug)]
pub(super) struct RequestHolds {
    _all: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
    _huge: Option<OwnedSemaphorePermit>,
}

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

    /// Bytes of the whole budget.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// What one taker may have: a quarter of what is free. However many keep what they got, there is something for the
    /// next.
    #[must_use]
    pub fn share(&self) -> usize {
        self.free() / 4
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
}

impl RequestMemory {
    /// `total` bytes, or what it takes for one request of `largest` beside the parts of the others.
    #[must_use]
    pub fn new(total: usize, largest: usize) -> Self {
        let (for_small, for_ordinary) = (total / 8, total / 4);
        let huge = total.saturating_sub(for_small + for_ordinary).max(largest);
        let large = huge.saturating_add(for_ordinary);
        let all = large.saturating_add(for_small);
        Self { all: MemoryBudget::new(all), large: MemoryBudget::new(large), huge: MemoryBudget::new(huge) }
    }

    /// Bytes held by requests now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.all.held()
    }

    /// The most bytes they may hold.
    #[must_use]
    pub fn total(&self) -> usize {
        self.all.total()
    }

    pub(super) fn queue(&self) -> MemoryQueue {
        let of = |budget: &MemoryBudget| PollSemaphore::new(Arc::clone(&budget.free));
        MemoryQueue {
            all: of(&self.all),
            large: of(&self.large),
            huge: of(&self.huge),
            as_large: None,
            as_huge: None,
        }
    }
}

impl MemoryQueue {
    /// Ready once `bytes` could be taken. Calls for one request must repeat the same number.
    pub(super) fn poll_take(&mut self, context: &mut Context<'_>, bytes: u32) -> Poll<RequestHolds> {
        const NEVER_CLOSED: &str = "the budgets are never closed";
        // Always in this order, so that nobody holds what somebody waits for who is further.
        if bytes as usize > ORDINARY_REQUEST_BYTES && self.as_huge.is_none() {
            self.as_huge = Some(ready!(self.huge.poll_acquire_many(context, bytes)).expect(NEVER_CLOSED));
        }
        if bytes as usize > SMALL_REQUEST_BYTES && self.as_large.is_none() {
            self.as_large = Some(ready!(self.large.poll_acquire_many(context, bytes)).expect(NEVER_CLOSED));
        }
        let all = ready!(self.all.poll_acquire_many(context, bytes)).expect(NEVER_CLOSED);
        Poll::Ready(RequestHolds { _all: all, _large: self.as_large.take(), _huge: self.as_huge.take() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(queue: &mut MemoryQueue, bytes: u32) -> RequestHolds {
        std::future::poll_fn(|cx| queue.poll_take(cx, bytes)).await
    }

    const LARGE: u32 = SMALL_REQUEST_BYTES as u32 * 10;

    #[tokio::test]
    async fn memory_is_given_back_and_waiters_go_on() {
        let memory = RequestMemory::new(LARGE as usize * 3 / 2, 0);
        let (mut first, mut second) = (memory.queue(), memory.queue());
        let held = take(&mut first, LARGE).await;
        assert_eq!(memory.held(), LARGE as usize);
        let waiting = tokio::spawn(async move { take(&mut second, LARGE).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        let held = waiting.await.unwrap();
        assert_eq!(memory.held(), LARGE as usize);
        drop(held);
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn small_requests_never_wait_behind_large_ones() {
        let memory = RequestMemory::new(LARGE as usize, LARGE as usize);
        let (mut first, mut second, mut small) = (memory.queue(), memory.queue(), memory.queue());
        let held = take(&mut first, LARGE).await;
        let waiting = tokio::spawn(async move { take(&mut second, LARGE).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the large ones have taken what they may");
        let heartbeat = futures::poll!(std::pin::pin!(take(&mut small, 100)));
        assert!(heartbeat.is_ready());
        drop((held, heartbeat));
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn ordinary_requests_never_wait_behind_huge_ones() {
        let huge = ORDINARY_REQUEST_BYTES as u32 * 5;
        let memory = RequestMemory::new(huge as usize, huge as usize);
        let (mut first, mut second, mut ordinary) = (memory.queue(), memory.queue(), memory.queue());
        let held = take(&mut first, huge).await;
        let waiting = tokio::spawn(async move { take(&mut second, huge).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the huge ones have taken what they may");
        let produce = futures::poll!(std::pin::pin!(take(&mut ordinary, LARGE)));
        assert!(produce.is_ready());
        drop((held, produce));
        waiting.await.unwrap();
    }

    #[test]
    fn who_keeps_what_it_got_leaves_something_to_the_next() {
        let memory = MemoryBudget::new(1 << 20);
        let kept: Vec<HeldMemory> = (0..8).map(|_| memory.take_up_to(memory.share()).unwrap()).collect();
        assert_eq!((kept[0].bytes(), kept[1].bytes()), (1 << 18, 3 << 16));
        assert!(memory.free() > 100_000, "{} are left after eight", memory.free());
        drop(kept);
        assert_eq!(memory.free(), 1 << 20);
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
