//! Functions of the user's own, in WebAssembly and in Rust.

mod aggregates;
mod declared;
mod hostile;
mod rust;
mod scalars;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logmill_stream::{Plan, Trial, TrialError, TrialOptions, TrialRecord, compile, run_trial};

/// A module written as text, as a script takes it.
fn module(text: &str) -> String {
    STANDARD.encode(wat::parse_str(text).unwrap_or_else(|error| panic!("{error}")))
}

/// A module that has a memory, and an `alloc` that gives one place after the other.
fn with_memory(rest: &str) -> String {
    module(&format!(
        r#"(module (memory (export "memory") 1) (global $next (mut i32) (i32.const 1024))
            (func (export "alloc") (param $length i32) (result i32)
              (local $place i32)
              (local.set $place (global.get $next))
              (global.set $next (i32.add (global.get $next) (local.get $length)))
              (local.get $place))
            {rest})"#
    ))
}

/// A table `src` with these columns, and one `o` with these, filled by a query.
fn script(functions: &str, columns: &str, options: &str, outputs: &str, query: &str) -> String {
    format!(
        "{functions};
         CREATE TABLE src ({columns}) WITH ('topic' = 'in', 'format' = 'json' {options});
         CREATE TABLE o ({outputs}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o {query}"
    )
}

fn run(plan: &Plan, values: &[&str]) -> Result<Trial, TrialError> {
    run_with(plan, values, TrialOptions::default())
}

fn run_with(plan: &Plan, values: &[&str], options: TrialOptions) -> Result<Trial, TrialError> {
    let record =
        |value: &&str| TrialRecord { value: Some(value.as_bytes().to_vec()), ..TrialRecord::default() };
    let inputs = BTreeMap::from([("in".to_owned(), values.iter().map(record).collect())]);
    run_trial(plan, &inputs, options)
}

fn outputs(trial: &Trial, topic: &str) -> Vec<String> {
    let text = |record: &logmill_record::Record| {
        String::from_utf8(record.value.clone().unwrap_or_default().to_vec()).unwrap()
    };
    trial.outputs[topic].iter().map(text).collect()
}

/// What a script that compiles gives for these records.
fn results(script: &str, values: &[&str]) -> Vec<String> {
    let plan = compile(script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(script)));
    outputs(&run(&plan, values).unwrap_or_else(|error| panic!("{error}")), "out")
}
