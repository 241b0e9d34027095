//! DescribeTransactions: where transactional ids stand.

use std::collections::BTreeMap;

use logmill_coordinator::transactions::{Command, Describe, Description, Reply};
use logmill_wire::messages::describe_transactions::{TopicData, TransactionState};
use logmill_wire::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;

pub(crate) async fn handle(
    call: Call<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let command = Command::Describe(Describe { transactional_ids: vec![id.clone()] });
        let described = match call.context.coordinators.transaction(&id, &call.patience, command).await {
            Ok(Reply::Described(mut descriptions)) => {
                descriptions.pop().ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)
            }
            Ok(_) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
            Err(code) => Err(code),
        };
        transaction_states.push(respond(id, described));
    }
    DescribeTransactionsResponse { transaction_states, ..DescribeTransactionsResponse::default() }
}

fn respond(transactional_id: Str, described: Result<Description, ErrorCode>) -> TransactionState {
    let failed = |error_code, transactional_id| TransactionState {
        error_code,
        transactional_id,
        producer_id: -1,
        producer_epoch: -1,
        ..TransactionState::default()
    };
    match described {
        Ok(description) if description.error == ErrorCode::NONE => {
            let mut topics: BTreeMap<Str, Vec<i32>> = BTreeMap::new();
            for partition in description.partitions {
                topics.entry(partition.topic).or_default().push(partition.partition);
            }
            TransactionState {
                error_code: ErrorCode::NONE,
                transactional_id,
                transaction_state: Str::from_static(description.state.name()),
                transaction_timeout_ms: description.timeout_ms,
                transaction_start_time_ms: description.started,
                producer_id: description.producer_id,
                producer_epoch: description.producer_epoch,
                topics: topics
                    .into_iter()
                    .map(|(topic, partitions)| TopicData { topic, partitions })
                    .collect(),
            }
        }
        Ok(description) => failed(description.error, transactional_id),
        Err(code) => failed(code, transactional_id),
    }
}
