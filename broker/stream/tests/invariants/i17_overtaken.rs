//! I17: retention that overtakes a pipeline stops it where it stands, and says so; it never passes over what is gone.
//! Compaction that overtakes one leaves of each key the last record, and the table is the same.

use std::collections::BTreeMap;

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use logmill_stream::{
    CommitError, EpochOutput, Gap, Logs, LogsError, Plan, Progress, ReadBatches, TopicPartition, TurnError,
};
use proptest::prelude::*;

use super::history::{How, Kept, run};
use super::input::{DELAY, events, limits, singly, some_events};
use super::queries::{ALL, TUMBLE};
use super::support::{MemoryLogs, plan};
use super::{Checked, ensure, ensure_equal, found};

/// Logs whose first records are deleted, or that are compacted, while a pipeline reads them.
struct Overtaking {
    logs: MemoryLogs,
    starts: BTreeMap<TopicPartition, i64>,
    /// After which epochs, in which partition, up to which offset.
    deletions: Vec<(u64, i32, i64)>,
    /// After which epochs `in` is compacted.
    compactions: Vec<u64>,
    /// The bug: who is overtaken goes on at the log's start.
    jumps: bool,
    /// The bug: compaction takes a key's last record, too.
    takes_last: bool,
}

impl Overtaking {
    fn new(logs: MemoryLogs) -> Overtaking {
        Overtaking {
            logs,
            starts: BTreeMap::new(),
            deletions: Vec::new(),
            compactions: Vec::new(),
            jumps: false,
            takes_last: false,
        }
    }

    fn deleting(logs: MemoryLogs, deletions: Vec<(u64, i32, i64)>) -> Overtaking {
        Overtaking { deletions, ..Overtaking::new(logs) }
    }

    fn start(&self, partition: &TopicPartition) -> i64 {
        self.starts.get(partition).copied().unwrap_or(0)
    }

    fn clean(&mut self, epoch: u64) {
        for (_, partition, offset) in self.deletions.iter().filter(|(after, ..)| *after == epoch) {
            let partition = TopicPartition::new("in", *partition);
            let offset = (*offset).min(self.logs.end(&partition));
            let start = self.starts.entry(partition).or_default();
            *start = offset.max(*start);
        }
        if self.compactions.contains(&epoch) {
            let inputs = self.logs.partitions.iter_mut().filter(|(partition, _)| partition.topic == "in");
            inputs.for_each(|(_, batches)| compact(batches, self.takes_last));
        }
    }
}

/// Each batch is one record: what is superseded goes, and the others keep their offsets. The newest batch always stays.
fn compact(batches: &mut Vec<Batch>, takes_last: bool) {
    let key = |batch: &Batch| batch.records(1 << 20).expect("it was built here")[0].key.clone();
    let last: BTreeMap<_, i64> =
        batches.iter().map(|batch| (key(batch), batch.header().base_offset)).collect();
    let end = batches.last().map_or(0, |batch| batch.header().base_offset);
    batches.retain(|batch| {
        let offset = batch.header().base_offset;
        let is_last = last[&key(batch)] == offset;
        offset == end || is_last && !takes_last
    });
}

impl Logs for Overtaking {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.readable_end(partition)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let log_start = self.start(partition);
        if from < log_start && !self.jumps {
            return Err(LogsError::OffsetOutOfRange {
                partition: partition.clone(),
                offset: from,
                log_start,
            });
        }
        self.logs.read(partition, from.max(log_start), max_bytes)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        let number = epoch.epoch();
        self.logs.commit(epoch)?;
        self.clean(number);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

impl Kept for Overtaking {
    fn memory(&self) -> &MemoryLogs {
        &self.logs
    }
}

/// Every record up to where the pipeline stands was read; it stands at the end, or where records are gone, and says so.
fn check_nothing_passed_over(plan: &Plan, logs: &mut Overtaking, how: How) -> Checked {
    let ended = run(plan, logs, how, |_, _| {});
    let mut positions: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    for progress in &logs.logs.progress {
        let mut offsets = 0;
        for input in &progress.inputs {
            let partition = TopicPartition::new(&*input.topic, input.partition);
            let position = positions.entry(partition).or_default();
            ensure_equal(&input.from, position, "where an epoch begins")?;
            offsets += (input.to - input.from).unsigned_abs();
            *position = input.to;
        }
        // A table that is read twice counts its records twice.
        let readers = plan.sources.len() as u64;
        ensure_equal(
            &progress.counters.read,
            &(offsets * readers),
            "records read of the offsets of an epoch",
        )?;
    }
    match ended {
        Ok(()) => {
            let ends: BTreeMap<_, _> = logs.logs.ends("in");
            ensure_equal(&positions, &ends, "where it ends")
        }
        Err(TurnError::Logs {
            error: LogsError::OffsetOutOfRange { partition, offset, log_start }, ..
        }) => {
            let position = positions.get(&partition).copied().unwrap_or(0);
            ensure_equal(&offset, &position, "where it says it stands")?;
            ensure_equal(&log_start, &logs.start(&partition), "where it says the log begins")?;
            ensure(offset < log_start, || format!("{partition} was not overtaken at {offset}"))
        }
        Err(error) => ensure(false, || format!("another error: {error}")),
    }
}

/// The last value of each key, counted by value.
fn upserts() -> Plan {
    plan(
        "CREATE TABLE src (`key` STRING, v BIGINT, PRIMARY KEY (`key`) NOT ENFORCED) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE o (v BIGINT, n BIGINT, PRIMARY KEY (v) NOT ENFORCED)
         WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT v, COUNT(*) FROM src GROUP BY v UNBOUNDED",
    )
}

/// Changes of some keys, each a batch; without a value the key goes.
fn changes(changes: &[(u8, Option<i64>)]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", 2);
    logs.create("out", 1);
    for (key, value) in changes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let text = value.map(|v| format!("{{\"key\":\"k{key}\",\"v\":{v}}}"));
        builder.push(0, Some(format!("k{key}").as_bytes()), text.as_deref().map(str::as_bytes), &[]);
        logs.append("in", i32::from(key % 2), builder.build());
    }
    logs
}

/// The rows of the table that the output is.
fn table(logs: &MemoryLogs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for (_, record) in logs.records("out") {
        let key = record.key.expect("a key").to_vec();
        match record.value {
            Some(value) => drop(rows.insert(key, value.to_vec())),
            None => drop(rows.remove(&key)),
        }
    }
    rows
}

fn check_same_table(left: &mut Overtaking, right: &mut Overtaking, how: How) -> Checked {
    for logs in [&mut *left, &mut *right] {
        run(&upserts(), logs, how, |_, _| {}).unwrap_or_else(|error| panic!("{error}"));
    }
    ensure_equal(&table(&left.logs), &table(&right.logs), "the table")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn retention_is_never_passed_over(
        events in events(3, DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        deletions in prop::collection::vec((1_u64..20, 0_i32..3, 1_i64..30), 0..5),
        query in 0..ALL.len(),
    ) {
        let mut logs = Overtaking::deleting(singly(&events, 3), deletions);
        check_nothing_passed_over(&ALL[query].plan(), &mut logs, How { limits, crash_every })?;
    }

    #[test]
    fn compaction_leaves_the_same_table(
        given in prop::collection::vec((0_u8..6, prop::option::weighted(0.8, 0_i64..4)), 1..60),
        limits in limits(),
        crash_every in 0_u64..4,
        compactions in prop::collection::vec(1_u64..20, 1..5),
    ) {
        let mut left = Overtaking::new(changes(&given));
        let mut right = Overtaking { compactions, ..Overtaking::new(changes(&given)) };
        check_same_table(&mut right, &mut left, How { limits, crash_every })?;
    }
}

#[test]
fn a_silent_jump_is_found() {
    let logs = || Overtaking::deleting(singly(&some_events(3), 3), vec![(2, 1, 9)]);
    check_nothing_passed_over(&TUMBLE.plan(), &mut logs(), How::small()).unwrap();
    let mut jumping = Overtaking { jumps: true, ..logs() };
    found(check_nothing_passed_over(&TUMBLE.plan(), &mut jumping, How::small()), "records read");
}

#[test]
fn what_is_gone_is_gone_on_without_only_where_that_is_said_and_is_named() {
    let mut logs = Overtaking::deleting(singly(&some_events(3), 3), vec![(2, 1, 9)]);
    let plan = TUMBLE.plan();
    assert!(run(&plan, &mut logs, How::small(), |_, _| {}).is_err(), "it was overtaken");
    let standing = logs.logs.progress.last().expect("some epochs").clone();
    assert_eq!(standing.over_gaps(1, &[], |_| Some(0)), None, "nothing is gone");
    let starts = logs.starts.clone();
    let start = |topic: &str, partition| starts.get(&TopicPartition::new(topic, partition)).copied();
    let over = standing.over_gaps(standing.generation, &[], |input| start(&input.topic, input.partition));
    let over = over.expect("there is a gap");
    let before = standing.inputs.iter().find(|input| input.partition == 1).expect("it is read").to;
    assert!(before < 9);
    logs.logs.commit(EpochOutput::standing(over)).expect("it is committed");
    run(&plan, &mut logs, How::small(), |_, _| {}).expect("it goes on to the end");
    let gap = Gap { from: before, to: 9, total: 9 - before.unsigned_abs() };
    let gaps = |progress: &Progress| progress.inputs.iter().map(|input| input.gap).collect::<Vec<_>>();
    let last = logs.logs.progress.last().expect("epochs");
    assert_eq!(gaps(last), [None, Some(gap), None], "the records that follow name it, too");
    // All but what is in the gap was read, each record once.
    let all: i64 = logs.logs.ends("in").values().sum();
    assert_eq!(last.totals.read, all.unsigned_abs() - gap.total);
    for pair in logs.logs.progress.windows(2) {
        let ends = pair[0].inputs.iter().map(|input| input.to);
        assert!(
            ends.eq(pair[1].inputs.iter().map(|input| input.from)),
            "an epoch begins where the last one ended"
        );
    }
}

#[test]
fn a_compaction_that_takes_a_keys_last_record_is_found() {
    let given: Vec<(u8, Option<i64>)> = (0..30_u8).map(|n| (n % 5, Some(i64::from(n)))).collect();
    let mut left = Overtaking::new(changes(&given));
    let mut right = Overtaking { compactions: vec![2], takes_last: true, ..Overtaking::new(changes(&given)) };
    found(check_same_table(&mut right, &mut left, How::small()), "the table");
}
