//! Partitions without records: whether they hold event time back, and for how long.

use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, EpochOutput, Heard, Input, InputProgress, Logs, LogsError, Pipeline,
    Plan, ReadBatches, TopicPartition, Turn,
};

use crate::support::{MemoryLogs, plan, restored, spec};

fn script(options: &str) -> String {
    format!(
        "CREATE TABLE src (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('topic' = 'in', 'format' = 'json' {options});
         CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end"
    )
}

fn record(time: i64) -> String {
    format!(r#"{{"k":"a","ts":{time}}}"#)
}

fn logs() -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", 3);
    logs.create("out", 1);
    logs
}

fn turns<L: Logs>(epochs: &mut EpochLoop, logs: &mut L, now: i64) {
    while let Turn::Committed { .. } = epochs.turn(logs, now, 0).unwrap() {}
}

#[test]
fn without_the_option_a_partition_without_records_holds_time_back_for_ever() {
    let plan = plan(&script(""));
    let mut logs = logs();
    logs.produce("in", 0, &[record(1_000), record(30_000)]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    turns(&mut epochs, &mut logs, 0);
    assert_eq!(epochs.wake_at(), None);
    turns(&mut epochs, &mut logs, 1_000_000_000);
    assert!(logs.values("out").is_empty());
}

#[test]
fn an_idle_partition_lets_time_go_on() {
    let plan = plan(&script(", 'idle-timeout' = '5 s'"));
    let mut logs = logs();
    logs.produce("in", 0, &[record(1_000), record(30_000)]);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    turns(&mut epochs, &mut logs, 100);
    assert_eq!(epochs.wake_at(), Some(5_100));
    turns(&mut epochs, &mut logs, 5_099);
    assert!(logs.values("out").is_empty());
    // The partition that shows a record does so before it is idle.
    logs.produce("in", 1, &[record(12_000)]);
    turns(&mut epochs, &mut logs, 5_099);
    turns(&mut epochs, &mut logs, 5_100);
    assert_eq!(logs.values("out"), [r#"{"w":"1970-01-01T00:00:10Z","n":1}"#], "as far as 12 s of the second");
    let idle: Vec<i32> = epochs.pipeline().idle().map(|partition| partition.partition).collect();
    assert_eq!(idle, [0, 2]);

    // A restart keeps what was idle so; a partition that wakes finds windows closed.
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 2), EpochLimits::default());
    logs.produce("in", 2, &[record(2_000), record(40_000)]);
    turns(&mut epochs, &mut logs, 5_200);
    let idle: Vec<i32> = epochs.pipeline().idle().map(|partition| partition.partition).collect();
    assert_eq!(idle, [0], "it waits for nobody who waits for it");
    assert_eq!(logs.last_progress().unwrap().totals.late, 1);
    // All are idle: time is that of the newest.
    turns(&mut epochs, &mut logs, 60_000);
    assert_eq!(logs.last_progress().unwrap().watermark, Some(40_000));
    assert_eq!(epochs.wake_at(), None);
    assert_eq!(logs.values("out").len(), 3);

    let mut replayed = Pipeline::new(plan.clone(), spec(&plan, &logs, 1)).unwrap();
    for progress in &logs.progress.clone() {
        let input = |input: &InputProgress| {
            let partition = TopicPartition::new(&*input.topic, input.partition);
            let read = logs.read(&partition, input.from, usize::MAX).unwrap();
            Input { partition, batches: read.batches, aborted: read.aborted }
        };
        let input: Vec<Input> = progress.inputs.iter().map(input).collect();
        let output = replayed.step(&progress.cut(), &input).unwrap();
        assert_eq!(output.progress.digest, progress.digest, "the verdicts are in the cuts");
        assert_eq!(output.progress.watermark, progress.watermark);
    }
}

/// Logs that are not at hand: that nothing more of a partition is here does not say that it is at its end.
struct Far {
    logs: MemoryLogs,
    heard: Option<Heard>,
}

impl Logs for Far {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.readable_end(partition)
    }

    fn log_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.heard.map_or(Ok(i64::MAX), |_| self.logs.log_end(partition))
    }

    fn heard(&mut self, _: &TopicPartition, _: i64) -> Result<Option<Heard>, LogsError> {
        Ok(self.heard)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        self.logs.read(partition, from, max_bytes)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.logs.commit(epoch)
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

#[test]
fn a_partition_of_which_nothing_is_heard_is_not_idle() {
    let plan = plan(&script(", 'idle-timeout' = '5 s'"));
    let mut far = Far { logs: logs(), heard: None };
    far.logs.produce("in", 0, &[record(1_000), record(30_000)]);
    let mut epochs = EpochLoop::new(restored(&plan, &far.logs, 1), EpochLimits::default());
    let idle = |epochs: &EpochLoop| epochs.pipeline().idle().count();
    let mut at = |epochs: &mut EpochLoop, now: i64, heard: Option<(i64, i64)>| {
        far.heard = heard.map(|(since, until)| Heard { since, until });
        turns(epochs, &mut far, now);
        (idle(epochs), epochs.wake_at())
    };
    assert_eq!(at(&mut epochs, 100, None), (0, None), "nobody has answered yet");
    assert_eq!(at(&mut epochs, 60_000, None), (0, None));
    // It is at its end from the first look on at which that is known.
    assert_eq!(at(&mut epochs, 61_000, Some((60_500, 60_900))), (0, Some(66_000)));
    assert_eq!(
        at(&mut epochs, 66_000, Some((60_500, 65_800))),
        (0, Some(66_100)),
        "it may have a record by now"
    );
    assert_eq!(at(&mut epochs, 66_100, Some((60_500, 66_000))), (3, None));
    assert_eq!(at(&mut epochs, 70_000, None).0, 0, "nobody answers any more");
    assert_eq!(at(&mut epochs, 80_000, Some((60_500, 79_900))).0, 0, "nobody was listened to meanwhile");
    // Answers that came without a gap again, since then.
    assert_eq!(at(&mut epochs, 84_000, Some((83_000, 83_900))), (0, Some(88_000)));
    assert_eq!(at(&mut epochs, 88_000, Some((83_000, 88_000))), (3, None));
}

#[test]
fn a_partition_with_an_open_transaction_is_not_idle() {
    let plan = plan(&script(", 'idle-timeout' = '5 s'"));
    let mut logs = logs();
    logs.produce("in", 0, &[record(1_000), record(30_000)]);
    // What is not committed yet is still to come.
    logs.produce("in", 1, &[record(2_000)]);
    logs.open.insert(TopicPartition::new("in", 1), 0);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    for now in [0, 5_000, 60_000] {
        turns(&mut epochs, &mut logs, now);
    }
    let idle: Vec<i32> = epochs.pipeline().idle().map(|partition| partition.partition).collect();
    assert_eq!((idle, logs.values("out").len()), (vec![0, 2], 0));
    assert_eq!(epochs.wake_at(), None, "its end comes with news");
    logs.open.clear();
    turns(&mut epochs, &mut logs, 60_001);
    turns(&mut epochs, &mut logs, 65_001);
    assert_eq!(logs.values("out"), [r#"{"w":"1970-01-01T00:00:10Z","n":2}"#]);
    assert_eq!(logs.last_progress().unwrap().totals.late, 0);
}

/// Two tables with an `'idle-timeout'`, joined, put together, and windows of one joined with windows of the other.
const TOGETHER: [(&str, &str); 3] = [
    (
        "k STRING, l BIGINT, r BIGINT",
        "SELECT l.k, l.v, r.v FROM l LEFT JOIN r ON l.k = r.k
         AND r.ts BETWEEN l.ts - INTERVAL '2' SECOND AND l.ts + INTERVAL '2' SECOND",
    ),
    (
        "w TIMESTAMP(3), n BIGINT",
        "WITH both AS (SELECT ts, v FROM l UNION ALL SELECT ts, v FROM r)
         SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE both, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end",
    ),
    (
        "w TIMESTAMP(3), l BIGINT, r BIGINT",
        "WITH a AS (SELECT window_start, window_end, COUNT(*) AS n
           FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end),
         b AS (SELECT window_start, window_end, COUNT(*) AS n
           FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end)
         SELECT a.window_end, a.n, b.n FROM a LEFT JOIN b
         ON a.window_start = b.window_start AND a.window_end = b.window_end",
    ),
];

/// What time makes due is given bit by bit.
const ONE_ROW: EpochLimits = EpochLimits {
    input_bytes: 1 << 20,
    input_records: 100,
    unpacked_bytes: 1 << 20,
    output_bytes: 1 << 20,
    steady_bytes: 1 << 20,
    emit_rows: 1,
};

fn together(index: usize) -> Plan {
    let (columns, select) = TOGETHER[index];
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
             WITH ('topic' = '{name}', 'format' = 'json', 'idle-timeout' = '5 s');"
        )
    };
    plan(&format!(
        "{} {} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json'); INSERT INTO o {select}",
        table("l"),
        table("r")
    ))
}

/// A run that is compared with its records at each step, and repeated from its cuts at its end.
struct Together {
    plan: Plan,
    logs: MemoryLogs,
    epochs: EpochLoop,
    generation: u32,
}

impl Together {
    fn new(index: usize) -> Together {
        let mut logs = MemoryLogs::default();
        [("l", 2), ("r", 2), ("out", 1)]
            .iter()
            .for_each(|(topic, partitions)| logs.create(topic, *partitions));
        let plan = together(index);
        let epochs = EpochLoop::new(restored(&plan, &logs, 1), ONE_ROW);
        Together { plan, logs, epochs, generation: 1 }
    }

    /// What was idle stays so; of the others the time begins anew.
    fn restart(&mut self) {
        self.generation += 1;
        self.epochs = EpochLoop::new(restored(&self.plan, &self.logs, self.generation), ONE_ROW);
    }

    /// Lets records come, and what time makes of them. Gives what is written since.
    fn step(&mut self, records: &[(&str, i64, i64)], now: i64) -> Vec<String> {
        let before = self.logs.values("out").len();
        for (topic, v, ts) in records {
            let record = format!(r#"{{"k":"a","v":{v},"ts":{ts}}}"#);
            self.logs.produce(topic, 0, &[record]);
        }
        while let Turn::Committed { progress, .. } = self.epochs.turn(&mut self.logs, now, 0).unwrap() {
            let pending = self.epochs.pipeline().emission_pending();
            assert_eq!(progress.emission_pending(&self.plan).unwrap(), pending, "the record says it, too");
            let again = restored(&self.plan, &self.logs, self.generation + 1);
            assert_eq!(again.emission_pending(), pending, "and a restart knows it");
        }
        self.logs.values("out").split_off(before)
    }

    fn late(&self) -> u64 {
        let totals = self.logs.last_progress().unwrap().totals;
        totals.late + totals.late_rows
    }

    fn check_replay(&mut self) {
        let mut replayed = Pipeline::new(self.plan.clone(), spec(&self.plan, &self.logs, 1)).unwrap();
        for progress in &self.logs.progress.clone() {
            let input = |input: &InputProgress| {
                let partition = TopicPartition::new(&*input.topic, input.partition);
                let read = self.logs.read(&partition, input.from, usize::MAX).unwrap();
                Input { partition, batches: read.batches, aborted: read.aborted }
            };
            let input: Vec<Input> = progress.inputs.iter().map(input).collect();
            let output = replayed.step(&progress.cut(), &input).unwrap();
            assert_eq!(output.progress.digest, progress.digest, "the verdicts are in the cuts");
        }
    }
}

#[test]
fn a_join_does_not_wait_for_a_table_that_is_idle() {
    let mut run = Together::new(0);
    let first = [("l", 1, 10_000), ("r", 1, 10_500), ("l", 2, 20_000), ("r", 2, 12_001)];
    assert_eq!(run.step(&first, 0), [r#"{"k":"a","l":1,"r":1}"#]);
    // Nothing of `r` for so long: of `l` all goes on.
    assert!(run.step(&[("l", 3, 30_000)], 4_000).is_empty(), "the other partition of each is not idle yet");
    assert_eq!(
        run.step(&[("l", 4, 40_000)], 5_000),
        [r#"{"k":"a","l":2,"r":null}"#, r#"{"k":"a","l":3,"r":null}"#]
    );
    // It wakes with a record that is behind, and one that is not.
    run.restart();
    assert_eq!(run.step(&[("r", 3, 30_500), ("r", 4, 40_500)], 5_500), [r#"{"k":"a","l":4,"r":4}"#]);
    assert_eq!(run.late(), 1, "row 3 went without it");
    // It holds back again, until it is idle.
    assert!(run.step(&[("l", 5, 60_000), ("l", 6, 80_000)], 6_000).is_empty());
    assert_eq!(run.step(&[("l", 7, 90_000)], 10_600).len(), 2);
    // Where all are idle time is that of the newest.
    assert!(run.step(&[], 30_000).is_empty());
    assert_eq!(run.step(&[("r", 5, 91_000)], 30_100), [r#"{"k":"a","l":7,"r":5}"#]);
    run.check_replay();
}

#[test]
fn what_is_put_together_does_not_wait_for_a_table_that_is_idle() {
    let mut run = Together::new(1);
    assert!(run.step(&[("l", 1, 1_000), ("r", 1, 2_000), ("l", 2, 35_000)], 0).is_empty());
    let window = |end: i64, n: i64| format!(r#"{{"w":"1970-01-01T00:00:{end}Z","n":{n}}}"#);
    assert_eq!(run.step(&[("l", 3, 36_000)], 5_000), [window(10, 2)]);
    // Its window is closed; the other one is not.
    assert!(run.step(&[("r", 2, 9_000), ("r", 3, 33_000)], 6_000).is_empty());
    assert_eq!(run.late(), 1);
    assert_eq!(run.step(&[("l", 4, 50_000), ("r", 4, 50_000)], 6_100), [window(40, 3)]);
    run.check_replay();
}

#[test]
fn windows_do_not_wait_for_those_of_a_table_that_is_idle() {
    let mut run = Together::new(2);
    assert!(run.step(&[("l", 1, 1_000), ("r", 1, 2_000), ("r", 2, 12_000), ("l", 2, 35_000)], 0).is_empty());
    let window = |end: i64, l: i64, r: &str| format!(r#"{{"w":"1970-01-01T00:00:{end}Z","l":{l},"r":{r}}}"#);
    assert_eq!(run.step(&[("l", 3, 51_000)], 5_000), [window(10, 1, "1"), window(40, 1, "null")]);
    // The window of `r` that was open when it became idle is given when it goes on, and has nobody to meet.
    assert!(run.step(&[("r", 3, 52_000)], 6_000).is_empty());
    assert_eq!(run.late(), 1);
    assert_eq!(
        run.step(&[("l", 4, 70_000), ("r", 4, 70_000)], 6_100),
        [r#"{"w":"1970-01-01T00:01:00Z","l":1,"r":1}"#]
    );
    run.check_replay();
}
