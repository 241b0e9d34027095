//! Nexmark's queries: over 20,000 events, against what DuckDB computed from the same; and over a handful, against what
//! one can work out by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use logmill_pipelines::case::Folder;
use logmill_pipelines::check::{Checked, RunKind, Ways, check_kept, rows_of};
use logmill_pipelines::compare::compare;
use logmill_pipelines::expected::{read_columns, read_rows};
use logmill_pipelines::nexmark;
use logmill_pipelines::run::{Cuts, Run, run};

const EVENTS: usize = 20_000;

#[test]
fn every_query_gives_what_duckdb_gives() {
    let folder = Folder::of_this_crate("nexmark");
    let events = nexmark::events(EVENTS);
    let cases = folder.cases().unwrap();
    let queries = (0..24).map(|number| format!("q{number}"));
    assert!(queries.into_iter().all(|name| cases.iter().any(|case| case.name == name)));
    // They take longer than any other test, each on one thread.
    let next = AtomicUsize::new(0);
    let check = || {
        let mut failed = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ways = Ways::new(&[RunKind::Whole, RunKind::Random, RunKind::Crashes], 1);
            match check_kept(&folder, case, &events, &ways, &mut io::sink()) {
                Ok(Checked::Passed | Checked::Awaited) => {}
                Err(error) => failed.push(format!("{}: {error:#}", case.name)),
            }
        }
        failed
    };
    let failed = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(check)).collect();
        started.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect::<Vec<String>>()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_handful_of_events_gives_what_one_works_out_by_hand() {
    let folder = Folder::of_this_crate("nexmark");
    let by_hand = folder.path().join("by_hand");
    let events = nexmark::read(&by_hand).unwrap();
    let mut compared = 0;
    for case in folder.cases().unwrap() {
        let table = by_hand.join("expected").join(format!("{}.jsonl", case.name));
        if !table.exists() {
            continue;
        }
        compared += 1;
        if folder.awaits(&case) {
            continue;
        }
        let plan = case.plan().unwrap();
        let columns = read_columns(&folder.path().join("expected").join(format!("{}.columns", case.name)));
        let columns = columns.unwrap();
        let input = events.batches(&plan.source_topics(), 1);
        for cuts in [Cuts::each(&input), Cuts::Batches(vec![input.batches.len()])] {
            let outcome = run(&plan, &input, &Run::new(cuts.clone())).unwrap();
            let records = |topic: &str| outcome.logs.records(topic);
            let found = rows_of(&case, &plan, &case.questions[0], &records, &columns).unwrap();
            let differences = compare(&columns, &read_rows(&table).unwrap(), &found);
            assert!(differences.is_empty(), "{}, {cuts:?}: {differences}", case.name);
        }
    }
    assert_eq!(compared, 11);
}
