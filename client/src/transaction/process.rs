//! The exactly-once loop: read, write, commit both in one transaction.

use std::collections::BTreeMap;

use super::{Transaction, TransactionalProducer};
use crate::consumer::{Consumer, ConsumerRecord, Fate};
use crate::error::{Error, Result};

impl TransactionalProducer {
    /// Reads batches of at most `max` records and hands each to `work` with a transaction; what `work` sends and the
    /// offsets of the batch are committed together. When a transaction must be aborted (a rebalance took the
    /// partitions away, a record could not be written, its time was over), the batch is read again, by whoever has its partitions then.
    /// So every record takes effect exactly once in what is written.
    ///
    /// The future can be spawned when `work` is an `async move` closure of what may move between threads, or an `async fn`.
    /// (Of an `async` closure that borrows what it uses, the compiler does not see it.)
    ///
    /// ```no_run
    /// # async fn example(client: logmill_client::Client) -> logmill_client::Result<()> {
    /// use logmill_client::ProducerRecord;
    ///
    /// let mut consumer = client.consumer("copiers").topic("source").manual_commit().build()?;
    /// let mut producer = client.transactional("copier-1").build().await?;
    /// let copying = tokio::spawn(async move {
    ///     let copy = producer.process(&mut consumer, 500, async move |records, transaction| {
    ///         for record in records {
    ///             let copy = ProducerRecord::to("target").value(record.value.clone().unwrap_or_default());
    ///             transaction.enqueue(copy).await?;
    ///         }
    ///         Ok(())
    ///     });
    ///     copy.await
    /// });
    /// # drop(copying);
    /// # Ok(()) }
    /// ```
    ///
    /// The consumer should be built with [`manual_commit`](crate::ConsumerBuilder::manual_commit): its offsets are
    /// committed here. Ends only with an error.
    ///
    /// # Errors
    /// Whatever `work` gives back that does not call for an abort; errors of the consumer; [`Error::Fenced`]. The
    /// open transaction is aborted. When a commit fails so that nobody knows whether it took effect, the consumer
    /// gives nothing more of the partitions concerned: close it and build another, which begins with what is
    /// committed.
    ///
    /// # Cancel safety
    /// The batch under way is read again by the next call or by another member. Dropped while the commit is on its
    /// way, it is as above: the consumer gives nothing more of the partitions concerned, and another one knows.
    /// To stop without a doubt, let `work` give back an error.
    pub async fn process<W>(&mut self, consumer: &mut Consumer, max: usize, mut work: W) -> Result<()>
    where
        W: AsyncFnMut(&[ConsumerRecord], &mut Transaction<'_>) -> Result<()>,
    {
        // What an earlier call left open holds up everybody who asks for committed offsets, this consumer too.
        self.settle().await?;
        loop {
            let mut taken = consumer.take_batch(max).await?;
            if taken.membership.generation < 0 && !taken.membership.group.is_empty() {
                // The partitions were taken away a moment ago; their next reader begins with these records.
                continue;
            }
            let mut ends: BTreeMap<(&str, i32), i64> = BTreeMap::new();
            for record in &taken.records {
                ends.insert((&*record.topic, record.partition), record.offset + 1);
            }
            let mut transaction = self.begin().await?;
            let mut worked = work(&taken.records, &mut transaction).await;
            if worked.is_ok() && !taken.membership.group.is_empty() {
                let offsets: Vec<(&str, i32, i64)> =
                    ends.iter().map(|((topic, partition), offset)| (*topic, *partition, *offset)).collect();
                worked = transaction.send_offsets(&taken.membership, &offsets).await;
            }
            if worked.is_ok() {
                worked = transaction.flush().await;
            }
            let ended = match worked {
                Ok(()) => {
                    // Should this future be dropped from here on, the commit may have taken effect.
                    taken.fate = Fate::Unknown;
                    match transaction.commit().await {
                        Err(error) if !error.requires_abort() => return Err(error),
                        ended => ended,
                    }
                }
                Err(error) => transaction.abort().await.and(Err(error)),
            };
            match ended {
                Ok(()) => taken.fate = Fate::Done,
                Err(error @ Error::AbortRequired { .. }) => {
                    taken.fate = Fate::Open;
                    tracing::warn!(id = self.id(), %error, "the batch is read again");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProducerRecord;

    /// A loop is a task of its own in most programs: it must be one that may move between threads.
    #[test]
    fn a_loop_can_be_spawned() {
        fn assert_send<T: Send>(_: &T) {}
        async fn copy(records: &[ConsumerRecord], transaction: &mut Transaction<'_>) -> Result<()> {
            for record in records {
                let value = record.value.clone().unwrap_or_default();
                drop(transaction.enqueue(ProducerRecord::to("target").value(value)).await?);
            }
            Ok(())
        }
        // Never called: that it compiles is the point.
        let _by_name = |mut producer: TransactionalProducer, mut consumer: Consumer| {
            let task = async move { producer.process(&mut consumer, 10, copy).await };
            assert_send(&task);
        };
        let _by_closure = |mut producer: TransactionalProducer, mut consumer: Consumer, topic: String| {
            let task = async move {
                let mut seen = 0;
                let work = async move |records: &[ConsumerRecord], transaction: &mut Transaction<'_>| {
                    seen += records.len();
                    transaction
                        .send(ProducerRecord::to(topic.clone()).value(seen.to_string()))
                        .await
                        .map(drop)
                };
                producer.process(&mut consumer, 10, work).await
            };
            assert_send(&task);
        };
    }
}
