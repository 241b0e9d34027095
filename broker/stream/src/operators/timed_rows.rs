//! Rows that time caused, and their order among those of all shards.

use std::ops::Range;

use crate::rows::Rows;

/// Rows that time caused, in the order of what they are sorted by among all shards.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) rows: Rows,
    pub(crate) sort: SortKeys,
}

/// What rows are sorted by: for each the time it belongs to, and its key without the key group. The keys lie end to end.
#[derive(Debug, Default)]
pub(crate) struct SortKeys {
    times: Vec<i64>,
    bytes: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl SortKeys {
    /// With room for so many rows of short keys.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        const SHORT: usize = 16;
        Self {
            times: Vec::with_capacity(rows),
            bytes: Vec::with_capacity(rows * SHORT),
            ends: Vec::with_capacity(rows),
        }
    }

    /// One more row, with its key.
    pub(crate) fn push(&mut self, time: i64, key: &[u8]) {
        self.times.push(time);
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// How many rows they are of.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn get(&self, row: usize) -> (i64, &[u8]) {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        (self.times[row], &self.bytes[start..self.ends[row]])
    }

    pub(crate) fn first(&self) -> Option<(i64, &[u8])> {
        (self.len() > 0).then(|| self.get(0))
    }

    pub(crate) fn last(&self) -> Option<(i64, &[u8])> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &[u8])> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Those of some of the rows.
    pub(crate) fn part(&self, rows: Range<usize>) -> SortKeys {
        let mut part = SortKeys::with_capacity(rows.len());
        part.extend(rows.map(|row| self.get(row)));
        part
    }
}

impl<'k> Extend<(i64, &'k [u8])> for SortKeys {
    fn extend<I: IntoIterator<Item = (i64, &'k [u8])>>(&mut self, keys: I) {
        keys.into_iter().for_each(|(time, key)| self.push(time, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_rows() {
        let mut keys = SortKeys::default();
        assert_eq!((keys.first(), keys.last(), keys.len()), (None, None, 0));
        let all: [(i64, &[u8]); 4] = [(3, b"a"), (3, b""), (3, b"bcd"), (9, b"e")];
        keys.extend(all);
        assert!(keys.iter().eq(all));
        assert_eq!((keys.first(), keys.last()), (Some(all[0]), Some(all[3])));
        assert!(keys.part(1..3).iter().eq(all[1..3].iter().copied()));
    }
}
