//! Between the machines' records and the batches of their logs.

use bytes::Bytes;
use logmill_coordinator::{KeyValue, SchemaError};
use logmill_coordinator::{groups, transactions};
use logmill_record::Batch;
use logmill_record::builder::{BatchBuilder, BatchOptions, ProducerStamp};

/// The batches of a group step: records of one transaction stand together in a transactional batch.
pub(super) fn group_batches(now: i64, records: &[groups::Record]) -> Result<Vec<Batch>, SchemaError> {
    let producer = |record: &groups::Record| match record {
        groups::Record::Offset { producer, .. } => *producer,
        groups::Record::Group { .. } | groups::Record::Consumer { .. } => None,
    };
    records
        .chunk_by(|a, b| producer(a) == producer(b))
        .map(|records| {
            let stamp = producer(&records[0]);
            let mut batch = BatchBuilder::new(BatchOptions {
                producer: stamp.map(|(id, epoch)| ProducerStamp { id, epoch, sequence: -1 }),
                transactional: stamp.is_some(),
                ..BatchOptions::default()
            });
            for record in records {
                push(&mut batch, now, &record.encode()?);
            }
            Ok(batch.build())
        })
        .collect()
}

/// The batch of a transaction step's state records, if it has any, as the finalised level of
/// `transaction.version` has them written.
pub(super) fn transaction_batch(
    now: i64,
    records: &[transactions::Record],
    level: i16,
) -> Result<Option<Batch>, SchemaError> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for record in records {
        if let Some(pair) = record.encode(level)? {
            push(&mut batch, now, &pair);
        }
    }
    Ok((!batch.is_empty()).then(|| batch.build()))
}

fn push(batch: &mut BatchBuilder, now: i64, pair: &KeyValue) {
    batch.push(now, Some(&pair.key), pair.value.as_deref(), &[]);
}

/// Reads a record of `__consumer_offsets`; `None` for kinds of groups that there are none of here.
pub(super) fn decode_group(
    key: Option<Bytes>,
    value: Option<Bytes>,
    producer: Option<(i64, i16)>,
) -> Result<Option<groups::Record>, SchemaError> {
    unless_unknown(groups::Record::decode(key, value, producer))
}

/// Reads a record of `__transaction_state`; `None` for kinds that it does not know.
pub(super) fn decode_transaction(
    key: Option<Bytes>,
    value: Option<Bytes>,
) -> Result<Option<transactions::Record>, SchemaError> {
    unless_unknown(transactions::Record::decode(key, value))
}

fn unless_unknown<T>(decoded: Result<T, SchemaError>) -> Result<Option<T>, SchemaError> {
    match decoded {
        Ok(record) => Ok(Some(record)),
        Err(SchemaError::UnknownKind { kind }) => {
            tracing::debug!(kind, "a record of another group protocol is passed over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
