//! The broker, the network and the producers around one machine.

use std::collections::BTreeMap;

use super::ledger::{Ledger, Violation, ensure};
use super::producer::{Producer, TIMEOUT_MS};
use crate::random::{Random, Trace};
use crate::transactions::{
    Command, Record, Reply, Settings, TopicPartition, Transaction, TransactionMachine, TransactionState,
};
use crate::{ErrorCode, KeyValue, Machine, RequestId, Step};

const STORM_MS: i64 = 90_000;
const CALM_MS: i64 = 60_000;

/// A bug put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    LostMarker,
    RepeatedMarker,
    WrongOutcome,
    MarkerWithOldEpoch,
    LostReply,
    UnrecordedChange,
    EpochNotBumped,
    ZombieLetIn,
    FalseCommit,
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
    records: Vec<Record>,
    bytes: Vec<KeyValue>,
    told: Vec<(Origin, Reply)>,
}

/// Who asked, and what.
#[derive(Debug, Clone)]
struct Origin {
    producer: usize,
    attempt: u64,
    command: Command,
}

#[derive(Debug)]
enum Event {
    Arrives(Origin),
    Answered { producer: usize, attempt: u64, reply: Option<Reply> },
    Acts(usize),
    Flush,
    Crash,
}

pub(super) struct Run {
    random: Random,
    planted: Planted,
    plant_at: u64,
    steps: u64,
    now: i64,
    storm_ends: i64,
    machine: TransactionMachine,
    frames: Vec<Frame>,
    durable: usize,
    ledger: Ledger,
    requests: u64,
    fresh_producer_id: i64,
    events: BTreeMap<(i64, u64), Event>,
    scheduled: u64,
    producers: Vec<Producer>,
    finished: Finished,
}

impl Run {
    pub(super) fn of(seed: u64) -> Run {
        Run::with(seed, Planted::Nothing)
    }

    pub(super) fn with(seed: u64, planted: Planted) -> Run {
        let mut random = Random::new(seed);
        let producers: Vec<Producer> = (0..2 + random.below(3)).map(|_| Producer::new(&mut random)).collect();
        let now = 1_000_000;
        let mut run = Run {
            plant_at: random.below(100),
            planted,
            steps: 0,
            now,
            storm_ends: now + STORM_MS,
            machine: TransactionMachine::new(Settings::default()),
            frames: Vec::new(),
            durable: 0,
            ledger: Ledger::default(),
            requests: 0,
            fresh_producer_id: 100,
            events: BTreeMap::new(),
            scheduled: 0,
            finished: Finished { trace: Trace::new(), seen: BTreeMap::new() },
            producers,
            random,
        };
        for index in 0..run.producers.len() {
            let at = run.random.between(0, 1_000);
            run.schedule(at, Event::Acts(index));
        }
        let crash = run.random.between(5_000, 40_000);
        run.schedule(crash, Event::Crash);
        run
    }

    /// Runs to the end, or to the first violation.
    pub(super) fn finish(mut self) -> Result<Finished, Violation> {
        self.import()?;
        let until = self.storm_ends + CALM_MS;
        loop {
            let event = self.events.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            let deadline = self.machine.next_deadline().unwrap_or(i64::MAX);
            let next = event.min(deadline.max(self.now));
            if next > until {
                break;
            }
            self.now = next;
            if deadline <= next {
                self.saw("timed out");
                let step = self.machine.on_deadline(self.now);
                self.take(step, None)?;
            } else if let Some((_, event)) = self.events.pop_first() {
                self.ledger.check_in_time(self.now)?;
                self.happen(event)?;
            }
        }
        self.check_replay()?;
        self.ledger.check_nothing_hangs()?;
        let Ledger { seen, .. } = self.ledger;
        for (what, times) in seen {
            *self.finished.seen.entry(what).or_insert(0) += times;
        }
        Ok(self.finished)
    }

    /// Some logs begin with what another coordinator left: epochs near their end, transactions half ended.
    fn import(&mut self) -> Result<(), Violation> {
        if self.random.permille(500) {
            return Ok(());
        }
        let state = *self.random.pick(&[
            TransactionState::Empty,
            TransactionState::Ongoing,
            TransactionState::PrepareCommit,
            TransactionState::PrepareAbort,
            TransactionState::CompleteCommit,
        ]);
        let open = state == TransactionState::Ongoing || state.is_ending();
        if state.is_ending() {
            self.saw("imported half-ended transaction");
        }
        let producer_epoch = i16::MAX - 1 - self.random.below(8) as i16;
        let partition = |partition| TopicPartition { topic: "t".into(), partition };
        let value = Transaction {
            producer_id: 50,
            previous_producer_id: -1,
            next_producer_id: if producer_epoch == i16::MAX - 1 && state.is_ending() { 51 } else { -1 },
            producer_epoch,
            next_producer_epoch: -1,
            timeout_ms: TIMEOUT_MS,
            state,
            partitions: if open { [partition(0), partition(3)].into() } else { Default::default() },
            started: if open { self.now } else { -1 },
            updated: self.now,
            client_version: 2,
        };
        let record = Record::State { transactional_id: "x".into(), value: Some(value) };
        self.take(Step { records: vec![record], replies: Vec::new() }, None)?;
        self.durable = self.frames.len();
        self.reload()
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Arrives(origin) => return self.arrives(origin),
            Event::Answered { producer, attempt, reply: Some(reply) } => {
                self.producers[producer].hear(attempt, &reply);
            }
            Event::Answered { producer, .. } => self.producers[producer].lose_connection(),
            Event::Acts(producer) => self.act(producer),
            Event::Flush => self.flush(),
            Event::Crash => return self.crash(),
        }
        Ok(())
    }

    fn is_calm(&self) -> bool {
        self.now >= self.storm_ends
    }

    /// In the calm producers only finish what they have asked.
    fn act(&mut self, producer: usize) {
        let calm = self.is_calm();
        if calm && self.producers[producer].is_heard() {
            return;
        }
        if let Some((attempt, command)) = self.producers[producer].act(self.now, &mut self.random) {
            let (mut copies, mut latest) = (1, 40);
            if !calm {
                match self.random.below(100) {
                    0..=2 => copies = 0,
                    3..=9 => (copies, latest) = (2, 8_000),
                    10..=11 => latest = 8_000,
                    _ => {}
                }
            }
            for _ in 0..copies {
                let delay = self.random.between(1, latest);
                self.schedule(delay, Event::Arrives(Origin { producer, attempt, command: command.clone() }));
            }
        }
        let silent = !calm && self.random.permille(20);
        let pause = if silent { self.random.between(5_000, 25_000) } else { self.random.between(20, 600) };
        self.schedule(pause, Event::Acts(producer));
    }

    fn arrives(&mut self, mut origin: Origin) -> Result<(), Violation> {
        self.fresh_producer_id += 1;
        match &mut origin.command {
            Command::InitProducer(init) => init.fresh_producer_id = self.fresh_producer_id,
            Command::EndTransaction(end) => end.fresh_producer_id = self.fresh_producer_id,
            _ => {}
        }
        self.requests += 1;
        let step = self.machine.handle(self.now, RequestId(self.requests), origin.command.clone());
        self.take(step, Some(origin))
    }

    /// The driver's part: sequence, apply, keep the reply until the frame is durable.
    fn take(&mut self, step: Step<Record, Reply>, origin: Option<Origin>) -> Result<(), Violation> {
        self.steps += 1;
        self.finished.trace.add(&(self.now, &step));
        if !step.records.is_empty() && origin.is_some() && !self.is_calm() && self.random.permille(10) {
            self.saw("rejected frame");
            return self.reload();
        }
        let step = self.plant(step);
        let mut frame = Frame::default();
        for record in &step.records {
            self.machine.apply(record);
            let bytes = record.encode(2).map_err(|error| format!("{error}: {record:?}"))?;
            let Some(bytes) = bytes else { continue };
            let back = Record::decode(Some(bytes.key.clone()), bytes.value.clone());
            ensure!(back.as_ref() == Ok(record), "{record:?} comes back as {back:?}");
            frame.bytes.push(bytes);
        }
        self.ledger.record(&step.records)?;
        let answered = step.replies.iter().map(|(request, _)| *request);
        let expected = origin.as_ref().map(|_| RequestId(self.requests));
        ensure!(answered.eq(expected), "answered {:?}, asked {expected:?}", step.replies);
        if let (Some(origin), Some((_, reply))) = (origin, step.replies.into_iter().next()) {
            self.count(&reply);
            self.ledger.answer(&origin.command, &reply, !step.records.is_empty())?;
            frame.told.push((origin, reply));
        }
        frame.records = step.records;
        if self.durable == self.frames.len() {
            let stalls = !self.is_calm() && self.random.permille(50);
            let delay = if stalls { self.random.between(300, 3_000) } else { self.random.between(1, 30) };
            self.schedule(delay, Event::Flush);
        }
        self.frames.push(frame);
        if self.steps.is_multiple_of(64) { self.check_replay() } else { Ok(()) }
    }

    /// Everything sequenced so far is durable: its answers go out.
    fn flush(&mut self) {
        let answers: Vec<(Origin, Reply)> =
            self.frames[self.durable..].iter().flat_map(|frame| frame.told.iter().cloned()).collect();
        self.durable = self.frames.len();
        for (Origin { producer, attempt, .. }, reply) in answers {
            if self.is_calm() || !self.random.permille(30) {
                let delay = self.random.between(1, 40);
                self.schedule(delay, Event::Answered { producer, attempt, reply: Some(reply) });
            }
        }
    }

    /// What was not durable is gone, and so is everything in memory.
    fn crash(&mut self) -> Result<(), Violation> {
        if self.is_calm() {
            return Ok(());
        }
        let lost: Vec<Frame> = self.frames.drain(self.durable..).collect();
        if lost.iter().any(|frame| !frame.records.is_empty()) {
            self.saw("crash that lost frames");
        }
        for (Origin { producer, attempt, .. }, _) in lost.into_iter().flat_map(|frame| frame.told) {
            self.schedule(1, Event::Answered { producer, attempt, reply: None });
        }
        // The ledger knows only what is left.
        self.ledger = Ledger::default();
        for frame in &self.frames {
            self.ledger.record(&frame.records)?;
            for (origin, reply) in &frame.told {
                self.ledger.answer(&origin.command, reply, !frame.records.is_empty())?;
            }
        }
        let next = self.random.between(5_000, 40_000);
        self.schedule(next, Event::Crash);
        self.reload()
    }

    /// Throws the machine away and builds another from the log's bytes.
    fn reload(&mut self) -> Result<(), Violation> {
        self.machine = self.replayed()?;
        let step = self.machine.loaded(self.now);
        ensure!(step.is_nothing(), "loading did something: {step:?}");
        Ok(())
    }

    fn replayed(&self) -> Result<TransactionMachine, Violation> {
        let mut machine = TransactionMachine::new(Settings::default());
        for KeyValue { key, value } in self.frames.iter().flat_map(|frame| &frame.bytes) {
            let record =
                Record::decode(Some(key.clone()), value.clone()).map_err(|error| error.to_string())?;
            machine.apply(&record);
        }
        Ok(machine)
    }

    fn check_replay(&self) -> Result<(), Violation> {
        let same = self.replayed()?.transactions == self.machine.transactions;
        ensure!(same, "replay gives another durable state");
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
        if self.planted == Planted::Nothing {
            return step;
        }
        if step.replies.len() == 1 && self.is_due(Planted::LostReply) {
            step.replies.clear();
        }
        if self.is_due(Planted::UnrecordedChange) {
            let value = Transaction { producer_id: 7, ..empty(self.now) };
            let id = "unrecorded".into();
            self.machine.apply(&Record::State { transactional_id: id, value: Some(value) });
        }
        self.plant_in_markers(&mut step);
        if let Some(Record::State { value: Some(value), .. }) = step.records.first_mut()
            && value.state == TransactionState::Empty
            && value.producer_epoch > 0
            && self.is_due(Planted::EpochNotBumped)
        {
            value.producer_epoch -= 1;
        }
        match step.replies.first_mut() {
            Some((_, Reply::OffsetsAdded(error)))
                if *error == ErrorCode::PRODUCER_FENCED && self.is_due(Planted::ZombieLetIn) =>
            {
                *error = ErrorCode::NONE;
            }
            Some((_, Reply::Ended(grant))) if step.records.len() > 1 => {
                let Some(Record::State { value: Some(value), .. }) = step.records.first_mut() else {
                    return step;
                };
                let commits = value.state == TransactionState::CompleteCommit && value.client_version == 2;
                if grant.error == ErrorCode::NONE && commits && self.is_due(Planted::FalseCommit) {
                    value.state = TransactionState::CompleteAbort;
                    for record in &mut step.records {
                        if let Record::Marker(marker) = record {
                            marker.commit = false;
                        }
                    }
                }
            }
            _ => {}
        }
        step
    }

    fn plant_in_markers(&mut self, step: &mut Step<Record, Reply>) {
        let Some(Record::Marker(marker)) = step.records.last().cloned() else { return };
        if self.is_due(Planted::LostMarker) {
            step.records.pop();
        }
        if self.is_due(Planted::RepeatedMarker) {
            step.records.push(Record::Marker(marker.clone()));
        }
        let mut changed = marker.clone();
        if self.is_due(Planted::WrongOutcome) {
            changed.commit = !marker.commit;
        }
        if marker.transaction_v2 && self.is_due(Planted::MarkerWithOldEpoch) {
            changed.producer_epoch -= 1;
        }
        if changed != marker {
            step.records.pop();
            step.records.push(Record::Marker(changed));
        }
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
            Reply::Initialised(grant) => ("Init", grant.error),
            Reply::PartitionsAdded(answers) => ("Add", answers[0].1),
            Reply::OffsetsAdded(error) => ("AddOffsets", *error),
            Reply::Ended(grant) => ("End", grant.error),
            Reply::Described(_) | Reply::Listed(_) => return,
        };
        self.saw(&format!("{kind} {}", error.name().unwrap_or("?")));
    }
}

fn empty(now: i64) -> Transaction {
    Transaction {
        producer_id: -1,
        previous_producer_id: -1,
        next_producer_id: -1,
        producer_epoch: 0,
        next_producer_epoch: -1,
        timeout_ms: TIMEOUT_MS,
        state: TransactionState::Empty,
        partitions: Default::default(),
        started: -1,
        updated: now,
        client_version: 0,
    }
}
