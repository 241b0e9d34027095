//! How far values are from their mean.

use arrow_buffer::i256;

use super::exact_sum::ExactSum;

/// Count, sum and sum of squares of whole numbers: exact, so that rows can be taken back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ExactMoments {
    pub(crate) count: i64,
    pub(crate) sum: i128,
    pub(crate) squares: i256,
}

impl Default for ExactMoments {
    fn default() -> Self {
        Self { count: 0, sum: 0, squares: i256::from_i128(0) }
    }
}

impl ExactMoments {
    pub(crate) fn add(&mut self, value: i64, by: i64) {
        let value = i128::from(value);
        self.count += by;
        self.sum += i128::from(by) * value;
        let square = i256::from_i128(value * value);
        self.squares =
            if by > 0 { self.squares.wrapping_add(square) } else { self.squares.wrapping_sub(square) };
    }

    pub(crate) fn merge(&mut self, other: &ExactMoments) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares = self.squares.wrapping_add(other.squares);
    }

    /// The sum of the squares of the distances from the mean.
    pub(crate) fn spread(&self) -> f64 {
        // 2^63 squares of 2^126 at most: all of it fits.
        let count = i256::from_i128(i128::from(self.count));
        let sum = i256::from_i128(self.sum);
        let exact = count.wrapping_mul(self.squares).wrapping_sub(sum.wrapping_mul(sum));
        let exact = match exact.to_i128() {
            Some(exact) => exact as f64,
            None => exact.to_string().parse().unwrap_or(f64::INFINITY),
        };
        exact / self.count as f64
    }
}

/// Count, mean, and the sum of the squares of the distances from it, in record order (Welford's method).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) count: i64,
    pub(crate) mean: f64,
    pub(crate) spread: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.spread += before * (value - self.mean);
    }

    /// Takes everything others took (Chan's method).
    pub(crate) fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        let share = other.count as f64 / count as f64;
        self.spread += other.spread + distance * distance * self.count as f64 * share;
        self.mean += distance * share;
        self.count = count;
    }
}

/// Count, sum and sum of squares of floats that may be taken back: exact, so that what is left is as if they had never been
/// there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ChangingMoments {
    pub(crate) count: i64,
    pub(crate) sum: ExactSum,
    pub(crate) squares: ExactSum,
    /// How many values have no square that is a number: none of them would ever leave a sum again.
    pub(crate) not_finite: i64,
}

impl ChangingMoments {
    pub(crate) fn add(&mut self, value: f64, back: bool) {
        let by = if back { -1 } else { 1 };
        self.count += by;
        let square = value * value;
        if !square.is_finite() {
            self.not_finite += by;
            return;
        }
        self.sum.add(value, back);
        self.squares.add(square, back);
        // What the square lost when it was rounded.
        self.squares.add(value.mul_add(value, -square), back);
    }

    pub(crate) fn merge(&mut self, other: &ChangingMoments) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.not_finite += other.not_finite;
    }

    /// The sum of the squares of the distances from the mean; no number where a value has no square.
    pub(crate) fn spread(&self) -> f64 {
        match self.not_finite {
            0 => ExactSum::spread(self.count, &self.sum, &self.squares),
            _ => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changing(values: &[f64]) -> ChangingMoments {
        let mut moments = ChangingMoments::default();
        values.iter().for_each(|value| moments.add(*value, false));
        moments
    }

    #[test]
    fn a_large_value_that_is_gone_leaves_nothing() {
        for large in [1e8, 1e9, 1e17, -1e150] {
            for mut values in [[large, 1.0, 2.0], [1.0, 2.0, large]].map(|values| changing(&values)) {
                values.add(large, true);
                values.add(3.0, false);
                assert_eq!(values.spread(), 2.0, "beside {large}");
            }
        }
        let mut endless = changing(&[1.0, 1e200, 3.0]);
        assert!(endless.spread().is_nan(), "its square is no number");
        endless.add(1e200, true);
        assert_eq!(endless.spread(), 2.0);
        assert_eq!(changing(&[1e-200, 3e-200]).spread(), 0.0, "a square is less than the least float");
        assert_eq!(changing(&[0.1; 7]).spread(), 0.0);
        assert_eq!(changing(&[]).spread(), 0.0);
    }

    proptest! {
        #[test]
        fn the_order_says_nothing_and_the_spread_is_that_of_the_values(
            values in prop::collection::vec(-1e6_f64..1e6, 0..20),
            taken in prop::collection::vec(-1e100_f64..1e100, 0..20),
            split in 0_usize..20,
        ) {
            let expected = changing(&values);
            let mut found = changing(&taken);
            values.iter().rev().for_each(|value| found.add(*value, false));
            taken.iter().rev().for_each(|value| found.add(*value, true));
            prop_assert_eq!(&found, &expected);
            let (one, other) = values.split_at(split.min(values.len()));
            let mut merged = changing(other);
            merged.merge(&changing(one));
            prop_assert_eq!(&merged, &expected);
            let mut folded = Moments::default();
            values.iter().for_each(|value| folded.add(*value));
            let distance = (expected.spread() - folded.spread).abs();
            prop_assert!(distance <= 1e-9 * folded.spread, "{} and {}", expected.spread(), folded.spread);
        }
    }
}
