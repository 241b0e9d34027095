//! What lies in a data directory and is not the store's, and what is the store's and lost its papers.

use super::*;
use crate::disk::Disk;

fn plant(disk: &SimDisk, file: &str) {
    let file = path(file);
    disk.create_dir_all(file.parent().unwrap()).unwrap();
    disk.sync_dir(file.parent().unwrap().parent().unwrap()).unwrap();
    disk.plant(&file, b"somebody's").unwrap();
}

fn is_there(disk: &SimDisk, file: &str) -> bool {
    disk.exists(&path(file)).unwrap()
}

#[test]
fn directories_of_others_are_left_alone() {
    let disk = SimDisk::new(1);
    let others = ["to-delete/file", "photos-2026/file", "topic1-0.old-delete/file", "orders-3/notes.txt"];
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::Disk);
    store.checkpoint().unwrap();
    drop(store);
    others.iter().for_each(|file| plant(&disk, file));
    disk.restart();
    let (store, recovery) = open(&disk);
    assert_eq!(recovery.removed_directories, Vec::<PathBuf>::new());
    assert_eq!(recovery.partitions.len(), 1);
    store.checkpoint().unwrap();
    for file in others {
        assert!(is_there(&disk, file), "{file}");
    }
}

#[test]
fn a_new_directory_with_something_that_waits_to_be_deleted_is_refused() {
    let disk = SimDisk::new(1);
    let deleted = format!("orders-0.{}-delete/file", Uuid::from_u128(7).simple());
    disk.create_dir_all(Path::new(DATA)).unwrap();
    plant(&disk, "to-delete/file");
    open(&disk).0.close().unwrap();
    assert!(is_there(&disk, "to-delete/file"));
    disk.remove_file(&path("logmill.checkpoint")).unwrap();
    disk.remove_file(&path("logmill.checkpoint.copy")).unwrap();
    disk.sync_dir(Path::new(DATA)).unwrap();
    plant(&disk, &deleted);
    disk.restart();
    let error = Store::open(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(error, StoreError::CheckpointMissing { .. }), "{error}");
    assert!(is_there(&disk, &deleted));
}

#[test]
fn metadata_that_the_checkpoint_knows_is_made_again() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::Disk);
    commit_one(&store, id(1, 0), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    store.checkpoint().unwrap();
    drop(store);
    let metadata = path("topic1-0/partition.metadata");
    let good = crate::disk::read_file(&disk, &metadata).unwrap();
    for damage in [None, Some(&b""[..]), Some(b"version: 0\ntopic_id: ?\n")] {
        match damage {
            Some(bytes) => disk.plant(&metadata, bytes).unwrap(),
            None => {
                disk.remove_file(&metadata).unwrap();
                disk.sync_dir(&path("topic1-0")).unwrap();
            }
        }
        disk.restart();
        let (store, recovery) = open(&disk);
        assert_eq!(recovery.rebuilt_files, 1, "{damage:?}");
        assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 1);
        drop(store);
        assert_eq!(crate::disk::read_file(&disk, &metadata).unwrap(), good);
    }
    // Another topic's metadata is not damage but another partition.
    let other = String::from_utf8(good).unwrap().replace("topic_id: A", "topic_id: B");
    disk.plant(&metadata, other.as_bytes()).unwrap();
    disk.restart();
    let error = Store::open(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(&error, StoreError::OtherTopic { file, .. } if *file == metadata), "{error}");
    // As it says.
    disk.remove_file(&metadata).unwrap();
    disk.sync_dir(&path("topic1-0")).unwrap();
    disk.restart();
    let (store, _) = open(&disk);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 1);
}
