//! A batch on its way through `process`.

use std::sync::Arc;

use super::assigned::Marks;
use super::{ConsumerRecord, GroupMembership, Shared};

/// Records that were taken.
pub(crate) struct TakenBatch {
    pub(crate) records: Vec<ConsumerRecord>,
    pub(crate) membership: GroupMembership,
    pub(crate) fate: Fate,
    pub(super) marks: Marks,
    pub(super) shared: Arc<Shared>,
}

/// What became of a batch, if it were dropped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing: the consumer gives the records again.
    Open,
    /// Its commit is on the way, and nobody knows: the consumer reads none of its partitions any more.
    Unknown,
    Done,
}

impl Drop for TakenBatch {
    fn drop(&mut self) {
        match self.fate {
            Fate::Open => {
                self.shared.assigned.lock().rewind(&self.marks);
                self.shared.work.notify_one();
            }
            Fate::Unknown => self.shared.assigned.lock().lose(&self.marks),
            Fate::Done => {}
        }
    }
}
