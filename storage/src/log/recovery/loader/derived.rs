//! What follows from the batches before the recovery point: aborted transactions, leader epochs and producers, from their
//! files, or from the batches when these are missing or wrong.

use std::io;

use crate::disk::read_file;
use crate::log::epochs::LeaderEpochs;
use crate::log::error::{LogError, ReadError};
use crate::log::names::{FileKind, LEADER_EPOCHS};
use crate::log::producers::Producers;
use crate::log::producers::snapshot::Lookback;
use crate::log::recovery::aborted::{aborted_again, apply, read_snapshot};
use crate::log::segment::{Segment, Trust, remove_if_there};
use crate::log::walk::{Step, Stop, Walk};

use super::Loader;

/// Index entries before a snapshot whose batches are looked at for duplicates that its format has no room for.
const LOOKBACK_ENTRIES: usize = 16;

impl Loader<'_> {
    /// Aborted transactions of the segment that end before the recovery point.
    pub(super) fn load_aborted(&mut self, segment: &Segment) -> Result<(), LogError> {
        let recovery_point = self.at.recovery_point;
        let (mut entries, written) = if segment.base_offset() >= recovery_point {
            (Vec::new(), 0)
        } else {
            let expected =
                self.manifest.line(segment.base_offset()).map_or_else(Default::default, |line| line.aborted);
            match segment.read_aborted_before(recovery_point, expected)? {
                Ok(entries) => {
                    let written = entries.len();
                    (entries, written)
                }
                Err(_) => {
                    self.recovered.rebuilt.push(segment.path(FileKind::TransactionIndex));
                    let before = self.segments.as_slice();
                    let again = aborted_again(self.environment, self.directory, before, segment)?;
                    if again.met_damage && (again.entries.len() as u64) < expected.entries {
                        // Who is told of fewer would take aborted records for committed ones.
                        let reason = "aborted transactions are missing, and batches are damaged";
                        let corruption =
                            segment.corruption(FileKind::TransactionIndex, 0, recovery_point, reason);
                        return Err(corruption.into());
                    }
                    (again.entries, 0)
                }
            }
        };
        entries.retain(|entry| entry.last_offset < recovery_point);
        let written = written.min(entries.len());
        segment.set_aborted(entries, written);
        Ok(())
    }

    /// Leader epochs of the settled part, from their file, or from the batches when that is missing or wrong.
    pub(super) fn load_epochs(&mut self, settled: usize) -> Result<(), LogError> {
        let path = self.directory.join(LEADER_EPOCHS);
        let text = match read_file(self.disk(), &path) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        if let Some(Ok(mut epochs)) = text.as_deref().map(LeaderEpochs::decode) {
            self.writer.epochs_changed = epochs.truncate_from_end(self.at.recovery_point);
            self.epochs = epochs;
            return Ok(());
        }
        if self.at.recovery_point > self.bases[0] {
            self.recovered.rebuilt.push(path);
            let mut epochs = LeaderEpochs::default();
            self.walk_before_recovery_point(self.bases[0], settled, |step| {
                epochs.observe(step.header.leader_epoch, step.header.base_offset);
            })?;
            self.epochs = epochs;
        }
        self.writer.epochs_changed = true;
        Ok(())
    }

    /// Producers as of the recovery point: the newest snapshot not above it, and the batches between.
    pub(super) fn producers_at(&mut self, offset: i64, settled: usize) -> Result<Producers, LogError> {
        let offset = offset.min(self.at.recovery_point.max(self.bases[0]));
        let mut wrong = Vec::new();
        let mut begin = None;
        for &candidate in self.snapshots.range(..=offset).rev() {
            match read_snapshot(self.disk(), self.directory, candidate)? {
                Some(producers) => {
                    begin = Some((candidate, producers));
                    break;
                }
                None => wrong.push(candidate),
            }
        }
        for candidate in wrong {
            self.snapshots.remove(&candidate);
            let path = FileKind::ProducerSnapshot.path(self.directory, candidate);
            remove_if_there(self.disk(), &path)?;
            self.recovered.rebuilt.push(path);
        }
        let (from, mut producers) = begin.unwrap_or((self.bases[0], Producers::default()));
        self.producers_as_of = from;
        if !producers.is_empty() {
            self.look_back(from, &mut producers)?;
        }
        if from < self.at.recovery_point {
            self.walk_before_recovery_point(from, settled, |step| {
                apply(&mut producers, step);
            })?;
        }
        Ok(producers)
    }

    /// Completes the producers of a snapshot with the batches right before it, which may reach into the segment before.
    fn look_back(&self, snapshot: i64, producers: &mut Producers) -> Result<(), LogError> {
        let holding = self.bases.partition_point(|base| *base < snapshot);
        let Some(last) = holding.checked_sub(1) else { return Ok(()) };
        let mut lookback = Lookback::default();
        for at in last.saturating_sub(1)..=last {
            let base = self.bases[at];
            let length = self.file_len(base)?;
            let segment = self.sealed(base, i64::MAX, length);
            let end = self.bases.get(at + 1).map_or(snapshot, |next| snapshot.min(*next));
            let file = match segment.reading_file() {
                Ok(file) => file,
                // It is not there: less is known of what was appended twice, but nothing wrong.
                Err(ReadError::Corrupt(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let position = segment.position_near(end, LOOKBACK_ENTRIES)?;
            let mut walk = Walk::headers(file, position, length);
            while let Ok(Some(step)) = walk.next() {
                if step.header.base_offset >= snapshot {
                    break;
                }
                lookback.observe(&step.header);
            }
        }
        lookback.complete(producers);
        Ok(())
    }

    /// Walks the batches from `from` to the recovery point.
    fn walk_before_recovery_point(
        &self,
        from: i64,
        settled: usize,
        mut visit: impl FnMut(&Step),
    ) -> Result<(), LogError> {
        let recovery_point = self.at.recovery_point;
        let bases = &self.bases[..(settled + 1).min(self.bases.len())];
        let first = bases.partition_point(|base| *base <= from).saturating_sub(1);
        for (at, &base) in bases.iter().enumerate().skip(first) {
            let length = self.file_len(base)?;
            let segment = self.sealed(base, bases.get(at + 1).copied().unwrap_or(i64::MAX), length);
            let position = segment.read_index_files(Trust::Before(from))?.position;
            let mut walk = Walk::headers(segment.reading_file()?, position, length);
            loop {
                match walk.next() {
                    Ok(Some(step)) if step.header.base_offset >= recovery_point => return Ok(()),
                    Ok(Some(step)) if step.header.base_offset >= from => visit(&step),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Stop::Io(error)) => {
                        return Err(LogError::io("read", &segment.path(FileKind::Log))(error));
                    }
                    // In the segment of the recovery point the scan meets it again, and says what is lost.
                    Err(Stop::Bad { .. }) if at == settled => return Ok(()),
                    Err(Stop::Bad { position, reason }) => {
                        return Err(segment.corruption(FileKind::Log, position, from, reason).into());
                    }
                }
            }
        }
        Ok(())
    }
}
