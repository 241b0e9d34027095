//! One case: a scenario, the crash in it, and what comes after.

use std::collections::BTreeMap;

use logmill_storage::PartitionId;
use logmill_storage::disk::SimDisk;
use logmill_storage::disk::sim::{Faults, Random};
use logmill_storage::log::{Durability, LogOptions};
use logmill_storage::store::{PartitionSpec, Rejection};
use uuid::Uuid;

use crate::check;
use crate::generator::{Generator, Step};
use crate::machine::{Machine, Stop, refusal};
use crate::model::{LogState, Model, PartitionModel, PlannedFrame, Presence, Refusal, Verdict};
use crate::profile::{PASSING, Profile, Topic};
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

/// Where the machine went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum During {
    Open,
    Create,
    Delete,
    Journal,
    Apply,
    Checkpoint,
    Clean,
    Close,
    Else,
}

/// What cases have been through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    pub cases: u64,
    pub steps: u64,
    pub frames: u64,
    pub duplicates: u64,
    /// Refused as duplicates, as their offsets were not known after a start.
    pub forgotten_duplicates: u64,
    pub refusals: u64,
    pub starts: u64,
    pub crashes: BTreeMap<During, u64>,
    pub lost_frames: u64,
    pub lost_from_page_cache: u64,
    /// Torn ends of the journal that were cut.
    pub torn: u64,
    /// Frames replayed, and batches of them that were in the segments before, and that were not.
    pub replayed_frames: u64,
    pub replayed_present: u64,
    pub replayed_written: u64,
    /// Lives that ended with more segments than partitions.
    pub rolled: u64,
    /// Journal files given back by checkpoints.
    pub recycled: u64,
    pub checkpoints: u64,
    /// Bytes of segments that were removed.
    pub trimmed_bytes: u64,
    /// Times that the disk was filled, and rounds and checkpoints that did less because of it.
    pub fills: u64,
    pub full: u64,
    /// Commits that were refused because of it.
    pub refused_full: u64,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (during, count) in &other.crashes {
            *self.crashes.entry(*during).or_default() += count;
        }
        self.cases += other.cases;
        self.steps += other.steps;
        self.frames += other.frames;
        self.duplicates += other.duplicates;
        self.forgotten_duplicates += other.forgotten_duplicates;
        self.refusals += other.refusals;
        self.starts += other.starts;
        self.lost_frames += other.lost_frames;
        self.lost_from_page_cache += other.lost_from_page_cache;
        self.torn += other.torn;
        self.replayed_frames += other.replayed_frames;
        self.replayed_present += other.replayed_present;
        self.replayed_written += other.replayed_written;
        self.rolled += other.rolled;
        self.recycled += other.recycled;
        self.checkpoints += other.checkpoints;
        self.trimmed_bytes += other.trimmed_bytes;
        self.fills += other.fills;
        self.full += other.full;
        self.refused_full += other.refused_full;
    }
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
    world.live(steps, clean)?;
    world.live(3, true)?;
    world.live(0, true)?;
    Ok(calls)
}

enum Ticket {
    Frame(usize),
    Duplicate(PartitionId, i64),
}

struct World<'a> {
    disk: SimDisk,
    profile: Profile,
    generator: Generator,
    model: Model,
    /// Everything that is not the scenario: how much to read, when to crash again.
    random: Random,
    during: During,
    calls: Calls,
    /// The last life ended by a clean stop.
    stopped: bool,
    topics_made: u128,
    lie: bool,
    /// The disk is full, or soon will be.
    full: bool,
    coverage: &'a mut Coverage,
    trace: &'a mut Trace,
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
            coverage,
            trace,
        }
    }

    /// What is being done from here on, for the disk calls that come.
    fn now(&mut self, during: During) {
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
            Ok(()) => self.trace.note(format_args!("POWER CUT")),
            Err(Stop::Failed(message)) => {
                return Err(Violation(format!(
                    "the store failed on a healthy disk during {:?}: {message}",
                    self.during
                )));
            }
            Err(Stop::Violation(violation)) => return Err(violation),
        }
        self.stopped = false;
        self.disk.restart();
        // Somebody makes room before the next start.
        self.free();
        Ok(())
    }

    fn fill(&mut self, room: u64) {
        let used: u64 = self.disk.files().iter().map(|(_, bytes)| bytes).sum();
        self.full = true;
        self.coverage.fills += 1;
        self.set_faults(Some(used + room));
    }

    fn free(&mut self) {
        self.full = false;
        self.set_faults(None);
    }

    fn set_faults(&self, capacity_bytes: Option<u64>) {
        let lying_flushes = self.lie.then(|| ".journal".to_owned());
        self.disk.set_faults(Faults { capacity_bytes, lying_flushes, ..self.profile.faults.clone() });
    }

    fn run_steps(&mut self, steps: usize, clean: bool) -> Result<(), Stop> {
        let mut life = Life { machine: Some(self.start()?), tickets: BTreeMap::new(), last_sequence: 0 };
        let result = self.take_steps(&mut life, steps);
        // What was called before the machine went down counts, too.
        self.harvest(&mut life)?;
        result?;
        if clean {
            self.close(&mut life)?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Machine, Stop> {
        self.now(During::Open);
        self.coverage.starts += 1;
        let (machine, recovery) = Machine::open(&self.disk, &self.profile.options)?;
        self.trace.note(format_args!("OPEN {recovery:?}"));
        self.coverage.replayed_frames += recovery.replayed_frames;
        self.coverage.replayed_present += recovery.present_batches;
        self.coverage.replayed_written += recovery.written_batches;
        self.coverage.torn += u64::from(recovery.journal_cut.is_some());
        ensure_clean(self.stopped, recovery.clean)?;
        ensure_stop!(recovery.damaged.is_empty(), "a crash is taken for damage: {recovery}");
        ensure_stop!(recovery.unusable_checkpoint.is_none(), "a crash costs a checkpoint: {recovery}");
        let kept = check::after_start(&machine, &mut self.model, &mut self.random)?;
        self.trace.note(format_args!("{kept:?}"));
        self.coverage.lost_frames += kept.lost_frames as u64;
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
            machine.store.set_options(id, LogOptions { durability, ..self.profile.options.log })?;
        }
        self.set_faults(None);
        Ok(machine)
    }

    /// Makes the partitions of a topic that are not there.
    fn make_topic(&mut self, machine: &Machine, topic: Topic) -> Result<(), Stop> {
        let options = LogOptions { durability: topic.durability, ..self.profile.options.log };
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

    fn take_steps(&mut self, life: &mut Life, steps: usize) -> Result<(), Stop> {
        for _ in 0..steps {
            let step = self.generator.step(&self.model);
            self.coverage.steps += 1;
            self.step(life, step)?;
            if self.disk.crashed() {
                return Err(Stop::Failed("went on after a crash".to_owned()));
            }
            self.harvest(life)?;
        }
        self.free();
        Ok(())
    }

    fn step(&mut self, life: &mut Life, step: Step) -> Result<(), Stop> {
        self.now(During::Else);
        if matches!(step, Step::Reopen | Step::Delete(_) | Step::Create) {
            // These may fail on a full disk, and then have to be asked for again.
            self.free();
        }
        match step {
            Step::Fill(room) => {
                self.trace.note(format_args!("the disk has room for {room} bytes"));
                self.fill(room);
            }
            Step::Free => {
                self.trace.note(format_args!("the disk has room again"));
                self.free();
            }
            Step::Commit(planned) => self.commit(life, &planned)?,
            Step::Journal => {
                self.trace.note(format_args!("journal"));
                self.now(During::Journal);
                life.machine().journal()?;
                self.coverage.full += u64::from(life.machine().takes_disk_for_full());
                if life.machine().store.checkpoint_due() && self.random.one_in(2) {
                    self.checkpoint(life)?;
                }
            }
            Step::Apply(shard) => {
                self.trace.note(format_args!("apply {shard}"));
                self.now(During::Apply);
                let full = life.machine().apply(shard)?;
                self.is_full(full)?;
            }
            Step::Checkpoint => self.checkpoint(life)?,
            Step::Reopen => {
                self.close(life)?;
                self.stopped = true;
                *life = Life { machine: None, ..Life::default() };
                life.machine = Some(self.start()?);
            }
            Step::Delete(id) => {
                self.trace.note(format_args!("delete {id}"));
                self.now(During::Delete);
                self.set_presence(id, Presence::Possible);
                life.machine().store.delete_partition(id)?;
                self.set_presence(id, Presence::Deleted);
            }
            Step::Create => {
                let passing = self.profile.topics.iter().find(|topic| topic.name == PASSING).copied();
                if let Some(topic) = passing {
                    self.make_topic(life.machine(), topic)?;
                }
            }
            Step::SetOptions(id, options) => {
                self.trace.note(format_args!("options of {id}: {options:?}"));
                life.machine().store.set_options(id, options)?;
            }
            Step::Clean => {
                self.now(During::Clean);
                let removed = life.machine().store.remove_trimmed()?;
                self.trace.note(format_args!("clean: {removed:?}"));
                self.coverage.trimmed_bytes += removed.bytes;
            }
            Step::Look => {
                self.trace.note(format_args!("look"));
                self.harvest(life)?;
                check::while_running(life.machine(), &mut self.model, &mut self.random)?;
            }
        }
        Ok(())
    }

    /// Work was left for later because the disk is full.
    fn is_full(&mut self, full: bool) -> Result<(), Violation> {
        ensure!(!full || self.full, "there is room, and something took the disk for full");
        self.coverage.full += u64::from(full);
        Ok(())
    }

    fn set_presence(&mut self, id: PartitionId, presence: Presence) {
        if let Some(partition) = self.model.partitions.get_mut(&id) {
            partition.presence = presence;
        }
    }

    /// Commits a frame, and holds the answer against the rules.
    fn commit(&mut self, life: &mut Life, planned: &PlannedFrame) -> Result<(), Stop> {
        let expected = self.model.judge(planned);
        let answer = life.machine().commit(planned);
        self.trace.note(format_args!(
            "commit {} ({} appends): {answer:?}",
            planned.what,
            planned.appends.len()
        ));
        match (answer, expected) {
            (Ok((ticket, committed)), Verdict::Accept(places)) => {
                let found: Vec<_> =
                    committed.appends.iter().map(|append| (append.base_offset, append.last_offset)).collect();
                ensure_stop!(
                    found == places,
                    "{}: got offsets {found:?}, should be {places:?}",
                    planned.what
                );
                let new = committed.appends.iter().all(|append| !append.duplicate);
                ensure_stop!(new, "{}: taken for a duplicate", planned.what);
                let before = life.last_sequence;
                ensure_stop!(
                    committed.sequence > before,
                    "{}: commit sequence {} after {before}",
                    planned.what,
                    committed.sequence
                );
                life.last_sequence = committed.sequence;
                let number = self.model.append(planned);
                self.coverage.frames += 1;
                life.tickets.insert(ticket, Ticket::Frame(number));
            }
            (Ok((ticket, committed)), Verdict::Duplicate(original)) => {
                let (base, last) = (original.base_offset, original.last_offset);
                let append = committed.appends[0];
                let found = (append.duplicate, append.base_offset, append.last_offset);
                ensure_stop!(
                    found == (true, base, last),
                    "{}: got (duplicate, first, last offset) {found:?}, should be {:?}",
                    planned.what,
                    (true, base, last)
                );
                self.coverage.duplicates += 1;
                life.tickets.insert(ticket, Ticket::Duplicate(planned.appends[0].partition, last));
            }
            (Err(Rejection::FrameTooLarge { bytes, limit }), _) => {
                let size: usize = planned.appends.iter().map(|append| append.batch.size()).sum();
                ensure_stop!(bytes > limit && bytes >= size as u64, "{size} bytes are not too many");
            }
            // It is found to have room again by the next round.
            (Err(Rejection::StorageFull), _) if life.machine().takes_disk_for_full() => {
                self.coverage.refused_full += 1;
            }
            (Err(rejection), Verdict::Duplicate(original)) if !original.certain => {
                let refused = refusal(&rejection);
                let transactional = planned.appends[0].batch.header().is_transactional();
                ensure_stop!(
                    refused == Some(Refusal::DuplicateSequence)
                        || (transactional && refused == Some(Refusal::TransactionNotOpen)),
                    "{}: a duplicate of {original:?} is refused as {rejection:?}",
                    planned.what
                );
                self.coverage.forgotten_duplicates += 1;
            }
            (Err(rejection), Verdict::Refuse(refused)) if refusal(&rejection) == Some(refused) => {
                self.coverage.refusals += 1;
            }
            (answer, expected) => {
                return Err(
                    Violation(format!("{}: got {answer:?}, should be {expected:?}", planned.what)).into()
                );
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, life: &mut Life) -> Result<(), Stop> {
        self.harvest(life)?;
        self.trace.note(format_args!("checkpoint"));
        self.now(During::Checkpoint);
        let done = self.done_batches();
        let checkpointed = life.machine().checkpoint()?;
        self.trace.note(format_args!("{checkpointed:?}"));
        self.is_full(checkpointed.full)?;
        if checkpointed.full {
            return Ok(());
        }
        self.coverage.checkpoints += 1;
        self.coverage.recycled += checkpointed.recycled_files as u64;
        self.flushed(done);
        Ok(())
    }

    fn close(&mut self, life: &mut Life) -> Result<(), Stop> {
        self.trace.note(format_args!("close"));
        self.now(During::Close);
        life.machine().drain()?;
        self.harvest(life)?;
        let pending = life.tickets.len();
        ensure_stop!(pending == 0, "{pending} commits are not done after all work was");
        ensure_stop!(!life.machine().takes_disk_for_full(), "the disk has room, and is taken for full");
        let done = self.done_batches();
        life.machine().store.close()?;
        self.flushed(done);
        life.machine = None;
        Ok(())
    }

    /// How many batches of each partition are done: written, if not durable.
    fn done_batches(&self) -> Vec<(PartitionId, usize)> {
        let done = |partition: &PartitionModel| {
            partition.batches.iter().rposition(|placed| self.model.frames[placed.frame].done)
        };
        self.model.live().map(|(id, partition)| (id, done(partition).map_or(0, |last| last + 1))).collect()
    }

    /// What was done before a flush has to stay.
    fn flushed(&mut self, done: impl IntoIterator<Item = (PartitionId, usize)>) {
        for (id, batches) in done {
            if let Some(partition) = self.model.partitions.get_mut(&id) {
                partition.flushed = partition.flushed.max(batches);
            }
        }
    }

    /// Notes what was called since: those frames are acknowledged.
    fn harvest(&mut self, life: &mut Life) -> Result<(), Violation> {
        let Some(machine) = &mut life.machine else { return Ok(()) };
        for ticket in machine.take_done() {
            match life.tickets.remove(&ticket) {
                Some(Ticket::Frame(number)) => {
                    self.trace.note(format_args!("frame {number} is done"));
                    let frame = &mut self.model.frames[number];
                    frame.done = true;
                    frame.must_stay |= frame.journaled;
                    for (id, offset) in frame.trims.clone() {
                        if let Some(partition) = self.model.partitions.get_mut(&id) {
                            partition.start = partition.start.max(offset);
                        }
                    }
                }
                Some(Ticket::Duplicate(id, last)) => {
                    self.trace.note(format_args!("duplicate up to {last} in {id} is done"));
                    let batches = self.model.partitions.get(&id).map(|found| &found.batches);
                    let original = batches.into_iter().flatten().find(|p| p.header.last_offset() == last);
                    let number = original.map(|placed| placed.frame);
                    // The frame may wait for its other appends.
                    if let Some(number) = number {
                        self.model.frames[number].must_stay |= self.model.frames[number].journaled;
                    }
                }
                None => return Err(Violation(format!("commit {ticket} is done twice"))),
            }
        }
        Ok(())
    }
}

/// One run of the store.
#[derive(Default)]
struct Life {
    machine: Option<Machine>,
    tickets: BTreeMap<u64, Ticket>,
    last_sequence: u64,
}

impl Life {
    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("the machine runs")
    }
}

fn ensure_clean(stopped: bool, clean: bool) -> Result<(), Violation> {
    ensure!(!stopped || clean, "a start after a clean stop takes it for a crash");
    Ok(())
}
