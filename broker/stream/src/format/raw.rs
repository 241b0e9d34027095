//! One column that is the whole of a value or a key.

use super::cell::{Cell, Slot};
use super::csv::write_plain;
use super::error::FormatError;
use crate::column::Column;

/// Decodes a value that is one column.
#[derive(Debug, Clone)]
pub(crate) struct RawDecoder {
    slot: Option<usize>,
}

impl RawDecoder {
    pub(crate) fn new<'a>(fields: impl IntoIterator<Item = (usize, &'a str)>) -> Result<Self, FormatError> {
        let mut fields = fields.into_iter();
        let slot = fields.next().map(|(slot, _)| slot);
        match fields.next() {
            None => Ok(Self { slot }),
            Some((_, second)) => Err(one_column(second)),
        }
    }

    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        if let Some(slot) = self.slot {
            cells[slot] = whole(&slots[slot], input)?;
        }
        Ok(())
    }
}

/// The bytes as one value: as they are, or as the text of another type.
pub(crate) fn whole<'r>(slot: &Slot, input: &'r [u8]) -> Result<Cell<'r>, String> {
    use crate::value::DataType;
    match slot.data_type {
        DataType::String | DataType::Bytes => slot.bytes(input),
        _ => match std::str::from_utf8(input) {
            Ok(text) => slot.plain(text),
            Err(error) => Err(slot.mismatch(format_args!("not UTF-8 ({error})"))),
        },
    }
}

/// A value that is not `NULL` as the whole of a value, a key or a header: bytes as they are, others as text.
pub(crate) fn write_whole(column: &Column, row: usize, out: &mut Vec<u8>) {
    match column {
        Column::Bytes(array) => out.extend_from_slice(array.value(row)),
        other => write_plain(other, row, out),
    }
}

fn one_column(second: &str) -> FormatError {
    FormatError::new(
        format!("a raw value is one column, `{second}` is another"),
        "leave the others out, or use 'csv' or 'json'",
    )
}

/// Encodes a value that is one column.
#[derive(Debug)]
pub(crate) struct RawEncoder {
    column: usize,
}

impl RawEncoder {
    pub(crate) fn new(columns: &[crate::plan::Column], which: &[usize]) -> Result<Self, FormatError> {
        match which {
            [column] => Ok(Self { column: *column }),
            [_, second, ..] => Err(one_column(&columns[*second].name)),
            [] => {
                Err(FormatError::new("a raw value is one column, there is none", "declare a column for it"))
            }
        }
    }

    /// Appends the value. Returns `false` for `NULL`, which is no value at all.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> bool {
        let column = &columns[self.column];
        if column.is_null(row) {
            return false;
        }
        write_whole(column, row, out);
        true
    }
}
