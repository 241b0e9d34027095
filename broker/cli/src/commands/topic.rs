//! `logmill topic`.

use std::process::ExitCode;

use clap::Subcommand;
use logmill_client::{Admin, ConfigResource, Isolation, NewTopic, TopicDescription};
use serde_json::{Value, json};

use super::changes::{Changes, key_value};
use crate::arguments::{Connection, Output};
use crate::confirm::confirm;
use crate::failure::{self, Usage};
use crate::output::{self, note, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Create topics.
    Create(Create),
    /// List topics.
    List(List),
    /// Show partitions, offsets and configuration of a topic.
    Describe(Describe),
    /// Add partitions to a topic, and change its configuration.
    Alter(Alter),
    /// Delete topics with everything in them.
    Delete(Delete),
    /// Delete the records of a topic before an offset.
    #[command(visible_alias = "delete-records")]
    Trim(Trim),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Names of the topics.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Number of partitions; the broker's default if not given.
    #[arg(short, long)]
    partitions: Option<u32>,
    /// Number of replicas of each partition; the broker's default if not given.
    #[arg(short, long)]
    replication: Option<u16>,
    /// A configuration, such as cleanup.policy=compact. May be repeated.
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Do not fail for a topic that exists.
    #[arg(long)]
    if_not_exists: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Include the broker's own topics.
    #[arg(short, long)]
    internal: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// Name of the topic.
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Alter {
    /// Name of the topic.
    name: String,
    /// How many partitions it is to have in all.
    #[arg(short, long)]
    partitions: Option<u32>,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// Names of the topics.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Trim {
    /// Name of the topic.
    name: String,
    /// The first offset to keep; "end" deletes everything that is there.
    #[arg(short, long, value_name = "OFFSET", value_parser = before)]
    before: Before,
    /// A partition; all of them if not given. May be repeated.
    #[arg(short, long = "partition", value_name = "NUMBER")]
    partitions: Vec<i32>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

/// Up to where records are deleted.
#[derive(Debug, Clone, Copy)]
enum Before {
    Offset(i64),
    End,
}

fn before(text: &str) -> Result<Before, String> {
    match text {
        "end" => Ok(Before::End),
        _ => match text.parse() {
            Ok(offset) if offset >= 0 => Ok(Before::Offset(offset)),
            _ => Err("write an offset, or \"end\"".to_owned()),
        },
    }
}

pub(crate) async fn run(command: Topic, connection: &Connection) -> anyhow::Result<ExitCode> {
    if let Topic::Delete(Delete { names, yes: false }) = &command {
        confirm(&format!("deleting {}", names.join(", ")))?;
    }
    if let Topic::Trim(Trim { name, before, yes: false, .. }) = &command {
        let what = match before {
            Before::End => "all records".to_owned(),
            Before::Offset(offset) => format!("the records before offset {offset}"),
        };
        confirm(&format!("deleting {what} of {name}"))?;
    }
    let admin = connection.admin().await?;
    match command {
        Topic::Create(command) => create(&admin, &command, connection.output).await,
        Topic::List(command) => list(&admin, &command, connection.output).await.map(|()| ExitCode::SUCCESS),
        Topic::Describe(command) => {
            describe(&admin, &command.name, connection.output).await.map(|()| ExitCode::SUCCESS)
        }
        Topic::Alter(command) => alter(&admin, &command, connection.output).await.map(|()| ExitCode::SUCCESS),
        Topic::Delete(command) => delete(&admin, &command, connection.output).await,
        Topic::Trim(command) => trim(&admin, &command, connection.output).await,
    }
}

/// What came of each topic. Fails when one failed.
#[derive(Default)]
struct Outcomes {
    rows: Vec<(String, String)>,
    failed: Option<anyhow::Error>,
}

impl Outcomes {
    fn add(&mut self, name: &str, done: &str, result: logmill_client::Result<()>) {
        match result {
            Ok(()) => self.rows.push((name.to_owned(), done.to_owned())),
            Err(error) => {
                self.rows.push((name.to_owned(), error.to_string()));
                self.failed.get_or_insert(error.into());
            }
        }
    }

    fn show(self, command: &str, form: Output) -> anyhow::Result<ExitCode> {
        match form {
            Output::Json => {
                let topics: Vec<Value> = self
                    .rows
                    .iter()
                    .map(|(name, outcome)| json!({ "topic": name, "outcome": outcome }))
                    .collect();
                output::json(command, json!({ "topics": topics }))?;
            }
            Output::Table => {
                let rows: Vec<Vec<String>> =
                    self.rows.into_iter().map(|(name, outcome)| vec![name, outcome]).collect();
                output::table(&["topic", "outcome"], &rows)?;
            }
        }
        Ok(self.failed.map_or(ExitCode::SUCCESS, |error| failure::report(&error)))
    }
}

async fn create(admin: &Admin, command: &Create, form: Output) -> anyhow::Result<ExitCode> {
    let mut outcomes = Outcomes::default();
    for name in &command.names {
        let mut topic = NewTopic::new(name);
        if let Some(partitions) = command.partitions {
            topic = topic.partitions(partitions);
        }
        if let Some(replication) = command.replication {
            topic = topic.replication(replication);
        }
        for (key, value) in &command.configs {
            topic = topic.config(key, value);
        }
        let exists = |error: &logmill_client::Error| {
            error.code() == Some(logmill_client::ErrorCode::TOPIC_ALREADY_EXISTS)
        };
        match admin.create_topic(&topic).await {
            Err(error) if command.if_not_exists && exists(&error) => outcomes.add(name, "exists", Ok(())),
            result => outcomes.add(name, "created", result.map(|_| ())),
        }
    }
    outcomes.show("topic create", form)
}

async fn alter(admin: &Admin, command: &Alter, form: Output) -> anyhow::Result<()> {
    let Alter { name, partitions, changes } = command;
    if partitions.is_none() && changes.is_empty() {
        return Err(Usage(
            "say what to change: --partitions, --config, --unset, --append or --subtract".to_owned(),
        )
        .into());
    }
    // Configs first: they are all or none, and cost nothing when refused.
    if !changes.is_empty() {
        let resource = ConfigResource::Topic(name.clone());
        admin.alter_configs(&resource, &changes.list(), changes.dry_run).await?;
    }
    if let Some(partitions) = partitions.filter(|_| !changes.dry_run) {
        admin.create_partitions(name, partitions).await?;
    }
    let topic = admin.describe_topic(name).await?;
    let configs = admin.topic_configs(name).await?;
    let set: Vec<_> = configs.iter().filter(|config| config.is_set).collect();
    let outcome = if changes.dry_run { "checked" } else { "altered" };
    match form {
        Output::Json => {
            let configs: serde_json::Map<String, Value> =
                set.iter().map(|config| (config.name.clone(), json!(config.value))).collect();
            let body = json!({
                "topic": name,
                "outcome": outcome,
                "partitions": topic.partitions.len(),
                "configs": configs,
            });
            output::json("topic alter", body)?;
        }
        Output::Table => {
            let count = topic.partitions.len();
            output::lines([format!("topic {name}  {outcome}  partitions {count}"), String::new()])?;
            let rows: Vec<Vec<String>> =
                set.iter().map(|config| vec![config.name.clone(), or_dash(config.value.clone())]).collect();
            output::table(&["config", "value"], &rows)?;
        }
    }
    Ok(())
}

async fn delete(admin: &Admin, command: &Delete, form: Output) -> anyhow::Result<ExitCode> {
    let mut outcomes = Outcomes::default();
    for name in &command.names {
        outcomes.add(name, "deleted", admin.delete_topic(name).await);
    }
    outcomes.show("topic delete", form)
}

async fn trim(admin: &Admin, command: &Trim, form: Output) -> anyhow::Result<ExitCode> {
    let mut partitions = command.partitions.clone();
    if partitions.is_empty() {
        let topic = admin.describe_topic(&command.name).await?;
        partitions = topic.partitions.iter().map(|partition| partition.index).collect();
    }
    let before = match command.before {
        Before::End => None,
        Before::Offset(offset) => Some(offset),
    };
    let mut failed = None;
    let mut outcomes = Vec::new();
    for partition in partitions {
        match admin.delete_records(&command.name, partition, before).await {
            Ok(start) => outcomes.push((partition, Some(start), "trimmed".to_owned())),
            Err(error) => {
                outcomes.push((partition, None, error.to_string()));
                failed.get_or_insert(error);
            }
        }
    }
    match form {
        Output::Json => {
            let partitions: Vec<Value> = outcomes
                .iter()
                .map(|(partition, start, outcome)| {
                    json!({ "partition": partition, "start": start, "outcome": outcome })
                })
                .collect();
            output::json("topic trim", json!({ "topic": command.name, "partitions": partitions }))?;
        }
        Output::Table => {
            let row = |(partition, start, outcome): (i32, Option<i64>, String)| {
                vec![partition.to_string(), or_dash(start), outcome]
            };
            let rows: Vec<Vec<String>> = outcomes.into_iter().map(row).collect();
            output::table(&["partition", "start", "outcome"], &rows)?;
        }
    }
    Ok(failed.map_or(ExitCode::SUCCESS, |error| failure::report(&error.into())))
}

async fn list(admin: &Admin, command: &List, form: Output) -> anyhow::Result<()> {
    let mut topics = admin.list_topics().await?;
    let all = topics.len();
    topics.retain(|topic| command.internal || !topic.internal);
    match form {
        Output::Json => {
            let topics: Vec<Value> = topics
                .iter()
                .map(|topic| {
                    json!({
                        "topic": topic.name,
                        "id": topic.id.to_string(),
                        "partitions": topic.partitions.len(),
                        "replicas": replicas(topic),
                        "internal": topic.internal,
                    })
                })
                .collect();
            output::json("topic list", json!({ "topics": topics }))?;
        }
        Output::Table => {
            let row = |topic: &TopicDescription| {
                vec![topic.name.clone(), topic.partitions.len().to_string(), replicas(topic).to_string()]
            };
            let rows: Vec<Vec<String>> = topics.iter().map(row).collect();
            output::table(&["topic", "partitions", "replicas"], &rows)?;
            if topics.is_empty() && all > 0 {
                note("only the broker's own topics exist; --internal shows them");
            }
        }
    }
    Ok(())
}

fn replicas(topic: &TopicDescription) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}

async fn describe(admin: &Admin, name: &str, form: Output) -> anyhow::Result<()> {
    let topic = admin.describe_topic(name).await?;
    let configs = admin.topic_configs(name).await?;
    let mut partitions = Vec::new();
    for partition in &topic.partitions {
        let offsets = match partition.leader {
            Some(_) => {
                let all = admin.offsets(name, partition.index, Isolation::Uncommitted).await?;
                let stable = admin.offsets(name, partition.index, Isolation::Committed).await?.end;
                Some((all, stable))
            }
            None => None,
        };
        partitions.push((partition, offsets));
    }
    match form {
        Output::Json => {
            let partitions: Vec<Value> = partitions
                .iter()
                .map(|(partition, offsets)| {
                    json!({
                        "partition": partition.index,
                        "leader": partition.leader,
                        "leader_epoch": partition.leader_epoch,
                        "replicas": partition.replicas,
                        "in_sync": partition.in_sync,
                        "start": offsets.map(|(all, _)| all.start),
                        "end": offsets.map(|(all, _)| all.end),
                        "stable_end": offsets.map(|(_, stable)| stable),
                    })
                })
                .collect();
            let configs: Vec<Value> = configs
                .iter()
                .map(
                    |c| json!({ "key": c.name, "value": c.value, "set": c.is_set, "from": c.source.name(), "read_only": c.read_only }),
                )
                .collect();
            let body = json!({
                "topic": topic.name,
                "id": topic.id.to_string(),
                "internal": topic.internal,
                "partitions": partitions,
                "configs": configs,
            });
            output::json("topic describe", body)?;
        }
        Output::Table => {
            output::lines([format!("topic {}  id {}", topic.name, topic.id), String::new()])?;
            let rows: Vec<Vec<String>> = partitions
                .iter()
                .map(|(partition, offsets)| {
                    vec![
                        partition.index.to_string(),
                        or_dash(partition.leader),
                        or_dash(offsets.map(|(all, _)| all.start)),
                        or_dash(offsets.map(|(all, _)| all.end)),
                        or_dash(offsets.map(|(_, stable)| stable)),
                    ]
                })
                .collect();
            output::table(&["partition", "leader", "start", "end", "stable-end"], &rows)?;
            output::lines([""])?;
            let rows: Vec<Vec<String>> = configs
                .into_iter()
                .map(|config| {
                    let origin = config.source.name().to_owned();
                    vec![config.name, or_dash(config.value), origin]
                })
                .collect();
            output::table(&["config", "value", "from"], &rows)?;
        }
    }
    Ok(())
}
