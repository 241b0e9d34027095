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

/// Collects rows one by one.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    types: Vec<DataType>,
    builders: Vec<ColumnBuilder>,
    marks: Vec<Mark>,
}

impl RowsBuilder {
    pub(crate) fn new(types: &[DataType]) -> Self {
        let builders = types.iter().map(|data_type| ColumnBuilder::new(*data_type, 0)).collect();
        Self { types: types.to_vec(), builders, marks: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Appends a row.
    pub(crate) fn push<'v>(&mut self, mark: Mark, values: impl IntoIterator<Item = &'v Value>) {
        let mut values = values.into_iter();
        for builder in &mut self.builders {
            builder.append(values.next().unwrap_or(&Value::Null));
        }
        debug_assert!(values.next().is_none(), "a row of {:?}", self.types);
        self.marks.push(mark);
    }

    /// Appends a row whose columns `fill` appends, one value to each builder.
    pub(crate) fn push_with(&mut self, mark: Mark, fill: impl FnOnce(&mut [ColumnBuilder])) {
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
