//! Nexmark's queries over 20,000 events, against what DuckDB computed from the same.

use std::io;

use logmill_pipelines::case::Folder;
use logmill_pipelines::check::{Checked, RunKind, check_kept};
use logmill_pipelines::nexmark;

const EVENTS: usize = 20_000;

#[test]
fn every_query_gives_what_duckdb_gives() {
    let folder = Folder::of_this_crate("nexmark");
    let events = nexmark::events(EVENTS);
    let cases = folder.cases().unwrap();
    assert_eq!(cases.len(), 24);
    let mut failed = Vec::new();
    for case in &cases {
        let runs = [RunKind::Whole, RunKind::Random, RunKind::Crashes];
        match check_kept(&folder, case, &events, &runs, 1, &mut io::sink()) {
            Ok(Checked::Passed | Checked::StillRefused) => {}
            Err(error) => failed.push(format!("{}: {error:#}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
