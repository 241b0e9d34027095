//! What a pipeline says of the records it read: how many are counted as what.

use logmill_stream::EpochLimits;

use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

fn logs_of(topics: &[&str]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    topics.iter().for_each(|topic| logs.create(topic, 2));
    logs
}

/// An update without a primary key is two rows of one record.
#[test]
fn what_the_filter_left_out_are_records_and_not_their_rows() {
    let plan = plan(
        "CREATE TABLE src (a BIGINT) WITH ('topic' = 'in', 'format' = 'debezium-json');
         CREATE TABLE o (a BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT a FROM src WHERE a > 10",
    );
    let update = |before: i64, after: i64| {
        format!(r#"{{"op":"u","before":{{"a":{before}}},"after":{{"a":{after}}}}}"#)
    };
    let create = |after: i64| format!(r#"{{"op":"c","before":null,"after":{{"a":{after}}}}}"#);
    let delete = |before: i64| format!(r#"{{"op":"d","before":{{"a":{before}}},"after":null}}"#);
    for limits in [EpochLimits::default(), small_epochs(1)] {
        let mut logs = logs_of(&["in", "out"]);
        let left_out = [create(1), update(1, 2), update(2, 3), delete(3)];
        let given = [create(4), update(4, 20), update(20, 30), update(30, 5)];
        logs.produce("in", 0, &left_out);
        logs.produce("in", 1, &given);
        run_bounded(&plan, &mut logs, limits, 0).unwrap();
        let totals = logs.last_progress().unwrap().totals;
        // Of the other partition's only that which creates what is left out.
        assert_eq!((totals.read, totals.processed, totals.filtered), (8, 8, 5));
    }
}
