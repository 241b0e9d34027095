//! Histories made by chance: clients of every kind beside each other, against a broker that does everything right.

use std::collections::BTreeMap;

use crate::history::tests::model::Model;
use crate::history::{
    Action, Asked, History, Outcome, Partition, Polled, Process, Recorder, Sending, Start, Transaction,
    Value, check,
};
use crate::process::Chance;

/// Seeds of a run.
pub(super) const SEEDS: u64 = 600;
const STEPS: u64 = 300;

/// A client: what it does next, and what it waits for.
#[derive(Debug)]
enum Client {
    Plain { unknown: Option<Sending> },
    Transactional { open: Option<Transaction> },
    Reader { partitions: Vec<Partition>, at: BTreeMap<Partition, i64>, steady: bool },
    Member { partition: Partition },
    Copier(Copier),
}

/// A loop that copies records of `orders` to `output`.
#[derive(Debug, Default)]
struct Copier {
    at: Option<BTreeMap<Partition, i64>>,
    /// What it fetched, to be assigned.
    fetched: Option<BTreeMap<Partition, i64>>,
    transaction: Option<Transaction>,
    waiting: Vec<Sending>,
    staged: bool,
    /// It must not commit.
    spoilt: bool,
}

struct World {
    chance: Chance,
    recorder: Recorder,
    model: Model,
    values: u64,
    transactions: u64,
}

fn orders() -> Vec<Partition> {
    vec![Partition::new("orders", 0), Partition::new("orders", 1)]
}

fn output() -> Vec<Partition> {
    vec![Partition::new("output", 0), Partition::new("output", 1)]
}

fn latest() -> Partition {
    Partition::new("latest", 0)
}

/// The history of a seed.
pub(super) fn history(seed: u64) -> History {
    let mut world = World {
        chance: Chance::of(seed),
        recorder: Recorder::new(&["latest"]),
        model: Model::default(),
        values: 0,
        transactions: 0,
    };
    let all: Vec<Partition> = orders().into_iter().chain(output()).chain([latest()]).collect();
    let reader = |partitions, steady| Client::Reader { partitions, at: BTreeMap::new(), steady };
    let mut clients = [
        Client::Plain { unknown: None },
        Client::Plain { unknown: None },
        Client::Transactional { open: None },
        Client::Transactional { open: None },
        reader(all.clone(), true),
        reader(all.clone(), true),
        reader(orders(), false),
        Client::Member { partition: orders().remove(0) },
        Client::Copier(Copier::default()),
    ]
    .map(|client| (world.recorder.process(), client, None::<(Asked, Outcome)>));
    for _ in 0..STEPS {
        let next = world.chance.below(clients.len() as u64) as usize;
        let (process, client, waiting) = &mut clients[next];
        if let Some((asked, outcome)) = waiting.take() {
            world.recorder.answer(&asked, outcome);
            continue;
        }
        if let Some((asked, outcome)) = world.act(*process, client) {
            // Some answers come later than those of others.
            if world.chance.below(3) == 0 {
                *waiting = Some((asked, outcome));
            } else {
                world.recorder.answer(&asked, outcome);
            }
        }
        if world.chance.below(12) == 0 {
            world.model.compact(&latest(), &mut world.chance);
        }
    }
    // Everything is let end, and read to its end.
    for (_, client, waiting) in &mut clients {
        let lose = matches!(client, Client::Plain { .. } | Client::Transactional { .. });
        if let Some((asked, outcome)) = waiting.take()
            && !(lose && world.chance.below(2) == 0)
        {
            world.recorder.answer(&asked, outcome);
        }
    }
    world.model.time_out();
    for (process, client, _) in &mut clients {
        match client {
            Client::Reader { steady: true, .. } => {
                while let Some((asked, outcome)) = world.act(*process, client) {
                    world.recorder.answer(&asked, outcome);
                    let Client::Reader { partitions, at, .. } = client else {
                        unreachable!("it is a reader")
                    };
                    let end = |partition| world.model.last_stable(partition);
                    if partitions.iter().all(|partition| at.get(partition) == Some(&end(partition))) {
                        break;
                    }
                }
            }
            Client::Copier(_) => {
                let (asked, outcome) = world.fetch(*process).0;
                world.recorder.answer(&asked, outcome);
            }
            _ => {}
        }
    }
    world.recorder.history()
}

impl World {
    fn one_in(&mut self, number: u64) -> bool {
        self.chance.below(number) == 0
    }

    fn value(&mut self) -> Value {
        self.values += 1;
        Value(self.values)
    }

    fn begin(&mut self) -> Transaction {
        self.transactions += 1;
        Transaction(self.transactions)
    }

    fn act(&mut self, process: Process, client: &mut Client) -> Option<(Asked, Outcome)> {
        match client {
            Client::Plain { unknown } => Some(self.plain(process, unknown)),
            Client::Transactional { open } => Some(self.transactional(process, open)),
            Client::Reader { partitions, at, steady } => Some(self.reader(process, partitions, at, *steady)),
            Client::Member { partition } => Some(self.member(process, partition)),
            Client::Copier(copier) => self.copier(process, copier),
        }
    }

    fn record(&mut self, transaction: Option<Transaction>) -> Sending {
        let value = self.value();
        let (partition, key) = match self.chance.below(3) {
            0 => (latest(), Some(self.chance.below(4))),
            number => (orders().remove(number as usize - 1), None),
        };
        Sending { transaction, partition, key, value, copy_of: None }
    }

    fn send(&mut self, process: Process, sending: Sending) -> (Asked, Outcome) {
        let asked = self.recorder.ask(process, Action::Send(sending.clone()));
        let Sending { transaction, partition, key, value, .. } = sending;
        let outcome = match self.chance.below(16) {
            0 => Outcome::Failed,
            1 => Outcome::Unknown,
            2 => {
                self.model.append(&partition, key, value, transaction);
                Outcome::Unknown
            }
            _ => Outcome::Written(Some(self.model.append(&partition, key, value, transaction))),
        };
        (asked, outcome)
    }

    fn plain(&mut self, process: Process, unknown: &mut Option<Sending>) -> (Asked, Outcome) {
        let sending = match unknown.take() {
            Some(sending) if self.one_in(2) => sending,
            _ => self.record(None),
        };
        let (asked, outcome) = self.send(process, sending.clone());
        if outcome == Outcome::Unknown {
            *unknown = Some(sending);
        }
        (asked, outcome)
    }

    fn end(&mut self, process: Process, transaction: Transaction, commit: bool) -> (Asked, Outcome) {
        let action = if commit { Action::Commit(transaction) } else { Action::Abort(transaction) };
        let asked = self.recorder.ask(process, action);
        let (committed, outcome) = match self.chance.below(12) {
            0 => (false, Outcome::Failed),
            1 => (false, Outcome::Unknown),
            2 | 3 => (commit, Outcome::Unknown),
            _ => (commit, Outcome::Done),
        };
        self.model.end(transaction, committed);
        (asked, outcome)
    }

    fn transactional(&mut self, process: Process, open: &mut Option<Transaction>) -> (Asked, Outcome) {
        let transaction = match *open {
            Some(transaction) => transaction,
            None => self.begin(),
        };
        match self.chance.below(8) {
            0 if open.is_some() => {
                *open = None;
                self.end(process, transaction, false)
            }
            1 | 2 if open.is_some() => {
                *open = None;
                self.end(process, transaction, true)
            }
            _ => {
                *open = Some(transaction);
                let sending = self.record(Some(transaction));
                self.send(process, sending)
            }
        }
    }

    fn reader(
        &mut self,
        process: Process,
        partitions: &[Partition],
        at: &mut BTreeMap<Partition, i64>,
        steady: bool,
    ) -> (Asked, Outcome) {
        if at.is_empty() || (!steady && self.one_in(10)) {
            let mut given = Vec::new();
            for partition in partitions {
                let back = if steady { 0 } else { self.chance.below(4) as i64 };
                let (start, position) = match at.get(partition) {
                    Some(kept) if self.one_in(2) => (Start::Kept, *kept),
                    Some(kept) => (Start::At((kept - back).max(0)), (kept - back).max(0)),
                    None if steady => (Start::At(0), 0),
                    None => (Start::Anywhere, back.min(self.model.last_stable(partition))),
                };
                given.push((partition.clone(), start));
                at.insert(partition.clone(), position);
            }
            return (self.recorder.ask(process, Action::Assign(given)), Outcome::Done);
        }
        let asked = self.recorder.ask(process, Action::Poll(None));
        if self.one_in(10) {
            return (asked, Outcome::Failed);
        }
        let mut polled = Polled::default();
        for partition in partitions {
            let most = 1 + self.chance.below(6) as usize;
            self.model.read(partition, at.get_mut(partition).expect("assigned"), most, &mut polled);
        }
        if !steady && self.one_in(10) {
            return (asked, Outcome::Unknown);
        }
        (asked, Outcome::Polled(polled))
    }

    /// A member of a group reads where its group happens to be.
    fn member(&mut self, process: Process, partition: &Partition) -> (Asked, Outcome) {
        if self.one_in(6) {
            return (self.recorder.ask(process, Action::Subscribe), Outcome::Done);
        }
        let subscribed = self.recorder.ask(process, Action::Subscribe);
        self.recorder.answer(&subscribed, Outcome::Done);
        let asked = self.recorder.ask(process, Action::Poll(None));
        let mut position = self.chance.below(1 + self.model.last_stable(partition) as u64) as i64;
        let mut polled = Polled::default();
        self.model.read(partition, &mut position, 3, &mut polled);
        (asked, Outcome::Polled(polled))
    }

    fn fetch(&mut self, process: Process) -> ((Asked, Outcome), BTreeMap<Partition, i64>) {
        let asked = self.recorder.ask(process, Action::FetchOffsets { group: "copiers".into() });
        let fetched: Vec<_> =
            orders().into_iter().map(|partition| (self.model.offset(&partition), partition)).collect();
        let at = fetched.iter().map(|(offset, partition)| (partition.clone(), offset.unwrap_or(0))).collect();
        let fetched = fetched.into_iter().map(|(offset, partition)| (partition, offset)).collect();
        ((asked, Outcome::Fetched(fetched)), at)
    }

    fn copier(&mut self, process: Process, copier: &mut Copier) -> Option<(Asked, Outcome)> {
        if copier.at.is_none() {
            let Some(fetched) = copier.fetched.take() else {
                let (fetching, at) = self.fetch(process);
                copier.fetched = Some(at);
                return Some(fetching);
            };
            let given = fetched.iter().map(|(partition, at)| (partition.clone(), Start::At(*at))).collect();
            copier.at = Some(fetched);
            return Some((self.recorder.ask(process, Action::Assign(given)), Outcome::Done));
        }
        let at = copier.at.as_mut().expect("assigned");
        let Some(transaction) = copier.transaction else {
            let transaction = self.begin();
            let asked = self.recorder.ask(process, Action::Poll(Some(transaction)));
            let mut polled = Polled::default();
            for (partition, at) in at.iter_mut() {
                self.model.read(partition, at, 2, &mut polled);
            }
            if !polled.records.is_empty() {
                copier.transaction = Some(transaction);
            }
            for (place, _) in &polled.records {
                let number = place.partition.number;
                let value = Value(1_000_000 + number as u64 * 100_000 + place.offset as u64);
                let partition = output().remove(self.chance.below(2) as usize);
                let copy_of = Some(place.clone());
                let transaction = Some(transaction);
                copier.waiting.push(Sending { transaction, partition, key: None, value, copy_of });
            }
            return Some((asked, Outcome::Polled(polled)));
        };
        if let Some(sending) = copier.waiting.pop() {
            let (asked, outcome) = self.send(process, sending);
            copier.spoilt |= !matches!(outcome, Outcome::Written(_));
            return Some((asked, outcome));
        }
        if !copier.staged && !copier.spoilt {
            copier.staged = true;
            let offsets: Vec<(Partition, i64)> = at.clone().into_iter().collect();
            let (group, transaction_of_it) = ("copiers".into(), Some(transaction));
            let action =
                Action::CommitOffsets { group, transaction: transaction_of_it, offsets: offsets.clone() };
            let asked = self.recorder.ask(process, action);
            copier.spoilt = self.one_in(10);
            if !copier.spoilt || self.one_in(2) {
                self.model.stage(transaction, offsets);
            }
            let outcome = if copier.spoilt { Outcome::Unknown } else { Outcome::Done };
            return Some((asked, outcome));
        }
        let commit = !copier.spoilt && !self.one_in(6);
        let (asked, outcome) = self.end(process, transaction, commit);
        let goes_on = commit && outcome == Outcome::Done;
        *copier = Copier { at: copier.at.take().filter(|_| goes_on), ..Copier::default() };
        Some((asked, outcome))
    }
}

#[test]
fn what_a_correct_broker_does_is_clean() {
    for seed in 0..SEEDS {
        let found = check(&history(seed));
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
