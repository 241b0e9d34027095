//! Decimals of different shapes, which are compared exactly, whatever shape could hold both.

use crate::support::cases::{lines, runs};
use crate::support::{MemoryLogs, plan, run_bounded};

const PAIRS: &str = "CREATE TABLE src (id BIGINT, a DECIMAL(38, 2), b DECIMAL(38, 18), ts TIMESTAMP(3),
      WATERMARK FOR ts AS ts) WITH ('topic' = 'in', 'format' = 'json');\n";

/// A number beyond 10^32, which a decimal of two digits after the point holds.
const LARGE: &str = "1000000000000000000000000000000000.00";

#[track_caller]
fn check(columns: &str, query: &str, input: &str, expected: &str) {
    let script = format!(
        "{PAIRS} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json'); INSERT INTO o {query};"
    );
    let plan = plan(&script);
    for (limits, crash_every, shards) in runs() {
        let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
        logs.create("in", 1);
        logs.create("out", 1);
        logs.produce("in", 0, &lines(input));
        run_bounded(&plan, &mut logs, limits, crash_every).unwrap_or_else(|error| panic!("{query}: {error}"));
        let mut found = logs.values("out");
        found.sort_unstable();
        assert_eq!(found, lines(expected), "{query}");
    }
}

fn pairs() -> String {
    [("1", "1.00", "1.0000001"), ("2", "1.00", "1.000"), ("3", LARGE, "5.0"), ("4", "-0.5", "-0.50000001")]
        .map(|(id, a, b)| format!(r#"{{"id":{id},"a":{a},"b":{b},"ts":1}}"#))
        .join("\n")
}

#[test]
fn no_digit_is_lost_where_two_are_compared() {
    check(
        "id BIGINT, e BOOLEAN, g BOOLEAN, l BOOLEAN, i BOOLEAN, bt BOOLEAN",
        "SELECT id, a = b, b > a, a <= b, b IN (a, 7), a BETWEEN b AND b FROM src",
        &pairs(),
        r#"{"id":1,"e":false,"g":true,"l":true,"i":false,"bt":false}
           {"id":2,"e":true,"g":false,"l":true,"i":true,"bt":true}
           {"id":3,"e":false,"g":false,"l":false,"i":false,"bt":false}
           {"id":4,"e":false,"g":false,"l":false,"i":false,"bt":false}"#,
    );
    check(
        "id BIGINT, n DECIMAL(38, 2), d BOOLEAN, c BIGINT",
        "SELECT id, NULLIF(a, b), a IS DISTINCT FROM b, CASE a WHEN b THEN 1 ELSE 0 END FROM src WHERE id < 3",
        &pairs(),
        r#"{"id":1,"n":1.00,"d":true,"c":0}
           {"id":2,"n":null,"d":false,"c":1}"#,
    );
}

#[test]
fn rows_meet_where_the_numbers_are_equal() {
    let expected = r#"{"l":1,"r":2}
                      {"l":2,"r":2}"#;
    check(
        "l BIGINT, r BIGINT",
        "SELECT l.id, r.id FROM src AS l JOIN src AS r
         ON l.a = r.b AND l.ts BETWEEN r.ts - INTERVAL '1' SECOND AND r.ts + INTERVAL '1' SECOND",
        &pairs(),
        expected,
    );
    check(
        "l BIGINT, r BIGINT",
        "SELECT l.id, r.id FROM (SELECT id, a AS n, ts FROM src) AS l JOIN (SELECT id, b AS n, ts FROM src) AS r
         USING (n) UNBOUNDED",
        &pairs(),
        expected,
    );
}
