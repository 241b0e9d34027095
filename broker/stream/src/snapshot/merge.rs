//! The next snapshot: the one before, and what has changed since.

use std::io::{Read, Write};

use super::{SnapshotError, SnapshotHeader, SnapshotReader, SnapshotSize, SnapshotWriter, StateChanges};
use crate::state::decode_changelog_key;

/// Writes the snapshot that `base` becomes by `changes`; without a base the changes are all there is. Only operators
/// for which `keeps` is true, by their identity, are in it.
pub fn merge_snapshot<R: Read, W: Write>(
    header: &SnapshotHeader,
    mut base: Option<&mut SnapshotReader<R>>,
    changes: &StateChanges,
    keeps: impl Fn(u32) -> bool,
    out: W,
) -> Result<(W, SnapshotSize), SnapshotError> {
    let mut writer = SnapshotWriter::new(out, header)?;
    let kept = |key: &[u8]| match decode_changelog_key(key) {
        Ok(key) => Ok(keeps(key.operator)),
        Err(reason) => Err(SnapshotError::Misfit { reason: format!("a key of the state: {reason}") }),
    };
    let mut changes = changes.entries.iter().peekable();
    if let Some(base) = &mut base {
        while let Some((key, value)) = base.next_entry()? {
            while let Some((changed, value)) = changes.next_if(|(changed, _)| ***changed < *key) {
                if let Some(value) = value
                    && kept(changed)?
                {
                    writer.push(changed, value)?;
                }
            }
            let changed = changes.next_if(|(changed, _)| ***changed == *key);
            let value = changed.map_or(Some(value), |(_, value)| value.as_deref());
            if let Some(value) = value
                && kept(key)?
            {
                writer.push(key, value)?;
            }
        }
    }
    for (key, value) in changes {
        if let Some(value) = value
            && kept(key)?
        {
            writer.push(key, value)?;
        }
    }
    writer.finish()
}
