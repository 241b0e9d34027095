//! Names of the files in a partition's directory.

use std::path::{Path, PathBuf};

use super::compaction::swap::CLEANED;

/// File that says which topic the partition belongs to.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// File with the leader epochs.
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Files that an interrupted operation left behind; they are never read and go when the log is opened.
pub(crate) const LEFTOVERS: [&str; 3] = [".deleted", CLEANED, ".tmp"];

/// The files that are named after an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl FileKind {
    /// The files of one segment, the batches last: without them nothing else of it counts.
    pub(crate) const SEGMENT: [FileKind; 4] =
        [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex, FileKind::Log];

    fn suffix(self) -> &'static str {
        match self {
            FileKind::Log => ".log",
            FileKind::OffsetIndex => ".index",
            FileKind::TimeIndex => ".timeindex",
            FileKind::TransactionIndex => ".txnindex",
            FileKind::ProducerSnapshot => ".snapshot",
        }
    }

    /// The file's path: 20 digits and the suffix.
    pub(crate) fn path(self, directory: &Path, offset: i64) -> PathBuf {
        directory.join(format!("{offset:020}{}", self.suffix()))
    }

    /// Kind and offset of a file name, if it is one of these.
    pub(crate) fn parse(name: &str) -> Option<(FileKind, i64)> {
        let (digits, suffix) = name.split_at_checked(20)?;
        let kind = [FileKind::ProducerSnapshot]
            .into_iter()
            .chain(FileKind::SEGMENT)
            .find(|kind| kind.suffix() == suffix)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some((kind, digits.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_kafka_writes_them() {
        let path = FileKind::TimeIndex.path(Path::new("d"), 4711);
        assert_eq!(path, Path::new("d/00000000000000004711.timeindex"));
        assert_eq!(FileKind::parse("00000000000000004711.timeindex"), Some((FileKind::TimeIndex, 4711)));
        assert_eq!(FileKind::parse("00000000000000000000.snapshot"), Some((FileKind::ProducerSnapshot, 0)));
        for other in [
            "leader-epoch-checkpoint",
            "00000000000000000000.log.deleted",
            "0000000000000000000.log",
            "99999999999999999999.log",
            "+0000000000000000000.log",
            "äääääääääääääääääääää.log",
        ] {
            assert_eq!(FileKind::parse(other), None, "{other}");
        }
    }
}
