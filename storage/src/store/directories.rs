//! Making and deleting partitions: their directories, and their place in the sequencer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::adopting::marked_directory;
use super::error::{Fatal, StoreError};
use super::partition::Partition;
use super::publish::{PartitionState, Place};
use super::{PartitionSpec, Store};
use crate::PartitionId;
use crate::log::{Durability, PartitionLog};

/// Longest topic name, so that with index and suffix it is a file name (Kafka's bound).
const MAX_TOPIC_NAME_BYTES: usize = 249;
/// Suffix of the directory of a partition that is being deleted.
pub(crate) const DELETED_SUFFIX: &str = "-delete";

/// Which directory is whose. Whoever makes or deletes a partition holds it.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    owners: BTreeMap<PathBuf, PartitionId>,
}

impl Directories {
    pub(crate) fn insert(&mut self, directory: PathBuf, owner: PartitionId) {
        self.owners.insert(directory, owner);
    }
}

/// Topic name and index of a partition's directory.
pub(crate) fn parse_directory_name(name: &str) -> Option<(&str, i32)> {
    let (topic_name, index) = name.rsplit_once('-')?;
    let index: i32 = index.parse().ok()?;
    (index >= 0 && is_topic_name(topic_name)).then_some((topic_name, index))
}

/// The name is one that [`Store::delete_partition`] gives to a directory (and Kafka, too): anything else that ends with the
/// suffix is somebody else's, and nothing of that is ever removed.
pub(crate) fn is_deleted_name(name: &str) -> bool {
    marked_directory(name, DELETED_SUFFIX).is_some()
}

pub(crate) fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_TOPIC_NAME_BYTES).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

/// The shard of a partition: partitions of one topic are spread evenly.
pub(crate) fn shard_of(id: PartitionId, shards: usize) -> usize {
    let (high, low) = id.topic.as_u64_pair();
    let mixed = (high ^ low).wrapping_add(id.partition as u64);
    (mixed % shards.max(1) as u64) as usize
}

impl Store {
    /// Makes a partition: its directory and metadata are durable on return. A partition of this id that is there already
    /// is returned as it is. Blocks on files.
    pub fn create_partition(&self, spec: PartitionSpec) -> Result<Partition, StoreError> {
        self.check_alive()?;
        let PartitionSpec { id, topic_name, options } = spec;
        if !is_topic_name(&topic_name) || id.partition < 0 {
            return Err(StoreError::InvalidTopicName { name: topic_name });
        }
        let mut directories = self.directories.lock();
        if let Some(partition) = self.partition(id) {
            return Ok(partition);
        }
        let data_dir = &self.options.data_dir;
        let directory = data_dir.join(format!("{topic_name}-{}", id.partition));
        let taken = |owner: String| StoreError::DirectoryTaken { directory: directory.clone(), owner };
        if let Some(owner) = directories.owners.get(&directory) {
            return Err(taken(owner.to_string()));
        }
        let disk = &*self.environment.disk;
        if disk.exists(&directory).map_err(StoreError::io("look at", &directory))? {
            // Whatever a start does not know and did not remove is not ours.
            return Err(taken("something that is not of this store".to_owned()));
        }
        let made = PartitionLog::create(&self.environment, &directory, id.topic, options);
        let log = match made {
            Ok(log) => log,
            Err(error) => {
                // Half a directory: best removed at once; the next start removes it too.
                let _ = disk.remove_dir_all(&directory);
                return Err(error.into());
            }
        };
        self.sync_names()?;
        let place = Place {
            shard: shard_of(id, self.appliers.count()),
            leader_epoch: 0,
            page_cache: options.durability == Durability::PageCache,
            flushed_end: 0,
        };
        directories.insert(directory.clone(), id);
        let state = Arc::new(PartitionState::new(id, topic_name, directory, log, place));
        self.sequencer.insert(Arc::clone(&state), options);
        Ok(Partition { state, sequencer: Arc::clone(&self.sequencer) })
    }

    /// Deletes a partition. From here on appends to it are rejected and its name is free; frames with appends to it that
    /// were accepted before still happen for the other partitions. The files go away with the next checkpoint, after
    /// which a start does not look for them. Blocks on files.
    pub fn delete_partition(&self, id: PartitionId) -> Result<(), StoreError> {
        self.check_alive()?;
        let mut directories = self.directories.lock();
        // A checkpoint that is being written has the partition in its list, and flushes its files.
        let mut checkpointing = self.checkpointing.lock();
        let state = self.sequencer.partition(id).ok_or(StoreError::UnknownPartition(id))?;
        let disk = &*self.environment.disk;
        let directory = state.directory();
        let mut dying_name = directory.file_name().unwrap_or_default().to_os_string();
        dying_name.push(format!(".{}{DELETED_SUFFIX}", id.topic.simple()));
        let dying = self.options.data_dir.join(dying_name);
        // An applier finds the partition deleted, or is done with it before the directory moves. When it cannot be moved,
        // the partition is as it was. Whoever cleans it up stops first.
        state.leaving.store(true, Ordering::Release);
        let cleaning = state.cleaning.lock();
        let renamed = self.appliers.pause(&state, || {
            let renamed = disk.rename(directory, &dying);
            state.deleted.store(renamed.is_ok(), Ordering::Release);
            renamed
        });
        state.leaving.store(renamed.is_ok(), Ordering::Release);
        drop(cleaning);
        renamed.map_err(StoreError::io("rename", directory))?;
        self.sequencer.remove(id);
        self.sync_names()?;
        directories.owners.remove(directory);
        self.cleaned.lock().forget(&state.topic_name, id.partition);
        checkpointing.dying.push(dying);
        drop(checkpointing);
        drop(directories);
        self.tail.clear(&state);
        // What is in flight still has to be published and counted as applied.
        self.appliers.ready(&state);
        Ok(())
    }

    /// Makes the names in the data directory durable. The checkpoint's own name is among them: after a failure nobody
    /// knows what is on the device, and trying again would lie.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        let data_dir = &self.options.data_dir;
        let synced = self.environment.disk.sync_dir(data_dir);
        synced.map_err(|error| self.poison(Fatal::io("flush", data_dir)(error)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names() {
        assert_eq!(parse_directory_name("flights-0"), Some(("flights", 0)));
        assert_eq!(parse_directory_name("a-b.c_d-12"), Some(("a-b.c_d", 12)));
        for other in ["flights", "journal", "-1", "a--1", "..-0", "a-0.0123-delete", "a b-0", "a-x"] {
            let parsed = parse_directory_name(other);
            assert!(parsed.is_none() || other == "a--1" && parsed == Some(("a-", 1)), "{other}: {parsed:?}");
        }
        assert!(is_deleted_name("a.b-0.0123456789abcdef0123456789abcdef-delete"));
        for other in
            ["to-delete", "-delete", "a-0.x-delete", "a.0123456789abcdef0123456789abcdef-delete", "a-0"]
        {
            assert!(!is_deleted_name(other), "{other}");
        }
    }
}
