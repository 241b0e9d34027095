//! `logmill pipeline savepoint`, `savepoints`, `restore`, `upgrade`, and `explain upgrade`.

use std::path::PathBuf;

use logmill_broker::pipelines::trial::Iso;
use logmill_client::{PartitionOffset, Pipelines, Savepoint, UpgradePlan};
use serde_json::{Value, json};

use super::pipeline_view;
use super::script::Script;
use crate::arguments::Output;
use crate::output::{self, note};

#[derive(Debug, clap::Args)]
pub(crate) struct MakeSavepoint {
    /// Name of the pipeline.
    pipeline: String,
    /// Name of the savepoint; it is called by its epoch if not given.
    #[arg(long)]
    name: Option<String>,
    /// Delete the savepoint of this name instead.
    #[arg(long, conflicts_with = "name", value_name = "SAVEPOINT")]
    delete: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// Name of the pipeline that the savepoint is of.
    pipeline: String,
    /// Name of the savepoint.
    #[arg(long)]
    savepoint: String,
    /// Begin a new pipeline of this name there; the one that the savepoint is of stays what it is.
    #[arg(long, value_name = "PIPELINE")]
    to: Option<String>,
    /// Script of the new pipeline: the same operators, other topics to write.
    #[arg(long, requires = "to", value_name = "FILE")]
    script: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    of: UpgradeOf,
    /// Make state of what is left of the input, where its first records are gone.
    #[arg(long)]
    allow_incomplete: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UpgradeOf {
    /// Name of the pipeline.
    pipeline: String,
    /// The new script; - is standard input.
    file: PathBuf,
}

pub(crate) async fn savepoint(
    pipelines: &Pipelines,
    command: MakeSavepoint,
    form: Output,
) -> anyhow::Result<()> {
    if let Some(name) = command.delete {
        pipelines.delete_savepoint(&command.pipeline, &name).await?;
        match form {
            Output::Json => output::json("pipeline savepoint", json!({ "deleted": name }))?,
            Output::Table => note(format!("savepoint {name} is deleted")),
        }
        return Ok(());
    }
    let made = pipelines.make_savepoint(&command.pipeline, command.name.as_deref()).await?;
    show_savepoints(&[made], "pipeline savepoint", form)
}

pub(crate) async fn savepoints(pipelines: &Pipelines, name: &str, form: Output) -> anyhow::Result<()> {
    show_savepoints(&pipelines.savepoints(name).await?, "pipeline savepoints", form)
}

/// Those of a pipeline that is described, if it has some.
pub(crate) async fn list_below(pipelines: &Pipelines, name: &str) -> anyhow::Result<()> {
    let savepoints = pipelines.savepoints(name).await?;
    if !savepoints.is_empty() {
        output::lines([""])?;
        show_savepoints(&savepoints, "pipeline savepoints", Output::Table)?;
    }
    Ok(())
}

/// Gives the pipeline as it is then.
pub(crate) async fn restore(
    pipelines: &Pipelines,
    command: Restore,
) -> anyhow::Result<logmill_client::Pipeline> {
    let script = command.script.as_deref().map(Script::read).transpose()?;
    let Restore { pipeline, savepoint, to, .. } = command;
    let text = script.as_ref().map(Script::text);
    let restored = pipelines.restore_savepoint(&pipeline, &savepoint, to.as_deref(), text).await;
    let restored = restored.map_err(|error| match &script {
        Some(script) => script.refused(error),
        None => error.into(),
    })?;
    let name = &restored.name;
    note(format!(
        "pipeline {name} stands at savepoint {savepoint} of {pipeline}; `logmill pipeline resume {name}` lets it go on"
    ));
    Ok(restored)
}

pub(crate) async fn explain_upgrade(
    pipelines: &Pipelines,
    of: &UpgradeOf,
    form: Output,
) -> anyhow::Result<()> {
    let script = Script::read(&of.file)?;
    let plan = pipelines.explain_upgrade(&of.pipeline, script.text()).await;
    let plan = plan.map_err(|error| script.refused(error))?;
    show_plan(&plan, "pipeline explain upgrade", form)
}

pub(crate) async fn upgrade(pipelines: &Pipelines, command: &Upgrade, form: Output) -> anyhow::Result<()> {
    let Upgrade { of, allow_incomplete } = command;
    let script = Script::read(&of.file)?;
    let upgraded = pipelines.upgrade(&of.pipeline, script.text(), *allow_incomplete).await;
    let (upgraded, plan) = upgraded.map_err(|error| script.refused(error))?;
    let state = pipeline_view::state(&upgraded);
    note(format!("pipeline {} has the script {} now, and is {state}", of.pipeline, of.file.display()));
    show_plan(&plan, "pipeline upgrade", form)
}

fn places(offsets: &[PartitionOffset]) -> Vec<String> {
    let place = |at: &PartitionOffset| format!("{}-{} at {}", at.topic, at.partition, at.offset);
    offsets.iter().map(place).collect()
}

fn show_savepoints(savepoints: &[Savepoint], command: &str, form: Output) -> anyhow::Result<()> {
    if form == Output::Json {
        let savepoint = |of: &Savepoint| {
            json!({
                "name": of.name, "epoch": of.epoch, "created_ms": of.created_ms, "bytes": of.bytes,
                "positions": places(&of.positions),
            })
        };
        let all: Vec<Value> = savepoints.iter().map(savepoint).collect();
        output::json(command, json!({ "savepoints": all }))?;
        return Ok(());
    }
    let row = |of: &Savepoint| {
        vec![
            of.name.clone(),
            Iso(of.created_ms).to_string(),
            of.epoch.to_string(),
            of.bytes.to_string(),
            places(&of.positions).join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = savepoints.iter().map(row).collect();
    Ok(output::table(&["savepoint", "made", "epoch", "bytes", "positions"], &rows)?)
}

fn show_plan(plan: &UpgradePlan, command: &str, form: Output) -> anyhow::Result<()> {
    if form == Output::Json {
        let operators: Vec<Value> = plan
            .operators
            .iter()
            .map(|change| {
                json!({
                    "operator": change.operator, "identity": change.identity, "fate": change.fate,
                    "keeps": change.keeps,
                })
            })
            .collect();
        output::json(
            command,
            json!({
                "operators": operators, "to_read": plan.to_read, "incomplete": places(&plan.incomplete),
                "new_sources": plan.new_sources, "dropped_sources": plan.dropped_sources,
                "new_sinks": plan.new_sinks, "dropped_sinks": plan.dropped_sinks,
            }),
        )?;
        return Ok(());
    }
    let row = |change: &logmill_client::OperatorChange| {
        vec![change.fate.clone(), change.operator.clone(), change.identity.clone(), change.keeps.clone()]
    };
    let rows: Vec<Vec<String>> = plan.operators.iter().map(row).collect();
    match rows.is_empty() {
        true => output::lines(["no operator keeps state"])?,
        false => output::table(&["state", "operator", "identity", "keeps"], &rows)?,
    }
    let topics = [
        ("reads anew", &plan.new_sources),
        ("reads no more", &plan.dropped_sources),
        ("writes anew, from the cut on", &plan.new_sinks),
        ("writes no more", &plan.dropped_sinks),
    ];
    for (what, topics) in topics.into_iter().filter(|(_, topics)| !topics.is_empty()) {
        output::lines([format!("{what}: {}", topics.join(", "))])?;
    }
    if plan.to_read > 0 {
        output::lines([format!("reads about {} records of the input again", plan.to_read)])?;
    }
    if !plan.incomplete.is_empty() {
        let begin = places(&plan.incomplete).join(", ");
        output::lines([format!(
            "the input is not whole any more, it begins: {begin} (see --allow-incomplete)"
        )])?;
    }
    Ok(())
}
