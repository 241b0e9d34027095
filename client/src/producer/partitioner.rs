//! Which partition a record goes to.
//!
//! Records with a key go where Java's default partitioner puts them, so that producers in any language agree.
//! Records without a key stay with one partition until it has taken a batch's worth of bytes and then go to the
//! next (KIP-480, KIP-794): full batches, even spread.

use std::collections::BTreeMap;

/// The 32-bit MurmurHash2 of Kafka's clients (seed `0x9747b28c`).
pub fn murmur2(data: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;

    // The length is part of the seed; Kafka keys are below 2 GiB.
    let mut hash = 0x9747_b28c_u32 ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        k = k.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partitions` (which must not be zero), as Java's default partitioner has it.
pub fn partition_of_key(key: &[u8], partitions: u32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions) as i32
}

/// Spreads records without a key.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    topics: BTreeMap<String, Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    partition: u32,
    bytes: usize,
}

impl Sticky {
    /// The partition for the next keyless record of so many bytes. `start` chooses where a topic begins, so
    /// that many short-lived producers do not all begin with partition 0.
    pub(crate) fn next(
        &mut self,
        topic: &str,
        partitions: u32,
        bytes: usize,
        batch: usize,
        start: u32,
    ) -> i32 {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), Place { partition: start % partitions, bytes: 0 });
        }
        let Some(place) = self.topics.get_mut(topic) else { return 0 };
        if place.bytes >= batch || place.partition >= partitions {
            *place = Place { partition: place.partition.wrapping_add(1) % partitions, bytes: 0 };
        }
        place.bytes += bytes;
        place.partition as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn every_key_has_a_partition_in_range() {
        for n in 0..1000_u32 {
            let partition = partition_of_key(&n.to_be_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
    }

    #[test]
    fn keyless_records_stay_until_a_batch_is_full_then_move_on() {
        let mut sticky = Sticky::default();
        let taken: Vec<i32> = (0..6).map(|_| sticky.next("t", 3, 50, 100, 5)).collect();
        assert_eq!(taken, [2, 2, 0, 0, 1, 1]);
        assert_eq!(sticky.next("other", 1, 50, 100, 5), 0);
    }

    #[test]
    fn a_topic_that_shrank_is_survived() {
        let mut sticky = Sticky::default();
        assert_eq!(sticky.next("t", 8, 1, 100, 7), 7);
        assert_eq!(sticky.next("t", 2, 1, 100, 7), 0);
    }
}
