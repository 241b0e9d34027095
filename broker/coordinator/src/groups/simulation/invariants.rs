//! What must be so after every step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Offsets;
use crate::groups::durable::Groups;
use crate::groups::live::Live;
use crate::groups::machine::GroupMachine;
use crate::groups::state::GroupState;
use crate::groups::waiting::Timer;
use crate::groups::{Command, Reply};
use crate::{ErrorCode, RequestId, Str};

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

/// Everything that can be seen in the machine alone; `open` are the requests not answered yet.
pub(super) fn check(machine: &GroupMachine, open: &BTreeSet<RequestId>) -> Result<(), Violation> {
    let mut parked = BTreeSet::new();
    for group in machine.waiting.live.values() {
        check_group(group)?;
        check_deadlines(machine, group)?;
        check_against_durable(&machine.groups, group)?;
        for member in group.members() {
            for request in member.joining.into_iter().chain(member.syncing) {
                ensure!(parked.insert(request), "{request:?} is parked twice");
            }
        }
    }
    ensure!(parked == *open, "parked {parked:?} is not what was not answered: {open:?}");
    check_no_stray_deadlines(machine)
}

fn check_group(group: &Live) -> Result<(), Violation> {
    let id = &group.id;
    ensure!(!group.is_idle(), "{id}: kept although idle");
    let count = group.member_count();
    let leader = group.leader.as_ref();
    ensure!(leader.is_some() == (count > 0), "{id}: {count} members and leader {leader:?}");
    if let Some(leader) = leader {
        ensure!(group.member(leader).is_some(), "{id}: leader {leader} is no member");
    }
    ensure!(group.state != GroupState::Dead, "{id}: dead and kept");
    ensure!(count == 0 || group.state != GroupState::Empty, "{id}: empty with {count} members");
    let mut support: BTreeMap<Str, usize> = BTreeMap::new();
    for member in group.members() {
        let names: BTreeSet<&Str> = member.protocols.iter().map(|(name, _)| name).collect();
        names.into_iter().for_each(|name| *support.entry(name.clone()).or_default() += 1);
        ensure!(!group.expected.contains(&member.id), "{id}: {} is expected and there", member.id);
        if let Some(instance) = &member.instance_id {
            let current = group.member_of_instance(instance);
            ensure!(current == Some(&member.id), "{id}: {instance} is {current:?}, not {}", member.id);
        }
        let preparing = group.state == GroupState::PreparingRebalance;
        ensure!(member.joining.is_none() || preparing, "{id}: a join is parked in {:?}", group.state);
        let completing = group.state == GroupState::CompletingRebalance;
        ensure!(member.syncing.is_none() || completing, "{id}: a sync is parked in {:?}", group.state);
        ensure!(!member.is_new || member.joining.is_some(), "{id}: {} is new and not joining", member.id);
    }
    ensure!(support == *group.support(), "{id}: counted {:?}, not {support:?}", group.support());
    if count > 0 {
        ensure!(support.values().any(|supporters| *supporters == count), "{id}: no common protocol");
    }
    if matches!(group.state, GroupState::CompletingRebalance | GroupState::Stable) {
        let chosen = group.protocol.as_ref().and_then(|protocol| support.get(protocol));
        ensure!(chosen == Some(&count), "{id}: {:?} is not supported by all", group.protocol);
    }
    let preparing = group.state == GroupState::PreparingRebalance;
    ensure!(group.initial.is_none() || preparing, "{id}: still the initial rebalance in {:?}", group.state);
    let unsynced = group.unsynced.iter().all(|member| group.member(member).is_some());
    ensure!(unsynced, "{id}: waits for the sync of no member");
    Ok(())
}

/// Nobody can wait for ever.
fn check_deadlines(machine: &GroupMachine, group: &Live) -> Result<(), Violation> {
    let has = |timer: Timer| machine.waiting.deadlines.get(&(group.id.clone(), timer)).is_some();
    let id = &group.id;
    for member in group.members() {
        let watched = has(Timer::Session(member.id.clone())) || member.is_waiting();
        ensure!(watched, "{id}: no deadline for silent {}", member.id);
    }
    for expected in &group.expected {
        ensure!(has(Timer::Session(expected.clone())), "{id}: no deadline for expected {expected}");
    }
    let preparing = group.state == GroupState::PreparingRebalance;
    ensure!(has(Timer::Join) == preparing, "{id}: join deadline in {:?}", group.state);
    let owed = !group.unsynced.is_empty();
    ensure!(has(Timer::Sync) == owed, "{id}: sync deadline, with {:?} unsynced", group.unsynced);
    Ok(())
}

fn check_no_stray_deadlines(machine: &GroupMachine) -> Result<(), Violation> {
    for (id, timer) in machine.waiting.deadlines.keys() {
        let group = machine.waiting.live.get(id);
        let known = match timer {
            Timer::Expiry => true,
            // Nobody speaks the new protocol here.
            Timer::Rebalance(_) | Timer::ClassicJoin(_) | Timer::ClassicSync(_) => false,
            Timer::Join | Timer::Sync => group.is_some(),
            Timer::Session(member) => {
                group.is_some_and(|group| group.member(member).is_some() || group.expected.contains(member))
            }
        };
        ensure!(known, "{id}: deadline {timer:?} of nobody");
    }
    Ok(())
}

/// A stable group is what its record says; one that moves goes on from it.
fn check_against_durable(groups: &Groups, group: &Live) -> Result<(), Violation> {
    let id = &group.id;
    let stored = groups.get(id).and_then(|durable| durable.stored.as_ref());
    ensure!(groups.get(id).is_none_or(|durable| durable.owner().is_none()), "{id}: owned and live");
    let generation = stored.map_or(0, |stored| stored.generation);
    ensure!(generation <= group.generation, "{id}: generation {} after {generation}", group.generation);
    if group.state != GroupState::Stable {
        return Ok(());
    }
    let Some(stored) = stored else { return Err(format!("{id}: stable without a record")) };
    ensure!(stored.generation == group.generation, "{id}: stable in a generation that is not on record");
    ensure!(stored.leader == group.leader, "{id}: leader {:?}, on record {:?}", group.leader, stored.leader);
    ensure!(stored.protocol == group.protocol, "{id}: protocol {:?} is not on record", group.protocol);
    let recorded = stored.members.iter().map(|member| (&member.member_id, &member.assignment));
    let living = group.members().map(|member| (&member.id, &member.assignment));
    ensure!(recorded.eq(living), "{id}: members or assignments are not those on record");
    Ok(())
}

/// What an answer promises must be durable once the step's records are.
pub(super) fn check_promise(
    machine: &GroupMachine,
    command: &Command,
    reply: &Reply,
) -> Result<(), Violation> {
    match (command, reply) {
        (Command::Join(join), Reply::Joined(joined)) if joined.error == ErrorCode::NONE => {
            let Some(group) = machine.waiting.live.get(&join.group) else {
                return Err(format!("{}: joined nothing", join.group));
            };
            let (told, is) = (joined.generation, group.generation);
            ensure!(told == is, "{}: told generation {told}, is {is}", group.id);
            ensure!(group.member(&joined.member_id).is_some(), "{}: not a member", joined.member_id);
            if !joined.members.is_empty() {
                let everybody = joined.members.iter().map(|member| &member.member_id);
                ensure!(group.is_leader(&joined.member_id), "{}: told to lead", joined.member_id);
                ensure!(everybody.eq(group.members().map(|member| &member.id)), "leader told a part");
            }
        }
        (Command::Sync(sync), Reply::Synced(synced)) if synced.error == ErrorCode::NONE => {
            let stored = machine.groups.get(&sync.group).and_then(|durable| durable.stored.as_ref());
            let Some(stored) = stored.filter(|stored| stored.generation == sync.generation) else {
                return Err(format!(
                    "{}: promised generation {} is not on record",
                    sync.group, sync.generation
                ));
            };
            let member = stored.members.iter().find(|member| member.member_id == sync.member_id);
            ensure!(
                member.is_some_and(|member| member.assignment == synced.assignment),
                "{}: promised an assignment that is not on record",
                sync.member_id
            );
            let text = String::from_utf8_lossy(&synced.assignment).into_owned();
            let to = sync.instance_id.as_ref().unwrap_or(&sync.member_id);
            ensure!(
                text.is_empty() || text == format!("{} {to}", sync.generation),
                "{to} got {text:?} in generation {}",
                sync.generation
            );
        }
        (Command::Heartbeat(heartbeat), Reply::Heartbeat(ErrorCode::NONE)) => {
            let who = (&heartbeat.group, &heartbeat.member_id, heartbeat.generation);
            ensure!(is_current(machine, who), "{who:?} was heard in a generation that is over");
        }
        (Command::CommitOffsets(commit), Reply::Committed(committed)) if commit.generation >= 0 => {
            let accepted = committed.topics.iter().flat_map(|(_, answers)| answers);
            let accepted = accepted.into_iter().any(|(_, error)| *error == ErrorCode::NONE);
            let who = (&commit.group, &commit.member_id, commit.generation);
            ensure!(!accepted || is_current(machine, who), "{who:?} committed in a generation that is over");
        }
        (Command::CommitTransactionalOffsets(commit), Reply::Committed(committed))
            if commit.generation >= 0 =>
        {
            let accepted = committed.topics.iter().flat_map(|(_, answers)| answers);
            let accepted = accepted.into_iter().any(|(_, error)| *error == ErrorCode::NONE);
            let who = (&commit.group, &commit.member_id, commit.generation);
            ensure!(!accepted || is_current(machine, who), "{who:?} committed in a generation that is over");
        }
        _ => {}
    }
    Ok(())
}

/// Whether the member is one of this generation.
fn is_current(machine: &GroupMachine, (group, member_id, generation): (&Str, &Str, i32)) -> bool {
    let group = machine.waiting.live.get(group);
    group.is_some_and(|group| group.generation == generation && group.member(member_id).is_some())
}

/// The offsets are what the answers said.
pub(super) fn check_offsets(machine: &GroupMachine, expected: &Offsets) -> Result<(), Violation> {
    let actual = Offsets::of(&machine.groups);
    ensure!(actual == *expected, "offsets are {actual:?}, not {expected:?}");
    Ok(())
}
