//! The commit journal: one sequence of frames, each durable before anything of it is visible.
//!
//! ```text
//!   frames ──► one write ──► current file of the ring ──► next file …
//!              └ all that waited while the last write was in flight, padded to the block
//!
//!   checkpoint "everything up to sequence C is in the segments" ──► files before the one with C + 1 are used again
//! ```
//!
//! **Identity.** A file belongs to one data directory (its id is in each file header) and to one *incarnation*: each
//! opening of the directory begins a new one, in a new file, after everything older was replayed and checkpointed. Frames
//! carry incarnation, file number and position, so what an earlier use of a file left behind never counts. Half of an
//! incarnation's number is chance, so neither does a record that looks like a frame.
//!
//! **Torn or damaged.** Each frame also carries the last sequence that was durable when its write began, and going idle
//! writes a small frame for that alone. `recover` decides with it: a bad frame above every durable sequence that is
//! known, from the frames before it, from any valid frame of the incarnation behind it, from the file headers and from
//! the checkpoint, was never acknowledged: torn, the journal ends there. (A valid frame behind it out of the same torn
//! write says nothing: it carries an older durable sequence, and ends with it.) Any other bad frame is
//! [`JournalError::Corrupt`], and nothing is cut.

mod buffer;
mod error;
mod format;
mod reader;
mod ring;
mod spare;
mod writer;

pub use error::JournalError;
pub use format::JOURNAL_VERSION;
pub(crate) use format::TrimEntry;
pub use reader::Cut;
pub(crate) use reader::{ReplayStart, Scanned, inspect, recover};
pub(crate) use writer::{FrameBody, FrameEntry, Journal, NewIncarnation, next_incarnation};

use crate::disk::BLOCK_BYTES;

/// Settings of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of the first file of a new journal. Small, because it is filled with zeros before the first start is done.
    pub first_file_bytes: u64,
    /// Bytes to which files grow. A file is the unit in which space is used again.
    pub file_bytes: u64,
    /// Bytes that all files together may have. A checkpoint is due when half of it is in use, so this bounds both the
    /// time that a start after a crash takes and how often segments are flushed.
    pub max_bytes: u64,
    /// Largest frame in bytes, header included; what is larger is rejected.
    pub max_frame_bytes: u32,
    /// Write around the page cache where the file system can do that.
    pub direct: bool,
}

impl Default for JournalOptions {
    fn default() -> JournalOptions {
        JournalOptions {
            first_file_bytes: 1 << 20,
            file_bytes: 64 << 20,
            max_bytes: 1 << 30,
            max_frame_bytes: 64 << 20,
            direct: true,
        }
    }
}

impl JournalOptions {
    /// The same with sizes that fit together: whole blocks, and room in half the ring for the largest frame.
    pub(crate) fn normalised(self) -> JournalOptions {
        let blocks = |bytes: u64| bytes.next_multiple_of(BLOCK_BYTES as u64);
        let max_bytes = blocks(self.max_bytes.max(16 * BLOCK_BYTES as u64));
        let file_bytes = blocks(self.file_bytes.clamp(4 * BLOCK_BYTES as u64, max_bytes / 4));
        let first_file_bytes = blocks(self.first_file_bytes.clamp(4 * BLOCK_BYTES as u64, file_bytes));
        let largest = max_bytes / 2 - 2 * BLOCK_BYTES as u64;
        let max_frame_bytes = self.max_frame_bytes.min(u32::try_from(largest).unwrap_or(u32::MAX));
        JournalOptions { first_file_bytes, file_bytes, max_bytes, max_frame_bytes, direct: self.direct }
    }
}

#[cfg(test)]
mod tests;
