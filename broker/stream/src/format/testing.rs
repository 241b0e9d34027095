//! What the formats' tests share: a row read, a row written, and rows at random.

use proptest::prelude::*;

use super::cell::{Cell, Slot};
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::FormatError;
use crate::column::Column;
use crate::decimal::Decimal;
use crate::plan::{self, Format};
use crate::time::{MAX_DATE, MAX_TIMESTAMP, MIN_DATE, MIN_TIMESTAMP};
use crate::value::{DataType, Value};

/// A decoder for all the columns, and their slots.
pub(super) fn decoder(
    format: &Format,
    columns: &[plan::Column],
) -> Result<(Decoder, Vec<Slot>), FormatError> {
    let slots: Vec<Slot> = columns.iter().map(Slot::new).collect();
    let fields = columns.iter().map(|column| column.name.as_str()).enumerate();
    Ok((Decoder::new(format, fields, &slots)?, slots))
}

/// The cells of one record.
pub(super) fn decode<'r>(
    format: &Format,
    columns: &[plan::Column],
    input: &'r [u8],
) -> Result<Vec<Cell<'r>>, String> {
    let (mut decoder, slots) = decoder(format, columns).map_err(|error| error.to_string())?;
    let mut cells = vec![Cell::Null; slots.len()];
    decoder.decode(input, &slots, &mut cells)?;
    Ok(cells)
}

/// The bytes of one row.
pub(super) fn encode(format: &Format, columns: &[plan::Column], row: &[Value]) -> Result<Vec<u8>, String> {
    let which: Vec<usize> = (0..columns.len()).collect();
    let encoder = Encoder::new(format, columns, &which).map_err(|error| error.to_string())?;
    let values: Vec<Column> =
        columns.iter().zip(row).map(|(column, value)| Column::repeat(value, column.data_type, 1)).collect();
    let mut out = Vec::new();
    encoder.encode(&values, 0, &mut out)?;
    Ok(out)
}

/// The cell that a value is read as.
pub(super) fn cell(value: &Value) -> Cell<'static> {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(value) => Cell::Boolean(*value),
        Value::BigInt(value) => Cell::BigInt(*value),
        Value::Double(value) => Cell::Double(*value),
        Value::String(text) => Cell::String(text.clone().into()),
        Value::Timestamp(ms) => Cell::Timestamp(*ms),
        Value::Decimal(value) => Cell::Decimal(value.unscaled),
        Value::Date(days) => Cell::Date(*days),
        Value::Bytes(bytes) => Cell::Bytes(bytes.clone().into()),
    }
}

/// Bytes from their digits.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    text.trim().as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The digits of bytes.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One nullable column of every type.
pub(super) fn every_type() -> Vec<plan::Column> {
    let column = plan::Column::of_value;
    vec![
        column("b", DataType::Boolean),
        column("i", DataType::BigInt),
        column("d", DataType::Double),
        column("s", DataType::String),
        column("t", DataType::Timestamp),
        column("n", DataType::Decimal { precision: 38, scale: 5 }),
        column("day", DataType::Date),
        column("raw", DataType::Bytes),
    ]
}

/// A row of [`every_type`].
pub(super) fn any_row() -> impl Strategy<Value = Vec<Value>> {
    let float = any::<f64>().prop_filter("finite", |float| float.is_finite());
    let digits = -(10_i128.pow(38) - 1)..10_i128.pow(38);
    let edges = prop_oneof![Just(0_i128), Just(-1), Just(127), Just(128), Just(-128), Just(-129), Just(255)];
    let columns = vec![
        any::<bool>().prop_map(Value::Boolean).boxed(),
        prop_oneof![any::<i64>(), -200_i64..200].prop_map(Value::BigInt).boxed(),
        float.prop_map(Value::Double).boxed(),
        "\\PC{0,9}|[,;\"\\\\\n\r]{0,4}".prop_map(Value::String).boxed(),
        (MIN_TIMESTAMP..=MAX_TIMESTAMP).prop_map(Value::Timestamp).boxed(),
        prop_oneof![digits, edges]
            .prop_map(|unscaled| Value::Decimal(Decimal { unscaled, scale: 5 }))
            .boxed(),
        (MIN_DATE..=MAX_DATE).prop_map(Value::Date).boxed(),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes).boxed(),
    ];
    let nullable = |value: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => value];
    columns.into_iter().map(nullable).collect::<Vec<_>>()
}
