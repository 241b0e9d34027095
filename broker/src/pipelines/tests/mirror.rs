//! The consumer group that shows where a pipeline is in each partition.

use std::time::Duration;

use logmill_coordinator::groups::{Command, FetchOffsets, Reply};
use tempfile::TempDir;

use super::super::RunOptions;
use super::super::taking_up::tests::counts;
use super::Parts;
use crate::coordinators::Patience;
use crate::topics::{NewTopic, OFFSETS_TOPIC};

const PARTITIONS: usize = 8;
/// One more is added.
const GROWN: usize = PARTITIONS + 1;

fn wide() -> String {
    counts().replace("'in'", "'wide'")
}

impl Parts {
    async fn with_a_wide_topic(directory: &TempDir) -> Self {
        let parts = Self::open(directory, Vec::new()).await;
        let partitions = Some(i32::try_from(PARTITIONS).unwrap());
        let new = NewTopic { name: "wide".to_owned(), partitions, ..NewTopic::default() };
        parts.pipelines.0.topics.create(new).await.unwrap();
        parts
    }

    /// What the group says of every partition that `wide` may have; -1 where it says nothing.
    async fn mirrored(&self) -> Vec<i64> {
        let partitions = (0..).take(GROWN).collect();
        let fetch = FetchOffsets {
            group: "logmill.p".into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![("wide".into(), partitions)]),
            require_stable: false,
        };
        let (coordinators, patience) = (&self.pipelines.0.coordinators, Patience::default());
        match coordinators.group("logmill.p", &patience, Command::FetchOffsets(fetch)).await.unwrap() {
            Reply::Fetched(fetched) => {
                let offsets = fetched.topics[0].1.iter();
                offsets.map(|fetched| fetched.stored.as_ref().map_or(-1, |stored| stored.offset)).collect()
            }
            other => panic!("not offsets: {other:?}"),
        }
    }

    /// How many records groups have written so far.
    fn group_records(&self) -> usize {
        self.read(OFFSETS_TOPIC).len()
    }

    async fn runs_in(&self, shards: u32) {
        for _ in 0..3_000 {
            let view = self.pipelines.view("p").unwrap();
            if view.running_shards == shards && view.sources.len() == GROWN {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.pipelines.view("p"));
    }

    fn positions(&self) -> Vec<i64> {
        self.pipelines.view("p").unwrap().sources.iter().map(|source| source.position).collect()
    }

    /// One record at a time, so that every epoch has one.
    async fn trickle_to(&self, partition: i32, rows: usize) {
        for _ in 0..rows {
            self.produce_to("wide", partition, &[("a", 1)]).await;
            self.caught_up("p").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_mirrors_the_offsets_that_it_has_moved() {
    const EPOCHS: usize = 20;
    let directory = TempDir::new().unwrap();
    let parts = Parts::with_a_wide_topic(&directory).await;
    parts.pipelines.run("p", &wide(), None).await.unwrap();
    parts.trickle_to(0, 1).await;
    assert_eq!(
        parts.mirrored().await,
        [1, 0, 0, 0, 0, 0, 0, 0, -1],
        "the first one of a run says where all of them are"
    );
    let before = parts.group_records();
    parts.trickle_to(3, EPOCHS).await;
    assert_eq!(parts.mirrored().await, [1, 0, 0, 20, 0, 0, 0, 0, -1]);
    let written = parts.group_records() - before;
    assert!((1..=EPOCHS).contains(&written), "{written} offsets of {EPOCHS} epochs with a record each");
    parts.close().await;
    // The next run says it once more.
    let parts = Parts::open(&directory, Vec::new()).await;
    let before = parts.group_records();
    assert_eq!(parts.mirrored().await, [1, 0, 0, 20, 0, 0, 0, 0, -1]);
    parts.pipelines.resume().await;
    parts.trickle_to(7, 1).await;
    assert_eq!(parts.mirrored().await, [1, 0, 0, 20, 0, 0, 0, 1, -1]);
    assert!(parts.group_records() - before >= PARTITIONS);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_says_where_a_pipeline_is_however_it_has_come_there() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::with_a_wide_topic(&directory).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &wide(), None).await.unwrap();
    parts.trickle_to(0, 2).await;
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    parts.trickle_to(1, 3).await;
    parts.trickle_to(0, 1).await;
    assert_eq!(parts.mirrored().await, [3, 3, 0, 0, 0, 0, 0, 0, -1]);
    // Back at a savepoint, before it runs.
    pipelines.stop("p").await.unwrap();
    pipelines.restore_savepoint("p", "s", None, None).await.unwrap();
    assert_eq!(parts.mirrored().await, [2, 0, 0, 0, 0, 0, 0, 0, -1]);
    pipelines.run("p", &wide(), None).await.unwrap();
    parts.caught_up("p").await;
    assert_eq!(parts.mirrored().await, [3, 3, 0, 0, 0, 0, 0, 0, -1]);
    // With a partition more and in other shards, in the middle of a run.
    pipelines.0.topics.grow("wide", i32::try_from(GROWN).unwrap()).await.unwrap();
    pipelines.rescale("p", 2).await.unwrap();
    parts.runs_in(2).await;
    parts.trickle_to(2, 1).await;
    assert_eq!(parts.mirrored().await, [3, 3, 1, 0, 0, 0, 0, 0, 0]);
    // By another script.
    pipelines.upgrade("p", &wide().replace("COUNT(*)", "COUNT(*) + 1"), false).await.unwrap();
    assert_eq!(parts.mirrored().await, parts.positions());
    // Behind a gap that was accepted.
    pipelines.stop("p").await.unwrap();
    parts.produce_to("wide", 4, &[("a", 1), ("a", 2)]).await;
    let partition = pipelines.0.topics.get("wide").unwrap().partition(4).unwrap().clone();
    parts.partitions.delete_records(&partition, 1).unwrap().await.unwrap();
    let script = pipelines.view("p").unwrap().script;
    let options = RunOptions { accept_gap: true, ..RunOptions::default() };
    pipelines.run_with("p", &script, options).await.unwrap();
    parts.caught_up("p").await;
    assert_eq!(parts.mirrored().await, [3, 3, 1, 0, 2, 0, 0, 0, 0]);
    // Another one of its name begins anew.
    pipelines.stop("p").await.unwrap();
    pipelines.delete("p", true).await.unwrap();
    assert_eq!(parts.mirrored().await, [-1; GROWN]);
    pipelines.run("p", &wide(), None).await.unwrap();
    parts.caught_up("p").await;
    assert_eq!(parts.mirrored().await, [3, 3, 1, 0, 2, 0, 0, 0, 0]);
    parts.close().await;
}
