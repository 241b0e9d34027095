//! Loading a log from its directory.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use logmill_record::{BATCH_HEADER_LEN, BatchHeader};

use crate::disk::{Disk, DiskFile, read_file};
use crate::log::epochs::LeaderEpochs;
use crate::log::error::{LogError, ReadError};
use crate::log::files::Unflushed;
use crate::log::manifest::{ManifestLine, SEGMENT_MANIFEST, SegmentManifest};
use crate::log::names::{FileKind, LEADER_EPOCHS, LEFTOVERS};
use crate::log::options::LogOptions;
use crate::log::partition_log::{View, Writer};
use crate::log::producers::Producers;
use crate::log::producers::snapshot::Lookback;
use crate::log::segment::{LogEnvironment, Segment, Trust, remove_if_there};
use crate::log::walk::{Step, Stop, Walk};

use super::aborted::{aborted_again, apply, read_snapshot};
use super::settled::{expected_aborted, expected_size};
use super::{OpenAt, Recovered, Tail};

mod lost_end;

/// Index entries before a snapshot whose batches are looked at for duplicates that its format has no room for.
const LOOKBACK_ENTRIES: usize = 16;

/// A log as it was found.
pub(in crate::log) struct Loaded {
    pub(in crate::log) view: View,
    pub(in crate::log) log_start_offset: i64,
    pub(in crate::log) writer: Writer,
    pub(in crate::log) epochs: LeaderEpochs,
    pub(in crate::log) end_offset: i64,
    /// What its file says.
    pub(in crate::log) manifest: SegmentManifest,
}

/// The steps of opening.
pub(super) struct Loader<'a> {
    environment: &'a LogEnvironment,
    directory: &'a Arc<Path>,
    options: LogOptions,
    at: OpenAt,
    /// Offsets may be missing between two segments that are scanned.
    gaps_allowed: bool,
    /// Base offsets of the segments in the directory, and of those that must be there and are not.
    bases: Vec<i64>,
    /// What the segments must hold, as far as somebody wrote it down.
    manifest: SegmentManifest,
    snapshots: BTreeSet<i64>,
    segments: Vec<Arc<Segment>>,
    writer: Writer,
    epochs: LeaderEpochs,
    /// Where the snapshot was taken that the producers were read from.
    producers_as_of: i64,
    /// Good batches lie behind a lost end.
    more_behind: bool,
    end_offset: i64,
    recovered: Recovered,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        environment: &'a LogEnvironment,
        directory: &'a Arc<Path>,
        options: LogOptions,
        at: OpenAt,
    ) -> Result<Loader<'a>, LogError> {
        let mut loader = Loader {
            environment,
            directory,
            options,
            at,
            gaps_allowed: false,
            bases: Vec::new(),
            manifest: SegmentManifest::default(),
            snapshots: BTreeSet::new(),
            segments: Vec::new(),
            writer: Writer::new(environment, options, Producers::default(), 0),
            epochs: LeaderEpochs::default(),
            producers_as_of: 0,
            more_behind: false,
            end_offset: at.recovery_point,
            recovered: Recovered {
                valid_end: 0,
                scanned_bytes: 0,
                tail: None,
                damaged: Vec::new(),
                rebuilt: Vec::new(),
            },
        };
        loader.list()?;
        Ok(loader)
    }

    pub(super) fn allow_gaps(&mut self) {
        self.gaps_allowed = true;
    }

    pub(super) fn keep_unflushed(&mut self, files: Unflushed) {
        self.writer.unflushed = files;
    }

    fn disk(&self) -> &'a dyn Disk {
        &*self.environment.disk
    }

    /// Finds the segments and snapshots; removes what interrupted operations left.
    fn list(&mut self) -> Result<(), LogError> {
        let directory = &**self.directory;
        let mut others = Vec::new();
        for entry in self.disk().read_dir(directory).map_err(LogError::io("list", directory))? {
            if LEFTOVERS.iter().any(|suffix| entry.name.ends_with(suffix)) {
                remove_if_there(self.disk(), &directory.join(&entry.name))?;
                continue;
            }
            match FileKind::parse(&entry.name) {
                Some((FileKind::Log, base)) => self.bases.push(base),
                Some((FileKind::ProducerSnapshot, offset)) => {
                    self.snapshots.insert(offset);
                }
                Some(other) => others.push(other),
                None => {}
            }
        }
        self.load_manifest()?;
        self.bases.sort_unstable();
        self.bases.dedup();
        for (kind, base) in others {
            if self.bases.binary_search(&base).is_err() {
                remove_if_there(self.disk(), &kind.path(directory, base))?;
            }
        }
        Ok(())
    }

    /// Reads the manifest, and takes up the segments before the recovery point that it knows and the directory does not.
    fn load_manifest(&mut self) -> Result<(), LogError> {
        match SegmentManifest::read(self.disk(), self.directory)? {
            Ok(read) => self.manifest = read.unwrap_or_default(),
            Err(_) => self.recovered.rebuilt.push(self.directory.join(SEGMENT_MANIFEST)),
        }
        let there = |line: &&ManifestLine| line.base_offset < self.at.recovery_point;
        // Without any segment it is not this log's directory that was lost a part of.
        if !self.bases.is_empty() {
            self.bases.extend(self.manifest.lines().iter().filter(there).map(|line| line.base_offset));
        }
        Ok(())
    }

    /// Removes the snapshots from behind the recovery point: nobody knows whether they reached the device whole, and one
    /// that is there is not written again. The one that the log begins with stays: nothing else knows what was before.
    fn remove_unsettled_snapshots(&mut self) -> Result<(), LogError> {
        let first = self.bases.first().copied().unwrap_or(0);
        for offset in self.snapshots.split_off(&(self.at.recovery_point.max(first) + 1)) {
            remove_if_there(self.disk(), &FileKind::ProducerSnapshot.path(self.directory, offset))?;
        }
        Ok(())
    }

    pub(super) fn load(mut self) -> Result<(Loaded, Recovered), LogError> {
        self.remove_unsettled_snapshots()?;
        let recovery_point = self.at.recovery_point;
        let first = self.bases.first().copied();
        if first.is_none_or(|first| first > recovery_point.max(self.at.log_start_offset)) {
            return self.load_empty();
        }
        // A segment is settled when the next one begins at or before the recovery point.
        let settled = self.bases.windows(2).take_while(|pair| pair[1] <= recovery_point).count();
        for at in 0..settled {
            let (base, next) = (self.bases[at], self.bases[at + 1]);
            let (length, line) = (self.file_len(base)?, self.manifest.line(base).copied());
            let found = self.sealed(base, next, length);
            let (size, lost) = expected_size(&found, length, next, line)?;
            self.recovered.damaged.extend(lost);
            let segment = self.sealed(base, next, size);
            segment.expect_aborted(expected_aborted(&segment, line)?);
            self.segments.push(Arc::new(segment));
        }
        let first = self.bases[settled];
        self.load_epochs(settled)?;
        self.end_offset = first;
        let producers = self.producers_at(recovery_point.max(first), settled)?;
        self.writer.producers = producers;
        if self.is_there(first)? {
            self.scan(settled)?;
        } else {
            self.writer.stale_segments.extend(&self.bases[settled + 1..]);
        }
        if self.end_offset < recovery_point {
            self.begin_behind_loss(first)?;
        }
        let stale =
            self.writer.stale_segments.iter().map(|base| self.file_len(*base)).sum::<Result<u64, _>>()?;
        if let Some(tail) = &mut self.recovered.tail {
            tail.bytes += stale;
        }
        self.recovered.valid_end = self.end_offset;
        self.writer.last_epoch = self.epochs.last_epoch();
        // Nothing is known to be on the device of what was scanned.
        self.writer.flushed_end = -1;
        self.writer.recovery_point = recovery_point;
        self.writer.snapshots.append(&mut self.snapshots);
        let log_start_offset = self.at.log_start_offset.max(self.bases[0]);
        let view = View { segments: self.segments };
        let (epochs, end_offset, manifest) = (self.epochs, self.end_offset, self.manifest);
        let loaded = Loaded { view, log_start_offset, writer: self.writer, epochs, end_offset, manifest };
        Ok((loaded, self.recovered))
    }

    /// The first segment is not there: the partition is new, or the segment's name never reached the device, while those
    /// of later ones may have.
    fn load_empty(mut self) -> Result<(Loaded, Recovered), LogError> {
        // What comes from the journal begins at the recovery point.
        let start = self.at.recovery_point;
        if start > self.at.log_start_offset {
            return Err(
                self.lost(self.at.log_start_offset, "its first segment is not in the directory".to_owned())
            );
        }
        self.writer.stale_segments = std::mem::take(&mut self.bases);
        self.writer.epochs_changed = true;
        let segment =
            Segment::create(self.environment, self.directory, start, self.options.index_interval_bytes)?;
        self.writer.directory_changed = true;
        self.writer.flushed_end = -1;
        self.writer.recovery_point = start;
        self.writer.snapshots.append(&mut self.snapshots);
        self.recovered.valid_end = start;
        let view = View { segments: vec![Arc::new(segment)] };
        let loaded = Loaded {
            view,
            log_start_offset: self.at.log_start_offset,
            writer: self.writer,
            epochs: LeaderEpochs::default(),
            end_offset: start,
            manifest: self.manifest,
        };
        Ok((loaded, self.recovered))
    }

    /// Walks the segments from the one that holds the recovery point, and stops at the first bytes that do not go on.
    fn scan(&mut self, settled: usize) -> Result<(), LogError> {
        for at in settled..self.bases.len() {
            let base = self.bases[at];
            // A hole between two segments, behind the recovery point: the end of the first one was lost.
            let allowed = self.gaps_allowed && base > self.end_offset;
            let hole = at > settled && base != self.end_offset && !allowed;
            if hole || self.recovered.tail.is_some() {
                if self.recovered.tail.is_none() {
                    let file = FileKind::Log.path(self.directory, base);
                    let reason = format!("the segment before it ends at offset {}", self.end_offset);
                    self.recovered.tail = Some(Tail { file, position: 0, bytes: 0, reason });
                }
                self.writer.stale_segments.push(base);
                continue;
            }
            if let Some(before) = self.segments.last()
                && at > settled
            {
                let files = before.seal()?;
                self.writer.unflushed.extend(files);
            }
            self.writer.first_timestamp = None;
            if at > settled {
                // The one that was there, if any, was not believed.
                self.writer.write_snapshot(self.environment, self.directory, base)?;
            }
            let segment = self.scan_segment(base)?;
            self.segments.push(segment);
        }
        Ok(())
    }

    /// One segment: trusts its indexes before the recovery point, walks there, and checks what follows.
    fn scan_segment(&mut self, base: i64) -> Result<Arc<Segment>, LogError> {
        let recovery_point = self.at.recovery_point;
        let length = self.file_len(base)?;
        let segment = self.sealed(base, i64::MAX, length);
        let read = segment.read_index_files(Trust::Before(recovery_point))?;
        segment.set_extent(read.position, base);
        segment.set_indexes(read.indexes);
        self.load_aborted(&segment)?;
        self.end_offset = base;
        let file = segment.reading_file()?;
        self.first_timestamp_of(&*file);

        let mut walk = Walk::headers(Arc::clone(&file), read.position, length);
        let stop = loop {
            let position = walk.position();
            match walk.next() {
                Ok(Some(step)) if self.fits(&step) && step.header.base_offset < recovery_point => {
                    segment.adopt(&step.header, step.position);
                    self.end_offset = step.header.next_offset();
                }
                // Everything before the recovery point was on the device: this is damage, and not an end.
                stopped @ (Ok(Some(_)) | Err(Stop::Bad { .. })) if self.end_offset < recovery_point => {
                    let reason = match stopped {
                        Err(Stop::Bad { reason, .. }) => reason,
                        _ => "offsets do not go on".to_owned(),
                    };
                    walk = Walk::headers(Arc::clone(&file), position, length);
                    match walk.skip_damage(self.end_offset..recovery_point) {
                        Ok(Some(_)) => {
                            let offset = self.end_offset;
                            let damage = segment.corruption(FileKind::Log, position, offset, reason);
                            self.recovered.damaged.push(damage);
                        }
                        Ok(None) => match self.intact_behind(&mut walk)? {
                            Some(from) => {
                                let offset = self.end_offset;
                                let damage = segment.corruption(FileKind::Log, position, offset, reason);
                                self.recovered.damaged.push(damage);
                                self.end_offset = recovery_point;
                                break self.check_batches(&segment, Arc::clone(&file), from, length);
                            }
                            None => break Stop::Bad { position, reason },
                        },
                        Err(stop) => break stop,
                    }
                }
                Ok(Some(_)) => break self.check_batches(&segment, Arc::clone(&file), position, length),
                Ok(None) => break Stop::Bad { position: length, reason: String::new() },
                Err(stop) => break stop,
            }
        };
        match stop {
            Stop::Io(error) => return Err(LogError::io("read", &segment.path(FileKind::Log))(error)),
            Stop::Bad { position, .. } if position >= length => {}
            Stop::Bad { position, reason } => {
                let file = segment.path(FileKind::Log);
                self.recovered.tail = Some(Tail { file, position, bytes: length - position, reason });
            }
        }
        // What lies behind the recovery point may be in the page cache only.
        if self.end_offset > recovery_point || self.recovered.tail.is_some() {
            self.writer.unflushed.extend([segment.writing_file()?]);
        }
        Ok(Arc::new(segment))
    }

    /// Before the recovery point: the batch's offsets go on, and it does not reach beyond.
    fn fits(&self, step: &Step) -> bool {
        let recovery_point = self.at.recovery_point;
        step.header.base_offset >= self.end_offset
            && (step.header.base_offset >= recovery_point || step.header.next_offset() <= recovery_point)
    }

    /// Behind the recovery point: every batch is checked, and everything derived from it is made again.
    fn check_batches(&mut self, segment: &Segment, file: Arc<dyn DiskFile>, from: u64, length: u64) -> Stop {
        let mut walk = Walk::checked(file, from, length);
        loop {
            let step = match walk.next() {
                Ok(Some(step)) => step,
                Ok(None) => return Stop::Bad { position: length, reason: String::new() },
                Err(stop) => return stop,
            };
            if step.header.base_offset < self.end_offset {
                let reason =
                    format!("offset {} after the end at {}", step.header.base_offset, self.end_offset);
                return Stop::Bad { position: step.position, reason };
            }
            if step.header.last_offset() - segment.base_offset() > i64::from(i32::MAX) {
                return Stop::Bad {
                    position: step.position,
                    reason: "offset is too far from the base".to_owned(),
                };
            }
            segment.adopt(&step.header, step.position);
            self.end_offset = step.header.next_offset();
            self.recovered.scanned_bytes += step.header.size() as u64;
            self.epochs.observe(step.header.leader_epoch, step.header.base_offset);
            self.writer.epochs_changed = true;
            self.writer.observe_timestamp(step.header.max_timestamp);
            if let Some(aborted) = apply(&mut self.writer.producers, &step) {
                segment.add_aborted(aborted);
            }
        }
    }

    /// The timestamp by which the segment's age is reckoned.
    fn first_timestamp_of(&mut self, file: &dyn DiskFile) {
        let mut head = [0; BATCH_HEADER_LEN];
        // Anything wrong here is met again by the walk.
        if file.read_exact_at(&mut head, 0).is_ok()
            && let Ok(header) = BatchHeader::parse(&head)
        {
            self.writer.observe_timestamp(header.max_timestamp);
        }
    }

    /// Aborted transactions of the segment that end before the recovery point.
    fn load_aborted(&mut self, segment: &Segment) -> Result<(), LogError> {
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
    fn load_epochs(&mut self, settled: usize) -> Result<(), LogError> {
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
    fn producers_at(&mut self, offset: i64, settled: usize) -> Result<Producers, LogError> {
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

    fn sealed(&self, base: i64, end: i64, size: u64) -> Segment {
        Segment::sealed(self.environment, self.directory, base, end, size, self.options.index_interval_bytes)
    }

    /// Length of a segment's file; zero when it is not there.
    fn file_len(&self, base: i64) -> Result<u64, LogError> {
        let path = FileKind::Log.path(self.directory, base);
        match self.disk().file_len(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            length => length.map_err(LogError::io("look at", &path)),
        }
    }

    fn is_there(&self, base: i64) -> Result<bool, LogError> {
        let path = FileKind::Log.path(self.directory, base);
        self.disk().exists(&path).map_err(LogError::io("look at", &path))
    }

    fn lost(&self, valid_end: i64, reason: String) -> LogError {
        LogError::LostBelowRecoveryPoint {
            directory: self.directory.to_path_buf(),
            valid_end,
            recovery_point: self.at.recovery_point,
            reason,
        }
    }
}
