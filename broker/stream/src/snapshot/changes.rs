//! What a stretch of the changelog comes to.

use std::collections::BTreeMap;

use logmill_record::Batch;

use crate::pipeline::{DECOMPRESSED_BATCH_BYTES, RestoreError};

/// What an entry costs beside its bytes, in memory; about.
const ENTRY_BYTES: usize = 64;

/// The last change of each key in a stretch of the changelog.
#[derive(Debug, Clone, Default)]
pub struct StateChanges {
    pub(super) entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    bytes: usize,
    records: u64,
}

impl StateChanges {
    /// Takes in the next batch of the changelog.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), RestoreError> {
        if batch.header().is_control() {
            return Ok(());
        }
        let damaged = |index: u64, reason: String| RestoreError::DamagedChangelog { index, reason };
        let open =
            batch.open(DECOMPRESSED_BATCH_BYTES).map_err(|error| damaged(self.records, error.to_string()))?;
        for view in open.records() {
            let index = self.records;
            let view = view.map_err(|error| damaged(index, error.to_string()))?;
            self.records += 1;
            let Some(key) = view.key else {
                return Err(damaged(index, "it has no key".to_owned()));
            };
            self.put(key, view.value);
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let length = |value: Option<&[u8]>| value.map_or(0, <[u8]>::len);
        let now = length(value);
        match self.entries.get_mut(key) {
            Some(known) => {
                self.bytes -= length(known.as_deref());
                *known = value.map(Box::from);
            }
            None => {
                self.bytes += key.len() + ENTRY_BYTES;
                self.entries.insert(key.into(), value.map(Box::from));
            }
        }
        self.bytes += now;
    }

    /// Leaves the keys for which it is true.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&[u8]) -> bool) {
        self.entries.retain(|key, _| is_kept(key));
        let sizes = self
            .entries
            .iter()
            .map(|(key, value)| key.len() + ENTRY_BYTES + value.as_ref().map_or(0, |value| value.len()));
        self.bytes = sizes.sum();
    }

    /// What there is of the state, if these are all changes from its beginning on: in the order of the keys.
    pub(crate) fn state(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter_map(|(key, value)| Some((&**key, value.as_deref()?)))
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
