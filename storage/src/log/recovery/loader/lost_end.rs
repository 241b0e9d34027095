//! A log that lost the end of what had been flushed.

use std::sync::Arc;

use crate::log::error::LogError;
use crate::log::manifest::AbortedSum;
use crate::log::names::FileKind;
use crate::log::segment::Segment;
use crate::log::walk::{Stop, Walk};

use super::Loader;

impl Loader<'_> {
    /// Nothing good lies between damage and the recovery point. Where the batch at the recovery point begins, if it is whole
    /// and in the same file: then the damage costs no more than itself.
    pub(super) fn intact_behind(&mut self, walk: &mut Walk) -> Result<Option<u64>, LogError> {
        let recovery_point = self.at.recovery_point;
        let found = walk.skip_damage(recovery_point..i64::MAX).and_then(|found| match found {
            Some(position) => Ok(walk.next()?.map(|step| (position, step.header.base_offset))),
            None => Ok(None),
        });
        match found {
            Ok(Some((position, offset))) if offset == recovery_point => Ok(Some(position)),
            Ok(found) => {
                self.more_behind |= found.is_some();
                Ok(None)
            }
            Err(Stop::Io(error)) => Err(LogError::io("read", self.directory)(error)),
            Err(Stop::Bad { .. }) => Ok(None),
        }
    }

    /// Batches that were on the device are gone from the end of the segment with the recovery point. What is left of it
    /// stays, and who reads up to its end is told; the log goes on in a segment of its own, at the recovery point.
    pub(super) fn begin_behind_loss(&mut self, base: i64) -> Result<(), LogError> {
        let recovery_point = self.at.recovery_point;
        let length = self.file_len(base)?;
        let (position, reason) = match self.recovered.tail.take() {
            Some(tail) if tail.file == FileKind::Log.path(self.directory, base) => {
                (tail.position, tail.reason)
            }
            _ if self.is_there(base)? => (length, "the file ends here".to_owned()),
            _ => (0, "the file is not there".to_owned()),
        };
        let more_behind = self.more_behind || !self.writer.stale_segments.is_empty();
        // Nobody knows who wrote what: duplicates would be taken for new records. Or: what lies behind the loss does not
        // fit on to it any more, and is nowhere else.
        if self.producers_as_of != recovery_point || (self.at.unjournaled && more_behind) {
            return Err(self.lost(self.end_offset, reason));
        }
        // More than the file has.
        let segment = self.sealed(base, recovery_point, length + 1);
        let lost = format!("{reason}; everything before offset {recovery_point} had been flushed");
        self.recovered.damaged.push(segment.corruption(FileKind::Log, position, self.end_offset, lost));
        let aborted = self.manifest.line(base).map_or_else(AbortedSum::default, |line| line.aborted);
        segment.expect_aborted(aborted);
        self.segments.retain(|segment| segment.base_offset() < base);
        self.segments.push(Arc::new(segment));
        // Before the next segment is there, which would make this one look like one that is whole.
        self.manifest.swap(&[base], length + 1, aborted);
        self.manifest.write(self.disk(), self.directory)?;
        let interval = self.options.index_interval_bytes;
        let next = Segment::create(self.environment, self.directory, recovery_point, interval)?;
        self.segments.push(Arc::new(next));
        self.writer.stale_segments.retain(|stale| *stale != recovery_point);
        self.writer.directory_changed = true;
        self.writer.first_timestamp = None;
        self.end_offset = recovery_point;
        Ok(())
    }
}
