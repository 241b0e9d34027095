//! The operators that keep state or order: what they hold, and what they do once an epoch.
//!
//! ```text
//! rows of the epoch, keyed ─► run ─► rows for the operators behind ─► … ─► sinks
//!          watermark ────────►  │
//!                               └─► changes of its tables ─► changelog
//! ```
//!
//! An operator runs once an epoch: first over all rows that reach it, in their order, then over the watermark that
//! follows them. It sees nothing else: no clock, no random number, and no order of a hash map decides what it gives.

mod accumulator;
mod aggregated;
mod assign_windows;
mod collect;
mod contenders;
mod group_aggregate;
mod join;
mod ordered;
mod over;
mod rank;
mod regrouped;
mod schedule;
mod session_aggregate;
mod spilling;
mod time_to_live;
mod timed_rows;
mod touched;
mod union;
mod upsert;
mod window_aggregate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub(crate) use self::regrouped::{Regrouped, Regrouping, same_state};
pub(crate) use self::spilling::{Spilling, share};
pub(crate) use self::timed_rows::{SortKeys, Timed};
use crate::plan::{self, Plan};
use crate::rows::{END_OF_TIME, MOST_BYTES, Mark, NO_ORIGIN, NO_TIME, Rows};
use crate::state::{ChangelogSink, Keys};

/// What an epoch is for an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EpochTime {
    /// Frozen processing time, in milliseconds.
    pub(crate) now: i64,
    /// The operator's own watermark after the epoch before.
    pub(crate) before: i64,
    /// The number of the epoch.
    pub(crate) epoch: u64,
}

/// A place in what time makes due: windows in the order of their ends, and within a window the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Every window that ends here or before is given.
    pub(crate) watermark: i64,
    /// The window behind it that is given in part: its end, and the last key that is given, without its key group.
    pub(crate) partial: Option<(i64, Arc<[u8]>)>,
}

impl Place {
    /// Behind everything that ends at the watermark or before.
    pub(crate) fn behind(watermark: i64) -> Place {
        Place { watermark, partial: None }
    }

    /// Whether a key of a window is given.
    pub(crate) fn is_given(&self, end: i64, key: &[u8]) -> bool {
        end <= self.watermark
            || self.partial.as_ref().is_some_and(|(partial, last)| *partial == end && key[1..] <= last[..])
    }

    /// The end of the last window of which something is given.
    pub(crate) fn last_end(&self) -> i64 {
        self.partial.as_ref().map_or(self.watermark, |(end, _)| *end)
    }
}

/// How many rows time makes due, by the window's end; about, if it is dear to tell.
pub(crate) type Due = BTreeMap<i64, usize>;

/// Rows of one input with their keys: empty keys where the operator asks for none.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) rows: Rows,
    pub(crate) keys: Keys,
}

/// What an operator gives in an epoch.
#[derive(Debug)]
pub(crate) struct Output {
    /// Rows caused by rows, in the order of these.
    pub(crate) rows: Vec<Rows>,
    /// Rows caused by time.
    pub(crate) timed: Vec<Timed>,
    /// The origin of each input row that came too late to count.
    pub(crate) late: Vec<u64>,
    /// Rows that could not be made.
    pub(crate) faults: Faults,
    /// The ends of windows that were closed and wholly given. Shards share windows.
    pub(crate) closed: BTreeSet<i64>,
    /// How many sessions were. Each is one shard's.
    pub(crate) sessions_closed: u64,
    /// About how many bytes its rows have, those that time caused too.
    bytes: usize,
    /// How many they may have.
    room: usize,
}

/// A row that cannot be made of rows that were sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OperatorFault {
    /// Which rows: their key or window.
    pub(crate) row: String,
    /// What cannot be computed.
    pub(crate) expression: String,
    /// Why.
    pub(crate) reason: String,
}

/// The faults of an epoch. One row may make as many as it has candidates for a partner: the first one is told, the others
/// are counted.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    first: Option<OperatorFault>,
    count: u64,
}

impl Faults {
    /// Takes note of a fault.
    pub(crate) fn push(&mut self, fault: OperatorFault) {
        self.push_with(|| fault);
    }

    /// Takes note of a fault, which is put in words if it is the first.
    pub(crate) fn push_with(&mut self, fault: impl FnOnce() -> OperatorFault) {
        self.count += 1;
        self.first.get_or_insert_with(fault);
    }

    /// The first fault, and how many there are.
    pub(crate) fn take(&mut self) -> Option<(OperatorFault, u64)> {
        let Faults { first, count } = std::mem::take(self);
        first.map(|first| (first, count))
    }
}

/// How much an operator holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StateSize {
    /// Entries of its tables.
    pub(crate) entries: u64,
    /// Of them, sessions that are open, or over and not written.
    pub(crate) sessions: u64,
}

/// An operator of one shard.
pub(crate) trait Operator: fmt::Debug + Send {
    /// Hears how far it has given what time made due: before a run's entries are shown to it, and before each epoch.
    fn stands_at(&mut self, _place: &Place) {}

    /// Hears how many rows of each input come in the epoch, to all shards.
    fn hears_of(&mut self, _rows: &[usize]) {}

    /// Takes the epoch's rows of each input.
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output);

    /// How many rows the watermark makes due, from a place on.
    fn due(&self, _from: &Place, _watermark: i64) -> Due {
        Due::new()
    }

    /// The first end at which something is due, behind a place, however far away.
    fn next_due(&self, from: &Place) -> Option<i64> {
        self.due(from, END_OF_TIME).into_keys().next()
    }

    /// The keys of a window that are due from a place on, in their order and each without its key group, with how many
    /// rows it gives: the first of them, until these give more than `most`, and two at least. Asked for when one window has
    /// more rows than an epoch may give.
    fn due_rows(&self, _from: &Place, _end: i64, _most: usize) -> Vec<(Arc<[u8]>, usize)> {
        Vec::new()
    }

    /// Gives what is due between two places, after the epoch's rows, and lets go of what is not needed any more.
    fn advance(&mut self, _time: EpochTime, _from: &Place, _to: &Place, _out: &mut Output) {}

    /// Hands the epoch's changes of its tables to the changelog.
    fn drain_changes(&mut self, log: &mut dyn ChangelogSink);

    /// Puts an entry of a table back, or takes it away.
    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String>;

    /// Puts a row of a log back; see [`is_log`].
    fn restore_row(&mut self, table: u8, _span: i64, _key: &[u8], _row: &[u8]) -> Result<(), String> {
        Err(format!("table {table} is no log"))
    }

    /// Takes a span of a log away.
    fn forget(&mut self, _table: u8, _span: i64) {}

    /// How much it holds.
    fn size(&self) -> StateSize;

    /// About how many bytes of memory its logs take; those of its tables are counted by their entries.
    fn log_bytes(&self) -> u64 {
        0
    }

    /// The ends of windows that are open, or closed and not wholly written. Shards share windows.
    fn window_ends(&self) -> BTreeSet<i64> {
        BTreeSet::new()
    }

    /// The operator, if its entries need not all be in memory.
    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        None
    }
}

/// Where a table's keys hold the key group: behind the time in a table that is ordered by time.
pub(crate) fn key_group_at(operator: &plan::Operator, table: u8) -> usize {
    match operator {
        plan::Operator::Contenders(_) => crate::state::TIME_BYTES,
        plan::Operator::WindowAggregate(_)
            if matches!(table, window_aggregate::SLICES | window_aggregate::VALUES) =>
        {
            crate::state::TIME_BYTES
        }
        plan::Operator::TemporalJoin(plan::TemporalJoin {
            versions: plan::Versions::AsOf { .. }, ..
        }) if table == join::WAITING => crate::state::TIME_BYTES,
        _ => 0,
    }
}

/// Whether a table is a log: its rows are in the changelog by blocks of those of all shards.
pub(crate) fn is_log(operator: &plan::Operator, table: u8) -> bool {
    match operator {
        plan::Operator::Join(plan::Join { bound, .. }) => match bound {
            plan::JoinBound::Window { .. } | plan::JoinBound::Interval { .. } => {
                join::PLAIN_ROWS.contains(&table)
            }
            plan::JoinBound::State(_) => false,
        },
        _ => false,
    }
}

/// Whether an input's time is the operator's. A table that is looked up holds nothing back.
pub(crate) fn tells_time(operator: &plan::Operator, input: usize) -> bool {
    match operator {
        plan::Operator::TemporalJoin(join) => input == 0 || join.versions != plan::Versions::Latest,
        _ => true,
    }
}

/// Whether what it gives depends on how far time is, so that rows may come too late for it.
pub(crate) fn goes_by_time(operator: &plan::Operator) -> bool {
    use plan::{JoinBound, OverMode, RankMode, Versions};
    match operator {
        plan::Operator::WindowAggregate(_)
        | plan::Operator::SessionAggregate(_)
        | plan::Operator::Contenders(_) => true,
        plan::Operator::Rank(rank) => matches!(rank.mode, RankMode::Window { .. } | RankMode::First { .. }),
        plan::Operator::Over(over) => matches!(over.mode, OverMode::OnTime { .. } | OverMode::Window { .. }),
        plan::Operator::Join(join) => !matches!(join.bound, JoinBound::State(_)),
        plan::Operator::TemporalJoin(join) => join.versions != Versions::Latest,
        plan::Operator::Source { .. }
        | plan::Operator::Map { .. }
        | plan::Operator::AssignWindows { .. }
        | plan::Operator::Union
        | plan::Operator::ProcessingTime
        | plan::Operator::GroupAggregate(_)
        | plan::Operator::Upsert(_)
        | plan::Operator::Collect(_) => false,
    }
}

/// Whether the rows it gives are those it takes, with more columns: a record that becomes late behind it is late.
pub(crate) fn keeps_rows(operator: &plan::Operator) -> bool {
    match operator {
        plan::Operator::Source { .. }
        | plan::Operator::Map { .. }
        | plan::Operator::AssignWindows { .. }
        | plan::Operator::Union
        | plan::Operator::Contenders(_)
        | plan::Operator::ProcessingTime => true,
        plan::Operator::TemporalJoin(join) => join.versions == plan::Versions::Latest,
        plan::Operator::WindowAggregate(_)
        | plan::Operator::SessionAggregate(_)
        | plan::Operator::GroupAggregate(_)
        | plan::Operator::Rank(_)
        | plan::Operator::Over(_)
        | plan::Operator::Join(_)
        | plan::Operator::Upsert(_)
        | plan::Operator::Collect(_) => false,
    }
}

/// By how much the time of what an operator gives may be behind its inputs' watermark, in milliseconds.
pub(crate) fn delay_ms(operator: &plan::Operator) -> i64 {
    match operator {
        plan::Operator::Join(join) => join.delay_ms(),
        plan::Operator::SessionAggregate(_) => session_aggregate::HELD_BACK_MS,
        _ => 0,
    }
}

/// A watermark that is held back; neither before time began nor when it has ended.
pub(crate) fn held_back(watermark: i64, delay_ms: i64) -> i64 {
    match watermark {
        NO_TIME | END_OF_TIME => watermark,
        watermark => watermark.saturating_sub(delay_ms),
    }
}

/// The columns of each input whose values must meet: rows of equal keys go to the same shard. `None`: no state, rows
/// stay where they are.
pub(crate) fn key_columns(operator: &plan::Operator) -> Option<Vec<Vec<usize>>> {
    match operator {
        plan::Operator::WindowAggregate(window) => Some(vec![window.keys.clone()]),
        plan::Operator::SessionAggregate(session) => Some(vec![session.keys.clone()]),
        plan::Operator::GroupAggregate(grouping) => Some(vec![grouping.keys.clone()]),
        plan::Operator::Rank(rank) => Some(vec![rank.partition.clone()]),
        plan::Operator::Over(over) => Some(vec![over.partition.clone()]),
        plan::Operator::Join(plan::Join { left, right, .. })
        | plan::Operator::TemporalJoin(plan::TemporalJoin { left, right, .. }) => {
            Some(vec![left.keys.clone(), right.keys.clone()])
        }
        plan::Operator::Upsert(upsert) => Some(vec![upsert.keys.clone()]),
        // The whole of it is in one place.
        plan::Operator::Collect(_) => Some(vec![Vec::new()]),
        plan::Operator::Source { .. }
        | plan::Operator::Map { .. }
        | plan::Operator::AssignWindows { .. }
        | plan::Operator::Union
        | plan::Operator::Contenders(_)
        | plan::Operator::ProcessingTime => None,
    }
}

/// For each node the source whose clock alone has judged its rows, each as it came.
fn clocks(plan: &Plan) -> Vec<Option<usize>> {
    let mut clocks: Vec<Option<usize>> = Vec::with_capacity(plan.nodes.len());
    for plan::Node { operator, inputs, .. } in &plan.nodes {
        clocks.push(match operator {
            plan::Operator::Source { source } => Some(*source),
            plan::Operator::Map { .. }
            | plan::Operator::AssignWindows { .. }
            | plan::Operator::Contenders(_)
            | plan::Operator::Union => {
                let of_first = clocks[inputs[0]];
                of_first.filter(|_| inputs.iter().all(|input| clocks[*input] == of_first))
            }
            _ => None,
        });
    }
    clocks
}

/// Whether a node gives the rows of a window when that closes, and none before.
fn gives_on_close(plan: &Plan, index: usize) -> bool {
    match &plan.nodes[index].operator {
        plan::Operator::WindowAggregate(window) => window.emit == plan::Emit::OnClose,
        plan::Operator::Map { .. } => gives_on_close(plan, plan.nodes[index].inputs[0]),
        _ => false,
    }
}

/// Makes the operator of a node; `None` for those that are evaluated in place.
pub(crate) fn build(plan: &Plan, index: usize) -> Option<Box<dyn Operator>> {
    let node = &plan.nodes[index];
    let input = |index: usize| &plan.nodes[node.inputs[index]];
    Some(match &node.operator {
        plan::Operator::Source { .. } | plan::Operator::Map { .. } => return None,
        plan::Operator::AssignWindows { kind, time } => {
            Box::new(assign_windows::AssignWindows::new(*kind, *time))
        }
        plan::Operator::Union => Box::new(match clocks(plan)[index] {
            Some(_) => union::Union::of_one_clock(),
            None => union::Union::by_own_time(),
        }),
        plan::Operator::ProcessingTime => Box::new(union::Union::by_own_time()),
        plan::Operator::Contenders(contenders) => Box::new(contenders::Contenders::new(*contenders)),
        plan::Operator::WindowAggregate(window) => Box::new(window_aggregate::WindowAggregate::new(
            window,
            &input(0).types(),
            &node.types(),
            input(0).changes,
        )),
        plan::Operator::GroupAggregate(grouping) => Box::new(group_aggregate::GroupAggregate::new(
            grouping,
            &input(0).types(),
            &node.types(),
            input(0).changes,
        )),
        plan::Operator::SessionAggregate(session) => {
            Box::new(session_aggregate::SessionAggregate::new(session, &input(0).types(), &node.types()))
        }
        plan::Operator::Rank(rank) => Box::new(rank::Rank::new(rank, &input(0).types(), input(0).changes)),
        plan::Operator::Over(over) => Box::new(over::Over::new(over, &input(0).types(), &node.types())),
        plan::Operator::Join(join) => {
            let (left, right) = (input(0).types(), input(1).types());
            let inputs = [&*left, &*right];
            match join.bound {
                plan::JoinBound::Window { left, right } => {
                    let join = join::TimedJoin::in_windows(join, [left, right], inputs);
                    let on_close = node.inputs.iter().all(|input| gives_on_close(plan, *input));
                    Box::new(if on_close { join.on_close() } else { join })
                }
                plan::JoinBound::Interval { left, right, least_ms, most_ms } => {
                    Box::new(join::TimedJoin::in_interval(join, [left, right], least_ms..=most_ms, inputs))
                }
                plan::JoinBound::State(bound) => Box::new(join::RegularJoin::new(join, bound, inputs)),
            }
        }
        plan::Operator::TemporalJoin(join) => {
            let (left, right) = (input(0).types(), input(1).types());
            let inputs = [&*left, &*right];
            match join.versions {
                plan::Versions::AsOf { left, right } => {
                    Box::new(join::TemporalJoin::new(join, [left, right], inputs))
                }
                plan::Versions::Latest => Box::new(join::LookupJoin::new(join, inputs)),
            }
        }
        plan::Operator::Upsert(upsert) => Box::new(upsert::Upsert::new(upsert, &node.types())),
        plan::Operator::Collect(collect) => Box::new(collect::Collect::new(collect, &node.types())),
    })
}

impl Output {
    pub(crate) fn new() -> Output {
        Output {
            rows: Vec::new(),
            timed: Vec::new(),
            late: Vec::new(),
            faults: Faults::default(),
            closed: BTreeSet::new(),
            sessions_closed: 0,
            bytes: 0,
            room: MOST_BYTES,
        }
    }

    /// With room for so many bytes of rows.
    pub(crate) fn within(room: usize) -> Output {
        Output { room, ..Output::new() }
    }

    /// Gives rows that rows caused.
    pub(crate) fn push(&mut self, rows: Rows) {
        if !rows.is_empty() {
            self.bytes += rows.bytes();
            self.rows.push(rows);
        }
    }

    /// Gives rows that time caused, with what they are sorted by.
    pub(crate) fn push_timed(&mut self, rows: Rows, sort: SortKeys) {
        if !rows.is_empty() {
            self.bytes += rows.bytes();
            self.timed.push(Timed { rows, sort });
        }
    }

    /// Takes note of bytes that rows to be given are made of.
    pub(crate) fn note(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// About how many bytes its rows have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes more it may be given.
    pub(crate) fn left(&self) -> usize {
        self.room.saturating_sub(self.bytes)
    }

    /// Whether it may be given more. If not, the epoch is given up: whatever else it does is of no use.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes <= self.room
    }
}

/// The mark of a row that time caused.
pub(crate) fn timed_mark(timestamp: i64, time: EpochTime) -> Mark {
    Mark { order: 0, origin: NO_ORIGIN, timestamp, watermark: time.before, partition: 0, back: false }
}

/// The timestamp of a row of a window: its last instant.
pub(crate) fn window_timestamp(window_end: i64) -> i64 {
    window_end.saturating_sub(1)
}
