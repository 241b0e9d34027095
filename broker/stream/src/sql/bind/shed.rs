//! What a table sheds when its pipeline is behind.

use super::super::error::{SqlError, suggest};
use super::super::shed::ShedClause;
use super::super::statement::{CreateTable, Script};
use super::scope::{Binder, Role, ScopeColumn};
use super::{table, types};
use crate::functions::Functions;
use crate::plan::{Column, Expression, Shed, ShedPolicy, Source};
use crate::value::DataType;

const POLICIES: [&str; 5] = ["random", "hash", "oldest", "conflate", "priority"];

/// Binds the clause over a row of the table.
pub(super) fn bind(
    declared: &CreateTable,
    clause: &ShedClause,
    row: &[Column],
    replaces: bool,
    functions: &Functions,
) -> Result<Shed, SqlError> {
    if replaces {
        return Err(SqlError::at(
            clause.at,
            format!(
                "records of `{}` replace rows or take them back, and what is shed would stay",
                declared.name.value
            ),
            "leave SHED out; a table whose records are rows of their own may shed",
        ));
    }
    let above = clause.above;
    let below = match clause.below {
        // Who has caught up is behind by nothing, and sheds no more.
        None => (above.value / 2).max(1),
        Some(below) if below.measure != above.measure => {
            return Err(SqlError::at(
                below.at,
                "the two bounds are not of one kind",
                "write both as an INTERVAL, or both in RECORDS",
            ));
        }
        Some(below) if below.value >= above.value => {
            return Err(SqlError::at(
                below.at,
                "shedding would end before it begins",
                "let it end at a smaller lag than it begins at; without UNTIL it ends at half",
            ));
        }
        Some(below) => below.value,
    };
    let policy = policy(declared, clause, row, functions)?;
    let topic = match &clause.topic {
        Some((_, at)) if policy == ShedPolicy::Oldest => {
            return Err(SqlError::at(
                *at,
                "`oldest` does not read what it sheds, so that there is nothing to write",
                "leave TO out, or shed USING random",
            ));
        }
        Some((topic, at)) => Some(table::topic_name(topic, *at)?),
        None => None,
    };
    Ok(Shed { measure: above.measure, above: above.value, below, policy, topic })
}

fn policy(
    declared: &CreateTable,
    clause: &ShedClause,
    row: &[Column],
    functions: &Functions,
) -> Result<ShedPolicy, SqlError> {
    let name = clause.policy.as_str();
    if !POLICIES.contains(&name) {
        let message = format!("there is no way to shed that is called `{name}`");
        return Err(SqlError::at(clause.policy_at, message, suggest(name, POLICIES)));
    }
    let scope: Vec<ScopeColumn> = row
        .iter()
        .map(|column| ScopeColumn {
            table: Some(declared.name.value.clone()),
            name: column.name.clone(),
            data_type: column.data_type,
            role: Role::Plain,
            merged: false,
        })
        .collect();
    let bound =
        |(expression, at): &(_, _)| Binder::new(&scope, *at).with_functions(functions).bind(expression);
    let bound: Vec<Expression> = clause.arguments.iter().map(bound).collect::<Result<_, _>>()?;
    match (name, bound.as_slice()) {
        ("random", []) => Ok(ShedPolicy::Random),
        ("oldest", []) => Ok(ShedPolicy::Oldest),
        ("random" | "oldest", _) => Err(SqlError::at(
            clause.arguments[0].1,
            format!("`{name}` takes nothing in brackets"),
            format!("write USING {name}"),
        )),
        ("priority", [by]) => {
            let by = types::coerce(by.clone(), DataType::Double).map_err(|found| {
                SqlError::at(
                    clause.arguments[0].1,
                    format!("a priority is a number, and `{found}` is a {}", found.data_type()),
                    "write an expression that gives a BIGINT, a DECIMAL or a DOUBLE",
                )
            })?;
            Ok(ShedPolicy::Priority { by })
        }
        ("priority", _) => Err(SqlError::at(
            clause.policy_at,
            "`priority` takes one expression",
            "write USING priority(<expression>)",
        )),
        (_, []) => Err(SqlError::at(
            clause.policy_at,
            format!("`{name}` needs to know the key"),
            format!("write USING {name}(<column>)"),
        )),
        ("hash", _) => Ok(ShedPolicy::Hash { key: bound }),
        _ => Ok(ShedPolicy::Conflate { key: bound }),
    }
}

/// What `oldest` passes over no table of the topic reads: all of them must say so.
pub(super) fn check_shared(script: &Script, sources: &[Source]) -> Result<(), SqlError> {
    let is_oldest = |shed: &Shed| shed.policy == ShedPolicy::Oldest;
    for source in sources {
        let Some(shed) = source.shed.as_ref().filter(|shed| is_oldest(shed)) else { continue };
        let other =
            sources.iter().find(|other| other.topic == source.topic && other.shed.as_ref() != Some(shed));
        let Some(other) = other else { continue };
        let declared = script.tables.iter().find(|table| table.name.value == source.table);
        let clause = declared.and_then(|table| table.shed.as_ref());
        let at = clause.map_or(script.inserts[0].at, |clause| clause.at);
        return Err(SqlError::at(
            at,
            format!("`{}` reads the same topic, and does not shed in the same way", other.table),
            format!(
                "write the same SHED clause there: what `oldest` passes over is not read for `{}` either",
                other.table
            ),
        ));
    }
    Ok(())
}
