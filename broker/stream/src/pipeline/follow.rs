//! A run over records that another one has read.

use std::collections::BTreeMap;

use super::cut::TopicPartition;
use super::graph::Reached;
use super::machine::Pipeline;

impl Pipeline {
    /// Follows another run over the same records, which has come to `times` in the sources that are named, by their index in
    /// the plan: their time goes so far and no further, and partitions that are idle do not hold it back. They hold back what
    /// they are joined with, unless it is said of them that they are idle there, too. Of those that were idle so far, only
    /// those that `are_read` stay so. What that makes due is given by the next epochs.
    pub(crate) fn follow(
        &mut self,
        times: &BTreeMap<usize, Reached>,
        are_read: impl Fn(&TopicPartition, i64) -> bool,
    ) {
        for (index, input) in self.spec.inputs.iter().enumerate() {
            self.idle[index] = self.idle[index] && are_read(&input.partition, self.positions[index]);
        }
        self.follows = true;
        let mut clocks = std::mem::take(&mut self.clocks);
        for (source, clock) in clocks.iter_mut().enumerate() {
            clock.follow(times.get(&source).copied());
            if !clock.follows() {
                clock.restore_idle(std::iter::repeat(false));
            }
        }
        self.set_idle(&mut clocks, &self.idle);
        self.clocks = clocks;
        self.pending = self.graph.is_pending(&self.plan, &self.source_times());
    }
}
