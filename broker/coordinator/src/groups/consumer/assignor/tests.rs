//! Whatever was before: each partition once, to someone who wants it, evenly, moving little.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;

fn id(topic: u8) -> Uuid {
    Uuid::from_u128(u128::from(topic) + 1)
}

/// Up to six topics, up to eight members that read some of them, and whatever they held before.
fn specs() -> impl Strategy<Value = Spec> {
    let held = vec((0..7_u8, 0..12_i32), 0..20);
    let member = (btree_set(0..6_u8, 0..6), held, any::<bool>());
    (btree_map(0..6_u8, 1..12_i32, 0..6), vec(member, 1..8), any::<bool>()).prop_map(
        |(topics, members, alike)| {
            let topics: BTreeMap<Uuid, i32> =
                topics.into_iter().map(|(topic, count)| (id(topic), count)).collect();
            let members = members.into_iter().enumerate().map(|(nth, (wants, held, is_static))| {
                let wanted =
                    topics.keys().filter(|topic| alike || wants.iter().any(|want| id(*want) == **topic));
                let member = SpecMember {
                    instance_id: is_static.then(|| Str::from(format!("i{}", 9 - nth))),
                    topics: wanted.copied().collect(),
                    before: Arc::new(
                        held.into_iter().map(|(topic, partition)| (id(topic), partition)).collect(),
                    ),
                };
                (Str::from(format!("m{nth}")), member)
            });
            let members: BTreeMap<Str, SpecMember> = members.collect();
            let read = |topic: &Uuid| members.values().any(|member| member.topics.contains(topic));
            let topics =
                topics.iter().filter(|(topic, _)| read(topic)).map(|(topic, count)| (*topic, *count));
            Spec { topics: topics.collect(), members }
        },
    )
}

fn check_complete(spec: &Spec, assigned: &BTreeMap<Str, Partitions>) -> Result<(), TestCaseError> {
    prop_assert!(assigned.keys().eq(spec.members.keys()));
    let mut seen = BTreeSet::new();
    for (member_id, held) in assigned {
        for (topic, partition) in held.iter() {
            prop_assert!(
                spec.members[member_id].topics.contains(&topic),
                "{member_id} does not read {topic}"
            );
            prop_assert!((0..spec.topics[&topic]).contains(&partition));
            prop_assert!(seen.insert((topic, partition)), "{topic} {partition} is given twice");
        }
    }
    for (topic, count) in &spec.topics {
        if spec.members.values().any(|member| member.topics.contains(topic)) {
            prop_assert!(
                (0..*count).all(|partition| seen.contains(&(*topic, partition))),
                "{topic} is not read"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn uniform_is_complete_and_even(spec in specs()) {
        let assigned = Assignor::Uniform.assign(&spec);
        check_complete(&spec, &assigned)?;
        // Nobody could give one away and both would be nearer to each other.
        for (giver, held) in &assigned {
            for (taker, member) in &spec.members {
                let could_take = held.topics().any(|(topic, _)| member.topics.contains(&topic));
                prop_assert!(
                    !could_take || held.len() <= assigned[taker].len() + 1,
                    "{giver} has {}, {taker} has {}", held.len(), assigned[taker].len()
                );
            }
        }
    }

    /// What is even already stays as it is.
    #[test]
    fn uniform_moves_nothing_without_need(spec in specs()) {
        let assigned = Assignor::Uniform.assign(&spec);
        let mut again = spec;
        for (member_id, member) in &mut again.members {
            member.before = Arc::new(assigned[member_id].clone());
        }
        prop_assert_eq!(Assignor::Uniform.assign(&again), assigned);
    }

    #[test]
    fn range_is_complete_and_gives_neighbours(spec in specs()) {
        let assigned = Assignor::Range.assign(&spec);
        check_complete(&spec, &assigned)?;
        for topic in spec.topics.keys() {
            let mut shares = Vec::new();
            for (member_id, held) in &assigned {
                let numbers: Vec<i32> =
                    held.iter().filter(|(held, _)| held == topic).map(|(_, partition)| partition).collect();
                prop_assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", numbers);
                if spec.members[member_id].topics.contains(topic) {
                    shares.push(numbers.len());
                }
            }
            let (least, most) = (shares.iter().min(), shares.iter().max());
            prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1);
        }
    }
}

/// One that leaves costs the others nothing of what they have; one that comes, only its share.
#[test]
fn uniform_is_sticky() {
    let topics = BTreeMap::from([(id(0), 12)]);
    let member = |before: &Partitions| SpecMember {
        instance_id: None,
        topics: topics.keys().copied().collect(),
        before: Arc::new(before.clone()),
    };
    let mut held = BTreeMap::from([(Str::from("a"), Partitions::new())]);
    for (comes, leaves, moves) in
        [("b", None, 12 + 6), ("c", None, 4), ("d", None, 3), ("e", Some("a"), 3), ("f", Some("b"), 3)]
    {
        if let Some(leaves) = leaves {
            held.remove(leaves);
        }
        held.entry(comes.into()).or_default();
        let members = held.iter().map(|(id, before)| (id.clone(), member(before))).collect();
        let next = Assignor::Uniform.assign(&Spec { members, topics: topics.clone() });
        let moved: usize =
            next.iter().map(|(id, now)| now.filtered(|topic, p| !held[id].contains(topic, p)).len()).sum();
        assert!(moved <= moves, "{comes} came, {leaves:?} left: {moved} moved");
        held = next;
    }
}
