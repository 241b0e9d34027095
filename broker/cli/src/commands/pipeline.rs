//! `logmill pipeline`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use logmill_client::{Client, InputEnd, PipelineState, Pipelines};
use serde_json::{Value, json};

use super::cases;
use crate::arguments::{Connection, Output};
use crate::failure::Usage;
use crate::output::{self, note, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Check a script: what is wrong with it, where, and what to write instead. Needs no broker.
    Validate(Script),
    /// Show what a script does: its operators, what each keeps, and what bounds it. Needs no broker.
    Explain(Script),
    /// Run cases of a script: directories with pipeline.sql, input/TOPIC.jsonl and expected/TOPIC.jsonl.
    /// Needs no broker.
    Test(Test),
    /// Start a pipeline, or go on with the one of that name and script.
    Run(Run),
    /// List pipelines.
    List,
    /// Show plan, positions and counters of a pipeline.
    Describe(Named),
    /// Stop a pipeline after its running epoch. Running the same script under the same name goes on.
    #[command(visible_alias = "pause")]
    Stop(Named),
    /// Let a stopped or failed pipeline go on where it stopped.
    Resume(Named),
    /// Declare that what is in the sources now is all: the pipeline reads it, closes every window and is finished.
    Finish(Named),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Script {
    /// The SQL script.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Directories of one case each, or of several.
    #[arg(required = true)]
    directories: Vec<PathBuf>,
    /// Write what the cases give as what is expected.
    #[arg(long)]
    update: bool,
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
    let command = match command {
        Pipeline::Validate(Script { file }) => return validate(&file, connection.output),
        Pipeline::Explain(Script { file }) => return explain(&file, connection.output),
        Pipeline::Test(command) => return test(&command, connection.output),
        other => other,
    };
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
        Pipeline::Resume(Named { name }) => {
            let script = pipelines.describe(&name).await?.script;
            let (pipeline, _) = pipelines.run(&name, &script, None).await?;
            show_row(&pipeline, "pipeline resume", form)
        }
        Pipeline::Validate(_) | Pipeline::Explain(_) | Pipeline::Test(_) => {
            unreachable!("done above: they need no broker")
        }
        Pipeline::Finish(Named { name }) => {
            pipelines.finish_input(&name, InputEnd::Now).await?;
            let pipeline = pipelines.describe(&name).await?;
            show_row(&pipeline, "pipeline finish", form)
        }
    }
}

fn validate(file: &Path, form: Output) -> anyhow::Result<()> {
    let plan = cases::plan_script(file).map_err(|error| Usage(error.to_string()))?;
    let (reads, writes) = (plan.source_topics(), plan.sink_topics());
    match form {
        Output::Json => output::json(
            "pipeline validate",
            json!({ "reads": reads, "writes": writes, "also_writes": plan.side_topics() }),
        )?,
        Output::Table => output::lines([format!(
            "{}: reads {}, writes {}",
            file.display(),
            reads.join(", "),
            writes.join(", ")
        )])?,
    }
    Ok(())
}

fn explain(file: &Path, form: Output) -> anyhow::Result<()> {
    let plan = cases::plan_script(file).map_err(|error| Usage(error.to_string()))?;
    let states = plan.states();
    if form == Output::Json {
        let states: Vec<Value> = states
            .iter()
            .map(|state| {
                json!({
                    "operator": state.operator, "identity": format!("{:08x}", state.identity),
                    "keeps": state.keeps, "until": state.until,
                })
            })
            .collect();
        output::json("pipeline explain", json!({ "plan": plan.explain(), "state": states }))?;
        return Ok(());
    }
    output::lines([plan.explain().trim_end()])?;
    output::lines([""])?;
    let rows: Vec<Vec<String>> = states
        .iter()
        .map(|state| {
            let identity = format!("{:08x}", state.identity);
            vec![state.operator.to_owned(), identity, state.keeps.clone(), state.until.clone()]
        })
        .collect();
    match rows.is_empty() {
        true => output::lines(["no operator keeps state"])?,
        false => output::table(&["operator", "identity", "keeps", "until"], &rows)?,
    }
    Ok(())
}

/// The cases of a directory: itself, or those in it.
fn cases_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let is_case = |path: &Path| path.join("pipeline.sql").is_file();
    if is_case(directory) {
        return Ok(vec![directory.to_owned()]);
    }
    let unreadable = || format!("cannot read {}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if is_case(&path) {
            found.push(path);
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(Usage(format!(
            "{} is no case and holds none: a case is a directory with pipeline.sql, input/ and expected/",
            directory.display()
        ))
        .into()),
        false => Ok(found),
    }
}

fn test(command: &Test, form: Output) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for directory in &command.directories {
        for case in cases_in(directory)? {
            let outcome = match cases::run_case(&case, command.update) {
                Ok(report) => (report.records_in, report.records_out, report.differences),
                Err(error) => (0, 0, vec![error.to_string()]),
            };
            if form == Output::Table {
                let (records_in, records_out, differences) = &outcome;
                let verdict = if differences.is_empty() { "ok    " } else { "FAILED" };
                output::lines([format!(
                    "{verdict} {} ({records_in} in, {records_out} out)",
                    case.display()
                )])?;
                let indented = differences.iter().flat_map(|text| text.lines());
                output::lines(indented.map(|line| format!("  {line}")))?;
            }
            outcomes.push((case, outcome));
        }
    }
    let failed = outcomes.iter().filter(|(_, (_, _, differences))| !differences.is_empty()).count();
    if form == Output::Json {
        let cases: Vec<Value> = outcomes
            .iter()
            .map(|(case, (records_in, records_out, differences))| {
                json!({
                    "case": case.display().to_string(), "ok": differences.is_empty(),
                    "records_in": records_in, "records_out": records_out, "differences": differences,
                })
            })
            .collect();
        output::json("pipeline test", json!({ "cases": cases }))?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(anyhow::anyhow!("{failed} of {} cases failed", outcomes.len())),
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
    let script = cases::with_modules(script, &command.file).map_err(|error| Usage(error.to_string()))?;
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
