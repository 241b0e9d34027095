//! A frame's way: sequenced, durable, published, applied, checkpointed, replayed.

use super::*;
use crate::disk::Disk;

#[test]
fn a_frame_is_visible_when_durable_and_not_before() {
    let disk = SimDisk::new(1);
    let (store, recovery) = open(&disk);
    assert!(recovery.new && recovery.clean);
    let partition = create(&store, 1, 0, Durability::Disk);
    let (calls, seen) = (Calls::default(), Calls::default());
    let counted = seen.clone();
    partition.observe(Box::new(move |published| {
        assert_eq!(published.high_watermark, 3);
        if let Some(done) = counted.done() {
            done();
        }
    }));
    let frame = Frame::from(vec![append(partition.id(), batch("a", 3), PLAIN)]);
    let committed = store.commit(frame, calls.done()).unwrap();
    assert_eq!(
        committed.appends,
        [Appended { base_offset: 0, last_offset: 2, log_start_offset: 0, duplicate: false }]
    );
    assert_eq!((partition.sequenced_end(), partition.published().high_watermark), (3, 0));
    assert!(read(&partition, 0, Isolation::Uncommitted).chunks.is_empty());
    assert_eq!(calls.get(), 0);

    assert_eq!(store.journal_round().unwrap().frames, 1);
    assert_eq!((calls.get(), seen.get()), (1, 1));
    assert_eq!(partition.published().high_watermark, 3);
    assert!(partition.in_tail(0));
    assert_eq!(offsets(&read(&partition, 1, Isolation::Committed)), [0], "an offset inside gives the batch");
    assert_eq!(partition.size_bytes(), 0, "not applied yet");
    assert!(store.congestion().unapplied_bytes > 0);
    settle(&store);
    assert!(partition.size_bytes() > 0);
    assert_eq!(store.congestion().unapplied_bytes, 0);
    assert!(matches!(
        partition.read(ReadRequest {
            offset: 4,
            max_bytes: 1,
            isolation: Isolation::Uncommitted,
            min_one_batch: true
        }),
        Err(crate::ReadError::OutOfRange { offset: 4, log_start_offset: 0, end_offset: 3 })
    ));
}

#[test]
fn nobody_keeps_a_batch_that_is_applied_and_out_of_the_tail() {
    let disk = SimDisk::new(1);
    let (store, _) =
        Store::open(Arc::new(disk.clone()), StoreOptions { tail_bytes: 0, ..options() }).unwrap();
    let partition = create(&store, 1, 0, Durability::Disk);
    commit_one(&store, partition.id(), batch("x", 100), PLAIN).unwrap();
    store.journal_round().unwrap();
    assert!(partition.in_tail(0));
    let memory = read(&partition, 0, Isolation::Uncommitted).chunks.remove(0);
    assert!(!memory.is_unique(), "the tail serves its own memory");
    settle(&store);
    assert!(!partition.in_tail(0));
    assert!(memory.is_unique(), "no checkpoint is needed to let go of it");
}

#[test]
fn what_waits_is_written_with_one_write() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    for _ in 0..20 {
        commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    }
    let calls = disk.calls();
    assert_eq!(store.journal_round().unwrap().frames, 20);
    assert_eq!(disk.calls(), calls + 1);
    store.apply_round(0).unwrap();
    store.apply_round(1).unwrap();
    assert!(!store.apply_round(0).unwrap().more);
    let stats = store.stats();
    assert_eq!((stats.frames, stats.journal_frames, stats.journal_writes), (20, 20, 1));
    assert_eq!(stats.largest_group_frames, 20);
    assert_eq!(stats.applied_batches, 20);
    assert!(stats.applied_writes == 1, "{}", stats.applied_writes);
    store.journal_round().unwrap();
    store.journal_round().unwrap();
    assert_eq!(store.stats().idle_writes, 1, "once, when nothing comes");
}

#[test]
fn everything_comes_back_after_a_clean_stop_and_after_a_crash() {
    for clean in [true, false] {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        let partition = create(&store, 1, 0, Durability::Disk);
        for number in 0..30 {
            commit_one(&store, partition.id(), produced(9, 0, number * 2, false), PLAIN).unwrap();
            if number % 3 == 0 {
                settle(&store);
            }
            if number == 15 {
                let done = store.checkpoint().unwrap();
                assert_eq!(done.flushed_partitions, 1);
            }
        }
        settle(&store);
        let before = values(&partition, 0);
        assert_eq!(before.len(), 60);
        if clean {
            store.close().unwrap();
            assert_eq!(commit_one(&store, partition.id(), batch("x", 1), PLAIN), Err(Rejection::Closed));
        }
        drop((store, partition));
        disk.restart();
        let (store, recovery) = open(&disk);
        assert_eq!((recovery.clean, recovery.replayed_frames > 0), (clean, !clean), "{recovery}");
        assert_eq!(recovery.partitions.len(), 1);
        assert_eq!(recovery.partitions[0].end_offset, 60);
        let partition = store.partition(id(1, 0)).unwrap();
        assert_eq!(partition.leader_epoch(), 0, "nothing can be missing from it");
        assert_eq!(values(&partition, 0), before);
        let duplicate = commit_one(&store, partition.id(), produced(9, 0, 58, false), PLAIN).unwrap();
        assert_eq!((duplicate.base_offset, duplicate.duplicate), (58, true));
        assert_eq!(
            commit_one(&store, partition.id(), produced(9, 0, 60, false), PLAIN).unwrap().base_offset,
            60
        );
    }
}

#[test]
fn closing_does_not_depend_on_a_thread_that_is_on_its_way() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let calls = Calls::default();
    store.commit(Frame::from(vec![append(partition.id(), batch("x", 1), PLAIN)]), calls.done()).unwrap();
    // The journal's thread stands between writing the frame and publishing it.
    let mut touched = Vec::new();
    store
        .write_pending(&mut store.journal.lock(), &mut Round::default(), &mut touched, &mut Vec::new())
        .unwrap();
    store.close().unwrap();
    assert_eq!(calls.get(), 1);
    drop((store, partition, touched));
    assert!(open(&disk).1.clean);
}

#[test]
fn more_segments_than_files_that_may_be_open() {
    let disk = SimDisk::new(1);
    let open = || {
        let limited = StoreOptions { open_files: 4, ..options() };
        Store::open(Arc::new(disk.clone()), limited).unwrap()
    };
    let (store, _) = open();
    let partitions: Vec<_> = (0..12).map(|index| create(&store, 1, index, Durability::Disk)).collect();
    for partition in &partitions {
        for _ in 0..5 {
            commit_one(&store, partition.id(), batch(&"f".repeat(2000), 1), PLAIN).unwrap();
        }
        settle(&store);
    }
    let stats = store.stats();
    assert!(stats.unflushed_files > 4 && store.checkpoint_due(), "what is not flushed stays open: {stats:?}");
    store.checkpoint().unwrap();
    assert_eq!(store.stats().unflushed_files, 0);
    assert!(!store.checkpoint_due());
    let read_all = |store: &Store| {
        assert!(store.partitions().iter().all(|partition| values(partition, 0).len() == 5));
        let stats = store.stats();
        assert!(stats.open_files <= 4 && stats.unflushed_files == 0, "{stats:?}");
    };
    read_all(&store);
    store.close().unwrap();
    drop((store, partitions));
    let (store, recovery) = open();
    assert!(recovery.clean);
    read_all(&store);
    commit_one(&store, id(1, 3), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    assert_eq!(
        values(&store.partition(id(1, 3)).unwrap(), 0).len(),
        6,
        "a file that was closed is written to"
    );
}

#[test]
fn a_duplicate_waits_for_its_original() {
    let (store, _) = open(&SimDisk::new(1));
    let partition = create(&store, 1, 0, Durability::Disk);
    let first = commit_one(&store, partition.id(), produced(9, 0, 0, false), PLAIN).unwrap();
    let calls = Calls::default();
    let again = Frame::from(vec![append(partition.id(), produced(9, 0, 0, false), PLAIN)]);
    let again = store.commit(again, calls.done()).unwrap();
    assert_eq!(again.appends[0], Appended { duplicate: true, ..first });
    assert_eq!(calls.get(), 0);
    store.journal_round().unwrap();
    assert_eq!(calls.get(), 1);
    let again = Frame::from(vec![append(partition.id(), produced(9, 0, 0, false), PLAIN)]);
    store.commit(again, calls.done()).unwrap();
    assert_eq!(calls.get(), 2, "at once when the original is durable");
    assert_eq!((partition.sequenced_end(), store.stats().duplicates), (2, 2));
}

#[test]
fn a_rejected_frame_leaves_nothing_behind() {
    let (store, _) = open(&SimDisk::new(1));
    let (a, b) = (create(&store, 1, 0, Durability::Disk), create(&store, 1, 1, Durability::Disk));
    commit_one(&store, a.id(), produced(9, 0, 0, false), PLAIN).unwrap();
    let producers = a.producers();
    let bad = [
        append(b.id(), batch("x", 1), Check::Internal { expected_end: Some(7) }),
        append(b.id(), produced(9, 0, 0, true), PLAIN),
        append(id(5, 0), batch("x", 1), PLAIN),
        append(a.id(), produced(9, 0, 8, false), PLAIN),
        append(a.id(), produced(9, 0, 0, false), PLAIN),
        append(b.id(), marker(9, 0, true), PLAIN),
        append(b.id(), batch("x", 1), MARKER),
    ];
    let calls = Calls::default();
    for bad in bad {
        let good = vec![
            append(a.id(), produced(9, 0, 2, false), PLAIN),
            append(b.id(), produced(8, 3, 0, true), INTERNAL),
            bad,
        ];
        let rejection = store.commit(Frame::from(good), calls.done()).unwrap_err();
        assert!(rejection.partition().is_some(), "{rejection}");
        assert_eq!((a.sequenced_end(), b.sequenced_end()), (2, 0), "{rejection}");
        assert_eq!((a.producers(), b.producers()), (producers.clone(), vec![]), "{rejection}");
    }
    let actual = commit_one(&store, b.id(), batch("x", 1), Check::Internal { expected_end: Some(7) });
    assert_eq!(actual, Err(Rejection::ExpectedEnd { partition: b.id(), expected: 7, actual: 0 }));
    assert_eq!(store.commit(Frame::default(), None), Err(Rejection::Empty));
    let large = batch(&"x".repeat(110 << 10), 1);
    assert!(matches!(commit_one(&store, a.id(), large, PLAIN), Err(Rejection::FrameTooLarge { .. })));
    settle(&store);
    assert_eq!(calls.get(), 0);
    assert_eq!(values(&b, 0), []);
}

#[test]
fn several_appends_to_one_partition_keep_their_order() {
    let (store, _) = open(&SimDisk::new(1));
    let partition = create(&store, 1, 0, Durability::Disk);
    let check = Check::Internal { expected_end: Some(0) };
    let frame =
        vec![append(partition.id(), batch("a", 2), check), append(partition.id(), batch("b", 1), check)];
    let committed = store.commit(Frame::from(frame), None).unwrap();
    assert_eq!((committed.appends[0].base_offset, committed.appends[1].base_offset), (0, 2));
    settle(&store);
    let values: Vec<_> = values(&partition, 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["a0", "a1", "b0"]);
}

#[test]
fn the_ring_is_used_again_and_again() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let (mut checkpoints, mut frames) = (0, 0);
    for _ in 0..400 {
        commit_one(&store, partition.id(), batch(&"y".repeat(5000), 1), PLAIN).unwrap();
        frames += 1;
        let round = store.journal_round().unwrap();
        assert!(!round.full);
        store.apply_round(0).unwrap();
        store.apply_round(1).unwrap();
        if round.checkpoint_due {
            assert!(store.checkpoint().unwrap().recycled_files > 0);
            checkpoints += 1;
        }
    }
    assert!(checkpoints > 3, "{checkpoints}");
    let stats = store.stats();
    assert!(stats.journal_bytes > 3 * (512 << 10));
    assert!(stats.journal_file_bytes <= 512 << 10);
    assert!(stats.tail_bytes <= 16 << 10, "the tail keeps to its budget");
    assert_eq!((stats.checkpoints, stats.flushed_partitions), (checkpoints, checkpoints));
    assert!(stats.recycled_files >= checkpoints && stats.unflushed_bytes < 512 << 10);
    assert!(stats.open_files > 0 && stats.unflushed_files > 0, "what was written since: {stats:?}");
    assert_eq!(values(&partition, 0).len(), frames);
}

#[test]
fn a_full_ring_waits_for_a_checkpoint_and_loses_nothing() {
    let (store, _) = open(&SimDisk::new(1));
    let partition = create(&store, 1, 0, Durability::Disk);
    let calls = Calls::default();
    for _ in 0..200 {
        let frame = Frame::from(vec![append(partition.id(), batch(&"y".repeat(5000), 1), PLAIN)]);
        store.commit(frame, calls.done()).unwrap();
    }
    let mut round = store.journal_round().unwrap();
    while round.more {
        round = store.journal_round().unwrap();
    }
    assert!(round.full && round.checkpoint_due && store.congestion().is_full());
    assert!(calls.get() < 200);
    while calls.get() < 200 {
        let before = calls.get();
        store.checkpoint().unwrap();
        settle(&store);
        assert!(calls.get() > before);
    }
    assert!(!store.congestion().is_full());
}

#[test]
fn reads_cross_from_the_files_into_memory() {
    let (store, _) = open(&SimDisk::new(1));
    let partition = create(&store, 1, 0, Durability::Disk);
    for _ in 0..60 {
        commit_one(&store, partition.id(), batch(&"z".repeat(900), 1), PLAIN).unwrap();
        settle(&store);
    }
    assert!(!partition.in_tail(0) && partition.in_tail(59));
    assert_eq!(values(&partition, 0).len(), 60);
    let request =
        ReadRequest { offset: 0, max_bytes: 2500, isolation: Isolation::Uncommitted, min_one_batch: false };
    assert_eq!(offsets(&partition.read(request).unwrap()), [0, 1]);
    assert_eq!(offsets(&partition.read(ReadRequest { offset: 55, ..request }).unwrap()), [55, 56]);
    let small = ReadRequest { max_bytes: 10, ..request };
    assert_eq!(offsets(&partition.read(small).unwrap()), [0i64; 0]);
    let one = ReadRequest { min_one_batch: true, offset: 58, ..small };
    assert_eq!(offsets(&partition.read(one).unwrap()), [58]);
}

#[test]
fn times_are_found_in_files_and_in_memory() {
    let (store, _) = open(&SimDisk::new(1));
    let partition = create(&store, 1, 0, Durability::Disk);
    let at = |times: &[i64]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        times.iter().for_each(|&time| builder.push(time, None, Some(b"v"), &[]));
        builder.build()
    };
    assert_eq!(partition.max_timestamp().unwrap(), None);
    commit_one(&store, partition.id(), at(&[10, 20]), PLAIN).unwrap();
    settle(&store);
    commit_one(&store, partition.id(), at(&[15, 30, 25]), PLAIN).unwrap();
    store.journal_round().unwrap();
    assert_eq!(partition.offset_for_timestamp(11).unwrap(), Some((1, 20)));
    assert_eq!(partition.offset_for_timestamp(21).unwrap(), Some((3, 30)), "published, not applied");
    assert_eq!(partition.offset_for_timestamp(31).unwrap(), None);
    assert_eq!(partition.max_timestamp().unwrap(), Some((3, 30)));
    settle(&store);
    assert_eq!(partition.offset_for_timestamp(21).unwrap(), Some((3, 30)));
    assert_eq!(partition.max_timestamp().unwrap(), Some((3, 30)));
}

#[test]
fn a_deleted_topic_stays_deleted_and_its_name_is_free() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let old = create(&store, 1, 0, Durability::Disk);
    let other = create(&store, 2, 0, Durability::Disk);
    let calls = Calls::default();
    let frame = vec![append(old.id(), batch("old", 2), PLAIN), append(other.id(), batch("o", 1), PLAIN)];
    store.commit(Frame::from(frame), calls.done()).unwrap();
    store.delete_partition(old.id()).unwrap();
    assert!(store.partition(old.id()).is_none());
    assert_eq!(
        commit_one(&store, old.id(), batch("x", 1), PLAIN),
        Err(Rejection::UnknownPartition(old.id()))
    );
    let spec =
        PartitionSpec { id: id(7, 0), topic_name: "topic1".to_owned(), options: LogOptions::default() };
    let new = store.create_partition(spec).unwrap();
    settle(&store);
    assert_eq!(calls.get(), 1, "the frame happens for the partition that is left");
    commit_one(&store, new.id(), batch("new", 1), PLAIN).unwrap();
    settle(&store);
    drop((store, old, other, new));
    disk.restart();

    let (store, recovery) = open(&disk);
    assert_eq!(recovery.unknown_partitions.into_iter().collect::<Vec<_>>(), [(id(1, 0), 1)]);
    let names: Vec<_> = recovery.partitions.iter().map(|found| (found.id, found.end_offset)).collect();
    assert_eq!(names, [(id(2, 0), 1), (id(7, 0), 1)]);
    assert_eq!(recovery.removed_directories.len(), 1);
    assert_eq!(values(&store.partition(id(7, 0)).unwrap(), 0)[0].1, "new0");
    assert!(disk.read_dir(Path::new(DATA)).unwrap().iter().all(|entry| !entry.name.contains("delete")));

    // With a checkpoint in between, the files go away while the store is open.
    store.delete_partition(id(2, 0)).unwrap();
    store.checkpoint().unwrap();
    assert!(disk.read_dir(Path::new(DATA)).unwrap().iter().all(|entry| !entry.name.contains("delete")));
}

#[test]
fn partitions_are_made_once_and_names_are_checked() {
    let (store, _) = open(&SimDisk::new(1));
    let first = create(&store, 1, 0, Durability::Disk);
    commit_one(&store, first.id(), batch("x", 1), PLAIN).unwrap();
    assert_eq!(create(&store, 1, 0, Durability::Disk).sequenced_end(), 1, "the same again");
    let spec =
        |id, name: &str| PartitionSpec { id, topic_name: name.to_owned(), options: LogOptions::default() };
    assert!(matches!(
        store.create_partition(spec(id(3, 0), "topic1")),
        Err(StoreError::DirectoryTaken { .. })
    ));
    for name in ["", "..", "a/b", "ü", &"n".repeat(250)] {
        assert!(matches!(
            store.create_partition(spec(id(3, 0), name)),
            Err(StoreError::InvalidTopicName { .. })
        ));
    }
    assert!(matches!(store.delete_partition(id(3, 0)), Err(StoreError::UnknownPartition(_))));
    assert_eq!(store.partitions().len(), 1);
}

#[test]
fn threads_run_the_stages() {
    let (store, _) = open(&SimDisk::new(1));
    let partitions = [0, 1, 2].map(|index| create(&store, 1, index, Durability::Disk));
    let mixed = create(&store, 2, 0, Durability::PageCache);
    let calls = Calls::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while store.journal_wait() == Work::Ready {
                if store.journal_round().unwrap().checkpoint_due {
                    store.checkpoint().unwrap();
                }
            }
        });
        for shard in 0..store.applier_shards() {
            let store = &store;
            scope.spawn(move || {
                while store.apply_wait(shard) == Work::Ready {
                    store.apply_round(shard).unwrap();
                }
            });
        }
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (store, partitions, mixed, calls) = (&store, &partitions, &mixed, &calls);
                scope.spawn(move || {
                    for number in 0..300 {
                        let at = &partitions[(writer + number) % 3];
                        let frame = vec![append(at.id(), batch("t", 2), PLAIN)];
                        store.commit(Frame::from(frame), calls.done()).unwrap();
                        let mut frame = vec![append(mixed.id(), batch("m", 1), PLAIN)];
                        if number % 10 == 0 {
                            frame.push(append(at.id(), batch("b", 1), INTERNAL));
                        }
                        store.commit(Frame::from(frame), calls.done()).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        while calls.get() < 1800 {
            std::thread::yield_now();
        }
        store.close().unwrap();
    });
    let total: usize = partitions.iter().map(|partition| values(partition, 0).len()).sum();
    assert_eq!((total, values(&mixed, 0).len()), (1890, 900));
}

#[test]
fn a_stop_waits_for_the_round_of_another_thread() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let (begins, begun) = std::sync::mpsc::channel();
    // Publication comes behind the journal's lock and before the appliers are told.
    partition.observe(Box::new(move |_| {
        let _ = begins.send(());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }));
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    let journal = Arc::clone(&store);
    let round = std::thread::spawn(move || journal.journal_round().unwrap());
    begun.recv().unwrap();
    store.close().unwrap();
    round.join().unwrap();
    drop(store);
    let (store, recovery) = open(&disk);
    assert!(recovery.clean);
    assert_eq!(store.partition(partition.id()).unwrap().published().high_watermark, 1);
}

/// Partitions that are made together are there together, whatever call the machine goes down in; with an error, none is.
#[test]
fn partitions_are_made_together_or_not_at_all() {
    let specs = |count: i32| -> Vec<PartitionSpec> {
        let spec = |partition| PartitionSpec {
            id: id(1, partition),
            topic_name: "topic1".to_owned(),
            options: LogOptions::default(),
        };
        (0..count).map(spec).collect()
    };
    let flushes = |count: i32| {
        let disk = SimDisk::new(1);
        let options = StoreOptions { whole_flush_files: 10, ..options() };
        let (store, _) = Store::open(Arc::new(disk.clone()), options).unwrap();
        let before = disk.flushes();
        assert_eq!(store.create_partitions(specs(count)).unwrap().len(), count as usize);
        disk.flushes() - before
    };
    assert_eq!(flushes(20), flushes(40));
    for call in 1.. {
        let disk = SimDisk::new(call);
        let (store, _) = open(&disk);
        create(&store, 1, 1, Durability::Disk);
        disk.crash_at(disk.calls() + call);
        let made = store.create_partitions(specs(3)).map(|made| made.len());
        let crashed = disk.crashed();
        drop(store);
        disk.restart();
        let (store, _) = open(&disk);
        if made.is_ok() {
            assert_eq!(store.partitions().len(), 3);
        }
        if !crashed {
            break;
        }
    }
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    disk.create_dir_all(&path("topic1-2")).unwrap();
    let error = store.create_partitions(specs(3)).unwrap_err();
    assert!(matches!(error, StoreError::DirectoryTaken { .. }), "{error}");
    assert_eq!(store.partitions().len(), 0);
    assert!(!disk.exists(&path("topic1-0")).unwrap(), "nothing stays");
    disk.remove_dir_all(&path("topic1-2")).unwrap();
    let there = create(&store, 1, 1, Durability::Disk);
    commit_one(&store, there.id(), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    let made = store.create_partitions(specs(3)).unwrap();
    let ends: Vec<i64> = made.iter().map(|partition| partition.published().high_watermark).collect();
    assert_eq!(ends, [0, 1, 0], "one that is there is given as it is");
}
