//! UnregisterBroker: there is no other broker to forget, and this one cannot be.

use logmill_wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use logmill_wire::{ErrorCode, Str};

use super::Call;

pub(crate) async fn handle(call: Call<'_>, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let (error_code, message) = match request.broker_id {
        id if id == call.context.node.node_id => {
            (ErrorCode::INVALID_REQUEST, "this is the only broker, and it is running".to_owned())
        }
        id => (ErrorCode::BROKER_ID_NOT_REGISTERED, format!("Broker ID {id} is not currently registered")),
    };
    UnregisterBrokerResponse {
        error_code,
        error_message: Some(Str::from(message)),
        ..UnregisterBrokerResponse::default()
    }
}
