//! I7: in every epoch each record of the input is processed, late, skipped or a dead letter, and only one of these.

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_stream::{Counters, Logs, Plan, Progress};
use proptest::prelude::*;

use super::faults::{Buggy, edit_outputs, edit_progress};
use super::history::{How, Kept, run};
use super::input::{DELAY, Event, events, limits, some_events};
use super::support::{MemoryLogs, plan};
use super::{Checked, ensure_equal, found};

/// One record in so many cannot be decoded, has no value, and is late.
fn script() -> Plan {
    plan(
        "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
         WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead', 'late-topic' = 'late');
         CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         WHERE v IS NULL OR v <> 13 GROUP BY window_start, k",
    )
}

/// A record of the input.
#[derive(Debug, Clone)]
enum Given {
    Row(Event),
    Poison,
    Empty,
}

fn given() -> impl Strategy<Value = Vec<Given>> {
    (events(1, 4 * DELAY), prop::collection::vec(0_u8..8, 60)).prop_map(|(events, what)| {
        let given = |(event, what)| match what {
            0 => Given::Poison,
            1 => Given::Empty,
            _ => Given::Row(event),
        };
        events.into_iter().zip(what).map(given).collect()
    })
}

fn filled(given: &[Given]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    for topic in ["in", "out", "dead", "late"] {
        logs.create(topic, if topic == "in" { 1 } else { 2 });
    }
    for record in given {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = match record {
            Given::Row(event) => Some(event.json()),
            Given::Poison => Some("{".to_owned()),
            Given::Empty => None,
        };
        builder.push(0, None, value.as_deref().map(str::as_bytes), &[]);
        logs.append("in", 0, builder.build());
    }
    logs
}

/// What an epoch says it did, and how many records the side topics have got by then.
struct Epoch {
    progress: Progress,
    dead: u64,
    late: u64,
}

fn history(logs: &mut impl Kept, how: How) -> Vec<Epoch> {
    let mut epochs: Vec<Epoch> = Vec::new();
    run(&script(), logs, how, |logs, _| {
        if epochs.len() < logs.progress.len() {
            let count = |topic: &str| logs.records(topic).len() as u64;
            let progress = logs.last_progress().expect("there is one");
            epochs.push(Epoch { progress, dead: count("dead"), late: count("late") });
        }
    })
    .unwrap();
    epochs
}

/// What the naive count of a prefix is: of one partition, where only the order decides what is late.
fn counted(given: &[Given]) -> Counters {
    let mut counters = Counters { read: given.len() as u64, ..Counters::default() };
    let mut newest = i64::MIN;
    for record in given {
        match record {
            Given::Poison => counters.dead_lettered += 1,
            Given::Empty => {
                (counters.skipped, counters.without_value) =
                    (counters.skipped + 1, counters.without_value + 1)
            }
            Given::Row(event) => {
                newest = newest.max(event.time - DELAY);
                let window_end = (event.time.div_euclid(10_000) + 1) * 10_000;
                let filtered = event.value == Some(13);
                match !filtered && window_end <= newest {
                    true => counters.late += 1,
                    false => counters.processed += 1,
                }
                counters.filtered += u64::from(filtered);
            }
        }
    }
    counters
}

/// Epoch by epoch: what the counters say is so, adds up, and is in the side topics.
fn check_conserved(given: &[Given], epochs: &[Epoch]) -> Checked {
    let mut before = Counters::default();
    for Epoch { progress, dead, late } in epochs {
        let epoch = progress.epoch;
        let covered: i64 = progress.inputs.iter().map(|input| input.to - input.from).sum();
        let Counters { read, processed, late: late_now, skipped, dead_lettered, .. } = progress.counters;
        ensure_equal(&read, &(covered as u64), &format!("epoch {epoch}: records read"))?;
        let sum = processed + late_now + skipped + dead_lettered;
        ensure_equal(&sum, &read, &format!("epoch {epoch}: records accounted for"))?;
        before.add(&progress.counters);
        ensure_equal(&progress.totals, &before, &format!("epoch {epoch}: totals"))?;
        ensure_equal(dead, &before.dead_lettered, &format!("epoch {epoch}: dead letters"))?;
        ensure_equal(late, &before.late, &format!("epoch {epoch}: late records"))?;
        let expected = counted(&given[..progress.inputs[0].to as usize]);
        let found = Counters { written: 0, windows_closed: 0, ..before };
        ensure_equal(&found, &expected, &format!("epoch {epoch}: counters"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_record_is_accounted_for(given in given(), limits in limits(), crash_every in 0_u64..4) {
        let epochs = history(&mut filled(&given), How { limits, crash_every });
        check_conserved(&given, &epochs)?;
    }
}

fn some_given() -> Vec<Given> {
    let late = Event { partition: 0, key: None, value: Some(1), time: 0 };
    let rows = some_events(1).into_iter().enumerate();
    rows.map(|(index, event)| match index {
        10 | 20 => Given::Poison,
        15 => Given::Empty,
        50 => Given::Row(late.clone()),
        _ => Given::Row(event),
    })
    .collect()
}

#[test]
fn a_lost_dead_letter_or_late_record_is_found() {
    let given = some_given();
    for (topic, what) in [("dead", "dead letters: 0"), ("late", "late records: 0")] {
        let mut logs = Buggy::new(filled(&given), |logs, mut epoch| {
            edit_outputs(&mut epoch, topic, |_| Vec::new());
            logs.commit(epoch)
        });
        found(check_conserved(&given, &history(&mut logs, How::small())), what);
    }
}

#[test]
fn counters_that_lie_are_found() {
    let given = some_given();
    let lying = |lie: fn(&mut Counters)| {
        let mut logs = Buggy::new(filled(&given), move |logs: &mut MemoryLogs, mut epoch| {
            if epoch.epoch() >= 30 && epoch.progress.counters.processed > 0 {
                edit_progress(&mut epoch, |progress| lie(&mut progress.counters));
            }
            logs.commit(epoch)
        });
        check_conserved(&given, &history(&mut logs, How::small()))
    };
    // A record that is shed and not counted, and one that is counted as another thing.
    found(lying(|counters| (counters.read, counters.processed) = (0, 0)), "records read");
    let other = |counters: &mut Counters| {
        (counters.processed, counters.skipped) = (counters.processed - 1, counters.skipped + 1);
    };
    found(lying(other), ": totals");
}
