//! Sources that are not what they were: another topic of the name, more partitions, another end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::super::taking_up::tests::{counts, script};
use super::super::{Failure, InputEnd, PipelineError, PipelineState};
use super::{COPY, Parts};
use crate::topics::{MetadataRecord, NewTopic, Topic};

impl Parts {
    fn topic(&self, name: &str) -> Arc<Topic> {
        self.pipelines.0.topics.get(name).unwrap()
    }

    /// Deletes the topic `in` and makes another one of the name. Gives the ids of both.
    async fn make_anew(&self) -> [String; 2] {
        self.make_anew_with(1).await
    }

    /// The same with so many partitions.
    async fn make_anew_with(&self, partitions: i32) -> [String; 2] {
        let topics = &self.pipelines.0.topics;
        let before = self.topic("in").id;
        topics.delete(before).await.unwrap();
        let new = NewTopic { name: "in".to_owned(), partitions: Some(partitions), ..NewTopic::default() };
        topics.create(new).await.unwrap();
        [before, self.topic("in").id].map(|id| id.to_string())
    }

    pub(super) async fn failed(&self, name: &str) -> Failure {
        for _ in 0..3_000 {
            if let PipelineState::Failed(failure) = self.pipelines.view(name).unwrap().state {
                return failure;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.pipelines.view(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_is_not_gone_on_with() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("a", 2)]).await;
    parts.caught_up("p").await;
    pipelines.stop("p").await.unwrap();
    pipelines.make_savepoint("p", Some("s")).await.unwrap();
    let [read, found] = parts.make_anew().await;
    // The new one has as many records: nothing but its id tells it from the old one.
    parts.produce("in", &[("b", 1), ("b", 2)]).await;
    let is_told = |text: &str| {
        assert!(text.contains(&read) && text.contains(&found), "{text}");
    };
    pipelines.run("p", &counts(), None).await.unwrap();
    let failure = parts.failed("p").await;
    is_told(&failure.what);
    assert!(failure.remedy.contains("Delete the pipeline"), "{failure}");
    // Nor from a savepoint, nor by another script, whether its state is made anew or kept.
    let restored = pipelines.restore_savepoint("p", "s", None, None).await;
    is_told(&restored.expect_err("it is of another topic").to_string());
    let forked = counts().replace("'out'", "'fork'");
    let restored = pipelines.restore_savepoint("p", "s", Some("q"), Some(&forked)).await;
    is_told(&restored.expect_err("it is of another topic").to_string());
    for other in [script(", m BIGINT", ", COUNT(*) * 2", ""), script(", s BIGINT", ", SUM(x)", "")] {
        let upgraded = pipelines.upgrade("p", &other, false).await;
        is_told(&upgraded.expect_err("it is of another topic").to_string());
    }
    assert_eq!(parts.read("out").len(), 1, "nothing of the new one is taken for the old one");
    // The remedy is one.
    pipelines.delete("p", true).await.unwrap();
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"b","n":2}"#);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_under_a_running_pipeline_is_not_gone_on_with() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("a", 2)]).await;
    parts.caught_up("p").await;
    let [read, found] = parts.make_anew().await;
    parts.produce("in", &[("b", 1), ("b", 2), ("b", 3)]).await;
    let failure = parts.failed("p").await;
    let gone = failure.what.contains("does not exist any more");
    assert!(gone || failure.what.contains(&read) && failure.what.contains(&found), "{failure}");
    assert!(!parts.read("out").iter().any(|row| row.contains("\"b\"")));
    parts.close().await;
}

/// Nothing was read of the topic before, so that only the ends tell that it was another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_a_partition_that_is_gone_is_told() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    parts.make_anew_with(2).await;
    let ends = InputEnd::At(BTreeMap::from([("in".to_owned(), vec![5, 5])]));
    pipelines.run("p", &counts(), Some(ends)).await.unwrap();
    pipelines.stop("p").await.unwrap();
    parts.make_anew().await;
    pipelines.run("p", &counts(), None).await.unwrap();
    let failure = parts.failed("p").await;
    assert!(failure.what.contains("in-1 does not exist any more"), "{failure}");
    assert!(failure.remedy.contains("Delete the pipeline"), "{failure}");
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_has_passed_its_end_finishes_where_it_is() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    let at = |end: i64| InputEnd::At(BTreeMap::from([("in".to_owned(), vec![end])]));
    parts.produce("in", &[("a", 1), ("a", 2), ("a", 3)]).await;
    for name in ["running", "stopped", "behind"] {
        let script = counts().replace("'out'", &format!("'{name}-out'"));
        pipelines.run(name, &script, None).await.unwrap();
        parts.caught_up(name).await;
        match name {
            "running" => {}
            "stopped" => drop(pipelines.stop(name).await.unwrap()),
            // It has gone on between the look and the declaration.
            _ => {
                pipelines.stop(name).await.unwrap();
                let mut record = pipelines.0.known.lock().get(name).unwrap().record.clone();
                record.input_ends = Some(BTreeMap::from([("in".to_owned(), vec![2])]));
                pipelines.save(&record).await.unwrap();
                pipelines.update(name, |known| known.record = record);
            }
        }
        if name != "behind" {
            assert_eq!(pipelines.finish_input(name, at(2)).await.unwrap()["in"], [3], "{name}");
        }
        if name != "running" {
            pipelines.run(name, &script, None).await.unwrap();
        }
        let ended = parts.ended(name).await;
        assert_eq!(ended, PipelineState::Finished, "{name}");
        let view = pipelines.view(name).unwrap();
        assert_eq!((view.sources[0].position, view.progress.unwrap().totals.read), (3, 3), "{name}");
        // One that can be kept stays.
        assert_eq!(pipelines.finish_input(name, at(7)).await.unwrap()["in"], [3], "{name}");
    }
    parts.close().await;
}

/// What runs does not go on beyond an end that somebody names while it is written down.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_named_holds_while_it_is_written_down() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    parts.produce("in", &[("a", 1), ("a", 2)]).await;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.caught_up("p").await;
    let metadata = pipelines.0.topics.metadata();
    let held = metadata.lock().await;
    let meanwhile = async {
        parts.produce("in", &[("b", 3), ("b", 4), ("b", 5)]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(held);
    };
    let end = InputEnd::At(BTreeMap::from([("in".to_owned(), vec![1])]));
    let (ends, ()) = tokio::join!(pipelines.finish_input("p", end), meanwhile);
    assert_eq!(ends.unwrap()["in"], [2]);
    assert_eq!(parts.ended("p").await, PipelineState::Finished);
    assert_eq!(pipelines.view("p").unwrap().sources[0].position, 2);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_does_not_take_the_records_of_a_partition_that_was_not_begun() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let pipelines = &parts.pipelines;
    pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    parts.caught_up("p").await;
    pipelines.stop("p").await.unwrap();
    pipelines.0.topics.grow("in", 2).await.unwrap();
    parts.produce_to("in", 1, &[("a", 10), ("c", 30)]).await;
    let summed = script(", s BIGINT", ", SUM(x)", "");
    pipelines.upgrade("p", &summed, false).await.unwrap();
    let before = parts.read("out").len();
    pipelines.run("p", &summed, None).await.unwrap();
    parts.caught_up("p").await;
    let mut rows = parts.read("out")[before..].to_vec();
    rows.sort();
    assert_eq!(rows, [r#"{"k":"a","n":2,"s":11}"#, r#"{"k":"c","n":1,"s":30}"#]);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_does_not_plan_any_more_is_replaced_only_by_one_its_state_goes_with() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.produce("in", &[("a", 1)]).await;
    parts.caught_up("p").await;
    parts.pipelines.stop("p").await.unwrap();
    let record = parts.pipelines.0.known.lock().get("p").unwrap().record.clone();
    parts.close().await;
    // As if the script called a function that this binary does not have.
    let mut broken = record.clone();
    broken.script = "SELECT what WAS once THE language".to_owned();
    let parts = Parts::open(&directory, vec![MetadataRecord::Pipeline(broken.clone())]).await;
    let other = parts.pipelines.run("p", COPY, None).await;
    let Err(PipelineError::State { reason, .. }) = other else { panic!("{other:?}") };
    assert!(reason.contains("its state is of plan"), "{reason}");
    assert_eq!(parts.pipelines.view("p").unwrap().script, broken.script, "it is kept");
    // The one that it was started with, written in another way.
    parts.pipelines.run("p", &format!("{} -- corrected", counts()), None).await.unwrap();
    parts.produce("in", &[("a", 2)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.read("out").last().unwrap(), r#"{"k":"a","n":2}"#);
    parts.close().await;
}
