//! What becomes of an epoch's rows in a topic: which row of a key is written, which step, and to which partition.

use std::collections::BTreeMap;

use logmill_stream::{EpochLimits, compile};
use proptest::prelude::*;

use crate::support;
use crate::support::cases::{SOURCE, lines, rows, run, runs, table, upsert};
use crate::support::{MemoryLogs, json, plan, run_bounded, small_epochs};

/// A script whose only table is written in one mode.
fn written(columns: &str, options: &str, insert: &str) -> String {
    format!(
        "{SOURCE} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json', {options});\n{insert}"
    )
}

#[test]
fn the_row_that_came_last_is_the_one_that_stays() {
    let script =
        upsert("k STRING, x BIGINT, PRIMARY KEY (k) NOT ENFORCED", "INSERT INTO o SELECT k, x FROM src");
    let input = lines(&rows(&[("a", 1, 0), ("a", 2, 1), ("b", 3, 1), ("a", 1, 2), ("b", 4, 2), ("b", 4, 3)]));
    for how in runs() {
        let logs = run(&script, &input, how);
        let left: Vec<String> = table(&logs).into_values().collect();
        assert_eq!(left, [r#"{"k":"a","x":1}"#, r#"{"k":"b","x":4}"#], "{how:?}");
    }
}

#[test]
fn a_step_whose_row_cannot_be_written_is_half_a_step() {
    let input = r#"{"k":"a","x":1,"ts":0}
                   {"k":"a","x":13,"ts":1}
                   {"k":"a","x":3,"ts":2}
                   {"k":"b","x":13,"ts":3}"#;
    // The last value of each key, which is NULL at times.
    let query = "INSERT INTO o SELECT k, NULLIF(x, 13) FROM
                   (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS r FROM src) WHERE r = 1 UNBOUNDED";
    let columns = "k STRING, x BIGINT NOT NULL";
    let retract = written(columns, "'output' = 'retract', 'on-error' = 'skip'", query);
    let each = (small_epochs(1), 0, 1);
    let logs = run(&retract, &lines(input), each);
    assert_eq!(
        logs.values("out"),
        [
            r#"{"before":null,"after":{"k":"a","x":1},"op":"c"}"#,
            r#"{"before":{"k":"a","x":1},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"k":"a","x":3},"op":"c"}"#,
        ]
    );
    let keyed = format!("{columns}, PRIMARY KEY (k) NOT ENFORCED");
    let upserted = written(&keyed, "'output' = 'upsert', 'on-error' = 'skip'", query);
    let logs = run(&upserted, &lines(input), each);
    let values: Vec<Option<String>> = logs
        .records("out")
        .into_iter()
        .map(|(_, record)| record.value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
        .collect();
    assert_eq!(values, [Some(r#"{"k":"a","x":1}"#.to_owned()), None, Some(r#"{"k":"a","x":3}"#.to_owned())]);
    assert_eq!(logs.last_progress().unwrap().totals.unwritten, 2);
    // Nothing is wrong with what is gone again within an epoch.
    for script in [&retract, &upserted] {
        let input = &lines(input)[..3];
        let logs = run(script, input, (EpochLimits::default(), 0, 1));
        assert_eq!(logs.last_progress().unwrap().totals.unwritten, 0);
    }
}

/// What a record replaces is in it, and a deletion has the row that is gone, with a tombstone behind it.
#[test]
fn upserts_in_debeziums_manner_say_what_they_replace() {
    let script = |mode: &str| {
        format!(
            "{SOURCE} CREATE TABLE o (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
             WITH ('topic' = 'out', 'format' = 'debezium-json', 'output' = '{mode}');
             INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k HAVING COUNT(*) <> 3 UNBOUNDED"
        )
    };
    let input = lines(&rows(&[("a", 1, 0), ("a", 1, 1), ("a", 1, 2), ("b", 1, 3), ("a", 1, 4)]));
    let written = |logs: &MemoryLogs| -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let records = logs.records("out").into_iter().map(|(_, record)| record);
        records.map(|record| (text(&record.key.unwrap()), record.value.map(|value| text(&value)))).collect()
    };
    let change = |key: &str, before: &str, after: &str, op: &str| {
        (key.to_owned(), Some(format!(r#"{{"before":{before},"after":{after},"op":"{op}"}}"#)))
    };
    let row = |key: &str, n: i64| format!(r#"{{"k":"{key}","n":{n}}}"#);
    let created = |key: &str, n: i64| change(key, "null", &row(key, n), "c");
    let updated = change("a", &row("a", 1), &row("a", 2), "u");
    let deleted = change("a", &row("a", 2), "null", "d");
    let each = (small_epochs(1), 1, 1);
    let upserted = run(&script("upsert"), &input, each);
    let expected =
        [created("a", 1), updated.clone(), deleted, ("a".to_owned(), None), created("b", 1), created("a", 4)];
    assert_eq!(written(&upserted), expected);
    let changed = run(&script("changes"), &input, each);
    assert_eq!(written(&changed), [created("a", 1), updated, created("b", 1), created("a", 4)]);
    // Of an epoch it is the last step that counts, and who reads the topic as a table has its rows.
    let whole = run(&script("upsert"), &input, (EpochLimits::default(), 0, 1));
    assert_eq!(written(&whole), [created("b", 1), created("a", 4)]);
    let read = plan(
        "CREATE TABLE o (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'debezium-json');
         CREATE TABLE t (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'again', 'format' = 'json');
         INSERT INTO t SELECT k, n FROM o",
    );
    for mut logs in [upserted, whole] {
        logs.create("again", 1);
        logs.progress.clear();
        logs.changelog.clear();
        run_bounded(&read, &mut logs, EpochLimits::default(), 0).unwrap_or_else(|error| panic!("{error}"));
        let mut again = logs.values("again");
        again.sort();
        assert_eq!(again, [row("a", 4), row("b", 1)]);
    }
}

#[test]
fn a_row_that_cannot_be_written_does_not_take_the_one_before_it_along() {
    let script = written(
        "k STRING, x BIGINT NOT NULL, PRIMARY KEY (k) NOT ENFORCED",
        "'output' = 'upsert', 'on-error' = 'skip'",
        "INSERT INTO o SELECT k, NULLIF(x, 13) FROM src",
    );
    let input = lines(&rows(&[("a", 1, 0), ("a", 2, 1), ("a", 13, 2)]));
    for how in runs() {
        let logs = run(&script, &input, how);
        assert_eq!(table(&logs).into_values().collect::<Vec<_>>(), [r#"{"k":"a","x":2}"#], "{how:?}");
        assert_eq!(logs.last_progress().unwrap().totals.unwritten, 1);
    }
}

/// A record that replaces another, or is deleted, is found by its key.
#[test]
fn a_row_without_its_key_is_not_written() {
    let query = "INSERT INTO o SELECT k, COUNT(*) FROM src GROUP BY k UNBOUNDED";
    let input = lines(&format!("{}{{\"k\":null,\"ts\":1}}\n{{\"k\":null,\"ts\":2}}", rows(&[("a", 1, 0)])));
    let keyed = "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED";
    for columns in [keyed, "k STRING, n BIGINT"] {
        let script = written(columns, "'output' = 'upsert', 'on-error' = 'skip'", query);
        for how in runs() {
            let logs = run(&script, &input, how);
            assert_eq!(logs.values("out"), [r#"{"k":"a","n":1}"#], "{columns} {how:?}");
            assert!(logs.last_progress().unwrap().totals.unwritten > 0, "{columns} {how:?}");
        }
        let plan = plan(&written(columns, "'output' = 'upsert'", query));
        let mut logs = MemoryLogs::default();
        logs.create("in", 1);
        logs.create("out", 1);
        logs.produce("in", 0, &input);
        let error = run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap_err().to_string();
        assert!(error.contains("`k`") && error.contains("it is NULL"), "{columns}: {error}");
    }
}

/// Rows that a query tells apart by something else than the primary key may share it: one that goes would take
/// another along.
#[test]
fn rows_that_may_share_a_primary_key_are_not_written_as_one() {
    let counted = "SELECT k, COUNT(*) AS n FROM src GROUP BY k";
    let of = |query: &str, key: &str, mode: &str| {
        let script = written(
            &format!("k STRING, n BIGINT, PRIMARY KEY ({key}) NOT ENFORCED"),
            &format!("'output' = '{mode}'"),
            &format!("INSERT INTO o {query} UNBOUNDED"),
        );
        compile(&script).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let both = format!("{counted} UNION ALL {counted} HAVING COUNT(*) > 3");
    let mixed = format!("{counted} UNION ALL SELECT k, x FROM src");
    let dropped = "SELECT 'a', n FROM (SELECT k, COUNT(*) AS n FROM src GROUP BY k)";
    let twice_dropped = format!(
        "SELECT t.k, c.n FROM ({counted}) AS c JOIN (SELECT 'a' AS k, n FROM ({counted})) AS t ON c.n = t.n"
    );
    for (query, key) in [(&*both, "k"), (&mixed, "k"), (dropped, "n"), (&twice_dropped, "k")] {
        for mode in ["upsert", "changes"] {
            let error = of(query, key, mode);
            assert!(
                error.contains("several rows of the query may have one primary key of `o`"),
                "{query}: {error}"
            );
            assert!(error.contains("GROUP BY"), "{query}: {error}");
        }
        assert_eq!(of(query, key, "retract"), "", "{query}");
    }
    let again = format!("SELECT k, SUM(n) FROM ({both}) GROUP BY k");
    assert_eq!(of(&again, "k", "upsert"), "");
    // A key is still one as a text.
    let by_x = "SELECT x, COUNT(*) AS n FROM src GROUP BY x";
    assert_eq!(of(&format!("SELECT 'x-' || CAST(x AS STRING), n FROM ({by_x})"), "k", "upsert"), "");
    assert!(
        of(&format!("SELECT CAST(x % 3 AS STRING), n FROM ({by_x})"), "k", "upsert").contains("several rows")
    );
    // Of a window one bound is enough; what is left of a ranking is what was ranked.
    let windows = |key: &str| {
        format!(
        "SELECT k, COUNT(*) AS n FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND))
         GROUP BY window_start, window_end, {key}"
    )
    };
    let ranked = |rows: &str| {
        format!(
            "SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY n DESC) AS r FROM ({rows})) WHERE r <= 3"
        )
    };
    assert_eq!(of(&ranked(counted), "k", "upsert"), "");
    assert_eq!(of(&ranked("SELECT k, x AS n FROM src"), "k", "upsert"), "");
    assert_eq!(of(&ranked(&windows("k")), "k", "upsert"), "");
    assert!(of(&ranked(&both), "k", "upsert").contains("several rows"));
    // What is never the same on two sides tells their rows apart.
    let part =
        |name: &str| format!("SELECT '{name}' AS k, n FROM (SELECT x AS n, COUNT(*) FROM src GROUP BY x)");
    let apart = [part("a"), part("b"), part("c")].join(" UNION ALL ");
    assert_eq!(of(&apart, "k, n", "upsert"), "");
    assert!(of(&apart, "n", "upsert").contains("share the primary key"));
    assert!(of(&format!("{apart} UNION ALL {}", part("b")), "k, n", "upsert").contains("several rows"));
}

/// What a topic of changes says is there, in each partition; a row that is not there cannot go.
fn sum(logs: &MemoryLogs) -> Result<BTreeMap<(i32, String), i64>, String> {
    let mut rows: BTreeMap<(i32, String), i64> = BTreeMap::new();
    for (partition, record) in logs.records("out") {
        let change = json(std::str::from_utf8(&record.value.unwrap()).unwrap());
        for (side, by) in [("before", -1), ("after", 1)] {
            if !change[side].is_null() {
                let row = (partition, change[side].to_string());
                let count = rows.entry(row.clone()).or_default();
                *count += by;
                if *count < 0 {
                    return Err(format!("{row:?} goes and is not there"));
                }
            }
        }
    }
    rows.retain(|_, count| *count != 0);
    Ok(rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A row without a key goes where its bytes send it, and so does what takes it back.
    #[test]
    fn a_row_and_its_end_are_in_one_partition(
        steps in prop::collection::vec((0_i32..3, 0_i64..3, 0_i64..4), 1..25),
        crash in 0_u64..3,
    ) {
        let script = written(
            "l BIGINT, r BIGINT",
            "'output' = 'retract'",
            "INSERT INTO o SELECT a.x, b.x FROM src AS a LEFT JOIN src AS b ON a.k = b.k AND a.x < b.x UNBOUNDED",
        );
        let plan = plan(&script);
        prop_assert!(plan.sinks[0].key.is_empty());
        let mut logs = MemoryLogs::default();
        logs.create("in", 3);
        logs.create("out", 4);
        for (partition, k, x) in &steps {
            logs.produce("in", *partition, &[support::cases::row(&format!("k{k}"), *x, 0)]);
        }
        run_bounded(&plan, &mut logs, small_epochs(1), crash).unwrap();
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for (_, k, l) in &steps {
            let partners: Vec<String> =
                steps.iter().filter(|(_, key, r)| key == k && l < r).map(|(_, _, r)| r.to_string()).collect();
            let alone = vec!["null".to_owned()];
            for r in if partners.is_empty() { &alone } else { &partners } {
                *expected.entry(format!("{{\"l\":{l},\"r\":{r}}}")).or_default() += 1;
            }
        }
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for ((_, row), count) in sum(&logs).map_err(TestCaseError::fail)? {
            prop_assert!(found.insert(row, count).is_none(), "a row is in one partition");
        }
        prop_assert_eq!(found, expected);
    }
}

/// Rows that a topic takes each may be too much for it together.
#[test]
fn large_rows_do_not_make_a_batch_that_no_topic_takes() {
    /// What topics take where nobody has said another number.
    const MAX_MESSAGE_BYTES: usize = 1_048_588;
    let plan = plan(
        "CREATE TABLE t (k STRING, v STRING) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (k STRING, v STRING) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT k, MAX(v) FROM t GROUP BY k UNBOUNDED",
    );
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    let row = |(k, kib): (&str, usize)| format!(r#"{{"k":"{k}","v":"{}"}}"#, "x".repeat(kib << 10));
    for large in [("a", 450), ("b", 650), ("c", 450), ("d", 950), ("e", 3), ("f", 300)].map(row) {
        logs.produce("in", 0, &[large]);
    }
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(logs.values("out").len(), 6);
    let written = logs.partitions.iter().filter(|(partition, _)| partition.topic == "out");
    for (of, batches) in [
        ("out", written.flat_map(|(_, batches)| batches).collect()),
        ("changelog", logs.changelog.iter().collect::<Vec<_>>()),
    ] {
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.size()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{of}: {sizes:?}");
        assert!(sizes.len() < 6, "small ones are still together: {of}: {sizes:?}");
    }
}
