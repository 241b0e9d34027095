//! Sessions, rankings and functions over rows: random ones against the definition.

use std::collections::BTreeMap;

use logmill_stream::EpochLimits;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::cases::{SESSION_ROW, SESSIONS, SOURCE, append, row, run, upsert};
use crate::support::{MemoryLogs, json, plan, run_bounded, small_epochs};

#[derive(Debug, Clone)]
struct Row {
    k: u8,
    x: i64,
    second: i64,
}

fn random_rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0_u8..3, -5_i64..6, 0_i64..4).prop_map(|(k, x, second)| Row { k, x, second });
    prop::collection::vec(row, 1..24).prop_map(|mut rows| {
        // Time goes on, with disorder that the watermark allows for.
        rows.iter_mut().enumerate().for_each(|(index, row)| row.second += index as i64 * 2 / 3);
        let mut newest = 0;
        for row in &mut rows {
            newest = newest.max(row.second);
            row.second = row.second.max(newest - 2);
        }
        rows
    })
}

fn as_lines(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|each| row(&format!("k{}", each.k), each.x, each.second)).collect()
}

/// The table of a topic after each epoch, and how many input records it is of.
fn prefixes(logs: &MemoryLogs) -> Vec<(usize, BTreeMap<String, String>)> {
    let records = logs.records("out");
    let mut left = records.iter();
    let mut table = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for progress in &logs.progress {
        for (_, record) in left.by_ref().take(progress.counters.written as usize) {
            let key = text(record.key.as_ref().unwrap());
            match &record.value {
                Some(value) => table.insert(key, text(value)),
                None => table.remove(&key),
            };
        }
        found.push((progress.inputs[0].to as usize, table.clone()));
    }
    assert!(left.next().is_none());
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Sessions by the definition: rows in the order of time, parted where a gap is.
    #[test]
    fn sessions_are_those_of_sorted_rows(rows in random_rows(), shards in 1_usize..4, crash in 0_u64..3) {
        let mut expected = Vec::new();
        for k in 0..3 {
            let mut times: Vec<(i64, i64)> =
                rows.iter().filter(|row| row.k == k).map(|row| (row.second, row.x)).collect();
            times.sort_unstable();
            let mut sessions: Vec<(i64, i64, i64, i64)> = Vec::new();
            for (second, x) in times {
                match sessions.last_mut().filter(|session| second <= session.1) {
                    Some(session) => *session = (session.0, second + 5, session.2 + 1, session.3 + x),
                    None => sessions.push((second, second + 5, 1, x)),
                }
            }
            expected.extend(sessions.into_iter().map(|(start, end, n, x)| (end, k, start, n, x)));
        }
        expected.sort_unstable();
        let script = append(SESSION_ROW, SESSIONS);
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let logs = run(&script, &as_lines(&rows), (limits, crash, shards));
            prop_assert_eq!(logs.last_progress().unwrap().totals.late, 0);
            let mut found: Vec<(i64, u8, i64, i64, i64)> = logs.values("out").iter().map(|value| {
                let value = json(value);
                let second = |name: &str| {
                    let text = value[name].as_str().unwrap();
                    text[17..19].parse::<i64>().unwrap() + text[14..16].parse::<i64>().unwrap() * 60
                };
                let k = value["k"].as_str().unwrap()[1..].parse().unwrap();
                (second("e"), k, second("s"), value["n"].as_i64().unwrap(), value["x"].as_i64().unwrap())
            }).collect();
            // Of sessions that end together those given in parts are given by key group.
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
        }
    }

    /// After every epoch the table is the ranking of the rows read so far.
    #[test]
    fn a_ranking_is_that_of_every_prefix(
        rows in random_rows(),
        limit in 1_usize..4,
        shards in 1_usize..4,
        crash in 0_u64..3,
        batch in 1_usize..4,
    ) {
        // Sums go up and down, so that rows are taken back.
        let script = upsert(
            "r BIGINT, k STRING, n BIGINT, PRIMARY KEY (r) NOT ENFORCED",
            &format!(
                "INSERT INTO o SELECT r, k, n FROM (
                   SELECT *, ROW_NUMBER() OVER (ORDER BY n DESC, k) AS r FROM (
                     SELECT k, SUM(x) AS n FROM src GROUP BY k))
                 WHERE r <= {limit} UNBOUNDED"
            ),
        );
        let plan = plan(&script);
        let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
        logs.create("in", 1);
        logs.create("out", 1);
        as_lines(&rows).chunks(batch).for_each(|lines| logs.produce("in", 0, lines));
        run_bounded(&plan, &mut logs, small_epochs(1_000), crash).unwrap();
        for (read, table) in prefixes(&logs) {
            let mut sums: BTreeMap<u8, i64> = BTreeMap::new();
            rows[..read].iter().for_each(|row| *sums.entry(row.k).or_default() += row.x);
            let mut order: Vec<(i64, u8)> = sums.into_iter().map(|(k, n)| (-n, k)).collect();
            order.sort_unstable();
            let ranked: Vec<String> = order
                .iter()
                .take(limit)
                .zip(1..)
                .map(|((n, k), r)| format!(r#"{{"r":{r},"k":"k{k}","n":{}}}"#, -n))
                .collect();
            prop_assert_eq!(table.into_values().collect::<Vec<_>>(), ranked, "the first {} rows", read);
        }
    }

    /// Functions over rows by the definition, given in time and as changes.
    #[test]
    fn functions_over_rows_are_those_of_sorted_rows(rows in random_rows(), shards in 1_usize..4, crash in 0_u64..3) {
        let mut expected = Vec::new();
        for k in 0..3 {
            let mut sorted: Vec<&Row> = rows.iter().filter(|row| row.k == k).collect();
            sorted.sort_by_key(|row| row.second);
            for (index, row) in sorted.iter().enumerate() {
                let three = &sorted[index.saturating_sub(2)..=index];
                let near = sorted.iter().filter(|other| (row.second - 3..=row.second).contains(&other.second));
                let mean = three.iter().map(|row| row.x as f64 + 0.5).sum::<f64>() / three.len() as f64;
                expected.push((
                    row.x,
                    near.clone().map(|row| row.x).sum::<i64>(),
                    near.map(|row| row.x).max().unwrap(),
                    (mean * 1e6).round() as i64,
                    index.checked_sub(1).map_or(-99, |before| sorted[before].x),
                ));
            }
        }
        expected.sort_unstable();
        let columns = "x BIGINT, near BIGINT, most BIGINT, mean DOUBLE, before BIGINT";
        let window = "(PARTITION BY k ORDER BY ts";
        let select = format!(
            "SELECT x,
               SUM(x) OVER {window} RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW) AS near,
               MAX(x) OVER {window} RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW) AS most,
               AVG(d) OVER {window} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS mean,
               LAG(x, 1, -99) OVER {window}) AS before"
        );
        let in_time = append(columns, &format!("INSERT INTO o {select} FROM src UNBOUNDED"));
        // The last row of each instant and key, which is every row, as changes.
        let changing = format!(
            "{SOURCE} CREATE TABLE o ({columns})
             WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
             INSERT INTO o {select} FROM (SELECT k, x, d, ts FROM (
               SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS r FROM src) WHERE r <= 100)
             UNBOUNDED"
        );
        let tuple = |value: &Value| {
            let number = |name: &str| value[name].as_i64().unwrap();
            let mean = (value["mean"].as_f64().unwrap() * 1e6).round() as i64;
            (number("x"), number("near"), number("most"), mean, number("before"))
        };
        // Equal instants are ordered as they came, which the ranking before turns around.
        let distinct = {
            let mut instants: Vec<(u8, i64)> = rows.iter().map(|row| (row.k, row.second)).collect();
            instants.sort_unstable();
            instants.windows(2).all(|pair| pair[0] != pair[1])
        };
        for limits in [EpochLimits::default(), small_epochs(1)] {
            let logs = run(&in_time, &as_lines(&rows), (limits, crash, shards));
            let mut found: Vec<_> = logs.values("out").iter().map(|value| tuple(&json(value))).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            if !distinct {
                continue;
            }
            let logs = run(&changing, &as_lines(&rows), (limits, crash, shards));
            let mut counts: BTreeMap<_, i64> = BTreeMap::new();
            for value in logs.values("out") {
                let value = json(&value);
                for (side, by) in [("before", -1), ("after", 1)] {
                    if !value[side].is_null() {
                        *counts.entry(tuple(&value[side])).or_default() += by;
                    }
                }
            }
            let found: Vec<_> = counts
                .into_iter()
                .flat_map(|(row, count)| std::iter::repeat_n(row, usize::try_from(count).unwrap()))
                .collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}
