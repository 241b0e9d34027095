//! Rows of which an epoch makes so many copies, or such long ones, that no memory has room for all of them at once.

use std::collections::BTreeMap;

use logmill_record::{BatchBuilder, BatchOptions, Codec};
use logmill_stream::{EpochLimits, Followed, Shadow};

use crate::support::{MemoryLogs, plan, run_bounded, spec};

/// A batch of rows with a long text each, which packs to almost nothing.
fn append(logs: &mut MemoryLogs, topic: &str, rows: i64, text: usize) {
    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..BatchOptions::default() });
    let text = "0".repeat(text);
    for id in 0..rows {
        let value = format!(r#"{{"id":{id},"k":1,"p":"{text}","ts":{id}}}"#);
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    logs.append(topic, 0, builder.build());
}

/// The table of a topic, whose name is the topic's.
fn table(topic: &str) -> String {
    format!(
        "CREATE TABLE {topic} (id BIGINT, k BIGINT, p STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = '{topic}', 'format' = 'json');\n"
    )
}

/// What a query over tables writes into `o`.
fn run(columns: &str, query: &str, inputs: &[(&str, i64, usize)]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("out", 1);
    let mut script = String::new();
    for (topic, rows, text) in inputs {
        logs.create(topic, 1);
        append(&mut logs, topic, *rows, *text);
        script += &table(topic);
    }
    script += &format!(
        "CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json', 'on-error' = 'skip');
         INSERT INTO o {query}"
    );
    run_bounded(&plan(&script), &mut logs, EpochLimits::default(), 0)
        .unwrap_or_else(|error| panic!("{error}"));
    logs
}

#[test]
fn long_rows_that_meet_many_are_joined_in_parts() {
    let near = "a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '1' MINUTE AND b.ts + INTERVAL '1' MINUTE";
    // Either side finds the other, with a condition to be computed for each pair and without.
    for (left, right, condition) in [("long", "short", "a.p <> b.p"), ("short", "long", "a.id >= 0")] {
        let query = format!(
            "SELECT a.id, b.id, OCTET_LENGTH(a.p) + OCTET_LENGTH(b.p) FROM {left} AS a JOIN {right} AS b
             ON {near} AND {condition}"
        );
        let logs = run("l BIGINT, r BIGINT, n BIGINT", &query, &[("long", 240, 135_000), ("short", 67, 1)]);
        let mut found = logs.values("out");
        assert_eq!(found.len(), 240 * 67, "{condition}");
        assert!(found.iter().all(|row| row.ends_with(r#""n":135001}"#)));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 240 * 67, "each pair once");
    }
}

#[test]
fn a_shadow_takes_less_where_it_was_too_much() {
    let plan = plan(&format!(
        "{}{} CREATE TABLE o (n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT OCTET_LENGTH(a.p) FROM long AS a JOIN short AS b
         ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '1' MINUTE AND b.ts + INTERVAL '1' MINUTE AND a.p <> b.p",
        table("long"),
        table("short")
    ));
    let mut logs = MemoryLogs::default();
    for topic in ["long", "short", "out"] {
        logs.create(topic, 1);
    }
    // Some state comes first, which is still there when the rest is taken in parts.
    append(&mut logs, "short", 67, 1);
    let followed = |logs: &MemoryLogs| Followed {
        offsets: ["long", "short"].iter().flat_map(|topic| logs.ends(topic)).collect(),
        times: BTreeMap::new(),
    };
    let mut shadow =
        Shadow::new(plan.clone(), spec(&plan, &logs, 1), EpochLimits::default(), followed(&logs)).unwrap();
    while shadow.turn(&mut logs, 0, 0).unwrap() {}
    append(&mut logs, "long", 240, 135_000);
    shadow.follow(followed(&logs));
    let mut turns = 0;
    while shadow.turn(&mut logs, 0, 0).unwrap_or_else(|error| panic!("{error}")) {
        turns += 1;
        assert!(turns < 1_000);
    }
    assert!(shadow.positions().all(|(partition, at)| at == logs.end(partition)));
    let (_, made) = shadow.finish();
    let totals = made.unwrap().totals;
    assert_eq!((totals.read, totals.written), (240 + 67, 240 * 67), "each pair once");
}

#[test]
fn long_rows_in_many_windows_are_copied_in_parts() {
    let logs = run(
        "s TIMESTAMP(3), id BIGINT, n BIGINT",
        "SELECT window_start, id, OCTET_LENGTH(p) FROM (
           SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY id) AS r
           FROM TABLE(HOP(TABLE long, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' HOUR)))
         WHERE r <= 1",
        &[("long", 150, 135_000)],
    );
    let found = logs.values("out");
    assert_eq!(found.len(), 120);
    assert!(found.iter().all(|row| row.ends_with(r#""id":0,"n":135000}"#)), "{}", found[0]);
    let read = logs.progress.iter().map(|progress| progress.counters.read).max();
    assert!(read <= Some(17), "as much is read at once as there is room for its copies: {read:?}");
}

#[test]
fn texts_that_grow_from_row_to_row_are_given_in_parts() {
    let logs = run(
        "id BIGINT, n BIGINT",
        "SELECT id, OCTET_LENGTH(s) FROM (SELECT id, STRING_AGG(p, '') OVER (ORDER BY ts) AS s FROM long) UNBOUNDED",
        &[("long", 340, 40_000)],
    );
    let expected: Vec<String> =
        (0..340).map(|id| format!(r#"{{"id":{id},"n":{}}}"#, (id + 1) * 40_000)).collect();
    assert_eq!(logs.values("out"), expected);
}

#[test]
fn a_joined_text_becomes_no_longer_than_texts_may_be() {
    let script = |on_error: &str| {
        format!(
            "{} CREATE TABLE o (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'json', 'on-error' = '{on_error}');
             INSERT INTO o SELECT k, OCTET_LENGTH(STRING_AGG(p, ',')) FROM long GROUP BY k UNBOUNDED",
            table("long")
        )
    };
    let mut logs = MemoryLogs::default();
    logs.create("out", 1);
    logs.create("long", 1);
    (0..17).for_each(|_| append(&mut logs, "long", 1, 1 << 20));
    let each = EpochLimits { input_bytes: 1, ..EpochLimits::default() };
    let error = run_bounded(&plan(&script("fail")), &mut logs.clone(), each, 3).unwrap_err().to_string();
    assert!(error.contains("STRING_AGG") && error.contains("more than 16 MiB"), "{error}");
    run_bounded(&plan(&script("skip")), &mut logs, each, 3).unwrap();
    let records = logs.records("out");
    assert_eq!(records.len(), 16, "fifteen that fit, and the end of the row");
    assert_eq!(records[15].1.value, None);
    let state: usize = logs.changelog.last().map_or(0, |batch| batch.size());
    assert!(state < 1_000, "what is too long is not kept: {state}");
}
