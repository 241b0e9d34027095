//! Scripts as commands take them: from a file or from standard input; what is wrong with them is told with its place, for
//! people and for programs. And what becomes of a pipeline that fails, or that is finished.

use std::time::{Duration, Instant};

use logmill_tests::process::{Ended, PATIENCE, Process, Scratch, run};
use serde_json::Value;

const COPY: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
INSERT INTO b SELECT x FROM a;
";

/// The error that is printed instead of a document.
fn error(ended: &Ended) -> Value {
    let document: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {:?}", ended.out));
    assert!(document["_command"].is_string() && document["_version"].is_u64(), "{document}");
    document["error"].clone()
}

#[test]
fn what_a_script_sets_holds_unless_a_flag_says_something_else() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let script = |name: &str, memory: &str| {
        let text = format!(
            "SET 'pipeline.name' = 'set'; SET 'pipeline.memory' = '{memory}'; SET 'pipeline.shards' = '3';
             CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
             CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO b SELECT x FROM a;"
        );
        scratch.write(name, &text)
    };
    broker.run(&["topic", "create", "in"]);
    let has = |pipeline: &serde_json::Value| {
        let number = |field: &str| pipeline[field].as_u64().expect("a number");
        (number("memory_bytes"), number("shards"))
    };
    let first = script("first.sql", "3 MiB");
    broker.run(&["pipeline", "deploy", &first]);
    assert_eq!(has(&broker.json(&["pipeline", "describe", "set"])), (3 << 20, 3));
    // It stands somewhere, which a script that takes over needs.
    broker.run_with_input(&["produce", "in"], "{\"x\":1}\n");
    let deadline = Instant::now() + PATIENCE;
    while broker.json(&["pipeline", "describe", "set"])["epoch"] == 0 {
        assert!(Instant::now() < deadline, "it reads nothing");
    }
    // What is said later holds, also when it is deployed again.
    broker.run(&["pipeline", "resume", "set", "--memory", "4 MiB", "--shards", "2"]);
    broker.run(&["pipeline", "deploy", &first]);
    assert_eq!(has(&broker.json(&["pipeline", "describe", "set"])), (4 << 20, 2));
    // A script that sets something else changes that.
    broker.run(&["pipeline", "upgrade", "set", &script("second.sql", "5 MiB")]);
    assert_eq!(has(&broker.json(&["pipeline", "describe", "set"])), (5 << 20, 2));
    broker.run(&["pipeline", "stop", "set"]);
    broker.run(&["pipeline", "delete", "set"]);
    let flags = ["--name", "given", "--memory", "6 MiB", "--shards", "3"];
    let deployed = broker.try_run(&[&["pipeline", "deploy", &first][..], &flags].concat(), "");
    assert!(deployed.status.success(), "{}", deployed.log);
    for said in ["--name given holds, and not the set that the script sets", "--memory", "'pipeline.memory'"]
    {
        assert!(deployed.log.contains(said), "{said} in {}", deployed.log);
    }
    assert!(!deployed.log.contains("--shards"), "they say the same: {}", deployed.log);
    assert_eq!(has(&broker.json(&["pipeline", "describe", "given"])), (6 << 20, 3));
    let wrong = scratch.write("wrong.sql", "SET 'pipeline.memory' = '1 GiB';\nSET 'colour' = 'red';");
    let refused = broker.try_run(&["pipeline", "deploy", &wrong], "");
    assert_eq!(refused.status.code(), Some(2));
    for part in ["line 2, column 5", "known are: pipeline.name, pipeline.memory", "2 | SET 'colour'"] {
        assert!(refused.log.contains(part), "{part} in {}", refused.log);
    }
    assert!(broker.stop().status.success());
}

#[test]
fn what_is_wrong_with_a_script_is_told_with_its_place_by_every_command() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    let right = scratch.write("p.sql", COPY);
    let wrong = scratch.write("wrong.sql", &COPY.replace("SELECT x", "SELECT y"));
    broker.run(&["topic", "create", "in"]);
    broker.run(&["pipeline", "deploy", &right]);
    for command in [
        &["pipeline", "validate", &wrong][..],
        &["pipeline", "explain", &wrong],
        &["pipeline", "deploy", &wrong],
        &["pipeline", "run", &wrong],
        &["pipeline", "upgrade", "p", &wrong],
        &["pipeline", "explain", "upgrade", "p", &wrong],
        &["worker", "run", &wrong],
    ] {
        let refused = broker.try_run(command, "");
        assert_eq!(refused.status.code(), Some(2), "{command:?}: {}", refused.log);
        for part in
            [&*wrong, "line 3, column 22", "3 | INSERT INTO b SELECT y FROM a;\n  |                      ^"]
        {
            assert!(refused.log.contains(part), "{command:?}: {part:?} in {}", refused.log);
        }
        let told = error(&broker.try_run(&[command, &["--output", "json"]].concat(), ""));
        assert_eq!((&told["line"], &told["column"]), (&3.into(), &22.into()), "{command:?}: {told}");
        assert_eq!(told["file"], wrong, "{told}");
        assert!(told["message"].as_str().is_some_and(|text| text.contains('y')) && told["help"].is_string());
    }
    let refused = broker.try_run(&["sql", "SELECT nonsense"], "");
    assert_eq!(refused.status.code(), Some(2), "{}", refused.log);
    // What is not about what was written is another thing.
    let unknown = broker.try_run(&["pipeline", "describe", "nobody", "--output", "json"], "");
    assert_eq!(unknown.status.code(), Some(1), "{}", unknown.log);
    assert!(
        error(&unknown)["message"].as_str().is_some_and(|text| text.contains("nobody")),
        "{}",
        unknown.out
    );
    let nothing = run(&["pipeline", "validate", "no-such-file"], &[], "");
    assert!(
        nothing.status.code() == Some(2) && nothing.log.contains("cannot read no-such-file"),
        "{}",
        nothing.log
    );
    assert_eq!(nothing.out, "", "people read it where errors are");
    assert!(broker.stop().status.success());
}

#[test]
fn a_script_may_come_from_standard_input() {
    for (command, says) in [("validate", "reads in, writes out"), ("explain", "no operator keeps state")] {
        let done = run(&["pipeline", command, "-"], &[], COPY);
        assert!(done.status.success() && done.out.contains(says), "{}{}", done.out, done.log);
    }
    let wrong = run(&["pipeline", "validate", "-"], &[], "SELEC");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.log.contains("standard input: "), "{}", wrong.log);
    let nameless = run(&["worker", "run", "-"], &[], COPY);
    assert!(nameless.status.code() == Some(2) && nameless.log.contains("--name"), "{}", nameless.log);
}

#[test]
fn a_pipeline_that_does_not_go_on_says_why_and_what_to_do() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    broker.run(&["topic", "create", "in"]);
    broker.run_with_input(&["produce", "in"], "{\"x\":1}\n");
    // One that is finished.
    let script = scratch.write("done.sql", COPY);
    broker.run(&["pipeline", "run", &script, "--bounded"]);
    for command in [&["pipeline", "deploy", &script][..], &["pipeline", "resume", "done"]] {
        let again = broker.try_run(command, "");
        assert!(again.status.success(), "{}", again.log);
        assert!(
            again.log.contains("pipeline done is finished") && !again.log.contains("goes on"),
            "{}",
            again.log
        );
    }
    broker.run(&["pipeline", "delete", "done"]);
    // One that meets what it cannot read.
    broker.run_with_input(&["produce", "in"], "no JSON\n");
    let script = scratch.write("poison.sql", COPY);
    broker.run(&["pipeline", "deploy", &script]);
    let began = Instant::now();
    let listed = loop {
        let listed = broker.json(&["pipeline", "list"])["pipelines"][0].clone();
        if listed["state"] == "failed" {
            break listed;
        }
        assert!(began.elapsed() < PATIENCE, "{listed}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((listed["records_in"].as_i64(), listed["lag"].as_i64()), (Some(1), Some(1)), "{listed}");
    let table = broker.run(&["pipeline", "list"]);
    for part in ["LAG", "WATERMARK", "poison failed: ", "offset 1", "`logmill pipeline upgrade poison FILE`"]
    {
        assert!(table.contains(part), "{part:?} in {table}");
    }
    // Which is what to do.
    let skips = scratch.write("skips.sql", &COPY.replacen("'json')", "'json', 'on-error' = 'skip')", 1));
    broker.run(&["pipeline", "upgrade", "poison", &skips]);
    let began = Instant::now();
    while broker.json(&["pipeline", "describe", "poison"])["lag"] != 0 {
        assert!(began.elapsed() < PATIENCE, "{}", broker.run(&["pipeline", "describe", "poison"]));
        broker.run(&["pipeline", "resume", "poison"]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(broker.stop().status.success());
}

#[test]
fn a_case_says_what_its_tables_shed() {
    const SCRIPT: &str =
        "CREATE TABLE orders (id BIGINT, shop STRING) WITH ('topic' = 'orders', 'format' = 'json')
        SHED WHEN lag > 1 RECORDS USING conflate(shop) TO 'left-out';
        CREATE TABLE kept (id BIGINT, shop STRING) WITH ('topic' = 'kept', 'format' = 'json');
        INSERT INTO kept SELECT id, shop FROM orders;";
    let scratch = Scratch::new();
    let case = scratch.path("case");
    for folder in ["input", "expected"] {
        std::fs::create_dir_all(case.join(folder)).expect("a folder");
    }
    let put = |name: &str, text: &str| std::fs::write(case.join(name), text).expect("a file");
    let (first, second) = ("{\"id\":1,\"shop\":\"a\"}\n", "{\"id\":2,\"shop\":\"a\"}\n");
    put("pipeline.sql", SCRIPT);
    put("input/orders.jsonl", &format!("{first}{second}"));
    put("expected/kept.jsonl", second);
    put("expected/left-out.jsonl", first);
    put("shed.json", "{\"orders\": 10000}");
    let directory = case.display().to_string();
    let passed = run(&["pipeline", "test", &directory], &[], "");
    assert!(passed.status.success(), "{} {}", passed.out, passed.log);
    put("shed.json", "{\"kept\": 10000}");
    let wrong = run(&["pipeline", "test", &directory], &[], "");
    assert!(
        !wrong.status.success() && wrong.out.contains("no table `kept` that declares SHED"),
        "{} {}",
        wrong.out,
        wrong.log
    );
    // Without the file nothing is shed, however much there is.
    std::fs::remove_file(case.join("shed.json")).expect("it was there");
    let whole = run(&["pipeline", "test", &directory], &[], "");
    assert!(whole.out.contains("topic kept has 2 records, 1 are expected"), "{} {}", whole.out, whole.log);
    let script = case.join("pipeline.sql").display().to_string();
    let explained = run(&["pipeline", "explain", &script], &[], "");
    assert!(
        explained.out.contains("shed=conflate(shop) lag>1 records until<1 records to=left-out"),
        "{}",
        explained.out
    );
}
