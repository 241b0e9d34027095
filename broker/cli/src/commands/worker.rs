//! `logmill worker`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use logmill_worker::{
    Division, Ended, EpochLimits, MAX_SHARDS, SnapshotOptions, TaskReport, Worker as Workers, WorkerError,
    WorkerOptions,
};
use serde_json::{Value, json};

use super::script::{Script, is_input};
use super::serve;
use crate::arguments::{Connection, Output, duration, size};
use crate::failure::Usage;
use crate::output::{self, note};

#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Run a pipeline here, over the topics of the cluster that --bootstrap names, until Ctrl-C or SIGTERM.
    Run(Run),
}

const EXAMPLES: &str = "\
Start it on as many machines as you like, with the same script and name: they share the work, and take over from one
another. Each epoch is one transaction with the output records, the changes of the state, and the offsets of the sources.
A pipeline whose GROUP BY, joins and rankings go by the whole key of its records runs as one task for each partition
number; any other as one task, which one worker runs while the others stand by.

Its topics are logmill-NAME-changelog and logmill-NAME-progress, its group logmill-NAME, its transactional ids logmill-NAME-N.

Snapshots of the state are in the directory logmill-NAME of --state-dir. They spare a worker that starts again most of what it would
read of the changelog, and may be removed at any time.

Examples:
  logmill worker run hourly.sql --bootstrap kafka-1:9092,kafka-2:9092
  logmill worker run hourly.sql --client-config kafka.properties   # a cluster that wants TLS or SASL
  logmill worker run hourly.sql --name hourly --partitioned     # refuse to run as one task
  logmill worker run backfill.sql --bounded                     # read what is there, close every window, and end";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The SQL script; - is standard input.
    file: PathBuf,
    /// Name of the pipeline; 'pipeline.name' of the script, or the file's name without its ending, if not given. Workers of one
    /// name share the work.
    #[arg(short, long)]
    name: Option<String>,
    /// The input ends with what is in the sources when each task first starts; the worker ends with its tasks.
    #[arg(long)]
    bounded: bool,
    /// Refuse a script that cannot be run by partition, instead of running it as one task.
    #[arg(long)]
    partitioned: bool,
    /// The least time between two transactions of a task that keeps up. Shorter shows results sooner, longer writes
    /// fewer markers.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    epoch_interval: Duration,
    /// About so many records are taken into one epoch; it bounds memory, and how large a transaction grows.
    #[arg(long, value_name = "N", default_value_t = WorkerOptions::new("").limits.input_records)]
    epoch_records: u64,
    /// Memory for the state of all tasks that run here, such as "2 GiB". A worker that comes to more ends, and says what holds
    /// the most. Others of its name take its tasks over, and need room for these as well: without it they end, too. If not
    /// given, 'pipeline.memory' of the script, or 1 GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Into how many shards the work of each task is split, 1 to 256: so many threads compute it, as far as there are
    /// processors. If not given, 'pipeline.shards' of the script, or 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    shards: Option<u32>,
    /// Where snapshots of the state are kept, which whoever starts a task here next goes on from. Workers on one machine may have
    /// one directory.
    #[arg(long, value_name = "DIRECTORY", default_value = "logmill-state")]
    state_dir: PathBuf,
    /// A snapshot of a task is made when its changelog has grown by so much, or by the size of the last one. 0 makes none.
    #[arg(long, value_name = "SIZE", default_value = "64 MiB", value_parser = size_or_nothing)]
    snapshot_interval: u64,
    /// Go on where a source begins when its records were deleted before they were read, instead of ending. What was deleted is
    /// missing from what is written; the report at the end says how many offsets that were.
    #[arg(long)]
    accept_gap: bool,
    /// Without a heartbeat for so long a worker is out of the group, and others take its tasks.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    session_timeout: Duration,
}

/// A size, or 0.
fn size_or_nothing(text: &str) -> Result<u64, String> {
    match text {
        "0" => Ok(0),
        text => size(text),
    }
}

pub(crate) async fn run(command: Worker, connection: &Connection) -> anyhow::Result<()> {
    let Worker::Run(command) = command;
    let script = Script::read(&command.file)?;
    let (plan, set) = (script.plan()?, script.settings()?);
    let stem = command.file.file_stem().filter(|_| !is_input(&command.file));
    let name = command.name.or(set.name).or_else(|| stem.map(|stem| stem.to_string_lossy().into_owned()));
    let name = name.ok_or_else(|| Usage("a script from standard input needs --name".to_owned()))?;
    let usual = WorkerOptions::new(&name);
    let options = WorkerOptions {
        limits: EpochLimits { input_records: command.epoch_records.max(1), ..usual.limits },
        memory: command.memory.or(set.memory).unwrap_or(usual.memory),
        bounded: command.bounded,
        partitioned: command.partitioned,
        accept_gap: command.accept_gap,
        shards: command.shards.or(set.shards).unwrap_or(usual.shards),
        snapshots: (command.snapshot_interval > 0).then(|| SnapshotOptions {
            directory: command.state_dir,
            interval_bytes: command.snapshot_interval,
            script: script.text().to_owned(),
        }),
        epoch_interval: command.epoch_interval,
        session_timeout: command.session_timeout,
        ..usual
    };
    let stop = serve::stop_signal()?;
    let client = connection.client().await?;
    let mut worker = Workers::new(client, plan, options).await.map_err(told)?;
    note(match worker.division() {
        Division::ByPartition { tasks } => format!("worker of {name}: {tasks} tasks, one a partition"),
        Division::Whole { why } => format!("worker of {name}: one task; {why}"),
    });
    let (tell, told_to_stop) = tokio::sync::oneshot::channel();
    let impatient = async {
        stop.await;
        tracing::info!("stopping: each task finishes the epoch it is at");
        // The worker may have ended.
        let _ = tell.send(());
        serve::impatience()?.await;
        anyhow::Ok(())
    };
    let ended = tokio::select! {
        ended = worker.run(async { told_to_stop.await.unwrap_or_default() }) => ended.map_err(told)?,
        lost = impatient => {
            lost?;
            anyhow::bail!("ended at once; what was not committed is computed again by whoever goes on");
        }
    };
    show(&name, ended, &worker.report(), connection.output)
}

/// What the user wrote, or asked for, is told apart from what happened.
fn told(error: WorkerError) -> anyhow::Error {
    match error {
        WorkerError::Name { .. } | WorkerError::NotPartitioned(_) | WorkerError::PartitionsDiffer { .. } => {
            Usage(error.to_string()).into()
        }
        error => error.into(),
    }
}

/// How many offsets a task has gone on without.
fn missing(task: &TaskReport) -> u64 {
    task.progress.inputs.iter().filter_map(|input| input.gap).map(|gap| gap.total).sum()
}

fn show(name: &str, ended: Ended, tasks: &[TaskReport], form: Output) -> anyhow::Result<()> {
    let state = |task: &TaskReport| if task.progress.finished { "finished" } else { "stopped" };
    match form {
        Output::Json => {
            let tasks: Vec<Value> = tasks
                .iter()
                .map(|task| {
                    let totals = &task.progress.totals;
                    json!({
                        "task": task.task, "state": state(task), "epoch": task.progress.epoch,
                        "generation": task.progress.generation, "watermark_ms": task.progress.watermark,
                        "records_in": totals.read, "records_out": totals.written,
                        "late": totals.late + totals.late_rows, "shed": totals.shed, "skipped": totals.skipped,
                        "dead_lettered": totals.dead_lettered, "missing_offsets": missing(task),
                    })
                })
                .collect();
            let ended = if ended == Ended::Finished { "finished" } else { "stopped" };
            output::json("worker run", json!({ "pipeline": name, "state": ended, "tasks": tasks }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = tasks
                .iter()
                .map(|task| {
                    let totals = &task.progress.totals;
                    vec![
                        task.task.to_string(),
                        state(task).to_owned(),
                        task.progress.epoch.to_string(),
                        totals.read.to_string(),
                        totals.written.to_string(),
                        (totals.late + totals.late_rows).to_string(),
                        (totals.skipped + totals.dead_lettered).to_string(),
                        missing(task).to_string(),
                    ]
                })
                .collect();
            output::table(
                &["task", "state", "epoch", "records-in", "records-out", "late", "rejected", "missing"],
                &rows,
            )?;
        }
    }
    Ok(())
}
