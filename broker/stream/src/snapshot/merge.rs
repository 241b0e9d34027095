//! The next snapshot: the one before, and what has changed since.

use std::io::{Read, Write};

use super::stretches::Changes;
use super::{SnapshotError, SnapshotHeader, SnapshotReader, SnapshotSize, SnapshotWriter, StateChanges};
use crate::state::decode_changelog_key;

/// Writes the snapshot that `base` becomes by `changes`; without a base the changes are all there is. Only operators
/// for which `keeps` is true, by their identity, are in it.
pub fn merge_snapshot<R: Read, W: Write>(
    header: &SnapshotHeader,
    base: Option<&mut SnapshotReader<R>>,
    changes: &StateChanges,
    keeps: impl Fn(u32) -> bool,
    out: W,
) -> Result<(W, SnapshotSize), SnapshotError> {
    merge_with(header, base, &mut [], changes, keeps, &mut || Ok(None), out)
}

/// The same for a whole state and changes that do not fit into memory: those in `files` come first, as
/// [`write_stretch`](super::write_stretch) has written them, oldest first.
pub fn merge_stretches<R: Read, W: Write>(
    header: &SnapshotHeader,
    base: Option<&mut SnapshotReader<R>>,
    files: &mut [SnapshotReader<R>],
    changes: &StateChanges,
    out: W,
) -> Result<(W, SnapshotSize), SnapshotError> {
    merge_with(header, base, files, changes, |_| true, &mut || Ok(None), out)
}

/// An entry, key and value.
pub(crate) type OwnedEntry = (Vec<u8>, Vec<u8>);

/// The same, with entries of operators that neither the base nor the changes have, in the order of their keys.
pub(crate) fn merge_with<R: Read, W: Write>(
    header: &SnapshotHeader,
    mut base: Option<&mut SnapshotReader<R>>,
    files: &mut [SnapshotReader<R>],
    changes: &StateChanges,
    keeps: impl Fn(u32) -> bool,
    others: &mut dyn FnMut() -> Result<Option<OwnedEntry>, SnapshotError>,
    out: W,
) -> Result<(W, SnapshotSize), SnapshotError> {
    let mut writer = Merged { writer: SnapshotWriter::new(out, header)?, next: others()?, others };
    let kept = |key: &[u8]| match decode_changelog_key(key) {
        Ok(key) => Ok(keeps(key.operator)),
        Err(reason) => Err(SnapshotError::Misfit { reason: format!("a key of the state: {reason}") }),
    };
    let mut changes = Changes::new(files, changes)?;
    let mut next = changes.next()?;
    if let Some(base) = &mut base {
        while let Some((key, value)) = base.next_entry()? {
            while let Some((changed, value)) = next.take_if(|(changed, _)| **changed < *key) {
                if let Some(value) = value
                    && kept(&changed)?
                {
                    writer.push(&changed, &value)?;
                }
                next = changes.next()?;
            }
            let changed = next.take_if(|(changed, _)| **changed == *key);
            let is_changed = changed.is_some();
            if let Some(value) = changed.as_ref().map_or(Some(value), |(_, value)| value.as_deref())
                && kept(key)?
            {
                writer.push(key, value)?;
            }
            if is_changed {
                next = changes.next()?;
            }
        }
    }
    while let Some((key, value)) = next {
        if let Some(value) = value
            && kept(&key)?
        {
            writer.push(&key, &value)?;
        }
        next = changes.next()?;
    }
    writer.finish()
}

/// A snapshot into which others' entries go where their keys are.
struct Merged<'o, W> {
    writer: SnapshotWriter<W>,
    next: Option<OwnedEntry>,
    others: &'o mut dyn FnMut() -> Result<Option<OwnedEntry>, SnapshotError>,
}

impl<W: Write> Merged<'_, W> {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        self.push_others(Some(key))?;
        self.writer.push(key, value)
    }

    /// Writes what comes before a key, or all that is left.
    fn push_others(&mut self, before: Option<&[u8]>) -> Result<(), SnapshotError> {
        while let Some((key, value)) =
            self.next.take_if(|(key, _)| before.is_none_or(|before| **key < *before))
        {
            self.writer.push(&key, &value)?;
            self.next = (self.others)()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(W, SnapshotSize), SnapshotError> {
        self.push_others(None)?;
        self.writer.finish()
    }
}
