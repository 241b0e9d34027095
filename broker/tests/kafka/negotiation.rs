//! What clients learn first, and what costs them the connection.

use logmill_wire::ErrorCode;
use logmill_wire::frame::decode_response;
use logmill_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use tokio::io::AsyncWriteExt;

use crate::client::Broker;

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
