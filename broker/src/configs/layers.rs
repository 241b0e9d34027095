//! The broker's configs in layers: set for this broker, set for all, in its file, by default.

use super::definition::ConfigDefinition;
use super::kind::ConfigSource;
use super::{
    BROKER_CONFIGS, ConfigEntry, ConfigSet, GROUP_CONFIGS, Synonym, TOPIC_CONFIGS, broker_definition,
    topic_definition,
};
use crate::configs::Role;

/// What is set for the broker, by layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConfigs {
    /// Set for this broker while it runs.
    pub node: ConfigSet,
    /// Set for all brokers while they run.
    pub cluster: ConfigSet,
    /// What the configuration file and the broker itself give, where it is not Kafka's default.
    fixed: ConfigSet,
}

impl BrokerConfigs {
    /// With what the configuration file and the broker itself give; values that are Kafka's default anyway
    /// count as not set.
    #[must_use]
    pub fn new(fixed: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let differs = |(name, value): &(&'static str, String)| {
            broker_definition(name).is_none_or(|definition| definition.default != Some(value))
        };
        let fixed = fixed.into_iter().filter(differs).map(|(name, value)| (name.to_owned(), value)).collect();
        Self { fixed, ..Self::default() }
    }

    fn layers(&self) -> [(ConfigSource, &ConfigSet); 3] {
        [
            (ConfigSource::DynamicBroker, &self.node),
            (ConfigSource::DynamicDefault, &self.cluster),
            (ConfigSource::StaticBroker, &self.fixed),
        ]
    }

    /// Every place the value of the first of these names may come from, the one that holds first.
    fn synonyms(&self, names: &[&'static str]) -> Vec<Synonym> {
        let mut found = Vec::new();
        for (source, layer) in self.layers() {
            for &name in names {
                if let Some(value) = layer.get(name) {
                    found.push(Synonym { name, value: value.clone(), source });
                }
            }
        }
        for &name in names {
            if let Some(value) = broker_definition(name).and_then(|definition| definition.default) {
                found.push(Synonym { name, value: value.to_owned(), source: ConfigSource::Default });
            }
        }
        // An older name does not stand alone for the newer one, as with Kafka.
        let first = found.iter().position(|synonym| Some(&synonym.name) == names.first());
        first.map(|first| found.split_off(first)).unwrap_or_default()
    }

    /// The value set for a broker's config in any layer, and which.
    fn set(&self, name: &str) -> Option<(&str, ConfigSource)> {
        self.layers().into_iter().find_map(|(source, layer)| Some((layer.get(name)?.as_str(), source)))
    }

    /// The number that a broker's config has now; `None` when it has none or is no number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let default = || broker_definition(name).and_then(|definition| definition.default);
        self.set(name).map(|(value, _)| value).or_else(default)?.trim().parse().ok()
    }

    /// The value of a topic's config: set for the topic, else for the broker, else Kafka's default.
    #[must_use]
    pub fn topic_value<'a>(&'a self, topic: &'a ConfigSet, name: &str) -> Option<&'a str> {
        let definition = topic_definition(name)?;
        self.value_of(topic, ConfigSource::Topic, definition).0
    }

    /// The value of a group's config: set for the group, else for the broker, else Kafka's default.
    pub(super) fn group_value<'a>(&'a self, group: &'a ConfigSet, name: &str) -> Option<&'a str> {
        let definition = GROUP_CONFIGS.iter().find(|definition| definition.name == name)?;
        self.value_of(group, ConfigSource::Group, definition).0
    }

    /// All configs of a group with the values in force.
    #[must_use]
    pub fn describe_group(&self, group: &ConfigSet) -> Vec<ConfigEntry> {
        self.describe_own(GROUP_CONFIGS, group, ConfigSource::Group)
    }

    fn value_of<'a>(
        &'a self,
        own: &'a ConfigSet,
        source: ConfigSource,
        definition: &'static ConfigDefinition,
    ) -> (Option<&'a str>, ConfigSource) {
        if let Some(value) = own.get(definition.name) {
            return (Some(value), source);
        }
        match definition.broker.first().and_then(|name| self.set(name)) {
            Some((value, source)) => (Some(value), source),
            None => (definition.default, ConfigSource::Default),
        }
    }

    /// All configs of a topic with the values in force.
    #[must_use]
    pub fn describe_topic(&self, topic: &ConfigSet) -> Vec<ConfigEntry> {
        self.describe_own(TOPIC_CONFIGS, topic, ConfigSource::Topic)
    }

    fn describe_own(
        &self,
        table: &'static [ConfigDefinition],
        own_set: &ConfigSet,
        own_source: ConfigSource,
    ) -> Vec<ConfigEntry> {
        let shown = table.iter().filter(|definition| definition.role != Role::Hidden);
        shown
            .map(|definition| {
                let (value, source) = self.value_of(own_set, own_source, definition);
                let mut synonyms = self.synonyms(definition.broker);
                if let Some(value) = own_set.get(definition.name) {
                    let own = Synonym { name: definition.name, value: value.clone(), source };
                    synonyms.insert(0, own);
                }
                ConfigEntry { definition, value: value.map(str::to_owned), source, synonyms }
            })
            .collect()
    }

    /// All configs of the broker with the values in force.
    #[must_use]
    pub fn describe_broker(&self) -> Vec<ConfigEntry> {
        BROKER_CONFIGS.iter().map(|definition| self.entry(definition)).collect()
    }

    /// What is set for all brokers while they run.
    #[must_use]
    pub fn describe_cluster(&self) -> Vec<ConfigEntry> {
        let set = BROKER_CONFIGS.iter().filter_map(|definition| {
            let value = self.cluster.get(definition.name)?.clone();
            let source = ConfigSource::DynamicDefault;
            let synonyms = vec![Synonym { name: definition.name, value: value.clone(), source }];
            Some(ConfigEntry { definition, value: Some(value), source, synonyms })
        });
        set.collect()
    }

    fn entry(&self, definition: &'static ConfigDefinition) -> ConfigEntry {
        let (value, source) = match self.set(definition.name) {
            Some((value, source)) => (Some(value), source),
            None => (definition.default, ConfigSource::Default),
        };
        let own = [definition.name];
        // The newer name knows the older ones behind it.
        let mut behind = TOPIC_CONFIGS.iter().map(|topic| topic.broker);
        let names = behind.find(|names| names.first() == Some(&definition.name)).unwrap_or(&own);
        ConfigEntry { definition, value: value.map(str::to_owned), source, synonyms: self.synonyms(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> ConfigSet {
        ConfigSet::from([(name.to_owned(), value.to_owned())])
    }

    /// As Apache Kafka 4.4.0 shows it.
    #[test]
    fn a_value_comes_from_the_nearest_layer_and_shows_the_others() {
        let mut configs = BrokerConfigs::new([("log.segment.bytes", "2097152".to_owned())]);
        configs.cluster = set("log.retention.ms", "88888");
        configs.node = set("log.retention.ms", "99999");
        let find = |entries: Vec<ConfigEntry>, name: &str| {
            let entry = entries.into_iter().find(|entry| entry.definition.name == name).unwrap();
            let synonyms: Vec<_> = entry
                .synonyms
                .iter()
                .map(|synonym| format!("{}={}:{}", synonym.name, synonym.value, synonym.source as i8))
                .collect();
            (entry.value, entry.source as i8, synonyms.join(" "))
        };
        let topic = ConfigSet::new();
        assert_eq!(
            find(configs.describe_topic(&topic), "retention.ms"),
            (
                Some("99999".to_owned()),
                2,
                "log.retention.ms=99999:2 log.retention.ms=88888:3 log.retention.hours=168:5".to_owned()
            )
        );
        assert_eq!(
            find(configs.describe_topic(&topic), "segment.bytes"),
            (
                Some("2097152".to_owned()),
                4,
                "log.segment.bytes=2097152:4 log.segment.bytes=1073741824:5".to_owned()
            )
        );
        assert_eq!(
            find(configs.describe_topic(&set("cleanup.policy", "")), "cleanup.policy"),
            (Some(String::new()), 1, "cleanup.policy=:1 log.cleanup.policy=delete:5".to_owned())
        );
        let unset = BrokerConfigs::default();
        assert_eq!(
            find(unset.describe_topic(&topic), "retention.ms"),
            (Some("604800000".to_owned()), 5, String::new())
        );
        assert_eq!(find(unset.describe_broker(), "log.retention.ms"), (None, 5, String::new()));
        assert_eq!(configs.topic_value(&set("retention.ms", "1"), "retention.ms"), Some("1"));
        assert_eq!(configs.describe_cluster().len(), 1);
    }

    #[test]
    fn kafkas_default_in_the_file_counts_as_not_set() {
        let configs = BrokerConfigs::new([("log.segment.bytes", "1073741824".to_owned())]);
        assert_eq!(configs, BrokerConfigs::default());
    }
}
