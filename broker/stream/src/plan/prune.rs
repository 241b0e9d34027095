//! Leaves out columns that nothing reads, so that the decoder makes no others and state keeps no others.

use std::collections::BTreeSet;

use super::{
    Expression, Join, JoinBound, JoinSide, Node, Operator, OverMode, Plan, RankMode, Source, TemporalJoin,
    Versions, WindowOf,
};

/// Where a node's columns went: the new index of each that is left.
type Moved = Vec<Option<usize>>;

/// Leaves out every column that neither a sink nor an operator reads. A `NOT NULL` column of a source stays: it is a
/// promise to check.
pub(crate) fn prune(plan: &mut Plan) {
    let needed = needed(plan);
    let mut moved: Vec<Moved> = Vec::with_capacity(plan.nodes.len());
    for (node, needed) in plan.nodes.iter_mut().zip(&needed) {
        let inputs: Vec<&Moved> = node.inputs.iter().map(|input| &moved[*input]).collect();
        let columns = match &node.operator {
            Operator::Source { source } => prune_source(&mut plan.sources[*source], needed),
            _ => rewrite(node, &inputs, needed),
        };
        let mut kept = columns.iter();
        node.columns.retain(|_| kept.next().is_some_and(Option::is_some));
        moved.push(columns);
    }
    for sink in &mut plan.sinks {
        let columns = &moved[sink.input];
        sink.key.iter_mut().for_each(|key| key.column = columns[key.column].expect("a key is needed"));
    }
}

/// The columns of each node that somebody reads.
fn needed(plan: &Plan) -> Vec<BTreeSet<usize>> {
    let mut needed = vec![BTreeSet::new(); plan.nodes.len()];
    for sink in &plan.sinks {
        needed[sink.input].extend(0..sink.columns.len());
        needed[sink.input].extend(sink.key.iter().map(|key| key.column));
    }
    for (index, node) in plan.nodes.iter().enumerate().rev() {
        let widths: Vec<usize> = node.inputs.iter().map(|input| plan.nodes[*input].columns.len()).collect();
        let asked = std::mem::take(&mut needed[index]);
        let of_inputs = read_by(node, &asked, &widths);
        for (input, columns) in node.inputs.iter().zip(of_inputs) {
            needed[*input].extend(columns);
        }
        needed[index] = asked;
    }
    needed
}

/// The columns of its inputs that a node reads to give those that are asked for.
fn read_by(node: &Node, asked: &BTreeSet<usize>, widths: &[usize]) -> Vec<BTreeSet<usize>> {
    let mut read = BTreeSet::new();
    match &node.operator {
        Operator::Source { .. } => return Vec::new(),
        Operator::Map { filter, outputs } => {
            let outputs = asked.iter().map(|index| &outputs[*index]);
            for expression in outputs.chain(filter) {
                expression.for_each_column(&mut |index| {
                    read.insert(index);
                });
            }
        }
        Operator::AssignWindows { time, .. } => {
            read.extend(asked.iter().copied().filter(|index| *index < widths[0]));
            read.insert(*time);
        }
        Operator::Union | Operator::ProcessingTime => return vec![asked.clone(); widths.len()],
        Operator::Contenders(contenders) => {
            read.extend(asked);
            read.extend([contenders.value, contenders.time]);
        }
        Operator::WindowAggregate(window) => {
            match window.window {
                WindowOf::Assigned { time, .. } => read.extend([time]),
                WindowOf::Given { start, end } => read.extend([start, end]),
            }
            read.extend(&window.keys);
            read.extend(window.aggregates.iter().flat_map(|aggregate| aggregate.columns()));
        }
        Operator::SessionAggregate(session) => {
            read.insert(session.time);
            read.extend(&session.keys);
            read.extend(session.aggregates.iter().flat_map(|aggregate| aggregate.columns()));
        }
        Operator::GroupAggregate(grouping) => {
            read.extend(&grouping.keys);
            read.extend(grouping.aggregates.iter().flat_map(|aggregate| aggregate.columns()));
        }
        Operator::Rank(rank) => {
            read.extend(asked.iter().copied().filter(|index| *index < widths[0]));
            read.extend(&rank.partition);
            read.extend(rank.order.iter().map(|key| key.column));
            match rank.mode {
                RankMode::Window { end: column } | RankMode::First { time: column, .. } => {
                    read.extend([column])
                }
                RankMode::Arrival { .. } | RankMode::Changes { .. } => {}
            }
        }
        Operator::Over(over) => {
            read.extend(asked.iter().copied().filter(|index| *index < widths[0]));
            read.extend(&over.partition);
            read.extend(over.order.iter().map(|key| key.column));
            read.extend(over.functions.iter().flat_map(|function| function.columns()));
            match over.mode {
                OverMode::OnTime { time: column, .. } | OverMode::Window { end: column } => {
                    read.extend([column])
                }
                OverMode::Changes { .. } => {}
            }
        }
        Operator::Join(join) => {
            let times = match join.bound {
                JoinBound::Window { left, right } | JoinBound::Interval { left, right, .. } => {
                    Some([left, right])
                }
                JoinBound::State(_) => None,
            };
            let carried = carried(asked, join.condition.as_ref());
            return read_by_sides([&join.left, &join.right], times, &carried);
        }
        Operator::TemporalJoin(join) => {
            let times = match join.versions {
                Versions::AsOf { left, right } => Some([left, right]),
                Versions::Latest => None,
            };
            let carried = carried(asked, join.condition.as_ref());
            return read_by_sides([&join.left, &join.right], times, &carried);
        }
        Operator::Upsert(upsert) => {
            read.extend(&upsert.keys);
            read.extend(asked.iter().map(|index| upsert.columns[*index]));
        }
        Operator::Collect(collect) => {
            read.extend(asked);
            read.extend(&collect.order);
        }
    }
    vec![read]
}

/// The columns of a joined row that somebody reads, the condition too.
fn carried(asked: &BTreeSet<usize>, condition: Option<&Expression>) -> BTreeSet<usize> {
    let mut carried = asked.clone();
    if let Some(condition) = condition {
        condition.for_each_column(&mut |index| {
            carried.insert(index);
        });
    }
    carried
}

/// The columns of both inputs that a join reads to give those of the joined row.
fn read_by_sides(
    sides: [&JoinSide; 2],
    times: Option<[usize; 2]>,
    carried: &BTreeSet<usize>,
) -> Vec<BTreeSet<usize>> {
    let row =
        sides.iter().enumerate().flat_map(|(side, of)| of.columns.iter().map(move |column| (side, *column)));
    let row: Vec<(usize, usize)> = row.collect();
    let read = |side: usize| {
        let mut read: BTreeSet<usize> = sides[side].keys.iter().copied().collect();
        read.extend(times.map(|times| times[side]));
        read.extend(
            carried.iter().map(|index| row[*index]).filter(|(of, _)| *of == side).map(|(_, column)| column),
        );
        read
    };
    vec![read(0), read(1)]
}

/// Makes the sides of a join give only some columns of the joined row. Tells where these are.
fn rewrite_sides(sides: [&mut JoinSide; 2], inputs: &[&Moved], carried: &BTreeSet<usize>) -> Moved {
    let mut index = 0;
    for (side, moved) in sides.into_iter().zip(inputs) {
        let at = |index: usize| moved[index].expect("a column that is read is kept");
        side.keys.iter_mut().for_each(|key| *key = at(*key));
        side.columns.retain(|_| {
            index += 1;
            carried.contains(&(index - 1))
        });
        side.columns.iter_mut().for_each(|column| *column = at(*column));
    }
    only(index, carried)
}

/// Makes a node read its inputs' columns where they are now, and give only what is asked for. Tells where its own
/// columns are.
fn rewrite(node: &mut Node, inputs: &[&Moved], asked: &BTreeSet<usize>) -> Moved {
    let width = node.columns.len();
    let at = |index: usize| inputs[0][index].expect("a column that is read is kept");
    match &mut node.operator {
        Operator::Source { .. } => unreachable!("sources are pruned by themselves"),
        Operator::Map { filter, outputs } => {
            let mut index = 0;
            outputs.retain(|_| {
                index += 1;
                asked.contains(&(index - 1))
            });
            outputs.iter_mut().chain(filter).for_each(|expression| expression.remap_columns(&at));
            only(width, asked)
        }
        Operator::AssignWindows { time, .. } => {
            *time = at(*time);
            let passed = inputs[0].clone();
            let next = passed.iter().flatten().count();
            passed.into_iter().chain([Some(next), Some(next + 1)]).collect()
        }
        Operator::Union | Operator::ProcessingTime => inputs[0].clone(),
        Operator::Contenders(contenders) => {
            (contenders.value, contenders.time) = (at(contenders.value), at(contenders.time));
            inputs[0].clone()
        }
        operator @ (Operator::WindowAggregate(_)
        | Operator::SessionAggregate(_)
        | Operator::GroupAggregate(_)) => {
            operator.read_columns_at(at);
            all(width)
        }
        Operator::Rank(rank) => {
            rank.partition.iter_mut().for_each(|column| *column = at(*column));
            rank.order.iter_mut().for_each(|key| key.column = at(key.column));
            if let RankMode::Window { end: column } | RankMode::First { time: column, .. } = &mut rank.mode {
                *column = at(*column);
            }
            let passed = inputs[0].clone();
            let number = passed.iter().flatten().count();
            // Without the number a row that moves up is no change.
            rank.numbered &= asked.contains(&passed.len());
            let number = rank.numbered.then_some(number);
            passed.into_iter().chain([number]).take(width).collect()
        }
        Operator::Over(over) => {
            over.partition.iter_mut().for_each(|column| *column = at(*column));
            over.order.iter_mut().for_each(|key| key.column = at(key.column));
            over.functions.iter_mut().for_each(|function| function.remap_columns(at));
            if let OverMode::OnTime { time: column, .. } | OverMode::Window { end: column } = &mut over.mode {
                *column = at(*column);
            }
            let passed = inputs[0].clone();
            let next = passed.iter().flatten().count();
            let functions = (next..next + over.functions.len()).map(Some);
            passed.into_iter().chain(functions).collect()
        }
        Operator::Join(Join { left, right, condition, bound, .. }) => {
            if let JoinBound::Window { left, right } | JoinBound::Interval { left, right, .. } = bound {
                *left = at(*left);
                *right = inputs[1][*right].expect("a column that is read is kept");
            }
            let moved = rewrite_sides([left, right], inputs, &carried(asked, condition.as_ref()));
            let at = |index: usize| moved[index].expect("a column that is read is kept");
            condition.iter_mut().for_each(|condition| condition.remap_columns(&at));
            moved
        }
        Operator::TemporalJoin(TemporalJoin { left, right, condition, versions, .. }) => {
            if let Versions::AsOf { left, right } = versions {
                *left = at(*left);
                *right = inputs[1][*right].expect("a column that is read is kept");
            }
            let moved = rewrite_sides([left, right], inputs, &carried(asked, condition.as_ref()));
            let at = |index: usize| moved[index].expect("a column that is read is kept");
            condition.iter_mut().for_each(|condition| condition.remap_columns(&at));
            moved
        }
        Operator::Upsert(upsert) => {
            upsert.keys.iter_mut().for_each(|key| *key = at(*key));
            let mut index = 0;
            upsert.columns.retain(|_| {
                index += 1;
                asked.contains(&(index - 1))
            });
            upsert.columns.iter_mut().for_each(|column| *column = at(*column));
            only(width, asked)
        }
        Operator::Collect(collect) => {
            collect.order.iter_mut().for_each(|column| *column = at(*column));
            inputs[0].clone()
        }
    }
}

fn all(width: usize) -> Moved {
    (0..width).map(Some).collect()
}

fn only(width: usize, kept: &BTreeSet<usize>) -> Moved {
    let mut next = 0;
    let place = |index| {
        kept.contains(&index).then(|| {
            next += 1;
            next - 1
        })
    };
    (0..width).map(place).collect()
}

fn prune_source(source: &mut Source, asked: &BTreeSet<usize>) -> Moved {
    let read = source.columns.len();
    let width = read + source.computed.len();
    let mut kept = asked.clone();
    kept.extend(source.event_time.iter().map(|time| time.column));
    kept.extend(&source.upsert_key);
    let required = source.columns.iter().enumerate().filter(|(_, column)| column.required);
    kept.extend(required.map(|(index, _)| index));
    for expression in source.shed.iter().flat_map(|shed| shed.policy.expressions()) {
        expression.for_each_column(&mut |column| {
            kept.insert(column);
        });
    }
    // A computed column reads columns before it only.
    for (index, computed) in source.computed.iter().enumerate().rev() {
        if kept.contains(&(read + index)) {
            computed.expression.for_each_column(&mut |column| {
                kept.insert(column);
            });
        }
    }
    let moved = only(width, &kept);
    let at = |index: usize| moved[index].expect("a column that is read is kept");
    let mut index = 0;
    source.columns.retain(|_| {
        index += 1;
        kept.contains(&(index - 1))
    });
    let mut index = read;
    source.computed.retain(|_| {
        index += 1;
        kept.contains(&(index - 1))
    });
    source.computed.iter_mut().for_each(|computed| computed.expression.remap_columns(&at));
    let shed = source.shed.iter_mut().flat_map(|shed| shed.policy.expressions_mut());
    shed.for_each(|expression| expression.remap_columns(&at));
    if let Some(time) = &mut source.event_time {
        time.column = at(time.column);
    }
    source.upsert_key.iter_mut().for_each(|key| *key = at(*key));
    moved
}
