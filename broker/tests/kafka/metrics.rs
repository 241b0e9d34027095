//! The metrics as Prometheus reads them: well formed, and moved by exactly what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use logmill_config::HostPort;
use logmill_wire::ErrorCode;
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::{HeartbeatRequest, OffsetCommitRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Broker, Client, PATIENCE, batch, values};
use crate::transactions::Producer;

pub(crate) async fn start() -> Broker {
    Broker::start_with(|config| {
        config.telemetry.metrics = Some(HostPort { host: "127.0.0.1".to_owned(), port: 0 });
    })
    .await
}

async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it ends").unwrap();
    answer
}

/// Every value by name and labels, after a look at the form of it all.
pub(crate) async fn scrape(broker: &Broker) -> BTreeMap<String, f64> {
    let answer = ask(broker.metrics(), b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
    parse(text)
}

fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut values = BTreeMap::new();
    let mut buckets: (String, f64) = (String::new(), 0.0);
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and its meaning");
            assert!(help.ends_with('.') && helped.insert(name), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and its kind");
            assert!(name.starts_with("logmill_") && helped.contains(name), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "once: {line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value behind its name");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let name = series.split('{').next().unwrap();
        let labels = &series[name.len()..];
        assert!(labels.is_empty() || (labels.ends_with("\"}") && labels.contains("=\"")), "{line}");
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = base.filter(|base| kinds.get(base) == Some(&"histogram")).unwrap_or(name);
        assert!(kinds.contains_key(family), "without its kind: {line}");
        if name.ends_with("_bucket") {
            let of = series.split("le=").next().unwrap().to_owned();
            assert!(buckets.0 != of || buckets.1 <= value, "buckets hold those before them: {line}");
            buckets = (of, value);
        }
        assert!(values.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    values
}

/// By how much a value has moved; a counter that was not there was at nothing.
pub(crate) struct Moved {
    before: BTreeMap<String, f64>,
    pub(crate) after: BTreeMap<String, f64>,
}

impl Moved {
    pub(crate) fn by(&self, series: &str) -> f64 {
        let after = self.after.get(series).unwrap_or_else(|| panic!("no {series}"));
        after - self.before.get(series).copied().unwrap_or(0.0)
    }
}

/// What has moved once so many frames are counted with their write: whoever waits for it is answered a moment before.
pub(crate) async fn settled(broker: &Broker, before: BTreeMap<String, f64>, frames: f64) -> Moved {
    let wait = async {
        loop {
            let moved = Moved { before: before.clone(), after: scrape(broker).await };
            if moved.by("logmill_journal_group_frames_sum") >= frames {
                return moved;
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("every frame is counted")
}

async fn commit(client: &mut Client, group: &str, offset: i64) {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() };
    assert_eq!(client.ask(&request, 8).await.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_move_by_what_was_done() {
    let broker = start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    // What is made when it is first used is there before the counting begins.
    commit(&mut client, "g", 0).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let nothing = BTreeMap::new();
    let counted = scrape(&broker).await["logmill_journal_frames_total"];
    let before = settled(&broker, nothing, counted).await.after;

    let batches = [batch(&["a", "b", "c"]), batch(&["d"])];
    for batch in &batches {
        assert_eq!(client.produce("t", batch).await.error_code, ErrorCode::NONE);
    }
    let fetched = client.fetch("t", 0, 0).await;
    assert_eq!(values(&fetched).len(), 4);
    commit(&mut client, "g", 1).await;
    let unknown = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
    assert_eq!(client.ask(&unknown, 3).await.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
    producer.send(&mut client, "t", "e").await;
    let moved = settled(&broker, before, 4.0).await;

    let produced: usize = batches.iter().map(|batch| batch.size()).sum();
    for (series, by) in [
        ("logmill_requests_total{api=\"Produce\"}", 3.0),
        ("logmill_request_duration_seconds_count{api=\"Produce\"}", 3.0),
        ("logmill_request_duration_seconds_bucket{api=\"Produce\",le=\"+Inf\"}", 3.0),
        ("logmill_requests_total{api=\"Fetch\"}", 1.0),
        ("logmill_requests_total{api=\"OffsetCommit\"}", 1.0),
        ("logmill_request_errors_total{api=\"Heartbeat\",error=\"UNKNOWN_MEMBER_ID\"}", 1.0),
        ("logmill_produce_records_total{topic=\"t\"}", 5.0),
        ("logmill_fetch_records_total{topic=\"t\"}", 4.0),
        ("logmill_fetch_bytes_total{topic=\"t\"}", produced as f64),
        // Two produces, a commit, and the transaction's first batch with its state.
        ("logmill_frames_total", 4.0),
        ("logmill_journal_frames_total", 4.0),
        ("logmill_journal_group_frames_sum", 4.0),
        ("logmill_open_transactions", 1.0),
        ("logmill_last_stable_offset_lag_records{topic=\"t\"}", 1.0),
        ("logmill_connections", 0.0),
        ("logmill_produce_throttled_total", 0.0),
        ("logmill_frames_rejected_total", 0.0),
    ] {
        assert_eq!(moved.by(series), by, "{series}");
    }
    assert!(moved.by("logmill_produce_bytes_total{topic=\"t\"}") > produced as f64);
    let writes = moved.by("logmill_journal_writes_total");
    assert_eq!(moved.by("logmill_journal_write_duration_seconds_count"), writes);
    assert!(moved.by("logmill_journal_write_duration_seconds_sum") > 0.0);
    assert!(moved.by("logmill_journal_bytes_total") >= 4.0 * 4096.0, "each write has whole blocks");
    for (series, value) in [
        ("logmill_group_lag_records{group=\"g\",topic=\"t\"}", 4.0),
        ("logmill_groups{protocol=\"classic\",state=\"Empty\"}", 1.0),
        ("logmill_group_members{group=\"g\"}", 0.0),
        ("logmill_connections", 1.0),
        ("logmill_connections_accepted_total", 1.0),
        ("logmill_connections_limit", 10_000.0),
        ("logmill_disk_full", 0.0),
    ] {
        assert_eq!(moved.after.get(series), Some(&value), "{series}");
    }
    assert!(moved.after["logmill_disk_free_bytes"] > 0.0);
    assert!(!moved.after.keys().any(|series| series.starts_with("logmill_metrics_left_out")));

    // A request that is none costs its sender the connection, and is counted.
    client.stream.write_all(&[0, 0, 0, 4, 0x7f, 0xff, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, client.stream.read_to_end(&mut rest)).await.expect("closed").unwrap();
    let after = scrape(&broker).await;
    let refused: f64 =
        after.iter().filter(|(s, _)| s.starts_with("logmill_requests_refused_total")).map(|(_, v)| v).sum();
    assert_eq!(refused, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_told_in_seconds_by_the_oldest_record_that_is_not_committed() {
    const AGE: &str = "logmill_group_lag_seconds{group=\"g\",topic=\"t\"}";
    let broker = start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    // Written at 1.7e12 ms and the milliseconds after that.
    for values in [&["a", "b"][..], &["c"]] {
        assert_eq!(client.produce("t", &batch(values)).await.error_code, ErrorCode::NONE);
    }
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let age = |then: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs_f64() - then as f64 / 1000.0
    };
    for offset in 0..3 {
        commit(&mut client, "g", offset).await;
        // Twice: looked up, and remembered.
        for _ in 0..2 {
            let told = scrape(&broker).await[AGE];
            let expected = age(1_700_000_000_000);
            assert!((told - expected).abs() < 10.0, "{told} and {expected} at {offset}");
        }
    }
    commit(&mut client, "g", 3).await;
    assert_eq!(scrape(&broker).await[AGE], 0.0, "nothing is left");
    // The end of a transaction is nothing to read; what comes behind it is.
    producer.send(&mut client, "t", "d").await;
    commit(&mut client, "g", 4).await;
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    let values = scrape(&broker).await;
    assert_eq!(values["logmill_group_lag_records{group=\"g\",topic=\"t\"}"], 1.0);
    assert_eq!(values[AGE], 0.0);
    assert_eq!(client.produce("t", &batch(&["e"])).await.error_code, ErrorCode::NONE);
    assert!(scrape(&broker).await[AGE] > 1000.0);
}

/// Ten more partitions than one scrape looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_scrape_looks_up_a_bounded_number_of_records() {
    const LOOK_UPS: usize = 256;
    let broker = start().await;
    let mut client = broker.connect().await;
    for topic in 0..LOOK_UPS + 10 {
        let topic = format!("t{topic}");
        client.create(&topic, 1, &[]).await;
        assert_eq!(client.produce(&topic, &batch(&["a"])).await.error_code, ErrorCode::NONE);
        let partitions = vec![OffsetCommitRequestPartition::default()];
        let topics =
            vec![OffsetCommitRequestTopic { name: topic.as_str().into(), partitions, ..Default::default() }];
        let request = OffsetCommitRequest { group_id: "g".into(), topics, ..Default::default() };
        client.ask(&request, 8).await;
    }
    let told = |values: BTreeMap<String, f64>| {
        values.keys().filter(|series| series.starts_with("logmill_group_lag_seconds{")).count()
    };
    assert_eq!(told(scrape(&broker).await), LOOK_UPS);
    assert_eq!(told(scrape(&broker).await), LOOK_UPS + 10, "the rest with the next one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_serves_lives_and_is_ready() {
    let broker = start().await;
    let address = broker.metrics();
    assert!(ask(address, b"GET /livez HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    let wait = async {
        loop {
            let ready = ask(address, b"GET /readyz HTTP/1.1\r\n\r\n").await;
            if ready.starts_with("HTTP/1.1 200 ") {
                return ready;
            }
        }
    };
    let ready = timeout(PATIENCE, wait).await.expect("it becomes ready");
    assert!(ready.ends_with("\r\n\r\njournal: ok\nport: ok\ncoordinators: ok\n"), "{ready}");
    // While it stops, it lives, and is not ready: a request that takes long holds the stop up.
    let mut slow = TcpStream::connect(broker.address).await.unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    scrape(&broker).await;
    let stopping = tokio::spawn(broker.stop());
    let wait = async {
        loop {
            let ready = ask(address, b"GET /readyz HTTP/1.1\r\n\r\n").await;
            if ready.starts_with("HTTP/1.1 503 ") {
                return ready;
            }
        }
    };
    let ready = timeout(PATIENCE, wait).await.expect("it is not ready any more");
    assert!(ready.contains("the broker stops"), "{ready}");
    assert!(ask(address, b"GET /livez HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it has stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_metric_grows_with_the_groups_there_are() {
    let broker = start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    for group in 0..1010 {
        commit(&mut client, &format!("group {group}"), 0).await;
    }
    let values = scrape(&broker).await;
    for metric in ["logmill_group_members", "logmill_group_lag_records", "logmill_group_rebalances_total"] {
        let shown = values.keys().filter(|series| series.starts_with(&format!("{metric}{{"))).count();
        assert_eq!(shown, 1000, "{metric}");
        assert_eq!(values[&format!("logmill_metrics_left_out{{metric=\"{metric}\"}}")], 10.0, "{metric}");
    }
    assert_eq!(values["logmill_groups{protocol=\"classic\",state=\"Empty\"}"], 1010.0, "sums know all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_something_else_is_answered_briefly() {
    let broker = start().await;
    let address = broker.metrics();
    assert!(ask(address, b"GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    assert!(ask(address, b"DELETE /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert!(ask(address, b"junk\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let head = ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    // A head that never ends is cut off, with or without an error to its sender.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(&[b'x'; 20_000]).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed");
    assert!(answer.is_empty());
    // Peers that say nothing do not keep others out for long, and do not hold up the end.
    let _silent = TcpStream::connect(address).await.unwrap();
    assert!(!scrape(&broker).await.is_empty());
    broker.stop().await;
}
