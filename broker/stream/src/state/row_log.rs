//! Rows by key that never change, and go when time has passed them.
//!
//! ```text
//! span of time ─► bytes: key row key row …        rows: where each begins, and the one before it of the same hash
//!                 last: hash of a key ─► its newest row
//! ```
//!
//! Rows lie end to end in the bytes of their span of time, and a span goes as a whole: later than its first rows could, but
//! a row that is only looked for near its time is not found any more by then. To the changelog an epoch's rows of a span are
//! records of many (see [`Blocks`](super::Blocks)), and when the span goes these go by their short keys.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::ops::RangeInclusive;

use super::changelog::{Appended, ChangelogSink};
use super::hashed::HashBuilder;
use super::table::{TIME_BYTES, time_bytes, time_of};

/// No row.
const NONE: u32 = u32::MAX;

/// Rows of one table. A row is its time, in eight bytes that order as it does, and what else it holds.
#[derive(Debug)]
pub(crate) struct RowLog {
    /// How long a span is, in milliseconds.
    span_ms: i64,
    /// A key is hashed once, in however many spans it is looked for.
    hashes: HashBuilder,
    /// By the first time that lies in them.
    spans: BTreeMap<i64, Span>,
    /// The memory of a span that went, for the next one: a window's rows come and go at once, and would be copied several
    /// times while theirs grows.
    spare: Span,
    /// Spans that went in this epoch, and that the changelog has records of.
    gone: BTreeSet<i64>,
    len: usize,
    /// Bytes of the rows and their keys.
    bytes: usize,
    /// How many keys there are, in each span anew.
    keys: usize,
}

/// What a row takes beside its bytes, in bytes: where it lies, and a half of that again, as it grows by doubling.
const ROW_BYTES: usize = size_of::<Stored>() * 3 / 2;

/// What a key takes, in bytes: the place of its newest row, in a map of which a half or more is full.
const KEY_BYTES: usize = 28;

/// What a span takes beside its rows, in bytes.
const SPAN_BYTES: usize = 256;

/// The rows of a span may have taken so many bytes for its memory to be kept, which is not counted.
const SPARE_BYTES: usize = 2 << 20;

/// A hash is its own hash.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 ^ u64::from(*byte));
    }
}

#[derive(Debug, Default)]
struct Span {
    bytes: Vec<u8>,
    rows: Vec<Stored>,
    /// By the hash of a key.
    last: hashbrown::HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    /// For each row that the changelog does not have yet, the last ones, where it stands in the epoch.
    fresh: Vec<u64>,
    /// The changelog has records of it.
    logged: bool,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    at: usize,
    key_length: u32,
    row_length: u32,
    /// The row before it whose key has the same hash.
    before: u32,
}

impl Span {
    /// Empties it; its memory stays.
    fn clear(&mut self) {
        let Span { bytes, rows, last, fresh, logged } = self;
        bytes.clear();
        rows.clear();
        last.clear();
        fresh.clear();
        *logged = false;
    }

    fn key(&self, row: Stored) -> &[u8] {
        &self.bytes[row.at..row.at + row.key_length as usize]
    }

    fn row(&self, row: Stored) -> &[u8] {
        let start = row.at + row.key_length as usize;
        &self.bytes[start..start + row.row_length as usize]
    }

    /// The rows of a key, the newest first.
    fn of_key<'s>(&'s self, hash: u64, key: &[u8]) -> impl Iterator<Item = &'s [u8]> {
        let stored = |index: u32| self.rows.get(index as usize).copied();
        let newest = self.last.get(&hash).and_then(|index| stored(*index));
        let rows = std::iter::successors(newest, move |row| stored(row.before));
        rows.filter(move |row| self.key(*row) == key).map(|row| self.row(row))
    }

    /// Takes a row whose bytes end the span's; tells whether its key is new.
    fn take(&mut self, hash: u64, at: usize, key_length: usize) -> bool {
        let index = self.rows.len() as u32;
        let before = self.last.insert(hash, index).unwrap_or(NONE);
        let row_length = self.bytes.len() - at - key_length;
        self.rows.push(Stored { at, key_length: key_length as u32, row_length: row_length as u32, before });
        before == NONE
    }
}

impl RowLog {
    /// Rows go by spans of so many milliseconds.
    pub(crate) fn new(span_ms: i64) -> Self {
        Self {
            span_ms: span_ms.max(1),
            hashes: HashBuilder::default(),
            spans: BTreeMap::new(),
            spare: Span::default(),
            gone: BTreeSet::new(),
            len: 0,
            bytes: 0,
            keys: 0,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.bytes * 3 / 2 + self.len * ROW_BYTES;
        (rows + self.keys * KEY_BYTES + self.spans.len() * SPAN_BYTES) as u64
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first time of each span that has rows.
    pub(crate) fn spans(&self) -> impl Iterator<Item = i64> {
        self.spans.keys().copied()
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hashes.hash_one(key)
    }

    fn span_of(&self, time: i64) -> i64 {
        time.saturating_sub(time.rem_euclid(self.span_ms))
    }

    /// Adds a row, which `order` tells apart from the others of the epoch; `write` writes what it holds beside its time.
    pub(crate) fn push(&mut self, key: &[u8], time: i64, order: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let (span, hash) = (self.span_of(time), self.hash(key));
        let span = self.spans.entry(span).or_insert_with(|| std::mem::take(&mut self.spare));
        let at = span.bytes.len();
        span.bytes.extend_from_slice(key);
        span.bytes.extend_from_slice(&time_bytes(time));
        write(&mut span.bytes);
        self.keys += usize::from(span.take(hash, at, key.len()));
        span.fresh.push(order);
        self.len += 1;
        self.bytes += span.bytes.len() - at;
    }

    /// Appends the rows of a key whose time lies in a range, in the order of their bytes.
    pub(crate) fn find<'l>(&'l self, key: &[u8], times: RangeInclusive<i64>, found: &mut Vec<&'l [u8]>) {
        if times.is_empty() {
            return;
        }
        let first = found.len();
        let hash = self.hash(key);
        for span in self.spans.range(self.span_of(*times.start())..=*times.end()).map(|(_, span)| span) {
            found.extend(span.of_key(hash, key).filter(|row| times.contains(&time_of(row))));
        }
        found[first..].sort_unstable();
    }

    /// Lets go of the first spans whose last time is over; tells their first times.
    pub(crate) fn drop_spans(&mut self, is_over: impl Fn(i64) -> bool) -> Vec<i64> {
        let mut dropped = Vec::new();
        while let Some(first) = self.spans.first_entry() {
            let start = *first.key();
            if !is_over(start.saturating_add(self.span_ms - 1)) {
                break;
            }
            let span = first.remove();
            self.len -= span.rows.len();
            self.bytes -= span.bytes.len();
            self.keys -= span.last.len();
            if span.logged {
                self.gone.insert(start);
            }
            self.keep_memory(span);
            dropped.push(start);
        }
        dropped
    }

    fn keep_memory(&mut self, mut span: Span) {
        let capacity = span.bytes.capacity();
        if capacity > self.spare.bytes.capacity() && capacity <= SPARE_BYTES {
            span.clear();
            self.spare = span;
        }
    }

    /// Hands the changes since the last call to the changelog.
    pub(crate) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        for span in std::mem::take(&mut self.gone) {
            log.forget(table, span);
        }
        for (start, span) in self.spans.iter_mut().filter(|(_, span)| !span.fresh.is_empty()) {
            let orders = std::mem::take(&mut span.fresh);
            let first = span.rows.len() - orders.len();
            for (row, order) in span.rows[first..].iter().zip(orders) {
                log.append(Appended { table, span: *start, order, key: span.key(*row), row: span.row(*row) });
            }
            span.logged = true;
        }
    }

    /// Puts a row back as the changelog has it.
    pub(crate) fn restore(&mut self, start: i64, key: &[u8], row: &[u8]) -> Result<(), String> {
        let time = row.get(..TIME_BYTES).map(time_of).ok_or("a row without its time")?;
        if self.span_of(time) != start {
            return Err("a row in another span than that of its time: it is damaged, or of an earlier build, which kept \
                        the rows of a join by other spans, and this one cannot read it"
                .to_owned());
        }
        let hash = self.hash(key);
        let span = self.spans.entry(start).or_default();
        let at = span.bytes.len();
        span.bytes.extend_from_slice(key);
        span.bytes.extend_from_slice(row);
        self.keys += usize::from(span.take(hash, at, key.len()));
        span.logged = true;
        self.len += 1;
        self.bytes += span.bytes.len() - at;
        Ok(())
    }

    /// Lets go of a span, as the changelog has it.
    pub(crate) fn forget(&mut self, start: i64) {
        if let Some(span) = self.spans.remove(&start) {
            self.len -= span.rows.len();
            self.bytes -= span.bytes.len();
            self.keys -= span.last.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AppendedRows, Blocks, block_rows};
    use super::*;

    /// The changelog of one log, as its topic is once it is compacted.
    #[derive(Default)]
    struct Changelog {
        blocks: Blocks,
        records: BTreeMap<Vec<u8>, Vec<u8>>,
    }

    #[derive(Default)]
    struct Epoch {
        appended: AppendedRows,
        forgotten: Vec<i64>,
    }

    impl ChangelogSink for Epoch {
        fn put(&mut self, _table: u8, _key: &[u8], _value: Option<&[u8]>) {
            unreachable!("a log has no entries");
        }

        fn append(&mut self, row: Appended<'_>) {
            self.appended.push(row);
        }

        fn forget(&mut self, _table: u8, span: i64) {
            self.forgotten.push(span);
        }
    }

    impl Changelog {
        /// Takes the changes of an epoch from every shard.
        fn take<'l>(&mut self, logs: impl IntoIterator<Item = &'l mut RowLog>) {
            let mut epoch = Epoch::default();
            logs.into_iter().for_each(|log| log.drain_changes(2, &mut epoch));
            let records = &mut self.records;
            let mut put = |table: u8, key: &[u8], value: Option<&[u8]>| {
                assert_eq!(table, 2);
                match value {
                    Some(value) => assert!(records.insert(key.to_vec(), value.to_vec()).is_none()),
                    None => assert!(records.remove(key).is_some(), "a block goes that was there"),
                }
            };
            epoch.forgotten.into_iter().for_each(|span| self.blocks.forget(2, span, &mut put));
            self.blocks.pack(epoch.appended, &mut put);
        }

        fn restored(&self, span_ms: i64) -> (RowLog, Blocks) {
            let (mut log, mut blocks) = (RowLog::new(span_ms), Blocks::default());
            for (key, block) in &self.records {
                let span = blocks.restore(2, key, true).unwrap().expect("each block comes once");
                assert_eq!(blocks.restore(2, key, true).unwrap(), None, "one that is known is no news");
                for row in block_rows(block) {
                    let (key, row) = row.unwrap();
                    log.restore(span, key, row).unwrap();
                }
            }
            (log, blocks)
        }
    }

    fn found(log: &RowLog, key: &[u8], times: RangeInclusive<i64>) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        log.find(key, times, &mut found);
        found.into_iter().map(<[u8]>::to_vec).collect()
    }

    proptest! {
        /// What is found is what was put there and has not gone; a restore changes nothing; and how many shards there
        /// are does not show in the changelog.
        #[test]
        fn it_is_a_list_of_rows_and_the_changelog_is_the_state(
            span_ms in 1_i64..9,
            epochs in prop::collection::vec(
                (prop::collection::vec((0_u8..4, 0_i64..20, 0_u8..3), 0..12), 0_i64..6, any::<bool>()),
                1..10,
            ),
            from in -5_i64..60,
            length in -1_i64..20,
        ) {
            let mut log = RowLog::new(span_ms);
            let mut shards = [RowLog::new(span_ms), RowLog::new(span_ms)];
            let mut model: Vec<(u8, Vec<u8>)> = Vec::new();
            let (mut changelog, mut of_shards) = (Changelog::default(), Changelog::default());
            let mut watermark = 0;
            for (rows, forward, restores) in epochs {
                for (order, (key, ahead, value)) in rows.into_iter().enumerate() {
                    let time = watermark + ahead;
                    for log in [&mut log, &mut shards[usize::from(key % 2)]] {
                        log.push(&[key], time, order as u64, |out| out.push(value));
                    }
                    model.push((key, [&time_bytes(time)[..], &[value]].concat()));
                }
                watermark += forward;
                for log in shards.iter_mut().chain([&mut log]) {
                    log.drop_spans(|last| last < watermark);
                }
                model.retain(|(_, row)| {
                    let start = time_of(row) - time_of(row).rem_euclid(span_ms);
                    start + span_ms > watermark
                });
                changelog.take([&mut log]);
                of_shards.take(&mut shards);
                prop_assert_eq!(&changelog.records, &of_shards.records);
                prop_assert_eq!(log.len(), model.len());
                if restores {
                    (log, changelog.blocks) = changelog.restored(span_ms);
                    prop_assert_eq!(log.len(), model.len());
                }
                for key in 0..4 {
                    let times = from..=from + length;
                    let near = |(of, row): &&(u8, Vec<u8>)| *of == key && times.contains(&time_of(row));
                    let mut expected: Vec<_> = model.iter().filter(near).map(|(_, row)| row.clone()).collect();
                    expected.sort();
                    prop_assert_eq!(found(&log, &[key], times.clone()), expected);
                }
            }
            log.drop_spans(|_| true);
            changelog.take([&mut log]);
            prop_assert!(changelog.records.is_empty() && log.len() == 0);
        }
    }

    #[test]
    fn many_rows_are_several_blocks() {
        let mut log = RowLog::new(10);
        let mut changelog = Changelog::default();
        for order in 0..300 {
            log.push(&[1], 5, order, |out| out.extend_from_slice(&[0; 1_000]));
        }
        changelog.take([&mut log]);
        assert_eq!(changelog.records.len(), 5);
        assert_eq!(changelog.restored(10).0.len(), 300);
        log.forget(0);
        assert_eq!(log.len(), 0);
    }

    #[test]
    fn it_takes_about_as_many_bytes_as_it_says() {
        for (rows, keys, value, span_ms) in
            [(50_000_i64, 50_000_i64, 10, 10_000), (50_000, 3, 100, 500), (3_000, 3_000, 0, 1)]
        {
            let mut log = RowLog::new(span_ms);
            for row in 0..rows {
                let key = [&[7][..], &(row % keys).to_be_bytes()].concat();
                log.push(&key, row, row as u64, |out| out.extend_from_slice(&vec![0; value]));
            }
            let map =
                |capacity: usize| (capacity * 8 / 7).next_power_of_two() * (size_of::<(u64, u32)>() + 1);
            let of = |span: &Span| {
                let rows = span.rows.capacity() * size_of::<Stored>() + span.fresh.capacity() * 8;
                size_of::<(i64, Span)>() + span.bytes.capacity() + rows + map(span.last.capacity())
            };
            let taken: usize = log.spans.values().map(of).sum();
            let said = log.bytes() as f64 / taken as f64;
            assert!((0.7..1.5).contains(&said), "{taken} bytes, {said} of them are said");
            log.drop_spans(|_| true);
            assert_eq!(log.bytes(), 0);
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut log = RowLog::new(10);
        assert!(log.restore(0, &[1], &[1, 2]).is_err(), "a row without its time");
        assert!(log.restore(0, &[1], &time_bytes(10)).is_err(), "a row of another span");
        assert!(Blocks::default().restore(2, &[0; 11], true).is_err());
        for block in [&[1][..], &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 8], &[1, 0, 0, 0, 9, 0, 0, 0, 7, 7]] {
            assert!(block_rows(block).any(|row| row.is_err()), "{block:?}");
        }
    }
}
