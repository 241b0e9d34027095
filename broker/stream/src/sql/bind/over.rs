//! Calls with `OVER`: the function, the partition, the order and the frame.

use sqlparser::ast::{
    Expr, Function as SqlFunction, OrderBySort, Value as SqlValue, ValueWithSpan, WindowFrameBound,
    WindowFrameUnits, WindowSpec, WindowType,
};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::literal;
use super::scope::{Binder, BoundAggregate};
use crate::plan::{Expression, Frame, FrameUnit, RankFunction};
use crate::value::{DataType, Value};

const OVER_HELP: &str = "write <function>(...) OVER (PARTITION BY <columns> ORDER BY <columns>)";

/// A call with `OVER`, its operands over the rows of `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OverCall {
    pub(super) kind: CallKind,
    pub(super) partition: Vec<Expression>,
    pub(super) order: Vec<Order>,
    pub(super) text: String,
    pub(super) at: Location,
}

/// What a call computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CallKind {
    Aggregate(BoundAggregate, Frame),
    Lag { argument: Expression, offset: u64, default: Value },
    Lead { argument: Expression, offset: u64, default: Value },
    Number(RankFunction),
}

/// One part of an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) expression: Expression,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// A constant that is a whole number.
pub(super) fn whole_number(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(ValueWithSpan { value: SqlValue::Number(digits, false), .. }) => digits.parse().ok(),
        Expr::Nested(inner) => whole_number(inner),
        _ => None,
    }
}

impl Binder<'_> {
    /// A call with `OVER`, as a column behind those of `FROM`.
    pub(super) fn bind_over(&mut self, expr: &Expr, call: &SqlFunction) -> Result<Expression, SqlError> {
        let Some(mut calls) = self.over.take() else {
            return Err(match &self.groups {
                Some(_) => self.error(
                    expr,
                    "OVER over groups is not supported",
                    "group in a query of its own: SELECT ... OVER (...) FROM (SELECT ... GROUP BY ...)",
                ),
                None => self.error(
                    expr,
                    "OVER stands only in the list after SELECT, and not inside another OVER",
                    "name it, and use the name around: SELECT ... FROM (SELECT ..., <function> OVER (...) AS n \
                     FROM ...) WHERE n <= 3",
                ),
            });
        };
        let bound = self.bind_over_call(expr, call);
        let result = bound.map(|call| {
            let index = calls.iter().position(|known| known.is_same(&call));
            let index = index.unwrap_or_else(|| {
                calls.push(call.clone());
                calls.len() - 1
            });
            Expression::Column {
                index: self.columns.len() + index,
                data_type: call.data_type(),
                name: call.text,
            }
        });
        self.over = Some(calls);
        result
    }

    fn bind_over_call(&mut self, expr: &Expr, call: &SqlFunction) -> Result<OverCall, SqlError> {
        let Some(WindowType::WindowSpec(spec)) = &call.over else {
            return Err(self.error(expr, "a named window is not supported", OVER_HELP));
        };
        if spec.window_name.is_some() {
            return Err(self.error(expr, "a named window is not supported", OVER_HELP));
        }
        let partition =
            spec.partition_by.iter().map(|key| self.bind(key)).collect::<Result<Vec<_>, SqlError>>()?;
        let mut order = Vec::new();
        for key in &spec.order_by {
            if key.with_fill.is_some() {
                return Err(self.error(&key.expr, "WITH FILL is not supported", OVER_HELP));
            }
            let descending = match &key.options.sort {
                None | Some(OrderBySort::Asc) => false,
                Some(OrderBySort::Desc) => true,
                Some(OrderBySort::Using(_)) => {
                    return Err(self.error(&key.expr, "USING is not supported", OVER_HELP));
                }
            };
            // NULL is less than every value, unless the script says where it goes.
            let nulls_first = key.options.nulls_first.unwrap_or(!descending);
            order.push(Order { expression: self.bind(&key.expr)?, descending, nulls_first });
        }
        let name = call.name.to_string().to_ascii_uppercase();
        let kind = self.over_kind(expr, call, &name, spec, &order)?;
        let text = over_text(&name, &kind, &partition, &order);
        Ok(OverCall { kind, partition, order, text, at: self.locate(expr) })
    }

    fn over_kind(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
        name: &str,
        spec: &WindowSpec,
        order: &[Order],
    ) -> Result<CallKind, SqlError> {
        let number = match name {
            "ROW_NUMBER" => Some(RankFunction::RowNumber),
            "RANK" => Some(RankFunction::Rank),
            "DENSE_RANK" => Some(RankFunction::DenseRank),
            _ => None,
        };
        if (number.is_some() || matches!(name, "LAG" | "LEAD")) && spec.window_frame.is_some() {
            return Err(self.error(expr, format!("{name} has no frame"), "leave out ROWS or RANGE"));
        }
        if let Some(number) = number {
            if !self.plain_arguments(expr, call)?.is_empty() {
                return Err(self.error(
                    expr,
                    format!("{name} has no arguments"),
                    format!("write {name}() OVER (...)"),
                ));
            }
            if order.is_empty() {
                return Err(self.error(
                    expr,
                    format!("{name} without an order"),
                    format!("write {name}() OVER (PARTITION BY <columns> ORDER BY <columns>)"),
                ));
            }
            return Ok(CallKind::Number(number));
        }
        if matches!(name, "LAG" | "LEAD") {
            return self.bind_neighbour(expr, call, name, order);
        }
        match self.aggregate_over(expr, call)? {
            Some(aggregate) => Ok(CallKind::Aggregate(aggregate, self.frame(expr, spec, order)?)),
            None => Err(self.error(
                expr,
                format!("{name} has no OVER"),
                "the functions over rows are the aggregates, ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE \
                 and LAST_VALUE",
            )),
        }
    }

    /// `LAG(x [, offset [, default]])` and `LEAD`.
    fn bind_neighbour(
        &mut self,
        expr: &Expr,
        call: &SqlFunction,
        name: &str,
        order: &[Order],
    ) -> Result<CallKind, SqlError> {
        let help = format!("write {name}(<column>, 1) OVER (PARTITION BY <columns> ORDER BY <columns>)");
        let arguments = self.plain_arguments(expr, call)?;
        let (argument, offset, default) = match arguments.as_slice() {
            [argument] => (argument, None, None),
            [argument, offset] => (argument, Some(offset), None),
            [argument, offset, default] => (argument, Some(offset), Some(default)),
            _ => return Err(self.error(expr, format!("{name} with {} arguments", arguments.len()), help)),
        };
        if order.is_empty() {
            return Err(self.error(expr, format!("{name} without an order"), help));
        }
        let argument = self.bind(argument)?;
        let offset = match offset {
            None => 1,
            Some(offset) => whole_number(offset).ok_or_else(|| {
                self.error(offset, format!("the distance of {name} is not a whole number"), help.clone())
            })?,
        };
        let default = match default {
            None => Value::Null,
            Some(default) => match self.bind_as(default, argument.data_type())? {
                Expression::Literal { value, .. } => value,
                _ => {
                    let message = format!("the default of {name} is not a constant");
                    return Err(self.error(default, message, "write COALESCE around it for anything else"));
                }
            },
        };
        Ok(match name {
            "LAG" => CallKind::Lag { argument, offset, default },
            _ => CallKind::Lead { argument, offset, default },
        })
    }

    fn frame(&self, expr: &Expr, spec: &WindowSpec, order: &[Order]) -> Result<Frame, SqlError> {
        let Some(frame) = &spec.window_frame else {
            return Ok(match order.is_empty() {
                true => Frame { unit: FrameUnit::Rows, preceding: None, following: None },
                false => Frame { unit: FrameUnit::Range, preceding: None, following: Some(0) },
            });
        };
        let help = "write ROWS BETWEEN 10 PRECEDING AND CURRENT ROW, or RANGE BETWEEN INTERVAL '1' HOUR PRECEDING \
                    AND CURRENT ROW";
        let wrong = |message: &str| self.error(expr, message, help);
        let unit = match frame.units {
            WindowFrameUnits::Rows => FrameUnit::Rows,
            WindowFrameUnits::Range => FrameUnit::Range,
            WindowFrameUnits::Groups => return Err(wrong("GROUPS is not supported")),
        };
        if order.is_empty() {
            return Err(wrong("a frame without an order"));
        }
        let distance = |bound: &Expr| match (unit, bound) {
            (FrameUnit::Rows, bound) => {
                whole_number(bound).ok_or_else(|| wrong("the frame's bound is not a whole number of rows"))
            }
            (FrameUnit::Range, Expr::Interval(interval)) => {
                let by_time = order.len() == 1
                    && order[0].expression.data_type() == DataType::Timestamp
                    && !order[0].descending;
                if !by_time {
                    return Err(wrong("RANGE with an INTERVAL needs an order by one TIMESTAMP, ascending"));
                }
                let ms = literal::interval_ms(interval, self.locate(bound))?;
                u64::try_from(ms).map_err(|_| wrong("the frame's bound is negative"))
            }
            (FrameUnit::Range, _) => Err(wrong("the bound of RANGE is not an INTERVAL")),
        };
        let preceding = match &frame.start_bound {
            WindowFrameBound::Preceding(None) => None,
            WindowFrameBound::Preceding(Some(bound)) => Some(distance(bound)?),
            WindowFrameBound::CurrentRow => Some(0),
            WindowFrameBound::Following(_) => return Err(wrong("a frame that begins behind the row")),
        };
        let following = match &frame.end_bound {
            None | Some(WindowFrameBound::CurrentRow) => Some(0),
            Some(WindowFrameBound::Following(None)) => None,
            Some(WindowFrameBound::Following(Some(bound))) => Some(distance(bound)?),
            Some(WindowFrameBound::Preceding(_)) => return Err(wrong("a frame that ends before the row")),
        };
        Ok(Frame { unit, preceding, following })
    }
}

impl OverCall {
    fn is_same(&self, other: &OverCall) -> bool {
        (&self.kind, &self.partition, &self.order) == (&other.kind, &other.partition, &other.order)
    }

    fn data_type(&self) -> DataType {
        match &self.kind {
            CallKind::Aggregate(aggregate, _) => aggregate.data_type(),
            CallKind::Lag { argument, .. } | CallKind::Lead { argument, .. } => argument.data_type(),
            CallKind::Number(_) => DataType::BigInt,
        }
    }
}

fn over_text(name: &str, kind: &CallKind, partition: &[Expression], order: &[Order]) -> String {
    let of = match kind {
        CallKind::Aggregate(aggregate, _) => aggregate.text.clone(),
        CallKind::Lag { argument, offset, default } | CallKind::Lead { argument, offset, default } => {
            format!("{name}({argument}, {offset}, {default})")
        }
        CallKind::Number(_) => format!("{name}()"),
    };
    let list = |expressions: Vec<String>| expressions.join(", ");
    let partition = list(partition.iter().map(ToString::to_string).collect());
    let order = list(
        order
            .iter()
            .map(|key| format!("{}{}", key.expression, if key.descending { " DESC" } else { "" }))
            .collect(),
    );
    format!("{of} OVER (PARTITION BY {partition} ORDER BY {order})")
}
