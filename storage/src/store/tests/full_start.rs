//! Starts on a disk without room.

use super::*;
use crate::disk::Disk;
use crate::disk::sim::Faults;

fn capacity(disk: &SimDisk, room: u64) -> Faults {
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    Faults { capacity_bytes: Some(used + room), ..Faults::default() }
}

/// Everything is read, what cannot be written is refused, and goes on when there is room.
fn serves(disk: &SimDisk, options: StoreOptions, batches: usize) {
    let (store, recovery) = Store::open(Arc::new(disk.clone()), options).unwrap();
    assert!(!recovery.clean);
    let partition = store.partition(id(1, 0)).unwrap();
    assert_eq!(values(&partition, 0).len(), batches);
    let mut accepted = 0;
    let refused = loop {
        match commit_one(&store, id(1, 0), batch(&"x".repeat(2000), 1), PLAIN) {
            Ok(_) => accepted += 1,
            Err(rejection) => break rejection,
        }
        settle(&store);
        assert!(accepted < 1000, "the disk does not fill");
    };
    assert_eq!(refused, Rejection::StorageFull);
    assert!(values(&partition, 0).len() >= batches);
    disk.set_faults(Faults::default());
    settle(&store);
    store.checkpoint().unwrap();
    settle(&store);
    assert_eq!(values(&partition, 0).len(), batches + accepted);
    commit_one(&store, id(1, 0), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    store.close().unwrap();
}

#[test]
fn a_start_on_a_full_disk_uses_the_journals_own_files() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::Disk);
    let batches = 60;
    for _ in 0..batches {
        commit_one(&store, id(1, 0), batch(&"b".repeat(3000), 1), PLAIN).unwrap();
        settle(&store);
    }
    assert!(store.stats().journal_used_bytes > 128 << 10, "it has several files");
    drop(store);
    // All of it is in the segments: what is not there needs room, too.
    disk.file_system(Path::new(DATA)).unwrap().unwrap().sync().unwrap();
    // Room for checkpoints, indexes and snapshots, and not for a file of the journal.
    disk.set_faults(capacity(&disk, 12 << 10));
    // A start that does not get to its end changes nothing of that.
    for call in 1..60 {
        disk.crash_at(disk.calls() + call);
        let _ = Store::open(Arc::new(disk.clone()), options());
        disk.restart();
    }
    serves(&disk, options(), batches);
}

#[test]
fn a_start_on_a_nearly_full_disk_begins_with_a_small_file() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.journal.first_file_bytes = 1 << 20;
    options.journal.file_bytes = 1 << 20;
    options.journal.max_bytes = 8 << 20;
    let (store, _) = Store::open(Arc::new(disk.clone()), options.clone()).unwrap();
    create(&store, 1, 0, Durability::Disk);
    commit_one(&store, id(1, 0), batch("b", 1), PLAIN).unwrap();
    settle(&store);
    drop(store);
    disk.set_faults(capacity(&disk, 100 << 10));
    serves(&disk, options, 1);
}
