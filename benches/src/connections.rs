//! W5: many idle connections beside some active ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::link::{Link, Prepared};
use crate::schedule::Schedule;
use crate::workload::Shape;

/// Connections that introduced themselves and say nothing more.
pub(crate) fn idle(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Link>> {
    (0..count)
        .map(|_| {
            let mut link = Link::open(address)?;
            link.introduce()?;
            Ok(link)
        })
        .collect()
}

/// `connections` producers, each sending `per_second` messages of `bytes` bytes a second for `time`; latencies of their
/// acks, from when each was to be sent.
pub(crate) fn active(
    address: SocketAddr,
    connections: u32,
    per_second: u32,
    bytes: usize,
    time: Duration,
) -> anyhow::Result<Histogram> {
    let batch = Shape { record_bytes: bytes, records: 1 }.build().remove(0);
    let messages = u32::try_from(time.as_millis())? * per_second / 1000;
    let start = Instant::now() + Duration::from_millis(100);
    let mut threads = Vec::new();
    for number in 0..connections {
        let mut request = Prepared::produce(&batch)?;
        let mut link = Link::open(address)?;
        link.introduce()?;
        // Spread over the interval, as independent producers are.
        let offset = Duration::from_secs(1) * number / (per_second * connections);
        let schedule = Schedule::new(start + offset, per_second);
        threads.push(std::thread::spawn(move || -> anyhow::Result<Histogram> {
            let mut acks = Histogram::new();
            for index in 0..messages {
                let due = schedule.wait(index);
                link.send(&mut request)?;
                link.receive_produced()?;
                acks.add(due.elapsed());
            }
            Ok(acks)
        }));
    }
    let mut all = Histogram::new();
    for thread in threads {
        all.merge(&thread.join().map_err(|_panic| anyhow::anyhow!("a producer panicked"))??);
    }
    Ok(all)
}
