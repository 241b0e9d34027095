//! CreateTopics: create topics with partitions and configs.

use uuid::Uuid;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Topics to create, or only to check.
    request CreateTopicsRequest(CreateTopics, 2..=7, flexible 5) -> CreateTopicsResponse {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60000;
        validate_only: bool;
    }

    /// A topic. -1 partitions or replicas: the broker's default.
    struct CreatableTopic {
        name: Str;
        num_partitions: i32;
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }

    /// On which brokers a partition is to live; with it, the two counts are -1.
    struct CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }

    /// A config of the topic.
    struct CreatableTopicConfig {
        name: Str;
        value: Option<Str> = Some(Str::default());
    }

    /// What became of each topic.
    response CreateTopicsResponse(CreateTopics, 2..=7, flexible 5) {
        throttle_time_ms: i32;
        topics: Vec<CreatableTopicResult>;
    }

    /// The topic as it is now, or why not.
    struct CreatableTopicResult {
        name: Str;
        topic_id: Uuid,                                                 since(7).ignorable();
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
        topic_config_error_code: ErrorCode,                             since(5).tag(0).ignorable();
        num_partitions: i32 = -1,                                       since(5).ignorable();
        replication_factor: i16 = -1,                                   since(5).ignorable();
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), since(5).ignorable();
    }

    /// A config of the topic as it is now.
    struct CreatableTopicConfigs {
        name: Str;
        value: Option<Str> = Some(Str::default());
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
    }
}
