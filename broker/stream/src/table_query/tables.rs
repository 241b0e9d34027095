//! The tables of a pipeline's plan, and which of them are no tables to ask: their topics do not say which rows there are.

use crate::plan::{OutputMode, Plan, Sink, Source};
use crate::sql::Refusal;

/// A table that a pipeline writes.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTable {
    /// The pipeline.
    pub pipeline: String,
    /// What it writes; where several `INSERT`s write the table, one of them.
    pub sink: Sink,
    /// Why its topic does not say which rows it has, if so.
    pub(super) refusal: Option<Refusal>,
    /// All that write it write a row's key alike.
    pub(super) has_one_key: bool,
}

impl QueryTable {
    /// The tables that a pipeline writes, each once, however many `INSERT`s write it.
    pub fn all(pipeline: &str, plan: &Plan) -> Vec<QueryTable> {
        let mut tables: Vec<QueryTable> = Vec::new();
        for sink in &plan.sinks {
            if tables.iter().any(|known| known.sink.table == sink.table) {
                continue;
            }
            let own = || plan.sinks.iter().filter(|other| other.table == sink.table);
            tables.push(QueryTable {
                pipeline: pipeline.to_owned(),
                sink: sink.clone(),
                refusal: of_modes(own()).or_else(|| of_topic(plan, sink)),
                has_one_key: own().all(|other| other.key == sink.key),
            });
        }
        tables
    }
}

/// Why the records that these write, all of them to one table, are not its rows, where they are not.
fn of_modes<'p>(sinks: impl Iterator<Item = &'p Sink> + Clone) -> Option<Refusal> {
    if let Some((Sink { table, mode, .. }, reason)) =
        sinks.clone().find_map(|sink| Some((sink, no_rows(sink.mode)?)))
    {
        return Some(Refusal {
            message: format!("`{table}` is written with 'output' = '{}': {reason}", mode.name()),
            help: "query tables with 'output' = 'upsert' or 'append'".to_owned(),
        });
    }
    let mut all = sinks.clone();
    let first = all.next()?;
    let other = all.find(|other| other.mode != first.mode)?;
    Some(Refusal {
        message: format!(
            "one INSERT writes `{}` with 'output' = '{}', another with '{}': a record does not say whether it replaces \
             the one before it of its key",
            first.table,
            first.mode.name(),
            other.mode.name()
        ),
        help: "set 'output' = 'upsert' in its CREATE TABLE".to_owned(),
    })
}

/// Why the records of a topic are not the rows of a table, where they are not.
fn no_rows(mode: OutputMode) -> Option<&'static str> {
    match mode {
        OutputMode::Append | OutputMode::Upsert => None,
        OutputMode::Update => Some("the topic does not say which rows are gone"),
        OutputMode::Retract => Some("its records are changes"),
        OutputMode::Complete => Some("its records are whole tables, one behind the other"),
    }
}

/// What else writes a table's topic: no record says whose it is.
fn of_topic(plan: &Plan, Sink { table, topic, .. }: &Sink) -> Option<Refusal> {
    let puts_aside = |source: &&Source| source.side_topics().any(|aside| aside == topic);
    let another = plan.sinks.iter().find(|other| other.topic == *topic && other.table != *table);
    let others = match (another, plan.sources.iter().find(puts_aside)) {
        (Some(other), _) => format!("rows of `{}`", other.table),
        (None, Some(source)) => format!("records that `{}` puts aside", source.table),
        (None, None) => return None,
    };
    Some(Refusal {
        message: format!(
            "topic `{topic}` has {others} beside those of `{table}`, and no record says whose it is"
        ),
        help: "give each a topic of its own: 'topic' = '<topic>'".to_owned(),
    })
}
