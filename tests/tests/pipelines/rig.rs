//! A broker in this process, and what a test does to it and asks of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_broker::loggers::Loggers;
use logmill_broker::node::Node;
use logmill_broker::pipelines::build::Functions;
use logmill_client::{
    Client, Codec, Isolation, NewTopic, Pipeline, PipelineState, Pipelines, ProducerRecord, StartAt,
};
use logmill_config::Config;
use logmill_storage::{Disk, RealDisk, SimDisk};

/// Nothing here takes as long, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);

/// A broker and a client of it. Stopped when it is dropped.
pub(crate) struct Rig {
    node: Option<Node>,
    pub(crate) client: Client,
    pub(crate) pipelines: Pipelines,
    disk: Arc<dyn Disk>,
    config: Config,
    _directory: Option<tempfile::TempDir>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            let stopped =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(node.shutdown()));
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        change(&mut config);
        Rig::open(Arc::new(RealDisk), config, Some(directory)).await
    }

    /// On a disk that can be made full.
    pub(crate) async fn start_on(disk: &SimDisk, change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = Config { data_dir: Path::new("/data").to_owned(), ..Config::default() };
        change(&mut config);
        Rig::open(Arc::new(disk.clone()), config, None).await
    }

    async fn open(disk: Arc<dyn Disk>, mut config: Config, directory: Option<tempfile::TempDir>) -> Rig {
        config.listen.port = 0;
        config.shutdown_drain = Duration::from_secs(2);
        let loggers = Loggers::fixed("off");
        let node = Node::start_on(Arc::clone(&disk), config.clone(), loggers, Functions::new())
            .await
            .expect("it starts");
        let client = Client::connect(&node.local_addr().to_string()).await.expect("a connection");
        let pipelines = client.pipelines();
        Rig { node: Some(node), client, pipelines, disk, config, _directory: directory }
    }

    /// Where a pipeline's state is that is not in memory.
    pub(crate) fn spill(&self, pipeline: &str) -> PathBuf {
        self.config.data_dir.join("pipelines").join(pipeline).join("spill")
    }

    /// Stops cleanly, changes what is on the disk, and starts again.
    pub(crate) async fn restart_after(mut self, meanwhile: impl FnOnce(&Path)) -> Rig {
        self.node.take().expect("it runs").shutdown().await.expect("it stops");
        meanwhile(&self.config.data_dir);
        Rig::open(Arc::clone(&self.disk), self.config.clone(), self._directory.take()).await
    }

    /// Stops cleanly and starts again, with other settings perhaps.
    pub(crate) async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Rig {
        self.node.take().expect("it runs").shutdown().await.expect("it stops");
        let mut config = self.config.clone();
        change(&mut config);
        Rig::open(Arc::clone(&self.disk), config, self._directory.take()).await
    }

    pub(crate) async fn topic(&self, name: &str, partitions: u32) {
        let topic = NewTopic::new(name).partitions(partitions).config("retention.ms", "-1");
        self.client.admin().create_topic(&topic).await.expect("a topic");
    }

    /// Produces values, each a record, to a partition.
    pub(crate) async fn produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
    ) {
        self.try_produce(topic, partition, values, Codec::None).await.expect("they are taken");
    }

    pub(crate) async fn try_produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
        codec: Codec,
    ) -> logmill_client::Result<()> {
        let producer = self
            .client
            .producer()
            .compression(codec)
            .linger(Duration::from_millis(20))
            .delivery_timeout(Duration::from_secs(10))
            .build()
            .await?;
        let sent = values.into_iter().map(|value| {
            producer.send(ProducerRecord::to(topic).partition(partition).value(Bytes::from(value)))
        });
        futures::future::try_join_all(sent).await?;
        producer.close().await
    }

    /// The committed values of a topic, sorted.
    pub(crate) async fn values(&self, topic: &str) -> Vec<String> {
        let records = self.records(topic).await;
        let mut values: Vec<String> = records.into_iter().map(|(value, _)| value).collect();
        values.sort_unstable();
        values
    }

    /// The committed values of a topic with their headers.
    pub(crate) async fn records(&self, topic: &str) -> Vec<(String, BTreeMap<String, String>)> {
        let described = self.client.admin().describe_topic(topic).await.expect("the topic");
        let mut left = 0;
        for partition in described.partitions {
            let offsets = self.client.admin().offsets(topic, partition.index, Isolation::Committed).await;
            let offsets = offsets.expect("offsets");
            left += offsets.end - offsets.start;
        }
        let reader = self.client.reader().isolation(Isolation::Committed).topic(topic, StartAt::Earliest);
        let mut reader = reader.build().await.expect("a reader");
        let text = |bytes: Option<Bytes>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let mut records = Vec::new();
        for _ in 0..left {
            let record =
                tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("a record");
            let headers = record.headers.iter().map(|header| {
                (String::from_utf8_lossy(&header.key).into_owned(), text(header.value.clone()))
            });
            records.push((text(record.value.clone()), headers.collect()));
        }
        reader.close().await;
        records
    }

    pub(crate) async fn run(&self, name: &str, script: &str) -> Pipeline {
        self.pipelines.run(name, script, None).await.expect("it runs").0
    }

    pub(crate) async fn describe(&self, name: &str) -> Pipeline {
        self.pipelines.describe(name).await.expect("it is there")
    }

    /// Waits until a pipeline is as a test expects it.
    pub(crate) async fn until(&self, name: &str, expected: impl Fn(&Pipeline) -> bool) -> Pipeline {
        let began = Instant::now();
        loop {
            let pipeline = self.describe(name).await;
            if expected(&pipeline) {
                return pipeline;
            }
            let events = self.pipelines.events(name, 0).await;
            assert!(began.elapsed() < PATIENCE, "{pipeline:#?}\n{events:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) async fn until_state(&self, name: &str, state: PipelineState) -> Pipeline {
        self.until(name, |pipeline| pipeline.state() == state).await
    }

    /// Reads the whole input and ends.
    pub(crate) async fn finish(&self, name: &str) -> Pipeline {
        self.pipelines.finish_input(name, logmill_client::InputEnd::Now).await.expect("an end");
        let done =
            |pipeline: &Pipeline| matches!(pipeline.state(), PipelineState::Finished | PipelineState::Failed);
        let pipeline = self.until(name, done).await;
        assert_eq!(pipeline.state(), PipelineState::Finished, "{}", pipeline.error);
        pipeline
    }

    /// The kinds of a pipeline's events.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let events = self.pipelines.events(name, 0).await.expect("events");
        events.into_iter().map(|event| event.kind).collect()
    }

    /// That others are served: a record goes through a topic that no pipeline knows.
    pub(crate) async fn others_are_served(&self) {
        let before = match self.client.admin().describe_topic("others").await {
            Ok(_) => self.values("others").await.len(),
            Err(_) => {
                self.topic("others", 1).await;
                0
            }
        };
        self.produce("others", 0, ["served".to_owned()]).await;
        assert_eq!(self.values("others").await.len(), before + 1);
    }
}
