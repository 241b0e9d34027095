//! What tells the rows of a query apart: the columns of which no two rows agree in all.

use std::collections::BTreeSet;

use super::graph::GraphBuilder;
use super::query::Item;
use super::relation::Relation;
use super::scope::Role;
use crate::plan::{BinaryOperator, Expression};
use crate::value::{DataType, Value};

/// What is known of telling rows apart, beside the key.
#[derive(Debug, Clone, Default)]
pub(super) struct Apart {
    /// Whether rows that change may agree in every column that is left of what told them apart, or come from several
    /// queries that each tell only their own apart.
    pub(super) lost: bool,
    /// Other columns that tell them apart.
    pub(super) other: Option<Vec<usize>>,
    /// The key has the numbers of rows of which nothing was known: without it nothing is known again.
    pub(super) numbered: bool,
    /// Of groups of windows, whether the start, which is the first column, says which the end is, and the end, the second
    /// column, which the start is.
    pub(super) bounds: (bool, bool),
}

/// What tells the rows apart of which a `SELECT` gives these columns.
pub(super) fn projected(
    graph: &GraphBuilder,
    from: &Relation,
    items: &[Item],
) -> (Option<Vec<usize>>, Apart) {
    let place = |index: usize| items.iter().position(|item| only_of(&item.expression) == Some(index));
    let end = || place(1).or_else(|| items.iter().position(|item| item.role == Role::WindowTime));
    let (start_tells, end_tells) = from.apart.bounds;
    let told = |column: usize| match column {
        0 if end_tells => place(0).or_else(end),
        1 if start_tells || end_tells => end().or_else(|| place(0).filter(|_| start_tells)),
        column => place(column),
    };
    let all = |key: &Vec<usize>| {
        let mut key = key.iter().map(|column| told(*column)).collect::<Option<Vec<usize>>>()?;
        key.sort_unstable();
        key.dedup();
        Some(key)
    };
    let (key, other) = (from.key.as_ref().and_then(all), from.apart.other.as_ref().and_then(all));
    let is_known = from.key.is_some() && !from.apart.numbered;
    let is_lost = graph.changes(from.node) && is_known && key.is_none() && other.is_none();
    let apart = Apart {
        lost: from.apart.lost || is_lost,
        numbered: from.apart.numbered,
        other: other.clone().filter(|_| key.is_some()),
        bounds: (false, false),
    };
    (key.or(other), apart)
}

/// The column of which an expression has another value for each.
fn only_of(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column { index, .. } => Some(*index),
        Expression::Cast { operand, data_type } => {
            let only = matches!(
                (operand.data_type(), data_type),
                (DataType::BigInt | DataType::Boolean | DataType::Decimal { .. }, DataType::String)
                    | (DataType::Timestamp | DataType::Date, DataType::String)
                    | (DataType::Date, DataType::Timestamp)
                    // Exact, or an error.
                    | (DataType::BigInt, DataType::Decimal { .. })
            );
            only_of(operand).filter(|_| only)
        }
        Expression::Binary { operator: BinaryOperator::Concat, left, right } => {
            let is_text =
                |side: &Expression| matches!(side, Expression::Literal { value: Value::String(_), .. });
            match (is_text(left), is_text(right)) {
                (true, false) => only_of(right),
                (false, true) => only_of(left),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What tells the rows of a `UNION ALL` apart: what tells those of both sides apart, beside a column that is never the
/// same on both.
pub(super) fn union_key(
    [left, right]: [&Relation; 2],
    graph: &GraphBuilder,
    union: usize,
) -> Option<Vec<usize>> {
    let width = left.columns.len();
    let inputs = &graph.node_at(union).inputs;
    let is_apart = |column: &usize| {
        let constants = |input: usize| graph.constants(inputs[input], *column);
        match (constants(0), constants(1)) {
            (Some(left), Some(right)) => !left.iter().any(|value| right.contains(value)),
            _ => false,
        }
    };
    let apart = (0..width).find(is_apart)?;
    // The column may be what tells the rows of a side apart, which is a union itself.
    let with_it = |relation: &Relation| {
        let key = relation.key.as_ref().filter(|key| key.iter().all(|column| *column < width))?;
        Some(key.iter().copied().chain([apart]).collect::<BTreeSet<usize>>())
    };
    let key = with_it(left).filter(|key| Some(key) == with_it(right).as_ref())?;
    Some(key.into_iter().collect())
}
