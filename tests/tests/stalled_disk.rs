//! A disk that takes nothing for a while, which is what a stalled sink is here: pipelines wait, with two epochs in memory and
//! no more, however much there is to read; what is there is served meanwhile; then all goes on.
//!
//! Alone in its program, whose memory it looks at.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logmill_broker::loggers::Loggers;
use logmill_broker::node::Node;
use logmill_broker::pipelines::build::Functions;
use logmill_client::{
    Client, InputEnd, Limiting, NewTopic, Pipeline, PipelineState, ProducerRecord, StartAt,
};
use logmill_config::{ByteSize, Config};
use logmill_storage::disk::{DirEntry, DiskFile, DiskLock, FileSystem, OpenOptions};
use logmill_storage::{Disk, RealDisk};

const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough for everything to be read that is read at all.
const STALL: Duration = Duration::from_secs(3);
const EPOCH: ByteSize = ByteSize::mib(1);
const RECORDS: usize = 40_000;
const RECORD_BYTES: usize = 1_000;
/// A record becomes so many times longer: 200 MB come out of all.
const TIMES: usize = 5;
/// What may be in memory of two epochs: read, unpacked, computed, and as a frame.
const ROOM: u64 = 80 << 20;

/// A disk of this machine whose journal takes nothing while the gate is closed.
#[derive(Debug, Clone)]
struct Stalling(Arc<(Mutex<bool>, Condvar)>);

impl Stalling {
    fn new() -> Stalling {
        Stalling(Arc::new((Mutex::new(true), Condvar::new())))
    }

    fn set_open(&self, open: bool) {
        *self.0.0.lock().expect("nobody panics with it") = open;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().expect("nobody panics with it");
        drop(self.0.1.wait_while(open, |open| !*open).expect("nobody panics with it"));
    }
}

/// Opens the gate when the test ends, however it does: a broker that cannot write does not stop.
struct Opened(Stalling);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.set_open(true);
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    /// Of the journal's files.
    gate: Option<Stalling>,
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_slices_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.file.write_slices_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn durable_writes(&self) -> bool {
        self.file.durable_writes()
    }
}

impl Disk for Stalling {
    fn open(&self, path: &Path, options: OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let is_journal = path.components().any(|part| part.as_os_str() == "journal");
        let file = RealDisk.open(path, options)?;
        Ok(Arc::new(File { file, gate: is_journal.then(|| self.clone()) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.file_len(path)
    }

    fn modified(&self, path: &Path) -> io::Result<i64> {
        RealDisk.modified(path)
    }

    fn set_modified(&self, path: &Path, ms: i64) -> io::Result<()> {
        RealDisk.set_modified(path, ms)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(path)
    }

    fn file_system(&self, directory: &Path) -> io::Result<Option<Box<dyn FileSystem>>> {
        RealDisk.file_system(directory)
    }
}

/// Memory of this process that is not the files' it has mapped.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process of this system");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") * 1024
}

async fn until(client: &Client, expected: impl Fn(&Pipeline) -> bool) -> Pipeline {
    let began = Instant::now();
    loop {
        let pipeline = client.pipelines().describe("p").await.expect("it is there");
        if expected(&pipeline) {
            return pipeline;
        }
        assert!(began.elapsed() < PATIENCE, "{pipeline:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn produce(client: &Client) {
    let producer = client.producer().build().await.expect("a producer");
    let text = "x".repeat(RECORD_BYTES);
    for start in (0..RECORDS).step_by(1_000) {
        let sent = (start..start + 1_000).map(|id| {
            let value = Bytes::from(format!("{{\"id\":{id},\"s\":\"{text}\"}}"));
            producer.send(ProducerRecord::to("in").partition(0).value(value))
        });
        futures::future::try_join_all(sent).await.expect("they are taken");
    }
    producer.close().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_holds_two_epochs_while_the_disk_takes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir: PathBuf = directory.path().to_owned();
    let mut config = Config { data_dir, shutdown_drain: Duration::from_secs(2), ..Config::default() };
    config.listen.port = 0;
    config.pipelines.epoch_bytes = EPOCH;
    let disk = Stalling::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let node =
        Node::start_on(shared, config, Loggers::fixed("off"), Functions::new()).await.expect("a broker");
    // Dropped before the broker.
    let opened = Opened(disk.clone());
    let client = Client::connect(&node.local_addr().to_string()).await.expect("a connection");
    let topic = NewTopic::new("in").config("retention.ms", "-1");
    client.admin().create_topic(&topic).await.expect("a topic");
    produce(&client).await;
    let script = format!(
        "CREATE TABLE a (id BIGINT, s STRING) WITH ('topic' = 'in', 'format' = 'json');
         CREATE TABLE b (id BIGINT, s STRING) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO b SELECT id, REPEAT(s, {TIMES}) FROM a;"
    );
    client.pipelines().run("p", &script, None).await.expect("it runs");
    until(&client, |pipeline| pipeline.counters.unwrap_or_default().records_out > 0).await;
    disk.set_open(false);
    let before = memory();
    tokio::time::sleep(STALL).await;

    let (after, waiting) = (memory(), client.pipelines().describe("p").await.expect("it answers"));
    assert_eq!(waiting.limiting(), Limiting::WaitingForDisk, "{waiting:#?}");
    assert!(
        waiting.counters.unwrap_or_default().records_out < RECORDS as i64,
        "it was over before it was stalled"
    );
    let grown = after.saturating_sub(before);
    assert!(grown < ROOM, "{grown} bytes more while it waits");
    // What is there is read meanwhile.
    let mut reader = client.reader().topic("in", StartAt::Earliest).build().await.expect("a reader");
    for _ in 0..100 {
        tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("a record");
    }
    reader.close().await;

    disk.set_open(true);
    client.pipelines().finish_input("p", InputEnd::Now).await.expect("an end");
    let finished = until(&client, |pipeline| pipeline.state() != PipelineState::Running).await;
    assert_eq!(finished.state(), PipelineState::Finished, "{}", finished.error);
    assert_eq!(finished.counters.unwrap_or_default().records_out, RECORDS as i64);
    drop(opened);
    node.shutdown().await.expect("it stops");
}
