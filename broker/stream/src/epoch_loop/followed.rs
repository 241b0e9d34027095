//! How far a run goes over records that another one has read.

use std::collections::BTreeMap;

use crate::pipeline::{Reached, TopicPartition};

/// How far another run is over the same records.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    /// Where it is in each partition: nothing is read beyond.
    pub offsets: BTreeMap<TopicPartition, i64>,
    /// What time it is for it in each source that is one of its own, too, by the index in the plan that follows. Event time of
    /// these comes as far once everything is read, and never further. That of others is what their records say.
    pub times: BTreeMap<usize, Reached>,
}

impl Followed {
    /// Whether all is read of a partition that the other run has read.
    pub(super) fn has_read(&self, partition: &TopicPartition, position: i64) -> bool {
        self.offsets.get(partition).is_some_and(|offset| position >= *offset)
    }
}
