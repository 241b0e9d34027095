//! Taking in the partitions of a topic that were written elsewhere. The broker is not serving meanwhile.
//!
//! ```text
//! record without the partitions that are replaced ─► those deleted ─► directories taken in ─► open transactions aborted
//!                                                                  ─► record with all of them, and the producer ids used
//! ```
//!
//! After a crash before the last step the partitions are strays, which the next start removes, and the same import can be
//! asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logmill_record::EndTxnMarker;
use logmill_record::control::marker_batch;
use logmill_storage::inspect::PartitionDirectory;
use logmill_storage::{AdoptError, Append, Check, Frame, PartitionId, PartitionSpec, Rejection, StoreError};
use uuid::Uuid;

use super::metadata_log::{MetadataError, MetadataLog};
use super::names::is_internal;
use super::registry::{CreateTopicError, MAX_PARTITIONS, NewTopic, Topics, record_of};
use super::schema::{MetadataRecord, ReservedIds, TopicRecord};
use super::{METADATA_TOPIC, Topic};
use crate::blocking::blocking;
use crate::configs;
use crate::partitions::{Acknowledge, Partition, Partitions};

/// What keeps records for ever unless the one who imports says otherwise: they may be old.
const KEEP: (&str, &str) = ("retention.ms", "-1");
/// Whoever sets one of these has thought of what becomes of old records.
const KEEPING: [&str; 3] = ["retention.ms", "retention.bytes", "cleanup.policy"];

/// One partition's directory.
#[derive(Debug)]
pub struct Source {
    /// The partition's index.
    pub index: i32,
    /// Where it lies.
    pub directory: PartitionDirectory,
    /// First offset that may be read, where that is not the first segment's.
    pub start: Option<i64>,
}

/// What is to be taken in of one topic.
#[derive(Debug)]
pub struct TopicImport {
    /// The topic's name.
    pub name: String,
    /// The id it had elsewhere; it is kept where that is possible.
    pub id: Option<Uuid>,
    /// The directories, each of another partition.
    pub sources: Vec<Source>,
    /// Configs for a topic that is new here.
    pub configs: BTreeMap<String, String>,
    /// End open transactions by abort markers: their coordinator does not come with them.
    pub abort_open: bool,
}

/// What was taken in.
#[derive(Debug)]
pub struct ImportedTopic {
    /// The topic's name.
    pub name: String,
    /// Whether it is new here.
    pub created: bool,
    /// How many partitions it has now.
    pub count: i32,
    /// Those that were taken in.
    pub partitions: Vec<ImportedPartition>,
    /// The largest producer id in them.
    pub largest_producer_id: Option<i64>,
}

/// One partition that was taken in.
#[derive(Debug)]
pub struct ImportedPartition {
    /// Its index.
    pub index: i32,
    /// Segments.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// First offset that may be read.
    pub start_offset: i64,
    /// Offset after the last record, markers of this import included.
    pub end_offset: i64,
    /// Offsets missing between segments, each from the first to the one behind the last.
    pub gaps: Vec<(i64, i64)>,
    /// Transactions that were open and are aborted now.
    pub aborted: usize,
}

/// Why a topic's partitions were not taken in. The data directory is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportTopicError {
    /// The broker's own topics come from its own records only.
    #[error("{name} is one of the broker's own topics, and cannot be imported")]
    Internal {
        /// The topic.
        name: String,
    },
    /// The topic belongs to a pipeline.
    #[error("topic {name} belongs to pipeline {owner:?}, which alone may write to it")]
    Owned {
        /// The topic.
        name: String,
        /// The pipeline.
        owner: String,
    },
    /// The partition holds, or held, records.
    #[error(
        "partition {name}-{index} exists and is not empty (it ends at offset {end_offset}); delete the topic first, or import \
         under another name by renaming the copied directory"
    )]
    NotEmpty {
        /// The topic.
        name: String,
        /// The partition.
        index: i32,
        /// Where it ends.
        end_offset: i64,
    },
    /// Configs of a topic that exists are not changed by an import.
    #[error(
        "topic {name} exists: change its configs with `logmill topic alter`, and import without --topic-config"
    )]
    ConfigsOfExisting {
        /// The topic.
        name: String,
    },
    /// The topic cannot be.
    #[error(transparent)]
    Topic(#[from] CreateTopicError),
    /// A directory cannot be taken.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A producer elsewhere and one here would be taken for the same.
    #[error(
        "partition {name}-{index} has records of producer {producer_id}, and this broker has given that id to a producer of its \
         own, or may have: its records would be taken for the other's; import into a data directory that has served no \
         producers yet"
    )]
    ProducerIds {
        /// The topic.
        name: String,
        /// The partition.
        index: i32,
        /// The smallest such id.
        producer_id: i64,
    },
    /// A transaction could not be ended.
    #[error("an open transaction could not be aborted: {0}")]
    Abort(#[from] Rejection),
}

impl Topics {
    /// Takes in partitions. Only for a broker that does not serve. `reserved` are the producer ids that this broker gives to
    /// nobody any more, and will be those with the imported ones.
    ///
    /// # Errors
    /// [`ImportTopicError`]; nothing was taken in.
    pub async fn import(
        &self,
        partitions: &Partitions,
        import: TopicImport,
        reserved: &mut ReservedIds,
    ) -> Result<ImportedTopic, ImportTopicError> {
        let shared = self.metadata();
        let mut metadata = shared.lock().await;
        let old = self.get(&import.name);
        let record = self.record_for(&import, old.as_deref())?;
        let replaced = replaced(&import, old.as_deref())?;
        let taken = async {
            if let Some(old) = old.as_ref().filter(|_| !replaced.is_empty()) {
                self.make_way(&mut metadata, old, &replaced).await?;
            }
            self.take_in(&mut metadata, partitions, &record, import, old.as_deref(), reserved).await
        };
        match taken.await {
            Ok(imported) => Ok(imported),
            Err(error) => {
                if let Some(old) = old.filter(|_| !replaced.is_empty()) {
                    // As it was: the partitions are empty again, as they were.
                    self.make_partitions(&record_of(&old), replaced.into_iter().collect()).await?;
                    metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record_of(&old))]).await?;
                }
                Err(error)
            }
        }
    }

    /// The topic as it will be.
    fn record_for(&self, import: &TopicImport, old: Option<&Topic>) -> Result<TopicRecord, ImportTopicError> {
        let name = import.name.clone();
        if is_internal(&name) || name == METADATA_TOPIC {
            return Err(ImportTopicError::Internal { name });
        }
        let largest = import.sources.iter().map(|source| source.index).max().unwrap_or(0);
        if largest >= MAX_PARTITIONS {
            return Err(CreateTopicError::Partitions(largest.saturating_add(1)).into());
        }
        let Some(old) = old else {
            let mut configs = import.configs.clone();
            if !KEEPING.iter().any(|name| configs.contains_key(*name)) {
                configs.insert(KEEP.0.to_owned(), KEEP.1.to_owned());
            }
            let partitions = largest + 1;
            let new = NewTopic {
                name: name.clone(),
                partitions: Some(partitions),
                configs: configs.clone(),
                ..NewTopic::default()
            };
            self.check(&new)?;
            // Another topic may have been made from a copy of the same directories.
            let usable = |id: &Uuid| id.as_u128() > 1 && self.by_id(*id).is_none();
            let id = import.id.filter(usable).unwrap_or_else(|| self.0.entropy.uuid());
            return Ok(TopicRecord { name, id, partitions, configs, owner: None, made: None });
        };
        if let Some(owner) = old.owner.as_ref().map(ToString::to_string) {
            return Err(ImportTopicError::Owned { name, owner });
        }
        if !import.configs.is_empty() {
            return Err(ImportTopicError::ConfigsOfExisting { name });
        }
        Ok(TopicRecord { partitions: old.count.max(largest + 1), made: None, ..record_of(old) })
    }

    /// Deletes empty partitions that are to be replaced, in an order in which a crash at any point leaves a topic that
    /// can be opened: the record does not name them any more when their directories go.
    async fn make_way(
        &self,
        metadata: &mut MetadataLog,
        old: &Topic,
        replaced: &BTreeSet<i32>,
    ) -> Result<(), ImportTopicError> {
        let made = old.partitions.iter().map(Partition::index).filter(|index| !replaced.contains(index));
        let record = TopicRecord { made: Some(made.collect()), ..record_of(old) };
        metadata.append(self.0.clock.now_ms(), &[MetadataRecord::Topic(record)]).await?;
        let mut ids = replaced.iter().map(|partition| PartitionId { topic: old.id, partition: *partition });
        blocking(|| ids.try_for_each(|id| self.0.store.delete_partition(id)))?;
        Ok(())
    }

    async fn take_in(
        &self,
        metadata: &mut MetadataLog,
        partitions: &Partitions,
        record: &TopicRecord,
        import: TopicImport,
        old: Option<&Topic>,
        reserved: &mut ReservedIds,
    ) -> Result<ImportedTopic, ImportTopicError> {
        let options = configs::log_options(&record.configs, &self.broker_configs());
        let mut imported = Vec::new();
        let mut logs = Vec::new();
        let mut largest_producer_id = None;
        let outcome: Result<(), ImportTopicError> = async {
            for Source { index, directory, start } in import.sources {
                let id = PartitionId { topic: record.id, partition: index };
                let spec = PartitionSpec { id, topic_name: record.name.clone(), options };
                let adopted = blocking(|| self.0.store.adopt_partition(&directory, spec, start))?;
                let log = Partition::new(adopted.partition);
                logs.push(log.clone());
                let ids: BTreeSet<i64> =
                    log.producers().into_iter().map(|producer| producer.producer_id).collect();
                if let Some(&producer_id) = ids.iter().find(|id| reserved.may_be_ours(**id)) {
                    return Err(ImportTopicError::ProducerIds {
                        name: record.name.clone(),
                        index,
                        producer_id,
                    });
                }
                largest_producer_id = largest_producer_id.max(ids.last().copied());
                let aborted = if import.abort_open { self.abort_open(partitions, &log).await? } else { 0 };
                let published = log.published();
                imported.push(ImportedPartition {
                    index,
                    segments: adopted.segments,
                    bytes: log.size_bytes(),
                    start_offset: published.log_start_offset,
                    end_offset: published.high_watermark,
                    gaps: adopted.gaps,
                    aborted,
                });
            }
            let there: BTreeSet<i32> = old
                .iter()
                .flat_map(|old| old.partitions.iter().map(Partition::index))
                .chain(imported.iter().map(|partition| partition.index))
                .collect();
            let missing: Vec<i32> = (0..record.partitions).filter(|index| !there.contains(index)).collect();
            logs.extend(self.make_partitions(record, missing).await?);
            let mut records = vec![MetadataRecord::Topic(record.clone())];
            // An id of somebody elsewhere must not be given to a new producer, whose first sequence would be refused.
            let mut passed = reserved.clone();
            if largest_producer_id.is_some_and(|largest| passed.pass_over(largest)) {
                records.push(MetadataRecord::ProducerIds(passed.clone()));
            }
            metadata.append(self.0.clock.now_ms(), &records).await?;
            *reserved = passed;
            Ok(())
        }
        .await;
        if let Err(error) = outcome {
            // What stays is named by no record: the next start removes it.
            let _ = blocking(|| logs.iter().try_for_each(|log| self.0.store.delete_partition(log.id())));
            return Err(error);
        }
        if let Some(old) = old {
            let kept =
                old.partitions.iter().filter(|kept| logs.iter().all(|log| log.index() != kept.index()));
            let kept: Vec<Partition> = kept.cloned().collect();
            logs.extend(kept);
        }
        logs.sort_by_key(Partition::index);
        self.0.image.store(Arc::new(self.0.image.load().with(self.topic(record, logs))));
        let (name, count, created) = (record.name.clone(), record.partitions, old.is_none());
        Ok(ImportedTopic { name, created, count, partitions: imported, largest_producer_id })
    }

    /// Ends the open transactions of a partition: nobody here knows their transactional ids.
    async fn abort_open(&self, partitions: &Partitions, log: &Partition) -> Result<usize, ImportTopicError> {
        let open = log.producers().into_iter().filter(|producer| producer.transaction_first_offset.is_some());
        let appends: Vec<Append> = open
            .map(|producer| {
                let coordinator_epoch = producer.coordinator_epoch.max(0);
                let end = EndTxnMarker { commit: false, coordinator_epoch };
                Append {
                    partition: log.id(),
                    batch: marker_batch(
                        producer.producer_id,
                        producer.producer_epoch,
                        end,
                        self.0.clock.now_ms(),
                    ),
                    check: Check::Marker { coordinator_epoch, transaction_v2: false },
                }
            })
            .collect();
        let count = appends.len();
        // A producer has at most one open transaction, and there may be more producers than a frame has room for.
        for append in appends {
            let (_, durable) = partitions.commit(Frame::from(vec![append]), Acknowledge::Durable)?;
            if let Some(durable) = durable {
                durable.await.map_err(|_| MetadataError::Stopping)?;
            }
        }
        Ok(count)
    }
}

/// The partitions that are there already, and empty.
fn replaced(import: &TopicImport, old: Option<&Topic>) -> Result<BTreeSet<i32>, ImportTopicError> {
    let mut replaced = BTreeSet::new();
    for source in &import.sources {
        let Some(there) = old.and_then(|old| old.partition(source.index)) else { continue };
        let end_offset = there.sequenced_end();
        if end_offset > 0 {
            return Err(ImportTopicError::NotEmpty {
                name: import.name.clone(),
                index: source.index,
                end_offset,
            });
        }
        replaced.insert(source.index);
    }
    Ok(replaced)
}
