//! Names to columns, types to expressions: a parsed script becomes a plan.

mod aggregate;
mod expression;
mod format;
mod function;
mod literal;
mod operator;
mod pattern;
mod query;
mod signature;
mod table;
mod time_function;
mod types;

use std::collections::BTreeSet;

use sqlparser::tokenizer::Location;

use super::error::{SqlError, suggest};
use super::script::{CreateTable, Insert, Script};
use crate::plan::{Body, Expression, Plan, Source};

/// Binds a script to the plan of its one pipeline.
pub(crate) fn bind(script: &Script) -> Result<Plan, SqlError> {
    check_table_names(script)?;
    let insert = the_insert(script)?;
    let target = find_table(script, &insert.table.value, insert.table.span.start)?;
    let sink = table::sink(target)?;
    let mut plan = query::bind(script, insert, sink)?;
    prune_columns(&mut plan);
    Ok(plan)
}

fn check_table_names(script: &Script) -> Result<(), SqlError> {
    for (index, table) in script.tables.iter().enumerate() {
        if script.tables[..index].iter().any(|other| other.name.value == table.name.value) {
            return Err(SqlError::at(
                table.name.span.start,
                format!("a second table named `{}`", table.name.value),
                "give it another name; several tables may use one topic",
            ));
        }
    }
    Ok(())
}

fn the_insert(script: &Script) -> Result<&Insert, SqlError> {
    match script.inserts.as_slice() {
        [insert] => Ok(insert),
        [] => Err(SqlError::at(
            Location { line: 1, column: 1 },
            "the script writes nothing",
            "end it with INSERT INTO <table> SELECT ... FROM ...",
        )),
        [_, second, ..] => Err(SqlError::at(
            second.at,
            "a second INSERT INTO",
            "a pipeline has one; put the other into a script of its own",
        )),
    }
}

fn find_table<'a>(script: &'a Script, name: &str, at: Location) -> Result<&'a CreateTable, SqlError> {
    script.tables.iter().find(|table| table.name.value == name).ok_or_else(|| {
        let names = script.tables.iter().map(|table| table.name.value.as_str());
        SqlError::at(
            at,
            format!("there is no table `{name}`"),
            format!("{}; tables are declared above with CREATE TABLE", suggest(name, names)),
        )
    })
}

/// Leaves only the source columns that something reads, so that the decoder makes no others. A `NOT NULL` column
/// stays: it is a promise to check.
fn prune_columns(plan: &mut Plan) {
    let mut used: BTreeSet<usize> = plan.source.event_time.iter().map(|time| time.column).collect();
    let required = plan.source.columns.iter().enumerate().filter(|(_, column)| column.required);
    used.extend(required.map(|(index, _)| index));
    for_each_source_expression(plan, &mut |expression| {
        expression.for_each_column(&mut |index| {
            used.insert(index);
        });
    });
    let new_index = |old: usize| used.range(..old).count();
    for_each_source_expression(plan, &mut |expression| expression.remap_columns(&new_index));
    let Source { columns, event_time, .. } = &mut plan.source;
    if let Some(time) = event_time {
        time.column = new_index(time.column);
    }
    let mut index = 0;
    columns.retain(|_| {
        index += 1;
        used.contains(&(index - 1))
    });
}

fn for_each_source_expression(plan: &mut Plan, visit: &mut impl FnMut(&mut Expression)) {
    plan.filter.iter_mut().for_each(&mut *visit);
    match &mut plan.body {
        Body::Project { outputs } => outputs.iter_mut().for_each(visit),
        Body::Window(window) => {
            window.keys.iter_mut().for_each(|key| visit(&mut key.expression));
            for aggregate in &mut window.aggregates {
                aggregate.argument.iter_mut().for_each(&mut *visit);
                aggregate.filter.iter_mut().for_each(&mut *visit);
            }
        }
    }
}
