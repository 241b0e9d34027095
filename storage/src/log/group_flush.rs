//! Flushing many logs at once: with one call for the whole file system where many files wait, file by file else.
//!
//! ```text
//! prepare each ─► files and names durable ─► leader epochs and manifests renamed into place ─► names durable ─► finish each
//! ```
//!
//! A file system is asked only where the system tells of failures. When it fails, nobody knows whose bytes it was that did
//! not reach the device; every file is then flushed by its own handle, which was not told yet, and says so. From then on the
//! file system as a whole is not asked any more: it would say that all is well, while a file that waited for somebody else's
//! flush has lost its bytes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{Disk, DiskFile, FileSystem, Replacement};

use super::error::LogError;
use super::flush::{Flush, Flushed, not_durable};
use super::partition_log::PartitionLog;

/// Logs that are flushed together. Each has some files open meanwhile.
const TOGETHER: usize = 256;

/// How logs of one data directory are made durable.
#[derive(Debug)]
pub struct GroupFlush {
    disk: Arc<dyn Disk>,
    file_system: Option<Box<dyn FileSystem>>,
    /// From so many files and directories on, the whole file system is flushed.
    whole_from: usize,
    /// A flush of the whole has failed: only the files know whose bytes are lost.
    whole_failed: AtomicBool,
}

impl GroupFlush {
    /// For logs in a directory; made before anything is written that it is to flush: only what fails from here on is told.
    pub fn new(disk: Arc<dyn Disk>, directory: &Path, whole_from: usize) -> io::Result<GroupFlush> {
        let file_system = disk.file_system(directory)?;
        Ok(GroupFlush {
            disk,
            file_system,
            whole_from: whole_from.max(1),
            whole_failed: AtomicBool::new(false),
        })
    }

    /// Makes everything appended to these logs so far durable. In the result stands, for each log, how far, or that the disk
    /// was too full for it. Any other error, of the log of that number, is fatal for all: a second try would lie.
    pub fn flush(&self, logs: &[&PartitionLog]) -> Result<Vec<Result<Flushed, LogError>>, (usize, LogError)> {
        let mut results = Vec::with_capacity(logs.len());
        for (nth, group) in logs.chunks(TOGETHER).enumerate() {
            let first = nth * TOGETHER;
            results.extend(self.flush_group(group).map_err(|(at, error)| (first + at, error))?);
        }
        Ok(results)
    }

    fn flush_group(
        &self,
        logs: &[&PartitionLog],
    ) -> Result<Vec<Result<Flushed, LogError>>, (usize, LogError)> {
        let mut flushes: Vec<Result<Flush<'_>, LogError>> = Vec::with_capacity(logs.len());
        for (at, log) in logs.iter().enumerate() {
            flushes.push(unless_full(at, log.prepare_flush())?);
        }
        let waiting = flushes.iter().map(|flush| match flush {
            Ok(flush) => (flush.files(), flush.directory()),
            Err(_) => (&[][..], None),
        });
        self.make_durable(&waiting.collect::<Vec<_>>())
            .map_err(|(at, error)| (at, not_durable("flush files of", logs[at].directory())(error)))?;
        let mut renamed = vec![(&[][..], None); logs.len()];
        for (at, slot) in flushes.iter_mut().enumerate() {
            let Ok(flush) = slot else { continue };
            match unless_full(at, flush.replace())? {
                Ok(true) => renamed[at].1 = Some(logs[at].directory()),
                Ok(false) => {}
                Err(error) => *slot = Err(error),
            }
        }
        self.make_durable(&renamed)
            .map_err(|(at, error)| (at, not_durable("flush", logs[at].directory())(error)))?;
        let mut results = Vec::with_capacity(logs.len());
        for (at, flush) in flushes.into_iter().enumerate() {
            results.push(match flush {
                Ok(flush) => unless_full(at, flush.finish())?,
                Err(error) => Err(error),
            });
        }
        Ok(results)
    }

    /// Makes files durable and puts them in their places, each in its directory, durably.
    pub(crate) fn put_in_place(&self, files: &[(&Path, &Replacement)]) -> Result<(), LogError> {
        let handles: Vec<[Arc<dyn DiskFile>; 1]> =
            files.iter().map(|(_, replacement)| [Arc::clone(&replacement.file)]).collect();
        let failed = |(at, error): (usize, io::Error)| LogError::io("finish", files[at].0)(error);
        let written: Vec<_> = handles.iter().map(|handle| (&handle[..], None)).collect();
        self.make_durable(&written).map_err(failed)?;
        for (at, (_, replacement)) in files.iter().enumerate() {
            replacement.rename(&*self.disk).map_err(|error| failed((at, error)))?;
        }
        let named: Vec<_> = files.iter().map(|(directory, _)| (&[][..], Some(*directory))).collect();
        self.make_durable(&named).map_err(failed)
    }

    /// Makes files durable, and then the names in directories.
    fn make_durable(&self, waiting: &[Waiting<'_>]) -> Result<(), (usize, io::Error)> {
        let count: usize =
            waiting.iter().map(|(files, names)| files.len() + usize::from(names.is_some())).sum();
        if count >= self.whole_from
            && let Some(file_system) = &self.file_system
            && !self.whole_failed.load(Ordering::Acquire)
        {
            if file_system.sync().is_ok() {
                return Ok(());
            }
            self.whole_failed.store(true, Ordering::Release);
        }
        for (at, (files, names)) in waiting.iter().enumerate() {
            let flushed = files.iter().try_for_each(|file| file.sync_data());
            let named = || names.map_or(Ok(()), |directory| self.disk.sync_dir(directory));
            flushed.and_then(|()| named()).map_err(|error| (at, error))?;
        }
        Ok(())
    }
}

/// Files, and the directory whose names wait, too.
type Waiting<'a> = (&'a [Arc<dyn DiskFile>], Option<&'a Path>);

/// A full disk concerns one log; everything else concerns all.
fn unless_full<T>(at: usize, result: Result<T, LogError>) -> Result<Result<T, LogError>, (usize, LogError)> {
    match result {
        Err(error) if !error.is_full() => Err((at, error)),
        other => Ok(other),
    }
}
