//! One member of a live group.

use bytes::Bytes;

use super::command::Join;
use super::record::StoredMember;
use crate::limits::MAX_NAME_BYTES;
use crate::{RequestId, Str};

/// A member, and the requests it has parked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) id: Str,
    pub(super) instance_id: Option<Str>,
    pub(super) client_id: Str,
    pub(super) client_host: Str,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// What it supports, best first, with its metadata for each.
    pub(super) protocols: Vec<(Str, Bytes)>,
    pub(super) assignment: Bytes,
    /// Its parked join.
    pub(super) joining: Option<RequestId>,
    /// Its parked sync.
    pub(super) syncing: Option<RequestId>,
    /// It has never been told its id: it cannot send heartbeats, only its parked join speaks for it.
    pub(super) is_new: bool,
}

impl Member {
    /// A member as it asks to join, with memory of its own.
    pub(super) fn joining(id: Str, join: &Join, request: RequestId) -> Member {
        Member {
            id,
            instance_id: join.instance_id.as_ref().map(Str::detached),
            client_id: join.client_id.detached(),
            client_host: join.client_host.detached(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout(),
            protocols: join.owned_protocols(),
            assignment: Bytes::new(),
            joining: Some(request),
            syncing: None,
            is_new: true,
        }
    }

    pub(super) fn from_stored(stored: &StoredMember, protocol: &Str) -> Member {
        Member {
            id: stored.member_id.clone(),
            instance_id: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: vec![(protocol.clone(), stored.subscription.clone())],
            assignment: stored.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
        }
    }

    pub(super) fn to_stored(&self, protocol: &str) -> StoredMember {
        StoredMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// Its metadata for a protocol, empty when it does not support it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| **name == *protocol)
            .map(|(_, m)| m.clone())
            .unwrap_or_default()
    }

    /// Whether a parked request speaks for it, so that it owes no heartbeat.
    pub(super) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}

impl Join {
    /// In ms; the session timeout where the request has none (version 0) or none that could be kept.
    pub(super) fn rebalance_timeout(&self) -> i32 {
        if self.rebalance_timeout_ms <= 0 { self.session_timeout_ms } else { self.rebalance_timeout_ms }
    }

    /// Whether something could not be kept.
    pub(super) fn is_too_large(&self, max_member_bytes: usize) -> bool {
        let instance_id = self.instance_id.as_deref().unwrap_or_default();
        let names = [&*self.client_id, &*self.client_host, instance_id, &*self.protocol_type];
        let mut names = names.into_iter().chain(self.protocols.iter().map(|(name, _)| &**name));
        let metadata_bytes: usize = self.protocols.iter().map(|(_, metadata)| metadata.len()).sum();
        names.any(|name| name.len() > MAX_NAME_BYTES) || metadata_bytes > max_member_bytes
    }

    /// The protocols, in memory that is not the request's.
    pub(super) fn owned_protocols(&self) -> Vec<(Str, Bytes)> {
        self.protocols
            .iter()
            .map(|(name, metadata)| (name.detached(), Bytes::copy_from_slice(metadata)))
            .collect()
    }
}
