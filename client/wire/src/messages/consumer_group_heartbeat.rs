//! ConsumerGroupHeartbeat: the one request of the new group protocol: join, stay, revoke, leave (KIP-848).

use uuid::Uuid;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// What a member is, wants and holds. What did not change since its last heartbeat may be left out.
    request ConsumerGroupHeartbeatRequest(ConsumerGroupHeartbeat, 0..=1, flexible 0)
        -> ConsumerGroupHeartbeatResponse {
        group_id: Str;
        /// Chosen by the client from version 1 on; in version 0 empty in the first heartbeat.
        member_id: Str;
        /// 0 to join, -1 to leave, -2 when a static member leaves and will be back.
        member_epoch: i32;
        instance_id: Option<Str>;
        rack_id: Option<Str>;
        /// How long the member may take to give up partitions, in ms; -1: unchanged.
        rebalance_timeout_ms: i32 = -1;
        subscribed_topic_names: Option<Vec<Str>>;
        subscribed_topic_regex: Option<Str>, since(1);
        server_assignor: Option<Str>;
        /// What the member holds.
        topic_partitions: Option<Vec<TopicPartitions>>;
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic_id: Uuid;
        partitions: Vec<i32>;
    }

    /// The member's epoch, and what it may hold when that changed.
    response ConsumerGroupHeartbeatResponse(ConsumerGroupHeartbeat, 0..=1, flexible 0) {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        member_id: Option<Str>;
        member_epoch: i32;
        heartbeat_interval_ms: i32;
        assignment: Option<Assignment>;
    }

    /// Everything the member may hold.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }
}
