//! Operands that SQL writes once and an expression reads several times.

use super::super::error::SqlError;
use super::expression::Binder;
use crate::plan::Expression;
use crate::value::Value;

/// Collects what is to be computed once. Everything that is put around the operands is bound in a scope of its own: no
/// expression of the script reads them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    operands: Vec<Expression>,
}

impl Shared {
    /// What stands for an expression wherever it is read. What is small is read in place, which other parts of the binder
    /// recognise: a column, and a column with constants.
    pub(super) fn share(&mut self, expression: Expression) -> Expression {
        if is_small(&expression) {
            return expression;
        }
        let data_type = expression.data_type();
        self.operands.push(expression);
        Expression::Operand { index: self.operands.len() - 1, data_type }
    }

    /// What reads the operands, with them.
    pub(super) fn around(self, result: Expression) -> Expression {
        match self.operands.is_empty() {
            true => result,
            false => Expression::With { operands: self.operands, result: Box::new(result) },
        }
    }
}

impl Binder<'_> {
    /// What reads an operand so many times.
    pub(super) fn with_shared(
        &mut self,
        operand: Expression,
        times: usize,
        read: impl FnOnce(&mut Self, &Expression) -> Result<Expression, SqlError>,
    ) -> Result<Expression, SqlError> {
        if times < 2 {
            return read(self, &operand);
        }
        let mut shared = Shared::default();
        let operand = shared.share(operand);
        Ok(shared.around(read(self, &operand)?))
    }
}

fn is_small(expression: &Expression) -> bool {
    const SHORT: usize = 100;
    match expression {
        Expression::Column { .. } => true,
        Expression::Literal { value: Value::String(text), .. } => text.len() < SHORT,
        Expression::Literal { value: Value::Bytes(bytes), .. } => bytes.len() < SHORT,
        Expression::Literal { .. } => true,
        Expression::Binary { left, right, .. } => {
            matches!(**right, Expression::Literal { .. }) && is_small(right) && is_small(left)
        }
        _ => false,
    }
}
