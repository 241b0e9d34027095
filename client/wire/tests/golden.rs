//! Golden frames for what the oracle crate lacks: first requests as real clients sent them, and newer
//! versions and internal-topic records as Apache Kafka 4.4.0's own classes wrote them.

use bytes::Bytes;
use logmill_wire::frame::{self, RequestHeader};
use logmill_wire::messages::{
    api_versions::*, delete_groups::*, describe_log_dirs::*, list_offsets::*, offset_commit::*,
    offset_fetch::*, txn_offset_commit::*, write_txn_markers::*,
};
use logmill_wire::records::{self, consumer_offsets::*, transaction_state::*};
use logmill_wire::{ApiKey, Decoder, Encoder, ErrorCode, Message, Str};
use uuid::Uuid;

const TOPIC_ID: Uuid = Uuid::from_u128(0x0102030405060708090a0b0c0d0e0f10);

fn unhex(hex: &str) -> Bytes {
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

/// The bytes are read as exactly this message, which is written as exactly these bytes.
#[track_caller]
fn check<M: Message>(version: i16, hex: &str, expected: M) {
    let bytes = unhex(hex);
    let mut decoder = Decoder::new(bytes.clone());
    assert_eq!(M::decode(&mut decoder, version).unwrap(), expected);
    decoder.finish().unwrap();
    let mut encoder = Encoder::new();
    expected.encode(&mut encoder, version).unwrap();
    assert_eq!(encoder.into_segments().into_bytes(), bytes);
}

/// A whole frame, length in front, holds this ApiVersions request, and is written again the same.
#[track_caller]
fn check_first_request(hex: &str, version: i16, correlation_id: i32, expected: ApiVersionsRequest) {
    let bytes = unhex(hex);
    assert_eq!(bytes.len() as i32 - 4, i32::from_be_bytes(bytes[..4].try_into().unwrap()));
    let mut decoder = Decoder::new(bytes.slice(4..));
    let header = RequestHeader::decode(&mut decoder).unwrap();
    let api_key = ApiKey::ApiVersions.code();
    let client_id = Some(Str::from("c"));
    assert_eq!(header, RequestHeader { api_key, api_version: version, correlation_id, client_id });
    let request: ApiVersionsRequest = frame::decode_request(decoder, version).unwrap();
    assert_eq!(request, expected);
    let written = frame::encode_request(correlation_id, Some("c"), &request, version).unwrap();
    assert_eq!(written.into_bytes(), bytes);
}

#[test]
fn first_request_of_librdkafka_2_16() {
    check_first_request(
        "0000003a00120003000000010001630017636f6e666c75656e742d6b61666b612d707974686f6e16322e31362e312d72\
         646b61666b612d322e31362e3000",
        3,
        1,
        ApiVersionsRequest {
            client_software_name: "confluent-kafka-python".into(),
            client_software_version: "2.16.1-rdkafka-2.16.0".into(),
            ..Default::default()
        },
    );
}

#[test]
fn first_request_of_kafka_python_3_0() {
    check_first_request(
        "000000210012000400000001000163000d6b61666b612d707974686f6e07332e302e313200",
        4,
        1,
        ApiVersionsRequest {
            client_software_name: "kafka-python".into(),
            client_software_version: "3.0.12".into(),
            ..Default::default()
        },
    );
}

#[test]
fn first_request_of_apache_kafka_4_4() {
    check_first_request(
        "0000002a001200050000000000016300126170616368652d6b61666b612d6a61766106342e342e3000ffffffff00",
        5,
        0,
        ApiVersionsRequest {
            client_software_name: "apache-kafka-java".into(),
            client_software_version: "4.4.0".into(),
            ..Default::default()
        },
    );
}

#[test]
fn api_versions_5() {
    check(
        5,
        "026e023102630000000100",
        ApiVersionsRequest {
            client_software_name: "n".into(),
            client_software_version: "1".into(),
            cluster_id: Some("c".into()),
            node_id: 1,
        },
    );
}

#[test]
fn delete_groups_3() {
    check(3, "030267026800", DeleteGroupsRequest { groups_names: vec!["g".into(), "h".into()] });
    check(
        3,
        "000000070202670045026d0000",
        DeleteGroupsResponse {
            throttle_time_ms: 7,
            results: vec![DeletableGroupResult {
                group_id: "g".into(),
                error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                error_message: Some("m".into()),
            }],
        },
    );
}

/// As Apache Kafka 4.4.0 writes them.
#[test]
fn write_txn_markers_2() {
    let topic = WritableTxnMarkerTopic { name: "orders".into(), partition_indexes: vec![0, 2] };
    let marker = WritableTxnMarker {
        producer_id: 4000,
        producer_epoch: 7,
        transaction_result: false,
        topics: vec![topic],
        coordinator_epoch: 3,
        transaction_version: 2,
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker] };
    check(2, "020000000000000fa000070002076f72646572730300000000000000020000000003020000", request);
    let partition = WritableTxnMarkerPartitionResult {
        partition_index: 2,
        error_code: ErrorCode::INVALID_PRODUCER_EPOCH,
    };
    let topic = WritableTxnMarkerTopicResult { name: "orders".into(), partitions: vec![partition] };
    let markers = vec![WritableTxnMarkerResult { producer_id: 4000, topics: vec![topic] }];
    check(2, "020000000000000fa002076f72646572730200000002002f00000000", WriteTxnMarkersResponse { markers });
}

#[test]
fn describe_log_dirs_5() {
    check(
        5,
        "0202740300000000000000020000",
        DescribeLogDirsRequest {
            topics: Some(vec![DescribableLogDirTopic { topic: "t".into(), partitions: vec![0, 2] }]),
        },
    );
    check(
        5,
        "000000070000020000032f6402027402000000020000000000000009000000000000000301000000000000000000640000\
         000000000032010000",
        DescribeLogDirsResponse {
            throttle_time_ms: 7,
            error_code: ErrorCode::NONE,
            results: vec![DescribeLogDirsResult {
                error_code: ErrorCode::NONE,
                log_dir: "/d".into(),
                topics: vec![DescribeLogDirsTopic {
                    name: "t".into(),
                    partitions: vec![DescribeLogDirsPartition {
                        partition_index: 2,
                        partition_size: 9,
                        offset_lag: 3,
                        is_future_key: true,
                    }],
                }],
                total_bytes: 100,
                usable_bytes: 50,
                is_cordoned: true,
            }],
        },
    );
}

#[test]
fn list_offsets_11() {
    check(
        11,
        "ffffffff01020274020000000200000003fffffffffffffffa0000000001f400",
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: 1,
            topics: vec![ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: 2,
                    current_leader_epoch: 3,
                    timestamp: -6,
                }],
            }],
            timeout_ms: 500,
        },
    );
    check(
        11,
        "00000007020274020000000200030000000000000004000000000000000500000006000000",
        ListOffsetsResponse {
            throttle_time_ms: 7,
            topics: vec![ListOffsetsTopicResponse {
                name: "t".into(),
                partitions: vec![ListOffsetsPartitionResponse {
                    partition_index: 2,
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    timestamp: 4,
                    offset: 5,
                    leader_epoch: 6,
                }],
            }],
        },
    );
}

#[test]
fn offset_commit_10() {
    check(
        10,
        "026700000004026d0269020102030405060708090a0b0c0d0e0f1002000000020000000000000009000000010\
         56e6f7465000000",
        OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: 4,
            member_id: "m".into(),
            group_instance_id: Some("i".into()),
            topics: vec![OffsetCommitRequestTopic {
                topic_id: TOPIC_ID,
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 2,
                    committed_offset: 9,
                    committed_leader_epoch: 1,
                    committed_metadata: Some("note".into()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        },
    );
    check(
        10,
        "00000007020102030405060708090a0b0c0d0e0f1002000000020064000000",
        OffsetCommitResponse {
            throttle_time_ms: 7,
            topics: vec![OffsetCommitResponseTopic {
                topic_id: TOPIC_ID,
                partitions: vec![OffsetCommitResponsePartition {
                    partition_index: 2,
                    error_code: ErrorCode::UNKNOWN_TOPIC_ID,
                }],
                ..Default::default()
            }],
        },
    );
}

#[test]
fn txn_offset_commit_6() {
    check(
        6,
        "027802670000000000000007000300000002026d00020102030405060708090a0b0c0d0e0f100200000001000000000000\
         00050000000001000000",
        TxnOffsetCommitRequest {
            transactional_id: "x".into(),
            group_id: "g".into(),
            producer_id: 7,
            producer_epoch: 3,
            generation_id: 2,
            member_id: "m".into(),
            topics: vec![TxnOffsetCommitRequestTopic {
                topic_id: TOPIC_ID,
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 1,
                    committed_offset: 5,
                    committed_leader_epoch: 0,
                    committed_metadata: Some("".into()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        },
    );
    check(
        6,
        "00000000020102030405060708090a0b0c0d0e0f1002000000010064000000",
        TxnOffsetCommitResponse {
            topics: vec![TxnOffsetCommitResponseTopic {
                topic_id: TOPIC_ID,
                partitions: vec![TxnOffsetCommitResponsePartition {
                    partition_index: 1,
                    error_code: ErrorCode::UNKNOWN_TOPIC_ID,
                }],
                ..Default::default()
            }],
            ..Default::default()
        },
    );
}

#[test]
fn offset_fetch_10() {
    check(
        10,
        "030267026d00000005020102030405060708090a0b0c0d0e0f100300000000000000020000026800ffffffff00000100",
        OffsetFetchRequest {
            groups: vec![
                OffsetFetchRequestGroup {
                    group_id: "g".into(),
                    member_id: Some("m".into()),
                    member_epoch: 5,
                    topics: Some(vec![OffsetFetchRequestTopics {
                        topic_id: TOPIC_ID,
                        partition_indexes: vec![0, 2],
                        ..Default::default()
                    }]),
                },
                OffsetFetchRequestGroup { group_id: "h".into(), topics: None, ..Default::default() },
            ],
            require_stable: true,
            ..Default::default()
        },
    );
    check(
        10,
        "00000007020267020102030405060708090a0b0c0d0e0f100200000002000000000000000900000001000058000000\
         100000",
        OffsetFetchResponse {
            throttle_time_ms: 7,
            groups: vec![OffsetFetchResponseGroup {
                group_id: "g".into(),
                topics: vec![OffsetFetchResponseTopics {
                    topic_id: TOPIC_ID,
                    partitions: vec![OffsetFetchResponsePartitions {
                        partition_index: 2,
                        committed_offset: 9,
                        committed_leader_epoch: 1,
                        metadata: None,
                        error_code: ErrorCode::UNSTABLE_OFFSET_COMMIT,
                    }],
                    ..Default::default()
                }],
                error_code: ErrorCode::NOT_COORDINATOR,
            }],
            ..Default::default()
        },
    );
}

#[test]
fn keys_of_consumer_offsets() {
    let offset = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
    assert_eq!(encode_key(&offset).unwrap(), unhex("000100016700017400000002"));
    assert_eq!(Key::decode(unhex("000100016700017400000002")).unwrap(), Key::OffsetCommit(offset.clone()));
    assert_eq!(Key::decode(unhex("000000016700017400000002")).unwrap(), Key::OffsetCommit(offset));
    let group = GroupMetadataKey { group: "g".into() };
    assert_eq!(encode_key(&group).unwrap(), unhex("0002000167"));
    assert_eq!(Key::decode(unhex("0002000167")).unwrap(), Key::GroupMetadata(group));
    let member = ConsumerGroupMemberMetadataKey { group_id: "g".into(), member_id: "m".into() };
    assert_eq!(encode_key(&member).unwrap(), unhex("000500016700016d"));
    assert_eq!(Key::decode(unhex("000500016700016d")).unwrap(), Key::ConsumerGroupMemberMetadata(member));
    // Something of a share group, and what was cut short or is too long.
    assert_eq!(Key::decode(unhex("000b0001670000")).unwrap(), Key::Other(11));
    assert!(Key::decode(unhex("00030001670000")).is_err());
    assert!(Key::decode(unhex("00020002")).is_err());
    assert!(Key::decode(unhex("000200016700")).is_err());
}

#[test]
fn offset_commit_value_of_every_version() {
    let said_by_all = OffsetCommitValue {
        offset: 9,
        metadata: "note".into(),
        commit_timestamp: 1000,
        ..Default::default()
    };
    check(0, "000000000000000900046e6f746500000000000003e8", said_by_all.clone());
    check(
        1,
        "000000000000000900046e6f746500000000000003e800000000000007d0",
        OffsetCommitValue { expire_timestamp: 2000, ..said_by_all.clone() },
    );
    check(2, "000000000000000900046e6f746500000000000003e8", said_by_all.clone());
    check(
        3,
        "00000000000000090000000100046e6f746500000000000003e8",
        OffsetCommitValue { leader_epoch: 1, ..said_by_all.clone() },
    );
    let newest = OffsetCommitValue { leader_epoch: 1, topic_id: TOPIC_ID, ..said_by_all };
    let hex = "000000000000000900000001056e6f746500000000000003e80100100102030405060708090a0b0c0d0e0f10";
    check(4, hex, newest.clone());
    // With its version in front, as it stands in the log.
    let stored = unhex(&format!("0004{hex}"));
    assert_eq!(records::encode(&newest, 4).unwrap(), stored);
    assert_eq!(records::decode::<OffsetCommitValue>(stored).unwrap(), newest);
}

#[test]
fn group_metadata_value_of_every_version() {
    let member = MemberMetadata {
        member_id: "m".into(),
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout: 45,
        subscription: Bytes::from_static(&[1, 2]),
        assignment: Bytes::from_static(&[3]),
        ..Default::default()
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 4,
        protocol: Some("range".into()),
        leader: None,
        members: vec![member.clone()],
        ..Default::default()
    };
    check(
        0,
        "0008636f6e73756d657200000004000572616e6765ffff0000000100016d00016300022f680000002d000000020102\
         0000000103",
        group.clone(),
    );
    let member = MemberMetadata { rebalance_timeout: 300, ..member };
    let group = GroupMetadataValue { members: vec![member.clone()], ..group };
    check(
        1,
        "0008636f6e73756d657200000004000572616e6765ffff0000000100016d00016300022f680000012c0000002d0000\
         000201020000000103",
        group.clone(),
    );
    let group = GroupMetadataValue { current_state_timestamp: 1000, ..group };
    check(
        2,
        "0008636f6e73756d657200000004000572616e6765ffff00000000000003e80000000100016d00016300022f680000\
         012c0000002d0000000201020000000103",
        group.clone(),
    );
    let member = MemberMetadata { group_instance_id: Some("i".into()), ..member };
    let group = GroupMetadataValue { members: vec![member], ..group };
    check(
        3,
        "0008636f6e73756d657200000004000572616e6765ffff00000000000003e80000000100016d000169000163\
         00022f680000012c0000002d0000000201020000000103",
        group.clone(),
    );
    check(
        4,
        "09636f6e73756d6572000000040672616e67650000000000000003e802026d02690263032f680000012c0000002d03\
         010202030000",
        group,
    );
}

#[test]
fn transaction_log() {
    let key = TransactionLogKey { transactional_id: "x".into() };
    assert_eq!(records::encode(&key, 0).unwrap(), unhex("0000000178"));
    let value = TransactionLogValue {
        producer_id: 11,
        producer_epoch: 3,
        transaction_timeout_ms: 60000,
        transaction_status: 1,
        transaction_partitions: Some(vec![PartitionsSchema { topic: "t".into(), partition_ids: vec![0, 2] }]),
        transaction_last_update_timestamp_ms: 1000,
        transaction_start_timestamp_ms: 900,
        ..Default::default()
    };
    check(
        0,
        "000000000000000b00030000ea60010000000100017400000002000000000000000200000000000003e80000000000\
         000384",
        value.clone(),
    );
    check(
        1,
        "000000000000000b00030000ea60000000000000000003e80000000000000384040008000000000000000a01080000\
         00000000000c0202000203020004",
        TransactionLogValue {
            previous_producer_id: 10,
            next_producer_id: 12,
            transaction_status: 0,
            transaction_partitions: None,
            client_transaction_version: 2,
            next_producer_epoch: 4,
            ..value
        },
    );
}
