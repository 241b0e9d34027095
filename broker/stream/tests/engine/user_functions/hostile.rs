//! Modules that run for ever, take all the memory, trap, or lie: an error of the record, and never more.

use logmill_stream::{TrialError, TurnError, compile};

use super::{module, outputs, results, run, script, with_memory};

/// Runs for ever when it is given 0.
fn endless() -> String {
    let text = r#"(module (func (export "spin") (param i64) (result i64)
        (loop $again (br_if $again (i64.eqz (local.get 0)))) (local.get 0)))"#;
    format!("CREATE FUNCTION spin(a BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(text))
}

fn of_endless(options: &str) -> String {
    script(&endless(), "a BIGINT", options, "v BIGINT", "SELECT spin(a) FROM src")
}

const ROWS: [&str; 3] = [r#"{"a": 1}"#, r#"{"a": 0}"#, r#"{"a": 2}"#];

#[test]
fn a_function_that_runs_for_ever_is_an_error_of_its_record() {
    let plan = compile(&of_endless("")).unwrap();
    let error = run(&plan, &ROWS).unwrap_err();
    let TrialError::Turn(TurnError::Poison { partition, offset, error, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!((partition.to_string().as_str(), *offset), ("in-0", 1));
    let text = error.to_string();
    assert!(
        text.contains("spin") && text.contains("fuel, 2000000 units") && text.contains("'fuel'"),
        "{text}"
    );
    // What to do is said beside it.
    let whole = run(&plan, &ROWS).unwrap_err().to_string();
    assert!(whole.contains("'on-error' = 'skip' or 'dlq'"), "{whole}");
}

#[test]
fn such_records_are_skipped_or_put_aside_as_the_table_says() {
    let skipped = compile(&of_endless(", 'on-error' = 'skip'")).unwrap();
    let trial = run(&skipped, &ROWS).unwrap();
    assert_eq!(outputs(&trial, "out"), [r#"{"v":1}"#, r#"{"v":2}"#]);
    assert_eq!((trial.totals.skipped, trial.totals.processed), (1, 2));
    let aside = compile(&of_endless(", 'on-error' = 'dlq', 'dlq-topic' = 'dead'")).unwrap();
    let trial = run(&aside, &ROWS).unwrap();
    assert_eq!(outputs(&trial, "dead"), [r#"{"a": 0}"#]);
    let headers = &trial.outputs["dead"][0].headers;
    let error = headers.iter().find(|header| &*header.key == b"logmill.error").expect("the error");
    assert!(String::from_utf8_lossy(error.value.as_ref().unwrap()).contains("fuel"), "{headers:?}");
}

#[test]
fn rows_that_are_not_asked_for_cost_nothing() {
    let query =
        "SELECT CASE WHEN a = 0 THEN -1 ELSE spin(a) END FROM src WHERE a < 2 AND (a = 0 OR spin(a) > 0)";
    let script = script(&endless(), "a BIGINT", "", "v BIGINT", query);
    assert_eq!(results(&script, &ROWS), [r#"{"v":1}"#, r#"{"v":-1}"#]);
}

#[test]
fn fuel_can_be_given() {
    let text = r#"(module (func (export "total") (param i64) (result i64) (local $sum i64)
        (loop $again
          (local.set $sum (i64.add (local.get $sum) (local.get 0)))
          (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
          (br_if $again (i64.gt_s (local.get 0) (i64.const 0))))
        (local.get $sum)))"#;
    let module = module(text);
    let of = |fuel: u64| {
        let create = format!(
            "CREATE FUNCTION total(BIGINT) RETURNS BIGINT LANGUAGE wasm WITH ('fuel' = '{fuel}') AS '{module}'"
        );
        script(&create, "a BIGINT", "", "v BIGINT", "SELECT total(a) FROM src")
    };
    let short = compile(&of(1_000)).unwrap();
    assert!(run(&short, &[r#"{"a": 1000}"#]).unwrap_err().to_string().contains("1000 units"));
    assert_eq!(results(&of(100_000), &[r#"{"a": 1000}"#]), [r#"{"v":500500}"#]);
    // It computes the same, so it is the same plan, and the pipeline goes on where it was.
    assert_eq!(short.fingerprint(), compile(&of(100_000)).unwrap().fingerprint());
}

fn failing(body: &str, limits: &str) -> String {
    let module = with_memory(&format!("(func $f (export \"bad\") (param i64) (result i64) {body})"));
    let create = format!("CREATE FUNCTION bad(BIGINT) RETURNS BIGINT LANGUAGE wasm {limits} AS '{module}'");
    script(&create, "a BIGINT", "", "v BIGINT", "SELECT bad(a) FROM src")
}

fn failure(body: &str, limits: &str) -> String {
    let plan = compile(&failing(body, limits)).unwrap();
    run(&plan, &[r#"{"a": 1}"#]).unwrap_err().to_string()
}

#[test]
fn memory_is_bounded() {
    let grow = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)";
    assert!(failure(grow, "").contains("more memory than 64 pages of 64 KiB"), "{}", failure(grow, ""));
    assert!(failure(grow, "WITH ('memory-pages' = '3')").contains("than 3 pages"));
    let text = r#"(module (table $t 1 funcref) (func (export "bad") (param i64) (result i64)
        (drop (table.grow $t (ref.null func) (i32.const 131072))) (local.get 0)))"#;
    let create = format!("CREATE FUNCTION bad(BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(text));
    let plan = compile(&script(&create, "a BIGINT", "", "v BIGINT", "SELECT bad(a) FROM src")).unwrap();
    let error = run(&plan, &[r#"{"a": 1}"#]).unwrap_err().to_string();
    assert!(error.contains("more memory than 64 pages"), "{error}");
    // At once, too.
    let module =
        module(r#"(module (memory 1000) (func (export "bad") (param i64) (result i64) (local.get 0)))"#);
    let create = format!("CREATE FUNCTION bad(BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{module}'");
    let error = compile(&script(&create, "a BIGINT", "", "v BIGINT", "SELECT bad(a) FROM src")).unwrap_err();
    assert!(error.message.contains("does not begin"), "{error}");
}

/// Making tables costs no fuel, and is done for each row.
#[test]
fn tables_are_bounded_by_the_memory() {
    let refused = |tables: &str, limits: &str| {
        let text = format!(r#"(module {tables} (func (export "f") (param i64) (result i64) (local.get 0)))"#);
        let create =
            format!("CREATE FUNCTION f(BIGINT) RETURNS BIGINT LANGUAGE wasm {limits} AS '{}'", module(&text));
        compile(&script(&create, "a BIGINT", "", "v BIGINT", "SELECT f(a) FROM src")).err()
    };
    let many = refused(&"(table 100000 funcref)".repeat(100), "").expect("a hundred tables");
    assert!(many.message.contains("the module has more than 4 tables"), "{many:?}");
    assert!(many.help.contains("put its functions into one table"), "{many:?}");
    let large = refused("(table 200000 funcref)", "").expect("a large table");
    assert!(large.message.contains("a table of more than 131072 entries"), "{large:?}");
    assert!(large.help.contains("'memory-pages'"), "{large:?}");
    let small = refused("(table 4 funcref) (table 3000 funcref)", "WITH ('memory-pages' = '1')");
    assert!(small.expect("a table of more than a page").message.contains("more than 2048 entries"));
    assert!(refused("(table 200000 funcref)", "WITH ('memory-pages' = '100')").is_none());
    assert!(refused(&"(table 131072 funcref)".repeat(4), "").is_none());
}

#[test]
fn a_trap_is_an_error_and_no_more() {
    for (body, says, remedy) in [
        ("(unreachable)", "gave up: `unreachable` was reached", "in a test of the module"),
        ("(i64.div_s (local.get 0) (i64.const 0))", "divide by zero", "look at its arguments first"),
        ("(i64.load (i32.const 70000))", "out of bounds memory access", "addresses and lengths"),
        ("(call $f (local.get 0))", "nest too deep", "500 calls are the most"),
        ("(loop $again (br $again)) (unreachable)", "used up its fuel", "WITH ('fuel' = '...')"),
    ] {
        let error = failure(body, "");
        // Where in the input, in which expression, in which function of the module, and what to do.
        for part in ["in-0, offset 0", "bad", "the module's `bad` ", says, remedy] {
            assert!(error.contains(part), "{part} of {body}: {error}");
        }
    }
}

#[test]
fn results_that_are_none_are_errors() {
    let of = |result: &str, wasm: &str, body: &str| {
        let module = with_memory(&format!("(func (export \"bad\") (param i64) (result {wasm}) {body})"));
        let create = format!("CREATE FUNCTION bad(BIGINT) RETURNS {result} LANGUAGE wasm AS '{module}'");
        let outputs = format!("v {result}");
        let plan = compile(&script(&create, "a BIGINT", "", &outputs, "SELECT bad(a) FROM src")).unwrap();
        run(&plan, &[r#"{"a": 1}"#]).unwrap_err().to_string()
    };
    let nan = of("DOUBLE", "f64", "(f64.div (f64.const 0) (f64.const 0))");
    assert!(nan.contains("NaN, which is not finite"), "{nan}");
    let far = of("STRING", "i64", "(i64.const 0x7fffffff00000010)");
    assert!(far.contains("its memory ends at 65536"), "{far}");
    let not_text = of("STRING", "i64", "(i32.store8 (i32.const 8) (i32.const 255)) (i64.const 0x800000001)");
    assert!(not_text.contains("not UTF-8"), "{not_text}");
    let no_time = of("TIMESTAMP(3)", "i64", "(i64.const 0x7fffffffffffffff)");
    assert!(no_time.contains("years 1 to 9999"), "{no_time}");
}

#[test]
fn an_alloc_that_lies_is_an_error() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) (i32.const -4))
        (func (export "size") (param i32 i32) (result i64) (i64.extend_i32_u (local.get 1))))"#;
    let create = format!("CREATE FUNCTION size(STRING) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(text));
    let plan = compile(&script(&create, "a STRING", "", "v BIGINT", "SELECT size(a) FROM src")).unwrap();
    let error = run(&plan, &[r#"{"a": "text"}"#]).unwrap_err().to_string();
    assert!(error.contains("the module's `alloc` gave 4 bytes at 4294967292"), "{error}");
}
