//! Golden plans: a script and the text of its plan.

use logmill_stream::compile;

fn check(script: &str, expected: &str) {
    let plan = compile(script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(script)));
    assert_eq!(plan.explain().trim_end(), expected.trim());
}

#[test]
fn the_demo() {
    check(
        include_str!("../../../../config/demo/carrier-hourly.sql"),
        "
Sink carrier_hourly topic=carrier-hourly format=json output=append key=[carrier] compression=none on-error=fail [window_start TIMESTAMP(3), carrier STRING, flights BIGINT, departed BIGINT, dep_delay_sum BIGINT, dep_delay_max BIGINT]
  Project window_start, carrier, COUNT(*) AS flights, COUNT(dep_time) AS departed, SUM(dep_delay) AS dep_delay_sum, MAX(dep_delay) AS dep_delay_max
    WindowAggregate TUMBLE(3600000ms) of time_hour keys=[carrier] aggregates=[COUNT(*), COUNT(dep_time), SUM(dep_delay), MAX(dep_delay)] emit=on-close
      Source flights topic=flights format=json on-error=fail watermark=time_hour-86400000ms [carrier STRING, dep_time BIGINT, dep_delay BIGINT, time_hour TIMESTAMP(3)]",
    );
}

#[test]
fn everything_at_once() {
    check(
        "CREATE TABLE a (unused STRING, x BIGINT NOT NULL, y DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3),
           WATERMARK FOR ts AS ts) WITH ('topic' = 'a.1', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead');
         CREATE TABLE b (w TIMESTAMP(3), k STRING NOT NULL, v DOUBLE, n BIGINT)
         WITH ('topic' = 'b', 'format' = 'json', 'compression' = 'lz4', 'on-error' = 'skip');
         INSERT INTO b (v, k, w)
         SELECT COUNT(*) FILTER (WHERE ok) + AVG(y) * 2, CASE LOWER(s) WHEN 'a' THEN 'A' END, window_end + INTERVAL '1' DAY
         FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) AS q
         WHERE q.y BETWEEN 0 AND 5 AND s NOT LIKE '%''x' AND ts < TIMESTAMP '2013-01-01'
         GROUP BY window_end, LOWER(s)
         HAVING MAX(s) IS NOT NULL OR COUNT(*) FILTER (WHERE ok) > 3",
        "
Sink b topic=b format=json output=append key=[key1] compression=lz4 on-error=skip [w TIMESTAMP(3), k STRING NOT NULL, v DOUBLE, n BIGINT]
  Project (window_end + 86400000) AS w, CASE WHEN (key1 = 'a') THEN 'A' ELSE NULL END AS k, (CAST(COUNT(*) FILTER (WHERE ok) AS DOUBLE) + (AVG(y) * 2.0)) AS v, NULL AS n, key1 AS key.key1
    Filter (NOT ((MAX(s)) IS NULL) OR (COUNT(*) FILTER (WHERE ok) > 3))
      WindowAggregate TUMBLE(300000ms) of ts keys=[key1] aggregates=[MAX(s), COUNT(*) FILTER (WHERE ok), AVG(y)] emit=on-close
        Project ts, LOWER(s) AS key1, s, ok, y
          Filter ((((y >= 0.0) AND (y <= 5.0)) AND NOT ((s) LIKE '%''x')) AND (ts < TIMESTAMP '2013-01-01T00:00:00Z'))
            Source a topic=a.1 format=json on-error=dlq(dead) watermark=ts-0ms [x BIGINT NOT NULL, y DOUBLE, s STRING, ok BOOLEAN, ts TIMESTAMP(3)]",
    );
}

#[test]
fn only_the_fields_in_use_are_read() {
    check(
        "CREATE TABLE a (x BIGINT, y BIGINT, z BIGINT) WITH ('topic' = 'a', 'format' = 'json');
         CREATE TABLE b (v BIGINT) WITH ('topic' = 'b', 'format' = 'json');
         INSERT INTO b SELECT z - 1 FROM a WHERE z IN (1, 2, NULL)",
        "
Sink b topic=b format=json output=append key=[] compression=none on-error=fail [v BIGINT]
  Project (z - 1) AS v
    Filter (((z = 1) OR (z = 2)) OR (z = NULL))
      Source a topic=a format=json on-error=fail [z BIGINT]",
    );
}

#[test]
fn the_arguments_of_a_session_are_named_in_any_order() {
    let [data, time, gap] =
        ["DATA => TABLE a PARTITION BY k, l", "TIMECOL => DESCRIPTOR(ts)", "GAP => INTERVAL '5' SECOND"];
    let explained = |arguments: &str| {
        let script = format!(
            "CREATE TABLE a (k STRING, l STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
             WITH ('topic' = 'a', 'format' = 'json');
             CREATE TABLE b (k STRING, l STRING, n BIGINT) WITH ('topic' = 'b', 'format' = 'json');
             INSERT INTO b SELECT k, l, COUNT(*) FROM TABLE(SESSION({arguments}))
             GROUP BY k, l, window_start, window_end"
        );
        compile(&script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&script))).explain()
    };
    let by_place = explained("TABLE a PARTITION BY k, l, DESCRIPTOR(ts), INTERVAL '5' SECOND");
    for [first, second, third] in [
        [data, time, gap],
        [data, gap, time],
        [time, data, gap],
        [time, gap, data],
        [gap, data, time],
        [gap, time, data],
    ] {
        assert_eq!(explained(&format!("{first}, {second}, {third}")), by_place);
    }
}

/// In the text for people; the plan's identity is made of the other one, which stays.
#[test]
fn what_a_watermark_is_behind_stands_apart() {
    let plan = compile(
        "CREATE TABLE a (x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '90' SECOND)
         WITH ('topic' = 'a', 'format' = 'json');
         CREATE TABLE b (x BIGINT) WITH ('topic' = 'b', 'format' = 'json');
         INSERT INTO b SELECT x FROM a",
    )
    .unwrap();
    assert!(plan.outline(false).contains("watermark=ts - 1 min 30 s "), "{}", plan.outline(false));
    assert!(plan.explain().contains("watermark=ts-90000ms "), "{}", plan.explain());
}

/// A query whose arguments cannot fail keeps its plan, and so its state.
#[test]
fn arguments_that_cannot_fail_stay_as_they_are() {
    let argument_stays = |argument: &str| {
        let script = format!(
            "CREATE TABLE t (a BIGINT, b DOUBLE, c DECIMAL(8, 2), s STRING, x BYTES, ok BOOLEAN, d DATE, ts TIMESTAMP(3),
               WATERMARK FOR ts AS ts)
             WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE o (v STRING) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO o SELECT CAST(MAX({argument}) FILTER (WHERE a > 0) AS STRING)
             FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end"
        );
        let plan = compile(&script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&script)));
        !plan.explain().contains("CASE")
    };
    for total in [
        "LOWER(UPPER(INITCAP(s)))",
        "TRIM(LTRIM(s, 'x'))",
        "LEFT(REVERSE(s), 2)",
        "RIGHT(s, a)",
        "CHAR_LENGTH(s)",
        "OCTET_LENGTH(x)",
        "POSITION('a' IN s)",
        "COALESCE(NULLIF(s, 'x'), 'y')",
        "GREATEST(a, LEAST(a, 7))",
        "FLOOR(CEIL(SIGN(b)))",
        "EXTRACT(HOUR FROM ts)",
        "FLOOR(ts TO DAY)",
        "-b",
        "-c",
        "CAST(a AS DOUBLE)",
        "CAST(c AS DOUBLE)",
        "CAST(c AS DECIMAL(10, 4))",
        "CAST(a AS DECIMAL(21, 2))",
        "CAST(ok AS BIGINT)",
        "CAST(ts AS DATE)",
        "CAST(d AS TIMESTAMP(3))",
        "CAST(b AS STRING)",
    ] {
        assert!(argument_stays(total), "{total}");
    }
    for failing in [
        "-a",
        "ABS(a)",
        "a + 1",
        "s || s",
        "UPPER(REPEAT(s, 9))",
        "REGEXP_REPLACE(s, 'a', 'b')",
        "SPLIT_PART(s, ',', 1)",
        "CAST(s AS BIGINT)",
        "CAST(b AS BIGINT)",
        "CAST(a AS TIMESTAMP(3))",
        "CAST(x AS STRING)",
        "CAST(c AS DECIMAL(8, 1))",
        "CAST(c AS DECIMAL(8, 3))",
        "CAST(a AS DECIMAL(20, 2))",
    ] {
        assert!(!argument_stays(failing), "{failing}");
    }
}
