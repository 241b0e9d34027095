//! What clients learn first, and what costs them the connection.

use logmill_wire::frame::{decode_response, encode_request};
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::offset_fetch::OffsetFetchRequestGroup;
use logmill_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use logmill_wire::{ErrorCode, Request};
use tokio::io::AsyncWriteExt;

use crate::client::{Broker, Client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    // Api key 18, version 77, number 9, client id null, no tagged fields, and a body nobody can know.
    let mut frame = vec![0, 18, 0, 77, 0, 0, 0, 9, 0xff, 0xff, 0];
    frame.extend_from_slice(b"what a future version brings");
    client.stream.write_i32(i32::try_from(frame.len()).unwrap()).await.unwrap();
    client.stream.write_all(&frame).await.unwrap();
    let answer = client.frame().await.unwrap();
    let (number, response): (i32, ApiVersionsResponse) = decode_response(answer, 0).unwrap();
    assert_eq!((number, response.error_code), (9, ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(response.api_keys.len(), 1);
    // The connection lives, and the client goes on in a version that is known.
    let asks = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
        ..ApiVersionsRequest::default()
    };
    let response = client.ask(&asks, 3).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    let levels: Vec<_> =
        response.finalized_features.iter().map(|said| (&*said.name, said.max_version_level)).collect();
    assert_eq!(levels, [("group.version", 1), ("transaction.version", 2)]);
    let nameless = client.ask(&ApiVersionsRequest::default(), 3).await;
    assert_eq!(nameless.error_code, ErrorCode::INVALID_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_advertised_or_not_parsable_closes_the_connection() {
    let broker = Broker::start().await;
    let header = |key: i16, version: i16| [key.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1]].concat();
    let with = |mut frame: Vec<u8>, rest: &[u8]| {
        frame.extend_from_slice(rest);
        frame
    };
    for frame in [
        Vec::new(),
        vec![0],
        header(0, 2),
        with(header(3, 14), &[0xff, 0xff, 0]),
        with(header(77, 0), &[0xff, 0xff, 0]),
        // Metadata whose count of topics promises more than there is.
        with(header(3, 1), &[0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
    ] {
        let mut client = broker.connect().await;
        client.stream.write_i32(i32::try_from(frame.len()).unwrap()).await.unwrap();
        client.stream.write_all(&frame).await.unwrap();
        client.expect_closed().await;
    }
    // Something behind the end of a request is ignored: librdkafka has sent such.
    let mut client = broker.connect().await;
    let frame = with(header(3, 1), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    client.stream.write_i32(i32::try_from(frame.len()).unwrap()).await.unwrap();
    client.stream.write_all(&frame).await.unwrap();
    let (number, response) = client.receive::<MetadataRequest>(1).await;
    assert_eq!((number, response.brokers.len()), (1, 1));

    let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let response = broker.connect().await.ask(&everything, 12).await;
    assert_eq!(response.brokers.len(), 1);
    assert!(response.cluster_id.is_some());
}

/// Sends a request in whose frame some text is replaced by bytes of the same length, and gives the answer.
async fn with_bytes<R: Request>(
    client: &mut Client,
    request: &R,
    version: i16,
    (text, bytes): (&str, &[u8]),
) -> R::Response {
    let mut frame = encode_request(7, Some("client"), request, version).unwrap().into_bytes().to_vec();
    let at = frame.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    client.stream.write_all(&frame).await.unwrap();
    client.receive::<R>(version).await.1
}

/// Programs keep binary data in the metadata of their offsets, and client ids in whatever their terminal writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_utf8_is_answered() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let metadata = with_bytes(&mut client, &MetadataRequest::default(), 12, ("client", b"c\xff\xfe")).await;
    assert_eq!(metadata.brokers.len(), 1);
    let commit = |length: usize| OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 3,
                committed_metadata: Some("x".repeat(length).into()),
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    // The limit counts each odd byte once, as Kafka's does.
    for (length, code) in [(4097, ErrorCode::OFFSET_METADATA_TOO_LARGE), (4096, ErrorCode::NONE)] {
        let place = "x".repeat(length);
        let committed = with_bytes(&mut client, &commit(length), 2, (&place, &vec![0xff; length])).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, code, "{length}");
    }
    let committed = with_bytes(&mut client, &commit(3), 2, ("xxx", b"\xff\xfe\x01")).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let broker = broker.restart().await;
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let fetched = broker.connect().await.ask(&request, 8).await;
    let metadata = fetched.groups[0].topics[0].partitions[0].metadata.as_deref();
    assert_eq!(metadata, Some("\u{fffd}\u{fffd}\u{1}"));
}
