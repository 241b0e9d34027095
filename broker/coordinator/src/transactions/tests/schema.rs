//! Records as Kafka's bytes.

use bytes::Bytes;

use super::*;
use crate::SchemaError;

fn record(value: Option<Transaction>) -> Record {
    Record::State { transactional_id: "x".into(), value }
}

#[test]
fn every_state_comes_back() {
    for state in TransactionState::ALL {
        let mut value = stored(1, 7, state);
        (value.previous_producer_id, value.next_producer_id, value.next_producer_epoch) = (5, 6, 8);
        for value in [Some(value), None] {
            let record = record(value);
            let bytes = record.encode(2).unwrap().unwrap();
            assert_eq!(Record::decode(Some(bytes.key), bytes.value).unwrap(), record);
        }
    }
}

#[test]
fn an_old_version_is_read() {
    let mut value = vec![0, 0];
    value.extend(9_i64.to_be_bytes());
    value.extend(3_i16.to_be_bytes());
    value.extend(TIMEOUT.to_be_bytes());
    value.extend([1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]);
    value.extend(20_i64.to_be_bytes());
    value.extend(10_i64.to_be_bytes());
    let key = Bytes::from_static(&[0, 0, 0, 1, b'x']);
    let Record::State { value: Some(read), .. } = Record::decode(Some(key), Some(value.into())).unwrap()
    else {
        panic!("not a state")
    };
    let expected = Transaction {
        producer_id: 9,
        producer_epoch: 3,
        started: 10,
        updated: 20,
        client_version: 0,
        ..stored(9, 3, TransactionState::Ongoing)
    };
    assert_eq!(read, expected);
}

#[test]
fn the_oldest_version_is_written_at_level_0_where_it_says_everything() {
    let version = |value: Transaction, level| {
        let bytes = record(Some(value)).encode(level).unwrap().unwrap().value.unwrap();
        i16::from_be_bytes([bytes[0], bytes[1]])
    };
    let plain = Transaction { client_version: 0, ..stored(1, 7, TransactionState::Ongoing) };
    assert_eq!([0, 1, 2].map(|level| version(plain.clone(), level)), [0, 1, 1]);
    let rotating = Transaction { next_producer_id: 6, ..plain.clone() };
    let newer_client = Transaction { client_version: 2, ..plain };
    for value in [rotating, newer_client] {
        assert_eq!(version(value, 0), 1);
    }
}

#[test]
fn a_marker_is_no_record_of_this_topic() {
    let marker = Marker {
        partition: partition(0),
        producer_id: 1,
        producer_epoch: 0,
        coordinator_epoch: 0,
        commit: true,
        transaction_v2: true,
    };
    assert_eq!(Record::Marker(marker).encode(2), Ok(None));
}

#[test]
fn what_cannot_be_read_says_why() {
    let bytes = record(Some(stored(1, 7, TransactionState::Ongoing))).encode(2).unwrap().unwrap();
    assert_eq!(Record::decode(None, None), Err(SchemaError::NoKey));
    let newer = Some(Bytes::from_static(&[0, 1, 0]));
    assert_eq!(Record::decode(newer, None), Err(SchemaError::UnknownKind { kind: 1 }));
    for key in [&[][..], &[0], &[0, 0, 0, 9, b'x']] {
        let error = Record::decode(Some(Bytes::copy_from_slice(key)), None).unwrap_err();
        assert!(matches!(error, SchemaError::Unreadable { part: "key", .. }), "{error}");
    }
    let value = bytes.value.unwrap();
    let error = Record::decode(Some(bytes.key.clone()), Some(value.slice(..9))).unwrap_err();
    assert!(matches!(error, SchemaError::Unreadable { part: "value", .. }), "{error}");
    // The status follows the version, the producer id, its epoch and the timeout.
    let mut value = value.to_vec();
    value[2 + 8 + 2 + 4] = 8;
    let error = Record::decode(Some(bytes.key), Some(value.into())).unwrap_err();
    assert_eq!(error, SchemaError::UnknownState { transactional_id: "x".into(), status: 8 });
}
