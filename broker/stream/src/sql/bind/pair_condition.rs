//! What must hold for two rows to belong together, taken apart: equal keys, times that are near, and the rest.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::expression::binary;
use super::scope::{Role, ScopeColumn};
use crate::plan::{BinaryOperator, Expression};
use crate::value::{DataType, Value};

/// The conditions of a join, over the left side's columns and those of the right side behind them.
#[derive(Debug, Default)]
pub(super) struct PairConditions {
    pub(super) equalities: Vec<Equality>,
    pub(super) rest: Vec<Expression>,
}

/// An expression over the left side that equals one over the right side.
#[derive(Debug, Clone)]
pub(super) struct Equality {
    pub(super) left: Expression,
    /// Its columns are counted from the right side's first.
    pub(super) right: Expression,
}

/// Two columns of time, and what lies between them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nearness {
    pub(super) left: usize,
    pub(super) right: usize,
    /// The time of the left row minus that of the right one, in milliseconds.
    pub(super) difference: RangeInclusive<i64>,
}

impl PairConditions {
    /// Takes conditions apart; the left side has `width` columns.
    pub(super) fn new(conditions: Vec<Expression>, width: usize) -> Self {
        let mut found = Self::default();
        for condition in conditions {
            match equality(&condition, width) {
                Some(equality) => found.equalities.push(equality),
                None => found.rest.push(condition),
            }
        }
        found
    }

    /// The ends of the windows, if both rows lie in one window.
    pub(super) fn window(&self, left: &[ScopeColumn], right: &[ScopeColumn]) -> Option<(usize, usize)> {
        let equal = |role: Role| {
            self.equalities.iter().find_map(|equality| {
                let (left_column, right_column) = (plain(&equality.left)?, plain(&equality.right)?);
                let of_role = left[left_column].role == role && right[right_column].role == role;
                of_role.then_some((left_column, right_column))
            })
        };
        equal(Role::WindowStart).and(equal(Role::WindowEnd))
    }

    /// Columns of time whose difference is bounded on both sides, if there are any.
    pub(super) fn nearness(&self, left: &[ScopeColumn], right: &[ScopeColumn]) -> Option<Nearness> {
        let mut bounds: BTreeMap<(usize, usize), (i64, i64)> = BTreeMap::new();
        for equality in &self.equalities {
            if let (Some(left_column), Some(right_column)) = (plain(&equality.left), plain(&equality.right))
                && is_time(left[left_column].role)
                && is_time(right[right_column].role)
            {
                bounds.insert((left_column, right_column), (0, 0));
            }
        }
        let differences = self.rest.iter().filter_map(|condition| difference(condition, left, right));
        for Difference { pair, least, most } in differences {
            let (known_least, known_most) = bounds.entry(pair).or_insert((i64::MIN, i64::MAX));
            *known_least = least.map_or(*known_least, |least| least.max(*known_least));
            *known_most = most.map_or(*known_most, |most| most.min(*known_most));
        }
        let bounded = bounds.into_iter().find(|(_, (least, most))| *least != i64::MIN && *most != i64::MAX);
        bounded.map(|((left, right), (least, most))| Nearness { left, right, difference: least..=most })
    }

    /// Leaves out what follows from two times being near.
    pub(super) fn without(&mut self, nearness: &Nearness, left: &[ScopeColumn], right: &[ScopeColumn]) {
        let pair = (nearness.left, nearness.right);
        let is_it = |difference: Difference| difference.pair == pair;
        self.rest.retain(|condition| !difference(condition, left, right).is_some_and(is_it));
    }
}

/// The parts of a condition all of which must hold.
pub(super) fn conjuncts(condition: Expression) -> Vec<Expression> {
    match condition {
        Expression::Binary { operator: BinaryOperator::And, left, right } => {
            let mut parts = conjuncts(*left);
            parts.extend(conjuncts(*right));
            parts
        }
        condition => vec![condition],
    }
}

/// A condition that holds when all of these do.
pub(super) fn all_of(conditions: Vec<Expression>) -> Option<Expression> {
    conditions.into_iter().reduce(|left, right| binary(BinaryOperator::And, left, right))
}

/// The same expression over columns that are counted from another one.
pub(super) fn counted_from(mut expression: Expression, first: usize) -> Expression {
    expression.remap_columns(&|index| index - first);
    expression
}

pub(super) fn plain(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column { index, .. } => Some(*index),
        _ => None,
    }
}

/// Whether watermarks speak of a column: no row comes behind them.
fn is_time(role: Role) -> bool {
    matches!(role, Role::Time | Role::WindowEnd | Role::WindowTime)
}

fn equality(condition: &Expression, width: usize) -> Option<Equality> {
    let Expression::Binary { operator: BinaryOperator::Equal, left, right } = condition else { return None };
    if !is_one_key(left.data_type(), right.data_type()) {
        return None;
    }
    match (side(left, width)?, side(right, width)?) {
        (false, true) => {
            Some(Equality { left: (**left).clone(), right: counted_from((**right).clone(), width) })
        }
        (true, false) => {
            Some(Equality { left: (**right).clone(), right: counted_from((**left).clone(), width) })
        }
        _ => None,
    }
}

/// Whether equal values of two types are one key. Decimals of two scales are equal in value alone.
fn is_one_key(left: DataType, right: DataType) -> bool {
    match (left, right) {
        (DataType::Decimal { scale: left, .. }, DataType::Decimal { scale: right, .. }) => left == right,
        _ => true,
    }
}

/// Whether all columns of an expression are the right side's; `None` if they are of both or of none.
fn side(expression: &Expression, width: usize) -> Option<bool> {
    let (mut left, mut right) = (false, false);
    expression.for_each_column(&mut |index| match index < width {
        true => left = true,
        false => right = true,
    });
    (left != right).then_some(right)
}

/// What one condition says about the difference of two times.
struct Difference {
    /// The columns, each counted from its side's first.
    pair: (usize, usize),
    least: Option<i64>,
    most: Option<i64>,
}

fn difference(condition: &Expression, left: &[ScopeColumn], right: &[ScopeColumn]) -> Option<Difference> {
    let Expression::Binary { operator, left: first, right: second } = condition else { return None };
    let (first, second) = (shifted(first)?, shifted(second)?);
    let width = left.len();
    // first + a  op  second + b
    let (operator, of_left, of_right) = match (first.0 < width, second.0 < width) {
        (true, false) => (*operator, first, second),
        (false, true) => (turned(*operator)?, second, first),
        _ => return None,
    };
    let pair = (of_left.0, of_right.0 - width);
    if !is_time(left[pair.0].role) || !is_time(right[pair.1].role) {
        return None;
    }
    let by = of_right.1.checked_sub(of_left.1)?;
    let (least, most) = match operator {
        BinaryOperator::GreaterOrEqual => (Some(by), None),
        BinaryOperator::Greater => (Some(by.checked_add(1)?), None),
        BinaryOperator::LessOrEqual => (None, Some(by)),
        BinaryOperator::Less => (None, Some(by.checked_sub(1)?)),
        BinaryOperator::Equal => (Some(by), Some(by)),
        _ => return None,
    };
    Some(Difference { pair, least, most })
}

/// The comparison with its sides changed.
fn turned(operator: BinaryOperator) -> Option<BinaryOperator> {
    Some(match operator {
        BinaryOperator::GreaterOrEqual => BinaryOperator::LessOrEqual,
        BinaryOperator::Greater => BinaryOperator::Less,
        BinaryOperator::LessOrEqual => BinaryOperator::GreaterOrEqual,
        BinaryOperator::Less => BinaryOperator::Greater,
        BinaryOperator::Equal => BinaryOperator::Equal,
        _ => return None,
    })
}

/// A column of time, and the milliseconds that are added to it.
fn shifted(expression: &Expression) -> Option<(usize, i64)> {
    match expression {
        Expression::Column { index, data_type: DataType::Timestamp, .. } => Some((*index, 0)),
        Expression::Binary { operator, left, right } => {
            let Expression::Literal { value: Value::BigInt(ms), .. } = **right else { return None };
            let (index, by) = shifted(left)?;
            let by = match operator {
                BinaryOperator::Add => by.checked_add(ms)?,
                BinaryOperator::Subtract => by.checked_sub(ms)?,
                _ => return None,
            };
            Some((index, by))
        }
        _ => None,
    }
}
