//! Everything that is allowed.

use crate::history::tests::story::{Story, orders, part, record};
use crate::history::{Action, Outcome, Partition, Sending, Start, Transaction};

/// Aborts, unknown outcomes of every kind, records sent again, compaction, rebalances and a loop that copies.
#[test]
fn a_history_with_everything_that_is_allowed_is_clean() {
    let story = Story::new();
    // Plain records: acknowledged, failed, and three of unknown outcome: there, not there, and sent again.
    story.written(1, record(orders(0), 10), 0);
    story.tell(1, Action::Send(record(orders(0), 11)), Outcome::Failed);
    story.tell(1, Action::Send(record(orders(0), 12)), Outcome::Unknown);
    let _never_answered = story.ask(1, Action::Send(record(orders(0), 13)));
    story.tell(1, Action::Send(record(orders(0), 14)), Outcome::Unknown);
    story.written(5, record(orders(0), 14), 3);

    // Transactions over two partitions: committed, aborted, left open; of unknown end and there, of unknown end and not.
    story.written(2, part(1, orders(0), 20), 4);
    story.written(2, part(1, orders(1), 21), 0);
    story.commit(2, 1);
    story.written(2, part(2, orders(0), 22), 6);
    story.tell(2, Action::Send(part(2, orders(1), 23)), Outcome::Unknown);
    story.abort(2, 2);
    story.written(2, part(3, orders(0), 24), 8);
    story.maybe_commit(2, 3);
    story.written(3, part(4, orders(0), 25), 10);
    story.written(3, part(4, orders(1), 26), 3);
    story.maybe_commit(3, 4);
    // A commit asked for twice.
    story.written(4, part(5, orders(1), 27), 5);
    story.maybe_commit(4, 5);
    story.commit(4, 5);
    story.written(6, part(6, orders(0), 28), 12);

    // One reader of partition 0 in pieces; its records came while it read, and so did the end of a transaction.
    let first = &[(0, 10), (1, 12), (2, 14), (3, 14), (4, 20)];
    story.assign(10, orders(0), Start::At(0));
    story.poll(10, &orders(0), first, 5);
    story.poll(10, &orders(0), &[], 8);
    story.tell(10, Action::Poll(None), Outcome::Failed);
    story.poll(10, &orders(0), &[(8, 24)], 12);
    // One that lost a poll and goes on somewhere.
    story.drain(11, &orders(0), &first[..2], 2);
    story.tell(11, Action::Poll(None), Outcome::Unknown);
    story.poll(11, &orders(0), &[(8, 24)], 12);
    // One that goes back by its own wish.
    story.drain(12, &orders(0), first, 5);
    story.drain(12, &orders(0), first, 5);
    story.tell(
        12,
        Action::Assign(vec![(orders(0), Start::Kept), (orders(1), Start::Anywhere)]),
        Outcome::Done,
    );
    story.poll(12, &orders(0), &[(8, 24)], 14);
    story.poll(12, &orders(1), &[(5, 27)], 7);
    // A member of a group, of which another one reads in between.
    story.tell(13, Action::Subscribe, Outcome::Done);
    story.poll(13, &orders(0), &first[..2], 2);
    story.poll(13, &orders(0), &[(8, 24)], 9);
    story.poll(13, &orders(0), &first[3..], 5);
    story.drain(14, &orders(1), &[(0, 21), (5, 27)], 7);

    // A compacted topic: one reader before, one after.
    let latest = Partition::new("latest", 0);
    let keyed = |key, value| Sending { key: Some(key), ..record(latest.clone(), value) };
    story.written(7, keyed(1, 30), 0);
    story.written(7, keyed(2, 31), 1);
    story.drain(15, &latest, &[(0, 30), (1, 31)], 2);
    story.written(7, keyed(1, 32), 2);
    story.written(7, keyed(1, 33), 3);
    story.tell(7, Action::Send(keyed(2, 34)), Outcome::Unknown);
    story.poll(15, &latest, &[(3, 33)], 4);
    story.drain(16, &latest, &[(1, 31), (3, 33)], 4);

    // A loop: copied, tried again after an abort, of unknown end and there.
    let (input, output) = (Partition::new("input", 0), Partition::new("output", 0));
    let copy = |transaction, offset: i64| Sending {
        copy_of: Some(input.at(offset)),
        ..part(transaction, output.clone(), 60 + offset as u64)
    };
    for offset in 0..3 {
        story.written(8, record(input.clone(), 50 + offset as u64), offset);
    }
    story.offset_is(9, input.clone(), None);
    story.assign(9, input.clone(), Start::At(0));
    for (transaction, offset, place) in [(10, 0, 0), (11, 1, 2), (12, 1, 4), (13, 2, 6)] {
        story.poll_for(9, Some(transaction), &input, &[(offset, 50 + offset as u64)], offset + 1);
        story.written(9, copy(transaction, offset), place);
        story.commit_offset(9, Some(transaction), input.at(offset + 1));
        match transaction {
            11 => story.abort(9, transaction),
            13 => story.maybe_commit(9, transaction),
            _ => story.commit(9, transaction),
        }
        story.offset_is(9, input.clone(), Some(if transaction == 11 { 1 } else { offset + 1 }));
        story.assign(9, input.clone(), Start::At(if transaction == 11 { 1 } else { offset + 1 }));
    }
    story.drain(17, &input, &[(0, 50), (1, 51), (2, 52)], 3);
    story.drain(18, &output, &[(0, 60), (4, 61), (6, 62)], 8);
    let found = story.found();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_offset_may_be_the_one_before_or_after_while_it_is_committed() {
    for answer in [3, 5] {
        let story = Story::new();
        story.commit_offset(1, None, orders(0).at(3));
        story.commit_offset(2, Some(1), orders(0).at(5));
        let committing = story.ask(2, Action::Commit(Transaction(1)));
        story.offset_is(3, orders(0), Some(answer));
        story.answer(&committing, Outcome::Done);
        assert_eq!(story.found(), []);
    }
}

#[test]
fn a_plain_offset_beside_a_transactions_may_win_or_not() {
    // Which of them is the last one, their records' order says and not that of the answers.
    for answer in [5, 10] {
        let story = Story::new();
        story.commit_offset(2, Some(1), orders(0).at(5));
        story.commit_offset(1, None, orders(0).at(10));
        story.commit(2, 1);
        story.offset_is(3, orders(0), Some(answer));
        assert_eq!(story.found(), []);
    }
}

#[test]
fn a_chain_of_transactions_is_no_circle() {
    let story = Story::new();
    for transaction in 1..=3_u32 {
        let number = transaction as i32;
        if transaction > 1 {
            story.assign(transaction, orders(number - 1), Start::At(0));
            let read = &[(0, u64::from(transaction - 1) * 10)];
            story.poll_for(transaction, Some(u64::from(transaction)), &orders(number - 1), read, 2);
        }
        story.written(
            transaction,
            part(u64::from(transaction), orders(number), u64::from(transaction) * 10),
            0,
        );
        story.commit(transaction, u64::from(transaction));
    }
    story.drain(9, &orders(3), &[(0, 30)], 2);
    assert_eq!(story.found(), []);
}
