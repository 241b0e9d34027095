//! Between the machines' records and the batches of their logs.

use logmill_coordinator::{groups, schema, transactions};
use logmill_record::Batch;
use logmill_record::builder::{BatchBuilder, BatchOptions, ProducerStamp};

/// A record of a coordinator's log that this binary cannot read.
pub(super) type LogRecordError = schema::SchemaError;

/// The batches of a group step: records of one transaction stand together in a transactional batch.
pub(super) fn group_batches(now: i64, records: &[groups::Record]) -> Vec<Batch> {
    let producer = |record: &groups::Record| match record {
        groups::Record::Offset { producer, .. } => *producer,
        groups::Record::Group { .. } => None,
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
                let (key, value) = schema::encode_group(record);
                batch.push(now, Some(&key), value.as_deref(), &[]);
            }
            batch.build()
        })
        .collect()
}

/// The batch of a transaction step's state records, if it has any.
pub(super) fn transaction_batch(now: i64, records: &[transactions::Record]) -> Option<Batch> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for record in records {
        if let Some((key, value)) = schema::encode_transaction(record) {
            batch.push(now, Some(&key), value.as_deref(), &[]);
        }
    }
    (!batch.is_empty()).then(|| batch.build())
}

/// Reads a record of `__consumer_offsets`; `None` for kinds that classic groups do not have.
pub(super) fn decode_group(
    key: &[u8],
    value: Option<&[u8]>,
    producer: Option<(i64, i16)>,
) -> Result<Option<groups::Record>, LogRecordError> {
    schema::decode_group(key, value, producer)
}

/// Reads a record of `__transaction_state`; `None` for kinds that it does not know.
pub(super) fn decode_transaction(
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Option<transactions::Record>, LogRecordError> {
    schema::decode_transaction(key, value)
}
