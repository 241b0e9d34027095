//! One attempt of a run: the state is restored, then epochs are turned until the end, or until another attempt is needed.
//!
//! The next epoch is computed while the last one is on its way to the disk; what is shown is always durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logmill_stream::{
    EpochLoop, Executor, LastRejected, LogsError, Pace, Progress, Serial, TopicPartition, Turn, TurnError,
    time::Iso,
};
use tokio::sync::oneshot;

use super::control::InputEnds;
use super::courtesy::{WRITES, WRITES_SPILT, steady_bytes};
use super::events::EventKind;
use super::failure::{RunError, failure};
use super::logs::Written;
use super::meter::Phase;
use super::restoring::check_budget;
use super::runner::Runner;
use super::shard_threads;
use super::shown::Durable;
use super::snapshots::Cut;
use super::spill::{position, share_of};
use super::status::PipelineState;
use super::telling::Telling;
use crate::partitions::{DataWait, Partition};

/// Without news a runner looks around this often (a source topic may have been deleted, or got partitions).
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// How often what the operators hold is counted.
const COUNT_EVERY: Duration = Duration::from_millis(250);

/// An epoch that takes longer is told of, but not more than one in so long.
const SLOW_EPOCH: Duration = Duration::from_secs(1);
const SLOW_EPOCHS_EVERY: Duration = Duration::from_secs(10);

/// Shed records are told of again after a time without.
const SHEDDING_ANEW: Duration = Duration::from_secs(60);

/// What a runner remembers over its attempts.
#[derive(Debug)]
pub(super) struct Course {
    pace: Pace,
    /// Who computes, and into how many shards the work is split; none before the first attempt.
    shards: Option<(u32, Arc<dyn Executor>)>,
    counted: Option<Duration>,
    told_slow: Option<Duration>,
    rejecting: Telling,
    late: Telling,
    told_shedding: Option<Duration>,
}

impl Course {
    pub(super) fn new() -> Course {
        Course {
            pace: Pace::default(),
            shards: None,
            counted: None,
            told_slow: None,
            rejecting: Telling::default(),
            late: Telling::default(),
            told_shedding: None,
        }
    }
}

/// An epoch that is sequenced and not durable yet.
struct InFlight {
    ticket: oneshot::Receiver<()>,
    durable: Durable,
    written: Written,
    began: Duration,
    computed: Duration,
}

/// See the module.
pub(super) struct Attempt<'r> {
    runner: &'r mut Runner,
    course: &'r mut Course,
    epochs: EpochLoop,
    shards: u32,
    in_flight: Option<InFlight>,
}

impl<'r> Attempt<'r> {
    /// Restores the state where the last durable epoch left it.
    pub(super) fn begin(runner: &'r mut Runner, course: &'r mut Course) -> Result<Attempt<'r>, RunError> {
        let began = runner.clock.steady();
        let shards = runner.control.shards();
        let pipeline = runner.restore(shards)?;
        let restored = runner.clock.steady().saturating_sub(began);
        if pipeline.epoch() > 0 && !runner.is_blocked() {
            runner.say(
                EventKind::Restored,
                format!(
                    "at epoch {}, {} entries and {} bytes of state, {} of them in memory, in {} ms",
                    pipeline.epoch(),
                    pipeline.state_entries(),
                    pipeline.state_bytes(),
                    pipeline.memory_bytes(),
                    restored.as_millis()
                ),
            );
        }
        let pipeline = pipeline.with_executor(course.executor(runner, shards));
        let epochs = EpochLoop::new(pipeline, runner.limits).with_pace(course.pace);
        runner.shown.set_shards(shards);
        if !runner.is_blocked() {
            runner.shown.set_state(PipelineState::Running);
        }
        Ok(Attempt { runner, course, epochs, shards, in_flight: None })
    }

    /// Turns epochs to the end.
    pub(super) fn run(mut self) -> Result<PipelineState, RunError> {
        let ended = self.turns();
        // However it ends: what was accepted is waited for, and shown.
        let settled = self.settle();
        let ended = ended?;
        settled?;
        self.runner.shown.set_sizes(self.epochs.pipeline().operator_sizes());
        Ok(ended)
    }

    fn turns(&mut self) -> Result<PipelineState, RunError> {
        loop {
            self.give_way()?;
            self.rest()?;
            if self.runner.control.stops_before(self.epochs.pipeline().emission_pending()) {
                return Ok(PipelineState::Stopped);
            }
            let news = self.look_around()?;
            let began = self.runner.clock.steady();
            self.runner.shown.enter(Phase::Computing, began);
            let now = self.runner.clock.now_ms();
            match self.epochs.turn(&mut self.runner.logs, now, self.runner.clock.now_ms().unsigned_abs()) {
                Ok(Turn::Finished) => return Ok(PipelineState::Finished),
                Ok(Turn::Committed { progress, ticket }) => self.committed(*progress, ticket, began)?,
                Ok(Turn::Idle) => self.wait_for(&news)?,
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Waits while the store is so far behind that producers would have to, or there is little room left on the disk.
    fn give_way(&mut self) -> Result<(), RunError> {
        if self.runner.is_short_of_disk() && self.has_work()? {
            self.settle()?;
            if self.runner.wait_for_disk() && !self.runner.control.is_stopping() {
                self.runner.unblock();
            }
        }
        if !self.runner.partitions.is_busy() {
            return Ok(());
        }
        self.settle()?;
        let Runner { partitions, control, runtime, shown, clock, .. } = &*self.runner;
        shown.enter(Phase::WaitingForDisk, clock.steady());
        runtime.block_on(async {
            tokio::select! {
                () = partitions.room_for_pipelines() => {}
                () = control.changed() => {}
            }
        });
        Ok(())
    }

    /// Whether there is something to read, or to give.
    fn has_work(&self) -> Result<bool, RunError> {
        let pipeline = self.epochs.pipeline();
        let positions: BTreeMap<&TopicPartition, i64> = pipeline.positions().collect();
        let is_unread = |source: &Partition| {
            let of = TopicPartition::new(source.topic_name(), source.index());
            positions.get(&of).is_none_or(|position| *position < source.published().last_stable_offset)
        };
        Ok(pipeline.emission_pending() || self.runner.sources()?.iter().any(is_unread))
    }

    /// While others produce, leaves the device to them for a time behind each frame, if there is a backlog. What is behind
    /// sheds what it does not come to: that would be lost to whoever asked for it.
    fn rest(&mut self) -> Result<(), RunError> {
        let Runner { partitions, courtesy, clock, limits, .. } = &*self.runner;
        let rest = courtesy.rest(partitions.produced(), clock.steady());
        let rest = rest.filter(|_| self.epochs.is_behind() && !self.epochs.may_shed());
        let partitions = self.epochs.pipeline().spec().inputs.len();
        let most = if rest.is_some() { steady_bytes(partitions) } else { usize::MAX };
        self.epochs.set_steady_bytes(limits.steady_bytes.min(most));
        let Some(rest) = rest.filter(|rest| !rest.is_zero()) else { return Ok(()) };
        let began = clock.steady();
        self.settle()?;
        let Runner { control, runtime, shown, clock, .. } = &*self.runner;
        let now = clock.steady();
        shown.enter(Phase::WaitingForDisk, now);
        // The rest is over early when an order comes.
        runtime.block_on(async {
            let _ = tokio::time::timeout(rest.saturating_sub(now - began), control.changed()).await;
        });
        Ok(())
    }

    /// What has changed around it since the last turn. What is published from here on ends a wait at once.
    fn look_around(&mut self) -> Result<DataWait, RunError> {
        if self.runner.control.shards() != self.shards {
            return Err(RunError::Rescaled);
        }
        let sources = self.runner.sources()?;
        let ends = self.runner.control.ends().map(|ends| flat(&ends));
        // Those that there are, of those with an end.
        if let Some(ends) = ends.as_ref().filter(|ends| ends.len() > sources.len()) {
            let is_there = |of: &TopicPartition| {
                sources.iter().any(|source| source.topic_name() == of.topic && source.index() == of.partition)
            };
            if let Some(gone) = ends.keys().find(|partition| !is_there(partition)) {
                return Err(LogsError::UnknownPartition { partition: gone.clone() }.into());
            }
        }
        let partitions = self.epochs.pipeline().spec().inputs.len();
        if sources.len() != partitions || ends.as_ref().is_some_and(|ends| ends.len() != partitions) {
            return Err(RunError::Repartitioned);
        }
        if let Some(ends) = ends {
            self.epochs.declare_ends(ends)?;
        }
        Ok(DataWait::register(sources))
    }

    /// An epoch is sequenced: waits for the one before it.
    fn committed(
        &mut self,
        progress: Progress,
        ticket: oneshot::Receiver<()>,
        began: Duration,
    ) -> Result<(), RunError> {
        let computed = self.runner.clock.steady();
        self.runner.unblock();
        let pipeline = self.epochs.pipeline();
        let counts = self.course.counted.is_none_or(|at| computed.saturating_sub(at) >= COUNT_EVERY);
        if counts {
            self.course.counted = Some(computed);
        }
        let durable = Durable {
            progress,
            open_windows: pipeline.open_windows(),
            sizes: counts.then(|| pipeline.operator_sizes()),
        };
        let written = self.runner.logs.written();
        if self.epochs.is_behind() {
            let writes = if self.epochs.pipeline().is_spilt() { WRITES_SPILT } else { WRITES };
            let takes = self.runner.partitions.store().journal_time(writes * written.frame_bytes);
            self.runner.courtesy.brought(takes, computed);
        }
        let epoch = InFlight { ticket, durable, written, began, computed };
        let before = self.in_flight.replace(epoch);
        self.settle_one(before)?;
        self.check_budget()?;
        self.course.pace = self.epochs.pace();
        Ok(())
    }

    /// There is nothing to do: waits for input, for its time, or for an order.
    fn wait_for(&mut self, news: &DataWait) -> Result<(), RunError> {
        self.runner.unblock();
        self.settle()?;
        if self.course.counted.take().is_some() {
            self.runner.shown.set_sizes(self.epochs.pipeline().operator_sizes());
        }
        let clock = &self.runner.clock;
        self.runner.shown.enter(Phase::WaitingForInput, clock.steady());
        // Processing time and idleness come without news.
        let due = self.epochs.wake_at().map(|at| at.saturating_sub(clock.now_ms()).max(10));
        let wait = due.map_or(IDLE_LOOK, |ms| IDLE_LOOK.min(Duration::from_millis(ms.unsigned_abs())));
        let control = &self.runner.control;
        self.runner.runtime.block_on(async {
            tokio::select! {
                _ = news.published(wait) => {}
                () = control.changed() => {}
            }
        });
        Ok(())
    }

    /// A turn failed.
    fn failed(&mut self, error: TurnError) -> RunError {
        if let Some((bytes, limit)) = error.too_large()
            && self.epochs.shrink()
        {
            self.course.pace = self.epochs.pace();
            return RunError::TooLarge { bytes, limit };
        }
        error.into()
    }

    /// Holds the pipeline while its state in memory is over its budget. The state stays where it is.
    fn check_budget(&mut self) -> Result<(), RunError> {
        let budget = self.runner.control.memory();
        self.epochs.keep_in_memory(share_of(budget));
        if self.epochs.pipeline().is_spilt() && self.epochs.pipeline().memory_bytes() > budget {
            // What is on its way to the store is in memory until it is committed.
            self.settle()?;
        }
        let pipeline = self.epochs.pipeline();
        let bytes = pipeline.memory_bytes();
        let can_spill = pipeline.can_spill() && !pipeline.is_spilt();
        if let Err(spills) = self.runner.spill.check_share(budget, bytes, can_spill) {
            self.settle()?;
            return Err(spills);
        }
        let pipeline = self.epochs.pipeline();
        let within = check_budget(budget, bytes, || pipeline.operator_sizes());
        if let Err(error) = within {
            self.settle()?;
            let runner = &mut *self.runner;
            runner.shown.set_sizes(self.epochs.pipeline().operator_sizes());
            runner.shown.block(failure(&runner.name, &error, runner.now()), &runner.events);
            runner.wait_for_memory(bytes);
            if !runner.control.is_stopping() {
                runner.unblock();
            }
        }
        Ok(())
    }

    /// Waits until the last epoch is durable, and shows it.
    fn settle(&mut self) -> Result<(), RunError> {
        let in_flight = self.in_flight.take();
        self.settle_one(in_flight)
    }

    fn settle_one(&mut self, in_flight: Option<InFlight>) -> Result<(), RunError> {
        let Some(epoch) = in_flight else { return Ok(()) };
        let (runner, course) = (&mut *self.runner, &mut *self.course);
        runner.shown.enter(Phase::WaitingForDisk, runner.clock.steady());
        if !runner.logs.wait_unless_stopped(epoch.ticket, &runner.control)? {
            return Err(RunError::Stopped);
        }
        let now = runner.clock.steady();
        let took = now.saturating_sub(epoch.began);
        let number = epoch.durable.progress.epoch;
        let counters = epoch.durable.progress.counters;
        let (processing, last_rejected) =
            (epoch.durable.progress.now, epoch.durable.progress.last_rejected.clone());
        let Written { progress_offset, changelog_end, log_bytes, .. } = epoch.written;
        let progress = epoch.durable.progress.clone();
        let cut = Cut { progress, progress_offset, changelog_end };
        let at = self.epochs.pipeline().is_spilt().then(|| position(runner.keeper.logs(), &cut));
        runner.keeper.committed(cut, log_bytes);
        runner.shown.set_durable(epoch.durable, Some(took));
        runner.shown.enter(Phase::Computing, now);
        let is_due = |told: Option<Duration>, pause| told.is_none_or(|at| now.saturating_sub(at) >= pause);
        if took >= SLOW_EPOCH && is_due(course.told_slow, SLOW_EPOCHS_EVERY) {
            course.told_slow = Some(now);
            runner.say(
                EventKind::SlowEpoch,
                format!(
                    "epoch {number} with {} records took {} ms, {} of them to compute",
                    counters.read,
                    took.as_millis(),
                    epoch.computed.saturating_sub(epoch.began).as_millis()
                ),
            );
        }
        if counters.shed > 0 {
            if is_due(course.told_shedding, SHEDDING_ANEW) {
                let text = format!(
                    "{} of {} records of epoch {number}: it is further behind than its script says",
                    counters.shed, counters.read
                );
                runner.say(EventKind::Shedding, text);
            }
            course.told_shedding = Some(now);
        }
        let rejected = course.rejecting.note(processing, counters.skipped + counters.dead_lettered);
        if let Some((rejected, last)) = rejected.zip(last_rejected) {
            runner.say(EventKind::Rejecting, rejecting(rejected, &last));
        }
        if let Some(late) = course.late.note(processing, counters.late + counters.late_rows) {
            runner.say(EventKind::Late, self::late(late, counters.late_rows > 0));
        }
        // Last: an epoch is durable and shown whatever becomes of the store.
        if let Some(at) = at {
            self.epochs.committed(number, at)?;
            self.runner.spill.worked();
        }
        Ok(())
    }
}

impl Course {
    /// Who computes so many shards: threads, where there are processors for several. They stay while the number does.
    fn executor(&mut self, runner: &Runner, shards: u32) -> Arc<dyn Executor> {
        if let Some((before, executor)) = &self.shards {
            if *before == shards {
                return Arc::clone(executor);
            }
            let text = format!("its work is split into {shards} shards from here on, and was into {before}");
            runner.say(EventKind::Changed, text);
        }
        let executor: Arc<dyn Executor> = match shards.min(runner.threads) {
            0 | 1 => Arc::new(Serial),
            width => match shard_threads::start(&runner.name, width as usize) {
                Ok(threads) => Arc::new(threads),
                Err(error) => {
                    tracing::warn!(pipeline = runner.name, %error, "no threads for shards: they are computed in turn");
                    Arc::new(Serial)
                }
            },
        };
        self.shards = Some((shards, Arc::clone(&executor)));
        executor
    }
}

/// How many, and since when, as [`Telling::note`] gives it.
fn counted((count, since): (u64, Option<i64>), one: &str, several: &str) -> String {
    let what = if count == 1 { one } else { several };
    match since {
        Some(since) => format!("{count} {what} since {}", Iso(since)),
        None => format!("{count} {what}"),
    }
}

fn rejecting(rejected: (u64, Option<i64>), last: &LastRejected) -> String {
    let LastRejected { topic, partition, offset, error, dead_letter } = last;
    let becomes = match dead_letter {
        Some(topic) => format!("goes to {topic}"),
        None => "is skipped".to_owned(),
    };
    let records = counted(rejected, "record is rejected", "records are rejected");
    format!("{records}; the last one at {topic}-{partition}, offset {offset} {becomes}: it {error}")
}

fn late(late: (u64, Option<i64>), has_rows: bool) -> String {
    let records = counted(late, "record comes", "records come");
    let of = if has_rows { " (rows that operators made of them among them)" } else { "" };
    format!(
        "{records} too late{of}: the watermark had passed their windows. A wider WATERMARK waits longer for them, and 'late-topic' \
         keeps what is late"
    )
}

fn flat(ends: &InputEnds) -> BTreeMap<TopicPartition, i64> {
    ends.iter()
        .flat_map(|(topic, ends)| {
            (0..)
                .zip(ends)
                .map(move |(partition, end)| (TopicPartition::new(topic.as_str(), partition), *end))
        })
        .collect()
}
