//! What the records of the broker's own topics say.

use logmill_coordinator::SchemaError;
use logmill_coordinator::{groups, transactions};
use logmill_record::{BatchHeader, Record};

use crate::topics::{METADATA_TOPIC, MetadataRecord, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};

/// The meaning of a record of an internal topic; `None` for other topics.
///
/// A record that cannot be read is told as that.
pub(super) fn of_record(topic: &str, batch: &BatchHeader, record: &Record) -> Option<String> {
    let (key, value) = (record.key.clone(), record.value.clone());
    let told = match topic {
        OFFSETS_TOPIC => {
            let producer = batch.is_transactional().then_some((batch.producer_id, batch.producer_epoch));
            told(groups::Record::decode(key, value, producer).map(|record| group(&record)))
        }
        TRANSACTIONS_TOPIC => {
            told(transactions::Record::decode(key, value).map(|record| format!("{record:?}")))
        }
        METADATA_TOPIC => match MetadataRecord::decode(&key.unwrap_or_default(), value.as_deref()) {
            Ok(record) => format!("{record:?}"),
            Err(error) => format!("unreadable: {error}"),
        },
        _ => return None,
    };
    Some(told)
}

fn told(decoded: Result<String, SchemaError>) -> String {
    decoded.unwrap_or_else(|error| format!("unreadable: {error}"))
}

fn group(record: &groups::Record) -> String {
    match record {
        groups::Record::Offset { group, topic, partition, value: Some(value), .. } => {
            let note =
                if value.metadata.is_empty() { String::new() } else { format!(" note {:?}", value.metadata) };
            format!(
                "offset of group {group:?} in {topic}-{partition}: {} (leader epoch {}, committed {}){note}",
                value.offset, value.leader_epoch, value.commit_timestamp
            )
        }
        groups::Record::Offset { group, topic, partition, value: None, .. } => {
            format!("offset of group {group:?} in {topic}-{partition}: deleted")
        }
        groups::Record::Consumer { group, record } => {
            format!("consumer group {group:?}: {}", consumer_group(record))
        }
        groups::Record::Group { group, value: None } => format!("group {group:?}: deleted"),
        groups::Record::Group { group, value: Some(value) } => {
            let members: Vec<&str> = value.members.iter().map(|member| &*member.member_id).collect();
            format!(
                "group {group:?}: type {:?} generation {} protocol {:?} leader {:?} members {members:?}",
                value.protocol_type, value.generation, value.protocol, value.leader
            )
        }
    }
}

fn consumer_group(record: &groups::ConsumerRecord) -> String {
    use groups::ConsumerRecord as Of;
    match record {
        Of::Group(Some(group)) => {
            format!("epoch {} metadata hash {:x} created {}", group.epoch, group.metadata_hash, group.created)
        }
        Of::Group(None) => "deleted".to_owned(),
        Of::PartitionMetadata(Some(_)) => "topics as Kafka 4.0 kept them".to_owned(),
        Of::PartitionMetadata(None) => "topics as Kafka 4.0 kept them: deleted".to_owned(),
        Of::Member { member_id, value: Some(member) } => format!(
            "member {member_id:?}: instance {:?} client {:?} host {:?} topics {:?} pattern {:?} assignor {:?}{}",
            member.instance_id,
            member.client_id,
            member.client_host,
            member.topic_names,
            member.topic_regex,
            member.assignor,
            if member.classic.is_some() { " (classic protocol)" } else { "" }
        ),
        Of::TargetEpoch(Some(epoch)) => format!("target assignment of epoch {epoch}"),
        Of::TargetEpoch(None) => "target assignment: deleted".to_owned(),
        Of::Target { member_id, value: Some(target) } => {
            format!("member {member_id:?} is to hold {}", partitions(target))
        }
        Of::Current { member_id, value: Some(current) } => format!(
            "member {member_id:?} in epoch {} (before {}), {:?}: holds {}, gives up {}",
            current.epoch,
            current.previous_epoch,
            current.state,
            partitions(&current.assigned),
            partitions(&current.revoking)
        ),
        Of::Member { member_id, value: None } => format!("member {member_id:?}: deleted"),
        Of::Target { member_id, value: None } => format!("target of member {member_id:?}: deleted"),
        Of::Current { member_id, value: None } => format!("assignment of member {member_id:?}: deleted"),
        Of::Regex { regex, value: Some(resolved) } => {
            format!("pattern {regex:?} stands for {:?}", resolved.topics)
        }
        Of::Regex { regex, value: None } => format!("pattern {regex:?}: deleted"),
    }
}

/// By topic id, as Kafka's tools show it.
fn partitions(partitions: &groups::Partitions) -> String {
    let topic = |(id, partitions)| {
        let partitions: &std::collections::BTreeSet<i32> = partitions;
        format!("{} {partitions:?}", logmill_record::topic_id::to_base64(id))
    };
    let topics: Vec<String> = partitions.topics().map(topic).collect();
    if topics.is_empty() { "nothing".to_owned() } else { topics.join(", ") }
}
