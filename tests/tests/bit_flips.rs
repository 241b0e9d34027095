//! One bit flips in a file of each kind while the broker is down: what is derived is made again, what is lost is named, and
//! nothing wrong is ever read. `cargo test -p logmill-tests --test bit_flips -- --nocapture` tells what the broker answers.

use std::path::{Path, PathBuf};

use logmill_client::{Client, NewTopic, ProducerRecord};
use logmill_tests::process::{PATIENCE, Process, Scratch};
use tokio::runtime::Runtime;

/// Transactions that are written; every third is aborted.
const TRANSACTIONS: usize = 24;

/// A topic of several segments, with transactions of both ends; stopped well, or killed so that the journal is needed.
fn written(scratch: &Scratch, clean: bool) -> String {
    let broker = Process::serve(scratch, "written", "data");
    Runtime::new().expect("threads").block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        let topic = NewTopic::new("orders").partitions(1).config("segment.bytes", "1048576");
        client.admin().create_topic(&topic).await.expect("a topic");
        let mut producer = client.transactional("writer").build().await.expect("a producer");
        for number in 0..TRANSACTIONS {
            let mut transaction = producer.begin().await.expect("a transaction");
            // Not to be compressed away: segments have to fill.
            let value = format!("{number}-{}", "x".repeat(120_000));
            let record = ProducerRecord::to("orders").partition(0).value(value);
            transaction.enqueue(record).await.expect("room").await.expect("it is written");
            if number % 3 == 0 {
                transaction.abort().await.expect("it aborts");
            } else {
                transaction.commit().await.expect("it commits");
            }
        }
    });
    let read = broker.run(&["consume", "orders", "--exit"]);
    assert_eq!(read.lines().count(), TRANSACTIONS - TRANSACTIONS / 3);
    if clean {
        assert!(broker.stop().status.success())
    } else {
        assert!(broker.process.kill().was_killed())
    }
    read
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// The first file with such a name that is long enough to have a bit flipped.
fn file(folder: &Path, ends: &str) -> PathBuf {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()).collect();
    found.sort();
    let fits = |path: &&PathBuf| {
        path.to_string_lossy().ends_with(ends) && path.metadata().is_ok_and(|file| file.len() >= 8)
    };
    found.iter().find(fits).unwrap_or_else(|| panic!("no {ends} in {found:?}")).clone()
}

/// What became of the broker and of a read after a bit of the file had flipped.
#[derive(Debug, PartialEq)]
enum Answer {
    /// All is as it was.
    Same,
    /// A read gets no further than the damage; what it gave before is right, and so is what lies behind.
    ReadFails,
    /// The broker does not start, and says this.
    Refused(String),
}

fn flipped(
    scratch: &Scratch,
    nth: usize,
    of: impl Fn(&Path) -> PathBuf,
    position: u64,
    whole: &str,
) -> Answer {
    let name = format!("flipped-{nth}");
    let data = scratch.path(&name);
    copied(&scratch.path("data"), &data);
    let path = of(&data);
    let mut bytes = std::fs::read(&path).expect("a file");
    let at = if position == 0 { bytes.len() / 2 } else { usize::try_from(position).expect("a position") };
    bytes[at] ^= 0x10;
    std::fs::write(&path, bytes).expect("a file");
    let arguments = ["serve", "--data-dir", &data.display().to_string(), "--listen", "127.0.0.1:0"];
    let mut process = Process::start(scratch, &format!("broker-{nth}"), &arguments, &[]);
    let answer = loop {
        let log = process.log();
        if log.contains(" serving address=") {
            drop(process);
            let broker = Process::serve(scratch, &format!("again-{nth}"), &name);
            let arguments = ["consume", "orders", "--exit", "--bootstrap", &broker.address];
            let reader = Process::start(scratch, &format!("reader-{nth}"), &arguments, &[]);
            let read = reader.wait(PATIENCE);
            assert!(is_part(&read.out, whole), "a wrong record was read");
            break if read.status.success() {
                assert_eq!(read.out.len(), whole.len(), "records are missing, and nobody says so");
                Answer::Same
            } else {
                assert!(read.log.contains("CORRUPT_MESSAGE"), "{}", read.log);
                // What lies behind the segment is read.
                let behind = broker.run(&["consume", "orders", "--exit", "--offset", "-8"]);
                assert!(!behind.is_empty() && whole.ends_with(&behind), "{} bytes", behind.len());
                Answer::ReadFails
            };
        }
        if !process.is_alive() {
            break Answer::Refused(process.wait(PATIENCE).log);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    std::fs::remove_dir_all(&data).expect("a folder");
    answer
}

/// Every line of it is one of the whole, in order.
fn is_part(read: &str, whole: &str) -> bool {
    let mut rest = whole.lines();
    read.lines().all(|line| rest.any(|other| other == line))
}

#[test]
#[expect(clippy::print_stderr, reason = "the table is the point of a run by hand")]
fn a_flipped_bit_in_any_file_is_mended_or_named() {
    let scratch = Scratch::new();
    let whole = written(&scratch, true);
    let partition = |ends: &'static str| move |data: &Path| file(&data.join("orders-0"), ends);
    let derived =
        [".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint", "segment-manifest"];
    for (nth, ends) in derived.into_iter().enumerate() {
        let answer = flipped(&scratch, nth, partition(ends), 0, &whole);
        eprintln!("{ends}: {}", shown(&answer));
        assert_eq!(answer, Answer::Same, "{ends}");
    }
    // Half of its bits are the id of another topic, whose partition is not to be mixed up with this one.
    let answer = flipped(&scratch, 19, partition("partition.metadata"), 0, &whole);
    eprintln!("partition.metadata: {}", shown(&answer));
    assert!(answer == Answer::Same || names(&answer, "orders-0"), "{answer:?}");
    let answer = flipped(&scratch, 20, partition(".log"), 0, &whole);
    eprintln!(".log: {}", shown(&answer));
    assert_eq!(answer, Answer::ReadFails);
    let answer = flipped(&scratch, 21, |data| data.join("logmill.checkpoint"), 0, &whole);
    eprintln!("logmill.checkpoint: {}", shown(&answer));
    assert!(matches!(&answer, Answer::Same) || names(&answer, "logmill.checkpoint"), "{answer:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "the table is the point of a run by hand")]
fn a_flipped_bit_in_the_journal_is_not_taken_for_its_end() {
    let scratch = Scratch::new();
    let whole = written(&scratch, false);
    // Behind the header of the file and of its first frames, far before the end of what was acknowledged.
    let answer = flipped(&scratch, 0, |data| file(&data.join("journal"), ".journal"), 200_000, &whole);
    eprintln!("journal: {}", shown(&answer));
    assert!(answer == Answer::Same || names(&answer, ".journal"), "{answer:?}");
}

/// The broker refused to start, and named the file.
fn names(answer: &Answer, file: &str) -> bool {
    matches!(answer, Answer::Refused(log) if log.contains(file))
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Same => "starts, and everything is read".to_owned(),
        Answer::ReadFails => "starts; a read stops at the place, and goes on behind it".to_owned(),
        Answer::Refused(log) => {
            format!(
                "does not start: {}",
                log.lines().rev().find(|line| line.contains("error")).unwrap_or("?")
            )
        }
    }
}
