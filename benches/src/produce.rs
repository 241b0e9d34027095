//! W1 and W2: as many batches as one producer gets through one connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::link::{Link, Prepared};
use crate::workload::Shape;

/// What a produce run gave.
#[derive(Clone, Debug)]
pub(crate) struct Produced {
    pub(crate) elapsed: Duration,
    /// Payload bytes that were acknowledged.
    pub(crate) payload: u64,
    pub(crate) records: u64,
    /// From the send of each request to its answer. The rate is not given, so the send is the schedule.
    pub(crate) acks: Histogram,
}

/// Sends `batches` batches, never more than `in_flight` without an answer.
pub(crate) fn run(
    address: SocketAddr,
    shape: Shape,
    batches: u32,
    in_flight: usize,
) -> anyhow::Result<Produced> {
    let mut requests = shape.build().iter().map(Prepared::produce).collect::<anyhow::Result<Vec<_>>>()?;
    let mut link = Link::open(address)?;
    link.introduce()?;
    let mut acks = Histogram::new();
    let mut waiting = VecDeque::with_capacity(in_flight);
    let mut expected = None;
    let start = Instant::now();
    for (number, index) in (0..batches).zip((0..requests.len()).cycle()) {
        if waiting.len() >= in_flight {
            receive(&mut link, &mut waiting, &mut acks, &mut expected, shape)?;
        }
        waiting.push_back(Instant::now());
        link.send(&mut requests[index])?;
        debug_assert!(number < batches);
    }
    while !waiting.is_empty() {
        receive(&mut link, &mut waiting, &mut acks, &mut expected, shape)?;
    }
    let elapsed = start.elapsed();
    let payload = shape.payload() * u64::from(batches);
    Ok(Produced { elapsed, payload, records: u64::from(shape.records) * u64::from(batches), acks })
}

fn receive(
    link: &mut Link,
    waiting: &mut VecDeque<Instant>,
    acks: &mut Histogram,
    expected: &mut Option<i64>,
    shape: Shape,
) -> anyhow::Result<()> {
    let base_offset = link.receive_produced()?;
    // The log may have begun before this run.
    let due = expected.unwrap_or(base_offset);
    anyhow::ensure!(base_offset == due, "acknowledged at {base_offset} instead of {due}");
    *expected = Some(due + i64::from(shape.records));
    if let Some(sent) = waiting.pop_front() {
        acks.add(sent.elapsed());
    }
    Ok(())
}
