//! InitProducerId: a producer's identity, and for a transactional one the end of its predecessor.

use logmill_coordinator::transactions::{Command, InitProducer, ProducerGrant, Reply};
use logmill_wire::ErrorCode;
use logmill_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use super::Call;

pub(crate) async fn handle(call: Call<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(&call, request).await {
        Ok(grant) => InitProducerIdResponse {
            error_code: grant.error,
            producer_id: grant.producer_id,
            producer_epoch: grant.producer_epoch,
            ..InitProducerIdResponse::default()
        },
        Err(error_code) => InitProducerIdResponse {
            error_code,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

async fn init(call: &Call<'_>, request: InitProducerIdRequest) -> Result<ProducerGrant, ErrorCode> {
    let current = current(request.producer_id, request.producer_epoch)?;
    if request.transactional_id.as_ref().is_some_and(|id| id.is_empty()) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let fresh_producer_id = call.context.producer_ids.next().await.map_err(|error| {
        tracing::warn!(%error, "no producer id can be given out");
        ErrorCode::COORDINATOR_NOT_AVAILABLE
    })?;
    let Some(transactional_id) = request.transactional_id else {
        // An idempotent producer that lost its place simply becomes a new one (KIP-360).
        return Ok(ProducerGrant {
            error: ErrorCode::NONE,
            producer_id: fresh_producer_id,
            producer_epoch: 0,
        });
    };
    let transactional_id = transactional_id.detached();
    let command = Command::InitProducer(InitProducer {
        version: call.version,
        transactional_id: transactional_id.clone(),
        timeout_ms: request.transaction_timeout_ms,
        current,
        fresh_producer_id,
    });
    match call.context.coordinators.transaction(&transactional_id, &call.patience, command).await? {
        Reply::Initialised(grant) => {
            if grant.producer_id != fresh_producer_id {
                call.context.producer_ids.give_back(fresh_producer_id);
            }
            Ok(grant)
        }
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

/// The identity the caller has already: both parts or none.
fn current(producer_id: i64, producer_epoch: i16) -> Result<Option<(i64, i16)>, ErrorCode> {
    match (producer_id, producer_epoch) {
        (-1, -1) => Ok(None),
        (0.., 0..) => Ok(Some((producer_id, producer_epoch))),
        _ => Err(ErrorCode::INVALID_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_both_parts_or_none() {
        assert_eq!(current(-1, -1), Ok(None));
        assert_eq!(current(7, 0), Ok(Some((7, 0))));
        for (id, epoch) in [(7, -1), (-1, 3), (-2, -1), (0, -2)] {
            assert_eq!(current(id, epoch), Err(ErrorCode::INVALID_REQUEST));
        }
    }
}
