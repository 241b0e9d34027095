//! Full, failing, foreign and damaged disks.

use super::*;
use crate::disk::sim::{Failing, Faults};
use crate::disk::{BLOCK_BYTES, Disk, read_file};
use crate::journal::JournalError;
use crate::log::ReadError;

#[test]
fn a_second_process_is_refused() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let second = Store::open(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    drop(store);
    open(&disk);
}

#[test]
fn a_deleted_directory_that_cannot_be_removed_keeps_nobody_from_starting() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let dying = || {
        let entries = disk.read_dir(Path::new(DATA)).unwrap();
        entries.into_iter().filter(|entry| entry.name.contains("delete")).count()
    };
    for topic in [1, 2] {
        create(&store, topic, 0, Durability::Disk);
        commit_one(&store, id(topic, 0), batch("x", 1), PLAIN).unwrap();
    }
    settle(&store);
    store.delete_partition(id(1, 0)).unwrap();
    drop(store);
    disk.restart();
    disk.set_faults(Faults { failing_removals: Some("topic1-0".to_owned()), ..Faults::default() });
    let (store, recovery) = open(&disk);
    let [(directory, why)] = &recovery.unremoved_directories[..] else { panic!("{recovery:?}") };
    assert!(directory.to_string_lossy().contains("topic1-0.") && why.contains("simulated"), "{why}");
    assert!(recovery.to_string().contains(&directory.display().to_string()), "{recovery}");
    assert_eq!(values(&store.partition(id(2, 0)).unwrap(), 0).len(), 1);
    store.checkpoint().unwrap();
    assert_eq!(dying(), 1);
    // Whoever was in the way is gone, and the next checkpoint removes it.
    disk.set_faults(Faults::default());
    store.checkpoint().unwrap();
    assert_eq!(dying(), 0);
}

#[test]
fn a_failed_flush_poisons() {
    for (place, durability) in [("journal", Durability::Disk), ("topic1", Durability::PageCache)] {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        let partition = create(&store, 1, 0, durability);
        let calls = Calls::default();
        disk.set_faults(Faults { failing_flushes: Some(place.to_owned()), ..Faults::default() });
        store.commit(Frame::from(vec![append(partition.id(), batch("x", 1), PLAIN)]), calls.done()).unwrap();
        let failure = store
            .journal_round()
            .and_then(|_| store.apply_round(0))
            .and_then(|_| store.apply_round(1))
            .and_then(|_| store.checkpoint())
            .unwrap_err();
        disk.set_faults(Faults::default());
        assert_eq!(calls.get(), usize::from(durability == Durability::PageCache), "{failure}");
        let refused = commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap_err();
        assert_eq!(refused, Rejection::Failed);
        store.journal_round().unwrap_err();
        store.apply_round(0).unwrap_err();
        store.checkpoint().unwrap_err();
        store.close().unwrap_err();
        assert_eq!(store.journal_wait(), Work::Ended);
        assert_eq!(store.apply_wait(0), Work::Ended);
    }
}

/// The whole file system is flushed with one call, which fails for somebody else's file: then each of ours is, and says that
/// all is well. When it fails for one of ours, that one says so, too.
#[test]
fn a_file_system_that_fails_is_asked_file_by_file() {
    for (failing, fatal) in [("stranger", false), ("topic1-0/0000", true), ("topic1-1", true)] {
        let disk = SimDisk::new(1);
        let opened = || {
            let options = StoreOptions { whole_flush_files: 1, ..options() };
            Store::open(Arc::new(disk.clone()), options).unwrap().0
        };
        let store = opened();
        for partition in 0..2 {
            create(&store, 1, partition, Durability::Disk);
            commit_one(&store, id(1, partition), batch("x", 1), PLAIN).unwrap();
        }
        settle(&store);
        let stranger = disk.open(&path("stranger"), crate::disk::OpenOptions::CREATE).unwrap();
        stranger.write_at(b"x", 0).unwrap();
        disk.set_faults(Faults { failing_flushes: Some(failing.to_owned()), ..Faults::default() });
        let checkpoint = store.checkpoint();
        assert_eq!(checkpoint.is_err(), fatal, "{failing}: {checkpoint:?}");
        disk.set_faults(Faults::default());
        drop(store);
        disk.restart();
        let store = opened();
        for partition in 0..2 {
            assert_eq!(values(&store.partition(id(1, partition)).unwrap(), 0).len(), 1, "{failing}");
        }
    }
}

/// A volume that promises more space than it has tells of it when it is flushed. That is no full disk, with which one goes
/// on: what was written is gone, of the log that failed and of those that were to be flushed behind it.
#[test]
fn a_flush_without_space_is_the_end_as_any_that_fails() {
    for failing in ["topic1-0/0000", "topic1-0"] {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        for partition in 0..2 {
            create(&store, 1, partition, Durability::Disk);
            commit_one(&store, id(1, partition), batch("x", 1), PLAIN).unwrap();
        }
        settle(&store);
        disk.set_faults(Faults {
            failing_flushes: Some(failing.to_owned()),
            flushes_say_full: true,
            no_whole_flush: true,
            ..Faults::default()
        });
        store.checkpoint().unwrap_err();
        disk.set_faults(Faults::default());
        store.checkpoint().unwrap_err();
        drop(store);
        disk.restart();
        let (store, _) = open(&disk);
        for partition in 0..2 {
            assert_eq!(values(&store.partition(id(1, partition)).unwrap(), 0).len(), 1, "{failing}");
        }
    }
}

/// A flush that was given up half way has taken what another would flush.
#[test]
fn after_a_flush_that_was_given_up_there_is_no_other() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    let listed = store.sequencer.partitions();
    drop(listed[0].state.log.prepare_flush().unwrap());
    let error = listed[0].state.log.flush().unwrap_err();
    assert!(error.to_string().contains("flush") && !error.is_full(), "{error}");
}

/// Making a partition flushes the file system as a whole, and that fails for what another partition has written. Who makes
/// the partition is not concerned; but the next flush of the whole says that all is well, and it is not.
#[test]
fn a_file_system_that_failed_once_is_not_believed_again() {
    let disk = SimDisk::new(1);
    let options = StoreOptions { whole_flush_files: 1, ..options() };
    let (store, _) = Store::open(Arc::new(disk.clone()), options).unwrap();
    create(&store, 1, 0, Durability::Disk);
    commit_one(&store, id(1, 0), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    disk.fail_next(Failing::Flush, "topic1-0/");
    create(&store, 2, 0, Durability::Disk);
    store.checkpoint().unwrap_err();
    drop(store);
    disk.restart();
    let (store, _) = open(&disk);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 1);
}

/// The process ends because a flush failed, and another one begins: the page cache has the bytes and calls them clean. They
/// are to be written again, or the next checkpoint vouches for what the device never got.
#[test]
fn what_a_failed_flush_left_in_the_page_cache_is_written_again() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults { no_whole_flush: true, ..Faults::default() });
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::PageCache);
    commit_one(&store, id(1, 0), batch("before", 2), PLAIN).unwrap();
    settle(&store);
    store.checkpoint().unwrap();
    commit_one(&store, id(1, 0), batch("after", 2), PLAIN).unwrap();
    settle(&store);
    disk.fail_next(Failing::Flush, ".log");
    store.checkpoint().unwrap_err();
    drop(store);
    disk.end_process();
    let (store, _) = open(&disk);
    let found = values(&store.partition(id(1, 0)).unwrap(), 0);
    assert_eq!(found.len(), 4, "the process went down, and not the machine");
    drop(store);
    disk.restart();
    let (store, recovery) = open(&disk);
    assert!(recovery.damaged.is_empty(), "{recovery}");
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0), found);
}

/// Flushes that wait together cost a fixed number of calls.
#[test]
fn a_checkpoint_of_many_partitions_flushes_once() {
    let calls_of = |partitions: i32, whole: usize| {
        let disk = SimDisk::new(1);
        let options = StoreOptions { whole_flush_files: whole, ..options() };
        let (store, _) = Store::open(Arc::new(disk.clone()), options.clone()).unwrap();
        for partition in 0..partitions {
            create(&store, 1, partition, Durability::Disk);
            commit_one(&store, id(1, partition), batch("x", 1), PLAIN).unwrap();
            settle(&store);
        }
        let before = disk.flushes();
        assert_eq!(store.checkpoint().unwrap().flushed_partitions, partitions as usize);
        let flushes = disk.flushes() - before;
        drop(store);
        disk.restart();
        let (store, _) = Store::open(Arc::new(disk.clone()), options).unwrap();
        assert_eq!(values(&store.partition(id(1, partitions - 1)).unwrap(), 0).len(), 1);
        flushes
    };
    assert_eq!(calls_of(40, 10), calls_of(20, 10), "however many there are");
    assert!(calls_of(40, 1000) >= calls_of(20, 1000) + 20 * 4, "file by file");
}

#[test]
fn a_full_disk_keeps_what_was_accepted_and_goes_on_by_itself() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let doomed = create(&store, 2, 0, Durability::Disk);
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_faults(Faults { capacity_bytes: Some(used + 100), ..Faults::default() });
    let calls = Calls::default();
    let frame = Frame::from(vec![append(partition.id(), batch(&"f".repeat(300), 1), PLAIN)]);
    store.commit(frame, calls.done()).unwrap();
    store.journal_round().unwrap();
    assert_eq!(calls.get(), 1, "durable in the journal");
    let full: Vec<bool> = (0..2).map(|shard| store.apply_round(shard).unwrap().full).collect();
    assert!(full.contains(&true));
    assert_eq!(commit_one(&store, partition.id(), batch("x", 1), PLAIN), Err(Rejection::StorageFull));
    assert!(store.congestion().storage_full);
    commit_one(&store, doomed.id(), batch("gone", 1), INTERNAL).unwrap();
    store.journal_round().unwrap();
    assert_eq!(values(&partition, 0).len(), 1, "reads go on");
    assert!(store.checkpoint().unwrap().full);
    store.delete_partition(doomed.id()).unwrap();

    disk.set_faults(Faults::default());
    settle(&store);
    assert!(!store.congestion().storage_full);
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    assert!(!store.checkpoint().unwrap().full);
    store.close().unwrap();
    drop((store, partition));
    disk.restart();
    let (store, _) = open(&disk);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 2);
}

#[test]
fn closing_on_a_full_disk_leaves_everything_to_the_next_start() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_faults(Faults { capacity_bytes: Some(used + 10), ..Faults::default() });
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    store.close().unwrap_err();
    drop((store, partition));
    disk.set_faults(Faults::default());
    disk.restart();
    let (store, recovery) = open(&disk);
    assert!(!recovery.clean);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 1);
}

/// A store with two frames that were acknowledged and are only in the journal.
fn journaled() -> (SimDisk, Arc<Store>) {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::Disk);
    for _ in 0..2 {
        commit_one(&store, id(1, 0), batch("j", 1), PLAIN).unwrap();
        store.journal_round().unwrap();
    }
    (disk, store)
}

fn journal_file(disk: &SimDisk) -> PathBuf {
    disk.files().into_iter().find(|(path, _)| path.to_string_lossy().ends_with(".journal")).unwrap().0
}

fn reopen(disk: &SimDisk) -> Result<(Arc<Store>, Recovery), StoreError> {
    disk.restart();
    Store::open(Arc::new(disk.clone()), options())
}

#[test]
fn a_torn_end_of_the_journal_is_cut_and_reported() {
    let (disk, store) = journaled();
    drop(store);
    disk.rot(&journal_file(&disk), 2 * BLOCK_BYTES as u64 + 100, 1).unwrap();
    let (store, recovery) = reopen(&disk).unwrap();
    assert_eq!(recovery.replayed_frames, 1);
    assert_eq!(recovery.journal_cut.unwrap().sequence, 2);
    assert_eq!(values(&store.partition(id(1, 0)).unwrap(), 0).len(), 1);
}

/// A frame without appends that says that a million frames were durable, as somebody who knows the format would write it.
fn imitation(incarnation: u64, file_number: u64, position: u64) -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[..4].copy_from_slice(b"LMFR");
    (bytes[4], bytes[6]) = (1, 1);
    for (at, number) in [(24, incarnation), (32, file_number), (40, position), (48, 9), (56, 1_000_000)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a start says of a torn frame with an imitation in it, of the incarnation that `of` makes of the true one.
fn reopened_with_imitation(of: impl Fn(u64) -> u64) -> Result<Recovery, StoreError> {
    let (disk, store) = journaled();
    commit_one(&store, id(1, 0), batch(&"x".repeat(2000), 1), PLAIN).unwrap();
    store.journal_round().unwrap();
    drop(store);
    let file = journal_file(&disk);
    let mut bytes = read_file(&disk, &file).unwrap();
    let frame = 3 * BLOCK_BYTES;
    let record = bytes[frame..].windows(8).position(|eight| eight == b"xxxxxxxx").unwrap() + frame;
    let at = record.next_multiple_of(8);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let imitation = imitation(of(number(32)), number(40), at as u64);
    bytes[at..at + 72].copy_from_slice(&imitation);
    disk.plant(&file, &bytes).unwrap();
    Ok(reopen(&disk)?.1)
}

#[test]
fn a_record_that_imitates_a_frame_does_not_make_a_torn_end_look_like_damage() {
    for guess in (0..4).flat_map(|number| [number, number << 32]) {
        let recovery = reopened_with_imitation(|_| guess).unwrap();
        assert_eq!(recovery.journal_cut.unwrap().sequence, 3, "guess {guess}");
    }
    // With what only the disk knows it would work: so it is that which protects.
    let error = reopened_with_imitation(|incarnation| incarnation).unwrap_err();
    assert!(matches!(error, StoreError::Journal(JournalError::Corrupt { .. })), "{error}");
}

#[test]
fn damage_in_the_journal_stops_the_start_and_changes_nothing() {
    let (disk, store) = journaled();
    drop(store);
    disk.rot(&journal_file(&disk), BLOCK_BYTES as u64 + 100, 1).unwrap();
    let before = disk.files();
    let error = reopen(&disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Journal(JournalError::Corrupt { file, position: 4096, .. })
            if *file == journal_file(&disk)),
        "{error}"
    );
    assert_eq!(disk.files(), before);
    disk.rot(&journal_file(&disk), BLOCK_BYTES as u64 + 100, 1).unwrap();
    assert_eq!(reopen(&disk).unwrap().1.replayed_frames, 2);
}

#[test]
fn a_journal_of_another_directory_is_refused() {
    let (disk, store) = journaled();
    drop(store);
    let other = SimDisk::new(2);
    let mut other_options = options();
    other_options.directory_id = Uuid::from_u128(0xbad);
    drop(Store::open(Arc::new(other.clone()), other_options).unwrap());
    let foreign = crate::disk::read_file(&other, &journal_file(&other)).unwrap();
    disk.plant(&journal_file(&disk), &foreign).unwrap();
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Journal(JournalError::Foreign { .. })), "{error}");
}

#[test]
fn an_older_copy_of_the_journal_is_refused() {
    let (disk, store) = journaled();
    let copy = crate::disk::read_file(&disk, &journal_file(&disk)).unwrap();
    drop(store);
    reopen(&disk).unwrap().0.close().unwrap();
    let journals = disk.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(".journal"));
    for (path, _) in journals {
        disk.plant(&path, &copy).unwrap();
    }
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Journal(JournalError::Missing { .. })), "{error}");
}

#[test]
fn newer_formats_are_refused() {
    let (disk, store) = journaled();
    drop(store);
    // With a checksum that is not one of ours.
    for (byte, mask) in [(8, 2), (12, 1)] {
        disk.rot(&path("logmill.checkpoint"), byte, mask).unwrap();
    }
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::NewerCheckpoint { found: 3, known: 1, .. }), "{error}");
    for (byte, mask) in [(8, 2), (12, 1)] {
        disk.rot(&path("logmill.checkpoint"), byte, mask).unwrap();
    }
    for name in ["logmill.checkpoint", "logmill.checkpoint.copy"] {
        disk.rot(&path(name), 40, 1).unwrap();
    }
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::CorruptCheckpoint { .. }), "{error}");
    for name in ["logmill.checkpoint", "logmill.checkpoint.copy"] {
        disk.rot(&path(name), 40, 1).unwrap();
    }
    disk.rot(&journal_file(&disk), 8, 2).unwrap();
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Journal(JournalError::NewerFormat { .. })), "{error}");
}

#[test]
fn lost_files_are_named_and_nothing_is_made_up_for_them() {
    let (disk, store) = journaled();
    store.checkpoint().unwrap();
    drop(store);
    disk.rename(&path("topic1-0"), &path("elsewhere")).unwrap();
    let error = reopen_after_rename(&disk);
    assert!(matches!(error, StoreError::PartitionMissing { .. }), "{error}");
    disk.rename(&path("elsewhere"), &path("topic1-0")).unwrap();
    disk.rename(&path("logmill.checkpoint"), &path("saved")).unwrap();
    disk.rename(&path("logmill.checkpoint.copy"), &path("also saved")).unwrap();
    let error = reopen_after_rename(&disk);
    assert!(matches!(error, StoreError::CheckpointMissing { .. }), "{error}");
    disk.rename(&path("also saved"), &path("logmill.checkpoint.copy")).unwrap();
    disk.sync_dir(Path::new(DATA)).unwrap();
    let (_, recovery) = reopen(&disk).unwrap();
    assert_eq!(recovery.unusable_checkpoint, Some(path("logmill.checkpoint")), "{recovery}");
    assert_eq!(reopen(&disk).unwrap().1.unusable_checkpoint, None, "the start has written both");
}

fn reopen_after_rename(disk: &SimDisk) -> StoreError {
    disk.sync_dir(Path::new(DATA)).unwrap();
    reopen(disk).unwrap_err()
}

#[test]
fn a_checkpoint_older_than_the_journal_is_refused() {
    let (disk, store) = journaled();
    store.close().unwrap();
    let old = crate::disk::read_file(&disk, &path("logmill.checkpoint")).unwrap();
    drop(store);
    // The next incarnation acknowledges a frame; then the checkpoint of before comes back, from a backup or from a disk
    // that lied about the rename.
    let (store, _) = open(&disk);
    commit_one(&store, id(1, 0), batch("later", 1), PLAIN).unwrap();
    store.journal_round().unwrap();
    drop(store);
    disk.plant(&path("logmill.checkpoint"), &old).unwrap();
    disk.plant(&path("logmill.checkpoint.copy"), &old).unwrap();
    disk.restart();
    let before = disk.files();
    let error = reopen(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Journal(JournalError::StaleCheckpoint { .. })), "{error}");
    assert_eq!(disk.files(), before, "nothing was changed");
}

#[test]
fn a_flush_of_names_that_fails_poisons() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    create(&store, 1, 0, Durability::Disk);
    create(&store, 2, 0, Durability::Disk);
    disk.set_faults(Faults { failing_flushes: Some(DATA.to_owned()), ..Faults::default() });
    store.delete_partition(id(1, 0)).unwrap_err();
    disk.set_faults(Faults::default());
    assert_eq!(commit_one(&store, id(2, 0), batch("x", 1), PLAIN), Err(Rejection::Failed));
}

#[test]
fn a_partition_whose_directory_cannot_be_moved_is_not_deleted() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = create(&store, 1, 0, Durability::Disk);
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    disk.rename(&path("topic1-0"), &path("elsewhere")).unwrap();
    store.delete_partition(partition.id()).unwrap_err();
    disk.rename(&path("elsewhere"), &path("topic1-0")).unwrap();
    commit_one(&store, partition.id(), batch("x", 1), PLAIN).unwrap();
    settle(&store);
    assert_eq!(values(&partition, 0).len(), 2);
    store.delete_partition(partition.id()).unwrap();
}

#[test]
fn making_a_partition_on_a_full_disk_fails_and_leaves_nothing() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_faults(Faults { capacity_bytes: Some(used), ..Faults::default() });
    let spec =
        PartitionSpec { id: id(1, 0), topic_name: "topic1".to_owned(), options: LogOptions::default() };
    store.create_partition(spec.clone()).unwrap_err();
    assert!(!disk.exists(&path("topic1-0")).unwrap());
    disk.set_faults(Faults::default());
    store.create_partition(spec).unwrap();
    commit_one(&store, id(1, 0), batch("x", 1), PLAIN).unwrap();
}

#[test]
fn a_full_disk_is_refused_and_not_waited_for() {
    let (store, _) = open(&SimDisk::new(1));
    let full = Congestion { ring_fill: 1.0, queued_bytes: 1 << 40, ..store.congestion() };
    assert!(full.is_full());
    assert!(!Congestion { storage_full: true, ..full }.is_full(), "a produce gets its answer at once");
}

#[test]
fn a_partition_that_lost_its_flushed_end_answers_for_that_and_goes_on() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    for partition in 0..2 {
        create(&store, 1, partition, Durability::Disk);
        for _ in 0..3 {
            commit_one(&store, id(1, partition), batch("before", 2), PLAIN).unwrap();
        }
    }
    settle(&store);
    store.close().unwrap();
    drop(store);
    let file = Path::new(DATA).join("topic1-0/00000000000000000000.log");
    let bytes = read_file(&disk, &file).unwrap();
    disk.plant(&file, &bytes[..bytes.len() - 7]).unwrap();
    for restart in 0..3 {
        let (store, recovery) = reopen(&disk).unwrap();
        let [damage] = &recovery.damaged[..] else { panic!("{recovery}") };
        assert_eq!(damage.file, file, "start {restart}: {damage}");
        let partition = store.partition(id(1, 0)).unwrap();
        let request = |offset| ReadRequest {
            offset,
            max_bytes: 1 << 20,
            isolation: Isolation::Committed,
            min_one_batch: true,
        };
        assert!(matches!(partition.read(request(4)), Err(ReadError::Corrupt(_))));
        assert_eq!(offsets(&partition.read(request(0)).unwrap()), [0, 2]);
        let appended = commit_one(&store, id(1, 0), batch("after", 2), PLAIN).unwrap();
        assert_eq!(appended.base_offset, 6 + 2 * restart);
        settle(&store);
        assert_eq!(values(&partition, 6).len(), 2 + 2 * restart as usize);
        assert_eq!(values(&store.partition(id(1, 1)).unwrap(), 0).len(), 6, "its neighbour lost nothing");
        if restart == 1 {
            store.checkpoint().unwrap();
        }
    }
}
