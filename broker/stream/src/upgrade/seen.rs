//! What a node's rows are, seen from the last node before it that is more than a projection or a filter: so that two plans
//! are told to compute the same although they do it in other steps, or beside other things.

use crate::plan::{Expression, Operator, Plan};

/// Expressions of more parts in all are not followed: one that doubles with every step would have no end.
const MOST_PARTS: usize = 10_000;

/// The rows of a node in terms of the columns of another, `base`. Names of columns are left out: they say nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) base: usize,
    /// Only rows for which all of these are true, the first first.
    pub(super) filters: Vec<Expression>,
    pub(super) columns: Vec<Expression>,
}

impl Seen {
    /// The rows of a node; `None` when it is too much to say.
    pub(super) fn of(plan: &Plan, node: usize) -> Option<Seen> {
        let Operator::Map { filter, outputs } = &plan.nodes[node].operator else {
            let column = |(index, column): (usize, &crate::plan::Column)| Expression::Column {
                index,
                data_type: column.data_type,
                name: String::new(),
            };
            let columns = plan.nodes[node].columns.iter().enumerate().map(column).collect();
            return Some(Seen { base: node, filters: Vec::new(), columns });
        };
        let mut seen = Seen::of(plan, plan.nodes[node].inputs[0])?;
        let mut left = MOST_PARTS;
        seen.filters.iter().try_for_each(|filter| take(&mut left, parts_of(filter)))?;
        let filter = match filter {
            Some(filter) => Some(seen.read(filter, &mut left)?),
            None => None,
        };
        let columns = outputs.iter().map(|output| seen.read(output, &mut left)).collect::<Option<_>>()?;
        seen.filters.extend(filter);
        Some(Seen { columns, ..seen })
    }

    /// An expression over its columns as one over those of the base, of which so many parts are left.
    fn read(&self, expression: &Expression, left: &mut usize) -> Option<Expression> {
        let mut parts = 0_usize;
        expression.for_each(&mut |part| {
            parts = parts.saturating_add(match part {
                Expression::Column { index, .. } => parts_of(&self.columns[*index]),
                _ => 1,
            });
        });
        take(left, parts)?;
        let mut read = expression.clone();
        read.replace_columns(&|column| {
            if let Expression::Column { index, .. } = *column {
                *column = self.columns[index].clone();
            }
        });
        Some(read)
    }
}

fn take(left: &mut usize, parts: usize) -> Option<()> {
    *left = left.checked_sub(parts)?;
    Some(())
}

fn parts_of(expression: &Expression) -> usize {
    let mut parts = 0;
    expression.for_each(&mut |_| parts += 1);
    parts
}
