//! Rows that are asked for by key.

use std::collections::BTreeMap;

use logmill_stream::Value;
use tempfile::TempDir;

use super::super::taking_up::tests::counts;
use super::Parts;

impl Parts {
    async fn rows(&self, sql: &str) -> (Vec<Vec<Value>>, u64) {
        let answer = self.pipelines.query(sql, None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        (answer.rows.rows, answer.rows.scanned)
    }

    /// How many records were gone through so far to know where keys are, by partition.
    fn noted(&self, topic: &str) -> BTreeMap<i32, i64> {
        let topics = &self.pipelines.0.topics;
        let topic = topics.get(topic).unwrap();
        let index = self.pipelines.0.look_ups.table(topics, &topic.name, topic.id);
        let mut index = index.lock();
        topic
            .partitions
            .iter()
            .map(|part| (part.index(), index.known_end(part.index(), i64::MAX).unwrap()))
            .collect()
    }
}

fn row(k: &str, n: i64) -> Vec<Value> {
    vec![Value::String(k.to_owned()), Value::BigInt(n)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_looked_up_and_not_looked_for() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    let by_key = "SELECT * FROM b WHERE k = 'a'";
    assert_eq!(parts.rows(by_key).await, (Vec::new(), 0), "before the first epoch");
    for _ in 0..3 {
        for key in 0..40 {
            parts.produce("in", &[(&format!("k{key}"), 1), ("a", 1)]).await;
        }
    }
    parts.caught_up("p").await;
    assert_eq!(parts.rows(by_key).await, (vec![row("a", 120)], 1));
    assert_eq!(parts.rows("SELECT * FROM b WHERE k = 'nobody'").await, (Vec::new(), 0));
    let some = "SELECT * FROM b WHERE k IN ('a', 'k7', 'nobody', 'k8') AND n > 2 ORDER BY k";
    assert_eq!(parts.rows(some).await, (vec![row("a", 120), row("k7", 3), row("k8", 3)], 3));
    let (_, all) = parts.rows("SELECT * FROM b WHERE k = 'a' OR n = 1").await;
    assert_eq!(all, 41, "this is about other rows, too");
    // What is written behind it is seen, and nothing but that is read.
    let before = parts.noted("out");
    parts.produce("in", &[("a", 1)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.rows(by_key).await, (vec![row("a", 121)], 1));
    let after = parts.noted("out");
    let read: i64 = after.iter().map(|(partition, end)| end - before[partition]).sum();
    assert_eq!(read, 1, "{before:?} {after:?}");
    // Stopped, and behind a restart.
    parts.pipelines.stop("p").await.unwrap();
    assert_eq!(parts.rows(by_key).await, (vec![row("a", 121)], 1));
    parts.close().await;
    let parts = Parts::open(&directory, Vec::new()).await;
    assert_eq!(parts.rows(by_key).await, (vec![row("a", 121)], 1));
    // Another topic of the name has other rows.
    parts.pipelines.delete("p", false).await.unwrap();
    let topics = &parts.pipelines.0.topics;
    topics.delete(topics.get("out").unwrap().id).await.unwrap();
    parts.pipelines.run("p", &counts(), None).await.unwrap();
    parts.caught_up("p").await;
    assert_eq!(parts.rows(by_key).await, (vec![row("a", 121)], 1));
    assert_eq!(parts.rows("SELECT n FROM b WHERE k = 'k1'").await.0, [[Value::BigInt(3)]]);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_deleted_has_no_row() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    // A row goes when its group does.
    let script = "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (x BIGINT, most STRING, PRIMARY KEY (x) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO b SELECT x, MAX(k) FROM (SELECT k, MAX(x) AS x FROM a GROUP BY k) GROUP BY x UNBOUNDED;";
    parts.pipelines.run("p", script, None).await.unwrap();
    parts.produce("in", &[("a", 1), ("b", 2)]).await;
    parts.caught_up("p").await;
    let text = |text: &str| Value::String(text.to_owned());
    assert_eq!(parts.rows("SELECT most FROM b WHERE 1 = x").await, (vec![vec![text("a")]], 1));
    parts.produce("in", &[("a", 3)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.rows("SELECT most FROM b WHERE x IN (1, 2, NULL)").await, (vec![vec![text("b")]], 1));
    assert_eq!(parts.rows("SELECT COUNT(*) FROM b WHERE x = 1").await, (vec![vec![Value::BigInt(0)]], 0));
    parts.close().await;
}
