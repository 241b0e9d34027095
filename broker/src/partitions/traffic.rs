//! What goes into a partition and out of it, counted by batch.

use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use logmill_record::BatchHeader;

/// Counts since the broker started, or the partition was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) produced_bytes: u64,
    pub(crate) produced_records: u64,
    pub(crate) fetched_bytes: u64,
    pub(crate) fetched_records: u64,
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Traffic>>(all: I) -> Self {
        all.fold(Self::default(), |sum, more| Self {
            produced_bytes: sum.produced_bytes + more.produced_bytes,
            produced_records: sum.produced_records + more.produced_records,
            fetched_bytes: sum.fetched_bytes + more.fetched_bytes,
            fetched_records: sum.fetched_records + more.fetched_records,
        })
    }
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(super) struct TrafficCounts {
    produced_bytes: AtomicU64,
    produced_records: AtomicU64,
    fetched_bytes: AtomicU64,
    fetched_records: AtomicU64,
}

impl TrafficCounts {
    pub(super) fn produced(&self, bytes: u64, records: u64) {
        self.produced_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.produced_records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn fetched<'a>(&self, chunks: impl Iterator<Item = &'a Bytes>) {
        let (mut bytes, mut records) = (0, 0);
        for chunk in chunks {
            bytes += chunk.len() as u64;
            records += records_in(chunk);
        }
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.fetched_records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Traffic {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            produced_bytes: load(&self.produced_bytes),
            produced_records: load(&self.produced_records),
            fetched_bytes: load(&self.fetched_bytes),
            fetched_records: load(&self.fetched_records),
        }
    }
}

/// How many records the headers of whole batches speak of, one after another; no record is looked at.
fn records_in(mut chunk: &[u8]) -> u64 {
    let mut records = 0;
    while let Ok(header) = BatchHeader::parse(chunk) {
        records += u64::try_from(header.count).unwrap_or(0);
        match chunk.get(header.size()..) {
            Some(rest) if header.size() > 0 => chunk = rest,
            _ => break,
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(records: usize) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        (0..records).for_each(|_| builder.push(0, None, Some(b"v"), &[]));
        builder.build().into_bytes()
    }

    #[test]
    fn records_are_counted_by_the_headers_of_their_batches() {
        let counts = TrafficCounts::default();
        let both = [batch(3), batch(4)].concat();
        let chunks = [Bytes::from(both.clone()), batch(1)];
        counts.fetched(chunks.iter());
        counts.produced(10, 2);
        let bytes = (both.len() + chunks[1].len()) as u64;
        let expected =
            Traffic { produced_bytes: 10, produced_records: 2, fetched_bytes: bytes, fetched_records: 8 };
        assert_eq!(counts.now(), expected);
        let twice: Traffic = [counts.now(), counts.now()].into_iter().sum();
        assert_eq!(twice.fetched_records, 16);
        // A batch that is cut off counts by its header, and what follows is none.
        assert_eq!(records_in(&both[..both.len() - 1]), 7);
        assert_eq!(records_in(b"junk"), 0);
    }
}
