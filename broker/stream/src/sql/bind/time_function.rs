//! Calls that name a unit of time, a pattern of a date or the clock.

use sqlparser::ast::{Expr, Ident};

use super::super::error::SqlError;
use super::expression::Binder;
use super::function::{call, text, whole};
use super::shared::Shared;
use super::{literal, types};
use crate::eval::DatePattern;
use crate::plan::{BinaryOperator, Expression, Function, PatternStyle, TimeUnit};
use crate::value::{DataType, Value};

/// What Flink reads and writes without a pattern.
const PLAIN_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

impl Binder<'_> {
    /// The call, if its name is one of these.
    pub(super) fn bind_time_function(
        &mut self,
        expr: &Expr,
        name: &str,
        arguments: &[&Expr],
    ) -> Result<Option<Expression>, SqlError> {
        let bound = match (name, arguments) {
            (
                "NOW"
                | "CURRENT_TIMESTAMP"
                | "LOCALTIMESTAMP"
                | "PROCTIME"
                | "TRANSACTION_TIMESTAMP"
                | "CURRENT_ROW_TIMESTAMP",
                [],
            ) => call(Function::Now, Vec::new()),
            ("CURRENT_DATE", []) => day(call(Function::Now, Vec::new())),
            ("UNIX_TIMESTAMP", []) => call(Function::ToSeconds, vec![call(Function::Now, Vec::new())]),
            ("DATE_TRUNC", [unit, instant]) => {
                let unit = self.time_unit(unit, &self.unit_name(unit)?)?;
                call(Function::FloorTime(unit), vec![self.bind_as(instant, DataType::Timestamp)?])
            }
            ("DATE_PART" | "DATEPART", [field, instant]) => {
                let field = self.time_field(field, &self.unit_name(field)?)?;
                call(Function::Extract(field), vec![self.bind_as(instant, DataType::Timestamp)?])
            }
            ("TIMESTAMPADD", [unit, count, instant]) => {
                let unit = self.time_unit(unit, &self.unit_name(unit)?)?;
                let count = self.bind_as(count, DataType::BigInt)?;
                call(Function::AddTime(unit), vec![count, self.bind_as(instant, DataType::Timestamp)?])
            }
            ("TIMESTAMPDIFF", [unit, from, to]) => {
                let unit = self.time_unit(unit, &self.unit_name(unit)?)?;
                let from = self.bind_as(from, DataType::Timestamp)?;
                call(Function::DiffTime(unit), vec![from, self.bind_as(to, DataType::Timestamp)?])
            }
            ("DATE_BIN", [stride, instant]) => self.bind_date_bin(stride, instant, None)?,
            ("DATE_BIN", [stride, instant, origin]) => self.bind_date_bin(stride, instant, Some(origin))?,
            ("TO_CHAR", [instant, pattern]) => self.bind_format(instant, pattern, PatternStyle::Postgres)?,
            ("DATE_FORMAT", [instant, pattern]) => self.bind_format(instant, pattern, PatternStyle::Java)?,
            ("FROM_UNIXTIME", [seconds]) => {
                let instant = call(Function::FromSeconds, vec![self.bind_as(seconds, DataType::Double)?]);
                call(Function::FormatTime(PatternStyle::Java), vec![instant, text(PLAIN_PATTERN)])
            }
            ("FROM_UNIXTIME", [seconds, pattern]) => {
                let instant = call(Function::FromSeconds, vec![self.bind_as(seconds, DataType::Double)?]);
                let pattern = self.bind_pattern(pattern, PatternStyle::Java)?;
                call(Function::FormatTime(PatternStyle::Java), vec![instant, pattern])
            }
            ("TO_DATE", [value]) => {
                let value = self.bind_as(value, DataType::String)?;
                Expression::Cast { operand: Box::new(value), data_type: DataType::Date }
            }
            ("TO_DATE", [value, pattern]) => day(self.bind_parse(value, pattern)?),
            ("TO_TIMESTAMP", [value]) => self.bind_to_timestamp(value)?,
            ("TO_TIMESTAMP", [value, pattern]) => self.bind_parse(value, pattern)?,
            ("UNIX_TIMESTAMP", [instant]) => {
                call(Function::ToSeconds, vec![self.bind_as(instant, DataType::Timestamp)?])
            }
            ("UNIX_TIMESTAMP", [value, pattern]) => {
                call(Function::ToSeconds, vec![self.bind_parse(value, pattern)?])
            }
            ("TO_TIMESTAMP_LTZ", [value]) => self.milliseconds(value)?,
            ("TO_TIMESTAMP_LTZ", [value, precision]) => match precision {
                Expr::Value(number) if number.value.to_string() == "0" => {
                    call(Function::FromSeconds, vec![self.bind_as(value, DataType::Double)?])
                }
                Expr::Value(number) if number.value.to_string() == "3" => self.milliseconds(value)?,
                _ => {
                    return Err(self.error(
                        precision,
                        "the precision is neither 0 (seconds) nor 3 (milliseconds)",
                        "write TO_TIMESTAMP_LTZ(milliseconds, 3)",
                    ));
                }
            },
            _ => return self.wrong_form(expr, name, arguments.len()),
        };
        Ok(Some(bound))
    }

    fn wrong_form(&self, expr: &Expr, name: &str, count: usize) -> Result<Option<Expression>, SqlError> {
        let form = match name {
            "NOW" | "PROCTIME" => "it without arguments",
            "DATE_TRUNC" => "DATE_TRUNC('hour', timestamp)",
            "DATE_PART" => "DATE_PART('hour', timestamp)",
            "TIMESTAMPADD" => "TIMESTAMPADD(HOUR, count, timestamp)",
            "TIMESTAMPDIFF" => "TIMESTAMPDIFF(HOUR, from, to)",
            "DATE_BIN" => "DATE_BIN(INTERVAL '15' MINUTE, timestamp [, origin])",
            "TO_CHAR" => "TO_CHAR(timestamp, 'YYYY-MM-DD HH24:MI:SS')",
            "DATE_FORMAT" => "DATE_FORMAT(timestamp, 'yyyy-MM-dd HH:mm:ss')",
            "FROM_UNIXTIME" => "FROM_UNIXTIME(seconds [, 'yyyy-MM-dd HH:mm:ss'])",
            "UNIX_TIMESTAMP" => "UNIX_TIMESTAMP(timestamp)",
            "TO_DATE" => "TO_DATE(text [, 'yyyy-MM-dd'])",
            "TO_TIMESTAMP" => "TO_TIMESTAMP(text [, 'yyyy-MM-dd HH:mm:ss']) or TO_TIMESTAMP(seconds)",
            "TO_TIMESTAMP_LTZ" => "TO_TIMESTAMP_LTZ(milliseconds, 3)",
            _ => return Ok(None),
        };
        Err(self.wrong_count(expr, name, count, form))
    }

    /// The unit a call names, as a word or a text.
    fn unit_name(&self, expr: &Expr) -> Result<String, SqlError> {
        match (expr, literal::text(expr)) {
            (_, Some(name)) => Ok(name.to_owned()),
            (Expr::Identifier(Ident { value, .. }), _) => Ok(value.clone()),
            _ => Err(self.error(expr, format!("`{expr}` is not a unit of time"), "write 'hour' or HOUR")),
        }
    }

    fn bind_date_bin(
        &mut self,
        stride: &Expr,
        instant: &Expr,
        origin: Option<&&Expr>,
    ) -> Result<Expression, SqlError> {
        let length = match stride {
            Expr::Interval(interval) => literal::interval_ms(interval, self.locate(stride))?,
            _ => {
                return Err(self.error(
                    stride,
                    "the bins' length is not an INTERVAL",
                    "write DATE_BIN(INTERVAL '15' MINUTE, timestamp)",
                ));
            }
        };
        if length <= 0 {
            return Err(self.error(stride, "bins of no length", "write a length of at least a millisecond"));
        }
        let instant = self.bind_as(instant, DataType::Timestamp)?;
        let origin = match origin {
            Some(origin) => self.bind_as(origin, DataType::Timestamp)?,
            None => literal::literal(Value::Timestamp(0), DataType::Timestamp),
        };
        Ok(call(Function::DateBin, vec![whole(length), instant, origin]))
    }

    fn bind_format(
        &mut self,
        instant: &Expr,
        pattern: &Expr,
        style: PatternStyle,
    ) -> Result<Expression, SqlError> {
        let instant = self.bind_as(instant, DataType::Timestamp)?;
        Ok(call(Function::FormatTime(style), vec![instant, self.bind_pattern(pattern, style)?]))
    }

    /// A pattern that is a constant must be one that can be used.
    fn bind_pattern(&mut self, pattern: &Expr, style: PatternStyle) -> Result<Expression, SqlError> {
        if let Some(Err(error)) = literal::text(pattern).map(|text| DatePattern::read(text, style)) {
            let help = match style {
                PatternStyle::Postgres => "write a pattern such as 'YYYY-MM-DD HH24:MI:SS'",
                PatternStyle::Java => "write a pattern such as 'yyyy-MM-dd HH:mm:ss'",
            };
            return Err(self.error(pattern, error, help));
        }
        self.bind_as(pattern, DataType::String)
    }

    /// By Java's letters if the year is written in small ones, as in Flink, else by PostgreSQL's.
    fn bind_parse(&mut self, value: &Expr, pattern: &Expr) -> Result<Expression, SqlError> {
        let style = match literal::text(pattern) {
            Some(text) if !has_small_year(text) => PatternStyle::Postgres,
            _ => PatternStyle::Java,
        };
        let value = self.bind_as(value, DataType::String)?;
        Ok(call(Function::ParseTime(style), vec![value, self.bind_pattern(pattern, style)?]))
    }

    /// Of a text its instant, of a number of seconds the instant so long after 1970.
    fn bind_to_timestamp(&mut self, value: &Expr) -> Result<Expression, SqlError> {
        let bound = self.bind(value)?;
        match bound.data_type() {
            DataType::String if !types::is_null(&bound) => {
                Ok(Expression::Cast { operand: Box::new(bound), data_type: DataType::Timestamp })
            }
            _ => types::coerce(bound, DataType::Double)
                .map(|seconds| call(Function::FromSeconds, vec![seconds]))
                .map_err(|found| {
                    self.error(
                        value,
                        format!(
                            "`{found}` is a {}, a STRING or a number of seconds is needed",
                            found.data_type()
                        ),
                        "write TO_TIMESTAMP('2013-01-31 10:00:00')",
                    )
                }),
        }
    }

    fn milliseconds(&mut self, value: &Expr) -> Result<Expression, SqlError> {
        let value = self.bind_as(value, DataType::BigInt)?;
        Ok(Expression::Cast { operand: Box::new(value), data_type: DataType::Timestamp })
    }

    /// An instant moved by so many times an `INTERVAL`.
    pub(super) fn shift_times(
        &mut self,
        instant: Expression,
        operator: BinaryOperator,
        count: Expression,
        length: literal::Length,
    ) -> Expression {
        let negative = operator == BinaryOperator::Subtract;
        let mut moved = instant;
        let mut shared = Shared::default();
        let count = if length.months != 0 && length.ms != 0 { shared.share(count) } else { count };
        if length.months != 0 {
            let months = if negative { -length.months } else { length.months };
            moved = call(Function::AddTime(TimeUnit::Month), vec![times(count.clone(), months), moved]);
        }
        if length.ms != 0 || length.months == 0 {
            moved = super::expression::binary(operator, moved, times(count, length.ms));
        }
        shared.around(moved)
    }

    /// An instant moved by an `INTERVAL`: by the calendar where it has months.
    pub(super) fn shift_by(
        &mut self,
        instant: Expression,
        operator: BinaryOperator,
        interval: literal::Length,
    ) -> Expression {
        let negative = operator == BinaryOperator::Subtract;
        let mut moved = instant;
        if interval.months != 0 {
            let months = whole(if negative { -interval.months } else { interval.months });
            moved = call(Function::AddTime(TimeUnit::Month), vec![months, moved]);
        }
        if interval.ms != 0 || interval.months == 0 {
            moved = super::expression::binary(operator, moved, whole(interval.ms));
        }
        moved
    }
}

/// Whether a pattern has a `y` beside those of PostgreSQL's days, which are `Day`, `day`, `Dy` and `dy`.
fn has_small_year(pattern: &str) -> bool {
    let is_day = |word: &str| word.eq_ignore_ascii_case("day") || word.eq_ignore_ascii_case("dy");
    let without_days = pattern.replace("Day", " ");
    let mut words = without_days.split(|sign: char| !sign.is_alphabetic());
    words.any(|word| word.contains('y') && !is_day(word.trim_start_matches("FM")))
}

fn times(count: Expression, length: i64) -> Expression {
    super::expression::binary(BinaryOperator::Multiply, count, whole(length))
}

fn day(instant: Expression) -> Expression {
    Expression::Cast { operand: Box::new(instant), data_type: DataType::Date }
}
