//! How much the operators of a graph keep, and how much of that is in memory.

use super::graph::{Graph, NodeState};
use super::size::OperatorSize;

impl Graph {
    /// How many entries the state has.
    pub(super) fn entries(&self) -> u64 {
        self.nodes.iter().map(|node| self.entries_of(node)).sum()
    }

    /// Bytes of all state; see [`OperatorSize::bytes`].
    pub(super) fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| self.bytes_of(node)).sum()
    }

    /// Bytes of the state that is in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let pending = self.spilt.as_ref().map_or(0, |spilt| spilt.pending_bytes());
        self.nodes.iter().map(|node| self.memory_of(node)).sum::<u64>() + pending
    }

    /// How much each operator holds that keeps state, in the plan's order.
    pub(super) fn sizes(&self) -> Vec<OperatorSize> {
        let of = |node: &NodeState| {
            Some(OperatorSize {
                operator: node.name?,
                identity: node.identity,
                entries: self.entries_of(node),
                windows: node.open_windows(),
                bytes: self.bytes_of(node),
                memory_bytes: self.memory_of(node),
            })
        };
        self.nodes.iter().filter_map(of).collect()
    }

    fn entries_of(&self, node: &NodeState) -> u64 {
        match &self.spilt {
            Some(spilt) if node.spills => spilt.size(node.identity).entries,
            _ => node.entries(),
        }
    }

    fn bytes_of(&self, node: &NodeState) -> u64 {
        match &self.spilt {
            Some(spilt) if node.spills => spilt.size(node.identity).bytes,
            _ => node.bytes(),
        }
    }

    fn memory_of(&self, node: &NodeState) -> u64 {
        match &self.spilt {
            Some(_) if node.spills => node.held,
            _ => node.bytes(),
        }
    }
}
