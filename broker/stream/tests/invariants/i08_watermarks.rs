//! I8: no watermark goes back, a restart included, and none passes the slowest partition that has records to come and is not
//! idle; of what such a partition brings when it wakes, what is behind the watermark is late, and nothing else.

use logmill_stream::{EpochLoop, Logs, Plan, Progress, Turn};
use proptest::prelude::*;

use super::faults::{Buggy, edit_progress};
use super::history::{How, run_through};
use super::input::{DELAY, Event, events, filled, limits, singly, some_events};
use super::queries::{ALL, TUMBLE};
use super::support::{MemoryLogs, plan, restored};
use super::{Checked, ensure, ensure_equal, found};

fn check_watermarks(epochs: &[Progress]) -> Checked {
    for (index, progress) in epochs.iter().enumerate() {
        let epoch = progress.epoch;
        if let Some(before) = index.checked_sub(1).map(|before| &epochs[before]) {
            let forward = |now: Option<i64>, before: Option<i64>, whose: &str| {
                ensure(now >= before, || {
                    format!("epoch {epoch}: {whose} goes back from {before:?} to {now:?}")
                })
            };
            forward(progress.watermark, before.watermark, "the watermark")?;
            for (now, before) in progress.sources.iter().zip(&before.sources) {
                forward(*now, *before, "a source's watermark")?;
            }
            for (now, before) in progress.operators.iter().zip(&before.operators) {
                forward(now.watermark, before.watermark, "an operator's watermark")?;
            }
            for (now, before) in progress.inputs.iter().zip(&before.inputs) {
                for (now, before) in now.watermarks.iter().zip(&before.watermarks) {
                    forward(*now, *before, "a partition's watermark")?;
                }
                ensure(now.from == before.to, || {
                    format!("epoch {epoch}: it begins at {}, not {}", now.from, before.to)
                })?;
            }
        }
        let open = || progress.inputs.iter().filter(|input| input.end != Some(input.to));
        let watermarks =
            |idle| open().filter(move |input| input.idle == idle).flat_map(|input| &input.watermarks);
        if let Some(slowest) = watermarks(false).min().or(watermarks(true).max()) {
            // A partition that wakes behind a watermark does not take it back.
            let reached = index.checked_sub(1).and_then(|before| epochs[before].watermark);
            let slowest = reached.max(*slowest);
            let all = progress.sources.iter().chain([&progress.watermark]);
            let of_operators = progress.operators.iter().map(|operator| &operator.watermark);
            let ahead = all.chain(of_operators).find(|watermark| **watermark > slowest);
            ensure(ahead.is_none(), || {
                format!("epoch {epoch}: {ahead:?} is ahead of the slowest, {slowest:?}")
            })?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn watermarks_go_forward_behind_the_slowest(
        // Late records too: they move nothing.
        events in events(3, 4 * DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        query in 0..ALL.len(),
    ) {
        let mut logs = filled(&events, 3);
        run_through(&ALL[query].plan(), &mut logs, How { limits, crash_every });
        check_watermarks(&logs.progress)?;
    }
}

fn with_bug(plan: &Plan, bug: impl Fn(u64, &mut Progress)) -> Checked {
    let mut logs = Buggy::new(singly(&some_events(3), 3), |logs: &mut MemoryLogs, mut epoch| {
        let number = epoch.epoch();
        edit_progress(&mut epoch, |progress| bug(number, progress));
        logs.commit(epoch)
    });
    run_through(plan, &mut logs, How::small().crashing(5));
    check_watermarks(&logs.logs.progress)
}

/// What a restart takes up is what the progress record says.
#[test]
fn a_watermark_that_is_forgotten_is_found() {
    let forgotten = with_bug(&TUMBLE.plan(), |epoch, progress| {
        if epoch == 15 {
            progress.inputs[1].watermarks = vec![None];
        }
    });
    found(forgotten, "a partition's watermark goes back");
    let forgotten = with_bug(&TUMBLE.plan(), |epoch, progress| {
        if epoch == 15 {
            (progress.watermark, progress.sources) = (None, vec![None]);
        }
    });
    found(forgotten, "the watermark goes back");
}

#[test]
fn a_watermark_that_is_ahead_is_found() {
    // As if the fastest partition decided.
    let ahead = with_bug(&TUMBLE.plan(), |_, progress| {
        let fastest = progress.inputs.iter().flat_map(|input| input.watermarks.clone()).max().flatten();
        if progress.watermark.is_some_and(|watermark| watermark < i64::MAX) {
            progress.watermark = fastest;
        }
    });
    found(ahead, "ahead of the slowest");
}

const PARTITIONS: i32 = 3;
const WINDOW: i64 = 10_000;

/// The events come one by one, so many milliseconds by the clock one behind the other, and each is an epoch; a partition is
/// idle after five seconds. What the progress records say, which a bug may change.
fn with_idle(
    events: &[(Event, i64)],
    crash_every: usize,
    bug: impl Fn(Option<&Progress>, &mut Progress),
) -> Vec<Progress> {
    let plan = plan(
        "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
         WITH ('topic' = 'in', 'format' = 'json', 'idle-timeout' = '5 s');
         CREATE TABLE o (w TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end",
    );
    let mut logs = Buggy::new(singly(&[], PARTITIONS), |logs: &mut MemoryLogs, mut epoch| {
        let before = logs.last_progress();
        edit_progress(&mut epoch, |progress| bug(before.as_ref(), progress));
        logs.commit(epoch)
    });
    let how = How::small();
    let mut epochs = EpochLoop::new(restored(&plan, &logs.logs, 1), how.limits);
    let mut now = 1_000_000;
    for (place, (event, later)) in (1..).zip(events) {
        now += later;
        logs.logs.produce("in", event.partition, &[event.json()]);
        while let Turn::Committed { .. } = epochs.turn(&mut logs, now, 0).expect("it runs") {}
        if crash_every > 0 && place % crash_every == 0 {
            epochs = EpochLoop::new(restored(&plan, &logs.logs, 1 + place as u32), how.limits);
        }
    }
    logs.logs.progress
}

/// That a record is late exactly where its window is behind the watermark; how many of partitions that woke are.
fn check_woken(events: &[(Event, i64)], epochs: &[Progress]) -> Result<usize, super::Violation> {
    let mut woken = 0;
    for (index, progress) in epochs.iter().enumerate() {
        let mut late = 0;
        for (at, input) in progress.inputs.iter().enumerate() {
            let of_partition = events.iter().filter(|(event, _)| event.partition == input.partition);
            let read = of_partition.skip(input.from as usize).take((input.to - input.from) as usize);
            let is_late = |event: &Event| {
                let end = (event.time.div_euclid(WINDOW) + 1) * WINDOW;
                progress.sources[0].is_some_and(|watermark| end <= watermark)
            };
            let of_input = read.filter(|(event, _)| is_late(event)).count();
            late += of_input as u64;
            if index > 0 && epochs[index - 1].inputs[at].idle {
                woken += of_input;
            }
        }
        ensure_equal(&progress.counters.late, &late, &format!("epoch {}: late records", progress.epoch))?;
    }
    Ok(woken)
}

fn check_idle(events: &[(Event, i64)], epochs: &[Progress]) -> Checked {
    check_watermarks(epochs)?;
    check_woken(events, epochs).map(drop)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn partitions_that_wake_bring_what_the_rule_calls_late(
        events in events(PARTITIONS, DELAY),
        later in prop::collection::vec(0_i64..4_000, 60),
        crash_every in 0_usize..4,
    ) {
        let events: Vec<(Event, i64)> = events.into_iter().zip(later).collect();
        check_idle(&events, &with_idle(&events, crash_every, |_, _| {}))?;
    }
}

/// Whether a partition has woken in an epoch.
fn wakes(before: Option<&Progress>, progress: &Progress) -> bool {
    let before = before.map_or(&[][..], |before| &before.inputs);
    before.iter().zip(&progress.inputs).any(|(before, now)| before.idle && !now.idle)
}

#[test]
fn what_goes_wrong_when_a_partition_wakes_is_found() {
    let events: Vec<(Event, i64)> = some_events(PARTITIONS).into_iter().map(|event| (event, 2_500)).collect();
    let epochs = with_idle(&events, 5, |_, _| {});
    check_watermarks(&epochs).expect("it is right");
    let woken = check_woken(&events, &epochs).expect("it is right");
    assert!(woken > 0, "none that wakes is late");
    // It takes the watermark back to where it is.
    let back = with_idle(&events, 5, |before, progress| {
        if wakes(before, progress) {
            let slowest = progress.inputs.iter().flat_map(|input| input.watermarks.clone()).min().flatten();
            (progress.watermark, progress.sources) = (slowest, vec![slowest]);
        }
    });
    found(check_idle(&events, &back), "the watermark goes back");
    // It is not held against the watermark.
    let taken = with_idle(&events, 5, |before, progress| {
        if wakes(before, progress) {
            progress.counters.processed += std::mem::take(&mut progress.counters.late);
        }
    });
    found(check_idle(&events, &taken), "late records: 0, expected 1");
    // One that is not idle is waited for by nobody.
    let ahead = with_idle(&events, 5, |_, progress| {
        let newest = progress.inputs.iter().flat_map(|input| input.watermarks.clone()).max().flatten();
        (progress.watermark, progress.sources) = (newest, vec![newest]);
    });
    found(check_idle(&events, &ahead), "ahead of the slowest");
}
