//! I14: memory stays within its bound while state spills, whatever the operator; and two operators that break it are found.
//!
//! The checker believes no operator. What each says that it holds must be within the budget; and what a pass over every key
//! does not read back from the store was in memory all the while, whoever counted it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logmill_record::{BatchBuilder, BatchOptions};

use super::super::cut::{Cut, Input, OffsetRange, TopicPartition};
use super::super::spec::{InputPartition, PipelineSpec};
use super::*;
use crate::operators::{Due, EpochTime, Keyed, Operator, Output, Place, Spilling, StateSize};
use crate::state::{ChangelogSink, ColdFill, ColdTables, KeyGroups, MemoryColdStore, TakeSome};

const KEYS: usize = 1_500;
/// Keys an epoch touches.
const AT_ONCE: usize = 10;
/// What an entry counts for beside its text, at most.
const ENTRY: u64 = 400;

const TABLES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, s STRING) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE t (k STRING, x BIGINT, s STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE e (k STRING, x BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
    WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE w (k STRING, x BIGINT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '9' DAY)
    WITH ('topic' = 'in', 'format' = 'json');";

/// A query for an operator that leaves entries in a store.
struct Query {
    columns: &'static str,
    select: &'static str,
    /// What should be in memory at most. The state has several times as much, and changes on their way to the store less.
    keep: u64,
    /// How long the text of a row is.
    text: usize,
    /// How many bytes of a row stay in memory, by design, because time finds it by them: its key and when it is due.
    stays: u64,
}

const fn query(columns: &'static str, select: &'static str) -> Query {
    Query { columns, select, keep: 32 << 10, text: 100, stays: 0 }
}

/// The same of rows that time finds.
const fn timed(columns: &'static str, select: &'static str) -> Query {
    Query { columns, select, keep: 512 << 10, text: 8_000, stays: 64 + 256 + KEY as u64 }
}

/// How long a key is.
const KEY: usize = 125;

const QUERIES: [Query; 17] = [
    query("k STRING, n BIGINT, m STRING", "SELECT k, COUNT(*), MAX(s) FROM l GROUP BY k UNBOUNDED"),
    query("x BIGINT, n BIGINT", "SELECT x, COUNT(*) FROM t GROUP BY x UNBOUNDED"),
    query(
        "k STRING, s STRING",
        "SELECT k, s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x) AS n FROM l) WHERE n <= 3 UNBOUNDED",
    ),
    query(
        "k STRING, s STRING",
        "SELECT k, s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME() DESC) AS n FROM l) WHERE n = 1
         UNBOUNDED",
    ),
    query("k STRING, s STRING, r STRING", "SELECT a.k, a.s, b.s FROM l AS a JOIN l AS b ON a.k = b.k AND a.x < b.x UNBOUNDED"),
    query(
        "k STRING, s STRING, r STRING",
        "SELECT k, s, LEAD(s) OVER (PARTITION BY k ORDER BY x) FROM l UNBOUNDED",
    ),
    // Windows: of one length, and some that overlap.
    query(
        "k STRING, n BIGINT, m STRING",
        "SELECT k, COUNT(*), MAX(s) FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '1' DAY))
         GROUP BY window_start, window_end, k",
    ),
    query(
        "k STRING, n BIGINT, m STRING",
        "SELECT k, COUNT(*), MAX(s) FROM TABLE(HOP(TABLE e, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL '2' DAY))
         GROUP BY window_start, window_end, k EMIT CHANGES",
    ),
    timed(
        "k STRING, n BIGINT, m STRING",
        "SELECT k, COUNT(*), MAX(s) FROM TABLE(SESSION(TABLE e PARTITION BY k, DESCRIPTOR(ts), INTERVAL '1' DAY))
         GROUP BY k, window_start, window_end",
    ),
    // Rows that are given, and of which some stay: the last ones, those of some time, an aggregate.
    query("k STRING, s STRING, r STRING", "SELECT k, s, LAG(s) OVER (PARTITION BY k ORDER BY ts) FROM e UNBOUNDED"),
    query("k STRING, s STRING, r STRING", "SELECT k, s, MAX(s) OVER (PARTITION BY k ORDER BY ts) FROM e UNBOUNDED"),
    timed(
        "k STRING, s STRING, n BIGINT",
        "SELECT k, s, COUNT(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '9' DAY PRECEDING AND CURRENT ROW) FROM e",
    ),
    // Rows that wait.
    timed("k STRING, s STRING, n BIGINT", "SELECT k, s, SUM(x) OVER (PARTITION BY k ORDER BY ts) FROM w UNBOUNDED"),
    timed(
        "k STRING, s STRING, r STRING",
        "SELECT k, s, LEAD(s) OVER (PARTITION BY window_start, window_end, k ORDER BY x)
         FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '1' DAY))",
    ),
    timed(
        "k STRING, s STRING",
        "SELECT k, s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM w) WHERE n = 1 UNBOUNDED",
    ),
    timed(
        "k STRING, s STRING, n BIGINT",
        "SELECT k, s, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY x DESC) AS n
         FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '1' DAY))) WHERE n <= 2",
    ),
    timed(
        "k STRING, s STRING, n BIGINT",
        "SELECT k, s, n FROM (SELECT *, RANK() OVER (PARTITION BY window_start, window_end, k ORDER BY x) AS n
         FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '1' DAY))) WHERE n <= 3",
    ),
];

/// What is wrong with an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It lets go of nothing.
    KeepsAll,
    /// What it holds it does not count.
    CountsNothing,
}

/// An operator with a fault, or one that is watched only.
#[derive(Debug)]
struct Faulty {
    operator: Box<dyn Operator>,
    fault: Option<Fault>,
    /// What the operator says that it holds.
    held: u64,
    /// The most that it held when it had read back what an epoch touches.
    most: Arc<AtomicU64>,
}

impl Faulty {
    fn inner(&self) -> &dyn Operator {
        &*self.operator
    }

    fn spilt(&mut self) -> &mut dyn Spilling {
        self.operator.spilling().expect("only such operators are made faulty")
    }
}

impl Operator for Faulty {
    fn stands_at(&mut self, place: &Place) {
        self.operator.stands_at(place);
    }

    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        self.operator.process(time, inputs, out);
    }

    fn due(&self, from: &Place, watermark: i64) -> Due {
        self.inner().due(from, watermark)
    }

    fn next_due(&self, from: &Place) -> Option<i64> {
        self.inner().next_due(from)
    }

    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(Arc<[u8]>, usize)> {
        self.inner().due_rows(from, end, most)
    }

    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        self.operator.advance(time, from, to, out);
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        self.operator.drain_changes(log);
        self.held = self.spilt().held();
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        self.operator.restore(table, key, value)
    }

    fn restore_row(&mut self, table: u8, span: i64, key: &[u8], row: &[u8]) -> Result<(), String> {
        self.operator.restore_row(table, span, key, row)
    }

    fn forget(&mut self, table: u8, span: i64) {
        self.operator.forget(table, span);
    }

    fn size(&self) -> StateSize {
        self.inner().size()
    }

    fn log_bytes(&self) -> u64 {
        self.inner().log_bytes()
    }

    fn window_ends(&self) -> BTreeSet<i64> {
        self.inner().window_ends()
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl Spilling for Faulty {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        self.spilt().read_back(time, inputs, cold)?;
        self.held = self.spilt().held();
        self.most.fetch_max(self.held, Ordering::Relaxed);
        Ok(())
    }

    fn held(&self) -> u64 {
        match self.fault {
            Some(Fault::CountsNothing) => 0,
            _ => self.held,
        }
    }

    fn let_go(&mut self, keep: u64) {
        if self.fault != Some(Fault::KeepsAll) {
            self.spilt().let_go(keep);
            self.held = self.spilt().held();
        }
    }

    fn find_due(
        &mut self,
        from: &Place,
        end: i64,
        most: usize,
        groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        self.spilt().find_due(from, end, most, groups, cold)
    }

    fn read_due(
        &mut self,
        from: &Place,
        to: &Place,
        groups: RangeInclusive<u8>,
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        self.spilt().read_due(from, to, groups, cold)
    }

    fn take_growth(&mut self) -> Growth {
        self.spilt().take_growth()
    }
}

/// A store that counts what is read of it, as operators count it.
#[derive(Debug, Default)]
struct Counting {
    store: MemoryColdStore,
    read: AtomicU64,
}

impl Counting {
    fn count(&self, key: &[u8], value: &[u8]) {
        self.read.fetch_add(u64::from(entry_size(key.len(), value.len())), Ordering::Relaxed);
    }
}

impl ColdStore for Counting {
    fn mark(&self) -> Result<Option<ColdMark>, ColdError> {
        self.store.mark()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        let found = self.store.get(key)?;
        found.iter().for_each(|value| self.count(key, value));
        Ok(found)
    }

    fn scan_from(&self, prefix: &[u8], from: &[u8], take: &mut TakeSome<'_>) -> Result<(), ColdError> {
        self.store.scan_from(prefix, from, &mut |key, value| {
            self.count(key, value);
            take(key, value)
        })
    }

    fn write(
        &self,
        changes: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        mark: &ColdMark,
    ) -> Result<(), ColdError> {
        self.store.write(changes, mark)
    }

    fn fill(&self) -> Result<Box<dyn ColdFill + '_>, ColdError> {
        self.store.fill()
    }
}

fn pipeline(query: &Query, store: Arc<dyn ColdStore>) -> Pipeline {
    let Query { columns, select, keep, .. } = query;
    let script = format!(
        "{TABLES} CREATE TABLE o ({columns}) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'retract');
         INSERT INTO o {select}"
    );
    let plan = crate::compile(&script).unwrap_or_else(|error| panic!("{error}\n{}", error.excerpt(&script)));
    let spec = PipelineSpec {
        name: "test".to_owned(),
        generation: 1,
        inputs: vec![InputPartition { partition: TopicPartition::new("in", 0), start: 0 }],
        topic_ids: BTreeMap::new(),
        outputs: BTreeMap::from([("out".to_owned(), 1)]),
        key_groups: KeyGroups::DEFAULT,
        shards: 2,
    };
    let restoring = Pipeline::restore(plan.clone(), spec, None).unwrap();
    let restoring = restoring.fill::<&[u8]>(store, None, at(&plan, 0), *keep).unwrap();
    restoring.finish_spilt(at(&plan, 0), &mut |_| true).unwrap()
}

/// Watches the operators of a pipeline, and gives them a fault. Tells the most that one of them will have held.
fn watched(pipeline: &mut Pipeline, fault: Option<Fault>) -> Arc<AtomicU64> {
    let most = Arc::<AtomicU64>::default();
    for node in pipeline.graph.nodes.iter_mut().filter(|node| node.spills) {
        let watch = |operator| -> Box<dyn Operator> {
            Box::new(Faulty { operator, fault, held: 0, most: Arc::clone(&most) })
        };
        node.shards.replace(watch);
    }
    most
}

/// An epoch of these records, keys and values, from an offset on; its number.
fn step(
    pipeline: &mut Pipeline,
    from: i64,
    now: i64,
    records: &[(String, serde_json::Value)],
) -> Result<u64, String> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for (key, row) in records {
        batch.push(1_000, Some(key.as_bytes()), Some(row.to_string().as_bytes()), &[]);
    }
    let partition = TopicPartition::new("in", 0);
    let to = from + records.len() as i64;
    let cut = Cut {
        ranges: BTreeMap::from([(partition.clone(), OffsetRange { from, to })]),
        now,
        seed: 0,
        emit_rows: 1_000,
        ends: None,
        idle: BTreeSet::new(),
        shedding: Default::default(),
    };
    let batches = vec![batch.build().stamped(from, 0)];
    let input = Input { partition, batches, aborted: Vec::new() };
    Ok(pipeline.step(&cut, &[input]).map_err(|error| error.to_string())?.epoch())
}

fn at(plan: &crate::Plan, epoch: u64) -> ColdPosition {
    ColdPosition {
        pipeline: "test".to_owned(),
        plan: plan.fingerprint(),
        generation: 1,
        epoch,
        state_from: None,
        digest: 0,
        progress_offset: epoch as i64 - 1,
        changelog: "test".to_owned(),
        changelog_end: epoch as i64,
    }
}

/// Two passes over all keys, a few an epoch, each epoch durable when the next one is computed. What is wrong, if anything is.
fn check_bounded(query: usize, fault: Option<Fault>) -> Result<(), String> {
    let store = Arc::new(Counting::default());
    let mut pipeline = pipeline(&QUERIES[query], Arc::clone(&store) as _);
    fault.iter().for_each(|fault| _ = watched(&mut pipeline, Some(*fault)));
    let Query { keep, text, stays, .. } = QUERIES[query];
    // The stated slack: the changes of the two epochs that may be on their way to the store, each entry of them counted; and
    // what stays of each row of the two passes.
    let slack = 2 * (AT_ONCE as u64) * 3 * (ENTRY + text as u64) + 2 * KEYS as u64 * stays;
    let (mut offset, mut state) = (0, 0);
    for pass in 0..2 {
        store.read.store(0, Ordering::Relaxed);
        state = pipeline.state_bytes();
        for first in (0..KEYS).step_by(AT_ONCE) {
            let record = |key: usize| {
                // Of a pass each key has other text, as long as that of the pass before.
                let (k, s) = (format!("{key:0120}"), format!("{pass}").repeat(text));
                let row =
                    serde_json::json!({ "k": k, "x": pass, "s": s, "ts": offset + (key - first) as i64 });
                (format!("\"{key:0120}\""), row)
            };
            let records: Vec<_> = (first..first + AT_ONCE).map(record).collect();
            let epoch = step(&mut pipeline, offset, 1_000_000 + offset, &records)?;
            offset += AT_ONCE as i64;
            let memory = pipeline.memory_bytes();
            if memory > keep + slack {
                let sizes = pipeline.operator_sizes();
                return Err(format!("epoch {epoch}: {memory} bytes are in memory, of {keep}: {sizes:?}"));
            }
            if epoch > 1 {
                let at = at(&pipeline.plan, epoch - 1);
                pipeline.committed(epoch - 1, at).map_err(|error| error.to_string())?;
            }
        }
    }
    assert!(state > 4 * (keep + slack), "query {query}: a state of {state} bytes says nothing");
    let read = store.read.load(Ordering::Relaxed);
    match state.saturating_sub(read) {
        held if held > keep + slack => Err(format!(
            "{held} bytes of {state} were not read back: they were in memory, which has room for {keep}"
        )),
        _ => Ok(()),
    }
}

#[test]
fn memory_is_within_its_bound_while_state_spills() {
    for query in 0..QUERIES.len() {
        check_bounded(query, None).unwrap_or_else(|error| panic!("query {query}: {error}"));
    }
}

#[test]
fn an_operator_that_does_not_let_go_is_found() {
    for (query, asked) in QUERIES.iter().enumerate() {
        let found = check_bounded(query, Some(Fault::KeepsAll));
        let error = found.expect_err(asked.select);
        assert!(error.contains("bytes are in memory"), "query {query}: {error}");
    }
}

#[test]
fn an_operator_that_does_not_count_is_found() {
    for (query, asked) in QUERIES.iter().enumerate() {
        let found = check_bounded(query, Some(Fault::CountsNothing));
        let error = found.expect_err(asked.select);
        assert!(error.contains("were not read back"), "query {query}: {error}");
    }
}

/// Rows that wait for longer than they live, because time stands still, are not forgotten, and not here together to be kept.
#[test]
fn rows_that_outlive_their_time_do_not_come_back_together() {
    let waiting = timed(
        "k STRING, s STRING, n BIGINT",
        "SELECT k, s, SUM(x) OVER (PARTITION BY k ORDER BY ts) FROM w STATE TTL INTERVAL '1' HOUR",
    );
    let mut pipeline = pipeline(&waiting, Arc::<MemoryColdStore>::default() as _);
    let most = watched(&mut pipeline, None);
    let record = |key: usize| {
        let row =
            serde_json::json!({ "k": format!("{key:0120}"), "x": 1, "s": "s".repeat(waiting.text), "ts": 0 });
        (String::new(), row)
    };
    let mut offset = 0;
    let mut go = |pipeline: &mut Pipeline, now: i64, keys: std::ops::Range<usize>| {
        let records: Vec<_> = keys.map(record).collect();
        let epoch = step(pipeline, offset, now, &records).unwrap();
        offset += records.len() as i64;
        let at = at(&pipeline.plan, epoch);
        pipeline.committed(epoch, at).unwrap();
    };
    for first in (0..KEYS).step_by(AT_ONCE) {
        go(&mut pipeline, 1_000_000, first..first + AT_ONCE);
    }
    let (state, entries) = (pipeline.state_bytes(), pipeline.state_entries());
    for hour in 1..4 {
        // Of those that wait one has a row more.
        go(&mut pipeline, 1_000_000 + hour * 7_200_000, 7..8);
        assert_eq!(pipeline.state_entries(), entries + hour as u64);
        let bound = waiting.keep + KEYS as u64 * waiting.stays;
        assert!(pipeline.memory_bytes() < bound, "{} of {state} bytes", pipeline.memory_bytes());
        let most = most.load(Ordering::Relaxed);
        assert!(state > 8 * bound && most < bound, "{most} of {state} bytes were here, and {bound} may be");
    }
}
