//! W3: one consumer reads from the beginning what was produced, and checks every CRC.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::link::{FetchPlan, Link};
use crate::workload::Shape;

/// What a catch-up run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaughtUp {
    pub(crate) elapsed: Duration,
    /// Payload bytes.
    pub(crate) payload: u64,
    pub(crate) records: u64,
}

/// Reads `batches` batches in fetches of at most `max_bytes`.
pub(crate) fn run(
    address: SocketAddr,
    shape: Shape,
    batches: u32,
    max_bytes: i32,
) -> anyhow::Result<CaughtUp> {
    let mut link = Link::open(address)?;
    link.introduce()?;
    let records = u64::from(batches) * u64::from(shape.records);
    let end = i64::try_from(records).context("too many records")?;
    let mut offset = 0;
    let start = Instant::now();
    while offset < end {
        let plan = FetchPlan { offset, max_bytes, min_bytes: 1, wait_ms: 500 };
        let next = link.fetch(plan, |bytes| {
            let mut next = offset;
            for batch in logmill_record::batches(bytes) {
                let batch = match batch {
                    Ok(batch) => batch,
                    // A response may end inside a batch.
                    Err(logmill_record::BatchError::Truncated { .. }) if next > offset => break,
                    Err(error) => return Err(error).context("a fetched batch"),
                };
                let header = batch.header();
                anyhow::ensure!(header.base_offset <= next, "offset {next} is missing");
                next = header.next_offset();
            }
            Ok(next)
        })?;
        anyhow::ensure!(next > offset, "nothing at offset {offset} of {end}");
        offset = next;
    }
    Ok(CaughtUp { elapsed: start.elapsed(), payload: shape.payload() * u64::from(batches), records })
}
