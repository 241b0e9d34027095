//! One history for each anomaly: it is found, and nothing else.

use crate::history::tests::story::{Story, orders, part, record};
use crate::history::{Action, Anomaly, Outcome, Polled, Process, Start, Transaction, Value};

#[test]
fn two_values_at_one_place_are_inconsistent() {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.tell(1, Action::Send(record(orders(0), 11)), Outcome::Unknown);
    story.drain(2, &orders(0), &[(0, 10)], 1);
    story.drain(3, &orders(0), &[(0, 11)], 1);
    let values = vec![Value(10), Value(11)];
    assert_eq!(story.found(), [Anomaly::InconsistentOffsets { place: orders(0).at(0), values }]);
}

#[test]
fn an_acknowledged_value_under_another_one_is_inconsistent() {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.written(2, record(orders(0), 11), 0);
    story.drain(3, &orders(0), &[(0, 11)], 1);
    let values = vec![Value(10), Value(11)];
    assert_eq!(story.found(), [Anomaly::InconsistentOffsets { place: orders(0).at(0), values }]);
}

#[test]
fn a_record_written_twice_is_a_duplicate() {
    for outcome in [Outcome::Written(Some(0)), Outcome::Unknown] {
        let story = Story::new();
        story.tell(1, Action::Send(record(orders(0), 10)), outcome);
        story.drain(2, &orders(0), &[(0, 10), (1, 10)], 2);
        let places = vec![orders(0).at(0), orders(0).at(1)];
        assert_eq!(story.found(), [Anomaly::Duplicate { value: Value(10), places, allowed: 1 }]);
    }
}

#[test]
fn an_input_copied_by_two_transactions_is_a_duplicate() {
    let story = Story::new();
    let copy = |transaction| crate::history::Sending {
        copy_of: Some(orders(0).at(0)),
        ..part(transaction, orders(1), 20)
    };
    story.written(1, record(orders(0), 10), 0);
    story.drain(3, &orders(0), &[(0, 10)], 1);
    for (transaction, offset) in [(1, 0), (2, 2)] {
        story.written(2, copy(transaction), offset);
        story.commit(2, transaction);
    }
    story.drain(4, &orders(1), &[(0, 20), (2, 20)], 4);
    let places = vec![orders(1).at(0), orders(1).at(2)];
    assert_eq!(story.found(), [Anomaly::Duplicate { value: Value(20), places, allowed: 1 }]);
}

#[test]
fn a_value_of_nobody_is_unwritten() {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.drain(2, &orders(0), &[(0, 10), (1, 99)], 2);
    assert_eq!(story.found(), [Anomaly::Unwritten { place: orders(0).at(1), value: Value(99) }]);
}

#[test]
fn what_was_acknowledged_and_passed_by_is_lost() {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.written(1, record(orders(0), 11), 1);
    story.drain(2, &orders(0), &[(1, 11)], 2);
    let (place, value) = (orders(0).at(0), Value(10));
    assert_eq!(story.found(), [Anomaly::LostWrite { place, value, transaction: None }]);
}

#[test]
fn the_end_of_a_log_can_be_lost_too() {
    let story = Story::new();
    story.written(1, part(1, orders(0), 10), 0);
    story.commit(1, 1);
    story.drain(2, &orders(0), &[], 2);
    let (place, value) = (orders(0).at(0), Value(10));
    assert_eq!(story.found(), [Anomaly::LostWrite { place, value, transaction: Some(Transaction(1)) }]);
}

#[test]
fn a_sibling_that_was_read_makes_a_write_of_unknown_outcome_a_lost_one() {
    let story = Story::new();
    story.written(1, part(1, orders(0), 10), 0);
    story.written(1, part(1, orders(0), 11), 1);
    story.maybe_commit(1, 1);
    story.drain(2, &orders(0), &[(1, 11)], 3);
    let (place, value) = (orders(0).at(0), Value(10));
    assert_eq!(story.found(), [Anomaly::LostWrite { place, value, transaction: Some(Transaction(1)) }]);
}

#[test]
fn the_last_record_of_a_key_is_lost_also_where_a_topic_is_compacted() {
    let latest = crate::history::Partition::new("latest", 0);
    let keyed = |value| crate::history::Sending { key: Some(7), ..record(latest.clone(), value) };
    let story = Story::new();
    story.written(1, keyed(10), 0);
    story.written(1, keyed(11), 1);
    story.drain(2, &latest, &[], 2);
    let (place, value) = (latest.at(1), Value(11));
    assert_eq!(story.found(), [Anomaly::LostWrite { place, value, transaction: None }]);
}

#[test]
fn what_nobody_came_to_is_unseen() {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.written(1, record(orders(0), 11), 1);
    story.drain(2, &orders(0), &[(0, 10)], 1);
    let unseen =
        Anomaly::Unseen { partition: orders(0), offset: Some(1), value: Value(11), transaction: None };
    assert_eq!(story.found(), [unseen]);
}

#[test]
fn a_record_of_a_transaction_that_did_not_commit_is_an_aborted_read() {
    let told = |end: &dyn Fn(&Story)| {
        let story = Story::new();
        story.written(1, part(1, orders(0), 10), 0);
        end(&story);
        story.drain(2, &orders(0), &[(0, 10)], 2);
        story.found()
    };
    let aborted = [Anomaly::AbortedRead {
        process: Process(2),
        place: orders(0).at(0),
        value: Value(10),
        transaction: Some(Transaction(1)),
    }];
    assert_eq!(told(&|story| story.abort(1, 1)), aborted);
    assert_eq!(told(&|_| ()), aborted, "its producer never asked for an end");
    let failed = |story: &Story| story.tell(1, Action::Commit(Transaction(1)), Outcome::Failed);
    assert_eq!(told(&failed), aborted);
}

#[test]
fn a_record_whose_write_failed_is_an_aborted_read() {
    let story = Story::new();
    story.tell(1, Action::Send(record(orders(0), 10)), Outcome::Failed);
    story.drain(2, &orders(0), &[(0, 10)], 1);
    let (process, place) = (Process(2), orders(0).at(0));
    let aborted = Anomaly::AbortedRead { process, place, value: Value(10), transaction: None };
    assert_eq!(story.found(), [aborted]);
}

#[test]
fn what_is_read_before_its_commit_was_asked_for_is_precommitted() {
    // By itself, and by somebody else.
    for (reader, transaction) in [(1, Some(1)), (2, None)] {
        let story = Story::new();
        story.written(1, part(1, orders(0), 10), 0);
        story.assign(reader, orders(0), Start::At(0));
        story.poll_for(reader, transaction, &orders(0), &[(0, 10)], 1);
        story.commit(1, 1);
        let (process, place) = (Process(reader), orders(0).at(0));
        let early = Anomaly::PrecommittedRead { process, place, transaction: Transaction(1) };
        assert_eq!(story.found(), [early]);
    }
}

#[test]
fn what_one_reader_passes_by_and_another_reads_is_skipped() {
    let skip = Anomaly::PollSkip { process: Process(3), place: orders(0).at(1), value: Value(11) };
    // Inside one poll, between two, and at the end.
    for polls in [&[&[0, 2][..]][..], &[&[0], &[2]], &[&[0], &[]]] {
        let story = Story::new();
        for offset in 0..3 {
            story.written(1, record(orders(0), 10 + offset as u64), offset);
        }
        story.drain(2, &orders(0), &[(0, 10), (1, 11), (2, 12)], 3);
        story.assign(3, orders(0), Start::At(0));
        for poll in polls {
            let records: Vec<(i64, u64)> = poll.iter().map(|offset| (*offset, 10 + *offset as u64)).collect();
            let position = poll.last().map_or(2, |last| last + 1);
            story.poll(3, &orders(0), &records, position);
        }
        assert_eq!(story.found(), std::slice::from_ref(&skip), "{polls:?}");
    }
}

#[test]
fn inside_one_poll_a_member_of_a_group_may_not_skip_either() {
    let story = Story::new();
    for offset in 0..3 {
        story.written(1, record(orders(0), 10 + offset as u64), offset);
    }
    story.drain(2, &orders(0), &[(0, 10), (1, 11), (2, 12)], 3);
    story.tell(3, Action::Subscribe, Outcome::Done);
    story.poll(3, &orders(0), &[(0, 10), (2, 12)], 3);
    let skip = Anomaly::PollSkip { process: Process(3), place: orders(0).at(1), value: Value(11) };
    assert_eq!(story.found(), [skip]);
}

#[test]
fn a_reader_that_comes_back_is_not_monotonic() {
    let back = Anomaly::NonMonotonicPoll { process: Process(2), place: orders(0).at(0), position: 2 };
    for polls in [&[&[(0, 10), (1, 11), (0, 10)][..]][..], &[&[(0, 10), (1, 11)], &[(0, 10)]]] {
        let story = Story::new();
        story.written(1, record(orders(0), 10), 0);
        story.written(1, record(orders(0), 11), 1);
        story.assign(2, orders(0), Start::At(0));
        for poll in polls {
            story.poll(2, &orders(0), poll, 2);
        }
        assert_eq!(story.found(), std::slice::from_ref(&back), "{polls:?}");
    }
}

#[test]
fn a_position_that_goes_back_is_not_monotonic() {
    let story = Story::new();
    story.drain(2, &orders(0), &[], 5);
    story.poll(2, &orders(0), &[], 4);
    let back = Anomaly::NonMonotonicPoll { process: Process(2), place: orders(0).at(4), position: 5 };
    assert_eq!(story.found(), [back]);
}

#[test]
fn one_producers_records_in_another_order_are_not_monotonic() {
    // Also when the first one's offset is known only from a reader.
    for outcome in [Outcome::Written(Some(1)), Outcome::Unknown] {
        let story = Story::new();
        story.tell(1, Action::Send(record(orders(0), 10)), outcome);
        story.written(1, record(orders(0), 11), 0);
        story.drain(2, &orders(0), &[(0, 11), (1, 10)], 2);
        let (place, before) = (orders(0).at(0), orders(0).at(1));
        assert_eq!(story.found(), [Anomaly::NonMonotonicSend { process: Process(1), place, before }]);
    }
}

#[test]
fn transactions_that_read_each_other_are_a_circle() {
    // Of three, so that it takes more than a look at pairs.
    let story = Story::new();
    for transaction in 1..=3_u32 {
        let number = transaction as i32;
        let value = u64::from(transaction) * 10;
        story.written(transaction, part(u64::from(transaction), orders(number), value), 0);
    }
    for transaction in 1..=3_u32 {
        let of = transaction % 3 + 1;
        story.assign(transaction, orders(of as i32), Start::At(0));
        let read = &[(0, u64::from(of) * 10)];
        story.poll_for(transaction, Some(u64::from(transaction)), &orders(of as i32), read, 1);
    }
    for transaction in 1..=3 {
        story.commit(transaction, u64::from(transaction));
    }
    let transactions = (1..=3).map(Transaction).collect();
    assert_eq!(story.found(), [Anomaly::CircularReads { transactions }]);
}

#[test]
fn a_transaction_that_is_in_one_partition_only_is_torn() {
    for known in [true, false] {
        let story = Story::new();
        story.written(1, part(1, orders(0), 10), 0);
        story.written(1, part(1, orders(1), 11), 0);
        story.written(1, part(1, orders(1), 12), 1);
        if known {
            story.commit(1, 1)
        } else {
            story.maybe_commit(1, 1)
        }
        story.drain(2, &orders(0), &[(0, 10)], 2);
        story.drain(3, &orders(1), &[], 3);
        let missing = vec![orders(1).at(0), orders(1).at(1)];
        let (transaction, there) = (Transaction(1), orders(0).at(0));
        assert_eq!(story.found(), [Anomaly::TornTransaction { transaction, there, missing }]);
    }
}

/// A loop's transaction that reads one record of partition 0, writes one to partition 1, and says so.
fn copying(end: impl Fn(&Story)) -> Story {
    let story = Story::new();
    story.written(1, record(orders(0), 10), 0);
    story.assign(2, orders(0), Start::At(0));
    story.poll_for(2, Some(1), &orders(0), &[(0, 10)], 1);
    let copy = crate::history::Sending { copy_of: Some(orders(0).at(0)), ..part(1, orders(1), 20) };
    story.written(2, copy, 0);
    story.commit_offset(2, Some(1), orders(0).at(1));
    end(&story);
    story
}

#[test]
fn an_offset_whose_outputs_were_aborted_has_none() {
    let story = copying(|story| story.abort(2, 1));
    story.drain(3, &orders(1), &[], 2);
    story.offset_is(3, orders(0), Some(1));
    let group = || "copiers".into();
    let (transaction, place) = (Some(Transaction(1)), orders(0).at(1));
    let of_it = Anomaly::OffsetsWithoutOutputs { transaction, group: group(), place };
    let input = orders(0).at(0);
    let skipped = Anomaly::OffsetsWithoutOutputs { transaction: None, group: group(), place: input };
    assert_eq!(story.found(), [skipped, of_it]);
}

#[test]
fn an_offset_whose_outputs_are_not_there_has_none() {
    let story = copying(|story| story.maybe_commit(2, 1));
    story.drain(3, &orders(1), &[], 2);
    story.offset_is(3, orders(0), Some(1));
    let found = story.found();
    assert!(found.iter().all(|anomaly| anomaly.kind() == "offsets without outputs"), "{found:?}");
    let of_it = |anomaly: &Anomaly| {
        matches!(anomaly, Anomaly::OffsetsWithoutOutputs { transaction: Some(Transaction(1)), .. })
    };
    assert!(found.iter().any(of_it), "{found:?}");
}

#[test]
fn an_input_that_a_loop_passes_by_has_no_outputs() {
    let story = copying(|story| story.commit(2, 1));
    story.written(1, record(orders(0), 11), 1);
    story.written(1, record(orders(0), 12), 2);
    story.poll_for(2, Some(2), &orders(0), &[(1, 11), (2, 12)], 3);
    let copy = crate::history::Sending { copy_of: Some(orders(0).at(2)), ..part(2, orders(1), 22) };
    story.written(2, copy, 2);
    story.commit_offset(2, Some(2), orders(0).at(3));
    story.commit(2, 2);
    story.drain(3, &orders(1), &[(0, 20), (2, 22)], 4);
    story.offset_is(3, orders(0), Some(3));
    let (group, place) = ("copiers".into(), orders(0).at(1));
    assert_eq!(story.found(), [Anomaly::OffsetsWithoutOutputs { transaction: None, group, place }]);
}

#[test]
fn outputs_whose_offset_is_not_there_are_without_it() {
    for known in [true, false] {
        let story = copying(|story| if known { story.commit(2, 1) } else { story.maybe_commit(2, 1) });
        story.drain(3, &orders(1), &[(0, 20)], 2);
        story.offset_is(3, orders(0), None);
        let (transaction, group, place) = (Transaction(1), "copiers".into(), orders(0).at(1));
        let without = Anomaly::OutputsWithoutOffsets { transaction, group, place, found: None };
        assert_eq!(story.found(), [without]);
    }
}

#[test]
fn outputs_whose_offset_went_back_are_without_it() {
    let story = Story::new();
    story.commit_offset(1, None, orders(0).at(3));
    story.commit_offset(2, Some(1), orders(0).at(5));
    story.commit(2, 1);
    story.offset_is(3, orders(0), Some(3));
    let (transaction, group, place) = (Transaction(1), "copiers".into(), orders(0).at(5));
    let without = Anomaly::OutputsWithoutOffsets { transaction, group, place, found: Some(3) };
    assert_eq!(story.found(), [without]);
}

#[test]
fn a_plain_offset_can_be_lost_too() {
    let story = Story::new();
    story.commit_offset(1, None, orders(0).at(3));
    story.commit_offset(1, None, orders(0).at(5));
    story.offset_is(3, orders(0), Some(3));
    let (group, place) = ("copiers".into(), orders(0).at(5));
    assert_eq!(story.found(), [Anomaly::LostOffsets { group, place, found: Some(3) }]);
}

#[test]
fn an_offset_of_nobody_is_unwritten() {
    let story = Story::new();
    story.commit_offset(1, None, orders(0).at(3));
    story.offset_is(3, orders(0), Some(4));
    let (group, place) = ("copiers".into(), orders(0).at(4));
    assert_eq!(story.found(), [Anomaly::UnwrittenOffsets { group, place }]);
}

#[test]
fn anomalies_say_what_and_where() {
    let story = Story::new();
    story.written(1, part(4, orders(2), 10), 7);
    story.abort(1, 4);
    story.tell(
        2,
        Action::Poll(None),
        Outcome::Polled(Polled { records: vec![(orders(2).at(7), Value(10))], positions: vec![] }),
    );
    let found: Vec<String> = story.found().iter().map(Anomaly::to_string).collect();
    assert_eq!(found, ["aborted read: process 2 read value 10 of transaction 4 at orders-2 offset 7"]);
}
