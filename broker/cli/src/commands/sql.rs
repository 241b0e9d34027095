//! `logmill sql`: a question to what pipelines have written.

use anyhow::Context as _;
use logmill_client::{QueryResponse, QueryValue, query_value};
use serde_json::{Value, json};

use crate::arguments::{Connection, Output};
use crate::output::{self, note};

/// Ask for the rows of a table that a pipeline writes, as they are after its last committed epoch.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logmill sql \"SELECT * FROM carrier_hourly WHERE carrier = 'UA' ORDER BY window_start DESC LIMIT 5\"
  logmill sql \"SELECT * FROM shops WHERE shop IN ('a', 'b')\"
  logmill sql \"SELECT carrier, SUM(flights) AS n FROM carrier_hourly GROUP BY carrier ORDER BY n DESC\"

The table is one that a pipeline writes with 'output' = 'upsert', of which a key's last record is a row, or 'append'. WHERE,
GROUP BY, HAVING, DISTINCT, ORDER BY, LIMIT and OFFSET, and all functions; one table a query. WHERE with the whole key of an 'upsert'
table (=, IN, AND) reads the rows of these keys, every other query the whole topic.")]
pub(crate) struct Sql {
    /// The query; - reads it from standard input.
    query: String,
    /// The pipeline whose table is meant, where several write one of that name.
    #[arg(short, long, value_name = "NAME")]
    pipeline: Option<String>,
}

pub(crate) async fn run(command: Sql, connection: &Connection) -> anyhow::Result<()> {
    let query = match command.query.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?,
        query => query.to_owned(),
    };
    // No Kafka connection is needed.
    let pipelines = connection.pipelines()?;
    let answer = pipelines.query(&query, command.pipeline.as_deref()).await?;
    match connection.output {
        Output::Json => output::json("sql", document(&answer))?,
        Output::Table => {
            let headings: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
            let row = |row: &logmill_client::QueryRow| row.values.iter().map(cell).collect();
            let rows: Vec<Vec<String>> = answer.rows.iter().map(row).collect();
            output::table(&headings, &rows)?;
            let rows = if answer.rows.len() == 1 { "row" } else { "rows" };
            note(format!(
                "{} {rows} of {} looked at, pipeline {}, epoch {}",
                answer.rows.len(),
                answer.scanned,
                answer.pipeline,
                answer.epoch
            ));
        }
    }
    Ok(())
}

fn document(answer: &QueryResponse) -> Value {
    let columns: Vec<Value> =
        answer.columns.iter().map(|column| json!({ "name": column.name, "type": column.r#type })).collect();
    let rows: Vec<Value> =
        answer.rows.iter().map(|row| row.values.iter().map(value).collect::<Vec<_>>().into()).collect();
    json!({
        "pipeline": answer.pipeline,
        "epoch": answer.epoch,
        "scanned": answer.scanned,
        "columns": columns,
        "rows": rows,
    })
}

fn value(value: &QueryValue) -> Value {
    match &value.value {
        None => Value::Null,
        Some(query_value::Value::Truth(truth)) => (*truth).into(),
        Some(query_value::Value::Integer(integer)) => (*integer).into(),
        Some(query_value::Value::Float(float)) => (*float).into(),
        Some(query_value::Value::Text(text)) => text.as_str().into(),
        Some(query_value::Value::Bytes(bytes)) => hexadecimal(bytes).into(),
    }
}

fn cell(value: &QueryValue) -> String {
    match &value.value {
        None => "-".to_owned(),
        Some(query_value::Value::Truth(truth)) => truth.to_string(),
        Some(query_value::Value::Integer(integer)) => integer.to_string(),
        Some(query_value::Value::Float(float)) => float.to_string(),
        Some(query_value::Value::Text(text)) => text.escape_debug().to_string(),
        Some(query_value::Value::Bytes(bytes)) => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_what_they_are() {
        let of = |value| QueryValue { value: Some(value) };
        use query_value::Value as Is;
        let values = [
            (QueryValue { value: None }, "-", Value::Null),
            (of(Is::Truth(true)), "true", json!(true)),
            (of(Is::Integer(-7)), "-7", json!(-7)),
            (of(Is::Float(0.5)), "0.5", json!(0.5)),
            (of(Is::Text("a\nb".to_owned())), "a\\nb", json!("a\nb")),
            (of(Is::Bytes(vec![0, 255])), "00ff", json!("00ff")),
        ];
        for (given, shown, document) in values {
            assert_eq!((cell(&given).as_str(), value(&given)), (shown, document));
        }
    }
}
