//! Calls: the built-in scalar functions, and the forms SQL gives some of them.

use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr,
    FunctionArguments,
};

use super::super::error::{SqlError, suggest};
use super::expression::Binder;
use crate::plan::{Expression, Function, TimeUnit};
use crate::value::DataType;

const NAMES: [&str; 23] = [
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "COALESCE",
    "NULLIF",
    "GREATEST",
    "LEAST",
    "ABS",
    "MOD",
    "FLOOR",
    "CEIL",
    "ROUND",
    "UPPER",
    "LOWER",
    "TRIM",
    "CHAR_LENGTH",
    "SUBSTRING",
    "REPLACE",
    "CONCAT",
    "EXTRACT",
    "CAST",
];

impl Binder<'_> {
    /// A call, or whatever else has no meaning here.
    pub(super) fn bind_call(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        match expr {
            Expr::Function(function) => match self.bind_aggregate(expr, function)? {
                Some(aggregate) => Ok(aggregate),
                None => self.bind_function(expr, function),
            },
            Expr::Extract { field, expr: instant, .. } => {
                let unit = self.time_unit(expr, field)?;
                self.one(Function::Extract(unit), instant, DataType::Timestamp)
            }
            Expr::Floor { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.bind_rounding(Function::Floor, operand)
            }
            Expr::Ceil { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.bind_rounding(Function::Ceil, operand)
            }
            Expr::Floor { expr: instant, field: CeilFloorKind::DateTimeField(field) } => {
                let unit = self.time_unit(expr, field)?;
                self.one(Function::FloorTime(unit), instant, DataType::Timestamp)
            }
            Expr::Trim { trim_where: None, trim_what: None, expr: text, trim_characters: None } => {
                self.one(Function::Trim, text, DataType::String)
            }
            Expr::Trim { .. } => Err(self.error(
                expr,
                "this form of TRIM is not supported yet",
                "TRIM(text) takes white space off both ends; REPLACE(text, from, to) changes parts",
            )),
            Expr::Substring { expr: text, substring_from: Some(from), substring_for, .. } => {
                let mut arguments =
                    vec![self.bind_as(text, DataType::String)?, self.bind_as(from, DataType::BigInt)?];
                if let Some(length) = substring_for {
                    arguments.push(self.bind_as(length, DataType::BigInt)?);
                }
                Ok(Expression::Call { function: Function::Substring, arguments })
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::In { .. } => Err(self.error(
                expr,
                "a query inside an expression is not supported yet",
                "write the values: IN ('a', 'b')",
            )),
            Expr::ILike { .. } => Err(self.error(
                expr,
                "ILIKE is not supported",
                "write LOWER(text) LIKE '<pattern in small letters>'",
            )),
            _ => Err(self.error(
                expr,
                format!("`{expr}` is not supported"),
                format!("use columns, constants, operators, CASE, and the functions {}", NAMES.join(", ")),
            )),
        }
    }

    fn bind_function(&mut self, expr: &Expr, call: &SqlFunction) -> Result<Expression, SqlError> {
        let name = call.name.to_string().to_ascii_uppercase();
        if call.over.is_some() {
            return Err(self.error(
                expr,
                "OVER is not supported yet",
                "aggregate over a window of FROM: TABLE(TUMBLE(...)) with GROUP BY",
            ));
        }
        let arguments = self.plain_arguments(expr, call)?;
        let wrong_count = |binder: &Self, form: &str| {
            Err(binder.error(
                expr,
                format!("{name} with {} arguments", arguments.len()),
                format!("write {form}"),
            ))
        };
        match (name.as_str(), arguments.as_slice()) {
            ("COALESCE", [_, ..]) => self.same_type(expr, Function::Coalesce, &arguments),
            ("GREATEST", [_, ..]) => self.same_type(expr, Function::Greatest, &arguments),
            ("LEAST", [_, ..]) => self.same_type(expr, Function::Least, &arguments),
            ("NULLIF", [_, _]) => self.same_type(expr, Function::NullIf, &arguments),
            ("ABS", [number]) => {
                let number = self.bind_number(number)?;
                Ok(Expression::Call { function: Function::Abs, arguments: vec![number] })
            }
            ("ROUND", [number]) => self.bind_rounding(Function::Round, number),
            ("MOD", [left, right]) => {
                let modulo = Expr::BinaryOp {
                    left: Box::new((*left).clone()),
                    op: sqlparser::ast::BinaryOperator::Modulo,
                    right: Box::new((*right).clone()),
                };
                self.bind(&modulo)
            }
            ("UPPER", [text]) => self.one(Function::Upper, text, DataType::String),
            ("LOWER", [text]) => self.one(Function::Lower, text, DataType::String),
            ("CHAR_LENGTH" | "CHARACTER_LENGTH" | "LENGTH", [text]) => {
                self.one(Function::CharLength, text, DataType::String)
            }
            ("REPLACE", [text, from, to]) => {
                let arguments = vec![
                    self.bind_as(text, DataType::String)?,
                    self.bind_as(from, DataType::String)?,
                    self.bind_as(to, DataType::String)?,
                ];
                Ok(Expression::Call { function: Function::Replace, arguments })
            }
            ("CONCAT", [first, others @ ..]) => {
                let mut joined = self.bind_as(first, DataType::String)?;
                for other in others {
                    let right = Box::new(self.bind_as(other, DataType::String)?);
                    let operator = crate::plan::BinaryOperator::Concat;
                    joined = Expression::Binary { operator, left: Box::new(joined), right };
                }
                Ok(joined)
            }
            ("COALESCE" | "GREATEST" | "LEAST", _) => wrong_count(self, &format!("{name}(a, b, ...)")),
            ("NULLIF" | "MOD", _) => wrong_count(self, &format!("{name}(a, b)")),
            ("ABS" | "ROUND", _) => wrong_count(self, &format!("{name}(number)")),
            ("UPPER" | "LOWER" | "CHAR_LENGTH" | "CHARACTER_LENGTH" | "LENGTH", _) => {
                wrong_count(self, &format!("{name}(text)"))
            }
            ("REPLACE", _) => wrong_count(self, "REPLACE(text, from, to)"),
            ("CONCAT", _) => wrong_count(self, "CONCAT(text, text, ...)"),
            ("NOW" | "CURRENT_TIMESTAMP" | "PROCTIME" | "LOCALTIMESTAMP", _) => {
                Err(self.error(expr, "processing time is not supported yet", "use the event time's column"))
            }
            _ => Err(self.error(expr, format!("there is no function {}", call.name), suggest(&name, NAMES))),
        }
    }

    /// The plain arguments of a call; every extra that SQL allows is refused.
    fn plain_arguments<'e>(&self, expr: &Expr, call: &'e SqlFunction) -> Result<Vec<&'e Expr>, SqlError> {
        let extras = !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || call.filter.is_some()
            || !matches!(call.parameters, FunctionArguments::None);
        let arguments = match &call.args {
            FunctionArguments::None => Some(Vec::new()),
            FunctionArguments::List(list)
                if list.duplicate_treatment.is_none() && list.clauses.is_empty() && !extras =>
            {
                list.args
                    .iter()
                    .map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                        _ => None,
                    })
                    .collect()
            }
            _ => None,
        };
        arguments.ok_or_else(|| {
            self.error(
                expr,
                format!("this form of {} is not supported", call.name),
                "write plain arguments: f(a, b)",
            )
        })
    }

    fn one(&mut self, function: Function, argument: &Expr, wanted: DataType) -> Result<Expression, SqlError> {
        let argument = self.bind_as(argument, wanted)?;
        Ok(Expression::Call { function, arguments: vec![argument] })
    }

    fn same_type(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let bound = arguments.iter().map(|argument| self.bind(argument)).collect::<Result<Vec<_>, _>>()?;
        let arguments = self.unify(expr, bound, &format!("the arguments of {}", function.name()))?;
        Ok(Expression::Call { function, arguments })
    }

    /// Rounding leaves a whole number as it is.
    fn bind_rounding(&mut self, function: Function, operand: &Expr) -> Result<Expression, SqlError> {
        let operand = self.bind_number(operand)?;
        Ok(match operand.data_type() {
            DataType::BigInt => operand,
            _ => Expression::Call { function, arguments: vec![operand] },
        })
    }

    fn time_unit(&self, expr: &Expr, field: &DateTimeField) -> Result<TimeUnit, SqlError> {
        match field {
            DateTimeField::Year => Ok(TimeUnit::Year),
            DateTimeField::Month => Ok(TimeUnit::Month),
            DateTimeField::Day => Ok(TimeUnit::Day),
            DateTimeField::Hour => Ok(TimeUnit::Hour),
            DateTimeField::Minute => Ok(TimeUnit::Minute),
            DateTimeField::Second => Ok(TimeUnit::Second),
            other => Err(self.error(
                expr,
                format!("the unit {other} is not supported"),
                "the units are YEAR, MONTH, DAY, HOUR, MINUTE and SECOND",
            )),
        }
    }
}
