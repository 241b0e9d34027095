//! Exact decimal numbers of at most 38 digits, after the point at most as many.
//!
//! A column of decimals has one precision (digits in all) and one scale (digits after the point); its values are
//! whole numbers of the scale's smallest unit. What does not fit the precision is an error, never a wrap; what has
//! too many digits after the point is rounded, halves away from zero, as PostgreSQL does.

use std::cmp::Ordering;
use std::fmt;

use arrow_buffer::i256;
use serde::{Deserialize, Serialize};

use crate::plan::BinaryOperator;

/// The most digits a decimal can have.
pub const MAX_PRECISION: u8 = 38;
/// Digits after the point that a result keeps when there is not room for all.
const MIN_SCALE: u8 = 6;
/// Digits after the point that a quotient has at least, if there is room.
const MIN_QUOTIENT_SCALE: u8 = 16;

/// One decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    /// The value in units of the last digit.
    pub unscaled: i128,
    /// Digits after the point.
    pub scale: u8,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = power_of_ten(self.scale);
        let (sign, size) = (if self.unscaled < 0 { "-" } else { "" }, self.unscaled.unsigned_abs());
        match self.scale {
            0 => write!(f, "{sign}{size}"),
            scale => write!(f, "{sign}{}.{:0width$}", size / unit, size % unit, width = usize::from(scale)),
        }
    }
}

impl Decimal {
    /// Reads `-12.50` or `1.2e-3` with exactly the digits written.
    ///
    /// `None` when it is not a number or has more than 38 digits.
    pub fn parse(text: &str) -> Option<Decimal> {
        let digits = Digits::read(text)?;
        let scale = u8::try_from(digits.scale().max(0)).ok().filter(|scale| *scale <= MAX_PRECISION)?;
        Some(Decimal { unscaled: digits.at_scale(scale)?, scale })
            .filter(|decimal| decimal.fits(MAX_PRECISION))
    }

    /// Reads a number at a scale, rounding what lies beyond it.
    ///
    /// `None` when it is not a number or has more than 38 digits.
    pub fn parse_at(text: &str, scale: u8) -> Option<Decimal> {
        Some(Decimal { unscaled: Digits::read(text)?.at_scale(scale)?, scale })
    }

    /// Reads a whole number, whose text may have a point and an exponent: `12.0`, `1.2e1`.
    ///
    /// `None` when it is not a number, not a whole one, or has more than 38 digits.
    pub fn parse_whole(text: &str) -> Option<i128> {
        let digits = Digits::read(text)?;
        let kept = usize::try_from(digits.kept(0)).unwrap_or(0);
        let mut beyond = digits.whole.iter().chain(digits.fraction).skip(kept);
        beyond.all(|digit| *digit == b'0').then(|| digits.at_scale(0))?
    }

    /// The float's shortest text at a scale; `None` when it does not fit.
    pub fn from_f64(value: f64, scale: u8) -> Option<Decimal> {
        Decimal::parse_at(&format!("{value:e}"), scale)
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        // Both are exact as floats here, so that one division rounds once.
        const EXACT: u128 = 1 << 53;
        match self.unscaled.unsigned_abs() <= EXACT && self.scale <= 22 {
            true => self.unscaled as f64 / power_of_ten(self.scale) as f64,
            false => self.to_string().parse().expect("a decimal's text is a number"),
        }
    }

    /// The value at another scale; `None` when it has more digits than an `i128` holds.
    pub fn rescale(self, scale: u8) -> Option<Decimal> {
        let unscaled = match self.scale <= scale {
            true => self.unscaled.checked_mul(power_of_ten(scale - self.scale) as i128)?,
            false => divide_rounding(self.unscaled, power_of_ten(self.scale - scale) as i128),
        };
        Some(Decimal { unscaled, scale })
    }

    /// Whether it has no more digits than `precision`.
    pub fn fits(self, precision: u8) -> bool {
        self.unscaled.unsigned_abs() < power_of_ten(precision)
    }

    /// The order of two numbers, whatever their scales.
    pub fn compare(self, other: Decimal) -> Ordering {
        if self.scale > other.scale {
            return other.compare(self).reverse();
        }
        match self.unscaled.checked_mul(power_of_ten(other.scale - self.scale) as i128) {
            Some(aligned) => aligned.cmp(&other.unscaled),
            // It is further from zero than anything at the other scale.
            None => self.unscaled.cmp(&0),
        }
    }

    /// Digits needed to write it.
    pub fn precision(self) -> u8 {
        let digits = self.unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log as u8 + 1);
        digits.max(self.scale)
    }

    /// The whole number below (`Less`), above (`Greater`) or towards zero (`Equal`), at scale 0.
    pub fn to_whole(self, towards: Ordering) -> Decimal {
        let unit = power_of_ten(self.scale) as i128;
        let (whole, rest) = (self.unscaled / unit, self.unscaled % unit);
        let step = match towards {
            Ordering::Less => -i128::from(rest < 0),
            Ordering::Greater => i128::from(rest > 0),
            Ordering::Equal => 0,
        };
        Decimal { unscaled: whole + step, scale: 0 }
    }
}

/// 10 to the power of `exponent`, which is at most 38.
pub(crate) fn power_of_ten(exponent: u8) -> u128 {
    const POWERS: [u128; 39] = {
        let mut powers = [1_u128; 39];
        let mut exponent = 1;
        while exponent < 39 {
            powers[exponent] = powers[exponent - 1] * 10;
            exponent += 1;
        }
        powers
    };
    POWERS[usize::from(exponent)]
}

/// The quotient, halves away from zero.
fn divide_rounding(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    let up = rest.unsigned_abs() >= by.unsigned_abs().div_ceil(2) && rest != 0;
    quotient + if up { value.signum() * by.signum() } else { 0 }
}

/// The digits of a number's text: the whole ones and those after the point, and the power of ten they stand at.
struct Digits<'t> {
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

/// A power of ten. `None` when it is not a number.
fn exponent(text: &str) -> Option<i64> {
    /// No text has so many digits, so that a larger power says the same; nor does it overflow.
    const MOST: i64 = 1 << 50;
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let next = |power: i64, digit: &u8| (power * 10 + i64::from(digit - b'0')).min(MOST);
    let power = digits.iter().fold(0, next);
    Some(if negative { -power } else { power })
}

impl<'t> Digits<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, exponent(power)?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &mantissa[..0]),
        };
        let digits = || whole.iter().chain(fraction);
        let plain = digits().count() > 0 && digits().all(u8::is_ascii_digit);
        plain.then_some(Digits { negative, whole, fraction, exponent })
    }

    /// Digits after the point once the exponent is applied; below zero the number ends in zeros.
    fn scale(&self) -> i64 {
        self.fraction.len() as i64 - self.exponent
    }

    /// How many of the digits a scale keeps, beyond those that are written zeros; none if it is below zero.
    fn kept(&self, scale: u8) -> i64 {
        self.whole.len() as i64 + self.exponent + i64::from(scale)
    }

    fn at_scale(&self, scale: u8) -> Option<i128> {
        let written = (self.whole.len() + self.fraction.len()) as i64;
        let kept = self.kept(scale);
        let mut value: i128 = 0;
        let mut digits = self.whole.iter().chain(self.fraction);
        for _ in 0..kept.min(written) {
            value = value.checked_mul(10)?.checked_add(i128::from(digits.next()? - b'0'))?;
        }
        for _ in written..kept {
            if value == 0 {
                break;
            }
            value = value.checked_mul(10)?;
        }
        // The first digit that is left out decides, and only if nothing but it stands before the last one kept.
        if (0..written).contains(&kept) && digits.next().is_some_and(|digit| *digit >= b'5') {
            value = value.checked_add(1)?;
        }
        Some(if self.negative { -value } else { value })
    }
}

/// Precision and scale.
pub(crate) type Shape = (u8, u8);

/// Of what a result would need, the part there is room for: digits after the point give way first, down to six.
fn capped(precision: u32, scale: u32) -> Shape {
    let max = u32::from(MAX_PRECISION);
    if precision <= max {
        return (precision as u8, scale as u8);
    }
    let whole = precision - scale;
    let room = max.saturating_sub(whole);
    (MAX_PRECISION, room.max(scale.min(u32::from(MIN_SCALE))).min(scale) as u8)
}

/// The shape that holds every value of both, rounded where no shape has room for all of their digits.
pub(crate) fn common_shape(left: Shape, right: Shape) -> Shape {
    let (whole, scale) = digits_of_both(left, right);
    capped(whole + scale, scale)
}

/// Whether there is a shape that holds every value of both exactly.
pub(crate) fn have_common_shape(left: Shape, right: Shape) -> bool {
    let (whole, scale) = digits_of_both(left, right);
    whole + scale <= u32::from(MAX_PRECISION)
}

/// How many digits values of both shapes have before and after the point.
fn digits_of_both(left: Shape, right: Shape) -> (u32, u32) {
    let whole = (left.0 - left.1).max(right.0 - right.1);
    (u32::from(whole), u32::from(left.1.max(right.1)))
}

/// The shape of a result.
pub(crate) fn result_shape(operator: BinaryOperator, left: Shape, right: Shape) -> Shape {
    let [(p1, s1), (p2, s2)] =
        [left, right].map(|(precision, scale)| (u32::from(precision), u32::from(scale)));
    let scale = s1.max(s2);
    match operator {
        BinaryOperator::Multiply => capped(p1 + p2, s1 + s2),
        BinaryOperator::Divide => {
            let scale = scale.max(u32::from(MIN_QUOTIENT_SCALE));
            capped(p1 - s1 + s2 + scale, scale)
        }
        BinaryOperator::Modulo => capped((p1 - s1).min(p2 - s2) + scale, scale),
        _ => capped((p1 - s1).max(p2 - s2) + scale + 1, scale),
    }
}

/// `left operator right` in the shape of the result.
///
/// # Errors
/// A division by zero, or a result with too many digits, in words.
pub(crate) fn combine(
    operator: BinaryOperator,
    left: Decimal,
    right: Decimal,
    shape: Shape,
) -> Result<i128, String> {
    let (precision, scale) = shape;
    let division = matches!(operator, BinaryOperator::Divide | BinaryOperator::Modulo);
    if division && right.unscaled == 0 {
        return Err("division by zero".to_owned());
    }
    quickly(operator, left, right, scale)
        .or_else(|| widely(operator, left, right, scale))
        .filter(|unscaled| Decimal { unscaled: *unscaled, scale }.fits(precision))
        .ok_or_else(|| {
            format!("{left} {} {right} does not fit a DECIMAL({precision}, {scale})", operator.symbol())
        })
}

/// In 128 bits, where that is enough.
fn quickly(operator: BinaryOperator, left: Decimal, right: Decimal, scale: u8) -> Option<i128> {
    match operator {
        BinaryOperator::Multiply => {
            let product = left.unscaled.checked_mul(right.unscaled)?;
            match left.scale + right.scale - scale {
                0 => Some(product),
                excess if excess <= MAX_PRECISION => {
                    Some(divide_rounding(product, power_of_ten(excess) as i128))
                }
                _ => None,
            }
        }
        BinaryOperator::Divide => {
            let shift =
                (scale + right.scale).checked_sub(left.scale).filter(|shift| *shift <= MAX_PRECISION)?;
            let numerator = left.unscaled.checked_mul(power_of_ten(shift) as i128)?;
            Some(divide_rounding(numerator, right.unscaled))
        }
        _ => {
            let common = left.scale.max(right.scale);
            let (left, right) = (left.rescale(common)?.unscaled, right.rescale(common)?.unscaled);
            let unscaled = match operator {
                BinaryOperator::Add => left.checked_add(right)?,
                BinaryOperator::Subtract => left.checked_sub(right)?,
                _ => left.checked_rem(right)?,
            };
            Some(Decimal { unscaled, scale: common }.rescale(scale)?.unscaled)
        }
    }
}

/// The quotient cut to a whole number; `None` when it has more digits than an `i128` holds, or `right` is zero.
pub(crate) fn whole_quotient(left: Decimal, right: Decimal) -> Option<i128> {
    let scale = left.scale.max(right.scale);
    if let (Some(left), Some(right)) = (left.rescale(scale), right.rescale(scale)) {
        return left.unscaled.checked_div(right.unscaled);
    }
    let [left, right] = [left, right].map(|decimal| wide(decimal, u32::from(scale - decimal.scale)));
    left?.checked_div(right?)?.to_i128()
}

/// A value in 256 bits, times a power of ten.
fn wide(decimal: Decimal, power: u32) -> Option<i256> {
    i256::from_i128(decimal.unscaled).checked_mul(i256::from_i128(10).checked_pow(power)?)
}

/// In 256 bits.
fn widely(operator: BinaryOperator, left: Decimal, right: Decimal, scale: u8) -> Option<i128> {
    let [left_scale, right_scale] = [left.scale, right.scale].map(u32::from);
    let common = left_scale.max(right_scale);
    let (value, value_scale) = match operator {
        BinaryOperator::Multiply => (wide(left, 0)?.checked_mul(wide(right, 0)?)?, left_scale + right_scale),
        BinaryOperator::Divide => {
            // One digit more than is kept, cut; a half is still a half after that, and no more than it.
            let numerator = wide(left, u32::from(scale) + right_scale + 1)?;
            let quotient = numerator.checked_div(wide(right, left_scale)?)?;
            (quotient, u32::from(scale) + 1)
        }
        _ => {
            let (left, right) = (wide(left, common - left_scale)?, wide(right, common - right_scale)?);
            let value = match operator {
                BinaryOperator::Add => left.checked_add(right)?,
                BinaryOperator::Subtract => left.checked_sub(right)?,
                _ => left.checked_rem(right)?,
            };
            (value, common)
        }
    };
    let excess = value_scale - u32::from(scale);
    let unit = i256::from_i128(10).checked_pow(excess)?;
    let (quotient, rest) = (value.checked_div(unit)?, value.checked_rem(unit)?);
    let rest = if rest < i256::ZERO { rest.checked_neg()? } else { rest };
    let up = excess > 0 && rest >= unit.checked_div(i256::from_i128(2))?;
    let step = if value < i256::ZERO { -1 } else { 1 };
    quotient.checked_add(i256::from_i128(if up { step } else { 0 }))?.to_i128()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn reads_and_writes_exactly() {
        for (text, written) in [
            ("12.50", "12.50"),
            ("-0.05", "-0.05"),
            ("+7", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.2e-3", "0.0012"),
            ("1.2e3", "1200"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ] {
            assert_eq!(decimal(text).to_string(), written, "{text}");
        }
        for text in ["", ".", "-", "1.2.3", "1e", "0x1", "1e99", "123456789012345678901234567890123456789"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rounds_halves_away_from_zero() {
        let at = |text: &str, scale| Decimal::parse_at(text, scale).unwrap().to_string();
        assert_eq!(at("1.235", 2), "1.24");
        assert_eq!(at("-1.235", 2), "-1.24");
        assert_eq!(at("1.2349999999999999999999999999999999999999999999", 2), "1.23");
        assert_eq!(at("0.5", 0), "1");
        assert_eq!(at("0.05", 0), "0");
        assert_eq!(at("9e-40", 2), "0.00");
        assert_eq!(at("1e-1000000", 2), "0.00");
        // However far the point is from the digits.
        let zeros = "0".repeat(2000);
        assert_eq!(at(&format!("0.{zeros}1e2001"), 2), "1.00");
        assert_eq!(at(&format!("-15{zeros}e-2001"), 0), "-2");
        assert_eq!(at("0e999999999999", 2), "0.00");
        assert_eq!(at("1e-999999999999", 2), "0.00");
        assert_eq!(at("1e-99999999999999999999", 2), "0.00");
        for text in [
            "1e999999999999",
            "1e99999999999999999999",
            "1e+9223372036854775807",
            "1e-",
            "1e9x",
            "1e-99999999999999999999x",
        ] {
            assert_eq!(Decimal::parse_at(text, 2), None, "{text}");
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(decimal("2.5").rescale(0).unwrap().unscaled, 3);
        assert_eq!(decimal("-2.5").rescale(0).unwrap().unscaled, -3);
        assert_eq!(decimal("2.49").rescale(0).unwrap().unscaled, 2);
    }

    #[test]
    fn shapes_of_results() {
        use BinaryOperator::{Add, Divide, Modulo, Multiply};
        assert_eq!(result_shape(Add, (10, 2), (5, 4)), (13, 4));
        assert_eq!(result_shape(Multiply, (10, 2), (19, 0)), (29, 2));
        assert_eq!(result_shape(Multiply, (38, 18), (38, 18)), (38, 6));
        assert_eq!(result_shape(Multiply, (38, 2), (2, 1)), (38, 3));
        assert_eq!(result_shape(Divide, (10, 2), (3, 0)), (24, 16));
        assert_eq!(result_shape(Divide, (38, 10), (10, 0)), (38, 10));
        assert_eq!(result_shape(Modulo, (10, 2), (3, 1)), (4, 2));
        assert_eq!(common_shape((38, 0), (38, 38)), (38, 6));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let nines = Decimal { unscaled: i128::pow(10, 38) - 1, scale: 0 };
        let one = decimal("1");
        let add = combine(BinaryOperator::Add, nines, one, (38, 0));
        assert!(add.unwrap_err().ends_with("does not fit a DECIMAL(38, 0)"));
        assert!(combine(BinaryOperator::Multiply, nines, nines, (38, 0)).is_err());
        assert_eq!(
            combine(BinaryOperator::Divide, one, decimal("0.00"), (38, 6)).unwrap_err(),
            "division by zero"
        );
    }

    #[test]
    fn numbers_are_compared_whatever_their_scales() {
        let large = Decimal { unscaled: i128::pow(10, 38) - 1, scale: 0 };
        let negative = Decimal { unscaled: -large.unscaled, ..large };
        let small = Decimal { unscaled: large.unscaled, scale: 38 };
        for (left, right, order) in [
            (decimal("1.00"), decimal("1"), Ordering::Equal),
            (decimal("1.00"), decimal("1.0000001"), Ordering::Less),
            (decimal("-0.5"), decimal("-0.50000001"), Ordering::Greater),
            (large, small, Ordering::Greater),
            (negative, small, Ordering::Less),
            (decimal("0"), small, Ordering::Less),
        ] {
            assert_eq!(left.compare(right), order, "{left} {right}");
            assert_eq!(right.compare(left), order.reverse(), "{right} {left}");
        }
        assert!(have_common_shape((38, 18), (20, 0)) && !have_common_shape((38, 18), (38, 2)));
    }

    fn any_decimal() -> impl Strategy<Value = Decimal> {
        (
            prop_oneof![
                -1_000_i128..1_000,
                any::<i64>().prop_map(i128::from),
                -(10_i128.pow(30))..10_i128.pow(30)
            ],
            0_u8..12,
        )
            .prop_map(|(unscaled, scale)| Decimal { unscaled, scale })
    }

    proptest! {
        #[test]
        fn both_ways_of_computing_agree(left in any_decimal(), right in any_decimal(), scale in 6_u8..20) {
            use BinaryOperator::{Add, Divide, Modulo, Multiply, Subtract};
            for operator in [Add, Subtract, Multiply, Divide, Modulo] {
                let division = matches!(operator, Divide | Modulo);
                let scale = if operator == Multiply { scale.min(left.scale + right.scale) } else { scale };
                if division && right.unscaled == 0 {
                    continue;
                }
                let scale = if matches!(operator, Divide | Multiply) { scale } else { left.scale.max(right.scale) };
                if let Some(quick) = quickly(operator, left, right, scale) {
                    prop_assert_eq!(Some(quick), widely(operator, left, right, scale), "{} {:?} {}", left, operator, right);
                }
            }
        }

        #[test]
        fn text_comes_back(value in any_decimal()) {
            prop_assert_eq!(Decimal::parse(&value.to_string()), Some(value));
            prop_assert_eq!(value.to_f64(), value.to_string().parse::<f64>().unwrap());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[-+0-9.eE]{0,50}", scale in 0_u8..=38) {
            let _ = Decimal::parse(&text);
            let _ = Decimal::parse_at(&text, scale);
        }
    }
}
