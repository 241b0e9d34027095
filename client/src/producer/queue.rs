//! One partition's records on their way out: batches, sequences, what is in flight and what must go again.
//!
//! Pure: no socket, no clock. The producer's task takes batches, sends them, and tells what came of each.
//!
//! ```text
//! push ─► open ─► full ─► take() ─► sent ─► acknowledged
//!                           ▲         │
//!                           └─ again ◄┘   (only when nothing of this partition is in flight any more)
//! ```
//!
//! Invariants:
//! - at most [`MAX_IN_FLIGHT`] batches are in flight, in the order of their sequences;
//! - a batch that was sent keeps its sequence for every attempt, so that the broker knows a duplicate;
//! - after a failure nothing is sent before every batch in flight is answered, and then in order;
//! - sequences start again (under a new epoch) only when the broker has refused the first batch of all that are
//!   not acknowledged for its sequence: then none of those behind it can have been written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::Shared;
use logmill_record::{Batch, BatchBuilder, BatchOptions, Codec, ProducerStamp};
use logmill_wire::ErrorCode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::record::ProducerRecord;
use crate::error::Error;

/// Batches of one partition that may be unanswered at a time. The broker remembers as many (KIP-98).
pub(crate) const MAX_IN_FLIGHT: usize = 5;

/// What came of a batch: its first offset, or -1 when the broker does not say.
pub(crate) type Outcome = Result<i64, Arc<Error>>;

/// The outcome of a batch, for everybody who waits for one of its records.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeHandle(Shared<oneshot::Receiver<Outcome>>);

impl OutcomeHandle {
    /// Whether it is known. A batch whose producer is gone has none.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        self.0.poll_unpin(context).map(|outcome| outcome.unwrap_or_else(|_| Err(Arc::new(Error::Closed))))
    }

    /// Waits until it is known.
    pub(crate) async fn known(mut self) -> Outcome {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

/// How a partition's batches are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSettings {
    pub(crate) codec: Codec,
    pub(crate) batch_bytes: usize,
    pub(crate) transactional: bool,
}

/// Who produces, when the producer is idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

#[derive(Debug)]
pub(crate) struct PartitionQueue {
    settings: BatchSettings,
    identity: Option<ProducerIdentity>,
    next_sequence: i32,
    next_number: u64,
    /// The batch that still takes records.
    open: Option<Box<Building>>,
    /// Full batches, oldest first; those to be sent again are in front.
    waiting: VecDeque<Waiting>,
    in_flight: VecDeque<Sent>,
    /// Not before this time, after a failure.
    pause_until: Option<Instant>,
    restart_sequences: bool,
}

#[derive(Debug)]
struct Building {
    builder: BatchBuilder,
    since: Instant,
    promise: Promise,
}

/// Those who wait for a batch.
#[derive(Debug)]
struct Promise {
    sender: oneshot::Sender<Outcome>,
    handle: OutcomeHandle,
    bytes: usize,
}

impl Promise {
    fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self { sender, handle: OutcomeHandle(receiver.shared()), bytes: 0 }
    }
}

#[derive(Debug)]
enum Waiting {
    /// Not built yet: it gets its sequence when it goes out.
    Fresh(Box<Building>),
    /// Made elsewhere: it gets its sequence when it goes out.
    Made(Made),
    /// To be sent again as it is.
    Again(Sent),
}

impl Waiting {
    fn since(&self) -> Instant {
        match self {
            Waiting::Fresh(building) => building.since,
            Waiting::Made(made) => made.since,
            Waiting::Again(sent) => sent.since,
        }
    }

    fn promise(&self) -> &Promise {
        match self {
            Waiting::Fresh(building) => &building.promise,
            Waiting::Made(made) => &made.promise,
            Waiting::Again(sent) => &sent.promise,
        }
    }

    fn into_promise(self) -> Promise {
        match self {
            Waiting::Fresh(building) => building.promise,
            Waiting::Made(made) => made.promise,
            Waiting::Again(sent) => sent.promise,
        }
    }
}

/// A batch made elsewhere.
#[derive(Debug)]
struct Made {
    batch: Batch,
    since: Instant,
    promise: Promise,
}

#[derive(Debug)]
struct Sent {
    number: u64,
    batch: Batch,
    since: Instant,
    promise: Promise,
    attempts: u32,
    /// Answered with a retriable error; waits for the others in flight.
    failed: bool,
}

/// A batch to be sent now.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Names the batch when its answer comes.
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

/// Bytes that no longer take room in the producer's buffer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freed(pub(crate) usize);

/// Batches that failed without having been sent, and the first reason: a transaction they belong to must not commit.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    pub(crate) freed: Freed,
    pub(crate) error: Option<Arc<Error>>,
}

impl Lost {
    fn add(&mut self, promise: Promise, error: Arc<Error>) {
        self.freed.0 += resolve(promise, Err(Arc::clone(&error))).0;
        self.error.get_or_insert(error);
    }
}

/// What the answer of a broker means for a batch.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Written, with its first offset.
    Written(i64),
    /// An error; `retriable` ones are tried again while there is time.
    Failed(Error),
}

impl PartitionQueue {
    pub(crate) fn new(settings: BatchSettings, identity: Option<ProducerIdentity>) -> Self {
        Self {
            settings,
            identity,
            next_sequence: 0,
            next_number: 0,
            open: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            pause_until: None,
            restart_sequences: false,
        }
    }

    /// Adds a record. Gives the batch's outcome and the record's place in it.
    pub(crate) fn push(
        &mut self,
        record: &ProducerRecord,
        timestamp: i64,
        now: Instant,
    ) -> (OutcomeHandle, i32) {
        let size = record.size();
        let full = |open: &Building| open.builder.size_estimate() + size > self.settings.batch_bytes;
        if self.open.as_deref().is_some_and(full) {
            self.seal();
        }
        let options = BatchOptions {
            codec: self.settings.codec,
            transactional: self.settings.transactional,
            ..BatchOptions::default()
        };
        let open = self.open.get_or_insert_with(|| {
            Box::new(Building { builder: BatchBuilder::new(options), since: now, promise: Promise::new() })
        });
        let place = i32::try_from(open.builder.count()).unwrap_or(i32::MAX);
        open.promise.bytes += size;
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        if record.headers.is_empty() {
            open.builder.push(timestamp, key, value, &[]);
        } else {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
            open.builder.push(timestamp, key, value, &headers);
        }
        (open.promise.handle.clone(), place)
    }

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.waiting.push_back(Waiting::Fresh(open));
        }
    }

    /// Adds a batch that was made elsewhere, behind everything added before. Only who produces it is yet to be written
    /// into it.
    pub(crate) fn push_batch(&mut self, batch: Batch, now: Instant) -> OutcomeHandle {
        self.seal();
        let mut promise = Promise::new();
        promise.bytes = batch.size();
        let handle = promise.handle.clone();
        self.waiting.push_back(Waiting::Made(Made { batch, since: now, promise }));
        handle
    }

    /// Closes the open batch and gives the outcomes of everything not yet acknowledged.
    pub(crate) fn flush(&mut self) -> Vec<OutcomeHandle> {
        self.seal();
        let waiting = self.waiting.iter().map(Waiting::promise);
        self.in_flight.iter().map(|sent| &sent.promise).chain(waiting).map(|p| p.handle.clone()).collect()
    }

    /// Nothing is queued or in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// When there is something to send, if ever without another event. `busy`: requests to the leader are under
    /// way, so that an open batch may wait `linger` for more records.
    pub(crate) fn due(&self, busy: bool, linger: Duration) -> Option<Instant> {
        if self.in_flight.len() >= MAX_IN_FLIGHT || self.in_flight.iter().any(|sent| sent.failed) {
            return None;
        }
        let ready = match (self.waiting.front(), &self.open) {
            (Some(waiting), _) => waiting.since(),
            (None, Some(open)) if busy => open.since + linger,
            (None, Some(open)) => open.since,
            (None, None) => return None,
        };
        Some(self.pause_until.map_or(ready, |pause| ready.max(pause)))
    }

    /// When the oldest batch is given up, unless it is in flight: then its answer decides.
    pub(crate) fn gives_up(&self, give_up: Duration) -> Option<Instant> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let waiting = self.waiting.front().map(Waiting::since);
        waiting.or_else(|| self.open.as_ref().map(|open| open.since)).map(|since| since + give_up)
    }

    /// The next batch to send, and what was lost before it. The caller has looked at [`due`](Self::due).
    pub(crate) fn take(&mut self) -> (Option<Outgoing>, Lost) {
        self.pause_until = None;
        let mut lost = Lost::default();
        loop {
            if self.waiting.is_empty() {
                self.seal();
            }
            let mut sent = match self.waiting.pop_front() {
                None => return (None, lost),
                Some(Waiting::Again(sent)) => sent,
                Some(Waiting::Made(made)) => self.stamp(made),
                Some(Waiting::Fresh(building)) => match self.build(building) {
                    Ok(sent) => sent,
                    Err((promise, error)) => {
                        lost.add(promise, Arc::new(error));
                        continue;
                    }
                },
            };
            sent.attempts += 1;
            sent.failed = false;
            let outgoing = Outgoing { number: sent.number, bytes: sent.batch.bytes().clone() };
            self.in_flight.push_back(sent);
            return (Some(outgoing), lost);
        }
    }

    /// Numbers a batch made elsewhere.
    fn stamp(&mut self, made: Made) -> Sent {
        let Made { mut batch, since, promise } = made;
        let count = batch.header().count;
        if let Some(identity) = self.identity {
            let stamp =
                ProducerStamp { id: identity.id, epoch: identity.epoch, sequence: self.next_sequence };
            batch = batch.with_producer(stamp, self.settings.transactional);
        }
        self.next_sequence = sequence_after(self.next_sequence, count);
        let number = self.next_number;
        self.next_number += 1;
        Sent { number, batch, since, promise, attempts: 0, failed: false }
    }

    fn build(&mut self, mut building: Box<Building>) -> Result<Sent, (Promise, Error)> {
        let count = i32::try_from(building.builder.count()).unwrap_or(i32::MAX);
        building.builder.set_producer(self.identity.map(|identity| ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            sequence: self.next_sequence,
        }));
        match building.builder.try_build() {
            Ok(batch) => {
                self.next_sequence = sequence_after(self.next_sequence, count);
                let number = self.next_number;
                self.next_number += 1;
                let Building { since, promise, .. } = *building;
                Ok(Sent { number, batch, since, promise, attempts: 0, failed: false })
            }
            Err(error) => {
                let reason = format!("its batch cannot be made: {error}");
                Err((building.promise, Error::NotSent { reason }))
            }
        }
    }

    /// What came of a batch. `give_up` is the time since a batch was begun after which a retriable error is
    /// final; `pause` the time before the next attempt.
    ///
    /// Gives back the room that is free now, and whether the batch failed for good.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        answer: Answer,
        now: Instant,
        give_up: Duration,
        pause: impl FnOnce(u32) -> Duration,
    ) -> (Freed, Option<Arc<Error>>) {
        let Some(index) = self.in_flight.iter().position(|sent| sent.number == number) else {
            return (Freed::default(), None);
        };
        let error = match answer {
            Answer::Written(offset) => return (self.finish(index, Ok(offset), now), None),
            // The broker has the batch already, from an attempt whose answer was lost.
            Answer::Failed(error) if error.code() == Some(ErrorCode::DUPLICATE_SEQUENCE_NUMBER) => {
                return (self.finish(index, Ok(-1), now), None);
            }
            Answer::Failed(error) => error,
        };
        let first = index == 0;
        let sequence_refused = self.identity.is_some()
            && matches!(
                error.code(),
                Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID)
            );
        // An older epoch than the broker's: for a producer without a transactional id a new epoch puts it right.
        let epoch_refused = self.identity.is_some()
            && !self.settings.transactional
            && error.code() == Some(ErrorCode::INVALID_PRODUCER_EPOCH);
        let again = if sequence_refused && !first {
            // The one in front decides.
            true
        } else if (sequence_refused && !self.settings.transactional) || epoch_refused {
            tracing::warn!(%error, "the broker does not continue the sequence; starting a new one");
            self.restart_sequences = true;
            true
        } else {
            error.is_retriable()
        };
        let expired = self.in_flight.get(index).is_some_and(|sent| now >= sent.since + give_up);
        if !again || expired {
            let error = Arc::new(error);
            return (self.finish(index, Err(Arc::clone(&error)), now), Some(error));
        }
        let mut attempts = 1;
        if let Some(sent) = self.in_flight.get_mut(index) {
            sent.failed = true;
            attempts = sent.attempts;
        }
        self.go_again_when_quiet(now, pause(attempts));
        (Freed::default(), None)
    }

    fn finish(&mut self, index: usize, outcome: Outcome, now: Instant) -> Freed {
        let freed = match self.in_flight.remove(index) {
            Some(sent) => resolve(sent.promise, outcome),
            None => Freed::default(),
        };
        self.go_again_when_quiet(now, Duration::ZERO);
        freed
    }

    /// When every batch in flight is answered, those that failed are in front of the queue again.
    fn go_again_when_quiet(&mut self, now: Instant, pause: Duration) {
        if !pause.is_zero() {
            self.pause_until = Some(now + pause);
        }
        if self.in_flight.iter().any(|sent| !sent.failed) {
            return;
        }
        while let Some(sent) = self.in_flight.pop_back() {
            self.waiting.push_front(Waiting::Again(sent));
        }
        if self.restart_sequences {
            self.restart_sequences = false;
            if let Some(identity) = &mut self.identity {
                // The epoch is this partition's own from here on; the broker keeps it per partition.
                identity.epoch = identity.epoch.checked_add(1).unwrap_or(0);
            }
            self.stamp_again();
        }
    }

    /// Gives what was built before a new stamp, sequences from zero.
    fn stamp_again(&mut self) {
        self.next_sequence = 0;
        let Some(identity) = self.identity else { return };
        for waiting in &mut self.waiting {
            let Waiting::Again(sent) = waiting else { continue };
            let stamp =
                ProducerStamp { id: identity.id, epoch: identity.epoch, sequence: self.next_sequence };
            self.next_sequence = sequence_after(self.next_sequence, sent.batch.header().count);
            sent.batch = sent.batch.clone().with_producer(stamp, self.settings.transactional);
        }
    }

    /// A new identity: after a transaction, when nothing is queued any more.
    pub(crate) fn set_identity(&mut self, identity: ProducerIdentity) {
        debug_assert!(self.is_idle(), "an identity changes between transactions");
        self.identity = Some(identity);
        self.next_sequence = 0;
    }

    /// Drops what was not sent and what waits to be sent again. Batches in flight are still answered.
    pub(crate) fn drop_waiting(&mut self, error: &Arc<Error>) -> Freed {
        self.seal();
        let mut freed = Freed::default();
        for waiting in self.waiting.drain(..) {
            freed.0 += resolve(waiting.into_promise(), Err(Arc::clone(error))).0;
        }
        freed
    }

    /// Fails what was not sent, and what waits to be sent again: of that nobody will say what became of it.
    pub(crate) fn fail_waiting(&mut self, error: &Arc<Error>) -> Lost {
        self.seal();
        let mut lost = Lost::default();
        for waiting in self.waiting.drain(..) {
            let error = match &waiting {
                Waiting::Fresh(_) | Waiting::Made(_) => Arc::clone(error),
                Waiting::Again(_) => Arc::new(Error::OutcomeUnknown { source: Box::new((**error).clone()) }),
            };
            lost.add(waiting.into_promise(), error);
        }
        lost
    }

    /// Fails batches that have waited too long to be sent at all.
    pub(crate) fn expire(&mut self, now: Instant, give_up: Duration, error: impl Fn() -> Error) -> Lost {
        let mut lost = Lost::default();
        if !self.in_flight.is_empty() {
            return lost;
        }
        // One that is not full is closed when it can be sent, which may be never.
        if self.open.as_ref().is_some_and(|open| now >= open.since + give_up) {
            self.seal();
        }
        while let Some(expired) = self.waiting.pop_front_if(|waiting| now >= waiting.since() + give_up) {
            lost.add(expired.into_promise(), Arc::new(error()));
        }
        lost
    }
}

fn resolve(promise: Promise, outcome: Outcome) -> Freed {
    // Nobody may be waiting.
    let _ = promise.sender.send(outcome);
    Freed(promise.bytes)
}

/// The sequence after `count` records, which wraps from `i32::MAX` to 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}

#[cfg(test)]
mod tests;
