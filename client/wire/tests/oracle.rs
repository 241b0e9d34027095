//! The crate `kafka-protocol` as an oracle: every message in every version that both have, with random
//! content, must have the same bytes and the same field names in both.
//!
//! Random content comes from the schema itself (`samples`). Ours writes it, theirs reads it and writes
//! it again, ours reads that: any difference in a field's place, type, versions, tag or default shows
//! up as different bytes. Inputs made to do harm are not given to the oracle, which aborts on them.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use logmill_wire::samples::sample;
use logmill_wire::{ApiKey, Decoder, EncodeErrorKind, Encoder, ErrorCode, Message, messages as ours};

const SAMPLES: u64 = 200;

/// Fields only one side has, by message (any where none is named): theirs keeps what it did not understand
/// and the fields of Kafka's unstable InitProducerId v6; ours has ApiVersions v5, DeleteGroups v3 and
/// DescribeLogDirs v5, and cannot call a field `match`.
const ONE_SIDED: [(&str, &str); 14] = [
    ("", "unknown_tagged_fields"),
    ("InitProducerIdRequest", "enable_2_pc"),
    ("InitProducerIdRequest", "keep_prepared_txn"),
    ("InitProducerIdResponse", "ongoing_txn_producer_id"),
    ("InitProducerIdResponse", "ongoing_txn_producer_epoch"),
    ("ApiVersionsRequest", "cluster_id"),
    ("ApiVersionsRequest", "node_id"),
    ("DeleteGroupsResponse", "error_message"),
    ("DescribeLogDirsResponse", "is_cordoned"),
    ("WriteTxnMarkersRequest", "transaction_version"),
    ("TxnOffsetCommitRequest", "topic_id"),
    ("TxnOffsetCommitResponse", "topic_id"),
    ("DescribeClientQuotasRequest", "match_"),
    ("DescribeClientQuotasRequest", "_match"),
];

/// Writes with ours.
fn written<M: Message>(message: &M, version: i16) -> Bytes {
    let mut encoder = Encoder::new();
    message.encode(&mut encoder, version).unwrap_or_else(|error| panic!("v{version}: {error}"));
    encoder.into_segments().into_bytes()
}

/// Reads with ours, to the last byte.
fn read<M: Message>(bytes: Bytes, version: i16) -> M {
    let mut decoder = Decoder::new(bytes);
    let message =
        M::decode(&mut decoder, version).unwrap_or_else(|error| panic!("{} v{version}: {error}", M::NAME));
    decoder.finish().unwrap();
    message
}

/// The names of all fields in a derived `Debug` text: what stands before a `:` outside quotes.
fn field_names<'a>(message: &str, debug: &'a str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let mut quoted = false;
    let mut name_start = 0;
    let mut previous = ' ';
    for (position, letter) in debug.char_indices() {
        let escaped = quoted && previous == '\\';
        match letter {
            '"' if !escaped => quoted = !quoted,
            ':' if !quoted => _ = names.insert(&debug[name_start..position]),
            _ => {}
        }
        if !letter.is_alphanumeric() && letter != '_' {
            name_start = position + letter.len_utf8();
        }
        previous = if escaped { ' ' } else { letter };
    }
    for (of, name) in ONE_SIDED {
        if of.is_empty() || of == message {
            names.remove(name);
        }
    }
    names
}

fn compare<O, T>(version: i16)
where
    O: Message,
    T: Decodable + Encodable + TheirMessage + Default + std::fmt::Debug,
{
    let (mut our_text, mut their_text) = (String::new(), String::new());
    for seed in 0..SAMPLES {
        let message: O = sample(seed, version);
        let bytes = written(&message, version);

        let mut input = bytes.clone();
        let their_message = T::decode(&mut input, version)
            .unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error}\n{message:?}", O::NAME));
        assert!(input.is_empty(), "{} v{version} seed {seed}: {input:?} left", O::NAME);
        let mut their_bytes = BytesMut::new();
        their_message.encode(&mut their_bytes, version).unwrap();
        assert_eq!(bytes, their_bytes, "{} v{version} seed {seed}: {message:?}", O::NAME);

        let back: O = read(their_bytes.freeze(), version);
        assert_eq!(message, back, "{} v{version} seed {seed}", O::NAME);
        our_text += &format!("{message:?}");
        their_text += &format!("{their_message:?}");
    }
    assert_eq!(field_names(O::NAME, &our_text), field_names(O::NAME, &their_text), "{} v{version}", O::NAME);

    // Defaults: what says nothing must say the same nothing.
    let mut their_default = BytesMut::new();
    if T::default().encode(&mut their_default, version).is_ok() {
        assert_eq!(written(&O::default(), version), their_default, "{} v{version} default", O::NAME);
    }
}

/// Tagged fields that theirs leaves out where a version lacks them.
const LAX: [&str; 7] = [
    "FetchRequest.replica_state",
    "FetchResponse.node_endpoints",
    "PartitionData.diverging_epoch",
    "PartitionData.current_leader",
    "PartitionData.snapshot_id",
    "PartitionProduceResponse.current_leader",
    "ProduceResponse.node_endpoints",
];

/// What an older version cannot say is refused by both, or left out by both.
fn compare_downwards<O, T>(newest: i16, version: i16)
where
    O: Message,
    T: Decodable + Encodable,
{
    for seed in 0..SAMPLES {
        let message: O = sample(seed, newest);
        let their_message = T::decode(&mut written(&message, newest), newest).unwrap();
        let mut their_bytes = BytesMut::new();
        let their_result = their_message.encode(&mut their_bytes, version);
        let mut encoder = Encoder::new();
        match message.encode(&mut encoder, version) {
            Ok(()) => {
                assert!(
                    their_result.is_ok(),
                    "{} v{version} seed {seed}: only theirs: {their_result:?}\n{message:?}",
                    O::NAME
                );
                assert_eq!(
                    encoder.into_segments().into_bytes(),
                    their_bytes,
                    "{} v{version} {seed}",
                    O::NAME
                );
            }
            // Theirs writes null as empty, and drops these fields; Kafka itself refuses, as we do.
            Err(error) => assert!(
                their_result.is_err()
                    || matches!(error.kind, EncodeErrorKind::UnexpectedNull(_))
                    || LAX.contains(&error.field),
                "{} v{version} seed {seed}: only ours: {error}",
                O::NAME
            ),
        }
    }
}

macro_rules! oracle {
    ($($test:ident: $request:ident, $response:ident;)*) => {$(
        #[test]
        fn $test() {
            oracle!(@message $request);
            oracle!(@message $response);
        }
    )*};
    (@message $message:ident) => {
        let their_versions = <theirs::$message as TheirMessage>::VERSIONS;
        let our_versions = <ours::$message as Message>::VERSIONS;
        assert!(our_versions.contains(&their_versions.min), "{their_versions:?}");
        // InitProducerId v6 is unstable in Kafka: theirs has its response, ours has none of it.
        let last = if stringify!($message) == "InitProducerIdResponse" { 5 } else { their_versions.max };
        assert!(our_versions.contains(&last), "{their_versions:?}");
        for version in their_versions.min..=last {
            compare::<ours::$message, theirs::$message>(version);
            compare_downwards::<ours::$message, theirs::$message>(last, version);
        }
    };
}

oracle! {
    add_offsets_to_txn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
    add_partitions_to_txn: AddPartitionsToTxnRequest, AddPartitionsToTxnResponse;
    alter_client_quotas: AlterClientQuotasRequest, AlterClientQuotasResponse;
    alter_configs: AlterConfigsRequest, AlterConfigsResponse;
    alter_partition_reassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
    alter_replica_log_dirs: AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse;
    alter_user_scram_credentials: AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse;
    api_versions: ApiVersionsRequest, ApiVersionsResponse;
    consumer_group_describe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
    consumer_group_heartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    create_acls: CreateAclsRequest, CreateAclsResponse;
    create_delegation_token: CreateDelegationTokenRequest, CreateDelegationTokenResponse;
    create_partitions: CreatePartitionsRequest, CreatePartitionsResponse;
    create_topics: CreateTopicsRequest, CreateTopicsResponse;
    delete_acls: DeleteAclsRequest, DeleteAclsResponse;
    delete_groups: DeleteGroupsRequest, DeleteGroupsResponse;
    delete_records: DeleteRecordsRequest, DeleteRecordsResponse;
    delete_topics: DeleteTopicsRequest, DeleteTopicsResponse;
    describe_acls: DescribeAclsRequest, DescribeAclsResponse;
    describe_client_quotas: DescribeClientQuotasRequest, DescribeClientQuotasResponse;
    describe_cluster: DescribeClusterRequest, DescribeClusterResponse;
    describe_configs: DescribeConfigsRequest, DescribeConfigsResponse;
    describe_delegation_token: DescribeDelegationTokenRequest, DescribeDelegationTokenResponse;
    describe_groups: DescribeGroupsRequest, DescribeGroupsResponse;
    describe_log_dirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
    describe_producers: DescribeProducersRequest, DescribeProducersResponse;
    describe_quorum: DescribeQuorumRequest, DescribeQuorumResponse;
    describe_topic_partitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
    describe_transactions: DescribeTransactionsRequest, DescribeTransactionsResponse;
    describe_user_scram_credentials: DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse;
    elect_leaders: ElectLeadersRequest, ElectLeadersResponse;
    end_txn: EndTxnRequest, EndTxnResponse;
    expire_delegation_token: ExpireDelegationTokenRequest, ExpireDelegationTokenResponse;
    fetch: FetchRequest, FetchResponse;
    find_coordinator: FindCoordinatorRequest, FindCoordinatorResponse;
    heartbeat: HeartbeatRequest, HeartbeatResponse;
    incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    init_producer_id: InitProducerIdRequest, InitProducerIdResponse;
    join_group: JoinGroupRequest, JoinGroupResponse;
    leave_group: LeaveGroupRequest, LeaveGroupResponse;
    list_config_resources: ListConfigResourcesRequest, ListConfigResourcesResponse;
    list_groups: ListGroupsRequest, ListGroupsResponse;
    list_offsets: ListOffsetsRequest, ListOffsetsResponse;
    list_partition_reassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
    list_transactions: ListTransactionsRequest, ListTransactionsResponse;
    metadata: MetadataRequest, MetadataResponse;
    offset_commit: OffsetCommitRequest, OffsetCommitResponse;
    offset_delete: OffsetDeleteRequest, OffsetDeleteResponse;
    offset_fetch: OffsetFetchRequest, OffsetFetchResponse;
    offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    produce: ProduceRequest, ProduceResponse;
    renew_delegation_token: RenewDelegationTokenRequest, RenewDelegationTokenResponse;
    sasl_authenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
    sasl_handshake: SaslHandshakeRequest, SaslHandshakeResponse;
    sync_group: SyncGroupRequest, SyncGroupResponse;
    txn_offset_commit: TxnOffsetCommitRequest, TxnOffsetCommitResponse;
    unregister_broker: UnregisterBrokerRequest, UnregisterBrokerResponse;
    update_features: UpdateFeaturesRequest, UpdateFeaturesResponse;
    write_txn_markers: WriteTxnMarkersRequest, WriteTxnMarkersResponse;
}

/// Header versions decide whether a reader finds the message at all.
#[test]
fn header_versions_of_every_api() {
    for key in ApiKey::ALL {
        let Ok(their_key) = theirs::ApiKey::try_from(key.code()) else { continue };
        let versions = their_key.valid_versions();
        for version in versions.min..=versions.max {
            assert_eq!(
                (key.request_header_version(version), key.response_header_version(version)),
                (their_key.request_header_version(version), their_key.response_header_version(version)),
                "{key} v{version}"
            );
        }
        assert_eq!(format!("{their_key:?}"), key.name());
    }
}

#[test]
fn error_codes() {
    for code in ErrorCode::ALL {
        let Some(their_error) = kafka_protocol::ResponseError::try_from_code(code.0) else {
            assert_eq!(*code, ErrorCode::NONE);
            continue;
        };
        let name = code.name().unwrap();
        if code.0 > 133 {
            continue; // Newer than theirs.
        }
        let squeezed = name.replace('_', "");
        assert_eq!(squeezed, format!("{their_error:?}").to_uppercase());
        // Kafka's clients have retried this one for long; theirs does not know.
        let retriable = their_error.is_retriable() || *code == ErrorCode::CONCURRENT_TRANSACTIONS;
        assert_eq!(code.is_retriable(), retriable, "{name}");
    }
}

#[test]
fn consumer_protocol() {
    use logmill_wire::records::consumer_protocol::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    };
    for version in 0..=3 {
        compare::<ConsumerProtocolSubscription, theirs::ConsumerProtocolSubscription>(version);
        compare::<ConsumerProtocolAssignment, theirs::ConsumerProtocolAssignment>(version);
    }
}
