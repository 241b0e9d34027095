//! What other implementations of Kafka's protocol got wrong about transactions, each as a test of its own. The names of
//! the tests say what must hold.

use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_wire::messages::add_partitions_to_txn::AddPartitionsToTxnTopic;
use logmill_wire::messages::fetch::PartitionData;
use logmill_wire::messages::join_group::JoinGroupRequestProtocol;
use logmill_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use logmill_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use logmill_wire::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponsePartitions,
};
use logmill_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use logmill_wire::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    FetchRequest, InitProducerIdRequest, JoinGroupRequest, ListOffsetsRequest, OffsetCommitRequest,
    OffsetFetchRequest, TxnOffsetCommitRequest,
};
use logmill_wire::{ErrorCode, Str};

use crate::client::{Broker, Client, batch, fetch, produce, stamped, values};
use crate::transactions::Producer;

/// Offset and leader epoch.
pub(crate) async fn list_offset(client: &mut Client, timestamp: i64, isolation_level: i8) -> (i64, i32) {
    let partitions = vec![ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() }];
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions }];
    let request = ListOffsetsRequest { topics, isolation_level, ..ListOffsetsRequest::default() };
    let response = client.ask(&request, 9).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::NONE);
    (partition.offset, partition.leader_epoch)
}

/// What a consumer of committed records makes of an answer: it skips by producer id alone, from the first
/// offset of an aborted transaction to its marker.
pub(crate) fn committed_values(data: &PartitionData) -> Vec<String> {
    let mut coming = data.aborted_transactions.clone().unwrap();
    let mut aborting = Vec::new();
    let mut values = Vec::new();
    for batch in logmill_record::batches(data.records.clone().unwrap().into_bytes()) {
        let batch = batch.unwrap();
        let header = batch.header();
        coming.retain(|aborted| {
            let begins = aborted.first_offset <= header.last_offset();
            aborting.extend(begins.then_some(aborted.producer_id));
            !begins
        });
        if header.is_control() {
            let marker = logmill_record::EndTxnMarker::from_batch(&batch).unwrap();
            if !marker.commit {
                aborting.retain(|id| *id != header.producer_id);
            }
            continue;
        }
        if header.is_transactional() && aborting.contains(&header.producer_id) {
            continue;
        }
        for record in batch.records(1 << 20).unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

/// Reads a partition from its beginning to its last stable offset, as often as it takes.
pub(crate) async fn read_committed(client: &mut Client, partition: i32) -> Vec<String> {
    let (mut offset, mut all) = (0, Vec::new());
    loop {
        let request = FetchRequest { isolation_level: 1, ..fetch("t", &[(partition, offset)]) };
        let mut response = client.ask(&request, 12).await;
        let data = response.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, ErrorCode::NONE);
        let batches = logmill_record::batches(data.records.clone().unwrap().into_bytes());
        let Some(last) = batches.last() else {
            assert_eq!(offset, data.last_stable_offset, "everything stable is read");
            return all;
        };
        all.extend(committed_values(&data));
        offset = last.unwrap().header().next_offset();
    }
}

pub(crate) fn offsets_of(
    producer: &Producer,
    group: &str,
    topic: &str,
    offset: i64,
) -> TxnOffsetCommitRequest {
    let partitions = vec![TxnOffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some(Str::from(format!("note {offset}"))),
        ..TxnOffsetCommitRequestPartition::default()
    }];
    TxnOffsetCommitRequest {
        transactional_id: Str::from_static(producer.transactional_id),
        group_id: group.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() }],
        ..TxnOffsetCommitRequest::default()
    }
}

pub(crate) async fn commit_in_transaction(
    client: &mut Client,
    producer: &Producer,
    offset: i64,
) -> ErrorCode {
    let response = client.ask(&offsets_of(producer, "g", "t", offset), 5).await;
    response.topics[0].partitions[0].error_code
}

pub(crate) async fn commit_plainly(client: &mut Client, partition_index: i32, offset: i64) {
    let partitions = vec![OffsetCommitRequestPartition {
        partition_index,
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    }];
    let topics = vec![OffsetCommitRequestTopic {
        name: "t".into(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    }];
    let request = OffsetCommitRequest { group_id: "g".into(), topics, ..OffsetCommitRequest::default() };
    let response = client.ask(&request, 8).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

pub(crate) async fn committed(client: &mut Client, require_stable: bool) -> OffsetFetchResponsePartitions {
    let topics = vec![OffsetFetchRequestTopics {
        name: "t".into(),
        partition_indexes: vec![0],
        ..OffsetFetchRequestTopics::default()
    }];
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(topics),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..OffsetFetchRequest::default() };
    let mut response = client.ask(&request, 8).await;
    response.groups.remove(0).topics.remove(0).partitions.remove(0)
}

async fn state_of(client: &mut Client, transactional_id: &str) -> String {
    let request = DescribeTransactionsRequest { transactional_ids: vec![transactional_id.into()] };
    client.ask(&request, 0).await.transaction_states[0].transaction_state.to_string()
}

/// 1: the last stable offset is exclusive. 2: and it, not the log's end, bounds what is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_committed_records_stop_before_the_first_open_transaction() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.produce("t", &batch(&["before"])).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    let open = producer.send(&mut client, "t", "open").await.base_offset;
    client.produce("t", &batch(&["behind"])).await;
    let data = client.fetch("t", 0, 1).await;
    assert_eq!((values(&data), data.last_stable_offset, data.high_watermark), (vec!["before".into()], 1, 3));
    for offset in [open, open + 1, 3] {
        let data = client.fetch("t", offset, 1).await;
        assert_eq!((data.error_code, values(&data).len()), (ErrorCode::NONE, 0), "at {offset}");
    }
    assert_eq!(list_offset(&mut client, -1, 1).await.0, 1);
    assert_eq!(list_offset(&mut client, -1, 0).await.0, 3);
    producer.end(&mut client, true).await;
    assert_eq!(values(&client.fetch("t", 0, 1).await), ["before", "open", "behind"]);
    assert_eq!(list_offset(&mut client, -1, 1).await.0, 4);
}

/// 3: aborted records are listed, so that clients leave them out. 13: who reads everything still gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_listed_for_one_kind_of_reader_and_given_to_the_other() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut one = Producer::init(&mut client, "one", 12).await;
    let mut two = Producer::init(&mut client, "two", 12).await;
    // Interleaved: the markers do not come in the order of the beginnings.
    one.send(&mut client, "t", "one aborted").await;
    two.send(&mut client, "t", "two committed").await;
    one.send(&mut client, "t", "one aborted too").await;
    two.end(&mut client, true).await;
    one.end(&mut client, false).await;
    one.send(&mut client, "t", "one committed").await;
    one.end(&mut client, true).await;
    let data = client.fetch("t", 0, 1).await;
    assert_eq!(committed_values(&data), ["two committed", "one committed"]);
    let everything = client.fetch("t", 0, 0).await;
    assert!(everything.aborted_transactions.is_none());
    let all = ["one aborted", "two committed", "one aborted too", "one committed"];
    assert_eq!(values(&everything), all);
    // In the middle of the aborted transaction it is listed just the same.
    assert_eq!(committed_values(&client.fetch("t", 2, 1).await), ["one committed"]);
}

/// 4: after a crash the last stable offset is neither ahead nor behind. 12: and duplicates are still known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_changes_neither_the_stable_offset_nor_what_is_known_of_producers() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.produce("t", &stamped(&["a"], 700, 0, 0, false)).await;
    let mut aborted = Producer::init(&mut client, "aborted", 12).await;
    aborted.send(&mut client, "t", "aborted").await;
    aborted.end(&mut client, false).await;
    let mut open = Producer::init(&mut client, "open", 12).await;
    let first = open.send(&mut client, "t", "open").await.base_offset;
    client.produce("t", &batch(&["behind"])).await;

    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    let data = client.fetch("t", 0, 1).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (first, first + 2));
    assert_eq!(committed_values(&data), ["a"]);
    let again = client.produce("t", &stamped(&["a"], 700, 0, 0, false)).await;
    assert_eq!((again.error_code, again.base_offset), (ErrorCode::NONE, 0));
    let gap = client.produce("t", &stamped(&["c"], 700, 0, 5, false)).await;
    assert_eq!(gap.error_code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(open.send(&mut client, "t", "more").await.error_code, ErrorCode::NONE);
    assert_eq!(open.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!(read_committed(&mut client, 0).await, ["a", "open", "behind", "more"]);
}

/// 5: one producer id, an aborted transaction and then a committed one in the same epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_abort_does_not_hide_a_later_transaction_of_the_same_producer() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 11).await;
    for (value, commit) in [("no", false), ("yes", true), ("no again", false), ("yes again", true)] {
        producer.add(&mut client, "t").await;
        assert_eq!(producer.send(&mut client, "t", value).await.error_code, ErrorCode::NONE);
        assert_eq!(producer.end(&mut client, commit).await.error_code, ErrorCode::NONE);
    }
    assert_eq!(committed_values(&client.fetch("t", 0, 1).await), ["yes", "yes again"]);
    let later = client.fetch("t", 2, 1).await;
    let firsts: Vec<i64> = later.aborted_transactions.iter().flatten().map(|a| a.first_offset).collect();
    assert_eq!(firsts, [4], "the first abort ended before");
    assert_eq!(committed_values(&later), ["yes", "yes again"]);
}

pub(crate) async fn init(
    client: &mut Client,
    transactional_id: &'static str,
    timeout_ms: i32,
) -> (ErrorCode, i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(transactional_id.into()),
        transaction_timeout_ms: timeout_ms,
        ..InitProducerIdRequest::default()
    };
    let response = client.ask(&request, 4).await;
    (response.error_code, response.producer_id, response.producer_epoch)
}

/// 6: a transaction whose producer is gone is aborted when its time is over, one without data too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_take_too_long_are_aborted_with_or_without_data() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    client.create("empty", 1, &[]).await;
    let (code, id, epoch) = init(&mut client, "slow", 700).await;
    assert_eq!(code, ErrorCode::NONE);
    let mut slow = Producer { transactional_id: "slow", id, epoch, sequence: 0, version: 12 };
    assert_eq!(slow.send(&mut client, "t", "left").await.error_code, ErrorCode::NONE);
    // Only announced: the partition has nothing of it.
    let (_, id, epoch) = init(&mut client, "announced", 700).await;
    let announced = Producer { transactional_id: "announced", id, epoch, sequence: 0, version: 11 };
    assert_eq!(announced.add(&mut client, "empty").await, ErrorCode::NONE);
    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    let began = Instant::now();
    loop {
        let stable = client.fetch("t", 0, 1).await;
        let states = (state_of(&mut client, "slow").await, state_of(&mut client, "announced").await);
        if stable.last_stable_offset == stable.high_watermark
            && states.0 == "CompleteAbort"
            && states.1 == states.0
        {
            assert!(committed_values(&stable).is_empty());
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "still {states:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Who comes back late is told so, and goes on with the epoch that the abort it asks for has given already.
    assert_eq!(slow.send(&mut client, "t", "late").await.error_code, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(slow.end(&mut client, true).await.error_code, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(slow.end(&mut client, false).await.error_code, ErrorCode::NONE);
    assert_eq!(slow.send(&mut client, "t", "new").await.error_code, ErrorCode::NONE);
    assert_eq!(slow.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!(read_committed(&mut client, 0).await, ["new"]);
}

/// 7: pending offsets become known by commit, abort and time, also while the group rebalances and over a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_offset_stays_unstable_for_ever() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    commit_plainly(&mut client, 0, 3).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    assert_eq!(commit_in_transaction(&mut client, &producer, 5).await, ErrorCode::NONE);
    assert_eq!(committed(&mut client, true).await.error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(committed(&mut client, false).await.committed_offset, 3);
    // A member joins meanwhile, so that the group is in the middle of a rebalance when the transaction ends.
    let mut member = broker.connect().await;
    let mut join = joining("");
    join.member_id = member.ask(&join, 7).await.member_id;
    let joined = member.ask(&join, 7).await;
    assert_eq!(joined.error_code, ErrorCode::NONE);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    let now = committed(&mut client, true).await;
    assert_eq!((now.error_code, now.committed_offset), (ErrorCode::NONE, 5));
    assert_eq!(now.metadata.as_deref(), Some("note 5"));

    let (_, id, epoch) = init(&mut client, "slow", 500).await;
    let slow = Producer { transactional_id: "slow", id, epoch, sequence: 0, version: 12 };
    let mut request = offsets_of(&slow, "g", "t", 9);
    (request.generation_id, request.member_id) = (joined.generation_id, joined.member_id.clone());
    let response = client.ask(&request, 5).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
    assert_eq!(committed(&mut client, true).await.error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    let began = Instant::now();
    while committed(&mut client, true).await.error_code == ErrorCode::UNSTABLE_OFFSET_COMMIT {
        assert!(began.elapsed() < Duration::from_secs(15), "its transaction's time is over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(committed(&mut client, true).await.committed_offset, 5);
}

/// 9: a transaction of offsets alone commits them, may send them twice, and leaves none for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_may_have_nothing_but_offsets() {
    for newest in [true, false] {
        let broker = Broker::start().await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "x", if newest { 12 } else { 11 }).await;
        let commit = async |client: &mut Client, producer: &Producer, offset| {
            if !newest {
                let add = AddOffsetsToTxnRequest {
                    transactional_id: "x".into(),
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    group_id: "g".into(),
                };
                assert_eq!(client.ask(&add, 3).await.error_code, ErrorCode::NONE);
            }
            for _ in 0..2 {
                let request = offsets_of(producer, "g", "t", offset);
                let response = client.ask(&request, if newest { 5 } else { 3 }).await;
                assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
            }
        };
        commit(&mut client, &producer, 4).await;
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
        assert_eq!(committed(&mut client, true).await.committed_offset, 4);
        commit(&mut client, &producer, 8).await;
        assert_eq!(producer.end(&mut client, false).await.error_code, ErrorCode::NONE);
        if !newest {
            producer.add(&mut client, "t").await;
        }
        assert_eq!(producer.send(&mut client, "t", "data").await.error_code, ErrorCode::NONE);
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
        let now = committed(&mut client, true).await;
        assert_eq!((now.error_code, now.committed_offset), (ErrorCode::NONE, 4), "newest: {newest}");
    }
}

/// 10: offsets are taken only from the producer of the transaction, for topics there are, in the group's generation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_in_a_transaction_are_checked() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let old = Producer::init(&mut client, "x", 12).await;
    let producer = Producer::init(&mut client, "x", 12).await;
    assert_eq!(commit_in_transaction(&mut client, &old, 1).await, ErrorCode::INVALID_PRODUCER_EPOCH);
    let code = async |client: &mut Client, request: TxnOffsetCommitRequest, version| {
        client.ask(&request, version).await.topics[0].partitions[0].error_code
    };
    let unknown = offsets_of(&producer, "g", "nowhere", 1);
    assert_eq!(code(&mut client, unknown, 5).await, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let mut partition = offsets_of(&producer, "g", "t", 1);
    partition.topics[0].partitions[0].partition_index = 7;
    assert_eq!(code(&mut client, partition, 5).await, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let generation = TxnOffsetCommitRequest { generation_id: 4, ..offsets_of(&producer, "g", "t", 1) };
    assert_eq!(code(&mut client, generation, 5).await, ErrorCode::ILLEGAL_GENERATION);
    let stranger = TxnOffsetCommitRequest { producer_id: 12345, ..offsets_of(&producer, "g", "t", 1) };
    assert_eq!(code(&mut client, stranger, 5).await, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    let mut large = offsets_of(&producer, "g", "t", 1);
    large.topics[0].partitions[0].committed_metadata = Some(Str::from("x".repeat(5000)));
    assert_eq!(code(&mut client, large, 5).await, ErrorCode::OFFSET_METADATA_TOO_LARGE);
    // An older client must have announced the group.
    let not_added = offsets_of(&producer, "g", "t", 1);
    assert_eq!(code(&mut client, not_added.clone(), 4).await, ErrorCode::TRANSACTION_ABORTABLE);
    assert_eq!(code(&mut client, not_added, 3).await, ErrorCode::INVALID_TXN_STATE);
    // Nothing of all this has begun a transaction.
    assert_eq!(state_of(&mut client, "x").await, "Empty");
    assert_eq!(committed(&mut client, true).await.committed_offset, -1);
}

/// 11: a timeout must be positive and within the broker's limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_timeouts_have_bounds() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    for (timeout_ms, code) in [
        (0, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (-1, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (900_001, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (i32::MAX, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        (900_000, ErrorCode::NONE),
    ] {
        assert_eq!(init(&mut client, "x", timeout_ms).await.0, code, "{timeout_ms}");
    }
}

/// 14: taking over an open transaction costs one epoch, not two, and its markers fence the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_over_an_open_transaction_bumps_the_epoch_once() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    for round in 0..4 {
        let mut producer = Producer::init(&mut client, "x", 12).await;
        assert_eq!(producer.epoch, round);
        assert_eq!(producer.send(&mut client, "t", "open").await.error_code, ErrorCode::NONE);
    }
}

/// 15: the answer to an end is lost, and asking again gives it again: no livelock, no second bump.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_sent_twice_is_answered_the_same() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    for commit in [true, false] {
        let mut producer = Producer::init(&mut client, "x", 12).await;
        producer.send(&mut client, "t", "a").await;
        let end = EndTxnRequest {
            transactional_id: "x".into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: commit,
        };
        let first = client.ask(&end, 5).await;
        assert_eq!((first.error_code, first.producer_epoch), (ErrorCode::NONE, producer.epoch + 1));
        for _ in 0..3 {
            assert_eq!(client.ask(&end, 5).await, first);
        }
        let other = EndTxnRequest { committed: !commit, ..end };
        assert_eq!(client.ask(&other, 5).await.error_code, ErrorCode::INVALID_TXN_STATE);
    }
    // Over a crash too.
    let mut producer = Producer::init(&mut client, "x", 12).await;
    producer.send(&mut client, "t", "b").await;
    let end = EndTxnRequest {
        transactional_id: "x".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed: true,
    };
    let first = client.ask(&end, 5).await;
    let broker = broker.crash().await;
    assert_eq!(broker.connect().await.ask(&end, 5).await, first);
}

/// 17: what comes late from one transaction cannot reach the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_late_reaches_the_next_transaction() {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "x", 12).await;
    producer.send(&mut client, "t", "first").await;
    let late = |committed| EndTxnRequest {
        transactional_id: "x".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    let (late_commit, late_abort) = (late(true), late(false));
    let late_offsets = offsets_of(&producer, "g", "t", 1);
    let late_add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0] }],
        ..AddPartitionsToTxnRequest::default()
    };
    producer.end(&mut client, true).await;
    producer.send(&mut client, "t", "second").await;
    for end in [late_commit, late_abort] {
        assert_eq!(client.ask(&end, 5).await.error_code, ErrorCode::PRODUCER_FENCED);
    }
    let offsets = client.ask(&late_offsets, 5).await;
    assert_eq!(offsets.topics[0].partitions[0].error_code, ErrorCode::INVALID_PRODUCER_EPOCH);
    let added = client.ask(&late_add, 3).await;
    let code = added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
    assert_eq!(code, ErrorCode::PRODUCER_FENCED);
    assert_eq!(state_of(&mut client, "x").await, "Ongoing");
    assert_eq!(values(&client.fetch("t", 0, 1).await), ["first"], "the second one is still open");
    producer.end(&mut client, false).await;
    assert_eq!(committed_values(&client.fetch("t", 0, 1).await), ["first"]);
}

/// 18: many producers commit and abort side by side, in two partitions at once, with a crash in between; what readers
/// of committed records see is what was acknowledged as committed: nothing lost, twice, torn or aborted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_transactions_are_whole_and_aborted_ones_are_nowhere() {
    const NAMES: [&str; 4] = ["p0", "p1", "p2", "p3"];
    let mut broker = Broker::start().await;
    broker.connect().await.create("t", 2, &[]).await;
    let mut expected: Vec<String> = Vec::new();
    for life in 0..2 {
        let mut tasks = Vec::new();
        for (number, name) in NAMES.into_iter().enumerate() {
            let mut client = broker.connect().await;
            tasks.push(tokio::spawn(async move {
                let mut producer = Producer::init(&mut client, name, 12).await;
                let mut committed = Vec::new();
                for round in 0..15 {
                    let value = format!("{life} {name} {round}");
                    let records = stamped(&[&value, "rest"], producer.id, producer.epoch, 0, true);
                    let mut request = produce("t", 0, records.bytes(), -1, Some(name));
                    let mut second = request.topic_data[0].partition_data[0].clone();
                    second.index = 1;
                    request.topic_data[0].partition_data.push(second);
                    let response = client.ask(&request, 12).await;
                    for partition in &response.responses[0].partition_responses {
                        assert_eq!(partition.error_code, ErrorCode::NONE, "{value}");
                    }
                    let commit = (round + number) % 3 != 0;
                    assert_eq!(producer.end(&mut client, commit).await.error_code, ErrorCode::NONE);
                    committed.extend(commit.then_some(value));
                }
                // Left open: nobody may see it.
                let records = stamped(&["open"], producer.id, producer.epoch, 0, true);
                client.ask(&produce("t", 0, records.bytes(), -1, Some(name)), 12).await;
                committed
            }));
        }
        for task in tasks {
            expected.extend(task.await.unwrap());
        }
        broker = broker.crash().await;
    }
    // The next producers of the names end what was left open.
    let mut client = broker.connect().await;
    for name in NAMES {
        Producer::init(&mut client, name, 12).await;
    }
    expected.sort();
    for partition in [0, 1] {
        let (mut seen, rest): (Vec<_>, Vec<_>) =
            read_committed(&mut client, partition).await.into_iter().partition(|value| value != "rest");
        seen.sort();
        assert_eq!(seen, expected, "partition {partition}");
        assert_eq!(rest.len(), expected.len());
    }
}

pub(crate) fn joining(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"topics") };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}
