//! From the bytes of a fetch to records: batches are verified, aborted transactions left out. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use logmill_record::{Batch, BatchError, EndTxnMarker, Record, batches};

/// What decompressing one batch may take.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// A transaction that was aborted, as a fetch lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
}

/// What a fetch of one partition has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) records: Vec<Record>,
    /// Where to go on reading.
    pub(crate) next: i64,
}

/// Takes the records from `from` on out of whole batches back to back; a batch cut off at the end is left for the
/// next fetch. `aborted` is `None` for a reader that sees everything.
pub(crate) fn decode(bytes: Bytes, from: i64, aborted: Option<Vec<Aborted>>) -> Result<Decoded, BatchError> {
    let mut filter = aborted.map(AbortedFilter::new);
    let mut decoded = Decoded { records: Vec::new(), next: from };
    for (whole, batch) in batches(bytes).enumerate() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Truncated { .. }) if whole > 0 => break,
            Err(error) => return Err(error),
        };
        let header = batch.header();
        let wanted = header.last_offset() >= from;
        let visible = match &mut filter {
            Some(filter) => filter.passes(&batch),
            None => !header.is_control(),
        };
        if wanted && visible {
            let open = batch.open(DECOMPRESSED_MAX)?;
            decoded.records.reserve(open.count());
            for view in open.records() {
                let view = view?;
                if view.offset >= from {
                    decoded.records.push(open.own(&view)?);
                }
            }
        }
        decoded.next = decoded.next.max(header.next_offset());
    }
    Ok(decoded)
}

/// Follows aborted transactions through a run of batches (KIP-98).
#[derive(Debug)]
struct AbortedFilter {
    /// By first offset, the next one last.
    coming: Vec<Aborted>,
    /// Producers whose transaction here will be aborted.
    open: BTreeSet<i64>,
}

impl AbortedFilter {
    fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { coming: aborted, open: BTreeSet::new() }
    }

    fn passes(&mut self, batch: &Batch) -> bool {
        let header = batch.header();
        while let Some(next) = self.coming.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.open.insert(next.producer_id);
        }
        if header.is_control() {
            // Anything that is not an abort marker ends nothing here.
            if EndTxnMarker::from_batch(batch).is_ok_and(|marker| !marker.commit) {
                self.open.remove(&header.producer_id);
            }
            return false;
        }
        !(header.is_transactional() && self.open.contains(&header.producer_id))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use logmill_record::control::marker_batch;
    use logmill_record::{BatchBuilder, BatchOptions, ProducerStamp};

    use super::*;

    /// A log of one-record batches; offsets are the places in the list.
    #[derive(Default)]
    struct Log(BytesMut, i64);

    impl Log {
        fn append(&mut self, batch: Batch) -> &mut Self {
            let batch = batch.stamped(self.1, 0);
            self.1 = batch.header().next_offset();
            self.0.extend_from_slice(batch.bytes());
            self
        }

        fn plain(&mut self, value: &str) -> &mut Self {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(1, None, Some(value.as_bytes()), &[]);
            self.append(builder.build())
        }

        fn in_transaction(&mut self, producer: i64, value: &str) -> &mut Self {
            let mut builder = BatchBuilder::new(BatchOptions {
                producer: Some(ProducerStamp { id: producer, epoch: 0, sequence: 0 }),
                transactional: true,
                ..BatchOptions::default()
            });
            builder.push(1, None, Some(value.as_bytes()), &[]);
            self.append(builder.build())
        }

        fn end(&mut self, producer: i64, commit: bool) -> &mut Self {
            self.append(marker_batch(producer, 0, EndTxnMarker { commit, coordinator_epoch: 0 }, 1))
        }

        fn bytes(&self) -> Bytes {
            self.0.clone().freeze()
        }
    }

    fn values(decoded: &Decoded) -> Vec<String> {
        let value =
            |record: &Record| String::from_utf8_lossy(record.value.as_ref().expect("a value")).into_owned();
        decoded.records.iter().map(value).collect()
    }

    fn aborted(list: &[(i64, i64)]) -> Option<Vec<Aborted>> {
        Some(
            list.iter()
                .map(|(producer_id, first_offset)| Aborted {
                    producer_id: *producer_id,
                    first_offset: *first_offset,
                })
                .collect(),
        )
    }

    #[test]
    fn aborted_records_are_left_out_and_committed_ones_stay() {
        let mut log = Log::default();
        log.plain("0").in_transaction(1, "1").in_transaction(2, "2").plain("3").end(1, false);
        log.in_transaction(1, "5").end(2, true).end(1, true);
        let decoded = decode(log.bytes(), 0, aborted(&[(1, 1)])).expect("decodes");
        assert_eq!(values(&decoded), ["0", "2", "3", "5"]);
        assert_eq!(decoded.next, 8);
    }

    #[test]
    fn a_producer_may_abort_twice() {
        let mut log = Log::default();
        log.in_transaction(1, "0").end(1, false).in_transaction(1, "2").end(1, true);
        log.in_transaction(1, "4").end(1, false).plain("6");
        let decoded = decode(log.bytes(), 0, aborted(&[(1, 4), (1, 0)])).expect("decodes");
        assert_eq!(values(&decoded), ["2", "6"]);
    }

    #[test]
    fn who_reads_uncommitted_sees_everything_but_markers() {
        let mut log = Log::default();
        log.in_transaction(1, "0").end(1, false).plain("2");
        let decoded = decode(log.bytes(), 0, None).expect("decodes");
        assert_eq!(values(&decoded), ["0", "2"]);
        assert_eq!(decoded.next, 3);
    }

    #[test]
    fn reading_begins_inside_a_batch() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for value in ["a", "b", "c"] {
            builder.push(1, None, Some(value.as_bytes()), &[]);
        }
        let batch = builder.build().stamped(10, 0);
        let decoded = decode(batch.into_bytes(), 11, None).expect("decodes");
        assert_eq!(values(&decoded), ["b", "c"]);
        assert_eq!(decoded.next, 13);
    }

    #[test]
    fn a_batch_cut_off_is_left_for_the_next_fetch() {
        let mut log = Log::default();
        log.plain("0").plain("1");
        let bytes = log.bytes();
        let decoded = decode(bytes.slice(..bytes.len() - 1), 0, None).expect("decodes");
        assert_eq!(values(&decoded), ["0"]);
        assert_eq!(decoded.next, 1);
        assert!(decode(bytes.slice(..20), 0, None).is_err());
    }

    #[test]
    fn a_damaged_batch_is_an_error() {
        let mut log = Log::default();
        log.plain("0");
        let mut bytes = BytesMut::from(&log.bytes()[..]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(matches!(decode(bytes.freeze(), 0, None), Err(BatchError::Checksum { .. })));
    }

    #[test]
    fn markers_alone_still_move_the_position() {
        let mut log = Log::default();
        log.end(1, true).end(2, false);
        let decoded = decode(log.bytes(), 0, aborted(&[])).expect("decodes");
        assert_eq!((decoded.records.len(), decoded.next), (0, 2));
    }
}
