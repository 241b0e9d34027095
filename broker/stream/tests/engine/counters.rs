//! What a pipeline says of the records it read: how many are counted as what, and which is shown as the last one rejected.

use logmill_stream::{EpochLimits, LastRejected, TopicPartition};

use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

fn logs_of(topics: &[&str]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    topics.iter().for_each(|topic| logs.create(topic, 2));
    logs
}

fn produce(logs: &mut MemoryLogs, topic: &str, partition: i32, values: &[&str]) {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    logs.produce(topic, partition, &values);
}

/// An update without a primary key is two rows of one record.
#[test]
fn what_the_filter_left_out_are_records_and_not_their_rows() {
    let plan = plan(
        "CREATE TABLE src (a BIGINT) WITH ('topic' = 'in', 'format' = 'debezium-json');
         CREATE TABLE o (a BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT a FROM src WHERE a > 10",
    );
    let update = |before: i64, after: i64| {
        format!(r#"{{"op":"u","before":{{"a":{before}}},"after":{{"a":{after}}}}}"#)
    };
    let create = |after: i64| format!(r#"{{"op":"c","before":null,"after":{{"a":{after}}}}}"#);
    let delete = |before: i64| format!(r#"{{"op":"d","before":{{"a":{before}}},"after":null}}"#);
    for limits in [EpochLimits::default(), small_epochs(1)] {
        let mut logs = logs_of(&["in", "out"]);
        let left_out = [create(1), update(1, 2), update(2, 3), delete(3)];
        let given = [create(4), update(4, 20), update(20, 30), update(30, 5)];
        logs.produce("in", 0, &left_out);
        logs.produce("in", 1, &given);
        run_bounded(&plan, &mut logs, limits, 0).unwrap();
        let totals = logs.last_progress().unwrap().totals;
        // Of the other partition's only that which creates what is left out.
        assert_eq!((totals.read, totals.processed, totals.filtered), (8, 8, 5));
    }
}

fn last_rejected(logs: &MemoryLogs) -> LastRejected {
    logs.last_progress().unwrap().last_rejected.unwrap()
}

#[track_caller]
fn is_last(logs: &MemoryLogs, topic: &str, partition: i32, offset: i64) {
    let last = last_rejected(logs);
    assert_eq!((&*last.topic, last.partition, last.offset), (topic, partition, offset), "{}", last.error);
}

/// What cannot be decoded is found before what cannot be computed.
#[test]
fn the_last_rejected_is_the_last_of_the_input_whichever_is_found_last() {
    for policy in ["'on-error' = 'skip'", "'on-error' = 'dlq', 'dlq-topic' = 'dead'"] {
        let plan = plan(&format!(
            "CREATE TABLE src (a BIGINT) WITH ('topic' = 'in', 'format' = 'json', {policy});
             CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT 12 / a FROM src"
        ));
        let mut logs = logs_of(&["in", "out", "dead"]);
        produce(&mut logs, "in", 0, &[r#"{"a":1}"#, r#"{"a":0}"#, r#"{"a":"x"}"#, r#"{"a":2}"#]);
        run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
        is_last(&logs, "in", 0, 2);
        // Partitions are taken one after the other.
        produce(&mut logs, "in", 1, &[r#"{"a":0}"#, r#"{"a":1}"#]);
        logs.progress.clear();
        logs.changelog.clear();
        run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
        is_last(&logs, "in", 1, 0);
        assert_eq!(logs.end(&TopicPartition::new("in", 0)), 4);
    }
}

#[test]
fn the_last_rejected_of_several_tables_is_the_last_that_was_taken() {
    const SKIP: &str = "'on-error' = 'skip'";
    const DEAD: &str = "'on-error' = 'dlq', 'dlq-topic' = 'dead'";
    for (first, second, sent_to) in [(SKIP, DEAD, Some("dead")), (DEAD, SKIP, None)] {
        let plan = plan(&format!(
            "CREATE TABLE a (x BIGINT) WITH ('topic' = 'a', 'format' = 'json', {first});
             CREATE TABLE b (x BIGINT) WITH ('topic' = 'b', 'format' = 'json', {second});
             CREATE TABLE o (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT x FROM a; INSERT INTO o SELECT x FROM b"
        ));
        let mut logs = logs_of(&["a", "b", "out", "dead"]);
        produce(&mut logs, "a", 0, &[r#"{"x":1}"#, "?"]);
        produce(&mut logs, "b", 0, &["?"]);
        run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
        is_last(&logs, "b", 0, 0);
        assert_eq!(last_rejected(&logs).dead_letter.as_deref(), sent_to);
    }
}
