//! Rows of logs as records of many.
//!
//! ```text
//! key:  span u64, orders as its time does │ number u32        value: for each row  key length u32 │ row length u32 │ key │ row
//! ```
//!
//! An epoch's rows of a span, of all shards, are one record, or several where they are many. A span's records are numbered,
//! and all of them go with it.

use std::collections::BTreeMap;

use super::changelog::Appended;
use super::table::{TIME_BYTES, time_bytes, time_of};

/// A block takes no more rows when it has grown to this many bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// A record of a block, or that it is gone.
pub(crate) type Put<'p> = dyn FnMut(u8, &[u8], Option<&[u8]>) + 'p;

/// How many blocks there are of each span, by its table.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    counts: BTreeMap<(u8, i64), u32>,
}

/// The rows that an epoch has appended to the logs of one operator, until they are packed.
#[derive(Debug, Default)]
pub(crate) struct AppendedRows {
    bytes: Vec<u8>,
    rows: Vec<(u8, i64, u64, std::ops::Range<usize>)>,
}

/// A row in a block: its key and what it holds.
pub(crate) type BlockRow<'b> = (&'b [u8], &'b [u8]);

impl AppendedRows {
    pub(crate) fn push(&mut self, appended: Appended<'_>) {
        let Appended { table, span, order, key, row } = appended;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(row.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(row);
        self.rows.push((table, span, order, start..self.bytes.len()));
    }
}

impl Blocks {
    /// Gives the blocks of an epoch's rows. How many shards appended them does not show.
    pub(crate) fn pack(&mut self, mut appended: AppendedRows, put: &mut Put<'_>) {
        appended.rows.sort_by_key(|(table, span, order, _)| (*table, *span, *order));
        let mut block = Vec::new();
        let mut rows = appended.rows.into_iter().peekable();
        while let Some((table, span, _, range)) = rows.next() {
            block.extend_from_slice(&appended.bytes[range]);
            let next = rows.peek().map(|(table, span, _, _)| (*table, *span));
            if next != Some((table, span)) || block.len() >= BLOCK_BYTES {
                let count = self.counts.entry((table, span)).or_default();
                put(table, &block_key(span, *count), Some(&block));
                *count += 1;
                block.clear();
            }
        }
    }

    /// Gives that all blocks of a span are gone.
    pub(crate) fn forget(&mut self, table: u8, span: i64, put: &mut Put<'_>) {
        // Every shard tells of it.
        let count = self.counts.remove(&(table, span)).unwrap_or(0);
        (0..count).for_each(|number| put(table, &block_key(span, number), None));
    }

    /// Takes note of a block that the changelog has, or of one that is gone; tells its span, if it is news.
    pub(crate) fn restore(&mut self, table: u8, key: &[u8], is_there: bool) -> Result<Option<i64>, String> {
        let (span, number) = split_key(key).ok_or("a damaged key of a block")?;
        if !is_there {
            self.counts.remove(&(table, span));
            return Ok(Some(span));
        }
        let count = self.counts.entry((table, span)).or_default();
        if number < *count {
            return Ok(None);
        }
        *count = number.saturating_add(1);
        Ok(Some(span))
    }
}

fn block_key(span: i64, number: u32) -> [u8; TIME_BYTES + 4] {
    let mut key = [0; TIME_BYTES + 4];
    key[..TIME_BYTES].copy_from_slice(&time_bytes(span));
    key[TIME_BYTES..].copy_from_slice(&number.to_be_bytes());
    key
}

fn split_key(key: &[u8]) -> Option<(i64, u32)> {
    let (span, number) = key.split_at_checked(TIME_BYTES)?;
    Some((time_of(span), u32::from_be_bytes(number.try_into().ok()?)))
}

/// The rows of a block; an error where it is damaged.
pub(crate) fn block_rows(mut block: &[u8]) -> impl Iterator<Item = Result<BlockRow<'_>, String>> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let found = take_row(&mut block);
        if found.is_none() {
            block = &[];
        }
        Some(found.ok_or_else(|| "a damaged block of rows".to_owned()))
    })
}

fn take_row<'b>(block: &mut &'b [u8]) -> Option<BlockRow<'b>> {
    let (key_length, rest) = block.split_first_chunk()?;
    let (row_length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    let (row, rest) = rest.split_at_checked(u32::from_le_bytes(*row_length) as usize)?;
    *block = rest;
    // A key begins with its key group.
    (!key.is_empty()).then_some((key, row))
}
