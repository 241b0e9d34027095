//! Keys of tables.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Keys of so many bytes stand in the table itself.
const SHORT: usize = 22;

/// A key of a table, its key group first.
///
/// Most are short, and those stand where the entry stands: neither a look at one nor an entry that comes or goes asks other
/// memory. Behind a window's end each of its keys is looked at once, and nearly every look at other memory waits for it.
#[derive(Clone)]
pub(crate) enum TableKey {
    /// So many of these bytes.
    Short(u8, [u8; SHORT]),
    /// More than fit.
    Long(Arc<[u8]>),
}

impl Deref for TableKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            TableKey::Short(length, bytes) => &bytes[..usize::from(*length)],
            TableKey::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for TableKey {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for TableKey {
    fn from(key: &[u8]) -> Self {
        if key.len() > SHORT {
            return TableKey::Long(key.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..key.len()].copy_from_slice(key);
        TableKey::Short(key.len() as u8, bytes)
    }
}

impl From<&TableKey> for Arc<[u8]> {
    fn from(key: &TableKey) -> Self {
        match key {
            TableKey::Short(..) => Arc::from(&key[..]),
            TableKey::Long(bytes) => Arc::clone(bytes),
        }
    }
}

impl Hash for TableKey {
    /// As the bytes do.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl PartialEq for TableKey {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for TableKey {}

impl PartialOrd for TableKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TableKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_its_bytes(left in prop::collection::vec(0_u8..3, 0..30), right in prop::collection::vec(0_u8..3, 0..30)) {
            let (one, other) = (TableKey::from(&left[..]), TableKey::from(&right[..]));
            prop_assert_eq!(&*one, &left[..]);
            prop_assert_eq!(one.cmp(&other), left.cmp(&right));
            prop_assert_eq!(one == other, left == right);
            prop_assert_eq!(&*Arc::<[u8]>::from(&one), &left[..]);
            let hashes = std::hash::RandomState::new();
            prop_assert_eq!(hashes.hash_one(&one), hashes.hash_one(&left[..]));
        }
    }

    #[test]
    fn it_takes_no_more_than_a_text_does() {
        assert_eq!(size_of::<TableKey>(), size_of::<String>());
    }
}
