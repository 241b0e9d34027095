//! Rows as bytes, for state: compact and typed by the plan, in no particular order.
//!
//! ```text
//! value   0 (NULL) │ 1 and: BOOLEAN u8 · BIGINT, TIMESTAMP i64 · DOUBLE u64 bits · DECIMAL i128 · DATE i32
//!                         · STRING, BYTES u32 length and bytes; all little-endian
//! ```

use crate::column::{Column, ColumnBuilder};
use crate::decimal::Decimal;
use crate::rows::Rows;
use crate::value::{DataType, Value};

const NULL: u8 = 0;
const PRESENT: u8 = 1;

/// Appends some columns of a row.
pub(crate) fn encode_row(
    rows: &Rows,
    row: usize,
    columns: impl IntoIterator<Item = usize>,
    out: &mut Vec<u8>,
) {
    columns.into_iter().for_each(|column| encode_cell(&rows.columns[column], row, out));
}

/// Appends values.
pub(crate) fn encode_values(values: &[Value], types: &[DataType], out: &mut Vec<u8>) {
    for (value, data_type) in values.iter().zip(types) {
        encode_cell(&Column::repeat(value, *data_type, 1), 0, out);
    }
}

fn encode_cell(column: &Column, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        return out.push(NULL);
    }
    out.push(PRESENT);
    match column {
        Column::Boolean(array) => out.push(u8::from(array.value(row))),
        Column::BigInt(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        Column::Timestamp(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        Column::Double(array) => out.extend_from_slice(&array.value(row).to_bits().to_le_bytes()),
        Column::Decimal(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        Column::Date(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
        Column::String(array) => encode_bytes(array.value(row).as_bytes(), out),
        Column::Bytes(array) => encode_bytes(array.value(row), out),
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The values of a row; `None` if it is damaged.
pub(crate) fn decode_row(mut bytes: &[u8], types: &[DataType]) -> Option<Vec<Value>> {
    let values = types.iter().map(|data_type| decode_cell(&mut bytes, *data_type)).collect::<Option<_>>()?;
    bytes.is_empty().then_some(values)
}

/// Appends the values of a row to builders of its types. The row is one the engine encoded or has checked.
pub(crate) fn decode_row_into(mut bytes: &[u8], types: &[DataType], builders: &mut [ColumnBuilder]) {
    for (builder, _) in builders.iter_mut().zip(types) {
        append_cell(&mut bytes, builder)
            .expect("the row was encoded by the engine, or checked when it was restored");
    }
}

/// Appends the cell at the front to a builder of its type; `None` if it is damaged.
fn append_cell(bytes: &mut &[u8], builder: &mut ColumnBuilder) -> Option<()> {
    let [presence] = take(bytes)?;
    match presence {
        NULL => {
            builder.append_null();
            return Some(());
        }
        PRESENT => {}
        _ => return None,
    }
    match builder {
        ColumnBuilder::Boolean(builder) => builder.append_value(take(bytes)? == [1]),
        ColumnBuilder::BigInt(builder) => builder.append_value(i64::from_le_bytes(take(bytes)?)),
        ColumnBuilder::Timestamp(builder) => builder.append_value(i64::from_le_bytes(take(bytes)?)),
        ColumnBuilder::Double(builder) => {
            builder.append_value(f64::from_bits(u64::from_le_bytes(take(bytes)?)))
        }
        ColumnBuilder::Decimal(builder, _) => builder.append_value(i128::from_le_bytes(take(bytes)?)),
        ColumnBuilder::Date(builder) => builder.append_value(i32::from_le_bytes(take(bytes)?)),
        ColumnBuilder::String(builder) => builder.append_value(std::str::from_utf8(take_bytes(bytes)?).ok()?),
        ColumnBuilder::Bytes(builder) => builder.append_value(take_bytes(bytes)?),
    }
    Some(())
}

fn decode_cell(bytes: &mut &[u8], data_type: DataType) -> Option<Value> {
    let (presence, rest) = bytes.split_first()?;
    *bytes = rest;
    match *presence {
        NULL => return Some(Value::Null),
        PRESENT => {}
        _ => return None,
    }
    Some(match data_type {
        DataType::Boolean => {
            let (value, rest) = bytes.split_first()?;
            *bytes = rest;
            match value {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                _ => return None,
            }
        }
        DataType::BigInt => Value::BigInt(i64::from_le_bytes(take(bytes)?)),
        DataType::Timestamp => Value::Timestamp(i64::from_le_bytes(take(bytes)?)),
        DataType::Double => Value::Double(f64::from_bits(u64::from_le_bytes(take(bytes)?))),
        DataType::Decimal { scale, .. } => {
            Value::Decimal(Decimal { unscaled: i128::from_le_bytes(take(bytes)?), scale })
        }
        DataType::Date => Value::Date(i32::from_le_bytes(take(bytes)?)),
        DataType::String => Value::String(std::str::from_utf8(take_bytes(bytes)?).ok()?.to_owned()),
        DataType::Bytes => Value::Bytes(take_bytes(bytes)?.to_vec()),
    })
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u32::from_le_bytes(take(bytes)?) as usize;
    let (found, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(found)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*value)
}
