//! I14: memory stays within its bound while state spills, whatever the operator; and two operators that break it are found.
//!
//! The checker believes no operator. What each says that it holds must be within the budget; and what a pass over every key
//! does not read back from the store was in memory all the while, whoever counted it.

use std::collections::BTreeSet;
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
/// What should be in memory at most. The states below have several times as much.
const KEEP: u64 = 32 << 10;
/// The stated slack: the changes of the two epochs that may be on their way to the store, each entry of them counted.
const SLACK: u64 = 2 * (AT_ONCE as u64) * 3 * 400;

const TABLES: &str = "
    CREATE TABLE l (k STRING, x BIGINT, s STRING) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE t (k STRING, x BIGINT, s STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('topic' = 'in', 'format' = 'json');";

/// A query for each operator that leaves entries in a store and is told of its rows at once.
const QUERIES: [(&str, &str); 5] = [
    ("k STRING, n BIGINT, m STRING", "SELECT k, COUNT(*), MAX(s) FROM l GROUP BY k UNBOUNDED"),
    ("x BIGINT, n BIGINT", "SELECT x, COUNT(*) FROM t GROUP BY x UNBOUNDED"),
    (
        "k STRING, s STRING",
        "SELECT k, s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY x) AS n FROM l) WHERE n <= 3 UNBOUNDED",
    ),
    (
        "k STRING, s STRING",
        "SELECT k, s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY PROCTIME() DESC) AS n FROM l) WHERE n = 1
         UNBOUNDED",
    ),
    ("k STRING, s STRING, r STRING", "SELECT a.k, a.s, b.s FROM l AS a JOIN l AS b ON a.k = b.k AND a.x < b.x UNBOUNDED"),
];

/// What is wrong with an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It lets go of nothing.
    KeepsAll,
    /// What it holds it does not count.
    CountsNothing,
}

/// An operator with a fault.
#[derive(Debug)]
struct Faulty {
    operator: Box<dyn Operator>,
    fault: Fault,
    /// What the operator says that it holds.
    held: u64,
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
        Ok(())
    }

    fn held(&self) -> u64 {
        match self.fault {
            Fault::KeepsAll => self.held,
            Fault::CountsNothing => 0,
        }
    }

    fn let_go(&mut self, keep: u64) {
        if self.fault == Fault::CountsNothing {
            self.spilt().let_go(keep);
        }
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

fn pipeline(query: usize, store: Arc<dyn ColdStore>, fault: Option<Fault>) -> Pipeline {
    let (columns, select) = QUERIES[query];
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
    let restoring = restoring.fill::<&[u8]>(store, None, at(&plan, 0), KEEP).unwrap();
    let mut pipeline = restoring.finish_spilt(at(&plan, 0), &mut |_| true).unwrap();
    if let Some(fault) = fault {
        for node in pipeline.graph.nodes.iter_mut().filter(|node| node.spills) {
            node.shards.replace(|operator| Box::new(Faulty { operator, fault, held: 0 }));
        }
    }
    pipeline
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
    let mut pipeline = pipeline(query, Arc::clone(&store) as _, fault);
    let partition = TopicPartition::new("in", 0);
    let (mut offset, mut state) = (0, 0);
    for pass in 0..2 {
        store.read.store(0, Ordering::Relaxed);
        state = pipeline.state_bytes();
        for first in (0..KEYS).step_by(AT_ONCE) {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            for key in first..first + AT_ONCE {
                // Of a pass each key has other text, as long as that of the pass before.
                let row = serde_json::json!({ "k": format!("{key:0120}"), "x": pass, "s": format!("{pass}").repeat(100) });
                let key = format!("\"{key:0120}\"");
                batch.push(1_000, Some(key.as_bytes()), Some(row.to_string().as_bytes()), &[]);
            }
            let to = offset + AT_ONCE as i64;
            let cut = Cut {
                ranges: BTreeMap::from([(partition.clone(), OffsetRange { from: offset, to })]),
                now: 1_000_000 + offset,
                seed: 0,
                emit_rows: 1_000,
                ends: None,
                idle: BTreeSet::new(),
                shedding: Default::default(),
            };
            let batches = vec![batch.build().stamped(offset, 0)];
            let input = Input { partition: partition.clone(), batches, aborted: Vec::new() };
            let epoch = pipeline.step(&cut, &[input]).map_err(|error| error.to_string())?.epoch();
            offset = to;
            let memory = pipeline.memory_bytes();
            if memory > KEEP + SLACK {
                let sizes = pipeline.operator_sizes();
                return Err(format!("epoch {epoch}: {memory} bytes are in memory, of {KEEP}: {sizes:?}"));
            }
            if epoch > 1 {
                let at = at(&pipeline.plan, epoch - 1);
                pipeline.committed(epoch - 1, at).map_err(|error| error.to_string())?;
            }
        }
    }
    assert!(state > 4 * (KEEP + SLACK), "query {query}: a state of {state} bytes says nothing");
    let read = store.read.load(Ordering::Relaxed);
    match state.saturating_sub(read) {
        held if held > KEEP + SLACK => Err(format!(
            "{held} bytes of {state} were not read back: they were in memory, which has room for {KEEP}"
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
    for query in 0..QUERIES.len() {
        let error = check_bounded(query, Some(Fault::KeepsAll)).unwrap_err();
        assert!(error.contains("bytes are in memory"), "query {query}: {error}");
    }
}

#[test]
fn an_operator_that_does_not_count_is_found() {
    for query in 0..QUERIES.len() {
        let error = check_bounded(query, Some(Fault::CountsNothing)).unwrap_err();
        assert!(error.contains("were not read back"), "query {query}: {error}");
    }
}
