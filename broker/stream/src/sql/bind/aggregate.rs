//! Aggregates: which function, of what, for which rows.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use super::super::error::SqlError;
use super::scope::{Binder, BoundAggregate};
use super::types;
use crate::plan::{AggregateFunction, Expression};
use crate::value::DataType;

fn by_name(name: &str) -> Option<AggregateFunction> {
    match name.to_ascii_uppercase().as_str() {
        "COUNT" => Some(AggregateFunction::Count),
        "SUM" => Some(AggregateFunction::Sum),
        "MIN" => Some(AggregateFunction::Min),
        "MAX" => Some(AggregateFunction::Max),
        "AVG" => Some(AggregateFunction::Average),
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
        let Some(function) = by_name(&call.name.to_string()) else { return Ok(None) };
        // Inside an aggregate every column is a column of the rows.
        let Some(mut groups) = self.groups.take() else {
            return Err(self.error(
                expr,
                format!("{} stands where there are no groups", call.name),
                "aggregate in SELECT or HAVING, not in WHERE and not inside another aggregate",
            ));
        };
        let bound = self.bind_over_rows(expr, call, function);
        let result = bound.map(|aggregate| {
            let index = groups.aggregates.iter().position(|known| *known == aggregate).unwrap_or_else(|| {
                groups.aggregates.push(aggregate.clone());
                groups.aggregates.len() - 1
            });
            Some(Expression::Column {
                index: groups.keys.len() + index,
                data_type: aggregate.data_type(),
                name: aggregate.text,
            })
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
        by_name(&call.name.to_string()).map(|function| self.bind_over_rows(expr, call, function)).transpose()
    }

    fn bind_over_rows(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
        function: AggregateFunction,
    ) -> Result<BoundAggregate, SqlError> {
        let wrong = |binder: &Self| {
            let help = "write COUNT(*), COUNT(x), SUM(x), MIN(x), MAX(x) or AVG(x), with FILTER (WHERE ...) if need be";
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
        let argument = match list.args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if function == AggregateFunction::Count => None,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => {
                Some(self.bind_argument(argument, function)?)
            }
            _ => return Err(wrong(self)),
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
        // The least and the greatest of the distinct values are those of all.
        let extreme = matches!(function, AggregateFunction::Min | AggregateFunction::Max);
        Ok(BoundAggregate::new(function, argument, filter, distinct && !extreme))
    }

    fn bind_argument(&mut self, expr: &Expr, function: AggregateFunction) -> Result<Expression, SqlError> {
        match function {
            AggregateFunction::Sum | AggregateFunction::Average => {
                let number = self.bind_number(expr)?;
                Ok(match number.data_type() {
                    DataType::Decimal { .. } => {
                        types::coerce(number, DataType::Double).expect("a decimal becomes a DOUBLE")
                    }
                    _ => number,
                })
            }
            AggregateFunction::Count => self.bind(expr),
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
        }
    }
}
