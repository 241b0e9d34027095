//! What a user does with a pipeline that is there: savepoints, going back, other scripts, what happened, the end. And all of
//! it under kill -9 at random moments (`LOGMILL_KILLS`, `LOGMILL_SEED`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use logmill_tests::process::{Broker, Chance, Ended, PATIENCE, Process, Scratch, free_address, number};
use serde_json::Value;

/// Kills of each test unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 5;

/// Counts by key, with more beside the count perhaps.
fn counts(column: &str, value: &str, topic: &str) -> String {
    format!(
        "CREATE TABLE a (k STRING, x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE counts (k STRING, n BIGINT{column}, PRIMARY KEY (k) NOT ENFORCED)
         WITH ('topic' = '{topic}', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO counts SELECT k, COUNT(*){value} FROM a GROUP BY k UNBOUNDED;"
    )
}

/// Waits until a pipeline is as expected.
fn until(broker: &Broker, pipeline: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let described = broker.json(&["pipeline", "describe", pipeline]);
        if expected(&described) {
            return described;
        }
        assert!(Instant::now() < deadline, "{described:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn caught_up(broker: &Broker, pipeline: &str) -> Value {
    until(broker, pipeline, |described| described["lag"] == 0 && described["state"] == "running")
}

fn produce(broker: &Broker, topic: &str, rows: &[(&str, i64)]) {
    let lines: String = rows.iter().map(|(k, x)| format!("{{\"k\":\"{k}\",\"x\":{x}}}\n")).collect();
    broker.run_with_input(&["produce", topic], &lines);
}

/// The rows of a table as it is in the end, by key.
fn rows(broker: &Broker, query: &str) -> Vec<Value> {
    broker.json(&["sql", query])["rows"].as_array().expect("rows").clone()
}

/// That a command fails, and says this.
#[track_caller]
fn refused(ended: &Ended, parts: &[&str]) {
    ended_with(1, ended, parts);
}

#[track_caller]
fn ended_with(status: i32, ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.status.code(), Some(status), "{}", ended.log);
    for part in parts {
        assert!(ended.log.contains(part), "{part:?} in {}", ended.log);
    }
}

#[test]
fn a_pipeline_goes_back_to_a_savepoint_and_another_begins_there() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let script = scratch.write("p.sql", &counts("", "", "out"));
    broker.run(&["topic", "create", "in"]);
    broker.run(&["pipeline", "deploy", &script]);
    produce(&broker, "in", &[("a", 1), ("b", 2), ("a", 3)]);
    caught_up(&broker, "p");

    let made = broker.json(&["pipeline", "savepoint", "p", "--name", "before"]);
    assert_eq!(made["savepoints"][0]["name"], "before");
    assert_eq!(made["savepoints"][0]["positions"], serde_json::json!(["in-0 at 3"]));
    refused(
        &broker.try_run(&["pipeline", "savepoint", "p", "--name", "before"], ""),
        &["has a savepoint", "use another name, or delete that one"],
    );
    let shown = broker.run(&["pipeline", "savepoint", "p"]);
    assert!(shown.contains("epoch-") && shown.contains("in-0 at 3"), "{shown}");
    let listed = broker.json(&["pipeline", "savepoints", "p"]);
    assert_eq!(listed["savepoints"].as_array().expect("savepoints").len(), 2);
    let described = broker.run(&["pipeline", "describe", "p"]);
    assert!(described.contains("before"), "{described}");

    produce(&broker, "in", &[("a", 4), ("c", 5)]);
    caught_up(&broker, "p");
    refused(
        &broker.try_run(&["pipeline", "restore", "p", "--savepoint", "before"], ""),
        &["stop it first", "logmill pipeline stop p"],
    );
    broker.run(&["pipeline", "stop", "p"]);
    refused(
        &broker.try_run(&["pipeline", "restore", "p", "--savepoint", "never"], ""),
        &["no savepoint \"never\"", "logmill pipeline savepoints p"],
    );
    let back = broker.json(&["pipeline", "restore", "p", "--savepoint", "before"]);
    assert_eq!((&back["state"], &back["records_in"]), (&"stopped".into(), &3.into()));

    // Another one from there, before anything is read again; it needs topics of its own.
    refused(
        &broker.try_run(&["pipeline", "restore", "p", "--savepoint", "before", "--to", "q"], ""),
        &["\"out\"", "belongs to pipeline \"p\""],
    );
    refused(&broker.try_run(&["pipeline", "describe", "q"], ""), &["no pipeline \"q\""]);
    let fork = scratch.write("q.sql", &counts("", "", "fork-out"));
    broker.run(&["pipeline", "restore", "p", "--savepoint", "before", "--to", "q", "--script", &fork]);
    for pipeline in ["p", "q"] {
        broker.run(&["pipeline", "resume", pipeline]);
        let described = caught_up(&broker, pipeline);
        assert_eq!(described["records_in"], 5, "{described:#}");
    }
    let of = |pipeline: &str| {
        let query = ["sql", "SELECT k, n FROM counts ORDER BY k", "--pipeline", pipeline];
        broker.json(&query)["rows"].clone()
    };
    assert_eq!(of("p"), serde_json::json!([["a", 3], ["b", 1], ["c", 1]]));
    // Its table has what it wrote itself: the keys that came behind the savepoint.
    assert_eq!(of("q"), serde_json::json!([["a", 3], ["c", 1]]));

    let events = broker.run(&["pipeline", "logs", "p"]);
    for part in ["started", "stopped", "it stands at savepoint before of p"] {
        assert!(events.contains(part), "{part:?} in {events}");
    }
    let year = events.split('-').next().and_then(|year| year.parse::<u32>().ok());
    assert!(year.is_some_and(|year| year > 2_025), "a time that people read: {events}");
    let events = broker.json(&["pipeline", "logs", "q"]);
    assert!(events["events"].as_array().expect("events").iter().any(|event| event["kind"] == "changed"));

    broker.run(&["pipeline", "savepoint", "p", "--delete", "before"]);
    refused(&broker.try_run(&["pipeline", "savepoint", "p", "--delete", "before"], ""), &["no savepoint"]);
    refused(&broker.try_run(&["pipeline", "delete", "q"], ""), &["logmill pipeline stop q"]);
    broker.run(&["pipeline", "stop", "q"]);
    assert_eq!(broker.json(&["pipeline", "delete", "q"])["pipeline"], "q");
    let names = broker.json(&["pipeline", "list"]);
    assert_eq!(names["pipelines"].as_array().expect("pipelines").len(), 1, "{names}");
    // Its topic is anybody's; it is compacted, and wants keys.
    let mine = broker.try_run(&["produce", "fork-out", "--key", "mine"], "1\n");
    assert!(mine.status.success(), "{} {}", mine.out, mine.log);
    assert!(broker.stop().status.success());
}

#[test]
fn who_waits_for_the_end_is_told_that_it_was_stopped_before() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let script = scratch.write("p.sql", &counts("", "", "out"));
    broker.run(&["topic", "create", "in"]);
    let wait = ["pipeline", "deploy", &script, "--wait", "--bootstrap", &broker.address];
    let mut waiting = Process::start(&scratch, "waiting", &wait, &[]);
    waiting.wait_for_line("is new");
    broker.run(&["pipeline", "stop", "p"]);
    refused(&waiting.wait(PATIENCE), &["p was stopped before it was finished", "logmill pipeline resume p"]);
    let finished = broker.json(&["pipeline", "deploy", &script, "--wait", "--bounded"]);
    assert_eq!(finished["state"], "finished", "{finished}");
    assert!(broker.stop().status.success());
}

#[test]
fn a_pipeline_that_is_deployed_again_is_followed_from_its_beginning() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let script = scratch.write("p.sql", &counts("", "", "out"));
    broker.run(&["topic", "create", "in"]);
    broker.run(&["pipeline", "deploy", &script]);
    broker.run(&["pipeline", "stop", "p"]);
    let logs = ["pipeline", "logs", "p", "-f", "--bootstrap", &broker.address];
    let follower = Process::start(&scratch, "follower", &logs, &[]);
    let shows = |kind: &str, times: usize| {
        let deadline = Instant::now() + PATIENCE;
        while follower.out().matches(&format!("  {kind} ")).count() < times {
            assert!(Instant::now() < deadline, "{}{}", follower.out(), follower.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    shows("stopped", 1);
    // It does not see that the pipeline is gone, and the new one's events have the numbers of the old one's.
    follower.pause();
    broker.run(&["pipeline", "delete", "p"]);
    broker.run(&["pipeline", "deploy", &script]);
    follower.resume();
    shows("started", 2);
    broker.run(&["pipeline", "stop", "p"]);
    shows("stopped", 2);
    // Now it sees it, right behind several events at once, and looks again before there is another one.
    follower.pause();
    broker.run(&["pipeline", "resume", "p"]);
    broker.run(&["pipeline", "stop", "p"]);
    follower.resume();
    shows("stopped", 3);
    follower.pause();
    broker.run(&["pipeline", "delete", "p"]);
    follower.resume();
    let deadline = Instant::now() + PATIENCE;
    while !follower.log().contains("is deleted; waiting") {
        assert!(Instant::now() < deadline, "{}", follower.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(1_200));
    broker.run(&["pipeline", "deploy", &script]);
    shows("started", 4);
    follower.interrupt();
    let followed = follower.wait(PATIENCE);
    assert!(followed.status.success() && followed.log.contains("deployed again"), "{}", followed.log);
    for (kind, times) in [("started", 4), ("stopped", 3)] {
        assert_eq!(followed.out.matches(&format!("  {kind} ")).count(), times, "each once: {}", followed.out);
    }
    assert!(broker.stop().status.success());
}

/// `(module (func (export "twice") (param i64) (result i64) (i64.add (local.get 0) (local.get 0))))`
const TWICE: &[u8] =
    b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7e\x01\x7e\x03\x02\x01\0\x07\x09\x01\x05twice\0\0\
                       \x0a\x09\x01\x07\0\x20\0\x20\0\x7c\x0b";

#[test]
fn another_script_takes_over_and_what_is_kept_is_said_before() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let script = scratch.write("p.sql", &counts("", "", "out"));
    broker.run(&["topic", "create", "in"]);
    broker.run(&["pipeline", "deploy", &script]);
    produce(&broker, "in", &[("a", 1), ("b", 2), ("a", 3)]);
    caught_up(&broker, "p");

    // Under its name another script is no other pipeline: what to do stands there.
    let summed = scratch.write("summed.sql", &counts(", s BIGINT", ", SUM(x)", "out"));
    refused(
        &broker.try_run(&["pipeline", "deploy", &summed, "--name", "p"], ""),
        &["exists with another script", "logmill pipeline upgrade p"],
    );
    let plan = broker.json(&["pipeline", "explain", "upgrade", "p", &summed]);
    assert_eq!((&plan["operators"][0]["fate"], &plan["to_read"]), (&"rebuilt".into(), &3.into()), "{plan:#}");
    let shown = broker.run(&["pipeline", "explain", "upgrade", "p", &summed]);
    assert!(shown.contains("rebuilt") && shown.contains("reads about 3 records"), "{shown}");
    assert_eq!(
        broker.json(&["pipeline", "describe", "p"])["script"],
        counts("", "", "out"),
        "nothing happened"
    );
    let wrong = scratch.write("wrong.sql", &counts(", s BIGINT", ", SUM(y)", "out"));
    let wrong = broker.try_run(&["pipeline", "upgrade", "p", &wrong], "");
    ended_with(2, &wrong, &["line 4", "no column `y`"]);
    broker.run(&["pipeline", "upgrade", "p", &summed]);
    produce(&broker, "in", &[("a", 10)]);
    caught_up(&broker, "p");
    assert_eq!(
        rows(&broker, "SELECT k, n, s FROM counts ORDER BY k"),
        [serde_json::json!(["a", 3, 14]), serde_json::json!(["b", 1, null])],
        "rows that were written before stay what they are"
    );

    // A script with a module beside it, as it is deployed with one.
    let twice = format!(
        "CREATE FUNCTION twice(n BIGINT) RETURNS BIGINT LANGUAGE wasm USING 'twice.wasm';\n{}",
        counts(", s BIGINT", ", twice(SUM(x))", "out")
    );
    let twice = scratch.write("twice.sql", &twice);
    let missing = broker.try_run(&["pipeline", "upgrade", "p", &twice], "");
    assert_eq!(missing.status.code(), Some(2), "a script that cannot be sent: {}", missing.log);
    assert!(missing.log.contains("the module `twice.wasm` cannot be read"), "{}", missing.log);
    std::fs::write(scratch.path("twice.wasm"), TWICE).expect("a module");
    let plan = broker.json(&["pipeline", "explain", "upgrade", "p", &twice]);
    assert_eq!(plan["operators"][0]["fate"], "kept", "{plan:#}");
    broker.run(&["pipeline", "upgrade", "p", &twice]);
    produce(&broker, "in", &[("a", 1)]);
    caught_up(&broker, "p");
    assert_eq!(rows(&broker, "SELECT n, s FROM counts WHERE k = 'a'"), [serde_json::json!([4, 30])]);

    // What is not there any more cannot be read again, unless that is wanted.
    broker.run(&["topic", "trim", "in", "--before", "2", "--yes"]);
    let largest = scratch.write("largest.sql", &counts(", s BIGINT", ", MAX(x)", "out"));
    refused(
        &broker.try_run(&["pipeline", "upgrade", "p", &largest], ""),
        &["in-0 begins at offset 2", "--allow-incomplete"],
    );
    let shown = broker.run(&["pipeline", "explain", "upgrade", "p", &largest]);
    assert!(shown.contains("in-0 at 2") && shown.contains("--allow-incomplete"), "{shown}");
    broker.run(&["pipeline", "upgrade", "p", &largest, "--allow-incomplete"]);
    produce(&broker, "in", &[("a", 2)]);
    caught_up(&broker, "p");
    // Of `a` the third, the fourth and the fifth record are left, and this one.
    assert_eq!(rows(&broker, "SELECT n, s FROM counts WHERE k = 'a'"), [serde_json::json!([4, 10])]);
    assert!(broker.stop().status.success());
}

/// A broker that is killed while commands run against it, and started again where it was.
struct Killed<'s> {
    scratch: &'s Scratch,
    chance: Chance,
    address: String,
    starts: u64,
    broker: Option<Broker>,
}

/// Snapshots come all the time, and what lies before them goes.
const EAGER: [&str; 2] = ["--set", "pipelines.snapshot_interval=1 B"];

impl<'s> Killed<'s> {
    fn start(scratch: &'s Scratch) -> Killed<'s> {
        let mut chance = Chance::seeded();
        let address = free_address(&mut chance);
        let mut killed = Killed { scratch, chance, address, starts: 0, broker: None };
        killed.again();
        killed
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs")
    }

    fn again(&mut self) {
        self.starts += 1;
        let name = format!("broker-{}", self.starts);
        self.broker = Some(Process::serve_at(self.scratch, &name, "data", &self.address, &EAGER, &[]));
    }

    /// Runs a command and kills the broker within so many milliseconds. Whether the command was done before.
    fn kill_during(&mut self, arguments: &[&str], within_ms: u64) -> bool {
        let broker = self.broker.take().expect("it runs");
        let wait = Duration::from_micros(self.chance.below(within_ms * 1_000));
        let address = self.address.clone();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let command = std::thread::spawn(move || {
            let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            words.extend(["--bootstrap", &address]);
            logmill_tests::process::run(&words, &[], "").status.success()
        });
        std::thread::sleep(wait);
        assert!(broker.process.kill().was_killed(), "it ended by itself");
        let done = command.join().expect("a command");
        self.again();
        done
    }

    fn kill(&mut self) {
        let broker = self.broker.take().expect("it runs");
        assert!(broker.process.kill().was_killed(), "it ended by itself");
        self.again();
    }
}

fn kills() -> u64 {
    number("LOGMILL_KILLS").unwrap_or(KILLS)
}

/// Rows of keys, so many of each, in one text.
fn many(keys: usize, rows: usize) -> Vec<(String, i64)> {
    (0..keys * rows).map(|n| (format!("key-{}", n % keys), 1)).collect()
}

fn produce_many(broker: &Broker, rows: &[(String, i64)]) {
    let rows: Vec<(&str, i64)> = rows.iter().map(|(k, x)| (k.as_str(), *x)).collect();
    produce(broker, "in", &rows);
}

/// What is written of each window before the kill, or behind it, by the old script or the new one, is written once.
#[test]
fn a_kill_during_an_upgrade_leaves_the_old_script_or_the_new_one() {
    let scratch = Scratch::new();
    let mut killed = Killed::start(&scratch);
    let tumbling = |column: &str, value: &str| {
        format!(
            "CREATE TABLE a (k STRING, x BIGINT, ts TIMESTAMP(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts)
             WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE w (s TIMESTAMP(3), k STRING, n BIGINT{column}) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO w SELECT window_start, k, COUNT(*){value}
             FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '50' MILLISECOND)) GROUP BY window_start, window_end, k;"
        )
    };
    let scripts = [tumbling("", ""), tumbling(", m BIGINT", ", MAX(x)")];
    let files = [scratch.write("p.sql", &scripts[0]), scratch.write("other.sql", &scripts[1])];
    killed.broker().run(&["topic", "create", "in"]);
    killed.broker().run(&["pipeline", "deploy", &files[0]]);
    let (mut now, mut sent, mut done) = (0, 0, 0);
    for _ in 0..kills() {
        let rows = many(20, 40);
        produce_many(killed.broker(), &rows);
        sent += rows.len();
        let other = 1 - now;
        let answered = killed.kill_during(&["pipeline", "upgrade", "p", &files[other]], 250);
        let script = killed.broker().json(&["pipeline", "describe", "p"])["script"].clone();
        let is = scripts.iter().position(|known| script == known.as_str());
        let is = is.unwrap_or_else(|| panic!("a script of nobody: {script}"));
        assert!(!answered || is == other, "the upgrade was answered, and is not there");
        done += usize::from(is == other);
        now = is;
        caught_up(killed.broker(), "p");
        // It can be made another one at any time, whatever came of the one before.
        killed.broker().run(&["pipeline", "upgrade", "p", &files[1 - now]]);
        now = 1 - now;
    }
    caught_up(killed.broker(), "p");
    killed.broker().run(&["pipeline", "finish", "p"]);
    until(killed.broker(), "p", |described| described["state"] == "finished");
    let out = killed.broker().run(&["consume", "out", "--exit"]);
    let mut windows: BTreeMap<String, i64> = BTreeMap::new();
    for row in out.lines() {
        let row: Value = serde_json::from_str(row).expect("JSON");
        let window = format!("{} {}", row["s"], row["k"]);
        let before = windows.insert(window.clone(), row["n"].as_i64().expect("a count"));
        assert_eq!(before, None, "{window} was written twice");
    }
    assert_eq!(
        windows.values().sum::<i64>(),
        sent as i64,
        "{done} upgrades were done when the broker was killed"
    );
}

#[test]
fn a_kill_during_a_fork_leaves_it_whole_or_not_there() {
    let scratch = Scratch::new();
    let mut killed = Killed::start(&scratch);
    let script = scratch.write("p.sql", &counts("", "", "out"));
    killed.broker().run(&["topic", "create", "in"]);
    killed.broker().run(&["pipeline", "deploy", &script]);
    let rows = many(50, 20);
    produce_many(killed.broker(), &rows);
    caught_up(killed.broker(), "p");
    killed.broker().run(&["pipeline", "savepoint", "p", "--name", "s"]);
    for turn in 0..kills() {
        let (fork, topic) = (format!("fork-{turn}"), format!("out-{turn}"));
        let script = scratch.write(&format!("{fork}.sql"), &counts("", "", &topic));
        let restore = ["pipeline", "restore", "p", "--savepoint", "s", "--to", &fork, "--script", &script];
        let answered = killed.kill_during(&restore, 120);
        let there = killed.broker().try_run(&["pipeline", "describe", &fork], "");
        assert!(!answered || there.status.success(), "the fork was answered, and is not there");
        if !there.status.success() {
            refused(&there, &["no pipeline"]);
            killed.broker().run(&restore);
        }
        killed.broker().run(&["pipeline", "resume", &fork]);
        produce(killed.broker(), "in", &[("key-0", 1)]);
        let described = caught_up(killed.broker(), &fork);
        assert_eq!(described["records_in"], rows.len() as u64 + turn + 1, "{described:#}");
        // What it has written itself is what came behind the savepoint: one that began anew has written every key.
        let query = ["sql", "SELECT MIN(n), COUNT(*) FROM counts", "--pipeline", &fork];
        assert_eq!(killed.broker().json(&query)["rows"], serde_json::json!([[20 + turn + 1, 1]]));
        killed.broker().run(&["pipeline", "stop", &fork]);
    }
}

#[test]
fn a_kill_while_a_pipeline_goes_back_leaves_it_here_or_there() {
    let scratch = Scratch::new();
    let mut killed = Killed::start(&scratch);
    let script = scratch.write("p.sql", &counts("", "", "out"));
    killed.broker().run(&["topic", "create", "in"]);
    killed.broker().run(&["pipeline", "deploy", &script]);
    let rows = many(50, 20);
    produce_many(killed.broker(), &rows);
    caught_up(killed.broker(), "p");
    killed.broker().run(&["pipeline", "savepoint", "p", "--name", "s"]);
    let mut read = rows.len() as u64;
    for _ in 0..kills() {
        produce_many(killed.broker(), &many(50, 1));
        read += 50;
        caught_up(killed.broker(), "p");
        killed.broker().run(&["pipeline", "stop", "p"]);
        let answered = killed.kill_during(&["pipeline", "restore", "p", "--savepoint", "s"], 120);
        let described = killed.broker().json(&["pipeline", "describe", "p"]);
        assert_eq!(described["state"], "stopped", "{described:#}");
        let at = described["records_in"].as_u64().expect("a number");
        assert!(at == read && !answered || at == rows.len() as u64, "{described:#}");
        killed.broker().run(&["pipeline", "resume", "p"]);
        let described = caught_up(killed.broker(), "p");
        assert_eq!(described["records_in"], read, "{described:#}");
        let counted = killed.broker().json(&["sql", "SELECT MIN(n), MAX(n), COUNT(*) FROM counts"]);
        assert_eq!(counted["rows"], serde_json::json!([[read / 50, read / 50, 50]]));
    }
}

/// Snapshots are made, older ones removed and the changelog trimmed after each epoch.
#[test]
fn a_kill_while_the_changelog_is_trimmed_loses_no_state() {
    let scratch = Scratch::new();
    let mut killed = Killed::start(&scratch);
    let script = scratch.write("p.sql", &counts("", "", "out"));
    killed.broker().run(&["topic", "create", "in"]);
    killed.broker().run(&["pipeline", "deploy", &script]);
    let mut each = 0;
    for _ in 0..kills() {
        let turns = 1 + killed.chance.below(4);
        for _ in 0..turns {
            produce_many(killed.broker(), &many(50, 10));
            each += 10;
        }
        killed.kill();
        caught_up(killed.broker(), "p");
        let counted = rows(killed.broker(), "SELECT MIN(n), MAX(n), COUNT(*) FROM counts");
        assert_eq!(counted, [serde_json::json!([each, each, 50])]);
    }
    let trimmed = killed.broker().json(&["topic", "describe", "__logmill_changelog.p"]);
    assert!(trimmed["partitions"][0]["start"].as_i64().is_some_and(|start| start > 0), "{trimmed:#}");
}
