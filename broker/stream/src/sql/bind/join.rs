//! `FROM` with several tables: which rows belong together, what bounds the state, and where each condition is checked.
//!
//! ```text
//! FROM a JOIN b ON ..., c WHERE ...
//!      └─ conditions of ON and WHERE, one by one: below a table, in a join, or behind one
//! ```
//!
//! Tables are joined from left to right. The columns of all of them, one after the other, are the scope in which
//! conditions are bound; the row of a join is a beginning of that scope.

use sqlparser::ast::{
    Expr, Join as SqlJoin, JoinConstraint, JoinOperator, Spanned, TableFactor, TableVersion, TableWithJoins,
};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::apart::Apart;
use super::from::{alias_name, simple_name};
use super::graph::column;
use super::pair_condition::{PairConditions, all_of, conjuncts, counted_from, plain};
use super::query::{QueryBinder, start_or};
use super::relation::{Relation, of_node};
use super::scope::{Binder, Role, ScopeColumn};
use crate::functions::Functions;
use crate::plan::{
    BinaryOperator, Column, Expression, Join, JoinBound, JoinKind, JoinSide, Operator, TemporalJoin, Versions,
};

/// A table of `FROM`, and how it is joined to those before it.
struct Table<'q> {
    relation: Relation,
    /// Its first column in the scope of all tables.
    first: usize,
    kind: JoinKind,
    /// Where the table stands.
    at: Location,
    /// The table is asked for its row at a time.
    versions: Option<Versioned<'q>>,
    /// Conditions on its rows alone.
    below: Vec<Expression>,
    /// Conditions on pairs.
    pairs: Vec<Expression>,
    /// Conditions on the joined rows.
    behind: Vec<Expression>,
}

/// A table that is asked for its row at a time.
struct Versioned<'q> {
    as_of: &'q Expr,
    name: String,
    /// The columns of its primary key.
    key: Vec<usize>,
    /// Its column of event time.
    time: Option<usize>,
}

/// Whether a `FROM` joins.
pub(super) fn is_join(from: &[TableWithJoins]) -> bool {
    from.len() > 1 || from.first().is_some_and(|only| !only.joins.is_empty())
}

impl QueryBinder<'_> {
    /// The rows of a `FROM` with several tables, for which its conditions and those of `WHERE` hold.
    pub(super) fn bind_joined(
        &mut self,
        from: &[TableWithJoins],
        selection: Option<&Expr>,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let functions = &self.script.functions;
        let mut tables: Vec<Table<'_>> = Vec::new();
        let mut scope: Vec<ScopeColumn> = Vec::new();
        for item in from {
            let is_outer =
                |join: &SqlJoin| matches!(kind_of(join, at), Ok((JoinKind::Right | JoinKind::Full, _)));
            if !tables.is_empty() && item.joins.iter().any(is_outer) {
                // Its outer joins are done before what stands left of the comma comes in.
                let relation = self.bind_joined(std::slice::from_ref(item), None, at)?;
                let item_at = start_or(item.relation.span(), at);
                add_table(&mut tables, &mut scope, (relation, None), JoinKind::Inner, item_at);
                continue;
            }
            let item_at = start_or(item.relation.span(), at);
            let first = self.bind_table_of_join(&item.relation, item_at)?;
            add_table(&mut tables, &mut scope, first, JoinKind::Inner, item_at);
            for join in &item.joins {
                let join_at = start_or(join.relation.span(), item_at);
                let (kind, constraint) = kind_of(join, join_at)?;
                let table = self.bind_table_of_join(&join.relation, join_at)?;
                add_table(&mut tables, &mut scope, table, kind, join_at);
                for condition in bind_constraint(&mut scope, &tables, constraint, functions, join_at)? {
                    place_on(&mut tables, condition);
                }
            }
        }
        if let Some(selection) = selection {
            let mut binder = Binder::new(&scope, at).with_functions(functions);
            let condition = binder.bind_condition(selection, "WHERE")?;
            let last = tables.len() - 1;
            conjuncts(condition).into_iter().for_each(|condition| place(&mut tables, last, condition));
        }
        let mut tables = tables.into_iter();
        let first = tables.next().expect("FROM has a table");
        if first.versions.is_some() {
            return Err(SqlError::at(
                first.at,
                "there are no rows to ask this table for",
                "write FROM <rows> JOIN <table> FOR SYSTEM_TIME AS OF <rows>.<event time> ON ...",
            ));
        }
        let mut joined = self.only(first.relation, first.below);
        joined = self.only(joined, first.behind);
        for mut table in tables {
            let below = std::mem::take(&mut table.below);
            let below = below.into_iter().map(|condition| counted_from(condition, table.first)).collect();
            table.relation = self.only(table.relation, below);
            let behind = std::mem::take(&mut table.behind);
            joined = match table.versions {
                Some(_) => self.temporal_join(joined, table)?,
                None => self.join(joined, table)?,
            };
            joined = self.only(joined, behind);
        }
        // Columns that USING has merged keep their place in the scope, and go by one name only.
        joined.columns.iter_mut().zip(&scope).for_each(|(column, known)| column.merged = known.merged);
        Ok(joined)
    }

    /// A table of a `FROM` with several, its windows assigned.
    fn bind_table_of_join<'q>(
        &mut self,
        factor: &'q TableFactor,
        at: Location,
    ) -> Result<(Relation, Option<Versioned<'q>>), SqlError> {
        let TableFactor::Table { name, alias, args: None, version: Some(version), .. } = factor else {
            let relation = self.bind_factor(factor, at)?;
            return Ok((self.assigned(relation, at)?, None));
        };
        let TableVersion::ForSystemTimeAsOf(as_of) = version else {
            return Err(SqlError::at(
                at,
                format!("`{version}` is not supported"),
                "write FOR SYSTEM_TIME AS OF <event time>",
            ));
        };
        let name = simple_name(name, at)?;
        let alias = alias_name(alias.as_ref(), &name.value)?;
        let Some(table) = self.script.tables.iter().find(|table| table.name.value == name.value) else {
            let known = self.common_table(&name.value).is_some()
                || self.script.views.iter().any(|view| view.name.value == name.value);
            return Err(match known {
                true => SqlError::at(
                    name.span.start,
                    format!("`{name}` is a query, which has no versions"),
                    "ask a table with PRIMARY KEY (...) NOT ENFORCED, or join without FOR SYSTEM_TIME",
                ),
                false => self.unknown_table(name),
            });
        };
        let (node, source) = self.bind_source(table)?;
        if source.upsert_key.is_empty() {
            return Err(SqlError::at(
                name.span.start,
                format!("the rows of `{name}` do not replace one another"),
                "add PRIMARY KEY (<columns>) NOT ENFORCED to its CREATE TABLE",
            ));
        }
        let relation = Relation::new(node, Some(&name.value), self.graph).named(&alias);
        let versions = Versioned {
            as_of,
            name: alias,
            key: source.upsert_key,
            time: source.event_time.map(|time| time.column),
        };
        Ok((relation, Some(versions)))
    }

    /// The rows for which all conditions hold.
    fn only(&mut self, relation: Relation, conditions: Vec<Expression>) -> Relation {
        let Some(filter) = all_of(conditions) else { return relation };
        let columns = self.graph.columns(relation.node)[..relation.columns.len()].to_vec();
        let outputs = (0..columns.len()).map(|index| of_node(&columns, index)).collect();
        let changes = self.graph.changes(relation.node);
        let operator = Operator::Map { filter: Some(filter), outputs };
        let node = self.graph.node(operator, vec![relation.node], columns, changes);
        let width = relation.columns.len();
        let is_known = relation.key.is_some();
        let key = relation.key.filter(|key| key.iter().all(|column| *column < width));
        let lost = relation.apart.lost || changes && is_known && key.is_none();
        let apart = Apart { lost, ..Apart::default() };
        Relation { node, key, apart, record_key: Vec::new(), ..relation }
    }

    /// The node of an input with columns for these expressions, and which columns they are.
    fn keyed(&mut self, relation: &Relation, keys: Vec<Expression>) -> (usize, Vec<usize>) {
        if let Some(columns) = keys.iter().map(plain).collect::<Option<Vec<usize>>>() {
            return (relation.node, columns);
        }
        let mut columns = self.graph.columns(relation.node)[..relation.columns.len()].to_vec();
        let mut outputs: Vec<Expression> = (0..columns.len()).map(|index| of_node(&columns, index)).collect();
        let places = keys.into_iter().map(|key| match plain(&key) {
            Some(index) => index,
            None => {
                columns.push(column(key.to_string(), key.data_type()));
                outputs.push(key);
                outputs.len() - 1
            }
        });
        let places = places.collect();
        let changes = self.graph.changes(relation.node);
        let operator = Operator::Map { filter: None, outputs };
        (self.graph.node(operator, vec![relation.node], columns, changes), places)
    }

    /// Joins a table to the rows before it.
    fn join(&mut self, left: Relation, table: Table<'_>) -> Result<Relation, SqlError> {
        let Table { relation: right, kind, at, pairs, .. } = table;
        let mut conditions = PairConditions::new(pairs, left.columns.len());
        let sides_change = self.graph.changes(left.node) || self.graph.changes(right.node);
        let window = conditions.window(&left.columns, &right.columns).filter(|_| !sides_change);
        let nearness = conditions.nearness(&left.columns, &right.columns).filter(|_| !sides_change);
        let bound = match (window, nearness) {
            (Some((left, right)), _) => JoinBound::Window { left, right },
            (None, Some(nearness)) => {
                conditions.without(&nearness, &left.columns, &right.columns);
                let (least_ms, most_ms) = nearness.difference.into_inner();
                JoinBound::Interval { left: nearness.left, right: nearness.right, least_ms, most_ms }
            }
            (None, None) => JoinBound::State(self.bound.ok_or_else(|| unbounded(at))?),
        };
        let is_state = matches!(bound, JoinBound::State(_));
        let changes = is_state && (sides_change || kind != JoinKind::Inner);
        let key = joined_key(&left, &right, kind, &conditions);
        let both_known = left.key.is_some() && right.key.is_some();
        let lost = left.apart.lost || right.apart.lost || changes && both_known && key.is_none();
        let apart = Apart { lost, ..Apart::default() };
        let equalities = std::mem::take(&mut conditions.equalities);
        let (left_keys, right_keys): (Vec<_>, Vec<_>) =
            equalities.into_iter().map(|equality| (equality.left, equality.right)).unzip();
        let (left_node, left_keys) = self.keyed(&left, left_keys);
        let (right_node, right_keys) = self.keyed(&right, right_keys);
        let operator = Operator::Join(Join {
            kind,
            left: JoinSide { keys: left_keys, columns: (0..left.columns.len()).collect() },
            right: JoinSide { keys: right_keys, columns: (0..right.columns.len()).collect() },
            condition: all_of(conditions.rest),
            bound,
        });
        let columns = self.joined_columns(&left, &right);
        let node = self.graph.node(operator, vec![left_node, right_node], columns, changes);
        let mut columns = left.columns;
        let width = columns.len();
        columns.extend(right.columns);
        for (index, column) in columns.iter_mut().enumerate() {
            let of_left = index < width;
            let may_be_missing = if of_left { kind.keeps_right() } else { kind.keeps_left() };
            let stays = !may_be_missing
                && match bound {
                    JoinBound::Window { .. } => column.role.is_window(),
                    // What is the end of a window is past for the window when it is in time for the join.
                    JoinBound::Interval { left, right, .. } => {
                        matches!(column.role, Role::Time | Role::WindowTime)
                            && index == if of_left { left } else { width + right }
                    }
                    JoinBound::State(_) => false,
                };
            if !stays {
                column.role = Role::Plain;
            }
        }
        Ok(Relation { key, apart, ..Relation::joined(node, columns) })
    }

    /// Asks a table for its rows.
    fn temporal_join(&mut self, left: Relation, table: Table<'_>) -> Result<Relation, SqlError> {
        let Table { relation: right, kind, at, pairs, versions, .. } = table;
        let versioned = versions.expect("only a table with versions is asked for them");
        let name = &versioned.name;
        if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
            return Err(SqlError::at(
                at,
                format!("a {} JOIN cannot ask `{name}` for its rows", kind.name()),
                "write JOIN or LEFT JOIN",
            ));
        }
        if self.graph.changes(left.node) {
            return Err(SqlError::at(
                at,
                format!(
                    "the rows that ask `{name}` are taken back at times, when its row may be another one"
                ),
                "join without FOR SYSTEM_TIME",
            ));
        }
        let versions = as_of(&versioned, &left, at)?;
        let width = left.columns.len();
        let conditions = PairConditions::new(pairs, width);
        let mut rest = conditions.rest;
        let mut keys: Vec<Option<Expression>> = vec![None; versioned.key.len()];
        for equality in conditions.equalities {
            let place =
                plain(&equality.right).and_then(|column| versioned.key.iter().position(|key| *key == column));
            match place {
                Some(place) if keys[place].is_none() => keys[place] = Some(equality.left),
                _ => {
                    let mut right = equality.right;
                    right.remap_columns(&|index| index + width);
                    rest.push(super::expression::binary(BinaryOperator::Equal, equality.left, right));
                }
            }
        }
        if let Some(missing) = keys.iter().position(Option::is_none) {
            let column = &right.columns[versioned.key[missing]];
            return Err(SqlError::at(
                at,
                format!(
                    "the join does not say which row of `{name}`: nothing equals `{name}.{}`",
                    column.name
                ),
                format!(
                    "compare every column of its primary key with a {} of the rows before it: ON <column> = {name}.{}",
                    column.data_type, column.name
                ),
            ));
        }
        let (left_node, left_keys) = self.keyed(&left, keys.into_iter().flatten().collect());
        let operator = Operator::TemporalJoin(TemporalJoin {
            keeps_left: kind == JoinKind::Left,
            left: JoinSide { keys: left_keys, columns: (0..width).collect() },
            right: JoinSide { keys: versioned.key.clone(), columns: (0..right.columns.len()).collect() },
            condition: all_of(rest),
            versions,
        });
        let columns = self.joined_columns(&left, &right);
        let node = self.graph.node(operator, vec![left_node, right.node], columns, false);
        let mut columns = left.columns;
        if let Versions::AsOf { left: asked, .. } = versions {
            // Rows wait until this time has passed; another one may lie further behind.
            let others = columns.iter_mut().enumerate().filter(|(index, _)| *index != asked);
            others
                .filter(|(_, column)| matches!(column.role, Role::Time | Role::ProcessingTime))
                .for_each(|(_, column)| column.role = Role::Plain);
        }
        columns.extend(right.columns);
        Ok(Relation { key: left.key, ..Relation::joined(node, columns) })
    }

    fn joined_columns(&self, left: &Relation, right: &Relation) -> Vec<Column> {
        let side = |relation: &Relation| {
            let columns = &self.graph.columns(relation.node)[..relation.columns.len()];
            columns.iter().map(|known| column(&*known.name, known.data_type)).collect::<Vec<Column>>()
        };
        [side(left), side(right)].concat()
    }
}

fn add_table<'q>(
    tables: &mut Vec<Table<'q>>,
    scope: &mut Vec<ScopeColumn>,
    (relation, versions): (Relation, Option<Versioned<'q>>),
    kind: JoinKind,
    at: Location,
) {
    let first = scope.len();
    scope.extend(relation.columns.iter().cloned());
    tables.push(Table {
        relation,
        first,
        kind,
        at,
        versions,
        below: Vec::new(),
        pairs: Vec::new(),
        behind: Vec::new(),
    });
}

fn kind_of(join: &SqlJoin, at: Location) -> Result<(JoinKind, &JoinConstraint), SqlError> {
    match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::CrossJoin(constraint) => Ok((JoinKind::Inner, constraint)),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
            Ok((JoinKind::Left, constraint))
        }
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            Ok((JoinKind::Right, constraint))
        }
        JoinOperator::FullOuter(constraint) => Ok((JoinKind::Full, constraint)),
        _ => Err(SqlError::at(
            at,
            "this kind of join is not supported",
            "write [INNER | LEFT | RIGHT | FULL] JOIN <table> ON <condition>",
        )),
    }
}

/// The conditions of `ON` or `USING` of the last table.
fn bind_constraint(
    scope: &mut [ScopeColumn],
    tables: &[Table<'_>],
    constraint: &JoinConstraint,
    functions: &Functions,
    at: Location,
) -> Result<Vec<Expression>, SqlError> {
    let names = match constraint {
        JoinConstraint::None => return Ok(Vec::new()),
        JoinConstraint::On(condition) => {
            let mut binder = Binder::new(scope, at).with_functions(functions);
            let bound = binder.bind_condition(condition, "ON")?;
            return Ok(conjuncts(bound));
        }
        JoinConstraint::Using(names) => names,
        JoinConstraint::UsingAlias(..) | JoinConstraint::Natural => {
            return Err(SqlError::at(
                at,
                "NATURAL and USING ... AS are not supported",
                "write ON a.<column> = b.<column>, or USING (<columns>)",
            ));
        }
    };
    let table = tables.last().expect("the table that is joined");
    let mut conditions = Vec::new();
    for name in names {
        let name = simple_name(name, at)?;
        let expr = Expr::Identifier(name.clone());
        let (before, own) = scope.split_at(table.first);
        let left = Binder::new(before, at).bind_name(&expr, None, name)?;
        let mut right = Binder::new(own, at).bind_name(&expr, None, name)?;
        right.remap_columns(&|index| index + table.first);
        let merged = match table.kind {
            JoinKind::Inner | JoinKind::Left => &right,
            JoinKind::Right => &left,
            JoinKind::Full => {
                return Err(SqlError::at(
                    name.span.start,
                    "of a FULL JOIN either side of USING may be missing",
                    format!("write ON a.{0} = b.{0}, and select COALESCE(a.{0}, b.{0})", name.value),
                ));
            }
        };
        let merged = plain(merged).expect("a name is a column");
        conditions.push(Binder::new(scope, at).compare_bound(&expr, left, BinaryOperator::Equal, right)?);
        scope[merged].merged = true;
    }
    Ok(conditions)
}

/// The tables whose columns a condition reads: the first and the last.
fn span(tables: &[Table<'_>], condition: &Expression) -> Option<(usize, usize)> {
    let mut span: Option<(usize, usize)> = None;
    condition.for_each_column(&mut |index| {
        let table = tables.partition_point(|table| table.first <= index) - 1;
        span = Some(span.map_or((table, table), |(first, last)| (first.min(table), last.max(table))));
    });
    span
}

/// Puts a condition that must hold for the rows behind the `level`th table as far down as it means the same.
fn place(tables: &mut [Table<'_>], level: usize, condition: Expression) {
    let Some((first, last)) = span(tables, &condition) else {
        return tables[level].behind.push(condition);
    };
    // A later join that gives rows without a partner from its right side gives NULL for the columns it reads.
    let is_preserved = tables[last + 1..=level].iter().all(|table| !table.kind.keeps_right());
    if !is_preserved {
        return tables[level].behind.push(condition);
    }
    let table = &mut tables[last];
    let alone = first == last;
    match table.kind {
        _ if last == 0 => table.below.push(condition),
        JoinKind::Inner | JoinKind::Right if alone && table.versions.is_none() => table.below.push(condition),
        JoinKind::Inner => table.pairs.push(condition),
        _ => table.behind.push(condition),
    }
}

/// Puts a condition of the last table's `ON` where it belongs.
fn place_on(tables: &mut [Table<'_>], condition: Expression) {
    let level = tables.len() - 1;
    let span = span(tables, &condition);
    let table = &mut tables[level];
    match (table.kind, span) {
        (JoinKind::Inner, _) => place(tables, level, condition),
        (JoinKind::Left, Some((first, _))) if first == level && table.versions.is_none() => {
            table.below.push(condition);
        }
        (JoinKind::Right, Some((_, last))) if last < level => place(tables, level - 1, condition),
        _ => table.pairs.push(condition),
    }
}

/// The columns whose values no two joined rows share, if they are known.
fn joined_key(
    left: &Relation,
    right: &Relation,
    kind: JoinKind,
    conditions: &PairConditions,
) -> Option<Vec<usize>> {
    let width = left.columns.len();
    let left_key = left.key.as_ref().filter(|key| key.iter().all(|column| *column < width))?;
    let right_key =
        right.key.as_ref().filter(|key| key.iter().all(|column| *column < right.columns.len()))?;
    let equal = |key: &[usize], of_left: bool| {
        let side = |equality: &super::pair_condition::Equality| match of_left {
            true => plain(&equality.left),
            false => plain(&equality.right),
        };
        key.iter().all(|column| conditions.equalities.iter().any(|equality| side(equality) == Some(*column)))
    };
    // With the whole key of one side given, the other side's rows find one partner at most.
    if !kind.keeps_right() && equal(right_key, false) {
        return Some(left_key.clone());
    }
    let of_right = right_key.iter().map(|column| width + column);
    if !kind.keeps_left() && equal(left_key, true) {
        return Some(of_right.collect());
    }
    Some(left_key.iter().copied().chain(of_right).collect())
}

/// Which rows of a table `AS OF` asks for.
fn as_of(table: &Versioned<'_>, left: &Relation, at: Location) -> Result<Versions, SqlError> {
    let is_now = matches!(
        table.as_of,
        Expr::Function(function)
            if ["PROCTIME", "NOW", "CURRENT_TIMESTAMP"]
                .iter()
                .any(|now| function.name.to_string().eq_ignore_ascii_case(now))
    );
    if is_now {
        return Ok(Versions::Latest);
    }
    let mut binder = Binder::new(&left.columns, at);
    let as_of_at = binder.locate(table.as_of);
    let bound = binder.bind(table.as_of)?;
    let Some(time) = table.time else { return Ok(Versions::Latest) };
    let column = plain(&bound).filter(|column| left.columns[*column].role == Role::Time);
    match column {
        Some(column) => Ok(Versions::AsOf { left: column, right: time }),
        None => Err(SqlError::at(
            as_of_at,
            format!("`{bound}` is not an event time of the rows that ask `{}`", table.name),
            match left.time() {
                Some(time) => format!(
                    "write FOR SYSTEM_TIME AS OF {}, or AS OF PROCTIME() for the newest rows",
                    left.columns[time].name
                ),
                None => "write FOR SYSTEM_TIME AS OF PROCTIME() for the newest rows, \
                         or declare a WATERMARK for the table that asks"
                    .to_owned(),
            },
        )),
    }
}

fn unbounded(at: Location) -> SqlError {
    SqlError::at(
        at,
        "a row of this join may find partners for ever: its state grows with every row",
        "join within a window (ON a.window_start = b.window_start AND a.window_end = b.window_end) or within a time \
         (ON a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts), ask a table FOR SYSTEM_TIME AS OF a.ts, \
         or end the statement with STATE TTL INTERVAL '1' DAY, or with UNBOUNDED",
    )
}
