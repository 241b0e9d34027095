//! Expressions over columns.
//!
//! A row for which an expression has no value (an overflow, a division by zero, a text that is no number) is a
//! *fault*: the row reads `NULL` and is remembered, so that the policy of the table can be applied to just that
//! record. A row that an enclosing `CASE`, `COALESCE`, `AND` or `OR` does not need is not *active* and cannot fault.

mod arithmetic;
mod call;
mod cast;
mod choose;
mod compare;
mod date;
mod date_pattern;
mod hash;
mod json;
mod like;
mod logic;
mod numeric;
mod operand;
mod regex;
mod room;
mod text;
mod user;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use arrow_buffer::BooleanBuffer;

use self::call::Call;
pub(crate) use self::date_pattern::DatePattern;
pub(crate) use self::json::JsonPath;
use self::operand::Operand;
use self::regex::RegexCall;
pub(crate) use self::regex::of_similar;
pub(crate) use self::room::{check_length, mask, too_much_text};
pub(crate) use self::text::fold_case;
use crate::column::Column;
use crate::plan::{BinaryOperator, Expression, Function};

/// Why an expression has no value for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) expression: String,
    pub(crate) reason: String,
}

/// Evaluates expressions over one chunk of rows and collects the faults.
#[derive(Debug)]
pub(crate) struct Evaluator<'a> {
    columns: &'a [Column],
    rows: usize,
    /// Frozen processing time, in milliseconds since the epoch.
    now: i64,
    /// The first fault of each row that has one.
    faults: BTreeMap<usize, Fault>,
    /// Bytes of the texts that were made.
    made: usize,
    /// The operands of the innermost [`Expression::With`] that is being evaluated.
    shared: Vec<Operand>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(columns: &'a [Column], rows: usize) -> Self {
        Self { columns, rows, now: 0, faults: BTreeMap::new(), made: 0, shared: Vec::new() }
    }

    /// With the processing time of the epoch, in milliseconds since 1970; what `NOW()` and its kin read.
    pub(crate) fn with_now(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    /// A mask of all rows.
    pub(crate) fn all_rows(&self) -> BooleanBuffer {
        BooleanBuffer::new_set(self.rows)
    }

    /// The faults so far, by row.
    pub(crate) fn into_faults(self) -> BTreeMap<usize, Fault> {
        self.faults
    }

    /// Remembers a fault found elsewhere.
    pub(crate) fn add_fault(&mut self, row: usize, fault: Fault) {
        self.faults.entry(row).or_insert(fault);
    }

    /// The expression's value for every row; only active rows can fault.
    pub(crate) fn evaluate(&mut self, expression: &Expression, active: &BooleanBuffer) -> Column {
        match expression {
            Expression::Column { index, .. } => self.columns[*index].clone(),
            Expression::Literal { value, data_type } => self.repeat(value, *data_type),
            Expression::Negate(operand) => {
                let operand = self.evaluate(operand, active);
                self.negate(expression, &operand, active)
            }
            Expression::Not(operand) => Column::Boolean(logic::not(self.evaluate(operand, active).boolean())),
            Expression::IsNull(operand) => {
                Column::Boolean(logic::is_null(&self.evaluate(operand, active)).into())
            }
            Expression::IsTrue(operand) => {
                Column::Boolean(logic::is_true(self.evaluate(operand, active).boolean()).into())
            }
            Expression::Binary { operator, left, right } => {
                self.binary(expression, *operator, left, right, active)
            }
            Expression::Like { text, pattern, escape } => {
                let text = self.evaluate(text, active);
                Column::Boolean(like::like(text.string(), pattern, *escape))
            }
            Expression::Case { branches, otherwise } => {
                let mut remaining = active.clone();
                let mut choice = vec![branches.len() as u32; self.rows];
                let mut values = Vec::with_capacity(branches.len() + 1);
                for (index, branch) in (0..).zip(branches) {
                    let when = self.evaluate(&branch.when, &remaining);
                    let taken = &logic::is_true(when.boolean()) & &remaining;
                    taken.set_indices().for_each(|row| choice[row] = index);
                    values.push(self.operand(&branch.then, &taken));
                    remaining = &remaining & &!&taken;
                }
                values.push(self.operand(otherwise, &remaining));
                self.choose(&values, &choice)
            }
            Expression::Cast { operand, data_type } => {
                let operand = self.evaluate(operand, active);
                self.cast(expression, &operand, *data_type, active)
            }
            Expression::TryCast { operand, data_type } => {
                let operand = self.evaluate(operand, active);
                let nobody = BooleanBuffer::new_unset(self.rows);
                self.cast(expression, &operand, *data_type, &nobody)
            }
            Expression::Call { function: Function::Coalesce, arguments } => self.coalesce(arguments, active),
            Expression::Call { function, arguments } => {
                let arguments: Vec<Operand> =
                    arguments.iter().map(|argument| self.operand(argument, active)).collect();
                self.call(&Call { expression, function: *function, arguments: &arguments, active })
            }
            Expression::User { function, arguments } => self.user(expression, function, arguments, active),
            Expression::Regex { operation, pattern, arguments } => {
                let operation = *operation;
                self.regex(&RegexCall { expression, operation, pattern, arguments, active })
            }
            Expression::With { operands, result } => {
                let operands = operands.iter().map(|operand| self.operand(operand, active)).collect();
                let around = std::mem::replace(&mut self.shared, operands);
                let value = self.evaluate(result, active);
                self.shared = around;
                value
            }
            Expression::Operand { index, .. } => self.shared[*index].spread(),
        }
    }

    /// Where a condition is true, among the active rows.
    pub(crate) fn evaluate_mask(&mut self, condition: &Expression, active: &BooleanBuffer) -> BooleanBuffer {
        &logic::is_true(self.evaluate(condition, active).boolean()) & active
    }

    /// The expression's value, a constant as one value.
    fn operand(&mut self, expression: &Expression, active: &BooleanBuffer) -> Operand {
        let rows = self.rows;
        match expression {
            Expression::Literal { value, data_type } => {
                Operand { column: Column::repeat(value, *data_type, 1), constant: true, rows }
            }
            Expression::Operand { index, .. } => self.shared[*index].clone(),
            _ => Operand { column: self.evaluate(expression, active), constant: false, rows },
        }
    }

    fn binary(
        &mut self,
        expression: &Expression,
        operator: BinaryOperator,
        left: &Expression,
        right: &Expression,
        active: &BooleanBuffer,
    ) -> Column {
        match operator {
            BinaryOperator::And => {
                let left = self.evaluate(left, active);
                let open = &!&logic::is_false(left.boolean()) & active;
                let right = self.evaluate(right, &open);
                Column::Boolean(logic::and(left.boolean(), right.boolean()))
            }
            BinaryOperator::Or => {
                let left = self.evaluate(left, active);
                let open = &!&logic::is_true(left.boolean()) & active;
                let right = self.evaluate(right, &open);
                Column::Boolean(logic::or(left.boolean(), right.boolean()))
            }
            BinaryOperator::Concat => {
                let (left, right) = (self.operand(left, active), self.operand(right, active));
                self.concat(expression, &left, &right, active)
            }
            operator if operator.is_arithmetic() => {
                let (left, right) = (self.operand(left, active), self.operand(right, active));
                self.arithmetic(expression, operator, &left, &right, active)
            }
            operator => {
                let (left, right) = (self.operand(left, active), self.operand(right, active));
                Column::Boolean(compare::compare(operator, &left, &right))
            }
        }
    }

    fn coalesce(&mut self, arguments: &[Expression], active: &BooleanBuffer) -> Column {
        let mut remaining = active.clone();
        let mut choice = vec![arguments.len() as u32 - 1; self.rows];
        let mut values = Vec::with_capacity(arguments.len());
        for (index, argument) in (0..).zip(arguments) {
            let value = self.operand(argument, &remaining);
            let missing = match value.nulls() {
                None => BooleanBuffer::new_unset(self.rows),
                Some(nulls) => !nulls.inner(),
            };
            let taken = &remaining & &!&missing;
            taken.set_indices().for_each(|row| choice[row] = index);
            remaining = &remaining & &missing;
            values.push(value);
        }
        self.choose(&values, &choice)
    }

    /// Keeps a result, or remembers why there is none.
    fn keep<T>(
        &mut self,
        result: Result<T, String>,
        expression: &Expression,
        row: usize,
        active: &BooleanBuffer,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(reason) => {
                if active.value(row) {
                    self.add_fault(row, Fault { expression: brief(expression), reason });
                }
                None
            }
        }
    }
}

/// How an expression that failed is called: by its text, cut where it is long. Of a long one no more is written than is
/// shown, for it may fail for every row.
fn brief(expression: &Expression) -> String {
    const LONGEST: usize = 200;
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let left = LONGEST - self.0.len();
            if text.len() <= left {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(&text[..text.floor_char_boundary(left)]);
            Err(fmt::Error)
        }
    }
    let mut cut = Cut(String::new());
    if write!(cut, "{expression}").is_err() {
        cut.0.push('…');
    }
    cut.0
}
