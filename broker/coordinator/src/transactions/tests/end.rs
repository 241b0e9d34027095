use super::*;

const COMMIT: bool = true;
const ABORT: bool = false;

#[test]
fn a_version_2_end_is_one_step_with_every_marker_and_bumps_the_epoch() {
    for commit in [COMMIT, ABORT] {
        let mut broker = broker();
        broker.init(init(None, 1));
        broker.add((1, 0), &[0, 2]);
        let before = broker.log.len();
        assert_eq!(broker.end(5, (1, 0), commit), granted(1, 1));
        assert_eq!(broker.log.len(), before + 3);
        let ended = broker.last();
        let complete =
            if commit { TransactionState::CompleteCommit } else { TransactionState::CompleteAbort };
        assert_eq!((ended.state, ended.partitions.len(), ended.started), (complete, 0, -1));
        let markers = broker.markers();
        assert_eq!(markers.iter().map(|m| m.partition.partition).collect::<Vec<_>>(), [0, 2]);
        for marker in markers {
            assert_eq!((marker.producer_id, marker.producer_epoch, marker.commit), (1, 1, commit));
            assert!(marker.transaction_v2);
        }
    }
}

#[test]
fn a_version_1_end_keeps_the_epoch() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add_as((1, 0), &[0], AddMode::Explicit, 3);
    assert_eq!(broker.end(4, (1, 0), COMMIT), granted(1, 0));
    assert_eq!((broker.markers()[0].producer_epoch, broker.markers()[0].transaction_v2), (0, false));
    // Its retry is told by the state alone.
    assert_eq!(broker.end(4, (1, 0), COMMIT), granted(1, 0));
    assert_eq!(broker.end(4, (1, 0), ABORT).error, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(broker.markers().len(), 1);
}

/// Every row and column of the table, with what is written.
#[test]
fn the_table_holds() {
    use TransactionState::{
        CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit, PrepareEpochFence,
    };
    let (fenced, invalid) = (ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_TXN_STATE);
    let concurrent = ErrorCode::CONCURRENT_TRANSACTIONS;
    let (ended, bumped, done) = (Ok(3), Ok(1), Ok(0));
    // State; commit: current and earlier epoch under version 2, current under version 1; the same for abort.
    let table = [
        (Ongoing, [ended, Err(fenced), ended], [ended, Err(fenced), ended]),
        (Empty, [Err(invalid), Err(fenced), Err(invalid)], [bumped, Err(fenced), Err(invalid)]),
        (CompleteCommit, [Err(invalid), done, done], [bumped, Err(invalid), Err(invalid)]),
        (CompleteAbort, [Err(invalid), Err(invalid), Err(invalid)], [bumped, done, done]),
        (PrepareCommit, [Err(concurrent); 3], [Err(invalid); 3]),
        (PrepareAbort, [Err(invalid); 3], [Err(concurrent); 3]),
        (PrepareEpochFence, [Err(invalid); 3], [Err(concurrent); 3]),
    ];
    for (state, on_commit, on_abort) in table {
        for (commit, expected) in [(COMMIT, on_commit), (ABORT, on_abort)] {
            for (column, (version, epoch)) in [(5, 7), (5, 6), (4, 7)].into_iter().enumerate() {
                let mut broker = Broker::with(stored(1, 7, state));
                let grant = broker.end(version, (1, epoch), commit);
                let records = broker.log.len() - 1;
                match expected[column] {
                    Ok(expected) => {
                        let after = if version == 5 && expected > 0 { granted(1, 8) } else { granted(1, 7) };
                        assert_eq!((grant, records), (after, expected), "{state:?} {commit} {column}");
                    }
                    Err(error) => {
                        let refused = ProducerGrant { error, producer_id: -1, producer_epoch: -1 };
                        assert_eq!((grant, records), (refused, 0), "{state:?} {commit} {column}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_late_end_does_not_touch_the_next_transaction() {
    // F28: under version 2 the epoch tells them apart.
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0]);
    broker.end(5, (1, 0), COMMIT);
    broker.add((1, 1), &[1]);
    for commit in [COMMIT, ABORT] {
        assert_eq!(broker.end(5, (1, 0), commit).error, ErrorCode::PRODUCER_FENCED);
    }
    assert_eq!(broker.add((1, 0), &[2]), ErrorCode::PRODUCER_FENCED);
    assert_eq!((broker.last().state, broker.last().partitions.len()), (TransactionState::Ongoing, 1));
    assert_eq!(broker.end(5, (1, 1), COMMIT), granted(1, 2));
}

#[test]
fn a_producer_fenced_by_a_version_1_client_does_not_take_that_ones_commit_for_its_own() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0]);
    assert_eq!(broker.init(init(None, 2)), granted(1, 1));
    broker.add_as((1, 1), &[1], AddMode::Explicit, 3);
    assert_eq!(broker.end(4, (1, 1), COMMIT), granted(1, 1));
    // The first producer's transaction was aborted when it was fenced.
    assert_eq!(broker.end(5, (1, 0), COMMIT).error, ErrorCode::PRODUCER_FENCED);
}

#[test]
fn strangers_do_not_end_it() {
    let mut broker = Broker::with(stored(1, 7, TransactionState::Ongoing));
    for version in [4, 5] {
        assert_eq!(broker.end(version, (2, 7), COMMIT).error, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
        assert_eq!(broker.end(version, (1, 8), COMMIT).error, ErrorCode::PRODUCER_FENCED);
        assert_eq!(broker.end(version, (1, 5), COMMIT).error, ErrorCode::PRODUCER_FENCED);
    }
    assert_eq!(broker.end(1, (1, 5), COMMIT).error, ErrorCode::INVALID_PRODUCER_EPOCH);
    let mut nobody = super::broker();
    assert_eq!(nobody.end(5, (1, 0), COMMIT).error, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
}

#[test]
fn the_end_that_uses_up_the_epochs_gives_a_fresh_producer_id_and_can_be_retried() {
    let mut broker = Broker::with(stored(1, i16::MAX - 1, TransactionState::Ongoing));
    assert_eq!(broker.end(5, (1, i16::MAX - 1), COMMIT), granted(FRESH, 0));
    assert!(broker.markers().iter().all(|m| (m.producer_id, m.producer_epoch) == (1, i16::MAX)));
    broker.restart();
    assert_eq!(broker.end(5, (1, i16::MAX - 1), COMMIT), granted(FRESH, 0));
    assert_eq!(broker.end(5, (1, i16::MAX - 1), ABORT).error, ErrorCode::INVALID_TXN_STATE);
    // Not once the next one is open.
    assert_eq!(broker.add((FRESH, 0), &[0]), ErrorCode::NONE);
    let late = broker.end(5, (1, i16::MAX - 1), COMMIT);
    assert_eq!(late.error, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
}

#[test]
fn a_fence_at_the_last_epoch_does_not_leave_its_producer_without_one() {
    let mut broker = Broker::with(stored(1, i16::MAX - 1, TransactionState::Ongoing));
    broker.wait(i64::from(TIMEOUT));
    assert_eq!(broker.last().producer_epoch, i16::MAX);
    assert_eq!(broker.end(5, (1, i16::MAX - 1), ABORT), granted(FRESH, 0));
    assert_eq!(broker.end(5, (1, i16::MAX - 1), ABORT), granted(FRESH, 0));
    assert_eq!(broker.add((FRESH, 0), &[0]), ErrorCode::NONE);
}

#[test]
fn a_producer_whose_end_was_not_answered_may_ask_for_its_epoch() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0]);
    broker.end(5, (1, 0), COMMIT);
    assert_eq!(broker.init(init(Some((1, 0)), FRESH)), granted(1, 1));
}
