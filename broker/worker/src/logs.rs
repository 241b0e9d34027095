//! The engine's seam over a Kafka cluster.

use std::time::Duration;

use logmill_client::{BatchReader, Client, Error, Isolation, OffsetSpec, ToldEnd};
use logmill_stream::{
    AbortedRange, CommitError, EpochOutput, Heard, Logs, LogsError, Progress, ReadBatches, TopicPartition,
};
use tokio::runtime::Handle;

use crate::commits::{Commits, Committed, Written};

/// Reads a task's partitions and commits its epochs.
pub(crate) struct ClusterLogs {
    client: Client,
    reader: BatchReader,
    commits: Commits,
    runtime: Handle,
    /// What the client met last, where the seam has only a text for it.
    met: Option<Error>,
}

impl ClusterLogs {
    pub(crate) fn new(client: Client, reader: BatchReader, commits: Commits, runtime: Handle) -> Self {
        Self { client, reader, commits, runtime, met: None }
    }

    /// What is fetched ahead.
    pub(crate) fn reader(&self) -> &BatchReader {
        &self.reader
    }

    /// What the client met when a call of the seam failed.
    pub(crate) fn met(&self) -> Option<&Error> {
        self.met.as_ref()
    }

    /// That nothing keeps a partition from being read on, where it has given nothing.
    pub(crate) fn check(&mut self, partition: &TopicPartition, from: i64) -> Result<(), LogsError> {
        self.read(partition, from, 0).map(drop)
    }

    /// Whether a partition that an epoch has read on in has more than was fetched. Who has all of it is not behind, however
    /// much that is, and one that waits for others (it was not read on in) gives nothing the sooner.
    pub(crate) fn is_behind(&mut self, epoch: &Progress) -> Result<bool, LogsError> {
        for input in epoch.inputs.iter().filter(|input| input.from < input.to) {
            let partition = TopicPartition::new(&*input.topic, input.partition);
            let end = self.committed_end(&partition)?.min(input.end.unwrap_or(i64::MAX));
            if self.readable_end(&partition)? < end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says where a partition's part ends: nothing behind it is held.
    pub(crate) fn read_to(&mut self, partition: &TopicPartition, end: i64) -> Result<(), LogsError> {
        self.reader.read_to(&partition.topic, partition.partition, end).map_err(|error| self.failed(error))
    }

    /// Waits until an epoch is committed, and says where it is.
    pub(crate) fn settle(&mut self, ticket: Committed) -> Result<Written, LogsError> {
        match ticket.blocking_recv() {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(self.failed(Error::Closed)),
        }
    }

    /// What answers have told of a partition's end.
    fn told(&mut self, partition: &TopicPartition) -> Result<Option<ToldEnd>, LogsError> {
        self.reader.told(&partition.topic, partition.partition).map_err(|error| self.failed(error))
    }

    fn failed(&mut self, error: Error) -> LogsError {
        let what = error.to_string();
        self.met = Some(error);
        LogsError::Failed { what }
    }

    fn unreadable(&mut self, partition: &TopicPartition, from: i64, error: Error) -> LogsError {
        match error {
            Error::NoOffset { .. } => {
                let admin = self.client.admin();
                let offsets = admin.offsets(&partition.topic, partition.partition, Isolation::Uncommitted);
                match self.runtime.block_on(offsets) {
                    Ok(offsets) if offsets.end < from => LogsError::BeyondEnd {
                        partition: partition.clone(),
                        offset: from,
                        log_end: offsets.end,
                    },
                    Ok(offsets) => LogsError::OffsetOutOfRange {
                        partition: partition.clone(),
                        offset: from,
                        log_start: offsets.start,
                    },
                    Err(error) => self.failed(error),
                }
            }
            Error::OtherTopic { topic, read, found } => {
                LogsError::OtherTopic { topic, read: read.to_string(), found: found.to_string() }
            }
            error => self.failed(error),
        }
    }
}

impl Logs for ClusterLogs {
    type Ticket = Committed;

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        let fetched = self.reader.fetched_to(&partition.topic, partition.partition);
        fetched.map_err(|error| self.failed(error))
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let read = self.reader.read(&partition.topic, partition.partition, from, max_bytes);
        let read = read.map_err(|error| self.unreadable(partition, from, error))?;
        let aborted = read.aborted.iter().map(|aborted| AbortedRange {
            producer_id: aborted.producer_id,
            first_offset: aborted.first_offset,
            last_offset: aborted.last_offset,
        });
        Ok(ReadBatches { aborted: aborted.collect(), batches: read.batches })
    }

    fn committed_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.reader.end(&partition.topic, partition.partition).map_err(|error| self.failed(error))
    }

    /// Nobody is at the end of a partition whose leader does not answer: there may be more.
    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        let told = self.told(partition)?;
        Ok(told.filter(|told| told.age.is_some()).map_or(i64::MAX, |told| told.log_end))
    }

    fn heard(&mut self, partition: &TopicPartition, now: i64) -> Result<Option<Heard>, LogsError> {
        Ok(self.told(partition)?.map(|ToldEnd { steady, age, .. }| {
            let until = now.saturating_sub(milliseconds(age.unwrap_or(Duration::MAX)));
            Heard { since: until.saturating_sub(milliseconds(steady)), until }
        }))
    }

    fn offset_at(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        time: i64,
    ) -> Result<Option<i64>, LogsError> {
        let admin = self.client.admin();
        let (topic, index) = (&partition.topic, partition.partition);
        let found = admin.list_offset(topic, index, OffsetSpec::Timestamp(time), Isolation::Committed);
        let found = self.runtime.block_on(found).map_err(|error| self.failed(error))?;
        match found {
            // Timestamps are in no order there.
            Some(offset) if offset < from => {
                let found = self.reader.fetched_at(topic, index, from, time);
                found.map_err(|error| self.failed(error))
            }
            found => Ok(found),
        }
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<Self::Ticket, CommitError> {
        let (pipeline, generation, number) = (epoch.pipeline().to_owned(), epoch.generation(), epoch.epoch());
        self.commits.commit(epoch).map_err(|error| {
            let reason = error.to_string();
            let fenced = matches!(error, Error::Fenced { .. });
            self.met = Some(error);
            match fenced {
                true => CommitError::Fenced { pipeline, generation, epoch: number, reason },
                false => CommitError::Refused { pipeline, epoch: number, reason },
            }
        })
    }

    fn wait(&mut self, ticket: Self::Ticket) -> Result<(), LogsError> {
        self.settle(ticket).map(drop)
    }
}

/// A time in milliseconds; the longest there is where it has more.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
