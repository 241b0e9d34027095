//! How far values are from their mean.

use arrow_buffer::i256;

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

    pub(crate) fn take_back(&mut self, value: f64) {
        self.count -= 1;
        if self.count <= 0 {
            (self.mean, self.spread) = (0.0, 0.0);
            return;
        }
        let after = value - self.mean;
        self.mean -= after / self.count as f64;
        self.spread = (self.spread - after * (value - self.mean)).max(0.0);
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
