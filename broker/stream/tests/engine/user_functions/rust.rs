//! Functions in Rust, given by the program that embeds the engine.

use logmill_stream::{
    Argument, DataType, FunctionError, FunctionSignature, Functions, TrialOptions, UserAggregate, Value,
    compile_with,
};

use super::{outputs, run, run_with, script};

fn initials(arguments: &[Argument<'_>]) -> Result<Value, String> {
    match arguments {
        [Argument::String(text)] => {
            let initials: String = text.split(' ').filter_map(|word| word.chars().next()).collect();
            match initials.is_empty() {
                true => Err("there are no words".to_owned()),
                false => Ok(Value::String(initials)),
            }
        }
        other => Err(format!("not what was declared: {other:?}")),
    }
}

#[test]
fn a_closure_is_a_function_of_the_script() {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("initials", &[DataType::String], DataType::String);
    functions.scalar(signature, initials).unwrap();
    let text = script("", "a STRING", ", 'on-error' = 'skip'", "v STRING", "SELECT initials(a) FROM src");
    assert!(logmill_stream::compile(&text).unwrap_err().message.contains("no function initials"));
    let plan = compile_with(&text, &functions).unwrap();
    let trial = run(&plan, &[r#"{"a": "log mill"}"#, r#"{"a": ""}"#, "{}"]).unwrap();
    assert_eq!(outputs(&trial, "out"), [r#"{"v":"lm"}"#, r#"{"v":null}"#]);
    assert_eq!(trial.totals.skipped, 1);
}

#[test]
fn what_it_gives_is_checked() {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("wrong", &[], DataType::BigInt);
    functions.scalar(signature, |_: &[Argument<'_>]| Ok(Value::String("x".to_owned()))).unwrap();
    let text = script("", "a BIGINT", "", "v BIGINT", "SELECT wrong() FROM src");
    let plan = compile_with(&text, &functions).unwrap();
    let error = run(&plan, &["{}"]).unwrap_err().to_string();
    assert!(error.contains("it gave 'x', which is no BIGINT"), "{error}");
}

#[test]
fn texts_it_makes_are_bounded() {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("blow_up", &[DataType::BigInt], DataType::String);
    let blow_up = |arguments: &[Argument<'_>]| match arguments {
        [Argument::BigInt(length)] => Ok(Value::String("x".repeat(*length as usize))),
        other => Err(format!("{other:?}")),
    };
    functions.scalar(signature, blow_up).unwrap();
    let text = script("", "a BIGINT", "", "v BIGINT", "SELECT CHAR_LENGTH(blow_up(a)) FROM src");
    let plan = compile_with(&text, &functions).unwrap();
    let error = run(&plan, &[r#"{"a": 20000000}"#]).unwrap_err().to_string();
    assert!(error.contains("more than 16 MiB"), "{error}");
    // Many at once are made in parts.
    let trial = run(&plan, &[r#"{"a": 10000000}"#; 40]).unwrap();
    assert_eq!(outputs(&trial, "out"), [r#"{"v":10000000}"#; 40]);
}

#[test]
fn names_are_checked() {
    let mut functions = Functions::new();
    let mut add = |name: &str| {
        let signature = FunctionSignature::new(name, &[DataType::BigInt], DataType::BigInt);
        functions.scalar(signature, |_: &[Argument<'_>]| Ok(Value::Null)).map(|_| ())
    };
    assert_eq!(add("mine"), Ok(()));
    assert_eq!(add("MINE"), Err(FunctionError::Twice { name: "MINE".to_owned() }));
    for name in ["sum", "Upper", "row_number", "now"] {
        assert_eq!(add(name), Err(FunctionError::BuiltIn { name: name.to_owned() }));
    }
    for name in ["", "1a", "a b", "a;b"] {
        assert_eq!(add(name), Err(FunctionError::BadName { name: name.to_owned() }));
    }
}

#[test]
fn another_version_is_another_plan() {
    let text = script("", "a BIGINT", "", "v BIGINT", "SELECT mine(a) FROM src");
    let of = |version: u32| {
        let mut functions = Functions::new();
        let signature = FunctionSignature::new("mine", &[DataType::BigInt], DataType::BigInt);
        functions.scalar(signature.version(version), |_: &[Argument<'_>]| Ok(Value::Null)).unwrap();
        compile_with(&text, &functions).unwrap()
    };
    assert_eq!(of(1).fingerprint(), of(1).fingerprint());
    assert_ne!(of(1).fingerprint(), of(2).fingerprint());
    // A plan that was stored has no functions in Rust, and says so.
    let back: logmill_stream::Plan = serde_json::from_str(&serde_json::to_string(&of(1)).unwrap()).unwrap();
    let error = run(&back, &[r#"{"a": 1}"#]).unwrap_err().to_string();
    assert!(error.contains("compile the script again"), "{error}");
}

/// The product of all values.
struct Product;

impl UserAggregate for Product {
    fn add(&self, state: &mut Vec<u8>, value: Argument<'_>) -> Result<(), String> {
        let Argument::BigInt(value) = value else { return Err(format!("{value:?}")) };
        *state = of(state).checked_mul(value).ok_or("the product is too large")?.to_be_bytes().to_vec();
        Ok(())
    }

    fn merge(&self, state: &mut Vec<u8>, later: &[u8]) -> Result<(), String> {
        self.add(state, Argument::BigInt(of(later)))
    }

    fn finish(&self, state: &[u8]) -> Result<Value, String> {
        Ok(if state.is_empty() { Value::Null } else { Value::BigInt(of(state)) })
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn take_back(&self, state: &mut Vec<u8>, value: Argument<'_>) -> Result<(), String> {
        let Argument::BigInt(value) = value else { return Err(format!("{value:?}")) };
        *state = (of(state) / value).to_be_bytes().to_vec();
        Ok(())
    }
}

fn of(state: &[u8]) -> i64 {
    state.try_into().map_or(1, i64::from_be_bytes)
}

fn product() -> Functions {
    let mut functions = Functions::new();
    let signature = FunctionSignature::new("product", &[DataType::BigInt], DataType::BigInt);
    functions.aggregate(signature, Product).unwrap();
    functions
}

#[test]
fn an_aggregate_keeps_its_state_in_the_changelog() {
    let text = "CREATE TABLE src (k STRING, a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (k STRING, p BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, product(a) FROM src GROUP BY k UNBOUNDED";
    let plan = compile_with(text, &product()).unwrap();
    let rows = [
        r#"{"k": "x", "a": 2}"#,
        r#"{"k": "y", "a": 5}"#,
        r#"{"k": "x", "a": 3}"#,
        r#"{"k": "x"}"#,
        r#"{"k": "x", "a": 7}"#,
    ];
    let limits = logmill_stream::EpochLimits { input_records: 1, ..Default::default() };
    let restored = TrialOptions { limits, restore_every: 1, ..TrialOptions::default() };
    let trial = run_with(&plan, &rows, restored).unwrap();
    assert_eq!(outputs(&trial, "out").last().unwrap(), r#"{"k":"x","p":42}"#);
    assert!(outputs(&trial, "out").contains(&r#"{"k":"y","p":5}"#.to_owned()));
}

#[test]
fn an_aggregate_may_take_rows_back() {
    // The inner groups change, so what the outer ones took of them is taken back.
    let text = "CREATE TABLE src (k STRING, a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (g STRING, p BIGINT, PRIMARY KEY (g) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT 'all', product(s) FROM (SELECT k, SUM(a) AS s FROM src GROUP BY k) GROUP BY 'all' UNBOUNDED";
    let text = text.replace("SELECT 'all', product(s)", "SELECT g, product(s)");
    let text = text.replace("(SELECT k, SUM(a) AS s", "(SELECT 'all' AS g, k, SUM(a) AS s");
    let text = text.replace("GROUP BY 'all' UNBOUNDED", "GROUP BY g UNBOUNDED");
    let plan = compile_with(&text, &product()).unwrap();
    let rows = [r#"{"k": "x", "a": 2}"#, r#"{"k": "y", "a": 5}"#, r#"{"k": "x", "a": 1}"#];
    let limits = logmill_stream::EpochLimits { input_records: 1, ..Default::default() };
    let trial = run_with(&plan, &rows, TrialOptions { limits, ..TrialOptions::default() }).unwrap();
    assert_eq!(outputs(&trial, "out").last().unwrap(), r#"{"g":"all","p":15}"#);
}

#[test]
fn what_an_aggregate_cannot_compute_is_an_error_of_its_row() {
    let text = "CREATE TABLE src (k STRING, a BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (k STRING, p BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, product(a) FROM src GROUP BY k UNBOUNDED";
    let plan = compile_with(text, &product()).unwrap();
    let rows = [r#"{"k": "x", "a": 9223372036854775807}"#, r#"{"k": "x", "a": 2}"#];
    let error = run(&plan, &rows).unwrap_err().to_string();
    assert!(error.contains("the product is too large") && error.contains("product"), "{error}");
}
