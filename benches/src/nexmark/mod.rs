//! Nexmark from topic to topic, exactly once: Logmill beside Apache Flink and Kafka Streams, and at least once beside Spark.
//!
//! ```text
//! fill the sources ─► start the query ─► watch offsets and CPU ─► read the output ─► load at a rate, output stamped
//!                     └──────────── throughput ─────────────┘                       └───────── latency ─────────┘
//! ```
//!
//! The same for every engine: the same events in the same topics of two partitions, JSON, nothing compressed. Logmill runs
//! in the broker that has the topics; the others run with two threads beside one Apache Kafka that serves all their runs.
//!
//! - Events are the records of the topics that the query reads.
//! - How far an engine is, is what its consumer group has committed: Logmill with each epoch, Kafka Streams with each
//!   transaction, Flink with each checkpoint, Spark with each batch. CPU is that of the engine and the broker, from the first look past a fifth of
//!   the records, so that a Java machine has compiled most. What an engine has read, but not committed by then is counted
//!   for it and not its cost, which favours those who commit seldom.
//! - The load at a rate goes to the same query, warm. An event's time is when it was to be sent; a row is stamped when a
//!   `read_committed` consumer has it. Latency counts from the newest event in the row, or, where the row is of a window,
//!   from the window's end and the watermark's delay of 4 s.
//! - The rows of the prefilled events have to be as many for every engine; keys, where rows replace each other.

mod engines;
mod events;
mod figures;
mod load;
mod outputs;
mod progress;
mod queries;
mod rows;
mod tables;
mod topics;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;

use self::engines::{Engine, Peers, Running, flink, java, spark, streams};
use self::figures::{Figures, Line};
use self::load::{Load, Span, now_ms};
use self::outputs::Reader;
use self::progress::{Sample, Throughput};
use self::queries::Query;
use self::topics::{Committed, Names};
use crate::histogram::Histogram;
use crate::procfs;
use crate::report::say;
use crate::server::{Bench, Server, Subject};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Between two questions whether the engine is well.
const CHECK: Duration = Duration::from_secs(2);
/// How long ago prefilled events begin. Kafka forgets producers whose records are a day old, and records that are a week old.
const AGO_MS: i64 = 6 * 3_600_000;
/// What happened later than that after the first of them was not prefilled.
const PREFILLED_MS: i64 = 5 * 3_600_000;
/// Windows begin at multiples of that: the same events are in the same windows in every run.
const GRID_MS: i64 = 10_000;
/// An output that got no row for so long has them all: Flink commits every second.
const QUIET: Duration = Duration::from_millis(2_500);
/// An engine that is behind the rate gets so much more time.
const CATCHES_UP: Duration = Duration::from_secs(20);
/// The start of the load that latency is not taken from.
const WARM_UP_MS: i64 = 5_000;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Directory that benches/peers/install filled; without it Logmill is measured alone.
    #[arg(long, value_name = "DIR")]
    pub(crate) peers: Option<PathBuf>,
    /// Only these queries: q0,q1,q2,q5,q7,q8,q11,q17,q18,q20.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<Query>,
    /// Only these engines: logmill,flink,streams,spark.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<Engine>,
    /// Records that the sources of a query are filled with.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events a second of the load whose latency is measured; 0 measures none.
    #[arg(long, default_value_t = 50_000)]
    rate: u32,
    /// How long that load lasts; its first 5 s are left out.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// An engine that has not read everything after that many seconds is measured as far as it came, and its latency not at all.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Another option for Flink, such as state.backend.type=rocksdb; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    flink_option: Vec<String>,
    /// Another option for Spark, such as its state store; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    spark_option: Vec<String>,
}

impl Settings {
    fn queries(&self) -> Vec<Query> {
        if self.queries.is_empty() { Query::value_variants().to_vec() } else { self.queries.clone() }
    }

    fn engines(&self) -> Vec<Engine> {
        match (&self.peers, self.engines.is_empty()) {
            (_, false) => self.engines.clone(),
            (Some(_), true) => Engine::value_variants().to_vec(),
            (None, true) => vec![Engine::Logmill],
        }
    }
}

impl Peers {
    fn prepare(root: &Path, directory: &Path, settings: &Settings) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let work = tempfile::Builder::new().prefix("nexmark-").tempdir_in(directory)?;
        let peers = Self {
            kafka: root.join("kafka"),
            flink: root.join("flink"),
            spark: root.join("spark"),
            work,
            flink_options: settings.flink_option.clone(),
            spark_options: settings.spark_option.clone(),
        };
        let classes = peers.work.path().join("classes");
        for engine in settings.engines() {
            match engine {
                Engine::Logmill => {}
                Engine::Flink => java::compile(flink::SOURCE, &peers.flink, &classes)?,
                Engine::Streams => java::compile(streams::SOURCE, &peers.kafka, &classes)?,
                Engine::Spark => java::compile(spark::SOURCE, &peers.spark, &classes)?,
            }
        }
        Ok(peers)
    }
}

/// Runs each query on each engine, as often as asked, and prints the tables.
pub(crate) fn run(bench: &Bench, settings: &Settings, runs: u32) -> anyhow::Result<()> {
    let base = (now_ms() - AGO_MS) / GRID_MS * GRID_MS;
    let directory = std::path::absolute(&bench.directory)?;
    let peers = match &settings.peers {
        Some(root) => Some(Peers::prepare(&std::path::absolute(root)?, &directory, settings)?),
        None => None,
    };
    let mut kafka = None;
    let mut lines = Vec::new();
    for query in settings.queries() {
        let mut of_query: Vec<Line> =
            settings.engines().into_iter().map(|engine| Line::new(query, engine)).collect();
        for run in 1..=runs {
            for (engine, line) in settings.engines().into_iter().zip(&mut of_query) {
                say(&format!("{} run {run}/{runs}: {}", query.name(), engine.name()))?;
                let broker = match engine {
                    Engine::Logmill => &bench.start(Subject::Logmill { durable: true }, 0)?,
                    Engine::Flink | Engine::Streams | Engine::Spark => match &mut kafka {
                        Some(server) => server,
                        none => none.insert(bench.start(Subject::Kafka { flush: false }, 0)?),
                    },
                };
                let names = Names::new(&format!("{}-{}-{run}", query.name(), engine.short()));
                match measure(broker, peers.as_ref(), engine, query, &names, base, settings) {
                    Ok(figures) => {
                        say(&format!("  {}", brief(&figures)))?;
                        line.add(&figures);
                    }
                    Err(error) => {
                        say(&format!("  {error:#}"))?;
                        line.fail(&error);
                    }
                }
            }
        }
        lines.append(&mut of_query);
    }
    figures::report(&lines, &throughput_title(settings, runs), &latency_title(settings))
}

fn throughput_title(settings: &Settings, runs: u32) -> String {
    format!(
        "Nexmark from topic to topic, exactly once but for Spark (at least once): {} records in the sources, JSON, 2 partitions, nothing compressed; CPU \
         of engine and broker; checkpoints of Flink every second{}; {runs} runs, median [min–max]",
        settings.events,
        settings
            .flink_option
            .iter()
            .chain(&settings.spark_option)
            .map(|option| format!(", {option}"))
            .collect::<String>()
    )
}

fn latency_title(settings: &Settings) -> String {
    format!(
        "The same queries at {} events/s for {} s, the first 5 s left out: from when the newest event of a row was to be sent \
         (q5, q7, q8, q11: from the end of its window and the watermark's delay) to a read_committed consumer",
        settings.rate, settings.seconds
    )
}

fn brief(figures: &Figures) -> String {
    let Throughput { per_cpu_second, per_second, from, until } = figures.throughput;
    let [p50, p99, max] =
        [figures.latencies.quantile(0.5), figures.latencies.quantile(0.99), figures.latencies.max()];
    format!(
        "{per_cpu_second:.0} events/CPU s, {per_second:.0}/s ({:.0} % to {:.0} %), {} rows; {} rows live: p50 {p50:.1?}, p99 \
         {p99:.1?}, max {max:.1?}",
        from * 100.0,
        until * 100.0,
        figures.rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string()),
        figures.latencies.count()
    )
}

/// One run of a query by an engine.
fn measure(
    broker: &Server,
    peers: Option<&Peers>,
    engine: Engine,
    query: Query,
    names: &Names,
    base: i64,
    settings: &Settings,
) -> anyhow::Result<Figures> {
    let address = broker.address;
    topics::create(address, names, query.tables())?;
    let mut load = Load::open(address, names, query.tables())?;
    let newest = load.fill(base, settings.events)?;
    ensure!(newest < base + PREFILLED_MS, "--events {} reach into the present", settings.events);
    let mut committed = Committed::open(address, &engine.group(names), names, query.tables())?;
    let mut running = engine.start(peers, query, names, broker)?;
    let patience = Duration::from_secs(settings.patience);
    let samples = watch(&mut running, broker, &mut committed, settings.events, patience)?;
    let throughput = progress::throughput(&samples, settings.events).with_context(|| {
        let done = samples.last().map_or(0, |sample| sample.done);
        format!("{done} of {} records after {patience:?}", settings.events)
    })?;
    let machine_load = procfs::load();

    let finished = samples.last().is_some_and(|sample| sample.done >= settings.events);
    let (rows, latencies) = match finished {
        true => {
            let (rows, latencies) = live(broker, &mut load, query, names, base, settings)?;
            (Some(rows), latencies)
        }
        false => (None, Histogram::new()),
    };
    running.check()?;
    let peak_memory = running.peak_memory(broker)?;
    running.stop()?;
    topics::delete(address, names, query.tables())?;
    Ok(Figures { throughput, rows, latencies, peak_memory, load: machine_load })
}

/// Reads the output of the prefilled events, then the output at the rate.
fn live(
    broker: &Server,
    load: &mut Load,
    query: Query,
    names: &Names,
    base: i64,
    settings: &Settings,
) -> anyhow::Result<(u64, Histogram)> {
    let reader = Reader::start(broker.address, names, query, base + PREFILLED_MS)?;
    reader.wait_quiet(QUIET, CATCHES_UP);
    let span = match settings.rate {
        0 => None,
        rate => {
            let span = load.pace(rate, Duration::from_secs(settings.seconds))?;
            reader.wait_quiet(QUIET, CATCHES_UP);
            Some(Span { from: span.from + WARM_UP_MS, ..span })
        }
    };
    let seen = reader.finish()?;
    Ok((seen.prefilled, span.map_or_else(Histogram::new, |span| seen.latencies(span))))
}

/// Looks until all records are done with, or patience ends.
fn watch(
    running: &mut Running,
    broker: &Server,
    committed: &mut Committed,
    total: u64,
    patience: Duration,
) -> anyhow::Result<Vec<Sample>> {
    let started = Instant::now();
    let mut checked = started;
    let mut samples = Vec::new();
    loop {
        let done = committed.records()?;
        samples.push(Sample { at: Instant::now(), done, cpu: running.cpu_time(broker)? });
        if done >= total || started.elapsed() > patience {
            return Ok(samples);
        }
        if checked.elapsed() > CHECK {
            running.check()?;
            checked = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}
