//! Golden plans: a script and the text of its plan.

use logmill_stream::compile;

fn check(script: &str, expected: &str) {
    let plan = compile(script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(script)));
    assert_eq!(plan.explain().trim_end(), expected.trim());
}

#[test]
fn the_demo() {
    check(
        include_str!("../../../config/demo/carrier-hourly.sql"),
        "
Sink carrier_hourly topic=carrier-hourly format=json compression=none on-error=fail [window_start TIMESTAMP(3), carrier STRING, flights BIGINT, departed BIGINT, dep_delay_sum BIGINT, dep_delay_max BIGINT]
  Project window_start, carrier, COUNT(*) AS flights, COUNT(dep_time) AS departed, SUM(dep_delay) AS dep_delay_sum, MAX(dep_delay) AS dep_delay_max
    TumbleAggregate size=3600000ms keys=[carrier] aggregates=[COUNT(*), COUNT(dep_time), SUM(dep_delay), MAX(dep_delay)] emit=on-close
      Source flights topic=flights format=json on-error=fail watermark=time_hour-86400000ms [carrier STRING, dep_time BIGINT, dep_delay BIGINT, time_hour TIMESTAMP(3)]",
    );
}
