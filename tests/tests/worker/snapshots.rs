//! Snapshots that a worker keeps of its state: used when it starts again, refused when they are of something else, and never
//! needed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logmill_tests::process::{PATIENCE, Process};
use serde_json::Value;

use crate::rig::{Rig, stop, total};

const COUNT: &str = "
CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json');
CREATE TABLE o (n BIGINT, c BIGINT) WITH ('topic' = 'o', 'format' = 'json', 'output' = 'upsert');
INSERT INTO o SELECT n, COUNT(*) FROM t GROUP BY n UNBOUNDED;
";

/// How many numbers are counted.
const NUMBERS: i64 = 500;

/// What was sent, and where snapshots are.
struct Counted {
    rig: Rig,
    state: String,
    sent: BTreeMap<i64, i64>,
}

impl Counted {
    fn start() -> Counted {
        let rig = Rig::start();
        rig.topic("t", 1);
        rig.topic("o", 1);
        let state = rig.scratch.path("state").display().to_string();
        Counted { rig, state, sent: BTreeMap::new() }
    }

    fn send(&mut self, records: i64) {
        let first: i64 = self.sent.values().sum();
        let numbers: Vec<i64> = (first..first + records).map(|at| at * 7 % NUMBERS).collect();
        self.rig.send("t", numbers.iter().map(|n| (0, 1_000, format!(r#"{{"n":{n}}}"#))));
        for n in numbers {
            *self.sent.entry(n).or_default() += 1;
        }
    }

    /// A worker whose snapshots are made often.
    fn worker_in(&self, name: &str, state: &str) -> Process {
        let options = ["--state-dir", state, "--snapshot-interval", "2 KiB", "--epoch-interval", "10ms"];
        self.rig.worker(name, COUNT, &[&options[..], &["--epoch-records", "200"]].concat())
    }

    fn worker(&self, name: &str) -> Process {
        self.worker_in(name, &self.state)
    }

    /// Sends so many records and waits until a worker has read them; gives what it logged.
    fn read(&mut self, name: &str, state: &str, records: i64) -> String {
        self.send(records);
        let mut worker = self.worker_in(name, state);
        self.rig.until_read(&mut worker);
        let ended = stop(worker);
        assert!(ended.status.success(), "{}", ended.log);
        ended.log
    }

    /// The last count of each number is what was sent.
    fn check(&self) {
        let rows = self.rig.broker.run(&["consume", "o", "--exit"]);
        let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let number = |row: &Value, field: &str| row[field].as_i64().expect("a number");
        let last: BTreeMap<i64, i64> = rows.map(|row| (number(&row, "n"), number(&row, "c"))).collect();
        assert_eq!(last, self.sent);
    }

    /// The files of the task's snapshots, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let directory = PathBuf::from(&self.state).join("logmill-p").join("0");
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let files = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> =
            files.filter(|file| file.extension().is_some_and(|extension| extension == "lms")).collect();
        files.sort();
        files
    }
}

/// What the line says that a task begins with, of a field.
fn begins_with(log: &str, field: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains("a task begins")).expect("a task began");
    let rest = line.split(&format!(" {field}=")).nth(1)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_worker_that_starts_again_reads_its_snapshot_and_what_came_behind_it() {
    let mut counted = Counted::start();
    counted.send(5_000);
    let mut worker = counted.worker("first");
    counted.rig.until_read(&mut worker);
    worker.wait_for_line("a snapshot was made");
    // In the middle of whatever it does.
    counted.send(5_000);
    assert!(worker.kill().was_killed());
    assert!((1..=2).contains(&counted.files().len()), "{:?}", counted.files());

    let log = counted.read("second", &counted.state.clone(), 1_000);
    assert!(begins_with(&log, "snapshot").is_some_and(|epoch| epoch > 0), "{log}");
    let behind = begins_with(&log, "changelog_from").expect("an offset");
    assert!(behind > 0, "only what came behind it is read: {log}");
    counted.check();

    // Somewhere else there is none, and all of the changelog is read.
    let elsewhere = counted.rig.scratch.path("elsewhere").display().to_string();
    let log = counted.read("third", &elsewhere, 1_000);
    assert_eq!(
        (begins_with(&log, "snapshot"), begins_with(&log, "changelog_from")),
        (None, Some(0)),
        "{log}"
    );
    counted.check();

    // It is back where it was: what the other one has done is behind its snapshot.
    let log = counted.read("fourth", &counted.state.clone(), 1_000);
    assert!(begins_with(&log, "snapshot").is_some(), "{log}");
    counted.check();
    assert!(counted.rig.broker.stop().status.success());
}

#[test]
fn a_snapshot_of_another_history_is_refused_and_the_changelog_read() {
    let mut counted = Counted::start();
    let state = counted.state.clone();
    let log = counted.read("first", &state, 5_000);
    assert!(log.contains("a snapshot was made"), "{log}");
    assert!(!counted.files().is_empty());
    // The pipeline's own topics are deleted and made again, and the pipeline comes as far as it was by other epochs.
    for topic in ["logmill-p-changelog", "logmill-p-progress"] {
        counted.rig.broker.run(&["topic", "delete", topic, "--yes"]);
    }
    let elsewhere = counted.rig.scratch.path("elsewhere").display().to_string();
    let log = counted.read("second", &elsewhere, 5_000);
    assert!(log.contains("a snapshot was made"), "{log}");

    let log = counted.read("third", &state, 100);
    assert_eq!(begins_with(&log, "snapshot"), None, "{log}");
    assert!(log.contains("a snapshot is not used") && log.contains("it goes with the changelog"), "{log}");
    counted.check();
    // And those of the history that there is are made there from here on, in their place.
    let log = counted.read("fourth", &state, 5_000);
    assert!(log.contains("a snapshot was made"), "{log}");
    assert!(counted.files().len() <= 2, "{:?}", counted.files());
    let log = counted.read("fifth", &state, 100);
    assert!(begins_with(&log, "snapshot").is_some() && !log.contains("not used"), "{log}");
    counted.check();
    assert!(counted.rig.broker.stop().status.success());
}

#[test]
fn a_snapshot_that_is_damaged_is_seen_and_the_one_before_it_used() {
    let mut counted = Counted::start();
    let state = counted.state.clone();
    while counted.files().len() < 2 {
        counted.read("makes", &state, 3_000);
    }
    let files = counted.files();
    // One more was made while the worker ended, and the oldest is still there.
    let [.., older, newer] = &files[..] else { panic!("{files:?}") };
    let epoch = |file: &PathBuf| {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        name.trim_start_matches("snapshot-").parse::<u64>().expect("an epoch")
    };
    let mut bytes = std::fs::read(newer).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(newer, bytes).expect("a file");
    // Half of one that was being made when the machine went down.
    let unfinished = newer.with_extension("lms.tmp");
    std::fs::write(&unfinished, "half").expect("a file");
    let log = counted.read("second", &state, 10);
    assert!(log.contains("a snapshot is not used"), "{log}");
    assert_eq!(begins_with(&log, "snapshot"), Some(epoch(older)), "{log}");
    assert!(!unfinished.exists());
    counted.check();

    for file in counted.files() {
        std::fs::write(file, "not a snapshot").expect("a file");
    }
    let log = counted.read("third", &state, 10);
    assert_eq!(
        (begins_with(&log, "snapshot"), begins_with(&log, "changelog_from")),
        (None, Some(0)),
        "{log}"
    );
    counted.check();
    assert!(counted.rig.broker.stop().status.success());
}

#[test]
fn a_snapshot_older_than_deletions_stay_is_refused() {
    let mut counted = Counted::start();
    let state = counted.state.clone();
    let log = counted.read("first", &state, 5_000);
    assert!(log.contains("a snapshot was made"), "{log}");
    let change = ["topic", "alter", "logmill-p-changelog", "--config", "delete.retention.ms=1000"];
    counted.rig.broker.run(&change);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let log = counted.read("second", &state, 10);
    assert_eq!(begins_with(&log, "snapshot"), None, "{log}");
    assert!(log.contains("delete.retention.ms"), "{log}");
    counted.check();
    assert!(counted.rig.broker.stop().status.success());
}

#[test]
fn where_no_snapshot_can_be_written_the_task_goes_on() {
    let mut counted = Counted::start();
    let file = counted.rig.scratch.write("file", "");
    let log = counted.read("first", &file, 5_000);
    assert!(log.contains("no snapshot; the task goes on"), "{log}");
    counted.check();
    // Two workers with one directory, as one that has lost the task and does not know it yet.
    let state = counted.state.clone();
    let directory = PathBuf::from(&state).join("logmill-p").join("0");
    std::fs::create_dir_all(&directory).expect("a directory");
    let lock = std::fs::File::create(directory.join("lock")).expect("a file");
    lock.try_lock().expect("nobody has it");
    let log = counted.read("second", &state, 5_000);
    assert!(log.contains("another worker keeps its snapshots of this task there"), "{log}");
    assert_eq!(counted.files(), Vec::<PathBuf>::new());
    drop(lock);
    let log = counted.read("third", &state, 5_000);
    assert!(log.contains("a snapshot was made"), "{log}");
    counted.check();
    assert!(counted.rig.broker.stop().status.success());
}

#[test]
fn however_many_shards_a_task_has_it_writes_the_same() {
    const RECORDS: i64 = 30_000;
    let rig = Rig::start();
    rig.topic("t", 1);
    // More rows in an epoch than are computed where it is.
    rig.send(
        "t",
        (0..RECORDS).map(|at| (0, 1_000, format!(r#"{{"n":{},"ts":{}}}"#, at * 31 % 401, at * 10))),
    );
    let mut written: Vec<String> = Vec::new();
    for (name, set, flag, shards) in
        [("one", "", "", 1), ("four", "", "4", 4), ("set", "SET 'pipeline.shards' = '3';", "", 3)]
    {
        let output = format!("o-{name}");
        rig.topic(&output, 1);
        let script = format!(
            "{set}
            CREATE TABLE t (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
            WITH ('topic' = 't', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
            CREATE TABLE o (w TIMESTAMP(3), n BIGINT, c BIGINT) WITH ('topic' = '{output}', 'format' = 'json');
            INSERT INTO o SELECT window_end, n, COUNT(*)
            FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, n;"
        );
        let script = rig.scratch.write(&format!("{name}.sql"), &script);
        let run = ["worker", "run", &script, "--name", name, "--bounded", "--output", "json"];
        let flags: &[&str] = if flag.is_empty() { &[] } else { &["--shards", flag] };
        let address = ["--bootstrap", &rig.broker.address];
        let ended = Process::start(&rig.scratch, name, &[&run, flags, &address].concat(), &[]).wait(PATIENCE);
        assert_eq!(total(&ended, "records_in"), RECORDS);
        assert_eq!(begins_with(&ended.log, "shards"), Some(shards), "{}", ended.log);
        written.push(rig.broker.run(&["consume", &output, "--exit"]));
    }
    let rows = written[0].lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert_eq!(rows.map(|row| row["c"].as_i64().expect("a count")).sum::<i64>(), RECORDS);
    assert_eq!(written[0], written[1], "four shards");
    assert_eq!(written[0], written[2], "three shards");
    assert!(rig.broker.stop().status.success());
}
