//! What a worker takes a partition for that it has read, or is behind in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logmill_tests::process::PATIENCE;

use crate::rig::{Rig, stop, total};

#[test]
fn a_leader_that_does_not_answer_makes_no_partition_idle() {
    let script = "
        CREATE TABLE t (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 't', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS', 'idle-timeout' = '6 s');
        CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
        GROUP BY window_start, window_end;";
    let rig = Rig::start();
    rig.topic("t", 2);
    rig.topic("o", 1);
    let record = |partition: i32, time: i64| (partition, time, format!(r#"{{"n":1,"ts":{time}}}"#));
    // One is far ahead of the other.
    rig.send("t", [record(0, 1_000_000), record(1, 1_000)]);
    let mut worker = rig.worker("worker", script, &["--session-timeout", "60s"]);
    rig.until_read(&mut worker);
    rig.send("t", [record(0, 1_001_000), record(1, 2_000)]);
    rig.until_read(&mut worker);
    rig.broker.process.pause();
    std::thread::sleep(Duration::from_secs(10));
    rig.broker.process.resume();
    rig.send("t", [record(1, 20_000)]);
    rig.until_read(&mut worker);
    let ended = stop(worker);
    assert_eq!((total(&ended, "records_in"), total(&ended, "late")), (5, 0), "{}", ended.log);
    assert!(rig.broker.stop().status.success());
}

#[test]
fn a_partition_that_cannot_be_read_on_ends_a_worker_that_has_others_to_read() {
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n FROM t;";
    let rig = Rig::start();
    rig.topic("t", 2);
    rig.topic("o", 1);
    let record = |partition: i32| (partition, 1_000, r#"{"n":1}"#.to_owned());
    rig.send("t", [record(0), record(1)]);
    let mut worker = rig.worker("before", script, &[]);
    rig.until_read(&mut worker);
    assert!(stop(worker).status.success());
    // What comes next in one of them is gone before it is read.
    rig.send("t", [record(1), record(1)]);
    rig.broker.run(&["topic", "delete-records", "t", "--partition", "1", "--before", "2", "--yes"]);
    // So much of the other one that there is always some.
    rig.send("t", (0..50_000).map(|_| record(0)));
    let options = ["--epoch-records", "50", "--epoch-interval", "50ms"];
    let mut worker = rig.worker("behind", script, &options);
    let began = Instant::now();
    while worker.is_alive() {
        assert!(began.elapsed() < PATIENCE / 2, "it reads on without t-1: {}", worker.log());
        rig.send("t", (0..5).map(|_| record(0)));
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = worker.wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("t-1: offset 1 is gone, the log begins at 2"), "{}", ended.log);
    assert!(ended.log.contains("--accept-gap goes on at offset 2"), "{}", ended.log);
    // It is gone on without, by who is told to; and that is counted from there on.
    let written = rig.count("o");
    let mut worker = rig.worker("accepts", script, &["--accept-gap"]);
    rig.until_read(&mut worker);
    let ended = stop(worker);
    assert_eq!(total(&ended, "missing_offsets"), 1, "{}", ended.log);
    assert!(
        ended.log.contains("without the records of t-1 from offset 1 up to 2 (1 offsets)"),
        "{}",
        ended.log
    );
    assert!(rig.count("o") > written, "the others come");
    rig.send("t", [record(1)]);
    let mut worker = rig.worker("after", script, &[]);
    rig.until_read(&mut worker);
    let ended = stop(worker);
    assert_eq!(total(&ended, "missing_offsets"), 1, "{}", ended.log);
    let read = rig.broker.json(&["group", "describe", "logmill-p"]);
    assert!(read["partitions"].as_array().expect("partitions").iter().all(|partition| partition["lag"] == 0));
    assert!(rig.broker.stop().status.success());
}

#[test]
fn a_worker_that_accepts_gaps_goes_on_behind_one_that_comes_while_it_runs() {
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n FROM t;";
    let rig = Rig::start();
    rig.topic("t", 1);
    rig.topic("o", 1);
    let record = |n: i64| (0, 1_000, format!(r#"{{"n":{n}}}"#));
    // More than it holds, read slowly.
    let pad = "x".repeat(1_000);
    rig.send("t", (0..60_000).map(|n| (0, 1_000, format!(r#"{{"n":{n},"pad":"{pad}"}}"#))));
    let options = ["--accept-gap", "--epoch-records", "200", "--epoch-interval", "50ms"];
    let mut worker = rig.worker("worker", script, &options);
    let began = Instant::now();
    while rig.count("o") == 0 {
        assert!(worker.is_alive() && began.elapsed() < PATIENCE, "{}", worker.log());
    }
    // However quick it is, it has not all of it yet.
    worker.pause();
    rig.broker.run(&["topic", "delete-records", "t", "--partition", "0", "--before", "60000", "--yes"]);
    worker.resume();
    rig.send("t", [record(-1)]);
    worker.wait_for_line("without the records of t-0");
    rig.until_read(&mut worker);
    let ended = stop(worker);
    let (read, missing) = (total(&ended, "records_in"), total(&ended, "missing_offsets"));
    assert!(missing > 0, "{}", ended.log);
    assert_eq!(read + missing, 60_001, "each is read, or counted as missing: {}", ended.log);
    assert_eq!(rig.count("o"), read as usize);
    assert!(rig.broker.stop().status.success());
}

/// A bounded run ends where it was declared to end, also where whoever went over a gap came no further.
#[test]
fn an_end_stays_where_a_worker_dies_right_behind_a_gap() {
    const RECORDS: i64 = 3_000;
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE o (n BIGINT, c BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n, COUNT(*) FROM t GROUP BY n UNBOUNDED;";
    let rig = Rig::start();
    rig.topic("t", 1);
    rig.topic("o", 1);
    let record = |n: i64| (0, 1_000, format!(r#"{{"n":{n}}}"#));
    // A batch is in one epoch.
    for first in (0..RECORDS).step_by(100) {
        rig.send("t", (first..first + 100).map(record));
    }
    let slowly = ["--bounded", "--epoch-records", "100", "--epoch-interval", "10s"];
    let mut worker = rig.worker("begins", script, &slowly);
    let began = Instant::now();
    while rig.count("o") == 0 {
        assert!(worker.is_alive() && began.elapsed() < PATIENCE, "{}", worker.log());
    }
    assert!(worker.kill().was_killed());
    let before = (RECORDS - 100).to_string();
    rig.broker.run(&["topic", "delete-records", "t", "--partition", "0", "--before", &before, "--yes"]);
    // It commits that it goes on behind the gap, and has no room for its state.
    let ended =
        rig.worker("dies", script, &["--bounded", "--accept-gap", "--memory", "1 KiB"]).wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("without the records of t-0"), "{}", ended.log);
    assert!(ended.log.contains("and may have 1024"), "{}", ended.log);
    // What comes behind the end is not read.
    rig.send("t", (RECORDS..RECORDS + 70).map(record));
    let ended = rig.worker("goes-on", script, &["--bounded"]).wait(PATIENCE);
    let (read, missing) = (total(&ended, "records_in"), total(&ended, "missing_offsets"));
    assert_eq!(read + missing, RECORDS, "{}", ended.log);
    assert!(rig.broker.stop().status.success());
}

#[test]
fn an_early_record_with_a_late_timestamp_does_not_keep_the_oldest_from_being_shed() {
    let rig = Rig::start();
    rig.topic("t", 1);
    rig.topic("o", 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let (late, old) = (now + 1_800_000, now - 7_200_000);
    rig.send("t", [(0, late, r#"{"n":0}"#.to_owned())]);
    // In batches, some of which the first epoch leaves.
    for batch in 0..6 {
        rig.send("t", (0..50).map(|n| (0, old, format!(r#"{{"n":{}}}"#, 1 + batch * 50 + n))));
    }
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json')
        SHED WHEN lag > INTERVAL '30' MINUTE UNTIL lag < INTERVAL '10' MINUTE USING oldest;
        CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n FROM t;";
    let ended = rig.worker("worker", script, &["--bounded", "--epoch-records", "60"]).wait(PATIENCE);
    let (read, written, shed) =
        (total(&ended, "records_in"), total(&ended, "records_out"), total(&ended, "shed"));
    assert_eq!((read, written + shed), (301, 301), "each is accounted for");
    assert!(shed >= 200, "{shed} of 301 are shed: {}", ended.log);
    assert_eq!(rig.count("o"), written as usize);
    assert!(rig.broker.stop().status.success());
}

#[test]
fn a_task_with_a_backlog_does_not_rest() {
    const RECORDS: i64 = 560;
    let script = "
        CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
        CREATE TABLE o (n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT n FROM t;";
    let rig = Rig::start();
    rig.topic("t", 1);
    rig.topic("o", 1);
    // Several times as much as is fetched ahead.
    let pad = "x".repeat(60_000);
    // Of now, as what is old enough is deleted meanwhile.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    rig.send("t", (0..RECORDS).map(|n| (0, now, format!(r#"{{"n":{n},"pad":"{pad}"}}"#))));
    let began = Instant::now();
    let ended = rig.worker("worker", script, &["--bounded", "--epoch-interval", "5s"]).wait(PATIENCE);
    let took = began.elapsed();
    assert_eq!(total(&ended, "records_in"), RECORDS);
    // It may rest behind the last epoch, and where it has read all that was fetched, but not behind each.
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(rig.broker.stop().status.success());
}
