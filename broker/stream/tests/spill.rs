//! State that is not in memory (I10, I14): the same epochs, byte for byte, however little of it is, whatever is lost of the
//! store with a crash; and no more in memory than may be.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_stream::{
    ColdError, ColdPosition, ColdStore, EpochError, EpochLimits, EpochLoop, MemoryColdStore, Pipeline, Plan,
    Progress, Turn, TurnError,
};
use proptest::prelude::*;
use support::{MemoryLogs, restored, spec};

const SOURCES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'left', 'format' = 'json');
    CREATE TABLE r (k STRING, y BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'right', 'format' = 'json');
    CREATE TABLE t (k STRING, y BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'right', 'format' = 'json');";

/// Queries whose state may be on disk, in whole or in part, and one whose state may not: columns, options, query.
const QUERIES: &[(&str, &str, &str)] = &[
    ("k STRING, n BIGINT", ", 'output' = 'upsert'", "SELECT k, COUNT(*) FROM l GROUP BY k UNBOUNDED"),
    (
        "k STRING, n BIGINT, a BIGINT, u BIGINT, d DOUBLE",
        ", 'output' = 'retract'",
        "SELECT k, COUNT(*), MIN(x), COUNT(DISTINCT x), SUM(d) FROM l GROUP BY k UNBOUNDED",
    ),
    (
        "n BIGINT, m BIGINT",
        ", 'output' = 'retract'",
        "SELECT n, COUNT(*) FROM (SELECT k, COUNT(*) AS n FROM l GROUP BY k) AS c GROUP BY n UNBOUNDED",
    ),
    ("y BIGINT, n BIGINT", ", 'output' = 'retract'", "SELECT y, COUNT(*) FROM t GROUP BY y UNBOUNDED"),
    (
        "k STRING, x BIGINT, y BIGINT",
        ", 'output' = 'retract'",
        "SELECT l.k, x, y FROM l LEFT JOIN r ON l.k = r.k UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, y BIGINT",
        "",
        "SELECT l.k, x, t.y FROM l LEFT JOIN t FOR SYSTEM_TIME AS OF PROCTIME() ON l.k = t.k",
    ),
    (
        "k STRING, x BIGINT, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT k, x, n FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC, ts) AS n FROM l)
         WHERE n <= 2 UNBOUNDED",
    ),
    (
        "c BIGINT, k STRING, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT c, k, n FROM (SELECT c, k, RANK() OVER (PARTITION BY c ORDER BY m DESC) AS n
         FROM (SELECT k, COUNT(*) AS c, MAX(x) AS m FROM l GROUP BY k)) WHERE n <= 2 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT",
        "",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM l) WHERE n = 1 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT",
        "",
        "SELECT k, x FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME()) AS n FROM l) WHERE n = 1
         UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, n BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts), COUNT(DISTINCT x) OVER (PARTITION BY k ORDER BY ts)
         FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT, y BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts), LAG(x) OVER (PARTITION BY k ORDER BY ts) FROM l UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s DOUBLE, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT k, x, SUM(d) OVER (PARTITION BY k ORDER BY x ROWS 1 PRECEDING), ROW_NUMBER() OVER (PARTITION BY k ORDER BY x)
         FROM l UNBOUNDED",
    ),
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, y BIGINT",
        "",
        "SELECT window_start, k, COUNT(*), MAX(x)
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, k",
    ),
];

/// The query, or if `lives` is set, what it is with a time to live.
fn query(index: usize, lives: bool) -> Plan {
    let (columns, options, select) = QUERIES[index];
    let select = if lives { select.replace("UNBOUNDED", TIME_TO_LIVE) } else { select.to_owned() };
    support::plan(&format!(
        "{SOURCES} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json' {options}); INSERT INTO o {select}"
    ))
}

const TIME_TO_LIVE: &str = "STATE TTL INTERVAL '3' SECOND";

/// What time it is by the clock behind so many epochs, of which each takes so many milliseconds.
fn clock(logs: &MemoryLogs, epoch_ms: i64) -> i64 {
    1_000_000 + logs.progress.len() as i64 * epoch_ms
}

fn event(key: &str, value: i64, ts: i64) -> String {
    serde_json::json!({ "k": key, "x": value, "y": value, "d": value as f64 + 0.25, "ts": ts }).to_string()
}

fn logs() -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    ["left", "right"].iter().for_each(|topic| logs.create(topic, 2));
    logs.create("out", 1);
    logs
}

fn inputs() -> impl Strategy<Value = MemoryLogs> {
    let event_of = (any::<bool>(), 0..2, "[a-h]{1,2}", -3_i64..6, 0_i64..2_500, 0_i64..4_000);
    prop::collection::vec(event_of, 1..80).prop_map(|steps| {
        let mut logs = logs();
        let mut newest = 10_000;
        for (left, partition, key, value, step, behind) in steps {
            newest += step;
            let topic = if left { "left" } else { "right" };
            let value = (left || value > -3).then(|| event(&key, value, newest - behind));
            let mut batch = BatchBuilder::new(BatchOptions::default());
            batch.push(1_000, Some(key.as_bytes()), value.as_ref().map(String::as_bytes), &[]);
            logs.append(topic, partition, batch.build());
        }
        logs
    })
}

/// A run whose state is in a store in memory.
struct Spilt<'p> {
    plan: &'p Plan,
    store: Arc<MemoryColdStore>,
    limits: EpochLimits,
    /// Bytes of state that should be in memory at most.
    keep: u64,
    epoch_ms: i64,
    generation: u32,
    /// Where the changelog ends behind each epoch, from the first on.
    ends: Vec<i64>,
}

/// When a run ends before its input.
#[derive(Debug, Clone, Copy)]
struct Crash {
    /// After so many epochs.
    after: u64,
    /// So many of the store's writes are left that were not safe.
    kept: usize,
    /// Whether what was written up to here is safe.
    synced: bool,
    /// The whole store is lost.
    lost: bool,
}

impl<'p> Spilt<'p> {
    fn new(plan: &'p Plan, limits: EpochLimits, keep: u64, epoch_ms: i64) -> Self {
        Spilt { plan, store: Arc::default(), limits, keep, epoch_ms, generation: 0, ends: Vec::new() }
    }

    fn position(&self, progress: &Progress) -> ColdPosition {
        let end = self.ends[progress.epoch as usize - 1];
        ColdPosition::of(progress, progress.epoch as i64 - 1, "test", end)
    }

    fn nowhere(&self) -> ColdPosition {
        ColdPosition {
            pipeline: "test".to_owned(),
            plan: self.plan.fingerprint(),
            generation: 0,
            epoch: 0,
            state_from: None,
            digest: 0,
            progress_offset: -1,
            changelog: "test".to_owned(),
            changelog_end: 0,
        }
    }

    fn restore(&mut self, logs: &MemoryLogs) -> Pipeline {
        self.generation += 1;
        let spec = spec(self.plan, logs, self.generation);
        let restoring = Pipeline::restore(self.plan.clone(), spec, logs.last_progress()).unwrap();
        let store: Arc<dyn ColdStore> = Arc::clone(&self.store) as _;
        let (mut restoring, from) = match self.store.mark().unwrap() {
            Some(mark) => {
                let from = mark.at.changelog_end;
                (restoring.go_on_with(store, mark, self.keep).unwrap(), from)
            }
            None => (restoring.fill::<&[u8]>(store, None, self.nowhere(), self.keep).unwrap(), 0),
        };
        logs.changelog[from as usize..].iter().for_each(|batch| restoring.apply(batch).unwrap());
        let at = logs.last_progress().map_or_else(|| self.nowhere(), |progress| self.position(&progress));
        restoring.finish_spilt(at, &mut |_| true).unwrap()
    }

    /// Runs until the crash, or to the end: then it is true.
    fn run(&mut self, logs: &mut MemoryLogs, crash: Option<Crash>) -> Result<bool, TurnError> {
        let ends: BTreeMap<_, _> =
            self.plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
        let mut epochs = EpochLoop::new(self.restore(logs), self.limits);
        let mut before: Option<Progress> = None;
        let mut done = 0;
        loop {
            epochs.declare_ends(ends.clone()).unwrap();
            if let Some(crash) = crash.filter(|crash| crash.after == done) {
                if crash.synced {
                    self.store.sync();
                }
                self.store.crash(crash.kept);
                if crash.lost {
                    self.store = Arc::default();
                }
                return Ok(false);
            }
            // Changes reach the store when the epoch behind is computed, as in the broker.
            let now = clock(logs, self.epoch_ms);
            match epochs.turn(logs, now, 0)? {
                Turn::Idle => panic!("a bounded run has always something to do"),
                Turn::Committed { progress, .. } => {
                    self.ends.push(logs.changelog.len() as i64);
                    if let Some(before) = before.replace(*progress) {
                        epochs.committed(before.epoch, self.position(&before)).unwrap();
                    }
                    done += 1;
                }
                Turn::Finished => {
                    if let Some(before) = before.take() {
                        epochs.committed(before.epoch, self.position(&before)).unwrap();
                    }
                    return Ok(true);
                }
            }
        }
    }
}

/// What a compacted changelog holds.
fn compacted(logs: &MemoryLogs) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    for record in logs.changelog.iter().flat_map(|batch| batch.records(64 << 20).unwrap()) {
        let key = record.key.unwrap().to_vec();
        match record.value {
            Some(value) => drop(entries.insert(key, value.to_vec())),
            None => drop(entries.remove(&key)),
        }
    }
    entries.into_iter().collect()
}

fn digests(logs: &MemoryLogs) -> Vec<u32> {
    logs.progress.iter().map(|progress| progress.digest).collect()
}

fn in_memory(plan: &Plan, logs: &mut MemoryLogs, limits: EpochLimits, epoch_ms: i64) {
    let ends: BTreeMap<_, _> = plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
    let mut epochs = EpochLoop::new(restored(plan, logs, 1), limits);
    epochs.declare_ends(ends).unwrap();
    loop {
        let now = clock(logs, epoch_ms);
        if let Turn::Finished = epochs.turn(logs, now, 0).unwrap() {
            return;
        }
    }
}

fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    let crash = (0_u64..4, 0_usize..4, any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(after, kept, synced, lost)| Crash { after, kept, synced, lost });
    prop::collection::vec(crash, 0..6)
}

fn limits() -> impl Strategy<Value = EpochLimits> {
    prop_oneof![Just(1_u64), Just(3), Just(20)]
        .prop_map(|input_records| EpochLimits { input_records, ..EpochLimits::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// I10. The digest of an epoch covers every byte it writes, changed state included.
    #[test]
    fn what_is_spilt_changes_nothing(
        index in 0..QUERIES.len(),
        lives in any::<bool>(),
        epoch_ms in prop_oneof![Just(0_i64), Just(300), Just(2_000)],
        input in inputs(),
        limits in limits(),
        keep in prop_oneof![Just(0_u64), Just(400), Just(2_000), Just(1 << 20)],
        crashes in crashes(),
        shards in 1_usize..4,
    ) {
        let plan = query(index, lives);
        let (mut undisturbed, mut spilt) = (input.clone(), MemoryLogs { shards, ..input });
        in_memory(&plan, &mut undisturbed, limits, epoch_ms);
        let mut run = Spilt::new(&plan, limits, keep, epoch_ms);
        let mut finished = false;
        for crash in crashes {
            finished = finished || run.run(&mut spilt, Some(crash)).unwrap();
        }
        if !finished {
            run.run(&mut spilt, None).unwrap();
        }
        prop_assert_eq!(digests(&undisturbed), digests(&spilt), "I10");
        prop_assert_eq!(undisturbed.records("out"), spilt.records("out"), "I10");
        prop_assert_eq!(run.store.dump(), compacted(&undisturbed), "I10: the canonical dump");
        // Sizes are those of a pipeline that has all of it in memory.
        let (pipeline, whole) = (run.restore(&spilt), restored(&plan, &undisturbed, 99));
        prop_assert_eq!(pipeline.state_bytes(), whole.state_bytes());
        prop_assert_eq!(pipeline.state_entries(), whole.state_entries());
    }
}

fn many_keys(count: usize) -> MemoryLogs {
    let mut logs = logs();
    for at in 0..count {
        logs.produce("left", 0, &[event(&format!("key-{at}"), 1, 10_000)]);
    }
    logs
}

/// I14. What the state has grown to shows in neither memory nor what a restart reads.
#[test]
fn memory_is_bounded_while_the_state_grows() {
    let plan = query(1, false);
    let keep = 20_000;
    let mut logs = many_keys(3_000);
    let limits = EpochLimits { input_records: 20, ..EpochLimits::default() };
    let mut run = Spilt::new(&plan, limits, keep, 0);
    let ends: BTreeMap<_, _> = plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
    let mut epochs = EpochLoop::new(run.restore(&logs), limits);
    epochs.declare_ends(ends).unwrap();
    let mut most = 0;
    while let Turn::Committed { progress, .. } = epochs.turn(&mut logs, 1_000_000, 0).unwrap() {
        run.ends.push(logs.changelog.len() as i64);
        epochs.committed(progress.epoch, run.position(&progress)).unwrap();
        most = most.max(epochs.pipeline().memory_bytes());
    }
    let state = epochs.pipeline().state_bytes();
    assert!(state > 20 * keep, "{state}");
    assert!(most <= keep && most > keep / 4, "{most}");
    drop(epochs);
    let again = run.restore(&logs);
    assert_eq!((again.state_bytes(), again.memory_bytes()), (state, 0));
    assert_eq!(again.state_entries(), 3_000);
}

/// I14. Of what is forgotten after a time only the keys and their times stay in memory; and all of it is forgotten at once.
#[test]
fn what_lives_for_a_time_leaves_memory() {
    const KEYS: u64 = 4_000;
    // A key's time, itself, and that the buffer they are in has grown.
    const OF_A_KEY: u64 = 2 * (12 + 12);
    let keep = 20_000;
    let limits = EpochLimits { input_records: 20, ..EpochLimits::default() };
    for part in [
        "COUNT(DISTINCT x), SUM(d) FROM",
        "LEFT JOIN r",
        "ORDER BY x DESC",
        "ORDER BY PROCTIME()",
        "ROWS 1 PRECEDING",
    ] {
        let index = QUERIES.iter().position(|(_, _, select)| select.contains(part)).unwrap();
        let plan = query(index, true);
        let mut logs = many_keys(KEYS as usize);
        let mut run = Spilt::new(&plan, limits, keep, 0);
        let mut epochs = EpochLoop::new(run.restore(&logs), limits);
        let mut turns = |epochs: &mut EpochLoop, logs: &mut MemoryLogs, now: i64| {
            let mut most = 0;
            while let Turn::Committed { progress, .. } = epochs.turn(logs, now, 0).unwrap() {
                run.ends.push(logs.changelog.len() as i64);
                epochs.committed(progress.epoch, run.position(&progress)).unwrap();
                most = most.max(epochs.pipeline().memory_bytes());
            }
            most
        };
        let most = turns(&mut epochs, &mut logs, 1_000_000);
        let state = epochs.pipeline().state_bytes();
        assert!(state > 20 * keep, "{part}: {state}");
        assert!(most < keep + KEYS * OF_A_KEY + (4 << 10), "{part}: {most} of {state} bytes");
        assert_eq!(epochs.pipeline().state_entries(), KEYS, "{part}");
        logs.produce("left", 0, &[event("another", 1, 10_000)]);
        turns(&mut epochs, &mut logs, 1_003_000);
        assert_eq!(epochs.pipeline().state_entries(), 1, "{part}");
        assert!(epochs.pipeline().memory_bytes() < 1_000, "{part}");
    }
}

/// I14. What an epoch touches is bounded: one that would read too much back is done in parts.
#[test]
fn an_epoch_that_touches_much_is_done_in_parts() {
    let plan = support::plan(
        "CREATE TABLE l (k BIGINT, s STRING, x BIGINT) WITH ('topic' = 'left', 'format' = 'json');
         CREATE TABLE o (k BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o SELECT k, LENGTH(s) FROM
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x) AS n FROM l) WHERE n = 1 UNBOUNDED",
    );
    let text = "x".repeat(1 << 20);
    let mut logs = logs();
    let each = |x: i64, text: &str| {
        (0..40).map(|k| format!("{{\"k\":{k},\"x\":{x},\"s\":\"{text}\"}}")).collect::<Vec<_>>()
    };
    each(2, &text).iter().for_each(|record| logs.produce("left", 0, std::slice::from_ref(record)));
    let mut run = Spilt::new(&plan, EpochLimits::default(), 0, 0);
    let mut epochs =
        EpochLoop::new(run.restore(&logs), EpochLimits { input_records: 4, ..EpochLimits::default() });
    let go = |epochs: &mut EpochLoop, run: &mut Spilt<'_>, logs: &mut MemoryLogs| loop {
        match epochs.turn(logs, 0, 0) {
            Ok(Turn::Committed { progress, .. }) => {
                run.ends.push(logs.changelog.len() as i64);
                epochs.committed(progress.epoch, run.position(&progress)).unwrap();
            }
            Ok(_) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(go(&mut epochs, &mut run, &mut logs).is_none());
    assert!(epochs.pipeline().state_bytes() > 40 << 20);
    drop(epochs);
    logs.produce("left", 0, &each(1, "y"));
    let (mut pace, mut parted) = (Default::default(), 0);
    loop {
        let mut epochs = EpochLoop::new(run.restore(&logs), EpochLimits::default()).with_pace(pace);
        let Some(error) = go(&mut epochs, &mut run, &mut logs) else { break };
        let (bytes, limit) = error.too_large().unwrap_or_else(|| panic!("{error}"));
        assert!(bytes > limit && bytes < 2 * limit, "{error}");
        assert!(epochs.shrink());
        (pace, parted) = (epochs.pace(), parted + 1);
    }
    assert!(parted > 0);
    let shortest = logs.values("out").iter().filter(|value| value.contains("\"n\":1}")).count();
    assert_eq!(shortest, 40);
}

/// A store that fails, and one that holds what nobody wrote, end the run: no epoch is computed from them.
#[test]
fn a_store_that_fails_or_is_damaged_is_an_error() {
    let plan = query(0, false);
    let limits = EpochLimits { input_records: 4, ..EpochLimits::default() };
    let mut logs = logs();
    (0..40).for_each(|at| logs.produce("left", 0, &[event(&format!("{}", at % 20), 1, 10_000)]));
    let start = || {
        let mut logs = logs.clone();
        let mut run = Spilt::new(&plan, limits, 0, 0);
        let crash = Crash { after: 4, kept: 100, synced: false, lost: false };
        assert!(!run.run(&mut logs, Some(crash)).unwrap());
        (run, logs)
    };
    let failed = |epochs: &mut EpochLoop, logs: &mut MemoryLogs| loop {
        match epochs.turn(logs, 1_000_000, 0) {
            Ok(Turn::Committed { .. }) => {}
            Err(TurnError::Epoch { error: EpochError::Cold(error), .. }) => break error,
            other => panic!("{other:?}"),
        }
    };
    let (mut run, mut failing) = start();
    let mut epochs = EpochLoop::new(run.restore(&failing), limits);
    run.store.fail_after(1);
    let error = failed(&mut epochs, &mut failing);
    assert!(matches!(error, ColdError::Failed { .. }), "{error}");

    let (mut run, mut damaged) = start();
    for (key, _) in run.store.dump() {
        run.store.damage(&key, b"?");
    }
    let mut epochs = EpochLoop::new(run.restore(&damaged), limits);
    let error = failed(&mut epochs, &mut damaged);
    assert!(matches!(error, ColdError::Damaged { .. }), "{error}");

    // One that has lost an entry in the middle shows: the digests differ.
    let (mut run, mut lossy) = start();
    let mut whole = lossy.clone();
    let (key, _) = run.store.dump()[0].clone();
    let mark = run.store.mark().unwrap().unwrap();
    run.store.write(&mut std::iter::once((&*key, None)), &mark).unwrap();
    run.run(&mut lossy, None).unwrap();
    let mut intact = start().0;
    intact.run(&mut whole, None).unwrap();
    assert_ne!(digests(&lossy), digests(&whole));
}
