//! Mending a partition directory, on request and only while nobody works on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{FileRole, PartitionDirectory};
use super::verify::{Depth, Finding, Severity, Verification, verify};
use crate::disk::Disk;
use crate::log::{LogEnvironment, LogError, LogOptions, OpenFiles, PartitionLog, ReadBuffers};
use crate::store::{StoreError, lock_if_there};

/// What a repair may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repair {
    /// Cut a damaged end of the log, with everything behind the first bad byte. The records there are given up.
    pub cut_damaged_end: bool,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Files that were made again, or removed because they belong to nothing.
    pub remade: Vec<PathBuf>,
    /// Where the log was cut: offset after the last batch kept, and bytes given up.
    pub cut: Option<(i64, u64)>,
}

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A process works on the data directory, or its lock cannot be taken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Batches are damaged, and cutting was not asked for or would not help. Nothing was changed.
    #[error(
        "{}: the log itself is damaged ({} places); {}",
        directory.display(),
        damage.len(),
        if *at_the_end { "a repair that may cut the damaged end gives up what lies behind it" }
        else { "intact batches lie behind the damage: restore the directory from a copy, or go on reading around it" }
    )]
    Damaged {
        /// The partition's directory.
        directory: PathBuf,
        /// Where.
        damage: Vec<Finding>,
        /// Only the end of the last segment is.
        at_the_end: bool,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Makes derived files again where they are missing or wrong.
///
/// # Errors
/// [`RepairError`]; nothing was changed, except after [`RepairError::Log`], when the same repair can be asked for again.
pub fn repair(disk: &Arc<dyn Disk>, path: &Path, repair: Repair) -> Result<Repaired, RepairError> {
    let data_dir = path.parent().unwrap_or(Path::new("."));
    let _lock = lock_if_there(&**disk, data_dir)?;
    let directory = PartitionDirectory::open(Arc::clone(disk), path)?;
    let before = verify(&directory, Depth::Batches)?;
    let damage: Vec<Finding> =
        before.findings.iter().filter(|finding| finding.severity == Severity::Damage).cloned().collect();
    if !damage.is_empty() {
        let at_the_end = is_at_the_end(&directory, &damage)?;
        if !(repair.cut_damaged_end && at_the_end) {
            return Err(RepairError::Damaged { directory: path.to_owned(), damage, at_the_end });
        }
    } else if before.is_sound() {
        return Ok(Repaired::default());
    }
    let mut repaired = Repaired::default();
    for file in wrong_files(&before) {
        if disk.exists(&file).map_err(LogError::io("look at", &file))? {
            disk.remove_file(&file).map_err(LogError::io("remove", &file))?;
        }
        repaired.remade.push(file);
    }
    disk.sync_dir(path).map_err(LogError::io("flush", path))?;
    let bytes_before = before.bytes;
    let environment = LogEnvironment {
        disk: Arc::clone(disk),
        buffers: ReadBuffers::new(1 << 20),
        files: OpenFiles::new(16),
    };
    // Nothing is taken for settled, so that everything derived is made again from the batches.
    let options = LogOptions::default();
    let (log, recovered) = PartitionLog::open_unknown(&environment, path, options, before.start_offset)?;
    log.cut(recovered.valid_end)?;
    log.flush()?;
    if !damage.is_empty() {
        repaired.cut = Some((recovered.valid_end, bytes_before.saturating_sub(log.size_bytes())));
    }
    Ok(repaired)
}

/// Whether all damage is one stretch at the end of the last segment.
fn is_at_the_end(directory: &PartitionDirectory, damage: &[Finding]) -> Result<bool, LogError> {
    let [only] = damage else { return Ok(false) };
    let Some(last) = directory.of_role(FileRole::Log).last() else { return Ok(false) };
    if only.file != last.path {
        return Ok(false);
    }
    let Some(position) = only.position else { return Ok(false) };
    let mut batches_end = 0;
    let segment = directory.segment(last.offset.unwrap_or(0))?;
    let mut batches = segment.batches();
    while let Some(super::Found::Batch(batch)) = batches.next()? {
        batches_end = batch.position + batch.header.size() as u64;
    }
    Ok(batches_end == position && batches.next()?.is_none())
}

fn wrong_files(found: &Verification) -> Vec<PathBuf> {
    let derived = found.findings.iter().filter(|finding| finding.severity == Severity::Derived);
    derived.map(|finding| finding.file.clone()).collect()
}
