//! A topic's configs: Kafka's names, types and defaults, and the one of our own.
//!
//! Every name Kafka knows is listed with its default, because tools read, change and write back the whole
//! list. Which of them act today is said in each one's documentation text.

use std::collections::BTreeMap;

use logmill_storage::{Durability, LogOptions};

/// The type of a config's value, with Kafka's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text, from a list of choices where there is one.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 64-bit number.
    Long = 5,
    /// A fraction.
    Double = 6,
    /// Words separated by commas.
    List = 7,
}

/// Where a config's value comes from, with Kafka's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic = 1,
    /// Set in the broker's configuration.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
}

/// One config's name, type, default, choices and meaning.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    /// Kafka's name for it.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The value when nobody sets it.
    pub default: &'static str,
    /// The values it may have; empty when any value of the type will do.
    pub choices: &'static [&'static str],
    /// The smallest number it may be.
    pub min: i64,
    /// One line of meaning.
    pub doc: &'static str,
}

/// A config with its value, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name for it.
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Its type.
    pub kind: ConfigType,
    /// One line of meaning.
    pub doc: &'static str,
}

/// A config that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such name.
    #[error("unknown topic config {name:?}")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// Not a value of its type, or out of its bounds.
    #[error("topic config {name} cannot be {value:?}: {expected}")]
    Invalid {
        /// The config's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// What it may be.
        expected: String,
    },
}

const fn number(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    min: i64,
    doc: &'static str,
) -> ConfigDefinition {
    ConfigDefinition { name, kind, default, choices: &[], min, doc }
}

const fn choice(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    choices: &'static [&'static str],
    doc: &'static str,
) -> ConfigDefinition {
    ConfigDefinition { name, kind, default, choices, min: i64::MIN, doc }
}

const BOOLEAN: &[&str] = &["true", "false"];

use ConfigType::{Boolean, Double, Int, List, Long, String as Text};

/// The name of our own config: when a produce is acknowledged.
const DURABILITY: &str = "logmill.durability";

/// Every topic config, in the order of their names.
#[rustfmt::skip]
pub const TOPIC_CONFIGS: &[ConfigDefinition] = &[
    choice("cleanup.policy", List, "delete", &["delete", "compact"], "What happens to old segments. Kept and shown; nothing is removed yet."),
    number("compression.gzip.level", Int, "-1", -1, "Level for recompression with gzip. Kept and shown."),
    number("compression.lz4.level", Int, "9", 1, "Level for recompression with lz4. Kept and shown."),
    choice("compression.type", Text, "producer", &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"], "The codec on disk. Batches keep their producer's codec."),
    number("compression.zstd.level", Int, "3", -131_072, "Level for recompression with zstd. Kept and shown."),
    number("delete.retention.ms", Long, "86400000", 0, "How long tombstones stay after compaction. Kept and shown."),
    number("file.delete.delay.ms", Long, "60000", 0, "How long a deleted file stays. Kept and shown."),
    number("flush.messages", Long, "9223372036854775807", 1, "Not needed: acknowledged records are on disk."),
    number("flush.ms", Long, "9223372036854775807", 0, "Not needed: acknowledged records are on disk."),
    number("follower.replication.throttled.replicas", List, "", i64::MIN, "No replicas on a single node."),
    number("index.interval.bytes", Int, "4096", 0, "Bytes of log between two index entries."),
    number("leader.replication.throttled.replicas", List, "", i64::MIN, "No replicas on a single node."),
    number("local.retention.bytes", Long, "-2", -2, "No tiered storage."),
    number("local.retention.ms", Long, "-2", -2, "No tiered storage."),
    choice(DURABILITY, Text, "disk", &["disk", "page-cache"], "When acks=all is answered: after the bytes are on the device, or after they are in the page cache as in Apache Kafka."),
    number("max.compaction.lag.ms", Long, "9223372036854775807", 1, "The longest a record may stay uncompacted. Kept and shown."),
    number("max.message.bytes", Int, "1048588", 0, "The largest batch a produce may bring."),
    number("message.timestamp.after.max.ms", Long, "3600000", 0, "How far a record's timestamp may be ahead of the broker's clock."),
    number("message.timestamp.before.max.ms", Long, "9223372036854775807", 0, "How far a record's timestamp may be behind the broker's clock."),
    choice("message.timestamp.type", Text, "CreateTime", &["CreateTime", "LogAppendTime"], "Whose clock stamps the records."),
    number("min.cleanable.dirty.ratio", Double, "0.5", 0, "When compaction starts. Kept and shown."),
    number("min.compaction.lag.ms", Long, "0", 0, "The shortest a record stays uncompacted. Kept and shown."),
    number("min.insync.replicas", Int, "1", 1, "One node is the only replica."),
    choice("preallocate", Boolean, "false", BOOLEAN, "Segments grow as they are written."),
    choice("remote.log.copy.disable", Boolean, "false", BOOLEAN, "No tiered storage."),
    choice("remote.log.delete.on.disable", Boolean, "false", BOOLEAN, "No tiered storage."),
    choice("remote.storage.enable", Boolean, "false", &["false"], "No tiered storage."),
    number("retention.bytes", Long, "-1", -1, "How many bytes a partition keeps. Kept and shown; nothing is removed yet."),
    number("retention.ms", Long, "604800000", -1, "How long records are kept. Kept and shown; nothing is removed yet."),
    number("segment.bytes", Int, "1073741824", 14, "The size at which a segment is closed."),
    number("segment.index.bytes", Int, "10485760", 4, "The size at which a segment's index is full and the segment closed."),
    number("segment.jitter.ms", Long, "0", 0, "Spreads closing by time. Kept and shown."),
    number("segment.ms", Long, "604800000", 1, "The age at which a segment is closed. Kept and shown."),
    choice("unclean.leader.election.enable", Boolean, "false", BOOLEAN, "No elections on a single node."),
];

/// The definition of a config.
fn definition(name: &str) -> Option<&'static ConfigDefinition> {
    TOPIC_CONFIGS.iter().find(|definition| definition.name == name)
}

impl ConfigDefinition {
    fn check(&self, value: &str) -> Result<(), ConfigError> {
        let invalid =
            |expected: String| ConfigError::Invalid { name: self.name, value: value.to_owned(), expected };
        if !self.choices.is_empty() {
            let words: Vec<&str> = match self.kind {
                List => value.split(',').map(str::trim).collect(),
                _ => vec![value],
            };
            return match words.iter().all(|word| self.choices.contains(word)) {
                true => Ok(()),
                false => Err(invalid(format!("it may be {}", self.choices.join(", ")))),
            };
        }
        let in_bounds = match self.kind {
            Int => value.trim().parse::<i32>().is_ok_and(|n| i64::from(n) >= self.min),
            Long => value.trim().parse::<i64>().is_ok_and(|n| n >= self.min),
            Double => value.trim().parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n)),
            Boolean | Text | List => true,
        };
        let expected = match self.kind {
            Double => "a fraction from 0 to 1".to_owned(),
            _ => format!("a whole number, at least {}", self.min),
        };
        if in_bounds { Ok(()) } else { Err(invalid(expected)) }
    }
}

/// Checks configs that somebody wants to set.
///
/// # Errors
/// The first one that cannot be set.
pub(super) fn check(configs: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    configs.iter().try_for_each(|(name, value)| {
        definition(name).ok_or_else(|| ConfigError::Unknown { name: name.clone() })?.check(value)
    })
}

/// All configs with the values in force: the topic's, else the broker's, else Kafka's default.
pub(super) fn describe(
    set: &BTreeMap<String, String>,
    broker: &BTreeMap<String, String>,
) -> Vec<ConfigEntry> {
    TOPIC_CONFIGS
        .iter()
        .map(|definition| {
            let (value, source) = match (set.get(definition.name), broker.get(definition.name)) {
                (Some(value), _) => (value.clone(), ConfigSource::Topic),
                (None, Some(value)) => (value.clone(), ConfigSource::StaticBroker),
                (None, None) => (definition.default.to_owned(), ConfigSource::Default),
            };
            ConfigEntry { name: definition.name, value, source, kind: definition.kind, doc: definition.doc }
        })
        .collect()
}

/// What the log of a topic with these configs is opened with.
pub(super) fn log_options(set: &BTreeMap<String, String>, broker: &LogOptions) -> LogOptions {
    let mut options = *broker;
    let number = |name: &str| set.get(name).and_then(|value| value.trim().parse::<u32>().ok());
    if let Some(bytes) = number("segment.bytes") {
        options.segment_bytes = bytes;
    }
    if let Some(bytes) = number("index.interval.bytes") {
        options.index_interval_bytes = bytes;
    }
    if let Some(bytes) = number("segment.index.bytes") {
        options.index_max_bytes = bytes;
    }
    match set.get(DURABILITY).map(String::as_str) {
        Some("page-cache") => options.durability = Durability::PageCache,
        Some(_) => options.durability = Durability::Disk,
        None => {}
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn every_default_is_a_value_it_may_have_and_names_are_in_order() {
        for definition in TOPIC_CONFIGS {
            assert_eq!(definition.check(definition.default), Ok(()), "{}", definition.name);
        }
        assert!(TOPIC_CONFIGS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn values_out_of_bounds_and_unknown_names_are_refused() {
        assert_eq!(check(&set("segment.bytes", "1048576")), Ok(()));
        assert_eq!(check(&set("cleanup.policy", "compact,delete")), Ok(()));
        assert!(matches!(check(&set("segment.bytes", "13")), Err(ConfigError::Invalid { .. })));
        assert!(matches!(check(&set("segment.bytes", "x")), Err(ConfigError::Invalid { .. })));
        assert!(matches!(check(&set("cleanup.policy", "shred")), Err(ConfigError::Invalid { .. })));
        assert!(matches!(check(&set("segment.byte", "1")), Err(ConfigError::Unknown { .. })));
    }

    #[test]
    fn a_topics_value_goes_before_the_brokers() {
        let broker = set("max.message.bytes", "5");
        let shown = |configs: &BTreeMap<String, String>| {
            let entries = describe(configs, &broker);
            let entry = entries.into_iter().find(|entry| entry.name == "max.message.bytes").expect("listed");
            (entry.value, entry.source)
        };
        assert_eq!(shown(&BTreeMap::new()), ("5".to_owned(), ConfigSource::StaticBroker));
        assert_eq!(shown(&set("max.message.bytes", "9")), ("9".to_owned(), ConfigSource::Topic));
    }
}
