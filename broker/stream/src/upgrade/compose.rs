//! The pipeline as the new plan takes it over: state, and the progress record that goes with it.

use std::collections::BTreeMap;

use thiserror::Error;

use super::compare::Upgrade;
use super::migrate::none_passed_over;
use crate::pipeline::{InputProgress, OperatorProgress, Progress, ProgressError, Reached};
use crate::plan::{Plan, Source};
use crate::rows::NO_TIME;
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
    /// State was made that is not where the pipeline stands in event time: what is between would be given twice, or never.
    #[error(
        "the state that was made is at {made:?} in the event time of {table}, and the pipeline at {standing:?}; upgrade it \
         once more"
    )]
    OtherTime {
        /// The table.
        table: String,
        /// Its watermark where state was made, in milliseconds.
        made: Option<i64>,
        /// Its watermark where the pipeline stands.
        standing: Option<i64>,
    },
    /// State was made, and time has made rows due in it that are not given.
    #[error("the state that was made is not wholly worked off; upgrade the pipeline once more")]
    NotWhole,
    /// What was to be migrated is not what it would be.
    #[error(
        "the pipeline has passed records over for errors since it was decided what becomes of its state, and the new plan \
         might not have; ask for the upgrade once more, and that state is made anew"
    )]
    PassedOver,
    /// What says where the state is cannot be read.
    #[error(transparent)]
    Progress(#[from] ProgressError),
}

/// Where the old plan has the time of a source of the new one: in the same source, or in one that reads the time of the
/// same records out of a column of that name. Other columns, another delay change nothing of what was closed.
fn counterpart(old: &Plan, source: &Source) -> Option<usize> {
    let time = |source: &Source| Some(source.row()[source.event_time?.column].name.clone());
    let tells = |other: &Source| other.topic == source.topic && time(other) == time(source);
    let find = |is: &dyn Fn(&Source) -> bool| old.sources.iter().position(is);
    find(&|other| other == source)
        .or_else(|| find(&|other| tells(other) && other.table == source.table))
        .or_else(|| find(&|other| tells(other)))
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
        if self.migrations.is_only_without_passing_over() && !none_passed_over(&standing.totals) {
            return Err(UpgradeError::PassedOver);
        }
        let sources = Sources { old, new, standing, made };
        if let Some(made) = made {
            sources.check_time(made)?;
        }
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

    /// How far the pipeline is in event time that a shadow follows, in each source that it has, too; see
    /// [`Followed::times`](crate::Followed::times). `standing`: the record of its last epoch, once it is known.
    pub fn times(&self, (old, new): (&Plan, &Plan), standing: Option<&Progress>) -> BTreeMap<usize, Reached> {
        let sources = new.sources.iter().enumerate();
        let time = |(index, source): (usize, &Source)| {
            let counterpart = counterpart(old, source)?;
            let reached = standing.and_then(|standing| {
                let watermark = standing.sources.get(counterpart)?;
                Some(standing.reached(&old.sources[counterpart], *watermark))
            });
            Some((index, reached.unwrap_or(Reached { watermark: NO_TIME, idle: false })))
        };
        sources.filter_map(time).collect()
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
            let migrated = self.migrations.list.iter().find(|migration| migration.new.0 == index);
            let before = match migrated {
                Some(migration) => Some(migration.old.0),
                None => known.iter().position(|other| *other == identity),
            };
            let kept = before.and_then(|at| standing.operators.get(at));
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
    /// The source of the old plan that has the time of this one.
    fn counterpart(&self, index: usize) -> Option<usize> {
        counterpart(self.old, &self.new.sources[index])
    }

    fn watermark(&self, index: usize) -> Option<i64> {
        match self.counterpart(index) {
            Some(old) => self.standing.sources.get(old).copied().flatten(),
            None => self.made.and_then(|made| made.sources.get(index).copied().flatten()),
        }
    }

    /// That state was made up to where the pipeline stands in event time.
    fn check_time(&self, made: &Progress) -> Result<(), UpgradeError> {
        for (index, source) in self.new.sources.iter().enumerate() {
            let Some(old) = self.counterpart(index) else { continue };
            let standing = self.standing.sources.get(old).copied().flatten();
            let made = made.sources.get(index).copied().flatten();
            if made != standing {
                return Err(UpgradeError::OtherTime { table: source.table.clone(), made, standing });
            }
        }
        match made.emission_pending(self.new)? {
            true => Err(UpgradeError::NotWhole),
            false => Ok(()),
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
        let made = made.filter(|input| !was_read.contains(&&*input.topic)).cloned();
        // To the shadow all that is read holds nothing back.
        inputs.extend(made.map(|input| InputProgress { idle: false, ..input }));
        inputs.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
        for input in &mut inputs {
            input.from = input.to;
            // The end that was declared holds for the pipeline; whoever runs it declares it again.
            (input.end, input.pending_end) = (None, None);
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
            .map(|(index, source)| match self.counterpart(index) {
                Some(old) if self.made.is_none() || self.old.sources[old] == *source => {
                    of(Some(self.standing), self.old, old)
                }
                _ => of(self.made, self.new, index),
            })
            .collect()
    }
}
