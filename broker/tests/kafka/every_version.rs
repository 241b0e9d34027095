//! Every version that is advertised is decoded, handled and answered in a form its client can read.

use logmill_broker::dispatch::advertised::ADVERTISED;
use logmill_wire::messages::*;
use logmill_wire::{ApiKey, ErrorCode, Request, Str};

use crate::client::{Broker, Client, batch, fetch, produce};

async fn ask<R: Request>(client: &mut Client, request: R, version: i16) {
    // `ask` decodes the response strictly in this version: that is the check.
    client.ask(&request, version).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_advertised_version_is_served() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let id = client.create("t", 2, &[]).await;
    let records = batch(&["a", "b"]);
    for (api, versions) in ADVERTISED {
        for version in versions.clone() {
            one(&mut client, *api, version, id, records.bytes()).await;
        }
    }
    broker.stop().await;
}

/// A request that has something to say and something to refuse, in each list that it has.
async fn one(client: &mut Client, api: ApiKey, version: i16, id: uuid::Uuid, records: &bytes::Bytes) {
    let topic = || Str::from("t");
    match api {
        ApiKey::Produce => {
            let mut request = produce("t", 1, records, -1, None);
            request.topic_data[0].topic_id = if version >= 13 { id } else { uuid::Uuid::nil() };
            let mut refused = request.topic_data[0].partition_data[0].clone();
            refused.index = 99;
            request.topic_data[0].partition_data.push(refused);
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.responses[0]
                .partition_responses
                .iter()
                .map(|partition| partition.error_code)
                .collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
        }
        ApiKey::Fetch => {
            let mut request = fetch("t", &[(1, 0), (99, 0)]);
            request.topics[0].topic_id = id;
            let response = client.ask(&request, version).await;
            let partitions = &response.responses[0].partitions;
            assert_eq!(partitions[0].error_code, ErrorCode::NONE, "version {version}");
            assert!(!partitions[0].records.as_ref().unwrap().is_empty(), "version {version}");
            assert_eq!(partitions[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        ApiKey::ListOffsets => {
            for timestamp in [-6, -5, -4, -3, -2, -1, 0, 1_700_000_000_001, i64::MAX] {
                let partition = |partition_index| list_offsets::ListOffsetsPartition {
                    partition_index,
                    timestamp,
                    ..list_offsets::ListOffsetsPartition::default()
                };
                let partitions = vec![partition(1), partition(99)];
                let topics = vec![list_offsets::ListOffsetsTopic { name: topic(), partitions }];
                ask(client, ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }, version).await;
            }
        }
        ApiKey::Metadata => {
            let named =
                |name: &str| metadata::MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
            let topics = Some(vec![named("t"), named("a/b"), named("auto")]);
            ask(client, MetadataRequest { topics, ..MetadataRequest::default() }, version).await;
            let all = if version == 0 { Some(Vec::new()) } else { None };
            ask(client, MetadataRequest { topics: all, ..MetadataRequest::default() }, version).await;
        }
        ApiKey::OffsetCommit => {
            let partition = |partition_index| offset_commit::OffsetCommitRequestPartition {
                partition_index,
                committed_offset: 1,
                ..Default::default()
            };
            let partitions = vec![partition(0), partition(99)];
            let topics =
                vec![offset_commit::OffsetCommitRequestTopic { name: topic(), topic_id: id, partitions }];
            let request =
                OffsetCommitRequest { group_id: "g".into(), topics, ..OffsetCommitRequest::default() };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> =
                response.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
        }
        ApiKey::OffsetFetch if version >= 8 => {
            let topics = vec![offset_fetch::OffsetFetchRequestTopics {
                name: topic(),
                topic_id: id,
                partition_indexes: vec![0, 1],
            }];
            let group = |topics| offset_fetch::OffsetFetchRequestGroup {
                group_id: "g".into(),
                topics,
                ..Default::default()
            };
            let groups = vec![group(Some(topics)), group(None)];
            let response =
                client.ask(&OffsetFetchRequest { groups, ..OffsetFetchRequest::default() }, version).await;
            for group in &response.groups {
                assert_eq!(group.topics[0].partitions[0].committed_offset, 1, "version {version}");
            }
        }
        ApiKey::OffsetFetch => {
            let topics =
                vec![offset_fetch::OffsetFetchRequestTopic { name: topic(), partition_indexes: vec![0, 1] }];
            let request = OffsetFetchRequest {
                group_id: "g".into(),
                topics: Some(topics),
                ..OffsetFetchRequest::default()
            };
            let response = client.ask(&request, version).await;
            let offsets: Vec<_> =
                response.topics[0].partitions.iter().map(|partition| partition.committed_offset).collect();
            assert_eq!(offsets, [1, -1], "version {version}");
        }
        ApiKey::FindCoordinator => {
            let mut request = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
            if version >= 4 {
                request = FindCoordinatorRequest {
                    coordinator_keys: vec!["g".into(), "h".into()],
                    ..Default::default()
                };
            }
            ask(client, request, version).await;
        }
        _ => two(client, api, version, id).await,
    }
}

async fn two(client: &mut Client, api: ApiKey, version: i16, id: uuid::Uuid) {
    let stranger = || Str::from("nobody");
    match api {
        ApiKey::JoinGroup => {
            let protocol = join_group::JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: bytes::Bytes::from_static(b"m"),
            };
            let request = JoinGroupRequest {
                group_id: Str::from(format!("group-{version}")),
                session_timeout_ms: 10_000,
                rebalance_timeout_ms: if version == 0 { -1 } else { 10_000 },
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
                ..JoinGroupRequest::default()
            };
            let response = client.ask(&request, version).await;
            let expected = if version >= 4 { ErrorCode::MEMBER_ID_REQUIRED } else { ErrorCode::NONE };
            assert_eq!(response.error_code, expected, "version {version}");
        }
        ApiKey::Heartbeat => {
            let request =
                HeartbeatRequest { group_id: "x".into(), member_id: stranger(), ..Default::default() };
            assert_eq!(client.ask(&request, version).await.error_code, ErrorCode::UNKNOWN_MEMBER_ID);
        }
        ApiKey::SyncGroup => {
            let mut request =
                SyncGroupRequest { group_id: "x".into(), member_id: stranger(), ..Default::default() };
            if version >= 5 {
                let code = client.ask(&request, version).await.error_code;
                assert_eq!(code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "which protocol is mandatory");
                (request.protocol_type, request.protocol_name) =
                    (Some("consumer".into()), Some("range".into()));
            }
            let code = client.ask(&request, version).await.error_code;
            assert_eq!(code, ErrorCode::UNKNOWN_MEMBER_ID, "version {version}");
        }
        ApiKey::LeaveGroup => {
            let mut request = LeaveGroupRequest { group_id: "x".into(), ..LeaveGroupRequest::default() };
            if version >= 3 {
                request.members =
                    vec![leave_group::MemberIdentity { member_id: stranger(), ..Default::default() }];
            } else {
                request.member_id = stranger();
            }
            ask(client, request, version).await;
        }
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest {
                groups: vec!["g".into(), stranger()],
                include_authorized_operations: version >= 3,
            };
            let response = client.ask(&request, version).await;
            for group in &response.groups {
                let expected = if group.group_id == "g" { "Empty" } else { "Dead" };
                assert_eq!(&*group.group_state, expected, "version {version}");
            }
        }
        ApiKey::ListGroups => {
            let response = client.ask(&ListGroupsRequest::default(), version).await;
            assert!(response.groups.iter().any(|group| &*group.group_id == "g"), "version {version}");
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest {
                client_software_name: "a".into(),
                client_software_version: "1".into(),
                ..ApiVersionsRequest::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            assert_eq!(response.api_keys.len(), ADVERTISED.len());
        }
        ApiKey::CreateTopics => {
            let named = |name: String| create_topics::CreatableTopic {
                name: name.into(),
                num_partitions: 1,
                replication_factor: 1,
                ..create_topics::CreatableTopic::default()
            };
            let topics = vec![named(format!("created-{version}")), named("a/b".to_owned())];
            let response =
                client.ask(&CreateTopicsRequest { topics, ..CreateTopicsRequest::default() }, version).await;
            let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION], "version {version}");
        }
        ApiKey::DeleteRecords => {
            let partition =
                |partition_index, offset| delete_records::DeleteRecordsPartition { partition_index, offset };
            let partitions = vec![partition(1, 1), partition(1, -1), partition(99, 0), partition(0, 99)];
            let topics = vec![delete_records::DeleteRecordsTopic { name: Str::from("t"), partitions }];
            let request = DeleteRecordsRequest { topics, timeout_ms: 10_000 };
            let response = client.ask(&request, version).await;
            let found: Vec<_> = response.topics[0]
                .partitions
                .iter()
                .map(|partition| (partition.error_code, partition.low_watermark >= 0))
                .collect();
            let expected = [
                (ErrorCode::OFFSET_OUT_OF_RANGE, false),
                (ErrorCode::INVALID_REQUEST, false),
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false),
            ];
            assert_eq!(found, expected, "version {version}");
        }
        ApiKey::DeleteTopics => {
            let name = Str::from(format!("created-{}", version + 1));
            let mut request = DeleteTopicsRequest { timeout_ms: 10_000, ..DeleteTopicsRequest::default() };
            if version >= 6 {
                let state = |name| delete_topics::DeleteTopicState { name: Some(name), ..Default::default() };
                request.topics = vec![state(name), state(stranger())];
            } else {
                request.topic_names = vec![name, stranger()];
            }
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.responses.iter().map(|topic| topic.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
        }
        _ => three(client, api, version, id).await,
    }
}

async fn three(client: &mut Client, api: ApiKey, version: i16, id: uuid::Uuid) {
    let topic = || Str::from("t");
    match api {
        ApiKey::InitProducerId => {
            let mut request =
                InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
            let response = client.ask(&request, version).await;
            assert_eq!((response.error_code, response.producer_epoch), (ErrorCode::NONE, 0));
            request.transactional_id = Some(Str::from(format!("x-{version}")));
            request.transaction_timeout_ms = 10_000;
            assert_eq!(client.ask(&request, version).await.error_code, ErrorCode::NONE);
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = |partition| offset_for_leader_epoch::OffsetForLeaderPartition {
                partition,
                current_leader_epoch: -1,
                leader_epoch: 0,
            };
            let partitions = vec![partition(1), partition(99)];
            let topics = vec![offset_for_leader_epoch::OffsetForLeaderTopic { topic: topic(), partitions }];
            let request = OffsetForLeaderEpochRequest { topics, ..OffsetForLeaderEpochRequest::default() };
            let response = client.ask(&request, version).await;
            assert!(response.topics[0].partitions[0].end_offset > 0, "version {version}");
        }
        ApiKey::AddPartitionsToTxn => {
            let (producer_id, producer_epoch) = initialised(client, version).await;
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: Str::from(format!("add-{version}")),
                v3_and_below_producer_id: producer_id,
                v3_and_below_producer_epoch: producer_epoch,
                v3_and_below_topics: vec![add_partitions_to_txn::AddPartitionsToTxnTopic {
                    name: topic(),
                    partitions: vec![0, 1],
                }],
                ..AddPartitionsToTxnRequest::default()
            };
            let response = client.ask(&request, version).await;
            for partition in &response.results_by_topic_v3_and_below[0].results_by_partition {
                assert_eq!(partition.partition_error_code, ErrorCode::NONE, "version {version}");
            }
        }
        ApiKey::AddOffsetsToTxn => {
            let (producer_id, producer_epoch) = initialised(client, version).await;
            let request = AddOffsetsToTxnRequest {
                transactional_id: Str::from(format!("add-{version}")),
                producer_id,
                producer_epoch,
                group_id: "g".into(),
            };
            assert_eq!(client.ask(&request, version).await.error_code, ErrorCode::NONE, "version {version}");
        }
        ApiKey::EndTxn => {
            let request = EndTxnRequest { transactional_id: "nobody".into(), ..EndTxnRequest::default() };
            assert_ne!(client.ask(&request, version).await.error_code, ErrorCode::NONE);
        }
        ApiKey::TxnOffsetCommit => {
            let partitions = vec![txn_offset_commit::TxnOffsetCommitRequestPartition::default()];
            let topics = vec![txn_offset_commit::TxnOffsetCommitRequestTopic {
                name: topic(),
                topic_id: id,
                partitions,
            }];
            let request = TxnOffsetCommitRequest {
                transactional_id: "nobody".into(),
                group_id: "g".into(),
                topics,
                ..TxnOffsetCommitRequest::default()
            };
            let response = client.ask(&request, version).await;
            assert_ne!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
        }
        ApiKey::DescribeConfigs => {
            let resource = |resource_type, name: &str| describe_configs::DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: None,
            };
            let resources =
                vec![resource(2, "t"), resource(4, "1"), resource(2, "nobody"), resource(99, "x")];
            let request = DescribeConfigsRequest {
                resources,
                include_synonyms: true,
                include_documentation: version >= 3,
            };
            let response = client.ask(&request, version).await;
            assert!(response.results[0].configs.len() > 20 && response.results[1].configs.len() > 10);
            assert_eq!(response.results[2].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            assert_eq!(response.results[3].error_code, ErrorCode::INVALID_REQUEST);
        }
        ApiKey::CreatePartitions => {
            let grow = |name: &str, count| create_partitions::CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            };
            let topics = vec![grow("t", 3 + i32::from(version)), grow("nobody", 2)];
            let response = client
                .ask(&CreatePartitionsRequest { topics, timeout_ms: 10_000, validate_only: false }, version)
                .await;
            let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest { groups_names: vec!["nobody".into()] };
            let response = client.ask(&request, version).await;
            assert_eq!(response.results[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND);
        }
        ApiKey::DescribeCluster => {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                ..DescribeClusterRequest::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!((response.error_code, response.brokers.len()), (ErrorCode::NONE, 1));
            assert_ne!(response.cluster_authorized_operations, i32::MIN);
        }
        ApiKey::OffsetDelete => {
            let topics = vec![offset_delete::OffsetDeleteRequestTopic {
                name: topic(),
                partitions: vec![offset_delete::OffsetDeleteRequestPartition { partition_index: 0 }],
            }];
            let response = client.ask(&OffsetDeleteRequest { group_id: "g".into(), topics }, version).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
        }
        ApiKey::DescribeProducers => {
            let topics =
                vec![describe_producers::TopicRequest { name: topic(), partition_indexes: vec![0, 99] }];
            let response = client.ask(&DescribeProducersRequest { topics }, version).await;
            let codes: Vec<_> =
                response.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
        }
        ApiKey::DescribeTransactions => {
            let request =
                DescribeTransactionsRequest { transactional_ids: vec!["add-3".into(), "nobody".into()] };
            let response = client.ask(&request, version).await;
            assert_eq!(&*response.transaction_states[0].transaction_state, "Ongoing");
            assert_eq!(response.transaction_states[0].topics.len(), 1);
            assert_eq!(response.transaction_states[1].error_code, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
        }
        ApiKey::ListTransactions => {
            let request = ListTransactionsRequest {
                state_filters: vec!["Ongoing".into(), "Nonsense".into()],
                ..ListTransactionsRequest::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!(response.unknown_state_filters, ["Nonsense"]);
            assert!(response.transaction_states.iter().any(|state| state.transactional_id == "add-3"));
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let request = ConsumerGroupHeartbeatRequest {
                group_id: "new".into(),
                member_id: Str::from(format!("m{version}")),
                rebalance_timeout_ms: 10_000,
                subscribed_topic_names: Some(vec![topic()]),
                topic_partitions: Some(Vec::new()),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!(
                (response.error_code, response.member_epoch),
                (ErrorCode::NONE, i32::from(version) + 1)
            );
            assert!(response.assignment.is_some());
        }
        ApiKey::ConsumerGroupDescribe => {
            let request = ConsumerGroupDescribeRequest {
                group_ids: vec!["new".into(), "g".into(), "".into()],
                include_authorized_operations: true,
            };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.groups.iter().map(|group| group.error_code).collect();
            let (unknown, unnamed) = (ErrorCode::GROUP_ID_NOT_FOUND, ErrorCode::INVALID_GROUP_ID);
            assert_eq!(codes, [ErrorCode::NONE, unknown, unnamed]);
            let member = &response.groups[0].members[0];
            assert_eq!(member.assignment.topic_partitions[0].topic_name, "t");
            assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
        }
        _ => crate::every_admin_version::one(client, api, version, id).await,
    }
}

async fn initialised(client: &mut Client, version: i16) -> (i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(Str::from(format!("add-{version}"))),
        transaction_timeout_ms: 10_000,
        ..InitProducerIdRequest::default()
    };
    let response = client.ask(&request, 4).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    (response.producer_id, response.producer_epoch)
}
