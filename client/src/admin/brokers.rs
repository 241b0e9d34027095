//! What brokers have on their disks, and which features of the protocol they have.

use logmill_wire::Str;
use logmill_wire::messages::api_versions::ApiVersionsRequest;
use logmill_wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use logmill_wire::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

use super::Admin;
use crate::cluster::{Ask, To};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;

/// A directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// The broker.
    pub broker: i32,
    /// Its absolute path there.
    pub path: String,
    /// Size of its file system in bytes; `None` when the broker does not say.
    pub total_bytes: Option<u64>,
    /// What is left of it in bytes; `None` when the broker does not say.
    pub usable_bytes: Option<u64>,
    /// The partitions in it.
    pub partitions: Vec<LogDirPartition>,
}

/// A partition in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// Bytes of its segments.
    pub bytes: u64,
}

/// A feature of the protocol (KIP-584).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, such as `transaction.version`.
    pub name: String,
    /// The lowest level the broker has.
    pub lowest: i16,
    /// The highest level the broker has.
    pub highest: i16,
    /// The level that holds; `None` when it is not finalised.
    pub level: Option<i16>,
}

impl Admin {
    /// The directories of every broker, with the partitions in them.
    ///
    /// # Errors
    /// When a broker cannot say, or the time is over.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn log_dirs(&self) -> Result<Vec<LogDir>> {
        let operation = || "reading log directories".to_owned();
        let mut deadline = self.deadline(operation());
        let bytes = |bytes: i64| u64::try_from(bytes).ok();
        let mut dirs = Vec::new();
        for broker in self.describe_cluster().await?.brokers {
            let broker = broker.id;
            let found = self
                .cluster
                .ask(
                    &Ask::new(To::Broker(broker)),
                    &mut deadline,
                    |_| DescribeLogDirsRequest { topics: None },
                    |response, _| {
                        Error::check(response.error_code, None, operation)?;
                        Ok(response.results)
                    },
                )
                .await?;
            for dir in found {
                Error::check(dir.error_code, Some(&dir.log_dir), operation)?;
                let mut partitions: Vec<LogDirPartition> = dir
                    .topics
                    .iter()
                    .flat_map(|topic| {
                        topic.partitions.iter().map(|partition| LogDirPartition {
                            topic: topic.name.to_string(),
                            partition: partition.partition_index,
                            bytes: bytes(partition.partition_size).unwrap_or(0),
                        })
                    })
                    .collect();
                partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
                dirs.push(LogDir {
                    broker,
                    path: dir.log_dir.to_string(),
                    total_bytes: bytes(dir.total_bytes),
                    usable_bytes: bytes(dir.usable_bytes),
                    partitions,
                });
            }
        }
        Ok(dirs)
    }

    /// The features the brokers have, by name.
    ///
    /// # Errors
    /// When no broker answers in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn features(&self) -> Result<Vec<Feature>> {
        let operation = || "reading features".to_owned();
        let request = |_| ApiVersionsRequest {
            client_software_name: Str::from("logmill"),
            client_software_version: Str::from(env!("CARGO_PKG_VERSION")),
            ..ApiVersionsRequest::default()
        };
        self.cluster
            .ask(&Ask::new(To::Any), &mut self.deadline(operation()), request, |response, _| {
                Error::check(response.error_code, None, operation)?;
                let level = |name: &Str| {
                    let mut finalized = response.finalized_features.iter();
                    finalized.find(|feature| feature.name == *name).map(|feature| feature.max_version_level)
                };
                let mut features: Vec<Feature> = response
                    .supported_features
                    .iter()
                    .map(|feature| Feature {
                        name: feature.name.to_string(),
                        lowest: feature.min_version,
                        highest: feature.max_version,
                        level: level(&feature.name),
                    })
                    .collect();
                features.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(features)
            })
            .await
    }

    /// Gives a feature another level; a lower one only where `may_fall` says so.
    ///
    /// # Errors
    /// `INVALID_UPDATE_VERSION` for a feature or level there is not or that must not fall, or the time is over.
    ///
    /// # Cancel safety
    /// The level may be changed although the future was dropped.
    pub async fn update_feature(&self, name: &str, level: i16, may_fall: bool) -> Result<()> {
        /// Kafka's numbers for the ways a level may go.
        const UP: i8 = 1;
        const DOWN_SAFELY: i8 = 2;
        let request = |version| UpdateFeaturesRequest {
            timeout_ms: self.timeout_ms(),
            feature_updates: vec![FeatureUpdateKey {
                feature: Str::from(name),
                max_version_level: level,
                allow_downgrade: version == 0 && may_fall,
                upgrade_type: if version > 0 && may_fall { DOWN_SAFELY } else { UP },
            }],
            validate_only: false,
        };
        let operation = || format!("giving feature {name} the level {level}");
        self.cluster
            .ask(&Ask::new(To::Controller), &mut self.deadline(operation()), request, |response, _| {
                Error::check(response.error_code, response.error_message.as_deref(), operation)?;
                response.results.iter().try_for_each(|result| {
                    Error::check(result.error_code, result.error_message.as_deref(), operation)
                })
            })
            .await
    }

    /// Asks where the brokers are.
    pub(super) async fn refresh_brokers(&self, deadline: &mut Deadline) -> Result<()> {
        loop {
            match tokio::time::timeout_at(deadline.end(), self.cluster.refresh(Some(&[]), false)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => deadline.retry(error, self.cluster.chance()).await?,
                Err(_) => return Err(deadline.timed_out()),
            }
        }
    }
}
