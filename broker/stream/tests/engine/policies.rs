//! Records that cannot be used, transactions, and what a pipeline refuses.

use std::collections::{BTreeMap, BTreeSet};

use logmill_record::{Batch, BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp, control};
use logmill_stream::{
    AbortedRange, Cut, EpochError, EpochLimits, EpochLoop, Input, OffsetRange, Pipeline, PipelineSpec, Plan,
    Progress, ProgressError, RecordError, RestoreError, Shedding, TopicPartition, Turn, TurnError,
};
use proptest::prelude::*;

use crate::support;
use crate::support::{MemoryLogs, batch_of, plan, restored, run_bounded, small_epochs, spec};

fn filter(options: &str) -> Plan {
    plan(&format!(
        "CREATE TABLE src (a BIGINT NOT NULL, b BIGINT) WITH ('topic' = 'in', 'format' = 'json' {options});
         CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT 12 / a FROM src WHERE b IS NULL"
    ))
}

fn window() -> Plan {
    plan(
        "CREATE TABLE src (a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (a BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT a, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY window_start, a",
    )
}

fn logs_with(partitions: &[&[&str]]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions.len() as i32);
    logs.create("out", partitions.len() as i32);
    for (partition, values) in partitions.iter().enumerate() {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        logs.produce("in", partition as i32, &values);
    }
    logs
}

fn totals(logs: &MemoryLogs) -> logmill_stream::Counters {
    logs.last_progress().unwrap().totals
}

const ROWS: [&str; 6] =
    [r#"{"a": 1}"#, r#"{"a": "x"}"#, r#"{"a": 0}"#, r#"{"a": 4, "b": 1}"#, r#"{"a": 3}"#, "not JSON"];

#[test]
fn fail_commits_what_comes_before_and_names_the_record() {
    let plan = filter("");
    let mut logs = logs_with(&[&[r#"{"a": 2}"#, r#"{"a": 0}"#, r#"{"a": "x"}"#], &[r#"{"a": 4}"#]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    assert!(matches!(epochs.turn(&mut logs, 0, 0).unwrap(), Turn::Committed { .. }));
    assert_eq!(logs.values("out"), [r#"{"v":6}"#, r#"{"v":3}"#]);
    // Again and again, from a restart too, until the query or the policy is another; no partition runs on alone.
    logs.produce("in", 1, &[r#"{"a": 6}"#.to_owned()]);
    for generation in 2..4 {
        let error = epochs.turn(&mut logs, 0, 0).unwrap_err();
        let TurnError::Poison { partition, offset, error, .. } = error else { panic!("{error}") };
        assert_eq!((partition, offset), (TopicPartition::new("in", 0), 1));
        assert_eq!(error.to_string(), "`(12 / a)` fails: division by zero");
        epochs = EpochLoop::new(restored(&plan, &logs, generation), EpochLimits::default());
    }
    assert_eq!(logs.values("out").len(), 2);
}

#[test]
fn what_comes_before_is_committed_in_every_partition() {
    let plan = filter("");
    let mut logs =
        logs_with(&[&[r#"{"a": 2}"#, "x"], &["y", r#"{"a": 1}"#], &[r#"{"a": 4}"#, r#"{"a": 6}"#, "z"]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    assert!(matches!(epochs.turn(&mut logs, 0, 0).unwrap(), Turn::Committed { .. }));
    assert_eq!(logs.values("out"), [r#"{"v":6}"#, r#"{"v":3}"#, r#"{"v":2}"#]);
    let error = epochs.turn(&mut logs, 0, 0).unwrap_err().to_string();
    assert!(error.contains("in-0, offset 1: cannot be decoded"), "{error}");
    assert!(error.contains("'on-error' = 'skip'"), "{error}");
}

/// The records of a partition that fail are not found in their order by each of these.
#[test]
fn the_first_of_two_records_that_fail_is_named_whichever_is_found_first() {
    let twice = plan(
        "CREATE TABLE a (x BIGINT NOT NULL) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (y BIGINT NOT NULL) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT x FROM a; INSERT INTO o SELECT y FROM b",
    );
    let held = plan(
        "CREATE TABLE a (x BIGINT NOT NULL, y BIGINT, z AS 12 / y) WITH ('topic' = 'in', 'format' = 'json')
         SHED WHEN lag > 1 RECORDS USING conflate(x);
         CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT z FROM a",
    );
    let sound = |x: i64| format!(r#"{{"x":{x},"y":3}}"#);
    for (plan, first) in [(twice, r#"{"x":5,"y":"?"}"#), (held, r#"{"x":5,"y":0}"#)] {
        let mut logs = logs_with(&[&[], &[]]);
        let mut rows: Vec<String> = (0..12).map(sound).collect();
        (rows[5], rows[10]) = (first.to_owned(), r#"{"x":"?","y":3}"#.to_owned());
        logs.produce("in", 0, &rows);
        logs.produce("in", 1, &[sound(20)]);
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
        let mut turns = Vec::new();
        let error = loop {
            match epochs.turn(&mut logs, 0, 0) {
                Ok(Turn::Committed { progress, .. }) => turns.push(progress.inputs[0].to),
                Ok(turn) => panic!("{turn:?}"),
                Err(error) => break error,
            }
            assert!(turns.len() < 5, "it never stops: {turns:?}");
        };
        let TurnError::Poison { partition, offset, .. } = error else { panic!("{error}") };
        assert_eq!((partition, offset, turns), (TopicPartition::new("in", 0), 5, vec![5]));
    }
}

#[test]
fn skip_counts_them() {
    for limits in [EpochLimits::default(), small_epochs(1)] {
        let mut logs = logs_with(&[&ROWS]);
        run_bounded(&filter(", 'on-error' = 'skip'"), &mut logs, limits, 1).unwrap();
        assert_eq!(logs.values("out"), [r#"{"v":12}"#, r#"{"v":4}"#]);
        let totals = totals(&logs);
        assert_eq!((totals.read, totals.processed, totals.filtered, totals.skipped), (6, 3, 1, 3));
    }
}

#[test]
fn dead_letters_are_the_records_as_they_came_and_say_why() {
    let mut logs = logs_with(&[&[], &ROWS]);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(77, Some(b"k"), Some(b"{}"), &[(b"own", None), (b"own", Some(b"2"))]);
    logs.append("in", 1, builder.build());
    let plan = filter(", 'on-error' = 'dlq', 'dlq-topic' = 'dead'");
    assert_eq!(plan.side_topics(), ["dead"]);
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    assert_eq!(logs.values("out"), [r#"{"v":12}"#, r#"{"v":4}"#]);
    assert_eq!(totals(&logs).dead_lettered, 4);
    let letters = logs.records("dead");
    let offsets = |name: &[u8]| -> Vec<String> {
        let header = |record: &logmill_record::Record| {
            let header = record.headers.iter().find(|header| header.key == name).unwrap();
            String::from_utf8(header.value.clone().unwrap().to_vec()).unwrap()
        };
        letters.iter().map(|(_, record)| header(record)).collect()
    };
    assert_eq!(offsets(b"logmill.offset"), ["1", "2", "5", "6"]);
    assert_eq!(offsets(b"logmill.operator"), ["decode", "evaluate", "decode", "decode"]);
    assert_eq!(offsets(b"logmill.topic"), ["in"; 4]);
    assert_eq!(offsets(b"logmill.partition"), ["1"; 4]);
    assert!(offsets(b"logmill.error")[0].contains("field `a` is the text \"x\""));
    assert!(offsets(b"logmill.error")[1].contains("division by zero"));
    assert!(offsets(b"logmill.error")[3].contains("NOT NULL"));
    let (partition, last) = letters.last().unwrap();
    assert_eq!(*partition, 1, "a dead letter keeps its partition's number");
    assert_eq!(
        (last.timestamp, &last.key.as_deref(), &last.value.as_deref()),
        (77, &Some(&b"k"[..]), &Some(&b"{}"[..]))
    );
    let own: Vec<_> =
        last.headers.iter().filter(|header| header.key == "own").map(|header| header.value.clone()).collect();
    assert_eq!(own, [None, Some("2".into())]);
    assert_eq!(letters[2].1.value.as_deref(), Some(&b"not JSON"[..]));
}

#[test]
fn a_record_without_a_value_is_passed_over_and_counted() {
    let mut logs = logs_with(&[&[]]);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, Some(b"k"), None, &[]);
    builder.push(0, Some(b"k"), Some(br#"{"a": 1}"#), &[]);
    logs.append("in", 0, builder.build());
    run_bounded(&filter(""), &mut logs, EpochLimits::default(), 0).unwrap();
    let totals = totals(&logs);
    assert_eq!((totals.read, totals.processed, totals.skipped, totals.without_value), (2, 1, 1, 1));
}

#[test]
fn a_record_without_event_time_is_an_error_of_the_record() {
    let mut logs = logs_with(&[&[r#"{"a": 1}"#]]);
    let error = run_bounded(&window(), &mut logs, EpochLimits::default(), 0).unwrap_err();
    assert!(matches!(error, TurnError::Poison { error: RecordError::NoEventTime { .. }, .. }), "{error}");
}

#[test]
fn control_batches_and_aborted_transactions_are_passed_over() {
    let producer = |id| Some(ProducerStamp { id, epoch: 0, sequence: 0 });
    let values = |from: i64| (from..from + 2).map(|a| format!(r#"{{"a": {a}}}"#)).collect::<Vec<_>>();
    let marker = |id, commit| control::marker_batch(id, 0, EndTxnMarker { commit, coordinator_epoch: 0 }, 0);
    let mut logs = logs_with(&[&[]]);
    logs.append("in", 0, batch_of(&values(1), producer(7))); // 0..2, aborted
    logs.append("in", 0, batch_of(&values(3), producer(8))); // 2..4, committed
    logs.append("in", 0, marker(7, false)); // 4
    logs.append("in", 0, marker(8, true)); // 5
    logs.append("in", 0, batch_of(&values(5), producer(7))); // 6..8, committed
    logs.append("in", 0, marker(7, true)); // 8
    let partition = TopicPartition::new("in", 0);
    let aborted = AbortedRange { producer_id: 7, first_offset: 0, last_offset: 4 };
    logs.aborted.insert(partition, vec![aborted]);
    for limits in [EpochLimits::default(), small_epochs(1)] {
        let mut logs = logs.clone();
        run_bounded(&filter(""), &mut logs, limits, 1).unwrap();
        assert_eq!(logs.values("out"), [r#"{"v":4}"#, r#"{"v":3}"#, r#"{"v":2}"#, r#"{"v":2}"#]);
        let progress = logs.last_progress().unwrap();
        assert_eq!((progress.inputs[0].to, progress.totals.read), (9, 4));
    }
}

#[test]
fn nothing_is_processed_after_the_end() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#], &[]]);
    let ends = logs.ends("in");
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    assert_eq!(logs.values("out"), [r#"{"a":1,"n":1}"#]);
    assert_eq!(logs.last_progress().unwrap().watermark, Some(i64::MAX));
    logs.produce("in", 0, &[r#"{"a": 2, "ts": 5000}"#.to_owned()]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 9), EpochLimits::default());
    assert!(epochs.pipeline().is_finished());
    assert!(matches!(epochs.turn(&mut logs, 0, 0).unwrap(), Turn::Finished));
    assert_eq!(epochs.declare_ends(ends.clone()), Ok(()), "the same ends again");
    assert!(epochs.declare_ends(logs.ends("in")).unwrap_err().to_string().contains("declared already"));
    let mut pipeline = restored(&plan, &logs, 9);
    let cut = Cut {
        ranges: BTreeMap::new(),
        now: 0,
        seed: 0,
        emit_rows: 1,
        ends: Some(ends),
        idle: BTreeSet::new(),
        shedding: Shedding::default(),
    };
    assert!(matches!(pipeline.step(&cut, &[]), Err(EpochError::Finished { .. })));
}

#[test]
fn records_beyond_a_declared_end_are_not_read() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#, r#"{"a": 2, "ts": 1}"#, r#"{"a": 3, "ts": 2}"#]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    epochs.declare_ends(BTreeMap::from([(TopicPartition::new("in", 0), 2)])).unwrap();
    while !matches!(epochs.turn(&mut logs, 0, 0).unwrap(), Turn::Finished) {}
    assert_eq!(logs.values("out"), [r#"{"a":1,"n":1}"#, r#"{"a":2,"n":1}"#]);
}

#[test]
fn an_end_that_cannot_be_is_refused() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#], &[]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    let at = |partition, end| (TopicPartition::new("in", partition), end);
    let refused = |epochs: &mut EpochLoop, ends: &[(TopicPartition, i64)]| {
        epochs.declare_ends(ends.iter().cloned().collect()).unwrap_err().to_string()
    };
    assert!(refused(&mut epochs, &[at(0, 1)]).contains("in-1"));
    assert!(refused(&mut epochs, &[at(0, 1), at(1, 0), at(2, 0)]).contains("in-2"));
}

#[test]
fn what_was_read_beyond_a_declared_end_is_the_end() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#], &[]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    logs.produce("in", 0, &[r#"{"a": 2, "ts": 1}"#.to_owned()]);
    let end = |partition| (TopicPartition::new("in", partition), 0);
    epochs.declare_ends(BTreeMap::from([end(0), end(1)])).unwrap();
    while !matches!(epochs.turn(&mut logs, 0, 0).unwrap(), Turn::Finished) {}
    assert_eq!(logs.values("out"), [r#"{"a":1,"n":1}"#]);
}

#[test]
fn a_wrong_cut_changes_nothing() {
    let plan = window();
    let logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#, r#"{"a": 1, "ts": 5000}"#]]);
    let mut pipeline = restored(&plan, &logs, 1);
    let partition = TopicPartition::new("in", 0);
    let cut = |from, to, emit_rows, ends: Option<i64>| Cut {
        ranges: BTreeMap::from([(partition.clone(), OffsetRange { from, to })]),
        now: 0,
        seed: 0,
        emit_rows,
        ends: ends.map(|end| BTreeMap::from([(partition.clone(), end)])),
        idle: BTreeSet::new(),
        shedding: Shedding::default(),
    };
    let input = vec![Input {
        partition: partition.clone(),
        batches: logs.partitions[&partition].clone(),
        aborted: Vec::new(),
    }];
    let idle_though_read = Cut { idle: BTreeSet::from([partition.clone()]), ..cut(0, 2, 1, None) };
    let stranger = Cut {
        ranges: BTreeMap::from([(TopicPartition::new("in", 5), OffsetRange { from: 0, to: 0 })]),
        ..cut(0, 0, 1, None)
    };
    for (wrong, input, reason) in [
        (cut(1, 2, 1, None), &input, "does not continue at 0"),
        (cut(0, 2, 0, None), &input, "emit_rows"),
        (cut(0, 2, 1, None), &Vec::new(), "no batches are given"),
        (cut(0, 2, 1, Some(1)), &input, "beyond the end 1"),
        (idle_though_read, &input, "it is idle"),
        (stranger, &input, "none of the pipeline's inputs"),
    ] {
        let error = pipeline.step(&wrong, input).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.needs_restore());
    }
    let output = pipeline.step(&cut(0, 2, 1, None), &input).unwrap();
    assert_eq!((output.epoch(), output.progress.counters.written), (1, 1));
}

#[test]
fn closed_windows_are_written_before_more_is_read() {
    let plan = window();
    let rows: Vec<String> = (0..10).map(|a| format!(r#"{{"a": {a}, "ts": 0}}"#)).collect();
    let mut logs = logs_with(&[&[]]);
    logs.produce("in", 0, &rows);
    logs.produce("in", 0, &[r#"{"a": 99, "ts": 1000}"#.to_owned()]);
    logs.produce("in", 0, &[r#"{"a": 98, "ts": 2500}"#.to_owned()]);
    let limits = EpochLimits { emit_rows: 4, input_records: 11, ..EpochLimits::default() };
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
    let mut written = Vec::new();
    for generation in 2.. {
        let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 0, 0).unwrap() else { break };
        let open = epochs.pipeline().open_windows();
        written.push((
            progress.inputs[0].to,
            progress.counters.written,
            progress.operators.iter().any(|at| at.partial.is_some()),
            open,
        ));
        epochs = EpochLoop::new(restored(&plan, &logs, generation), limits);
    }
    assert_eq!(written, [(11, 4, true, 2), (11, 4, true, 2), (11, 2, false, 1), (12, 1, false, 1)]);
}

fn refused(restoring: Result<logmill_stream::Restoring, RestoreError>) -> String {
    restoring.expect_err("it does not fit").to_string()
}

#[test]
fn a_pipeline_is_not_restored_from_what_is_not_its_own() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#], &[]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 5), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    let progress = logs.last_progress().unwrap();
    let good = spec(&plan, &logs, 5);
    let restore = |spec: &PipelineSpec, progress: &Progress| {
        Pipeline::restore(plan.clone(), spec.clone(), Some(progress.clone()))
    };
    assert!(restore(&good, &progress).is_ok());
    let other_plan = Progress { plan: 1, ..progress.clone() };
    assert!(refused(restore(&good, &other_plan)).contains("another query"));
    let other_name = PipelineSpec { name: "other".to_owned(), ..good.clone() };
    assert!(refused(restore(&other_name, &progress)).contains("of pipeline test"));
    let older = PipelineSpec { generation: 4, ..good.clone() };
    assert!(refused(restore(&older, &progress)).contains("generation 5 has run"));
    let mut fewer = good.clone();
    fewer.inputs.pop();
    assert!(refused(restore(&fewer, &progress)).contains("in-1"));
    let no_sink = PipelineSpec { outputs: [("out".to_owned(), 0)].into(), ..good.clone() };
    assert!(refused(restore(&no_sink, &progress)).contains("0 partitions"));
    let mut elsewhere = good.clone();
    elsewhere.inputs[0].partition.topic = "else".to_owned();
    assert!(refused(restore(&elsewhere, &progress)).contains("else-0"));
    let none = PipelineSpec { inputs: Vec::new(), ..good.clone() };
    assert!(refused(restore(&none, &progress)).contains("no partition"));
    let mut twice = good.clone();
    twice.inputs.push(good.inputs[0].clone());
    assert!(refused(restore(&twice, &progress)).contains("twice"));

    // A topic that took the place of the one it has read. Records that say nothing of it are older.
    let topic = |id: &str| [("in".to_owned(), id.to_owned())].into();
    let of_one = Progress { topic_ids: topic("one"), ..progress.clone() };
    let over = |id: &str| PipelineSpec { topic_ids: topic(id), ..good.clone() };
    let other = refused(restore(&over("two"), &of_one));
    assert!(other.contains("had the id one, this has two"), "{other}");
    assert!(restore(&over("one"), &of_one).is_ok() && restore(&over("two"), &progress).is_ok());
    assert!(restore(&good, &of_one).is_ok());
    let again = restore(&over("one"), &progress).unwrap().finish();
    let mut epochs = EpochLoop::new(again, EpochLimits::default());
    logs.produce("in", 0, &[r#"{"a": 2, "ts": 1}"#.to_owned()]);
    epochs.turn(&mut logs, 0, 0).unwrap();
    assert_eq!(logs.last_progress().unwrap().topic_ids, of_one.topic_ids);

    let apply = |key: &[u8], value: Option<&[u8]>| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, Some(key), value, &[]);
        let mut restoring = restore(&good, &progress).unwrap();
        restoring.apply(&builder.build()).unwrap_err().to_string()
    };
    let window = plan.identities()[1].to_be_bytes();
    let key = |operator: [u8; 4], rest: &[u8]| [&[2], &operator[..], rest].concat();
    assert!(apply(b"", None).contains("empty"));
    assert!(apply(b"\x02", Some(b"")).contains("too short"));
    assert!(apply(b"\x01g\x00\x01", Some(b"")).contains("format version 1"));
    assert!(apply(&key([0; 4], b"\x00"), Some(b"")).contains("operator 00000000"));
    assert!(apply(&key(window, b"\x00"), Some(b"")).contains("too short"));
    assert!(apply(&key(window, b"\x07123456789"), Some(b"")).contains("no table 7"));
    assert!(apply(&key(window, b"\x00123456789"), Some(b"123")).contains("damaged key"));
    assert!(apply(&key(window, b"\x00123456789\x0112345678"), Some(b"123")).contains("damaged group"));
}

proptest! {
    #[test]
    fn damaged_state_is_refused_without_a_panic(
        table in 0_u8..3,
        key in prop::collection::vec(any::<u8>(), 0..30),
        value in prop::collection::vec(any::<u8>(), 0..20),
        text in "\\PC{0,40}",
    ) {
        let plan = window();
        let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#]]);
        EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default()).turn(&mut logs, 0, 0).unwrap();
        let spec = spec(&plan, &logs, 1);
        let operator = plan.identities()[1].to_be_bytes();
        let mut restoring = Pipeline::restore(plan, spec, logs.last_progress()).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, Some(&[&[2], &operator[..], &[table], &key[..]].concat()), Some(&value), &[]);
        // What restores has a count of rows and the one aggregate.
        prop_assert!(restoring.apply(&builder.build()).is_err() || value.len() == 16);
        prop_assert!(Progress::decode(text.as_bytes()).is_err());
    }
}

/// A script for each way in which state is kept by a text key, or keeps values by their keys.
const KEPT: [&str; 5] = [
    "SELECT k, COUNT(DISTINCT s) FROM src GROUP BY k UNBOUNDED",
    "SELECT k, COUNT(*) FROM (SELECT k, MAX(s) AS s FROM src GROUP BY k, a) GROUP BY k UNBOUNDED",
    "SELECT FIRST_VALUE(s), COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' HOUR))
     GROUP BY window_start, k",
    "SELECT MAX(s), COUNT(DISTINCT k) FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '1' HOUR))
     GROUP BY k, window_start, window_end",
    "SELECT k, COUNT(s) OVER (PARTITION BY k ORDER BY ts) FROM src UNBOUNDED",
];

proptest! {
    /// State that was damaged is refused, or is state; nothing panics now or when it is used.
    #[test]
    fn damaged_records_of_the_changelog_never_panic(
        query in 0..KEPT.len(),
        at in any::<prop::sample::Index>(),
        of_key in any::<bool>(),
        byte in any::<prop::sample::Index>(),
        to in prop::option::of(any::<u8>()),
    ) {
        let plan = support::plan(&format!(
            "CREATE TABLE src (k STRING, s STRING, a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
             WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (a STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json' {});
             INSERT INTO o {}",
            if query < 2 { ", 'output' = 'retract'" } else { "" },
            KEPT[query]
        ));
        let row = |k: &str, s: &str, ts: i64| format!(r#"{{"k":"{k}","s":"{s}","a":1,"ts":{ts}}}"#);
        let mut logs = logs_with(&[&[&row("a", "x", 0), &row("b", "é", 1000), &row("a", "y", 2000)]]);
        EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default()).turn(&mut logs, 0, 0).unwrap();
        let mut records: Vec<_> = logs.changelog.iter().flat_map(|batch| batch.records(1 << 20).unwrap()).collect();
        let record = at.get(&records).clone();
        let mut part = if of_key { record.key.unwrap() } else { record.value.unwrap() }.to_vec();
        if !part.is_empty() {
            let byte = byte.index(part.len());
            match to {
                Some(to) => part[byte] = to,
                None => part.truncate(byte),
            }
        }
        let damaged = &mut records[at.index(logs.changelog.iter().map(|batch| batch.header().count as usize).sum())];
        *if of_key { &mut damaged.key } else { &mut damaged.value } = Some(part.into());
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in &records {
            builder.push(0, record.key.as_deref(), record.value.as_deref(), &[]);
        }
        let mut restoring = Pipeline::restore(plan.clone(), spec(&plan, &logs, 2), logs.last_progress()).unwrap();
        if restoring.apply(&builder.build()).is_ok() {
            logs.produce("in", 0, &[row("a", "z", 3000), row("b", "z", 90_000_000)]);
            let ends = logs.ends("in");
            let mut epochs = EpochLoop::new(restoring.finish(), EpochLimits::default());
            epochs.declare_ends(ends).unwrap();
            // What it gives is anything, an error too.
            while matches!(epochs.turn(&mut logs, 0, 0), Ok(Turn::Committed { .. })) {}
        }
    }
}

#[test]
fn a_topic_may_get_more_partitions() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#, r#"{"a": 1, "ts": 9000}"#]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    assert_eq!(logs.values("out"), [r#"{"a":1,"n":1}"#]);
    logs.create("in", 2);
    logs.produce("in", 0, &[r#"{"a": 2, "ts": 20000}"#.to_owned()]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 2), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    assert_eq!(
        logs.last_progress().unwrap().watermark,
        Some(9000),
        "the new partition holds time where it was"
    );
    logs.produce("in", 1, &[r#"{"a": 3, "ts": 8999}"#.to_owned(), r#"{"a": 3, "ts": 10000}"#.to_owned()]);
    epochs.turn(&mut logs, 0, 0).unwrap();
    let progress = logs.last_progress().unwrap();
    assert_eq!((progress.watermark, progress.totals.late), (Some(10000), 1));
    assert_eq!(logs.values("out"), [r#"{"a":1,"n":1}"#, r#"{"a":1,"n":1}"#]);
}

#[test]
fn a_record_is_late_once_whoever_says_so() {
    let plan = support::plan(
        "CREATE TABLE src (a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json', 'late-topic' = 'late');
         CREATE TABLE seconds (a BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         CREATE TABLE minutes (n BIGINT) WITH ('topic' = 'out2', 'format' = 'json');
         INSERT INTO seconds SELECT a, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND))
         GROUP BY window_start, a;
         INSERT INTO minutes SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start",
    );
    let late = r#"{"a": 2, "ts": 20}"#;
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 90000}"#, late, r#"{"a": 3, "ts": 90001}"#]]);
    logs.create("out2", 1);
    logs.create("late", 2);
    EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default()).turn(&mut logs, 0, 0).unwrap();
    assert_eq!(logs.values("late"), [late]);
    let totals = logs.last_progress().unwrap().totals;
    assert_eq!((totals.read, totals.processed, totals.late), (3, 2, 1));
}

#[test]
fn a_progress_record_of_a_newer_release_is_refused() {
    let newer = br#"{"version": 3, "something": "else"}"#;
    assert!(matches!(Progress::decode(newer), Err(ProgressError::NewerVersion { found: 3 })));
    let older = br#"{"version": 1, "something": "else"}"#;
    assert!(matches!(Progress::decode(older), Err(ProgressError::OlderVersion { found: 1 })));
    assert!(matches!(Progress::decode(b"{"), Err(ProgressError::Damaged { .. })));
    assert!(matches!(Progress::decode(br#"{"version": 2}"#), Err(ProgressError::Damaged { .. })));
}

/// What is on disk must be readable for good: a change here needs a new format version.
#[test]
fn the_formats_stay_as_they_are() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 7, "ts": 1500}"#, r#"{"a": 8, "ts": 3000}"#]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 3), EpochLimits::default());
    epochs.turn(&mut logs, 1_700_000_000_000, 42).unwrap();
    let records = |batches: &[Batch]| -> Vec<(String, String)> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let records = batches.iter().flat_map(|batch| batch.records(1 << 20).unwrap());
        records.map(|record| (hex(&record.key.unwrap()), hex(&record.value.unwrap()))).collect()
    };
    // The window that is closed was never written; the open one: version, operator, table, end, key group, key.
    let group =
        format!("02{:08x}00", plan.identities()[1]) + "8000000000000fa0" + "ac" + "018000000000000008";
    // How many rows, and the aggregate.
    assert_eq!(records(&logs.changelog), [(group, "0000000000000001".repeat(2))]);
    let progress = String::from_utf8(logs.progress[0].encode()).unwrap();
    let counters = concat!(
        r#"{"read":2,"processed":2,"late":0,"skipped":0,"without_value":0,"dead_lettered":0,"filtered":0,"#,
        r#""written":1,"unwritten":0,"late_rows":0,"windows_closed":1}"#
    );
    let expected = [
        r#"{"version":2,"pipeline":"test","generation":3,"epoch":1,"plan":4126395623,"now":1700000000000,"seed":42,"#,
        r#""emit_rows":50000,"inputs":[{"topic":"in","partition":0,"from":0,"to":2,"end":null,"watermarks":[3000]}],"#,
        r#""watermark":3000,"sources":[3000],"operators":[{"watermark":null,"partial":null},"#,
        r#"{"watermark":3000,"partial":null},{"watermark":null,"partial":null}],"counters":"#,
        counters,
        r#","totals":"#,
        counters,
        r#","digest":2516373725,"finished":false}"#,
    ];
    assert_eq!(progress, expected.concat());
    assert_eq!(logs.progress[0].key(), b"test@1");
}

#[test]
fn a_log_that_ends_before_what_was_read_of_it_is_never_waited_for() {
    let plan = window();
    let mut logs = logs_with(&[&[r#"{"a": 1, "ts": 0}"#, r#"{"a": 2, "ts": 1}"#], &[]]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    epochs.turn(&mut logs, 0, 0).unwrap();
    logs.partitions.values_mut().for_each(Vec::clear);
    logs.produce("in", 0, &[r#"{"a": 3, "ts": 2}"#.to_owned()]);
    let mut again = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    for epochs in [&mut epochs, &mut again] {
        let error = epochs.turn(&mut logs, 0, 0).expect_err("it is another log").to_string();
        assert!(
            error.contains("in-0: the pipeline has read up to offset 2, and the log ends at 1"),
            "{error}"
        );
    }
}
