//! Windows of processing time: the frozen time of epochs closes them.

use logmill_stream::{EpochLimits, EpochLoop, Input, InputProgress, Logs, Pipeline, TopicPartition, Turn};

use crate::support;
use crate::support::{MemoryLogs, plan, restored, spec};

const TABLES: &str = "CREATE TABLE src (k STRING, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts)
     WITH ('topic' = 'in', 'format' = 'json');
     CREATE TABLE o (w TIMESTAMP(3), k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');";

fn script(windows: &str) -> String {
    format!(
        "{TABLES} INSERT INTO o SELECT window_end, k, COUNT(*) FROM TABLE({windows}) GROUP BY window_start, window_end, k"
    )
}

const TUMBLE: &str = "TUMBLE(TABLE src, DESCRIPTOR(p), INTERVAL '10' SECOND)";

fn record(k: &str) -> String {
    // Event time goes backwards and says nothing here.
    format!(r#"{{"k":"{k}","ts":{}}}"#, if k == "a" { 9_000_000 } else { 0 })
}

/// One turn at a time; whether there was something to do.
fn turn(epochs: &mut EpochLoop, logs: &mut MemoryLogs, now: i64) -> bool {
    matches!(epochs.turn(logs, now, 0).unwrap(), Turn::Committed { .. })
}

fn rows(logs: &MemoryLogs) -> Vec<String> {
    logs.values("out")
}

fn row(window_end: &str, k: &str, n: u32) -> String {
    format!(r#"{{"w":"1970-01-01T00:00:{window_end}Z","k":"{k}","n":{n}}}"#)
}

fn logs() -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", 2);
    logs.create("out", 1);
    logs
}

#[test]
fn time_alone_closes_a_window() {
    let plan = plan(&script(TUMBLE));
    let mut logs = logs();
    logs.produce("in", 0, &[record("a"), record("b")]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    assert_eq!(epochs.wake_at(), None);
    assert!(turn(&mut epochs, &mut logs, 3_000));
    assert!(!turn(&mut epochs, &mut logs, 4_000), "nothing came and nothing is due");
    assert_eq!(epochs.wake_at(), Some(10_000));
    logs.produce("in", 1, &[record("b")]);
    assert!(turn(&mut epochs, &mut logs, 9_999));
    assert!(!turn(&mut epochs, &mut logs, 9_999) && rows(&logs).is_empty());
    // A restart knows when to wake, too.
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 2), EpochLimits::default());
    assert_eq!(epochs.wake_at(), Some(10_000));
    assert!(turn(&mut epochs, &mut logs, 10_000));
    assert_eq!(rows(&logs), [row("10", "a", 1), row("10", "b", 2)]);
    assert_eq!((epochs.wake_at(), epochs.pipeline().state_entries()), (None, 0));
    assert!(!turn(&mut epochs, &mut logs, 50_000));
    assert_eq!(logs.last_progress().unwrap().totals.late, 0);
}

#[test]
fn a_clock_that_was_put_back_stands_still() {
    let plan = plan(&script(TUMBLE));
    let mut logs = logs();
    logs.produce("in", 0, &[record("a")]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    assert!(turn(&mut epochs, &mut logs, 12_000));
    logs.produce("in", 0, &[record("a")]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 2), EpochLimits::default());
    assert!(turn(&mut epochs, &mut logs, 1_000));
    assert!(turn(&mut epochs, &mut logs, 20_000));
    assert_eq!(rows(&logs), [row("20", "a", 2)]);
}

#[test]
fn the_end_of_the_input_ends_processing_time_and_a_replay_gives_the_same() {
    for windows in [
        TUMBLE,
        "HOP(TABLE src, DESCRIPTOR(p), INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        "CUMULATE(TABLE src, DESCRIPTOR(p), INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        "SESSION(TABLE src PARTITION BY k, DESCRIPTOR(p), INTERVAL '4' SECOND)",
    ] {
        let plan = plan(&script(windows));
        let mut logs = MemoryLogs { shards: 3, ..logs() };
        let mut epochs =
            EpochLoop::new(restored(&plan, &logs, 1), EpochLimits { emit_rows: 1, ..EpochLimits::default() });
        for now in (0..40).map(|second| second * 1_000) {
            if now % 3_000 == 0 {
                logs.produce("in", (now % 2) as i32, &[record("a"), record("c")]);
            }
            while turn(&mut epochs, &mut logs, now) {}
        }
        epochs.declare_ends(logs.ends("in")).unwrap();
        while turn(&mut epochs, &mut logs, 40_000) {}
        assert!(epochs.pipeline().is_finished());
        assert_eq!(epochs.pipeline().state_entries(), 0);
        let sum: i64 = rows(&logs).iter().map(|row| support::json(row)["n"].as_i64().unwrap()).sum();
        let windows_of_a_row = if windows.starts_with("HOP") { 2 } else { 1 };
        if !windows.starts_with("CUMULATE") {
            assert_eq!(sum, 28 * windows_of_a_row, "{windows}: every record once in each of its windows");
        }
        // The cuts say when.
        let mut replayed = Pipeline::new(plan.clone(), spec(&plan, &logs, 1)).unwrap();
        for progress in &logs.progress.clone() {
            let input = |input: &InputProgress| {
                let partition = TopicPartition::new(&*input.topic, input.partition);
                let read = logs.read(&partition, input.from, usize::MAX).unwrap();
                Input { partition, batches: read.batches, aborted: read.aborted }
            };
            let input: Vec<Input> = progress.inputs.iter().map(input).collect();
            let output = replayed.step(&progress.cut(), &input).unwrap();
            assert_eq!(output.progress, *progress);
        }
    }
}

#[test]
fn a_view_may_say_when() {
    let script = format!(
        "{TABLES} CREATE VIEW timed AS SELECT k, PROCTIME() AS at FROM src WHERE k <> 'x';
         INSERT INTO o SELECT window_end, k, COUNT(*)
         FROM TABLE(TUMBLE(TABLE timed, DESCRIPTOR(at), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k"
    );
    let plan = plan(&script);
    let mut logs = logs();
    logs.produce("in", 0, &[record("a"), record("x")]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    assert!(turn(&mut epochs, &mut logs, 3_000) && turn(&mut epochs, &mut logs, 11_000));
    assert_eq!(rows(&logs), [row("10", "a", 1)]);
}
