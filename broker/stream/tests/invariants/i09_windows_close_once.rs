//! I9: a window is given once when it closes, sessions do not depend on the order of their rows, and nothing is left of
//! what is over.

use std::collections::BTreeMap;

use logmill_stream::{EpochOutput, Logs, Plan};
use proptest::prelude::*;

use super::faults::{Buggy, edit_changelog, edit_progress};
use super::history::{How, Kept, run_through};
use super::input::{DELAY, Event, events, filled, limits, singly, some_events};
use super::queries::{HOP, Query, SESSION, TUMBLE};
use super::support::{MemoryLogs, json, restored};
use super::{Checked, ensure, ensure_equal, found};

/// Every window of every key is there, once.
fn check_once(logs: &MemoryLogs, expected: &BTreeMap<(String, String), usize>) -> Checked {
    let mut given: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in logs.values("out") {
        let row = json(&row);
        *given.entry((row["w"].as_str().unwrap().to_owned(), row["k"].to_string())).or_default() += 1;
    }
    ensure_equal(&given, expected, "how often each window is given")
}

/// Windows of a length that begin every so often, by the definition.
fn windows(events: &[Event], size: i64, slide: i64, all: bool) -> BTreeMap<(String, String), usize> {
    let mut windows = BTreeMap::new();
    for event in events.iter().filter(|event| all || event.value != Some(13)) {
        let last = event.time.div_euclid(slide) * slide;
        for start in
            (0..size / slide).map(|back| last - back * slide).filter(|start| event.time < start + size)
        {
            let key = serde_json::json!(event.key).to_string();
            windows.insert((logmill_stream::time::Iso(start).to_string(), key), 1);
        }
    }
    windows
}

/// The sessions of all events in the order of time: start, end, key, rows, sum.
fn sessions(events: &[Event]) -> Vec<String> {
    const GAP: i64 = 4_000;
    let mut by_key: BTreeMap<Option<String>, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| by_key.entry(event.key.clone()).or_default().push(event));
    let mut rows = Vec::new();
    for (key, mut events) in by_key {
        events.sort_by_key(|event| event.time);
        for session in events.chunk_by(|before, after| after.time - before.time <= GAP) {
            let known: Vec<i64> = session.iter().filter_map(|event| event.value).collect();
            let iso = |time: i64| logmill_stream::time::Iso(time).to_string();
            rows.push(
                serde_json::json!({
                    "w": iso(session[0].time), "e": iso(session[session.len() - 1].time + GAP), "k": key,
                    "n": session.len(), "s": (!known.is_empty()).then(|| known.iter().sum::<i64>()),
                })
                .to_string(),
            );
        }
    }
    rows.sort();
    rows
}

fn check_sessions(logs: &MemoryLogs, events: &[Event]) -> Checked {
    let mut found = logs.values("out");
    found.sort();
    ensure_equal(&found, &sessions(events), "sessions")
}

/// Behind the end of time the state holds nothing, and nothing is due.
fn check_nothing_left(plan: &Plan, logs: &MemoryLogs) -> Checked {
    let pipeline = restored(plan, logs, u32::MAX);
    let left = (pipeline.state_entries(), pipeline.open_windows());
    ensure(left == (0, 0), || format!("{left:?} entries and windows are left"))?;
    ensure(!pipeline.emission_pending(), || "rows are left to be written".to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn windows_are_given_once(
        events in events(3, DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        shards in 1_usize..4,
    ) {
        for (query, size, slide) in [(TUMBLE, 10_000, 10_000), (HOP, 10_000, 5_000)] {
            let mut logs = MemoryLogs { shards, ..filled(&events, 3) };
            run_through(&query.plan(), &mut logs, How { limits, crash_every });
            check_once(&logs, &windows(&events, size, slide, size == slide * 2))?;
            check_nothing_left(&query.plan(), &logs)?;
        }
    }

    /// Merging is associative: whatever order rows come in while their sessions are open.
    #[test]
    fn sessions_do_not_depend_on_the_order(
        events in events(1, DELAY),
        keys in prop::collection::vec(0_i64..DELAY, 60),
        limits in limits(),
        crash_every in 0_u64..4,
    ) {
        // Each row comes up to the allowed delay later: none is late, and near ones change places.
        let mut arrivals: Vec<(i64, Event)> = events
            .iter()
            .zip(keys)
            .map(|(event, behind)| (event.time + behind, event.clone()))
            .collect();
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        let shuffled: Vec<Event> = arrivals.into_iter().map(|(_, event)| event).collect();
        for events in [&events, &shuffled] {
            let mut logs = filled(events, 1);
            run_through(&SESSION.plan(), &mut logs, How { limits, crash_every });
            check_sessions(&logs, events)?;
            check_nothing_left(&SESSION.plan(), &logs)?;
        }
    }
}

fn with_bug(query: Query, bug: impl Fn(&mut MemoryLogs, EpochOutput)) -> MemoryLogs {
    let mut logs = Buggy::new(singly(&some_events(3), 3), |logs: &mut MemoryLogs, epoch| {
        bug(logs, epoch);
        Ok(())
    });
    run_through(&query.plan(), &mut logs, How::small().crashing(3));
    logs.memory().clone()
}

/// A window that closes once more behind a restart, because nobody wrote down that it had.
#[test]
fn a_window_that_closes_twice_is_found() {
    let logs = with_bug(TUMBLE, |logs, mut epoch| {
        if epoch.epoch() % 3 == 0 {
            // What takes the window away is lost, and that time has passed it.
            edit_changelog(&mut epoch, |records| {
                records.into_iter().filter(|record| record.value.is_some()).collect()
            });
            let before = logs.last_progress();
            edit_progress(&mut epoch, |progress| {
                let before = before.iter().flat_map(|before| &before.operators);
                progress.operators.iter_mut().zip(before).for_each(|(now, before)| *now = before.clone());
            });
        }
        logs.commit(epoch).unwrap();
    });
    let expected = windows(&some_events(3), 10_000, 10_000, false);
    found(check_once(&logs, &expected), "how often each window is given");
}

#[test]
fn what_is_left_of_a_window_is_found() {
    let logs = with_bug(TUMBLE, |logs, mut epoch| {
        edit_changelog(&mut epoch, |records| {
            records.into_iter().filter(|record| record.value.is_some()).collect()
        });
        logs.commit(epoch).unwrap();
    });
    found(check_nothing_left(&TUMBLE.plan(), &logs), "are left");
}

/// A plan whose watermark waits for nothing: rows that come late find their session over.
#[test]
fn sessions_that_depend_on_the_order_are_found() {
    let events = some_events(1);
    let mut hasty = SESSION.plan();
    hasty.sources[0].event_time.as_mut().unwrap().delay_ms = 0;
    let mut logs = singly(&events, 1);
    run_through(&hasty, &mut logs, How::small());
    found(check_sessions(&logs, &events), "sessions");
}
