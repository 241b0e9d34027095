//! Where a log begins: not in its directory, but in a file beside it.

use std::io;
use std::path::Path;

use super::directory::PartitionDirectory;
use crate::disk::read_file;
use crate::store::{StoreError, checkpointed_start};

/// Kafka's file of first offsets in a data directory: version 0, number of entries, `topic partition offset` per line.
const KAFKA_STARTS: &str = "log-start-offset-checkpoint";

impl PartitionDirectory {
    /// The first offset that may be read, as the data directory says that the partition's directory lies in: Kafka's
    /// `log-start-offset-checkpoint`, or the checkpoint of a store. `None` when neither says more than the segments do.
    ///
    /// # Errors
    /// [`StoreError`] when such a file is there and cannot be read: records that were deleted would come back.
    pub fn known_start(&self) -> Result<Option<i64>, StoreError> {
        let (Some(data_dir), Some((topic, index))) = (self.path().parent(), self.partition()) else {
            return Ok(None);
        };
        let Some(&first) = self.segments().first() else { return Ok(None) };
        let starts = data_dir.join(KAFKA_STARTS);
        let kafka = match read_file(&*self.disk, &starts) {
            Ok(bytes) => kafka_start(&String::from_utf8_lossy(&bytes), topic, index)
                .map_err(|reason| unreadable(&starts, reason))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", &starts)(error)),
        };
        let ours = match self.topic_id() {
            Ok(id) => checkpointed_start(&*self.disk, data_dir, (topic, index), id)?,
            Err(_) => None,
        };
        Ok(kafka.max(ours).filter(|start| *start > first))
    }
}

fn unreadable(file: &Path, reason: &'static str) -> StoreError {
    StoreError::io("read", file)(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn kafka_start(text: &str, topic: &str, partition: i32) -> Result<Option<i64>, &'static str> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("0") {
        return Err("version is not 0");
    }
    let count: usize =
        lines.next().and_then(|line| line.trim().parse().ok()).ok_or("number of entries is missing")?;
    let entries: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    if entries.len() != count {
        return Err("number of entries is wrong");
    }
    for entry in entries {
        let mut words = entry.split_whitespace();
        let (Some(name), Some(index), Some(offset)) = (words.next(), words.next(), words.next()) else {
            return Err("entry is not `topic partition offset`");
        };
        let (Ok(index), Ok(offset)) = (index.parse::<i32>(), offset.parse::<i64>()) else {
            return Err("partition or offset is not a number");
        };
        if (name, index) == (topic, partition) {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_file_of_starts() {
        let text = "0\n2\na 0 5\nb-c 12 70\n";
        assert_eq!(kafka_start(text, "b-c", 12), Ok(Some(70)));
        assert_eq!(kafka_start(text, "b-c", 1), Ok(None));
        assert!(kafka_start("1\n0\n", "a", 0).is_err());
        assert!(kafka_start("0\n3\na 0 5\n", "a", 0).is_err());
        assert!(kafka_start("0\n1\na 0\n", "a", 0).is_err());
    }
}
