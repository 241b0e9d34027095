//! The joined row: which columns of either side it has, and how many of them are made at once.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_buffer::BooleanBuffer;

use super::super::{OperatorFault, Output};
use crate::column::{Column, ColumnBuilder};
use crate::eval;
use crate::plan::{Expression, JoinSide};
use crate::rows::{MOST_BYTES, Mark, PIECE_BYTES, Rows, row_text};
use crate::state::{decode_row, decode_row_into, encode_row};
use crate::value::{DataType, Value};

pub(super) const LEFT: usize = 0;
pub(super) const RIGHT: usize = 1;

/// Rows are taken until they have so many candidates for a pair: so many are looked at at once. What an epoch gives is not
/// bounded by it: an epoch that gave too much makes those behind it smaller.
pub(super) const CANDIDATES: usize = 16 * 1024;

/// No row: `NULL` in every column.
const NONE: u32 = u32::MAX;

/// What the rows of a join are made of.
#[derive(Debug)]
pub(super) struct JoinedRow {
    sides: [Side; 2],
    condition: Option<Expression>,
    /// The columns of the joined row that the condition reads.
    read: BTreeSet<usize>,
}

#[derive(Debug)]
struct Side {
    keys: Vec<usize>,
    columns: Vec<usize>,
    types: Vec<DataType>,
}

/// Stored rows that rows of the other side may make a pair with.
#[derive(Debug)]
pub(super) struct Candidates {
    types: Vec<DataType>,
    builders: Vec<ColumnBuilder>,
    /// For each candidate the row of the chunk that found it.
    rows: Vec<u32>,
    /// The bytes of the candidates.
    bytes: usize,
    /// For each row of the chunk where its candidates end.
    ends: Vec<usize>,
}

/// Candidates of which it is known whether they are pairs.
#[derive(Debug)]
pub(super) struct Found {
    /// The stored rows.
    pub(super) stored: Vec<Column>,
    pub(super) pairs: BooleanBuffer,
    ends: Vec<usize>,
}

/// Rows to give: for each the row of the chunk and the stored row, and where it stands.
#[derive(Debug, Default)]
pub(super) struct Given {
    chunk: Vec<u32>,
    stored: Vec<u32>,
    marks: Vec<Mark>,
}

impl JoinedRow {
    pub(super) fn new(
        left: &JoinSide,
        right: &JoinSide,
        condition: Option<&Expression>,
        inputs: [&[DataType]; 2],
    ) -> Self {
        let side = |side: &JoinSide, types: &[DataType]| Side {
            keys: side.keys.clone(),
            columns: side.columns.clone(),
            types: side.columns.iter().map(|column| types[*column]).collect(),
        };
        let mut read = BTreeSet::new();
        if let Some(condition) = condition {
            condition.for_each_column(&mut |column| {
                read.insert(column);
            });
        }
        Self {
            sides: [side(left, inputs[LEFT]), side(right, inputs[RIGHT])],
            condition: condition.cloned(),
            read,
        }
    }

    /// The types of a side's columns.
    pub(super) fn types(&self, side: usize) -> &[DataType] {
        &self.sides[side].types
    }

    /// The types of all columns.
    pub(super) fn all_types(&self) -> Vec<DataType> {
        self.sides.iter().flat_map(|side| side.types.iter().copied()).collect()
    }

    /// A side's columns of a chunk.
    pub(super) fn columns(&self, side: usize, rows: &Rows) -> Vec<Column> {
        self.sides[side].columns.iter().map(|column| rows.columns[*column].clone()).collect()
    }

    /// The bytes of a side's row.
    pub(super) fn encode(&self, side: usize, rows: &Rows, row: usize, out: &mut Vec<u8>) {
        encode_row(rows, row, self.sides[side].columns.iter().copied(), out);
    }

    /// Whether the bytes are a side's row.
    pub(super) fn check(&self, side: usize, row: &[u8]) -> Result<(), String> {
        decode_row(row, &self.sides[side].types).map(drop).ok_or_else(|| "a damaged row".to_owned())
    }

    /// Whether a row's key can equal another: no part of it is `NULL`.
    pub(super) fn has_key(&self, side: usize, rows: &Rows, row: usize) -> bool {
        self.sides[side].keys.iter().all(|key| !rows.columns[*key].is_null(row))
    }

    /// No candidates yet, of the stored rows of a side.
    pub(super) fn candidates(&self, stored: usize) -> Candidates {
        let types = self.sides[stored].types.clone();
        Candidates {
            builders: types.iter().map(|data_type| ColumnBuilder::new(*data_type, 0)).collect(),
            types,
            rows: Vec::new(),
            bytes: 0,
            ends: Vec::new(),
        }
    }

    /// Which candidates are pairs. A condition that cannot be evaluated is the row's fault, and no pair.
    pub(super) fn find(
        &self,
        probing: usize,
        chunk: &[Column],
        candidates: Candidates,
        now: i64,
        out: &mut Output,
    ) -> Found {
        let Candidates { mut builders, rows, ends, bytes, .. } = candidates;
        if bytes > MOST_BYTES {
            out.note(bytes);
        }
        let stored: Vec<Column> = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let all = BooleanBuffer::new_set(rows.len());
        let pairs = match &self.condition {
            Some(condition) if !rows.is_empty() => {
                let mut pairs = BooleanBufferBuilder::new(rows.len());
                for piece in self.pieces(probing, chunk, &rows) {
                    let columns = self.condition_columns(probing, chunk, &rows, &stored, &piece);
                    let (found, faults) = eval::mask(condition, &columns, piece.len(), now);
                    pairs.append_buffer(&found);
                    for (pair, fault) in faults {
                        out.faults.push(OperatorFault {
                            row: row_text(chunk, rows[piece.start + pair] as usize),
                            expression: fault.expression,
                            reason: fault.reason,
                        });
                    }
                }
                pairs.finish()
            }
            _ => all,
        };
        Found { stored, pairs, ends }
    }

    /// The candidates in pieces whose copies of the chunk's rows are not too many bytes, as far as the condition reads
    /// them.
    fn pieces(&self, probing: usize, chunk: &[Column], rows: &[u32]) -> Vec<Range<usize>> {
        let before = if probing == LEFT { 0 } else { self.sides[LEFT].types.len() };
        let read = |column: &usize| self.read.contains(&(before + column));
        let read: Vec<&Column> = (0..chunk.len()).filter(read).map(|column| &chunk[column]).collect();
        let bytes = |at: usize| read.iter().map(|column| column.text_bytes_at(rows[at] as usize)).sum();
        in_pieces(rows.len(), bytes)
    }

    /// The joined row's columns as far as the condition reads them, of one piece of the candidates.
    fn condition_columns(
        &self,
        probing: usize,
        chunk: &[Column],
        rows: &[u32],
        stored: &[Column],
        piece: &Range<usize>,
    ) -> Vec<Column> {
        let rows = &rows[piece.clone()];
        let whole = stored.first().is_none_or(|stored| stored.len() == rows.len());
        let places: Vec<u32> = piece.clone().map(|at| at as u32).collect();
        let unread = Column::repeat(&Value::Null, DataType::Boolean, 0);
        let mut columns = Vec::new();
        for side in [LEFT, RIGHT] {
            for column in 0..self.sides[side].types.len() {
                columns.push(match (self.read.contains(&columns.len()), side == probing) {
                    (false, _) => unread.clone(),
                    (true, true) => chunk[column].take(rows),
                    (true, false) if whole => stored[column].clone(),
                    (true, false) => stored[column].take(&places),
                });
            }
        }
        columns
    }

    /// Gives the rows.
    pub(super) fn give(
        &self,
        probing: usize,
        chunk: &[Column],
        stored: &[Column],
        given: Given,
        out: &mut Output,
    ) {
        let bytes = |at: usize| {
            let of = |columns: &[Column], place: u32| match place {
                NONE => 0,
                place => columns.iter().map(|column| column.text_bytes_at(place as usize)).sum::<usize>(),
            };
            of(chunk, given.chunk[at]) + of(stored, given.stored[at])
        };
        let pieces = in_pieces(given.marks.len(), bytes);
        if let [_] = pieces.as_slice() {
            self.rows(probing, chunk, stored, given).into_iter().for_each(|rows| out.push(rows));
            return;
        }
        for piece in pieces {
            if !out.has_room() {
                return;
            }
            let part = Given {
                chunk: given.chunk[piece.clone()].to_vec(),
                stored: given.stored[piece.clone()].to_vec(),
                marks: given.marks[piece].to_vec(),
            };
            self.rows(probing, chunk, stored, part).into_iter().for_each(|rows| out.push(rows));
        }
    }

    /// The rows, if there are any.
    pub(super) fn rows(
        &self,
        probing: usize,
        chunk: &[Column],
        stored: &[Column],
        given: Given,
    ) -> Option<Rows> {
        if given.marks.is_empty() {
            return None;
        }
        let columns = [LEFT, RIGHT].into_iter().flat_map(|side| {
            let (columns, places) = match side == probing {
                true => (chunk, &given.chunk),
                false => (stored, &given.stored),
            };
            let types = &self.sides[side].types;
            columns.iter().zip(types).map(|(column, data_type)| gather(column, *data_type, places))
        });
        Some(Rows { columns: columns.collect(), marks: given.marks })
    }

    /// Appends a stored row of a side, and `NULL` for the other side.
    pub(super) fn append_alone(&self, side: usize, row: &[u8], builders: &mut [ColumnBuilder]) {
        let (left, right) = builders.split_at_mut(self.sides[LEFT].types.len());
        let (with, without) = if side == LEFT { (left, right) } else { (right, left) };
        decode_row_into(row, &self.sides[side].types, with);
        without.iter_mut().for_each(ColumnBuilder::append_null);
    }
}

impl Candidates {
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= CANDIDATES || self.bytes >= PIECE_BYTES
    }

    /// A stored row for a row of the chunk.
    pub(super) fn push(&mut self, row: usize, stored: &[u8]) {
        // Behind too many candidates of one row the epoch is given up.
        if self.bytes > MOST_BYTES {
            return;
        }
        self.bytes += stored.len();
        decode_row_into(stored, &self.types, &mut self.builders);
        self.rows.push(row as u32);
    }

    /// The next row of the chunk has no more candidates.
    pub(super) fn end_row(&mut self) {
        self.ends.push(self.rows.len());
    }
}

impl Found {
    /// The candidates of the row that is the `index`th to have been looked up.
    pub(super) fn of_row(&self, index: usize) -> impl Iterator<Item = usize> + use<'_> {
        let candidates: Range<usize> =
            if index == 0 { 0..self.ends[0] } else { self.ends[index - 1]..self.ends[index] };
        candidates.filter(|candidate| self.pairs.value(*candidate))
    }
}

impl Given {
    /// A row of the chunk with a stored row.
    pub(super) fn pair(&mut self, row: usize, stored: usize, mark: Mark) {
        self.chunk.push(row as u32);
        self.stored.push(stored as u32);
        self.marks.push(mark);
    }

    /// A row of the chunk alone.
    pub(super) fn alone(&mut self, row: usize, mark: Mark) {
        self.chunk.push(row as u32);
        self.stored.push(NONE);
        self.marks.push(mark);
    }

    /// A stored row alone.
    pub(super) fn stored_alone(&mut self, stored: usize, mark: Mark) {
        self.chunk.push(NONE);
        self.stored.push(stored as u32);
        self.marks.push(mark);
    }
}

/// Places in a row of pieces, each of not too many bytes or of one place.
fn in_pieces(places: usize, bytes: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for at in 0..places {
        sum += bytes(at);
        if sum >= PIECE_BYTES {
            pieces.push(first..at + 1);
            (first, sum) = (at + 1, 0);
        }
    }
    if first < places {
        pieces.push(first..places);
    }
    pieces
}

/// Where a row stands that a row of a side has caused: behind all that the side before it has.
pub(super) fn caused(side: usize, mark: Mark, watermark: i64) -> Mark {
    Mark { order: mark.order | (side as u64) << 62, watermark, ..mark }
}

/// The values at these places, `NULL` at none.
fn gather(column: &Column, data_type: DataType, places: &[u32]) -> Column {
    if places.len() == column.len() && places.iter().enumerate().all(|(at, place)| at == *place as usize) {
        return column.clone();
    }
    if !places.contains(&NONE) {
        return column.take(places);
    }
    let null = column.len() as u32;
    let with_null = Column::concat(&[column.clone(), Column::repeat(&Value::Null, data_type, 1)]);
    let places: Vec<u32> = places.iter().map(|place| (*place).min(null)).collect();
    with_null.take(&places)
}
