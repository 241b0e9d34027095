//! I7: in every epoch each record of the input is processed, late, shed, skipped or a dead letter, and only one of these.

use std::collections::BTreeSet;

use logmill_record::{BatchBuilder, BatchOptions, Record};
use logmill_stream::{Counters, Logs, Plan, Progress};
use proptest::prelude::*;

use super::faults::{Buggy, edit_outputs, edit_progress};
use super::history::{How, Kept, run};
use super::input::{DELAY, Event, events, limits, some_events};
use super::support::{MemoryLogs, plan};
use super::{Checked, ensure_equal, found};

/// Begins to shed with the sixth record that waits, and goes on until none does.
const SHED: &str = "SHED WHEN lag > 5 RECORDS UNTIL lag < 1 RECORDS USING random TO 'shed'";

/// One record in so many cannot be decoded, has no value, and is late.
fn script(shed: &str) -> Plan {
    plan(&format!(
        "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
         WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead', 'late-topic' = 'late') {shed};
         CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         WHERE v IS NULL OR v <> 13 GROUP BY window_start, k",
    ))
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
    for topic in ["in", "out", "dead", "late", "shed"] {
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
    /// The offsets of the records that were shed.
    shed: BTreeSet<usize>,
}

fn offset(record: &Record) -> usize {
    let header = record.headers.iter().find(|header| header.key == "logmill.offset");
    let value = header.and_then(|header| header.value.as_ref()).expect("it says where it was");
    String::from_utf8_lossy(value).parse().expect("an offset")
}

fn history(logs: &mut impl Kept, shed: &str, how: How) -> Vec<Epoch> {
    let mut epochs: Vec<Epoch> = Vec::new();
    run(&script(shed), logs, how, |logs, _| {
        if epochs.len() < logs.progress.len() {
            let count = |topic: &str| logs.records(topic).len() as u64;
            let progress = logs.last_progress().expect("there is one");
            let shed = logs.records("shed").iter().map(|(_, record)| offset(record)).collect();
            epochs.push(Epoch { progress, dead: count("dead"), late: count("late"), shed });
        }
    })
    .unwrap();
    epochs
}

/// What the naive count of a prefix is: of one partition, where only the order decides what is late.
/// What is shed is not looked at.
fn counted(given: &[Given], shed: &BTreeSet<usize>) -> Counters {
    let mut counters = Counters { read: given.len() as u64, ..Counters::default() };
    let mut newest = i64::MIN;
    for (offset, record) in given.iter().enumerate() {
        match record {
            _ if shed.contains(&offset) => counters.shed += 1,
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
    for Epoch { progress, dead, late, shed } in epochs {
        let epoch = progress.epoch;
        let covered: i64 = progress.inputs.iter().map(|input| input.to - input.from).sum();
        let Counters { read, processed, late: late_now, shed: shed_now, skipped, dead_lettered, .. } =
            progress.counters;
        ensure_equal(&read, &(covered as u64), &format!("epoch {epoch}: records read"))?;
        let sum = processed + late_now + shed_now + skipped + dead_lettered;
        ensure_equal(&sum, &read, &format!("epoch {epoch}: records accounted for"))?;
        before.add(&progress.counters);
        ensure_equal(&progress.totals, &before, &format!("epoch {epoch}: totals"))?;
        ensure_equal(dead, &before.dead_lettered, &format!("epoch {epoch}: dead letters"))?;
        ensure_equal(late, &before.late, &format!("epoch {epoch}: late records"))?;
        ensure_equal(&(shed.len() as u64), &before.shed, &format!("epoch {epoch}: shed records"))?;
        let expected = counted(&given[..progress.inputs[0].to as usize], shed);
        let found = Counters { written: 0, windows_closed: 0, ..before };
        ensure_equal(&found, &expected, &format!("epoch {epoch}: counters"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_record_is_accounted_for(given in given(), limits in limits(), crash_every in 0_u64..4) {
        for shed in ["", SHED] {
            let epochs = history(&mut filled(&given), shed, How { limits, crash_every });
            check_conserved(&given, &epochs)?;
        }
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
        found(check_conserved(&given, &history(&mut logs, "", How::small())), what);
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
        check_conserved(&given, &history(&mut logs, "", How::small()))
    };
    // A record that is left out and not counted, and one that is counted as another thing.
    found(lying(|counters| (counters.read, counters.processed) = (0, 0)), "records read");
    let other = |counters: &mut Counters| {
        (counters.processed, counters.skipped) = (counters.processed - 1, counters.skipped + 1);
    };
    found(lying(other), ": totals");
}

#[test]
fn shedding_that_is_not_accounted_for_is_found() {
    let given = some_given();
    check_conserved(&given, &history(&mut filled(&given), SHED, How::small())).unwrap();
    let lying = |lie: fn(&mut Counters)| {
        let mut logs = Buggy::new(filled(&given), move |logs: &mut MemoryLogs, mut epoch| {
            if epoch.progress.counters.shed > 0 {
                edit_progress(&mut epoch, |progress| lie(&mut progress.counters));
            }
            logs.commit(epoch)
        });
        check_conserved(&given, &history(&mut logs, SHED, How::small()))
    };
    found(lying(|counters| (counters.processed, counters.shed) = (counters.shed, 0)), "totals");
    found(lying(|counters| (counters.read, counters.shed) = (0, 0)), "records read");
    let mut logs = Buggy::new(filled(&given), |logs, mut epoch| {
        edit_outputs(&mut epoch, "shed", |_| Vec::new());
        logs.commit(epoch)
    });
    found(check_conserved(&given, &history(&mut logs, SHED, How::small())), "shed records: 0");
    // More is shed than the cut says, and counted as processed: what was computed of it is missing.
    let mut logs = Buggy::new(filled(&given), |logs: &mut MemoryLogs, mut epoch| {
        edit_progress(&mut epoch, |progress| {
            let counters = [&mut progress.counters, &mut progress.totals];
            counters.into_iter().for_each(|counters| {
                counters.processed += counters.shed;
                counters.shed = 0;
            });
        });
        logs.commit(epoch)
    });
    found(check_conserved(&given, &history(&mut logs, SHED, How::small())), "shed records: 1, expected 0");
}
