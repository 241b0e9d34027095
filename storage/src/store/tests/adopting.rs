//! Directories that were written elsewhere.

use super::*;
use crate::disk::Disk;
use crate::disk::sim::Faults;
use crate::inspect::PartitionDirectory;
use crate::log::names::LEADER_EPOCHS;
use crate::log::{LogEnvironment, OpenFiles, PartitionLog, ReadBuffers};

const SOURCE: &str = "/from/orders-3";
const ID: (u128, i32) = (0xabc, 3);

/// Segments with gaps between them, three leader epochs of which one has no batch, a producer, a committed, an aborted and,
/// if asked for, an open transaction. Begins at offset 7. Returns its batches.
fn written(disk: &SimDisk, open: bool) -> Vec<Batch> {
    let environment = LogEnvironment {
        disk: Arc::new(disk.clone()),
        buffers: ReadBuffers::new(1 << 20),
        files: OpenFiles::new(16),
    };
    let options = LogOptions { segment_bytes: 900, index_interval_bytes: 150, ..LogOptions::default() };
    let log = PartitionLog::create(&environment, Path::new(SOURCE), Uuid::from_u128(1), options).unwrap();
    let mut all = Vec::new();
    let mut append = |batch: Batch, epoch| {
        let batch = batch.stamped(log.end_offset(), epoch);
        log.append(std::slice::from_ref(&batch)).unwrap();
        all.push(batch);
    };
    for round in 0..12 {
        let epoch = if round < 6 { 0 } else { 5 };
        append(batch(&"x".repeat(100), 3), epoch);
        append(produced(4, 0, round * 2, false), epoch);
        append(produced(9, round as i16, 0, true), epoch);
        append(marker(9, round as i16, round % 2 == 0), epoch);
    }
    if open {
        append(produced(9, 12, 0, true), 5);
    }
    log.flush().unwrap();
    let bases: Vec<i64> = log.closed_segments().unwrap().iter().map(|segment| segment.base_offset).collect();
    drop(log);
    // The first segment is gone, and one between two others, as if all in it had been compacted away.
    let gone = [bases[0], bases[2]];
    for name in disk.read_dir(Path::new(SOURCE)).unwrap().into_iter().map(|entry| entry.name) {
        if gone.iter().any(|base| name.starts_with(&format!("{base:020}.")) && !name.ends_with(".snapshot")) {
            disk.remove_file(&Path::new(SOURCE).join(name)).unwrap();
        }
    }
    let epochs = format!(
        "0\n3\n0 {}\n3 25\n5 {}\n",
        bases[1],
        all.iter().find(|b| b.header().leader_epoch == 5).unwrap().header().base_offset
    );
    disk.plant(&Path::new(SOURCE).join(LEADER_EPOCHS), epochs.as_bytes()).unwrap();
    disk.sync_dir(Path::new(SOURCE)).unwrap();
    disk.sync_dir(Path::new("/from")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let lost = |offset: i64| offset < bases[1] || (bases[2]..bases[3]).contains(&offset);
    all.retain(|batch| !lost(batch.header().base_offset));
    all
}

fn source(disk: &SimDisk) -> PartitionDirectory {
    PartitionDirectory::open(Arc::new(disk.clone()), Path::new(SOURCE)).unwrap()
}

fn spec() -> PartitionSpec {
    PartitionSpec { id: id(ID.0, ID.1), topic_name: "orders".to_owned(), options: LogOptions::default() }
}

fn batches_of(partition: &Partition) -> Vec<Batch> {
    let Published { mut log_start_offset, high_watermark, .. } = partition.published();
    let mut all = Vec::new();
    while log_start_offset < high_watermark {
        let chunks = read(partition, log_start_offset, Isolation::Uncommitted).chunks;
        for batch in chunks.into_iter().flat_map(batches) {
            let batch = batch.unwrap();
            log_start_offset = batch.header().next_offset();
            all.push(batch);
        }
    }
    all
}

fn check(partition: &Partition, expected: &[Batch]) {
    assert_eq!(batches_of(partition), expected);
    let end = expected.last().unwrap().header().next_offset();
    assert_eq!(partition.published().high_watermark, end);
    let producers = partition.producers();
    let known: Vec<_> =
        producers.iter().map(|p| (p.producer_id, p.producer_epoch, p.last_sequence)).collect();
    assert_eq!(known[0], (4, 0, 23));
    assert_eq!((known[1].0, known[1].1), (9, 11));
    let first = expected[0].header().base_offset;
    let result = partition.read(ReadRequest {
        offset: first,
        max_bytes: 1 << 20,
        isolation: Isolation::Committed,
        min_one_batch: true,
    });
    let aborted: Vec<i64> = result.unwrap().aborted.iter().map(|aborted| aborted.last_offset).collect();
    let markers = expected.iter().filter(|batch| batch.header().is_control());
    let expected: Vec<i64> = markers
        .filter(|batch| !EndTxnMarker::from_batch(batch).unwrap().commit)
        .map(|batch| batch.header().base_offset)
        .collect();
    assert_eq!(aborted, expected);
    // The epoch without a batch is remembered, too: who saw epoch 4 saw nothing behind where 5 begins.
    assert_eq!(partition.leader_epoch_for(4).unwrap().0, 3);
    assert_eq!(partition.leader_epoch(), 6);
}

#[test]
fn everything_stays_as_it_was_and_appends_go_on() {
    let disk = SimDisk::new(1);
    let expected = written(&disk, false);
    let before = disk.files();
    let (store, _) = open(&disk);
    let adopted = store.adopt_partition(&source(&disk), spec(), None).unwrap();
    assert_eq!(adopted.gaps.len(), 1, "{:?}", adopted.gaps);
    check(&adopted.partition, &expected);
    assert!(before.iter().all(|file| disk.files().contains(file)), "the source is only read");
    let end = adopted.partition.published().high_watermark;
    // A batch that producer 4 sends again is known, the next one is taken.
    let again = commit_one(&store, id(ID.0, ID.1), produced(4, 0, 22, false), PLAIN).unwrap();
    assert!(again.base_offset < end);
    assert_eq!(
        commit_one(&store, id(ID.0, ID.1), produced(4, 0, 24, false), PLAIN).unwrap().base_offset,
        end
    );
    settle(&store);
    drop(store);
    disk.restart();
    let (store, recovery) = open(&disk);
    assert_eq!((recovery.replayed_frames, recovery.truncations.len()), (1, 0));
    let partition = store.partition(id(ID.0, ID.1)).unwrap();
    assert_eq!(batches_of(&partition).len(), expected.len() + 1);
    assert!(disk.files().iter().all(|(file, _)| !file.to_string_lossy().contains("-import")));
}

#[test]
fn the_start_may_lie_behind_the_first_segment() {
    let disk = SimDisk::new(1);
    let expected = written(&disk, false);
    let (store, _) = open(&disk);
    let (first, end) = (expected[0].header().base_offset, expected.last().unwrap().header().next_offset());
    for wanted in [first - 1, end + 1] {
        let error = store.adopt_partition(&source(&disk), spec(), Some(wanted)).unwrap_err();
        assert!(matches!(error, AdoptError::Start { .. }), "{error}");
    }
    let adopted = store.adopt_partition(&source(&disk), spec(), Some(first + 4)).unwrap();
    assert_eq!(adopted.partition.published().log_start_offset, first + 4);
    drop((store, adopted));
    disk.restart();
    let (store, _) = open(&disk);
    assert_eq!(store.partition(id(ID.0, ID.1)).unwrap().published().log_start_offset, first + 4);
}

#[test]
fn what_cannot_be_taken_whole_is_not_taken_at_all() {
    let disk = SimDisk::new(1);
    written(&disk, false);
    let (store, _) = open(&disk);
    let refused = |what: &str| {
        let error = store.adopt_partition(&source(&disk), spec(), None).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(store.partition(id(ID.0, ID.1)).is_none());
        assert!(!disk.exists(&path("orders-3")).unwrap());
        assert!(disk.files().iter().all(|(file, _)| !file.to_string_lossy().contains("-import")));
    };
    let base = source(&disk).segments()[1];
    let log = Path::new(SOURCE).join(format!("{base:020}.log"));
    disk.rot(&log, 200, 1).unwrap();
    refused("is damaged at position");
    disk.rot(&log, 200, 1).unwrap();
    let swap = Path::new(SOURCE).join(format!("{base:020}.log.swap"));
    disk.plant(&swap, b"").unwrap();
    refused("a compaction was interrupted");
    disk.remove_file(&swap).unwrap();
    disk.create_dir_all(&path("orders-3")).unwrap();
    let error = store.adopt_partition(&source(&disk), spec(), None).unwrap_err();
    assert!(error.to_string().contains("is taken by"), "{error}");
    disk.remove_dir_all(&path("orders-3")).unwrap();
    store.adopt_partition(&source(&disk), spec(), None).unwrap();
    let error = store.adopt_partition(&source(&disk), spec(), None).unwrap_err();
    assert!(matches!(error, AdoptError::Exists(_)), "{error}");
}

/// An earlier partition of the same id, which an import takes the place of, is not mixed up with it.
#[test]
fn a_crash_at_any_call_leaves_the_whole_partition_or_nothing() {
    let (mut call, mut taken, mut nothing) = (0, 0, 0);
    loop {
        call += 1;
        let disk = SimDisk::new(call);
        let expected = written(&disk, true);
        let (store, _) = open(&disk);
        store.create_partition(spec()).unwrap();
        store.checkpoint().unwrap();
        store.delete_partition(id(ID.0, ID.1)).unwrap();
        disk.crash_at(disk.calls() + call);
        let adopted = store.adopt_partition(&source(&disk), spec(), None);
        let crashed = disk.crashed();
        let done = adopted.is_ok();
        drop((store, adopted));
        disk.restart();
        if call % 2 == 0 {
            disk.crash_at(disk.calls() + call % 23);
            let _ = Store::open(Arc::new(disk.clone()), options());
            disk.restart();
        }
        let (store, _) = open(&disk);
        match store.partition(id(ID.0, ID.1)) {
            Some(partition) => {
                assert_eq!(batches_of(&partition), expected, "call {call}");
                assert_eq!(partition.producers().len(), 2);
                taken += 1;
            }
            None => {
                assert!(!done, "call {call}: what was reported is there");
                assert!(!disk.exists(&path("orders-3")).unwrap(), "call {call}");
                nothing += 1;
            }
        }
        let left: Vec<_> = disk
            .read_dir(Path::new(DATA))
            .unwrap()
            .into_iter()
            .filter(|e| e.name.contains("-import"))
            .collect();
        assert!(left.is_empty(), "call {call}: {left:?}");
        if !crashed {
            break;
        }
    }
    assert!(taken > 0 && nothing > 40, "{taken} taken, {nothing} not");
}

/// The old directory of the same partition cannot be removed, nor the mark that the import is in no checkpoint yet.
#[test]
fn what_was_taken_in_beside_an_old_directory_stays() {
    let disk = SimDisk::new(1);
    let expected = written(&disk, true);
    let (store, _) = open(&disk);
    store.create_partition(spec()).unwrap();
    store.checkpoint().unwrap();
    store.delete_partition(id(ID.0, ID.1)).unwrap();
    disk.set_faults(Faults { failing_removals: Some("orders-3.".to_owned()), ..Faults::default() });
    store.adopt_partition(&source(&disk), spec(), None).unwrap();
    drop(store);
    disk.restart();
    disk.set_faults(Faults::default());
    let (store, recovery) = open(&disk);
    let partition = store.partition(id(ID.0, ID.1)).unwrap_or_else(|| panic!("it is gone: {recovery:?}"));
    assert_eq!(batches_of(&partition), expected);
}
