//! Columns: Arrow arrays of the types the language has.

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::types::{Decimal128Type, DecimalType};
use arrow_array::{
    Array, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, PrimitiveArray, StringArray, TimestampMillisecondArray,
};
use arrow_buffer::{NullBuffer, ScalarBuffer};

use crate::decimal::Decimal;
use crate::value::{DataType, Value};

mod gather;

/// One column of a chunk of rows. Cloning shares the memory.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    Boolean(BooleanArray),
    BigInt(Int64Array),
    Double(Float64Array),
    String(StringArray),
    Timestamp(TimestampMillisecondArray),
    Decimal(DecimalArray),
    Date(Date32Array),
    Bytes(BinaryArray),
}

/// Decimals of one precision and scale, both known to the array.
pub(crate) type DecimalArray = Decimal128Array;

/// An array of decimals from units of the last digit, all of which fit the precision.
pub(crate) fn decimals(
    unscaled: ScalarBuffer<i128>,
    nulls: Option<NullBuffer>,
    precision: u8,
    scale: u8,
) -> DecimalArray {
    Decimal128Array::new(unscaled, nulls)
        .with_data_type(Decimal128Type::TYPE_CONSTRUCTOR(precision, scale as i8))
}

impl Column {
    fn array(&self) -> &dyn Array {
        match self {
            Column::Boolean(array) => array,
            Column::BigInt(array) => array,
            Column::Double(array) => array,
            Column::String(array) => array,
            Column::Timestamp(array) => array,
            Column::Decimal(array) => array,
            Column::Date(array) => array,
            Column::Bytes(array) => array,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.array().len()
    }

    /// Which rows have a value; `None` is all.
    pub(crate) fn nulls(&self) -> Option<&NullBuffer> {
        self.array().nulls()
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
    }

    /// Whether a row has the value of the row before it, of types of which that costs next to nothing to tell.
    pub(crate) fn is_as_before(&self, row: usize) -> bool {
        fn same<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> bool {
            match (array.is_null(row), array.is_null(row - 1)) {
                (false, false) => array.value(row) == array.value(row - 1),
                (one, other) => one && other,
            }
        }
        match self {
            Column::BigInt(array) => same(array, row),
            Column::Timestamp(array) => same(array, row),
            Column::Date(array) => same(array, row),
            _ => false,
        }
    }

    /// Bytes of the texts in it.
    pub(crate) fn text_bytes(&self) -> usize {
        let of = |offsets: &[i32]| {
            let (first, last) = (offsets.first().copied(), offsets.last().copied());
            (last.unwrap_or(0) - first.unwrap_or(0)) as usize
        };
        match self {
            Column::String(array) => of(array.value_offsets()),
            Column::Bytes(array) => of(array.value_offsets()),
            _ => 0,
        }
    }

    /// Bytes of a row's text.
    pub(crate) fn text_bytes_at(&self, row: usize) -> usize {
        match self {
            Column::String(array) => array.value_length(row) as usize,
            Column::Bytes(array) => array.value_length(row) as usize,
            _ => 0,
        }
    }

    /// The value of a row.
    pub(crate) fn value(&self, row: usize) -> Value {
        if self.is_null(row) {
            return Value::Null;
        }
        match self {
            Column::Boolean(array) => Value::Boolean(array.value(row)),
            Column::BigInt(array) => Value::BigInt(array.value(row)),
            Column::Double(array) => Value::Double(array.value(row)),
            Column::String(array) => Value::String(array.value(row).to_owned()),
            Column::Timestamp(array) => Value::Timestamp(array.value(row)),
            Column::Decimal(array) => Value::Decimal(decimal_at(array, row)),
            Column::Date(array) => Value::Date(array.value(row)),
            Column::Bytes(array) => Value::Bytes(array.value(row).to_owned()),
        }
    }

    /// The same value in every row.
    pub(crate) fn repeat(value: &Value, data_type: DataType, rows: usize) -> Column {
        match (value, data_type) {
            (Value::Boolean(value), _) => Column::Boolean(BooleanArray::from(vec![*value; rows])),
            (Value::BigInt(value), _) => Column::BigInt(Int64Array::from_value(*value, rows)),
            (Value::Double(value), _) => Column::Double(Float64Array::from_value(*value, rows)),
            (Value::Timestamp(value), _) => {
                Column::Timestamp(TimestampMillisecondArray::from_value(*value, rows))
            }
            (Value::String(value), _) => {
                Column::String(StringArray::from_iter_values(std::iter::repeat_n(value.as_str(), rows)))
            }
            (Value::Decimal(value), DataType::Decimal { precision, scale }) => {
                debug_assert_eq!(value.scale, scale, "a constant has the scale of its type");
                Column::Decimal(decimals(vec![value.unscaled; rows].into(), None, precision, scale))
            }
            (Value::Decimal(value), _) => unreachable!("the decimal {value} has a type of its own"),
            (Value::Date(value), _) => Column::Date(Date32Array::from_value(*value, rows)),
            (Value::Bytes(value), _) => {
                Column::Bytes(BinaryArray::from_iter_values(std::iter::repeat_n(value, rows)))
            }
            (Value::Null, DataType::Decimal { precision, scale }) => {
                let nulls = Some(NullBuffer::new_null(rows));
                Column::Decimal(decimals(vec![0; rows].into(), nulls, precision, scale))
            }
            (Value::Null, DataType::Date) => Column::Date(Date32Array::new_null(rows)),
            (Value::Null, DataType::Bytes) => Column::Bytes(BinaryArray::new_null(rows)),
            (Value::Null, DataType::Boolean) => Column::Boolean(BooleanArray::new_null(rows)),
            (Value::Null, DataType::BigInt) => Column::BigInt(Int64Array::new_null(rows)),
            (Value::Null, DataType::Double) => Column::Double(Float64Array::new_null(rows)),
            (Value::Null, DataType::String) => Column::String(StringArray::new_null(rows)),
            (Value::Null, DataType::Timestamp) => {
                Column::Timestamp(TimestampMillisecondArray::new_null(rows))
            }
        }
    }

    /// The truth values; the plan guarantees the type.
    pub(crate) fn boolean(&self) -> &BooleanArray {
        match self {
            Column::Boolean(array) => array,
            other => unreachable!("the binder promised a BOOLEAN, found {:?}", other.array().data_type()),
        }
    }

    /// The texts; the plan guarantees the type.
    pub(crate) fn string(&self) -> &StringArray {
        match self {
            Column::String(array) => array,
            other => unreachable!("the binder promised a STRING, found {:?}", other.array().data_type()),
        }
    }

    /// The integers; the plan guarantees the type.
    pub(crate) fn bigint(&self) -> &Int64Array {
        match self {
            Column::BigInt(array) => array,
            other => unreachable!("the binder promised a BIGINT, found {:?}", other.array().data_type()),
        }
    }

    /// The bytes; the plan guarantees the type.
    pub(crate) fn bytes(&self) -> &BinaryArray {
        match self {
            Column::Bytes(array) => array,
            other => unreachable!("the binder promised BYTES, found {:?}", other.array().data_type()),
        }
    }

    /// The floats; the plan guarantees the type.
    pub(crate) fn double(&self) -> &Float64Array {
        match self {
            Column::Double(array) => array,
            other => unreachable!("the binder promised a DOUBLE, found {:?}", other.array().data_type()),
        }
    }

    /// The instants; the plan guarantees the type.
    pub(crate) fn timestamp(&self) -> &TimestampMillisecondArray {
        match self {
            Column::Timestamp(array) => array,
            other => unreachable!("the binder promised a TIMESTAMP, found {:?}", other.array().data_type()),
        }
    }
}

/// The decimal of a row that is not `NULL`.
pub(crate) fn decimal_at(array: &DecimalArray, row: usize) -> Decimal {
    Decimal { unscaled: array.value(row), scale: array.scale() as u8 }
}

/// Collects a column.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    BigInt(Int64Builder),
    Double(Float64Builder),
    String(StringBuilder),
    Timestamp(TimestampMillisecondBuilder),
    /// With the scale, which the builder does not tell.
    Decimal(Decimal128Builder, u8),
    Date(Date32Builder),
    Bytes(BinaryBuilder),
}

impl ColumnBuilder {
    pub(crate) fn new(data_type: DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::BigInt => Self::BigInt(Int64Builder::with_capacity(rows)),
            DataType::Double => Self::Double(Float64Builder::with_capacity(rows)),
            DataType::String => Self::String(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::with_capacity(rows)),
            DataType::Decimal { precision, scale } => {
                let shape = Decimal128Type::TYPE_CONSTRUCTOR(precision, scale as i8);
                Self::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(shape), scale)
            }
            DataType::Date => Self::Date(Date32Builder::with_capacity(rows)),
            DataType::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, rows * 8)),
        }
    }

    /// Bytes of the texts so far.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::String(builder) => builder.values_slice().len(),
            Self::Bytes(builder) => builder.values_slice().len(),
            _ => 0,
        }
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::String(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Decimal(builder, _) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
        }
    }

    /// Appends a value of the builder's type, or `NULL`.
    pub(crate) fn append(&mut self, value: &Value) {
        match (self, value) {
            (Self::Boolean(builder), Value::Boolean(value)) => builder.append_value(*value),
            (Self::BigInt(builder), Value::BigInt(value)) => builder.append_value(*value),
            (Self::Double(builder), Value::Double(value)) => builder.append_value(*value),
            (Self::String(builder), Value::String(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(*value),
            (Self::Decimal(builder, scale), Value::Decimal(value)) => {
                debug_assert_eq!(*scale, value.scale, "a value has the scale of its column");
                builder.append_value(value.unscaled);
            }
            (Self::Date(builder), Value::Date(value)) => builder.append_value(*value),
            (Self::Bytes(builder), Value::Bytes(value)) => builder.append_value(value),
            (builder, Value::Null) => builder.append_null(),
            (builder, value) => unreachable!("{value} does not belong into {builder:?}"),
        }
    }

    /// The column; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Column {
        match self {
            Self::Boolean(builder) => Column::Boolean(builder.finish()),
            Self::BigInt(builder) => Column::BigInt(builder.finish()),
            Self::Double(builder) => Column::Double(builder.finish()),
            Self::String(builder) => Column::String(builder.finish()),
            Self::Timestamp(builder) => Column::Timestamp(builder.finish()),
            Self::Decimal(builder, _) => Column::Decimal(builder.finish()),
            Self::Date(builder) => Column::Date(builder.finish()),
            Self::Bytes(builder) => Column::Bytes(builder.finish()),
        }
    }
}
