//! OffsetDelete: forgets offsets of a group in topics that it does not read now.

use logmill_coordinator::groups::{Command, DeleteOffsets, Reply};
use logmill_wire::ErrorCode;
use logmill_wire::messages::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use logmill_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::Call;
use super::groups::ask;

pub(crate) async fn handle(call: Call<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id;
    let topics = request.topics.into_iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name, indexes)
    });
    let command = Command::DeleteOffsets(DeleteOffsets { group: group.clone(), topics: topics.collect() });
    let deleted = ask(&call, &group, command, |reply| match reply {
        Reply::OffsetsDeleted(deleted) => Some(deleted),
        _ => None,
    })
    .await;
    let deleted = match deleted {
        Ok(deleted) => deleted,
        Err(error_code) => return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() },
    };
    let partition = |(partition_index, error_code): (i32, ErrorCode)| OffsetDeleteResponsePartition {
        partition_index,
        error_code,
    };
    OffsetDeleteResponse {
        error_code: deleted.error,
        topics: deleted
            .topics
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteResponseTopic {
                name,
                partitions: partitions.into_iter().map(partition).collect(),
            })
            .collect(),
        ..OffsetDeleteResponse::default()
    }
}
