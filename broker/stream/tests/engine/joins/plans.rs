//! What becomes of a join in a plan, and what is refused: where the error points, what it says, what it advises.

use logmill_stream::compile;

use super::streams::in_windows;
use super::{RATES, TABLES, streams};
use crate::support::plan;

#[track_caller]
fn explains(script: &str, expected: &str) {
    let plan = plan(script);
    let found = plan.explain();
    // Sinks have cases of their own.
    let found: Vec<&str> =
        found.lines().filter(|line| !line.starts_with("Sink")).map(str::trim_end).collect();
    let expected: Vec<&str> = expected.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(found, expected);
}

#[test]
fn plans() {
    explains(
        &in_windows("LEFT"),
        "
  Project id AS l, id AS r
    WindowJoin LEFT on=[k = k, window_start = window_start, window_end = window_end] left=[id] right=[id]
      Project id, k, window_start, window_end
        Windows TUMBLE(10000ms) of ts
          Source a topic=a format=json on-error=fail watermark=ts-1000ms late=late [id BIGINT, k STRING, ts TIMESTAMP(3)]
      Project id, k, window_start, window_end
        Windows TUMBLE(10000ms) of ts
          Source b topic=b format=json on-error=fail watermark=ts-1000ms [id BIGINT, k STRING, ts TIMESTAMP(3)]",
    );
    explains(
        &streams(
            "SELECT a.id, b.id FROM a JOIN b ON a.k = LOWER(b.k)
             AND a.ts >= b.ts - INTERVAL '1' MINUTE AND a.ts < b.ts AND a.x < b.y
             WHERE b.y > 0 AND a.x IS NOT NULL",
        ),
        "
  Project id AS l, id AS r
    IntervalJoin INNER on=[k = LOWER(k)] if=(x < y) left=[id, x] right=[id, y] ts - ts=-60000..-1ms
      Filter NOT ((x) IS NULL)
        Source a topic=a format=json on-error=fail watermark=ts-1000ms late=late [id BIGINT, k STRING, x BIGINT, ts TIMESTAMP(3)]
      Project id, y, ts, LOWER(k) AS LOWER(k)
        Filter (y > 0)
          Source b topic=b format=json on-error=fail watermark=ts-1000ms [id BIGINT, k STRING, y BIGINT, ts TIMESTAMP(3)]",
    );
    explains(
        &format!(
            "{RATES} INSERT INTO o SELECT orders.id, amount * rate FROM orders
             JOIN rates FOR SYSTEM_TIME AS OF orders.ts ON orders.currency = rates.currency"
        ),
        "
  Project id, (amount * rate) AS v
    TemporalJoin INNER on=[currency = currency] left=[id, amount] right=[rate] since as of ts
      Source orders topic=orders format=json on-error=fail watermark=ts-1000ms [id BIGINT, currency STRING, amount BIGINT, ts TIMESTAMP(3)]
      Source rates topic=rates format=json on-error=fail watermark=since-1000ms key=[currency] [currency STRING, rate BIGINT, since TIMESTAMP(3)]",
    );
    explains(
        &format!(
            "{TABLES} INSERT INTO o SELECT s.id, name, 1 FROM s FULL JOIN p ON s.seller = p.id
             STATE TTL INTERVAL '1' HOUR"
        ),
        "
  Project id, name, 1 AS n
    Join FULL on=[seller = id] left=[id] right=[name] ttl=3600000ms changes
      Source s topic=s format=json on-error=fail [id BIGINT, seller BIGINT]
      Upsert keys=[id] changes
        Source p topic=p format=json on-error=fail key=[id] [id BIGINT, name STRING]",
    );
}

/// `»` stands before the place the error must point at.
#[track_caller]
fn refuses(marked: &str, message: &str, help: &str) {
    let before = marked.split('»').next().unwrap();
    assert!(before.len() < marked.len(), "mark the place");
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() as u64 + 1;
    let script = marked.replace('»', "");
    let error = compile(&script).expect_err("the script has a mistake");
    assert_eq!((error.line, error.column), (line, column), "{error}\n{}", error.excerpt(&script));
    assert!(error.message.contains(message), "{error}");
    assert!(error.help.contains(help), "{error}");
}

#[test]
fn what_is_refused() {
    let streams = |query: &str| streams(query);
    refuses(
        &streams("SELECT a.id, b.id FROM a JOIN »b ON a.k = b.k"),
        "may find partners for ever",
        "or with UNBOUNDED",
    );
    refuses(
        &streams("SELECT a.id, b.id FROM a JOIN »b ON a.k = b.k AND a.ts > b.ts"),
        "may find partners for ever",
        "BETWEEN b.ts - INTERVAL",
    );
    refuses(
        &streams("SELECT »id, 1 FROM a, b UNBOUNDED"),
        "`id` is a column of several tables",
        "`a.id` or `b.id`",
    );
    refuses(
        &streams("SELECT a.id, 1 FROM a JOIN b ON »a.k UNBOUNDED"),
        "ON needs a BOOLEAN",
        "write a condition",
    );
    refuses(
        &streams("SELECT a.id, 1 FROM a JOIN b ON »c.k = a.k UNBOUNDED"),
        "there is no table `c` in FROM",
        "",
    );
    refuses(
        &streams("SELECT a.id, 1 FROM a FULL JOIN b USING (»k) UNBOUNDED"),
        "either side of USING may be missing",
        "COALESCE(a.k, b.k)",
    );
    refuses(&streams("SELECT a.id, 1 FROM a NATURAL JOIN »b UNBOUNDED"), "NATURAL", "USING (<columns>)");
    refuses(&streams("SELECT a.id, 1 FROM a LEFT SEMI JOIN »b ON a.k = b.k"), "this kind of join", "LEFT");
    refuses(
        &streams("SELECT a.id, b.id FROM a JOIN »b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k"),
        "the rows of `b` do not replace one another",
        "PRIMARY KEY",
    );
    let rates = |query: &str| format!("{RATES} INSERT INTO o SELECT orders.id, rate FROM {query}");
    refuses(
        &rates("orders JOIN »rates FOR SYSTEM_TIME AS OF orders.ts ON orders.amount = rates.rate"),
        "nothing equals `rates.currency`",
        "ON <column> = rates.currency",
    );
    refuses(
        &rates(
            "orders RIGHT JOIN »rates FOR SYSTEM_TIME AS OF orders.ts ON orders.currency = rates.currency",
        ),
        "a RIGHT JOIN cannot ask `rates`",
        "LEFT JOIN",
    );
    refuses(
        &rates("orders JOIN rates FOR SYSTEM_TIME AS OF »orders.amount ON orders.currency = rates.currency"),
        "`amount` is not an event time",
        "AS OF ts, or AS OF PROCTIME()",
    );
    refuses(
        &rates("orders JOIN »rate FOR SYSTEM_TIME AS OF orders.ts ON orders.currency = rate.currency"),
        "there is no table `rate`",
        "rates",
    );
    refuses(
        &rates(
            "»rates FOR SYSTEM_TIME AS OF rates.since JOIN orders ON orders.currency = rates.currency UNBOUNDED",
        ),
        "there are no rows to ask this table for",
        "FROM <rows> JOIN <table>",
    );
    refuses(
        &format!(
            "{RATES} INSERT INTO o SELECT n.rate, r.rate
             FROM newest AS n JOIN »rates FOR SYSTEM_TIME AS OF n.ts AS r ON n.currency = r.currency"
        ),
        "taken back at times",
        "join without FOR SYSTEM_TIME",
    );
    refuses(
        &format!(
            "{RATES} INSERT INTO o SELECT COUNT(*), MAX(rate)
             FROM TABLE(TUMBLE(TABLE »rates, DESCRIPTOR(since), INTERVAL '1' HOUR)) GROUP BY window_start, window_end"
        ),
        "the rows of `rates` are taken back at times",
        "group without a window",
    );
}
