//! A node to ask, and a client that asks it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use logmill_broker::node::Node;
use logmill_config::Config;
use logmill_record::{Batch, BatchBuilder, BatchOptions, ProducerStamp};
use logmill_wire::frame::{decode_response, encode_request};
use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use logmill_wire::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use logmill_wire::messages::produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData};
use logmill_wire::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use logmill_wire::{ErrorCode, Request, Str};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

/// Nothing here takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker with a directory of its own.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    node: Option<Node>,
    directory: Option<TempDir>,
}

/// A broker whose directory goes away under its feet ends the process: it is stopped before.
impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            let stopped = tokio::task::block_in_place(|| Handle::current().block_on(node.shutdown()));
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        let mut config = Config::default();
        change(&mut config);
        Self::open(directory, config).await
    }

    /// Starts on a directory that another one has left.
    pub(crate) async fn start_in(directory: TempDir) -> Self {
        Self::open(directory, Config::default()).await
    }

    async fn open(directory: TempDir, mut config: Config) -> Self {
        config.data_dir = directory.path().to_owned();
        config.listen.port = 0;
        config.shutdown_drain = Duration::from_secs(2);
        let node = Node::start(config).await.unwrap();
        Self { address: node.local_addr(), node: Some(node), directory: Some(directory) }
    }

    pub(crate) async fn stop(mut self) -> TempDir {
        self.node.take().expect("it runs").shutdown().await.unwrap();
        self.directory.take().expect("it has one")
    }

    /// Stops cleanly and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let directory = self.stop().await;
        Self::open(directory, Config::default()).await
    }

    /// Starts on what the disk holds now, as if the machine had lost its power: nothing is closed before.
    /// No request may be under way.
    pub(crate) async fn crash(self) -> Self {
        let copy = snapshot(self.data_dir());
        self.stop().await;
        Self::open(copy, Config::default()).await
    }

    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.directory.as_ref().expect("it is there until the broker stops").path()
    }

    /// Where its metrics are read; it was told to have some.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.node.as_ref().and_then(Node::metrics_addr).expect("it runs, with metrics")
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), next: 1 }
    }
}

/// A copy of a directory as it was at one moment: a broker writes segments and cleans up also when nobody asks.
fn snapshot(directory: &Path) -> TempDir {
    for _ in 0..100 {
        let copy = TempDir::new().unwrap();
        let rested = files(directory).and_then(|before| {
            copy_files(directory, copy.path())?;
            Ok(before == files(directory)?)
        });
        if rested.unwrap_or(false) {
            return copy;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} never rests", directory.display());
}

/// Each file with its length and the time of its last change.
fn files(directory: &Path) -> std::io::Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.insert(entry.path(), (metadata.len(), metadata.modified()?));
        }
    }
    Ok(found)
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Client {
    /// Sends without waiting; the number is that of the answer.
    pub(crate) async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        let number = self.next;
        self.next += 1;
        let frame = encode_request(number, Some("test"), request, version).unwrap();
        self.stream.write_all(&frame.into_bytes()).await.unwrap();
        number
    }

    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        timeout(PATIENCE, read).await.expect("an answer, or the end of the connection")
    }

    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let frame = self.frame().await.expect("an answer");
        decode_response(frame, version).unwrap()
    }

    pub(crate) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let number = self.send(request, version).await;
        let (answered, response) = self.receive::<R>(version).await;
        assert_eq!(answered, number);
        response
    }

    /// Expects the broker to close without a word.
    pub(crate) async fn expect_closed(&mut self) {
        assert!(self.frame().await.is_none(), "the connection is closed");
    }

    /// Creates a topic and gives its id.
    pub(crate) async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs
                .iter()
                .map(|(name, value)| CreatableTopicConfig {
                    name: (*name).into(),
                    value: Some((*value).into()),
                })
                .collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        let response = self.ask(&request, 7).await;
        let result = &response.topics[0];
        assert_eq!(result.error_code, ErrorCode::NONE, "{:?}", result.error_message);
        result.topic_id
    }

    /// Produces to partition 0 by name.
    pub(crate) async fn produce(&mut self, topic: &str, batch: &Batch) -> PartitionProduceResponse {
        let mut response = self.ask(&produce(topic, 0, batch.bytes(), -1, None), 11).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Fetches partition 0 by name, without a session.
    pub(crate) async fn fetch(&mut self, topic: &str, offset: i64, isolation_level: i8) -> PartitionData {
        let request = FetchRequest { isolation_level, ..fetch(topic, &[(0, offset)]) };
        let mut response = self.ask(&request, 12).await;
        assert_eq!(response.error_code, ErrorCode::NONE);
        response.responses.remove(0).partitions.remove(0)
    }
}

/// A batch of records with these values.
pub(crate) fn batch(values: &[&str]) -> Batch {
    batch_with(values, BatchOptions::default())
}

/// The same of an idempotent or transactional producer.
pub(crate) fn stamped(values: &[&str], id: i64, epoch: i16, sequence: i32, transactional: bool) -> Batch {
    let producer = Some(ProducerStamp { id, epoch, sequence });
    batch_with(values, BatchOptions { producer, transactional, ..BatchOptions::default() })
}

fn batch_with(values: &[&str], options: BatchOptions) -> Batch {
    let mut builder = BatchBuilder::new(options);
    for (index, value) in (0..).zip(values) {
        builder.push(1_700_000_000_000 + index, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// A produce of one batch.
pub(crate) fn produce(
    topic: &str,
    index: i32,
    records: &Bytes,
    acks: i16,
    transactional_id: Option<&str>,
) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index, records: Some(records.clone()) }];
    ProduceRequest {
        transactional_id: transactional_id.map(Str::from),
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data,
            ..TopicProduceData::default()
        }],
    }
}

/// A fetch without a session, that does not wait.
pub(crate) fn fetch(topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        })
        .collect();
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 24,
        topics: vec![FetchTopic { topic: topic.into(), partitions, ..FetchTopic::default() }],
        ..FetchRequest::default()
    }
}

/// The values in fetched records, control batches left out.
pub(crate) fn values(data: &PartitionData) -> Vec<String> {
    let bytes = data.records.clone().unwrap_or_default().into_bytes();
    let mut values = Vec::new();
    for batch in logmill_record::batches(bytes) {
        let batch = batch.unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(1 << 24).unwrap() {
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
    }
    values
}
