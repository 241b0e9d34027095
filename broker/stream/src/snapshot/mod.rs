//! Snapshots: the whole state of a pipeline as of one committed epoch, as a stream of checked chunks.
//!
//! ```text
//! snapshot before ─┐
//!                  ├─► merge_snapshot ─► snapshot            restore = progress record + snapshot + changelog behind it
//! changelog since ─┘   (in key order)
//! ```
//!
//! A snapshot is made of the one before and of the changelog since, not of the tables of a running pipeline: nobody
//! waits for it, and nothing is copied that the changelog does not have. It needs memory for the changes it takes in,
//! however large the state is; where they are too many, for a stretch of them at a time (`stretches.rs`).
//!
//! ```text
//! magic (8 bytes) │ frame: header │ frame: entries │ … │ frame: end
//! frame:   length u32 │ CRC-32 of kind and payload u32 │ kind u8 │ payload
//! entries: (length of the key u32 │ length of the value u32 │ key │ value)…      keys as in the changelog, ascending
//! end:     entries u64 │ frames of entries u32 │ CRC-32 over the CRCs of all frames before u32
//! ```
//!
//! Numbers are big-endian. What reads and writes the bytes is given: the engine opens no file.

mod changes;
mod error;
mod files;
mod header;
mod making;
mod merge;
mod policy;
mod reader;
mod stretches;
mod writer;

pub use changes::StateChanges;
pub use error::SnapshotError;
pub use files::{
    SnapshotDirectory, SnapshotFile, SnapshotFileError, SnapshotFiles, SnapshotReading, SnapshotStop,
    SnapshotWriting,
};
pub use header::{SNAPSHOT_VERSION, SnapshotHeader, SnapshotOperator};
pub use making::{
    FoundSnapshots, RefusedSnapshot, SnapshotCut, SnapshotLogs, SnapshotSource, UsableSnapshot, make_snapshot,
};
pub(crate) use merge::{OwnedEntry, merge_with};
pub use merge::{merge_snapshot, merge_stretches};
pub use policy::{SNAPSHOTS_KEPT, SnapshotPolicy};
pub use reader::SnapshotReader;
pub use stretches::write_stretch;
pub use writer::{SnapshotSize, SnapshotWriter};

/// What every snapshot begins with.
const MAGIC: [u8; 8] = *b"LMSNAP\r\n";

/// Length and CRC-32 in front of a frame.
const FRAME_BYTES: usize = 8;

const HEADER: u8 = 0;
const ENTRIES: u8 = 1;
const END: u8 = 2;

/// A frame of entries is closed when it has grown to this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// No frame is longer: an entry comes from a record of the changelog, and a record fits a frame of the journal.
const MAX_FRAME_BYTES: u32 = 128 << 20;

fn crc_of(kind: u8, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(payload);
    crc.finalize()
}
