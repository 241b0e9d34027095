//! Where everything is put together.
//!
//! ```text
//! configuration ─► store (journal replayed) ─► threads ─► metadata ─► topics, coordinators, pipelines ─► port
//! ```
//!
//! The port opens last: who can connect is served. Coordinators read their logs, and pipelines resume, when it is open
//! already. Stopping goes the other way: the port closes, requests
//! under way are finished, pipelines close their epochs, a checkpoint and the clean mark are written.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use logmill_config::{
    Assignor as ConfiguredAssignor, Config, DirectIo, Durability as ConfiguredDurability, GroupMigration,
    HostPort,
};
use logmill_coordinator::groups::{Assignor, MigrationPolicy};
use logmill_storage::{
    Cleanup, Disk, Durability, Fatal, JournalOptions, LogOptions, PartitionId, PartitionSpec, RealDisk,
    Retention, Store, StoreError, StoreOptions,
};
use logmill_stream::{EpochLimits, Functions};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::assembly::{Assembly, FETCH_BYTES, PAGE_PARTITIONS};
use crate::blocking::beside;
use crate::clock::{Clock, steady_ns};
use crate::configs::BrokerConfigs;
use crate::context::NodeInfo;
use crate::coordinators::CoordinatorSettings;
use crate::descriptors;
use crate::dispatch::Dispatch;
use crate::entropy::Entropy;
use crate::loggers::Loggers;
use crate::net::{Listener, MetricsPage, NetSettings};
use crate::partitions::{CleaningSettings, LogThreads, Partition, Partitions};
use crate::pipelines::{PipelineSettings, PipelineSurroundings, Pipelines, SnapshotSettings, SpillSettings};
use crate::security::Access;
use crate::services::{self, NodeService, PipelineService, QueryService};
use crate::telemetry::{Health, Limits, Scraper, Telemetry, UnreadTimes};
use crate::topics::{
    CreateTopicError, METADATA_TOPIC, MetadataError, MetadataLog, MetadataRecord, TopicDefaults,
};

/// The metadata topic has the same id everywhere, so that it can be found before metadata is read.
const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// A single node is number 1, as in Kafka's own examples.
pub(crate) const NODE_ID: i32 = 1;

/// Appliers: segment writes are copies into the page cache, and two threads keep up with one journal.
pub(crate) const APPLIER_SHARDS: usize = 2;

/// HTTP/2 connections that may wait for the gRPC server to take them.
const HANDOVER_QUEUE: usize = 64;

/// A pipeline that nobody gave a number has no more shards than this: what they gain grows less with each.
const MOST_SHARDS_UNASKED: u32 = 8;

/// The exit status after the log could not be made durable (`EX_IOERR` of sysexits).
const EXIT_LOG_FAILED: i32 = 74;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("{0}")]
    Listen(#[source] std::io::Error),
    /// The configured address is none.
    #[error("{address} is not an address to listen on: {detail}")]
    Address {
        /// The address.
        address: String,
        /// Why not.
        detail: String,
    },
    /// The data directory cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A topic of the metadata cannot be opened.
    #[error("{0}")]
    Topics(#[from] CreateTopicError),
    /// The operating system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// A running broker.
pub struct Node {
    address: SocketAddr,
    page: Option<Page>,
    info: Arc<NodeInfo>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    deadlines: JoinHandle<()>,
    pipelines: Pipelines,
    threads: LogThreads,
}

impl Node {
    /// Opens the data directory, recovers, and serves. Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and where; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let loggers = Loggers::fixed(&config.telemetry.level);
        Self::start_with(config, loggers).await
    }

    /// The same, with log lines whose levels clients may change.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_with(config: Config, loggers: Loggers) -> Result<Self, StartError> {
        Self::start_embedded(config, loggers, Functions::new()).await
    }

    /// The same in a program that has functions of its own, which the scripts of pipelines may call. They must be there
    /// again at the next start: a pipeline whose functions are missing does not run.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_embedded(
        config: Config,
        loggers: Loggers,
        functions: Functions,
    ) -> Result<Self, StartError> {
        Self::start_on(Arc::new(RealDisk), config, loggers, functions).await
    }

    /// The same, on a disk of the caller's: for tests of what is hard to do to a real one.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on(
        disk: Arc<dyn Disk>,
        config: Config,
        loggers: Loggers,
        functions: Functions,
    ) -> Result<Self, StartError> {
        let clock = Clock::system();
        let started_ms = clock.now_ms();
        let listen = resolve(&config.listen)?;
        let stop = CancellationToken::new();
        let health = Health::new(stop.clone());
        // From the first moment on, so that a long recovery is told from a broker that hangs.
        let page = Page::open(&config, &health).await?;
        let options = store_options(&config);
        let limits = Limits {
            connections: u64::from(config.limits.max_connections),
            journal_bytes: options.journal.max_bytes,
            tail_bytes: options.tail_bytes as u64,
            open_files: options.open_files as u64,
        };
        let logs = Arc::clone(&disk);
        let (store, recovery) = blocking(move || Store::open(logs, options)).await?;
        tracing::info!(
            new = recovery.new,
            clean = recovery.clean,
            partitions = recovery.partitions.len(),
            replayed_frames = recovery.replayed_frames,
            "the log is open"
        );
        if let Some(cut) = &recovery.journal_cut {
            tracing::warn!(?cut, "the journal had a torn end, which nobody was told about; it was cut");
        }
        for truncation in &recovery.truncations {
            tracing::warn!(?truncation, "the end of a partition that no frame vouches for was cut");
        }
        for damage in &recovery.damaged {
            tracing::error!(%damage, "stored records are damaged: reads of them fail, all others go on");
        }
        if let Some(file) = &recovery.unusable_checkpoint {
            tracing::error!(file = %file.display(), "a checkpoint was damaged or lost; the other one of the two was used");
        }
        for (directory, why) in &recovery.unremoved_directories {
            let directory = directory.display();
            tracing::warn!(%directory, why, "a deleted partition's directory cannot be removed; it is tried again");
        }
        let telemetry = Arc::new(Telemetry::default());
        let threads = LogThreads::start(
            Arc::clone(&store),
            APPLIER_SHARDS,
            cleaning_settings(&config),
            clock.clone(),
            &telemetry,
            Arc::new(end_process),
        )
        .map_err(StartError::Thread)?;
        let entropy = Entropy::system();
        let assembly = Assembly::open(&store, threads.progress(), &config, &clock, &entropy).await?;
        let (topics, coordinators) = (assembly.topics.clone(), assembly.coordinators.clone());
        let loading = coordinators.begin_loading();
        let listener = Listener::bind(net_settings(&config, listen)).map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        let advertised = match &config.advertised {
            Some(advertised) => (advertised.host.clone(), advertised.port),
            None => (config.listen.host.clone(), address.port()),
        };
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let cluster_id = assembly.cluster_id.clone();
        let info = Arc::new(NodeInfo { node_id: NODE_ID, cluster_id, advertised, data_dir });
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let processors = u32::try_from(workers).unwrap_or(u32::MAX);
        let pipelines = Pipelines::load(
            topics.clone(),
            coordinators.clone(),
            &assembly.records,
            PipelineSettings {
                limits: EpochLimits {
                    input_bytes: config.pipelines.epoch_bytes.in_memory(),
                    input_records: u64::from(config.pipelines.epoch_records),
                    steady_bytes: config.pipelines.epoch_output.in_memory(),
                    emit_rows: config.pipelines.emit_rows,
                    ..EpochLimits::default()
                },
                memory: config.pipelines.memory.get(),
                shards: config
                    .pipelines
                    .shards
                    .unwrap_or_else(|| processors.saturating_sub(1).clamp(1, MOST_SHARDS_UNASKED)),
                threads: processors,
                backlog_share: config.pipelines.backlog_share,
                disk_reserve: config.pipelines.disk_reserve.get(),
            },
            PipelineSurroundings {
                spill: SpillSettings {
                    disk: Arc::clone(&disk),
                    is_on: config.pipelines.spill,
                    directory: config.pipelines.spill_dir.clone(),
                    data_dir: config.data_dir.clone(),
                    cluster: assembly.cluster_id.clone(),
                },
                snapshots: SnapshotSettings {
                    disk,
                    data_dir: config.data_dir.clone(),
                    interval_bytes: config.pipelines.snapshot_interval.get(),
                },
                partitions: assembly.partitions.clone(),
                functions,
            },
            clock.clone(),
            Handle::current(),
        );
        let (handed_over, http2) = mpsc::channel(HANDOVER_QUEUE);
        let context = assembly.context(Arc::clone(&info), loggers);
        let dispatch =
            Dispatch::new(context, Arc::clone(&telemetry), config.limits.response_memory.in_memory());
        let scraper = Scraper {
            telemetry,
            store: Arc::clone(&store),
            partitions: assembly.partitions,
            topics: topics.clone(),
            coordinators: coordinators.clone(),
            pipelines: pipelines.clone(),
            connections: listener.open_connections(),
            request_memory: listener.memory(),
            response_memory: dispatch.response_memory(),
            data_dir: config.data_dir.clone(),
            clock: clock.clone(),
            started_ms,
            limits,
            unread: Arc::new(parking_lot::Mutex::new(UnreadTimes::default())),
        };
        health.is_open(scraper.clone());
        let node_service = NodeService {
            node: Arc::clone(&info),
            topics,
            store,
            clock,
            started_ms,
            data_dir: config.data_dir.clone(),
            connections: listener.open_connections(),
            scraper,
            access: Access,
        };
        let mut tasks = vec![
            tokio::spawn(services::serve(
                http2,
                node_service,
                PipelineService { pipelines: pipelines.clone(), access: Access },
                QueryService { pipelines: pipelines.clone(), access: Access },
                stop.clone(),
                config.shutdown_drain,
            )),
            tokio::spawn(listener.serve(Arc::new(dispatch), handed_over, stop.clone())),
        ];
        health.is_listening();
        let stopping = stop.clone();
        tasks.push(tokio::spawn(blocking(move || loading.run(&stopping, workers))));
        let (resuming, stopping) = (pipelines.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            // A pipeline that a stop keeps from starting starts the next time.
            let _ = stopping.run_until_cancelled(resuming.resume()).await;
        }));
        let deadlines = tokio::spawn(coordinators.run_deadlines());
        tracing::info!(%address, cluster = info.cluster_id, "serving");
        if let Some(Page { address: metrics, .. }) = &page {
            tracing::info!(%metrics, "metrics can be read");
        }
        Ok(Self { address, page, info, stop, tasks, deadlines, pipelines, threads })
    }

    /// The address that is listened on, with the real port where port 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health can be read over HTTP, if anywhere.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(|page| page.address)
    }

    /// Who this broker is, as clients see it.
    #[must_use]
    pub fn info(&self) -> &NodeInfo {
        &self.info
    }

    /// Stops: no new requests, those under way are finished, epochs closed, everything flushed, a
    /// checkpoint and the clean mark written.
    ///
    /// # Errors
    /// When the checkpoint could not be made durable; the next start replays the journal and loses nothing.
    pub async fn shutdown(self) -> Result<(), Fatal> {
        self.stop.cancel();
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("a task of the broker ended with a panic");
            }
        }
        self.pipelines.shutdown().await;
        self.deadlines.abort();
        // It holds the store, whose directory is another broker's once nobody does.
        let _ = self.deadlines.await;
        if let Some(page) = self.page {
            page.close().await;
        }
        let threads = self.threads;
        let closed = blocking(move || threads.close()).await;
        tracing::info!("stopped");
        closed
    }
}

/// Where metrics and health are read over HTTP, until it is dropped.
struct Page {
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Page {
    /// Opens the page, if there is to be one.
    async fn open(config: &Config, health: &Health) -> Result<Option<Self>, StartError> {
        let Some(address) = &config.telemetry.metrics else { return Ok(None) };
        let page = MetricsPage::bind(resolve(address)?).await.map_err(StartError::Listen)?;
        let address = page.local_addr().map_err(StartError::Listen)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(page.serve(health.clone(), stop.clone()));
        Ok(Some(Self { address, task, stop: stop.drop_guard() }))
    }

    async fn close(self) {
        drop(self.stop);
        if self.task.await.is_err() {
            tracing::error!("the page of metrics ended with a panic");
        }
    }
}

/// Runs what blocks beside the runtime's workers; a panic in it goes on here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match beside(work).await {
        Ok(done) => done,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// Opens the metadata log, making it on first use; reads it, and gives a new directory its cluster id.
pub(crate) async fn open_metadata(
    store: &Arc<Store>,
    partitions: &Partitions,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<(Arc<Mutex<MetadataLog>>, Vec<MetadataRecord>, String), StartError> {
    let id = PartitionId { topic: METADATA_TOPIC_ID, partition: 0 };
    // Nothing of it ever goes.
    let cleanup = Cleanup { delete: false, compact: false };
    let options = LogOptions { durability: Durability::Disk, cleanup, ..LogOptions::default() };
    let log = match store.partition(id) {
        Some(log) => {
            store.set_options(id, options)?;
            log
        }
        None => {
            let store = Arc::clone(store);
            let spec = PartitionSpec { id, topic_name: METADATA_TOPIC.to_owned(), options };
            blocking(move || store.create_partition(spec)).await?
        }
    };
    let mut metadata = MetadataLog::new(partitions.clone(), Partition::new(log));
    let mut records = metadata.load()?;
    let known = records.iter().find_map(|record| match record {
        MetadataRecord::Cluster { id } => Some(id.clone()),
        _ => None,
    });
    let cluster_id = match known {
        Some(id) => id,
        None => {
            let id = logmill_record::topic_id::to_base64(entropy.uuid());
            let record = MetadataRecord::Cluster { id: id.clone() };
            metadata.append(clock.now_ms(), std::slice::from_ref(&record)).await?;
            records.push(record);
            id
        }
    };
    Ok((Arc::new(Mutex::new(metadata)), records, cluster_id))
}

/// After a failed flush nobody knows what the device holds.
pub(crate) fn end_process(fatal: &Fatal) {
    tracing::error!(%fatal, "the log cannot be made durable; the process ends, start it again to recover");
    std::process::exit(EXIT_LOG_FAILED);
}

pub(crate) fn topic_defaults(config: &Config) -> TopicDefaults {
    TopicDefaults {
        partitions: i32::try_from(config.topics.partitions).unwrap_or(1),
        configs: BrokerConfigs::of_file(config, NODE_ID, FETCH_BYTES, PAGE_PARTITIONS),
        auto_create: config.topics.auto_create,
    }
}

fn resolve(address: &HostPort) -> Result<SocketAddr, StartError> {
    let failed = |detail: String| StartError::Address { address: address.to_string(), detail };
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    let mut found = found.map_err(|error| failed(error.to_string()))?;
    found.next().ok_or_else(|| failed("the name has no address".to_owned()))
}

pub(crate) fn store_options(config: &Config) -> StoreOptions {
    let small = |size: logmill_config::ByteSize| u32::try_from(size.get()).unwrap_or(u32::MAX);
    let direct = config.journal.direct != DirectIo::Off;
    StoreOptions {
        journal: JournalOptions {
            file_bytes: config.journal.file_size.get(),
            max_bytes: config.journal.max_size.get(),
            direct,
            ..JournalOptions::default()
        },
        tail_bytes: config.limits.tail_memory.in_memory(),
        applier_shards: APPLIER_SHARDS,
        open_files: descriptors::for_segments(descriptors::raise_limit()),
        log: LogOptions {
            segment_bytes: small(config.topics.segment).min(i32::MAX as u32),
            index_interval_bytes: small(config.topics.index_interval),
            durability: match config.topics.durability {
                ConfiguredDurability::Disk => Durability::Disk,
                ConfiguredDurability::PageCache => Durability::PageCache,
            },
            retention: Retention {
                ms: Some(i64::try_from(config.topics.retention.as_millis()).unwrap_or(i64::MAX)),
                bytes: None,
            },
            ..LogOptions::default()
        },
        measure: steady_ns,
        ..StoreOptions::new(config.data_dir.clone(), Entropy::system().uuid())
    }
}

pub(crate) fn cleaning_settings(config: &Config) -> CleaningSettings {
    CleaningSettings {
        interval: config.cleaning.interval,
        max_clock_jump: config.cleaning.max_clock_jump,
        compaction_memory_bytes: config.cleaning.compaction_memory.in_memory(),
        producer_expiry_ms: i64::try_from(config.transactions.producer_expiry.as_millis())
            .unwrap_or(i64::MAX),
    }
}

pub(crate) fn coordinator_settings(config: &Config) -> CoordinatorSettings {
    let ms = |time: std::time::Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let consumers = &config.consumer_groups;
    CoordinatorSettings {
        groups: logmill_coordinator::groups::Settings {
            initial_rebalance_delay_ms: ms(config.groups.initial_rebalance_delay),
            min_session_timeout_ms: ms(config.groups.min_session_timeout),
            max_session_timeout_ms: ms(config.groups.max_session_timeout),
            max_members: size(config.groups.max_members),
            offsets_retention_ms: (!config.groups.offsets_retention.is_zero())
                .then(|| i64::try_from(config.groups.offsets_retention.as_millis()).unwrap_or(i64::MAX)),
            consumer: logmill_coordinator::groups::ConsumerSettings {
                max_members: size(consumers.max_members),
                assignors: consumers.assignors.0.iter().map(|assignor| assignor_of(*assignor)).collect(),
                migration: match consumers.migration {
                    GroupMigration::Bidirectional => MigrationPolicy::Bidirectional,
                    GroupMigration::Upgrade => MigrationPolicy::Upgrade,
                    GroupMigration::Downgrade => MigrationPolicy::Downgrade,
                    GroupMigration::Disabled => MigrationPolicy::Disabled,
                },
            },
            ..Default::default()
        },
        transactions: logmill_coordinator::transactions::Settings {
            max_timeout_ms: ms(config.transactions.max_timeout),
            id_expiry_ms: i64::try_from(config.transactions.expiry.as_millis()).unwrap_or(i64::MAX),
            ..Default::default()
        },
    }
}

fn assignor_of(configured: ConfiguredAssignor) -> Assignor {
    match configured {
        ConfiguredAssignor::Uniform => Assignor::Uniform,
        ConfiguredAssignor::Range => Assignor::Range,
    }
}

pub(crate) fn net_settings(config: &Config, listen: SocketAddr) -> NetSettings {
    NetSettings {
        listen,
        max_connections: config.limits.max_connections as usize,
        max_request_bytes: config.limits.max_request.in_memory(),
        request_memory_bytes: config.limits.request_memory.in_memory(),
        idle_timeout: config.limits.idle_timeout,
        write_timeout: config.limits.write_timeout,
        drain_timeout: config.shutdown_drain,
        ..NetSettings::default()
    }
}
