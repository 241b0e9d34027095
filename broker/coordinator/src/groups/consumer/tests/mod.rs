//! One file of tests per matter, and what they share.

mod join;
mod manage;
mod migrate;
mod offsets;
mod patterns;
mod revoke;
mod statics;
mod subscribe;
mod timeouts;
mod times;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::groups::topics::{TopicInfo, TopicView};
use crate::groups::{Command, GroupMachine, GroupState, Reply, Settings};
use crate::testing::Driven;
use crate::{ErrorCode, Str};

/// The driver's loop with the words of these tests.
pub(super) struct Broker(Driven<GroupMachine>);

impl Deref for Broker {
    type Target = Driven<GroupMachine>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Broker {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

pub(super) const SESSION: i64 = 45_000;
pub(super) const REBALANCE: i64 = 60_000;

/// Topics by name with their numbers of partitions; a topic's id is made of its name.
#[derive(Debug, Clone, Default)]
pub(in crate::groups::consumer) struct SomeTopics(pub(in crate::groups::consumer) BTreeMap<String, i32>);

pub(in crate::groups::consumer) fn some_topics(topics: &[(&str, i32)]) -> Arc<SomeTopics> {
    Arc::new(SomeTopics(topics.iter().map(|(name, partitions)| ((*name).to_owned(), *partitions)).collect()))
}

pub(in crate::groups::consumer) fn topic_id(name: &str) -> Uuid {
    let mut bytes = [7; 16];
    for (at, byte) in name.bytes().take(16).enumerate() {
        bytes[at] = byte;
    }
    Uuid::from_bytes(bytes)
}

impl TopicView for SomeTopics {
    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.0.get(name).map(|partitions| TopicInfo { id: topic_id(name), partitions: *partitions })
    }

    fn name(&self, id: Uuid) -> Option<Str> {
        self.0.keys().find(|name| topic_id(name) == id).map(Str::from)
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.0.keys().map(String::as_str))
    }
}

/// A machine that knows topic `t` with four partitions and `u` with two.
pub(super) fn broker() -> Broker {
    with(Settings::default())
}

pub(super) fn with(settings: Settings) -> Broker {
    let mut broker = Broker(Driven::new(GroupMachine::new(settings)));
    broker.machine.see_topics(some_topics(&[("t", 4), ("u", 2)]));
    broker
}

/// The first heartbeat of a member of group `g` that reads topic `t`.
pub(super) fn joins(member_id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        version: 1,
        group: "g".into(),
        member_id: member_id.into(),
        member_epoch: 0,
        instance_id: None,
        rack_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: REBALANCE as i32,
        topic_names: Some(vec!["t".into()]),
        topic_regex: None,
        assignor: None,
        owned: Some(Partitions::new()),
        fresh: Uuid::nil(),
    }
}

/// A later heartbeat of a member that holds this.
pub(super) fn beats(member_id: &str, epoch: i32, owned: &Partitions) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        topic_names: None,
        owned: Some(owned.clone()),
        ..joins(member_id)
    }
}

/// The first heartbeat of a member of group `g` that reads by a pattern.
pub(super) fn regex_joins(member_id: &str, regex: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { topic_names: None, topic_regex: Some(regex.into()), ..joins(member_id) }
}

/// Every partition of these topics.
pub(super) fn everything(topics: &[(&str, i32)]) -> Partitions {
    let of = |(name, partitions): &(&str, i32)| {
        let id = topic_id(name);
        (0..*partitions).map(move |partition| (id, partition))
    };
    topics.iter().flat_map(of).collect()
}

/// Partitions of topic `t`.
pub(super) fn t(partitions: &[i32]) -> Partitions {
    partitions.iter().map(|partition| (topic_id("t"), *partition)).collect()
}

impl Broker {
    pub(super) fn beat(&mut self, beat: ConsumerHeartbeat) -> ConsumerBeat {
        match self.ask(Command::ConsumerHeartbeat(beat)) {
            Reply::ConsumerHeartbeat(answer) => answer,
            other => panic!("not a heartbeat's answer: {other:?}"),
        }
    }

    /// Runs the searches that were asked for; how many that were.
    pub(super) fn search(&mut self) -> usize {
        let searches = self.machine.take_searches();
        let count = searches.len();
        for search in searches {
            self.find(search);
        }
        count
    }

    /// The driver comes back from a search.
    pub(super) fn find(&mut self, search: RegexSearch) {
        let (now, found) = (self.now, search.run());
        let step = self.machine.take_found(now, &found);
        self.take(step);
    }

    pub(super) fn refusal(&mut self, beat: ConsumerHeartbeat) -> ErrorCode {
        let answer = self.beat(beat);
        assert_eq!(answer.message.is_some(), answer.error != ErrorCode::NONE);
        answer.error
    }

    pub(super) fn describe(&mut self) -> ConsumerDescription {
        let describe = ConsumerDescribe { groups: vec!["g".into()] };
        match self.ask(Command::ConsumerDescribe(describe)) {
            Reply::ConsumerDescribed(mut described) => described.remove(0),
            other => panic!("not a description: {other:?}"),
        }
    }

    pub(super) fn state(&mut self) -> GroupState {
        self.describe().state
    }

    /// Group `g` gets these times of its own.
    pub(super) fn own_times(&mut self, times: ConsumerTimes) {
        let own = BTreeMap::from([("g".to_owned(), times)]);
        self.machine.see_times(Arc::new(GroupTimes { own, ..GroupTimes::default() }));
    }

    /// A new machine with the same log and the same topics.
    pub(super) fn restart(&mut self, topics: &[(&str, i32)]) {
        let before = self.machine.groups.clone();
        let mut machine = GroupMachine::new(self.machine.settings.clone());
        machine.see_topics(some_topics(topics));
        self.reload(machine);
        assert_eq!(self.machine.groups, before, "the log says what was true");
    }

    /// Two members, `a` and `b`, that share `t`; their epochs are 2.
    pub(super) fn two_members(&mut self) {
        let first = self.beat(joins("a"));
        assert_eq!(first.assignment, Some(t(&[0, 1, 2, 3])));
        assert_eq!(self.beat(joins("b")).assignment, Some(t(&[])));
        let told = self.beat(beats("a", 1, &t(&[0, 1, 2, 3]))).assignment.unwrap();
        assert_eq!(self.beat(beats("a", 1, &told)).member_epoch, 2);
        let got = self.beat(beats("b", 2, &t(&[]))).assignment.unwrap();
        assert_eq!((told.len(), got.len()), (2, 2));
        assert_eq!(self.state(), GroupState::Stable);
    }
}
