//! What is remembered of a connection between its requests.

use crate::handlers::fetch::FetchSession;
use crate::net::Peer;
use crate::security::Principal;

/// One connection's memory.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    principal: Principal,
    /// The incremental fetch session of this connection (KIP-227), if there is one.
    pub(crate) fetch: Option<FetchSession>,
}

impl Session {
    pub(super) fn new(peer: Peer) -> Self {
        Self { peer, principal: Principal::anonymous(), fetch: None }
    }

    /// Who calls.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Where from, as Kafka's tools show it: `/127.0.0.1`.
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.peer.address.ip())
    }
}
