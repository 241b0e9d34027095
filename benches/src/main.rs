//! Load generators, the do-nothing server, and side-by-side runs of both with the broker.
//!
//! Run it with the release profile, after the broker was built with it:
//!
//! ```text
//! cargo build --release && cargo run --release -p logmill-benches -- all
//! ```
//!
//! | workload | what |
//! |---|---|
//! | W1 | produce 100 B records in batches of 1,000; one connection, one partition |
//! | W2 | produce 1 KiB records in batches of 1,024 |
//! | W3 | catch-up read of what W1 or W2 has just written; CRCs checked |
//! | W4 | 1,000 messages/s × 1 KiB, one a batch: latency to the ack and to a waiting consumer |
//! | W5 | 1,000 idle connections, then 50 producers × 20 messages/s |
//! | W6 | start to port open, idle memory, CPU and files |
//! | W7 | small producers on one partition, and on 1,000 |
//! | W8 | transactions over 1, 10 and 100 partitions: commits per second, and what one adds to a produce |
//! | Nexmark | its queries from topic to topic, exactly once: events a CPU second, and latency at a rate |
//!
//! Ratios are only taken between rows of one run with the same durability and the same number of requests in flight.

mod aligned;
mod beside;
mod catch_up;
mod connections;
mod delay;
mod floor;
mod footprint;
mod grid;
mod histogram;
mod isolation;
mod journal;
mod kafka;
mod latency;
mod link;
mod memory;
mod nexmark;
mod partitions;
mod procfs;
mod produce;
mod realtime;
mod recovery;
mod report;
mod schedule;
mod scraped;
mod server;
mod shows;
mod transactions;
mod volume;
mod workload;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::server::Bench;
use crate::volume::{DEVICE, How, PAGE_CACHE, Volume};

/// Measures Logmill beside a server that does nothing.
#[derive(Debug, Parser)]
#[command(name = "logmill-benches")]
struct Arguments {
    /// Runs of each measurement; the median is what counts.
    #[arg(long, global = true, default_value_t = 3)]
    runs: u32,
    /// Requests sent before waiting for an answer (W1, W2).
    #[arg(long, global = true, default_value_t = 5)]
    in_flight: usize,
    /// Scales how much W1 and W2 write.
    #[arg(long, global = true, default_value_t = 1.0)]
    scale: f64,
    /// The broker's binary; by default the one beside this program.
    #[arg(long, global = true, value_name = "FILE")]
    logmill: Option<PathBuf>,
    /// Where data directories are made; by default `bench-data` beside the build's folder of binaries.
    #[arg(long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A setting of the broker, such as pipelines.epoch_output="16 MiB"; may be given again.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Leave the scheduling as it is, instead of SCHED_RR where permitted.
    #[arg(long, global = true)]
    ordinary: bool,
    /// Memory to touch before each write run.
    #[arg(long, global = true, value_name = "MIB", default_value_t = 3072)]
    touch: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, in one run.
    All,
    /// W1, W2 and the catch-up reads of both.
    Volume {
        /// Only this one.
        workload: Option<Workload>,
        /// Only with this durability.
        #[arg(long)]
        durability: Option<Durability>,
    },
    /// W4.
    Latency,
    /// W5.
    Connections,
    /// W6.
    Footprint {
        /// Partitions of the large start.
        #[arg(long, default_value_t = 1000)]
        partitions: i32,
    },
    /// The journal alone beside the raw device.
    Journal,
    /// W7, without Kafka.
    Partitions,
    /// W8, without Kafka.
    Transactions,
    /// W1, W2, W4, W5, W7 and W8 beside Apache Kafka, which needs a Java machine.
    Kafka {
        /// Directory with Kafka's jars.
        jars: PathBuf,
        /// Only this one: w1, w2, w4, w5, w7 or w8.
        workload: Option<Beside>,
    },
    /// Nexmark's queries from topic to topic, exactly once, beside Apache Flink, Kafka Streams and Spark (at least once).
    Nexmark(nexmark::Settings),
    /// Start-up on a log in sealed segments, after a stop and after a kill.
    Sealed {
        /// How much to write first; it is removed at the end.
        #[arg(long, default_value_t = 20)]
        gib: u64,
    },
    /// Builds a pipeline's state, kills the broker, and measures until the pipeline runs again.
    Recovery {
        /// How large the state is.
        #[arg(long, default_value_t = 1)]
        gib: u64,
        /// The pipeline's budget of memory.
        #[arg(long, default_value = "512 MiB")]
        memory: String,
    },
    /// Producing and fetching for a minute while compaction runs, and for another without.
    Compacting,
    /// A producer beside pipelines that go wrong, and beside a process that computes and is as nice as they are.
    Isolation {
        /// Beside that process only what has one of these texts in its name, such as "dead letters".
        #[arg(long, value_name = "TEXT", value_delimiter = ',')]
        beside: Vec<String>,
        /// Messages of the producer, one in flight: on a slow device fewer, or each waits for those before it.
        #[arg(long, value_name = "N", default_value_t = delay::PER_SECOND)]
        per_second: u32,
    },
    /// W1 while the metrics are read every second, and while nobody reads them.
    Scraped,
    /// Fills a small file system, until the broker refuses to write; makes room, and goes on.
    FullDisk {
        /// Where it is mounted.
        mounted: PathBuf,
    },
    /// Produce to a server that runs already (its topic `bench` must be there), once.
    Produce {
        /// Where it listens.
        address: SocketAddr,
        /// What to produce.
        workload: Workload,
    },
    /// Read back what `produce` produced, once.
    Consume {
        /// Where it listens.
        address: SocketAddr,
        /// What was produced.
        workload: Workload,
    },
    /// The do-nothing server.
    Floor(floor::Settings),
    /// The broker on a disk whose room is told to it, beside what is measured.
    #[command(hide = true)]
    Capped(isolation::capped::Settings),
    /// Computes without end, beside what is measured.
    #[command(hide = true)]
    Spin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    W1,
    W2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Beside {
    W1,
    W2,
    W4,
    W5,
    W7,
    W8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Durability {
    PageCache,
    Device,
}

const MANY_PARTITIONS: i32 = 1000;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Command::Floor(settings) = &arguments.command {
        return floor::run(settings);
    }
    if let Command::Capped(settings) = &arguments.command {
        return isolation::capped::run(settings);
    }
    if let Command::Spin = &arguments.command {
        isolation::spin();
    }
    // Under SCHED_RR priorities say nothing, and it is about them.
    let ordinary = arguments.ordinary || matches!(arguments.command, Command::Isolation { .. });
    let scheduling = realtime::enter(!ordinary);
    let bench = arguments.bench()?;
    let how = arguments.how();
    let sized = |workload: Workload| arguments.sized(workload);
    if let Command::Produce { address, workload } | Command::Consume { address, workload } = arguments.command
    {
        return once(&arguments, address, sized(workload));
    }
    report::print(&format!("{}; server and client on it, {scheduling}, loopback", procfs::machine()))?;
    match arguments.command {
        Command::All => {
            journal::run(&bench.directory, how.runs)?;
            footprint::run(&bench, MANY_PARTITIONS, how.runs)?;
            for workload in [Workload::W1, Workload::W2] {
                volume::compare(&bench, sized(workload), &PAGE_CACHE, how)?;
                volume::compare(&bench, sized(workload), &DEVICE, how)?;
            }
            for subjects in [&PAGE_CACHE[..], &DEVICE[..]] {
                delay::w4(&bench, subjects, how.runs)?;
                delay::w5(&bench, subjects, how.runs)?;
            }
        }
        Command::Volume { workload, durability } => {
            for one in [Workload::W1, Workload::W2] {
                if workload.is_some_and(|only| only != one) {
                    continue;
                }
                if durability != Some(Durability::Device) {
                    volume::compare(&bench, sized(one), &PAGE_CACHE, how)?;
                }
                if durability != Some(Durability::PageCache) {
                    volume::compare(&bench, sized(one), &DEVICE, how)?;
                }
            }
        }
        Command::Latency => {
            delay::w4(&bench, &PAGE_CACHE, how.runs)?;
            delay::w4(&bench, &DEVICE, how.runs)?;
        }
        Command::Connections => {
            delay::w5(&bench, &PAGE_CACHE, how.runs)?;
            delay::w5(&bench, &DEVICE, how.runs)?;
        }
        Command::Footprint { partitions } => footprint::run(&bench, partitions, how.runs)?,
        Command::Journal => journal::run(&bench.directory, how.runs)?,
        Command::Partitions => beside::partitions(&bench, beside::OURS, how.runs)?,
        Command::Transactions => beside::transactions(&bench, &beside::TRANSACTIONAL[2..], how.runs)?,
        Command::Kafka { workload, .. } => {
            let wanted = |one| workload.is_none_or(|only| only == one);
            if wanted(Beside::W1) {
                beside::volume(&bench, sized(Workload::W1), how)?;
            }
            if wanted(Beside::W2) {
                beside::volume(&bench, sized(Workload::W2), how)?;
            }
            if wanted(Beside::W4) {
                beside::latency(&bench, how.runs)?;
            }
            if wanted(Beside::W5) {
                beside::connections(&bench, how.runs)?;
            }
            if wanted(Beside::W7) {
                beside::partitions(&bench, beside::BROKERS, how.runs)?;
            }
            if wanted(Beside::W8) {
                beside::transactions(&bench, &beside::TRANSACTIONAL, how.runs)?;
            }
        }
        Command::Nexmark(settings) => nexmark::run(&bench, &settings, how.runs)?,
        Command::Sealed { gib } => shows::sealed(&bench, gib << 30)?,
        Command::Recovery { gib, memory } => recovery::run(&bench, gib << 30, &memory)?,
        Command::Compacting => shows::compacting(&bench)?,
        Command::Isolation { beside, per_second } => isolation::run(&bench, &beside, per_second, how.runs)?,
        Command::Scraped => scraped::run(&bench, sized(Workload::W1), how)?,
        Command::FullDisk { mounted } => shows::full_disk(&bench, &mounted)?,
        Command::Produce { .. }
        | Command::Consume { .. }
        | Command::Floor(_)
        | Command::Capped(_)
        | Command::Spin => {}
    }
    Ok(())
}

/// One load against a server that somebody else started.
fn once(arguments: &Arguments, address: SocketAddr, volume: Volume) -> anyhow::Result<()> {
    let batches = volume.shape.batches(volume.payload);
    let before = procfs::own_cpu_time();
    let (elapsed, payload, more) = if matches!(arguments.command, Command::Produce { .. }) {
        let got = produce::run(address, volume.shape, batches, arguments.in_flight)?;
        let [p50, p99, max] =
            [got.acks.quantile(0.5), got.acks.quantile(0.99), got.acks.max()].map(report::micros);
        (
            got.elapsed,
            got.payload,
            format!(", {} batches, ack p50 {p50} µs, p99 {p99} µs, max {max} µs", got.acks.count()),
        )
    } else {
        let got = catch_up::run(address, volume.shape, batches, volume.fetch_bytes)?;
        (got.elapsed, got.payload, format!(", {} records", got.records))
    };
    let cpu = (procfs::own_cpu_time() - before).as_secs_f64() / report::gib(payload);
    let rate = report::mib(payload) / elapsed.as_secs_f64();
    report::print(&format!("{rate:.0} MiB/s, client {cpu:.2} s/GiB, load {:.1}{more}", procfs::load()))?;
    Ok(())
}

impl Arguments {
    fn bench(&self) -> anyhow::Result<Bench> {
        let program = std::env::current_exe().context("where is this program?")?;
        let binaries = program.parent().context("a program is in a folder")?;
        Ok(Bench {
            logmill: self.logmill.clone().unwrap_or_else(|| binaries.join("logmill")),
            directory: self
                .directory
                .clone()
                .or_else(|| Some(binaries.parent()?.join("bench-data")))
                .context("a build folder has a parent")?,
            settings: self.settings.clone(),
            kafka: match &self.command {
                Command::Kafka { jars, .. } => {
                    Some(std::path::absolute(jars).context("where are Kafka's jars?")?)
                }
                Command::Nexmark(settings) => match &settings.peers {
                    Some(peers) => Some(std::path::absolute(peers)?.join("kafka")),
                    None => None,
                },
                _ => None,
            },
        })
    }

    fn how(&self) -> How {
        How { runs: self.runs.max(1), in_flight: self.in_flight.max(1), touch: self.touch << 20 }
    }

    fn sized(&self, workload: Workload) -> Volume {
        let volume = match workload {
            Workload::W1 => Volume::W1,
            Workload::W2 => Volume::W2,
        };
        Volume { payload: (volume.payload as f64 * self.scale.max(0.0)) as u64, ..volume }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
