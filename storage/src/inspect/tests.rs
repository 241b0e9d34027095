//! Each kind of file is spoiled in each way, and found and mended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use logmill_record::control::marker_batch;
use logmill_record::{Batch, BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp};
use uuid::Uuid;

use super::*;
use crate::disk::{Disk, SimDisk, read_file};
use crate::log::manifest::SEGMENT_MANIFEST;
use crate::log::names::{FileKind, LEADER_EPOCHS};
use crate::log::{LogEnvironment, LogOptions, PartitionLog, ReadBuffers};

const DIRECTORY: &str = "/data/t-0";
const SEGMENT_BYTES: u32 = 1800;

fn path(kind: FileKind, offset: i64) -> PathBuf {
    kind.path(Path::new(DIRECTORY), offset)
}

/// A directory with several segments, three producers, a committed and an aborted transaction, two leader epochs.
fn written() -> (Arc<SimDisk>, Arc<dyn Disk>) {
    let sim = Arc::new(SimDisk::new(1));
    let disk: Arc<dyn Disk> = Arc::clone(&sim) as _;
    let environment = LogEnvironment {
        disk: Arc::clone(&disk),
        buffers: ReadBuffers::new(1 << 20),
        files: crate::log::OpenFiles::new(16),
    };
    let options =
        LogOptions { segment_bytes: SEGMENT_BYTES, index_interval_bytes: 150, ..LogOptions::default() };
    let topic = Uuid::from_u128(0x77);
    let log = PartitionLog::create(&environment, Path::new(DIRECTORY), topic, options).unwrap();
    let mut next = 0;
    let mut append = |batch: Batch| {
        let batch = batch.stamped(next, i32::from(next > 40));
        next = batch.header().next_offset();
        log.append(&[batch]).unwrap();
    };
    for round in 0..20 {
        append(data(None, false, round));
        append(data(Some((7, 0, round as i32)), false, round));
        append(data(Some((8, round as i16, 0)), true, round));
        let marker = EndTxnMarker { commit: round % 2 == 0, coordinator_epoch: 3 };
        append(marker_batch(8, round as i16 + 1, marker, 1000 + round));
    }
    append(data(Some((9, 0, 0)), true, 99));
    log.flush().unwrap();
    (sim, disk)
}

fn data(producer: Option<(i64, i16, i32)>, transactional: bool, round: i64) -> Batch {
    let producer = producer.map(|(id, epoch, sequence)| ProducerStamp { id, epoch, sequence });
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..Default::default() });
    builder.push(1000 + round, Some(b"key"), Some(format!("value of round {round}").as_bytes()), &[]);
    builder.build()
}

fn checked(disk: &Arc<dyn Disk>) -> Verification {
    let directory = PartitionDirectory::open(Arc::clone(disk), Path::new(DIRECTORY)).unwrap();
    verify(&directory, Depth::Records).unwrap()
}

fn mended(disk: &Arc<dyn Disk>, cut_damaged_end: bool) -> Result<Repaired, RepairError> {
    repair(disk, Path::new(DIRECTORY), Repair { cut_damaged_end })
}

fn segments(disk: &Arc<dyn Disk>) -> Vec<i64> {
    PartitionDirectory::open(Arc::clone(disk), Path::new(DIRECTORY)).unwrap().segments()
}

#[test]
fn a_sound_directory_is_found_sound_and_left_alone() {
    let (sim, disk) = written();
    let found = checked(&disk);
    assert_eq!(found.findings, []);
    assert_eq!((found.start_offset, found.end_offset), (0, 81));
    assert_eq!((found.batches, found.records, found.open_transactions), (81, 81, 1));
    assert!(found.segments > 3);
    let before = sim.files();
    assert_eq!(mended(&disk, true).unwrap(), Repaired::default());
    assert_eq!(sim.files(), before);
}

#[test]
fn every_derived_file_that_is_wrong_or_missing_is_found_and_made_again() {
    let (_, disk) = written();
    let bases = segments(&disk);
    let middle = bases[bases.len() / 2];
    let derived = [
        path(FileKind::OffsetIndex, middle),
        path(FileKind::TimeIndex, middle),
        path(FileKind::TransactionIndex, middle),
        path(FileKind::ProducerSnapshot, 81),
        Path::new(DIRECTORY).join(LEADER_EPOCHS),
        Path::new(DIRECTORY).join(SEGMENT_MANIFEST),
    ];
    for file in derived {
        for spoil in ["flip", "short", "missing"] {
            let (sim, disk) = written();
            let good = read_file(&*disk, &file).unwrap();
            assert!(!good.is_empty(), "{}", file.display());
            match spoil {
                // Of text the digit of an offset, of entries the lowest bit of the last field.
                "flip" => sim.rot(&file, good.len() as u64 - 2, 3).unwrap(),
                "short" => sim.plant(&file, &good[..good.len() - 3]).unwrap(),
                _ => disk.remove_file(&file).unwrap(),
            }
            // Without its snapshot at the end a log is slower to open, and not wrong.
            let snapshot = file.extension().is_some_and(|extension| extension == "snapshot");
            if spoil == "missing" && (snapshot || file.ends_with(SEGMENT_MANIFEST)) {
                continue;
            }
            let found = checked(&disk);
            let told: Vec<_> = found.findings.iter().map(|f| (f.severity, f.file.clone())).collect();
            assert_eq!(told, [(Severity::Derived, file.clone())], "{spoil} {}", file.display());
            let repaired = mended(&disk, false).unwrap();
            assert_eq!((repaired.remade, repaired.cut), (vec![file.clone()], None));
            assert_eq!(checked(&disk).findings, [], "{spoil} {}", file.display());
        }
    }
}

#[test]
fn a_segment_that_is_gone_or_lost_its_last_batch_is_found() {
    let (_, disk) = written();
    let middle = segments(&disk)[1];
    let file = path(FileKind::Log, middle);
    let (sim, disk) = written();
    let good = read_file(&*disk, &file).unwrap();
    let directory = PartitionDirectory::open(Arc::clone(&disk), Path::new(DIRECTORY)).unwrap();
    let segment = directory.segment(middle).unwrap();
    let mut batches = segment.batches();
    let mut last = 0;
    while let Some(Found::Batch(batch)) = batches.next().unwrap() {
        last = batch.position;
    }
    for left in [Some(last), None] {
        match left {
            Some(left) => sim.plant(&file, &good[..left as usize]).unwrap(),
            None => disk.remove_file(&file).unwrap(),
        }
        let told = checked(&disk).findings;
        let damage: Vec<_> = told.iter().filter(|finding| finding.severity == Severity::Damage).collect();
        assert!(matches!(&damage[..], [only] if only.file == file && only.position == left), "{told:?}");
        assert!(matches!(mended(&disk, true), Err(RepairError::Damaged { at_the_end: false, .. })));
        sim.plant(&file, &good).unwrap();
    }
}

#[test]
fn a_repair_takes_no_gap_that_compaction_left_for_a_loss() {
    let (sim, disk) = written();
    let bases = segments(&disk);
    // What another broker's compaction leaves: a segment without its last batch, and nobody who says so.
    let file = path(FileKind::Log, bases[1]);
    let bytes = read_file(&*disk, &file).unwrap();
    let directory = PartitionDirectory::open(Arc::clone(&disk), Path::new(DIRECTORY)).unwrap();
    let segment = directory.segment(bases[1]).unwrap();
    let mut batches = segment.batches();
    let mut last = 0;
    while let Some(Found::Batch(batch)) = batches.next().unwrap() {
        last = batch.position;
    }
    sim.plant(&file, &bytes[..last as usize]).unwrap();
    disk.remove_file(&Path::new(DIRECTORY).join(SEGMENT_MANIFEST)).unwrap();
    disk.remove_file(&path(FileKind::OffsetIndex, bases[1])).unwrap();
    disk.remove_file(&path(FileKind::TimeIndex, bases[1])).unwrap();
    disk.remove_file(&path(FileKind::OffsetIndex, bases[2])).unwrap();
    let end = checked(&disk).end_offset;
    assert!(!mended(&disk, false).unwrap().remade.is_empty());
    assert_eq!(segments(&disk), bases);
    let found = checked(&disk);
    assert_eq!((found.end_offset, found.worst()), (end, None), "{:?}", found.findings);
}

#[test]
fn an_aborted_transaction_missing_from_its_index_is_found() {
    let (sim, disk) = written();
    let base = segments(&disk)[1];
    let file = path(FileKind::TransactionIndex, base);
    let good = read_file(&*disk, &file).unwrap();
    assert!(good.len() >= 68, "two entries");
    sim.plant(&file, &good[34..]).unwrap();
    let found = checked(&disk);
    assert!(found.findings[0].what.contains("is missing"), "{:?}", found.findings);
    // And one too many, of a transaction that was committed.
    sim.plant(&file, &good).unwrap();
    let mut foreign = good.clone();
    let at = good.len() - 34 + 10;
    foreign[at + 7] -= 1;
    sim.plant(&file, &[good, foreign[foreign.len() - 34..].to_vec()].concat()).unwrap();
    assert!(checked(&disk).findings[0].what.contains("would be hidden"));
}

#[test]
fn damage_in_the_middle_is_named_passed_over_and_never_repaired() {
    let (sim, disk) = written();
    let base = segments(&disk)[1];
    let file = path(FileKind::Log, base);
    let directory = PartitionDirectory::open(Arc::clone(&disk), Path::new(DIRECTORY)).unwrap();
    let segment = directory.segment(base).unwrap();
    let mut batches = segment.batches();
    let Some(Found::Batch(first)) = batches.next().unwrap() else { panic!("a batch") };
    let Some(Found::Batch(second)) = batches.next().unwrap() else { panic!("a batch") };
    let before = read_file(&*disk, &file).unwrap();
    // A flipped bit in a record, and one in the length of the batch.
    for position in [first.position + 70, first.position + 9] {
        sim.plant(&file, &before).unwrap();
        sim.rot(&file, position, 0x40).unwrap();
        let mut batches = segment.batches();
        let Some(Found::Damage(damage)) = batches.next().unwrap() else { panic!("damage") };
        assert_eq!((damage.position, damage.bytes), (0, second.position));
        assert_eq!(damage.followed_by, Some(second.header.base_offset));
        assert_eq!(batches.next().unwrap(), Some(Found::Batch(second.clone())), "the rest can be read");
        let found = checked(&disk);
        assert_eq!((found.findings.len(), found.worst()), (1, Some(Severity::Damage)));
        assert_eq!(found.batches, 80);
        let spoiled = read_file(&*disk, &file).unwrap();
        let Err(RepairError::Damaged { at_the_end: false, .. }) = mended(&disk, true) else {
            panic!("damage with data behind it must not be cut")
        };
        assert_eq!(read_file(&*disk, &file).unwrap(), spoiled, "nothing was changed");
    }
}

#[test]
fn a_damaged_end_is_cut_only_when_asked_for() {
    let (sim, disk) = written();
    let last = *segments(&disk).last().unwrap();
    let file = path(FileKind::Log, last);
    let good = read_file(&*disk, &file).unwrap();
    sim.plant(&file, &[&good[..], &[0xab; 100]].concat()).unwrap();
    let Err(RepairError::Damaged { at_the_end: true, .. }) = mended(&disk, false) else {
        panic!("not without being asked")
    };
    let repaired = mended(&disk, true).unwrap();
    assert_eq!(repaired.cut, Some((81, 100)));
    assert_eq!(read_file(&*disk, &file).unwrap(), good);
    assert_eq!(checked(&disk).findings, []);

    sim.plant(&file, &good[..good.len() - 5]).unwrap();
    let (end, bytes) = mended(&disk, true).unwrap().cut.unwrap();
    assert_eq!(end, 80);
    assert!(bytes > 60);
    let found = checked(&disk);
    assert!(found.is_sound(), "{:?}", found.findings);
    assert_eq!((found.end_offset, found.open_transactions), (80, 0));
}

#[test]
fn a_directory_that_a_broker_works_on_is_not_repaired() {
    let (sim, disk) = written();
    let _lock = disk.lock(Path::new("/data/.lock")).unwrap();
    sim.rot(&path(FileKind::OffsetIndex, segments(&disk)[0]), 3, 1).unwrap();
    let refused = mended(&disk, false).unwrap_err();
    assert!(matches!(refused, RepairError::Store(crate::StoreError::Locked { .. })), "{refused}");
}

#[test]
fn what_kafka_preallocates_is_no_mistake() {
    let (sim, disk) = written();
    let last = *segments(&disk).last().unwrap();
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex] {
        let file = path(kind, last);
        let mut bytes = read_file(&*disk, &file).unwrap_or_default();
        bytes.resize(24 * 100, 0);
        sim.plant(&file, &bytes).unwrap();
    }
    assert_eq!(checked(&disk).findings, []);
}

#[test]
fn a_segment_that_compaction_emptied_is_no_reason_to_cut_what_follows() {
    let (_, disk) = written();
    let bases = segments(&disk);
    // As Apache Kafka leaves it, which says nowhere what there has to be.
    disk.remove_file(&Path::new(DIRECTORY).join(SEGMENT_MANIFEST)).unwrap();
    for kind in [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex, FileKind::Log] {
        let _ = disk.remove_file(&path(kind, bases[1]));
    }
    disk.remove_file(&path(FileKind::OffsetIndex, bases[2])).unwrap();
    let before = checked(&disk);
    assert_eq!(before.end_offset, 81);
    let repaired = mended(&disk, false).unwrap();
    assert!(repaired.remade.contains(&path(FileKind::OffsetIndex, bases[2])));
    let after = checked(&disk);
    assert_eq!((after.end_offset, after.batches, after.segments), (81, before.batches, before.segments));
    assert!(after.is_sound(), "{:?}", after.findings);
}
