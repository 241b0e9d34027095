//! OffsetFetch: how far groups have read.

use logmill_coordinator::groups::{Command, FetchOffsets, Fetched, FetchedOffset, Reply};
use logmill_wire::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use logmill_wire::messages::{OffsetFetchRequest, OffsetFetchResponse};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::Call;
use super::groups::ask;

/// From this version on several groups are asked for at once.
const SEVERAL_FROM: i16 = 8;
/// From this version on topics are named by id.
const IDS_FROM: i16 = 10;
/// From this version on an error of the whole group has a place of its own.
const GROUP_ERROR_FROM: i16 = 2;

pub(crate) async fn handle(call: Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version < SEVERAL_FROM {
        return one(&call, request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(by_group(&call, group, request.require_stable).await);
    }
    OffsetFetchResponse { groups, ..OffsetFetchResponse::default() }
}

async fn fetch(call: &Call<'_>, fetch: FetchOffsets) -> Result<Fetched, ErrorCode> {
    let group = fetch.group.clone();
    let fetched = ask(call, &group, Command::FetchOffsets(fetch), |reply| match reply {
        Reply::Fetched(fetched) => Some(fetched),
        _ => None,
    })
    .await?;
    if fetched.error == ErrorCode::NONE { Ok(of_topics_that_are(call, fetched)) } else { Err(fetched.error) }
}

/// Leaves out offsets that were committed for an earlier topic of the same name. They are forgotten when a topic is
/// deleted; but a crash may have come in between.
fn of_topics_that_are(call: &Call<'_>, mut fetched: Fetched) -> Fetched {
    for (name, offsets) in &mut fetched.topics {
        let now = call.context.topics.get(name).map(|topic| topic.id);
        for offset in offsets {
            let then = offset.stored.as_ref().and_then(|stored| stored.topic_id);
            if then.is_some() && now.is_some() && then != now {
                offset.stored = None;
            }
        }
    }
    fetched
}

async fn one(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let asked: Option<Vec<(Str, Vec<i32>)>> = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
    let asks = FetchOffsets {
        group: request.group_id,
        member_id: None,
        member_epoch: -1,
        topics: asked.clone(),
        require_stable: request.require_stable,
    };
    let (error_code, topics) = match fetch(call, asks).await {
        Ok(fetched) => (ErrorCode::NONE, fetched.topics),
        Err(code) if call.version >= GROUP_ERROR_FROM => (code, Vec::new()),
        Err(code) => (code, failed(asked.unwrap_or_default(), code)),
    };
    let partition = |offset: FetchedOffset| {
        let (committed_offset, committed_leader_epoch, metadata) = stored(&offset);
        OffsetFetchResponsePartition {
            partition_index: offset.partition,
            committed_offset,
            committed_leader_epoch,
            metadata: Some(metadata),
            error_code: offset.error,
        }
    };
    let topics = topics
        .into_iter()
        .map(|(name, offsets)| OffsetFetchResponseTopic {
            name,
            partitions: offsets.into_iter().map(partition).collect(),
        })
        .collect();
    OffsetFetchResponse { error_code, topics, ..OffsetFetchResponse::default() }
}

async fn by_group(
    call: &Call<'_>,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let by_id = call.version >= IDS_FROM;
    let mut unknown = Vec::new();
    let mut ids = Vec::new();
    let asked = group.topics.map(|topics| {
        let mut known = Vec::with_capacity(topics.len());
        for topic in topics {
            if !by_id {
                known.push((topic.name, topic.partition_indexes));
            } else if let Some(found) = call.context.topics.by_id(topic.topic_id) {
                ids.push(found.id);
                known.push((Str::from(&*found.name), topic.partition_indexes));
            } else {
                unknown.push((topic.topic_id, topic.partition_indexes));
            }
        }
        known
    });
    let named = asked.is_some();
    let asks = FetchOffsets {
        group: group.group_id.clone(),
        member_id: group.member_id,
        member_epoch: group.member_epoch,
        topics: asked,
        require_stable,
    };
    let fetched = match fetch(call, asks).await {
        Ok(fetched) => fetched,
        Err(error_code) => {
            return OffsetFetchResponseGroup { group_id: group.group_id, topics: Vec::new(), error_code };
        }
    };
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::with_capacity(fetched.topics.len() + unknown.len());
    for (at, (name, offsets)) in fetched.topics.into_iter().enumerate() {
        let topic_id = match ids.get(at) {
            Some(id) if named => *id,
            // Everything was asked for. Offsets in a topic that is gone cannot be told by id.
            _ if by_id => match call.context.topics.get(&name) {
                Some(topic) => topic.id,
                None => continue,
            },
            _ => Uuid::nil(),
        };
        topics.push(respond_topic(name, topic_id, offsets));
    }
    for (topic_id, partitions) in unknown {
        let failed = failed(vec![(Str::default(), partitions)], ErrorCode::UNKNOWN_TOPIC_ID);
        topics.extend(failed.into_iter().map(|(name, offsets)| respond_topic(name, topic_id, offsets)));
    }
    OffsetFetchResponseGroup { group_id: group.group_id, topics, error_code: ErrorCode::NONE }
}

fn respond_topic(name: Str, topic_id: Uuid, offsets: Vec<FetchedOffset>) -> OffsetFetchResponseTopics {
    let partition = |offset: FetchedOffset| {
        let (committed_offset, committed_leader_epoch, metadata) = stored(&offset);
        OffsetFetchResponsePartitions {
            partition_index: offset.partition,
            committed_offset,
            committed_leader_epoch,
            metadata: Some(metadata),
            error_code: offset.error,
        }
    };
    OffsetFetchResponseTopics { name, topic_id, partitions: offsets.into_iter().map(partition).collect() }
}

/// Offset, leader epoch and metadata as Kafka says them; -1 and nothing where none is stored.
fn stored(offset: &FetchedOffset) -> (i64, i32, Str) {
    match &offset.stored {
        Some(stored) => (stored.offset, stored.leader_epoch, stored.metadata.clone()),
        None => (-1, -1, Str::default()),
    }
}

fn failed(asked: Vec<(Str, Vec<i32>)>, error: ErrorCode) -> Vec<(Str, Vec<FetchedOffset>)> {
    let offset = |partition| FetchedOffset { partition, stored: None, error };
    asked
        .into_iter()
        .map(|(topic, partitions)| (topic, partitions.into_iter().map(offset).collect()))
        .collect()
}
