//! I13: a pipeline that never comes to an end, or whose state is huge, costs nobody else anything: what others ask is
//! answered meanwhile, and what it holds is bounded by what it may have.
//!
//! Nothing here goes by the clock. A broker is served by a single thread, so that whatever runs there in place of requests
//! holds all of them up. A function of the user's own is entered and not left until the test says so; what others ask is
//! counted until then. Memory is counted by this test's own allocator. Each checker is shown a bug that it must find: a
//! pipeline that is stepped where requests are served, and one whose state is not held against what it may have.

#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logmill_broker::loggers::Loggers;
use logmill_broker::node::Node;
use logmill_client::{Client, Isolation, NewTopic, PipelineState, Producer, ProducerRecord, StartAt};
use logmill_config::{ByteSize, Config};
use logmill_storage::RealDisk;
use logmill_stream::{
    Argument, DataType, FunctionSignature, Functions, TrialOptions, TrialRecord, Value, compile_with,
    run_trial,
};
use tokio::runtime::{Builder, Runtime};

/// So many requests of each kind are answered while a pipeline is at work.
const REQUESTS: usize = 50;
/// What a pipeline's state may have.
const BUDGET: usize = 2 << 20;
/// What else it may hold: an epoch on its way through, the tail of the logs it writes, its threads. Far less than the
/// state would take that is to be refused.
const BESIDE: usize = 8 << 20;
/// A guard against waiting for ever, which decides nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts what this process holds, and the most it held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything through to the system's allocator; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory is that of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is wrong with a run.
#[derive(Debug)]
struct Violation(String);

type Checked = Result<(), Violation>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation(what())) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Inside,
    Behind,
}

/// A function that is entered, and left only when it is let go.
#[derive(Debug)]
struct Endless {
    stage: Mutex<Stage>,
    news: Condvar,
    /// Unless it is let go, it goes by itself after this time.
    most: Duration,
}

impl Endless {
    fn new(most: Duration) -> Arc<Endless> {
        Arc::new(Endless { stage: Mutex::new(Stage::Before), news: Condvar::new(), most })
    }

    /// As one that scripts can call.
    fn function(self: &Arc<Self>) -> Functions {
        let endless = Arc::clone(self);
        let mut functions = Functions::new();
        let signature = FunctionSignature::new("endless", &[DataType::BigInt], DataType::BigInt);
        let call = move |_: &[Argument<'_>]| {
            endless.enter();
            Ok(Value::BigInt(1))
        };
        functions.scalar(signature, call).expect("a name of its own");
        functions
    }

    fn enter(&self) {
        let mut stage = self.stage.lock().expect("nobody panics with it");
        if *stage == Stage::Behind {
            return;
        }
        *stage = Stage::Inside;
        self.news.notify_all();
        let inside = |stage: &mut Stage| *stage == Stage::Inside;
        let (mut stage, _) = self.news.wait_timeout_while(stage, self.most, inside).expect("as above");
        *stage = Stage::Behind;
    }

    fn until_entered(&self) {
        let stage = self.stage.lock().expect("nobody panics with it");
        let before = |stage: &mut Stage| *stage == Stage::Before;
        let (stage, _) = self.news.wait_timeout_while(stage, PATIENCE, before).expect("as above");
        assert_ne!(*stage, Stage::Before, "nobody calls it");
    }

    fn stage(&self) -> Stage {
        *self.stage.lock().expect("nobody panics with it")
    }

    fn let_go(&self) {
        *self.stage.lock().expect("nobody panics with it") = Stage::Behind;
        self.news.notify_all();
    }
}

/// A broker that one thread serves, and a client in a runtime of its own.
struct Rig {
    clients: Runtime,
    serving: Runtime,
    node: Option<Node>,
    client: Client,
    endless: Arc<Endless>,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn start(endless: Arc<Endless>, change: impl FnOnce(&mut Config)) -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        config.listen.port = 0;
        config.shutdown_drain = Duration::from_secs(2);
        config.limits.tail_memory = ByteSize::mib(1);
        change(&mut config);
        let runtime =
            || Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        let (clients, serving) = (runtime(), runtime());
        let starting = Node::start_on(Arc::new(RealDisk), config, Loggers::fixed("off"), endless.function());
        let node = serving.block_on(starting).expect("it starts");
        let address = node.local_addr().to_string();
        let client = clients.block_on(Client::connect(&address)).expect("a connection");
        Rig { clients, serving, node: Some(node), client, endless, _directory: directory }
    }

    fn topic(&self, name: &str) {
        let topic = NewTopic::new(name).partitions(1);
        self.clients.block_on(self.client.admin().create_topic(&topic)).expect("a topic");
    }

    fn producer(&self) -> Producer {
        self.clients.block_on(self.client.producer().build()).expect("a producer")
    }

    fn produce(&self, topic: &str, values: impl Iterator<Item = String>) {
        let producer = self.producer();
        let sending = async {
            let sent = values.map(|value| producer.send(ProducerRecord::to(topic).value(value.into_bytes())));
            futures::future::try_join_all(sent).await?;
            producer.close().await
        };
        self.clients.block_on(sending).expect("they are taken");
    }

    fn run(&self, script: &str) {
        self.clients.block_on(self.client.pipelines().run("p", script, None)).expect("it runs");
    }

    fn state(&self) -> PipelineState {
        self.clients.block_on(self.client.pipelines().describe("p")).expect("it is there").state()
    }

    /// That requests of others are answered while the function is inside: of topics that the pipeline knows and of one it
    /// does not know, and what is asked about the pipeline itself.
    fn check_others(&self) -> Checked {
        let producer = self.producer();
        for request in 0..REQUESTS {
            let others = async {
                for topic in ["others", "in"] {
                    let record = ProducerRecord::to(topic).value("{\"x\":2}");
                    tokio::time::timeout(PATIENCE, producer.send(record)).await.expect("in time")?;
                }
                let offsets = self.client.admin().offsets("others", 0, Isolation::Committed).await?;
                let reader = self.client.reader().topic("others", StartAt::Earliest);
                let mut reader = reader.build().await?;
                let first = tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time")?;
                reader.close().await;
                logmill_client::Result::Ok((offsets.end, first.value.is_some()))
            };
            let (end, is_read) = self.clients.block_on(others).expect("they are answered");
            let stage = self.endless.stage();
            ensure(stage == Stage::Inside, || {
                format!("request {request} of others was answered when the function was {stage:?}")
            })?;
            ensure(end > request as i64 && is_read, || format!("{end} records, {is_read}"))?;
        }
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.endless.let_go();
        if let Some(node) = self.node.take() {
            let stopped = self.serving.block_on(node.shutdown());
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

const CALLS: &str = "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
    INSERT INTO b SELECT endless(x) FROM a;";

#[test]
fn others_are_answered_while_a_function_never_ends() {
    let _alone = alone();
    let rig = Rig::start(Endless::new(PATIENCE), |_| {});
    ["in", "others"].into_iter().for_each(|topic| rig.topic(topic));
    rig.produce("in", ["{\"x\":1}".to_owned()].into_iter());
    rig.run(CALLS);
    rig.endless.until_entered();
    rig.check_others().expect("others do not wait");
    assert_eq!(rig.state(), PipelineState::Running);
    assert_eq!(rig.endless.stage(), Stage::Inside, "nor does who asks about the pipeline");
    let listed = rig.clients.block_on(rig.client.pipelines().list()).expect("they are listed");
    assert_eq!((listed.len(), rig.endless.stage()), (1, Stage::Inside));
}

/// The bug: a pipeline is stepped on the thread that serves requests.
#[test]
fn a_pipeline_that_is_stepped_where_requests_are_served_is_found() {
    let _alone = alone();
    let rig = Rig::start(Endless::new(Duration::from_millis(300)), |_| {});
    ["in", "others"].into_iter().for_each(|topic| rig.topic(topic));
    let plan = compile_with(CALLS, &rig.endless.function()).expect("a plan");
    let record = TrialRecord {
        partition: 0,
        timestamp: 0,
        key: None,
        value: Some(b"{\"x\":1}".to_vec()),
        headers: Vec::new(),
    };
    let input = BTreeMap::from([("in".to_owned(), vec![record])]);
    let stepped = rig.serving.spawn(async move { run_trial(&plan, &input, TrialOptions::default()) });
    rig.endless.until_entered();
    let Violation(said) = rig.check_others().expect_err("the checker does not see the bug");
    assert!(said.contains("request 0 of others"), "{said}");
    rig.serving.block_on(stepped).expect("no panic").expect("it runs");
}

/// Counts each of many long keys, for ever.
const COUNTS: &str = "CREATE TABLE a (k STRING) WITH ('topic' = 'in', 'format' = 'json');
    CREATE TABLE b (k STRING, n BIGINT) WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO b SELECT k, COUNT(*) FROM a GROUP BY k UNBOUNDED;";

/// Runs a pipeline over keys that take some 30 MB until it is done with them or holds, and checks what this process holds
/// beside what it held before.
fn check_memory(memory: usize) -> Checked {
    const KEYS: usize = 80_000;
    let rig = Rig::start(Endless::new(Duration::ZERO), |config| {
        config.pipelines.spill = false;
        config.pipelines.memory = ByteSize::bytes(memory as u64);
        config.pipelines.epoch_bytes = ByteSize::kib(64);
        config.pipelines.epoch_records = 1_000;
        config.pipelines.snapshot_interval = ByteSize::gib(1);
    });
    ["in", "others"].into_iter().for_each(|topic| rig.topic(topic));
    for part in 0..8 {
        let keys = part * KEYS / 8..(part + 1) * KEYS / 8;
        rig.produce("in", keys.map(|key| format!("{{\"k\":\"{}{key}\"}}", "x".repeat(200))));
    }
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    rig.run(COUNTS);
    let pipelines = rig.client.pipelines();
    let held = rig.clients.block_on(async {
        loop {
            let pipeline = pipelines.describe("p").await.expect("it is there");
            let read: i64 = pipeline.sources.iter().map(|source| source.position).sum();
            assert_ne!(pipeline.state(), PipelineState::Failed, "{}", pipeline.error);
            if pipeline.state() == PipelineState::Blocked || read == KEYS as i64 {
                return PEAK.load(Ordering::Relaxed).saturating_sub(before);
            }
        }
    });
    // The others do not notice.
    rig.produce("others", (0..REQUESTS).map(|number| number.to_string()));
    ensure(held <= BUDGET + BESIDE, || format!("{held} bytes, and its state may have {BUDGET}"))
}

#[test]
fn a_state_takes_no_more_memory_than_it_may_have() {
    let _alone = alone();
    check_memory(BUDGET).expect("it is bounded");
    // The bug: what the state has is not held against that.
    let Violation(said) = check_memory(BUDGET * 1_000).expect_err("the checker does not see the bug");
    assert!(said.contains("bytes, and its state may have"), "{said}");
}
