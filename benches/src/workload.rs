//! The shapes of what is produced.

use bytes::Bytes;
use logmill_record::{BatchBuilder, BatchOptions};

/// Different batches, so that not one and the same is sent again and again out of a cache.
const VARIANTS: u64 = 8;
/// The producer's time of all records: what it is does not matter.
const TIMESTAMP: i64 = 1_700_000_000_000;

/// Records of one size in batches of one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) record_bytes: usize,
    pub(crate) records: u32,
}

impl Shape {
    /// Payload of a batch: the records' values, nothing else.
    pub(crate) fn payload(&self) -> u64 {
        self.record_bytes as u64 * u64::from(self.records)
    }

    /// Batches that together hold at least this payload.
    pub(crate) fn batches(&self, payload: u64) -> u32 {
        u32::try_from(payload.div_ceil(self.payload())).unwrap_or(u32::MAX)
    }

    /// A few batches of this shape with different content.
    pub(crate) fn build(&self) -> Vec<Bytes> {
        (1..=VARIANTS).map(|seed| self.build_one(seed)).collect()
    }

    fn build_one(&self, seed: u64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let mut noise = Noise(seed);
        let mut value = vec![0; self.record_bytes];
        for _ in 0..self.records {
            noise.fill(&mut value);
            builder.push(TIMESTAMP, None, Some(&value), &[]);
        }
        builder.build().into_bytes()
    }
}

/// Bytes that do not compress (xorshift).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, value: &mut [u8]) {
        for piece in value.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use logmill_record::Batch;

    use super::*;

    #[test]
    fn batches_have_the_shape() {
        let shape = Shape { record_bytes: 100, records: 1000 };
        let batches = shape.build();
        assert_eq!(batches.len(), 8);
        assert_ne!(batches[0], batches[1]);
        let batch = Batch::validate(batches[0].clone()).unwrap();
        assert_eq!(batch.header().count, 1000);
        assert_eq!(shape.payload(), 100_000);
        assert!(batch.size() > 100_000 && batch.size() < 112_000, "{}", batch.size());
    }

    #[test]
    fn enough_batches_for_the_payload() {
        let shape = Shape { record_bytes: 10, records: 10 };
        assert_eq!(shape.batches(1000), 10);
        assert_eq!(shape.batches(1001), 11);
    }
}
