//! What the handlers of the group APIs have in common.

use logmill_coordinator::groups::{Command, Reply};
use logmill_wire::{ErrorCode, Str};

use super::Call;

/// Kafka's name for a group command's answer of another kind than was asked for: a defect of ours.
pub(super) const WRONG_ANSWER: ErrorCode = ErrorCode::UNKNOWN_SERVER_ERROR;

/// Asks the machine of a group, and takes the part of the answer that belongs to the question.
pub(super) async fn ask<T>(
    call: &Call<'_>,
    group: &Str,
    command: Command,
    answer: impl FnOnce(Reply) -> Option<T>,
) -> Result<T, ErrorCode> {
    let reply = call.context.coordinators.group(group, &call.patience, command).await?;
    answer(reply).ok_or(WRONG_ANSWER)
}
