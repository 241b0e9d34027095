use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::{Record, RecordHeader};

const BUDGET: usize = 1 << 24;

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let bytes = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let header = (bytes(), option::of(bytes())).prop_map(|(key, value)| RecordHeader { key, value });
    (any::<i64>(), option::of(bytes()), option::of(bytes()), vec(header, 0..4))
        .prop_map(|(timestamp, key, value, headers)| Record { offset: 0, timestamp, key, value, headers })
}

fn push(builder: &mut BatchBuilder, record: &Record) {
    let headers: Vec<(&[u8], Option<&[u8]>)> =
        record.headers.iter().map(|h| (&h.key[..], h.value.as_deref())).collect();
    builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
}

#[test]
fn a_builder_can_be_used_again() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        assert!(builder.is_empty());
        builder.push(5, Some(b"a"), Some(b"first"), &[]);
        builder.push(4, None, Some(b"second"), &[]);
        assert_eq!((builder.count(), builder.len()), (2, 2));
        let first = builder.build();
        assert!(builder.is_empty());
        assert_eq!(builder.size_estimate(), BATCH_HEADER_LEN);
        builder.push(9, None, Some(b"third"), &[]);
        let second = builder.build();

        assert_eq!((first.header().base_timestamp, first.header().max_timestamp), (5, 5));
        assert_eq!((second.header().count, second.header().max_timestamp), (1, 9));
        assert_eq!(&second.records(BUDGET).unwrap()[0].value.as_deref(), &Some(&b"third"[..]), "{codec}");
        assert_eq!(first.records(BUDGET).unwrap()[1].timestamp, 4);
        assert!(Batch::validate(first.into_bytes()).is_ok());
    }
}

#[test]
fn compacted_batches_keep_offsets_and_may_be_empty() {
    let producer = Some(ProducerStamp { id: 3, epoch: 0, sequence: 7 });
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(BatchOptions {
            codec,
            producer,
            delete_horizon: Some(50),
            ..Default::default()
        });
        builder.push_at(2, 100, Some(b"k"), Some(b"v"), &[]);
        builder.push_at(5, 90, Some(b"l"), None, &[]);
        let batch = builder.try_build_spanning(9).unwrap().stamped(1000, 1);
        let batch = Batch::verify(batch.into_bytes()).unwrap();
        let header = batch.header();
        assert_eq!((header.last_offset(), header.last_sequence(), header.count), (1009, 16, 2));
        assert_eq!((header.base_timestamp, header.max_timestamp), (50, 100));
        assert!(header.attributes.has_delete_horizon());
        let records = batch.records(BUDGET).unwrap();
        assert_eq!([records[0].offset, records[1].offset], [1002, 1005]);
        assert_eq!([records[0].timestamp, records[1].timestamp], [100, 90]);

        let empty = builder.try_build_spanning(9).unwrap();
        let empty = Batch::verify(empty.into_bytes()).unwrap();
        assert_eq!((empty.header().count, empty.size()), (0, BATCH_HEADER_LEN));
        assert_eq!(empty.header().max_timestamp, NO_TIMESTAMP);
        assert_eq!(empty.records(BUDGET).unwrap(), []);
    }
}

#[test]
fn a_record_outside_the_range_of_offsets_is_an_error() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(3, 0, None, None, &[]);
    let batch = builder.try_build_spanning(3).unwrap();
    let mut header = *batch.header();
    header.last_offset_delta = 2;
    let mut bytes = batch.bytes().to_vec();
    bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
    let error = Batch::trusted(Bytes::from(bytes)).unwrap().records(0).unwrap_err();
    assert_eq!(error, BatchError::InvalidRecord { index: 0, reason: "offset delta outside the batch" });
}

#[test]
#[should_panic(expected = "offset deltas must grow")]
fn offset_deltas_must_grow() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(3, 0, None, None, &[]);
    builder.push_at(3, 0, None, None, &[]);
}

proptest! {
    #[test]
    fn round_trip(
        mut records in vec(arbitrary_record(), 1..20),
        codec in 0..5u8,
        base_offset in 0..i64::MAX / 2,
        sequence in 0..i32::MAX,
    ) {
        let codec = Codec::from_id(codec).unwrap();
        let producer = Some(ProducerStamp { id: 1, epoch: 2, sequence });
        let mut builder = BatchBuilder::new(BatchOptions { codec, producer, ..BatchOptions::default() });
        for record in &records {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                record.headers.iter().map(|h| (&h.key[..], h.value.as_deref())).collect();
            let most = builder.size_with(record.key.as_deref(), record.value.as_deref(), &headers);
            push(&mut builder, record);
            prop_assert!(builder.size_estimate() <= most, "{} over {}", builder.size_estimate(), most);
        }
        let estimate = builder.size_estimate();
        let batch = builder.build();
        if codec == Codec::None {
            prop_assert_eq!(batch.size(), estimate);
        }
        for (i, record) in records.iter_mut().enumerate() {
            record.offset = base_offset + i as i64;
        }
        let batch = Batch::validate(batch.into_bytes()).unwrap().stamped(base_offset, 4);
        prop_assert_eq!(batch.records(BUDGET).unwrap(), records);
    }
}
