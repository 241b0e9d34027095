//! One query for each way of keeping state, with an output that no interleaving of partitions decides.

use std::collections::BTreeMap;

use logmill_stream::Plan;

use super::support::{MemoryLogs, json, plan};
use super::{Checked, Violation, ensure};

pub(crate) const SOURCE: &str =
    "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
     WITH ('topic' = 'in', 'format' = 'json');";

/// What becomes of the rows of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Append,
    Upsert,
    Retract,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) mode: Mode,
    columns: &'static str,
    text: &'static str,
}

pub(crate) const TUMBLE: Query = Query {
    mode: Mode::Append,
    columns: "w TIMESTAMP(3), k STRING, n BIGINT, s BIGINT, m BIGINT",
    text: "SELECT window_start, k, COUNT(*), SUM(v), MIN(v)
           FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           WHERE v IS NULL OR v <> 13 GROUP BY window_start, window_end, k",
};
pub(crate) const HOP: Query = Query {
    mode: Mode::Append,
    columns: "w TIMESTAMP(3), k STRING, n BIGINT",
    text: "SELECT window_start, k, COUNT(DISTINCT v)
           FROM TABLE(HOP(TABLE src, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))
           GROUP BY window_start, window_end, k",
};
pub(crate) const SESSION: Query = Query {
    mode: Mode::Append,
    columns: "w TIMESTAMP(3), e TIMESTAMP(3), k STRING, n BIGINT, s BIGINT",
    text: "SELECT window_start, window_end, k, COUNT(*), SUM(v)
           FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND))
           GROUP BY k, window_start, window_end",
};
pub(crate) const GROUPED: Query = Query {
    mode: Mode::Upsert,
    columns: "k STRING, n BIGINT, s BIGINT, m BIGINT, d BIGINT, PRIMARY KEY (k) NOT ENFORCED",
    text: "SELECT COALESCE(k, 'none'), COUNT(*), SUM(v), MAX(v), COUNT(DISTINCT v) FROM src
           GROUP BY COALESCE(k, 'none') UNBOUNDED",
};
/// How many keys have how many rows.
pub(crate) const NESTED: Query = Query {
    mode: Mode::Retract,
    columns: "n BIGINT, keys BIGINT, most BIGINT",
    text: "SELECT n, COUNT(*), MAX(most) FROM (SELECT k, COUNT(*) AS n, MAX(v) AS most FROM src GROUP BY k)
           GROUP BY n UNBOUNDED",
};
const RANKED_IN_WINDOWS: Query = Query {
    mode: Mode::Append,
    columns: "w TIMESTAMP(3), k STRING, n BIGINT, r BIGINT",
    text: "SELECT window_start, k, n, r FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS r FROM (
               SELECT window_start, window_end, k, COUNT(*) AS n
               FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND))
               GROUP BY k, window_start, window_end))
           WHERE r <= 2",
};
const OVER_TIME: Query = Query {
    mode: Mode::Append,
    columns: "k STRING, ts TIMESTAMP(3), n BIGINT, s BIGINT",
    text: "SELECT k, ts, COUNT(*) OVER (PARTITION BY k ORDER BY ts),
             SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '8' SECOND PRECEDING AND CURRENT ROW)
           FROM src UNBOUNDED",
};
const FIRST: Query = Query {
    mode: Mode::Append,
    columns: "k STRING, v BIGINT, ts TIMESTAMP(3)",
    text: "SELECT k, v, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts, v) AS r FROM src)
           WHERE r = 1 UNBOUNDED",
};
const NEAR: Query = Query {
    mode: Mode::Append,
    columns: "k STRING, l BIGINT, r BIGINT",
    text:
        "SELECT a.k, a.v, b.v FROM src AS a
           LEFT JOIN src AS b ON a.k = b.k AND a.v < b.v AND b.ts BETWEEN a.ts - INTERVAL '5' SECOND AND a.ts",
};
const TOP: Query = Query {
    mode: Mode::Retract,
    columns: "k STRING, v BIGINT, r BIGINT",
    text: "SELECT k, v, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS r FROM src)
           WHERE r <= 2 UNBOUNDED",
};
pub(crate) const JOINED: Query = Query {
    mode: Mode::Retract,
    columns: "l BIGINT, r BIGINT",
    text: "SELECT a.v, b.v FROM (SELECT k, MAX(v) AS v FROM src GROUP BY k) AS a
           FULL JOIN (SELECT v, COUNT(*) AS n FROM src GROUP BY v) AS b ON a.v = b.v AND n > 1 UNBOUNDED",
};
const WINDOWS_THAT_CHANGE: Query = Query {
    mode: Mode::Upsert,
    columns: "w TIMESTAMP(3), k STRING, n BIGINT, PRIMARY KEY (w, k) NOT ENFORCED",
    text: "SELECT window_start, COALESCE(k, 'none'), COUNT(*)
           FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           GROUP BY window_start, window_end, COALESCE(k, 'none') EMIT CHANGES",
};

/// All of them.
pub(crate) const ALL: [Query; 12] = [
    TUMBLE,
    HOP,
    SESSION,
    GROUPED,
    NESTED,
    RANKED_IN_WINDOWS,
    OVER_TIME,
    FIRST,
    NEAR,
    TOP,
    JOINED,
    WINDOWS_THAT_CHANGE,
];

impl Query {
    pub(crate) fn script(&self) -> String {
        let output = match self.mode {
            Mode::Append => "append",
            Mode::Upsert => "upsert",
            Mode::Retract => "retract",
        };
        let Query { columns, text, .. } = self;
        format!(
            "{SOURCE} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json', 'output' = '{output}');
             INSERT INTO o {text}"
        )
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.script())
    }

    /// The rows that the output says are there, with how often they are.
    pub(crate) fn table(&self, logs: &MemoryLogs) -> Result<BTreeMap<String, i64>, Violation> {
        let mut table: BTreeMap<String, i64> = BTreeMap::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the engine writes JSON");
        match self.mode {
            Mode::Append => {
                logs.values("out").into_iter().for_each(|row| *table.entry(row).or_default() += 1)
            }
            Mode::Upsert => {
                let mut rows: BTreeMap<Vec<u8>, String> = BTreeMap::new();
                for (_, record) in logs.records("out") {
                    let key = record.key.expect("it has a key").to_vec();
                    match record.value {
                        Some(value) => drop(rows.insert(key, text(&value))),
                        None => drop(rows.remove(&key)),
                    }
                }
                rows.into_values().for_each(|row| *table.entry(row).or_default() += 1);
            }
            Mode::Retract => {
                for (_, record) in logs.records("out") {
                    let change = json(&text(&record.value.expect("a change has a value")));
                    take_change(&mut table, &change)?;
                }
            }
        }
        table.retain(|_, count| *count != 0);
        Ok(table)
    }
}

/// Takes a change into a table. A row that is not there cannot go.
fn take_change(table: &mut BTreeMap<String, i64>, change: &serde_json::Value) -> Checked {
    for (side, by) in [("before", -1), ("after", 1)] {
        if !change[side].is_null() {
            let row = change[side].to_string();
            let count = table.entry(row.clone()).or_default();
            *count += by;
            let there = *count >= 0;
            ensure(there, || format!("{row} goes, and is not there"))?;
        }
    }
    Ok(())
}
