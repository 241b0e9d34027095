//! The pipeline as the new plan takes it over: state, and the progress record that goes with it.

use thiserror::Error;

use super::compare::Upgrade;
use crate::pipeline::{InputProgress, OperatorProgress, Progress};
use crate::plan::Plan;
use crate::snapshot::StateChanges;
use crate::state::decode_changelog_key;

/// Why a plan cannot take over.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// State has to be made from the input, and nothing was read.
    #[error("the state of the new plan was not made")]
    NothingMade,
    /// The progress record is of another plan than the one given.
    #[error("the pipeline stands at plan {found:08x}, not at {expected:08x}")]
    OtherPlan {
        /// What the progress record says.
        found: u32,
        /// The plan given.
        expected: u32,
    },
}

impl Upgrade {
    /// The progress record with which the new plan takes over where the old one stands: at the same offsets, in the
    /// epoch that follows. The old one must have given everything that time made due
    /// ([`Pipeline::emission_pending`](crate::Pipeline::emission_pending)): what is left would be given by nobody where
    /// an operator is made anew. `made` is the record of the last epoch of the [`Shadow`](super::Shadow) that was run, if one
    /// had to be.
    pub fn progress(
        &self,
        (old, new): (&Plan, &Plan),
        standing: &Progress,
        made: Option<&Progress>,
        generation: u32,
        state_from: i64,
    ) -> Result<Progress, UpgradeError> {
        if standing.plan != old.fingerprint() {
            return Err(UpgradeError::OtherPlan { found: standing.plan, expected: old.fingerprint() });
        }
        if self.replays() && made.is_none() {
            return Err(UpgradeError::NothingMade);
        }
        let sources = Sources { old, new, standing, made };
        let mut progress = standing.taken_up(&standing.pipeline, generation, standing.epoch + 1, state_from);
        progress.plan = new.fingerprint();
        progress.inputs = sources.inputs();
        progress.sources = (0..new.sources.len()).map(|index| sources.watermark(index)).collect();
        progress.operators = self.places((old, new), standing, made);
        progress.watermark = progress.sources.iter().copied().min().flatten();
        progress.finished = false;
        let topics = new.source_topics();
        progress.topic_ids.retain(|topic, _| topics.contains(&topic.as_str()));
        // Topics that only the new plan reads were read by nobody else.
        for (topic, id) in made.iter().flat_map(|made| &made.topic_ids) {
            progress.topic_ids.entry(topic.clone()).or_insert_with(|| id.clone());
        }
        Ok(progress)
    }

    /// How far each node of the new plan is.
    fn places(
        &self,
        (old, new): (&Plan, &Plan),
        standing: &Progress,
        made: Option<&Progress>,
    ) -> Vec<OperatorProgress> {
        let known = old.identities();
        let place = |(index, identity): (usize, u32)| {
            let made = made.and_then(|made| made.operators.get(index));
            let kept =
                known.iter().position(|other| *other == identity).and_then(|at| standing.operators.get(at));
            // A node without state is where its inputs are, whoever says so; one that is kept, where it was.
            kept.or(made).cloned().unwrap_or(OperatorProgress { watermark: None, partial: None })
        };
        new.identities().into_iter().enumerate().map(place).collect()
    }

    /// Leaves of the state that a shadow has come to what this upgrade takes from it.
    pub fn take_made(&self, changes: &mut StateChanges) {
        changes.retain(|key| decode_changelog_key(key).is_ok_and(|key| self.makes(key.operator)));
    }
}

/// How far event time is in each source.
struct Sources<'u> {
    old: &'u Plan,
    new: &'u Plan,
    standing: &'u Progress,
    made: Option<&'u Progress>,
}

impl Sources<'_> {
    /// The same source in the old plan: one that reads the same records as the same rows.
    fn same(&self, index: usize) -> Option<usize> {
        self.old.sources.iter().position(|source| *source == self.new.sources[index])
    }

    fn watermark(&self, index: usize) -> Option<i64> {
        match self.same(index) {
            Some(old) => self.standing.sources.get(old).copied().flatten(),
            None => self.made.and_then(|made| made.sources.get(index).copied().flatten()),
        }
    }

    /// The inputs of the new plan: where the old one stands, and where a topic that only the new one reads was read to. One
    /// that nobody has read begins where it begins.
    fn inputs(&self) -> Vec<InputProgress> {
        let topics = self.new.source_topics();
        let is_read = |input: &&InputProgress| topics.contains(&input.topic.as_str());
        let mut inputs: Vec<InputProgress> = self.standing.inputs.iter().filter(is_read).cloned().collect();
        // What the old plan reads and has not begun is still to come, also where a shadow has seen it.
        let was_read = self.old.source_topics();
        let made = self.made.iter().flat_map(|made| &made.inputs);
        inputs.extend(made.filter(|input| !was_read.contains(&&*input.topic)).cloned());
        inputs.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
        for input in &mut inputs {
            input.from = input.to;
            // The end that was declared holds for the pipeline; whoever runs it declares it again.
            input.end = None;
            input.watermarks = self.partition_watermarks(input);
        }
        inputs
    }

    /// The partition's watermark for each source of the new plan that reads it.
    fn partition_watermarks(&self, input: &InputProgress) -> Vec<Option<i64>> {
        let reads = |(_, source): &(usize, &crate::plan::Source)| source.topic == input.topic;
        let of = |progress: Option<&Progress>, plan: &crate::plan::Plan, index: usize| {
            let found = progress?.inputs.iter();
            let found = found
                .into_iter()
                .find(|other| other.topic == input.topic && other.partition == input.partition)?;
            // Its place among the sources of the topic.
            let slot = plan.sources[..index].iter().filter(|source| source.topic == input.topic).count();
            found.watermarks.get(slot).copied().flatten()
        };
        let readers = self.new.sources.iter().enumerate().filter(reads);
        readers
            .map(|(index, _)| match self.same(index) {
                Some(old) => of(Some(self.standing), self.old, old),
                None => of(self.made, self.new, index),
            })
            .collect()
    }
}
