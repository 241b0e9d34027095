//! Tables that are asked, and what keeps one from being asked.

use std::collections::BTreeMap;

use logmill_stream::Value;
use tempfile::TempDir;

use super::{COPY, Parts};
use crate::topics::NewTopic;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_two_inserts_fill_has_the_rows_of_both() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let script = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE c (x BIGINT) WITH ('topic' = 'other-in', 'format' = 'json');
         CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO b SELECT x FROM a; INSERT INTO b SELECT x FROM c;";
    parts.pipelines.run("p", script, None).await.unwrap();
    parts.produce("in", &[("", 1), ("", 2)]).await;
    parts.produce("other-in", &[("", 30)]).await;
    parts.caught_up("p").await;
    let sum = "SELECT SUM(x) FROM b";
    for pipeline in [None, Some("p")] {
        let answer = parts.pipelines.query(sum, pipeline).await.unwrap();
        assert_eq!(answer.rows.rows, [[Value::BigInt(33)]], "{pipeline:?}");
    }
    // Several pipelines are more than one.
    parts.pipelines.run("q", &COPY.replace("'out'", "'further'"), None).await.unwrap();
    parts.caught_up("q").await;
    let error = parts.pipelines.query(sum, None).await.unwrap_err().to_string();
    assert!(error.contains("several pipelines write a table `b`"), "{error}");
    let of_one = parts.pipelines.query(sum, Some("q")).await.unwrap();
    assert_eq!(of_one.rows.rows, [[Value::BigInt(3)]]);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_before_that_is_no_row_is_named() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    let topics = &parts.pipelines.0.topics;
    let out = NewTopic {
        name: "out".to_owned(),
        partitions: Some(1),
        configs: BTreeMap::new(),
        ..NewTopic::default()
    };
    topics.create(out).await.unwrap();
    parts.produce_text("out", r#"{"x":7}"#).await;
    parts.produce_text("out", "nothing").await;
    parts.pipelines.run("p", COPY, None).await.unwrap();
    parts.produce("in", &[("", 1)]).await;
    parts.caught_up("p").await;
    let error = parts.pipelines.query("SELECT SUM(x) FROM b", None).await.unwrap_err().to_string();
    for part in ["out-0, offset 1, is no row of `b`", "logmill topic trim out --partition 0 --before 2"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    // What it says helps.
    let partition = topics.get("out").unwrap().partition(0).unwrap().clone();
    parts.partitions.delete_records(&partition, 2).unwrap().await.unwrap();
    let answer = parts.pipelines.query("SELECT SUM(x) FROM b", None).await.unwrap();
    assert_eq!(answer.rows.rows, [[Value::BigInt(1)]]);
    parts.close().await;
}
