//! The tests.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use logmill_storage::disk::sim::Random;
use parking_lot::Mutex;

use crate::coverage::{Coverage, During};
use crate::run::{Calls, Case, run};
use crate::trace::{Trace, Violation};

/// Seeds tried by `cargo test`.
const SEEDS: u64 = 3000;
/// Crash points of each of them.
const CRASHES_PER_SEED: u64 = 4;
/// Small scenarios, each crashed at every call.
const SMALL_SEEDS: u64 = 35;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, should be a number")))
}

/// Runs a case; a panic of the store is a violation, too.
fn attempt(case: &Case, coverage: &mut Coverage, trace: &mut Trace) -> Result<Calls, Violation> {
    catch_unwind(AssertUnwindSafe(|| run(case, coverage, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Violation(format!("panic: {}", text.unwrap_or("no message"))))
    })
}

/// The report of a failed case: what, how to run it again, and how it came to it.
fn report(case: &Case, violation: &Violation) -> String {
    let mut trace = Trace::kept();
    let again = attempt(case, &mut Coverage::default(), &mut trace);
    let Case { seed, small, crash, .. } = *case;
    let crash = crash.unwrap_or(0);
    let kind = if small { "small" } else { "large" };
    let differs = match again {
        Err(again) if again == *violation => String::new(),
        again => format!("\n(and then, from the same seed: {again:?})"),
    };
    format!(
        "{violation}{differs}\n\n{}\n\nseed {seed}, {kind}, crash at call {crash}; to repeat:\n  LOGMILL_SIM_CASE={seed}:{kind}:{crash} \
         cargo test -p logmill-storage --test simulation loses_nothing\n",
        trace.end()
    )
}

/// The crash points of a seed, given the calls of its first life: all, or some, chosen first by what is being done so
/// that rare things are not missed.
fn crash_points(seed: u64, small: bool, calls: &Calls) -> Vec<u64> {
    if small {
        return (1..=calls.last().map_or(0, |(_, last)| *last)).collect();
    }
    let mut by_kind: BTreeMap<During, Vec<u64>> = BTreeMap::new();
    let mut first = 1;
    for &(during, last) in calls {
        by_kind.entry(during).or_default().extend(first..=last);
        first = last + 1;
    }
    let kinds: Vec<_> = by_kind.into_values().collect();
    let mut random = Random::new(seed ^ 0x5eed);
    let mut pick = |count: usize| random.below(count as u64) as usize;
    let points = (0..CRASHES_PER_SEED).map(|_| {
        let points = &kinds[pick(kinds.len())];
        points[pick(points.len())]
    });
    points.collect()
}

/// Runs all cases of the seeds on all processors. The first violation ends it.
fn run_seeds(first: u64, seeds: u64, small: bool) -> Coverage {
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Coverage::default());
    let failure: Mutex<Option<(Case, Violation)>> = Mutex::new(None);
    let work = || {
        let mut coverage = Coverage::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                break;
            }
            if let Err((case, violation)) = run_seed(seed, small, &mut coverage) {
                stop.store(true, Ordering::Relaxed);
                failure.lock().get_or_insert((case, violation));
            }
        }
        total.lock().add(&coverage);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some((case, violation)) = failure.into_inner() {
        panic!("{}", report(&case, &violation));
    }
    total.into_inner()
}

fn run_seed(seed: u64, small: bool, coverage: &mut Coverage) -> Result<(), (Case, Violation)> {
    let whole = Case { seed, small, crash: None, lie: false };
    let calls = attempt(&whole, coverage, &mut Trace::silent()).map_err(|violation| (whole, violation))?;
    for call in crash_points(seed, small, &calls) {
        let case = Case { crash: Some(call), ..whole };
        attempt(&case, coverage, &mut Trace::silent()).map_err(|violation| (case, violation))?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "figures of a run, shown with --nocapture")]
fn show(what: &str, coverage: &Coverage, since: Instant) {
    println!("{what}: {:.1} s, {coverage:?}", since.elapsed().as_secs_f64());
}

/// A run that did not meet what it is for proves nothing.
fn assert_covered(coverage: &Coverage) {
    for during in [
        During::Open,
        During::Create,
        During::Delete,
        During::Journal,
        During::Apply,
        During::Checkpoint,
        During::Clean,
        During::Compact,
        During::Close,
    ] {
        let crashes = coverage.crashes.get(&during).copied().unwrap_or(0);
        assert!(crashes > 0, "no crash during {during:?}: {coverage:?}");
    }
    for during in [During::Open, During::Journal, During::Apply, During::Checkpoint, During::Close] {
        let failed = coverage.failed.get(&during).copied().unwrap_or(0);
        assert!(failed > 0, "no failure of the device during {during:?}: {coverage:?}");
    }
    let counts = [
        ("ends of the process alone", coverage.process_ends),
        ("partitions trimmed by retention", coverage.retained),
        ("records compacted away", coverage.compacted_records),
        ("rotten batches", coverage.rotten_batches),
        ("rotten derived files", coverage.rotten_files),
        ("reads answered with damage", coverage.corrupt_reads),
        ("torn ends", coverage.torn),
        ("lost frames", coverage.lost_frames),
        ("acknowledged plain produce lost in page-cache mode", coverage.lost_from_page_cache),
        ("duplicates", coverage.duplicates),
        ("refusals", coverage.refusals),
        ("rolled segments", coverage.rolled),
        ("recycled journal files", coverage.recycled),
        ("checkpoints", coverage.checkpoints),
        ("removed segments", coverage.trimmed_bytes),
        ("full disks", coverage.fills),
        ("rounds and checkpoints on a full disk", coverage.full),
        ("commits refused on a full disk", coverage.refused_full),
        ("replayed frames", coverage.replayed_frames),
        ("replayed batches that were there", coverage.replayed_present),
        ("replayed batches that were missing", coverage.replayed_written),
    ];
    for (what, count) in counts {
        assert!(count > 0, "no {what}: {coverage:?}");
    }
}

#[test]
fn a_crash_at_any_disk_call_loses_nothing_acknowledged_and_tears_nothing() {
    if let Some(case) = case_from_environment() {
        if let Err(violation) = attempt(&case, &mut Coverage::default(), &mut Trace::silent()) {
            panic!("{}", report(&case, &violation));
        }
        return;
    }
    if let Some(seeds) = from_environment("LOGMILL_SIM_SURVEY") {
        return survey(seeds);
    }
    let since = Instant::now();
    let first = from_environment("LOGMILL_SIM_FIRST").unwrap_or(0);
    let seeds = from_environment("LOGMILL_SIM_SEEDS").unwrap_or(SEEDS);
    let coverage = run_seeds(first, seeds, false);
    show("random crash points", &coverage, since);
    if seeds >= SEEDS {
        assert_covered(&coverage);
    }
}

#[test]
fn a_crash_at_every_disk_call_of_small_scenarios() {
    let since = Instant::now();
    let first = from_environment("LOGMILL_SIM_FIRST").unwrap_or(0);
    let coverage = run_seeds(first, SMALL_SEEDS, true);
    show("every crash point", &coverage, since);
    for during in
        [During::Open, During::Create, During::Journal, During::Apply, During::Checkpoint, During::Close]
    {
        let crashes = coverage.crashes.get(&during).copied().unwrap_or(0);
        assert!(crashes > 0, "no crash during {during:?}: {coverage:?}");
    }
    for count in [coverage.torn, coverage.lost_frames, coverage.replayed_present, coverage.replayed_written] {
        assert!(count > 0, "{coverage:?}");
    }
}

/// Cases that found something, as long as seeds mean what they meant then: (seed, small, call).
const FOUND: [(u64, bool, u64); 15] = [
    // A pass of compaction took data for committed whose abort was published, and not yet in the log.
    (273, false, 0),
    // A read of no bytes but one batch at least got no further than a segment that compaction had emptied.
    (0, true, 0),
    (27, false, 0),
    (265, false, 0),
    // An entry of a time index that rotted, in look-ups by time and in what retention goes by.
    (20, false, 0),
    (142, false, 0),
    (311, false, 0),
    (35, false, 586),
    // A batch with a wrong length took the good one behind it along.
    (1194, false, 703),
    (500, true, 180),
    // Replay did not get past a damaged batch before it, or took one with a wrong offset for the one it looked for.
    (513, false, 0),
    (715, false, 450),
    (341, false, 279),
    // A batch whose last offset rotted was passed over in silence by who asked for an offset in it.
    (21170, false, 489),
    // The version of a checkpoint that rotted was taken for a newer one.
    (1248, false, 181),
];

#[test]
fn what_was_found_once_stays_right() {
    for (seed, small, call) in FOUND {
        let case = Case { seed, small, crash: Some(call).filter(|call| *call > 0), lie: false };
        if let Err(violation) = attempt(&case, &mut Coverage::default(), &mut Trace::silent()) {
            panic!("{}", report(&case, &violation));
        }
    }
}

#[test]
fn a_journal_whose_flushes_lie_is_seen() {
    let (mut tried, mut seen) = (0, 0);
    let mut messages = Vec::new();
    for seed in 0..200 {
        let whole = Case { seed, small: false, crash: None, lie: true };
        let Ok(calls) = attempt(&whole, &mut Coverage::default(), &mut Trace::silent()) else { continue };
        for call in crash_points(seed, false, &calls) {
            let case = Case { crash: Some(call), ..whole };
            tried += 1;
            if let Err(violation) = attempt(&case, &mut Coverage::default(), &mut Trace::silent()) {
                seen += 1;
                messages.push(violation.0);
            }
        }
    }
    assert!(seen * 4 > tried, "{seen} of {tried} cases are seen to violate");
    let lost = messages.iter().filter(|message| message.contains("although it was acknowledged")).count();
    assert!(lost > 0, "lost acknowledged frames are among {messages:?}");
}

#[test]
fn the_same_seed_twice_is_the_same_story() {
    for seed in 0..40 {
        for crash in [None, Some(20 + seed * 7)] {
            let case = Case { seed, small: false, crash, lie: false };
            let [first, second] = [(), ()].map(|()| {
                let mut trace = Trace::kept();
                let result = attempt(&case, &mut Coverage::default(), &mut trace);
                (result, trace.lines().join("\n"))
            });
            assert!(!first.1.is_empty());
            assert_eq!(first, second, "seed {seed}");
        }
    }
}

/// The case to run alone: `LOGMILL_SIM_CASE=seed:small|large:call`, call 0 for none.
fn case_from_environment() -> Option<Case> {
    let text = std::env::var("LOGMILL_SIM_CASE").ok()?;
    let parts: Vec<_> = text.split(':').collect();
    let [seed, kind @ ("small" | "large"), call] = parts[..] else {
        panic!("LOGMILL_SIM_CASE is {text:?}, should be seed:small|large:call")
    };
    let number = |part: &str| part.parse::<u64>().unwrap_or_else(|_| panic!("{part:?} is not a number"));
    let crash = Some(number(call)).filter(|call| *call > 0);
    Some(Case { seed: number(seed), small: kind == "small", crash, lie: false })
}

/// All that goes wrong, by kind, with one case of each: for work on the store. Goes on after a violation.
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn survey(seeds: u64) {
    let mut kinds: BTreeMap<String, (u64, Case, Violation)> = BTreeMap::new();
    let mut coverage = Coverage::default();
    let mut note = |case: Case, violation: Violation| {
        let kind: String = violation.0.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
        kinds.entry(kind).or_insert((0, case, violation)).0 += 1;
    };
    for (seed, small) in (0..seeds).map(|seed| (seed, seed % 100 == 0)) {
        let whole = Case { seed, small, crash: None, lie: false };
        match attempt(&whole, &mut coverage, &mut Trace::silent()) {
            Err(violation) => note(whole, violation),
            Ok(calls) => {
                for call in crash_points(seed, small, &calls) {
                    let case = Case { crash: Some(call), ..whole };
                    if let Err(violation) = attempt(&case, &mut coverage, &mut Trace::silent()) {
                        note(case, violation);
                    }
                }
            }
        }
    }
    println!("{coverage:?}");
    let clean = kinds.is_empty();
    for (count, case, violation) in kinds.into_values() {
        println!("\n{count} times, first {case:?}:\n  {violation}");
    }
    assert!(clean, "the survey found violations");
}
