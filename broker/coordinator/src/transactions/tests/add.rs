use super::*;

#[test]
fn a_transaction_begins_with_its_first_partition() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.now += 10;
    assert_eq!(broker.add((1, 0), &[3]), ErrorCode::NONE);
    let (started, version) = (broker.last().started, broker.last().client_version);
    assert_eq!((broker.last().state, started, version), (TransactionState::Ongoing, broker.now, 2));
    broker.now += 10;
    assert_eq!(broker.add((1, 0), &[1, 3]), ErrorCode::NONE);
    assert_eq!((broker.last().started, broker.last().partitions.len()), (started, 2));
    // Asking again costs nothing.
    let records = broker.log.len();
    assert_eq!(broker.add((1, 0), &[1]), ErrorCode::NONE);
    assert_eq!(broker.log.len(), records);
}

#[test]
fn only_the_current_producer_adds() {
    let mut broker = broker();
    assert_eq!(broker.add((1, 0), &[0]), ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    broker.init(init(None, 1));
    broker.init(init(None, 2));
    assert_eq!(broker.add((2, 1), &[0]), ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    for epoch in [0, 2] {
        assert_eq!(broker.add((1, epoch), &[0]), ErrorCode::PRODUCER_FENCED);
        let old = broker.add_as((1, epoch), &[0], AddMode::Explicit, 1);
        assert_eq!(old, ErrorCode::INVALID_PRODUCER_EPOCH);
    }
    assert_eq!(broker.last().state, TransactionState::Empty);
}

#[test]
fn a_half_ended_transaction_takes_nothing() {
    for state in [TransactionState::PrepareCommit, TransactionState::PrepareAbort] {
        let mut broker = Broker::with(stored(1, 3, state));
        assert_eq!(broker.add((1, 3), &[0]), ErrorCode::CONCURRENT_TRANSACTIONS);
        assert_eq!(broker.init(init(None, FRESH)).error, ErrorCode::CONCURRENT_TRANSACTIONS);
    }
}

#[test]
fn verifying_says_which_are_in_and_adds_none() {
    let mut broker = broker();
    broker.init(init(None, 1));
    assert_eq!(broker.add_as((1, 0), &[0], AddMode::Verify, 5), ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(broker.add_as((1, 0), &[0], AddMode::Explicit, 3), ErrorCode::NONE);
    assert_eq!(broker.last().client_version, 0);
    let records = broker.log.len();
    assert_eq!(broker.add_as((1, 0), &[0], AddMode::Verify, 5), ErrorCode::NONE);
    assert_eq!(broker.add_as((1, 0), &[0, 1], AddMode::Verify, 5), ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(broker.add_as((1, 1), &[0], AddMode::Verify, 5), ErrorCode::PRODUCER_FENCED);
    broker.end(4, (1, 0), true);
    assert_eq!(broker.add_as((1, 0), &[0], AddMode::Verify, 5), ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(broker.log.len(), records + 2);
}

#[test]
fn a_groups_offsets_are_a_partition_like_any_other() {
    let mut broker = broker();
    broker.init(init(None, 1));
    let offsets = TopicPartition { topic: "__consumer_offsets".into(), partition: 22 };
    let add = |producer_epoch, mode| {
        Command::AddOffsets(AddOffsets {
            version: 4,
            transactional_id: "x".into(),
            producer_id: 1,
            producer_epoch,
            offsets: offsets.clone(),
            mode,
        })
    };
    let added = |error| Reply::OffsetsAdded(error);
    assert_eq!(broker.ask(add(0, AddMode::Verify)), added(ErrorCode::TRANSACTION_ABORTABLE));
    assert_eq!(broker.ask(add(1, AddMode::Implicit)), added(ErrorCode::PRODUCER_FENCED));
    assert_eq!(broker.ask(add(0, AddMode::Implicit)), added(ErrorCode::NONE));
    assert_eq!(broker.ask(add(0, AddMode::Verify)), added(ErrorCode::NONE));
    // A transaction of nothing but offsets ends like any other.
    assert_eq!(broker.end(5, (1, 0), true), granted(1, 1));
    assert_eq!(broker.markers()[0].partition, offsets);
}
