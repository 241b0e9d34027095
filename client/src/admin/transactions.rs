//! Transactions: which there are, where they stand, and how one that hangs is ended.

use std::time::Duration;

use logmill_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use logmill_wire::messages::describe_transactions::DescribeTransactionsRequest;
use logmill_wire::messages::init_producer_id::InitProducerIdRequest;
use logmill_wire::messages::list_transactions::ListTransactionsRequest;
use logmill_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use logmill_wire::{ErrorCode, Str};

use super::Admin;
use crate::cluster::{Ask, Coordinated, To};
use crate::error::{Error, Result};

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: String,
    /// The producer that has it.
    pub producer_id: i64,
    /// Its state, such as `Ongoing` or `CompleteCommit`.
    pub state: String,
}

/// A transactional id, and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The id.
    pub transactional_id: String,
    /// Its state, such as `Ongoing` or `CompleteCommit`.
    pub state: String,
    /// The producer that has it.
    pub producer_id: i64,
    /// That producer's epoch.
    pub producer_epoch: i16,
    /// How long a transaction may take before the broker aborts it.
    pub timeout: Duration,
    /// When the open transaction began, in ms since the epoch.
    pub started: Option<i64>,
    /// What the open transaction has written to, by topic and partition.
    pub partitions: Vec<(String, i32)>,
}

/// A producer that a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence of its last record.
    pub last_sequence: Option<i32>,
    /// The timestamp of its last record, in ms since the epoch.
    pub last_timestamp: Option<i64>,
    /// The epoch of the coordinator that ended its last transaction.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins in the partition.
    pub transaction_start: Option<i64>,
}

impl Admin {
    /// Transactional ids, by id: those in one of `states`, or in any when there is none; with `longer_than`, those whose
    /// transaction has been open for longer.
    ///
    /// # Errors
    /// When no broker answers in time, knows no such state, or is too old to know how long a transaction is open.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list_transactions(
        &self,
        states: &[&str],
        longer_than: Option<Duration>,
    ) -> Result<Vec<TransactionListing>> {
        let operation = || "listing transactions".to_owned();
        let mut deadline = self.deadline(operation());
        let duration = longer_than.map_or(-1, |longer| i64::try_from(longer.as_millis()).unwrap_or(i64::MAX));
        // Every broker lists those it coordinates.
        let cluster = self.describe_cluster().await?;
        let mut listed = Vec::new();
        for broker in cluster.brokers {
            let request = |_| ListTransactionsRequest {
                state_filters: states.iter().map(|state| Str::from(*state)).collect(),
                duration_filter: duration,
                ..ListTransactionsRequest::default()
            };
            let ask = Ask::new(To::Broker(broker.id));
            let found = self.cluster.ask(&ask, &mut deadline, request, |response, _| {
                Error::check(response.error_code, None, operation)?;
                if let Some(state) = response.unknown_state_filters.first() {
                    return Err(Error::InvalidArgument(format!("{state} is no state of a transaction")));
                }
                Ok(response.transaction_states)
            });
            listed.extend(found.await?.into_iter().map(|state| TransactionListing {
                transactional_id: state.transactional_id.to_string(),
                producer_id: state.producer_id,
                state: state.transaction_state.to_string(),
            }));
        }
        listed.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(listed)
    }

    /// One transactional id.
    ///
    /// # Errors
    /// TRANSACTIONAL_ID_NOT_FOUND when nobody uses it, or has for a long time; when its coordinator does not answer in
    /// time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_transaction(&self, transactional_id: &str) -> Result<TransactionDescription> {
        let operation = || format!("describing transactional id {transactional_id}");
        let ask = Ask::new(To::Coordinator(Coordinated::Transaction(transactional_id.to_owned())));
        let request =
            |_| DescribeTransactionsRequest { transactional_ids: vec![Str::from(transactional_id)] };
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                let found = response.transaction_states.into_iter().next().unwrap_or_default();
                Error::check(found.error_code, None, operation)?;
                let partitions = found.topics.iter().flat_map(|topic| {
                    topic.partitions.iter().map(|partition| (topic.topic.to_string(), *partition))
                });
                let mut partitions: Vec<_> = partitions.collect();
                partitions.sort();
                Ok(TransactionDescription {
                    transactional_id: transactional_id.to_owned(),
                    state: found.transaction_state.to_string(),
                    producer_id: found.producer_id,
                    producer_epoch: found.producer_epoch,
                    timeout: Duration::from_millis(u64::try_from(found.transaction_timeout_ms).unwrap_or(0)),
                    started: (found.transaction_start_time_ms >= 0)
                        .then_some(found.transaction_start_time_ms),
                    partitions,
                })
            })
            .await
    }

    /// The producers that a partition remembers, by id.
    ///
    /// # Errors
    /// When the partition does not exist, or its leader does not answer in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_producers(&self, topic: &str, partition: i32) -> Result<Vec<ProducerDescription>> {
        let operation = || format!("describing the producers of {topic}-{partition}");
        let request = |_| DescribeProducersRequest {
            topics: vec![TopicRequest { name: Str::from(topic), partition_indexes: vec![partition] }],
        };
        let ask = Ask::new(To::Leader(topic.to_owned(), partition));
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                let found =
                    response.topics.into_iter().flat_map(|topic| topic.partitions).next().unwrap_or_default();
                Error::check(found.error_code, found.error_message.as_deref(), operation)?;
                let mut producers: Vec<ProducerDescription> = found
                    .active_producers
                    .iter()
                    .map(|producer| ProducerDescription {
                        producer_id: producer.producer_id,
                        producer_epoch: producer.producer_epoch,
                        last_sequence: (producer.last_sequence >= 0).then_some(producer.last_sequence),
                        last_timestamp: (producer.last_timestamp >= 0).then_some(producer.last_timestamp),
                        coordinator_epoch: (producer.coordinator_epoch >= 0)
                            .then_some(producer.coordinator_epoch),
                        transaction_start: (producer.current_txn_start_offset >= 0)
                            .then_some(producer.current_txn_start_offset),
                    })
                    .collect();
                producers.sort_by_key(|producer| producer.producer_id);
                Ok(producers)
            })
            .await
    }

    /// Aborts the transaction that begins at an offset of a partition, there alone: for one that hangs, which its
    /// coordinator no longer knows of. Readers of committed records go on.
    ///
    /// # Errors
    /// When no open transaction begins there; what the partition's leader says against it; when the time is over.
    ///
    /// # Cancel safety
    /// It may be aborted or not.
    pub async fn abort_transaction(&self, topic: &str, partition: i32, start_offset: i64) -> Result<()> {
        let operation =
            || format!("aborting the transaction at offset {start_offset} of {topic}-{partition}");
        let producers = self.describe_producers(topic, partition).await?;
        let begins_there = |producer: &&ProducerDescription| producer.transaction_start == Some(start_offset);
        let Some(producer) = producers.iter().find(begins_there) else {
            let reason =
                format!("no open transaction begins at offset {start_offset} of {topic}-{partition}");
            return Err(Error::InvalidArgument(reason));
        };
        let Ok(producer_epoch) = i16::try_from(producer.producer_epoch) else {
            let reason = format!("{} is no epoch of a producer", producer.producer_epoch);
            return Err(Error::InvalidArgument(reason));
        };
        let request = |_| WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.producer_id,
                producer_epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: Str::from(topic),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch: producer.coordinator_epoch.unwrap_or(0),
                ..WritableTxnMarker::default()
            }],
        };
        let ask = Ask::new(To::Leader(topic.to_owned(), partition));
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
                let code = topics.flat_map(|topic| topic.partitions).next().map(|done| done.error_code);
                Error::check(code.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR), None, operation)
            })
            .await
    }

    /// Takes a transactional id from the producer that has it: its open transaction is aborted, and whatever it still
    /// sends is refused. The next producer with this id goes on as usual.
    ///
    /// # Errors
    /// TRANSACTIONAL_ID_NOT_FOUND when nobody uses it; when its coordinator refuses, or does not answer in time.
    ///
    /// # Cancel safety
    /// The producer may be fenced or not.
    pub async fn fence_producer(&self, transactional_id: &str) -> Result<()> {
        let operation = || format!("fencing the producer of transactional id {transactional_id}");
        let timeout = self.describe_transaction(transactional_id).await?.timeout;
        let transaction_timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let request = |_| InitProducerIdRequest {
            transactional_id: Some(Str::from(transactional_id)),
            transaction_timeout_ms,
            ..InitProducerIdRequest::default()
        };
        let ask = Ask::new(To::Coordinator(Coordinated::Transaction(transactional_id.to_owned()))).at_most(5);
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                Error::check(response.error_code, None, operation)
            })
            .await
    }
}
