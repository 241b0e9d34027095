//! Whatever was written, wherever the machine goes down, however often it is compacted.

use super::*;
use crate::disk::sim::Faults;
use crate::disk::sim::Random;

/// What a crash must leave: the same last values, and the same producers.
fn scenario(disk: &SimDisk, seed: u64) -> (Arc<Store>, BTreeMap<String, String>) {
    let mut random = Random::new(seed);
    let (store, _) = open(disk);
    let partition = compacted(&store);
    let (mut sequence, mut plain_sequence) = (0, 0);
    for round in 0..10 + random.below(10) {
        let key = format!("k{}", random.below(3));
        let value = format!("v{round}");
        let value = (!random.one_in(4)).then_some(value.as_str());
        if random.one_in(3) {
            begin(&store, of_producer(9, sequence, true, &[(&key, value)]));
            sequence += 1;
            end(&store, 9, random.one_in(2));
        } else {
            put(&store, of_producer(7, plain_sequence, false, &[(&key, value), ("x", Some("1"))]));
            plain_sequence += 2;
            put(&store, plain(&[(&key, Some("over"))]));
        }
        if let Some(known) = partition.producers().iter().find(|known| known.producer_id == 7) {
            assert!(known.last_sequence >= 0);
        }
    }
    seal(&store);
    let values = last_values(&seen(&partition));
    (store, values)
}

fn producers_of(partition: &Partition) -> Vec<(i64, i16, i32, i64)> {
    let known = partition.producers().into_iter();
    known.map(|p| (p.producer_id, p.producer_epoch, p.last_sequence, p.last_timestamp)).collect()
}

/// KAFKA-12520 and KAFKA-7401: a crash while segments are being replaced costs no producer state, no start and no record.
#[test]
fn kafka_12520_and_kafka_7401_a_crash_at_any_call_of_a_compaction_leaves_the_old_or_the_new() {
    let mut crashes = 0;
    for seed in 0..6 {
        for call in 1.. {
            let disk = SimDisk::new(seed * 1000 + call);
            let (store, expected) = scenario(&disk, seed);
            let producers = producers_of(&store.partition(id(1, 0)).unwrap());
            // The log may begin inside what is being compacted.
            if seed % 2 == 1 {
                store.delete_records(id(1, 0), 3, None).unwrap();
                settle(&store);
            }
            disk.crash_at(disk.calls() + call);
            let map_bytes = if seed % 3 == 0 { SMALLEST_MAP } else { LARGE_MAP };
            let result = store.compact(NOW, &mut KeyMap::new(map_bytes), &AtomicBool::new(false));
            let crashed = disk.crashed();
            drop(store);
            disk.restart();
            let (store, _) = open(&disk);
            let partition = store.partition(id(1, 0)).unwrap();
            store.set_options(id(1, 0), compacted_options()).unwrap();
            let found = last_values(&seen(&partition));
            if seed % 2 == 0 {
                assert_eq!(found, expected, "seed {seed}, crash at call {call}: {result:?}");
            }
            assert_eq!(producers_of(&partition), producers, "seed {seed}, crash at call {call}");
            let left = disk.files().into_iter().map(|(path, _)| path.display().to_string());
            let left: Vec<_> =
                left.filter(|path| path.ends_with(".cleaned") || path.contains("compaction-swap")).collect();
            assert!(left.is_empty(), "seed {seed}, crash at call {call}: {left:?}");
            compact_all(&store, NOW + RETENTION, LARGE_MAP);
            assert_eq!(
                last_values(&seen(&partition)),
                found,
                "seed {seed}, crash at call {call}, compacted again"
            );
            put(&store, plain(&[("new", Some("1"))]));
            settle(&store);
            store.close().unwrap();
            if !crashed {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 100, "{crashes} crashes");
}

#[test]
fn a_disk_that_fills_during_a_compaction_and_a_crash_later_cost_nothing() {
    let (mut full, mut fatal) = (0, 0);
    for seed in 0..4 {
        for room in (0..3000).step_by(20) {
            let disk = SimDisk::new(seed * 1000 + room);
            let (store, expected) = scenario(&disk, seed);
            let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
            let faults = |capacity_bytes| Faults { capacity_bytes, ..Faults::default() };
            disk.set_faults(faults(Some(used + room)));
            let pass = || store.compact(NOW, &mut KeyMap::new(LARGE_MAP), &AtomicBool::new(false));
            match pass() {
                Ok(round) => full += u64::from(!round.failed.is_empty()),
                Err(_) => fatal += 1,
            }
            // There is room again; the next pass writes over what the first one left, and does not get to its end.
            disk.set_faults(faults(None));
            disk.crash_at(disk.calls() + 1 + room % 17);
            let _ = pass();
            drop(store);
            disk.restart();
            let (store, _) = open(&disk);
            store.set_options(id(1, 0), compacted_options()).unwrap();
            let found = last_values(&seen(&store.partition(id(1, 0)).unwrap()));
            assert_eq!(found, expected, "seed {seed}, room for {room} bytes");
        }
    }
    assert!(full > 50, "{full} passes on a full disk");
    assert_eq!(fatal, 0, "passes that a full disk made fatal");
}

/// One random history, with compaction now and then; at each step a reader of committed data finds what it should.
fn random_history(seed: u64) {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(seed);
    let (mut store, _) = open(&disk);
    compacted(&store);
    // Committed records in the order of their offsets, and those of open transactions.
    let mut committed: BTreeMap<i64, (String, Option<String>)> = BTreeMap::new();
    let mut pending: BTreeMap<i64, Vec<Seen>> = BTreeMap::new();
    let mut sequences: BTreeMap<i64, i32> = BTreeMap::new();
    let mut now = NOW;
    for step in 0..60 + random.below(60) {
        match random.below(12) {
            0 => seal(&store),
            1 | 2 => {
                now += random.below(2 * RETENTION as u64) as i64;
                let map_bytes = if random.one_in(2) { SMALLEST_MAP } else { LARGE_MAP };
                compact(&store, now, map_bytes);
            }
            3 if random.one_in(3) => {
                settle(&store);
                store.close().unwrap();
                drop(store);
                store = open(&disk).0;
                store.set_options(id(1, 0), compacted_options()).unwrap();
            }
            4 | 5 => {
                let open: Vec<i64> = pending.keys().copied().collect();
                if let Some(producer) = open.first() {
                    let commit = random.one_in(2);
                    end(&store, *producer, commit);
                    let records = pending.remove(producer).unwrap_or_default();
                    if commit {
                        committed
                            .extend(records.into_iter().map(|(offset, key, value)| (offset, (key, value))));
                    }
                }
            }
            _ => {
                let count = 1 + random.below(3);
                let records: Vec<(String, Option<String>)> = (0..count)
                    .map(|number| {
                        let key = format!("k{}", random.below(20));
                        let value = (!random.one_in(5)).then(|| format!("{seed}-{step}-{number}"));
                        (key, value)
                    })
                    .collect();
                let given: Vec<(&str, Option<&str>)> =
                    records.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                let producer = 8 + random.below(4) as i64;
                let sequence = sequences.get(&producer).copied().unwrap_or(0);
                let base = match producer {
                    8 | 9 => {
                        let batch = of_producer(producer, sequence, true, &given);
                        if pending.contains_key(&producer) {
                            put(&store, batch)
                        } else {
                            begin(&store, batch)
                        }
                    }
                    10 => put(&store, of_producer(producer, sequence, false, &given)),
                    _ => {
                        let codec = Codec::ALL[random.below(5) as usize];
                        put(&store, keyed(BatchOptions { codec, ..BatchOptions::default() }, &given))
                    }
                };
                sequences.insert(producer, sequence + count as i32);
                let placed =
                    records.into_iter().zip(base..).map(|((key, value), offset)| (offset, key, value));
                if producer < 10 {
                    pending.entry(producer).or_default().extend(placed);
                } else {
                    committed.extend(placed.map(|(offset, key, value)| (offset, (key, value))));
                }
            }
        }
        if random.one_in(6) {
            settle(&store);
            check_history(&store, &committed, &pending, seed, step);
        }
    }
    for producer in pending.keys().copied().collect::<Vec<_>>() {
        end(&store, producer, false);
    }
    pending.clear();
    seal(&store);
    for _ in 0..3 {
        now += 2 * RETENTION;
        compact_all(&store, now, LARGE_MAP);
        check_history(&store, &committed, &pending, seed, 1000);
    }
    let partition = store.partition(id(1, 0)).unwrap();
    let known: BTreeMap<i64, i32> =
        partition.producers().iter().map(|known| (known.producer_id, known.last_sequence)).collect();
    for (producer, next) in sequences.iter().filter(|(producer, _)| **producer < 11) {
        assert_eq!(known[producer], next - 1, "seed {seed}: producer {producer}");
    }
}

fn check_history(
    store: &Store,
    committed: &BTreeMap<i64, (String, Option<String>)>,
    pending: &BTreeMap<i64, Vec<Seen>>,
    seed: u64,
    step: u64,
) {
    let partition = store.partition(id(1, 0)).unwrap();
    let stable = partition.published().last_stable_offset;
    let first_open = pending.values().filter_map(|records| records.first()).map(|(offset, ..)| *offset).min();
    assert!(first_open.is_none_or(|open| open == stable), "seed {seed}, step {step}");
    let mut found = seen(&partition);
    found.retain(|(_, key, _)| key != "filler");
    for (offset, key, value) in &found {
        let expected = committed.get(offset);
        assert_eq!(
            expected,
            Some(&(key.clone(), value.clone())),
            "seed {seed}, step {step}, offset {offset}"
        );
    }
    let original: Vec<Seen> = committed
        .iter()
        .filter(|(offset, _)| **offset < stable)
        .map(|(offset, (key, value))| (*offset, key.clone(), value.clone()))
        .collect();
    assert_eq!(last_values(&found), last_values(&original), "seed {seed}, step {step}");
}

#[test]
fn any_history_compacted_any_number_of_times_has_the_same_last_values() {
    for seed in 0..150 {
        random_history(seed);
    }
}
