//! For each row one of several values.

use arrow_array::builder::GenericByteBuilder;
use arrow_array::types::ByteArrayType;
use arrow_array::{Array, ArrowPrimitiveType, BooleanArray, GenericByteArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::operand::Operand;
use crate::column::Column;

/// The operands' arrays of one variant, with what says where a row is in each.
macro_rules! arrays {
    ($variant:ident, $operands:expr) => {
        $operands
            .iter()
            .map(|operand| match &operand.column {
                Column::$variant(array) => (operand, array),
                other => unreachable!("the binder gives all values one type, found {other:?}"),
            })
            .collect::<Vec<_>>()
    };
}

/// For each row the value of the operand that `choice` names there. The operands have one type.
pub(super) fn choose(operands: &[Operand], choice: &[u32]) -> Column {
    let first = choice.first().copied().unwrap_or(0);
    if choice.iter().all(|chosen| *chosen == first) {
        return operands[first as usize].spread();
    }
    match &operands[0].column {
        Column::Boolean(_) => {
            let arrays = arrays!(Boolean, operands);
            let bits = BooleanBuffer::collect_bool(choice.len(), |row| {
                let (operand, array) = arrays[choice[row] as usize];
                array.value(operand.at(row))
            });
            Column::Boolean(BooleanArray::new(bits, nulls(operands, choice)))
        }
        Column::BigInt(_) => Column::BigInt(of_primitives(&arrays!(BigInt, operands), operands, choice)),
        Column::Double(_) => Column::Double(of_primitives(&arrays!(Double, operands), operands, choice)),
        Column::Timestamp(_) => {
            Column::Timestamp(of_primitives(&arrays!(Timestamp, operands), operands, choice))
        }
        Column::Decimal(_) => Column::Decimal(of_primitives(&arrays!(Decimal, operands), operands, choice)),
        Column::Date(_) => Column::Date(of_primitives(&arrays!(Date, operands), operands, choice)),
        Column::String(_) => Column::String(of_bytes(&arrays!(String, operands), choice)),
        Column::Bytes(_) => Column::Bytes(of_bytes(&arrays!(Bytes, operands), choice)),
    }
}

/// The bytes of the texts that are copied for it.
pub(super) fn bytes(operands: &[Operand], choice: &[u32]) -> usize {
    let of_row = |(row, chosen): (usize, &u32)| {
        let operand = &operands[*chosen as usize];
        if operand.is_null(row) { 0 } else { operand.octets(row).len() }
    };
    let first = choice.first().copied().unwrap_or(0);
    match choice.iter().all(|chosen| *chosen == first) && !operands[first as usize].constant {
        true => 0,
        false => choice.iter().enumerate().map(of_row).sum(),
    }
}

fn nulls(operands: &[Operand], choice: &[u32]) -> Option<NullBuffer> {
    if operands.iter().all(|operand| operand.column.nulls().is_none()) {
        return None;
    }
    let valid = |row: usize| !operands[choice[row] as usize].is_null(row);
    Some(NullBuffer::new(BooleanBuffer::collect_bool(choice.len(), valid)))
}

fn of_primitives<T: ArrowPrimitiveType>(
    arrays: &[(&Operand, &PrimitiveArray<T>)],
    operands: &[Operand],
    choice: &[u32],
) -> PrimitiveArray<T> {
    let value = |(row, chosen): (usize, &u32)| {
        let (operand, array) = arrays[*chosen as usize];
        array.values()[operand.at(row)]
    };
    let values = choice.iter().enumerate().map(value).collect();
    PrimitiveArray::new(values, nulls(operands, choice)).with_data_type(arrays[0].1.data_type().clone())
}

fn of_bytes<T: ByteArrayType>(
    arrays: &[(&Operand, &GenericByteArray<T>)],
    choice: &[u32],
) -> GenericByteArray<T> {
    let mut builder = GenericByteBuilder::<T>::with_capacity(choice.len(), choice.len() * 8);
    for (row, chosen) in choice.iter().enumerate() {
        let (operand, array) = arrays[*chosen as usize];
        match operand.is_null(row) {
            true => builder.append_null(),
            false => builder.append_value(array.value(operand.at(row))),
        }
    }
    builder.finish()
}
