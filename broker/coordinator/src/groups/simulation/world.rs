//! The broker, the network and the clients around one machine.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::client::{Client, Phase, offsets};
use super::invariants::{self, Violation, ensure};
use super::log::{Entry, compacted};
use super::model::{Fact, Offsets, facts};
use crate::groups::state::GroupState;
use crate::groups::waiting::Timer;
use crate::groups::{
    Command, CommitTransactionalOffsets, Delete, DeleteOffsets, Describe, Disown, FetchOffsets, ForgetTopic,
    GroupMachine, List, Own, Record, Reply, Settings, StoredGroup,
};
use crate::random::{Random, Trace};
use crate::{KeyValue, Machine, RequestId, Step, Str};

/// How long things go wrong, and then how long everything works, in ms.
const STORM_MS: i64 = 150_000;
const CALM_MS: i64 = 200_000;

/// A bug put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    LostReply,
    RepeatedReply,
    LostRecord,
    UnrecordedChange,
    WrongLeader,
    ForgottenDeadline,
    MarkerOfAnother,
}

/// What a run has seen.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) trace: Trace,
    pub(super) seen: BTreeMap<String, u32>,
}

/// What was sequenced together, and is answered when it is durable.
#[derive(Debug, Default)]
struct Frame {
    entries: Vec<Entry>,
    facts: Vec<Fact>,
    replies: Vec<(Origin, Reply)>,
}

/// Who asked, and what.
#[derive(Debug, Clone)]
struct Origin {
    client: Option<(usize, u64)>,
    command: Command,
}

#[derive(Debug)]
enum Event {
    Arrives(Origin),
    Answered { client: usize, attempt: u64, reply: Option<Reply> },
    Acts(usize),
    AdminActs,
    Flush,
    Crash,
}

pub(super) struct Run {
    random: Random,
    planted: Planted,
    plant_at: u64,
    steps: u64,
    now: i64,
    until: i64,
    storm_ends: i64,
    settings: Settings,
    machine: GroupMachine,
    frames: Vec<Frame>,
    durable: usize,
    offsets: Offsets,
    open: BTreeMap<RequestId, Origin>,
    requests: u64,
    events: BTreeMap<(i64, u64), Event>,
    scheduled: u64,
    clients: Vec<Client>,
    /// Producer ids with offsets in an open transaction.
    open_producers: BTreeSet<i64>,
    committed: i64,
    finished: Finished,
}

impl Run {
    pub(super) fn of(seed: u64) -> Run {
        Run::with(seed, Planted::Nothing)
    }

    pub(super) fn with(seed: u64, planted: Planted) -> Run {
        let mut random = Random::new(seed);
        let settings = Settings {
            initial_rebalance_delay_ms: *random.pick(&[0, 0, 500, 3_000]),
            max_members: *random.pick(&[usize::MAX, usize::MAX, usize::MAX, 2]),
            new_member_join_timeout_ms: 60_000,
            ..Settings::default()
        };
        let clients = (0..3 + random.below(4) as usize).map(|index| Client::new(index, &mut random));
        let clients: Vec<Client> = clients.collect();
        let now = 1_000_000;
        let mut run = Run {
            plant_at: 20 + random.below(200),
            planted,
            steps: 0,
            now,
            until: now + STORM_MS + CALM_MS,
            storm_ends: now + STORM_MS,
            machine: GroupMachine::new(settings.clone()),
            settings,
            frames: Vec::new(),
            durable: 0,
            offsets: Offsets::default(),
            open: BTreeMap::new(),
            requests: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            open_producers: BTreeSet::new(),
            committed: 0,
            finished: Finished { trace: Trace::new(), seen: BTreeMap::new() },
            clients,
            random,
        };
        for index in 0..run.clients.len() {
            let at = run.random.between(0, 5_000);
            run.schedule(at, Event::Acts(index));
        }
        run.schedule(0, Event::AdminActs);
        let crash = run.random.between(10_000, 60_000);
        run.schedule(crash, Event::Crash);
        run
    }

    /// Runs to the end, or to the first violation.
    pub(super) fn finish(mut self) -> Result<Finished, Violation> {
        loop {
            let event = self.events.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            let deadline = self.machine.next_deadline().unwrap_or(i64::MAX);
            let next = event.min(deadline.max(self.now));
            if next > self.until {
                break;
            }
            self.now = next;
            if deadline <= next {
                let step = self.machine.on_deadline(self.now);
                self.saw("session deadline");
                self.take(step)?;
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event)?;
            }
        }
        self.check_replay()?;
        self.check_convergence()?;
        Ok(self.finished)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrives(origin) => self.arrives(origin),
            Event::Answered { client, attempt, reply } => {
                let sends = match &reply {
                    Some(reply) => self.clients[client].hear(attempt, reply, self.now),
                    None => {
                        self.clients[client].lose_connection();
                        None
                    }
                };
                self.send(client, sends);
                Ok(())
            }
            Event::Acts(client) => {
                self.act(client);
                Ok(())
            }
            Event::AdminActs => self.admin_acts(),
            Event::Flush => {
                self.flush();
                Ok(())
            }
            Event::Crash => self.crash(),
        }
    }

    fn is_calm(&self) -> bool {
        self.now >= self.storm_ends
    }

    fn act(&mut self, client: usize) {
        let calm = self.is_calm();
        if !calm && self.random.permille(60) {
            self.clients[client].revive();
        }
        if !calm && self.random.permille(20) {
            // Another thread of it commits what was read, whatever the first is about.
            let commit = self.clients[client].commit(&mut self.random);
            self.send(client, Some((0, commit)));
        }
        let sends = self.clients[client].act(self.now, calm, &mut self.random);
        self.send(client, sends);
        let silent = !calm && self.random.permille(30);
        let pause = if silent { self.random.between(8_000, 40_000) } else { self.random.between(500, 4_000) };
        self.schedule(pause, Event::Acts(client));
    }

    /// A message may be late, lost, or arrive twice.
    fn send(&mut self, client: usize, message: Option<(u64, Command)>) {
        let Some((attempt, command)) = message else { return };
        let origin = Origin { client: Some((client, attempt)), command };
        let (mut copies, mut latest) = (1, 40);
        if !self.is_calm() {
            match self.random.below(100) {
                0..=2 => copies = 0,
                3..=7 => (copies, latest) = (2, 25_000),
                8..=9 => latest = 25_000,
                _ => {}
            }
        }
        for _ in 0..copies {
            let delay = self.random.between(1, latest);
            self.schedule(delay, Event::Arrives(origin.clone()));
        }
    }

    fn arrives(&mut self, mut origin: Origin) -> Result<(), Violation> {
        if let Command::Join(join) = &mut origin.command {
            join.fresh = Uuid::from_u64_pair(self.random.next(), self.random.next());
        }
        self.requests += 1;
        let request = RequestId(self.requests);
        self.open.insert(request, origin.clone());
        let step = self.machine.handle(self.now, request, origin.command);
        self.take(step)
    }

    /// The driver's part: sequence, apply, keep the replies until the frame is durable.
    fn take(&mut self, step: Step<Record, Reply>) -> Result<(), Violation> {
        self.steps += 1;
        self.finished.trace.add(&(self.now, &step));
        if !step.records.is_empty() && !self.is_calm() && self.random.permille(5) {
            self.saw("rejected frame");
            return self.reload();
        }
        let step = self.plant(step);
        let mut frame = Frame::default();
        for record in &step.records {
            self.machine.apply(record);
            let producer = match record {
                Record::Offset { producer, .. } => *producer,
                Record::Group { .. } | Record::Consumer { .. } => None,
            };
            let bytes = record.encode().map_err(|error| format!("{error}: {record:?}"))?;
            let back = Record::decode(Some(bytes.key.clone()), bytes.value.clone(), producer);
            ensure!(back.as_ref() == Ok(record), "{record:?} comes back as {back:?}");
            frame.entries.push(Entry::Record(bytes, producer));
        }
        for (request, reply) in step.replies {
            let Some(origin) = self.open.remove(&request) else {
                return Err(format!("{request:?} is answered twice or was never asked: {reply:?}"));
            };
            self.count(&reply);
            invariants::check_promise(&self.machine, &origin.command, &reply)?;
            frame.facts.extend(facts(&origin.command, &reply));
            frame.replies.push((origin, reply));
        }
        frame.facts.iter().for_each(|fact| self.offsets.learn(fact));
        let (recorded, learned) = (!frame.entries.is_empty(), !frame.facts.is_empty());
        self.sequence(frame);
        self.check(recorded || learned)
    }

    fn check(&mut self, changed: bool) -> Result<(), Violation> {
        let open = self.open.keys().copied().collect();
        invariants::check(&self.machine, &open)?;
        if changed {
            invariants::check_offsets(&self.machine, &self.offsets)?;
        }
        if self.steps.is_multiple_of(64) { self.check_replay() } else { Ok(()) }
    }

    /// Everything sequenced so far is durable: its answers go out.
    fn flush(&mut self) {
        let mut answers = Vec::new();
        for frame in &mut self.frames[self.durable..] {
            answers.append(&mut frame.replies);
        }
        self.durable = self.frames.len();
        for (origin, reply) in answers {
            let lost = !self.is_calm() && self.random.permille(20);
            if let Some((client, attempt)) = origin.client.filter(|_| !lost) {
                let delay = self.random.between(1, 40);
                self.schedule(delay, Event::Answered { client, attempt, reply: Some(reply) });
            }
        }
    }

    /// Sequences a frame. It becomes durable after a while, with all before it.
    fn sequence(&mut self, frame: Frame) {
        if self.durable == self.frames.len() {
            let stalls = !self.is_calm() && self.random.permille(50);
            let delay = if stalls { self.random.between(300, 3_000) } else { self.random.between(1, 30) };
            self.schedule(delay, Event::Flush);
        }
        self.frames.push(frame);
    }

    /// What was not durable is gone, and so is everything in memory.
    fn crash(&mut self) -> Result<(), Violation> {
        if self.is_calm() {
            return Ok(());
        }
        if self.frames[self.durable..].iter().any(|frame| !frame.entries.is_empty()) {
            self.saw("crash that lost frames");
        }
        for frame in self.frames.drain(self.durable..) {
            for (origin, _) in frame.replies {
                if let Some((client, _)) = origin.client {
                    self.clients[client].lose_connection();
                }
            }
        }
        self.offsets = Offsets::default();
        self.open_producers.clear();
        for fact in self.frames.iter().flat_map(|frame| &frame.facts) {
            self.offsets.learn(fact);
            match fact {
                Fact::Pending { producer, .. } => self.open_producers.insert(*producer),
                Fact::Marker { producer, .. } => self.open_producers.remove(producer),
                _ => false,
            };
        }
        let next = self.random.between(10_000, 60_000);
        self.schedule(next, Event::Crash);
        self.reload()
    }

    /// Throws the machine away and builds another from the log's bytes. Whoever was waiting is told to look
    /// for the coordinator again.
    fn reload(&mut self) -> Result<(), Violation> {
        let open = std::mem::take(&mut self.open);
        if !open.is_empty() {
            self.saw("crash with parked requests");
        }
        for origin in open.into_values() {
            if let Some((client, attempt)) = origin.client {
                self.schedule(1, Event::Answered { client, attempt, reply: None });
            }
        }
        self.machine = self.replayed(|_, _| true)?;
        let step = self.machine.loaded(self.now);
        ensure!(step.is_nothing(), "loading did something: {step:?}");
        self.check(true)
    }

    fn replayed(&self, is_there: impl Fn(usize, &Entry) -> bool) -> Result<GroupMachine, Violation> {
        let mut machine = GroupMachine::new(self.settings.clone());
        let entries = self.frames.iter().flat_map(|frame| &frame.entries).enumerate();
        for (_, entry) in entries.filter(|(at, entry)| is_there(*at, entry)) {
            match entry {
                Entry::Record(KeyValue { key, value }, producer) => {
                    let record = Record::decode(Some(key.clone()), value.clone(), *producer);
                    machine.apply(&record.map_err(|error| error.to_string())?);
                }
                Entry::Marker { producer, commit } => machine.apply_marker(*producer, 0, *commit),
            }
        }
        Ok(machine)
    }

    fn check_replay(&self) -> Result<(), Violation> {
        let replayed = self.replayed(|_, _| true)?;
        ensure!(replayed.groups == self.machine.groups, "replay gives another durable state");
        let kept = compacted(self.frames.iter().flat_map(|frame| &frame.entries));
        let compacted =
            self.replayed(|at, entry| matches!(entry, Entry::Marker { .. }) || kept.contains(&at))?;
        ensure!(
            Offsets::of(&compacted.groups) == Offsets::of(&self.machine.groups),
            "replay of the compacted log gives other offsets"
        );
        Ok(())
    }

    /// Producers, administrators, pipelines.
    fn admin_acts(&mut self) -> Result<(), Violation> {
        let next = self.random.between(200, 3_000);
        self.schedule(next, Event::AdminActs);
        let group: Str = Str::from(*self.random.pick(&["g", "h", "p", "q"]));
        let producer = self.random.between(1, 4);
        if self.is_calm() {
            let disown = Disown { group, owner: "pipeline".into() };
            return self.ask(Command::Disown(disown));
        }
        self.committed += 1;
        let command = match self.random.below(100) {
            0..=29 => {
                self.open_producers.insert(producer);
                let member = self.random.below(self.clients.len() as u64) as usize;
                let member = &self.clients[member];
                let (group, member_id, generation) =
                    (member.group.clone(), member.member_id.clone(), member.generation);
                let instance_id = member.instance.clone().filter(|_| generation >= 0);
                Command::CommitTransactionalOffsets(CommitTransactionalOffsets {
                    version: 5,
                    group,
                    producer_id: producer,
                    producer_epoch: 0,
                    generation,
                    member_id: if generation >= 0 { member_id } else { "".into() },
                    instance_id,
                    offsets: offsets(&mut self.random, self.committed),
                })
            }
            30..=49 => return self.marker(producer),
            50..=69 => {
                let topics = vec![("t".into(), vec![0, 1, 2]), ("u".into(), vec![0, 1, 2])];
                let (topics, require_stable) = (Some(topics), self.random.permille(500));
                Command::FetchOffsets(FetchOffsets {
                    group,
                    member_id: None,
                    member_epoch: -1,
                    topics,
                    require_stable,
                })
            }
            70..=74 => Command::Delete(Delete { groups: vec![group] }),
            75..=77 => {
                Command::DeleteOffsets(DeleteOffsets { group, topics: vec![("t".into(), vec![0, 1])] })
            }
            78..=79 => Command::ForgetTopic(ForgetTopic { topic: "u".into() }),
            80..=85 => {
                let assignment = vec![("t".into(), vec![0])];
                Command::Own(Own { group, owner: "pipeline".into(), assignment })
            }
            86..=91 => Command::Disown(Disown { group, owner: "pipeline".into() }),
            92..=95 => Command::Describe(Describe { groups: vec![group] }),
            _ => Command::List(List::default()),
        };
        self.ask(command)
    }

    fn ask(&mut self, command: Command) -> Result<(), Violation> {
        self.arrives(Origin { client: None, command })
    }

    /// A transaction ends: its marker is a frame of the transaction coordinator's.
    fn marker(&mut self, producer: i64) -> Result<(), Violation> {
        if !self.open_producers.remove(&producer) {
            return Ok(());
        }
        let commit = self.random.permille(600);
        self.saw(if commit { "marker commit" } else { "marker abort" });
        let applied = if self.is_due(Planted::MarkerOfAnother) { producer % 3 + 1 } else { producer };
        self.machine.apply_marker(applied, 0, commit);
        let fact = Fact::Marker { producer, commit };
        self.offsets.learn(&fact);
        let entries = vec![Entry::Marker { producer, commit }];
        self.sequence(Frame { entries, facts: vec![fact], replies: Vec::new() });
        self.check(true)
    }

    /// When nothing has failed for a while, everybody who wants to be a member is one.
    fn check_convergence(&self) -> Result<(), Violation> {
        for id in ["g", "h"] {
            let wants = |client: &&Client| client.group == id && client.phase != Phase::Gone;
            let mut wanting: Vec<&Client> = self.clients.iter().filter(wants).collect();
            let Some(group) = self.machine.waiting.live.get(id) else {
                ensure!(wanting.is_empty(), "{id}: {} clients and no group", wanting.len());
                continue;
            };
            if wanting.len() > self.settings.max_members {
                // There is no room for all; those who are in must still agree.
                wanting.retain(|client| client.phase == Phase::In);
            } else {
                ensure!(group.state == GroupState::Stable, "{id}: never stable but {:?}", group.state);
                ensure!(group.member_count() == wanting.len(), "{id}: not everybody is in");
            }
            for client in wanting {
                let is_in = client.phase == Phase::In && group.member(&client.member_id).is_some();
                ensure!(is_in, "{id}: {client:?} is not in");
                ensure!(client.generation == group.generation, "{id}: {client:?} is behind");
            }
        }
        Ok(())
    }

    fn is_due(&mut self, planted: Planted) -> bool {
        let due = self.planted == planted && self.steps >= self.plant_at;
        if due {
            self.planted = Planted::Nothing;
        }
        due
    }

    /// Puts in the planned bug when there is something to break.
    fn plant(&mut self, mut step: Step<Record, Reply>) -> Step<Record, Reply> {
        let promises = step.replies.iter().any(|(_, reply)| matches!(reply, Reply::Synced(_)))
            && matches!(step.records.first(), Some(Record::Group { .. }));
        if !step.replies.is_empty() && self.is_due(Planted::LostReply) {
            step.replies.pop();
        }
        if let Some(last) = step.replies.last().cloned()
            && self.is_due(Planted::RepeatedReply)
        {
            step.replies.push(last);
        }
        if promises && self.is_due(Planted::LostRecord) {
            step.records.clear();
        }
        if self.is_due(Planted::UnrecordedChange) {
            let stored = StoredGroup {
                protocol_type: "consumer".into(),
                generation: 1,
                protocol: None,
                leader: None,
                since: 0,
                members: Vec::new(),
            };
            self.machine.apply(&Record::Group { group: "unrecorded".into(), value: Some(stored) });
        }
        let mut live = self.machine.waiting.live.values_mut();
        if let Some(group) = live.find(|group| group.member_count() > 0) {
            let id = group.id.clone();
            let member = group.members().find(|member| !member.is_waiting()).map(|member| member.id.clone());
            if self.planted == Planted::WrongLeader && self.steps >= self.plant_at {
                group.leader = Some("nobody".into());
                self.planted = Planted::Nothing;
            }
            if let Some(member) = member
                && self.is_due(Planted::ForgottenDeadline)
            {
                self.machine.waiting.deadlines.cancel(&(id, Timer::Session(member)));
            }
        }
        step
    }

    fn schedule(&mut self, delay: i64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + delay, self.scheduled), event);
    }

    fn saw(&mut self, what: &str) {
        *self.finished.seen.entry(what.to_owned()).or_insert(0) += 1;
    }

    fn count(&mut self, reply: &Reply) {
        let (kind, error) = match reply {
            Reply::Joined(joined) => {
                if joined.skip_assignment {
                    self.saw("Join skip assignment");
                }
                ("Join", joined.error)
            }
            Reply::Synced(synced) => ("Sync", synced.error),
            Reply::Heartbeat(error) => ("Heartbeat", *error),
            Reply::Committed(committed) => ("Commit", committed.topics[0].1[0].1),
            Reply::Fetched(fetched) => {
                let partitions = fetched.topics.iter().flat_map(|(_, partitions)| partitions);
                ("Fetch", partitions.map(|partition| partition.error).max().unwrap_or_default())
            }
            Reply::Deleted(answers) => ("Delete", answers[0].1),
            Reply::Owned(error) => ("Own", *error),
            _ => return,
        };
        self.saw(&format!("{kind} {}", error.name().unwrap_or("?")));
    }
}
