//! `NOW()` over rows that may be taken back.
//!
//! Processing time stands still for an epoch, and is another one in the next. An expression that reads it may have one
//! value when a row is given and another when it is taken back: the row that goes would not be the one that came, and
//! what a filter let through it might not let go.

use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::graph::GraphBuilder;
use crate::plan::{Expression, JoinBound, Operator, OutputMode, SinkKey};

/// Refuses expressions over rows that may be taken back whose value depends on when they are computed. In what an upsert
/// writes beside its key they may stand: of a row that goes only the key is written.
pub(super) fn check(
    graph: &GraphBuilder,
    input: usize,
    mode: OutputMode,
    key: &[SinkKey],
    at: Location,
) -> Result<(), SqlError> {
    let replaces = matches!(mode, OutputMode::Upsert | OutputMode::Update);
    let mut reached = vec![input];
    let mut next = 0;
    while let Some(index) = reached.get(next).copied() {
        next += 1;
        let written =
            |column: usize| replaces && index == input && key.iter().all(|part| part.column != column);
        if let Some(found) = over_changes(graph, index, written) {
            return Err(SqlError::at(
                at,
                format!(
                    "`{found}` is over rows that may be taken back, when it may have another value: time goes on \
                     from epoch to epoch"
                ),
                "compute it where rows are only added, or compare with a time that the rows bring along; beside the key \
                 of a table with 'output' = 'upsert' it may stand in the last SELECT",
            ));
        }
        for input in &graph.node_at(index).inputs {
            if !reached.contains(input) {
                reached.push(*input);
            }
        }
    }
    Ok(())
}

/// An expression of a node that reads the clock over rows that may be taken back, but for columns that are excepted.
fn over_changes(
    graph: &GraphBuilder,
    index: usize,
    is_excepted: impl Fn(usize) -> bool,
) -> Option<&Expression> {
    let node = graph.node_at(index);
    let changes = || node.inputs.iter().any(|input| graph.changes(*input));
    match &node.operator {
        Operator::Map { filter, outputs } if changes() => {
            let outputs = outputs.iter().enumerate().filter(|(column, _)| !is_excepted(*column));
            let all = filter.iter().chain(outputs.map(|(_, output)| output));
            all.into_iter().find(|expression| expression.reads_clock())
        }
        // A row that goes must find the partners that it had.
        Operator::Join(join) if node.changes && matches!(join.bound, JoinBound::State(_)) => {
            join.condition.as_ref().filter(|condition| condition.reads_clock())
        }
        Operator::Source { source } if node.changes => {
            let computed = graph.source_at(*source).computed.iter().map(|computed| &computed.expression);
            computed.into_iter().find(|expression| expression.reads_clock())
        }
        _ => None,
    }
}
