use proptest::prelude::*;

use super::*;
use crate::builder::{BatchBuilder, BatchOptions, ProducerStamp};
use crate::compression::Codec;
use crate::header::{Attributes, NO_LEADER_EPOCH};

/// A batch written by hand from the format's table: two records, headers with a repeated key, a null value.
fn golden() -> Vec<u8> {
    let records: &[&[u8]] = &[
        &[32, 0],              // record length 16, attributes
        &[0, 0],               // timestamp delta 0, offset delta 0
        &[2, b'k'],            // key of 1
        &[4, b'v', b'1'],      // value of 2
        &[4],                  // two headers
        &[2, b'h', 2, b'x'],   // h = x
        &[2, b'h', 1],         // h = null
        &[12, 0, 20, 2, 1, 1], // record length 6, timestamp delta 10, offset delta 1, null key, null value
        &[0],                  // no headers
    ];
    let records = records.concat();
    let from_attributes: &[&[u8]] = &[
        &0x10i16.to_be_bytes(), // transactional, no compression
        &1i32.to_be_bytes(),    // last offset delta
        &1000i64.to_be_bytes(), // base timestamp
        &1010i64.to_be_bytes(), // max timestamp
        &77i64.to_be_bytes(),   // producer id
        &5i16.to_be_bytes(),    // producer epoch
        &9i32.to_be_bytes(),    // base sequence
        &2i32.to_be_bytes(),    // count
        &records,
    ];
    let from_attributes = from_attributes.concat();
    let all: &[&[u8]] = &[
        &0i64.to_be_bytes(),
        &(from_attributes.len() as i32 + 9).to_be_bytes(),
        &(-1i32).to_be_bytes(),
        &[2],
        &crc32c_bit_by_bit(&from_attributes).to_be_bytes(),
        &from_attributes,
    ];
    all.concat()
}

/// CRC-32C from its definition, so that the crate in use is checked too.
fn crc32c_bit_by_bit(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn transactional_builder(codec: Codec) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        codec,
        producer: Some(ProducerStamp { id: 77, epoch: 5, sequence: 9 }),
        transactional: true,
        ..BatchOptions::default()
    })
}

fn small(codec: Codec) -> Batch {
    let mut builder = transactional_builder(codec);
    builder.push(1000, Some(b"k"), Some(b"v1"), &[(b"h", Some(b"x")), (b"h", None)]);
    builder.push(1010, None, None, &[]);
    builder.build()
}

/// Changes header fields and makes the CRC right again.
fn forged(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let batch = small(Codec::None);
    let mut header = *batch.header();
    change(&mut header);
    let mut bytes = batch.bytes().to_vec();
    bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
    let crc = crc32c_bit_by_bit(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn the_builder_writes_the_golden_bytes() {
    let batch = small(Codec::None);
    assert_eq!(&batch.bytes()[..], golden());
}

#[test]
fn the_golden_bytes_are_read() {
    let batch = Batch::validate(Bytes::from(golden())).unwrap();
    let header = batch.header();
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 5, 9));
    assert_eq!(
        (header.count, header.last_offset(), header.next_offset(), header.last_sequence()),
        (2, 1, 2, 10)
    );
    assert!(header.is_transactional() && !header.is_control());
    assert_eq!(header.leader_epoch, NO_LEADER_EPOCH);
    let records = batch.stamped(100, 3).records(0).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].offset, records[0].timestamp), (100, 1000));
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"v1"[..]));
    let headers: Vec<_> = records[0].headers.iter().map(|h| (&h.key[..], h.value.as_deref())).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"x"[..])), (b"h", None)]);
    assert_eq!((records[1].offset, records[1].timestamp), (101, 1010));
    assert_eq!((&records[1].key, &records[1].value), (&None, &None));
}

#[test]
fn stamping_leaves_the_crc_alone_and_copies_only_when_shared() {
    let batch = small(Codec::None);
    let address = batch.bytes().as_ptr();
    let batch = batch.stamped(42, 6);
    assert_eq!(batch.bytes().as_ptr(), address, "sole owner: in place");
    assert_eq!((batch.header().base_offset, batch.header().leader_epoch), (42, 6));
    assert_eq!(Batch::verify(batch.bytes().clone()).unwrap(), batch);

    let shared = batch.clone().stamped(43, 6);
    assert_ne!(shared.bytes().as_ptr(), address, "somebody else holds the bytes: copied");
    assert_eq!(batch.header().base_offset, 42, "and the other's bytes are untouched");
    assert_eq!(BatchHeader::parse(batch.bytes()).unwrap().base_offset, 42);
    assert_eq!(Batch::verify(shared.bytes().clone()).unwrap().header().base_offset, 43);
}

#[test]
fn log_append_time_rules_every_record() {
    for codec in Codec::ALL {
        let batch = small(codec).with_log_append_time(5_000);
        let batch = Batch::validate(batch.into_bytes()).unwrap();
        assert_eq!(batch.header().max_timestamp, 5_000);
        assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(batch.header().codec(), Ok(codec));
        assert!(batch.records(1 << 20).unwrap().iter().all(|r| r.timestamp == 5_000));
    }
}

#[test]
fn a_batch_can_be_given_its_producer_later() {
    for codec in Codec::ALL {
        let plain = small(codec);
        let producer = ProducerStamp { id: 77, epoch: 3, sequence: 12 };
        let batch = Batch::validate(plain.clone().with_producer(producer, true).into_bytes()).unwrap();
        let header = batch.header();
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, 12));
        assert!(header.is_transactional());
        assert_eq!(header.codec(), Ok(codec));
        assert_eq!(batch.records(1 << 20).unwrap(), plain.records(1 << 20).unwrap());
        let outside = batch.with_producer(producer, false);
        assert!(!Batch::validate(outside.into_bytes()).unwrap().header().is_transactional());
    }
}

#[test]
fn every_cut_is_truncated_and_every_extra_byte_is_seen() {
    let bytes = small(Codec::None).into_bytes();
    for cut in 0..bytes.len() {
        let error = Batch::validate(bytes.slice(..cut)).unwrap_err();
        assert!(
            matches!(error, BatchError::Truncated { available, .. } if available == cut),
            "{cut}: {error}"
        );
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(Batch::validate(Bytes::from(longer)), Err(BatchError::TrailingBytes { extra: 1 }));
}

#[test]
fn every_flipped_bit_is_noticed_or_is_outside_the_crc() {
    let bytes = small(Codec::None).into_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outside = bit / 8 < 8 || (LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4).contains(&(bit / 8));
        match Batch::validate(Bytes::from(flipped)) {
            Ok(_) => assert!(outside, "bit {bit} went unnoticed"),
            // The sign bit of the offset is outside the CRC and still refused.
            Err(error) => assert!(!outside || bit / 8 == 0, "bit {bit}: {error}"),
        }
    }
}

#[test]
fn old_formats_are_named() {
    for magic in [0u8, 1, 3] {
        let mut bytes = golden();
        bytes[16] = magic;
        // Messages of the old formats can be shorter than our header.
        bytes.truncate(30);
        assert_eq!(
            Batch::validate(Bytes::from(bytes)),
            Err(BatchError::UnsupportedMagic { magic: magic as i8 })
        );
    }
}

#[test]
fn the_door_is_stricter_than_verify() {
    let cases: [(&str, Bytes); 8] = [
        ("control", forged(|h| h.attributes = h.attributes.with_control(true))),
        ("empty", forged(|h| (h.count, h.last_offset_delta) = (0, 1))),
        ("gap", forged(|h| h.last_offset_delta = 2)),
        ("no sequence", forged(|h| h.base_sequence = -1)),
        ("no epoch", forged(|h| h.producer_epoch = -1)),
        ("no producer", forged(|h| h.producer_id = -1)),
        ("odd producer", forged(|h| (h.producer_id, h.attributes) = (-2, Attributes::default()))),
        ("huge gap", forged(|h| h.last_offset_delta = i32::MAX)),
    ];
    for (name, bytes) in cases {
        assert!(Batch::verify(bytes.clone()).is_ok(), "{name}");
        assert!(Batch::validate(bytes).is_err(), "{name}");
    }
}

#[test]
fn impossible_headers_are_refused_by_verify() {
    let cases: [(&str, Bytes); 6] = [
        ("negative count", forged(|h| h.count = -1)),
        ("negative delta", forged(|h| (h.last_offset_delta, h.count) = (-1, 0))),
        ("more records than offsets", forged(|h| h.last_offset_delta = 0)),
        ("more records than bytes", forged(|h| (h.count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1))),
        ("negative offset", forged(|h| h.base_offset = -1)),
        ("offset overflow", forged(|h| h.base_offset = i64::MAX - 1)),
    ];
    for (name, bytes) in cases {
        assert!(Batch::verify(bytes).is_err(), "{name}");
    }
    let codec = Batch::verify(forged(|h| h.attributes = Attributes::from_bits(7)));
    assert_eq!(codec, Err(BatchError::UnknownCodec { id: 7 }));
    let short = Batch::verify(forged(|h| h.length = 48));
    assert_eq!(short, Err(BatchError::InvalidLength { length: 48, minimum: 49 }));
    let negative = Batch::verify(forged(|h| h.length = i32::MIN));
    assert_eq!(negative, Err(BatchError::InvalidLength { length: i32::MIN, minimum: 49 }));
}

#[test]
fn a_count_that_the_decompressed_bytes_cannot_hold_allocates_nothing() {
    let batch = small(Codec::Zstd);
    let mut header = *batch.header();
    (header.count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1);
    let mut bytes = batch.bytes().to_vec();
    bytes[..BATCH_HEADER_LEN].copy_from_slice(&header.encode());
    let error = Batch::trusted(Bytes::from(bytes)).unwrap().records(1 << 20).unwrap_err();
    assert!(matches!(error, BatchError::InvalidCount { .. }), "{error}");
}

#[test]
fn sequences_wrap() {
    let mut header = *small(Codec::None).header();
    (header.base_sequence, header.last_offset_delta) = (i32::MAX - 1, 3);
    assert_eq!(header.last_sequence(), 1);
    header.base_sequence = -1;
    assert_eq!(header.last_sequence(), -1);
}

#[test]
fn walking_back_to_back_batches() {
    let one = small(Codec::None).stamped(10, 1);
    let two = small(Codec::Lz4).stamped(12, 1);
    let both = Bytes::from([&one.bytes()[..], &two.bytes()[..]].concat());
    let walked: Vec<_> = batches(both.clone()).collect::<Result<_, _>>().unwrap();
    assert_eq!(walked, [one.clone(), two]);

    let mut cut = batches(both.slice(..both.len() - 1));
    assert_eq!(cut.next(), Some(Ok(one)));
    assert!(matches!(cut.next(), Some(Err(BatchError::Truncated { .. }))));
    assert_eq!(cut.next(), None);
}

proptest! {
    #[test]
    fn garbage_records_never_panic(
        garbage in proptest::collection::vec(any::<u8>(), 0..120),
        count in -1..30i32,
        attributes in 0..16i16,
    ) {
        let mut header = *small(Codec::None).header();
        header.length = (garbage.len() + 49) as i32;
        header.count = count;
        header.last_offset_delta = count;
        header.attributes = Attributes::from_bits(attributes);
        let bytes = Bytes::from([&header.encode()[..], &garbage].concat());
        let _ = Batch::validate(bytes.clone());
        let batch = Batch::trusted(bytes).unwrap();
        let _ = batch.records(1 << 16);
    }

    #[test]
    fn damaged_records_never_panic(at in 0..24usize, value: u8) {
        let mut bytes = golden();
        bytes[BATCH_HEADER_LEN..][at] = value;
        let _ = Batch::trusted(Bytes::from(bytes)).unwrap().records(0);
    }

    #[test]
    fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Batch::validate(Bytes::from(garbage.clone())).is_err());
        for batch in batches(Bytes::from(garbage)) {
            prop_assert!(batch.is_err());
        }
    }
}

#[test]
fn the_same_records_in_every_other_codec() {
    let producer = Some(ProducerStamp { id: 7, epoch: 1, sequence: 5 });
    for from in Codec::ALL {
        let mut builder =
            BatchBuilder::new(BatchOptions { codec: from, producer, ..BatchOptions::default() });
        builder.push(1000, Some(b"a"), Some(b"first"), &[(b"h", None), (b"h", Some(b"2"))]);
        builder.push(1001, None, Some(&[b'x'; 500]), &[]);
        let batch = builder.build().stamped(40, 3);
        for to in Codec::ALL {
            let packed = batch.open(10_000).unwrap().repack(to, None).unwrap();
            assert_eq!(packed.header().codec(), Ok(to));
            assert_eq!(packed.records(10_000).unwrap(), batch.records(10_000).unwrap(), "{from} to {to}");
            let again = Batch::validate(packed.bytes().clone()).unwrap();
            let expected = BatchHeader {
                attributes: again.header().attributes,
                length: again.header().length,
                crc: again.header().crc,
                ..*batch.header()
            };
            assert_eq!(*again.header(), expected, "{from} to {to}: nothing else changes");
        }
    }
}

#[test]
fn a_walk_from_an_offset_is_the_end_of_the_whole_walk() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    // As compaction leaves it, and longer than one byte can say.
    let deltas = [0, 1, 5, 6, 200, 20_000];
    for delta in deltas {
        let value = vec![b'v'; usize::try_from(delta).unwrap() % 300];
        builder.push_at(delta, i64::from(delta) * -7, None, Some(&value), &[(b"h", Some(b"x"))]);
    }
    let batch = builder.try_build_spanning(30_000).unwrap().stamped(1_000, 0);
    let open = batch.open(0).unwrap();
    let whole: Vec<_> = open.records().map(Result::unwrap).collect();
    for from in (990..1_210).chain(20_990..21_010).chain([i64::MIN, i64::MAX, 31_000]) {
        let rest: Vec<_> = open.records_from(from).map(Result::unwrap).collect();
        let expected: Vec<_> = whole.iter().filter(|view| view.offset >= from).copied().collect();
        assert_eq!(rest, expected, "from {from}");
    }
}

#[test]
fn a_walk_from_an_offset_tells_of_damage_where_it_begins_and_behind() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    (0..10).for_each(|number| builder.push(number, None, Some(b"value"), &[]));
    let batch = builder.build();
    let body = batch.body();
    let record = body.len() / 10;
    for damaged in 0..10 {
        let mut bytes = batch.bytes().to_vec();
        // Its length is negative: nobody can pass it over.
        bytes[BATCH_HEADER_LEN + damaged * record] = 1;
        let open = Batch::trusted(bytes.into()).unwrap().open(0).unwrap();
        for from in 0..10 {
            let walked: Vec<_> = open.records_from(from).collect();
            assert!(walked.last().unwrap().is_err(), "record {damaged}, from {from}");
            let good = damaged.saturating_sub(usize::try_from(from).unwrap());
            assert_eq!(
                walked.iter().filter(|view| view.is_ok()).count(),
                good,
                "record {damaged}, from {from}"
            );
        }
    }
}

#[test]
fn a_walk_from_an_offset_takes_no_offsets_that_do_not_grow() {
    // Of three records of one length the second one has this delta.
    for (delta, fine) in [(-1, false), (0, false), (1, true), (2, false)] {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        (0..3).for_each(|_| builder.push(0, None, Some(b"v"), &[]));
        let batch = builder.build().stamped(100, 0);
        let record = batch.body().len() / 3;
        let mut bytes = batch.bytes().to_vec();
        let at = BATCH_HEADER_LEN + record + 3;
        assert_eq!(bytes[at], 2, "where the delta 1 is");
        bytes[at] = u8::try_from((delta << 1) ^ (delta >> 31)).unwrap();
        let open = Batch::trusted(bytes.into()).unwrap().open(0).unwrap();
        for from in [0, 100, 101, 102] {
            let whole = open.records_from(from).all(|view| view.is_ok());
            assert_eq!(whole, fine, "delta {delta}, from {from}");
        }
    }
}
