//! How many events of the demo's query the engine takes in one second of CPU time, batches in to batches out.
//!
//! `cargo run --release -p logmill-stream --example events_per_cpu_second` (Linux: CPU time comes from /proc).

use std::collections::BTreeMap;
use std::io::{self, Write};

use logmill_record::{Batch, BatchBuilder, BatchOptions, Codec};
use logmill_stream::time::Iso;
use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, EpochOutput, InputPartition, KeyGroups, Logs, LogsError, Pipeline,
    PipelineSpec, ReadBatches, TopicPartition, Turn, compile,
};

const SCRIPT: &str = include_str!("../../../config/demo/carrier-hourly.sql");
const PARTITIONS: i32 = 4;
const EVENTS: usize = 400_000;
const EVENTS_PER_BATCH: usize = 500;
const CARRIERS: [&str; 16] =
    ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"];

/// The input, and a sink that counts.
struct Memory {
    input: BTreeMap<TopicPartition, Vec<Batch>>,
    written_bytes: usize,
    written_rows: u64,
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
        let mut read: Vec<Batch> = batches[first..].iter().take_while(fits).cloned().collect();
        if read.is_empty() {
            read.extend(batches.get(first).cloned());
        }
        Ok(ReadBatches { batches: read, aborted: Vec::new() })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.written_bytes += epoch.size_bytes();
        self.written_rows += epoch.progress.counters.written;
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

/// A flight like the real ones: seventeen fields, of which the query uses four; about as many to a window and carrier.
fn flight(number: usize) -> String {
    let scattered = number.wrapping_mul(2_654_435_761) >> 7;
    let carrier = CARRIERS[scattered % CARRIERS.len()];
    let hour = Iso(1_357_016_400_000 + (number as i64 / 90 - (scattered % 20) as i64) * 3_600_000);
    let delay = (scattered % 200) as i64 - 30;
    let departed =
        if scattered.is_multiple_of(40) { "null".to_owned() } else { (scattered % 2400).to_string() };
    format!(
        "{{\"year\":2013,\"month\":1,\"day\":{},\"dep_time\":{departed},\"sched_dep_time\":515,\"dep_delay\":{delay},\
         \"arr_time\":830,\"sched_arr_time\":819,\"arr_delay\":11,\"carrier\":\"{carrier}\",\"flight\":{},\
         \"tailnum\":\"N14228\",\"origin\":\"EWR\",\"dest\":\"IAH\",\"air_time\":227,\"distance\":1400,\
         \"time_hour\":\"{hour}\"}}",
        number % 28 + 1,
        number % 5000
    )
}

fn input(codec: Codec) -> BTreeMap<TopicPartition, Vec<Batch>> {
    let mut input: BTreeMap<TopicPartition, Vec<Batch>> = BTreeMap::new();
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
    for (index, first) in (0..EVENTS).step_by(EVENTS_PER_BATCH).enumerate() {
        for number in first..first + EVENTS_PER_BATCH {
            builder.push(0, None, Some(flight(number).as_bytes()), &[]);
        }
        let batches = input.entry(TopicPartition::new("flights", index as i32 % PARTITIONS)).or_default();
        let base_offset = batches.last().map_or(0, |batch| batch.header().next_offset());
        batches.push(builder.build().stamped(base_offset, 0));
    }
    input
}

/// Nanoseconds this thread has been on a CPU.
fn cpu_ns() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| io::Error::other("no CPU time in /proc/thread-self/schedstat"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let mut logs = Memory { input: input(codec), written_bytes: 0, written_rows: 0 };
        let inputs =
            logs.input.keys().map(|partition| InputPartition { partition: partition.clone(), start: 0 });
        let spec = PipelineSpec {
            name: "measure".to_owned(),
            generation: 1,
            inputs: inputs.collect(),
            topic_ids: BTreeMap::new(),
            outputs: BTreeMap::from([("carrier-hourly".to_owned(), PARTITIONS)]),
            key_groups: KeyGroups::DEFAULT,
            shards: 1,
        };
        let bytes: usize = logs.input.values().flatten().map(Batch::size).sum();
        let ends = logs.input.keys().cloned().collect::<Vec<_>>();
        let ends = ends.into_iter().map(|partition| Ok((partition.clone(), logs.readable_end(&partition)?)));
        let ends = ends.collect::<Result<BTreeMap<_, _>, LogsError>>()?;
        let mut epochs = EpochLoop::new(Pipeline::new(compile(SCRIPT)?, spec)?, EpochLimits::default());
        epochs.declare_ends(ends)?;
        let before = cpu_ns()?;
        let mut turns = 0;
        while let Turn::Committed { .. } = epochs.turn(&mut logs, 0, 0)? {
            turns += 1;
        }
        let seconds = (cpu_ns()? - before) as f64 / 1e9;
        writeln!(
            io::stdout(),
            "{:>4}: {:.2} M events per CPU-second ({EVENTS} events, {} MiB in, {turns} epochs, {} rows and {} MiB out)",
            codec.name(),
            EVENTS as f64 / seconds / 1e6,
            bytes >> 20,
            logs.written_rows,
            logs.written_bytes >> 20,
        )?;
    }
    Ok(())
}
