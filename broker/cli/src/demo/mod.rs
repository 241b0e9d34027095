//! `logmill demo`: real flights in, an exactly-once hourly report out.
//!
//! ```text
//! CSV ─► loader (transactions) ─► flights ─► pipeline carrier-hourly ─► carrier-hourly ─► table
//! ```
//!
//! All of it goes through the door every client uses. Killed at any moment and run again on the same data directory
//! it goes on where it was: chunks and their positions are one transaction, epochs of the pipeline are one frame.

mod input;
mod loader;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use logmill_broker::node::Node;
use logmill_client::{Client, ConsumerRecord, InputEnd, Isolation, Pipeline, PipelineState, StartAt};
use logmill_config::Origin;

use crate::commands::config::Settings;
use crate::commands::serve::{stop_node, stop_signal};
use crate::{logging, output};
use input::Source;
use loader::{FLIGHTS, Loader};
use report::{Progress, RESULTS, Results, grouped};

/// The pipeline.
const SCRIPT: &str = include_str!("../../../../config/demo/carrier-hourly.sql");
const PIPELINE: &str = "carrier-hourly";

/// Where the demo keeps its data if nothing else is said.
const DATA_DIR: &str = "logmill-demo";

/// Watch a broker load real flights and report on them exactly once.
///
/// Starts a broker, loads a month of flights out of New York City into the topic `flights`, and runs a pipeline that counts
/// flights and delays by hour and carrier into `carrier-hourly`. Kill it at any moment and run it again: it goes on
/// where it was, and nothing is lost or counted twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logmill demo                                  then try the commands it prints
  logmill demo --exit                           end when every window is closed
  logmill demo --input flights.csv.gz --data-dir /tmp/all-year --exit")]
pub(crate) struct Demo {
    /// Flights to load instead of the month built in: CSV, compressed with gzip or not.
    #[arg(long, value_name = "FILE.csv[.gz]")]
    input: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// End when the input is loaded and every window is closed and committed.
    #[arg(long)]
    exit: bool,
}

pub(crate) async fn run(command: Demo) -> anyhow::Result<()> {
    let loaded = command.settings.load()?;
    let mut config = loaded.config.clone();
    if loaded.origin("data_dir") == Origin::Default {
        config.data_dir = PathBuf::from(DATA_DIR);
    }
    if loaded.origin("telemetry.level") == Origin::Default {
        // The demo tells its own story.
        config.telemetry.level = "warn".to_owned();
    }
    logging::for_broker(&config.telemetry.level, config.telemetry.format)?;
    let source = command.input.map_or(Source::BuiltIn, Source::File);
    // Before anything is started: a wrong file name leaves nothing behind.
    source.identity()?;

    let stop = stop_signal()?;
    tokio::pin!(stop);
    let data_dir = config.data_dir.clone();
    let address = config.listen.to_string();
    let node = Node::start(config)
        .await
        .with_context(|| format!("cannot start a broker on {} at {address}", data_dir.display()))?;
    let address = reachable(node.local_addr());
    let shown = tokio::select! {
        shown = show(&address, &data_dir, source, command.exit) => shown,
        () = &mut stop => {
            output::note("stopping; run the same command again to go on");
            stop_node(node).await?;
            return Ok(());
        }
    };
    if shown.is_ok() && !command.exit {
        stop.await;
        output::note("stopping");
    }
    stop_node(node).await?;
    shown
}

/// The address for clients on this machine.
fn reachable(mut address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

/// How often to ask how far the pipeline is.
const LOOK: Duration = Duration::from_millis(50);

async fn show(address: &str, data_dir: &Path, source: Source, exit: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut progress = Progress::new();
    progress.say(format!("broker at {address}, data in {}", data_dir.display()));
    let client = Client::connect_within(address, Duration::from_secs(30)).await?;
    let pipelines = client.pipelines();
    let mut loader = Loader::start(&client, source.clone()).await?;
    let position = loader.position;
    let (_, created) = pipelines.run(PIPELINE, SCRIPT, None).await?;
    let pipeline = pipelines.describe(PIPELINE).await?;
    check(&pipeline)?;
    let finish_declared = pipeline.sources.iter().any(|source| source.finish_at.is_some());
    if finish_declared && !position.done {
        anyhow::bail!(
            "the pipeline {PIPELINE} in {} is at the end of another input; give this one a --data-dir of its own",
            data_dir.display()
        );
    }
    match (position.rows, position.done) {
        (0, false) => progress.say(format!("loading {source} into topic {FLIGHTS}")),
        (rows, false) => {
            progress.say(format!("going on with {source} after {} flights", grouped(rows as i64)));
        }
        (rows, true) => {
            progress.say(format!("{} flights of {source} are loaded already", grouped(rows as i64)))
        }
    }
    progress.say(format!("pipeline {PIPELINE} {}", if created { "is new" } else { "goes on" }));

    loader
        .load(|position, share| {
            progress.show(|| {
                format!(
                    "loading: {} flights, {:.0} % of the file",
                    grouped(position.rows as i64),
                    share * 100.0
                )
            });
        })
        .await?;
    let rows = loader.position.rows;
    if !position.done {
        progress.say(format!(
            "loaded {} flights in {:.1} s; the input is complete",
            grouped((rows - position.rows) as i64),
            begun.elapsed().as_secs_f64()
        ));
    }
    loader.close().await;
    pipelines.finish_input(PIPELINE, InputEnd::Now).await?;
    let finished = finished(&client, &mut progress).await?;
    if finished.epoch == pipeline.epoch {
        progress.say("the pipeline had finished before: nothing was added");
    } else {
        progress.say(format!(
            "every window is closed and committed after {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
    }

    let results = Results::read(&client).await?;
    let (windows, flights) = results.totals();
    let summary =
        format!("{} hourly rows in topic {RESULTS}, {} flights:", grouped(windows), grouped(flights));
    output::lines([String::new(), summary, String::new()].into_iter().chain(results.lines()))?;
    if !exit {
        try_next(address)?;
    }
    Ok(())
}

/// Waits until the pipeline has closed and committed every window.
async fn finished(client: &Client, progress: &mut Progress) -> anyhow::Result<Pipeline> {
    loop {
        let pipeline = client.pipelines().describe(PIPELINE).await?;
        check(&pipeline)?;
        if pipeline.state() == PipelineState::Finished {
            return Ok(pipeline);
        }
        let counters = pipeline.counters.unwrap_or_default();
        progress.show(|| {
            let (read, written) = (grouped(counters.records_in), grouped(counters.records_out));
            format!("pipeline: {read} flights read, {written} rows written, epoch {}", pipeline.epoch)
        });
        tokio::time::sleep(LOOK).await;
    }
}

/// A pipeline that cannot go on ends the demo.
fn check(pipeline: &Pipeline) -> anyhow::Result<()> {
    match pipeline.state() {
        PipelineState::Failed => anyhow::bail!("pipeline {PIPELINE} failed: {}", pipeline.error),
        PipelineState::Stopped => anyhow::bail!(
            "pipeline {PIPELINE} was stopped; `logmill pipeline run config/demo/carrier-hourly.sql` goes on with it"
        ),
        _ => Ok(()),
    }
}

fn try_next(address: &str) -> std::io::Result<()> {
    let bootstrap = if address == "127.0.0.1:9092" { String::new() } else { format!(" -B {address}") };
    output::lines([
        String::new(),
        "The broker goes on serving. In another terminal:".to_owned(),
        String::new(),
        format!("  logmill consume {RESULTS} --offset -2 --exit{bootstrap}"),
        format!("  logmill pipeline describe {PIPELINE}{bootstrap}"),
        format!("  kcat -b {address} -t {RESULTS} -C -e -o -2"),
        String::new(),
        "Ctrl-C stops it; run the demo again and it is still all there.".to_owned(),
    ])
}

/// Gives every committed record that is in a topic now.
async fn read_to_end(
    client: &Client,
    topic: &str,
    start: StartAt,
    mut take: impl FnMut(&ConsumerRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let admin = client.admin();
    let mut left = Vec::new();
    for partition in admin.describe_topic(topic).await?.partitions {
        let offsets = admin.offsets(topic, partition.index, Isolation::Committed).await?;
        if offsets.end > offsets.start {
            left.push((partition.index, offsets.end));
        }
    }
    let mut reader = client.reader().topic(topic, start).build().await?;
    let patience = Duration::from_secs(60);
    let mut last = Instant::now();
    loop {
        left.retain(|(partition, end)| {
            reader.position(topic, *partition).is_none_or(|position| position < *end)
        });
        if left.is_empty() {
            reader.close().await;
            return Ok(());
        }
        // The end may be behind markers, which come without a record.
        match tokio::time::timeout(LOOK, reader.next_batch(10_000)).await {
            Ok(records) => {
                last = Instant::now();
                records?.iter().try_for_each(&mut take)?;
            }
            Err(_) => anyhow::ensure!(last.elapsed() < patience, "topic {topic} gives no records"),
        }
    }
}
