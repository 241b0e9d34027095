//! Segments that are known to be on the device, held against what the manifest says of them.

use crate::log::error::{Corruption, LogError};
use crate::log::manifest::{AbortedSum, ManifestLine};
use crate::log::names::FileKind;
use crate::log::segment::{Segment, Trust};
use crate::log::walk::{Stop, Walk};

/// Bytes of batches that a settled segment of `length` bytes in its file has, which is more than that when some were lost:
/// then who reads up to its end is told. And what was lost.
pub(super) fn expected_size(
    segment: &Segment,
    length: u64,
    next_base: i64,
    line: Option<ManifestLine>,
) -> Result<(u64, Option<Corruption>), LogError> {
    let corruption = |reason| segment.corruption(FileKind::Log, length, segment.base_offset(), reason);
    match line {
        Some(ManifestLine { size: Some(size), .. }) if size != length => {
            let reason = format!("it has {length} bytes, and had {size} when it was flushed");
            Ok((size.max(length), Some(corruption(reason))))
        }
        Some(ManifestLine { size: None, .. }) if length == 0 => {
            Ok((1, Some(corruption("it is empty, or not there".to_owned()))))
        }
        // It was closed after the flush that wrote the line, at the offset where that flush ended.
        Some(ManifestLine { size: None, .. }) => match end_of(segment)? {
            end if end < next_base => {
                let reason = format!("it ends at offset {end}, and the next segment begins at {next_base}");
                Ok((length + 1, Some(corruption(reason))))
            }
            _ => Ok((length, None)),
        },
        _ => Ok((length, None)),
    }
}

/// What a settled segment's file of aborted transactions must hold. Without a line, it is believed.
pub(super) fn expected_aborted(
    segment: &Segment,
    line: Option<ManifestLine>,
) -> Result<AbortedSum, LogError> {
    match line {
        Some(line) => Ok(line.aborted),
        None => Ok(AbortedSum::of(&segment.aborted_file()?)),
    }
}

/// Offset after the last good batch of a segment.
fn end_of(segment: &Segment) -> Result<i64, LogError> {
    let read = segment.read_index_files(Trust::All)?;
    let mut walk = Walk::headers(segment.reading_file()?, read.position, segment.size());
    let mut end = segment.base_offset();
    loop {
        match walk.next() {
            Ok(Some(step)) => end = step.header.next_offset(),
            Ok(None) | Err(Stop::Bad { .. }) => return Ok(end),
            Err(Stop::Io(error)) => return Err(LogError::io("read", &segment.path(FileKind::Log))(error)),
        }
    }
}
