use super::*;

const WEEK: i64 = 7 * 24 * 3_600_000;

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0, 1]);
    broker.wait(i64::from(TIMEOUT) - 1);
    assert_eq!(broker.last().state, TransactionState::Ongoing);
    // Adding does not make it last longer.
    broker.add((1, 0), &[2]);
    broker.wait(1);
    assert_eq!((broker.last().state, broker.last().producer_epoch), (TransactionState::CompleteAbort, 1));
    let markers = broker.markers();
    assert_eq!(markers.len(), 3);
    assert!(markers.iter().all(|m| m.producer_epoch == 1 && !m.commit && m.transaction_v2));
    assert_eq!(broker.add((1, 0), &[3]), ErrorCode::PRODUCER_FENCED);
    assert_eq!(broker.end(5, (1, 0), true).error, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(broker.end(4, (1, 0), true).error, ErrorCode::PRODUCER_FENCED);
    // A version 2 client that gives up finds it done, and goes on.
    assert_eq!(broker.end(5, (1, 0), false), granted(1, 1));
    assert_eq!(broker.markers().len(), 3);
}

#[test]
fn its_time_counts_from_its_beginning_even_through_a_restart() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0]);
    broker.now += i64::from(TIMEOUT) + 1;
    broker.restart();
    broker.wait(0);
    assert_eq!(broker.last().state, TransactionState::CompleteAbort);
}

#[test]
fn a_commit_and_the_timeout_in_the_same_millisecond_have_one_outcome() {
    for commit_first in [true, false] {
        let mut broker = broker();
        broker.init(init(None, 1));
        broker.add((1, 0), &[0]);
        broker.now += i64::from(TIMEOUT);
        if !commit_first {
            broker.wait(0);
        }
        let grant = broker.end(5, (1, 0), true);
        broker.wait(1);
        assert_eq!(broker.markers().len(), 1);
        assert_eq!(broker.markers()[0].commit, commit_first);
        assert_eq!(grant.error == ErrorCode::NONE, commit_first);
    }
}

#[test]
fn an_id_nobody_uses_is_forgotten_after_a_week_but_never_in_a_transaction() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.wait(WEEK - 1);
    broker.init(init(None, 2));
    broker.wait(WEEK - 1);
    assert!(matches!(broker.log.last(), Some(Record::State { value: Some(_), .. })));
    broker.wait(1);
    assert!(matches!(broker.log.last(), Some(Record::State { value: None, .. })));
    assert_eq!(broker.machine.next_deadline(), None);
    assert_eq!(broker.add((1, 1), &[0]), ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    // Its producer outlived it and starts again.
    assert_eq!(broker.init(init(Some((1, 1)), 3)), granted(3, 0));
}

#[test]
fn what_another_coordinator_prepared_is_completed_at_load() {
    use TransactionState::{CompleteAbort, CompleteCommit, PrepareAbort, PrepareCommit, PrepareEpochFence};
    for (state, complete, commit) in [
        (PrepareCommit, CompleteCommit, true),
        (PrepareAbort, CompleteAbort, false),
        (PrepareEpochFence, CompleteAbort, false),
    ] {
        let mut broker = Broker::with(stored(1, 4, state));
        broker.wait(0);
        assert_eq!((broker.last().state, broker.last().producer_epoch), (complete, 4));
        let markers = broker.markers();
        assert_eq!(markers.len(), 2);
        assert!(markers.iter().all(|m| (m.producer_epoch, m.commit) == (4, commit) && m.transaction_v2));
        // Its client's retry finds it done.
        assert_eq!(broker.end(5, (1, 3), commit), granted(1, 4));
    }
}

#[test]
fn the_producer_id_that_was_chosen_at_prepare_takes_over() {
    let prepared =
        Transaction { next_producer_id: 50, ..stored(1, i16::MAX, TransactionState::PrepareCommit) };
    let mut broker = Broker::with(prepared);
    broker.wait(0);
    let last = broker.last();
    assert_eq!((last.producer_id, last.producer_epoch, last.previous_producer_id), (50, 0, 1));
    assert!(broker.markers().iter().all(|m| (m.producer_id, m.producer_epoch) == (1, i16::MAX)));
    assert_eq!(broker.end(5, (1, i16::MAX - 1), true), granted(50, 0));
}
