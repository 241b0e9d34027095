//! `INSERT INTO`: the rows of a query become a table's records.

use sqlparser::tokenizer::Location;

use super::super::error::{SqlError, suggest};
use super::super::statement::{CreateTable, Insert, Script};
use super::graph::GraphBuilder;
use super::query::{Item, QueryBinder};
use super::relation::{Relation, of_node};
use super::scope::Role;
use super::{frozen_time, literal, table, types};
use crate::plan::{
    Collect, Column, ColumnOrigin, DebeziumFormat, Emit, Format, Operator, OutputMode, RankFunction,
    RankMode, Sink, SinkKey, StateBound,
};
use crate::value::{DataType, Value};

/// The table an `INSERT` writes.
pub(super) struct Target<'s> {
    insert: &'s Insert,
    table: String,
    columns: Vec<Column>,
}

/// Binds one `INSERT`.
pub(super) fn bind(script: &Script, insert: &Insert, graph: &mut GraphBuilder) -> Result<(), SqlError> {
    let declared = find_table(script, insert)?;
    let declaration = table::sink(declared)?;
    let target = Target { insert, table: declaration.table.clone(), columns: declaration.columns.clone() };
    let mut binder = QueryBinder::new(script, graph, insert);
    let relation = binder.bind_query_into(&insert.query, insert.at, Some(&target))?;
    let relation = binder.ranked(relation, &super::rank_limit::Limits::new())?;
    let relation = match target.is_arranged(&relation) {
        true => relation,
        false => {
            let columns = binder.graph.columns(relation.node).to_vec();
            let items = relation.columns.iter().enumerate().map(|(index, known)| Item {
                name: known.name.clone(),
                expression: of_node(&columns, index),
                role: known.role,
                at: insert.at,
            });
            let items = items.collect();
            binder.project(&relation, None, items, Some(&target), insert.at)?
        }
    };
    if let (Some((emit, at)), false) = (insert.emit, binder.emits) {
        let (what, help) = match emit {
            Emit::Changes => ("groups that change", "leave it out: each row is written when it comes"),
            _ => (
                "windows that close",
                "leave it out, or group by a window: FROM TABLE(TUMBLE(...)) GROUP BY window_start, \
                 window_end",
            ),
        };
        return Err(SqlError::at(
            at,
            format!("EMIT says when rows are written, and there are no {what}"),
            help,
        ));
    }
    let changes = graph.changes(relation.node);
    let key = key(declared, &declaration, &relation, changes)?;
    let mode = mode(declared, &declaration, changes, !key.is_empty())?;
    if matches!(mode, OutputMode::Upsert | OutputMode::Update) {
        check_record_key(declared, &declaration, &key, mode)?;
    }
    frozen_time::check(graph, relation.node, mode, &key, insert.at)?;
    if relation.apart.lost
        && !declaration.primary_key.is_empty()
        && matches!(mode, OutputMode::Upsert | OutputMode::Update)
    {
        return Err(SqlError::at(
            declared.name.span.start,
            format!("several rows of the query may have one primary key of `{}`", declaration.table),
            "aggregate them by it: SELECT k, SUM(n) FROM (<query>) GROUP BY k, or select what tells them apart (in each \
             part of a UNION ALL a constant of its own) and add that to the PRIMARY KEY",
        ));
    }
    let mut format = declaration.format;
    if let (OutputMode::Retract, Format::Json(json)) = (mode, &format.value) {
        format.value = Format::Debezium(DebeziumFormat { json: *json, ..DebeziumFormat::default() });
    }
    let input = match (mode, declaration.mode) {
        (OutputMode::Complete, Some((_, at))) => {
            check_bounded(graph, relation.node, insert, at)?;
            let order = key.iter().map(|key| key.column).collect();
            let columns = graph.columns(relation.node).to_vec();
            graph.node(Operator::Collect(Collect { order }), vec![relation.node], columns, false)
        }
        _ => relation.node,
    };
    graph.sink(Sink {
        table: declaration.table,
        input,
        topic: declaration.topic,
        format,
        columns: declaration.columns,
        key,
        mode,
        compression: declaration.compression,
        on_error: declaration.on_error,
    });
    Ok(())
}

/// That a table which is written again and again does not grow for ever, or the script says that it may.
fn check_bounded(graph: &GraphBuilder, node: usize, insert: &Insert, at: Location) -> Result<(), SqlError> {
    if insert.bound == Some(StateBound::Unbounded) || is_bounded(graph, node) {
        return Ok(());
    }
    let help = match insert.bound {
        Some(StateBound::TimeToLive { .. }) => {
            "write UNBOUNDED in place of STATE TTL, which forgets rows and does not take them back; or keep the result small: \
             no GROUP BY, or the first rows by ROW_NUMBER() without PARTITION BY"
        }
        _ => {
            "keep the result small: no GROUP BY, or the first rows by ROW_NUMBER() without PARTITION BY; or write UNBOUNDED \
             behind the query"
        }
    };
    Err(SqlError::at(at, "'complete' writes the whole result after every epoch, and nothing bounds it", help))
}

/// Whether there are never more than so many rows of a node at a time, whatever comes.
fn is_bounded(graph: &GraphBuilder, node: usize) -> bool {
    let known = graph.node_at(node);
    let inputs = || known.inputs.iter().all(|input| is_bounded(graph, *input));
    match &known.operator {
        Operator::GroupAggregate(grouping) => grouping.keys.is_empty(),
        Operator::Rank(rank) => {
            let of_all = rank.partition.is_empty() && rank.function == RankFunction::RowNumber;
            of_all && matches!(rank.mode, RankMode::Changes { .. }) || inputs()
        }
        Operator::Map { .. } | Operator::Union => inputs(),
        _ => false,
    }
}

fn find_table<'s>(script: &'s Script, insert: &Insert) -> Result<&'s CreateTable, SqlError> {
    let name = &insert.table.value;
    script.tables.iter().find(|table| table.name.value == *name).ok_or_else(|| {
        let names = script.tables.iter().map(|table| table.name.value.as_str());
        SqlError::at(
            insert.table.span.start,
            format!("there is no table `{name}`"),
            format!("{}; tables are declared above with CREATE TABLE", suggest(name, names)),
        )
    })
}

/// The key of the table's records: its primary key, or the groups that its rows are of.
fn key(
    declared: &CreateTable,
    declaration: &table::SinkDeclaration,
    relation: &Relation,
    changes: bool,
) -> Result<Vec<SinkKey>, SqlError> {
    if declaration.primary_key.is_empty() {
        let of_groups = relation.record_key.iter();
        return Ok(of_groups.map(|(name, column)| SinkKey { name: name.clone(), column: *column }).collect());
    }
    if let Some(unique) = &relation.key
        && changes
        && !unique.iter().all(|column| declaration.primary_key.contains(column))
    {
        let names: Vec<&str> = unique.iter().map(|column| relation.columns[*column].name.as_str()).collect();
        return Err(SqlError::at(
            declared.name.span.start,
            format!("rows of the query share the primary key of `{}`", declaration.table),
            format!("the rows differ in: {}; write PRIMARY KEY ({0}) NOT ENFORCED", names.join(", ")),
        ));
    }
    let column = |index: &usize| SinkKey { name: declaration.columns[*index].name.clone(), column: *index };
    Ok(declaration.primary_key.iter().map(column).collect())
}

fn mode(
    declared: &CreateTable,
    declaration: &table::SinkDeclaration,
    changes: bool,
    keyed: bool,
) -> Result<OutputMode, SqlError> {
    let has_key = !declaration.primary_key.is_empty();
    let key_help = "add PRIMARY KEY (<columns>) NOT ENFORCED to the table, or 'output' = 'retract'";
    match declaration.mode {
        None if !changes => Ok(OutputMode::Append),
        None if has_key => Ok(OutputMode::Upsert),
        None => Err(SqlError::at(
            declared.name.span.start,
            format!("the query changes rows that it gave before, and `{}` has no key", declaration.table),
            key_help,
        )),
        Some((OutputMode::Append, at)) if changes => Err(SqlError::at(
            at,
            "the query changes rows that it gave before, which 'append' cannot write",
            "write 'output' = 'upsert' with a primary key, 'changes' or 'retract'",
        )),
        Some((mode @ (OutputMode::Upsert | OutputMode::Update), at)) if !keyed => Err(SqlError::at(
            at,
            format!("'{}' needs to know which row a record replaces", mode.name()),
            key_help,
        )),
        Some((OutputMode::Retract, at))
            if !matches!(declaration.format.value, Format::Json(_) | Format::Debezium(_)) =>
        {
            Err(SqlError::at(
                at,
                "'retract' writes changes as JSON in Debezium's manner, and the table has another format",
                "write 'format' = 'json', or 'output' = 'upsert' with a primary key",
            ))
        }
        Some((mode, _)) => Ok(mode),
    }
}

/// That rows with different keys are records with different keys, or compaction would take one of them; and that a row that
/// changes keeps its record's key where nothing would take the record before away.
fn check_record_key(
    declared: &CreateTable,
    declaration: &table::SinkDeclaration,
    key: &[SinkKey],
    mode: OutputMode,
) -> Result<(), SqlError> {
    let columns = declaration.columns.iter().enumerate();
    let of_record: Vec<usize> =
        columns.filter(|(_, column)| column.origin == ColumnOrigin::Key).map(|(column, _)| column).collect();
    if of_record.is_empty() {
        return Ok(());
    }
    let name = |column: usize| declaration.columns[column].name.as_str();
    let names: Vec<&str> = key.iter().map(|key| name(key.column)).collect();
    let what = if declaration.primary_key.is_empty() { "groups" } else { "primary keys" };
    let help = |why: &str| {
        format!("{why}: write 'key.fields' = '{}', or leave the record's key to the {what}", names.join(";"))
    };
    if !key.iter().all(|key| of_record.contains(&key.column)) {
        return Err(SqlError::at(
            declared.name.span.start,
            format!("rows of `{}` with different {what} may have one record key", declaration.table),
            help("a record replaces the one with its key"),
        ));
    }
    let more = of_record.iter().find(|column| key.iter().all(|key| key.column != **column));
    match more {
        Some(more) if mode == OutputMode::Upsert => Err(SqlError::at(
            declared.name.span.start,
            format!(
                "rows of `{}` may change their record key, of which `{}` is a part",
                declaration.table,
                name(*more)
            ),
            help("the record under the key before would stay"),
        )),
        _ => Ok(()),
    }
}

impl Target<'_> {
    /// Whether the rows of a relation are the table's already.
    fn is_arranged(&self, relation: &Relation) -> bool {
        relation.columns.len() == self.columns.len()
            && relation.columns.iter().zip(&self.columns).all(|(given, wanted)| {
                given.name == wanted.name && given.data_type == wanted.data_type && given.table.is_none()
            })
    }

    /// The select list as the table's columns, in its order.
    pub(super) fn arrange(&self, items: Vec<Item>, at: Location) -> Result<Vec<Item>, SqlError> {
        let targets = self.targets()?;
        if items.len() != targets.len() {
            let names: Vec<&str> = targets.iter().map(|target| self.columns[*target].name.as_str()).collect();
            return Err(SqlError::at(
                items.get(targets.len()).map_or(at, |item| item.at),
                format!("{} values for {} columns of `{}`", items.len(), targets.len(), self.table),
                format!("select one value for each of: {}", names.join(", ")),
            ));
        }
        let mut arranged: Vec<Option<Item>> = vec![None; self.columns.len()];
        for (item, target) in items.into_iter().zip(targets) {
            let column = &self.columns[target];
            let expression = types::coerce(item.expression, column.data_type).map_err(|found| {
                SqlError::at(
                    item.at,
                    format!(
                        "`{found}` is a {}, column `{}` of `{}` is a {}",
                        found.data_type(),
                        column.name,
                        self.table,
                        column.data_type
                    ),
                    mismatch_help(found.data_type(), column.data_type),
                )
            })?;
            arranged[target] = Some(Item { name: column.name.clone(), expression, ..item });
        }
        arranged
            .into_iter()
            .zip(&self.columns)
            .map(|(item, column)| match item {
                None if column.required => Err(SqlError::at(
                    self.insert.table.span.start,
                    format!(
                        "column `{}` of `{}` is NOT NULL, and no value is selected for it",
                        column.name, self.table
                    ),
                    "name it among the columns to insert, and select a value",
                )),
                item => Ok(item.unwrap_or_else(|| Item {
                    name: column.name.clone(),
                    expression: literal::literal(Value::Null, column.data_type),
                    role: Role::Plain,
                    at,
                })),
            })
            .collect()
    }

    fn targets(&self) -> Result<Vec<usize>, SqlError> {
        if self.insert.columns.is_empty() {
            return Ok((0..self.columns.len()).collect());
        }
        let mut targets = Vec::new();
        for name in &self.insert.columns {
            let known = self.columns.iter().map(|column| column.name.as_str());
            let target = known.clone().position(|column| column == name.value).ok_or_else(|| {
                SqlError::at(
                    name.span.start,
                    format!("table `{}` has no column `{}`", self.table, name.value),
                    suggest(&name.value, known),
                )
            })?;
            if targets.contains(&target) {
                return Err(SqlError::at(
                    name.span.start,
                    format!("`{}` is named twice", name.value),
                    "name it once",
                ));
            }
            targets.push(target);
        }
        Ok(targets)
    }
}

fn mismatch_help(found: DataType, wanted: DataType) -> String {
    match types::can_cast(found, wanted) {
        true => format!("write CAST(... AS {wanted}), or declare the column as {found}"),
        false => format!("declare the column as {found}"),
    }
}
