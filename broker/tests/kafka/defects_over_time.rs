//! What other implementations of Kafka's protocol got wrong about transactions that shows only later: when a log was
//! compacted, or epochs have run out.

use std::path::Path;
use std::time::{Duration, Instant};

use logmill_config::Config;
use logmill_wire::ErrorCode;

use crate::client::{Broker, PATIENCE};
use crate::configs::{SET, TOPIC, alter, change};
use crate::defects_of_others::{commit_in_transaction, commit_plainly, committed};
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
