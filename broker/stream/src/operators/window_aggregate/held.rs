//! Rows that came too late for some of their windows, until these are given.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rows::{Mark, NO_ORIGIN, Rows, RowsBuilder};
use crate::state::{ChangelogSink, Growth, RECORD_HEADER, decode_row, encode_row, entry_size};
use crate::value::DataType;

/// Rows that are held, by their key and, within a key, in the order they came in.
///
/// An entry's key in the changelog is the key and a number of eight bytes that counts its rows.
#[derive(Debug)]
pub(super) struct HeldRows {
    types: Vec<DataType>,
    rows: BTreeMap<(Arc<[u8]>, u64), Held>,
    /// Entries that are gone, and that the changelog has a record of.
    gone: Vec<(Arc<[u8]>, u64)>,
    /// What those count for that the changelog has a record of.
    bytes: u64,
    /// By how much they have grown since it was last asked.
    growth: Growth,
}

/// A row that is held.
#[derive(Debug)]
pub(super) struct Held {
    /// The slice it lies in.
    pub(super) slice_end: i64,
    /// It alone.
    pub(super) row: Rows,
    /// What its record in the changelog counts for, if there is one.
    logged: Option<u32>,
}

impl Held {
    /// The watermark it came with: it counts for windows that end behind it.
    pub(super) fn watermark(&self) -> i64 {
        self.row.marks[0].watermark
    }
}

impl HeldRows {
    /// For rows of these types.
    pub(super) fn new(types: &[DataType]) -> Self {
        let (rows, gone) = (BTreeMap::new(), Vec::new());
        Self { types: types.to_vec(), rows, gone, bytes: 0, growth: Growth::default() }
    }

    /// Bytes of the rows, as of when they were last handed to the changelog.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn take_growth(&mut self) -> Growth {
        std::mem::take(&mut self.growth)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Every row with its key.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Arc<[u8]>, &Held)> {
        self.rows.iter().map(|((key, _), held)| (key, held))
    }

    /// Holds a row.
    pub(super) fn push(&mut self, key: &[u8], slice_end: i64, rows: &Rows, row: usize) {
        let key: Arc<[u8]> = key.into();
        let of_key = (Arc::clone(&key), 0)..=(Arc::clone(&key), u64::MAX);
        let number = self.rows.range(of_key).next_back().map_or(0, |((_, number), _)| number + 1);
        let held = Held { slice_end, row: rows.take(&[row as u32]), logged: None };
        self.rows.insert((key, number), held);
    }

    /// Takes the rows whose watermark is before a time.
    pub(super) fn take_before(&mut self, time: i64) -> Vec<(Arc<[u8]>, Held)> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let taken = self.rows.extract_if(.., |_, held| held.watermark() < time);
        let mut found = Vec::new();
        for ((key, number), held) in taken {
            if let Some(size) = held.logged {
                self.gone.push((Arc::clone(&key), number));
                self.bytes -= u64::from(size);
                self.growth.note(Some(size), None);
            }
            found.push((key, held));
        }
        found
    }

    /// Hands the changes since the last call to the changelog.
    pub(super) fn drain_changes(&mut self, table: u8, log: &mut dyn ChangelogSink) {
        let record_key = |key: &[u8], number: u64| [key, &number.to_be_bytes()].concat();
        for (key, number) in std::mem::take(&mut self.gone) {
            // Another row may have its number now.
            if !self.rows.contains_key(&(Arc::clone(&key), number)) {
                log.put(table, &record_key(&key, number), None);
            }
        }
        for ((key, number), held) in self.rows.iter_mut().filter(|(_, held)| held.logged.is_none()) {
            let mut value = Vec::new();
            value.extend_from_slice(&held.slice_end.to_be_bytes());
            value.extend_from_slice(&held.row.marks[0].watermark.to_be_bytes());
            value.push(u8::from(held.row.marks[0].back));
            encode_row(&held.row, 0, 0..self.types.len(), &mut value);
            let record_key = record_key(key, *number);
            log.put(table, &record_key, Some(&value));
            let size = entry_size(RECORD_HEADER + record_key.len(), value.len());
            self.bytes += u64::from(size);
            self.growth.note(None, Some(size));
            held.logged = Some(size);
        }
    }

    /// Puts a row back as the changelog has it, or takes it away.
    pub(super) fn restore(&mut self, record_key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let (key, number) = record_key.split_last_chunk().ok_or("a key without its number")?;
        let id = (Arc::from(key), u64::from_be_bytes(*number));
        let before = match value {
            None => self.rows.remove(&id),
            Some(value) => {
                let size = entry_size(RECORD_HEADER + record_key.len(), value.len());
                let held = self.decode(value, size).ok_or("a damaged row that is held")?;
                self.bytes += u64::from(size);
                self.rows.insert(id, held)
            }
        };
        self.bytes -= before.and_then(|held| held.logged).map_or(0, u64::from);
        Ok(())
    }

    fn decode(&self, value: &[u8], size: u32) -> Option<Held> {
        let (slice_end, rest) = value.split_first_chunk()?;
        let (watermark, rest) = rest.split_first_chunk()?;
        let (back, rest) = rest.split_first()?;
        let values = decode_row(rest, &self.types)?;
        let watermark = i64::from_be_bytes(*watermark);
        let mark =
            Mark { order: 0, origin: NO_ORIGIN, timestamp: 0, watermark, partition: 0, back: *back == 1 };
        let mut rows = RowsBuilder::new(&self.types);
        rows.push(mark, &values);
        Some(Held { slice_end: i64::from_be_bytes(*slice_end), row: rows.finish(), logged: Some(size) })
    }
}
