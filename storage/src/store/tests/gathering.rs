//! When a shard of appliers is due: what is durable may gather, what somebody waits for may not.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::disk::sim::Failing;

const JOURNAL: u64 = 32 << 20;

/// A quarter of the tail may gather.
fn open_roomy(disk: &SimDisk, tail_bytes: usize) -> Arc<Store> {
    let mut options = options();
    options.tail_bytes = tail_bytes;
    options.applier_shards = 1;
    options.journal.max_bytes = JOURNAL;
    options.journal.file_bytes = 4 << 20;
    options.journal.max_frame_bytes = 1 << 20;
    Store::open(Arc::new(disk.clone()), options).unwrap().0
}

fn large() -> Batch {
    batch(&"x".repeat(10 << 10), 10)
}

#[test]
fn small_appends_wait_for_others_and_are_written_together() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 64 << 20);
    let partition = create(&store, 1, 0, Durability::Disk);
    let mut appended = 0;
    while !store.appliers.is_due(0) {
        commit_one(&store, partition.id(), large(), PLAIN).unwrap();
        store.journal_round().unwrap();
        appended += 1;
        assert_eq!(partition.published().high_watermark, 10 * appended, "nobody waits for the segment");
    }
    assert_eq!(appended, 11, "a MiB is worth a round");
    store.apply_round(0).unwrap();
    while store.apply_round(0).unwrap().frames > 0 {}
    let stats = store.stats();
    assert_eq!((stats.applied_batches, stats.applied_writes), (11, 1));
    assert!(!store.appliers.is_due(0), "what is written does not count any more");
    assert_eq!(values(&partition, 0).len(), 110);
}

#[test]
fn with_many_partitions_each_gathers_and_a_round_leaves_most_to_gather_on() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 4 << 20);
    let partitions: Vec<Partition> = (0..100).map(|p| create(&store, 1, p, Durability::Disk)).collect();
    let mut appended = 0;
    'filling: loop {
        for partition in &partitions {
            commit_one(&store, partition.id(), batch(&"y".repeat(1000), 4), PLAIN).unwrap();
            appended += 1;
            store.journal_round().unwrap();
            if store.appliers.is_due(0) {
                break 'filling;
            }
        }
    }
    store.apply_round(0).unwrap();
    let stats = store.stats();
    let each = stats.applied_bytes / stats.applied_writes;
    assert!(each > 8 << 10, "{each} bytes for each write");
    assert!((20..=30).contains(&stats.applied_writes), "a quarter of them, not {}", stats.applied_writes);
    assert!(!store.appliers.is_due(0));
    settle(&store);
    assert_eq!(store.stats().applied_batches, appended, "a round that is not due goes through all of them");
}

#[test]
fn what_somebody_waits_for_is_due_at_once() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 64 << 20);
    let journaled = create(&store, 1, 0, Durability::Disk);
    let plain = create(&store, 2, 0, Durability::PageCache);
    commit_one(&store, journaled.id(), batch("j", 1), PLAIN).unwrap();
    store.journal_round().unwrap();
    assert!(!store.appliers.is_due(0));
    commit_one(&store, plain.id(), batch("p", 1), PLAIN).unwrap();
    assert!(store.appliers.is_due(0), "its producer waits until it is written");
    settle(&store);
    assert!(!store.appliers.is_due(0));
    // A marker on a partition with bytes that skipped the journal needs them flushed.
    commit_one(
        &store,
        plain.id(),
        produced(7, 0, 0, true),
        Check::Client { begins: true, transaction_v2: false },
    )
    .unwrap();
    settle(&store);
    commit_one(&store, plain.id(), batch("p", 1), PLAIN).unwrap();
    settle(&store);
    commit_one(&store, plain.id(), marker(7, 0, true), MARKER).unwrap();
    store.journal_round().unwrap();
    assert!(store.appliers.is_due(0), "the frame waits for a flush");
    store.apply_round(0).unwrap();
    settle(&store);
    assert!(!store.appliers.is_due(0));
    assert_eq!(plain.published().last_stable_offset, plain.published().high_watermark);
}

#[test]
fn bytes_go_to_the_device_as_they_come_and_a_failure_then_is_the_end() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 64 << 20);
    let partition = create(&store, 1, 0, Durability::Disk);
    let appended = |store: &Store| {
        commit_one(store, partition.id(), batch(&"z".repeat(400), 4), PLAIN).unwrap();
        store.journal_round().unwrap();
        store.apply_round(0)
    };
    let before = disk.flushes();
    appended(&store).unwrap();
    assert_eq!(disk.flushes(), before, "2 KB are too few");
    appended(&store).unwrap();
    assert_eq!(disk.flushes(), before + 1, "without a checkpoint");
    disk.fail_next(Failing::Flush, ".log");
    appended(&store).unwrap();
    assert!(matches!(appended(&store), Err(Fatal::Log { .. })), "what the kernel holds may be lost");
    assert!(commit_one(&store, partition.id(), batch("z", 1), PLAIN).is_err());
}

/// The threads of a broker: one for the journal, one for each shard.
fn with_threads(store: &Store, work: impl FnOnce()) {
    thread::scope(|scope| {
        scope.spawn(|| {
            while store.journal_wait() == Work::Ready {
                store.journal_round().unwrap();
            }
        });
        for shard in 0..store.applier_shards() {
            scope.spawn(move || {
                while store.apply_wait(shard) == Work::Ready {
                    store.apply_round(shard).unwrap();
                }
            });
        }
        work();
        store.close().unwrap();
    });
}

#[test]
fn what_is_written_while_more_is_published_counts_once() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 64 << 20);
    let partition = create(&store, 1, 0, Durability::Disk);
    let state = store.sequencer.partition(partition.id()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3000 {
                commit_one(&store, partition.id(), batch("z", 4), PLAIN).unwrap();
                if store.journal_round().unwrap().checkpoint_due {
                    store.checkpoint().unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            store.apply_round(0).unwrap();
            let turn = || state.view.lock().gathers_no_written_bytes();
            assert!(store.appliers.pause(&state, turn), "the next round is due too soon");
        }
    });
    settle(&store);
    assert_eq!(partition.published().high_watermark, 12_000);
}

#[test]
fn a_waiting_shard_sleeps_until_there_is_something_and_misses_nothing() {
    let disk = SimDisk::new(1);
    let store = open_roomy(&disk, 64 << 20);
    let (tell, told) = channel();
    let waiter = {
        let store = Arc::clone(&store);
        thread::spawn(move || tell.send(store.apply_wait(0)).unwrap())
    };
    let early = told.recv_timeout(Duration::from_millis(300));
    assert_eq!(early, Err(RecvTimeoutError::Timeout), "nothing is there, and no time passes for nobody");
    let partition = create(&store, 1, 0, Durability::Disk);
    commit_one(&store, partition.id(), batch("j", 1), PLAIN).unwrap();
    store.journal_round().unwrap();
    assert_eq!(
        told.recv_timeout(Duration::from_secs(60)),
        Ok(Work::Ready),
        "alone, it is written in the end"
    );
    waiter.join().unwrap();
    settle(&store);

    // Each append of one who waits for it wakes a shard that sleeps, or that lets others gather.
    let plain = create(&store, 2, 0, Durability::PageCache);
    let began = Instant::now();
    with_threads(&store, || {
        for number in 0..300 {
            commit_one(&store, partition.id(), batch("j", 1), PLAIN).unwrap();
            let (tell, told) = channel();
            let done: Box<dyn FnOnce() + Send> = Box::new(move || tell.send(()).unwrap());
            let frame = Frame::from(vec![append(plain.id(), batch("p", 1), PLAIN)]);
            store.commit(frame, Some(done)).unwrap();
            let written = told.recv_timeout(Duration::from_secs(60));
            assert_eq!(written, Ok(()), "append {number} is not written");
        }
    });
    // A shard that was not woken would have slept for a fifth of a second, 300 times.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(plain.published().high_watermark, 300);
    assert_eq!(partition.published().high_watermark, 301);
    assert_eq!(store.apply_wait(0), Work::Ended);
}
