//! Joins and tables whose rows replace one another, through SQL: each case whole, one record at a time, with a restore
//! after every epoch, and on several shards.

mod changes;
mod extremes;
mod plans;
mod streams;
mod versions;

use std::collections::BTreeMap;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_stream::EpochLimits;

use crate::support::{MemoryLogs, plan, restored, run_bounded, small_epochs};

/// The topics a case reads, with a record a line: `value`, `key => value`, or `key =>` without a value.
type Inputs<'i> = [(&'i str, &'i str)];

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn filled(inputs: &Inputs<'_>, shards: usize) -> MemoryLogs {
    let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
    logs.create("out", 1);
    for (topic, text) in inputs {
        logs.create(topic, 1);
        for line in lines(text) {
            let (key, value) = match line.split_once("=>") {
                Some((key, value)) => {
                    (Some(key.trim()), Some(value.trim()).filter(|value| !value.is_empty()))
                }
                None => (None, Some(line)),
            };
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(1_000, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
            logs.append(topic, 0, builder.build());
        }
    }
    logs
}

/// Runs a script in every way, and looks at what each run leaves behind.
#[track_caller]
fn every_way(script: &str, inputs: &Inputs<'_>, look: impl Fn(&MemoryLogs, &str)) {
    let plan = plan(script);
    for (limits, crash_every, shards) in [
        (EpochLimits::default(), 0, 1),
        (EpochLimits::default(), 0, 3),
        (small_epochs(1), 0, 1),
        (small_epochs(2), 1, 2),
        (small_epochs(50_000), 1, 3),
    ] {
        let mut logs = filled(inputs, shards);
        run_bounded(&plan, &mut logs, limits, crash_every).unwrap_or_else(|error| panic!("{error}"));
        look(&logs, &format!("{limits:?}, a restore every {crash_every} epochs, {shards} shards"));
    }
}

/// The rows a script adds, in no order: what makes a pair complete depends on the cuts.
#[track_caller]
fn check_rows(script: &str, inputs: &Inputs<'_>, expected: &str) {
    let mut expected: Vec<&str> = lines(expected).collect();
    expected.sort_unstable();
    every_way(script, inputs, |logs, run| {
        let mut found = logs.values("out");
        found.sort_unstable();
        assert_eq!(found, expected, "{run}");
    });
}

/// The table a script writes, in the order of the keys.
fn table(logs: &MemoryLogs, topic: &str) -> Vec<String> {
    let mut table = BTreeMap::new();
    for (_, record) in logs.records(topic) {
        let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
        match record.value {
            Some(value) => table.insert(key, String::from_utf8(value.to_vec()).unwrap()),
            None => table.remove(&key),
        };
    }
    table.into_iter().map(|(key, value)| format!("{key} => {value}")).collect()
}

#[track_caller]
fn check_table(script: &str, inputs: &Inputs<'_>, expected: &str) {
    let expected: Vec<&str> = lines(expected).collect();
    every_way(script, inputs, |logs, run| assert_eq!(table(logs, "out"), expected, "{run}"));
}

/// How many entries the state has once the input has ended.
fn entries_at_the_end(script: &str, inputs: &Inputs<'_>) -> u64 {
    let plan = plan(script);
    let mut logs = filled(inputs, 2);
    run_bounded(&plan, &mut logs, small_epochs(3), 1).unwrap();
    restored(&plan, &logs, 100).state_entries()
}

const STREAMS: &str = "
    CREATE TABLE a (id BIGINT, k STRING, x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH ('topic' = 'a', 'format' = 'json', 'late-topic' = 'late');
    CREATE TABLE b (id BIGINT, k STRING, y BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH ('topic' = 'b', 'format' = 'json');
    CREATE TABLE o (l BIGINT, r BIGINT) WITH ('topic' = 'out', 'format' = 'json');
";

fn streams(query: &str) -> String {
    format!("{STREAMS} INSERT INTO o {query}")
}

const RATES: &str = "
    CREATE TABLE orders (id BIGINT, currency STRING, amount BIGINT, ts TIMESTAMP(3),
      WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('topic' = 'orders', 'format' = 'json');
    CREATE TABLE rates (currency STRING, rate BIGINT, since TIMESTAMP(3),
      WATERMARK FOR since AS since - INTERVAL '1' SECOND, PRIMARY KEY (currency) NOT ENFORCED)
    WITH ('topic' = 'rates', 'format' = 'json');
    CREATE TABLE newest (currency STRING, rate BIGINT, PRIMARY KEY (currency) NOT ENFORCED)
    WITH ('topic' = 'rates', 'format' = 'json');
    CREATE TABLE o (id BIGINT, v BIGINT) WITH ('topic' = 'out', 'format' = 'json');
";

const TABLES: &str = "
    CREATE TABLE p (id BIGINT, name STRING, state STRING, PRIMARY KEY (id) NOT ENFORCED)
    WITH ('topic' = 'p', 'format' = 'json');
    CREATE TABLE s (id BIGINT, seller BIGINT, category BIGINT) WITH ('topic' = 's', 'format' = 'json');
    CREATE TABLE o (id BIGINT, name STRING, n BIGINT, PRIMARY KEY (id) NOT ENFORCED)
    WITH ('topic' = 'out', 'format' = 'json');
    CREATE TABLE append (id BIGINT, name STRING) WITH ('topic' = 'out', 'format' = 'json');
    CREATE TABLE log (id BIGINT, name STRING) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
";
