//! One slow request or client delays nobody else: what others ask is answered while it is still under way.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_client::{Client, NewTopic, Producer, ProducerRecord};
use logmill_tests::process::{Broker, PATIENCE, Process, Scratch};
use logmill_wire::frame::{decode_response, encode_request};
use logmill_wire::messages::fetch::{FetchPartition, FetchTopic};
use logmill_wire::messages::join_group::JoinGroupRequestProtocol;
use logmill_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use logmill_wire::messages::{ApiVersionsRequest, FetchRequest, JoinGroupRequest, ProduceRequest};
use logmill_wire::{ErrorCode, Request};
use serde_json::Value;
use tokio::runtime::Runtime;

/// What clients that are not slow write to.
const TOPIC: &str = "orders";
/// Where nothing is written, so that who reads it waits.
const QUIET: &str = "quiet";
/// More than any part of the memory that is left to small requests.
const RECORD_BYTES: usize = 100_000;
/// As long as no test takes.
const LONG_MS: i32 = 110_000;

/// A connection that speaks as slowly as the test wants.
struct Slow(TcpStream);

impl Slow {
    /// Connects, and says something valid: from then on its requests may be large.
    fn connect(broker: &Broker) -> Slow {
        let stream = TcpStream::connect(&broker.address).expect("the port is open");
        let mut slow = Slow(stream);
        slow.ask(&ApiVersionsRequest::default(), 0);
        slow
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) {
        let frame = encode_request(1, Some("slow"), request, version).expect("a request");
        self.0.write_all(&frame.into_bytes()).expect("it is read");
    }

    fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.hear::<R>(version)
    }

    fn hear<R: Request>(&mut self, version: i16) -> R::Response {
        self.0.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.0.read_exact(&mut answer).expect("the whole answer");
        decode_response::<R::Response>(Bytes::from(answer), version).expect("an answer").1
    }

    /// Whether it is open, and nothing has been answered.
    fn waits(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket");
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("a socket");
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A client as it should be.
struct Good {
    runtime: Runtime,
    producer: Producer,
    connection: Slow,
    sent: i64,
}

impl Good {
    fn connect(broker: &Broker) -> Good {
        let runtime = Runtime::new().expect("threads");
        let producer = runtime.block_on(async {
            let client = Client::connect(&broker.address).await.expect("a connection");
            for topic in [TOPIC, QUIET] {
                client.admin().create_topic(&NewTopic::new(topic)).await.expect("a topic");
            }
            client.producer().build().await.expect("a producer")
        });
        Good { runtime, producer, connection: Slow::connect(broker), sent: 0 }
    }

    /// Writes a record and reads it, so many times.
    fn works(&mut self, times: usize) {
        for _ in 0..times {
            let record = ProducerRecord::to(TOPIC).value(vec![b'x'; RECORD_BYTES]);
            let sending = async { tokio::time::timeout(PATIENCE, self.producer.send(record)).await };
            let written = self.runtime.block_on(sending).expect("it is answered").expect("it is written");
            assert_eq!(written.offset, Some(self.sent));
            let read = self.fetch(self.sent, 1 << 20);
            assert!(read > RECORD_BYTES, "{read} bytes");
            self.sent += 1;
        }
    }

    /// Writes so many records, each a batch of its own.
    fn fill(&mut self, count: i64) {
        for _ in 0..count {
            let record = ProducerRecord::to(TOPIC).value(vec![b'x'; RECORD_BYTES]);
            self.runtime.block_on(self.producer.send(record)).expect("it is written");
        }
        self.sent += count;
    }

    /// How many bytes of records a fetch from an offset on gives.
    fn fetch(&mut self, offset: i64, max_bytes: i32) -> usize {
        let response = self.connection.ask(&fetch(TOPIC, offset, max_bytes, 0), 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, ErrorCode::NONE);
        partition.records.as_ref().map_or(0, |records| records.len())
    }
}

fn fetch(topic: &str, fetch_offset: i64, max_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset, partition_max_bytes: max_bytes, ..FetchPartition::default() };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![partition],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A produce request of about this size. What is in it is no batch.
fn produce(bytes: usize) -> Bytes {
    let data = PartitionProduceData { index: 0, records: Some(Bytes::from(vec![0; bytes])) };
    let topic =
        TopicProduceData { name: QUIET.into(), partition_data: vec![data], ..TopicProduceData::default() };
    let request =
        ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 10_000, topic_data: vec![topic] };
    encode_request(1, Some("slow"), &request, 11).expect("a request").into_bytes()
}

fn response_memory(broker: &Broker) -> usize {
    let shown = broker.run(&["broker", "metrics", "logmill_response_memory_bytes", "--output", "json"]);
    let document: Value = serde_json::from_str(&shown).expect("JSON");
    document["metrics"][0]["samples"][0]["value"].as_f64().expect("a number") as usize
}

/// A huge request whose bytes come slowly, more such requests than there is memory for, a fetch that waits for data, a
/// member that waits for others: all of them are still under way when many requests of others have been answered.
#[test]
fn what_is_slow_or_waits_delays_nobody_else() {
    let scratch = Scratch::new();
    let flags = ["--set", "groups.initial_rebalance_delay=100s", "--set", "topics.auto_create=false"];
    let broker = Process::serve_with(&scratch, "broker", "data", &flags, &[]);
    let mut good = Good::connect(&broker);

    let request = produce(90 << 20);
    let mut senders: Vec<Slow> = (0..4).map(|_| Slow::connect(&broker)).collect();
    let mut sent = 64 << 10;
    for sender in &mut senders {
        sender.0.write_all(&request[..sent]).expect("it begins");
    }
    let mut reader = Slow::connect(&broker);
    reader.send(&fetch(QUIET, 0, 1 << 20, LONG_MS), 12);
    let mut member = Slow::connect(&broker);
    let protocol = JoinGroupRequestProtocol { name: "range".into(), ..JoinGroupRequestProtocol::default() };
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    member.send(&join, 3);

    for _ in 0..10 {
        good.works(10);
        // The first of them goes on, slowly.
        senders[0].0.write_all(&request[sent..sent + 1000]).expect("it goes on");
        sent += 1000;
    }
    assert!(senders.iter().all(Slow::waits), "the huge requests are under way");
    assert!(reader.waits(), "nothing came to read");
    assert!(member.waits(), "the group waits for more members");

    // Each of them comes to its end.
    let record = ProducerRecord::to(QUIET).value("at last");
    good.runtime.block_on(good.producer.send(record)).expect("it is written");
    let read = reader.hear::<FetchRequest>(12);
    assert!(read.responses[0].partitions[0].records.is_some());
    senders[0].0.write_all(&request[sent..]).expect("the rest");
    let answer = senders[0].hear::<ProduceRequest>(11);
    assert_ne!(answer.responses[0].partition_responses[0].error_code, ErrorCode::NONE, "it is no batch");
}

/// Clients that ask for much and read nothing: others go on getting many batches at once, and the ones that do not read
/// are closed in time.
#[test]
fn who_does_not_read_its_responses_leaves_memory_to_others_and_is_closed() {
    const WRITE_TIMEOUT: Duration = Duration::from_secs(12);
    let scratch = Scratch::new();
    let flags = ["--set", "limits.response_memory=64MiB", "--set", "limits.write_timeout=12s"];
    let broker = Process::serve_with(&scratch, "broker", "data", &flags, &[]);
    let mut good = Good::connect(&broker);
    good.fill(400);
    let alone = good.fetch(0, 1 << 20);
    assert!(alone > 9 * RECORD_BYTES, "{alone} bytes");

    let began = Instant::now();
    let mut deaf: Vec<Slow> = (0..4).map(|_| Slow::connect(&broker)).collect();
    for client in &mut deaf {
        client.send(&fetch(TOPIC, 0, 64 << 20, 0), 12);
    }
    // The system's buffers take some megabytes of each.
    while response_memory(&broker) < 20 << 20 {
        assert!(began.elapsed() < WRITE_TIMEOUT, "they hold {}", response_memory(&broker));
    }
    let beside = good.fetch(0, 1 << 20);
    assert!(beside * 2 > alone, "{beside} bytes, and {alone} without the others");
    good.works(20);
    assert!(began.elapsed() < WRITE_TIMEOUT, "they were not read all the while");

    let until = Instant::now() + PATIENCE;
    while response_memory(&broker) > 0 {
        assert!(Instant::now() < until, "{} are held for nobody", response_memory(&broker));
    }
    assert!(broker.process.log().contains("takes nothing of its response"), "{}", broker.process.log());
    good.works(1);
    drop(deaf);
}
