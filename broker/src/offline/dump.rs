//! What a partition's files hold, one line after another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_record::{BatchHeader, EndTxnMarker, Record, TimestampType};
use logmill_storage::inspect::{Damage, Entries, FileRole, Found, PartitionDirectory, StoredBatch};
use logmill_storage::{Disk, LogError};
use serde::Serialize;

use super::meaning;

/// Bytes that one batch may have when decompressed.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// What is dumped.
#[derive(Debug, Clone, Default)]
pub struct DumpOptions {
    /// Each record of a batch, too.
    pub records: bool,
    /// Batches that hold this offset or a later one.
    pub from: Option<i64>,
    /// End after so many batches.
    pub count: Option<u64>,
}

/// Why a dump ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A file cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The reader of the lines is gone, or its disk is full.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The path is neither a partition directory nor a file of one.
    #[error("{}: no partition directory, and no file of one", path.display())]
    NotAPartition {
        /// The path.
        path: PathBuf,
    },
}

/// One thing in a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// What follows is from this file.
    File {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A record batch.
    Batch {
        /// First offset.
        base_offset: i64,
        /// Last offset.
        last_offset: i64,
        /// Where it begins in the file.
        position: u64,
        /// Its length.
        bytes: usize,
        /// Records in it.
        records: i32,
        /// How it is compressed.
        codec: String,
        /// Largest timestamp, ms since the epoch.
        max_timestamp: i64,
        /// `create` or `append`: whose time it is.
        timestamp_type: &'static str,
        /// Leader epoch.
        leader_epoch: i32,
        /// Producer id, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        producer_id: Option<i64>,
        /// Producer epoch.
        #[serde(skip_serializing_if = "Option::is_none")]
        producer_epoch: Option<i16>,
        /// First sequence.
        #[serde(skip_serializing_if = "Option::is_none")]
        base_sequence: Option<i32>,
        /// Part of a transaction.
        transactional: bool,
        /// For a marker: `commit` or `abort`.
        #[serde(skip_serializing_if = "Option::is_none")]
        marker: Option<&'static str>,
        /// CRC-32C.
        crc: u32,
    },
    /// A record.
    Record {
        /// Its offset.
        offset: i64,
        /// ms since the epoch.
        timestamp: i64,
        /// Key as text; bytes that are none are replaced.
        key: Option<String>,
        /// Value as text, likewise; `None` is a tombstone.
        value: Option<String>,
        /// Headers in their order.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, Option<String>)>,
        /// What it says, for a topic of the broker's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        meaning: Option<String>,
    },
    /// Bytes that are no batch.
    Damage {
        /// Where they begin.
        position: u64,
        /// How many.
        bytes: u64,
        /// Offset of the next batch, if one follows.
        followed_by: Option<i64>,
        /// Why they are none.
        reason: String,
    },
    /// An entry of an offset index.
    OffsetEntry {
        /// Last offset of the batch.
        offset: i64,
        /// Where the batch begins.
        position: u64,
    },
    /// An entry of a time index.
    TimeEntry {
        /// ms since the epoch.
        timestamp: i64,
        /// An offset of the batch that has it.
        offset: i64,
    },
    /// An entry of a transaction index.
    Aborted {
        /// The producer.
        producer_id: i64,
        /// First offset of the transaction.
        first_offset: i64,
        /// Offset of its marker.
        last_offset: i64,
        /// Last stable offset after it.
        last_stable_offset: i64,
    },
    /// A producer of a snapshot.
    Producer {
        /// Its id.
        producer_id: i64,
        /// Its epoch.
        producer_epoch: i16,
        /// Last sequence, -1 without.
        last_sequence: i32,
        /// Time of its last batch, ms since the epoch.
        last_timestamp: i64,
        /// Coordinator epoch of its last marker, -1 without.
        coordinator_epoch: i32,
        /// Where its open transaction begins.
        transaction_first_offset: Option<i64>,
    },
    /// A leader epoch.
    LeaderEpoch {
        /// The epoch.
        epoch: i32,
        /// Its first offset.
        first_offset: i64,
    },
    /// What a segment must hold.
    Segment {
        /// First offset it may hold.
        base_offset: i64,
        /// Bytes of its batches; `None` for the one that was written to.
        bytes: Option<u64>,
        /// Entries of its transaction index.
        aborted: u64,
    },
    /// The topic the directory belongs to.
    Topic {
        /// Its id, as Kafka writes it.
        id: String,
    },
    /// A file that does not parse.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Gives every line of a partition directory, or of one file of it, to `show`.
///
/// # Errors
/// [`DumpError`]. Damaged bytes are lines, not errors.
pub fn dump(
    disk: &Arc<dyn Disk>,
    path: &Path,
    options: &DumpOptions,
    show: &mut dyn FnMut(Line) -> io::Result<()>,
) -> Result<(), DumpError> {
    let not_a_partition = || DumpError::NotAPartition { path: path.to_owned() };
    let (directory, only) = if path.is_dir() {
        (PartitionDirectory::open(Arc::clone(disk), path)?, None)
    } else {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let directory = PartitionDirectory::open(Arc::clone(disk), parent)?;
        (directory, Some(path.file_name().ok_or_else(not_a_partition)?))
    };
    let topic = directory.partition().map(|(topic, _)| topic.to_owned());
    let mut dump =
        Dump { directory: &directory, topic: topic.unwrap_or_default(), options, batches: 0, show };
    let mut any = false;
    for file in directory.files() {
        let wanted = match only {
            Some(name) => file.path.file_name() == Some(name),
            // A directory is its batches; the files derived from them are asked for by name.
            None => file.role == FileRole::Log,
        };
        let known = !matches!(file.role, FileRole::Unknown | FileRole::Leftover);
        if !wanted || !known {
            continue;
        }
        any = true;
        (dump.show)(Line::File { path: file.path.clone(), bytes: file.bytes })?;
        match (file.role, file.offset) {
            (FileRole::Log, Some(base)) => dump.segment(base)?,
            _ => match directory.entries(file) {
                Ok(entries) => dump.entries(entries)?,
                Err(LogError::Metadata { reason, .. }) => (dump.show)(Line::Unreadable { reason })?,
                Err(other) => return Err(other.into()),
            },
        }
    }
    if any { Ok(()) } else { Err(not_a_partition()) }
}

struct Dump<'a> {
    directory: &'a PartitionDirectory,
    topic: String,
    options: &'a DumpOptions,
    batches: u64,
    show: &'a mut dyn FnMut(Line) -> io::Result<()>,
}

impl Dump<'_> {
    fn segment(&mut self, base: i64) -> Result<(), DumpError> {
        let segment = self.directory.segment(base)?;
        let mut batches = segment.batches();
        while self.options.count.is_none_or(|count| self.batches < count)
            && let Some(found) = batches.next()?
        {
            let batch = match found {
                Found::Batch(batch) => batch,
                Found::Damage(Damage { position, bytes, followed_by, reason }) => {
                    (self.show)(Line::Damage { position, bytes, followed_by, reason })?;
                    continue;
                }
            };
            if self.options.from.is_some_and(|from| batch.header.last_offset() < from) {
                continue;
            }
            self.batches += 1;
            (self.show)(line_of(&batch))?;
            if self.options.records && !batch.header.is_control() {
                match segment.read(&batch)?.records(DECOMPRESSED_MAX) {
                    Ok(records) => {
                        for record in records {
                            let line = record_line(&self.topic, &batch.header, record);
                            (self.show)(line)?;
                        }
                    }
                    Err(error) => (self.show)(Line::Unreadable { reason: error.to_string() })?,
                }
            }
        }
        Ok(())
    }

    fn entries(&mut self, entries: Entries) -> io::Result<()> {
        let lines: Vec<Line> = match entries {
            Entries::Offsets(entries) => entries
                .into_iter()
                .map(|entry| Line::OffsetEntry { offset: entry.offset, position: entry.position })
                .collect(),
            Entries::Times(entries) => entries
                .into_iter()
                .map(|entry| Line::TimeEntry { timestamp: entry.timestamp, offset: entry.offset })
                .collect(),
            Entries::Aborted(entries) => entries
                .into_iter()
                .map(|entry| Line::Aborted {
                    producer_id: entry.producer_id,
                    first_offset: entry.first_offset,
                    last_offset: entry.last_offset,
                    last_stable_offset: entry.last_stable_offset,
                })
                .collect(),
            Entries::Producers(entries) => entries
                .into_iter()
                .map(|entry| Line::Producer {
                    producer_id: entry.producer_id,
                    producer_epoch: entry.producer_epoch,
                    last_sequence: entry.last_sequence,
                    last_timestamp: entry.last_timestamp,
                    coordinator_epoch: entry.coordinator_epoch,
                    transaction_first_offset: entry.transaction_first_offset,
                })
                .collect(),
            Entries::LeaderEpochs(entries) => entries
                .into_iter()
                .map(|(epoch, first_offset)| Line::LeaderEpoch { epoch, first_offset })
                .collect(),
            Entries::Manifest(entries) => entries
                .into_iter()
                .map(|entry| Line::Segment {
                    base_offset: entry.base_offset,
                    bytes: entry.bytes,
                    aborted: entry.aborted,
                })
                .collect(),
            Entries::Topic(id) => vec![Line::Topic { id: logmill_record::topic_id::to_base64(id) }],
        };
        lines.into_iter().try_for_each(&mut *self.show)
    }
}

fn record_line(topic: &str, batch: &BatchHeader, record: Record) -> Line {
    let meaning = meaning::of_record(topic, batch, &record);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Line::Record {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref().map(text),
        value: record.value.as_deref().map(text),
        headers: record
            .headers
            .iter()
            .map(|header| (text(&header.key), header.value.as_deref().map(text)))
            .collect(),
        meaning,
    }
}

fn line_of(batch: &StoredBatch) -> Line {
    let StoredBatch { position, header, marker } = batch;
    let has = header.has_producer();
    Line::Batch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        position: *position,
        bytes: header.size(),
        records: header.count,
        codec: header.codec().map_or_else(|error| error.to_string(), |codec| codec.to_string()),
        max_timestamp: header.max_timestamp,
        timestamp_type: match header.timestamp_type() {
            TimestampType::CreateTime => "create",
            TimestampType::LogAppendTime => "append",
        },
        leader_epoch: header.leader_epoch,
        producer_id: has.then_some(header.producer_id),
        producer_epoch: has.then_some(header.producer_epoch),
        base_sequence: has.then_some(header.base_sequence),
        transactional: header.is_transactional(),
        marker: marker.map(|EndTxnMarker { commit, .. }| if commit { "commit" } else { "abort" }),
        crc: header.crc,
    }
}
