//! What a task's own partitions hold: the last progress record, and the state's changes.

use std::time::Duration;

use logmill_client::{Client, Error, Isolation};
use logmill_stream::{Batch, Progress, Restoring};

use crate::error::TaskError;
use crate::memory::Part;

/// What a batch of a pipeline's own may unpack to.
const UNPACKED_BATCH: usize = 64 << 20;
/// How much is taken at a time.
const READ_BYTES: usize = 4 << 20;
/// How many offsets from the end a progress record is first looked for.
const FIRST_LOOK: i64 = 64;
/// For how long a partition may give nothing before its end is reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a partition begins, and where everything that was ever written to it ends.
pub(crate) async fn range(client: &Client, topic: &str, task: i32) -> Result<(i64, i64), Error> {
    let offsets = client.admin().offsets(topic, task, Isolation::Uncommitted).await?;
    Ok((offsets.start, offsets.end))
}

/// The last committed progress record of a task, and its offset.
pub(crate) async fn progress(
    client: &Client,
    topic: &str,
    task: i32,
) -> Result<Option<(Progress, i64)>, TaskError> {
    let (start, end) = range(client, topic, task).await?;
    let mut look = FIRST_LOOK;
    let mut to = end;
    // Mostly the last few records have it. What lies behind it may be aborted, or markers.
    while to > start {
        let from = (end - look).max(start);
        if let Some((value, offset)) = last_value(client, topic, task, (from, to)).await? {
            return Ok(Some((Progress::decode(&value)?, offset)));
        }
        to = from;
        look = look.saturating_mul(8);
    }
    Ok(None)
}

/// The progress record at an offset; `None` where there is none, or none any more.
pub(crate) async fn progress_at(
    client: &Client,
    topic: &str,
    task: i32,
    offset: i64,
) -> Result<Option<Progress>, TaskError> {
    let (start, end) = range(client, topic, task).await?;
    if !(start..end).contains(&offset) {
        return Ok(None);
    }
    let found = last_value(client, topic, task, (offset, offset + 1)).await?;
    let found = found.filter(|(_, at)| *at == offset);
    Ok(found.map(|(value, _)| Progress::decode(&value)).transpose()?)
}

/// The last committed value between two offsets, and where it is.
async fn last_value(
    client: &Client,
    topic: &str,
    task: i32,
    range: (i64, i64),
) -> Result<Option<(Vec<u8>, i64)>, TaskError> {
    let mut last = None;
    let take = |batch: &Batch| {
        let damaged = |source| Error::CorruptBatch {
            topic: topic.to_owned(),
            partition: task,
            offset: batch.header().base_offset,
            source,
        };
        for record in batch.records(UNPACKED_BATCH).map_err(damaged)? {
            if let Some(value) = record.value.filter(|_| record.offset < range.1) {
                last = Some((value.to_vec(), record.offset));
            }
        }
        Ok::<(), TaskError>(())
    };
    each_batch(client, topic, task, range, take).await?;
    Ok(last)
}

/// Applies the changelog of a task between two offsets, as far as its state is within what the worker may hold. Gives how
/// many bytes it had.
pub(crate) async fn changelog(
    client: &Client,
    topic: &str,
    task: i32,
    range: (i64, i64),
    restoring: &mut Restoring,
    memory: &Part,
) -> Result<u64, TaskError> {
    let mut bytes = 0;
    let take = |batch: &Batch| {
        bytes += batch.size() as u64;
        restoring.apply(batch)?;
        memory.hold(restoring.memory_bytes(), || restoring.operator_sizes())
    };
    each_batch(client, topic, task, range, take).await?;
    Ok(bytes)
}

/// Hands over every committed batch of a partition between two offsets, oldest first, until it is told an error.
pub(crate) async fn each_batch<E: From<Error>>(
    client: &Client,
    topic: &str,
    task: i32,
    (from, to): (i64, i64),
    mut take: impl FnMut(&Batch) -> Result<(), E>,
) -> Result<(), E> {
    if from >= to {
        return Ok(());
    }
    let reader = client.batches().partition_bytes(READ_BYTES).partition(topic, task, from).start();
    let mut at = from;
    while at < to {
        let read = reader.read(topic, task, at, READ_BYTES)?;
        let Some(last) = read.batches.last() else {
            let waited = tokio::time::timeout(PATIENCE, reader.fetched()).await;
            waited.map_err(|_| Error::Timeout {
                operation: format!("reading {topic}-{task} from offset {at} to its end {to}"),
                after: PATIENCE,
                last: None,
            })?;
            continue;
        };
        for batch in read.committed().filter(|batch| batch.header().base_offset < to) {
            take(batch)?;
        }
        at = last.header().next_offset();
    }
    Ok(())
}
