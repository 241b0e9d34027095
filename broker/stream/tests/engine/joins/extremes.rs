//! Joins with the extreme of a window of the same rows: those that cannot equal it are kept out, and nothing else changes.

use proptest::prelude::*;

use super::{every_way, streams};
use crate::support::plan;

/// Rows of `a` that equal an extreme of windows of `a`; `x` is what is compared.
fn with_extreme(kind: &str, x: &str, extreme: &str, windows: &str, near: &str) -> String {
    streams(&format!(
        "SELECT a.id, m.y
         FROM a {kind} JOIN (SELECT {extreme} AS y, window_end AS until FROM TABLE({windows})
                    GROUP BY window_start, window_end) AS m
         ON {x} = m.y AND a.ts BETWEEN m.until - {near}"
    ))
}

const TUMBLE: &str = "TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '10' SECOND)";
const HOP: &str = "HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '10' SECOND)";
const GAPS: &str = "HOP(DATA => TABLE a, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '7' SECOND, SIZE => INTERVAL '3' SECOND)";
const CUMULATE: &str = "CUMULATE(TABLE a, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)";
const IN_WINDOW: &str = "INTERVAL '10' SECOND AND m.until";

fn is_reduced(script: &str) -> bool {
    plan(script).explain().contains("Contenders")
}

#[test]
fn only_rows_that_may_be_the_extreme_reach_the_join() {
    let q7 = with_extreme("", "a.x", "MAX(x)", TUMBLE, IN_WINDOW);
    let explained = plan(&q7).explain();
    assert!(
        explained.contains("Contenders x as MAX of TUMBLE(10000ms) ts=-10000..0ms from its end"),
        "{explained}"
    );
    assert!(is_reduced(&with_extreme("RIGHT", "a.x", "MIN(x)", HOP, IN_WINDOW)));
    let filtered = format!("{q7} WHERE a.k = 'u' AND m.y > 3");
    assert!(is_reduced(&filtered), "rows that are not joined anyway change nothing");
    for (other, why) in [
        (with_extreme("LEFT", "a.x", "MAX(x)", TUMBLE, IN_WINDOW), "rows without a partner are given"),
        (with_extreme("", "a.x + 0", "MAX(x)", TUMBLE, IN_WINDOW), "it is not the same value"),
        (with_extreme("", "a.id", "MAX(x)", TUMBLE, IN_WINDOW), "it is another column"),
        (
            with_extreme("", "a.x", "MAX(x) FILTER (WHERE k = 'u')", TUMBLE, IN_WINDOW),
            "the extreme is of fewer rows",
        ),
        (with_extreme("", "a.x", "COUNT(x)", TUMBLE, IN_WINDOW), "it is no extreme"),
        (
            q7.replace("TABLE a, DESCRIPTOR(ts)", "TABLE c, DESCRIPTOR(ts)")
                .replace("INSERT INTO", "CREATE VIEW c AS SELECT x, ts FROM a WHERE k = 'u'; INSERT INTO"),
            "the windows hold fewer rows",
        ),
        (
            with_extreme("", "a.x", "MAX(x)", TUMBLE, "INTERVAL '1' HOUR AND m.until"),
            "too many windows are near",
        ),
    ] {
        assert!(!is_reduced(&other), "{why}");
    }
}

/// Rows with what is compared, which may be missing, and how far they are behind the newest, in half seconds.
fn rows() -> impl Strategy<Value = Vec<(Option<i64>, i64, i64)>> {
    prop::collection::vec((prop::option::weighted(0.9, 0_i64..6), 0_i64..12, 0_i64..5), 1..50)
}

fn input(rows: &[(Option<i64>, i64, i64)]) -> String {
    let mut newest = 0;
    let line = |(id, (x, behind, forward)): (usize, &(Option<i64>, i64, i64))| {
        newest += forward * 500;
        let x = x.map_or("null".to_owned(), |x| x.to_string());
        let ts = (newest - behind * 500).max(0);
        format!(r#"{{"id": {id}, "k": "u", "x": {x}, "ts": {ts}}}"#)
    };
    rows.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// With late rows, ties, rows without a value, rows on the bounds of windows: what is given, and what is late, is
    /// what the join of everything gives.
    #[test]
    fn what_is_kept_out_would_have_made_no_pair(
        windows in prop::sample::select(vec![TUMBLE, HOP, GAPS, CUMULATE]),
        near in prop::sample::select(vec![
            IN_WINDOW,
            "INTERVAL '3' SECOND AND m.until",
            "INTERVAL '12' SECOND AND m.until + INTERVAL '6' SECOND",
            "INTERVAL '0' SECOND AND m.until + INTERVAL '11' SECOND",
        ]),
        extreme in prop::sample::select(vec!["MAX(x)", "MIN(x)"]),
        kind in prop::sample::select(vec!["", "RIGHT"]),
        rows in rows(),
    ) {
        let reduced = with_extreme(kind, "a.x", extreme, windows, near);
        let whole = with_extreme(kind, "a.x + 0", extreme, windows, near);
        prop_assert!(is_reduced(&reduced) && !is_reduced(&whole));
        let input = input(&rows);
        let inputs = [("a", input.as_str())];
        let found = |script: &str| {
            let runs = std::cell::RefCell::new(Vec::new());
            every_way(script, &inputs, |logs, _| {
                let mut out = logs.values("out");
                out.sort_unstable();
                runs.borrow_mut().push((out, logs.values("late")));
            });
            runs.into_inner()
        };
        prop_assert_eq!(found(&reduced), found(&whole));
    }
}
