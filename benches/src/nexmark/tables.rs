//! The scripts: tables as each engine declares them, around a query that is the same.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::nexmark::queries::{Column, Query, ROWTIME, WATERMARK_DELAY_MS};
use crate::nexmark::topics::Names;

/// Streams and Flink may keep a transaction open for so long; Kafka's brokers allow no more than 15 minutes.
const TRANSACTION_TIMEOUT_MS: u32 = 600_000;

/// The script for Logmill.
pub(crate) fn logmill(query: Query, names: &Names) -> String {
    let mut script = String::new();
    for table in query.tables() {
        let columns = columns(table.columns(), "TIMESTAMP(3)");
        let topic = names.source(*table);
        put(
            &mut script,
            &format!(
                "CREATE TABLE {} ({columns}, {}) WITH ('topic' = '{topic}', 'format' = 'json');",
                table.name(),
                watermark("date_time")
            ),
        );
    }
    let (key, output) = match query.key() {
        Some(key) => (format!(", PRIMARY KEY ({key}) NOT ENFORCED"), ", 'output' = 'upsert'"),
        None => (String::new(), ""),
    };
    let columns = columns(query.columns(), "TIMESTAMP(3)");
    put(
        &mut script,
        &format!(
            "CREATE TABLE answer ({columns}{key}) WITH ('topic' = '{}', 'format' = 'json'{output});",
            names.output()
        ),
    );
    let unbounded = if query.unbounded() { "\nUNBOUNDED" } else { "" };
    put(&mut script, &format!("INSERT INTO answer\n{}{unbounded};", query.select().trim_end()));
    script
}

/// The script for Flink: JSON has event time as a number, which Flink does not read as a TIMESTAMP. A view gives the computed
/// column the name that the query knows.
pub(crate) fn flink(query: Query, names: &Names, broker: SocketAddr) -> String {
    let mut script = String::new();
    for table in query.tables() {
        let name = table.name();
        put(
            &mut script,
            &format!(
                "CREATE TABLE {name}_topic ({}, row_time AS TO_TIMESTAMP_LTZ(date_time, 3), {}) WITH (\
                 'connector' = 'kafka', 'topic' = '{}', 'properties.bootstrap.servers' = '{broker}', \
                 'properties.group.id' = '{}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');",
                columns(table.columns(), "BIGINT"),
                watermark("row_time"),
                names.source(*table),
                names.group()
            ),
        );
        let selected: Vec<&str> = table
            .columns()
            .iter()
            .map(|(name, of)| if *of == ROWTIME { "row_time AS date_time" } else { name })
            .collect();
        put(&mut script, &format!("CREATE VIEW {name} AS SELECT {} FROM {name}_topic;", selected.join(", ")));
    }
    let columns = columns(query.columns(), "TIMESTAMP_LTZ(3)");
    let sink = format!(
        "'topic' = '{}', 'properties.bootstrap.servers' = '{broker}', 'sink.delivery-guarantee' = 'exactly-once', \
         'sink.transactional-id-prefix' = '{}', 'properties.transaction.timeout.ms' = '{TRANSACTION_TIMEOUT_MS}'",
        names.output(),
        names.group()
    );
    let table = match query.key() {
        Some(key) => format!(
            "CREATE TABLE answer ({columns}, PRIMARY KEY ({key}) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', {sink}, \
             'key.format' = 'json', 'value.format' = 'json');"
        ),
        None => {
            format!(
                "CREATE TABLE answer ({columns}) WITH ('connector' = 'kafka', {sink}, 'format' = 'json');"
            )
        }
    };
    put(&mut script, &table);
    put(&mut script, &format!("INSERT INTO answer\n{};", query.select().trim_end()));
    script
}

/// What Spark's program is told of the tables. JSON has event time as a number; the program makes a time of it.
pub(crate) fn spark(query: Query, names: &Names) -> Vec<String> {
    let mut options = Vec::new();
    for table in query.tables() {
        let name = table.name();
        options.push(format!("table.{name}.topic={}", names.source(*table)));
        options.push(format!("table.{name}.columns={}", columns(table.columns(), "BIGINT")));
    }
    options.push(format!("delay={WATERMARK_DELAY_MS} milliseconds"));
    options.push(format!("group={}", names.group()));
    options.push(format!("output={}", names.output()));
    let (mode, key) = match query.key() {
        Some(key) => ("update", Some(format!("key={}", key.replace('`', "")))),
        None => ("append", None),
    };
    options.push(format!("mode={mode}"));
    options.extend(key);
    options
}

fn columns(columns: &[Column], row_time: &str) -> String {
    let column = |(name, of): &Column| format!("{name} {}", if *of == ROWTIME { row_time } else { of });
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn watermark(column: &str) -> String {
    format!("WATERMARK FOR {column} AS {column} - INTERVAL '{}' SECOND", WATERMARK_DELAY_MS / 1000)
}

fn put(script: &mut String, statement: &str) {
    writeln!(script, "{statement}").expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::nexmark::queries::Table;

    #[test]
    fn scripts_say_what_is_special_of_a_query() {
        let names = Names::new("x");
        let script = logmill(Query::Q18, &names);
        assert!(script.contains("PRIMARY KEY (bidder, auction) NOT ENFORCED"), "{script}");
        assert!(script.contains("'output' = 'upsert'") && script.ends_with("UNBOUNDED;\n"), "{script}");
        let script = flink(Query::Q18, &names, "127.0.0.1:9092".parse().unwrap());
        assert!(script.contains("upsert-kafka") && !script.contains("UNBOUNDED"), "{script}");
    }

    #[test]
    fn spark_replaces_rows_that_have_a_key() {
        let names = Names::new("x");
        let options = spark(Query::Q17, &names);
        assert!(options.contains(&"mode=update".to_owned()), "{options:?}");
        assert!(options.contains(&"key=auction, day".to_owned()), "{options:?}");
        let options = spark(Query::Q20, &names);
        assert!(options.contains(&"mode=append".to_owned()), "{options:?}");
        assert!(!options.iter().any(|option| option.starts_with("key=")), "{options:?}");
    }

    #[test]
    fn no_engine_is_shown_the_word_for_event_time() {
        for query in Query::value_variants() {
            let names = Names::new("x");
            let flink = flink(*query, &names, "127.0.0.1:9092".parse().unwrap());
            for shown in [logmill(*query, &names), flink, spark(*query, &names).join(" ")] {
                assert!(!shown.contains(ROWTIME), "{shown}");
                for table in Table::ALL {
                    assert_eq!(
                        shown.contains(&names.source(table)),
                        query.tables().contains(&table),
                        "{query:?} {table:?}"
                    );
                }
            }
        }
    }
}
