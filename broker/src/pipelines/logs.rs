//! The engine's seam over this broker's own partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_coordinator::groups::{Record, StoredOffset};
use logmill_storage::{Append, Check, Frame, Isolation, PartitionId, ReadError, ReadRequest, Rejection};
use logmill_stream::{
    AbortedRange, CommitError, EpochOutput, Logs, LogsError, ReadBatches, TopicPartition, look_for_time,
};
use logmill_wire::Str;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::control::Control;
use super::output_ends::{self, OutputEnds};
use super::read_bound::ReadBound;
use super::snapshots::OwnLogs;
use crate::coordinators::{CommitError as FrameError, Coordinators};
use crate::partitions::Partition;
use crate::topics::Topics;

/// How long an epoch may take to the disk before it is asked whether that is full.
const LOOK_AT_DISK: Duration = Duration::from_secs(1);

/// How often it is looked whether what an earlier run has written is durable, and how many looks are that long.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS_AT_DISK: u32 = 200;

/// Why an epoch cannot be committed now, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

const NO_ROOM: &str =
    "Free space, or let topics keep less; it goes on by itself, and nothing is lost or doubled";

/// Told why an epoch cannot be committed now; waits, and says whether to try again.
pub(super) type Patience = Box<dyn FnMut(Obstacle) -> bool + Send>;

/// Reads the sources and commits the epochs of one pipeline.
pub(super) struct BrokerLogs {
    topics: Topics,
    coordinators: Coordinators,
    group: String,
    changelog: Partition,
    progress: Partition,
    /// The source topics that are read; another one of the same name is not.
    topic_ids: BTreeMap<String, String>,
    /// How far they are read.
    bound: ReadBound,
    /// Where the progress log ends if nobody else is the pipeline's runner.
    progress_end: i64,
    /// The offset behind the last change of state that was committed.
    changelog_end: i64,
    /// How many bytes of changes the last epoch had.
    log_bytes: u64,
    /// And how many all of it had.
    frame_bytes: u64,
    /// Whether the last epoch was committed here: the offsets of what the next one does not read are mirrored already, and
    /// what was read before is on the device when it is.
    goes_on: bool,
    patience: Patience,
    /// Told where epochs write.
    ends: OutputEnds,
    runtime: Handle,
}

/// Where in the pipeline's own logs the last epoch is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) progress_offset: i64,
    pub(super) changelog_end: i64,
    /// Of its progress record and its changes.
    pub(super) log_bytes: u64,
    /// Of its whole frame, about.
    pub(super) frame_bytes: u64,
}

impl BrokerLogs {
    pub(super) fn new(
        topics: Topics,
        coordinators: Coordinators,
        group: String,
        OwnLogs { changelog, progress }: OwnLogs,
        patience: Patience,
        ends: OutputEnds,
        runtime: Handle,
    ) -> Self {
        let progress_end = progress.sequenced_end();
        let changelog_end = changelog.sequenced_end();
        Self {
            topics,
            coordinators,
            group,
            changelog,
            progress,
            topic_ids: BTreeMap::new(),
            bound: ReadBound::default(),
            progress_end,
            changelog_end,
            log_bytes: 0,
            frame_bytes: 0,
            goes_on: false,
            patience,
            ends,
            runtime,
        }
    }

    /// Reads no further than this says.
    pub(super) fn within(self, bound: ReadBound) -> Self {
        Self { bound, ..self }
    }

    /// Reads these topics from here on, and none that takes the place of one of them.
    pub(super) fn read_only(&mut self, topic_ids: BTreeMap<String, String>) {
        self.topic_ids = topic_ids;
    }

    /// The next epoch goes on behind what was read of the progress log. If an epoch of an earlier runner is still on
    /// its way to the disk, it is refused.
    pub(super) fn go_on_from(&mut self, progress_end: i64, changelog_end: i64) {
        self.progress_end = progress_end;
        self.changelog_end = changelog_end;
        self.goes_on = false;
    }

    /// Where the last epoch is that was committed.
    pub(super) fn written(&self) -> Written {
        Written {
            progress_offset: self.progress_end - 1,
            changelog_end: self.changelog_end,
            log_bytes: self.log_bytes,
            frame_bytes: self.frame_bytes,
        }
    }

    /// Commits the record of an epoch that does nothing in one frame with another append: how a pipeline is taken up at
    /// another cut, or by another script.
    pub(super) fn take_up(
        &mut self,
        epoch: &EpochOutput,
        also: Append,
    ) -> Result<oneshot::Receiver<()>, String> {
        let (mut frame, offsets) = self.frame(epoch)?;
        frame.appends.push(also);
        let committed = self.coordinators.commit_owned(&self.group, offsets, frame);
        committed.map(|(_, durable)| durable).map_err(|error| error.to_string())
    }

    /// Commits the record of an epoch that does nothing by itself.
    pub(super) fn stand(&mut self, epoch: &EpochOutput) -> Result<oneshot::Receiver<()>, String> {
        let (frame, offsets) = self.frame(epoch)?;
        let committed = self.coordinators.commit_owned(&self.group, offsets, frame);
        committed.map(|(_, durable)| durable).map_err(|error| error.to_string())
    }

    /// Waits until an epoch is durable. `false` when there is an order to stop and the disk does not take it: it is accepted,
    /// and whoever goes on with the pipeline waits for it first ([`BrokerLogs::settle_own`]).
    pub(super) fn wait_unless_stopped(
        &mut self,
        ticket: oneshot::Receiver<()>,
        control: &Control,
    ) -> Result<bool, LogsError> {
        let runtime = self.runtime.clone();
        wait_while(&runtime, ticket, LOOK_AT_DISK, || self.has_patience(control))
    }

    /// Waits until everything that an earlier run has written is durable; `false` when there is an order to stop.
    pub(super) fn settle_own(&mut self, control: &Control) -> bool {
        let own = OwnLogs { changelog: self.changelog.clone(), progress: self.progress.clone() };
        let mut looks = 0;
        while !is_settled(&own) {
            if control.is_stopping() {
                return false;
            }
            looks += 1;
            if looks % LOOKS_AT_DISK == 0 && !self.has_patience(control) {
                return false;
            }
            self.runtime.block_on(async { tokio::time::sleep(LOOK).await });
        }
        true
    }

    /// Tells whoever looks why an accepted epoch is not durable yet, if the disk is full; one that does not answer says
    /// nothing. Gives whether to wait on.
    fn has_patience(&mut self, control: &Control) -> bool {
        if !self.topics.storage_full() {
            return !control.is_stopping();
        }
        let what = "it is accepted, and waits for room: the disk is full".to_owned();
        (self.patience)(Obstacle { what, remedy: NO_ROOM })
    }

    fn source(&self, partition: &TopicPartition) -> Result<Partition, LogsError> {
        let topic = self.topics.get(&partition.topic);
        if let Some(topic) = &topic
            && let Some(read) = self.topic_ids.get(&partition.topic)
            && *read != topic.id.to_string()
        {
            let (read, found) = (read.clone(), topic.id.to_string());
            return Err(LogsError::OtherTopic { topic: partition.topic.clone(), read, found });
        }
        let found = topic.and_then(|topic| topic.partition(partition.partition).cloned());
        found.ok_or_else(|| LogsError::UnknownPartition { partition: partition.clone() })
    }

    fn target(&self, topic: &str, partition: i32) -> Result<PartitionId, String> {
        let found = self.topics.get(topic);
        let found = found.as_ref().and_then(|topic| topic.partition(partition));
        found
            .map(|partition| partition.id())
            .ok_or_else(|| format!("there is no partition {topic}-{partition}"))
    }

    /// The whole frame, and the mirrored offsets. The epoch keeps its batches, as the frame may be refused: those of the frame
    /// are copies, made here and not while everybody's coordinators are held.
    fn frame(&self, epoch: &EpochOutput) -> Result<(Frame, Vec<Record>), String> {
        let mut appends = Vec::with_capacity(epoch.outputs.len() + epoch.changelog.len() + 1);
        // The condition comes first: the epoch before must be the last one.
        appends.push(Append {
            partition: self.progress.id(),
            batch: epoch.progress_batch.clone(),
            check: Check::Internal { expected_end: Some(self.progress_end) },
        });
        for batch in &epoch.changelog {
            appends.push(Append {
                partition: self.changelog.id(),
                batch: batch.clone(),
                check: Check::Internal { expected_end: None },
            });
        }
        for output in &epoch.outputs {
            appends.push(Append {
                partition: self.target(&output.topic, output.partition)?,
                batch: output.batch.clone(),
                check: Check::Internal { expected_end: None },
            });
        }
        let positions: Vec<(TopicPartition, i64)> = match self.goes_on {
            true => epoch.moved_offsets().collect(),
            false => epoch.offsets().collect(),
        };
        let offsets = positions
            .iter()
            .map(|(source, offset)| Record::Offset {
                group: Str::from(self.group.as_str()),
                topic: Str::from(source.topic.as_str()),
                partition: source.partition,
                value: Some(StoredOffset {
                    offset: *offset,
                    leader_epoch: -1,
                    metadata: Str::from(""),
                    commit_timestamp: epoch.progress.now,
                    expire_timestamp: None,
                    topic_id: self.topics.get(&source.topic).map(|topic| topic.id),
                }),
                producer: None,
            })
            .collect();
        // Records that only the page cache holds must be on the device before what was computed from them.
        let requires = positions
            .iter()
            .filter_map(|(source, offset)| Some((self.source(source).ok()?.id(), *offset)))
            .collect();
        let appends = appends.into_iter().map(Append::alone).collect();
        Ok((Frame { appends, requires, ..Frame::default() }, offsets))
    }
}

impl Logs for BrokerLogs {
    type Ticket = oneshot::Receiver<()>;

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        let log = self.source(partition)?;
        Ok(self.bound.end_of(partition, || log.published().last_stable_offset))
    }

    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        Ok(self.source(partition)?.sequenced_end())
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let log = self.source(partition)?;
        let request =
            ReadRequest { offset: from, max_bytes, isolation: Isolation::Committed, min_one_batch: true };
        let read = log.read(request).map_err(|error| match error {
            ReadError::OutOfRange { .. } => LogsError::OffsetOutOfRange {
                partition: partition.clone(),
                offset: from,
                log_start: log.published().log_start_offset,
            },
            other => {
                LogsError::Failed { what: format!("{partition} cannot be read at offset {from}: {other}") }
            }
        })?;
        let mut batches = Vec::new();
        for chunk in read.chunks {
            for batch in logmill_record::batch::batches(chunk) {
                batches.push(batch.map_err(|error| LogsError::Failed {
                    what: format!(
                        "{partition} holds a batch near offset {from} that cannot be read: {error}"
                    ),
                })?);
            }
        }
        let aborted = read
            .aborted
            .iter()
            .map(|aborted| AbortedRange {
                producer_id: aborted.producer_id,
                first_offset: aborted.first_offset,
                last_offset: aborted.last_offset,
            })
            .collect();
        Ok(ReadBatches { batches, aborted })
    }

    fn offset_at(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        time: i64,
    ) -> Result<Option<i64>, LogsError> {
        let log = self.source(partition)?;
        let found = log.offset_for_timestamp(time).map_err(|error| LogsError::Failed {
            what: format!("{partition} cannot be searched for the time {time}: {error}"),
        })?;
        let end = log.published().last_stable_offset;
        match found.map(|(offset, _)| offset).filter(|offset| *offset < end) {
            // Timestamps are in no order there.
            Some(offset) if offset < from => look_for_time(self, partition, from, time),
            found => Ok(found),
        }
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<Self::Ticket, CommitError> {
        let (pipeline, number) = (epoch.pipeline().to_owned(), epoch.epoch());
        // Nothing of a refused frame happened: the same one may be brought again.
        let committed = loop {
            let (frame, offsets) = self.frame(&epoch).map_err(|reason| CommitError::Refused {
                pipeline: pipeline.clone(),
                epoch: number,
                reason,
            })?;
            let own: Vec<PartitionId> = frame.appends.iter().map(|append| append.partition).collect();
            self.ends.begin();
            let committed = self.coordinators.commit_owned(&self.group, offsets, frame);
            match &committed {
                Ok((committed, _)) => {
                    let written = own.iter().zip(&committed.appends).map(|(partition, appended)| {
                        output_ends::Written {
                            partition: *partition,
                            from: appended.base_offset,
                            to: appended.last_offset + 1,
                        }
                    });
                    self.ends.committed(number, &written.collect::<Vec<_>>());
                }
                Err(_) => self.ends.refused(),
            }
            match committed {
                Err(error) if is_passing(&error, &own) => {
                    let reason = error.to_string();
                    let obstacle = Obstacle { what: reason.clone(), remedy: remedy(&error) };
                    if !(self.patience)(obstacle) {
                        return Err(CommitError::Unavailable { pipeline, epoch: number, reason });
                    }
                }
                committed => break committed,
            }
        };
        match committed {
            Ok((committed, durable)) => {
                self.goes_on = true;
                if let Some(progress) = committed.appends.first() {
                    self.progress_end = progress.last_offset + 1;
                }
                // Behind the progress record come the changes of state.
                let changes = committed.appends.get(1..=epoch.changelog.len()).unwrap_or_default();
                if let Some(last) = changes.last() {
                    self.changelog_end = last.last_offset + 1;
                }
                self.frame_bytes = epoch.size_bytes() as u64;
                let changes = epoch.changelog.iter();
                self.log_bytes =
                    changes.chain([&epoch.progress_batch]).map(|batch| batch.bytes().len() as u64).sum();
                Ok(durable)
            }
            Err(FrameError::Rejected(Rejection::ExpectedEnd { partition, expected, actual }))
                if partition == self.progress.id() =>
            {
                Err(CommitError::Fenced {
                    pipeline,
                    generation: epoch.generation(),
                    epoch: number,
                    reason: format!("the progress log ends at {actual}, not at {expected}"),
                })
            }
            Err(FrameError::Rejected(Rejection::FrameTooLarge { bytes, limit })) => {
                Err(CommitError::TooLarge { pipeline, epoch: number, bytes, limit })
            }
            Err(error) => Err(CommitError::Refused { pipeline, epoch: number, reason: error.to_string() }),
        }
    }

    fn wait(&mut self, ticket: Self::Ticket) -> Result<(), LogsError> {
        match wait_while(&self.runtime, ticket, LOOK_AT_DISK, || true)? {
            true => Ok(()),
            false => Err(LogsError::Failed { what: "the epoch was not waited for".to_owned() }),
        }
    }
}

/// Whether everything that was accepted for a pipeline's own logs is durable.
pub(super) fn is_settled(logs: &OwnLogs) -> bool {
    [&logs.changelog, &logs.progress].iter().all(|log| log.sequenced_end() == log.published().high_watermark)
}

/// Waits until an epoch is durable, or gives `false` when it is not to be waited for any longer, which is asked now and then.
fn wait_while(
    runtime: &Handle,
    mut ticket: oneshot::Receiver<()>,
    look: Duration,
    mut goes_on: impl FnMut() -> bool,
) -> Result<bool, LogsError> {
    let stopping = |_| LogsError::Failed { what: "the broker is stopping".to_owned() };
    loop {
        let waited = async { tokio::time::timeout(look, &mut ticket).await };
        match runtime.block_on(waited) {
            Ok(durable) => return durable.map(|()| true).map_err(stopping),
            Err(_) if !goes_on() => return Ok(false),
            Err(_) => {}
        }
    }
}

/// What to do about an error that may pass.
fn remedy(error: &FrameError) -> &'static str {
    match error {
        FrameError::Rejected(Rejection::StorageFull) => NO_ROOM,
        FrameError::Rejected(Rejection::Closed) => {
            "The broker is stopping; it goes on when that is started again"
        }
        FrameError::Rejected(Rejection::Failed) => {
            "Look at the broker's log and disk, and start the broker again: its storage takes nothing until then. Nothing \
             is lost or doubled"
        }
        _ => {
            "It is tried again by itself, and nothing is lost or doubled; if it stays so, the broker's log says why the \
             coordinator of its group cannot be loaded"
        }
    }
}

/// Whether trying again may help. What is wrong with a partition that the epoch itself writes stays wrong.
fn is_passing(error: &FrameError, own: &[PartitionId]) -> bool {
    match error {
        FrameError::Coordinator(_) => true,
        FrameError::Unwritable(_) => false,
        FrameError::Rejected(rejection) => match rejection.partition() {
            // The coordinator's log went on without its machine, which is loaded again.
            Some(partition) => !own.contains(&partition),
            None => matches!(rejection, Rejection::StorageFull | Rejection::Closed | Rejection::Failed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_batches_of_a_frame_are_nobody_elses() {
        let directory = tempfile::TempDir::new().unwrap();
        let parts = super::super::tests::Parts::open(&directory, Vec::new()).await;
        let pipelines = &parts.pipelines;
        pipelines.run("p", super::super::tests::COPY, None).await.unwrap();
        parts.produce("in", &[("a", 1)]).await;
        parts.caught_up("p").await;
        pipelines.stop("p").await.unwrap();
        let cut = pipelines.standing("p").await.unwrap();
        let epoch = EpochOutput::standing(cut.progress);
        let (frame, _) = pipelines.broker_logs("p").unwrap().frame(&epoch).unwrap();
        let bytes = |batch: &logmill_record::Batch| batch.bytes().as_ptr();
        for append in frame.appends {
            let of_frame = bytes(&append.batch);
            assert_ne!(of_frame, bytes(&epoch.progress_batch));
            // What sequencing does to it, twice, copies nothing.
            let again = append.alone().batch;
            assert_eq!(bytes(&again), of_frame);
            assert_eq!(bytes(&again.stamped(7, 1)), of_frame);
        }
        parts.close().await;
    }

    #[test]
    fn what_to_do_goes_by_what_is_in_the_way() {
        let of = |error: FrameError| {
            assert!(is_passing(&error, &[]));
            remedy(&error)
        };
        assert_eq!(of(FrameError::Rejected(Rejection::StorageFull)), NO_ROOM);
        assert!(of(FrameError::Rejected(Rejection::Failed)).contains("start the broker again"));
        let loading = of(FrameError::Coordinator("damaged".to_owned()));
        assert!(loading.contains("coordinator") && !loading.contains("Free space"), "{loading}");
    }

    #[test]
    fn an_epoch_that_has_no_room_is_waited_for_until_there_is_an_order_to_stop() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let look = Duration::from_millis(1);
        let (durable, ticket) = oneshot::channel();
        let mut looks = 0;
        let waited = wait_while(runtime.handle(), ticket, look, || {
            looks += 1;
            looks < 3
        });
        assert!(matches!(waited, Ok(false)), "{waited:?}");
        assert_eq!(looks, 3);
        drop(durable);
        let (durable, ticket) = oneshot::channel();
        durable.send(()).unwrap();
        assert!(matches!(wait_while(runtime.handle(), ticket, look, || false), Ok(true)));
        let (_, ticket) = oneshot::channel();
        assert!(wait_while(runtime.handle(), ticket, look, || true).is_err());
    }
}
