//! Operators: arithmetic, comparison, logic, and the forms that come down to them.

use sqlparser::ast::{BinaryOperator as SqlOperator, Expr, UnaryOperator, ValueWithSpan};

use super::super::error::SqlError;
use super::expression::{Binder, binary, negate_if, not, null};
use super::function::call;
use super::shared::Shared;
use super::{literal, types};
use crate::eval::JsonPath;
use crate::plan::{BinaryOperator, Expression, Function, JsonResult};
use crate::value::DataType;

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

fn bit_function(op: &SqlOperator) -> Option<Function> {
    match op {
        SqlOperator::BitwiseAnd => Some(Function::BitAnd),
        SqlOperator::BitwiseOr => Some(Function::BitOr),
        SqlOperator::PGBitwiseXor => Some(Function::BitXor),
        SqlOperator::PGBitwiseShiftLeft => Some(Function::ShiftLeft),
        SqlOperator::PGBitwiseShiftRight => Some(Function::ShiftRight),
        _ => None,
    }
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
            (UnaryOperator::BitwiseNot, _) => {
                let bound = self.bind_as(operand, DataType::BigInt)?;
                Ok(call(Function::BitNot, vec![bound]))
            }
            (UnaryOperator::Not, _) => Ok(not(self.bind_condition(operand, "NOT")?)),
            _ => Err(self.error(expr, format!("the operator {op} is not supported"), "write +, -, ~ or NOT")),
        }
    }

    pub(super) fn bind_binary(
        &mut self,
        expr: &Expr,
        left: &Expr,
        op: &SqlOperator,
        right: &Expr,
    ) -> Result<Expression, SqlError> {
        if let Some(function) = bit_function(op) {
            let arguments =
                vec![self.bind_as(left, DataType::BigInt)?, self.bind_as(right, DataType::BigInt)?];
            return Ok(call(function, arguments));
        }
        match op {
            SqlOperator::PGRegexMatch
            | SqlOperator::PGRegexIMatch
            | SqlOperator::PGRegexNotMatch
            | SqlOperator::PGRegexNotIMatch => return self.bind_regex_operator(left, op, right),
            SqlOperator::Arrow => return self.bind_json_get(left, right, JsonResult::Json),
            SqlOperator::LongArrow => return self.bind_json_get(left, right, JsonResult::Text),
            SqlOperator::HashArrow => return self.bind_json_get_path(left, right, JsonResult::Json),
            SqlOperator::HashLongArrow => return self.bind_json_get_path(left, right, JsonResult::Text),
            _ => {}
        }
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
                    "the operators are + - * / % || = <> < <= > >= AND OR NOT & | # ~ << >> ~* !~ -> ->> #>>; POWER(a, b) raises",
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
        if let Some(shifted) = self.bind_shifted(left, operator, right)? {
            return Ok(shifted);
        }
        let bound = self.bind(left)?;
        match bound.data_type() {
            DataType::Date => self.bind_day_arithmetic(left, bound, operator, right),
            DataType::Timestamp | DataType::String if bound != null() => {
                Err(self.no_number(left, &bound, operator))
            }
            _ => {
                let left = self.as_number(left, bound)?;
                let right = self.bind_number(right)?;
                Ok(numbers(operator, left, right))
            }
        }
    }

    fn no_number(&self, expr: &Expr, bound: &Expression, operator: BinaryOperator) -> SqlError {
        match bound.data_type() {
            DataType::Timestamp => self.error(
                expr,
                format!("`{bound}` is a TIMESTAMP(3); only an INTERVAL can be added to one or taken away"),
                "write <timestamp> - INTERVAL '1' HOUR, compare the two instants, or count: \
                 TIMESTAMPDIFF(SECOND, from, to)",
            ),
            _ if operator == BinaryOperator::Add => {
                self.error(expr, "`+` adds numbers", "join texts with ||: a || b")
            }
            found => self.error(
                expr,
                format!("`{bound}` is a {found}, not a number"),
                "write CAST(... AS BIGINT) or CAST(... AS DOUBLE)",
            ),
        }
    }

    /// An instant moved by an `INTERVAL`, if there is one on either side.
    fn bind_shifted(
        &mut self,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
    ) -> Result<Option<Expression>, SqlError> {
        if let Some(interval) = self.interval(right)? {
            return self.bind_time_shift(left, operator, interval).map(Some);
        }
        if matches!(operator, BinaryOperator::Add | BinaryOperator::Subtract)
            && let Some((count, length)) = self.counted_interval(right)?
        {
            let instant = self.bind_as(left, DataType::Timestamp)?;
            let count = self.bind_as(count, DataType::BigInt)?;
            return Ok(Some(self.shift_times(instant, operator, count, length)));
        }
        if operator == BinaryOperator::Add
            && let Some(interval) = self.interval(left)?
        {
            return self.bind_time_shift(right, operator, interval).map(Some);
        }
        Ok(None)
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

    /// `count * INTERVAL '1' DAY`, either way round.
    fn counted_interval<'e>(&self, expr: &'e Expr) -> Result<Option<(&'e Expr, literal::Length)>, SqlError> {
        match expr {
            Expr::Nested(inner) => self.counted_interval(inner),
            Expr::BinaryOp { left, op: SqlOperator::Multiply, right } => {
                match (self.interval(left)?, self.interval(right)?) {
                    (None, Some(length)) => Ok(Some((left, length))),
                    (Some(length), None) => Ok(Some((right, length))),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn interval(&self, expr: &Expr) -> Result<Option<literal::Length>, SqlError> {
        match expr {
            Expr::Nested(inner) => self.interval(inner),
            Expr::Interval(interval) => literal::interval(interval, self.locate(expr)).map(Some),
            _ => Ok(None),
        }
    }

    fn bind_time_shift(
        &mut self,
        instant: &Expr,
        operator: BinaryOperator,
        interval: literal::Length,
    ) -> Result<Expression, SqlError> {
        if !matches!(operator, BinaryOperator::Add | BinaryOperator::Subtract) {
            return Err(self.error(
                instant,
                format!("{} is not for an INTERVAL", operator.symbol()),
                "add it to a TIMESTAMP or take it away",
            ));
        }
        let instant = self.bind_as(instant, DataType::Timestamp)?;
        Ok(self.shift_by(instant, operator, interval))
    }

    /// `json -> 'key'`, `json -> 0` and the same with `->>`.
    fn bind_json_get(&mut self, json: &Expr, key: &Expr, result: JsonResult) -> Result<Expression, SqlError> {
        let json = self.bind_as(json, DataType::String)?;
        let bound = self.bind(key)?;
        match bound.data_type() {
            DataType::String | DataType::BigInt => Ok(call(Function::JsonGet(result), vec![json, bound])),
            found => Err(self.error(
                key,
                format!("`{bound}` is a {found}, a member's name or a place of an array is needed"),
                "write json ->> 'name' or json ->> 0",
            )),
        }
    }

    fn bind_json_get_path(
        &mut self,
        json: &Expr,
        path: &Expr,
        result: JsonResult,
    ) -> Result<Expression, SqlError> {
        self.check_json_path(path, JsonPath::read_array, "write a path such as '{a,0,b}'")?;
        let arguments = vec![self.bind_as(json, DataType::String)?, self.bind_as(path, DataType::String)?];
        Ok(call(Function::JsonGetPath(result), arguments))
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
        let Some([of_left, of_right]) = types::compared_types(&left, &right) else {
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
        let to = |side, wanted| types::coerce(side, wanted).expect("the type is reached from its side");
        Ok(binary(operator, to(left, of_left), to(right, of_right)))
    }

    pub(super) fn bind_in(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
    ) -> Result<Expression, SqlError> {
        if list.is_empty() {
            return Err(self.error(expr, "IN has an empty list", "write IN ('a', 'b')"));
        }
        let operand = self.bind(operand)?;
        let any = self.with_shared(operand, list.len(), |binder, operand| {
            let mut equals = Vec::with_capacity(list.len());
            for item in list {
                let item = binder.bind(item)?;
                equals.push(binder.compare_bound(expr, operand.clone(), BinaryOperator::Equal, item)?);
            }
            Ok(any_of(equals))
        })?;
        Ok(negate_if(negated, any))
    }

    /// `x >= low AND x <= high`.
    pub(super) fn between(
        &self,
        expr: &Expr,
        operand: &Expression,
        low: Expression,
        high: Expression,
    ) -> Result<Expression, SqlError> {
        let above = self.compare_bound(expr, operand.clone(), BinaryOperator::GreaterOrEqual, low)?;
        let below = self.compare_bound(expr, operand.clone(), BinaryOperator::LessOrEqual, high)?;
        Ok(binary(BinaryOperator::And, above, below))
    }

    /// `x BETWEEN SYMMETRIC a AND b`, as the dialect reads it: `a` and `b` either way round.
    pub(super) fn bind_between_symmetric(
        &mut self,
        expr: &Expr,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let mut shared = Shared::default();
        let mut bound = Vec::with_capacity(arguments.len());
        for argument in arguments {
            bound.push(shared.share(self.bind(argument)?));
        }
        let [operand, low, high] = bound.as_slice() else {
            return Err(self.error(expr, "BETWEEN has two bounds", "write x BETWEEN SYMMETRIC a AND b"));
        };
        let either = binary(
            BinaryOperator::Or,
            self.between(expr, operand, low.clone(), high.clone())?,
            self.between(expr, operand, high.clone(), low.clone())?,
        );
        Ok(shared.around(either))
    }
}

/// A balanced tree: a long list must not nest deeply.
fn any_of(mut conditions: Vec<Expression>) -> Expression {
    while conditions.len() > 1 {
        let mut pairs = conditions.into_iter();
        let mut halved = Vec::new();
        while let Some(left) = pairs.next() {
            halved.push(match pairs.next() {
                Some(right) => binary(BinaryOperator::Or, left, right),
                None => left,
            });
        }
        conditions = halved;
    }
    conditions.pop().expect("there is a condition")
}
