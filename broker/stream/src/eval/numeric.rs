//! Functions of numbers.

use std::cmp::Ordering;

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, PrimitiveArray};

use super::Evaluator;
use super::call::{Call, RowResult};
use crate::column::{Column, decimal_at, decimals};
use crate::decimal::{Decimal, whole_quotient};
use crate::plan::{Function, Math};
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

/// The powers of ten that a float has exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// What [`float_at`] gives, where it is known without the text.
fn float_without_text(value: f64, digits: i64, cut: bool) -> Option<f64> {
    /// What is smaller has 15 digits, up to a half of it, and of these no two numbers are one float.
    const LIMIT: f64 = 1e14;
    let power = *EXACT_POWERS.get(usize::try_from(digits.unsigned_abs()).ok()?)?;
    let value_of = |units: f64| if digits < 0 { units * power } else { units / power };
    let exact = value.abs();
    let units = if digits < 0 { exact / power } else { exact * power };
    if units >= LIMIT {
        return None;
    }
    // Where the result steps up. The text is half a last digit away from the value, and the product another half.
    let step = if cut { units.round() } else { units.floor() + 0.5 };
    let near = (units - step).abs() <= units * (4.0 * f64::EPSILON);
    if near && value_of(step) != exact {
        return None;
    }
    let whole = match (near || units > step, cut) {
        (true, true) => step,
        (false, true) => step - 1.0,
        (true, false) => step + 0.5,
        (false, false) => step - 0.5,
    };
    Some(value_of(whole).copysign(value))
}

/// Rounds, or cuts, a float at a digit after the point, or before it: its shortest text, which is the number that people see.
/// 4.35 times a hundred is less than 435.
fn float_at(value: f64, digits: i64, cut: bool) -> Result<f64, String> {
    if !value.is_finite() {
        return Ok(value);
    }
    if digits == 0 {
        return Ok(if cut { value.trunc() } else { value.round() });
    }
    match float_without_text(value, digits, cut) {
        Some(rounded) => Ok(rounded),
        None => text_at(value, digits, cut),
    }
}

/// The same by the text.
fn text_at(value: f64, digits: i64, cut: bool) -> Result<f64, String> {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').expect("a float's text has an exponent");
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i64 = exponent.parse().expect("a float's exponent is a number");
    // How many of its digits stay.
    let kept = digits.saturating_add(exponent + 1);
    let zero = 0.0_f64.copysign(value);
    let kept = match usize::try_from(kept) {
        Err(_) => return Ok(zero),
        Ok(kept) if kept >= all.len() => return Ok(value),
        Ok(kept) => kept,
    };
    let whole: u64 = if kept == 0 { 0 } else { all[..kept].parse().expect("a float has 17 digits at most") };
    let up = !cut && all.as_bytes()[kept] >= b'5';
    let rounded = format!("{}e{}", whole + u64::from(up), -digits);
    let rounded: f64 = rounded.parse().expect("digits and an exponent are a number");
    match rounded.is_finite() {
        true => Ok(rounded.copysign(value)),
        false => Err(format!("{value:?} rounded does not fit a DOUBLE")),
    }
}

/// Rounds, or cuts, an integer at a digit before the point.
fn integer_at(value: i64, digits: i64, cut: bool) -> Result<i64, String> {
    if digits >= 0 {
        return Ok(value);
    }
    let before_point = u32::try_from(digits.unsigned_abs()).ok();
    let Some(unit) = before_point.and_then(|digits| 10_i128.checked_pow(digits)) else {
        return Ok(0);
    };
    let value = i128::from(value);
    let rest = value % unit;
    let up = !cut && rest.abs() * 2 >= unit;
    let rounded = value - rest + if up { unit * value.signum() } else { 0 };
    i64::try_from(rounded).map_err(|_| format!("{value} rounded to {rounded} does not fit a BIGINT"))
}

/// Rounds, or cuts, a decimal at a digit and gives it in units of `scale`.
fn decimal_at_digit(
    value: Decimal,
    digits: i64,
    cut: bool,
    precision: u8,
    scale: u8,
) -> Result<i128, String> {
    let digits = digits.clamp(-40, i64::from(value.scale)) as i32;
    let left_out = i32::from(value.scale) - digits;
    let unscaled = match 10_i128.checked_pow(left_out as u32) {
        None => 0,
        Some(unit) => {
            let rest = value.unscaled % unit;
            let up = !cut && rest.unsigned_abs() >= (unit.unsigned_abs()).div_ceil(2) && rest != 0;
            value.unscaled - rest + if up { unit * value.unscaled.signum() } else { 0 }
        }
    };
    let rounded = Decimal { unscaled, scale: value.scale }.rescale(scale);
    rounded
        .filter(|rounded| rounded.fits(precision))
        .map(|rounded| rounded.unscaled)
        .ok_or_else(|| format!("{value} rounded does not fit a DECIMAL({precision}, {scale})"))
}

fn finite(value: f64, what: impl FnOnce() -> String) -> RowResult<f64> {
    match value.is_finite() {
        true => Ok(Some(value)),
        false => Err(what()),
    }
}

fn math(math: Math, x: f64) -> RowResult<f64> {
    let value = match math {
        Math::Sqrt => x.sqrt(),
        Math::Cbrt => x.cbrt(),
        Math::Exp => x.exp(),
        Math::Ln => x.ln(),
        Math::Log10 => x.log10(),
        Math::Log2 => x.log2(),
        Math::Sin => x.sin(),
        Math::Cos => x.cos(),
        Math::Tan => x.tan(),
        Math::Cot => 1.0 / x.tan(),
        Math::Asin => x.asin(),
        Math::Acos => x.acos(),
        Math::Atan => x.atan(),
        Math::Sinh => x.sinh(),
        Math::Cosh => x.cosh(),
        Math::Tanh => x.tanh(),
        Math::Degrees => x.to_degrees(),
        Math::Radians => x.to_radians(),
    };
    finite(value, || format!("{} of {x:?} is not a finite number", math.name()))
}

fn divide_whole(left: i64, right: i64) -> Result<i64, String> {
    match right {
        0 => Err("division by zero".to_owned()),
        right => left.checked_div(right).ok_or_else(|| format!("{left} / {right} does not fit a BIGINT")),
    }
}

fn divide_decimals(left: Decimal, right: Decimal, precision: u8) -> Result<i128, String> {
    if right.unscaled == 0 {
        return Err("division by zero".to_owned());
    }
    whole_quotient(left, right)
        .filter(|quotient| Decimal { unscaled: *quotient, scale: 0 }.fits(precision))
        .ok_or_else(|| format!("DIV({left}, {right}) does not fit a DECIMAL({precision}, 0)"))
}

impl Evaluator<'_> {
    pub(super) fn call_numeric(&mut self, call: &Call<'_>) -> Column {
        let arguments = call.arguments;
        let integer = |at: usize, row: usize| arguments[at].integer(row);
        let double = |at: usize, row: usize| arguments[at].double(row);
        match call.function {
            Function::Round | Function::Truncate => self.round_at(call),
            Function::Sign => match &arguments[0].column {
                Column::Double(_) => self.doubles(call, |row| {
                    let value = double(0, row);
                    Ok(Some(if value == 0.0 { 0.0 } else { value.signum() }))
                }),
                Column::Decimal(array) => {
                    self.integers(call, |row| Ok(Some(array.value(arguments[0].at(row)).signum() as i64)))
                }
                _ => self.integers(call, |row| Ok(Some(integer(0, row).signum()))),
            },
            Function::Math(which) => self.doubles(call, |row| math(which, double(0, row))),
            Function::Power => self.doubles(call, |row| {
                let (x, y) = (double(0, row), double(1, row));
                finite(x.powf(y), || format!("POWER({x:?}, {y:?}) is not a finite number"))
            }),
            Function::Atan2 => self.doubles(call, |row| Ok(Some(double(0, row).atan2(double(1, row))))),
            Function::LogBase => self.doubles(call, |row| {
                let (base, x) = (double(0, row), double(1, row));
                finite(x.ln() / base.ln(), || format!("LOG({base:?}, {x:?}) is not a finite number"))
            }),
            Function::Div => match (&arguments[0].column, &arguments[1].column) {
                (Column::Decimal(left), Column::Decimal(right)) => {
                    let DataType::Decimal { precision, scale } = call.expression.data_type() else {
                        unreachable!("decimals make a decimal: {}", call.expression)
                    };
                    let quotients: PrimitiveArray<Decimal128Type> = self.each(call, |row| {
                        let left = decimal_at(left, arguments[0].at(row));
                        let right = decimal_at(right, arguments[1].at(row));
                        divide_decimals(left, right, precision).map(Some)
                    });
                    let (_, values, nulls) = quotients.into_parts();
                    Column::Decimal(decimals(values, nulls, precision, scale))
                }
                (Column::Double(_), _) => self.doubles(call, |row| {
                    let (left, right) = (double(0, row), double(1, row));
                    match right == 0.0 {
                        true => Err("division by zero".to_owned()),
                        false => finite((left / right).trunc(), || {
                            format!("DIV({left:?}, {right:?}) is too large")
                        }),
                    }
                }),
                _ => self.integers(call, |row| divide_whole(integer(0, row), integer(1, row)).map(Some)),
            },
            Function::BitAnd => self.integers(call, |row| Ok(Some(integer(0, row) & integer(1, row)))),
            Function::BitOr => self.integers(call, |row| Ok(Some(integer(0, row) | integer(1, row)))),
            Function::BitXor => self.integers(call, |row| Ok(Some(integer(0, row) ^ integer(1, row)))),
            Function::BitNot => self.integers(call, |row| Ok(Some(!integer(0, row)))),
            Function::ShiftLeft => {
                self.integers(call, |row| Ok(Some(integer(0, row).wrapping_shl(integer(1, row) as u32))))
            }
            Function::ShiftRight => {
                self.integers(call, |row| Ok(Some(integer(0, row).wrapping_shr(integer(1, row) as u32))))
            }
            other => unreachable!("{} is not a function of numbers", other.name()),
        }
    }

    /// `ROUND` and `TRUNC`, at a digit or to a whole number.
    fn round_at(&mut self, call: &Call<'_>) -> Column {
        let arguments = call.arguments;
        let cut = call.function == Function::Truncate;
        let digits = |row: usize| arguments.get(1).map_or(0, |digits| digits.integer(row));
        match (&arguments[0].column, call.expression.data_type()) {
            (Column::Double(_), _) => {
                self.doubles(call, |row| float_at(arguments[0].double(row), digits(row), cut).map(Some))
            }
            (Column::Decimal(array), DataType::Decimal { precision, scale }) => {
                let rounded: PrimitiveArray<Decimal128Type> = self.each(call, |row| {
                    let value = decimal_at(array, arguments[0].at(row));
                    decimal_at_digit(value, digits(row), cut, precision, scale).map(Some)
                });
                let (_, values, nulls) = rounded.into_parts();
                Column::Decimal(decimals(values, nulls, precision, scale))
            }
            _ => self.integers(call, |row| integer_at(arguments[0].integer(row), digits(row), cut).map(Some)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounding_at_a_digit() {
        assert_eq!(float_at(2.345, 1, false), Ok(2.3));
        assert_eq!(float_at(-1250.0, -2, false), Ok(-1300.0));
        assert_eq!(float_at(1.5e300, 300, false), Ok(1.5e300));
        assert_eq!(float_at(1.5e300, -400, false), Ok(0.0));
        assert_eq!(float_at(1.5e-320, 320, false), Ok(2e-320));
        assert_eq!(float_at(1.5e-320, i64::MIN, true), Ok(0.0));
        assert_eq!(float_at(1.5e-320, i64::MAX, true), Ok(1.5e-320));
        assert_eq!(float_at(f64::MAX, -308, true), Ok(1e308));
        assert!(float_at(f64::MAX, -308, false).is_err());
        // No digit is lost, or won, on the way.
        assert_eq!(float_at(4.35, 2, true), Ok(4.35));
        assert_eq!(float_at(1.005, 2, false), Ok(1.01));
        assert_eq!(float_at(-8.675, 2, false), Ok(-8.68));
        assert_eq!(float_at(0.05, 1, false), Ok(0.1));
        assert_eq!(float_at(0.05, 1, true), Ok(0.0));
        assert_eq!(float_at(9.96, 1, false), Ok(10.0));
        // Most need no text.
        for (value, digits, cut) in
            [(4.35, 2, true), (1.005, 2, false), (-1250.0, -2, false), (21.3047, 2, true), (5e-324, 3, false)]
        {
            assert_eq!(float_without_text(value, digits, cut).map(Ok), Some(text_at(value, digits, cut)));
        }
        assert_eq!(integer_at(1250, -2, false), Ok(1300));
        assert_eq!(integer_at(-1250, -2, true), Ok(-1200));
        assert_eq!(integer_at(5, -40, false), Ok(0));
        assert_eq!(integer_at(5, i64::MIN, false), Ok(0));
        assert!(integer_at(i64::MAX, -1, false).is_err());
        let decimal =
            |text: &str, digits, cut| decimal_at_digit(Decimal::parse(text).unwrap(), digits, cut, 38, 2);
        assert_eq!(decimal("12.345", 2, false), Ok(1235));
        assert_eq!(decimal("-12.345", 2, true), Ok(-1234));
        assert_eq!(decimal("155.5", -1, false), Ok(16000));
        assert_eq!(decimal("155.5", -50, false), Ok(0));
    }

    #[test]
    fn a_whole_quotient_fits_or_is_an_error() {
        let divide = |left: &str, right: &str, precision| {
            let [left, right] = [left, right].map(|text| Decimal::parse(text).unwrap());
            divide_decimals(left, right, precision)
        };
        let large = "90000000000000000000000000000000000001";
        assert_eq!(divide(large, "2.00", 38), Ok(45 * i128::pow(10, 36)));
        assert_eq!(divide(&format!("-{large}"), "2.00", 38), Ok(-45 * i128::pow(10, 36)));
        assert_eq!(divide("1.00", large, 38), Ok(0));
        assert_eq!(divide("-7.5", "2.5", 38), Ok(-3));
        assert!(divide(large, "0.01", 38).unwrap_err().ends_with("does not fit a DECIMAL(38, 0)"));
        assert!(divide("1000", "1", 3).is_err());
        assert_eq!(divide("1", "0.00", 3), Err("division by zero".to_owned()));
    }

    proptest! {
        /// A float is rounded as the decimal that its text is.
        #[test]
        fn floats_are_rounded_as_their_texts_are(
            unscaled in -1_000_000_000_i64..1_000_000_000,
            scale in 0_u8..9,
            digits in -9_i64..9,
            cut in any::<bool>(),
        ) {
            let decimal = Decimal { unscaled: i128::from(unscaled), scale };
            let rounded = decimal_at_digit(decimal, digits, cut, 38, scale).unwrap();
            let rounded = Decimal { unscaled: rounded, scale }.to_f64();
            prop_assert_eq!(float_at(decimal.to_f64(), digits, cut), Ok(rounded));
        }

        #[test]
        fn what_is_rounded_without_the_text_is_what_the_text_gives(
            (value, digits) in prop_oneof![
                (any::<f64>(), -330_i64..330),
                // Of numbers as people write them, and of their neighbours, many are where the result steps.
                (any::<i64>(), 0_u32..60, 0_usize..23, -1..=1_i64, -22_i64..=22).prop_map(
                    |(whole, shorter, power, beside, digits)| {
                        let value = (whole >> shorter) as f64 / EXACT_POWERS[power];
                        (f64::from_bits(value.to_bits().saturating_add_signed(beside)), digits)
                    }
                ),
                (-100_000_i64..100_000, 1_u8..9, -1..=1_i64).prop_map(|(whole, digits, beside)| {
                    let half = (whole as f64 + 0.5) / EXACT_POWERS[usize::from(digits)];
                    (f64::from_bits(half.to_bits().saturating_add_signed(beside)), i64::from(digits))
                }),
            ],
            cut in any::<bool>(),
        ) {
            prop_assume!(value.is_finite());
            if let Some(rounded) = float_without_text(value, digits, cut) {
                prop_assert_eq!(text_at(value, digits, cut).map(f64::to_bits), Ok(rounded.to_bits()));
            }
        }
    }
}
