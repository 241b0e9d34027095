//! Queries: `WITH`, `UNION`, `SELECT ... WHERE ... GROUP BY ... HAVING`, each a relation over nodes of the plan.

use std::collections::BTreeMap;

use sqlparser::ast::{
    Distinct, Expr, Query, Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned,
};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::super::statement::{CreateView, Insert, Script};
use super::apart;
use super::expression::null;
use super::graph::{GraphBuilder, column};
use super::rank_limit::{self, Limits};
use super::relation::{Relation, of_node};
use super::scope::{Binder, Role, ScopeColumn};
use super::sink::Target;
use super::types;
use crate::plan::{Column, Emit, Expression, Operator, StateBound};
use crate::value::Value;

/// Queries inside one another are no deeper than this.
const MAX_DEPTH: usize = 32;

/// Binds the queries of one statement into the plan.
pub(super) struct QueryBinder<'s> {
    pub(super) script: &'s Script,
    pub(super) graph: &'s mut GraphBuilder,
    /// What the statement says about state that would grow for ever.
    pub(super) bound: Option<StateBound>,
    /// When windows give their rows.
    pub(super) emit: Emit,
    /// Nothing is said of when windows give rows.
    pub(super) emits_freely: bool,
    /// Whether there is something that gives rows when the statement says.
    pub(super) emits: bool,
    /// Common tables in sight, the innermost last.
    common: Vec<(String, Relation)>,
    /// What the `WHERE` of the query around a table says of ranks.
    limits: Limits,
    /// The names of the views that are being bound.
    views: Vec<String>,
    /// The rows of the views that were bound before, so that a view read twice by a view read twice is still bound
    /// once.
    bound_views: BTreeMap<String, Relation>,
    depth: usize,
}

/// A column that a `SELECT` gives.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) expression: Expression,
    pub(super) role: Role,
    pub(super) at: Location,
}

impl<'s> QueryBinder<'s> {
    pub(super) fn new(script: &'s Script, graph: &'s mut GraphBuilder, insert: &Insert) -> Self {
        let bound = insert.bound;
        let emit = insert.emit.map_or(Emit::OnClose, |(emit, _)| emit);
        Self {
            script,
            graph,
            bound,
            emit,
            emits_freely: insert.emit.is_none(),
            emits: false,
            common: Vec::new(),
            limits: Limits::new(),
            views: Vec::new(),
            bound_views: BTreeMap::new(),
            depth: 0,
        }
    }

    /// A common table that is in sight.
    pub(super) fn common_table(&self, name: &str) -> Option<Relation> {
        self.common.iter().rev().find(|(known, _)| known == name).map(|(_, relation)| relation.clone())
    }

    /// The rows of a view.
    pub(super) fn bind_view(&mut self, view: &'s CreateView, at: Location) -> Result<Relation, SqlError> {
        let name = &view.name.value;
        // What the statement says of state and of emitting is the same for all of it, and what stands around a view
        // does not change its rows.
        if let Some(relation) = self.bound_views.get(name) {
            return Ok(relation.clone());
        }
        if self.views.contains(name) {
            return Err(SqlError::at(
                at,
                format!("view `{name}` reads itself"),
                "take the view out of its own query",
            ));
        }
        self.views.push(name.clone());
        // A view sees no common tables of the query it is used in.
        let common = std::mem::take(&mut self.common);
        let relation = self.bind_query_unranked(&view.query, at);
        self.common = common;
        self.views.pop();
        let relation = relation?;
        if !view.columns.is_empty() && view.columns.len() != relation.columns.len() {
            return Err(SqlError::at(
                view.columns[0].span.start,
                format!("{} names for {} columns of `{name}`", view.columns.len(), relation.columns.len()),
                "give each column a name, or none of them",
            ));
        }
        let mut relation = relation.named(name);
        for (column, given) in relation.columns.iter_mut().zip(&view.columns) {
            column.name.clone_from(&given.value);
        }
        self.bound_views.insert(name.clone(), relation.clone());
        Ok(relation)
    }

    /// The rows of a query whose rank, if it has one, the query around it may bound.
    pub(super) fn bind_query_unranked(&mut self, query: &Query, at: Location) -> Result<Relation, SqlError> {
        self.bind_query_into(query, at, None)
    }

    /// A relation of `FROM`, its rank bounded by the `WHERE` behind it.
    pub(super) fn ranked_from(&mut self, relation: Relation) -> Result<Relation, SqlError> {
        let limits = std::mem::take(&mut self.limits);
        let ranked = self.ranked(relation, &limits);
        self.limits = limits;
        ranked
    }

    /// The rows of a query; those of the outermost `SELECT` as its table wants them.
    pub(super) fn bind_query_into(
        &mut self,
        query: &Query,
        at: Location,
        target: Option<&Target<'_>>,
    ) -> Result<Relation, SqlError> {
        if self.depth == MAX_DEPTH {
            return Err(SqlError::at(
                at,
                format!("queries are more than {MAX_DEPTH} levels deep"),
                "name parts of it: CREATE VIEW <name> AS SELECT ...",
            ));
        }
        self.depth += 1;
        let known = self.common.len();
        let relation = self.bind_common(query, at).and_then(|()| self.bind_body(&query.body, at, target));
        self.common.truncate(known);
        self.depth -= 1;
        relation
    }

    fn bind_common(&mut self, query: &Query, at: Location) -> Result<(), SqlError> {
        refuse_around(query, at)?;
        let Some(with) = &query.with else { return Ok(()) };
        if with.recursive {
            return Err(SqlError::at(
                with.with_token.0.span.start,
                "WITH RECURSIVE is not supported",
                "write the query without recursion",
            ));
        }
        for table in &with.cte_tables {
            let name = &table.alias.name;
            let mut relation = self.bind_query_unranked(&table.query, name.span.start)?.named(&name.value);
            let names = &table.alias.columns;
            if !names.is_empty() && names.len() != relation.columns.len() {
                return Err(SqlError::at(
                    name.span.start,
                    format!("{} names for {} columns of `{name}`", names.len(), relation.columns.len()),
                    "give each column a name, or none of them",
                ));
            }
            for (column, given) in relation.columns.iter_mut().zip(names) {
                column.name.clone_from(&given.name.value);
            }
            self.common.push((name.value.clone(), relation));
        }
        Ok(())
    }

    fn bind_body(
        &mut self,
        body: &SetExpr,
        at: Location,
        target: Option<&Target<'_>>,
    ) -> Result<Relation, SqlError> {
        match body {
            SetExpr::Select(select) => self.bind_select(select, target),
            SetExpr::Query(query) => self.bind_query_into(query, at, target),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } => {
                let [left, right] = [left, right].map(|side| {
                    let side = self.bind_body(side, at, None)?;
                    self.ranked(side, &Limits::new())
                });
                let (left, right) = (left?, right?);
                let all = self.union(left, right, at)?;
                match set_quantifier {
                    SetQuantifier::All => Ok(all),
                    SetQuantifier::None | SetQuantifier::Distinct => self.distinct(all, at),
                    other => {
                        Err(SqlError::at(at, format!("UNION {other} is not supported"), "write UNION ALL"))
                    }
                }
            }
            SetExpr::SetOperation { op, right, .. } => Err(SqlError::at(
                start_or(right.span(), at),
                format!("{op} is not supported"),
                "write it as a join, or as UNION ALL with GROUP BY",
            )),
            SetExpr::Values(_) => Err(SqlError::at(at, "VALUES is not supported", self.query_help())),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(SqlError::at(at, "a query reads rows, and changes none", self.query_help()))
            }
            _ => Err(SqlError::at(at, "this kind of query is not supported", self.query_help())),
        }
    }

    /// What to write in the place of what is no query.
    fn query_help(&self) -> &'static str {
        match self.script.given {
            Some(_) => "write SELECT ... FROM <table> WHERE ...",
            None => "write INSERT INTO ... SELECT ... FROM <table>",
        }
    }

    fn union(&mut self, left: Relation, right: Relation, at: Location) -> Result<Relation, SqlError> {
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::at(
                at,
                format!("UNION of {} and {} columns", left.columns.len(), right.columns.len()),
                "select the same number of columns on both sides",
            ));
        }
        let mut wanted = Vec::new();
        for (index, (left_column, right_column)) in left.columns.iter().zip(&right.columns).enumerate() {
            let types = [&left, &right].map(|side| self.of_side(side, index));
            wanted.push(types::common_type(types.iter()).ok_or_else(|| {
                SqlError::at(
                    at,
                    format!(
                        "column `{}` of the UNION is a {} on one side and a {} on the other",
                        left_column.name, left_column.data_type, right_column.data_type
                    ),
                    format!("write CAST(... AS {}) on one side", left_column.data_type),
                )
            })?);
        }
        let columns: Vec<Column> =
            left.columns.iter().zip(&wanted).map(|(known, wanted)| column(&*known.name, *wanted)).collect();
        let mut inputs = Vec::new();
        for side in [&left, &right] {
            let outputs = wanted.iter().enumerate().map(|(index, wanted)| {
                let column = of_node(self.graph.columns(side.node), index);
                let column = if column.data_type() == *wanted { column } else { self.of_side(side, index) };
                types::coerce(column, *wanted).expect("the common type is reached")
            });
            let operator = Operator::Map { filter: None, outputs: outputs.collect() };
            let changes = self.graph.changes(side.node);
            inputs.push(self.graph.node(operator, vec![side.node], columns.clone(), changes));
        }
        let changes = inputs.iter().any(|input| self.graph.changes(*input));
        let node = self.graph.node(Operator::Union, inputs, columns.clone(), changes);
        let mut union = Relation::new(node, None, self.graph);
        union.key = apart::union_key([&left, &right], self.graph, node);
        union.apart.lost = changes && union.key.is_none();
        for (column, (left, right)) in union.columns.iter_mut().zip(left.columns.iter().zip(&right.columns)) {
            if left.role == right.role {
                column.role = left.role;
            }
        }
        Ok(union)
    }

    /// A column of a side of a `UNION`; a `NULL` that was selected there takes any type still,
    /// also `CAST(NULL AS STRING)`, which is the same in the plan.
    fn of_side(&self, side: &Relation, index: usize) -> Expression {
        let column = of_node(self.graph.columns(side.node), index);
        let constants = self.graph.constants(side.node, index).unwrap_or_default();
        let is_null = !constants.is_empty() && constants.iter().all(|value| *value == Value::Null);
        if is_null && null().data_type() == column.data_type() { null() } else { column }
    }

    /// One `SELECT`.
    fn bind_select(&mut self, select: &Select, target: Option<&Target<'_>>) -> Result<Relation, SqlError> {
        let at = select.select_token.0.span.start;
        refuse_extras(select)?;
        let around = std::mem::replace(&mut self.limits, rank_limit::limits(select));
        let from = match super::join::is_join(&select.from) {
            true => self.bind_joined(&select.from, select.selection.as_ref(), at),
            false => self.bind_from(&select.from, at),
        };
        self.limits = around;
        match super::join::is_join(&select.from) {
            // What WHERE says is in the joins.
            true => self.bind_select_from(&Select { selection: None, ..select.clone() }, from?, target),
            false => self.bind_select_from(select, from?, target),
        }
    }

    /// One `SELECT` over the rows of its `FROM`.
    fn bind_select_from(
        &mut self,
        select: &Select,
        mut from: Relation,
        target: Option<&Target<'_>>,
    ) -> Result<Relation, SqlError> {
        let at = select.select_token.0.span.start;
        if super::group::is_grouped(select, &from, &self.script.functions, at) {
            return self.bind_grouped(select, from, target, at);
        }
        from = self.assigned(from, at)?;
        let mut binder = Binder::new(&from.columns, at).with_functions(&self.script.functions);
        let filter = match &select.selection {
            Some(condition) => Some(binder.bind_condition(condition, "WHERE")?),
            None => None,
        };
        let filter = rank_limit::without_implied(filter, &from);
        binder.over = Some(Vec::new());
        let items = bind_items(&mut binder, select, &from.columns)?;
        let calls = binder.over.take().unwrap_or_default();
        let relation = match calls.is_empty() {
            true => self.project(&from, filter, items, target, at)?,
            false => self.select_over(&from, filter, items, calls, target, at)?,
        };
        match select.distinct {
            None => Ok(relation),
            Some(_) => {
                let relation = self.ranked(relation, &Limits::new())?;
                self.distinct(relation, at)
            }
        }
    }

    /// The relation with its windows in columns.
    pub(super) fn assigned(&mut self, relation: Relation, at: Location) -> Result<Relation, SqlError> {
        match relation.windows {
            Some(super::relation::Windows::Session { .. }) => Err(SqlError::at(
                at,
                "sessions are known only when they are over",
                "group by them: GROUP BY window_start, window_end, <columns>",
            )),
            Some(super::relation::Windows::Fixed { kind, .. }) => {
                super::from::few_windows(kind, "each row is copied into every window it lies in", at)?;
                Ok(relation.assigned(self.graph))
            }
            None => Ok(relation.assigned(self.graph)),
        }
    }

    /// A node that keeps the rows for which the filter is true and gives these columns of them.
    pub(super) fn project(
        &mut self,
        from: &Relation,
        filter: Option<Expression>,
        items: Vec<Item>,
        target: Option<&Target<'_>>,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let items = match target {
            Some(target) => target.arrange(items, at)?,
            None => items,
        };
        let place = |index: usize| {
            let is_it =
                |item: &Item| matches!(item.expression, Expression::Column { index: i, .. } if i == index);
            items.iter().position(is_it)
        };
        let (key, apart) = apart::projected(self.graph, from, &items);
        let node_columns = self.graph.columns(from.node).to_vec();
        let mut columns: Vec<Column> =
            items.iter().map(|item| column(&*item.name, item.expression.data_type())).collect();
        let mut outputs: Vec<Expression> = items.iter().map(|item| item.expression.clone()).collect();
        let mut record_key = Vec::new();
        for (name, index) in &from.record_key {
            let found = place(*index).unwrap_or_else(|| {
                outputs.push(of_node(&node_columns, *index));
                columns.push(column(format!("key.{name}"), node_columns[*index].data_type));
                outputs.len() - 1
            });
            record_key.push((name.clone(), found));
        }
        let changes = self.graph.changes(from.node);
        let node = self.graph.node(Operator::Map { filter, outputs }, vec![from.node], columns, changes);
        let columns = items.into_iter().map(|item| ScopeColumn {
            table: None,
            data_type: item.expression.data_type(),
            name: item.name,
            role: item.role,
            merged: false,
        });
        let columns = columns.collect();
        Ok(Relation { node, columns, windows: None, key, apart, record_key, pending: None, ranked: None })
    }
}

/// The select list.
pub(super) fn bind_items(
    binder: &mut Binder<'_>,
    select: &Select,
    columns: &[ScopeColumn],
) -> Result<Vec<Item>, SqlError> {
    let at = select.select_token.0.span.start;
    let mut items: Vec<Item> = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let expression = binder.bind(expr)?;
                let name = match (&expression, expr) {
                    (_, Expr::Identifier(name)) => name.value.clone(),
                    (_, Expr::CompoundIdentifier(parts)) => parts[parts.len() - 1].value.clone(),
                    (Expression::Column { name, .. }, _) => name.clone(),
                    _ => format!("column{}", items.len() + 1),
                };
                items.push(new_item(binder, name, expression, binder.locate(expr)));
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let expression = binder.bind(expr)?;
                items.push(new_item(binder, alias.value.clone(), expression, binder.locate(expr)));
            }
            SelectItem::Wildcard(options) => {
                let star_at = options.wildcard_token.0.span.start;
                all_columns(binder, columns, None, star_at, &mut items)?;
            }
            SelectItem::QualifiedWildcard(
                sqlparser::ast::SelectItemQualifiedWildcardKind::ObjectName(table),
                _,
            ) => {
                let star_at = start_or(item.span(), at);
                let table = super::from::simple_name(table, star_at)?;
                all_columns(binder, columns, Some(&table.value), star_at, &mut items)?;
            }
            _ => {
                return Err(SqlError::at(
                    start_or(item.span(), at),
                    format!("`{item}` is not supported here"),
                    "write the columns one by one, or `*` for all",
                ));
            }
        }
    }
    Ok(items)
}

fn new_item(binder: &Binder<'_>, name: String, expression: Expression, at: Location) -> Item {
    let role = binder.item_role(&expression);
    Item { name, expression, role, at }
}

fn all_columns(
    binder: &Binder<'_>,
    columns: &[ScopeColumn],
    table: Option<&str>,
    at: Location,
    items: &mut Vec<Item>,
) -> Result<(), SqlError> {
    if binder.groups.is_some() {
        return Err(SqlError::at(at, "`*` of groups has no meaning", "write the columns one by one"));
    }
    let before = items.len();
    for (index, known) in columns.iter().enumerate() {
        let is_meant = match table {
            Some(table) => known.table.as_deref() == Some(table),
            None => !known.merged,
        };
        if is_meant {
            items.push(new_item(binder, known.name.clone(), binder.column(index), at));
        }
    }
    match table {
        Some(table) if items.len() == before => {
            Err(SqlError::at(at, format!("there is no table `{table}` in FROM"), "write `*` for all columns"))
        }
        _ => Ok(()),
    }
}

/// Everything around the body of a query that the language lacks, refused by name.
fn refuse_around(query: &Query, at: Location) -> Result<(), SqlError> {
    let refuse = |at: Location, what: &str, help: &str| {
        Err(SqlError::at(at, format!("{what} is not supported"), help))
    };
    if let Some(order_by) = &query.order_by {
        return refuse(
            start_or(order_by.span(), at),
            "ORDER BY",
            "leave it out: a stream has no last row to sort by; for the first of each group use ROW_NUMBER()",
        );
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        let at = query.limit_clause.as_ref().map_or(at, |clause| start_or(clause.span(), at));
        return refuse(
            at,
            "LIMIT",
            "leave it out: a stream has no end; for the first of each group use ROW_NUMBER()",
        );
    }
    let others = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    match others {
        true => refuse(at, "what follows the query", "end the query after GROUP BY and HAVING"),
        false => Ok(()),
    }
}

fn refuse_extras(select: &Select) -> Result<(), SqlError> {
    let at = select.select_token.0.span.start;
    let refuse = |what: &str, help: &str| Err(SqlError::at(at, format!("{what} is not supported"), help));
    if let Some(Distinct::On(_)) = select.distinct {
        return refuse(
            "DISTINCT ON",
            "number the rows: ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) = 1",
        );
    }
    if let Some(qualify) = &select.qualify {
        let help = "write the condition around the query: SELECT * FROM (SELECT ...) WHERE ...";
        return Err(SqlError::at(start_or(qualify.span(), at), "QUALIFY is not supported", help));
    }
    if !select.named_window.is_empty() {
        return refuse("WINDOW", "write the window after OVER");
    }
    let others = select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
        || select.select_modifiers.is_some()
        || select.flavor != SelectFlavor::Standard;
    match others {
        true => {
            refuse("this form of SELECT", "write SELECT ... FROM ... [WHERE ...] [GROUP BY ...] [HAVING ...]")
        }
        false => Ok(()),
    }
}

pub(super) fn start_or(span: sqlparser::tokenizer::Span, fallback: Location) -> Location {
    if span.start.line == 0 { fallback } else { span.start }
}
