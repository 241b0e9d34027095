//! Operators: arithmetic, comparison, logic, and the forms that come down to them.

use sqlparser::ast::{BinaryOperator as SqlOperator, Expr, UnaryOperator, ValueWithSpan};

use super::super::error::SqlError;
use super::expression::{Binder, binary, negate_if, not, null};
use super::{literal, types};
use crate::plan::{BinaryOperator, Expression};
use crate::value::{DataType, Value};

/// An operation of numbers in the type it is done in: with a `DOUBLE` floats, with a `DECIMAL` exact.
pub(super) fn numbers(operator: BinaryOperator, left: Expression, right: Expression) -> Expression {
    let decimal = |side: &Expression| {
        let (precision, scale) = types::decimal_shape(side);
        DataType::Decimal { precision, scale }
    };
    let (left_type, right_type) = match (left.data_type(), right.data_type()) {
        (DataType::Double, _) | (_, DataType::Double) => (DataType::Double, DataType::Double),
        (DataType::BigInt, DataType::BigInt) => (DataType::BigInt, DataType::BigInt),
        _ => (decimal(&left), decimal(&right)),
    };
    let to = |side, wanted| types::coerce(side, wanted).expect("a number becomes any wider one");
    binary(operator, to(left, left_type), to(right, right_type))
}

impl Binder<'_> {
    pub(super) fn bind_unary(
        &mut self,
        expr: &Expr,
        op: UnaryOperator,
        operand: &Expr,
    ) -> Result<Expression, SqlError> {
        match (op, operand) {
            (
                UnaryOperator::Minus,
                Expr::Value(value @ ValueWithSpan { value: sqlparser::ast::Value::Number(..), .. }),
            ) => literal::bind(value, true),
            (UnaryOperator::Minus | UnaryOperator::Plus, _) => {
                let bound = self.bind_number(operand)?;
                Ok(match op {
                    UnaryOperator::Minus => Expression::Negate(Box::new(bound)),
                    _ => bound,
                })
            }
            (UnaryOperator::Not, _) => Ok(not(self.bind_condition(operand, "NOT")?)),
            _ => Err(self.error(expr, format!("the operator {op} is not supported"), "write +, - or NOT")),
        }
    }

    pub(super) fn bind_binary(
        &mut self,
        expr: &Expr,
        left: &Expr,
        op: &SqlOperator,
        right: &Expr,
    ) -> Result<Expression, SqlError> {
        let operator = match op {
            SqlOperator::Plus => BinaryOperator::Add,
            SqlOperator::Minus => BinaryOperator::Subtract,
            SqlOperator::Multiply => BinaryOperator::Multiply,
            SqlOperator::Divide => BinaryOperator::Divide,
            SqlOperator::Modulo => BinaryOperator::Modulo,
            SqlOperator::StringConcat => BinaryOperator::Concat,
            SqlOperator::Eq => BinaryOperator::Equal,
            SqlOperator::NotEq => BinaryOperator::NotEqual,
            SqlOperator::Lt => BinaryOperator::Less,
            SqlOperator::LtEq => BinaryOperator::LessOrEqual,
            SqlOperator::Gt => BinaryOperator::Greater,
            SqlOperator::GtEq => BinaryOperator::GreaterOrEqual,
            SqlOperator::And => BinaryOperator::And,
            SqlOperator::Or => BinaryOperator::Or,
            other => {
                return Err(self.error(
                    expr,
                    format!("the operator {other} is not supported"),
                    "the operators are + - * / % || = <> < <= > >= AND OR NOT",
                ));
            }
        };
        match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                let left = self.bind_condition(left, operator.symbol())?;
                let right = self.bind_condition(right, operator.symbol())?;
                Ok(binary(operator, left, right))
            }
            BinaryOperator::Concat => {
                let left = self.bind_as(left, DataType::String)?;
                let right = self.bind_as(right, DataType::String)?;
                Ok(binary(operator, left, right))
            }
            operator if operator.is_arithmetic() => self.bind_arithmetic(left, operator, right),
            _ => self.compare(expr, left, operator, right),
        }
    }

    fn bind_arithmetic(
        &mut self,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
    ) -> Result<Expression, SqlError> {
        if let Some(ms) = self.interval(right)? {
            return self.bind_time_shift(left, operator, ms);
        }
        if operator == BinaryOperator::Add
            && let Some(ms) = self.interval(left)?
        {
            return self.bind_time_shift(right, operator, ms);
        }
        let bound = self.bind(left)?;
        match bound.data_type() {
            DataType::Timestamp => {
                return Err(self.error(
                    left,
                    format!(
                        "`{bound}` is a TIMESTAMP(3); only an INTERVAL can be added to one or taken away"
                    ),
                    "write <timestamp> - INTERVAL '1' HOUR, or compare the two instants",
                ));
            }
            DataType::Date => return self.bind_day_arithmetic(left, bound, operator, right),
            DataType::String if operator == BinaryOperator::Add && bound != null() => {
                return Err(self.error(left, "`+` adds numbers", "join texts with ||: a || b"));
            }
            _ => {}
        }
        let left = self.bind_number(left)?;
        let right = self.bind_number(right)?;
        Ok(numbers(operator, left, right))
    }

    /// `DATE + BIGINT`, `DATE - BIGINT` of days, and `DATE - DATE`.
    fn bind_day_arithmetic(
        &mut self,
        left: &Expr,
        day: Expression,
        operator: BinaryOperator,
        right: &Expr,
    ) -> Result<Expression, SqlError> {
        let days = self.bind(right)?;
        match (operator, days.data_type()) {
            (BinaryOperator::Subtract, DataType::Date) => Ok(binary(operator, day, days)),
            (BinaryOperator::Add | BinaryOperator::Subtract, DataType::BigInt) => {
                Ok(binary(operator, day, days))
            }
            _ => Err(self.error(
                left,
                format!("`{day}` is a DATE; only days and an INTERVAL can be added to one or taken away"),
                "write <date> + 7, <date> - <date>, or <date> + INTERVAL '1' HOUR",
            )),
        }
    }

    fn interval(&self, expr: &Expr) -> Result<Option<i64>, SqlError> {
        match expr {
            Expr::Nested(inner) => self.interval(inner),
            Expr::Interval(interval) => literal::interval_ms(interval, self.locate(expr)).map(Some),
            _ => Ok(None),
        }
    }

    fn bind_time_shift(
        &mut self,
        instant: &Expr,
        operator: BinaryOperator,
        ms: i64,
    ) -> Result<Expression, SqlError> {
        if !matches!(operator, BinaryOperator::Add | BinaryOperator::Subtract) {
            return Err(self.error(
                instant,
                format!("{} is not for an INTERVAL", operator.symbol()),
                "add it to a TIMESTAMP or take it away",
            ));
        }
        let instant = self.bind_as(instant, DataType::Timestamp)?;
        Ok(binary(operator, instant, literal::literal(Value::BigInt(ms), DataType::BigInt)))
    }

    pub(super) fn compare(
        &mut self,
        expr: &Expr,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
    ) -> Result<Expression, SqlError> {
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        self.compare_bound(expr, left, operator, right)
    }

    pub(super) fn compare_bound(
        &self,
        expr: &Expr,
        left: Expression,
        operator: BinaryOperator,
        right: Expression,
    ) -> Result<Expression, SqlError> {
        let Some(wanted) = types::common_type([&left, &right].into_iter()) else {
            let (left_type, right_type) = (left.data_type(), right.data_type());
            let help = match (left_type, right_type) {
                (DataType::Timestamp, DataType::String) | (DataType::String, DataType::Timestamp) => {
                    "write the instant as TIMESTAMP '2013-01-31 10:00:00'".to_owned()
                }
                _ => format!("write CAST(... AS {left_type}) or CAST(... AS {right_type})"),
            };
            return Err(self.error(
                expr,
                format!("a {left_type} and a {right_type} cannot be compared: `{left}` and `{right}`"),
                help,
            ));
        };
        let to = |side| types::coerce(side, wanted).expect("the common type is reached from both sides");
        Ok(binary(operator, to(left), to(right)))
    }

    pub(super) fn bind_in(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
    ) -> Result<Expression, SqlError> {
        let operand = self.bind(operand)?;
        let mut equals = Vec::with_capacity(list.len());
        for item in list {
            let item = self.bind(item)?;
            equals.push(self.compare_bound(expr, operand.clone(), BinaryOperator::Equal, item)?);
        }
        // A balanced tree: a long list must not nest deeply.
        while equals.len() > 1 {
            let mut pairs = equals.into_iter();
            let mut halved = Vec::new();
            while let Some(left) = pairs.next() {
                halved.push(match pairs.next() {
                    Some(right) => binary(BinaryOperator::Or, left, right),
                    None => left,
                });
            }
            equals = halved;
        }
        match equals.pop() {
            Some(any) => Ok(negate_if(negated, any)),
            None => Err(self.error(expr, "IN has an empty list", "write IN ('a', 'b')")),
        }
    }

    pub(super) fn bind_like(
        &mut self,
        text: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
    ) -> Result<Expression, SqlError> {
        let text_bound = self.bind_as(text, DataType::String)?;
        let Some(pattern_text) = literal::text(pattern) else {
            return Err(self.error(
                pattern,
                "the pattern is not a constant",
                "write LIKE '<pattern>' in single quotes",
            ));
        };
        let escape = match escape {
            None => None,
            Some(expr) => match literal::text(expr).map(|text| text.chars().collect::<Vec<_>>()).as_deref() {
                Some([character]) => Some(*character),
                _ => return Err(self.error(expr, "ESCAPE is not one character", "write ESCAPE '!'")),
            },
        };
        Ok(Expression::Like { text: Box::new(text_bound), pattern: pattern_text.to_owned(), escape })
    }
}
