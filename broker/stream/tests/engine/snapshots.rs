//! Snapshots (I10): a snapshot and the changelog behind it are the state, whatever the query, the input, and the epoch
//! the snapshot is of. And one that is damaged is seen.

use std::collections::BTreeMap;

use logmill_record::Batch;
use logmill_stream::{
    EpochLimits, EpochLoop, LOOK_BYTES, Pipeline, Plan, Progress, Restoring, SNAPSHOT_VERSION, SnapshotError,
    SnapshotHeader, SnapshotOperator, SnapshotReader, SnapshotWriter, StateChanges, TopicPartition, Turn,
    merge_snapshot, merge_stretches, write_stretch,
};
use proptest::prelude::*;

use crate::support::{MemoryLogs, restored, spec};

const SOURCES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'left', 'format' = 'json');
    CREATE TABLE r (k STRING, y BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
    WITH ('topic' = 'right', 'format' = 'json');";

/// Queries, one for each kind of state.
const QUERIES: &[(&str, &str, &str)] = &[
    (
        "s TIMESTAMP(3), k STRING, n BIGINT, u BIGINT",
        "",
        "SELECT window_start, k, COUNT(*), COUNT(DISTINCT x)
         FROM TABLE(HOP(TABLE l, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND))
         GROUP BY window_start, window_end, k",
    ),
    (
        "k STRING, n BIGINT, a BIGINT, u BIGINT, d DOUBLE",
        ", 'output' = 'upsert'",
        "SELECT k, COUNT(*), MIN(x), COUNT(DISTINCT x), SUM(d) FROM l GROUP BY k UNBOUNDED",
    ),
    (
        "k STRING, s TIMESTAMP(3), n BIGINT, x BIGINT",
        "",
        "SELECT k, window_start, COUNT(*), SUM(x)
         FROM TABLE(SESSION(TABLE l PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND))
         GROUP BY k, window_start, window_end",
    ),
    (
        "k STRING, x BIGINT, n BIGINT",
        ", 'output' = 'retract'",
        "SELECT k, x, n FROM (SELECT k, x, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x DESC, ts) AS n FROM l)
         WHERE n <= 2 UNBOUNDED",
    ),
    (
        "k STRING, x BIGINT, s BIGINT",
        "",
        "SELECT k, x, SUM(x) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW)
         FROM l",
    ),
    (
        "k STRING, x BIGINT, y BIGINT",
        "",
        "SELECT l.k, x, y FROM l LEFT JOIN r ON l.k = r.k
         AND r.ts BETWEEN l.ts - INTERVAL '2' SECOND AND l.ts + INTERVAL '1' SECOND",
    ),
    (
        "k STRING, x BIGINT, y BIGINT",
        ", 'output' = 'retract'",
        "SELECT l.k, x, y FROM l LEFT JOIN r ON l.k = r.k UNBOUNDED",
    ),
];

fn query(index: usize) -> Plan {
    let (columns, options, select) = QUERIES[index];
    let script = format!(
        "{SOURCES} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json' {options}); INSERT INTO o {select}"
    );
    match logmill_stream::compile(&script) {
        Ok(plan) => plan,
        Err(error) => panic!("query {index}: {error}\n{}", error.excerpt(&script)),
    }
}

#[derive(Debug, Clone)]
struct Event {
    left: bool,
    partition: i32,
    json: String,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (any::<bool>(), 0..2, "[a-c]", -3_i64..6, 0_i64..2_500, 0_i64..4_000);
    prop::collection::vec(event, 1..50).prop_map(|steps| {
        let mut newest = 10_000;
        let event = |(left, partition, key, value, step, behind): (bool, i32, String, i64, i64, i64)| {
            newest += step;
            let json = serde_json::json!({
                "k": key, "x": value, "y": value, "d": value as f64 + 0.25, "ts": newest - behind
            });
            Event { left, partition, json: json.to_string() }
        };
        steps.into_iter().map(event).collect()
    })
}

fn logs(events: &[Event]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    for topic in ["left", "right"] {
        logs.create(topic, 2);
    }
    logs.create("out", 1);
    for event in events {
        let topic = if event.left { "left" } else { "right" };
        logs.produce(topic, event.partition, std::slice::from_ref(&event.json));
    }
    logs
}

/// A snapshot in memory, and how many batches of the changelog are in it.
#[derive(Debug, Clone)]
struct Kept {
    bytes: Vec<u8>,
    batches: usize,
}

fn header(plan: &Plan, progress: &Progress, batches: usize) -> SnapshotHeader {
    SnapshotHeader {
        version: SNAPSHOT_VERSION,
        progress: progress.clone(),
        progress_offset: progress.epoch as i64 - 1,
        changelog: "test".to_owned(),
        changelog_end: batches as i64,
        script: String::new(),
        operators: SnapshotOperator::of(plan),
        created_ms: 0,
    }
}

/// The snapshot of what is committed, made of the one before and the changelog since.
fn snapshot(plan: &Plan, logs: &MemoryLogs, before: Option<&Kept>) -> Kept {
    let batches = logs.changelog.len();
    let mut changes = StateChanges::default();
    for batch in &logs.changelog[before.map_or(0, |before| before.batches)..] {
        changes.apply(batch).unwrap();
    }
    let header = header(plan, logs.progress.last().unwrap(), batches);
    let mut base = before.map(|before| SnapshotReader::open(&*before.bytes).unwrap());
    let (bytes, size) = merge_snapshot(&header, base.as_mut(), &changes, |_| true, Vec::new()).unwrap();
    assert_eq!(size.bytes, bytes.len() as u64);
    let since = &logs.changelog[before.map_or(0, |before| before.batches)..];
    assert!(bytes == merged_in_stretches(&header, before, since), "in stretches it is another one");
    Kept { bytes, batches }
}

/// The same snapshot where the changes do not fit into memory together: most stretches wait in files, and some files are made
/// one.
fn merged_in_stretches(header: &SnapshotHeader, before: Option<&Kept>, since: &[Batch]) -> Vec<u8> {
    let changes_of = |batches: &[Batch]| {
        let mut changes = StateChanges::default();
        batches.iter().for_each(|batch| changes.apply(batch).unwrap());
        changes
    };
    let open = |bytes: &[Vec<u8>]| -> Vec<SnapshotReader<std::io::Cursor<Vec<u8>>>> {
        bytes.iter().map(|bytes| SnapshotReader::open(std::io::Cursor::new(bytes.clone())).unwrap()).collect()
    };
    let (in_files, last) = since.split_at(since.len() - since.len() % 3);
    let mut files: Vec<Vec<u8>> = Vec::new();
    for stretch in in_files.chunks(3) {
        let before = if files.len() < 3 { files.len() } else { 0 };
        let older = files.split_off(before);
        let written = write_stretch(header, &mut open(&older), &changes_of(stretch), Vec::new()).unwrap();
        files.push(written.0);
    }
    let mut base =
        before.map(|before| SnapshotReader::open(std::io::Cursor::new(before.bytes.clone())).unwrap());
    let merged = merge_stretches(header, base.as_mut(), &mut open(&files), &changes_of(last), Vec::new());
    merged.unwrap().0
}

fn restored_from(plan: &Plan, logs: &MemoryLogs, generation: u32, kept: &Kept) -> Pipeline {
    let spec = spec(plan, logs, generation);
    let restoring = Pipeline::restore(plan.clone(), spec, logs.last_progress()).unwrap();
    let mut reader = SnapshotReader::open(&*kept.bytes).unwrap();
    let mut restoring = restoring.apply_snapshot(&mut reader, &mut |_| true).unwrap();
    logs.changelog[kept.batches..].iter().for_each(|batch| restoring.apply(batch).unwrap());
    restoring.finish()
}

fn entries(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut reader = SnapshotReader::open(bytes).unwrap();
    let mut entries = BTreeMap::new();
    while let Some((key, value)) = reader.next_entry().unwrap() {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

fn ends(plan: &Plan, logs: &MemoryLogs) -> BTreeMap<TopicPartition, i64> {
    plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect()
}

/// Runs to the end. With `every`, a snapshot is made after so many epochs, and one epoch later the pipeline is thrown
/// away and restored from it.
fn run(plan: &Plan, logs: &mut MemoryLogs, limits: EpochLimits, every: u64, shards: usize) -> Option<Kept> {
    let ends = ends(plan, logs);
    let mut kept: Option<Kept> = None;
    let mut epochs = EpochLoop::new(restored(plan, logs, 1), limits);
    let mut generation = 1;
    loop {
        epochs.declare_ends(ends.clone()).unwrap();
        match epochs.turn(logs, 1_000_000, 0).unwrap() {
            Turn::Finished => return kept,
            Turn::Idle => panic!("a bounded run has always something to do"),
            Turn::Committed { progress, .. } if every == 0 => {
                let pending = progress.emission_pending(plan).unwrap();
                assert_eq!(pending, epochs.pipeline().emission_pending(), "the record says it, too");
            }
            Turn::Committed { progress, .. } => {
                if progress.epoch % every == 0 {
                    kept = Some(snapshot(plan, logs, kept.as_ref()));
                } else if progress.epoch % every == 1
                    && let Some(kept) = &kept
                {
                    generation += 1;
                    logs.shards = 1 + (generation as usize) % shards;
                    epochs = EpochLoop::new(restored_from(plan, logs, generation, kept), limits);
                }
            }
        }
    }
}

fn limits() -> impl Strategy<Value = EpochLimits> {
    let records = prop_oneof![Just(1_u64), Just(3), Just(7)];
    (records, prop_oneof![Just(2_u32), Just(1_000)]).prop_map(|(input_records, emit_rows)| EpochLimits {
        input_records,
        emit_rows,
        ..EpochLimits::default()
    })
}

fn digests(logs: &MemoryLogs) -> Vec<u32> {
    logs.progress.iter().map(|progress| progress.digest).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// I10. The digest of every later epoch covers every byte it writes, changed state included.
    #[test]
    fn a_snapshot_and_the_changes_behind_it_are_the_state(
        index in 0..QUERIES.len(),
        events in events(),
        limits in limits(),
        every in 2_u64..5,
    ) {
        let plan = query(index);
        let mut undisturbed = logs(&events);
        let mut restarted = undisturbed.clone();
        run(&plan, &mut undisturbed, limits, 0, 1);
        let kept = run(&plan, &mut restarted, limits, every, 3);
        prop_assert_eq!(digests(&undisturbed), digests(&restarted), "I10");
        prop_assert_eq!(undisturbed.values("out"), restarted.values("out"), "I10");
        if let Some(kept) = kept {
            // Made step by step it is what it is made in one go.
            let until = logs_until(&restarted, kept.batches);
            let whole = snapshot(&plan, &until, None);
            prop_assert_eq!(entries(&whole.bytes), entries(&kept.bytes));
        }
    }

    /// I16. Whatever happens to its bytes: an error, or every entry that was written and no other.
    #[test]
    fn a_damaged_snapshot_is_seen(events in events(), at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<bool>()) {
        let plan = query(1);
        let mut logs = logs(&events);
        run(&plan, &mut logs, EpochLimits::default(), 0, 1);
        let kept = snapshot(&plan, &logs, None);
        let mut bytes = kept.bytes.clone();
        let at = at.index(bytes.len());
        match cut {
            true => bytes.truncate(at),
            false => bytes[at] ^= 1_u8 << bit,
        }
        let read = || {
            let mut reader = SnapshotReader::open(&*bytes)?;
            while reader.next_entry()?.is_some() {}
            Ok::<(), SnapshotError>(())
        };
        let error = read().unwrap_err();
        match cut {
            true => prop_assert!(matches!(error, SnapshotError::Truncated { .. }), "{}", error),
            false => prop_assert!(
                matches!(error, SnapshotError::Damaged { .. } | SnapshotError::Truncated { .. }),
                "{}", error
            ),
        }
        // The changelog is whole: it is what to fall back to.
        prop_assert_eq!(restored(&plan, &logs, 9).epoch(), logs.last_progress().unwrap().epoch);
    }
}

/// The logs as they were when the changelog had so many batches. Only the changelog and the last record matter.
fn logs_until(logs: &MemoryLogs, batches: usize) -> MemoryLogs {
    MemoryLogs { changelog: logs.changelog[..batches].to_vec(), ..logs.clone() }
}

fn of_group_aggregate() -> (Plan, MemoryLogs) {
    let plan = query(1);
    let mut logs = MemoryLogs::default();
    logs.create("left", 1);
    logs.create("out", 1);
    for (key, value) in [("a", 1), ("b", 2), ("a", 1), ("b", 5), ("a", 7)] {
        let row = serde_json::json!({ "k": key, "x": value, "d": 0.5, "ts": 10_000 }).to_string();
        logs.produce("left", 0, &[row]);
    }
    (plan, logs)
}

/// The test of I10 sees a snapshot without one of its entries, and one that is taken for a later one.
#[test]
fn wrong_snapshots_show_in_the_digests() {
    let limits = EpochLimits { input_records: 1, ..EpochLimits::default() };
    let (plan, mut logs) = of_group_aggregate();
    let undisturbed = {
        let mut logs = logs.clone();
        run(&plan, &mut logs, limits, 0, 1);
        digests(&logs)
    };
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
    let mut first = None;
    for epoch in 1..=3 {
        assert!(matches!(epochs.turn(&mut logs, 1_000_000, 0).unwrap(), Turn::Committed { .. }));
        if epoch == 2 {
            first = Some(snapshot(&plan, &logs, None));
        }
    }
    let ends = ends(&plan, &logs);
    let finish = |kept: &Kept| {
        let mut logs = logs.clone();
        let mut epochs = EpochLoop::new(restored_from(&plan, &logs, 2, kept), limits);
        epochs.declare_ends(ends.clone()).unwrap();
        while !matches!(epochs.turn(&mut logs, 1_000_000, 0).unwrap(), Turn::Finished) {}
        digests(&logs)
    };
    let first = first.unwrap();
    assert_eq!(finish(&first), undisturbed);
    let mut lossy = SnapshotWriter::new(Vec::new(), &header(&plan, &logs.progress[1], 0)).unwrap();
    // Those of `b`, which the third epoch does not write again.
    let of_b = |key: &[u8]| key.ends_with(b"b") || key.windows(2).any(|pair| pair == b"b\0");
    let entries = entries(&first.bytes);
    let left = entries.iter().filter(|(key, _)| !of_b(key));
    left.for_each(|(key, value)| lossy.push(key, value).unwrap());
    let lossy = Kept { bytes: lossy.finish().unwrap().0, ..first };
    assert_ne!(finish(&lossy), undisturbed, "an entry is left out");
    let skipped = Kept { batches: logs.changelog.len(), ..first };
    assert_ne!(finish(&skipped), undisturbed, "changes behind the snapshot are left out");
}

#[test]
fn a_snapshot_of_something_else_is_refused() {
    let (plan, mut logs) = of_group_aggregate();
    run(&plan, &mut logs, EpochLimits::default(), 0, 1);
    let kept = snapshot(&plan, &logs, None);
    let other = query(0);
    let refused = |plan: &Plan, progress: Progress| {
        let restoring = Pipeline::restore(plan.clone(), spec(plan, &logs, 9), Some(progress)).unwrap();
        restoring
            .apply_snapshot(&mut SnapshotReader::open(&*kept.bytes).unwrap(), &mut |_| true)
            .unwrap_err()
            .to_string()
    };
    let last = logs.last_progress().unwrap();
    let of_other = Progress { plan: other.fingerprint(), operators: Vec::new(), ..last.clone() };
    assert!(refused(&other, of_other).contains("it is of plan"));
    let before = Progress { epoch: last.epoch - 1, ..last.clone() };
    assert!(refused(&plan, before).contains("the last committed one is"));
    let renamed = last.taken_up("other", 3, 8, 17);
    assert_eq!((renamed.generation, renamed.epoch, renamed.state_from), (3, 8, Some(17)));
    let spec = logmill_stream::PipelineSpec { name: "other".to_owned(), ..spec(&plan, &logs, 9) };
    let restoring = Pipeline::restore(plan.clone(), spec, Some(renamed)).unwrap();
    let error = restoring
        .apply_snapshot(&mut SnapshotReader::open(&*kept.bytes).unwrap(), &mut |_| true)
        .unwrap_err();
    assert!(error.to_string().contains("it is of pipeline test"), "{error}");
}

/// Whoever restores is asked on the way, and not when all of a large state is in memory.
#[test]
fn a_large_snapshot_is_given_up_on_the_way() {
    let plan = query(1);
    let keys = 8 * LOOK_BYTES / 1000;
    let row = |key| serde_json::json!({ "k": format!("{key:01000}"), "x": 1, "d": 0.0, "ts": 0 }).to_string();
    let mut logs = logs(&[]);
    logs.produce("left", 0, &(0..keys).map(row).collect::<Vec<_>>());
    run(&plan, &mut logs, EpochLimits::default(), 0, 1);
    let kept = snapshot(&plan, &logs, None);
    let apply = |budget: u64| {
        let restoring = Pipeline::restore(plan.clone(), spec(&plan, &logs, 9), logs.last_progress()).unwrap();
        let mut seen = Vec::new();
        let mut go_on = |restoring: &Restoring| {
            seen.push(restoring.memory_bytes());
            restoring.memory_bytes() <= budget
        };
        let applied = restoring.apply_snapshot(&mut SnapshotReader::open(&*kept.bytes).unwrap(), &mut go_on);
        (applied.map(|restoring| restoring.memory_bytes()), seen)
    };
    let (whole, seen) = apply(u64::MAX);
    assert!(whole.unwrap() > 8 * LOOK_BYTES as u64 && seen.len() >= 7, "{seen:?}");
    let (given_up, seen) = apply(2 * LOOK_BYTES as u64);
    assert!(matches!(given_up, Err(SnapshotError::GivenUp)), "{given_up:?}");
    assert!(seen.iter().all(|bytes| *bytes < 4 * LOOK_BYTES as u64), "{seen:?}");
}

#[test]
fn long_and_unordered_entries_are_refused() {
    let (plan, mut logs) = of_group_aggregate();
    run(&plan, &mut logs, EpochLimits::default(), 0, 1);
    let header = header(&plan, logs.progress.last().unwrap(), 0);
    let mut writer = SnapshotWriter::new(Vec::new(), &header).unwrap();
    writer.push(b"b", b"1").unwrap();
    assert!(matches!(writer.push(b"b", b"2"), Err(SnapshotError::Misfit { .. })));
    assert!(matches!(writer.push(b"a", b"2"), Err(SnapshotError::Misfit { .. })));
    let long = vec![0; 128 << 20];
    assert!(matches!(writer.push(b"c", &long), Err(SnapshotError::EntryTooLong { .. })));
    // Longer than a chunk, and alone in one.
    let value = vec![7; 600_000];
    writer.push(b"c", &value).unwrap();
    writer.push(b"d", b"").unwrap();
    let (bytes, size) = writer.finish().unwrap();
    assert_eq!(size.entries, 3);
    assert_eq!(entries(&bytes)[&b"c"[..]], value);
    assert!(String::from_utf8_lossy(&bytes).contains("\"version\":1"), "people can read the header");
}

/// Batches are what they were before: nothing of a snapshot is in the changelog.
#[test]
fn a_pipeline_taken_up_elsewhere_goes_on_from_its_snapshot_alone() {
    let limits = EpochLimits { input_records: 2, ..EpochLimits::default() };
    let (plan, mut logs) = of_group_aggregate();
    let mut whole = logs.clone();
    run(&plan, &mut whole, limits, 0, 1);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits);
    assert!(matches!(epochs.turn(&mut logs, 1_000_000, 0).unwrap(), Turn::Committed { .. }));
    let last = logs.last_progress().unwrap();
    let taken_up = last.taken_up("test", 2, last.epoch + 1, 0);
    assert_eq!(taken_up.cut().ranges.values().filter(|range| !range.is_empty()).count(), 0);
    // The state was in the changelog; from here on it is in the snapshot only.
    logs.progress.push(taken_up);
    let kept = Kept { batches: 0, ..snapshot(&plan, &logs, None) };
    logs.changelog = Vec::<Batch>::new();
    let mut epochs = EpochLoop::new(restored_from(&plan, &logs, 2, &kept), limits);
    epochs.declare_ends(ends(&plan, &logs)).unwrap();
    while !matches!(epochs.turn(&mut logs, 1_000_000, 0).unwrap(), Turn::Finished) {}
    assert_eq!(whole.values("out").last(), logs.values("out").last());
    assert_eq!(logs.values("out").len(), whole.values("out").len());
}
