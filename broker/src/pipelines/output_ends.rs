//! Where the topics that a pipeline writes end after each of its last epochs: what a query reads up to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use logmill_storage::PartitionId;
use parking_lot::Mutex;

/// Two epochs may be on their way, and one is shown; a reader may be a little behind.
const KEPT: usize = 8;

/// The ends of one pipeline's outputs; shared by its runner and by queries.
#[derive(Clone, Default)]
pub(super) struct OutputEnds(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    /// Epochs that are being committed.
    begun: usize,
    /// By epoch, oldest first: the ends of all partitions written since the broker started.
    epochs: VecDeque<(u64, BTreeMap<PartitionId, i64>)>,
}

/// Where an epoch has written.
pub(super) struct Written {
    pub(super) partition: PartitionId,
    /// The first offset.
    pub(super) from: i64,
    /// The offset behind the last one.
    pub(super) to: i64,
}

impl OutputEnds {
    /// An epoch is being committed: until [`OutputEnds::committed`] or [`OutputEnds::refused`] nobody knows where the
    /// topics end.
    pub(super) fn begin(&self) {
        self.0.lock().begun += 1;
    }

    /// The epoch is committed, and this is what it wrote.
    pub(super) fn committed(&self, epoch: u64, written: &[Written]) {
        let mut known = self.0.lock();
        known.begun -= 1;
        if known.epochs.is_empty() {
            known.epochs.push_back((epoch.saturating_sub(1), BTreeMap::new()));
        }
        for Written { partition, from, .. } in written {
            // Before it was written, it ended where the epoch begins.
            known.epochs.iter_mut().for_each(|(_, ends)| {
                ends.entry(*partition).or_insert(*from);
            });
        }
        let mut all = known.epochs.back().map(|(_, ends)| ends.clone()).unwrap_or_default();
        all.extend(written.iter().map(|written| (written.partition, written.to)));
        known.epochs.push_back((epoch, all));
        if known.epochs.len() > KEPT {
            known.epochs.pop_front();
        }
    }

    /// Nothing of the epoch happened.
    pub(super) fn refused(&self) {
        self.0.lock().begun -= 1;
    }

    /// Where partitions end after an epoch; those that are not named end where they end. `None` while nobody knows: ask
    /// again, for the epoch that is the last then.
    pub(super) fn of(&self, epoch: u64) -> Option<BTreeMap<PartitionId, i64>> {
        let known = self.0.lock();
        if known.begun > 0 {
            return None;
        }
        if known.epochs.is_empty() {
            return Some(BTreeMap::new());
        }
        known.epochs.iter().find(|(of, _)| *of == epoch).map(|(_, ends)| ends.clone())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_ends_are_those_of_the_epoch_that_is_asked_for() {
        let id = |partition| PartitionId { topic: Uuid::from_u128(9), partition };
        let written = |partition, from, to| Written { partition: id(partition), from, to };
        let ends = OutputEnds::default();
        assert_eq!(ends.of(7), Some(BTreeMap::new()));
        ends.begin();
        assert_eq!(ends.of(7), None);
        ends.committed(8, &[written(1, 6, 10)]);
        // Before it was written, the partition ended where the epoch begins.
        assert_eq!(ends.of(7), Some(BTreeMap::from([(id(1), 6)])));
        ends.begin();
        ends.committed(9, &[written(1, 10, 12), written(2, 0, 3)]);
        assert_eq!(ends.of(8), Some(BTreeMap::from([(id(1), 10), (id(2), 0)])));
        assert_eq!(ends.of(9), Some(BTreeMap::from([(id(1), 12), (id(2), 3)])));
        ends.begin();
        assert_eq!(ends.of(9), None);
        ends.refused();
        for epoch in 10..30 {
            ends.begin();
            ends.committed(epoch, &[]);
        }
        assert_eq!(ends.of(9), None);
        assert_eq!(ends.of(29), Some(BTreeMap::from([(id(1), 12), (id(2), 3)])));
    }
}
