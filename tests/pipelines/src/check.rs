//! One case, run in several ways: each must give the oracle's rows, and those with the same cuts the same bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use logmill_record::Record;
use logmill_stream::plan::{Node, Operator, TemporalJoin, Versions};
use logmill_stream::{EpochLimits, Plan};
use serde_json::{Map, Value};

use crate::canonical::Column;
use crate::case::{Case, Folder, Question};
use crate::compare::compare;
use crate::expected::{Expected, read_columns};
use crate::final_rows::{Mode, final_rows};
use crate::golden;
use crate::input::{Events, Input};
use crate::random::Random;
use crate::run::{Crash, Cuts, Outcome, Run, run};

/// Records of a batch where a run does not say otherwise.
const RECORDS_PER_BATCH: usize = 100;
/// Epochs of a run with random cuts.
const RANDOM_CUTS: usize = 60;
/// Crashes of a run with crashes.
const CRASHES: usize = 20;

/// A way to run a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunKind {
    /// The whole input is there; the engine cuts by its limits
    Own,
    /// One epoch takes the whole input, behind one with the tables that rows are joined to as these are then; in parts where
    /// the engine says that it is too much
    Whole,
    /// Random cuts
    Random,
    /// The same random cuts in two shards: the bytes of `random`
    Two,
    /// The same random cuts in three shards: the bytes of `random`
    Three,
    /// The same random cuts, from one shard to three and on to two in the middle: the bytes of `random`
    Rescale,
    /// The same random cuts, with 20 crashes, after each in another number of shards: the bytes of `random`
    Crashes,
    /// An epoch for every record
    Each,
}

/// In which ways to run a case.
#[derive(Debug, Clone)]
pub struct Ways {
    /// The ways, in this order.
    pub kinds: Vec<RunKind>,
    /// Where random cuts and crashes fall.
    pub seed: u64,
    /// How long each may take.
    pub limit: Duration,
}

impl Ways {
    /// These, as long as they take.
    pub fn new(kinds: &[RunKind], seed: u64) -> Ways {
        Ways { kinds: kinds.to_vec(), seed, limit: Duration::MAX }
    }
}

/// How a case ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Every run gave the oracle's rows.
    Passed,
    /// The engine cannot do it yet, which the folder's list `awaited` allows.
    Awaited,
}

/// Runs a case in these ways, and compares with what the oracle wrote to a folder.
pub fn check(
    folder: &Folder,
    case: &Case,
    events: &Events,
    expected: &Path,
    ways: &Ways,
    report: &mut impl Write,
) -> Result<Checked> {
    let answers: HashMap<&str, Expected> = case
        .questions
        .iter()
        .map(|question| Ok((question.name.as_str(), Expected::read(expected, &question.name)?)))
        .collect::<Result<_>>()?;
    let columns = |question: &Question| Ok(answers[question.name.as_str()].columns.clone());
    let judge = |question: &Question, found: &[Bytes]| {
        let expected = &answers[question.name.as_str()];
        let differences = compare(&expected.columns, &expected.rows, found);
        ensure!(differences.is_empty(), "{}: {differences}", question.name);
        Ok(())
    };
    run_all(folder, case, events, ways, &Judge { columns: &columns, judge: &judge }, report)
}

/// Runs a case in these ways, and compares with the answers that are kept beside the cases.
pub fn check_kept(
    folder: &Folder,
    case: &Case,
    events: &Events,
    ways: &Ways,
    report: &mut impl Write,
) -> Result<Checked> {
    let kept = folder.path().join("expected");
    let columns = |question: &Question| read_columns(&kept.join(format!("{}.columns", question.name)));
    let judge = |question: &Question, found: &[Bytes]| golden::check(&kept, &question.name, found);
    run_all(folder, case, events, ways, &Judge { columns: &columns, judge: &judge }, report)
}

/// Who knows what is right.
struct Judge<'j> {
    columns: &'j dyn Fn(&Question) -> Result<Vec<Column>>,
    judge: &'j dyn Fn(&Question, &[Bytes]) -> Result<()>,
}

/// Runs a case in these ways, and says what came of it. A panic is a failure like another.
fn run_all(
    folder: &Folder,
    case: &Case,
    events: &Events,
    ways: &Ways,
    judge: &Judge<'_>,
    report: &mut impl Write,
) -> Result<Checked> {
    match (each_way(case, events, ways, judge, report), folder.awaits(case)) {
        (Ok(()), false) => Ok(Checked::Passed),
        (Ok(()), true) => {
            writeln!(report, "{}: passes now: take it off the list `awaited`", case.name)?;
            Ok(Checked::Passed)
        }
        (Err(error), true) => {
            let error = format!("{error:#}");
            writeln!(report, "{}: awaited: {}", case.name, error.lines().next().unwrap_or_default())?;
            Ok(Checked::Awaited)
        }
        (Err(error), false) => Err(error),
    }
}

fn each_way(
    case: &Case,
    events: &Events,
    ways: &Ways,
    judge: &Judge<'_>,
    report: &mut impl Write,
) -> Result<()> {
    let plan = case.plan()?;
    let (mut bytes_of_random, mut failed) = (None, Vec::new());
    for kind in &ways.kinds {
        let started = Instant::now();
        // What one way shows says nothing of the next one.
        let done = catch_unwind(AssertUnwindSafe(|| {
            one_way(case, &plan, events, (*kind, ways), judge, &mut bytes_of_random, report)
        }));
        if let Err(error) = done.unwrap_or_else(|_| bail!("a panic, told of above")) {
            let (name, took) = (&case.name, started.elapsed().as_secs_f64());
            writeln!(report, "{name}: {kind:?}: FAILED after {took:.1} s: {error:#}")?;
            failed.push(format!("{kind:?}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

fn one_way(
    case: &Case,
    plan: &Plan,
    events: &Events,
    (kind, ways): (RunKind, &Ways),
    judge: &Judge<'_>,
    bytes_of_random: &mut Option<Vec<u32>>,
    report: &mut impl Write,
) -> Result<()> {
    let mut random = Random::new(ways.seed);
    let records = if kind == RunKind::Each { 1 } else { RECORDS_PER_BATCH };
    let input = events.batches(&plan.source_topics(), records);
    let way = way(kind, plan, &input, &mut random)?.within(ways.limit);
    let started = Instant::now();
    let outcome = run(plan, &input, &way)?;
    let took = started.elapsed();
    let records = |topic: &str| outcome.logs.records(topic);
    let mut rows = 0;
    for question in &case.questions {
        let found = rows_of(case, plan, question, &records, &(judge.columns)(question)?)?;
        rows += found.len();
        (judge.judge)(question, &found)?;
    }
    match (kind, &bytes_of_random) {
        (RunKind::Random, _) => *bytes_of_random = Some(outcome.logs.digests().to_vec()),
        (RunKind::Two | RunKind::Three | RunKind::Rescale | RunKind::Crashes, Some(digests)) => {
            same_bytes(digests, &outcome)?;
        }
        _ => {}
    }
    writeln!(
        report,
        "{}: {kind:?}: {} records, {} epochs, {} too large, {} restored, {rows} rows, {:.1} s",
        case.name,
        input.records(),
        outcome.epochs,
        outcome.too_large,
        outcome.restored,
        took.as_secs_f64()
    )?;
    Ok(())
}

fn way(kind: RunKind, plan: &Plan, input: &Input, random: &mut Random) -> Result<Run> {
    match kind {
        RunKind::Own => return Ok(Run::new(Cuts::Own(EpochLimits::default()))),
        RunKind::Whole => return Ok(Run::new(whole(plan, input)?)),
        RunKind::Each => return Ok(Run::new(Cuts::each(input))),
        _ => {}
    }
    let cuts = Cuts::random(input, RANDOM_CUTS, random);
    let epochs = match &cuts {
        Cuts::Batches(sizes) => sizes.len() as u64,
        Cuts::Own(_) => 0,
    };
    let mut run = Run::new(cuts);
    Ok(match kind {
        RunKind::Two => run.in_shards(&[2]),
        RunKind::Three => run.in_shards(&[3]),
        RunKind::Rescale => {
            run.crashes.insert(epochs / 3, Crash::After);
            run.crashes.insert(epochs * 2 / 3, Crash::After);
            run.in_shards(&[1, 3, 2])
        }
        RunKind::Crashes => run.with_crashes(CRASHES, epochs, random).in_shards(&[1, 3, 2]),
        _ => run,
    })
}

/// The whole input at once. Only a row that is joined to a table as it is when the row is processed needs that to be there:
/// such tables, which come first in the input, are read in an epoch before.
fn whole(plan: &Plan, input: &Input) -> Result<Cuts> {
    let tables = looked_up(plan);
    let is_of_table = |topic: &str| tables.contains(topic);
    let tables = input.batches.iter().take_while(|(partition, _)| is_of_table(&partition.topic)).count();
    let rest = &input.batches[tables..];
    let late = rest.iter().find(|(partition, _)| is_of_table(&partition.topic));
    ensure!(late.is_none(), "the input has rows before the end of the table they are joined to: {late:?}");
    Ok(Cuts::Batches([tables, rest.len()].into_iter().filter(|batches| *batches > 0).collect()))
}

/// The topics of tables that rows are joined to as they are at the moment.
fn looked_up(plan: &Plan) -> BTreeSet<&str> {
    let is_look_up = |node: &&Node| {
        matches!(&node.operator, Operator::TemporalJoin(TemporalJoin { versions: Versions::Latest, .. }))
    };
    let mut nodes: Vec<usize> = plan.nodes.iter().filter(is_look_up).map(|join| join.inputs[1]).collect();
    let mut topics = BTreeSet::new();
    while let Some(node) = nodes.pop() {
        nodes.extend(&plan.nodes[node].inputs);
        if let Operator::Source { source } = plan.nodes[node].operator {
            topics.insert(plan.sources[source].topic.as_str());
        }
    }
    topics
}

fn same_bytes(digests: &[u32], outcome: &Outcome) -> Result<()> {
    let found = outcome.logs.digests();
    let first = digests.iter().zip(found).position(|(left, right)| left != right);
    if let Some(index) = first {
        bail!("the same cuts give other bytes in epoch {}", index + 1);
    }
    ensure!(digests.len() == found.len(), "the same cuts give {} epochs, not {}", found.len(), digests.len());
    Ok(())
}

/// What a topic holds: its records and their partitions, in offset order.
pub type Topics<'t> = dyn Fn(&str) -> Result<Vec<(i32, Record)>> + 't;

/// The rows that answer a question, of the records of its topic.
pub fn rows_of(
    case: &Case,
    plan: &Plan,
    question: &Question,
    records: &Topics<'_>,
    columns: &[Column],
) -> Result<Vec<Bytes>> {
    let (topic, mode) = match &question.topic {
        Some(topic) => (topic.as_str(), Mode::Append),
        None => (plan.sink_topics().into_iter().next().context("a plan has a sink")?, case.mode()?),
    };
    let rows = final_rows(mode, &records(topic)?).with_context(|| format!("topic {topic}"))?;
    match &question.conserved {
        Some(sum) => summed(&rows, columns, sum),
        None => Ok(rows),
    }
}

/// Compares what some topics hold with what the oracle wrote to a folder.
pub fn judge_records(case: &Case, records: &Topics<'_>, expected: &Path) -> Result<usize> {
    let plan = case.plan()?;
    let mut rows = 0;
    for question in &case.questions {
        let expected = Expected::read(expected, &question.name)?;
        let found = rows_of(case, &plan, question, records, &expected.columns)?;
        rows += found.len();
        let differences = compare(&expected.columns, &expected.rows, &found);
        ensure!(differences.is_empty(), "{}: {differences}", question.name);
    }
    Ok(rows)
}

/// Rows of these columns: the sum of one of them, for all rows that are the same in the others.
fn summed(rows: &[Bytes], columns: &[Column], sum: &str) -> Result<Vec<Bytes>> {
    let mut sums: BTreeMap<String, (Map<String, Value>, i64)> = BTreeMap::new();
    for row in rows {
        let mut fields: Map<String, Value> = serde_json::from_slice(row)?;
        let number = fields.get(sum).and_then(Value::as_i64).with_context(|| format!("no number `{sum}`"))?;
        fields.retain(|name, _| name != sum && columns.iter().any(|column| column.name == *name));
        let text = Value::Object(fields.clone()).to_string();
        sums.entry(text).or_insert((fields, 0)).1 += number;
    }
    let row = |(mut fields, total): (Map<String, Value>, i64)| {
        fields.insert(sum.to_owned(), total.into());
        Bytes::from(Value::Object(fields).to_string())
    };
    Ok(sums.into_values().map(row).collect())
}

#[cfg(test)]
mod tests {
    use logmill_record::Batch;
    use logmill_stream::TopicPartition;

    use super::*;
    use crate::nexmark;

    #[test]
    fn the_whole_input_is_one_epoch_behind_the_tables_that_are_looked_up() {
        let folder = Folder::of_this_crate("nexmark");
        let cases = folder.cases().unwrap();
        let mut behind_tables = Vec::new();
        for case in &cases {
            let plan = case.plan().unwrap();
            let input = nexmark::events(1_000).batches(&plan.source_topics(), RECORDS_PER_BATCH);
            match whole(&plan, &input).unwrap() {
                Cuts::Batches(epochs) if epochs == [input.batches.len()] => {}
                Cuts::Batches(epochs) => {
                    let [tables, rest] = &*epochs else { panic!("{}: {epochs:?}", case.name) };
                    assert_eq!(tables + rest, input.batches.len());
                    let topics = |batches: &[(TopicPartition, Batch)]| -> BTreeSet<String> {
                        batches.iter().map(|(partition, _)| partition.topic.clone()).collect()
                    };
                    let (tables, rest) = input.batches.split_at(*tables);
                    assert!(topics(tables).is_disjoint(&topics(rest)));
                    behind_tables.push(case.name.as_str());
                    // Rows before their table: nobody says which of them it is there for.
                    let mut backwards = input.clone();
                    backwards.batches.reverse();
                    assert!(whole(&plan, &backwards).is_err());
                }
                Cuts::Own(_) => panic!("{}: the pipeline cuts as it likes", case.name),
            }
        }
        assert_eq!(behind_tables, ["q13"]);
    }
}
