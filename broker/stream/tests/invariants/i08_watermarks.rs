//! I8: no watermark goes back, a restart included, and none passes the slowest partition that has records to come.

use logmill_stream::{Logs, Plan, Progress};
use proptest::prelude::*;

use super::faults::{Buggy, edit_progress};
use super::history::{How, run_through};
use super::input::{DELAY, events, filled, limits, singly, some_events};
use super::queries::{ALL, TUMBLE};
use super::support::MemoryLogs;
use super::{Checked, ensure, found};

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
        let open = progress.inputs.iter().filter(|input| input.end != Some(input.to));
        if let Some(slowest) = open.flat_map(|input| input.watermarks.clone()).min() {
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
