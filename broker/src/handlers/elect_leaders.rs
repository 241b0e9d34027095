//! ElectLeaders: every partition has the leader it always had.

use logmill_wire::ErrorCode;
use logmill_wire::messages::elect_leaders::{PartitionResult, ReplicaElectionResult};
use logmill_wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{Call, told};

/// The preferred replica, or any that is alive.
const ELECTIONS: std::ops::RangeInclusive<i8> = 0..=1;

pub(crate) async fn handle(call: Call<'_>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    if !ELECTIONS.contains(&request.election_type) {
        return ElectLeadersResponse {
            // Version 0 has no place for it, and no type that could be wrong.
            error_code: ErrorCode::INVALID_REQUEST,
            ..ElectLeadersResponse::default()
        };
    }
    let mut replica_election_results = Vec::new();
    // Of all partitions those are told that were in need of an election, which is none.
    for wish in request.topic_partitions.unwrap_or_default() {
        let topic = call.context.topics.get(&wish.topic);
        let why = |index| match &topic {
            None => {
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("No such topic as {}", wish.topic.as_str()))
            }
            Some(topic) if !(0..topic.count).contains(&index) => (
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                format!("No such partition as {}-{index}", wish.topic.as_str()),
            ),
            Some(_led_by_this_node) => {
                (ErrorCode::ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.".to_owned())
            }
        };
        let result = |partition_id| {
            let (error_code, message) = why(partition_id);
            PartitionResult { partition_id, error_code, error_message: Some(told(&message)) }
        };
        let partition_result = wish.partitions.iter().copied().map(result).collect();
        replica_election_results.push(ReplicaElectionResult { topic: wish.topic, partition_result });
    }
    ElectLeadersResponse { replica_election_results, ..ElectLeadersResponse::default() }
}
