//! Configs of topics and of the broker: Kafka's names, and what each of them does here.
//!
//! The two tables ([`TOPIC_CONFIGS`], [`BROKER_CONFIGS`]) are the only place that knows the names: type,
//! default, allowed values and [`Role`]. Every name that Kafka knows is listed, because tools read,
//! change and write back the whole list; the role says whether it acts, and so does the documentation
//! that clients are shown.
//!
//! Nothing here has state: what is set is a [`ConfigSet`] of a topic's record and the [`BrokerConfigs`]
//! of the metadata log, and [`TopicRules`] is what the two come to for one topic.

mod broker_table;
mod change;
mod definition;
mod error;
mod fixed;
mod group_table;
mod groups;
mod kind;
mod layers;
mod rules;
mod topic_table;

use std::collections::BTreeMap;

pub use broker_table::BROKER_CONFIGS;
pub use change::Change;
pub use definition::{Accepts, ConfigDefinition, Role};
pub use error::ConfigError;
pub use group_table::GROUP_CONFIGS;
pub(crate) use groups::{change_group, group_times};
pub use kind::{ConfigSource, ConfigType};
pub use layers::BrokerConfigs;
pub use rules::TopicRules;
pub(crate) use rules::log_options;
pub use topic_table::TOPIC_CONFIGS;

/// Configs that were set, by name.
pub type ConfigSet = BTreeMap<String, String>;

/// A config with its value, as it is shown.
#[derive(Clone, Debug)]
pub struct ConfigEntry {
    /// What it is.
    pub definition: &'static ConfigDefinition,
    /// The value in force; `None` when it has none.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Every place it may come from, the one that holds first.
    pub synonyms: Vec<Synonym>,
}

/// A place where a value may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The config's name there.
    pub name: &'static str,
    /// Its value there.
    pub value: String,
    /// The place.
    pub source: ConfigSource,
}

fn topic_definition(name: &str) -> Option<&'static ConfigDefinition> {
    TOPIC_CONFIGS.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| &TOPIC_CONFIGS[at])
}

fn broker_definition(name: &str) -> Option<&'static ConfigDefinition> {
    BROKER_CONFIGS.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| &BROKER_CONFIGS[at])
}

fn known_topic_config(name: &str) -> Result<&'static ConfigDefinition, ConfigError> {
    topic_definition(name).ok_or_else(|| ConfigError::Unknown { resource: "topic", name: name.to_owned() })
}

fn known_broker_config(name: &str) -> Result<&'static ConfigDefinition, ConfigError> {
    broker_definition(name).ok_or_else(|| ConfigError::Unknown { resource: "broker", name: name.to_owned() })
}

/// Checks everything that is to be set for a topic, as Kafka does: each value, then what belongs together.
///
/// # Errors
/// The first one that cannot be set.
pub(crate) fn check_topic(set: &ConfigSet, broker: &BrokerConfigs) -> Result<(), ConfigError> {
    for (name, value) in set {
        known_topic_config(name)?.check(value)?;
    }
    let number = |name| broker.topic_value(set, name).and_then(|value| value.trim().parse::<i64>().ok());
    if let (Some(min), Some(max)) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"))
        && min > max
    {
        let conflict = format!("min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})");
        return Err(ConfigError::Conflict(conflict));
    }
    match set.get("remote.storage.enable") {
        Some(value) if value.trim().eq_ignore_ascii_case("true") => Err(ConfigError::TieredStorage),
        _ => Ok(()),
    }
}

/// What is set for a topic after the changes, checked.
///
/// # Errors
/// Why it cannot be set so.
pub(crate) fn change_topic(
    before: &ConfigSet,
    changes: &[(String, Change)],
    broker: &BrokerConfigs,
) -> Result<ConfigSet, ConfigError> {
    let after = change::apply(before, changes, known_topic_config)?;
    check_topic(&after, broker)?;
    Ok(after)
}

/// What is set for the broker in one layer after the changes, checked.
///
/// # Errors
/// Why it cannot be set so.
pub(crate) fn change_broker(
    before: &ConfigSet,
    changes: &[(String, Change)],
    broker: &BrokerConfigs,
) -> Result<ConfigSet, ConfigError> {
    for (name, _) in changes {
        let definition = known_broker_config(name)?;
        if !definition.role.is_dynamic() {
            return Err(ConfigError::NotDynamic { name: definition.name });
        }
    }
    let after = change::apply(before, changes, known_broker_config)?;
    for (name, value) in &after {
        let definition = known_broker_config(name)?;
        definition.check(value)?;
        if let Some(must) = groups::out_of_bounds(definition.name, value, broker) {
            return Err(ConfigError::OutOfBounds { name: definition.name, must });
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(configs: &[(&str, &str)]) -> Result<(), String> {
        let set = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check_topic(&set, &BrokerConfigs::default()).map_err(|error| error.to_string())
    }

    /// The words are those of Apache Kafka 4.4.0.
    #[test]
    fn what_belongs_together_is_checked_together() {
        assert_eq!(
            topic(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
            Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)".into())
        );
        assert!(topic(&[("remote.storage.enable", "true")]).unwrap_err().starts_with("Tiered Storage"));
        assert_eq!(topic(&[("nope", "1")]), Err("Unknown topic config name: nope".into()));
        assert_eq!(
            topic(&[("message.format.version", "2.1")]),
            Err("Unknown topic config name: message.format.version".into()),
            "gone since Kafka 4"
        );
        assert_eq!(topic(&[("retention.ms", "50"), ("local.retention.ms", "40")]), Ok(()));
    }

    #[test]
    fn only_dynamic_configs_of_the_broker_change() {
        let change = |name: &str, value: &str| {
            let changes = [(name.to_owned(), Change::Set(value.to_owned()))];
            let broker = BrokerConfigs::default();
            change_broker(&ConfigSet::new(), &changes, &broker).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(change("log.retention.ms", "5"), Ok(()));
        assert_eq!(change("leader.replication.throttled.rate", "100"), Ok(()));
        assert_eq!(
            change("num.partitions", "3"),
            Err("Cannot update these configs dynamically: [num.partitions]".into())
        );
        // In the words of Apache Kafka 4.4.0.
        assert_eq!(
            change("group.consumer.assignment.interval.ms", "20000"),
            Err("group.consumer.assignment.interval.ms must be less than or equal to \
                 group.consumer.max.assignment.interval.ms"
                .into())
        );
        assert!(change("log.segment.bytes", "3").unwrap_err().contains("at least 1048576"));
        assert_eq!(change("nope", "3"), Err("Unknown broker config name: nope".into()));
    }
}
