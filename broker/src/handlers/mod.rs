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
use crate::dispatch::Session;
use crate::security::Access;

/// One request's circumstances.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a Context,
    pub(crate) access: &'a Access,
    pub(crate) session: &'a mut Session,
    pub(crate) version: i16,
    /// As the client calls itself; a slice of the request's frame.
    pub(crate) client_id: Str,
}
