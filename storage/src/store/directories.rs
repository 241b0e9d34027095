//! Making and deleting partitions: their directories, and their place in the sequencer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::adopting::marked_directory;
use super::error::{Fatal, StoreError};
use super::partition::Partition;
use super::publish::{PartitionState, Place};
use super::{PartitionSpec, Store};
use crate::PartitionId;
use crate::disk::Replacement;
use crate::log::{Durability, PartitionLog};

/// Longest topic name, so that with index and suffix it is a file name (Kafka's bound).
const MAX_TOPIC_NAME_BYTES: usize = 249;
/// Partitions that are made together. Each has two files open meanwhile.
const MADE_TOGETHER: usize = 512;
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
        let mut made = self.create_partitions(vec![spec])?;
        Ok(made.swap_remove(0))
    }

    /// Makes partitions together, which costs hardly more flushes than one: all of them, or, on an error, none.
    pub fn create_partitions(&self, specs: Vec<PartitionSpec>) -> Result<Vec<Partition>, StoreError> {
        self.check_alive()?;
        let mut directories = self.directories.lock();
        let mut partitions: Vec<(Partition, bool)> = Vec::with_capacity(specs.len());
        for group in specs.chunks(MADE_TOGETHER) {
            match self.create_group(&mut directories, group) {
                Ok(made) => partitions.extend(made),
                Err(error) => {
                    drop(directories);
                    // A checkpoint may know them already. What cannot be deleted is a stray partition, which its owner
                    // removes at the next start.
                    for (partition, _) in partitions.iter().filter(|(_, new)| *new) {
                        let _ = self.delete_partition(partition.id());
                    }
                    return Err(error);
                }
            }
        }
        Ok(partitions.into_iter().map(|(partition, _)| partition).collect())
    }

    /// Which of them are new is told with each.
    fn create_group(
        &self,
        directories: &mut Directories,
        specs: &[PartitionSpec],
    ) -> Result<Vec<(Partition, bool)>, StoreError> {
        let disk = &*self.environment.disk;
        let mut made: Vec<(&PartitionSpec, PathBuf, PartitionLog, Replacement)> = Vec::new();
        let created = specs.iter().try_for_each(|spec| {
            if self.partition(spec.id).is_some() || made.iter().any(|(other, ..)| other.id == spec.id) {
                return Ok(());
            }
            let directory = self.free_directory(directories, spec)?;
            let new =
                PartitionLog::create_unflushed(&self.environment, &directory, spec.id.topic, spec.options);
            let (log, metadata) = new.inspect_err(|_| {
                let _ = disk.remove_dir_all(&directory);
            })?;
            made.push((spec, directory, log, metadata));
            Ok(())
        });
        let files: Vec<(&Path, &Replacement)> =
            made.iter().map(|(_, directory, _, metadata)| (&**directory, metadata)).collect();
        let created = created.and_then(|()| Ok(self.group_flush.put_in_place(&files)?));
        if let Err(error) = created {
            // Half directories: best removed at once; the next start removes them too.
            for (_, directory, ..) in &made {
                let _ = disk.remove_dir_all(directory);
            }
            return Err(error);
        }
        self.sync_names()?;
        let mut new = BTreeSet::new();
        for (spec, directory, log, _) in made {
            let place = Place {
                shard: shard_of(spec.id, self.appliers.count()),
                leader_epoch: 0,
                page_cache: spec.options.durability == Durability::PageCache,
                flushed_end: 0,
            };
            directories.insert(directory.clone(), spec.id);
            let state = PartitionState::new(spec.id, spec.topic_name.clone(), directory, log, place);
            self.sequencer.insert(Arc::new(state), spec.options);
            new.insert(spec.id);
        }
        let handles = specs.iter().map(|spec| {
            let partition = self.partition(spec.id).ok_or(StoreError::UnknownPartition(spec.id))?;
            Ok((partition, new.contains(&spec.id)))
        });
        handles.collect()
    }

    /// Where a partition will be: nothing is there.
    fn free_directory(&self, directories: &Directories, spec: &PartitionSpec) -> Result<PathBuf, StoreError> {
        let PartitionSpec { id, topic_name, .. } = spec;
        if !is_topic_name(topic_name) || id.partition < 0 {
            return Err(StoreError::InvalidTopicName { name: topic_name.clone() });
        }
        let directory = self.options.data_dir.join(format!("{topic_name}-{}", id.partition));
        let taken = |owner: String| StoreError::DirectoryTaken { directory: directory.clone(), owner };
        if let Some(owner) = directories.owners.get(&directory) {
            return Err(taken(owner.to_string()));
        }
        if self.environment.disk.exists(&directory).map_err(StoreError::io("look at", &directory))? {
            // Whatever a start does not know and did not remove is not ours.
            return Err(taken("something that is not of this store".to_owned()));
        }
        Ok(directory)
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
