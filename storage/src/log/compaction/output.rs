//! The segment that a pass writes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use logmill_record::Batch;

use super::swap::cleaned_path;
use crate::disk::{Disk, DiskFile, OpenOptions};
use crate::log::error::LogError;
use crate::log::manifest::AbortedSum;
use crate::log::names::FileKind;
use crate::log::segment::{Indexes, LogEnvironment, remove_if_there};
use crate::log::transactions::AbortedTransaction;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A segment on its way, in files that do not count yet.
pub(super) struct Output<'a> {
    environment: &'a LogEnvironment,
    directory: &'a Path,
    base_offset: i64,
    index_interval_bytes: u64,
    file: Arc<dyn DiskFile>,
    indexes: Indexes,
    aborted: Vec<AbortedTransaction>,
    waiting: Vec<u8>,
    written: u64,
}

impl<'a> Output<'a> {
    pub(super) fn create(
        environment: &'a LogEnvironment,
        directory: &'a Path,
        base_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Output<'a>, LogError> {
        let disk = &*environment.disk;
        let path = |kind| cleaned_path(kind, directory, base_offset);
        // What a pass that was given up has left.
        FileKind::SEGMENT.into_iter().try_for_each(|kind| remove_if_there(disk, &path(kind)))?;
        let log = path(FileKind::Log);
        let file = disk.open(&log, OpenOptions::CREATE).map_err(LogError::io("create", &log))?;
        Ok(Output {
            environment,
            directory,
            base_offset,
            index_interval_bytes: u64::from(index_interval_bytes),
            file,
            indexes: Indexes::in_files(path(FileKind::OffsetIndex), path(FileKind::TimeIndex)),
            aborted: Vec::new(),
            waiting: Vec::with_capacity(WRITE_BYTES),
            written: 0,
        })
    }

    /// Bytes of batches so far.
    pub(super) fn size(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// What the file of its aborted transactions holds once this is finished.
    pub(super) fn aborted_sum(&self) -> AbortedSum {
        AbortedSum::of(&self.aborted_bytes())
    }

    fn aborted_bytes(&self) -> Vec<u8> {
        self.aborted.iter().flat_map(AbortedTransaction::encode).collect()
    }

    pub(super) fn push(&mut self, batch: &Batch) -> Result<(), LogError> {
        let position = self.size();
        self.indexes.observe(batch.header(), position, self.base_offset, self.index_interval_bytes);
        let bytes: &Bytes = batch.bytes();
        if self.waiting.len() + bytes.len() > WRITE_BYTES {
            self.write()?;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn push_aborted(&mut self, aborted: AbortedTransaction) {
        self.aborted.push(aborted);
    }

    fn write(&mut self) -> Result<(), LogError> {
        if !self.waiting.is_empty() {
            let path = cleaned_path(FileKind::Log, self.directory, self.base_offset);
            self.file.write_at(&self.waiting, self.written).map_err(LogError::io("write", &path))?;
            self.written += self.waiting.len() as u64;
            self.waiting.clear();
        }
        Ok(())
    }

    /// Everything is on the device when this returns, the names too.
    pub(super) fn finish(&mut self) -> Result<(), LogError> {
        let disk = &*self.environment.disk;
        self.write()?;
        let mut files = vec![Arc::clone(&self.file)];
        self.indexes.seal();
        self.indexes.trim_files(disk, &mut files)?;
        if !self.aborted.is_empty() {
            let path = cleaned_path(FileKind::TransactionIndex, self.directory, self.base_offset);
            let bytes = self.aborted_bytes();
            let file = disk.open(&path, OpenOptions::CREATE).map_err(LogError::io("create", &path))?;
            file.write_at(&bytes, 0).map_err(LogError::io("write", &path))?;
            file.set_len(bytes.len() as u64).map_err(LogError::io("cut", &path))?;
            files.push(file);
        }
        for file in files {
            file.sync_data().map_err(LogError::io("flush files of", self.directory))?;
        }
        disk.sync_dir(self.directory).map_err(LogError::io("flush", self.directory))
    }

    /// The files are not needed after all.
    pub(super) fn discard(self) -> Result<(), LogError> {
        let disk: &dyn Disk = &*self.environment.disk;
        FileKind::SEGMENT
            .into_iter()
            .try_for_each(|kind| remove_if_there(disk, &cleaned_path(kind, self.directory, self.base_offset)))
    }
}
