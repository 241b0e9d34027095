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
        }
    }

    /// The assignor of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin].into_iter().find(|assignor| assignor.name() == name)
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
        GroupMember { id: id.to_owned(), instance_id: None, topics }
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
    fn every_partition_has_exactly_one_reader() {
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
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
        for assignor in [Assignor::Range, Assignor::RoundRobin] {
            assert_eq!(Assignor::by_name(assignor.name()), Some(assignor));
        }
        assert_eq!(Assignor::by_name("sticky"), None);
    }
}
