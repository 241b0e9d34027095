//! AddPartitionsToTxn: partitions a transaction is about to write to, for clients that say so (before
//! KIP-890's second part).

use std::collections::BTreeMap;

use logmill_coordinator::transactions::{AddMode, AddPartitions, Command, Reply, TopicPartition};
use logmill_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use logmill_wire::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;

type Results = BTreeMap<TopicPartition, ErrorCode>;

pub(crate) async fn handle(call: Call<'_>, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let asked = request.v3_and_below_topics;
    let partitions = || asked.iter().flat_map(topic_partitions);
    let refused: Results = partitions()
        .filter_map(|partition| refuse(&call, &partition).map(|code| (partition, code)))
        .collect();
    let results = if refused.is_empty() {
        let id = request.v3_and_below_transactional_id.detached();
        let command = Command::AddPartitions(AddPartitions {
            version: call.version,
            transactional_id: id.clone(),
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            partitions: partitions().collect(),
            mode: AddMode::Explicit,
        });
        match call.context.coordinators.transaction(&id, &call.patience, command).await {
            Ok(Reply::PartitionsAdded(added)) => added.into_iter().collect(),
            Ok(_) => all(partitions(), ErrorCode::UNKNOWN_SERVER_ERROR),
            Err(code) => all(partitions(), code),
        }
    } else {
        // All or nothing: those that could have been added are not either.
        let mut results = all(partitions(), ErrorCode::OPERATION_NOT_ATTEMPTED);
        results.extend(refused);
        results
    };
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: asked.into_iter().map(|topic| respond(topic, &results)).collect(),
        ..AddPartitionsToTxnResponse::default()
    }
}

/// The partitions of a topic, by a name that outlives the request.
fn topic_partitions(topic: &AddPartitionsToTxnTopic) -> impl Iterator<Item = TopicPartition> {
    let name = topic.name.detached();
    topic.partitions.iter().map(move |&partition| TopicPartition { topic: name.clone(), partition })
}

fn all(partitions: impl Iterator<Item = TopicPartition>, code: ErrorCode) -> Results {
    partitions.map(|partition| (partition, code)).collect()
}

fn refuse(call: &Call<'_>, wanted: &TopicPartition) -> Option<ErrorCode> {
    match call.context.topics.get(&wanted.topic) {
        Some(topic) if topic.owner.is_some() => Some(ErrorCode::POLICY_VIOLATION),
        Some(topic) if topic.internal => Some(ErrorCode::INVALID_TOPIC_EXCEPTION),
        Some(topic) if topic.partition(wanted.partition).is_some() => None,
        _ => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    }
}

fn respond(topic: AddPartitionsToTxnTopic, results: &Results) -> AddPartitionsToTxnTopicResult {
    let result = |name: &Str, partition_index: i32| {
        let key = TopicPartition { topic: name.clone(), partition: partition_index };
        let partition_error_code = results.get(&key).copied().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
        AddPartitionsToTxnPartitionResult { partition_index, partition_error_code }
    };
    AddPartitionsToTxnTopicResult {
        results_by_partition: topic.partitions.iter().map(|&index| result(&topic.name, index)).collect(),
        name: topic.name,
    }
}
