//! Calls of built-in functions: to whom they go, and the loop over rows they have in common.

use std::borrow::Cow;

use arrow_buffer::BooleanBuffer;

use super::operand::Operand;
use super::room::Room;
use super::{Evaluator, compare, date, logic, numeric};
use crate::column::Column;
use crate::plan::{BinaryOperator, Expression, Function};
use crate::value::Value;

/// A call with its arguments evaluated.
#[derive(Debug)]
pub(super) struct Call<'c> {
    pub(super) expression: &'c Expression,
    pub(super) function: Function,
    pub(super) arguments: &'c [Operand],
    pub(super) active: &'c BooleanBuffer,
}

impl Call<'_> {
    /// Whether some argument of the row is `NULL`.
    pub(super) fn has_null(&self, row: usize) -> bool {
        self.arguments.iter().any(|argument| argument.is_null(row))
    }
}

/// A row's result; `None` is `NULL`.
pub(super) type RowResult<T> = Result<Option<T>, String>;

impl Evaluator<'_> {
    pub(super) fn call(&mut self, call: &Call<'_>) -> Column {
        use Function::*;
        let first = || call.arguments[0].spread();
        match call.function {
            Coalesce => unreachable!("evaluated with its arguments' masks: {}", call.expression),
            NullIf => {
                let [left, right] = [&call.arguments[0], &call.arguments[1]];
                let choice = compare::null_if(left, right);
                let null = Column::repeat(&Value::Null, call.expression.data_type(), 1);
                let null = Operand { column: null, constant: true, rows: self.rows };
                self.choose(&[left.clone(), null], &choice)
            }
            Greatest => {
                let choice = compare::extreme(call.arguments, BinaryOperator::Greater);
                self.choose(call.arguments, &choice)
            }
            Least => {
                let choice = compare::extreme(call.arguments, BinaryOperator::Less);
                self.choose(call.arguments, &choice)
            }
            CheckRange(integer) => self.check_range(call.expression, &first(), integer, call.active),
            Abs => self.absolute(call.expression, &first(), call.active),
            Floor => numeric::floor(&first(), call.expression.data_type()),
            Ceil => numeric::ceil(&first(), call.expression.data_type()),
            Round | Truncate | Sign | Math(_) | Power | Atan2 | LogBase | Div | BitAnd | BitOr | BitXor
            | BitNot | ShiftLeft | ShiftRight => self.call_numeric(call),
            Concat | ConcatWs | Upper | Lower | FoldCase | InitCap | Trim(_) | PadLeft | PadRight | Left
            | Right | CharLength | OctetLength | Substring | Position | Replace | Overlay | Translate
            | Reverse | Repeat | SplitPart | SplitIndex | StartsWith | EndsWith | Ascii | Chr | ToHex
            | Encode | Decode => self.call_text(call),
            Digest(_) | Crc32 | XxHash64 => self.call_hash(call),
            Extract(field) => Column::BigInt(date::extract(first().timestamp(), field)),
            FloorTime(unit) => Column::Timestamp(date::floor(first().timestamp(), unit)),
            CeilTime(_) | AddTime(_) | DiffTime(_) | DateBin | MakeDate | MakeTimestamp | FormatTime(_)
            | ParseTime(_) | FromSeconds | ToSeconds | Now => self.call_date(call),
            JsonValue | JsonQuery | JsonExists | JsonGet(_) | JsonGetPath(_) | JsonArrayLength
            | JsonObject | JsonArray | JsonBuildArray | IsJson(_) => self.call_json(call),
        }
    }

    /// The results of all rows without a `NULL` among the arguments.
    pub(super) fn each<T: Room, C: FromIterator<Option<T>>>(
        &mut self,
        call: &Call<'_>,
        mut of_row: impl FnMut(usize) -> RowResult<T>,
    ) -> C {
        (0..self.rows)
            .map(|row| match call.has_null(row) {
                true => None,
                false => self.one(call, row, || of_row(row)),
            })
            .collect()
    }

    /// The result of one row, with room for it.
    pub(super) fn one<T: Room>(
        &mut self,
        call: &Call<'_>,
        row: usize,
        of_row: impl FnOnce() -> RowResult<T>,
    ) -> Option<T> {
        // What nobody asks for takes no room.
        if self.is_too_much() || !call.active.value(row) {
            return None;
        }
        let value = self.keep(of_row(), call.expression, row, call.active).flatten()?;
        self.take_room(value.room()).then_some(value)
    }

    pub(super) fn texts<'t>(
        &mut self,
        call: &Call<'_>,
        of_row: impl FnMut(usize) -> RowResult<Cow<'t, str>>,
    ) -> Column {
        Column::String(self.each(call, of_row))
    }

    pub(super) fn integers(
        &mut self,
        call: &Call<'_>,
        of_row: impl FnMut(usize) -> RowResult<i64>,
    ) -> Column {
        Column::BigInt(self.each(call, of_row))
    }

    pub(super) fn doubles(&mut self, call: &Call<'_>, of_row: impl FnMut(usize) -> RowResult<f64>) -> Column {
        Column::Double(self.each(call, of_row))
    }

    pub(super) fn instants(
        &mut self,
        call: &Call<'_>,
        of_row: impl FnMut(usize) -> RowResult<i64>,
    ) -> Column {
        Column::Timestamp(self.each(call, of_row))
    }

    /// The truth of all rows without a `NULL` among the arguments; it cannot fail.
    pub(super) fn truths(&self, call: &Call<'_>, of_row: impl Fn(usize) -> bool) -> Column {
        Column::Boolean(logic::each(self.rows, |row| (!call.has_null(row)).then(|| of_row(row))))
    }
}
