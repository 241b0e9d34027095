//! `GROUP BY`, `HAVING` and `DISTINCT`: over windows that close, over sessions, or without a window.

use sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::graph::{WindowsBefore, column};
use super::query::{Item, QueryBinder, bind_items};
use super::relation::{Relation, WINDOW_COLUMNS, Windows, of_node};
use super::scope::{Binder, BoundAggregate, Groups, NamedExpression, Role, ScopeColumn};
use super::sink::Target;
use super::{empty_group, literal, session_keys};
use crate::functions::Functions;
use crate::plan::{
    Aggregate, Column, Emit, Expression, Grouping, Operator, SessionAggregate, WindowAggregate, WindowKind,
    WindowOf,
};
use crate::value::{DataType, Value};

/// Whether a `SELECT` gives rows of groups.
pub(super) fn is_grouped(select: &Select, from: &Relation, functions: &Functions, at: Location) -> bool {
    let keys = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, modifiers) => !keys.is_empty() || !modifiers.is_empty(),
    };
    let aggregated = |item: &SelectItem| has_aggregate(item, from, functions, at);
    keys || select.having.is_some() || select.projection.iter().any(aggregated)
}

fn has_aggregate(item: &SelectItem, from: &Relation, functions: &Functions, at: Location) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    let mut binder = Binder::new(&from.columns, at).with_functions(functions);
    binder.enter_groups(Groups::default());
    // Whether it can be bound shows later: here only whether it got as far as an aggregate.
    let _ = binder.bind(expr);
    binder.leave_groups().called
}

/// Which windows a group belongs to.
enum GroupWindow {
    None,
    Fixed(crate::plan::WindowKind, usize),
    Session { gap_ms: i64, time: usize },
    Given { start: usize, end: usize },
}

/// A grouped `SELECT`, its names looked up.
struct BoundGroups {
    /// `WHERE`.
    filter: Option<Expression>,
    /// The bounds of the window, if there is one, and behind them what else is in `GROUP BY`.
    keys: Vec<NamedExpression>,
    /// How many keys are bounds.
    plain: usize,
    bounds: Option<Bounds>,
    aggregates: Vec<BoundAggregate>,
    having: Option<Expression>,
    items: Vec<Item>,
    /// Where it is grouped.
    at: Location,
}

impl BoundGroups {
    /// Whether rows, and not only the bounds of groups, name the windows of `FROM`, which are in no column yet.
    fn needs_windows(&self, from: &Relation) -> bool {
        if from.windows.is_none() {
            return false;
        }
        let width = from.columns.len() - WINDOW_COLUMNS.len();
        let mut found = self.bounds.is_none();
        let keys = self.keys[self.plain..].iter().map(|key| &key.expression);
        let operands = self.aggregates.iter().flat_map(BoundAggregate::operands);
        for expression in self.filter.iter().chain(keys).chain(operands) {
            expression.for_each_column(&mut |index| found |= index >= width);
        }
        found
    }
}

/// The expressions an aggregate reads, as the columns of the node before it.
#[derive(Default)]
struct Inputs {
    expressions: Vec<(String, Expression)>,
}

impl Inputs {
    fn add(&mut self, name: impl Into<String>, expression: &Expression) -> usize {
        self.expressions.iter().position(|(_, known)| known == expression).unwrap_or_else(|| {
            self.expressions.push((name.into(), expression.clone()));
            self.expressions.len() - 1
        })
    }
}

impl QueryBinder<'_> {
    pub(super) fn bind_grouped(
        &mut self,
        select: &Select,
        from: Relation,
        target: Option<&Target<'_>>,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let mut from = from;
        let mut bound = self.bind_groups(select, &from, at)?;
        if bound.needs_windows(&from) {
            if let Some(Windows::Session { .. }) = from.windows
                && bound.bounds.is_some()
            {
                return Err(SqlError::at(
                    bound.at,
                    "this reads the bounds of sessions, which are known only when these are over",
                    "read them behind the groups: in SELECT or HAVING, or in a query around this one: \
                     SELECT ... FROM (SELECT window_start, window_end, ... GROUP BY window_start, window_end, <columns>)",
                ));
            }
            from = self.assigned(from, at)?;
            bound = self.bind_groups(select, &from, at)?;
        }
        let window = group_window(&from, bound.bounds.is_some());
        let BoundGroups { filter, keys, aggregates, having, items, at: group_at, .. } = bound;
        let grouped = self.aggregate(&from, filter, &keys, &aggregates, window, group_at)?;
        let relation = self.project(&grouped, having, items, target, at)?;
        match select.distinct {
            None => Ok(relation),
            Some(_) => self.distinct(relation, at),
        }
    }

    /// The expressions of a grouped `SELECT`.
    fn bind_groups(
        &mut self,
        select: &Select,
        from: &Relation,
        at: Location,
    ) -> Result<BoundGroups, SqlError> {
        let mut binder = Binder::new(&from.columns, at).with_functions(&self.script.functions);
        let filter = match &select.selection {
            Some(condition) => Some(binder.bind_condition(condition, "WHERE")?),
            None => None,
        };
        let filter = super::rank_limit::without_implied(filter, from);
        let (keys, bounds) = bind_keys(&mut binder, select)?;
        let group_at = first_key(select, &binder).unwrap_or(at);
        if let Some(bounds) = &bounds {
            bounds.check(&self.graph.windows_before(from.node), from.windows.as_ref())?;
            session_keys::check(from, &keys, group_at)?;
        }
        let mut groups = Groups::default();
        if !matches!(group_window(from, bounds.is_some()), GroupWindow::None) {
            groups.keys.extend(window_keys(from));
        }
        let plain = groups.keys.len();
        groups.keys.extend(keys);
        binder.enter_groups(groups);
        let having = match &select.having {
            Some(condition) => Some(binder.bind_condition(condition, "HAVING")?),
            None => None,
        };
        let items = bind_items(&mut binder, select, &from.columns)?;
        let Groups { keys, aggregates, .. } = binder.leave_groups();
        Ok(BoundGroups { filter, keys, plain, bounds, aggregates, having, items, at: group_at })
    }

    /// The node of an aggregate. Its row is the keys, then the aggregates.
    fn aggregate(
        &mut self,
        from: &Relation,
        filter: Option<Expression>,
        keys: &[NamedExpression],
        aggregates: &[BoundAggregate],
        window: GroupWindow,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let mut inputs = Inputs::default();
        let node_columns = self.graph.columns(from.node).to_vec();
        let of_input = |inputs: &mut Inputs, index: usize| {
            inputs.add(node_columns[index].name.clone(), &of_node(&node_columns, index))
        };
        let bounds = if matches!(window, GroupWindow::None) { 0 } else { 2 };
        let window_of = match window {
            GroupWindow::Fixed(kind, time) => {
                Some(WindowOf::Assigned { kind, time: of_input(&mut inputs, time) })
            }
            GroupWindow::Given { start, end } => {
                Some(WindowOf::Given { start: of_input(&mut inputs, start), end: of_input(&mut inputs, end) })
            }
            GroupWindow::Session { time, .. } => {
                of_input(&mut inputs, time);
                None
            }
            GroupWindow::None => None,
        };
        // A query has an answer where there are no rows, too.
        let is_whole = self.script.given.is_some() && keys.is_empty();
        let every_row = literal::literal(Value::Boolean(true), DataType::Boolean);
        let plain: Vec<usize> =
            keys[bounds..].iter().map(|key| inputs.add(key.name.clone(), &key.expression)).collect();
        let placed: Vec<Aggregate> = aggregates
            .iter()
            .map(|aggregate| {
                let argument =
                    aggregate.argument.as_ref().map(|argument| inputs.add(argument.to_string(), argument));
                let filter = aggregate.filter.as_ref().or(is_whole.then_some(&every_row));
                let filter = filter.map(|filter| inputs.add(filter.to_string(), filter));
                aggregate.placed(argument, filter)
            })
            .collect();
        let changes = self.graph.changes(from.node);
        let kept = placed.iter().find(|aggregate| changes && !aggregate.can_take_back());
        if let Some(kept) = kept {
            return Err(SqlError::at(
                at,
                format!("{} of rows that may be taken back is not supported", kept.name()),
                "aggregate rows that are only added, or use COUNT, SUM, MIN, MAX, AVG, ANY_VALUE or another exact \
                 aggregate",
            ));
        }
        let mut input = self.inputs(from.node, filter, inputs, changes);
        if is_whole {
            input = empty_group::beside(self.graph, input, &placed);
        }
        let mut row: Vec<Column> =
            keys.iter().map(|key| column(&*key.name, key.expression.data_type())).collect();
        row.extend(placed.iter().map(|aggregate| column(&*aggregate.text, aggregate.data_type())));
        let (operator, changes) = match (window, window_of) {
            (GroupWindow::Session { gap_ms, .. }, _) => {
                if changes {
                    return Err(SqlError::at(
                        at,
                        "sessions of rows that may be taken back are not supported",
                        "build the sessions of rows that are only added, or group without a window",
                    ));
                }
                if let Emit::OnCloseAndLate { .. } = self.emit {
                    return Err(SqlError::at(
                        at,
                        "sessions that are over do not change",
                        "leave ALLOWING LATENESS out, and let the WATERMARK of the table wait longer",
                    ));
                }
                self.emits = true;
                let emit = self.emit;
                // The time is the first of the inputs.
                let operator = SessionAggregate { time: 0, gap_ms, keys: plain, aggregates: placed, emit };
                (Operator::SessionAggregate(operator), emit != Emit::OnClose)
            }
            (_, Some(window)) => {
                self.emits = true;
                let emit = self.emit;
                if let (WindowOf::Assigned { kind, .. }, Emit::Changes) = (window, emit) {
                    super::from::few_windows(kind, "each of them changes with it", at)?;
                }
                let changing = emit != Emit::OnClose;
                let alone = matches!(
                    window,
                    WindowOf::Given { .. } | WindowOf::Assigned { kind: WindowKind::Tumble { .. }, .. }
                );
                let emit = match self.emits_freely && placed.is_empty() && alone && !changes {
                    // What such a group says is known with its first row: nobody has to wait for it.
                    true => Emit::AtOnce,
                    false => emit,
                };
                let operator = WindowAggregate { window, keys: plain, aggregates: placed, emit };
                (Operator::WindowAggregate(operator), changing)
            }
            (_, None) => {
                self.emits |= self.emit == Emit::Changes;
                let bound = self.bound.ok_or_else(|| unbounded(at))?;
                (Operator::GroupAggregate(Grouping { keys: plain, aggregates: placed, bound }), true)
            }
        };
        let node = self.graph.node(operator, vec![input], row, changes);
        let mut relation = Relation::new(node, None, self.graph);
        relation.key = Some((0..keys.len()).collect());
        if bounds > 0 {
            relation.apart.bounds = telling(&self.graph.windows_before(from.node), from.windows.as_ref());
        }
        relation.record_key =
            keys.iter().enumerate().skip(bounds).map(|(index, key)| (key.name.clone(), index)).collect();
        if changes && bounds > 0 {
            // A record replaces that of the same window only.
            let named = keys.iter().enumerate().map(|(index, key)| (key.name.clone(), index));
            relation.record_key = named.collect();
        }
        Ok(relation)
    }

    /// The node before an aggregate.
    fn inputs(&mut self, from: usize, filter: Option<Expression>, inputs: Inputs, changes: bool) -> usize {
        let columns =
            inputs.expressions.iter().map(|(name, expression)| column(&**name, expression.data_type()));
        let columns: Vec<Column> = columns.collect();
        let outputs = inputs.expressions.into_iter().map(|(_, expression)| expression).collect();
        self.graph.node(Operator::Map { filter, outputs }, vec![from], columns, changes)
    }

    /// Each row once.
    pub(super) fn distinct(&mut self, relation: Relation, at: Location) -> Result<Relation, SqlError> {
        let binder = Binder::new(&relation.columns, at);
        let given = group_window(&relation, relation.columns.iter().any(|column| column.role.is_window()));
        let bounds = match &given {
            GroupWindow::None => Vec::new(),
            _ => window_keys(&relation),
        };
        let named = |index: usize| NamedExpression {
            name: relation.columns[index].name.clone(),
            expression: binder.column(index),
        };
        let in_bounds = |key: &NamedExpression| bounds.iter().any(|bound| bound.expression == key.expression);
        let rest = (0..relation.columns.len()).map(named).filter(|key| !in_bounds(key));
        let keys: Vec<NamedExpression> = bounds.iter().cloned().chain(rest).collect();
        let grouped = self.aggregate(&relation, None, &keys, &[], given, at)?;
        let items = relation.columns.iter().enumerate().map(|(index, known)| {
            let expression = binder.column(index);
            let at_key = keys.iter().position(|key| key.expression == expression).expect("all are keys");
            Item {
                name: known.name.clone(),
                expression: of_node(self.graph.columns(grouped.node), at_key),
                role: if known.role.is_window() { known.role } else { Role::Plain },
                at,
            }
        });
        let items: Vec<Item> = items.collect();
        let mut grouped = grouped;
        grouped.record_key = Vec::new();
        self.project(&grouped, None, items, None, at)
    }
}

fn unbounded(at: Location) -> SqlError {
    SqlError::at(
        at,
        "these groups are never complete: their state grows with every new key",
        "group by a window (FROM TABLE(TUMBLE(...)) GROUP BY window_start, window_end, ...), \
         or end the statement with STATE TTL INTERVAL '1' DAY, or with UNBOUNDED",
    )
}

fn first_key(select: &Select, binder: &Binder<'_>) -> Option<Location> {
    match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.first().map(|key| binder.locate(key)),
        GroupByExpr::All(_) => None,
    }
}

/// Which windows the groups of a relation belong to.
fn group_window(from: &Relation, by_window: bool) -> GroupWindow {
    if !by_window {
        return GroupWindow::None;
    }
    match &from.windows {
        Some(Windows::Fixed { kind, time }) => GroupWindow::Fixed(*kind, *time),
        Some(Windows::Session { gap_ms, time, .. }) => GroupWindow::Session { gap_ms: *gap_ms, time: *time },
        None => {
            let find = |role| from.columns.iter().position(|column: &ScopeColumn| column.role == role);
            match (find(Role::WindowStart), find(Role::WindowEnd)) {
                (Some(start), Some(end)) => GroupWindow::Given { start, end },
                _ => GroupWindow::None,
            }
        }
    }
}

/// The bounds of the window as keys.
fn window_keys(from: &Relation) -> Vec<NamedExpression> {
    let key = |role, name: &str| {
        let index = from.columns.iter().position(|column| column.role == role)?;
        Some(NamedExpression {
            name: name.to_owned(),
            expression: Expression::Column {
                index,
                data_type: DataType::Timestamp,
                name: from.columns[index].name.clone(),
            },
        })
    };
    let bounds = [key(Role::WindowStart, "window_start"), key(Role::WindowEnd, "window_end")];
    bounds.into_iter().flatten().collect()
}

/// Which bounds of a window `GROUP BY` names.
struct Bounds {
    start: bool,
    end: bool,
    /// Where the first of them is named.
    at: Location,
}

impl Bounds {
    /// That they say which window it is, given what made the windows.
    fn check(&self, before: &WindowsBefore, assigned: Option<&Windows>) -> Result<(), SqlError> {
        let (start_tells, end_tells) = telling(before, assigned);
        let alone = match (self.start, self.end) {
            (true, false) if !start_tells => "window_start",
            (false, true) if !end_tells => "window_end",
            _ => return Ok(()),
        };
        Err(SqlError::at(
            self.at,
            format!("`{alone}` alone does not say which window a group is of"),
            "write GROUP BY window_start, window_end, <columns>",
        ))
    }
}

/// Whether the start of a window says which its end is, and its end which its start is, given what made the windows.
fn telling(before: &WindowsBefore, assigned: Option<&Windows>) -> (bool, bool) {
    let kinds = match assigned {
        Some(Windows::Fixed { kind, .. }) => std::slice::from_ref(kind),
        // One session of a key begins, and ends, at a time.
        Some(Windows::Session { .. }) => return (true, true),
        // Sessions of different keys begin together, or end together.
        None if before.sessions => return (false, false),
        None => before.kinds.as_slice(),
    };
    match kinds {
        [] => (false, false),
        // Windows that grow end at different times.
        [WindowKind::Cumulate { .. }] => (false, true),
        // Wherever they begin, windows of one length end that much later.
        [first, ..] => {
            let tells = kinds.iter().all(|kind| {
                !matches!(kind, WindowKind::Cumulate { .. }) && kind.size_ms() == first.size_ms()
            });
            (tells, tells)
        }
    }
}

/// The keys of `GROUP BY` beside the window, and the window's bounds, if they are among them.
fn bind_keys(
    binder: &mut Binder<'_>,
    select: &Select,
) -> Result<(Vec<NamedExpression>, Option<Bounds>), SqlError> {
    let at = select.select_token.0.span.start;
    let help = "write GROUP BY window_start, window_end, <columns>";
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else {
        return Err(SqlError::at(at, "GROUP BY ALL is not supported", help));
    };
    if !modifiers.is_empty() {
        return Err(SqlError::at(at, "GROUP BY with a modifier is not supported", help));
    }
    let mut keys: Vec<NamedExpression> = Vec::new();
    let mut bounds: Option<Bounds> = None;
    for expr in expressions {
        let key_at = binder.locate(expr);
        match expr {
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) | Expr::Tuple(_) => {
                return Err(SqlError::at(key_at, "several groupings at once are not supported", help));
            }
            Expr::Value(_) => {
                return Err(SqlError::at(key_at, "a constant is not a group", "write the expression itself"));
            }
            _ => {}
        }
        let expression =
            binder.bind(expr).or_else(|error| named_item(binder, select, expr).ok_or(error)?)?;
        if let Some(role) = binder.role(&expression).filter(|role| role.is_window()) {
            let bounds = bounds.get_or_insert(Bounds { start: false, end: false, at: key_at });
            *if role == Role::WindowStart { &mut bounds.start } else { &mut bounds.end } = true;
            continue;
        }
        if keys.iter().any(|key| key.expression == expression) {
            continue;
        }
        let name = key_name(binder, select, &expression, keys.len());
        keys.push(NamedExpression { name, expression });
    }
    Ok((keys, bounds))
}

/// A name in `GROUP BY` that is no column may be one that the `SELECT` gives.
fn named_item(binder: &mut Binder<'_>, select: &Select, expr: &Expr) -> Option<Result<Expression, SqlError>> {
    let Expr::Identifier(name) = expr else { return None };
    select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => Some(binder.bind(expr)),
        _ => None,
    })
}

/// The name of a key: its column's, or the one the `SELECT` gives it.
fn key_name(binder: &mut Binder<'_>, select: &Select, expression: &Expression, index: usize) -> String {
    if let Expression::Column { name, .. } = expression {
        return name.clone();
    }
    let alias = select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            (binder.bind(expr).ok().as_ref() == Some(expression)).then(|| alias.value.clone())
        }
        _ => None,
    });
    alias.unwrap_or_else(|| format!("key{}", index + 1))
}
