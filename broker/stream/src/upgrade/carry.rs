//! The state with which the new plan takes over: what is kept as it was, what is migrated as it is now, and what was made.

use std::io::{Read, Write};

use super::compare::Upgrade;
use super::migrate::{Migration, Recipe};
use crate::plan::Plan;
use crate::snapshot::{
    OwnedEntry, SnapshotError, SnapshotHeader, SnapshotReader, SnapshotSize, StateChanges, merge_with,
};
use crate::state::{ChangelogKey, decode_changelog_key, operator_prefix};

impl Upgrade {
    /// Writes the snapshot that the new plan begins with. `standing` opens the one of the old plan's state at the cut, from
    /// its beginning each time: it is read once, and once more for each operator that is migrated, so that nothing of it has to
    /// be in memory. `made` is what [`Upgrade::take_made`] has left.
    ///
    /// # Errors
    /// [`SnapshotError`]; also where the old state is none of the old plan's.
    pub fn carry_over<R: Read, W: Write>(
        &self,
        old: &Plan,
        header: &SnapshotHeader,
        standing: &mut dyn FnMut() -> Result<SnapshotReader<R>, SnapshotError>,
        made: &StateChanges,
        out: W,
    ) -> Result<(W, SnapshotSize), SnapshotError> {
        let mut base = standing()?;
        let mut migrations = self.migrations.list.iter();
        let mut current: Option<Migrated<'_, R>> = None;
        let mut others = || loop {
            if let Some(migrated) = &mut current
                && let Some(entry) = migrated.next(old)?
            {
                return Ok(Some(entry));
            }
            current = match migrations.next() {
                Some(migration) => Some(Migrated { migration, standing: standing()? }),
                None => return Ok(None),
            };
        };
        // What is migrated has the identity of nothing that was, and of nothing that was made.
        let keeps = |identity: u32| self.keeps(identity) || self.makes(identity);
        merge_with(header, Some(&mut base), &mut [], made, keeps, &mut others, out)
    }
}

/// The entries of one operator that is migrated.
struct Migrated<'m, R> {
    migration: &'m Migration,
    standing: SnapshotReader<R>,
}

impl<R: Read> Migrated<'_, R> {
    fn next(&mut self, old: &Plan) -> Result<Option<OwnedEntry>, SnapshotError> {
        let Migration { old: (node, before), new: (_, now), recipe } = self.migration;
        let prefix = operator_prefix(*before);
        let misfit = |reason: String| SnapshotError::Misfit { reason };
        while let Some((key, value)) = self.standing.next_entry()? {
            if !key.starts_with(&prefix) {
                if *key > prefix[..] {
                    return Ok(None);
                }
                continue;
            }
            let ChangelogKey { table, key, .. } = decode_changelog_key(key).map_err(misfit)?;
            let entry = match recipe {
                Recipe::AsTheyAre => Some((key.to_vec(), value.to_vec())),
                Recipe::Regrouped(regrouped) => {
                    regrouped.entry(&old.nodes[*node].operator, table, key, value).map_err(misfit)?
                }
            };
            if let Some((key, value)) = entry {
                let mut record_key = Vec::new();
                ChangelogKey { operator: *now, table, key: &key }.encode(&mut record_key);
                return Ok(Some((record_key, value)));
            }
        }
        Ok(None)
    }
}
