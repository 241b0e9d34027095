//! W1, W2 and W3 side by side: what each server makes of the same bytes, run in turn.

use std::time::Duration;

use crate::floor::Storage;
use crate::report::{Runs, Table, gib, mib, micros, say};
use crate::server::{Bench, Stop, Subject};
use crate::workload::Shape;
use crate::{catch_up, memory, procfs, produce};

/// One workload of volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Volume {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) payload: u64,
    /// Of each fetch of the catch-up read.
    pub(crate) fetch_bytes: i32,
}

impl Volume {
    /// 100 B records in batches of 1,000.
    pub(crate) const W1: Self = Self {
        name: "W1 100 B × 1,000",
        shape: Shape { record_bytes: 100, records: 1000 },
        payload: 1_000_000_000,
        fetch_bytes: 1 << 20,
    };
    /// 1 KiB records in batches of 1,024.
    pub(crate) const W2: Self = Self {
        name: "W2 1 KiB × 1,024",
        shape: Shape { record_bytes: 1024, records: 1024 },
        payload: 2000 << 20,
        fetch_bytes: 4 << 20,
    };
}

/// Servers that promise the same; the first is what ratios refer to.
pub(crate) const PAGE_CACHE: [Subject; 2] =
    [Subject::Floor(Storage::PageCache), Subject::Logmill { durable: false }];
/// The same for what is on the device.
pub(crate) const DEVICE: [Subject; 3] =
    [Subject::Floor(Storage::Direct), Subject::Floor(Storage::Fdatasync), Subject::Logmill { durable: true }];

/// How to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) runs: u32,
    pub(crate) in_flight: usize,
    pub(crate) touch: u64,
}

/// The figures of one server over all runs.
#[derive(Clone, Debug, Default)]
struct Figures {
    messages: Runs,
    mib: Runs,
    server: Runs,
    client: Runs,
    ack_p50: Runs,
    ack_p99: Runs,
    peak: Runs,
    load: Runs,
}

/// Runs a workload against servers of one durability and prints two tables: the writes, and the catch-up reads.
pub(crate) fn compare(bench: &Bench, volume: Volume, subjects: &[Subject], how: How) -> anyhow::Result<()> {
    let mut writes = vec![Figures::default(); subjects.len()];
    let mut reads = vec![Figures::default(); subjects.len()];
    for run in 1..=how.runs {
        for ((subject, write), read) in subjects.iter().zip(&mut writes).zip(&mut reads) {
            say(&format!(
                "{} run {run}/{}: {}, {}",
                volume.name,
                how.runs,
                subject.name(),
                subject.durability()
            ))?;
            once(bench, volume, *subject, how, write, read)?;
        }
    }
    let date = jiff::Zoned::now().date();
    let durability = subjects.first().map_or("", |subject| subject.durability());
    let mut table = Table::new(&[
        "date",
        "server",
        "in flight",
        "msg/s (M)",
        "MiB/s",
        "× floor",
        "server s/GiB",
        "× floor",
        "client s/GiB",
        "ack p50 µs",
        "ack p99 µs",
        "peak RSS MiB",
        "load",
    ]);
    for (subject, figures) in subjects.iter().zip(&writes) {
        let mut cells = vec![date.to_string(), subject.name().to_owned(), how.in_flight.to_string()];
        cells.extend(rates(figures, &writes[0]));
        cells.extend([
            figures.ack_p50.show(0),
            figures.ack_p99.show(0),
            figures.peak.show(0),
            figures.load.show(1),
        ]);
        table.row(cells);
    }
    table.print(&format!(
        "{}, {:.0} MiB, acknowledged from: **{durability}**, {} runs, median [min–max]",
        volume.name,
        mib(volume.payload),
        how.runs
    ))?;
    let mut table = Table::new(&[
        "date",
        "server",
        "msg/s (M)",
        "MiB/s",
        "× floor",
        "server s/GiB",
        "× floor",
        "client s/GiB",
        "load",
    ]);
    for (subject, figures) in subjects.iter().zip(&reads) {
        if *subject == Subject::Floor(Storage::Direct) {
            continue;
        }
        let mut cells = vec![date.to_string(), subject.name().to_owned()];
        let reference = if subjects[0] == Subject::Floor(Storage::Direct) { &reads[1] } else { &reads[0] };
        cells.extend(rates(figures, reference));
        cells.push(figures.load.show(1));
        table.row(cells);
    }
    table.print(&format!(
        "W3 catch-up read of that (written with: {durability}), fetches of {} MiB, one in flight, cached, CRCs checked",
        volume.fetch_bytes >> 20
    ))?;
    Ok(())
}

fn rates(figures: &Figures, floor: &Figures) -> [String; 6] {
    let ratio = |one: &Runs, other: &Runs| format!("{:.2}", one.median() / other.median());
    [
        figures.messages.show(2),
        figures.mib.show(0),
        ratio(&figures.mib, &floor.mib),
        figures.server.show(2),
        ratio(&figures.server, &floor.server),
        figures.client.show(2),
    ]
}

fn once(
    bench: &Bench,
    volume: Volume,
    subject: Subject,
    how: How,
    write: &mut Figures,
    read: &mut Figures,
) -> anyhow::Result<()> {
    let batches = volume.shape.batches(volume.payload);
    let server = bench.start(subject, volume.payload)?;
    memory::touch(how.touch);
    let (server_before, client_before) = (server.cpu_time()?, procfs::own_cpu_time());
    let produced = produce::run(server.address, volume.shape, batches, how.in_flight)?;
    let client = procfs::own_cpu_time() - client_before;
    // What was acknowledged may still be on its way into segments: that belongs to the price.
    let server_cpu = settled_cpu(&server)? - server_before;
    write.add(produced.records, produced.payload, produced.elapsed, server_cpu, client);
    write.ack_p50.push(micros(produced.acks.quantile(0.5)));
    write.ack_p99.push(micros(produced.acks.quantile(0.99)));
    write.peak.push(mib(procfs::memory(server.pid())?.1));
    // What the floor wrote past the page cache would have to come from the device.
    if subject != Subject::Floor(Storage::Direct) {
        let (server_before, client_before) = (server.cpu_time()?, procfs::own_cpu_time());
        let caught_up = catch_up::run(server.address, volume.shape, batches, volume.fetch_bytes)?;
        let client = procfs::own_cpu_time() - client_before;
        let server_cpu = server.cpu_time()? - server_before;
        read.add(caught_up.records, caught_up.payload, caught_up.elapsed, server_cpu, client);
    }
    // Its directory goes away anyway.
    server.stop(Stop::Kill)?;
    Ok(())
}

/// The CPU time of a server, when it has come to rest.
pub(crate) fn settled_cpu(server: &crate::server::Server) -> anyhow::Result<Duration> {
    let mut last = server.cpu_time()?;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(60));
        let now = server.cpu_time()?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

impl Figures {
    fn add(&mut self, records: u64, payload: u64, elapsed: Duration, server: Duration, client: Duration) {
        let seconds = elapsed.as_secs_f64();
        self.messages.push(records as f64 / seconds / 1e6);
        self.mib.push(mib(payload) / seconds);
        self.server.push(server.as_secs_f64() / gib(payload));
        self.client.push(client.as_secs_f64() / gib(payload));
        self.load.push(procfs::load());
    }
}
