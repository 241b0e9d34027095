//! A crash at every disk call of a small run: the quick relative of the simulation in `storage/tests`.

use super::*;
use crate::disk::sim::{Faults, Random};
use crate::log::PartitionLog;

/// What was committed, in order: base offsets and bytes per partition of each frame.
type Frames = Vec<Vec<(PartitionId, i64, Bytes)>>;

struct Run {
    /// Frames that were sequenced.
    frames: Frames,
    /// How many of them were acknowledged: always a prefix.
    acknowledged: usize,
}

const PARTITIONS: [(u128, i32); 3] = [(1, 0), (1, 1), (2, 0)];

/// Appends, rolls, checkpoints, transactions and epoch frames, until the end or the crash.
fn run(disk: &SimDisk, seed: u64) -> Run {
    let mut result = Run { frames: Vec::new(), acknowledged: 0 };
    let Ok((store, _)) = Store::open(Arc::new(disk.clone()), whole_or_not(seed)) else { return result };
    for (topic, partition) in PARTITIONS {
        let spec = PartitionSpec {
            id: id(topic, partition),
            topic_name: format!("topic{topic}"),
            options: LogOptions { segment_bytes: 1500, ..LogOptions::default() },
        };
        if store.create_partition(spec).is_err() {
            return result;
        }
    }
    let calls = Calls::default();
    let random = &mut Random::new(seed);
    let mut sequences = [0; 3];
    let mut open = false;
    for step in 0..14 {
        let [a, b, state] = PARTITIONS.map(|(topic, partition)| id(topic, partition));
        let appends = match random.below(4) {
            0 => vec![append(a, batch(&"w".repeat(random.below(900) as usize), 2), PLAIN)],
            1 => {
                sequences[1] += 2;
                vec![append(b, produced(7, 0, sequences[1] - 2, false), PLAIN)]
            }
            2 if open => {
                open = false;
                let commit = random.one_in(2);
                vec![append(state, batch("end", 1), INTERNAL), append(a, marker(9, 0, commit), MARKER)]
            }
            2 => {
                open = true;
                sequences[0] += 2;
                let begins = Check::Client { begins: true, transaction_v2: false };
                let data = produced(9, 0, sequences[0] - 2, true);
                vec![append(state, batch("begin", 1), INTERNAL), append(a, data, begins)]
            }
            _ => vec![
                append(a, batch("epoch", 3), INTERNAL),
                append(b, batch("change", 2), INTERNAL),
                append(state, batch("cut", 1), INTERNAL),
            ],
        };
        let bytes: Vec<_> = appends.iter().map(|append| (append.partition, append.batch.clone())).collect();
        let committed = store.commit(Frame::from(appends), calls.done()).unwrap();
        let stamped = bytes.into_iter().zip(&committed.appends).map(|((partition, batch), appended)| {
            (partition, appended.base_offset, batch.stamped(appended.base_offset, 0).into_bytes())
        });
        result.frames.push(stamped.collect());
        let outcome = match random.below(5) {
            0 => Ok(()),
            1 => store.journal_round().map(|_| ()),
            2 => store.journal_round().and_then(|_| store.apply_round(0)).map(|_| ()),
            3 => store.journal_round().and_then(|_| store.apply_round(1)).map(|_| ()),
            _ if step % 2 == 0 => store.journal_round().and_then(|_| store.checkpoint()).map(|_| ()),
            _ => store.journal_round().and_then(|_| store.journal_round()).map(|_| ()),
        };
        if outcome.is_err() {
            break;
        }
    }
    if !disk.crashed() && random.one_in(2) {
        let _ = store.close();
    }
    result.acknowledged = calls.get();
    result
}

/// Every other seed flushes the whole file system where it can.
fn whole_or_not(seed: u64) -> StoreOptions {
    StoreOptions { whole_flush_files: if seed.is_multiple_of(2) { 1 } else { 1000 }, ..options() }
}

/// What is wrong after a start; also whether the last frame found had not been acknowledged.
fn check(disk: &SimDisk, run: &Run, seed: u64) -> Result<usize, String> {
    let (store, recovery) =
        Store::open(Arc::new(disk.clone()), whole_or_not(seed)).map_err(|error| error.to_string())?;
    if !recovery.damaged.is_empty() {
        return Err(format!("a crash was taken for damage: {recovery}"));
    }
    let mut found: Vec<(PartitionId, i64, Bytes)> = Vec::new();
    for partition in store.partitions() {
        let mut offset = 0;
        while offset < partition.published().high_watermark {
            let request = ReadRequest {
                offset,
                max_bytes: 1 << 20,
                isolation: Isolation::Uncommitted,
                min_one_batch: true,
            };
            let result = partition.read(request).map_err(|error| error.to_string())?;
            for batch in result.chunks.into_iter().flat_map(batches) {
                let batch = batch.map_err(|error| error.to_string())?;
                found.push((partition.id(), batch.header().base_offset, batch.bytes().clone()));
                offset = batch.header().next_offset();
            }
        }
    }
    found.sort();
    // The outcome has to be some prefix of the frames, each of them whole.
    for kept in (run.acknowledged..=run.frames.len()).rev() {
        let mut expected: Vec<_> = run.frames[..kept].iter().flatten().cloned().collect();
        expected.sort();
        if expected == found {
            return Ok(kept);
        }
    }
    Err(format!(
        "{} batches found, which is no prefix of {} frames, {} acknowledged",
        found.len(),
        run.frames.len(),
        run.acknowledged
    ))
}

/// Crashes at each call of the run, and again during the start after it.
fn crash_everywhere(seed: u64, faults: &Faults) -> Result<u64, String> {
    let mut call = 0;
    loop {
        call += 1;
        let disk = SimDisk::new(seed * 1000 + call);
        disk.set_faults(faults.clone());
        disk.crash_at(call);
        let outcome = run(&disk, seed);
        let crashed = disk.crashed();
        disk.restart();
        if call % 3 == 0 {
            disk.crash_at(disk.calls() + 1 + call % 11);
            let _ = check(&disk, &outcome, seed);
            disk.restart();
        }
        let kept =
            check(&disk, &outcome, seed).map_err(|problem| format!("seed {seed}, call {call}: {problem}"))?;
        let again =
            check(&disk, &outcome, seed).map_err(|problem| format!("seed {seed}, call {call}: {problem}"))?;
        assert_eq!(kept, again, "seed {seed}, call {call}: a start changes nothing");
        if !crashed {
            return Ok(call - 1);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_torn() {
    let mut calls = 0;
    for seed in 0..25 {
        calls += crash_everywhere(seed, &Faults::default()).unwrap_or_else(|problem| panic!("{problem}"));
    }
    assert!(calls > 1000, "{calls}");
}

#[test]
fn without_the_journals_flush_acknowledged_frames_are_lost() {
    let faults = Faults { lying_flushes: Some(".journal".to_owned()), ..Faults::default() };
    let violations = (0..5).filter(|&seed| crash_everywhere(seed, &faults).is_err()).count();
    assert_eq!(violations, 5, "a disk that lies has to be noticed");
}

#[test]
fn logs_and_disks_without_direct_io_do_the_same() {
    let faults = Faults { no_direct: true, short_reads: true, ..Faults::default() };
    for seed in 100..105 {
        crash_everywhere(seed, &faults).unwrap_or_else(|problem| panic!("{problem}"));
    }
    // The log's own type is part of the picture: it must stay usable from several threads.
    fn shared<T: Send + Sync>() {}
    shared::<PartitionLog>();
    shared::<Store>();
    shared::<Partition>();
}
