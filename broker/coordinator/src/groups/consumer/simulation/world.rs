//! The broker, the network, the topics and the clients around one machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use logmill_wire::records::consumer_protocol::ConsumerProtocolSubscription;
use uuid::Uuid;

use super::invariants::{self, Epochs, Violation, ensure};
use super::member::Client;
use crate::groups::consumer::group::ConsumerGroup;
use crate::groups::consumer::record::{ConsumerRecord, MemberState};
use crate::groups::consumer::tests::{SomeTopics, topic_id};
use crate::groups::consumer::{
    ConsumerBeat, ConsumerSettings, ConsumerTimes, GroupTimes, MigrationPolicy, RegexesFound,
};
use crate::groups::waiting::Timer;
use crate::groups::{
    Command, GroupMachine, GroupState, Heartbeat, Join, Leave, LeavingMember, Record, Reply, Settings, Sync,
};
use crate::random::{Random, Trace};
use crate::{KeyValue, Machine, RequestId, Step, Str};

pub(super) const GROUP: &str = "g";

/// How long things go wrong, and then how long everything works, in ms.
const STORM_MS: i64 = 300_000;
const CALM_MS: i64 = 150_000;

/// What the network does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Requests of one client arrive in order, once or not at all.
    InOrder,
    /// Requests arrive late, and again.
    AnyOrder,
}

/// A bug put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    GivenTwice,
    LostRecord,
    ForgottenSession,
    ForgottenTopics,
    EarlyRelease,
    LostSearch,
}

/// What a run has seen.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) trace: Trace,
    pub(super) seen: BTreeMap<String, u32>,
}

#[derive(Debug)]
enum Event {
    Arrives { client: Option<usize>, attempt: u64, command: Box<Command> },
    Answered { client: usize, attempt: u64, answer: Option<ConsumerBeat> },
    Acts(usize),
    Follows(usize),
    Found(Box<RegexesFound>),
    Stranger,
    TopicsChange,
    Flush,
    Crash,
}

pub(super) struct World {
    random: Random,
    weather: Weather,
    planted: Planted,
    plant_at: u64,
    steps: u64,
    now: i64,
    storm_ends: i64,
    machine: GroupMachine,
    settings: Settings,
    topics: Arc<SomeTopics>,
    times: Arc<GroupTimes>,
    log: Vec<KeyValue>,
    durable: usize,
    /// Answers that wait for their records to be durable.
    held_back: Vec<(usize, u64, ConsumerBeat)>,
    flushes: bool,
    /// Steps with records: now and then the log is replayed.
    recorded: u32,
    events: BTreeMap<(i64, u64), Event>,
    scheduled: u64,
    requests: u64,
    clients: Vec<Client>,
    epochs: Epochs,
    was_consumer: bool,
    finished: Finished,
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather, planted: Planted) -> World {
        let mut random = Random::new(seed);
        let migration = *random.pick(&[
            MigrationPolicy::Bidirectional,
            MigrationPolicy::Bidirectional,
            MigrationPolicy::Upgrade,
        ]);
        let consumer = ConsumerSettings { migration, ..ConsumerSettings::default() };
        let settings = Settings { consumer, ..Settings::default() };
        let clients =
            (0..2 + random.below(5) as usize).map(|index| Client::new(index, &mut random)).collect();
        let now = 1_000_000;
        let mut world = World {
            weather,
            planted,
            plant_at: 60 + random.below(200),
            steps: 0,
            now,
            storm_ends: now + STORM_MS,
            machine: GroupMachine::new(settings.clone()),
            settings,
            topics: Arc::new(SomeTopics(BTreeMap::from([("t0".into(), 5), ("u".into(), 3)]))),
            times: Arc::default(),
            log: Vec::new(),
            durable: 0,
            held_back: Vec::new(),
            flushes: false,
            recorded: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            requests: 0,
            clients,
            epochs: Epochs::default(),
            was_consumer: false,
            finished: Finished { trace: Trace::new(), seen: BTreeMap::new() },
            random,
        };
        world.machine.see_topics(world.topics.clone());
        world.change_times();
        for index in 0..world.clients.len() {
            let at = world.random.between(0, 20_000);
            world.schedule(at, Event::Acts(index));
        }
        world.schedule(5_000, Event::TopicsChange);
        world.schedule(40_000, Event::Crash);
        if weather == Weather::AnyOrder {
            world.schedule(3_000, Event::Stranger);
        }
        world
    }

    pub(super) fn run(mut self) -> Result<Finished, Violation> {
        let until = self.storm_ends + CALM_MS;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at).unwrap_or(i64::MAX);
            let deadline = self.machine.next_deadline().unwrap_or(i64::MAX);
            if event.min(deadline) > until {
                break;
            }
            self.steps += 1;
            if deadline <= event {
                self.now = self.now.max(deadline);
                self.see_deadline();
                let step = self.machine.on_deadline(self.now);
                self.take(None, step)?;
            } else if let Some(((at, _), event)) = self.events.pop_first() {
                self.now = self.now.max(at);
                self.happen(event)?;
            }
            self.check()?;
        }
        self.check_calm()?;
        Ok(self.finished)
    }

    fn storms(&self) -> bool {
        self.now < self.storm_ends
    }

    fn schedule(&mut self, after_ms: i64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + after_ms, self.scheduled), event);
    }

    fn see(&mut self, what: impl Into<String>) {
        *self.finished.seen.entry(what.into()).or_default() += 1;
    }

    fn see_deadline(&mut self) {
        match self.machine.waiting.deadlines.due(self.now) {
            Some((_, Timer::Session(_))) => self.see("session deadline"),
            Some((_, Timer::Rebalance(_))) => self.see("rebalance deadline"),
            _ => {}
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Acts(client) => self.act(client),
            Event::Follows(client) => self.clients[client].follow(),
            Event::Arrives { client, attempt, command } => {
                self.requests += 1;
                let step = self.machine.handle(self.now, RequestId(self.requests), *command);
                self.take(client.map(|client| (client, attempt)), step)?;
            }
            Event::Answered { client, attempt, answer } => {
                let waits = self.clients[client].waits && self.clients[client].attempt == attempt;
                if waits {
                    if let Some(answer) = &answer {
                        self.see(answer.error.name().unwrap_or("?"));
                    }
                    self.clients[client].hears(answer.as_ref());
                    let after = self.random.between(10, 3_000);
                    self.schedule(after, Event::Follows(client));
                }
            }
            Event::Found(found) => {
                let step = self.machine.take_found(self.now, &found);
                if step.records.is_empty() {
                    self.see("a search that found nothing new");
                }
                self.take(None, step)?;
            }
            Event::Stranger => self.stranger(),
            Event::TopicsChange => self.change_topics(),
            Event::Flush => {
                self.flushes = false;
                self.durable = self.log.len();
                for (client, attempt, answer) in std::mem::take(&mut self.held_back) {
                    if !(self.storms() && self.random.permille(60)) {
                        let after = self.random.between(1, 50);
                        self.schedule(after, Event::Answered { client, attempt, answer: Some(answer) });
                    }
                }
            }
            Event::Crash => {
                if self.storms() {
                    self.crash()?;
                    let after = self.random.between(5_000, 90_000);
                    self.schedule(after, Event::Crash);
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, index: usize) {
        let storms = self.storms();
        let random = &mut self.random;
        let client = &mut self.clients[index];
        let mut pause = random.between(500, 4_000);
        if storms && !client.waits {
            match random.below(1000) {
                0..=14 => client.begin_anew(true),
                15..=24 => client.begin_anew(false),
                25..=39 => client.wish(random),
                40..=59 if client.epoch > 0 => client.leaves = Some(-1),
                60..=79 if client.epoch > 0 && client.instance.is_some() => client.leaves = Some(-2),
                // It falls silent for a while.
                80..=94 => pause = 60_000,
                _ => {}
            }
        }
        if !client.waits {
            let says = client.says(random);
            let leaves = client.leaves.is_some();
            client.attempt += 1;
            client.waits = true;
            let attempt = client.attempt;
            if leaves {
                // It does not wait to be answered.
                client.waits = false;
                client.begin_anew(true);
                pause = random.between(100, 30_000);
            }
            self.send(index, attempt, Command::ConsumerHeartbeat(says));
        }
        self.schedule(pause, Event::Acts(index));
    }

    fn send(&mut self, index: usize, attempt: u64, command: Command) {
        let command = Box::new(command);
        let storms = self.storms();
        // It asks again when it hears nothing for this long.
        self.schedule(6_000, Event::Answered { client: index, attempt, answer: None });
        if storms && self.random.permille(60) {
            return;
        }
        let client = Some(index);
        let late = storms && self.weather == Weather::AnyOrder;
        let after = match late && self.random.permille(100) {
            true => self.random.between(1, 40_000),
            false => self.random.between(1, 100),
        };
        if late && self.random.permille(80) {
            let again = self.random.between(1, 60_000);
            self.schedule(again, Event::Arrives { client, attempt, command: command.clone() });
        }
        self.schedule(after, Event::Arrives { client, attempt, command });
    }

    /// Somebody of the classic protocol, who keeps to no rules.
    fn stranger(&mut self) {
        if !self.storms() {
            return;
        }
        let members: Vec<Str> =
            self.group().map(|group| group.members.keys().cloned().collect()).unwrap_or_default();
        let known = match members.is_empty() || self.random.permille(300) {
            true => Str::default(),
            false => self.random.pick(&members).clone(),
        };
        let epoch = self.group().map_or(0, |group| group.current(&known).epoch);
        let instance_id = self.random.permille(200).then(|| Str::from(*self.random.pick(&["i0", "i1"])));
        let group = Str::from(GROUP);
        let command = match self.random.below(10) {
            0..=4 => Command::Join(self.strangers_join(known, instance_id)),
            5 | 6 => Command::Sync(Sync {
                group,
                generation: epoch,
                member_id: known,
                instance_id,
                protocol_type: None,
                protocol_name: None,
                assignments: Vec::new(),
            }),
            7 | 8 => {
                Command::Heartbeat(Heartbeat { group, generation: epoch, member_id: known, instance_id })
            }
            _ => {
                let members = vec![LeavingMember { member_id: known, instance_id }];
                Command::Leave(Leave { group, members })
            }
        };
        self.schedule(1, Event::Arrives { client: None, attempt: 0, command: Box::new(command) });
        let after = self.random.between(500, 20_000);
        self.schedule(after, Event::Stranger);
    }

    fn strangers_join(&mut self, member_id: Str, instance_id: Option<Str>) -> Join {
        let topics = vec!["t0".into(), "u".into()];
        let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
        let metadata = match self.random.permille(100) {
            true => Bytes::from_static(b"nonsense"),
            false => subscription.to_bytes().unwrap_or_default(),
        };
        Join {
            version: *self.random.pick(&[3, 9]),
            group: GROUP.into(),
            member_id,
            instance_id,
            client_id: "stranger".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), metadata)],
            fresh: Uuid::from_u128(u128::from(self.random.next())),
        }
    }

    fn change_topics(&mut self) {
        if !self.storms() {
            return;
        }
        let mut topics = self.topics.0.clone();
        let name = (*self.random.pick(&["t0", "t1", "t2", "u"])).to_owned();
        match topics.get(&name).copied() {
            None => _ = topics.insert(name, 1 + self.random.below(6) as i32),
            Some(count) if self.random.permille(700) => _ = topics.insert(name, count + 1),
            Some(_) => _ = topics.remove(&name),
        }
        self.topics = Arc::new(SomeTopics(topics));
        if self.planted != Planted::ForgottenTopics || self.steps < self.plant_at {
            self.machine.see_topics(self.topics.clone());
        }
        self.change_times();
        let after = self.random.between(1_000, 40_000);
        self.schedule(after, Event::TopicsChange);
    }

    /// The group gets other times of its own, or goes back to everybody's.
    fn change_times(&mut self) {
        let times = |session_timeout_ms, assignment_interval_ms| ConsumerTimes {
            session_timeout_ms,
            assignment_interval_ms,
            ..ConsumerTimes::default()
        };
        let mut all = GroupTimes { default: times(20_000, 0), own: BTreeMap::new() };
        if self.random.permille(500) {
            let own = times(*self.random.pick(&[16_000, 30_000]), *self.random.pick(&[0, 1_000, 8_000]));
            all.own.insert(GROUP.to_owned(), own);
        }
        self.times = Arc::new(all);
        self.machine.see_times(self.times.clone());
    }

    /// Takes in a step as the driver does.
    fn take(&mut self, asked: Option<(usize, u64)>, step: Step<Record, Reply>) -> Result<(), Violation> {
        self.finished.trace.add(&(self.now, &step));
        let plant = self.steps >= self.plant_at;
        self.recorded += u32::from(!step.records.is_empty());
        for record in &step.records {
            if let Record::Consumer { record: ConsumerRecord::Current { value: Some(current), .. }, .. } =
                record
            {
                self.see(format!("{:?}", current.state));
            }
            if plant && self.planted == Planted::LostRecord && self.random.permille(100) {
                self.machine.apply(record);
                continue;
            }
            let mut record = record.clone();
            if plant {
                self.plant_in(&mut record);
            }
            self.machine.apply(&record);
            self.log.push(record.encode().map_err(|error| error.to_string())?);
        }
        if plant && self.planted == Planted::ForgottenSession {
            let session = self
                .machine
                .waiting
                .deadlines
                .keys()
                .find(|(_, timer)| matches!(timer, Timer::Session(_)))
                .cloned();
            session.into_iter().for_each(|key| self.machine.waiting.deadlines.cancel(&key));
        }
        for (_, reply) in step.replies {
            if let (Reply::ConsumerHeartbeat(answer), Some((client, attempt))) = (reply, asked) {
                self.held_back.push((client, attempt, answer));
            }
        }
        if !self.flushes && (self.log.len() > self.durable || !self.held_back.is_empty()) {
            self.flushes = true;
            let after = self.random.between(1, 30);
            self.schedule(after, Event::Flush);
        }
        self.search();
        let is_consumer = self.group().is_some();
        let is_classic = self.machine.waiting.live.contains_key(GROUP);
        if self.was_consumer && is_classic {
            self.see("became classic");
        } else if !self.was_consumer && is_consumer {
            self.see("became a consumer group");
        }
        self.was_consumer = is_consumer;
        Ok(())
    }

    /// Runs the searches that were asked for; what they find comes some time later.
    fn search(&mut self) {
        for search in self.machine.take_searches() {
            if self.group().is_some_and(|group| !group.regexes.is_empty()) {
                self.see("a search for known patterns");
            }
            if self.planted == Planted::LostSearch && self.steps >= self.plant_at {
                continue;
            }
            let after = self.random.between(1, 3_000);
            self.schedule(after, Event::Found(Box::new(search.run())));
        }
    }

    fn plant_in(&mut self, record: &mut Record) {
        let topics = self.topics.clone();
        let Record::Consumer { record: ConsumerRecord::Current { value: Some(current), .. }, .. } = record
        else {
            return;
        };
        match self.planted {
            Planted::GivenTwice => {
                for (name, count) in &topics.0 {
                    current.assigned.extend((0..*count).map(|partition| (topic_id(name), partition)));
                }
                current.revoking = crate::groups::consumer::Partitions::new();
                let epoch = current.epoch.max(0);
                current.since = current.assigned.iter().map(|partition| (partition, epoch)).collect();
            }
            Planted::EarlyRelease if current.state == MemberState::Unrevoked => {
                current.state = MemberState::Unreleased;
                *current = current.clone().without_revoking();
            }
            _ => {}
        }
    }

    /// What was not durable is lost, with its answers; the machine is loaded from what was.
    fn crash(&mut self) -> Result<(), Violation> {
        if self.log.len() > self.durable {
            self.see("crash that lost records");
        }
        self.log.truncate(self.durable);
        self.durable = self.log.len();
        self.held_back.clear();
        // Where the machine alone was dropped, its searches come back to the next one.
        if self.random.permille(500) {
            self.events.retain(|_, event| !matches!(event, Event::Found(_)));
        } else if self.events.values().any(|event| matches!(event, Event::Found(_))) {
            self.see("a search of the machine before");
        }
        self.machine = self.replayed()?;
        self.machine.see_topics(self.topics.clone());
        self.machine.see_times(self.times.clone());
        self.epochs = Epochs::default();
        let step = self.machine.loaded(self.now);
        self.was_consumer = self.group().is_some();
        self.take(None, step)
    }

    fn replayed(&self) -> Result<GroupMachine, Violation> {
        let mut machine = GroupMachine::new(self.settings.clone());
        for KeyValue { key, value } in &self.log {
            let record =
                Record::decode(Some(key.clone()), value.clone(), None).map_err(|error| error.to_string())?;
            machine.apply(&record);
        }
        Ok(machine)
    }

    fn group(&self) -> Option<&ConsumerGroup> {
        self.machine.groups.get(GROUP)?.consumer.as_deref()
    }

    fn check(&mut self) -> Result<(), Violation> {
        invariants::check(&self.machine)?;
        self.epochs.check(&self.machine)?;
        if self.recorded >= 20 {
            self.recorded = 0;
            ensure!(
                self.replayed()?.groups == self.machine.groups,
                "a replay of the log says something else"
            );
        }
        if self.weather == Weather::InOrder {
            self.check_beliefs()?;
        }
        Ok(())
    }

    /// Members read nothing that the group does not know they may still hold.
    fn check_beliefs(&self) -> Result<(), Violation> {
        let Some(group) = self.group() else { return Ok(()) };
        for client in self.clients.iter().filter(|client| group.members.contains_key(&client.id)) {
            let current = group.current(&client.id);
            let may = |(topic, partition)| {
                current.assigned.contains(topic, partition) || current.revoking.contains(topic, partition)
            };
            ensure!(
                client.held.iter().all(may),
                "{} believes to hold {:?} and is known to hold {current:?}",
                client.id,
                client.held
            );
        }
        Ok(())
    }

    /// After a while without failures everybody is in, and everything they want is read by one of them.
    fn check_calm(&self) -> Result<(), Violation> {
        let group = self.group().ok_or("there is no group in the end")?;
        ensure!(group.state() == GroupState::Stable, "{:?} in the end", group.state());
        for client in &self.clients {
            let shares_instance = client.instance.is_some()
                && self.clients.iter().filter(|other| other.instance == client.instance).count() > 1;
            ensure!(
                shares_instance || group.members.contains_key(&client.id),
                "{} is not in the group in the end",
                client.id
            );
        }
        let wanted = |name: &String| group.is_subscribed_to(&Str::from(name));
        for (name, count) in self.topics.0.iter().filter(|(name, _)| wanted(name)) {
            for partition in 0..*count {
                let holder = group.holder(topic_id(name), partition);
                ensure!(holder.is_some(), "{name} {partition} is not read in the end");
            }
        }
        for regex in group.members.values().filter_map(|member| member.topic_regex.as_ref()) {
            let found = group.regexes.get(regex).map(|resolved| &resolved.topics);
            let there = |name: &&Str| self.topics.0.contains_key(&***name);
            let found: Vec<&str> = found.into_iter().flatten().filter(there).map(|name| &**name).collect();
            let whole = regex::Regex::new(&format!("^({regex})$")).map_err(|error| error.to_string())?;
            let matching: Vec<&str> =
                self.topics.0.keys().map(String::as_str).filter(|name| whole.is_match(name)).collect();
            ensure!(found == matching, "pattern {regex} stands for {found:?} in the end, not {matching:?}");
        }
        Ok(())
    }
}
