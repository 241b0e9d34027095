//! What a transactional producer says to the coordinators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logmill_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use logmill_wire::messages::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use logmill_wire::messages::end_txn::EndTxnRequest;
use logmill_wire::messages::init_producer_id::InitProducerIdRequest;
use logmill_wire::messages::produce::ProduceRequest;
use logmill_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use logmill_wire::{ErrorCode, Str};

use crate::cluster::{Ask, Cluster, Coordinated, Lane, To};
use crate::consumer::GroupMembership;
use crate::error::{Error, Result};
use crate::producer::ProducerIdentity;
use crate::transport::backoff::Deadline;

/// Produce, TxnOffsetCommit and EndTxn in these versions make the newer protocol (KIP-890).
const PRODUCE_IMPLICIT: i16 = 12;
const OFFSETS_IMPLICIT: i16 = 5;
const END_WITH_EPOCH: i16 = 5;

#[derive(Debug)]
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    lane: Lane,
    id: String,
    timeout: Duration,
    patience: Duration,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.cluster.drop_lane(self.lane);
    }
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>, id: String, timeout: Duration, patience: Duration) -> Self {
        let lane = cluster.new_lane();
        Self { cluster, lane, id, timeout, patience }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn to(&self) -> To {
        To::Coordinator(Coordinated::Transaction(self.id.clone()))
    }

    fn ask(&self) -> Ask {
        Ask::new(self.to()).on(self.lane)
    }

    fn deadline(&self, what: &str) -> Deadline {
        Deadline::new(format!("{what} ({})", self.id), self.patience)
    }

    fn check(&self, code: ErrorCode, what: &str) -> Result<()> {
        let operation = || format!("{what} ({})", self.id);
        match code {
            ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH => {
                Err(Error::Fenced { operation: operation() })
            }
            code => Error::check(code, None, operation),
        }
    }

    /// Gets a producer id and epoch. `previous` is the identity to go on from; without it whoever holds the id
    /// is fenced.
    pub(crate) async fn init(&self, previous: Option<ProducerIdentity>) -> Result<ProducerIdentity> {
        const WHAT: &str = "starting a transactional producer";
        let request = |version| {
            // Version 3 knows the previous identity (KIP-360).
            let previous = previous.filter(|_| version >= 3);
            InitProducerIdRequest {
                transactional_id: Some(Str::from(&self.id)),
                transaction_timeout_ms: i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX),
                producer_id: previous.map_or(-1, |identity| identity.id),
                producer_epoch: previous.map_or(-1, |identity| identity.epoch),
            }
        };
        self.cluster
            .ask(&self.ask().at_most(5), &mut self.deadline(WHAT), request, |response, _| {
                self.check(response.error_code, WHAT)?;
                Ok(ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch })
            })
            .await
    }

    /// Whether the newer protocol is to be used: finalised by the broker, and spoken by both.
    pub(crate) async fn protocol2(&self) -> Result<bool> {
        let mut deadline = self.deadline("finding the transaction protocol");
        loop {
            match self.cluster.locate(&self.to(), self.lane).await {
                Ok(connection) => {
                    let speaks = |version: Result<i16>, least| version.is_ok_and(|version| version >= least);
                    return Ok(connection.versions().transactions_v2()
                        && speaks(connection.version::<ProduceRequest>(PRODUCE_IMPLICIT), PRODUCE_IMPLICIT)
                        && speaks(
                            connection.version::<TxnOffsetCommitRequest>(OFFSETS_IMPLICIT),
                            OFFSETS_IMPLICIT,
                        )
                        && speaks(connection.version::<EndTxnRequest>(END_WITH_EPOCH), END_WITH_EPOCH));
                }
                Err(error) => deadline.retry(error, self.cluster.chance()).await?,
            }
        }
    }

    /// Announces a partition (older protocol).
    pub(crate) async fn add_partition(
        &self,
        identity: ProducerIdentity,
        topic: &str,
        partition: i32,
    ) -> Result<()> {
        const WHAT: &str = "adding a partition to the transaction";
        let request = |_| AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: Str::from(&self.id),
            v3_and_below_producer_id: identity.id,
            v3_and_below_producer_epoch: identity.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: Str::from(topic),
                partitions: vec![partition],
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        // From version 4 on the request is for brokers.
        self.cluster
            .ask(&self.ask().at_most(3), &mut self.deadline(WHAT), request, |response, _| {
                let topics = &response.results_by_topic_v3_and_below;
                for result in topics.iter().flat_map(|topic| &topic.results_by_partition) {
                    self.check(result.partition_error_code, WHAT)?;
                }
                Ok(())
            })
            .await
    }

    /// Announces a group (older protocol).
    pub(crate) async fn add_offsets(&self, identity: ProducerIdentity, group: &str) -> Result<()> {
        const WHAT: &str = "adding a group to the transaction";
        let request = |_| AddOffsetsToTxnRequest {
            transactional_id: Str::from(&self.id),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            group_id: Str::from(group),
        };
        self.cluster
            .ask(&self.ask(), &mut self.deadline(WHAT), request, |response, _| {
                self.check(response.error_code, WHAT)
            })
            .await
    }

    /// Tells the group's coordinator the offsets that are to be committed with the transaction.
    pub(crate) async fn commit_offsets(
        &self,
        identity: ProducerIdentity,
        membership: &GroupMembership,
        offsets: &[(&str, i32, i64)],
        protocol2: bool,
    ) -> Result<()> {
        const WHAT: &str = "sending offsets to the transaction";
        let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for (topic, partition, offset) in offsets {
            topics.entry(topic).or_default().push(TxnOffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_metadata: Some(Str::default()),
                ..TxnOffsetCommitRequestPartition::default()
            });
        }
        let request = |version| {
            let mut request = TxnOffsetCommitRequest {
                transactional_id: Str::from(&self.id),
                group_id: Str::from(&membership.group),
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                topics: topics
                    .iter()
                    .map(|(topic, partitions)| TxnOffsetCommitRequestTopic {
                        name: Str::from(*topic),
                        partitions: partitions.clone(),
                        ..TxnOffsetCommitRequestTopic::default()
                    })
                    .collect(),
                ..TxnOffsetCommitRequest::default()
            };
            // Before version 3 a member cannot be fenced by its generation.
            if version >= 3 {
                request.generation_id = membership.generation;
                request.member_id = Str::from(&membership.member_id);
                request.group_instance_id = membership.instance_id.as_ref().map(Str::from);
            }
            request
        };
        let group = Coordinated::Group(membership.group.clone());
        let highest = if protocol2 { OFFSETS_IMPLICIT } else { OFFSETS_IMPLICIT - 1 };
        let ask = Ask::new(To::Coordinator(group)).on(self.lane).at_most(highest);
        self.cluster
            .ask(&ask, &mut self.deadline(WHAT), request, |response, _| {
                for result in response.topics.iter().flat_map(|topic| &topic.partitions) {
                    let code = result.error_code;
                    // In the newer protocol that is also what a producer hears whose transaction has timed out; whether
                    // it is fenced, the transaction's end tells.
                    if protocol2 && code == ErrorCode::INVALID_PRODUCER_EPOCH {
                        Error::check(code, None, || format!("{WHAT} ({})", self.id))?;
                    }
                    self.check(code, WHAT)?;
                }
                Ok(())
            })
            .await
    }

    /// Ends the transaction. Gives the identity to go on with, when the broker has given a new one.
    pub(crate) async fn end(
        &self,
        identity: ProducerIdentity,
        commit: bool,
        protocol2: bool,
    ) -> Result<Option<ProducerIdentity>> {
        let what = if commit { "committing the transaction" } else { "aborting the transaction" };
        let request = |_| EndTxnRequest {
            transactional_id: Str::from(&self.id),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            committed: commit,
        };
        let highest = if protocol2 { END_WITH_EPOCH } else { END_WITH_EPOCH - 1 };
        self.cluster
            .ask(&self.ask().at_most(highest), &mut self.deadline(what), request, |response, version| {
                self.check(response.error_code, what)?;
                let next = ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch };
                Ok((version >= END_WITH_EPOCH && next.id >= 0).then_some(next))
            })
            .await
    }
}
