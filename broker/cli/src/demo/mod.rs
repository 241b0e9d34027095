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
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use logmill_broker::node::Node;
use logmill_client::{Client, ErrorCode, InputEnd, NewTopic, Pipeline, PipelineState, Pipelines};
use logmill_config::LogFormat;

use self::flights::Input;
use self::loader::Loader;
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
/// How often progress is shown.
const SHOW: Duration = Duration::from_secs(1);

/// Watch a broker load real flights and report on them exactly once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Kill it at any moment and run it again on the same data directory: it goes on where it was, and adds nothing twice.")]
pub(crate) struct Demo {
    /// Flights to load, with the columns of nycflights13; one month is built in.
    #[arg(long, value_name = "FILE.csv[.gz]")]
    input: Option<PathBuf>,
    /// The directory that holds everything the broker keeps.
    #[arg(long, value_name = "DIR", default_value = "logmill-demo")]
    data_dir: PathBuf,
    /// Where clients connect; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// End when the input is done and every window is closed and committed.
    #[arg(long)]
    exit: bool,
}

pub(crate) async fn run(command: Demo) -> anyhow::Result<()> {
    let input = Input::open(command.input.as_deref())?;
    let settings = Settings {
        config: None,
        data_dir: Some(command.data_dir.clone()),
        listen: command.listen.clone(),
        set: Vec::new(),
    };
    let config = settings.load()?.config;
    logging::for_broker("warn", LogFormat::Text)?;
    let stop = stop_signal()?;
    let data_dir = config.data_dir.display().to_string();
    let node = Node::start(config).await.with_context(|| {
        format!("cannot start a broker on {data_dir} (--listen 127.0.0.1:0 takes any free port)")
    })?;
    let address = node.local_addr().to_string();
    note(format!("broker   listening on {address}, data in {data_dir}"));
    let worked = tokio::select! {
        worked = work(&address, input) => worked.map(|()| true),
        () = stop => Ok(false),
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

/// Loads what is left to load, waits until the pipeline has finished, and shows the report.
async fn work(address: &str, input: Input) -> anyhow::Result<()> {
    let client = Client::connect(address).await?;
    let admin = client.admin();
    for topic in [
        NewTopic::new(FLIGHTS).partitions(PARTITIONS),
        NewTopic::new(loader::POSITIONS).partitions(1).config("cleanup.policy", "compact"),
    ] {
        match admin.create_topic(&topic).await {
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            created => drop(created?),
        }
    }
    let pipelines = client.pipelines();
    let (pipeline, _) = pipelines.run(PIPELINE, SCRIPT, None).await?;
    let mut loader = Loader::start(&client, input, FLIGHTS).await?;
    if pipeline.state() == PipelineState::Finished && !loader.is_done() {
        anyhow::bail!(
            "the run in this data directory has finished, with another input than {}; give this one its own --data-dir",
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
    let mut shown = Instant::now();
    while loader.load_chunk().await? {
        if shown.elapsed() >= SHOW {
            shown = Instant::now();
            progress(&pipelines.describe(PIPELINE).await?, loader.rows());
        }
    }
    pipelines.finish_input(PIPELINE, InputEnd::Now).await?;
    let pipeline = finished(&pipelines, loader.rows()).await?;
    let counters = pipeline.counters.unwrap_or_default();
    note(format!(
        "done     {} flights in, {} rows out, {} late, in {} epochs; this run took {:.1} s",
        counters.records_in,
        counters.records_out,
        counters.late,
        pipeline.epoch,
        began.elapsed().as_secs_f64()
    ));
    report::show(&client, REPORT).await
}

/// Waits until every window is closed and committed.
async fn finished(pipelines: &Pipelines, loaded: u64) -> anyhow::Result<Pipeline> {
    let mut shown = Instant::now();
    loop {
        let pipeline = pipelines.describe(PIPELINE).await?;
        match pipeline.state() {
            PipelineState::Finished => return Ok(pipeline),
            PipelineState::Failed => anyhow::bail!("the pipeline failed: {}", pipeline.error),
            PipelineState::Stopped => {
                anyhow::bail!("somebody stopped the pipeline; `logmill demo` goes on with it when run again")
            }
            PipelineState::Running | PipelineState::Unspecified => {}
        }
        if shown.elapsed() >= SHOW {
            shown = Instant::now();
            progress(&pipeline, loaded);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn progress(pipeline: &Pipeline, loaded: u64) {
    let counters = pipeline.counters.unwrap_or_default();
    note(format!(
        "working  {loaded} flights loaded, {} in the pipeline, {} rows out, {} windows open, epoch {}",
        counters.records_in, counters.records_out, counters.open_windows, pipeline.epoch
    ));
}

fn next_steps(address: &str) {
    note(format!(
        "\nThe broker goes on serving; Ctrl-C stops it. Try next, in another terminal:\n\n  \
         kcat -b {address} -t {REPORT} -C -o -3 -e\n  \
         logmill consume {REPORT} --offset -5 --exit -B {address}\n  \
         logmill pipeline describe {PIPELINE} -B {address}\n"
    ));
}
