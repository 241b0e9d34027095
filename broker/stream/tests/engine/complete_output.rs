//! `'output' = 'complete'`: the whole table after every epoch that changed it, and how a reader tells one from the next.

use logmill_record::Record;
use logmill_stream::{EpochLimits, compile};

use crate::support::{MemoryLogs, plan, run_bounded, small_epochs};

const SOURCE: &str = "CREATE TABLE src (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');";

fn script(source: &str, columns: &str, options: &str, query: &str) -> String {
    format!(
        "{source} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'complete' {options});
         INSERT INTO o {query}"
    )
}

fn run(script: &str, input: &[&str], limits: EpochLimits, crash_every: u64, shards: usize) -> MemoryLogs {
    let plan = plan(script);
    let mut logs = MemoryLogs { shards, ..MemoryLogs::default() };
    logs.create("in", 1);
    logs.create("out", 2);
    input.iter().for_each(|value| logs.produce("in", 0, &[(*value).to_owned()]));
    run_bounded(&plan, &mut logs, limits, crash_every).unwrap_or_else(|error| panic!("{error}"));
    logs
}

/// The tables that were written, each with its epoch, as a reader of the topic finds them.
fn tables(logs: &MemoryLogs) -> Vec<(u64, Vec<String>)> {
    let number = |record: &Record, name: &str| -> u64 {
        let header = record.headers.iter().find(|header| header.key == name).expect("it is there");
        String::from_utf8_lossy(header.value.as_ref().unwrap()).parse().unwrap()
    };
    let mut tables: Vec<(u64, Vec<String>)> = Vec::new();
    let mut left = 0;
    for (partition, record) in logs.records("out") {
        assert_eq!(partition, 0);
        let (epoch, row) = (number(&record, "logmill.epoch"), number(&record, "logmill.row"));
        if left == 0 {
            left = number(&record, "logmill.rows");
            tables.push((epoch, Vec::new()));
            if left == 0 {
                assert_eq!((record.key, record.value), (None, None), "an empty table has no row");
                continue;
            }
        }
        let table = tables.last_mut().unwrap();
        assert_eq!((epoch, row), (table.0, table.1.len() as u64), "a table is written as one");
        table.1.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        left -= 1;
    }
    assert_eq!(left, 0, "the last table is whole");
    tables
}

/// That these tables are written, however the script is run with an epoch for each record.
#[track_caller]
fn check(script: &str, input: &[&str], expected: &[(u64, &[&str])]) {
    let expected: Vec<(u64, Vec<String>)> = expected
        .iter()
        .map(|(epoch, rows)| (*epoch, rows.iter().map(|row| (*row).to_owned()).collect()))
        .collect();
    let mut batches = Vec::new();
    for (crash_every, shards) in [(0, 1), (1, 1), (2, 3)] {
        let logs = run(script, input, small_epochs(10), crash_every, shards);
        assert_eq!(tables(&logs), expected, "a restart after {crash_every} epochs, {shards} shards");
        let records = logs.records("out").into_iter().map(|(_, record)| format!("{record:?}"));
        batches.push(records.collect::<Vec<_>>());
    }
    assert!(batches.iter().all(|records| *records == batches[0]), "the records are the same");
    let whole = tables(&run(script, input, EpochLimits::default(), 0, 2));
    let last = |tables: &[(u64, Vec<String>)]| tables.last().map(|(_, rows)| rows.clone());
    assert_eq!(last(&whole), last(&expected), "in one epoch");
    assert_eq!(whole.len(), 1);
}

#[test]
fn the_table_is_written_in_the_order_of_its_key_when_it_has_changed() {
    let script = script(
        SOURCE,
        "n BIGINT, k STRING, PRIMARY KEY (k) NOT ENFORCED",
        "",
        "SELECT MAX(x), k FROM src GROUP BY k UNBOUNDED",
    );
    let input = [r#"{"k":"b","x":1}"#, r#"{"k":"a","x":5}"#, r#"{"k":"b","x":0}"#, r#"{"k":"b","x":9}"#];
    check(
        &script,
        &input,
        &[
            (1, &[r#"{"n":1,"k":"b"}"#]),
            (2, &[r#"{"n":5,"k":"a"}"#, r#"{"n":1,"k":"b"}"#]),
            // The third record is no new maximum.
            (4, &[r#"{"n":5,"k":"a"}"#, r#"{"n":9,"k":"b"}"#]),
        ],
    );
}

#[test]
fn rows_that_are_only_added_are_ordered_by_their_columns_and_may_be_equal() {
    let script = script(SOURCE, "k STRING, x BIGINT", "", "SELECT k, x FROM src WHERE x > 0 UNBOUNDED");
    let input = [r#"{"k":"b","x":1}"#, r#"{"k":"a","x":0}"#, r#"{"k":"a","x":7}"#, r#"{"k":"b","x":1}"#];
    let (a, b) = (r#"{"k":"a","x":7}"#, r#"{"k":"b","x":1}"#);
    check(&script, &input, &[(1, &[b]), (3, &[a, b]), (4, &[a, b, b])]);
}

#[test]
fn a_table_that_becomes_empty_is_one_record_without_a_row() {
    let source = "CREATE TABLE src (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'debezium-json');";
    let script = script(source, "k STRING, x BIGINT", "", "SELECT k, x FROM src UNBOUNDED");
    let input = [
        r#"{"before":null,"after":{"k":"a","x":1},"op":"c"}"#,
        r#"{"before":{"k":"a","x":1},"after":null,"op":"d"}"#,
        r#"{"before":null,"after":{"k":"b","x":2},"op":"c"}"#,
    ];
    check(&script, &input, &[(1, &[r#"{"k":"a","x":1}"#]), (2, &[]), (3, &[r#"{"k":"b","x":2}"#])]);
}

#[test]
fn what_cannot_be_written_is_no_row_of_the_table() {
    let script = script(
        SOURCE,
        "k STRING, x BIGINT NOT NULL",
        ", 'on-error' = 'skip'",
        "SELECT k, x FROM src UNBOUNDED",
    );
    let logs = run(&script, &[r#"{"k":"a"}"#, r#"{"k":"b","x":2}"#], EpochLimits::default(), 0, 1);
    assert_eq!(tables(&logs), [(1, vec![r#"{"k":"b","x":2}"#.to_owned()])]);
    assert_eq!(logs.last_progress().unwrap().totals.unwritten, 1);
}

#[test]
fn what_is_small_by_itself_needs_no_word() {
    let all = script(SOURCE, "n BIGINT", "", "SELECT COUNT(*) FROM src UNBOUNDED");
    check(&all, &[r#"{"k":"a","x":1}"#, r#"{"k":"b","x":1}"#], &[(1, &[r#"{"n":1}"#]), (2, &[r#"{"n":2}"#])]);
    let top = script(
        SOURCE,
        "k STRING, x BIGINT",
        "",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (ORDER BY x DESC) AS n FROM src) WHERE n <= 1 UNBOUNDED",
    );
    check(
        &top,
        &[r#"{"k":"a","x":1}"#, r#"{"k":"b","x":3}"#, r#"{"k":"c","x":2}"#],
        &[(1, &[r#"{"k":"a","x":1}"#]), (2, &[r#"{"k":"b","x":3}"#])],
    );
    // Its state has a bound, its result needs none.
    compile(&top.replace("UNBOUNDED", "STATE TTL INTERVAL '1' DAY")).unwrap();
}

#[test]
fn a_result_that_grows_for_ever_is_refused() {
    let refused = |query: &str, help: &str| {
        let error = compile(&script(SOURCE, "k STRING, x BIGINT", "", query)).expect_err("it is not bounded");
        assert!(error.message.contains("nothing bounds it") && error.help.contains(help), "{error}");
    };
    refused("SELECT k, x FROM src", "write UNBOUNDED");
    refused("SELECT k, COUNT(*) FROM src GROUP BY k STATE TTL INTERVAL '1' DAY", "in place of STATE TTL");
    let query = "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC) AS n FROM src) WHERE n <= 1";
    refused(&format!("{query} STATE TTL INTERVAL '1' DAY"), "without PARTITION BY");
}

#[test]
fn a_whole_table_is_one_operator_that_needs_all_rows_in_one_place() {
    let plan = plan(&script(SOURCE, "k STRING, x BIGINT", "", "SELECT k, x FROM src UNBOUNDED"));
    let text = plan.explain();
    assert!(text.contains("output=complete") && text.contains("Collect order=[]"), "{text}");
    assert!(plan.check_partitioned().unwrap_err().to_string().contains("the whole table"));
    assert!(plan.states().iter().any(|state| state.operator == "Collect"));
}
