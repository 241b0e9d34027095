//! Whose sessions they are: `PARTITION BY` of a session window, and the columns that its groups are by.
//!
//! A session is of equal values of the columns of `PARTITION BY`, and so is a group of it. Columns that are in one place
//! only would mean other sessions than those that are computed.

use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::relation::{Relation, WINDOW_COLUMNS, Windows};
use super::scope::NamedExpression;
use crate::plan::Expression;

/// Refuses groups of sessions by other columns than the sessions are of. What follows from these columns alone may stand
/// beside them.
pub(super) fn check(from: &Relation, keys: &[NamedExpression], at: Location) -> Result<(), SqlError> {
    let Some(Windows::Session { partition_by, .. }) = &from.windows else { return Ok(()) };
    let width = from.columns.len() - WINDOW_COLUMNS.len();
    let is_column = |key: &NamedExpression, column: usize| matches!(key.expression, Expression::Column { index, .. } if index == column);
    let all_named = partition_by.iter().all(|column| keys.iter().any(|key| is_column(key, *column)));
    let follows = |key: &NamedExpression| {
        let mut follows = !key.expression.reads_clock();
        // What reads the bounds is refused for that.
        let is_of = |index: usize| index >= width || partition_by.contains(&index);
        key.expression.for_each_column(&mut |index| follows &= is_of(index));
        follows
    };
    let other = keys.iter().find(|key| !follows(key));
    if all_named && other.is_none() {
        return Ok(());
    }
    let names = |columns: &[usize]| {
        columns.iter().map(|column| from.columns[*column].name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let of = match partition_by.as_slice() {
        [] => "all rows".to_owned(),
        columns => format!("each `{}`", names(columns)),
    };
    let by = match keys {
        [] => "the window alone".to_owned(),
        keys => {
            let texts: Vec<String> = keys.iter().map(|key| key.expression.to_string()).collect();
            format!("`{}`", texts.join(", "))
        }
    };
    let mut columns = Vec::new();
    for key in keys {
        key.expression.for_each_column(&mut |index| {
            if index < width && !columns.contains(&index) {
                columns.push(index);
            }
        });
    }
    let wanted = match columns.as_slice() {
        [] => "leave PARTITION BY out".to_owned(),
        columns => {
            format!("write SESSION(TABLE <table> PARTITION BY {}, DESCRIPTOR(<time>), <gap>)", names(columns))
        }
    };
    let or = match partition_by.as_slice() {
        [] => "GROUP BY window_start, window_end".to_owned(),
        columns => format!("GROUP BY window_start, window_end, {}", names(columns)),
    };
    Err(SqlError::at(
        at,
        format!("the sessions are those of {of}, and the groups are by {by}"),
        format!("name the same columns in both: {wanted}, or {or}"),
    ))
}
