//! The workloads on Apache Kafka, on Logmill and on the floor, in turn, in one run.
//!
//! A server is warmed up with a part of the load before it is measured: a Java machine compiles what it runs often. All
//! are warmed up alike.

use std::time::Duration;

use crate::delay::{
    ACTIVE, ACTIVE_BYTES, ACTIVE_PER_SECOND, ACTIVE_TIME, IDLE, MESSAGE_BYTES, MESSAGES, PAYLOAD, PER_SECOND,
};
use crate::floor::Storage;
use crate::grid::{Column, Grid, plain, with_ratio};
use crate::partitions::{Producers, Spread};
use crate::report::{gib, mib, micros, say};
use crate::server::{Bench, Stop, Subject};
use crate::volume::{How, Volume, settled_cpu};
use crate::workload::Shape;
use crate::{catch_up, connections, latency, memory, partitions, procfs, produce, scraped, transactions};

/// Kafka with its defaults is what ratios refer to.
const SUBJECTS: [Subject; 5] = [
    Subject::Kafka { flush: false },
    Subject::Kafka { flush: true },
    Subject::Logmill { durable: true },
    Subject::Logmill { durable: false },
    Subject::Floor(Storage::Direct),
];
/// The floor has one partition.
pub(crate) const BROKERS: &[Subject] = SUBJECTS.split_at(4).0;
/// Without Kafka.
pub(crate) const OURS: &[Subject] = BROKERS.split_at(2).1;

/// Whose transactions are measured: Kafka's with its defaults and with flushes, ours on the device.
pub(crate) const TRANSACTIONAL: [Subject; 3] = [SUBJECTS[0], SUBJECTS[1], SUBJECTS[2]];

/// Part of a volume that warms up.
const WARM_UP: u64 = 4;

const SMALL: Shape = Shape { record_bytes: 100, records: 10 };
const MANY: u32 = 1000;
const PRODUCERS: Producers = Producers { connections: 32, in_flight: 5, time: Duration::from_secs(6) };

/// W1 or W2, and the read of it.
pub(crate) fn volume(bench: &Bench, volume: Volume, how: How) -> anyhow::Result<()> {
    const WRITES: [Column; 8] = [
        plain("msg/s (M)", 2),
        with_ratio("MiB/s", 0),
        with_ratio("server s/GiB", 2),
        plain("ack p50 µs", 0),
        with_ratio("p99", 0),
        plain("p99.9", 0),
        with_ratio("peak RSS MiB", 0),
        plain("client s/GiB", 2),
    ];
    const READS: [Column; 3] =
        [with_ratio("MiB/s", 0), with_ratio("server s/GiB", 2), plain("client s/GiB", 2)];
    let mut writes = Grid::new(&SUBJECTS, &WRITES);
    let mut reads = Grid::new(BROKERS, &READS);
    let warm_up = volume.payload / WARM_UP;
    for_each(volume.name, &SUBJECTS, how.runs, |at, subject| {
        let server = bench.start(subject, volume.payload + warm_up)?;
        let warm = produce::run(server.address, volume.shape, volume.shape.batches(warm_up), how.in_flight)?;
        memory::touch(how.touch);
        let (before, client) = (settled_cpu(&server)?, procfs::own_cpu_time());
        let batches = volume.shape.batches(volume.payload);
        let got = produce::run(server.address, volume.shape, batches, how.in_flight)?;
        let client = procfs::own_cpu_time() - client;
        let cpu = settled_cpu(&server)? - before;
        writes.add(
            at,
            &[
                got.records as f64 / got.elapsed.as_secs_f64() / 1e6,
                mib(got.payload) / got.elapsed.as_secs_f64(),
                cpu.as_secs_f64() / gib(got.payload),
                micros(got.acks.quantile(0.5)),
                micros(got.acks.quantile(0.99)),
                micros(got.acks.quantile(0.999)),
                mib(procfs::memory(server.pid())?.1),
                client.as_secs_f64() / gib(got.payload),
            ],
        );
        if at < BROKERS.len() {
            let batches = batches + u32::try_from(warm.payload / volume.shape.payload())?;
            let (before, client) = (server.cpu_time()?, procfs::own_cpu_time());
            let got = catch_up::run(server.address, volume.shape, batches, volume.fetch_bytes)?;
            let client = procfs::own_cpu_time() - client;
            let cpu = server.cpu_time()? - before;
            reads.add(
                at,
                &[
                    mib(got.payload) / got.elapsed.as_secs_f64(),
                    cpu.as_secs_f64() / gib(got.payload),
                    client.as_secs_f64() / gib(got.payload),
                ],
            );
        }
        server.stop(Stop::Kill).map(drop)
    })?;
    writes.print(&format!(
        "{}, {:.0} MiB after {:.0} MiB to warm up, {} requests in flight; {} runs, median [min–max]",
        volume.name,
        mib(volume.payload),
        mib(warm_up),
        how.in_flight,
        how.runs
    ))?;
    reads.print(&format!(
        "Catch-up read of that, fetches of {} MiB, one in flight, cached",
        volume.fetch_bytes >> 20
    ))
}

/// W4.
pub(crate) fn latency(bench: &Bench, runs: u32) -> anyhow::Result<()> {
    const COLUMNS: [Column; 7] = [
        plain("ack p50 µs", 0),
        plain("p99", 0),
        plain("p99.9", 0),
        with_ratio("end to end p50 µs", 0),
        with_ratio("p99", 0),
        plain("p99.9", 0),
        with_ratio("server CPU % of a core", 0),
    ];
    let mut grid = Grid::new(&SUBJECTS, &COLUMNS);
    for_each("W4", &SUBJECTS, runs, |at, subject| {
        let server = bench.start(subject, PAYLOAD)?;
        let before = server.cpu_time()?;
        let got = latency::run(server.address, MESSAGE_BYTES, PER_SECOND, MESSAGES)?;
        let cpu = server.cpu_time()? - before;
        let quantiles = [&got.acks, &got.end_to_end]
            .into_iter()
            .flat_map(|histogram| [0.5, 0.99, 0.999].map(|quantile| micros(histogram.quantile(quantile))));
        let mut figures: Vec<f64> = quantiles.collect();
        figures.push(100.0 * cpu.as_secs_f64() / got.elapsed.as_secs_f64());
        grid.add(at, &figures);
        server.stop(Stop::Kill).map(drop)
    })?;
    grid.print(&format!(
        "W4: {PER_SECOND} messages/s × {MESSAGE_BYTES} B, one a batch, 1 in flight, from the scheduled send; the first \
         tenth is left out; {runs} runs, median [min–max]"
    ))
}

/// W5.
pub(crate) fn connections(bench: &Bench, runs: u32) -> anyhow::Result<()> {
    const COLUMNS: [Column; 6] = [
        plain("ack p50 µs", 0),
        with_ratio("p99", 0),
        plain("p99.9", 0),
        plain("RSS MiB before", 0),
        with_ratio("with idle", 0),
        with_ratio("server CPU % of a core", 0),
    ];
    let mut grid = Grid::new(&SUBJECTS, &COLUMNS);
    for_each("W5", &SUBJECTS, runs, |at, subject| {
        let server = bench.start(subject, PAYLOAD)?;
        let resident = || procfs::memory(server.pid()).map(|(now, _)| mib(now));
        let without = resident()?;
        let idle = connections::idle(server.address, IDLE)?;
        let with_idle = resident()?;
        let before = server.cpu_time()?;
        let acks = connections::active(server.address, ACTIVE, ACTIVE_PER_SECOND, ACTIVE_BYTES, ACTIVE_TIME)?;
        let cpu = server.cpu_time()? - before;
        drop(idle);
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| micros(acks.quantile(quantile)));
        let cpu = 100.0 * cpu.as_secs_f64() / ACTIVE_TIME.as_secs_f64();
        grid.add(at, &[p50, p99, p999, without, with_idle, cpu]);
        server.stop(Stop::Kill).map(drop)
    })?;
    grid.print(&format!(
        "W5: {IDLE} idle connections, then {ACTIVE} producers × {ACTIVE_PER_SECOND} messages/s × {ACTIVE_BYTES} B, 1 in flight each, \
         from the scheduled send; {runs} runs, median [min–max]"
    ))
}

/// W7.
pub(crate) fn partitions(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    const COLUMNS: [Column; 9] = [
        with_ratio("1 partition: batches/s", 0),
        plain("CPU µs each", 1),
        plain("ack p50 µs", 0),
        plain("p99", 0),
        with_ratio("1000 partitions: batches/s", 0),
        plain("CPU µs each", 1),
        plain("ack p50 µs", 0),
        plain("p99", 0),
        plain("1000 / 1", 2),
    ];
    let mut grid = Grid::new(subjects, &COLUMNS);
    for_each("W7", subjects, runs, |at, subject| {
        let mut figures = Vec::new();
        let mut rates = Vec::new();
        for count in [1, MANY] {
            let server = bench.start_with(subject, PAYLOAD, count.cast_signed())?;
            partitions::run(server.address, SMALL, count, PRODUCERS)?;
            let before = settled_cpu(&server)?;
            let Spread { elapsed, batches, acks } = partitions::run(server.address, SMALL, count, PRODUCERS)?;
            let cpu = settled_cpu(&server)? - before;
            let rate = batches as f64 / elapsed.as_secs_f64();
            rates.push(rate);
            let each = cpu.as_secs_f64() * 1e6 / batches as f64;
            figures.extend([rate, each, micros(acks.quantile(0.5)), micros(acks.quantile(0.99))]);
            server.stop(Stop::Kill)?;
        }
        figures.push(rates[1] / rates[0]);
        grid.add(at, &figures);
        Ok(())
    })?;
    grid.print(&format!(
        "W7: {} producers, batches of {} × {} B, {} in flight each, for {} s after as long to warm up; {runs} runs, median \
         [min–max]",
        PRODUCERS.connections,
        SMALL.records,
        SMALL.record_bytes,
        PRODUCERS.in_flight,
        PRODUCERS.time.as_secs()
    ))
}

/// Partitions of a transaction, and of the topic.
const SPREADS: [i32; 3] = [1, 10, 100];
/// Transactional producers at a time.
const COMMITTERS: [u32; 2] = [1, 8];
const COMMITTING: Duration = Duration::from_secs(4);
/// Produces and transactions, in turn, of one producer a second, and how many.
const TURNS_PER_SECOND: u32 = 100;
const TURNS: u32 = 600;

/// W8.
pub(crate) fn transactions(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    const COMMITS: [Column; 5] = [
        with_ratio("commits/s", 0),
        plain("p50 µs", 0),
        plain("p99", 0),
        with_ratio("server CPU µs each", 0),
        plain("journal writes each", 2),
    ];
    const ADDED: [Column; 6] = [
        plain("produce p50 µs", 0),
        plain("p99", 0),
        plain("transaction p50 µs", 0),
        plain("p99", 0),
        with_ratio("added p50 µs", 0),
        with_ratio("added p99 µs", 0),
    ];
    let all = SPREADS[SPREADS.len() - 1];
    let loads: Vec<(u32, i32)> =
        COMMITTERS.iter().flat_map(|&producers| SPREADS.map(|partitions| (producers, partitions))).collect();
    let mut commits = vec![Grid::new(subjects, &COMMITS); loads.len()];
    let mut added = vec![Grid::new(subjects, &ADDED); SPREADS.len()];
    for_each("W8", subjects, runs, |at, subject| {
        let metrics = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut bench = bench.clone();
        bench.settings.push(format!("telemetry.metrics={metrics}"));
        let writes = || match subject {
            Subject::Logmill { .. } => scraped::value(metrics, "logmill_journal_writes_total"),
            _ => Ok(f64::NAN),
        };
        let server = bench.start_with(subject, PAYLOAD, all)?;
        for (&(producers, partitions), grid) in loads.iter().zip(&mut commits) {
            transactions::run(server.address, producers, partitions, all, COMMITTING / 2)?;
            let (cpu, written) = (server.cpu_time()?, writes()?);
            let got = transactions::run(server.address, producers, partitions, all, COMMITTING)?;
            let count = got.count as f64;
            grid.add(
                at,
                &[
                    count / got.elapsed.as_secs_f64(),
                    micros(got.took.quantile(0.5)),
                    micros(got.took.quantile(0.99)),
                    (server.cpu_time()? - cpu).as_secs_f64() * 1e6 / count,
                    (writes()? - written) / count,
                ],
            );
        }
        for (&partitions, grid) in SPREADS.iter().zip(&mut added) {
            let got = transactions::added(server.address, partitions, TURNS_PER_SECOND, TURNS)?;
            let [p50, p99] = [0.5, 0.99].map(|quantile| micros(got.produces.quantile(quantile)));
            let [all50, all99] = [0.5, 0.99].map(|quantile| micros(got.transactions.quantile(quantile)));
            grid.add(at, &[p50, p99, all50, all99, all50 - p50, all99 - p99]);
        }
        server.stop(Stop::Kill).map(drop)
    })?;
    for ((producers, partitions), grid) in loads.iter().zip(&commits) {
        grid.print(&format!(
            "W8: {producers} producer{}, a record of 100 B to each of {partitions} partition{} and a commit, one transaction \
             after the other for {} s after half as long to warm up; {runs} runs, median [min–max]",
            plural(*producers),
            plural(partitions.unsigned_abs()),
            COMMITTING.as_secs()
        ))?;
    }
    for (partitions, grid) in SPREADS.iter().zip(&added) {
        grid.print(&format!(
            "W8: one producer, {TURNS_PER_SECOND} a second: a plain produce to {partitions} partition{} with acks=all, and a \
             transaction of the same, in turn; the first tenth is left out; {runs} runs, median [min–max]",
            plural(partitions.unsigned_abs())
        ))?;
    }
    Ok(())
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Each server in turn, as often as there are runs.
fn for_each(
    what: &str,
    subjects: &[Subject],
    runs: u32,
    mut once: impl FnMut(usize, Subject) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for run in 1..=runs {
        for (at, subject) in subjects.iter().enumerate() {
            say(&format!("{what} run {run}/{runs}: {}, {}", subject.name(), subject.durability()))?;
            once(at, *subject)?;
        }
    }
    Ok(())
}
