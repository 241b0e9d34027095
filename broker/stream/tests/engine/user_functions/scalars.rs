//! Scalar functions in WebAssembly: every type in and out, `NULL`, and what a call may not leave behind.

use super::{module, results, script, with_memory};

#[test]
fn numbers_go_in_and_out_as_they_are() {
    let text = r#"(module
        (func (export "add") (param i64 f64) (result f64)
          (f64.add (f64.convert_i64_s (local.get 0)) (local.get 1))))"#;
    let create =
        format!("CREATE FUNCTION add(a BIGINT, b DOUBLE) RETURNS DOUBLE LANGUAGE wasm AS '{}'", module(text));
    let script = script(&create, "a BIGINT, b DOUBLE", "", "v DOUBLE", "SELECT add(a, b) FROM src");
    // An argument that is NULL makes the result NULL without a call.
    let rows = [r#"{"a": 2, "b": 0.5}"#, r#"{"a": null, "b": 1}"#, r#"{"a": -3, "b": 3}"#];
    assert_eq!(results(&script, &rows), [r#"{"v":2.5}"#, r#"{"v":null}"#, r#"{"v":0.0}"#]);
}

#[test]
fn truths_days_and_instants_are_numbers() {
    let text = r#"(module
        (func (export "later") (param $flag i32) (param $day i32) (param $at i64) (result i64)
          (i64.add (local.get $at)
            (i64.mul (i64.extend_i32_s (i32.mul (local.get $flag) (local.get $day))) (i64.const 1000))))
        (func (export "even_day") (param i32) (result i32)
          (i32.eqz (i32.and (local.get 0) (i32.const 1))))
        (func (export "next_day") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#;
    let module = module(text);
    let create = format!(
        "CREATE FUNCTION later(BOOLEAN, DATE, TIMESTAMP(3)) RETURNS TIMESTAMP(3) LANGUAGE wasm AS '{module}';
         CREATE FUNCTION even_day(day DATE) RETURNS BOOLEAN LANGUAGE wasm AS '{module}';
         CREATE FUNCTION next_day(day DATE) RETURNS DATE LANGUAGE wasm AS '{module}'"
    );
    let query = "SELECT later(a, d, t), even_day(d), NEXT_DAY(d) FROM src";
    let script =
        script(&create, "a BOOLEAN, d DATE, t TIMESTAMP(3)", "", "t TIMESTAMP(3), e BOOLEAN, n DATE", query);
    let rows = [r#"{"a": true, "d": "1970-01-04", "t": "1970-01-01T00:00:00Z"}"#];
    assert_eq!(results(&script, &rows), [r#"{"t":"1970-01-01T00:00:03Z","e":false,"n":"1970-01-05"}"#]);
}

const REVERSE: &str = r#"
    (func (export "backwards") (param $at i32) (param $length i32) (result i64)
      (local $to i32) (local $left i32)
      (local.set $to (i32.const 512))
      (local.set $left (local.get $length))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (i32.store8 (local.get $to) (i32.load8_u (i32.add (local.get $at) (local.get $left))))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $next)))
      (i64.or (i64.const 0x20000000000) (i64.extend_i32_u (local.get $length))))"#;

#[test]
fn texts_and_bytes_are_passed_in_its_memory() {
    let module = with_memory(REVERSE);
    let create = format!("CREATE FUNCTION backwards(a STRING) RETURNS STRING LANGUAGE wasm AS '{module}'");
    let script = script(&create, "a STRING", "", "v STRING", "SELECT backwards(UPPER(a)) FROM src");
    let rows = [r#"{"a": "abc"}"#, r#"{"a": ""}"#, r#"{"a": null}"#, r#"{"a": "mill"}"#];
    let expected = [r#"{"v":"CBA"}"#, r#"{"v":""}"#, r#"{"v":null}"#, r#"{"v":"LLIM"}"#];
    assert_eq!(results(&script, &rows), expected);
}

#[test]
fn a_function_may_be_called_on_null_and_may_give_it() {
    // The mean of what is there; NULL where nothing is.
    let text = r#"(module (global $null (mut i32) (i32.const 0))
        (func (export "mean") (param $there_a i32) (param $a i64) (param $there_b i32) (param $b i64) (result i64)
          (local $count i64)
          (local.set $count (i64.extend_i32_u (i32.add (local.get $there_a) (local.get $there_b))))
          (if (result i64) (i64.eqz (local.get $count))
            (then (global.set $null (i32.const 1)) (i64.const 0))
            (else (i64.div_s (i64.add (local.get $a) (local.get $b)) (local.get $count)))))
        (func (export "mean_is_null") (result i32) (global.get $null)))"#;
    let create = format!(
        "CREATE FUNCTION mean(a BIGINT, b BIGINT) RETURNS BIGINT CALLED ON NULL INPUT LANGUAGE wasm AS '{}'",
        module(text)
    );
    let script = script(&create, "a BIGINT, b BIGINT", "", "v BIGINT", "SELECT mean(a, b) FROM src");
    let rows = [r#"{"a": 2, "b": 4}"#, r#"{"a": 7}"#, "{}", r#"{"b": 5}"#];
    let expected = [r#"{"v":3}"#, r#"{"v":7}"#, r#"{"v":null}"#, r#"{"v":5}"#];
    assert_eq!(results(&script, &rows), expected);
}

#[test]
fn nothing_goes_from_one_call_to_the_next() {
    // It would count its calls, in a variable and in its memory.
    let module = with_memory(
        r#"(global $calls (mut i64) (i64.const 0))
           (func (export "tally") (param i64) (result i64)
             (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
             (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
             (i64.add (global.get $calls) (i64.load (i32.const 0))))"#,
    );
    let create = format!("CREATE FUNCTION tally(BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{module}'");
    let script = script(&create, "a BIGINT", "", "v BIGINT", "SELECT tally(a) FROM src");
    let expected = [r#"{"v":2}"#, r#"{"v":2}"#, r#"{"v":2}"#];
    assert_eq!(results(&script, &[r#"{"a": 1}"#, r#"{"a": 1}"#, r#"{"a": 5}"#]), expected);
}

#[test]
fn it_stands_wherever_a_built_in_function_does() {
    let text = r#"(module (func (export "twice") (param i64) (result i64)
        (i64.mul (local.get 0) (i64.const 2))))"#;
    let create = format!("CREATE FUNCTION twice(BIGINT) RETURNS BIGINT LANGUAGE wasm AS '{}'", module(text));
    let grouped = script(
        &create,
        "a BIGINT, b AS twice(a), ts TIMESTAMP(3), WATERMARK FOR ts AS ts",
        "",
        "k BIGINT, n BIGINT",
        "SELECT twice(b) AS k, twice(SUM(twice(a))) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '1' DAY))
         WHERE twice(a) > 2 GROUP BY window_start, window_end, twice(b) HAVING twice(COUNT(*)) > 2",
    );
    let row = |a: i64| format!(r#"{{"a": {a}, "ts": "2020-01-01T00:00:00Z"}}"#);
    let rows = [row(1), row(2), row(2), row(3)];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(results(&grouped, &rows), [r#"{"k":8,"n":16}"#]);
    let joined = format!(
        "{create};
         CREATE TABLE src (a BIGINT, b BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (a BIGINT, b BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT x.a, y.b FROM src x JOIN src y ON twice(x.a) = y.b WHERE twice(y.b) > 4 UNBOUNDED"
    );
    let rows = [r#"{"a": 1, "b": 4}"#, r#"{"a": 2, "b": 2}"#];
    assert_eq!(results(&joined, &rows), [r#"{"a":2,"b":4}"#]);
}
