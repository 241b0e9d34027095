//! One file for each Kafka API: thin translations between Kafka's words and ours. APIs that belong together
//! and have one short answer (ACLs, delegation tokens, SCRAM, quotas) share one.
//!
//! A handler decides nothing about logs, groups or transactions; it asks the part that does and says the
//! answer in the version the client speaks. Error codes are chosen in one function for each family:
//! [`produce`], [`fetch`], [`topic_errors`], [`config_resources`]; groups and transactions bring Kafka's codes themselves.

pub(crate) mod acls;
pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod api_versions;
pub(crate) mod client_quotas;
mod committed_topics;
mod config_resources;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delegation_tokens;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
mod groups;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;
mod topic_errors;
pub(crate) mod txn_offset_commit;
pub(crate) mod unregister_broker;
pub(crate) mod update_features;
pub(crate) mod user_scram_credentials;
pub(crate) mod write_txn_markers;

use logmill_wire::Str;

use crate::context::Context;
use crate::coordinators::Patience;
use crate::dispatch::Session;
use crate::security::Access;

/// The most characters of a message's beginning, and of its end, that a client is told.
const TOLD: usize = 200;

/// What a client is told in words. Whatever of its own it quotes is cut in the middle: in versions that are not flexible a
/// string has 32,767 bytes at most, and an answer that cannot be written costs the connection.
pub(crate) fn told(message: &str) -> Str {
    let start = message.char_indices().nth(TOLD).map(|(at, _)| at);
    let end = message.char_indices().nth_back(TOLD - 1).map(|(at, _)| at);
    match (start, end) {
        (Some(start), Some(end)) if end > start + TOLD => {
            Str::from(format!("{} … {}", &message[..start], &message[end..]))
        }
        _ => Str::from(message),
    }
}

/// One request's circumstances.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context,
    pub(crate) access: &'a Access,
    pub(crate) session: &'a mut Session,
    pub(crate) version: i16,
    /// With coordinators that are being loaded.
    pub(crate) patience: Patience,
    /// As the client calls itself; a slice of the request's frame.
    pub(crate) client_id: Str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_keep_their_beginning_and_their_end() {
        assert_eq!(&*told("topic \"t\" is not there"), "topic \"t\" is not there");
        for letter in ["x", "é", "汉", "🦀"] {
            let name = letter.repeat(40_000);
            let said = told(&format!("topic {name:?} is not there"));
            assert!(said.starts_with("topic \"") && said.ends_with("\" is not there"), "{said}");
            assert!(said.contains(&format!("{letter} … {letter}")), "{said}");
            assert!(said.chars().count() == 2 * TOLD + 3, "{said}");
        }
    }
}
