//! What is derived from the batches, computed again from them and compared with the files.

use std::collections::BTreeMap;

use crate::log::{AbortedTransaction, LeaderEpochs, Producers, TransactionEvent};

use super::batches::StoredBatch;
use super::entries::{OffsetIndexEntry, SnapshotEntry, TimeIndexEntry};

/// One batch of a segment, as far as its indexes speak of it.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    position: u64,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

/// What follows from the batches of one segment.
#[derive(Debug, Default)]
pub(super) struct SegmentFacts {
    batches: Vec<Indexed>,
    /// Aborted transactions whose markers lie in it.
    pub(super) aborted: Vec<AbortedTransaction>,
}

impl SegmentFacts {
    /// What is wrong with a `.index`: each entry must name the last offset of the batch at its position.
    pub(super) fn wrong_offsets(&self, entries: &[OffsetIndexEntry]) -> Option<String> {
        entries.iter().find_map(|entry| {
            let found = self.batches.binary_search_by_key(&entry.position, |batch| batch.position);
            match found.map(|at| self.batches[at]) {
                Err(_) => {
                    Some(format!("offset {}: no batch begins at position {}", entry.offset, entry.position))
                }
                Ok(batch) if batch.last_offset != entry.offset => Some(format!(
                    "the batch at position {} ends at offset {}, the index says {}",
                    entry.position, batch.last_offset, entry.offset
                )),
                Ok(_) => None,
            }
        })
    }

    /// What is wrong with a `.timeindex`: the batch that holds an entry's offset must have its timestamp, and no batch
    /// before a larger one.
    pub(super) fn wrong_times(&self, entries: &[TimeIndexEntry]) -> Option<String> {
        let mut largest_before = i64::MIN;
        let mut batches = self.batches.iter().peekable();
        for entry in entries {
            while let Some(batch) = batches.next_if(|batch| batch.last_offset < entry.offset) {
                largest_before = largest_before.max(batch.max_timestamp);
            }
            let Some(batch) = batches.peek().filter(|batch| batch.base_offset <= entry.offset) else {
                return Some(format!("no batch holds offset {}", entry.offset));
            };
            if batch.max_timestamp != entry.timestamp {
                return Some(format!(
                    "the batch of offset {} has timestamp {}, the index says {}",
                    entry.offset, batch.max_timestamp, entry.timestamp
                ));
            }
            if largest_before > entry.timestamp {
                return Some(format!(
                    "a batch before offset {} has the larger timestamp {largest_before}",
                    entry.offset
                ));
            }
        }
        None
    }

    /// What is wrong with a `.txnindex`. Transactions that began before `known_from` cannot be told from the batches.
    pub(super) fn wrong_aborted(&self, entries: &[AbortedTransaction], known_from: i64) -> Option<String> {
        let name = |entry: &AbortedTransaction| (entry.producer_id, entry.first_offset, entry.last_offset);
        let missing =
            self.aborted.iter().find(|derived| !entries.iter().any(|entry| name(entry) == name(derived)));
        if let Some(missing) = missing {
            return Some(format!(
                "the transaction of producer {} aborted at offset {} is missing: its records would be taken for committed",
                missing.producer_id, missing.last_offset
            ));
        }
        let foreign = entries.iter().find(|entry| {
            entry.first_offset >= known_from
                && !self.aborted.iter().any(|derived| name(entry) == name(derived))
        });
        foreign.map(|entry| {
            format!(
                "no transaction of producer {} was aborted at offset {}: committed records would be hidden",
                entry.producer_id, entry.last_offset
            )
        })
    }
}

/// What follows from all batches so far, in their order.
#[derive(Debug, Default)]
pub(super) struct LogFacts {
    producers: Producers,
    /// Last offset and sequence of each producer's last batch.
    last_offsets: BTreeMap<i64, i64>,
    pub(super) epochs: LeaderEpochs,
}

impl LogFacts {
    /// Begins behind batches that are gone: with what a snapshot says of their producers.
    pub(super) fn begin_with(&mut self, producers: Producers) {
        self.producers = producers;
    }

    /// The next batch.
    pub(super) fn observe(&mut self, segment: &mut SegmentFacts, batch: &StoredBatch) {
        let header = &batch.header;
        segment.batches.push(Indexed {
            position: batch.position,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
        });
        self.epochs.observe(header.leader_epoch, header.base_offset);
        if header.has_producer() && !header.is_control() {
            self.last_offsets.insert(header.producer_id, header.last_offset());
        }
        if let Some(TransactionEvent::Ended(ended)) = self.producers.apply(header, batch.marker) {
            segment.aborted.extend(ended.aborted());
        }
    }

    /// How many transactions are open.
    pub(super) fn open_transactions(&self) -> usize {
        self.producers.open_transactions().iter().count()
    }

    /// What is wrong with a snapshot taken here. Producers may have expired, and batches before `log_start` are gone.
    pub(super) fn wrong_snapshot(&self, entries: &[SnapshotEntry]) -> Option<String> {
        let by_id: BTreeMap<i64, &SnapshotEntry> =
            entries.iter().map(|entry| (entry.producer_id, entry)).collect();
        for derived in self.producers.views() {
            let id = derived.producer_id;
            let Some(entry) = by_id.get(&id) else {
                if derived.transaction_first_offset.is_some() {
                    return Some(format!("producer {id} has an open transaction and is missing"));
                }
                continue;
            };
            if entry.transaction_first_offset != derived.transaction_first_offset {
                return Some(format!(
                    "producer {id}: open transaction from {:?}, the batches say {:?}",
                    entry.transaction_first_offset, derived.transaction_first_offset
                ));
            }
            let same = (entry.producer_epoch, entry.last_sequence)
                == (derived.producer_epoch, derived.last_sequence);
            if !same && self.last_offsets.contains_key(&id) {
                return Some(format!(
                    "producer {id}: epoch {} sequence {}, the batches say epoch {} sequence {}",
                    entry.producer_epoch, entry.last_sequence, derived.producer_epoch, derived.last_sequence
                ));
            }
        }
        None
    }

    /// What is wrong with the leader epochs. The file begins at the log's start, which the batches do not tell: epochs
    /// before its first entry are not missed, and that entry may begin later than its first batch.
    pub(super) fn wrong_epochs(&self, entries: &[(i32, i64)]) -> Option<String> {
        let first = entries.first().map_or(i32::MIN, |(epoch, _)| *epoch);
        let due = self.epochs.entries().iter().filter(|(epoch, _)| *epoch >= first);
        due.map(|&(epoch, start)| (epoch, start, entries.iter().find(|(other, _)| *other == epoch))).find_map(
            |(epoch, start, entry)| match entry {
                None => Some(format!("epoch {epoch} begins at offset {start} and is missing")),
                Some((_, said)) if epoch > first && *said != start => {
                    Some(format!("epoch {epoch} begins at offset {start}, the file says {said}"))
                }
                Some(_) => None,
            },
        )
    }
}
