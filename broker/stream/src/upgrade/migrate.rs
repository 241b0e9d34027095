//! Which operators' state can become that of others, and how: decided from the two plans alone.
//!
//! An operator is *migrated* when its rows are the same, and so is what it does with them, but for what its state does not
//! say or has enough of:
//!
//! - an aggregate of a group that is not asked for any more, or in another place; `AVG` where there was `SUM`, which keeps
//!   the same;
//! - how long state is kept: the new time holds from the cut on, and what was forgotten before stays so;
//! - fewer of the first rows of a ranking, or any number of them where all rows are kept because rows may be taken back;
//! - whatever is the same in all of this, behind one that is migrated.
//!
//! Its rows are the same also where fewer columns are read or computed for it. That is not so where records were passed
//! over for what was in such a column: then it is not migrated.

use std::collections::BTreeSet;

use super::seen::Seen;
use crate::operators::{Regrouped, Regrouping, same_state};
use crate::pipeline::Counters;
use crate::plan::{
    Aggregate, Computed, EventTime, Expression, Join, JoinBound, Node, Operator, Over, OverMode, Plan, Rank,
    RankMode, Source, StateBound, WindowOf,
};
use crate::value::DataType;

/// What is done with the entries of an operator that is migrated.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recipe {
    /// They are as they were.
    AsTheyAre,
    /// They keep some of their aggregates.
    Regrouped(Regrouped),
}

/// An operator that is migrated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Migration {
    /// Its place in the old plan, and its identity there.
    pub(super) old: (usize, u32),
    /// The same in the new plan.
    pub(super) new: (usize, u32),
    pub(super) recipe: Recipe,
}

/// What is found of two plans.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Migrations {
    /// In the order of the identities they have in the new plan.
    pub(super) list: Vec<Migration>,
    /// Of each source of the new plan that something is migrated behind, the one of the old plan of which it reads fewer
    /// columns.
    pub(super) sources: Vec<Option<usize>>,
    /// Whether something is migrated behind a node that is not the same.
    behind_another: bool,
}

impl Migrations {
    /// Looks for what can be migrated. `totals` is what the old plan has done.
    pub(super) fn between(old: &Plan, new: &Plan, totals: &Counters) -> Migrations {
        Matching {
            old,
            new,
            identities: (old.identities(), new.identities()),
            none_passed_over: none_passed_over(totals),
            pairs: vec![None; new.nodes.len()],
            found: Migrations { sources: vec![None; new.sources.len()], ..Migrations::default() },
        }
        .run()
    }

    /// Whether some are sound only because no record was passed over.
    pub(super) fn is_only_without_passing_over(&self) -> bool {
        self.behind_another || self.sources.iter().any(Option::is_some)
    }
}

/// Whether every record became the rows that it is to become.
pub(super) fn none_passed_over(totals: &Counters) -> bool {
    totals.skipped == totals.without_value && totals.dead_lettered == 0 && totals.unwritten == 0
}

/// A node of the old plan that gives all that one of the new plan does: it, and where each column of the new one is in its
/// rows.
type Pair = (usize, Vec<usize>);

struct Matching<'m> {
    old: &'m Plan,
    new: &'m Plan,
    identities: (Vec<u32>, Vec<u32>),
    none_passed_over: bool,
    /// For each node of the new plan that is no projection.
    pairs: Vec<Option<Pair>>,
    found: Migrations,
}

/// An input of both: as the nodes are before projections, and where the columns of the new one's base are in the old one's.
struct Inputs {
    old: Seen,
    new: Seen,
    columns: Vec<usize>,
}

impl Inputs {
    /// An expression over the new plan's rows, as one over those of the old plan's base.
    fn in_old(&self, expression: &Expression) -> Expression {
        let mut read = expression.clone();
        read.remap_columns(&|column| self.columns[column]);
        read
    }

    /// Whether a column of the new input is that of the old one.
    fn is(&self, new: usize, old: usize) -> bool {
        self.in_old(&self.new.columns[new]) == self.old.columns[old]
    }

    fn are(&self, new: &[usize], old: &[usize]) -> bool {
        new.len() == old.len() && new.iter().zip(old).all(|(new, old)| self.is(*new, *old))
    }

    fn is_optional(&self, new: Option<usize>, old: Option<usize>) -> bool {
        match (new, old) {
            (Some(new), Some(old)) => self.is(new, old),
            (new, old) => new.is_none() && old.is_none(),
        }
    }

    /// Where each column of the new input is in the old one; `None` when one is not.
    fn places(&self) -> Option<Vec<usize>> {
        let place = |new: usize| (0..self.old.columns.len()).find(|old| self.is(new, *old));
        (0..self.new.columns.len()).map(place).collect()
    }

    /// Whether both are the same rows, column by column.
    fn are_equal(&self) -> bool {
        let columns: Vec<usize> = (0..self.new.columns.len()).collect();
        self.old.columns.len() == columns.len() && self.are(&columns, &columns)
    }
}

impl Matching<'_> {
    fn run(mut self) -> Migrations {
        let mut taken = vec![false; self.old.nodes.len()];
        for index in 0..self.new.nodes.len() {
            let identity = self.identities.1[index];
            let same = self.identities.0.iter().position(|other| *other == identity);
            self.pairs[index] = match (same, &self.new.nodes[index].operator) {
                (Some(old), _) => {
                    taken[old] = true;
                    Some((old, (0..self.new.nodes[index].columns.len()).collect()))
                }
                (None, Operator::Source { source }) => self.source(*source),
                (None, Operator::Map { .. }) => None,
                (None, _) => {
                    let is_kept = |old: usize| self.identities.1.contains(&self.identities.0[old]);
                    let candidates = (0..self.old.nodes.len()).filter(|old| !taken[*old] && !is_kept(*old));
                    let migrated =
                        candidates.filter_map(|old| Some((old, self.migrated(old, index)?))).next();
                    migrated.and_then(|(old, (recipe, columns))| {
                        taken[old] = true;
                        // What is not the same may read or compute less.
                        let mut inputs = self.old.nodes[old].inputs.iter().zip(&self.new.nodes[index].inputs);
                        self.found.behind_another |=
                            inputs.any(|(old, new)| self.identities.0[*old] != self.identities.1[*new]);
                        let old = (old, self.identities.0[old]);
                        self.found.list.push(Migration { old, new: (index, identity), recipe });
                        Some((old.0, columns?))
                    })
                }
            };
        }
        let Migrations { mut list, mut sources, behind_another } = self.found;
        // Sources that nothing is migrated behind are read anew.
        let read = read_by(self.new, list.iter().map(|migration| migration.new.0));
        for (source, narrowed) in sources.iter_mut().enumerate() {
            *narrowed = narrowed.filter(|_| read.contains(&source));
        }
        list.sort_by_key(|migration| migration.new.1);
        Migrations { list, sources, behind_another }
    }

    /// The old source that reads the same records, and of them at least as much.
    fn source(&mut self, new: usize) -> Option<Pair> {
        let found =
            |old: usize| Some((old, columns_of_source(&self.old.sources[old], &self.new.sources[new])?));
        let (old, columns) = (0..self.old.sources.len()).find_map(found)?;
        if !self.none_passed_over {
            return None;
        }
        self.found.sources[new] = Some(old);
        let is_it = |node: &Node| matches!(node.operator, Operator::Source { source } if source == old);
        Some((self.old.nodes.iter().position(is_it)?, columns))
    }

    /// What both nodes take from one of their inputs, if that is the same rows.
    fn inputs(&self, old: usize, new: usize, at: usize) -> Option<Inputs> {
        let (old, new) = (self.old.nodes[old].inputs.get(at)?, self.new.nodes[new].inputs.get(at)?);
        let same_nodes = self.identities.0[*old] == self.identities.1[*new];
        if self.old.nodes[*old].changes != self.new.nodes[*new].changes {
            return None;
        }
        let (old, new) = (Seen::of(self.old, *old)?, Seen::of(self.new, *new)?);
        let (base, columns) = self.pairs[new.base].clone()?;
        let inputs = Inputs { old, new, columns };
        let filters = inputs.new.filters.iter().map(|filter| inputs.in_old(filter));
        let same = base == inputs.old.base && filters.eq(inputs.old.filters.iter().cloned());
        // Less may be computed than was, of which some may have failed.
        (same && (same_nodes || self.none_passed_over)).then_some(inputs)
    }

    /// What is done with the state of an old node to make it that of a new one, and where the columns of the new one's rows
    /// are in those of the old one, if they are the same rows.
    fn migrated(&self, old: usize, new: usize) -> Option<(Recipe, Option<Vec<usize>>)> {
        let (before, after) = (&self.old.nodes[old], &self.new.nodes[new]);
        if before.inputs.len() != after.inputs.len() || before.changes != after.changes {
            return None;
        }
        match (&before.operator, &after.operator) {
            (Operator::GroupAggregate(before), Operator::GroupAggregate(after)) => {
                let inputs = self.inputs(old, new, 0)?;
                self.regrouped(
                    old,
                    &inputs,
                    [(&before.keys, &before.aggregates), (&after.keys, &after.aggregates)],
                    0,
                )
            }
            (Operator::WindowAggregate(before), Operator::WindowAggregate(after)) => {
                let inputs = self.inputs(old, new, 0)?;
                let same_window = match (before.window, after.window) {
                    (
                        WindowOf::Assigned { kind: old_kind, time: old },
                        WindowOf::Assigned { kind, time: new },
                    ) => kind == old_kind && inputs.is(new, old),
                    (WindowOf::Given { start: old_start, end: old_end }, WindowOf::Given { start, end }) => {
                        inputs.is(start, old_start) && inputs.is(end, old_end)
                    }
                    _ => false,
                };
                if !same_window || before.emit != after.emit {
                    return None;
                }
                self.regrouped(
                    old,
                    &inputs,
                    [(&before.keys, &before.aggregates), (&after.keys, &after.aggregates)],
                    2,
                )
            }
            (Operator::SessionAggregate(before), Operator::SessionAggregate(after)) => {
                let inputs = self.inputs(old, new, 0)?;
                if (before.gap_ms, before.emit) != (after.gap_ms, after.emit)
                    || !inputs.is(after.time, before.time)
                {
                    return None;
                }
                self.regrouped(
                    old,
                    &inputs,
                    [(&before.keys, &before.aggregates), (&after.keys, &after.aggregates)],
                    2,
                )
            }
            (Operator::Rank(before), Operator::Rank(after)) => {
                let inputs = self.inputs(old, new, 0)?;
                let keeps_all = self.old.nodes[self.old.nodes[old].inputs[0]].changes;
                let enough = keeps_all || before.function == after.function && after.limit <= before.limit;
                let same_rows = |rank: &Rank| (rank.function, rank.limit, rank.numbered);
                let like = Rank {
                    function: after.function,
                    limit: after.limit,
                    numbered: after.numbered,
                    mode: with_bound(before.mode, after.mode)?,
                    ..before.clone()
                };
                if !enough || !inputs.are_equal() || like != *after {
                    return None;
                }
                let columns = (same_rows(before) == same_rows(after)).then(|| all_of(&self.new.nodes[new]));
                Some((Recipe::AsTheyAre, columns))
            }
            // A projection has no state, and windows are assigned to rows of a source.
            (Operator::Source { .. } | Operator::Map { .. }, _) => None,
            (before, after) => {
                let inputs = self.old.nodes[old].inputs.len();
                let equal = |at: usize| self.inputs(old, new, at).is_some_and(|inputs| inputs.are_equal());
                let same = like(before, after).is_some_and(|like| like == *after);
                (same && (0..inputs).all(equal))
                    .then(|| (Recipe::AsTheyAre, Some(all_of(&self.new.nodes[new]))))
            }
        }
    }

    /// Groups of the same keys, of which some aggregates are still asked for. Their rows begin with so many columns that are
    /// no key.
    fn regrouped(
        &self,
        old: usize,
        inputs: &Inputs,
        [(old_keys, old_aggregates), (keys, aggregates)]: [(&Vec<usize>, &Vec<Aggregate>); 2],
        leading: usize,
    ) -> Option<(Recipe, Option<Vec<usize>>)> {
        if !inputs.are(keys, old_keys) {
            return None;
        }
        let pick = |aggregate: &Aggregate| {
            old_aggregates.iter().position(|old| {
                same_state(old, aggregate)
                    && inputs.is_optional(aggregate.argument, old.argument)
                    && inputs.is_optional(aggregate.filter, old.filter)
            })
        };
        let picks: Vec<usize> = aggregates.iter().map(pick).collect::<Option<_>>()?;
        let input = &self.old.nodes[self.old.nodes[old].inputs[0]];
        let types: Vec<DataType> = input.types();
        let before =
            Regrouping { aggregates: old_aggregates, keys: old_keys, input: &types, changes: input.changes };
        let columns = match self.old.nodes[old].operator {
            // Rows may be held that are late for some of their windows.
            Operator::WindowAggregate(_) => inputs.places()?,
            _ => Vec::new(),
        };
        let recipe = Recipe::Regrouped(Regrouped::new(before, picks.clone(), columns)?);
        // One that gives another value out of the same state gives other rows.
        let gives =
            |(aggregate, pick): (&Aggregate, &usize)| old_aggregates[*pick].function == aggregate.function;
        let same = aggregates.iter().zip(&picks).all(gives);
        let keys = leading + old_keys.len();
        let columns = || (0..keys).chain(picks.iter().map(|pick| keys + pick)).collect();
        Some((recipe, same.then(columns)))
    }
}

/// The sources that some nodes read, through whatever else.
fn read_by(plan: &Plan, nodes: impl Iterator<Item = usize>) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = nodes.collect();
    // The inputs of a node come before it.
    for node in (0..plan.nodes.len()).rev() {
        if found.contains(&node) {
            found.extend(&plan.nodes[node].inputs);
        }
    }
    let source = |node: usize| match plan.nodes[node].operator {
        Operator::Source { source } => Some(source),
        _ => None,
    };
    found.into_iter().filter_map(source).collect()
}

fn all_of(node: &Node) -> Vec<usize> {
    (0..node.columns.len()).collect()
}

/// Where the columns of a source are in another, which reads the same records as the same rows but for more columns.
fn columns_of_source(old: &Source, new: &Source) -> Option<Vec<usize>> {
    let mut places: Vec<usize> = Vec::new();
    for column in &new.columns {
        places.push(old.columns.iter().position(|other| other == column)?);
    }
    // The key of a record comes first, in its order.
    if !places.is_sorted() {
        return None;
    }
    let is_same = |places: &[usize], new: &Computed, old: &Computed| {
        let mut expression = new.expression.clone();
        expression.remap_columns(&|column| places.get(column).copied().unwrap_or(usize::MAX));
        new.name == old.name && expression == old.expression
    };
    for computed in &new.computed {
        let found = old.computed.iter().position(|other| is_same(&places, computed, other))?;
        places.push(old.columns.len() + found);
    }
    let time = |time: EventTime| Some(EventTime { column: *places.get(time.column)?, ..time });
    let event_time = match new.event_time {
        Some(new) => Some(time(new)?),
        None => None,
    };
    let keyed = !old.upsert_key.is_empty() || old.shed.is_some();
    let narrowed =
        Source { columns: old.columns.clone(), computed: old.computed.clone(), event_time, ..new.clone() };
    (!keyed && narrowed == *old).then_some(places)
}

/// The old operator with what of the new one its state says nothing of; `None` when they are not of one kind.
fn like(old: &Operator, new: &Operator) -> Option<Operator> {
    Some(match (old, new) {
        (Operator::Join(old), Operator::Join(new)) => {
            let bound = match (old.bound, new.bound) {
                (JoinBound::State(old), JoinBound::State(new)) => JoinBound::State(same_kind(old, new)?),
                (old, _) => old,
            };
            Operator::Join(Join { bound, ..old.clone() })
        }
        (Operator::Over(old), Operator::Over(new)) => {
            let mode = match (old.mode, new.mode) {
                (OverMode::Changes { bound: old }, OverMode::Changes { bound: new }) => {
                    OverMode::Changes { bound: same_kind(old, new)? }
                }
                (OverMode::OnTime { time, bound: Some(old) }, OverMode::OnTime { bound: Some(new), .. }) => {
                    OverMode::OnTime { time, bound: Some(same_kind(old, new)?) }
                }
                (old, _) => old,
            };
            Operator::Over(Over { mode, ..old.clone() })
        }
        (old, _) => old.clone(),
    })
}

/// A ranking's mode with another's bound.
fn with_bound(old: RankMode, new: RankMode) -> Option<RankMode> {
    Some(match (old, new) {
        (RankMode::First { time, bound: old }, RankMode::First { bound: new, .. }) => {
            RankMode::First { time, bound: same_kind(old, new)? }
        }
        (RankMode::Arrival { bound: old }, RankMode::Arrival { bound: new }) => {
            RankMode::Arrival { bound: same_kind(old, new)? }
        }
        (RankMode::Changes { bound: old }, RankMode::Changes { bound: new }) => {
            RankMode::Changes { bound: same_kind(old, new)? }
        }
        (old, _) => old,
    })
}

/// The new bound, where the state says when it was touched as it has to under the new one: only where there is a time does
/// it.
fn same_kind(old: StateBound, new: StateBound) -> Option<StateBound> {
    use StateBound::{TimeToLive, Unbounded};
    match (old, new) {
        (Unbounded, Unbounded) | (TimeToLive { .. }, TimeToLive { .. }) => Some(new),
        _ => None,
    }
}
