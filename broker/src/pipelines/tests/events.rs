//! What is told of a pipeline, also behind a restart.

use tempfile::TempDir;

use super::super::{Event, EventKind};
use super::Parts;

/// Records without an `x` are skipped, and `x` is the event time.
const SCRIPT: &str =
    "CREATE TABLE a (k STRING, x BIGINT NOT NULL, ts AS TO_TIMESTAMP_LTZ(x, 3), WATERMARK FOR ts AS ts)
    WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');
    CREATE TABLE b (s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT window_start, window_end, COUNT(*)
    FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end;";

impl Parts {
    fn told(&self, kind: EventKind) -> Vec<String> {
        let events = self.pipelines.events("p", 0).unwrap();
        events.into_iter().filter(|event| event.kind == kind).map(|event| event.text).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_the_last_rejected_record_are_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let parts = Parts::open(&directory, Vec::new()).await;
    parts.pipelines.run("p", SCRIPT, None).await.unwrap();
    parts.produce("in", &[("a", 10_000)]).await;
    parts.caught_up("p").await;
    assert_eq!(parts.told(EventKind::Late), Vec::<String>::new());
    // One batch, one epoch.
    parts.produce("in", &[("late", 1_000), ("late", 2_000), ("new", 11_000)]).await;
    parts.caught_up("p").await;
    parts.produce_text("in", r#"{"k":"bad"}"#).await;
    parts.caught_up("p").await;
    let late = parts.told(EventKind::Late);
    assert!(late.len() == 1 && late[0].starts_with("2 records come too late: "), "{late:?}");
    let rejecting = parts.told(EventKind::Rejecting);
    assert_eq!(rejecting.len(), 1, "{rejecting:?}");
    for part in ["1 record is rejected; the last one at in-0, offset 4 is skipped", "`x`"] {
        assert!(rejecting[0].contains(part), "{rejecting:?}");
    }
    let rejected = parts.pipelines.view("p").unwrap().last_rejected.unwrap();
    assert_eq!((rejected.topic.as_str(), rejected.partition, rejected.offset), ("in", 0, 4));
    let before = parts.pipelines.events("p", 0).unwrap();
    parts.close().await;

    let parts = Parts::open(&directory, Vec::new()).await;
    let after = parts.pipelines.events("p", 0).unwrap();
    assert!(after.starts_with(&before), "{before:?}\n{after:?}");
    assert_eq!(after.last().map(|event| event.kind), Some(EventKind::Stopped), "the broker stopped it");
    assert_eq!(parts.pipelines.view("p").unwrap().last_rejected, Some(rejected), "before it runs");
    parts.pipelines.resume().await;
    parts.caught_up("p").await;
    let all = parts.pipelines.events("p", after.len() as u64).unwrap();
    assert_eq!(
        all.first().map(|event| (event.kind, event.number)),
        Some((EventKind::Started, after.len() as u64 + 1))
    );
    // Those of another one of the name are not its own.
    parts.pipelines.stop("p").await.unwrap();
    parts.pipelines.delete("p", false).await.unwrap();
    parts.pipelines.run("p", SCRIPT, None).await.unwrap();
    let [Event { number: 1, kind: EventKind::Started, .. }, ..] = parts.pipelines.events("p", 0).unwrap()[..]
    else {
        panic!("{:?}", parts.pipelines.events("p", 0));
    };
    parts.close().await;
}
