//! Fetch: record batches out of partitions, waiting for them where there are none.
//!
//! ```text
//! request ─► session (which partitions) ─► read all ─► enough? ─► response
//!                                            ▲           │ no
//!                                            └── woken by the publication, or out of time
//! ```
//!
//! Batches go from the log to the socket as the slices they were read as. Reads of recent data touch
//! memory only; a read that must go to a file moves its worker's other tasks elsewhere first.

mod read;
mod session;

pub(in crate::handlers) use read::check_epoch;
pub(crate) use session::FetchSession;

use std::time::Duration;

use logmill_wire::messages::fetch::{FetchableTopicResponse, PartitionData};
use logmill_wire::messages::{FetchRequest, FetchResponse};
use logmill_wire::{ErrorCode, Str};
use tokio::time::Instant;
use uuid::Uuid;

use self::read::{Limits, Reader, Round};
use super::Call;
use crate::context::Context;
use crate::net::{HeldMemory, MemoryBudget};
use crate::partitions::{DataWait, Partition};

/// From this version on topics are named by id.
const IDS_FROM: i16 = 13;

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicKey {
    Name(Str),
    Id(Uuid),
}

/// One partition to be read.
#[derive(Clone, Debug)]
struct Wanted {
    topic: TopicKey,
    partition: i32,
    offset: i64,
    max_bytes: i32,
    /// The leader epoch the client believes in, -1 when it does not say.
    leader_epoch: i32,
    /// The epoch of the last record the client has, -1 when it does not say.
    last_epoch: i32,
}

/// The response, and what it holds of `response_memory` until it is written.
pub(crate) async fn handle(
    call: Call<'_>,
    request: FetchRequest,
    response_memory: &MemoryBudget,
) -> (FetchResponse, Option<HeldMemory>) {
    let limits = Limits::of(&request, call.context.limits.fetch_bytes);
    let wait = Duration::from_millis(
        u64::try_from(request.max_wait_ms.min(call.context.limits.fetch_wait_ms)).unwrap_or(0),
    );
    let by_id = call.version >= IDS_FROM;
    let plan = match session::begin(&mut call.session.fetch, request, by_id, &call.context.entropy) {
        Ok(plan) => plan,
        Err(error_code) => return (FetchResponse { error_code, ..FetchResponse::default() }, None),
    };
    let mut partitions = Vec::with_capacity(plan.wanted.len());
    for wanted in &plan.wanted {
        partitions.push(find(call.context, wanted).await);
    }
    let reader = Reader { wanted: &plan.wanted, partitions: &partitions, limits, response_memory };
    let Round { data, held, .. } = read(&reader, wait).await;
    for (partition, data) in partitions.iter().zip(&data) {
        if let (Ok(partition), Some(records)) = (partition, &data.records) {
            partition.count_fetched(records.iter());
        }
    }
    let answered: Vec<_> = plan.wanted.into_iter().map(|wanted| wanted.topic).zip(data).collect();
    let (session_id, answered) = session::finish(&mut call.session.fetch, plan.kind, answered);
    let response = FetchResponse { session_id, responses: by_topic(answered), ..FetchResponse::default() };
    (response, held)
}

async fn find(context: &Context, wanted: &Wanted) -> Result<Partition, ErrorCode> {
    let topic = || match &wanted.topic {
        TopicKey::Name(name) => context.topics.get(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        TopicKey::Id(id) => context.topics.by_id(*id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID),
    };
    let mut found = topic()?;
    if found.awaits(wanted.partition) {
        context.topics.open_for_reading(&found.name, &[wanted.partition]).await;
        found = topic()?;
    }
    let topic = found;
    topic.partition(wanted.partition).cloned().ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// Reads until there is enough, or time is up.
async fn read(reader: &Reader<'_>, wait: Duration) -> Round {
    let round = reader.round();
    if round.enough || wait.is_zero() {
        return round;
    }
    drop(round);
    let deadline = Instant::now() + wait;
    // Registered first, read after: what is published in between ends the wait at once.
    let publications = DataWait::register(reader.partitions.iter().flatten().cloned().collect());
    loop {
        let round = reader.round();
        let left = deadline.saturating_duration_since(Instant::now());
        if round.enough || left.is_zero() {
            return round;
        }
        drop(round);
        publications.published(left).await;
    }
}

/// Puts neighbours of one topic together.
fn by_topic(answered: Vec<(TopicKey, PartitionData)>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<(TopicKey, FetchableTopicResponse)> = Vec::new();
    for (key, data) in answered {
        match topics.last_mut() {
            Some((last, topic)) if *last == key => topic.partitions.push(data),
            _ => {
                let (name, topic_id) = match &key {
                    TopicKey::Name(name) => (name.clone(), Uuid::nil()),
                    TopicKey::Id(id) => (Str::default(), *id),
                };
                topics.push((key, FetchableTopicResponse { topic: name, topic_id, partitions: vec![data] }));
            }
        }
    }
    topics.into_iter().map(|(_, topic)| topic).collect()
}
