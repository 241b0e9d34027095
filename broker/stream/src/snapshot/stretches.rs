//! Stretches of the changelog that do not fit into memory together.
//!
//! ```text
//! stretch of the changelog ─► StateChanges ─► file, in the order of the keys ─┐
//! the next one             ─► StateChanges ─► file ───────────────────────────┼─► merged at once into the snapshot before
//! the last one             ─► StateChanges, in memory ────────────────────────┘
//! ```
//!
//! So a snapshot is read and written once, however many stretches there are. The file of a stretch is written like a snapshot;
//! its values have a byte in front that says whether there is one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, btree_map};
use std::io::{Read, Write};

use super::{SnapshotError, SnapshotHeader, SnapshotReader, SnapshotSize, SnapshotWriter, StateChanges};

const GONE: u8 = 0;
const PRESENT: u8 = 1;

type Entries<'c> = btree_map::Iter<'c, Box<[u8]>, Option<Box<[u8]>>>;

/// A key, and its value if it has one still.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Writes stretches as one. `files` are what this wrote before, oldest first; `newest` is behind them.
pub fn write_stretch<R: Read, W: Write>(
    header: &SnapshotHeader,
    files: &mut [SnapshotReader<R>],
    newest: &StateChanges,
    out: W,
) -> Result<(W, SnapshotSize), SnapshotError> {
    let mut writer = SnapshotWriter::new(out, header)?;
    let mut changes = Changes::new(files, newest)?;
    let mut bytes = Vec::new();
    while let Some((key, value)) = changes.next()? {
        bytes.clear();
        bytes.push(if value.is_some() { PRESENT } else { GONE });
        bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        writer.push(&key, &bytes)?;
    }
    writer.finish()
}

/// The last change of each key in several stretches, in the order of the keys.
pub(super) struct Changes<'c, R> {
    files: &'c mut [SnapshotReader<R>],
    newest: Entries<'c>,
    /// The next change of each stretch, of which that with the first key is on top; of one key's the newest.
    next: BinaryHeap<Next>,
}

/// A stretch's next change. Of two stretches no key is there twice, so that values are never compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    key: Reverse<Vec<u8>>,
    stretch: usize,
    value: Option<Vec<u8>>,
}

impl<'c, R: Read> Changes<'c, R> {
    pub(super) fn new(
        files: &'c mut [SnapshotReader<R>],
        newest: &'c StateChanges,
    ) -> Result<Self, SnapshotError> {
        let mut changes = Self { files, newest: newest.entries.iter(), next: BinaryHeap::new() };
        for stretch in 0..=changes.files.len() {
            changes.read(stretch)?;
        }
        Ok(changes)
    }

    /// The change of the next key.
    pub(super) fn next(&mut self) -> Result<Option<Change>, SnapshotError> {
        let Some(Next { key: Reverse(key), stretch, value }) = self.next.pop() else { return Ok(None) };
        self.read(stretch)?;
        while let Some(older) = self.next.peek().filter(|older| older.key.0 == key).map(|older| older.stretch)
        {
            self.next.pop();
            self.read(older)?;
        }
        Ok(Some((key, value)))
    }

    fn read(&mut self, stretch: usize) -> Result<(), SnapshotError> {
        let next = match self.files.get_mut(stretch) {
            Some(file) => match file.next_entry()? {
                Some((key, value)) => Some((key.to_vec(), decode(value)?)),
                None => None,
            },
            None => {
                self.newest.next().map(|(key, value)| (key.to_vec(), value.as_deref().map(<[u8]>::to_vec)))
            }
        };
        self.next.extend(next.map(|(key, value)| Next { key: Reverse(key), stretch, value }));
        Ok(())
    }
}

fn decode(value: &[u8]) -> Result<Option<Vec<u8>>, SnapshotError> {
    match value.split_first() {
        Some((&PRESENT, value)) => Ok(Some(value.to_vec())),
        Some((&GONE, [])) => Ok(None),
        _ => Err(SnapshotError::Misfit { reason: "it is not of a stretch of the changelog".to_owned() }),
    }
}
