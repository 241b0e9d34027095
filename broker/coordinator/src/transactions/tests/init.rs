use super::*;

#[test]
fn the_first_producer_gets_the_fresh_id_and_the_next_ones_the_next_epochs() {
    let mut broker = broker();
    assert_eq!(broker.init(init(None, 1)), granted(1, 0));
    assert_eq!(broker.init(init(None, 2)), granted(1, 1));
    broker.restart();
    assert_eq!(broker.init(init(None, 3)), granted(1, 2));
    assert_eq!(broker.last().state, TransactionState::Empty);
}

#[test]
fn bad_requests_are_refused() {
    let mut broker = broker();
    for (init, error) in [
        (InitProducer { timeout_ms: 0, ..init(None, 1) }, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (InitProducer { timeout_ms: 900_001, ..init(None, 1) }, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (InitProducer { transactional_id: "".into(), ..init(None, 1) }, ErrorCode::INVALID_REQUEST),
        (
            InitProducer { transactional_id: "x".repeat(40_000).into(), ..init(None, 1) },
            ErrorCode::INVALID_REQUEST,
        ),
    ] {
        assert_eq!(broker.init(init), ProducerGrant { error, producer_id: -1, producer_epoch: -1 });
    }
    assert!(broker.log.is_empty());
}

#[test]
fn a_producer_that_names_its_epoch_gets_the_next_and_the_same_when_it_asks_again() {
    let mut broker = broker();
    broker.init(init(None, 1));
    assert_eq!(broker.init(init(Some((1, 0)), 2)), granted(1, 1));
    assert_eq!(broker.init(init(Some((1, 0)), 3)), granted(1, 1));
    assert_eq!(broker.log.len(), 2);
    // It has moved on: nobody else may.
    assert_eq!(broker.init(init(Some((1, 1)), 4)), granted(1, 2));
    assert_eq!(broker.init(init(Some((1, 0)), 5)).error, ErrorCode::PRODUCER_FENCED);
}

#[test]
fn a_fenced_producer_cannot_come_back() {
    let mut broker = broker();
    broker.init(init(None, 1));
    assert_eq!(broker.init(init(None, 2)), granted(1, 1));
    assert_eq!(broker.init(init(Some((1, 0)), 3)).error, ErrorCode::PRODUCER_FENCED);
    assert_eq!(broker.init(init(Some((9, 1)), 3)).error, ErrorCode::PRODUCER_FENCED);
    assert_eq!(broker.init(init(Some((1, 2)), 3)).error, ErrorCode::PRODUCER_FENCED);
    let old_client = InitProducer { version: 3, ..init(Some((1, 0)), 3) };
    assert_eq!(broker.init(old_client).error, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[test]
fn an_open_transaction_is_aborted_in_the_same_step() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[0, 1]);
    let before = broker.log.len();
    assert_eq!(broker.init(init(None, 2)), granted(1, 1));
    assert_eq!(broker.log.len(), before + 3);
    assert_eq!((broker.last().state, broker.last().partitions.len()), (TransactionState::Empty, 0));
    let markers = broker.markers();
    assert_eq!(markers.iter().map(|marker| marker.partition.partition).collect::<Vec<_>>(), [0, 1]);
    for marker in markers {
        assert_eq!((marker.producer_id, marker.producer_epoch, marker.commit), (1, 1, false));
        assert_eq!((marker.coordinator_epoch, marker.transaction_v2), (5, true));
    }
    // What the old producer still sends touches nothing (F27, F28).
    assert_eq!(broker.add((1, 0), &[2]), ErrorCode::PRODUCER_FENCED);
    assert_eq!(broker.end(5, (1, 0), true).error, ErrorCode::PRODUCER_FENCED);
    assert_eq!(broker.end(4, (1, 0), true).error, ErrorCode::PRODUCER_FENCED);
}

#[test]
fn a_late_retry_does_not_abort_the_transaction_begun_since() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.init(init(Some((1, 0)), 2));
    broker.add((1, 1), &[0]);
    assert_eq!(broker.init(init(Some((1, 0)), 3)), granted(1, 1));
    assert_eq!(broker.last().state, TransactionState::Ongoing);
}

#[test]
fn when_its_epochs_are_used_up_it_gets_a_fresh_producer_id() {
    for state in [TransactionState::Empty, TransactionState::CompleteAbort] {
        let mut broker = Broker::with(stored(1, i16::MAX - 2, state));
        assert_eq!(broker.init(init(None, FRESH)), granted(1, i16::MAX - 1));
        assert_eq!(broker.init(init(Some((1, i16::MAX - 1)), FRESH)), granted(FRESH, 0));
        assert_eq!(broker.last().previous_producer_id, 1);
        assert_eq!(broker.init(init(Some((1, i16::MAX - 1)), 8)), granted(FRESH, 0));
        assert_eq!(broker.init(init(Some((FRESH, 0)), 8)), granted(FRESH, 1));
    }
}

#[test]
fn the_last_epoch_is_fenced_with_the_one_kept_for_it() {
    let mut broker = Broker::with(stored(1, i16::MAX - 1, TransactionState::Ongoing));
    assert_eq!(broker.init(init(None, FRESH)), granted(FRESH, 0));
    for marker in broker.markers() {
        assert_eq!((marker.producer_id, marker.producer_epoch), (1, i16::MAX));
        assert!(marker.transaction_v2);
    }
    // Even an imported epoch beyond the last one a client may have is survived.
    let mut broker = Broker::with(stored(1, i16::MAX, TransactionState::Ongoing));
    assert_eq!(broker.init(init(None, FRESH)), granted(FRESH, 0));
    assert!(
        broker.markers().iter().all(|marker| marker.producer_epoch == i16::MAX && !marker.transaction_v2)
    );
}

#[test]
fn an_imported_id_without_an_epoch_takes_any_producer() {
    let mut broker = Broker::with(stored(1, -1, TransactionState::Empty));
    assert_eq!(broker.init(init(Some((50, 3)), FRESH)), granted(1, 0));
}
