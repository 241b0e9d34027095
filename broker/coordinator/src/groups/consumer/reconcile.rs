//! One member's next step from what it holds to what it is to hold.

use super::draft::Draft;
use super::partitions::Partitions;
use super::record::{ConsumerRecord, CurrentAssignment, MemberState};
use crate::Str;

impl Draft {
    /// Goes as far as it can. `owned` is what the member says it holds, if it does: what is not in there has
    /// been given up.
    pub(super) fn reconcile(&mut self, member_id: &Str, owned: Option<&Partitions>) {
        let current = self.group.current(member_id);
        let target_epoch = self.group.target_epoch;
        let from_epoch = match current.state {
            MemberState::Stable if current.epoch == target_epoch => return,
            MemberState::Unrevoked if holds_any(owned, &current.revoking) => return,
            // It has given up what it had to: it is one epoch further, whatever the target is by now.
            MemberState::Unrevoked => current.epoch.saturating_add(1),
            MemberState::Stable | MemberState::Unreleased => current.epoch,
            // The caller has made it begin anew, without partitions.
            MemberState::Unknown => target_epoch,
        };
        let next = self.next_assignment(member_id, &current, from_epoch, owned);
        if next != *current {
            self.write(ConsumerRecord::Current { member_id: member_id.clone(), value: Some(next) });
        }
    }

    fn next_assignment(
        &self,
        member_id: &Str,
        current: &CurrentAssignment,
        from_epoch: i32,
        owned: Option<&Partitions>,
    ) -> CurrentAssignment {
        let target = self.group.target(member_id);
        let target_epoch = self.group.target_epoch;
        let since = |partitions: &Partitions| {
            let of = |(topic, partition)| {
                let kept = current.assigned.contains(topic, partition);
                let before = current.since.get(&(topic, partition)).filter(|_| kept).copied();
                ((topic, partition), before.unwrap_or(target_epoch))
            };
            partitions.iter().map(of).collect()
        };
        let mut assigned = current.assigned.filtered(|topic, partition| target.contains(topic, partition));
        let revoking = current.assigned.filtered(|topic, partition| !target.contains(topic, partition));
        if !revoking.is_empty() && holds_any(owned, &revoking) {
            return CurrentAssignment {
                epoch: from_epoch,
                previous_epoch: current.epoch,
                state: MemberState::Unrevoked,
                assigned,
                revoking,
                since: since(&current.assigned),
            };
        }
        let mut unreleased = false;
        let wanted = target.filtered(|topic, partition| !assigned.contains(topic, partition));
        assigned.extend(wanted.iter().filter(|&(topic, partition)| {
            let held = self.group.holder(topic, partition).is_some();
            unreleased |= held;
            !held
        }));
        CurrentAssignment {
            since: since(&assigned),
            epoch: target_epoch,
            previous_epoch: current.epoch,
            state: if unreleased { MemberState::Unreleased } else { MemberState::Stable },
            assigned,
            revoking: Partitions::new(),
        }
    }

    /// Whether something that a member is to hold has not been given up by others yet.
    pub(super) fn waits_for_others(&self, member_id: &Str) -> bool {
        let current = self.group.current(member_id);
        self.group.target(member_id).iter().any(|(topic, partition)| {
            !current.assigned.contains(topic, partition) && self.group.holder(topic, partition).is_some()
        })
    }
}

/// A member that does not say what it holds may still hold anything.
fn holds_any(owned: Option<&Partitions>, partitions: &Partitions) -> bool {
    owned.is_none_or(|owned| owned.meets(partitions))
}
