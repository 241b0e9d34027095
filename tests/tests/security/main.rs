//! Clusters that want TLS and SASL: the client library, the commands and workers do what they want, and say what is wrong within
//! a bounded time.

mod certificates;
mod front;
mod scram;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use logmill_client::{
    BatchReader, Client, Consumer, Error, ErrorCode, Mechanism, NewTopic, ProducerRecord, Security, StartAt,
    Tls,
};
use logmill_tests::process::{self, Broker, Chance, Ended, PATIENCE, Process, Scratch, free_address};
use serde_json::Value;
use tokio::runtime::Runtime;

use certificates::{Authority, Signed};
use front::{Front, PASSWORD, USER, Wants};

/// A broker with a front before it, and whom to trust.
struct Rig {
    scratch: Scratch,
    front: Front,
    broker: Broker,
    trusted: String,
}

/// The certificate of brokers that are reached by their address.
fn for_here(authority: &Authority) -> Signed {
    authority.sign(&["127.0.0.1", "localhost"])
}

impl Rig {
    fn start(authority: &Authority, wants: &Wants<'_>) -> Rig {
        let scratch = Scratch::new();
        let address = free_address(&mut Chance::seeded());
        let front = Front::start(&address, wants);
        let advertised = front.address();
        let environment = [("LOGMILL_ADVERTISED", &*advertised)];
        let broker = Process::serve_at(&scratch, "broker", "data", &address, &[], &environment);
        let trusted = authority.file(&scratch, "ca.pem");
        Rig { scratch, front, broker, trusted }
    }

    /// A file of properties, as Kafka's own tools read it.
    fn config(&self, mechanism: &str, password: &str) -> String {
        let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
        let password = password.replace('"', "\\\\\"");
        let text = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nssl.truststore.type=PEM\n\
             ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required \\\n  \
             username=\"{USER}\" \\\n  password=\"{password}\";\n",
            self.trusted
        );
        self.scratch.write(&format!("{mechanism}.properties"), &text)
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
        let address = self.front.address();
        process::run(&[arguments, &["--bootstrap", &address]].concat(), environment, input)
    }
}

#[track_caller]
fn succeeds(ended: &Ended) {
    assert!(ended.status.success(), "{}", ended.log);
}

/// It ends at once, with this status, and says this.
#[track_caller]
fn refuses(began: Instant, ended: &Ended, status: i32, texts: &[&str]) {
    assert_eq!(ended.status.code(), Some(status), "{}", ended.log);
    for text in texts {
        assert!(ended.log.contains(text), "it does not say {text:?}:\n{}", ended.log);
    }
    assert!(!ended.log.contains(PASSWORD), "{}", ended.log);
    assert!(began.elapsed() < Duration::from_secs(30), "after {:?}", began.elapsed());
}

const SCRIPT: &str = "
CREATE TABLE orders (
  customer STRING NOT NULL METADATA FROM 'key', amount BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = 'orders', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
CREATE TABLE totals (window_start TIMESTAMP(3), customer STRING, orders BIGINT, amount BIGINT)
WITH ('topic' = 'totals', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
INSERT INTO totals
SELECT window_start, customer, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, customer;
";

#[test]
fn a_worker_runs_over_a_cluster_with_tls_and_scram() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let wants = Wants { tls: Some(&signed), mechanisms: &["SCRAM-SHA-512"], ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    let config = rig.config("SCRAM-SHA-512", PASSWORD);
    let secured = ["--client-config", &*config];
    succeeds(&rig.run(
        &[&["topic", "create", "orders", "--partitions", "2"][..], &secured].concat(),
        &[],
        "",
    ));
    let mut orders = String::new();
    for number in 0..600 {
        let time = 1_700_000_000_000_i64 + number * 100;
        writeln!(orders, "customer-{}\t{{\"amount\": 2, \"ts\": {time}}}", number % 3).expect("text");
    }
    let produce = ["produce", "orders", "--key-delimiter", "\t"];
    succeeds(&rig.run(&[&produce[..], &secured].concat(), &[], &orders));
    let script = rig.scratch.write("orders.sql", SCRIPT);
    let state = rig.scratch.path("state").display().to_string();
    let worker = ["worker", "run", &script, "--bounded", "--state-dir", &state, "--output", "json"];
    let ended = rig.run(&[&worker[..], &secured].concat(), &[], "");
    succeeds(&ended);
    let report: Value = serde_json::from_str(&ended.out).expect("JSON");
    let tasks = report["tasks"].as_array().expect("tasks");
    let read: i64 = tasks.iter().map(|task| task["records_in"].as_i64().expect("a number")).sum();
    assert_eq!((tasks.len(), read), (2, 600), "{report}");
    let rows = rig.run(&[&["consume", "totals", "--exit"][..], &secured].concat(), &[], "");
    succeeds(&rows);
    let totals: Vec<Value> = rows.out.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    let amount: i64 = totals.iter().map(|row| row["amount"].as_i64().expect("a number")).sum();
    assert_eq!((totals.len() % 3, amount), (0, 1200), "{}", rows.out);
    assert!(rig.front.authenticated() > 5);

    // What is wrong is told at once.
    let began = Instant::now();
    let wrong = rig.config("SCRAM-SHA-512", "another");
    let refused = rig.run(&[&worker[..], &["--client-config", &wrong]].concat(), &[], "");
    refuses(
        began,
        &refused,
        1,
        &[
            "as \"alice\" with SCRAM-SHA-512",
            "SASL_AUTHENTICATION_FAILED",
            "does not know you",
            "LOGMILL_SASL_PASSWORD",
        ],
    );
    let began = Instant::now();
    let stranger = Authority::new("a stranger").file(&rig.scratch, "stranger.pem");
    let config = rig.config("SCRAM-SHA-512", PASSWORD);
    let trust = format!("ssl.truststore.location={stranger}");
    let refused = rig.run(&[&worker[..], &["--client-config", &config, "-X", &trust]].concat(), &[], "");
    refuses(began, &refused, 1, &["certificate is not trusted", "ssl.truststore.location"]);
    // The system trusts nobody of ours.
    let began = Instant::now();
    let system = ["topic", "list", "-X", "security.protocol=SSL"];
    let refused = rig.run(&system, &[], "");
    refuses(began, &refused, 1, &["ssl.truststore.location"]);
    succeeds(&rig.broker.stop());
}

#[test]
fn every_mechanism_and_a_password_from_the_environment() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let mechanisms = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let wants = Wants { tls: Some(&signed), mechanisms, ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    for mechanism in mechanisms {
        let config = rig.config(mechanism, PASSWORD);
        succeeds(&rig.run(&["topic", "list", "--command-config", &config], &[], ""));
        let began = Instant::now();
        let refused =
            rig.run(&["topic", "list", "--client-config", &rig.config(mechanism, "another")], &[], "");
        refuses(began, &refused, 1, &["SASL_AUTHENTICATION_FAILED", mechanism]);
    }
    let (trust, name) = (format!("ssl.ca.location={}", rig.trusted), format!("sasl.username={USER}"));
    let mechanism = "sasl.mechanisms=SCRAM-SHA-256";
    let given =
        ["topic", "list", "-X", "security.protocol=SASL_SSL", "-X", mechanism, "-X", &name, "-X", &trust];
    succeeds(&rig.run(&given, &[("LOGMILL_SASL_PASSWORD", PASSWORD)], ""));
    let began = Instant::now();
    refuses(began, &rig.run(&given, &[], ""), 2, &["the password of \"alice\" is missing"]);
    // What is refused is not shown to everybody else's logs, too.
    for (shown, why) in [
        ("sasl.password=hush", "everybody on this machine can see arguments"),
        ("sasl.password hush", "write NAME=VALUE"),
    ] {
        let refused = rig.run(&[&given[..], &["-X", shown]].concat(), &[], "");
        refuses(began, &refused, 2, &[why]);
        assert!(!refused.log.contains("hush"), "{}", refused.log);
        // Nor taken by a command that would not have used it.
        let unused = rig.run(&["pipeline", "validate", "none.sql", "-X", shown], &[], "");
        refuses(began, &unused, 2, &[why]);
        assert!(!unused.log.contains("hush"), "{}", unused.log);
    }
    let escaped = rig.scratch.write("escaped.properties", "sasl.password=\\ush!\n");
    let refused = rig.run(&["topic", "list", "--client-config", &escaped], &[], "");
    refuses(began, &refused, 2, &["line 1 of the properties"]);
    assert!(!refused.log.contains("sh!"), "{}", refused.log);
    // Our own language has neither, and says so instead of going without.
    let began = Instant::now();
    let config = rig.config("PLAIN", PASSWORD);
    let refused = rig.run(&["pipeline", "list", "--client-config", &config], &[], "");
    refuses(began, &refused, 1, &["neither TLS nor SASL"]);
    succeeds(&rig.broker.stop());
}

#[test]
fn a_client_that_says_too_little_or_too_much_is_told_what_to_say() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let list = |rig: &Rig, properties: &[&str]| {
        let mut arguments = vec!["topic", "list"];
        for property in properties {
            arguments.extend(["-X", property]);
        }
        rig.run(&arguments, &[("LOGMILL_SASL_PASSWORD", PASSWORD)], "")
    };
    // TLS and SASL are wanted.
    let wants = Wants { tls: Some(&signed), mechanisms: &["SCRAM-SHA-256"], ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    let trust = format!("ssl.truststore.location={}", rig.trusted);
    let began = Instant::now();
    refuses(began, &list(&rig, &[]), 1, &["set security.protocol to SSL or SASL_SSL"]);
    let began = Instant::now();
    let without = list(&rig, &["security.protocol=SSL", &trust]);
    refuses(began, &without, 1, &["set security.protocol to SASL_SSL"]);
    let began = Instant::now();
    let plain = ["security.protocol=SASL_SSL", &trust, "sasl.mechanism=PLAIN", "sasl.username=alice"];
    refuses(began, &list(&rig, &plain), 1, &["does not have the sasl.mechanism PLAIN; it has SCRAM-SHA-256"]);
    // Neither is.
    let rig = Rig::start(&authority, &Wants::default());
    let began = Instant::now();
    let tls = list(&rig, &["security.protocol=SSL", &trust]);
    refuses(began, &tls, 1, &["TLS handshake", "security.protocol"]);
    let began = Instant::now();
    let sasl = ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=alice"];
    refuses(began, &list(&rig, &sasl), 1, &["does not offer SASL there"]);
}

#[test]
fn brokers_that_want_a_clients_certificate_get_it() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("of clients"));
    let signed = for_here(&authority);
    let wants = Wants { tls: Some(&signed), client: Some(&clients), ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    let trust = format!("security.protocol=SSL\nssl.truststore.location={}\n", rig.trusted);
    let list = |name: &str, more: &str| {
        let config = rig.scratch.write(name, &format!("{trust}{more}"));
        rig.run(&["topic", "list", "--client-config", &config], &[], "")
    };
    let mine = clients.sign(&["me"]);
    let (chain, key) = mine.files(&rig.scratch, "mine");
    succeeds(&list("files", &format!("ssl.certificate.location={chain}\nssl.key.location={key}\n")));
    let (chain, key) = mine.texts();
    let texts =
        format!("ssl.keystore.type=PEM\nssl.keystore.certificate.chain={chain}\nssl.keystore.key={key}\n");
    succeeds(&list("texts", &texts));
    let began = Instant::now();
    refuses(began, &list("none", ""), 1, &["does not accept our certificate", "ssl.keystore.location"]);
    let began = Instant::now();
    let (chain, key) = Authority::new("a stranger").sign(&["me"]).files(&rig.scratch, "other");
    let other = list("other", &format!("ssl.certificate.location={chain}\nssl.key.location={key}\n"));
    refuses(began, &other, 1, &["does not accept our certificate"]);
}

#[test]
fn a_certificate_for_another_host_is_refused_unless_nobody_asks() {
    let authority = Authority::new("ours");
    let signed = authority.sign(&["elsewhere.example"]);
    let rig = Rig::start(&authority, &Wants { tls: Some(&signed), ..Wants::default() });
    let trust = format!("ssl.truststore.location={}", rig.trusted);
    let list = ["topic", "list", "-X", "security.protocol=SSL", "-X", &trust];
    let began = Instant::now();
    let refused = rig.run(&list, &[], "");
    refuses(began, &refused, 1, &["elsewhere.example", "ssl.endpoint.identification.algorithm"]);
    let any = "ssl.endpoint.identification.algorithm=";
    succeeds(&rig.run(&[&list[..], &["-X", any]].concat(), &[], ""));
    // Of another authority it is refused all the same.
    let stranger = Authority::new("a stranger").file(&rig.scratch, "stranger.pem");
    let trust = format!("ssl.truststore.location={stranger}");
    let refused =
        rig.run(&["topic", "list", "-X", "security.protocol=SSL", "-X", &trust, "-X", any], &[], "");
    refuses(began, &refused, 1, &["certificate is not trusted"]);
}

/// A broker that wants to be told again who we are (KIP-368) closes what goes on without.
#[test]
fn connections_are_renewed_before_their_session_ends() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let session = Some(Duration::from_secs(2));
    let wants = Wants { tls: Some(&signed), mechanisms: &["SCRAM-SHA-256"], session, ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    Runtime::new().expect("threads").block_on(async {
        let security = Security::default().tls(Tls::default().trust_file(&rig.trusted));
        let security = security.sasl(Mechanism::ScramSha256, USER, PASSWORD);
        let client = Client::builder(&rig.front.address()).security(security.clone()).connect().await;
        let client = client.expect("a connection");
        client.admin().create_topic(&NewTopic::new("t")).await.expect("a topic");
        let producer = client.producer().build().await.expect("a producer");
        let mut consumer = client.consumer("group").topic("t").build().expect("a consumer");
        let began = Instant::now();
        let mut sent = 0;
        while rig.front.authenticated() < 20 && began.elapsed() < PATIENCE {
            producer.send(ProducerRecord::to("t").value(format!("{sent}"))).await.expect("sent");
            let record = consumer.next().await.expect("a record");
            assert_eq!(record.value.as_deref(), Some(format!("{sent}").as_bytes()));
            sent += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(rig.front.authenticated() >= 20, "nothing was renewed");
        // On a machine that is busy a thread may sleep through a session's last tenth of a second.
        assert!(
            rig.front.outlived() <= 2,
            "{} connections were used longer than they could be",
            rig.front.outlived()
        );
        consumer.close().await;
        producer.close().await.expect("closed");
        let wrong = security.sasl(Mechanism::ScramSha256, USER, "another");
        let refused =
            Client::builder(&rig.front.address()).security(wrong).connect().await.expect_err("refused");
        assert_eq!(refused.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED), "{refused}");
        assert!(refused.is_fatal() && !refused.is_retriable());
        let stranger =
            Tls::default().trust_file(Authority::new("a stranger").file(&rig.scratch, "stranger.pem"));
        let stranger = Client::builder(&rig.front.address()).security(Security::default().tls(stranger));
        let refused = stranger.connect_within(PATIENCE).await.expect_err("refused");
        assert!(matches!(refused, Error::Security { .. }) && !refused.is_retriable(), "{refused}");
    });
}

/// Fails soon, and for good.
async fn soon<T: std::fmt::Debug>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Error {
    let done = tokio::time::timeout(Duration::from_secs(20), work).await;
    let error = done.unwrap_or_else(|_| panic!("{what} waits")).expect_err(what);
    assert!(!error.is_retriable(), "{error}");
    error
}

async fn read_on(reader: &mut Consumer) -> Result<(), Error> {
    loop {
        reader.next().await?;
    }
}

/// What keeps a partition from being read.
async fn unreadable(reader: &BatchReader) -> Result<(), Error> {
    loop {
        let behind = reader.fetched_to("t", 0)?;
        reader.read("t", 0, behind, 1 << 20)?;
        reader.fetched().await;
    }
}

#[test]
fn who_reads_and_writes_is_told_when_the_cluster_knows_him_no_more() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let wants = Wants { tls: Some(&signed), mechanisms: &["SCRAM-SHA-256"], ..Wants::default() };
    let rig = Rig::start(&authority, &wants);
    Runtime::new().expect("threads").block_on(async {
        let security = Security::default().tls(Tls::default().trust_file(&rig.trusted));
        let security = security.sasl(Mechanism::ScramSha256, USER, PASSWORD);
        let client = Client::builder(&rig.front.address()).security(security).connect().await;
        let client = client.expect("a connection");
        client.admin().create_topic(&NewTopic::new("t").partitions(3)).await.expect("a topic");
        let producer = client.producer().build().await.expect("a producer");
        let mut reader = client.reader().topic("t", StartAt::Earliest).build().await.expect("a reader");
        let batches = client.batches().partition("t", 0, 0).start();
        producer.send(ProducerRecord::to("t").value("one")).await.expect("sent");
        reader.next().await.expect("a record");

        rig.front.change_password("another");
        for refused in [
            soon("the producer", producer.send(ProducerRecord::to("t").value("two"))).await,
            soon("the reader", reader.next()).await,
            soon("the reader of batches", unreadable(&batches)).await,
        ] {
            assert_eq!(refused.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED), "{refused}");
            assert!(refused.is_fatal(), "{refused}");
        }
        let stopped = soon("the reader that has nothing to read", read_on(&mut reader)).await;
        assert!(
            matches!(&stopped, Error::AllStopped { partitions, .. } if partitions.len() == 3),
            "{stopped}"
        );
        // Nobody knocks on and on.
        let knocked = rig.front.refused();
        assert!(knocked < 60, "{knocked} attempts");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.front.refused() - knocked <= 2, "{} attempts in a second", rig.front.refused() - knocked);

        // Whoever is known again can go on.
        rig.front.change_password(PASSWORD);
        let sent = async {
            while let Err(error) = producer.send(ProducerRecord::to("t").value("three")).await {
                assert_eq!(error.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED), "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sent).await.expect("sent");
        let mut reader = client.reader().topic("t", StartAt::Earliest).build().await.expect("a reader");
        reader.next().await.expect("a record");
        let batches = client.batches().partition("t", 0, 0).start();

        rig.front.deny("t");
        for refused in [
            soon("the producer", producer.send(ProducerRecord::to("t").value("four"))).await,
            soon("the reader", read_on(&mut reader)).await,
            soon("the reader of batches", unreadable(&batches)).await,
        ] {
            assert_eq!(refused.code(), Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED), "{refused}");
        }
    });
}

/// One address that nobody answers at does not hide what another one says.
#[test]
fn what_is_refused_for_good_is_told_whatever_else_fails() {
    let authority = Authority::new("ours");
    let signed = for_here(&authority);
    let rig = Rig::start(&authority, &Wants { tls: Some(&signed), ..Wants::default() });
    let (front, nobody) = (rig.front.address(), free_address(&mut Chance::seeded()));
    Runtime::new().expect("threads").block_on(async {
        for addresses in [format!("{front},{nobody}"), format!("{nobody},{front}")] {
            let stranger = Authority::new("a stranger").file(&rig.scratch, "stranger.pem");
            let stranger = Security::default().tls(Tls::default().trust_file(stranger));
            let client = Client::builder(&addresses).security(stranger);
            let refused = soon("the client", client.connect_within(PATIENCE)).await;
            assert!(matches!(refused, Error::Security { .. }), "{addresses}: {refused}");
        }
    });
}
