//! Page-cache mode: plain produce skips the journal, and what depends on it waits for a flush.

use super::*;

#[test]
fn plain_produce_is_done_when_written() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::PageCache);
    let calls = Calls::default();
    store.commit(Frame::from(vec![append(partition.id(), batch("p", 2), PLAIN)]), calls.done()).unwrap();
    assert_eq!(store.journal_round().unwrap().frames, 0);
    assert_eq!((calls.get(), partition.published().high_watermark), (0, 0));
    settle(&store);
    assert_eq!((calls.get(), partition.published().high_watermark), (1, 2));
    assert_eq!(values(&partition, 0).len(), 2);
    assert_eq!(store.stats().journal_frames, 0);
}

#[test]
fn a_process_that_dies_loses_nothing_and_the_epoch_goes_up() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::PageCache);
    commit_one(&store, partition.id(), batch("p", 2), PLAIN).unwrap();
    settle(&store);
    store.checkpoint().unwrap();
    for _ in 0..5 {
        commit_one(&store, partition.id(), produced(9, 0, 0, false), PLAIN).unwrap();
        commit_one(&store, partition.id(), batch("p", 3), PLAIN).unwrap();
    }
    settle(&store);
    let before = values(&partition, 0);
    drop((store, partition));

    // The machine stays up: the page cache does too.
    let (store, recovery) = open(&disk);
    assert!(!recovery.clean);
    let partition = store.partition(id(1, 0)).unwrap();
    assert_eq!(values(&partition, 0), before);
    assert_eq!(partition.leader_epoch(), 1);
    assert_eq!(partition.leader_epoch_for(0), Some((0, before.len() as i64)));
    assert!(commit_one(&store, partition.id(), produced(9, 0, 0, false), PLAIN).unwrap().duplicate);
    store.close().unwrap();
    drop((store, partition));
    let (store, recovery) = open(&disk);
    assert!(recovery.clean);
    assert_eq!(store.partition(id(1, 0)).unwrap().leader_epoch(), 1, "only after an unclean stop");
}

#[test]
fn who_read_what_a_power_cut_took_is_told_where_to_go_on() {
    let mut emptied = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let (store, _) = open(&disk);
        let partition = create(&store, 1, 0, Durability::PageCache);
        commit_one(&store, partition.id(), batch("p", 3), PLAIN).unwrap();
        settle(&store);
        drop((store, partition));
        disk.restart();
        let (store, _) = open(&disk);
        let partition = store.partition(id(1, 0)).unwrap();
        assert_eq!(partition.leader_epoch(), 1);
        let left = partition.published().high_watermark;
        emptied += usize::from(left == 0);
        for more in 0..2 {
            assert_eq!(partition.leader_epoch_for(0), Some((0, left)), "seed {seed}");
            assert_eq!(partition.leader_epoch_for(1), Some((1, left + more)));
            assert_eq!([partition.leader_epoch_for(2), partition.leader_epoch_for(-1)], [None, None]);
            commit_one(&store, partition.id(), batch("new", 1), PLAIN).unwrap();
            settle(&store);
        }
    }
    assert!(emptied > 10, "the cut must be seen: {emptied}");
}

#[test]
fn after_a_power_cut_a_prefix_is_left() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let (store, _) = open(&disk);
        let partition = create(&store, 1, 0, Durability::PageCache);
        for number in 0..12 {
            commit_one(&store, partition.id(), batch(&format!("v{number}-"), 3), PLAIN).unwrap();
            settle(&store);
            if number == 4 {
                store.checkpoint().unwrap();
            }
        }
        let before = values(&partition, 0);
        drop((store, partition));
        disk.restart();
        let (store, _) = open(&disk);
        let partition = store.partition(id(1, 0)).unwrap();
        let after = values(&partition, 0);
        assert!(after.len() >= 15 && before.starts_with(&after), "seed {seed}");
        lost += usize::from(after.len() < before.len());
        commit_one(&store, partition.id(), batch("again", 1), PLAIN).unwrap();
        settle(&store);
        assert_eq!(values(&partition, 0).len(), after.len() + 1);
    }
    assert!(lost > 20, "the cut must be seen: {lost}");
}

#[test]
fn a_frame_waits_for_the_flush_of_what_it_depends_on() {
    let mut power_cuts = 0;
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let (store, _) = open(&disk);
        let (state, data, input) = (id(1, 0), id(2, 0), id(3, 0));
        create(&store, 1, 0, Durability::Disk);
        create(&store, 2, 0, Durability::PageCache);
        create(&store, 3, 0, Durability::PageCache);
        commit_one(&store, input, batch("in", 4), PLAIN).unwrap();
        let begin = vec![
            append(state, batch("s", 1), INTERNAL),
            append(data, produced(9, 0, 0, true), Check::Client { begins: true, transaction_v2: false }),
        ];
        store.commit(Frame::from(begin), None).unwrap();
        commit_one(&store, data, produced(9, 0, 2, true), PLAIN).unwrap();
        let calls = Calls::default();
        let end = Frame {
            appends: vec![append(state, batch("e", 1), INTERNAL), append(data, marker(9, 0, true), MARKER)],
            requires: vec![(input, 4)],
            ..Frame::default()
        };
        store.commit(end, calls.done()).unwrap();
        assert_eq!(store.journal_round().unwrap().frames, 1, "the first frame only");
        assert_eq!(store.journal_round().unwrap().frames, 0, "nothing is flushed yet");
        assert_eq!(calls.get(), 0);
        settle(&store);
        assert_eq!(calls.get(), 1);
        drop(store);
        disk.restart();
        power_cuts += 1;
        let (store, _) = open(&disk);
        let ends: Vec<_> =
            store.partitions().iter().map(|partition| partition.published().last_stable_offset).collect();
        assert_eq!(ends, [2, 5, 4], "seed {seed}");
    }
    assert_eq!(power_cuts, 40);
}

#[test]
fn a_change_of_durability_takes_effect_with_a_checkpoint() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let page_cache = LogOptions { durability: Durability::PageCache, ..LogOptions::default() };
    store.set_options(partition.id(), page_cache).unwrap();
    assert!(store.checkpoint_due());
    commit_one(&store, partition.id(), batch("a", 1), PLAIN).unwrap();
    settle(&store);
    assert_eq!(store.stats().journal_frames, 1);
    store.checkpoint().unwrap();
    commit_one(&store, partition.id(), batch("b", 1), PLAIN).unwrap();
    settle(&store);
    assert_eq!(store.stats().journal_frames, 1);
    store.set_options(partition.id(), LogOptions::default()).unwrap();
    store.checkpoint().unwrap();
    commit_one(&store, partition.id(), batch("c", 1), PLAIN).unwrap();
    settle(&store);
    assert_eq!(store.stats().journal_frames, 2);
    drop((store, partition));
    let (store, _) = open(&disk);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 3);
    assert!(matches!(
        store.set_options(id(9, 0), LogOptions::default()),
        Err(StoreError::UnknownPartition(_))
    ));
}

#[test]
fn what_skips_the_journal_makes_a_checkpoint_due_as_well() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::PageCache);
    let half = options().journal.max_bytes / 2;
    let mut bytes = 0;
    while bytes < half {
        assert!(!store.checkpoint_due(), "after {bytes} bytes");
        let batch = batch(&"p".repeat(5000), 1);
        bytes += batch.size() as u64;
        commit_one(&store, partition.id(), batch, PLAIN).unwrap();
        store.apply_round(0).unwrap();
        store.apply_round(1).unwrap();
    }
    assert!(store.checkpoint_due(), "a start would have to read {bytes} bytes");
    store.checkpoint().unwrap();
    assert!(!store.checkpoint_due());
}

#[test]
fn a_disk_that_is_full_when_a_frame_needs_a_flush_makes_it_wait() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let (state, data) = (id(1, 0), id(2, 0));
    create(&store, 1, 0, Durability::Disk);
    create(&store, 2, 0, Durability::PageCache);
    let begin = vec![
        append(state, batch("s", 1), INTERNAL),
        append(data, produced(9, 0, 0, true), Check::Client { begins: true, transaction_v2: false }),
    ];
    store.commit(Frame::from(begin), None).unwrap();
    commit_one(&store, data, produced(9, 0, 2, true), PLAIN).unwrap();
    settle(&store);
    // Room for nothing: the producers' snapshot that a flush writes does not fit.
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_faults(crate::disk::sim::Faults { capacity_bytes: Some(used), ..Default::default() });
    let calls = Calls::default();
    let end = vec![append(state, batch("e", 1), INTERNAL), append(data, marker(9, 0, true), MARKER)];
    store.commit(Frame::from(end), calls.done()).unwrap();
    for _ in 0..3 {
        store.journal_round().unwrap();
        store.apply_round(0).unwrap();
        store.apply_round(1).unwrap();
    }
    assert_eq!(calls.get(), 0);
    assert_eq!(commit_one(&store, data, batch("x", 1), PLAIN), Err(Rejection::StorageFull));
    disk.set_faults(Default::default());
    for _ in 0..3 {
        store.apply_round(0).unwrap();
        store.apply_round(1).unwrap();
        store.journal_round().unwrap();
    }
    assert_eq!(calls.get(), 1, "goes on by itself");
    assert!(!store.congestion().storage_full);
}
