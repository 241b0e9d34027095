//! What a pipeline that goes wrong costs others: the latency of a topic that it does not read, alone, beside a process that
//! computes without end and is as nice as a pipeline, and beside pipelines that go wrong in every way there is.
//!
//! Whatever takes a processor away delays others; a pipeline must not delay them more than any process does. The ratio is
//! taken within one run. Scheduling is the ordinary one: under SCHED_RR priorities would say nothing.
//!
//! Pipelines leave room on the disk to others. On a full disk nobody can write, whatever pipelines do: those who try are refused, and ratios count what is acknowledged
//! before, after and until then.

pub(crate) mod capped;
mod full_disk;
mod wrongs;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;

use self::wrongs::Wrong;
use crate::delay::{MESSAGE_BYTES, PAYLOAD, Quantiles};
use crate::histogram::Histogram;
use crate::report::{Runs, Table, print, say};
use crate::server::{Bench, Server, Subject};
use crate::{latency, procfs};

/// What is beside the producer.
enum Beside {
    Process,
    Nothing,
    Pipeline(Wrong),
    FullDisk {
        /// Of which pipelines leave some to others.
        leaves_reserve: bool,
    },
}

/// A pipeline's threads give way to the broker's by so much.
const PIPELINE_NICENESS: &str = "5";

impl Beside {
    /// Those that have one of the texts in their name, or all where there is none. The process comes first: ratios refer to it.
    fn wanted(texts: &[String]) -> Vec<Beside> {
        let mut others = vec![Beside::Nothing];
        others.extend(wrongs::all().into_iter().map(Beside::Pipeline));
        others.extend([true, false].map(|leaves_reserve| Beside::FullDisk { leaves_reserve }));
        others.retain(|beside| texts.is_empty() || texts.iter().any(|text| beside.name().contains(text)));
        others.insert(0, Beside::Process);
        others
    }

    fn name(&self) -> &'static str {
        match self {
            Beside::Process => "a process that computes",
            Beside::Nothing => "nothing",
            Beside::Pipeline(wrong) => wrong.name,
            Beside::FullDisk { leaves_reserve: true } => "a disk filled up to the reserve",
            Beside::FullDisk { leaves_reserve: false } => "a disk filled, without a reserve",
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Beside::Process | Beside::Nothing => "",
            Beside::Pipeline(wrong) => wrong.unit,
            Beside::FullDisk { .. } => "of the producer's messages refused",
        }
    }

    fn measure(&self, bench: &Bench, runtime: &Runtime, per_second: u32) -> anyhow::Result<Measured> {
        match self {
            Beside::Nothing => load(&bench.start(LOGMILL, PAYLOAD)?, per_second),
            Beside::Process => {
                let server = bench.start(LOGMILL, PAYLOAD)?;
                let _spinning = Spinning::start()?;
                load(&server, per_second)
            }
            Beside::Pipeline(wrong) => {
                let mut bench = bench.clone();
                bench.settings.extend(wrong.settings.iter().map(|&setting| setting.to_owned()));
                let server = bench.start(LOGMILL, PAYLOAD)?;
                let going = wrong.start(runtime, &server)?;
                if wrong.runs_again {
                    return load_while_it_runs_again(&server, per_second, wrong);
                }
                let got = load(&server, per_second)?;
                Ok(Measured { done: going.look(runtime)?, ..got })
            }
            Beside::FullDisk { leaves_reserve } => full_disk::measure(bench, per_second, *leaves_reserve),
        }
    }
}

const LOGMILL: Subject = Subject::Logmill { durable: true };

/// What one run gave.
struct Measured {
    acks: Histogram,
    /// Share of a core.
    server_cpu: f64,
    /// What the pipeline did meanwhile, in its unit; NaN where there is nothing to count.
    done: f64,
}

/// How long the producer's load lasts.
const SECONDS: u32 = 10;

/// The producer's load.
fn load(server: &Server, per_second: u32) -> anyhow::Result<Measured> {
    let before = server.cpu_time()?;
    let got = latency::run(server.address, MESSAGE_BYTES, per_second, per_second * SECONDS)?;
    let cpu = server.cpu_time()? - before;
    Ok(Measured { acks: got.acks, server_cpu: share(cpu, got.elapsed), done: f64::NAN })
}

/// The same, while somebody runs the pipeline again whenever it has failed.
fn load_while_it_runs_again(server: &Server, per_second: u32, wrong: &Wrong) -> anyhow::Result<Measured> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let again = scope.spawn(|| wrong.run_again(server.address, || stop.load(Ordering::Relaxed)));
        let got = load(server, per_second);
        stop.store(true, Ordering::Relaxed);
        let times = again.join().map_err(|_panic| anyhow::anyhow!("who runs it again panicked"))??;
        Ok(Measured { done: times as f64, ..got? })
    })
}

fn share(cpu: Duration, elapsed: Duration) -> f64 {
    cpu.as_secs_f64() / elapsed.as_secs_f64()
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

/// All runs of one thing.
#[derive(Default)]
struct Row {
    acks: Quantiles,
    server_cpu: Runs,
    done: Runs,
    load: Runs,
    failures: Vec<String>,
}

/// Measures what is wanted of them, in turn.
pub(crate) fn run(bench: &Bench, beside: &[String], per_second: u32, runs: u32) -> anyhow::Result<()> {
    let all = Beside::wanted(beside);
    let mut rows: Vec<Row> = all.iter().map(|_| Row::default()).collect();
    let runtime = Runtime::new()?;
    for run in 1..=runs {
        for (beside, row) in all.iter().zip(&mut rows) {
            say(&format!("isolation run {run}/{runs}: beside {}", beside.name()))?;
            match beside.measure(bench, &runtime, per_second) {
                Ok(got) => {
                    row.acks.add(&got.acks);
                    row.server_cpu.push(100.0 * got.server_cpu);
                    row.done.push(got.done);
                    row.load.push(procfs::load());
                }
                Err(error) => row.failures.push(format!("{error:#}")),
            }
        }
    }
    report(&all, &rows, per_second, runs)
}

fn report(all: &[Beside], rows: &[Row], per_second: u32, runs: u32) -> anyhow::Result<()> {
    let headings = [
        "date",
        "beside",
        "ack p50 µs",
        "p99",
        "p99.9",
        "max",
        "× process p99",
        "server CPU % of a core",
        "it did meanwhile",
        "load",
    ];
    let mut table = Table::new(&headings);
    let date = jiff::Zoned::now().date().to_string();
    for (beside, row) in all.iter().zip(rows) {
        let mut cells = vec![date.clone(), beside.name().to_owned()];
        cells.extend(row.acks.show());
        cells.push(format!("{:.2}", row.acks.p99() / rows[0].acks.p99()));
        let meanwhile = match (row.done.median().is_nan(), beside.unit()) {
            (true, "") => "–".to_owned(),
            (true, unit) => unit.to_owned(),
            (false, unit) => format!("{} {unit}", row.done.show(0)),
        };
        cells.extend([row.server_cpu.show(0), meanwhile, row.load.show(1)]);
        table.row(cells);
    }
    table.print(&format!(
        "Isolation: {per_second} messages/s × {MESSAGE_BYTES} B to a topic that no pipeline reads, acknowledged from the device; \
         {runs} runs, median [min–max]"
    ))?;
    for (beside, row) in all.iter().zip(rows) {
        for failure in &row.failures {
            print(&format!("\n{}: {failure}", beside.name()))?;
        }
    }
    Ok(())
}
