//! What the query around a ranking says of it: `WHERE n <= 3`.

use sqlparser::ast::{BinaryOperator as SqlOperator, Expr, Select};

use super::expression::binary;
use super::over::whole_number;
use super::relation::Relation;
use crate::plan::{BinaryOperator, Expression};
use crate::value::Value;

/// What the `WHERE` around a table says of columns that may be ranks: table, name and greatest value.
pub(super) type Limits = Vec<(Option<String>, String, u64)>;

/// The limits among the conditions of a `WHERE`.
pub(super) fn limits(select: &Select) -> Limits {
    let mut found = Vec::new();
    if let Some(selection) = &select.selection {
        add_limits(selection, &mut found);
    }
    found
}

fn add_limits(condition: &Expr, found: &mut Limits) {
    let mut add = |name: &Expr, limit: &Expr, less: u64| {
        let named = match name {
            Expr::Identifier(name) => (None, name.value.clone()),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] => (Some(table.value.clone()), name.value.clone()),
                _ => return,
            },
            _ => return,
        };
        if let Some(limit) = whole_number(limit) {
            found.push((named.0, named.1, limit.saturating_sub(less)));
        }
    };
    match condition {
        Expr::Nested(inner) => add_limits(inner, found),
        Expr::BinaryOp { left, op, right } => match op {
            SqlOperator::And => {
                add_limits(left, found);
                add_limits(right, found);
            }
            SqlOperator::LtEq | SqlOperator::Eq => {
                add(left, right, 0);
                if *op == SqlOperator::Eq {
                    add(right, left, 0);
                }
            }
            SqlOperator::Lt => add(left, right, 1),
            SqlOperator::GtEq => add(right, left, 0),
            SqlOperator::Gt => add(right, left, 1),
            _ => {}
        },
        Expr::Between { expr, negated: false, high, .. } => add(expr, high, 0),
        _ => {}
    }
}

/// A condition without what every row of the relation fulfils; `None` if nothing is left.
pub(super) fn without_implied(condition: Option<Expression>, from: &Relation) -> Option<Expression> {
    let Some((column, limit)) = from.ranked else { return condition };
    let condition = condition?;
    let Expression::Binary { operator, left, right } = condition else { return Some(condition) };
    let is_rank = |side: &Expression| matches!(side, Expression::Column { index, .. } if *index == column);
    let number = |side: &Expression| match side {
        Expression::Literal { value: Value::BigInt(number), .. } => u64::try_from(*number).ok(),
        _ => None,
    };
    let implied = match operator {
        BinaryOperator::And => {
            let left = without_implied(Some(*left), from);
            let right = without_implied(Some(*right), from);
            return match (left, right) {
                (Some(left), Some(right)) => Some(binary(BinaryOperator::And, left, right)),
                (left, right) => left.or(right),
            };
        }
        BinaryOperator::LessOrEqual => is_rank(&left) && number(&right).is_some_and(|number| number >= limit),
        BinaryOperator::Less => is_rank(&left) && number(&right).is_some_and(|number| number > limit),
        BinaryOperator::GreaterOrEqual => {
            is_rank(&right) && number(&left).is_some_and(|number| number >= limit)
        }
        BinaryOperator::Greater => is_rank(&right) && number(&left).is_some_and(|number| number > limit),
        BinaryOperator::Equal => limit == 1 && is_rank(&left) && number(&right) == Some(1),
        _ => false,
    };
    (!implied).then_some(Expression::Binary { operator, left, right })
}
