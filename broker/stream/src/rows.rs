//! What flows between operators: rows in columns, each with where it stands.

use arrow_buffer::BooleanBuffer;

use crate::column::{Column, ColumnBuilder};
use crate::value::{DataType, Value};

/// Event time before anything was seen.
pub(crate) const NO_TIME: i64 = i64::MIN;
/// Event time when it has ended.
pub(crate) const END_OF_TIME: i64 = i64::MAX;

/// A row that was made of other rows: no record of a source is at fault for what happens to it.
pub(crate) const NO_ORIGIN: u64 = u64::MAX;

/// Bytes of rows that are made at once, where each row is copied often.
pub(crate) const PIECE_BYTES: usize = 64 << 20;

/// Bytes of rows that one operator may give in an epoch of several records.
pub(crate) const GIVEN_BYTES: usize = 256 << 20;

/// Bytes of rows that stand in one piece: far below the 2 GiB that an array of texts has room for. One operator gives no
/// more in an epoch of one record.
pub(crate) const MOST_BYTES: usize = 1 << 30;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its serial place among the rows that reach an operator in one epoch. A derived row has the place of the row
    /// that caused it.
    pub(crate) order: u64,
    /// The place its source gave it in the epoch, or [`NO_ORIGIN`].
    pub(crate) origin: u64,
    /// The timestamp of a record made of it.
    pub(crate) timestamp: i64,
    /// The watermark when it came: what decides whether it is late.
    pub(crate) watermark: i64,
    /// The source partition it comes from.
    pub(crate) partition: i32,
    /// The row is taken back: it cancels an equal one that was given before.
    pub(crate) back: bool,
}

/// Rows of one shape, in order.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    pub(crate) marks: Vec<Mark>,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        let texts: usize = self.columns.iter().map(Column::text_bytes).sum();
        texts + self.len() * self.fixed_bytes()
    }

    /// About how many bytes one of them takes.
    pub(crate) fn bytes_at(&self, row: usize) -> usize {
        self.columns.iter().map(|column| column.text_bytes_at(row)).sum::<usize>() + self.fixed_bytes()
    }

    /// Bytes of a row beside its texts.
    fn fixed_bytes(&self) -> usize {
        row_bytes(self.columns.len())
    }

    /// The rows at these places, in their order.
    pub(crate) fn take(&self, places: &[u32]) -> Rows {
        Rows {
            columns: self.columns.iter().map(|column| column.take(places)).collect(),
            marks: places.iter().map(|place| self.marks[*place as usize]).collect(),
        }
    }

    /// The rows where the mask is set.
    pub(crate) fn filter(&self, mask: &BooleanBuffer) -> Rows {
        if mask.count_set_bits() == self.len() {
            return self.clone();
        }
        Rows {
            columns: self.columns.iter().map(|column| column.filter(mask)).collect(),
            marks: mask.set_indices().map(|row| self.marks[row]).collect(),
        }
    }

    /// One row's values.
    #[cfg(test)]
    pub(crate) fn values(&self, row: usize) -> Vec<Value> {
        self.columns.iter().map(|column| column.value(row)).collect()
    }
}

/// About how many bytes a row of so many columns takes, beside its texts.
pub(crate) fn row_bytes(columns: usize) -> usize {
    size_of::<Mark>() + columns * size_of::<i64>()
}

/// A row for a message, cut where it is long.
pub(crate) fn row_text(columns: &[Column], row: usize) -> String {
    const LONGEST: usize = 200;
    let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
    let text = format!("({})", values.join(", "));
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Collects rows one by one. Behind more than [`MOST_BYTES`] of texts it takes no more: whoever gives the rows away is
/// told then that they are too much, and has no use for them.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    types: Vec<DataType>,
    builders: Vec<ColumnBuilder>,
    marks: Vec<Mark>,
}

impl RowsBuilder {
    pub(crate) fn new(types: &[DataType]) -> Self {
        RowsBuilder::with_capacity(types, 0)
    }

    /// With room for so many rows of short texts.
    pub(crate) fn with_capacity(types: &[DataType], rows: usize) -> Self {
        let builders = types.iter().map(|data_type| ColumnBuilder::new(*data_type, rows)).collect();
        Self { types: types.to_vec(), builders, marks: Vec::with_capacity(rows) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn is_full(&self) -> bool {
        self.builders.iter().map(ColumnBuilder::text_bytes).sum::<usize>() > MOST_BYTES
    }

    /// Appends a row.
    pub(crate) fn push<'v>(&mut self, mark: Mark, values: impl IntoIterator<Item = &'v Value>) {
        if self.is_full() {
            return;
        }
        let mut values = values.into_iter();
        for builder in &mut self.builders {
            builder.append(values.next().unwrap_or(&Value::Null));
        }
        debug_assert!(values.next().is_none(), "a row of {:?}", self.types);
        self.marks.push(mark);
    }

    /// Appends a row whose columns `fill` appends, one value to each builder.
    pub(crate) fn push_with(&mut self, mark: Mark, fill: impl FnOnce(&mut [ColumnBuilder])) {
        if self.is_full() {
            return;
        }
        fill(&mut self.builders);
        self.marks.push(mark);
    }

    /// The rows; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Rows {
        Rows {
            columns: self.builders.iter_mut().map(ColumnBuilder::finish).collect(),
            marks: std::mem::take(&mut self.marks),
        }
    }
}
