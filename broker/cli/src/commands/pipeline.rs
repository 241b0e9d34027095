//! `logmill pipeline`.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;
use logmill_broker::pipelines::MAX_SHARDS;
use logmill_broker::pipelines::trial::OperatorState;
use logmill_client::{InputEnd, PipelineState, Pipelines, RunOptions};
use logmill_config::ByteSize;
use serde_json::{Value, json};

use super::infer::{self, Infer};
use super::pipeline_changes::{self, MakeSavepoint, Restore, Upgrade, UpgradeOf};
use super::pipeline_logs::{Logs, logs};
use super::script::{Script, is_input};
use super::serve::stop_signal;
use super::{cases, pipeline_view};
use crate::arguments::{Connection, Output, size};
use crate::demo::Progress;
use crate::failure::Usage;
use crate::output::{self, note};

/// How often a pipeline is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// One that is waited for must be stopped for so long before somebody meant it: an upgrade stops it for a moment, too.
const STOPPED: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Check a script: what is wrong with it, where, and what to write instead. Needs no broker.
    Validate(Validate),
    /// Show what a script does: its operators, what each keeps, and what bounds it. Needs no broker.
    ///
    /// With --output json as data: operators with inputs, keys, columns and state. With -v the identities of operators, by
    /// which state is kept when a script changes, and of functions of your own.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Explain(Explain),
    /// Run cases of a script: directories with pipeline.sql, input/TOPIC.jsonl and expected/TOPIC.jsonl.
    /// Needs no broker.
    Test(Test),
    /// Draft a table from a sample of its records: format, columns, types, event time.
    Infer(Infer),
    /// Start a pipeline and follow it until it ends, or until Ctrl-C: the pipeline itself goes on then.
    ///
    /// As `deploy`, which does not follow. What the pipeline is at is told on standard error; when it is finished, failed or
    /// stopped by somebody, this ends, too.
    Run(Run),
    /// Start a pipeline and leave it to the broker, or go on with the one of that name and script.
    ///
    /// It is started again whenever the broker is, until it is stopped. Deploying again changes nothing.
    Deploy(Deploy),
    /// List pipelines.
    List,
    /// Show how a pipeline is: positions and lag, watermarks, epochs, state, counters, errors and what to do, plan.
    Describe(Named),
    /// Show what happened to a pipeline, the newest 500 events: starts, slow epochs, rejected and late records, errors.
    Logs(Logs),
    /// Stop a pipeline after its running epoch. Running the same script under the same name goes on.
    #[command(visible_alias = "pause")]
    Stop(Named),
    /// Let a stopped, failed or blocked pipeline go on where it stopped, with more memory or other shards if it needs that.
    Resume(Resume),
    /// Split the work of a pipeline that runs into another number of shards, between two of its epochs.
    ///
    /// Shards are computed at the same time, as far as there are processors. What is written does not depend on them.
    Rescale(Rescale),
    /// Declare that what is in the sources now is all: the pipeline reads it, closes every window and is finished.
    Finish(Named),
    /// Make a savepoint of a pipeline: its state and its place in the input, kept until it is deleted.
    Savepoint(MakeSavepoint),
    /// List the savepoints of a pipeline.
    Savepoints(Named),
    /// Take a stopped pipeline back to a savepoint, or begin a new one there. `resume` lets it go on.
    ///
    /// A pipeline that goes back reads what came behind the savepoint again, and writes its rows again.
    Restore(Restore),
    /// Let another script take the place of a pipeline's, with the state that it would have.
    ///
    /// Operators that are the same keep their state. For all others the new script runs over the whole input once more,
    /// unseen, while the old one goes on; then it takes over, without a gap and without a repeat. `explain upgrade` says
    /// beforehand what is kept. Rows that were written before stay what they are.
    Upgrade(Upgrade),
    /// Delete a pipeline that does not run, with its state. The topics it wrote stay, and anybody may write them. One that
    /// has savepoints is deleted only if they are to go with it.
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// Name of the pipeline.
    name: String,
    /// Delete its savepoints, too.
    #[arg(long)]
    with_savepoints: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The SQL script; - is standard input.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(subcommand)]
    what: Option<ExplainWhat>,
    /// The SQL script; - is standard input.
    #[arg(required = true)]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainWhat {
    /// Show what becomes of a pipeline's state when another script takes its place. Changes nothing.
    Upgrade(UpgradeOf),
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
pub(crate) struct Start {
    /// The SQL script; - is standard input.
    file: PathBuf,
    /// Name of the pipeline; 'pipeline.name' of the script, or the file's name without its ending, if not given.
    #[arg(short, long)]
    name: Option<String>,
    /// The input ends with what is in the sources now.
    #[arg(long)]
    bounded: bool,
    /// Memory for its state, such as "2 GiB"; of a new one 'pipeline.memory' of the script, or pipelines.memory of the broker, if
    /// not given.
    #[arg(long, value_parser = size)]
    memory: Option<u64>,
    /// Into how many shards its work is split, 1 to 256; if not given, what it had, and of a new one 'pipeline.shards' of the
    /// script, or pipelines.shards of the broker.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    shards: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rescale {
    #[command(flatten)]
    named: Named,
    /// Into how many shards, 1 to 256.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    shards: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    start: Start,
    /// Wait until the pipeline is finished; that it fails before, or that somebody stops it, is an error.
    #[arg(short, long)]
    wait: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    named: Named,
    /// Memory for its state, such as "2 GiB".
    #[arg(long, value_parser = size)]
    memory: Option<u64>,
    /// Into how many shards its work is split, 1 to 256.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    shards: Option<u32>,
    /// Go on where its logs begin now, if retention has deleted records before the pipeline read them: they are missing from
    /// what it writes, and `describe` shows which.
    #[arg(long)]
    accept_gap: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Name of the pipeline.
    pub(super) name: String,
}

pub(crate) async fn run(command: Pipeline, connection: &Connection) -> anyhow::Result<()> {
    let command = match command {
        Pipeline::Validate(Validate { file }) => return validate(&file, connection.output),
        Pipeline::Explain(Explain { what: None, file: Some(file) }) => {
            return explain(&file, connection.verbose > 0, connection.output);
        }
        Pipeline::Test(command) => return test(&command, connection.output),
        Pipeline::Infer(command) => return infer::run(command, connection).await,
        other => other,
    };
    // No Kafka connection is needed.
    let pipelines = connection.pipelines()?;
    let form = connection.output;
    match command {
        Pipeline::Run(command) => follow(&pipelines, command.start, form).await,
        Pipeline::Deploy(command) => deploy(&pipelines, command, form).await,
        Pipeline::Logs(command) => logs(&pipelines, &command, form).await,
        Pipeline::List => list(&pipelines, form).await,
        Pipeline::Describe(Named { name }) => {
            let pipeline = pipelines.describe(&name).await?;
            pipeline_view::show(&pipeline, "pipeline describe", form)?;
            match form {
                Output::Table => pipeline_changes::list_below(&pipelines, &name).await,
                Output::Json => Ok(()),
            }
        }
        Pipeline::Savepoint(command) => pipeline_changes::savepoint(&pipelines, command, form).await,
        Pipeline::Savepoints(Named { name }) => pipeline_changes::savepoints(&pipelines, &name, form).await,
        Pipeline::Restore(command) => {
            let pipeline = pipeline_changes::restore(&pipelines, command).await?;
            show_row(&pipeline, "pipeline restore", form)
        }
        Pipeline::Upgrade(command) => pipeline_changes::upgrade(&pipelines, &command, form).await,
        Pipeline::Explain(Explain { what: Some(ExplainWhat::Upgrade(of)), .. }) => {
            pipeline_changes::explain_upgrade(&pipelines, &of, form).await
        }
        Pipeline::Stop(Named { name }) => {
            let pipeline = pipelines.stop(&name).await?;
            show_row(&pipeline, "pipeline stop", form)
        }
        Pipeline::Rescale(command) => rescale(&pipelines, command, form).await,
        Pipeline::Resume(Resume { named: Named { name }, memory, shards, accept_gap }) => {
            if let Some(bytes) = memory {
                pipelines.set_memory(&name, bytes).await?;
            }
            let before = pipelines.describe(&name).await?;
            if before.state() == PipelineState::Finished {
                note(finished(&name));
            }
            let options = RunOptions { end: None, shards, accept_gap };
            let (pipeline, _) = pipelines.run_with(&name, &before.script, options).await?;
            if accept_gap {
                let gaps = pipeline_view::new_gaps(&before, &pipeline);
                match gaps.is_empty() {
                    true => note(format!("pipeline {name} has missed nothing: there was no gap to accept")),
                    false => gaps.into_iter().for_each(note),
                }
            }
            show_row(&pipeline, "pipeline resume", form)
        }
        Pipeline::Validate(_) | Pipeline::Explain(_) | Pipeline::Test(_) | Pipeline::Infer(_) => {
            unreachable!("done above: they need no broker")
        }
        Pipeline::Finish(Named { name }) => {
            pipelines.finish_input(&name, InputEnd::Now).await?;
            let pipeline = pipelines.describe(&name).await?;
            show_row(&pipeline, "pipeline finish", form)
        }
        Pipeline::Delete(Delete { name, with_savepoints }) => {
            match with_savepoints {
                true => pipelines.delete_with_savepoints(&name).await?,
                false => pipelines.delete(&name).await?,
            }
            match form {
                Output::Json => output::json("pipeline delete", json!({ "pipeline": name }))?,
                Output::Table => note(format!("pipeline {name} is deleted")),
            }
            Ok(())
        }
    }
}

fn validate(file: &Path, form: Output) -> anyhow::Result<()> {
    let plan = Script::read(file)?.plan()?;
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

fn explain(file: &Path, verbose: bool, form: Output) -> anyhow::Result<()> {
    let plan = Script::read(file)?.plan()?;
    let states = plan.states();
    let outline = plan.outline(verbose);
    if form == Output::Json {
        let mut document = serde_json::to_value(plan.explained())?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("plan".to_owned(), outline.into());
            // As it was before there were operators in the document.
            let state = |state: &OperatorState| {
                json!({
                    "operator": state.operator, "identity": format!("{:08x}", state.identity),
                    "keeps": state.keeps, "until": state.until,
                })
            };
            fields.insert("state".to_owned(), states.iter().map(state).collect());
        }
        output::json("pipeline explain", document)?;
        return Ok(());
    }
    output::lines([outline.trim_end(), ""])?;
    let identity = |state: &OperatorState| verbose.then(|| format!("{:08x}", state.identity));
    let rows: Vec<Vec<String>> = states
        .into_iter()
        .map(|state| {
            let operator = format!("#{} {}", state.id, state.operator);
            let identity = identity(&state);
            [operator].into_iter().chain(identity).chain([state.keeps, state.until]).collect()
        })
        .collect();
    let headings = if verbose {
        &["operator", "identity", "keeps", "until"][..]
    } else {
        &["operator", "keeps", "until"]
    };
    match rows.is_empty() {
        true => output::lines(["no operator keeps state"])?,
        false => output::table(headings, &rows)?,
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

/// Starts a pipeline; gives its name, and how it is.
async fn start(pipelines: &Pipelines, command: Start) -> anyhow::Result<(String, logmill_client::Pipeline)> {
    let script = Script::read(&command.file)?;
    let set = script.settings()?;
    let from_input = is_input(&command.file);
    let stem =
        || command.file.file_stem().filter(|_| !from_input).map(|stem| stem.to_string_lossy().into_owned());
    let name = command.name.clone().or_else(|| set.name.clone()).or_else(stem).ok_or_else(|| {
        Usage("a script from standard input needs --name, or SET 'pipeline.name'".to_owned())
    })?;
    let end = command.bounded.then_some(InputEnd::Now);
    let options = RunOptions { end, shards: command.shards, accept_gap: false };
    let before = stands(pipelines, &name).await;
    let started = pipelines.run_with(&name, script.text(), options).await;
    let (mut pipeline, created) = started.map_err(|error| script.refused(error))?;
    if let Some(bytes) = command.memory {
        pipeline = pipelines.set_memory(&name, bytes).await?;
    }
    let memory = |bytes: Option<u64>| bytes.map(ByteSize::bytes);
    let holds = [
        overridden("--name", command.name.as_ref(), "pipeline.name", set.name.as_ref()),
        overridden(
            "--memory",
            memory(command.memory).as_ref(),
            "pipeline.memory",
            memory(set.memory).as_ref(),
        ),
        overridden("--shards", command.shards.as_ref(), "pipeline.shards", set.shards.as_ref()),
    ];
    holds.into_iter().flatten().for_each(note);
    match before {
        _ if created => note(format!("pipeline {name} is new")),
        Some(PipelineState::Finished) => note(finished(&name)),
        _ => note(format!("pipeline {name} goes on")),
    }
    Ok((name, pipeline))
}

/// That a flag holds, where the script sets something else.
fn overridden<T: PartialEq + Display>(
    flag: &str,
    given: Option<&T>,
    option: &str,
    set: Option<&T>,
) -> Option<String> {
    let (given, set) = (given?, set?);
    (given != set)
        .then(|| format!("{flag} {given} holds, and not the {set} that the script sets as '{option}'"))
}

/// The state of a pipeline, if there is one.
async fn stands(pipelines: &Pipelines, name: &str) -> Option<PipelineState> {
    // What keeps it from being asked keeps it from being started, too, which is told.
    pipelines.describe(name).await.ok().map(|pipeline| pipeline.state())
}

fn finished(name: &str) -> String {
    format!(
        "pipeline {name} is finished: its input was declared to end, and all of it is read. To run the script over what there is \
         now, use another name, or delete it first (`logmill pipeline delete {name}`)"
    )
}

async fn deploy(pipelines: &Pipelines, command: Deploy, form: Output) -> anyhow::Result<()> {
    let (name, mut pipeline) = start(pipelines, command.start).await?;
    let mut lived = Instant::now();
    while command.wait && (is_live(&pipeline) || is_stopped(&pipeline) && lived.elapsed() < STOPPED) {
        tokio::time::sleep(LOOK).await;
        pipeline = pipelines.describe(&name).await?;
        if is_live(&pipeline) {
            lived = Instant::now();
        }
    }
    ended(&pipeline)?;
    if command.wait && is_stopped(&pipeline) {
        anyhow::bail!(
            "pipeline {name} was stopped before it was finished; `logmill pipeline resume {name}` lets it go on"
        );
    }
    show_row(&pipeline, "pipeline deploy", form)
}

/// Rescales a pipeline, and waits until it is: until it has dealt out its state.
async fn rescale(pipelines: &Pipelines, command: Rescale, form: Output) -> anyhow::Result<()> {
    let Rescale { named: Named { name }, shards } = command;
    let mut pipeline = pipelines.rescale(&name, shards).await?;
    let runs = |pipeline: &logmill_client::Pipeline| {
        matches!(pipeline.state(), PipelineState::Starting | PipelineState::Running)
    };
    // Somebody else may want another number meanwhile.
    while runs(&pipeline) && pipeline.shards == shards && pipeline.running_shards != shards {
        tokio::time::sleep(LOOK).await;
        pipeline = pipelines.describe(&name).await?;
    }
    ended(&pipeline)?;
    note(match pipeline.running_shards == shards {
        true => format!("pipeline {name} has {shards} shards"),
        false => format!("pipeline {name} has {} shards when it goes on", pipeline.shards),
    });
    show_row(&pipeline, "pipeline rescale", form)
}

async fn follow(pipelines: &Pipelines, command: Start, form: Output) -> anyhow::Result<()> {
    let interrupted = stop_signal()?;
    tokio::pin!(interrupted);
    let (name, mut pipeline) = start(pipelines, command).await?;
    let mut progress = Progress::new();
    while is_live(&pipeline) {
        if progress.is_due() {
            progress.show(&pipeline_view::working(&pipeline));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = &mut interrupted => {
                progress.say(&format!("pipeline {name} goes on; `logmill pipeline stop {name}` stops it"));
                return show_row(&pipeline, "pipeline run", form);
            }
        }
        pipeline = pipelines.describe(&name).await?;
    }
    progress.say(&pipeline_view::working(&pipeline));
    ended(&pipeline)?;
    show_row(&pipeline, "pipeline run", form)
}

fn is_live(pipeline: &logmill_client::Pipeline) -> bool {
    matches!(pipeline.state(), PipelineState::Starting | PipelineState::Running | PipelineState::Blocked)
}

fn is_stopped(pipeline: &logmill_client::Pipeline) -> bool {
    pipeline.state() == PipelineState::Stopped
}

/// An error for one that failed.
fn ended(pipeline: &logmill_client::Pipeline) -> anyhow::Result<()> {
    match pipeline.state() {
        PipelineState::Failed => anyhow::bail!("pipeline {} failed: {}", pipeline.name, pipeline.error),
        _ => Ok(()),
    }
}

async fn list(pipelines: &Pipelines, form: Output) -> anyhow::Result<()> {
    let pipelines = pipelines.list().await?;
    match form {
        Output::Json => {
            let pipelines: Vec<Value> = pipelines.iter().map(pipeline_view::summary).collect();
            output::json("pipeline list", json!({ "pipelines": pipelines }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = pipelines.iter().map(pipeline_view::row).collect();
            output::table(&pipeline_view::HEADINGS, &rows)?;
            let reasons = pipeline_view::reasons(&pipelines);
            if !reasons.is_empty() {
                output::lines([""])?;
                output::lines(reasons)?;
            }
        }
    }
    Ok(())
}

fn show_row(pipeline: &logmill_client::Pipeline, command: &str, form: Output) -> anyhow::Result<()> {
    match form {
        Output::Json => output::json(command, pipeline_view::summary(pipeline))?,
        Output::Table => output::table(&pipeline_view::HEADINGS, &[pipeline_view::row(pipeline)])?,
    }
    Ok(())
}
