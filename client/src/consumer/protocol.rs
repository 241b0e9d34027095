//! What members of a group of consumers tell each other through the coordinator, which passes it on unread.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use logmill_wire::Str;
use logmill_wire::records::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};

use crate::error::{Error, Result};

/// The protocol type of groups of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// What a member says when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The topics it wants.
    pub(crate) topics: BTreeSet<String>,
    /// The partitions it had.
    pub(crate) owned: BTreeMap<String, Vec<i32>>,
    /// In which generation it got them; -1 when it does not say.
    pub(crate) owned_since: i32,
}

/// What a member wants and had, for JoinGroup.
pub(crate) fn write_subscription(subscription: &Subscription) -> Result<Bytes> {
    let owned = subscription.owned.iter().map(|(topic, partitions)| TopicPartition {
        topic: Str::from(topic),
        partitions: partitions.clone(),
    });
    let subscription = ConsumerProtocolSubscription {
        topics: subscription.topics.iter().map(Str::from).collect(),
        owned_partitions: owned.collect(),
        generation_id: subscription.owned_since,
        ..ConsumerProtocolSubscription::default()
    };
    subscription.to_bytes().map_err(|error| Error::InvalidArgument(format!("the subscription: {error}")))
}

/// What another member wants and had.
pub(crate) fn read_subscription(bytes: &Bytes) -> Result<Subscription> {
    let subscription = ConsumerProtocolSubscription::from_bytes(bytes.clone()).map_err(|error| {
        Error::Protocol { address: "a member of the group".to_owned(), reason: error.to_string() }
    })?;
    let mut owned: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for topic in &subscription.owned_partitions {
        owned.entry(topic.topic.to_string()).or_default().extend(&topic.partitions);
    }
    Ok(Subscription {
        topics: subscription.topics.iter().map(ToString::to_string).collect(),
        owned,
        owned_since: subscription.generation_id,
    })
}

/// What a member gets, for SyncGroup.
pub(crate) fn write_assignment(topics: &BTreeMap<String, Vec<i32>>) -> Result<Bytes> {
    let assigned = topics.iter().map(|(topic, partitions)| TopicPartition {
        topic: Str::from(topic),
        partitions: partitions.clone(),
    });
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: assigned.collect(), ..Default::default() };
    assignment.to_bytes().map_err(|error| Error::InvalidArgument(format!("the assignment: {error}")))
}

/// What this member got, sorted by topic and partition. A member that came too late gets empty bytes.
pub(crate) fn read_assignment(bytes: &Bytes) -> Result<Vec<(String, i32)>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let assignment = ConsumerProtocolAssignment::from_bytes(bytes.clone()).map_err(|error| {
        Error::Protocol { address: "the leader of the group".to_owned(), reason: error.to_string() }
    })?;
    let mut partitions: Vec<(String, i32)> = assignment
        .assigned_partitions
        .iter()
        .flat_map(|assigned| assigned.partitions.iter().map(|p| (assigned.topic.to_string(), *p)))
        .collect();
    partitions.sort();
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_understand_each_other() {
        let subscription = Subscription {
            topics: ["b", "a"].map(str::to_owned).into(),
            owned: BTreeMap::from([("a".to_owned(), vec![3, 1])]),
            owned_since: 7,
        };
        let sent = write_subscription(&subscription).expect("written");
        assert_eq!(read_subscription(&sent).expect("read"), subscription);

        let assignment = BTreeMap::from([("t".to_owned(), vec![2, 0]), ("a".to_owned(), vec![5])]);
        let sent = write_assignment(&assignment).expect("written");
        let read = read_assignment(&sent).expect("read");
        assert_eq!(read, [("a".to_owned(), 5), ("t".to_owned(), 0), ("t".to_owned(), 2)]);
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(read_assignment(&Bytes::new()).expect("read"), []);
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(read_assignment(&Bytes::from_static(&[0, 1, 255, 255, 255])).is_err());
        assert!(read_subscription(&Bytes::from_static(b"\0\x01\x7f\xff\xff\xff")).is_err());
    }
}
