//! A consumer of an output that reads what is committed, and stamps it when it comes.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use logmill_record::{Batch, BatchError};
use logmill_wire::messages::FetchRequest;
use logmill_wire::messages::fetch::{AbortedTransaction, FetchPartition, FetchTopic};
use logmill_wire::{Chunks, ErrorCode};

use crate::histogram::Histogram;
use crate::link::{FETCH_VERSION, Link};
use crate::nexmark::load::Span;
use crate::nexmark::queries::{Moment, Query};
use crate::nexmark::rows;
use crate::nexmark::topics::{Names, PARTITIONS};

const READ_COMMITTED: i8 = 1;
const WAIT_MS: i32 = 100;
const FETCH_BYTES: i32 = 8 << 20;
/// No batch is larger when it is decompressed.
const BUDGET: usize = 64 << 20;

/// The thread that reads.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<Seen>>,
}

struct Shared {
    stop: AtomicBool,
    /// When the last row came, in ms since `started`.
    last_row: AtomicU64,
    started: Instant,
}

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Rows of the prefilled events; of an output whose rows replace each other, different keys.
    pub(crate) prefilled: u64,
    /// When each row of later events was due, in ms, and when it came, in µs.
    live: Vec<(i64, i64)>,
}

impl Seen {
    /// How long rows took that were due within a span; those before it warm up, those after it see the load end.
    pub(crate) fn latencies(&self, span: Span) -> Histogram {
        let mut latencies = Histogram::new();
        for (due, came_us) in &self.live {
            if (span.from..=span.until).contains(due) {
                latencies.add(Duration::from_micros((came_us - due * 1000).max(0).unsigned_abs()));
            }
        }
        latencies
    }
}

impl Reader {
    /// Reads the output from its beginning. Rows before `live_from` are of the prefilled events.
    pub(crate) fn start(
        address: SocketAddr,
        names: &Names,
        query: Query,
        live_from: i64,
    ) -> anyhow::Result<Self> {
        let mut link = Link::open(address)?;
        link.introduce()?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            last_row: AtomicU64::new(0),
            started: Instant::now(),
        });
        let reading = Reading {
            link,
            topic: names.output(),
            moment: query.moment(),
            live_from,
            offsets: [0; PARTITIONS as usize],
            keys: query.key().map(|_| Keys::default()),
            seen: Seen::default(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("outputs".to_owned()).spawn(move || reading.run())?;
        Ok(Self { shared, thread })
    }

    /// Waits until no row has come for so long; not longer than `limit`.
    pub(crate) fn wait_quiet(&self, quiet: Duration, limit: Duration) {
        let began = self.shared.started.elapsed();
        while !self.thread.is_finished() {
            let now = self.shared.started.elapsed();
            let last = Duration::from_millis(self.shared.last_row.load(Ordering::Relaxed)).max(began);
            if now - began > limit || now.saturating_sub(last) > quiet {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn finish(self) -> anyhow::Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow::anyhow!("the consumer panicked"))?
    }
}

/// Keys by their hashes: two of a million are the same with a chance of 1 to 37 million.
#[derive(Default)]
struct Keys {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

struct Reading {
    link: Link,
    topic: String,
    moment: Moment,
    live_from: i64,
    offsets: [i64; PARTITIONS as usize],
    keys: Option<Keys>,
    seen: Seen,
    shared: Arc<Shared>,
}

impl Reading {
    fn run(mut self) -> anyhow::Result<Seen> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let request = self.request();
            let response = self.link.ask(&request, FETCH_VERSION)?;
            let came_us = now_us();
            ensure!(response.error_code == ErrorCode::NONE, "fetch: {:?}", response.error_code);
            for partition in response.responses.into_iter().flat_map(|topic| topic.partitions) {
                ensure!(partition.error_code == ErrorCode::NONE, "fetch: {:?}", partition.error_code);
                let records = partition.records.map_or_else(Bytes::new, Chunks::into_bytes);
                let aborted = Aborted::new(partition.aborted_transactions.unwrap_or_default());
                self.take(partition.partition_index, records, aborted, came_us)?;
            }
        }
        if let Some(keys) = &self.keys {
            self.seen.prefilled = keys.hashes.len() as u64;
        }
        Ok(self.seen)
    }

    fn request(&self) -> FetchRequest {
        let partition = |index: i32| FetchPartition {
            partition: index,
            fetch_offset: self.offsets[index as usize],
            partition_max_bytes: FETCH_BYTES,
            ..FetchPartition::default()
        };
        let partitions = (0..PARTITIONS).map(partition).collect();
        FetchRequest {
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes: FETCH_BYTES * PARTITIONS,
            isolation_level: READ_COMMITTED,
            topics: vec![FetchTopic {
                topic: self.topic.as_str().into(),
                partitions,
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    }

    fn take(&mut self, index: i32, records: Bytes, mut aborted: Aborted, came_us: i64) -> anyhow::Result<()> {
        for batch in logmill_record::batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A response may end within a batch, which comes again.
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            let offset = &mut self.offsets[index as usize];
            let done = batch.header().next_offset() <= *offset;
            *offset = batch.header().next_offset().max(*offset);
            if !done && aborted.admits(&batch) {
                self.rows(&batch, came_us)?;
            }
        }
        Ok(())
    }

    fn rows(&mut self, batch: &Batch, came_us: i64) -> anyhow::Result<()> {
        let open = batch.open(BUDGET)?;
        for record in open.records() {
            let record = record?;
            // A row that is taken back says no time.
            let Some(value) = record.value else { continue };
            let moments = rows::moments(value, self.moment)
                .with_context(|| format!("a row without its time: {}", String::from_utf8_lossy(value)))?;
            if moments.of >= self.live_from {
                self.seen.live.push((moments.due, came_us));
            } else if let Some(keys) = &mut self.keys {
                let key = record.key.context("a row without its key")?;
                keys.hashes.insert(keys.hasher.hash_one(key));
            } else {
                self.seen.prefilled += 1;
            }
        }
        let now = self.shared.started.elapsed().as_millis();
        self.shared.last_row.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(())
    }
}

/// The aborted transactions of one partition, as a `read_committed` consumer is told of them.
struct Aborted {
    /// From the last to the first.
    ahead: Vec<AbortedTransaction>,
    producers: HashSet<i64>,
}

impl Aborted {
    fn new(mut transactions: Vec<AbortedTransaction>) -> Self {
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { ahead: transactions, producers: HashSet::new() }
    }

    /// Whether a batch has records that count.
    fn admits(&mut self, batch: &Batch) -> bool {
        let header = batch.header();
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.producers.insert(next.producer_id);
        }
        if header.is_control() {
            self.producers.remove(&header.producer_id);
            return false;
        }
        !(header.is_transactional() && self.producers.contains(&header.producer_id))
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use logmill_record::control::marker_batch;
    use logmill_record::{BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp};

    use super::*;

    fn batch(producer: i64, offset: i64) -> Batch {
        let stamp = ProducerStamp { id: producer, epoch: 0, sequence: 0 };
        let options = BatchOptions { producer: Some(stamp), transactional: true, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        builder.push(0, None, Some(b"x"), &[]);
        builder.build().stamped(offset, 0)
    }

    #[test]
    fn aborted_rows_and_markers_are_left_out() {
        let marker = |producer, commit, offset| {
            marker_batch(producer, 0, EndTxnMarker { commit, coordinator_epoch: 0 }, 0).stamped(offset, 0)
        };
        let log = [
            batch(1, 0),
            batch(2, 1),
            batch(1, 2),
            marker(1, false, 3),
            marker(2, true, 4),
            batch(1, 5),
            marker(1, true, 6),
        ];
        let mut aborted = Aborted::new(vec![AbortedTransaction { producer_id: 1, first_offset: 0 }]);
        let admitted: Vec<i64> = log
            .iter()
            .filter(|batch| aborted.admits(batch))
            .map(|batch| batch.header().last_offset())
            .collect();
        assert_eq!(admitted, [1, 5]);
    }

    #[test]
    fn only_rows_due_within_the_span_are_measured() {
        let seen = Seen { prefilled: 0, live: vec![(9, 9_000), (10, 12_000), (20, 19_000), (21, 99_000)] };
        let latencies = seen.latencies(Span { from: 10, until: 20 });
        assert_eq!((latencies.count(), latencies.max()), (2, Duration::from_millis(2)));
    }
}
