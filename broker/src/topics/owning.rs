//! Topics that belong to a pipeline: taken and given back in one step with the pipeline's own record.
//!
//! Either both are true after a crash, or neither: no topic stays locked for a pipeline that is not there.

use std::sync::Arc;

use logmill_storage::Append;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::image::{Image, Topic};
use super::metadata_log::MetadataError;
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
    /// The frame that they were to be given in.
    #[error("{0}")]
    Refused(String),
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// A topic as it is when it is given to a pipeline.
type Claimed = (TopicRecord, Arc<Topic>);

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
        let mut metadata = self.0.metadata.lock().await;
        let claimed = self.claimed(names, owner)?;
        let mut records = records_of(&claimed);
        records.push(record);
        metadata.append(self.0.clock.now_ms(), &records).await?;
        self.give(&claimed);
        Ok(())
    }

    /// The same in one step with what else is in a frame of the caller's, which `commit` makes and hands over: it gives
    /// what is told when the frame is durable, or why there is none.
    ///
    /// # Errors
    /// As [`Topics::claim`].
    pub(crate) async fn claim_in(
        &self,
        names: &[String],
        owner: &str,
        record: MetadataRecord,
        commit: impl FnOnce(Append) -> Result<oneshot::Receiver<()>, String> + Send,
    ) -> Result<(), ClaimError> {
        let metadata = self.0.metadata.lock().await;
        let claimed = self.claimed(names, owner)?;
        let mut records = records_of(&claimed);
        records.push(record);
        let append = metadata.append_of(self.0.clock.now_ms(), &records);
        let durable = commit(append).map_err(ClaimError::Refused)?;
        durable.await.map_err(|_| MetadataError::Stopping)?;
        self.give(&claimed);
        Ok(())
    }

    /// Those of the topics that are not the pipeline's yet, as they will be. Asked under the metadata's lock.
    fn claimed(&self, names: &[String], owner: &str) -> Result<Vec<Claimed>, ClaimError> {
        let mut claimed = Vec::new();
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
            claimed.push((record, topic));
        }
        Ok(claimed)
    }

    /// Shows them as the pipeline's. Called under the metadata's lock.
    fn give(&self, claimed: &[Claimed]) {
        let image = claimed.iter().fold(Image::clone(&self.0.image.load()), |image, (record, topic)| {
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

fn records_of(claimed: &[Claimed]) -> Vec<MetadataRecord> {
    claimed.iter().map(|(record, _)| MetadataRecord::Topic(record.clone())).collect()
}
