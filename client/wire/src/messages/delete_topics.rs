//! DeleteTopics: delete topics by name, or by id.

use uuid::Uuid;

use crate::schema::{always, schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Topics to delete.
    request DeleteTopicsRequest(DeleteTopics, 1..=6, flexible 4) -> DeleteTopicsResponse {
        topics: Vec<DeleteTopicState>, since(6);
        topic_names: Vec<Str>,         until(5).ignorable();
        timeout_ms: i32;
    }

    /// A topic by name, or by id.
    struct DeleteTopicState {
        name: Option<Str>;
        topic_id: Uuid;
    }

    /// What became of each.
    response DeleteTopicsResponse(DeleteTopics, 1..=6, flexible 4) {
        throttle_time_ms: i32;
        responses: Vec<DeletableTopicResult>;
    }

    /// One topic; its name is `None` if an unknown id was given.
    struct DeletableTopicResult {
        name: Option<Str> = Some(Str::default()), always().nullable_since(6);
        topic_id: Uuid,                           since(6).ignorable();
        error_code: ErrorCode;
        error_message: Option<Str>,               since(5).ignorable();
    }
}
