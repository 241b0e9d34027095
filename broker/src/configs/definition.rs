//! What a config is: name, type, default, values it may have, and whether it does anything here.

use std::borrow::Cow;

use super::error::ConfigError;
use super::kind::ConfigType;

/// One config.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    /// Kafka's name for it.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// The value when nobody sets it; `None` when it has none then.
    pub default: Option<&'static str>,
    /// The values it may have.
    pub accepts: Accepts,
    /// Whether it can be changed, and whether that changes anything.
    pub role: Role,
    /// Of a topic's config: the broker's that stand behind it, the first one first.
    pub broker: &'static [&'static str],
    /// One line of meaning.
    pub doc: &'static str,
}

/// What a config does in this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It can be changed while the broker runs, and acts at once.
    Acts,
    /// It can be changed, because clients and tools do, and changes nothing.
    Inert,
    /// It cannot be changed here; what is shown is what holds.
    Fixed,
    /// It cannot be changed and nothing looks at it; what is shown is Kafka's default.
    Unused,
    /// It acts and can be set, but is not shown: for tests.
    Hidden,
}

impl Role {
    /// Whether it can be changed while the broker runs.
    #[must_use]
    pub fn is_dynamic(self) -> bool {
        matches!(self, Self::Acts | Self::Inert | Self::Hidden)
    }
}

/// The values a config may have, beside its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Any.
    Any,
    /// At least this number.
    AtLeast(i64),
    /// From the first number to the second.
    Between(i64, i64),
    /// From 0 to 1.
    Fraction,
    /// One of these words; of a list, each word is one of them.
    OneOf(&'static [&'static str]),
    /// -1, or from 1 to 9.
    GzipLevel,
    /// `*`, or `partition:broker` as often as wanted.
    Replicas,
}

/// The choices of `compression.type`.
pub(super) const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// A topic's or a group's config.
pub(super) const fn topic(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    accepts: Accepts,
    role: Role,
    broker: &'static [&'static str],
    doc: &'static str,
) -> ConfigDefinition {
    ConfigDefinition { name, kind, default, accepts, role, broker, doc }
}

/// A broker's config.
pub(super) const fn broker(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    accepts: Accepts,
    role: Role,
    doc: &'static str,
) -> ConfigDefinition {
    ConfigDefinition { name, kind, default, accepts, role, broker: &[], doc }
}

impl ConfigDefinition {
    /// What is shown as its documentation: the meaning, and whether it means anything here.
    #[must_use]
    pub fn documentation(&self) -> Cow<'static, str> {
        match self.role {
            Role::Acts | Role::Fixed | Role::Hidden => Cow::Borrowed(self.doc),
            Role::Inert => {
                Cow::Owned(format!("{} Accepted and kept, without effect in this broker.", self.doc))
            }
            Role::Unused => Cow::Owned(format!("{} Not used by this broker.", self.doc)),
        }
    }

    /// Whether the value must not be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    /// Checks a value somebody wants to set.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], in Kafka's words.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        self.reason_against(value).map_or(Ok(()), |reason| {
            Err(ConfigError::Invalid { name: self.name, value: value.to_owned(), reason })
        })
    }

    fn reason_against(&self, value: &str) -> Option<String> {
        let trimmed = value.trim();
        let not_a_number = || Some(format!("Not a number of type {}", self.kind.name()));
        let number = match self.kind {
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("true") => return None,
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("false") => return None,
            ConfigType::Boolean => return Some("Expected value to be either true or false".to_owned()),
            ConfigType::Double => {
                return match trimmed.parse::<f64>() {
                    Ok(number) if self.accepts != Accepts::Fraction || (0.0..=1.0).contains(&number) => None,
                    Ok(number) if number < 0.0 => Some("Value must be at least 0".to_owned()),
                    Ok(_) => Some("Value must be no more than 1".to_owned()),
                    Err(_) => not_a_number(),
                };
            }
            ConfigType::Int => trimmed.parse::<i32>().ok().map(i64::from),
            ConfigType::Short => trimmed.parse::<i16>().ok().map(i64::from),
            ConfigType::Long => trimmed.parse::<i64>().ok(),
            _ => return self.reason_against_words(trimmed),
        };
        let Some(number) = number else { return not_a_number() };
        let at_least = |least| Some(format!("Value must be at least {least}"));
        match self.accepts {
            Accepts::AtLeast(least) | Accepts::Between(least, _) if number < least => at_least(least),
            Accepts::Between(_, most) if number > most => Some(format!("Value must be no more than {most}")),
            Accepts::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
                Some("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            _ => None,
        }
    }

    fn reason_against_words(&self, value: &str) -> Option<String> {
        let words: Vec<&str> = match self.kind {
            ConfigType::List => words(value).collect(),
            _ => vec![value],
        };
        match self.accepts {
            Accepts::OneOf(choices) if !words.iter().all(|word| choices.contains(word)) => {
                Some(format!("String must be one of: {}", choices.join(", ")))
            }
            Accepts::Replicas if value != "*" && !words.iter().all(|word| is_replica(word)) => Some(format!(
                "{} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                self.name
            )),
            _ => None,
        }
    }
}

/// The words of a list; an empty text has none.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn is_replica(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

#[cfg(test)]
mod tests {
    use super::super::{BROKER_CONFIGS, TOPIC_CONFIGS, topic_definition};

    #[test]
    fn every_default_is_a_value_it_may_have_and_names_are_in_order() {
        for table in [TOPIC_CONFIGS, BROKER_CONFIGS] {
            for definition in table {
                // Kafka's own defaults of the two configs it wants set are no values it would take.
                let default = definition.default.unwrap_or_default();
                if definition.default.is_some() {
                    assert_eq!(definition.check(default), Ok(()), "{}", definition.name);
                }
                assert!(definition.doc.ends_with('.'), "{}", definition.name);
            }
            assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
    }

    #[test]
    fn a_topics_broker_configs_exist_and_change_what_they_stand_for() {
        for definition in TOPIC_CONFIGS {
            for (nth, name) in definition.broker.iter().enumerate() {
                let found = BROKER_CONFIGS.iter().find(|broker| broker.name == *name);
                let found = found.unwrap_or_else(|| panic!("{name} of {}", definition.name));
                // Later ones are older names with other units, which only have their defaults here.
                if nth == 0 {
                    assert_eq!(found.role, definition.role, "{name}");
                    assert_eq!(found.kind, definition.kind, "{name}");
                }
            }
        }
    }

    /// The words are those of Apache Kafka 4.4.0, asked with the same values.
    #[test]
    fn values_are_refused_in_kafkas_words() {
        let refusal = |name: &str, value: &str| {
            let definition = topic_definition(name).unwrap();
            definition.check(value).err().map(|error| error.to_string())
        };
        for (name, value, expected) in [
            ("segment.bytes", "13", "Value must be at least 1048576"),
            ("segment.bytes", "x", "Not a number of type INT"),
            ("segment.bytes", "2147483648", "Not a number of type INT"),
            ("max.message.bytes", "", "Not a number of type INT"),
            ("cleanup.policy", "Compact", "String must be one of: compact, delete"),
            ("retention.ms", "-2", "Value must be at least -1"),
            (
                "compression.type",
                "none",
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
            ("compression.lz4.level", "18", "Value must be no more than 17"),
            ("preallocate", "maybe", "Expected value to be either true or false"),
            ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "abc", "Not a number of type DOUBLE"),
            ("message.timestamp.type", "logappendtime", "String must be one of: CreateTime, LogAppendTime"),
        ] {
            let expected = format!("Invalid value {value} for configuration {name}: {expected}");
            assert_eq!(refusal(name, value), Some(expected));
        }
        assert!(refusal("leader.replication.throttled.replicas", "x").is_some());
        for (name, value) in [
            ("segment.bytes", " 1048576 "),
            ("cleanup.policy", ""),
            ("cleanup.policy", "compact,compact"),
            ("cleanup.policy", "compact, delete"),
            ("retention.bytes", "-7"),
            ("preallocate", "TRUE"),
            ("leader.replication.throttled.replicas", "0:1,1:2"),
            ("leader.replication.throttled.replicas", "*"),
            ("internal.segment.bytes", "1000"),
        ] {
            assert_eq!(refusal(name, value), None, "{name}={value}");
        }
    }
}
