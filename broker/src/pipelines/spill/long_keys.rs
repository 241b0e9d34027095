//! Entries whose keys are longer than fjall takes: those with the same first bytes are one entry of it.
//!
//! ```text
//! key: the first 60,000 bytes     value: (length of the rest u32 │ length of the value u32 │ rest │ value)…
//! ```

use std::collections::BTreeMap;

use logmill_stream::ColdError;

/// The longest key that is stored as it is. Fjall takes 65,535 bytes.
pub(super) const MAX_KEY: usize = 60_000;

/// Values by the rest of their keys.
pub(super) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What values become, or that they are gone, by the rest of their keys.
type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// One of fjall's entries, by the first bytes of its keys; `None` when nothing is left of it.
type Merged = (Vec<u8>, Option<Vec<u8>>);

/// Changes of entries with long keys, by the first bytes of these.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Changed>);

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are some, and each begins with these bytes.
    pub(super) fn begin_with(&self, front: Option<&[u8]>) -> bool {
        !self.is_empty() && self.0.keys().all(|known| Some(&**known) == front)
    }

    /// An entry with a long key is there now, or gone.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let (front, rest) = key.split_at(MAX_KEY);
        let entries = self.0.entry(front.to_vec()).or_default();
        entries.insert(rest.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// What becomes of each of fjall's entries, of what was there before.
    pub(super) fn merged(
        self,
        before: impl Fn(&[u8]) -> Result<Entries, ColdError>,
    ) -> Result<Vec<Merged>, ColdError> {
        let merge = |(front, changes): (Vec<u8>, Changed)| {
            let mut entries = before(&front)?;
            for (rest, value) in changes {
                match value {
                    Some(value) => drop(entries.insert(rest, value)),
                    None => drop(entries.remove(&rest)),
                }
            }
            Ok((front, (!entries.is_empty()).then(|| encode(&entries))))
        };
        self.0.into_iter().map(merge).collect()
    }
}

fn encode(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::new();
    for (rest, value) in entries {
        out.extend_from_slice(&(rest.len() as u32).to_be_bytes());
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
    }
    out
}

/// Reads the value of one of fjall's entries.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Entries, ColdError> {
    let damaged = || ColdError::Damaged { what: "an entry with a long key".to_owned() };
    let mut entries = Entries::new();
    while !bytes.is_empty() {
        let (rest, behind) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let (value, behind) = behind.split_first_chunk().ok_or_else(damaged)?;
        let (rest, value) = (u32::from_be_bytes(*rest) as usize, u32::from_be_bytes(*value) as usize);
        let (rest, behind) = behind.split_at_checked(rest).ok_or_else(damaged)?;
        let (value, behind) = behind.split_at_checked(value).ok_or_else(damaged)?;
        entries.insert(rest.to_vec(), value.to_vec());
        bytes = behind;
    }
    Ok(entries)
}
