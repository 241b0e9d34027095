//! Deleting records: by hand and by retention.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::Compaction;
use crate::log::{Cleanup, KeyMap, Retention};

fn set(store: &Store, partition: &Partition, retention: Retention) {
    let options = LogOptions {
        segment_bytes: 400,
        cleanup: Cleanup { delete: true, compact: false },
        retention,
        ..LogOptions::default()
    };
    store.set_options(partition.id(), options).unwrap();
}

fn segments(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|ext| ext == "log")).count()
}

fn produce(store: &Store, partition: &Partition, batches: usize) {
    for _ in 0..batches {
        commit_one(store, partition.id(), batch("some value, long enough for a segment", 2), PLAIN).unwrap();
    }
    settle(store);
}

/// What a producer without a clock sends.
fn produce_untimed(store: &Store, partition: &Partition, batches: usize) {
    for number in 0..batches {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let value = format!("some value of some length, number {number}");
        builder.push(-1, Some(b"key"), Some(value.as_bytes()), &[]);
        commit_one(store, partition.id(), builder.build(), PLAIN).unwrap();
    }
    settle(store);
}

#[test]
fn segments_without_timestamps_are_as_old_as_their_files() {
    let disk = SimDisk::new(1);
    disk.set_time(1_000);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    set(&store, &partition, Retention { ms: Some(5000), bytes: None });
    produce_untimed(&store, &partition, 20);
    let (old, end) = (segments(&disk), partition.published().high_watermark);
    disk.set_time(4_000);
    produce_untimed(&store, &partition, 20);
    // Kept for the time of its topic, and not for ever; what is behind it is not kept by it either.
    assert!(store.retain(Some(6_000)).unwrap().trimmed.is_empty());
    let trimmed = store.retain(Some(6_001)).unwrap().trimmed;
    assert!(old > 3 && trimmed.len() == 1 && (end - 2..=end).contains(&trimmed[0].1), "{trimmed:?}");
    disk.set_time(50_000);
    produce(&store, &partition, 1);
    let trimmed = store.retain(Some(9_002)).unwrap().trimmed;
    assert_eq!(
        trimmed[0].1,
        partition.published().high_watermark,
        "also the active one, with a record of 1001"
    );
}

#[test]
fn a_segment_without_timestamps_is_closed_when_it_is_old() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let options = LogOptions { segment_ms: 1_000, segment_jitter_ms: 0, ..LogOptions::default() };
    store.set_options(partition.id(), options).unwrap();
    produce_untimed(&store, &partition, 1);
    let count = |now| {
        store.retain(Some(now)).unwrap();
        segments(&disk)
    };
    assert_eq!([count(10_000), count(11_000), count(11_001)], [1, 1, 2]);
    assert_eq!(count(20_000), 2, "nothing is in the new one");
    produce_untimed(&store, &partition, 1);
    assert_eq!([count(30_000), count(31_000), count(31_001)], [2, 2, 3]);
    // A record that has a time is what the age is measured by, when the next one comes.
    produce(&store, &partition, 1);
    assert_eq!([count(40_000), count(50_000)], [3, 3]);
}

#[test]
fn compaction_makes_nothing_young_and_leaves_what_is() {
    let disk = SimDisk::new(1);
    disk.set_time(1_000);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let options = LogOptions {
        segment_bytes: 400,
        cleanup: Cleanup { delete: true, compact: true },
        retention: Retention { ms: Some(5_000), bytes: None },
        compaction: Compaction { min_lag_ms: 500, min_dirty_ratio: 0.0, ..LogOptions::default().compaction },
        ..LogOptions::default()
    };
    store.set_options(partition.id(), options).unwrap();
    produce_untimed(&store, &partition, 20);
    disk.set_time(3_000);
    let compact = |now| {
        store.checkpoint().unwrap();
        let mut map = KeyMap::new(1 << 20);
        store.compact(now, &mut map, &AtomicBool::new(false)).unwrap().compacted.len()
    };
    assert_eq!([compact(1_400), compact(3_000)], [0, 1], "younger than the least lag, and not");
    let before = partition.published().log_start_offset;
    store.retain(Some(6_001)).unwrap();
    settle(&store);
    assert!(partition.published().log_start_offset > before, "it is as old as it was");
}

#[test]
fn deleted_records_are_gone_when_that_is_durable_and_not_before() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    produce(&store, &partition, 3);
    let calls = Calls::default();
    store.delete_records(partition.id(), 4, calls.done()).unwrap();
    assert_eq!((calls.get(), partition.published().log_start_offset), (0, 0));
    assert_eq!(offsets(&read(&partition, 0, Isolation::Uncommitted)), [0, 2, 4]);
    settle(&store);
    assert_eq!((calls.get(), partition.published().log_start_offset), (1, 4));
    let at = |offset| ReadRequest {
        offset,
        max_bytes: 1 << 20,
        isolation: Isolation::Uncommitted,
        min_one_batch: true,
    };
    assert!(matches!(
        partition.read(at(3)),
        Err(crate::ReadError::OutOfRange { offset: 3, log_start_offset: 4, end_offset: 6 })
    ));
    assert_eq!(offsets(&read(&partition, 4, Isolation::Uncommitted)), [4]);
    assert_eq!(partition.offset_for_timestamp(0).unwrap(), Some((4, 1000)));

    store.delete_records(partition.id(), 2, calls.done()).unwrap();
    settle(&store);
    assert_eq!(partition.published().log_start_offset, 4, "never back");
    let refused = store.delete_records(partition.id(), 7, None).unwrap_err();
    assert!(matches!(refused, Rejection::TrimOutOfRange { offset: 7, high_watermark: 6, .. }), "{refused}");
    assert!(matches!(store.delete_records(id(9, 0), 0, None), Err(Rejection::UnknownPartition(_))));
    let id = partition.id();
    drop((store, partition));

    // From the journal, and from the checkpoint.
    for round in 0..2 {
        disk.restart();
        let (store, recovery) = open(&disk);
        assert_eq!(store.partition(id).unwrap().published().log_start_offset, 4, "round {round}: {recovery}");
        assert_eq!(recovery.partitions[0].log_start_offset, 4);
    }
}

#[test]
fn what_was_published_and_is_not_in_the_segments_yet_can_be_deleted() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    for _ in 0..3 {
        commit_one(&store, partition.id(), batch("a", 2), PLAIN).unwrap();
    }
    store.journal_round().unwrap();
    store.delete_records(partition.id(), 6, None).unwrap();
    store.journal_round().unwrap();
    let published = partition.published();
    assert_eq!((published.log_start_offset, published.high_watermark), (6, 6));
    store.checkpoint().unwrap();
    drop(store);
    disk.restart();
    let (store, _) = open(&disk);
    let partition = store.partition(partition.id()).unwrap();
    assert_eq!(
        partition.published(),
        Published { log_start_offset: 6, high_watermark: 6, last_stable_offset: 6 }
    );
    produce(&store, &partition, 1);
    assert_eq!(offsets(&read(&partition, 6, Isolation::Committed)), [6]);
}

#[test]
fn the_last_stable_offset_is_not_before_the_start() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let begins = Check::Client { begins: true, transaction_v2: false };
    commit_one(&store, partition.id(), produced(9, 0, 0, true), begins).unwrap();
    produce(&store, &partition, 1);
    assert_eq!(partition.published().last_stable_offset, 0);
    store.delete_records(partition.id(), 3, None).unwrap();
    settle(&store);
    let expected = Published { log_start_offset: 3, high_watermark: 4, last_stable_offset: 3 };
    assert_eq!(partition.published(), expected);
    assert!(read(&partition, 3, Isolation::Committed).chunks.is_empty());
    commit_one(&store, partition.id(), marker(9, 0, false), MARKER).unwrap();
    settle(&store);
    assert_eq!(partition.published().last_stable_offset, 5);
}

#[test]
fn segments_go_when_a_checkpoint_covers_them_and_producers_stay() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    set(&store, &partition, Retention::default());
    commit_one(&store, partition.id(), produced(7, 0, 0, false), PLAIN).unwrap();
    produce(&store, &partition, 20);
    let before = segments(&disk);
    assert!(before > 5);
    let end = partition.published().high_watermark;
    store.delete_records(partition.id(), end, None).unwrap();
    settle(&store);
    let removed = store.remove_trimmed().unwrap();
    assert_eq!((removed.bytes, removed.waiting, segments(&disk)), (0, 1, before), "replay needs them");
    store.checkpoint().unwrap();
    let removed = store.remove_trimmed().unwrap();
    assert!(removed.bytes > 0 && removed.waiting == 0);
    assert_eq!(segments(&disk), 1, "the active one");
    assert_eq!(partition.producers().len(), 1);
    drop(store);
    disk.restart();
    let (store, _) = open(&disk);
    let partition = store.partition(partition.id()).unwrap();
    assert_eq!(partition.published().log_start_offset, end);
    assert_eq!(partition.producers().len(), 1, "a late duplicate is still known");
    assert!(commit_one(&store, partition.id(), produced(7, 0, 0, false), PLAIN).is_ok_and(|a| a.duplicate));
    produce(&store, &partition, 1);
    assert_eq!(values(&partition, end).len(), 2);
}

#[test]
fn retention_by_time_takes_whole_segments_and_an_expired_active_one() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    set(&store, &partition, Retention { ms: Some(5000), bytes: None });
    produce(&store, &partition, 20);
    assert!(store.retain(Some(6000)).unwrap().trimmed.is_empty(), "the newest record is of 1001");
    assert!(store.retain(None).unwrap().trimmed.is_empty(), "the clock is not trusted");
    let end = partition.published().high_watermark;
    assert_eq!(store.retain(Some(6002)).unwrap().trimmed, [(partition.id(), end)]);
    settle(&store);
    store.checkpoint().unwrap();
    assert!(store.remove_trimmed().unwrap().bytes > 0);
    assert_eq!((segments(&disk), partition.size_bytes()), (1, 0));
    let expected = Published { log_start_offset: end, high_watermark: end, last_stable_offset: end };
    assert_eq!(partition.published(), expected);
    produce(&store, &partition, 1);
    assert_eq!(offsets(&read(&partition, end, Isolation::Committed)), [end]);
    store.close().unwrap();
    drop(store);
    let (store, recovery) = open(&disk);
    assert!(recovery.clean);
    assert_eq!(store.partition(partition.id()).unwrap().published().log_start_offset, end);
}

#[test]
fn retention_by_size_keeps_enough_and_spares_an_open_transaction() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    set(&store, &partition, Retention { ms: None, bytes: Some(1000) });
    let begins = Check::Client { begins: true, transaction_v2: false };
    commit_one(&store, partition.id(), produced(9, 0, 0, true), begins).unwrap();
    produce(&store, &partition, 20);
    assert!(store.retain(None).unwrap().trimmed.is_empty(), "a transaction is open at offset 0");
    commit_one(&store, partition.id(), marker(9, 0, true), MARKER).unwrap();
    settle(&store);
    let trimmed = store.retain(None).unwrap().trimmed;
    assert_eq!(trimmed.len(), 1);
    settle(&store);
    store.checkpoint().unwrap();
    store.remove_trimmed().unwrap();
    let size = partition.size_bytes();
    assert!((1000..1500).contains(&size), "{size} bytes are left");
    assert!(store.retain(None).unwrap().trimmed.is_empty());
}

#[test]
fn a_deleted_start_does_not_outlive_what_page_cache_mode_lost() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let (store, _) = open(&disk);
        let partition = create(&store, 1, 0, Durability::PageCache);
        produce(&store, &partition, 4);
        let calls = Calls::default();
        store.delete_records(partition.id(), 6, calls.done()).unwrap();
        store.journal_round().unwrap();
        assert_eq!(calls.get(), 0, "what lies before the new start is not on the device yet");
        // The flush, and then the frame that waited for it.
        settle(&store);
        settle(&store);
        assert_eq!(calls.get(), 1);
        drop(store);
        disk.restart();
        let (store, _) = open(&disk);
        let published = store.partition(partition.id()).unwrap().published();
        assert_eq!(published.log_start_offset, 6);
        assert!(published.high_watermark >= 6, "seed {seed}: {published:?}");
    }
}
