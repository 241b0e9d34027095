//! The rows of an answer, gathered from what the epochs of a query give.
//!
//! ```text
//! what an epoch gave ─► rows, without those that it takes back ─► those that ORDER BY and LIMIT may leave ─► the answer
//! ```
//!
//! A query may make far more rows than it answers with, and more than were in the table: so nothing is kept that the answer
//! does not need, and what is kept has a bound.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use logmill_record::Batch;

use super::QueryError;
use crate::column::Column;
use crate::format::{Landed, RecordPlace, RowDecoder};
use crate::plan::OutputMode;
use crate::sql::{BoundSelect, RESULT_TOPIC, SelectOrder};
use crate::state::encode_key_part;
use crate::value::Value;

/// Rows are decoded about so many at a time.
const CHUNK_ROWS: usize = 1024;
/// About what a row takes beside its values, and beside its key where it has one.
const ROW_BYTES: usize = 64;

/// The rows of a query so far.
#[derive(Debug)]
pub(super) struct Answer<'q> {
    bound: &'q BoundSelect,
    decoder: RowDecoder,
    /// By the order in which they were given.
    rows: BTreeMap<u64, Vec<Value>>,
    next: u64,
    /// Where rows may be taken back: the rows that are equal, by what is in them.
    equal: Option<HashMap<Vec<u8>, Vec<u64>>>,
    /// Of the rows in their order no more than these are needed: one more than may be asked for says that there are too many.
    needed: usize,
    max_rows: usize,
    bytes: usize,
    max_bytes: usize,
}

impl<'q> Answer<'q> {
    /// No rows yet.
    pub(super) fn new(
        bound: &'q BoundSelect,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Answer<'q>, QueryError> {
        let sink = &bound.plan.sinks[0];
        let decoder = RowDecoder::new(&sink.format, &sink.columns, CHUNK_ROWS)
            .map_err(|error| unreadable(error.to_string()))?;
        let limit = bound.limit.unwrap_or(usize::MAX).min(max_rows.saturating_add(1));
        Ok(Answer {
            bound,
            decoder,
            rows: BTreeMap::new(),
            next: 0,
            equal: (sink.mode == OutputMode::Retract).then(HashMap::new),
            needed: bound.offset.saturating_add(limit),
            max_rows,
            bytes: 0,
            max_bytes,
        })
    }

    /// Whether no row that comes could change the answer.
    pub(super) fn is_enough(&self) -> bool {
        let keeps_first = self.equal.is_none() && self.bound.order.is_empty();
        self.needed == 0 || keeps_first && self.rows.len() >= self.needed
    }

    /// Takes rows that the engine has written itself.
    pub(super) fn take(&mut self, batch: &Batch) -> Result<(), QueryError> {
        let open = batch.open(usize::MAX).map_err(|error| unreadable(error.to_string()))?;
        let place = RecordPlace {
            topic: RESULT_TOPIC,
            partition: 0,
            timestamp_type: batch.header().attributes.timestamp_type(),
        };
        // Of each row, whether it is taken back.
        let mut back = Vec::new();
        for view in open.records() {
            let view = view.map_err(|error| unreadable(error.to_string()))?;
            match self.decoder.decode(place, &view).map_err(unreadable)? {
                Landed::Row | Landed::Tombstone => back.push(false),
                Landed::TakenBack => back.push(true),
                Landed::Replaced | Landed::Moved => back.extend([true, false]),
                Landed::Nothing => {}
            }
        }
        let columns = self.decoder.finish();
        for (row, back) in back.into_iter().enumerate() {
            match back {
                true => self.take_back(&columns, row),
                false => self.give(&columns, row)?,
            }
            if self.is_enough() {
                break;
            }
        }
        Ok(())
    }

    fn give(&mut self, columns: &[Column], row: usize) -> Result<(), QueryError> {
        let values: Vec<Value> = columns.iter().map(|column| column.value(row)).collect();
        self.bytes += size(&values);
        if let Some(equal) = &mut self.equal {
            let key = key(columns, row);
            self.bytes += key.len() + ROW_BYTES;
            equal.entry(key).or_default().push(self.next);
        }
        self.rows.insert(self.next, values);
        self.next += 1;
        // Twice as many, so that rows are not ordered again for each that comes.
        let are_many = self.rows.len() > self.needed.saturating_mul(2).saturating_add(CHUNK_ROWS);
        let is_over = self.bytes > self.max_bytes;
        if self.equal.is_none() && (are_many || is_over) {
            self.leave_out();
        }
        // For the same reason, half of the room where there was not enough.
        let room = if self.equal.is_none() && is_over { self.max_bytes / 2 } else { self.max_bytes };
        match self.bytes > room {
            true => Err(QueryError::TooLarge { max_bytes: room }),
            false => Ok(()),
        }
    }

    /// Takes back the last row that is equal to this one.
    fn take_back(&mut self, columns: &[Column], row: usize) {
        let Some(equal) = &mut self.equal else { return };
        let key = key(columns, row);
        let Some(places) = equal.get_mut(&key) else { return };
        let gone = places.pop();
        if places.is_empty() {
            equal.remove(&key);
        }
        if let Some(gone) = gone.and_then(|gone| self.rows.remove(&gone)) {
            self.bytes -= size(&gone) + key.len() + ROW_BYTES;
        }
    }

    /// Forgets the rows behind those that the answer needs.
    fn leave_out(&mut self) {
        let mut places: Vec<u64> = self.rows.keys().copied().collect();
        places.sort_by(|left, right| compare(&self.rows[left], &self.rows[right], &self.bound.order));
        for place in places.into_iter().skip(self.needed) {
            if let Some(gone) = self.rows.remove(&place) {
                self.bytes -= size(&gone);
            }
        }
    }

    /// The rows in their order, of which `OFFSET` and `LIMIT` leave these.
    pub(super) fn finish(self) -> Result<Vec<Vec<Value>>, QueryError> {
        let mut rows: Vec<Vec<Value>> = self.rows.into_values().collect();
        rows.sort_by(|left, right| compare(left, right, &self.bound.order));
        let limit = self.bound.limit.unwrap_or(usize::MAX);
        let mut rows: Vec<Vec<Value>> = rows.into_iter().skip(self.bound.offset).take(limit).collect();
        if rows.len() > self.max_rows {
            return Err(QueryError::TooManyResults { rows: rows.len(), max_rows: self.max_rows });
        }
        // Behind the columns that are shown stand those that serve the order.
        rows.iter_mut().for_each(|row| row.truncate(self.bound.names.len()));
        Ok(rows)
    }
}

fn unreadable(reason: String) -> QueryError {
    QueryError::Failed(format!("the result cannot be read: {reason}"))
}

/// What is in a row, as bytes that are the same for equal rows.
fn key(columns: &[Column], row: usize) -> Vec<u8> {
    let mut key = Vec::new();
    columns.iter().for_each(|column| encode_key_part(column, row, &mut key));
    key
}

/// About what a row takes in memory.
fn size(row: &[Value]) -> usize {
    let text = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    ROW_BYTES + size_of_val(row) + row.iter().map(text).sum::<usize>()
}

fn compare(left: &[Value], right: &[Value], order: &[SelectOrder]) -> Ordering {
    for SelectOrder { column, descending, nulls_first } in order {
        let (left, right) = (&left[*column], &right[*column]);
        let null = if *nulls_first { Ordering::Less } else { Ordering::Greater };
        let ordering = match (left, right) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => null,
            (_, Value::Null) => null.reverse(),
            (left, right) if *descending => of_values(right, left),
            (left, right) => of_values(left, right),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

/// The order of two values of one column.
fn of_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::BigInt(left), Value::BigInt(right)) | (Value::Timestamp(left), Value::Timestamp(right)) => {
            left.cmp(right)
        }
        (Value::Double(left), Value::Double(right)) => left.total_cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        // Of one scale: they stand in one column.
        (Value::Decimal(left), Value::Decimal(right)) => left.unscaled.cmp(&right.unscaled),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}
