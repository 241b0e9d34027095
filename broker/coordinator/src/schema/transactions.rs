//! `__transaction_state`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use logmill_wire::records::transaction_state::{PartitionsSchema, TransactionLogKey, TransactionLogValue};
use logmill_wire::records::{decode, encode};

use super::{KeyValue, SchemaError, unreadable};
use crate::Str;
use crate::transactions::{Record, TopicPartition, Transaction, TransactionState};

const KEY_VERSION: i16 = 0;
/// The version that every broker reads.
const OLDEST_VALUE: i16 = 0;
/// The version that has room for the producer ids before and after.
const VALUE_VERSION: i16 = 1;

impl Record {
    /// The record as Kafka writes it; `None` for a marker, which is a control batch in another partition.
    ///
    /// `level` is the finalised level of `transaction.version`. At 0 the oldest version is written, but not
    /// where it would lose what the newer one says: a client of KIP-890 may have begun before the level was
    /// lowered.
    pub fn encode(&self, level: i16) -> Result<Option<KeyValue>, SchemaError> {
        let Record::State { transactional_id, value } = self else { return Ok(None) };
        let key = TransactionLogKey { transactional_id: transactional_id.clone() };
        let written = |value: &Transaction| {
            let value = TransactionLogValue::from(value);
            let version = if level > 0 || says_more(&value) { VALUE_VERSION } else { OLDEST_VALUE };
            encode(&value, version)
        };
        let value = value.as_ref().map(written).transpose()?;
        Ok(Some(KeyValue { key: encode(&key, KEY_VERSION)?, value }))
    }

    /// Reads a record back.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<Record, SchemaError> {
        let key = key.ok_or(SchemaError::NoKey)?;
        let kind = key.get(..2).map(|kind| i16::from_be_bytes([kind[0], kind[1]]));
        if let Some(kind) = kind.filter(|kind| *kind != KEY_VERSION) {
            return Err(SchemaError::UnknownKind { kind });
        }
        let TransactionLogKey { transactional_id } = decode(key).map_err(unreadable("key"))?;
        let transactional_id = transactional_id.detached();
        let value: Option<TransactionLogValue> =
            value.map(decode).transpose().map_err(unreadable("value"))?;
        let value = value.map(|value| transaction(&transactional_id, value)).transpose()?;
        Ok(Record::State { transactional_id, value })
    }
}

/// Whether the oldest version has no room for something.
fn says_more(value: &TransactionLogValue) -> bool {
    let oldest = TransactionLogValue::default();
    value.previous_producer_id != oldest.previous_producer_id
        || value.next_producer_id != oldest.next_producer_id
        || value.client_transaction_version != oldest.client_transaction_version
        || value.next_producer_epoch != oldest.next_producer_epoch
}

fn transaction(transactional_id: &Str, value: TransactionLogValue) -> Result<Transaction, SchemaError> {
    let status = value.transaction_status;
    let state = usize::try_from(status).ok().and_then(|status| TransactionState::ALL.get(status).copied());
    let mut partitions = BTreeSet::new();
    for PartitionsSchema { topic, partition_ids } in value.transaction_partitions.unwrap_or_default() {
        let topic = topic.detached();
        partitions.extend(
            partition_ids.into_iter().map(|partition| TopicPartition { topic: topic.clone(), partition }),
        );
    }
    Ok(Transaction {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        producer_epoch: value.producer_epoch,
        next_producer_epoch: value.next_producer_epoch,
        timeout_ms: value.transaction_timeout_ms,
        state: state.ok_or_else(|| SchemaError::UnknownState {
            transactional_id: transactional_id.to_string(),
            status,
        })?,
        partitions,
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    })
}

impl From<&Transaction> for TransactionLogValue {
    fn from(transaction: &Transaction) -> Self {
        let mut by_topic: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
        for TopicPartition { topic, partition } in &transaction.partitions {
            by_topic.entry(topic).or_default().push(*partition);
        }
        let partitions = by_topic
            .into_iter()
            .map(|(topic, partition_ids)| PartitionsSchema { topic: topic.clone(), partition_ids })
            .collect();
        TransactionLogValue {
            producer_id: transaction.producer_id,
            previous_producer_id: transaction.previous_producer_id,
            next_producer_id: transaction.next_producer_id,
            producer_epoch: transaction.producer_epoch,
            transaction_timeout_ms: transaction.timeout_ms,
            transaction_status: transaction.state as i8,
            transaction_partitions: (transaction.state != TransactionState::Empty).then_some(partitions),
            transaction_last_update_timestamp_ms: transaction.updated,
            transaction_start_timestamp_ms: transaction.started,
            client_transaction_version: transaction.client_version,
            next_producer_epoch: transaction.next_producer_epoch,
        }
    }
}
