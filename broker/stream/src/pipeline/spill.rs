//! A pipeline whose state need not be in memory: what leaves it when, and how it comes back after a restart.
//!
//! ```text
//! empty store ◄─ fill ─ snapshot        store with a mark ─┐
//!      └───────────────┬─────────────────────────────────┘
//!                      └─► changelog behind the mark ─► Restoring::finish_spilt ─► epochs ─► Pipeline::committed ─► store
//! ```
//!
//! A restart reads what the changelog has beyond the store, however large the state is.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use super::errors::RestoreError;
use super::graph::Graph;
use super::machine::Pipeline;
use super::progress::Progress;
use super::restore::{GoOn, LOOK_BYTES, Restoring};
use crate::operators::{key_group_at, share};
use crate::plan::{self, Plan};
use crate::snapshot::{SnapshotError, SnapshotReader};
use crate::state::{
    COLD_VERSION, ColdError, ColdMark, ColdPosition, ColdStore, Growth, Spilt, decode_changelog_key,
    entry_size, operator_prefix,
};

/// What is read of the changelog goes into the store when it has so many bytes.
const GAP_BYTES: usize = 8 << 20;

/// What may leave memory keeps at least one part of so many of what should be there.
const LEAST_SHARE: u64 = 8;

impl Graph {
    /// Whether there is an operator whose entries need not be in memory.
    pub(super) fn can_spill(&self) -> bool {
        self.nodes.iter().any(|node| node.spills)
    }

    /// An epoch is computed, and its changes are drained: entries may leave memory.
    pub(super) fn end_epoch(&mut self, epoch: u64) {
        let Some(spilt) = &mut self.spilt else { return };
        for node in self.nodes.iter_mut().filter(|node| node.spills) {
            for operator in node.shards.spilling() {
                spilt.grow(node.identity, operator.take_growth());
            }
        }
        spilt.end_epoch(epoch);
        self.let_go();
    }

    /// Lets go of entries when more is in memory than should be: of a quarter more, so that there is some time to the
    /// next time.
    fn let_go(&mut self) {
        let Some(keep) = self.spilt.as_ref().map(Spilt::keep) else { return };
        self.count_held();
        let held: u64 = self.nodes.iter().filter(|node| node.spills).map(|node| node.held).sum();
        let memory = self.memory_bytes();
        if memory <= keep {
            return;
        }
        // What needs all of its state in memory may leave nothing of it: then some is kept nevertheless, or what an epoch
        // touches would be read back for each.
        let room = (keep / 4 * 3).saturating_sub(memory - held).max(keep / LEAST_SHARE);
        for node in self.nodes.iter_mut().filter(|node| node.spills) {
            for operator in node.shards.spilling() {
                operator.let_go(share(operator.held(), room, held));
            }
        }
        self.count_held();
    }

    /// Counts what is in memory of entries that need not be there.
    fn count_held(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.spills) {
            node.held = node.shards.spilling().map(|operator| operator.held()).sum();
        }
    }

    /// What the keys begin with of entries that a run must see when it begins: all of operators that keep theirs in memory,
    /// and of others what they ask for.
    fn read_at_start(&mut self) -> Vec<Vec<u8>> {
        let mut prefixes = Vec::new();
        for node in self.nodes.iter_mut().filter(|node| !node.shards.is_empty()) {
            let of_operator = operator_prefix(node.identity);
            if !node.spills {
                prefixes.push(of_operator.to_vec());
                continue;
            }
            let shown = node.shards.spilling().next().map_or(&[][..], |operator| operator.shown_tables());
            prefixes.extend(shown.iter().map(|table| [&of_operator[..], &[*table]].concat()));
        }
        prefixes
    }

    /// Shows an entry to its operator, if that leaves entries in the store.
    fn show(&mut self, plan: &Plan, key: &[u8], value: &[u8]) -> Result<bool, ColdError> {
        let of = decode_changelog_key(key).map_err(ColdError::damaged)?;
        let nodes = self.nodes.iter_mut().zip(&plan.nodes);
        let mut found = nodes.filter(|(node, _)| node.identity == of.operator && node.spills);
        let Some((node, plan::Node { operator, .. })) = found.next() else { return Ok(false) };
        let group = of.key.get(key_group_at(operator, of.table));
        let group = *group.ok_or_else(|| ColdError::damaged("the key is too short"))?;
        if let Some(operator) = node.shards.of_group(group).map_err(ColdError::damaged)?.spilling() {
            operator.show(of.table, of.key, value, entry_size(key.len(), value.len()))?;
        }
        Ok(true)
    }

    /// Whether the operator of a changelog key leaves entries in the store, and if so whether the table's count as its
    /// entries.
    fn spills(&mut self, operator: u32, table: u8) -> Result<Option<bool>, String> {
        let node = self.nodes.iter_mut().find(|node| node.identity == operator);
        let Some(node) = node.filter(|node| !node.shards.is_empty()) else {
            return Err(format!("operator {operator:08x} is not in the plan"));
        };
        if !node.spills {
            return Ok(None);
        }
        Ok(Some(node.shards.spilling().next().is_some_and(|operator| operator.counts(table))))
    }
}

/// What was read of the changelog, on the way to the store.
#[derive(Debug)]
pub(super) struct Gap {
    /// The epoch of the store's mark, until everything is there.
    at: ColdPosition,
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Restoring {
    /// Goes on with a store that is as its mark says, in place of a snapshot: give it the changelog behind the mark. At
    /// most `keep` bytes of state should be in memory.
    pub fn go_on_with(
        mut self,
        store: Arc<dyn ColdStore>,
        mark: ColdMark,
        keep: u64,
    ) -> Result<Restoring, RestoreError> {
        let plan = self.pipeline.fingerprint;
        if mark.version != COLD_VERSION || mark.at.plan != plan || mark.at.epoch > self.pipeline.epoch {
            return Err(ColdError::damaged("it is of another plan, epoch or release").into());
        }
        self.pipeline.graph.spilt = Some(Spilt::new(store, keep, mark.sizes));
        self.gap = Some(Gap { at: mark.at, entries: BTreeMap::new(), bytes: 0 });
        Ok(self)
    }

    /// Fills an empty store with a snapshot, or with nothing where the changelog is everything: give it the changelog
    /// behind, which is `at`. At most `keep` bytes of state should be in memory.
    pub fn fill<R: Read>(
        mut self,
        store: Arc<dyn ColdStore>,
        snapshot: Option<&mut SnapshotReader<R>>,
        at: ColdPosition,
        keep: u64,
    ) -> Result<Restoring, FillError> {
        let mut spilt = Spilt::new(Arc::clone(&store), keep, BTreeMap::new());
        if let Some(snapshot) = snapshot {
            self.check_snapshot(snapshot.header())?;
            let misfit = |reason: String| SnapshotError::Misfit { reason };
            let mut fill = store.fill()?;
            while let Some((key, value)) = snapshot.next_entry()? {
                let of = decode_changelog_key(key).map_err(misfit)?;
                if let Some(counts) = self.pipeline.graph.spills(of.operator, of.table).map_err(misfit)? {
                    let mut growth = Growth::default();
                    growth.note(None, Some(entry_size(key.len(), value.len())));
                    growth.entries *= i64::from(counts);
                    spilt.grow(of.operator, growth);
                }
                fill.push(key, value)?;
            }
            fill.finish()?;
        }
        self.pipeline.graph.spilt = Some(spilt);
        self.gap = Some(Gap { at, entries: BTreeMap::new(), bytes: 0 });
        self.write_gap()?;
        Ok(self)
    }

    /// A change of the changelog goes into the store.
    pub(super) fn put_cold(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RestoreError> {
        let damaged = |reason: String| RestoreError::DamagedChangelog { index: self.records, reason };
        let of = decode_changelog_key(key).map_err(damaged)?;
        let counts = self.pipeline.graph.spills(of.operator, of.table).map_err(damaged)?;
        let (Some(gap), Some(spilt)) = (&mut self.gap, &mut self.pipeline.graph.spilt) else { return Ok(()) };
        if let Some(counts) = counts {
            let before = match gap.entries.get(key) {
                Some(known) => known.as_ref().map(Vec::len),
                None => spilt.store().get(key)?.map(|value| value.len()),
            };
            let size = |value: usize| entry_size(key.len(), value);
            let mut growth = Growth::default();
            growth.note(before.map(size), value.map(|value| size(value.len())));
            growth.entries *= i64::from(counts);
            spilt.grow(of.operator, growth);
        }
        gap.bytes += key.len() + value.map_or(0, <[u8]>::len);
        gap.entries.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        if gap.bytes >= GAP_BYTES {
            self.write_gap()?;
        }
        Ok(())
    }

    /// The mark stays where it was: whoever reads the changelog from there again comes to the same.
    fn write_gap(&mut self) -> Result<(), ColdError> {
        let (Some(gap), Some(spilt)) = (&mut self.gap, &self.pipeline.graph.spilt) else { return Ok(()) };
        let mark = ColdMark { version: COLD_VERSION, at: gap.at.clone(), sizes: spilt.sizes().clone() };
        let changes = gap.entries.iter().map(|(key, value)| (&**key, value.as_deref()));
        spilt.store().write(&mut { changes }, &mark)?;
        gap.entries.clear();
        gap.bytes = 0;
        Ok(())
    }

    /// The pipeline, where its last committed epoch left it, which is `at`: nothing of what its store has is in memory
    /// but the state of operators that need all of theirs. Every [`LOOK_BYTES`] of it `go_on` is asked whether to.
    pub fn finish_spilt(mut self, at: ColdPosition, go_on: &mut GoOn<'_>) -> Result<Pipeline, RestoreError> {
        if let Some(gap) = &mut self.gap {
            gap.at = at;
        }
        self.write_gap()?;
        self.read_whole(go_on)?;
        Ok(self.finish())
    }

    /// Reads the state of the operators that keep all of it in memory, and shows the others what they ask for.
    fn read_whole(&mut self, go_on: &mut GoOn<'_>) -> Result<(), RestoreError> {
        let Some(store) = self.pipeline.graph.spilt.as_ref().map(Spilt::store) else { return Ok(()) };
        let prefixes = self.pipeline.graph.read_at_start();
        let (mut unseen, mut gives_up) = (0, false);
        for prefix in prefixes {
            let read = store.scan(&prefix, &mut |key, value| {
                if !self.pipeline.graph.show(&self.pipeline.plan, key, value)? {
                    self.apply_change(key, Some(value)).map_err(ColdError::damaged)?;
                }
                unseen += key.len() + value.len();
                if unseen >= LOOK_BYTES {
                    unseen = 0;
                    self.pipeline.graph.count_held();
                    gives_up = !go_on(self);
                }
                // Only an error ends a scan before its end.
                if gives_up { Err(ColdError::damaged("")) } else { Ok(()) }
            });
            match read {
                Err(_) if gives_up => return Err(RestoreError::GivenUp),
                read => read?,
            }
        }
        self.pipeline.graph.count_held();
        Ok(())
    }
}

/// Why a store cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// It is the snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It is the store.
    #[error(transparent)]
    Cold(#[from] ColdError),
}

impl Pipeline {
    /// Whether there is something in its state that need not be in memory.
    pub fn can_spill(&self) -> bool {
        self.graph.can_spill()
    }

    /// Whether its state is in a cold store.
    pub fn is_spilt(&self) -> bool {
        self.graph.spilt.is_some()
    }

    /// Bytes of the state that is in memory; see [`OperatorSize::memory_bytes`](crate::OperatorSize::memory_bytes).
    pub fn memory_bytes(&self) -> u64 {
        self.graph.memory_bytes()
    }

    /// So many bytes of state should be in memory at most, where there is a cold store. It holds from the next epoch on.
    pub fn keep_in_memory(&mut self, keep: u64) {
        if let Some(spilt) = &mut self.graph.spilt {
            spilt.set_keep(keep);
        }
    }

    /// An epoch is committed, the next one behind the last for which this was called: its changes go into the cold
    /// store, if there is one. After an error the pipeline must be restored.
    pub fn committed(&mut self, epoch: u64, at: ColdPosition) -> Result<(), ColdError> {
        match &mut self.graph.spilt {
            Some(spilt) => spilt.committed(epoch, at),
            None => Ok(()),
        }
    }
}

impl ColdPosition {
    /// The epoch of a progress record, which is at an offset of the progress log; its changelog, and where that ends.
    pub fn of(
        progress: &Progress,
        progress_offset: i64,
        changelog: &str,
        changelog_end: i64,
    ) -> ColdPosition {
        ColdPosition {
            pipeline: progress.pipeline.clone(),
            plan: progress.plan,
            generation: progress.generation,
            epoch: progress.epoch,
            state_from: progress.state_from,
            digest: progress.digest,
            progress_offset,
            changelog: changelog.to_owned(),
            changelog_end,
        }
    }

    /// Whether this is the epoch of a progress record.
    pub fn is_of(&self, progress: &Progress) -> bool {
        let of = Self::of(progress, self.progress_offset, &self.changelog, self.changelog_end);
        of == *self
    }
}
