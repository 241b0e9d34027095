use super::*;
use crate::disk::sim::Faults;

#[test]
fn segment_files_are_the_batches_back_to_back() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..3).map(|_| maker.plain(2)).collect();
    log.append(&all[..1]).unwrap();
    log.append(&all[1..]).unwrap();
    let expected: Vec<u8> = all.iter().flat_map(|batch| batch.bytes().to_vec()).collect();
    assert_eq!(bench.file(FileKind::Log, 0), expected);
    assert_eq!((log.end_offset(), log.size_bytes()), (6, expected.len() as u64));
}

#[test]
fn a_new_directory_has_kafka_s_files() {
    let bench = Bench::new(1);
    let log = bench.create();
    assert_eq!(bench.names(), ["00000000000000000000.log", "partition.metadata"]);
    log.append(&[Maker::new().plain(1)]).unwrap();
    log.flush().unwrap();
    assert_eq!(
        bench.names(),
        [
            "00000000000000000000.log",
            "00000000000000000001.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
    let text = read_file(&*bench.disk, &directory().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, b"0\n1\n0 0\n");
    assert_eq!(log.topic_id(), topic());
}

#[test]
fn batches_must_go_on_where_the_log_ends() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let [first, second, third] = [maker.plain(2), maker.plain(1), maker.plain(1)];
    let error = log.append(std::slice::from_ref(&second)).unwrap_err();
    assert!(matches!(error, LogError::NotNext { expected: 0, found: 2, .. }), "{error}");
    let error = log.append(&[first.clone(), third.clone()]).unwrap_err();
    assert!(matches!(error, LogError::NotNext { expected: 2, found: 3, .. }), "{error}");
    assert_eq!(log.end_offset(), 0, "nothing of a wrong row is appended");
    log.append(&[first, second, third]).unwrap();
    assert_eq!(log.end_offset(), 4);
}

/// Index bytes, worked out by hand: batches of equal size, an entry for the first batch that begins more than 150 bytes
/// behind the last entry.
#[test]
fn index_and_time_index_bytes() {
    let mut bench = Bench::new(1);
    bench.options.segment_bytes = 100_000;
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..6).map(|i| maker.one(500 + i, 20)).collect();
    let size = all[0].size() as u32;
    assert!(all.iter().all(|b| b.size() as u32 == size) && (76..150).contains(&size), "{size}");
    log.append(&all).unwrap();
    log.flush().unwrap();
    // Two batches are more than 150 bytes: entries for batches 2 and 4.
    let offsets: Vec<u8> = [2u32, 2 * size, 4, 4 * size].into_iter().flat_map(u32::to_be_bytes).collect();
    assert_eq!(bench.file(FileKind::OffsetIndex, 0), offsets);
    let mut times = Vec::new();
    for (timestamp, offset) in [(502i64, 2u32), (504, 4)] {
        times.extend(timestamp.to_be_bytes());
        times.extend(offset.to_be_bytes());
    }
    assert_eq!(bench.file(FileKind::TimeIndex, 0), times);
}

#[test]
fn rolling_by_size_closes_the_files() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..8).map(|i| maker.one(100 - i, 150)).collect();
    // Four of them and no fifth fit a segment of 1000 bytes.
    assert!((200..250).contains(&all[0].size()));
    log.append(&all).unwrap();
    assert_eq!(
        bench.names().iter().filter(|name| name.ends_with(".log")).collect::<Vec<_>>(),
        ["00000000000000000000.log", "00000000000000000004.log"]
    );
    assert!(bench.names().contains(&"00000000000000000004.snapshot".to_owned()));
    // The largest timestamp is the first batch's, so the index has it once.
    let mut times = 100i64.to_be_bytes().to_vec();
    times.extend(0u32.to_be_bytes());
    assert_eq!(bench.file(FileKind::TimeIndex, 0), times);
    assert_eq!(bench.file(FileKind::OffsetIndex, 0).len(), 3 * 8);
    assert_eq!(read_all(&log, 0), all);
}

#[test]
fn rolling_by_time_index_and_distance() {
    let mut bench = Bench::new(1);
    bench.options = LogOptions { segment_ms: 1000, ..LogOptions::default() };
    let log = bench.create();
    let mut maker = Maker::new();
    let bases = |bench: &Bench| bench.names().iter().filter(|name| name.ends_with(".log")).count();
    log.append(&[maker.one(5_000, 10), maker.one(6_000, 10)]).unwrap();
    assert_eq!(bases(&bench), 1, "exactly the span still fits");
    log.append(&[maker.one(6_001, 10), maker.one(5_500, 10)]).unwrap();
    assert_eq!(bases(&bench), 2);

    let mut options = LogOptions { index_interval_bytes: 0, index_max_bytes: 36, ..LogOptions::default() };
    // The interval is one of the next segment.
    options.segment_bytes = 1;
    log.set_options(options);
    log.append(&[maker.one(6_000, 10), maker.one(6_000, 10)]).unwrap();
    assert_eq!(bases(&bench), 4, "a segment for each batch");
    options.segment_bytes = 1 << 20;
    log.set_options(options);
    for _ in 0..8 {
        log.append(&[maker.one(6_000, 10)]).unwrap();
    }
    assert_eq!(bases(&bench), 5, "four entries and no fifth: {:?}", bench.names());
    for name in bench.names().iter().filter(|name| name.ends_with("index")) {
        let length = bench.disk.file_len(&directory().join(name)).unwrap();
        assert!(length <= 36, "{name} has {length} bytes");
    }
    assert_eq!(read_all(&log, 0).len(), 14);
}

#[test]
fn a_full_disk_leaves_the_log_usable() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..9).map(|_| maker.plain(3)).collect();
    log.append(&all[..2]).unwrap();
    let used: u64 = bench.disk.files().iter().map(|(_, length)| length).sum();
    bench.disk.set_faults(Faults { capacity_bytes: Some(used + 300), ..Faults::default() });
    let error = log.append(&all[2..]).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(read_all(&log, 0), all[..2], "what was there can be read");
    bench.disk.set_faults(Default::default());
    let end = log.end_offset();
    let rest: Vec<Batch> = all.iter().filter(|batch| batch.header().base_offset >= end).cloned().collect();
    log.append(&rest).unwrap();
    assert_eq!(read_all(&log, 0), all);
}

#[test]
fn segments_before_the_start_can_be_removed() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..50)
        .map(|i| {
            maker.epoch = i / 20;
            maker.plain(2)
        })
        .collect();
    log.append(&all).unwrap();
    log.flush().unwrap();
    let closed = log.closed_segments().unwrap();
    assert!(closed.len() >= 3);
    assert!(closed.windows(2).all(|pair| pair[0].end_offset == pair[1].base_offset));
    assert_eq!(closed[0].max_timestamp, Some(1000 + (closed[0].end_offset - 1) * 10));
    assert_eq!(log.remove_segments_before_start(100).unwrap(), 0, "the start is 0");

    let inside = closed[2].base_offset + 1;
    assert_eq!(log.advance_log_start(inside), inside);
    assert_eq!(log.advance_log_start(3), inside, "never back");
    assert_eq!(log.remove_segments_before_start(0).unwrap(), 0, "nothing is known to be flushed");
    let freed = log.remove_segments_before_start(100).unwrap();
    assert_eq!(freed, closed[0].size_bytes + closed[1].size_bytes);
    assert!(matches!(log.read(inside - 1, 100, 100, true), Err(ReadError::OutOfRange { .. })));
    assert_eq!(read_all(&log, inside)[0].header().base_offset, closed[2].base_offset);
    log.flush().unwrap();
    let at = OpenAt { recovery_point: log.end_offset(), log_start_offset: inside, unjournaled: false };
    let (log, recovered) = PartitionLog::open(&bench.environment, directory(), bench.options, at).unwrap();
    assert_eq!((recovered.valid_end, recovered.tail), (100, None));
    assert_eq!(log.log_start_offset(), inside);
    assert_eq!(log.leader_epoch_at(inside), Some(inside as i32 / 40));

    log.advance_log_start(100);
    log.cut(100).unwrap();
    log.remove_segments_before_start(100).unwrap();
    assert_eq!(bench.names().iter().filter(|name| name.ends_with(".log")).count(), 1, "the last one stays");
    log.close_active().unwrap();
    log.close_active().unwrap();
    assert_eq!(log.remove_segments_before_start(99).unwrap(), 0);
    assert!(log.remove_segments_before_start(100).unwrap() > 0, "a closed one goes, and one is left");
    assert_eq!(bench.names().iter().filter(|name| name.ends_with(".log")).count(), 1);
    assert_eq!((log.log_start_offset(), log.end_offset()), (100, 100));
}

#[test]
fn nothing_new_needs_no_flush() {
    let bench = Bench::new(1);
    let log = bench.create();
    log.append(&[Maker::new().plain(1)]).unwrap();
    assert_eq!(log.flush().unwrap(), Flushed { end_offset: 1 });
    let again = log.prepare_flush().unwrap();
    assert!(again.files().is_empty() && again.directory().is_none());
    assert_eq!(again.finish().unwrap(), Flushed { end_offset: 1 });
}

#[test]
fn old_snapshots_are_removed_but_those_at_segments() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    for _ in 0..12 {
        log.append(&[maker.plain(2)]).unwrap();
        log.flush().unwrap();
    }
    log.checkpointed(22).unwrap();
    let mut expected: Vec<i64> = log.closed_segments().unwrap().iter().map(|s| s.end_offset).collect();
    expected.extend([22, 24]);
    expected.sort_unstable();
    expected.dedup();
    let snapshots: Vec<i64> = bench
        .names()
        .iter()
        .filter_map(|name| FileKind::parse(name))
        .filter_map(|(kind, offset)| (kind == FileKind::ProducerSnapshot).then_some(offset))
        .collect();
    assert_eq!(snapshots, expected);
}
