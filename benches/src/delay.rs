//! W4 and W5 side by side: what a message waits, with few and with many connections.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::report::{Runs, Table, mib, micros, say};
use crate::server::{Bench, Server, Stop, Subject};
use crate::{connections, latency, procfs};

pub(crate) const MESSAGE_BYTES: usize = 1024;
pub(crate) const PER_SECOND: u32 = 1000;
pub(crate) const MESSAGES: u32 = 10_000;

pub(crate) const IDLE: usize = 1000;
pub(crate) const ACTIVE: u32 = 50;
pub(crate) const ACTIVE_PER_SECOND: u32 = 20;
pub(crate) const ACTIVE_BYTES: usize = 100;
pub(crate) const ACTIVE_TIME: Duration = Duration::from_secs(8);

/// Room for what the two workloads write.
pub(crate) const PAYLOAD: u64 = 64 << 20;

/// p50, p99, p99.9 and the most, in µs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quantiles([Runs; 4]);

impl Quantiles {
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        let figures =
            [histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(0.999), histogram.max()];
        self.0.iter_mut().zip(figures).for_each(|(runs, figure)| runs.push(micros(figure)));
    }

    /// The median of the runs' p99, in µs.
    pub(crate) fn p99(&self) -> f64 {
        self.0[1].median()
    }

    pub(crate) fn show(&self) -> Vec<String> {
        self.0.iter().map(|runs| runs.show(0)).collect()
    }
}

/// What was measured of one server, and what that cost.
#[derive(Clone, Default)]
struct Measured<F> {
    figures: F,
    /// CPU of the server, % of a core.
    server: Runs,
    load: Runs,
}

/// Runs a workload against each server in turn, as often as asked. `one` is one run; it says which share of a core the
/// server used.
fn measure<F: Clone + Default>(
    workload: &str,
    bench: &Bench,
    subjects: &[Subject],
    runs: u32,
    mut one: impl FnMut(&Server, &mut F) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<Measured<F>>> {
    let mut all = vec![Measured::default(); subjects.len()];
    for run in 1..=runs {
        for (subject, measured) in subjects.iter().zip(&mut all) {
            say(&format!("{workload} run {run}/{runs}: {}, {}", subject.name(), subject.durability()))?;
            let server = bench.start(*subject, PAYLOAD)?;
            let share = one(&server, &mut measured.figures)?;
            measured.server.push(100.0 * share);
            measured.load.push(procfs::load());
            server.stop(Stop::Kill)?;
        }
    }
    Ok(all)
}

/// Prints a row for each server; `cells` is told its figures and the floor's.
fn print<F>(
    title: &str,
    headings: &[&str],
    subjects: &[Subject],
    all: &[Measured<F>],
    cells: impl Fn(&F, &F) -> Vec<String>,
) -> anyhow::Result<()> {
    let headings = [&["date", "server"], headings, &["server CPU % of a core", "load"]].concat();
    let mut table = Table::new(&headings);
    let date = jiff::Zoned::now().date();
    for (subject, measured) in subjects.iter().zip(all) {
        let mut row = vec![date.to_string(), subject.name().to_owned()];
        row.extend(cells(&measured.figures, &all[0].figures));
        row.extend([measured.server.show(0), measured.load.show(1)]);
        table.row(row);
    }
    table.print(title)?;
    Ok(())
}

/// How many times the floor's median.
fn times_floor(quantiles: &Quantiles, floor: &Quantiles) -> String {
    format!("{:.2}", quantiles.0[0].median() / floor.0[0].median())
}

/// W4 against servers of one durability.
pub(crate) fn w4(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    #[derive(Clone, Default)]
    struct Figures {
        acks: Quantiles,
        end_to_end: Quantiles,
    }
    let all = measure("W4", bench, subjects, runs, |server, figures: &mut Figures| {
        let before = server.cpu_time()?;
        let got = latency::run(server.address, MESSAGE_BYTES, PER_SECOND, MESSAGES)?;
        let cpu = server.cpu_time()? - before;
        figures.acks.add(&got.acks);
        figures.end_to_end.add(&got.end_to_end);
        Ok(cpu.as_secs_f64() / got.elapsed.as_secs_f64())
    })?;
    let headings =
        ["ack p50 µs", "p99", "p99.9", "max", "end to end p50 µs", "p99", "p99.9", "max", "× floor p50"];
    let title = format!(
        "W4: {PER_SECOND} messages/s × {MESSAGE_BYTES} B, one a batch, 1 in flight, acknowledged from: **{}**; from the \
         scheduled send; {runs} runs, median [min–max]",
        subjects[0].durability()
    );
    print(&title, &headings, subjects, &all, |figures, floor| {
        let mut cells = figures.acks.show();
        cells.extend(figures.end_to_end.show());
        cells.push(times_floor(&figures.end_to_end, &floor.end_to_end));
        cells
    })
}

/// W5 against servers of one durability.
pub(crate) fn w5(bench: &Bench, subjects: &[Subject], runs: u32) -> anyhow::Result<()> {
    #[derive(Clone, Default)]
    struct Figures {
        acks: Quantiles,
        before: Runs,
        idle: Runs,
        after: Runs,
    }
    let all = measure("W5", bench, subjects, runs, |server, figures: &mut Figures| {
        let resident = || procfs::memory(server.pid()).map(|(now, _)| mib(now));
        figures.before.push(resident()?);
        let idle = connections::idle(server.address, IDLE)?;
        figures.idle.push(resident()?);
        let before = server.cpu_time()?;
        let acks = connections::active(server.address, ACTIVE, ACTIVE_PER_SECOND, ACTIVE_BYTES, ACTIVE_TIME)?;
        let cpu = server.cpu_time()? - before;
        figures.acks.add(&acks);
        figures.after.push(resident()?);
        drop(idle);
        Ok(cpu.as_secs_f64() / ACTIVE_TIME.as_secs_f64())
    })?;
    let headings =
        ["ack p50 µs", "p99", "p99.9", "max", "× floor p50", "RSS MiB before", "with idle", "after"];
    let title = format!(
        "W5: {IDLE} idle connections, then {ACTIVE} producers × {ACTIVE_PER_SECOND} messages/s × {ACTIVE_BYTES} B, 1 in \
         flight each, acknowledged from: **{}**; from the scheduled send; {runs} runs, median [min–max]",
        subjects[0].durability()
    );
    print(&title, &headings, subjects, &all, |figures, floor| {
        let mut cells = figures.acks.show();
        cells.push(times_floor(&figures.acks, &floor.acks));
        cells.extend([figures.before.show(1), figures.idle.show(1), figures.after.show(1)]);
        cells
    })
}
