//! An exact sum of floats, of which any may be taken back.
//!
//! ```text
//! value = Σ digits[i] · 2^(32 · (first + i) − 1074)        digits of 32 bits; the last one is −1 where the sum is negative
//! ```
//!
//! A float is a whole number of 2^-1074. The sum is kept as such a number, as far as it has digits that are not zero: three
//! or four where the values are of one magnitude, 67 at most. So it is the same in whatever order values come and go, and is
//! rounded once, when it is asked for.

const BITS: u32 = 32;
const MASK: i64 = (1 << BITS) - 1;
/// Of how many bits a float's fraction is.
const FRACTION: u32 = 52;
/// No digit stands at this place or behind: 2^63 values of 2^1024 have fewer.
const MOST_DIGITS: usize = 70;

/// The sum of no values to begin with. Equal sums are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExactSum {
    /// The place of the first digit; zero for a sum that is zero.
    first: usize,
    /// Neither the first nor the last one is zero; each has 32 bits, but the last one is -1 where the sum is below zero, and
    /// then the one before it is not full.
    digits: Vec<i64>,
}

impl ExactSum {
    /// Adds a value, which is finite, or takes it away.
    pub(crate) fn add(&mut self, value: f64, back: bool) {
        let bits = value.to_bits();
        let fraction = bits & ((1 << FRACTION) - 1);
        let exponent = (bits >> FRACTION & 0x7ff) as u32;
        let (whole, shift) = match exponent {
            0 => (fraction, 0),
            exponent => (fraction | 1 << FRACTION, exponent - 1),
        };
        if whole == 0 {
            return;
        }
        let sign = if value.is_sign_negative() != back { -1 } else { 1 };
        let wide = u128::from(whole) << (shift % BITS);
        let parts = [0, 1, 2].map(|part| sign * ((wide >> (part * BITS)) as i64 & MASK));
        self.add_digits((shift / BITS) as usize, &parts);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &ExactSum) {
        self.add_digits(other.first, &other.digits);
    }

    /// Adds digits, the first of which has this place.
    fn add_digits(&mut self, first: usize, digits: &[i64]) {
        if self.digits.is_empty() {
            self.first = first;
        }
        let before = self.first.saturating_sub(first);
        self.digits.splice(..0, std::iter::repeat_n(0, before));
        self.first -= before;
        let at = first - self.first;
        if self.digits.len() < at + digits.len() {
            self.digits.resize(at + digits.len(), 0);
        }
        self.digits[at..].iter_mut().zip(digits).for_each(|(digit, more)| *digit += more);
        self.normalize();
    }

    /// Carries what a digit has no room for, and lets go of digits that say nothing.
    fn normalize(&mut self) {
        let mut carry = 0;
        for digit in &mut self.digits {
            let sum = *digit + carry;
            (*digit, carry) = (sum & MASK, sum >> BITS);
        }
        while carry != 0 && carry != -1 {
            self.digits.push(carry & MASK);
            carry >>= BITS;
        }
        if carry == -1 {
            self.digits.push(-1);
            while let [.., before @ MASK, -1] = &mut self.digits[..] {
                *before = -1;
                self.digits.pop();
            }
        }
        while self.digits.pop_if(|digit| *digit == 0).is_some() {}
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.first = if self.digits.is_empty() { 0 } else { self.first + zeros };
    }

    /// The float that is nearest to the sum, of two the even one; infinite where there is none.
    pub(crate) fn value(&self) -> f64 {
        let (magnitude, is_negative) = self.magnitude();
        let Some(last) = magnitude.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // The last three digits: 65 bits at least, where there are three.
        let digit = |back: usize| last.checked_sub(back).map_or(0, |at| magnitude[at] as u128);
        let top = digit(0) << (2 * BITS) | digit(1) << BITS | digit(2);
        let rest = last >= 3 && magnitude[..last - 2].iter().any(|digit| *digit != 0);
        // The places of the lowest bit of these, and of the highest one that is set.
        let lowest = BITS as i64 * (self.first as i64 + last as i64 - 2);
        let length = i64::from(u128::BITS - top.leading_zeros());
        let shift = (lowest + length - 1 - i64::from(FRACTION)).max(0);
        let whole = match u32::try_from(shift - lowest) {
            Ok(dropped) => {
                let (whole, lost) = (top >> dropped, top & ((1 << dropped) - 1));
                let half = if dropped > 0 { 1 << (dropped - 1) } else { 0 };
                let up = half > 0 && (lost > half || lost == half && (rest || whole & 1 == 1));
                whole + u128::from(up)
            }
            Err(_) => top << (lowest - shift),
        };
        // A fraction that is rounded up to one bit more is the next exponent's.
        let bits = ((shift as u64) << FRACTION) + whole as u64;
        let value = f64::from_bits(bits.min(f64::INFINITY.to_bits()));
        if is_negative { -value } else { value }
    }

    /// The digits of the sum without its sign, and whether it is below zero.
    fn magnitude(&self) -> (Vec<i64>, bool) {
        let [digits @ .., -1] = &self.digits[..] else { return (self.digits.clone(), false) };
        let mut borrow = 0;
        let mut magnitude: Vec<i64> = digits
            .iter()
            .map(|digit| {
                let difference = -digit - borrow;
                borrow = i64::from(difference < 0);
                difference & MASK
            })
            .collect();
        magnitude.push(1 - borrow);
        (magnitude, true)
    }

    /// The sum of the squares of the distances from the mean of so many values, of which these are the sum and the sum of the
    /// squares: `squares - sum² / count`, where nothing is rounded before the difference.
    pub(super) fn spread(count: i64, sum: &ExactSum, squares: &ExactSum) -> f64 {
        // As a whole number of the square of a sum's unit: `count · squares - sum²`.
        const UNIT: i64 = 1074;
        const PLACES: usize = UNIT as usize / BITS as usize;
        if count <= 0 {
            return 0.0;
        }
        let ((of_sum, _), (of_squares, _)) = (sum.magnitude(), squares.magnitude());
        let mut digits = vec![0_i128; 2 * MOST_DIGITS + 4];
        for (at, digit) in of_squares.iter().enumerate() {
            let digit = i128::from(*digit) << (UNIT % i64::from(BITS));
            digits[squares.first + at + PLACES] += digit * i128::from(count);
        }
        for (at, left) in of_sum.iter().enumerate() {
            for (behind, right) in of_sum.iter().enumerate() {
                digits[2 * sum.first + at + behind] -= i128::from(*left) * i128::from(*right);
            }
        }
        let mut carry = 0;
        for digit in &mut digits {
            let sum = *digit + carry;
            (*digit, carry) = (sum & i128::from(MASK), sum >> BITS);
        }
        // Squares of values that are nearly nothing are rounded: their mean may say more than they do.
        let last = digits.iter().rposition(|digit| *digit != 0).filter(|_| carry == 0);
        let Some(last) = last.map(|last| last.max(2)) else { return 0.0 };
        let top = digits[last] << (2 * BITS) | digits[last - 1] << BITS | digits[last - 2];
        let exponent = BITS as i32 * (last as i32 - 2) - 2 * UNIT as i32;
        // In steps, of which none is too large or too small for a float.
        let step = exponent / 4;
        let scaled = top as f64 / count as f64 * 2f64.powi(step) * 2f64.powi(step);
        scaled * 2f64.powi(step) * 2f64.powi(exponent - 3 * step)
    }

    /// Appends the sum as bytes: the place of its first digit, how many there are, and each in four bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.first as u8, self.digits.len() as u8]);
        self.digits.iter().for_each(|digit| out.extend_from_slice(&(*digit as i32).to_be_bytes()));
        out.push(u8::from(self.digits.last() == Some(&-1)));
    }

    /// Reads a sum; `None` if the bytes are damaged.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<ExactSum> {
        let [first, count] = super::encoding::take(bytes)?.map(usize::from);
        let mut digits = Vec::with_capacity(count);
        for _ in 0..count {
            digits.push(i64::from(u32::from_be_bytes(super::encoding::take(bytes)?)));
        }
        let [negative] = super::encoding::take(bytes)?;
        match (negative, digits.last_mut()) {
            (0, _) => {}
            (1, Some(last)) if *last == MASK => *last = -1,
            _ => return None,
        }
        let sum = ExactSum { first, digits };
        let mut normal = sum.clone();
        normal.normalize();
        (normal == sum && first + count < MOST_DIGITS).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value, false));
        sum
    }

    #[test]
    fn small_values_are_not_lost_beside_large_ones() {
        let mut changing = sum(&[1e17, 1.0]);
        changing.add(1e17, true);
        assert_eq!(changing.value(), 1.0);
        changing.add(1.0, true);
        assert_eq!(changing, ExactSum::default());
        assert_eq!(
            sum(&[f64::MAX, f64::MIN_POSITIVE, f64::MAX, -f64::MAX, -f64::MAX]).value(),
            f64::MIN_POSITIVE
        );
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[-f64::MAX, -f64::MAX]).value(), f64::NEG_INFINITY);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        // A half goes to the even one, and a half and a little up.
        assert_eq!(sum(&[2f64.powi(53), 1.0]).value(), 2f64.powi(53));
        assert_eq!(sum(&[2f64.powi(53), 1.0, 5e-324]).value(), 2f64.powi(53) + 2.0);
        assert_eq!(sum(&[2f64.powi(53), 3.0]).value(), 2f64.powi(53) + 4.0);
        assert_eq!(sum(&[-2f64.powi(53), -1.0, -5e-324]).value(), -2f64.powi(53) - 2.0);
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = Vec::new();
        sum(&[-1.5, 1e300]).encode(&mut bytes);
        assert!(ExactSum::decode(&mut &bytes[..]).is_some());
        assert!(ExactSum::decode(&mut &bytes[..bytes.len() - 1]).is_none());
        for damaged in [
            &[0, 1, 0, 0, 0, 0, 0][..],
            &[0, 0, 1],
            &[69, 1, 0, 0, 0, 1, 0],
            &[1, 0, 0],
            &[0, 1, 0, 0, 0, 1, 1],
        ] {
            assert!(ExactSum::decode(&mut &damaged[..]).is_none(), "{damaged:?}");
        }
    }

    fn finite() -> impl Strategy<Value = f64> {
        let bits = any::<u64>().prop_map(f64::from_bits);
        prop_oneof![bits, (-100_i32..100).prop_map(f64::from), (-1e20_f64..1e20), Just(5e-324), Just(-0.0)]
            .prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_value_is_itself_and_two_are_rounded_once(left in finite(), right in finite()) {
            prop_assert_eq!(sum(&[left]).value(), left);
            // One addition of floats is rounded once, too.
            prop_assert_eq!(sum(&[left, right]).value(), left + right);
        }

        #[test]
        fn the_order_says_nothing_and_what_is_taken_back_leaves_nothing(
            values in prop::collection::vec(finite(), 0..20),
            taken in prop::collection::vec(finite(), 0..20),
            split in 0_usize..20,
        ) {
            let expected = sum(&values);
            let mut changing = ExactSum::default();
            taken.iter().for_each(|value| changing.add(*value, false));
            values.iter().rev().for_each(|value| changing.add(*value, false));
            taken.iter().rev().for_each(|value| changing.add(*value, true));
            prop_assert_eq!(&changing, &expected);
            let (one, other) = values.split_at(split.min(values.len()));
            let mut merged = sum(other);
            merged.merge(&sum(one));
            prop_assert_eq!(&merged, &expected);
            let mut bytes = Vec::new();
            expected.encode(&mut bytes);
            prop_assert_eq!(ExactSum::decode(&mut &bytes[..]), Some(expected));
        }

        #[test]
        fn whole_numbers_are_exact(values in prop::collection::vec(-(1_i64 << 53)..1 << 53, 0..50)) {
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            let exact: i128 = values.iter().map(|value| i128::from(*value)).sum();
            prop_assert_eq!(sum(&floats).value(), exact as f64);
        }
    }
}
