//! Tables that pipelines write, asked with SQL; functions that come with a script.

use std::time::Instant;

use logmill_tests::process::{Broker, PATIENCE, Process, Scratch, run};

fn broker(scratch: &Scratch) -> Broker {
    Process::serve(scratch, "broker", "data")
}

#[test]
fn tables_that_pipelines_write_are_asked_with_sql() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let script = scratch.write(
        "shops.sql",
        "CREATE TABLE orders (shop STRING, amount DOUBLE) WITH ('topic' = 'orders', 'format' = 'json');
         CREATE TABLE totals (shop STRING, n BIGINT, amount DOUBLE, PRIMARY KEY (shop) NOT ENFORCED)
         WITH ('topic' = 'totals', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO totals SELECT shop, COUNT(*), SUM(amount) FROM orders GROUP BY shop UNBOUNDED;",
    );
    broker.run(&["topic", "create", "orders", "--partitions", "2"]);
    broker.run(&["pipeline", "deploy", &script]);
    let all = ["sql", "SELECT * FROM totals ORDER BY amount DESC"];
    assert_eq!(broker.json(&all)["rows"].as_array().expect("rows").len(), 0);
    let count = ["sql", "SELECT COUNT(*) FROM totals WHERE NOW() > TIMESTAMP '2020-01-01 00:00:00'"];
    assert_eq!(broker.json(&count)["rows"], serde_json::json!([[0]]), "of no rows there are none");
    let mut orders = String::new();
    for n in 0..300 {
        orders.push_str(&format!("{{\"shop\":\"{}\",\"amount\":{}}}\n", ["a", "b", "c"][n % 3], n % 3 + 1));
    }
    broker.run_with_input(&["produce", "orders"], &orders);
    // While it runs each answer is that of one epoch: amounts and counts fit one another.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = broker.json(&all);
        let rows = answer["rows"].as_array().expect("rows");
        for row in rows {
            let each = match row[0].as_str().expect("a shop") {
                "a" => 1.0,
                "b" => 2.0,
                _ => 3.0,
            };
            assert_eq!(row[2].as_f64(), row[1].as_f64().map(|n| n * each), "{answer}");
        }
        if rows.len() == 3 && rows.iter().all(|row| row[1] == 100) {
            assert!(answer["epoch"].as_i64().expect("an epoch") > 0, "{answer}");
            assert_eq!(answer["columns"][2]["type"], "DOUBLE");
            break;
        }
        assert!(Instant::now() < deadline, "{answer}");
    }
    let table = broker.run(&["sql", "SELECT shop, amount / n AS mean FROM totals WHERE shop = 'b'"]);
    assert_eq!(table, "SHOP  MEAN\nb        2\n");
    let counted = broker.json(&["sql", "SELECT SUM(n), COUNT(*) FROM totals", "--pipeline", "shops"]);
    assert_eq!(counted["rows"], serde_json::json!([[300, 3]]));
    assert_eq!(broker.json(&count)["rows"], serde_json::json!([[3]]), "it is later than 2020");
    let wrong = broker.try_run(&["sql", "SELECT shop,\n  amuont FROM totals"], "");
    assert_eq!(wrong.status.code(), Some(2));
    for part in ["line 2, column 3", "did you mean `amount`?", "2 |   amuont FROM totals\n  |   ^"] {
        assert!(wrong.log.contains(part), "{part} in {}", wrong.log);
    }
    let unknown = broker.try_run(&["sql", "SELECT 1 FROM orders"], "");
    assert!(unknown.log.contains("no pipeline writes a table `orders`"), "{}", unknown.log);
    // What was written before a restart is there behind it, of a stopped pipeline too.
    broker.run(&["pipeline", "stop", "shops"]);
    let before = broker.json(&all);
    assert!(broker.stop().status.success());
    let broker = Process::serve(&scratch, "again", "data");
    let after = broker.json(&all);
    assert_eq!((&after["rows"], &after["epoch"]), (&before["rows"], &before["epoch"]));
    assert!(broker.stop().status.success());
}

/// `(module (func (export "twice") (param i64) (result i64) (i64.add (local.get 0) (local.get 0))))`
const TWICE: &[u8] =
    b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7e\x01\x7e\x03\x02\x01\0\x07\x09\x01\x05twice\0\0\
                       \x0a\x09\x01\x07\0\x20\0\x20\0\x7c\x0b";

#[test]
fn a_module_beside_a_script_goes_with_it() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let script = scratch.write(
        "twice.sql",
        "CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE wasm USING 'twice.wasm';
         CREATE TABLE a (n BIGINT) WITH ('topic' = 'a', 'format' = 'json');
         CREATE TABLE b (n BIGINT) WITH ('topic' = 'b', 'format' = 'json');
         INSERT INTO b SELECT twice(n) FROM a;",
    );
    let missing = run(&["pipeline", "validate", &script], &[], "");
    assert_eq!(missing.status.code(), Some(2));
    for part in ["line 1, column 68", "the module `twice.wasm` cannot be read"] {
        assert!(missing.log.contains(part), "{part} in {}", missing.log);
    }
    std::fs::write(scratch.path("twice.wasm"), TWICE).expect("a module");
    let checked = run(&["pipeline", "validate", &script], &[], "");
    assert!(checked.status.success(), "{}", checked.log);
    // A mistake behind it is where it is in the file, and the module is not shown.
    let wrong = "CREATE TABLE a (n BIGINT) WITH ('topic' = 'a', 'format' = 'json');
         CREATE TABLE b (n BIGINT) WITH ('topic' = 'b', 'format' = 'json');
         CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE wasm USING 'twice.wasm'; INSERT INTO b SELECT twice(n, 1) FROM a;";
    let wrong = scratch.write("wrong.sql", wrong);
    broker.run(&["topic", "create", "a"]);
    for refused in
        [run(&["pipeline", "validate", &wrong], &[], ""), broker.try_run(&["pipeline", "deploy", &wrong], "")]
    {
        assert_eq!(refused.status.code(), Some(2), "{}", refused.log);
        for part in [
            "line 3, column 112",
            "3 |          CREATE FUNCTION twice(n BIGINT)",
            "USING 'twice.wasm'; INSERT",
        ] {
            assert!(refused.log.contains(part), "{part} in {}", refused.log);
        }
    }
    broker.run_with_input(&["produce", "a"], "{\"n\":21}\n");
    broker.run(&["pipeline", "run", &script, "--bounded"]);
    assert_eq!(broker.run(&["consume", "b", "--exit"]), "{\"n\":42}\n");
    assert!(broker.stop().status.success());
}
