//! Topics and the brokers.

use logmill_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use logmill_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use logmill_wire::messages::describe_cluster::DescribeClusterRequest;
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::Admin;
use crate::cluster::{Ask, To, Topic};
use crate::error::{Error, Result};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replication: i16,
    configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's default number of partitions and replicas.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: -1, replication: -1, configs: Vec::new() }
    }

    /// So many partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        self
    }

    /// So many replicas of each partition.
    pub fn replication(mut self, replication: u16) -> Self {
        self.replication = i16::try_from(replication).unwrap_or(i16::MAX);
        self
    }

    /// A configuration, such as `cleanup.policy` = `compact`.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id; nil when the broker is older than topic ids.
    pub id: Uuid,
    /// Whether it belongs to the broker itself.
    pub internal: bool,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its index.
    pub index: i32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// How many leaders it had; -1 when the broker does not say.
    pub leader_epoch: i32,
    /// The brokers that keep it.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync: Vec<i32>,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that creates and deletes topics; `None` while there is none.
    pub controller: Option<i32>,
    /// Its brokers, by id.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its id.
    pub id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Its port.
    pub port: i32,
    /// Where it stands, if it says.
    pub rack: Option<String>,
}

impl From<&Topic> for TopicDescription {
    fn from(topic: &Topic) -> Self {
        let partitions = topic.partitions.iter().map(|(index, partition)| PartitionDescription {
            index: *index,
            leader: (partition.leader >= 0).then_some(partition.leader),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
        });
        Self {
            name: topic.name.clone(),
            id: topic.id,
            internal: topic.internal,
            partitions: partitions.collect(),
        }
    }
}

impl Admin {
    /// Creates a topic, waits until it can be used, and gives its id (nil when the broker is older than topic ids).
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS`, an illegal name, number or configuration, or the time is over.
    ///
    /// # Cancel safety
    /// The topic may be created although the future was dropped.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Uuid> {
        let request = |version| CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(&topic.name),
                // Before version 4 a number must be given (KIP-464).
                num_partitions: if version < 4 { topic.partitions.max(1) } else { topic.partitions },
                replication_factor: if version < 4 { topic.replication.max(1) } else { topic.replication },
                assignments: Vec::new(),
                configs: topic
                    .configs
                    .iter()
                    .map(|(name, value)| CreatableTopicConfig {
                        name: Str::from(name),
                        value: Some(Str::from(value)),
                    })
                    .collect(),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let operation = || format!("creating topic {}", topic.name);
        let mut deadline = self.deadline(operation());
        self.cluster
            .ask(&Ask::new(To::Controller), &mut deadline, request, |response, _| {
                let result = response.topics.into_iter().next().unwrap_or_default();
                Error::check(result.error_code, result.error_message.as_deref(), operation)
            })
            .await?;
        Ok(self.cluster.await_topic(&topic.name, &mut deadline).await?.id)
    }

    /// Deletes a topic with everything in it.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the time is over.
    ///
    /// # Cancel safety
    /// The topic may be deleted although the future was dropped.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let request = |version| {
            let mut request = DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
            if version >= 6 {
                request.topics = vec![DeleteTopicState { name: Some(Str::from(name)), ..Default::default() }];
            } else {
                request.topic_names = vec![Str::from(name)];
            }
            request
        };
        let operation = || format!("deleting topic {name}");
        let deleted = self
            .cluster
            .ask(&Ask::new(To::Controller), &mut self.deadline(operation()), request, |response, _| {
                let result = response.responses.into_iter().next().unwrap_or_default();
                if result.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                    return Err(Error::UnknownTopic { topic: name.to_owned() });
                }
                Error::check(result.error_code, result.error_message.as_deref(), operation)
            })
            .await;
        self.cluster.forget_topic(name);
        deleted
    }

    /// Every topic, by name, internal ones included.
    ///
    /// # Errors
    /// When no broker answers in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list_topics(&self) -> Result<Vec<TopicDescription>> {
        let mut deadline = self.deadline("listing topics");
        let response = loop {
            match tokio::time::timeout_at(deadline.end(), self.cluster.refresh(None, false)).await {
                Ok(Ok(response)) => break response,
                Ok(Err(error)) => deadline.retry(error, self.cluster.chance()).await?,
                Err(_) => return Err(deadline.timed_out()),
            }
        };
        let mut topics: Vec<TopicDescription> = response
            .topics
            .iter()
            .filter_map(|topic| self.cluster.cached_topic(topic.name.as_deref()?))
            .map(|topic| TopicDescription::from(&*topic))
            .collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the time is over.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        self.cluster.forget_topic(name);
        let mut deadline = self.deadline(format!("describing topic {name}"));
        let topic = self.cluster.topic(name, false, &mut deadline).await?;
        Ok(TopicDescription::from(&*topic))
    }

    /// Adds partitions to a topic, up to `count` in all. What is there stays where it is.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], a number that is no growth, or the time is over.
    ///
    /// # Cancel safety
    /// The partitions may be added although the future was dropped.
    pub async fn create_partitions(&self, topic: &str, count: u32) -> Result<()> {
        let request = |_| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: Str::from(topic),
                count: i32::try_from(count).unwrap_or(i32::MAX),
                assignments: None,
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let operation = || format!("adding partitions to topic {topic}");
        let added = self
            .cluster
            .ask(&Ask::new(To::Controller), &mut self.deadline(operation()), request, |response, _| {
                let result = response.results.into_iter().next().unwrap_or_default();
                if result.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                    return Err(Error::UnknownTopic { topic: topic.to_owned() });
                }
                Error::check(result.error_code, result.error_message.as_deref(), operation)
            })
            .await;
        self.cluster.forget_topic(topic);
        added
    }

    /// The cluster and its brokers.
    ///
    /// # Errors
    /// When no broker answers in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let operation = || "describing the cluster".to_owned();
        self.cluster
            .ask(
                &Ask::new(To::Any),
                &mut self.deadline(operation()),
                |_| DescribeClusterRequest::default(),
                |response, _| {
                    Error::check(response.error_code, response.error_message.as_deref(), operation)?;
                    let mut brokers: Vec<BrokerDescription> = response
                        .brokers
                        .iter()
                        .map(|broker| BrokerDescription {
                            id: broker.broker_id,
                            host: broker.host.to_string(),
                            port: broker.port,
                            rack: broker.rack.as_deref().map(str::to_owned),
                        })
                        .collect();
                    brokers.sort_by_key(|broker| broker.id);
                    Ok(ClusterDescription {
                        cluster_id: response.cluster_id.to_string(),
                        controller: (response.controller_id >= 0).then_some(response.controller_id),
                        brokers,
                    })
                },
            )
            .await
    }
}
