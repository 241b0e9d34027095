//! EndTxn: commit or abort.

use logmill_coordinator::transactions::{Command, EndTransaction, ProducerGrant, Reply};
use logmill_wire::ErrorCode;
use logmill_wire::messages::{EndTxnRequest, EndTxnResponse};

use super::Call;

pub(crate) async fn handle(call: Call<'_>, request: EndTxnRequest) -> EndTxnResponse {
    match end(&call, request).await {
        Ok(grant) => EndTxnResponse {
            error_code: grant.error,
            producer_id: grant.producer_id,
            producer_epoch: grant.producer_epoch,
            ..EndTxnResponse::default()
        },
        Err(error_code) => EndTxnResponse { error_code, ..EndTxnResponse::default() },
    }
}

async fn end(call: &Call<'_>, request: EndTxnRequest) -> Result<ProducerGrant, ErrorCode> {
    let fresh_producer_id = call.context.producer_ids.next().await.map_err(|error| {
        tracing::warn!(%error, "no producer id can be given out");
        ErrorCode::COORDINATOR_NOT_AVAILABLE
    })?;
    let id = request.transactional_id.detached();
    let command = Command::EndTransaction(EndTransaction {
        version: call.version,
        transactional_id: id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        commit: request.committed,
        fresh_producer_id,
    });
    match call.context.coordinators.transaction(&id, &call.patience, command).await? {
        Reply::Ended(grant) => {
            if grant.producer_id != fresh_producer_id {
                call.context.producer_ids.give_back(fresh_producer_id);
            }
            Ok(grant)
        }
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}
