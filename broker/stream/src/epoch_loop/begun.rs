//! Batches that epochs take part by part: read once, and unpacked once.
//!
//! Where epochs are smaller than batches, each would read, check and unpack a whole batch for the few records of it that
//! are its own.

use std::collections::BTreeMap;

use logmill_record::{Batch, BatchHeader, Codec};

use crate::logs::ReadBatches;
use crate::pipeline::{Input, OffsetRange, TopicPartition};

/// Of each partition the batch that the last epoch ended in, not compressed, as far as there is room for all of them.
#[derive(Debug, Default)]
pub(super) struct Begun {
    batches: BTreeMap<TopicPartition, ReadBatches>,
}

impl Begun {
    /// What is left of such a batch from an offset on, if that is so many offsets.
    pub(super) fn rest(&self, partition: &TopicPartition, from: i64, offsets: u64) -> Option<ReadBatches> {
        let begun = self.batches.get(partition)?;
        let header = begun.batches.first()?.header();
        let left = u64::try_from(header.next_offset() - from).unwrap_or(0);
        (header.base_offset <= from && left > 0 && left >= offsets).then(|| begun.clone())
    }

    /// Puts what is unpacked already in the place of the batch that was read again.
    pub(super) fn exchange(&self, partition: &TopicPartition, batches: &mut [Batch]) {
        let begun = self.batches.get(partition).and_then(|begun| begun.batches.first());
        if let (Some(begun), Some(first)) = (begun, batches.first_mut())
            && is_of(begun, first)
        {
            *first = begun.clone();
        }
    }

    /// Keeps the batches that an epoch took a part of, in `room` bytes.
    pub(super) fn note(
        &mut self,
        ranges: &BTreeMap<TopicPartition, OffsetRange>,
        input: &[Input],
        room: usize,
    ) {
        for Input { partition, batches, aborted } in input {
            let Some(range) = ranges.get(partition) else { continue };
            let before = self.batches.remove(partition);
            let ends_in = |batch: &&Batch| {
                let header = batch.header();
                header.base_offset < range.to && range.to < header.next_offset()
            };
            let Some(batch) = batches.iter().find(ends_in) else { continue };
            let kept: usize = self.batches.values().flat_map(|kept| &kept.batches).map(Batch::size).sum();
            let begun = match before {
                Some(before) if before.batches.iter().any(|before| is_of(before, batch)) => Some(before),
                _ => unpacked(batch, room.saturating_sub(kept))
                    .map(|batch| ReadBatches { batches: vec![batch], aborted: aborted.clone() }),
            };
            if let Some(begun) = begun {
                self.batches.insert(partition.clone(), begun);
            }
        }
    }
}

/// Whether it holds the same records: a batch that was compacted since has fewer.
fn is_of(begun: &Batch, batch: &Batch) -> bool {
    let key = |header: &BatchHeader| (header.base_offset, header.next_offset(), header.count);
    key(begun.header()) == key(batch.header())
}

/// The batch without compression, in memory of its own: what was read around it is let go of. None where there is no room.
/// What is wrong with it is told by the epoch that reads on.
fn unpacked(batch: &Batch, room: usize) -> Option<Batch> {
    if batch.size() > room {
        return None;
    }
    batch.open(room).ok()?.repack(Codec::None, None).ok()
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions};

    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition { topic: "in".into(), partition: 0 }
    }

    fn batch(codec: Codec, base_offset: i64) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        (0..100).for_each(|_| builder.push(1, None, Some(b"always the same"), &[]));
        builder.build().stamped(base_offset, 0)
    }

    fn cut(to: i64) -> BTreeMap<TopicPartition, OffsetRange> {
        [(partition(), OffsetRange { from: 0, to })].into()
    }

    fn input(batch: &Batch) -> Vec<Input> {
        vec![Input { partition: partition(), batches: vec![batch.clone()], aborted: Vec::new() }]
    }

    fn read(begun: &Begun, batch: &Batch) -> Batch {
        let mut batches = [batch.clone()];
        begun.exchange(&partition(), &mut batches);
        let [read] = batches;
        read
    }

    #[test]
    fn a_batch_that_epochs_part_is_unpacked_once_until_it_is_passed() {
        let packed = batch(Codec::Zstd, 0);
        let records = packed.records(10_000).unwrap();
        let mut begun = Begun::default();
        begun.note(&cut(40), &input(&packed), 10_000);
        let unpacked = read(&begun, &packed);
        assert_eq!(unpacked.header().codec().unwrap(), Codec::None);
        assert_eq!(unpacked.records(0).unwrap(), records);
        begun.note(&cut(80), &input(&unpacked), 0);
        assert_eq!(read(&begun, &packed), unpacked, "it stays while it is read on");
        assert_eq!(read(&begun, &batch(Codec::Zstd, 100)), batch(Codec::Zstd, 100), "another one");
        begun.note(&cut(100), &input(&unpacked), 10_000);
        assert_eq!(read(&begun, &packed), packed);
    }

    #[test]
    fn what_is_left_is_not_read_again_where_it_is_enough() {
        let batch = batch(Codec::None, 100);
        let mut begun = Begun::default();
        begun.note(&cut(140), &input(&batch), 10_000);
        let rest = |from, offsets| begun.rest(&partition(), from, offsets).map(|read| read.batches);
        assert_eq!(rest(140, 60), Some(vec![batch]));
        assert_eq!(rest(140, 61), None, "more is wanted");
        assert_eq!((rest(99, 1), rest(200, 0)), (None, None), "it lies elsewhere");
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        for codec in [Codec::None, Codec::Zstd] {
            let batch = batch(codec, 0);
            let mut begun = Begun::default();
            begun.note(&cut(40), &input(&batch), 1_000);
            assert!(begun.rest(&partition(), 40, 1).is_none());
            assert_eq!(read(&begun, &batch), batch);
        }
    }
}
