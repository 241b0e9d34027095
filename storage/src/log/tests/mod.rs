//! Tests of the partition log as a whole, over the simulated disk.

mod crashing;
mod damage;
mod lost;
mod reading;
mod recovering;
mod transactions;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use logmill_record::control::marker_batch;
use logmill_record::{Batch, BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp, batches};
use uuid::Uuid;

use super::manifest::SEGMENT_MANIFEST;
use super::names::FileKind;
use super::*;
use crate::disk::{Disk, SimDisk, read_file};

const DIRECTORY: &str = "/data/t-0";

fn directory() -> &'static Path {
    Path::new(DIRECTORY)
}

fn topic() -> Uuid {
    Uuid::from_u128(0x1234)
}

/// A disk, and what a store would share.
struct Bench {
    disk: Arc<SimDisk>,
    environment: LogEnvironment,
    options: LogOptions,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let disk = Arc::new(SimDisk::new(seed));
        let environment = LogEnvironment {
            disk: Arc::clone(&disk) as Arc<dyn Disk>,
            buffers: ReadBuffers::new(1 << 20),
            files: OpenFiles::new(4),
        };
        Bench { disk, environment, options: small_segments() }
    }

    /// A new log whose directory is durable.
    fn create(&self) -> PartitionLog {
        let log = PartitionLog::create(&self.environment, directory(), topic(), self.options).unwrap();
        self.disk.sync_dir(Path::new("/data")).unwrap();
        self.disk.sync_dir(Path::new("/")).unwrap();
        log
    }

    fn open(&self, recovery_point: i64) -> Result<(PartitionLog, Recovered), LogError> {
        let at = OpenAt { recovery_point, ..OpenAt::default() };
        PartitionLog::open(&self.environment, directory(), self.options, at)
    }

    /// Opens, and ends recovery where the valid batches end.
    fn reopen(&self, recovery_point: i64) -> PartitionLog {
        let (log, recovered) = self.open(recovery_point).unwrap();
        assert_eq!(log.cut(recovered.valid_end).unwrap(), recovered.valid_end);
        log
    }

    fn file(&self, kind: FileKind, offset: i64) -> Vec<u8> {
        read_file(&*self.disk, &kind.path(directory(), offset)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.disk.read_dir(directory()).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn path(&self, kind: FileKind, offset: i64) -> PathBuf {
        kind.path(directory(), offset)
    }
}

/// Segments of a few batches, an index entry for every other batch.
fn small_segments() -> LogOptions {
    LogOptions { segment_bytes: 1000, index_interval_bytes: 150, ..LogOptions::default() }
}

/// Makes batches that go on from each other.
struct Maker {
    next_offset: i64,
    epoch: i32,
}

impl Maker {
    fn new() -> Maker {
        Maker { next_offset: 0, epoch: 0 }
    }

    fn stamp(&mut self, batch: Batch) -> Batch {
        let batch = batch.stamped(self.next_offset, self.epoch);
        self.next_offset = batch.header().next_offset();
        batch
    }

    /// `count` records, with timestamps that grow by 10 per offset.
    fn plain(&mut self, count: usize) -> Batch {
        self.data(None, false, count)
    }

    fn data(&mut self, producer: Option<(i64, i16, i32)>, transactional: bool, count: usize) -> Batch {
        let producer = producer.map(|(id, epoch, sequence)| ProducerStamp { id, epoch, sequence });
        let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..Default::default() });
        for i in 0..count as i64 {
            let offset = self.next_offset + i;
            builder.push(1000 + offset * 10, Some(b"key"), Some(format!("value {offset}").as_bytes()), &[]);
        }
        self.stamp(builder.build())
    }

    /// One record with a timestamp and so many bytes of value.
    fn one(&mut self, timestamp: i64, value_bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(timestamp, None, Some(&vec![b'x'; value_bytes]), &[]);
        self.stamp(builder.build())
    }

    fn marker(&mut self, id: i64, epoch: i16, commit: bool) -> Batch {
        let marker = EndTxnMarker { commit, coordinator_epoch: 0 };
        let timestamp = 1000 + self.next_offset * 10;
        self.stamp(marker_batch(id, epoch, marker, timestamp))
    }
}

/// All batches that can be read from `offset` on.
fn read_all(log: &PartitionLog, offset: i64) -> Vec<Batch> {
    let chunks = log.read(offset, usize::MAX, i64::MAX, true).unwrap();
    whole_batches(chunks)
}

fn whole_batches(chunks: Vec<Bytes>) -> Vec<Batch> {
    chunks.into_iter().flat_map(|chunk| batches(chunk).collect::<Result<Vec<_>, _>>().unwrap()).collect()
}
