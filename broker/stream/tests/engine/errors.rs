//! What the language does not have, and what is misspelt: where the error points, what it says, what it advises.
//!
//! `»` stands before the place the error must point at.

use logmill_stream::{Settings, compile, settings as settings_of};

const TABLES: &str = "\
CREATE TABLE t (a BIGINT, b DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH ('topic' = 'in', 'format' = 'json');
CREATE TABLE out (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
";

#[track_caller]
fn check(marked: &str, message: &str, help: &str) {
    let before = marked.split('»').next().unwrap();
    assert!(before.len() < marked.len(), "mark the place");
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() as u64 + 1;
    let script = marked.replace('»', "");
    let error = compile(&script).expect_err("the script has a mistake");
    assert_eq!((error.line, error.column), (line, column), "{error}\n{}", error.excerpt(&script));
    assert!(error.message.contains(message), "{error}");
    assert!(error.help.contains(help), "{error}");
}

/// A mistake in the query of a script whose tables are right.
#[track_caller]
fn query(marked: &str, message: &str, help: &str) {
    check(&format!("{TABLES}{marked}"), message, help);
}

const TUMBLE: &str =
    "FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, s";

#[test]
fn statements() {
    check("»", "writes nothing", "INSERT INTO");
    check("»SELECT 1", "`SELECT` does not begin a statement", "INSERT INTO <table> SELECT");
    check("»DROP TABLE t", "`DROP` does not begin", "CREATE TABLE");
    check("CREATE »INDEX v ON t", "CREATE INDEX is not supported", "CREATE TABLE <name>");
    check("»CREATE VIEW v AS SELECT 1", "writes nothing", "INSERT INTO");
    check("CREATE VIEW v »SELECT 1", "AS is missing", "CREATE VIEW <name> AS");
    query(
        "CREATE VIEW v AS SELECT a FROM v; INSERT INTO out SELECT a FROM v"
            .replace("FROM v;", "FROM »v;")
            .as_str(),
        "reads itself",
        "own query",
    );
    check("INSERT »t SELECT 1", "INTO is missing", "INSERT INTO <table>");
    check(&format!("»{TABLES}"), "writes nothing", "INSERT INTO");
    query("CREATE TABLE »t (a BIGINT)", "a second table named `t`", "another name");
    query("INSERT INTO »outt SELECT a FROM t", "no table `outt`", "did you mean `out`?");
    query("INSERT INTO out SELECT a FROM t »EMIT CHANGES", "no groups that change", "leave it out");
    check("CREATE TABLE t (a BIGINT) WITH ('topic' = »'in", "Unterminated string", "close every quote");
}

#[test]
fn settings() {
    let known = "known are: pipeline.name, pipeline.memory, pipeline.shards";
    check("SET »'colour' = 'red'", "no option 'colour' to set", known);
    check("SET »'pipeline.memry' = '1 GiB'", "no option 'pipeline.memry'", "did you mean `pipeline.memory`?");
    check("SET »'parallelism.default' = '4'", "no option", "SET 'pipeline.shards' = '4'");
    check("SET »'table.exec.state.ttl' = '1 d'", "no option", "STATE TTL INTERVAL '1' DAY");
    check("SET 'pipeline.shards' = »'many'", "`many` is no number of shards", "from 1 to 256");
    check("SET 'pipeline.shards' = »'257'", "no number of shards", "from 1 to 256");
    check("SET 'pipeline.memory' = »'2'", "no size with its unit", "'2 GiB'");
    check("SET 'pipeline.name' = »'a b'", "no name", "'report'");
    check("SET 'pipeline.shards' = '1';\nSET »'pipeline.shards' = '2'", "set twice", "once");
    check("SET »pipeline.shards = 4", "not a text in quotes", "both in quotes");
    check("SET 'pipeline.shards' »'4'", "`=` is missing", "both in quotes");
    query("»SET 'pipeline.shards' = '4'", "at the head of a script", "above the first CREATE");
    let head =
        "SET 'pipeline.shards' = '4'; set 'pipeline.memory' = '2 GiB';\nSET 'pipeline.name' = 'report';";
    let set = settings_of(&format!("{head}{TABLES}INSERT INTO out SELECT a FROM t")).unwrap();
    let all = Settings { name: Some("report".to_owned()), memory: Some(2 << 30), shards: Some(4) };
    assert_eq!(set, all);
    // The plan is the same whatever is set.
    let script = format!("{TABLES}INSERT INTO out SELECT a FROM t");
    assert_eq!(compile(&format!("{head}{script}")).unwrap(), compile(&script).unwrap());
}

#[test]
fn tables() {
    let table = |columns: &str, options: &str| {
        format!("CREATE TABLE src ({columns}) WITH ({options}); {TABLES} INSERT INTO out SELECT 1 FROM src")
    };
    let good = "'topic' = 'x', 'format' = 'json'";
    check(&table("a »DECIMAL(39, 2)", good), "type DECIMAL(39,2) is not supported", "1 to 38 digits");
    check(&table("a »DECIMAL(10, 11)", good), "DECIMAL(10,11)", "at most as many after the point");
    check(&table("a »STRING(20)", good), "STRING(20)", "no maximum length");
    check(&table("a »TIME", good), "type TIME is not supported", "write TIMESTAMP(3)");
    check(&table("a »TIMESTAMP(6)", good), "TIMESTAMP(6)", "write TIMESTAMP(3)");
    check(&table("a »UUID", good), "UUID", "the types are");
    check(&table("a BIGINT, »a STRING", good), "a second column `a`", "another name");
    let deep = format!("»`{}` BIGINT", ["a"; 33].join("."));
    check(&table(&deep, good), "leads through 33 objects, 32 are the most", "JSON_VALUE");
    let long = format!("»`{}` BIGINT", "a.".repeat(100_000));
    check(&table(&long, good), "has 200000 bytes, 1000 are the most", "shorter");
    check(&table("a BIGINT »DEFAULT 1", good), "`DEFAULT` is not supported", "[NOT NULL]");
    check(&table("a BIGINT, »a AS a + 1", good), "a second column `a`", "another name");
    check(&table("a BIGINT, b AS »c + 1", good), "no column `c`", "known are: a");
    check(&table("a BIGINT, PRIMARY KEY (»b) NOT ENFORCED", good), "no column `b`", "known are: a");
    check(&table("a BIGINT, PRIMARY KEY (a)»", good), "NOT ENFORCED is missing", "NOT ENFORCED");
    let keys = "a BIGINT, PRIMARY KEY (a) NOT ENFORCED, »PRIMARY KEY (a) NOT ENFORCED";
    check(&table(keys, good), "a second PRIMARY KEY", "in one");
    check(&table("a BIGINT, »CONSTRAINT c CHECK (a > 1)", good), "constraints", "PRIMARY KEY");
    check(
        &table("a BIGINT", &format!("{good}, »'late-topic' = 'l'")),
        "only where there is a WATERMARK",
        "WATERMARK",
    );
    let output = |options: &str| {
        format!(
            "CREATE TABLE o (x BIGINT) WITH ({good}, {options}); INSERT INTO o SELECT COUNT(*) FROM t UNBOUNDED"
        )
    };
    query(&output("'output' = »'all'"), "cannot be 'all'", "'retract'");
    query(&output("'output' = »'append'"), "changes rows", "'retract'");
    query(&output("'output' = »'upsert'"), "which row a record replaces", "PRIMARY KEY");
    query(&output("'compression' = 'none'").replace("TABLE o", "TABLE »o"), "`o` has no key", "PRIMARY KEY");
    check(&table("a BIGINT »b BIGINT", good), "`b` is not supported", "[NOT NULL]");
    check(&table("a TIMESTAMP(3), WATERMARK FOR »b AS b", good), "no column `b`", "known are: a");
    check(&table("a BIGINT, WATERMARK FOR »a AS a", good), "`a` is a BIGINT", "a TIMESTAMP(3)");
    let late = "a TIMESTAMP(3), WATERMARK FOR a AS »a + INTERVAL '1' DAY";
    check(&table(late, good), "not a bounded delay", "a - INTERVAL");
    let month = "a TIMESTAMP(3), WATERMARK FOR a AS a - INTERVAL »'1' MONTH";
    check(&table(month, good), "months and years", "'30' DAY");
    let twice = "a TIMESTAMP(3), WATERMARK FOR a AS a, »WATERMARK FOR a AS a";
    check(&table(twice, good), "a second WATERMARK", "one event time");

    check(&table("a BIGINT", "'topic' = 'x', »'fromat' = 'json'"), "no option 'fromat'", "`format`");
    check(&table("a BIGINT", "'topic' = »'a b', 'format' = 'json'"), "'a b' is not a topic", "1 to 249");
    check(&table("a BIGINT", "'topic' = 'x', 'format' = »'xml'"), "cannot be 'xml'", "'json'");
    check(&table("a BIGINT", "'topic' = 'x', »'topic' = 'y'"), "given twice", "keep one");
    check(&table("a BIGINT", "»topic = 'x'"), "`topic` is not a text", "'key' = 'value'");
    check(&table("a BIGINT", &format!("{good}, »'connector' = 'kafka'")), "'connector'", "leave it out");
    check(
        &table("a BIGINT", &format!("{good}, »'idle-after' = '5 s'")),
        "idle partitions",
        "write 'idle-timeout' = '30 s'",
    );
    let idle =
        |value: &str| table("a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts", &format!("{good}, {value}"));
    for wrong in ["30", "0 s", "s", "-1 s", "1 y", "31 d", "99999999999999999999 s", "1.5 s"] {
        check(&idle(&format!("'idle-timeout' = »'{wrong}'")), "cannot be", "'30 s'");
    }
    check(
        &table("a BIGINT", &format!("{good}, »'idle-timeout' = '5 s'")),
        "only where there is a",
        "WATERMARK",
    );
    check(&table("a BIGINT", &format!("{good}, 'on-error' = »'ignore'")), "cannot be 'ignore'", "'skip'");
    check(&table("a BIGINT", &format!("{good}, 'on-error' = »'dlq'")), "needs a topic", "'dlq-topic'");
    check(&table("a BIGINT", &format!("{good}, »'dlq-topic' = 'd'")), "only with", "'on-error' = 'dlq'");
    let no_format = table("a BIGINT", "'topic' = 'x'").replace("TABLE src", "TABLE »src");
    check(&no_format, "no option 'format'", "'format' = 'json'");
    query(
        "CREATE TABLE o (x BIGINT) WITH ('topic' = 'o', 'format' = 'json', 'compression' = »'brotli');
         INSERT INTO o SELECT a FROM t",
        "cannot be 'brotli'",
        "'zstd'",
    );
    check(
        &format!("{TABLES} INSERT INTO t SELECT a, b, s, ok, ts FROM t").replace("FOR ts", "FOR »ts"),
        "a WATERMARK means nothing",
        "leave the WATERMARK out",
    );
}

#[test]
fn formats() {
    let table = |columns: &str, options: &str| {
        format!("CREATE TABLE src ({columns}) WITH ({options}); {TABLES} INSERT INTO out SELECT 1 FROM src")
    };
    let with = |columns: &str, options: &str| table(columns, &format!("'topic' = 'x', {options}"));
    check(&with("a BIGINT", "'format' = 'json', »'value.format' = 'json'"), "are the same", "leave one");
    check(&with("a BIGINT", "'format' = »'avro-confluent'"), "'avro-confluent'", "'avro.confluent' = 'true'");
    check(&with("a BIGINT", "'format' = 'json', »'csv.null-literal' = 'x'"), "only with", "leave it out");
    let parse = "'format' = 'json', »'json.ignore-parse-errors' = 'true'";
    check(&with("a BIGINT", parse), "means nothing here", "'on-error' = 'skip'");
    check(&with("a BIGINT", "'format' = 'json', »'json.nestd' = 'x'"), "no option", "`json.nested`");
    check(&with("a BIGINT", "'format' = 'json', 'json.nested' = »'yes'"), "cannot be 'yes'", "'true' or");
    let standard = "'format' = 'json', 'json.timestamp-format.standard' = »'iso'";
    check(&with("a BIGINT", standard), "cannot be 'iso'", "'ISO-8601'");
    check(&with("a BIGINT, b BIGINT", "'format' = »'raw'"), "a raw value is one column", "'csv'");
    check(&with("a BIGINT", "'format' = 'csv', 'csv.field-delimiter' = »'ab'"), "'ab'", "one ASCII");
    check(&with("a BIGINT", "'format' = 'csv', 'csv.field-delimiter' = »'\"'"), "'\"'", "not the quote");
    check(&with("a BIGINT", "'format' = 'csv', 'csv.null-literal' = »','"), "','", "without delimiter");
    check(&with("a BIGINT", "'format' = »'protobuf'"), "one description", "'protobuf.proto'");
    let nameless = "'format' = »'protobuf', 'protobuf.proto' = 'message M { int64 a = 1; }'";
    check(&with("a BIGINT", nameless), "name of a message", "'protobuf.message'");
    let message =
        "'format' = »'protobuf', 'protobuf.message' = 'M', 'protobuf.proto' = 'message M { int64 b = 1; }'";
    check(&with("a BIGINT", message), "message M has no field `a`", "known are: b");
    check(
        &with("a BIGINT", "'format' = »'avro', 'avro.schema' = '7'"),
        "has 7 in place of a type",
        "as JSON",
    );
    check(&with("`a.b` BIGINT", "'format' = »'avro'"), "no name of Avro's", "'avro.schema'");
    let id = "'format' = 'avro', »'avro.schema-id' = '7'";
    check(&with("a BIGINT", id), "only with 'avro.confluent'", "add that");

    check(&with("a BIGINT", "'format' = 'json', 'key.fields' = »'b'"), "no column `b`", "known are: a");
    check(
        &with("a BIGINT", "'format' = 'json', »'key.format' = 'raw'"),
        "no column is in it",
        "'key.fields'",
    );
    let two = "'format' = 'json', 'key.fields' = »'a;b'";
    check(&with("a BIGINT, b BIGINT", two), "several columns, and no format", "'key.format'");
    let both = "'format' = 'json', »'key.fields' = 'a'";
    check(&with("a BIGINT, k STRING METADATA FROM 'key'", both), "are the same", "use one");
    let include = "'format' = 'json', 'key.fields' = 'a', 'value.fields-include' = »'SOME'";
    check(&with("a BIGINT", include), "cannot be 'SOME'", "'EXCEPT_KEY'");
    let prefix = "'format' = 'json', »'key.fields-prefix' = 'k_'";
    check(&with("a BIGINT", prefix), "only with 'key.fields'", "or leave the prefix out");
    let prefix = "'format' = 'json', 'key.fields' = 'k_a', »'key.fields-prefix' = 'k_'";
    check(&with("k_a BIGINT, a BIGINT", prefix), "in the key alone", "'EXCEPT_KEY'");
    let prefix = "'format' = 'json', 'key.fields' = »'a', 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY'";
    check(&with("a BIGINT, b BIGINT", prefix), "`a` does not begin with 'k_'", "call it `k_a`");
    check(
        &with("a BIGINT, b BIGINT", &prefix.replace("'k_'", "'a'")),
        "`a` does not begin with 'a'",
        "call it `aa`",
    );
    let change = "'format' = »'json', 'key.format' = 'debezium-json', 'key.fields' = 'a'";
    check(&with("a BIGINT", change), "no key", "'raw', 'json'");

    let json = "'format' = 'json'";
    check(&with("a BIGINT »METADATA FROM 'ofset'", json), "no 'ofset'", "`offset`");
    check(&with("a BIGINT »METADATA", json), "no 'a'", "known are");
    check(&with("a STRING »METADATA FROM 'offset'", json), "offset is a BIGINT", "declare it as BIGINT");
    check(&with("a STRING »METADATA FROM 'headers'", json), "all headers", "'header:<name>'");
    check(&with("a BIGINT METADATA FROM »offset", json), "not a text in quotes", "METADATA FROM");
    let sink = "CREATE TABLE src (a BIGINT) WITH ('topic' = 'x', 'format' = 'json');
        CREATE TABLE out (x BIGINT, o BIGINT METADATA FROM 'offset') WITH ('topic' = 'out', 'format' = »'json');
        INSERT INTO out SELECT a, a FROM src";
    check(sink, "column `o` is the record's offset, which cannot be written", "VIRTUAL");
}

#[test]
fn queries() {
    query("INSERT INTO out SELECT a FROM »u", "no table `u`", "CREATE TABLE");
    query("INSERT INTO out »SELECT 1", "FROM is missing", "FROM <table>");
    query("INSERT INTO out SELECT »aa FROM t", "no column `aa`", "did you mean `a`?");
    query("INSERT INTO out SELECT »u.a FROM t", "no table `u` in FROM", "the name `t`");
    query("INSERT INTO out SELECT »t.a FROM t AS u", "no table `t` in FROM", "the name `u`");
    query("INSERT INTO out SELECT t.a FROM t, »t AS u", "may find partners for ever", "UNBOUNDED");
    query(
        "INSERT INTO out SELECT »a FROM t, t AS u UNBOUNDED",
        "a column of several tables",
        "`t.a` or `u.a`",
    );
    query("INSERT INTO out »SELECT DISTINCT a FROM t", "never complete", "UNBOUNDED");
    query("INSERT INTO out SELECT »q.a FROM (SELECT a FROM t) AS p", "no table `q` in FROM", "the name `p`");
    query("INSERT INTO out SELECT a FROM t ORDER BY »a", "ORDER BY", "leave it out");
    query("INSERT INTO out SELECT a FROM t LIMIT »5", "LIMIT", "leave it out");
    query(
        "INSERT INTO out »WITH RECURSIVE q AS (SELECT a FROM t) SELECT a FROM q",
        "RECURSIVE",
        "without recursion",
    );
    query(
        "»INSERT INTO out SELECT a FROM t UNION ALL SELECT a, b FROM t",
        "1 and 2 columns",
        "the same number",
    );
    query("»INSERT INTO out SELECT a FROM t UNION ALL SELECT s FROM t", "a BIGINT on one side", "CAST");
    query("INSERT INTO out SELECT a FROM t EXCEPT »SELECT a FROM t", "EXCEPT", "a join");
    query("»INSERT INTO out VALUES (1)", "VALUES", "SELECT");
    query(
        "INSERT INTO out SELECT »s FROM t",
        "`s` is a STRING, column `x` of `out` is a BIGINT",
        "CAST(... AS BIGINT)",
    );
    query("INSERT INTO out SELECT a, »b FROM t", "2 values for 1 columns", "select one value for each of: x");
    query("INSERT INTO out SELECT »* FROM t", "5 values for 1 columns", "x");
    query("INSERT INTO out (»y) SELECT a FROM t", "no column `y`", "x");
    query("INSERT INTO out (x, »x) SELECT a, a FROM t", "named twice", "once");
    query("INSERT INTO out SELECT a FROM t GROUP BY »a", "never complete", "TUMBLE");
    query("INSERT INTO out »SELECT COUNT(*) FROM t", "never complete", "STATE TTL");
    query("INSERT INTO out SELECT COUNT(*) FROM t STATE TTL »5", "not an INTERVAL", "STATE TTL INTERVAL");
    query("INSERT INTO out SELECT »SUM(a) OVER (ORDER BY ts) FROM t", "never complete", "STATE TTL");
    query(
        "INSERT INTO out SELECT a FROM t WHERE »SUM(a) OVER (ORDER BY ts) > 1",
        "OVER stands only",
        "WHERE n <= 3",
    );
    query("INSERT INTO out SELECT a FROM t WHERE »COUNT(*) > 1", "no groups", "HAVING");
    query("INSERT INTO out SELECT a FROM t WHERE »a", "WHERE needs a BOOLEAN", "a condition");
}

#[test]
fn windows() {
    let select =
        |marked: &str| format!("INSERT INTO out SELECT COUNT(*) FROM {marked} GROUP BY window_start");
    query(
        &select("TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL »'2' HOUR, INTERVAL '3' HOUR))"),
        "whole number of steps",
        "CUMULATE",
    );
    query(
        &select("TABLE(»TUMBLE(TABLE t PARTITION BY s, DESCRIPTOR(ts), INTERVAL '1' HOUR))"),
        "no PARTITION BY",
        "GROUP BY",
    );
    query(&select("TABLE(»TUMBLE(TABLE t, DESCRIPTOR(ts)))"), "three arguments", "INTERVAL '1' HOUR");
    let many = "TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '1' DAY))";
    query(&format!("INSERT INTO out »SELECT a FROM {many}"), "86400 windows", "EMIT ON CLOSE");
    let grouped = format!("INSERT INTO out SELECT COUNT(*) FROM {many} GROUP BY window_start, window_end");
    compile(&format!("{TABLES}{grouped}")).expect("one copy of a row is kept");
    let out = "CREATE TABLE r (x BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');\n";
    let changing = grouped.replace("INTO out", "INTO r").replace("BY window", "BY »window");
    query(&format!("{out}{changing} EMIT CHANGES"), "each of them changes", "longer slide");
    query(
        &select("TABLE(TUMBLE(TABLE »u, DESCRIPTOR(ts), INTERVAL '1' HOUR))"),
        "no table `u`",
        "CREATE TABLE",
    );
    query(
        &select("TABLE(TUMBLE(TABLE t, DESCRIPTOR(»a), INTERVAL '1' HOUR))"),
        "not the event time",
        "DESCRIPTOR(ts)",
    );
    query(
        &select("TABLE(TUMBLE(TABLE t, »ts, INTERVAL '1' HOUR))"),
        "not a DESCRIPTOR",
        "DESCRIPTOR(<event time>)",
    );
    query(
        &select("TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL »'x' HOUR))"),
        "not a length of time",
        "whole number",
    );
    query(&select("TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL »'0' HOUR))"), "no length", "INTERVAL");
    let ages = select("TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL »'40000' DAY))");
    query(&ages, "more than 100 years", "INTERVAL");
    query(&select("TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), »5))"), "not an INTERVAL", "INTERVAL");
    query(
        &select("TABLE(TUMBLE(TABLE »out, DESCRIPTOR(x), INTERVAL '1' HOUR))"),
        "no event time",
        "WATERMARK FOR",
    );
    query(
        &select("TABLE(»FLIP(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))"),
        "not a function that makes a table",
        "TUMBLE",
    );
    let from = "FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR))";
    query(
        &format!("INSERT INTO out SELECT COUNT(*) {from} GROUP BY »s"),
        "never complete",
        "GROUP BY window_start",
    );
    query(&format!("INSERT INTO out »SELECT COUNT(*) {from}"), "never complete", "GROUP BY window_start");
    query(&format!("INSERT INTO out SELECT »a {TUMBLE}"), "many values in a group", "MAX(a)");
    query(&format!("INSERT INTO out SELECT SUM(»COUNT(*)) {TUMBLE}"), "no groups", "inside another");
    query(&format!("INSERT INTO out SELECT »* {TUMBLE}"), "`*` of groups", "one by one");
    query(&format!("INSERT INTO out SELECT »COUNT(DISTINCT *) {TUMBLE}"), "DISTINCT", "COUNT(DISTINCT x)");
    query(&format!("INSERT INTO out SELECT SUM(»s) {TUMBLE}"), "not a number", "CAST");
    query(&format!("INSERT INTO out SELECT MAX(»ok) {TUMBLE}"), "no least", "FILTER");
    query(
        &format!("INSERT INTO out SELECT COUNT(*) {TUMBLE} HAVING »s"),
        "HAVING needs a BOOLEAN",
        "a condition",
    );
    query(
        &format!("INSERT INTO out SELECT COUNT(*) {from} GROUP BY window_start, ROLLUP(»s)"),
        "several groupings",
        "GROUP BY",
    );
    query(
        &format!("INSERT INTO out SELECT COUNT(*) {from} GROUP BY window_start, »1"),
        "constant is not a group",
        "itself",
    );
}

#[test]
fn expressions() {
    let where_ = |marked: &str| format!("INSERT INTO out SELECT a FROM t WHERE {marked}");
    query(&where_("»s > 1"), "a STRING and a BIGINT cannot be compared", "CAST");
    query(&where_("»ts > '2013-01-01'"), "cannot be compared", "TIMESTAMP '2013-01-31 10:00:00'");
    query(&where_("ts > TIMESTAMP »'yesterday'"), "not an instant", "TIMESTAMP '");
    query(&where_("»ts - ts > 1"), "only an INTERVAL", "compare the two instants");
    query(&where_("»s + 'x' = 'y'"), "`+` adds numbers", "||");
    query(&where_("»a || 'x' = 'y'"), "a STRING is needed", "CAST(... AS STRING)");
    query(&where_("»a ^ 1 > 0"), "the operator ^ is not supported", "POWER(a, b)");
    query(&where_("s LIKE »s"), "pattern is not a constant", "single quotes");
    query(&where_("s ILIKE »s"), "pattern is not a constant", "single quotes");
    query(&where_(r"s LIKE »'x\'"), "ends with the escape character", "twice");
    query(&where_("s ~ »'('"), "is not a regular expression: unclosed group", "groups (...)");
    query(&where_("s ~ »'(x{1000}){1000}'"), "needs more than", "groups");
    query(&where_("REGEXP_EXTRACT(s, '(x)', »2) = s"), "the pattern has 1 groups", "parentheses");
    query(&where_("REGEXP_REPLACE(s, 'x', s, »'q') = s"), "not a text of flags", "'g'");
    query(&where_("»REGEXP_LIKE(s) = s"), "REGEXP_LIKE with 1 arguments", "REGEXP_LIKE(text, 'pattern'");
    query(&where_("JSON_VALUE(s, »'a.b') = s"), "'a.b' is not a path: a path begins with `$`", "'$.a.b[0]'");
    query(&where_("s #>> »'a' = s"), "not a path", "'{a,0,b}'");
    query(&where_("s #>> »'{a,}' = s"), "`` is not a name", "'{a,0,b}'");
    query(&where_("s #>> »'{\"a}' = s"), "quote is not closed", "'{a,0,b}'");
    query(&where_("s #>> »'{\"a\"b}' = s"), "behind a double quote", "'{a,0,b}'");
    query(&where_("»JSON_BUILD_ARRAY(a NULL ON NULL) = s"), "this form of", "JSON_ARRAY(value, ...");
    query(
        &where_("DATE_FORMAT(ts, »'yyyy-nn') = s"),
        "the pattern has no field `nn`",
        "'yyyy-MM-dd HH:mm:ss'",
    );
    query(&where_("TO_CHAR(ts, »'YYYY x') = s"), "no field `x`", "'YYYY-MM-DD HH24:MI:SS'");
    query(&where_("DATE_TRUNC(»'fortnight', ts) = ts"), "the unit fortnight", "MILLENNIUM");
    query(&where_("EXTRACT(TIMEZONE FROM »ts) = 1"), "the unit", "DOW");
    query(&where_("DATE_BIN(»5, ts) = ts"), "not an INTERVAL", "INTERVAL '15' MINUTE");
    query(
        &where_("»TIMESTAMPDIFF(HOUR, ts) = 1"),
        "TIMESTAMPDIFF with 2 arguments",
        "TIMESTAMPDIFF(HOUR, from, to)",
    );
    query(&where_("MD5(»a) = s"), "a STRING or BYTES is needed", "CAST");
    query(&where_("JSON_OBJECT('a'») = s"), "VALUE and what belongs to the key", "");
    query(&where_("»JSON_BUILD_OBJECT('a') = s"), "a key without a value", "JSON_OBJECT('key' VALUE");
    query(&where_("»SUBSTRNG(s, 1) = s"), "no function SUBSTRNG", "did you mean `SUBSTRING`?");
    query(&where_("»ARRAY_SUM(s) = s"), "no function ARRAY_SUM", "FUNCTIONS.md");
    query(
        "INSERT INTO out SELECT a FROM t GROUP BY »TUMBLE(ts, INTERVAL '1' HOUR)",
        "no function TUMBLE",
        "FROM TABLE(TUMBLE(TABLE <table>, DESCRIPTOR(<event time>)",
    );
    query(
        "INSERT INTO out SELECT »a FROM t JOIN t ON TRUE UNBOUNDED",
        "a column of several tables",
        "AS x JOIN t AS y",
    );
    query(&where_("»LPAD(s) = s"), "LPAD with 1 arguments", "LPAD(text, length [, fill])");
    query(&where_("»CASE WHEN ok THEN 1 ELSE 'x' END = 1"), "no type in common: BIGINT, STRING", "CAST");
    query(&where_("»UPER(s) = 'X'"), "no function UPER", "did you mean `UPPER`?");
    query(&where_("»UPPER(s, s) = 'X'"), "UPPER with 2 arguments", "UPPER(text)");
    query(&where_("»NOW(1) > ts"), "NOW with 1 arguments", "without arguments");
    query(&where_("CAST(»ok AS DOUBLE) = 1"), "BOOLEAN cannot become", "CAST knows");
    query(&where_("TRY_CAST(»s AS INT) = 1"), "TRY_CAST to INT is not supported", "TRY_CAST(... AS BIGINT)");
    query(&where_("DATE »'2013-02-29' = ts"), "not a day of the calendar", "DATE '2013-01-31'");
    query(&where_("CAST(»ts AS DATE) * 2 = ts"), "only days and an INTERVAL", "<date> + 7");
    query(&where_("b = »X'0'"), "is not bytes", "two hexadecimal digits");
    query(&where_("»a IN (SELECT a FROM t)"), "a query inside a condition", "IN (");
    query(&where_("a = »{}").replace("{}", &"9".repeat(39)), "more than 38 digits", "DOUBLE");
    query(&where_("INTERVAL »'1' DAY > ts"), "stands only after", "<timestamp> +");
    query(&where_("a = »$1"), "`$1` is not a constant", "single quotes");
}

#[test]
fn what_is_too_deep_is_refused_and_not_followed() {
    let nested = format!("INSERT INTO out SELECT »{}a{} FROM t", "(".repeat(5_000), ")".repeat(5_000));
    let script = format!("{TABLES}{}", nested.replace('»', ""));
    assert!(compile(&script).unwrap_err().message.contains("more than 4000 words"));
    let nested = format!("{TABLES}INSERT INTO out SELECT {}a{} FROM t", "(".repeat(900), ")".repeat(900));
    assert!(compile(&nested).unwrap_err().message.contains("nested too deeply"));
    let chain = format!("{TABLES}INSERT INTO out SELECT a{} FROM t", " + a".repeat(1_500));
    assert!(compile(&chain).unwrap_err().message.contains("levels deep"));
    let list = format!("{TABLES}INSERT INTO out SELECT a FROM t WHERE a IN (1{})", ", 2".repeat(1_500));
    compile(&list).unwrap();
    let long = "-".repeat(3_000_000);
    assert!(compile(&long).unwrap_err().message.contains("3000000 bytes"));
}

/// Time goes on between the epoch that gives a row and the one that takes it back.
#[test]
fn now_over_rows_that_may_be_taken_back() {
    const CHANGING: &str = "\
CREATE TABLE t (k STRING, b BIGINT, expires TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED)
WITH ('topic' = 't', 'format' = 'json');
CREATE TABLE c (k STRING, age BIGINT, seen AS NOW()) WITH ('topic' = 'c', 'format' = 'debezium-json');
CREATE TABLE a (k STRING, ts TIMESTAMP(3), seen AS NOW()) WITH ('topic' = 'a', 'format' = 'json');
CREATE TABLE d (x BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
CREATE TABLE u (k STRING, seen TIMESTAMP(3), PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'u', 'format' = 'json');
CREATE TABLE w (k STRING, seen TIMESTAMP(3), PRIMARY KEY (seen) NOT ENFORCED) WITH ('topic' = 'w', 'format' = 'json');
";
    let refused = |query: &str, what: &str| {
        check(&format!("{CHANGING}»INSERT INTO {query} UNBOUNDED"), what, "where rows are only added");
    };
    refused("d SELECT COUNT(*) FROM t WHERE expires > NOW()", "`(expires > NOW())`");
    refused(
        "d SELECT b FROM t WHERE CASE WHEN b > 1 THEN CURRENT_DATE > DATE '2020-01-01' ELSE TRUE END",
        "NOW()",
    );
    refused("d SELECT SUM(b) FILTER (WHERE expires > NOW()) FROM t", "`(expires > NOW())`");
    refused("d SELECT UNIX_TIMESTAMP() + COUNT(*) FROM a GROUP BY k", "NOW()");
    refused(
        "d SELECT COUNT(*) FROM a GROUP BY k HAVING UNIX_TIMESTAMP() / COUNT(*) BETWEEN 1 AND 9",
        "NOW()",
    );
    refused("d SELECT COUNT(*) FROM a GROUP BY k HAVING MAX(ts) > NOW()", "NOW()");
    refused("d SELECT 1 FROM a LEFT JOIN a AS z ON a.k = z.k AND a.ts + INTERVAL '1' HOUR > NOW()", "NOW()");
    refused("d SELECT 1 FROM c WHERE seen > TIMESTAMP '2020-01-01 00:00:00'", "`NOW()`");
    refused("w SELECT MAX(k), NOW() FROM a GROUP BY ts", "`NOW()`");
    for taken in [
        "d SELECT b FROM (SELECT 1 AS b FROM a WHERE ts > NOW())",
        "d SELECT COUNT(*) FROM a WHERE ts > NOW()",
        "d SELECT COUNT(*) FROM a WHERE seen > ts",
        "d SELECT 1 FROM a JOIN a AS z ON a.k = z.k AND a.ts > NOW()",
        "u SELECT k, NOW() FROM a GROUP BY k",
    ] {
        let script = format!("{CHANGING}INSERT INTO {taken} UNBOUNDED");
        compile(&script).unwrap_or_else(|error| panic!("{taken}: {error}"));
    }
}

#[test]
fn changes_are_written_as_json() {
    check(
        "CREATE TABLE t (k STRING) WITH ('topic' = 't', 'format' = 'json');
         CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'csv', 'output' = »'retract');
         INSERT INTO o SELECT k, COUNT(*) FROM t GROUP BY k UNBOUNDED",
        "JSON in Debezium's manner",
        "'output' = 'upsert'",
    );
}
