//! Rows with the row that a table had at their time, or has now.

use logmill_stream::EpochLimits;

use super::{RATES, check_rows, entries_at_the_end, every_way, filled};
use crate::support::{plan, run_bounded, small_epochs};

const ORDERS: [(&str, &str); 2] = [
    (
        "orders",
        r#"{"id": 1, "currency": "EUR", "amount": 2, "ts": 999}
           {"id": 2, "currency": "EUR", "amount": 2, "ts": 1000}
           {"id": 3, "currency": "USD", "amount": 2, "ts": 5000}
           {"id": 4, "currency": "EUR", "amount": 2, "ts": 5000}
           {"id": 5, "currency": "EUR", "amount": 3, "ts": 4999}
           {"id": 6, "currency": null, "amount": 3, "ts": 5001}
           {"id": 7, "currency": "EUR", "amount": 2, "ts": 9000}
           {"id": 8, "currency": "EUR", "amount": 2, "ts": 2000}"#,
    ),
    (
        "rates",
        r#"EUR => {"currency": "EUR", "rate": 10, "since": 1000}
           USD => {"currency": "USD", "rate": 7, "since": 1500}
           EUR => {"currency": "EUR", "rate": 20, "since": 5000}
           EUR => {"currency": "EUR", "rate": 30, "since": 8000}"#,
    ),
];

#[test]
fn the_row_of_the_time() {
    let query = |kind: &str| {
        format!(
            "{RATES} INSERT INTO o SELECT orders.id, amount * rate
             FROM orders {kind} JOIN rates FOR SYSTEM_TIME AS OF orders.ts ON orders.currency = rates.currency"
        )
    };
    let found = r#"{"id":2,"v":20}
        {"id":3,"v":14}
        {"id":4,"v":40}
        {"id":5,"v":30}
        {"id":7,"v":60}"#;
    // In the order of time, whatever the cuts are; 8 is late.
    for (kind, expected) in
        [("", found.to_owned()), ("LEFT", [r#"{"id":1,"v":null}"#, found, r#"{"id":6,"v":null}"#].join("\n"))]
    {
        check_rows(&query(kind), &ORDERS, &expected);
    }
    every_way(&query(""), &ORDERS, |logs, run| {
        let times: Vec<i64> = logs.records("out").iter().map(|(_, record)| record.timestamp).collect();
        assert!(times.is_sorted() && times.len() == 5, "{times:?}, {run}");
    });
    assert_eq!(entries_at_the_end(&query("LEFT"), &ORDERS), 2, "the newest rate of each currency");
}

#[test]
fn a_condition_beside_the_key_decides_whether_there_is_a_row() {
    check_rows(
        &format!(
            "{RATES} INSERT INTO o SELECT o1.id, r.rate FROM orders AS o1
             LEFT JOIN rates FOR SYSTEM_TIME AS OF o1.ts AS r ON r.currency = UPPER(o1.currency) AND r.rate > amount * 5
             WHERE o1.id < 5"
        ),
        &ORDERS,
        r#"{"id":1,"v":null}
           {"id":2,"v":null}
           {"id":3,"v":null}
           {"id":4,"v":20}"#,
    );
}

#[test]
fn a_row_that_is_deleted_is_not_found() {
    // What deletes has no time but its record's, a second after the epoch here.
    check_rows(
        &format!(
            "{RATES} INSERT INTO o SELECT orders.id, rate
             FROM orders LEFT JOIN rates FOR SYSTEM_TIME AS OF ts ON orders.currency = rates.currency"
        ),
        &[
            (
                "orders",
                r#"{"id": 1, "currency": "EUR", "ts": 900}
                   {"id": 2, "currency": "EUR", "ts": 1000}
                   {"id": 3, "currency": "EUR", "ts": 1900}
                   {"id": 4, "currency": "EUR", "ts": 2000}"#,
            ),
            (
                "rates",
                r#"EUR => {"currency": "EUR", "rate": 1, "since": 800}
                   EUR =>
                   EUR => {"currency": "EUR", "rate": 2, "since": 2000}"#,
            ),
        ],
        r#"{"id":1,"v":1}
           {"id":2,"v":null}
           {"id":3,"v":null}
           {"id":4,"v":2}"#,
    );
}

#[test]
fn the_newest_row() {
    // The table's topic is longer than what asks it: with one record of each in an epoch, each order meets the rates
    // read until then. Its lack of event time holds nothing back.
    let script = format!(
        "{RATES} CREATE VIEW w AS SELECT orders.id AS id, ts, rate FROM orders
         LEFT JOIN newest FOR SYSTEM_TIME AS OF PROCTIME() ON orders.currency = newest.currency;
         INSERT INTO o SELECT COUNT(*), MIN(rate) FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(ts), INTERVAL '5' SECOND))
         GROUP BY window_start, window_end"
    );
    let plan = plan(&script);
    let mut logs = filled(&ORDERS, 2);
    run_bounded(&plan, &mut logs, EpochLimits::default(), 0).unwrap();
    assert_eq!(logs.values("out"), [r#"{"id":3,"v":30}"#, r#"{"id":4,"v":7}"#]);
    let mut logs = filled(&ORDERS, 2);
    run_bounded(&plan, &mut logs, small_epochs(10), 1).unwrap();
    assert_eq!(logs.values("out"), [r#"{"id":3,"v":10}"#, r#"{"id":4,"v":7}"#]);
    let before_the_end =
        logs.progress.iter().filter(|progress| !progress.finished).map(|p| p.counters.written);
    assert_eq!(before_the_end.sum::<u64>(), 1, "the first window closes while the table goes on");
}

#[test]
fn deleted_and_replaced_rows_are_looked_up() {
    check_rows(
        &format!(
            "{RATES} INSERT INTO o SELECT q.id, s.rate FROM (SELECT *, ts AS asked FROM orders) AS q
             JOIN newest FOR SYSTEM_TIME AS OF q.asked AS s ON q.currency = s.currency"
        ),
        &[
            ("orders", r#"{"id": 1, "currency": "EUR", "ts": 1}"#),
            ("rates", r#"EUR => {"currency": "EUR", "rate": 5}"#),
        ],
        r#"{"id":1,"v":5}"#,
    );
    let script = format!(
        "{RATES} INSERT INTO o SELECT orders.id, rate FROM orders
         LEFT JOIN newest FOR SYSTEM_TIME AS OF NOW() ON orders.currency = newest.currency"
    );
    let plan = plan(&script);
    let mut logs = filled(
        &[
            (
                "orders",
                r#"{"id": 1, "currency": "EUR", "ts": 1}
                   {"id": 2, "currency": "EUR", "ts": 1}
                   {"id": 3, "currency": "EUR", "ts": 1}"#,
            ),
            (
                "rates",
                r#"EUR => {"currency": "EUR", "rate": 5}
                   EUR => {"currency": "EUR", "rate": 6}
                   EUR =>"#,
            ),
        ],
        1,
    );
    run_bounded(&plan, &mut logs, small_epochs(1), 1).unwrap();
    assert_eq!(logs.values("out"), [r#"{"id":1,"v":5}"#, r#"{"id":2,"v":6}"#, r#"{"id":3,"v":null}"#]);
}

/// A version that comes late does not bring back a row that was deleted behind it.
#[test]
fn a_row_that_is_gone_stays_gone() {
    check_rows(
        &format!(
            "{RATES} INSERT INTO o SELECT orders.id, rate
             FROM orders LEFT JOIN rates FOR SYSTEM_TIME AS OF ts ON orders.currency = rates.currency
             WHERE orders.currency = 'EUR'"
        ),
        &[
            (
                "orders",
                r#"{"id": 10, "currency": "USD", "ts": 3000}
                   {"id": 11, "currency": "USD", "ts": 3100}
                   {"id": 12, "currency": "USD", "ts": 3200}
                   {"id": 1, "currency": "EUR", "ts": 2600}
                   {"id": 2, "currency": "EUR", "ts": 9000}
                   {"id": 3, "currency": "EUR", "ts": 100000000}"#,
            ),
            // The deletion is of the first second, and passed when the rate of 0.6 s comes.
            (
                "rates",
                r#"EUR => {"currency": "EUR", "rate": 1, "since": 500}
                   EUR =>
                   USD => {"currency": "USD", "rate": 2, "since": 3500}
                   EUR => {"currency": "EUR", "rate": 3, "since": 600}
                   USD => {"currency": "USD", "rate": 4, "since": 9000}"#,
            ),
        ],
        r#"{"id":1,"v":null}
           {"id":2,"v":null}
           {"id":3,"v":null}"#,
    );
}
