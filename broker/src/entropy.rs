//! The broker's chance: the one place that makes ids nobody can foresee.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

/// Where fresh ids come from. Clones share it.
#[derive(Clone, Debug)]
pub struct Entropy(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<AtomicU64>),
}

/// How far the state of SplitMix64 moves for each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Entropy {
    /// The machine's.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// For simulations: the same seed gives the same ids.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(AtomicU64::new(seed))))
    }

    /// An id that nobody has.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        match &self.0 {
            Source::System => Uuid::new_v4(),
            Source::Seeded(state) => {
                let mut bytes = [0; 16];
                let (high, low) = bytes.split_at_mut(8);
                high.copy_from_slice(&next(state).to_be_bytes());
                low.copy_from_slice(&next(state).to_be_bytes());
                Builder::from_random_bytes(bytes).into_uuid()
            }
        }
    }
}

/// The next number of a sequence (SplitMix64).
fn next(state: &AtomicU64) -> u64 {
    let mut bits = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_each_time_and_each_id_once() {
        let ids = |seed| {
            let entropy = Entropy::seeded(seed);
            (0..100).map(|_| entropy.uuid()).collect::<Vec<_>>()
        };
        let first = ids(1);
        assert_eq!(first, ids(1));
        let mut all = [first, ids(2)].concat();
        assert!(all.iter().all(|id| id.get_version_num() == 4));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 200);
        assert_ne!(Entropy::system().uuid(), Entropy::system().uuid());
    }
}
