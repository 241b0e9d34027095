//! Loading at the start: beside the requests, all machines at once, each whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_config::Config;
use logmill_coordinator::groups::{
    Command, CommitOffsets, FetchOffsets, PartitionOffset, Reply, TopicOffsets,
};
use logmill_coordinator::partition_for;
use logmill_coordinator::transactions::{Marker, TopicPartition};
use logmill_storage::{RealDisk, Store};
use logmill_wire::{ErrorCode, Str};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{CoordinatorSettings, Coordinators, Patience};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::features::Features;
use crate::node;
use crate::partitions::{LogThreads, Partitions};
use crate::telemetry::Telemetry;
use crate::topics::{OFFSETS_TOPIC, Topics};

/// The coordinators of a data directory, with what they need of a broker.
struct Parts {
    coordinators: Coordinators,
    threads: LogThreads,
}

impl Parts {
    async fn open(directory: &TempDir) -> Self {
        let config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        let clock = Clock::system();
        let (store, _) = Store::open(Arc::new(RealDisk), node::store_options(&config)).unwrap();
        let threads = LogThreads::start(
            Arc::clone(&store),
            node::APPLIER_SHARDS,
            node::cleaning_settings(&config),
            clock.clone(),
            &Arc::new(Telemetry::default()),
            Arc::new(node::end_process),
        )
        .unwrap();
        let partitions = Partitions::new(Arc::clone(&store), threads.progress());
        let entropy = Entropy::system();
        let (metadata, records, _) =
            node::open_metadata(&store, &partitions, &clock, &entropy).await.unwrap();
        let defaults = node::topic_defaults(&config);
        let loaded = Topics::load(store, Arc::clone(&metadata), &records, defaults, clock.clone(), entropy);
        let topics = loaded.unwrap();
        let features = Features::load(metadata, &records, clock.clone());
        let settings = CoordinatorSettings::default();
        Self { coordinators: Coordinators::new(partitions, topics, features, settings, clock), threads }
    }

    async fn close(self) {
        node::blocking(move || self.threads.close()).await.unwrap();
    }

    async fn commit(&self, group: &str, offset: i64) {
        let partition =
            PartitionOffset { partition: 0, offset, leader_epoch: -1, metadata: None, refused: None };
        let offsets = vec![TopicOffsets { topic: "t".into(), topic_id: None, partitions: vec![partition] }];
        let commit = CommitOffsets {
            version: 8,
            group: group.into(),
            generation: -1,
            member_id: Str::default(),
            instance_id: None,
            retention_ms: -1,
            offsets,
        };
        let (command, began) = (Command::CommitOffsets(commit), Instant::now());
        let reply = loop {
            match self.coordinators.group(group, &Patience::default(), command.clone()).await {
                // A marker that is not durable yet has its machine loaded a moment later: clients ask again.
                Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) if began.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                reply => break reply.unwrap(),
            }
        };
        assert!(matches!(reply, Reply::Committed(_)), "{reply:?}");
    }

    async fn offset(&self, group: &str) -> Result<i64, ErrorCode> {
        self.offset_within(group, &Patience::default()).await
    }

    async fn offset_within(&self, group: &str, patience: &Patience) -> Result<i64, ErrorCode> {
        let fetch = FetchOffsets {
            group: group.into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![("t".into(), vec![0])]),
            require_stable: false,
        };
        match self.coordinators.group(group, patience, Command::FetchOffsets(fetch)).await? {
            Reply::Fetched(fetched) => {
                Ok(fetched.topics[0].1[0].stored.as_ref().map_or(-1, |stored| stored.offset))
            }
            other => panic!("not offsets: {other:?}"),
        }
    }
}

/// Groups that live in different partitions, with offsets that a broker has left.
async fn left_by_a_broker(groups: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let parts = Parts::open(&directory).await;
    for (group, offset) in groups.iter().zip(1..) {
        parts.commit(group, offset).await;
    }
    parts.close().await;
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_of_the_start_are_loaded_without_being_asked_for() {
    let groups = ["a", "b", "c", "d", "e"];
    let directory = left_by_a_broker(&groups).await;
    let parts = Parts::open(&directory).await;
    let loading = parts.coordinators.begin_loading();
    let machines: std::collections::BTreeSet<_> =
        groups.iter().map(|group| partition_for(group, 50)).collect();
    assert_eq!((parts.coordinators.loading(), machines.len()), (machines.len(), groups.len()));
    assert!(parts.coordinators.census().groups.is_empty());
    node::blocking(move || loading.run(&CancellationToken::new(), 2)).await;
    parts.coordinators.loaded().await;
    assert_eq!(parts.coordinators.loading(), 0);
    assert_eq!(parts.coordinators.census().groups.len(), groups.len(), "nobody asked for one");
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_a_machine_is_loaded_waits_for_it_or_is_told_to_ask_again() {
    let directory = left_by_a_broker(&["a", "b"]).await;
    let parts = Parts::open(&directory).await;
    let loading = parts.coordinators.begin_loading();
    let began = Instant::now();
    assert_eq!(parts.offset("a").await, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert!(began.elapsed() >= Duration::from_millis(500));
    // One whose partition is made only now has nothing to be loaded.
    assert_eq!(parts.offset("new").await, Ok(-1));
    parts.commit("new", 7).await;
    assert_eq!(parts.offset("new").await, Ok(7));
    // One that waits is answered when the machine is there, and other machines are not waited for.
    let (told, ()) = tokio::join!(parts.offset("b"), async {
        node::blocking(move || loading.run(&CancellationToken::new(), 2)).await;
    });
    assert_eq!(told, Ok(2));
    assert_eq!(parts.offset("a").await, Ok(1));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_asks_many_machines_has_one_patience_with_all_of_them() {
    let groups = ["a", "b", "c", "d", "e"];
    let directory = left_by_a_broker(&groups).await;
    let parts = Parts::open(&directory).await;
    let loading = parts.coordinators.begin_loading();
    let (patience, began) = (Patience::default(), Instant::now());
    for group in groups {
        let told = parts.offset_within(group, &patience).await;
        assert_eq!(told, Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS), "{group}");
    }
    let waited = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    // With nothing left of it, what is there is answered all the same.
    node::blocking(move || loading.run(&CancellationToken::new(), 2)).await;
    assert_eq!(parts.offset_within("e", &patience).await, Ok(5));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_machines_that_are_not_begun() {
    let directory = left_by_a_broker(&["a", "b"]).await;
    let parts = Parts::open(&directory).await;
    let loading = parts.coordinators.begin_loading();
    let stop = CancellationToken::new();
    stop.cancel();
    node::blocking(move || loading.run(&stop, 2)).await;
    assert!(parts.coordinators.census().groups.is_empty(), "none was begun");
    // Whoever waits for all of them, as a pipeline does that is being started, is not left waiting.
    parts.coordinators.loaded().await;
    parts.close().await;
}

/// A marker that comes between the reading of a log and its machine is in the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn markers_that_are_written_while_machines_are_loaded_are_not_missed() {
    let groups: Vec<String> = (0..8).map(|group| format!("group {group}")).collect();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let directory = left_by_a_broker(&names).await;
    for _ in 0..2 {
        let parts = Parts::open(&directory).await;
        let loading = parts.coordinators.begin_loading();
        let stop = CancellationToken::new();
        let run = tokio::spawn(node::blocking(move || loading.run(&stop, 2)));
        for group in &names {
            let marker = Marker {
                partition: TopicPartition {
                    topic: Str::from(OFFSETS_TOPIC),
                    partition: partition_for(group, 50),
                },
                producer_id: 1_000_000,
                producer_epoch: 0,
                commit: true,
                coordinator_epoch: 0,
                transaction_v2: false,
            };
            parts.coordinators.write_marker(marker).await.unwrap();
        }
        run.await.unwrap();
        for (group, offset) in names.iter().zip(1..) {
            // A commit is rejected where the machine does not know the end of its log.
            parts.commit(group, offset).await;
            assert_eq!(parts.offset(group).await, Ok(offset));
        }
        parts.close().await;
    }
}
