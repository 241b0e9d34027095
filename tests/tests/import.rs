//! Partition directories that were written by one broker are taken in by another, and read through the client.

use std::path::Path;

use logmill_client::{Client, NewTopic, ProducerRecord};
use logmill_tests::process::{Ended, PATIENCE, Process, Scratch, run};
use tokio::runtime::Runtime;

fn import(scratch: &Scratch, directories: &[&str], flags: &[&str]) -> Ended {
    let data = scratch.path("to").display().to_string();
    let paths: Vec<String> =
        directories.iter().map(|name| scratch.path(name).display().to_string()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    run(&[&["storage", "import"], &paths[..], &["--data-dir", &data], flags].concat(), &[], "")
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// Two partitions with transactions of both ends; the second has an open one, and begins at offset 2. The directories are in
/// `from`, and copies of them in `copy`, without what lies around them.
fn written(scratch: &Scratch, runtime: &Runtime) {
    let broker = Process::serve(scratch, "from", "from");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("orders").partitions(2)).await.expect("a topic");
        let mut producer = client.transactional("writer").build().await.expect("a producer");
        for (text, commit) in [("one", true), ("never", false), ("two", true)] {
            let mut transaction = producer.begin().await.expect("a transaction");
            for partition in 0..2 {
                let record = ProducerRecord::to("orders").partition(partition).value(text);
                transaction.enqueue(record).await.expect("room").await.expect("it is written");
            }
            if commit {
                transaction.commit().await.expect("it commits");
            } else {
                transaction.abort().await.expect("it aborts");
            }
        }
        let mut transaction = producer.begin().await.expect("a transaction");
        let record = ProducerRecord::to("orders").partition(1).value("open");
        transaction.enqueue(record).await.expect("room").await.expect("it is written");
    });
    broker.run(&["topic", "trim", "orders", "--partition", "1", "--before", "2", "--yes"]);
    assert!(broker.stop().status.success());
    for name in ["orders-0", "orders-1"] {
        copied(&scratch.path("from").join(name), &scratch.path("copy").join(name));
    }
}

#[test]
fn what_was_written_elsewhere_is_read_here() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    written(&scratch, &runtime);

    // Behind an open transaction nobody who reads committed records would come any further.
    let refused = import(&scratch, &["from/orders-0", "from/orders-1"], &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.out);
    assert!(refused.log.contains("orders-1 has 1 open transactions"), "{}", refused.log);
    let abort = ["--abort-open-transactions", "--output", "json"];
    let done = import(&scratch, &["from/orders-0", "from/orders-1"], &abort);
    assert!(done.status.success(), "{}", done.log);
    let shown: serde_json::Value = serde_json::from_str(&done.out).expect("JSON");
    let partitions = &shown["topics"][0]["partitions"];
    assert_eq!((&partitions[0]["start_offset"], &partitions[0]["end_offset"]), (&0.into(), &6.into()));
    assert_eq!((&partitions[1]["start_offset"], &partitions[1]["end_offset"]), (&2.into(), &8.into()));
    assert_eq!(partitions[1]["aborted_transactions"], 1);

    let broker = Process::serve(&scratch, "to", "to");
    let read = |partition: &str, isolation: &str| {
        broker.run(&["consume", "orders", "--exit", "--partition", partition, "--isolation", isolation])
    };
    assert_eq!(read("0", "committed"), "one\ntwo\n");
    assert_eq!(read("0", "uncommitted"), "one\nnever\ntwo\n");
    assert_eq!(read("1", "committed"), "two\n");
    assert_eq!(read("1", "uncommitted"), "never\ntwo\nopen\n");
    let described = broker.run(&["topic", "describe", "orders", "--output", "json"]);
    assert!(described.contains("\"retention.ms\""), "kept for ever: {described}");
    // A new producer gets no id that one of the imported ones has: its first sequence would be refused.
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        let producer = client.producer().build().await.expect("a producer");
        let record = ProducerRecord::to("orders").partition(0).value("after");
        producer.enqueue(record).await.expect("room").await.expect("it is written");
    });
    assert_eq!(read("0", "committed"), "one\ntwo\nafter\n");

    // A broker that runs is not disturbed, and one that has records keeps them.
    let running = import(&scratch, &["from/orders-0"], &abort);
    assert!(running.log.contains("in use by another process"), "{}", running.log);
    assert!(broker.stop().status.success());
    let again = import(&scratch, &["from/orders-0"], &abort);
    assert!(again.log.contains("orders-0 exists and is not empty"), "{}", again.log);
    let broker = Process::serve(&scratch, "again", "to");
    assert_eq!(broker.run(&["consume", "orders", "--exit", "--partition", "0"]), "one\ntwo\nafter\n");
    assert!(broker.stop().status.success());
}

/// Producers of two brokers can have the same id, and a partition that believed them to be one would take new records for
/// repeated ones.
#[test]
fn a_producer_of_another_broker_is_not_mixed_up_with_one_here() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    written(&scratch, &runtime);
    let broker = Process::serve(&scratch, "to", "to");
    runtime.block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("own")).await.expect("a topic");
        let producer = client.producer().build().await.expect("a producer");
        producer.enqueue(ProducerRecord::to("own").value("x")).await.expect("room").await.expect("written");
    });
    assert!(broker.stop().status.success());
    let refused = import(&scratch, &["copy/orders-0"], &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.out);
    assert!(refused.log.contains("partition orders-0 has records of producer 0"), "{}", refused.log);
    let broker = Process::serve(&scratch, "again", "to");
    assert!(!broker.run(&["topic", "list"]).contains("orders"), "nothing was taken in");
    assert_eq!(broker.run(&["consume", "own", "--exit"]), "x\n");
    assert!(broker.stop().status.success());
}

#[test]
fn partitions_come_one_by_one_in_any_order_and_into_empty_ones() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    written(&scratch, &runtime);
    let abort = ["--abort-open-transactions"];
    assert!(import(&scratch, &["copy/orders-1"], &abort).status.success());
    let broker = Process::serve(&scratch, "half", "to");
    // Without the data directory around it nobody knows that the first records were deleted.
    let read = |broker: &logmill_tests::process::Broker, partition: &str| {
        broker.run(&["consume", "orders", "--exit", "--partition", partition])
    };
    assert_eq!((read(&broker, "0"), read(&broker, "1")), (String::new(), "one\ntwo\n".to_owned()));
    assert!(broker.stop().status.success());

    // A directory that is damaged changes nothing, not even the empty partition that it would replace.
    let segment = scratch.path("copy/orders-0/00000000000000000000.log");
    let sound = std::fs::read(&segment).expect("a segment");
    let mut rotten = sound.clone();
    rotten[100] ^= 1;
    std::fs::write(&segment, rotten).expect("a segment");
    let refused = import(&scratch, &["copy/orders-0"], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.log.contains("orders-0 is damaged in 1 places"), "{}", refused.log);
    std::fs::write(&segment, sound).expect("a segment");
    let done = import(&scratch, &["copy/orders-0"], &[]);
    assert!(done.status.success(), "{}", done.log);
    assert!(done.out.contains("was there"), "{}", done.out);
    let broker = Process::serve(&scratch, "whole", "to");
    assert_eq!((read(&broker, "0"), read(&broker, "1")), ("one\ntwo\n".to_owned(), "one\ntwo\n".to_owned()));
    assert!(broker.stop().status.success());

    for (directory, flags, what) in [
        ("copy", &[][..], "no partition directory"),
        ("to/orders-0", &[], "lies in the data directory itself"),
        ("copy/orders-0", &["--topic-config", "retention.ms=1"], "topic orders exists"),
    ] {
        let refused = import(&scratch, &[directory], flags);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.out);
        assert!(refused.log.contains(what), "{}", refused.log);
    }
    copied(&scratch.path("copy/orders-0"), &scratch.path("copy/__consumer_offsets-0"));
    let refused = import(&scratch, &["copy/__consumer_offsets-0"], &[]);
    assert!(refused.log.contains("one of the broker's own topics"), "{}", refused.log);
}

/// Killed at any moment, an import has happened or not; asked for again, it happens.
#[test]
fn a_kill_leaves_a_data_directory_that_opens() {
    let scratch = Scratch::new();
    let runtime = Runtime::new().expect("threads");
    written(&scratch, &runtime);
    let mut chance = logmill_tests::process::Chance::seeded();
    assert!(Process::serve(&scratch, "empty", "to").stop().status.success());
    let (data, source) = (scratch.path("to"), scratch.path("copy/orders-1"));
    let (data, source) = (data.display().to_string(), source.display().to_string());
    let mut taken = false;
    for round in 0..6 {
        let arguments = ["storage", "import", &source, "--data-dir", &data, "--abort-open-transactions"];
        let mut import = Process::start(&scratch, &format!("import-{round}"), &arguments, &[]);
        std::thread::sleep(std::time::Duration::from_secs_f64(0.15 * chance.fraction()));
        let was_alive = import.is_alive();
        let ended = if was_alive { import.kill() } else { import.wait(PATIENCE) };
        let broker = Process::serve(&scratch, &format!("broker-{round}"), "to");
        let listed = broker.run(&["topic", "list"]);
        let there = listed.contains("orders");
        assert!(there || !taken, "what was taken stays");
        assert!(there || !ended.status.success(), "it said that it was done: {}", ended.out);
        taken = there;
        if there {
            assert_eq!(broker.run(&["consume", "orders", "--exit", "--partition", "1"]), "one\ntwo\n");
        }
        assert!(broker.stop().status.success());
        let left = std::fs::read_dir(scratch.path("to")).expect("a folder").flatten();
        let left: Vec<_> =
            left.filter(|entry| entry.file_name().to_string_lossy().contains("-import")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    if !taken {
        assert!(import(&scratch, &["copy/orders-1"], &["--abort-open-transactions"]).status.success());
    }
}
