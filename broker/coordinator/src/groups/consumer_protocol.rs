//! What consumers tell each other inside a group's opaque bytes, as far as a coordinator needs it.

use bytes::Bytes;
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

/// A subscription to these topics; empty if one is no topic's name.
pub(super) fn subscription(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let topics = assigned.iter().map(|(topic, _)| topic.clone()).collect();
    encode(&ConsumerProtocolSubscription { topics, ..Default::default() }, 0).unwrap_or_default()
}

/// An assignment of these partitions; empty if a topic is no topic's name.
pub(super) fn assignment(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let assigned_partitions = assigned
        .iter()
        .map(|(topic, partitions)| TopicPartition { topic: topic.clone(), partitions: partitions.clone() })
        .collect();
    encode(&ConsumerProtocolAssignment { assigned_partitions, user_data: None }, 0).unwrap_or_default()
}
