//! The partitions a consumer reads: where it is in each, and what has been fetched ahead. Pure.
//!
//! A partition's offsets, from the oldest: `done` ≤ `position` ≤ `fetch`. Records before `position` were given to the
//! program; those before `done` it has finished with (it came back for more); those from `fetch` on are not
//! fetched yet.
//!
//! Each partition carries an epoch that changes when it is assigned anew or moved: what was fetched under
//! an older epoch is dropped unseen.
//!
//! A partition that cannot be read any more stays assigned until the program is told, and it is told after the records
//! that were fetched before: who sees that a partition is gone has had its error, and does not take it for read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use logmill_record::Record;

use super::{ConsumerRecord, decode::Decoded};
use crate::admin::OffsetSpec;
use crate::error::Error;

/// A topic and a partition.
pub(crate) type Key = (Arc<str>, i32);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Offset(i64),
    /// To be asked for first.
    Spec(OffsetSpec),
}

#[derive(Debug)]
struct Assigned {
    epoch: u64,
    start: Option<OffsetSpec>,
    fetch: i64,
    position: i64,
    done: i64,
    buffered: usize,
    /// It cannot be read any more: its failure waits for the program.
    failed: bool,
}

/// Something for the program, of one partition.
#[derive(Debug)]
struct Item {
    key: Key,
    epoch: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Chunk(Chunk),
    /// The last of its partition.
    Failure(Error),
}

/// What one fetch has brought.
#[derive(Debug)]
struct Chunk {
    records: VecDeque<Record>,
    next: i64,
    bytes: usize,
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Chunk(chunk) => chunk.bytes,
            Content::Failure(_) => 0,
        }
    }
}

/// A partition to fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) epoch: u64,
    pub(crate) offset: i64,
}

/// Where records began.
#[derive(Debug)]
pub(crate) struct Marks(BTreeMap<Key, (u64, i64)>);

#[derive(Debug, Default)]
pub(crate) struct AssignedPartitions {
    partitions: BTreeMap<Key, Assigned>,
    ready: VecDeque<Item>,
    /// Errors that are not of one partition.
    errors: VecDeque<Error>,
    next_epoch: u64,
    buffered: usize,
    /// Partitions of which records were given out since the program last came for more.
    given: Vec<Key>,
}

impl AssignedPartitions {
    /// These partitions and no others, each from its start. What was fetched before is dropped.
    pub(crate) fn assign(&mut self, partitions: impl IntoIterator<Item = (Key, Start)>) {
        self.partitions.clear();
        self.ready.clear();
        self.given.clear();
        self.buffered = 0;
        for (key, start) in partitions {
            self.place(key, start);
        }
    }

    fn place(&mut self, key: Key, start: Start) {
        self.next_epoch += 1;
        let (start, offset) = match start {
            Start::Offset(offset) => (None, offset),
            Start::Spec(spec) => (Some(spec), -1),
        };
        let assigned = Assigned {
            epoch: self.next_epoch,
            start,
            fetch: offset,
            position: offset,
            done: offset,
            buffered: 0,
            failed: false,
        };
        self.partitions.insert(key, assigned);
    }

    /// Remembers where the given records began, to be able to go back there.
    pub(crate) fn mark(&self, records: &[ConsumerRecord]) -> Marks {
        let mut marks: BTreeMap<Key, (u64, i64)> = BTreeMap::new();
        for record in records {
            let key = (Arc::clone(&record.topic), record.partition);
            if let Some(assigned) = self.partitions.get(&key) {
                marks.entry(key).or_insert((assigned.epoch, record.offset));
            }
        }
        Marks(marks)
    }

    /// Goes back to where records began, in the partitions that are still assigned as they were then: in others
    /// somebody else may have gone on meanwhile.
    pub(crate) fn rewind(&mut self, marks: &Marks) {
        for (key, (epoch, offset)) in &marks.0 {
            if self.partitions.get(key).is_some_and(|assigned| assigned.epoch == *epoch) {
                self.seek(key, Start::Offset(*offset));
            }
        }
    }

    /// Gives up the partitions of these records, if they are still assigned as they were then.
    pub(crate) fn lose(&mut self, marks: &Marks) {
        for (key, (epoch, _)) in &marks.0 {
            if self.partitions.get(key).is_some_and(|assigned| assigned.epoch == *epoch) {
                self.partitions.remove(key);
            }
        }
    }

    /// Goes on from another place. Gives whether the partition is assigned.
    pub(crate) fn seek(&mut self, key: &Key, start: Start) -> bool {
        if !self.partitions.contains_key(key) {
            return false;
        }
        self.ready.retain(|item| item.key != *key);
        self.given.retain(|given| given != key);
        self.place(key.clone(), start);
        self.count_buffered();
        true
    }

    fn count_buffered(&mut self) {
        self.buffered = self.ready.iter().map(Item::bytes).sum();
    }

    /// Partitions whose start must be asked for.
    pub(crate) fn unresolved(&self) -> Vec<(Key, u64, OffsetSpec)> {
        let unresolved =
            |(key, assigned): (&Key, &Assigned)| Some((key.clone(), assigned.epoch, assigned.start?));
        self.partitions.iter().filter(|(_, assigned)| !assigned.failed).filter_map(unresolved).collect()
    }

    /// The answer to [`unresolved`](Self::unresolved).
    pub(crate) fn resolved(&mut self, key: &Key, epoch: u64, offset: i64) {
        if let Some(assigned) = self.partitions.get_mut(key).filter(|assigned| assigned.epoch == epoch) {
            assigned.start = None;
            (assigned.fetch, assigned.position, assigned.done) = (offset, offset, offset);
        }
    }

    /// Partitions to fetch from, while the buffers are not full: `total` bytes over all, `each` per partition.
    pub(crate) fn wanted(&self, total: usize, each: usize) -> Vec<Wanted> {
        if self.buffered >= total {
            return Vec::new();
        }
        self.partitions
            .iter()
            .filter(|(_, assigned)| !assigned.failed && assigned.start.is_none() && assigned.buffered < each)
            .map(|(key, assigned)| Wanted { key: key.clone(), epoch: assigned.epoch, offset: assigned.fetch })
            .collect()
    }

    /// What a fetch has brought. Gives whether there is something new for the program.
    pub(crate) fn fetched(&mut self, wanted: &Wanted, decoded: Decoded, bytes: usize) -> bool {
        let current = self.partitions.get_mut(&wanted.key);
        let Some(assigned) = current.filter(|a| a.epoch == wanted.epoch && a.fetch == wanted.offset) else {
            return false;
        };
        if decoded.next == assigned.fetch {
            return false;
        }
        assigned.fetch = decoded.next;
        assigned.buffered += bytes;
        self.buffered += bytes;
        self.ready.push_back(Item {
            key: wanted.key.clone(),
            epoch: wanted.epoch,
            content: Content::Chunk(Chunk { records: decoded.records.into(), next: decoded.next, bytes }),
        });
        true
    }

    /// The offset of a partition does not exist: it starts from `reset`, or the program is told `error`.
    pub(crate) fn out_of_range(
        &mut self,
        wanted: &Wanted,
        reset: Option<OffsetSpec>,
        error: impl FnOnce() -> Error,
    ) {
        let same = self.partitions.get(&wanted.key).is_some_and(|assigned| assigned.epoch == wanted.epoch);
        match reset {
            Some(spec) if same => {
                self.seek(&wanted.key, Start::Spec(spec));
            }
            None if same => self.stop(&wanted.key, wanted.epoch, error()),
            _ => {}
        }
    }

    /// No record has the time asked for: the partition starts with what comes next.
    pub(crate) fn start_at_end(&mut self, key: &Key, epoch: u64) {
        if let Some(assigned) = self.partitions.get_mut(key).filter(|assigned| assigned.epoch == epoch) {
            assigned.start = Some(OffsetSpec::Latest);
        }
    }

    /// The partition cannot be read: the program is told when it comes there, and with that it is given up.
    pub(crate) fn stop(&mut self, key: &Key, epoch: u64, error: Error) {
        let current = self.partitions.get_mut(key);
        if let Some(assigned) = current.filter(|assigned| assigned.epoch == epoch && !assigned.failed) {
            assigned.failed = true;
            self.ready.push_back(Item { key: key.clone(), epoch, content: Content::Failure(error) });
        }
    }

    /// No partition of the topic can be read.
    pub(crate) fn stop_topic(&mut self, topic: &str, error: &Error) {
        let of = self.partitions.iter().filter(|(key, _)| *key.0 == *topic);
        let of: Vec<(Key, u64)> = of.map(|(key, assigned)| (key.clone(), assigned.epoch)).collect();
        of.iter().for_each(|(key, epoch)| self.stop(key, *epoch, error.clone()));
    }

    /// Tells the program of what is not about one partition.
    pub(crate) fn fail(&mut self, error: Error) {
        self.errors.push_back(error);
    }

    /// The same of what is met again and again: not while the program has not come for what it was told before.
    pub(crate) fn fail_again(&mut self, error: Error) {
        if self.errors.is_empty() {
            self.errors.push_back(error);
        }
    }

    /// The program comes for more: it has finished with what it was given.
    pub(crate) fn finish_given(&mut self) {
        for key in self.given.drain(..) {
            if let Some(assigned) = self.partitions.get_mut(&key) {
                assigned.done = assigned.position;
            }
        }
    }

    /// Whether the program must be told of an error before it gets another record.
    pub(crate) fn has_error(&self) -> bool {
        let fails = |item: &Item| matches!(item.content, Content::Failure(_));
        !self.errors.is_empty() || self.ready.front().is_some_and(fails)
    }

    /// The next record that was fetched. Gives also whether a buffer has become free.
    pub(crate) fn next(&mut self) -> (Option<Result<ConsumerRecord, Error>>, bool) {
        if let Some(error) = self.errors.pop_front() {
            return (Some(Err(error)), false);
        }
        let mut freed = self.pass_over();
        let fails = |item: &mut Item| matches!(item.content, Content::Failure(_));
        if let Some(Item { key, content: Content::Failure(error), .. }) = self.ready.pop_front_if(fails) {
            self.partitions.remove(&key);
            return (Some(Err(error)), freed);
        }
        let Some(Item { key, content: Content::Chunk(chunk), .. }) = self.ready.front_mut() else {
            return (None, freed);
        };
        let (topic, partition) = key.clone();
        let record = chunk.records.pop_front().map(|record| {
            if let Some(assigned) = self.partitions.get_mut(key) {
                assigned.position = record.offset + 1;
            }
            if !self.given.contains(key) {
                self.given.push(key.clone());
            }
            Ok(ConsumerRecord::new(topic, partition, record))
        });
        freed |= self.pass_over();
        (record, freed)
    }

    /// Drops from the front what is not for the program: what was fetched under an older epoch, and chunks that have no
    /// record left. Gives whether a buffer has become free.
    fn pass_over(&mut self) -> bool {
        let mut freed = false;
        while let Some(item) = self.ready.front() {
            let current = self.partitions.get_mut(&item.key).filter(|a| a.epoch == item.epoch);
            match (&item.content, current) {
                (Content::Chunk(chunk), Some(assigned)) if chunk.records.is_empty() => {
                    // Past records that are not for this reader: markers, aborted ones.
                    assigned.position = chunk.next;
                    if !self.given.contains(&item.key) {
                        assigned.done = assigned.position;
                    }
                    assigned.buffered = assigned.buffered.saturating_sub(chunk.bytes);
                }
                (_, Some(_)) => break,
                (_, None) => {}
            }
            self.buffered = self.buffered.saturating_sub(item.bytes());
            self.ready.pop_front();
            freed = true;
        }
        freed
    }

    /// The partitions, in order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.partitions.keys().cloned().collect()
    }

    /// The next offset the program gets from a partition, when it is known.
    pub(crate) fn position(&self, key: &Key) -> Option<i64> {
        self.partitions.get(key).map(|assigned| assigned.position).filter(|position| *position >= 0)
    }

    /// Where each partition's reader is, in order.
    pub(crate) fn positions(&self) -> Vec<(Key, i64)> {
        self.known(|assigned| assigned.position)
    }

    /// Up to where each partition's reader has finished, in order.
    pub(crate) fn done(&self) -> Vec<(Key, i64)> {
        self.known(|assigned| assigned.done)
    }

    fn known(&self, offset: impl Fn(&Assigned) -> i64) -> Vec<(Key, i64)> {
        let known = self.partitions.iter().map(|(key, assigned)| (key.clone(), offset(assigned)));
        known.filter(|(_, offset)| *offset >= 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        (Arc::from("t"), partition)
    }

    fn records(offsets: &[i64], next: i64) -> Decoded {
        let records = offsets.iter().map(|offset| Record { offset: *offset, ..Record::default() });
        Decoded { records: records.collect(), next }
    }

    fn fetch(assigned: &mut AssignedPartitions, partition: i32, decoded: Decoded) -> bool {
        let wanted = assigned.wanted(1000, 1000).into_iter().find(|wanted| wanted.key.1 == partition);
        assigned.fetched(&wanted.expect("wanted"), decoded, 10)
    }

    fn next(assigned: &mut AssignedPartitions) -> Option<(i32, i64)> {
        assigned
            .next()
            .0
            .map(|record| record.expect("a record"))
            .map(|record| (record.partition, record.offset))
    }

    #[test]
    fn records_come_in_order_and_move_the_position() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(5))]);
        assert!(fetch(&mut assigned, 0, records(&[5, 7], 9)));
        assert_eq!(assigned.position(&key(0)), Some(5));
        assert_eq!(next(&mut assigned), Some((0, 5)));
        assert_eq!(assigned.position(&key(0)), Some(6));
        assert_eq!(next(&mut assigned), Some((0, 7)));
        // The chunk ended with something this reader does not see.
        assert_eq!(assigned.position(&key(0)), Some(9));
        assert_eq!(next(&mut assigned), None);
    }

    #[test]
    fn only_finished_records_are_done() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[0, 1], 2));
        assigned.finish_given();
        assert_eq!(next(&mut assigned), Some((0, 0)));
        assert_eq!(assigned.done(), [(key(0), 0)]);
        assigned.finish_given();
        assert_eq!(assigned.done(), [(key(0), 1)]);
        assert_eq!(next(&mut assigned), Some((0, 1)));
        assert_eq!(assigned.done(), [(key(0), 1)]);
    }

    #[test]
    fn a_chunk_without_records_is_done_at_once() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[], 4));
        assert_eq!(next(&mut assigned), None);
        assert_eq!(assigned.done(), [(key(0), 4)]);
    }

    #[test]
    fn a_seek_drops_what_was_fetched_before() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[0, 1], 2));
        fetch(&mut assigned, 1, records(&[0], 1));
        let late = assigned.wanted(1000, 1000).remove(0);
        assert!(assigned.seek(&key(0), Start::Offset(50)));
        assert!(!assigned.fetched(&late, records(&[2], 3), 10), "fetched before the seek");
        assert_eq!(next(&mut assigned), Some((1, 0)));
        assert_eq!(next(&mut assigned), None);
        fetch(&mut assigned, 0, records(&[50], 51));
        assert_eq!(next(&mut assigned), Some((0, 50)));
        assert!(!assigned.seek(&key(9), Start::Offset(0)));
    }

    #[test]
    fn records_can_be_read_again_unless_the_partition_was_assigned_anew() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(3)), (key(1), Start::Offset(3))]);
        fetch(&mut assigned, 0, records(&[3, 4], 5));
        fetch(&mut assigned, 1, records(&[3], 4));
        let mut given = Vec::new();
        while let Some(record) = assigned.next().0 {
            given.push(record.expect("a record"));
        }
        let marks = assigned.mark(&given);
        assigned.rewind(&marks);
        assert_eq!(assigned.positions(), [(key(0), 3), (key(1), 3)]);

        let marks = assigned.mark(&given);
        assigned.assign([(key(0), Start::Offset(5))]);
        assigned.rewind(&marks);
        assert_eq!(assigned.positions(), [(key(0), 5)]);
    }

    #[test]
    fn full_buffers_stop_fetching_and_reading_frees_them() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[0], 1));
        assert_eq!(assigned.wanted(1000, 10).len(), 1, "partition 0 has its share");
        assert_eq!(assigned.wanted(10, 1000).len(), 0, "all together are full");
        assert!(assigned.next().1);
        assert_eq!(assigned.wanted(10, 10).len(), 2);
    }

    #[test]
    fn a_start_is_asked_for_once_resolved_it_is_fetched() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Spec(OffsetSpec::Earliest))]);
        assert_eq!(assigned.wanted(10, 10), []);
        let (key, epoch, spec) = assigned.unresolved().remove(0);
        assert_eq!(spec, OffsetSpec::Earliest);
        assigned.resolved(&key, epoch + 1, 3);
        assert_eq!(assigned.position(&key), None, "an answer to an older question");
        assigned.resolved(&key, epoch, 3);
        assert_eq!(assigned.wanted(10, 10)[0].offset, 3);
    }

    #[test]
    fn a_failure_is_told_after_the_records_before_it_and_only_then_is_the_partition_gone() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[0, 1], 3));
        let (of_0, epoch) = (key(0), assigned.wanted(1000, 1000)[0].epoch);
        assigned.stop(&of_0, epoch, Error::Closed);
        assigned.stop(&of_0, epoch, Error::Closed);
        fetch(&mut assigned, 1, records(&[0], 1));
        assert_eq!(next(&mut assigned), Some((0, 0)));
        assert!(!assigned.has_error(), "a record comes first");
        assert_eq!(next(&mut assigned), Some((0, 1)));
        assert!(assigned.has_error());
        assert_eq!(assigned.keys(), [key(0), key(1)], "nobody was told");
        assert_eq!(assigned.position(&key(0)), Some(3));
        let wanted = assigned.wanted(1000, 1000);
        assert_eq!(wanted.iter().map(|w| w.key.1).collect::<Vec<_>>(), [1], "it is not fetched any more");
        assert!(matches!(assigned.next().0, Some(Err(Error::Closed))));
        assert_eq!(assigned.keys(), [key(1)]);
        assert_eq!(next(&mut assigned), Some((1, 0)));
        assert_eq!(next(&mut assigned), None, "told once");
    }

    #[test]
    fn a_failure_of_records_without_any_for_this_reader_is_told() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(0))]);
        fetch(&mut assigned, 0, records(&[0], 1));
        fetch(&mut assigned, 0, records(&[], 4));
        let epoch = assigned.wanted(1000, 1000)[0].epoch;
        assigned.stop(&key(0), epoch, Error::Closed);
        assert_eq!(next(&mut assigned), Some((0, 0)));
        assert!(assigned.has_error(), "nothing to give comes before it");
        assert!(matches!(assigned.next().0, Some(Err(Error::Closed))));
    }

    #[test]
    fn a_topic_that_cannot_be_read_stops_its_partitions_and_no_others() {
        let mut assigned = AssignedPartitions::default();
        let other = (Arc::from("other"), 0);
        assigned.assign([key(0), key(1), other.clone()].map(|key| (key, Start::Offset(0))));
        for _ in 0..2 {
            assigned.stop_topic("t", &Error::UnknownTopic { topic: "t".to_owned() });
            assert!(assigned.wanted(1000, 1000).iter().all(|wanted| wanted.key == other));
        }
        for _ in 0..2 {
            assert!(matches!(assigned.next().0, Some(Err(Error::UnknownTopic { .. }))));
        }
        assert!(assigned.next().0.is_none());
        assert_eq!(assigned.keys(), [other]);
    }

    #[test]
    fn what_is_met_again_and_again_is_told_once_each_time_the_program_comes() {
        let mut assigned = AssignedPartitions::default();
        for _ in 0..2 {
            (0..9).for_each(|_| assigned.fail_again(Error::Closed));
            assert!(assigned.next().0.is_some_and(|next| next.is_err()));
            assert!(assigned.next().0.is_none());
        }
    }

    #[test]
    fn who_goes_elsewhere_is_not_told_of_a_failure() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Spec(OffsetSpec::Earliest))]);
        let (of_0, epoch, _) = assigned.unresolved().remove(0);
        assigned.stop(&of_0, epoch, Error::Closed);
        assert!(assigned.unresolved().is_empty(), "not asked again");
        assert!(assigned.seek(&of_0, Start::Offset(7)));
        assert!(!assigned.has_error());
        assert_eq!(assigned.wanted(10, 10)[0].offset, 7);
        let epoch = assigned.wanted(10, 10)[0].epoch;
        assigned.stop(&of_0, epoch, Error::Closed);
        assigned.assign([(key(1), Start::Offset(0))]);
        assert_eq!(next(&mut assigned), None);
        assert_eq!(assigned.keys(), [key(1)]);
    }

    #[test]
    fn an_offset_out_of_range_resets_or_fails() {
        let mut assigned = AssignedPartitions::default();
        assigned.assign([(key(0), Start::Offset(100))]);
        let wanted = assigned.wanted(10, 10).remove(0);
        assigned.out_of_range(&wanted, Some(OffsetSpec::Latest), || Error::Closed);
        assert_eq!(assigned.unresolved()[0].2, OffsetSpec::Latest);

        assigned.assign([(key(0), Start::Offset(100))]);
        let wanted = assigned.wanted(10, 10).remove(0);
        assigned.out_of_range(&wanted, None, || Error::Closed);
        assert!(matches!(assigned.next().0, Some(Err(Error::Closed))));
        assert_eq!(assigned.keys(), []);
    }
}
