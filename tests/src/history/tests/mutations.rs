//! Correct histories with one thing changed: each change is caught, as what it is.

use std::collections::BTreeSet;

use crate::history::tests::generated::{SEEDS, history};
use crate::history::{
    Action, History, Operation, Outcome, Partition, Place, Polled, Process, Sending, Transaction, Value,
    check,
};
use crate::process::Chance;

/// A change: nothing where a history has nothing to change so.
type Change = fn(&mut History, &mut Chance) -> Option<()>;

/// Changes a history of every seed that has what is to be changed, and expects one of these kinds to be found.
fn caught(change: Change, kinds: &[&str]) {
    let mut changed = 0;
    for seed in 0..SEEDS / 3 {
        let mut history = history(seed);
        if change(&mut history, &mut Chance::of(seed)).is_none() {
            continue;
        }
        changed += 1;
        let found = check(&history);
        let one_of_them = found.iter().any(|anomaly| kinds.contains(&anomaly.kind()));
        assert!(one_of_them, "seed {seed}: {found:#?}");
    }
    assert!(changed > SEEDS / 30, "only {changed} histories could be changed so");
}

fn polls(history: &mut History) -> impl Iterator<Item = (Process, &mut Polled)> {
    history.operations.iter_mut().filter_map(|operation| match &mut operation.answer {
        Some((_, Outcome::Polled(polled))) => Some((operation.process, polled)),
        _ => None,
    })
}

/// Takes what is at a place out of all polls of some.
fn unread(history: &mut History, place: &Place, whose: impl Fn(Process) -> bool) {
    for (process, polled) in polls(history) {
        if whose(process) {
            polled.records.retain(|(other, _)| other != place);
        }
    }
}

fn one<T>(mut all: Vec<T>, chance: &mut Chance) -> Option<T> {
    if all.is_empty() { None } else { Some(all.swap_remove(chance.below(all.len() as u64) as usize)) }
}

/// A reader from the first record to the last.
const STEADY: Process = Process(5);

/// What a steady reader read of topics that are not compacted.
fn read(history: &History) -> Vec<(Place, Value)> {
    let mine = history.operations.iter().filter(|operation| operation.process == STEADY);
    let polled = mine.filter_map(|operation| match operation.outcome() {
        Outcome::Polled(polled) => Some(&polled.records),
        _ => None,
    });
    polled.flatten().filter(|(place, _)| &*place.partition.topic != "latest").cloned().collect()
}

fn committed(history: &History) -> BTreeSet<Transaction> {
    let done = history.operations.iter().filter(|operation| *operation.outcome() == Outcome::Done);
    let commit = |operation: &Operation| match operation.action {
        Action::Commit(transaction) => Some(transaction),
        _ => None,
    };
    done.filter_map(commit).collect()
}

/// Records that were acknowledged, committed and read, each with its operation.
fn there(history: &History) -> Vec<(usize, Sending, Place)> {
    let (committed, read) = (committed(history), read(history));
    let read: BTreeSet<(Place, Value)> = read.into_iter().collect();
    let operations = history.operations.iter().enumerate();
    let sent = operations.filter_map(|(index, operation)| match (&operation.action, operation.outcome()) {
        (Action::Send(sending), Outcome::Written(Some(offset))) => {
            Some((index, sending.clone(), sending.partition.at(*offset)))
        }
        _ => None,
    });
    sent.filter(|(_, sending, place)| {
        let ended = sending.transaction.is_none_or(|transaction| committed.contains(&transaction));
        ended && read.contains(&(place.clone(), sending.value))
    })
    .collect()
}

/// Transactions that are known to be committed, with the places of what was read of each.
fn transactions(history: &History) -> Vec<(Transaction, Vec<Place>)> {
    let mut found: Vec<(Transaction, Vec<Place>)> = Vec::new();
    for (_, sending, place) in there(history) {
        let Some(transaction) = sending.transaction else { continue };
        match found.iter_mut().find(|(other, _)| *other == transaction) {
            Some((_, places)) => places.push(place),
            None => found.push((transaction, vec![place])),
        }
    }
    found
}

#[test]
fn a_read_dropped_from_all_is_caught() {
    let change: Change = |history, chance| {
        let (_, _, place) = one(there(history), chance)?;
        unread(history, &place, |_| true);
        Some(())
    };
    caught(change, &["lost write", "torn transaction"]);
}

#[test]
fn a_read_dropped_from_one_is_caught() {
    let change: Change = |history, chance| {
        let (place, _) = one(read(history), chance)?;
        unread(history, &place, |process| process == STEADY);
        Some(())
    };
    caught(change, &["poll skip"]);
}

#[test]
fn a_part_of_a_transaction_dropped_is_caught() {
    let change: Change = |history, chance| {
        let parts = |places: &[Place]| -> BTreeSet<Partition> {
            places.iter().map(|place| place.partition.clone()).collect()
        };
        // Of which no record of unknown outcome keeps the part alive.
        let sure = |history: &History, transaction: Transaction| {
            history.operations.iter().all(|operation| match &operation.action {
                Action::Send(sending) if sending.transaction == Some(transaction) => {
                    *operation.outcome() != Outcome::Unknown
                }
                _ => true,
            })
        };
        let all = transactions(history);
        let several = all
            .into_iter()
            .filter(|(transaction, places)| parts(places).len() > 1 && sure(history, *transaction));
        let (_, places) = one(several.collect(), chance)?;
        let part = parts(&places).pop_first().expect("several");
        for place in places.iter().filter(|place| place.partition == part) {
            unread(history, place, |_| true);
        }
        Some(())
    };
    caught(change, &["torn transaction"]);
}

#[test]
fn two_reads_swapped_are_caught() {
    let change: Change = |history, chance| {
        let all: Vec<&mut Polled> = polls(history).map(|(_, polled)| polled).collect();
        let side_by_side = |polled: &Polled| {
            let pairs = polled.records.windows(2);
            pairs.into_iter().position(|pair| pair[0].0.partition == pair[1].0.partition)
        };
        let all = all.into_iter().filter_map(|polled| side_by_side(polled).map(|at| (at, polled)));
        let (at, polled) = one(all.collect(), chance)?;
        polled.records.swap(at, at + 1);
        Some(())
    };
    caught(change, &["non-monotonic poll"]);
}

#[test]
fn a_read_given_twice_is_caught() {
    let change: Change = |history, chance| {
        let all: Vec<&mut Polled> =
            polls(history).map(|(_, polled)| polled).filter(|polled| !polled.records.is_empty()).collect();
        let polled = one(all, chance)?;
        let again = polled.records[0].clone();
        polled.records.insert(0, again);
        Some(())
    };
    caught(change, &["non-monotonic poll"]);
}

#[test]
fn a_record_at_a_second_place_is_caught() {
    let change: Change = |history, chance| {
        let (_, sending, place) = one(there(history), chance)?;
        let again = |operation: &&Operation| match &operation.action {
            Action::Send(other) => other.value == sending.value,
            _ => false,
        };
        if history.operations.iter().filter(again).count() > 1 {
            return None;
        }
        let (_, last) = polls(history).filter(|(process, _)| *process == STEADY).last()?;
        let position = last.positions.iter_mut().find(|(partition, _)| *partition == place.partition)?;
        last.records.push((place.partition.at(position.1), sending.value));
        position.1 += 1;
        Some(())
    };
    caught(change, &["duplicate"]);
}

#[test]
fn a_value_changed_is_caught() {
    let change: Change = |history, chance| {
        let (_, _, place) = one(there(history), chance)?;
        for (_, polled) in polls(history) {
            for (_, value) in polled.records.iter_mut().filter(|(other, _)| *other == place) {
                *value = Value(77_777_777);
            }
        }
        Some(())
    };
    caught(change, &["inconsistent offsets"]);
}

#[test]
fn a_commit_turned_into_a_failure_is_caught() {
    let change: Change = |history, chance| {
        let (transaction, _) = one(transactions(history), chance)?;
        for operation in &mut history.operations {
            if operation.action == Action::Commit(transaction) {
                operation.answer = operation.answer.take().map(|(moment, _)| (moment, Outcome::Failed));
            }
        }
        Some(())
    };
    caught(change, &["aborted read"]);
}

#[test]
fn a_commit_turned_into_an_abort_is_caught() {
    let change: Change = |history, chance| {
        let (transaction, _) = one(transactions(history), chance)?;
        for operation in &mut history.operations {
            if operation.action == Action::Commit(transaction) {
                operation.action = Action::Abort(transaction);
            }
        }
        Some(())
    };
    caught(change, &["aborted read"]);
}

#[test]
fn a_marker_moved_behind_what_was_read_is_caught() {
    let change: Change = |history, chance| {
        let (transaction, _) = one(transactions(history), chance)?;
        let last = history.operations.iter().filter_map(Operation::ended).max()?;
        let at = history.operations.iter().position(|other| other.action == Action::Commit(transaction))?;
        let mut commit = history.operations.remove(at);
        commit.asked = last + 1;
        commit.answer = Some((last + 2, Outcome::Done));
        history.operations.push(commit);
        Some(())
    };
    caught(change, &["precommitted read"]);
}

#[test]
fn two_acknowledgements_swapped_are_caught() {
    let change: Change = |history, chance| {
        let there = there(history);
        let (index, sending, place) = one(there.clone(), chance)?;
        let same = |other: &(usize, Sending, Place)| other.2.partition == place.partition && other.0 != index;
        let (other, other_sending, _) = one(there.into_iter().filter(same).collect(), chance)?;
        if sending.value == other_sending.value {
            return None;
        }
        let answer = |history: &mut History, index: usize, other: &Outcome| {
            let (_, outcome) = history.operations[index].answer.as_mut().expect("it was acknowledged");
            std::mem::replace(outcome, other.clone())
        };
        let first = history.operations[index].outcome().clone();
        let second = answer(history, other, &first);
        answer(history, index, &second);
        Some(())
    };
    caught(change, &["inconsistent offsets"]);
}

#[test]
fn two_records_sent_the_other_way_round_are_caught() {
    let change: Change = |history, chance| {
        let there: Vec<_> =
            there(history).into_iter().filter(|(_, sent, _)| sent.transaction.is_none()).collect();
        let (index, _, place) = one(there.clone(), chance)?;
        let process = history.operations[index].process;
        let same = |other: &(usize, Sending, Place)| {
            let by_it = history.operations[other.0].process == process;
            by_it && other.2.partition == place.partition && other.0 != index
        };
        let (other, ..) = one(there.into_iter().filter(same).collect(), chance)?;
        let second = history.operations[other].clone();
        let first = std::mem::replace(&mut history.operations[index].action, second.action.clone());
        history.operations[other].action = first;
        let outcome = history.operations[index].outcome().clone();
        let outcomes = [(index, second.outcome().clone()), (other, outcome)];
        for (index, outcome) in outcomes {
            history.operations[index].answer.as_mut().expect("it was acknowledged").1 = outcome;
        }
        Some(())
    };
    caught(change, &["non-monotonic send"]);
}

#[test]
fn readers_that_stop_early_are_caught() {
    let change: Change = |history, chance| {
        let (_, _, end) = one(there(history), chance)?;
        for (_, polled) in polls(history) {
            let early = |place: &Place| place.partition != end.partition || place.offset < end.offset;
            polled.records.retain(|(place, _)| early(place));
            for (partition, position) in &mut polled.positions {
                if *partition == end.partition {
                    *position = end.offset.min(*position);
                }
            }
        }
        Some(())
    };
    caught(change, &["unseen"]);
}

#[test]
fn transactions_made_to_read_each_other_are_caught() {
    let change: Change = |history, chance| {
        let mut all = transactions(history);
        let first = one(all.clone(), chance)?;
        all.retain(|(transaction, _)| *transaction != first.0);
        let second = one(all, chance)?;
        let values = read(history);
        let last = history.operations.iter().filter_map(Operation::ended).max()?;
        let pairs = [(first.0, &second.1[0]), (second.0, &first.1[0])];
        for (number, (reader, place)) in (0..).zip(pairs) {
            let (_, value) = values.iter().find(|(other, _)| other == place)?;
            let polled = Polled { records: vec![(place.clone(), *value)], positions: Vec::new() };
            let (asked, answered) = (last + 1 + 2 * number, last + 2 + 2 * number);
            history.operations.push(Operation {
                process: Process(100 + number as u32),
                asked,
                action: Action::Poll(Some(reader)),
                answer: Some((answered, Outcome::Polled(polled))),
            });
        }
        Some(())
    };
    caught(change, &["circular reads"]);
}

/// The last time that the group was asked about: after everything had ended.
fn last_fetched(history: &mut History) -> Option<&mut Vec<(Partition, Option<i64>)>> {
    history.operations.iter_mut().rev().find_map(|operation| match &mut operation.answer {
        Some((_, Outcome::Fetched(fetched))) => Some(fetched),
        _ => None,
    })
}

/// The last offset a group is known to have come to in a partition, by a transaction that is known to be committed.
fn last_committed(history: &History, partition: &Partition) -> Option<i64> {
    let committed = committed(history);
    let last = history.operations.iter().rev().find_map(|operation| match &operation.action {
        Action::CommitOffsets { transaction: Some(transaction), offsets, .. } => {
            committed.contains(transaction).then_some(offsets)
        }
        _ => None,
    })?;
    last.iter().find(|(other, _)| other == partition).map(|(_, offset)| *offset)
}

#[test]
fn a_groups_offset_gone_is_caught() {
    let change: Change = |history, _| {
        let partition = Partition::new("orders", 0);
        last_committed(history, &partition)?;
        last_fetched(history)?.iter_mut().for_each(|(_, offset)| *offset = None);
        Some(())
    };
    caught(change, &["outputs without offsets"]);
}

#[test]
fn a_groups_offset_of_before_is_caught() {
    let change: Change = |history, _| {
        let partition = Partition::new("orders", 0);
        let last = last_committed(history, &partition)?;
        let committed = committed(history);
        let before = history.operations.iter().rev().find_map(|operation| match &operation.action {
            Action::CommitOffsets { transaction: Some(transaction), offsets, .. } => {
                let (_, offset) = offsets.iter().find(|(other, _)| *other == partition)?;
                (committed.contains(transaction) && *offset < last).then_some(*offset)
            }
            _ => None,
        })?;
        last_fetched(history)?.iter_mut().find(|(other, _)| *other == partition)?.1 = Some(before);
        Some(())
    };
    caught(change, &["outputs without offsets"]);
}

#[test]
fn a_groups_offset_of_an_aborted_transaction_is_caught() {
    let change: Change = |history, _| {
        let aborted: BTreeSet<Transaction> = history
            .operations
            .iter()
            .filter_map(|operation| match operation.action {
                Action::Abort(transaction) => Some(transaction),
                _ => None,
            })
            .collect();
        let partition = Partition::new("orders", 0);
        let offsets = |of_aborted: bool| -> BTreeSet<i64> {
            let operations = history.operations.iter().filter_map(|operation| match &operation.action {
                Action::CommitOffsets { transaction: Some(transaction), offsets, .. } => {
                    (aborted.contains(transaction) == of_aborted).then_some(offsets)
                }
                _ => None,
            });
            let here = operations.flatten().filter(|(other, _)| *other == partition);
            here.map(|(_, offset)| *offset).collect()
        };
        let only = offsets(true).difference(&offsets(false)).last().copied()?;
        last_fetched(history)?.iter_mut().find(|(other, _)| *other == partition)?.1 = Some(only);
        Some(())
    };
    caught(change, &["offsets without outputs"]);
}

#[test]
fn an_input_without_its_copy_is_caught() {
    let change: Change = |history, chance| {
        let copies = there(history).into_iter().filter(|(_, sending, _)| sending.copy_of.is_some());
        let (index, sending, place) = one(copies.collect(), chance)?;
        unread(history, &place, |_| true);
        history.operations.remove(index);
        let value = sending.value;
        let again = |operation: &Operation| match &operation.action {
            Action::Send(other) => other.value == value && *operation.outcome() == Outcome::Unknown,
            _ => false,
        };
        if history.operations.iter().any(again) { None } else { Some(()) }
    };
    caught(change, &["offsets without outputs"]);
}
