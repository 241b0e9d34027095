//! The topics a worker makes and finds: how they are made, and what becomes of a pipeline when they change or are gone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logmill_tests::process::PATIENCE;

use crate::rig::{Rig, stop, total};

#[test]
fn a_changelog_that_was_made_anew_is_not_taken_for_a_state_of_nothing() {
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE o (n BIGINT, c BIGINT) WITH ('topic' = 'o', 'format' = 'json', 'output' = 'upsert');
        INSERT INTO o SELECT n, COUNT(*) FROM t GROUP BY n UNBOUNDED;";
    let rig = Rig::start();
    rig.topic("t", 1);
    let send = |count: i64| rig.send("t", (0..count).map(|n| (0, 1_000, format!(r#"{{"n":{}}}"#, n % 3))));
    send(30);
    let mut worker = rig.worker("before", script, &[]);
    rig.until_read(&mut worker);
    assert!(stop(worker).status.success());
    rig.broker.run(&["topic", "delete", "logmill-p-changelog", "--yes"]);
    send(3);
    let ended = rig.worker("behind", script, &["--bounded"]).wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(
        ended.log.contains("topic logmill-p-changelog is another one than the one the state was written to"),
        "{}",
        ended.log
    );
    assert!(ended.log.contains("delete logmill-p-changelog and logmill-p-progress"), "{}", ended.log);
    for topic in ["logmill-p-changelog", "logmill-p-progress"] {
        rig.broker.run(&["topic", "delete", topic, "--yes"]);
    }
    let ended = rig.worker("anew", script, &["--bounded"]).wait(PATIENCE);
    assert_eq!(total(&ended, "records_in"), 33, "{}", ended.log);
    let counts = rig.broker.run(&["consume", "o", "--exit"]);
    let last = counts.lines().last().expect("rows");
    assert!(last.contains(r#""c":11"#), "{counts}");
    // What holds the last row of each key is made so.
    let sink = rig.broker.run(&["topic", "describe", "o", "--output", "json"]);
    assert!(sink.contains("compact"), "{sink}");
    assert!(rig.broker.stop().status.success());
}

#[test]
fn rows_of_windows_that_end_hours_ahead_are_written() {
    let into = |table: &str| {
        format!(
            "INSERT INTO {table} SELECT window_end, COUNT(*)
            FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;"
        )
    };
    let script = format!(
        "CREATE TABLE t (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 't', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
        CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        CREATE TABLE made (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'made', 'format' = 'json');
        {} {}",
        into("o"),
        into("made")
    );
    let rig = Rig::start();
    rig.topic("t", 1);
    // Somebody else has made it, as topics are by default.
    rig.topic("o", 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let ahead = (now + Duration::from_secs(5 * 3600)).as_millis();
    rig.send("t", [(0, 1_000, format!(r#"{{"n":1,"ts":{ahead}}}"#))]);
    let ended = rig.worker("refused", &script, &["--bounded"]).wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("sending to o-0"), "{}", ended.log);
    assert!(ended.log.contains("set message.timestamp.after.max.ms=9223372036854775807"), "{}", ended.log);
    let any = "message.timestamp.after.max.ms=9223372036854775807";
    rig.broker.run(&["topic", "alter", "o", "--config", any]);
    let ended = rig.worker("written", &script, &["--bounded"]).wait(PATIENCE);
    assert_eq!(total(&ended, "records_out"), 2, "{}", ended.log);
    assert_eq!((rig.count("o"), rig.count("made")), (1, 1));
    assert!(rig.broker.stop().status.success());
}

#[test]
fn one_task_stays_one_when_its_sources_could_be_divided() {
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE u (n BIGINT) WITH ('topic' = 'u', 'format' = 'json');
        CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n FROM t;
        INSERT INTO o SELECT n FROM u;";
    let rig = Rig::start();
    for (topic, partitions) in [("t", 2), ("u", 3), ("o", 1)] {
        rig.topic(topic, partitions);
    }
    let record = |partition: i32| (partition, 1_000, r#"{"n":1}"#.to_owned());
    rig.send("t", [record(0), record(1)]);
    rig.send("u", [record(0), record(1), record(2)]);
    let mut worker = rig.worker("before", script, &[]);
    rig.until_read(&mut worker);
    assert!(stop(worker).status.success());
    rig.broker.run(&["topic", "alter", "t", "--partitions", "3"]);
    rig.send("t", [record(2), record(0)]);
    let ended = rig.worker("by-partition", script, &["--bounded", "--partitioned"]).wait(PATIENCE);
    assert!(!ended.status.success() && ended.log.contains("State is kept by task"), "{}", ended.log);
    let ended = rig.worker("behind", script, &["--bounded"]).wait(PATIENCE);
    assert_eq!(total(&ended, "records_out"), 7, "{}", ended.log);
    assert!(ended.log.contains("it was started as one task"), "{}", ended.log);
    assert_eq!(rig.count("o"), 7);
    assert!(rig.broker.stop().status.success());
}
