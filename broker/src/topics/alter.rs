//! Changing configs while the broker runs: durable first, then in force at once.

use std::sync::Arc;

use logmill_coordinator::groups::GroupTimes;
use logmill_storage::StoreError;

use super::image::Topic;
use super::metadata_log::MetadataError;
use super::registry::{Topics, record_of};
use super::schema::{ConfigScope, MetadataRecord, TopicRecord};
use crate::configs::{self, BrokerConfigs, Change, ConfigError, ConfigSet, TopicRules};

/// What is to be set.
#[derive(Clone, Debug)]
pub enum ConfigUpdate {
    /// These changes to what is set; the rest stays.
    Change(Vec<(String, Change)>),
    /// This and nothing else.
    Replace(ConfigSet),
}

impl ConfigUpdate {
    /// What is set, and what each name that changes becomes.
    fn changes(&self, before: &ConfigSet) -> Vec<(String, Change)> {
        match self {
            Self::Change(changes) => changes.clone(),
            Self::Replace(after) => {
                let gone = before.keys().filter(|name| !after.contains_key(*name));
                let deleted = gone.map(|name| (name.clone(), Change::Delete));
                let set = after.iter().map(|(name, value)| (name.clone(), Change::Set(value.clone())));
                deleted.chain(set).collect()
            }
        }
    }
}

/// Why configs were not changed. All but a stopping broker are definite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlterConfigsError {
    /// No such topic.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// The broker's own topics keep the configs they were made with.
    #[error("topics whose names begin with \"__logmill_\" keep the configs they have")]
    Reserved,
    /// A value that cannot be set.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk.
    #[error("the change is written down and holds from the next start on; now it failed: {0}")]
    Storage(#[from] StoreError),
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Topics {
    /// Changes what is set for a topic, or only checks whether it could be. In force for the next batch.
    ///
    /// # Errors
    /// [`AlterConfigsError`]; nothing was changed.
    pub async fn alter_topic(
        &self,
        name: &str,
        update: &ConfigUpdate,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        if name.starts_with("__logmill_") && self.get(name).is_some() {
            return Err(AlterConfigsError::Reserved);
        }
        self.alter_any(name, update, validate_only).await
    }

    /// The same for a topic of the broker's own, too.
    pub(crate) async fn alter_any(
        &self,
        name: &str,
        update: &ConfigUpdate,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let mut metadata = self.0.metadata.lock().await;
        let old = self.get(name).ok_or_else(|| AlterConfigsError::UnknownTopic(name.to_owned()))?;
        let broker = self.broker_configs();
        let after = configs::change_topic(&old.configs, &update.changes(&old.configs), &broker)?;
        if validate_only || after == old.configs {
            return Ok(());
        }
        let record = TopicRecord { configs: after.clone(), ..record_of(&old) };
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record)]).await?;
        let rules = TopicRules::of(&after, &broker);
        let new = Topic { configs: after, rules, ..Topic::clone(&old) };
        let applied = self.apply(&new, &broker);
        self.0.image.store(Arc::new(self.0.image.load().with(new)));
        tracing::info!(topic = name, "configs changed");
        applied
    }

    /// Changes what is set for the broker, or only checks whether it could be. Topics that say nothing
    /// themselves follow at once.
    ///
    /// # Errors
    /// [`AlterConfigsError`]; nothing was changed.
    pub async fn alter_broker(
        &self,
        scope: ConfigScope,
        update: &ConfigUpdate,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let mut metadata = self.0.metadata.lock().await;
        let mut broker = BrokerConfigs::clone(&self.0.broker.load());
        let layer = match scope {
            ConfigScope::Cluster => &mut broker.cluster,
            ConfigScope::Node => &mut broker.node,
        };
        let after = configs::change_broker(layer, &update.changes(layer), &self.0.broker.load())?;
        if validate_only || after == *layer {
            return Ok(());
        }
        layer.clone_from(&after);
        let record = MetadataRecord::BrokerConfigs { scope, configs: after };
        metadata.append(self.0.clock.now_ms(), &[record]).await?;
        let mut applied = Ok(());
        let follow = |topic: &Arc<Topic>| {
            let rules = TopicRules::of(&topic.configs, &broker);
            let new = Topic { rules, ..Topic::clone(topic) };
            let now = self.apply(&new, &broker);
            if applied.is_ok() {
                applied = now;
            }
            new
        };
        let image = self.image().iter().map(follow).collect();
        self.0.broker.store(Arc::new(broker));
        self.0.image.store(Arc::new(image));
        self.groups_follow();
        tracing::info!(?scope, "the broker's configs changed");
        applied
    }

    /// What is set for a group.
    #[must_use]
    pub fn group_configs(&self, group: &str) -> ConfigSet {
        self.0.groups.load().get(group).cloned().unwrap_or_default()
    }

    /// The groups for which something is set.
    #[must_use]
    pub fn configured_groups(&self) -> Vec<String> {
        self.0.groups.load().keys().cloned().collect()
    }

    /// Changes what is set for a group, which need not exist, or only checks whether it could be.
    ///
    /// # Errors
    /// [`AlterConfigsError`]; nothing was changed.
    pub async fn alter_group(
        &self,
        group: &str,
        update: &ConfigUpdate,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let mut metadata = self.0.metadata.lock().await;
        let before = self.group_configs(group);
        let after = configs::change_group(&before, &update.changes(&before), &self.broker_configs())?;
        if validate_only || after == before {
            return Ok(());
        }
        let record = MetadataRecord::GroupConfigs { group: group.to_owned(), configs: after.clone() };
        metadata.append(self.0.clock.now_ms(), &[record]).await?;
        let mut groups = self.0.groups.load().as_ref().clone();
        match after.is_empty() {
            true => drop(groups.remove(group)),
            false => drop(groups.insert(group.to_owned(), after)),
        }
        self.0.groups.store(Arc::new(groups));
        self.groups_follow();
        tracing::info!(group, "configs changed");
        Ok(())
    }

    /// The times of consumer groups as they are now. They are held to the next heartbeats.
    #[must_use]
    pub fn group_times(&self) -> Arc<GroupTimes> {
        self.0.group_times.load_full()
    }

    fn groups_follow(&self) {
        let times = configs::group_times(&self.0.groups.load(), &self.0.broker.load());
        self.0.group_times.store(Arc::new(times));
    }

    fn apply(&self, topic: &Topic, broker: &BrokerConfigs) -> Result<(), AlterConfigsError> {
        let options = configs::log_options(&topic.configs, broker);
        for partition in &topic.partitions {
            self.0.store.set_options(partition.id(), options)?;
        }
        Ok(())
    }
}
