//! A segment's aborted transactions, from its batches.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, read_file};
use crate::log::error::ReadError;
use crate::log::names::FileKind;
use crate::log::producers::Producers;
use crate::log::segment::{LogEnvironment, Segment};
use crate::log::transactions::{AbortedTransaction, TransactionEvent};
use crate::log::walk::{Step, Stop, Walk};

/// Aborted transactions of a segment, from its batches.
pub(super) struct AbortedAgain {
    pub(super) entries: Vec<AbortedTransaction>,
    /// Some bytes were no batch: what they held may be missing.
    pub(super) met_damage: bool,
}

/// Finds a segment's aborted transactions again, from the snapshot at its beginning or, without one, from the earlier
/// segments.
pub(super) fn aborted_again(
    environment: &LogEnvironment,
    directory: &Path,
    segments: &[Arc<Segment>],
    segment: &Segment,
) -> Result<AbortedAgain, ReadError> {
    let base = segment.base_offset();
    let mut met_damage = false;
    let mut producers = match read_snapshot(&*environment.disk, directory, base)? {
        Some(producers) => producers,
        None => {
            let mut producers = Producers::default();
            for earlier in segments.iter().take_while(|earlier| earlier.base_offset() < base) {
                met_damage |= walk_all(earlier, |step| {
                    apply(&mut producers, step);
                })?;
            }
            producers
        }
    };
    let mut entries = Vec::new();
    met_damage |= walk_all(segment, |step| entries.extend(apply(&mut producers, step)))?;
    Ok(AbortedAgain { entries, met_damage })
}

/// Visits all good batches. True when something that is none lies among them.
fn walk_all(segment: &Segment, mut visit: impl FnMut(&Step)) -> Result<bool, ReadError> {
    let mut walk = Walk::headers(segment.reading_file()?, 0, segment.file_size()?);
    let mut met_damage = false;
    let mut least_offset = segment.base_offset();
    let failed = |error| ReadError::io("read", &segment.path(FileKind::Log))(error);
    loop {
        match walk.next() {
            Ok(Some(step)) => {
                least_offset = step.header.next_offset();
                visit(&step);
            }
            Ok(None) => return Ok(met_damage || segment.file_size()? < segment.size()),
            Err(Stop::Io(error)) => return Err(failed(error)),
            Err(Stop::Bad { .. }) => {
                met_damage = true;
                match walk.skip_damage(least_offset..i64::MAX) {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(Stop::Bad { .. }) => return Ok(true),
                    Err(Stop::Io(error)) => return Err(failed(error)),
                }
            }
        }
    }
}

pub(super) fn apply(producers: &mut Producers, step: &Step) -> Option<AbortedTransaction> {
    match producers.apply(&step.header, step.marker)? {
        TransactionEvent::Ended(ended) => ended.aborted(),
        TransactionEvent::Began { .. } => None,
    }
}

/// A snapshot, or `None` when it is not one.
pub(super) fn read_snapshot(
    disk: &dyn Disk,
    directory: &Path,
    offset: i64,
) -> Result<Option<Producers>, ReadError> {
    let path = FileKind::ProducerSnapshot.path(directory, offset);
    match read_file(disk, &path) {
        Ok(bytes) => Ok(Producers::decode_snapshot(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::io("read", &path)(error)),
    }
}
