//! Control batches: the markers that end transactions.

use crate::batch::Batch;
use crate::builder::{BatchBuilder, BatchOptions, ProducerStamp};
use crate::compression::Codec;
use crate::error::BatchError;
use crate::header::NO_SEQUENCE;

const KEY_VERSION: i16 = 0;
const TYPE_ABORT: i16 = 0;
const TYPE_COMMIT: i16 = 1;
const VALUE_VERSION: i16 = 0;
/// A marker is never compressed, so nothing needs a budget.
const NO_BUDGET: usize = 0;

/// The record that ends a transaction in one partition.
///
/// Key: version i16 = 0, type i16 (0 abort, 1 commit). Value: version i16, coordinator epoch i32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Commit, or abort.
    pub commit: bool,
    /// Epoch of the transaction coordinator that decided it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The key of the control record.
    pub fn encode_key(&self) -> [u8; 4] {
        let [v0, v1] = KEY_VERSION.to_be_bytes();
        let [t0, t1] = if self.commit { TYPE_COMMIT } else { TYPE_ABORT }.to_be_bytes();
        [v0, v1, t0, t1]
    }

    /// The value of the control record.
    pub fn encode_value(&self) -> [u8; 6] {
        let [v0, v1] = VALUE_VERSION.to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        [v0, v1, e0, e1, e2, e3]
    }

    /// Reads key and value of a control record. Newer versions may add bytes behind the known ones.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<EndTxnMarker, BatchError> {
        let invalid = |reason| BatchError::InvalidControl { reason };
        let Some(&[v0, v1, t0, t1]) = key.first_chunk::<4>() else {
            return Err(invalid("key is shorter than version and type"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(invalid("negative key version"));
        }
        let commit = match i16::from_be_bytes([t0, t1]) {
            TYPE_ABORT => false,
            TYPE_COMMIT => true,
            _ => return Err(invalid("not an end-of-transaction marker")),
        };
        let Some(&[v0, v1, e0, e1, e2, e3]) = value.first_chunk::<6>() else {
            return Err(invalid("value is shorter than version and coordinator epoch"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(invalid("negative value version"));
        }
        Ok(EndTxnMarker { commit, coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]) })
    }

    /// Reads the marker out of a control batch.
    pub fn from_batch(batch: &Batch) -> Result<EndTxnMarker, BatchError> {
        let invalid = |reason| BatchError::InvalidControl { reason };
        if !batch.header().is_control() || !batch.header().is_transactional() {
            return Err(invalid("not a transactional control batch"));
        }
        let open = batch.open(NO_BUDGET)?;
        let record = open.records().next().ok_or(invalid("control batch without a record"))??;
        EndTxnMarker::decode(
            record.key.ok_or(invalid("control record without a key"))?,
            record.value.ok_or(invalid("control record without a value"))?,
        )
    }
}

/// The control batch that ends a producer's transaction in one partition. It takes one offset. `timestamp` in ms.
pub fn marker_batch(producer_id: i64, producer_epoch: i16, marker: EndTxnMarker, timestamp: i64) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: Codec::None,
        producer: Some(ProducerStamp { id: producer_id, epoch: producer_epoch, sequence: NO_SEQUENCE }),
        transactional: true,
        control: true,
        ..BatchOptions::default()
    });
    builder.push(timestamp, Some(&marker.encode_key()), Some(&marker.encode_value()), &[]);
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_bytes() {
        let marker = EndTxnMarker { commit: false, coordinator_epoch: 7 };
        let batch = marker_batch(4711, 3, marker, 1_700_000_000_000);
        let expected: &[&[u8]] = &[
            &0i64.to_be_bytes(),                 // base offset
            &66i32.to_be_bytes(),                // 49 header bytes + 17 of the record
            &(-1i32).to_be_bytes(),              // leader epoch
            &[2],                                // magic
            &batch.header().crc.to_be_bytes(),   // checked below
            &0x30i16.to_be_bytes(),              // transactional, control
            &0i32.to_be_bytes(),                 // last offset delta
            &1_700_000_000_000i64.to_be_bytes(), // base timestamp
            &1_700_000_000_000i64.to_be_bytes(), // max timestamp
            &4711i64.to_be_bytes(),              // producer id
            &3i16.to_be_bytes(),                 // producer epoch
            &(-1i32).to_be_bytes(),              // base sequence
            &1i32.to_be_bytes(),                 // count
            &[32, 0, 0, 0],                      // record length 16, attributes, deltas
            &[8, 0, 0, 0, 0],                    // key of 4: version 0, abort
            &[12, 0, 0, 0, 0, 0, 7],             // value of 6: version 0, coordinator epoch 7
            &[0],                                // no headers
        ];
        assert_eq!(&batch.bytes()[..], expected.concat());
        assert!(Batch::verify(batch.bytes().clone()).is_ok(), "the CRC holds");
        assert_eq!(EndTxnMarker::from_batch(&batch), Ok(marker));
    }

    #[test]
    fn commit_and_abort_round_trip() {
        for commit in [true, false] {
            let marker = EndTxnMarker { commit, coordinator_epoch: i32::MAX };
            assert_eq!(EndTxnMarker::from_batch(&marker_batch(1, 0, marker, 5)), Ok(marker));
        }
    }

    #[test]
    fn other_batches_are_not_markers() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
        assert!(matches!(EndTxnMarker::from_batch(&builder.build()), Err(BatchError::InvalidControl { .. })));
        for (key, value) in [
            (&[0, 0, 0, 2][..], &[0; 6][..]),
            (&[0, 0, 0], &[0; 6]),
            (&[0, 0, 0, 0], &[0; 5]),
            (&[255, 0, 0, 0], &[0; 6]),
        ] {
            assert!(EndTxnMarker::decode(key, value).is_err(), "{key:?} {value:?}");
        }
        assert!(
            EndTxnMarker::decode(&[0, 1, 0, 1, 9], &[0, 1, 0, 0, 0, 1, 9]).is_ok(),
            "newer versions add bytes"
        );
    }
}
