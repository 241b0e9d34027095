//! Damaged files below the recovery point: batches are reported, everything derived is made again.

use std::collections::BTreeMap;

use super::*;
use crate::disk::sim::Faults;

/// A flushed log over several segments.
fn flushed(seed: u64) -> (Bench, Vec<Batch>, i64) {
    let bench = Bench::new(seed);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..40).map(|_| maker.plain(2)).collect();
    log.append(&all).unwrap();
    let end = log.flush().unwrap().end_offset;
    (bench, all, end)
}

#[test]
fn a_damaged_batch_is_named_and_its_neighbours_are_read() {
    let (bench, all, end) = flushed(1);
    // A bit in the values of every batch, one after another.
    let bases: Vec<i64> = bench
        .names()
        .iter()
        .filter_map(|n| FileKind::parse(n))
        .filter(|(k, _)| *k == FileKind::Log)
        .map(|f| f.1)
        .collect();
    let mut position = 0;
    let mut base = 0;
    for batch in &all {
        let offset = batch.header().base_offset;
        if bases.contains(&offset) {
            (base, position) = (offset, 0);
        }
        let path = bench.path(FileKind::Log, base);
        let bad = position + batch.size() as u64 - 3;
        bench.disk.rot(&path, bad, 0x10).unwrap();
        let log = if bases.last() == Some(&base) {
            // The scan of an unsettled segment trusts what was flushed.
            bench.open(end).unwrap().0
        } else {
            bench.reopen(end)
        };
        let error = log.read(offset, 1 << 20, end, true).unwrap_err();
        let ReadError::Corrupt(corruption) = error else { panic!("{error}") };
        assert_eq!((&corruption.file, corruption.position, corruption.offset), (&path, position, offset));
        assert!(corruption.reason.contains("checksum"), "{corruption}");
        if offset > 0 {
            let before = whole_batches(log.read(0, usize::MAX, end, true).unwrap());
            assert_eq!(before.last().unwrap().header().next_offset(), offset, "read up to the damage");
        }
        if offset + 2 < end {
            assert_eq!(read_all(&log, offset + 2)[0].header().base_offset, offset + 2, "and behind it");
        }
        bench.disk.rot(&path, bad, 0x10).unwrap();
        position += batch.size() as u64;
    }
}

#[test]
fn a_shortened_segment_is_damage_not_an_end() {
    let (bench, _, end) = flushed(1);
    let base = {
        let log = bench.reopen(end);
        log.closed_segments().unwrap()[1].base_offset
    };
    let good = bench.file(FileKind::Log, base);
    let path = bench.path(FileKind::Log, base);
    let log = bench.reopen(end);
    bench.disk.plant(&path, &good[..good.len() - 5]).unwrap();
    let chunks = log.read(base, usize::MAX, end, true).unwrap();
    let reached = whole_batches(chunks).last().unwrap().header().next_offset();
    let error = log.read(reached, usize::MAX, end, true).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
}

#[test]
fn wrong_missing_and_short_indexes_are_made_again() {
    let (bench, all, end) = flushed(1);
    // Opening and reading once brings every index file to its final form.
    assert_eq!(read_all(&bench.reopen(end), 0), all);
    let names: Vec<String> = bench.names().into_iter().filter(|name| name.ends_with("index")).collect();
    assert!(names.len() > 6, "{names:?}");
    for name in &names {
        let path = directory().join(name);
        let good = read_file(&*bench.disk, &path).unwrap();
        let mut shifted = good.clone();
        for entry in shifted.chunks_exact_mut(8) {
            entry[7] = entry[7].wrapping_add(1);
        }
        let mut half = good.clone();
        half.truncate(good.len() / 2 + 1);
        let damages =
            [Some(shifted), Some(half), Some(Vec::new()), Some(vec![0; 4096]), Some(vec![0xff; 64]), None];
        for damage in damages {
            match &damage {
                Some(bytes) => bench.disk.plant(&path, bytes).unwrap(),
                None => bench.disk.remove_file(&path).unwrap(),
            }
            let log = bench.reopen(end);
            for offset in 0..end {
                let read = whole_batches(log.read(offset, 1, end, true).unwrap());
                assert_eq!(read, all[offset as usize / 2..][..1], "{name} with {damage:?}");
                let found = log.offset_for_timestamp(1000 + offset * 10, end).unwrap();
                assert_eq!(found, Some(TimestampOffset { offset, timestamp: 1000 + offset * 10 }), "{name}");
            }
            log.flush().unwrap();
            bench.disk.plant(&path, &good).unwrap();
        }
    }
}

#[test]
fn an_index_entry_that_is_wrong_in_the_middle_is_noticed_when_used() {
    let (bench, all, end) = flushed(1);
    assert_eq!(read_all(&bench.reopen(end), 0), all);
    let path = bench.path(FileKind::OffsetIndex, 0);
    let good = bench.file(FileKind::OffsetIndex, 0);
    assert!(good.len() >= 3 * 8);
    let mut wrong = good.clone();
    wrong[4..8].copy_from_slice(&(u32::from_be_bytes(good[4..8].try_into().unwrap()) + 7).to_be_bytes());
    bench.disk.plant(&path, &wrong).unwrap();
    let log = bench.reopen(end);
    for batch in &all[..6] {
        let offset = batch.header().base_offset;
        assert_eq!(&whole_batches(log.read(offset, 1, end, true).unwrap())[0], batch);
    }
    assert_eq!(bench.file(FileKind::OffsetIndex, 0), good);
}

#[test]
fn damaged_snapshots_are_replaced_by_a_scan() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> =
        (0..40).map(|i| maker.data(Some((i % 4, 0, (i / 4 * 2) as i32)), false, 2)).collect();
    log.append(&all).unwrap();
    let end = log.flush().unwrap().end_offset;
    let expected = log.producers();
    drop(log);
    let snapshots: Vec<String> =
        bench.names().into_iter().filter(|name| name.ends_with(".snapshot")).rev().collect();
    assert!(snapshots.len() > 2, "{snapshots:?}");
    // The newest first, then also the one before, and so on until none is left.
    for name in &snapshots {
        bench.disk.rot(&directory().join(name), 20, 1).unwrap();
        let (log, recovered) = bench.open(end).unwrap();
        assert_eq!(log.producers(), expected);
        assert_eq!(recovered.rebuilt, [directory().join(name)]);
        assert!(!bench.names().contains(name));
    }
}

#[test]
fn a_failing_read_is_an_error_and_not_an_end() {
    let (bench, _, end) = flushed(1);
    let log = bench.reopen(end);
    bench.disk.set_faults(Faults { failing_reads: Some(".log".to_owned()), ..Faults::default() });
    assert!(matches!(log.read(0, 100, end, true), Err(ReadError::Io { .. })));
    assert!(bench.open(end).is_err());
    bench.disk.set_faults(Default::default());
    assert!(log.read(0, 100, end, true).is_ok());
}

#[test]
fn an_offset_that_rotted_is_damage_and_neither_skips_nor_waits() {
    // A batch's own checksum does not cover its offset.
    let (bench, all, end) = flushed(1);
    for bit in [0, 1, 4, 9, 33] {
        for batch in &all[3..30] {
            let offset = batch.header().base_offset;
            let log = bench.reopen(end);
            let segment = log.closed_segments().unwrap();
            let Some(segment) = segment.iter().find(|s| (s.base_offset..s.end_offset).contains(&offset))
            else {
                continue;
            };
            let before =
                all.iter().filter(|b| (segment.base_offset..offset).contains(&b.header().base_offset));
            let position = before.map(|batch| batch.size() as u64).sum::<u64>() + 7 - bit / 8;
            drop(log);
            let path = bench.path(FileKind::Log, segment.base_offset);
            bench.disk.rot(&path, position, 1 << (bit % 8)).unwrap();
            let log = bench.reopen(end);
            let mut at = 0;
            let mut damaged = Vec::new();
            while at < end {
                match log.read(at, 1, end, true) {
                    Ok(chunks) => {
                        let read = whole_batches(chunks);
                        let base =
                            read.first().expect("a reader must not wait for ever").header().base_offset;
                        assert_eq!(base, at, "bit {bit} of {offset}: skipped");
                        assert_eq!(read[0], all[at as usize / 2], "bit {bit} of {offset}");
                    }
                    Err(ReadError::Corrupt(_)) => damaged.push(at),
                    Err(error) => panic!("{error}"),
                }
                at += 2;
            }
            assert!(damaged.contains(&offset), "bit {bit} of {offset}: {damaged:?}");
            assert!(damaged.len() <= 2, "bit {bit} of {offset}: {damaged:?}");
            drop(log);
            bench.disk.rot(&path, position, 1 << (bit % 8)).unwrap();
            let indexes = bench.names().into_iter().filter(|name| name.ends_with("index"));
            indexes.for_each(|name| bench.disk.remove_file(&directory().join(name)).unwrap());
        }
    }
}

#[test]
fn damage_before_the_recovery_point_does_not_keep_the_log_from_opening() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all: Vec<Batch> = (0..5).map(|_| maker.plain(2)).collect();
    log.append(&all[..5]).unwrap();
    let end = log.flush().unwrap().end_offset;
    assert!(log.closed_segments().unwrap().is_empty(), "all in the segment that is written to");
    drop(log);
    // In the header of the batch in the middle: its length, its format's version, its offset.
    let position = (all[0].size() + all[1].size()) as u64;
    for field in [2, 8, 11, 16] {
        let path = bench.path(FileKind::Log, 0);
        bench.disk.rot(&path, position + field, 0x41).unwrap();
        // With its index, opening begins behind the damage, and only who reads it meets it.
        bench.names().iter().filter(|name| name.ends_with("index")).for_each(|name| {
            bench.disk.remove_file(&directory().join(name)).unwrap();
        });
        let (log, recovered) = bench.open(end).unwrap();
        assert_eq!(recovered.damaged.len(), 1, "{recovered:?}");
        assert_eq!((recovered.damaged[0].position, recovered.damaged[0].offset), (position, 4));
        assert_eq!(log.cut(recovered.valid_end).unwrap(), end);
        assert_eq!(whole_batches(log.read(0, usize::MAX, end, true).unwrap()), all[..2]);
        assert!(matches!(log.read(4, usize::MAX, end, true), Err(ReadError::Corrupt(_))));
        assert_eq!(whole_batches(log.read(6, usize::MAX, end, true).unwrap()), all[3..], "field {field}");
        bench.disk.rot(&path, position + field, 0x41).unwrap();
    }
}

/// A flushed log of data, markers and transactions over several segments.
fn flushed_transactions() -> (Bench, Vec<Batch>, i64) {
    let mut bench = Bench::new(1);
    bench.options.segment_bytes = 600;
    let log = bench.create();
    let mut maker = Maker::new();
    let mut all = Vec::new();
    for i in 0..6 {
        all.push(maker.data(Some((7, 0, i)), true, 1));
        all.push(maker.plain(3));
        all.push(maker.marker(7, 0, i % 2 == 0));
    }
    log.append(&all).unwrap();
    let end = log.flush().unwrap().end_offset;
    assert!(log.closed_segments().unwrap().len() >= 2);
    (bench, all, end)
}

/// Reads everything as a consumer does: on from where it is, and behind a batch that cannot be read. Gives the offsets of
/// those.
fn read_around_damage(log: &PartitionLog, all: &[Batch], max_bytes: usize) -> Result<Vec<i64>, String> {
    let mut damaged = Vec::new();
    let mut rest = all;
    while let Some(next) = rest.first() {
        let offset = next.header().base_offset;
        match log.read(offset, max_bytes, i64::MAX, true) {
            Ok(chunks) => {
                let read = chunks.into_iter().flat_map(batches).collect::<Result<Vec<_>, _>>();
                let read = read.map_err(|error| format!("at {offset}: {error}"))?;
                if read.is_empty() {
                    return Err(format!("nothing at {offset}, and no error"));
                }
                if !rest.starts_with(&read) {
                    return Err(format!("something else at {offset}: {:?}", read[0].header()));
                }
                rest = &rest[read.len()..];
            }
            Err(ReadError::Corrupt(_)) => {
                damaged.push(offset);
                rest = &rest[1..];
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(damaged)
}

/// The files of a log, to be put back.
struct Saved(BTreeMap<PathBuf, Vec<u8>>);

impl Saved {
    fn of(bench: &Bench) -> Saved {
        let paths = bench.names().into_iter().map(|name| directory().join(name));
        Saved(paths.map(|path| (path.clone(), read_file(&*bench.disk, &path).unwrap())).collect())
    }

    fn restore(&self, bench: &Bench) {
        let names = bench.names().into_iter().map(|name| directory().join(name));
        names
            .filter(|path| !self.0.contains_key(path))
            .for_each(|path| bench.disk.remove_file(&path).unwrap());
        self.0.iter().for_each(|(path, bytes)| bench.disk.plant(path, bytes).unwrap());
    }
}

#[test]
fn a_search_by_time_beside_damage_makes_indexes_again_once_at_most() {
    let (bench, all, end) = flushed(1);
    assert_eq!(read_all(&bench.reopen(end), 0), all);
    let good = Saved::of(&bench);
    let (mut base, mut position) = (0, 0);
    for batch in &all {
        let offset = batch.header().base_offset;
        if bench.disk.exists(&bench.path(FileKind::Log, offset)).unwrap() {
            (base, position) = (offset, 0);
        }
        let next = batch.header().next_offset();
        let ends_segment = next == end || bench.disk.exists(&bench.path(FileKind::Log, next)).unwrap();
        // A low and a high bit of its offset, its length, version, last offset, and largest timestamp.
        for (byte, bit) in [(7, 2), (7, 6), (5, 0), (11, 3), (16, 0), (26, 4), (42, 5), (37, 0)] {
            bench.disk.rot(&bench.path(FileKind::Log, base), position + byte, 1 << bit).unwrap();
            let log = bench.reopen(end);
            let what = format!("bit {bit} of byte {byte} of the batch at {offset}");
            let search = || {
                let mut found = Vec::new();
                for wanted in (0..end).step_by(2) {
                    found.push(log.offset_for_timestamp(1000 + wanted * 10, end).map_err(|e| e.to_string()));
                }
                found
            };
            let first = search();
            let calls = bench.disk.calls();
            assert_eq!(search(), first, "{what}");
            assert_eq!(bench.disk.calls(), calls, "{what}: files were written again");
            for (found, batch) in first.into_iter().zip(&all) {
                let wanted = batch.header().base_offset;
                // That a segment had a later record at its end, nobody knows any more: what lies behind is found.
                let after = Some(offset + 2).filter(|next| *next < end).map(at);
                let right = found.is_err()
                    || found == Ok(Some(at(wanted)))
                    || ends_segment && wanted == offset && found == Ok(after);
                assert!(right, "{what}: {wanted} is {found:?}");
            }
            good.restore(&bench);
        }
        position += batch.size() as u64;
    }
}

/// The record at an offset of [`Maker`]'s batches, as a search by time finds it.
fn at(offset: i64) -> TimestampOffset {
    TimestampOffset { offset, timestamp: 1000 + offset * 10 }
}

#[test]
fn no_bit_of_a_header_makes_batches_vanish() {
    /// Nothing covers the leader epoch, which readers of batches have no use for.
    const UNCOVERED: std::ops::Range<u64> = 12..16;
    let (bench, all, end) = flushed_transactions();
    let good = Saved::of(&bench);
    let (mut base, mut position) = (0, 0);
    for batch in &all {
        let offset = batch.header().base_offset;
        if bench.disk.exists(&bench.path(FileKind::Log, offset)).unwrap() {
            (base, position) = (offset, 0);
        }
        let path = bench.path(FileKind::Log, base);
        for byte in (0..logmill_record::BATCH_HEADER_LEN as u64).filter(|byte| !UNCOVERED.contains(byte)) {
            for bit in 0..8 {
                let what = format!("bit {bit} of byte {byte} of the batch at {offset}");
                bench.disk.rot(&path, position + byte, 1 << bit).unwrap();
                if bit % 2 == 1 {
                    let kinds = [".index", ".timeindex"];
                    let names = bench.names().into_iter();
                    let indexes = names.filter(|name| kinds.iter().any(|kind| name.ends_with(kind)));
                    indexes.for_each(|name| bench.disk.remove_file(&directory().join(name)).unwrap());
                }
                // The second time as the first one left it.
                for time in ["first", "second"] {
                    let opened = bench.open(end);
                    let (log, recovered) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(log.cut(recovered.valid_end).unwrap(), end, "{what}, {time} time");
                    for max_bytes in [usize::MAX, 1] {
                        let damaged = read_around_damage(&log, &all, max_bytes);
                        let damaged = damaged.unwrap_or_else(|wrong| panic!("{what}, {time} time: {wrong}"));
                        let named = damaged.contains(&offset) && damaged.len() <= 2;
                        assert!(named, "{what}, {time} time: {damaged:?}");
                    }
                    log.flush().unwrap();
                }
                good.restore(&bench);
            }
        }
        position += batch.size() as u64;
    }
}
