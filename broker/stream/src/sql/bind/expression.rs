//! Scalar expressions: names to columns, types checked, conversions made explicit.

use sqlparser::ast::{CaseWhen, CastKind, DataType as SqlType, Expr, InTarget, TypedString, ValueWithSpan};

use super::super::error::SqlError;
use super::query::start_or;
pub(super) use super::scope::Binder;
use super::{literal, types};
use crate::plan::{BinaryOperator, Branch, Expression, Function};
use crate::value::{DataType, Value};

/// How deep an expression may nest; evaluation recurses as deep.
const MAX_DEPTH: usize = 100;

impl Binder<'_> {
    /// A truth value, for `WHERE`, `HAVING` and the like.
    pub(super) fn bind_condition(&mut self, expr: &Expr, clause: &str) -> Result<Expression, SqlError> {
        let condition = self.bind(expr)?;
        types::coerce(condition, DataType::Boolean).map_err(|found| {
            self.error(
                expr,
                format!("`{found}` is a {}, {clause} needs a BOOLEAN", found.data_type()),
                "write a condition, such as `x > 0` or `x IS NOT NULL`",
            )
        })
    }

    /// Any expression.
    pub(super) fn bind(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(
                expr,
                format!("the expression is more than {MAX_DEPTH} levels deep"),
                "put parentheses around parts of a long chain: (a OR b OR c) OR (d OR e OR f)",
            ));
        }
        self.depth += 1;
        let bound = match self.bind_group_column(expr) {
            Some(column) => Ok(column),
            None => self.bind_node(expr),
        };
        self.depth -= 1;
        bound
    }

    pub(super) fn bind_node(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        match expr {
            Expr::Identifier(ident) => self.bind_name(expr, None, ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => self.bind_name(expr, Some(table), column),
                _ => Err(self.error(
                    expr,
                    format!("`{expr}` has too many parts: a name is <column> or <table>.<column>"),
                    "declare the field as a column, `a.b` STRING, and write `a.b` with the quotes; or read it out of JSON: \
                     JSON_VALUE(<column>, '$.a.b')",
                )),
            },
            Expr::Nested(inner) => self.bind(inner),
            Expr::Value(value) => literal::bind(value, false),
            Expr::TypedString(TypedString { data_type, value, .. }) => {
                self.typed_string(expr, data_type, value)
            }
            Expr::UnaryOp { op, expr: operand } => self.bind_unary(expr, *op, operand),
            Expr::BinaryOp { left, op, right } => self.bind_binary(expr, left, op, right),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.bind_case(expr, operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Cast { kind, expr: operand, data_type, format: None } => {
                self.bind_cast(expr, kind, operand, data_type)
            }
            _ => self.bind_predicate(expr),
        }
    }

    /// What asks something of its operands. It stands apart so that [`Binder::bind_node`], which recurs, takes little
    /// of the stack.
    fn bind_predicate(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        match expr {
            Expr::IsNull(operand) => Ok(Expression::IsNull(Box::new(self.bind(operand)?))),
            Expr::IsNotNull(operand) => Ok(not(Expression::IsNull(Box::new(self.bind(operand)?)))),
            Expr::IsTrue(operand) => Ok(is_true(self.bind_condition(operand, "IS TRUE")?)),
            Expr::IsNotTrue(operand) => Ok(not(is_true(self.bind_condition(operand, "IS NOT TRUE")?))),
            Expr::IsFalse(operand) => Ok(is_true(not(self.bind_condition(operand, "IS FALSE")?))),
            Expr::IsNotFalse(operand) => Ok(not(is_true(not(self.bind_condition(operand, "IS NOT FALSE")?)))),
            Expr::IsUnknown(operand) => {
                Ok(Expression::IsNull(Box::new(self.bind_condition(operand, "IS UNKNOWN")?)))
            }
            Expr::IsNotUnknown(operand) => {
                Ok(not(Expression::IsNull(Box::new(self.bind_condition(operand, "IS NOT UNKNOWN")?))))
            }
            Expr::IsDistinctFrom(left, right) => {
                Ok(not(self.compare(expr, left, BinaryOperator::Same, right)?))
            }
            Expr::IsNotDistinctFrom(left, right) => self.compare(expr, left, BinaryOperator::Same, right),
            Expr::Between { expr: operand, negated, low, high } => {
                let operand = self.bind(operand)?;
                let between = self.with_shared(operand, 2, |binder, operand| {
                    let (low, high) = (binder.bind(low)?, binder.bind(high)?);
                    binder.between(expr, operand, low, high)
                })?;
                Ok(negate_if(*negated, between))
            }
            Expr::In { expr: operand, target: InTarget::List(list), negated, .. } => {
                self.bind_in(expr, operand, list, *negated)
            }
            Expr::Like { negated, any: false, expr: text, pattern, escape_char } => {
                let like = self.bind_like(text, pattern, escape_char.as_deref(), false)?;
                Ok(negate_if(*negated, like))
            }
            Expr::ILike { negated, any: false, expr: text, pattern, escape_char } => {
                let like = self.bind_like(text, pattern, escape_char.as_deref(), true)?;
                Ok(negate_if(*negated, like))
            }
            Expr::SimilarTo { negated, expr: text, pattern, escape_char } => {
                let similar = self.bind_similar(text, pattern, escape_char.as_deref())?;
                Ok(negate_if(*negated, similar))
            }
            Expr::Interval(_) => Err(self.error(
                expr,
                "an INTERVAL stands only after the + or - of a TIMESTAMP",
                "write <timestamp> + INTERVAL '5' MINUTE",
            )),
            _ => self.bind_call(expr),
        }
    }

    fn typed_string(
        &self,
        expr: &Expr,
        data_type: &sqlparser::ast::DataType,
        value: &ValueWithSpan,
    ) -> Result<Expression, SqlError> {
        let at = start_or(value.span, self.locate(expr));
        match (types::from_sql(data_type, at)?, &value.value) {
            (DataType::Timestamp, sqlparser::ast::Value::SingleQuotedString(text)) => {
                literal::timestamp(text, at)
            }
            (DataType::Date, sqlparser::ast::Value::SingleQuotedString(text)) => literal::date(text, at),
            _ => Err(SqlError::at(
                at,
                format!("`{expr}` is not a constant of the language"),
                "of types only TIMESTAMP and DATE stand before a text: TIMESTAMP '2013-01-31 10:00:00'",
            )),
        }
    }

    /// An expression that must be a number.
    pub(super) fn bind_number(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        let bound = self.bind(expr)?;
        self.as_number(expr, bound)
    }

    /// What an expression was bound to, which must be a number.
    pub(super) fn as_number(&self, expr: &Expr, bound: Expression) -> Result<Expression, SqlError> {
        match bound.data_type() {
            DataType::BigInt | DataType::Double | DataType::Decimal { .. } => Ok(bound),
            _ => types::coerce(bound, DataType::BigInt).map_err(|found| {
                self.error(
                    expr,
                    format!("`{found}` is a {}, not a number", found.data_type()),
                    "write CAST(... AS BIGINT) or CAST(... AS DOUBLE)",
                )
            }),
        }
    }

    /// An expression that must have a type.
    pub(super) fn bind_as(&mut self, expr: &Expr, wanted: DataType) -> Result<Expression, SqlError> {
        let bound = self.bind(expr)?;
        types::coerce(bound, wanted).map_err(|found| {
            self.error(
                expr,
                format!("`{found}` is a {}, a {wanted} is needed", found.data_type()),
                match types::can_cast(found.data_type(), wanted) {
                    true => format!("write CAST(... AS {wanted})"),
                    false => format!("use an expression that is a {wanted}"),
                },
            )
        })
    }

    fn bind_case(
        &mut self,
        expr: &Expr,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Expression, SqlError> {
        match operand {
            None => self.bind_branches(expr, None, conditions, otherwise),
            Some(operand) => {
                let operand = self.bind(operand)?;
                self.with_shared(operand, conditions.len(), |binder, operand| {
                    binder.bind_branches(expr, Some(operand), conditions, otherwise)
                })
            }
        }
    }

    fn bind_branches(
        &mut self,
        expr: &Expr,
        operand: Option<&Expression>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Expression, SqlError> {
        let mut whens = Vec::new();
        let mut results = Vec::new();
        for CaseWhen { condition, result } in conditions {
            whens.push(match operand {
                None => self.bind_condition(condition, "WHEN")?,
                Some(operand) => {
                    let value = self.bind(condition)?;
                    self.compare_bound(condition, operand.clone(), BinaryOperator::Equal, value)?
                }
            });
            results.push(self.bind(result)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.bind(otherwise)?,
            None => null(),
        });
        let mut results = self.unify(expr, results, "the branches of CASE")?;
        let otherwise = Box::new(results.pop().expect("there is always an ELSE"));
        let branches = whens.into_iter().zip(results).map(|(when, then)| Branch { when, then }).collect();
        Ok(Expression::Case { branches, otherwise })
    }

    /// Makes several expressions of one type.
    pub(super) fn unify(
        &self,
        expr: &Expr,
        expressions: Vec<Expression>,
        what: &str,
    ) -> Result<Vec<Expression>, SqlError> {
        let Some(wanted) = types::common_type(expressions.iter()) else {
            let mut found: Vec<String> =
                expressions.iter().map(|each| each.data_type().to_string()).collect();
            found.sort();
            found.dedup();
            return Err(self.error(
                expr,
                format!("{what} have no type in common: {}", found.join(", ")),
                "write CAST(... AS <type>) around those that differ",
            ));
        };
        let to = |each| types::coerce(each, wanted).expect("the common type is reached from all");
        Ok(expressions.into_iter().map(to).collect())
    }

    fn bind_cast(
        &mut self,
        expr: &Expr,
        kind: &CastKind,
        operand: &Expr,
        data_type: &SqlType,
    ) -> Result<Expression, SqlError> {
        let wanted = types::from_sql(data_type, self.locate(expr))?;
        let bound = self.bind(operand)?;
        let try_cast = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
        if try_cast && types::short_integer(data_type).is_some() {
            return Err(self.error(
                expr,
                format!("TRY_CAST to {data_type} is not supported"),
                "write TRY_CAST(... AS BIGINT)",
            ));
        }
        let cast = self.convert(expr, bound, wanted, try_cast)?;
        if let Some(integer) = types::short_integer(data_type) {
            return Ok(Expression::Call { function: Function::CheckRange(integer), arguments: vec![cast] });
        }
        if let Some(length) = types::kept_length(data_type) {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            let [start, length] =
                [1, length].map(|value| literal::literal(Value::BigInt(value), DataType::BigInt));
            return Ok(Expression::Call {
                function: Function::Substring,
                arguments: vec![cast, start, length],
            });
        }
        Ok(cast)
    }

    fn convert(
        &self,
        expr: &Expr,
        bound: Expression,
        wanted: DataType,
        try_cast: bool,
    ) -> Result<Expression, SqlError> {
        let bound = match types::coerce(bound, wanted) {
            Ok(Expression::Cast { operand, data_type }) if try_cast => {
                return Ok(Expression::TryCast { operand, data_type });
            }
            Ok(converted) => return Ok(converted),
            Err(bound) => bound,
        };
        if !types::can_cast(bound.data_type(), wanted) {
            return Err(self.error(
                expr,
                format!("a {} cannot become a {wanted}", bound.data_type()),
                "CAST knows text from and to every type, numbers among each other, BIGINT (milliseconds) and TIMESTAMP(3), \
                 DATE and TIMESTAMP(3), BIGINT and BOOLEAN",
            ));
        }
        let operand = Box::new(bound);
        Ok(match try_cast {
            true => Expression::TryCast { operand, data_type: wanted },
            false => Expression::Cast { operand, data_type: wanted },
        })
    }
}

pub(super) fn null() -> Expression {
    literal::literal(Value::Null, DataType::String)
}

pub(super) fn binary(operator: BinaryOperator, left: Expression, right: Expression) -> Expression {
    Expression::Binary { operator, left: Box::new(left), right: Box::new(right) }
}

pub(super) fn not(operand: Expression) -> Expression {
    Expression::Not(Box::new(operand))
}

fn is_true(operand: Expression) -> Expression {
    Expression::IsTrue(Box::new(operand))
}

pub(super) fn negate_if(negated: bool, condition: Expression) -> Expression {
    if negated { not(condition) } else { condition }
}
