use std::path::Path;
use std::sync::Arc;

use logmill_record::{BatchBuilder, BatchOptions};
use uuid::Uuid;

use super::*;
use crate::PartitionId;
use crate::disk::sim::{Failing, Faults, Random};
use crate::disk::{Disk, RealDisk, SimDisk};

const DIRECTORY: Uuid = Uuid::from_u128(0xd1);

fn options() -> JournalOptions {
    JournalOptions {
        first_file_bytes: 16 << 10,
        file_bytes: 64 << 10,
        max_bytes: 256 << 10,
        max_frame_bytes: 32 << 10,
        direct: true,
    }
    .normalised()
}

fn frame(commit: u64, sizes: &[usize]) -> FrameBody {
    let entries = sizes.iter().enumerate().map(|(partition, &size)| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, None, Some(&vec![commit as u8; size]), &[]);
        let partition = PartitionId { topic: Uuid::from_u128(7), partition: partition as i32 };
        FrameEntry { partition, batch: builder.build().stamped(commit as i64, 3) }
    });
    let trim = |partition| TrimEntry { partition, offset: commit as i64 };
    let trimmed = PartitionId { topic: Uuid::from_u128(8), partition: 1 };
    let trims = commit.is_multiple_of(3).then(|| trim(trimmed)).into_iter().collect();
    FrameBody { commit, entries: entries.collect(), trims }
}

fn frames(commits: std::ops::Range<u64>, size: usize) -> Vec<FrameBody> {
    commits.map(|commit| frame(commit, &[size, size / 2])).collect()
}

fn fresh(disk: &Arc<dyn Disk>, root: &Path) -> Journal {
    disk.create_dir_all(root).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let identity = NewIncarnation { directory: DIRECTORY, incarnation: 1, file_number: 1, sequence: 1 };
    Journal::start(Arc::clone(disk), root.to_owned(), options(), identity, Vec::new()).unwrap().unwrap()
}

fn start() -> ReplayStart {
    ReplayStart {
        directory: DIRECTORY,
        incarnation: 1,
        file_number: 1,
        covered: 0,
        durable: 0,
        closed: false,
    }
}

fn read_back(
    disk: &dyn Disk,
    root: &Path,
    start: &ReplayStart,
) -> Result<(Scanned, Vec<FrameBody>), JournalError> {
    let mut frames = Vec::new();
    let scanned = recover(disk, root, start, |frame| -> Result<(), JournalError> {
        frames.push(frame);
        Ok(())
    })?;
    Ok((scanned, frames))
}

fn simulated(seed: u64) -> (SimDisk, Arc<dyn Disk>) {
    let sim = SimDisk::new(seed);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    (sim, disk)
}

const ROOT: &str = "/journal";

#[test]
fn frames_come_back_as_written_on_every_disk() {
    let directory = tempfile::tempdir().unwrap();
    let no_direct = SimDisk::new(1);
    no_direct.set_faults(Faults { no_direct: true, ..Faults::default() });
    let disks: [(Arc<dyn Disk>, &Path); 3] = [
        (Arc::new(RealDisk), directory.path()),
        (Arc::new(SimDisk::new(1)), Path::new(ROOT)),
        (Arc::new(no_direct), Path::new(ROOT)),
    ];
    for (disk, root) in disks {
        let mut journal = fresh(&disk, root);
        let first = frames(1..4, 100);
        let written = journal.write(&first, |frame| frame).unwrap();
        assert_eq!((written.frames, written.writes, written.full), (3, 1, false), "one write for all");
        assert_eq!(journal.durable(), 3);
        journal.write_idle().unwrap();
        assert!(!journal.wants_idle_frame());
        let long = frames(10..11, 20_000);
        journal.write(&long, |frame| frame).unwrap();
        assert_eq!(journal.durable(), 5, "the idle frame has a sequence too");

        let (scanned, back) = read_back(&*disk, root, &start()).unwrap();
        assert_eq!((scanned.last_sequence, scanned.last_commit, scanned.frames), (5, 10, 4));
        assert_eq!(scanned.cut, None);
        for (written, read) in first.iter().chain(&long).zip(&back) {
            assert_eq!(written.commit, read.commit);
            for (written, read) in written.entries.iter().zip(&read.entries) {
                assert_eq!((written.partition, &written.batch), (read.partition, &read.batch));
            }
        }
        let covered = ReplayStart { covered: 4, ..start() };
        assert_eq!(read_back(&*disk, root, &covered).unwrap().1.len(), 1);
    }
}

/// After a flush that failed the page cache has frames that the device has not. What follows from a frame must not reach the
/// device before it.
#[test]
fn a_frame_is_given_to_replay_only_when_it_is_durable() {
    for seed in 0..20 {
        let (sim, disk) = simulated(seed);
        sim.set_faults(Faults { no_direct: true, ..Faults::default() });
        let mut journal = fresh(&disk, Path::new(ROOT));
        journal.write(&frames(1..3, 100), |frame| frame).unwrap();
        sim.fail_next(Failing::Flush, ROOT);
        journal.write(&frames(3..6, 500), |frame| frame).unwrap_err();
        sim.end_process();
        let (_, given) = read_back(&*disk, Path::new(ROOT), &start()).unwrap();
        assert_eq!(given.len(), 5);
        sim.restart();
        let (_, again) = read_back(&*disk, Path::new(ROOT), &start()).unwrap();
        let commits = |frames: &[FrameBody]| frames.iter().map(|frame| frame.commit).collect::<Vec<_>>();
        assert_eq!(commits(&again), commits(&given), "seed {seed}");
    }
}

#[test]
fn the_ring_grows_fills_up_and_is_used_again() {
    let (sim, disk) = simulated(1);
    let mut journal = fresh(&disk, Path::new(ROOT));
    assert_eq!(sim.files().len(), 1);
    let mut commit = 1;
    loop {
        let written = journal.write(&frames(commit..commit + 1, 6000), |frame| frame).unwrap();
        if written.full {
            assert_eq!(written.frames, 0);
            break;
        }
        commit += 1;
    }
    assert!(journal.total_bytes() <= options().max_bytes);
    assert!(journal.used_bytes() > options().max_bytes / 2);
    assert!(sim.files().len() > 3);
    let (scanned, back) = read_back(&*disk, Path::new(ROOT), &start()).unwrap();
    assert_eq!((back.len() as u64, scanned.last_sequence), (commit - 1, commit - 1));

    let covered = commit - 2;
    let first_needed = journal.file_after(covered);
    assert!(journal.recycle(first_needed).unwrap() > 0);
    assert_eq!(journal.file_after(covered), first_needed);
    let bytes = journal.total_bytes();
    for commit in commit..commit + 6 {
        assert_eq!(journal.write(&frames(commit..commit + 1, 6000), |frame| frame).unwrap().frames, 1);
    }
    assert!(journal.total_bytes() <= bytes, "no new file while an old one is free: {:?}", sim.files());
    let from_checkpoint = ReplayStart { file_number: first_needed, covered, durable: covered, ..start() };
    let (_, back) = read_back(&*disk, Path::new(ROOT), &from_checkpoint).unwrap();
    assert_eq!(
        back.iter().map(|frame| frame.commit).collect::<Vec<_>>(),
        (covered + 1..commit + 6).collect::<Vec<_>>()
    );
    assert!(matches!(
        read_back(&*disk, Path::new(ROOT), &start()),
        Err(JournalError::Missing { number: 1, .. })
    ));
}

#[test]
fn a_full_disk_is_a_full_ring() {
    let (sim, disk) = simulated(1);
    let mut journal = fresh(&disk, Path::new(ROOT));
    sim.set_faults(Faults { capacity_bytes: Some(20 << 10), ..Faults::default() });
    let queue = frames(1..20, 3000);
    let written = journal.write(&queue, |frame| frame).unwrap();
    assert!(written.full && written.frames > 0);
    sim.set_faults(Faults::default());
    assert!(
        journal.write(&queue[written.frames..], |frame| frame).unwrap().frames > 0,
        "goes on when there is space"
    );
}

#[test]
fn a_failed_flush_is_an_error() {
    for no_direct in [false, true] {
        let (sim, disk) = simulated(1);
        sim.set_faults(Faults { no_direct, ..Faults::default() });
        let mut journal = fresh(&disk, Path::new(ROOT));
        sim.set_faults(Faults {
            no_direct,
            failing_flushes: Some("journal".to_owned()),
            ..Faults::default()
        });
        assert!(matches!(journal.write(&frames(1..2, 10), |frame| frame), Err(JournalError::Io { .. })));
    }
}

/// Writes groups until the machine goes down; returns the frames acknowledged and those handed over.
fn run_until_crash(disk: &Arc<dyn Disk>, journal: &mut Journal, random: &mut Random) -> (u64, u64) {
    let (mut acknowledged, mut handed) = (0, 0);
    for _ in 0..12 {
        let count = 1 + random.below(4);
        let queue = frames(handed + 1..handed + 1 + count, random.below(5000) as usize);
        handed += count;
        let Ok(written) = journal.write(&queue, |frame| frame) else { break };
        acknowledged += written.frames as u64;
        if random.one_in(3) && journal.write_idle().is_err() {
            break;
        }
    }
    let _ = disk;
    (acknowledged, handed)
}

#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged_and_is_never_taken_for_damage() {
    let mut cuts = 0;
    for seed in 0..60 {
        let mut call = 1;
        loop {
            let (sim, disk) = simulated(seed);
            let mut journal = fresh(&disk, Path::new(ROOT));
            let first_call = sim.calls();
            sim.crash_at(first_call + call);
            let mut random = Random::new(seed);
            let (acknowledged, handed) = run_until_crash(&disk, &mut journal, &mut random);
            let crashed = sim.crashed();
            sim.restart();
            let (scanned, back) = read_back(&*disk, Path::new(ROOT), &start())
                .unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error}"));
            let got = back.len() as u64;
            assert!(acknowledged <= got && got <= handed, "seed {seed}, call {call}");
            assert!(back.iter().zip(1..).all(|(frame, commit)| frame.commit == commit));
            cuts += u32::from(scanned.cut.is_some());
            if !crashed {
                break;
            }
            call += 1;
        }
    }
    assert!(cuts > 100, "torn ends must be seen, were {cuts}");
}

#[test]
fn a_torn_end_is_cut_and_damage_below_it_is_not() {
    let root = Path::new(ROOT);
    let file = root.join("000000.journal");
    let first_frame = BLOCK_BYTES as u64;
    let second_write = 2 * BLOCK_BYTES as u64;

    // The last write, with nothing that says it was durable: torn.
    let (sim, disk) = simulated(1);
    let mut journal = fresh(&disk, root);
    journal.write(&frames(1..2, 100), |frame| frame).unwrap();
    journal.write(&frames(2..3, 100), |frame| frame).unwrap();
    sim.rot(&file, second_write + 200, 1).unwrap();
    let (scanned, back) = read_back(&*disk, root, &start()).unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!(scanned.cut, Some(Cut { file: file.clone(), position: second_write, sequence: 2 }));
    // ... unless the checkpoint knows better.
    let known = ReplayStart { durable: 2, ..start() };
    assert!(matches!(read_back(&*disk, root, &known), Err(JournalError::Corrupt { sequence: 2, .. })));

    // The same, but the frame before the last: the frame behind says that it was durable.
    sim.rot(&file, second_write + 200, 1).unwrap();
    sim.rot(&file, first_frame + 200, 1).unwrap();
    match read_back(&*disk, root, &start()) {
        Err(JournalError::Corrupt { file: named, position, sequence: 1, .. }) => {
            assert_eq!((named, position), (file.clone(), first_frame));
        }
        other => panic!("{other:?}"),
    }
    sim.rot(&file, first_frame + 200, 1).unwrap();

    // The idle frame vouches for the last write.
    journal.write_idle().unwrap();
    let calls = sim.calls();
    sim.rot(&file, second_write + 200, 1).unwrap();
    assert!(matches!(read_back(&*disk, root, &start()), Err(JournalError::Corrupt { sequence: 2, .. })));
    assert_eq!(sim.calls(), calls, "nothing was changed");
}

#[test]
fn a_torn_write_of_many_frames_is_torn_even_when_its_end_survived() {
    let (sim, disk) = simulated(1);
    let root = Path::new(ROOT);
    let mut journal = fresh(&disk, root);
    journal.write(&frames(1..2, 100), |frame| frame).unwrap();
    journal.write(&frames(2..6, 1000), |frame| frame).unwrap();
    sim.rot(&root.join("000000.journal"), 2 * BLOCK_BYTES as u64 + 80, 1).unwrap();
    let (scanned, back) = read_back(&*disk, root, &start()).unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!(scanned.cut.unwrap().sequence, 2);
}

#[test]
fn a_damaged_file_header_is_not_an_end() {
    let (sim, disk) = simulated(1);
    let root = Path::new(ROOT);
    let mut journal = fresh(&disk, root);
    let mut commit = 1;
    while sim.files().len() < 3 || journal.file_after(commit) < 3 {
        journal.write(&frames(commit..commit + 1, 6000), |frame| frame).unwrap();
        commit += 1;
    }
    journal.write(&frames(commit..commit + 1, 6000), |frame| frame).unwrap();
    let header_of = |number: usize| sim.files()[number].0.clone();
    for (file, damaged) in [(1, "in the middle"), (2, "at the end")] {
        sim.rot(&header_of(file), 30, 4).unwrap();
        let result = read_back(&*disk, root, &start());
        assert!(
            matches!(result, Err(JournalError::Corrupt { .. } | JournalError::Missing { .. })),
            "{damaged}: {result:?}"
        );
        sim.rot(&header_of(file), 30, 4).unwrap();
    }
    read_back(&*disk, root, &start()).unwrap();
}

#[test]
fn foreign_newer_and_older_files_are_refused() {
    let (sim, disk) = simulated(1);
    let root = Path::new(ROOT);
    let mut journal = fresh(&disk, root);
    journal.write(&frames(1..3, 100), |frame| frame).unwrap();
    let other = ReplayStart { directory: Uuid::from_u128(0xd2), ..start() };
    assert!(matches!(read_back(&*disk, root, &other), Err(JournalError::Foreign { found: DIRECTORY, .. })));
    let later = ReplayStart { incarnation: 2, ..start() };
    assert!(matches!(read_back(&*disk, root, &later), Err(JournalError::Missing { incarnation: 2, .. })));
    sim.rot(&root.join("000000.journal"), 8, 3).unwrap();
    assert!(matches!(
        read_back(&*disk, root, &start()),
        Err(JournalError::NewerFormat { found: 2, known: JOURNAL_VERSION, .. })
    ));
}

#[test]
fn a_new_incarnation_does_not_read_the_torn_end_of_the_last() {
    // The torn write's surviving frames have the sequences that the next incarnation uses again.
    let (sim, disk) = simulated(1);
    let root = Path::new(ROOT);
    let mut journal = fresh(&disk, root);
    journal.write(&frames(1..2, 100), |frame| frame).unwrap();
    journal.write(&frames(2..6, 1000), |frame| frame).unwrap();
    sim.rot(&root.join("000000.journal"), 2 * BLOCK_BYTES as u64 + 80, 1).unwrap();
    drop(journal);
    let (scanned, _) = read_back(&*disk, root, &start()).unwrap();
    let identity = NewIncarnation {
        directory: DIRECTORY,
        incarnation: scanned.last_incarnation + 1,
        file_number: scanned.last_file_number + 1,
        sequence: scanned.last_sequence + 1,
    };
    let mut journal = Journal::start(Arc::clone(&disk), root.to_owned(), options(), identity, scanned.files)
        .unwrap()
        .unwrap();
    journal.recycle(identity.file_number).unwrap();
    for commit in 100..110 {
        journal.write(&frames(commit..commit + 1, 3000), |frame| frame).unwrap();
    }
    let begin =
        ReplayStart { incarnation: 2, file_number: identity.file_number, covered: 1, durable: 1, ..start() };
    let (_, back) = read_back(&*disk, root, &begin).unwrap();
    let commits: Vec<_> = back.iter().map(|frame| frame.commit).collect();
    assert_eq!(commits, (100..110).collect::<Vec<_>>());
}

#[test]
fn garbage_never_panics() {
    let mut random = Random::new(9);
    for seed in 0..200 {
        let (sim, disk) = simulated(seed);
        let root = Path::new(ROOT);
        let mut journal = fresh(&disk, root);
        journal.write(&frames(1..6, 2000), |frame| frame).unwrap();
        for _ in 0..8 {
            let (file, bytes) = sim.files()[0].clone();
            sim.rot(&file, random.below(bytes), random.next_u64() as u8).unwrap();
        }
        if let Ok((_, back)) = read_back(&*disk, root, &start()) {
            assert!(back.iter().zip(1..).all(|(frame, commit)| frame.commit == commit));
        }
    }
}
