//! What fills the topics: as fast as it goes, and at a rate.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use logmill_record::{BatchBuilder, BatchOptions};
use logmill_wire::ErrorCode;
use logmill_wire::messages::ProduceRequest;
use logmill_wire::messages::produce::{PartitionProduceData, TopicProduceData};

use crate::link::{Link, PRODUCE_VERSION};
use crate::nexmark::events::{Events, Timeless};
use crate::nexmark::queries::Table;
use crate::nexmark::topics::{Names, PARTITIONS};

/// Events in a request that fills a topic: about 250 KB for each of two partitions.
const FILL: usize = 2_000;
/// Requests sent before waiting for an answer, when topics are filled and at a rate.
const FILLING_IN_FLIGHT: usize = 5;
const PACED_IN_FLIGHT: usize = 40;
/// How long a paced producer gathers, as `linger.ms` does.
const TICK: Duration = Duration::from_millis(5);

/// A producer of one run's tables.
pub(crate) struct Load {
    link: Link,
    events: Events,
    names: Names,
    tables: &'static [Table],
    batches: Vec<BatchBuilder>,
    /// How many records of each table there were, which says whose turn it is among the partitions.
    counts: [usize; Table::ALL.len()],
    unanswered: usize,
    text: Vec<u8>,
}

/// When a paced load ran, in ms since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Load {
    pub(crate) fn open(address: SocketAddr, names: &Names, tables: &'static [Table]) -> anyhow::Result<Self> {
        let mut link = Link::open(address)?;
        link.introduce()?;
        let batch = |_| BatchBuilder::new(BatchOptions::default());
        Ok(Self {
            link,
            events: Events::new(tables),
            names: names.clone(),
            tables,
            batches: (0..Table::ALL.len() * PARTITIONS as usize).map(batch).collect(),
            counts: [0; Table::ALL.len()],
            unanswered: 0,
            text: Vec::new(),
        })
    }

    /// So many events, at their usual times from `base` on. Gives the time of the newest.
    pub(crate) fn fill(&mut self, base: i64, count: u64) -> anyhow::Result<i64> {
        let mut left = count;
        let mut newest = base;
        while left > 0 {
            let now = left.min(FILL as u64);
            for _ in 0..now {
                newest = self.push(|event| event.usual_time(base))?;
            }
            self.send(FILLING_IN_FLIGHT)?;
            left -= now;
        }
        self.settle(0)?;
        Ok(newest)
    }

    /// `per_second` events a second for so long. Each says that it happened when it was to be sent, so that what waits for
    /// a slow broker is counted.
    pub(crate) fn pace(&mut self, per_second: u32, time: Duration) -> anyhow::Result<Span> {
        let (start, start_ms) = (Instant::now(), now_ms());
        let ticks = u32::try_from(time.as_millis() / TICK.as_millis())?;
        let mut sent = 0_u64;
        for tick in 0..ticks {
            let due = TICK * tick;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let happened = start_ms + i64::try_from(due.as_millis())?;
            let wanted = (f64::from(per_second) * (due + TICK).as_secs_f64()) as u64;
            while sent < wanted {
                self.push(|_| happened)?;
                sent += 1;
            }
            self.send(PACED_IN_FLIGHT)?;
        }
        self.settle(0)?;
        Ok(Span { from: start_ms, until: start_ms + i64::try_from(time.as_millis())? })
    }

    fn push(&mut self, time: impl FnOnce(&Timeless) -> i64) -> anyhow::Result<i64> {
        let event = self.events.next().context("no table is read")?;
        let table = event.table() as usize;
        let partition = self.counts[table] % PARTITIONS as usize;
        self.counts[table] += 1;
        let time = time(&event);
        self.text.clear();
        event.write(time, &mut self.text);
        self.batches[table * PARTITIONS as usize + partition].push(time, None, Some(&self.text), &[]);
        Ok(time)
    }

    /// Sends what was gathered in one request, once fewer than `in_flight` are unanswered.
    fn send(&mut self, in_flight: usize) -> anyhow::Result<()> {
        let mut topic_data = Vec::new();
        for table in self.tables {
            let at = *table as usize * PARTITIONS as usize;
            let mut partition_data = Vec::new();
            for index in 0..PARTITIONS {
                let batch = &mut self.batches[at + index as usize];
                if !batch.is_empty() {
                    let records: Bytes = batch.build().into_bytes();
                    partition_data.push(PartitionProduceData { index, records: Some(records) });
                }
            }
            if !partition_data.is_empty() {
                let name = self.names.source(*table).as_str().into();
                topic_data.push(TopicProduceData { name, partition_data, ..TopicProduceData::default() });
            }
        }
        if topic_data.is_empty() {
            return Ok(());
        }
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..ProduceRequest::default() };
        self.settle(in_flight - 1)?;
        self.link.post(&request, PRODUCE_VERSION)?;
        self.unanswered += 1;
        Ok(())
    }

    /// Waits until no more than so many requests are unanswered.
    fn settle(&mut self, unanswered: usize) -> anyhow::Result<()> {
        while self.unanswered > unanswered {
            let response = self.link.answer::<ProduceRequest>(PRODUCE_VERSION)?;
            self.unanswered -= 1;
            for partition in response.responses.iter().flat_map(|topic| &topic.partition_responses) {
                ensure!(partition.error_code == ErrorCode::NONE, "produce: {:?}", partition.error_code);
            }
        }
        Ok(())
    }
}

/// The wall clock, in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
