//! ListTransactions: which transactional ids there are.

use logmill_coordinator::compile_whole;
use logmill_coordinator::transactions::{Command, List, Reply};
use logmill_wire::messages::list_transactions::TransactionState;
use logmill_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;

pub(crate) async fn handle(call: Call<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = match request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
        None => None,
        Some(pattern) => match compile_whole(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                tracing::debug!(pattern, %error, "a client's pattern cannot be read");
                return ListTransactionsResponse {
                    error_code: ErrorCode::INVALID_REGULAR_EXPRESSION,
                    ..ListTransactionsResponse::default()
                };
            }
        },
    };
    let list = Command::List(List {
        states: request.state_filters,
        producer_ids: request.producer_id_filters,
        running_for_ms: request.duration_filter,
    });
    let replies = match call.context.coordinators.all_transactions(list).await {
        Ok(replies) => replies,
        Err(error_code) => {
            return ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() };
        }
    };
    let mut unknown_state_filters = Vec::new();
    let mut transaction_states = Vec::new();
    for reply in replies {
        let Reply::Listed(listed) = reply else { continue };
        // Every machine says the same of the filters.
        unknown_state_filters = listed.unknown_states;
        transaction_states.extend(listed.transactions.into_iter().map(|listing| TransactionState {
            transactional_id: listing.transactional_id,
            producer_id: listing.producer_id,
            transaction_state: Str::from_static(listing.state.name()),
        }));
    }
    if let Some(pattern) = pattern {
        transaction_states.retain(|state: &TransactionState| pattern.is_match(&state.transactional_id));
    }
    transaction_states.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
    ListTransactionsResponse {
        error_code: ErrorCode::NONE,
        unknown_state_filters,
        transaction_states,
        ..ListTransactionsResponse::default()
    }
}
