//! Bytes in one or more pieces.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// Record batches back to back, in one or more slices: what a read from the log gives, so that a fetch
/// response carries it to the socket without joining it first. Equality looks at the content only.
#[derive(Clone, Default)]
pub struct Chunks {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Chunks {
    /// Length of the whole in bytes.
    pub fn len(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.iter().all(Bytes::is_empty)
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The whole in one piece: free when it is one already (what decoding always gives), else one copy.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut joined = BytesMut::with_capacity(self.len());
        for piece in self.iter() {
            joined.extend_from_slice(piece);
        }
        joined.freeze()
    }
}

impl From<Bytes> for Chunks {
    fn from(first: Bytes) -> Chunks {
        Chunks { first, rest: Vec::new() }
    }
}

impl From<Vec<Bytes>> for Chunks {
    fn from(pieces: Vec<Bytes>) -> Chunks {
        let mut pieces = pieces.into_iter();
        Chunks { first: pieces.next().unwrap_or_default(), rest: pieces.collect() }
    }
}

impl PartialEq for Chunks {
    fn eq(&self, other: &Chunks) -> bool {
        self.len() == other.len() && self.iter().flatten().eq(other.iter().flatten())
    }
}

impl Eq for Chunks {}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
