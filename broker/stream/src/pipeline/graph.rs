//! The graph of operators: one epoch's rows, node by node.
//!
//! ```text
//! rows of stateless nodes (prepared) ─► node ─► node ─► … ─► rows for each sink
//!                      per node: dealt out by key group ─► shards ─► merged in serial order
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::changes::StateChanges;
use super::errors::EpochError;
use super::progress::Counters;
use super::room::{check_room, read_back_room};
use super::shards::{Shards, merge};
use super::size::SizeMeter;
use crate::column::Column;
use crate::eval::{Evaluator, too_much_text};
use crate::executor::Executor;
use crate::operators::{self, EpochTime, OperatorFault, Place, key_columns};
use crate::plan::{self, Expression, Plan, SinkErrorPolicy};
use crate::rows::{END_OF_TIME, NO_ORIGIN, NO_TIME, Rows, row_text};
use crate::state::{Blocks, ChangelogKey, KeyGroups, Spilt, block_rows};

/// The operators with their state.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<NodeState>,
    /// Where entries are that are not in memory, if they need not be.
    pub(super) spilt: Option<Spilt>,
}

#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) shards: Shards,
    /// What identifies its records in the changelog.
    pub(super) identity: u32,
    /// Its operator's name, if it keeps state.
    pub(super) name: Option<&'static str>,
    /// Everything before it is given.
    place: Place,
    /// Whether a row that cannot be made ends the run.
    fails: bool,
    /// Whether it was evaluated before any state is touched.
    early: bool,
    /// Whether the rows it gives are those it takes.
    keeps_rows: bool,
    /// What the changelog has of its logs.
    blocks: Blocks,
    /// What its entries are; what its logs hold is not in it.
    pub(super) size: SizeMeter,
    /// Whether its entries need not be in memory where there is a cold store.
    pub(super) spills: bool,
    /// Bytes of those that are.
    pub(super) held: u64,
    /// How many rows it took or gave in the last epoch, about.
    worked: usize,
}

impl NodeState {
    pub(super) fn entries(&self) -> u64 {
        self.shards.iter().map(|operator| operator.size().entries).sum()
    }

    /// Bytes of all its state.
    pub(super) fn bytes(&self) -> u64 {
        self.size.bytes() + self.shards.iter().map(|operator| operator.log_bytes()).sum::<u64>()
    }

    /// Windows by their ends: those of two shards that end together are one.
    pub(super) fn open_windows(&self) -> u64 {
        let sessions: u64 = self.shards.iter().map(|operator| operator.size().sessions).sum();
        let mut ends = BTreeSet::new();
        self.shards.iter().for_each(|operator| ends.append(&mut operator.window_ends()));
        sessions + ends.len() as u64
    }
}

/// What an epoch is for the graph.
#[derive(Debug)]
pub(super) struct GraphEpoch<'e> {
    pub(super) plan: &'e Plan,
    pub(super) now: i64,
    /// Its number.
    pub(super) number: u64,
    pub(super) emit_rows: u32,
    /// How many bytes of rows one operator may give.
    pub(super) room: usize,
    pub(super) times: Times<'e>,
    pub(super) executor: &'e dyn Executor,
}

/// What event time a source, or an operator, has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Its watermark, in milliseconds; `i64::MIN` where it has none yet.
    pub watermark: i64,
    /// Nothing has come for long: what it is joined with does not wait for it.
    pub idle: bool,
}

/// What time it is behind an epoch's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times<'e> {
    /// Each source's.
    pub(super) sources: &'e [Reached],
    /// The frozen processing time; it has ended when the input has.
    pub(super) processing: i64,
}

/// What the graph gives in an epoch.
#[derive(Debug, Default)]
pub(super) struct GraphOutput {
    /// The rows of each node that feeds a sink.
    pub(super) rows: BTreeMap<usize, Vec<Rows>>,
    /// The origins of source rows that came too late to count.
    pub(super) late: Vec<u64>,
    /// How many rows time made due, counted at each operator that gave them.
    pub(super) timed_rows: u64,
}

impl Graph {
    pub(super) fn new(plan: &Plan, shards: usize, groups: KeyGroups) -> Graph {
        let fails = fails(plan);
        let early = early_nodes(plan);
        let identities = plan.identities();
        let names: BTreeMap<u32, &'static str> =
            plan.states().into_iter().map(|state| (state.identity, state.operator)).collect();
        let node = |index: usize| {
            let keyed = key_columns(&plan.nodes[index].operator).is_some();
            let count = if keyed { shards } else { 1 };
            let mut shards = Shards::build(plan, index, count, groups);
            let spills = shards.spilling().next().is_some();
            NodeState {
                shards,
                spills,
                held: 0,
                identity: identities[index],
                name: names.get(&identities[index]).copied(),
                place: Place::behind(NO_TIME),
                fails: fails[index],
                early: early[index],
                keeps_rows: operators::keeps_rows(&plan.nodes[index].operator),
                blocks: Blocks::default(),
                size: SizeMeter::default(),
                worked: 0,
            }
        };
        Graph { nodes: (0..plan.nodes.len()).map(node).collect(), spilt: None }
    }

    /// Where each node is; for the progress record.
    pub(super) fn places(&self) -> Vec<Place> {
        self.nodes.iter().map(|node| node.place.clone()).collect()
    }

    /// Takes up where an earlier run was.
    pub(super) fn restore_places(&mut self, places: Vec<Place>) {
        for (node, place) in self.nodes.iter_mut().zip(places) {
            node.shards.stand_at(&place);
            node.place = place;
        }
    }

    /// Whether rows that time made due are left, given each source's time.
    pub(super) fn is_pending(&self, plan: &Plan, sources: &[Reached]) -> bool {
        is_pending(plan, &|index| &self.nodes[index].place, sources)
    }

    /// When processing time alone makes something due, if nothing else comes.
    pub(super) fn wake_at(&self, plan: &Plan) -> Option<i64> {
        let mut by_clock = vec![false; self.nodes.len()];
        let mut first: Option<i64> = None;
        for (index, node) in plan.nodes.iter().enumerate() {
            by_clock[index] = match &node.operator {
                plan::Operator::ProcessingTime => true,
                operator => {
                    let inputs = node.inputs.iter().enumerate();
                    let mut timed = inputs.filter(|(at, _)| operators::tells_time(operator, *at)).peekable();
                    timed.peek().is_some() && timed.all(|(_, input)| by_clock[*input])
                }
            };
            if by_clock[index] {
                let state = &self.nodes[index];
                let ends = state.shards.iter().filter_map(|operator| operator.next_due(&state.place));
                first = first.into_iter().chain(ends).min();
            }
        }
        first
    }

    /// How many windows and sessions hold state.
    pub(super) fn open_windows(&self) -> u64 {
        self.nodes.iter().map(NodeState::open_windows).sum()
    }

    /// Runs an epoch over the rows of the nodes that were evaluated already.
    pub(super) fn run(
        &mut self,
        epoch: &GraphEpoch<'_>,
        mut rows: BTreeMap<usize, Vec<Rows>>,
        counters: &mut Counters,
    ) -> Result<GraphOutput, EpochError> {
        let plan = epoch.plan;
        let mut output = GraphOutput::default();
        let mut left = self.consumers(plan);
        let mut times = vec![Reached::NOT_YET; self.nodes.len()];
        for index in 0..plan.nodes.len() {
            times[index] = input_time(plan, index, &times, epoch.times);
            let node = &plan.nodes[index];
            if self.nodes[index].early {
                continue;
            }
            let inputs: Vec<Vec<Rows>> = node
                .inputs
                .iter()
                .map(|input| {
                    left[*input] -= 1;
                    match left[*input] {
                        0 => rows.remove(input),
                        _ => rows.get(input).cloned(),
                    }
                    .unwrap_or_default()
                })
                .collect();
            let given = match &node.operator {
                plan::Operator::Map { filter, outputs } => {
                    self.map(index, filter.as_ref(), outputs, inputs, epoch.now, counters)?
                }
                operator => {
                    let keys = key_columns(operator);
                    let watermark = times[index].watermark;
                    self.operate(index, keys, inputs, watermark, epoch, &mut output, counters)?
                }
            };
            if !self.nodes[index].shards.is_empty() {
                times[index] = output_time(node, self.nodes[index].place.watermark, times[index]);
            }
            if !given.is_empty() {
                rows.insert(index, given);
            }
        }
        output.rows = rows;
        Ok(output)
    }

    /// A stateless node behind one with state.
    fn map(
        &self,
        index: usize,
        filter: Option<&Expression>,
        outputs: &[Expression],
        inputs: Vec<Vec<Rows>>,
        now: i64,
        counters: &mut Counters,
    ) -> Result<Vec<Rows>, EpochError> {
        let mut given = Vec::new();
        let mut left: Vec<Rows> = inputs.into_iter().flatten().rev().collect();
        while let Some(rows) = left.pop() {
            let mut evaluator = Evaluator::new(&rows.columns, rows.len()).with_now(now);
            let all = evaluator.all_rows();
            let mut kept = match filter {
                Some(filter) => evaluator.evaluate_mask(filter, &all),
                None => all,
            };
            let columns: Vec<Column> =
                outputs.iter().map(|output| evaluator.evaluate(output, &kept)).collect();
            if evaluator.is_too_much() {
                if rows.len() == 1 {
                    let row = row_text(&rows.columns, 0);
                    let expression = "the row".to_owned();
                    let fault = OperatorFault { row, expression, reason: too_much_text() };
                    self.refuse(index, fault, 1, counters)?;
                    continue;
                }
                // Once more, one half after the other.
                let middle = rows.len() as u32 / 2;
                let [first, second] =
                    [0..middle, middle..rows.len() as u32].map(|half| rows.take(&half.collect::<Vec<u32>>()));
                left.extend([second, first]);
                continue;
            }
            let faults = evaluator.into_faults();
            if !faults.is_empty() {
                let sound = |row: usize| kept.value(row) && !faults.contains_key(&row);
                let sound = arrow_buffer::BooleanBuffer::collect_bool(rows.len(), sound);
                for (row, fault) in faults {
                    let row = row_text(&rows.columns, row);
                    let fault = OperatorFault { row, expression: fault.expression, reason: fault.reason };
                    self.refuse(index, fault, 1, counters)?;
                }
                kept = sound;
            }
            let mapped = Rows { columns, marks: rows.marks }.filter(&kept);
            if !mapped.is_empty() {
                given.push(mapped);
            }
        }
        Ok(given)
    }

    /// So many rows that cannot be made, and why the first: the policy of the sinks they would have reached.
    fn refuse(
        &self,
        index: usize,
        fault: OperatorFault,
        count: u64,
        counters: &mut Counters,
    ) -> Result<(), EpochError> {
        if self.nodes[index].fails {
            let OperatorFault { row, expression, reason } = fault;
            return Err(EpochError::OutputRow { row, expression, reason });
        }
        counters.unwritten += count;
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one node's share of the epoch, taken apart for the borrows"
    )]
    fn operate(
        &mut self,
        index: usize,
        keys: Option<Vec<Vec<usize>>>,
        mut inputs: Vec<Vec<Rows>>,
        watermark: i64,
        epoch: &GraphEpoch<'_>,
        output: &mut GraphOutput,
        counters: &mut Counters,
    ) -> Result<Vec<Rows>, EpochError> {
        let node = &mut self.nodes[index];
        let time = EpochTime { now: epoch.now, before: node.place.watermark, epoch: epoch.number };
        node.worked = inputs.iter().flatten().map(Rows::len).sum();
        if inputs.len() > 1 && !matches!(epoch.plan.nodes[index].operator, plan::Operator::Union) {
            // While an input was idle time went on without it. What comes of it now is late by the time that is here.
            let marks = inputs.iter_mut().flatten().flat_map(|rows| &mut rows.marks);
            marks.for_each(|mark| mark.watermark = mark.watermark.max(time.before));
        }
        node.shards.stand_at(&node.place);
        let room = read_back_room(epoch.room);
        let cold = self.spilt.as_ref().map(|spilt| spilt.tables(node.identity, room));
        let mut outputs =
            node.shards.process(epoch.executor, node.worked, time, epoch.room, keys, inputs, cold)?;
        check_room(&outputs, epoch.room, false)?;
        if node.place.watermark < watermark {
            let cold = self.spilt.as_ref().map(|spilt| spilt.tables(node.identity, room));
            let most = epoch.emit_rows as usize;
            let (to, due) = node.shards.reach(&node.place, watermark, most, cold.as_ref())?;
            node.worked += due;
            let between = (&node.place, &to);
            let advanced = node.shards.advance(epoch.executor, node.worked, time, between, outputs, cold);
            outputs = advanced.map_err(|error| EpochError::reading_due(error, due as u64))?;
            check_room(&outputs, epoch.room, true)?;
            node.place = to;
        }
        let keeps_rows = node.keeps_rows;
        let mut closed = BTreeSet::new();
        for given in &mut outputs {
            output.timed_rows += given.timed.iter().map(|timed| timed.rows.len() as u64).sum::<u64>();
            closed.append(&mut given.closed);
            counters.windows_closed += given.sessions_closed;
            for origin in given.late.drain(..) {
                match origin {
                    NO_ORIGIN => counters.late_rows += 1,
                    origin => output.late.push(origin),
                }
            }
        }
        counters.windows_closed += closed.len() as u64;
        for (first, count) in outputs.iter_mut().filter_map(|given| given.faults.take()) {
            self.refuse(index, first, count, counters)?;
        }
        Ok(merge(epoch.executor, outputs, keeps_rows))
    }

    /// Hands the epoch's changes to the changelog: operator by operator, in the order of the keys.
    pub(super) fn drain_changes(&mut self, mut put: impl FnMut(&[u8], Option<&[u8]>)) {
        for node in &mut self.nodes {
            let mut changes = StateChanges::of(node.identity);
            node.shards.drain_changes(&mut changes);
            let size = &mut node.size;
            let mut kept = Vec::new();
            changes.finish(&mut node.blocks, |key, value, is_block| {
                // What logs hold, they say themselves.
                if !is_block {
                    size.put(key, value);
                }
                put(key, value);
                if self.spilt.is_some() {
                    kept.push((key.to_vec(), value.map(<[u8]>::to_vec)));
                }
            });
            if let Some(spilt) = &mut self.spilt {
                spilt.changed(node.identity, kept);
            }
        }
    }

    /// Puts an entry of the changelog back.
    pub(super) fn restore(
        &mut self,
        plan: &Plan,
        key: ChangelogKey<'_>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let found = self.nodes.iter().position(|node| node.identity == key.operator);
        let Some(index) = found.filter(|index| !self.nodes[*index].shards.is_empty()) else {
            return Err(format!("operator {:08x} is not in the plan", key.operator));
        };
        let operator = &plan.nodes[index].operator;
        if operators::is_log(operator, key.table) {
            return self.nodes[index].restore_block(key, value);
        }
        let mut record_key = Vec::new();
        key.encode(&mut record_key);
        self.nodes[index].size.put(&record_key, value);
        let at = operators::key_group_at(operator, key.table);
        let group = *key.key.get(at).ok_or("the key is too short")?;
        self.nodes[index].shards.of_group(group)?.restore(key.table, key.key, value)
    }

    /// How many times the rows of each node are asked for.
    fn consumers(&self, plan: &Plan) -> Vec<usize> {
        let mut counts = vec![0; plan.nodes.len()];
        for (node, state) in plan.nodes.iter().zip(&self.nodes) {
            if !state.early {
                node.inputs.iter().for_each(|input| counts[*input] += 1);
            }
        }
        plan.sinks.iter().for_each(|sink| counts[sink.input] += 1);
        counts
    }
}

/// Whether an operator is behind its inputs: rows that time made due are left.
pub(super) fn is_pending<'p>(plan: &Plan, place: &dyn Fn(usize) -> &'p Place, sources: &[Reached]) -> bool {
    let mut times = vec![Reached::NOT_YET; plan.nodes.len()];
    for (index, node) in plan.nodes.iter().enumerate() {
        // Processing time goes on when an epoch does.
        let of_sources = Times { sources, processing: place(index).watermark };
        let input = input_time(plan, index, &times, of_sources);
        times[index] = match &node.operator {
            // They are evaluated in place.
            plan::Operator::Source { .. } | plan::Operator::Map { .. } => input,
            _ => {
                let reached = place(index).watermark;
                if reached < input.watermark {
                    return true;
                }
                output_time(node, reached, input)
            }
        };
    }
    false
}

/// The nodes that need nothing but one source's rows: they are evaluated before any state is touched.
pub(super) fn early_nodes(plan: &Plan) -> Vec<bool> {
    let mut early = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        early.push(match &node.operator {
            plan::Operator::Source { .. } => true,
            plan::Operator::Map { .. } => node.inputs.iter().all(|input| early[*input]),
            _ => false,
        });
    }
    early
}

/// For each node whether a sink behind it ends the run when a row cannot be made.
fn fails(plan: &Plan) -> Vec<bool> {
    let mut fails = vec![false; plan.nodes.len()];
    for sink in &plan.sinks {
        fails[sink.input] |= sink.on_error == SinkErrorPolicy::Fail;
    }
    for index in (0..plan.nodes.len()).rev() {
        if fails[index] {
            plan.nodes[index].inputs.iter().for_each(|input| fails[*input] = true);
        }
    }
    fails
}

impl Reached {
    const NOT_YET: Reached = Reached { watermark: NO_TIME, idle: false };
}

/// What time its inputs let a node come to: that of the slowest that is not idle. Where all are idle it is that of the newest,
/// as it is with the partitions of a source.
fn input_time(plan: &Plan, index: usize, reached: &[Reached], times: Times<'_>) -> Reached {
    match &plan.nodes[index].operator {
        plan::Operator::Source { source } => times.sources[*source],
        plan::Operator::ProcessingTime => Reached { watermark: times.processing, idle: false },
        operator => {
            let inputs = plan.nodes[index].inputs.iter().enumerate();
            let timed = inputs.filter(|(at, _)| operators::tells_time(operator, *at));
            let (idle, busy): (Vec<Reached>, Vec<Reached>) =
                timed.map(|(_, input)| reached[*input]).partition(|input| input.idle);
            let slowest = busy.iter().map(|input| input.watermark).min();
            let newest = idle.iter().map(|input| input.watermark).max();
            let watermark = slowest.or(newest).unwrap_or(END_OF_TIME);
            Reached { watermark, idle: busy.is_empty() && !idle.is_empty() }
        }
    }
}

/// What time it is for what a node gives that has come to a place. While something is due of it, it is not idle.
fn output_time(node: &plan::Node, place: i64, input: Reached) -> Reached {
    let watermark = operators::held_back(place, operators::delay_ms(&node.operator));
    Reached { watermark, idle: input.idle && place >= input.watermark }
}

impl NodeState {
    /// Puts the rows of a block back, or takes all of its span away.
    fn restore_block(&mut self, key: ChangelogKey<'_>, value: Option<&[u8]>) -> Result<(), String> {
        let Some(span) = self.blocks.restore(key.table, key.key, value.is_some())? else { return Ok(()) };
        let Some(block) = value else {
            self.shards.forget(key.table, span);
            return Ok(());
        };
        block_rows(block).try_for_each(|row| {
            let (of, row) = row?;
            self.shards.of_group(of[0])?.restore_row(key.table, span, of, row)
        })
    }
}
