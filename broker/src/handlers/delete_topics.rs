//! DeleteTopics, by name or by id.

use std::collections::BTreeSet;

use logmill_coordinator::groups::{Command, ForgetTopic};
use logmill_wire::messages::delete_topics::{DeletableTopicResult, DeleteTopicState};
use logmill_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use super::topic_errors::delete_error;
use super::{Call, told};
use crate::context::Context;
use crate::topics::Topic;

/// From this version on topics may be given by id.
const IDS_FROM: i16 = 6;

pub(crate) async fn handle(call: Call<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let wanted: Vec<DeleteTopicState> = if call.version >= IDS_FROM {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::nil() };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = wanted.iter().map(key).filter(|key| !seen.insert(key.clone())).collect();
    let mut reported = BTreeSet::new();
    let mut responses = Vec::with_capacity(wanted.len());
    for wish in wanted {
        if !repeated.contains(&key(&wish)) {
            responses.push(delete(call.context, wish).await);
        } else if reported.insert(key(&wish)) {
            let why = "the topic is named twice in this request";
            responses.push(refused(wish, ErrorCode::INVALID_REQUEST, why));
        }
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

fn key(wish: &DeleteTopicState) -> (Option<Str>, Uuid) {
    (wish.name.clone(), wish.topic_id)
}

async fn delete(context: &Context, wish: DeleteTopicState) -> DeletableTopicResult {
    let id = match (&wish.name, wish.topic_id.is_nil()) {
        (Some(name), true) => match context.topics.get(name) {
            Some(topic) => topic.id,
            None => {
                return refused(
                    wish,
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    "there is no topic of this name",
                );
            }
        },
        (None, false) => match context.topics.by_id(wish.topic_id) {
            Some(topic) => topic.id,
            None => return refused(wish, ErrorCode::UNKNOWN_TOPIC_ID, "there is no topic of this id"),
        },
        _ => return refused(wish, ErrorCode::INVALID_REQUEST, "a topic is given by its name or by its id"),
    };
    match context.topics.delete(id).await {
        Ok(topic) => {
            forget_offsets(context, &topic).await;
            DeletableTopicResult {
                name: Some(Str::from(&*topic.name)),
                topic_id: topic.id,
                error_code: ErrorCode::NONE,
                error_message: None,
            }
        }
        Err(error) => refused(wish, delete_error(&error), error.to_string()),
    }
}

/// Offsets in a topic that is gone would be taken for offsets in the next one of its name.
async fn forget_offsets(context: &Context, topic: &Topic) {
    // A machine whose log is still being read cannot be told, and nobody comes back to it.
    context.coordinators.loaded().await;
    let command = Command::ForgetTopic(ForgetTopic { topic: Str::from(&*topic.name) });
    if let Err(error) = context.coordinators.all_groups(command).await {
        tracing::warn!(topic = %topic.name, ?error, "groups still have offsets in a deleted topic");
    }
}

fn refused(
    wish: DeleteTopicState,
    error_code: ErrorCode,
    message: impl Into<String>,
) -> DeletableTopicResult {
    DeletableTopicResult {
        name: wish.name,
        topic_id: wish.topic_id,
        error_code,
        error_message: Some(told(&message.into())),
    }
}
