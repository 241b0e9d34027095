//! What a task's own partitions hold: the last progress record, and the state's changes.

use std::time::Duration;

use logmill_client::{Client, Error, Isolation, Result};
use logmill_stream::{Progress, Restoring};

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
async fn range(client: &Client, topic: &str, task: i32) -> Result<(i64, i64)> {
    let offsets = client.admin().offsets(topic, task, Isolation::Uncommitted).await?;
    Ok((offsets.start, offsets.end))
}

/// The last committed progress record of a task.
pub(crate) async fn progress(
    client: &Client,
    topic: &str,
    task: i32,
) -> std::result::Result<Option<Progress>, TaskError> {
    let (start, end) = range(client, topic, task).await?;
    let mut look = FIRST_LOOK;
    let mut to = end;
    // Mostly the last few records have it. What lies behind it may be aborted, or markers.
    while to > start {
        let from = (end - look).max(start);
        let mut last = None;
        each_batch(client, topic, task, from, to, |batch| {
            let damaged = |source| Error::CorruptBatch {
                topic: topic.to_owned(),
                partition: task,
                offset: batch.header().base_offset,
                source,
            };
            for record in batch.records(UNPACKED_BATCH).map_err(damaged)? {
                last = record.value.or(last.take());
            }
            Ok(())
        })
        .await?;
        if let Some(value) = last {
            return Ok(Some(Progress::decode(&value)?));
        }
        to = from;
        look = look.saturating_mul(8);
    }
    Ok(None)
}

/// Applies the whole changelog of a task, as far as its state is within what the worker may hold.
pub(crate) async fn changelog(
    client: &Client,
    topic: &str,
    task: i32,
    restoring: &mut Restoring,
    memory: &Part,
) -> std::result::Result<(), TaskError> {
    let (start, end) = range(client, topic, task).await?;
    let mut failed: Option<TaskError> = None;
    let applied = each_batch(client, topic, task, start, end, |batch| {
        let applied = restoring.apply(batch).map_err(TaskError::from);
        let applied =
            applied.and_then(|()| memory.hold(restoring.memory_bytes(), || restoring.operator_sizes()));
        applied.map_err(|error| {
            failed = Some(error);
            Error::Closed
        })
    });
    let applied = applied.await;
    match failed {
        Some(error) => Err(error),
        None => Ok(applied?),
    }
}

/// Hands over every committed batch of a partition between two offsets, oldest first.
async fn each_batch(
    client: &Client,
    topic: &str,
    task: i32,
    from: i64,
    to: i64,
    mut take: impl FnMut(&logmill_stream::Batch) -> Result<()>,
) -> Result<()> {
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
