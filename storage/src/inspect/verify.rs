//! Every file of a partition directory against its batches.

use std::path::PathBuf;

use crate::disk::read_file;
use crate::log::compaction::swap::Swap;
use crate::log::manifest::{SEGMENT_MANIFEST, SegmentManifest};
use crate::log::names::{FileKind, LEADER_EPOCHS, PARTITION_METADATA};
use crate::log::{LogError, Producers};

use super::batches::{Damage, Found, SegmentFile, StoredBatch};
use super::derived::{LogFacts, SegmentFacts};
use super::directory::{DirectoryFile, FileRole, PartitionDirectory};
use super::entries::Entries;

/// Bytes that one batch may have when decompressed, to be looked into.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// How far the check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Headers, checksums, and everything derived.
    Batches,
    /// Each batch is decompressed and each record read, too.
    Records,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong; worth knowing.
    Note,
    /// A file that is derived from the batches is missing or wrong: it is made again by a repair, or when it is needed.
    Derived,
    /// Batches are damaged: data is lost, or can be read only in part.
    Damage,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Where in the file, in bytes, if that can be said.
    pub position: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Segments read.
    pub segments: u64,
    /// Batches that check out.
    pub batches: u64,
    /// Records in them, by their headers.
    pub records: u64,
    /// Bytes of log.
    pub bytes: u64,
    /// First offset there is.
    pub start_offset: i64,
    /// Offset after the last batch.
    pub end_offset: i64,
    /// Transactions that are neither committed nor aborted.
    pub open_transactions: usize,
    /// What is not as it should be, in the order of the files.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// The worst of the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// All is well: at most notes.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.worst().is_none_or(|worst| worst == Severity::Note)
    }

    fn find(&mut self, severity: Severity, file: PathBuf, position: Option<u64>, what: String) {
        let remedy = match severity {
            Severity::Note => "nothing has to be done",
            Severity::Derived => "repair makes it again from the batches",
            Severity::Damage => {
                "restore the directory from a copy; without one, repair can cut a damaged end, and the rest stays readable"
            }
        };
        self.findings.push(Finding { severity, file, position, what, remedy });
    }
}

/// Checks a partition directory. Reads every byte of the log; changes nothing.
///
/// # Errors
/// Only when a file cannot be read at all. What is wrong with the files is in the [`Verification`].
pub fn verify(directory: &PartitionDirectory, depth: Depth) -> Result<Verification, LogError> {
    let mut check = Check {
        directory,
        depth,
        facts: LogFacts::default(),
        known_from: 0,
        intact: true,
        snapshots_checked: 0,
        result: Verification::default(),
    };
    check.run()?;
    Ok(check.result)
}

struct Check<'a> {
    directory: &'a PartitionDirectory,
    depth: Depth,
    facts: LogFacts,
    /// Transactions that begin from here on are known from their batches.
    known_from: i64,
    /// No damage was met so far: what is derived from the batches is complete.
    intact: bool,
    snapshots_checked: usize,
    result: Verification,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), LogError> {
        self.metadata();
        let segments = self.directory.segments();
        let first = segments.first().copied().unwrap_or(0);
        (self.result.start_offset, self.result.end_offset) = (first, first);
        self.known_from = first;
        self.begin(first)?;
        for (nth, base) in segments.iter().enumerate() {
            self.segment(*base, segments.get(nth + 1).copied())?;
        }
        self.snapshots_up_to(self.result.end_offset)?;
        self.leader_epochs()?;
        self.manifest()?;
        self.result.open_transactions = self.facts.open_transactions();
        self.orphans(&segments);
        Ok(())
    }

    fn metadata(&mut self) {
        if let Err(error) = self.directory.topic_id() {
            let file = self.directory.path().join(PARTITION_METADATA);
            let what = match error {
                LogError::Metadata { reason, .. } => reason,
                other => other.to_string(),
            };
            self.result.find(Severity::Damage, file, None, what);
        }
    }

    /// What a snapshot at the first segment says of batches before it.
    fn begin(&mut self, first: i64) -> Result<(), LogError> {
        let Some(file) = self.directory.file(FileRole::ProducerSnapshot, first) else { return Ok(()) };
        let bytes = read_file(&*self.directory.disk, &file.path).map_err(LogError::io("read", &file.path))?;
        if let Ok(producers) = Producers::decode_snapshot(&bytes) {
            self.facts.begin_with(producers);
        }
        Ok(())
    }

    fn segment(&mut self, base: i64, next_base: Option<i64>) -> Result<(), LogError> {
        let segment = self.directory.segment(base)?;
        self.result.segments += 1;
        self.result.bytes += segment.bytes();
        if base < self.result.end_offset {
            let what = format!(
                "it begins at offset {base}, but the segment before ends at {}",
                self.result.end_offset
            );
            self.result.find(Severity::Damage, segment.path().to_owned(), None, what);
        }
        let mut facts = SegmentFacts::default();
        let mut damaged = false;
        let mut batches = segment.batches();
        loop {
            match batches.next()? {
                None => break,
                Some(Found::Batch(batch)) => self.batch(&segment, &mut facts, &batch)?,
                Some(Found::Damage(damage)) => {
                    damaged = true;
                    self.damage(&segment, damage, next_base);
                }
            }
        }
        self.intact &= !damaged;
        self.indexes(base, next_base.is_some(), &facts, damaged)
    }

    fn batch(
        &mut self,
        segment: &SegmentFile,
        facts: &mut SegmentFacts,
        batch: &StoredBatch,
    ) -> Result<(), LogError> {
        self.snapshots_up_to(batch.header.base_offset)?;
        self.result.batches += 1;
        self.result.records += u64::try_from(batch.header.count).unwrap_or(0);
        self.result.end_offset = batch.header.next_offset();
        self.facts.observe(facts, batch);
        if self.depth == Depth::Records
            && let Some(what) = wrong_records(segment, batch)?
        {
            self.result.find(Severity::Damage, segment.path().to_owned(), Some(batch.position), what);
        }
        Ok(())
    }

    fn damage(&mut self, segment: &SegmentFile, damage: Damage, next_base: Option<i64>) {
        let Damage { position, bytes, followed_by, reason } = damage;
        let behind = match (followed_by, next_base) {
            (Some(offset), _) => format!("the batch of offset {offset} follows"),
            (None, Some(base)) => format!("the segment of offset {base} follows"),
            (None, None) => "nothing follows: the end of the log".to_owned(),
        };
        let what = format!("{bytes} bytes are no batch ({reason}); {behind}");
        self.result.find(Severity::Damage, segment.path().to_owned(), Some(position), what);
    }

    fn missing(&mut self, role: FileRole, base: i64, sealed: bool, facts: &SegmentFacts) {
        let (kind, due) = match role {
            FileRole::OffsetIndex => (FileKind::OffsetIndex, sealed),
            FileRole::TimeIndex => (FileKind::TimeIndex, sealed),
            // The file exists only where a transaction was aborted.
            _ => (FileKind::TransactionIndex, self.intact && !facts.aborted.is_empty()),
        };
        if due {
            let path = kind.path(self.directory.path(), base);
            self.result.find(Severity::Derived, path, None, "it is missing".to_owned());
        }
    }

    fn indexes(
        &mut self,
        base: i64,
        sealed: bool,
        facts: &SegmentFacts,
        damaged: bool,
    ) -> Result<(), LogError> {
        for role in [FileRole::OffsetIndex, FileRole::TimeIndex, FileRole::TransactionIndex] {
            let Some(file) = self.directory.file(role, base) else {
                self.missing(role, base, sealed, facts);
                continue;
            };
            let wrong = match self.read(file)? {
                Err(what) => Some(what),
                Ok(Entries::Offsets(entries)) if !damaged => facts.wrong_offsets(&entries),
                Ok(Entries::Times(entries)) if !damaged => facts.wrong_times(&entries),
                Ok(Entries::Aborted(entries)) if self.intact => {
                    facts.wrong_aborted(&entries, self.known_from)
                }
                Ok(_) => None,
            };
            if let Some(what) = wrong {
                self.result.find(Severity::Derived, file.path.clone(), None, what);
            }
        }
        Ok(())
    }

    /// Snapshots taken up to an offset, before which all batches have been observed.
    fn snapshots_up_to(&mut self, offset: i64) -> Result<(), LogError> {
        let directory = self.directory;
        let mut snapshots = directory.of_role(FileRole::ProducerSnapshot).skip(self.snapshots_checked);
        while let Some(file) = snapshots.next().filter(|file| file.offset.is_some_and(|at| at <= offset)) {
            self.snapshots_checked += 1;
            self.snapshot(file)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, file: &DirectoryFile) -> Result<(), LogError> {
        let wrong = match self.read(file)? {
            Err(what) => Some(what),
            Ok(Entries::Producers(entries)) if self.intact && file.offset >= Some(self.known_from) => {
                self.facts.wrong_snapshot(&entries)
            }
            Ok(_) => None,
        };
        if let Some(what) = wrong {
            self.result.find(Severity::Derived, file.path.clone(), None, what);
        }
        Ok(())
    }

    fn leader_epochs(&mut self) -> Result<(), LogError> {
        let path = self.directory.path().join(LEADER_EPOCHS);
        let Some(file) = self.directory.of_role(FileRole::LeaderEpochs).next() else {
            if self.result.batches > 0 {
                self.result.find(Severity::Derived, path, None, "it is missing".to_owned());
            }
            return Ok(());
        };
        let wrong = match self.read(file)? {
            Err(what) => Some(what),
            Ok(Entries::LeaderEpochs(entries)) if self.intact => self.facts.wrong_epochs(&entries),
            Ok(_) => None,
        };
        if let Some(what) = wrong {
            self.result.find(Severity::Derived, file.path.clone(), None, what);
        }
        Ok(())
    }

    /// What nothing else tells: whether a file that looks whole is all that was written.
    fn manifest(&mut self) -> Result<(), LogError> {
        let path = self.directory.path().join(SEGMENT_MANIFEST);
        let manifest = match SegmentManifest::read(&*self.directory.disk, self.directory.path())? {
            Ok(manifest) => manifest.unwrap_or_default(),
            Err(what) => {
                self.result.find(Severity::Derived, path, None, what.to_owned());
                return Ok(());
            }
        };
        let swapping = self.swapping()?;
        for line in manifest.lines().iter().filter(|line| !swapping.contains(&line.base_offset)) {
            let at = |kind: FileKind| kind.path(self.directory.path(), line.base_offset);
            let (log, transactions) = (at(FileKind::Log), at(FileKind::TransactionIndex));
            let found = self.directory.file(FileRole::Log, line.base_offset).map(|file| file.bytes);
            match (line.size, found) {
                (size, None) => {
                    let bytes = size.map_or("its".to_owned(), |size| format!("its {size} bytes of"));
                    let what = format!("it is missing, with {bytes} batches");
                    self.result.find(Severity::Damage, log, None, what);
                }
                (Some(size), Some(bytes)) if size != bytes => {
                    let what = format!("it has {bytes} bytes, and had {size} when it was flushed");
                    self.result.find(Severity::Damage, log, Some(bytes.min(size)), what);
                }
                _ => {}
            }
            let bytes = match self.directory.file(FileRole::TransactionIndex, line.base_offset) {
                Some(file) => {
                    read_file(&*self.directory.disk, &file.path).map_err(LogError::io("read", &file.path))?
                }
                None => Vec::new(),
            };
            let told = self.result.findings.iter().any(|finding| finding.file == transactions);
            if !told && !line.aborted.begins(&bytes) {
                let what =
                    format!("it does not begin with the {} entries that were flushed", line.aborted.entries);
                self.result.find(Severity::Derived, transactions, None, what);
            }
        }
        Ok(())
    }

    /// Segments that a compacted one is about to replace: their files change before the manifest does.
    fn swapping(&self) -> Result<Vec<i64>, LogError> {
        let Some(note) = self.directory.of_role(FileRole::SwapNote).next() else { return Ok(Vec::new()) };
        let bytes = read_file(&*self.directory.disk, &note.path).map_err(LogError::io("read", &note.path))?;
        let swap = Swap::decode(&String::from_utf8_lossy(&bytes));
        Ok(swap.map_or_else(Vec::new, |swap| swap.replaced))
    }

    /// Files that belong to nothing.
    fn orphans(&mut self, segments: &[i64]) {
        let swapping = self.directory.of_role(FileRole::SwapNote).next().is_some();
        for file in self.directory.files() {
            let what = match (file.role, file.offset) {
                (FileRole::SwapNote, _) => {
                    "a compacted segment is on its way into its place; the next start finishes that"
                }
                (FileRole::Leftover, _) if swapping => "part of the compacted segment",
                (FileRole::Leftover, _) => {
                    "left behind by an interrupted operation; the next start removes it"
                }
                (FileRole::Unknown, _) => "not a file of a partition directory",
                (FileRole::OffsetIndex | FileRole::TimeIndex | FileRole::TransactionIndex, Some(offset))
                    if segments.binary_search(&offset).is_err() =>
                {
                    "an index without its segment; the next start removes it"
                }
                (FileRole::ProducerSnapshot, Some(offset)) if offset > self.result.end_offset => {
                    "a snapshot from behind the end of the log; the next start removes it"
                }
                _ => continue,
            };
            self.result.find(Severity::Note, file.path.clone(), None, what.to_owned());
        }
    }

    /// The entries of a file, or what is wrong with it.
    fn read(&self, file: &DirectoryFile) -> Result<Result<Entries, String>, LogError> {
        match self.directory.entries(file) {
            Err(LogError::Metadata { reason, .. }) => Ok(Err(reason)),
            Err(other) => Err(other),
            Ok(entries) => Ok(Ok(entries)),
        }
    }
}

/// What is wrong with the records of a batch whose checksum is right.
fn wrong_records(segment: &SegmentFile, batch: &StoredBatch) -> Result<Option<String>, LogError> {
    let open = match segment.read(batch)?.open(DECOMPRESSED_MAX) {
        Ok(open) => open,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut previous = -1;
    for record in open.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(Some(error.to_string())),
        };
        if record.offset_delta <= previous || record.offset_delta > batch.header.last_offset_delta {
            return Ok(Some(format!("record of offset {} is out of order", record.offset)));
        }
        previous = record.offset_delta;
        if let Some(Err(error)) = record.headers().find(Result::is_err) {
            return Ok(Some(error.to_string()));
        }
    }
    Ok(None)
}
