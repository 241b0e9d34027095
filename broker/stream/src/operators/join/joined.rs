//! The joined row: which columns of either side it has, and how many of them are made at once.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_buffer::BooleanBuffer;

use super::super::{OperatorFault, Output, SortKeys};
use crate::column::{Column, ColumnBuilder};
use crate::eval;
use crate::plan::{Expression, JoinSide};
use crate::rows::{MOST_BYTES, Mark, PIECE_BYTES, Rows, row_bytes, row_text};
use crate::state::{decode_row, decode_row_into, encode_row};
use crate::value::{DataType, Value};

pub(super) const LEFT: usize = 0;
pub(super) const RIGHT: usize = 1;

/// Rows are taken until they have so many candidates for a pair: so many are looked at at once. What an epoch gives is not
/// bounded by it: an epoch that gave too much makes those behind it smaller.
pub(super) const CANDIDATES: usize = 16 * 1024;

/// How many rows may come of candidates before these are full: a stored row may be there many times, and is one candidate.
const ROWS_OF_CANDIDATES: u64 = (PIECE_BYTES / 64) as u64;

/// No row: `NULL` in every column.
const NONE: u32 = u32::MAX;

/// What the rows of a join are made of.
#[derive(Debug)]
pub(super) struct JoinedRow {
    sides: [Side; 2],
    condition: Option<Expression>,
    /// The columns of the joined row that the condition reads.
    read: BTreeSet<usize>,
    /// Bytes of the chunk's and the stored rows that are copied at once: [`PIECE_BYTES`], but in tests.
    piece_bytes: usize,
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
    /// The stored rows, each once where rows that follow each other find the same.
    builders: Vec<ColumnBuilder>,
    /// How many they are.
    stored: usize,
    /// For each candidate the row of the chunk that found it.
    rows: Vec<u32>,
    /// And which of the stored rows it is.
    places: Vec<u32>,
    /// The bytes of the candidates.
    bytes: usize,
    /// What the row of the chunk that was last looked up has come to.
    of_last: Last,
    /// How many rows come of them if all are pairs.
    times: u64,
    /// For each row of the chunk where its candidates end.
    ends: Vec<usize>,
}

/// What a row of the chunk has found.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    /// Its first candidate.
    first: usize,
    bytes: usize,
    times: u64,
}

/// Candidates of which it is known whether they are pairs.
#[derive(Debug)]
pub(super) struct Found {
    /// The stored rows.
    pub(super) stored: Vec<Column>,
    /// For each candidate which of them it is.
    places: Vec<u32>,
    pub(super) pairs: BooleanBuffer,
    ends: Vec<usize>,
}

/// Rows to give: for each the row of the chunk and the stored row, and where it stands. There are never more than an
/// output has room for, and one: then the epoch is given up.
#[derive(Debug)]
pub(super) struct Given {
    chunk: Vec<u32>,
    stored: Vec<u32>,
    marks: Vec<Mark>,
    /// How many rows are more than there is room for.
    too_many: usize,
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
            piece_bytes: PIECE_BYTES,
        }
    }

    /// Copies rows in pieces of so many bytes.
    #[cfg(test)]
    pub(super) fn copy_in_pieces_of(&mut self, bytes: usize) {
        self.piece_bytes = bytes;
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
            stored: 0,
            rows: Vec::new(),
            places: Vec::new(),
            bytes: 0,
            of_last: Last::default(),
            times: 0,
            ends: Vec::new(),
        }
    }

    /// No rows to give yet, as far as an output has room for them.
    pub(super) fn given(&self, out: &Output) -> Given {
        let too_many = out.left() / self.row_bytes() + 1;
        Given { chunk: Vec::new(), stored: Vec::new(), marks: Vec::new(), too_many }
    }

    /// Bytes of a joined row beside its texts.
    fn row_bytes(&self) -> usize {
        row_bytes(self.sides.iter().map(|side| side.types.len()).sum())
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
        let Candidates { mut builders, rows, places, ends, bytes, .. } = candidates;
        if bytes > MOST_BYTES {
            out.note(bytes);
        }
        let stored: Vec<Column> = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let all = BooleanBuffer::new_set(rows.len());
        let pairs = match &self.condition {
            Some(condition) if !rows.is_empty() => {
                let mut pairs = BooleanBufferBuilder::new(rows.len());
                for piece in self.pieces(probing, chunk, &rows) {
                    let columns = self.condition_columns(probing, chunk, &rows, (&stored, &places), &piece);
                    let (found, faults) = eval::mask(condition, &columns, piece.len(), now);
                    pairs.append_buffer(&found);
                    for (pair, fault) in faults {
                        out.faults.push_with(|| OperatorFault {
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
        Found { stored, places, pairs, ends }
    }

    /// The candidates in pieces whose copies of the chunk's rows are not too many bytes, as far as the condition reads
    /// them.
    fn pieces(&self, probing: usize, chunk: &[Column], rows: &[u32]) -> Vec<Range<usize>> {
        let before = if probing == LEFT { 0 } else { self.sides[LEFT].types.len() };
        let read = |column: &usize| self.read.contains(&(before + column));
        let read: Vec<&Column> = (0..chunk.len()).filter(read).map(|column| &chunk[column]).collect();
        let bytes = |at: usize| read.iter().map(|column| column.text_bytes_at(rows[at] as usize)).sum();
        in_pieces(rows.len(), self.piece_bytes, bytes)
    }

    /// The joined row's columns as far as the condition reads them, of one piece of the candidates.
    fn condition_columns(
        &self,
        probing: usize,
        chunk: &[Column],
        rows: &[u32],
        (stored, places): (&[Column], &[u32]),
        piece: &Range<usize>,
    ) -> Vec<Column> {
        // Each stored row is a candidate once at least, in their order: as many of one as of the other are the same ones.
        let whole =
            piece.len() == places.len() && stored.first().is_none_or(|stored| stored.len() == places.len());
        let (rows, places) = (&rows[piece.clone()], &places[piece.clone()]);
        let unread = Column::repeat(&Value::Null, DataType::Boolean, 0);
        let mut columns = Vec::new();
        for side in [LEFT, RIGHT] {
            for column in 0..self.sides[side].types.len() {
                columns.push(match (self.read.contains(&columns.len()), side == probing) {
                    (false, _) => unread.clone(),
                    (true, true) => chunk[column].take(rows),
                    (true, false) if whole => stored[column].clone(),
                    (true, false) => stored[column].take(places),
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
        self.in_parts(probing, chunk, stored, given, out, |rows, out| out.push(rows));
    }

    /// Gives rows that time caused, each with what it is sorted by.
    pub(super) fn give_timed(
        &self,
        chunk: &[Column],
        stored: &[Column],
        given: Given,
        sort: &SortKeys,
        out: &mut Output,
    ) {
        let mut given_before = 0;
        self.in_parts(LEFT, chunk, stored, given, out, |rows, out| {
            let of_rows = given_before..given_before + rows.len();
            given_before = of_rows.end;
            out.push_timed(rows, sort.part(of_rows));
        });
    }

    /// The rows in parts of not too many bytes, as long as there is room.
    fn in_parts(
        &self,
        probing: usize,
        chunk: &[Column],
        stored: &[Column],
        given: Given,
        out: &mut Output,
        mut part: impl FnMut(Rows, &mut Output),
    ) {
        if given.marks.len() >= given.too_many {
            return out.note(given.marks.len().saturating_mul(self.row_bytes()));
        }
        let bytes = |at: usize| {
            let of = |columns: &[Column], place: u32| match place {
                NONE => 0,
                place => columns.iter().map(|column| column.text_bytes_at(place as usize)).sum::<usize>(),
            };
            of(chunk, given.chunk[at]) + of(stored, given.stored[at])
        };
        let pieces = in_pieces(given.marks.len(), self.piece_bytes, bytes);
        if let [_] = pieces.as_slice() {
            let Given { chunk: of_chunk, stored: of_stored, marks, .. } = given;
            return part(self.rows(probing, (chunk, &of_chunk), (stored, &of_stored), marks), out);
        }
        for piece in pieces {
            if !out.has_room() {
                return;
            }
            let (of_chunk, of_stored) = (&given.chunk[piece.clone()], &given.stored[piece.clone()]);
            let marks = given.marks[piece].to_vec();
            part(self.rows(probing, (chunk, of_chunk), (stored, of_stored), marks), out);
        }
    }

    /// The rows of these places of the chunk's and the stored rows.
    fn rows(
        &self,
        probing: usize,
        chunk: (&[Column], &[u32]),
        stored: (&[Column], &[u32]),
        marks: Vec<Mark>,
    ) -> Rows {
        let columns = [LEFT, RIGHT].into_iter().flat_map(|side| {
            let (columns, places) = if side == probing { chunk } else { stored };
            let types = &self.sides[side].types;
            columns.iter().zip(types).map(|(column, data_type)| gather(column, *data_type, places))
        });
        Rows { columns: columns.collect(), marks }
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
        self.rows.len() >= CANDIDATES || self.bytes >= PIECE_BYTES || self.times >= ROWS_OF_CANDIDATES
    }

    /// A stored row, which is there so many times, for a row of the chunk.
    pub(super) fn push(&mut self, row: usize, stored: &[u8], times: u32) {
        // Behind too many candidates of one row the epoch is given up.
        if self.bytes > MOST_BYTES {
            return;
        }
        self.bytes += stored.len();
        self.times += u64::from(times);
        self.of_last.bytes += stored.len();
        self.of_last.times += u64::from(times);
        decode_row_into(stored, &self.types, &mut self.builders);
        self.rows.push(row as u32);
        self.places.push(self.stored as u32);
        self.stored += 1;
    }

    /// A row of the chunk finds what the row before it has found.
    pub(super) fn push_same(&mut self, row: usize) {
        if self.bytes > MOST_BYTES {
            return self.end_row();
        }
        let Last { first, bytes, times } = self.of_last;
        let end = self.places.len();
        self.places.extend_from_within(first..);
        self.rows.extend(std::iter::repeat_n(row as u32, end - first));
        // What is looked at is copied.
        self.bytes += bytes;
        self.times += times;
        self.of_last = Last { first: end, bytes, times };
        self.ends.push(self.rows.len());
    }

    /// The next row of the chunk has no more candidates.
    pub(super) fn end_row(&mut self) {
        self.ends.push(self.rows.len());
    }

    /// A row of the chunk is looked up.
    pub(super) fn begin_row(&mut self) {
        self.of_last = Last { first: self.rows.len(), ..Last::default() };
    }
}

impl Found {
    /// The candidates of the row that is the `index`th to have been looked up.
    pub(super) fn of_row(&self, index: usize) -> impl Iterator<Item = usize> + use<'_> {
        let candidates: Range<usize> =
            if index == 0 { 0..self.ends[0] } else { self.ends[index - 1]..self.ends[index] };
        candidates.filter(|candidate| self.pairs.value(*candidate))
    }

    /// Which of the stored rows a candidate is.
    pub(super) fn place(&self, candidate: usize) -> usize {
        self.places[candidate] as usize
    }
}

impl Given {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// A row of the chunk with a stored row.
    pub(super) fn pair(&mut self, row: usize, stored: usize, mark: Mark) {
        self.push(row as u32, stored as u32, mark, 1);
    }

    /// A row of the chunk with a stored row that is there so many times.
    pub(super) fn pairs(&mut self, row: usize, stored: usize, mark: Mark, times: u32) {
        self.push(row as u32, stored as u32, mark, times);
    }

    /// A row of the chunk alone, so many times.
    pub(super) fn alone(&mut self, row: usize, mark: Mark, times: u32) {
        self.push(row as u32, NONE, mark, times);
    }

    /// A stored row alone, so many times.
    pub(super) fn stored_alone(&mut self, stored: usize, mark: Mark, times: u32) {
        self.push(NONE, stored as u32, mark, times);
    }

    fn push(&mut self, row: u32, stored: u32, mark: Mark, times: u32) {
        let times = (times as usize).min(self.too_many - self.marks.len());
        if times == 1 {
            self.chunk.push(row);
            self.stored.push(stored);
            self.marks.push(mark);
            return;
        }
        self.chunk.extend(std::iter::repeat_n(row, times));
        self.stored.extend(std::iter::repeat_n(stored, times));
        self.marks.extend(std::iter::repeat_n(mark, times));
    }
}

/// Places in a row of pieces: each ends with the place that makes it `most` bytes.
fn in_pieces(places: usize, most: usize, bytes: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for at in 0..places {
        sum += bytes(at);
        if sum >= most {
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
