//! The administrator's part of [`every_version`](crate::every_version).

use logmill_wire::messages::*;
use logmill_wire::{ApiKey, ErrorCode, Str};

use crate::client::Client;

pub(crate) async fn one(client: &mut Client, api: ApiKey, version: i16, id: uuid::Uuid) {
    let topic = || Str::from("t");
    match api {
        ApiKey::IncrementalAlterConfigs => {
            use incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
            let resource = |resource_type, name: &str, config: &str| AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: vec![AlterableConfig {
                    name: config.into(),
                    config_operation: 0,
                    value: Some("86400000".into()),
                }],
            };
            let resources = vec![
                resource(2, "t", "retention.ms"),
                resource(2, "nobody", "retention.ms"),
                resource(4, "1", "num.partitions"),
                resource(4, "9", "log.retention.ms"),
                resource(99, "x", "y"),
            ];
            let request = IncrementalAlterConfigsRequest { resources, validate_only: true };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.responses.iter().map(|answer| answer.error_code).collect();
            let invalid = ErrorCode::INVALID_REQUEST;
            assert_eq!(
                codes,
                [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, invalid, invalid, invalid]
            );
        }
        ApiKey::AlterConfigs => {
            use alter_configs::{AlterConfigsResource, AlterableConfig};
            let resource = |name: &str, value: &str| AlterConfigsResource {
                resource_type: 2,
                resource_name: name.into(),
                configs: vec![AlterableConfig { name: "retention.ms".into(), value: Some(value.into()) }],
            };
            let resources = vec![resource("t", "5000"), resource("nobody", "5000")];
            let request = AlterConfigsRequest { resources, validate_only: true };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.responses.iter().map(|answer| answer.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION], "version {version}");
            let bad = AlterConfigsRequest { resources: vec![resource("t", "x")], validate_only: true };
            assert_eq!(client.ask(&bad, version).await.responses[0].error_code, ErrorCode::INVALID_CONFIG);
        }
        ApiKey::ListConfigResources => {
            let response = client.ask(&ListConfigResourcesRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            let found =
                |kind| response.config_resources.iter().filter(move |found| found.resource_type == kind);
            match version {
                0 => assert!(response.config_resources.is_empty(), "there are no client metrics"),
                _ => {
                    assert!(found(2).any(|found| found.resource_name == "t"));
                    assert_eq!((found(4).count(), found(8).count(), found(16).count()), (1, 1, 0));
                    let asks = ListConfigResourcesRequest { resource_types: vec![99] };
                    let refused = client.ask(&asks, version).await;
                    assert_eq!(refused.error_code, ErrorCode::UNSUPPORTED_VERSION);
                }
            }
        }
        ApiKey::DescribeTopicPartitions => {
            use describe_topic_partitions::TopicRequest;
            let topics = ["t", "nobody", "a/b"].map(|name| TopicRequest { name: name.into() }).into();
            let request = DescribeTopicPartitionsRequest { topics, ..Default::default() };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            assert_eq!(codes, [ErrorCode::INVALID_TOPIC_EXCEPTION, unknown, ErrorCode::NONE]);
            assert_eq!(response.topics[2].topic_id, id);
            assert_eq!(response.next_cursor, None);
        }
        ApiKey::DescribeLogDirs => {
            let topics = Some(vec![describe_log_dirs::DescribableLogDirTopic {
                topic: topic(),
                partitions: vec![0, 1, 99],
            }]);
            let response = client.ask(&DescribeLogDirsRequest { topics }, version).await;
            let [dir] = response.results.as_slice() else { panic!("one directory") };
            assert_eq!(dir.topics.len(), 1);
            assert_eq!(dir.topics[0].partitions.len(), 2);
            assert!(dir.topics[0].partitions.iter().any(|partition| partition.partition_size > 0));
            if version >= 4 {
                assert!(dir.total_bytes >= dir.usable_bytes && dir.usable_bytes > 0);
            }
            let everything = client.ask(&DescribeLogDirsRequest { topics: None }, version).await;
            assert!(everything.results[0].topics.iter().any(|topic| &*topic.name == "__consumer_offsets"));
        }
        ApiKey::AlterReplicaLogDirs => {
            use alter_replica_log_dirs::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
            let dirs = client.ask(&DescribeLogDirsRequest { topics: None }, 4).await;
            let dir = |path: Str| AlterReplicaLogDir {
                path,
                topics: vec![AlterReplicaLogDirTopic { name: topic(), partitions: vec![0, 99] }],
            };
            let dirs = vec![dir(dirs.results[0].log_dir.clone()), dir("/nowhere".into())];
            let response = client.ask(&AlterReplicaLogDirsRequest { dirs }, version).await;
            let codes = |nth: usize| {
                let partitions = response.results[nth].partitions.iter();
                partitions.map(|partition| partition.error_code).collect::<Vec<_>>()
            };
            assert_eq!(codes(0), [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
            assert_eq!(codes(1), [ErrorCode::LOG_DIR_NOT_FOUND; 2]);
        }
        _ => two(client, api, version).await,
    }
}

async fn two(client: &mut Client, api: ApiKey, version: i16) {
    let topic = || Str::from("t");
    match api {
        ApiKey::ElectLeaders => {
            use elect_leaders::TopicPartitions;
            let partitions = |topic: &str, partitions: &[i32]| TopicPartitions {
                topic: topic.into(),
                partitions: partitions.to_vec(),
            };
            let topic_partitions = Some(vec![partitions("t", &[0, 99]), partitions("nobody", &[0])]);
            let request = ElectLeadersRequest { topic_partitions, ..Default::default() };
            let response = client.ask(&request, version).await;
            let results = response.replica_election_results.iter();
            let codes: Vec<_> = results
                .flat_map(|topic| topic.partition_result.iter().map(|partition| partition.error_code))
                .collect();
            let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
            assert_eq!(codes, [ErrorCode::ELECTION_NOT_NEEDED, unknown, unknown]);
            let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
            assert!(client.ask(&all, version).await.replica_election_results.is_empty());
        }
        ApiKey::AlterPartitionReassignments => {
            use alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
            let wishes = [
                (0, Some(vec![1]), ErrorCode::NONE),
                (0, Some(vec![2]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (0, Some(vec![1, 1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (0, Some(vec![]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (0, None, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
                (99, Some(vec![1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ];
            let partition = |(partition_index, replicas, _): &(i32, Option<Vec<i32>>, _)| {
                ReassignablePartition { partition_index: *partition_index, replicas: replicas.clone() }
            };
            let partitions = wishes.iter().map(partition).collect();
            let topics = vec![ReassignableTopic { name: topic(), partitions }];
            let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
            let response = client.ask(&request, version).await;
            let answers = &response.responses[0].partitions;
            for (answer, (_, replicas, expected)) in answers.iter().zip(&wishes) {
                assert_eq!(answer.error_code, *expected, "{replicas:?}: {:?}", answer.error_message);
            }
        }
        ApiKey::ListPartitionReassignments => {
            let response = client.ask(&ListPartitionReassignmentsRequest::default(), version).await;
            assert_eq!((response.error_code, response.topics.len()), (ErrorCode::NONE, 0));
        }
        ApiKey::DescribeClientQuotas => {
            let response = client.ask(&DescribeClientQuotasRequest::default(), version).await;
            assert_eq!((response.error_code, response.entries), (ErrorCode::NONE, Some(Vec::new())));
        }
        ApiKey::AlterClientQuotas => {
            use alter_client_quotas::{AlterQuotasEntry, EntityData, OpData};
            let entry = |remove| AlterQuotasEntry {
                entity: vec![EntityData { entity_type: "user".into(), entity_name: None }],
                ops: vec![OpData { key: "producer_byte_rate".into(), value: 1.0, remove }],
            };
            let entries = vec![entry(true), entry(false)];
            let request = AlterClientQuotasRequest { entries, validate_only: false };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.entries.iter().map(|entry| entry.error_code).collect();
            assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_REQUEST]);
        }
        ApiKey::DescribeUserScramCredentials => {
            let users = Some(vec![describe_user_scram_credentials::UserName { name: "bob".into() }]);
            let response = client.ask(&DescribeUserScramCredentialsRequest { users }, version).await;
            assert_eq!(response.results[0].error_code, ErrorCode::RESOURCE_NOT_FOUND);
            let all = DescribeUserScramCredentialsRequest { users: None };
            assert!(client.ask(&all, version).await.results.is_empty());
        }
        ApiKey::AlterUserScramCredentials => {
            use alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion};
            let request = AlterUserScramCredentialsRequest {
                deletions: vec![ScramCredentialDeletion { name: "a".into(), mechanism: 1 }],
                upsertions: vec![ScramCredentialUpsertion { name: "b".into(), ..Default::default() }],
            };
            let response = client.ask(&request, version).await;
            let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
            assert_eq!(codes, [ErrorCode::RESOURCE_NOT_FOUND, ErrorCode::UNSUPPORTED_SASL_MECHANISM]);
        }
        ApiKey::DescribeQuorum => {
            use describe_quorum::{PartitionRequest, TopicRequest};
            let topic = |name: &str| TopicRequest {
                topic_name: name.into(),
                partitions: vec![PartitionRequest { partition_index: 0 }],
            };
            let topics = vec![topic("__cluster_metadata"), topic("t")];
            let response = client.ask(&DescribeQuorumRequest { topics }, version).await;
            let quorum = &response.topics[0].partitions[0];
            assert_eq!((quorum.error_code, quorum.leader_id), (ErrorCode::NONE, 1));
            assert!(quorum.high_watermark > 0 && quorum.current_voters.len() == 1);
            let other = &response.topics[1].partitions[0];
            assert_eq!(other.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            assert_eq!(response.nodes.len(), usize::from(version >= 2));
        }
        _ => three(client, api, version).await,
    }
}

async fn three(client: &mut Client, api: ApiKey, version: i16) {
    match api {
        ApiKey::UpdateFeatures => {
            use update_features::FeatureUpdateKey;
            let update = |feature: &str, max_version_level, may_fall: bool| UpdateFeaturesRequest {
                feature_updates: vec![FeatureUpdateKey {
                    feature: feature.into(),
                    max_version_level,
                    allow_downgrade: version == 0 && may_fall,
                    upgrade_type: if version == 0 || !may_fall { 1 } else { 2 },
                }],
                validate_only: version >= 1,
                ..UpdateFeaturesRequest::default()
            };
            let same = client.ask(&update("transaction.version", 2, false), version).await;
            assert_eq!(same.error_code, ErrorCode::NONE);
            assert_eq!(same.results.len(), usize::from(version < 2));
            for refused in [
                update("transaction.version", 1, false),
                update("transaction.version", 3, true),
                update("nope.version", 1, false),
            ] {
                let response = client.ask(&refused, version).await;
                assert_eq!(response.error_code, ErrorCode::INVALID_UPDATE_VERSION, "{refused:?}");
            }
        }
        ApiKey::WriteTxnMarkers => {
            use write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
            let topics = vec![WritableTxnMarkerTopic { name: "nobody".into(), partition_indexes: vec![0] }];
            let markers = vec![WritableTxnMarker { producer_id: 1, topics, ..WritableTxnMarker::default() }];
            let response = client.ask(&WriteTxnMarkersRequest { markers }, version).await;
            let partition = &response.markers[0].topics[0].partitions[0];
            assert_eq!(partition.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        ApiKey::UnregisterBroker => {
            for (broker_id, code) in
                [(1, ErrorCode::INVALID_REQUEST), (7, ErrorCode::BROKER_ID_NOT_REGISTERED)]
            {
                let response = client.ask(&UnregisterBrokerRequest { broker_id }, version).await;
                assert_eq!(response.error_code, code);
            }
        }
        ApiKey::DescribeAcls => {
            let response = client.ask(&DescribeAclsRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::SECURITY_DISABLED);
        }
        ApiKey::CreateAcls => {
            let creations = vec![create_acls::AclCreation::default()];
            let response = client.ask(&CreateAclsRequest { creations }, version).await;
            assert_eq!(response.results[0].error_code, ErrorCode::SECURITY_DISABLED);
        }
        ApiKey::DeleteAcls => {
            let filters = vec![delete_acls::DeleteAclsFilter::default()];
            let response = client.ask(&DeleteAclsRequest { filters }, version).await;
            assert_eq!(response.filter_results[0].error_code, ErrorCode::SECURITY_DISABLED);
        }
        ApiKey::CreateDelegationToken => {
            let response = client.ask(&CreateDelegationTokenRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED);
        }
        ApiKey::RenewDelegationToken => {
            let response = client.ask(&RenewDelegationTokenRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED);
        }
        ApiKey::ExpireDelegationToken => {
            let response = client.ask(&ExpireDelegationTokenRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED);
        }
        ApiKey::DescribeDelegationToken => {
            let response = client.ask(&DescribeDelegationTokenRequest::default(), version).await;
            assert_eq!(response.error_code, ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED);
        }
        _ => panic!("{api} is advertised and not tried here"),
    }
}
