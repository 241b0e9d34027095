//! What becomes of each operator's state.

use std::collections::BTreeSet;
use std::fmt;

use super::migrate::Migrations;
use crate::pipeline::Counters;
use crate::plan::{OperatorState, Plan};

/// What becomes of an operator's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays as it is.
    Kept,
    /// It is made of that of an operator of the old plan, which has all of it.
    Migrated,
    /// The old plan has an operator of the kind that computes something else: its state is made anew from the input.
    Rebuilt,
    /// The old plan has nothing like it: its state is made from the input.
    New,
    /// The new plan does not have it: its state is forgotten.
    Dropped,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Kept => "kept",
            Fate::Migrated => "migrated",
            Fate::Rebuilt => "rebuilt",
            Fate::New => "new",
            Fate::Dropped => "dropped",
        })
    }
}

/// An operator that keeps state, in either plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorChange {
    /// The operator's name.
    pub operator: &'static str,
    /// Its identity; see [`Plan::identities`].
    pub identity: u32,
    /// What it keeps.
    pub keeps: String,
    /// What becomes of that.
    pub fate: Fate,
}

/// What it takes to go on with another plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// Every operator that keeps state: those of the new plan in its order, then those that are dropped.
    pub operators: Vec<OperatorChange>,
    /// The topics that only the new plan reads.
    pub new_sources: Vec<String>,
    /// The topics that only the old plan reads.
    pub dropped_sources: Vec<String>,
    /// The topics that only the new plan writes.
    pub new_sinks: Vec<String>,
    /// The topics that only the old plan writes.
    pub dropped_sinks: Vec<String>,
    pub(super) migrations: Migrations,
}

impl Upgrade {
    /// Compares two plans. `totals` is what the pipeline has done so far: where it has passed records over, less of its state
    /// can be migrated.
    pub fn between(old: &Plan, new: &Plan, totals: &Counters) -> Upgrade {
        let (before, after) = (old.states(), new.states());
        let migrations = Migrations::between(old, new, totals);
        let is_made_of = |state: &OperatorState| {
            let mut list = migrations.list.iter();
            list.find(|migration| migration.new.1 == state.identity).map(|migration| migration.old.1)
        };
        let is_in = |states: &[OperatorState], state: &OperatorState| {
            states.iter().any(|other| other.identity == state.identity && other.operator == state.operator)
        };
        // Each operator that goes explains one of its kind that comes.
        let mut gone: Vec<&OperatorState> = before.iter().filter(|state| !is_in(&after, state)).collect();
        let migrated: Vec<u32> = after.iter().filter_map(is_made_of).collect();
        gone.retain(|state| !migrated.contains(&state.identity));
        let mut operators = Vec::with_capacity(after.len());
        let change = |state: &OperatorState, fate| OperatorChange {
            operator: state.operator,
            identity: state.identity,
            keeps: state.keeps.clone(),
            fate,
        };
        for state in &after {
            let fate = match gone.iter().position(|other| other.operator == state.operator) {
                _ if is_in(&before, state) => Fate::Kept,
                _ if is_made_of(state).is_some() => Fate::Migrated,
                Some(at) => {
                    gone.remove(at);
                    Fate::Rebuilt
                }
                None => Fate::New,
            };
            operators.push(change(state, fate));
        }
        operators.extend(gone.into_iter().map(|state| change(state, Fate::Dropped)));
        let written = |plan: &Plan| -> BTreeSet<String> {
            plan.sink_topics().into_iter().chain(plan.side_topics()).map(str::to_owned).collect()
        };
        let read = |plan: &Plan| -> BTreeSet<String> {
            plan.source_topics().into_iter().map(str::to_owned).collect()
        };
        let only = |of: &BTreeSet<String>, other: &BTreeSet<String>| of.difference(other).cloned().collect();
        Upgrade {
            operators,
            new_sources: only(&read(new), &read(old)),
            dropped_sources: only(&read(old), &read(new)),
            new_sinks: only(&written(new), &written(old)),
            dropped_sinks: only(&written(old), &written(new)),
            migrations,
        }
    }

    /// Whether the input must be read again: some state has to be made from it.
    pub fn replays(&self) -> bool {
        self.operators.iter().any(|change| matches!(change.fate, Fate::Rebuilt | Fate::New))
    }

    /// Whether an operator of this identity is kept.
    pub fn keeps(&self, identity: u32) -> bool {
        self.operators.iter().any(|change| change.fate == Fate::Kept && change.identity == identity)
    }

    /// Whether the state of an operator of this identity is made from the input.
    pub fn makes(&self, identity: u32) -> bool {
        let made = |change: &OperatorChange| matches!(change.fate, Fate::Rebuilt | Fate::New);
        self.operators.iter().any(|change| made(change) && change.identity == identity)
    }
}
