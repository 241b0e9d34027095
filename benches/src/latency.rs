//! W4: how long a single message takes, from when it was to be sent to its ack and to its consumer.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::histogram::Histogram;
use crate::link::{FetchPlan, Link, Prepared};
use crate::schedule::Schedule;
use crate::workload::Shape;

/// What a latency run gave.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    /// From the scheduled send to the ack.
    pub(crate) acks: Histogram,
    /// From the scheduled send to the consumer.
    pub(crate) end_to_end: Histogram,
    pub(crate) elapsed: Duration,
}

/// Sends `messages` messages of `bytes` bytes, one a batch, `per_second` of them a second, each after the ack of the one
/// before; a consumer waits for data. The first tenth is left out of the figures.
pub(crate) fn run(
    address: SocketAddr,
    bytes: usize,
    per_second: u32,
    messages: u32,
) -> anyhow::Result<Latencies> {
    let shape = Shape { record_bytes: bytes, records: 1 };
    let mut requests = shape.build().iter().map(Prepared::produce).collect::<anyhow::Result<Vec<_>>>()?;
    let mut producer = Link::open(address)?;
    producer.introduce()?;
    let mut consumer = Link::open(address)?;
    consumer.introduce()?;
    let warm_up = messages / 10;
    // The consumer begins to wait first.
    let schedule = Schedule::new(Instant::now() + Duration::from_millis(50), per_second);
    let (finished, end_to_end) = mpsc::channel();
    let consuming = std::thread::Builder::new().name("consumer".to_owned()).spawn(move || {
        // Whoever waits for it sees the error by the missing value.
        let _ = finished.send(consume(&mut consumer, schedule, messages, warm_up));
    })?;
    let mut acks = Histogram::new();
    let start = Instant::now();
    for (index, request) in (0..messages).zip((0..requests.len()).cycle()) {
        let due = schedule.wait(index);
        producer.send(&mut requests[request])?;
        producer.receive_produced()?;
        if index >= warm_up {
            acks.add(due.elapsed());
        }
    }
    let end_to_end =
        end_to_end.recv_timeout(Duration::from_secs(30)).context("the consumer did not get everything")??;
    let elapsed = start.elapsed();
    consuming.join().map_err(|_panic| anyhow::anyhow!("the consumer panicked"))?;
    Ok(Latencies { acks, end_to_end, elapsed })
}

fn consume(
    consumer: &mut Link,
    schedule: Schedule,
    messages: u32,
    warm_up: u32,
) -> anyhow::Result<Histogram> {
    let mut latencies = Histogram::new();
    let mut next = 0;
    while next < messages {
        let plan = FetchPlan { offset: i64::from(next), max_bytes: 1 << 20, min_bytes: 1, wait_ms: 500 };
        let end = consumer.fetch(plan, |bytes| {
            let mut end = i64::from(next);
            for batch in logmill_record::batches(bytes) {
                end = batch?.header().next_offset();
            }
            Ok(end)
        })?;
        let now = Instant::now();
        for index in next..u32::try_from(end)?.min(messages) {
            if index >= warm_up {
                latencies.add(now.saturating_duration_since(schedule.due(index)));
            }
        }
        next = u32::try_from(end)?;
    }
    Ok(latencies)
}
