//! Creating, finding and deleting topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use logmill_coordinator::groups::GroupTimes;
use logmill_storage::{PartitionId, PartitionSpec, Store, StoreError};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::image::{Image, Topic};
use super::metadata_log::{MetadataError, MetadataLog, MetadataState};
use super::names::{NameError, check_name, is_internal, is_one_metric};
use super::schema::{ConfigScope, MetadataRecord, TopicRecord};
use crate::blocking::beside;
use crate::clock::Clock;
use crate::configs::{self, BrokerConfigs, ConfigEntry, ConfigError, ConfigSet, TopicRules};
use crate::entropy::Entropy;
use crate::partitions::Partition;

/// The most partitions one topic may have.
pub(super) const MAX_PARTITIONS: i32 = 10_000;

/// What a topic has when its creator does not say.
#[derive(Clone, Debug)]
pub struct TopicDefaults {
    /// How many partitions.
    pub partitions: i32,
    /// What the broker's configuration sets.
    pub configs: BrokerConfigs,
    /// Whether asking for a topic that does not exist creates it.
    pub auto_create: bool,
}

/// A topic that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` for the broker's default.
    pub partitions: Option<i32>,
    /// Configs to set for it.
    pub configs: BTreeMap<String, String>,
    /// The pipeline that alone may write to it.
    pub owner: Option<String>,
    /// Whether its partitions are made when they are first used, rather than now.
    pub on_demand: bool,
}

/// Why a topic was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateTopicError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is one already.
    #[error("topic {existing:?} exists already")]
    Exists {
        /// The topic that is there.
        existing: String,
    },
    /// There is one whose metric name would be the same: `.` and `_` are one there.
    #[error(
        "the name is that of topic {existing:?} but for '.' and '_', which are one in the names of metrics"
    )]
    Collides {
        /// The topic that is there.
        existing: String,
    },
    /// Too few or too many partitions.
    #[error("a topic has 1 to {MAX_PARTITIONS} partitions, not {0}")]
    Partitions(i32),
    /// A config that cannot be set.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk.
    #[error("the topic's directories could not be made: {0}")]
    Storage(#[from] StoreError),
    /// A partition that the metadata names has no directory: data is gone. Nothing was changed.
    #[error(
        "the directory {topic}-{partition} is missing, though the topic exists; put it back from a backup and start again"
    )]
    Missing {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The name is the broker's own.
    #[error("\"__cluster_metadata\" and names that begin with \"__logmill_\" are the broker's own")]
    Reserved,
}

/// Why a topic was not deleted or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteTopicError {
    /// No such topic.
    #[error("there is no such topic")]
    Unknown,
    /// The broker needs it.
    #[error("internal topics cannot be deleted")]
    Internal,
    /// A pipeline needs it.
    #[error(
        "the topic belongs to pipeline {owner:?}; delete the pipeline first (`logmill pipeline delete {owner}`)"
    )]
    Owned {
        /// The pipeline.
        owner: String,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// All topics; cheap to clone.
#[derive(Clone)]
pub struct Topics(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) store: Arc<Store>,
    pub(super) image: ArcSwap<Image>,
    pub(super) metadata: Arc<Mutex<MetadataLog>>,
    /// What is set for the broker now; changed only by who holds the metadata log.
    pub(super) broker: ArcSwap<BrokerConfigs>,
    /// What is set for groups; changed only by who holds the metadata log.
    pub(super) groups: ArcSwap<BTreeMap<String, ConfigSet>>,
    /// What that and the broker's configs come to; changed with them.
    pub(super) group_times: ArcSwap<GroupTimes>,
    partitions: i32,
    auto_create: bool,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
}

impl Topics {
    /// Builds the image from the metadata log's records.
    ///
    /// Partitions without a directory are created again when they are empty in the journal too (a crash
    /// between the record and the directory cannot happen, see the module); directories that no record
    /// names are removed.
    ///
    /// # Errors
    /// [`CreateTopicError::Storage`] when a partition's directory is missing or cannot be opened.
    pub fn load(
        store: Arc<Store>,
        metadata: Arc<Mutex<MetadataLog>>,
        records: &[MetadataRecord],
        defaults: TopicDefaults,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, CreateTopicError> {
        let mut live: BTreeMap<Uuid, TopicRecord> = BTreeMap::new();
        let mut broker = defaults.configs;
        let mut groups = BTreeMap::new();
        for record in records {
            match record {
                MetadataRecord::GroupConfigs { group, configs } if configs.is_empty() => {
                    drop(groups.remove(group));
                }
                MetadataRecord::GroupConfigs { group, configs } => {
                    drop(groups.insert(group.clone(), configs.clone()));
                }
                MetadataRecord::BrokerConfigs { scope: ConfigScope::Node, configs } => {
                    broker.node.clone_from(configs);
                }
                MetadataRecord::BrokerConfigs { scope: ConfigScope::Cluster, configs } => {
                    broker.cluster.clone_from(configs);
                }
                MetadataRecord::Topic(topic) => drop(live.insert(topic.id, topic.clone())),
                MetadataRecord::TopicDeleted(id) => drop(live.remove(id)),
                _ => {}
            }
        }
        let known: BTreeSet<PartitionId> = live
            .values()
            .flat_map(|topic| {
                topic.made().into_iter().map(|partition| PartitionId { topic: topic.id, partition })
            })
            .collect();
        for stray in store.partitions() {
            if !known.contains(&stray.id()) && stray.topic_name() != super::METADATA_TOPIC {
                tracing::info!(
                    topic = stray.topic_name(),
                    partition = stray.id().partition,
                    "removing a directory that no topic owns"
                );
                store.delete_partition(stray.id())?;
            }
        }
        let opened = live.values().map(|record| {
            let options = configs::log_options(&record.configs, &broker);
            let partitions = record
                .made()
                .into_iter()
                .map(|partition| {
                    let id = PartitionId { topic: record.id, partition };
                    let log = store
                        .partition(id)
                        .ok_or_else(|| CreateTopicError::Missing { topic: record.name.clone(), partition })?;
                    store.set_options(id, options)?;
                    Ok(Partition::new(log))
                })
                .collect::<Result<Vec<_>, CreateTopicError>>()?;
            Ok(topic(record, partitions, &broker))
        });
        let image = opened.collect::<Result<Image, CreateTopicError>>()?;
        Ok(Self(Arc::new(Shared {
            store,
            image: ArcSwap::from_pointee(image),
            metadata,
            group_times: ArcSwap::from_pointee(configs::group_times(&groups, &broker)),
            broker: ArcSwap::from_pointee(broker),
            groups: ArcSwap::from_pointee(groups),
            partitions: defaults.partitions,
            auto_create: defaults.auto_create,
            clock,
            entropy,
        })))
    }

    /// The topic of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.0.image.load().get(name).cloned()
    }

    /// The topic of this id.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.0.image.load().by_id(id).cloned()
    }

    /// All topics at one moment.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.0.image.load_full()
    }

    /// Whether asking for a topic that does not exist creates it.
    #[must_use]
    pub fn auto_create(&self) -> bool {
        self.0.auto_create
    }

    /// What is set for the broker now.
    #[must_use]
    pub fn broker_configs(&self) -> Arc<BrokerConfigs> {
        self.0.broker.load_full()
    }

    /// All configs of a topic for which this is set, with the values in force.
    #[must_use]
    pub fn describe_configs(&self, set: &ConfigSet) -> Vec<ConfigEntry> {
        self.0.broker.load().describe_topic(set)
    }

    /// Checks whether a client could create this topic now, and changes nothing.
    ///
    /// # Errors
    /// What [`Topics::create`] would say.
    pub fn validate(&self, new: &NewTopic) -> Result<i32, CreateTopicError> {
        self.validate_name(&new.name)?;
        self.check(new)
    }

    /// The part of [`Topics::validate`] that comes first: who makes sure that a topic exists asks for it again and again,
    /// often with numbers this broker has no room for, and is to hear that it is there.
    ///
    /// # Errors
    /// What [`Topics::create`] would say of the name alone.
    pub fn validate_name(&self, name: &str) -> Result<(), CreateTopicError> {
        if name.starts_with("__logmill_") || name == "__cluster_metadata" {
            return Err(CreateTopicError::Reserved);
        }
        self.check_free(name)
    }

    fn check_free(&self, name: &str) -> Result<(), CreateTopicError> {
        check_name(name)?;
        let image = self.0.image.load();
        if image.get(name).is_some() {
            return Err(CreateTopicError::Exists { existing: name.to_owned() });
        }
        match image.iter().find(|topic| is_one_metric(&topic.name, name)) {
            Some(existing) => Err(CreateTopicError::Collides { existing: existing.name.to_string() }),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self, new: &NewTopic) -> Result<i32, CreateTopicError> {
        self.check_free(&new.name)?;
        let partitions = new.partitions.unwrap_or(self.0.partitions);
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(CreateTopicError::Partitions(partitions));
        }
        configs::check_topic(&new.configs, &self.0.broker.load())?;
        Ok(partitions)
    }

    /// Creates a topic for a client.
    ///
    /// # Errors
    /// [`CreateTopicError`]; all but a stopping broker are definite: nothing was created.
    pub async fn create(&self, new: NewTopic) -> Result<Arc<Topic>, CreateTopicError> {
        self.validate(&new)?;
        self.create_any(new).await
    }

    /// Finds or creates one of the broker's own topics.
    ///
    /// # Errors
    /// As [`Topics::create`].
    pub async fn ensure_internal(&self, new: NewTopic) -> Result<Arc<Topic>, CreateTopicError> {
        if let Some(topic) = self.get(&new.name) {
            return Ok(topic);
        }
        let name = new.name.clone();
        match self.create_any(new).await {
            Err(CreateTopicError::Exists { .. }) => {
                self.get(&name).ok_or(CreateTopicError::Exists { existing: name })
            }
            other => other,
        }
    }

    async fn create_any(&self, new: NewTopic) -> Result<Arc<Topic>, CreateTopicError> {
        let mut metadata = self.0.metadata.lock().await;
        let partitions = self.check(&new)?;
        let record = TopicRecord {
            name: new.name,
            id: self.0.entropy.uuid(),
            partitions,
            configs: new.configs,
            owner: new.owner,
            made: new.on_demand.then(BTreeSet::new),
        };
        let logs = self.make_partitions(&record, record.made()).await?;
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record.clone())]).await?;
        let name = record.name.clone();
        self.0.image.store(Arc::new(self.0.image.load().with(self.topic(&record, logs))));
        tracing::info!(topic = name, partitions, "created");
        self.get(&name).ok_or(CreateTopicError::Exists { existing: name })
    }

    /// Adds partitions to a topic, up to `count` in all.
    ///
    /// # Errors
    /// [`CreateTopicError::Partitions`] when it would not grow.
    pub async fn grow(&self, name: &str, count: i32) -> Result<Arc<Topic>, CreateTopicError> {
        let mut metadata = self.0.metadata.lock().await;
        let old = self.get(name).ok_or(CreateTopicError::Partitions(count))?;
        let have = old.count;
        if count <= have || count > MAX_PARTITIONS || old.on_demand {
            return Err(CreateTopicError::Partitions(count));
        }
        let record = TopicRecord { partitions: count, ..record_of(&old) };
        let mut logs = old.partitions.clone();
        logs.extend(self.make_partitions(&record, (have..count).collect()).await?);
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record.clone())]).await?;
        self.0.image.store(Arc::new(self.0.image.load().with(self.topic(&record, logs))));
        self.get(name).ok_or(CreateTopicError::Partitions(count))
    }

    /// A partition of one of the broker's own topics, which is made if nobody has used it before.
    ///
    /// # Errors
    /// As [`Topics::create`]; [`CreateTopicError::Partitions`] when the topic has no such partition.
    pub async fn open_partition(&self, name: &str, index: i32) -> Result<(), CreateTopicError> {
        let awaits = || self.get(name).filter(|topic| topic.partition(index).is_none());
        if awaits().is_none() {
            return Ok(());
        }
        let mut metadata = self.0.metadata.lock().await;
        // Somebody else may have been quicker.
        let Some(old) = awaits() else { return Ok(()) };
        if !old.awaits(index) {
            return Err(CreateTopicError::Partitions(index));
        }
        let mut record = record_of(&old);
        record.made.get_or_insert_default().insert(index);
        let mut logs = old.partitions.clone();
        logs.extend(self.make_partitions(&record, vec![index]).await?);
        logs.sort_by_key(Partition::index);
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record.clone())]).await?;
        self.0.image.store(Arc::new(self.0.image.load().with(self.topic(&record, logs))));
        Ok(())
    }

    /// Makes what somebody is about to read: a reader of one of the broker's own topics sees empty partitions where there
    /// are none yet. A partition that cannot be made stays unknown to the reader.
    pub async fn open_for_reading(&self, name: &str, indexes: &[i32]) {
        let Some(topic) = self.get(name).filter(|topic| topic.on_demand) else { return };
        for &index in indexes {
            if topic.awaits(index)
                && let Err(error) = self.open_partition(name, index).await
            {
                tracing::warn!(topic = name, index, %error, "a partition cannot be made");
            }
        }
    }

    pub(super) async fn make_partitions(
        &self,
        record: &TopicRecord,
        indexes: Vec<i32>,
    ) -> Result<Vec<Partition>, CreateTopicError> {
        let options = configs::log_options(&record.configs, &self.0.broker.load());
        let store = Arc::clone(&self.0.store);
        let (name, id) = (record.name.clone(), record.id);
        let made = beside(move || {
            let spec = |partition| PartitionSpec {
                id: PartitionId { topic: id, partition },
                topic_name: name.clone(),
                options,
            };
            store.create_partitions(indexes.into_iter().map(spec).collect())
        })
        .await
        .map_err(|_| MetadataError::Stopping)??;
        Ok(made.into_iter().map(Partition::new).collect())
    }

    /// Deletes a topic. Its records are gone when this returns; its files go in the background.
    ///
    /// # Errors
    /// [`DeleteTopicError`]; all but a stopping broker are definite.
    pub async fn delete(&self, id: Uuid) -> Result<Arc<Topic>, DeleteTopicError> {
        let mut metadata = self.0.metadata.lock().await;
        let topic = self.by_id(id).ok_or(DeleteTopicError::Unknown)?;
        if topic.internal {
            return Err(DeleteTopicError::Internal);
        }
        if let Some(owner) = &topic.owner {
            return Err(DeleteTopicError::Owned { owner: owner.to_string() });
        }
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::TopicDeleted(id)]).await?;
        self.0.image.store(Arc::new(self.0.image.load().without(id)));
        self.remove_files(&topic);
        Ok(topic)
    }

    /// Removes the files of a topic that is deleted.
    pub(super) fn remove_files(&self, topic: &Topic) {
        for partition in &topic.partitions {
            if let Err(error) = self.0.store.delete_partition(partition.id()) {
                tracing::warn!(topic = %topic.name, %error, "the files of a deleted topic stay until the next start");
            }
        }
        tracing::info!(topic = %topic.name, "deleted");
    }

    pub(super) fn topic(&self, record: &TopicRecord, partitions: Vec<Partition>) -> Topic {
        topic(record, partitions, &self.0.broker.load())
    }

    /// How far the metadata log is.
    pub async fn metadata_state(&self) -> MetadataState {
        self.0.metadata.lock().await.state()
    }

    /// The metadata log, for the others who write to it (pipelines, producer ids).
    #[must_use]
    pub(crate) fn metadata(&self) -> Arc<Mutex<MetadataLog>> {
        Arc::clone(&self.0.metadata)
    }
}

/// What is stored of a topic.
pub(super) fn record_of(topic: &Topic) -> TopicRecord {
    TopicRecord {
        name: topic.name.to_string(),
        id: topic.id,
        partitions: topic.count,
        configs: topic.configs.clone(),
        owner: topic.owner.as_ref().map(ToString::to_string),
        made: topic.on_demand.then(|| topic.partitions.iter().map(Partition::index).collect()),
    }
}

fn topic(record: &TopicRecord, partitions: Vec<Partition>, broker: &BrokerConfigs) -> Topic {
    Topic {
        rules: TopicRules::of(&record.configs, broker),
        name: Arc::from(record.name.as_str()),
        id: record.id,
        internal: is_internal(&record.name),
        count: record.partitions,
        partitions,
        on_demand: record.made.is_some(),
        configs: record.configs.clone(),
        owner: record.owner.as_deref().map(Arc::from),
    }
}
