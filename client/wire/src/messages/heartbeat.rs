//! Heartbeat: a member of a classic group is alive; learns of a rebalance.

use crate::schema::{schema, since};
use crate::{ErrorCode, Str};

schema! {
    /// A member is alive.
    request HeartbeatRequest(Heartbeat, 0..=4, flexible 4) -> HeartbeatResponse {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        group_instance_id: Option<Str>, since(3);
    }

    /// Whether it may go on, or has to join again.
    response HeartbeatResponse(Heartbeat, 0..=4, flexible 4) {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: ErrorCode;
    }
}
