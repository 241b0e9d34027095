//! Where the broker's settings come from: flag over environment over file over default, and no mistake goes unnoticed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use logmill_client::{Client, NewTopic, ProducerRecord};
use logmill_tests::process::{Broker, PATIENCE, Process, Scratch, run};
use logmill_wire::frame::{decode_response, encode_request};
use logmill_wire::messages::describe_producers::TopicRequest;
use logmill_wire::messages::{DescribeProducersRequest, DescribeProducersResponse};
use serde_json::Value;

/// Value and origin of a setting, as `config show` tells them.
fn shown(arguments: &[&str], environment: &[(&str, &str)], key: &str) -> (String, String) {
    let ended = run(&[&["config", "show", "--output", "json"], arguments].concat(), environment, "");
    assert!(ended.status.success(), "{}", ended.log);
    let document: Value = serde_json::from_str(&ended.out).expect("JSON");
    let settings = document["settings"].as_array().expect("settings");
    let setting = settings.iter().find(|setting| setting["key"] == key).expect("the key");
    let text = |field: &str| setting[field].as_str().expect("text").to_owned();
    (text("value"), text("origin"))
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let scratch = Scratch::new();
    let file = scratch.write("logmill.toml", "# mine\n[limits]\nmax_connections = 30\n");
    let key = "limits.max_connections";
    let (value, origin) = shown(&[], &[], key);
    assert_eq!((value.as_str(), origin.as_str()), ("10000", "default"));
    let with_file = ["--config", &file];
    let (value, origin) = shown(&with_file, &[], key);
    assert_eq!((value.as_str(), origin), ("30", format!("{file}:3")));
    let environment = [("LOGMILL_LIMITS__MAX_CONNECTIONS", "40")];
    let (value, origin) = shown(&with_file, &environment, key);
    assert_eq!(value, "40");
    assert!(origin.contains("LOGMILL_LIMITS__MAX_CONNECTIONS"), "{origin}");
    let with_flag = ["--config", &file, "--set", "limits.max_connections=50"];
    let (value, origin) = shown(&with_flag, &environment, key);
    assert_eq!((value.as_str(), origin.as_str()), ("50", "flag --set"));
    // The file can be named by the environment, too.
    assert_eq!(shown(&[], &[("LOGMILL_CONFIG", &file)], key).0, "30");
}

#[test]
fn a_setting_that_does_not_exist_is_an_error_with_the_right_one() {
    /// Flags and environment, the place that must be named, the text that helps.
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a str);
    let scratch = Scratch::new();
    let file = scratch.write("logmill.toml", "[limits]\nmax_request = \"8 MiB\"\nmax_conections = 5\n");
    let data = scratch.path("data").display().to_string();
    let serve = ["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let cases: [Case<'_>; 4] = [
        (&["--config", &file], &[], "logmill.toml:3", "`limits.max_connections`"),
        (&["--set", "limit.max_request=8MiB"], &[], "flag --set", "`limits.max_request`"),
        (
            &[],
            &[("LOGMILL_TOPICS__PARTITION", "3")],
            "LOGMILL_TOPICS__PARTITION",
            "`LOGMILL_TOPICS__PARTITIONS`",
        ),
        (&["--set", "limits.max_request=much"], &[], "flag --set", "limits.max_request"),
    ];
    for (flags, environment, place, suggestion) in cases {
        let arguments = [&serve[..], flags].concat();
        let ended = Process::start(&scratch, "refused", &arguments, environment).wait(PATIENCE);
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {}", ended.log);
        assert!(ended.log.contains(place), "says where: {}", ended.log);
        assert!(ended.log.contains(suggestion), "says what to write: {}", ended.log);
        assert!(!scratch.path("data").exists(), "nothing was begun");
    }
}

#[test]
fn the_printed_default_file_is_a_valid_one_and_changes_nothing() {
    let scratch = Scratch::new();
    let printed = run(&["config", "default"], &[], "");
    assert!(printed.status.success());
    let file = scratch.write("logmill.toml", &printed.out);
    let values = |arguments: &[&str]| {
        let ended = run(&[&["config", "show", "--output", "json"], arguments].concat(), &[], "");
        assert!(ended.status.success(), "{}", ended.log);
        let document: Value = serde_json::from_str(&ended.out).expect("JSON");
        let settings = document["settings"].as_array().expect("settings").clone();
        settings
            .into_iter()
            .map(|setting| (setting["key"].clone(), setting["value"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&["--config", &file]), values(&[]));
}

#[test]
fn settings_have_their_effect() {
    let scratch = Scratch::new();
    let file = scratch.write("logmill.toml", "[topics]\npartitions = 5\n");
    let flags = ["--config", &file, "--set", "topics.auto_create=false"];
    let environment = [("LOGMILL_TELEMETRY__FORMAT", "text"), ("LOGMILL_TOPICS__MAX_MESSAGE", "2000 B")];
    let broker = Process::serve_with(&scratch, "broker", "data", &flags, &environment);
    broker.run(&["topic", "create", "orders"]);
    let described = broker.run(&["topic", "describe", "orders", "--output", "json"]);
    let described: Value = serde_json::from_str(&described).expect("JSON");
    assert_eq!(described["partitions"].as_array().expect("partitions").len(), 5);
    let unknown = broker.try_run(&["produce", "clicks", "--timeout", "2s"], "one\n");
    assert!(!unknown.status.success(), "topics are not created by asking for them");
    let large = "x".repeat(3000);
    let refused = broker.try_run(&["produce", "orders"], &large);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.log.contains("max.message.bytes"), "{}", refused.log);
    assert!(broker.stop().status.success());
}

#[test]
fn a_record_that_failed_early_is_an_error_at_the_end() {
    let scratch = Scratch::new();
    let flags = ["--set", "topics.max_message=2000 B"];
    let broker = Process::serve_with(&scratch, "broker", "data", &flags, &[]);
    tokio::runtime::Runtime::new().expect("threads").block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("orders").partitions(1)).await.expect("a topic");
        let producer = client.producer().build().await.expect("a producer");
        let record = |bytes| ProducerRecord::to("orders").value("x".repeat(bytes));
        // The answer is there before anybody flushes, as on a busy machine.
        let refused = producer.enqueue(record(3000)).await.expect("room").await;
        assert!(refused.is_err());
        producer.enqueue(record(3)).await.expect("room").await.expect("it is written");
        let error = producer.flush().await.expect_err("the first record failed");
        assert!(error.to_string().contains("max.message.bytes"), "{error}");
        producer.flush().await.expect("it has been told");
        drop(producer.enqueue(record(3000)).await.expect("room").await);
        producer.close().await.expect_err("another one failed");
    });
    assert!(broker.stop().status.success());
}

/// How many producers a broker knows of the first partition of a topic.
fn producers(broker: &Broker, topic: &str) -> usize {
    let asked = TopicRequest { name: topic.into(), partition_indexes: vec![0] };
    let request = DescribeProducersRequest { topics: vec![asked] };
    let request = encode_request(1, None, &request, 0).expect("a request").into_bytes();
    let mut stream = TcpStream::connect(&broker.address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&request).expect("it is read");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it is answered");
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("the whole answer");
    let (_, answer): (_, DescribeProducersResponse) = decode_response(answer.into(), 0).expect("an answer");
    answer.topics[0].partitions[0].active_producers.len()
}

#[test]
fn idle_producers_are_forgotten_after_their_time() {
    let scratch = Scratch::new();
    let flags = ["--set", "transactions.producer_expiry=3s", "--set", "cleaning.interval=100ms"];
    let broker = Process::serve_with(&scratch, "broker", "data", &flags, &[]);
    broker.run(&["topic", "create", "orders"]);
    // Written now, whenever it happened.
    let old = "{\"value\":\"of 2013\",\"timestamp\":1356998400000}\n";
    let written = Instant::now();
    broker.run_with_input(&["produce", "orders", "--json"], old);
    let deadline = written + PATIENCE;
    loop {
        let known = producers(&broker, "orders");
        if known == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "an idle producer is still known");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(written.elapsed() >= Duration::from_secs(3), "forgotten after {:?}", written.elapsed());
    assert!(broker.stop().status.success());
}
