//! The rules every message shares: lengths, nulls, tags, versions, segments, headers.

use bytes::{BufMut, Bytes, BytesMut};
use logmill_wire::frame;
use logmill_wire::messages::{api_versions::*, fetch::*, metadata::*, produce::*};
use logmill_wire::records::consumer_protocol::{ConsumerProtocolSubscription, TopicPartition};
use logmill_wire::{
    ApiKey, Chunks, DecodeError, DecodeErrorKind, Decoder, EncodeErrorKind, Encoder, ErrorCode, Message,
    SEGMENT_FROM, Str,
};

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, logmill_wire::EncodeError> {
    let mut encoder = Encoder::new();
    message.encode(&mut encoder, version)?;
    Ok(encoder.into_segments().into_bytes())
}

#[test]
fn varints_round_trip_at_every_edge() {
    for bits in 0..32 {
        for value in [(1u32 << bits) - 1, 1 << bits, (1 << bits) + 1, u32::MAX - (1 << bits), u32::MAX] {
            let mut encoder = Encoder::new();
            encoder.put_unsigned_varint(value);
            let bytes = encoder.into_segments().into_bytes();
            assert_eq!(bytes.len(), (32 - value.leading_zeros()).div_ceil(7).max(1) as usize);
            let mut decoder = Decoder::new(bytes);
            assert_eq!(decoder.unsigned_varint().unwrap(), value);
            decoder.finish().unwrap();
        }
    }
}

#[test]
fn varints_beyond_32_bits_are_refused() {
    for bytes in [&[0x80u8, 0x80, 0x80, 0x80, 0x10][..], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0x80; 10]] {
        let error = Decoder::new(Bytes::copy_from_slice(bytes)).unsigned_varint().unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Varint);
    }
}

#[test]
fn record_bytes_are_passed_through_in_both_directions() {
    let batch = Bytes::from(vec![7u8; SEGMENT_FROM]);
    let request = ProduceRequest {
        acks: -1,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(batch.clone()) }; 2],
            ..Default::default()
        }],
        ..Default::default()
    };
    let segments = frame::encode_request(1, None, &request, 9).unwrap().into_vec();
    let shared = segments.iter().filter(|segment| segment.as_ptr() == batch.as_ptr()).count();
    assert_eq!((segments.len(), shared), (5, 2));

    let frame = Bytes::from(segments.concat()).slice(4..);
    let mut decoder = Decoder::new(frame.clone());
    frame::RequestHeader::decode(&mut decoder).unwrap();
    let read: ProduceRequest = frame::decode_request(decoder, 9).unwrap();
    assert_eq!(read, request);
    let records = read.topic_data[0].partition_data[1].records.as_ref().unwrap();
    let end = frame.as_ptr_range().end;
    assert!(frame.as_ptr() <= records.as_ptr() && records.as_ptr_range().end <= end);
}

#[test]
fn small_bytes_are_not_worth_a_segment() {
    let records = Some(Bytes::from(vec![7u8; SEGMENT_FROM - 1]));
    let request = ProduceRequest {
        topic_data: vec![TopicProduceData {
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(frame::encode_request(1, None, &request, 9).unwrap().into_vec().len(), 1);
}

#[test]
fn a_fetch_response_carries_batches_in_pieces() {
    let pieces = vec![Bytes::from(vec![1u8; 2000]), Bytes::from(vec![2u8; 10]), Bytes::from(vec![3u8; 3000])];
    let partition = |records| PartitionData { records: Some(records), ..Default::default() };
    let response = |records| FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".into(),
            partitions: vec![partition(records)],
            ..Default::default()
        }],
        ..Default::default()
    };
    let in_pieces = frame::encode_response(3, &response(Chunks::from(pieces.clone())), 12).unwrap();
    let joined =
        frame::encode_response(3, &response(Chunks::from(Bytes::from(pieces.concat()))), 12).unwrap();
    let ours =
        in_pieces.iter().filter(|segment| pieces.iter().any(|piece| piece.as_ptr() == segment.as_ptr()));
    assert_eq!(ours.count(), 2);
    assert_eq!(in_pieces.clone().into_bytes(), joined.into_bytes());

    let frame = in_pieces.into_bytes();
    assert_eq!(frame.len() as i32 - 4, i32::from_be_bytes(frame[..4].try_into().unwrap()));
    let (correlation_id, read): (_, FetchResponse) = frame::decode_response(frame.slice(4..), 12).unwrap();
    assert_eq!(correlation_id, 3);
    assert_eq!(read, response(Chunks::from(pieces)));
}

#[test]
fn unknown_tags_are_skipped_and_known_ones_must_fill_their_size() {
    let request = |tags: &[u8]| {
        let mut bytes = BytesMut::from(&encode(&FetchRequest::default(), 12).unwrap()[..]);
        bytes.truncate(bytes.len() - 1); // The count of tags: none.
        bytes.put_slice(tags);
        let mut decoder = Decoder::new(bytes.freeze());
        let request = FetchRequest::decode(&mut decoder, 12)?;
        decoder.finish()?;
        Ok::<_, logmill_wire::DecodeError>(request)
    };
    let named = FetchRequest { cluster_id: Some("abc".into()), ..Default::default() };
    assert_eq!(request(&[0]).unwrap(), FetchRequest::default());
    assert_eq!(request(&[1, 0, 4, 4, b'a', b'b', b'c']).unwrap(), named);
    assert_eq!(request(&[2, 0, 4, 4, b'a', b'b', b'c', 99, 2, 1, 2]).unwrap(), named);
    // Tag 1 is the replica's state, which version 12 does not have yet.
    assert_eq!(request(&[1, 1, 2, 1, 2]).unwrap(), FetchRequest::default());
    // Longer than what is in it; shorter; beyond the frame; more tags than there are.
    let short = request(&[1, 0, 5, 4, b'a', b'b', b'c', 0]).unwrap_err();
    assert_eq!(short.kind, DecodeErrorKind::TaggedFieldSize { tag: 0, left: 1 });
    assert!(matches!(
        request(&[1, 0, 3, 4, b'a', b'b', b'c']).unwrap_err().kind,
        DecodeErrorKind::Truncated { .. }
    ));
    assert!(matches!(request(&[1, 9, 100, 1]).unwrap_err().kind, DecodeErrorKind::Truncated { .. }));
    assert!(request(&[2, 9, 1, 1]).is_err());
}

#[test]
fn what_a_version_cannot_say_is_an_error_that_names_the_field() {
    let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let error = encode(&request, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "MetadataRequest.allow_auto_topic_creation: set, but version 3 has no such field"
    );
    assert!(encode(&request, 4).is_ok());

    let all_topics = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(encode(&all_topics, 0).unwrap_err().kind, EncodeErrorKind::UnexpectedNull(0));
    assert!(encode(&all_topics, 1).is_ok());
    assert_eq!(encode(&all_topics, 14).unwrap_err().kind, EncodeErrorKind::UnsupportedVersion(14));

    let long = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("x".repeat(32768).into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    for version in [1, 9] {
        assert_eq!(encode(&long, version).unwrap_err().kind, EncodeErrorKind::TooLong(32768));
    }
}

#[test]
fn decode_errors_say_what_and_where() {
    let decode = |bytes: &[u8], version| {
        MetadataRequest::decode(&mut Decoder::new(Bytes::copy_from_slice(bytes)), version).unwrap_err()
    };
    assert_eq!(
        decode(&[0, 0, 0, 1, 0, 3, b'a'], 1).to_string(),
        "MetadataRequestTopic.name at byte 6: 3 more bytes are needed and 1 remain"
    );
    assert_eq!(decode(&[0, 0, 0, 1, 0xff, 0xff], 1).kind, DecodeErrorKind::UnexpectedNull(1));
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff], 0).kind, DecodeErrorKind::UnexpectedNull(0));
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xfe], 1).kind, DecodeErrorKind::NegativeLength(-2));
    assert_eq!(decode(&[], 14).kind, DecodeErrorKind::UnsupportedVersion(14));
    assert_eq!(decode(&[], -1).kind, DecodeErrorKind::UnsupportedVersion(-1));
}

#[test]
fn text_that_is_not_utf8_is_read_as_kafka_reads_it() {
    let decode = |text: &[u8]| {
        let mut bytes = vec![0, 0, 0, 1];
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text);
        let request = MetadataRequest::decode(&mut Decoder::new(Bytes::from(bytes)), 1)?;
        Ok(request.topics.unwrap()[0].name.as_deref().map(str::to_owned))
    };
    // As Java's decoder: a sequence that is cut short is one character, a byte that begins none is another.
    for (text, read) in [
        (&b"\xff\xfe\x01"[..], "\u{fffd}\u{fffd}\u{1}"),
        (b"caf\xe9!", "caf\u{fffd}!"),
        (b"\xe2\x82", "\u{fffd}"),
        (b"\xe2\x82x\xf0\x9f", "\u{fffd}x\u{fffd}"),
        (b"\xc0\x80", "\u{fffd}\u{fffd}"),
    ] {
        assert_eq!(decode(text), Ok(Some(read.to_owned())), "{text:x?}");
    }
    // What could not be written again is refused.
    assert_eq!(decode(&[0xff; 10_922]).map(|name| name.unwrap().len()), Ok(32_766));
    let error: DecodeError = decode(&[0xff; 10_923]).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::StringTooLong(32_769));
}

#[test]
fn an_api_versions_response_never_has_tags_in_its_header() {
    let response = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() };
    let flexible = frame::encode_response(5, &response, 3).unwrap().into_bytes();
    assert_eq!(&flexible[4..], [0, 0, 0, 5, 0, 35, 1, 0, 0, 0, 0, 0]);
    let (correlation_id, read) = frame::decode_response(flexible.slice(4..), 3).unwrap();
    assert_eq!((correlation_id, read), (5, response));

    let other = frame::encode_response(5, &MetadataResponse::default(), 9).unwrap().into_bytes();
    assert_eq!(&other[4..9], [0, 0, 0, 5, 0]);
    assert_eq!(frame::response_correlation_id(&other.slice(4..)).unwrap(), 5);
    assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
}

#[test]
fn subscriptions_of_newer_versions_are_read_as_far_as_known() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["a".into()],
        owned_partitions: vec![TopicPartition { topic: "a".into(), partitions: vec![1] }],
        generation_id: 4,
        rack_id: Some("r".into()),
        ..Default::default()
    };
    let mut bytes = BytesMut::from(&subscription.to_bytes().unwrap()[..]);
    bytes[..2].copy_from_slice(&9i16.to_be_bytes());
    bytes.put_slice(b"more");
    assert_eq!(ConsumerProtocolSubscription::from_bytes(bytes.freeze()).unwrap(), subscription);
    assert!(ConsumerProtocolSubscription::from_bytes(Bytes::from_static(&[0xff, 0xff, 0, 0])).is_err());
}

#[test]
fn a_detached_string_lets_go_of_the_frame() {
    let mut frame = BytesMut::from(&[0u8, 0, 0, 1, 0, 1, b't'][..]);
    frame.put_bytes(0, 1000);
    let frame = frame.freeze();
    let request = MetadataRequest::decode(&mut Decoder::new(frame.clone()), 1).unwrap();
    let name = request.topics.unwrap()[0].name.as_ref().unwrap().detached();
    assert_eq!(name, Str::from_static("t"));
    assert!(frame.try_into_mut().is_ok(), "somebody still holds the frame");
}
