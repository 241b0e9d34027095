//! The state as records of the changelog topic.
//!
//! ```text
//! key:  version 2 │ operator u32 │ table u8 │ the entry's key…        value: the entry's, or none when it is gone
//! ```

const VERSION: u8 = 2;
/// How long a record's key is beside the entry's.
pub(crate) const RECORD_HEADER: usize = 6;

/// Takes the changes of an epoch, in a fixed order.
pub(crate) trait ChangelogSink {
    /// An entry of a table as it is now; `None` when it is gone.
    fn put(&mut self, table: u8, key: &[u8], value: Option<&[u8]>);

    /// A row that a log has got.
    fn append(&mut self, row: Appended<'_>);

    /// A span of a log is gone, with all that it held.
    fn forget(&mut self, table: u8, span: i64);
}

/// A row that a log has got in an epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended<'r> {
    /// The log's table.
    pub(crate) table: u8,
    /// The first time of the span it lies in.
    pub(crate) span: i64,
    /// Where it stands among the rows that the log has got in the epoch, of all shards.
    pub(crate) order: u64,
    /// Its key, the key group first.
    pub(crate) key: &'r [u8],
    /// What it holds.
    pub(crate) row: &'r [u8],
}

/// Where a changelog record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChangelogKey<'k> {
    /// The operator's identity.
    pub(crate) operator: u32,
    /// Its table.
    pub(crate) table: u8,
    /// The entry's key.
    pub(crate) key: &'k [u8],
}

impl ChangelogKey<'_> {
    /// Appends the record's key.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.operator.to_be_bytes());
        out.push(self.table);
        out.extend_from_slice(self.key);
    }
}

/// What the keys of all records of an operator begin with.
pub(crate) fn operator_prefix(operator: u32) -> [u8; 5] {
    let [a, b, c, d] = operator.to_be_bytes();
    [VERSION, a, b, c, d]
}

/// Reads a record's key.
pub(crate) fn decode_changelog_key(bytes: &[u8]) -> Result<ChangelogKey<'_>, String> {
    match bytes.first() {
        Some(&VERSION) => {}
        Some(version) => {
            return Err(format!("format version {version}, this release reads {VERSION}"));
        }
        None => return Err("the key is empty".to_owned()),
    }
    let Some((header, key)) = bytes.split_at_checked(RECORD_HEADER) else {
        return Err("the key is too short".to_owned());
    };
    let operator = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    Ok(ChangelogKey { operator, table: header[5], key })
}
