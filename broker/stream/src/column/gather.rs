//! Rows of columns into new columns: named one by one, by a mask, or end to end.

use std::ops::Range;

use arrow_array::builder::{BooleanBufferBuilder, GenericByteBuilder};
use arrow_array::types::ByteArrayType;
use arrow_array::{Array, ArrowPrimitiveType, BooleanArray, GenericByteArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};

use super::Column;

/// Neighbouring rows of one array; there is always one.
type Run<'a, A> = (&'a A, Range<usize>);

/// One variant's arrays as whole runs; the caller promises one type.
macro_rules! whole {
    ($variant:ident, $columns:expr) => {
        $columns
            .iter()
            .map(|column| match column {
                Column::$variant(array) => (array, 0..array.len()),
                other => unreachable!("columns of one type are joined, found {other:?}"),
            })
            .collect::<Vec<_>>()
    };
}

impl Column {
    /// The rows named, in the order they are named; a row may be named twice.
    pub(crate) fn take(&self, rows: &[u32]) -> Column {
        match self {
            Column::Boolean(array) => {
                let values = take_bits(array.values(), rows);
                Column::Boolean(BooleanArray::new(values, take_nulls(array.nulls(), rows)))
            }
            Column::BigInt(array) => Column::BigInt(take_primitive(array, rows)),
            Column::Double(array) => Column::Double(take_primitive(array, rows)),
            Column::String(array) => Column::String(take_bytes(array, rows.iter().map(|row| *row as usize))),
            Column::Timestamp(array) => Column::Timestamp(take_primitive(array, rows)),
            Column::Decimal(array) => Column::Decimal(take_primitive(array, rows)),
            Column::Date(array) => Column::Date(take_primitive(array, rows)),
            Column::Bytes(array) => Column::Bytes(take_bytes(array, rows.iter().map(|row| *row as usize))),
        }
    }

    /// The rows for which the mask, as long as the column, is set.
    pub(crate) fn filter(&self, mask: &BooleanBuffer) -> Column {
        assert_eq!(mask.len(), self.len(), "a mask is as long as its column");
        if mask.count_set_bits() == mask.len() {
            return self.clone();
        }
        let runs = || mask.set_slices().map(|(start, end)| start..end);
        match self {
            Column::Boolean(array) => Column::Boolean(copy_bits(&of(array, runs()))),
            Column::BigInt(array) => Column::BigInt(copy_primitive(&of(array, runs()))),
            Column::Double(array) => Column::Double(copy_primitive(&of(array, runs()))),
            Column::String(array) => Column::String(take_bytes(array, mask.set_indices())),
            Column::Timestamp(array) => Column::Timestamp(copy_primitive(&of(array, runs()))),
            Column::Decimal(array) => Column::Decimal(copy_primitive(&of(array, runs()))),
            Column::Date(array) => Column::Date(copy_primitive(&of(array, runs()))),
            Column::Bytes(array) => Column::Bytes(take_bytes(array, mask.set_indices())),
        }
    }

    /// The columns, of one type and at least one, end to end.
    pub(crate) fn concat(columns: &[Column]) -> Column {
        match columns {
            [] => unreachable!("without a column there is no type"),
            [single] => single.clone(),
            [Column::Boolean(_), ..] => Column::Boolean(copy_bits(&whole!(Boolean, columns))),
            [Column::BigInt(_), ..] => Column::BigInt(copy_primitive(&whole!(BigInt, columns))),
            [Column::Double(_), ..] => Column::Double(copy_primitive(&whole!(Double, columns))),
            [Column::String(_), ..] => Column::String(join_bytes(&whole!(String, columns))),
            [Column::Timestamp(_), ..] => Column::Timestamp(copy_primitive(&whole!(Timestamp, columns))),
            [Column::Decimal(_), ..] => Column::Decimal(copy_primitive(&whole!(Decimal, columns))),
            [Column::Date(_), ..] => Column::Date(copy_primitive(&whole!(Date, columns))),
            [Column::Bytes(_), ..] => Column::Bytes(join_bytes(&whole!(Bytes, columns))),
        }
    }
}

fn of<A>(array: &A, runs: impl Iterator<Item = Range<usize>>) -> Vec<Run<'_, A>> {
    // An empty run at the end: where no row is kept, the array still says of which type.
    runs.chain(std::iter::once(0..0)).map(|run| (array, run)).collect()
}

fn take_bits(bits: &BooleanBuffer, rows: &[u32]) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows.len(), |at| bits.value(rows[at] as usize))
}

fn take_nulls(nulls: Option<&NullBuffer>, rows: &[u32]) -> Option<NullBuffer> {
    nulls.map(|nulls| NullBuffer::new(take_bits(nulls.inner(), rows)))
}

fn take_primitive<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, rows: &[u32]) -> PrimitiveArray<T> {
    let values = array.values();
    let taken: ScalarBuffer<T::Native> = rows.iter().map(|row| values[*row as usize]).collect();
    PrimitiveArray::new(taken, take_nulls(array.nulls(), rows)).with_data_type(array.data_type().clone())
}

/// Value by value: a builder of texts need not check again that they are texts.
fn take_bytes<T: ByteArrayType>(
    array: &GenericByteArray<T>,
    rows: impl Iterator<Item = usize>,
) -> GenericByteArray<T> {
    let (count, _) = rows.size_hint();
    let bytes_per_row = array.value_data().len() / array.len().max(1) + 1;
    let mut builder = GenericByteBuilder::<T>::with_capacity(count, count * bytes_per_row);
    match array.nulls() {
        None => rows.for_each(|row| builder.append_value(array.value(row))),
        Some(nulls) => rows.for_each(|row| match nulls.is_valid(row) {
            true => builder.append_value(array.value(row)),
            false => builder.append_null(),
        }),
    }
    builder.finish()
}

fn join_bytes<T: ByteArrayType>(runs: &[Run<'_, GenericByteArray<T>>]) -> GenericByteArray<T> {
    let rows = runs.iter().map(|(array, _)| array.len()).sum();
    let bytes = runs.iter().map(|(array, _)| array.value_data().len()).sum();
    let mut builder = GenericByteBuilder::<T>::with_capacity(rows, bytes);
    for (array, _) in runs {
        builder.append_array(array).expect("the values of one epoch stay below 2 GiB");
    }
    builder.finish()
}

fn copy_primitive<T: ArrowPrimitiveType>(runs: &[Run<'_, PrimitiveArray<T>>]) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(rows_in(runs));
    for (array, run) in runs {
        values.extend_from_slice(&array.values()[run.clone()]);
    }
    let (first, _) = &runs[0];
    PrimitiveArray::new(values.into(), copy_nulls(runs)).with_data_type(first.data_type().clone())
}

fn copy_bits(runs: &[Run<'_, BooleanArray>]) -> BooleanArray {
    let mut bits = BooleanBufferBuilder::new(rows_in(runs));
    for (array, run) in runs {
        append_bits(&mut bits, array.values(), run);
    }
    BooleanArray::new(bits.finish(), copy_nulls(runs))
}

fn copy_nulls<A: Array>(runs: &[Run<'_, A>]) -> Option<NullBuffer> {
    if runs.iter().all(|(array, _)| array.nulls().is_none()) {
        return None;
    }
    let mut bits = BooleanBufferBuilder::new(rows_in(runs));
    for (array, run) in runs {
        match array.nulls() {
            Some(nulls) => append_bits(&mut bits, nulls.inner(), run),
            None => bits.append_n(run.len(), true),
        }
    }
    Some(NullBuffer::new(bits.finish()))
}

fn append_bits(bits: &mut BooleanBufferBuilder, source: &BooleanBuffer, run: &Range<usize>) {
    let offset = source.offset();
    bits.append_packed_range(offset + run.start..offset + run.end, source.values());
}

fn rows_in<A>(runs: &[Run<'_, A>]) -> usize {
    runs.iter().map(|(_, run)| run.len()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::column::ColumnBuilder;
    use crate::value::{DataType, Value};

    const TYPES: [DataType; 8] = [
        DataType::Boolean,
        DataType::BigInt,
        DataType::Double,
        DataType::String,
        DataType::Timestamp,
        DataType::Decimal { precision: 5, scale: 2 },
        DataType::Date,
        DataType::Bytes,
    ];

    fn value(data_type: DataType, number: u8) -> Value {
        match data_type {
            _ if number.is_multiple_of(5) => Value::Null,
            DataType::Boolean => Value::Boolean(number.is_multiple_of(2)),
            DataType::BigInt => Value::BigInt(i64::from(number)),
            DataType::Double => Value::Double(f64::from(number) / 4.0),
            DataType::String => Value::String("é".repeat(usize::from(number) % 4)),
            DataType::Timestamp => Value::Timestamp(i64::from(number)),
            DataType::Decimal { scale, .. } => {
                Value::Decimal(crate::decimal::Decimal { unscaled: i128::from(number), scale })
            }
            DataType::Date => Value::Date(i32::from(number)),
            DataType::Bytes => Value::Bytes(vec![number; usize::from(number) % 3]),
        }
    }

    fn column(data_type: DataType, numbers: &[u8]) -> Column {
        let mut builder = ColumnBuilder::new(data_type, numbers.len());
        numbers.iter().for_each(|number| builder.append(&value(data_type, *number)));
        builder.finish()
    }

    fn values(column: &Column) -> Vec<Value> {
        (0..column.len()).map(|row| column.value(row)).collect()
    }

    proptest! {
        #[test]
        fn rows_are_those_a_loop_would_pick(
            // Without a multiple of five there is no NULL, and no buffer for it.
            numbers in prop_oneof![prop::collection::vec(any::<u8>(), 1..70), Just(vec![1, 2, 3, 4, 6])],
            more in prop::collection::vec(any::<u8>(), 0..70),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            bits in prop::collection::vec(any::<bool>(), 70),
        ) {
            for data_type in TYPES {
                let whole = column(data_type, &numbers);
                let rows: Vec<u32> = picks.iter().map(|pick| pick.index(numbers.len()) as u32).collect();
                let taken: Vec<Value> = rows.iter().map(|row| whole.value(*row as usize)).collect();
                prop_assert_eq!(values(&whole.take(&rows)), taken);

                let mask: BooleanBuffer = bits[..numbers.len()].iter().copied().collect();
                let kept: Vec<Value> = mask.set_indices().map(|row| whole.value(row)).collect();
                let filtered = whole.filter(&mask);
                prop_assert_eq!(values(&filtered), kept.clone());
                prop_assert_eq!(filtered.array().data_type(), whole.array().data_type());

                let joined = Column::concat(&[whole.clone(), column(data_type, &more), filtered]);
                let expected = [values(&whole), values(&column(data_type, &more)), kept].concat();
                prop_assert_eq!(values(&joined), expected);
            }
        }
    }
}
