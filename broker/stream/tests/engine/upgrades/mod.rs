//! Another plan for a running pipeline (I11): what comes behind the cut is what a pipeline gives that has run the new plan
//! from the start, and between what came before and what comes behind there is no gap and no repeat.

mod pairs;

use std::collections::BTreeMap;

use logmill_stream::{
    Counters, EpochLimits, EpochLoop, Fate, Followed, Pipeline, Plan, Progress, SNAPSHOT_VERSION, Shadow,
    SnapshotHeader, SnapshotOperator, SnapshotReader, SnapshotWriter, StateChanges, TopicPartition, Turn,
    Upgrade, UpgradeError, merge_snapshot,
};
use pairs::{groups, joined, pairs};
use proptest::prelude::*;

use crate::support::{MemoryLogs, plan, restored, spec};

#[derive(Debug, Clone)]
struct Event {
    left: bool,
    json: String,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (any::<bool>(), "[a-c]", 0_i64..10, 0_i64..1_500, 0_i64..4_000);
    prop::collection::vec(event, 2..60).prop_map(|steps| {
        let mut newest = 10_000;
        let event = |(left, key, value, step, behind): (bool, String, i64, i64, i64)| {
            newest += step;
            let json = serde_json::json!({ "k": key, "x": value, "y": value, "ts": newest - behind });
            Event { left, json: json.to_string() }
        };
        steps.into_iter().map(event).collect()
    })
}

fn empty_logs() -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    for topic in ["left", "right", "out", "joined"] {
        logs.create(topic, 1);
    }
    logs
}

fn produce(logs: &mut MemoryLogs, events: &[Event]) {
    for event in events {
        logs.produce(if event.left { "left" } else { "right" }, 0, std::slice::from_ref(&event.json));
    }
}

/// Turns until there is nothing more to do.
fn run(epochs: &mut EpochLoop, logs: &mut MemoryLogs) {
    run_at(epochs, logs, 1_000_000);
}

fn run_at(epochs: &mut EpochLoop, logs: &mut MemoryLogs, now: i64) {
    loop {
        match epochs.turn(logs, now, 0).unwrap() {
            Turn::Committed { .. } => {}
            Turn::Idle | Turn::Finished => return,
        }
    }
}

fn ends(plan: &Plan, logs: &MemoryLogs) -> BTreeMap<TopicPartition, i64> {
    plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect()
}

/// How the upgrade is done; anything but `Right` is a bug that the test must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Right,
    /// The state that is kept is not taken over.
    LosesKept,
    /// The state that is made is not taken.
    LosesMade,
    /// The state that is migrated is not taken over.
    LosesMigrated,
    /// The state that is migrated is taken for that of the new operator as it was.
    CopiesMigrated,
    /// The new plan begins a record too early.
    Repeats,
    /// The new plan begins a record too late.
    Skips,
}

/// The operator that an entry of the state is of.
fn operator_of(key: &[u8]) -> u32 {
    u32::from_be_bytes(key[1..5].try_into().unwrap())
}

/// A snapshot with other entries.
fn edited(bytes: &[u8], edit: impl Fn(Entry) -> Option<Entry>) -> Vec<u8> {
    let mut reader = SnapshotReader::open(bytes).unwrap();
    let header = reader.header().clone();
    let mut entries = BTreeMap::new();
    while let Some((key, value)) = reader.next_entry().unwrap() {
        entries.extend(edit((key.to_vec(), value.to_vec())));
    }
    let mut writer = SnapshotWriter::new(Vec::new(), &header).unwrap();
    entries.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
    writer.finish().unwrap().0
}

type Entry = (Vec<u8>, Vec<u8>);

/// Puts `new` in the place of `old`, whose pipeline stands in `logs`.
fn upgrade(old: &Plan, new: &Plan, logs: &mut MemoryLogs, limits: EpochLimits, way: Way) -> Pipeline {
    let standing = logs.last_progress().unwrap();
    let upgrade = Upgrade::between(old, new, &standing.totals);
    let mut made = None;
    let mut changes = StateChanges::default();
    if upgrade.replays() {
        let mut targets = ends(new, logs);
        for input in &standing.inputs {
            targets.insert(TopicPartition::new(&*input.topic, input.partition), input.to);
        }
        let followed =
            Followed { offsets: targets.clone(), times: upgrade.times((old, new), Some(&standing)) };
        let mut shadow = Shadow::new(new.clone(), spec(new, logs, 1), limits, followed).unwrap();
        while shadow.turn(logs, 1_000_000, 0).unwrap() {}
        assert!(shadow.positions().all(|(partition, at)| at == targets[partition]));
        (changes, made) = shadow.finish();
        upgrade.take_made(&mut changes);
    }
    let mut progress = upgrade.progress((old, new), &standing, made.as_ref(), 2, 0).unwrap();
    let by = match way {
        Way::Repeats => -1,
        Way::Skips => 1,
        _ => 0,
    };
    if let Some(input) = progress.inputs.iter_mut().find(|input| input.topic == "left") {
        input.to += by;
        input.from = input.to;
    }
    let header = |progress: &Progress| SnapshotHeader {
        version: SNAPSHOT_VERSION,
        progress: progress.clone(),
        progress_offset: 0,
        changelog: String::new(),
        changelog_end: 0,
        script: String::new(),
        operators: SnapshotOperator::of(new),
        created_ms: 0,
    };
    let mut all = StateChanges::default();
    logs.changelog.iter().for_each(|batch| all.apply(batch).unwrap());
    let (before, _) =
        merge_snapshot::<&[u8], _>(&header(&standing), None, &all, |_| true, Vec::new()).unwrap();
    let mut open = || SnapshotReader::open(&*before);
    let (bytes, _) = upgrade.carry_over(old, &header(&progress), &mut open, &changes, Vec::new()).unwrap();
    let is_migrated = |identity: u32| !upgrade.keeps(identity) && !upgrade.makes(identity);
    let bytes = edited(&bytes, |(key, value)| {
        let of = operator_of(&key);
        let lost = match way {
            Way::LosesKept => upgrade.keeps(of),
            Way::LosesMade => upgrade.makes(of),
            Way::LosesMigrated => is_migrated(of),
            _ => false,
        };
        // The entry the old operator, which there is one of, has for the key.
        let as_it_was = || {
            let mut standing = SnapshotReader::open(&*before).unwrap();
            while let Some((old_key, old_value)) = standing.next_entry().unwrap() {
                if old_key[5..] == key[5..] {
                    return old_value.to_vec();
                }
            }
            panic!("there is no such entry");
        };
        let value = if way == Way::CopiesMigrated && is_migrated(of) { as_it_was() } else { value };
        (!lost).then_some((key, value))
    });
    logs.progress.push(progress.clone());
    logs.changelog.clear();
    let restoring = Pipeline::restore(new.clone(), spec(new, logs, 2), Some(progress)).unwrap();
    restoring.apply_snapshot(&mut SnapshotReader::open(&*bytes).unwrap(), &mut |_| true).unwrap().finish()
}

/// What is written behind the cut, topic by topic, by a pipeline that was upgraded there, and by one that has always run
/// the new plan.
fn behind_the_cut(
    (old, new): (&Plan, &Plan),
    (before, after): (&[Event], &[Event]),
    limits: EpochLimits,
    way: Way,
) -> [Vec<Vec<String>>; 2] {
    let mut logs = empty_logs();
    produce(&mut logs, before);
    let mut fresh_logs = logs.clone();
    let mut epochs = EpochLoop::new(restored(old, &logs, 1), limits);
    run(&mut epochs, &mut logs);
    let topics = ["out", "joined"];
    let written = |logs: &MemoryLogs| topics.map(|topic| logs.records(topic).len());
    let counts = written(&logs);
    let pipeline = match logs.progress.is_empty() {
        true => restored(new, &logs, 2),
        false => upgrade(old, new, &mut logs, limits, way),
    };
    let mut epochs = EpochLoop::new(pipeline, limits);
    // Whatever is left of before the cut is nothing new. One that begins too late would be refused while the log ends before.
    if way != Way::Skips {
        run(&mut epochs, &mut logs);
    }
    let mut fresh = EpochLoop::new(restored(new, &fresh_logs, 1), limits);
    run(&mut fresh, &mut fresh_logs);
    let fresh_counts = written(&fresh_logs);
    for (logs, epochs) in [(&mut logs, &mut epochs), (&mut fresh_logs, &mut fresh)] {
        produce(logs, after);
        epochs.declare_ends(ends(new, logs)).unwrap();
        run(epochs, logs);
        assert!(logs.last_progress().unwrap().finished);
    }
    let rows = |logs: &MemoryLogs, counts: [usize; 2]| {
        let text =
            |bytes: &Option<bytes::Bytes>| format!("{:?}", bytes.as_deref().map(String::from_utf8_lossy));
        let of = |(topic, from): (&str, usize)| {
            let records = logs.records(topic).split_off(from);
            records.iter().map(|(_, record)| text(&record.key) + &text(&record.value)).collect()
        };
        topics.into_iter().zip(counts).map(of).collect()
    };
    [rows(&logs, counts), rows(&fresh_logs, fresh_counts)]
}

#[test]
fn what_becomes_of_each_operator_is_announced() {
    for (old, new, fates) in pairs() {
        let upgrade = Upgrade::between(&plan(&old), &plan(&new), &Counters::default());
        let found: Vec<Fate> = upgrade.operators.iter().map(|change| change.fate).collect();
        assert_eq!(found, fates, "{new}");
        assert_eq!(upgrade.replays(), fates.iter().any(|fate| matches!(fate, Fate::Rebuilt | Fate::New)));
    }
    let (old, new) = (plan(&groups("n BIGINT", "COUNT(*)", "")), plan(&joined("JOIN r")));
    let upgrade = Upgrade::between(&old, &new, &Counters::default());
    assert_eq!(
        (upgrade.new_sources, upgrade.new_sinks),
        (vec!["right".to_owned()], vec!["joined".to_owned()])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// I11.
    #[test]
    fn behind_the_cut_comes_what_a_fresh_run_gives(
        index in 0..pairs().len(),
        events in events(),
        at in any::<prop::sample::Index>(),
        records in prop_oneof![Just(1_u64), Just(4), Just(1_000)],
    ) {
        let (old, new, _) = &pairs()[index];
        let limits = EpochLimits { input_records: records, ..EpochLimits::default() };
        let parts = events.split_at(at.index(events.len()));
        let [upgraded, fresh] = behind_the_cut((&plan(old), &plan(new)), parts, limits, Way::Right);
        prop_assert_eq!(upgraded, fresh, "I11");
    }
}

/// Rows that an older version kept, and this one has no use for, must not show: neither in what is given nor in its order.
#[test]
fn rows_beyond_a_lower_limit_do_not_show() {
    let event = |key: &str, value: i64| Event {
        left: true,
        json: serde_json::json!({ "k": key, "x": value, "y": value, "ts": 10_000 }).to_string(),
    };
    let before = [("c", 0), ("c", 0)].map(|(key, value)| event(key, value));
    let after = [("c", 5), ("a", 0), ("c", 1)].map(|(key, value)| event(key, value));
    for (old, new, _) in pairs() {
        let plans = (&plan(&old), &plan(&new));
        let [upgraded, fresh] = behind_the_cut(plans, (&before, &after), EpochLimits::default(), Way::Right);
        assert_eq!(upgraded, fresh, "{new}");
    }
}

/// Each of these would be a bug, and the comparison with a fresh run sees it.
#[test]
fn wrong_upgrades_are_seen() {
    let event = |left: bool, key: &str, x: i64, ts: i64| Event {
        left,
        json: serde_json::json!({ "k": key, "x": x, "y": x, "ts": ts }).to_string(),
    };
    let before = [event(true, "a", 1, 10_000), event(false, "a", 5, 10_000), event(true, "a", 2, 11_000)];
    let after = [event(true, "a", 4, 11_500), event(false, "a", 6, 11_000), event(true, "a", 7, 12_000)];
    let pairs = pairs();
    for (index, way) in [
        (0, Way::LosesKept),
        (0, Way::Repeats),
        (0, Way::Skips),
        (1, Way::LosesMade),
        (2, Way::LosesMade),
        (3, Way::Repeats),
        (3, Way::Skips),
        (4, Way::LosesKept),
        (4, Way::LosesMade),
        (5, Way::LosesMade),
        (6, Way::LosesMigrated),
        (6, Way::Repeats),
        (6, Way::Skips),
        (7, Way::LosesMigrated),
        (8, Way::LosesMigrated),
        (9, Way::LosesMigrated),
        (10, Way::LosesMigrated),
        (11, Way::LosesMigrated),
        (13, Way::LosesMigrated),
        (14, Way::LosesMigrated),
        (16, Way::LosesMigrated),
        (18, Way::LosesKept),
        (18, Way::LosesMigrated),
        (19, Way::LosesMigrated),
        (20, Way::LosesMade),
        (21, Way::CopiesMigrated),
    ] {
        let (old, new, _) = &pairs[index];
        let compare = |way: Way| {
            behind_the_cut((&plan(old), &plan(new)), (&before, &after), EpochLimits::default(), way)
        };
        let [right, fresh] = compare(Way::Right);
        assert_eq!(right, fresh, "{new}");
        let [wrong, fresh] = compare(way);
        assert_ne!(wrong, fresh, "{way:?} is not seen in {new}");
    }
}

#[test]
fn a_partition_that_the_old_plan_has_not_begun_is_still_to_come() {
    let pairs = pairs();
    let (old, new, _) = &pairs[1];
    let (old, new) = (plan(old), plan(new));
    let mut logs = empty_logs();
    let row = |ts: i64| vec![serde_json::json!({ "k": "a", "x": 1, "y": 1, "ts": ts }).to_string()];
    logs.produce("left", 0, &row(10_000));
    let mut epochs = EpochLoop::new(restored(&old, &logs, 1), EpochLimits::default());
    run(&mut epochs, &mut logs);
    let standing = logs.last_progress().unwrap();
    // The topic has got a partition since, and a shadow of the new plan has seen it.
    let grown = standing.inputs.iter().filter(|input| input.topic == "left").count() as i32;
    logs.produce("left", grown, &row(10_001));
    let upgrade = Upgrade::between(&old, &new, &Counters::default());
    let times = upgrade.times((&old, &new), Some(&standing));
    let followed = Followed { offsets: ends(&new, &logs), times };
    let mut shadow =
        Shadow::new(new.clone(), spec(&new, &logs, 1), EpochLimits::default(), followed).unwrap();
    while shadow.turn(&mut logs, 1_000_000, 0).unwrap() {}
    assert!(shadow.bytes() > 0 && shadow.operator_sizes().iter().any(|size| size.bytes > 0));
    let (_, made) = shadow.finish();
    let made = made.unwrap();
    assert!(made.inputs.iter().any(|input| input.partition == grown && input.to == 1));
    let progress = upgrade.progress((&old, &new), &standing, Some(&made), 2, 0).unwrap();
    let left: Vec<i32> = progress.inputs.iter().map(|input| input.partition).collect();
    assert!(!left.contains(&grown), "{left:?}");
}

/// Counts windows of ten seconds of a topic with several partitions.
fn counted(table: &str, delay: i64, columns: &str, select: &str) -> String {
    format!(
        "CREATE TABLE l (k STRING, x BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND)
         WITH ('topic' = 'left', 'format' = 'json' {table});
         CREATE TABLE o (s BIGINT, {columns}) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT UNIX_TIMESTAMP(window_start), {select}
         FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end"
    )
}

/// Of each window that was given its start in seconds, and how many records it had.
fn given(logs: &MemoryLogs) -> Vec<(i64, i64)> {
    let window = |text: &String| {
        let row = crate::support::json(text);
        (row["s"].as_i64().unwrap(), row["n"].as_i64().unwrap())
    };
    logs.values("out").iter().map(window).collect()
}

/// Time was further than the records alone say: a partition was idle, or was not there yet.
#[test]
fn windows_that_were_closed_ahead_of_a_silent_partition_are_given_once() {
    let rows = |seconds: std::ops::Range<i64>| -> Vec<String> {
        let row = |s| serde_json::json!({ "k": "a", "x": s, "ts": s * 1_000 }).to_string();
        seconds.map(row).collect()
    };
    let idle = ", 'idle-timeout' = '30 s'";
    let changes = [
        // The source stays what it is, takes another column in, has other delays, or another wait for the idle.
        (idle, 2, "n BIGINT", "COUNT(*) + 0"),
        (idle, 2, "n BIGINT, m BIGINT", "COUNT(*), MAX(x)"),
        (idle, 14, "n BIGINT, m BIGINT", "COUNT(*), MAX(x)"),
        (idle, 0, "n BIGINT, m BIGINT", "COUNT(*), MAX(x)"),
        ("", 2, "n BIGINT, m BIGINT", "COUNT(*), MAX(x)"),
    ];
    for limit in [1_000, 7] {
        let limits = EpochLimits { input_records: limit, ..EpochLimits::default() };
        for (table, delay, columns, select) in changes {
            for grown in [false, true] {
                let case = format!("{table} {delay} {select} {grown}");
                let old = plan(&counted(if grown { "" } else { idle }, 2, "n BIGINT", "COUNT(*)"));
                let new = plan(&counted(table, delay, columns, select));
                let mut logs = MemoryLogs::default();
                logs.create("left", if grown { 1 } else { 2 });
                logs.create("out", 1);
                logs.produce("left", 0, &rows(0..46));
                let mut epochs = EpochLoop::new(restored(&old, &logs, 1), limits);
                run_at(&mut epochs, &mut logs, 1_000_000);
                run_at(&mut epochs, &mut logs, 1_030_000);
                let four: Vec<(i64, i64)> = (0..4).map(|window| (window * 10, 10)).collect();
                assert_eq!(given(&logs), four, "{case}");
                if grown {
                    // The pipeline reads the new partition, which is empty.
                    logs.create("left", 2);
                    logs.produce("left", 0, &rows(46..47));
                    epochs = EpochLoop::new(restored(&old, &logs, 1), limits);
                    run_at(&mut epochs, &mut logs, 1_030_000);
                }
                assert_eq!(given(&logs), four, "{case}");
                let pipeline = upgrade(&old, &new, &mut logs, limits, Way::Right);
                let mut epochs = EpochLoop::new(pipeline, limits);
                run_at(&mut epochs, &mut logs, 1_030_000);
                assert_eq!(given(&logs), four, "{case}");
                let from = if grown { 47 } else { 46 };
                logs.produce("left", 0, &rows(from..80));
                logs.produce("left", 1, &rows(60..80));
                epochs.declare_ends(ends(&new, &logs)).unwrap();
                run_at(&mut epochs, &mut logs, 1_030_001);
                let counts = [10, 10, 10, 10, 10, 10, 20, 20];
                let all: Vec<(i64, i64)> = (0..).step_by(10).zip(counts).collect();
                assert_eq!(given(&logs), all, "{case}");
            }
        }
    }
}

#[test]
fn a_shadow_that_has_nothing_to_read_says_where_it_is() {
    let (old, new, _) = &pairs()[1];
    let (old, new) = (plan(old), plan(new));
    let mut logs = empty_logs();
    let row = |ts: i64| vec![serde_json::json!({ "k": "a", "x": 1, "y": 1, "ts": ts }).to_string()];
    logs.produce("left", 0, &row(10_000));
    let mut epochs = EpochLoop::new(restored(&old, &logs, 1), EpochLimits::default());
    run(&mut epochs, &mut logs);
    let standing = logs.last_progress().unwrap();
    let upgrade = Upgrade::between(&old, &new, &Counters::default());
    let followed =
        Followed { offsets: ends(&new, &logs), times: upgrade.times((&old, &new), Some(&standing)) };
    // What was read is gone since.
    let mut spec = spec(&new, &logs, 1);
    spec.inputs.iter_mut().for_each(|input| input.start = 1);
    let mut shadow = Shadow::new(new.clone(), spec, EpochLimits::default(), followed).unwrap();
    while shadow.turn(&mut logs, 1_000_000, 0).unwrap() {}
    let (changes, made) = shadow.finish();
    assert_eq!(changes.bytes(), 0);
    let progress = upgrade.progress((&old, &new), &standing, made.as_ref(), 2, 0).unwrap();
    assert_eq!((progress.inputs[0].to, progress.sources), (1, standing.sources));
}

#[test]
fn state_that_was_made_at_another_time_is_not_taken() {
    let (old, new, _) = &pairs()[1];
    let (old, new) = (plan(old), plan(new));
    let mut logs = empty_logs();
    let row = |ts: i64| vec![serde_json::json!({ "k": "a", "x": 1, "y": 1, "ts": ts }).to_string()];
    logs.produce("left", 0, &row(10_000));
    logs.produce("left", 0, &row(20_000));
    let mut epochs = EpochLoop::new(restored(&old, &logs, 1), EpochLimits::default());
    run(&mut epochs, &mut logs);
    let standing = logs.last_progress().unwrap();
    let upgrade = Upgrade::between(&old, &new, &Counters::default());
    // Nobody has said how far the pipeline is.
    let followed = Followed { offsets: ends(&new, &logs), times: upgrade.times((&old, &new), None) };
    let mut shadow =
        Shadow::new(new.clone(), spec(&new, &logs, 1), EpochLimits::default(), followed).unwrap();
    while shadow.turn(&mut logs, 1_000_000, 0).unwrap() {}
    let (_, made) = shadow.finish();
    let refused = upgrade.progress((&old, &new), &standing, made.as_ref(), 2, 0).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, UpgradeError::OtherTime { made: None, standing: Some(15_000), .. }), "{text}");
}

/// A record that was passed over for a column that is not read any more: the new plan would not have passed it over.
#[test]
fn what_was_passed_over_is_not_taken_for_read() {
    let skipping =
        |script: String| script.replace("('topic' = 'left',", "('topic' = 'left', 'on-error' = 'skip',");
    let old = plan(&skipping(groups("n BIGINT, s BIGINT", "COUNT(*), SUM(x)", "")));
    let new = plan(&skipping(groups("n BIGINT", "COUNT(*)", "")));
    let fate = |totals: &Counters| Upgrade::between(&old, &new, totals).operators[0].fate;
    let mut logs = empty_logs();
    let row = |x: serde_json::Value| vec![serde_json::json!({ "k": "a", "x": x, "ts": 10_000 }).to_string()];
    logs.produce("left", 0, &row(1.into()));
    let mut epochs = EpochLoop::new(restored(&old, &logs, 1), EpochLimits::default());
    run(&mut epochs, &mut logs);
    let before = logs.last_progress().unwrap();
    assert_eq!((before.totals.skipped, fate(&before.totals)), (0, Fate::Migrated));
    logs.produce("left", 0, &row("no number".into()));
    run(&mut epochs, &mut logs);
    let after = logs.last_progress().unwrap();
    assert_eq!((after.totals.skipped, fate(&after.totals)), (1, Fate::Rebuilt));
    // It came behind the decision.
    let upgrade = Upgrade::between(&old, &new, &before.totals);
    let refused = upgrade.progress((&old, &new), &after, None, 2, 0).unwrap_err();
    assert!(matches!(refused, UpgradeError::PassedOver), "{refused}");
    // Nor for computed, where all of it is read as before.
    let (n, quotient) = ("n BIGINT, s BIGINT, m BIGINT", "COUNT(*), SUM(x), MAX(10 / x)");
    let old = plan(&skipping(groups(n, quotient, "")));
    let new = plan(&skipping(groups("n BIGINT, s BIGINT", "COUNT(*), SUM(x)", "")));
    let mut logs = empty_logs();
    logs.produce("left", 0, &row(1.into()));
    let mut epochs = EpochLoop::new(restored(&old, &logs, 1), EpochLimits::default());
    run(&mut epochs, &mut logs);
    let upgrade = Upgrade::between(&old, &new, &logs.last_progress().unwrap().totals);
    assert_eq!(upgrade.operators[0].fate, Fate::Migrated);
    logs.produce("left", 0, &row(0.into()));
    run(&mut epochs, &mut logs);
    let after = logs.last_progress().unwrap();
    assert_eq!(after.totals.skipped, 1);
    let refused = upgrade.progress((&old, &new), &after, None, 2, 0).unwrap_err();
    assert!(matches!(refused, UpgradeError::PassedOver), "{refused}");
    // Aggregates of the same rows are not asked.
    let reordered = plan(&skipping(groups("s BIGINT, n BIGINT", "SUM(x), COUNT(*)", "")));
    let old = plan(&skipping(groups("n BIGINT, s BIGINT", "COUNT(*), SUM(x)", "")));
    assert_eq!(Upgrade::between(&old, &reordered, &after.totals).operators[0].fate, Fate::Migrated);
}
