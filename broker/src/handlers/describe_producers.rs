//! DescribeProducers: who writes to a partition, and whether a transaction is open there.

use logmill_storage::ProducerView;
use logmill_wire::ErrorCode;
use logmill_wire::messages::describe_producers::{PartitionResponse, ProducerState, TopicResponse};
use logmill_wire::messages::{DescribeProducersRequest, DescribeProducersResponse};

use super::Call;
use crate::topics::check_name;

pub(crate) async fn handle(call: Call<'_>, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        call.context.topics.open_for_reading(&asked.name, &asked.partition_indexes).await;
        let topic = call.context.topics.get(&asked.name);
        let partitions = asked
            .partition_indexes
            .iter()
            .map(|&partition_index| match topic.as_ref().and_then(|topic| topic.partition(partition_index)) {
                Some(partition) => PartitionResponse {
                    partition_index,
                    active_producers: partition.producers().iter().map(producer).collect(),
                    ..PartitionResponse::default()
                },
                None => PartitionResponse {
                    partition_index,
                    error_code: match check_name(&asked.name) {
                        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                        Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                    },
                    ..PartitionResponse::default()
                },
            })
            .collect();
        topics.push(TopicResponse { name: asked.name, partitions });
    }
    DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }
}

fn producer(view: &ProducerView) -> ProducerState {
    ProducerState {
        producer_id: view.producer_id,
        producer_epoch: i32::from(view.producer_epoch),
        last_sequence: view.last_sequence,
        last_timestamp: view.last_timestamp,
        coordinator_epoch: view.coordinator_epoch,
        current_txn_start_offset: view.transaction_first_offset.unwrap_or(-1),
    }
}
