//! ListPartitionReassignments: nothing is ever on its way.

use logmill_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::Call;

pub(crate) async fn handle(
    _call: Call<'_>,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}
