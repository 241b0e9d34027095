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
//! that were fetched before: who sees that a partition is gone has had its error, and does not take it for read. What is
//! refused for good is told once for all partitions that it has stopped. Where none is left, whoever comes again is told so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// Partitions that have stopped and the program was told so, since they were assigned.
    stopped: BTreeSet<Key>,
    /// What the program was told last of one of those.
    last_failure: Option<Error>,
    /// Nothing is assigned any more.
    ended: Option<Error>,
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
        self.stopped.clear();
        self.last_failure = None;
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

    /// The partition is assigned, and cannot be read from the beginning.
    pub(crate) fn assign_unreadable(&mut self, key: Key, error: Error) {
        self.place(key.clone(), Start::Spec(OffsetSpec::Latest));
        self.stop(&key, self.next_epoch, error);
    }

    /// No partition of the topic can be read.
    pub(crate) fn stop_topic(&mut self, topic: &str, error: &Error) {
        let of = self.partitions.iter().filter(|(key, _)| *key.0 == *topic);
        let of: Vec<(Key, u64)> = of.map(|(key, assigned)| (key.clone(), assigned.epoch)).collect();
        of.iter().for_each(|(key, epoch)| self.stop(key, *epoch, error.clone()));
    }

    /// Tells the program that nothing will be assigned any more, now and whenever it comes again.
    pub(crate) fn end(&mut self, error: Error) {
        self.ended = Some(error.clone());
        self.errors.push_back(error);
    }

    /// Why there will be nothing more for the program, if it was told of everything before.
    pub(crate) fn ended(&self) -> Option<Error> {
        if self.ended.is_some() {
            return self.ended.clone();
        }
        let source = self.last_failure.clone().filter(|_| self.partitions.is_empty())?;
        let partitions = self.stopped.iter().cloned().collect();
        Some(Error::AllStopped { partitions, source: Box::new(source) })
    }

    /// Tells the program of what is not about one partition and is met again and again: not while it has not come for what it
    /// was told before.
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
            return (Some(Err(self.tell(key, error))), freed);
        }
        let Some(Item { key, content: Content::Chunk(chunk), .. }) = self.ready.front_mut() else {
            return (self.ended().map(Err), freed);
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

    /// The program is told of a failure, and with it of those that are like it: of all whose records it was given.
    fn tell(&mut self, key: Key, error: Error) -> Error {
        self.partitions.remove(&key);
        let mut told = BTreeSet::from([key]);
        if error.is_refusal() {
            let mut unread = BTreeSet::new();
            self.ready.retain(|item| match &item.content {
                Content::Chunk(_) => {
                    unread.insert(item.key.clone());
                    true
                }
                Content::Failure(other) => {
                    let current = self.partitions.get(&item.key).is_some_and(|a| a.epoch == item.epoch);
                    let like = current && !unread.contains(&item.key) && other.is_like(&error);
                    if like {
                        self.partitions.remove(&item.key);
                        told.insert(item.key.clone());
                    }
                    !like
                }
            });
        }
        self.stopped.extend(told.iter().cloned());
        self.last_failure = Some(error.clone());
        match error.is_refusal() {
            true => Error::Unreadable { partitions: told.into_iter().collect(), source: Box::new(error) },
            false => error,
        }
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
mod tests;
