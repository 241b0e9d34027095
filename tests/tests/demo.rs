//! The demo, as a user runs it: flights in, the exactly-once hourly report out, whenever it is killed.
//!
//! By default with the shipped month and few kills. For the whole year, in a release build:
//!
//! ```sh
//! LOGMILL_FLIGHTS=flights.csv.gz LOGMILL_EXPECTED=carrier_hourly.csv LOGMILL_KILLS=20 \
//!     cargo test --release -p logmill-tests --test demo -- --nocapture
//! ```
//!
//! `LOGMILL_SEED` repeats the moments of an earlier run.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use logmill_tests::process::{Broker, Chance, Ended, PATIENCE, Process, Scratch, number};
use logmill_tests::source;
use serde_json::Value;

/// Kills unless `LOGMILL_KILLS` says otherwise.
const KILLS: u64 = 4;
/// What says that the port is open and the work begins.
const WORKING: &str = "listening on ";

/// What goes in, and what must come out.
struct Case {
    flights: PathBuf,
    /// Rows of the input.
    rows: usize,
    /// The header and the rows of the report, ordered by hour and carrier.
    header: String,
    expected: Vec<String>,
}

impl Case {
    fn from_environment() -> Case {
        let given = |variable: &str, shipped: &str| {
            std::env::var_os(variable).map_or_else(|| source::root().join(shipped), PathBuf::from)
        };
        let flights = given("LOGMILL_FLIGHTS", "config/demo/flights-2013-01.csv.gz");
        let expected = given("LOGMILL_EXPECTED", "config/demo/expected-2013-01.csv");
        let packed = std::fs::File::open(&flights).expect("the flights");
        let unpacked: Box<dyn Read> = match flights.extension().is_some_and(|ending| ending == "gz") {
            true => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            false => Box::new(packed),
        };
        let rows = BufReader::new(unpacked).lines().map(|line| line.expect("text")).skip(1).count();
        let text = std::fs::read_to_string(expected).expect("the expected report");
        let mut lines = text.lines().map(str::to_owned);
        let header = lines.next().expect("a header");
        Case { flights, rows, header, expected: lines.collect() }
    }

    /// Starts the demo on a data directory; it ends by itself when everything is done.
    fn start(&self, scratch: &Scratch, name: &str, data: &str) -> Process {
        let data = scratch.path(data).display().to_string();
        let flights = self.flights.display().to_string();
        let arguments =
            ["demo", "--exit", "--listen", "127.0.0.1:0", "--data-dir", &data, "--input", &flights];
        Process::start(scratch, name, &arguments, &[])
    }

    /// Runs the demo to its end.
    fn finish(&self, scratch: &Scratch, name: &str, data: &str) -> Ended {
        let ended = self.start(scratch, name, data).wait(10 * PATIENCE);
        assert!(ended.status.success(), "the demo failed:\n{}", ended.log);
        ended
    }

    /// Reads what a data directory holds, through a broker of its own, and compares it.
    fn check(&self, scratch: &Scratch, name: &str, data: &str) {
        let broker = Process::serve(scratch, name, data);
        for isolation in ["committed", "uncommitted"] {
            let report = self.report(&broker, isolation);
            assert_same(&report, &self.expected, isolation);
        }
        let flights = broker.run(&["consume", "flights", "--exit", "--format", "%o\\n"]);
        assert_eq!(flights.lines().count(), self.rows, "flights in the topic");
        assert!(broker.stop().status.success());
    }

    /// The report as lines of CSV, in their order. A row that is there twice is there twice.
    fn report(&self, broker: &Broker, isolation: &str) -> Vec<String> {
        let rows = broker.run(&["consume", "carrier-hourly", "--exit", "--isolation", isolation]);
        let line = |row: &str| -> String {
            let row: Value = serde_json::from_str(row).unwrap_or_else(|error| panic!("{row}: {error}"));
            let cells = self.header.split(',').map(|column| match &row[column] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                number => number.to_string(),
            });
            cells.collect::<Vec<_>>().join(",")
        };
        let mut lines: Vec<String> = rows.lines().map(line).collect();
        // No two rows have the same hour and carrier, so this is the order of the expected file.
        lines.sort();
        lines
    }
}

/// Names the first difference; two whole reports are too long to read.
fn assert_same(report: &[String], expected: &[String], what: &str) {
    let different = report.iter().zip(expected).position(|(a, b)| a != b);
    if report.len() != expected.len() || different.is_some() {
        let at = different.unwrap_or(report.len().min(expected.len()));
        panic!(
            "{what}: {} rows, expected {}; the first difference is row {at}: {:?}, expected {:?}",
            report.len(),
            expected.len(),
            report.get(at),
            expected.get(at)
        );
    }
}

/// Flights that were committed when a run began, as it says itself.
fn committed_before(log: &str) -> Option<usize> {
    let line = log.lines().find(|line| line.starts_with("loader "))?;
    line.split_whitespace().find_map(|word| word.parse().ok())
}

#[test]
fn the_report_is_right_and_a_second_run_adds_nothing() {
    let case = Case::from_environment();
    let scratch = Scratch::new();
    let first = case.finish(&scratch, "first", "data");
    assert!(first.log.contains(&format!("done     {} flights in", case.rows)), "{}", first.log);
    assert!(!first.log.contains("nothing was added"), "{}", first.log);
    assert!(first.out.contains("CARRIER"), "no table of carriers:\n{}", first.out);
    case.check(&scratch, "serve-1", "data");
    let second = case.finish(&scratch, "second", "data");
    assert!(second.log.contains("nothing was added"), "{}", second.log);
    assert_eq!(second.out, first.out, "the same table");
    case.check(&scratch, "serve-2", "data");
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are the point of a long run")]
fn killed_at_any_moment_it_loses_nothing_and_adds_nothing_twice() {
    let case = Case::from_environment();
    let kills = number("LOGMILL_KILLS").unwrap_or(KILLS);
    let mut chance = Chance::seeded();
    let scratch = Scratch::new();
    // How long it works when nobody kills it, and how long it takes to begin.
    let mut process = case.start(&scratch, "undisturbed", "undisturbed");
    process.wait_for_line(WORKING);
    let beginning = process.age();
    let began = std::time::Instant::now();
    assert!(process.wait(10 * PATIENCE).status.success());
    let work = began.elapsed();
    eprintln!("undisturbed: {beginning:.2?} to begin, {work:.2?} of work; {kills} kills");
    let (mut landed, mut amid, mut directory, mut attempts) = (0, 0, 0, 0);
    while landed < kills {
        directory += 1;
        let data = format!("data-{directory}");
        // On the average the kills of one directory are spread over its work; those that are left over when it is
        // done sooner hit the next directory.
        let mut slice = work.as_secs_f64() * 3.0 / (kills - landed + 1) as f64;
        let mut before = 0;
        loop {
            attempts += 1;
            assert!(attempts < 10 * (kills + 1), "the demo ends before it can be killed");
            let name = format!("{data}-run-{attempts}");
            let mut process = case.start(&scratch, &name, &data);
            // Every fourth is killed while it starts: in the middle of its recovery.
            let starting = landed % 4 == 3;
            let delay = match starting {
                true => beginning.as_secs_f64() * chance.fraction(),
                false => {
                    process.wait_for_line(WORKING);
                    slice * chance.fraction()
                }
            };
            std::thread::sleep(Duration::from_secs_f64(delay));
            let ended = process.kill();
            if let Some(committed) = committed_before(&ended.log) {
                assert!(committed >= before, "{committed} flights after there were {before}");
                before = committed;
                amid += u64::from((1..case.rows).contains(&committed));
            }
            if !ended.was_killed() {
                // It was done before; the same directory is checked below, and is no use for another kill.
                assert!(ended.status.success(), "the demo failed:\n{}", ended.log);
                break;
            }
            landed += 1;
            let when = if starting { "while starting" } else { "while working" };
            eprintln!(
                "kill {landed}: directory {directory}, {when}, after {delay:.3} s; began with {before}"
            );
            if landed == kills {
                break;
            }
            slice = slice.max(work.as_secs_f64() / 50.0);
        }
        let last = case.finish(&scratch, &format!("{data}-last"), &data);
        let resumed = committed_before(&last.log).unwrap_or(0);
        amid += u64::from((1..case.rows).contains(&resumed));
        eprintln!("directory {directory}: the last run began with {resumed} flights");
        case.check(&scratch, &format!("{data}-serve"), &data);
    }
    assert!(kills < 10 || amid > 0, "no kill left anything half done");
}
