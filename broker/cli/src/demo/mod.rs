//! `logmill demo`: real flights in, an exactly-once hourly report out.
//!
//! ```text
//! CSV ─► loader (one transaction per chunk, with the position in the file) ─► topic flights
//!                                     pipeline config/demo/carrier-hourly.sql ─► topic carrier-hourly ─► table
//! ```
//!
//! Everything goes through the doors that any program has: the client library and the broker's own port.

mod flights;
mod loader;
mod progress;
mod report;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use logmill_broker::node::Node;
use logmill_client::{
    Client, ConsumerRecord, ErrorCode, InputEnd, Isolation, NewTopic, Pipeline, PipelineState, Pipelines,
    StartAt,
};
use logmill_config::Origin;

use self::flights::Input;
use self::loader::Loader;
pub(crate) use self::progress::Progress;
use crate::commands::config::Settings;
use crate::commands::serve::{stop_node, stop_signal};
use crate::logging;
use crate::output::note;

/// The pipeline, as it stands in `config/demo/`.
const SCRIPT: &str = include_str!("../../../../config/demo/carrier-hourly.sql");
const PIPELINE: &str = "carrier-hourly";
const FLIGHTS: &str = "flights";
const REPORT: &str = "carrier-hourly";
/// Partitions of the topic of flights.
const PARTITIONS: u32 = 4;
/// How often the pipeline is asked how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// Where the demo keeps its data if nothing else is said.
const DATA_DIR: &str = "logmill-demo";

/// Watch a broker load real flights and report on them exactly once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Kill it at any moment and run it again on the same data directory: it goes on where it was, and adds nothing twice.")]
pub(crate) struct Demo {
    /// Flights to load, with the columns of nycflights13; one month is built in.
    #[arg(long, value_name = "FILE.csv[.gz]")]
    input: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// End when the input is done and every window is closed and committed.
    #[arg(long)]
    exit: bool,
}

pub(crate) async fn run(command: Demo) -> anyhow::Result<()> {
    let input = Input::open(command.input.as_deref())?;
    let loaded = command.settings.load()?;
    let mut config = loaded.config.clone();
    if loaded.origin("data_dir") == Origin::Default {
        config.data_dir = PathBuf::from(DATA_DIR);
    }
    if loaded.origin("telemetry.level") == Origin::Default {
        // The demo tells its own story.
        "warn".clone_into(&mut config.telemetry.level);
    }
    let loggers = logging::for_broker(&config.telemetry.level, config.telemetry.format)?;
    let stop = stop_signal()?;
    let data_dir = config.data_dir.display().to_string();
    let node = Node::start_with(config, loggers).await.with_context(|| {
        format!("cannot start a broker on {data_dir} (--listen 127.0.0.1:0 takes any free port)")
    })?;
    let address = reachable(node.local_addr());
    note(format!("broker   listening on {address}, data in {data_dir}"));
    let worked = tokio::select! {
        worked = work(&address, input) => worked.map(|()| true),
        () = stop => {
            note("stopping; run the same command again to go on");
            Ok(false)
        }
    };
    let finished = match worked {
        Ok(finished) => finished,
        Err(error) => {
            // The reason the demo failed matters more than a stop that fails too.
            let _ = stop_node(node).await;
            return Err(error);
        }
    };
    if finished && !command.exit {
        next_steps(&address);
        stop_signal()?.await;
    }
    stop_node(node).await
}

/// The address for clients on this machine.
fn reachable(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

/// Loads what is left to load, waits until the pipeline has finished, and shows the report.
async fn work(address: &str, input: Input) -> anyhow::Result<()> {
    let client = Client::connect(address).await?;
    let admin = client.admin();
    for topic in [
        // The flights' times are long past: by them nothing would be kept.
        NewTopic::new(FLIGHTS).partitions(PARTITIONS).config("retention.ms", "-1"),
        NewTopic::new(loader::POSITIONS).partitions(1).config("cleanup.policy", "compact"),
    ] {
        match admin.create_topic(&topic).await {
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            created => drop(created?),
        }
    }
    let rows_before = rows_in(&client, REPORT).await?;
    let pipelines = client.pipelines();
    pipelines.run(PIPELINE, SCRIPT, None).await?;
    let before = pipelines.describe(PIPELINE).await?;
    let mut loader = Loader::start(&client, input, FLIGHTS).await?;
    // Known from the first moment of a restart, when the run itself may not be restored yet.
    let finish_declared = before.sources.iter().any(|source| source.finish_at.is_some());
    if finish_declared && !loader.is_done() {
        anyhow::bail!(
            "the run in this data directory ends with another input than {}; give this one its own --data-dir",
            loader.input_name()
        );
    }
    let began = Instant::now();
    let resumed = loader.rows();
    if loader.is_done() {
        note(format!("loader   all {resumed} flights are loaded and committed already"));
    } else if resumed > 0 {
        note(format!("loader   goes on after {resumed} flights that are committed"));
    }
    let mut progress = Progress::new();
    while loader.load_chunk().await? {
        if progress.is_due() {
            progress.show(&working(&pipelines.describe(PIPELINE).await?, loader.rows()));
        }
    }
    let rows = loader.rows();
    loader.close().await;
    pipelines.finish_input(PIPELINE, InputEnd::Now).await?;
    let pipeline = finished(&pipelines, rows, &mut progress).await?;
    let counters = pipeline.counters.unwrap_or_default();
    progress.say(&format!(
        "done     {} flights in, {} rows out, {} late, in {} epochs; this run took {:.1} s",
        counters.records_in,
        counters.records_out,
        counters.late,
        pipeline.epoch,
        began.elapsed().as_secs_f64()
    ));
    if rows_in(&client, REPORT).await? == rows_before {
        progress.say("         the report was complete before; nothing was added");
    }
    report::show(&client, REPORT).await
}

/// Offsets up to which a topic is committed, over all partitions; none if there is no such topic yet.
async fn rows_in(client: &Client, topic: &str) -> anyhow::Result<i64> {
    let described = match client.admin().describe_topic(topic).await {
        Err(logmill_client::Error::UnknownTopic { .. }) => return Ok(0),
        described => described?,
    };
    let mut rows = 0;
    for partition in described.partitions {
        rows += client.admin().offsets(topic, partition.index, Isolation::Committed).await?.end;
    }
    Ok(rows)
}

/// Waits until every window is closed and committed.
async fn finished(pipelines: &Pipelines, loaded: u64, progress: &mut Progress) -> anyhow::Result<Pipeline> {
    loop {
        let pipeline = pipelines.describe(PIPELINE).await?;
        match pipeline.state() {
            PipelineState::Finished => return Ok(pipeline),
            PipelineState::Failed => anyhow::bail!("the pipeline failed: {}", pipeline.error),
            PipelineState::Stopped => {
                anyhow::bail!("somebody stopped the pipeline; `logmill demo` goes on with it when run again")
            }
            PipelineState::Starting
            | PipelineState::Running
            | PipelineState::Blocked
            | PipelineState::Unspecified => {}
        }
        if progress.is_due() {
            progress.show(&working(&pipeline, loaded));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn working(pipeline: &Pipeline, loaded: u64) -> String {
    let counters = pipeline.counters.unwrap_or_default();
    format!(
        "working  {loaded} flights loaded, {} in the pipeline, {} rows out, {} windows open, epoch {}",
        counters.records_in, counters.records_out, counters.open_windows, pipeline.epoch
    )
}

fn next_steps(address: &str) {
    note(format!(
        "\nThe broker goes on serving; Ctrl-C stops it. Try next, in another terminal:\n\n  \
         kcat -b {address} -t {REPORT} -C -o -3 -e\n  \
         logmill consume {REPORT} --offset -5 --exit -B {address}\n  \
         logmill pipeline describe {PIPELINE} -B {address}\n"
    ));
}

/// How long a topic may give nothing although its end is not reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives every committed record that is in a topic now.
async fn read_committed(
    client: &Client,
    topic: &str,
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
    let mut reader =
        client.reader().isolation(Isolation::Committed).topic(topic, StartAt::Earliest).build().await?;
    let mut last = Instant::now();
    loop {
        left.retain(|(partition, end)| {
            reader.position(topic, *partition).is_none_or(|position| position < *end)
        });
        if left.is_empty() {
            reader.close().await;
            return Ok(());
        }
        // The end may be a marker, behind which no record comes.
        match tokio::time::timeout(LOOK, reader.next_batch(10_000)).await {
            Ok(records) => {
                last = Instant::now();
                records?.iter().try_for_each(&mut take)?;
            }
            Err(_) => anyhow::ensure!(last.elapsed() < PATIENCE, "topic {topic} gives no records"),
        }
    }
}
