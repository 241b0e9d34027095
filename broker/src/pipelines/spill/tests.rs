//! The store in fjall against the one in memory, and what is left of it when its files are not what they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use logmill_stream::{COLD_VERSION, ColdError, ColdMark, ColdPosition, ColdStore, MemoryColdStore};

use super::fjall_store::FjallStore;
use super::long_keys::MAX_KEY;
use crate::entropy::Entropy;

const MEMORY: u64 = 1 << 20;

fn mark(epoch: u64) -> ColdMark {
    let at = ColdPosition {
        pipeline: "p".to_owned(),
        plan: 1,
        generation: 1,
        epoch,
        state_from: None,
        digest: 2,
        progress_offset: epoch as i64,
        changelog: "c".to_owned(),
        changelog_end: epoch as i64 * 10,
    };
    ColdMark { version: COLD_VERSION, at, sizes: BTreeMap::new() }
}

type Change = (Vec<u8>, Option<Vec<u8>>);

fn write(store: &dyn ColdStore, changes: &[Change], epoch: u64) {
    let mut changes = changes.iter().map(|(key, value)| (&**key, value.as_deref()));
    store.write(&mut changes, &mark(epoch)).unwrap();
}

fn dump(store: &dyn ColdStore, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    store
        .scan(prefix, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    entries
}

/// The first entries from a key on.
fn first(store: &dyn ColdStore, prefix: &[u8], from: &[u8], most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    store
        .scan_from(prefix, from, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            Ok(entries.len() < most)
        })
        .unwrap();
    entries
}

/// Numbers that differ with the seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// A key among few, one in eight of them longer than fjall takes.
fn key(numbers: &mut Numbers) -> Vec<u8> {
    let mut key = vec![numbers.below(3) as u8, numbers.below(4) as u8];
    if numbers.below(8) == 0 {
        key.resize(MAX_KEY, 7);
        key.extend_from_slice(&[numbers.below(3) as u8; 2]);
    }
    key
}

#[test]
fn it_gives_what_the_store_in_memory_gives() {
    for seed in 1..=20 {
        let directory = tempfile::tempdir().unwrap();
        let mut numbers = Numbers(seed);
        let model = MemoryColdStore::new();
        let mut fjall = FjallStore::open(directory.path(), MEMORY).unwrap();
        assert_eq!(fjall.mark().unwrap(), None);
        if seed % 2 == 0 {
            let entries: BTreeMap<Vec<u8>, Vec<u8>> =
                (0..30).map(|at| (key(&mut numbers), vec![at])).collect();
            for store in [&model as &dyn ColdStore, &fjall] {
                let mut fill = store.fill().unwrap();
                entries.iter().for_each(|(key, value)| fill.push(key, value).unwrap());
                fill.finish().unwrap();
            }
            assert_eq!(dump(&fjall, &[]), model.dump(), "seed {seed}, filled");
        }
        for epoch in 1..=30 {
            let changes: Vec<Change> = (0..numbers.below(12))
                .map(|_| (key(&mut numbers), (numbers.below(3) > 0).then(|| vec![epoch as u8; 3])))
                .collect();
            write(&model, &changes, epoch);
            write(&fjall, &changes, epoch);
            if numbers.below(10) == 0 {
                drop(fjall);
                fjall = FjallStore::open(directory.path(), MEMORY).unwrap();
            }
            assert_eq!(fjall.mark().unwrap(), Some(mark(epoch)));
            assert_eq!(dump(&fjall, &[]), model.dump(), "seed {seed}, epoch {epoch}");
            let looked_for = key(&mut numbers);
            assert_eq!(fjall.get(&looked_for), model.get(&looked_for), "seed {seed}, epoch {epoch}");
            let prefix = &looked_for[..=numbers.below(looked_for.len() as u64) as usize];
            assert_eq!(dump(&fjall, prefix), dump(&model, prefix), "seed {seed}, epoch {epoch}");
            let most = numbers.below(6) as usize + 1;
            for from in [&looked_for[..], prefix] {
                let found = first(&fjall, prefix, from, most);
                assert_eq!(found, first(&model, prefix, from, most), "seed {seed}, epoch {epoch}");
            }
        }
    }
}

/// While a store is filled its long keys leave memory, as the others do; they were all kept to its end.
#[test]
fn long_keys_are_written_while_a_store_is_filled() {
    const KEYS: u32 = 300;
    let directory = tempfile::tempdir().unwrap();
    let store = FjallStore::open(directory.path(), MEMORY).unwrap();
    let mut numbers = Numbers(3);
    // Not to be compressed away. Every third key has the beginning of the one before.
    let mut front = Vec::new();
    let mut entries = Vec::new();
    for at in 0..KEYS {
        if at % 3 != 1 {
            front = at.to_be_bytes().to_vec();
            front.resize_with(MAX_KEY, || numbers.below(256) as u8);
        }
        let value: Vec<u8> = std::iter::repeat_with(|| numbers.below(256) as u8).take(10_000).collect();
        entries.push(([&front[..], &at.to_be_bytes()].concat(), value));
    }
    let bytes =
        |directory: &Path| files(directory).iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    let before = bytes(directory.path());
    let mut fill = store.fill().unwrap();
    entries.iter().for_each(|(key, value)| fill.push(key, value).unwrap());
    let pushed =
        entries.iter().map(|(_, value)| value.len()).sum::<usize>() + (KEYS as usize * 2 / 3) * MAX_KEY;
    let written = bytes(directory.path()) - before;
    assert!(written > pushed as u64 * 3 / 4, "{written} bytes of {pushed} are written");
    fill.finish().unwrap();
    assert!(dump(&store, &[]) == entries, "other entries");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Opens a store and reads all of it.
fn read(path: &Path) -> Result<(Option<ColdMark>, usize), ColdError> {
    let store = FjallStore::open(path, MEMORY)?;
    let mark = store.mark()?;
    let mut entries = 0;
    store.scan(&[], &mut |_, value| {
        entries += usize::from(value == [9; 100]);
        Ok(())
    })?;
    Ok((mark, entries))
}

/// Whatever becomes of a file: the store is as it was at some epoch, or is known not to be usable.
#[test]
fn files_that_are_cut_or_damaged_are_seen_or_an_earlier_epoch_is_there() {
    let whole = tempfile::tempdir().unwrap();
    let store = FjallStore::open(whole.path(), MEMORY).unwrap();
    let mut fill = store.fill().unwrap();
    (0..500_u16).for_each(|at| fill.push(&at.to_be_bytes(), &[9; 100]).unwrap());
    fill.finish().unwrap();
    for epoch in 1..=20_u16 {
        let changes: Vec<Change> = (0..10_u16)
            .map(|at| ((500 + epoch * 10 + at).to_be_bytes().to_vec(), Some(vec![9; 100])))
            .collect();
        write(&store, &changes, u64::from(epoch));
    }
    drop(store);
    let seed = Entropy::system().uuid().as_u128() as u64;
    let mut numbers = Numbers(seed | 1);
    let count = files(whole.path()).len();
    assert!(count > 3, "{count}");
    for at in 0..count {
        for kind in 0..3 {
            let copy = tempfile::tempdir().unwrap();
            for file in files(whole.path()) {
                let to = copy.path().join(file.strip_prefix(whole.path()).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(&file, to).unwrap();
            }
            let file = files(copy.path())[at].clone();
            let mut bytes = fs::read(&file).unwrap();
            let length = bytes.len() as u64;
            match kind {
                0 => fs::remove_file(&file).unwrap(),
                _ if bytes.is_empty() => continue,
                1 => fs::write(&file, &bytes[..numbers.below(length) as usize]).unwrap(),
                _ => {
                    bytes[numbers.below(length) as usize] ^= 1 << numbers.below(8);
                    fs::write(&file, bytes).unwrap();
                }
            }
            // A store without a mark is thrown away, too.
            if let Ok((Some(found), entries)) = read(copy.path()) {
                let epoch = found.at.epoch;
                assert_eq!(entries as u64, 500 + 10 * epoch, "seed {seed}: {}, kind {kind}", file.display());
            }
        }
    }
}

/// Else each write would wait for tables to be flushed that are not full.
#[test]
fn a_store_knows_when_its_tables_in_memory_are_full() {
    let directory = tempfile::tempdir().unwrap();
    let made = FjallStore::open(directory.path(), 64 * MEMORY).unwrap();
    let buffer = made.buffer;
    drop(made);
    let again = FjallStore::open(directory.path(), MEMORY).unwrap();
    assert_eq!(again.buffer, buffer);
    let other = tempfile::tempdir().unwrap();
    assert!(FjallStore::open(other.path(), MEMORY).unwrap().buffer < buffer);
}

/// What this thread has read, in bytes, from files and the page cache.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

/// Filters and indexes of many keys do not fit the cache; one block of them is read for a key, not all.
#[test]
#[cfg(target_os = "linux")]
fn looking_up_a_key_reads_a_few_blocks() {
    const KEYS: u64 = 400_000;
    const LOOK_UPS: u64 = 500;
    let directory = tempfile::tempdir().unwrap();
    let store = FjallStore::open(directory.path(), MEMORY).unwrap();
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut numbers: Vec<u64> = (0..KEYS).collect();
    numbers.sort_by_key(|&number| key(number));
    let mut fill = store.fill().unwrap();
    numbers.iter().for_each(|&number| fill.push(&key(number), &number.to_be_bytes()).unwrap());
    fill.finish().unwrap();
    let before = bytes_read();
    for number in 0..LOOK_UPS {
        assert_eq!(store.get(&key(number)).unwrap(), Some(number.to_be_bytes().to_vec()));
        assert_eq!(store.get(&key(KEYS + number)).unwrap(), None);
    }
    let each = (bytes_read() - before) / (2 * LOOK_UPS);
    assert!(each < 32 << 10, "{each} bytes were read for a key");
}
