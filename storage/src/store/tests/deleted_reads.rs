//! Reads of what is being deleted, and of what is not.

use super::*;
use crate::log::ReadError;

/// A store that reads everything from files, and keeps hardly one open.
fn stored(disk: &SimDisk) -> (Arc<Store>, Partition) {
    let options = StoreOptions { tail_bytes: 0, open_files: 1, ..options() };
    let (store, _) = Store::open(Arc::new(disk.clone()), options).unwrap();
    let partition = create(&store, 1, 0, Durability::Disk);
    for _ in 0..8 {
        commit_one(&store, id(1, 0), batch(&"b".repeat(3000), 1), PLAIN).unwrap();
        settle(&store);
    }
    store.checkpoint().unwrap();
    (store, partition)
}

fn read_first(partition: &Partition) -> Result<ReadResult, ReadError> {
    let request =
        ReadRequest { offset: 0, max_bytes: 1, isolation: Isolation::Committed, min_one_batch: true };
    partition.read(request)
}

#[test]
fn a_partition_that_was_deleted_is_not_damaged() {
    let disk = SimDisk::new(1);
    let (store, partition) = stored(&disk);
    store.delete_partition(id(1, 0)).unwrap();
    let read = read_first(&partition).unwrap_err();
    assert!(matches!(read, ReadError::Deleted { .. }), "{read}");
    let found = partition.offset_for_timestamp(0).unwrap_err();
    assert!(matches!(found, ReadError::Deleted { .. }), "{found}");
}

#[test]
fn a_file_that_is_missing_in_a_partition_that_is_there_is_damage() {
    let disk = SimDisk::new(1);
    let (_store, partition) = stored(&disk);
    disk.remove_file(&path("topic1-0/00000000000000000000.log")).unwrap();
    let read = read_first(&partition).unwrap_err();
    assert!(matches!(read, ReadError::Corrupt(_)), "{read}");
}
