//! Records as Kafka's bytes.

use super::*;
use crate::SchemaError;

fn offset() -> StoredOffset {
    StoredOffset {
        offset: 1,
        leader_epoch: -1,
        metadata: "m".into(),
        commit_timestamp: 2,
        expire_timestamp: None,
        topic_id: None,
    }
}

fn offset_record(value: Option<StoredOffset>, producer: Option<(i64, i16)>) -> Record {
    Record::Offset { group: "g".into(), topic: "t".into(), partition: 3, value, producer }
}

fn read_back(record: &Record, producer: Option<(i64, i16)>) -> Record {
    let bytes = record.encode().unwrap();
    Record::decode(Some(bytes.key), bytes.value, producer).unwrap()
}

#[test]
fn offsets_are_kafkas_bytes() {
    let bytes = offset_record(Some(offset()), None).encode().unwrap();
    assert_eq!(&bytes.key[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
    let mut value = vec![0, 3];
    value.extend(1_i64.to_be_bytes());
    value.extend((-1_i32).to_be_bytes());
    value.extend([0, 1, b'm']);
    value.extend(2_i64.to_be_bytes());
    assert_eq!(bytes.value.unwrap(), value);
}

#[test]
fn a_group_is_kafkas_bytes() {
    let stored = StoredGroup {
        protocol_type: "consumer".into(),
        generation: 2,
        protocol: None,
        leader: None,
        since: 5,
        members: vec![],
    };
    let record = Record::Group { group: "g".into(), value: Some(stored) };
    let bytes = record.encode().unwrap();
    assert_eq!(&bytes.key[..], [0, 2, 0, 1, b'g']);
    let mut value = vec![0, 3, 0, 8];
    value.extend(b"consumer");
    value.extend([0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
    assert_eq!(bytes.value.unwrap(), value);
    assert_eq!(read_back(&record, None), record);
}

#[test]
fn every_kind_of_offset_comes_back_in_the_version_that_can_say_it() {
    let expires = StoredOffset { expire_timestamp: Some(99), ..offset() };
    let in_topic = StoredOffset { topic_id: Some(Uuid::from_u128(8)), leader_epoch: 4, ..offset() };
    for (value, version) in [(offset(), 3), (expires, 1), (in_topic, 4)] {
        let record = offset_record(Some(value), Some((7, 1)));
        assert_eq!(record.encode().unwrap().value.unwrap()[..2], [0, version]);
        assert_eq!(read_back(&record, Some((7, 1))), record);
    }
}

#[test]
fn tombstones_come_back() {
    let group = Record::Group { group: "g".into(), value: None };
    for record in [offset_record(None, None), group] {
        assert_eq!(record.encode().unwrap().value, None);
        assert_eq!(read_back(&record, None), record);
    }
}

#[test]
fn a_member_of_version_0_takes_its_session_timeout_for_its_rebalance_timeout() {
    let mut value = vec![0, 0, 0, 1, b'c', 0, 0, 0, 1, 0, 1, b'r', 0, 1, b'm', 0, 0, 0, 1];
    value.extend([0, 1, b'm', 0, 1, b'i', 0, 1, b'h']);
    value.extend(9_000_i32.to_be_bytes());
    value.extend([0, 0, 0, 0, 0, 0, 0, 0]);
    let key = Bytes::from_static(&[0, 2, 0, 1, b'g']);
    let record = Record::decode(Some(key), Some(value.into()), None).unwrap();
    let Record::Group { value: Some(stored), .. } = record else { panic!("not a group") };
    assert_eq!((stored.members[0].rebalance_timeout_ms, stored.since), (9_000, -1));
}

#[test]
fn what_cannot_be_read_says_why() {
    let key = offset_record(None, None).encode().unwrap().key;
    let decode = |key: Option<Bytes>, value: Option<&'static [u8]>| {
        Record::decode(key, value.map(Bytes::from_static), None).unwrap_err()
    };
    assert_eq!(decode(None, None), SchemaError::NoKey);
    let other = Some(Bytes::from_static(&[0, 11, 0, 1, b'g']));
    assert_eq!(decode(other, None), SchemaError::UnknownKind { kind: 11 });
    let unreadable = |error: SchemaError, expected: &str| match error {
        SchemaError::Unreadable { part, .. } => assert_eq!(part, expected),
        other => panic!("{other}"),
    };
    unreadable(decode(Some(key.slice(..5)), None), "key");
    unreadable(decode(Some(key.clone()), Some(&[0, 9])), "value");
    unreadable(decode(Some(key.clone()), Some(&[0, 3, 1])), "value");
    unreadable(decode(Some(key), Some(&[])), "value");
}
