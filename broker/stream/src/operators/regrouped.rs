//! The state of an operator that groups, for one that computes some of the same aggregates of the same groups.
//!
//! An entry keeps its group, and of its accumulators those that are still asked for, where they are asked for now. So entries
//! come out in the order they went in: aggregates that keep values in entries of their own keep their order.

use super::accumulator::Accumulator;
use super::aggregated::Aggregates;
use super::{group_aggregate, session_aggregate, window_aggregate};
use crate::plan::{self, Aggregate, AggregateFunction, WindowOf};
use crate::state::{TIME_BYTES, decode_row, encode_values, key_length};
use crate::value::DataType;

/// An entry as it is now, key and value.
type Entry = (Vec<u8>, Vec<u8>);

/// How an operator's entries are made to be another's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Regrouped {
    /// The aggregates there were.
    aggregates: Vec<Aggregate>,
    /// Whether rows may be taken back.
    changes: bool,
    /// For each aggregate there is now, which of those it was.
    picks: Vec<usize>,
    key_types: Vec<DataType>,
    /// The types of the rows there were, and where the columns are that there are now.
    rows: (Vec<DataType>, Vec<usize>),
}

/// What the old operator was, as far as its state goes.
pub(crate) struct Regrouping<'r> {
    pub(crate) aggregates: &'r [Aggregate],
    pub(crate) keys: &'r [usize],
    pub(crate) input: &'r [DataType],
    pub(crate) changes: bool,
}

impl Regrouped {
    /// `picks` says for each aggregate there is now which of the old ones has its state, and `columns` for each column of its
    /// input which of the old ones that is. `None` where aggregates whose values have entries of their own would come in
    /// another order.
    pub(crate) fn new(old: Regrouping<'_>, picks: Vec<usize>, columns: Vec<usize>) -> Option<Regrouped> {
        let Regrouping { aggregates, keys, input, changes } = old;
        let keeps_values =
            |at: &&usize| matches!(Accumulator::new(&aggregates[**at], changes), Accumulator::Values(_));
        if !picks.iter().filter(keeps_values).is_sorted_by(|left, right| left < right) {
            return None;
        }
        Some(Regrouped {
            aggregates: aggregates.to_vec(),
            changes,
            picks,
            key_types: keys.iter().map(|key| input[*key]).collect(),
            rows: (input.to_vec(), columns),
        })
    }

    /// The entry of a table as it is now; `None` when nothing of it is asked for.
    pub(crate) fn entry(
        &self,
        operator: &plan::Operator,
        table: u8,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Entry>, String> {
        let damaged = || format!("a damaged entry of table {table}");
        let (time, start) = match operator {
            plan::Operator::WindowAggregate(window) => match window.window {
                WindowOf::Given { .. } => (TIME_BYTES, TIME_BYTES),
                WindowOf::Assigned { .. } => (TIME_BYTES, 0),
            },
            _ => (0, 0),
        };
        let apart = Aggregates::new(&self.aggregates, self.changes).with_values_apart();
        let entry = match (operator, table) {
            (plan::Operator::GroupAggregate(_), group_aggregate::GROUPS) => {
                // How many rows it has, and when it was touched.
                Some((key.to_vec(), self.picked(&apart, value, 2 * size_of::<i64>()).ok_or_else(damaged)?))
            }
            (plan::Operator::WindowAggregate(_), window_aggregate::SLICES) => {
                Some((key.to_vec(), self.picked(&apart, value, size_of::<i64>()).ok_or_else(damaged)?))
            }
            (plan::Operator::GroupAggregate(_), group_aggregate::VALUES)
            | (plan::Operator::WindowAggregate(_), window_aggregate::VALUES) => {
                let group = key.get(time + 1..).and_then(|key| key_length(key, &self.key_types));
                let group = time + 1 + group.ok_or_else(damaged)? + start;
                let index = usize::from(*key.get(group).ok_or_else(damaged)?);
                let now = self.picks.iter().position(|pick| *pick == index);
                now.map(|now| {
                    let mut moved = key.to_vec();
                    moved[group] = u8::try_from(now).expect("the binder allows no more aggregates");
                    (moved, value.to_vec())
                })
            }
            (plan::Operator::WindowAggregate(_), window_aggregate::HELD) => {
                Some((key.to_vec(), self.held(value).ok_or_else(damaged)?))
            }
            (plan::Operator::SessionAggregate(_), session_aggregate::GROUPS) => {
                Some((key.to_vec(), self.sessions(value).ok_or_else(damaged)?))
            }
            _ => return Err(format!("there is no table {table}")),
        };
        Ok(entry)
    }

    /// What stands before accumulators, and those that are picked; nothing may stand behind them.
    fn picked(&self, aggregates: &Aggregates, value: &[u8], before: usize) -> Option<Vec<u8>> {
        let (before, mut rest) = value.split_at_checked(before)?;
        let mut out = before.to_vec();
        self.pick(aggregates, &mut rest, &mut out)?;
        rest.is_empty().then_some(out)
    }

    fn pick(&self, aggregates: &Aggregates, bytes: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
        let accumulators = aggregates.decode(bytes)?;
        self.picks.iter().for_each(|pick| accumulators[*pick].encode(out));
        Some(())
    }

    fn sessions(&self, value: &[u8]) -> Option<Vec<u8>> {
        let aggregates = Aggregates::new(&self.aggregates, false);
        let (count, mut rest) = value.split_first_chunk()?;
        let mut out = count.to_vec();
        for _ in 0..u32::from_be_bytes(*count) {
            let (bounds, accumulators) = rest.split_at_checked(2 * TIME_BYTES)?;
            out.extend_from_slice(bounds);
            rest = accumulators;
            self.pick(&aggregates, &mut rest, &mut out)?;
        }
        rest.is_empty().then_some(out)
    }

    /// A row that is held: slice, watermark and sign, and of its columns those that there are now.
    fn held(&self, value: &[u8]) -> Option<Vec<u8>> {
        let (types, columns) = &self.rows;
        let (before, row) = value.split_at_checked(2 * TIME_BYTES + 1)?;
        let values = decode_row(row, types)?;
        let mut out = before.to_vec();
        let picked: Vec<_> = columns.iter().map(|column| values[*column].clone()).collect();
        let types: Vec<DataType> = columns.iter().map(|column| types[*column]).collect();
        encode_values(&picked, &types, &mut out);
        Some(out)
    }
}

/// Whether an aggregate has the state of another, of the same argument and filter.
pub(crate) fn same_state(one: &Aggregate, other: &Aggregate) -> bool {
    use AggregateFunction::{Average, Sum};
    let is_sum = |aggregate: &Aggregate| matches!(aggregate.function, Sum | Average);
    let same = one.function == other.function
        || is_sum(one) && is_sum(other)
        || one.function.is_spread() && other.function.is_spread();
    same && one.user == other.user
        && one.argument_type == other.argument_type
        && one.distinct == other.distinct
        && one.parameter == other.parameter
}
