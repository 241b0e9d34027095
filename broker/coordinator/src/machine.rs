//! The contract between a coordinator and whoever drives it.
//!
//! ```text
//!            command, now                    records          one frame
//! client ──► driver ──► machine.handle ──► Step ──► sequencer ──────────► journal
//!                            ▲                │                              │ durable
//!                            └── apply ◄──────┘ (as soon as sequenced)       ▼
//!                                                 replies ◄───────────── released
//! ```
//!
//! A machine *decides*; it owns no clock, no random numbers, no files. Its **durable** state changes only
//! through [`Machine::apply`], its **waiting** state (parked requests, deadlines) only through the other
//! methods. The driver's duties:
//!
//! 1. After every call that returns a [`Step`], sequence all its records as one frame (some may belong to
//!    other partitions), apply them in order, and only then make the next call.
//! 2. Release a step's replies when that frame is durable; replies of a step without records when
//!    everything sequenced before it is durable.
//! 3. When a frame is rejected, drop the machine, build a new one from its log, and answer the requests
//!    that were parked or in the rejected step with `NOT_COORDINATOR`. There is no roll-back.
//! 4. When a log has been read to its end, call [`Machine::loaded`] once, before the first command.

/// Names a request until it is answered. Chosen by the driver, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What follows from one input: records that must become true together, and answers that may be given
/// once they have.
///
/// A request without an answer in the step of its own command is parked: a later step answers it. Every
/// request is answered exactly once.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "records must be sequenced and replies released"]
pub struct Step<Record, Reply> {
    /// To be appended as one frame, in this order.
    pub records: Vec<Record>,
    /// Answers to this request or to ones parked earlier.
    pub replies: Vec<(RequestId, Reply)>,
}

impl<Record, Reply> Step<Record, Reply> {
    /// A step in which nothing happens.
    pub fn nothing() -> Self {
        Step { records: Vec::new(), replies: Vec::new() }
    }

    /// A step that only answers.
    pub fn reply(request: RequestId, reply: Reply) -> Self {
        Step { records: Vec::new(), replies: vec![(request, reply)] }
    }

    /// Whether nothing happens.
    pub fn is_nothing(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }
}

impl<Record, Reply> Default for Step<Record, Reply> {
    fn default() -> Self {
        Step::nothing()
    }
}

/// A coordinator of one partition of an internal topic.
///
/// Times are wall-clock milliseconds since the epoch. The same calls with the same arguments give the same
/// steps, on every machine and in every run.
pub trait Machine {
    /// What can be asked.
    type Command;
    /// What becomes true.
    type Record;
    /// What is answered.
    type Reply;

    /// Decides about one command. Touches waiting state only.
    fn handle(
        &mut self,
        now: i64,
        request: RequestId,
        command: Self::Command,
    ) -> Step<Self::Record, Self::Reply>;

    /// Takes in one record of this machine's log, whoever wrote it. The only way durable state changes;
    /// cannot fail.
    fn apply(&mut self, record: &Self::Record);

    /// Called once when the log has been applied to its end: members get their session timeouts from now,
    /// and what an imported log left half done is due at once.
    fn loaded(&mut self, now: i64) -> Step<Self::Record, Self::Reply>;

    /// When [`Machine::on_deadline`] wants to be called next; `None` when nothing waits.
    fn next_deadline(&self) -> Option<i64>;

    /// Does what is due at `now`, or part of it: afterwards [`Machine::next_deadline`] may still be due.
    /// Calling it early, or late, is harmless.
    fn on_deadline(&mut self, now: i64) -> Step<Self::Record, Self::Reply>;
}
