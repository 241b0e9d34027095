//! A group with members, or about to have some.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::durable::Group;
use super::member::Member;
use super::record::{Record, StoredGroup};
use super::reply::{Joined, JoinedMember};
use super::state::GroupState;
use crate::{ErrorCode, Str};

/// A live group. It is made from the durable group when somebody first asks for it, and let go when it is
/// empty and nobody is about to join: then the durable group says all there is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Live {
    pub(super) id: Str,
    pub(super) state: GroupState,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Str>,
    pub(super) protocol: Option<Str>,
    pub(super) leader: Option<Str>,
    /// Set while the group is being put together for the first time since it was empty.
    pub(super) initial: Option<InitialRebalance>,
    /// Told an id and expected to join with it (KIP-394). Each has a session deadline.
    pub(super) expected: BTreeSet<Str>,
    /// Told the generation, and not heard of since. Gone at the sync deadline.
    pub(super) unsynced: BTreeSet<Str>,
    members: BTreeMap<Str, Member>,
    /// Member id by instance id.
    instances: BTreeMap<Str, Str>,
    /// How many members support each protocol.
    support: BTreeMap<Str, usize>,
}

/// The first rebalance waits a while for more members, and longer while they keep coming.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct InitialRebalance {
    /// The wait that is running, in ms.
    pub(super) delay_ms: i32,
    /// How much longer it may get, in ms.
    pub(super) remaining_ms: i32,
    /// Somebody came during this wait.
    pub(super) grew: bool,
}

impl Live {
    /// A group without live members, going on from what is durable.
    pub(super) fn empty(id: Str, durable: Option<&Group>) -> Live {
        let stored = durable.and_then(|group| group.stored.as_ref());
        Live {
            id,
            state: GroupState::Empty,
            generation: stored.map_or(0, |group| group.generation),
            protocol_type: stored.map(|group| group.protocol_type.clone()).filter(|kind| !kind.is_empty()),
            protocol: None,
            leader: None,
            initial: None,
            expected: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            support: BTreeMap::new(),
        }
    }

    /// A group as its last record left it: stable when that has members.
    pub(super) fn restored(id: Str, durable: &Group) -> Live {
        let mut live = Live::empty(id, Some(durable));
        let Some(stored) = durable.stored.as_ref().filter(|group| !group.members.is_empty()) else {
            return live;
        };
        let protocol = stored.protocol.clone().unwrap_or_default();
        for member in &stored.members {
            live.add(Member::from_stored(member, &protocol));
        }
        live.leader = stored.leader.clone().filter(|leader| live.members.contains_key(leader));
        if live.leader.is_none() {
            live.leader = live.members.keys().next().cloned();
        }
        live.protocol = Some(protocol);
        live.state = GroupState::Stable;
        live
    }

    /// Nothing here that the durable group does not say.
    pub(super) fn is_idle(&self) -> bool {
        self.state == GroupState::Empty && self.expected.is_empty()
    }

    pub(super) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    pub(super) fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    /// How many members support each protocol, for checks.
    #[cfg(test)]
    pub(super) fn support(&self) -> &BTreeMap<Str, usize> {
        &self.support
    }

    /// Sorted by id.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(super) fn member_of_instance(&self, instance_id: &str) -> Option<&Str> {
        self.instances.get(instance_id)
    }

    pub(super) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether this is a member, and still the one of its instance id (KIP-345).
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&Str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(current) if **current != *member_id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// Adds a member. The first one is the leader and decides the kind of group.
    pub(super) fn add(&mut self, member: Member) {
        self.expected.remove(&member.id);
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.count_support(&member.protocols, true);
        let before = self.members.insert(member.id.clone(), member);
        debug_assert!(before.is_none(), "a member is added once");
    }

    /// Takes a member out. Another becomes leader when it was the one.
    pub(super) fn remove(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.count_support(&member.protocols, false);
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.unsynced.remove(member_id);
        Some(member)
    }

    /// Puts a new member id in place of a static member's old one; it keeps its assignment, and leads if it
    /// did. Returns the old member.
    pub(super) fn replace(&mut self, old_id: &str, mut member: Member) -> Option<Member> {
        let leads = self.is_leader(old_id);
        let unsynced = self.unsynced.contains(old_id);
        let old = self.remove(old_id)?;
        member.assignment = old.assignment.clone();
        let id = member.id.clone();
        self.add(member);
        if leads {
            self.leader = Some(id.clone());
        }
        if unsynced {
            self.unsynced.insert(id);
        }
        Some(old)
    }

    /// Sets what a member supports.
    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: Vec<(Str, Bytes)>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_support(&before, false);
        self.count_support(&protocols, true);
    }

    /// Whether a member with these protocols could be assigned to together with the others.
    pub(super) fn is_compatible(&self, protocol_type: &str, protocols: &[(Str, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| self.support.get(name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol most members like best among those all support; the leader's order decides a draw.
    pub(super) fn select_protocol(&self) -> Option<Str> {
        let common = |name: &Str| self.support.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let preferred = leader.into_iter().flat_map(|leader| leader.protocols.iter().map(|(name, _)| name));
        preferred.chain(votes.keys().copied()).find(|name| votes.get(name) == Some(&most)).cloned()
    }

    /// Whether everybody who is expected has a join parked.
    pub(super) fn has_all_joined(&self) -> bool {
        self.expected.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    pub(super) fn joining_count(&self) -> usize {
        self.members.values().filter(|member| member.joining.is_some()).count()
    }

    /// Makes sure the leader is one who has joined. False when nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &Str| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let Some(next) = self.members.values().find(|member| member.joining.is_some()) else { return false };
        self.leader = Some(next.id.clone());
        true
    }

    /// How long members may take to join again: as long as the slowest asks for.
    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// What a member is told about the current generation.
    pub(super) fn joined(&self, member_id: &Str) -> Joined {
        Joined {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if self.is_leader(member_id) { self.roster() } else { Vec::new() },
        }
    }

    /// The group as a record.
    pub(super) fn record(&self, since: i64) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        Record::Group {
            group: self.id.clone(),
            value: Some(StoredGroup {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                since,
                members: self.members.values().map(|member| member.to_stored(protocol)).collect(),
            }),
        }
    }

    fn roster(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol),
            })
            .collect()
    }

    /// A protocol a member names twice counts once.
    fn count_support(&mut self, protocols: &[(Str, Bytes)], more: bool) {
        let names: BTreeSet<&Str> = protocols.iter().map(|(name, _)| name).collect();
        for name in names {
            let count = self.support.entry(name.clone()).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.support.remove(name);
            }
        }
    }
}
