//! DescribeQuorum: this node alone votes about its metadata.

use logmill_wire::messages::describe_quorum::{Listener, Node, PartitionData, ReplicaState, TopicData};
use logmill_wire::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::context::Context;

/// The topic that Kafka's tools ask for.
const CLUSTER_METADATA: &str = "__cluster_metadata";

pub(crate) async fn handle(call: Call<'_>, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let context = call.context;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            partitions.push(match (&*topic.topic_name, index) {
                (CLUSTER_METADATA, 0) => metadata(context).await,
                _ => PartitionData {
                    partition_index: index,
                    error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    error_message: None,
                    ..PartitionData::default()
                },
            });
        }
        topics.push(TopicData { topic_name: topic.topic_name, partitions });
    }
    let nodes = match call.version {
        ..2 => Vec::new(),
        _ => vec![Node {
            node_id: context.node.node_id,
            listeners: vec![Listener {
                name: Str::from_static("PLAINTEXT"),
                host: Str::from(&context.node.advertised.0),
                port: context.node.advertised.1,
            }],
        }],
    };
    DescribeQuorumResponse { error_message: None, topics, nodes, ..DescribeQuorumResponse::default() }
}

async fn metadata(context: &Context) -> PartitionData {
    let log = context.topics.metadata_state().await;
    let now = context.clock.now_ms();
    PartitionData {
        partition_index: 0,
        error_code: ErrorCode::NONE,
        error_message: None,
        leader_id: context.node.node_id,
        leader_epoch: log.leader_epoch,
        high_watermark: log.high_watermark,
        current_voters: vec![ReplicaState {
            replica_id: context.node.node_id,
            log_end_offset: log.high_watermark,
            last_fetch_timestamp: now,
            last_caught_up_timestamp: now,
            ..ReplicaState::default()
        }],
        observers: Vec::new(),
    }
}
