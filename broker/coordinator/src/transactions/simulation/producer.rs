//! A transactional producer as a client library makes it, with the habits that hurt.

use crate::random::Random;
use crate::transactions::{
    AddMode, AddOffsets, AddPartitions, Command, EndTransaction, InitProducer, Reply, TopicPartition,
};
use crate::{ErrorCode, Str};

pub(super) const TIMEOUT_MS: i32 = 10_000;
/// How long a producer waits for an answer.
const PATIENCE_MS: i64 = 3_000;

#[derive(Debug, Clone)]
pub(super) struct Producer {
    transactional_id: Str,
    transaction_v2: bool,
    identity: Option<(i64, i16)>,
    in_transaction: bool,
    partitions: Vec<i32>,
    waits_for: Option<(u64, i64, Command)>,
    attempt: u64,
}

impl Producer {
    pub(super) fn new(random: &mut Random) -> Producer {
        Producer {
            transactional_id: Str::from(*random.pick(&["x", "x", "y"])),
            transaction_v2: random.permille(700),
            identity: None,
            in_transaction: false,
            partitions: Vec::new(),
            waits_for: None,
            attempt: 0,
        }
    }

    /// What it does next. The number tells the answer it will listen to from others.
    pub(super) fn act(&mut self, now: i64, random: &mut Random) -> Option<(u64, Command)> {
        if let Some((_, asked_at, command)) = &self.waits_for {
            if now - asked_at < PATIENCE_MS {
                return None;
            }
            // Not answered: it asks the same again, unless it loses heart.
            let again = command.clone();
            if random.permille(850) {
                return Some(self.ask(now, again));
            }
            self.identity = None;
        }
        let Some(identity) = self.identity.filter(|_| !random.permille(15)) else {
            self.in_transaction = false;
            let init = self.init(None);
            return Some(self.ask(now, init));
        };
        let command = match random.below(100) {
            0..=44 => self.add(identity, random),
            45..=54 => self.add_offsets(identity, random),
            55..=89 if self.in_transaction => self.end(identity, random.permille(650)),
            90..=92 if self.transaction_v2 => self.end(identity, random.permille(300)),
            93..=95 => self.init(Some(identity)),
            _ => return None,
        };
        Some(self.ask(now, command))
    }

    pub(super) fn hear(&mut self, attempt: u64, reply: &Reply) {
        let Some((_, _, command)) = self.waits_for.take_if(|(waits_for, _, _)| *waits_for == attempt) else {
            return;
        };
        let error = match reply {
            Reply::Initialised(grant) => {
                self.in_transaction = false;
                self.go_on_with(grant.error, grant.producer_id, grant.producer_epoch)
            }
            Reply::PartitionsAdded(answers) => answers[0].1,
            Reply::OffsetsAdded(error) => *error,
            Reply::Ended(grant) => {
                self.in_transaction = false;
                match self.transaction_v2 {
                    true => self.go_on_with(grant.error, grant.producer_id, grant.producer_epoch),
                    false => grant.error,
                }
            }
            Reply::Described(_) | Reply::Listed(_) => return,
        };
        match error {
            ErrorCode::NONE => {
                self.in_transaction |= matches!(command, Command::AddPartitions(_) | Command::AddOffsets(_));
            }
            ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::TRANSACTION_ABORTABLE => {}
            // Fenced, or worse: whoever runs it starts it again.
            _ => self.identity = None,
        }
    }

    pub(super) fn lose_connection(&mut self) {
        if let Some((_, asked_at, _)) = &mut self.waits_for {
            *asked_at = i64::MIN / 2;
        }
    }

    /// It stops for good.
    pub(super) fn is_heard(&self) -> bool {
        self.waits_for.is_none()
    }

    fn go_on_with(&mut self, error: ErrorCode, producer_id: i64, epoch: i16) -> ErrorCode {
        if error == ErrorCode::NONE {
            self.identity = Some((producer_id, epoch));
        }
        error
    }

    fn ask(&mut self, now: i64, command: Command) -> (u64, Command) {
        self.attempt += 1;
        self.waits_for = Some((self.attempt, now, command.clone()));
        (self.attempt, command)
    }

    fn init(&self, current: Option<(i64, i16)>) -> Command {
        Command::InitProducer(InitProducer {
            version: 5,
            transactional_id: self.transactional_id.clone(),
            timeout_ms: TIMEOUT_MS,
            current,
            fresh_producer_id: -1, // chosen where it arrives
        })
    }

    fn add(&mut self, (producer_id, producer_epoch): (i64, i16), random: &mut Random) -> Command {
        let partitions = (0..1 + random.below(2)).map(|_| random.below(4) as i32);
        self.partitions = partitions.collect();
        Command::AddPartitions(AddPartitions {
            version: 5,
            transactional_id: self.transactional_id.clone(),
            producer_id,
            producer_epoch,
            partitions: self
                .partitions
                .iter()
                .map(|partition| TopicPartition { topic: "t".into(), partition: *partition })
                .collect(),
            mode: self.mode(random),
        })
    }

    fn add_offsets(&self, (producer_id, producer_epoch): (i64, i16), random: &mut Random) -> Command {
        Command::AddOffsets(AddOffsets {
            version: 4,
            transactional_id: self.transactional_id.clone(),
            producer_id,
            producer_epoch,
            offsets: TopicPartition { topic: "__consumer_offsets".into(), partition: 7 },
            mode: self.mode(random),
        })
    }

    fn mode(&self, random: &mut Random) -> AddMode {
        match self.transaction_v2 {
            _ if random.permille(50) => AddMode::Verify,
            true => AddMode::Implicit,
            false => AddMode::Explicit,
        }
    }

    fn end(&self, (producer_id, producer_epoch): (i64, i16), commit: bool) -> Command {
        Command::EndTransaction(EndTransaction {
            version: if self.transaction_v2 { 5 } else { 4 },
            transactional_id: self.transactional_id.clone(),
            producer_id,
            producer_epoch,
            commit,
            fresh_producer_id: -1, // chosen where it arrives
        })
    }
}
