//! From a frame to its handler and back.
//!
//! ```text
//! frame ─► header ─► version served? ─► principal, authorisation ─► decode ─► handler ─► encode
//! ```
//!
//! The rules of negotiation (`ApiVersions` in an unknown version is answered in version 0, everything else
//! that we do not speak closes the connection) are here; what an API means is in `handlers`.

pub mod advertised;
mod session;

pub use session::Session;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use logmill_wire::frame::{RequestHeader, encode_response};
use logmill_wire::messages;
use logmill_wire::{ApiKey, Decoder, Request, Response};

use self::advertised::{Verdict, negotiate};
use crate::context::Context;
use crate::coordinators::Patience;
use crate::handlers::{self, Call};
use crate::net::{Answer, CloseReason, HeldMemory, MemoryBudget, Peer, Reply, Served, Service, Turn};
use crate::security::Access;
use crate::telemetry::Telemetry;

/// Serves Kafka requests.
pub struct Dispatch {
    context: Arc<Context>,
    access: Access,
    /// What responses that wait for their peers may hold of records.
    response_memory: MemoryBudget,
    telemetry: Arc<Telemetry>,
}

impl Dispatch {
    /// The door to everything the handlers may use.
    ///
    /// `response_bytes` is what all responses together may hold of records until their peers have taken them. Those of
    /// the recent past are shared with the log's memory at first, but a response keeps them when the log lets go; older
    /// ones are read into memory of their own. Beyond it a fetch still gets one batch at a time.
    #[must_use]
    pub(crate) fn new(context: Context, telemetry: Arc<Telemetry>, response_bytes: usize) -> Self {
        let response_memory = MemoryBudget::new(response_bytes);
        Self { context: Arc::new(context), access: Access, response_memory, telemetry }
    }

    /// The budget of the records in responses.
    pub(crate) fn response_memory(&self) -> MemoryBudget {
        self.response_memory.clone()
    }
}

/// What is needed to answer: the request's number and version, and who counts answers.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) correlation_id: i32,
    pub(crate) version: i16,
    telemetry: Arc<Telemetry>,
    began: Instant,
}

impl Envelope {
    /// The request is done without an answer.
    pub(crate) fn unanswered(&self, api: ApiKey) {
        self.telemetry.requests.unanswered(api, self.began.elapsed());
    }

    /// The response as it goes out.
    pub(crate) fn answer<R: Response>(self, response: &R) -> Reply {
        self.answer_holding(response, None)
    }

    /// The response as it goes out, with memory that is given back once it is written.
    fn answer_holding<R: Response>(self, response: &R, held: Option<HeldMemory>) -> Reply {
        self.telemetry.requests.answered(response, self.began.elapsed());
        match encode_response(self.correlation_id, response, self.version) {
            Ok(segments) => Reply::Answer(Answer { segments: segments.into_vec(), held }),
            Err(error) => {
                tracing::error!(api = %R::KEY, version = self.version, %error, "a response cannot be encoded");
                Reply::Close(CloseReason::Unanswerable(error.to_string()))
            }
        }
    }
}

impl Service for Dispatch {
    type Session = Session;

    fn open(&self, peer: Peer) -> Session {
        Session::new(peer)
    }

    fn turn(&self, request: &[u8]) -> Turn {
        let api = request.first_chunk().and_then(|&code| ApiKey::from_code(i16::from_be_bytes(code)));
        match api {
            Some(ApiKey::Produce) => Turn::Overlaps,
            Some(ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup) => Turn::Parks,
            _ => Turn::Alone,
        }
    }

    async fn serve<'a>(&'a self, session: &'a mut Session, request: Bytes) -> Served {
        match self.route(session, request).await {
            Ok(served) => served,
            Err(reason) => {
                self.telemetry.requests.refused(&reason);
                Served::Now(Reply::Close(reason))
            }
        }
    }
}

/// Reads a request's body. Bytes behind it are ignored, as Kafka ignores them: librdkafka 2.16 sends three
/// with a Metadata request for all topics.
fn decode<R: Request>(mut decoder: Decoder, version: i16) -> Result<R, CloseReason> {
    R::decode(&mut decoder, version).map_err(|error| CloseReason::Malformed(error.to_string()))
}

impl Dispatch {
    async fn route(&self, session: &mut Session, request: Bytes) -> Result<Served, CloseReason> {
        let mut decoder = Decoder::new(request);
        let header =
            RequestHeader::decode(&mut decoder).map_err(|error| CloseReason::Malformed(error.to_string()))?;
        let version = header.api_version;
        let envelope = Envelope {
            correlation_id: header.correlation_id,
            version,
            telemetry: Arc::clone(&self.telemetry),
            began: Instant::now(),
        };
        let api = match negotiate(header.api_key, version) {
            Verdict::Serve(api) => api,
            Verdict::TellVersions => {
                self.telemetry.requests.begun(ApiKey::ApiVersions);
                let oldest = Envelope { version: 0, ..envelope };
                return Ok(Served::Now(oldest.answer(&handlers::api_versions::unknown_version())));
            }
            Verdict::Refuse => {
                return Err(CloseReason::Unsupported { api_key: header.api_key, api_version: version });
            }
        };
        if !self.access.admits(session.principal(), api) {
            return Err(CloseReason::Forbidden { api_key: header.api_key });
        }
        self.telemetry.requests.begun(api);
        if api == ApiKey::Produce {
            // Nothing of the frame but the batches may be held when they are sequenced: see the handler.
            drop(header);
            let request: messages::ProduceRequest = decode(decoder, version)?;
            return Ok(handlers::produce::handle(&self.context, envelope, request).await);
        }
        let call = Call {
            context: &self.context,
            access: &self.access,
            session,
            version,
            patience: Patience::default(),
            client_id: header.client_id.unwrap_or_default(),
        };
        self.answer(api, call, envelope, decoder).await.map(Served::Now)
    }

    /// The one place that names a handler for each API.
    async fn answer(
        &self,
        api: ApiKey,
        call: Call<'_>,
        envelope: Envelope,
        decoder: Decoder,
    ) -> Result<Reply, CloseReason> {
        macro_rules! handle {
            ($handler:ident) => {
                handle!($handler::handle)
            };
            ($module:ident :: $handler:ident) => {{
                let request = decode(decoder, envelope.version)?;
                envelope.answer(&handlers::$module::$handler(call, request).await)
            }};
        }
        Ok(match api {
            ApiKey::Fetch => {
                let request = decode(decoder, envelope.version)?;
                let (response, held) = handlers::fetch::handle(call, request, &self.response_memory).await;
                envelope.answer_holding(&response, held)
            }
            ApiKey::ListOffsets => handle!(list_offsets),
            ApiKey::Metadata => handle!(metadata),
            ApiKey::OffsetCommit => handle!(offset_commit),
            ApiKey::OffsetFetch => handle!(offset_fetch),
            ApiKey::FindCoordinator => handle!(find_coordinator),
            ApiKey::JoinGroup => handle!(join_group),
            ApiKey::Heartbeat => handle!(heartbeat),
            ApiKey::LeaveGroup => handle!(leave_group),
            ApiKey::SyncGroup => handle!(sync_group),
            ApiKey::DescribeGroups => handle!(describe_groups),
            ApiKey::ListGroups => handle!(list_groups),
            ApiKey::ApiVersions => handle!(api_versions),
            ApiKey::CreateTopics => handle!(create_topics),
            ApiKey::DeleteTopics => handle!(delete_topics),
            ApiKey::DeleteRecords => handle!(delete_records),
            ApiKey::InitProducerId => handle!(init_producer_id),
            ApiKey::OffsetForLeaderEpoch => handle!(offset_for_leader_epoch),
            ApiKey::AddPartitionsToTxn => handle!(add_partitions_to_txn),
            ApiKey::AddOffsetsToTxn => handle!(add_offsets_to_txn),
            ApiKey::EndTxn => handle!(end_txn),
            ApiKey::WriteTxnMarkers => handle!(write_txn_markers),
            ApiKey::TxnOffsetCommit => handle!(txn_offset_commit),
            ApiKey::DescribeConfigs => handle!(describe_configs),
            ApiKey::CreatePartitions => handle!(create_partitions),
            ApiKey::DeleteGroups => handle!(delete_groups),
            ApiKey::OffsetDelete => handle!(offset_delete),
            ApiKey::DescribeCluster => handle!(describe_cluster),
            ApiKey::DescribeProducers => handle!(describe_producers),
            ApiKey::DescribeTransactions => handle!(describe_transactions),
            ApiKey::ListTransactions => handle!(list_transactions),
            ApiKey::ConsumerGroupHeartbeat => handle!(consumer_group_heartbeat),
            ApiKey::ConsumerGroupDescribe => handle!(consumer_group_describe),
            ApiKey::IncrementalAlterConfigs => handle!(incremental_alter_configs),
            ApiKey::AlterConfigs => handle!(alter_configs),
            ApiKey::ListConfigResources => handle!(list_config_resources),
            ApiKey::DescribeTopicPartitions => handle!(describe_topic_partitions),
            ApiKey::DescribeLogDirs => handle!(describe_log_dirs),
            ApiKey::AlterReplicaLogDirs => handle!(alter_replica_log_dirs),
            ApiKey::ElectLeaders => handle!(elect_leaders),
            ApiKey::AlterPartitionReassignments => handle!(alter_partition_reassignments),
            ApiKey::ListPartitionReassignments => handle!(list_partition_reassignments),
            ApiKey::DescribeQuorum => handle!(describe_quorum),
            ApiKey::UpdateFeatures => handle!(update_features),
            ApiKey::UnregisterBroker => handle!(unregister_broker),
            ApiKey::DescribeClientQuotas => handle!(client_quotas::describe),
            ApiKey::AlterClientQuotas => handle!(client_quotas::alter),
            ApiKey::DescribeUserScramCredentials => handle!(user_scram_credentials::describe),
            ApiKey::AlterUserScramCredentials => handle!(user_scram_credentials::alter),
            ApiKey::DescribeAcls => handle!(acls::describe),
            ApiKey::CreateAcls => handle!(acls::create),
            ApiKey::DeleteAcls => handle!(acls::delete),
            ApiKey::CreateDelegationToken => handle!(delegation_tokens::create),
            ApiKey::RenewDelegationToken => handle!(delegation_tokens::renew),
            ApiKey::ExpireDelegationToken => handle!(delegation_tokens::expire),
            ApiKey::DescribeDelegationToken => handle!(delegation_tokens::describe),
            _ => {
                let (api_key, api_version) = (api.code(), envelope.version);
                return Err(CloseReason::Unsupported { api_key, api_version });
            }
        })
    }
}
