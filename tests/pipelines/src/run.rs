//! A pipeline over all of an input, whose end is declared: cut here or there, crashed now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, Executor, Pace, Pipeline, Plan, Task, Turn, TurnError,
};

use crate::engine::{self, OUTPUT_PARTITIONS};
use crate::input::Input;
use crate::logs::{LOST, MemoryLogs};
use crate::random::Random;

/// The wall clock at the first epoch, and how far it goes on with each.
const FIRST_NOW_MS: i64 = 1_790_000_000_000;
const NOW_STEP_MS: i64 = 700;

/// Where an epoch ends and the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuts {
    /// The whole input is there from the start; the pipeline cuts by its own limits.
    Own(EpochLimits),
    /// Batches arrive, so many at a time in the order of the input; an epoch takes what is there. One that gives more than
    /// it may is tried again in parts, as a broker does.
    Batches(Vec<usize>),
}

impl Cuts {
    /// One batch after the other.
    pub fn each(input: &Input) -> Cuts {
        Cuts::Batches(vec![1; input.batches.len()])
    }

    /// About so many cuts, anywhere.
    pub fn random(input: &Input, count: usize, random: &mut Random) -> Cuts {
        let batches = input.batches.len();
        let mut ends: Vec<usize> = (1..count).map(|_| random.below(batches.max(1))).collect();
        ends.push(batches);
        ends.sort_unstable();
        ends.dedup();
        let starts = std::iter::once(&0).chain(&ends);
        Cuts::Batches(starts.zip(&ends).map(|(start, end)| end - start).filter(|size| *size > 0).collect())
    }
}

/// What ends a pipeline object; the next one is restored from what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The epoch is computed and lost.
    Before,
    /// The epoch is committed.
    After,
}

/// How a pipeline is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where epochs end.
    pub cuts: Cuts,
    /// The epochs at which it crashes.
    pub crashes: BTreeMap<u64, Crash>,
    /// Into how many shards the work is split, each on a thread where there are several: one number after the other, a new
    /// one with each restart, round and round.
    pub shards: Vec<usize>,
    /// How long it may take. Looked at after each epoch.
    pub limit: Duration,
}

impl Run {
    /// A run without a crash.
    pub fn new(cuts: Cuts) -> Run {
        Run { cuts, crashes: BTreeMap::new(), shards: vec![1], limit: Duration::MAX }
    }

    /// The same within that time.
    pub fn within(self, limit: Duration) -> Run {
        Run { limit, ..self }
    }

    /// The same in so many shards, changed at each restart.
    pub fn in_shards(mut self, shards: &[usize]) -> Run {
        self.shards = shards.to_vec();
        self
    }

    /// The same with crashes at so many of the epochs, at random, as far as there are that many.
    pub fn with_crashes(mut self, count: usize, epochs: u64, random: &mut Random) -> Run {
        while self.crashes.len() < count.min(epochs as usize) {
            let crash = if random.below(2) == 0 { Crash::Before } else { Crash::After };
            self.crashes.insert(1 + random.below(epochs as usize) as u64, crash);
        }
        self
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// All logs.
    pub logs: MemoryLogs,
    /// How many epochs it took.
    pub epochs: u64,
    /// How often the pipeline was restored.
    pub restored: usize,
    /// How many epochs gave more than they may.
    pub too_large: usize,
}

/// Runs the pipeline to the end of the input.
pub fn run(plan: &Plan, input: &Input, run: &Run) -> Result<Outcome> {
    let mut driver = Driver::new(plan, input, run)?;
    while !driver.incarnation()? {}
    let progress = driver.logs.progress().context("nothing was committed")?;
    ensure!(progress.finished, "the run ended before the pipeline did");
    ensure!(
        progress.totals.read == input.records(),
        "{} of {} records were read",
        progress.totals.read,
        input.records()
    );
    Ok(Outcome {
        epochs: progress.epoch,
        restored: driver.generation as usize - 1,
        too_large: driver.too_large,
        logs: driver.logs,
    })
}

struct Driver<'r> {
    plan: &'r Plan,
    input: &'r Input,
    limits: EpochLimits,
    /// How many batches arrive at a time, the last first.
    arrivals: Vec<usize>,
    /// How many batches have arrived.
    arrived: usize,
    crashes: BTreeMap<u64, Crash>,
    shards: Vec<usize>,
    started: Instant,
    limit: Duration,
    generation: u32,
    /// How large epochs are, over all incarnations.
    pace: Pace,
    too_large: usize,
    logs: MemoryLogs,
}

impl<'r> Driver<'r> {
    fn new(plan: &'r Plan, input: &'r Input, run: &Run) -> Result<Driver<'r>> {
        let mut logs = MemoryLogs::new(input);
        for topic in engine::outputs(plan) {
            logs.create(topic, OUTPUT_PARTITIONS);
        }
        let (limits, mut arrivals) = match &run.cuts {
            Cuts::Own(limits) => (*limits, vec![input.batches.len()]),
            // An epoch takes all that has arrived.
            Cuts::Batches(sizes) => {
                let whole = EpochLimits {
                    input_bytes: usize::MAX,
                    input_records: u64::MAX,
                    unpacked_bytes: usize::MAX,
                    output_bytes: usize::MAX,
                    steady_bytes: usize::MAX,
                    ..EpochLimits::default()
                };
                (whole, sizes.clone())
            }
        };
        ensure!(arrivals.iter().sum::<usize>() == input.batches.len(), "the cuts do not cover the input");
        arrivals.reverse();
        let crashes = run.crashes.clone();
        Ok(Driver {
            plan,
            input,
            limits,
            arrivals,
            arrived: 0,
            crashes,
            shards: run.shards.clone(),
            started: Instant::now(),
            limit: run.limit,
            generation: 0,
            pace: Pace::default(),
            too_large: 0,
            logs,
        })
    }

    /// Restores the pipeline and runs it until it crashes or an epoch is too large, which is `false`, or is finished.
    fn incarnation(&mut self) -> Result<bool> {
        self.generation += 1;
        // A topic is compacted when it likes.
        if self.generation.is_multiple_of(2) {
            self.logs.compact()?;
        }
        let mut epochs = EpochLoop::new(self.restored()?, self.limits).with_pace(self.pace);
        loop {
            // The last arrival is known to be the last only once it is there.
            if self.arrivals.is_empty() {
                epochs.declare_ends(self.input.ends.clone())?;
            }
            let epoch = epochs.pipeline().epoch() + 1;
            ensure!(
                self.started.elapsed() < self.limit,
                "not done within {} s: {} of {} batches had arrived at epoch {epoch}",
                self.limit.as_secs(),
                self.arrived,
                self.input.batches.len()
            );
            let crash = self.crashes.get(&epoch).copied();
            self.logs.refuse_next = crash == Some(Crash::Before);
            let now = FIRST_NOW_MS + epoch as i64 * NOW_STEP_MS;
            match epochs.turn(&mut self.logs, now, epoch) {
                Ok(Turn::Finished) => return Ok(true),
                Ok(Turn::Idle) if !self.arrivals.is_empty() => self.arrive(),
                Ok(Turn::Idle) => bail!("epoch {epoch}: nothing to do, and not finished"),
                Ok(Turn::Committed { .. }) => {
                    self.pace = epochs.pace();
                    if self.crashes.remove(&epoch).is_some() {
                        return Ok(false);
                    }
                }
                Err(TurnError::Commit(CommitError::Refused { reason, .. })) if reason == LOST => {
                    self.crashes.remove(&epoch);
                    return Ok(false);
                }
                Err(error) if error.too_large().is_some() && epochs.shrink() => {
                    self.pace = epochs.pace();
                    self.too_large += 1;
                    return Ok(false);
                }
                Err(error) => return Err(error).with_context(|| format!("epoch {epoch}")),
            }
        }
    }

    fn arrive(&mut self) {
        let size = self.arrivals.pop().unwrap_or(0);
        for (partition, batch) in &self.input.batches[self.arrived..self.arrived + size] {
            self.logs.show(partition, batch.header().next_offset());
        }
        self.arrived += size;
    }

    /// The pipeline as its committed records describe it.
    fn restored(&self) -> Result<Pipeline> {
        let shards = self.shards[(self.generation as usize - 1) % self.shards.len()];
        let spec = engine::spec(self.plan, self.input, self.generation, shards);
        let mut restoring = Pipeline::restore(self.plan.clone(), spec, self.logs.progress().cloned())?;
        for batch in self.logs.changelog() {
            restoring.apply(batch)?;
        }
        let pipeline = restoring.finish();
        Ok(match shards {
            1 => pipeline,
            shards => pipeline.with_executor(Arc::new(Threads(shards))),
        })
    }
}

/// A thread for each task that shards have at a time.
#[derive(Debug)]
struct Threads(usize);

impl Executor for Threads {
    fn width(&self) -> usize {
        self.0
    }

    fn least_rows(&self) -> usize {
        // So that cuts of few records are not all threads.
        200
    }

    fn run(&self, tasks: Vec<Task>) {
        std::thread::scope(|scope| tasks.into_iter().for_each(|task| drop(scope.spawn(task))));
    }
}

#[cfg(test)]
mod tests {
    use logmill_stream::compile;

    use super::*;
    use crate::input::{Event, Events};

    /// Pairs that take half as much again as an operator may give in an epoch.
    #[test]
    fn an_epoch_that_gives_too_much_is_parted_until_it_does_not() {
        let plan = compile(
            "CREATE TABLE l (k BIGINT, n BIGINT, t STRING) WITH ('topic' = 'left', 'format' = 'json');
             CREATE TABLE r (k BIGINT, m BIGINT) WITH ('topic' = 'right', 'format' = 'json');
             CREATE TABLE o (n BIGINT, m BIGINT, bytes BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT n, m, CHAR_LENGTH(CONCAT(t, CAST(m AS STRING))) FROM l JOIN r ON l.k = r.k UNBOUNDED",
        )
        .unwrap();
        let text = "x".repeat(4_096);
        let event = |topic, value| Event { topic, partition: 0, key: None, value: Some(value) };
        let left = (0..300).map(|n| event("left", format!(r#"{{"k":1,"n":{n},"t":"{text}"}}"#)));
        let right = (0..300).map(|m| event("right", format!(r#"{{"k":1,"m":{m}}}"#)));
        let events = Events {
            events: left.chain(right).collect(),
            partitions: [("left", 1), ("right", 1)].into_iter().collect(),
        };
        let input = events.batches(&["left", "right"], 100);
        let whole = Run::new(Cuts::Batches(vec![input.batches.len()]));
        let outcome = run(&plan, &input, &whole).unwrap();
        assert!(outcome.too_large > 0 && outcome.restored == outcome.too_large);
        assert_eq!(outcome.logs.records("out").unwrap().len(), 300 * 300);
    }
}
