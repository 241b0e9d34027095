//! Topics that belong to a pipeline: taken and given back in one step with the pipeline's own record.
//!
//! Either both are true after a crash, or neither: no topic stays locked for a pipeline that is not there.

use std::sync::Arc;

use logmill_storage::Append;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::image::{Image, Topic};
use super::metadata_log::{MetadataError, MetadataLog};
use super::registry::{Topics, record_of};
use super::schema::{MetadataRecord, TopicRecord};

/// Why topics were not given to a pipeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// There is no such topic (any more).
    #[error("topic {0:?} does not exist")]
    Unknown(String),
    /// Only the broker writes it.
    #[error("topic {0:?} is internal to the broker")]
    Internal(String),
    /// Another pipeline writes it.
    #[error("topic {topic:?} belongs to pipeline {owner:?}")]
    Owned {
        /// The topic.
        topic: String,
        /// The pipeline.
        owner: String,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Topics that change hands, in one step with a pipeline's record. Nobody else changes what is known of topics meanwhile.
pub(crate) struct Handover {
    metadata: OwnedMutexGuard<MetadataLog>,
    changed: Vec<(TopicRecord, Arc<Topic>)>,
}

impl Handover {
    fn records(&self, record: MetadataRecord) -> Vec<MetadataRecord> {
        let topics = self.changed.iter().map(|(record, _)| MetadataRecord::Topic(record.clone()));
        topics.chain([record]).collect()
    }

    /// What is to be appended to the metadata log, for a frame that has more than this. Once it is durable, say so
    /// ([`Topics::handed_over`]).
    pub(crate) fn append(&self, now_ms: i64, record: MetadataRecord) -> Append {
        self.metadata.append_of(now_ms, &self.records(record))
    }
}

impl Topics {
    /// Gives topics to a pipeline, which alone may write to them from here on, in one step with `record`.
    ///
    /// # Errors
    /// [`ClaimError`]; all but a stopping broker are definite, and nothing was given then.
    pub async fn claim(
        &self,
        names: &[String],
        owner: &str,
        record: MetadataRecord,
    ) -> Result<(), ClaimError> {
        let mut handover = self.hand_over(names, owner, false).await?;
        let records = handover.records(record);
        handover.metadata.append(self.0.clock.now_ms(), &records).await?;
        self.handed_over(handover);
        Ok(())
    }

    /// Makes ready what gives these topics to a pipeline, and with `frees_others` takes back those that it owns beside
    /// them. Nothing is changed by this.
    ///
    /// # Errors
    /// [`ClaimError`]: one of them cannot be given to it.
    pub(crate) async fn hand_over(
        &self,
        names: &[String],
        owner: &str,
        frees_others: bool,
    ) -> Result<Handover, ClaimError> {
        let metadata = self.metadata().lock_owned().await;
        let mut changed: Vec<(TopicRecord, Arc<Topic>)> = Vec::new();
        for name in names {
            let topic = self.get(name).ok_or_else(|| ClaimError::Unknown(name.clone()))?;
            if topic.internal {
                return Err(ClaimError::Internal(name.clone()));
            }
            match topic.owner.as_deref() {
                Some(known) if known == owner => continue,
                Some(other) => {
                    return Err(ClaimError::Owned { topic: name.clone(), owner: other.to_owned() });
                }
                None => {}
            }
            let record = TopicRecord { owner: Some(owner.to_owned()), ..record_of(&topic) };
            changed.push((record, topic));
        }
        if frees_others {
            let image = self.image();
            let others = image.iter().filter(|topic| topic.owner.as_deref() == Some(owner));
            for topic in others.filter(|topic| !names.iter().any(|name| **name == *topic.name)) {
                changed.push((TopicRecord { owner: None, ..record_of(topic) }, Arc::clone(topic)));
            }
        }
        Ok(Handover { metadata, changed })
    }

    /// What a handover says is durable: it is so.
    pub(crate) fn handed_over(&self, handover: Handover) {
        let image =
            handover.changed.iter().fold(Image::clone(&self.0.image.load()), |image, (record, topic)| {
                image.with(self.topic(record, topic.partitions.clone()))
            });
        self.0.image.store(Arc::new(image));
    }

    /// Whether the disk is full: what is accepted waits for room, and nothing more is.
    pub(crate) fn storage_full(&self) -> bool {
        self.0.store.congestion().storage_full
    }

    /// The names of the topics that a pipeline owns, sorted.
    pub fn owned_by(&self, owner: &str) -> Vec<String> {
        let image = self.image();
        let owned = image.iter().filter(|topic| topic.owner.as_deref() == Some(owner));
        owned.map(|topic| topic.name.to_string()).collect()
    }

    /// Takes back every topic that a pipeline owns, and deletes those of the broker's own topics that are named, in one
    /// step with `record`.
    ///
    /// # Errors
    /// [`MetadataError`]; a rejection is definite, and nothing was changed then.
    pub async fn release(
        &self,
        owner: &str,
        deleted: &[String],
        record: MetadataRecord,
    ) -> Result<(), MetadataError> {
        let mut metadata = self.0.metadata.lock().await;
        let image = self.image();
        let owned = image.iter().filter(|topic| topic.owner.as_deref() == Some(owner));
        let freed: Vec<(TopicRecord, &Arc<Topic>)> =
            owned.map(|topic| (TopicRecord { owner: None, ..record_of(topic) }, topic)).collect();
        let doomed: Vec<&Arc<Topic>> = deleted.iter().filter_map(|name| image.get(name)).collect();
        let ids: Vec<Uuid> = doomed.iter().map(|topic| topic.id).collect();
        let mut records: Vec<MetadataRecord> =
            freed.iter().map(|(record, _)| MetadataRecord::Topic(record.clone())).collect();
        records.extend(ids.iter().copied().map(MetadataRecord::TopicDeleted));
        records.push(record);
        metadata.append(self.0.clock.now_ms(), &records).await?;
        let next = freed.iter().fold(Image::clone(&image), |image, (record, topic)| {
            image.with(self.topic(record, topic.partitions.clone()))
        });
        self.0.image.store(Arc::new(ids.into_iter().fold(next, |image, id| image.without(id))));
        for topic in doomed {
            self.remove_files(topic);
        }
        Ok(())
    }
}
