//! Queries over what a pipeline has written.

mod support;

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use logmill_stream::{DataType, QueryError, QueryRows, QueryTable, SqlError, TableQuery, Value};
use support::plan;

fn tables() -> Vec<QueryTable> {
    let script = "CREATE TABLE src (k STRING, n BIGINT, p DECIMAL(10, 2), ts TIMESTAMP(3)) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE now (k STRING, n BIGINT, p DECIMAL(10, 2), ts TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = 'now', 'format' = 'json', 'output' = 'upsert');
         CREATE TABLE log (k STRING, n BIGINT) WITH ('topic' = 'log', 'format' = 'csv');
         CREATE TABLE changes (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = 'changes', 'format' = 'json', 'output' = 'changes');
         INSERT INTO now SELECT k, n, p, ts FROM src; INSERT INTO log SELECT k, n FROM src;
         INSERT INTO changes SELECT k, COUNT(*) FROM src GROUP BY k UNBOUNDED";
    let sinks = plan(script).sinks;
    sinks.into_iter().map(|sink| QueryTable { pipeline: "p".to_owned(), sink }).collect()
}

/// A batch of keys and values at an offset.
fn batch(records: &[(Option<&str>, Option<&str>)], offset: i64) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, value) in records {
        builder.push(7, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
    }
    builder.build().stamped(offset, 0)
}

fn now() -> Vec<Batch> {
    let first = [
        (Some("a"), Some(r#"{"k": "a", "n": 1, "p": 1.50, "ts": "2020-01-01T00:00:00Z"}"#)),
        (Some("b"), Some(r#"{"k": "b", "n": 2, "p": 10.25, "ts": "2020-01-02T00:00:00Z"}"#)),
        (Some("c"), Some(r#"{"k": "c", "n": 3}"#)),
        (Some("d"), Some(r#"{"k": "d", "n": 2, "p": 9.00}"#)),
    ];
    let second = [
        (Some("a"), Some(r#"{"k": "a", "n": 5, "p": 2.50, "ts": "2020-01-03T00:00:00Z"}"#)),
        (Some("c"), None),
        (Some("e"), Some(r#"{"k": "e", "n": 9}"#)),
    ];
    vec![batch(&first, 0), batch(&second, 4)]
}

fn ask_until(sql: &str, batches: &[Batch], end: i64) -> Result<QueryRows, String> {
    let query = TableQuery::compile(sql, &tables()).map_err(|error| error.to_string())?;
    let mut rows = query.rows(1 << 20);
    for batch in batches {
        rows.take(&query, 0, batch, end).map_err(|error| error.to_string())?;
    }
    query.run(rows, 100, || true).map_err(|error| error.to_string())
}

/// The rows of the answer over `now`, as text.
#[track_caller]
fn answer(sql: &str) -> Vec<String> {
    let rows = ask_until(sql, &now(), i64::MAX).unwrap_or_else(|error| panic!("{sql}: {error}")).rows;
    let text = |row: Vec<Value>| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    rows.into_iter().map(text).collect()
}

fn refused(sql: &str) -> SqlError {
    TableQuery::compile(sql, &tables()).expect_err(sql)
}

#[test]
fn the_last_record_of_each_key_is_a_row() {
    let found = ask_until("SELECT * FROM now ORDER BY k;", &now(), i64::MAX).unwrap();
    let columns: Vec<(&str, DataType)> =
        found.columns.iter().map(|(name, data_type)| (name.as_str(), *data_type)).collect();
    let decimal = DataType::Decimal { precision: 10, scale: 2 };
    let expected =
        [("k", DataType::String), ("n", DataType::BigInt), ("p", decimal), ("ts", DataType::Timestamp)];
    assert_eq!(columns, expected);
    assert_eq!(found.scanned, 4);
    let found: Vec<String> = answer("SELECT * FROM now ORDER BY k");
    let expected = [
        "'a' 5 2.50 TIMESTAMP '2020-01-03T00:00:00Z'",
        "'b' 2 10.25 TIMESTAMP '2020-01-02T00:00:00Z'",
        "'d' 2 9.00 NULL",
        "'e' 9 NULL NULL",
    ];
    assert_eq!(found, expected);
    // As it was at an earlier end.
    let before = ask_until("SELECT k, n FROM now WHERE k IN ('a', 'c') ORDER BY k", &now(), 4).unwrap();
    let text = |value: &str| Value::String(value.to_owned());
    assert_eq!(before.rows, [[text("a"), Value::BigInt(1)], [text("c"), Value::BigInt(3)]]);
}

#[test]
fn rows_are_filtered_ordered_and_limited() {
    assert_eq!(answer("SELECT n FROM now WHERE k = 'b'"), ["2"]);
    assert_eq!(answer("SELECT n FROM now WHERE k = 'c'"), [""; 0]);
    assert_eq!(answer("SELECT k FROM now ORDER BY p DESC"), ["'b'", "'d'", "'a'", "'e'"]);
    assert_eq!(answer("SELECT k FROM now ORDER BY p DESC NULLS FIRST"), ["'e'", "'b'", "'d'", "'a'"]);
    assert_eq!(
        answer("SELECT k, n * 2 AS m FROM now ORDER BY m DESC, 1 LIMIT 2 OFFSET 1"),
        ["'a' 10", "'b' 4"]
    );
    assert_eq!(answer("SELECT k FROM now ORDER BY n % 3, k DESC"), ["'e'", "'d'", "'b'", "'a'"]);
    assert_eq!(answer("SELECT DISTINCT n FROM now ORDER BY n"), ["2", "5", "9"]);
    assert_eq!(answer("SELECT k FROM now LIMIT 0"), [""; 0]);
}

#[test]
fn rows_are_aggregated() {
    assert_eq!(answer("SELECT COUNT(*), SUM(n), MAX(k) FROM now"), ["4 18 'e'"]);
    assert_eq!(
        answer("SELECT n, COUNT(*) AS c FROM now GROUP BY n ORDER BY c DESC, n"),
        ["2 2", "5 1", "9 1"]
    );
    // The key need not be selected.
    assert_eq!(answer("SELECT COUNT(*) FROM now GROUP BY n ORDER BY MAX(k) DESC"), ["1", "2", "1"]);
    assert_eq!(answer("SELECT n FROM now GROUP BY n HAVING COUNT(*) > 1"), ["2"]);
    assert_eq!(answer("WITH big AS (SELECT * FROM now WHERE n > 2) SELECT MIN(n) FROM big"), ["5"]);
    assert_eq!(
        answer("SELECT AVG(c) FROM (SELECT n, COUNT(*) AS c FROM now WHERE n < 9 GROUP BY n) AS g"),
        ["1.5"]
    );
}

#[test]
fn all_records_of_an_append_table_are_rows() {
    let rows = [(Some("a"), Some("a,1")), (Some("a"), Some("a,2")), (None, Some("b,3")), (Some("a"), None)];
    let found = ask_until("SELECT k, n FROM log ORDER BY n DESC", &[batch(&rows, 0)], i64::MAX).unwrap();
    assert_eq!(found.rows.len(), 3);
    assert_eq!(found.rows[0], [Value::String("b".to_owned()), Value::BigInt(3)]);
}

#[test]
fn many_rows_are_the_same_as_few() {
    let values: Vec<String> = (0..20_000).map(|n| format!(r#"{{"k": "{}", "n": {n}}}"#, n % 7)).collect();
    let keys: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let rows: Vec<(Option<&str>, Option<&str>)> =
        keys.iter().zip(&values).map(|(key, value)| (Some(key.as_str()), Some(value.as_str()))).collect();
    let query =
        TableQuery::compile("SELECT k, COUNT(*), SUM(n) FROM now GROUP BY k ORDER BY k", &tables()).unwrap();
    let mut table = query.rows(64 << 20);
    table.take(&query, 0, &batch(&rows, 0), i64::MAX).unwrap();
    let mut asked = 0;
    let found = query.run(table, 100, || {
        asked += 1;
        true
    });
    let found = found.unwrap();
    assert!(asked > 2, "the time is looked at more than once: {asked}");
    assert_eq!(found.rows.len(), 7);
    let expected: i64 = (0..20_000).filter(|n| n % 7 == 3).sum();
    assert_eq!(found.rows[3][2], Value::BigInt(expected));
}

#[test]
fn memory_time_and_results_are_bounded() {
    let query = TableQuery::compile("SELECT * FROM now", &tables()).unwrap();
    let mut rows = query.rows(300);
    let taken = rows.take(&query, 0, &now()[0], i64::MAX).unwrap_err();
    assert!(matches!(taken, QueryError::TooManyRows { .. }), "{taken}");
    let rows = || {
        let mut rows = query.rows(1 << 20);
        rows.take(&query, 0, &now()[0], i64::MAX).unwrap();
        rows
    };
    assert!(matches!(query.run(rows(), 3, || true), Err(QueryError::TooManyResults { rows: 4, .. })));
    assert!(matches!(query.run(rows(), 100, || false), Err(QueryError::TimeOver)));
    let failing = ask_until("SELECT 1 / (n - 2) FROM now", &now(), i64::MAX).unwrap_err();
    assert!(failing.contains("division by zero"), "{failing}");
}

#[test]
fn a_query_that_is_wrong_says_where_and_what_to_write() {
    let error = refused("SELECT x\nFROM noww");
    assert_eq!((error.line, error.column), (2, 6));
    assert_eq!(
        (error.message.as_str(), error.help.as_str()),
        ("no pipeline writes a table `noww`", "did you mean `now`?")
    );
    let error = refused("SELECT kk FROM now");
    assert_eq!((error.line, error.column, error.help.as_str()), (1, 8, "did you mean `k`?"));
    assert!(refused("SELECT * FROM changes").help.contains("'upsert' or 'append'"));
    assert!(refused("SELECT a.k FROM now a JOIN now b ON a.k = b.k").message.contains("one table"));
    assert!(refused("SELECT a.k FROM now a JOIN log b ON a.k = b.k").message.contains("one table"));
    assert!(refused("SELECT k FROM now ORDER BY 3").message.contains("no column of the result"));
    assert!(refused("SELECT k FROM now LIMIT k").message.contains("not a whole number"));
    assert!(refused("INSERT INTO now SELECT * FROM now").help.contains("SELECT"));
    assert!(refused("SELECT k FROM now; SELECT k FROM now").message.contains("not expected"));
    let mut twice = tables();
    twice.extend(tables());
    let error = TableQuery::compile("SELECT k FROM now", &twice).unwrap_err();
    assert!(error.message.contains("several pipelines") && error.help.contains("--pipeline"), "{error}");
}
