//! One partition, as far as it has been fetched; and what is to be fetched next of all of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use logmill_record::{Batch, BatchError, EndTxnMarker, batches};
use tokio::time::Instant;

use super::{AbortedTransaction, FetchedBatches};
use crate::consumer::FetchSettings;
use crate::consumer::assigned::{Key, Wanted};
use crate::error::{Error, Result};

/// Answers that are further apart say nothing of the time between them, beyond how long each may wait.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// Where there is something that an answer had no room for, it is asked for again after this long.
const EMPTY_PAUSE: Duration = Duration::from_millis(20);

/// What the answers to fetches have told of a partition's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldEnd {
    /// The end of the records that may be read.
    pub readable: i64,
    /// The end of the log: behind the records of open transactions, too.
    pub log_end: i64,
    /// For how long, up to the last answer, answers have told this end of the log. An answer that is more than a second
    /// late begins anew: what was between is not known.
    pub steady: Duration,
    /// How long ago the last answer came. `None` where one is more than a second late.
    pub age: Option<Duration>,
}

/// Ends that were told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    readable: i64,
    log_end: i64,
    /// When this end of the log was first told, without a gap since.
    first: Instant,
    last: Instant,
}

impl Told {
    fn again(before: Option<Told>, (readable, log_end): (i64, i64), now: Instant, gap: Duration) -> Told {
        let goes_on = |before: &Told| before.log_end == log_end && now.duration_since(before.last) <= gap;
        let first = before.filter(goes_on).map_or(now, |before| before.first);
        Told { readable, log_end, first, last: now }
    }
}

/// The longest time between two answers, of which each waits so long for records, that leaves no gap.
fn longest_gap(max_wait: Duration) -> Duration {
    max_wait + LONGEST_GAP
}

/// What is to be fetched next.
#[derive(Debug)]
pub(super) struct ToFetch {
    pub(super) partitions: Vec<Wanted>,
    /// How much of each, and how long an answer may wait.
    pub(super) settings: FetchSettings,
    /// When to look again, if nothing happens before.
    pub(super) look_at: Option<Instant>,
}

/// Partitions to fetch from, and how much.
///
/// While there is room, those of which not enough is held. Once there is none, only those of which nothing is: what is held
/// of the others may have to wait for what they have (a pipeline that reads partitions in step takes nothing of those that
/// are ahead), and nobody may be told for long that a partition is at its end, by an answer that was given before. They get
/// a part of the room each, so that at most twice as much is held, or a batch of each.
pub(super) fn to_fetch(all: &BTreeMap<Key, Ahead>, settings: FetchSettings, now: Instant) -> ToFetch {
    let wanted = |(key, ahead): (&Key, &Ahead)| Wanted { key: key.clone(), epoch: 0, offset: ahead.fetch };
    let open = all.iter().filter(|(_, ahead)| ahead.failed.is_none() && !ahead.is_at_end());
    if held(all) < settings.buffer_bytes {
        let partitions = open.filter(|(_, ahead)| ahead.bytes < settings.partition_bytes).map(wanted);
        return ToFetch { partitions: partitions.collect(), settings, look_at: None };
    }
    let max_wait = settings.max_wait;
    // An answer that waits would keep its broker from being asked when there is room again.
    let share = (settings.buffer_bytes / all.len().max(1)).clamp(1, settings.partition_bytes);
    let settings = FetchSettings { partition_bytes: share, max_wait: Duration::ZERO, ..settings };
    let mut fetch = ToFetch { partitions: Vec::new(), settings, look_at: None };
    for (key, ahead) in open.filter(|(_, ahead)| ahead.bytes == 0) {
        match ahead.look_at(max_wait).filter(|at| *at > now) {
            None => fetch.partitions.push(wanted((key, ahead))),
            Some(at) => fetch.look_at = Some(fetch.look_at.map_or(at, |next| next.min(at))),
        }
    }
    fetch
}

/// Bytes that are held of partitions of which more is to be fetched. What the others hold grows no more, and nobody may
/// come for it: counted, it would keep the rest from being fetched for ever.
pub(super) fn held(ahead: &BTreeMap<Key, Ahead>) -> usize {
    ahead.values().filter(|ahead| !ahead.is_at_end()).map(|ahead| ahead.bytes).sum()
}

/// One partition, as far as it has been fetched.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Where the next fetch begins.
    pub(super) fetch: i64,
    /// From here on nothing was let go.
    begin: i64,
    /// What answers have told of its end, once there is one.
    told: Option<Told>,
    /// The last answer brought nothing.
    was_empty: bool,
    /// Where its part ends.
    end: i64,
    batches: VecDeque<Batch>,
    pub(super) bytes: usize,
    aborted: Vec<AbortedTransaction>,
    /// Why nothing more comes.
    pub(super) failed: Option<Error>,
}

impl Ahead {
    pub(super) fn new(offset: i64) -> Self {
        Self {
            fetch: offset,
            begin: offset,
            told: None,
            was_empty: false,
            end: i64::MAX,
            batches: VecDeque::new(),
            bytes: 0,
            aborted: Vec::new(),
            failed: None,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.fetch >= self.end
    }

    /// The end of what may be read, as far as it is known.
    pub(super) fn readable(&self) -> i64 {
        self.told.map_or(self.fetch, |told| told.readable.max(self.fetch))
    }

    /// What answers have told, each of which may wait so long.
    pub(super) fn told(&self, max_wait: Duration, now: Instant) -> Option<ToldEnd> {
        let Told { readable, log_end, first, last } = self.told?;
        let age = now.duration_since(last);
        let age = (age <= longest_gap(max_wait)).then_some(age);
        Some(ToldEnd { readable, log_end, steady: last.duration_since(first), age })
    }

    /// An answer tells where it ends.
    pub(super) fn answered(&mut self, ends: (i64, i64), was_empty: bool, max_wait: Duration, now: Instant) {
        self.told = Some(Told::again(self.told, ends, now, longest_gap(max_wait)));
        self.was_empty = was_empty;
    }

    /// When it is to be asked for again, of which nothing is held; at once where there is something.
    fn look_at(&self, max_wait: Duration) -> Option<Instant> {
        let told = self.told?;
        match (self.fetch < told.readable, self.was_empty) {
            (true, false) => None,
            // There was no room for its next batch beside that of another, or the rest of it was compacted away.
            (true, true) => Some(told.last + EMPTY_PAUSE),
            (false, _) => Some(told.last + max_wait),
        }
    }

    /// The first record at or behind `from`, or one shortly before it, whose timestamp is at least `time`, of what is held.
    pub(super) fn at_time(&self, from: i64, time: i64) -> Option<i64> {
        if from < self.begin {
            // What is between is not held. It is before all of them.
            return Some(from);
        }
        let late = |batch: &&Batch| {
            let header = batch.header();
            !header.is_control() && header.next_offset() > from && header.max_timestamp >= time
        };
        self.batches.iter().find(late).map(|batch| batch.header().base_offset.max(from))
    }

    /// The batch that reaches the end stays, also where it begins behind it: there may be a gap.
    pub(super) fn read_to(&mut self, end: i64) {
        self.end = end;
        let reaches = self.batches.iter().position(|batch| batch.header().next_offset() >= end);
        if let Some(last) = reaches {
            self.bytes -= self.batches.drain(last + 1..).map(|batch| batch.size()).sum::<usize>();
            self.fetch = self.batches[last].header().next_offset();
        }
    }

    pub(super) fn read(&mut self, from: i64, max_bytes: usize) -> Result<FetchedBatches> {
        if from < self.begin {
            // It was let go: it is fetched anew.
            *self = Self { told: self.told, end: self.end, ..Self::new(from) };
        }
        self.begin = from;
        while let Some(passed) = self.batches.pop_front_if(|batch| batch.header().next_offset() <= from) {
            self.bytes -= passed.size();
        }
        self.aborted.retain(|aborted| aborted.last_offset >= from);
        if from > self.fetch {
            // What ends in between is not seen: the next fetch lists what is aborted from here on.
            (self.fetch, self.aborted) = (from, Vec::new());
        }
        let mut taken = 0;
        let fits = |batch: &&Batch| {
            let first = taken == 0;
            taken += batch.size();
            first || taken <= max_bytes
        };
        let batches: Vec<Batch> = self.batches.iter().take_while(fits).cloned().collect();
        match &self.failed {
            Some(error) if batches.is_empty() => Err(error.clone()),
            _ => Ok(FetchedBatches { batches, aborted: self.aborted.clone() }),
        }
    }

    /// Takes what a fetch from `offset` on has brought. Gives whether there is anything new.
    pub(super) fn take(
        &mut self,
        offset: i64,
        bytes: Bytes,
        mut listed: Vec<(i64, i64)>,
    ) -> std::result::Result<bool, BatchError> {
        if offset != self.fetch {
            return Ok(false);
        }
        // The next one last.
        listed.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        for (whole, batch) in batches(bytes).enumerate() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) if whole > 0 => break,
                Err(error) => return Err(error),
            };
            let header = *batch.header();
            while let Some((producer_id, first_offset)) =
                listed.pop_if(|(_, first)| *first <= header.last_offset())
            {
                let known = |aborted: &AbortedTransaction| {
                    (aborted.producer_id, aborted.first_offset) == (producer_id, first_offset)
                };
                if !self.aborted.iter().any(known) {
                    self.aborted.push(AbortedTransaction {
                        producer_id,
                        first_offset,
                        last_offset: i64::MAX,
                    });
                }
            }
            if header.is_control() && EndTxnMarker::from_batch(&batch).is_ok_and(|marker| !marker.commit) {
                let ended = self.aborted.iter_mut().find(|aborted| {
                    aborted.producer_id == header.producer_id
                        && aborted.last_offset == i64::MAX
                        && aborted.first_offset <= header.base_offset
                });
                if let Some(ended) = ended {
                    ended.last_offset = header.base_offset;
                }
            }
            if header.last_offset() >= offset && !self.is_at_end() {
                self.bytes += batch.size();
                self.fetch = self.fetch.max(header.next_offset());
                self.batches.push_back(batch);
            }
        }
        Ok(self.fetch > offset)
    }
}
