//! Bytes sent to do harm. Whatever comes, the broker goes on serving everybody else, and its memory stays flat.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_client::{Client, NewTopic, Producer, ProducerRecord};
use logmill_tests::process::{Broker, Process, Scratch};
use logmill_wire::frame::{RequestHeader, encode_request};
use logmill_wire::messages::{self, ApiVersionsRequest, DescribeGroupsRequest, DescribeTransactionsRequest};
use logmill_wire::samples::Sampled;
use logmill_wire::{ApiKey, Encoder, Str};
use tokio::runtime::Runtime;

/// What an attack may add to the broker's memory: the connections of one that opens many, and the allocator's slack.
const FLAT: u64 = 48 << 20;
/// The longest a good client may have to wait while others attack.
const SERVED: Duration = Duration::from_secs(20);
const TOPIC: &str = "orders";

/// A broker under attack, with a good client beside.
struct Victim {
    broker: Broker,
    runtime: Runtime,
    good: Option<Producer>,
    sent: i64,
    baseline: u64,
}

impl Victim {
    fn new(scratch: &Scratch) -> Victim {
        let flags = ["--set", "topics.auto_create=false"];
        let broker = Process::serve_with(scratch, "broker", "data", &flags, &[]);
        let runtime = Runtime::new().expect("threads");
        let good = runtime.block_on(async {
            let client = Client::connect(&broker.address).await.expect("a connection");
            client.admin().create_topic(&NewTopic::new(TOPIC)).await.expect("a topic");
            client.producer().build().await.expect("a producer")
        });
        let mut victim = Victim { broker, runtime, good: Some(good), sent: 0, baseline: 0 };
        // What the first requests allocate is no growth.
        for _ in 0..20 {
            victim.serves("before the attack");
        }
        victim.asks_every_coordinator();
        victim.baseline = victim.broker.memory().resident;
        victim
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.broker.address).expect("the port is open");
        stream.set_read_timeout(Some(SERVED)).expect("a timeout");
        stream.set_write_timeout(Some(SERVED)).expect("a timeout");
        stream
    }

    /// A connection that has said something valid, and is taken seriously from then on.
    fn connect_known(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&api_versions(1, 0)).expect("it is read");
        read_answer(&mut stream);
        stream
    }

    /// Who names enough groups and transactional ids has every partition of the internal topics made. That costs once, and
    /// names that are no more than noise do it, too.
    fn asks_every_coordinator(&self) {
        let names = || (0..500).map(|number| Str::from(format!("name {number}"))).collect();
        let groups = DescribeGroupsRequest { groups: names(), ..DescribeGroupsRequest::default() };
        let transactions = DescribeTransactionsRequest { transactional_ids: names() };
        let mut stream = self.connect();
        for request in [
            encode_request(1, None, &groups, 5).expect("a request"),
            encode_request(2, None, &transactions, 0).expect("a request"),
        ] {
            stream.write_all(&request.into_bytes()).expect("it is read");
            read_answer(&mut stream);
        }
    }

    /// An old client and a new one are served.
    fn serves(&mut self, during: &str) {
        let Victim { broker, runtime, good, sent, .. } = self;
        let old = good.as_ref().expect("a producer");
        let served = runtime.block_on(async {
            tokio::time::timeout(SERVED, async {
                let place = old.send(ProducerRecord::to(TOPIC).value("good")).await?;
                let client = Client::connect(&broker.address).await?;
                let new = client.producer().build().await?;
                let next = new.send(ProducerRecord::to(TOPIC).value("good")).await?;
                new.close().await?;
                Ok::<_, logmill_client::Error>((place.offset, next.offset))
            })
            .await
        });
        let served = served.unwrap_or_else(|_| panic!("{during}: a good client is not served"));
        let offsets = served.unwrap_or_else(|error| panic!("{during}: {error}\n{}", broker.process.log()));
        // Nobody else wrote anything.
        assert_eq!(offsets, (Some(*sent), Some(*sent + 1)), "{during}");
        *sent += 2;
    }

    fn is_flat(&self, during: &str) {
        let grown = self.broker.memory().highest.saturating_sub(self.baseline);
        assert!(grown < FLAT, "{during}: {} MiB more than before", grown >> 20);
    }

    /// After an attack.
    fn survives(&mut self, attack: &str) {
        self.serves(attack);
        self.is_flat(attack);
    }

    fn ends(mut self) {
        let good = self.good.take().expect("a producer");
        self.runtime.block_on(good.close()).expect("it closes");
        let ended = self.broker.stop();
        assert!(ended.status.success(), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

fn read_answer(stream: &mut TcpStream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it is answered");
    let mut response = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response).expect("the whole answer");
}

/// Whether the other side closes the connection, whatever it says before.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn api_versions(correlation_id: i32, version: i16) -> Vec<u8> {
    let request = ApiVersionsRequest::default();
    encode_request(correlation_id, Some("test"), &request, version).expect("a request").into_bytes().to_vec()
}

/// A frame of any API and version around any body.
fn frame(api_key: i16, api_version: i16, body: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let header = RequestHeader { api_key, api_version, correlation_id: 1, client_id: None };
    header.encode(&mut encoder).expect("a header");
    let header = encoder.into_segments().into_bytes();
    let length = (header.len() + body.len()) as i32;
    [&length.to_be_bytes()[..], &header, body].concat()
}

#[test]
fn openings_of_strangers_are_closed() {
    let scratch = Scratch::new();
    let mut victim = Victim::new(&scratch);
    let two_gib = [&0x7fff_ffff_i32.to_be_bytes()[..], &[0; 64]].concat();
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 501]].concat();
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 4096][..]].concat();
    let attacks: [(&str, &[u8]); 10] = [
        ("a length of four hostile bytes", &[0xff; 4]),
        ("2 GiB", &two_gib),
        ("a negative length", &i32::MIN.to_be_bytes()),
        ("one byte more than the limit", &(100 * 1024 * 1024 + 1_i32).to_be_bytes()),
        ("a length of 0", &[0; 4]),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("HTTP/2 and then garbage", &preface),
        ("TLS", &hello),
        ("text", b"hello broker, how are you?\r\n"),
        ("a frame of noise", &[0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 5]),
    ];
    for (attack, bytes) in attacks {
        let mut stream = victim.connect();
        stream.write_all(bytes).expect("it takes so little");
        assert!(is_closed(&mut stream), "{attack}: the connection stays open");
        victim.survives(attack);
    }
    victim.ends();
}

#[test]
fn unknown_apis_and_versions_are_refused() {
    let scratch = Scratch::new();
    let mut victim = Victim::new(&scratch);
    // A client from the future asks what there is, and is told in the oldest words (KIP-511).
    let mut stream = victim.connect();
    stream.write_all(&frame(ApiKey::ApiVersions.code(), 99, &[1, 1, 0])).expect("it is read");
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("it is answered");
    assert_eq!(answer[4..8], 1_i32.to_be_bytes(), "the correlation id");
    assert_eq!(answer[8..10], 35_i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    drop(stream);
    victim.survives("ApiVersions of the future");
    for key in (-1..100).chain([i16::MIN, i16::MAX, 1000]) {
        for version in [-1, 77, i16::MIN, i16::MAX] {
            if key == ApiKey::ApiVersions.code() {
                continue;
            }
            let mut stream = victim.connect();
            stream.write_all(&frame(key, version, &[0; 16])).expect("it takes so little");
            assert!(is_closed(&mut stream), "API {key} version {version}: the connection stays open");
        }
    }
    victim.survives("unknown versions");
    victim.ends();
}

/// Every request with an absurd count or length in every place where one could stand.
#[test]
fn absurd_counts_cost_their_sender_the_connection_and_nobody_else_anything() {
    let scratch = Scratch::new();
    let mut victim = Victim::new(&scratch);
    // In place of four bytes, of one, and as the last that comes.
    let absurd: [&[u8]; 3] =
        [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff, 0xff, 0xff, 0xfe]];
    let mut apis = 0;
    for message in messages::ALL {
        let Some(api) = ApiKey::ALL.iter().find(|api| message.name == format!("{}Request", api.name()))
        else {
            continue;
        };
        apis += 1;
        let (first, last) = message.versions;
        let flexible = api.flexible_from().clamp(first, last);
        let mut versions = vec![first, flexible, last];
        versions.dedup();
        // Open for a while, so that what is sent is also read.
        let mut open = VecDeque::new();
        for version in versions {
            let body = small_sample(message, version);
            let step = body.len() / 24 + 1;
            for position in (0..body.len()).step_by(step) {
                for mean in absurd {
                    let mut mangled = body.to_vec();
                    let end = body.len().min(position + mean.len());
                    mangled[position..end].copy_from_slice(&mean[..end - position]);
                    let inserted = [&body[..position], mean, &body[position + 1..]].concat();
                    let last = [&body[..position], mean].concat();
                    let mut stream = victim.connect();
                    for hostile in [mangled, inserted, last] {
                        // The one before may have cost the connection already.
                        if stream.write_all(&frame(api.code(), version, &hostile)).is_err() {
                            stream = victim.connect();
                        }
                    }
                    open.push_back(stream);
                    if open.len() > 64 {
                        open.pop_front();
                    }
                }
            }
        }
        drop(open);
        victim.survives(message.name);
    }
    assert!(apis > 20, "only {apis} requests were tried");
    victim.ends();
}

/// A sample short enough to be mangled in many places.
fn small_sample(message: &Sampled, version: i16) -> Bytes {
    let samples = (0..100).map(|seed| (message.sample)(seed, version));
    samples.filter(|body| body.len() < 150).max_by_key(Bytes::len).expect("one of 100 samples is small")
}

/// Who announces much and sends little holds a connection, and nothing that others need.
#[test]
fn half_a_request_starves_nobody() {
    let scratch = Scratch::new();
    let mut victim = Victim::new(&scratch);
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream = victim.connect();
        stream.write_all(&[0, 0]).expect("two bytes of a length");
        open.push(stream);
        let mut stream = victim.connect();
        stream.write_all(&(500 * 1024_i32).to_be_bytes()).expect("a length");
        open.push(stream);
    }
    victim.survives("half a length, and lengths without a request");
    // Once known, a client may announce as much as the limit: more than all the memory for requests together.
    for _ in 0..8 {
        let mut stream = victim.connect_known();
        stream.write_all(&(99_i32 << 20).to_be_bytes()).expect("a length");
        open.push(stream);
    }
    victim.survives("large requests that do not come");
    // Byte by byte, which is too slow to be worth the memory.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for stream in &mut open {
            // The broker may have closed it.
            let _ = stream.write(&[0]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    victim.survives("slow senders");
    drop(open);
    victim.survives("after all of them are gone");
    victim.ends();
}

/// Who asks and does not read the answers is not read from any longer.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let scratch = Scratch::new();
    let mut victim = Victim::new(&scratch);
    let mut streams: Vec<TcpStream> = (0..8).map(|_| victim.connect_known()).collect();
    let questions: Vec<u8> = (0..1000).flat_map(|id| api_versions(id, 3)).collect();
    for stream in &mut streams {
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let mut taken = 0;
        while taken < 16 << 20 && stream.write_all(&questions).is_ok() {
            taken += questions.len();
        }
        assert!(taken < 16 << 20, "questions without end are taken");
    }
    victim.survives("answers nobody reads");
    victim.ends();
}
