//! How much text a chunk of rows may be made into.
//!
//! Functions make texts longer than what they are given, and each row may do so. A chunk that would become more than it
//! has room for is given up, and evaluated again in parts; what a single record cannot be made into is its own fault.
//! Which record that is does not depend on how the rows were cut.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_buffer::BooleanBuffer;

use super::operand::Operand;
use super::{Evaluator, Fault, brief, choose};
use crate::column::Column;
use crate::plan::Expression;
use crate::value::{DataType, Value};

/// Bytes of all the texts that are made of one chunk, on the way too.
const MAX_CHUNK_BYTES: usize = 256 << 20;

/// Bytes of a text that a function makes longer than its arguments.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// The error of a record that is evaluated by itself, and still is too much.
pub(crate) fn too_much_text() -> String {
    format!("the texts made of it have more than {} MiB", MAX_CHUNK_BYTES >> 20)
}

/// Where a condition is true, and the rows for which it has no value; evaluated in parts where it is too much at once.
/// Columns that the condition does not read may be empty.
pub(crate) fn mask(
    condition: &Expression,
    columns: &[Column],
    rows: usize,
    now: i64,
) -> (BooleanBuffer, BTreeMap<usize, Fault>) {
    let mut evaluator = Evaluator::new(columns, rows).with_now(now);
    let all = evaluator.all_rows();
    let found = evaluator.evaluate_mask(condition, &all);
    if !evaluator.is_too_much() {
        return (found, evaluator.into_faults());
    }
    if rows == 1 {
        let fault = Fault { expression: brief(condition), reason: too_much_text() };
        return (BooleanBuffer::new_unset(1), BTreeMap::from([(0, fault)]));
    }
    let middle = rows / 2;
    let half = |from: usize, to: usize| {
        let places: Vec<u32> = (from as u32..to as u32).collect();
        let columns: Vec<Column> = columns
            .iter()
            .map(|column| if column.len() == rows { column.take(&places) } else { column.clone() })
            .collect();
        mask(condition, &columns, places.len(), now)
    };
    let ((first, mut faults), (second, behind)) = (half(0, middle), half(middle, rows));
    faults.extend(behind.into_iter().map(|(row, fault)| (middle + row, fault)));
    (first.iter().chain(second.iter()).collect(), faults)
}

/// Whether a function may make a text of so many bytes; asked before it is made.
pub(crate) fn check_length(bytes: usize) -> Result<(), String> {
    match bytes <= MAX_TEXT_BYTES {
        true => Ok(()),
        false => Err(format!("the text would have more than {} MiB", MAX_TEXT_BYTES >> 20)),
    }
}

/// A result of one row that may take memory of its own.
pub(super) trait Room {
    /// Its bytes, beside what every row has.
    fn room(&self) -> usize {
        0
    }
}

impl Room for bool {}
impl Room for i32 {}
impl Room for i64 {}
impl Room for i128 {}
impl Room for f64 {}

impl Room for Cow<'_, str> {
    fn room(&self) -> usize {
        self.len()
    }
}

impl Room for Vec<u8> {
    fn room(&self) -> usize {
        self.len()
    }
}

impl Evaluator<'_> {
    /// As if texts of so many bytes had been made already of the same rows.
    pub(crate) fn with_made(mut self, made: usize) -> Self {
        self.made = made;
        self
    }

    /// The bytes of the texts that were made; nothing where there was more to be made than there is room for.
    pub(crate) fn made_within_bounds(&self) -> Option<usize> {
        (!self.is_too_much()).then_some(self.made)
    }

    /// Whether there was more to be made than there is room for. What was evaluated is then of no use.
    pub(crate) fn is_too_much(&self) -> bool {
        self.made > MAX_CHUNK_BYTES
    }

    /// Takes room for a text that is to be made, if there is any.
    pub(super) fn take_room(&mut self, bytes: usize) -> bool {
        self.made = self.made.saturating_add(bytes);
        !self.is_too_much()
    }

    /// The same value in every row.
    pub(super) fn repeat(&mut self, value: &Value, data_type: DataType) -> Column {
        let bytes = match value {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        match self.take_room(bytes.saturating_mul(self.rows)) {
            true => Column::repeat(value, data_type, self.rows),
            false => Column::repeat(&Value::Null, data_type, self.rows),
        }
    }

    /// For each row the value of the operand that `choice` names there.
    pub(super) fn choose(&mut self, operands: &[Operand], choice: &[u32]) -> Column {
        let (bytes, data_type) = match &operands[0].column {
            Column::String(_) => (choose::bytes(operands, choice), DataType::String),
            Column::Bytes(_) => (choose::bytes(operands, choice), DataType::Bytes),
            _ => return choose::choose(operands, choice),
        };
        match self.take_room(bytes) {
            true => choose::choose(operands, choice),
            false => Column::repeat(&Value::Null, data_type, self.rows),
        }
    }
}
