//! Transactions over the wire, by the rules of both protocols.

use logmill_wire::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use logmill_wire::messages::produce::PartitionProduceResponse;
use logmill_wire::messages::txn_offset_commit::TxnOffsetCommitRequestTopic;
use logmill_wire::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
};
use logmill_wire::{ErrorCode, Str};

use crate::client::{Broker, Client, batch, produce, stamped, values};
use crate::defects_of_others::{committed, offsets_of};

/// A transactional producer that says no more than it must.
pub(crate) struct Producer {
    pub(crate) transactional_id: &'static str,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    /// 12 and above: the newest protocol (KIP-890).
    pub(crate) version: i16,
}

impl Producer {
    pub(crate) async fn init(client: &mut Client, transactional_id: &'static str, version: i16) -> Self {
        let request = InitProducerIdRequest {
            transactional_id: Some(Str::from_static(transactional_id)),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let response = client.ask(&request, 4).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        Self {
            transactional_id,
            id: response.producer_id,
            epoch: response.producer_epoch,
            sequence: 0,
            version,
        }
    }

    pub(crate) async fn add(&self, client: &mut Client, topic: &'static str) -> ErrorCode {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: Str::from_static(self.transactional_id),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![0] }],
            ..AddPartitionsToTxnRequest::default()
        };
        let response = client.ask(&request, 3).await;
        response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    pub(crate) async fn send(
        &mut self,
        client: &mut Client,
        topic: &str,
        value: &str,
    ) -> PartitionProduceResponse {
        let records = stamped(&[value], self.id, self.epoch, self.sequence, true);
        let request = produce(topic, 0, records.bytes(), -1, Some(self.transactional_id));
        let response =
            client.ask(&request, self.version).await.responses.remove(0).partition_responses.remove(0);
        if response.error_code == ErrorCode::NONE {
            self.sequence += 1;
        }
        response
    }

    pub(crate) async fn end(&mut self, client: &mut Client, committed: bool) -> EndTxnResponse {
        let request = EndTxnRequest {
            transactional_id: Str::from_static(self.transactional_id),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let newest = self.version >= 12;
        let response = client.ask(&request, if newest { 5 } else { 4 }).await;
        if newest && response.error_code == ErrorCode::NONE {
            (self.id, self.epoch, self.sequence) = (response.producer_id, response.producer_epoch, 0);
        }
        response
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_data_is_read_and_aborted_data_is_listed() {
    for version in [11, 12] {
        let broker = Broker::start().await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "x", version).await;
        for (value, commit) in [("one", true), ("two", false), ("three", true)] {
            if version < 12 {
                assert_eq!(producer.add(&mut client, "t").await, ErrorCode::NONE);
            }
            let sent = producer.send(&mut client, "t", value).await;
            assert_eq!(sent.error_code, ErrorCode::NONE, "{value} in version {version}");
            let open = client.fetch("t", sent.base_offset, 1).await;
            assert_eq!((values(&open).len(), open.last_stable_offset), (0, sent.base_offset));
            assert_eq!(values(&client.fetch("t", sent.base_offset, 0).await), [value]);
            assert_eq!(producer.end(&mut client, commit).await.error_code, ErrorCode::NONE);
        }
        let data = client.fetch("t", 0, 1).await;
        assert_eq!((data.high_watermark, data.last_stable_offset), (6, 6));
        let aborted = data.aborted_transactions.unwrap();
        assert_eq!(aborted.len(), 1, "one transaction was aborted");
        assert_eq!(aborted[0].first_offset, 2);
        assert!(client.fetch("t", 0, 0).await.aborted_transactions.is_none());

        // All of it survives a restart, and the producer goes on where it was.
        let broker = broker.restart().await;
        let mut client = broker.connect().await;
        assert_eq!(client.fetch("t", 0, 1).await.aborted_transactions.unwrap().len(), 1);
        if version < 12 {
            assert_eq!(producer.add(&mut client, "t").await, ErrorCode::NONE);
        }
        assert_eq!(producer.send(&mut client, "t", "four").await.error_code, ErrorCode::NONE);
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
        assert_eq!(client.fetch("t", 0, 1).await.last_stable_offset, 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transaction_of_the_newest_protocol_has_its_own_epoch() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let first = producer.epoch;
    producer.send(&mut client, "t", "a").await;
    let late = stamped(&["late"], producer.id, producer.epoch, 1, true);
    producer.end(&mut client, true).await;
    assert_eq!(producer.epoch, first + 1);
    // A produce of the transaction that has ended is never taken for one of the next (KIP-890).
    let request = produce("t", 0, late.bytes(), -1, Some("x"));
    let response = client.ask(&request, 12).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::INVALID_PRODUCER_EPOCH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_fences_its_predecessor_and_aborts_what_it_left() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut old = Producer::init(&mut client, "x", 12).await;
    old.send(&mut client, "t", "left").await;
    let mut new = Producer::init(&mut client, "x", 12).await;
    assert!(new.epoch > old.epoch);
    let data = client.fetch("t", 0, 1).await;
    assert_eq!(data.aborted_transactions.as_ref().map(Vec::len), Some(1));
    assert_eq!(data.last_stable_offset, data.high_watermark);
    assert_eq!(old.send(&mut client, "t", "more").await.error_code, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(old.end(&mut client, true).await.error_code, ErrorCode::PRODUCER_FENCED);
    assert_eq!(new.send(&mut client, "t", "mine").await.error_code, ErrorCode::NONE);
    assert_eq!(new.end(&mut client, true).await.error_code, ErrorCode::NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactional_batches_need_a_transaction() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 11).await;
    let not_added = producer.send(&mut client, "t", "a").await;
    assert_eq!(not_added.error_code, ErrorCode::TRANSACTION_ABORTABLE);
    producer.version = 10;
    assert_eq!(producer.send(&mut client, "t", "a").await.error_code, ErrorCode::INVALID_TXN_STATE);
    let anonymous = produce("t", 0, stamped(&["a"], producer.id, producer.epoch, 0, true).bytes(), -1, None);
    let response = client.ask(&anonymous, 12).await;
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(client.produce("t", &batch(&["plain"])).await.base_offset, 0, "nothing was appended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_commits_offsets_by_topic_id() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    let known = client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let unknown = uuid::Uuid::from_u128(7);
    let mut request = offsets_of(&producer, "g", "", 5);
    request.topics[0].topic_id = unknown;
    let there = TxnOffsetCommitRequestTopic { topic_id: known, ..request.topics[0].clone() };
    request.topics.push(there);
    let response = client.ask(&request, 6).await;
    let answers: Vec<_> =
        response.topics.iter().map(|topic| (topic.topic_id, topic.partitions[0].error_code)).collect();
    assert_eq!(answers, [(unknown, ErrorCode::UNKNOWN_TOPIC_ID), (known, ErrorCode::NONE)]);
    assert_eq!(committed(&mut client, true).await.error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!(committed(&mut client, true).await.committed_offset, 5);
}
