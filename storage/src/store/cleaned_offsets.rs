//! How far each log is compacted: Kafka's `cleaner-offset-checkpoint`.
//!
//! ```text
//! 0                       version
//! 2                       entries
//! carriers 0 4711         topic, partition, first offset that was not compacted
//! positions 3 12
//! ```
//!
//! Nothing depends on it but work that need not be done again: a file that is missing or does not parse is an empty one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use crate::disk::{Disk, read_file, replace_file};

const NAME: &str = "cleaner-offset-checkpoint";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CleanedOffsets {
    path: PathBuf,
    /// By topic name and partition.
    offsets: BTreeMap<(String, i32), i64>,
}

impl CleanedOffsets {
    pub(crate) fn read(disk: &dyn Disk, data_dir: &Path) -> Result<CleanedOffsets, StoreError> {
        let path = data_dir.join(NAME);
        let offsets = match read_file(disk, &path) {
            Ok(bytes) => decode(&String::from_utf8_lossy(&bytes)).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        Ok(CleanedOffsets { path, offsets })
    }

    /// First offset of a log that was not compacted; 0 when none was.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> i64 {
        self.offsets.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    /// Notes it, and writes the file.
    pub(crate) fn set(
        &mut self,
        disk: &dyn Disk,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), (PathBuf, io::Error)> {
        if self.offsets.insert((topic.to_owned(), partition), offset) == Some(offset) {
            return Ok(());
        }
        let mut text = format!("0\n{}\n", self.offsets.len());
        for ((topic, partition), offset) in &self.offsets {
            let _ = writeln!(text, "{topic} {partition} {offset}");
        }
        replace_file(disk, &self.path, text.as_bytes()).map_err(|error| (self.path.clone(), error))
    }

    /// The partition is deleted. The file follows with the next one that is compacted.
    pub(crate) fn forget(&mut self, topic: &str, partition: i32) {
        self.offsets.remove(&(topic.to_owned(), partition));
    }
}

fn decode(text: &str) -> Option<BTreeMap<(String, i32), i64>> {
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let mut offsets = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (topic, partition, offset) =
            (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        offsets.insert((topic.to_owned(), partition), offset);
    }
    (offsets.len() == count).then_some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn written_as_kafka_writes_it_and_read_again() {
        let disk = SimDisk::new(1);
        let root = Path::new("/");
        let mut cleaned = CleanedOffsets::read(&disk, root).unwrap();
        cleaned.set(&disk, "b", 3, 12).unwrap();
        cleaned.set(&disk, "a", 0, 4711).unwrap();
        assert_eq!(read_file(&disk, &root.join(NAME)).unwrap(), b"0\n2\na 0 4711\nb 3 12\n");
        assert_eq!(CleanedOffsets::read(&disk, root).unwrap(), cleaned);
        cleaned.forget("a", 0);
        assert_eq!([cleaned.get("a", 0), cleaned.get("b", 3)], [0, 12]);
        for bad in ["", "1\n0\n", "0\n1\n", "0\n1\na 0\n", "0\n1\na x 1\n"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
