//! Rows that no number within the limit can reach any more, once a row has come.
//!
//! A partition has the first rows and all that equal the last of them, which may be very many: so what a row costs that comes
//! goes by the limit, and not by how many rows there are.

use std::ops::Bound;
use std::sync::Arc;

use super::super::ordered::{Partition, equals, order_of};
use crate::plan::RankFunction;

/// The rows of a partition that are beyond the limit; one place of the order at a time, but for rows that have numbers of their own.
pub(super) fn beyond(function: RankFunction, limit: u64, partition: &Partition) -> Vec<Arc<[u8]>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Some((last, _)) = partition.last_key_value().filter(|_| partition.len() > limit) else {
        return Vec::new();
    };
    let is_beyond = match function {
        RankFunction::RowNumber => {
            return partition.keys().rev().take(partition.len() - limit).cloned().collect();
        }
        // Their number is that of the rows before them, and one.
        RankFunction::Rank => match limit.checked_sub(1) {
            Some(at) => partition.keys().nth(at).is_some_and(|row| order_of(row) < order_of(last)),
            None => true,
        },
        RankFunction::DenseRank => groups(partition).nth(limit).is_some(),
    };
    let rows = || partition.keys().rev().take_while(|row| order_of(row) == order_of(last));
    if is_beyond { rows().cloned().collect() } else { Vec::new() }
}

/// The first row of each place in the order.
fn groups(partition: &Partition) -> impl Iterator<Item = &Arc<[u8]>> {
    let first = partition.first_key_value().map(|(first, _)| first);
    std::iter::successors(first, |row| {
        let (last, _) = equals(partition, order_of(row)).next_back()?;
        let behind = (Bound::Excluded(&last[..]), Bound::Unbounded);
        partition.range::<[u8], _>(behind).next().map(|(next, _)| next)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::numbered;
    use super::*;
    use crate::operators::ordered::Held;

    proptest! {
        #[test]
        fn what_is_left_is_within_the_limit(
            function in prop_oneof![
                Just(RankFunction::RowNumber), Just(RankFunction::Rank), Just(RankFunction::DenseRank)
            ],
            limit in 0_u64..6,
            orders in prop::collection::vec(0_u8..5, 0..40),
            // Of what a version with another limit has left there may be more.
            trims in prop::collection::vec(any::<bool>(), 1..4),
        ) {
            let (mut all, mut left) = (Partition::new(), Partition::new());
            for (place, order) in orders.into_iter().enumerate() {
                let row: Arc<[u8]> = [&[order][..], &place.to_be_bytes()].concat().into();
                for partition in [&mut all, &mut left] {
                    partition.insert(Arc::clone(&row), Held::of(&[]));
                }
                if trims[place % trims.len()] {
                    loop {
                        let gone = beyond(function, limit, &left);
                        if gone.is_empty() {
                            break;
                        }
                        gone.iter().for_each(|row| _ = left.remove(row));
                    }
                }
                let within: Vec<_> = numbered(function, &all).filter(|(number, _)| *number <= limit).collect();
                let of_left: Vec<_> = numbered(function, &left).collect();
                match trims[place % trims.len()] {
                    true => prop_assert_eq!(of_left, within),
                    false => prop_assert!(of_left.starts_with(&within)),
                }
            }
        }
    }
}
