//! Joins with the extreme of a window: most rows are known not to be it before they reach the join.
//!
//! ```text
//! rows ─┬─────────────────────────────────► join on value = extreme, near the window's end
//!       └─► MAX(value) of each window ───────►┘
//!
//! becomes   rows ─┬─► contenders ───────────► join
//!                 └─► MAX(value) ────────────►┘
//! ```
//!
//! The rows that a window's `MAX` is of include those that want to equal it. What the window has seen so far is no more
//! than what it will give; so a row whose value is less than that, in every window it may be joined to, makes no pair: now
//! or ever. It need not be kept. Not so where rows without a partner are given, where rows are taken back, or where a window
//! is given more than once.

use serde::{Deserialize, Serialize};

use super::{
    AggregateFunction, Emit, Expression, JoinBound, JoinKind, Node, Operator, Plan, WindowAggregate,
    WindowKind, WindowOf,
};
use crate::value::DataType;

/// A row is looked at in so many windows at most; a join that reaches more is left as it is.
const MOST_WINDOWS: i64 = 16;

/// A window is no farther than this from the rows that are joined to it: some thousand years.
const FARTHEST_MS: i64 = 1 << 47;

/// Only the rows that may equal the extreme of a window which ends near their time. Rows that are late for the join
/// behind it, or of which nothing is known, go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contenders {
    /// The column that is to be the extreme, a `BIGINT` or `TIMESTAMP`.
    pub value: usize,
    /// Whether the extreme is the greatest value; else it is the least.
    pub greatest: bool,
    /// The column of time.
    pub time: usize,
    /// The windows; each holds all rows, by their time.
    pub windows: WindowKind,
    /// The least difference of a row's time minus the end of the window, in milliseconds.
    pub least_ms: i64,
    /// The greatest difference.
    pub most_ms: i64,
}

/// Puts contenders before every join that allows it.
pub(super) fn put_before_joins(plan: &mut Plan) {
    let mut index = 0;
    while index < plan.nodes.len() {
        if let Some(contenders) = find(plan, &plan.nodes[index]) {
            let input = plan.nodes[index].inputs[0];
            let columns = plan.nodes[input].columns.clone();
            plan.nodes.iter_mut().flat_map(|node| &mut node.inputs).for_each(|input| {
                *input += usize::from(*input >= index);
            });
            plan.sinks.iter_mut().for_each(|sink| sink.input += usize::from(sink.input >= index));
            let operator = Operator::Contenders(contenders);
            plan.nodes.insert(index, Node { operator, inputs: vec![input], columns, changes: false });
            index += 1;
            plan.nodes[index].inputs[0] = index - 1;
        }
        index += 1;
    }
}

/// What a join's left rows have to be, if it is a join with an extreme of the same rows.
fn find(plan: &Plan, node: &Node) -> Option<Contenders> {
    let Operator::Join(join) = &node.operator else { return None };
    let JoinBound::Interval { left, right, least_ms, most_ms } = join.bound else { return None };
    let [of_left, of_right] = node.inputs[..] else { return None };
    if join.kind.keeps_left() || plan.nodes[of_left].changes {
        return None;
    }
    debug_assert!(matches!(join.kind, JoinKind::Inner | JoinKind::Right));
    // A filter between the windows and the join only takes rows away that would be equalled.
    let (window, end) = trace(plan, of_right, right, true)?;
    let Operator::WindowAggregate(WindowAggregate {
        window: WindowOf::Assigned { kind, time },
        keys,
        aggregates,
        emit: Emit::OnClose,
    }) = &plan.nodes[window].operator
    else {
        return None;
    };
    let is_far = |ms: i64| ms.saturating_abs() > FARTHEST_MS;
    if is_far(least_ms) || is_far(most_ms) || most_ms < least_ms {
        return None;
    }
    if end != WINDOW_END || !keys.is_empty() || (most_ms - least_ms) / step(*kind) >= MOST_WINDOWS {
        return None;
    }
    let rows = plan.nodes[window].inputs[0];
    let (base, base_time) = trace(plan, rows, *time, false)?;
    if plan.nodes[base].changes || trace(plan, of_left, left, true)? != (base, base_time) {
        return None;
    }
    join.left.keys.iter().zip(&join.right.keys).find_map(|(value, extreme)| {
        let (of, column) = trace(plan, of_right, *extreme, true)?;
        let aggregate = aggregates.get(column.checked_sub(AGGREGATES)?).filter(|_| of == window)?;
        let greatest = match aggregate.function {
            AggregateFunction::Max => true,
            AggregateFunction::Min => false,
            _ => return None,
        };
        let is_whole = matches!(aggregate.argument_type, DataType::BigInt | DataType::Timestamp);
        let argument = trace(plan, rows, aggregate.argument?, false)?;
        let is_same = argument.0 == base && trace(plan, of_left, *value, true)? == argument;
        (is_whole && is_same && aggregate.filter.is_none()).then_some(Contenders {
            value: *value,
            greatest,
            time: left,
            windows: *kind,
            least_ms,
            most_ms,
        })
    })
}

/// The row of a window: start, end, aggregates.
const WINDOW_END: usize = 1;
const AGGREGATES: usize = 2;

/// The distance between the ends of two windows.
fn step(kind: WindowKind) -> i64 {
    match kind {
        WindowKind::Tumble { size_ms, .. } => size_ms,
        WindowKind::Hop { slide_ms, .. } => slide_ms,
        WindowKind::Cumulate { step_ms, .. } => step_ms,
    }
}

/// Where a column comes from, untouched: the first node that is no projection, and the column there. Without `filters`
/// every row of that node has to be among the rows.
fn trace(plan: &Plan, mut node: usize, mut column: usize, filters: bool) -> Option<(usize, usize)> {
    while let Operator::Map { filter, outputs } = &plan.nodes[node].operator {
        let plain = |output: &Expression| match output {
            Expression::Column { index, .. } => Some(*index),
            _ => None,
        };
        // An expression that fails takes its row away, too.
        if !filters && (filter.is_some() || outputs.iter().any(|output| plain(output).is_none())) {
            return None;
        }
        column = plain(&outputs[column])?;
        node = plan.nodes[node].inputs[0];
    }
    Some((node, column))
}
