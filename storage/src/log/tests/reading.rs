use proptest::prelude::*;

use super::*;

fn filled(bench: &Bench, counts: &[usize]) -> (PartitionLog, Vec<Batch>) {
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = counts.iter().map(|count| maker.plain(*count)).collect();
    log.append(&all).unwrap();
    (log, all)
}

#[test]
fn an_offset_inside_a_batch_gives_the_whole_batch() {
    let bench = Bench::new(1);
    let (log, all) = filled(&bench, &[3, 4, 5]);
    for (offset, batch) in [(0, 0), (2, 0), (3, 1), (6, 1), (7, 2), (11, 2)] {
        assert_eq!(whole_batches(log.read(offset, 1, i64::MAX, true).unwrap()), all[batch..=batch]);
    }
    assert_eq!(log.read(12, 1000, i64::MAX, true).unwrap(), Vec::<Bytes>::new(), "the end is in range");
    let error = log.read(13, 1000, i64::MAX, true).unwrap_err();
    assert_eq!(error.to_string(), "offset 13 is out of range: the log has 0 to 12");
    assert!(matches!(log.read(-1, 1, 1, true), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn bounds_of_a_read() {
    let bench = Bench::new(1);
    let (log, all) = filled(&bench, &[2; 20]);
    let size = all[0].size();
    assert_eq!(
        log.read(0, size - 1, 100, false).unwrap(),
        Vec::<Bytes>::new(),
        "the first batch is too large"
    );
    assert_eq!(whole_batches(log.read(0, size - 1, 100, true).unwrap()), all[..1]);
    assert_eq!(whole_batches(log.read(0, size, 100, false).unwrap()), all[..1]);
    assert_eq!(
        whole_batches(log.read(4, 1 << 20, 9, false).unwrap()),
        all[2..4],
        "only batches wholly before 9"
    );
    assert_eq!(log.read(4, 1 << 20, 4, true).unwrap(), Vec::<Bytes>::new());
    assert_eq!(log.read(4, 1 << 20, 5, true).unwrap(), Vec::<Bytes>::new(), "no part of a batch");
    assert_eq!(log.read(4, 0, 100, false).unwrap(), Vec::<Bytes>::new());
}

#[test]
fn a_batch_larger_than_any_window() {
    let mut bench = Bench::new(1);
    bench.options.segment_bytes = 100 << 20;
    let log = bench.create();
    let mut maker = Maker::new();
    let all =
        [maker.one(1, 10), maker.one(2, 9 << 20), maker.one(3, 10), maker.one(4, 5 << 20), maker.one(5, 0)];
    log.append(&all).unwrap();
    for from in 0..5 {
        assert_eq!(read_all(&log, from as i64), all[from..]);
        assert_eq!(whole_batches(log.read(from as i64, 1, 100, true).unwrap()), all[from..=from]);
    }
}

#[test]
fn readers_and_a_writer_at_the_same_time() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..300).map(|_| maker.plain(3)).collect();
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (log, all) = (&log, &all);
            scope.spawn(move || {
                let mut next = 0;
                while next < all.len() {
                    let end = log.end_offset();
                    let read =
                        whole_batches(log.read(next as i64 * 3, 500 + reader * 400, end, true).unwrap());
                    assert_eq!(read, all[next..next + read.len()]);
                    assert!(!read.is_empty() || end == next as i64 * 3, "what is before the end can be read");
                    next += read.len();
                }
            });
        }
        for some in all.chunks(7) {
            log.append(some).unwrap();
            if some[0].header().base_offset % 5 == 0 {
                log.flush().unwrap();
            }
        }
    });
}

#[test]
fn finding_offsets_by_time() {
    let bench = Bench::new(1);
    let (log, _) = filled(&bench, &[3; 30]);
    let end = log.end_offset();
    // Record `offset` has timestamp 1000 + 10 × offset.
    for offset in [0, 1, 2, 3, 44, 45, 88, 89] {
        let expected = Some(TimestampOffset { offset, timestamp: 1000 + offset * 10 });
        assert_eq!(log.offset_for_timestamp(1000 + offset * 10, end).unwrap(), expected);
        assert_eq!(
            log.offset_for_timestamp(1000 + offset * 10 - 9, end).unwrap(),
            expected,
            "the next at or behind"
        );
    }
    assert_eq!(log.offset_for_timestamp(0, end).unwrap().unwrap().offset, 0);
    assert_eq!(log.offset_for_timestamp(1000 + end * 10, end).unwrap(), None);
    assert_eq!(log.offset_for_timestamp(1300, 30).unwrap(), None, "offset 30 is not before 30");
    assert_eq!(log.max_timestamp(end).unwrap(), Some(TimestampOffset { offset: 89, timestamp: 1890 }));
    assert_eq!(
        log.max_timestamp(31).unwrap().unwrap().offset,
        29,
        "the batch of 30 to 32 is not wholly before 31"
    );
    assert_eq!(log.max_timestamp(0).unwrap(), None);
}

#[test]
fn the_largest_timestamp_may_be_anywhere() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let times = [50, 70, 20, 90, 90, 10, 30, 80, 60, 40];
    let all: Vec<Batch> = times.map(|t| maker.one(t, 150)).to_vec();
    log.append(&all).unwrap();
    assert_eq!(log.max_timestamp(10).unwrap(), Some(TimestampOffset { offset: 3, timestamp: 90 }));
    assert_eq!(log.max_timestamp(3).unwrap(), Some(TimestampOffset { offset: 1, timestamp: 70 }));
    assert_eq!(log.offset_for_timestamp(75, 10).unwrap(), Some(TimestampOffset { offset: 3, timestamp: 90 }));
    log.advance_log_start(5);
    assert_eq!(log.max_timestamp(10).unwrap(), Some(TimestampOffset { offset: 7, timestamp: 80 }));
    assert_eq!(log.offset_for_timestamp(75, 10).unwrap(), Some(TimestampOffset { offset: 7, timestamp: 80 }));
}

#[test]
fn leader_epochs_are_known_after_a_restart() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    for epoch in [0, 0, 2, 5] {
        maker.epoch = epoch;
        log.append(&[maker.plain(10)]).unwrap();
    }
    let check = |log: &PartitionLog| {
        assert_eq!(log.last_leader_epoch(), Some(5));
        assert_eq!(log.end_offset_for_epoch(0, 40), Some((0, 20)));
        assert_eq!(log.end_offset_for_epoch(4, 40), Some((2, 30)));
        assert_eq!(log.leader_epoch_at(29), Some(2));
    };
    check(&log);
    log.flush().unwrap();
    drop(log);
    check(&bench.reopen(40));
    bench.disk.remove_file(&directory().join("leader-epoch-checkpoint")).unwrap();
    let (log, recovered) = bench.open(40).unwrap();
    check(&log);
    assert_eq!(recovered.rebuilt, [directory().join("leader-epoch-checkpoint")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any read gives what a plain list of batches says it should.
    #[test]
    fn reads_agree_with_a_list(
        counts in proptest::collection::vec(1..12usize, 1..60),
        reads in proptest::collection::vec((0..400i64, 0..3000usize, 0..400i64, any::<bool>()), 20),
        reopen: bool,
    ) {
        let bench = Bench::new(1);
        let (mut log, all) = filled(&bench, &counts);
        if reopen {
            log.flush().unwrap();
            log = bench.reopen(log.end_offset());
        }
        let end = log.end_offset();
        for (offset, max_bytes, upper, min_one) in reads {
            let offset = offset % (end + 1);
            let mut expected = Vec::new();
            let mut bytes = 0;
            for batch in all.iter().filter(|batch| batch.header().last_offset() >= offset) {
                let fits = bytes + batch.size() <= max_bytes || min_one && expected.is_empty();
                if batch.header().next_offset() > upper || !fits {
                    break;
                }
                bytes += batch.size();
                expected.push(batch.clone());
            }
            prop_assert_eq!(whole_batches(log.read(offset, max_bytes, upper, min_one).unwrap()), expected);
        }
    }
}
