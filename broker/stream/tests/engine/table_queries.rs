//! Queries over what a pipeline has written.

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use logmill_stream::{DataType, QueryError, QueryRows, QueryTable, SqlError, TableQuery, Value};

use crate::support::plan;

/// 2020-01-02 12:00:00, when the queries are asked.
const NOW: i64 = 1_577_966_400_000;

fn tables() -> Vec<QueryTable> {
    let script = "CREATE TABLE src (k STRING, n BIGINT, p DECIMAL(10, 2), ts TIMESTAMP(3)) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE now (k STRING, n BIGINT, p DECIMAL(10, 2), ts TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = 'now', 'format' = 'json', 'output' = 'upsert');
         CREATE TABLE log (k STRING, n BIGINT) WITH ('topic' = 'log', 'format' = 'csv');
         CREATE TABLE changes (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = 'changes', 'format' = 'json', 'output' = 'changes');
         CREATE TABLE back (k STRING, n BIGINT) WITH ('topic' = 'back', 'format' = 'json', 'output' = 'retract');
         CREATE TABLE whole (n BIGINT) WITH ('topic' = 'whole', 'format' = 'json', 'output' = 'complete');
         CREATE TABLE created (k STRING, n BIGINT) WITH ('topic' = 'created', 'format' = 'debezium-json');
         CREATE TABLE said (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'said', 'format' = 'debezium-json');
         INSERT INTO said SELECT k, COUNT(*) FROM src GROUP BY k UNBOUNDED;
         INSERT INTO back SELECT k, COUNT(*) FROM src GROUP BY k UNBOUNDED; INSERT INTO whole SELECT COUNT(*) FROM src UNBOUNDED;
         INSERT INTO created SELECT k, n FROM src;
         INSERT INTO now SELECT k, n, p, ts FROM src; INSERT INTO log SELECT k, n FROM src;
         INSERT INTO changes SELECT k, COUNT(*) FROM src GROUP BY k UNBOUNDED";
    QueryTable::all("p", &plan(script))
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
    query.run(rows, 100, NOW, || true).map_err(|error| error.to_string())
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

/// Of the record that is left of a key the row behind the change counts, whatever it replaced.
#[test]
fn changes_by_key_are_the_rows_that_they_leave() {
    let records = [
        (Some("a"), Some(r#"{"before":null,"after":{"k":"a","n":1},"op":"c"}"#)),
        (Some("a"), Some(r#"{"before":{"k":"a","n":1},"after":{"k":"a","n":2},"op":"u"}"#)),
        (Some("b"), Some(r#"{"before":null,"after":{"k":"b","n":1},"op":"c"}"#)),
        (Some("b"), Some(r#"{"before":{"k":"b","n":1},"after":null,"op":"d"}"#)),
        (Some("c"), Some(r#"{"before":{"k":"c","n":7},"after":{"k":"c","n":8},"op":"u"}"#)),
    ];
    let text = |value: &str| Value::String(value.to_owned());
    for (sql, expected) in [
        ("SELECT k, n FROM said ORDER BY k", &[("a", 2), ("c", 8)][..]),
        ("SELECT k, n FROM said WHERE k = 'c'", &[("c", 8)]),
        ("SELECT k, n FROM said WHERE k = 'b'", &[]),
    ] {
        let found = ask_until(sql, &[batch(&records, 0)], i64::MAX).unwrap();
        let rows: Vec<_> = expected.iter().map(|(k, n)| [text(k), Value::BigInt(*n)]).collect();
        assert_eq!(found.rows, rows, "{sql}");
    }
    let counted = ask_until("SELECT COUNT(*), SUM(n) FROM said", &[batch(&records, 0)], i64::MAX).unwrap();
    assert_eq!(counted.rows, [[Value::BigInt(2), Value::BigInt(10)]]);
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
    let found = query.run(table, 100, NOW, || {
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
    assert!(matches!(query.run(rows(), 3, NOW, || true), Err(QueryError::TooManyResults { rows: 4, .. })));
    assert!(matches!(query.run(rows(), 100, NOW, || false), Err(QueryError::TimeOver)));
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
    for (table, why) in
        [("changes", "which rows are gone"), ("back", "are changes"), ("whole", "are whole tables")]
    {
        let error = refused(&format!("SELECT COUNT(*)\nFROM {table}"));
        assert_eq!((error.line, error.column), (2, 6), "{error}");
        assert!(error.message.contains(why) && error.help.contains("'upsert' or 'append'"), "{error}");
    }
    assert!(refused("SELECT a.k FROM now a JOIN now b ON a.k = b.k").message.contains("one table"));
    assert!(refused("SELECT a.k FROM now a JOIN log b ON a.k = b.k").message.contains("one table"));
    assert!(refused("SELECT k FROM now ORDER BY 3").message.contains("no column of the result"));
    assert!(refused("SELECT k FROM now LIMIT k").message.contains("not a whole number"));
    for write in ["INSERT INTO now SELECT * FROM now", "DELETE FROM now", "UPDATE now SET n = 1"] {
        let error = refused(write);
        assert!(error.message.contains("changes none") && error.help.starts_with("write SELECT"), "{error}");
    }
    let none = TableQuery::compile("SELECT k FROM now", &[]).unwrap_err();
    assert_eq!(
        (&*none.message, &*none.help),
        ("no pipeline writes a table `now`", "there is none to choose from")
    );
    assert!(refused("SELECT k FROM now; SELECT k FROM now").message.contains("not expected"));
    let mut twice = tables();
    twice.extend(tables());
    let error = TableQuery::compile("SELECT k FROM now", &twice).unwrap_err();
    assert!(error.message.contains("several pipelines") && error.help.contains("--pipeline"), "{error}");
}

#[test]
fn a_query_knows_the_time_of_day() {
    assert_eq!(answer("SELECT k FROM now WHERE ts > NOW() - INTERVAL '1' DAY ORDER BY k"), ["'a'", "'b'"]);
    assert_eq!(answer("SELECT k FROM now WHERE ts > NOW()"), ["'a'"]);
    assert_eq!(
        answer("SELECT DISTINCT UNIX_TIMESTAMP(), CURRENT_DATE FROM now"),
        ["1577966400 DATE '2020-01-02'"]
    );
    // However many epochs it takes, it is one instant.
    let values: Vec<String> = (0..20_000).map(|n| format!("k,{n}")).collect();
    let rows: Vec<(Option<&str>, Option<&str>)> =
        values.iter().map(|value| (None, Some(value.as_str()))).collect();
    let query = TableQuery::compile("SELECT DISTINCT NOW() FROM log", &tables()).unwrap();
    let mut table = query.rows(64 << 20);
    table.take(&query, 0, &batch(&rows, 0), i64::MAX).unwrap();
    assert_eq!(query.run(table, 100, NOW, || true).unwrap().rows, [[Value::Timestamp(NOW)]]);
}

#[test]
fn a_group_of_all_rows_is_one_row_also_of_no_rows() {
    assert_eq!(answer("SELECT COUNT(*), COUNT(n), SUM(n), MAX(k) FROM now WHERE k = 'z'"), ["0 0 NULL NULL"]);
    assert_eq!(answer("SELECT COUNT(*) + 1 FROM now WHERE n > 100"), ["1"]);
    assert_eq!(
        answer("SELECT COUNT(DISTINCT n), COUNT(*) FILTER (WHERE n = 2), COUNT(*) FROM now"),
        ["3 2 4"]
    );
    assert_eq!(answer("SELECT COUNT(*) FROM now WHERE n > 100 HAVING COUNT(*) > 0"), [""; 0]);
    assert_eq!(answer("SELECT COUNT(*) FROM now WHERE n > 100 HAVING COUNT(*) = 0"), ["0"]);
    assert_eq!(answer("SELECT n FROM now WHERE k = 'z' GROUP BY n"), [""; 0]);
    assert_eq!(answer("SELECT c + 5 FROM (SELECT COUNT(*) AS c FROM now WHERE k = 'z') AS g"), ["5"]);
    assert_eq!(answer("SELECT SUM(c) FROM (SELECT COUNT(*) AS c FROM now WHERE k = 'z') AS g"), ["0"]);
    let nothing = ask_until("SELECT COUNT(*), MIN(k) FROM log", &[], i64::MAX).unwrap();
    assert_eq!((nothing.rows, nothing.scanned), (vec![vec![Value::BigInt(0), Value::Null]], 0));
}

#[test]
fn rows_that_change_on_the_way_need_nothing_that_tells_them_apart() {
    let first = "SELECT k, n FROM (SELECT k, n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY k DESC) AS r FROM now) AS q
                 WHERE r = 1 ORDER BY k";
    assert_eq!(answer(first), ["'a' 5", "'d' 2", "'e' 9"]);
    let numbered = "SELECT k, ROW_NUMBER() OVER (ORDER BY n DESC, k) AS r FROM now ORDER BY r LIMIT 2";
    assert_eq!(answer(numbered), ["'e' 1", "'a' 2"]);
    let both = "SELECT n, COUNT(*) AS c FROM now GROUP BY n UNION ALL SELECT n, n FROM now ORDER BY n, c";
    assert_eq!(answer(both), ["2 2", "2 2", "2 2", "5 1", "5 5", "9 1", "9 9"]);
    assert_eq!(
        answer("SELECT n FROM now UNION SELECT n - 3 FROM now ORDER BY n"),
        ["-1", "2", "5", "6", "9"]
    );
    assert!(refused("SELECT k FROM now UNION ALL SELECT k FROM log").message.contains("one table"));
}

#[test]
fn a_table_of_changes_that_only_adds_rows_is_one() {
    let rows = [
        (None, Some(r#"{"before": null, "after": {"k": "a", "n": 1}, "op": "c"}"#)),
        (None, Some(r#"{"before": null, "after": {"k": "b", "n": 2}, "op": "c"}"#)),
    ];
    let found = ask_until("SELECT n FROM created WHERE k = 'b'", &[batch(&rows, 0)], i64::MAX).unwrap();
    assert_eq!(found.rows, [[Value::BigInt(2)]]);
}

/// The keys that a query over the table `t` looks up, if it does.
fn looked_up(columns: &str, options: &str, condition: &str) -> Option<Vec<String>> {
    let script = format!(
        "CREATE TABLE src (a BIGINT, b STRING, c TIMESTAMP(3), d DECIMAL(10, 2), f DOUBLE, v BIGINT)
         WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE t (v BIGINT, a BIGINT, b STRING, c TIMESTAMP(3), d DECIMAL(10, 2), f DOUBLE, PRIMARY KEY ({columns}) NOT ENFORCED)
         WITH ('topic' = 't', 'format' = 'json'{options});
         INSERT INTO t SELECT v, a, b, c, d, f FROM src"
    );
    let tables = QueryTable::all("p", &plan(&script));
    let query = TableQuery::compile(&format!("SELECT v FROM t WHERE {condition}"), &tables).unwrap();
    let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    Some(query.look_up()?.keys().map(text).collect())
}

#[test]
fn a_condition_that_says_the_whole_key_says_which_records_matter() {
    let upsert = ", 'output' = 'upsert'";
    let of = |columns: &str, condition: &str| looked_up(columns, upsert, condition);
    let keys = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
    assert_eq!(of("a", "a = 7"), keys(&["7"]));
    assert_eq!(of("a", "v > 1 AND (7 = a) AND f < 2"), keys(&["7"]));
    assert_eq!(of("a", "a IN (7, 8, NULL)"), keys(&["7", "8"]));
    assert_eq!(of("a", "a = 7 OR a = 9"), keys(&["7", "9"]));
    assert_eq!(of("a", "a = 7 AND a = 9"), keys(&[]));
    assert_eq!(of("c", "c = TIMESTAMP '2024-01-31 10:00:00'"), keys(&["2024-01-31T10:00:00Z"]));
    let both = [r#"{"a":1,"b":"x"}"#, r#"{"a":1,"b":"y"}"#];
    assert_eq!(of("a, b", "b IN ('x', 'y') AND a = 1"), keys(&both));
    assert_eq!(of("f", "f = 0.5"), keys(&["0.5"]));
    let composed =
        looked_up("a", ", 'output' = 'upsert', 'key.format' = 'json', 'key.fields' = 'a'", "a = 1");
    assert_eq!(composed, keys(&[r#"{"a":1}"#]));
    // These are about other rows, too, or about rows that are not written alike.
    for (columns, condition) in [
        ("a", "a > 7"),
        ("a", "a = 7 OR v = 1"),
        ("a", "a + 1 = 7"),
        ("a", "a = v"),
        ("a", "v = 7"),
        ("a", "NOT a = 7"),
        ("a, b", "a = 1"),
        ("a, b", "a = 1 OR b = 'x'"),
        ("f", "f = 0.0"),
    ] {
        assert_eq!(of(columns, condition), None, "{condition}");
    }
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    assert_eq!(of("a", &format!("a IN ({})", many.join(", "))), None);
    assert_eq!(looked_up("a", ", 'output' = 'append'", "a = 7"), None, "each record is a row");
}

#[test]
fn only_records_of_the_keys_take_room() {
    let query = TableQuery::compile("SELECT n FROM now WHERE k IN ('b', 'c', 'z')", &tables()).unwrap();
    // All rows of the table take more.
    let mut rows = query.rows(500);
    for batch in &now() {
        rows.take(&query, 0, batch, i64::MAX).unwrap();
    }
    let found = query.run(rows, 100, NOW, || true).unwrap();
    assert_eq!((found.rows, found.scanned), (vec![vec![Value::BigInt(2)]], 1));
    let mut rows = query.rows(500);
    let taken = [0, 1, 9].map(|offset| rows.take_one(&query, 0, &now()[0], offset).unwrap());
    assert_eq!(taken, [false, true, false]);
}

/// Rows `k0,0`, `k1,1` and so on of the table `log`, of which all may take so many bytes; what a query makes of them, and how
/// often it looked at the time.
fn of_many(sql: &str, rows: usize, max_bytes: usize) -> (Result<Vec<Vec<Value>>, QueryError>, u32) {
    let query = TableQuery::compile(sql, &tables()).unwrap();
    let values: Vec<String> = (0..rows).map(|n| format!("k{n},{n}")).collect();
    let records: Vec<(Option<&str>, Option<&str>)> =
        values.iter().map(|value| (None, Some(value.as_str()))).collect();
    let mut table = query.rows(max_bytes);
    table.take(&query, 0, &batch(&records, 0), i64::MAX).unwrap();
    let mut asked = 0;
    let found = query.run(table, 100, NOW, || {
        asked += 1;
        true
    });
    (found.map(|found| found.rows), asked)
}

#[test]
fn what_a_query_makes_of_its_rows_has_a_bound() {
    let wide = "SELECT RPAD(k, 3000, 'x'), n FROM log";
    let grouped = "SELECT RPAD(k, 3000, 'x') AS w, COUNT(*) FROM log GROUP BY RPAD(k, 3000, 'x')";
    for sql in
        [wide, grouped, &format!("{wide} ORDER BY n LIMIT 60"), &format!("{grouped} ORDER BY w LIMIT 1")]
    {
        let (found, _) = of_many(sql, 400, 200_000);
        let error = found.expect_err(sql);
        assert!(matches!(error, QueryError::TooLarge { .. }), "{sql}: {error}");
        assert!(error.to_string().contains("select fewer columns"), "{error}");
    }
    // Rows that LIMIT leaves out take none of it, wherever they stand.
    let widths = |sql: &str| -> Vec<(usize, Value)> {
        let (found, _) = of_many(sql, 400, 200_000);
        let row = |row: Vec<Value>| match &row[..] {
            [Value::String(wide), n] => (wide.len(), n.clone()),
            other => panic!("{other:?}"),
        };
        found.unwrap_or_else(|error| panic!("{sql}: {error}")).into_iter().map(row).collect()
    };
    let expected = |ns: &[i64]| -> Vec<_> { ns.iter().map(|n| (3000, Value::BigInt(*n))).collect() };
    assert_eq!(widths(&format!("{wide} LIMIT 3 OFFSET 9")), expected(&[9, 10, 11]));
    assert_eq!(widths(&format!("{wide} ORDER BY n DESC LIMIT 2 OFFSET 1")), expected(&[398, 397]));
    assert_eq!(widths(&format!("{wide} ORDER BY n % 2 DESC LIMIT 3")), expected(&[1, 3, 5]));
}

#[test]
fn what_a_query_keeps_has_a_bound() {
    // The answer is one number, for which every group is kept.
    for sql in [
        "SELECT COUNT(*) FROM (SELECT RPAD(k, 3000, 'x') AS w, COUNT(*) AS c FROM log GROUP BY RPAD(k, 3000, 'x'))",
        "SELECT COUNT(DISTINCT RPAD(k, 3000, 'x')) FROM log",
    ] {
        let (found, asked) = of_many(sql, 20_000, 16 << 20);
        assert!(
            matches!(found, Err(QueryError::TooLarge { max_bytes }) if max_bytes == 16 << 20),
            "{sql}: {found:?}"
        );
        assert!(asked < 12, "it is not read to the end: {asked}");
    }
}

#[test]
fn rows_that_are_taken_back_make_room() {
    // Each epoch gives all groups anew, and each time they take more than half of the room.
    let sql = "SELECT n % 1000 AS g, RPAD(MAX(k), 500, 'x'), COUNT(*) AS c FROM log GROUP BY n % 1000 ORDER BY g LIMIT 2";
    let (found, _) = of_many(sql, 20_000, 3_600_000);
    let rows: Vec<_> = found.unwrap().into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    let expected = [0, 1].map(|g| (Value::BigInt(g), Value::BigInt(20)));
    assert_eq!(rows, expected);
}

#[test]
fn a_query_ends_with_the_rows_that_it_needs() {
    let numbers = |numbers: &[i64]| numbers.iter().map(|n| vec![Value::BigInt(*n)]).collect::<Vec<_>>();
    let of = |sql: &str| {
        let (found, asked) = of_many(sql, 20_000, 16 << 20);
        (found.unwrap_or_else(|error| panic!("{sql}: {error}")), asked)
    };
    assert_eq!(of("SELECT n FROM log LIMIT 3"), (numbers(&[0, 1, 2]), 1));
    let (found, asked) = of("SELECT n FROM log LIMIT 2 OFFSET 10000");
    assert_eq!(found, numbers(&[10_000, 10_001]));
    assert!((5..15).contains(&asked), "{asked}");
    assert_eq!(of("SELECT n FROM log LIMIT 0"), (Vec::new(), 0));
    let (all, asked) = of("SELECT n FROM log ORDER BY n DESC LIMIT 3 OFFSET 1");
    assert_eq!(all, numbers(&[19_998, 19_997, 19_996]));
    assert!(asked > 15, "each may be the first: {asked}");
    let (found, asked) = of_many("SELECT n FROM log", 20_000, 16 << 20);
    assert!(matches!(found, Err(QueryError::TooManyResults { rows: 101, max_rows: 100 })), "{found:?}");
    assert_eq!(asked, 1, "one more than may be asked for is too many");
}

const TWO_INPUTS: &str =
    "CREATE TABLE a (k STRING, n BIGINT) WITH ('topic' = 'a', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead');
     CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'b', 'format' = 'json');";

fn tables_of(script: &str) -> Vec<QueryTable> {
    QueryTable::all("p", &plan(&format!("{TWO_INPUTS} {script}")))
}

#[test]
fn a_table_that_several_inserts_write_is_one() {
    let both = tables_of(
        "CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'csv');
         INSERT INTO o SELECT k, n FROM a; INSERT INTO o SELECT k, n + 1 FROM b",
    );
    let query = TableQuery::compile("SELECT SUM(n) FROM o", &both).unwrap();
    let mut rows = query.rows(1 << 20);
    rows.take(&query, 0, &batch(&[(None, Some("x,1")), (None, Some("y,3"))], 0), i64::MAX).unwrap();
    assert_eq!(query.run(rows, 100, NOW, || true).unwrap().rows, [[Value::BigInt(4)]]);
    // A record with a key is a row beside another of its key, or in its place: nobody knows.
    let mixed = tables_of(
        "CREATE TABLE o (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, n FROM a; INSERT INTO o SELECT k, COUNT(*) FROM b GROUP BY k UNBOUNDED",
    );
    let error = TableQuery::compile("SELECT n FROM o", &mixed).unwrap_err();
    assert!(error.message.contains("'append', another with 'upsert'"), "{error}");
    assert!(error.help.contains("set 'output' = 'upsert'"), "{error}");
    // One that refuses refuses for all.
    let refusing = tables_of(
        "CREATE TABLE o (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'changes');
         INSERT INTO o SELECT k, n FROM a; INSERT INTO o SELECT k, COUNT(*) FROM b GROUP BY k UNBOUNDED",
    );
    let error = TableQuery::compile("SELECT n FROM o", &refusing).unwrap_err();
    assert!(error.message.contains("which rows are gone"), "{error}");
}

#[test]
fn a_table_whose_topic_has_other_records_too_is_refused() {
    let two = tables_of(
        "CREATE TABLE u (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         CREATE TABLE v (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         CREATE TABLE w (k STRING, n BIGINT) WITH ('topic' = 'dead', 'format' = 'json');
         CREATE TABLE own (k STRING, n BIGINT) WITH ('topic' = 'own', 'format' = 'json');
         INSERT INTO u SELECT k, n FROM a; INSERT INTO v SELECT k, n FROM b; INSERT INTO w SELECT k, n FROM b;
         INSERT INTO own SELECT k, n FROM a",
    );
    for (table, others) in [
        ("u", "rows of `v` beside those of `u`"),
        ("v", "rows of `u` beside"),
        ("w", "records that `a` puts aside"),
    ] {
        let error = TableQuery::compile(&format!("SELECT *\nFROM {table}"), &two).unwrap_err();
        assert_eq!((error.line, error.column), (2, 6), "{error}");
        assert!(error.message.contains(others), "{error}");
        assert!(error.help.contains("a topic of its own"), "{error}");
    }
    assert!(TableQuery::compile("SELECT * FROM own", &two).is_ok());
}

/// What somebody wrote before the topic was the pipeline's, or the pipeline with another script.
#[test]
fn a_record_that_is_no_row_is_named_with_what_to_do() {
    let asked = |sql: &str, partition: i32, batches: &[Batch]| {
        let query = TableQuery::compile(sql, &tables()).unwrap();
        let mut rows = query.rows(1 << 20);
        for batch in batches {
            rows.take(&query, partition, batch, i64::MAX)?;
        }
        query.run(rows, 100, NOW, || true)
    };
    let named = |sql: &str, partition: i32, batches: &[Batch]| {
        let error = asked(sql, partition, batches).expect_err(sql);
        assert!(matches!(error, QueryError::NoRow { .. }), "{error}");
        error.to_string()
    };
    let lines = [
        batch(&[(None, Some("a,1")), (None, Some("b,2"))], 40),
        batch(&[(None, Some("c,3")), (None, Some("d,x"))], 50),
    ];
    let error = named("SELECT SUM(n) FROM log", 3, &lines);
    for part in [
        "log-3, offset 51, is no row of `log`",
        "n",
        "logmill topic trim log --partition 3 --before 52",
        "new topic",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    // By key they are not in the order in which they were written.
    let by_key = [
        batch(&[(Some("z"), Some("{}")), (Some("m"), Some("nothing"))], 7),
        batch(&[(Some("a"), Some(r#"{"k": "a", "n": 1}"#))], 9),
    ];
    let error = named("SELECT k, n FROM now", 0, &by_key);
    assert!(error.contains("now-0, offset 8, is no row of `now`") && !error.contains("trim"), "{error}");
    let changes =
        [batch(&[(Some("a"), Some(r#"{"after": {"k": "a", "n": 1}}"#)), (Some("b"), Some("{"))], 5)];
    let error = named("SELECT k, n FROM said", 1, &changes);
    assert!(error.contains("said-1, offset 6"), "{error}");
    // A row that cannot be computed is a record, too.
    let error = asked("SELECT 1 / (n - 3) FROM log", 2, &lines[..1]).map(|found| found.rows);
    assert!(error.is_ok(), "{error:?}");
    let lines = [batch(&[(None, Some("b,2")), (None, Some("c,3"))], 60)];
    let error = asked("SELECT 1 / (n - 3) FROM log", 2, &lines).unwrap_err().to_string();
    assert!(error.contains("division by zero") && error.contains("log-2, offset 61"), "{error}");
}
