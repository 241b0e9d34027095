//! Functions of numbers.

use std::cmp::Ordering;

use arrow_array::Array;

use crate::column::{Column, decimals};
use crate::decimal::Decimal;
use crate::value::DataType;

/// Every number as a whole one: a float by `of_float`, a decimal by `of_decimal`; whole numbers stay.
fn to_whole(
    column: &Column,
    data_type: DataType,
    of_float: impl Fn(f64) -> f64,
    of_decimal: impl Fn(Decimal) -> Decimal,
) -> Column {
    match (column, data_type) {
        (Column::Double(array), _) => Column::Double(array.unary(of_float)),
        (Column::Decimal(array), DataType::Decimal { precision, scale }) => {
            let from = array.scale() as u8;
            let whole = array.values().iter().map(|unscaled| {
                let whole = of_decimal(Decimal { unscaled: *unscaled, scale: from });
                debug_assert_eq!(whole.scale, scale);
                whole.unscaled
            });
            Column::Decimal(decimals(whole.collect(), array.nulls().cloned(), precision, scale))
        }
        (other, _) => other.clone(),
    }
}

pub(super) fn floor(column: &Column, data_type: DataType) -> Column {
    to_whole(column, data_type, f64::floor, |decimal| decimal.to_whole(Ordering::Less))
}

pub(super) fn ceil(column: &Column, data_type: DataType) -> Column {
    to_whole(column, data_type, f64::ceil, |decimal| decimal.to_whole(Ordering::Greater))
}

pub(super) fn round(column: &Column, data_type: DataType) -> Column {
    let halves_away = |decimal: Decimal| decimal.rescale(0).expect("fewer digits always fit");
    to_whole(column, data_type, f64::round, halves_away)
}
