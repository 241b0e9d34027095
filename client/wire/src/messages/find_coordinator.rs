//! FindCoordinator: which broker coordinates a group or a transactional id.

use crate::schema::{between, schema, since, until};
use crate::{ErrorCode, Str};

schema! {
    /// Whose coordinator: `key_type` 0 a group, 1 a transactional id, 2 a share group.
    request FindCoordinatorRequest(FindCoordinator, 0..=6, flexible 3) -> FindCoordinatorResponse {
        key: Str,                   until(3);
        key_type: i8,               since(1);
        coordinator_keys: Vec<Str>, since(4);
    }

    /// Where it is; from version 4, for each key.
    response FindCoordinatorResponse(FindCoordinator, 0..=6, flexible 3) {
        throttle_time_ms: i32,                             since(1).ignorable();
        error_code: ErrorCode,                             until(3);
        error_message: Option<Str> = Some(Str::default()), between(1, 3).ignorable();
        node_id: i32,                                      until(3);
        host: Str,                                         until(3);
        port: i32,                                         until(3);
        coordinators: Vec<Coordinator>,                    since(4);
    }

    /// The coordinator of one key.
    struct Coordinator {
        key: Str;
        node_id: i32;
        host: Str;
        port: i32;
        error_code: ErrorCode;
        error_message: Option<Str> = Some(Str::default());
    }
}
