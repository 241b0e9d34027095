//! `SELECT` over the rows of one table as they are: a query that has an end, unlike those of pipelines.

use sqlparser::ast::{
    Expr, Ident, LimitClause, OrderByKind, OrderBySort, Query, Select, SelectItem, SetExpr, Spanned, Value,
};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::super::statement::{GivenTable, Insert, Script};
use super::empty_group::EMPTY_ROW_TOPIC;
use super::graph::GraphBuilder;
use super::query::{QueryBinder, start_or};
use super::relation::Relation;
use crate::plan::{
    self, Column, Compression, DebeziumFormat, Format, Operator, OutputMode, Plan, RecordFormat, Sink,
    SinkErrorPolicy, StateBound,
};

/// The topic that the rows of the query go to.
pub(crate) const RESULT_TOPIC: &str = "result";
const START: Location = Location { line: 1, column: 1 };
/// How columns are called that serve the order only.
const HIDDEN: &str = "order by ";

/// A query, ready to run over the records of its table.
#[derive(Debug)]
pub(crate) struct BoundSelect {
    pub(crate) plan: Plan,
    /// The names of the columns that are shown. Those of the plan's sink are numbers, and behind these stand others
    /// that serve the order.
    pub(crate) names: Vec<String>,
    pub(crate) order: Vec<SelectOrder>,
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
}

/// A column that the rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SelectOrder {
    pub(crate) column: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Binds a query over one of some tables.
pub(in super::super) fn bind_select(
    tables: Vec<GivenTable>,
    mut query: Box<Query>,
) -> Result<BoundSelect, SqlError> {
    let script = Script { given: Some(tables), ..Script::default() };
    let (offset, limit) = limits(&mut query)?;
    let order_by = query.order_by.take();
    let mut graph = GraphBuilder::new();
    let names = names(&bind(&script, &mut graph, &query)?.0);
    let mut order = Vec::new();
    if let Some(order_by) = order_by {
        let OrderByKind::Expressions(keys) = &order_by.kind else {
            return Err(SqlError::at(
                start_or(order_by.span(), START),
                "ORDER BY ALL is not supported",
                "name columns",
            ));
        };
        let mut hidden = 0;
        for key in keys {
            let descending = key.options.sort == Some(OrderBySort::Desc);
            let column = match shown_column(&key.expr, &names)? {
                Some(column) => column,
                None => {
                    add_hidden(&mut query, &key.expr, hidden)?;
                    hidden += 1;
                    names.len() + hidden - 1
                }
            };
            let nulls_first = key.options.nulls_first.unwrap_or(!descending);
            order.push(SelectOrder { column, descending, nulls_first });
        }
    }
    let mut graph = GraphBuilder::new();
    let (relation, changes) = bind(&script, &mut graph, &query)?;
    // What rows take back others is told by the rows themselves: nothing else has to tell them apart.
    let (mode, format) = match changes {
        true => (OutputMode::Retract, Format::Debezium(DebeziumFormat::default())),
        false => (OutputMode::Append, Format::json()),
    };
    let numbered = |(index, column): (usize, &super::scope::ScopeColumn)| {
        Column::of_value(&index.to_string(), column.data_type)
    };
    graph.sink(Sink {
        table: RESULT_TOPIC.to_owned(),
        input: relation.node,
        topic: RESULT_TOPIC.to_owned(),
        format: RecordFormat::of_value(format),
        columns: relation.columns.iter().enumerate().map(numbered).collect(),
        key: Vec::new(),
        mode,
        compression: Compression::None,
        on_error: SinkErrorPolicy::Fail,
    });
    let mut plan = graph.finish();
    plan::simplify(&mut plan);
    check_tables(&plan, &query)?;
    Ok(BoundSelect { plan, names, order, offset, limit })
}

fn bind(script: &Script, graph: &mut GraphBuilder, query: &Query) -> Result<(Relation, bool), SqlError> {
    let insert = Insert {
        at: START,
        table: Ident::new(RESULT_TOPIC),
        columns: Vec::new(),
        query: Box::new(query.clone()),
        emit: None,
        // There is an end to the rows.
        bound: Some(StateBound::Unbounded),
    };
    let mut binder = QueryBinder::new(script, graph, &insert);
    let relation = binder.bind_query_into(query, START, None)?;
    let relation = binder.ranked(relation, &super::rank_limit::Limits::new())?;
    let relation = binder.assigned(relation, START)?;
    let changes = graph.changes(relation.node);
    Ok((relation, changes))
}

fn names(relation: &Relation) -> Vec<String> {
    relation.columns.iter().map(|column| column.name.clone()).collect()
}

/// `LIMIT` and `OFFSET`, taken off the query.
fn limits(query: &mut Query) -> Result<(usize, Option<usize>), SqlError> {
    let whole = |expr: &Expr| {
        let number = match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => digits.parse().ok(),
                _ => None,
            },
            _ => None,
        };
        let at = start_or(expr.span(), START);
        number.ok_or_else(|| {
            SqlError::at(at, format!("`{expr}` is not a whole number"), "write LIMIT 10 OFFSET 20")
        })
    };
    if let Some(fetch) = query.fetch.take() {
        let at = fetch.quantity.as_ref().map_or(START, |quantity| start_or(quantity.span(), START));
        return Err(SqlError::at(at, "FETCH is not supported", "write LIMIT 10"));
    }
    match query.limit_clause.take() {
        None => Ok((0, None)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            let offset = offset.map(|offset| whole(&offset.value)).transpose()?;
            Ok((offset.unwrap_or(0), limit.as_ref().map(whole).transpose()?))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => Ok((whole(&offset)?, Some(whole(&limit)?))),
        Some(LimitClause::LimitOffset { .. }) => {
            Err(SqlError::at(START, "LIMIT BY is not supported", "write LIMIT 10 OFFSET 20"))
        }
    }
}

/// The column of the result that an `ORDER BY` names, by name or by number.
fn shown_column(expr: &Expr, names: &[String]) -> Result<Option<usize>, SqlError> {
    match expr {
        Expr::Identifier(name) => Ok(names.iter().position(|known| *known == name.value)),
        Expr::Value(value) => {
            let place = match &value.value {
                Value::Number(digits, _) => digits.parse::<usize>().ok(),
                _ => None,
            };
            let place = place.filter(|place| (1..=names.len()).contains(place));
            place.map(|place| Some(place - 1)).ok_or_else(|| {
                SqlError::at(
                    start_or(expr.span(), START),
                    format!("`{expr}` is no column of the result"),
                    format!("write a column's name, an expression, or a number from 1 to {}", names.len()),
                )
            })
        }
        _ => Ok(None),
    }
}

/// Selects an expression that the rows are ordered by, behind the columns that are shown.
fn add_hidden(query: &mut Query, expr: &Expr, index: usize) -> Result<(), SqlError> {
    let at = start_or(expr.span(), START);
    let refuse = || {
        let help = "order by the names of columns that are selected";
        Err(SqlError::at(at, "this is not a column of the result", help))
    };
    let SetExpr::Select(select) = &mut *query.body else { return refuse() };
    if select.distinct.is_some() {
        return refuse();
    }
    let Select { projection, .. } = &mut **select;
    projection.push(SelectItem::ExprWithAlias {
        expr: expr.clone(),
        alias: Ident::with_quote('`', format!("{HIDDEN}{index}")),
    });
    Ok(())
}

fn check_tables(plan: &Plan, query: &Query) -> Result<(), SqlError> {
    let joins = |operator: &Operator| matches!(operator, Operator::Join(_) | Operator::TemporalJoin(_));
    let is_table = |operator: &Operator| match operator {
        Operator::Source { source } => plan.sources[*source].topic != EMPTY_ROW_TOPIC,
        _ => false,
    };
    let tables = plan.nodes.iter().filter(|node| is_table(&node.operator)).count();
    match tables == 1 && !plan.nodes.iter().any(|node| joins(&node.operator)) {
        true => Ok(()),
        false => Err(SqlError::at(
            start_or(query.body.span(), START),
            "a query reads the rows of one table",
            "join in a pipeline: INSERT INTO <table> SELECT ... FROM a JOIN b ON ...",
        )),
    }
}
