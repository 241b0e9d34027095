//! A broker, topics with records of the test's own, and a worker over them.

use std::time::{Duration, Instant};

use logmill_client::{Client, NewTopic, ProducerRecord};
use logmill_tests::process::{Broker, Ended, PATIENCE, Process, Scratch};
use serde_json::Value;
use tokio::runtime::Runtime;

/// See the module.
pub(crate) struct Rig {
    pub(crate) scratch: Scratch,
    pub(crate) broker: Broker,
    runtime: Runtime,
}

/// A record: its partition, its timestamp, and its value.
pub(crate) type Sent = (i32, i64, String);

impl Rig {
    pub(crate) fn start() -> Rig {
        let scratch = Scratch::new();
        let broker = super::broker(&scratch);
        Rig { scratch, broker, runtime: Runtime::new().expect("threads") }
    }

    /// Makes a topic.
    pub(crate) fn topic(&self, topic: &str, partitions: u32) {
        self.runtime.block_on(async {
            let client = Client::connect(&self.broker.address).await.expect("a connection");
            client.admin().create_topic(&NewTopic::new(topic).partitions(partitions)).await.expect("a topic");
        });
    }

    /// Writes records with the key `k`, in their order, and waits until they are.
    pub(crate) fn send(&self, topic: &str, records: impl IntoIterator<Item = Sent>) {
        self.runtime.block_on(async {
            let client = Client::connect(&self.broker.address).await.expect("a connection");
            let producer = client.producer().build().await.expect("a producer");
            for (partition, time, value) in records {
                let record = ProducerRecord::to(topic).partition(partition).timestamp(time).key("k");
                drop(producer.enqueue(record.value(value)).await.expect("room"));
            }
            producer.close().await.expect("all is written");
        });
    }

    /// A worker of the pipeline `p` with this script.
    pub(crate) fn worker(&self, name: &str, script: &str, options: &[&str]) -> Process {
        let script = self.scratch.write(&format!("{name}.sql"), script);
        let run = ["worker", "run", &script, "--name", "p", "--output", "json"];
        let address = ["--bootstrap", &self.broker.address];
        Process::start(&self.scratch, name, &[&run, options, &address].concat(), &[])
    }

    /// Waits until everything in the sources is read, by what the group says.
    pub(crate) fn until_read(&self, worker: &mut Process) {
        let began = Instant::now();
        loop {
            let group = self.broker.try_run(&["group", "describe", "logmill-p", "--output", "json"], "");
            let group: Value = serde_json::from_str(&group.out).unwrap_or_default();
            let partitions = group["partitions"].as_array().cloned().unwrap_or_default();
            if !partitions.is_empty() && partitions.iter().all(|partition| partition["lag"] == 0) {
                return;
            }
            assert!(worker.is_alive(), "{}", worker.log());
            assert!(began.elapsed() < PATIENCE, "it does not come to the end: {group}\n{}", worker.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The numbers of records that are committed in a topic.
    pub(crate) fn count(&self, topic: &str) -> usize {
        self.broker.run(&["consume", topic, "--exit"]).lines().count()
    }
}

/// What a worker says at its end of its tasks, added up.
pub(crate) fn total(ended: &Ended, field: &str) -> i64 {
    assert!(ended.status.success(), "{}", ended.log);
    let document: Value = serde_json::from_str(&ended.out).expect("JSON");
    let tasks = document["tasks"].as_array().expect("tasks");
    tasks.iter().map(|task| task[field].as_i64().expect("a number")).sum()
}

/// Tells a worker to stop, and waits for that.
pub(crate) fn stop(worker: Process) -> Ended {
    worker.terminate();
    worker.wait(PATIENCE)
}
