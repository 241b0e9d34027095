//! What must be so after every step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use super::world::GROUP;
use crate::Str;
use crate::groups::consumer::group::ConsumerGroup;
use crate::groups::consumer::record::MemberState;
use crate::groups::machine::GroupMachine;
use crate::groups::waiting::Timer;

/// What is wrong.
pub(super) type Violation = String;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}
pub(super) use ensure;

/// Epochs seen so far: they never go back.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    group: i32,
    members: BTreeMap<Str, i32>,
}

/// Everything that can be seen in the machine alone.
pub(super) fn check(machine: &GroupMachine) -> Result<(), Violation> {
    let group = machine.groups.get(GROUP).and_then(|durable| durable.consumer.as_ref());
    if let Some(group) = group {
        ensure!(!machine.waiting.live.contains_key(GROUP), "a consumer group is also a live classic one");
        check_holders(group)?;
        check_members(group)?;
        check_deadlines(machine, group)?;
    }
    Ok(())
}

fn check_holders(group: &ConsumerGroup) -> Result<(), Violation> {
    let mut held = BTreeMap::new();
    for member_id in group.members.keys() {
        let current = group.current(member_id);
        for partition in current.assigned.iter().chain(current.revoking.iter()) {
            let before = held.insert(partition, member_id.clone());
            ensure!(before.is_none(), "{partition:?} is held twice: by {before:?} and {member_id}");
        }
    }
    ensure!(held == *group.holders(), "holders {:?}, not {held:?}", group.holders());
    let mut targets = BTreeSet::new();
    for (member_id, target) in &group.targets {
        ensure!(group.members.contains_key(member_id), "a target of {member_id}, who is no member");
        for partition in target.iter() {
            ensure!(targets.insert(partition), "{partition:?} is in two targets");
        }
    }
    Ok(())
}

fn check_members(group: &ConsumerGroup) -> Result<(), Violation> {
    let (epoch, target_epoch) = (group.stored.epoch, group.target_epoch);
    ensure!(target_epoch <= epoch, "target epoch {target_epoch} of epoch {epoch}");
    for (member_id, member) in &group.members {
        let current = group.current(member_id);
        ensure!(current.epoch <= target_epoch, "{member_id} is in epoch {} of {target_epoch}", current.epoch);
        let revokes = current.state == MemberState::Unrevoked && current.epoch != -2;
        ensure!(
            current.revoking.is_empty() || revokes,
            "{member_id} gives up {:?} in state {:?}",
            current.revoking,
            current.state
        );
        if let Some(instance) = &member.instance_id {
            let known = group.member_of_instance(instance);
            ensure!(known == Some(member_id), "{instance} is {known:?}, not {member_id}");
        }
    }
    let used = |regex: &Str| group.members.values().any(|member| member.topic_regex.as_ref() == Some(regex));
    ensure!(group.regexes.keys().all(used), "a pattern that nobody uses: {:?}", group.regexes);
    Ok(())
}

fn check_deadlines(machine: &GroupMachine, group: &ConsumerGroup) -> Result<(), Violation> {
    let deadlines = &machine.waiting.deadlines;
    let has = |timer: Timer| deadlines.get(&(Str::from(GROUP), timer)).is_some();
    for (member_id, member) in &group.members {
        ensure!(has(Timer::Session(member_id.clone())), "{member_id} has no session deadline");
        let current = group.current(member_id);
        let revokes = current.state == MemberState::Unrevoked && current.epoch >= 0;
        if revokes && member.classic.is_none() {
            ensure!(has(Timer::Rebalance(member_id.clone())), "{member_id} may revoke for ever");
        }
    }
    for (id, timer) in deadlines.keys() {
        let (Timer::Session(member) | Timer::Rebalance(member)) = timer else { continue };
        ensure!(&**id != GROUP || group.members.contains_key(member), "a deadline of {member}, who is gone");
    }
    Ok(())
}

impl Epochs {
    /// Compares with what was seen before, and remembers.
    pub(super) fn check(&mut self, machine: &GroupMachine) -> Result<(), Violation> {
        let group = machine.groups.get(GROUP).and_then(|durable| durable.consumer.as_ref());
        let Some(group) = group else {
            *self = Epochs::default();
            return Ok(());
        };
        ensure!(group.stored.epoch >= self.group, "epoch {} after {}", group.stored.epoch, self.group);
        self.group = group.stored.epoch;
        let before = std::mem::take(&mut self.members);
        for member_id in group.members.keys() {
            let epoch = group.current(member_id).epoch;
            let was = before.get(member_id).copied().unwrap_or(epoch);
            ensure!(epoch >= was || epoch == -2, "{member_id} is in epoch {epoch} after {was}");
            self.members.insert(member_id.clone(), epoch);
        }
        Ok(())
    }
}
