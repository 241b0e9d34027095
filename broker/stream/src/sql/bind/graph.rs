//! The plan while it is being made: nodes are added once, however often a script writes the same.

use crate::plan::{
    Column, Expression, Node, Operator, Plan, Sink, Source, WindowAggregate, WindowKind, WindowOf,
};
use crate::value::Value;

/// Which windows rows may lie in; several, where they come from the branches of a `UNION` or the sides of a join.
#[derive(Debug, Clone, Default)]
pub(super) struct WindowsBefore {
    /// Those of fixed length, each once.
    pub(super) kinds: Vec<WindowKind>,
    pub(super) sessions: bool,
}

/// Collects the nodes of a plan.
#[derive(Debug)]
pub(super) struct GraphBuilder {
    plan: Plan,
}

impl GraphBuilder {
    pub(super) fn new() -> Self {
        Self { plan: Plan { sources: Vec::new(), nodes: Vec::new(), sinks: Vec::new() } }
    }

    /// The node of a source.
    pub(super) fn source(&mut self, source: Source) -> usize {
        let index = self.plan.sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            self.plan.sources.push(source);
            self.plan.sources.len() - 1
        });
        let source = &self.plan.sources[index];
        let (columns, changes) = (source.row(), source.changes());
        self.node(Operator::Source { source: index }, Vec::new(), columns, changes)
    }

    /// A node; the one there is if it is there already.
    pub(super) fn node(
        &mut self,
        operator: Operator,
        inputs: Vec<usize>,
        columns: Vec<Column>,
        changes: bool,
    ) -> usize {
        let node = Node { operator, inputs, columns, changes };
        self.plan.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.plan.nodes.push(node);
            self.plan.nodes.len() - 1
        })
    }

    pub(super) fn columns(&self, node: usize) -> &[Column] {
        &self.plan.nodes[node].columns
    }

    pub(super) fn changes(&self, node: usize) -> bool {
        self.plan.nodes[node].changes
    }

    pub(super) fn node_at(&self, node: usize) -> &Node {
        &self.plan.nodes[node]
    }

    /// The windows that a node's rows were given last: those of nodes before these are not theirs any more.
    pub(super) fn windows_before(&self, node: usize) -> WindowsBefore {
        let mut found = WindowsBefore::default();
        let mut is_before = vec![false; node + 1];
        is_before[node] = true;
        // A node's inputs are made before it.
        for index in (0..=node).rev() {
            if !is_before[index] {
                continue;
            }
            let Node { operator, inputs, .. } = &self.plan.nodes[index];
            match operator {
                Operator::AssignWindows { kind, .. }
                | Operator::WindowAggregate(WindowAggregate {
                    window: WindowOf::Assigned { kind, .. },
                    ..
                }) => {
                    if !found.kinds.contains(kind) {
                        found.kinds.push(*kind);
                    }
                }
                Operator::SessionAggregate(_) => found.sessions = true,
                _ => inputs.iter().for_each(|input| is_before[*input] = true),
            }
        }
        found
    }

    /// The only values a column of a node has, where the script says so in not too many places.
    pub(super) fn constants(&self, node: usize, column: usize) -> Option<Vec<Value>> {
        let mut places = 1_000;
        self.constants_within(node, column, &mut places)
    }

    fn constants_within(&self, node: usize, column: usize, places: &mut usize) -> Option<Vec<Value>> {
        *places = places.checked_sub(1)?;
        let Node { operator, inputs, .. } = self.node_at(node);
        match operator {
            Operator::Map { outputs, .. } => match &outputs[column] {
                Expression::Literal { value, .. } => Some(vec![value.clone()]),
                Expression::Column { index, .. } => self.constants_within(inputs[0], *index, places),
                _ => None,
            },
            Operator::Union => {
                let of_inputs = inputs.iter().map(|input| self.constants_within(*input, column, places));
                Some(of_inputs.collect::<Option<Vec<_>>>()?.concat())
            }
            _ => None,
        }
    }

    pub(super) fn source_at(&self, source: usize) -> &Source {
        &self.plan.sources[source]
    }

    pub(super) fn sink(&mut self, sink: Sink) {
        self.plan.sinks.push(sink);
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }
}

/// A column of a node, which may be `NULL`.
pub(super) fn column(name: impl Into<String>, data_type: crate::value::DataType) -> Column {
    Column::of_value(&name.into(), data_type)
}
