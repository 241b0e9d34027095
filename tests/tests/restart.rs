//! Stopping, dying and starting again: what was acknowledged is there, and a start says what it found.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use logmill_client::{Client, Error, NewTopic, ProducerRecord};
use logmill_tests::process::{Broker, Chance, PATIENCE, Process, Scratch, number};
use tokio::runtime::Runtime;

/// Kills unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 4;

/// The fields of the line that says what a start found.
fn opening(broker: &Broker) -> String {
    let log = broker.process.log();
    log.lines().find(|line| line.contains("the log is open")).expect("every start says it").to_owned()
}

#[test]
fn a_stop_leaves_a_clean_mark_and_a_kill_does_not() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "first", "data");
    assert!(opening(&broker).contains("new=true"), "{}", opening(&broker));
    broker.run_with_input(&["produce", "orders"], "one\ntwo\n");
    let ended = broker.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("stopped"), "{}", ended.log);

    let broker = Process::serve(&scratch, "second", "data");
    let found = opening(&broker);
    assert!(found.contains("new=false clean=true"), "{found}");
    assert!(found.contains("replayed_frames=0"), "{found}");
    broker.run_with_input(&["produce", "orders"], "three\n");
    assert!(broker.process.kill().was_killed());

    let broker = Process::serve(&scratch, "third", "data");
    let found = opening(&broker);
    assert!(found.contains("new=false clean=false"), "{found}");
    assert!(!found.contains("replayed_frames=0"), "{found}");
    assert_eq!(broker.run(&["consume", "orders", "--exit"]), "one\ntwo\nthree\n");
    assert!(broker.stop().status.success());
}

/// A stop waits for requests under way, and for no client that merely waits.
#[test]
fn a_stop_does_not_wait_for_who_waits() {
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    broker.run(&["topic", "create", "orders"]);
    // A reader at the end of a topic, whose request is parked.
    let address = broker.address.clone();
    let arguments = ["consume", "orders", "--offset", "end", "--bootstrap", &address];
    let mut reader = Process::start(&scratch, "reader", &arguments, &[]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(reader.is_alive());
    let asked = std::time::Instant::now();
    let ended = broker.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(asked.elapsed() < Duration::from_secs(9), "stopped only after {:?}", asked.elapsed());
    reader.kill();
}

/// A record that fills no batch is given up, too, when its time is over.
#[test]
fn a_producer_whose_broker_is_gone_says_so_in_time() {
    const LIMIT: Duration = Duration::from_secs(2);
    let scratch = Scratch::new();
    let broker = Process::serve(&scratch, "broker", "data");
    Runtime::new().expect("threads").block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("t")).await.expect("a topic");
        let producer = client.producer().delivery_timeout(LIMIT).build().await.expect("a producer");
        producer.send(ProducerRecord::to("t").value("one")).await.expect("sent");
        let stopped = tokio::task::spawn_blocking(|| broker.stop());
        assert!(stopped.await.expect("no panic").status.success());
        let began = Instant::now();
        let sent = tokio::time::timeout(PATIENCE, producer.send(ProducerRecord::to("t").value("two"))).await;
        let error = sent.expect("it is given up").expect_err("nobody is there");
        // With what stood in the way.
        assert!(matches!(&error, Error::Timeout { last: Some(_), .. }), "{error}");
        assert!(error.to_string().contains("cannot connect to"), "{error}");
        assert!(began.elapsed() < LIMIT + Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

/// A broker whose stop takes some seconds: a peer that speaks HTTP/2 and goes no further than its first words is waited
/// for as long as a stop may take.
fn slow_to_stop(scratch: &Scratch, name: &str) -> (Broker, TcpStream) {
    let broker = Process::serve_with(scratch, name, "data", &["--set", "shutdown_drain=5s"], &[]);
    let mut peer = TcpStream::connect(&broker.address).expect("the port is open");
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it is read");
    broker.run_with_input(&["produce", "orders"], "one\n");
    (broker, peer)
}

#[test]
fn a_second_sigterm_at_once_is_the_first_one_again() {
    let scratch = Scratch::new();
    let (mut broker, _peer) = slow_to_stop(&scratch, "broker");
    broker.process.terminate();
    broker.process.wait_for_line(" stopping");
    broker.process.terminate();
    broker.process.wait_for_line("told to stop again");
    let ended = broker.process.wait(PATIENCE);
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains(" stopped"), "{}", ended.log);
    let again = Process::serve(&scratch, "again", "data");
    assert!(opening(&again).contains("clean=true"), "{}", opening(&again));
}

#[test]
fn a_ctrl_c_while_it_stops_ends_it_at_once() {
    let scratch = Scratch::new();
    let (mut broker, _peer) = slow_to_stop(&scratch, "broker");
    broker.process.interrupt();
    broker.process.wait_for_line(" stopping");
    let asked = Instant::now();
    broker.process.interrupt();
    let ended = broker.process.wait(PATIENCE);
    assert!(asked.elapsed() < Duration::from_secs(3), "only after {:?}", asked.elapsed());
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("replays the journal"), "{}", ended.log);
    let again = Process::serve(&scratch, "again", "data");
    assert!(opening(&again).contains("clean=false"), "{}", opening(&again));
    assert_eq!(again.run(&["consume", "orders", "--exit"]), "one\n");
}

#[test]
fn a_second_sigterm_after_some_seconds_ends_it_at_once() {
    let scratch = Scratch::new();
    let (mut broker, _peer) = slow_to_stop(&scratch, "broker");
    broker.process.terminate();
    broker.process.wait_for_line(" stopping");
    std::thread::sleep(Duration::from_millis(3300));
    broker.process.terminate();
    let ended = broker.process.wait(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
}

#[test]
fn a_second_broker_on_the_same_directory_is_refused() {
    let scratch = Scratch::new();
    let first = Process::serve(&scratch, "first", "data");
    let data = scratch.path("data").display().to_string();
    let arguments = ["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let second = Process::start(&scratch, "second", &arguments, &[]).wait(PATIENCE);
    assert_eq!(second.status.code(), Some(1), "{}", second.log);
    assert!(second.log.contains(&data), "names the directory:\n{}", second.log);
    assert!(second.log.contains("another process"), "says why:\n{}", second.log);
    // The first is not disturbed.
    first.run_with_input(&["produce", "orders"], "still here\n");
    assert_eq!(first.run(&["consume", "orders", "--exit"]), "still here\n");
    assert!(first.process.kill().was_killed());
    // Death gives the directory free at once.
    assert!(Process::serve(&scratch, "third", "data").stop().status.success());
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = Scratch::new();
    let first = Process::serve(&scratch, "first", "data-1");
    let data = scratch.path("data-2").display().to_string();
    let arguments = ["serve", "--data-dir", &data, "--listen", &first.address];
    let second = Process::start(&scratch, "second", &arguments, &[]).wait(PATIENCE);
    assert_eq!(second.status.code(), Some(1), "{}", second.log);
    assert!(second.log.contains(&first.address), "names the address:\n{}", second.log);
    assert!(first.stop().status.success());
}

/// Several producers write all the time, the broker is killed at a random moment, again and again. What was
/// acknowledged is there once, and a producer's records are in their order.
#[test]
#[expect(clippy::print_stderr, reason = "the figures are the point of a long run")]
fn what_was_acknowledged_survives_every_kill() {
    const PRODUCERS: u32 = 4;
    let kills = number("LOGMILL_KILLS").unwrap_or(KILLS);
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    let acknowledged: Mutex<Vec<BTreeSet<u64>>> = Mutex::new(vec![BTreeSet::new(); PRODUCERS as usize]);
    let mut sent = vec![0_u64; PRODUCERS as usize];
    for kill in 1..=kills {
        let broker = Process::serve(&scratch, &format!("broker-{kill}"), "data");
        let address = broker.address.clone();
        if kill == 1 {
            broker.run(&["topic", "create", "orders", "--partitions", &PRODUCERS.to_string()]);
        }
        let before: usize = acknowledged.lock().expect("no panic").iter().map(BTreeSet::len).sum();
        runtime.block_on(async {
            let client = Client::connect(&address).await.expect("a connection");
            let writers = sent.iter_mut().enumerate().map(|(index, sent)| {
                let client = client.clone();
                let acknowledged = &acknowledged;
                async move {
                    let producer = client.producer().build().await.expect("a producer");
                    loop {
                        // A few at a time, so that the kill finds some of them half way.
                        let mut waiting = Vec::new();
                        for _ in 0..8 {
                            let record =
                                ProducerRecord::to("orders").partition(index as i32).value(sent.to_string());
                            let Ok(ack) = producer.enqueue(record).await else { return };
                            waiting.push((*sent, ack));
                            *sent += 1;
                        }
                        for (number, ack) in waiting {
                            if ack.await.is_err() {
                                return;
                            }
                            acknowledged.lock().expect("no panic")[index].insert(number);
                        }
                    }
                }
            });
            let writing = all(writers);
            let dying = async {
                // Only a broker that has acknowledged something since its start is worth killing.
                while acknowledged.lock().expect("no panic").iter().map(BTreeSet::len).sum::<usize>()
                    <= before
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_secs_f64(0.4 * chance.fraction())).await;
                assert!(broker.process.kill().was_killed());
            };
            tokio::select! {
                () = writing => panic!("the producers ended before the broker was killed"),
                () = dying => {}
            }
        });
        let written: usize = acknowledged.lock().expect("no panic").iter().map(BTreeSet::len).sum();
        eprintln!("kill {kill}: {} acknowledged since the start", written - before);
    }
    let broker = Process::serve(&scratch, "last", "data");
    let acknowledged = acknowledged.into_inner().expect("no panic");
    for (partition, acknowledged) in acknowledged.iter().enumerate() {
        let partition = partition.to_string();
        let read = broker.run(&["consume", "orders", "--exit", "--partition", &partition]);
        let found: Vec<u64> = read.lines().map(|line| line.parse().expect("a number")).collect();
        assert!(found.is_sorted_by(|a, b| a < b), "partition {partition} has records twice or out of order");
        let found: BTreeSet<u64> = found.into_iter().collect();
        let lost: Vec<&u64> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "partition {partition} lost {lost:?}");
    }
    assert!(broker.stop().status.success());
}

/// A transaction that the kill finds open is never seen by who reads committed records, and does not block those behind.
#[test]
fn an_open_transaction_ends_with_its_producer() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    let broker = Process::serve(&scratch, "first", "data");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("orders")).await.expect("a topic");
        let mut producer = client.transactional("writer").build().await.expect("a producer");
        let mut transaction = producer.begin().await.expect("a transaction");
        drop(transaction.enqueue(ProducerRecord::to("orders").value("committed")).await.expect("room"));
        transaction.commit().await.expect("it commits");
        let mut transaction = producer.begin().await.expect("a transaction");
        let ack = transaction.enqueue(ProducerRecord::to("orders").value("never")).await.expect("room");
        ack.await.expect("it is written");
    });
    assert!(broker.process.kill().was_killed());
    let broker = Process::serve(&scratch, "second", "data");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        // The same writer, started again, takes over and ends what its earlier self left.
        let mut producer = client.transactional("writer").build().await.expect("a producer");
        let mut transaction = producer.begin().await.expect("a transaction");
        drop(transaction.enqueue(ProducerRecord::to("orders").value("after")).await.expect("room"));
        transaction.commit().await.expect("it commits");
        producer.close().await;
    });
    assert_eq!(broker.run(&["consume", "orders", "--exit"]), "committed\nafter\n");
    let all = broker.run(&["consume", "orders", "--exit", "--isolation", "uncommitted"]);
    assert_eq!(all, "committed\nnever\nafter\n");
    assert!(broker.stop().status.success());
}

/// Waits for all futures, side by side in one task.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Counts each key, for ever.
const COUNTS: &str = "CREATE TABLE a (k STRING) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
    WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k UNBOUNDED;";

/// A state ten times as large as its budget is on disk, in a store that is not flushed: every kill takes some of it, or
/// leaves it behind what is committed.
#[test]
fn a_pipeline_whose_state_is_on_disk_counts_on_after_kills() {
    const KEYS: u64 = 7_000;
    let scratch = Scratch::new();
    let mut chance = Chance::seeded();
    let kills = number("LOGMILL_KILLS").unwrap_or(KILLS);
    let settings = ["--set", "pipelines.memory=64 KiB", "--set", "pipelines.epoch_records=500"];
    let mut broker = Process::serve_with(&scratch, "0", "data", &settings, &[]);
    broker.run(&["topic", "create", "in"]);
    let script = scratch.write("counts.sql", COUNTS);
    broker.run(&["pipeline", "deploy", &script]);
    let each_key: String = (0..KEYS).map(|key| format!("{{\"k\":\"key-{key}\"}}\n")).collect();
    for kill in 1..=kills {
        broker.run_with_input(&["produce", "in"], &each_key);
        std::thread::sleep(Duration::from_millis(chance.below(1_500)));
        assert!(broker.process.kill().was_killed());
        broker = Process::serve_with(&scratch, &kill.to_string(), "data", &settings, &[]);
    }
    let began = Instant::now();
    let described = loop {
        let described = broker.json(&["pipeline", "describe", "counts"]);
        // While it starts, it shows what its last epoch was, and not yet what it holds.
        if described["state"] == "running" && described["records_in"].as_u64() == Some(kills * KEYS) {
            break described;
        }
        assert!(began.elapsed() < PATIENCE, "{described}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let bytes = |field: &str| described[field].as_u64().expect("bytes");
    assert!(bytes("state_bytes") > (10 * 64) << 10, "{described}");
    assert!(bytes("state_memory_bytes") < 64 << 10, "{described}");
    let mut counts = std::collections::BTreeMap::new();
    for line in broker.run(&["consume", "out", "--exit"]).lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        let count = row["n"].as_u64().expect("a count");
        let before = counts.insert(row["k"].to_string(), count).unwrap_or(0);
        assert!(before < count, "{row} behind {before}");
    }
    assert_eq!(counts.len() as u64, KEYS);
    assert!(counts.values().all(|count| *count == kills), "every record is counted once");
    assert!(broker.stop().status.success());
}
