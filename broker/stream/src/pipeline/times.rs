//! What time it is for a pipeline's sources, and which of their partitions hold it back.

use super::clock::EventClock;
use super::graph::Reached;
use super::machine::Pipeline;
use crate::plan::Source;
use crate::rows::NO_TIME;

impl Pipeline {
    /// Lets the clocks of sources that have an `'idle-timeout'` know which of their partitions are idle; in a run that follows
    /// another one, those that have a time to follow.
    pub(super) fn set_idle(&self, clocks: &mut [EventClock], idle: &[bool]) {
        let sources = self.plan.sources.iter().zip(clocks);
        let heeds = |source: &Source, clock: &EventClock| match self.follows {
            true => clock.follows(),
            false => source.idle_ms.is_some(),
        };
        for (source, clock) in sources.filter(|(source, clock)| heeds(source, clock)) {
            let inputs = self.spec.inputs.iter().zip(idle);
            let own = inputs.filter(|(input, _)| input.partition.topic == source.topic);
            clock.set_idle(own.map(|(_, idle)| *idle));
        }
    }

    /// Lets the clocks know which partitions were idle behind the last epoch.
    pub(super) fn restore_idle(&mut self) {
        for (source, clock) in self.plan.sources.iter().zip(&mut self.clocks) {
            let inputs = self.spec.inputs.iter().zip(&self.idle);
            let own = inputs.filter(|(input, _)| input.partition.topic == source.topic);
            clock.restore_idle(own.map(|(_, idle)| *idle && source.idle_ms.is_some()));
        }
    }

    /// What time it is for each source.
    pub(super) fn source_times(&self) -> Vec<Reached> {
        let reached = |clock: &EventClock| Reached {
            watermark: clock.watermark().unwrap_or(NO_TIME),
            idle: clock.is_idle(),
        };
        self.clocks.iter().map(reached).collect()
    }
}
