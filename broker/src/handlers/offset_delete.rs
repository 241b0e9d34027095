//! OffsetDelete: forgets offsets of a group in topics that it does not read now.

use logmill_coordinator::groups::{Command, DeleteOffsets, Reply};
use logmill_wire::messages::offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use logmill_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use super::groups::ask;

pub(crate) async fn handle(call: Call<'_>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = request.group_id;
    // As in Kafka, what is gone is not looked for: its offsets went with the topic.
    let mut unknown = Vec::new();
    let mut known = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let count = call.context.topics.get(&topic.name).map_or(0, |found| found.count);
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let (there, gone): (Vec<i32>, Vec<i32>) = indexes.partition(|index| (0..count).contains(index));
        if !gone.is_empty() {
            let failed = |index| (index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            unknown.push((topic.name.clone(), gone.into_iter().map(failed).collect()));
        }
        if !there.is_empty() {
            known.push((topic.name, there));
        }
    }
    if known.is_empty() && !unknown.is_empty() {
        return response(ErrorCode::NONE, unknown);
    }
    let command = Command::DeleteOffsets(DeleteOffsets { group: group.clone(), topics: known });
    let deleted = ask(&call, &group, command, |reply| match reply {
        Reply::OffsetsDeleted(deleted) => Some(deleted),
        _ => None,
    })
    .await;
    let deleted = match deleted {
        Ok(deleted) => deleted,
        Err(error_code) => return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() },
    };
    if deleted.error != ErrorCode::NONE {
        return response(deleted.error, Vec::new());
    }
    response(ErrorCode::NONE, together(unknown, deleted.topics))
}

type Answers = Vec<(Str, Vec<(i32, ErrorCode)>)>;

/// One entry for each topic.
fn together(mut some: Answers, others: Answers) -> Answers {
    for (name, answers) in others {
        match some.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.extend(answers),
            None => some.push((name, answers)),
        }
    }
    some
}

fn response(error_code: ErrorCode, topics: Answers) -> OffsetDeleteResponse {
    let partition = |(partition_index, error_code): (i32, ErrorCode)| OffsetDeleteResponsePartition {
        partition_index,
        error_code,
    };
    let topic = |(name, partitions): (Str, Vec<(i32, ErrorCode)>)| OffsetDeleteResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    OffsetDeleteResponse {
        error_code,
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetDeleteResponse::default()
    }
}
