//! `partition.metadata`: which topic the directory belongs to.

use std::path::Path;

use logmill_record::topic_id;
use uuid::Uuid;

use crate::disk::{Disk, Replacement, read_file, replace_file};

use super::error::LogError;
use super::names::PARTITION_METADATA;

fn encode(topic: Uuid) -> String {
    format!("version: 0\ntopic_id: {}\n", topic_id::to_base64(topic))
}

fn decode(text: &str) -> Result<Uuid, String> {
    let mut topic = None;
    let mut version = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is not `key: value`"))?;
        match key.trim() {
            "version" => version = Some(value.trim()),
            "topic_id" => topic = Some(topic_id::from_base64(value.trim()).map_err(|e| e.to_string())?),
            other => return Err(format!("unknown key `{other}`")),
        }
    }
    if version != Some("0") {
        return Err("version is not 0".to_owned());
    }
    topic.ok_or_else(|| "topic_id is missing".to_owned())
}

/// Writes the file beside the one that it is to replace.
pub(crate) fn replacement(disk: &dyn Disk, directory: &Path, topic: Uuid) -> Result<Replacement, LogError> {
    let path = directory.join(PARTITION_METADATA);
    Replacement::write(disk, &path, encode(topic).as_bytes()).map_err(LogError::io("write", &path))
}

/// Writes the file, durable on return.
pub(crate) fn write(disk: &dyn Disk, directory: &Path, topic: Uuid) -> Result<(), LogError> {
    let path = directory.join(PARTITION_METADATA);
    replace_file(disk, &path, encode(topic).as_bytes()).map_err(LogError::io("write", &path))
}

/// Reads the file.
pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Uuid, LogError> {
    let path = directory.join(PARTITION_METADATA);
    let bytes = read_file(disk, &path).map_err(LogError::io("read", &path))?;
    let text = String::from_utf8_lossy(&bytes);
    decode(&text).map_err(|reason| LogError::Metadata { file: path, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_as_kafka_writes_it() {
        let id = Uuid::from_bytes(std::array::from_fn(|i| i as u8));
        assert_eq!(encode(id), "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n");
        assert_eq!(decode(&encode(id)), Ok(id));
        assert_eq!(decode("version:0\ntopic_id:AAECAwQFBgcICQoLDA0ODw"), Ok(id));
        for bad in [
            "",
            "version: 0\n",
            "version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n",
            "version: 0\ntopic_id: x\n",
            "x",
        ] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }
}
