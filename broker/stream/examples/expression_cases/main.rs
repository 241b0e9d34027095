//! Random expressions over random rows with what this engine computes, as JSON lines, for another engine to compute too.
//!
//! ```text
//! cargo run --release -p logmill-stream --example expression_cases -- SEED BATCHES
//! ```
//!
//! A line is a batch: rows as DuckDB's literals, and cases. A case has the expression in this language (`ours`) and in
//! DuckDB's (`duck`), its type, a result for every row (`{"v": ..}` or `{"e": ..}`), whether it has parts that need not
//! be computed (`lazy`), and whether floats may differ in their last digits (`approximate`). Where the two languages
//! differ on purpose, `duck` says what PostgreSQL would: integers are divided with `//`, floats that are not finite are
//! errors (`fin`), and what differs beyond that is not generated (`.ci/fuzz/compare` lists it).

mod expressions;
mod generator;

use std::io::{self, BufWriter, Write};

use expressions::Pair;
use generator::Generator;
use logmill_stream::time::{Iso, IsoDate};
use logmill_stream::{DataType, Scalar, Value};
use serde_json::json;

const ROWS: usize = 16;
const CASES: usize = 40;

const COLUMNS: [(&str, DataType); 16] = [
    ("i1", DataType::BigInt),
    ("i2", DataType::BigInt),
    ("i3", DataType::BigInt),
    ("d1", DataType::Double),
    ("d2", DataType::Double),
    ("n1", DataType::Decimal { precision: 10, scale: 2 }),
    ("n2", DataType::Decimal { precision: 18, scale: 4 }),
    ("s1", DataType::String),
    ("s2", DataType::String),
    ("s3", DataType::String),
    ("b1", DataType::Boolean),
    ("b2", DataType::Boolean),
    ("t1", DataType::Timestamp),
    ("t2", DataType::Timestamp),
    ("y1", DataType::Date),
    ("j1", DataType::String),
];

/// A value as DuckDB reads it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::BigInt(value) => format!("CAST('{value}' AS BIGINT)"),
        Value::Double(value) => format!("CAST('{value:e}' AS DOUBLE)"),
        Value::Decimal(value) => format!("CAST('{value}' AS DECIMAL(18, 4))"),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Timestamp(ms) => {
            format!("CAST('{}' AS TIMESTAMP)", Iso(*ms).to_string().trim_end_matches('Z'))
        }
        Value::Date(day) => format!("CAST('{}' AS DATE)", IsoDate(*day)),
        Value::Bytes(_) => unreachable!("no column has bytes"),
    }
}

fn result(result: &Result<Value, String>) -> serde_json::Value {
    match result {
        Err(reason) => json!({ "e": reason }),
        Ok(Value::Null) => json!({ "v": null }),
        Ok(Value::Boolean(value)) => json!({ "v": value }),
        Ok(Value::BigInt(value)) => json!({ "v": value.to_string() }),
        Ok(Value::Double(value)) => json!({ "v": format!("{value:e}") }),
        Ok(Value::Decimal(value)) => json!({ "v": value.to_string() }),
        Ok(Value::String(text)) => json!({ "v": text }),
        Ok(Value::Timestamp(ms)) => json!({ "v": ms.to_string() }),
        Ok(Value::Date(day)) => json!({ "v": day.to_string() }),
        Ok(Value::Bytes(_)) => unreachable!("no expression makes bytes"),
    }
}

fn batch(seed: u64) -> serde_json::Value {
    let mut generator = Generator::new(seed);
    let rows: Vec<Vec<Value>> = (0..ROWS)
        .map(|_| COLUMNS.iter().map(|(name, data_type)| generator.value(name, *data_type)).collect())
        .collect();
    let literals: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(literal).collect()).collect();
    let mut cases = Vec::new();
    while cases.len() < CASES {
        let Pair { ours, duck } = generator.root();
        let case = match Scalar::compile(&COLUMNS, &ours) {
            Ok(scalar) => {
                let data_type = scalar.data_type().to_string();
                let results: Vec<_> = scalar.evaluate(&rows, 0).iter().map(result).collect();
                json!({ "ours": ours, "duck": duck, "type": data_type, "results": results,
                        "lazy": generator.lazy, "approximate": generator.approximate })
            }
            Err(error) => json!({ "ours": ours, "duck": duck, "refused": error.to_string() }),
        };
        cases.push(case);
    }
    json!({ "seed": seed, "rows": literals, "cases": cases })
}

fn main() -> io::Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [seed, batches] = arguments.as_slice() else {
        return Err(io::Error::other("usage: expression_cases SEED BATCHES"));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for seed in *seed..seed.saturating_add(*batches) {
        writeln!(out, "{}", batch(seed))?;
    }
    out.flush()
}
