//! Aggregates: which function, of what, for which rows.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use super::super::error::SqlError;
use super::scope::{Binder, BoundAggregate};
use super::types;
use crate::plan::{AggregateFunction, Expression, MAX_AGGREGATES};
use crate::value::{DataType, Value};

pub(super) fn by_name(name: &str) -> Option<AggregateFunction> {
    match name.to_ascii_uppercase().as_str() {
        "COUNT" => Some(AggregateFunction::Count),
        "SUM" => Some(AggregateFunction::Sum),
        "MIN" => Some(AggregateFunction::Min),
        "MAX" => Some(AggregateFunction::Max),
        "AVG" => Some(AggregateFunction::Average),
        "FIRST_VALUE" => Some(AggregateFunction::First),
        "LAST_VALUE" => Some(AggregateFunction::Last),
        "ANY_VALUE" => Some(AggregateFunction::Any),
        "STRING_AGG" | "LISTAGG" => Some(AggregateFunction::Join),
        "BOOL_AND" | "EVERY" => Some(AggregateFunction::Every),
        "BOOL_OR" => Some(AggregateFunction::Some),
        "VAR_POP" => Some(AggregateFunction::VariancePopulation),
        "VAR_SAMP" | "VARIANCE" => Some(AggregateFunction::VarianceSample),
        "STDDEV_POP" => Some(AggregateFunction::DeviationPopulation),
        "STDDEV_SAMP" | "STDDEV" => Some(AggregateFunction::DeviationSample),
        "APPROX_COUNT_DISTINCT" => Some(AggregateFunction::ApproximateCount),
        "APPROX_PERCENTILE" | "APPROX_QUANTILE" => Some(AggregateFunction::ApproximateQuantile),
        _ => None,
    }
}

impl Binder<'_> {
    /// The aggregate a call is, as a column of the group's row; `None` if it is no aggregate.
    pub(super) fn bind_aggregate(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
    ) -> Result<Option<Expression>, SqlError> {
        let name = call.name.to_string();
        let user = self.user_function(&name).filter(|user| user.is_aggregate());
        let Some(function) = user.map(|_| AggregateFunction::User).or(by_name(&name)) else {
            return Ok(None);
        };
        // Inside an aggregate every column is a column of the rows.
        let Some(mut groups) = self.groups.take() else {
            return Err(self.error(
                expr,
                format!("{} stands where there are no groups", call.name),
                "aggregate in SELECT or HAVING, not in WHERE and not inside another aggregate",
            ));
        };
        groups.called = true;
        let bound = self.bind_over_rows(expr, call, function);
        let result = bound.and_then(|aggregate| {
            let known = groups.aggregates.iter().position(|known| *known == aggregate);
            if known.is_none() && groups.aggregates.len() == MAX_AGGREGATES {
                return Err(self.error(
                    expr,
                    format!("this is one aggregate more than the {MAX_AGGREGATES} that one SELECT may have"),
                    "compute some of them in another query, and write them to another table",
                ));
            }
            let index = known.unwrap_or_else(|| {
                groups.aggregates.push(aggregate.clone());
                groups.aggregates.len() - 1
            });
            Ok(Some(Expression::Column {
                index: groups.keys.len() + index,
                data_type: aggregate.data_type(),
                name: aggregate.text,
            }))
        });
        self.groups = Some(groups);
        result
    }

    /// The aggregate a call with `OVER` is, its operands over the rows; `None` if it is no aggregate.
    pub(super) fn aggregate_over(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
    ) -> Result<Option<BoundAggregate>, SqlError> {
        let name = call.name.to_string();
        let user = self.user_function(&name).filter(|user| user.is_aggregate());
        let function = user.map(|_| AggregateFunction::User).or(by_name(&name));
        function.map(|function| self.bind_over_rows(expr, call, function)).transpose()
    }

    fn bind_over_rows(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
        function: AggregateFunction,
    ) -> Result<BoundAggregate, SqlError> {
        let wrong = |binder: &Self| {
            let name = function.name();
            let help = match function {
                AggregateFunction::User => {
                    format!("write {}(x), with FILTER (WHERE ...) if need be", call.name)
                }
                AggregateFunction::Count => {
                    "write COUNT(*), COUNT(x) or COUNT(DISTINCT x), with FILTER (WHERE ...) if need be"
                        .to_owned()
                }
                AggregateFunction::Join => format!("write {name}(text, ', '); texts come in record order"),
                AggregateFunction::ApproximateQuantile => format!("write {name}(x, 0.95)"),
                _ => format!("write {name}(x), with FILTER (WHERE ...) if need be"),
            };
            binder.error(expr, format!("this form of {} is not supported", call.name), help)
        };
        let FunctionArguments::List(list) = &call.args else { return Err(wrong(self)) };
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let extras = !list.clauses.is_empty()
            || !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || !matches!(call.parameters, FunctionArguments::None);
        if extras {
            return Err(wrong(self));
        }
        if function == AggregateFunction::User {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else {
                return Err(wrong(self));
            };
            return self.bind_user_aggregate(call, argument, distinct);
        }
        let mut parameter = None;
        let argument = match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if function == AggregateFunction::Count => None,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => {
                Some(self.bind_argument(argument, function)?)
            }
            [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(beside)),
            ] if matches!(function, AggregateFunction::Join | AggregateFunction::ApproximateQuantile) => {
                parameter = Some(self.bind_parameter(beside, function)?);
                Some(self.bind_argument(argument, function)?)
            }
            _ => return Err(wrong(self)),
        };
        let parameter = match (function, parameter) {
            (AggregateFunction::Join, None) => Value::String(",".to_owned()),
            (AggregateFunction::ApproximateQuantile, None) => return Err(wrong(self)),
            (_, parameter) => parameter.unwrap_or(Value::Null),
        };
        let filter = match &call.filter {
            Some(condition) => Some(self.bind_condition(condition, "FILTER")?),
            None => None,
        };
        if distinct && argument.is_none() {
            return Err(self.error(
                expr,
                format!("{}(DISTINCT *) has no meaning", call.name),
                "write the column whose values are to be counted: COUNT(DISTINCT x)",
            ));
        }
        // The least and the greatest of the distinct values are those of all, and so it is with some others.
        use AggregateFunction::{Any, ApproximateCount, Every, First, Last, Max, Min, Some as One};
        let plain = matches!(function, Min | Max | Any | Every | One | First | Last | ApproximateCount);
        Ok(BoundAggregate::new(function, argument, parameter, filter, distinct && !plain).guarded())
    }

    /// An aggregate of the user's own.
    fn bind_user_aggregate(
        &mut self,
        call: &SqlFunction,
        argument: &Expr,
        distinct: bool,
    ) -> Result<BoundAggregate, SqlError> {
        let user = self.user_function(&call.name.to_string()).expect("found by its name").clone();
        let argument = self.bind_as(argument, user.signature().arguments()[0])?;
        let filter = match &call.filter {
            Some(condition) => Some(self.bind_condition(condition, "FILTER")?),
            None => None,
        };
        Ok(BoundAggregate::of_user(user, argument, filter, distinct).guarded())
    }

    fn bind_argument(&mut self, expr: &Expr, function: AggregateFunction) -> Result<Expression, SqlError> {
        match function {
            AggregateFunction::Sum | AggregateFunction::Average => self.bind_number(expr),
            function if function.is_spread() || function == AggregateFunction::ApproximateQuantile => {
                let number = self.bind_number(expr)?;
                Ok(match number.data_type() {
                    DataType::Decimal { .. } => {
                        types::coerce(number, DataType::Double).expect("a decimal becomes a DOUBLE")
                    }
                    _ => number,
                })
            }
            AggregateFunction::Join => self.bind_as(expr, DataType::String),
            AggregateFunction::Every | AggregateFunction::Some => self.bind_condition(expr, function.name()),
            AggregateFunction::Min | AggregateFunction::Max => {
                let bound = self.bind(expr)?;
                match bound.data_type() {
                    DataType::Boolean => Err(self.error(
                        expr,
                        format!("`{bound}` is a BOOLEAN, which has no least and no greatest"),
                        "count instead: COUNT(*) FILTER (WHERE ...)",
                    )),
                    _ => Ok(bound),
                }
            }
            _ => self.bind(expr),
        }
    }

    /// The constant beside the argument.
    fn bind_parameter(&mut self, expr: &Expr, function: AggregateFunction) -> Result<Value, SqlError> {
        let wanted = match function {
            AggregateFunction::Join => DataType::String,
            _ => DataType::Double,
        };
        let bound = self.bind(expr)?;
        match types::coerce(bound, wanted) {
            Ok(Expression::Literal { value: Value::String(text), .. }) => Ok(Value::String(text)),
            Ok(Expression::Literal { value: Value::Double(part), .. }) if (0.0..=1.0).contains(&part) => {
                Ok(Value::Double(part))
            }
            _ => Err(match function {
                AggregateFunction::Join => {
                    self.error(expr, "the separator is not a constant text", "write STRING_AGG(text, ', ')")
                }
                _ => self.error(
                    expr,
                    "the part of the way is not a constant from 0 to 1",
                    "write APPROX_PERCENTILE(x, 0.95)",
                ),
            }),
        }
    }
}
