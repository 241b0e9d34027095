//! What consumers tell each other inside a group's opaque bytes, as far as a coordinator needs it.

use bytes::Bytes;
use logmill_wire::Message;
use logmill_wire::records::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use logmill_wire::records::encode;

use crate::Str;

/// The kind of group consumers form.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics a member reads; `None` when the bytes do not say.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Option<Vec<Str>> {
    ConsumerProtocolSubscription::from_bytes(metadata.clone()).ok().map(|subscription| subscription.topics)
}

/// The partitions an assignment names; `None` when the bytes do not say. No bytes are no partitions.
pub(super) fn assigned_partitions(assignment: &Bytes) -> Option<Vec<(Str, Vec<i32>)>> {
    if assignment.is_empty() {
        return Some(Vec::new());
    }
    let assignment = ConsumerProtocolAssignment::from_bytes(assignment.clone()).ok()?;
    let assigned = assignment.assigned_partitions.into_iter();
    Some(assigned.map(|topic| (topic.topic, topic.partitions)).collect())
}

/// A subscription to these topics; empty if one is no topic's name.
pub(super) fn subscription(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let topics = assigned.iter().map(|(topic, _)| topic.clone()).collect();
    encode(&ConsumerProtocolSubscription { topics, ..Default::default() }, 0).unwrap_or_default()
}

/// An assignment of these partitions; empty if a topic is no topic's name.
pub(super) fn assignment(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    assignment_in(0, assigned)
}

/// An assignment of these partitions in the version of a subscription, as far as we know it.
pub(super) fn assignment_for(subscription: Option<&Bytes>, assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let theirs = subscription.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, i16::from_be_bytes);
    assignment_in(theirs.clamp(0, *ConsumerProtocolAssignment::VERSIONS.end()), assigned)
}

fn assignment_in(version: i16, assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let assigned_partitions = assigned
        .iter()
        .map(|(topic, partitions)| TopicPartition { topic: topic.clone(), partitions: partitions.clone() })
        .collect();
    encode(&ConsumerProtocolAssignment { assigned_partitions, user_data: None }, version).unwrap_or_default()
}
