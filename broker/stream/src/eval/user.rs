//! Calls of functions of the user's own.

use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use super::operand::Operand;
use crate::column::{Column, ColumnBuilder};
use crate::functions::{Argument, UserFunction};
use crate::plan::Expression;

impl Evaluator<'_> {
    /// A call for each active row; the others are not asked for, whatever it would cost.
    pub(super) fn user(
        &mut self,
        expression: &Expression,
        function: &UserFunction,
        arguments: &[Expression],
        active: &BooleanBuffer,
    ) -> Column {
        let arguments: Vec<Operand> =
            arguments.iter().map(|argument| self.operand(argument, active)).collect();
        let mut builder = ColumnBuilder::new(function.signature().result(), self.rows);
        let mut caller = function.caller();
        let mut given = Vec::with_capacity(arguments.len());
        for row in 0..self.rows {
            // A row with a fault has no values to be called with.
            if !active.value(row) || self.faults.contains_key(&row) {
                builder.append_null();
                continue;
            }
            given.clear();
            given.extend(arguments.iter().map(|argument| Argument::of(&argument.column, argument.at(row))));
            match self.keep(caller.call(&given), expression, row, active) {
                Some(value) => builder.append(&value),
                None => builder.append_null(),
            }
        }
        builder.finish()
    }
}
