//! ConsumerGroupDescribe: groups of the new protocol in detail (KIP-848).

use uuid::Uuid;

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// Which groups.
    request ConsumerGroupDescribeRequest(ConsumerGroupDescribe, 0..=1, flexible 0)
        -> ConsumerGroupDescribeResponse {
        group_ids: Vec<Str>;
        include_authorized_operations: bool;
    }

    /// The groups.
    response ConsumerGroupDescribeResponse(ConsumerGroupDescribe, 0..=1, flexible 0) {
        throttle_time_ms: i32;
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    struct DescribedGroup {
        error_code: ErrorCode;
        error_message: Option<Str>;
        group_id: Str;
        group_state: Str;
        group_epoch: i32;
        assignment_epoch: i32;
        assignor_name: Str;
        members: Vec<Member>;
        /// A bit for each operation the caller may do; the smallest number when it did not ask.
        authorized_operations: i32 = i32::MIN;
    }

    /// One member.
    struct Member {
        member_id: Str;
        instance_id: Option<Str>;
        rack_id: Option<Str>;
        member_epoch: i32;
        client_id: Str;
        client_host: Str;
        subscribed_topic_names: Vec<Str>;
        subscribed_topic_regex: Option<Str>;
        assignment: Assignment;
        target_assignment: Assignment;
        /// 0: speaks the classic protocol, 1: speaks this one; -1: not known (KIP-1099).
        member_type: i8 = -1, since(1).ignorable();
    }

    /// Partitions a member holds, or is to hold.
    struct Assignment {
        topic_partitions: Vec<TopicPartitions>;
    }

    /// Partitions of one topic.
    struct TopicPartitions {
        topic_id: Uuid;
        topic_name: Str;
        partitions: Vec<i32>;
    }
}
