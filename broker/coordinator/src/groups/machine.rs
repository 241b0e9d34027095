//! The machine: hands each command to its file, and deadlines to what waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::command::Command;
use super::consumer::{GroupTimes, RegexSearch, RegexesFound};
use super::durable::Groups;
use super::live::Live;
use super::record::Record;
use super::reply::Reply;
use super::settings::Settings;
use super::topics::{NoTopics, TopicView};
use super::turn::Turn;
use super::waiting::{Timer, Waiting};
use crate::{Machine, RequestId, Step, Str};

/// The consumer groups of one partition of `__consumer_offsets`, and their offsets.
#[derive(Debug, Clone)]
pub struct GroupMachine {
    pub(super) settings: Settings,
    pub(super) groups: Groups,
    pub(super) waiting: Waiting,
    /// The topics there are, and how often that has changed.
    topics: Arc<dyn TopicView>,
    topics_version: i64,
    times: Arc<GroupTimes>,
}

impl GroupMachine {
    /// A machine that has seen no records.
    pub fn new(settings: Settings) -> GroupMachine {
        GroupMachine {
            settings,
            groups: Groups::default(),
            waiting: Waiting::new(),
            topics: Arc::new(NoTopics),
            topics_version: 0,
            times: Arc::default(),
        }
    }

    /// Takes in the marker that ends a producer's transaction in this partition: its pending offsets
    /// become the groups' offsets, or are dropped. Where something committed lies behind it in the log, that one
    /// stays. Like [`Machine::apply`], the order is the log's.
    pub fn apply_marker(&mut self, producer_id: i64, _producer_epoch: i16, commit: bool) {
        self.groups.apply_marker(producer_id, commit);
    }

    /// Tells the machine which topics there are from now on. Consumer groups follow with the next heartbeat
    /// of one of their members.
    pub fn see_topics(&mut self, topics: Arc<dyn TopicView>) {
        if !Arc::ptr_eq(&self.topics, &topics) {
            self.topics = topics;
            self.topics_version += 1;
        }
    }

    /// Tells the machine which times consumer groups have from now on. What runs already runs on; members get
    /// the new ones with their next heartbeats.
    pub fn see_times(&mut self, times: Arc<GroupTimes>) {
        self.times = times;
    }

    /// The searches that the steps since the last call ask for. The driver runs each beside the machine, and hands what it
    /// finds to [`GroupMachine::take_found`].
    pub fn take_searches(&mut self) -> Vec<RegexSearch> {
        self.waiting.searches.take(&self.topics)
    }

    /// What a search found, be it one that a machine before this one asked for.
    pub fn take_found(&mut self, now: i64, found: &RegexesFound) -> Step<Record, Reply> {
        let current = Arc::ptr_eq(&self.topics, found.topics());
        let mut turn = self.turn(now);
        turn.take_found(found, current);
        turn.step
    }

    fn turn<'a>(&'a mut self, now: i64) -> Turn<'a> {
        Turn {
            now,
            settings: &self.settings,
            groups: &self.groups,
            topics: self.topics.as_ref(),
            topics_version: self.topics_version,
            times: self.times.as_ref(),
            waiting: &mut self.waiting,
            step: Step::nothing(),
        }
    }
}

impl Machine for GroupMachine {
    type Command = Command;
    type Record = Record;
    type Reply = Reply;

    fn handle(&mut self, now: i64, request: RequestId, command: Command) -> Step<Record, Reply> {
        let mut turn = self.turn(now);
        match &command {
            Command::Join(join) => turn.join(request, join),
            Command::Sync(sync) => turn.sync(request, sync),
            Command::Heartbeat(heartbeat) => turn.heartbeat(request, heartbeat),
            Command::ConsumerHeartbeat(beat) => turn.consumer_heartbeat(request, beat),
            Command::ConsumerDescribe(describe) => turn.consumer_describe(request, describe),
            Command::Leave(leave) => turn.leave(request, leave),
            Command::CommitOffsets(commit) => turn.commit_offsets(request, commit),
            Command::CommitTransactionalOffsets(commit) => turn.commit_transactional_offsets(request, commit),
            Command::FetchOffsets(fetch) => turn.fetch_offsets(request, fetch),
            Command::Describe(describe) => turn.describe(request, describe),
            Command::List(list) => turn.list(request, list),
            Command::Delete(delete) => turn.delete(request, delete),
            Command::DeleteOffsets(delete) => turn.delete_offsets(request, delete),
            Command::ForgetTopic(forget) => turn.forget_topic(request, forget),
            Command::Own(own) => turn.own(request, own),
            Command::Disown(disown) => turn.disown(request, disown),
        }
        turn.step
    }

    fn apply(&mut self, record: &Record) {
        self.groups.apply(record);
    }

    fn loaded(&mut self, now: i64) -> Step<Record, Reply> {
        let groups = &self.groups;
        self.waiting = Waiting::new();
        let mut turn = Turn {
            now,
            settings: &self.settings,
            groups,
            topics: self.topics.as_ref(),
            topics_version: self.topics_version,
            times: self.times.as_ref(),
            waiting: &mut self.waiting,
            step: Step::nothing(),
        };
        for (id, durable) in groups.iter().filter(|(_, durable)| durable.owner().is_none()) {
            if durable.consumer.is_some() {
                turn.watch_loaded_consumer_group(id);
                continue;
            }
            let group = Live::restored(id.clone(), durable);
            if group.is_idle() {
                turn.watch_expiry(id);
            }
            for member in group.members() {
                turn.renew_session(&group, &member.id);
            }
            turn.close(group);
        }
        turn.step
    }

    fn next_deadline(&self) -> Option<i64> {
        self.waiting.deadlines.next()
    }

    fn on_deadline(&mut self, now: i64) -> Step<Record, Reply> {
        let mut turn = self.turn(now);
        let mut recorded = BTreeSet::new();
        while let Some((id, _)) = turn.waiting.deadlines.due(now)
            // What was just recorded about a group has to be applied before more is decided about it.
            && !recorded.contains(id)
            && let Some((id, timer)) = turn.waiting.deadlines.pop_due(now)
        {
            let records = turn.step.records.len();
            turn.timer(&id, timer);
            if turn.step.records.len() > records {
                recorded.insert(id);
            }
        }
        turn.step
    }
}

impl Turn<'_> {
    fn timer(&mut self, id: &Str, timer: Timer) {
        if timer == Timer::Expiry {
            return self.expiry_deadline(id);
        }
        if self.consumer_group(id).is_some() {
            return self.consumer_deadline(id, &timer);
        }
        let mut group = self.open(id);
        match timer {
            Timer::Join => self.join_deadline(&mut group),
            Timer::Sync => self.sync_deadline(&mut group),
            Timer::Session(member_id) => self.session_deadline(&mut group, &member_id),
            Timer::Expiry | Timer::Rebalance(_) | Timer::ClassicJoin(_) | Timer::ClassicSync(_) => {}
        }
        self.close(group);
    }
}
