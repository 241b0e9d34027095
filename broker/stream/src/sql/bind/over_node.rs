//! `OVER` as operators: rankings, and functions over the rows around a row.
//!
//! ```text
//! SELECT a, ROW_NUMBER() OVER (PARTITION BY p ORDER BY o) AS n FROM t       a relation whose rank is not bounded yet
//!   ... WHERE n <= 3 around it                                              Rank
//!   ... anything else                                                       Over
//! SELECT a, SUM(x) OVER (PARTITION BY p ORDER BY o) FROM t                  Over
//! ```

use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::apart::Apart;
use super::graph::column;
use super::over::{CallKind, Order, OverCall};
use super::query::{Item, QueryBinder};
use super::rank_limit::Limits;
use super::relation::{Relation, of_node};
use super::scope::{BoundAggregate, Role, ScopeColumn};
use super::sink::Target;
use crate::plan::{
    AggregateFunction, Column, Emit, Expression, Frame, FrameUnit, Operator, Over, OverFunction, OverKind,
    OverMode, Rank, RankFunction, RankMode, SortKey, StateBound,
};
use crate::value::{DataType, Value};

/// A `SELECT` of a rank that is still to be bounded by the query around it.
#[derive(Debug, Clone)]
pub(super) struct PendingRank {
    /// The rows that are ranked.
    base: Relation,
    call: OverCall,
    items: Vec<Item>,
    /// The select list's rank.
    column: usize,
    at: Location,
}

/// The rows before the functions, and where their operands are.
struct Placed {
    expressions: Vec<(String, Expression)>,
}

impl Placed {
    fn add(&mut self, expression: &Expression) -> usize {
        self.expressions.iter().position(|(_, known)| known == expression).unwrap_or_else(|| {
            let name = match expression {
                Expression::Column { name, .. } => name.clone(),
                other => other.to_string(),
            };
            self.expressions.push((name, expression.clone()));
            self.expressions.len() - 1
        })
    }
}

impl QueryBinder<'_> {
    /// A `SELECT` with `OVER`: the items name the calls as columns behind those of `from`.
    pub(super) fn select_over(
        &mut self,
        from: &Relation,
        filter: Option<Expression>,
        items: Vec<Item>,
        calls: Vec<OverCall>,
        target: Option<&Target<'_>>,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let node_columns = self.graph.columns(from.node).to_vec();
        let mut placed = Placed { expressions: Vec::new() };
        for index in 0..from.columns.len() {
            let expression = of_node(&node_columns, index);
            // Every column keeps its place, even if another is the same.
            placed.expressions.push((node_columns[index].name.clone(), expression));
        }
        let record_key: Vec<(String, usize)> = from
            .record_key
            .iter()
            .map(|(name, index)| (name.clone(), placed.add(&of_node(&node_columns, *index))))
            .collect();
        for call in &calls {
            call.partition.iter().for_each(|key| _ = placed.add(key));
            call.order.iter().for_each(|key| _ = placed.add(&key.expression));
            match &call.kind {
                CallKind::Aggregate(aggregate, _) => {
                    aggregate.operands().for_each(|operand| _ = placed.add(operand));
                }
                CallKind::Lag { argument, .. } | CallKind::Lead { argument, .. } => _ = placed.add(argument),
                CallKind::Number(_) => {}
            }
        }
        let columns: Vec<Column> = placed
            .expressions
            .iter()
            .map(|(name, expression)| column(&**name, expression.data_type()))
            .collect();
        let outputs = placed.expressions.iter().map(|(_, expression)| expression.clone()).collect();
        let changes = self.graph.changes(from.node);
        let node = self.graph.node(Operator::Map { filter, outputs }, vec![from.node], columns, changes);
        let base = Relation { node, record_key, ..from.clone() };
        // What is said about the operands is said about the columns they are in now.
        let calls: Vec<OverCall> = calls.into_iter().map(|call| call.over_columns(&placed)).collect();
        let width = base.columns.len();
        if let [call] = calls.as_slice()
            && let CallKind::Number(_) = call.kind
        {
            let is_rank =
                |item: &Item| matches!(item.expression, Expression::Column { index, .. } if index == width);
            let uses = |item: &Item| {
                let mut found = false;
                item.expression.for_each_column(&mut |index| found |= index == width);
                found
            };
            let ranks: Vec<usize> = (0..items.len()).filter(|index| uses(&items[*index])).collect();
            if let [rank] = ranks.as_slice()
                && is_rank(&items[*rank])
                && target.is_none()
            {
                let pending = PendingRank {
                    base: base.clone(),
                    call: call.clone(),
                    column: *rank,
                    at,
                    items: items.clone(),
                };
                let columns = items.into_iter().map(|item| ScopeColumn {
                    table: None,
                    data_type: item.expression.data_type(),
                    name: item.name,
                    role: Role::Plain,
                    merged: false,
                });
                return Ok(Relation {
                    columns: columns.collect(),
                    pending: Some(Box::new(pending)),
                    key: None,
                    record_key: Vec::new(),
                    ..base
                });
            }
        }
        let over = self.over(base, &calls)?;
        let items = over.items(items, width);
        self.project(&over.relation, None, items, target, at)
    }

    /// The relation, its rank bounded by what the query around it says, if it says so.
    pub(super) fn ranked(&mut self, relation: Relation, limits: &Limits) -> Result<Relation, SqlError> {
        let Some(pending) = relation.pending else { return Ok(relation) };
        let PendingRank { base, call, items, column, at } = *pending;
        let known = &relation.columns[column];
        let of_rank = limits.iter().filter(|(table, name, _)| {
            *name == known.name && table.as_ref().is_none_or(|table| known.table.as_ref() == Some(table))
        });
        let limit = of_rank.map(|(_, _, limit)| *limit).min();
        let width = base.columns.len();
        let (over, limit) = match limit {
            Some(0) => {
                return Err(SqlError::at(
                    call.at,
                    "the first row has the number 1, and the query around asks for less",
                    format!("write WHERE {} <= 1 for the first row of each partition", known.name),
                ));
            }
            Some(limit) => (self.rank(base, &call, limit)?, Some(limit)),
            None => (self.over(base, std::slice::from_ref(&call))?, None),
        };
        let items = over.items(items, width);
        let mut ranked = self.project(&over.relation, None, items, None, at)?;
        for (column, known) in ranked.columns.iter_mut().zip(&relation.columns) {
            column.name.clone_from(&known.name);
            column.table.clone_from(&known.table);
        }
        ranked.ranked = limit.map(|limit| (column, limit));
        Ok(ranked)
    }

    /// The first rows of each partition.
    fn rank(&mut self, base: Relation, call: &OverCall, limit: u64) -> Result<OverRelation, SqlError> {
        let CallKind::Number(function) = call.kind else { unreachable!("only ranks are bounded") };
        let (partition, order) = call.keys();
        let input_changes = self.graph.changes(base.node);
        let window = self.closing_window(&base, &partition, call)?;
        let by_time = event_time(&base, &order);
        let is_first = limit == 1 && function == RankFunction::RowNumber && !input_changes;
        let mode = match (window, by_time) {
            (Some(end), _) => RankMode::Window { end },
            (None, Some(time)) if is_first => RankMode::First { time, bound: self.over_bound(call)? },
            (None, None) if is_first && self.is_by_arrival(&base, &order) => {
                RankMode::Arrival { bound: self.over_bound(call)? }
            }
            _ => RankMode::Changes { bound: self.over_bound(call)? },
        };
        // All rows of an epoch are of one time: what came first is first.
        let order = if let RankMode::Arrival { .. } = mode { Vec::new() } else { order };
        let mut columns = self.graph.columns(base.node).to_vec();
        let number = columns.len();
        columns.push(column(&*call.text, DataType::BigInt));
        let changes = matches!(mode, RankMode::Changes { .. });
        let rank = Rank { function, partition: partition.clone(), order, limit, numbered: true, mode };
        let node = self.graph.node(Operator::Rank(rank), vec![base.node], columns.clone(), changes);
        let mut relation = Relation { node, ..base };
        let unique = function == RankFunction::RowNumber;
        let before = relation.key.clone();
        relation.key = match limit {
            1 if unique => Some(partition.clone()),
            _ if unique => Some(partition.iter().copied().chain([number]).collect()),
            _ => relation.key,
        };
        let named = |index: &usize| (columns[*index].name.clone(), *index);
        relation.apart = Apart {
            lost: relation.apart.lost && !unique,
            numbered: unique && before.is_none() && !relation.apart.lost,
            other: before.filter(|_| unique),
            bounds: (false, false),
        };
        relation.record_key = match (changes, &relation.key) {
            (false, _) => {
                let plain = |index: &&usize| {
                    relation.columns.get(**index).is_none_or(|column| !column.role.is_window())
                };
                partition.iter().filter(plain).map(named).collect()
            }
            (true, Some(key)) => key.iter().map(named).collect(),
            (true, None) => Vec::new(),
        };
        match mode {
            RankMode::First { time, .. } => relation.order(changes, Some(time)),
            RankMode::Window { .. } | RankMode::Changes { .. } => relation.order(changes, None),
            // Rows are given as they come, as by a filter.
            RankMode::Arrival { .. } => {}
        }
        Ok(OverRelation { relation, functions: number })
    }

    /// Whether rows are ordered by processing time alone, the first that comes before all others.
    fn is_by_arrival(&self, base: &Relation, order: &[SortKey]) -> bool {
        let [SortKey { column, descending: false, .. }] = order else { return false };
        let is_clock = match &self.graph.node_at(base.node).operator {
            Operator::Map { outputs, .. } => Role::of(&outputs[*column], None) == Role::ProcessingTime,
            _ => false,
        };
        is_clock || base.columns.get(*column).is_some_and(|column| column.role == Role::ProcessingTime)
    }

    /// Functions over rows: a node for each way rows are partitioned and ordered.
    fn over(&mut self, base: Relation, calls: &[OverCall]) -> Result<OverRelation, SqlError> {
        // The calls in the order in which the script names them are columns one behind the other.
        let mut relation = base;
        let functions = self.graph.columns(relation.node).len();
        let mut done: Vec<Option<usize>> = vec![None; calls.len()];
        let mut next = functions;
        while let Some(first) = done.iter().position(Option::is_none) {
            let same = |call: &OverCall| call.keys() == calls[first].keys();
            let members: Vec<usize> = (0..calls.len()).filter(|index| same(&calls[*index])).collect();
            let of_node: Vec<&OverCall> = members.iter().map(|index| &calls[*index]).collect();
            relation = self.over_node(relation, &of_node)?;
            for member in members {
                done[member] = Some(next);
                next += 1;
            }
        }
        if done.iter().zip(functions..).all(|(place, wanted)| *place == Some(wanted)) {
            return Ok(OverRelation { relation, functions });
        }
        let columns = self.graph.columns(relation.node).to_vec();
        let order: Vec<usize> = (0..functions).chain(done.into_iter().flatten()).collect();
        let outputs = order.iter().map(|index| of_node(&columns, *index)).collect();
        let sorted = order.iter().map(|index| columns[*index].clone()).collect();
        let changes = self.graph.changes(relation.node);
        let operator = Operator::Map { filter: None, outputs };
        relation.node = self.graph.node(operator, vec![relation.node], sorted, changes);
        Ok(OverRelation { relation, functions })
    }

    fn over_node(&mut self, base: Relation, calls: &[&OverCall]) -> Result<Relation, SqlError> {
        let call = calls[0];
        let (partition, order) = call.keys();
        let input_changes = self.graph.changes(base.node);
        let ahead = calls.iter().any(|call| call.function().looks_ahead());
        let ranks = |call: &&OverCall| {
            matches!(call.kind, CallKind::Number(RankFunction::Rank | RankFunction::DenseRank))
        };
        let by_time =
            event_time(&base, &order).filter(|_| !input_changes && !ahead && !calls.iter().any(ranks));
        let mode = match (self.closing_window(&base, &partition, call)?, by_time) {
            (Some(end), _) => OverMode::Window { end },
            (None, Some(time)) => {
                let ends_by_time = |call: &&OverCall| match &call.kind {
                    CallKind::Aggregate(_, Frame { unit: FrameUnit::Range, preceding, .. }) => {
                        preceding.is_some()
                    }
                    _ => false,
                };
                let bound = match calls.iter().all(ends_by_time) {
                    true => None,
                    false => Some(self.over_bound(call)?),
                };
                OverMode::OnTime { time, bound }
            }
            (None, None) => OverMode::Changes { bound: self.over_bound(call)? },
        };
        let on_time = matches!(mode, OverMode::OnTime { .. });
        let functions: Vec<OverFunction> = calls.iter().map(|call| call.function().given(on_time)).collect();
        let mut columns = self.graph.columns(base.node).to_vec();
        columns.extend(functions.iter().map(|function| column(&*function.text, function.data_type())));
        let changes = matches!(mode, OverMode::Changes { .. });
        let over = Over { partition, order, functions, mode };
        let node = self.graph.node(Operator::Over(over), vec![base.node], columns, changes);
        let mut relation = Relation { node, ..base };
        relation.order(changes, by_time.filter(|_| on_time));
        Ok(relation)
    }

    /// The end of the window that partitions belong to.
    fn closing_window(
        &self,
        base: &Relation,
        partition: &[usize],
        call: &OverCall,
    ) -> Result<Option<usize>, SqlError> {
        let end = window_end(base, partition);
        match self.emit {
            Emit::OnCloseAndLate { .. } if end.is_some() => Err(SqlError::at(
                call.at,
                "OVER gives the rows of a window once, and windows are allowed to change when they are closed",
                "leave ALLOWING LATENESS out",
            )),
            _ => Ok(end),
        }
    }

    fn over_bound(&self, call: &OverCall) -> Result<StateBound, SqlError> {
        self.bound.ok_or_else(|| {
            SqlError::at(
                call.at,
                "these partitions are never complete: their state grows with every new key",
                "partition by a window (FROM TABLE(TUMBLE(...)), PARTITION BY window_start, window_end, ...), \
                 or end the statement with STATE TTL INTERVAL '1' DAY, or with UNBOUNDED",
            )
        })
    }
}

/// A relation whose node has functions behind the columns that have names.
struct OverRelation {
    relation: Relation,
    /// The node's column of the first function.
    functions: usize,
}

impl OverRelation {
    /// The items of a `SELECT` that were bound over the rows before the functions, which had `width` columns.
    fn items(&self, items: Vec<Item>, width: usize) -> Vec<Item> {
        let columns = &self.relation.columns;
        let moved = |item: Item| {
            let mut item = item.moved(width, self.functions);
            // What a column says about time it says behind the functions.
            if let Expression::Column { index, .. } = item.expression {
                item.role = columns.get(index).map_or(Role::Plain, |column| column.role);
            }
            item
        };
        items.into_iter().map(moved).collect()
    }
}

impl Relation {
    /// Behind an operator that orders rows; by which event time, if it gives them as that passes.
    fn order(&mut self, changes: bool, by_time: Option<usize>) {
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.role = column.role.after(changes, by_time == Some(index));
        }
    }
}

impl OverCall {
    /// The call with operands that are columns of the node before it.
    fn over_columns(self, placed: &Placed) -> OverCall {
        let at = |expression: &Expression| {
            let known = placed.expressions.iter().position(|(_, known)| known == expression);
            let index = known.expect("every operand has a column");
            let name = placed.expressions[index].0.clone();
            Expression::Column { index, data_type: expression.data_type(), name }
        };
        let kind = match self.kind {
            CallKind::Aggregate(aggregate, frame) => CallKind::Aggregate(aggregate.with_operands(at), frame),
            CallKind::Lag { argument, offset, default } => {
                CallKind::Lag { argument: at(&argument), offset, default }
            }
            CallKind::Lead { argument, offset, default } => {
                CallKind::Lead { argument: at(&argument), offset, default }
            }
            CallKind::Number(function) => CallKind::Number(function),
        };
        let order = self.order.iter().map(|key| Order { expression: at(&key.expression), ..key.clone() });
        let order = order.collect();
        OverCall { kind, partition: self.partition.iter().map(at).collect(), order, ..self }
    }

    /// The partition and the order, by columns.
    fn keys(&self) -> (Vec<usize>, Vec<SortKey>) {
        let partition = self.partition.iter().map(column_of).collect();
        let order = self.order.iter().map(|key| SortKey {
            column: column_of(&key.expression),
            descending: key.descending,
            nulls_first: key.nulls_first,
        });
        (partition, order.collect())
    }

    fn function(&self) -> OverFunction {
        let kind = match &self.kind {
            CallKind::Aggregate(aggregate, frame) => {
                let place = |operand: &Option<Expression>| operand.as_ref().map(column_of);
                OverKind::Aggregate {
                    aggregate: aggregate.placed(place(&aggregate.argument), place(&aggregate.filter)),
                    frame: *frame,
                }
            }
            CallKind::Lag { argument, offset, default } => OverKind::Lag {
                argument: column_of(argument),
                data_type: argument.data_type(),
                offset: *offset,
                default: default.clone(),
            },
            CallKind::Lead { argument, offset, default } => OverKind::Lead {
                argument: column_of(argument),
                data_type: argument.data_type(),
                offset: *offset,
                default: default.clone(),
            },
            CallKind::Number(function) => OverKind::Number(*function),
        };
        let text = self.text.split(" OVER ").next().unwrap_or(&self.text).to_owned();
        OverFunction { kind, text }
    }
}

impl OverFunction {
    /// The function where rows are given in time: what counts rows from the partition's beginning is an aggregate.
    fn given(self, on_time: bool) -> OverFunction {
        match self.kind {
            OverKind::Number(RankFunction::RowNumber) if on_time => {
                let count = BoundAggregate::new(AggregateFunction::Count, None, Value::Null, None, false);
                let frame = Frame { unit: FrameUnit::Rows, preceding: None, following: Some(0) };
                let aggregate = count.placed(None, None);
                OverFunction { kind: OverKind::Aggregate { aggregate, frame }, ..self }
            }
            _ => self,
        }
    }
}

impl Item {
    /// The item where columns from one place on are somewhere else.
    fn moved(mut self, from: usize, to: usize) -> Item {
        self.expression.remap_columns(&|index| if index >= from { index - from + to } else { index });
        self
    }
}

impl Role {
    /// What a column says about time behind an operator that orders rows; whether it orders them by this one.
    fn after(self, changes: bool, ordered_by: bool) -> Role {
        match self {
            _ if changes => Role::Plain,
            // Rows wait until the time they are ordered by has passed; another one may lie further behind.
            Role::Time if !ordered_by => Role::Plain,
            // A row may come out in a later epoch than it came in.
            Role::ProcessingTime => Role::Plain,
            role => role,
        }
    }
}

fn column_of(expression: &Expression) -> usize {
    match expression {
        Expression::Column { index, .. } => *index,
        other => unreachable!("{other} is no column"),
    }
}

/// The column of the partition that is the end of a window.
fn window_end(base: &Relation, partition: &[usize]) -> Option<usize> {
    let is_end =
        |index: &usize| base.columns.get(*index).is_some_and(|column| column.role == Role::WindowEnd);
    partition.iter().copied().find(is_end)
}

/// The event time, if it is what rows are ordered by.
fn event_time(base: &Relation, order: &[SortKey]) -> Option<usize> {
    let first = order.first().filter(|key| !key.descending)?;
    let role = base.columns.get(first.column)?.role;
    matches!(role, Role::Time | Role::WindowTime).then_some(first.column)
}
