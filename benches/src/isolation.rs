//! What a pipeline that goes wrong costs others: the latency of a topic that it does not read, alone, beside a process that
//! computes without end at a pipeline's priority, beside a function that never ends, and beside a state over its budget.
//!
//! Whatever takes a processor away delays others; a pipeline must not delay them more than any process does. The ratio is
//! taken within one run. Scheduling is the ordinary one: under SCHED_RR priorities would say nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use logmill_client::{Client, Limiting, NewTopic, Pipeline, PipelineState, ProducerRecord};

use crate::delay::{MESSAGE_BYTES, MESSAGES, PAYLOAD, PER_SECOND, Quantiles};
use crate::report::{Runs, Table, say};
use crate::server::{Bench, Server, Stop, Subject};
use crate::{latency, procfs};

/// What is beside the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Process,
    Nothing,
    EndlessFunction,
    StateOverBudget,
}

/// The process comes first: ratios refer to it.
const ALL: [Beside; 4] = [Beside::Process, Beside::Nothing, Beside::EndlessFunction, Beside::StateOverBudget];

/// A pipeline's threads give way to the broker's by so much.
const PIPELINE_NICENESS: &str = "5";

/// Records for a function that never ends: each takes seconds, and there are more than can be done meanwhile.
const ENDLESS: usize = 1_000;
/// Records with as many keys, for a state that has room for a part of them.
const KEYS: usize = 200_000;
const SETTING: &str = "pipelines.memory=8 MiB";
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends for all numbers but 0: `(loop (br_if 0 (i64.eqz (local.get 0))))`, a module in base64.
const SPIN: &str = "AGFzbQEAAAABBgFgAX4BfgMCAQAHCAEEc3BpbgAACg4BDAADQCAAUA0ACyAACw==";

impl Beside {
    fn name(self) -> &'static str {
        match self {
            Beside::Process => "a process",
            Beside::Nothing => "nothing",
            Beside::EndlessFunction => "an endless function",
            Beside::StateOverBudget => "a state over its budget",
        }
    }

    fn script(self) -> Option<String> {
        match self {
            Beside::Process | Beside::Nothing => None,
            Beside::EndlessFunction => Some(format!(
                "CREATE FUNCTION spin(a BIGINT) RETURNS BIGINT LANGUAGE wasm WITH ('fuel' = '1000000000') AS '{SPIN}';
                 CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json', 'on-error' = 'skip');
                 CREATE TABLE b (x BIGINT) WITH ('topic' = 'out', 'format' = 'json');
                 INSERT INTO b SELECT spin(x * 0) FROM a;"
            )),
            Beside::StateOverBudget => Some(
                "CREATE TABLE a (x BIGINT) WITH ('topic' = 'in', 'format' = 'json');
                 CREATE TABLE b (x BIGINT, n BIGINT, PRIMARY KEY (x) NOT ENFORCED)
                 WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
                 INSERT INTO b SELECT x, COUNT(*) FROM a GROUP BY x UNBOUNDED;"
                    .to_owned(),
            ),
        }
    }

    fn records(self) -> usize {
        match self {
            Beside::StateOverBudget => KEYS,
            _ => ENDLESS,
        }
    }

    /// Whether the pipeline is as bad as it is meant to be.
    fn is_reached(self, pipeline: &Pipeline) -> bool {
        match self {
            Beside::StateOverBudget => pipeline.state() == PipelineState::Blocked,
            _ => pipeline.limiting() == Limiting::Computing,
        }
    }
}

/// A process that computes; ended when dropped.
struct Spinning(Child);

impl Spinning {
    fn start() -> anyhow::Result<Spinning> {
        let mut command = Command::new("nice");
        command.args(["-n", PIPELINE_NICENESS]).arg(std::env::current_exe()?).arg("spin");
        Ok(Spinning(command.stdin(Stdio::null()).spawn().context("cannot start `nice`")?))
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Computes until the process is ended.
pub(crate) fn spin() -> ! {
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Starts the pipeline, and waits until it is as bad as it is meant to be.
async fn start(server: &Server, beside: Beside, script: &str) -> anyhow::Result<()> {
    let client = Client::connect(&server.address.to_string()).await?;
    client.admin().create_topic(&NewTopic::new("in")).await?;
    let producer = client.producer().build().await?;
    let mut sent = Vec::with_capacity(beside.records());
    for number in 0..beside.records() {
        let value = Bytes::from(format!("{{\"x\":{number}}}"));
        sent.push(producer.enqueue(ProducerRecord::to("in").value(value)).await?);
    }
    for ack in sent {
        ack.await?;
    }
    producer.close().await?;
    client.pipelines().run("p", script, None).await?;
    let started = Instant::now();
    loop {
        let pipeline = client.pipelines().describe("p").await?;
        if beside.is_reached(&pipeline) {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "the pipeline is {:?}: {}", pipeline.state(), pipeline.error);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Measures all of them, in turn.
pub(crate) fn run(bench: &Bench, runs: u32) -> anyhow::Result<()> {
    let bench = Bench { settings: vec![SETTING.to_owned()], ..bench.clone() };
    let mut all: [(Quantiles, Runs, Runs); ALL.len()] = Default::default();
    let runtime = tokio::runtime::Runtime::new()?;
    for run in 1..=runs {
        for (beside, (acks, server_cpu, load)) in ALL.into_iter().zip(&mut all) {
            say(&format!("isolation run {run}/{runs}: beside {}", beside.name()))?;
            let server = bench.start(Subject::Logmill { durable: true }, PAYLOAD)?;
            let spinning = (beside == Beside::Process).then(Spinning::start).transpose()?;
            if let Some(script) = beside.script() {
                runtime.block_on(start(&server, beside, &script))?;
            }
            let before = server.cpu_time()?;
            let got = latency::run(server.address, MESSAGE_BYTES, PER_SECOND, MESSAGES)?;
            let cpu = server.cpu_time()? - before;
            drop(spinning);
            acks.add(&got.acks);
            server_cpu.push(100.0 * cpu.as_secs_f64() / got.elapsed.as_secs_f64());
            load.push(procfs::load());
            server.stop(Stop::Kill)?;
        }
    }
    let headings = [
        "date",
        "beside",
        "ack p50 µs",
        "p99",
        "p99.9",
        "max",
        "× process p99",
        "server CPU % of a core",
        "load",
    ];
    let mut table = Table::new(&headings);
    let date = jiff::Zoned::now().date().to_string();
    for (beside, (acks, server_cpu, load)) in ALL.into_iter().zip(&all) {
        let mut row = vec![date.clone(), beside.name().to_owned()];
        row.extend(acks.show());
        row.push(format!("{:.2}", acks.p99() / all[0].0.p99()));
        row.extend([server_cpu.show(0), load.show(1)]);
        table.row(row);
    }
    table.print(&format!(
        "Isolation: {PER_SECOND} messages/s × {MESSAGE_BYTES} B to a topic that no pipeline reads, acknowledged from the device; \
         {runs} runs, median [min–max]"
    ))?;
    Ok(())
}
