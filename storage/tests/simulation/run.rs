//! One case: a scenario, the crash in it, and what comes after.

use std::collections::BTreeSet;

use logmill_storage::PartitionId;
use logmill_storage::disk::SimDisk;
use logmill_storage::disk::sim::{Faults, Random};
use logmill_storage::log::{Durability, LogOptions};
use logmill_storage::store::PartitionSpec;
use uuid::Uuid;

use crate::check;
use crate::coverage::{Coverage, During};
use crate::generator::Generator;
use crate::machine::{Machine, Stop};
use crate::model::{LogState, Model, PartitionModel, Presence};
use crate::profile::{Profile, Topic};
use crate::steps::Life;
use crate::trace::{Trace, Violation, ensure, ensure_stop};

/// Calls after a start within which the machine goes down again.
const SECOND_CRASH_WITHIN: u64 = 60;
/// Steps of a life after the first.
const LATER_STEPS: u64 = 30;

/// Which case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub seed: u64,
    /// A scenario of few calls.
    pub small: bool,
    /// The disk call in which the machine goes down; without, the first life ends by a clean stop.
    pub crash: Option<u64>,
    /// The journal's flushes report success and do nothing.
    pub lie: bool,
}

/// Disk calls of a first life: what was being done, in the calls up to and with which number.
pub(crate) type Calls = Vec<(During, u64)>;

/// Runs a case; returns the disk calls of its first life.
pub(crate) fn run(case: &Case, coverage: &mut Coverage, trace: &mut Trace) -> Result<Calls, Violation> {
    let mut world = World::new(case, coverage, trace);
    world.coverage.cases += 1;
    if let Some(call) = case.crash {
        world.disk.crash_at(call);
    }
    let steps = world.profile.steps;
    world.live(steps, true)?;
    let calls = std::mem::take(&mut world.calls);
    let again = case.crash.is_some() && world.random.one_in(2);
    if again {
        world.disk.crash_at(world.disk.calls() + 1 + world.random.below(SECOND_CRASH_WITHIN));
    }
    let steps = 1 + world.random.below(LATER_STEPS) as usize;
    let clean = world.random.one_in(2);
    if world.profile.fail_every.is_some() && world.random.one_in(2) {
        world.arm_any();
    }
    world.live(steps, clean)?;
    world.live(3, true)?;
    world.live(0, true)?;
    Ok(calls)
}

pub(crate) struct World<'a> {
    pub(crate) disk: SimDisk,
    pub(crate) profile: Profile,
    pub(crate) generator: Generator,
    pub(crate) model: Model,
    /// Everything that is not the scenario: how much to read, when to crash again.
    pub(crate) random: Random,
    pub(crate) during: During,
    pub(crate) calls: Calls,
    /// The last life ended by a clean stop.
    pub(crate) stopped: bool,
    pub(crate) topics_made: u128,
    pub(crate) lie: bool,
    /// The disk is full, or soon will be.
    pub(crate) full: bool,
    /// Failures of the device that were looked at.
    pub(crate) failures: u64,
    /// A failure of the device has ended the store.
    pub(crate) device_failed: bool,
    /// The machine went down since the last start, and not only the process.
    pub(crate) power_cut: bool,
    /// A checkpoint's file, or its copy, has rotted.
    pub(crate) checkpoint_rotten: bool,
    pub(crate) coverage: &'a mut Coverage,
    pub(crate) trace: &'a mut Trace,
}

impl<'a> World<'a> {
    fn new(case: &Case, coverage: &'a mut Coverage, trace: &'a mut Trace) -> World<'a> {
        let mut random = Random::new(case.seed.wrapping_mul(2) ^ u64::from(case.small));
        let profile = Profile::new(&mut random, case.small);
        let generator = Generator::new(Random::new(random.next_u64()), &profile);
        let luck = random.next_u64().wrapping_add(case.crash.unwrap_or(0));
        let disk = SimDisk::new(luck);
        disk.set_faults(profile.faults.clone());
        World {
            disk,
            profile,
            generator,
            model: Model::default(),
            random: Random::new(luck.rotate_left(32)),
            during: During::Open,
            calls: Vec::new(),
            stopped: true,
            topics_made: 0,
            lie: case.lie,
            full: false,
            failures: 0,
            device_failed: false,
            power_cut: true,
            checkpoint_rotten: false,
            coverage,
            trace,
        }
    }

    /// What is being done from here on, for the disk calls that come.
    pub(crate) fn now(&mut self, during: During) {
        self.note_calls();
        self.during = during;
    }

    fn note_calls(&mut self) {
        let calls = self.disk.calls();
        if self.calls.last().map_or(0, |(_, last)| *last) < calls {
            self.calls.push((self.during, calls));
        }
    }

    /// A start, some steps, and an end: the crash that was asked for, else a clean stop, else the power is cut.
    fn live(&mut self, steps: usize, clean: bool) -> Result<(), Violation> {
        let ended = self.run_steps(steps, clean);
        // A start that met a failure ends with it.
        self.device_failed |= self.new_failure();
        self.disk.fail_nothing();
        self.note_calls();
        let files = self.disk.files();
        let segments = files.iter().filter(|(path, _)| path.extension().is_some_and(|ext| ext == "log"));
        self.coverage.rolled += u64::from(segments.count() > self.model.partitions.len());
        self.trace.note(format_args!("disk: {} calls, {:016x}", self.disk.calls(), self.disk.trace()));
        let crashed = self.disk.crashed();
        match ended {
            _ if crashed => {
                self.trace.note(format_args!("CRASH during {:?}", self.during));
                *self.coverage.crashes.entry(self.during).or_default() += 1;
            }
            Ok(()) if clean => {
                self.stopped = true;
                return Ok(());
            }
            Ok(()) => {
                self.end();
                return Ok(());
            }
            Err(Stop::Failed(message)) if self.device_failed => {
                self.trace.note(format_args!("FAILED during {:?}: {message}", self.during));
                *self.coverage.failed.entry(self.during).or_default() += 1;
                self.end();
                return Ok(());
            }
            Err(Stop::Failed(message)) => {
                return Err(Violation(format!(
                    "the store failed on a healthy disk during {:?}: {message}",
                    self.during
                )));
            }
            Err(Stop::Violation(violation)) => return Err(violation),
        }
        self.power_cut();
        Ok(())
    }

    /// The process ends, or the machine.
    fn end(&mut self) {
        if !self.random.one_in(3) {
            self.trace.note(format_args!("POWER CUT"));
            return self.power_cut();
        }
        self.trace.note(format_args!("KILLED"));
        self.coverage.process_ends += 1;
        self.disk.end_process();
        self.down();
    }

    fn power_cut(&mut self) {
        self.power_cut = true;
        self.disk.restart();
        self.down();
    }

    fn down(&mut self) {
        self.stopped = false;
        self.device_failed = false;
        // Somebody makes room before the next start.
        self.free();
    }

    pub(crate) fn fill(&mut self, room: u64) {
        let used: u64 = self.disk.files().iter().map(|(_, bytes)| bytes).sum();
        self.full = true;
        self.coverage.fills += 1;
        self.set_faults(Some(used + room));
    }

    pub(crate) fn free(&mut self) {
        self.full = false;
        self.set_faults(None);
    }

    pub(crate) fn set_faults(&self, capacity_bytes: Option<u64>) {
        let lying_flushes = self.lie.then(|| ".journal".to_owned());
        self.disk.set_faults(Faults { capacity_bytes, lying_flushes, ..self.profile.faults.clone() });
    }

    fn run_steps(&mut self, steps: usize, clean: bool) -> Result<(), Stop> {
        let mut life = Life { machine: Some(self.start()?), ..Life::default() };
        // Of what failed in a start that succeeded it is what is lost later that tells.
        self.new_failure();
        let result = self.take_steps(&mut life, steps);
        // What was called before the machine went down counts, too.
        self.harvest(&mut life)?;
        result?;
        if clean {
            self.close(&mut life)?;
        }
        Ok(())
    }

    pub(crate) fn start(&mut self) -> Result<Machine, Stop> {
        self.now(During::Open);
        self.coverage.starts += 1;
        let (machine, recovery) = Machine::open(&self.disk, &self.profile.options)?;
        self.trace.note(format_args!("OPEN {recovery:?}"));
        self.coverage.replayed_frames += recovery.replayed_frames;
        self.coverage.replayed_present += recovery.present_batches;
        self.coverage.replayed_written += recovery.written_batches;
        self.coverage.torn += u64::from(recovery.journal_cut.is_some());
        ensure_clean(self.stopped, recovery.clean)?;
        let sound = recovery.damaged.iter().find(|damage| !self.model.is_damaged(&damage.file));
        ensure_stop!(sound.is_none(), "a crash is taken for damage: {recovery}");
        ensure_stop!(
            recovery.unusable_checkpoint.is_none() || self.checkpoint_rotten,
            "a crash costs a checkpoint: {recovery}"
        );
        let kept = check::after_start(&machine, &mut self.model, &mut self.random, self.power_cut)?;
        self.power_cut = false;
        self.trace.note(format_args!("{kept:?}"));
        self.coverage.lost_frames += kept.lost_frames as u64;
        self.coverage.corrupt_reads += kept.corrupt_reads as u64;
        self.coverage.lost_from_page_cache += kept.lost_from_page_cache as u64;
        // From here on a stop is not a clean one any more.
        self.stopped = false;
        for topic in self.profile.topics.clone() {
            self.make_topic(&machine, topic)?;
        }
        self.now(During::Else);
        for (id, partition) in self.model.live() {
            // What the topics' own records say, which the store has not kept.
            let durability = if partition.page_cache { Durability::PageCache } else { Durability::Disk };
            let options = LogOptions { durability, ..self.profile.options.log };
            machine.store.set_options(id, partition.policy.of(options))?;
        }
        self.set_faults(None);
        Ok(machine)
    }

    /// Makes the partitions of a topic that are not there.
    pub(crate) fn make_topic(&mut self, machine: &Machine, topic: Topic) -> Result<(), Stop> {
        let options =
            topic.policy.of(LogOptions { durability: topic.durability, ..self.profile.options.log });
        for partition in 0..topic.partitions {
            let exists =
                self.model.live().any(|(id, found)| found.topic == topic.name && id.partition == partition);
            if exists {
                continue;
            }
            self.topics_made += 1;
            let id = PartitionId { topic: Uuid::from_u128(self.topics_made), partition };
            self.now(During::Create);
            self.trace.note(format_args!("create {}-{partition} as {id}", topic.name));
            let page_cache = topic.durability == Durability::PageCache;
            let made = PartitionModel {
                topic: topic.name,
                page_cache,
                presence: Presence::Possible,
                leader_epoch: -1,
                batches: Vec::new(),
                flushed: 0,
                policy: topic.policy,
                passes: Vec::new(),
                damaged: BTreeSet::new(),
                rotten: false,
                start: 0,
                state: LogState::default(),
            };
            self.model.partitions.insert(id, made);
            let spec = PartitionSpec { id, topic_name: topic.name.to_owned(), options };
            let handle = machine.store.create_partition(spec)?;
            if let Some(made) = self.model.partitions.get_mut(&id) {
                made.presence = Presence::Certain;
                made.leader_epoch = handle.leader_epoch();
            }
        }
        Ok(())
    }
}

fn ensure_clean(stopped: bool, clean: bool) -> Result<(), Violation> {
    ensure!(!stopped || clean, "a start after a clean stop takes it for a crash");
    Ok(())
}
