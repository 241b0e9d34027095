//! AddOffsetsToTxn: a group's offsets will be part of the transaction.

use logmill_coordinator::transactions::{AddMode, AddOffsets, Command, Reply, TopicPartition};
use logmill_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;
use crate::topics::OFFSETS_TOPIC;

pub(crate) async fn handle(call: Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let error_code = add(&call, request).await.unwrap_or_else(|code| code);
    AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() }
}

async fn add(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> Result<ErrorCode, ErrorCode> {
    let coordinators = &call.context.coordinators;
    let partition = coordinators.ensure_group(&request.group_id, &call.patience).await?;
    let id = request.transactional_id.detached();
    let command = Command::AddOffsets(AddOffsets {
        version: call.version,
        transactional_id: id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        offsets: TopicPartition { topic: Str::from_static(OFFSETS_TOPIC), partition },
        mode: AddMode::Explicit,
    });
    match coordinators.transaction(&id, &call.patience, command).await? {
        Reply::OffsetsAdded(error) => Ok(error),
        _ => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}
