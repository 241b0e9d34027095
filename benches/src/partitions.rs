//! W7: small producers, on one partition and on many.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::link::{Link, Prepared};
use crate::workload::Shape;

/// What the producers got through together.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) elapsed: Duration,
    pub(crate) batches: u64,
    pub(crate) acks: Histogram,
}

/// Some producers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Producers {
    pub(crate) connections: u32,
    pub(crate) in_flight: usize,
    /// How long they send.
    pub(crate) time: Duration,
}

/// Each producer sends one batch after the other, as fast as it is answered, each to another partition: together they
/// go through all of them in turn.
pub(crate) fn run(
    address: SocketAddr,
    shape: Shape,
    partitions: u32,
    producers: Producers,
) -> anyhow::Result<Spread> {
    let batch = shape.build().remove(0);
    let start = Instant::now();
    let end = start + producers.time;
    let mut threads = Vec::new();
    for number in 0..producers.connections {
        let mut link = Link::open(address)?;
        link.introduce()?;
        let own = (number..partitions.max(number + 1)).step_by(producers.connections as usize);
        let mut requests = own
            .map(|partition| Prepared::produce_to(&batch, (partition % partitions).cast_signed()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        threads.push(std::thread::spawn(move || -> anyhow::Result<(u64, Histogram)> {
            let (mut batches, mut acks, mut waiting) = (0, Histogram::new(), VecDeque::new());
            let count = requests.len();
            for next in (0..count).cycle() {
                if Instant::now() >= end {
                    break;
                }
                if waiting.len() >= producers.in_flight {
                    receive(&mut link, &mut waiting, &mut acks)?;
                }
                waiting.push_back(Instant::now());
                link.send(&mut requests[next])?;
                batches += 1;
            }
            while !waiting.is_empty() {
                receive(&mut link, &mut waiting, &mut acks)?;
            }
            Ok((batches, acks))
        }));
    }
    let mut all = Spread { elapsed: Duration::ZERO, batches: 0, acks: Histogram::new() };
    for thread in threads {
        let (batches, acks) = thread.join().map_err(|_panic| anyhow::anyhow!("a producer panicked"))??;
        all.batches += batches;
        all.acks.merge(&acks);
    }
    all.elapsed = start.elapsed();
    Ok(all)
}

fn receive(link: &mut Link, waiting: &mut VecDeque<Instant>, acks: &mut Histogram) -> anyhow::Result<()> {
    link.receive_produced()?;
    if let Some(sent) = waiting.pop_front() {
        acks.add(sent.elapsed());
    }
    Ok(())
}
