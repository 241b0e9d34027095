//! One bit flips in a file of each kind while the broker is down: what is derived is made again, what is lost is named, and
//! nothing wrong is ever read. `cargo test -p logmill-tests --test bit_flips -- --nocapture` tells what the broker answers.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use logmill_client::{Client, NewTopic, ProducerRecord};
use logmill_tests::process::{self, Broker, PATIENCE, Process, Scratch};
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
    let answer = match started(scratch, &format!("broker-{nth}"), &data) {
        Err(log) => Answer::Refused(log),
        Ok(broker) => {
            let arguments = ["consume", "orders", "--exit", "--bootstrap", &broker.address];
            let reader = Process::start(scratch, &format!("reader-{nth}"), &arguments, &[]);
            let read = reader.wait(PATIENCE);
            assert!(is_part(&read.out, whole), "a wrong record was read");
            if read.status.success() {
                assert_eq!(read.out.len(), whole.len(), "records are missing, and nobody says so");
                Answer::Same
            } else {
                assert!(read.log.contains("CORRUPT_MESSAGE"), "{}", read.log);
                assert_eq!(read_slowly(&broker), (false, read.out), "who prints slowly sees the same");
                // What lies behind the segment is read.
                let behind = broker.run(&["consume", "orders", "--exit", "--offset", "-8"]);
                assert!(!behind.is_empty() && whole.ends_with(&behind), "{} bytes", behind.len());
                Answer::ReadFails
            }
        }
    };
    std::fs::remove_dir_all(&data).expect("a folder");
    answer
}

/// A broker on this directory when it serves, or else what it said when it refused to.
fn started(scratch: &Scratch, name: &str, data: &Path) -> Result<Broker, String> {
    let arguments = ["serve", "--data-dir", &data.display().to_string(), "--listen", "127.0.0.1:0"];
    let mut process = Process::start(scratch, name, &arguments, &[]);
    loop {
        let alive = process.is_alive();
        let log = process.log();
        let serving = log.lines().find(|line| line.contains(" serving address=") && log.ends_with('\n'));
        if let Some(address) = serving.and_then(|line| line.split("address=").nth(1)) {
            let address = address.split_whitespace().next().expect("an address").to_owned();
            let up_after = process.age();
            return Ok(Broker { process, address, up_after });
        }
        if !alive {
            return Err(process.wait(PATIENCE).log);
        }
        assert!(process.age() < PATIENCE, "neither serves nor ends:\n{log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads everything for an output that is not taken for a while: by then the damage is known, and not told yet. Gives
/// whether the reader ended well, and what it printed.
fn read_slowly(broker: &Broker) -> (bool, String) {
    let mut reader = Command::new(process::binary())
        .args(["consume", "orders", "--exit", "--bootstrap", &broker.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    std::thread::sleep(Duration::from_secs(1));
    let mut out = String::new();
    reader.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
    (reader.wait().expect("a child").success(), out)
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

/// A byte of each field of a batch that something covers, and one of its records: for numbers that are held against other
/// batches, a low and a high byte.
const FIELDS: [(&str, usize); 15] = [
    ("base offset, low", 7),
    ("base offset, high", 2),
    ("length, low", 11),
    ("length, high", 8),
    ("magic", 16),
    ("crc", 19),
    ("attributes", 22),
    ("last offset delta", 26),
    ("base timestamp", 33),
    ("max timestamp", 41),
    ("producer id", 50),
    ("producer epoch", 52),
    ("base sequence", 56),
    ("count", 60),
    ("records", 64),
];
/// Batches that are damaged, by number: data and markers take turns. One of each in the middle, the first and the last.
const DAMAGED: [usize; 4] = [0, 4, 7, 11];
/// Transactions of each partition, and the one that is aborted.
const ROUNDS: usize = 6;
const ABORTED: usize = 1;

/// A topic with one partition for each flip, all with the same transactions, stopped well.
fn written_for_each_flip(scratch: &Scratch) {
    let broker = Process::serve(scratch, "written", "data");
    let partitions = u32::try_from(FIELDS.len() * DAMAGED.len()).expect("few");
    Runtime::new().expect("threads").block_on(async {
        let client = Client::connect(&broker.address).await.expect("a connection");
        client.admin().create_topic(&NewTopic::new("orders").partitions(partitions)).await.expect("a topic");
        let mut producer = client.transactional("writer").build().await.expect("a producer");
        for round in 0..ROUNDS {
            let mut transaction = producer.begin().await.expect("a transaction");
            let mut written = Vec::new();
            for partition in 0..partitions.cast_signed() {
                let record =
                    ProducerRecord::to("orders").partition(partition).value(format!("value {round}"));
                written.push(transaction.enqueue(record).await.expect("room"));
            }
            for written in written {
                written.await.expect("it is written");
            }
            if round == ABORTED {
                transaction.abort().await.expect("it aborts");
            } else {
                transaction.commit().await.expect("it commits");
            }
        }
    });
    assert!(broker.stop().status.success());
}

/// What a reader of committed records prints of batches.
fn printed(batches: std::ops::Range<usize>) -> String {
    let rounds = (0..ROUNDS).filter(|round| *round != ABORTED && batches.contains(&(2 * round)));
    rounds.map(|round| format!("value {round}\n")).collect()
}

/// Where the batch of that number begins in a segment.
fn position_of(segment: &[u8], batch: usize) -> usize {
    (0..batch).fold(0, |at, _| {
        let length = segment[at + 8..at + 12].try_into().expect("four bytes");
        at + 12 + u32::from_be_bytes(length) as usize
    })
}

#[test]
fn no_field_of_a_batch_hides_records() {
    let scratch = Scratch::new();
    written_for_each_flip(&scratch);
    let flips: Vec<_> =
        DAMAGED.iter().flat_map(|batch| FIELDS.map(|(name, at)| (*batch, name, at))).collect();
    for (partition, (batch, _, at)) in flips.iter().enumerate() {
        let path = scratch.path(&format!("data/orders-{partition}/00000000000000000000.log"));
        let mut segment = std::fs::read(&path).expect("a segment");
        let at = position_of(&segment, *batch) + at;
        segment[at] ^= 0x04;
        std::fs::write(&path, segment).expect("a segment");
    }
    // What a start finds and a kill leaves behind is found by the next one.
    for start in ["first", "second"] {
        let broker = Process::serve(&scratch, start, "data");
        let log = broker.process.log();
        for (partition, (batch, name, _)) in flips.iter().enumerate() {
            let what = format!("{start} start, {name} of batch {batch}, orders-{partition}");
            let read = |offset: usize| {
                let (partition, offset) = (partition.to_string(), offset.to_string());
                let consume = ["consume", "orders", "--partition", &partition, "--offset", &offset, "--exit"];
                broker.try_run(&consume, "")
            };
            let before = read(0);
            assert!(!before.status.success(), "{what}: nobody says so\n{}", before.out);
            // What a start meets, it says.
            let met = *name == "magic";
            assert!(!met || log.contains(&format!("orders-{partition}/")), "{what}: {log}");
            assert!(before.log.contains("CORRUPT_MESSAGE"), "{what}: {}", before.log);
            assert_eq!(before.out, printed(0..*batch), "{what}");
            let behind = read(batch + 1);
            assert!(behind.status.success(), "{what}: {}", behind.log);
            assert_eq!(behind.out, printed(batch + 1..2 * ROUNDS), "{what}");
        }
    }
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
