//! What threads gain: the same work in one shard, and in as many as there are threads, in turn.
//!
//! `cargo run --release -p logmill-stream --example shards_on_threads [THREADS] [ROUNDS]` (Linux: CPU time comes from /proc).
//!
//! Beside the time on the wall, which hangs on what else the machine does, it tells the CPU time of the pipeline's own thread:
//! what no other thread can take off it bounds what any number of them gain.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_record::{Batch, BatchBuilder, BatchOptions};
use logmill_stream::time::Iso;
use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, EpochOutput, Executor, InputPartition, KeyGroups, Logs, LogsError,
    Pipeline, PipelineSpec, ReadBatches, Serial, Task, TopicPartition, Turn, compile,
};

const PARTITIONS: i32 = 4;
const EVENTS: usize = 262_144;
const EVENTS_PER_BATCH: usize = 512;

const SOURCE: &str = "CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING,
    at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '4' SECOND) WITH ('topic' = 'bids', 'format' = 'json');";

/// Computing without state; a window; and groups of which each row changes one.
const QUERIES: [(&str, &str); 3] = [
    (
        "no state",
        "CREATE TABLE o (auction BIGINT, hash STRING, directory STRING) WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT auction, SHA256(url || channel), REGEXP_REPLACE(url, '^.*/([a-z]+)/.*$', '\\1') FROM bids
         WHERE price > 90;",
    ),
    (
        "windows",
        "CREATE TABLE o (at TIMESTAMP(3), auction BIGINT, n BIGINT, price BIGINT, channels BIGINT)
           WITH ('topic' = 'out', 'format' = 'json');
         INSERT INTO o SELECT window_start, auction, COUNT(*), MAX(price), COUNT(DISTINCT channel)
         FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, auction;",
    ),
    (
        "groups",
        "CREATE TABLE o (auction BIGINT, n BIGINT, mean DOUBLE, PRIMARY KEY (auction) NOT ENFORCED)
           WITH ('topic' = 'out', 'format' = 'json', 'output' = 'upsert');
         INSERT INTO o SELECT auction, COUNT(*), AVG(price) FROM bids GROUP BY auction UNBOUNDED;",
    ),
];

/// The input, and a sink that counts.
struct Memory {
    input: Arc<BTreeMap<TopicPartition, Vec<Batch>>>,
    digests: Vec<u32>,
}

impl Logs for Memory {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        Ok(self.input[partition].last().map_or(0, |batch| batch.header().next_offset()))
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let batches = &self.input[partition];
        let first = batches.partition_point(|batch| batch.header().next_offset() <= from);
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            bytes += batch.size();
            bytes <= max_bytes
        };
        Ok(ReadBatches {
            batches: batches[first..].iter().take_while(fits).cloned().collect(),
            aborted: Vec::new(),
        })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.digests.push(epoch.progress.digest);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

/// Deals tasks out to threads, of which one is the caller's.
#[derive(Debug)]
struct Threads(usize);

impl Executor for Threads {
    fn width(&self) -> usize {
        self.0
    }

    fn least_rows(&self) -> usize {
        4_096
    }

    fn run(&self, tasks: Vec<Task>) {
        let mut dealt: Vec<Vec<Task>> = (0..self.0).map(|_| Vec::new()).collect();
        tasks.into_iter().enumerate().for_each(|(index, task)| dealt[index % self.0].push(task));
        let work = |tasks: Vec<Task>| tasks.into_iter().for_each(|task| task());
        std::thread::scope(|scope| {
            dealt.drain(1..).for_each(|tasks| drop(scope.spawn(move || work(tasks))));
            dealt.into_iter().for_each(work);
        });
    }
}

fn bid(number: usize) -> String {
    let scattered = number.wrapping_mul(2_654_435_761) >> 7;
    format!(
        "{{\"auction\":{},\"bidder\":{},\"price\":{},\"channel\":\"channel-{}\",\
         \"url\":\"https://www.example.com/{}/item.htm?query=1&channel_id={}\",\"at\":\"{}\",\"extra\":\"{:0>40}\"}}",
        scattered % 5_000,
        scattered % 1_000,
        scattered % 10_000,
        scattered % 50,
        ["books", "music", "tools", "toys"][scattered % 4],
        scattered % 977,
        Iso(1_700_000_000_000 + number as i64 / 10),
        scattered,
    )
}

fn input() -> BTreeMap<TopicPartition, Vec<Batch>> {
    let mut input: BTreeMap<TopicPartition, Vec<Batch>> = BTreeMap::new();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (index, first) in (0..EVENTS).step_by(EVENTS_PER_BATCH).enumerate() {
        for number in first..first + EVENTS_PER_BATCH {
            builder.push(0, None, Some(bid(number).as_bytes()), &[]);
        }
        let batches = input.entry(TopicPartition::new("bids", index as i32 % PARTITIONS)).or_default();
        let base_offset = batches.last().map_or(0, |batch| batch.header().next_offset());
        batches.push(builder.build().stamped(base_offset, 0));
    }
    input
}

/// How long this thread has been on a CPU.
fn on_cpu() -> io::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other("no CPU time in /proc/thread-self/schedstat"))
}

/// The clock on the wall.
#[expect(clippy::disallowed_methods, reason = "the engine measures nothing; this measures the engine")]
fn on_the_wall() -> Instant {
    Instant::now()
}

type Measured = Result<(Duration, Duration, Vec<u32>), Box<dyn std::error::Error>>;

/// Time on the wall, time of this thread on a CPU, and the epochs' digests.
fn run(query: &str, input: &Arc<BTreeMap<TopicPartition, Vec<Batch>>>, threads: usize) -> Measured {
    let mut logs = Memory { input: Arc::clone(input), digests: Vec::new() };
    let inputs = input.keys().map(|partition| InputPartition { partition: partition.clone(), start: 0 });
    let spec = PipelineSpec {
        name: "measure".to_owned(),
        generation: 1,
        inputs: inputs.collect(),
        topic_ids: BTreeMap::new(),
        outputs: BTreeMap::from([("out".to_owned(), PARTITIONS)]),
        key_groups: KeyGroups::DEFAULT,
        shards: threads,
    };
    let mut ends = BTreeMap::new();
    for partition in input.keys() {
        ends.insert(partition.clone(), logs.readable_end(partition)?);
    }
    let executor: Arc<dyn Executor> = match threads {
        1 => Arc::new(Serial),
        threads => Arc::new(Threads(threads)),
    };
    let pipeline = Pipeline::new(compile(&format!("{SOURCE} {query}"))?, spec)?.with_executor(executor);
    let mut epochs = EpochLoop::new(pipeline, EpochLimits::default());
    epochs.declare_ends(ends)?;
    let (began, before) = (on_the_wall(), on_cpu()?);
    while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0)? {}
    Ok((began.elapsed(), on_cpu()? - before, logs.digests))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let input = Arc::new(input());
    for (name, query) in QUERIES {
        let mut least = [(Duration::MAX, Duration::MAX); 2];
        for _ in 0..rounds {
            let mut digests = Vec::new();
            // In turn, so that whatever else the machine does meets both.
            for (least, threads) in least.iter_mut().zip([1, threads]) {
                let (wall, cpu, written) = run(query, &input, threads)?;
                *least = (least.0.min(wall), least.1.min(cpu));
                digests.push(written);
            }
            assert_eq!(digests[0], digests[1], "{name}: the same bytes");
        }
        let [(one, one_cpu), (several, own)] = least;
        writeln!(
            io::stdout(),
            "{name:>8}: {EVENTS} events on 1 thread {one:.2?} ({one_cpu:.2?} of CPU), on {threads} {several:.2?} \
             ({own:.2?} of CPU on the pipeline's own); wall {:.2} times, own CPU {:.2} times less",
            one.as_secs_f64() / several.as_secs_f64(),
            one_cpu.as_secs_f64() / own.as_secs_f64(),
        )?;
    }
    Ok(())
}
