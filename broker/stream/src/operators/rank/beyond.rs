//! Rows that no number within the limit can reach any more, when a row comes and once it has come.
//!
//! A partition has the first rows and all that equal the last of them, which may be very many: so a row that sorts behind all of
//! a full partition costs a look at its last one, and another one's cost goes by the limit at most, and not by how many rows
//! there are.

use std::sync::Arc;

use super::super::ordered::{Partition, order_of};
use crate::plan::RankFunction;

/// Whether a row that comes is beyond the limit in a partition that has so many places in the order. Once it is, it stays so.
pub(super) fn is_beyond(
    function: RankFunction,
    limit: u64,
    partition: &Partition,
    places: usize,
    sort: &[u8],
) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Some((last, _)) = partition.last_key_value() else { return false };
    match function {
        RankFunction::RowNumber => partition.len() >= limit && order_of(last) <= sort,
        RankFunction::Rank => partition.len() >= limit && order_of(last) < sort,
        RankFunction::DenseRank => places >= limit && order_of(last) < sort,
    }
}

/// The rows of a partition that are beyond the limit; one place of the order at a time, but for rows that have numbers of their own.
pub(super) fn beyond(
    function: RankFunction,
    limit: u64,
    partition: &Partition,
    places: usize,
) -> Vec<Arc<[u8]>> {
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
            Some(at) => nth(partition, at).is_some_and(|row| order_of(row) < order_of(last)),
            None => true,
        },
        RankFunction::DenseRank => places > limit,
    };
    let rows = || partition.keys().rev().take_while(|row| order_of(row) == order_of(last));
    if is_beyond { rows().cloned().collect() } else { Vec::new() }
}

/// The row at a place of those that are there, from whichever end is nearer.
fn nth(partition: &Partition, at: usize) -> Option<&Arc<[u8]>> {
    let behind = partition.len().checked_sub(at + 1)?;
    if at < behind { partition.keys().nth(at) } else { partition.keys().nth_back(behind) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            let places = |partition: &Partition| {
                partition.keys().map(|row| order_of(row)).collect::<BTreeSet<_>>().len()
            };
            for (place, order) in orders.into_iter().enumerate() {
                let row: Arc<[u8]> = [&[order][..], &place.to_be_bytes()].concat().into();
                let comes_behind = !left.is_empty() && left.keys().all(|other| order_of(other) < &[order][..]);
                let comes_beyond = is_beyond(function, limit, &left, places(&left), &[order]);
                for partition in [&mut all, &mut left] {
                    partition.insert(Arc::clone(&row), Held::of(&[]));
                }
                if trims[place % trims.len()] {
                    loop {
                        let gone = beyond(function, limit, &left, places(&left));
                        if gone.is_empty() {
                            break;
                        }
                        gone.iter().for_each(|row| _ = left.remove(row));
                    }
                }
                let within: Vec<_> = numbered(function, &all).filter(|(number, _)| *number <= limit).collect();
                let of_left: Vec<_> = numbered(function, &left).collect();
                let is_within = within.iter().any(|(_, other)| **other == row);
                match trims[place % trims.len()] {
                    true => prop_assert_eq!(of_left, within),
                    false => prop_assert!(of_left.starts_with(&within)),
                }
                prop_assert!(!(comes_beyond && is_within));
                let is_told = comes_beyond || is_within || !comes_behind;
                prop_assert!(is_told, "a row that sorts behind all of a full partition is looked for");
            }
        }
    }
}
