//! What a pipeline that is behind leaves out: which records, and that each is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use logmill_record::{BatchBuilder, BatchOptions, Record};
use logmill_stream::{
    EpochError, EpochLimits, EpochLoop, Input, InputProgress, Logs, Pipeline, Plan, ShedControl, Shedding,
    TopicPartition, Turn, TurnError, compile,
};

use crate::support;
use crate::support::{MemoryLogs, json, plan, restored, spec};

/// A table that sheds, and one that holds what is left of it.
fn script(shed: &str) -> String {
    format!(
        "CREATE TABLE src (k STRING, v BIGINT, ts TIMESTAMP(3), fraction DOUBLE METADATA FROM 'shed-fraction',
           WATERMARK FOR ts AS ts) WITH ('topic' = 'in', 'format' = 'json') {shed};
         CREATE TABLE o (k STRING, v BIGINT, fraction DOUBLE) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT k, v, fraction FROM src"
    )
}

fn row(k: &str, v: i64) -> String {
    format!(r#"{{"k":"{k}","v":{v},"ts":{v}}}"#)
}

fn logs(partitions: i32) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions);
    logs.create("out", 1);
    logs.create("shed", 1);
    logs
}

/// Rows `v` of many keys over two partitions, each a batch of its own.
fn filled(rows: i64) -> MemoryLogs {
    let mut logs = logs(2);
    (0..rows).for_each(|v| logs.produce("in", (v % 2) as i32, &[row(&format!("k{}", v % 16), v)]));
    logs
}

fn few() -> EpochLimits {
    EpochLimits { input_records: 40, ..EpochLimits::default() }
}

/// A second passes with each epoch; the pipeline is built anew after each if `crashes`.
fn run(plan: &Plan, logs: &mut MemoryLogs, limits: EpochLimits, control: &ShedControl, crashes: bool) {
    let build = |logs: &MemoryLogs, generation| {
        EpochLoop::new(restored(plan, logs, generation), limits).with_shedding(control.clone())
    };
    let mut epochs = build(logs, 1);
    loop {
        let epoch = logs.progress.len() as u64;
        match epochs.turn(logs, 1_700_000_000_000 + epoch as i64 * 1_000, epoch * 7 + 1) {
            Ok(Turn::Committed { .. }) if crashes => epochs = build(logs, epoch as u32 + 2),
            Ok(Turn::Committed { .. }) => {}
            Ok(_) => return,
            // What was computed and not committed never happened.
            Err(TurnError::Commit(_)) => epochs = build(logs, epoch as u32 + 2),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A table sheds so many of 10,000 records in every epoch.
fn always(level: u32) -> ShedControl {
    ShedControl::Always(BTreeMap::from([("src".to_owned(), level)]))
}

fn column(logs: &MemoryLogs, topic: &str, name: &str) -> Vec<i64> {
    let value = |text: String| json(&text)[name].as_i64().unwrap();
    logs.values(topic).into_iter().map(value).collect()
}

fn shed(logs: &MemoryLogs) -> u64 {
    logs.last_progress().unwrap().totals.shed
}

/// That each row is in one of the topics, and counted as what it became.
#[track_caller]
fn accounted(logs: &MemoryLogs, rows: i64) {
    let (kept, left) = (column(logs, "out", "v"), column(logs, "shed", "v"));
    let mut all: Vec<i64> = kept.iter().chain(&left).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..rows).collect::<Vec<_>>(), "each row once");
    let totals = logs.last_progress().unwrap().totals;
    assert_eq!(
        (totals.read, totals.processed, totals.shed),
        (rows as u64, kept.len() as u64, left.len() as u64)
    );
}

/// Runs what was committed again, cut by cut, on so many shards: the bytes must be the same.
#[track_caller]
fn replay(plan: &Plan, logs: &mut MemoryLogs) {
    for shards in [1, 2, 3] {
        let mut spec = spec(plan, logs, 1);
        spec.shards = shards;
        let mut pipeline = Pipeline::new(plan.clone(), spec).unwrap();
        for progress in &logs.progress.clone() {
            let input = |input: &InputProgress| {
                let partition = TopicPartition::new(&*input.topic, input.partition);
                let from = input.passed_over.unwrap_or(input.from);
                let read = logs.read(&partition, from, usize::MAX).unwrap();
                Input { partition, batches: read.batches, aborted: read.aborted }
            };
            let input: Vec<Input> = progress.inputs.iter().map(input).collect();
            let output = pipeline.step(&progress.cut(), &input).unwrap();
            assert_eq!(output.progress.digest, progress.digest, "epoch {}, {shards} shards", progress.epoch);
            assert_eq!(output.progress.counters, progress.counters);
        }
    }
}

#[test]
fn nothing_is_shed_up_to_the_bound_nor_without_the_clause() {
    for (clause, rows) in [("SHED WHEN lag > 60 RECORDS USING random", 120), ("", 400)] {
        let plan = plan(&script(clause));
        let mut logs = filled(rows);
        run(&plan, &mut logs, few(), &ShedControl::ByLag, false);
        assert_eq!((shed(&logs), logs.values("out").len()), (0, rows as usize), "{clause}");
    }
}

#[test]
fn whoever_has_caught_up_sheds_no_more_however_small_the_bound() {
    let plan = plan(&script("SHED WHEN lag > 1 RECORDS USING random"));
    let mut logs = filled(40);
    let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), EpochLimits::default());
    while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 3).unwrap() {}
    let before = shed(&logs);
    assert!(before > 0);
    for v in 40..80 {
        logs.produce("in", 0, &[row("a", v)]);
        while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 3).unwrap() {}
    }
    assert_eq!(shed(&logs), before);
}

#[test]
fn random_records_go_until_the_pipeline_has_caught_up() {
    let plan = plan(&script("SHED WHEN lag > 60 RECORDS UNTIL lag < 30 RECORDS USING random TO 'shed'"));
    let mut logs = filled(400);
    run(&plan, &mut logs, few(), &ShedControl::ByLag, false);
    accounted(&logs, 400);
    assert!(shed(&logs) > 60, "{} are shed", shed(&logs));
    let levels: Vec<u32> = logs
        .progress
        .iter()
        .map(|progress| progress.shedding.first().map_or(0, |shedding| shedding.level))
        .collect();
    assert_eq!(levels[0], 2_500);
    assert_eq!(*levels.last().unwrap(), 0, "it has caught up: {levels:?}");
    let behind: Vec<u64> = logs.progress.iter().map(|progress| progress.counters.shed).collect();
    assert!(
        levels.iter().zip(&behind).all(|(level, shed)| *level > 0 || *shed == 0),
        "{levels:?} {behind:?}"
    );
    let fractions: BTreeSet<String> =
        logs.values("out").iter().map(|text| json(text)["fraction"].to_string()).collect();
    assert!(fractions.contains("0.25") && fractions.contains("0.0"), "{fractions:?}");
    replay(&plan, &mut logs);
}

#[test]
fn a_shed_record_is_written_as_it_came_with_where_it_was() {
    let plan = plan(&script("SHED WHEN lag > 1 RECORDS USING random TO 'shed'"));
    let mut logs = filled(40);
    run(&plan, &mut logs, few(), &always(5_000), false);
    let records: Vec<Record> = logs.records("shed").into_iter().map(|(_, record)| record).collect();
    let headers = |record: &Record| -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        record
            .headers
            .iter()
            .map(|header| (text(&header.key), text(header.value.as_ref().unwrap())))
            .collect()
    };
    let first = headers(&records[0]);
    assert_eq!((first["logmill.topic"].as_str(), first["logmill.shed"].as_str()), ("in", "random"));
    let offset: i64 = first["logmill.offset"].parse().unwrap();
    let partition: i64 = first["logmill.partition"].parse().unwrap();
    let value = String::from_utf8(records[0].value.as_ref().unwrap().to_vec()).unwrap();
    assert_eq!(json(&value)["v"].as_i64().unwrap(), offset * 2 + partition);
    assert_eq!(records[0].key.as_deref(), Some(&b"key"[..]));
}

#[test]
fn crashes_change_nothing_of_the_account() {
    let plan = plan(&script("SHED WHEN lag > 60 RECORDS USING random TO 'shed'"));
    let mut logs = filled(400);
    logs.refuse = BTreeSet::from([2, 4, 5]);
    run(&plan, &mut logs, few(), &ShedControl::ByLag, true);
    accounted(&logs, 400);
    assert!(logs.refuse.is_empty() && shed(&logs) > 60);
    replay(&plan, &mut logs);
}

#[test]
fn whole_keys_go_and_the_others_are_exact() {
    let plan = plan(&script("SHED WHEN lag > 60 RECORDS USING hash(k) TO 'shed'"));
    let mut logs = filled(640);
    run(&plan, &mut logs, few(), &always(5_000), false);
    accounted(&logs, 640);
    let keys = |topic: &str| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        logs.values(topic)
            .iter()
            .for_each(|text| *counts.entry(json(text)["k"].to_string()).or_default() += 1);
        counts
    };
    let (kept, left) = (keys("out"), keys("shed"));
    assert_eq!(kept.len() + left.len(), 16, "no key is in both: {kept:?} {left:?}");
    assert!(kept.len() >= 3 && left.len() >= 3, "{kept:?} {left:?}");
    assert!(kept.values().all(|count| *count == 40));
    replay(&plan, &mut logs);
    // More is shed: the keys that went before are among them.
    let mut more = filled(640);
    run(&plan, &mut more, few(), &always(8_000), true);
    let more: BTreeSet<String> = more.values("shed").iter().map(|text| json(text)["k"].to_string()).collect();
    assert!(left.keys().all(|key| more.contains(key)) && more.len() > left.len());
}

#[test]
fn the_last_record_of_each_key_in_an_epoch_is_left() {
    let plan = plan(&script("SHED WHEN lag > 1 RECORDS USING conflate(k) TO 'shed'"));
    let mut logs = logs(1);
    logs.produce("in", 0, &[row("a", 0), row("b", 1), row("a", 2), row("a", 3), row("c", 4), row("b", 5)]);
    run(&plan, &mut logs, EpochLimits::default(), &ShedControl::ByLag, false);
    assert_eq!(column(&logs, "out", "v"), [3, 4, 5]);
    assert_eq!(column(&logs, "shed", "v"), [0, 1, 2]);
    assert_eq!(logs.last_progress().unwrap().shedding[0].level, 10_000);
    replay(&plan, &mut logs);
}

#[test]
fn the_lowest_priorities_go_first_and_null_before_them() {
    let plan = plan(&script(
        "SHED WHEN lag > 1 RECORDS USING priority(CASE WHEN v = 6 THEN NULL ELSE v % 4 END) TO 'shed'",
    ));
    let mut logs = logs(2);
    (0..8).for_each(|v| logs.produce("in", (v % 2) as i32, &[row("a", v)]));
    run(&plan, &mut logs, EpochLimits::default(), &always(5_000), false);
    let mut left = column(&logs, "shed", "v");
    left.sort_unstable();
    // 0 and 4 have priority 0, 6 has none, and of 1 and 5 the older one goes.
    assert_eq!(left, [0, 1, 4, 6]);
    accounted(&logs, 8);
    replay(&plan, &mut logs);
}

#[test]
fn what_is_made_of_rows_that_waited_is_within_the_bound_of_an_epoch() {
    let plan = support::plan(
        "CREATE TABLE src (k STRING, v BIGINT, long AS REPEAT(k, 100000))
         WITH ('topic' = 'in', 'format' = 'json') SHED WHEN lag > 1 RECORDS USING hash(v) TO 'shed';
         CREATE TABLE other (v BIGINT) WITH ('topic' = 'in2', 'format' = 'json');
         CREATE TABLE o (v BIGINT, n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT v, OCTET_LENGTH(long) FROM src; INSERT INTO o SELECT v, 0 FROM other",
    );
    // Of each partition a megabyte is made.
    let mut logs = logs(8);
    logs.create("in2", 1);
    let mut rows = 0..80;
    for partition in 0..8 {
        logs.produce("in", partition, &rows.by_ref().take(10).map(|v| row("k", v)).collect::<Vec<_>>());
    }
    logs.produce("in2", 0, &(80..90).map(|v| row("k", v)).collect::<Vec<_>>());
    let limits = EpochLimits { unpacked_bytes: 1_500_000, ..EpochLimits::default() };
    run(&plan, &mut logs, limits, &always(1_000), false);
    let reads: Vec<u64> = logs.progress.iter().map(|progress| progress.counters.read).collect();
    assert!(reads.iter().all(|read| *read <= 20), "two partitions and no more: {reads:?}");
    accounted(&logs, 90);
    replay(&plan, &mut logs);
}

#[test]
fn what_is_decoded_and_shed_moves_event_time() {
    let clause = "SHED WHEN lag > 1 RECORDS USING hash(k)";
    let plan = plan(&script(clause));
    let mut logs = logs(1);
    logs.produce("in", 0, &[row("a", 10), row("a", 90)]);
    run(&plan, &mut logs, EpochLimits::default(), &always(10_000), false);
    let progress = logs.last_progress().unwrap();
    assert_eq!((progress.watermark, progress.counters.shed, progress.counters.processed), (Some(90), 2, 0));
    // What is not looked at cannot.
    let plan = support::plan(&script(&clause.replace("hash(k)", "random")));
    let mut logs = self::logs(1);
    logs.produce("in", 0, &[row("a", 10), row("a", 90)]);
    run(&plan, &mut logs, EpochLimits::default(), &always(10_000), false);
    assert_eq!(logs.last_progress().unwrap().watermark, None);
}

#[test]
fn the_oldest_are_passed_over_unread() {
    let plan = plan(&script("SHED WHEN lag > 60 RECORDS UNTIL lag < 20 RECORDS USING oldest"));
    let mut logs = logs(2);
    (0..100).for_each(|v| logs.produce("in", 0, &[row("a", v)]));
    // Whoever reads it stops there.
    logs.produce("in", 1, &["no JSON".to_owned()]);
    (1..90).for_each(|v| logs.produce("in", 1, &[row("b", v)]));
    run(&plan, &mut logs, few(), &ShedControl::ByLag, false);
    let totals = logs.last_progress().unwrap().totals;
    assert_eq!((totals.read, totals.processed, totals.shed), (190, 40, 150));
    let mut kept = column(&logs, "out", "v");
    kept.sort_unstable();
    let mut expected: Vec<i64> = (80..100).chain(70..90).collect();
    expected.sort_unstable();
    assert_eq!(kept, expected);
    assert_eq!(logs.progress[0].inputs[0].passed_over, Some(80));
    assert!(logs.progress[1..].iter().all(|progress| progress.inputs[0].passed_over.is_none()));
    replay(&plan, &mut logs);
}

#[test]
fn the_oldest_by_time_are_found_through_the_log() {
    let plan =
        plan(&script("SHED WHEN lag > INTERVAL '30' SECOND UNTIL lag < INTERVAL '10' SECOND USING oldest"));
    let mut logs = logs(1);
    let now = 1_700_000_000_000;
    for v in 0..60 {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(now - 60_000 + v * 1_000, None, Some(row("a", v).as_bytes()), &[]);
        logs.append("in", 0, builder.build());
    }
    run(&plan, &mut logs, EpochLimits::default(), &ShedControl::ByLag, false);
    assert_eq!(column(&logs, "out", "v"), (50..60).collect::<Vec<_>>(), "the last ten seconds");
    assert_eq!(shed(&logs), 50);
    replay(&plan, &mut logs);
}

#[test]
fn lag_by_time_is_how_long_the_oldest_record_waits() {
    let plan = plan(&script("SHED WHEN lag > INTERVAL '30' SECOND USING conflate(k)"));
    let now = 1_700_000_000_000;
    for (age, left) in [(30_000, 2), (30_001, 1)] {
        let mut logs = logs(1);
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(now - age, None, Some(row("a", 0).as_bytes()), &[]);
        builder.push(now, None, Some(row("a", 1).as_bytes()), &[]);
        logs.append("in", 0, builder.build());
        run(&plan, &mut logs, EpochLimits::default(), &ShedControl::ByLag, false);
        assert_eq!(logs.values("out").len(), left, "{age}");
    }
}

#[test]
fn a_cut_sheds_only_what_is_declared() {
    let first = TopicPartition::new("in", 0);
    for (clause, shedding, reason) in [
        ("", Shedding { levels: BTreeMap::from([(0, 1)]), ..Shedding::default() }, "does not shed 1"),
        (
            "SHED WHEN lag > 1 RECORDS USING random",
            Shedding { levels: BTreeMap::from([(0, 10_001)]), ..Shedding::default() },
            "does not shed 10001",
        ),
        (
            "SHED WHEN lag > 1 RECORDS USING random",
            Shedding { passed_over: BTreeMap::from([(first.clone(), 1)]), ..Shedding::default() },
            "does not shed the oldest",
        ),
        (
            "SHED WHEN lag > 1 RECORDS USING oldest",
            Shedding { passed_over: BTreeMap::from([(first.clone(), 9)]), ..Shedding::default() },
            "outside of its range",
        ),
    ] {
        let plan = plan(&script(clause));
        let mut logs = filled(8);
        run(&plan, &mut logs, EpochLimits::default(), &ShedControl::Never, false);
        let mut pipeline = Pipeline::new(plan.clone(), spec(&plan, &logs, 1)).unwrap();
        let mut cut = logs.progress[0].cut();
        cut.shedding = shedding;
        let error = pipeline.step(&cut, &[]).unwrap_err();
        assert!(
            matches!(&error, EpochError::WrongCut { .. }) && error.to_string().contains(reason),
            "{error}"
        );
    }
}

#[test]
fn what_a_table_sheds_is_no_part_of_what_operators_keep() {
    let of = |clause: &str| {
        let text = script(clause).replace(
            "SELECT k, v, fraction FROM src",
            "SELECT k, COUNT(*), 0.0 FROM src GROUP BY k UNBOUNDED",
        );
        plan(&text.replace("'format' = 'json');", "'format' = 'json', 'output' = 'retract');"))
    };
    let (without, with) = (of(""), of("SHED WHEN lag > INTERVAL '1' MINUTE USING hash(k) TO 'shed'"));
    assert_eq!(without.identities(), with.identities());
    assert_ne!(without.fingerprint(), with.fingerprint());
    let text = with.explain();
    assert!(text.contains("shed=hash(k) lag>60000ms until<30000ms to=shed"), "{text}");
    assert_eq!(with.side_topics(), ["shed"]);
}

#[track_caller]
fn refused(marked: &str, message: &str, help: &str) {
    let text = script(marked);
    let place = text.find('»').unwrap();
    let (line, column) = (
        text[..place].matches('\n').count() as u64 + 1,
        text[..place].rsplit('\n').next().unwrap().chars().count() as u64 + 1,
    );
    let text = text.replace('»', "");
    let error = compile(&text).expect_err("the clause has a mistake");
    assert_eq!((error.line, error.column), (line, column), "{error}\n{}", error.excerpt(&text));
    assert!(error.message.contains(message) && error.help.contains(help), "{error}");
}

#[test]
fn clauses_that_cannot_be_are_refused_with_what_to_write() {
    refused("SHED »IF lag > 1 RECORDS USING random", "WHEN is missing", "SHED WHEN lag >");
    refused("SHED WHEN »cpu > 80 USING random", "by `lag` alone", "INTERVAL '30' SECOND");
    refused("SHED WHEN lag »< 1 RECORDS USING random", "`>` is missing", "lag > 100000 RECORDS");
    refused("SHED WHEN lag > »0 RECORDS USING random", "no number of records", "100000 RECORDS");
    refused("SHED WHEN lag > 100 »USING random", "RECORDS is missing", "100000 RECORDS");
    refused("SHED WHEN lag > »v USING random", "neither an INTERVAL", "INTERVAL '30' SECOND");
    refused(
        "SHED WHEN lag > INTERVAL '1' MINUTE UNTIL lag < »5 RECORDS USING random",
        "not of one kind",
        "both",
    );
    refused(
        "SHED WHEN lag > 5 RECORDS UNTIL lag < »5 RECORDS USING random",
        "before it begins",
        "smaller lag",
    );
    refused("SHED WHEN lag > 5 RECORDS USING »randomly", "no way to shed", "did you mean `random`");
    refused("SHED WHEN lag > 5 RECORDS USING »hash", "needs to know the key", "hash(<column>)");
    refused("SHED WHEN lag > 5 RECORDS USING hash(»kk)", "no column `kk`", "did you mean `k`");
    refused("SHED WHEN lag > 5 RECORDS USING priority(»k)", "a priority is a number", "BIGINT");
    refused("SHED WHEN lag > 5 RECORDS USING random(»k)", "nothing in brackets", "USING random");
    refused("SHED WHEN lag > 5 RECORDS USING oldest TO »'shed'", "does not read what it sheds", "random");
    refused("SHED WHEN lag > 5 RECORDS USING random TO »'a b'", "not a topic's name", "letters");
}

#[test]
fn tables_that_cannot_shed_are_refused() {
    let at = |text: &str, message: &str| {
        let error = compile(text).expect_err("it cannot shed");
        assert!(error.message.contains(message), "{error}");
    };
    let keyed =
        "CREATE TABLE a (k STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'in', 'format' = 'json')
        SHED WHEN lag > 5 RECORDS USING random;
        CREATE TABLE o (k STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO o SELECT k FROM a";
    at(keyed, "replace rows or take them back");
    let sink = "CREATE TABLE a (k STRING) WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE o (k STRING) WITH ('topic' = 'out', 'format' = 'json') SHED WHEN lag > 5 RECORDS USING random;
        INSERT INTO o SELECT k FROM a";
    at(sink, "only what is read is shed");
    let shared = "CREATE TABLE a (k STRING) WITH ('topic' = 'in', 'format' = 'json')
        SHED WHEN lag > 5 RECORDS USING oldest;
        CREATE TABLE b (k STRING) WITH ('topic' = 'in', 'format' = 'json');
        CREATE TABLE o (k STRING) WITH ('topic' = 'out', 'format' = 'json');
        INSERT INTO o SELECT k FROM a; INSERT INTO o SELECT k FROM b";
    at(shared, "`b` reads the same topic");
}
