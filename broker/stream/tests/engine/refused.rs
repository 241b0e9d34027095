//! Mistakes in queries, each kind once: where the error points, what it says, what it advises.
//!
//! `»` stands before the place the error must point at.

use logmill_stream::compile;

const TABLES: &str = "\
CREATE TABLE t (a BIGINT, b DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH ('topic' = 'in', 'format' = 'json');
CREATE TABLE out (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
";

/// All that are not as they should be are shown together.
#[track_caller]
fn queries_are_refused(cases: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(marked, message, help)| {
            let whole = format!("{TABLES}{MORE_TABLES}{marked}");
            let before = whole.split('»').next().unwrap_or_default();
            let place = (
                before.matches('\n').count() as u64 + 1,
                before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1,
            );
            let script = whole.replace('»', "");
            match compile(&script) {
                Ok(_) => Some(format!("{marked}\n  is no mistake")),
                Err(error)
                    if (error.line, error.column) == place
                        && error.message.contains(message)
                        && error.help.contains(help) =>
                {
                    None
                }
                Err(error) => Some(format!("{marked}\n{}\n  {error}", error.excerpt(&script))),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

const MORE_TABLES: &str = "\
CREATE TABLE keyed (id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('topic' = 'keyed', 'format' = 'json');
CREATE TABLE needs (x BIGINT NOT NULL, y BIGINT) WITH ('topic' = 'needs', 'format' = 'json');
";
const HOUR: &str = "TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))";

#[test]
fn windows_and_groups_that_do_not_go_together() {
    let hour = |query: &str| query.replace("{hour}", HOUR);
    let cases = [
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE)) GROUP BY »window_start",
            "`window_start` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM (SELECT window_start, window_end, a FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '3' MINUTE))) GROUP BY a, »window_start",
            "`window_start` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM (SELECT a, window_start, window_end FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY a, window_start, window_end) GROUP BY »window_end",
            "`window_end` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM (SELECT window_start, window_end FROM {hour} UNION ALL SELECT window_start, window_end FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) GROUP BY »window_start",
            "`window_start` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM (SELECT window_start, window_end FROM {hour} UNION ALL SELECT window_start, window_end FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' HOUR))) GROUP BY »window_end",
            "`window_end` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM (SELECT window_start, window_end FROM {hour} UNION ALL SELECT window_start, window_end FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))) GROUP BY »window_end",
            "`window_end` alone does not say which window",
            "GROUP BY window_start, window_end",
        ),
        (
            "CREATE VIEW hours AS SELECT window_start, window_end, window_time FROM {hour} GROUP BY window_start, window_end; INSERT INTO out SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE hours, DESCRIPTOR(window_time), INTERVAL '1' DAY)) GROUP BY »window_start, window_end",
            "`window_start` is a column of several tables",
            "select it as `window_start AS ...` there",
        ),
        (
            "INSERT INTO out SELECT STRING_AGG(s, »s) FROM {hour} GROUP BY window_start",
            "not a constant text",
            "', '",
        ),
        (
            "INSERT INTO out SELECT APPROX_PERCENTILE(a, »2) FROM {hour} GROUP BY window_start",
            "from 0 to 1",
            "0.95",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE »keyed, DESCRIPTOR(id), INTERVAL '1' HOUR)) GROUP BY window_start",
            "taken back at times",
            "FLOOR",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(»TUMBLE(TABLE t, DESCRIPTOR(ts))) GROUP BY window_start",
            "three arguments",
            "TUMBLE",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), »SIZ => INTERVAL '1' HOUR)) GROUP BY window_start",
            "no argument `SIZ`",
            "DATA, TIMECOL, SIZE",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(TUMBLE(»5, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start",
            "not a table",
            "TUMBLE",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL »'1' MILLISECOND, INTERVAL '1' DAY)) GROUP BY window_start",
            "more than 100000 slices",
            "multiple",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY »nobody, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start",
            "no column `nobody`",
            "known are",
        ),
        (
            "INSERT INTO out »SELECT a FROM TABLE(SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "only when they are over",
            "GROUP BY window_start",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »window_start, window_end",
            "the sessions are those of each `a`, and the groups are by the window alone",
            "leave PARTITION BY out, or GROUP BY window_start, window_end, a",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »window_start, window_end, a",
            "the sessions are those of all rows, and the groups are by `a`",
            "PARTITION BY a, DESCRIPTOR(<time>), <gap>), or GROUP BY window_start, window_end",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »s, window_start, window_end",
            "the sessions are those of each `a`, and the groups are by `s`",
            "PARTITION BY s, DESCRIPTOR(<time>), <gap>), or GROUP BY window_start, window_end, a",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »window_start, window_end, a + 1",
            "the groups are by",
            "PARTITION BY a",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) WHERE window_start > ts GROUP BY »window_start, window_end, a",
            "reads the bounds of sessions",
            "HAVING",
        ),
        (
            "INSERT INTO out SELECT COUNT(DISTINCT window_end) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »window_start, window_end, a",
            "reads the bounds of sessions",
            "FROM (SELECT window_start",
        ),
        (
            "INSERT INTO out »SELECT COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY a UNBOUNDED",
            "only when they are over",
            "GROUP BY window_start",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL »'1' HOUR, INTERVAL '10' MINUTE)) GROUP BY window_start",
            "further apart than they are long",
            "write the slide first",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM TABLE(SESSION(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY »window_start, window_end EMIT ON CLOSE ALLOWING LATENESS INTERVAL '1' HOUR",
            "do not change",
            "ALLOWING LATENESS",
        ),
        (
            "INSERT INTO out SELECT a FROM t EMIT ON CLOSE »EMIT CHANGES",
            "EMIT does not stand here",
            "write it once",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM {hour} GROUP BY window_start EMIT »SOMETIMES",
            "not what EMIT can do",
            "EMIT CHANGES",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM {hour} GROUP BY window_start EMIT ON CLOSE »ALLOWING 5",
            "LATENESS is missing",
            "ALLOWING LATENESS",
        ),
        (
            "INSERT INTO out SELECT COUNT(*) FROM {hour} GROUP BY window_start EMIT ON CLOSE ALLOWING LATENESS »5",
            "not an INTERVAL",
            "INTERVAL '1' HOUR",
        ),
        ("CREATE VIEW v AS SELECT a FROM t »EMIT CHANGES", "EMIT does not stand here", "INSERT INTO"),
    ];
    let cases: Vec<(String, &str, &str)> =
        cases.iter().map(|(query, message, help)| (hour(query), *message, *help)).collect();
    let cases: Vec<(&str, &str, &str)> =
        cases.iter().map(|(query, message, help)| (query.as_str(), *message, *help)).collect();
    queries_are_refused(&cases);
}

#[test]
fn forms_of_queries_that_there_are_not() {
    queries_are_refused(&[
        ("INSERT INTO out SELECT »t.a.b FROM t", "too many parts", "JSON_VALUE"),
        ("INSERT INTO out SELECT a FROM »UNNEST(ARRAY[1])", "is not", "write"),
        ("INSERT INTO out SELECT a FROM »db.t", "more than one part", "plain names"),
        ("INSERT INTO out SELECT x FROM t AS »u (x)", "new names for columns", "AS <name>"),
        ("INSERT INTO out SELECT a FROM (SELECT »aa FROM t)", "no column `aa`", "did you mean `a`?"),
        (
            "INSERT INTO out WITH »w (x, y) AS (SELECT a FROM t) SELECT x FROM w",
            "2 names for 1 columns",
            "or none",
        ),
        (
            "CREATE VIEW v (»x, y) AS SELECT a FROM t; INSERT INTO out SELECT x FROM v",
            "2 names for 1 columns",
            "or none",
        ),
        ("INSERT INTO out SELECT »u.* FROM t", "no table `u` in FROM", "`*` for all"),
        (
            "INSERT INTO out SELECT a FROM t WHERE ok QUALIFY »a > 1",
            "QUALIFY is not supported",
            "around the query",
        ),
        (
            "INSERT INTO out »SELECT SUM(a) OVER w FROM t WINDOW w AS (ORDER BY ts)",
            "WINDOW is not supported",
            "after OVER",
        ),
        ("INSERT INTO out »SELECT TOP 1 a FROM t", "this form of SELECT", "SELECT ... FROM"),
        ("INSERT INTO out »SELECT DISTINCT ON (a) a FROM t", "DISTINCT ON", "ROW_NUMBER()"),
        ("»INSERT INTO out SELECT a FROM t FOR UPDATE", "what follows the query", "end the query"),
        ("INSERT INTO »needs (y) SELECT a FROM t", "is NOT NULL, and no value", "name it among"),
        ("INSERT INTO out SELECT a FROM t »1", "`1` is not expected here", "end the statement"),
        (
            "CREATE TABLE e (») WITH ('topic' = 'e', 'format' = 'json'); INSERT INTO out SELECT a FROM t",
            "",
            "",
        ),
        (
            "CREATE TABLE c (x BIGINT, »y AS x + 1) WITH ('topic' = 'c', 'format' = 'json'); INSERT INTO c SELECT a FROM t",
            "`y` is computed",
            "with its type",
        ),
    ]);
}

#[test]
fn calls_that_are_not_understood() {
    queries_are_refused(&[
        (
            "INSERT INTO out SELECT a FROM t WHERE TRIM(s», 'x', 'y') = s",
            "Expected: ), found: ,",
            "check what stands before it",
        ),
        ("INSERT INTO out SELECT a FROM t WHERE s -> »ok = s", "a member's name or a place", "json ->> 0"),
        (
            "INSERT INTO out SELECT a FROM t WHERE a IN (»)",
            "Expected: an expression",
            "check what stands before it",
        ),
        ("INSERT INTO out SELECT a FROM t WHERE s LIKE 'x' ESCAPE »'ab'", "not one character", "ESCAPE '!'"),
        ("INSERT INTO out SELECT a FROM t WHERE ts > ts - INTERVAL »'1'", "no unit", "SECOND, MINUTE"),
        (
            "INSERT INTO out SELECT a FROM t WHERE ts > ts - INTERVAL »'1-2' YEAR TO MONTH",
            "one unit",
            "SECOND, MINUTE",
        ),
        (
            "INSERT INTO out SELECT a FROM t WHERE TO_TIMESTAMP_LTZ(a, »6) = ts",
            "neither 0",
            "milliseconds, 3",
        ),
        ("INSERT INTO out SELECT a FROM t WHERE DATE_TRUNC(»5, ts) = ts", "not a unit of time", "'hour'"),
        (
            "INSERT INTO out SELECT a FROM t WHERE TO_TIMESTAMP(»ok) = ts",
            "a number of seconds is needed",
            "TO_TIMESTAMP('",
        ),
        (
            "INSERT INTO out SELECT »ROW_NUMBER(a) OVER (ORDER BY ts) FROM t UNBOUNDED",
            "has no arguments",
            "ROW_NUMBER() OVER",
        ),
        (
            "INSERT INTO out SELECT »ROW_NUMBER() OVER (PARTITION BY a) FROM t UNBOUNDED",
            "without an order",
            "ORDER BY",
        ),
        (
            "INSERT INTO out SELECT »RANK() OVER (ORDER BY ts ROWS UNBOUNDED PRECEDING) FROM t UNBOUNDED",
            "has no frame",
            "leave out",
        ),
        (
            "INSERT INTO out SELECT »LAG(a) OVER (PARTITION BY s) FROM t UNBOUNDED",
            "without an order",
            "ORDER BY",
        ),
        (
            "INSERT INTO out SELECT LAG(a, »b) OVER (ORDER BY ts) FROM t UNBOUNDED",
            "not a whole number",
            "LAG(<column>, 1)",
        ),
        (
            "INSERT INTO out SELECT »UPPER(s) OVER (ORDER BY ts) FROM t UNBOUNDED",
            "has no OVER",
            "the aggregates",
        ),
        (
            "INSERT INTO out SELECT »SUM(a) OVER (ORDER BY ts GROUPS 1 PRECEDING) FROM t UNBOUNDED",
            "GROUPS is not supported",
            "",
        ),
        ("INSERT INTO out SELECT »SUM(a) OVER w FROM t", "a named window", "OVER"),
    ]);
}

#[test]
fn advice_is_of_the_mistake_that_was_made() {
    let cases = [
        (
            "CREATE TABLE e (x »ARRAY<STRING>, y BIGINT) WITH ('topic' = 'e', 'format' = 'json')",
            "type ARRAY is not supported",
            "JSON_VALUE",
        ),
        (
            "CREATE TABLE e (x BIGINT, y »STRING[]) WITH ('topic' = 'e', 'format' = 'json')",
            "type ARRAY is not supported",
            "JSON_VALUE",
        ),
        (
            "CREATE TABLE e (x »ROW<d INT>) WITH ('topic' = 'e', 'format' = 'json')",
            "type ROW is not supported",
            "`a.b` BIGINT",
        ),
        (
            "CREATE TABLE e (x »MAP<STRING, STRING>) WITH ('topic' = 'e', 'format' = 'json')",
            "type MAP is not supported",
            "`a.b` BIGINT",
        ),
        (
            "CREATE TABLE e (x »TIMESTAMP_LTZ(3)) WITH ('topic' = 'e', 'format' = 'json'); INSERT INTO out SELECT 1 FROM e",
            "TIMESTAMP_LTZ(3) is not supported",
            "TIMESTAMP(3)",
        ),
        ("CREATE FUNCTION f(a »BIGINT[]) RETURNS BIGINT", "type ARRAY is not supported", "JSON_VALUE"),
        ("INSERT INTO out SELECT a FROM t WHERE SUBSTRING(»s) = s", "SUBSTRING lacks", "SUBSTRING(<text>"),
        ("INSERT INTO out SELECT (»SELECT MAX(a) FROM t) FROM t", "inside an expression", "join its row"),
        (
            "INSERT INTO out SELECT a FROM t WHERE »a IN (SELECT id FROM keyed)",
            "inside a condition",
            "SELECT DISTINCT k",
        ),
        ("INSERT INTO out SELECT a FROM »och", "no table `och`", "known are: t, out, keyed, needs"),
        ("INSERT INTO out SELECT »x FROM t", "no column `x`", "known are: a, b, s, ok, ts"),
    ];
    queries_are_refused(&cases);
}

#[test]
fn what_is_written_is_not_read() {
    let cases = [
        (
            "CREATE TABLE back (x BIGINT) WITH ('topic' = 'in', 'format' = 'json'); INSERT INTO »back SELECT a FROM t",
            "`back` writes topic `in`, which the script reads as `t`",
            "another topic",
        ),
        (
            "INSERT INTO out SELECT a FROM t; INSERT INTO »needs SELECT a, a FROM t; INSERT INTO out SELECT y FROM needs",
            "`needs` writes topic `needs`, which the script reads as `needs`",
            "another topic",
        ),
        (
            "CREATE TABLE »d (x BIGINT) WITH ('topic' = 'd', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'in');
             INSERT INTO out SELECT x FROM d; INSERT INTO out SELECT a FROM t",
            "`d` puts records aside in topic `in`, which the script reads as `t`",
            "another topic",
        ),
    ];
    queries_are_refused(&cases);
}

#[test]
fn a_group_has_256_aggregates_at_most() {
    let list = |aggregates: i64| (0..aggregates).map(|add| format!("SUM(a + {add})")).collect::<Vec<_>>();
    let query = |list: &[String]| {
        format!("INSERT INTO out SELECT GREATEST({}) FROM {HOUR} GROUP BY window_start", list.join(", "))
    };
    let most = query(&list(256));
    // One that is there already is no other one.
    for query in [&most, &most.replace(" FROM", " + SUM(a + 7) FROM")] {
        if let Err(error) = compile(&format!("{TABLES}{query}")) {
            panic!("{error}");
        }
    }
    let more = query(&list(257)).replace("SUM(a + 256)", "»SUM(a + 256)");
    let with_having = format!("{most} HAVING COUNT(*) > 1").replace("SUM(a + 255)", "»SUM(a + 255)");
    for marked in [more, with_having] {
        queries_are_refused(&[(&marked, "one aggregate more than the 256", "another query")]);
    }
}

#[test]
fn one_bound_is_enough_where_windows_are_all_of_one_length() {
    let minutes = "TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    let hops = "TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))";
    let half_past = "TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '30' MINUTE))";
    let bounds = "SELECT window_start, window_end, window_time AS t";
    let keyed = "CREATE TABLE o (at TIMESTAMP(3), n BIGINT, PRIMARY KEY (at) NOT ENFORCED)
                 WITH ('topic' = 'o', 'format' = 'json', 'output' = 'upsert');";
    let whole = |query: &str| format!("{TABLES}{keyed}{query}");
    for union in [
        format!("SELECT * FROM ({bounds} FROM {HOUR} UNION ALL {bounds} FROM {HOUR})"),
        // Wherever they begin.
        format!(
            "SELECT * FROM ({bounds} FROM {HOUR} UNION ALL {bounds} FROM {hops} UNION ALL {bounds} FROM {half_past})"
        ),
        // The windows that these were made of are gone.
        "SELECT * FROM TABLE(TUMBLE(TABLE minutes, DESCRIPTOR(t), INTERVAL '1' HOUR))".to_owned(),
    ] {
        let minutes = format!(
            "CREATE VIEW minutes AS SELECT window_start AS s, window_time AS t FROM {minutes} GROUP BY window_start, window_end;"
        );
        let query = format!(
            "{minutes} INSERT INTO o SELECT window_start, COUNT(*) FROM ({union}) GROUP BY window_start"
        );
        if let Err(error) = compile(&whole(&query)) {
            panic!("{error}\n{}", error.excerpt(&whole(&query)));
        }
    }
    let both = format!(
        "INSERT INTO o SELECT window_start, COUNT(*) FROM ({bounds} FROM {HOUR} UNION ALL {bounds} FROM {minutes}) GROUP BY window_start, window_end EMIT CHANGES"
    );
    let error = compile(&whole(&both)).expect_err("windows of two lengths begin together");
    assert!(error.message.contains("several rows of the query may have one primary key"), "{error}");
}

/// A compacted topic would keep one of them.
#[test]
fn rows_that_share_a_record_key_are_refused() {
    let table = |key: &str| {
        format!(
            "CREATE TABLE »shared (a BIGINT, s STRING, PRIMARY KEY (a, s) NOT ENFORCED)
             WITH ('topic' = 'shared', 'format' = 'json', 'output' = 'upsert', 'key.format' = 'json',
              'key.fields' = '{key}');
             INSERT INTO shared SELECT a, s FROM t"
        )
    };
    queries_are_refused(&[(
        &table("a"),
        "rows of `shared` with different primary keys may have one record key",
        "'key.fields' = 'a;s'",
    )]);
    // A record under another key would stay, and a group would take another's place.
    queries_are_refused(&[
        (
            "CREATE TABLE »wide (a BIGINT, s STRING, PRIMARY KEY (a) NOT ENFORCED)
             WITH ('topic' = 'wide', 'format' = 'json', 'output' = 'upsert', 'key.format' = 'json', 'key.fields' = 's;a');
             INSERT INTO wide SELECT a, MAX(s) FROM t GROUP BY a UNBOUNDED",
            "rows of `wide` may change their record key, of which `s` is a part",
            "'key.fields' = 'a'",
        ),
        (
            "CREATE TABLE »counts (a BIGINT, n BIGINT)
             WITH ('topic' = 'counts', 'format' = 'json', 'output' = 'upsert', 'key.format' = 'json', 'key.fields' = 'n');
             INSERT INTO counts SELECT a, COUNT(*) FROM t GROUP BY a UNBOUNDED",
            "rows of `counts` with different groups may have one record key",
            "'key.fields' = 'a'",
        ),
    ]);
    let whole = format!("{TABLES}{MORE_TABLES}{}", table("s;a").replace('»', ""));
    if let Err(error) = compile(&whole) {
        panic!("{error}");
    }
}
