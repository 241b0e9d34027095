//! The broker's configs under Kafka's names: what tools look for, with the values that hold here.

use crate::context::Context;
use crate::topics::{ConfigEntry, ConfigSource, ConfigType};

use ConfigType::{Boolean, Int, List, Long, String as Text};

/// Configs whose value does not depend on anything set here.
#[rustfmt::skip]
const FIXED: &[(&str, ConfigType, &str, &str)] = &[
    ("authorizer.class.name", Text, "", "Everybody may do everything."),
    ("compression.type", Text, "producer", "Batches keep their producer's codec."),
    ("default.replication.factor", Int, "1", "One node is the only replica."),
    ("delete.topic.enable", Boolean, "true", "Topics can be deleted."),
    ("group.initial.rebalance.delay.ms", Int, "0", "How long an empty group waits for more members."),
    ("group.max.session.timeout.ms", Int, "1800000", "Longest session timeout of a group member."),
    ("group.min.session.timeout.ms", Int, "6000", "Shortest session timeout of a group member."),
    ("log.cleanup.policy", List, "delete", "What happens to old segments."),
    ("log.flush.interval.messages", Long, "9223372036854775807", "Not needed: acknowledged records are on disk."),
    ("log.message.timestamp.type", Text, "CreateTime", "Whose clock stamps the records."),
    ("log.retention.bytes", Long, "-1", "How many bytes a partition keeps."),
    ("log.retention.ms", Long, "604800000", "How long records are kept."),
    ("min.insync.replicas", Int, "1", "One node is the only replica."),
    ("offsets.topic.num.partitions", Int, "50", "Partitions of __consumer_offsets."),
    ("offsets.topic.replication.factor", Int, "1", "One node is the only replica."),
    ("process.roles", List, "broker", "One process does everything."),
    ("producer.id.expiration.ms", Int, "86400000", "How long a partition knows a producer that sends nothing."),
    ("transaction.max.timeout.ms", Int, "900000", "Longest timeout of a transaction."),
    ("transaction.state.log.min.isr", Int, "1", "One node is the only replica."),
    ("transaction.state.log.num.partitions", Int, "50", "Partitions of __transaction_state."),
    ("transaction.state.log.replication.factor", Int, "1", "One node is the only replica."),
];

/// Names under which Kafka's brokers set the default of a topic config.
const TOPIC_DEFAULTS: &[(&str, &str)] = &[
    ("log.index.interval.bytes", "index.interval.bytes"),
    ("log.segment.bytes", "segment.bytes"),
    ("message.max.bytes", "max.message.bytes"),
    ("logmill.durability", "logmill.durability"),
];

/// All of them, by name.
pub(super) fn broker_configs(context: &Context) -> Vec<ConfigEntry> {
    let defaults = context.topics.defaults();
    let set = |name, kind, value: String, doc| ConfigEntry {
        name,
        value,
        source: ConfigSource::StaticBroker,
        kind,
        doc,
    };
    let mut entries: Vec<ConfigEntry> = FIXED
        .iter()
        .map(|&(name, kind, value, doc)| ConfigEntry {
            name,
            value: value.to_owned(),
            source: ConfigSource::Default,
            kind,
            doc,
        })
        .collect();
    let (host, port) = &context.node.advertised;
    entries.extend([
        set(
            "advertised.listeners",
            List,
            format!("PLAINTEXT://{host}:{port}"),
            "What clients are told to connect to.",
        ),
        set(
            "auto.create.topics.enable",
            Boolean,
            defaults.auto_create.to_string(),
            "Asking for a topic creates it.",
        ),
        set("broker.id", Int, context.node.node_id.to_string(), "This node."),
        set(
            "fetch.max.bytes",
            Int,
            context.limits.fetch_bytes.to_string(),
            "The most bytes of one fetch response.",
        ),
        set("node.id", Int, context.node.node_id.to_string(), "This node."),
        set(
            "num.partitions",
            Int,
            defaults.partitions.to_string(),
            "Partitions of a topic whose creator does not say.",
        ),
    ]);
    for &(name, topic_config) in TOPIC_DEFAULTS {
        let Some(definition) = crate::topics::TOPIC_CONFIGS.iter().find(|known| known.name == topic_config)
        else {
            continue;
        };
        entries.push(match defaults.configs.get(topic_config) {
            Some(value) => set(name, definition.kind, value.clone(), definition.doc),
            None => ConfigEntry {
                name,
                value: definition.default.to_owned(),
                source: ConfigSource::Default,
                kind: definition.kind,
                doc: definition.doc,
            },
        });
    }
    entries.sort_by_key(|entry| entry.name);
    entries
}
