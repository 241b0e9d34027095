//! The rows that queries are asked of.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::input::{Event, Events};
use crate::random::Random;

/// The two tables, which have the same columns. No row comes later than the watermark.
pub(super) const SCRIPT: &str = "\
CREATE TABLE a (id BIGINT, k STRING, g BIGINT, v BIGINT, n DECIMAL(10, 2), f DOUBLE, t BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) WITH ('topic' = 'a', 'format' = 'json');
CREATE TABLE b (id BIGINT, k STRING, g BIGINT, v BIGINT, n DECIMAL(10, 2), f DOUBLE, t BOOLEAN, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) WITH ('topic' = 'b', 'format' = 'json');
";
const TOPICS: [&str; 2] = ["a", "b"];
const KEYS: [&str; 6] = ["a", "b", "ab", "", "é", "B"];
/// How far a row may come behind one that is newer, less than the watermark's delay.
const DISORDER_MS: i64 = 15_000;
const FIRST_MS: i64 = 1_700_000_003_000;
const MAX_ROWS: usize = 40;
const MAX_PARTITIONS: usize = 3;

/// One row. No two of a table have the same `id`, or the same `ts`.
#[derive(Debug)]
struct Row {
    topic: &'static str,
    partition: i32,
    id: i64,
    k: Option<&'static str>,
    g: Option<i64>,
    v: Option<i64>,
    /// Hundredths.
    n: Option<i64>,
    /// Sixteenths, so that sums of some are exact in any order.
    f: Option<i64>,
    t: Option<bool>,
    ts: i64,
}

/// The rows of both tables, in the order they come.
#[derive(Debug)]
pub(super) struct Tables {
    rows: Vec<Row>,
    partitions: BTreeMap<&'static str, i32>,
}

impl Tables {
    pub(super) fn random(random: &mut Random) -> Tables {
        let partitions: BTreeMap<&str, i32> =
            TOPICS.map(|topic| (topic, 1 + random.below(MAX_PARTITIONS) as i32)).into();
        let counts = TOPICS.map(|_| 1 + random.below(MAX_ROWS));
        // How many keys there are, and how far apart rows come, makes groups large or small.
        let keys = 1 + random.below(KEYS.len());
        let step = [50, 700, 4_000][random.below(3)];
        let mut rows = Vec::new();
        let mut now = FIRST_MS;
        for id in 0..counts.iter().copied().max().unwrap_or(0) {
            for (topic, _) in TOPICS.iter().zip(counts).filter(|(_, count)| id < *count) {
                now += random.below(step) as i64;
                let back = random.below(DISORDER_MS as usize / 100) as i64 * 100;
                rows.push(Row {
                    topic,
                    partition: random.below(partitions[topic] as usize) as i32,
                    id: id as i64,
                    k: some(random, |random| KEYS[random.below(keys)]),
                    g: some(random, |random| random.below(4) as i64),
                    v: some(random, |random| random.below(41) as i64 - 20),
                    n: some(random, |random| random.below(20_001) as i64 - 10_000),
                    f: some(random, |random| random.below(641) as i64 - 320),
                    t: some(random, |random| random.below(2) == 0),
                    // Instants end with the row's number: none is there twice.
                    ts: (now - back) / 100 * 100 + id as i64,
                });
            }
        }
        Tables { rows, partitions }
    }

    pub(super) fn events(&self) -> Events {
        let event = |row: &Row| Event {
            topic: row.topic,
            partition: row.partition,
            key: None,
            value: Some(row.json()),
        };
        Events { events: self.rows.iter().map(event).collect(), partitions: self.partitions.clone() }
    }

    /// Each table's rows as DuckDB reads them.
    pub(super) fn literals(&self) -> Value {
        let of = |topic: &str| -> Vec<String> {
            self.rows.iter().filter(|row| row.topic == topic).map(Row::literal).collect()
        };
        Value::Object(
            TOPICS.iter().map(|topic| ((*topic).to_owned(), json!(of(topic)))).collect::<Map<_, _>>(),
        )
    }
}

fn some<T>(random: &mut Random, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
    (random.below(6) > 0).then(|| make(random))
}

fn hundredths(n: i64) -> String {
    format!("{}{}.{:02}", if n < 0 { "-" } else { "" }, n.abs() / 100, n.abs() % 100)
}

impl Row {
    fn json(&self) -> String {
        let mut fields = vec![format!("\"id\":{}", self.id), format!("\"ts\":{}", self.ts)];
        // A column without a value is null, or is not there.
        let mut field = |name: &str, value: Option<String>| match value {
            Some(value) => fields.push(format!("\"{name}\":{value}")),
            None if self.id % 2 == 0 => fields.push(format!("\"{name}\":null")),
            None => {}
        };
        field("k", self.k.map(|k| format!("\"{k}\"")));
        field("g", self.g.map(|g| g.to_string()));
        field("v", self.v.map(|v| v.to_string()));
        field("n", self.n.map(hundredths));
        field("f", self.f.map(|f| (f as f64 / 16.0).to_string()));
        field("t", self.t.map(|t| t.to_string()));
        format!("{{{}}}", fields.join(","))
    }

    fn literal(&self) -> String {
        let or_null = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        let cells = [
            self.id.to_string(),
            or_null(self.k.map(|k| format!("'{k}'"))),
            or_null(self.g.map(|g| g.to_string())),
            or_null(self.v.map(|v| v.to_string())),
            or_null(self.n.map(hundredths)),
            or_null(self.f.map(|f| (f as f64 / 16.0).to_string())),
            or_null(self.t.map(|t| t.to_string())),
            format!("epoch_ms({})", self.ts),
        ];
        format!("({})", cells.join(", "))
    }
}
