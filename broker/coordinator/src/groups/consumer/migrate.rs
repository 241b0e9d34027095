//! Groups that change their protocol while they have members.
//!
//! When the first member of the new protocol joins a classic group, everybody in that becomes a member of a
//! consumer group, with what it holds; those who speak the classic protocol go on speaking it (`classic.rs`).
//! When the last member of the new protocol goes, the group becomes a classic one again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use logmill_wire::records::consumer_protocol::ConsumerProtocolSubscription;

use super::draft::Draft;
use super::heartbeat::sorted_names;
use super::partitions::Partitions;
use super::record::{
    ClassicMember, ConsumerRecord, CurrentAssignment, MemberState, StoredConsumerGroup, StoredConsumerMember,
};
use super::refusal::Refusal;
use crate::groups::consumer_protocol;
use crate::groups::live::Live;
use crate::groups::member::Member;
use crate::groups::record::Record;
use crate::groups::state::GroupState;
use crate::groups::turn::Turn;
use crate::groups::waiting::Timer;
use crate::{ErrorCode, Str};

impl Turn<'_> {
    /// The group that a member of the new protocol speaks to. One that joins finds it made, or made of a
    /// classic group.
    pub(super) fn draft_to_join(&self, group: &Str, joins: bool) -> Result<Draft, Refusal> {
        if let Some(consumer) = self.consumer_group(group) {
            return Ok(Draft::of(group.detached(), Arc::clone(consumer)));
        }
        let not_found = |message: String| Err(Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, message));
        if !self.exists(group) {
            return match joins {
                true => Ok(Draft::new(group.detached(), self.now)),
                false => not_found(format!("Consumer group {group} not found.")),
            };
        }
        let upgraded = match self.waiting.live.get(group) {
            _ if !joins || self.is_owned(group) => None,
            Some(live) if live.state != GroupState::Empty => self.upgraded(live),
            _ => Some(self.in_place_of_empty(group)),
        };
        upgraded.map_or_else(|| not_found(format!("Group {group} is not a consumer group.")), Ok)
    }

    /// A classic group without members goes; its offsets stay.
    fn in_place_of_empty(&self, group: &Str) -> Draft {
        let mut draft = Draft::new(group.detached(), self.now);
        draft.replaces_classic = true;
        if self.groups.get(group).is_some_and(|durable| durable.stored.is_some()) {
            draft.records.push(Record::Group { group: draft.id.clone(), value: None });
        }
        draft
    }

    /// A classic group with members as a consumer group; `None` when it may or can not become one.
    fn upgraded(&self, live: &Live) -> Option<Draft> {
        let settings = &self.settings.consumer;
        if !settings.migration.upgrades()
            || live.member_count() > settings.max_members
            || live.protocol_type.as_deref() != Some(consumer_protocol::PROTOCOL_TYPE)
        {
            return None;
        }
        let mut draft = self.in_place_of_empty(&live.id);
        let epoch = live.generation;
        let group = StoredConsumerGroup { epoch, metadata_hash: 0, created: self.now };
        draft.write(ConsumerRecord::Group(Some(group)));
        for member in live.members() {
            let member_id = member.id.clone();
            let subscription = subscription_of(&member.protocols)?;
            let held = self.held_by(&member.assignment);
            let value = Some(StoredConsumerMember {
                instance_id: member.instance_id.clone(),
                rack_id: subscription.rack_id.as_ref().map(Str::detached),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topic_names: sorted_names(&subscription.topics),
                topic_regex: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                assignor: None,
                classic: Some(ClassicMember {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            });
            draft.write(ConsumerRecord::Member { member_id: member_id.clone(), value });
            let value = Some(held.clone());
            draft.write(ConsumerRecord::Target { member_id: member_id.clone(), value });
            let value = Some(CurrentAssignment {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                since: held.iter().map(|partition| (partition, epoch)).collect(),
                assigned: held,
                revoking: Partitions::new(),
            });
            draft.write(ConsumerRecord::Current { member_id, value });
        }
        draft.write(ConsumerRecord::TargetEpoch(Some(epoch)));
        Some(draft)
    }

    /// What a classic member's assignment says it holds, of the topics there are.
    fn held_by(&self, assignment: &Bytes) -> Partitions {
        let assigned = consumer_protocol::assigned_partitions(assignment).unwrap_or_default();
        self.by_id(assigned)
    }

    /// Partitions by their topics' names, of the topics there are.
    pub(super) fn by_id(&self, by_name: Vec<(Str, Vec<i32>)>) -> Partitions {
        let known = by_name.into_iter().filter_map(|(name, partitions)| {
            let topic = self.topics.topic(&name)?;
            Some(partitions.into_iter().map(move |partition| (topic.id, partition)))
        });
        known.flatten().collect()
    }

    /// The classic group ends as the draft takes its place: whoever waits in it has to join again, and its
    /// members' sessions go on in the new group.
    pub(super) fn retire_classic(&mut self, draft: &Draft) {
        self.cancel_timer(&draft.id, Timer::Expiry);
        self.cancel_timer(&draft.id, Timer::Join);
        self.cancel_timer(&draft.id, Timer::Sync);
        let Some(live) = self.waiting.live.remove(&draft.id) else { return };
        for member_id in &live.expected {
            self.cancel_timer(&draft.id, Timer::Session(member_id.clone()));
        }
        for member in live.members() {
            let (joining, syncing) = (member.joining, member.syncing);
            self.answer_parked(joining, syncing, ErrorCode::REBALANCE_IN_PROGRESS, &member.id);
            if draft.group.members.contains_key(&member.id) {
                self.renew_consumer_session(draft, &member.id);
            } else {
                self.cancel_timer(&draft.id, Timer::Session(member.id.clone()));
            }
        }
    }

    /// Whether the last member of the new protocol has gone, and the rest may become a classic group.
    pub(super) fn is_to_be_classic(&self, draft: &Draft) -> bool {
        self.settings.consumer.migration.downgrades()
            && !draft.group.is_empty()
            && draft.group.members.len() <= self.settings.max_members
            && draft.group.members.values().all(|member| member.classic.is_some())
    }

    /// Makes a classic group of a consumer group all of whose members speak the classic protocol.
    pub(super) fn become_classic(&mut self, draft: Draft, rebalance: bool) {
        let group = Arc::clone(&draft.group);
        let mut live = Live::empty(draft.id.clone(), None);
        live.generation = group.stored.epoch;
        live.protocol_type = Some(Str::from_static(consumer_protocol::PROTOCOL_TYPE));
        for (member_id, member) in &group.members {
            self.cancel_member_timers(&draft.id, member_id);
            let Some(classic) = &member.classic else { continue };
            live.add(Member {
                id: member_id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: self.assignment_bytes(classic, &group.target(member_id)),
                joining: None,
                syncing: None,
                is_new: false,
            });
        }
        live.protocol = live.select_protocol();
        live.state = GroupState::Stable;
        self.waiting.seen_topics.remove(&draft.id);
        self.waiting.assigned.remove(&draft.id);
        self.waiting.searches.forget(&draft.id);
        self.step.records.extend(draft.records);
        let id = draft.id;
        let deleted = group.tombstones().into_iter();
        self.step.records.extend(deleted.map(|record| Record::Consumer { group: id.clone(), record }));
        self.record(live.record(self.now));
        for member_id in group.members.keys() {
            self.renew_session(&live, member_id);
        }
        if rebalance {
            self.prepare_rebalance(&mut live);
        }
        self.close(live);
    }

    /// What a classic member holds, in the words and the version of its own subscription.
    pub(super) fn assignment_bytes(&self, classic: &ClassicMember, held: &Partitions) -> Bytes {
        let by_name: BTreeMap<Str, Vec<i32>> = held
            .topics()
            .filter_map(|(topic, partitions)| {
                Some((self.topics.name(topic)?, partitions.iter().copied().collect()))
            })
            .collect();
        let by_name: Vec<(Str, Vec<i32>)> = by_name.into_iter().collect();
        let metadata = classic.protocols.first().map(|(_, metadata)| metadata);
        consumer_protocol::assignment_for(metadata, &by_name)
    }
}

/// What a classic member wants, by the first protocol it supports.
pub(super) fn subscription_of(protocols: &[(Str, Bytes)]) -> Option<ConsumerProtocolSubscription> {
    let (_, metadata) = protocols.first()?;
    ConsumerProtocolSubscription::from_bytes(metadata.clone()).ok()
}
