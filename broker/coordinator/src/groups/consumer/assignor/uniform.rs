//! Uniform: nobody has two partitions more than another who could have one of them, and whatever need not
//! move stays.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::partitions::Partitions;
use super::Spec;
use crate::Str;

/// How often all topics are looked through for partitions to even out. Each look moves partitions from those
/// who have more to those who have less; it ends by itself long before this.
const MOST_ROUNDS: usize = 64;

pub(super) fn assign(spec: &Spec) -> BTreeMap<Str, Partitions> {
    let mut members = spec.members.values();
    let Some(first) = members.next() else { return BTreeMap::new() };
    if members.all(|member| member.topics == first.topics) { alike(spec) } else { mixed(spec) }
}

/// What each member keeps at most, and what nobody has.
struct Kept {
    assigned: BTreeMap<Str, Partitions>,
    free: BTreeSet<(Uuid, i32)>,
}

fn kept(spec: &Spec) -> Kept {
    let exists =
        |topic: Uuid, partition: i32| spec.topics.get(&topic).is_some_and(|count| partition < *count);
    let mut free: BTreeSet<(Uuid, i32)> = spec
        .topics
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(|partition| (*topic, partition)))
        .collect();
    let mut assigned = BTreeMap::new();
    for (member_id, member) in &spec.members {
        let keeps = member.before.filtered(|topic, partition| {
            // Nobody else has it: each is kept once, whatever was there before.
            member.topics.contains(&topic) && exists(topic, partition) && free.remove(&(topic, partition))
        });
        assigned.insert(member_id.clone(), keeps);
    }
    Kept { assigned, free }
}

/// Everybody reads the same topics: each gets the same number, or one more.
fn alike(spec: &Spec) -> BTreeMap<Str, Partitions> {
    let Kept { mut assigned, mut free } = kept(spec);
    let total = assigned.values().map(Partitions::len).sum::<usize>() + free.len();
    let (share, mut extra) = (total / assigned.len(), total % assigned.len());
    // Who has most gets the extra ones: that moves least.
    let mut order: Vec<(usize, Str)> =
        assigned.iter().map(|(member_id, held)| (held.len(), member_id.clone())).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut wanting = Vec::new();
    for (count, member_id) in order {
        let quota = share + usize::from(extra > 0);
        extra = extra.saturating_sub(1);
        if count > quota
            && let Some(held) = assigned.get_mut(&member_id)
        {
            let over: Vec<(Uuid, i32)> = held.iter().skip(quota).collect();
            for (topic, partition) in over {
                held.remove(topic, partition);
                free.insert((topic, partition));
            }
        }
        wanting.push((member_id, quota.saturating_sub(count)));
    }
    let mut free = free.into_iter();
    for (member_id, wants) in wanting {
        if let Some(held) = assigned.get_mut(&member_id) {
            held.extend(free.by_ref().take(wants));
        }
    }
    assigned
}

/// Members read different topics: what is free goes to whoever may have it and has least, then partitions
/// move from those who have more as long as that evens it out.
fn mixed(spec: &Spec) -> BTreeMap<Str, Partitions> {
    let Kept { mut assigned, free } = kept(spec);
    let mut readers: BTreeMap<Uuid, Vec<&Str>> = BTreeMap::new();
    for (member_id, member) in &spec.members {
        for topic in &member.topics {
            readers.entry(*topic).or_default().push(member_id);
        }
    }
    let mut count: BTreeMap<&Str, usize> =
        spec.members.keys().map(|id| (id, assigned.get(id).map_or(0, Partitions::len))).collect();
    // Topics with few readers first: who may read anything fills up the rest.
    let mut free: Vec<(usize, Uuid, i32)> = free
        .into_iter()
        .map(|(topic, partition)| (readers.get(&topic).map_or(0, Vec::len), topic, partition))
        .collect();
    free.sort_unstable();
    for (_, topic, partition) in free {
        let Some(reader) = readers.get(&topic).and_then(|readers| least(readers, &count)) else { continue };
        if let Some(held) = assigned.get_mut(reader) {
            held.insert(topic, partition);
            *count.entry(reader).or_default() += 1;
        }
    }
    for _ in 0..MOST_ROUNDS {
        let mut moved = false;
        for (topic, readers) in &readers {
            moved |= even_out(*topic, readers, &mut assigned, &mut count);
        }
        if !moved {
            break;
        }
    }
    assigned
}

/// Moves partitions of one topic from those who have most to those who have least.
fn even_out<'a>(
    topic: Uuid,
    readers: &[&'a Str],
    assigned: &mut BTreeMap<Str, Partitions>,
    count: &mut BTreeMap<&'a Str, usize>,
) -> bool {
    let mut moved = false;
    loop {
        let one_of = |member_id: &Str| assigned.get(member_id)?.last_of(topic);
        let most = readers
            .iter()
            .filter_map(|reader| Some((*count.get(reader)?, *reader, one_of(reader)?)))
            .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)));
        let Some((most_count, from, partition)) = most else { return moved };
        let Some(to) = least(readers, count) else { return moved };
        if count.get(to).is_none_or(|least| least + 1 >= most_count) {
            return moved;
        }
        if let Some(held) = assigned.get_mut(from) {
            held.remove(topic, partition);
        }
        if let Some(held) = assigned.get_mut(to) {
            held.insert(topic, partition);
        }
        *count.entry(from).or_default() -= 1;
        *count.entry(to).or_default() += 1;
        moved = true;
    }
}

fn least<'a>(readers: &[&'a Str], count: &BTreeMap<&'a Str, usize>) -> Option<&'a Str> {
    readers.iter().copied().min_by_key(|reader| (count.get(reader).copied().unwrap_or(0), *reader))
}
