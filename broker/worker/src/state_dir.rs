//! Where a worker keeps snapshots of its tasks: the one file of this room that touches a disk.
//!
//! ```text
//! STATE_DIR/logmill-NAME/TASK/snapshot-EPOCH.lms     the two latest
//!                             lock                   held by the process that runs the task
//! ```
//!
//! All of it may be lost, or removed, at any time: what is committed is in the cluster.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use logmill_stream::{SnapshotDirectory, SnapshotFile};
use parking_lot::Mutex;

const LOCK: &str = "lock";

/// The directory of one task's snapshots. It is made when the first one is, and is this process's from when it is first
/// looked into.
#[derive(Debug)]
pub(crate) struct TaskDirectory {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl TaskDirectory {
    /// `pipeline` is a name for a directory.
    pub(crate) fn new(root: &Path, pipeline: &str, task: i32) -> Self {
        Self { path: root.join(pipeline).join(task.to_string()), lock: Mutex::new(None) }
    }

    /// Takes the directory, so that nobody else writes there: a worker that lost the task may not know it yet.
    fn own(&self) -> io::Result<()> {
        let mut lock = self.lock.lock();
        if lock.is_some() {
            return Ok(());
        }
        let path = self.path.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                *lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another worker keeps its snapshots of this task there, and may not know yet that it has lost the task",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl SnapshotDirectory for TaskDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        if !self.path.try_exists()? {
            return Ok(Vec::new());
        }
        self.own()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        Ok(Box::new(OpenFile(File::open(self.path.join(file))?)))
    }

    fn create(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        fs::create_dir_all(&self.path)?;
        self.own()?;
        Ok(Box::new(OpenFile(File::create(self.path.join(file))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))?;
        File::open(&self.path)?.sync_all()
    }

    /// One that is back after the machine went down is seen for what it is.
    fn remove(&self, file: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(file))
    }
}

/// A file of the operating system.
#[derive(Debug)]
struct OpenFile(File);

impl SnapshotFile for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_a_directory_of_its_own_which_one_at_a_time_writes_to() {
        let root = tempfile::tempdir().expect("a directory");
        let first = TaskDirectory::new(root.path(), "logmill-p", 3);
        assert_eq!(first.names().expect("nothing is there"), Vec::<String>::new());
        assert!(!first.path().exists(), "looking makes no directory");
        let file = first.create("a").expect("a file");
        file.write_at(b"abcdef", 0).expect("room");
        file.sync().expect("a disk");
        first.rename("a", "b").expect("the same directory");
        assert_eq!(first.names().expect("a directory"), ["b", LOCK]);
        let mut read = [0; 4];
        let file = first.open("b").expect("a file");
        assert_eq!((file.size().expect("a length"), file.read_at(&mut read, 4).expect("a file")), (6, 2));
        assert_eq!(&read[..2], b"ef");

        let second = TaskDirectory::new(root.path(), "logmill-p", 3);
        let refused = second.names().expect_err("the other one has it");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
        assert!(second.create("c").is_err());
        assert!(TaskDirectory::new(root.path(), "logmill-p", 4).create("c").is_ok(), "another task's");
        drop(first);
        assert_eq!(second.names().expect("nobody has it"), ["b", LOCK]);
        second.remove("b").expect("a file");
        assert_eq!(second.names().expect("it has it"), [LOCK]);
    }

    #[test]
    fn what_cannot_be_a_directory_is_an_error_and_no_more() {
        let root = tempfile::NamedTempFile::new().expect("a file");
        let below = TaskDirectory::new(root.path(), "logmill-p", 0);
        assert!(below.names().map_or(true, |names| names.is_empty()));
        assert!(below.create("a").is_err());
    }
}
