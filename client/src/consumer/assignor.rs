//! Who reads what: the assignors of the classic group protocol, run by the member that leads the group.
//!
//! Pure: members and partition counts in, an assignment out. Range and round robin give exactly what Java's
//! assignors give, so that groups of mixed clients agree whoever leads.

use std::collections::{BTreeMap, BTreeSet};

/// A way to share partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Per topic, each member gets a run of neighbouring partitions. Topics with equal partition counts are
    /// divided alike, so that joins find their partners.
    Range,
    /// All partitions of all topics, dealt out one by one.
    RoundRobin,
    /// Each member gets the same partition numbers of every topic and keeps those it had, as far as that leaves all equally
    /// many: for members that pay for taking one over. Only this library's members know it. Where members want different
    /// topics it is as [`Range`](Self::Range).
    ByNumber,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id the coordinator gave it.
    pub id: String,
    /// The id its operator gave it (KIP-345); sorts before the other in the assignors.
    pub instance_id: Option<String>,
    /// The topics it wants.
    pub topics: BTreeSet<String>,
    /// The partitions it had when it joined: topic → partitions.
    pub owned: BTreeMap<String, Vec<i32>>,
    /// The generation in which it got them; -1 when it does not say.
    pub owned_since: i32,
}

impl GroupMember {
    /// Members with an instance id come first, each kind in the order of its ids.
    fn order(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(instance) => (false, instance),
            None => (true, &self.id),
        }
    }
}

/// What each member reads: member id → topic → partitions, ascending.
pub type Assignments = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

impl Assignor {
    /// The name both sides of the protocol know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::ByNumber => "logmill-by-number",
        }
    }

    /// The assignor of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::ByNumber].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares out `partitions` (topic → number of partitions; a topic that does not exist is left out). Every
    /// member is in the result, if only with nothing.
    pub fn assign(self, members: &[GroupMember], partitions: &BTreeMap<String, u32>) -> Assignments {
        let mut sorted: Vec<&GroupMember> = members.iter().collect();
        sorted.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut assignments: Assignments =
            members.iter().map(|member| (member.id.clone(), BTreeMap::new())).collect();
        match self {
            Self::Range => range(&sorted, partitions, &mut assignments),
            Self::RoundRobin => round_robin(&sorted, partitions, &mut assignments),
            Self::ByNumber => by_number(&sorted, partitions, &mut assignments),
        }
        assignments
    }
}

fn range(members: &[&GroupMember], partitions: &BTreeMap<String, u32>, out: &mut Assignments) {
    for (topic, count) in partitions {
        let takers: Vec<&&GroupMember> = members.iter().filter(|m| m.topics.contains(topic)).collect();
        let Ok(number) = u32::try_from(takers.len()) else { continue };
        if number == 0 {
            continue;
        }
        let (share, extra) = (count / number, count % number);
        let mut next = 0;
        for (i, member) in (0_u32..).zip(&takers) {
            let take = share + u32::from(i < extra);
            give(out, &member.id, topic, (next..next + take).map(|p| p as i32));
            next += take;
        }
    }
}

fn round_robin(members: &[&GroupMember], partitions: &BTreeMap<String, u32>, out: &mut Assignments) {
    if members.is_empty() {
        return;
    }
    let mut turn = 0;
    for (topic, count) in partitions {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            while !members[turn % members.len()].topics.contains(topic) {
                turn += 1;
            }
            give(out, &members[turn % members.len()].id, topic, [partition as i32]);
            turn += 1;
        }
    }
}

fn by_number(members: &[&GroupMember], partitions: &BTreeMap<String, u32>, out: &mut Assignments) {
    let Some(first) = members.first() else { return };
    if members.iter().any(|member| member.topics != first.topics) {
        return range(members, partitions, out);
    }
    let topics: Vec<(&String, u32)> = partitions
        .iter()
        .filter(|(topic, _)| first.topics.contains(*topic))
        .map(|(topic, count)| (topic, *count))
        .collect();
    let numbers = topics.iter().map(|(_, count)| *count as usize).max().unwrap_or(0);
    // So many each, and one more for some.
    let (share, mut extra) = (numbers / members.len(), numbers % members.len());
    let mut free: BTreeSet<usize> = (0..numbers).collect();
    let mut held: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    // Of two that say they have a number, the later one is right.
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|member| std::cmp::Reverse(members[*member].owned_since));
    for member in order {
        let owned = members[member].owned.values().flatten();
        let owned: BTreeSet<usize> = owned.filter_map(|number| usize::try_from(*number).ok()).collect();
        for number in owned {
            let may = held[member].len() < share || (held[member].len() == share && extra > 0);
            if may && free.remove(&number) {
                extra -= usize::from(held[member].len() == share);
                held[member].push(number);
            }
        }
    }
    // Those that have too few come first.
    for at_most in [share, share + 1] {
        for held in &mut held {
            while held.len() < at_most && (at_most == share || extra > 0) {
                let Some(number) = free.pop_first() else { break };
                extra -= usize::from(at_most > share);
                held.push(number);
            }
        }
    }
    for (member, mut held) in members.iter().zip(held) {
        held.sort_unstable();
        for (topic, count) in &topics {
            let numbers = held.iter().filter(|number| **number < *count as usize);
            give(out, &member.id, topic, numbers.map(|number| *number as i32));
        }
    }
}

fn give(out: &mut Assignments, member: &str, topic: &str, partitions: impl IntoIterator<Item = i32>) {
    let mut partitions = partitions.into_iter().peekable();
    if partitions.peek().is_some() {
        let topics = out.entry(member.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().extend(partitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str]) -> GroupMember {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (owned, owned_since) = (BTreeMap::new(), -1);
        GroupMember { id: id.to_owned(), instance_id: None, topics, owned, owned_since }
    }

    /// The members as they join again with what they were given.
    fn again(members: &[GroupMember], shares: &Assignments, generation: i32) -> Vec<GroupMember> {
        let with = |member: &GroupMember| {
            let mut member = member.clone();
            if let Some(owned) = shares.get(&member.id) {
                (member.owned, member.owned_since) = (owned.clone(), generation);
            }
            member
        };
        members.iter().map(with).collect()
    }

    fn topics(counts: &[(&str, u32)]) -> BTreeMap<String, u32> {
        counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect()
    }

    fn shown(assignments: &Assignments) -> Vec<String> {
        assignments
            .iter()
            .map(|(member, topics)| {
                let parts: Vec<String> = topics.iter().map(|(t, p)| format!("{t}{p:?}")).collect();
                format!("{member}: {}", parts.join(" "))
            })
            .collect()
    }

    #[test]
    fn range_gives_neighbours_and_the_first_members_the_rest() {
        let members = [member("b", &["x", "y"]), member("a", &["x", "y"])];
        let shares = Assignor::Range.assign(&members, &topics(&[("x", 3), ("y", 3)]));
        assert_eq!(shown(&shares), ["a: x[0, 1] y[0, 1]", "b: x[2] y[2]"]);
    }

    #[test]
    fn range_respects_what_each_member_wants() {
        let members = [member("a", &["x"]), member("b", &["x", "y"]), member("c", &[])];
        let shares = Assignor::Range.assign(&members, &topics(&[("x", 3), ("y", 2)]));
        assert_eq!(shown(&shares), ["a: x[0, 1]", "b: x[2] y[0, 1]", "c: "]);
    }

    #[test]
    fn round_robin_deals_over_topics() {
        let members = [member("a", &["x", "y"]), member("b", &["x", "y"])];
        let shares = Assignor::RoundRobin.assign(&members, &topics(&[("x", 3), ("y", 3)]));
        assert_eq!(shown(&shares), ["a: x[0, 2] y[1]", "b: x[1] y[0, 2]"]);
    }

    #[test]
    fn round_robin_passes_over_members_that_do_not_want_a_topic() {
        let members = [member("a", &["x"]), member("b", &["x", "y"]), member("c", &["y"])];
        let shares = Assignor::RoundRobin.assign(&members, &topics(&[("x", 1), ("y", 2), ("z", 4)]));
        assert_eq!(shown(&shares), ["a: x[0]", "b: y[0]", "c: y[1]"]);
    }

    #[test]
    fn instance_ids_decide_the_order() {
        let mut first = member("z", &["x"]);
        first.instance_id = Some("one".to_owned());
        let shares = Assignor::Range.assign(&[member("a", &["x"]), first], &topics(&[("x", 1)]));
        assert_eq!(shown(&shares), ["a: ", "z: x[0]"]);
    }

    #[test]
    fn by_number_gives_the_same_numbers_of_each_topic_and_moves_no_more_than_it_must() {
        let counts = topics(&[("x", 5), ("y", 5)]);
        let two = [member("a", &["x", "y"]), member("b", &["x", "y"])];
        let first = Assignor::ByNumber.assign(&two, &counts);
        assert_eq!(shown(&first), ["a: x[0, 1, 4] y[0, 1, 4]", "b: x[2, 3] y[2, 3]"]);

        // A third one comes, whose id sorts before the others'.
        let mut three = again(&two, &first, 1);
        three.push(member("_", &["x", "y"]));
        let second = Assignor::ByNumber.assign(&three, &counts);
        assert_eq!(shown(&second), ["_: x[4] y[4]", "a: x[0, 1] y[0, 1]", "b: x[2, 3] y[2, 3]"]);

        // One goes.
        let left = again(&three[1..], &second, 2);
        let third = Assignor::ByNumber.assign(&left, &counts);
        assert_eq!(shown(&third), ["_: x[0, 1, 4] y[0, 1, 4]", "b: x[2, 3] y[2, 3]"]);

        // It was only away, and believes to have what others got meanwhile.
        let stale = again(&three, &third, 3);
        assert_eq!(stale[0].owned, first["a"]);
        let fourth = Assignor::ByNumber.assign(&stale, &counts);
        assert_eq!(shown(&fourth), ["_: x[0, 1] y[0, 1]", "a: x[4] y[4]", "b: x[2, 3] y[2, 3]"]);
    }

    #[test]
    fn by_number_leaves_the_only_number_where_it_is() {
        let counts = topics(&[("x", 1)]);
        let members = [member("b", &["x"])];
        let mut more = again(&members, &Assignor::ByNumber.assign(&members, &counts), 1);
        more.push(member("a", &["x"]));
        assert_eq!(shown(&Assignor::ByNumber.assign(&more, &counts)), ["a: ", "b: x[0]"]);
    }

    #[test]
    fn by_number_is_as_range_where_members_want_different_topics() {
        let members = [member("a", &["x"]), member("b", &["x", "y"])];
        let counts = topics(&[("x", 3), ("y", 2)]);
        assert_eq!(Assignor::ByNumber.assign(&members, &counts), Assignor::Range.assign(&members, &counts));
    }

    #[test]
    fn every_partition_has_exactly_one_reader() {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::ByNumber] {
            for number in 1..6 {
                let members: Vec<_> = (0..number).map(|i| member(&format!("m{i}"), &["x", "y"])).collect();
                let counts = topics(&[("x", 7), ("y", 2)]);
                let shares = assignor.assign(&members, &counts);
                let mut given: Vec<(String, i32)> = shares
                    .values()
                    .flat_map(|topics| {
                        topics.iter().flat_map(|(t, ps)| ps.iter().map(move |p| (t.clone(), *p)))
                    })
                    .collect();
                given.sort();
                let all: Vec<(String, i32)> =
                    counts.iter().flat_map(|(t, n)| (0..*n as i32).map(move |p| (t.clone(), p))).collect();
                assert_eq!(given, all, "{assignor:?} with {number} members");
            }
        }
    }

    #[test]
    fn names_are_found_again() {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::ByNumber] {
            assert_eq!(Assignor::by_name(assignor.name()), Some(assignor));
        }
        assert_eq!(Assignor::by_name("sticky"), None);
    }
}
