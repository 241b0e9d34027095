//! A pipeline with much state, killed: how long until it runs again, and in how much memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use logmill_client::{Client, PipelineState, Pipelines};
use logmill_record::{BatchBuilder, BatchOptions};
use tokio::runtime::{Builder, Runtime};

use crate::footprint::sizes;
use crate::link::{Link, Prepared, TOPIC};
use crate::procfs;
use crate::report::{gib, mib, print};
use crate::server::{Bench, Server, Stop, Subject};

const LOGMILL: Subject = Subject::Logmill { durable: true };

const NAME: &str = "recovery";

/// Each id keeps a text of this many bytes, made of one that is shorter by so many times in the records.
const TEXT: usize = 32;
const TIMES: u64 = 30;

/// What an id's entry is beside its text, about.
const BESIDE_TEXT: u64 = 64;

/// Records of a batch, and requests sent before waiting for an answer.
const BATCH: u64 = 2_000;
const IN_FLIGHT: u64 = 5;

const LOOK: Duration = Duration::from_millis(20);

/// Nothing here takes longer; without news for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(600);

/// Counts each id and keeps its greatest text; rows say little of it.
fn script() -> String {
    format!(
        "CREATE TABLE a (id BIGINT, s STRING) WITH ('topic' = '{TOPIC}', 'format' = 'json');
        CREATE TABLE b (id BIGINT, n BIGINT, l BIGINT, PRIMARY KEY (id) NOT ENFORCED)
        WITH ('topic' = 'counts', 'format' = 'json', 'output' = 'upsert');
        INSERT INTO b SELECT id, COUNT(*), CHAR_LENGTH(MAX(REPEAT(s, {TIMES}))) FROM a GROUP BY id UNBOUNDED;"
    )
}

/// The pipeline as somebody sees it who asks the broker.
struct Watched {
    runtime: Runtime,
    pipelines: Pipelines,
}

impl Watched {
    fn of(address: SocketAddr) -> anyhow::Result<Watched> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Watched { runtime, pipelines: Client::builder(&address.to_string()).pipelines() })
    }

    /// Waits until it runs and has taken in so many records.
    fn until_read(&self, records: u64) -> anyhow::Result<logmill_client::Pipeline> {
        let (mut began, mut before) = (Instant::now(), 0);
        loop {
            // Its port may be open before it answers.
            if let Ok(pipeline) = self.runtime.block_on(self.pipelines.describe(NAME)) {
                let read = pipeline.counters.map_or(0, |counters| counters.records_in.unsigned_abs());
                match pipeline.state() {
                    PipelineState::Running if read >= records => return Ok(pipeline),
                    PipelineState::Failed | PipelineState::Blocked => bail!("{}", pipeline.error),
                    _ if read > before => (began, before) = (Instant::now(), read),
                    _ => {}
                }
            }
            ensure!(began.elapsed() < PATIENCE, "no news of the pipeline for {PATIENCE:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// What was said last of how it was restored.
    fn restored(&self) -> anyhow::Result<String> {
        let events = self.runtime.block_on(self.pipelines.events(NAME, 0))?;
        let restored = events.into_iter().rfind(|event| event.kind == "restored");
        Ok(restored.context("it was not restored")?.text)
    }
}

/// Builds so many bytes of state within a budget, kills the broker, and starts it again.
pub(crate) fn run(bench: &Bench, bytes: u64, memory: &str) -> anyhow::Result<()> {
    let ids = bytes / (TEXT as u64 * TIMES + BESIDE_TEXT);
    let mut bench = bench.clone();
    bench.settings.push(format!("pipelines.memory={memory}"));
    let server = bench.open(LOGMILL, bench.data()?, bytes)?;
    Link::open(server.address)?.create_topic(1, &[("retention.ms", "-1")])?;
    let watched = Watched::of(server.address)?;
    watched.runtime.block_on(watched.pipelines.run(NAME, &script(), None))?;
    let began = Instant::now();
    produce(server.address, 0..ids)?;
    let built = watched.until_read(ids)?;
    let state: u64 = built.operators.iter().map(|operator| operator.bytes).sum();
    let in_memory: u64 = built.operators.iter().map(|operator| operator.memory_bytes).sum();
    print(&format!(
        "built in {:.0} s: {:.2} GiB of state in {ids} entries, {:.0} MiB of it in memory of a budget of {memory}; resident \
         {:.0} MiB; {:.1} GiB on disk",
        began.elapsed().as_secs_f64(),
        gib(state),
        mib(in_memory),
        mib(procfs::memory(server.pid())?.0),
        gib(sizes(server.data_dir())?.allocated)
    ))?;
    let data = server.stop(Stop::Kill)?.0;
    let began = Instant::now();
    let server = bench.open(LOGMILL, data, 0)?;
    let watched = Watched::of(server.address)?;
    watched.until_read(ids)?;
    let runs = began.elapsed();
    again(&server, &watched, ids, runs)?;
    server.stop(Stop::Terminate).map(drop)
}

/// A record for one id in a thousand or so, over all of them.
fn again(server: &Server, watched: &Watched, ids: u64, runs: Duration) -> anyhow::Result<()> {
    let step = usize::try_from(ids / 1_000)?.max(1);
    let touched: Vec<u64> = (0..ids).step_by(step).collect();
    let began = Instant::now();
    let count = touched.len() as u64;
    produce(server.address, touched.into_iter())?;
    watched.until_read(ids + count)?;
    print(&format!(
        "killed and started: the port was open after {:.2} s, the pipeline ran after {:.2} s ({}), {count} entries all over \
         the state were changed within {:.2} s more; resident {:.0} MiB",
        server.opened_after.as_secs_f64(),
        runs.as_secs_f64(),
        watched.restored()?,
        began.elapsed().as_secs_f64(),
        mib(procfs::memory(server.pid())?.0)
    ))
    .map_err(Into::into)
}

fn produce(address: SocketAddr, ids: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let mut link = Link::open(address)?;
    link.introduce()?;
    let (mut unanswered, mut ids) = (0, ids.peekable());
    while ids.peek().is_some() {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for id in ids.by_ref().take(BATCH as usize) {
            // Texts of different ids share nothing a compressor could use.
            let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let value = format!("{{\"id\":{id},\"s\":\"{hash:016x}{:016x}\"}}", hash.rotate_left(23) ^ id);
            batch.push(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
        }
        if unanswered == IN_FLIGHT {
            link.receive_produced()?;
            unanswered -= 1;
        }
        link.send(&mut Prepared::produce(&batch.build().into_bytes())?)?;
        unanswered += 1;
    }
    for _ in 0..unanswered {
        link.receive_produced()?;
    }
    Ok(())
}
