//! Range: each topic's partitions in order, cut into as many neighbouring ranges as it has readers.

use std::collections::BTreeMap;

use super::super::partitions::Partitions;
use super::{Spec, SpecMember};
use crate::Str;

pub(super) fn assign(spec: &Spec) -> BTreeMap<Str, Partitions> {
    // Static members come first and by their lasting ids, so that a restart moves nothing.
    let mut members: Vec<(&Str, &SpecMember)> = spec.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance_id.is_none(), member.instance_id.as_ref(), *id));
    let mut assigned: BTreeMap<Str, Partitions> =
        spec.members.keys().map(|id| (id.clone(), Partitions::new())).collect();
    for (&topic, &partitions) in &spec.topics {
        let readers: Vec<&Str> = members
            .iter()
            .filter(|(_, member)| member.topics.contains(&topic))
            .map(|(member_id, _)| *member_id)
            .collect();
        let Ok(count) = i32::try_from(readers.len()) else { continue };
        if count == 0 {
            continue;
        }
        let (share, extra) = (partitions / count, partitions % count);
        let mut next = 0;
        for (nth, reader) in readers.into_iter().enumerate() {
            let size = share + i32::from(i32::try_from(nth).is_ok_and(|nth| nth < extra));
            if let Some(held) = assigned.get_mut(reader) {
                held.extend((next..next + size).map(|partition| (topic, partition)));
            }
            next += size;
        }
    }
    assigned
}
