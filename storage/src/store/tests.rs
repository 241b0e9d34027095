//! Everything by hand, on the simulated disk.

mod adopting;
mod cleaning;
mod compaction;
mod crash;
mod deleted_reads;
mod faults;
mod full_start;
mod gathering;
mod lifecycle;
mod page_cache;
mod strangers;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use logmill_record::control::marker_batch;
use logmill_record::{Batch, BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp, batches};
use uuid::Uuid;

use super::*;
use crate::disk::SimDisk;
use crate::log::Durability;

const DATA: &str = "/data";

pub(super) fn options() -> StoreOptions {
    let mut options = StoreOptions::new(PathBuf::from(DATA), Uuid::from_u128(0xda7a));
    options.journal = JournalOptions {
        first_file_bytes: 32 << 10,
        file_bytes: 64 << 10,
        max_bytes: 512 << 10,
        max_frame_bytes: 100 << 10,
        direct: true,
    };
    options.tail_bytes = 16 << 10;
    options.flush_ahead_bytes = 3 << 10;
    options
}

pub(super) fn open(disk: &SimDisk) -> (Arc<Store>, Recovery) {
    Store::open(Arc::new(disk.clone()), options()).unwrap()
}

pub(super) fn id(topic: u128, partition: i32) -> PartitionId {
    PartitionId { topic: Uuid::from_u128(topic), partition }
}

pub(super) fn create(store: &Store, topic: u128, partition: i32, durability: Durability) -> Partition {
    let spec = PartitionSpec {
        id: id(topic, partition),
        topic_name: format!("topic{topic}"),
        options: LogOptions { durability, segment_bytes: 4096, ..LogOptions::default() },
    };
    store.create_partition(spec).unwrap()
}

/// A batch of so many records whose values begin with `text`.
pub(super) fn batch(text: &str, count: usize) -> Batch {
    build(BatchOptions::default(), text, count)
}

pub(super) fn build(options: BatchOptions, text: &str, count: usize) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for number in 0..count {
        builder.push(1000 + number as i64, None, Some(format!("{text}{number}").as_bytes()), &[]);
    }
    builder.build()
}

pub(super) fn produced(producer: i64, epoch: i16, sequence: i32, transactional: bool) -> Batch {
    let producer = Some(ProducerStamp { id: producer, epoch, sequence });
    build(BatchOptions { producer, transactional, ..BatchOptions::default() }, "p", 2)
}

pub(super) fn marker(producer: i64, epoch: i16, commit: bool) -> Batch {
    marker_batch(producer, epoch, EndTxnMarker { commit, coordinator_epoch: 1 }, 5)
}

pub(super) const PLAIN: Check = Check::Client { begins: false, transaction_v2: false };
pub(super) const INTERNAL: Check = Check::Internal { expected_end: None };
pub(super) const MARKER: Check = Check::Marker { coordinator_epoch: 1, transaction_v2: false };

pub(super) fn append(partition: PartitionId, batch: Batch, check: Check) -> Append {
    Append { partition, batch, check }
}

pub(super) fn commit_one(
    store: &Store,
    partition: PartitionId,
    batch: Batch,
    check: Check,
) -> Result<Appended, Rejection> {
    let committed = store.commit(Frame::from(vec![append(partition, batch, check)]), None)?;
    Ok(committed.appends[0])
}

/// Counts how often it was called.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(super) fn done(&self) -> Done {
        let calls = Arc::clone(&self.0);
        Some(Box::new(move || {
            calls.fetch_add(1, Ordering::Relaxed);
        }))
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does all there is to do.
pub(super) fn settle(store: &Store) {
    loop {
        let mut frames = store.journal_round().unwrap().frames;
        for shard in 0..store.applier_shards() {
            frames += store.apply_round(shard).unwrap().frames;
        }
        if frames == 0 {
            return;
        }
    }
}

pub(super) fn read(partition: &Partition, offset: i64, isolation: Isolation) -> ReadResult {
    partition.read(ReadRequest { offset, max_bytes: 1 << 20, isolation, min_one_batch: true }).unwrap()
}

/// Base offsets of the batches of a read.
pub(super) fn offsets(result: &ReadResult) -> Vec<i64> {
    let all: Vec<Batch> =
        result.chunks.iter().flat_map(|chunk| batches(chunk.clone())).collect::<Result<_, _>>().unwrap();
    all.iter().map(|batch| batch.header().base_offset).collect()
}

/// All values, with their offsets.
pub(super) fn values(partition: &Partition, from: i64) -> Vec<(i64, Bytes)> {
    let mut values = Vec::new();
    let mut offset = from;
    loop {
        let result = read(partition, offset, Isolation::Uncommitted);
        if result.chunks.is_empty() {
            return values;
        }
        for batch in result.chunks.iter().flat_map(|chunk| batches(chunk.clone())) {
            let batch = batch.unwrap();
            offset = batch.header().next_offset();
            for record in batch.records(1 << 20).unwrap() {
                values.push((record.offset, record.value.unwrap_or_default()));
            }
        }
    }
}

pub(super) fn path(rest: &str) -> PathBuf {
    Path::new(DATA).join(rest)
}
