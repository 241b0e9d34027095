//! The plan while it is being made: nodes are added once, however often a script writes the same.

use crate::plan::{Column, Node, Operator, Plan, Sink, Source};

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
