//! Describe and list.

use super::*;
use crate::Str;

#[test]
fn a_transaction_is_described_with_its_partitions_while_it_is_open() {
    let mut broker = broker();
    broker.init(init(None, 1));
    broker.add((1, 0), &[2, 0]);
    let started = broker.now;
    let transactional_ids = vec!["x".into(), "nobody".into()];
    let Reply::Described(described) = broker.ask(Command::Describe(Describe { transactional_ids })) else {
        panic!("not a description")
    };
    let open = &described[0];
    assert_eq!((open.error, open.state), (ErrorCode::NONE, TransactionState::Ongoing));
    assert_eq!((open.timeout_ms, open.started), (TIMEOUT, started));
    assert_eq!((open.producer_id, open.producer_epoch), (1, 0));
    assert_eq!(open.partitions, [partition(0), partition(2)]);
    assert_eq!(described[1].error, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
}

#[test]
fn ids_are_listed_by_state_producer_and_duration() {
    let mut broker = broker();
    for (id, fresh) in [("x", 1), ("y", 2)] {
        broker.init(InitProducer { transactional_id: id.into(), ..init(None, fresh) });
    }
    broker.add((1, 0), &[0]);
    broker.now += 500;
    let mut list = |states: &[&str], producer_ids: &[i64], running_for_ms| {
        let states = states.iter().map(|state| Str::from(*state)).collect();
        let list = List { states, producer_ids: producer_ids.to_vec(), running_for_ms };
        match broker.ask(Command::List(list)) {
            Reply::Listed(listed) => (
                listed.transactions.iter().map(|one| one.transactional_id.to_string()).collect::<Vec<_>>(),
                listed.unknown_states.len(),
            ),
            other => panic!("not a list: {other:?}"),
        }
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(list(&[], &[], -1), (ids(&["x", "y"]), 0));
    assert_eq!(list(&["Ongoing", "Odd"], &[], -1), (ids(&["x"]), 1));
    assert_eq!(list(&["Odd"], &[], -1), (ids(&[]), 1));
    assert_eq!(list(&[], &[2, 3], -1), (ids(&["y"]), 0));
    assert_eq!(list(&[], &[], 500), (ids(&["x"]), 0));
    assert_eq!(list(&[], &[], 501), (ids(&[]), 0));
}
