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
