//! About which value stands where in the order of all: counts in buckets that grow with the values.
//!
//! A bucket holds the values of one sign, one power of two, and one of the 128 equal parts of it (DDSketch with a
//! linearly interpolated mapping: Masson et al., VLDB 2019). So an answer is within 0.4 % of the value that stands in
//! the place asked for, and whole numbers below 256 are exact. Buckets are made of a float's bits: no logarithm, which
//! differs between machines. Sketches merge in any order, and values can be taken back.

use std::collections::BTreeMap;

/// Bits of the mantissa that tell buckets apart.
const PARTS: u32 = 7;
const SHIFT: u32 = f64::MANTISSA_DIGITS - 1 - PARTS;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct QuantileSketch {
    buckets: BTreeMap<i32, i64>,
}

/// The bucket of a value: 0 for zero, else the sign and one more than the leading bits of its size.
fn bucket(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    let size = (value.abs().to_bits() >> SHIFT) as i32 + 1;
    if value < 0.0 { -size } else { size }
}

/// The least and greatest size of a bucket's values, the greatest not among them.
fn bounds(bucket: i32) -> (f64, f64) {
    let size = u64::from(bucket.unsigned_abs());
    match size {
        0 => (0.0, 0.0),
        size => (f64::from_bits((size - 1) << SHIFT), f64::from_bits(size << SHIFT)),
    }
}

impl QuantileSketch {
    /// Adds to how often a value is there.
    pub(crate) fn count(&mut self, value: f64, by: i64) {
        let bucket = bucket(value);
        let count = self.buckets.entry(bucket).or_default();
        *count += by;
        if *count == 0 {
            self.buckets.remove(&bucket);
        }
    }

    /// Takes everything another sketch took.
    pub(crate) fn merge(&mut self, other: &QuantileSketch) {
        for (bucket, by) in &other.buckets {
            let count = self.buckets.entry(*bucket).or_default();
            *count += by;
            if *count == 0 {
                self.buckets.remove(bucket);
            }
        }
    }

    /// The value that `quantile` (0 to 1) of all are not greater than; `whole` where all values are whole numbers.
    pub(crate) fn quantile(&self, quantile: f64, whole: bool) -> Option<f64> {
        let total: i64 = self.buckets.values().filter(|count| **count > 0).sum();
        let place = (quantile * (total - 1) as f64).round() as i64;
        let mut before = 0;
        for (bucket, count) in self.buckets.iter().filter(|(_, count)| **count > 0) {
            before += count;
            if before > place {
                let (least, greatest) = bounds(*bucket);
                let middle = match least.ceil() {
                    only if whole && only + 1.0 >= greatest => only,
                    // Above the last bucket of numbers there is none to be in the middle of.
                    _ if greatest.is_infinite() => least,
                    _ => least + (greatest - least) / 2.0,
                };
                return Some(if *bucket < 0 { -middle } else { middle });
            }
        }
        None
    }

    /// Appends the sketch as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.buckets.len() as u32).to_be_bytes());
        for (bucket, count) in &self.buckets {
            out.extend_from_slice(&bucket.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }

    /// Reads it back; `None` if the bytes are damaged.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<QuantileSketch> {
        let mut buckets = BTreeMap::new();
        for _ in 0..u32::from_be_bytes(super::encoding::take(bytes)?) {
            let bucket = i32::from_be_bytes(super::encoding::take(bytes)?);
            buckets.insert(bucket, i64::from_be_bytes(super::encoding::take(bytes)?));
        }
        Some(QuantileSketch { buckets })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_answer_is_near_the_value_in_its_place(
            mut values in prop::collection::vec(prop_oneof![-1e9..1e9_f64, -3.0..3.0_f64, Just(0.0)], 1..60),
            taken_back in prop::collection::vec(-10.0..10.0_f64, 0..10),
            quantile in 0.0..=1.0_f64,
            split in 0_usize..60,
        ) {
            let (mut sketch, mut later) = (QuantileSketch::default(), QuantileSketch::default());
            for (index, value) in values.iter().enumerate() {
                let part = if index < split { &mut sketch } else { &mut later };
                part.count(*value, 1);
            }
            taken_back.iter().for_each(|value| later.count(*value, 1));
            taken_back.iter().for_each(|value| sketch.count(*value, -1));
            sketch.merge(&later);
            values.sort_by(f64::total_cmp);
            let exact = values[(quantile * (values.len() - 1) as f64).round() as usize];
            let found = sketch.quantile(quantile, false).unwrap();
            prop_assert!((found - exact).abs() <= exact.abs() * 0.004, "{} for {}", found, exact);
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            prop_assert_eq!(QuantileSketch::decode(&mut bytes.as_slice()), Some(sketch));
        }
    }

    #[test]
    fn the_greatest_floats_are_floats() {
        let mut sketch = QuantileSketch::default();
        sketch.count(f64::MAX, 2);
        sketch.count(-f64::MAX, 1);
        for (quantile, exact) in [(1.0, f64::MAX), (0.0, -f64::MAX)] {
            let found = sketch.quantile(quantile, false).unwrap();
            assert!((found / exact - 1.0).abs() <= 0.008, "{found}");
        }
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        for number in -255..=255 {
            let mut sketch = QuantileSketch::default();
            sketch.count(f64::from(number), 1);
            assert_eq!(sketch.quantile(0.5, true), Some(f64::from(number)));
        }
    }
}
