//! The commands of the binary against a broker: what they do, what they print, how they fail.

use std::time::Instant;

use logmill_client::{Client, Error, ProducerRecord};
use logmill_tests::process::{Broker, PATIENCE, Process, Scratch, run};
use logmill_tests::source;
use serde_json::Value;
use tokio::runtime::Runtime;

fn broker(scratch: &Scratch) -> Broker {
    Process::serve(scratch, "broker", "data")
}

fn names(document: &Value, list: &str, field: &str) -> Vec<String> {
    let rows = document[list].as_array().unwrap_or_else(|| panic!("no list {list} in {document}"));
    rows.iter().map(|row| row[field].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    assert_eq!(broker.run(&["topic", "list"]), "TOPIC  PARTITIONS  REPLICAS\n");
    // What only some need is not there before somebody needs it.
    let internal = names(&broker.json(&["topic", "list", "--internal"]), "topics", "topic");
    assert!(
        !internal.iter().any(|name| name.contains("consumer") || name.contains("transaction")),
        "{internal:?}"
    );

    let created = broker.json(&[
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "cleanup.policy=compact",
    ]);
    assert_eq!(names(&created, "topics", "outcome"), ["created"]);
    broker.run(&["topic", "create", "clicks"]);
    broker.run(&["topic", "create", "clicks", "--if-not-exists"]);
    assert_eq!(names(&broker.json(&["topic", "list"]), "topics", "topic"), ["clicks", "orders"]);
    let orders = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(orders["partitions"].as_array().expect("partitions").len(), 3);
    let policy =
        orders["configs"].as_array().expect("configs").iter().find(|row| row["key"] == "cleanup.policy");
    assert_eq!(policy.expect("a policy")["value"], "compact");
    let table = broker.run(&["topic", "describe", "orders"]);
    assert!(table.contains("PARTITION  LEADER") && table.contains("cleanup.policy"), "{table}");

    let again = broker.try_run(&["topic", "create", "clicks"], "");
    assert_eq!(again.status.code(), Some(1));
    assert!(again.log.contains("exists"), "{}", again.log);
    let wrong = broker.try_run(&["topic", "create", "not a name"], "");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.log.contains("hint: a topic's name has letters"), "{}", wrong.log);

    // Nobody is there to be asked.
    let unasked = broker.try_run(&["topic", "delete", "clicks"], "");
    assert!(!unasked.status.success());
    broker.run(&["topic", "delete", "clicks", "--yes"]);
    assert_eq!(names(&broker.json(&["topic", "list"]), "topics", "topic"), ["orders"]);
    let gone = broker.try_run(&["topic", "describe", "clicks"], "");
    assert_eq!(gone.status.code(), Some(1));
    assert!(gone.log.contains("logmill topic list"), "says what to do: {}", gone.log);
    assert!(broker.stop().status.success());
}

/// The value and the origin of a config in a document's list.
fn config<'a>(document: &'a Value, key: &str) -> (&'a str, &'a str) {
    let rows = document["configs"].as_array().expect("configs");
    let row = rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key} in {document}"));
    (row["value"].as_str().expect("a value"), row["from"].as_str().expect("an origin"))
}

#[test]
fn topics_and_brokers_are_altered_while_they_run() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    broker.run(&["topic", "create", "orders", "--config", "segment.ms=7000"]);
    let change = ["topic", "alter", "orders", "--partitions", "4", "--append", "cleanup.policy=compact"];
    let altered = broker.json(&[&change[..], &["--unset", "segment.ms"]].concat());
    assert_eq!(altered["partitions"], 4);
    assert_eq!(altered["configs"], serde_json::json!({ "cleanup.policy": "delete,compact" }));
    let checked = broker.json(&["topic", "alter", "orders", "--config", "segment.ms=5", "--dry-run"]);
    assert_eq!((&checked["outcome"], checked["configs"].get("segment.ms")), (&"checked".into(), None));
    let wrong = broker.try_run(&["topic", "alter", "orders", "--config", "segment.bytes=13"], "");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.log.contains("Value must be at least 1048576"), "{}", wrong.log);
    let nothing = broker.try_run(&["topic", "alter", "orders"], "");
    assert_eq!(nothing.status.code(), Some(2));
    let nobody = broker.try_run(&["topic", "alter", "nobody", "--config", "segment.ms=5"], "");
    assert!(nobody.log.contains("does not exist"), "{}", nobody.log);

    broker.run(&["broker", "alter", "--config", "log.retention.ms=5000"]);
    let one = broker.json(&["broker", "alter", "--broker", "1", "--config", "log.retention.ms=6000"]);
    assert_eq!(config(&one, "log.retention.ms"), ("6000", "broker"));
    let orders = broker.json(&["topic", "describe", "orders"]);
    assert_eq!(config(&orders, "retention.ms"), ("6000", "broker"));
    broker.run(&["broker", "alter", "--broker", "1", "--unset", "log.retention.ms"]);
    let configs = broker.json(&["broker", "configs"]);
    assert_eq!(config(&configs, "log.retention.ms"), ("5000", "brokers"));
    let all = broker.json(&["broker", "configs", "--all"]);
    assert!(all["configs"].as_array().expect("configs").len() > 340);
    let fixed = broker.try_run(&["broker", "alter", "--config", "num.partitions=3"], "");
    assert!(fixed.log.contains("Cannot update these configs dynamically: [num.partitions]"), "{}", fixed.log);

    let levels = broker.json(&["broker", "loggers", "--config", "logmill_broker=DEBUG"]);
    assert_eq!(config(&levels, "logmill_broker"), ("DEBUG", "logger"));
    assert_eq!(config(&levels, "root"), ("INFO", "logger"));
    let dirs = broker.json(&["broker", "log-dirs"]);
    assert!(dirs["log_dirs"][0]["usable_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert_eq!(names(&dirs["log_dirs"][0], "partitions", "topic"), ["orders"; 4]);

    let level = |document: &Value| {
        let features = document["features"].as_array().expect("features");
        features.iter().find(|row| row["feature"] == "transaction.version").expect("it is there")["level"]
            .clone()
    };
    assert_eq!(level(&broker.json(&["broker", "describe"])), 2);
    let up_only = broker.try_run(&["broker", "feature", "transaction.version", "1"], "");
    assert!(up_only.log.contains("INVALID_UPDATE_VERSION"), "{}", up_only.log);
    let lowered = broker.json(&["broker", "feature", "transaction.version", "1", "--downgrade"]);
    assert_eq!(level(&lowered), 1);
    let stopped = broker.stop();
    assert!(stopped.status.success());
    // What was changed while it ran is seen in what it says.
    assert!(stopped.log.contains("DEBUG"), "{}", stopped.log);
}

#[test]
fn records_come_back_as_they_were_sent() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    broker.run(&["topic", "create", "orders", "--partitions", "2"]);
    broker
        .run_with_input(&["produce", "orders", "--partition", "0", "--key-delimiter", ":"], "a:one\nb:two\n");
    broker.run_with_input(
        &["produce", "orders", "--partition", "1", "--json"],
        "{\"key\":\"c\",\"value\":{\"n\":3},\"headers\":{\"from\":\"me\"},\"timestamp\":1700000000000}\n{\"key\":\"d\",\"value\":null}\n",
    );
    for compression in ["gzip", "snappy", "lz4", "zstd"] {
        let text = format!("packed with {compression}\n");
        broker
            .run_with_input(&["produce", "orders", "--partition", "0", "--compression", compression], &text);
    }
    let zero = broker.run(&["consume", "orders", "--exit", "--partition", "0", "--format", "%o %k=%v\\n"]);
    let expected = "0 a=one\n1 b=two\n2 =packed with gzip\n3 =packed with snappy\n4 =packed with lz4\n5 =packed with zstd\n";
    assert_eq!(zero.replace("NULL", ""), expected);
    let one = broker.run(&["consume", "orders", "--exit", "--partition", "1", "--output", "json"]);
    let rows: Vec<Value> =
        one.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["key"], &rows[0]["value"]), (&Value::from("c"), &Value::from("{\"n\":3}")));
    assert_eq!(rows[0]["timestamp"], 1_700_000_000_000_i64);
    assert_eq!(rows[1]["value"], Value::Null);
    let last = broker.run(&["consume", "orders", "--exit", "--offset", "-1", "--partition", "0"]);
    assert_eq!(last, "packed with zstd\n");
    let counted = broker.run(&["consume", "orders", "--count", "3", "--format", "%v\\n"]);
    assert_eq!(counted.lines().count(), 3);
    let transaction = ["produce", "orders", "--partition", "0", "--transactional-id", "t"];
    broker.run_with_input(&transaction, "together\n");
    assert_eq!(
        broker.run(&["consume", "orders", "--exit", "--offset", "6", "--partition", "0"]),
        "together\n"
    );
    let unknown = broker.try_run(&["consume", "orders", "--exit", "--partition", "7"], "");
    assert_eq!(unknown.status.code(), Some(1), "{}", unknown.log);
    assert!(broker.stop().status.success());
}

#[test]
fn groups_go_on_where_they_were_and_are_shown() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    assert_eq!(names(&broker.json(&["group", "list"]), "groups", "group"), Vec::<String>::new());
    broker.run_with_input(&["produce", "orders"], "one\ntwo\nthree\n");
    let consume = ["consume", "orders", "--group", "billing", "--count", "2"];
    assert_eq!(broker.run(&consume), "one\ntwo\n");
    assert_eq!(names(&broker.json(&["group", "list"]), "groups", "group"), ["billing"]);
    let group = broker.json(&["group", "describe", "billing"]);
    assert_eq!(group["partitions"][0]["committed"], 2, "{group}");
    assert_eq!(group["partitions"][0]["lag"], 1, "{group}");
    let table = broker.run(&["group", "describe", "billing"]);
    assert!(table.contains("COMMITTED") && table.contains("orders"), "{table}");
    assert_eq!(broker.run(&["consume", "orders", "--group", "billing", "--exit"]), "three\n");
    let none = broker.try_run(&["group", "describe", "nobody"], "");
    assert_eq!(none.status.code(), Some(1));
    assert!(none.log.contains("no group nobody"), "{}", none.log);
    let internal = names(&broker.json(&["topic", "list", "--internal"]), "topics", "topic");
    assert!(internal.contains(&"__consumer_offsets".to_owned()), "{internal:?}");
    assert!(!internal.contains(&"__transaction_state".to_owned()), "{internal:?}");
    assert!(broker.stop().status.success());
}

const SCRIPT: &str = "\
CREATE TABLE clicks (
  page STRING, at TIMESTAMP(3),
  WATERMARK FOR at AS at - INTERVAL '1' SECOND
) WITH ('topic' = 'clicks', 'format' = 'json');
CREATE TABLE pages (window_start TIMESTAMP(3), page STRING, clicks BIGINT)
WITH ('topic' = 'pages', 'format' = 'json');
INSERT INTO pages
SELECT window_start, page, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, page;
";

#[test]
fn a_broker_shows_what_it_counts() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    broker.run(&["topic", "create", "orders"]);
    broker.run_with_input(&["produce", "orders"], "one\ntwo\n");
    let shown = broker.json(&["broker", "metrics", "produce_records"]);
    assert_eq!(names(&shown, "metrics", "metric"), ["logmill_produce_records_total"]);
    let samples = shown["metrics"][0]["samples"].as_array().expect("samples");
    let orders = samples.iter().find(|sample| sample["labels"]["topic"] == "orders").expect("the topic");
    assert_eq!(orders["value"], 2.0);
    let table = broker.run(&["broker", "metrics"]);
    for part in ["METRIC", "logmill_journal_write_duration_seconds", "p99 <=", "api=Produce"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let nothing = broker.try_run(&["broker", "metrics", "nothing"], "");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(nothing.log.contains("logmill broker metrics"), "says what to do: {}", nothing.log);
    assert!(broker.stop().status.success());
}

#[test]
fn pipelines_run_and_are_shown_stopped_and_finished() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let script = scratch.write("pages.sql", SCRIPT);
    assert_eq!(names(&broker.json(&["pipeline", "list"]), "pipelines", "pipeline"), Vec::<String>::new());
    let missing = broker.try_run(&["pipeline", "deploy", &script], "");
    assert_eq!(missing.status.code(), Some(1), "no topic clicks yet: {}", missing.log);
    assert!(missing.log.contains("clicks"), "names it: {}", missing.log);
    broker.run(&["topic", "create", "clicks"]);
    let row = broker.json(&["pipeline", "deploy", &script, "--shards", "2"]);
    assert_eq!((row["pipeline"].as_str(), row["shards"].as_u64()), (Some("pages"), Some(2)));
    assert!(["starting", "running"].contains(&row["state"].as_str().expect("a state")), "{row}");
    let again = broker.json(&["pipeline", "deploy", &script]);
    assert_eq!(again["generation"], 1, "it runs already: {again}");
    broker.run_with_input(
        &["produce", "clicks"],
        "{\"page\":\"/\",\"at\":\"2026-01-01T00:00:10Z\"}\n{\"page\":\"/\",\"at\":\"2026-01-01T00:00:20Z\"}\n{\"page\":\"/x\",\"at\":\"2026-01-01T00:00:30Z\"}\n",
    );
    // The work is split anew when this is answered; there are no more shards than groups of keys.
    let rescaled = broker.json(&["pipeline", "rescale", "pages", "--shards", "3"]);
    assert_eq!((rescaled["shards"].as_u64(), rescaled["running_shards"].as_u64()), (Some(3), Some(3)));
    let shown = broker.run(&["pipeline", "describe", "pages"]);
    assert!(shown.contains("shards: 3"), "{shown}");
    let many = broker.try_run(&["pipeline", "rescale", "pages", "--shards", "257"], "");
    assert_eq!(many.status.code(), Some(2), "{}", many.log);
    assert_eq!(broker.json(&["pipeline", "stop", "pages"])["state"], "stopped");
    let stopped = broker.try_run(&["pipeline", "rescale", "pages", "--shards", "2"], "");
    assert_eq!(stopped.status.code(), Some(1), "{}", stopped.log);
    assert!(stopped.log.contains("logmill pipeline resume pages --shards 2"), "{}", stopped.log);
    assert_eq!(names(&broker.json(&["pipeline", "list"]), "pipelines", "state"), ["stopped"]);
    let kept = broker.try_run(&["pipeline", "resume", "pages", "--memory", "lots"], "");
    assert_eq!(kept.status.code(), Some(2), "{}", kept.log);
    let resumed = broker.json(&["pipeline", "resume", "pages", "--memory", "2 GiB", "--shards", "1"]);
    assert_eq!(resumed["shards"], 1, "{resumed}");
    broker.json(&["pipeline", "stop", "pages"]);
    // The same script goes on; to its end when it is told that there is one, which is followed.
    let finished = broker.json(&["pipeline", "run", &script, "--bounded"]);
    assert_eq!(finished["state"], "finished", "{finished}");
    assert_eq!(finished["records_in"], 3);
    let described = broker.json(&["pipeline", "describe", "pages"]);
    assert_eq!(described["sources"][0]["lag"], 0, "{described}");
    assert_eq!(described["memory_bytes"], 2_u64 << 30, "{described}");
    assert!(described["epochs"]["p99_ms"].is_f64() && described["operators"].is_array(), "{described}");
    let shown = broker.run(&["pipeline", "describe", "pages"]);
    for part in ["EVENT-LAG-MS", "epochs: ", "WindowAggregate", "state: 0 bytes of 2147483648"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let events = broker.json(&["pipeline", "logs", "pages"]);
    let kinds = names(&events, "events", "kind");
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started".to_owned()), Some(&"finished".to_owned())));
    let told = broker.run(&["pipeline", "logs", "pages"]);
    assert_eq!(told.lines().count(), kinds.len(), "{told}");
    assert!(described["plan"].as_str().expect("a plan").contains("WindowAggregate TUMBLE"), "{described}");
    let table = broker.run(&["pipeline", "list"]);
    assert!(table.contains("PIPELINE") && table.contains("finished"), "{table}");
    let mut rows: Vec<String> =
        broker.run(&["consume", "pages", "--exit"]).lines().map(str::to_owned).collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "{\"window_start\":\"2026-01-01T00:00:00Z\",\"page\":\"/\",\"clicks\":2}",
            "{\"window_start\":\"2026-01-01T00:00:00Z\",\"page\":\"/x\",\"clicks\":1}",
        ]
    );
    let wrong = scratch.write("wrong.sql", "INSERT INTO nowhere SELECT 1;\n");
    let refused = broker.try_run(&["pipeline", "run", &wrong], "");
    assert_eq!(refused.status.code(), Some(2));
    // Savepoints are kept until somebody says that they go.
    broker.run(&["pipeline", "savepoint", "pages", "--name", "end"]);
    let kept = broker.try_run(&["pipeline", "delete", "pages"], "");
    assert_eq!(kept.status.code(), Some(1), "{}", kept.log);
    assert!(kept.log.contains("end") && kept.log.contains("--with-savepoints"), "{}", kept.log);
    broker.run(&["pipeline", "delete", "pages", "--with-savepoints"]);
    let gone = broker.try_run(&["pipeline", "describe", "pages"], "");
    assert_eq!(gone.status.code(), Some(1), "{}", gone.log);
    assert!(refused.log.contains("line 1, column 13"), "line and column: {}", refused.log);
    let unknown = broker.try_run(&["pipeline", "describe", "nothing"], "");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.log.contains("nothing"), "{}", unknown.log);
    assert!(broker.stop().status.success());
}

#[test]
fn a_pipeline_is_followed_until_ctrl_c_and_goes_on() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    let script = scratch.write("pages.sql", SCRIPT);
    broker.run(&["topic", "create", "clicks"]);
    let run = ["pipeline", "run", &script, "--bootstrap", &broker.address];
    let mut follower = Process::start(&scratch, "follower", &run, &[]);
    follower.wait_for_line("0 records in");
    follower.interrupt();
    let ended = follower.wait(PATIENCE);
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("logmill pipeline stop pages"), "{}", ended.log);
    assert_eq!(names(&broker.json(&["pipeline", "list"]), "pipelines", "state"), ["running"]);
    // Who follows what happens sees what comes, and ends with Ctrl-C, too.
    let logs = ["pipeline", "logs", "pages", "--follow", "--bootstrap", &broker.address];
    let reader = Process::start(&scratch, "reader", &logs, &[]);
    broker.run(&["pipeline", "stop", "pages"]);
    let began = Instant::now();
    while !reader.out().contains("stopped") {
        assert!(began.elapsed() < PATIENCE, "{}", reader.out());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    reader.interrupt();
    let ended = reader.wait(PATIENCE);
    assert!(ended.status.success() && ended.out.contains("started"), "{}{}", ended.out, ended.log);
    assert!(broker.stop().status.success());
}

#[test]
fn a_script_is_checked_explained_and_tried_without_a_broker() {
    const SCRIPT: &str =
        "CREATE TABLE orders (id BIGINT, shop STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
        WITH ('topic' = 'orders', 'format' = 'json');
        CREATE TABLE totals (shop STRING, n BIGINT, PRIMARY KEY (shop) NOT ENFORCED)
        WITH ('topic' = 'totals', 'format' = 'json', 'output' = 'upsert');
        INSERT INTO totals SELECT shop, COUNT(*) FROM orders GROUP BY shop STATE TTL INTERVAL '1' DAY;";
    let scratch = Scratch::new();
    let case = scratch.path("case");
    for folder in ["input", "expected"] {
        std::fs::create_dir_all(case.join(folder)).expect("a folder");
    }
    let put = |name: &str, text: &str| std::fs::write(case.join(name), text).expect("a file");
    put("pipeline.sql", SCRIPT);
    put(
        "input/orders.jsonl",
        "{\"id\": 1, \"shop\": \"a\", \"ts\": 1000}\n{\"id\": 2, \"shop\": \"b\", \"ts\": 2000}\n",
    );
    put("expected/totals.jsonl", "{\"shop\": \"a\", \"n\": 1}\n{\"shop\": \"b\", \"n\": 1}\n");
    let script = case.join("pipeline.sql").display().to_string();
    let directory = case.display().to_string();

    let checked = run(&["pipeline", "validate", &script], &[], "");
    assert!(
        checked.status.success() && checked.out.contains("reads orders, writes totals"),
        "{}",
        checked.out
    );
    let explained = run(&["pipeline", "explain", &script], &[], "");
    assert!(explained.out.contains("GroupAggregate keys=[shop]"), "{}", explained.out);
    assert!(explained.out.contains("it was not touched for 1 d"), "{}", explained.out);
    assert!(explained.out.contains("#1 GroupAggregate keys=[shop]"), "{}", explained.out);
    let identity =
        |text: &str| text.split(|letter: char| !letter.is_ascii_hexdigit()).any(|word| word.len() == 8);
    assert!(!identity(&explained.out), "{}", explained.out);
    assert!(identity(&run(&["pipeline", "explain", &script, "-v"], &[], "").out));
    let data = run(&["pipeline", "explain", &script, "--output", "json"], &[], "");
    let data: serde_json::Value = serde_json::from_str(&data.out).expect("a document");
    let operators = data["operators"].as_array().expect("operators");
    let of = |operator: &serde_json::Value| (operator["operator"].clone(), operator["inputs"].clone());
    assert_eq!(of(&operators[0]), ("Source".into(), serde_json::json!([])), "{data:#}");
    let group = &operators[1];
    assert_eq!(of(group), ("GroupAggregate".into(), serde_json::json!([0])), "{data:#}");
    assert_eq!((&group["id"], &group["keys"]), (&1.into(), &serde_json::json!([["shop"]])));
    assert_eq!((&group["state"]["bound"], &group["state"]["ttl_ms"]), (&"ttl".into(), &86_400_000.into()));
    assert!(group["state"]["entry_bytes"].as_u64() > Some(0), "{group:#}");
    assert_eq!(
        (&data["sources"][0]["topic"], &data["sinks"][0]["key"]),
        (&"orders".into(), &serde_json::json!(["shop"]))
    );
    let passed = run(&["pipeline", "test", &directory], &[], "");
    assert!(passed.status.success() && passed.out.starts_with("ok "), "{} {}", passed.out, passed.log);

    put("expected/totals.jsonl", "{\"shop\": \"a\", \"n\": 1}\n{\"shop\": \"b\", \"n\": 7}\n");
    let failed = run(&["pipeline", "test", &directory], &[], "");
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.out.contains("expected, and not given: {\"shop\":"), "{}", failed.out);
    let updated = run(&["pipeline", "test", "--update", &directory], &[], "");
    assert!(updated.status.success(), "{}", updated.log);
    let expected = std::fs::read_to_string(case.join("expected/totals.jsonl")).expect("a file");
    assert_eq!(expected, "{\"shop\":\"a\",\"n\":1}\n{\"shop\":\"b\",\"n\":1}\n");

    put("pipeline.sql", &SCRIPT.replace("COUNT(*)", "COUNTS(*)"));
    let wrong = run(&["pipeline", "validate", &script], &[], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.log.contains("COUNTS") && wrong.log.contains('^'), "{}", wrong.log);
    put("pipeline.sql", &SCRIPT.replace(" STATE TTL INTERVAL '1' DAY", ""));
    let endless = run(&["pipeline", "validate", &script], &[], "");
    assert!(endless.log.contains("never complete") && endless.log.contains("UNBOUNDED"), "{}", endless.log);
}

#[test]
fn transactions_are_listed_described_and_aborted() {
    let scratch = Scratch::new();
    let broker = broker(&scratch);
    broker.run(&["topic", "create", "orders"]);
    let runtime = Runtime::new().expect("threads");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        let mut done = client.transactional("done").build().await.expect("a producer");
        let mut transaction = done.begin().await.expect("a transaction");
        transaction.send(ProducerRecord::to("orders").value("committed")).await.expect("it is written");
        transaction.commit().await.expect("it commits");
        let mut writer = client.transactional("writer").build().await.expect("a producer");
        let mut transaction = writer.begin().await.expect("a transaction");
        transaction.send(ProducerRecord::to("orders").value("open")).await.expect("it is written");
        broker.run_with_input(&["produce", "orders"], "behind it\n");
        assert_eq!(broker.run(&["consume", "orders", "--exit"]), "committed\n");

        let listed = broker.json(&["txn", "list"]);
        assert_eq!(names(&listed, "transactions", "id"), ["done", "writer"]);
        assert_eq!(names(&listed, "transactions", "state"), ["CompleteCommit", "Ongoing"]);
        let open = broker.json(&["txn", "list", "--state", "Ongoing"]);
        assert_eq!(names(&open, "transactions", "id"), ["writer"]);
        let old = broker.json(&["txn", "list", "--longer-than", "1h"]);
        assert_eq!(old["transactions"].as_array().map(Vec::len), Some(0));
        let nonsense = broker.try_run(&["txn", "list", "--state", "Nonsense"], "");
        assert!(nonsense.log.contains("Nonsense is no state"), "{}", nonsense.log);
        let described = broker.json(&["txn", "describe", "writer"]);
        assert_eq!((&described["state"], &described["timeout_ms"]), (&"Ongoing".into(), &60_000.into()));
        let written = &described["partitions"][0];
        assert_eq!((&written["topic"], &written["start"]), (&"orders".into(), &2.into()), "{described}");
        let table = broker.run(&["txn", "describe", "writer"]);
        assert!(table.contains("id writer  state Ongoing") && table.contains("START"), "{table}");

        assert_eq!(broker.try_run(&["txn", "abort", "writer"], "").status.code(), Some(2), "it asks first");
        broker.run(&["txn", "abort", "writer", "--yes"]);
        assert_eq!(broker.run(&["consume", "orders", "--exit"]), "committed\nbehind it\n");
        let ended = transaction.commit().await;
        assert!(matches!(ended, Err(Error::Fenced { .. })), "{ended:?}");
        let again = broker.try_run(&["txn", "abort", "writer", "--yes"], "");
        assert_eq!(again.status.code(), Some(1));
        assert!(again.log.contains("no open transaction"), "{}", again.log);
        let nobody = broker.try_run(&["txn", "abort", "nobody", "--yes"], "");
        assert!(nobody.log.contains("nobody"), "{}", nobody.log);

        // In one partition alone.
        let mut transaction = done.begin().await.expect("a transaction");
        transaction.send(ProducerRecord::to("orders").value("hangs")).await.expect("it is written");
        broker.run_with_input(&["produce", "orders"], "last\n");
        let producers = broker.json(&["txn", "producers", "orders"]);
        let starts = producers["producers"].as_array().expect("producers").iter();
        let starts: Vec<i64> = starts.filter_map(|row| row["transaction_start"].as_i64()).collect();
        assert_eq!(starts.len(), 1, "{producers}");
        let at = |offset: i64| {
            let offset = offset.to_string();
            broker.try_run(&["txn", "abort", "--topic", "orders", "--start-offset", &offset, "--yes"], "")
        };
        let elsewhere = at(0);
        assert_eq!(elsewhere.status.code(), Some(1));
        assert!(elsewhere.log.contains("no open transaction begins at offset 0"), "{}", elsewhere.log);
        assert!(at(starts[0]).status.success());
        assert_eq!(broker.run(&["consume", "orders", "--exit"]), "committed\nbehind it\nlast\n");
    });
    for wrong in [&["txn", "abort"][..], &["txn", "abort", "--topic", "orders"]] {
        assert_eq!(run(wrong, &[], "").status.code(), Some(2), "{wrong:?}");
    }
    assert!(broker.stop().status.success());
}

#[test]
fn clients_are_told_the_advertised_address() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    let told = |broker: &Broker| {
        runtime.block_on(async {
            let client = Client::connect(&broker.address).await.expect("a connection");
            let cluster = client.admin().describe_cluster().await.expect("an answer");
            assert_eq!(cluster.brokers.len(), 1);
            format!("{}:{}", cluster.brokers[0].host, cluster.brokers[0].port)
        })
    };
    let plain = Process::serve(&scratch, "plain", "data-1");
    assert_eq!(told(&plain), plain.address, "the real port, where port 0 was asked for");
    // It must be one this machine can reach, for the client follows it.
    let advertised = plain.address.replace("127.0.0.1", "localhost");
    let flag = format!("advertised={advertised}");
    let behind = Process::serve_with(&scratch, "behind", "data-2", &["--set", &flag], &[]);
    assert_eq!(told(&behind), advertised);
}

#[test]
fn failures_say_what_where_and_what_to_do() {
    let nobody = run(&["topic", "list", "--bootstrap", "127.0.0.1:1", "--timeout", "2s"], &[], "");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(nobody.log.contains("cannot connect to 127.0.0.1:1"), "{}", nobody.log);
    assert!(nobody.log.contains("hint: is a broker running"), "{}", nobody.log);
    assert_eq!(nobody.out, "", "nothing but results on standard output");
    let unreadable = run(&["serve", "--data-dir", "/proc/nothing", "--listen", "127.0.0.1:0"], &[], "");
    assert_eq!(unreadable.status.code(), Some(1));
    assert!(unreadable.log.contains("/proc/nothing"), "{}", unreadable.log);
    let cause = "No such file or directory";
    assert_eq!(unreadable.log.matches(cause).count(), 1, "the cause is told once: {}", unreadable.log);
    for misunderstood in
        [&["topics"][..], &["topic", "create"], &["consume", "x", "--offset", "begin"], &["--nonsense"]]
    {
        let ended = run(misunderstood, &[], "");
        assert_eq!(ended.status.code(), Some(2), "{misunderstood:?}: {}", ended.log);
        assert_eq!(ended.out, "", "{misunderstood:?}");
    }
}

/// Commands in the documentation are ones the binary understands.
#[test]
fn documented_commands_are_understood() {
    let mut tried = 0;
    for file in source::files(".md") {
        for line in commands(&file.text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            tried += 1;
            // With --help behind it a command is parsed and not run.
            let ended = run(&[&words[..], &["--help"]].concat(), &[], "");
            assert!(ended.status.success(), "{}: `logmill {line}`: {}", file.path, ended.log);
        }
    }
    assert!(tried >= 5, "only {tried} commands were found");
    assert_eq!(run(&["consume", "x", "--from", "beginning", "--help"], &[], "").status.code(), Some(2));
}

/// The arguments of each `logmill …` in fenced blocks, up to what the shell does with it.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in text.split("```").skip(1).step_by(2).filter(|block| block.starts_with("sh\n")) {
        for line in block.lines() {
            let Some((before, rest)) = line.split_once("logmill ") else { continue };
            if before.is_empty() || before.ends_with("| ") {
                let end = rest.find(['|', '#', '>', '<', '\'', '"']).unwrap_or(rest.len());
                found.push(rest[..end].trim().to_owned());
            }
        }
    }
    found
}

/// From the start of the process to the open port. The bound is wide, for busy machines and builds for debugging.
#[test]
fn the_port_opens_soon() {
    let scratch = Scratch::new();
    let quickest = (0..3)
        .map(|run| {
            let broker = Process::serve(&scratch, &format!("broker-{run}"), "data");
            let up_after = broker.up_after;
            broker.process.kill();
            up_after
        })
        .min()
        .expect("three runs");
    assert!(quickest < PATIENCE / 60, "{quickest:?}");
}
