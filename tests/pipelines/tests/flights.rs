//! Questions to a month of real flights, against what DuckDB computed from the same.

use std::io;
use std::path::Path;

use logmill_pipelines::case::Folder;
use logmill_pipelines::check::{Checked, RunKind, Ways, check_kept};
use logmill_pipelines::flights;

#[test]
fn every_question_gets_duckdbs_answer() {
    let folder = Folder::of_this_crate("flights");
    let flights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/demo/flights-2013-01.csv.gz");
    let weather = folder.path().join("weather-2013-01.csv.gz");
    let cases = folder.cases().unwrap();
    assert_eq!(cases.len(), 5);
    let events = [1, 4].map(|partitions| flights::events(&flights, Some(&weather), partitions).unwrap());
    let mut failed = Vec::new();
    for case in &cases {
        let events = match case.partitions().unwrap() {
            Some(1) => &events[0],
            _ => &events[1],
        };
        let ways = Ways::new(&[RunKind::Random, RunKind::Crashes], 1);
        match check_kept(&folder, case, events, &ways, &mut io::sink()) {
            Ok(Checked::Passed | Checked::Awaited) => {}
            Err(error) => failed.push(format!("{}: {error:#}", case.name)),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
