//! Pipelines over a data directory, without a port.

mod changes;
mod counting_disk;
mod courtesy;
mod ends;
mod events;
mod look_ups;
mod mirror;
mod queries;
mod recovery;
mod sources;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use logmill_config::Config;
use logmill_storage::{Disk, RealDisk, Store};
use logmill_stream::{EpochLimits, Functions};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    PipelineError, PipelineSettings, PipelineState, PipelineSurroundings, Pipelines, SnapshotSettings,
    SpillSettings,
};
use crate::assembly::Assembly;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::node;
use crate::partitions::{LogThreads, Partitions};
use crate::telemetry::Telemetry;
use crate::topics::{MetadataRecord, NewTopic, PipelineRecord};

pub(super) const COPY: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT x FROM a;";

/// What they leave on the disk.
const RESERVE: u64 = 1 << 20;

pub(super) struct Parts {
    pub(super) pipelines: Pipelines,
    pub(super) partitions: Partitions,
    threads: LogThreads,
}

impl Parts {
    /// Pipelines as the metadata says, and further records.
    pub(super) async fn open(directory: &TempDir, further: Vec<MetadataRecord>) -> Self {
        Self::open_with(directory, further, 1 << 30).await
    }

    /// The same with snapshots after so many bytes of changes.
    pub(super) async fn open_with(
        directory: &TempDir,
        further: Vec<MetadataRecord>,
        interval_bytes: u64,
    ) -> Self {
        Self::open_limited(directory, further, interval_bytes, EpochLimits::default()).await
    }

    /// The same with epochs of these limits.
    pub(super) async fn open_limited(
        directory: &TempDir,
        further: Vec<MetadataRecord>,
        interval_bytes: u64,
        limits: EpochLimits,
    ) -> Self {
        Self::open_on(RealDisk, directory, further, interval_bytes, limits).await
    }

    /// The same on a disk that stands before the real one.
    pub(super) async fn open_on(
        disk: impl Disk + 'static,
        directory: &TempDir,
        further: Vec<MetadataRecord>,
        interval_bytes: u64,
        limits: EpochLimits,
    ) -> Self {
        Self::open_sharing(disk, directory, further, interval_bytes, limits, 25).await
    }

    /// The same with this share of the device while others produce.
    pub(super) async fn open_sharing(
        disk: impl Disk + 'static,
        directory: &TempDir,
        further: Vec<MetadataRecord>,
        interval_bytes: u64,
        limits: EpochLimits,
        backlog_share: u32,
    ) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        let clock = Clock::system();
        let (store, _) = Store::open(Arc::clone(&disk), node::store_options(&config)).unwrap();
        let threads = LogThreads::start(
            Arc::clone(&store),
            node::APPLIER_SHARDS,
            node::cleaning_settings(&config),
            clock.clone(),
            &Arc::new(Telemetry::default()),
            Arc::new(node::end_process),
        )
        .unwrap();
        let assembly =
            Assembly::open(&store, threads.progress(), &config, &clock, &Entropy::system()).await.unwrap();
        let loading = assembly.coordinators.begin_loading();
        node::blocking(move || loading.run(&CancellationToken::new(), 1)).await;
        let records = [assembly.records, further].concat();
        let settings = PipelineSettings {
            limits,
            memory: 1 << 28,
            shards: 1,
            threads: 2,
            backlog_share,
            disk_reserve: RESERVE,
        };
        let snapshots =
            SnapshotSettings { disk: Arc::clone(&disk), data_dir: config.data_dir.clone(), interval_bytes };
        let pipelines = Pipelines::load(
            assembly.topics,
            assembly.coordinators,
            &records,
            settings,
            PipelineSurroundings {
                snapshots,
                spill: SpillSettings {
                    disk,
                    is_on: true,
                    directory: None,
                    data_dir: config.data_dir.clone(),
                    cluster: assembly.cluster_id.clone(),
                },
                partitions: assembly.partitions.clone(),
                functions: Functions::new(),
            },
            clock,
            Handle::current(),
        );
        for name in ["in", "other-in"] {
            if pipelines.0.topics.get(name).is_none() {
                let new = NewTopic {
                    name: name.to_owned(),
                    partitions: Some(1),
                    configs: BTreeMap::new(),
                    ..NewTopic::default()
                };
                pipelines.0.topics.create(new).await.unwrap();
            }
        }
        Self { pipelines, partitions: assembly.partitions, threads }
    }

    pub(super) async fn close(self) {
        self.pipelines.shutdown().await;
        node::blocking(move || self.threads.close()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_whose_script_does_not_plan_any_more_is_there_and_can_be_corrected() {
    let directory = TempDir::new().unwrap();
    let known = |name: &str| {
        MetadataRecord::Pipeline(PipelineRecord {
            name: name.to_owned(),
            script: "SELECT what WAS once THE language".to_owned(),
            generation: 4,
            running: true,
            input_ends: None,
            memory: None,
            shards: None,
            created_ms: 5,
        })
    };
    let parts = Parts::open(&directory, vec![known("old"), known("unwanted")]).await;
    let pipelines = &parts.pipelines;
    pipelines.resume().await;
    let view = pipelines.view("old").unwrap();
    let PipelineState::Failed(failure) = view.state else { panic!("{:?}", view.state) };
    assert!(failure.what.contains("line 1"), "{failure}");
    assert!(failure.remedy.contains("corrected script"), "{failure}");
    assert_eq!((view.generation, view.plan.as_str()), (4, ""));
    // Its generations go on, so that nothing of an earlier one is taken.
    let (view, created) = pipelines.run("old", COPY, None).await.unwrap();
    assert!(!created);
    assert_eq!((view.generation, view.script.as_str()), (5, COPY));
    // The other one can go.
    pipelines.delete("unwanted", false).await.unwrap();
    assert_eq!(pipelines.list().len(), 1);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_pipeline_holds_up_no_other() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("slow", COPY, None).await.unwrap();
    let held = pipelines.hold("slow").await;
    pipelines.run("quick", &COPY.replace("'out'", "'other'"), None).await.unwrap();
    pipelines.stop("quick").await.unwrap();
    pipelines.delete("quick", false).await.unwrap();
    assert!(pipelines.stop("slow").now_or_never().is_none(), "that one is held");
    drop(held);
    assert_eq!(pipelines.stop("slow").await.unwrap().state, PipelineState::Stopped);
    // Names that nobody is at are forgotten.
    for name in 0..1_000 {
        assert!(matches!(pipelines.stop(&name.to_string()).await, Err(PipelineError::Unknown(_))));
    }
    assert!(pipelines.names_held() < 100);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_starts_once_the_broker_stops() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.shutdown().await;
    let refused = parts.pipelines.run("late", COPY, None).await;
    assert!(matches!(refused, Err(PipelineError::Stopping)), "{refused:?}");
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_meets_while_the_broker_goes_down_is_no_failure_of_the_pipeline() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", COPY, None).await.unwrap();
    pipelines.stop("p").await.unwrap();
    let told = pipelines.events("p", 0).unwrap().len();
    // As if the metadata log were closed before the start writes to it.
    let id = pipelines.0.topics.get("in").unwrap().id;
    pipelines.0.topics.delete(id).await.unwrap();
    pipelines.0.closing.store(true, Ordering::Relaxed);
    let refused = pipelines.run("p", COPY, None).await;
    assert!(matches!(refused, Err(PipelineError::NoSource(_))), "{refused:?}");
    let state = pipelines.view("p").unwrap().state;
    assert!(!matches!(state, PipelineState::Failed(_)), "{state:?}");
    assert_eq!(pipelines.events("p", 0).unwrap().len(), told);
    parts.close().await;
}
