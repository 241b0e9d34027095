//! The exactly-once loop: read, write, commit both in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Transaction, TransactionalProducer};
use crate::consumer::{Consumer, ConsumerRecord, StartAt};
use crate::error::{Error, Result};

impl TransactionalProducer {
    /// Reads batches of at most `max` records and hands each to `work` with a transaction; what `work` sends and the
    /// offsets of the batch are committed together. When a transaction must be aborted (a rebalance took the
    /// partitions away, a record could not be written), the batch is read again, by whoever has its partitions then.
    /// So every record takes effect exactly once in what is written.
    ///
    /// The consumer should be built with [`manual_commit`](crate::ConsumerBuilder::manual_commit): its offsets are
    /// committed here. Ends only with an error.
    ///
    /// # Errors
    /// Whatever `work` gives back that does not call for an abort; errors of the consumer; [`Error::Fenced`]. The
    /// open transaction is aborted.
    ///
    /// # Cancel safety
    /// The batch under way is read again by the next call or by another member.
    pub async fn process<W>(&mut self, consumer: &mut Consumer, max: usize, mut work: W) -> Result<()>
    where
        W: AsyncFnMut(&[ConsumerRecord], &mut Transaction<'_>) -> Result<()>,
    {
        loop {
            let (records, membership) = consumer.take_batch(max).await?;
            if membership.generation < 0 && !membership.group.is_empty() {
                // The partitions were taken away a moment ago; their next reader begins with these records.
                continue;
            }
            let mut begin: BTreeMap<(Arc<str>, i32), i64> = BTreeMap::new();
            let mut end: BTreeMap<(Arc<str>, i32), i64> = BTreeMap::new();
            for record in &records {
                let key = (Arc::clone(&record.topic), record.partition);
                begin.entry(key.clone()).or_insert(record.offset);
                end.insert(key, record.offset + 1);
            }
            let mut transaction = self.begin().await?;
            let mut done = work(&records, &mut transaction).await;
            if done.is_ok() && !membership.group.is_empty() {
                let offsets: Vec<(&str, i32, i64)> =
                    end.iter().map(|((topic, partition), offset)| (&**topic, *partition, *offset)).collect();
                done = transaction.send_offsets(&membership, &offsets).await;
            }
            let ended = match done {
                Ok(()) => transaction.commit().await,
                Err(error) => {
                    transaction.abort().await?;
                    Err(error)
                }
            };
            match ended {
                Ok(()) => {}
                Err(error @ Error::AbortRequired { .. }) => {
                    tracing::warn!(id = self.id(), %error, "the batch is read again");
                    for ((topic, partition), offset) in begin {
                        // A partition that is no longer assigned is somebody else's to read.
                        let _ = consumer.seek(&topic, partition, StartAt::Offset(offset));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
