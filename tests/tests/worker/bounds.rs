//! What a worker holds, and what it does where that is not enough.

use logmill_tests::process::PATIENCE;

use crate::orders::{self, Orders};
use crate::rig::{Rig, stop, total};

/// Counts by something else than the key, so that one task reads all partitions.
const IN_STEP: &str = "
CREATE TABLE t (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('topic' = 't', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS', 'max-time-ahead' = '10 min');
CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
INSERT INTO o SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;
";

#[test]
fn partitions_that_wait_leave_room_for_the_one_they_wait_for() {
    const PARTITIONS: i32 = 20;
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let rig = Rig::start();
    rig.topic("t", PARTITIONS as u32);
    rig.topic("o", 1);
    let pad = "x".repeat(60_000);
    let record = |partition: i32, number: i64| {
        let begin = 1_600_000_000_000 + if partition == 0 { 0 } else { YEAR_MS };
        let time = begin + number * 1_000;
        (partition, time, format!(r#"{{"n":{number},"ts":{time},"pad":"{pad}"}}"#))
    };
    // More of each than is held, and more of all of them.
    let records = |partition: i32| (0..if partition == 0 { 70 } else { 25 }).map(move |n| (partition, n));
    rig.send("t", (0..PARTITIONS).flat_map(records).map(|(partition, n)| record(partition, n)));
    let mut worker = rig.worker("worker", IN_STEP, &[]);
    rig.until_read(&mut worker);
    let ended = stop(worker);
    assert_eq!(total(&ended, "records_in"), i64::from(70 + 25 * (PARTITIONS - 1)));
    assert_eq!(total(&ended, "late"), 0, "they were read in step");
    assert!(rig.broker.stop().status.success());
}

#[test]
fn an_epoch_that_is_too_much_is_parted_among_several() {
    const LEFT: usize = 80;
    const RIGHT: usize = 400;
    let rig = Rig::start();
    for topic in ["a", "b", "o"] {
        rig.topic(topic, 1);
    }
    // Pairs of records with such texts are some 2 GB.
    let text = "x".repeat(64_000);
    let a = |n: usize| (0, 1_000, format!(r#"{{"k":"k","n":{n},"ts":1000,"t":"{text}"}}"#));
    rig.send("a", (0..LEFT).map(a));
    rig.send("b", (0..RIGHT).map(|n| (0, 1_000, format!(r#"{{"k":"k","n":{n},"ts":1000}}"#))));
    let script = "
        CREATE TABLE a (k STRING, n BIGINT, t STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 'a', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
        CREATE TABLE b (k STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 'b', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
        CREATE TABLE o (a BIGINT, b BIGINT, n BIGINT) WITH ('topic' = 'o', 'format' = 'json');
        INSERT INTO o SELECT a.n, b.n, CHAR_LENGTH(a.t || b.k)
        FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1' MINUTE;";
    let ended = rig.worker("worker", script, &["--bounded", "-v"]).wait(PATIENCE);
    assert_eq!(total(&ended, "records_out"), (LEFT * RIGHT) as i64);
    assert!(ended.log.contains("those to come take less in"), "{}", ended.log);
    assert_eq!(rig.count("o"), LEFT * RIGHT);
    assert!(rig.broker.stop().status.success());
}

#[test]
fn a_worker_whose_state_is_more_than_it_may_hold_says_what_to_do() {
    let rig = Rig::start();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(Orders::new(300).write(&rig.broker.address, 1));
    let over = |log: &str| {
        assert!(log.contains("and may have 1024; most of this task's is in "), "{log}");
        assert!(log.contains("Give the worker more (`--memory`), or keep less"), "{log}");
    };
    // As it comes to it.
    let ended = rig.worker("small", orders::BY_CUSTOMER, &["--memory", "1 KiB"]).wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    over(&ended.log);
    // What it has committed stays, and one that has room goes on with it.
    let mut worker = rig.worker("large", orders::BY_CUSTOMER, &["--memory", "100 MiB"]);
    rig.until_read(&mut worker);
    assert!(stop(worker).status.success());
    // There is nothing left to read: as it is restored.
    let ended = rig.worker("again", orders::BY_CUSTOMER, &["--memory", "1 KiB"]).wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    over(&ended.log);
    assert!(rig.broker.stop().status.success());
}
