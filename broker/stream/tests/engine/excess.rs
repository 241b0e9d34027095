//! What a script or a record could make grow without end, and does not: views of views, deep names, long texts.

use std::fmt::Write;

use logmill_stream::{DataType, EpochLimits, Scalar, Value, compile};

use crate::support::{MemoryLogs, plan, run_bounded};

/// Each view reads the one before it twice.
#[test]
fn a_view_that_is_read_twice_is_bound_once() {
    let mut script = "CREATE TABLE t (a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE o (a BIGINT) WITH ('topic' = 'out', 'format' = 'json');
        CREATE VIEW v0 AS SELECT a FROM t;"
        .to_owned();
    for view in 1..28 {
        let below = view - 1;
        write!(
            script,
            "CREATE VIEW v{view} AS SELECT a FROM v{below} UNION ALL SELECT a + {view} FROM v{below};"
        )
        .unwrap();
    }
    script.push_str("INSERT INTO o SELECT a FROM v27");
    let plan = compile(&script).unwrap();
    assert!(plan.nodes.len() < 100, "{} nodes", plan.nodes.len());
    assert!(plan.explain().len() < 20_000);
    let mut identities = plan.identities();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), plan.nodes.len());
}

/// What a node is called does not depend on what else the script computes.
#[test]
fn a_shared_node_keeps_its_identity_when_others_come() {
    let script = |more: &str| {
        format!(
            "CREATE TABLE t (a BIGINT, k STRING) WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
             CREATE VIEW v AS SELECT k, a * 2 AS a FROM t WHERE a > 1; {more}
             INSERT INTO o SELECT k, SUM(a) FROM (SELECT k, a FROM v UNION ALL SELECT k, a + 1 FROM v) GROUP BY k UNBOUNDED"
        )
    };
    let state = |script: &str| plan(script).states().iter().map(|state| state.identity).collect::<Vec<_>>();
    let alone = state(&script(""));
    let others = script(
        "CREATE TABLE p (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'other', 'format' = 'json');
         INSERT INTO p SELECT k, COUNT(*) FROM (SELECT k FROM t UNION ALL SELECT k FROM v) GROUP BY k UNBOUNDED;",
    );
    let together = state(&others);
    assert_eq!((alone.len(), together.len()), (1, 2));
    assert!(together.contains(&alone[0]), "{alone:x?} {together:x?}");
}

fn texts(columns: &[&str], expression: &str, rows: &[&[&str]]) -> Vec<Result<Value, String>> {
    let columns: Vec<(&str, DataType)> = columns.iter().map(|name| (*name, DataType::String)).collect();
    let scalar = Scalar::compile(&columns, expression).unwrap();
    let row = |row: &&[&str]| row.iter().map(|text| Value::String((*text).to_owned())).collect();
    scalar.evaluate(&rows.iter().map(row).collect::<Vec<Vec<Value>>>(), 0)
}

#[test]
fn a_text_that_would_be_too_long_is_not_made() {
    let long = "a".repeat(1 << 20);
    let escapes = r"\&".repeat(1 << 19);
    let (row, short): ([&str; 2], [&str; 2]) = ([&long, &escapes], ["a", "b"]);
    let ones = vec!["s"; 20].join(" || ");
    let many = vec!["s"; 20].join(", ");
    for expression in [
        "REPLACE(s, 'a', s)",
        "REGEXP_REPLACE(s, 'a', s, 'g')",
        "REGEXP_REPLACE(s, '.*', e)",
        "REGEXP_REPLACE(s, '(.*)', e)",
        "REPEAT(s, 17)",
        "LPAD(s, 100000000, 'é')",
        &ones,
        &format!("CONCAT({many})"),
        &format!("CONCAT_WS(s, {many})"),
        &format!("JSON_ARRAY({many})"),
        "OVERLAY(REPEAT(s, 16) PLACING s FROM 1 FOR 0)",
    ] {
        let results = texts(&["s", "e"], expression, &[&row, &short]);
        assert_eq!(results[0], Err("the text would have more than 16 MiB".to_owned()), "{expression}");
        assert!(
            !matches!(&results[1], Err(error) if error.contains("256")),
            "{expression}: {:?}",
            results[1]
        );
    }
    let [shorter] = &texts(&["s"], "REPLACE(s, 'a', '')", &[&[&long]])[..] else { panic!("one row") };
    assert_eq!(*shorter, Ok(Value::String(String::new())));
}

/// Each row is within its bounds, and the rows together are more than a column can hold.
#[test]
fn rows_that_are_too_much_together_are_evaluated_apart() {
    let rows = vec![&["abcdefghij"][..]; 30];
    let results = texts(&["s"], "OCTET_LENGTH(REPEAT(s, 1000000))", &rows);
    assert!(results.iter().all(|result| *result == Ok(Value::BigInt(10_000_000))), "{:?}", results[0]);
    let constant = "x".repeat(100_000);
    let rows = vec![&["abc"][..]; 2_800];
    let results =
        texts(&["s"], &format!("OCTET_LENGTH(CASE WHEN s = 'abc' THEN '{constant}' ELSE s END)"), &rows);
    assert!(results.iter().all(|result| *result == Ok(Value::BigInt(100_000))), "{:?}", results[0]);
    // One row that is too much by itself.
    let rows = [&["abcdefghij"][..], &["a"]];
    let sum = vec!["OCTET_LENGTH(REPEAT(s, 1600000))"; 17].join(" + ");
    let results = texts(&["s"], &sum, &rows);
    assert_eq!(results[0], Err("the texts made of it have more than 256 MiB".to_owned()));
    assert_eq!(results[1], Ok(Value::BigInt(27_200_000)));
}

#[test]
fn a_pipeline_takes_long_texts_in_parts() {
    let script = |filter: &str, on_error: &str| {
        format!(
            "CREATE TABLE t (id BIGINT, s STRING, n AS OCTET_LENGTH(REPEAT(s, 1500000)))
             WITH ('topic' = 'in', 'format' = 'json', 'on-error' = '{on_error}');
             CREATE TABLE o (id BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT id, n FROM t WHERE {filter}"
        )
    };
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    let rows: Vec<String> = (0..20).map(|id| format!(r#"{{"id":{id},"s":"abcdefghij"}}"#)).collect();
    logs.produce("in", 0, &rows);
    run_bounded(&plan(&script("n > 1", "fail")), &mut logs, EpochLimits::default(), 0).unwrap();
    let expected: Vec<String> = (0..20).map(|id| format!(r#"{{"id":{id},"n":15000000}}"#)).collect();
    assert_eq!(logs.values("out"), expected);

    // A row that is too much by itself is its record's error, and the others are not.
    let filter = format!("id <> 7 OR {} > 1", vec!["OCTET_LENGTH(REPEAT(s, 1600000))"; 17].join(" + "));
    for (on_error, written) in [("skip", 19), ("fail", 7)] {
        let mut logs = MemoryLogs { progress: Vec::new(), ..logs.clone() };
        logs.partitions.get_mut(&logmill_stream::TopicPartition::new("out", 0)).unwrap().clear();
        let run = run_bounded(&plan(&script(&filter, on_error)), &mut logs, EpochLimits::default(), 0);
        assert_eq!(logs.values("out").len(), written, "{on_error}: {run:?}");
        if let Err(error) = run {
            assert_eq!(on_error, "fail");
            let text = format!("{error:?}");
            assert!(text.contains("offset: 7") && text.contains("more than 256 MiB"), "{text}");
        }
    }
}

#[test]
fn a_failing_expression_is_named_in_brief() {
    let script = format!(
        "CREATE TABLE t (a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (a BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT CAST('{}' AS BIGINT) FROM t",
        "é".repeat(10_000)
    );
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    logs.produce("in", 0, &[r#"{"a":1}"#.to_owned()]);
    let error = run_bounded(&plan(&script), &mut logs, EpochLimits::default(), 0).unwrap_err().to_string();
    assert!(error.contains("CAST('éé") && error.contains('…') && error.len() < 600, "{error}");
}

/// Puts an expression inside of another.
type Level<'a> = &'a dyn Fn(&str) -> String;

/// What an expression reads twice is in the plan once, however deep such expressions nest.
#[test]
fn operands_that_are_read_twice_do_not_double() {
    let nested =
        |level: Level<'_>, levels: usize| (0..levels).fold("a + 0".to_owned(), |inner, _| level(&inner));
    let forms: [(&str, Level<'_>); 6] = [
        ("BETWEEN", &|x| format!("IF(({x}) BETWEEN 0 AND 5, 7, a)")),
        ("BETWEEN SYMMETRIC", &|x| format!("IF(({x}) BETWEEN SYMMETRIC 5 AND 0, 7, a)")),
        ("its bounds", &|x| format!("IF(a NOT BETWEEN SYMMETRIC ({x}) AND ({x}), a, 3)")),
        ("IN", &|x| format!("IF(({x}) IN (1, 2, 3), 7, a)")),
        ("CASE", &|x| format!("CASE ({x}) WHEN 1 THEN 7 WHEN 2 THEN 7 WHEN 3 THEN 7 ELSE a END")),
        ("INTERVAL", &|x| {
            format!(
                "TIMESTAMPDIFF(DAY, TIMESTAMP '2013-01-01', TIMESTAMP '2013-01-01' + ({x}) * INTERVAL '1 month 1 day')"
            )
        }),
    ];
    for (name, level) in forms {
        // Both bounds are written out, which doubles the text by itself.
        let levels = match name {
            "its bounds" => 5,
            "INTERVAL" => 6,
            _ => 12,
        };
        let expression = nested(level, levels);
        let script = format!(
            "CREATE TABLE t (a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT {expression} FROM t"
        );
        let explained = plan(&script).explain();
        assert!(explained.len() < 8 * expression.len() + 1_000, "{name}: {} bytes", explained.len());
        let scalar = Scalar::compile(&[("a", DataType::BigInt)], &expression).unwrap();
        let [result] = &scalar.evaluate(&[vec![Value::BigInt(3)]], 0)[..] else { panic!("one row") };
        match name {
            "INTERVAL" => assert!(matches!(result, Err(error) if error.contains("9999")), "{result:?}"),
            "its bounds" => assert_eq!(*result, Ok(Value::BigInt(3)), "{name}"),
            _ => assert!(matches!(result, Ok(Value::BigInt(3 | 7))), "{name}: {result:?}"),
        }
    }
}
