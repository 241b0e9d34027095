//! AlterReplicaLogDirs: there is one directory, and everything is in it.

use logmill_wire::ErrorCode;
use logmill_wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use logmill_wire::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use super::Call;

pub(crate) async fn handle(
    call: Call<'_>,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let here = call.context.node.data_dir.display().to_string();
    let mut results = Vec::new();
    for dir in request.dirs {
        for wish in dir.topics {
            let topic = call.context.topics.get(&wish.name);
            let code = |index| match topic.as_ref().and_then(|topic| topic.partition(index)) {
                _ if *dir.path != *here => ErrorCode::LOG_DIR_NOT_FOUND,
                Some(_there_already) => ErrorCode::NONE,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            let result = |partition_index| AlterReplicaLogDirPartitionResult {
                partition_index,
                error_code: code(partition_index),
            };
            let partitions = wish.partitions.into_iter().map(result).collect();
            results.push(AlterReplicaLogDirTopicResult { topic_name: wish.name, partitions });
        }
    }
    AlterReplicaLogDirsResponse { results, ..AlterReplicaLogDirsResponse::default() }
}
