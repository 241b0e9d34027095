//! W4 and W5 side by side: what a message waits, with few and with many connections.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::report::{Runs, Table, mib, micros, say};
use crate::server::{Bench, Stop, Subject};
use crate::{connections, latency, procfs};

const MESSAGE_BYTES: usize = 1024;
const PER_SECOND: u32 = 1000;
const MESSAGES: u32 = 10_000;

const IDLE: usize = 1000;
const ACTIVE: u32 = 50;
const ACTIVE_PER_SECOND: u32 = 20;
const ACTIVE_BYTES: usize = 100;
const ACTIVE_TIME: Duration = Duration::from_secs(8);

/// Room for what the two workloads write.
const PAYLOAD: u64 = 64 << 20;

/// p50, p99, p99.9 and the most, in µs.
#[derive(Clone, Debug, Default)]
struct Quantiles([Runs; 4]);

impl Quantiles {
    fn add(&mut self, histogram: &Histogram) {
        let figures =
            [histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(0.999), histogram.max()];
        self.0.iter_mut().zip(figures).for_each(|(runs, figure)| runs.push(micros(figure)));
    }

    fn show(&self) -> Vec<String> {
        self.0.iter().map(|runs| runs.show(0)).collect()
    }
}

/// W4 against servers of one durability.
pub(crate) fn w4(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    #[derive(Clone, Default)]
    struct Figures {
        acks: Quantiles,
        end_to_end: Quantiles,
        server: Runs,
        load: Runs,
    }
    let mut all = vec![Figures::default(); subjects.len()];
    for run in 1..=runs {
        for (subject, figures) in subjects.iter().zip(&mut all) {
            say(&format!("W4 run {run}/{runs}: {}, {}", subject.name(), subject.durability()))?;
            let server = bench.start(*subject, PAYLOAD)?;
            let before = server.cpu_time()?;
            let got = latency::run(server.address, MESSAGE_BYTES, PER_SECOND, MESSAGES)?;
            let cpu = server.cpu_time()? - before;
            figures.acks.add(&got.acks);
            figures.end_to_end.add(&got.end_to_end);
            figures.server.push(100.0 * cpu.as_secs_f64() / got.elapsed.as_secs_f64());
            figures.load.push(procfs::load());
            server.stop(Stop::Kill)?;
        }
    }
    let mut table = Table::new(&[
        "date",
        "server",
        "ack p50 µs",
        "p99",
        "p99.9",
        "max",
        "end to end p50 µs",
        "p99",
        "p99.9",
        "max",
        "× floor p50",
        "server CPU % of a core",
        "load",
    ]);
    let date = jiff::Zoned::now().date();
    for (subject, figures) in subjects.iter().zip(&all) {
        let mut cells = vec![date.to_string(), subject.name().to_owned()];
        cells.extend(figures.acks.show());
        cells.extend(figures.end_to_end.show());
        let ratio = figures.end_to_end.0[0].median() / all[0].end_to_end.0[0].median();
        cells.extend([format!("{ratio:.2}"), figures.server.show(0), figures.load.show(1)]);
        table.row(cells);
    }
    table.print(&format!(
        "W4: {PER_SECOND} messages/s × {MESSAGE_BYTES} B, one a batch, 1 in flight, acknowledged from: **{}**; from the \
         scheduled send; {runs} runs, median [min–max]",
        subjects[0].durability()
    ))?;
    Ok(())
}

/// W5 against servers of one durability.
pub(crate) fn w5(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    #[derive(Clone, Default)]
    struct Figures {
        acks: Quantiles,
        before: Runs,
        idle: Runs,
        after: Runs,
        server: Runs,
        load: Runs,
    }
    let mut all = vec![Figures::default(); subjects.len()];
    for run in 1..=runs {
        for (subject, figures) in subjects.iter().zip(&mut all) {
            say(&format!("W5 run {run}/{runs}: {}, {}", subject.name(), subject.durability()))?;
            let server = bench.start(*subject, PAYLOAD)?;
            let resident = || procfs::memory(server.pid()).map(|(now, _)| mib(now));
            figures.before.push(resident()?);
            let idle = connections::idle(server.address, IDLE)?;
            figures.idle.push(resident()?);
            let before = server.cpu_time()?;
            let acks =
                connections::active(server.address, ACTIVE, ACTIVE_PER_SECOND, ACTIVE_BYTES, ACTIVE_TIME)?;
            let cpu = server.cpu_time()? - before;
            figures.acks.add(&acks);
            figures.after.push(resident()?);
            figures.server.push(100.0 * cpu.as_secs_f64() / ACTIVE_TIME.as_secs_f64());
            figures.load.push(procfs::load());
            drop(idle);
            server.stop(Stop::Kill)?;
        }
    }
    let mut table = Table::new(&[
        "date",
        "server",
        "ack p50 µs",
        "p99",
        "p99.9",
        "max",
        "× floor p50",
        "RSS MiB before",
        "with idle",
        "after",
        "server CPU % of a core",
        "load",
    ]);
    let date = jiff::Zoned::now().date();
    for (subject, figures) in subjects.iter().zip(&all) {
        let mut cells = vec![date.to_string(), subject.name().to_owned()];
        cells.extend(figures.acks.show());
        let ratio = figures.acks.0[0].median() / all[0].acks.0[0].median();
        cells.push(format!("{ratio:.2}"));
        cells.extend([figures.before.show(1), figures.idle.show(1), figures.after.show(1)]);
        cells.extend([figures.server.show(0), figures.load.show(1)]);
        table.row(cells);
    }
    table.print(&format!(
        "W5: {IDLE} idle connections, then {ACTIVE} producers × {ACTIVE_PER_SECOND} messages/s × {ACTIVE_BYTES} B, 1 in \
         flight each, acknowledged from: **{}**; from the scheduled send; {runs} runs, median [min–max]",
        subjects[0].durability()
    ))?;
    Ok(())
}
