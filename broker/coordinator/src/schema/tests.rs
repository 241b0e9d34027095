//! Whatever a machine may record comes back the same, and no bytes are worse than an error.

use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::transactions::{TopicPartition, Transaction, TransactionState};
use crate::{Str, groups, transactions};

fn text() -> impl Strategy<Value = Str> {
    "\\PC{0,12}".prop_map(Str::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn member() -> impl Strategy<Value = groups::StoredMember> {
    (text(), option::of(text()), text(), text(), 1..i32::MAX, any::<i32>(), bytes(), bytes()).prop_map(
        |(member_id, instance_id, client_id, client_host, rebalance, session, subscription, assignment)| {
            groups::StoredMember {
                member_id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout_ms: rebalance,
                session_timeout_ms: session,
                subscription,
                assignment,
            }
        },
    )
}

fn group() -> impl Strategy<Value = groups::StoredGroup> {
    (text(), any::<i32>(), option::of(text()), option::of(text()), any::<i64>(), vec(member(), 0..4))
        .prop_map(|(protocol_type, generation, protocol, leader, since, members)| groups::StoredGroup {
            protocol_type,
            generation,
            protocol,
            leader,
            since,
            members,
        })
}

/// An offset has an expiry, or may have a leader epoch and a topic id: no version of the record has both.
fn offset() -> impl Strategy<Value = groups::StoredOffset> {
    (any::<i64>(), any::<i32>(), text(), any::<i64>(), option::of(0..i64::MAX), option::of(1..u128::MAX))
        .prop_map(|(offset, leader_epoch, metadata, commit_timestamp, expire_timestamp, topic_id)| {
            let plain = expire_timestamp.is_none();
            groups::StoredOffset {
                offset,
                leader_epoch: if plain { leader_epoch } else { -1 },
                metadata,
                commit_timestamp,
                expire_timestamp,
                topic_id: topic_id.map(Uuid::from_u128).filter(|_| plain),
            }
        })
}

fn partitions() -> impl Strategy<Value = groups::Partitions> {
    vec((1..4_u128, 0..9_i32), 0..8).prop_map(|all| {
        all.into_iter().map(|(topic, partition)| (Uuid::from_u128(topic), partition)).collect()
    })
}

fn consumer_member() -> impl Strategy<Value = groups::StoredConsumerMember> {
    let protocols = vec((text(), bytes()), 1..3);
    let classic = (any::<i32>(), protocols)
        .prop_map(|(session_timeout_ms, protocols)| groups::ClassicMember { session_timeout_ms, protocols });
    let ids = (option::of(text()), option::of(text()), text(), text());
    let wants = (btree_set(text(), 0..4), option::of("\\PC{1,12}"), any::<i32>(), option::of(text()));
    (ids, wants, option::of(classic)).prop_map(
        |((instance_id, rack_id, client_id, client_host), (names, regex, timeout, assignor), classic)| {
            groups::StoredConsumerMember {
                instance_id,
                rack_id,
                client_id,
                client_host,
                topic_names: names.into_iter().collect(),
                topic_regex: regex.map(Str::from),
                rebalance_timeout_ms: timeout,
                assignor,
                classic,
            }
        },
    )
}

fn current_assignment() -> impl Strategy<Value = groups::CurrentAssignment> {
    use groups::MemberState::{Stable, Unknown, Unreleased, Unrevoked};
    let state = prop::sample::select(vec![Stable, Unknown, Unreleased, Unrevoked]);
    (any::<i32>(), any::<i32>(), state, partitions(), partitions(), any::<i32>()).prop_map(
        |(epoch, previous_epoch, state, assigned, revoking, first)| groups::CurrentAssignment {
            since: (assigned.iter().chain(revoking.iter()))
                .map(|(topic, partition)| ((topic, partition), first.wrapping_add(partition)))
                .collect(),
            epoch,
            previous_epoch,
            state,
            assigned,
            revoking,
        },
    )
}

fn consumer_record() -> impl Strategy<Value = groups::ConsumerRecord> {
    use groups::ConsumerRecord as Of;
    let group = (any::<i32>(), any::<i64>(), any::<i64>()).prop_map(|(epoch, metadata_hash, created)| {
        groups::StoredConsumerGroup { epoch, metadata_hash, created }
    });
    let regex = (vec(text(), 0..4), any::<i64>(), any::<i64>())
        .prop_map(|(topics, version, timestamp)| groups::ResolvedRegex { topics, version, timestamp });
    prop_oneof![
        option::of(group).prop_map(Of::Group),
        option::of(bytes()).prop_map(Of::PartitionMetadata),
        (text(), option::of(consumer_member()))
            .prop_map(|(member_id, value)| Of::Member { member_id, value }),
        option::of(any::<i32>()).prop_map(Of::TargetEpoch),
        (text(), option::of(partitions())).prop_map(|(member_id, value)| Of::Target { member_id, value }),
        (text(), option::of(current_assignment()))
            .prop_map(|(member_id, value)| Of::Current { member_id, value }),
        (text(), option::of(regex)).prop_map(|(regex, value)| Of::Regex { regex, value }),
    ]
}

fn group_record() -> impl Strategy<Value = groups::Record> {
    prop_oneof![
        (text(), consumer_record()).prop_map(|(group, record)| groups::Record::Consumer { group, record }),
        (text(), option::of(group())).prop_map(|(group, value)| groups::Record::Group { group, value }),
        (text(), text(), any::<i32>(), option::of(offset()), option::of(any::<(i64, i16)>())).prop_map(
            |(group, topic, partition, value, producer)| groups::Record::Offset {
                group,
                topic,
                partition,
                value,
                producer
            }
        ),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let partition = (text(), any::<i32>()).prop_map(|(topic, partition)| TopicPartition { topic, partition });
    let producers = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i16>(), any::<i16>());
    let times = (any::<i32>(), any::<i64>(), any::<i64>());
    (producers, times, 0..TransactionState::ALL.len(), btree_set(partition, 0..6), 0..3_i16).prop_map(
        |(
            (producer_id, previous, next, epoch, next_epoch),
            (timeout_ms, started, updated),
            state,
            parts,
            v,
        )| {
            let state = TransactionState::ALL[state];
            Transaction {
                producer_id,
                previous_producer_id: previous,
                next_producer_id: next,
                producer_epoch: epoch,
                next_producer_epoch: next_epoch,
                timeout_ms,
                state,
                partitions: if state == TransactionState::Empty { Default::default() } else { parts },
                started,
                updated,
                client_version: v,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_groups_record_comes_back(record in group_record()) {
        let producer = match &record {
            groups::Record::Offset { producer, .. } => *producer,
            groups::Record::Group { .. } | groups::Record::Consumer { .. } => None,
        };
        let bytes = record.encode().unwrap();
        prop_assert_eq!(groups::Record::decode(Some(bytes.key), bytes.value, producer), Ok(record));
    }

    #[test]
    fn a_transactions_record_comes_back(id in text(), value in option::of(transaction()), level in 0..=2i16) {
        let record = transactions::Record::State { transactional_id: id, value };
        let bytes = record.encode(level).unwrap().unwrap();
        prop_assert_eq!(transactions::Record::decode(Some(bytes.key), bytes.value), Ok(record));
    }

    /// Damaged records are errors, or other records; they never panic.
    #[test]
    fn damage_is_survived(record in group_record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = record.encode().unwrap();
        let damage = |bytes: &Bytes| {
            let mut bytes = bytes.to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Bytes::from(bytes)
        };
        bytes.value = bytes.value.as_ref().map(damage);
        let damaged = groups::Record::decode(Some(damage(&bytes.key)), bytes.value.clone(), None);
        if let Ok(damaged) = damaged {
            prop_assert!(damaged.encode().is_ok());
        }
        let _ = transactions::Record::decode(Some(bytes.key), bytes.value);
    }
}
