//! A disk that gets full within an epoch, and has room again.
//!
//! ```text
//! load ──── 2 s ──► a pipeline runs ─► the disk is full, and it waits ── 2 s ──► room ─► it goes on to its end ──────► end
//!                   acks               refusals                                  acks
//! ```
//!
//! Where pipelines leave a reserve, it waits while that is left, and nobody is refused.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ChildStdin;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use logmill_client::{Client, NewTopic, PipelineState, ProducerRecord};

use super::wrongs::{PIPELINE, until};
use super::{Measured, SECONDS, share};
use crate::delay::{MESSAGE_BYTES, PAYLOAD};
use crate::histogram::Histogram;
use crate::link::{Link, Prepared};
use crate::report::{micros, print};
use crate::schedule::Schedule;
use crate::server::{Bench, Stop, Subject};
use crate::workload::Shape;

/// What the pipeline reads: 8 MB, of which 128 MB come out.
const INPUT: &str = "in";
const RECORDS: usize = 8_000;
const RECORD_BYTES: usize = 1_000;
const SCRIPT: &str = "CREATE TABLE a (s STRING) WITH ('topic' = 'in', 'format' = 'raw');
     CREATE TABLE b (s STRING) WITH ('topic' = 'out', 'format' = 'raw');
     INSERT INTO b SELECT REPEAT(s, 16) FROM a;";
/// Less than that, which is written to the journal and to the log; beside the reserve.
const ROOM: u64 = 64 << 20;
/// What pipelines leave, if they leave something.
const RESERVE: u64 = 128 << 20;
const PLENTY: u64 = 64 << 30;

const BEFORE: Duration = Duration::from_secs(2);
const FULL: Duration = Duration::from_secs(2);

/// How the producer's messages were answered.
struct Answer {
    due: Instant,
    came: Instant,
    acknowledged: bool,
}

/// What happened to the disk and the pipeline.
struct Episode {
    full: Instant,
    room: Instant,
    done: Instant,
}

pub(super) fn measure(bench: &Bench, per_second: u32, leaves_reserve: bool) -> anyhow::Result<Measured> {
    let reserve = if leaves_reserve { RESERVE } else { 0 };
    let mut bench = bench.clone();
    bench.settings.push(format!("pipelines.disk_reserve={reserve} B"));
    let mut server = bench.start(Subject::Capped, PAYLOAD)?;
    let address = server.address;
    // When it is closed, the broker ends.
    let mut room = server.take_stdin().context("a broker on a capped disk listens to its input")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(prepare(address))?;
    let (before, started) = (server.cpu_time()?, Instant::now());
    let (answers, episode) = thread::scope(|scope| {
        let episode = scope.spawn(|| runtime.block_on(fill(&client, &mut room, reserve)));
        let answers = load(address, per_second, || episode.is_finished())?;
        let episode = episode.join().map_err(|_panic| anyhow::anyhow!("who fills the disk panicked"))??;
        anyhow::Ok((answers, episode))
    })?;
    let server_cpu = share(server.cpu_time()? - before, started.elapsed());
    server.stop(Stop::Kill)?;
    let (mut acks, mut refusals) = (Histogram::new(), Histogram::new());
    for answer in &answers {
        let answers = if answer.acknowledged { &mut acks } else { &mut refusals };
        answers.add(answer.came - answer.due);
    }
    match leaves_reserve {
        true => {
            ensure!(refusals.count() == 0, "{} were refused although there was a reserve", refusals.count())
        }
        false => ensure!(refusals.count() > 0, "nobody was refused while the disk was full"),
    }
    let goes_on = answers.iter().find(|answer| answer.acknowledged && answer.came > episode.room);
    let goes_on = goes_on.context("no message was acknowledged once there was room")?;
    print(&format!(
        "\nThe disk was full for {:.1} s: {} of {} messages were refused (p50 {} µs, p99 {} µs from when they were due), \
         the first was acknowledged {:.0} ms after there was room, and the pipeline at its end {:.1} s after",
        (episode.room - episode.full).as_secs_f64(),
        refusals.count(),
        answers.len(),
        micros(refusals.quantile(0.5)),
        micros(refusals.quantile(0.99)),
        (goes_on.came - episode.room).as_secs_f64() * 1e3,
        (episode.done - episode.room).as_secs_f64()
    ))?;
    Ok(Measured { acks, server_cpu, done: refusals.count() as f64 })
}

async fn prepare(address: SocketAddr) -> anyhow::Result<Client> {
    let client = Client::connect(&address.to_string()).await?;
    client.admin().create_topic(&NewTopic::new(INPUT).config("retention.ms", "-1")).await?;
    let producer = client.producer().build().await?;
    let value = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut sent = Vec::with_capacity(RECORDS);
    for _ in 0..RECORDS {
        sent.push(producer.enqueue(ProducerRecord::to(INPUT).value(value.clone())).await?);
    }
    for ack in sent {
        ack.await?;
    }
    producer.close().await?;
    Ok(client)
}

/// Lets the pipeline fill the disk while the load goes on, and makes room.
async fn fill(client: &Client, to_disk: &mut ChildStdin, reserve: u64) -> anyhow::Result<Episode> {
    tokio::time::sleep(BEFORE).await;
    writeln!(to_disk, "{}", ROOM + reserve)?;
    client.pipelines().run(PIPELINE, SCRIPT, None).await?;
    let waiting = until(client, |pipeline| pipeline.state() == PipelineState::Blocked).await?;
    let why = if reserve > 0 { "disk is nearly full" } else { "disk is full" };
    ensure!(waiting.error.contains(why), "it waits for something else: {}", waiting.error);
    let full = Instant::now();
    tokio::time::sleep(FULL).await;
    writeln!(to_disk, "{PLENTY}")?;
    let room = Instant::now();
    until(client, |pipeline| {
        pipeline.counters.is_some_and(|counters| counters.records_out == RECORDS as i64)
    })
    .await?;
    Ok(Episode { full, room, done: Instant::now() })
}

/// The load of the other rows, refusals and all, until what happens meanwhile is over; the beginning is left out.
fn load(address: SocketAddr, per_second: u32, is_over: impl Fn() -> bool) -> anyhow::Result<Vec<Answer>> {
    let shape = Shape { record_bytes: MESSAGE_BYTES, records: 1 };
    let mut requests = shape.build().iter().map(Prepared::produce).collect::<anyhow::Result<Vec<_>>>()?;
    let mut producer = Link::open(address)?;
    producer.introduce()?;
    let schedule = Schedule::new(Instant::now(), per_second);
    let messages = per_second * SECONDS;
    let mut answers = Vec::with_capacity(messages as usize);
    for (index, request) in (0..u32::MAX).zip((0..requests.len()).cycle()) {
        if index >= messages && is_over() {
            break;
        }
        let due = schedule.wait(index);
        producer.send(&mut requests[request])?;
        let acknowledged = producer.receive_answer()?.is_ok();
        if index >= messages / 10 {
            answers.push(Answer { due, came: Instant::now(), acknowledged });
        }
    }
    Ok(answers)
}
