//! What a plan does not need: nodes nobody reads, columns nobody reads, projections that change nothing.

use super::{Expression, Node, Operator, Plan, contenders, prune};

/// Takes out of a plan what changes nothing, and puts before joins what keeps rows from them that make no pair.
pub(crate) fn simplify(plan: &mut Plan) {
    keep_only_read(plan);
    prune::prune(plan);
    pass_through(plan);
    keep_only_read(plan);
    read_in_place(plan);
    keep_only_read(plan);
    contenders::put_before_joins(plan);
}

/// Lets aggregates read columns where they are, past projections that only put them into another order.
fn read_in_place(plan: &mut Plan) {
    for index in 0..plan.nodes.len() {
        let [input] = plan.nodes[index].inputs[..] else { continue };
        let Operator::Map { filter: None, outputs } = &plan.nodes[input].operator else { continue };
        let place = |output: &Expression| match output {
            Expression::Column { index, .. } => Some(*index),
            _ => None,
        };
        let Some(places) = outputs.iter().map(place).collect::<Option<Vec<usize>>>() else { continue };
        let behind = plan.nodes[input].inputs[0];
        if plan.nodes[index].operator.read_columns_at(|column| places[column]) {
            plan.nodes[index].inputs = vec![behind];
        }
    }
}

/// Leaves out nodes and sources that lead to no sink.
fn keep_only_read(plan: &mut Plan) {
    let mut read = vec![false; plan.nodes.len()];
    plan.sinks.iter().for_each(|sink| read[sink.input] = true);
    for index in (0..plan.nodes.len()).rev() {
        if read[index] {
            plan.nodes[index].inputs.iter().for_each(|input| read[*input] = true);
        }
    }
    let new_index = |old: usize| read[..old].iter().filter(|read| **read).count();
    let mut index = 0;
    plan.nodes.retain(|_| {
        index += 1;
        read[index - 1]
    });
    plan.nodes.iter_mut().flat_map(|node| &mut node.inputs).for_each(|input| *input = new_index(*input));
    plan.sinks.iter_mut().for_each(|sink| sink.input = new_index(sink.input));
    let mut used = vec![false; plan.sources.len()];
    for node in &plan.nodes {
        if let Operator::Source { source } = node.operator {
            used[source] = true;
        }
    }
    for node in &mut plan.nodes {
        if let Operator::Source { source } = &mut node.operator {
            *source = used[..*source].iter().filter(|used| **used).count();
        }
    }
    let mut index = 0;
    plan.sources.retain(|_| {
        index += 1;
        used[index - 1]
    });
}

/// Reads past projections that give what they take.
fn pass_through(plan: &mut Plan) {
    let mut instead: Vec<usize> = (0..plan.nodes.len()).collect();
    for index in 0..plan.nodes.len() {
        let inputs: Vec<usize> = plan.nodes[index].inputs.iter().map(|input| instead[*input]).collect();
        plan.nodes[index].inputs = inputs;
        let node = &plan.nodes[index];
        if let [input] = node.inputs.as_slice()
            && gives_what_it_takes(node, &plan.nodes[*input])
        {
            instead[index] = *input;
        }
    }
    plan.sinks.iter_mut().for_each(|sink| sink.input = instead[sink.input]);
}

fn gives_what_it_takes(node: &Node, input: &Node) -> bool {
    let Operator::Map { filter: None, outputs } = &node.operator else { return false };
    let same = |(at, output): (usize, &Expression)| {
        matches!(output, Expression::Column { index, .. } if *index == at)
            && input.columns[at].name == node.columns[at].name
    };
    outputs.len() == input.columns.len() && outputs.iter().enumerate().all(same)
}
