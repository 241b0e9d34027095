//! Columns: Arrow arrays of the types the language has.

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};

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
}

impl Column {
    fn array(&self) -> &dyn Array {
        match self {
            Column::Boolean(array) => array,
            Column::BigInt(array) => array,
            Column::Double(array) => array,
            Column::String(array) => array,
            Column::Timestamp(array) => array,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.array().len()
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array().is_null(row)
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
            (Value::Null, DataType::Boolean) => Column::Boolean(BooleanArray::new_null(rows)),
            (Value::Null, DataType::BigInt) => Column::BigInt(Int64Array::new_null(rows)),
            (Value::Null, DataType::Double) => Column::Double(Float64Array::new_null(rows)),
            (Value::Null, DataType::String) => Column::String(StringArray::new_null(rows)),
            (Value::Null, DataType::Timestamp) => {
                Column::Timestamp(TimestampMillisecondArray::new_null(rows))
            }
        }
    }

    /// For each row the value of the column that `choice` names there.
    pub(crate) fn choose(columns: &[Column], data_type: DataType, choice: &[usize]) -> Column {
        let mut builder = ColumnBuilder::new(data_type, choice.len());
        for (row, column) in choice.iter().enumerate() {
            builder.append_from(&columns[*column], row);
        }
        builder.finish()
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

    /// The instants; the plan guarantees the type.
    pub(crate) fn timestamp(&self) -> &TimestampMillisecondArray {
        match self {
            Column::Timestamp(array) => array,
            other => unreachable!("the binder promised a TIMESTAMP, found {:?}", other.array().data_type()),
        }
    }
}

/// Collects a column.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    BigInt(Int64Builder),
    Double(Float64Builder),
    String(StringBuilder),
    Timestamp(TimestampMillisecondBuilder),
}

impl ColumnBuilder {
    pub(crate) fn new(data_type: DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::BigInt => Self::BigInt(Int64Builder::with_capacity(rows)),
            DataType::Double => Self::Double(Float64Builder::with_capacity(rows)),
            DataType::String => Self::String(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::with_capacity(rows)),
        }
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::String(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
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
            (builder, Value::Null) => builder.append_null(),
            (builder, value) => unreachable!("{value} does not belong into {builder:?}"),
        }
    }

    fn append_from(&mut self, column: &Column, row: usize) {
        if column.is_null(row) {
            return self.append_null();
        }
        match (self, column) {
            (Self::Boolean(builder), Column::Boolean(array)) => builder.append_value(array.value(row)),
            (Self::BigInt(builder), Column::BigInt(array)) => builder.append_value(array.value(row)),
            (Self::Double(builder), Column::Double(array)) => builder.append_value(array.value(row)),
            (Self::String(builder), Column::String(array)) => builder.append_value(array.value(row)),
            (Self::Timestamp(builder), Column::Timestamp(array)) => builder.append_value(array.value(row)),
            (builder, column) => unreachable!("{column:?} does not belong into {builder:?}"),
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
        }
    }
}
