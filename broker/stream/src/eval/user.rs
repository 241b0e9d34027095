//! Calls of functions of the user's own.

use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use super::operand::Operand;
use super::room::check_length;
use crate::column::{Column, ColumnBuilder};
use crate::functions::{Argument, UserFunction};
use crate::plan::Expression;
use crate::value::Value;

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
            // A row with a fault has no values to be called with, and a chunk that is too much is of no use.
            if !active.value(row) || self.faults.contains_key(&row) || self.is_too_much() {
                builder.append_null();
                continue;
            }
            given.clear();
            given.extend(arguments.iter().map(|argument| Argument::of(&argument.column, argument.at(row))));
            let given = caller.call(&given).and_then(|value| {
                check_length(made(&value))?;
                Ok(value)
            });
            match self.keep(given, expression, row, active) {
                Some(value) if self.take_room(made(&value)) => builder.append(&value),
                _ => builder.append_null(),
            }
        }
        builder.finish()
    }
}

/// The bytes of a text or of bytes that were made.
fn made(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}
