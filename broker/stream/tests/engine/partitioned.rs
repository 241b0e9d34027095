//! Which pipelines can run on each partition number by itself.

use logmill_stream::compile;

/// Two topics with the customer as their key, and one without.
const TABLES: &str = "
CREATE TABLE orders (customer STRING NOT NULL METADATA FROM 'key', number BIGINT, shop BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('topic' = 'orders', 'format' = 'json');
CREATE TABLE payments (customer STRING NOT NULL METADATA FROM 'key', number BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('topic' = 'payments', 'format' = 'json');
CREATE TABLE customers (customer STRING NOT NULL, name STRING, PRIMARY KEY (customer) NOT ENFORCED)
  WITH ('topic' = 'customers', 'format' = 'json', 'key.format' = 'raw', 'key.fields' = 'customer');
CREATE TABLE numbered (number BIGINT NOT NULL METADATA FROM 'key', ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('topic' = 'numbered', 'format' = 'json');
CREATE TABLE two (a STRING NOT NULL, b STRING NOT NULL, x BIGINT)
  WITH ('topic' = 'two', 'format' = 'json', 'key.format' = 'json', 'key.fields' = 'a;b');
CREATE TABLE renamed (c STRING NOT NULL, d STRING NOT NULL, y BIGINT)
  WITH ('topic' = 'renamed', 'format' = 'json', 'key.format' = 'json', 'key.fields' = 'c;d');
CREATE TABLE prefixed (k_a STRING NOT NULL, k_b STRING NOT NULL, z BIGINT) WITH ('topic' = 'prefixed', 'format' = 'json',
  'key.format' = 'json', 'key.fields' = 'k_a;k_b', 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE maybe (customer STRING METADATA FROM 'key', x BIGINT) WITH ('topic' = 'maybe', 'format' = 'json');
CREATE TABLE keyless (customer STRING, x BIGINT) WITH ('topic' = 'keyless', 'format' = 'json');
";

/// What is said of a query whose result goes to a table of these columns.
fn verdict(columns: &str, sink: &str, query: &str) -> String {
    let script = format!(
        "{TABLES} CREATE TABLE o ({columns}) WITH ('topic' = 'o', 'format' = 'json'{sink}); INSERT INTO o {query};"
    );
    let plan = compile(&script).unwrap_or_else(|error| panic!("{}", error.excerpt(&script)));
    plan.check_partitioned().map_or_else(|error| error.to_string(), |()| "by partition".to_owned())
}

fn check(expected: &str, columns: &str, query: &str) {
    // What is kept for ever may change.
    let sink = if query.contains("UNBOUNDED") { ", 'output' = 'retract'" } else { "" };
    let said = verdict(columns, sink, query);
    assert!(said.contains(expected), "{query}: {said}");
}

const BY_PARTITION: &str = "by partition";

#[test]
fn what_keeps_no_state_runs_by_partition() {
    check(BY_PARTITION, "x BIGINT", "SELECT x + 1 FROM keyless WHERE x > 3");
    check(BY_PARTITION, "x BIGINT", "SELECT x FROM keyless UNION ALL SELECT number FROM orders");
}

#[test]
fn aggregates_by_the_whole_key_run_by_partition() {
    let windows = |by: &str| {
        format!(
            "SELECT {by}, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
             GROUP BY window_start, window_end, {by}"
        )
    };
    check(BY_PARTITION, "k STRING, n BIGINT", &windows("customer"));
    check("the aggregate of windows by `shop`", "k BIGINT, n BIGINT", &windows("shop"));
    check(
        BY_PARTITION,
        "k STRING, s BIGINT, n BIGINT",
        "SELECT customer, shop, COUNT(*) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, customer, shop",
    );
    check(
        BY_PARTITION,
        "k STRING, n BIGINT",
        "SELECT who, COUNT(*) FROM (SELECT customer AS who, shop FROM orders WHERE shop > 1) GROUP BY who UNBOUNDED",
    );
    // What is made of the key may be the same for different keys.
    check(
        "by the whole key of the records of `orders`, `customer`",
        "k STRING, n BIGINT",
        "SELECT UPPER(customer), COUNT(*) FROM orders GROUP BY UPPER(customer) UNBOUNDED",
    );
    check("the aggregate by nothing", "n BIGINT", "SELECT COUNT(*) FROM orders UNBOUNDED");
}

#[test]
fn all_of_a_keys_fields_are_needed() {
    check(
        BY_PARTITION,
        "a STRING, b STRING, n BIGINT",
        "SELECT a, b, COUNT(*) FROM two GROUP BY b, a UNBOUNDED",
    );
    check("`two`, `a`, `b`", "a STRING, n BIGINT", "SELECT a, COUNT(*) FROM two GROUP BY a UNBOUNDED");
}

#[test]
fn records_without_a_key_are_anywhere() {
    check(
        "declares no column of the record's key",
        "k STRING, n BIGINT",
        "SELECT customer, COUNT(*) FROM keyless GROUP BY customer UNBOUNDED",
    );
    check(
        "declare it NOT NULL",
        "k STRING, n BIGINT",
        "SELECT customer, COUNT(*) FROM maybe GROUP BY customer UNBOUNDED",
    );
}

/// Where the names of a key's fields are in it, keys of other names are other bytes, in other partitions.
#[test]
fn keys_whose_fields_have_other_names_are_other_keys() {
    let join = |right: &str, on: [&str; 2]| {
        let on = format!("l.a = r.{} AND l.b = r.{}", on[0], on[1]);
        format!("SELECT l.a, l.x FROM two l JOIN {right} r ON {on} UNBOUNDED")
    };
    let columns = "k STRING, n BIGINT";
    check("`two` and `renamed` are written in different ways", columns, &join("renamed", ["c", "d"]));
    check(BY_PARTITION, columns, &join("prefixed", ["k_a", "k_b"]));
}

#[test]
fn joins_by_the_keys_of_both_sides_run_by_partition() {
    let join = |kind: &str, on: &str| {
        format!(
            "SELECT o.customer, o.number FROM orders o {kind} JOIN payments p
             ON {on} AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1' MINUTE"
        )
    };
    let columns = "k STRING, n BIGINT";
    check(BY_PARTITION, columns, &join("", "o.customer = p.customer"));
    check(BY_PARTITION, columns, &join("", "o.number = p.number AND p.customer = o.customer"));
    check(BY_PARTITION, columns, &join("LEFT", "o.customer = p.customer"));
    check("the join by `number`", columns, &join("", "o.number = p.number"));
    check(
        "written in different ways",
        columns,
        "SELECT o.customer, o.number FROM orders o JOIN numbered p
         ON o.number = p.number AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1' MINUTE",
    );
    check(
        BY_PARTITION,
        "k STRING, n STRING",
        "SELECT o.customer, c.name FROM orders o JOIN customers c ON o.customer = c.customer UNBOUNDED",
    );
}

#[test]
fn behind_a_join_the_key_is_that_of_a_side_that_is_always_there() {
    let counted = |kind: &str, by: &str| {
        let join = format!(
            "SELECT o.customer AS left_key, p.customer AS right_key FROM orders o {kind} JOIN payments p
             ON o.customer = p.customer AND o.number = p.number"
        );
        verdict(
            "k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED",
            ", 'output' = 'upsert'",
            &format!("SELECT {by}, COUNT(*) FROM ({join}) GROUP BY {by} UNBOUNDED"),
        )
    };
    for (kind, by, runs) in [
        ("INNER", "left_key", true),
        ("INNER", "right_key", true),
        ("LEFT", "left_key", true),
        ("LEFT", "right_key", false),
        ("RIGHT", "left_key", false),
        ("RIGHT", "right_key", true),
        ("FULL", "left_key", false),
    ] {
        let said = counted(kind, by);
        assert_eq!(said == BY_PARTITION, runs, "{kind} by {by}: {said}");
    }
}

#[test]
fn rankings_and_over_go_by_the_key() {
    let ranked = |by: &str| {
        format!(
            "SELECT customer, number FROM (SELECT customer, number, ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY ts) AS r
             FROM orders) WHERE r = 1 UNBOUNDED"
        )
    };
    check(BY_PARTITION, "k STRING, n BIGINT", &ranked("customer"));
    check("the ranking by `shop`", "k STRING, n BIGINT", &ranked("shop"));
    let over = |by: &str| {
        format!(
            "SELECT customer, SUM(number) OVER (PARTITION BY {by} ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
             FROM orders UNBOUNDED"
        )
    };
    check(BY_PARTITION, "k STRING, n BIGINT", &over("customer, shop"));
    check("the OVER by `shop`", "k STRING, n BIGINT", &over("shop"));
}
