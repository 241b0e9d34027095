//! One input being worked on: what may be read, what may be changed, and what follows.

use bytes::Bytes;

use super::consumer::GroupTimes;
use super::durable::Groups;
use super::live::Live;
use super::record::Record;
use super::reply::{Joined, Reply, Synced};
use super::settings::Settings;
use super::topics::TopicView;
use super::waiting::{Timer, Waiting};
use crate::limits::MAX_NAME_BYTES;
use crate::{ErrorCode, RequestId, Step, Str};

/// Whether this can be a group's id.
pub(super) fn is_group_id(group: &str) -> bool {
    !group.is_empty() && can_hold_offsets(group)
}

/// Whether offsets can be kept under this name. Very old clients keep theirs under none at all.
pub(super) fn can_hold_offsets(group: &str) -> bool {
    group.len() <= MAX_NAME_BYTES
}

/// The commands are methods of this, one file each. Durable state can only be read here.
pub(super) struct Turn<'a> {
    pub(super) now: i64,
    pub(super) settings: &'a Settings,
    pub(super) groups: &'a Groups,
    pub(super) topics: &'a dyn TopicView,
    /// How often the topics have changed.
    pub(super) topics_version: i64,
    /// The times of consumer groups.
    pub(super) times: &'a GroupTimes,
    pub(super) waiting: &'a mut Waiting,
    pub(super) step: Step<Record, Reply>,
}

impl Turn<'_> {
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.step.replies.push((request, reply));
    }

    pub(super) fn record(&mut self, record: Record) {
        self.step.records.push(record);
    }

    /// Whether anything is known about the group.
    pub(super) fn exists(&self, group: &str) -> bool {
        self.waiting.live.contains_key(group) || self.groups.get(group).is_some()
    }

    /// Whether the group belongs to a part of the broker.
    pub(super) fn is_owned(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|durable| durable.owner().is_some())
    }

    /// Takes a group out to work on it; [`Turn::close`] puts it back.
    pub(super) fn open(&mut self, group: &Str) -> Live {
        self.waiting
            .live
            .remove(group)
            .unwrap_or_else(|| Live::empty(group.detached(), self.groups.get(group)))
    }

    /// Puts a group back, unless the durable one says all there is.
    pub(super) fn close(&mut self, group: Live) {
        if !group.is_idle() {
            self.waiting.live.insert(group.id.clone(), group);
        }
    }

    pub(super) fn set_timer(&mut self, group: &Str, timer: Timer, after_ms: i32) {
        let at = self.now.saturating_add(i64::from(after_ms));
        self.waiting.deadlines.set((group.clone(), timer), at);
    }

    pub(super) fn cancel_timer(&mut self, group: &Str, timer: Timer) {
        self.waiting.deadlines.cancel(&(group.clone(), timer));
    }

    /// The member was heard of.
    pub(super) fn renew_session(&mut self, group: &Live, member_id: &str) {
        if let Some(member) = group.member(member_id) {
            self.set_timer(&group.id, Timer::Session(member.id.clone()), member.session_timeout_ms);
        }
    }

    pub(super) fn refuse_join(&mut self, request: RequestId, member_id: &Str, error: ErrorCode) {
        self.reply(
            request,
            Reply::Joined(Joined {
                error,
                generation: -1,
                protocol_type: None,
                protocol_name: None,
                leader: Str::default(),
                skip_assignment: false,
                member_id: member_id.clone(),
                members: Vec::new(),
            }),
        );
    }

    pub(super) fn refuse_sync(&mut self, request: RequestId, error: ErrorCode) {
        self.reply(
            request,
            Reply::Synced(Synced {
                error,
                protocol_type: None,
                protocol_name: None,
                assignment: Bytes::new(),
            }),
        );
    }
}
