//! Configs of topics, brokers and their loggers.

use logmill_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use logmill_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use logmill_wire::{ErrorCode, Str};

use super::Admin;
use crate::cluster::{Ask, To};
use crate::error::{Error, Result};

/// Something that has configs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by id: what holds there, and what is set for it alone.
    Broker(i32),
    /// All brokers together: what is set for every one of them.
    Brokers,
    /// The loggers of a broker: a level each.
    Loggers(i32),
}

impl ConfigResource {
    fn code_and_name(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::Brokers => (4, String::new()),
            Self::Loggers(id) => (8, id.to_string()),
        }
    }

    /// Only a broker itself knows its configs and its loggers.
    fn at(&self) -> To {
        match self {
            Self::Topic(_) | Self::Brokers => To::Any,
            Self::Broker(id) | Self::Loggers(id) => To::Broker(*id),
        }
    }

    fn error(&self, code: ErrorCode, message: Option<&str>, operation: &str) -> Result<()> {
        match self {
            Self::Topic(topic) if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                Err(Error::UnknownTopic { topic: topic.clone() })
            }
            _ => Error::check(code, message, || operation.to_owned()),
        }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::Brokers => f.write_str("all brokers"),
            Self::Loggers(id) => write!(f, "the loggers of broker {id}"),
        }
    }
}

/// Where a config's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// Set for the broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    Brokers,
    /// Set in the broker's configuration file.
    File,
    /// Nobody set it.
    Default,
    /// The level of a logger.
    Logger,
    /// A place that this library does not know.
    Other(i8),
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::Brokers,
            4 => Self::File,
            5 => Self::Default,
            6 => Self::Logger,
            other => Self::Other(other),
        }
    }

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::Brokers => "brokers",
            Self::File => "file",
            Self::Default => "default",
            Self::Logger => "logger",
            Self::Other(_) => "other",
        }
    }
}

/// One config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it has none or is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it was set for this topic rather than left at its default.
    pub is_set: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether its value is never shown.
    pub is_sensitive: bool,
    /// What it means; `None` when the broker does not say.
    pub documentation: Option<String>,
}

impl From<&DescribeConfigsResourceResult> for ConfigEntry {
    fn from(config: &DescribeConfigsResourceResult) -> Self {
        let source = ConfigSource::from_code(config.config_source);
        Self {
            name: config.name.to_string(),
            value: config.value.as_deref().map(str::to_owned),
            source,
            is_set: source == ConfigSource::Topic,
            read_only: config.read_only,
            is_sensitive: config.is_sensitive,
            documentation: config.documentation.as_deref().filter(|doc| !doc.is_empty()).map(str::to_owned),
        }
    }
}

/// What happens to one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Unset,
    /// This is added to its list.
    Append(String),
    /// This is taken out of its list.
    Subtract(String),
}

impl ConfigChange {
    fn operation(&self) -> i8 {
        match self {
            Self::Set(_) => 0,
            Self::Unset => 1,
            Self::Append(_) => 2,
            Self::Subtract(_) => 3,
        }
    }

    fn value(&self) -> Option<Str> {
        match self {
            Self::Set(value) | Self::Append(value) | Self::Subtract(value) => Some(Str::from(value)),
            Self::Unset => None,
        }
    }
}

impl Admin {
    /// Every config of a resource, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], a resource that the broker does not know, or the time is over.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, name) = resource.code_and_name();
        let request = |version| DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: Str::from(&name),
                configuration_keys: None,
            }],
            include_documentation: version >= 3,
            ..Default::default()
        };
        let operation = format!("reading the configs of {resource}");
        let mut deadline = self.deadline(operation.clone());
        self.find_brokers(resource, &mut deadline).await?;
        self.cluster
            .ask(&Ask::new(resource.at()), &mut deadline, request, |response, _| {
                let result = response.results.into_iter().next().unwrap_or_default();
                resource.error(result.error_code, result.error_message.as_deref(), &operation)?;
                let mut configs: Vec<_> = result.configs.iter().map(ConfigEntry::from).collect();
                configs.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(configs)
            })
            .await
    }

    /// The configs of a topic, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the time is over.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn topic_configs(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        self.describe_configs(&ConfigResource::Topic(topic.to_owned())).await
    }

    /// Changes configs of a resource, all or none; with `only_check` says whether they could be changed.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], a name or value that the broker refuses, or the time is over.
    ///
    /// # Cancel safety
    /// The changes may be made although the future was dropped.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, ConfigChange)],
        only_check: bool,
    ) -> Result<()> {
        let (resource_type, name) = resource.code_and_name();
        let request = |_| IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: Str::from(&name),
                configs: changes
                    .iter()
                    .map(|(name, change)| AlterableConfig {
                        name: Str::from(name),
                        config_operation: change.operation(),
                        value: change.value(),
                    })
                    .collect(),
            }],
            validate_only: only_check,
        };
        let operation = format!("changing the configs of {resource}");
        let mut deadline = self.deadline(operation.clone());
        self.find_brokers(resource, &mut deadline).await?;
        self.cluster
            .ask(&Ask::new(resource.at()), &mut deadline, request, |response, _| {
                let result = response.responses.into_iter().next().unwrap_or_default();
                resource.error(result.error_code, result.error_message.as_deref(), &operation)
            })
            .await
    }

    /// Asks where brokers are, if the resource is one of them.
    async fn find_brokers(
        &self,
        resource: &ConfigResource,
        deadline: &mut crate::transport::backoff::Deadline,
    ) -> Result<()> {
        match resource.at() {
            To::Broker(_) => self.refresh_brokers(deadline).await,
            _ => Ok(()),
        }
    }
}
