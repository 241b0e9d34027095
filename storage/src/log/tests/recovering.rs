use super::*;

fn make(count: usize) -> Vec<Batch> {
    let mut maker = Maker::new();
    (0..count as i64)
        .map(|i| match i % 5 {
            0 => maker.plain(2),
            4 => maker.marker(7, i as i16 + 1, i % 2 == 0),
            _ => maker.data(Some((7, (i / 5 * 5) as i16, 0)), true, 1 + (i % 3) as usize),
        })
        .collect()
}

/// What a log knows, to be compared before and after a restart.
fn knowledge(log: &PartitionLog) -> (Vec<Batch>, Vec<ProducerView>, Vec<AbortedTransaction>, Option<i32>) {
    let aborted = log.aborted_transactions(0, i64::MAX).unwrap();
    (read_all(log, 0), log.producers(), aborted, log.last_leader_epoch())
}

/// A log with these batches, appended without a stop.
fn as_if_never_stopped(
    all: &[Batch],
) -> (Vec<Batch>, Vec<ProducerView>, Vec<AbortedTransaction>, Option<i32>) {
    let bench = Bench::new(1);
    let log = bench.create();
    log.append(all).unwrap();
    knowledge(&log)
}

#[test]
fn opening_after_a_clean_stop() {
    let bench = Bench::new(1);
    let log = bench.create();
    let all = make(40);
    log.append(&all).unwrap();
    log.flush().unwrap();
    let before = knowledge(&log);
    let end = log.end_offset();
    drop(log);
    let (log, recovered) = bench.open(end).unwrap();
    assert_eq!(
        recovered,
        Recovered { valid_end: end, scanned_bytes: 0, tail: None, damaged: vec![], rebuilt: vec![] }
    );
    log.cut(end).unwrap();
    assert_eq!(knowledge(&log), before);
}

#[test]
fn late_duplicates_are_recognised_after_a_restart() {
    // With three records a batch, the second case has a new segment begin among the five.
    for count in [1, 3, 9] {
        let bench = Bench::new(1);
        let log = bench.create();
        let mut maker = Maker::new();
        let all: Vec<Batch> =
            (0..9).map(|i| maker.data(Some((9, 0, i * count as i32)), false, count)).collect();
        log.append(&all).unwrap();
        let end = log.flush().unwrap().end_offset;
        let before = log.producer_state();
        drop(log);
        assert_eq!(bench.reopen(end).producer_state(), before, "{count} records");
    }
}

/// The heart of it: the last segment torn at every byte, with every recovery point before it; then the journal's batches
/// are replayed, and everything is as if nothing had happened.
#[test]
fn torn_at_every_byte_and_replayed() {
    let all = make(23);
    let expected = as_if_never_stopped(&all);
    for flushed in [0, 3, 9] {
        let bench = Bench::new(1);
        let log = bench.create();
        log.append(&all[..flushed]).unwrap();
        let recovery_point = log.flush().unwrap().end_offset;
        log.append(&all[flushed..]).unwrap();
        let (base, size) = {
            let last = log.closed_segments().unwrap().last().map_or(0, |segment| segment.end_offset);
            (last, bench.file(FileKind::Log, last).len())
        };
        assert!(base > recovery_point);
        let files: Vec<(PathBuf, Vec<u8>)> = bench
            .names()
            .into_iter()
            .map(|name| directory().join(name))
            .map(|path| (path.clone(), read_file(&*bench.disk, &path).unwrap()))
            .collect();
        drop(log);
        let path = bench.path(FileKind::Log, base);
        for cut in 0..size {
            // Torn three ways: short, zeros, and other bytes.
            for fill in [None, Some(0), Some(0xaa)] {
                let bench = Bench::new(1);
                bench.create();
                for (path, bytes) in &files {
                    bench.disk.plant(path, bytes).unwrap();
                }
                let mut torn = bench.file(FileKind::Log, base);
                torn.truncate(cut);
                if let Some(fill) = fill {
                    torn.resize(size, fill);
                }
                bench.disk.plant(&path, &torn).unwrap();
                check_torn(&bench, recovery_point, &all, base, &expected);
            }
        }
    }
}

fn check_torn(
    bench: &Bench,
    recovery_point: i64,
    all: &[Batch],
    base: i64,
    expected: &(Vec<Batch>, Vec<ProducerView>, Vec<AbortedTransaction>, Option<i32>),
) {
    let torn = bench.file(FileKind::Log, base);
    let (log, recovered) = bench.open(recovery_point).unwrap();
    // Valid is what is whole.
    let whole: i64 = {
        let mut end = base;
        let mut position = 0;
        for batch in all.iter().filter(|batch| batch.header().base_offset >= base) {
            if torn.get(position..position + batch.size()) != Some(&batch.bytes()[..]) {
                break;
            }
            position += batch.size();
            end = batch.header().next_offset();
        }
        if position < torn.len() {
            let tail = recovered.tail.as_ref().expect("bytes are left over");
            assert_eq!((tail.position, tail.bytes), (position as u64, (torn.len() - position) as u64));
        } else {
            assert_eq!(recovered.tail, None);
        }
        end
    };
    assert_eq!(recovered.valid_end, whole);
    assert_eq!(bench.file(FileKind::Log, base), torn, "opening cuts nothing");
    for batch in all {
        let there = batch.header().next_offset() <= whole;
        let replayed = log.replay(batch).unwrap();
        assert_eq!(replayed, if there { Replayed::Present } else { Replayed::Written });
    }
    let end = log.end_offset();
    log.cut(end).unwrap();
    assert_eq!(&knowledge(&log), expected);
    log.flush().unwrap();
    drop(log);
    assert_eq!(&knowledge(&bench.reopen(end)), expected);
}

/// Without a journal, as in page-cache mode: what is torn is gone, and the log goes on from there.
#[test]
fn torn_and_cut() {
    let all = make(33);
    let bench = Bench::new(1);
    let log = bench.create();
    log.append(&all[..4]).unwrap();
    let recovery_point = log.flush().unwrap().end_offset;
    log.append(&all[4..]).unwrap();
    let closed = log.closed_segments().unwrap();
    drop(log);
    // In the middle of the second segment: later segments are whole, and gone all the same.
    let base = closed[1].base_offset;
    let whole = all.iter().find(|batch| batch.header().base_offset == base).unwrap().size() as u64;
    bench.disk.rot(&bench.path(FileKind::Log, base), whole + 70, 0xff).unwrap();
    let (log, recovered) = bench.open(recovery_point).unwrap();
    let end = recovered.valid_end;
    assert!(end > base && end < closed[1].end_offset);
    let tail = recovered.tail.unwrap();
    assert_eq!(tail.file, bench.path(FileKind::Log, base));
    assert!(tail.reason.contains("checksum"), "{}", tail.reason);
    log.cut(end).unwrap();
    assert!(bench.names().iter().all(|name| FileKind::parse(name).is_none_or(|(_, offset)| offset <= end)));

    let kept: Vec<Batch> = all.iter().filter(|batch| batch.header().next_offset() <= end).cloned().collect();
    assert_eq!(knowledge(&log), as_if_never_stopped(&kept));
    let mut maker = Maker { next_offset: end, epoch: 1 };
    let more: Vec<Batch> = (0..10).map(|_| maker.plain(2)).collect();
    log.append(&more).unwrap();
    log.flush().unwrap();
    let all = [kept, more].concat();
    assert_eq!(knowledge(&log), as_if_never_stopped(&all));
    let end = log.end_offset();
    drop(log);
    assert_eq!(knowledge(&bench.reopen(end)), as_if_never_stopped(&all));
}

#[test]
fn cut_at_every_offset() {
    let all = make(30);
    for cut in 0..all.last().unwrap().header().next_offset() {
        let bench = Bench::new(1);
        let log = bench.create();
        log.append(&all[..17]).unwrap();
        let recovery_point = log.flush().unwrap().end_offset;
        log.append(&all[17..]).unwrap();
        drop(log);
        let (log, _) = bench.open(recovery_point).unwrap();
        let kept: Vec<Batch> =
            all.iter().filter(|batch| batch.header().next_offset() <= cut).cloned().collect();
        let end = kept.last().map_or(0, |batch| batch.header().next_offset());
        assert_eq!(log.cut(cut).unwrap(), end, "cut at {cut}");
        assert_eq!(log.end_offset(), end);
        assert_eq!(knowledge(&log), as_if_never_stopped(&kept), "cut at {cut}");
        log.append(&[Maker { next_offset: end, epoch: 3 }.plain(1)]).unwrap();
        log.flush().unwrap();
        let again = bench.reopen(end + 1);
        assert_eq!(read_all(&again, 0).len(), kept.len() + 1);
        assert_eq!(again.last_leader_epoch(), Some(3));
    }
}

#[test]
fn a_lost_segment_name_is_a_hole() {
    let all = make(33);
    let expected = as_if_never_stopped(&all);
    for lost in 0..3 {
        let bench = Bench::new(1);
        let log = bench.create();
        log.flush().unwrap();
        log.append(&all).unwrap();
        let base = log.closed_segments().unwrap()[lost].base_offset;
        drop(log);
        bench.disk.remove_file(&bench.path(FileKind::Log, base)).unwrap();
        let (log, recovered) = bench.open(0).unwrap();
        assert_eq!(recovered.valid_end, base);
        for batch in &all {
            log.replay(batch).unwrap();
        }
        log.cut(log.end_offset()).unwrap();
        assert_eq!(knowledge(&log), expected);
    }
}

#[test]
fn replay_notices_gaps_and_other_batches() {
    let bench = Bench::new(1);
    let log = bench.create();
    let all = make(6);
    log.append(&all[..4]).unwrap();
    let error = log.replay(&all[5]).unwrap_err();
    assert!(matches!(error, LogError::NotNext { .. }), "{error}");
    let mut maker = Maker { next_offset: all[2].header().base_offset, epoch: 0 };
    let error = log.replay(&maker.plain(1)).unwrap_err();
    assert!(
        matches!(&error, LogError::Diverged { position, .. }
        if *position == (all[0].size() + all[1].size()) as u64),
        "{error}"
    );
    assert_eq!(read_all(&log, 0), all[..4]);
}

#[test]
fn data_lost_below_the_recovery_point_costs_its_own_offsets() {
    let lengths = |length: usize| [Some(length - 1), Some(0), None];
    let example = || {
        let bench = Bench::new(1);
        let log = bench.create();
        let all = make(23);
        log.append(&all).unwrap();
        let end = log.flush().unwrap().end_offset;
        let last = log.active().base_offset();
        drop(log);
        let bytes = bench.file(FileKind::Log, last);
        (bench, all, end, last, bytes)
    };
    for length in lengths(example().4.len()) {
        let (bench, all, end, last, bytes) = example();
        let path = bench.path(FileKind::Log, last);
        match length {
            Some(length) => bench.disk.plant(&path, &bytes[..length]).unwrap(),
            None => bench.disk.remove_file(&path).unwrap(),
        }
        let mut expected = all.clone();
        for round in 0..3 {
            let (log, recovered) = bench.open(end).unwrap();
            log.cut(recovered.valid_end.max(log.end_offset())).unwrap();
            assert_eq!(recovered.damaged.len(), 1, "{length:?}, start {round}: {:?}", recovered.damaged);
            let error = log.read(end - 1, usize::MAX, i64::MAX, true).unwrap_err();
            assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
            let before = read_all(&log, 0);
            assert_eq!(before, all[..before.len()], "what is left of it is read");
            assert!(before.last().unwrap().header().next_offset() >= last);
            // What is appended behind the loss is a log like any other.
            let next = Maker { next_offset: log.end_offset(), epoch: 0 }.plain(2);
            log.append(std::slice::from_ref(&next)).unwrap();
            expected.push(next);
            assert_eq!(read_all(&log, end), expected[all.len()..]);
            if round > 0 {
                log.flush().unwrap();
            }
            if let Some(length) = length {
                assert_eq!(bench.file(FileKind::Log, last), bytes[..length], "nothing was changed");
            }
        }
    }
}

#[test]
fn a_loss_with_the_producers_or_of_all_segments_is_an_error() {
    let bench = Bench::new(1);
    let log = bench.create();
    log.append(&make(23)).unwrap();
    let end = log.flush().unwrap().end_offset;
    let last = log.active().base_offset();
    drop(log);
    let bytes = bench.file(FileKind::Log, last);
    bench.disk.plant(&bench.path(FileKind::Log, last), &bytes[..bytes.len() - 1]).unwrap();
    bench.disk.remove_file(&bench.path(FileKind::ProducerSnapshot, end)).unwrap();
    let error = bench.open(end).unwrap_err();
    assert!(
        matches!(&error, LogError::LostBelowRecoveryPoint { recovery_point, .. } if *recovery_point == end)
    );
    assert!(error.to_string().contains("truncated batch"), "{error}");
    assert_eq!(bench.file(FileKind::Log, last), bytes[..bytes.len() - 1], "nothing was changed");

    for name in bench.names().iter().filter(|name| name.ends_with(".log") || **name == SEGMENT_MANIFEST) {
        bench.disk.remove_file(&directory().join(name)).unwrap();
    }
    let error = bench.open(end).unwrap_err();
    assert!(matches!(error, LogError::LostBelowRecoveryPoint { valid_end: 0, .. }), "{error}");
}

#[test]
fn leftovers_are_removed_and_missing_metadata_is_an_error() {
    let bench = Bench::new(1);
    let log = bench.create();
    log.append(&make(3)).unwrap();
    let end = log.flush().unwrap().end_offset;
    drop(log);
    for name in [
        "00000000000000000009.log.deleted",
        "00000000000000000000.log.cleaned",
        "x.tmp",
        "00000000000000000099.index",
    ] {
        bench.disk.plant(&directory().join(name), b"x").unwrap();
    }
    bench.disk.plant(&directory().join("readme.txt"), b"not ours").unwrap();
    bench.reopen(end);
    let names = bench.names();
    assert!(
        !names.iter().any(|name| name.contains("99") || name.ends_with(".tmp") || name.ends_with("ed")),
        "{names:?}"
    );
    assert!(names.contains(&"readme.txt".to_owned()));

    bench.disk.plant(&directory().join("partition.metadata"), b"version: 0\ntopic_id: ?\n").unwrap();
    let error = bench.open(end).unwrap_err();
    assert!(matches!(error, LogError::Metadata { .. }), "{error}");
}

#[test]
fn a_snapshot_that_may_not_have_reached_the_device_is_written_again() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    log.append(&[maker.data(Some((1, 0, 0)), true, 2)]).unwrap();
    let settled = log.flush().unwrap().end_offset;
    log.append(&[maker.plain(3)]).unwrap();
    let end = log.flush().unwrap().end_offset;
    drop(log);
    // As a crash leaves it: the name is there, the bytes are not.
    bench.disk.plant(&bench.path(FileKind::ProducerSnapshot, end), &[0; 56]).unwrap();
    let log = bench.reopen(settled);
    assert_eq!(log.flush().unwrap().end_offset, end);
    let producers = Producers::decode_snapshot(&bench.file(FileKind::ProducerSnapshot, end)).unwrap();
    assert_eq!(producers.open_transactions().first_offset(), Some(0));
}

#[test]
fn producers_are_known_at_every_checkpoint_whatever_is_flushed_and_removed_behind_it() {
    let bench = Bench::new(1);
    let mut maker = Maker::new();
    let mut sequence = 0;
    let mut idempotent = |count: usize| -> Vec<Batch> {
        (0..count)
            .map(|_| {
                sequence += 2;
                maker.data(Some((7, 0, sequence - 2)), false, 2)
            })
            .collect()
    };
    let log = bench.create();
    log.append(&[Maker::new().plain(2)]).unwrap();
    drop(idempotent(1));
    let begun = log.flush().unwrap().end_offset;
    // Segments behind the recovery point, found again by a start.
    log.append(&idempotent(30)).unwrap();
    drop(log);
    let log = bench.reopen(begun);
    let checkpointed = log.flush().unwrap().end_offset;
    log.checkpointed(checkpointed).unwrap();
    let expected = log.producers();
    assert_eq!(expected.len(), 1);
    let holding = log.active().base_offset();
    // Segments are closed, and removing some of the old ones flushes, without a checkpoint.
    for _ in 0..3 {
        log.append(&idempotent(12)).unwrap();
        log.flush().unwrap();
    }
    log.advance_log_start(holding + 1);
    log.remove_segments_before_start(checkpointed).unwrap();
    let now = log.producers();
    drop(log);
    let (log, recovered) = bench.open(checkpointed).unwrap();
    log.cut(recovered.valid_end).unwrap();
    assert_eq!(log.producers(), now);
    drop(log);
    let at = OpenAt { recovery_point: checkpointed, log_start_offset: holding + 1, unjournaled: false };
    let (log, _) = PartitionLog::open(&bench.environment, directory(), bench.options, at).unwrap();
    log.cut(checkpointed).unwrap();
    assert_eq!(log.producers(), expected, "also when nothing behind the checkpoint is left");
}
