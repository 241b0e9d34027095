//! Names to columns, types to expressions: a parsed script becomes a plan.
//!
//! ```text
//! INSERT ─► query ─► FROM (tables, views, window functions, joins) ─► relation ─► WHERE, GROUP BY, SELECT ─► relation
//!                                                                                                 └─► sink
//! ```

mod aggregate;
mod apart;
mod empty_group;
mod expression;
mod format;
mod from;
mod frozen_time;
mod function;
mod graph;
mod group;
mod join;
pub(super) mod literal;
mod operator;
mod over;
mod over_node;
mod pair_condition;
mod pattern;
mod query;
mod rank_limit;
mod relation;
mod scope;
mod select;
mod session_keys;
mod shared;
mod shed;
mod signature;
mod sink;
mod table;
mod time_function;
mod types;
mod user_function;

use sqlparser::ast::Expr;
use sqlparser::tokenizer::Location;

pub(crate) use self::empty_group::EMPTY_ROW_TOPIC;
pub(super) use self::select::bind_select;
pub(crate) use self::select::{BoundSelect, RESULT_TOPIC, SelectOrder};
pub(super) use self::user_function::declare;
use super::error::SqlError;
use super::statement::Script;
use crate::plan::{self, Expression, Plan};

/// Binds a script to the plan of its one pipeline.
pub(crate) fn bind(script: &Script) -> Result<Plan, SqlError> {
    check_names(script)?;
    if script.inserts.is_empty() {
        return Err(SqlError::at(
            Location { line: 1, column: 1 },
            "the script writes nothing",
            "end it with INSERT INTO <table> SELECT ... FROM ...",
        ));
    }
    let mut graph = graph::GraphBuilder::new();
    for insert in &script.inserts {
        sink::bind(script, insert, &mut graph)?;
    }
    let mut plan = graph.finish();
    plan::simplify(&mut plan);
    check_topics(script, &plan)?;
    shed::check_shared(script, &plan.sources)?;
    Ok(plan)
}

/// Whether a name, in any letters, is that of a function the language has.
pub(crate) fn is_built_in(name: &str) -> bool {
    const OTHERS: [&str; 8] = ["ROW_NUMBER", "RANK", "DENSE_RANK", "LAG", "LEAD", "TRIM", "IF", "IIF"];
    let upper = name.to_ascii_uppercase();
    signature::is_built_in(&upper) || aggregate::by_name(&upper).is_some() || OTHERS.contains(&&*upper)
}

/// Binds a single expression over the columns of a row.
pub(crate) fn bind_expression(columns: &[plan::Column], expr: &Expr) -> Result<Expression, SqlError> {
    let plain = |column: &plan::Column| scope::ScopeColumn {
        table: None,
        name: column.name.clone(),
        data_type: column.data_type,
        role: scope::Role::Plain,
        merged: false,
    };
    let scope: Vec<_> = columns.iter().map(plain).collect();
    expression::Binder::new(&scope, Location { line: 1, column: 1 }).bind(expr)
}

/// That no topic is both read and written.
fn check_topics(script: &Script, plan: &Plan) -> Result<(), SqlError> {
    let reads = |topic: &str| plan.sources.iter().find(|source| source.topic == topic);
    let at = |table: &str| {
        let declared = script.tables.iter().find(|declared| declared.name.value == table);
        declared.map_or(Location { line: 1, column: 1 }, |declared| declared.name.span.start)
    };
    let help = "write another topic; a pipeline of its own can read that and go on";
    if let Some((sink, source)) = plan.sinks.iter().find_map(|sink| Some((sink, reads(&sink.topic)?))) {
        let insert = script.inserts.iter().find(|insert| insert.table.value == sink.table);
        return Err(SqlError::at(
            insert.map_or_else(|| at(&sink.table), |insert| insert.table.span.start),
            format!(
                "`{}` writes topic `{}`, which the script reads as `{}`",
                sink.table, sink.topic, source.table
            ),
            help,
        ));
    }
    for source in &plan.sources {
        let mut own = source.side_topics();
        if let Some((topic, read)) = own.find_map(|topic| Some((topic, reads(topic)?))) {
            return Err(SqlError::at(
                at(&source.table),
                format!(
                    "`{}` puts records aside in topic `{topic}`, which the script reads as `{}`",
                    source.table, read.table
                ),
                help,
            ));
        }
    }
    Ok(())
}

fn check_names(script: &Script) -> Result<(), SqlError> {
    let tables = script.tables.iter().map(|table| &table.name);
    let names: Vec<_> = tables.chain(script.views.iter().map(|view| &view.name)).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].iter().any(|other| other.value == name.value) {
            return Err(SqlError::at(
                name.span.start,
                format!("a second table named `{}`", name.value),
                "give it another name; several tables may use one topic",
            ));
        }
    }
    Ok(())
}
