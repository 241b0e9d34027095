//! What the offsets must be, told from commands and answers alone.

use std::collections::BTreeMap;

use crate::groups::durable::Groups;
use crate::groups::{Command, Reply};
use crate::{ErrorCode, Str};

/// Group, topic, partition.
pub(super) type Key = (Str, Str, i32);

/// Something that an answer has made true.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    Committed { key: Key, offset: i64 },
    Pending { producer: i64, key: Key, offset: i64 },
    Deleted(Key),
    GroupDeleted(Str),
    TopicForgotten(Str),
    Marker { producer: i64, commit: bool },
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Offsets {
    committed: BTreeMap<Key, i64>,
    pending: BTreeMap<i64, BTreeMap<Key, i64>>,
    order: Order,
}

/// Which commit came first. The machine counts records, this counts facts: never the same, and never compared.
#[derive(Debug, Clone, Default)]
struct Order {
    facts: u64,
    committed: BTreeMap<Key, u64>,
    pending: BTreeMap<(i64, Key), u64>,
}

impl PartialEq for Order {
    fn eq(&self, _: &Order) -> bool {
        true
    }
}

impl Offsets {
    pub(super) fn learn(&mut self, fact: &Fact) {
        self.order.facts += 1;
        let now = self.order.facts;
        match fact {
            Fact::Committed { key, offset } => {
                self.committed.insert(key.clone(), *offset);
                self.order.committed.insert(key.clone(), now);
            }
            Fact::Pending { producer, key, offset } => {
                self.pending.entry(*producer).or_default().insert(key.clone(), *offset);
                self.order.pending.insert((*producer, key.clone()), now);
            }
            Fact::Deleted(gone) => self.forget(|key| key == gone),
            Fact::GroupDeleted(group) => self.forget(|key| key.0 == *group),
            Fact::TopicForgotten(topic) => self.forget(|key| key.1 == *topic),
            Fact::Marker { producer, commit } => {
                for (key, offset) in self.pending.remove(producer).unwrap_or_default() {
                    let sent = self.order.pending.remove(&(*producer, key.clone()));
                    let last = self.committed.get(&key).and_then(|_| self.order.committed.get(&key).copied());
                    if *commit && sent > last {
                        self.committed.insert(key.clone(), offset);
                        self.order.committed.extend(sent.map(|sent| (key, sent)));
                    }
                }
            }
        }
    }

    fn forget(&mut self, gone: impl Fn(&Key) -> bool) {
        self.committed.retain(|key, _| !gone(key));
        for pending in self.pending.values_mut() {
            pending.retain(|key, _| !gone(key));
        }
        self.pending.retain(|_, pending| !pending.is_empty());
    }

    /// The same, as the machine has it.
    pub(super) fn of(groups: &Groups) -> Offsets {
        let mut offsets = Offsets::default();
        for (group, durable) in groups.iter() {
            for (topic, partitions) in &durable.offsets {
                for (partition, placed) in partitions {
                    offsets
                        .committed
                        .insert((group.clone(), topic.clone(), *partition), placed.stored.offset);
                }
            }
        }
        for (producer, pending) in groups.pending() {
            let pending = pending.iter().map(|(key, placed)| (key.clone(), placed.stored.offset)).collect();
            offsets.pending.insert(*producer, pending);
        }
        offsets
    }
}

/// What an answer says has become true.
pub(super) fn facts(command: &Command, reply: &Reply) -> Vec<Fact> {
    let mut facts = Vec::new();
    match (command, reply) {
        (Command::CommitOffsets(commit), Reply::Committed(_)) => {
            for (key, offset) in accepted(&commit.group, &commit.offsets, reply) {
                facts.push(Fact::Committed { key, offset });
            }
        }
        (Command::CommitTransactionalOffsets(commit), Reply::Committed(_)) => {
            for (key, offset) in accepted(&commit.group, &commit.offsets, reply) {
                facts.push(Fact::Pending { producer: commit.producer_id, key, offset });
            }
        }
        (Command::Delete(_), Reply::Deleted(answers)) => {
            for (group, error) in answers {
                if *error == ErrorCode::NONE {
                    facts.push(Fact::GroupDeleted(group.clone()));
                }
            }
        }
        (Command::DeleteOffsets(delete), Reply::OffsetsDeleted(deleted)) => {
            for (topic, answers) in &deleted.topics {
                for (partition, error) in answers {
                    if *error == ErrorCode::NONE {
                        facts.push(Fact::Deleted((delete.group.clone(), topic.clone(), *partition)));
                    }
                }
            }
        }
        (Command::ForgetTopic(forget), Reply::Forgotten) => {
            facts.push(Fact::TopicForgotten(forget.topic.clone()));
        }
        _ => {}
    }
    facts
}

fn accepted(group: &Str, offsets: &[crate::groups::TopicOffsets], reply: &Reply) -> Vec<(Key, i64)> {
    let Reply::Committed(committed) = reply else { return Vec::new() };
    let mut accepted = Vec::new();
    for (asked, (topic, answers)) in offsets.iter().zip(&committed.topics) {
        for (partition, (_, error)) in asked.partitions.iter().zip(answers) {
            if *error == ErrorCode::NONE {
                accepted.push(((group.clone(), topic.clone(), partition.partition), partition.offset));
            }
        }
    }
    accepted
}
