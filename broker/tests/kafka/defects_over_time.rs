//! What other implementations of Kafka's protocol got wrong about transactions that shows only later: when a log was
//! compacted, records were deleted, or epochs have run out.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logmill_config::Config;
use logmill_coordinator::transactions::{Record, Transaction, TransactionState};
use logmill_record::{BatchBuilder, BatchOptions};
use logmill_storage::{Append, Check, Frame, RealDisk, Store, StoreOptions};
use logmill_wire::ErrorCode;
use uuid::Uuid;

use crate::cleaning::delete;
use crate::client::{Broker, PATIENCE};
use crate::configs::{SET, TOPIC, alter, change};
use crate::defects_of_others::{
    commit_in_transaction, commit_plainly, committed, committed_values, init, read_committed,
};
use crate::transactions::Producer;

/// A broker that looks for what can be cleaned all the time.
fn eager(config: &mut Config) {
    config.cleaning.interval = Duration::from_millis(20);
}

/// Whether a log's segments have these bytes.
fn has_bytes(directory: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(directory).unwrap().filter_map(Result::ok);
    let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    let mut contents = logs.filter_map(|file| std::fs::read(file.path()).ok());
    contents.any(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

/// 8: of a partition's committed offsets the one whose record is last counts, whenever its transaction ended. That is
/// the one that compaction keeps (KAFKA-5247); so what is told while the broker runs, after a crash, and after
/// compaction is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offset_that_counts_is_the_one_that_compaction_keeps() {
    let broker = Broker::start_with(eager).await;
    let mut client = broker.connect().await;
    client.create("t", 2, &[]).await;
    commit_plainly(&mut client, 0, 1).await;
    let small = [("internal.segment.bytes", SET, "400"), ("min.cleanable.dirty.ratio", SET, "0.01")];
    let altered = alter(&mut client, change(TOPIC, "__consumer_offsets", &small)).await;
    assert_eq!(altered.0, ErrorCode::NONE, "{}", altered.1);

    let mut producer = Producer::init(&mut client, "x", 12).await;
    assert_eq!(commit_in_transaction(&mut client, &producer, 20).await, ErrorCode::NONE);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!(committed(&mut client, true).await.committed_offset, 20);
    assert_eq!(commit_in_transaction(&mut client, &producer, 5).await, ErrorCode::NONE);
    commit_plainly(&mut client, 0, 10).await;
    assert_eq!(committed(&mut client, true).await.error_code, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!(committed(&mut client, true).await.committed_offset, 10);

    let home = format!("__consumer_offsets-{}", logmill_coordinator::partition_for("g", 50));
    let begin = Instant::now();
    let mut other = 0;
    while has_bytes(&broker.data_dir().join(&home), b"note 5") {
        assert!(begin.elapsed() < PATIENCE, "the superseded offset is still in the log");
        // Another key, so that the segments before are closed.
        other += 1;
        commit_plainly(&mut client, 1, other).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(committed(&mut client, true).await.committed_offset, 10);
    let broker = broker.crash().await;
    assert_eq!(committed(&mut broker.connect().await, true).await.committed_offset, 10);
    let broker = broker.restart().await;
    assert_eq!(committed(&mut broker.connect().await, true).await.committed_offset, 10);
}

/// The last epoch that is given to a client; the one behind it is in markers only.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// A broker whose transactional id `x` is at its last epoch, as after tens of thousands of transactions: written into its
/// log while it is down, because they would take minutes.
async fn broker_at_the_last_epoch(timeout_ms: i32) -> (Broker, Producer) {
    let broker = Broker::start().await;
    let mut client = broker.connect().await;
    client.create("t", 1, &[]).await;
    let (_, id, _) = init(&mut client, "x", timeout_ms).await;
    let directory = broker.stop().await;

    let state = Transaction {
        producer_id: id,
        previous_producer_id: -1,
        next_producer_id: -1,
        producer_epoch: LAST_EPOCH,
        next_producer_epoch: -1,
        timeout_ms,
        state: TransactionState::CompleteCommit,
        partitions: BTreeSet::new(),
        started: -1,
        updated: i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap(),
        client_version: 2,
    };
    let record = Record::State { transactional_id: "x".into(), value: Some(state) };
    let record = record.encode(2).unwrap().expect("a state has a record");
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.push(1, Some(&record.key), record.value.as_deref(), &[]);
    let options = StoreOptions::new(directory.path().to_owned(), Uuid::new_v4());
    let (store, _) = Store::open(Arc::new(RealDisk), options).unwrap();
    let home = logmill_coordinator::partition_for("x", 50);
    let states = store.partitions().into_iter().find(|partition| {
        partition.topic_name() == "__transaction_state" && partition.id().partition == home
    });
    let append = Append {
        partition: states.expect("the id lives there").id(),
        batch: batch.build(),
        check: Check::Internal { expected_end: None },
    };
    store.commit(Frame::from(vec![append]), None).unwrap();
    while store.journal_round().unwrap().more {}
    store.close().unwrap();
    drop(store);

    let broker = Broker::start_in(directory).await;
    (broker, Producer { transactional_id: "x", id, epoch: LAST_EPOCH, sequence: 0, version: 12 })
}

/// 16: when a producer's epochs are used up its transaction's end gives it another id, the same one each time it is asked
/// for, also after a crash; and nobody can write with the old id any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_that_run_out_go_on_with_another_producer() {
    let (broker, mut producer) = broker_at_the_last_epoch(60_000).await;
    let mut client = broker.connect().await;
    let before = producer.id;
    assert_eq!(producer.send(&mut client, "t", "last").await.error_code, ErrorCode::NONE);
    let mut again = Producer { transactional_id: "x", ..producer };
    assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_ne!(producer.id, before);
    assert_eq!(producer.epoch, 0);

    // The answer was lost.
    let broker = broker.crash().await;
    let mut client = broker.connect().await;
    let mut late = Producer { transactional_id: "x", ..again };
    assert_eq!(again.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!((again.id, again.epoch), (producer.id, 0), "what was told before");
    let late_send = late.send(&mut client, "t", "late").await.error_code;
    assert!(
        matches!(late_send, ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING),
        "{late_send:?}"
    );

    assert_eq!(again.send(&mut client, "t", "first").await.error_code, ErrorCode::NONE);
    assert_eq!(again.end(&mut client, true).await.error_code, ErrorCode::NONE);
    assert_eq!((again.id, again.epoch), (producer.id, 1));
    assert_eq!(late.end(&mut client, true).await.error_code, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(read_committed(&mut client, 0).await, ["last", "first"]);
}

/// 16, too: the epoch that fences the last one is no client's. When a transaction of the last epoch times out, its
/// producer's abort, and whoever comes next, go on with another id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_only_fences_is_given_to_nobody() {
    for comes_back in [true, false] {
        let (broker, mut producer) = broker_at_the_last_epoch(300).await;
        let mut client = broker.connect().await;
        assert_eq!(producer.send(&mut client, "t", "too slow").await.error_code, ErrorCode::NONE);
        let begin = Instant::now();
        while client.fetch("t", 0, 1).await.last_stable_offset == 0 {
            assert!(begin.elapsed() < PATIENCE, "its time is over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let broker = broker.crash().await;
        let mut client = broker.connect().await;
        let before = producer.id;
        if comes_back {
            assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::INVALID_TXN_STATE);
            assert_eq!(producer.end(&mut client, false).await.error_code, ErrorCode::NONE);
        } else {
            producer = Producer::init(&mut client, "x", 12).await;
        }
        assert_ne!(producer.id, before, "comes back: {comes_back}");
        assert_eq!(producer.epoch, 0);
        assert_eq!(producer.send(&mut client, "t", "next").await.error_code, ErrorCode::NONE);
        assert_eq!(producer.end(&mut client, true).await.error_code, ErrorCode::NONE);
        assert_eq!(client.fetch("t", 0, 1).await.aborted_transactions.unwrap().len(), 1);
    }
}

/// DeleteRecords may take the beginning of an open transaction. Readers wait for its end all the same, which decides about
/// what is left, and its producer's batches are still recognised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_deleted_under_an_open_transaction_do_not_change_its_end() {
    for commit in [true, false] {
        let broker = Broker::start().await;
        let mut client = broker.connect().await;
        client.create("t", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "x", 12).await;
        for value in ["one", "two"] {
            assert_eq!(producer.send(&mut client, "t", value).await.error_code, ErrorCode::NONE);
        }
        assert_eq!(delete(&mut client, "t", 1).await, (ErrorCode::NONE, 1));
        let open = client.fetch("t", 1, 1).await;
        assert_eq!((open.last_stable_offset, open.high_watermark), (1, 2), "never before the log's start");

        let broker = broker.crash().await;
        let mut client = broker.connect().await;
        let open = client.fetch("t", 1, 1).await;
        assert_eq!((open.log_start_offset, open.last_stable_offset, open.high_watermark), (1, 1, 2));
        producer.sequence -= 1;
        let again = producer.send(&mut client, "t", "two").await;
        assert_eq!((again.error_code, again.base_offset), (ErrorCode::NONE, 1), "a duplicate");
        assert_eq!(producer.end(&mut client, commit).await.error_code, ErrorCode::NONE);
        let ended = client.fetch("t", 1, 1).await;
        assert_eq!((ended.last_stable_offset, ended.high_watermark), (3, 3));
        let expected: &[&str] = if commit { &["two"] } else { &[] };
        assert_eq!(committed_values(&ended), expected, "commit: {commit}");
        let broker = broker.restart().await;
        let read = broker.connect().await.fetch("t", 1, 1).await;
        assert_eq!(committed_values(&read), expected, "commit: {commit}, started again");
    }
}
