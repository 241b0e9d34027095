//! Loading a log from its directory.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use logmill_record::{BATCH_HEADER_LEN, BatchHeader};

use crate::disk::{Disk, DiskFile};
use crate::log::epochs::LeaderEpochs;
use crate::log::error::LogError;
use crate::log::files::Unflushed;
use crate::log::manifest::{ManifestLine, SEGMENT_MANIFEST, SegmentManifest};
use crate::log::names::{FileKind, LEFTOVERS};
use crate::log::options::LogOptions;
use crate::log::partition_log::{View, Writer};
use crate::log::producers::Producers;
use crate::log::segment::{LogEnvironment, Segment, Trust, remove_if_there};
use crate::log::walk::{Step, Stop, Walk};

use super::aborted::apply;
use super::settled::{expected_aborted, expected_size};
use super::{OpenAt, Recovered, Tail};

mod derived;
mod lost_end;

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
            let stepped = match walk.next() {
                Ok(Some(step)) if self.fits(&step) && step.header.base_offset < recovery_point => {
                    match walk.contradicts(&step, self.end_offset) {
                        Ok(false) => {
                            segment.adopt(&step.header, step.position);
                            self.end_offset = step.header.next_offset();
                            continue;
                        }
                        Ok(true) => Ok(Some(step)),
                        Err(stop) => Err(stop),
                    }
                }
                stepped => stepped,
            };
            match stepped {
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
