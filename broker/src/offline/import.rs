//! Partition directories that were written elsewhere become partitions here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use logmill_config::Config;
use logmill_storage::disk::DiskLock;
use logmill_storage::inspect::lock_if_there;
use logmill_storage::inspect::{Depth, Finding, PARTITION_METADATA, PartitionDirectory, Severity, verify};
use logmill_storage::{Disk, Fatal, LogError, Store, StoreError};

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::node::{self, StartError};
use crate::partitions::{CleaningSettings, LogThreads, Partitions};
use crate::topics::{ImportTopicError, ImportedTopic, ReservedIds, Source, TopicImport, Topics};

/// Longer than any import takes: nothing is cleaned up meanwhile.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// What is to be imported, and how.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Partition directories, named TOPIC-PARTITION.
    pub directories: Vec<PathBuf>,
    /// Configs for topics that are new here.
    pub topic_configs: BTreeMap<String, String>,
    /// First offset that may be read, instead of the one that is found beside the directory.
    pub start_offset: Option<i64>,
    /// End open transactions by abort markers.
    pub abort_open: bool,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The directory's name says nothing, or there is no segment in it.
    #[error(
        "{}: no partition directory; its name is <topic>-<partition>, and it has segments (<20 digits>.log)",
        directory.display()
    )]
    NotAPartition {
        /// The directory.
        directory: PathBuf,
    },
    /// Two directories are of one partition.
    #[error("{} and {} are the same partition", first.display(), second.display())]
    Twice {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The directory is in the data directory that it is to be imported into.
    #[error("{} lies in the data directory itself; copy it elsewhere first", directory.display())]
    Inside {
        /// The directory.
        directory: PathBuf,
    },
    /// Batches are damaged.
    #[error(
        "{} is damaged in {} places, the first: {}{}: {}; copy it again, or mend the copy with `logmill storage repair`",
        directory.display(),
        damage.len(),
        damage[0].file.display(),
        damage[0].position.map_or_else(String::new, |position| format!(" at position {position}")),
        damage[0].what
    )]
    Damaged {
        /// The directory.
        directory: PathBuf,
        /// Where; at least one.
        damage: Vec<Finding>,
    },
    /// Transactions are neither committed nor aborted, and whoever would end them does not come with the directory.
    #[error(
        "{} has {count} open transactions, behind which readers of committed records would wait for ever; end them where the \
         directory is from, or import with --abort-open-transactions",
        directory.display()
    )]
    OpenTransactions {
        /// The directory.
        directory: PathBuf,
        /// How many.
        count: usize,
    },
    /// The data directory cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The data directory that a directory lies in cannot be looked at.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A topic's partitions cannot be taken in.
    #[error(transparent)]
    Topic(#[from] ImportTopicError),
    /// What was imported could not be made durable.
    #[error(transparent)]
    Closing(#[from] Fatal),
}

/// Copies partition directories into the data directory of a broker that is not running: every batch is checked; offsets,
/// producers, aborted transactions and leader epochs stay as they are. Topics that are not there are created, partitions
/// that are missing in between are made, empty. All partitions of a topic are taken in, or none; topics one after another.
/// `taken` is called for each.
///
/// # Errors
/// [`ImportError`]; the topic it is about is as it was.
pub async fn import(
    config: &Config,
    import: Import,
    mut taken: impl FnMut(ImportedTopic),
) -> Result<(), ImportError> {
    let disk = super::disk();
    let (topics, _locks) = prepare(&disk, &config.data_dir, &import)?;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let options = node::store_options(config);
    let store = {
        let disk = Arc::clone(&disk);
        node::blocking(move || Store::open(disk, options)).await.map_err(StartError::Store)?.0
    };
    let cleaning = CleaningSettings { interval: NEVER, ..node::cleaning_settings(config) };
    let shards = store.applier_shards();
    let threads = LogThreads::start(
        Arc::clone(&store),
        shards,
        cleaning,
        clock.clone(),
        // Nobody asks an import for its numbers.
        &Arc::default(),
        Arc::new(node::end_process),
    )
    .map_err(StartError::Thread)?;
    let imported = async {
        let partitions = Partitions::new(Arc::clone(&store), threads.progress());
        let (metadata, records, _) = node::open_metadata(&store, &partitions, &clock, &entropy).await?;
        let defaults = node::topic_defaults(config);
        let there =
            Topics::load(Arc::clone(&store), metadata, &records, defaults, clock.clone(), entropy.clone())
                .map_err(StartError::Topics)?;
        let mut reserved = ReservedIds::of(&records);
        for topic in topics {
            let imported = there.import(&partitions, topic, &mut reserved).await?;
            taken(imported);
        }
        Ok(())
    };
    let imported = imported.await;
    node::blocking(move || threads.close()).await?;
    imported
}

type Locks = Vec<Box<dyn DiskLock>>;

/// Looks at everything before anything is changed. The data directories that the sources are in stay locked.
fn prepare(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    import: &Import,
) -> Result<(Vec<TopicImport>, Locks), ImportError> {
    let mut topics: BTreeMap<String, TopicImport> = BTreeMap::new();
    let mut locks: BTreeMap<PathBuf, Option<Box<dyn DiskLock>>> = BTreeMap::new();
    for path in &import.directories {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let around = path.parent().unwrap_or(Path::new("/")).to_owned();
        if std::path::absolute(data_dir).is_ok_and(|data_dir| data_dir == around) {
            return Err(ImportError::Inside { directory: path });
        }
        if let std::collections::btree_map::Entry::Vacant(vacant) = locks.entry(around) {
            // A place that cannot be written to is nobody's data directory at the moment.
            match lock_if_there(&**disk, vacant.key()) {
                Err(error @ StoreError::Locked { .. }) => return Err(error.into()),
                locked => drop(vacant.insert(locked.ok().flatten())),
            }
        }
        let directory = PartitionDirectory::open(Arc::clone(disk), &path)?;
        let Some((name, index)) = directory.partition().filter(|_| !directory.segments().is_empty()) else {
            return Err(ImportError::NotAPartition { directory: path });
        };
        let name = name.to_owned();
        check(&directory, import.abort_open)?;
        let start = match import.start_offset {
            Some(start) => Some(start),
            None => directory.known_start()?,
        };
        let id = directory.topic_id().ok();
        let topic = topics.entry(name.clone()).or_insert_with(|| TopicImport {
            name,
            id,
            sources: Vec::new(),
            configs: import.topic_configs.clone(),
            abort_open: import.abort_open,
        });
        if let Some(first) = topic.sources.iter().find(|source| source.index == index) {
            return Err(ImportError::Twice { first: first.directory.path().to_owned(), second: path });
        }
        if topic.id != id {
            // Of different topics, as far as they know: the topic here is a new one.
            topic.id = None;
        }
        topic.sources.push(Source { index, directory, start });
    }
    Ok((topics.into_values().collect(), locks.into_values().flatten().collect()))
}

/// Every batch can be read, and no transaction is open unless it may be aborted.
fn check(directory: &PartitionDirectory, abort_open: bool) -> Result<(), ImportError> {
    let found = verify(directory, Depth::Batches)?;
    let damage = found.findings.into_iter().filter(|finding| finding.severity == Severity::Damage);
    // Which topic the directory belongs to is written anew.
    let metadata = directory.path().join(PARTITION_METADATA);
    let damage: Vec<Finding> = damage.filter(|finding| finding.file != metadata).collect();
    if !damage.is_empty() {
        return Err(ImportError::Damaged { directory: directory.path().to_owned(), damage });
    }
    if found.open_transactions > 0 && !abort_open {
        let directory = directory.path().to_owned();
        return Err(ImportError::OpenTransactions { directory, count: found.open_transactions });
    }
    Ok(())
}
