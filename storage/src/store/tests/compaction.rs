//! Compaction: whatever is written and however often it is compacted, a reader finds the same last values.

mod histories;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use logmill_record::Codec;

use super::*;
use crate::log::{Cleanup, KeyMap};
use crate::{Compacted, Compaction};

/// A time later than every record's.
const NOW: i64 = 1_000_000;
const RETENTION: i64 = 5000;
const LARGE_MAP: usize = 1 << 20;
const SMALLEST_MAP: usize = 0;

fn compacted_options() -> LogOptions {
    LogOptions {
        segment_bytes: 700,
        index_interval_bytes: 128,
        cleanup: Cleanup { delete: false, compact: true },
        compaction: Compaction {
            min_dirty_ratio: 0.0,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: RETENTION,
        },
        ..LogOptions::default()
    }
}

/// A store that serves nothing from memory that is in the segments.
fn open(disk: &SimDisk) -> (Arc<Store>, Recovery) {
    let options = StoreOptions { tail_bytes: 0, ..options() };
    let (store, recovery) = Store::open(Arc::new(disk.clone()), options).unwrap();
    assert!(recovery.damaged.is_empty(), "compaction was taken for damage: {recovery}");
    (store, recovery)
}

fn compacted(store: &Store) -> Partition {
    let spec = PartitionSpec { id: id(1, 0), topic_name: "topic1".to_owned(), options: compacted_options() };
    store.create_partition(spec).unwrap()
}

/// Records of (key, value); a tombstone has none.
fn keyed(options: BatchOptions, records: &[(&str, Option<&str>)]) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for (number, (key, value)) in records.iter().enumerate() {
        let header: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"x"))];
        builder.push(1000 + number as i64, Some(key.as_bytes()), value.map(str::as_bytes), header);
    }
    builder.build()
}

fn plain(records: &[(&str, Option<&str>)]) -> Batch {
    keyed(BatchOptions::default(), records)
}

fn of_producer(id: i64, sequence: i32, transactional: bool, records: &[(&str, Option<&str>)]) -> Batch {
    let producer = Some(ProducerStamp { id, epoch: 0, sequence });
    keyed(BatchOptions { producer, transactional, ..BatchOptions::default() }, records)
}

fn put(store: &Store, batch: Batch) -> i64 {
    commit_one(store, id(1, 0), batch, PLAIN).unwrap().base_offset
}

fn begin(store: &Store, batch: Batch) -> i64 {
    let begins = Check::Client { begins: true, transaction_v2: false };
    commit_one(store, id(1, 0), batch, begins).unwrap().base_offset
}

fn end(store: &Store, producer: i64, commit: bool) {
    commit_one(store, id(1, 0), marker(producer, 0, commit), MARKER).unwrap();
}

/// Fills the active segment up with records of no interest, so that what lies before is sealed, and makes a checkpoint.
fn seal(store: &Store) {
    settle(store);
    let filler = "f".repeat(680);
    put(store, plain(&[("filler", Some(&filler))]));
    put(store, plain(&[("filler", Some(&filler))]));
    settle(store);
    store.checkpoint().unwrap();
}

fn compact(store: &Store, now: i64, map_bytes: usize) -> Option<Compacted> {
    let mut map = KeyMap::new(map_bytes);
    let round = store.compact(now, &mut map, &AtomicBool::new(false)).unwrap();
    assert!(round.failed.is_empty(), "{:?}", round.failed);
    round.compacted.first().map(|(_, compacted)| *compacted)
}

/// Until there is nothing left to do.
fn compact_all(store: &Store, now: i64, map_bytes: usize) {
    for _ in 0..200 {
        match compact(store, now, map_bytes) {
            Some(done) if done.more => {}
            _ => return,
        }
    }
    panic!("compaction gets nowhere");
}

/// A record as a reader of committed data sees it: offset, key, value.
type Seen = (i64, String, Option<String>);

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All batches, markers and empty ones too.
fn all_batches(partition: &Partition) -> Vec<Batch> {
    let mut all: Vec<Batch> = Vec::new();
    let mut offset = partition.published().log_start_offset;
    loop {
        let result = read(partition, offset, Isolation::Uncommitted);
        let more: Vec<Batch> =
            result.chunks.iter().flat_map(|chunk| batches(chunk.clone())).collect::<Result<_, _>>().unwrap();
        let Some(last) = more.last() else { return all };
        offset = last.header().next_offset();
        all.extend(more);
    }
}

/// What a consumer of committed data sees, from the beginning, by Kafka's rules for consumers.
fn seen(partition: &Partition) -> Vec<Seen> {
    let mut records = Vec::new();
    let mut offset = partition.published().log_start_offset;
    loop {
        let request =
            ReadRequest { offset, max_bytes: 1000, isolation: Isolation::Committed, min_one_batch: true };
        let result = partition.read(request).unwrap();
        let mut aborted = result.aborted.clone();
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let mut dropping = Vec::new();
        let before = offset;
        for batch in result.chunks.iter().flat_map(|chunk| batches(chunk.clone())) {
            let batch = batch.unwrap();
            let header = batch.header();
            offset = header.next_offset();
            while let Some(next) = aborted.pop_if(|next| next.first_offset <= header.last_offset()) {
                dropping.push(next.producer_id);
            }
            if header.is_control() {
                if EndTxnMarker::from_batch(&batch).is_ok_and(|marker| !marker.commit) {
                    dropping.retain(|producer| *producer != header.producer_id);
                }
                continue;
            }
            if header.is_transactional() && dropping.contains(&header.producer_id) {
                continue;
            }
            for record in batch.records(1 << 20).unwrap() {
                assert_eq!(record.headers.len(), 1, "headers stay");
                let (key, value) = (record.key.as_ref().map(text).unwrap(), record.value.as_ref().map(text));
                records.push((record.offset, key, value));
            }
        }
        if offset == before {
            return records;
        }
    }
}

fn last_values(records: &[Seen]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (_, key, value) in records {
        match value {
            Some(value) => drop(values.insert(key.clone(), value.clone())),
            None => drop(values.remove(key)),
        }
    }
    values
}

fn offsets_of(records: &[Seen], key: &str) -> Vec<i64> {
    records.iter().filter(|(_, found, _)| found == key).map(|(offset, ..)| *offset).collect()
}

fn segment_files(disk: &SimDisk) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    disk.files().iter().map(|(path, _)| name(path)).filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn of_each_key_the_last_record_stays_at_its_offset() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    for round in 0..30 {
        put(&store, plain(&[("a", Some(&format!("a{round}"))), ("b", Some(&format!("b{round}")))]));
    }
    let once = put(&store, plain(&[("once", Some("1"))]));
    seal(&store);
    let before = seen(&partition);
    let files = segment_files(&disk).len();
    let done = compact(&store, NOW, LARGE_MAP).unwrap();
    assert!(done.bytes_after < done.bytes_before / 3, "{done:?}");
    assert!(!done.more && done.records_dropped >= 58, "{done:?}");
    let after = seen(&partition);
    assert_eq!(last_values(&after), last_values(&before));
    assert!(after.iter().all(|record| before.contains(record)), "offsets and values are what they were");
    assert_eq!([offsets_of(&after, "a"), offsets_of(&after, "b")], [vec![58], vec![59]]);
    assert_eq!(offsets_of(&after, "once"), [once]);
    assert_eq!(partition.published().log_start_offset, 0);
    assert_eq!(
        offsets(&read(&partition, 3, Isolation::Uncommitted)).first(),
        Some(&58),
        "a gap gives what follows"
    );
    assert_eq!(compact(&store, NOW, LARGE_MAP), None, "nothing is dirty");

    // It is as it is after a start, too, and how far it was compacted is known.
    drop((store, partition));
    disk.restart();
    let (store, _) = open(&disk);
    let partition = store.partition(id(1, 0)).unwrap();
    store.set_options(id(1, 0), compacted_options()).unwrap();
    assert_eq!(seen(&partition), after);
    assert_eq!(compact(&store, NOW, LARGE_MAP), None);
    seal(&store);
    compact(&store, NOW, LARGE_MAP).unwrap();
    assert!(segment_files(&disk).len() < files, "segments that became small are put together");
}

#[test]
fn what_does_not_change_stays_byte_for_byte_and_what_does_keeps_its_codec() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    let compressed = |records: &[(&str, Option<&str>)]| {
        keyed(BatchOptions { codec: Codec::Lz4, ..BatchOptions::default() }, records)
    };
    put(&store, compressed(&[("a", Some("1")), ("b", Some("1"))]));
    put(&store, compressed(&[("a", Some("2")), ("c", Some("2"))]));
    seal(&store);
    let before = all_batches(&partition);
    compact(&store, NOW, LARGE_MAP).unwrap();
    let after = all_batches(&partition);
    assert_eq!(after[1], before[1]);
    let header = after[0].header();
    assert_eq!((header.base_offset, header.last_offset(), header.count), (0, 1, 1));
    assert_eq!(header.codec(), Ok(Codec::Lz4));
    assert_eq!(after[0].records(1 << 20).unwrap()[0].offset, 1);
}

#[test]
fn a_tombstone_stays_until_its_time_is_over() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    put(&store, plain(&[("a", Some("1")), ("b", Some("1"))]));
    let tombstone = put(&store, plain(&[("a", None)]));
    seal(&store);
    let done = compact(&store, NOW, LARGE_MAP).unwrap();
    assert_eq!(done.next_horizon, Some(NOW + RETENTION));
    assert_eq!(offsets_of(&seen(&partition), "a"), [tombstone], "the value is gone, the tombstone is not");
    let marked = all_batches(&partition).into_iter().find(|b| b.header().base_offset == tombstone).unwrap();
    assert!(marked.header().attributes.has_delete_horizon());
    assert_eq!(marked.header().base_timestamp, NOW + RETENTION);
    assert_eq!(marked.records(1 << 20).unwrap()[0].timestamp, 1000, "its time is its own");
    assert_eq!(compact(&store, NOW + RETENTION - 1, LARGE_MAP), None);
    assert!(compact(&store, NOW + RETENTION, LARGE_MAP).is_some(), "due by its time alone");
    assert!(offsets_of(&seen(&partition), "a").is_empty());
    assert_eq!(last_values(&seen(&partition))["b"], "1");
}

#[test]
fn markers_stay_as_long_as_their_data_and_a_while_longer() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    begin(&store, of_producer(9, 0, true, &[("a", Some("committed"))]));
    end(&store, 9, true);
    begin(&store, of_producer(9, 1, true, &[("a", Some("aborted"))]));
    end(&store, 9, false);
    // The producer goes on, so that nothing is kept for its sake.
    put(&store, of_producer(9, 2, false, &[("z", Some("1"))]));
    seal(&store);
    let markers = |partition: &Partition| -> Vec<i64> {
        let control = |batch: &Batch| batch.header().is_control() && batch.header().count > 0;
        all_batches(partition).iter().filter(|b| control(b)).map(|b| b.header().base_offset).collect()
    };
    compact_all(&store, NOW, LARGE_MAP);
    assert_eq!(markers(&partition), [1, 3]);
    assert_eq!(last_values(&seen(&partition))["a"], "committed");
    assert_eq!(offsets(&read(&partition, 0, Isolation::Uncommitted))[..3], [0, 1, 3], "aborted data is gone");
    // Now there is no data of the aborted one; its marker gets its time.
    put(&store, plain(&[("b", Some("1"))]));
    seal(&store);
    compact_all(&store, NOW + 1, LARGE_MAP);
    assert_eq!(markers(&partition), [1, 3]);
    put(&store, plain(&[("b", Some("2"))]));
    seal(&store);
    compact_all(&store, NOW + 1 + RETENTION, LARGE_MAP);
    assert_eq!(markers(&partition), [1], "the committed data is still there");
    assert_eq!(last_values(&seen(&partition))["a"], "committed");
}

#[test]
fn nothing_is_touched_behind_an_open_transaction_or_too_young() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    put(&store, plain(&[("a", Some("1"))]));
    begin(&store, of_producer(9, 0, true, &[("t", Some("1"))]));
    put(&store, plain(&[("a", Some("2"))]));
    seal(&store);
    put(&store, plain(&[("a", Some("3"))]));
    seal(&store);
    assert_eq!(compact(&store, NOW, LARGE_MAP), None, "the first segment has an open transaction");
    end(&store, 9, true);
    seal(&store);
    let mut lagging = compacted_options();
    lagging.compaction.min_lag_ms = 1000;
    store.set_options(id(1, 0), lagging).unwrap();
    assert_eq!(compact(&store, 1900, LARGE_MAP), None, "records of 1000 are too young");
    compact(&store, 2001, LARGE_MAP).unwrap();
    assert_eq!(offsets_of(&seen(&partition), "a").len(), 1);
    assert_eq!(last_values(&seen(&partition))["a"], "3");
}

#[test]
fn a_damaged_segment_is_not_compacted_and_keeps_everything() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    for round in 0..30 {
        put(&store, plain(&[("a", Some(&format!("value {round}")))]));
    }
    seal(&store);
    let file = path("topic1-0/00000000000000000000.log");
    disk.rot(&file, 80, 1).unwrap();
    let before: Vec<_> = disk.files().into_iter().filter(|(path, _)| *path == file).collect();
    let round = store.compact(NOW, &mut KeyMap::new(LARGE_MAP), &AtomicBool::new(false)).unwrap();
    assert!(round.compacted.is_empty());
    assert!(matches!(round.failed[0].1, crate::LogError::Corrupt(_)), "{:?}", round.failed);
    let after: Vec<_> = disk.files().into_iter().filter(|(path, _)| *path == file).collect();
    assert_eq!(before, after);
    assert!(disk.files().iter().all(|(path, _)| path.extension().is_none_or(|ext| ext != "cleaned")));
    assert!(partition.published().high_watermark > 30);
}

/// KAFKA-13727: the map is full inside an aborted transaction whose marker lies in the part that is rewritten.
#[test]
fn kafka_13727_a_partial_pass_does_not_bring_aborted_data_back() {
    for fill in 0..30 {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        let partition = compacted(&store);
        for number in 0..fill {
            put(&store, plain(&[(&format!("key{number}"), Some("1"))]));
        }
        begin(&store, of_producer(9, 0, true, &[("a", Some("aborted")), ("b", Some("aborted"))]));
        for number in 0..6 {
            put(&store, plain(&[(&format!("other{number}"), Some("1"))]));
        }
        put(&store, of_producer(9, 2, true, &[("c", Some("aborted"))]));
        end(&store, 9, false);
        seal(&store);
        for pass in 0..40 {
            compact(&store, NOW + pass * 2 * RETENTION, SMALLEST_MAP);
            let records = seen(&partition);
            let back = records.iter().find(|(_, _, value)| value.as_deref() == Some("aborted"));
            assert_eq!(back, None, "fill {fill}, pass {pass}");
        }
        assert_eq!(last_values(&seen(&partition)).len(), fill + 6 + 1);
    }
}

#[test]
fn a_reader_crosses_a_gap_before_what_is_in_memory() {
    let disk = SimDisk::new(1);
    let options = StoreOptions { tail_bytes: 1000, ..options() };
    let (store, _) = Store::open(Arc::new(disk.clone()), options).unwrap();
    let partition = compacted(&store);
    for round in 0..40 {
        put(&store, plain(&[("a", Some(&format!("a{round}")))]));
    }
    settle(&store);
    put(&store, plain(&[("b", Some(&"b".repeat(650)))]));
    settle(&store);
    store.checkpoint().unwrap();
    assert!(!partition.in_tail(0) && partition.in_tail(40));
    compact(&store, NOW, LARGE_MAP).unwrap();
    assert_eq!(last_values(&seen(&partition)).len(), 2);
}

#[test]
fn readers_go_on_while_segments_are_replaced() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    for round in 0..40 {
        put(&store, plain(&[("a", Some(&format!("a{round}"))), ("b", Some(&format!("b{round}")))]));
        if round % 8 == 7 {
            begin(&store, of_producer(9, round / 8, true, &[("a", Some("aborted"))]));
            end(&store, 9, false);
        }
    }
    seal(&store);
    let expected = last_values(&seen(&partition));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let records = seen(&partition);
                    assert_eq!(last_values(&records)["b"], expected["b"]);
                    assert!(records.iter().all(|(_, _, value)| value.as_deref() != Some("aborted")));
                }
            });
        }
        for round in 0..10 {
            put(&store, plain(&[("c", Some(&format!("c{round}")))]));
            seal(&store);
            compact(&store, NOW + round, LARGE_MAP).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_compaction_took_away_is_not_read_from_memory() {
    let disk = SimDisk::new(7);
    let (store, _) = Store::open(Arc::new(disk.clone()), options()).unwrap();
    let partition = compacted(&store);
    for turn in 0..3 {
        put(&store, plain(&[("a", Some(&format!("{turn}"))), ("b", Some(&"x".repeat(100)))]));
    }
    put(&store, plain(&[("b", None)]));
    seal(&store);
    put(&store, plain(&[("c", Some("newest"))]));
    settle(&store);
    assert!(partition.in_tail(0), "everything is in memory");

    compact_all(&store, NOW, LARGE_MAP);
    let horizon = NOW + RETENTION;
    compact_all(&store, horizon, LARGE_MAP);
    let records = seen(&partition);
    assert_eq!(offsets_of(&records, "a"), [4]);
    assert_eq!(offsets_of(&records, "b"), [0; 0], "the tombstone went, too");
    assert_eq!(last_values(&records)["c"], "newest");

    // What is still in memory is what is counted.
    let end = partition.published().high_watermark;
    let start = (0..end).find(|offset| partition.in_tail(*offset)).unwrap();
    assert!(start > 4);
    let left = read(&partition, start, Isolation::Uncommitted).chunks;
    assert_eq!(store.tail.bytes(), left.iter().map(Bytes::len).sum::<usize>());
    assert_eq!(store.tail.batches(), left.len());
}

/// The marker is on the device and published, and not in the log yet: its transaction is neither open nor known as aborted.
#[test]
fn what_was_aborted_and_not_yet_applied_takes_nothing_away() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let partition = compacted(&store);
    put(&store, plain(&[("k", Some("old"))]));
    begin(&store, of_producer(9, 0, true, &[("k", Some("aborted"))]));
    seal(&store);
    end(&store, 9, false);
    store.journal_round().unwrap();
    assert!(partition.published().last_stable_offset > 2, "the marker is published");
    compact(&store, NOW, LARGE_MAP);
    settle(&store);
    assert_eq!(last_values(&seen(&partition)).get("k").map(String::as_str), Some("old"));
}
