//! `logmill pipeline`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use logmill_client::{Client, InputEnd, PipelineState, Pipelines};
use serde_json::{Value, json};

use crate::arguments::{Connection, Output};
use crate::failure::Usage;
use crate::output::{self, note, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Start a pipeline, or go on with the one of that name and script.
    Run(Run),
    /// List pipelines.
    List,
    /// Show plan, positions and counters of a pipeline.
    Describe(Named),
    /// Stop a pipeline after its running epoch. Running the same script under the same name goes on.
    Stop(Named),
    /// Declare that what is in the sources now is all: the pipeline reads it, closes every window and is finished.
    Finish(Named),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The SQL script; - is standard input.
    file: PathBuf,
    /// Name of the pipeline; the file's name without its ending if not given.
    #[arg(short, long)]
    name: Option<String>,
    /// The input ends with what is in the sources now.
    #[arg(long)]
    bounded: bool,
    /// Wait until the pipeline is finished.
    #[arg(short, long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Name of the pipeline.
    name: String,
}

pub(crate) async fn run(command: Pipeline, connection: &Connection) -> anyhow::Result<()> {
    // No Kafka connection is needed.
    let pipelines = Client::builder(&connection.bootstrap).pipelines();
    let form = connection.output;
    match command {
        Pipeline::Run(command) => start(&pipelines, command, form).await,
        Pipeline::List => list(&pipelines, form).await,
        Pipeline::Describe(Named { name }) => {
            let pipeline = pipelines.describe(&name).await?;
            show(&pipeline, "pipeline describe", form)
        }
        Pipeline::Stop(Named { name }) => {
            let pipeline = pipelines.stop(&name).await?;
            show_row(&pipeline, "pipeline stop", form)
        }
        Pipeline::Finish(Named { name }) => {
            pipelines.finish_input(&name, InputEnd::Now).await?;
            let pipeline = pipelines.describe(&name).await?;
            show_row(&pipeline, "pipeline finish", form)
        }
    }
}

async fn start(pipelines: &Pipelines, command: Run, form: Output) -> anyhow::Result<()> {
    let from_input = command.file.as_os_str() == "-";
    let script = if from_input {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        std::fs::read_to_string(&command.file)
            .with_context(|| format!("cannot read {}", command.file.display()))?
    };
    let stem =
        || command.file.file_stem().filter(|_| !from_input).map(|stem| stem.to_string_lossy().into_owned());
    let name = command
        .name
        .clone()
        .or_else(stem)
        .ok_or_else(|| Usage("a script from standard input needs --name".to_owned()))?;
    let end = command.bounded.then_some(InputEnd::Now);
    let (mut pipeline, created) = pipelines.run(&name, &script, end).await?;
    note(if created { format!("pipeline {name} is new") } else { format!("pipeline {name} goes on") });
    while command.wait && pipeline.state() == PipelineState::Running {
        tokio::time::sleep(Duration::from_millis(100)).await;
        pipeline = pipelines.describe(&name).await?;
    }
    if pipeline.state() == PipelineState::Failed {
        anyhow::bail!("pipeline {name} failed: {}", pipeline.error);
    }
    show_row(&pipeline, "pipeline run", form)
}

async fn list(pipelines: &Pipelines, form: Output) -> anyhow::Result<()> {
    let pipelines = pipelines.list().await?;
    match form {
        Output::Json => {
            let pipelines: Vec<Value> = pipelines.iter().map(summary).collect();
            output::json("pipeline list", json!({ "pipelines": pipelines }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = pipelines.iter().map(row).collect();
            output::table(&HEADINGS, &rows)?;
        }
    }
    Ok(())
}

const HEADINGS: [&str; 8] =
    ["pipeline", "state", "epoch", "records-in", "records-out", "late", "rejected", "open-windows"];

fn row(pipeline: &logmill_client::Pipeline) -> Vec<String> {
    let counters = pipeline.counters.unwrap_or_default();
    vec![
        pipeline.name.clone(),
        state(pipeline).to_owned(),
        pipeline.epoch.to_string(),
        counters.records_in.to_string(),
        counters.records_out.to_string(),
        counters.late.to_string(),
        counters.rejected.to_string(),
        counters.open_windows.to_string(),
    ]
}

pub(crate) fn state(pipeline: &logmill_client::Pipeline) -> &'static str {
    match pipeline.state() {
        PipelineState::Unspecified => "unknown",
        PipelineState::Running => "running",
        PipelineState::Finished => "finished",
        PipelineState::Stopped => "stopped",
        PipelineState::Failed => "failed",
    }
}

fn summary(pipeline: &logmill_client::Pipeline) -> Value {
    let counters = pipeline.counters.unwrap_or_default();
    json!({
        "pipeline": pipeline.name,
        "state": state(pipeline),
        "generation": pipeline.generation,
        "epoch": pipeline.epoch,
        "watermark_ms": pipeline.watermark_ms,
        "records_in": counters.records_in,
        "records_out": counters.records_out,
        "late": counters.late,
        "rejected": counters.rejected,
        "open_windows": counters.open_windows,
        "sinks": pipeline.sinks,
        "error": Some(&pipeline.error).filter(|error| !error.is_empty()),
    })
}

fn show_row(pipeline: &logmill_client::Pipeline, command: &str, form: Output) -> anyhow::Result<()> {
    match form {
        Output::Json => output::json(command, summary(pipeline))?,
        Output::Table => output::table(&HEADINGS, &[row(pipeline)])?,
    }
    Ok(())
}

fn show(pipeline: &logmill_client::Pipeline, command: &str, form: Output) -> anyhow::Result<()> {
    if form == Output::Json {
        let mut document = summary(pipeline);
        let sources: Vec<Value> = pipeline
            .sources
            .iter()
            .map(|source| {
                json!({
                    "topic": source.topic,
                    "partition": source.partition,
                    "position": source.position,
                    "end": source.end,
                    "lag": (source.end - source.position).max(0),
                    "finish_at": source.finish_at,
                    "watermark_ms": source.watermark_ms,
                })
            })
            .collect();
        if let Some(fields) = document.as_object_mut() {
            fields.insert("sources".to_owned(), sources.into());
            fields.insert("plan".to_owned(), pipeline.plan.clone().into());
            fields.insert("script".to_owned(), pipeline.script.clone().into());
        }
        output::json(command, document)?;
        return Ok(());
    }
    output::table(&HEADINGS, &[row(pipeline)])?;
    if !pipeline.error.is_empty() {
        output::lines(["", &format!("error: {}", pipeline.error)])?;
    }
    output::lines([""])?;
    let rows: Vec<Vec<String>> = pipeline
        .sources
        .iter()
        .map(|source| {
            vec![
                source.topic.clone(),
                source.partition.to_string(),
                source.position.to_string(),
                source.end.to_string(),
                (source.end - source.position).max(0).to_string(),
                or_dash(source.finish_at),
            ]
        })
        .collect();
    output::table(&["source", "partition", "position", "end", "lag", "finish-at"], &rows)?;
    output::lines(["", pipeline.plan.trim_end()])?;
    Ok(())
}
